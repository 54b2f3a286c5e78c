use energy_kernel::prelude::*;

pub const WIDTH: usize = 64;

#[energy_kernel(tune(N = WIDTH), dims(H = N / WIDTH))]
pub fn operator(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {
    |i| x[[i]] * 2.0
}

fn main() {}
