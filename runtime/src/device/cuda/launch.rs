//! Launches on a stream, and waits between streams.

use super::device::Cuda;
use super::error::failed;
use super::memory::Allocation;
use super::module::Module;
use crate::device::launch::BoundLaunch;
use crate::error::{Error, Result};
use cudarc::driver::result;
use std::ffi::c_void;
use std::sync::Arc;

impl Cuda {
    /// Queues the launches of a module in order. Neither allocates nor synchronises.
    ///
    /// For memory whose home is another stream, the launches wait for that stream, and that stream waits for them. If the second wait
    /// cannot be queued, this call blocks until the launches are done. If that fails too, the memory is never freed.
    pub fn launch<'s>(
        &self,
        operator: &str,
        module: &Arc<Module>,
        launches: &[BoundLaunch<'_>],
        allocations: impl Iterator<Item = &'s Arc<Allocation>> + Clone,
    ) -> Result<()> {
        self.stream.bind()?;
        let foreign = || {
            let all = allocations.clone();
            all.filter(|allocation| !allocation.home().is(&self.stream))
        };
        for allocation in foreign() {
            self.wait_for(allocation, operator)?;
        }
        let queued = (launches.iter().enumerate())
            .try_for_each(|(number, launch)| self.queue(module, launch).map_err(|error| (number, error)));
        // The launches before a failed one use the memory.
        let queued = match queued {
            Err((0, error)) => return Err(error),
            queued => queued.map_err(|(_, error)| error),
        };
        self.recorder.note(module, allocations.clone());
        foreign()
            .map(|allocation| allocation.order_after(&self.stream))
            .fold(queued, Result::and)
    }

    /// Makes this stream wait for the work queued on the memory's home stream.
    fn wait_for(&self, allocation: &Allocation, operator: &str) -> Result<()> {
        let home = allocation.home();
        // Waiting for a captured stream would pull this one into the capture. Waiting for another one while captured would invalidate
        // the capture.
        if self.stream.is_capturing()? != home.is_capturing()? {
            return Err(Error::Capture {
                what: format!("`{operator}` with a tensor of another stream"),
                remedy: "make its tensors on the captured stream, or call it outside the capture",
            });
        }
        // Created now, so that it cannot be missing after the launch.
        self.stream.prepare_to_be_waited_for()?;
        self.stream.wait_for(home)
    }

    fn queue(&self, module: &Module, bound: &BoundLaunch<'_>) -> Result<()> {
        /// The most parameters whose pointers are kept on the stack.
        const STACK: usize = 48;
        let pointer_to = |value: &u64| std::ptr::from_ref(value).cast_mut().cast::<c_void>();
        let mut stack = [std::ptr::null_mut(); STACK];
        let mut heap;
        let words = bound.arguments.words();
        let pointers: &mut [*mut c_void] = match stack.get_mut(..words.len()) {
            Some(pointers) => {
                pointers
                    .iter_mut()
                    .zip(words)
                    .for_each(|(pointer, word)| *pointer = pointer_to(word));
                pointers
            }
            None => {
                heap = words.iter().map(pointer_to).collect::<Vec<_>>();
                &mut heap
            }
        };
        let dimensions = |[x, y, z]: [u32; 3]| (x, y, z);
        // SAFETY: the module is loaded. There is one pointer per parameter, each to 8 bytes, the widest a parameter is (the host is
        // little-endian, so the lowest bytes come first). The driver copies them before it returns.
        unsafe {
            result::launch_kernel(
                module.function(bound.position)?,
                dimensions(bound.grid),
                dimensions(bound.launch.block),
                bound.launch.dynamic_shared,
                self.stream.handle(),
                pointers,
            )
        }
        .map_err(failed("cuLaunchKernel"))
    }
}
