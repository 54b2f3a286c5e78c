//! `plain`: one thread an output element.

use super::Plain;
use crate::check::Checked;
use crate::ir::SizeId;
use crate::lower::Error;
use crate::lower::expression::{Binding, InSequence, Lowering};
use crate::lower::grid::{Grid, larger, volume_formula};
use crate::problem::Problem;
use crate::ptx::Cache;
use crate::size::SizeExpr;

pub(super) fn lower<'a>(problem: &Problem<'a>, name: &str, plain: &Plain) -> Result<(Lowering<'a>, Grid), Error> {
    let mut lowering = Lowering::new(problem, name, plain.threads);
    let op = problem.checked.op();
    let block = lowering.block();
    let number = block.times(i64::from(plain.threads)).plus(&lowering.thread());
    let mut elements = SizeExpr::Const(0);
    for dims in shapes(problem.checked) {
        elements = larger(elements, volume_formula(problem.specialisation, dims));
        let volume = lowering.volume(dims);
        lowering.begin_if_below(&number, &volume);
        let extents: Vec<_> = dims.iter().map(|&size| lowering.size(size)).collect();
        let coordinates = lowering.math.coordinates(&mut lowering.b, &number, &extents);
        for (position, output) in op.outputs.iter().enumerate().filter(|(_, o)| o.dims == dims) {
            for (&axis, value) in output.axes.iter().zip(&coordinates) {
                lowering.bind(axis, Binding::of(value.clone()));
            }
            let value = lowering.output_value(position, &mut InSequence)?;
            lowering.store_output(position, &number, &[value], Cache::Normal, None);
        }
        lowering.b.end();
    }
    Ok((
        lowering,
        Grid::of(elements.div_ceil(u64::from(plain.threads)), plain.threads, 0),
    ))
}

/// The outputs' shapes, each once.
fn shapes(checked: &Checked) -> Vec<&[SizeId]> {
    let mut shapes: Vec<&[SizeId]> = Vec::new();
    for output in &checked.op().outputs {
        if !shapes.contains(&output.dims.as_slice()) {
            shapes.push(&output.dims);
        }
    }
    shapes
}
