//! The interface of devices on which operators are tuned.

use crate::source::scan::Found;
use energy_kernel_compiler::record::{DeviceClass, Record};
use std::path::Path;
use std::time::Instant;

/// A device on which operators are tuned.
pub trait Bench {
    /// The device's class.
    fn device(&self) -> &DeviceClass;

    /// The name of the device's lock, the same in all processes that measure on this device. By default it is made from the device class. A
    /// simulated device has none: nothing disturbs its figures.
    fn lock(&self) -> Option<String> {
        lock_of(self.device())
    }

    /// Tunes one bucket of one operator.
    ///
    /// # Errors
    /// The reason that nothing could be measured.
    fn tune(&mut self, job: &Job<'_>) -> Result<Record, String>;
}

/// The name of a device's lock, made from its class. A simulated device has none.
pub(crate) fn lock_of(device: &DeviceClass) -> Option<String> {
    (!device.simulated).then(|| device.file_stem())
}

/// One bucket of one operator to work on, with its share of the time.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// The operator.
    pub found: &'a Found,
    /// The bucket's sizes.
    pub sizes: &'a [u64],
    /// The end of the job's share: only the first measurement may begin later.
    pub deadline: Instant,
    /// The end of all jobs: a device that can breaks off even the first measurement.
    pub limit: Instant,
    /// The file to which measurements are appended as they come, so that an interrupted job resumes.
    pub journal: Option<&'a Path>,
    /// The results of stages that operators share. `None` if they are tuned for this job alone.
    pub stages: Option<&'a dyn StageResults>,
}

/// The results of stages, shared by all operators of a package.
pub trait StageResults: std::fmt::Debug {
    /// The record of a stage on a device. `None` if the stage must be tuned.
    fn find(&self, stage: &Found, sizes: &[u64], device: &DeviceClass) -> Option<Record>;

    /// Keeps a record of a stage. If that fails, the stage may be tuned again.
    fn keep(&self, stage: &Found, device: &DeviceClass, record: &Record);
}
