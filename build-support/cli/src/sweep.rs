//! `tune --sweep`: the latency and energy of many kernels, recorded in a trace.

use crate::Outcome;
use crate::arguments::Arguments;
use crate::interrupt;
use crate::output::{json, plain, rejected};
use crate::progress::Progress;
use crate::quantity::count;
use energy_kernel_build::scan::Found;
use energy_kernel_build::tune::trace::Recorder;
use energy_kernel_build::tune::{Laboratory, Swept};
use energy_kernel_build::{Job, names};
use energy_kernel_compiler::record::Rejected;
use miette::miette;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

/// Records all of these sizes, until that time at the latest.
pub fn sweep(
    arguments: &Arguments,
    file: &Path,
    bench: &mut dyn Laboratory,
    jobs: &[(&Found, &[u64])],
    progress: &Progress,
    end: Instant,
) -> Outcome {
    let device = bench.device().clone();
    let mut recorder = Recorder::open(file).map_err(|error| {
        miette!(
            help = "--sweep begins a new file, or goes on with a trace",
            "the trace cannot be recorded: {}",
            plain(error)
        )
    })?;
    if !arguments.json {
        say!(
            "{}: {} to record in {}",
            plain(&device),
            count(jobs.len(), "size"),
            plain(file.display())
        );
    }
    interrupt::install(arguments.json)?;
    progress.begin(jobs.len());
    let mut all = Vec::new();
    let mut complete = true;
    for (number, &(found, sizes)) in jobs.iter().enumerate() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            complain!(
                "warning: the time ended before {} of {}",
                jobs.len() - number,
                count(jobs.len(), "size")
            );
            complete = false;
            break;
        }
        let job = Job {
            found,
            sizes,
            deadline: Instant::now() + left / u32::try_from(jobs.len() - number).unwrap_or(u32::MAX),
            limit: end,
            journal: None,
        };
        let named = names(found, sizes);
        progress.job(&found.name, &named);
        match bench.sweep(&job, &mut recorder) {
            Ok(swept) => {
                if !arguments.json {
                    progress.suspend(|| say!("{}", summary(&found.name, &named, &swept)));
                }
                all.push(serde_json::json!({
                    "operator": found.name, "sizes": named, "points": swept.points, "known": swept.known,
                    "rejected": rejected(&swept.rejected), "left": swept.left,
                }));
            }
            Err(why) => {
                complete = false;
                progress.suspend(|| complain!("warning: {} ({named}): {}", found.name, plain(why)));
            }
        }
        progress.done();
    }
    progress.end();
    if arguments.json {
        let file = file.display().to_string();
        json(&serde_json::json!({ "device": device.name, "simulated": device.simulated, "file": file, "swept": all }));
    }
    Ok(match complete {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(1),
    })
}

fn summary(name: &str, sizes: &str, swept: &Swept) -> String {
    let Swept {
        points,
        known,
        rejected,
        left,
    } = swept;
    let mut text = format!("{name} ({sizes}): {}, {} new", count(*points, "point"), points - known);
    if !rejected.is_empty() {
        text += &format!("; rejected: {}", Rejected::summary(rejected));
    }
    if *left > 0 {
        text += &format!("; {left} left for another time");
    }
    text
}
