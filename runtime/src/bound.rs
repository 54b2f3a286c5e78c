//! A kernel at concrete sizes, bound to all but a call's tensors and scalars.

use crate::call::{Argument, View};
use crate::device::{Launch, Storage};
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use energy_kernel_compiler::bind::Values;
use energy_kernel_compiler::ir::Op;
use energy_kernel_compiler::kernel::{Grids, Kernel, ParameterValue};
use smallvec::SmallVec;
use std::sync::Arc;

/// Grids, sizes and scratch memory of a kernel's launches.
pub(crate) struct Bound {
    kernel: Arc<Kernel>,
    grids: Grids,
    sizes: Vec<u64>,
    index_errors: Option<Arc<Storage>>,
    scratch: Vec<Arc<Storage>>,
    scratch_addresses: SmallVec<[u64; 4]>,
}

/// Words that are gathered for a call without an allocation.
type Words = SmallVec<[u64; 32]>;

impl Bound {
    /// Binds a kernel at these sizes, all of the operator's in their order.
    ///
    /// # Errors
    /// [`Error::Lower`] for a grid that cannot be launched, or too much scratch memory; [`Error::OutOfMemory`]; [`Error::Unprepared`] during
    /// stream capture; an error of the driver.
    pub fn new(gpu: &Gpu, op: &Op, kernel: &Arc<Kernel>, sizes: &[u64]) -> Result<Bound> {
        let broken = |reason: String| Error::Lower {
            operator: op.name.clone(),
            reason: format!("its kernel {reason}"),
        };
        let grids = kernel
            .grids(sizes)
            .map_err(|error| broken(format!("has no grid at these sizes: {error}")))?;
        let bytes = kernel
            .scratch_bytes(&grids)
            .map_err(|error| broken(format!("cannot be launched: {error}")))?;
        let scratch = (kernel.scratch.iter().zip(bytes))
            .map(|(scratch, bytes)| gpu.scratch(scratch.content, bytes))
            .collect::<Result<Vec<_>>>()?;
        let mut parameters = kernel.launches.iter().flat_map(|launch| &launch.parameters);
        let checks = parameters.any(|parameter| parameter.value == ParameterValue::IndexErrors);
        Ok(Bound {
            kernel: kernel.clone(),
            grids,
            sizes: sizes.to_vec(),
            index_errors: checks.then(|| gpu.index_error_word(&op.name)).transpose()?,
            scratch_addresses: scratch.iter().map(|storage| storage.address).collect(),
            scratch,
        })
    }

    /// `true` if no launch has a block.
    pub fn is_empty(&self) -> bool {
        self.grids.iter().all(|grid| grid.contains(&0))
    }

    /// The launches that have blocks, with their arguments.
    ///
    /// # Errors
    /// [`Error::Lower`] for a kernel that takes more inputs or outputs than these.
    pub fn launches<'a>(
        &'a self,
        operator: &str,
        inputs: &[Argument<'_>],
        outputs: &[View<'_>],
    ) -> Result<SmallVec<[Launch<'a>; 1]>> {
        let inputs: Words = inputs.iter().map(Argument::word).collect();
        let outputs: Words = outputs.iter().map(View::address).collect();
        let values = Values {
            inputs: &inputs,
            outputs: &outputs,
            sizes: &self.sizes,
            index_errors: self.index_errors.as_ref().map_or(0, |word| word.address),
            scratch: &self.scratch_addresses,
        };
        let numbered = self.kernel.launches.iter().zip(&self.grids).enumerate();
        numbered
            .filter(|(_, (_, grid))| !grid.contains(&0))
            .map(|(number, (launch, &grid))| {
                let arguments = launch.bind(&values).map_err(|error| Error::Lower {
                    operator: operator.to_owned(),
                    reason: error.to_string(),
                })?;
                Ok(Launch {
                    number,
                    launch,
                    grid,
                    arguments,
                })
            })
            .collect()
    }

    /// Scratch memory that the launches leave at 0, unless one of them is broken off.
    pub fn zeroed(&self) -> impl Iterator<Item = &Storage> {
        let pairs = self.kernel.scratch.iter().zip(&self.scratch);
        pairs
            .filter(|(scratch, _)| scratch.content.is_zeroed())
            .map(|(_, storage)| &**storage)
    }
}
