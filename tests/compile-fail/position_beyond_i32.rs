use energy_kernel::prelude::*;

#[energy_kernel(tune(R = 70000, C = 70000))]
pub fn operator(x: Tensor<f32, (R, C)>) -> Tensor<i32, ()> {
    argmax(|r, c| x[[r, c]])
}

fn main() {}
