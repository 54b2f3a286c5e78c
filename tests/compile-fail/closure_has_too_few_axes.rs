use energy_kernel::prelude::*;

#[energy_kernel]
pub fn operator(x: Tensor<f32, (M, N)>) -> Tensor<f32, (M, N)> {
    |m| x[[m, 0]]
}

fn main() {}
