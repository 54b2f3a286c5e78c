use energy_kernel::prelude::*;

#[energy_kernel(types(T = [f16, bf17]))]
pub fn operator(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {
    |i| x[[i]]
}

fn main() {}
