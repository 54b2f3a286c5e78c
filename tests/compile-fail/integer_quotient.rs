use energy_kernel::prelude::*;

#[energy_kernel]
pub fn operator(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {
    |i| x[[i]] * (1 / 2)
}

fn main() {}
