//! Scalar parameters in indices. Their values are unknown before the launch.

use super::prover::Prover;
use super::{Verdicts, Walk};
use crate::check::checked::Checked;
use crate::check::diagnostic::{Diagnostic, Subject};
use crate::ir::{Expr, ExprId, InputId, Source};
use std::collections::BTreeSet;

/// The sizes to probe with: all equal, ascending, descending.
const PROBES: [fn(usize, usize) -> u64; 4] = [
    |_, _| 16,
    |_, _| 1024,
    |position, _| 16 << position.min(16),
    |position, count| 16 << (count - position).min(16),
];

impl Checked {
    /// Returns the indices that cannot be proved at any size because of a scalar parameter. Every call would be refused.
    ///
    /// The check probes a few sizes. An index that is proved for all values of the scalars is fine. If it is proved only for certain values,
    /// the scalars are at fault. If it is not proved even for those, the probe decides nothing.
    pub fn scalars_in_indices(&self) -> Vec<Diagnostic> {
        let suspects = self.suspects();
        if suspects.is_empty() {
            return Vec::new();
        }
        let mut proved = vec![false; suspects.len()];
        let mut at_fault = vec![false; suspects.len()];
        let free = self
            .op()
            .sizes
            .iter()
            .take_while(|size| size.definition.is_none())
            .count();
        for probe in PROBES {
            let Ok(sizes) = self.derive((0..free).map(|position| probe(position, free)).collect()) else {
                continue;
            };
            let any = Walk::new(self, &sizes, Prover::new(self, &sizes)).verdicts();
            // Plausible values of an offset and of an end.
            let values: BTreeSet<i128> = sizes.iter().map(|&size| i128::from(size) - 1).chain([0, 1]).collect();
            let certain: Vec<Verdicts> = values
                .into_iter()
                .map(|value| {
                    let prover = Prover::new(self, &sizes).with_scalars(value);
                    Walk::new(self, &sizes, prover).verdicts()
                })
                .collect();
            for (number, suspect) in suspects.iter().enumerate() {
                let at = (suspect.read, suspect.dimension);
                match any.get(&at) {
                    Some(true) => proved[number] = true,
                    Some(false) => at_fault[number] |= certain.iter().any(|verdicts| verdicts.get(&at) == Some(&true)),
                    None => {}
                }
            }
        }
        let guilty = suspects.iter().zip(proved).zip(at_fault);
        guilty
            .filter(|((_, proved), at_fault)| !proved && *at_fault)
            .map(|((suspect, _), _)| self.refused(suspect))
            .collect()
    }

    fn suspects(&self) -> Vec<Suspect> {
        let mut suspects = Vec::new();
        for (number, expr) in self.op().exprs.iter().enumerate() {
            let Expr::Read { index, or: None, .. } = expr else {
                continue;
            };
            let read = ExprId(number as u32);
            for (dimension, &at) in index.iter().enumerate() {
                if !self.gathered(read, dimension)
                    && let Some(scalar) = self.scalar_in(at)
                {
                    suspects.push(Suspect {
                        read,
                        dimension,
                        at,
                        scalar,
                    });
                }
            }
        }
        suspects
    }

    /// Returns a scalar parameter that occurs in an expression.
    fn scalar_in(&self, expr: ExprId) -> Option<InputId> {
        if let Expr::Scalar(input) = self.op().expr(expr) {
            return Some(*input);
        }
        let mut operands = Vec::new();
        self.op().operands(expr, |operand| operands.push(operand));
        operands.into_iter().find_map(|operand| self.scalar_in(operand))
    }

    fn refused(&self, suspect: &Suspect) -> Diagnostic {
        let scalar = &self.op().inputs[suspect.scalar.index()];
        let Expr::Read { source, .. } = *self.op().expr(suspect.read) else {
            return Diagnostic::new(Subject::Expr(suspect.at), "an index cannot be proved in range");
        };
        let (name, element, dimension) = (&scalar.name, scalar.element, suspect.dimension);
        let tensor = match source {
            Source::Input(input) => &self.op().inputs[input.index()].name,
            Source::Let(inner) => &self.op().lets[inner.index()].name,
        };
        let size = &self.op().sizes[self.source_sizes(source)[dimension].index()].name;
        Diagnostic::new(
            Subject::Expr(suspect.at),
            format!(
                "index {dimension} of `{tensor}` cannot be proved in range, because the scalar `{name}` is unknown before the launch"
            ),
        )
        .help(format!(
            "clamp it: `min(max({name}, 0), {size} - 1)`; or give the value outside the tensor: `{tensor}.or(…)[[…]]`; or pass a tensor of one \
             element, `{name}: Tensor<{element}, ()>`, and write `{name}[[]]`: the kernel checks indices that it reads from tensors, and a \
             read outside yields 0"
        ))
    }
}

/// An index with a scalar parameter in it.
struct Suspect {
    read: ExprId,
    dimension: usize,
    at: ExprId,
    scalar: InputId,
}
