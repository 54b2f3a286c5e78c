use energy_kernel::prelude::*;

#[energy_kernel]
pub fn operator(x: Tensor<f32, (N,)>) -> Tensor<f32, (N, REPEATS)> {
    |i, _| x[[i]]
}

fn main() {}
