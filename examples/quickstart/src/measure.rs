//! Latency and energy of one kernel of an operator: the one that was chosen, and the one that would run untuned.

use energy_kernel::tools::compiler::estimate;
use energy_kernel::tools::compiler::lower::lower;
use energy_kernel::tools::compiler::problem::Problem;
use energy_kernel::tools::{Argument, Variant, View};
use energy_kernel::{Error, Gpu, Plan, Program, Result, Specialisation};
use std::fmt::{Display, Formatter};

/// The time for which a kernel is repeated to measure its energy, in seconds.
const WINDOW: f64 = 2.5;

/// Latency and energy of one launch.
pub struct Cost {
    seconds: f64,
    joules: f64,
    simulated: bool,
}

impl Display for Cost {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:9.3} µs {:9.3} µJ", self.seconds * 1e6, self.joules * 1e6)?;
        write!(f, "{}", if self.simulated { " (simulated)" } else { "" })
    }
}

/// The schedule that would run if nothing had been tuned, and what it would be compiled to know.
pub fn untuned(gpu: &Gpu, plan: &Plan, variant: &Variant) -> Result<(Program, Specialisation)> {
    let sizes = sizes(plan, variant)?;
    let specialisation = Specialisation::like(&sizes);
    let schedule = estimate::default(&Problem::new(variant.checked(), &specialisation, gpu.machine()), &sizes);
    Ok((schedule.into(), specialisation))
}

/// The cost of a launch with these inputs and outputs.
pub fn cost(
    gpu: &Gpu,
    plan: &Plan,
    variant: &Variant,
    program: &Program,
    specialisation: &Specialisation,
    inputs: &[Argument<'_>],
    outputs: &[View<'_>],
) -> Result<Cost> {
    let kernel = lower(&Problem::new(variant.checked(), specialisation, gpu.machine()), program).map_err(|error| {
        Error::Lower {
            operator: variant.name().to_owned(),
            reason: error.to_string(),
        }
    })?;
    let loaded = gpu.compile(&kernel)?;
    let sizes = sizes(plan, variant)?;
    // SAFETY: the kernel was lowered from this operator for this specialisation, and the plan is for the tensors' sizes.
    let launch = unsafe { loaded.prepare(variant.checked(), &sizes, inputs, outputs) }?;
    let repetitions = if gpu.is_emulated() {
        1
    } else {
        launch.launch()?;
        let (seconds, ()) = gpu.time(|| (0..10).try_for_each(|_| launch.launch()))?;
        (WINDOW / (seconds / 10.0)).ceil() as u64
    };
    let (energy, ()) = gpu.energy(|| (0..repetitions).try_for_each(|_| launch.launch()))?;
    Ok(Cost {
        seconds: energy.seconds / repetitions as f64,
        joules: energy.joules / repetitions as f64,
        simulated: energy.simulated,
    })
}

fn sizes(plan: &Plan, variant: &Variant) -> Result<Vec<u64>> {
    let op = variant.checked().op();
    let sizes = op.sizes.iter().map(|size| plan.sizes().get(&size.name));
    sizes.collect::<Option<_>>().ok_or_else(|| Error::Lower {
        operator: op.name.clone(),
        reason: "the plan does not name all sizes".to_owned(),
    })
}
