use energy_kernel::prelude::*;

#[energy_kernel(dims(H = N / 2), tune(H = 8))]
pub fn operator(x: Tensor<f32, (N,)>) -> Tensor<f32, (H,)> {
    |h| x[[h]]
}

fn main() {}
