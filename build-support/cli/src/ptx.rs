//! `ptx`: prints an operator's kernel.

use crate::arguments::{Arguments, Ptx};
use crate::kernel::{self, choose, of_program, specialisation};
use crate::outcome::Outcome;
use crate::output::{json, plain};
use crate::package::Package;
use crate::quantity::count;
use energy_kernel_build::names;
use energy_kernel_build::scan::Found;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::schedule::{self, Program, Schedule};
use miette::{IntoDiagnostic, Result, miette};
use std::process::ExitCode;

pub fn ptx(arguments: &Arguments, options: &Ptx) -> Outcome {
    let package = Package::find(arguments)?;
    package.warn();
    let found = package.named(std::slice::from_ref(&options.operator))?;
    let [found] = found.as_slice() else {
        let mut all: Vec<String> = found.iter().map(|found| found.name.clone()).collect();
        all.sort();
        all.dedup();
        // Operators of one name differ in their places.
        if all.len() < found.len() {
            all = found.iter().map(|found| plain(package.place(found))).collect();
        }
        return Err(miette!(
            help = format!("name one of: {}", all.join(", ")),
            "`{}` is the name of {}",
            plain(&options.operator),
            count(found.len(), "operator")
        )
        .into());
    };
    let machine = kernel::machine(&options.capability)?;
    let sizes = sizes(found, options)?;
    if options.list {
        let space = schedule::space(&Problem::new(&found.checked, &specialisation(found, &sizes), machine));
        let lines: Vec<String> = space.iter().map(Schedule::to_string).collect();
        match arguments.json {
            true => json(&serde_json::json!(lines)),
            false => lines.iter().for_each(|line| say!("{line}")),
        }
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = match &options.schedule {
        Some(text) => of_program(found, text.parse::<Program>().into_diagnostic()?, &sizes, machine)?,
        None => choose(found, &package.cache.read(&package.operators), &sizes, machine)?,
    };
    let (kernel, schedule) = (&chosen.kernel, chosen.program.to_string());
    let named = names(found, &sizes);
    if arguments.json {
        let grids = kernel.grids(&sizes).into_diagnostic()?;
        let launches = kernel.launches.iter().zip(grids).map(|(launch, grid)| {
            serde_json::json!({
                "entry": launch.entry, "grid": grid, "block": launch.block, "dynamic_shared": launch.dynamic_shared,
            })
        });
        json(&serde_json::json!({
            "operator": found.name, "sizes": named, "schedule": schedule, "origin": chosen.origin,
            "launches": launches.collect::<Vec<_>>(), "ptx": kernel.ptx,
        }));
    } else {
        say!("// {} ({named}): {schedule} ({})", found.name, chosen.origin);
        say!("{}", kernel.ptx.trim_end());
    }
    Ok(ExitCode::SUCCESS)
}

/// The sizes on the command line, else those of the first bucket.
fn sizes(found: &Found, options: &Ptx) -> Result<Vec<u64>> {
    match (&options.sizes, found.buckets.first()) {
        (Some(text), _) => kernel::sizes(found, text),
        (None, Some(first)) => Ok(first.clone()),
        (None, None) => Err(miette!(
            help = format!("name the sizes: --sizes {}", kernel::example(found)),
            "`{}` has no `tune(…)`, so no sizes are known",
            found.name
        )),
    }
}
