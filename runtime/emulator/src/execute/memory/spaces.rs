//! The loads and stores of each state space. Generic addresses and addresses of a cluster can lead the lanes of one
//! access to different memories: the access is split by memory.

use super::access::{Access, addresses};
use super::global::{load_global, store_global};
use super::local::local;
use super::read_only::{load_bytes, load_uniform};
use super::shared::{load_shared, store_shared};
use crate::machine::address::{space_of, split_rank, window};
use crate::machine::core::{Core, Stop};
use crate::machine::lanes::each;
use crate::machine::program::Operation;
use crate::machine::registers::{LANES, mapped};
use crate::machine::warp::Warp;
use crate::parse::syntax::Space;
use crate::sanitize::FindingKind;

macro_rules! entry {
    ($name:ident, |$core:ident, $warp:ident, $operation:ident, $access:ident, $addresses:ident, $mask:ident| $body:expr) => {
        pub(super) fn $name(
            $core: &mut Core<'_>,
            $warp: &mut Warp,
            $operation: &Operation,
            $mask: u32,
        ) -> Result<(), Stop> {
            let $access = Access::unpack($operation.slots.extra);
            let $addresses = &addresses($warp, &$operation.slots, $access.offset);
            $body
        }
    };
}

entry!(ld_global, |core, warp, operation, access, addresses, mask| load_global(
    core, warp, operation, access, addresses, mask
));
entry!(
    st_global,
    |core, warp, operation, access, addresses, mask| store_global(core, warp, operation, access, addresses, mask)
);
entry!(ld_cluster, |core, warp, operation, access, addresses, mask| cluster(
    core, warp, operation, access, addresses, mask, false
));
entry!(st_cluster, |core, warp, operation, access, addresses, mask| cluster(
    core, warp, operation, access, addresses, mask, true
));
entry!(ld_shared, |core, warp, operation, access, addresses, mask| load_shared(
    core, warp, operation, access, addresses, mask
));
entry!(
    st_shared,
    |core, warp, operation, access, addresses, mask| store_shared(core, warp, operation, access, addresses, mask)
);
entry!(ld_local, |core, warp, operation, access, addresses, mask| local(
    core, warp, operation, access, addresses, mask, false
));
entry!(st_local, |core, warp, operation, access, addresses, mask| local(
    core, warp, operation, access, addresses, mask, true
));
entry!(ld_constant, |core, warp, operation, access, addresses, mask| {
    load_uniform(core, warp, operation, access, addresses, mask, Space::Constant)
});
entry!(ld_parameter, |core, warp, operation, access, addresses, mask| {
    load_uniform(core, warp, operation, access, addresses, mask, Space::Parameter)
});
entry!(ld_generic, |core, warp, operation, access, addresses, mask| generic(
    core, warp, operation, access, addresses, mask, false
));
entry!(st_generic, |core, warp, operation, access, addresses, mask| generic(
    core, warp, operation, access, addresses, mask, true
));

/// Splits an access by the space that its generic addresses point to.
fn generic(
    core: &mut Core<'_>,
    warp: &mut Warp,
    operation: &Operation,
    access: Access,
    addresses: &[u64; LANES],
    mask: u32,
    store: bool,
) -> Result<(), Stop> {
    let mut left = mask;
    while left != 0 {
        let space = space_of(addresses[left.trailing_zeros() as usize]);
        let mut lanes = 0;
        each(left, |lane| {
            lanes |= u32::from(space_of(addresses[lane]) == space) << lane
        });
        left &= !lanes;
        let base = window(space);
        let inner = &mapped(addresses, |address| address.wrapping_sub(base));
        match (space, store) {
            (Space::Shared, false) => load_shared(core, warp, operation, access, inner, lanes)?,
            (Space::Shared, true) => store_shared(core, warp, operation, access, inner, lanes)?,
            (Space::Local, _) => local(core, warp, operation, access, inner, lanes, store)?,
            (Space::Constant | Space::Parameter, false) => {
                load_bytes(core, warp, operation, access, inner, lanes, space)?
            }
            (Space::Constant | Space::Parameter, true) => {
                let lane = lanes.trailing_zeros() as usize;
                core.wrong_access(
                    FindingKind::OutOfBounds,
                    warp,
                    operation,
                    lane,
                    (addresses[lane], access.bytes()),
                    format!("a store to read-only {space} memory"),
                )?;
            }
            (_, false) => load_global(core, warp, operation, access, inner, lanes)?,
            (_, true) => store_global(core, warp, operation, access, inner, lanes)?,
        }
    }
    Ok(())
}

/// Splits an access to the cluster's shared memory by block.
fn cluster(
    core: &mut Core<'_>,
    warp: &mut Warp,
    operation: &Operation,
    access: Access,
    addresses: &[u64; LANES],
    mask: u32,
    store: bool,
) -> Result<(), Stop> {
    each_block(core, warp, operation, addresses, mask, |core, warp, inner, lanes| {
        if store {
            store_shared(core, warp, operation, access, inner, lanes)
        } else {
            load_shared(core, warp, operation, access, inner, lanes)
        }
    })
}

/// Runs an access to shared memory once for each block of the cluster that it touches.
pub(crate) fn each_block(
    core: &mut Core<'_>,
    warp: &mut Warp,
    operation: &Operation,
    addresses: &[u64; LANES],
    mask: u32,
    mut access: impl FnMut(&mut Core<'_>, &mut Warp, &[u64; LANES], u32) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut left = mask;
    while left != 0 {
        let first = left.trailing_zeros() as usize;
        let (rank, _) = split_rank(addresses[first]);
        let mut lanes = 0;
        each(left, |lane| {
            lanes |= u32::from(split_rank(addresses[lane]).0 == rank) << lane
        });
        left &= !lanes;
        let inner = mapped(addresses, |address| split_rank(address).1);
        match rank.filter(|rank| *rank != core.cluster.rank) {
            None => access(core, warp, &inner, lanes)?,
            Some(rank) if rank < core.cluster.blocks.len() => {
                core.remotely(rank, |core| access(core, warp, &inner, lanes))?;
            }
            Some(rank) => {
                let message = format!(
                    "shared memory of block {rank} of a cluster of {} blocks",
                    core.cluster.blocks.len()
                );
                core.wrong_access(
                    FindingKind::OutOfBounds,
                    warp,
                    operation,
                    first,
                    (addresses[first], 0),
                    message,
                )?;
            }
        }
    }
    Ok(())
}
