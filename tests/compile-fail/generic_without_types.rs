use energy_kernel::prelude::*;

#[energy_kernel]
pub fn operator<T>(x: Tensor<T, (N,)>) -> Tensor<T, (N,)> {
    |i| x[[i]]
}

fn main() {}
