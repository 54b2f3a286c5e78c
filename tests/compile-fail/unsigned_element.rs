use energy_kernel::prelude::*;

#[energy_kernel]
pub fn operator(x: Tensor<u32, (N,)>) -> Tensor<i64, (N,)> {
    |i| x[[i]]
}

#[energy_kernel]
pub fn cast(x: Tensor<f32, (N,)>) -> (Tensor<i64, (N,)>, Tensor<i64, (N,)>) {
    (|i| x[[i]] as u32, |i| 7u16)
}

fn main() {}
