//! Persistent blocks of `row` are right for any number of rows, also for fewer than there are groups of threads.

use energy_kernel_compiler::lower;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::schedule::{self, Keep, Pass, Row, Schedule};
use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::target::{Machine, Target};
use energy_kernel_tests::{bounded, first_wrong, operators, random_inputs, run};
use rand::SeedableRng;
use rand::rngs::StdRng;

/// Operators whose first size numbers rows: without exchanges, with one and with several; with outputs of one element a row; with masks, gathers
/// and types of 64 bits.
const OPERATORS: &str = "
    #[energy_kernel]
    fn rms_norm(x: Tensor<f16, (R, C)>, weight: Tensor<f16, (C,)>) -> Tensor<f16, (R, C)> {
        let square = |r| sum(|c| x[[r, c]] * x[[r, c]]) / C as f32;
        |r, c| x[[r, c]] * rsqrt(square[[r]] + 1e-6) * weight[[c]]
    }
    #[energy_kernel]
    fn layer_norm(x: Tensor<f32, (R, C)>, gain: Tensor<f32, (C,)>, shift: Tensor<f16, (C,)>) -> Tensor<f32, (R, C)> {
        let mean = |r| sum(|c| x[[r, c]]) / C as f32;
        let variance = |r| sum(|c| powi(x[[r, c]] - mean[[r]], 2)) / C as f32;
        |r, c| (x[[r, c]] - mean[[r]]) * rsqrt(variance[[r]] + 1e-5) * gain[[c]] + shift[[c]]
    }
    #[energy_kernel]
    fn weighted_softmax(x: Tensor<f32, (R, C)>, w: Tensor<f32, (C,)>) -> (Tensor<f32, (R, C)>, Tensor<f32, (R,)>) {
        let peak = |r| max(|c| x[[r, c]] * exp(w[[c]]));
        let total = |r| sum(|c| exp(x[[r, c]] * exp(w[[c]]) - peak[[r]]));
        (|r, c| exp(x[[r, c]] * exp(w[[c]]) - peak[[r]]) / total[[r]], |r| peak[[r]] + ln(total[[r]]))
    }
    #[energy_kernel]
    fn masked_mean(x: Tensor<f32, (R, C)>, length: Tensor<i32, (R,)>, w: Tensor<f32, (C,)>) -> Tensor<f32, (R, C)> {
        let mean = |r| sum(|c| if c < length[[r]] { x[[r, c]] * w[[c]] } else { 0.0 }) / C as f32;
        |r, c| if c < length[[r]] { mean[[r]] } else { w[[c]] }
    }
    #[energy_kernel]
    fn gathered_norm(id: Tensor<i32, (R,)>, table: Tensor<f16, (V, C)>, gain: Tensor<f16, (C,)>) -> Tensor<f16, (R, C)> {
        let square = |r| sum(|c| table[[id[[r]], c]] * table[[id[[r]], c]]);
        |r, c| table[[id[[r]], c]] * rsqrt(square[[r]] + 1e-6) * gain[[c]]
    }
    #[energy_kernel]
    fn farthest(x: Tensor<f64, (R, C)>, from: Tensor<f64, (C,)>) -> (Tensor<i32, (R,)>, Tensor<f64, (R,)>) {
        (|r| argmax(|c| abs(x[[r, c]] - from[[c]])), |r| sum(|c| powi(x[[r, c]] - from[[c]], 2)))
    }";

/// Sizes: rows, columns and, if there is a table, its rows.
fn sizes(count: usize, rows: u64, columns: u64) -> Vec<u64> {
    let named = [rows, columns, 9];
    match count {
        3 => vec![named[0], named[2], named[1]],
        _ => named[..2].to_vec(),
    }
}

#[test]
fn any_number_of_rows_is_right() {
    let mut random = StdRng::seed_from_u64(3);
    let machine = Machine::like(Target::Sm80);
    let mut kernels = 0;
    for (name, checked) in operators(OPERATORS) {
        let count = checked.op().sizes.len();
        for (columns, vector) in [(96, 4), (45, 1)] {
            for (threads, rows) in [(8, 4), (32, 1), (16, 4), (64, 1), (64, 2), (128, 2)] {
                let point = |blocks| {
                    Schedule::Row(Row {
                        threads,
                        rows,
                        vector,
                        keep: Keep::Registers,
                        unroll: 1,
                        pass: Pass::Several,
                        blocks,
                    })
                };
                for (number, blocks) in [(1, 3), (2, 1), (7, 2), (29, 3)] {
                    let sizes = sizes(count, number, columns);
                    let inputs = random_inputs(&checked, &sizes, &mut random);
                    let columns_alone = bounded(&sizes, |position| sizes[position] == columns);
                    for specialisation in [Specialisation::exact(&sizes), columns_alone] {
                        let problem = Problem::new(&checked, &specialisation, machine);
                        let case = format!("{name} {:?} {}", specialisation.extents, point(blocks));
                        if !schedule::legal(&problem, &point(blocks)) {
                            continue;
                        }
                        let kernel = lower::lower(&problem, point(blocks)).expect("the point is legal");
                        let run =
                            run(&checked, &kernel, &sizes, &inputs).unwrap_or_else(|wrong| panic!("{case}: {wrong}"));
                        assert_eq!(first_wrong(&checked, &sizes, &inputs, &run.outputs), None, "{case}");
                        kernels += 1;
                    }
                }
            }
        }
    }
    assert!(kernels > 500, "{kernels} kernels");
}

/// Persistent blocks are offered where rows are kept in registers and some come after others, and refused elsewhere.
#[test]
fn persistent_blocks_are_legal_where_they_keep_something() {
    let (_, checked) = operators(OPERATORS).swap_remove(1);
    let machine = Machine::like(Target::Sm80);
    let space = |rows| {
        let specialisation = Specialisation::exact(&[rows, 1024]);
        schedule::space(&Problem::new(&checked, &specialisation, machine))
    };
    let persistent = |space: Vec<Schedule>| -> Vec<Row> {
        let rows = space.into_iter().filter_map(|point| match point {
            Schedule::Row(row) if row.blocks > 0 => Some(row),
            _ => None,
        });
        rows.collect()
    };
    let points = persistent(space(1 << 16));
    assert!(points.len() > 20 && points.iter().all(|row| row.keep == Keep::Registers));
    let few = u64::from(machine.multiprocessors / 2);
    assert_eq!(persistent(space(few)), [], "one row for each block");
    let specialisation = Specialisation::exact(&[1 << 16, 1024]);
    let problem = Problem::new(&checked, &specialisation, machine);
    for keep in [Keep::Shared, Keep::Reload] {
        let point = Row { keep, ..points[0] };
        assert!(!schedule::legal(&problem, &Schedule::Row(point)), "{keep:?}");
        assert!(
            schedule::legal(&problem, &Schedule::Row(Row { blocks: 0, ..point })),
            "{keep:?}"
        );
    }
}
