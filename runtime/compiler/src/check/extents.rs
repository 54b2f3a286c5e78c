//! The extents of axes.

use super::diagnostic::{Diagnostic, Subject};
use crate::ir::{AxisId, Expr, Op, SizeId, Source};

/// Two sizes that must be equal at every call, because one axis indexes dimensions of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Agreement {
    /// The axis.
    pub axis: AxisId,
    /// The axis's extent.
    pub extent: SizeId,
    /// The size that must equal it.
    pub other: SizeId,
}

/// Returns the extent of each axis, and the sizes that must be equal.
pub(super) fn check(op: &Op) -> Result<(Vec<SizeId>, Vec<Agreement>), Vec<Diagnostic>> {
    let mut extents: Vec<Option<SizeId>> = op.axes.iter().map(|axis| axis.extent).collect();
    // An axis that indexes a dimension by itself has that extent. Dimensions of intermediate tensors become known with their axes.
    // Padded reads (`or`) are weaker evidence, so they count only for axes that no other read determines.
    for padded in [false, true] {
        loop {
            let mut changed = false;
            for (axis, size) in bare(op, &extents, padded) {
                let extent = &mut extents[axis.index()];
                if extent.is_none() {
                    *extent = Some(size);
                    changed = true;
                }
            }
            if !changed {
                break;
            }
        }
    }
    let mut diagnostics = Vec::new();
    for (number, extent) in extents.iter().enumerate() {
        if extent.is_none() {
            let name = &op.axes[number].name;
            diagnostics.push(
                Diagnostic::new(
                    Subject::Axis(AxisId(number as u32)),
                    format!("the extent of axis `{name}` is unknown: no tensor is indexed by it alone"),
                )
                .help(format!(
                    "annotate it: `|{name}: K|`, where `K` is a size of the operator"
                )),
            );
        }
    }
    let mut agreements: Vec<Agreement> = Vec::new();
    for (axis, other) in bare(op, &extents, false) {
        let Some(extent) = extents[axis.index()] else { continue };
        let agreement = Agreement { axis, extent, other };
        if op.axes[axis.index()].extent.is_some() || other == extent || agreements.contains(&agreement) {
            continue;
        }
        agreements.push(agreement);
        let constant = |size: SizeId| op.sizes[size.index()].definition.as_ref()?.evaluate(&[]).ok();
        if let (Some(a), Some(b)) = (constant(extent), constant(other))
            && a != b
        {
            let (x, y) = (&op.sizes[extent.index()].name, &op.sizes[other.index()].name);
            diagnostics.push(Diagnostic::new(
                Subject::Axis(axis),
                format!(
                    "axis `{}` runs over `{x}` = {a} in one tensor and over `{y}` = {b} in another",
                    op.axes[axis.index()].name
                ),
            ));
        }
    }
    if diagnostics.is_empty() {
        Ok((extents.into_iter().flatten().collect(), agreements))
    } else {
        Err(diagnostics)
    }
}

/// Returns the axes that are an index by themselves, with the size of the dimension they index.
fn bare(op: &Op, extents: &[Option<SizeId>], padded: bool) -> Vec<(AxisId, SizeId)> {
    let mut found = Vec::new();
    for expr in &op.exprs {
        let Expr::Read { source, index, or } = expr else {
            continue;
        };
        if or.is_some() != padded {
            continue;
        }
        for (dimension, &at) in index.iter().enumerate() {
            let Expr::Axis(axis) = op.expr(at) else { continue };
            let size = match source {
                Source::Input(input) => op.inputs[input.index()].dims.as_ref().map(|dims| dims[dimension]),
                Source::Let(inner) => extents[op.lets[inner.index()].axes[dimension].index()],
            };
            found.extend(size.map(|size| (*axis, size)));
        }
    }
    found
}
