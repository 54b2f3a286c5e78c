//! The interface for tuners and other tools: kernels of their choice, buffers of any element type, times, and simulated costs.
//!
//! Exempt from semantic versioning: it follows the compiler crate, whose types it takes.

mod buffer;

use crate::bound::Bound;
use crate::call;
use crate::device::{Device, Loaded, Storage};
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::kernel::Kernel as Compiled;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use crate::call::{Argument, View};
pub use crate::kernel::{Kernel, Variant};
pub use buffer::{Buffer, Operand};

/// The first interval between two polls of the GPU. It doubles, because most launches are short.
const SHORTEST_POLL: Duration = Duration::from_micros(50);
/// The longest interval between two polls.
const LONGEST_POLL: Duration = Duration::from_millis(5);

/// A kernel on a device.
#[derive(Clone)]
pub struct LoadedKernel {
    gpu: Gpu,
    loaded: Arc<Loaded>,
    kernel: Arc<Compiled>,
}

/// A launch with bound arguments. Repeating it costs only the launch.
pub struct Prepared<'a> {
    kernel: &'a LoadedKernel,
    bound: Bound,
    inputs: Vec<Argument<'a>>,
    outputs: Vec<View<'a>>,
}

/// The resources of a compiled kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    /// Registers per thread.
    pub registers: u32,
    /// Bytes of local memory per thread, with spilled registers.
    pub local_bytes: u32,
}

/// Launches recorded in a CUDA graph. One call of the driver replays all of them. The graph keeps their tensors and kernels alive.
pub struct Graph {
    graph: crate::device::cuda::Graph,
    // Keeps the scratch memory that the launches use.
    _gpu: Gpu,
}

/// A point in a GPU's stream.
pub struct Mark {
    mark: crate::device::cuda::Mark,
}

impl Gpu {
    /// Compiles and loads a kernel.
    ///
    /// # Errors
    /// [`Error::Load`] with the driver's log, or an error of the driver.
    pub fn compile(&self, kernel: &Compiled) -> Result<LoadedKernel> {
        Ok(LoadedKernel {
            loaded: Arc::new(self.device().load(kernel)?),
            gpu: self.clone(),
            kernel: Arc::new(kernel.clone()),
        })
    }

    /// Runs `work` and waits for its launches. Returns the seconds from the first to the last, by the GPU's clock, and the result of `work`.
    ///
    /// # Errors
    /// Those of `work`; [`Error::WrongKind`] on an emulated GPU; an error of the driver.
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

    /// Marks this point of the GPU's stream.
    ///
    /// # Errors
    /// [`Error::WrongKind`] on an emulated GPU; an error of the driver.
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

    /// Waits for all queued work, until the deadline at most. Returns `true` if the work has ended. It polls, so that a hanging kernel does
    /// not hang the caller. Always `true` on an emulated GPU, whose launches end before they return.
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

    /// The bytes of the L2 cache. `None` if unknown.
    ///
    /// # Errors
    /// An error of the driver.
    pub fn l2_bytes(&self) -> Result<Option<u64>> {
        match self.device() {
            Device::Cuda(cuda) => Ok(Some(cuda.l2_bytes()?).filter(|bytes| *bytes > 0)),
            #[cfg(feature = "emulator")]
            Device::Emulated(_) => Ok(None),
        }
    }

    /// Runs `work` and returns the **simulated** costs of its launches on the GPU of the emulated device's profile, and the result of
    /// `work`. Launches of other threads on the same [`Gpu`] are included.
    ///
    /// # Errors
    /// Those of `work`; [`Error::WrongKind`] on a real GPU.
    #[cfg(feature = "emulator")]
    pub fn simulate<R>(&self, work: impl FnOnce() -> Result<R>) -> Result<(crate::simulate::Simulated, R)> {
        let Device::Emulated(emulated) = self.device() else {
            return Err(Error::WrongKind {
                what: "simulation",
                emulated: true,
            });
        };
        let (tally, result) = emulated.counted(work)?;
        let simulated = crate::simulate::Simulated {
            latency_s: tally.latency_s,
            energy_j: tally.energy_j,
            counts: tally.counts,
        };
        Ok((simulated, result))
    }

    /// [`Gpu::simulate`] with a deadline. Launches that have not ended by then, also those of other threads on the same [`Gpu`], are broken
    /// off with [`Error::Emulator`]; their outputs are undefined.
    ///
    /// # Errors
    /// Those of [`Gpu::simulate`].
    #[cfg(feature = "emulator")]
    pub fn simulate_until<R>(
        &self,
        deadline: Instant,
        work: impl FnOnce() -> Result<R>,
    ) -> Result<(crate::simulate::Simulated, R)> {
        match self.device() {
            Device::Emulated(emulated) => emulated.until(deadline, || self.simulate(work)),
            Device::Cuda(_) => self.simulate(work),
        }
    }

    /// Records the launches of `work` in a graph without running them. `work` must not synchronise, and must not use a kernel for the first
    /// time: prepare it before.
    ///
    /// # Errors
    /// Those of `work`; [`Error::WrongKind`] on an emulated GPU; an error of the driver.
    pub fn record(&self, work: impl FnOnce() -> Result<()>) -> Result<Graph> {
        match self.device() {
            Device::Cuda(cuda) => Ok(Graph {
                graph: cuda.record(work)?,
                _gpu: self.clone(),
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
    /// An error of the driver, or of the work before it.
    pub fn wait(&self) -> Result<()> {
        self.mark.wait()
    }

    /// The seconds from an earlier mark to this one, by the GPU's clock. Waits for both.
    ///
    /// # Errors
    /// An error of the driver, or of the work before them.
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
        self.graph.launch()
    }
}

impl LoadedKernel {
    /// The name of its first entry.
    pub fn entry(&self) -> &str {
        self.kernel.name()
    }

    /// The resources of the compiled kernel. `None` on an emulated GPU.
    ///
    /// # Errors
    /// An error of the driver.
    pub fn resources(&self) -> Result<Option<Resources>> {
        match &*self.loaded {
            Loaded::Cuda(module) => {
                let (registers, local_bytes) = module.resources()?;
                Ok(Some(Resources { registers, local_bytes }))
            }
            #[cfg(feature = "emulator")]
            Loaded::Emulated(_) => Ok(None),
        }
    }

    /// Binds a launch to all sizes, in the operator's order, and to inputs and outputs.
    ///
    /// # Safety
    /// The kernel must have been lowered from this operator. Its specialisation and [`Checked::verify`] must accept the sizes. Each tensor
    /// must have the shape that the sizes give it.
    ///
    /// # Errors
    /// [`Error::ElementTypes`] for arguments that do not fit the operator; [`Error::WrongDevice`]; [`Error::Lower`] for a grid that cannot be
    /// launched.
    pub unsafe fn prepare<'a>(
        &'a self,
        operator: &Checked,
        sizes: &[u64],
        inputs: &[Argument<'a>],
        outputs: &[View<'a>],
    ) -> Result<Prepared<'a>> {
        let op = operator.op();
        call::check_arguments(op, inputs)?;
        if outputs.len() != op.outputs.len() {
            return Err(Error::ElementTypes {
                operator: op.name.clone(),
                types: format!("{} outputs", outputs.len()),
            });
        }
        let storages: Vec<&'a Arc<Storage>> = (inputs.iter().filter_map(Argument::view))
            .chain(outputs)
            .map(|view| view.storage)
            .collect();
        if let Some(foreign) = storages.iter().find(|storage| !self.gpu.device().reaches(storage)) {
            return Err(Error::WrongDevice {
                operator: op.name.clone(),
                tensor: "a tensor".to_owned(),
                expected: self.gpu.device().describe(),
                found: foreign.describe(),
            });
        }
        Ok(Prepared {
            kernel: self,
            bound: Bound::new(&self.gpu, op, &self.kernel, sizes)?,
            inputs: inputs.to_vec(),
            outputs: outputs.to_vec(),
        })
    }
}

impl Prepared<'_> {
    /// Queues the launch. Does nothing if the grid is empty.
    ///
    /// # Errors
    /// An error of the driver; a finding of the sanitizer on an emulated GPU.
    pub fn launch(&self) -> Result<()> {
        let operator = self.kernel.entry();
        let launches = self.bound.launches(operator, &self.inputs, &self.outputs)?;
        if launches.is_empty() {
            return Ok(());
        }
        let device = self.kernel.gpu.device();
        let inputs = self.inputs.iter().filter_map(Argument::view);
        let storages = inputs.chain(&self.outputs).map(|view| view.storage);
        device.launch(operator, &self.kernel.loaded, &launches, self.bound.zeroed(), storages)
    }
}
