use energy_kernel::prelude::*;

#[energy_kernel]
pub fn operator(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {
    |i| if x[[i]] > 0.0 { 1.0 } else { x[[i]] < 1.0 }
}

fn main() {}
