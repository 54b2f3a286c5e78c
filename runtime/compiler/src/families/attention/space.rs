//! The family `attention`: a block has a tile of rows, and walks over all keys that they see, a tile of them at a time. Where rows are few, several
//! blocks share the keys.
//!
//! Both products run on tensor cores. The second one multiplies weights that the *source* rounds (`as f16`): nothing is rounded that the
//! source does not round.

use super::rows::volumes;
use super::shape::{AttentionShape, shape};
use super::slab::Slab;
use crate::families::family::first_of_each;
use crate::problem::Problem;
use bincode::{Decode, Encode};
use std::cmp::Reverse;

/// A block computes `rows` rows of the output: each of `warps` warps 16 or 32 of them, `keys` keys at a time. `split_k` blocks share the keys of a tile of
/// rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct Attention {
    /// Rows of the block's tile.
    pub rows: u32,
    /// Keys of a tile.
    pub keys: u32,
    /// Warps of a block.
    pub warps: u32,
    /// Blocks that share the keys.
    pub split_k: u32,
}

const WARPS: [u32; 4] = [1, 2, 4, 8];
const WARP_ROWS: [u32; 2] = [16, 32];
const KEYS: [u32; 3] = [32, 64, 128];
const SPLIT_K: [u32; 7] = [1, 2, 4, 8, 16, 32, 64];
/// Features are multiples of this, up to the most.
const FEATURES: u32 = 16;
const MOST_FEATURES: u64 = 256;

impl Attention {
    /// Threads a block.
    pub const fn threads(&self) -> u32 {
        32 * self.warps
    }

    /// Rows of a warp.
    pub(super) const fn warp_rows(&self) -> u32 {
        self.rows / self.warps
    }

    /// The slabs of queries, keys and values in shared memory, one after the other.
    pub(super) const fn slabs(&self, heads: Heads) -> [Slab; 3] {
        let queries = Slab {
            start: 0,
            lines: self.rows,
            features: heads.features,
        };
        let keys = Slab {
            start: queries.bytes(),
            lines: self.keys,
            features: heads.features,
        };
        let values = Slab {
            start: keys.start + keys.bytes(),
            lines: self.keys,
            features: heads.columns,
        };
        [queries, keys, values]
    }

    /// Bytes of shared memory a block.
    pub(super) const fn shared_bytes(&self, heads: Heads) -> u32 {
        let [.., values] = self.slabs(heads);
        values.start + values.bytes()
    }

    /// `true` if warps hold their queries in registers, where there is room for them.
    pub(super) const fn holds_queries(&self, heads: Heads) -> bool {
        self.warp_rows() * heads.features <= 2048
    }

    /// Registers a thread needs: the sums, the scores, the weights of a part of them, the queries, and addresses.
    fn registers(&self, heads: Heads) -> u32 {
        let rows = self.warp_rows();
        let queries = if self.holds_queries(heads) {
            rows * heads.features / 64
        } else {
            rows / 4
        };
        let scores = rows * self.keys / 32;
        // Each gathered key has an address of its own.
        let addresses = if heads.gathers { 90 } else { 50 };
        addresses + rows * heads.columns / 32 + scores + scores / 4 + queries
    }
}

/// The features of keys and of values, and how they are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Heads {
    pub features: u32,
    pub columns: u32,
    /// `true` if keys, values or queries are gathered.
    pub gathers: bool,
}

impl Heads {
    /// None if they are not compiled in, or more than registers hold.
    pub fn of(problem: &Problem<'_>, shape: &AttentionShape) -> Option<Heads> {
        let output = problem.op().outputs.first()?;
        let fixed = |size: crate::ir::SizeId| {
            let fixed = problem.specialisation.extents[size.index()].fixed()?;
            let fits = fixed > 0 && fixed <= MOST_FEATURES && fixed.is_multiple_of(FEATURES.into());
            fits.then_some(fixed as u32)
        };
        Some(Heads {
            features: fixed(shape.features)?,
            columns: fixed(output.dims[shape.column])?,
            gathers: shape.gathers,
        })
    }
}

pub(super) fn points(problem: &Problem<'_>) -> Vec<Attention> {
    let found = shape(problem);
    let Some(shape) = found.as_ref() else { return Vec::new() };
    let most = problem.specialisation.extents[shape.keys.index()].fixed();
    let mut points = Vec::new();
    for warps in WARPS {
        for warp_rows in WARP_ROWS {
            for keys in KEYS {
                // Blocks share the keys of few rows, and each has some.
                let shares = |split_k: u32| {
                    split_k == 1
                        || (warp_rows == WARP_ROWS[0]
                            && most.is_none_or(|most| most.div_ceil(keys.into()) >= split_k.into()))
                };
                points.extend(
                    SPLIT_K
                        .into_iter()
                        .filter(|&split_k| shares(split_k))
                        .map(|split_k| Attention {
                            rows: warps * warp_rows,
                            keys,
                            warps,
                            split_k,
                        }),
                );
            }
        }
    }
    points.retain(|point| legal(problem, point));
    points
}

pub(super) fn legal(problem: &Problem<'_>, point: &Attention) -> bool {
    let known = WARPS.contains(&point.warps)
        && WARP_ROWS
            .iter()
            .any(|&rows| point.warps.checked_mul(rows) == Some(point.rows))
        && KEYS.contains(&point.keys)
        && SPLIT_K.contains(&point.split_k);
    known
        && (shape(problem).as_ref().as_ref())
            .and_then(|shape| Heads::of(problem, shape))
            .is_some_and(|heads| resident_blocks(problem, point, heads) > 0)
}

fn resident_blocks(problem: &Problem<'_>, point: &Attention, heads: Heads) -> u32 {
    let (registers, shared) = (point.registers(heads), point.shared_bytes(heads));
    problem.machine.resident_blocks(point.threads(), registers, shared)
}

/// Blocks that the assembler is told to fit on a multiprocessor.
pub(super) fn minimum_blocks(problem: &Problem<'_>, point: &Attention, heads: Heads) -> u32 {
    let (registers, shared) = (point.registers(heads), point.shared_bytes(heads));
    problem.machine.minimum_blocks(point.threads(), registers, shared)
}

/// The tile with the least estimated time.
pub(super) fn default(problem: &Problem<'_>, sizes: &[u64]) -> Option<Attention> {
    let mut timed = timed(problem, sizes);
    timed.sort_unstable();
    timed.into_iter().next().map(|(.., point)| point)
}

/// The same for each number of warps and keys, whole and shared.
pub(super) fn starts(problem: &Problem<'_>, sizes: &[u64]) -> Vec<Attention> {
    let mut timed = timed(problem, sizes);
    timed.sort_unstable();
    let points = timed.into_iter().map(|(.., point)| point);
    first_of_each(points, |point| (point.warps, point.keys, point.split_k > 1))
}

/// Points with their estimated times; of equals those with more keys at a time, and fewer threads, come first. A tile of keys takes as long
/// as its tensor cores, or as its exponentials and what is done with scores, or as its copies; beside that a block's warps wait for
/// each other.
fn timed(problem: &Problem<'_>, sizes: &[u64]) -> Vec<(u64, Reverse<u32>, u32, Attention)> {
    let found = shape(problem);
    let Some((shape, heads)) = (found.as_ref().as_ref()).and_then(|shape| Some((shape, Heads::of(problem, shape)?)))
    else {
        return Vec::new();
    };
    let dims = &problem.op().outputs[0].dims;
    let volumes = volumes(shape, dims, problem.specialisation).map(|volume| volume.evaluate(sizes).unwrap_or(1));
    let [batches, rows] = volumes.map(|volume| volume.max(1) as u64);
    let keys = sizes[shape.keys.index()].max(1);
    let features = u64::from(heads.features + heads.columns);
    let multiprocessors = u64::from(problem.machine.multiprocessors.max(1));
    let time = |point: &Attention| {
        let tile = [u64::from(point.rows), u64::from(point.keys)];
        let split_k = u64::from(point.split_k);
        let blocks = rows.div_ceil(tile[0]).saturating_mul(batches).saturating_mul(split_k);
        let resident = u64::from(resident_blocks(problem, point, heads)).min(blocks.div_ceil(multiprocessors));
        let waves = blocks.div_ceil(multiprocessors * resident.max(1));
        let scores = tile[0] * tile[1];
        // Clocks of a tile of keys on a multiprocessor: multiply-adds at 1024 a clock, scores at 12, bytes of copies at 24.
        let tensor = scores * features / 1024;
        let exponentials = scores / 12;
        let copied = tile[1] * features * 2 / 24;
        // Latencies of copies, products and barriers, less where other warps fill them.
        let waiting = 1500 / (u64::from(point.warps) * resident.max(1)).max(1) + 100;
        let tile_time = (tensor + exponentials).max(copied) + waiting;
        let tiles = keys.div_ceil(tile[1]).div_ceil(split_k);
        // The last block loads what the others leave, from L2.
        let merging = if split_k > 1 { 2000 + 400 * split_k } else { 0 };
        waves
            .saturating_mul(resident.max(1))
            .saturating_mul(tiles.saturating_mul(tile_time).saturating_add(2000))
            .saturating_add(merging)
    };
    // Tiles of which less than half are rows only make others wait.
    let suits = |point: &Attention| u64::from(point.rows) < 2 * rows.max(u64::from(WARP_ROWS[0]));
    let timed = points(problem).into_iter().filter(suits);
    timed
        .map(|point| (time(&point), Reverse(point.keys), point.warps, point))
        .collect()
}
