use energy_kernel::prelude::*;

#[energy_kernel]
pub fn operator(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {
    |i| if x[[i]] > 0.0 { x[[i]] } else { -inf }
}

fn main() {}
