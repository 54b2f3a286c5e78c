use energy_kernel::prelude::*;

#[energy_kernel]
pub fn operator(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {
    |i| sum(|j| x.or(0.0)[[i + j - 1]])
}

fn main() {}
