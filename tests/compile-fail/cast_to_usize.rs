use energy_kernel::prelude::*;

#[energy_kernel]
pub fn operator(x: Tensor<f32, (N,)>) -> Tensor<i32, (N,)> {
    |i| x[[i]] as usize
}

fn main() {}
