//! Ctrl-C while tuning: what was measured is in the journals already, and is taken up again.

use crate::quantity::count;
use miette::IntoDiagnostic;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Measurements of this run.
static MEASURED: AtomicUsize = AtomicUsize::new(0);

/// Counts one.
pub fn measured() {
    MEASURED.fetch_add(1, Relaxed);
}

/// From now on an interrupt says what is kept, and ends the program at once.
pub fn install(json: bool) -> miette::Result<()> {
    ctrlc::set_handler(move || {
        let kept = MEASURED.load(Relaxed);
        if json {
            crate::output::json(
                &serde_json::json!({ "error": "interrupted", "causes": [], "help": null, "kept": kept }),
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
