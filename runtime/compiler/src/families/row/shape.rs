//! The shape of an operator for `row`.

use crate::check::Checked;
use crate::element::Type;
use crate::ir::{AxisId, BinaryOp, Expr, ExprId, InputId, LetId, Output, SizeId, Source};
use crate::lower::online::waves::Joint;
use crate::problem::Problem;
use crate::size::Extent;
use crate::target::Machine;
use std::collections::BTreeSet;

/// The facts that legality depends on.
pub(super) struct Shape {
    /// The volumes that groups of threads walk over, where compiled in.
    pub volumes: Vec<Option<u64>>,
    /// The number of rows, where compiled in.
    pub rows: Option<u64>,
    /// The largest volumes that groups of threads walk over, where bounded.
    pub largest: Vec<Option<u64>>,
    pub walked: Vec<Vec<SizeId>>,
    pub widest_vector: u32,
    /// Bytes of the widest elements that are read along rows.
    pub element_bytes: u32,
    /// 32-bit registers that a value of the widest type takes.
    pub words: u32,
    /// Different reads of tensors in one walk.
    pub reads: u32,
    /// Inputs that are read several times.
    pub read_again: u32,
    /// Values that elements of all rows share.
    pub shared_by_rows: u32,
    /// Quotients and remainders in indices that elements of all rows share.
    pub quotients: u32,
    /// Bytes of the narrowest element that is read several times; none if there is no such input.
    pub kept_bytes: Option<u32>,
    /// Bytes of shared memory that a block may keep rows in.
    pub budget: u32,
    /// Accumulators a lane, of the walk that needs most: if walks are shared, and if not.
    pub accumulators: [u32; 2],
    /// `true` if some walk can serve several reductions.
    pub joint: bool,
}

impl Shape {
    pub fn of(problem: &Problem<'_>) -> Option<Shape> {
        let axes = row_axes(problem.checked)?;
        let op = problem.checked.op();
        let mut walked: Vec<Vec<SizeId>> = op
            .exprs
            .iter()
            .filter_map(|expr| match expr {
                Expr::Reduce { axes, .. } => Some(axes.iter().map(|&axis| problem.checked.extent(axis)).collect()),
                _ => None,
            })
            .collect();
        walked.extend(op.outputs.iter().map(|output| output.dims[axes..].to_vec()));
        walked.retain(|sizes| !sizes.is_empty());
        let extent = |size: &SizeId| problem.specialisation.extents[size.index()];
        let volume = |sizes: &[SizeId], of: fn(Extent) -> Option<u64>| {
            let mut extents = sizes.iter().map(|size| of(extent(size)));
            extents.try_fold(1u64, |v, e| v.checked_mul(e?))
        };
        let volumes = |of| walked.iter().map(|sizes| volume(sizes, of)).collect();
        let (volumes, largest) = (volumes(Extent::fixed), volumes(Extent::most));
        let divisible = walked
            .iter()
            .filter_map(|sizes| sizes.last())
            .map(|size| extent(size).multiple_of())
            .min()
            .unwrap_or(1);
        let widest_vector = if problem.specialisation.aligned {
            divisible.min(8)
        } else {
            1
        };
        let joint = Joint::of(problem.checked, axes);
        let reads = match &joint {
            Some(joint) => joint.formulas.reads_in_a_walk(),
            None => op.exprs.iter().filter(|expr| matches!(expr, Expr::Read { .. })).count(),
        };
        let again = read_again(problem.checked);
        let wide = (0..op.exprs.len()).map(|number| ExprId(number as u32)).any(|expr| {
            let combines_indices = matches!(op.expr(expr), Expr::Reduce { .. }) && problem.checked.is_index(expr);
            matches!(problem.checked.ty(expr), Type::F64 | Type::I64)
                || (problem.specialisation.wide && combines_indices)
        });
        Some(Shape {
            volumes,
            rows: volume(&op.outputs[0].dims[..axes], Extent::fixed),
            largest,
            walked,
            widest_vector,
            element_bytes: widest_along_rows(problem.checked, axes).unwrap_or(4),
            words: if wide { 2 } else { 1 },
            reads: reads.max(1) as u32,
            read_again: again.iter().filter(|&&again| again).count().max(1) as u32,
            shared_by_rows: shared_by_rows(problem, axes, |expr| !problem.checked.is_index(expr)),
            quotients: shared_by_rows(problem, axes, |expr| {
                let divides = matches!(op.expr(expr), Expr::Binary(BinaryOp::Div | BinaryOp::Rem, ..));
                divides && problem.checked.is_index(expr)
            }),
            kept_bytes: (op.inputs.iter().zip(&again))
                .filter(|&(_, again)| *again)
                .map(|(input, _)| input.element.size())
                .min(),
            budget: kept_budget(problem.machine),
            accumulators: [true, false]
                .map(|shared| joint.as_ref().map_or(2, |joint| joint.accumulators(shared)) as u32),
            joint: joint.is_some_and(|joint| joint.shared().next().is_some()),
        })
    }

    pub fn longest(&self, sizes: &[u64]) -> u64 {
        self.walked
            .iter()
            .map(|walked| {
                walked
                    .iter()
                    .map(|size| sizes[size.index()])
                    .fold(1, u64::saturating_mul)
            })
            .max()
            .unwrap_or(1)
    }
}

/// For each input `true` if it is worth keeping: it is read several times, by the operator or through intermediate tensors that are.
pub(super) fn read_again(checked: &Checked) -> Vec<bool> {
    let op = checked.op();
    let reads_of = |of: Source| -> Vec<usize> {
        let is_read = |&number: &usize| matches!(op.exprs[number], Expr::Read { source, .. } if source == of);
        (0..op.exprs.len()).filter(is_read).collect()
    };
    // The parts of intermediate tensors: operands stand before their users.
    let parts = |root: ExprId| -> Vec<bool> {
        let mut parts = vec![false; root.index() + 1];
        parts[root.index()] = true;
        for number in (0..parts.len()).rev() {
            if parts[number] {
                op.operands(ExprId(number as u32), |operand| parts[operand.index()] = true);
            }
        }
        parts
    };
    let mut lets = vec![false; op.lets.len()];
    let again = |of: Source, lets: &[bool]| -> bool {
        let reads = reads_of(of);
        let inside = |number: usize| {
            let mut read_again = op.lets.iter().zip(lets).filter(|&(_, &again)| again);
            read_again.any(|(entry, _)| parts(entry.body).get(number).copied().unwrap_or(false))
        };
        reads.len() > 1 || reads.first().is_some_and(|&number| inside(number))
    };
    // Intermediate tensors are read by later ones.
    for number in (0..op.lets.len()).rev() {
        lets[number] = again(Source::Let(LetId(number as u32)), &lets);
    }
    (0..op.inputs.len())
        .map(|number| again(Source::Input(InputId(number as u32)), &lets))
        .collect()
}

/// Bytes of shared memory that a block may keep rows in; the rest is for what reductions exchange.
pub(super) fn kept_budget(machine: Machine) -> u32 {
    machine.limits.shared_per_block.saturating_sub(16 * 1024)
}

/// The number of leading output axes that number the rows: all that a reduction depends on and those before them. None if the
/// family does not accept the operator: no reduction, or outputs that do not share these axes.
pub(super) fn row_axes(checked: &Checked) -> Option<usize> {
    let op = checked.op();
    let mut rows = 0;
    let mut reductions = false;
    for output in &op.outputs {
        let mut walk = Walk::of(checked, output);
        walk.expr(output.body, 0, &mut |walk, expr| {
            if matches!(op.expr(expr), Expr::Reduce { .. }) {
                reductions = true;
                // Only reductions over nothing but rows are done by the group; inner ones are done in sequence.
                if let Some(last) = walk.positions(expr).iter().max() {
                    rows = rows.max(last + 1);
                }
            }
            true
        })?;
    }
    if !reductions {
        return None;
    }
    let leading = |output: &Output| output.dims.get(..rows).map(<[SizeId]>::to_vec);
    let first = leading(&op.outputs[0])?;
    op.outputs
        .iter()
        .all(|output| leading(output).as_ref() == Some(&first))
        .then_some(rows)
}

/// The number of such values that elements of all rows share, as they do a weight of each column: the largest such parts of the outputs' values.
fn shared_by_rows(problem: &Problem<'_>, rows: usize, is_such: impl Fn(ExprId) -> bool) -> u32 {
    let (checked, op) = (problem.checked, problem.checked.op());
    let extents = &problem.specialisation.extents;
    let mut shared = BTreeSet::new();
    for output in &op.outputs {
        let numbers_rows =
            |&position: &usize| position < rows && extents[output.dims[position].index()].fixed() != Some(1);
        // Chains that are too deep have no rows.
        let _ = Walk::of(checked, output).expr(output.body, 0, &mut |walk, expr| {
            let of_elements = is_such(expr) && checked.axes(expr).iter().next().is_some();
            let is_shared = of_elements && !walk.positions(expr).iter().any(numbers_rows);
            if is_shared {
                shared.insert(expr);
            }
            !is_shared
        });
    }
    shared.len() as u32
}

/// Bytes of the widest elements that are read along rows, not once for each.
fn widest_along_rows(checked: &Checked, rows: usize) -> Option<u32> {
    let op = checked.op();
    let mut widest = None;
    for output in &op.outputs {
        // Chains that are too deep have no rows.
        let _ = Walk::of(checked, output).expr(output.body, 0, &mut |walk, expr| {
            if let Expr::Read {
                source: Source::Input(input),
                ..
            } = *op.expr(expr)
            {
                let of_a_row = |axis: AxisId| {
                    let positions = &walk.depends[axis.index()];
                    !positions.is_empty() && positions.iter().all(|&position| position < rows)
                };
                if !checked.axes(expr).iter().all(of_a_row) {
                    widest = widest.max(Some(op.inputs[input.index()].element.size()));
                }
            }
            true
        });
    }
    widest
}

/// A walk over the parts of an output's value, through intermediate tensors.
struct Walk<'a> {
    checked: &'a Checked,
    /// For each axis the positions of output axes that its value depends on.
    depends: Vec<Vec<usize>>,
}

impl<'a> Walk<'a> {
    fn of(checked: &'a Checked, output: &Output) -> Walk<'a> {
        let mut depends = vec![Vec::new(); checked.op().axes.len()];
        for (position, axis) in output.axes.iter().enumerate() {
            depends[axis.index()] = vec![position];
        }
        Walk { checked, depends }
    }

    /// Shows an expression to `each`, then its operands if that returns `true`. None if it is too deep.
    fn expr(&mut self, expr: ExprId, depth: u32, each: &mut impl FnMut(&Self, ExprId) -> bool) -> Option<()> {
        // Chains of intermediate tensors this deep are left to `plain`.
        if depth > 64 {
            return None;
        }
        if !each(self, expr) {
            return Some(());
        }
        let op = self.checked.op();
        match op.expr(expr) {
            Expr::Reduce { axes, body, .. } => {
                for &AxisId(axis) in axes {
                    self.depends[axis as usize] = Vec::new();
                }
                self.expr(*body, depth + 1, each)?;
            }
            Expr::Read {
                source: Source::Let(inner),
                index,
                or,
            } => {
                let entry = &op.lets[inner.index()];
                for (&at, axis) in index.iter().zip(&entry.axes) {
                    self.depends[axis.index()] = self.positions(at);
                    self.expr(at, depth + 1, each)?;
                }
                if let Some(or) = or {
                    self.expr(*or, depth + 1, each)?;
                }
                self.expr(entry.body, depth + 1, each)?;
            }
            _ => {
                let mut operands = Vec::new();
                op.operands(expr, |operand| operands.push(operand));
                for operand in operands {
                    self.expr(operand, depth + 1, each)?;
                }
            }
        }
        Some(())
    }

    /// The positions of output axes that an expression depends on.
    fn positions(&self, expr: ExprId) -> Vec<usize> {
        let mut positions: Vec<usize> = self
            .checked
            .axes(expr)
            .iter()
            .flat_map(|axis| self.depends[axis.index()].iter().copied())
            .collect();
        positions.sort_unstable();
        positions.dedup();
        positions
    }
}
