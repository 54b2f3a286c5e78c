//! The displacement of addresses between executions.

use super::form::{Form, LANES};
use super::progression::gcd;
use super::symbols::{Kind, Symbol, Symbols};
use smallvec::SmallVec;

impl Symbols {
    /// Returns the displacements of a form from its first values, over the executions of the set and of the loops `turns`, modulo a divisor
    /// of 64. All lanes move together. Unknown displacements are multiples of `step`, which divides `besides`.
    pub fn displacements(&self, form: &Form, besides: i64, modulus: usize, turns: &[u32]) -> Displacements {
        let form = self.resolved(form);
        if besides % modulus as i64 == 0 && form.terms.iter().all(|term| term.slope % modulus as i64 == 0) {
            let counts = (0..self.list.len() as u32).filter(|&symbol| self.is_counted(symbol, turns));
            let all = counts.map(|symbol| self.now(symbol).count as u64);
            return Displacements {
                executions: SmallVec::from_elem(all.fold(1, u64::saturating_mul), 1),
                step: 1,
            };
        }
        let mut found = Displacements {
            executions: SmallVec::from_elem(0, modulus),
            step: gcd(modulus as i64, besides),
        };
        found.executions[0] = 1;
        let mut once = |symbol: u32, slope: i64| {
            let count = self.now(symbol).count as u64;
            let (slope, before) = (slope.rem_euclid(modulus as i64) as usize, found.executions.clone());
            if slope == 0 {
                found
                    .executions
                    .iter_mut()
                    .for_each(|number| *number = number.saturating_mul(count));
                return;
            }
            found.executions.fill(0);
            for step in 0..modulus.min(count as usize) {
                // Residues repeat after `modulus` steps.
                let steps = (count - 1 - step as u64) / modulus as u64 + 1;
                for (residue, &number) in before.iter().enumerate().filter(|(_, number)| **number > 0) {
                    let moved = &mut found.executions[(residue + slope * step) % modulus];
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
            found.step = gcd(term.slope, found.step);
        }
        found
    }

    /// `true` if a symbol is a side of the box, or one of those loops.
    fn is_counted(&self, symbol: u32, turns: &[u32]) -> bool {
        let Symbol { kind, halves, .. } = self.list[symbol as usize];
        (kind == Kind::Side && halves.is_none()) || turns.contains(&symbol)
    }
}

/// How often an address is displaced by each residue of a modulus; see [`Symbols::displacements`].
pub(super) struct Displacements {
    executions: SmallVec<[u64; 32]>,
    step: i64,
}

impl Displacements {
    /// Returns the number of executions.
    pub fn executions(&self) -> u64 {
        self.executions.iter().copied().fold(0, u64::saturating_add)
    }

    /// Returns bounds on the sum of a number over all executions. The number depends only on the values modulo the modulus.
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
