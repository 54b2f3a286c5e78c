//! What to write instead of a slow operator.

use super::rewrite::{cast, split, with_last};
use super::untuned::untuned_seconds;
use crate::check::Checked;
use crate::element::{Element, Type};
use crate::ir::{BinaryOp, Expr, ExprId, InputId, LetId, ReduceOp, Source};
use crate::problem::Problem;
use crate::repeated::{Repeated, repeated};
use crate::size::Specialisation;
use crate::stages;
use crate::text::quantity;
use std::fmt::{Display, Formatter};

/// A remedy must shorten the estimate by this factor.
const WORTH: f64 = 1.5;
/// The most rewritten operators of each kind that are estimated.
const MOST: usize = 6;

/// What to write instead of a slow operator. Each remedy was found to help by the estimate.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Remedy {
    /// The change.
    pub change: Change,
    /// The estimated seconds after the change.
    pub seconds: f64,
}

/// A change of an operator.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Change {
    /// Two operators: one returns an intermediate tensor, one takes it.
    Split {
        /// The intermediate tensor.
        name: String,
        /// The work that this avoids, if the operator repeats work.
        repeated: Option<Repeated>,
    },
    /// A cast of a factor in a sum of products, so that tensor cores take it. It rounds the factor.
    Cast {
        /// The tensor that is the factor.
        name: String,
        /// The element type.
        element: Element,
    },
    /// Another order of a tensor's dimensions.
    Last {
        /// The tensor.
        tensor: String,
        /// The size of the dimension that should be last.
        dimension: String,
    },
    /// `tune(…)` with one value for each size, which compiles it in.
    CompileIn,
}

impl Display for Remedy {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match &self.change {
            Change::Split {
                repeated: Some(repeated),
                ..
            } => write!(f, "{repeated}")?,
            Change::Split { name, repeated: None } => write!(
                f,
                "write two operators, one that returns `{name}` and one that takes it as a tensor"
            )?,
            Change::Cast { name, element } => write!(
                f,
                "write `{name}[[…]] as {element}` in the sum, which rounds it, so that tensor cores multiply it"
            )?,
            Change::Last { tensor, dimension } => {
                write!(f, "store `{tensor}` with its dimension `{dimension}` last")?;
            }
            Change::CompileIn => write!(f, "give each size one value in `tune(…)`, which compiles it in")?,
        }
        write!(f, " ({})", quantity(self.seconds, 0.0, "s"))
    }
}

impl Remedy {
    /// Returns the remedy with the least estimate, if it is worth it beside the kernel that takes `now` seconds and the untuned one.
    pub(super) fn find(problem: &Problem<'_>, sizes: &[u64], now: f64) -> Option<Remedy> {
        let search = Search { problem, sizes };
        let now = untuned_seconds(problem.checked, sizes, problem.machine).map_or(now, |untuned| untuned.min(now));
        let all = [search.splits(), search.casts(), search.orders(), search.compiled_in()];
        let best = all
            .into_iter()
            .flatten()
            .min_by(|a, b| a.seconds.total_cmp(&b.seconds))?;
        (best.seconds * WORTH <= now).then_some(best)
    }
}

struct Search<'a> {
    problem: &'a Problem<'a>,
    sizes: &'a [u64],
}

impl Search<'_> {
    fn checked(&self) -> &Checked {
        self.problem.checked
    }

    fn estimated(&self, change: Change, operators: &[Checked]) -> Option<Remedy> {
        let each = operators
            .iter()
            .map(|checked| untuned_seconds(checked, self.sizes, self.problem.machine));
        let seconds = each.sum::<Option<f64>>()?;
        Some(Remedy { change, seconds })
    }

    fn splits(&self) -> Vec<Remedy> {
        let op = self.checked().op();
        let repeated = repeated(self.checked(), self.sizes);
        let has_axes = op.lets.iter().enumerate().filter(|(_, inner)| !inner.axes.is_empty());
        let each = has_axes.take(MOST).filter_map(|(number, inner)| {
            let operators = split(self.checked(), LetId(number as u32))?;
            let repeated = repeated.as_ref().filter(|one| one.name.as_ref() == Some(&inner.name));
            let change = Change::Split {
                name: inner.name.clone(),
                repeated: repeated.cloned(),
            };
            self.estimated(change, &operators)
        });
        each.collect()
    }

    /// Casts of a factor to the type of the other, where that is a half.
    fn casts(&self) -> Vec<Remedy> {
        let checked = self.checked();
        let op = checked.op();
        let body_of_sum = |expr: &Expr| match *expr {
            Expr::Reduce {
                op: ReduceOp::Sum,
                body,
                ..
            } => Some(body),
            _ => None,
        };
        let products = op.exprs.iter().filter_map(body_of_sum);
        let factors = products.filter_map(|product| match *op.expr(product) {
            Expr::Binary(BinaryOp::Mul, a, b) if checked.ty(product) == Type::F32 => {
                Some([(product, a, b), (product, b, a)])
            }
            _ => None,
        });
        let each = factors.flatten().take(MOST).filter_map(|(product, factor, other)| {
            let element = self.half(other)?;
            if self.half(factor).is_some() {
                return None;
            }
            let operator = cast(checked, product, factor, element)?;
            let change = Change::Cast {
                name: self.name(factor)?,
                element,
            };
            self.estimated(change, &[operator])
        });
        each.collect()
    }

    /// The 16-bit type of a factor.
    fn half(&self, factor: ExprId) -> Option<Element> {
        let op = self.checked().op();
        let element = match *op.expr(factor) {
            Expr::Cast(_, element) => element,
            Expr::Read {
                source: Source::Input(input),
                ..
            } => op.inputs[input.index()].element,
            _ => return None,
        };
        matches!(element, Element::F16 | Element::BF16).then_some(element)
    }

    /// The tensor that a factor reads.
    fn name(&self, factor: ExprId) -> Option<String> {
        let op = self.checked().op();
        match op.expr(factor) {
            Expr::Read { source, .. } => Some(match *source {
                Source::Input(input) => op.inputs[input.index()].name.clone(),
                Source::Let(inner) => op.lets[inner.index()].name.clone(),
            }),
            _ => None,
        }
    }

    fn orders(&self) -> Vec<Remedy> {
        let op = self.checked().op();
        let dimensions = op.inputs.iter().enumerate().flat_map(|(number, input)| {
            let dims = input.dims.as_deref().unwrap_or_default();
            let before_last = dims.len().saturating_sub(1);
            (0..before_last).map(move |dimension| (InputId(number as u32), input, dims[dimension], dimension))
        });
        let each = dimensions.take(MOST).filter_map(|(number, input, size, dimension)| {
            let operator = with_last(self.checked(), number, dimension)?;
            let change = Change::Last {
                tensor: input.name.clone(),
                dimension: op.sizes[size.index()].name.clone(),
            };
            self.estimated(change, &[operator])
        });
        each.collect()
    }

    fn compiled_in(&self) -> Vec<Remedy> {
        let exact = Specialisation {
            wide: self.problem.specialisation.wide,
            ..Specialisation::exact(self.sizes)
        };
        if self.problem.specialisation.extents == exact.extents {
            return Vec::new();
        }
        let problem = Problem::new(self.checked(), &exact, self.problem.machine);
        let best = stages::ranked(&problem, self.sizes).into_iter().next();
        let remedy = |(_, seconds)| Remedy {
            change: Change::CompileIn,
            seconds,
        };
        best.map(remedy).into_iter().collect()
    }
}
