use energy_kernel::prelude::*;

#[energy_kernel(tune(M = [4, 5]))]
pub fn operator(x: Tensor<f32, (M,)>) -> (Tensor<f32, (M,)>, Tensor<bool, (M,)>) {
    let shift = y;
    let M = 3;
    (|i| exp(x[[i]], 2.0) + shift, |i| x[[i, i]] == q)
}

fn main() {}
