//! Prints a hash of the text of every kernel of the validation set, for every GPU of it: two versions of the compiler that print the same
//! lines emit the same kernels.
//!
//! ```sh
//! EVERY_CASE=1 SEED=77 cargo run --release -p energy-kernel-tests --example kernels > before
//! ```

use energy_kernel_compiler::lower::lower;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::target::Machine;
use energy_kernel_tests::{GPUS, OPERATORS, cases, operators};
use rayon::prelude::*;
use std::hash::{DefaultHasher, Hash, Hasher};

fn main() {
    let operators = operators(OPERATORS);
    for (capability, multiprocessors) in GPUS {
        let machine = Machine::documented(capability, multiprocessors).expect("a supported GPU");
        let lines: Vec<String> = (cases(&operators, machine).par_iter().enumerate())
            .map(|(number, case)| {
                let kernel = lower(
                    &Problem::new(case.checked, &case.specialisation, machine),
                    case.schedule,
                )
                .expect("a legal schedule");
                let mut hasher = DefaultHasher::new();
                kernel.ptx.replace(kernel.name(), "").hash(&mut hasher);
                let (major, minor) = capability;
                format!("{major}.{minor} {number} {} {:016x}", case.name, hasher.finish())
            })
            .collect();
        lines.iter().for_each(|line| println!("{line}"));
    }
}
