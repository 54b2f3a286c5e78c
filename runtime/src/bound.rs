//! A kernel at concrete sizes, bound to everything but the tensors and scalars of a call.

use crate::argument::{Argument, View};
use crate::device::{BoundLaunch, Storage};
use crate::error::{Error, Result};
use crate::workspace::Workspace;
use energy_kernel_compiler::bind::Values;
use energy_kernel_compiler::ir::Op;
use energy_kernel_compiler::kernel::{Grids, Kernel, MOST_WORKSPACE, ParameterValue};
use smallvec::SmallVec;
use std::sync::Arc;

/// A kernel with its grids, sizes and workspace.
pub(crate) struct BoundKernel {
    kernel: Arc<Kernel>,
    grids: Grids,
    sizes: Vec<u64>,
    index_errors: Option<Storage>,
    scratch: Vec<Storage>,
    scratch_addresses: SmallVec<[u64; 4]>,
}

/// The values of a call's arguments. Up to 32 need no allocation.
type Words = SmallVec<[u64; 32]>;

impl BoundKernel {
    /// Binds a kernel at these sizes, in the operator's order.
    ///
    /// # Errors
    /// [`Error::Lower`] for a grid that cannot be launched, or too large a workspace; [`Error::OutOfMemory`]; [`Error::Unprepared`] during
    /// stream capture; an error of the driver.
    pub fn new(workspace: &Workspace, op: &Op, kernel: &Arc<Kernel>, sizes: &[u64]) -> Result<BoundKernel> {
        let broken = |reason: String| Error::Lower {
            operator: op.name.clone(),
            reason: format!("its kernel {reason}"),
        };
        let grids = kernel
            .grids(sizes)
            .map_err(|error| broken(format!("has no grid at these sizes: {error}")))?;
        let bytes = kernel
            .scratch_bytes(&grids, sizes, MOST_WORKSPACE)
            .map_err(|error| broken(format!("cannot be launched: {error}")))?;
        let scratch = (kernel.scratch.iter().zip(bytes))
            .map(|(scratch, bytes)| workspace.scratch(&op.name, &scratch.content, bytes))
            .collect::<Result<Vec<_>>>()?;
        let mut parameters = kernel.launches.iter().flat_map(|launch| &launch.parameters);
        let checks = parameters.any(|parameter| parameter.value == ParameterValue::IndexErrors);
        Ok(BoundKernel {
            kernel: kernel.clone(),
            grids,
            sizes: sizes.to_vec(),
            index_errors: checks.then(|| workspace.index_errors(&op.name)).transpose()?,
            scratch_addresses: scratch.iter().map(Storage::address).collect(),
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
    ) -> Result<SmallVec<[BoundLaunch<'a>; 1]>> {
        let inputs: Words = inputs.iter().map(Argument::word).collect();
        let outputs: Words = outputs.iter().map(View::address).collect();
        let values = Values {
            inputs: &inputs,
            outputs: &outputs,
            sizes: &self.sizes,
            index_errors: self.index_errors.as_ref().map_or(0, Storage::address),
            scratch: &self.scratch_addresses,
        };
        let numbered = self.kernel.launches.iter().zip(&self.grids).enumerate();
        numbered
            .filter(|(_, (_, grid))| !grid.contains(&0))
            .map(|(position, (launch, &grid))| {
                let arguments = launch.bind(&values).map_err(|error| Error::Lower {
                    operator: operator.to_owned(),
                    reason: error.to_string(),
                })?;
                Ok(BoundLaunch {
                    position,
                    launch,
                    grid,
                    arguments,
                })
            })
            .collect()
    }

    /// The workspace that the launches leave at 0 unless one of them is interrupted.
    pub fn zeroed(&self) -> impl Iterator<Item = &Storage> {
        let pairs = self.kernel.scratch.iter().zip(&self.scratch);
        pairs
            .filter(|(scratch, _)| scratch.content.is_zeroed())
            .map(|(_, storage)| storage)
    }
}
