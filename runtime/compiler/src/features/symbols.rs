//! Sets of executions.

use super::form::{Form, LANES, Term, Terms};
use super::progression::{COORDINATES, Progression, WARP, Warps, gcd};
use smallvec::SmallVec;

/// The dimensions of a set of executions: sides of a box of warps, and iterations of the open loops.
#[derive(Debug)]
pub(super) struct Symbols {
    pub list: Vec<Symbol>,
    coordinates: [SmallVec<[(u32, i64); 2]>; COORDINATES],
    /// The operations that may shrink the set.
    pub detail: Detail,
}

/// The operations that may shrink a set. Results of others are bounded if they differ within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Detail {
    /// Nothing.
    Nothing,
    /// Conditions, and trip counts of loops.
    Conditions,
    /// Quotients and remainders, too.
    All,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Symbol {
    pub kind: Kind,
    pub first: Progression,
    pub now: Progression,
    /// The symbols that it was split into, and the number of values of the second: `high · values + low`.
    pub halves: Option<(u32, u32, i64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A side of the box.
    Side,
    /// The iterations of an open loop.
    Turn,
    /// A number of which only the bounds are known.
    Free,
}

impl Symbols {
    pub fn new(warps: &Warps, detail: Detail) -> Symbols {
        let mut symbols = Symbols {
            list: Vec::new(),
            coordinates: warps.coordinates.clone(),
            detail,
        };
        for &side in &warps.sides {
            symbols.add(side, Kind::Side);
        }
        symbols
    }

    pub fn add(&mut self, values: Progression, kind: Kind) -> u32 {
        self.list.push(Symbol {
            kind,
            first: values,
            now: values,
            halves: None,
        });
        self.list.len() as u32 - 1
    }

    /// Opens a loop at these iterations.
    pub fn add_turns(&mut self, turns: Progression) -> u32 {
        self.add(turns, Kind::Turn)
    }

    /// Returns the remaining values of a symbol.
    pub fn now(&self, symbol: u32) -> Progression {
        self.list[symbol as usize].now
    }

    /// Returns an unknown number between bounds (both included) that is the same in all lanes.
    pub fn free(&mut self, low: i64, high: i64) -> Form {
        let count = high.saturating_sub(low).saturating_add(1);
        let values = Progression { low, count, stride: 1 };
        let symbol = self.add(values, Kind::Free);
        self.form(symbol)
    }

    /// Keeps only the first iterations of a loop, at most `count`.
    pub fn shorten(&mut self, symbol: u32, count: i64) {
        let now = &mut self.list[symbol as usize].now;
        now.count = now.count.min(count.max(1));
    }

    /// Returns the value of a symbol.
    pub fn form(&self, symbol: u32) -> Form {
        let now = self.now(symbol);
        Form {
            base: now.low,
            terms: SmallVec::from_iter([Term {
                symbol,
                slope: now.stride,
                stride: now.stride,
            }]),
            ..Form::default()
        }
    }

    /// Returns a coordinate of the executing thread's warp; for [`WARP`], the number of the thread in its block.
    pub fn coordinate(&self, coordinate: usize) -> Form {
        let sum = self.coordinates[coordinate]
            .iter()
            .fold(Form::default(), |sum, &(symbol, weight)| {
                sum.plus(&self.resolved(&self.form(symbol)).times(weight))
            });
        match coordinate {
            WARP => {
                let lanes = std::array::from_fn(|lane| lane as i64);
                sum.times(LANES as i64).plus(&Form::from_lanes(lanes))
            }
            _ => sum,
        }
    }

    // ------------------------------------------------------------------ the set

    /// Returns the number of executions in the remaining set, and the sets that were cut off.
    pub fn remaining(&self) -> (u64, Vec<Warps>) {
        let sides: Vec<u32> = (0..self.list.len() as u32)
            .filter(|&at| {
                let symbol = &self.list[at as usize];
                symbol.halves.is_none() && symbol.kind == Kind::Side
            })
            .collect();
        let side = |symbol: u32| sides.iter().position(|&at| at == symbol).unwrap_or(0) as u32;
        let coordinates = std::array::from_fn(|coordinate| {
            let mut sum = SmallVec::new();
            for &(symbol, weight) in &self.coordinates[coordinate] {
                self.leaves(symbol, weight, &mut |leaf, weight| sum.push((side(leaf), weight)));
            }
            sum
        });
        let first = Warps {
            sides: sides.iter().map(|&at| self.list[at as usize].first).collect(),
            coordinates,
        };
        let now: Vec<Progression> = sides.iter().map(|&at| self.now(at)).collect();
        let count = now.iter().map(|side| side.count as u64).fold(1, u64::saturating_mul);
        let rest = first.without(&now).collect();
        (count, rest)
    }

    /// The sides of the box along which the warps of a block are numbered.
    pub fn warp_sides(&self) -> SmallVec<[u32; 2]> {
        let mut sides = SmallVec::new();
        for &(symbol, weight) in &self.coordinates[WARP] {
            self.leaves(symbol, weight, &mut |leaf, _| sides.push(leaf));
        }
        sides
    }

    /// The number of warps in the box.
    pub fn executions_of_sides(&self) -> f64 {
        let sides = self.list.iter();
        let sides = sides.filter(|symbol| symbol.halves.is_none() && symbol.kind == Kind::Side);
        sides.map(|side| side.now.count as f64).product()
    }

    fn leaves(&self, symbol: u32, weight: i64, visit: &mut impl FnMut(u32, i64)) {
        match self.list[symbol as usize].halves {
            None => visit(symbol, weight),
            Some((high, low, values)) => {
                self.leaves(high, weight.wrapping_mul(values), visit);
                self.leaves(low, weight, visit);
            }
        }
    }

    fn is_resolved(&self, form: &Form) -> bool {
        form.terms.iter().all(|term| {
            let symbol = &self.list[term.symbol as usize];
            symbol.halves.is_none() && symbol.now.count > 1 && symbol.now.stride == term.stride
        })
    }

    /// Rewrites a form in terms of the current symbols and strides.
    pub fn resolved(&self, form: &Form) -> Form {
        if self.is_resolved(form) {
            return form.clone();
        }
        let mut resolved = Form {
            terms: Terms::new(),
            ..form.clone()
        };
        for term in &form.terms {
            self.leaves(term.symbol, term.slope, &mut |symbol, slope| {
                let now = self.list[symbol as usize].now;
                if now.count > 1 {
                    // Only a symbol with a stride of 1 is split.
                    let slope = slope.wrapping_mul(now.stride / term.stride);
                    resolved.terms.push(Term {
                        symbol,
                        slope,
                        stride: now.stride,
                    });
                }
            });
        }
        resolved
    }

    /// Returns the smallest and the largest sum of the terms of a resolved form.
    pub fn growth(&self, terms: &[Term]) -> (i64, i64) {
        terms.iter().fold((0i64, 0i64), |(least, most), term| {
            let reach = term.slope.saturating_mul(self.now(term.symbol).count - 1);
            (least.saturating_add(reach.min(0)), most.saturating_add(reach.max(0)))
        })
    }

    /// Returns the smallest and the largest value of a form.
    pub fn hull(&self, form: &Form) -> (i64, i64) {
        if !self.is_resolved(form) {
            return self.hull(&self.resolved(form));
        }
        let (least, most) = form.extremes();
        let growth = self.growth(&form.terms);
        (least.saturating_add(growth.0), most.saturating_add(growth.1))
    }

    /// Keeps executions in which the sum of a resolved form's terms is at least `low` (≤ 0) and at most `high` (≥ 0).
    pub fn keep_between(&mut self, terms: &[Term], low: i64, high: i64) -> bool {
        let growth = self.growth(terms);
        if low <= growth.0 && growth.1 <= high {
            return true;
        }
        if self.detail < Detail::Conditions {
            return false;
        }
        // Iterations first, because the rest of a loop is cheap to walk. Then terms with small slopes, so that many executions remain.
        let kind = |term: &Term| self.list[term.symbol as usize].kind;
        let (free, mut order): (Terms, Terms) = terms.iter().copied().partition(|term| kind(term) == Kind::Free);
        order.sort_by_key(|term| {
            let turn = kind(term) == Kind::Turn;
            (
                !turn,
                std::cmp::Reverse(if turn { term.symbol } else { 0 }),
                term.slope.unsigned_abs(),
            )
        });
        let (mut least, mut most) = self.growth(&free);
        if least < low || high < most {
            return false;
        }
        for term in order {
            let now = &mut self.list[term.symbol as usize].now;
            let room = if term.slope > 0 {
                high.saturating_sub(most)
            } else {
                least.saturating_sub(low)
            };
            let steps = room / term.slope.saturating_abs().max(1);
            now.count = now.count.min(steps.saturating_add(1));
            let reach = term.slope.saturating_mul(now.count - 1);
            (least, most) = (least.saturating_add(reach.min(0)), most.saturating_add(reach.max(0)));
        }
        true
    }

    /// Keeps executions in which the sum of a resolved form's terms is a multiple of a number.
    pub fn keep_multiples(&mut self, terms: &[Term], of: i64) -> bool {
        if terms.iter().all(|term| term.slope % of == 0) {
            return true;
        }
        let free = |term: &Term| self.list[term.symbol as usize].kind == Kind::Free;
        if self.detail < Detail::All || terms.iter().any(free) {
            return false;
        }
        for term in terms {
            let every = of / gcd(term.slope, of);
            let now = &mut self.list[term.symbol as usize].now;
            now.stride = now.stride.saturating_mul(every);
            now.count = (now.count - 1) / every + 1;
        }
        true
    }

    /// Keeps executions in which a form equals its first value.
    pub fn fix(&mut self, form: &Form) -> Option<Form> {
        let form = self.resolved(form);
        self.keep_between(&form.terms, 0, 0).then(|| self.resolved(&form))
    }

    /// Returns the number of executions in the set, to compare ways of shrinking it.
    pub fn size(&self) -> f64 {
        self.list
            .iter()
            .filter(|symbol| symbol.halves.is_none())
            .map(|symbol| symbol.now.count as f64)
            .product()
    }
}
