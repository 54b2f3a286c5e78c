//! The family `attention`: a block has a tile of rows, and walks over all keys that they see, a tile of them at a time. Where rows are few, several
//! blocks share the keys.
//!
//! The products run on tensor cores. The second one multiplies weights that the *source* rounds (`as f16`): nothing is rounded that the
//! source does not round.

use super::mask::Score;
use super::rows::volumes;
use super::shape::{AttentionShape, GroupSize, find, shape};
use super::slab::Slab;
use super::weighting::Weighting;
use crate::check::Checked;
use crate::datasheet::Datasheet;
use crate::families::family::first_of_each;
use crate::ir::SizeId;
use crate::problem::Problem;
use bincode::{Decode, Encode};
use std::cmp::Reverse;

/// A block computes `rows` rows of the output: each of `warps` warps 16 or 32 of them, `keys` keys at a time. `split_k` blocks share the keys of a tile of
/// rows. Where heads are wide, several warps share their rows.
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
/// The most scores of a lane. With more, a few kernels spilled.
const MOST_SCORES: u32 = 64;
/// The most keys of a tile whose weights are evaluated as they stand in the source. With more, a few kernels spilled.
const MOST_EVALUATED: u32 = 64;
/// Features and columns of a warp are multiples of this.
const FEATURES: u64 = 16;
/// The most features of a key, and columns of a value.
const MOST_FEATURES: u64 = 576;
const MOST_COLUMNS: u64 = 512;
/// The most features and columns of a warp.
const WIDEST_SLICE: u64 = 256;

impl Attention {
    /// Threads a block.
    pub const fn threads(&self) -> u32 {
        32 * self.warps
    }

    /// Rows of a warp.
    pub(super) const fn warp_rows(&self, heads: Heads) -> u32 {
        self.rows * heads.slices / self.warps
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

    /// The slab of a state, a line a column. It takes the place of keys and values after the walk over them.
    pub(super) const fn state_slab(&self, heads: Heads) -> Slab {
        let [queries, ..] = self.slabs(heads);
        Slab {
            start: queries.bytes(),
            lines: heads.columns,
            features: heads.features,
        }
    }

    /// The place in shared memory, behind the slabs, for the scores' parts of warps that share rows.
    pub(super) const fn exchange(&self, heads: Heads) -> u32 {
        let [.., values] = self.slabs(heads);
        values.start + values.bytes()
    }

    /// Bytes of shared memory a block.
    pub(super) const fn shared_bytes(&self, heads: Heads) -> u32 {
        let exchanged = match heads.slices {
            1 => 0,
            slices => 4 * slices * self.rows * self.keys,
        };
        let walk = self.exchange(heads) + exchanged;
        let state = self.state_slab(heads);
        let carried = if heads.carries { state.start + state.bytes() } else { 0 };
        if walk > carried { walk } else { carried }
    }

    /// `true` if warps hold their queries in registers, where there is room for them.
    pub(super) const fn holds_queries(&self, heads: Heads) -> bool {
        self.warp_rows(heads) * heads.slice_features() <= 2048
    }

    /// Registers a thread needs: the sums, the scores, which become weights, the queries, what is loaded for scores, and addresses. Products with a
    /// state follow scores.
    fn registers(&self, heads: Heads) -> u32 {
        let rows = self.warp_rows(heads);
        let queries = if self.holds_queries(heads) {
            rows * heads.slice_features() / 64
        } else {
            rows / 4
        };
        let scores = rows * self.keys / 32;
        let carried = if heads.carries { rows * heads.columns / 32 } else { 0 };
        // The operands of comparisons, one for each row and key, and the distance between them leave the loop.
        let compared = if heads.evaluates && heads.compares {
            2 * scores
        } else {
            0
        };
        // Each gathered key has an address of its own.
        let addresses = if heads.gathers { 96 } else { 56 };
        addresses
            + rows * heads.slice_columns() / 32
            + scores.max(carried)
            + queries
            + self.keys / 4 * heads.loads
            + compared
    }
}

/// The features of keys and of values, and how they are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Heads {
    pub features: u32,
    pub columns: u32,
    /// Warps that share rows: each multiplies a slice of the features, and sums a slice of the columns. A power of two, derived from both.
    pub slices: u32,
    /// `true` if keys, values or queries are gathered.
    pub gathers: bool,
    /// `true` if the queries are multiplied by a state too.
    pub carries: bool,
    /// `true` if weights are evaluated as they stand in the source.
    pub evaluates: bool,
    /// `true` if the conditions of a bound are evaluated for every key.
    pub compares: bool,
    /// Elements that a lane loads for each of its keys beside the products.
    pub loads: u32,
}

impl Heads {
    /// None if they are not compiled in, or more than registers hold.
    pub fn of(problem: &Problem<'_>, shape: &AttentionShape) -> Option<Heads> {
        let output = problem.op().outputs.first()?;
        let fixed = |size: SizeId| problem.specialisation.extents[size.index()].fixed();
        let (features, columns) = (fixed(shape.features)?, fixed(output.dims[shape.column])?);
        let slices = slices(features, columns)?;
        let carries = shape.carried.is_some();
        // Warps that share rows have slices of the columns; threads share a power of two of lines.
        (!carries || slices == 1 && columns.is_power_of_two()).then_some(Heads {
            features: features as u32,
            columns: columns as u32,
            slices,
            gathers: shape.gathers,
            carries,
            evaluates: shape.weighting == Weighting::Score && matches!(shape.mask.score, Score::Value(_)),
            compares: shape.mask.bounds.iter().any(|bound| bound.condition.is_none()),
            loads: shape.mask.loads.len() as u32,
        })
    }

    /// The features that a warp multiplies.
    pub const fn slice_features(self) -> u32 {
        self.features / self.slices
    }

    /// The columns that a warp sums.
    pub const fn slice_columns(self) -> u32 {
        self.columns / self.slices
    }
}

/// The sizes whose values decide what attention's kernels hold in registers: features of a key, and of a value, and the number of heads that
/// share keys. None if no part of the operator is attention, or no kernel has such heads.
pub(crate) fn head_sizes(checked: &Checked, sizes: &[u64]) -> Option<Vec<SizeId>> {
    let found = find(checked)?;
    let columns = checked.op().outputs.first()?.dims[found.column];
    let value = |size: SizeId| sizes.get(size.index()).copied();
    slices(value(found.features)?, value(columns)?)?;
    let mut heads = vec![found.features, columns];
    if let Some(GroupSize::Size(size)) = found.group.map(|group| group.size) {
        heads.push(size);
    }
    Some(heads)
}

/// The number of warps that share rows. None if fragments do not divide the features and columns, or registers do not hold them.
pub(super) fn slices(features: u64, columns: u64) -> Option<u32> {
    let slices = features.max(columns).div_ceil(WIDEST_SLICE).next_power_of_two();
    let fits = |number: u64, most: u64| number > 0 && number <= most && number.is_multiple_of(slices * FEATURES);
    (fits(features, MOST_FEATURES) && fits(columns, MOST_COLUMNS)).then_some(slices as u32)
}

pub(super) fn points(problem: &Problem<'_>) -> Vec<Attention> {
    let found = shape(problem);
    let Some((shape, heads)) = (found.as_ref().as_ref()).and_then(|shape| Some((shape, Heads::of(problem, shape)?)))
    else {
        return Vec::new();
    };
    let most = problem.specialisation.extents[shape.keys.index()].fixed();
    let mut points = Vec::new();
    for warps in WARPS.into_iter().filter(|&warps| warps >= heads.slices) {
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
                            rows: warps / heads.slices * warp_rows,
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
    let known = WARPS.contains(&point.warps) && KEYS.contains(&point.keys) && SPLIT_K.contains(&point.split_k);
    let found = shape(problem);
    let heads = (found.as_ref().as_ref()).and_then(|shape| Heads::of(problem, shape));
    let fits = |heads: Heads| {
        let of_warp = |&rows: &u32| point.rows == point.warps / heads.slices * rows;
        point.warps >= heads.slices
            && WARP_ROWS.iter().any(of_warp)
            && (!heads.evaluates || point.keys <= MOST_EVALUATED)
            && point.warp_rows(heads) * point.keys <= 32 * MOST_SCORES
            && resident_blocks(problem, point, heads) > 0
    };
    known && heads.is_some_and(fits)
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

/// Points with their estimated clocks; of equals those with more keys at a time, and fewer threads, come first.
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
    let sheet = Datasheet::like(problem.machine);
    let multiprocessors = u64::from(problem.machine.multiprocessors.max(1));
    let clocks = |point: &Attention| {
        let split_k = u64::from(point.split_k);
        let blocks = (rows.div_ceil(point.rows.into()))
            .saturating_mul(batches)
            .saturating_mul(split_k);
        let resident = u64::from(resident_blocks(problem, point, heads)).max(1);
        let turn = Turn::of(point, heads);
        let full = blocks / (multiprocessors * resident);
        let last = (blocks % (multiprocessors * resident)).div_ceil(multiprocessors);
        let waves = full as f64 * turn.clocks(resident, &sheet) + turn.clocks(last, &sheet);
        let turns = keys.div_ceil(point.keys.into()).div_ceil(split_k);
        // The last block loads what the others leave, from L2.
        let merging = if split_k > 1 { 1000 + 200 * split_k } else { 0 };
        (waves * turns as f64) as u64 + 2000 * (full + last.min(1)) + merging
    };
    // Tiles of which less than half are rows only make others wait.
    let suits = |point: &Attention| u64::from(point.rows) < 2 * rows.max(u64::from(WARP_ROWS[0]));
    let timed = points(problem).into_iter().filter(suits);
    timed
        .map(|point| (clocks(&point), Reverse(point.keys), point.warps, point))
        .collect()
}

/// The work of a block for a tile of keys, in short: the estimate counts it exactly, but takes longer.
struct Turn {
    warps: f64,
    /// Operations of tensor cores of a warp.
    operations: f64,
    /// Other instructions of a warp.
    instructions: f64,
    /// Bytes that a warp loads from shared memory, and that a block copies there.
    loaded: f64,
    copied: f64,
}

impl Turn {
    fn of(point: &Attention, heads: Heads) -> Turn {
        let number = |number: u32| f64::from(number);
        let (warps, rows, keys) = (number(point.warps), number(point.warp_rows(heads)), number(point.keys));
        let (features, columns) = (number(heads.slice_features()), number(heads.slice_columns()));
        let queries = if point.holds_queries(heads) {
            0.0
        } else {
            rows * features
        };
        let loaded = 2.0 * (keys * (features + columns) + queries);
        let copied = 2.0 * keys * number(heads.features + heads.columns);
        // A score takes a maximum, a multiply-add, an exponential, an addition, and half a conversion; a sum its rescaling.
        let softmax = rows * (5.0 * keys + columns) / 32.0;
        let of_copy = if heads.gathers { 6.0 } else { 1.5 };
        Turn {
            warps,
            operations: 2.0 * rows * keys * (features + columns),
            instructions: softmax + loaded / 512.0 + of_copy * copied / (512.0 * warps) + 60.0,
            loaded,
            copied,
        }
    }

    /// The clocks of a multiprocessor that has so many blocks at once: a smooth maximum, as in the estimate.
    fn clocks(&self, blocks: u64, sheet: &Datasheet) -> f64 {
        let blocks = blocks as f64;
        let rate = sheet.matrix_rate * sheet.mma_share;
        let sharing = (blocks * self.warps / 4.0).ceil();
        let path =
            self.instructions * (1.5 * sharing).max(3.0) + self.operations * (self.warps / 4.0).ceil() * 4.0 / rate;
        let limits = [
            // Barriers and a part of the latency of copies.
            path + 200.0,
            400.0 + self.copied / 48.0,
            blocks * self.warps * self.operations / rate,
            blocks * (self.warps * self.loaded + self.copied) / 128.0,
            blocks * self.copied / sheet.l2_rate,
        ];
        match blocks > 0.0 {
            true => limits.map(|limit| limit.powi(6)).iter().sum::<f64>().powf(1.0 / 6.0),
            false => 0.0,
        }
    }
}
