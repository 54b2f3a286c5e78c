//! Random well-typed programs of the language: whatever schedule computes them, the emulator gives what the reference gives.

use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::target::Target;
use energy_kernel_compiler::testing::{inputs, programs};
use energy_kernel_compiler::{lang, lower, schedule};
use energy_kernel_tests::{Input, first_wrong, run};
use proptest::prelude::*;

proptest! {
    #[test]
    fn every_schedule_gives_the_reference(program in programs(), seed in any::<u64>()) {
        let tokens = program.source.parse().expect("programs are tokens");
        let operator = lang::parse(Default::default(), tokens)
            .map_err(|error| TestCaseError::fail(format!("{error}\n{}", program.source)))?;
        let checked = &operator.variants[0].checked;
        let sizes = checked.bind(&program.sizes).expect("programs have sizes");
        // The proof of ranges need not find every program safe that is.
        prop_assume!(checked.verify(&sizes).is_ok());
        let inputs: Vec<Input> = inputs(checked, &sizes, seed).into_iter().map(|(_, bytes)| Input { bytes }).collect();
        for specialisation in [Specialisation::exact(&sizes), Specialisation::like(&sizes)] {
            let space = schedule::space(checked, &specialisation, Target::Sm80);
            for family in ["plain", "pointwise", "row", "contract"] {
                let points: Vec<_> = space.iter().filter(|point| point.family() == family).collect();
                let Some(point) = points.get(seed as usize % points.len().max(1)) else { continue };
                let kernel = lower::lower(checked, &specialisation, Target::Sm80, point).expect("the point is legal");
                let wrong = run(checked, &kernel, &sizes, &inputs)
                    .map(|run| first_wrong(checked, &sizes, &inputs, &run.outputs))
                    .unwrap_or_else(Some);
                prop_assert!(
                    wrong.is_none(),
                    "{}\n{:?} {:?}\n{point}\n{}",
                    program.source, program.sizes, specialisation.extents, wrong.unwrap_or_default()
                );
            }
        }
    }
}
