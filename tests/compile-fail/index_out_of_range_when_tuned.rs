use energy_kernel::prelude::*;

#[energy_kernel(tune(N = [16, 1024]))]
pub fn operator(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {
    |i| x[[i + 1]] - x[[i]]
}

fn main() {}
