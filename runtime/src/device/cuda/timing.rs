//! Points of a stream, and the time between them.

use super::device::Cuda;
use super::stream::{Event, Permission, Stream};
use crate::device::probe::Driver;
use crate::error::{Error, Result};
use cudarc::driver::sys::CUevent_flags;
use std::sync::Arc;

/// A point of a stream.
pub(crate) struct Mark {
    event: Event,
    stream: Arc<Stream>,
    driver: &'static Driver,
}

impl Cuda {
    /// Runs `work` and waits for it. Returns its seconds on the GPU's clock, and its result.
    pub fn seconds<R>(&self, work: impl FnOnce() -> Result<R>) -> Result<(f64, R)> {
        let start = self.mark()?;
        let result = work()?;
        let end = self.mark()?;
        Ok((end.seconds_since(&start)?, result))
    }

    /// Marks this point of its stream.
    pub fn mark(&self) -> Result<Mark> {
        self.stream
            .must_not_capture("timing", "time the graph's launches instead")?;
        let mark = Mark {
            event: Event::new(CUevent_flags::CU_EVENT_DEFAULT)?,
            stream: self.stream.clone(),
            driver: self.driver,
        };
        mark.event.record(&self.stream)?;
        Ok(mark)
    }
}

impl Mark {
    /// Waits until the stream reaches the mark.
    pub fn wait(&self) -> Result<()> {
        self.stream.bind()?;
        let _permission = Permission::new();
        self.event.synchronize()
    }

    /// `true` once the stream has reached the mark. Does not wait.
    pub fn is_reached(&self) -> Result<bool> {
        self.stream.bind()?;
        let _permission = Permission::new();
        self.event.is_reached()
    }

    /// Seconds on the GPU's clock from an earlier mark to this one. Waits for both.
    pub fn seconds_since(&self, earlier: &Mark) -> Result<f64> {
        earlier.wait()?;
        self.wait()?;
        let mut milliseconds = 0f32;
        let (start, end) = (earlier.event.handle(), self.event.handle());
        // SAFETY: both events were recorded and have completed; the function is the driver's.
        match unsafe { (self.driver.elapsed_time)(&mut milliseconds, start, end) } {
            0 => Ok(f64::from(milliseconds) * 1e-3),
            code => Err(Error::Driver {
                call: "cuEventElapsedTime",
                code: code.unsigned_abs(),
                name: "see the CUDA driver API's error codes".to_owned(),
            }),
        }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.stream.note(self.stream.bind().and_then(|()| self.event.destroy()));
    }
}
