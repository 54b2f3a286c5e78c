//! The public interface on the way to a real GPU, on every capability: each test runs in a process of its own, which must end
//! with right results, nothing done wrong and nothing left on the device.

#![cfg(target_os = "linux")]

use energy_kernel::prelude::*;
use energy_kernel::Result;
use energy_kernel_virtual_gpu::{PROFILES, Virtual, is_child};

#[energy_kernel]
fn linear_gelu(x: Tensor<f16, (M, K)>, w: Tensor<f16, (N, K)>, b: Tensor<f16, (N,)>) -> Tensor<f16, (M, N)> {
    |m, n| gelu(sum(|k| x[[m, k]] * w[[n, k]]) + b[[n]])
}

#[energy_kernel]
fn scale(x: Tensor<f32, (N,)>, by: f32) -> Tensor<f32, (N,)> {
    |n| x[[n]] * by
}

fn everywhere(test: &str, scenario: fn(&Gpu) -> Result<()>) {
    if is_child() {
        return scenario(&Gpu::open().unwrap()).unwrap();
    }
    for profile in &PROFILES {
        Virtual::new(&profile.version()).run(test).clean();
    }
}

#[test]
fn tensors_go_to_the_device_and_back() {
    everywhere("tensors_go_to_the_device_and_back", |gpu| {
        let numbers: Vec<f32> = (0..1000).map(|i| i as f32).collect();
        let x = Tensor::from_slice(gpu, &[1000], &numbers)?;
        assert_eq!(x.to_vec()?, numbers);
        assert_eq!(scale(gpu, &x, 2.0)?.to_vec()?[999], 1998.0);
        Ok(())
    });
}
