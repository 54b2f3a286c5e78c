use energy_kernel::prelude::*;

#[energy_kernel]
pub fn operator(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {
    |i| { let mut t = x[[i]]; t += 1.0; t }
}

fn main() {}
