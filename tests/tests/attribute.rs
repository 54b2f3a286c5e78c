//! Expands every operator of the validation set through the attribute. Calls of some operators of each kind run on the emulated device and
//! match their reference.

#[path = "../src/operators.rs"]
#[allow(dead_code)]
mod operators;

use energy_kernel::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

fn gpu() -> Gpu {
    let gpu = Gpu::emulated();
    gpu.check_indices(true);
    gpu
}

/// Roughly normal numbers.
fn normal(random: &mut StdRng, count: usize) -> impl Iterator<Item = f32> {
    let mut one = || (0..6).map(|_| random.random::<f32>() - 0.5).sum::<f32>() * 1.4;
    (0..count).map(move |_| one()).collect::<Vec<_>>().into_iter()
}

fn close(got: f64, expected: f64, tolerance: f64) -> bool {
    (got - expected).abs() <= tolerance * expected.abs().max(1.0) || (got.is_nan() && expected.is_nan())
}

/// Calls an operator and its reference with one, two or three tensors, and compares.
macro_rules! same {
    ($operator:ident, $gpu:expr, $tolerance:expr, $x:expr) => { same!(@ $operator, $gpu, $tolerance, x = $x) };
    ($operator:ident, $gpu:expr, $tolerance:expr, $x:expr, $y:expr) => {
        same!(@ $operator, $gpu, $tolerance, x = $x, y = $y)
    };
    ($operator:ident, $gpu:expr, $tolerance:expr, $x:expr, $y:expr, $z:expr) => {
        same!(@ $operator, $gpu, $tolerance, x = $x, y = $y, z = $z)
    };
    (@ $operator:ident, $gpu:expr, $tolerance:expr, $($name:ident = $input:expr),+) => {{
        $(let $name = $input;)+
        let expected = operators::$operator::reference($($name),+).expect("the reference takes these shapes");
        let got = operators::$operator(&$gpu, $(&upload(&$gpu, $name)),+).expect("a launch");
        assert_eq!(got.shape(), expected.shape(), stringify!($operator));
        for (at, (got, expected)) in got.to_vec().expect("a copy").iter().zip(expected.data()).enumerate() {
            let (got, expected) = (f64::from(*got), f64::from(*expected));
            assert!(close(got, expected, $tolerance), "{} at {at}: {got} instead of {expected}", stringify!($operator));
        }
    }};
}

fn upload<T: energy_kernel::Element>(gpu: &Gpu, host: &HostTensor<T>) -> Tensor<T> {
    Tensor::from_slice(gpu, host.shape(), host.data()).expect("there is memory")
}

#[test]
fn calls_give_what_the_reference_gives() {
    let gpu = gpu();
    let mut random = StdRng::seed_from_u64(11);
    let mut f32s = |shape: &[usize]| {
        HostTensor::new(shape, normal(&mut random, shape.iter().product()).collect()).expect("as many as it holds")
    };
    for (m, n, k) in [(1, 1, 1), (17, 31, 64), (64, 65, 33)] {
        same!(linear_gelu_f32, gpu, 1e-4, &f32s(&[m, k]), &f32s(&[n, k]), &f32s(&[n]));
        same!(batched_matmul_f32, gpu, 1e-4, &f32s(&[3, m, k]), &f32s(&[3, k, n]));
        same!(softmax_f32, gpu, 1e-5, &f32s(&[m, n]));
        same!(layer_norm_f32, gpu, 1e-3, &f32s(&[m, n]), &f32s(&[n]), &f32s(&[n]));
        same!(concatenated_f32, gpu, 0.0, &f32s(&[m, n]), &f32s(&[m, k]));
        same!(cumulative_sum_f32, gpu, 1e-4, &f32s(&[m, n]));
    }
    let halves = |tensor: HostTensor<f32>| {
        let data = tensor.data().iter().map(|&x| half::f16::from_f32(x)).collect();
        HostTensor::new(tensor.shape(), data).expect("as many")
    };
    let (x, v, w) = (halves(f32s(&[5, 48])), halves(f32s(&[33, 48])), halves(f32s(&[33, 48])));
    same!(gated_f16, gpu, 2e-3, &x, &v, &w);
    same!(conv_stride_f32, gpu, 1e-4, &f32s(&[1, 3, 9, 7]), &f32s(&[4, 3, 3, 3]));
}

#[test]
fn an_index_out_of_range_reads_nothing_and_is_reported() {
    let gpu = gpu();
    let x = Tensor::from_slice(&gpu, &[2, 3], &[0.0f32, 1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
    let label = Tensor::from_slice(&gpu, &[2], &[1i64, 3]).unwrap();
    let loss = operators::cross_entropy_f32(&gpu, &x, &label).unwrap();
    let error = gpu.synchronize().expect_err("3 is no column");
    assert!(error.to_string().contains("cross_entropy_f32"), "{error}");
    // An index out of range reads 0: ln Σ exp(3, 4, 5).
    let loss = loss.to_vec().unwrap();
    assert!(close(f64::from(loss[1]), 5.407_605_964, 1e-5), "{loss:?}");
}
