//! Conditions on axes that decide whether a value is needed.

use crate::affine::Affine;
use crate::check::Checked;
use crate::ir::{AxisId, BinaryOp, CompareOp, Expr, ExprId, UnaryOp};
use std::collections::BTreeSet;

/// The most points at which the other axes are looked at while one is counted exactly.
const MOST_POINTS: u64 = 1024;

/// Affine functions of axes, all of which are at least 0 where a guard holds.
pub(super) type Guards = BTreeSet<Affine>;

/// Adds what a condition says of axes if it holds, or if it does not (`holds`). Whatever depends on data says nothing.
pub(super) fn conjuncts(checked: &Checked, sizes: &[u64], condition: ExprId, holds: bool, guards: &mut Guards) {
    match *checked.op().expr(condition) {
        Expr::Unary(UnaryOp::Not, a) => conjuncts(checked, sizes, a, !holds, guards),
        Expr::Binary(operation @ (BinaryOp::And | BinaryOp::Or), a, b) if (operation == BinaryOp::And) == holds => {
            conjuncts(checked, sizes, a, holds, guards);
            conjuncts(checked, sizes, b, holds, guards);
        }
        Expr::Compare(compare, a, b) => {
            let of = |expr| Affine::of(checked, sizes, expr);
            let (Some(a), Some(b)) = (of(a), of(b)) else { return };
            // `large - small - least` is at least 0.
            let mut at_least = |large: &Affine, small: &Affine, least: i64| {
                let difference = small.clone().times(-1).and_then(|small| small.plus(large));
                guards.extend(difference.and_then(|difference| difference.plus(&Affine::constant(-least))));
            };
            match (compare, holds) {
                (CompareOp::Lt, true) | (CompareOp::Ge, false) => at_least(&b, &a, 1),
                (CompareOp::Le, true) | (CompareOp::Gt, false) => at_least(&b, &a, 0),
                (CompareOp::Gt, true) | (CompareOp::Le, false) => at_least(&a, &b, 1),
                (CompareOp::Ge, true) | (CompareOp::Lt, false) => at_least(&a, &b, 0),
                (CompareOp::Eq, true) | (CompareOp::Ne, false) => {
                    at_least(&a, &b, 0);
                    at_least(&b, &a, 0);
                }
                (CompareOp::Ne, true) | (CompareOp::Eq, false) => {}
            }
        }
        _ => {}
    }
}

/// Returns the part of all combinations of axes at which guards hold, 0 to 1. Exact if the axes but the longest have up to 1024
/// combinations; otherwise as at 1024 or fewer of them, evenly spaced.
pub(super) fn part<'a>(guards: impl Iterator<Item = &'a Affine> + Clone, extent: impl Fn(AxisId) -> u64) -> f64 {
    let axes: BTreeSet<AxisId> = guards
        .clone()
        .flat_map(|guard| guard.terms.iter().map(|term| term.0))
        .collect();
    let Some(&counted) = axes.iter().max_by_key(|&&axis| extent(axis)) else {
        let holds = guards.clone().all(|guard| guard.constant >= 0);
        return f64::from(u8::from(holds));
    };
    let others: Vec<AxisId> = axes.into_iter().filter(|&axis| axis != counted).collect();
    let most = (MOST_POINTS as f64).powf(1.0 / others.len().max(1) as f64) as u64;
    let samples: Vec<u64> = others.iter().map(|&axis| extent(axis).min(most.max(1))).collect();
    let points: u64 = samples.iter().product();
    let length = extent(counted);
    if points == 0 || length == 0 {
        return 0.0;
    }
    let mut point = vec![0; others.len()];
    let mut held = 0;
    for number in 0..points {
        let mut rest = number;
        for (position, &axis) in others.iter().enumerate() {
            let (at, samples) = (rest % samples[position], samples[position]);
            rest /= samples;
            // The middle of each of equal parts.
            point[position] = (i128::from(2 * at + 1) * i128::from(extent(axis)) / i128::from(2 * samples)) as i64;
        }
        let (mut low, mut high) = (0, i128::from(length) - 1);
        for guard in guards.clone() {
            let (mut slope, mut value) = (0, i128::from(guard.constant));
            for &(axis, coefficient) in &guard.terms {
                match others.iter().position(|&other| other == axis) {
                    Some(position) => value += i128::from(coefficient) * i128::from(point[position]),
                    None => slope = i128::from(coefficient),
                }
            }
            match slope {
                0 if value >= 0 => {}
                0 => high = -1,
                1.. => low = low.max((-value).div_euclid(slope) + i128::from((-value).rem_euclid(slope) > 0)),
                _ => high = high.min(value.div_euclid(-slope)),
            }
        }
        held += (high - low + 1).max(0);
    }
    held as f64 / points as f64 / length as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn affine(terms: &[(u32, i64)], constant: i64) -> Affine {
        Affine {
            terms: terms
                .iter()
                .map(|&(axis, coefficient)| (AxisId(axis), coefficient))
                .collect(),
            constant,
        }
    }

    #[test]
    fn parts_are_counted() {
        let part_of = |guards: &[Affine], extents: &[u64]| part(guards.iter(), |axis| extents[axis.index()]);
        // s ≤ t
        let causal = affine(&[(0, 1), (1, -1)], 0);
        assert_eq!(part_of(std::slice::from_ref(&causal), &[8, 8]), 36.0 / 64.0);
        assert!((part_of(std::slice::from_ref(&causal), &[8192, 8192]) - 0.5).abs() < 1e-3);
        // s ≤ t and s > t - 3
        let window = affine(&[(0, -1), (1, 1)], 2);
        assert_eq!(part_of(&[causal.clone(), window], &[8, 8]), 21.0 / 64.0);
        // 2 i ≥ 5
        assert_eq!(part_of(&[affine(&[(0, 2)], -5)], &[10]), 0.7);
        // 7 - 3 i ≥ 0
        assert_eq!(part_of(&[affine(&[(0, -3)], 7)], &[10]), 0.3);
        assert_eq!(part_of(&[affine(&[], -1)], &[]), 0.0);
        assert_eq!(part_of(&[], &[]), 1.0);
        assert_eq!(part_of(&[causal], &[8, 0]), 0.0);
    }
}
