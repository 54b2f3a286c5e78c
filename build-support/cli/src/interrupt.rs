//! Ctrl-C while tuning. The journals hold the measurements made so far, as far as they can be written; the next run takes them up.

use crate::output::plain;
use crate::quantity::count;
use miette::IntoDiagnostic;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// The number of measurements of this run that are in a journal or a trace.
static KEPT: AtomicUsize = AtomicUsize::new(0);

/// The error of the last measurement that could not be written; none if all were.
static PROBLEM: Mutex<Option<String>> = Mutex::new(None);

/// Counts a measurement that was written.
pub fn kept() {
    KEPT.fetch_add(1, Relaxed);
}

/// Notes a measurement that could not be written.
pub fn not_kept(why: &str) {
    *PROBLEM.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.to_owned());
}

/// From now on an interrupt says what is kept, and ends the program at once.
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
                "\ninterrupted: {} of this run kept; others could not be: {}",
                count(kept, "measurement"),
                plain(problem)
            );
        } else {
            complain!(
                "\ninterrupted: {} of this run kept; the same command goes on from there",
                count(kept, "measurement")
            );
        }
        std::process::exit(130);
    })
    .into_diagnostic()
}
