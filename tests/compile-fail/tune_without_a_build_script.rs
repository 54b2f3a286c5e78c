//! The lint `deprecated` says once a crate that nothing is embedded; here it is denied.
#![deny(deprecated)]

use energy_kernel::prelude::*;

#[energy_kernel(dims(H = N / 2), tune(N = 8))]
pub fn halves(x: Tensor<f32, (N,)>) -> Tensor<f32, (H,)> {
    |h| x[[h * 2]]
}

#[energy_kernel(tune(N = 8))]
pub fn twice(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {
    |n| x[[n]] * 2.0
}

#[energy_kernel]
pub fn never_tuned(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {
    |n| -x[[n]]
}

fn main() {}
