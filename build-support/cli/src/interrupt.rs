//! Ctrl-C while tuning. The journals hold the measurements made so far, and the next run resumes from them.

use crate::output::plain;
use crate::quantity::count;
use miette::IntoDiagnostic;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// The number of measurements of this run that are in a journal or a trace.
static KEPT: AtomicUsize = AtomicUsize::new(0);

/// The error of the last measurement that could not be written. `None` if all were written.
static PROBLEM: Mutex<Option<String>> = Mutex::new(None);

/// Counts a measurement that was written.
pub fn kept() {
    KEPT.fetch_add(1, Relaxed);
}

/// Notes a measurement that could not be written.
pub fn not_kept(why: &str) {
    *PROBLEM.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.to_owned());
}

/// Installs a handler that reports the measurements kept and ends the program.
pub fn install(json: bool) -> miette::Result<()> {
    ctrlc::set_handler(move || {
        let kept = KEPT.load(Relaxed);
        let problem = PROBLEM.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if json {
            crate::output::json(
                &serde_json::json!({ "error": "interrupted", "causes": [], "help": null, "kept": kept, "not_kept": problem }),
            );
        } else if let Some(problem) = problem {
            complain!(
                "\ninterrupted: kept {} of this run; others could not be written: {}",
                count(kept, "measurement"),
                plain(problem)
            );
        } else {
            complain!(
                "\ninterrupted: kept {} of this run; the same command resumes",
                count(kept, "measurement")
            );
        }
        std::process::exit(130);
    })
    .into_diagnostic()
}
