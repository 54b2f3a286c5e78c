//! The first GPU, in a worker if this executable serves as one.

use super::gpu::GpuBackend;
use super::step::Step;
use super::worker::{self, Remote, Start};
use energy_kernel_compiler::record::CacheMode;

/// The first GPU.
pub(super) enum FirstGpu {
    /// Candidates run in a process of their own.
    Worker(Box<Remote>),
    /// Candidates run in this process.
    Here(Box<GpuBackend>),
}

/// Opens the first GPU.
///
/// # Errors
/// The reason that no GPU can be used.
pub(super) fn first_gpu(
    candidates: usize,
    cache: CacheMode,
    tell: &mut dyn FnMut(Step<'_>),
) -> Result<FirstGpu, String> {
    let started = match worker::serves() {
        true => Remote::start(candidates, cache),
        false => Err(Start::NotServing(
            "the executable does not call `serve_if_asked`".to_owned(),
        )),
    };
    let gpu = match started {
        Ok(remote) => FirstGpu::Worker(Box::new(remote)),
        Err(Start::NoGpu(why)) => return Err(why),
        Err(Start::NotServing(why)) => {
            let backend = GpuBackend::open(candidates)?.with_cache(cache);
            tell(Step::NoWorker { why: &why });
            FirstGpu::Here(Box::new(backend))
        }
    };
    let without_energy = match &gpu {
        FirstGpu::Worker(backend) => backend.without_energy(),
        FirstGpu::Here(backend) => backend.without_energy(),
    };
    if let Some(why) = without_energy {
        tell(Step::NoEnergy { why });
    }
    Ok(gpu)
}
