//! What kernels move, as the emulator counts it, against what they must.

use energy_kernel_compiler::schedule::{Keep, Row, Schedule};
use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::target::Target;
use energy_kernel_compiler::{lower, schedule};
use energy_kernel_tests::{first_wrong, operators, random_inputs, run};
use rand::SeedableRng;
use rand::rngs::StdRng;

/// Rows that are kept, in registers or in shared memory, are read once; others as often as the operator says.
#[test]
fn kept_rows_are_read_once() {
    let mut random = StdRng::seed_from_u64(5);
    for (name, checked) in operators(energy_kernel_tests::OPERATORS) {
        let walks = match name.as_str() {
            "softmax_f32" | "softmax_bf16" | "log_softmax_f32" => 3,
            "rms_norm_bf16" | "l2_normalise_f32" => 2,
            _ => continue,
        };
        let free = checked
            .op()
            .sizes
            .iter()
            .filter(|size| size.definition.is_none())
            .count();
        let sizes = checked.derive([8, 2048][..free].to_vec()).expect("rows and columns");
        let inputs = random_inputs(&checked, &sizes, &mut random);
        let specialisation = Specialisation::exact(&sizes);
        let row_bytes: usize = inputs[0].bytes.len();
        let others: usize = inputs[1..].iter().map(|input| input.bytes.len()).sum();
        for (rows, vector) in [(1, 1), (1, 4), (2, 4), (4, 2)] {
            let read = |keep| {
                let point = Schedule::Row(Row {
                    threads: 64,
                    rows,
                    vector,
                    keep,
                });
                assert!(
                    schedule::legal(&checked, &specialisation, Target::Sm80, &point),
                    "{name}: {point}"
                );
                let kernel = lower::lower(&checked, &specialisation, Target::Sm80, &point).expect("legal");
                let run =
                    run(&checked, &kernel, &sizes, &inputs).unwrap_or_else(|wrong| panic!("{name}: {point}: {wrong}"));
                assert_eq!(
                    first_wrong(&checked, &sizes, &inputs, &run.outputs),
                    None,
                    "{name}: {point}"
                );
                if keep == Keep::Shared {
                    // Put there once, and fetched by each later walk; besides it there is what warps exchange.
                    let exchanged = 4 * 2 * 8 * 3 * 32;
                    assert!((row_bytes..row_bytes + exchanged).contains(&(run.counts.shared_store_bytes as usize)));
                    let fetched = (walks - 1) * row_bytes;
                    assert!((fetched..fetched + exchanged).contains(&(run.counts.shared_load_bytes as usize)));
                }
                run.counts.global_load_bytes as usize
            };
            // What all rows read is read by each of them.
            let others = others * 8;
            assert_eq!(read(Keep::Registers), row_bytes + others, "{name} in registers");
            assert_eq!(read(Keep::Shared), row_bytes + others, "{name} in shared memory");
            assert_eq!(read(Keep::Reload), walks * row_bytes + others, "{name} again");
        }
    }
}
