//! The family `pointwise`: operators without reductions whose outputs have one shape.

use super::formula::{Formulas, Node, NodeId, Symbol};
use crate::check::Checked;
use crate::element::Element;
use crate::ir::{Expr, InputId, SizeId, Source};
use crate::ptx::Cache;
use crate::size::Specialisation;
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
    /// What reads and writes leave in the caches.
    pub cache: Cache,
    /// Elements along the fastest axis of transposed inputs that a block passes through shared memory; 0: none, they are read as
    /// they lie. Along the outputs' fastest axis there are as many as threads, squares and this leave.
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
const TILES: [u32; 5] = [0, 16, 32, 64, 128];
const CACHES: [Cache; 2] = [Cache::Normal, Cache::Streaming];

pub(super) fn points(
    checked: &Checked,
    specialisation: &Specialisation,
    machine: Machine,
) -> impl Iterator<Item = Pointwise> {
    let shape = Shape::of(checked, specialisation);
    VECTORS
        .into_iter()
        .flat_map(|vector| UNROLLS.map(|unroll| (vector, unroll)))
        .flat_map(|point| THREADS.map(|threads| (point, threads)))
        .flat_map(|point| CACHES.map(|cache| (point, cache)))
        .flat_map(|point| TILES.map(|tile| (point, tile)))
        .flat_map(move |point @ (((_, threads), _), _)| persistent(machine, threads).map(move |blocks| (point, blocks)))
        .map(|(((((vector, unroll), threads), cache), tile), blocks)| Pointwise {
            threads,
            vector,
            unroll,
            cache,
            tile,
            blocks,
        })
        .filter(move |point| shape.as_ref().is_some_and(|shape| shape.allows(point)))
}

pub(super) fn legal(checked: &Checked, specialisation: &Specialisation, point: &Pointwise) -> bool {
    let listed = THREADS.contains(&point.threads)
        && VECTORS.contains(&point.vector)
        && UNROLLS.contains(&point.unroll)
        && TILES.contains(&point.tile)
        && point.blocks <= super::MOST_BLOCKS;
    listed && Shape::of(checked, specialisation).is_some_and(|shape| shape.allows(point))
}

/// One block a piece of work (0); or as many as fill all multiprocessors, or half of them.
fn persistent(machine: Machine, threads: u32) -> impl Iterator<Item = u32> {
    super::block_counts(machine.multiprocessors * machine.resident_blocks(threads, 32, 0))
}

/// 16 bytes of the narrowest tensor a thread, twice where there is work enough, as long as all multiprocessors get work; tiles
/// where inputs are transposed.
pub(super) fn default(
    checked: &Checked,
    specialisation: &Specialisation,
    sizes: &[u64],
    machine: Machine,
) -> Option<Pointwise> {
    let shape = Shape::of(checked, specialisation)?;
    let outputs = super::output_elements(checked, sizes);
    let multiprocessors = u64::from(machine.multiprocessors);
    let point = Pointwise {
        threads: 256,
        vector: shape.widest_vector,
        unroll: 1,
        cache: Cache::Normal,
        tile: 0,
        blocks: 0,
    };
    let tiled = VECTORS.iter().rev().flat_map(|&vector| {
        let squares = UNROLLS.iter().map(move |&unroll| Pointwise {
            vector,
            unroll,
            ..point
        });
        squares.flat_map(|point| TILES.map(|tile| Pointwise { tile, ..point }))
    });
    // Tiles that the inputs' fastest axis fills half at least.
    let length = shape.transposed.as_ref().map_or(0, |sides| {
        sides
            .fastest
            .map_or(0, |size| sizes.get(size.index()).copied().unwrap_or(0))
    });
    let worth = |point: &Pointwise| point.tile > 0 && u64::from(point.tile) <= 2 * length && shape.allows(point);
    if let Some(tiled) = tiled.into_iter().find(worth) {
        return Some(tiled);
    }
    let mut point = Pointwise { threads: 128, ..point };
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

/// What legality depends on.
struct Shape {
    widest_vector: u32,
    transposed: Option<Sides>,
}

/// What tiles of transposed inputs depend on.
struct Sides {
    /// What the inputs' fastest axis runs over.
    fastest: Option<SizeId>,
    /// A power of two that divides the inputs' fastest dimensions.
    divisible: u32,
    /// Bytes of the narrowest and the widest element, and of all together.
    narrowest: u32,
    widest: u32,
    together: u32,
}

impl Shape {
    fn of(checked: &Checked, specialisation: &Specialisation) -> Option<Shape> {
        if !accepts(checked) {
            return None;
        }
        let op = checked.op();
        let transposed = Transposed::of(checked).map(|transposed| {
            let inputs = || transposed.reads.iter().map(|&(_, input)| &op.inputs[input.index()]);
            let bytes = || inputs().map(|input| input.element.size());
            let fastest = || inputs().filter_map(|input| input.dims.iter().flatten().last());
            let divisible = fastest()
                .map(|size| specialisation.extents[size.index()].multiple_of())
                .min();
            Sides {
                fastest: fastest().next().copied(),
                divisible: if specialisation.aligned {
                    divisible.unwrap_or(1)
                } else {
                    1
                },
                narrowest: bytes().min().unwrap_or(1),
                widest: bytes().max().unwrap_or(8),
                together: bytes().sum(),
            }
        });
        Some(Shape {
            widest_vector: widest_vector(checked, specialisation),
            transposed,
        })
    }

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
        // Rows of 128 bytes and more on both sides: whole sectors, and all banks.
        let long = |elements: u32| elements * sides.narrowest >= 128 && elements * sides.narrowest <= 512;
        point.vector <= sides.divisible
            && point.vector * sides.widest <= 16
            && point.unroll * square <= 64
            && long(point.tile)
            && long(across)
            && point.tile * across == elements
            && elements * sides.together <= TILE_BYTES
    }
}

/// Registers that a thread needs, by and large.
fn registers(checked: &Checked, point: &Pointwise) -> u32 {
    let op = checked.op();
    let words = |element: Element| element.size().div_ceil(4);
    // Of each read its elements, an address and a condition; of tiles those of each row.
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
    48 + point.unroll * read + point.vector * written + 8 * super::calls(checked)
}

/// Blocks that a multiprocessor holds at once, with so much shared memory.
pub(crate) fn resident_blocks(checked: &Checked, machine: Machine, point: &Pointwise, shared: u32) -> u32 {
    let registers = registers(checked, point).min(65536 / point.threads).min(255);
    machine.resident_blocks(point.threads, registers, shared).max(1)
}

/// Whether a thread's chunks are done together, all loads first. If they call many functions or hold many elements, the assembler
/// would mix them, and spill: they are done one after the other then.
pub(crate) fn together(checked: &Checked, point: &Pointwise) -> bool {
    let calls = super::calls(checked) * point.unroll * point.vector;
    point.unroll > 1 && calls <= 16 && registers(checked, point) <= (65536 / point.threads).min(255)
}

/// Shared memory of a tile, at most: any block has as much, and several fit on a multiprocessor.
const TILE_BYTES: u32 = 48 * 1024;

/// Inputs that lie otherwise than outputs: their fastest axis is not the outputs'.
pub(crate) struct Transposed<'a> {
    pub formulas: Formulas<'a>,
    /// The position among an output's axes of the inputs' fastest.
    pub axis: usize,
    /// Reads of one element for each combination of some of the output's axes, the fastest among them.
    pub reads: Vec<(NodeId, InputId)>,
}

impl<'a> Transposed<'a> {
    /// None where no input is read so, or where some output's value may not be computed everywhere.
    pub fn of(checked: &'a Checked) -> Option<Transposed<'a>> {
        let op = checked.op();
        let last = op.outputs[0].axes.len().checked_sub(1)?;
        if !op.outputs.iter().all(|output| checked.unconditional(output.body)) {
            return None;
        }
        let formulas = Formulas::new(checked, 0)?;
        let mut reads: Vec<(NodeId, InputId, usize)> = Vec::new();
        for id in formulas.ids() {
            let Node::Read(input, index, None) = formulas.node(id) else {
                continue;
            };
            let position = |&at: &NodeId| match formulas.node(at) {
                Node::Axis(Symbol::Output(position)) => Some(*position),
                _ => None,
            };
            let Some(positions) = index.iter().map(position).collect::<Option<Vec<usize>>>() else {
                continue;
            };
            let proven = |dimension: usize| {
                let places = formulas.places(id);
                !places.is_empty() && places.iter().all(|place| checked.proven(place.expr, dimension))
            };
            match positions.last() {
                Some(&axis) if axis != last && positions.contains(&last) && (0..index.len()).all(proven) => {
                    reads.push((id, *input, axis));
                }
                _ => {}
            }
        }
        let &(_, _, axis) = reads.first()?;
        let reads = reads.into_iter().filter(|&(.., other)| other == axis);
        Some(Transposed {
            axis,
            reads: reads.map(|(id, input, _)| (id, input)).collect(),
            formulas,
        })
    }
}

fn accepts(checked: &Checked) -> bool {
    let op = checked.op();
    let same_shape = op.outputs.iter().all(|output| output.dims == op.outputs[0].dims);
    same_shape && !op.exprs.iter().any(|expr| matches!(expr, Expr::Reduce { .. }))
}

/// The widest vector whose chunks never straddle two rows and fill 16 bytes of the narrowest tensor.
fn widest_vector(checked: &Checked, specialisation: &Specialisation) -> u32 {
    let op = checked.op();
    let Some(&innermost) = op.outputs[0].dims.last() else {
        return 1;
    };
    if !specialisation.aligned {
        return 1;
    }
    let inputs = op.inputs.iter().filter(|input| input.dims.is_some());
    let narrowest = inputs
        .map(|input| input.element.size())
        .chain(op.outputs.iter().map(|output| output.element.size()))
        .min()
        .unwrap_or(4);
    let divisible = if flat(checked) {
        16
    } else {
        specialisation.extents[innermost.index()].multiple_of()
    };
    (16 / narrowest).min(divisible)
}

/// Whether every read is of the element that is written, so that the outputs may be seen as one long row.
pub(crate) fn flat(checked: &Checked) -> bool {
    let op = checked.op();
    if !op.lets.is_empty() || op.outputs.len() != 1 || op.outputs[0].dims.is_empty() {
        return false;
    }
    let output = &op.outputs[0];
    // Every axis expression must belong to such a read.
    let mut axes_in_reads = 0;
    for expr in &op.exprs {
        let Expr::Read {
            source: Source::Input(input),
            index,
            or: None,
        } = expr
        else {
            continue;
        };
        let identical = op.inputs[input.index()].dims.as_ref() == Some(&output.dims)
            && index
                .iter()
                .zip(&output.axes)
                .all(|(&at, &axis)| *op.expr(at) == Expr::Axis(axis));
        if !identical {
            return false;
        }
        axes_in_reads += index.len();
    }
    let plain_reads = op.exprs.iter().all(|expr| {
        !matches!(
            expr,
            Expr::Read { or: Some(_), .. }
                | Expr::Read {
                    source: Source::Let(_),
                    ..
                }
        )
    });
    let axes = op.exprs.iter().filter(|expr| matches!(expr, Expr::Axis(_))).count();
    plain_reads && axes == axes_in_reads
}
