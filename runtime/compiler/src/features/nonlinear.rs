//! Operations on forms whose results are not linear.

use super::form::{Form, LANES, Term};
use super::mask::{Mask, lanes_where};
use super::progression::Progression;
use super::symbols::{Detail, Kind, Symbol, Symbols};
use smallvec::SmallVec;

impl Symbols {
    /// Returns the lanes in which a form is negative.
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

    /// Returns the lanes in which a form is 0.
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

    /// Returns the quotient (rounded down) and the remainder by a positive number.
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
            // Keep either executions without a carry, or executions at multiples of the divisor, whichever are more.
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

    /// Bounds the quotient and the remainder of a number that is the same in all lanes.
    fn divide_loosely(&mut self, quotient: Form, rest: &Form, divisor: i64) -> Option<(Form, Form)> {
        let (low, high) = self.hull(rest);
        let (low, high) = (low.div_euclid(divisor), high.div_euclid(divisor));
        rest.lanes.is_none().then(|| {
            let carried = self.free(low, high);
            (quotient.plus(&carried), self.free(0, divisor - 1))
        })
    }

    /// Returns each lane's quotient (rounded down, at least `least`), which is the same in all kept executions.
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

    /// Splits a symbol into a high and a low digit, so that the high digit contributes multiples of the divisor.
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

    /// Selects one of two forms for each lane.
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
}
