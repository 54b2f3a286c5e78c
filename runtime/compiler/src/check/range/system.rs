//! Linear inequalities over the integers, and what they say about a form.
//!
//! Fourier and Motzkin's elimination: adding every lower bound of an unknown to every upper bound, scaled so that the
//! unknown cancels, leaves inequalities without it that hold whenever the old ones do. Each is divided by what its
//! coefficients have in common, and its constant rounded: the unknowns are integers. What is left in the end is
//! about the form alone. To forget an inequality only weakens the result, so whatever grows too large is forgotten.

use super::form::{Atom, Form, Interval};
use std::collections::BTreeMap;

/// Stands for the form whose bounds are wanted.
const GOAL: Atom = Atom(u32::MAX);
/// Combinations made to eliminate one unknown, at most.
const COMBINATIONS: usize = 64;

/// Forms that are not negative.
#[derive(Debug, Clone, Default)]
pub(super) struct System {
    /// The constant by the terms: of forms that differ in nothing else the smallest says most.
    rows: BTreeMap<Vec<(Atom, i128)>, i128>,
    contradiction: bool,
}

impl System {
    /// States that a form is not negative.
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

    /// Where the form can be; None where the inequalities contradict each other. Takes what it costs off `effort`.
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

    /// The unknown that is eliminated with the fewest combinations, and their number.
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

    /// Leaves only inequalities without that unknown: combinations, if they are wanted, of those that had it.
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
                // Down is negative, and not the one number without a negative: that has no common divisor that fits.
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
