use energy_kernel::prelude::*;

#[energy_kernel]
pub fn operator(x: Tensor<i32, (N,)>) -> Tensor<i32, (N,)> {
    |i| x[[i]] >> 4
}

fn main() {}
