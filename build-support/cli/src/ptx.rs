//! `ptx`: an operator's kernel.

use crate::Outcome;
use crate::arguments::{Arguments, Ptx};
use crate::package::Package;
use energy_kernel_build::scan::Found;
use energy_kernel_compiler::estimate;
use energy_kernel_compiler::lower::lower;
use energy_kernel_compiler::record::Objective;
use energy_kernel_compiler::schedule::{self, Schedule};
use energy_kernel_compiler::size::{Sizes, Specialisation};
use energy_kernel_compiler::target::{Machine, Target};
use miette::{IntoDiagnostic, Result, miette};
use std::process::ExitCode;

/// Multiprocessors that a default schedule is chosen for where no device says: an H100's.
const MULTIPROCESSORS: u32 = 132;

pub fn ptx(arguments: &Arguments, options: &Ptx) -> Outcome {
    let package = Package::find(arguments)?;
    let names = [options.operator.clone()];
    let found = package.named(&names)?;
    let [found] = found.as_slice() else {
        let all: Vec<&str> = found.iter().map(|found| found.name.as_str()).collect();
        return Err(miette!(
            help = format!("one of: {}", all.join(", ")),
            "`{}` has several variants",
            options.operator
        )
        .into());
    };
    let target = target(&options.capability)?;
    let (sizes, specialisation) = sizes(found, options)?;
    if options.list {
        let space = schedule::space(&found.checked, &specialisation, target);
        let lines: Vec<String> = space.iter().map(Schedule::to_string).collect();
        match arguments.json {
            true => say!("{}", serde_json::json!(lines)),
            false => lines.iter().for_each(|line| say!("{line}")),
        }
        return Ok(ExitCode::SUCCESS);
    }
    let (schedule, origin) = match &options.schedule {
        Some(text) => (text.parse::<Schedule>().into_diagnostic()?, "as asked"),
        None => chosen(&package, found, &sizes, &specialisation, target),
    };
    let kernel = lower(&found.checked, &specialisation, target, &schedule).into_diagnostic()?;
    if arguments.json {
        let grid = kernel.launch.grid(&sizes).into_diagnostic()?;
        say!(
            "{}",
            serde_json::json!({
                "operator": found.name, "schedule": schedule.to_string(), "origin": origin, "entry": kernel.entry,
                "grid": grid, "block": kernel.launch.block, "dynamic_shared": kernel.launch.dynamic_shared, "ptx": kernel.ptx,
            })
        );
    } else {
        say!("// {}: {schedule} ({origin})", found.name);
        say!("{}", kernel.ptx.trim_end());
    }
    Ok(ExitCode::SUCCESS)
}

fn chosen(
    package: &Package,
    found: &Found,
    sizes: &[u64],
    specialisation: &Specialisation,
    target: Target,
) -> (Schedule, &'static str) {
    let contents = package.cache.read(&package.operators);
    let known = contents.operators.get(&found.fingerprint);
    let mut devices = known.iter().flat_map(|known| known.devices.values()).filter(|file| {
        let (major, minor) = file.device.compute_capability;
        Target::for_capability(major, minor) == Some(target)
    });
    let tuned = devices.find_map(|file| {
        let schedule = file
            .record(sizes, specialisation)?
            .choose(Objective::default())?
            .schedule;
        Some((
            schedule,
            if file.device.simulated {
                "tuned on the emulated device"
            } else {
                "tuned"
            },
        ))
    });
    tuned.unwrap_or_else(|| {
        let machine = Machine {
            target,
            multiprocessors: MULTIPROCESSORS,
        };
        (
            estimate::default(&found.checked, specialisation, sizes, machine),
            "the default",
        )
    })
}

fn target(text: &str) -> Result<Target> {
    let numbers = text
        .split_once('.')
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    numbers
        .and_then(|(major, minor): (u32, u32)| Target::for_capability(major.min(99), minor.min(9)))
        .ok_or_else(|| miette!("`{text}` is no compute capability from 8.0 on"))
}

/// The first bucket, or the sizes asked for: a bucket's kernel where they are one, else a kernel for them alone.
fn sizes(found: &Found, options: &Ptx) -> Result<(Vec<u64>, Specialisation)> {
    let Some(text) = &options.sizes else {
        let first = found
            .buckets
            .first()
            .ok_or_else(|| miette!("`{}` has no sizes to tune for", found.name))?;
        return Ok((first.clone(), found.specialisation.clone()));
    };
    let mut given = Sizes::new();
    for pair in text.split(',').filter(|pair| !pair.trim().is_empty()) {
        let parsed = pair
            .split_once('=')
            .and_then(|(name, value)| Some((name.trim(), value.trim().parse().ok()?)));
        let (name, value) = parsed.ok_or_else(|| miette!("`{pair}` is no size: NAME=NUMBER is expected"))?;
        given = given.with(name, value);
    }
    let sizes = found.checked.bind(&given).into_diagnostic()?;
    let specialisation = match found.specialisation.accepts(&sizes) {
        true => found.specialisation.clone(),
        false => Specialisation::exact(&sizes),
    };
    Ok((sizes, specialisation))
}
