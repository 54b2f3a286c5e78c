use energy_kernel::prelude::*;

#[energy_kernel]
pub fn operator(x: Tensor<f32, (N, K)>) -> Tensor<f32, (N,)> {
    |i| sum(|k| x[[i, k]]) * k as f32
}

fn main() {}
