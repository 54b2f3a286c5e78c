//! Kernels that a tool compiled.

use crate::argument::{Argument, View};
use crate::bound::BoundKernel;
use crate::device::LoadedModule;
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::workspace::Memory;
use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::kernel::Kernel;
use std::sync::Arc;

/// A kernel on a GPU.
#[derive(Clone)]
pub struct LoadedKernel {
    gpu: Gpu,
    module: LoadedModule,
    kernel: Arc<Kernel>,
}

/// A call with bound arguments. Repeating it costs only its launches.
pub struct Prepared<'a> {
    kernel: &'a LoadedKernel,
    bound: BoundKernel,
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

impl Gpu {
    /// Loads a kernel. The driver compiles its PTX.
    ///
    /// ```
    /// use energy_kernel::prelude::*;
    /// use energy_kernel::tools::compiler::{lower::lower, problem::Problem};
    /// use energy_kernel::tools::{Argument, View};
    ///
    /// #[energy_kernel]
    /// fn negate(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {
    ///     |n| -x[[n]]
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let gpu = Gpu::emulated();
    /// let variant = negate::KERNEL.variant(&[])?;
    /// let plan = variant.plan(&gpu, &Sizes::from([("N", 3)]))?;
    /// let problem = Problem::new(variant.checked(), plan.specialisation(), gpu.machine());
    /// let kernel = gpu.compile(&lower(&problem, plan.program())?)?;
    ///
    /// let x = Tensor::from_slice(&gpu, &[3], &[1.0f32, 2.0, 3.0])?;
    /// let y = Tensor::<f32>::zeros(&gpu, &[3])?;
    /// // SAFETY: the kernel was lowered from this operator, and the tensors have its shapes.
    /// let call = unsafe { kernel.prepare(variant.checked(), &[3], &[Argument::tensor(&x)], &[View::from(&y)])? };
    /// call.launch()?;
    /// assert_eq!(y.to_vec()?, [-1.0, -2.0, -3.0]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Load`] with the driver's log, or an error of the driver.
    pub fn compile(&self, kernel: &Kernel) -> Result<LoadedKernel> {
        Ok(LoadedKernel {
            module: self.device().load(kernel)?,
            gpu: self.clone(),
            kernel: Arc::new(kernel.clone()),
        })
    }
}

impl LoadedKernel {
    /// The name of the kernel's first entry.
    pub fn entry(&self) -> &str {
        self.kernel.name()
    }

    /// The resources of the compiled kernel. `None` on an emulated GPU.
    ///
    /// # Errors
    /// An error of the driver.
    pub fn resources(&self) -> Result<Option<Resources>> {
        match &self.module {
            LoadedModule::Cuda(module) => {
                let (registers, local_bytes) = module.resources()?;
                Ok(Some(Resources { registers, local_bytes }))
            }
            #[cfg(feature = "emulator")]
            LoadedModule::Emulated(_) => Ok(None),
        }
    }

    /// Binds the kernel to all sizes, in the operator's order, and to inputs and outputs. [`Gpu::compile`] has an example.
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
        Argument::check(inputs, op)?;
        if outputs.len() != op.outputs.len() {
            return Err(Error::ElementTypes {
                operator: op.name.clone(),
                types: format!("{} outputs", outputs.len()),
            });
        }
        let mut storages = (inputs.iter().filter_map(Argument::view))
            .chain(outputs)
            .map(View::storage);
        if let Some(foreign) = storages.find(|storage| !self.gpu.device().reaches(storage)) {
            return Err(Error::WrongDevice {
                operator: op.name.clone(),
                tensor: "a tensor".to_owned(),
                expected: self.gpu.device().describe(),
                found: foreign.describe(),
            });
        }
        Ok(Prepared {
            kernel: self,
            bound: BoundKernel::new(self.gpu.workspace(), op, &self.kernel, sizes)?,
            inputs: inputs.to_vec(),
            outputs: outputs.to_vec(),
        })
    }
}

impl Prepared<'_> {
    /// Queues the launches. Skips those whose grid is empty.
    ///
    /// # Errors
    /// An error of the driver; a finding of the sanitizer on an emulated GPU.
    pub fn launch(&self) -> Result<()> {
        let operator = self.kernel.entry();
        let gpu = &self.kernel.gpu;
        let memory = self.bound.lock(gpu.workspace(), operator)?;
        let memory = memory.as_deref();
        let launches = (self.bound).launches(operator, &self.inputs, &self.outputs, memory)?;
        if launches.is_empty() {
            return Ok(());
        }
        let inputs = self.inputs.iter().filter_map(Argument::view);
        let tensors = inputs.chain(&self.outputs).map(View::storage);
        let storages = tensors.chain(memory.into_iter().flat_map(Memory::storages));
        let zeroed = memory.into_iter().flat_map(Memory::zeroed);
        (gpu.device()).launch(operator, &self.kernel.module, &launches, zeroed, storages)
    }
}

impl std::fmt::Debug for LoadedKernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadedKernel")
            .field("entry", &self.entry())
            .field("gpu", &self.gpu)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Prepared<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared")
            .field("kernel", &self.kernel)
            .field("inputs", &self.inputs)
            .field("outputs", &self.outputs)
            .finish_non_exhaustive()
    }
}
