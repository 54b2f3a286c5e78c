//! The family `window`: small reductions over windows that neighbouring outputs share most of, as in depthwise
//! convolutions and pooling.

use super::shape::Shape;
use crate::families::analysis::output_elements;
use crate::families::family::first_of_each;
use crate::problem::Problem;
use bincode::{Decode, Encode};

/// A thread computes `rows × columns` neighbouring outputs, of which what several need is read once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct Window {
    /// Threads a block.
    pub threads: u32,
    /// Neighbouring outputs of a thread along the second fastest dimension.
    pub rows: u32,
    /// Neighbouring outputs of a thread along the fastest dimension.
    pub columns: u32,
}

const THREADS: [u32; 3] = [64, 128, 256];
const OUTPUTS: [u32; 4] = [1, 2, 4, 8];
/// Outputs along a dimension, at most, that may read the same for want of a better family.
const FEW: u64 = 4;

pub(super) fn points(problem: &Problem<'_>) -> impl Iterator<Item = Window> {
    let shape = problem.shape(Shape::of);
    OUTPUTS
        .into_iter()
        .flat_map(|rows| OUTPUTS.map(|columns| (rows, columns)))
        .filter(move |&(rows, columns)| {
            shape
                .as_ref()
                .as_ref()
                .is_some_and(|shape| shape.allows(problem.checked, rows, columns))
        })
        .flat_map(|(rows, columns)| THREADS.map(|threads| Window { threads, rows, columns }))
}

/// As many outputs a thread as leave all multiprocessors threads to hide their loads with.
pub(super) fn default(problem: &Problem<'_>, sizes: &[u64]) -> Option<Window> {
    let shape = problem.shape(Shape::of);
    let shape = shape.as_ref().as_ref()?;
    // A window over only some output dimensions is reused along the others, so tiling pays.
    let dims = &problem.checked.op().outputs[0].dims;
    if (0..dims.len()).any(|position| {
        sizes[dims[position].index()] > FEW && !shape.sliding_reads_depend_on(problem.checked, position)
    }) {
        return None;
    }
    let outputs = output_elements(problem.checked, sizes);
    let wanted = 1024 * u64::from(problem.machine.multiprocessors.max(1));
    points(problem)
        .filter(|point| point.threads == 128 && point.rows <= 4 && point.columns <= 4)
        .min_by_key(|point| {
            let of_thread = point.rows * point.columns;
            let threads = outputs / u64::from(of_thread);
            (
                (wanted / threads.max(1)).checked_ilog2().unwrap_or(0),
                std::cmp::Reverse(of_thread),
                // Among equals prefer wider vectors.
                point.rows,
            )
        })
}

/// The default, and the longest lines of outputs along each of the two fastest dimensions.
pub(super) fn starts(problem: &Problem<'_>, sizes: &[u64]) -> Vec<Window> {
    let Some(default) = default(problem, sizes) else {
        return Vec::new();
    };
    let usual = || points(problem).filter(|point| point.threads == default.threads);
    let down = usual()
        .filter(|point| point.columns == 1)
        .max_by_key(|point| point.rows);
    let along = usual()
        .filter(|point| point.rows == 1)
        .max_by_key(|point| point.columns);
    first_of_each([Some(default), down, along].into_iter().flatten(), |&point| point)
}

/// Blocks that the assembler is told to fit on a multiprocessor.
pub(crate) fn minimum_blocks(problem: &Problem<'_>, point: &Window) -> u32 {
    let shape = problem.shape(Shape::of);
    let registers =
        (shape.as_ref().as_ref()).map_or(0, |shape| shape.registers(problem.checked, point.rows, point.columns));
    problem.machine.minimum_blocks(point.threads, registers as u32, 0)
}
