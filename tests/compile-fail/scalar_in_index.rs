use energy_kernel::prelude::*;

#[energy_kernel]
pub fn operator(angle: Tensor<f32, (P, D)>, x: Tensor<f32, (T, D)>, offset: i32) -> Tensor<f32, (T, D)> {
    |t, d| x[[t, d]] * angle[[t + offset, d]]
}

#[energy_kernel]
pub fn rolled(x: Tensor<f32, (T, D)>, by: i64) -> Tensor<f32, (T, D)> {
    let shifted = |t: T, d: D| x[[(t + by) % T, d]];
    |t, d| shifted[[t, d]]
}

fn main() {}
