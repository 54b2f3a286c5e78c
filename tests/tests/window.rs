//! `window` loads the inputs that a thread's outputs share once, and is right at the edges.

use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::schedule::{self, Schedule, Window};
use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::target::{Machine, Target};
use energy_kernel_compiler::{lower, tuning};
use energy_kernel_tests::{Run, first_wrong, of_validation_set, random_inputs, run};
use rand::SeedableRng;
use rand::rngs::StdRng;

fn points(checked: &Checked, specialisation: &Specialisation) -> Vec<Window> {
    let space = schedule::space(&Problem::new(checked, specialisation, Machine::like(Target::Sm80)));
    let points = space.into_iter().filter_map(|point| match point {
        Schedule::Window(window) => Some(window),
        _ => None,
    });
    points.collect()
}

/// Runs a kernel and asserts that its results are right. Returns the run and the bytes of all inputs.
fn right(checked: &Checked, specialisation: &Specialisation, sizes: &[u64], point: Window) -> (Run, u64) {
    let name = &checked.op().name;
    let point = Schedule::Window(point);
    let inputs = random_inputs(checked, sizes, &mut StdRng::seed_from_u64(31));
    let kernel = lower::lower(
        &Problem::new(checked, specialisation, Machine::like(Target::Sm80)),
        point,
    )
    .expect("the point is legal");
    let run =
        run(checked, &kernel, sizes, &inputs).unwrap_or_else(|wrong| panic!("{name} {sizes:?}: {point}: {wrong}"));
    let wrong = first_wrong(checked, sizes, &inputs, &run.outputs);
    assert_eq!(wrong, None, "{name} {sizes:?}: {point}");
    (run, inputs.iter().map(|input| input.bytes.len() as u64).sum())
}

/// An operator and its sizes; bytes of an element; the step and the taps along rows and columns; further bytes that a thread reads.
type Sharing = (&'static str, &'static [u64], u64, [u64; 4], u64);

#[test]
fn what_outputs_share_is_loaded_once() {
    let cases: [Sharing; 4] = [
        ("conv_depthwise_f16", &[1, 3, 16, 32, 5, 3], 2, [1, 5, 1, 3], 15 * 2),
        ("conv_depthwise_stride_f32", &[1, 2, 32, 64], 4, [2, 3, 2, 3], 9 * 4 + 4),
        ("max_pool_f32", &[1, 2, 32, 64], 4, [2, 3, 2, 3], 0),
        ("average_pool_f16", &[2, 2, 32, 64], 2, [2, 2, 2, 2], 0),
    ];
    for (name, free, bytes, [row_step, row_taps, column_step, column_taps], further) in cases {
        let checked = of_validation_set(name);
        let sizes = checked.derive(free.to_vec()).expect("all free sizes");
        let specialisation = Specialisation::exact(&sizes);
        let outputs: u64 = checked.op().outputs[0]
            .dims
            .iter()
            .map(|size| sizes[size.index()])
            .product();
        let points = points(&checked, &specialisation);
        assert!(points.len() >= 20, "{name}: {} points", points.len());
        for point in points.into_iter().filter(|point| point.threads == 64) {
            let (run, input_bytes) = right(&checked, &specialisation, &sizes, point);
            let (rows, columns) = (u64::from(point.rows), u64::from(point.columns));
            let high = row_step * (rows - 1) + row_taps;
            let wide = column_step * (columns - 1) + column_taps;
            // The narrowest vector of `f16` is a word of two elements.
            let wide = if bytes == 2 {
                wide.next_multiple_of(2) + 2 * u64::from(columns > 1)
            } else {
                wide
            };
            let most = outputs / (rows * columns) * (high * wide * bytes + further);
            let read = run.counts.global_load_bytes;
            assert!(
                read <= most,
                "{name} {point:?}: {read} bytes are read, {most} at most are shared"
            );
            // At most all inputs, rounded up to sectors.
            assert!(run.counts.dram_read_bytes <= input_bytes.next_multiple_of(32) + 32);
            let written: usize = run.outputs.iter().map(Vec::len).sum();
            assert_eq!(run.counts.global_store_bytes, written as u64, "{name} {point:?}");
        }
    }
}

/// Threads at the far edges start earlier so that their tiles fit, and store only the outputs that no other thread stores.
#[test]
fn results_are_right_at_any_size() {
    let cases: [(&str, &[u64]); 8] = [
        ("conv_depthwise_f16", &[2, 3, 7, 13, 5, 3]),
        ("conv_depthwise_f16", &[1, 2, 9, 10, 1, 7]),
        ("conv_depthwise_stride_f32", &[2, 2, 21, 15]),
        ("max_pool_f32", &[1, 3, 13, 27]),
        ("average_pool_f16", &[1, 2, 15, 23]),
        ("conv_depthwise_last_bf16", &[2, 5, 7, 24]),
        ("conv_depthwise_last_bf16", &[1, 9, 8, 13]),
        ("conv_causal_f16", &[2, 3, 37]),
    ];
    for (name, free) in cases {
        let checked = of_validation_set(name);
        let sizes = checked.derive(free.to_vec()).expect("all free sizes");
        let exact = Specialisation::exact(&sizes);
        let unaligned = Specialisation {
            aligned: false,
            wide: true,
            ..exact.clone()
        };
        for specialisation in [exact, tuning::untuned(&checked, &sizes), unaligned] {
            for point in points(&checked, &specialisation) {
                if point.threads == 64 {
                    let (run, _) = right(&checked, &specialisation, &sizes, point);
                    let written: usize = run.outputs.iter().map(Vec::len).sum();
                    assert_eq!(run.counts.global_store_bytes, written as u64, "{name} {point:?}");
                }
            }
        }
    }
}
