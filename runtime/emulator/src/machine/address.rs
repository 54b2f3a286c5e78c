//! The address space: generic addresses have a window for each state space, and global memory lies elsewhere.

use crate::parse::syntax::Space;

pub(crate) const SHARED_WINDOW: u64 = 0x0100_0000_0000;
pub(crate) const LOCAL_WINDOW: u64 = 0x0200_0000_0000;
pub(crate) const CONSTANT_WINDOW: u64 = 0x0300_0000_0000;
pub(crate) const PARAMETER_WINDOW: u64 = 0x0400_0000_0000;
/// Bytes of each window.
pub(crate) const WINDOW: u64 = 1 << 32;

/// The address below that of a module's first function.
const FUNCTION_BASE: u64 = 0x0500_0000_0000;

/// Bits of an address in shared memory below the rank of a block in its cluster.
const RANK_SHIFT: u32 = 24;

/// The space that a generic address points to.
#[inline(always)]
pub(crate) fn space_of(address: u64) -> Space {
    let within = |window: u64| address.wrapping_sub(window) < WINDOW;
    if within(SHARED_WINDOW) {
        Space::Shared
    } else if within(LOCAL_WINDOW) {
        Space::Local
    } else if within(CONSTANT_WINDOW) {
        Space::Constant
    } else if within(PARAMETER_WINDOW) {
        Space::Parameter
    } else {
        Space::Global
    }
}

/// The base of a space's window of generic addresses.
pub(crate) fn window(space: Space) -> u64 {
    match space {
        Space::Shared => SHARED_WINDOW,
        Space::Local => LOCAL_WINDOW,
        Space::Constant => CONSTANT_WINDOW,
        Space::Parameter => PARAMETER_WINDOW,
        Space::Global | Space::Generic => 0,
    }
}

/// The address of a function of the module, given its index.
pub(crate) fn function_address(function: usize) -> u64 {
    FUNCTION_BASE + 16 * (function as u64 + 1)
}

/// `mapa`: the address of an offset in the shared memory of the block of that rank.
pub(crate) fn map_to_rank(address: u32, rank: u32) -> u32 {
    (address & ((1 << RANK_SHIFT) - 1)) | rank.wrapping_add(1) << RANK_SHIFT
}

/// Splits an address in a cluster's shared memory into the block's rank (`None`: the running block) and the offset.
pub(crate) fn split_rank(address: u64) -> (Option<usize>, u64) {
    let rank = (address >> RANK_SHIFT) as usize;
    (rank.checked_sub(1), address & ((1 << RANK_SHIFT) - 1))
}
