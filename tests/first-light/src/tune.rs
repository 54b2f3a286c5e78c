//! The command tunes three operators, and records a trace of them, without cargo: it is told of the package by a file of metadata.

use crate::program::{self, Ran};
use crate::step::{Outcome, Result, Step};
use energy_kernel::{Gpu, Plan, Sizes, Variant};
use first_light_operators::{decode, product, softmax};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// The command ends by itself that long before it is ended.
const MARGIN: Duration = Duration::from_secs(6);

/// The most tunings of operators that are left without energies, as time allows.
const MOST_TRIES: usize = 4;
const ANOTHER_TRY: Duration = Duration::from_secs(25);

/// An operator, and the sizes that it is tuned for.
pub struct Tuned {
    pub name: &'static str,
    pub variant: &'static Variant,
    pub sizes: Sizes,
}

/// The operators of the carried package.
pub fn operators(tiny: bool) -> energy_kernel::Result<[Tuned; 3]> {
    let tuned = |name, variant, sizes: &[(&str, u64)]| Tuned {
        name,
        variant,
        sizes: sizes
            .iter()
            .map(|&(name, size)| (name, if tiny { TINY } else { size }))
            .collect(),
    };
    let mut all = [
        tuned(
            "decode",
            decode::KERNEL.variant(&[])?,
            &[("M", 1), ("N", 4096), ("K", 4096)],
        ),
        tuned("softmax", softmax::KERNEL.variant(&[])?, &[("R", 4096), ("C", 4096)]),
        tuned(
            "product",
            product::KERNEL.variant(&[])?,
            &[("M", 2048), ("N", 2048), ("K", 2048)],
        ),
    ];
    all[0].sizes = std::mem::take(&mut all[0].sizes).with("M", 1);
    Ok(all)
}

/// The replacement of large sizes on a virtual GPU.
const TINY: u64 = 64;

/// Copies the package to where it may be written, and says so as cargo would.
fn package(step: &Step) -> Result<PathBuf> {
    let (from, to) = (step.carried("operators"), step.work().join("operators"));
    std::fs::create_dir_all(to.join("src"))?;
    std::fs::copy(from.join("Cargo.toml"), to.join("Cargo.toml"))?;
    let mut source = std::fs::read_to_string(from.join("src/lib.rs"))?;
    if step.tiny() {
        for large in ["4096", "2048"] {
            source = source.replace(large, &TINY.to_string());
        }
    }
    std::fs::write(to.join("src/lib.rs"), source)?;
    let manifest = to.join("Cargo.toml");
    let metadata = json!({ "packages": [{ "name": "first-light-operators", "manifest_path": manifest }] });
    let file = step.work().join("metadata.json");
    std::fs::write(&file, metadata.to_string())?;
    Ok(file)
}

/// Runs `tune` with these options until the step ends.
fn tool(step: &mut Step, options: &[&str]) -> Result<Ran> {
    let metadata = package(step)?;
    let mut command = Command::new(step.tool());
    let budget = step.left().saturating_sub(MARGIN).as_secs_f64();
    command.arg("--json").arg("--metadata").arg(metadata).arg("tune");
    command
        .args(["--budget", &format!("{budget:.1}s")])
        .args(options)
        .current_dir(step.work());
    let ran = program::run(&mut command, step.left().saturating_sub(Duration::from_secs(1)))?;
    eprint!("{}", ran.err);
    Ok(ran)
}

pub fn run(step: &mut Step) -> Result {
    // A virtual GPU has three energies for each operator, a real one as many as the time allows.
    let options: &[&str] = match step.tiny() {
        true => &["--candidates", "8", "--measurements", "3"],
        false => &["--candidates", "64"],
    };
    let mut tried = 0;
    loop {
        let ran = tool(step, options)?;
        tried += 1;
        if let Ok(told) = serde_json::from_str::<Value>(&ran.out) {
            step.result(json!({ "tune": told }))?;
        }
        // The runtime's view of the user's cache counts.
        let gpu = Gpu::open()?;
        let mut plans = Vec::new();
        for operator in operators(step.tiny())? {
            plans.push((operator.name, operator.variant.plan(&gpu, &operator.sizes)?));
        }
        let measured = plans.iter().filter(|(_, plan)| has_energy(plan)).count();
        // A host that has much else to do misses ticks of the counter.
        if (1..plans.len()).contains(&measured) && tried < MOST_TRIES && step.left() > ANOTHER_TRY {
            continue;
        }
        let mut figures = Vec::new();
        for (name, plan) in &plans {
            println!("{plan}");
            step.result(json!({ "operator": name, "plan": front(plan) }))?;
            figures.push(format!("{name} {}", summary(plan)));
        }
        let figures = figures.join(", ");
        return Ok(match (ran.succeeded(), measured == plans.len()) {
            (true, true) => Outcome::Fine(figures),
            (true, false) => Outcome::Failed(figures),
            (false, _) => Outcome::Failed(format!("{}: {}; {figures}", ran.ending(), ran.last_line())),
        });
    }
}

fn has_energy(plan: &Plan) -> bool {
    plan.figures().is_some_and(|figures| figures.energy.is_some())
}

/// The latency and energy of the chosen kernel.
fn summary(plan: &Plan) -> String {
    match plan.figures() {
        Some(figures) => {
            let latency = 1e6 * figures.latency.mean;
            match figures.energy {
                Some(energy) => format!("{latency:.2} µs {:.3} mJ", 1e3 * energy.mean),
                None => format!("{latency:.2} µs, energy unmeasured"),
            }
        }
        None => plan.origin().to_string(),
    }
}

/// The Pareto front as a result.
fn front(plan: &Plan) -> Value {
    let alternatives = plan.alternatives().iter().map(|alternative| {
        let figures = alternative.figures.map(|figures| {
            let energy = figures.energy.map(|energy| [energy.mean, energy.interval]);
            json!({ "latency_s": [figures.latency.mean, figures.latency.interval], "energy_j": energy })
        });
        json!({ "schedule": alternative.program.to_string(), "chosen": alternative.chosen, "figures": figures })
    });
    json!({ "origin": plan.origin().to_string(), "front": alternatives.collect::<Vec<_>>() })
}

/// A trace of many kernels, with what time is left.
pub fn sweep(step: &mut Step) -> Result {
    let file = step.result_file("trace.json");
    let name = file.to_string_lossy().into_owned();
    let candidates = if step.tiny() { "2" } else { "24" };
    let ran = tool(step, &["--sweep", &name, "--candidates", candidates])?;
    let told = serde_json::from_str::<Value>(&ran.out).unwrap_or_default();
    step.result(json!({ "sweep": told }))?;
    let swept = told["swept"].as_array().map(Vec::as_slice).unwrap_or_default();
    let points: u64 = swept.iter().filter_map(|one| one["points"].as_u64()).sum();
    let figures = format!("{points} points of {} operators", swept.len());
    // Points missing for want of time are no failure: the sweep can be resumed.
    Ok(match points {
        0 => Outcome::Failed(format!("{}: {}", ran.ending(), ran.last_line())),
        _ => Outcome::Fine(figures),
    })
}
