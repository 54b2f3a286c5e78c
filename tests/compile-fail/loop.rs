use energy_kernel::prelude::*;

#[energy_kernel]
pub fn operator(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {
    |i| { for k in 0..3 { x[[k]]; } x[[i]] }
}

fn main() {}
