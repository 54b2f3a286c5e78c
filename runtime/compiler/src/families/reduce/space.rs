//! The family `reduce`: reductions of axes that are not last, of rows that blocks share, and of elements that all outputs share.

use super::shape::Shape;
use crate::families::analysis::calls;
use crate::families::family::first_of_each;
use crate::families::row::Keep;
use crate::problem::Problem;
use bincode::{Decode, Encode};

/// A block has `lanes × threads` threads: `lanes` along the last axis of the outputs that reductions depend on, and `threads` along what
/// is reduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct Reduce {
    /// Threads along what is reduced: a power of two.
    pub threads: u32,
    /// Threads along the outputs: 1, or a power of two up to a warp.
    pub lanes: u32,
    /// Neighbouring elements a thread takes at once: along the outputs, or with `lanes=1` along what is reduced.
    pub vector: u32,
    /// The storage of elements between reductions: registers, or none.
    pub keep: Keep,
    /// Loads of `vector` elements, or of one that the outputs share, that a thread has in flight at once, at least; 1 with `keep=registers`, where all are.
    pub unroll: u32,
    /// Blocks that share each reduction.
    pub split_k: u32,
}

const THREADS: [u32; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];
const LANES: [u32; 5] = [1, 4, 8, 16, 32];
const VECTORS: [u32; 4] = [1, 2, 4, 8];
const UNROLLS: [u32; 5] = [1, 2, 4, 8, MOST_UNROLL];
/// The most loads in flight, where units share what is read: an element takes one register for all units of a thread.
const MOST_UNROLL: u32 = 16;
const SPLITS: [u32; 10] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];
/// The most elements of a unit that a thread keeps in registers: straight code for each.
const REGISTER_ELEMENTS: u64 = 32;
/// Bytes of shared memory that reductions may exchange values through.
const MOST_SHARED: u32 = 40 * 1024;

pub(super) fn points(problem: &Problem<'_>) -> impl Iterator<Item = Reduce> {
    let shape = problem.shape(Shape::of);
    THREADS
        .into_iter()
        .flat_map(|threads| LANES.map(|lanes| (threads, lanes)))
        .flat_map(|point| VECTORS.map(|vector| (point, vector)))
        .flat_map(|point| [Keep::Registers, Keep::Reload].map(|keep| (point, keep)))
        .flat_map(|point| UNROLLS.map(|unroll| (point, unroll)))
        .flat_map(|point| SPLITS.map(|split_k| (point, split_k)))
        .map(|(((((threads, lanes), vector), keep), unroll), split_k)| Reduce {
            threads,
            lanes,
            vector,
            keep,
            unroll,
            split_k,
        })
        .filter(move |point| {
            let shape = shape.as_ref().as_ref();
            shape.is_some_and(|shape| shape.allows(point) && shape.suits(point))
        })
}

pub(super) fn legal(problem: &Problem<'_>, point: &Reduce) -> bool {
    let listed = THREADS.contains(&point.threads)
        && LANES.contains(&point.lanes)
        && VECTORS.contains(&point.vector)
        && UNROLLS.contains(&point.unroll)
        && SPLITS.contains(&point.split_k);
    let shape = problem.shape(Shape::of);
    listed && shape.as_ref().as_ref().is_some_and(|shape| shape.allows(point))
}

pub(super) fn default(problem: &Problem<'_>, sizes: &[u64]) -> Option<Reduce> {
    starts(problem, sizes).into_iter().next()
}

/// Lanes along the outputs where memory is contiguous along them, as few as read whole sectors, or a warp; else blocks that share few, long
/// rows; several outputs a thread where they share what is read. As many threads as the machine runs at once, or half of them.
pub(super) fn starts(problem: &Problem<'_>, sizes: &[u64]) -> Vec<Reduce> {
    let shape = problem.shape(Shape::of);
    let Some(shape) = shape.as_ref().as_ref() else {
        return Vec::new();
    };
    let (units, length) = (shape.units_at(sizes), shape.longest(sizes));
    let multiprocessors = u64::from(problem.machine.multiprocessors.max(1));
    if !shape.distinct || length < 32 {
        return Vec::new();
    }
    let widest = 16 / shape.element_bytes.min(16);
    let mut shapes = Vec::new();
    if shape.reads_across && !shape.reads_along {
        let last = shape.unit_dims.last().map_or(1, |size| sizes[size.index()]);
        let widest = shape.across.min(widest);
        for vector in [widest, (widest / 2).max(1)] {
            let narrow = (32 / (shape.element_bytes.min(16) * vector)).max(4);
            let lanes = [narrow, 32].into_iter();
            let fitting = lanes.filter(|&lanes| u64::from(lanes * vector) < 2 * last.max(4));
            shapes.extend(fitting.map(|lanes| (lanes, vector)));
        }
    } else if shape.reads_along && length >= 8192 && units < 4 * multiprocessors {
        shapes.push((1, shape.along.min(widest)));
    } else if shape.shared {
        shapes.extend([4, 32].map(|lanes| (lanes, shape.across)));
    }
    let turns: &[(Keep, u32)] = match shape.shared {
        true => &[(Keep::Reload, MOST_UNROLL)],
        false => &[(Keep::Registers, 1), (Keep::Reload, 4), (Keep::Reload, 1)],
    };
    let mut starts = Vec::new();
    for (lanes, vector) in shapes {
        let across = if lanes > 1 {
            units.div_ceil(u64::from(vector))
        } else {
            units
        };
        let along = if lanes > 1 { 1 } else { u64::from(vector) };
        // A thread has a few elements left.
        let most = length.div_ceil(4 * along).next_power_of_two();
        let resident = (shape.resident_threads / across.max(1)).max(1).next_power_of_two();
        let mut threads_of_unit = vec![resident.min(most), (resident / 2).min(most)];
        // Few short rows leave most of the machine idle otherwise.
        if lanes == 1 {
            threads_of_unit.push(resident.min(4 * most));
        }
        for all in threads_of_unit {
            let blocks: &[u32] = if shape.splits { &[256, 32, 512] } else { &[1024] };
            for block in blocks {
                let threads = u64::from(block / lanes).clamp(1, all.max(u64::from(32 / lanes.min(32))));
                let split_k = if shape.splits { (all / threads).clamp(1, 512) } else { 1 };
                for &(keep, unroll) in turns {
                    starts.push(Reduce {
                        threads: threads as u32,
                        lanes,
                        vector,
                        keep,
                        unroll,
                        split_k: split_k as u32,
                    });
                }
            }
        }
    }
    // Rows that no blocks share are another family's.
    starts.retain(|point| shape.allows(point) && shape.suits(point));
    starts = first_of_each(starts, |&point| point);
    starts.truncate(MOST_STARTS);
    starts
}

/// The most points that the estimate is asked to choose from.
const MOST_STARTS: usize = 24;

impl Shape {
    fn allows(&self, point: &Reduce) -> bool {
        let block = point.threads * point.lanes;
        let (across, registers) = (point.lanes > 1, point.keep == Keep::Registers);
        let widest = if across { self.across } else { self.along };
        (32..=1024).contains(&block)
            && point.keep != Keep::Shared
            && (!across || !self.units.is_empty())
            && point.vector <= widest
            && (!registers || (point.unroll == 1 && point.split_k == 1 && self.fits_registers(point)))
            && (point.unroll == 1 || self.unrolls(point))
            && (point.unroll < MOST_UNROLL || across && self.shared)
            && (point.split_k == 1 || self.splits)
            && self.shared(point) <= MOST_SHARED
            && self.needed(point) <= most_registers(point)
    }

    /// `true` if the point is worth trying: it reads neighbours, or each element for several units, and is none that `row` has.
    fn suits(&self, point: &Reduce) -> bool {
        let leading = self.units.iter().enumerate().all(|(number, &at)| number == at);
        let reads_neighbours = match point.lanes {
            1 => self.reads_along && (point.split_k > 1 || !leading),
            lanes => self.shared || self.reads_across && lanes * point.vector * self.element_bytes >= 32,
        };
        // More blocks than there are steps, or than run at once, only leave more for the last one to do.
        let blocks = match self.volumes.iter().flatten().max() {
            Some(&longest) => longest.div_ceil(Shape::turn(point)),
            None => self.resident_threads / u64::from(point.threads * point.lanes),
        };
        reads_neighbours && (point.split_k == 1 || u64::from(point.split_k) <= blocks)
    }

    /// Elements of a unit that a thread takes in one turn.
    fn turn(point: &Reduce) -> u64 {
        u64::from(if point.lanes > 1 {
            point.threads
        } else {
            point.threads * point.vector
        })
    }

    /// Elements of a unit that a thread keeps, of a walk of so many.
    fn kept(point: &Reduce, volume: u64) -> u64 {
        let vector = if point.lanes > 1 { 1 } else { u64::from(point.vector) };
        volume.div_ceil(Shape::turn(point)).saturating_mul(vector)
    }

    fn fits_registers(&self, point: &Reduce) -> bool {
        let fits = |volume: &Option<u64>| volume.is_some_and(|volume| Shape::kept(point, volume) <= REGISTER_ELEMENTS);
        self.volumes.iter().all(fits)
    }

    /// `true` if there are so many steps in a walk.
    fn unrolls(&self, point: &Reduce) -> bool {
        let turn = Shape::turn(point) * u64::from(point.split_k) * u64::from(point.unroll / 2);
        let longest = self.volumes.iter().flatten().max();
        self.volumes.iter().any(Option::is_none) || longest.is_some_and(|&longest| longest > turn)
    }

    /// Bytes that all reductions exchange, at most: a value and a position of each unit, lane and warp. A sum of products of differences
    /// that blocks share takes six.
    fn shared(&self, point: &Reduce) -> u32 {
        let units = if point.lanes > 1 { point.vector } else { 1 };
        let warps = point.threads * point.lanes / 32;
        let exchanges = if point.split_k > 1 { 6 } else { 1 };
        exchanges * self.reductions * units * warps * point.lanes * 8 * self.words
    }

    /// Registers that a thread needs, by and large.
    fn needed(&self, point: &Reduce) -> u32 {
        let elements = match point.keep {
            Keep::Registers => {
                let kept = self
                    .volumes
                    .iter()
                    .flatten()
                    .map(|&volume| Shape::kept(point, volume))
                    .max();
                let units = if point.lanes > 1 { point.vector } else { 1 };
                kept.unwrap_or(1).min(REGISTER_ELEMENTS) as u32 * units
            }
            _ if point.lanes > 1 && self.shared => point.unroll + point.vector,
            _ => point.unroll * point.vector,
        };
        let accumulators = self.accumulators[usize::from(point.keep == Keep::Registers)];
        elements * self.reads * self.words + 2 * point.vector * accumulators * self.words + 40 * self.words
    }
}

/// The most registers that a thread of such a block can have.
fn most_registers(point: &Reduce) -> u32 {
    (65536 / (point.threads * point.lanes)).min(255)
}

/// Blocks that a multiprocessor holds at once, with so much shared memory and the registers that a thread needs, by and large.
pub(super) fn minimum_blocks(problem: &Problem<'_>, point: &Reduce, shared: u32) -> u32 {
    let shape = problem.shape(Shape::of);
    let needed = shape.as_ref().as_ref().map_or(255, |shape| shape.needed(point).max(48));
    let registers = (needed + 8 * calls(problem.checked)).min(most_registers(point));
    problem
        .machine
        .minimum_blocks(point.threads * point.lanes, registers, shared)
}
