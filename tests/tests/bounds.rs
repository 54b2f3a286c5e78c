//! Guards bound loops: kernels do not read what a guard on the reduced axis leaves out, and are right wherever the bounds lie.

use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::schedule::Schedule;
use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::target::{Machine, Target};
use energy_kernel_compiler::{lang, lower};
use energy_kernel_tests::{Input, first_wrong, run};

/// Sums of parts of a row, given by their ends, and the largest element there.
const PARTS: &str = "fn f(x: Tensor<f32, (R, C)>, first: Tensor<i32, (R,)>, last: Tensor<i64, (R,)>) -> (Tensor<f32, (R,)>, Tensor<f32, (R,)>) {
    let inside = |r, c| if first[[r]] <= c && c < last[[r]] { x[[r, c]] } else { f32::NEG_INFINITY };
    (
        |r| sum(|c| if c >= first[[r]] && last[[r]] > c { x[[r, c]] } else { 0.0 }),
        |r| max(|c| inside[[r, c]]),
    )
}";
/// Sums of packed sentences.
const COLUMNS: &str =
    "fn f(x: Tensor<f32, (C, D)>, first: Tensor<i32, (R,)>, last: Tensor<i64, (R,)>) -> Tensor<f32, (R, D)> {
    |r, d| sum(|c| if first[[r]] <= c && c < last[[r]] { x[[c, d]] } else { 0.0 })
}";
/// A reduction of two axes, and one of a single element.
const INNER: &str = "fn f(x: Tensor<f32, (R, C, E)>, first: Tensor<i32, (R,)>, last: Tensor<i64, (R,)>) -> (Tensor<f32, (R,)>, Tensor<f32, (R,)>) {
    (
        |r| sum(|c, e| if c > first[[r]] && c <= last[[r]] { x[[r, c, e]] } else { 0.0 }),
        |r| sum(|c| if c == first[[r]] { x[[r, c, 0]] } else { 0.0 }),
    )
}";

/// Bounds inside and outside of an axis of 8192, and in the wrong order.
const NARROW: [(i32, i64); 8] = [
    (100, 117),
    (0, 3),
    (-5, 1),
    (i32::MIN, 2),
    (8180, i64::MAX),
    (40, 30),
    (8191, 8192),
    (7, i64::MIN),
];
const EVERYTHING: [(i32, i64); 8] = [(-1, 8192); 8];

fn check(source: &str, free: &[u64], exact: bool, schedule: &str) {
    let operator = lang::parse(Default::default(), source.parse().expect("tokens")).expect("a valid operator");
    let checked = &operator.variants[0].checked;
    let sizes = checked.derive(free.to_vec()).expect("all sizes");
    let point: Schedule = schedule.parse().expect("a schedule");
    let machine = Machine::like(Target::Sm80);
    let specialisation = match exact {
        true => Specialisation::exact(&sizes),
        false => Specialisation::like(&sizes),
    };
    let kernel = lower::lower(&Problem::new(checked, &specialisation, machine), point).expect(schedule);
    let dims = checked.op().inputs[0].dims.iter().flatten();
    let elements: u64 = dims.map(|size| sizes[size.index()]).product();
    let instructions = |bounds: [(i32, i64); 8]| {
        let x = (0..elements).flat_map(|number| ((number * 37 % 101) as f32 - 50.0).to_le_bytes());
        let first = bounds.iter().flat_map(|bound| bound.0.to_le_bytes());
        let last = bounds.iter().flat_map(|bound| bound.1.to_le_bytes());
        let inputs = [
            Input { bytes: x.collect() },
            Input { bytes: first.collect() },
            Input { bytes: last.collect() },
        ];
        let done = run(checked, &kernel, &sizes, &inputs).expect(schedule);
        assert_eq!(first_wrong(checked, &sizes, &inputs, &done.outputs), None, "{schedule}");
        done.counts.warp_instructions.total()
    };
    let (narrow, everything) = (instructions(NARROW), instructions(EVERYTHING));
    assert!(
        2 * narrow < everything,
        "{schedule}: {narrow} of {everything} instructions"
    );
}

#[test]
fn loops_end_where_guards_do() {
    for exact in [true, false] {
        for schedule in [
            "plain threads=64",
            "row threads=32 rows=2 vector=1 keep=reload unroll=1 pass=several",
            "row threads=64 rows=1 vector=4 keep=reload unroll=2 pass=one",
            "reduce threads=64 lanes=1 vector=4 keep=reload unroll=2 split_k=4",
        ] {
            check(PARTS, &[8, 8192], exact, schedule);
        }
        for schedule in [
            "plain threads=64",
            "reduce threads=8 lanes=8 vector=4 keep=reload unroll=2 split_k=1",
            "reduce threads=8 lanes=8 vector=2 keep=reload unroll=1 split_k=4",
        ] {
            check(COLUMNS, &[8192, 32, 8], exact, schedule);
        }
        for schedule in [
            "plain threads=64",
            "row threads=32 rows=2 vector=2 keep=reload unroll=1 pass=several",
        ] {
            check(INNER, &[8, 8192, 4], exact, schedule);
        }
    }
}
