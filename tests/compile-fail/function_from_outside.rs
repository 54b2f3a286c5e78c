use energy_kernel::prelude::*;

pub fn helper(x: f32) -> f32 {
    x * x
}

#[energy_kernel]
pub fn operator(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {
    |i| helper(x[[i]])
}

fn main() {}
