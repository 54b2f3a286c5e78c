//! Integers of a kernel as linear functions of the execution.
//!
//! A [`Form`] is `base + lane offset + Σ slope · step`. It gives one number for each lane of a warp, and its growth over a set of
//! executions (warps of a block, blocks of the grid, iterations of loops). The set is a box of
//! progressions, the [`Symbols`](super::symbols::Symbols). If a result is not linear over the whole set, the set shrinks
//! until it is: to fewer steps, or to every n-th step. So counts at one execution are exact for all executions that remain.

use smallvec::SmallVec;
use std::rc::Rc;

pub(super) const LANES: usize = 32;

/// One integer for each lane.
#[derive(Debug, Clone, Default)]
pub(super) struct Form {
    /// The value in the first execution of the set, without the lane's offset.
    pub base: i64,
    /// The offset of each lane; `None` if all are 0.
    pub lanes: Option<Rc<Offsets>>,
    pub terms: Terms,
}

/// The offset of each lane.
#[derive(Debug)]
pub(super) struct Offsets {
    least: i64,
    most: i64,
    each: [i64; LANES],
}

pub(super) type Terms = SmallVec<[Term; 3]>;

/// A form's growth along a symbol: `slope` for each `stride` of the symbol.
#[derive(Debug, Clone, Copy)]
pub(super) struct Term {
    pub symbol: u32,
    pub slope: i64,
    pub stride: i64,
}

impl Form {
    pub fn constant(base: i64) -> Form {
        Form {
            base,
            ..Form::default()
        }
    }

    /// The value, if it is the same in all lanes and executions.
    pub fn as_constant(&self) -> Option<i64> {
        (self.lanes.is_none() && self.terms.is_empty()).then_some(self.base)
    }

    /// `true` if the form is the same in all executions.
    pub fn is_fixed(&self) -> bool {
        self.terms.is_empty()
    }

    pub fn from_lanes(each: [i64; LANES]) -> Form {
        let base = each[0];
        Form {
            base,
            ..Form::default()
        }
        .with_lanes(each.map(|value| value.wrapping_sub(base)))
    }

    fn with_lanes(mut self, each: [i64; LANES]) -> Form {
        let (mut least, mut most) = (each[0], each[0]);
        for &offset in &each {
            (least, most) = (least.min(offset), most.max(offset));
        }
        self.lanes = (least != 0 || most != 0).then(|| Rc::new(Offsets { least, most, each }));
        self
    }

    /// The lanes' values in the first execution.
    pub fn values(&self) -> [i64; LANES] {
        match &self.lanes {
            None => [self.base; LANES],
            Some(lanes) => lanes.each.map(|offset| self.base.wrapping_add(offset)),
        }
    }

    /// The smallest and the largest lane's value in the first execution.
    pub fn extremes(&self) -> (i64, i64) {
        let (least, most) = self.lanes.as_ref().map_or((0, 0), |lanes| (lanes.least, lanes.most));
        (self.base.saturating_add(least), self.base.saturating_add(most))
    }

    /// The size of the growth along a symbol.
    pub fn slope(&self, symbol: u32) -> u64 {
        let term = self.terms.iter().find(|term| term.symbol == symbol);
        term.map_or(0, |term| term.slope.unsigned_abs())
    }

    /// `true` if two resolved forms differ by the same number in all lanes and executions.
    pub fn grows_like(&self, other: &Form) -> bool {
        let lanes = |form: &Form| form.lanes.as_ref().map(|lanes| lanes.each);
        let slope = |term: &Term| (term.symbol, term.slope);
        self.terms.len() == other.terms.len()
            && (self.terms.iter()).all(|term| other.terms.iter().any(|own| slope(own) == slope(term)))
            && lanes(self) == lanes(other)
    }

    pub fn plus(&self, other: &Form) -> Form {
        let mut sum = Form {
            base: self.base.wrapping_add(other.base),
            lanes: None,
            terms: self.terms.clone(),
        };
        for term in &other.terms {
            // Both are resolved, so a symbol has one stride.
            match sum.terms.iter_mut().find(|own| own.symbol == term.symbol) {
                Some(own) => own.slope = own.slope.wrapping_add(term.slope),
                None => sum.terms.push(*term),
            }
        }
        sum.terms.retain(|term| term.slope != 0);
        match (&self.lanes, &other.lanes) {
            (None, None) => sum,
            (Some(lanes), None) | (None, Some(lanes)) => {
                sum.lanes = Some(lanes.clone());
                sum
            }
            (Some(a), Some(b)) => sum.with_lanes(std::array::from_fn(|lane| a.each[lane].wrapping_add(b.each[lane]))),
        }
    }

    pub fn minus(&self, other: &Form) -> Form {
        self.plus(&other.times(-1))
    }

    pub fn plus_constant(mut self, value: i64) -> Form {
        self.base = self.base.wrapping_add(value);
        self
    }

    pub fn times(&self, factor: i64) -> Form {
        if factor == 0 {
            return Form::constant(0);
        }
        let scaled = Form {
            base: self.base.wrapping_mul(factor),
            lanes: None,
            terms: self
                .terms
                .iter()
                .map(|term| Term {
                    slope: term.slope.wrapping_mul(factor),
                    ..*term
                })
                .collect(),
        };
        match &self.lanes {
            None => scaled,
            Some(lanes) => scaled.with_lanes(lanes.each.map(|offset| offset.wrapping_mul(factor))),
        }
    }

    /// Returns a form with other values in the first execution, and the same growth.
    pub fn with_values(&self, values: [i64; LANES]) -> Form {
        Form {
            terms: self.terms.clone(),
            ..Form::from_lanes(values)
        }
    }
}
