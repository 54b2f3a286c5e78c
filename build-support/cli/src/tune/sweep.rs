//! `tune --sweep`: records the latency and energy of many kernels in a trace.

use crate::interrupt;
use crate::outcome::Outcome;
use crate::output::{json, plain, rejected};
use crate::progress::Progress;
use crate::quantity::count;
use energy_kernel_build::queue::{self, Ended, Observer};
use energy_kernel_build::tune::trace::Recorder;
use energy_kernel_build::tune::{Laboratory, Sweeping, Swept};
use energy_kernel_build::{Bucket, names};
use energy_kernel_compiler::record::Rejected;
use miette::miette;
use serde_json::Value;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

/// Records these buckets in a file, until `end` at the latest.
pub fn sweep(
    as_json: bool,
    file: &Path,
    bench: &mut dyn Laboratory,
    buckets: &[Bucket<'_>],
    progress: &Progress,
    end: Instant,
) -> Outcome {
    let device = bench.device().clone();
    let recorder = Recorder::open(file).map_err(|error| {
        miette!(
            help = "--sweep begins a new file, or continues a trace",
            "the trace cannot be recorded: {}",
            plain(error)
        )
    })?;
    if !as_json {
        say!(
            "{}: {} to record in {}",
            plain(&device),
            count(buckets.len(), "size"),
            plain(file.display())
        );
    }
    interrupt::install(as_json)?;
    progress.begin(buckets.len());
    let mut work = Sweeping {
        laboratory: bench,
        recorder,
    };
    let mut report = SweepReport {
        progress,
        as_json,
        complete: true,
        all: Vec::new(),
    };
    queue::run(buckets, end, &mut work, &mut report);
    progress.end();
    if as_json {
        let file = file.display().to_string();
        json(&serde_json::json!({
            "device": device.name, "simulated": device.simulated, "file": file, "swept": report.all,
        }));
    }
    Ok(match report.complete {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(1),
    })
}

/// The observer of a sweep.
struct SweepReport<'a> {
    progress: &'a Progress,
    as_json: bool,
    /// `false` once a size has failed or the time has ended.
    complete: bool,
    /// The results in JSON.
    all: Vec<Value>,
}

impl Observer<Swept> for SweepReport<'_> {
    fn begin(&mut self, (found, sizes): Bucket<'_>) {
        self.progress.job(&found.name, &names(found, sizes));
    }

    fn end(&mut self, (found, sizes): Bucket<'_>, ended: Ended<Swept>) {
        let named = names(found, sizes);
        let why = match ended {
            Ended::Stored(swept) => {
                if !self.as_json {
                    self.progress
                        .suspend(|| say!("{}", summary(&found.name, &named, &swept)));
                }
                self.all.push(serde_json::json!({
                    "operator": found.name, "sizes": named, "points": swept.points, "known": swept.known,
                    "rejected": rejected(&swept.rejected), "left": swept.left,
                }));
                None
            }
            Ended::NotStored(_, error) => Some(error.to_string()),
            Ended::Failed(why) => Some(why),
        };
        if let Some(why) = why {
            self.complete = false;
            self.progress
                .suspend(|| complain!("warning: {} ({named}): {}", found.name, plain(why)));
        }
        self.progress.done();
    }

    fn out_of_time(&mut self, left: usize) {
        self.complete = false;
        complain!("warning: the time ended before {}", count(left, "size"));
    }
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
