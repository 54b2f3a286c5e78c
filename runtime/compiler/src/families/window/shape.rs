//! The shape of an operator for `window`.

use crate::check::Checked;
use crate::families::analysis::reducing;
use crate::ir::{AxisId, Expr, ExprId, SizeId, Source};
use crate::lower::tile::products::coefficient;
use crate::problem::Problem;

/// Terms of the reductions of an output, at most: they are straight code.
const MOST_TERMS: u64 = 64;
/// Terms of a thread's outputs, at most.
const MOST_THREAD_TERMS: u64 = 1024;
/// Registers a thread may need, at most, so that enough threads are there to wait for memory.
const MOST_REGISTERS: u64 = 160;

/// The facts that legality depends on.
pub(super) struct Shape {
    /// The fastest dimension of the outputs, and the one before it.
    column: Dimension,
    row: Option<Dimension>,
    /// Terms of all reductions of an output.
    terms: u64,
    reductions: Vec<Reduction>,
}

/// The terms of a window that a thread's outputs take at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Terms {
    /// All of them, one output after the other.
    All,
    /// Those of one index of the window's first axis, for all outputs together. A register holds an element only as long as outputs need it.
    OfARow,
}

/// One of the outputs' dimensions.
#[derive(Debug, Clone)]
struct Dimension {
    /// The outputs' axes that run over it.
    axes: Vec<AxisId>,
    fixed: Option<u64>,
    multiple_of: u32,
    /// `true` if neighbours along it share what they read.
    shared: bool,
}

/// A reduction: its axes with their extents, and what is read in it.
#[derive(Debug, Clone)]
struct Reduction {
    axes: Vec<(AxisId, u64)>,
    reads: Vec<ExprId>,
}

impl Shape {
    /// None if the family does not accept the operator: outputs of several shapes, a reduction of which the size is not
    /// compiled in, or none over a window.
    pub fn of(problem: &Problem<'_>) -> Option<Shape> {
        let op = problem.checked.op();
        let dims = &op.outputs[0].dims;
        if op.outputs.iter().any(|output| output.dims != *dims) {
            return None;
        }
        let fixed = |size: SizeId| problem.specialisation.extents[size.index()].fixed();
        let reducing = reducing(problem.checked);
        let mut reductions = Vec::new();
        let mut terms = 0u64;
        for expr in &op.exprs {
            let Expr::Reduce { axes, body, .. } = expr else {
                continue;
            };
            if reducing[body.index()] {
                return None;
            }
            let axes: Option<Vec<(AxisId, u64)>> = axes
                .iter()
                .map(|&axis| Some((axis, fixed(problem.checked.extent(axis))?)))
                .collect();
            let axes = axes?;
            terms = terms.saturating_add(axes.iter().map(|&(_, extent)| extent).fold(1, u64::saturating_mul));
            reductions.push(Reduction {
                axes,
                reads: reads(problem.checked, *body),
            });
        }
        if !(1..=MOST_TERMS).contains(&terms)
            || reductions.iter().any(|r| r.axes.iter().any(|&(_, extent)| extent == 0))
        {
            return None;
        }
        let dimension = |position: usize| {
            let axes: Vec<AxisId> = op.outputs.iter().map(|output| output.axes[position]).collect();
            let size = dims[position];
            let shared = reductions.iter().any(|reduction| {
                reduction
                    .reads
                    .iter()
                    .any(|&read| reduction.slides(problem.checked, read, &axes))
            });
            Dimension {
                axes,
                fixed: fixed(size),
                multiple_of: problem.specialisation.extents[size.index()].multiple_of(),
                shared,
            }
        };
        let shared = (0..dims.len()).any(|position| dimension(position).shared);
        let column = dimension(dims.len().checked_sub(1)?);
        shared.then_some(Shape {
            column,
            row: dims.len().checked_sub(2).map(dimension),
            terms,
            reductions,
        })
    }

    pub fn sliding_reads_depend_on(&self, checked: &Checked, position: usize) -> bool {
        let op = checked.op();
        let axes = |position: usize| -> Vec<AxisId> { op.outputs.iter().map(|output| output.axes[position]).collect() };
        let all: Vec<AxisId> = (0..op.outputs[0].dims.len()).flat_map(axes).collect();
        let own = axes(position);
        self.reductions.iter().all(|reduction| {
            reduction.reads.iter().all(|&read| {
                !reduction.slides(checked, read, &all) || own.iter().any(|&axis| checked.axes(read).contains(axis))
            })
        })
    }

    pub fn allows(&self, checked: &Checked, rows: u32, columns: u32) -> bool {
        // Neighbours that share nothing are worth computing together only where they are loaded as vectors.
        let of_row = match &self.row {
            Some(row) => row.allows(rows) && (rows == 1 || row.shared),
            None => rows == 1,
        };
        of_row
            && self.column.allows(columns)
            && self.terms * u64::from(rows * columns) <= MOST_THREAD_TERMS
            && self.registers(checked, rows, columns) <= MOST_REGISTERS
    }

    /// The terms that a thread's outputs take at once.
    pub fn terms_at_once(&self, checked: &Checked, rows: u32, columns: u32) -> Terms {
        match self.registers_for(checked, rows, columns, Terms::All) <= MOST_REGISTERS {
            true => Terms::All,
            false => Terms::OfARow,
        }
    }

    /// Registers a thread needs.
    pub fn registers(&self, checked: &Checked, rows: u32, columns: u32) -> u64 {
        let terms = self.terms_at_once(checked, rows, columns);
        self.registers_for(checked, rows, columns, terms)
    }

    /// Registers a thread needs for so many terms at once: every element that its outputs read for them, the outputs, and addresses. Of a row of
    /// terms, some elements stay for the next row, and conditions take registers too. The constants were found by assembling kernels; the
    /// tests assemble samples of them.
    fn registers_for(&self, checked: &Checked, rows: u32, columns: u32, terms: Terms) -> u64 {
        let elements = |reduction: &Reduction| -> u64 {
            let mut reduction = reduction.clone();
            if let (Terms::OfARow, [(_, extent), _, ..]) = (terms, reduction.axes.as_mut_slice()) {
                *extent = 1;
            }
            let reads = reduction.reads.iter();
            reads
                .map(|&read| self.elements(checked, &reduction, read, rows.into(), columns.into()))
                .sum()
        };
        let elements: u64 = self.reductions.iter().map(elements).sum();
        let outputs = 2 * u64::from(rows * columns);
        match terms {
            Terms::All => 40 + elements + outputs,
            Terms::OfARow => 56 + elements * 5 / 2 + outputs,
        }
    }

    /// The number of elements that a read of a reduction touches for all outputs of a thread: at most one an output and term, and at
    /// most as many as there are between the first and the last along each of its dimensions.
    fn elements(&self, checked: &Checked, reduction: &Reduction, read: ExprId, rows: u64, columns: u64) -> u64 {
        let Expr::Read { source, index, .. } = checked.op().expr(read) else {
            return 0;
        };
        let words = match source {
            Source::Input(input) => u64::from(checked.op().inputs[input.index()].element.size().div_ceil(4)),
            Source::Let(_) => return 0,
        };
        let none = Vec::new();
        let row = self.row.as_ref().map_or(&none, |row| &row.axes);
        let walked = row.iter().map(|&axis| (axis, rows));
        let walked = walked.chain(self.column.axes.iter().map(|&axis| (axis, columns)));
        let walked: Vec<(AxisId, u64)> = walked.chain(reduction.axes.iter().copied()).collect();
        let mut volume = words;
        for &at in index {
            let axes = checked.axes(at);
            let own = walked.iter().filter(|(axis, _)| axes.contains(*axis));
            let (mut combinations, mut span) = (1u64, Some(1u64));
            for &(axis, count) in own {
                combinations = combinations.saturating_mul(count);
                let step = coefficient(checked, at, axis);
                span = span.and_then(|span| span.checked_add(step?.unsigned_abs().checked_mul(count - 1)?));
            }
            volume = volume.saturating_mul(span.map_or(combinations, |span| span.min(combinations)));
        }
        volume
    }
}

impl Dimension {
    /// `true` if every thread can have so many of them: they divide the extent, or the last thread can begin earlier.
    fn allows(&self, count: u32) -> bool {
        self.multiple_of.is_multiple_of(count) || self.fixed.is_some_and(|extent| extent >= u64::from(count))
    }
}

impl Reduction {
    /// `true` if an index of a read depends on one of `axes` and on one of the reduction's own.
    fn slides(&self, checked: &Checked, read: ExprId, axes: &[AxisId]) -> bool {
        let Expr::Read { index, .. } = checked.op().expr(read) else {
            return false;
        };
        index.iter().any(|&at| {
            let of_index = checked.axes(at);
            axes.iter().any(|&axis| of_index.contains(axis))
                && self.axes.iter().any(|&(axis, _)| of_index.contains(axis))
        })
    }
}

/// The reads in an expression.
fn reads(checked: &Checked, body: ExprId) -> Vec<ExprId> {
    let op = checked.op();
    let mut wanted = vec![false; body.index() + 1];
    wanted[body.index()] = true;
    let mut reads = Vec::new();
    // Operands stand before what uses them.
    for position in (0..=body.index()).rev() {
        let expr = ExprId(position as u32);
        if wanted[position] {
            op.operands(expr, |operand| wanted[operand.index()] = true);
            if let Expr::Read { .. } = op.expr(expr) {
                reads.push(expr);
            }
        }
    }
    reads
}
