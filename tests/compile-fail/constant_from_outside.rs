use energy_kernel::prelude::*;

pub mod limits {
    pub const LOW: f32 = 0.0;
}
pub const EPS: f32 = 1e-6;

#[energy_kernel]
pub fn operator(x: Tensor<f32, (N,)>) -> (Tensor<f32, (N,)>, Tensor<f32, (N,)>) {
    (|i| rsqrt(x[[i]] + EPS), |i| max(x[[i]], limits::LOW))
}

fn main() {}
