//! Systems of linear inequalities over the integers, and the bounds they imply for a form.
//!
//! Fourier–Motzkin elimination: every lower bound of an unknown is added to every upper bound, scaled so that the
//! unknown cancels. The sums hold whenever the original inequalities do. Each sum is divided by the common divisor of its
//! coefficients, and its constant rounded, because the unknowns are integers. The last inequalities contain only the
//! form. Dropping an inequality only weakens the result, so combinations that grow too large are dropped.

use super::form::{Atom, Form, Interval};
use std::collections::BTreeMap;

/// The unknown that equals the form to bound.
const GOAL: Atom = Atom(u32::MAX);
/// The most combinations to eliminate one unknown.
const COMBINATIONS: usize = 64;

/// Forms that are not negative.
#[derive(Debug, Clone, Default)]
pub(super) struct System {
    /// The constant of each form, by its terms. Among forms with the same terms, the smallest constant is the strongest.
    rows: BTreeMap<Vec<(Atom, i128)>, i128>,
    contradiction: bool,
}

impl System {
    /// Adds the fact that a form is not negative.
    pub(super) fn add(&mut self, form: Form) {
        let Form {
            mut terms,
            mut constant,
        } = form;
        let common = terms.iter().fold(0, |common, &(_, c)| gcd(common, c.unsigned_abs()));
        match i128::try_from(common) {
            Ok(0) => return self.contradiction |= constant < 0,
            Ok(1) => {}
            Ok(common) => {
                terms.iter_mut().for_each(|(_, c)| *c /= common);
                constant = constant.div_euclid(common);
            }
            Err(_) => return,
        }
        let known = self.rows.entry(terms).or_insert(constant);
        *known = constant.min(*known);
    }

    /// Returns the interval of a form, or `None` if the inequalities contradict each other. Subtracts the cost from `effort`.
    pub(super) fn bounds(mut self, form: &Form, effort: &mut u32) -> Option<Interval> {
        let goal = Form::atom(GOAL);
        for factor in [1, -1] {
            self.rows_of(goal.combined(factor, form, -factor));
        }
        while let Some((atom, combinations)) = self.cheapest() {
            if self.contradiction {
                return None;
            }
            let terms: usize = self.rows.keys().map(Vec::len).sum();
            let cost = (terms + combinations) as u32;
            let affordable = combinations <= COMBINATIONS && *effort >= cost;
            *effort = effort.saturating_sub(cost);
            self.eliminate(atom, affordable);
        }
        let bound = |sign: i128| self.rows.get([(GOAL, sign)].as_slice()).copied();
        let interval = Interval {
            low: bound(1).and_then(i128::checked_neg),
            high: bound(-1),
        };
        let crossed = matches!(interval, Interval { low: Some(low), high: Some(high) } if low > high);
        (!self.contradiction && !crossed).then_some(interval)
    }

    fn rows_of(&mut self, form: Option<Form>) {
        if let Some(form) = form {
            self.add(form);
        }
    }

    /// Returns the unknown whose elimination needs the fewest combinations, with their number.
    fn cheapest(&self) -> Option<(Atom, usize)> {
        let mut counts: BTreeMap<Atom, (usize, usize)> = BTreeMap::new();
        for &(atom, coefficient) in self.rows.keys().flatten() {
            if atom != GOAL {
                let (lower, upper) = counts.entry(atom).or_default();
                *(if coefficient > 0 { lower } else { upper }) += 1;
            }
        }
        let products = counts.into_iter().map(|(atom, (lower, upper))| (atom, lower * upper));
        products.min_by_key(|&(_, product)| product)
    }

    /// Removes the inequalities with that unknown, and adds their combinations if `combine`.
    fn eliminate(&mut self, atom: Atom, combine: bool) {
        let (mut lower, mut upper) = (Vec::new(), Vec::new());
        for (terms, constant) in std::mem::take(&mut self.rows) {
            let form = Form { terms, constant };
            match form.coefficient(atom) {
                0 => _ = self.rows.insert(form.terms, constant),
                coefficient @ 1.. => lower.push((coefficient, form)),
                coefficient => upper.push((coefficient, form)),
            }
        }
        if !combine {
            return;
        }
        for (up, low) in &lower {
            for (down, high) in &upper {
                let Ok(common) = i128::try_from(gcd(up.unsigned_abs(), down.unsigned_abs())) else {
                    continue;
                };
                // `down` is negative. Negation fails only for `i128::MIN`, whose common divisor would not fit.
                if let Some(own) = (down / common).checked_neg() {
                    self.rows_of(low.combined(own, high, up / common));
                }
            }
        }
    }
}

fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
