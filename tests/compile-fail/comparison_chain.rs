use energy_kernel::prelude::*;

#[energy_kernel]
pub fn operator(x: Tensor<f32, (N,)>) -> Tensor<bool, (N,)> {
    |i| 0.0 < x[[i]] < 1.0
}

fn main() {}
