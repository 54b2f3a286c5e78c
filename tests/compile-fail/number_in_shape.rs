use energy_kernel::prelude::*;

#[energy_kernel]
pub fn operator(x: Tensor<f32, (N, 2)>) -> Tensor<f32, (N,)> {
    |i| x[[i, 0]] + x[[i, 1]]
}

#[energy_kernel]
pub fn other(x: Tensor<f32, (N, K)>) -> Tensor<f32, (N, K / 2)> {
    |i, k| x[[i, k]] + x[[i, k + K / 2]]
}

fn main() {}
