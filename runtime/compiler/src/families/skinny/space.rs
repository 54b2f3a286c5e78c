//! The family `skinny`: sums that a few rows share the weights of, as in decoding. The weights are read once, and reading
//! them is all that takes time.

use super::shape::{MOST_ROWS, Operand, SkinnyShape, shape};
use crate::families::family::{MOST_STARTS, first_of_each};
use crate::problem::Problem;
use crate::ptx::Cache;
use crate::target::Machine;
use bincode::{Decode, Encode};

/// A warp's threads and `warps` warps share each sum; a thread sums `columns` columns for `rows` rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct Skinny {
    /// Rows for which a weight is used when it is loaded: all there are where their number is compiled in.
    pub rows: u32,
    /// Columns a thread sums; where weights are contiguous along columns, vectors of them.
    pub columns: u32,
    /// Neighbouring weights a thread loads at once.
    pub vector: u32,
    /// Threads of a warp along the sum. The others take other columns.
    pub lanes: u32,
    /// Warps along the sum.
    pub warps: u32,
    /// Loads of each column (or vector of them) that are in flight at once.
    pub unroll: u32,
    /// The cache hint of weights.
    pub cache: Cache,
}

const ROWS: [u32; 5] = [1, 2, 4, 8, 16];
const COLUMNS: [u32; 4] = [1, 2, 4, 8];
const VECTORS: [u32; 5] = [1, 2, 4, 8, 16];
const WARPS: [u32; 4] = [1, 2, 4, 8];
const UNROLLS: [u32; 4] = [1, 2, 4, 8];
/// Warps of a block that sum few of the same columns: enough for blocks to fill a multiprocessor.
const LEAST_WARPS: u32 = 4;
/// The most multiply-adds of a thread in one turn of its loop: they are straight code.
const MOST_TERMS: u32 = 1024;
/// Weights that a thread may have in flight, in bytes.
const MOST_IN_FLIGHT: u32 = 256;
/// Threads that a multiprocessor must hold: fewer would not keep enough loads in flight.
const LEAST_THREADS: u32 = 256;
/// Shared memory that partial sums may take, in bytes.
const MOST_SHARED: u32 = 48 * 1024;

impl Skinny {
    /// Groups of warps in a block that sum different columns.
    pub(crate) const fn groups(&self) -> u32 {
        if self.warps >= LEAST_WARPS {
            1
        } else {
            LEAST_WARPS / self.warps
        }
    }

    /// Threads a block.
    pub const fn threads(&self) -> u32 {
        32 * self.warps * self.groups()
    }

    /// Threads along a sum.
    pub(crate) const fn depth_threads(&self) -> u32 {
        self.lanes * self.warps
    }

    /// Threads of a warp along columns.
    pub(crate) const fn column_lanes(&self) -> u32 {
        32 / self.lanes
    }
}

pub(super) fn points(problem: &Problem<'_>) -> impl Iterator<Item = Skinny> {
    let shape = shape(problem);
    let shape = shape.as_ref().as_ref();
    let candidates = shape.map(all_points).into_iter().flatten();
    let allowed: Vec<Skinny> = candidates
        .filter(|point| shape.is_some_and(|shape| shape.allows(point, problem.machine)))
        .collect();
    allowed.into_iter()
}

pub(super) fn legal(problem: &Problem<'_>, point: &Skinny) -> bool {
    (shape(problem).as_ref().as_ref())
        .is_some_and(|shape| all_points(shape).any(|known| known == *point) && shape.allows(point, problem.machine))
}

fn all_points(shape: &SkinnyShape) -> impl Iterator<Item = Skinny> + use<> {
    let rows = match shape.row_count {
        Some(rows) if rows > MOST_ROWS => Vec::new(),
        Some(rows) => vec![rows.max(1) as u32],
        None => ROWS.to_vec(),
    };
    let lanes = shape.lanes();
    let widest = shape.widest_vector;
    rows.into_iter().flat_map(move |rows| {
        COLUMNS.into_iter().flat_map(move |columns| {
            VECTORS
                .into_iter()
                .filter(move |&vector| vector <= widest && 2 * vector >= widest)
                .flat_map(move |vector| {
                    lanes.into_iter().flat_map(move |lanes| {
                        WARPS.into_iter().flat_map(move |warps| {
                            UNROLLS.into_iter().flat_map(move |unroll| {
                                [Cache::Normal, Cache::Streaming].into_iter().map(move |cache| Skinny {
                                    rows,
                                    columns,
                                    vector,
                                    lanes,
                                    warps,
                                    unroll,
                                    cache,
                                })
                            })
                        })
                    })
                })
        })
    })
}

impl SkinnyShape {
    /// Neighbours along the sum that a thread takes at once.
    pub(crate) fn depth_vector(&self, point: &Skinny) -> u32 {
        if self.along_depth {
            point.vector
        } else {
            // Operands beside the weights are loaded in vectors along K where possible.
            point.unroll.min(self.depth_multiple)
        }
    }

    /// Neighbouring columns that a thread takes at once.
    pub(crate) fn column_vector(&self, point: &Skinny) -> u32 {
        if self.along_depth { 1 } else { point.vector }
    }

    /// Chunks of neighbours along the sum in a turn of a thread's loop.
    pub(crate) fn chunks_per_turn(&self, point: &Skinny) -> u32 {
        if self.along_depth {
            point.unroll
        } else {
            point.unroll / self.depth_vector(point)
        }
    }

    /// Columns that a thread sums.
    pub(crate) fn thread_columns(&self, point: &Skinny) -> u32 {
        point.columns * self.column_vector(point)
    }

    /// Columns that a block sums.
    pub(crate) fn block_columns(&self, point: &Skinny) -> u32 {
        point.groups() * point.column_lanes() * self.thread_columns(point)
    }

    /// Partial results of one warp in shared memory: where each sum's begin, and the bytes of all.
    pub(crate) fn partial_offsets(&self, point: &Skinny) -> (Vec<u32>, u32) {
        let mut end = 0;
        let offsets = self
            .sums
            .iter()
            .map(|sum| {
                let start = end;
                let rows = if sum.by_row { point.rows } else { 1 };
                let columns = if sum.by_column { self.block_columns(point) } else { 1 };
                end += (rows * columns * sum.bytes()).next_multiple_of(16);
                start
            })
            .collect();
        (offsets, end)
    }

    /// Bytes of shared memory a block.
    pub(crate) fn shared_bytes(&self, point: &Skinny) -> u32 {
        point.warps * self.partial_offsets(point).1
    }

    /// Bytes of weights that a thread has in flight.
    fn bytes_in_flight(&self, point: &Skinny) -> u32 {
        self.weights
            .iter()
            .map(|read| point.columns * point.unroll * read.elements(point.vector) * read.element.size())
            .sum()
    }

    /// Registers a thread needs: accumulators, the weights of a turn and what goes with them, and addresses. The
    /// constant was found by assembling kernels; the tests assemble samples of them.
    fn registers(&self, point: &Skinny) -> u32 {
        let accumulators: u32 = self
            .sums
            .iter()
            .map(|sum| {
                let rows = if sum.by_row { point.rows } else { 1 };
                let columns = if sum.by_column { self.thread_columns(point) } else { 1 };
                rows * columns * sum.bytes() / 4
            })
            .sum();
        // Vector loads fill their registers.
        let words =
            |read: &Operand, neighbours: u32, vectors: bool| match (read.elements(neighbours), read.element.size()) {
                (elements, size) if vectors => (elements * size).div_ceil(4),
                (elements, size) => elements * size.div_ceil(4),
            };
        let weights: u32 = (self.weights.iter())
            .map(|read| point.columns * (point.unroll * words(read, point.vector, !read.padded) + 2))
            .sum();
        let chunks = self.chunks_per_turn(point);
        let others: u32 = self
            .others
            .iter()
            .map(|read| {
                let rows = if read.by_row { point.rows } else { 1 };
                // The assembler loads the next chunk's while the last one's are taken apart, and all of the turn's where they need
                // not be taken apart, or where each chunk has coordinates of its own.
                let vectors = read.along_depth() && !read.padded;
                let at_once = if vectors && read.element.size() < 4 && self.extents.len() == 1 {
                    chunks.min(2)
                } else {
                    chunks
                };
                rows * (at_once * words(read, self.depth_vector(point), vectors) + 2)
            })
            .sum();
        64 + accumulators + weights + others
    }

    fn resident_blocks(&self, point: &Skinny, machine: Machine) -> u32 {
        machine.resident_blocks(point.threads(), self.registers(point), self.shared_bytes(point))
    }

    /// Blocks that the assembler is told to fit on a multiprocessor.
    pub(crate) fn minimum_blocks(&self, point: &Skinny, machine: Machine) -> u32 {
        machine.minimum_blocks(point.threads(), self.registers(point), self.shared_bytes(point))
    }

    fn allows(&self, point: &Skinny, machine: Machine) -> bool {
        let turn = u64::from(point.depth_threads() * self.depth_vector(point) * self.chunks_per_turn(point));
        let narrow = u64::from(point.column_lanes() * self.thread_columns(point));
        // Threads without a term or a column would only wait. Where there is little of both, the smallest point is left.
        let least = point.lanes == self.lanes()[usize::from(!self.along_depth)];
        let deep = self.depth.is_none_or(|depth| turn <= depth) || (least && point.warps == 1 && point.unroll == 1);
        let block = u64::from(self.block_columns(point));
        let broad = self.column_count.is_none_or(|columns| block <= columns) || (least && point.columns == 1);
        // Narrower vectors are more instructions for the same bytes: only where wider ones are too many for what there is.
        let (along, all) = if self.along_depth {
            (turn, self.depth)
        } else {
            (narrow, self.column_count)
        };
        let widest = point.vector == self.widest_vector || all.is_some_and(|all| 2 * along > all);
        let terms = self.thread_columns(point) * self.depth_vector(point) * self.chunks_per_turn(point);
        deep && broad
            && widest
            && point.rows * terms * self.sums.len() as u32 <= MOST_TERMS
            && self.bytes_in_flight(point) <= MOST_IN_FLIGHT
            && self.shared_bytes(point) <= MOST_SHARED
            && self.resident_blocks(point, machine) * point.threads() >= LEAST_THREADS
    }

    /// Threads of a warp along the sum. It reads stretches of 128 bytes, or of 512, along whatever is contiguous.
    fn lanes(&self) -> [u32; 2] {
        if self.along_depth { [8, 32] } else { [1, 4] }
    }
}

/// All threads of the machine busy with the widest loads, 64 bytes of weights in flight for each.
pub(super) fn default(problem: &Problem<'_>, sizes: &[u64]) -> Option<Skinny> {
    let ordered = ordered(problem, sizes, MOST_ROWS);
    ordered.into_iter().next()
}

/// More rows than are worth it by the formula may be by the estimate.
const MOST_START_ROWS: u64 = 64;

/// The same for few and for many rows of a thread, lanes along a sum, warps, and bytes in flight.
pub(super) fn starts(problem: &Problem<'_>, sizes: &[u64]) -> Vec<Skinny> {
    let points = ordered(problem, sizes, MOST_START_ROWS);
    let shape = shape(problem);
    let in_flight = |point: &Skinny| shape.as_ref().as_ref().map(|shape| shape.bytes_in_flight(point) > 64);
    let mut starts = first_of_each(points, |point| {
        (
            point.rows > 2,
            point.columns > 4,
            point.lanes,
            point.warps > 2,
            in_flight(point),
        )
    });
    starts.truncate(MOST_STARTS);
    starts
}

/// The points that suit these sizes, the best first; none if there are more rows than `most`.
fn ordered(problem: &Problem<'_>, sizes: &[u64], most: u64) -> Vec<Skinny> {
    let shape = shape(problem);
    let Some(shape) = shape.as_ref().as_ref() else {
        return Vec::new();
    };
    let volume = |positions: &[usize]| {
        let dims = &problem.checked.op().outputs[0].dims;
        positions
            .iter()
            .map(|&position| sizes[dims[position].index()])
            .fold(1, u64::saturating_mul)
    };
    let (rows, columns, batch) = (volume(&shape.rows), volume(&shape.columns), volume(&shape.batch));
    let depth: u64 = shape
        .extents
        .iter()
        .map(|size| sizes[size.index()])
        .fold(1, u64::saturating_mul);
    // Short sums are done by one thread each, without vectors where they are contiguous; narrow ones (a dot product) by whole blocks.
    let least = if shape.along_depth { 32 } else { 4 };
    if rows > most || depth < least || columns.saturating_mul(batch) < 8 {
        return Vec::new();
    }
    let most_warps = 16 * u64::from(problem.machine.multiprocessors.max(1));
    let mut points: Vec<Skinny> = points(problem).filter(|point| point.cache == Cache::Normal).collect();
    points.sort_by_cached_key(|point| {
        let tiles = rows.div_ceil(u64::from(point.rows));
        let of_warp = u64::from(point.column_lanes() * shape.thread_columns(point));
        let warps = columns
            .div_ceil(of_warp)
            .saturating_mul(u64::from(point.warps))
            .saturating_mul(batch)
            .saturating_mul(tiles);
        let turn = u64::from(point.depth_threads() * shape.depth_vector(point) * shape.chunks_per_turn(point));
        (
            // Weights are read once a tile of rows; rows beyond the last are arithmetic for nothing.
            tiles,
            point.rows,
            // Operands beside the weights come from the caches once a column.
            point.rows.div_ceil(4 * shape.thread_columns(point)),
            // Multiprocessors without work, and sums that leave lanes without a term.
            (most_warps / warps.max(1)).checked_ilog2().unwrap_or(0),
            depth.div_ceil(turn).saturating_mul(turn).saturating_mul(8) / depth,
            shape.bytes_in_flight(point).abs_diff(64),
            // Among equals prefer the least exchange between threads.
            point.depth_threads(),
            std::cmp::Reverse(point.vector),
            point.columns,
        )
    });
    points
}
