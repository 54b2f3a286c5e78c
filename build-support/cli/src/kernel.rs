//! Which kernel a call would use: the runtime's choice, for a compute capability instead of a device.

use crate::output::plain;
use energy_kernel_build::cache::Contents;
use energy_kernel_build::names;
use energy_kernel_build::scan::Found;
use energy_kernel_compiler::estimate;
use energy_kernel_compiler::kernel::{Kernel, MOST_WORKSPACE};
use energy_kernel_compiler::lower::lower;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::record::{CacheFile, Objective, Record, TunedBucket};
use energy_kernel_compiler::schedule::Program;
use energy_kernel_compiler::size::{Sizes, Specialisation};
use energy_kernel_compiler::stages::{self, Untuned};
use energy_kernel_compiler::target::Machine;
use energy_kernel_compiler::tuning::{is_wide, untuned};
use miette::{IntoDiagnostic, Result, WrapErr, miette};

/// The number of multiprocessors that untuned schedules are chosen for: an H100's.
const MULTIPROCESSORS: u32 = 132;

/// A kernel and the reason for its choice.
pub struct Chosen {
    pub kernel: Kernel,
    pub program: Program,
    pub origin: String,
}

/// The kernel of a call at these sizes, with tensors aligned to 16 bytes. Results of real devices take precedence over simulated ones.
pub fn choose(found: &Found, contents: &Contents, sizes: &[u64], machine: Machine) -> Result<Chosen> {
    if let Some(tuned) = tuned(found, contents, sizes, machine) {
        return Ok(tuned);
    }
    let specialisation = untuned_specialisation(found, sizes);
    let near = estimate::near(&found.checked, &specialisation, sizes);
    let fits =
        |untuned: &Untuned| stages::stored_bytes(&found.checked, &untuned.program.stored, sizes) <= MOST_WORKSPACE;
    let untuned = stages::untuned(&found.checked, &specialisation, machine, &near);
    let untuned = untuned.into_iter().find(fits);
    let Untuned {
        specialisation,
        program,
    } = untuned.ok_or_else(|| miette!("`{}` has no kernel", found.name))?;
    let problem = Problem::new(&found.checked, &specialisation, machine);
    Ok(Chosen {
        kernel: lower(&problem, &program).into_diagnostic()?,
        program,
        origin: "untuned".to_owned(),
    })
}

/// The kernel of a program: for the tuned specialisation if that accepts these sizes, else for an untuned one.
pub fn of_program(found: &Found, program: Program, sizes: &[u64], machine: Machine) -> Result<Chosen> {
    let kernel = lower(
        &Problem::new(&found.checked, &specialisation(found, sizes), machine),
        &program,
    )
    .into_diagnostic()?;
    Ok(Chosen {
        kernel,
        program,
        origin: "as asked".to_owned(),
    })
}

/// The specialisation of kernels for these sizes.
pub fn specialisation(found: &Found, sizes: &[u64]) -> Specialisation {
    let tuned = &found.specialisation;
    match !found.buckets.is_empty() && serves(found, tuned, sizes) {
        true => tuned.clone(),
        false => untuned_specialisation(found, sizes),
    }
}

fn untuned_specialisation(found: &Found, sizes: &[u64]) -> Specialisation {
    Specialisation {
        wide: is_wide(&found.checked, sizes),
        ..untuned(&found.checked, sizes)
    }
}

fn serves(found: &Found, specialisation: &Specialisation, sizes: &[u64]) -> bool {
    specialisation.accepts(sizes) && (specialisation.wide || !is_wide(&found.checked, sizes))
}

fn tuned(found: &Found, contents: &Contents, sizes: &[u64], machine: Machine) -> Option<Chosen> {
    let known = contents.operators.get(&found.fingerprint)?;
    // Kernels do not depend on the number of multiprocessors.
    let is_alike =
        |file: &&CacheFile| Machine::documented(file.device.compute_capability, MULTIPROCESSORS) == Some(machine);
    let mut files: Vec<&CacheFile> = known.devices.values().filter(is_alike).collect();
    files.sort_by_key(|file| file.device.simulated);
    files.into_iter().find_map(|file| {
        let serving = |record: &&Record| serves(found, &record.specialisation, sizes);
        let records: Vec<&Record> = file.records.iter().filter(serving).collect();
        let record = TunedBucket::nearest(&records, |record| record.bucket(), sizes)?;
        let program = &record.choose(Objective::default())?.program;
        // Like a call, skip kernels that cannot be made or launched at these sizes.
        let kernel = lower(&Problem::new(&found.checked, &record.specialisation, machine), program).ok()?;
        (kernel.scratch_bytes(&kernel.grids(sizes).ok()?, sizes, MOST_WORKSPACE)).ok()?;
        let simulated = if file.device.simulated { ", simulated" } else { "" };
        Some(Chosen {
            kernel,
            program: program.clone(),
            origin: format!(
                "tuned for {} on {}{simulated}",
                names(found, &record.sizes),
                plain(&file.device.name)
            ),
        })
    })
}

/// All sizes of an operator, from the free sizes on the command line: `M=16,K=384`.
pub fn sizes(found: &Found, text: &str) -> Result<Vec<u64>> {
    let mut given = Sizes::new();
    for pair in text.split(',').filter(|pair| !pair.trim().is_empty()) {
        let parsed = pair
            .split_once('=')
            .and_then(|(name, value)| Some((name.trim(), value.trim().parse().ok()?)));
        let (name, value) = parsed.ok_or_else(|| miette!("`{}` is not a size; write NAME=NUMBER", plain(pair)))?;
        given = given.with(name, value);
    }
    let of = || format!("`{}` cannot have these sizes", found.name);
    let sizes = found.checked.bind(&given).into_diagnostic().wrap_err_with(of)?;
    found.checked.verify(&sizes).into_diagnostic().wrap_err_with(of)?;
    Ok(sizes)
}

/// The machine of a compute capability on the command line: `9.0`.
pub fn machine(text: &str) -> Result<Machine> {
    let numbers = text
        .split_once('.')
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    numbers
        .and_then(|(major, minor): (u32, u32)| Machine::documented((major.min(99), minor.min(9)), MULTIPROCESSORS))
        .ok_or_else(|| {
            miette!(
                "there are no kernels for compute capability `{}`; name one from 8.0 on",
                plain(text)
            )
        })
}

/// An example of an operator's free sizes: `M=1024,K=1024`.
pub fn example(found: &Found) -> String {
    let free = found.checked.op().sizes.iter().filter(|size| size.definition.is_none());
    free.map(|size| format!("{}=1024", size.name))
        .collect::<Vec<_>>()
        .join(",")
}
