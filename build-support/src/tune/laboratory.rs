//! Benches on which operators can also be swept: a backend with the search on top.

use super::backend::{Backend, Instance};
use super::emulated::EmulatedBackend;
use super::first_gpu::{FirstGpu, first_gpu};
use super::model::memory::Memory;
use super::programs::search;
use super::replay::ReplayBackend;
use super::settings::Settings;
use super::step::Step;
use super::sweep::{Swept, sweep};
use super::trace::{Recorder, Trace};
use super::watched::Watched;
use crate::bench::{Bench, Job, lock_of};
use crate::source::scan::Found;
use energy_kernel::simulate::Profile;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::record::{DeviceClass, Record};
use energy_kernel_compiler::schedule;
use std::cell::RefCell;
use std::time::Instant;

/// A device on which operators are tuned or swept.
pub trait Laboratory: Bench {
    /// The number of schedules of an operator at these sizes, and the number of candidates among them.
    ///
    /// # Errors
    /// The reason that there are none.
    fn schedules(&mut self, found: &Found, sizes: &[u64]) -> Result<(usize, usize), String>;

    /// [Records](sweep()) one bucket of one operator.
    ///
    /// # Errors
    /// The reason that nothing can be measured or recorded.
    fn sweep(&mut self, job: &Job<'_>, recorder: &mut Recorder) -> Result<Swept, String>;
}

/// Opens the first GPU if `gpu` allows it and one is usable, else the emulated device if `emulated` allows it.
///
/// # Errors
/// The reason that no GPU is used, if the emulated device is not allowed either.
pub fn open(
    gpu: bool,
    emulated: bool,
    settings: Settings,
    mut progress: impl FnMut(Step<'_>) + 'static,
) -> Result<Box<dyn Laboratory>, String> {
    let why = if gpu {
        match first_gpu(settings.candidates, settings.cache, &mut progress) {
            Ok(FirstGpu::Worker(backend)) => return Ok(Box::new(Tuner::new(*backend, settings, progress))),
            Ok(FirstGpu::Here(backend)) => return Ok(Box::new(Tuner::new(*backend, settings, progress))),
            Err(why) => why,
        }
    } else {
        "GPUs are not used under CI".to_owned()
    };
    if !emulated {
        return Err(why);
    }
    let backend = EmulatedBackend::new(
        Profile::Hopper,
        settings.emulated_candidates,
        settings.emulated_operations,
    );
    Ok(Box::new(Tuner::new(backend, settings, progress)))
}

/// Opens the device of a trace. It has only the recorded measurements.
///
/// # Errors
/// The trace is of several devices, or of one that kernels cannot be made for.
pub fn replay(
    trace: Trace,
    settings: Settings,
    progress: impl FnMut(Step<'_>) + 'static,
) -> Result<Box<dyn Laboratory>, String> {
    let backend = ReplayBackend::new(trace, settings.candidates)?;
    Ok(Box::new(Tuner::new(backend, settings, progress)))
}

/// A backend with the search on top. Its memory gives later searches of a run a prior.
struct Tuner<B, P> {
    backend: B,
    settings: Settings,
    memory: Memory,
    progress: RefCell<P>,
}

impl<B: Backend, P: FnMut(Step<'_>)> Tuner<B, P> {
    fn new(backend: B, settings: Settings, progress: P) -> Tuner<B, P> {
        Tuner {
            backend,
            settings,
            memory: Memory::default(),
            progress: RefCell::new(progress),
        }
    }
}

impl<B: Backend, P: FnMut(Step<'_>)> Bench for Tuner<B, P> {
    fn device(&self) -> &DeviceClass {
        self.backend.device()
    }

    fn lock(&self) -> Option<String> {
        // Two GPUs of one class have locks of their own. A replay measures nothing and needs none.
        let name = || self.backend.uuid().or_else(|| lock_of(self.device()));
        (!self.backend.is_recorded()).then(name).flatten()
    }

    fn tune(&mut self, job: &Job<'_>) -> Result<Record, String> {
        let progress = &self.progress;
        let mut backend = Watched {
            backend: &mut self.backend,
            progress,
        };
        search(&mut backend, job, &self.settings, &mut self.memory, &mut |step| {
            (progress.borrow_mut())(step)
        })
    }
}

impl<B: Backend, P: FnMut(Step<'_>)> Laboratory for Tuner<B, P> {
    fn schedules(&mut self, found: &Found, sizes: &[u64]) -> Result<(usize, usize), String> {
        let accepted = self.backend.accepts(&found.checked, sizes);
        accepted.map_err(|error| error.to_string())?;
        let mut space = schedule::space(&Problem::new(
            &found.checked,
            &found.specialisation,
            self.backend.machine(),
        ));
        if self.backend.is_recorded() {
            let instance = Instance {
                checked: &found.checked,
                specialisation: &found.specialisation,
                sizes,
                inputs: &[],
                seed: self.settings.seed,
                warm_inputs: &[],
            };
            let soon = Instant::now();
            self.backend.begin(instance, soon).map_err(|error| error.to_string())?;
            space.retain(|schedule| self.backend.has(schedule));
        }
        Ok((space.len(), space.len().min(self.backend.most_candidates())))
    }

    fn sweep(&mut self, job: &Job<'_>, recorder: &mut Recorder) -> Result<Swept, String> {
        let progress = &self.progress;
        let mut backend = Watched {
            backend: &mut self.backend,
            progress,
        };
        sweep(&mut backend, job, &self.settings, recorder, &mut |step| {
            (progress.borrow_mut())(step)
        })
    }
}
