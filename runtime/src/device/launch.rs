//! A launch that is ready for a device.

use energy_kernel_compiler::bind::Arguments;
use energy_kernel_compiler::kernel::Launch;

/// A launch of a kernel with its grid and its arguments.
pub(crate) struct BoundLaunch<'a> {
    /// The position among the kernel's launches.
    pub position: usize,
    pub launch: &'a Launch,
    /// Blocks in x, y, z; none is 0.
    pub grid: [u32; 3],
    pub arguments: Arguments,
}
