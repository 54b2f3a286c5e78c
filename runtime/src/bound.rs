//! A kernel at concrete sizes, bound to everything but the tensors and scalars of a call.

use crate::argument::{Argument, View};
use crate::device::{BoundLaunch, Storage};
use crate::error::{Error, Result};
use crate::workspace::{Memory, Needed, Workspace};
use energy_kernel_compiler::bind::Values;
use energy_kernel_compiler::ir::Op;
use energy_kernel_compiler::kernel::{Grids, Kernel, MOST_WORKSPACE, ParameterValue, SCRATCH_ALIGNMENT};
use smallvec::SmallVec;
use std::sync::{Arc, MutexGuard};

/// A kernel with its grids, sizes and workspace.
pub(crate) struct BoundKernel {
    kernel: Arc<Kernel>,
    grids: Grids,
    sizes: Vec<u64>,
    index_errors: Option<Storage>,
    needed: Needed,
    /// The offset of each scratch memory in the workspace.
    offsets: SmallVec<[u64; 4]>,
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
            .scratch_bytes(&grids, sizes, workspace.limit().max(MOST_WORKSPACE))
            .map_err(|error| broken(format!("cannot be launched: {error}")))?;
        // Launches run one after the other and leave counters at 0, so all of them share the same ones.
        let mut needed = Needed::default();
        let mut offsets = SmallVec::new();
        for (scratch, bytes) in kernel.scratch.iter().zip(bytes) {
            if scratch.content.is_zeroed() {
                offsets.push(0);
                needed.zeroed = bytes.max(needed.zeroed);
            } else {
                offsets.push(needed.any);
                needed.any += bytes.next_multiple_of(SCRATCH_ALIGNMENT);
            }
        }
        if needed != Needed::default() {
            drop(workspace.reserve(&op.name, needed)?);
        }
        let mut parameters = kernel.launches.iter().flat_map(|launch| &launch.parameters);
        let checks = parameters.any(|parameter| parameter.value == ParameterValue::IndexErrors);
        Ok(BoundKernel {
            kernel: kernel.clone(),
            grids,
            sizes: sizes.to_vec(),
            index_errors: checks.then(|| workspace.index_errors(&op.name)).transpose()?,
            needed,
            offsets,
        })
    }

    /// `true` if no launch has a block.
    pub fn is_empty(&self) -> bool {
        self.grids.iter().all(|grid| grid.contains(&0))
    }

    /// The launches that have blocks, with their arguments. `memory` is the workspace, if they use it.
    ///
    /// # Errors
    /// [`Error::Lower`] for a kernel that takes more inputs or outputs than these.
    pub fn launches<'a>(
        &'a self,
        operator: &str,
        inputs: &[Argument<'_>],
        outputs: &[View<'_>],
        memory: Option<&Memory>,
    ) -> Result<SmallVec<[BoundLaunch<'a>; 1]>> {
        let inputs: Words = inputs.iter().map(Argument::word).collect();
        let outputs: Words = outputs.iter().map(View::address).collect();
        let workspace = memory.map_or([0; 2], Memory::addresses);
        let scratch: SmallVec<[u64; 4]> = (self.kernel.scratch.iter().zip(&self.offsets))
            .map(|(scratch, offset)| workspace[usize::from(scratch.content.is_zeroed())] + offset)
            .collect();
        let values = Values {
            inputs: &inputs,
            outputs: &outputs,
            sizes: &self.sizes,
            index_errors: self.index_errors.as_ref().map_or(0, Storage::address),
            scratch: &scratch,
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

    /// Locks the workspace, if the launches use it.
    ///
    /// # Errors
    /// Those of [`Workspace::reserve`].
    pub fn lock<'w>(&self, workspace: &'w Workspace, operator: &str) -> Result<Option<MutexGuard<'w, Memory>>> {
        match self.needed == Needed::default() {
            true => Ok(None),
            false => workspace.lock_for_launch(operator, self.needed).map(Some),
        }
    }
}
