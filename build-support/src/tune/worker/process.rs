//! This executable as a worker.

use super::message::VARIABLE;
use super::serve::serve;
use crate::tune::gpu::GpuBackend;
use std::io::BufReader;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// `true` once [`serve_if_asked`] was called: this executable, started again, would serve.
static SERVES: AtomicBool = AtomicBool::new(false);

/// Serves as a worker and ends the process, if it was started as one. Call it first in `main` of an executable
/// that tunes; otherwise candidates run in the process itself. [`Build::run`](crate::Build::run) calls it.
pub fn serve_if_asked() {
    SERVES.store(true, Relaxed);
    if std::env::var_os(VARIABLE).is_none() {
        return;
    }
    let open = |candidates, cache| GpuBackend::open(candidates).map(|backend| backend.with_cache(cache));
    let input = BufReader::new(std::io::stdin());
    let served = serve(open, input, std::io::stdout());
    std::process::exit(i32::from(served.is_err()));
}

/// `true` if this executable, started again, would serve.
pub(in crate::tune) fn serves() -> bool {
    SERVES.load(Relaxed)
}
