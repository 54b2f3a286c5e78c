use energy_kernel::prelude::*;

#[energy_kernel]
pub fn operator(x: &mut Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {
    |i| x[[i]] + 1.0
}

fn main() {}
