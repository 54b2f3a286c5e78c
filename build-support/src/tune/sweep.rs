//! Sweeps record the latency and energy of many candidates in a trace, to judge strategies by.

use super::backend::Backend;
use super::describe::{names, vector};
use super::search::{First, Search, inputs_for};
use super::settings::Settings;
use super::step::Step;
use super::trace::{Recorded, RecordedProblem, Recorder};
use crate::bench::Job;
use energy_kernel_compiler::record::Rejected;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The progress of a sweep.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Swept {
    /// The candidates that the trace holds now.
    pub points: usize,
    /// The candidates that it held before.
    pub known: usize,
    /// The rejected candidates.
    pub rejected: Vec<Rejected>,
    /// The candidates that a budget left out.
    pub left: usize,
}

/// Records one bucket of one operator: latency and energy of the candidates that a search would try, however slow. Candidates that the
/// trace already holds are not measured again.
///
/// # Errors
/// The reason that nothing can be measured or recorded. Earlier measurements are in the trace.
pub fn sweep<B: Backend>(
    backend: &mut B,
    job: &Job<'_>,
    settings: &Settings,
    recorder: &mut Recorder,
    progress: &mut dyn FnMut(Step<'_>),
) -> Result<Swept, String> {
    let problem = problem(job);
    let device = backend.device().clone();
    let inputs = inputs_for(backend, job, settings)?;
    let mut search = Search::begin(backend, job, settings, &inputs, First::default())?;
    let candidates = std::mem::take(&mut search.candidates);
    let mut swept = Swept::default();
    for (number, program) in candidates.iter().enumerate() {
        let is_late = number > 0 && Instant::now() >= job.deadline;
        if is_late || swept.points - swept.known >= settings.most_measurements() {
            swept.left = candidates.len() - number;
            break;
        }
        let Some(kernel) = search.compile(program, progress) else {
            continue;
        };
        let text = program.to_string();
        if recorder.holds(&device, &problem, &text, &kernel) {
            swept.points += 1;
            swept.known += 1;
            continue;
        }
        progress(Step::Candidate {
            number,
            of: candidates.len(),
            program,
        });
        let Some(mut timed) = search.time_one(program, kernel, job.limit, progress)? else {
            continue;
        };
        search.measure_one(&mut timed, progress)?;
        if timed.failed {
            continue;
        }
        let described = search.known.describe(program, timed.point.latency.mean);
        let point = Recorded {
            schedule: text,
            kernel_hash: timed.point.kernel_hash,
            features: vector(&described),
            latency: timed.point.latency,
            energy: timed.point.energy,
            conditions: timed.point.conditions,
            measured_at: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |time| time.as_secs()),
        };
        (recorder.note(&device, &problem, &point)).map_err(|error| error.to_string())?;
        progress(Step::Kept);
        swept.points += 1;
    }
    if swept.points == 0 {
        return Err(search.nothing());
    }
    swept.rejected = search.rejected;
    Ok(swept)
}

/// The trace's description of an operator at a size.
fn problem(job: &Job<'_>) -> RecordedProblem {
    let op = job.found.checked.op();
    let sizes = op.sizes.iter().zip(job.sizes);
    RecordedProblem {
        fingerprint: job.found.fingerprint,
        operator: job.found.name.clone(),
        sizes: sizes.map(|(size, &extent)| (size.name.clone(), extent)).collect(),
        features: names(),
    }
}
