use energy_kernel::prelude::*;

#[energy_kernel(dims(A = B + 1, B = A - 1))]
pub fn operator(x: Tensor<f32, (N,)>) -> Tensor<f32, (A, B)> {
    |a, b| x[[0]]
}

fn main() {}
