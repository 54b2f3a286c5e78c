//! Kernels far from their roofline, and their remedies.

use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::lang;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::schedule::Schedule;
use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::slow::{FACTOR, Slow};
use energy_kernel_compiler::target::{Machine, Target};

fn checked(source: &str) -> Checked {
    let operator = lang::parse(Default::default(), source.parse().unwrap()).unwrap();
    operator.variants[0].checked.clone()
}

fn judged(checked: &Checked, sizes: &[u64], schedule: &str) -> Option<Slow> {
    let specialisation = Specialisation::exact(sizes);
    let problem = Problem::new(checked, &specialisation, Machine::like(Target::Sm90));
    let schedule: Schedule = schedule.parse().unwrap();
    Slow::of(&problem, &schedule.into(), sizes)
}

const MATMUL: &str = "fn f(x: Tensor<f16, (M, K)>, w: Tensor<f16, (N, K)>) -> Tensor<f16, (M, N)> {
    |m, n| sum(|k| x[[m, k]] * w[[n, k]])
}";

#[test]
fn a_kernel_near_its_roofline_is_not_slow() {
    let copy = checked("fn f(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> { |n| x[[n]] }");
    let fast = "pointwise threads=256 vector=4 unroll=2 cache=streaming tile=0 blocks=0";
    assert_eq!(judged(&copy, &[1 << 24], fast), None);
    assert_eq!(judged(&copy, &[0], fast), None);
}

#[test]
fn a_slow_schedule_of_a_good_operator_has_no_remedy_to_write() {
    let slow = judged(&checked(MATMUL), &[1024, 1024, 1024], "plain threads=128").unwrap();
    assert!(slow.factor() > FACTOR);
    assert_eq!(slow.remedy, None, "{slow}");
    let text = slow.to_string();
    assert!(
        text.contains(" times its roofline by the estimate (") && text.contains("tensor cores: at least"),
        "{text}"
    );
}

/// Stages store what a lone kernel repeats, so the author need not split the operator.
#[test]
fn repeated_work_that_stages_avoid_needs_no_remedy() {
    let source = "fn f(x: Tensor<f16, (T, D)>, v: Tensor<f16, (F, D)>, w: Tensor<f16, (D, F)>) -> Tensor<f16, (T, D)> {
        let hidden = |t, f| relu(sum(|d| x[[t, d]] * v[[f, d]])) as f16;
        |t, d| sum(|f| hidden[[t, f]] * w[[d, f]])
    }";
    let slow = judged(&checked(source), &[256, 512, 1024], "plain threads=128").unwrap();
    assert!(slow.factor() > FACTOR);
    assert_eq!(slow.remedy, None, "{slow}");
}
