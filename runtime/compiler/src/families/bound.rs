//! Bounds that conditions set to a reduction's axis, by comparing it with what does not depend on it.

use super::formula::{Formulas, Node, NodeId, Place, Symbol};
use super::guard::Conjunct;
use crate::element::{Element, Type};
use crate::ir::{BinaryOp, CompareOp};

/// A bound on an axis: a sum of signed values.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bound {
    pub end: End,
    pub terms: Vec<(i64, Place)>,
}

/// Which end of the axis a bound is, by the sum of its terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The first value is the sum and so many.
    First(i64),
    /// The last value is before the sum and so many.
    Last(i64),
}

/// How a value changes from each line of a tile to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slope {
    /// It does not.
    Flat,
    Rising,
    Falling,
    Unknown,
}

/// The numbering of a tile's lines: its rows, or its columns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbering<'a> {
    /// The outputs' positions that number them, slowest first.
    pub lines: &'a [usize],
    /// A position that also varies among them.
    pub group: Option<usize>,
}

impl Numbering<'_> {
    /// The positions that vary among the lines.
    pub fn positions(&self) -> impl Iterator<Item = usize> {
        self.lines.iter().copied().chain(self.group)
    }

    fn slope(&self, formulas: &Formulas<'_>, id: NodeId) -> Slope {
        let depends = |position: usize| formulas.depends_on(id, Symbol::Output(position));
        if !self.positions().any(depends) {
            return Slope::Flat;
        }
        let of = |id: NodeId| self.slope(formulas, id);
        match *formulas.node(id) {
            Node::Axis(Symbol::Output(position)) if self.lines.first() == Some(&position) => Slope::Rising,
            Node::Binary(BinaryOp::Add, a, b) if formulas.is_index(id) => of(a).plus(of(b)),
            Node::Binary(BinaryOp::Sub, a, b) if formulas.is_index(id) => of(a).plus(of(b).times(-1)),
            _ => Slope::Unknown,
        }
    }
}

impl Slope {
    /// That of a sum.
    fn plus(self, other: Slope) -> Slope {
        match (self, other) {
            (Slope::Flat, slope) | (slope, Slope::Flat) => slope,
            (a, b) if a == b => a,
            _ => Slope::Unknown,
        }
    }

    fn times(self, sign: i64) -> Slope {
        match self {
            Slope::Rising if sign < 0 => Slope::Falling,
            Slope::Falling if sign < 0 => Slope::Rising,
            slope => slope,
        }
    }
}

/// The bounds that a conjunct sets to the first axis of a row reduction, and their slopes along the lines of each numbering. None if it is no comparison
/// of the axis, or if values are compared that do not always exist.
pub(crate) fn bounds<const N: usize>(
    formulas: &Formulas<'_>,
    (condition, holds): Conjunct,
    numberings: [Numbering<'_>; N],
) -> Vec<(Bound, [Slope; N])> {
    let Node::Compare(compare, left, right) = *formulas.node(condition) else {
        return Vec::new();
    };
    // left − right, as axis · coefficient + terms.
    let (mut coefficient, mut terms) = (0, Vec::new());
    let known = collect(formulas, left, 1, &mut coefficient, &mut terms)
        && collect(formulas, right, -1, &mut coefficient, &mut terms);
    if !known || coefficient.abs() != 1 {
        return Vec::new();
    }
    // The terms on the other side of the comparison.
    let mut places = Vec::with_capacity(terms.len());
    let mut slopes = [Slope::Flat; N];
    for (sign, term) in terms {
        let sign = -coefficient * sign;
        let exists = |place: &&Place| formulas.checked.unconditional(place.expr);
        let Some(place) = formulas.places(term).iter().find(exists) else {
            return Vec::new();
        };
        places.push((sign, place.clone()));
        for (slope, numbering) in slopes.iter_mut().zip(numberings) {
            *slope = slope.plus(numbering.slope(formulas, term).times(sign));
        }
    }
    let compare = if holds { compare } else { opposite(compare) };
    let compare = if coefficient > 0 { compare } else { mirrored(compare) };
    let ends: &[End] = match compare {
        CompareOp::Lt => &[End::Last(0)],
        CompareOp::Le => &[End::Last(1)],
        CompareOp::Gt => &[End::First(1)],
        CompareOp::Ge => &[End::First(0)],
        CompareOp::Eq => &[End::First(0), End::Last(1)],
        CompareOp::Ne => &[],
    };
    let bound = |&end: &End| Bound {
        end,
        terms: places.clone(),
    };
    ends.iter().map(|end| (bound(end), slopes)).collect()
}

/// Adds an integer as a multiple of the axis and terms without it. `false` if it is anything else. Only index values are taken apart: others wrap.
fn collect(
    formulas: &Formulas<'_>,
    id: NodeId,
    sign: i64,
    coefficient: &mut i64,
    terms: &mut Vec<(i64, NodeId)>,
) -> bool {
    if !formulas.depends_on(id, Symbol::Lane(0)) {
        terms.push((sign, id));
        return matches!(formulas.ty(id), Type::I32 | Type::I64);
    }
    match *formulas.node(id) {
        Node::Axis(_) => {
            *coefficient += sign;
            true
        }
        Node::Binary(BinaryOp::Add, a, b) if formulas.is_index(id) => {
            collect(formulas, a, sign, coefficient, terms) && collect(formulas, b, sign, coefficient, terms)
        }
        Node::Binary(BinaryOp::Sub, a, b) if formulas.is_index(id) => {
            collect(formulas, a, sign, coefficient, terms) && collect(formulas, b, -sign, coefficient, terms)
        }
        Node::Cast(a, Element::I64) => collect(formulas, a, sign, coefficient, terms),
        _ => false,
    }
}

fn opposite(compare: CompareOp) -> CompareOp {
    match compare {
        CompareOp::Lt => CompareOp::Ge,
        CompareOp::Ge => CompareOp::Lt,
        CompareOp::Gt => CompareOp::Le,
        CompareOp::Le => CompareOp::Gt,
        CompareOp::Eq => CompareOp::Ne,
        CompareOp::Ne => CompareOp::Eq,
    }
}

/// The comparison of the negative numbers.
fn mirrored(compare: CompareOp) -> CompareOp {
    match compare {
        CompareOp::Lt => CompareOp::Gt,
        CompareOp::Gt => CompareOp::Lt,
        CompareOp::Le => CompareOp::Ge,
        CompareOp::Ge => CompareOp::Le,
        same => same,
    }
}
