//! Times, waits and recordings on a GPU's stream.

use crate::device::Device;
#[cfg(feature = "emulator")]
use crate::error::Error;
use crate::error::Result;
use crate::gpu::Gpu;
use std::time::{Duration, Instant};

/// The first interval between two polls of the GPU. It doubles, because most launches are short.
const SHORTEST_POLL: Duration = Duration::from_micros(50);
/// The longest interval between two polls.
const LONGEST_POLL: Duration = Duration::from_millis(5);

/// Launches recorded in a CUDA graph. One call of the driver replays all of them. The graph keeps their tensors and kernels alive.
pub struct Graph {
    graph: crate::device::cuda::Graph,
    // Keeps the workspace of the launches.
    gpu: Gpu,
}

/// A point in a GPU's stream.
pub struct Mark {
    mark: crate::device::cuda::Mark,
}

impl Gpu {
    /// Runs `work` and waits for its launches. Returns the seconds from the first to the last, by the GPU's clock, and the result of `work`.
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
    /// let gpu = Gpu::open().unwrap_or_else(|_| Gpu::emulated());
    /// let x = Tensor::<f32>::zeros(&gpu, &[64])?;
    /// let mut y = Tensor::zeros(&gpu, &[64])?;
    /// negate::prepare(&gpu, &Sizes::from([("N", 64)]))?;
    /// if !gpu.is_emulated() {
    ///     let (seconds, ()) = gpu.time(|| negate::into(&gpu, &x, &mut y))?;
    ///     println!("{seconds} s");
    ///
    ///     // Ten launches in one call of the driver.
    ///     let graph = gpu.record(|| (0..10).try_for_each(|_| negate::into(&gpu, &x, &mut y)))?;
    ///     let start = gpu.mark()?;
    ///     graph.launch()?;
    ///     println!("{} s", gpu.mark()?.seconds_since(&start)?);
    /// }
    /// assert!(gpu.wait_until(Instant::now() + Duration::from_secs(60))?, "the work has ended");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of `work`; [`Error::WrongKind`](crate::Error::WrongKind) on an emulated GPU; an error of the driver.
    pub fn time<R>(&self, work: impl FnOnce() -> Result<R>) -> Result<(f64, R)> {
        match self.device() {
            Device::Cuda(cuda) => cuda.seconds(work),
            #[cfg(feature = "emulator")]
            Device::Emulated(_) => Err(Error::WrongKind {
                what: "timing",
                emulated: false,
            }),
        }
    }

    /// Marks this point of the GPU's stream. [`time`](Gpu::time) has an example.
    ///
    /// # Errors
    /// [`Error::WrongKind`](crate::Error::WrongKind) on an emulated GPU; an error of the driver.
    pub fn mark(&self) -> Result<Mark> {
        match self.device() {
            Device::Cuda(cuda) => Ok(Mark { mark: cuda.mark()? }),
            #[cfg(feature = "emulator")]
            Device::Emulated(_) => Err(Error::WrongKind {
                what: "timing",
                emulated: false,
            }),
        }
    }

    /// Waits for all queued work, until the deadline at most. Returns `true` if the work has ended. [`time`](Gpu::time) has an example.
    ///
    /// It polls, so that a hanging kernel does not hang the caller. On an emulated GPU it always returns `true`, because launches end
    /// before they return.
    ///
    /// # Errors
    /// An error of the driver, or of the work.
    pub fn wait_until(&self, deadline: Instant) -> Result<bool> {
        let cuda = match self.device() {
            Device::Cuda(cuda) => cuda,
            #[cfg(feature = "emulator")]
            Device::Emulated(_) => return Ok(true),
        };
        let mark = cuda.mark()?;
        let mut rest = SHORTEST_POLL;
        while !mark.is_reached()? {
            if Instant::now() >= deadline {
                return Ok(false);
            }
            std::thread::sleep(rest);
            rest = (2 * rest).min(LONGEST_POLL);
        }
        Ok(true)
    }

    /// Records the launches of `work` in a graph without running them. [`time`](Gpu::time) has an example.
    ///
    /// `work` must not synchronise, and must not use a kernel for the first time: prepare it before.
    ///
    /// # Errors
    /// Those of `work`; [`Error::WrongKind`](crate::Error::WrongKind) on an emulated GPU; an error of the driver.
    pub fn record(&self, work: impl FnOnce() -> Result<()>) -> Result<Graph> {
        match self.device() {
            Device::Cuda(cuda) => Ok(Graph {
                graph: cuda.record(work)?,
                gpu: self.clone(),
            }),
            #[cfg(feature = "emulator")]
            Device::Emulated(_) => Err(Error::WrongKind {
                what: "a CUDA graph",
                emulated: false,
            }),
        }
    }
}

impl Mark {
    /// Waits until the GPU reaches the mark.
    ///
    /// # Errors
    /// An error of the driver, or of the work before the mark.
    pub fn wait(&self) -> Result<()> {
        self.mark.wait()
    }

    /// The seconds from an earlier mark to this one, by the GPU's clock. Waits for both.
    ///
    /// # Errors
    /// An error of the driver, or of the work before the marks.
    pub fn seconds_since(&self, earlier: &Mark) -> Result<f64> {
        self.mark.seconds_since(&earlier.mark)
    }
}

impl Graph {
    /// Queues all launches of the graph.
    ///
    /// # Errors
    /// An error of the driver.
    pub fn launch(&self) -> Result<()> {
        // The graph's launches must not come between those of a call that uses the same workspace.
        let _memory = self.gpu.workspace().lock();
        self.graph.launch()
    }
}

impl std::fmt::Debug for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mark").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Graph").finish_non_exhaustive()
    }
}
