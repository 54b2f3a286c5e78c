//! The family `pointwise`: operators without reductions whose outputs have one shape.

use super::shape::{Shape, Sides};
use crate::check::Checked;
use crate::element::Element;
use crate::families::analysis::{calls, output_elements};
use crate::families::family::{MOST_BLOCKS, block_counts, first_of_each};
use crate::ir::{Expr, SizeId, Source};
use crate::problem::Problem;
use crate::ptx::Cache;
use crate::target::Machine;
use bincode::{Decode, Encode};

/// `unroll` chunks of `vector` neighbouring outputs by each thread; of transposed inputs, so many squares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct Pointwise {
    /// Threads a block.
    pub threads: u32,
    /// Neighbouring outputs, along the fastest axis; with a tile, neighbours along the fastest axis of the inputs, too.
    pub vector: u32,
    /// Chunks a thread, a block's width apart; with a tile, squares of `vector × vector` elements.
    pub unroll: u32,
    /// The cache hint of reads and writes.
    pub cache: Cache,
    /// Elements along the fastest axis of transposed inputs that a block passes through shared memory; 0: none, they are read as
    /// they lie. Along the outputs' fastest axis there are as many as threads, squares and this leave. Shorter rows are read as one run of memory.
    pub tile: u32,
    /// The most blocks there are, which then go on to the next work; 0: a block for all work.
    pub blocks: u32,
}

impl Pointwise {
    /// Elements of a tile along the outputs' fastest axes.
    pub(crate) fn across(&self) -> u32 {
        self.threads * self.unroll * self.vector * self.vector / self.tile.max(1)
    }
}

const THREADS: [u32; 3] = [128, 256, 512];
const VECTORS: [u32; 5] = [1, 2, 4, 8, 16];
const UNROLLS: [u32; 4] = [1, 2, 4, 8];
const TILES: [u32; 6] = [0, 8, 16, 32, 64, 128];
const CACHES: [Cache; 2] = [Cache::Normal, Cache::Streaming];

pub(super) fn points(problem: &Problem<'_>) -> impl Iterator<Item = Pointwise> {
    let shape = problem.shape(Shape::of);
    VECTORS
        .into_iter()
        .flat_map(|vector| UNROLLS.map(|unroll| (vector, unroll)))
        .flat_map(|point| THREADS.map(|threads| (point, threads)))
        .flat_map(|point| CACHES.map(|cache| (point, cache)))
        .flat_map(|point| TILES.map(|tile| (point, tile)))
        .flat_map(move |point @ (((_, threads), _), _)| {
            persistent(problem.machine, threads).map(move |blocks| (point, blocks))
        })
        .map(|(((((vector, unroll), threads), cache), tile), blocks)| Pointwise {
            threads,
            vector,
            unroll,
            cache,
            tile,
            blocks,
        })
        .filter(move |point| shape.as_ref().as_ref().is_some_and(|shape| shape.allows(point)))
}

pub(super) fn legal(problem: &Problem<'_>, point: &Pointwise) -> bool {
    let listed = THREADS.contains(&point.threads)
        && VECTORS.contains(&point.vector)
        && UNROLLS.contains(&point.unroll)
        && TILES.contains(&point.tile)
        && point.blocks <= MOST_BLOCKS;
    listed
        && problem
            .shape(Shape::of)
            .as_ref()
            .as_ref()
            .is_some_and(|shape| shape.allows(point))
}

/// One block a piece of work (0); or as many as fill all multiprocessors, or half of them.
fn persistent(machine: Machine, threads: u32) -> impl Iterator<Item = u32> {
    block_counts(machine.multiprocessors * machine.resident_blocks(threads, 32, 0))
}

/// Tiles where inputs are transposed, else chunks.
pub(super) fn default(problem: &Problem<'_>, sizes: &[u64]) -> Option<Pointwise> {
    let tiled = tiles(problem, sizes).into_iter().next();
    tiled.or_else(|| chunks(problem, sizes))
}

/// Other vectors than the default's, and chunks of them without tiles and with fewer a thread.
pub(super) fn starts(problem: &Problem<'_>, sizes: &[u64]) -> Vec<Pointwise> {
    let Some(chunks) = chunks(problem, sizes) else {
        return Vec::new();
    };
    let vectors = [1, 2, 4].map(|part| chunks.vector / part).into_iter();
    let points = vectors
        .filter(|&vector| vector > 0)
        .flat_map(|vector| [1, chunks.unroll].map(|unroll| (vector, unroll)));
    let points = points.map(|(vector, unroll)| Pointwise {
        vector,
        unroll,
        ..chunks
    });
    let tiles = first_of_each(tiles(problem, sizes), |point| point.vector);
    first_of_each(tiles.into_iter().chain(points), |&point| point)
}

/// The schedule with vectors of 16 bytes of the narrowest tensor, twice a thread where there is work enough, as long as all multiprocessors get
/// work.
fn chunks(problem: &Problem<'_>, sizes: &[u64]) -> Option<Pointwise> {
    let shape = problem.shape(Shape::of);
    let shape = shape.as_ref().as_ref()?;
    let outputs = output_elements(problem.checked, sizes);
    let multiprocessors = u64::from(problem.machine.multiprocessors);
    let mut point = Pointwise {
        threads: 128,
        vector: shape.widest_vector,
        unroll: 1,
        cache: Cache::Normal,
        tile: 0,
        blocks: 0,
    };
    while point.vector > 1 && outputs < 2 * 128 * u64::from(point.vector) * multiprocessors {
        point.vector /= 2;
    }
    let twice = Pointwise { unroll: 2, ..point };
    let waves = outputs / (2 * 128 * u64::from(point.vector) * multiprocessors);
    Some(if waves >= 32 && shape.allows(&twice) {
        twice
    } else {
        point
    })
}

/// Tiles that the inputs' fastest axes fill half at least, those of the widest vectors first.
fn tiles(problem: &Problem<'_>, sizes: &[u64]) -> Vec<Pointwise> {
    let shape = problem.shape(Shape::of);
    let Some((shape, sides)) = (shape.as_ref().as_ref()).and_then(|shape| Some((shape, shape.transposed.as_ref()?)))
    else {
        return Vec::new();
    };
    let size = |size: &SizeId| sizes.get(size.index()).copied().unwrap_or(0);
    let length = sides.fastest.iter().map(size).fold(1, u64::saturating_mul);
    let vectors = VECTORS.iter().rev();
    let squares = vectors.flat_map(|&vector| UNROLLS.map(|unroll| (vector, unroll)));
    let tiles = squares.flat_map(|(vector, unroll)| {
        TILES.map(|tile| Pointwise {
            threads: 256,
            vector,
            unroll,
            cache: Cache::Normal,
            tile,
            blocks: 0,
        })
    });
    let worth = |point: &Pointwise| point.tile > 0 && u64::from(point.tile) <= 2 * length && shape.allows(point);
    tiles.filter(worth).collect()
}

impl Shape {
    fn allows(&self, point: &Pointwise) -> bool {
        if point.vector > self.widest_vector {
            return false;
        }
        let Some(sides) = self.transposed.as_ref().filter(|_| point.tile > 0) else {
            return point.tile == 0 && point.unroll <= 4 && point.vector * point.unroll <= 16;
        };
        let square = point.vector * point.vector;
        let elements = point.threads * point.unroll * square;
        let across = point.across();
        let bytes = |elements: u32| elements * sides.narrowest;
        let fits = point.vector * sides.widest <= 16
            && point.unroll * square <= 64
            && (point.threads * point.unroll <= MOST_SQUARES || sides.take_few_registers(point))
            && point.tile * across == elements;
        // Rows of 128 bytes and more on both sides: whole sectors, and all banks.
        fits && match self.run(point) {
            Some(length) => {
                (128..=2048).contains(&bytes(across)) && u64::from(across * sides.together) * length <= TILE_BYTES
            }
            None => {
                point.vector <= sides.divisible
                    && sides.are_long(point.tile)
                    && sides.are_long(across)
                    && u64::from(elements * sides.together) <= TILE_BYTES
            }
        }
    }

    /// The length of the inputs' rows, if a tile reads so many whole ones as one run of memory. It does where rows are too short to
    /// be read one by one, or cannot be read in such vectors.
    pub fn run(&self, point: &Pointwise) -> Option<u64> {
        let sides = self.transposed.as_ref()?;
        let whole = |length: &u64| *length <= point.tile.into() && 2 * length > point.tile.into();
        let length = sides.run.filter(whole)?;
        (point.vector > sides.divisible || !sides.are_long(point.tile)).then_some(length)
    }
}

impl Sides {
    /// `true` for squares of one element, with one coordinate along the inputs' fastest axes, of at most a register.
    fn take_few_registers(&self, point: &Pointwise) -> bool {
        point.vector == 1 && self.fastest.len() == 1 && self.together <= 4
    }

    /// `true` for rows of so many elements that are neither short nor long.
    fn are_long(&self, elements: u32) -> bool {
        (128..=512).contains(&(elements * self.narrowest))
    }
}

/// Registers that a thread needs, by and large.
fn registers(checked: &Checked, point: &Pointwise) -> u32 {
    let op = checked.op();
    let words = |element: Element| element.size().div_ceil(4);
    // Each read takes its elements, an address and a condition; in tiles for each row.
    let elements = if point.tile > 0 {
        point.vector * point.vector
    } else {
        point.vector
    };
    let read = |expr: &Expr| match expr {
        Expr::Read {
            source: Source::Input(input),
            ..
        } => elements * words(op.inputs[input.index()].element) + 3,
        _ => 0,
    };
    let read: u32 = op.exprs.iter().map(read).sum();
    let written: u32 = op.outputs.iter().map(|output| words(output.element)).sum();
    48 + point.unroll * read + point.vector * written + 8 * calls(checked)
}

/// Blocks that a multiprocessor holds at once, with so much shared memory.
pub(crate) fn resident_blocks(problem: &Problem<'_>, point: &Pointwise, shared: u32) -> u32 {
    let registers = registers(problem.checked, point).min(65536 / point.threads).min(255);
    problem.machine.resident_blocks(point.threads, registers, shared).max(1)
}

/// `true` if a thread's chunks are done together, all loads first. If they call many functions or hold many elements, the assembler
/// would mix them, and spill: they are done one after the other then.
pub(crate) fn together(checked: &Checked, point: &Pointwise) -> bool {
    let calls = calls(checked) * point.unroll * point.vector;
    point.unroll > 1 && calls <= 16 && registers(checked, point) <= (65536 / point.threads).min(255)
}

/// The most squares of a block whose elements and coordinates take more than a few registers: with more, the assembler spills.
const MOST_SQUARES: u32 = 2048;

/// Shared memory of a tile, at most: any block has as much, and several fit on a multiprocessor.
const TILE_BYTES: u64 = 48 * 1024;
