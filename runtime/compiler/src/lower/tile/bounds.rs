//! Bounds that conditions set to the terms of sums: a tile takes in those alone that count for one of its outputs.

use super::roles::Roles;
use crate::families::bound::{Bound, End, Numbering, Slope, bounds};
use crate::families::formula::Formulas;
use crate::families::guard::{Conjunct, vanishing};
use crate::ir::{Expr, ExprId, Op, Source};

/// A bound on the terms.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TermBound {
    pub bound: Bound,
    /// How it changes from each row to the next, and from each column. None is unknown.
    pub slopes: [Slope; 2],
}

impl TermBound {
    /// `true` if later rows or columns have more terms.
    pub fn grows(&self) -> bool {
        matches!(self.bound.end, End::Last(_)) && self.slopes.contains(&Slope::Rising)
    }

    /// `true` if it depends on nothing but the place of a tile, in a way that its first and last lines tell.
    fn is_known_before_sums(&self, op: &Op, roles: &mut Roles) -> bool {
        let mut axes = self.bound.terms.iter().flat_map(|(_, place)| &place.axes);
        !self.slopes.contains(&Slope::Unknown)
            && axes.all(|&(axis, symbol)| roles.stands_for(axis, symbol).is_some())
            && !self.bound.terms.iter().any(|(_, place)| reduces(op, place.expr))
    }
}

/// The bounds that conditions set to the terms of all sums, which run over one axis. `lines` are the outputs' positions that number rows, and
/// columns.
pub(crate) fn term_bounds(formulas: &Formulas<'_>, roles: &mut Roles, lines: [&[usize]; 2]) -> Vec<TermBound> {
    let numberings = lines.map(|lines| Numbering { lines, group: None });
    let of_each = formulas.reductions.iter().map(|sum| {
        let mut conjuncts: Vec<Conjunct> = Vec::new();
        vanishing(formulas, sum.body, &mut conjuncts);
        conjuncts
    });
    let common = of_each.reduce(|mut common, other| {
        common.retain(|conjunct| other.contains(conjunct));
        common
    });
    let found = common.into_iter().flatten();
    let found = found.flat_map(|conjunct| bounds(formulas, conjunct, numberings));
    let found = found.map(|(bound, slopes)| TermBound { bound, slopes });
    found
        .filter(|found| found.is_known_before_sums(formulas.checked.op(), roles))
        .collect()
}

/// `true` if there is a reduction in an expression, or in the intermediate tensors it reads.
fn reduces(op: &Op, expr: ExprId) -> bool {
    let own = match *op.expr(expr) {
        Expr::Reduce { .. } => true,
        Expr::Read {
            source: Source::Let(inner),
            ..
        } => reduces(op, op.lets[inner.index()].body),
        _ => false,
    };
    let mut inside = false;
    op.operands(expr, |operand| inside = inside || reduces(op, operand));
    own || inside
}
