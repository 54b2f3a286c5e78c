//! Shared by the tests: operators, numbers, and processes that run one test.

#![allow(dead_code)]

use energy_kernel::prelude::*;
use energy_kernel::{Element, Result};
use energy_kernel_virtual_gpu::{PROFILES, Virtual, is_child};

#[energy_kernel]
pub fn linear_gelu(x: Tensor<f16, (M, K)>, w: Tensor<f16, (N, K)>, b: Tensor<f16, (N,)>) -> Tensor<f16, (M, N)> {
    |m, n| gelu(sum(|k| x[[m, k]] * w[[n, k]]) + b[[n]])
}

#[energy_kernel]
pub fn softmax(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R, C)> {
    let peak = |r| max(|c| x[[r, c]]);
    let total = |r| sum(|c| exp(x[[r, c]] - peak[[r]]));
    |r, c| exp(x[[r, c]] - peak[[r]]) / total[[r]]
}

#[energy_kernel]
pub fn embed(table: Tensor<f32, (V, D)>, ids: Tensor<i32, (T,)>) -> Tensor<f32, (T, D)> {
    |t, d| table[[ids[[t]], d]]
}

#[energy_kernel]
pub fn scale(x: Tensor<f32, (N,)>, by: f32) -> Tensor<f32, (N,)> {
    |n| x[[n]] * by
}

#[energy_kernel]
pub fn add(a: Tensor<f32, (N,)>, b: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {
    |n| a[[n]] + b[[n]]
}

/// Runs a scenario in its own process on each capability. Each must succeed without leaks.
pub fn everywhere(test: &str, scenario: impl FnOnce(&Gpu) -> Result<()>) {
    if is_child() {
        return scenario(&Gpu::open().unwrap()).unwrap();
    }
    for profile in &PROFILES {
        Virtual::new(&profile.version()).run(test).clean();
    }
}

/// Small integers as `f32`, whose sums and products are exact.
pub fn integers(length: usize) -> Vec<f32> {
    (0..length).map(|at| ((at * 7 + at / 5) % 23) as f32 - 11.0).collect()
}

/// Pseudorandom numbers in −1..1.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / f64::from(1u32 << 30) - 1.0
    }

    pub fn f32(&mut self, shape: &[usize]) -> HostTensor<f32> {
        let numbers = (0..shape.iter().product()).map(|_| self.next() as f32).collect();
        HostTensor::new(shape, numbers).unwrap()
    }

    pub fn f16(&mut self, shape: &[usize]) -> HostTensor<f16> {
        let numbers = (0..shape.iter().product())
            .map(|_| f16::from_f64(self.next()))
            .collect();
        HostTensor::new(shape, numbers).unwrap()
    }
}

/// Asserts that a tensor differs from the expected one by at most `most`.
#[track_caller]
pub fn assert_near<T: Element + Into<f64>>(found: &Tensor<T>, expected: &HostTensor<T>, most: f64) {
    assert_eq!(found.shape(), expected.shape());
    let found = found.to_vec().unwrap();
    let pairs = found.iter().zip(expected.data());
    for (at, (&found, &expected)) in pairs.enumerate() {
        let (found, expected): (f64, f64) = (found.into(), expected.into());
        assert!(
            (found - expected).abs() <= most,
            "element {at} is {found}, not {expected}"
        );
    }
}
