//! `window`: neighbouring outputs by one thread, their reductions as straight code.
//!
//! An element that several outputs read is loaded once and stays in a register: the builder numbers values. A thread whose
//! outputs would reach beyond an edge begins earlier instead, and leaves out those that its neighbour stores.

use super::shape::{Shape, Terms};
use super::space::{Window, minimum_blocks};
use crate::ir::{AxisId, Expr, ExprId, Op, Output, SizeId};
use crate::lower::Error;
use crate::lower::expression::{Accumulator, Binding, Lanes, Lowering, Reduce};
use crate::lower::grid::{Grid, volume_formula};
use crate::lower::index::Linear;
use crate::lower::value::Value;
use crate::problem::Problem;
use crate::ptx::{Cache, Guard, Reg};
use crate::size::SizeExpr;
use std::ops::Range;

pub(super) fn lower<'a>(problem: &Problem<'a>, name: &str, point: &Window) -> Result<(Lowering<'a>, Grid), Error> {
    let mut lowering = Lowering::new(problem, name, point.threads);
    lowering.b.set_minimum_blocks(minimum_blocks(problem, point));
    let op = problem.checked.op();
    let dims = &op.outputs[0].dims;
    // Outputs of a thread along each dimension.
    let mut counts = vec![1; dims.len()];
    for (count, of_thread) in counts.iter_mut().rev().zip([point.columns, point.rows]) {
        *count = i64::from(of_thread);
    }
    let mut pieces = Vec::with_capacity(dims.len());
    let mut total = Linear::constant(1);
    let mut formula = SizeExpr::Const(1);
    for (&size, &count) in dims.iter().zip(&counts) {
        let rounded = lowering.size(size).plus_constant(count - 1);
        let piece = lowering
            .math
            .divide(&mut lowering.b, &rounded, &Linear::constant(count))
            .0;
        total = lowering.math.product(&mut lowering.b, &total, &piece);
        formula = formula.times(volume_formula(problem.specialisation, &[size]).div_ceil(count as u64));
        pieces.push(piece);
    }
    let block = lowering.block();
    let number = block.times(i64::from(point.threads)).plus(&lowering.thread());
    lowering.begin_if_below(&number, &total);
    // Multiples of sizes for each term, hoisted, would occupy registers throughout.
    lowering.b.stay();
    let places = lowering.math.coordinates(&mut lowering.b, &number, &pieces);
    let spans: Vec<Span> = dims
        .iter()
        .zip(&counts)
        .zip(&places)
        .map(|((&size, &count), place)| Span::new(&mut lowering, size, count, place))
        .collect();
    let shape = problem.shape(Shape::of);
    let shape = shape.as_ref().as_ref().ok_or(Error::Unbound)?;
    let terms = shape.terms_at_once(problem.checked, point.rows, point.columns);
    outputs(&mut lowering, &spans, point, terms)?;
    lowering.b.end();
    Ok((
        lowering,
        Grid::of(formula.div_ceil(u64::from(point.threads)), point.threads, 0),
    ))
}

/// A thread's outputs along one dimension.
struct Span {
    first: Linear,
    /// The register that counts the threads, where none begins earlier than it would.
    regular: Option<Reg>,
    /// The first that is this thread's to store; none if all are.
    own: Option<Linear>,
}

impl Span {
    fn new(lowering: &mut Lowering<'_>, size: SizeId, count: i64, place: &Linear) -> Span {
        let begin = place.times(count);
        let divides = i64::from(lowering.size_multiple(size)) % count == 0;
        if divides {
            let register = (count > 1).then(|| lowering.math.register(&mut lowering.b, place));
            return Span {
                first: register.map_or(begin, |register| Linear::register(register).times(count)),
                regular: register,
                own: None,
            };
        }
        // The last thread begins so that its outputs end where the dimension does.
        let beyond_last = lowering.size(size).plus_constant(1 - count);
        Span {
            first: lowering.clamped(&begin, &beyond_last),
            regular: None,
            own: Some(begin),
        }
    }

    /// The condition under which this thread stores the `number`-th output; none if it always does.
    fn stored(&self, lowering: &mut Lowering<'_>, number: u32) -> Option<Reg> {
        let at = self.first.plus_constant(i64::from(number));
        let own = self.own.as_ref()?;
        Some(lowering.below(&own.plus_constant(-1), &at))
    }
}

/// A thread's outputs, row by row.
fn outputs(lowering: &mut Lowering<'_>, spans: &[Span], point: &Window, terms: Terms) -> Result<(), Error> {
    let op = lowering.op();
    let Some((column_span, spans)) = spans.split_last() else {
        return Err(Error::Unbound);
    };
    let (row_span, leading) = match spans.split_last() {
        Some((row, leading)) => (Some(row), leading),
        None => (None, spans),
    };
    lowering.lanes = column_span.regular.map(|register| Lanes {
        register,
        width: point.columns,
    });
    // Where rows of memory need not begin at vectors, outputs are stored one by one.
    let together = lowering.specialisation.aligned && column_span.own.is_none();
    let coordinates = |row: u32, column: u32| -> Vec<Linear> {
        let leading = leading.iter().map(|span| span.first.clone());
        let row = row_span.map(|span| span.first.plus_constant(row.into()));
        let column = column_span.first.plus_constant(column.into());
        leading.chain(row).chain([column]).collect()
    };
    let reduced = match terms {
        Terms::All => Vec::new(),
        Terms::OfARow => {
            let rows = 0..point.rows;
            let places = rows.flat_map(|row| (0..point.columns).map(move |column| (row, column)));
            let places: Vec<Vec<Linear>> = places.map(|(row, column)| coordinates(row, column)).collect();
            reduced_together(lowering, &places)?
        }
    };
    for row in 0..point.rows {
        let row_stored = row_span.and_then(|span| span.stored(lowering, row));
        let mut results = vec![Vec::new(); op.outputs.len()];
        for column in 0..point.columns {
            let column_stored = column_span.stored(lowering, column);
            let guard = lowering.both(row_stored, column_stored).map(held);
            let coordinates = coordinates(row, column);
            op.outputs
                .iter()
                .for_each(|output| bind(lowering, output, &coordinates));
            for (expr, values) in &reduced {
                lowering.define(*expr, values[(row * point.columns + column) as usize])?;
            }
            for (position, output) in op.outputs.iter().enumerate() {
                let value = lowering.output_value(position, &mut Unrolled)?;
                if together {
                    results[position].push(value);
                } else {
                    let offset = lowering.offset(&coordinates, &output.dims);
                    lowering.store_output(position, &offset, &[value], Cache::Normal, guard);
                }
            }
        }
        if together {
            let coordinates = coordinates(row, 0);
            for (position, values) in results.iter().enumerate() {
                let offset = lowering.offset(&coordinates, &op.outputs[position].dims);
                lowering.store_output(position, &offset, values, Cache::Normal, row_stored.map(held));
            }
        }
    }
    lowering.lanes = None;
    Ok(())
}

/// Binds the axes of an output.
fn bind(lowering: &mut Lowering<'_>, output: &Output, coordinates: &[Linear]) {
    for (&axis, value) in output.axes.iter().zip(coordinates) {
        lowering.bind(axis, Binding::of(value.clone()));
    }
}

/// The reductions in the outputs, with their values at each of these places. All places take the terms of one index of a reduction's first axis
/// before those of the next.
fn reduced_together(lowering: &mut Lowering<'_>, places: &[Vec<Linear>]) -> Result<Vec<(ExprId, Vec<Value>)>, Error> {
    let op = lowering.op();
    let mut all = Vec::new();
    for (output, expr) in reductions(op) {
        let Expr::Reduce { op: reduce, axes, body } = op.expr(expr) else {
            continue;
        };
        let extents: Option<Vec<i64>> = axes.iter().map(|&axis| lowering.extent(axis).as_constant()).collect();
        let Some(extents) = extents else { continue };
        let ty = lowering.reduced_ty(expr);
        let mut accumulators: Vec<Accumulator> = Vec::with_capacity(places.len());
        accumulators.resize_with(places.len(), || Accumulator::new(lowering, *reduce, ty));
        let of_a_row: i64 = extents.iter().skip(1).product();
        let terms_of = |row: i64| row * of_a_row..(row + 1) * of_a_row;
        let load = |lowering: &mut Lowering<'_>, row: i64| {
            places.iter().try_for_each(|place| {
                bind(lowering, output, place);
                each_term(lowering, axes, &extents, terms_of(row), |lowering, _| {
                    lowering.touch(*body, &mut Unrolled)
                })
            })
        };
        load(lowering, 0)?;
        for row in 0..extents[0] {
            // The loads of the next index are on their way while the terms of this one are added.
            if row + 1 < extents[0] {
                load(lowering, row + 1)?;
            }
            for (place, accumulator) in places.iter().zip(&mut accumulators) {
                bind(lowering, output, place);
                each_term(lowering, axes, &extents, terms_of(row), |lowering, number| {
                    accumulator.add(lowering, &Linear::constant(number), *body, &mut Unrolled)
                })?;
            }
        }
        let values = accumulators.iter().map(|accumulator| accumulator.value(lowering));
        all.push((expr, values.collect()));
    }
    Ok(all)
}

/// The reductions in each output, but for those in intermediate tensors.
fn reductions(op: &Op) -> Vec<(&Output, ExprId)> {
    let mut found: Vec<(&Output, ExprId)> = Vec::new();
    for output in &op.outputs {
        let mut waiting = vec![output.body];
        while let Some(expr) = waiting.pop() {
            match op.expr(expr) {
                Expr::Reduce { .. } if found.iter().any(|&(_, known)| known == expr) => {}
                Expr::Reduce { .. } => found.push((output, expr)),
                _ => op.operands(expr, |operand| waiting.push(operand)),
            }
        }
    }
    found
}

fn held(predicate: Reg) -> Guard {
    Guard { predicate, holds: true }
}

/// Reductions as straight code.
struct Unrolled;

impl Reduce for Unrolled {
    fn reduce(&mut self, lowering: &mut Lowering<'_>, expr: ExprId) -> Result<Option<Value>, Error> {
        let Expr::Reduce { op, axes, body } = lowering.op().expr(expr) else {
            return Ok(None);
        };
        let mut accumulator = Accumulator::new(lowering, *op, lowering.reduced_ty(expr));
        let extents: Option<Vec<i64>> = axes.iter().map(|&axis| lowering.extent(axis).as_constant()).collect();
        let Some(extents) = extents else { return Ok(None) };
        let terms = 0..extents.iter().product();
        // The loads of all terms come first: registers for them are what makes a point legal.
        each_term(lowering, axes, &extents, terms.clone(), |lowering, _| {
            lowering.touch(*body, self)
        })?;
        each_term(lowering, axes, &extents, terms, |lowering, number| {
            accumulator.add(lowering, &Linear::constant(number), *body, self)
        })?;
        Ok(Some(accumulator.value(lowering)))
    }
}

/// Goes to these terms of a reduction, by number.
fn each_term<'a>(
    lowering: &mut Lowering<'a>,
    axes: &[AxisId],
    extents: &[i64],
    terms: Range<i64>,
    mut each: impl FnMut(&mut Lowering<'a>, i64) -> Result<(), Error>,
) -> Result<(), Error> {
    for number in terms {
        bind_term(lowering, axes, extents, number);
        each(lowering, number)?;
    }
    Ok(())
}

/// Binds a reduction's axes to its `number`-th term.
fn bind_term(lowering: &mut Lowering<'_>, axes: &[AxisId], extents: &[i64], mut number: i64) {
    for (&axis, &extent) in axes.iter().zip(extents).rev() {
        lowering.bind(axis, Binding::of(Linear::constant(number % extent)));
        number /= extent;
    }
}
