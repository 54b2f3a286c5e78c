//! Estimated seconds of untuned kernels.

use crate::check::Checked;
use crate::problem::Problem;
use crate::size::Specialisation;
use crate::stages;
use crate::target::Machine;
use crate::tuning;

/// The estimated seconds of the untuned program.
pub(super) fn untuned_seconds(checked: &Checked, sizes: &[u64], machine: Machine) -> Option<f64> {
    let specialisation = Specialisation {
        wide: tuning::is_wide(checked, sizes),
        ..tuning::untuned(checked, sizes)
    };
    let untuned = stages::untuned_by_default(checked, &specialisation, machine, sizes)?;
    let problem = Problem::new(checked, &untuned.specialisation, machine);
    stages::seconds(&problem, &untuned.program, sizes)
}
