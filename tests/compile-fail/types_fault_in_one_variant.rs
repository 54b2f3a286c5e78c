use energy_kernel::prelude::*;

#[energy_kernel(types(T = [i32, f32]))]
pub fn operator(x: Tensor<T, (N,)>) -> Tensor<i32, (N,)> {
    |i| x[[i]] + 1
}

fn main() {}
