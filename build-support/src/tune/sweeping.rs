//! Sweeps as the work of a queue.

use super::laboratory::Laboratory;
use super::sweep::Swept;
use super::trace::Recorder;
use crate::bench::Job;
use crate::queue::Work;

/// Sweeps each bucket and records it in a trace. An interrupted sweep resumes from the trace.
pub struct Sweeping<'a> {
    /// The device.
    pub laboratory: &'a mut dyn Laboratory,
    /// The trace.
    pub recorder: Recorder,
}

impl Work for Sweeping<'_> {
    type Output = Swept;

    fn run(&mut self, job: &Job<'_>) -> Result<Swept, String> {
        self.laboratory.sweep(job, &mut self.recorder)
    }
}

impl std::fmt::Debug for Sweeping<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sweeping")
            .field("device", self.laboratory.device())
            .field("recorder", &self.recorder)
            .finish()
    }
}
