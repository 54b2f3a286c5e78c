use energy_kernel::prelude::*;

#[energy_kernel(tune(K = 8, L = [8, 9]))]
pub fn operator(x: Tensor<f32, (K,)>, y: Tensor<f32, (L,)>) -> Tensor<f32, ()> {
    sum(|k| x[[k]] * y[[k]])
}

fn main() {}
