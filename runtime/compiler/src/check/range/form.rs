//! Linear forms and intervals over 128-bit integers. An overflow yields no form, or no bound.

use crate::element::{Element, Numbers, Type};

/// An unknown of a form: a position in the prover's list of meanings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Atom(pub(super) u32);

/// `Σ coefficient · atom + constant`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Form {
    /// Sorted by atom, each at most once, no coefficient 0.
    pub(super) terms: Vec<(Atom, i128)>,
    pub(super) constant: i128,
}

impl Form {
    pub(super) fn constant(value: i128) -> Form {
        Form {
            terms: Vec::new(),
            constant: value,
        }
    }

    pub(super) fn atom(atom: Atom) -> Form {
        Form {
            terms: vec![(atom, 1)],
            constant: 0,
        }
    }

    pub(super) fn as_constant(&self) -> Option<i128> {
        self.terms.is_empty().then_some(self.constant)
    }

    pub(super) fn coefficient(&self, atom: Atom) -> i128 {
        self.terms
            .binary_search_by_key(&atom, |&(a, _)| a)
            .map_or(0, |at| self.terms[at].1)
    }

    /// `self + other · factor`.
    pub(super) fn plus(&self, other: &Form, factor: i128) -> Option<Form> {
        self.combined(1, other, factor)
    }

    pub(super) fn times(&self, factor: i128) -> Option<Form> {
        Form::default().plus(self, factor)
    }

    pub(super) fn offset(mut self, by: i128) -> Option<Form> {
        self.constant = self.constant.checked_add(by)?;
        Some(self)
    }

    /// `self · own + other · factor`.
    pub(super) fn combined(&self, own: i128, other: &Form, factor: i128) -> Option<Form> {
        let mut terms = Vec::with_capacity(self.terms.len() + other.terms.len());
        let (mut left, mut right) = (self.terms.iter().peekable(), other.terms.iter().peekable());
        while let Some(&&(atom, _)) = match (left.peek(), right.peek()) {
            (Some(a), Some(b)) => Some(if a.0 <= b.0 { a } else { b }),
            (a, b) => a.or(b),
        } {
            let mut coefficient = 0i128;
            if let Some(&(_, a)) = left.next_if(|term| term.0 == atom) {
                coefficient = a.checked_mul(own)?;
            }
            if let Some(&(_, b)) = right.next_if(|term| term.0 == atom) {
                coefficient = coefficient.checked_add(b.checked_mul(factor)?)?;
            }
            if coefficient != 0 {
                terms.push((atom, coefficient));
            }
        }
        let constant = self.constant.checked_mul(own)?;
        let constant = constant.checked_add(other.constant.checked_mul(factor)?)?;
        Some(Form { terms, constant })
    }
}

/// The integers from `low` to `high`, both included. `None` is an open end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(crate) low: Option<i128>,
    pub(crate) high: Option<i128>,
}

pub(super) const ANYTHING: Interval = Interval { low: None, high: None };

impl Interval {
    pub(crate) fn new(low: i128, high: i128) -> Interval {
        Interval {
            low: Some(low),
            high: Some(high),
        }
    }

    /// The values of an integer type; unbounded for other types.
    pub(crate) fn of(ty: Type) -> Interval {
        Interval::of_element(ty.element())
    }

    /// The values of an integer element type; unbounded for other element types.
    pub(crate) fn of_element(element: Element) -> Interval {
        match element.numbers() {
            Numbers::Integer(format) => Interval::new(format.smallest().into(), format.largest().into()),
            Numbers::Float(_) | Numbers::Truth => ANYTHING,
        }
    }

    pub(crate) fn within(self, other: Interval) -> bool {
        other.low.is_none_or(|end| self.low.is_some_and(|low| low >= end))
            && other.high.is_none_or(|end| self.high.is_some_and(|high| high <= end))
    }

    pub(crate) fn plus(self, other: Interval) -> Interval {
        let sum = |a: Option<i128>, b: Option<i128>| a?.checked_add(b?);
        Interval {
            low: sum(self.low, other.low),
            high: sum(self.high, other.high),
        }
    }

    pub(crate) fn times(self, factor: i128) -> Interval {
        let scaled = |end: Option<i128>| end?.checked_mul(factor);
        match factor {
            0 => Interval::new(0, 0),
            1.. => Interval {
                low: scaled(self.low),
                high: scaled(self.high),
            },
            _ => Interval {
                low: scaled(self.high),
                high: scaled(self.low),
            },
        }
    }

    /// The interval of products.
    pub(crate) fn product(self, other: Interval) -> Interval {
        let corners = || {
            let mut found = Interval::new(i128::MAX, i128::MIN);
            for a in [self.low?, self.high?] {
                for b in [other.low?, other.high?] {
                    let corner = a.checked_mul(b)?;
                    found = found.hull(Interval::new(corner, corner));
                }
            }
            Some(found)
        };
        corners().unwrap_or(ANYTHING)
    }

    /// The interval of quotients by a positive number, truncated.
    pub(crate) fn quotient(self, divisor: i128) -> Interval {
        Interval {
            low: self.low.map(|low| low / divisor),
            high: self.high.map(|high| high / divisor),
        }
    }

    /// The interval of remainders (with the sign of the dividend) by divisors of magnitude at most `limit`. `None` for any divisor.
    pub(crate) fn remainder(self, limit: Option<i128>) -> Interval {
        let most = limit.map(|limit| limit - 1);
        let cut = |end: Option<i128>| match (end, most) {
            (Some(end), Some(most)) => Some(end.min(most)),
            (end, most) => end.or(most),
        };
        let down = cut(self.low.map(|low| low.min(0).saturating_neg()));
        Interval {
            low: down.map(|down| -down),
            high: cut(self.high.map(|high| high.max(0))),
        }
    }

    /// The interval of products of so many factors from this interval. A negative number of factors gives truncated inverses.
    pub(crate) fn power(self, factors: i128) -> Interval {
        match factors {
            0 => return Interval::new(1, 1),
            1.. => {}
            _ => return Interval::new(-1, 1),
        }
        let (Some(low), Some(high)) = (self.low, self.high) else {
            return ANYTHING;
        };
        let largest = low.saturating_abs().max(high.saturating_abs());
        let bound = match (largest, u32::try_from(factors)) {
            (0 | 1, _) => Some(largest),
            (_, Ok(factors)) => largest.checked_pow(factors),
            _ => None,
        };
        Interval {
            low: if low >= 0 { Some(0) } else { bound.map(|bound| -bound) },
            high: bound,
        }
    }

    /// The intersection.
    pub(crate) fn narrowed(self, other: Interval) -> Interval {
        let end = |a: Option<i128>, b: Option<i128>, pick: fn(i128, i128) -> i128| match (a, b) {
            (Some(a), Some(b)) => Some(pick(a, b)),
            (a, b) => a.or(b),
        };
        Interval {
            low: end(self.low, other.low, Ord::max),
            high: end(self.high, other.high, Ord::min),
        }
    }

    /// The smallest interval that contains both.
    pub(crate) fn hull(self, other: Interval) -> Interval {
        Interval {
            low: self.low.zip(other.low).map(|(a, b)| a.min(b)),
            high: self.high.zip(other.high).map(|(a, b)| a.max(b)),
        }
    }

    /// The interval of the smaller of two values.
    pub(crate) fn smaller(self, other: Interval) -> Interval {
        Interval {
            low: self.low.zip(other.low).map(|(a, b)| a.min(b)),
            high: self.narrowed(other).high,
        }
    }
}
