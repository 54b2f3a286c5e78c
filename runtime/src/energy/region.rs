//! The energy of a region of a program that runs once.

use super::board::Board;
use super::estimate::{Tick, Ticks};
use super::meter::Meter;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::gpu::Gpu;

/// The energy of a region of a program.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Energy {
    /// Joules of the whole board, from the region's start to its end.
    pub joules: f64,
    /// The bound of the error in joules, from the counter's resolution in time.
    pub uncertainty: f64,
    /// Seconds of the region. On an emulated GPU, simulated seconds of its launches.
    pub seconds: f64,
    /// `true` if the energy is simulated, on an emulated GPU.
    pub simulated: bool,
}

impl Gpu {
    /// Runs `work`, waits for it, and returns its energy and its result. Other work on the same board is included.
    ///
    /// The counter moves about every 100 ms, so this first waits up to two steps. The uncertainty is large for short work; repeat it for
    /// seconds. On an emulated GPU the energy is simulated.
    ///
    /// ```
    /// use energy_kernel::prelude::*;
    ///
    /// #[energy_kernel]
    /// fn negate(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {
    ///     |n| -x[[n]]
    /// }
    ///
    /// # fn main() -> Result<(), Error> {
    /// let gpu = Gpu::emulated();
    /// let x = Tensor::zeros(&gpu, &[64])?;
    /// let (energy, y) = gpu.energy(|| negate(&gpu, &x))?;
    /// println!("{} ± {} J in {} s", energy.joules, energy.uncertainty, energy.seconds);
    /// assert!(energy.simulated && y.len() == 64);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of `work`; [`Error::Energy`] if the board's counter cannot be read.
    pub fn energy<R>(&self, work: impl FnOnce() -> Result<R>) -> Result<(Energy, R)> {
        match self.device() {
            Device::Cuda(_) => Meter::open(self)?.region(|| {
                let result = work()?;
                self.synchronize()?;
                Ok(result)
            }),
            #[cfg(feature = "emulator")]
            Device::Emulated(emulated) => {
                let (tally, result) = emulated.counted(work)?;
                let energy = Energy {
                    joules: tally.energy_j,
                    uncertainty: 0.0,
                    seconds: tally.latency_s,
                    simulated: true,
                };
                Ok((energy, result))
            }
        }
    }
}

impl<B: Board> Meter<B> {
    /// Runs `work` and returns its energy and its result. `work` must wait for the work it queues on the GPU.
    ///
    /// # Errors
    /// Those of `work`; [`Error::Energy`] if the counter cannot be read, does not move, or is reset during the measurement.
    pub fn region<R>(&self, work: impl FnOnce() -> Result<R>) -> Result<(Energy, R)> {
        let mut ticks = Ticks::default();
        let earlier = self.next_tick(&mut ticks)?;
        let start = self.next_tick(&mut ticks)?;
        let resets = ticks.resets();
        let result = work()?;
        let end = self.board().now();
        let (asked, read_by, value) = self.read()?;
        ticks.read(asked, read_by, value);
        let at_end = ticks.joules();
        let after = self.next_tick(&mut ticks)?;
        if ticks.resets() != resets {
            return Err(Error::Energy {
                reason: "the energy counter was reset during the measurement".to_owned(),
            });
        }
        Ok((attribute([earlier, start, after], end, at_end, read_by), result))
    }
}

/// The energy of a region that starts on the second tick and ends at `end`, before the third one. The counter read at the end, by
/// `read_by`, showed `at_end` joules.
///
/// The work used between none and all of the energy of that last interval, and a share by time if power was constant. The estimate is
/// halfway between that share and all of it, because the GPU draws less once the work has ended.
fn attribute([earlier, start, after]: [Tick; 3], end: f64, at_end: f64, read_by: f64) -> Energy {
    let period = start.at - earlier.at;
    let certain = (at_end - start.joules).max(0.0);
    let last = (after.joules - at_end).max(0.0);
    let by_time = match period > 0.0 {
        true => (1.0 - (after.at - end) / period).clamp(0.0, 1.0),
        false => 0.0,
    };
    let watts = (certain + last) / (after.at - start.at).max(f64::MIN_POSITIVE);
    // Each tick happened within its gap: that moves the start, the end of the last interval, and the period by which it is divided.
    let unseen = start.gap + after.gap + start.gap.max(earlier.gap) + (read_by - end);
    Energy {
        joules: certain + last * (1.0 + by_time) / 2.0,
        uncertainty: last * (1.0 - by_time) / 2.0 + watts * unseen + 1e-3,
        seconds: end - start.at,
        simulated: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(at: f64, joules: f64) -> Tick {
        Tick { at, gap: 0.002, joules }
    }

    #[test]
    fn the_true_energy_lies_within_the_uncertainty() {
        // 300 W during the work, 100 W afterwards; ticks at multiples of 100 ms, each seen up to 2 ms late; the work ends anywhere.
        let late = [0.0, 0.0007, 0.002];
        for end in [0.13, 0.2, 0.2004, 0.55, 1.0499, 2.999] {
            for (earlier, started, ended) in (0..27).map(|n| (late[n % 3], late[n / 3 % 3], late[n / 9])) {
                let counted = |time: f64| 300.0 * time.min(end) + 100.0 * (time - end).max(0.0);
                let last = (end * 10.0f64).floor() / 10.0;
                let ticks = [
                    tick(-0.1 + earlier, 0.0),
                    tick(started, 0.0),
                    tick(last + 0.1 + ended, counted(last + 0.1)),
                ];
                let energy = attribute(ticks, end, counted(last), end);
                let truth = 300.0 * (end - started);
                assert!(
                    (energy.joules - truth).abs() <= energy.uncertainty,
                    "{end}: {energy:?}, truth {truth}"
                );
                assert!(energy.uncertainty < 0.06 * 300.0 + 3.0, "{energy:?}");
                assert!((energy.seconds - (end - started)).abs() < 1e-12 && !energy.simulated);
            }
        }
    }

    #[cfg(feature = "emulator")]
    #[test]
    fn an_emulated_gpu_has_simulated_energy_and_no_meter() {
        let gpu = Gpu::emulated();
        assert!(matches!(Meter::open(&gpu), Err(Error::WrongKind { .. })));
        let (energy, answer) = gpu.energy(|| Ok(42)).expect("nothing can fail");
        assert_eq!(answer, 42);
        assert!(energy.simulated && energy.joules == 0.0);
    }
}
