use energy_kernel::prelude::*;

#[energy_kernel]
pub fn operator(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {
    |i| x.or(0.0) * x.or(false)[[i - 1]]
}

fn main() {}
