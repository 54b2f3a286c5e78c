use energy_kernel::prelude::*;

#[energy_kernel(dims(THREE = 3, FOUR = 4))]
pub fn operator(x: Tensor<f32, (THREE,)>, y: Tensor<f32, (FOUR,)>) -> Tensor<f32, ()> {
    sum(|k| x[[k]] * y[[k]])
}

fn main() {}
