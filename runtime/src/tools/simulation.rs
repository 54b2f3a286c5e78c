//! Simulated costs of launches.

use crate::device::Device;
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::simulate::Simulated;
use std::time::Instant;

impl Gpu {
    /// Runs `work` and returns the **simulated** costs of its launches on the GPU of the emulated device's profile, and the result of
    /// `work`. Launches of other threads on the same [`Gpu`] are included.
    ///
    /// ```
    /// use energy_kernel::prelude::*;
    /// use std::time::{Duration, Instant};
    ///
    /// #[energy_kernel]
    /// fn negate(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {
    ///     |n| -x[[n]]
    /// }
    ///
    /// # fn main() -> Result<(), Error> {
    /// let gpu = Gpu::emulated();
    /// let x = Tensor::zeros(&gpu, &[64])?;
    /// let (cost, y) = gpu.simulate(|| negate(&gpu, &x))?;
    /// assert!(cost.latency_s > 0.0 && cost.energy_j > 0.0 && cost.counts.threads >= 64);
    ///
    /// let deadline = Instant::now() + Duration::from_secs(60);
    /// let (again, _) = gpu.simulate_until(deadline, || negate(&gpu, &y))?;
    /// assert_eq!(again.counts, cost.counts);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of `work`; [`Error::WrongKind`] on a real GPU.
    pub fn simulate<R>(&self, work: impl FnOnce() -> Result<R>) -> Result<(Simulated, R)> {
        let Device::Emulated(emulated) = self.device() else {
            return Err(Error::WrongKind {
                what: "simulation",
                emulated: true,
            });
        };
        let (tally, result) = emulated.counted(work)?;
        let simulated = Simulated {
            latency_s: tally.latency_s,
            energy_j: tally.energy_j,
            counts: tally.counts,
        };
        Ok((simulated, result))
    }

    /// [`simulate`](Gpu::simulate) with a deadline. Launches that have not ended by then are interrupted with [`Error::Emulator`], also
    /// those of other threads on the same [`Gpu`]. Their outputs are undefined.
    ///
    /// # Errors
    /// Those of [`simulate`](Gpu::simulate).
    pub fn simulate_until<R>(&self, deadline: Instant, work: impl FnOnce() -> Result<R>) -> Result<(Simulated, R)> {
        match self.device() {
            Device::Emulated(emulated) => emulated.until(deadline, || self.simulate(work)),
            Device::Cuda(_) => self.simulate(work),
        }
    }
}
