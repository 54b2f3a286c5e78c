//! The text of a small kernel of each family, so that a change of what is emitted shows in review.
//!
//! `cargo insta review`, or `INSTA_UPDATE=always cargo test -p energy-kernel-compiler --test golden`, accepts a change.

use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::schedule::Program;
use energy_kernel_compiler::size::{Sizes, Specialisation};
use energy_kernel_compiler::target::{Machine, Target};
use energy_kernel_compiler::{lang, lower};

/// The kernel's PTX, and how it is launched. Sizes of which `fixed` holds are compiled in.
fn emitted(attribute: &str, source: &str, sizes: &[(&str, u64)], fixed: bool, schedule: &str) -> String {
    let operator = lang::parse(attribute.parse().unwrap(), source.parse().unwrap()).unwrap();
    let checked = &operator.variants[0].checked;
    let sizes = checked.bind(&sizes.iter().copied().collect::<Sizes>()).unwrap();
    let specialisation = if fixed {
        Specialisation::exact(&sizes)
    } else {
        Specialisation::like(&sizes)
    };
    let kernel = lower::lower(
        &Problem::new(checked, &specialisation, Machine::like(Target::Sm80)),
        schedule.parse::<Program>().unwrap(),
    )
    .unwrap();
    let launch = &kernel.launches[0];
    let [x, y, z] = launch.grid(&sizes).unwrap();
    let (threads, shared) = (launch.block[0], launch.dynamic_shared);
    format!(
        "// {schedule}: {x} x {y} x {z} blocks of {threads} threads, {shared} bytes of shared memory\n{}",
        kernel.ptx
    )
}

const SOFTMAX: &str = "fn softmax(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R, C)> {
    let peak = |r| max(|c| x[[r, c]]);
    let total = |r| sum(|c| exp(x[[r, c]] - peak[[r]]));
    |r, c| exp(x[[r, c]] - peak[[r]]) / total[[r]]
}";

#[test]
fn plain_pads_and_gathers() {
    let source = "fn f(x: Tensor<f16, (N, D)>, ids: Tensor<i32, (T,)>) -> Tensor<f16, (T, D)> {
        |t, d| x[[ids[[t]], d]] + x.or(1.0)[[t - 1, d]]
    }";
    let sizes = [("N", 10), ("D", 7), ("T", 5)];
    insta::assert_snapshot!(emitted("", source, &sizes, false, "plain threads=128"));
}

#[test]
fn pointwise_in_vectors() {
    let source =
        "fn f(x: Tensor<bf16, (N,)>, y: Tensor<bf16, (N,)>) -> Tensor<bf16, (N,)> { |n| silu(x[[n]]) * y[[n]] }";
    let schedule = "pointwise threads=128 vector=4 unroll=1 cache=streaming tile=0 blocks=0";
    insta::assert_snapshot!(emitted("", source, &[("N", 4096)], true, schedule));
}

#[test]
fn pointwise_through_a_tile() {
    let source = "fn f(x: Tensor<f32, (R, C)>) -> Tensor<f32, (C, R)> { |c, r| x[[r, c]] }";
    let schedule = "pointwise threads=128 vector=4 unroll=1 cache=normal tile=32 blocks=1728";
    insta::assert_snapshot!(emitted("", source, &[("R", 128), ("C", 64)], true, schedule));
}

#[test]
fn row_in_registers() {
    let sizes = [("R", 3), ("C", 256)];
    let schedule = "row threads=32 rows=1 vector=4 keep=registers unroll=1 pass=several";
    insta::assert_snapshot!(emitted("", SOFTMAX, &sizes, true, schedule));
}

#[test]
fn row_in_shared_memory() {
    let sizes = [("R", 3), ("C", 2048)];
    let schedule = "row threads=64 rows=2 vector=2 keep=shared unroll=1 pass=several";
    insta::assert_snapshot!(emitted("", SOFTMAX, &sizes, true, schedule));
}

#[test]
fn row_in_one_pass() {
    let sizes = [("R", 3), ("C", 2048)];
    let schedule = "row threads=32 rows=1 vector=2 keep=reload unroll=2 pass=one";
    insta::assert_snapshot!(emitted("", SOFTMAX, &sizes, true, schedule));
}

#[test]
fn contract_of_odd_sizes() {
    let source = "fn f(a: Tensor<f32, (M, K)>, b: Tensor<f32, (K, N)>) -> Tensor<f32, (M, N)> {
        |m, n| relu(sum(|k| a[[m, k]] * b[[k, n]]))
    }";
    let sizes = [("M", 33), ("N", 64), ("K", 17)];
    let schedule = "contract block=16x32x8 thread=2x4 stages=2 blocks=0 parts=1";
    insta::assert_snapshot!(emitted("", source, &sizes, false, schedule));
}

#[test]
fn contract_of_two_parts() {
    let source = "fn f(a: Tensor<f32, (M, K)>, b: Tensor<f32, (K, N)>) -> Tensor<f32, (M, N)> {
        |m, n| relu(sum(|k| a[[m, k]] * b[[k, n]]))
    }";
    let sizes = [("M", 32), ("N", 64), ("K", 64)];
    let schedule = "contract block=16x32x8 thread=2x4 stages=2 blocks=0 parts=2";
    insta::assert_snapshot!(emitted("", source, &sizes, true, schedule));
}

#[test]
fn mma_copies_one_side() {
    let source = "fn f(x: Tensor<f16, (M, K)>, w: Tensor<i8, (K, N)>) -> Tensor<f16, (M, N)> {
        |m, n| relu(sum(|k| x[[m, k]] * w[[k, n]]))
    }";
    let sizes = [("M", 33), ("N", 64), ("K", 128)];
    let schedule = "mma block=32x32x32 warp=16x16 split=1 stages=3 group=8 blocks=0 parts=1";
    insta::assert_snapshot!(emitted("", source, &sizes, true, schedule));
}

#[test]
fn skinny_along_the_sum() {
    let source = "fn f(x: Tensor<f16, (M, K)>, w: Tensor<f16, (N, K)>, b: Tensor<f16, (N,)>) -> Tensor<f16, (M, N)> {
        |m, n| relu(sum(|k| x[[m, k]] * w[[n, k]]) + b[[n]])
    }";
    let sizes = [("M", 2), ("N", 70), ("K", 256)];
    let schedule = "skinny rows=2 columns=1 vector=8 lanes=8 warps=2 unroll=2 cache=streaming";
    insta::assert_snapshot!(emitted("", source, &sizes, true, schedule));
}

#[test]
fn window_with_padding_and_a_rest() {
    let source = "fn f(x: Tensor<f16, (C, H, W)>, k: Tensor<f16, (C, TAPS)>) -> Tensor<f16, (C, H, W)> {
        |c, h, w| sum(|r| x.or(0.0)[[c, h + r - 1, w]] * k[[c, r]])
    }";
    let sizes = [("C", 3), ("H", 5), ("W", 8)];
    let schedule = "window threads=64 rows=2 columns=2";
    insta::assert_snapshot!(emitted("dims(TAPS = 3)", source, &sizes, true, schedule));
}
