//! The family `pointwise`: operators without reductions whose outputs have one shape.

use crate::check::Checked;
use crate::ir::{Expr, Source};
use crate::ptx::Cache;
use crate::size::Specialisation;
use crate::target::Machine;
use bincode::{Decode, Encode};

/// `unroll` chunks of `vector` neighbouring outputs by each thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct Pointwise {
    /// Threads a block.
    pub threads: u32,
    /// Neighbouring outputs, along the fastest axis.
    pub vector: u32,
    /// Chunks a thread, a block's width apart.
    pub unroll: u32,
    /// What reads and writes leave in the caches.
    pub cache: Cache,
}

pub(super) fn points(checked: &Checked, specialisation: &Specialisation) -> impl Iterator<Item = Pointwise> {
    let widest = widest_vector(checked, specialisation);
    let accepted = accepts(checked);
    [1, 2, 4, 8, 16]
        .into_iter()
        .filter(move |&vector| accepted && vector <= widest)
        .flat_map(|vector| {
            [1, 2, 4]
                .into_iter()
                .filter(move |unroll| vector * unroll <= 16)
                .flat_map(move |unroll| {
                    [128, 256, 512].into_iter().flat_map(move |threads| {
                        [Cache::Normal, Cache::Streaming]
                            .into_iter()
                            .map(move |cache| Pointwise {
                                threads,
                                vector,
                                unroll,
                                cache,
                            })
                    })
                })
        })
}

/// 16 bytes of the narrowest tensor a thread, as long as all multiprocessors get work.
pub(super) fn default(
    checked: &Checked,
    specialisation: &Specialisation,
    sizes: &[u64],
    machine: Machine,
) -> Option<Pointwise> {
    if !accepts(checked) {
        return None;
    }
    let outputs = super::output_elements(checked, sizes);
    let mut vector = widest_vector(checked, specialisation);
    while vector > 1 && outputs < 2 * 128 * u64::from(vector) * u64::from(machine.multiprocessors) {
        vector /= 2;
    }
    Some(Pointwise {
        threads: 128,
        vector,
        unroll: 1,
        cache: Cache::Normal,
    })
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
