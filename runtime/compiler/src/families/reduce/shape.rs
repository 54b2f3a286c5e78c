//! The shape of an operator for `reduce`.

use crate::check::Checked;
use crate::element::Type;
use crate::families::formula::{Formulas, Node, NodeId, Symbol};
use crate::ir::{Expr, ExprId, SizeId};
use crate::lower::online::waves::Joint;
use crate::problem::Problem;

/// The facts that legality and defaults depend on.
pub(super) struct Shape {
    /// The output axes that reductions depend on, by their positions. A *unit* is one value of them.
    pub units: Vec<usize>,
    /// The sizes of the axes of units.
    pub unit_dims: Vec<SizeId>,
    /// The sizes that each reduction and the outputs' other axes run over.
    pub walked: Vec<Vec<SizeId>>,
    /// The volumes of `walked`, where compiled in.
    pub volumes: Vec<Option<u64>>,
    /// A power of two that divides the extent of the last axis of units, and that of each walk's last axis.
    pub across: u32,
    pub along: u32,
    /// `true` if a walk reads neighbours along the last axis of units, and if one does along its own last axis.
    pub reads_across: bool,
    pub reads_along: bool,
    /// `true` if units share nothing that a reduction reads along them.
    pub distinct: bool,
    /// `true` if they share everything that reductions read.
    pub shared: bool,
    /// Bytes of the widest element that units do not share.
    pub element_bytes: u32,
    /// 32-bit registers that a value of the widest type takes.
    pub words: u32,
    /// Different reads of tensors in one walk.
    pub reads: u32,
    /// Accumulators of an element, of the walk that needs most: if walks are shared, and if not.
    pub accumulators: [u32; 2],
    /// The number of reductions.
    pub reductions: u32,
    /// Threads that the machine runs at once.
    pub resident_threads: u64,
    /// `true` if blocks may share reductions: one walk serves all of them, and nothing but their results is stored.
    pub splits: bool,
}

/// The axes that reductions depend on, by their positions in outputs. None if the family does not accept the operator: no reduction, or
/// outputs that do not share these axes.
pub(super) fn units(checked: &Checked) -> Option<Vec<usize>> {
    let formulas = Formulas::of_rows(checked, u64::MAX)?;
    let depends = formulas
        .reductions
        .iter()
        .map(|reduction| formulas.facts(reduction.body).outputs);
    let set = depends.reduce(|a, b| a | b)?;
    let units: Vec<usize> = (0..64).filter(|&at| set >> at & 1 == 1).collect();
    let outputs = &checked.op().outputs;
    let dims = |number: usize| -> Option<Vec<SizeId>> {
        units.iter().map(|&at| outputs[number].dims.get(at).copied()).collect()
    };
    let first = dims(0)?;
    (0..outputs.len())
        .all(|number| dims(number).as_ref() == Some(&first))
        .then_some(units)
}

/// The reductions of an operator with these units.
pub(super) fn joint<'a>(checked: &'a Checked, units: &[usize]) -> Option<Joint<'a>> {
    let set = units.iter().fold(0, |set, &at| set | 1 << at);
    Formulas::of_rows(checked, set).map(Joint::new)
}

impl Shape {
    pub fn of(problem: &Problem<'_>) -> Option<Shape> {
        let checked = problem.checked;
        let op = checked.op();
        let units = units(checked)?;
        let joint = joint(checked, &units)?;
        let formulas = &joint.formulas;
        let mut walked: Vec<Vec<SizeId>> = op
            .exprs
            .iter()
            .filter_map(|expr| match expr {
                Expr::Reduce { axes, .. } => Some(axes.iter().map(|&axis| checked.extent(axis)).collect()),
                _ => None,
            })
            .collect();
        walked.extend(op.outputs.iter().map(|output| {
            let others = output.dims.iter().enumerate().filter(|(at, _)| !units.contains(at));
            others.map(|(_, &size)| size).collect()
        }));
        walked.retain(|sizes: &Vec<SizeId>| !sizes.is_empty());
        let extent = |size: &SizeId| problem.specialisation.extents[size.index()];
        let volume = |sizes: &Vec<SizeId>| {
            let mut extents = sizes.iter().map(|size| extent(size).fixed());
            extents.try_fold(1u64, |volume, extent| volume.checked_mul(extent?))
        };
        let unit_dims: Vec<SizeId> = units.iter().map(|&at| op.outputs[0].dims[at]).collect();
        let multiple = |sizes: &mut dyn Iterator<Item = &SizeId>| match problem.specialisation.aligned {
            true => sizes.map(|size| extent(size).multiple_of()).min().unwrap_or(1).min(8),
            false => 1,
        };
        let reads = Reads::of(formulas, &units);
        let wide = (0..op.exprs.len()).map(|number| ExprId(number as u32)).any(|expr| {
            let combines_indices = matches!(op.expr(expr), Expr::Reduce { .. }) && checked.is_index(expr);
            matches!(checked.ty(expr), Type::F64 | Type::I64) || (problem.specialisation.wide && combines_indices)
        });
        // A reduction that stands within another one or under a condition is done where it is met.
        let opaque = |id: NodeId| matches!(formulas.node(id), Node::Opaque(expr, _) if matches!(op.expr(*expr), Expr::Reduce { .. }));
        let all_of_units = op.outputs.iter().all(|output| output.dims.len() == units.len());
        let only = joint.only().filter(|_| all_of_units && !formulas.ids().any(opaque));
        let splits = only.is_some();
        Some(Shape {
            across: multiple(&mut unit_dims.last().into_iter()),
            along: multiple(&mut walked.iter().filter_map(|sizes| sizes.last())),
            volumes: walked.iter().map(volume).collect(),
            walked,
            unit_dims,
            reads_across: reads.across,
            reads_along: reads.along,
            distinct: reads.distinct,
            shared: reads.shared,
            element_bytes: reads.element_bytes,
            words: if wide { 2 } else { 1 },
            reads: formulas.reads_in_a_walk().max(1) as u32,
            accumulators: [true, false].map(|shared| joint.accumulators(shared) as u32),
            reductions: op
                .exprs
                .iter()
                .filter(|expr| matches!(expr, Expr::Reduce { .. }))
                .count() as u32,
            resident_threads: u64::from(problem.machine.multiprocessors)
                * u64::from(problem.machine.limits.threads_per_multiprocessor),
            splits,
            units,
        })
    }

    /// Units at these sizes.
    pub fn units_at(&self, sizes: &[u64]) -> u64 {
        let extents = self.unit_dims.iter().map(|size| sizes[size.index()]);
        extents.fold(1, u64::saturating_mul)
    }

    /// Elements of the longest walk at these sizes.
    pub fn longest(&self, sizes: &[u64]) -> u64 {
        let volume = |sized: &Vec<SizeId>| {
            let extents = sized.iter().map(|size| sizes[size.index()]);
            extents.fold(1, u64::saturating_mul)
        };
        self.walked.iter().map(volume).max().unwrap_or(1)
    }
}

/// How walks read tensors.
struct Reads {
    across: bool,
    along: bool,
    distinct: bool,
    shared: bool,
    element_bytes: u32,
}

impl Reads {
    fn of(formulas: &Formulas<'_>, units: &[usize]) -> Reads {
        let all = units.iter().fold(0u64, |set, &at| set | 1 << at);
        let last = units.last().map(|&at| Symbol::Output(at));
        let mut reads = Reads {
            across: false,
            along: false,
            distinct: true,
            shared: !units.is_empty(),
            element_bytes: 1,
        };
        for id in formulas.ids() {
            let Node::Read(input, index, _) = formulas.node(id) else {
                continue;
            };
            let (facts, Some(&at)) = (formulas.facts(id), index.last()) else {
                continue;
            };
            if !facts.lanes {
                continue;
            }
            let of_last = units.last().is_none_or(|&at| facts.outputs >> at & 1 == 1);
            reads.across |= matches!(*formulas.node(at), Node::Axis(symbol) if Some(symbol) == last);
            reads.along |= formulas.facts(at).lanes && facts.outputs & all == all;
            if of_last {
                let element = formulas.checked.op().inputs[input.index()].element;
                reads.element_bytes = reads.element_bytes.max(element.size());
            }
            reads.shared &= facts.outputs & all == 0;
            reads.distinct &= !of_last || facts.outputs & all == all;
        }
        reads
    }
}
