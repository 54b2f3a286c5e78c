//! Integers of a kernel as functions of where they are computed.
//!
//! A [`Form`] is `base + lane offset + Σ slope · step`: one number for each lane of a warp, and what is added from one
//! execution to the next of a set of them (warps of a block, blocks of the grid, turns of loops). The set is a box of
//! progressions, the [`Symbols`]. Where a result would not be of this form in the whole set, the set is made
//! smaller, such that it is: fewer steps, or only every so many. So whatever is counted at one execution is exact for all that remain.

use super::program::gcd;
use super::progression::{PLACES, Progression, WARP, Warps};
use smallvec::SmallVec;
use std::rc::Rc;

pub(super) const LANES: usize = 32;

/// One integer a lane.
#[derive(Debug, Clone, Default)]
pub(super) struct Form {
    /// In the first execution of the set, before the lane's offset.
    pub base: i64,
    /// None: 0 for all.
    lanes: Option<Rc<Offsets>>,
    terms: Terms,
}

#[derive(Debug)]
struct Offsets {
    least: i64,
    most: i64,
    each: [i64; LANES],
}

pub(super) type Terms = SmallVec<[Term; 3]>;

/// What a form grows by with a symbol: `slope` for each `stride` of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Term {
    symbol: u32,
    slope: i64,
    stride: i64,
}

impl Form {
    pub fn constant(base: i64) -> Form {
        Form {
            base,
            ..Form::default()
        }
    }

    /// The value that is the same in all lanes and executions.
    pub fn as_constant(&self) -> Option<i64> {
        (self.lanes.is_none() && self.terms.is_empty()).then_some(self.base)
    }

    /// Whether it is the same in all executions.
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

    /// The least and the greatest lane's value in the first execution.
    fn extremes(&self) -> (i64, i64) {
        let (least, most) = self.lanes.as_ref().map_or((0, 0), |lanes| (lanes.least, lanes.most));
        (self.base.saturating_add(least), self.base.saturating_add(most))
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

    /// The same growth from execution to execution, other values in the first.
    fn with_values(&self, values: [i64; LANES]) -> Form {
        Form {
            terms: self.terms.clone(),
            ..Form::from_lanes(values)
        }
    }
}

/// What a set of executions runs over: sides of a box of warps, and the turns of the loops that are open.
#[derive(Debug)]
pub(super) struct Symbols {
    list: Vec<Symbol>,
    places: [SmallVec<[(u32, i64); 2]>; PLACES],
    /// For what the set may be made smaller.
    pub detail: Detail,
}

/// For what a set may be made smaller. What differs in it otherwise is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Detail {
    /// Nothing.
    Nothing,
    /// The lanes in which conditions hold, and the turns of loops.
    Conditions,
    /// Quotients and remainders, too.
    All,
}

#[derive(Debug, Clone, Copy)]
struct Symbol {
    kind: Kind,
    first: Progression,
    now: Progression,
    /// The symbols that it was split into, and how many values the second has: `high · values + low`.
    halves: Option<(u32, u32, i64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A side of the box.
    Side,
    /// The turns of a loop, which are counted where it is.
    Turn,
    /// A number of which nothing but the bounds is known.
    Free,
}

impl Symbols {
    pub fn new(warps: &Warps, detail: Detail) -> Symbols {
        let mut symbols = Symbols {
            list: Vec::new(),
            places: warps.places.clone(),
            detail,
        };
        for &side in &warps.sides {
            symbols.add(side, Kind::Side);
        }
        symbols
    }

    fn add(&mut self, values: Progression, kind: Kind) -> u32 {
        self.list.push(Symbol {
            kind,
            first: values,
            now: values,
            halves: None,
        });
        self.list.len() as u32 - 1
    }

    /// Opens a loop at those turns.
    pub fn add_turns(&mut self, turns: Progression) -> u32 {
        self.add(turns, Kind::Turn)
    }

    /// What is left of a symbol's values.
    pub fn now(&self, symbol: u32) -> Progression {
        self.list[symbol as usize].now
    }

    /// A number between bounds, included, that is the same in all lanes.
    pub fn free(&mut self, low: i64, high: i64) -> Form {
        let count = high.saturating_sub(low).saturating_add(1);
        let values = Progression { low, count, stride: 1 };
        let symbol = self.add(values, Kind::Free);
        self.form(symbol)
    }

    /// Leaves only the first turns of a loop, at most `count`.
    pub fn shorten(&mut self, symbol: u32, count: i64) {
        let now = &mut self.list[symbol as usize].now;
        now.count = now.count.min(count.max(1));
    }

    /// The value of a symbol.
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

    /// Where the warp is.
    pub fn place(&self, place: usize) -> Form {
        let sum = self.places[place]
            .iter()
            .fold(Form::default(), |sum, &(symbol, weight)| {
                sum.plus(&self.resolved(&self.form(symbol)).times(weight))
            });
        match place {
            WARP => {
                let lanes = std::array::from_fn(|lane| lane as i64);
                sum.times(LANES as i64).plus(&Form::from_lanes(lanes))
            }
            _ => sum,
        }
    }

    // ------------------------------------------------------------------ the set

    /// The set that is left, and those that were cut off it.
    pub fn remaining(&self) -> (u64, Vec<Warps>) {
        let sides: Vec<u32> = (0..self.list.len() as u32)
            .filter(|&at| {
                let symbol = &self.list[at as usize];
                symbol.halves.is_none() && symbol.kind == Kind::Side
            })
            .collect();
        let side = |symbol: u32| sides.iter().position(|&at| at == symbol).unwrap_or(0) as u32;
        let places = std::array::from_fn(|place| {
            let mut sum = SmallVec::new();
            for &(symbol, weight) in &self.places[place] {
                self.leaves(symbol, weight, &mut |leaf, weight| sum.push((side(leaf), weight)));
            }
            sum
        });
        let first = Warps {
            sides: sides.iter().map(|&at| self.list[at as usize].first).collect(),
            places,
        };
        let now: Vec<Progression> = sides.iter().map(|&at| self.now(at)).collect();
        let count = now.iter().map(|side| side.count as u64).fold(1, u64::saturating_mul);
        let rest = first.without(&now).collect();
        (count, rest)
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

    /// The form over the symbols and strides of the set as it is now.
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

    /// The least and the greatest that the terms of a resolved form add.
    fn growth(&self, terms: &[Term]) -> (i64, i64) {
        terms.iter().fold((0i64, 0i64), |(least, most), term| {
            let reach = term.slope.saturating_mul(self.now(term.symbol).count - 1);
            (least.saturating_add(reach.min(0)), most.saturating_add(reach.max(0)))
        })
    }

    /// The least and the greatest value of a form.
    pub fn hull(&self, form: &Form) -> (i64, i64) {
        if !self.is_resolved(form) {
            return self.hull(&self.resolved(form));
        }
        let (least, most) = form.extremes();
        let growth = self.growth(&form.terms);
        (least.saturating_add(growth.0), most.saturating_add(growth.1))
    }

    /// Keeps to executions in which the terms of a resolved form add no less than `low` (not above 0) and no more than `high` (not below 0).
    fn keep_between(&mut self, terms: &[Term], low: i64, high: i64) -> bool {
        let growth = self.growth(terms);
        if low <= growth.0 && growth.1 <= high {
            return true;
        }
        if self.detail < Detail::Conditions {
            return false;
        }
        // Turns first, whose rest costs least; then what adds least, so that the many remain.
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

    /// Keeps to executions in which the terms of a resolved form add multiples of a number.
    fn keep_multiples(&mut self, terms: &[Term], of: i64) -> bool {
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

    /// Keeps to executions in which a form is what it is in the first one.
    pub fn fix(&mut self, form: &Form) -> Option<Form> {
        let form = self.resolved(form);
        self.keep_between(&form.terms, 0, 0).then(|| self.resolved(&form))
    }

    /// Executions of the set, to compare ways of making it smaller.
    fn size(&self) -> f64 {
        self.list
            .iter()
            .filter(|symbol| symbol.halves.is_none())
            .map(|symbol| symbol.now.count as f64)
            .product()
    }

    // ------------------------------------------------------------------ arithmetic that is not linear

    /// The lanes in which a form is negative.
    pub fn negative(&mut self, form: &Form) -> Mask {
        let form = self.resolved(form);
        let values = form.values();
        let (mut mask, mut low, mut high) = (0, i64::MIN, i64::MAX);
        for (lane, &value) in values.iter().enumerate() {
            if value < 0 {
                mask |= 1 << lane;
                high = high.min(-1 - value);
            } else {
                low = low.max(-value);
            }
        }
        if self.keep_between(&form.terms, low, high) {
            return Mask::exactly(mask);
        }
        let growth = self.growth(&form.terms);
        Mask {
            surely: lanes_where(&values, |value| value.saturating_add(growth.1) < 0),
            possibly: lanes_where(&values, |value| value.saturating_add(growth.0) < 0),
        }
    }

    /// The lanes in which a form is 0.
    pub fn zero(&mut self, form: &Form) -> Mask {
        let form = self.resolved(form);
        let values = form.values();
        let (mut mask, mut low, mut high) = (0, i64::MIN, i64::MAX);
        for (lane, &value) in values.iter().enumerate() {
            match value.saturating_neg() {
                0 => mask |= 1 << lane,
                root if root > 0 => high = high.min(root - 1),
                root => low = low.max(root + 1),
            }
        }
        if mask != 0 {
            (low, high) = (0, 0);
        }
        if self.keep_between(&form.terms, low, high) {
            return Mask::exactly(mask);
        }
        let growth = self.growth(&form.terms);
        let possibly = lanes_where(&values, |value| {
            value.saturating_add(growth.0) <= 0 && value.saturating_add(growth.1) >= 0
        });
        Mask { surely: 0, possibly }
    }

    /// Quotient, rounded down, and remainder by a positive number.
    pub fn divide(&mut self, form: &Form, divisor: i64) -> Option<(Form, Form)> {
        let form = self.resolved(form);
        let (mut quotient, mut rest) = (Form::constant(form.base.div_euclid(divisor)), form.clone());
        rest.base = form.base.rem_euclid(divisor);
        rest.terms.clear();
        for term in &form.terms {
            let terms: SmallVec<[Term; 2]> = match self.split(term, divisor) {
                Some((high, low)) => SmallVec::from_iter([high, low]),
                None => SmallVec::from_iter([*term]),
            };
            for term in terms {
                let (whole, part) = (term.slope / divisor, term.slope % divisor);
                if whole != 0 {
                    quotient.terms.push(Term { slope: whole, ..term });
                }
                if part != 0 {
                    rest.terms.push(Term { slope: part, ..term });
                }
            }
        }
        let (low, high) = self.hull(&rest);
        if low.div_euclid(divisor) == high.div_euclid(divisor) {
            let carry = low.div_euclid(divisor);
            quotient.base = quotient.base.wrapping_add(carry);
            return Some((quotient, rest.plus_constant(-carry.wrapping_mul(divisor))));
        }
        if !rest.terms.is_empty() {
            if self.detail < Detail::All {
                return self.divide_loosely(quotient, &rest, divisor);
            }
            // Either none of what is added carries, or all of it is whole divisors: whatever leaves more executions.
            let (mut low, mut high) = (i64::MIN, i64::MAX);
            for value in rest.values() {
                let value = value.rem_euclid(divisor);
                (low, high) = (low.max(-value), high.min(divisor - 1 - value));
            }
            let before = self.list.clone();
            let fits = self.keep_between(&rest.terms, low, high);
            let between_size = if fits { self.size() } else { 0.0 };
            let between = std::mem::replace(&mut self.list, before);
            let multiples = self.keep_multiples(&rest.terms, divisor) && self.size() >= between_size;
            if !multiples {
                if !fits {
                    return self.divide_loosely(quotient, &rest, divisor);
                }
                self.list = between;
            }
            (quotient, rest) = (self.resolved(&quotient), self.resolved(&rest));
            if multiples {
                let mut whole = Form {
                    terms: std::mem::take(&mut rest.terms),
                    ..Form::default()
                };
                whole.terms.iter_mut().for_each(|term| term.slope /= divisor);
                quotient = quotient.plus(&whole);
            }
        }
        let values = rest.values();
        let carried = Form::from_lanes(values.map(|value| value.div_euclid(divisor)));
        let rest = rest.with_values(values.map(|value| value.rem_euclid(divisor)));
        Some((quotient.plus(&carried), rest))
    }

    /// The quotient and the remainder of a number that is the same in all lanes, of which only the bounds are known.
    fn divide_loosely(&mut self, quotient: Form, rest: &Form, divisor: i64) -> Option<(Form, Form)> {
        let (low, high) = self.hull(rest);
        let (low, high) = (low.div_euclid(divisor), high.div_euclid(divisor));
        rest.lanes.is_none().then(|| {
            let carried = self.free(low, high);
            (quotient.plus(&carried), self.free(0, divisor - 1))
        })
    }

    /// The quotient, rounded down, of each lane's value in all executions that are kept; where it is not above `least`, that.
    pub fn fixed_quotients(&mut self, form: &Form, divisor: i64, least: i64) -> Option<[i64; LANES]> {
        let form = self.resolved(form);
        let (mut low, mut high) = (i64::MIN, i64::MAX);
        let quotients = form.values().map(|value| {
            let quotient = value.div_euclid(divisor).max(least);
            let first = quotient.saturating_mul(divisor);
            if quotient > least {
                low = low.max(first.saturating_sub(value));
            }
            high = high.min(first.saturating_add(divisor - 1).saturating_sub(value));
            quotient
        });
        self.keep_between(&form.terms, low, high).then_some(quotients)
    }

    /// Splits a symbol into two, where one of them then adds whole divisors: the digits of a number.
    fn split(&mut self, term: &Term, divisor: i64) -> Option<(Term, Term)> {
        let Symbol { first, now, kind, .. } = self.list[term.symbol as usize];
        let digit = term.slope > 0 && divisor % term.slope == 0;
        let values = divisor / term.slope.max(1);
        let whole = first == now && now.stride == 1 && now.low % values.max(1) == 0;
        if kind != Kind::Side || !digit || !whole || values < 2 || now.count <= values || now.count % values != 0 {
            return None;
        }
        let high = self.add(
            Progression {
                low: now.low / values,
                count: now.count / values,
                stride: 1,
            },
            Kind::Side,
        );
        let low = self.add(Progression::below(values), Kind::Side);
        self.list[term.symbol as usize].halves = Some((high, low, values));
        let part = |symbol, slope| Term {
            symbol,
            slope,
            stride: 1,
        };
        Some((part(high, divisor), part(low, term.slope)))
    }

    /// One form or the other, lane by lane.
    pub fn select(&mut self, mask: Mask, a: &Form, b: &Form) -> Option<Form> {
        let lanes = mask.exact()?;
        match lanes {
            u32::MAX => return Some(a.clone()),
            0 => return Some(b.clone()),
            _ => {}
        }
        let (mut a, mut b) = (self.resolved(a), self.resolved(b));
        if !a.minus(&b).is_fixed() {
            (a, b) = (self.fix(&a)?, self.fix(&b)?);
        }
        let (x, y) = (a.values(), b.values());
        let values = std::array::from_fn(|lane| if lanes >> lane & 1 == 1 { x[lane] } else { y[lane] });
        Some(a.with_values(values))
    }

    /// How a form's first values are moved in all lanes together, modulo a divisor of 64: for each residue, in how many executions
    /// of the set and of those loops; and the step by whose multiples they may be moved besides, which `besides` is one of.
    pub fn moves(&self, form: &Form, besides: i64, modulus: usize, turns: &[u32]) -> Moves {
        let form = self.resolved(form);
        if besides % modulus as i64 == 0 && form.terms.iter().all(|term| term.slope % modulus as i64 == 0) {
            let counts = (0..self.list.len() as u32).filter(|&symbol| self.is_counted(symbol, turns));
            let all = counts.map(|symbol| self.now(symbol).count as u64);
            return Moves {
                executions: SmallVec::from_elem(all.fold(1, u64::saturating_mul), 1),
                step: 1,
            };
        }
        let mut moves = Moves {
            executions: SmallVec::from_elem(0, modulus),
            step: gcd(modulus as i64, besides),
        };
        moves.executions[0] = 1;
        let mut once = |symbol: u32, slope: i64| {
            let count = self.now(symbol).count as u64;
            let (slope, before) = (slope.rem_euclid(modulus as i64) as usize, moves.executions.clone());
            if slope == 0 {
                moves
                    .executions
                    .iter_mut()
                    .for_each(|number| *number = number.saturating_mul(count));
                return;
            }
            moves.executions.fill(0);
            for step in 0..modulus.min(count as usize) {
                // Every so many steps the residue is the same.
                let steps = (count - 1 - step as u64) / modulus as u64 + 1;
                for (residue, &number) in before.iter().enumerate().filter(|(_, number)| **number > 0) {
                    let moved = &mut moves.executions[(residue + slope * step) % modulus];
                    *moved = moved.saturating_add(number.saturating_mul(steps));
                }
            }
        };
        let slope = |symbol: u32| {
            let term = form.terms.iter().find(|term| term.symbol == symbol);
            term.map_or(0, |term| term.slope)
        };
        (0..self.list.len() as u32)
            .filter(|&symbol| self.is_counted(symbol, turns))
            .for_each(|symbol| once(symbol, slope(symbol)));
        for term in form.terms.iter().filter(|term| !self.is_counted(term.symbol, turns)) {
            moves.step = gcd(term.slope, moves.step);
        }
        moves
    }

    /// Whether a symbol is a side of the box or one of those loops.
    fn is_counted(&self, symbol: u32, turns: &[u32]) -> bool {
        let Symbol { kind, halves, .. } = self.list[symbol as usize];
        (kind == Kind::Side && halves.is_none()) || turns.contains(&symbol)
    }
}

/// See [`Symbols::moves`].
pub(super) struct Moves {
    executions: SmallVec<[u64; 32]>,
    step: i64,
}

impl Moves {
    /// How many executions there are.
    pub fn executions(&self) -> u64 {
        self.executions.iter().copied().fold(0, u64::saturating_add)
    }

    /// The sum over all executions of a number that depends on the values modulo the modulus: bounds, if some moves are not known.
    pub fn sum(&self, values: &[i64; LANES], number: impl Fn(&[i64; LANES]) -> (u64, u64)) -> (u64, u64) {
        let modulus = self.executions.len() as i64;
        let (mut low, mut high) = (0u64, 0u64);
        for (residue, &executions) in self
            .executions
            .iter()
            .enumerate()
            .filter(|(_, executions)| **executions > 0)
        {
            let each = (0..modulus / self.step).map(|step| {
                let moved = residue as i64 + step * self.step;
                number(&values.map(|value| value.wrapping_add(moved)))
            });
            let (least, most) = each.fold((u64::MAX, 0), |sum, each| (sum.0.min(each.0), sum.1.max(each.1)));
            low = low.saturating_add(least.saturating_mul(executions));
            high = high.saturating_add(most.saturating_mul(executions));
        }
        (low, high)
    }
}

fn lanes_where(values: &[i64; LANES], holds: impl Fn(i64) -> bool) -> u32 {
    values
        .iter()
        .enumerate()
        .fold(0, |mask, (lane, &value)| mask | u32::from(holds(value)) << lane)
}

/// A set of lanes, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mask {
    pub surely: u32,
    /// A superset.
    pub possibly: u32,
}

impl Mask {
    pub const UNKNOWN: Mask = Mask {
        surely: 0,
        possibly: u32::MAX,
    };

    pub const fn exactly(lanes: u32) -> Mask {
        Mask {
            surely: lanes,
            possibly: lanes,
        }
    }

    pub fn exact(self) -> Option<u32> {
        (self.surely == self.possibly).then_some(self.surely)
    }

    pub fn and(self, other: Mask) -> Mask {
        Mask {
            surely: self.surely & other.surely,
            possibly: self.possibly & other.possibly,
        }
    }

    pub fn or(self, other: Mask) -> Mask {
        Mask {
            surely: self.surely | other.surely,
            possibly: self.possibly | other.possibly,
        }
    }

    pub fn not(self) -> Mask {
        Mask {
            surely: !self.possibly,
            possibly: !self.surely,
        }
    }

    pub fn xor(self, other: Mask) -> Mask {
        self.and(other.not()).or(self.not().and(other))
    }
}
