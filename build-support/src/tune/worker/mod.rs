//! Candidates of a real GPU run in a process of their own: a fault, a hang or a crash costs one candidate.
//!
//! ```text
//!   parent: search, reference, journal            worker: this executable again, with ENERGY_KERNEL_WORKER set
//!   ┌────────┐   Request ── standard input ──▶   ┌───────┐
//!   │ Remote │                                   │ serve │──▶ GpuMeter: context, NVML, timing
//!   └────────┘   ◀── standard output ── Reply    └───────┘
//! ```
//! Both ends speak [documents](energy_kernel_compiler::record::encoding) one after another; whatever else the worker prints
//! between them is passed over. The parent makes no CUDA context. It kills a worker that does not answer in time, starts the
//! next one with the following candidate, and takes up the problem there. The worker makes up the inputs itself, from the
//! problem's seed, and sends back the results at the places that the parent compares.
//!
//! A worker never starts another. It ends as soon as its standard input does, also while a kernel hangs, so that none outlives
//! its parent.

mod message;
mod remote;
mod serve;
#[cfg(test)]
mod tests;

pub(super) use remote::{Remote, Start};

use super::GpuMeter;
use std::io::BufReader;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Set in the environment of a worker.
const VARIABLE: &str = "ENERGY_KERNEL_WORKER";

/// `true` once [`serve_if_asked`] was called: started again, this executable would serve.
static SERVES: AtomicBool = AtomicBool::new(false);

/// Serves as a worker, and ends the process, if that is what this process was started for. Call it first in `main` of an executable
/// that tunes; without it, candidates run in the process itself. [`Build::run`](crate::Build::run) calls it.
pub fn serve_if_asked() {
    SERVES.store(true, Relaxed);
    if std::env::var_os(VARIABLE).is_none() {
        return;
    }
    let open = |candidates, cache| GpuMeter::open(candidates).map(|meter| meter.with_cache(cache));
    let input = BufReader::new(std::io::stdin());
    let served = serve::serve(open, input, std::io::stdout());
    std::process::exit(i32::from(served.is_err()));
}

/// `true` if this executable, started again, would serve.
pub(super) fn serves() -> bool {
    SERVES.load(Relaxed)
}
