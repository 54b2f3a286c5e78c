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
    /// The workspace of stored tensors and partial sums, then that of counters. Kept while the kernel may be launched.
    workspace: [Option<Storage>; 2],
    /// The address of each scratch memory.
    scratch: SmallVec<[u64; 4]>,
}

/// The alignment of scratch memory in the workspace.
const ALIGNMENT: u64 = 256;

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
        let mut needed = [0u64; 2];
        let mut offsets: SmallVec<[u64; 4]> = SmallVec::new();
        for (scratch, bytes) in kernel.scratch.iter().zip(bytes) {
            let [any, zeroed] = &mut needed;
            if scratch.content.is_zeroed() {
                offsets.push(0);
                *zeroed = bytes.max(*zeroed);
            } else {
                offsets.push(*any);
                *any += bytes.next_multiple_of(ALIGNMENT);
            }
        }
        let [any, zeroed] = needed.map(|bytes| (bytes > 0).then_some(bytes));
        let memory =
            |zeroed, bytes: Option<u64>| (bytes.map(|bytes| workspace.scratch(&op.name, zeroed, bytes))).transpose();
        let memory = [memory(false, any)?, memory(true, zeroed)?];
        let addresses = kernel.scratch.iter().zip(offsets).map(|(scratch, offset)| {
            let own = memory[usize::from(scratch.content.is_zeroed())].as_ref();
            own.map_or(0, Storage::address) + offset
        });
        let mut parameters = kernel.launches.iter().flat_map(|launch| &launch.parameters);
        let checks = parameters.any(|parameter| parameter.value == ParameterValue::IndexErrors);
        Ok(BoundKernel {
            kernel: kernel.clone(),
            grids,
            sizes: sizes.to_vec(),
            index_errors: checks.then(|| workspace.index_errors(&op.name)).transpose()?,
            scratch: addresses.collect(),
            workspace: memory,
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
            scratch: &self.scratch,
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

    /// `true` if the launches use the workspace.
    pub fn uses_workspace(&self) -> bool {
        self.workspace.iter().any(Option::is_some)
    }

    /// The workspace that the launches leave at 0 unless one of them is interrupted.
    pub fn zeroed(&self) -> impl Iterator<Item = &Storage> {
        self.workspace[1].iter()
    }
}
