use energy_kernel::prelude::*;

#[energy_kernel]
pub fn operator(x: Tensor<u16, (N,)>) -> Tensor<f32, (N,)> {
    |i| x[[i]]
}

fn main() {}
