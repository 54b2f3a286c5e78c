use energy_kernel::prelude::*;

#[energy_kernel]
pub fn operator(x: Tensor<f32, (N,)>) -> (Tensor<f32, (N,)>, Tensor<f32, (N,)>, Tensor<f32, ()>) {
    (|i| x[[i]].clamp(0.0, 1.0), |i| ln_1p(x[[i]]), mean(|i| x[[i]]))
}

fn main() {}
