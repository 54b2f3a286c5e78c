//! Compares the kernel that an objective chooses with the fastest one.

use super::backend::{Backend, BackendError, Effort, Instance};
use super::compare::{Comparison, compare};
use super::data::inputs;
use super::emulated::EmulatedBackend;
use super::first_gpu::{FirstGpu, first_gpu};
use super::settings::Settings;
use crate::source::scan::Found;
use energy_kernel::simulate::Profile;
use energy_kernel_compiler::lower::lower;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::record::Record;
use energy_kernel_compiler::schedule::Program;
use std::time::Instant;

/// Compares, for each record, the kernel that the objective chooses with the fastest one: A B B A, `pairs` pairs, windows of 5 s. Runs on
/// the first GPU or on the emulated device. `None` if both kernels are the same, or if energy could not be measured in time.
///
/// # Errors
/// The reason that the device cannot be used.
pub fn confirm(
    emulated: bool,
    records: &[(&Found, &Record)],
    settings: &Settings,
    pairs: usize,
    deadline: Instant,
) -> Result<Vec<Option<Comparison>>, String> {
    if emulated {
        let backend = EmulatedBackend::new(Profile::Hopper, 1, settings.emulated_operations);
        return confirm_all(backend, records, settings, pairs, deadline);
    }
    match first_gpu(1, settings.cache, &mut |_| ())? {
        FirstGpu::Worker(backend) => confirm_all(*backend, records, settings, pairs, deadline),
        FirstGpu::Here(backend) => confirm_all(*backend, records, settings, pairs, deadline),
    }
}

fn confirm_all<B: Backend>(
    mut backend: B,
    records: &[(&Found, &Record)],
    settings: &Settings,
    pairs: usize,
    deadline: Instant,
) -> Result<Vec<Option<Comparison>>, String> {
    let one = |(found, record): &(&Found, &Record)| confirm_one(&mut backend, found, record, settings, pairs, deadline);
    records.iter().map(one).collect()
}

fn confirm_one<B: Backend>(
    backend: &mut B,
    found: &Found,
    record: &Record,
    settings: &Settings,
    pairs: usize,
    deadline: Instant,
) -> Result<Option<Comparison>, String> {
    let (Some(fastest), Some(chosen)) = (record.front.first(), record.choose(settings.objective)) else {
        return Ok(None);
    };
    if fastest.program == chosen.program {
        return Ok(None);
    }
    let inputs = inputs(&found.checked, &record.sizes, settings.seed)?;
    let instance = Instance {
        checked: &found.checked,
        specialisation: &record.specialisation,
        sizes: &record.sizes,
        inputs: &inputs,
        seed: settings.seed,
        warm_inputs: &[],
    };
    let machine = backend.machine();
    let text = |error: BackendError| error.to_string();
    backend.begin(instance, deadline).map_err(text)?;
    let mut load = |program: &Program| {
        let kernel = lower(&Problem::new(&found.checked, &record.specialisation, machine), program)
            .map_err(|error| error.to_string())?;
        let (candidate, _) = backend.load(instance, &kernel, &[], deadline).map_err(text)?;
        let latency = backend.latency(instance, &candidate, deadline).map_err(text)?;
        Ok::<_, String>((candidate, latency.estimate.mean))
    };
    let (a, b) = (load(&fastest.program)?, load(&chosen.program)?);
    backend.set_effort(Effort::Claim);
    let compared = compare(backend, instance, [(&a.0, a.1), (&b.0, b.1)], pairs, deadline);
    backend.set_effort(Effort::Search);
    compared.map_err(text)
}
