//! Energies of two kernels, measured in turn: one kernel against itself, which must leave no difference, then the chosen kernels against the
//! fastest.

use crate::normal::normal;
use crate::step::{Outcome, Result, Step};
use crate::tune::{Tuned, operators};
use energy_kernel::tools::compiler::check::Checked;
use energy_kernel::tools::compiler::element::Element;
use energy_kernel::tools::compiler::lower::lower;
use energy_kernel::tools::compiler::reference::{Number, stored};
use energy_kernel::{Gpu, Plan, Program};
use energy_kernel_build::tune::{Backend, Comparison, Data, Effort, GpuBackend, Instance, LEAST_PAIRS, compare};
use energy_kernel_compiler::problem::Problem;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;
use std::time::Instant;

/// A kernel against itself may differ by so much. A larger difference is measured again: one comparison in twenty is decided by chance.
const NOTHING: f64 = 0.005;

/// A window that missed ticks of the counter leaves no comparison; it is begun again so often.
const MOST_TRIES: usize = 3;

pub fn run(step: &mut Step) -> Result {
    let gpu = Gpu::open()?;
    let tuned = operators(step.tiny())?;
    let plans = tuned
        .iter()
        .map(|operator| operator.variant.plan(&gpu, &operator.sizes))
        .collect::<energy_kernel::Result<Vec<Plan>>>()?;
    drop(gpu);
    let mut backend = GpuBackend::open(1)?;
    if let Some(why) = backend.without_energy() {
        return Ok(Outcome::Failed(why.to_owned()));
    }
    // Windows of 5 s for a claim; a virtual GPU's are worth none.
    backend.set_effort(if step.tiny() { Effort::Search } else { Effort::Claim });

    let Some((operator, plan)) = tuned.iter().zip(&plans).next() else {
        return Ok(Outcome::Skipped("there is no operator".to_owned()));
    };
    let Some(same) = measure(&mut backend, operator, plan, [plan.program(); 2], step.end())? else {
        return Ok(Outcome::Failed(
            "the energy counter gave nothing, or the time was too short".to_owned(),
        ));
    };
    let differs = same.is_decided() && (1.0 - same.ratio.mean).abs() > NOTHING;
    let mut figures = vec![format!("{} against itself {}", operator.name, told(&same))];
    report(step, operator.name, "itself", &same)?;

    for (operator, plan) in tuned.iter().zip(&plans) {
        let fastest = plan.alternatives().first().map(|first| first.program.clone());
        let Some(fastest) = fastest else {
            figures.push(format!("{} is not tuned", operator.name));
            continue;
        };
        if fastest == *plan.program() {
            figures.push(format!("{}: the chosen is the fastest", operator.name));
            continue;
        }
        let Some(saved) = measure(&mut backend, operator, plan, [&fastest, plan.program()], step.end())? else {
            figures.push(format!("{}: no time", operator.name));
            break;
        };
        report(step, operator.name, "fastest", &saved)?;
        figures.push(format!("{} saves {}", operator.name, told(&saved)));
    }
    let figures = figures.join(", ");
    Ok(match differs {
        true => Outcome::Failed(figures),
        false => Outcome::Fine(figures),
    })
}

fn told(comparison: &Comparison) -> String {
    let saving = comparison.saving();
    let verdict = if comparison.is_decided() { "" } else { " (undecided)" };
    format!("{:.2} ± {:.2} %{verdict}", 100.0 * saving.mean, 100.0 * saving.interval)
}

fn report(step: &mut Step, operator: &str, against: &str, comparison: &Comparison) -> Result<()> {
    let flags: Vec<&str> = comparison.flags.iter().map(|flag| flag.name()).collect();
    println!(
        "{operator} against {against}: {}, {} pairs, {}",
        told(comparison),
        comparison.pairs,
        flags.join(", ")
    );
    step.result(json!({
        "operator": operator, "against": against, "saving": comparison.saving().mean, "interval": comparison.saving().interval,
        "decided": comparison.is_decided(), "pairs": comparison.pairs, "joules": comparison.energies.map(|energy| energy.mean),
        "flags": flags,
    }))
}

/// Compares the energies of two schedules of an operator; none where the time is too short.
fn measure(
    backend: &mut GpuBackend,
    operator: &Tuned,
    plan: &Plan,
    programs: [&Program; 2],
    end: Instant,
) -> Result<Option<Comparison>> {
    let checked = operator.variant.checked();
    let sizes = checked.bind(&operator.sizes)?;
    let inputs = inputs(checked, &sizes);
    let instance = Instance {
        checked,
        specialisation: plan.specialisation(),
        sizes: &sizes,
        inputs: &inputs,
        seed: 0,
        warm_inputs: &[],
    };
    let machine = backend.machine();
    backend.begin(instance, end)?;
    let mut load = |program: &Program| {
        let kernel = lower(&Problem::new(checked, plan.specialisation(), machine), program)?;
        let (candidate, _) = backend.load(instance, &kernel, &[], end)?;
        let latency = backend.latency(instance, &candidate, end)?;
        Ok::<_, Box<dyn std::error::Error>>((candidate, latency.estimate.mean))
    };
    let [a, b] = [load(programs[0])?, load(programs[1])?];
    for _ in 0..MOST_TRIES {
        let compared = compare(backend, instance, [(&a.0, a.1), (&b.0, b.1)], LEAST_PAIRS, end)?;
        if compared.is_some() || Instant::now() >= end {
            return Ok(compared);
        }
    }
    Ok(None)
}

/// Random normal inputs.
fn inputs(checked: &Checked, sizes: &[u64]) -> Vec<Data> {
    let mut random = StdRng::seed_from_u64(0);
    let mut draw = |element: Element| stored(element, Number::Float(normal(&mut random)));
    let inputs = checked.op().inputs.iter().map(|input| {
        let shape: Vec<u64> = input.dims.iter().flatten().map(|size| sizes[size.index()]).collect();
        let bytes = (0..shape.iter().product())
            .flat_map(|_: u64| draw(input.element))
            .collect();
        Data {
            element: input.element,
            shape,
            bytes,
        }
    });
    inputs.collect()
}
