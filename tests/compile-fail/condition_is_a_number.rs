use energy_kernel::prelude::*;

#[energy_kernel]
pub fn operator(x: Tensor<i32, (N,)>) -> Tensor<i32, (N,)> {
    |i| if x[[i]] { 1 } else { 0 }
}

fn main() {}
