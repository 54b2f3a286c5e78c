use energy_kernel::prelude::*;

#[energy_kernel]
pub fn operator(x: Tensor<f32, (M, N)>) -> Tensor<f32, (M,)> {
    |m| { let row = |n| x[[m, n]]; sum(|n: N| row[[n]]) }
}

fn main() {}
