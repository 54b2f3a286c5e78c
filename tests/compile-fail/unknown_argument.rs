use energy_kernel::prelude::*;

#[energy_kernel(tile(M = 16))]
pub fn operator(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {
    |i| x[[i]]
}

fn main() {}
