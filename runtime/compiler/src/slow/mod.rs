//! Kernels far from their roofline, and what to write instead.
//!
//! ```text
//!   problem, program ─▶ estimate ÷ roofline > 4? ─▶ Slow ─▶ rewrite the operator, estimate again ─▶ Remedy
//! ```
//!
//! A remedy is offered only if the estimate of the rewritten operator confirms it. Nothing here is measured.

mod remedy;
mod rewrite;
mod untuned;

pub use remedy::{Change, Remedy};

use crate::datasheet::Datasheet;
use crate::problem::Problem;
use crate::roofline::Roofline;
use crate::schedule::Program;
use crate::stages;
use crate::text::quantity;
use std::fmt::{Display, Formatter};

/// A kernel that takes more than so many times its roofline is slow.
pub const FACTOR: f64 = 4.0;

/// A kernel that takes more than [`FACTOR`] times its roofline, by the estimate.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Slow {
    /// The estimated seconds of a call.
    pub seconds: f64,
    /// The roofline of the operator.
    pub roofline: Roofline,
    /// What to write instead. `None` if no known remedy helps.
    pub remedy: Option<Remedy>,
}

impl Slow {
    /// Judges a program at these sizes (all of them, in the order of [`Op::sizes`](crate::ir::Op::sizes)). Returns `None` if it is near its
    /// roofline, or has no estimate.
    pub fn of(problem: &Problem<'_>, program: &Program, sizes: &[u64]) -> Option<Slow> {
        let slow = Slow::without_remedy(problem, program, sizes)?;
        Some(slow.with_remedy(problem, sizes))
    }

    /// Judges a program like [`of`](Slow::of), but looks for no remedy, which takes many estimates.
    pub fn without_remedy(problem: &Problem<'_>, program: &Program, sizes: &[u64]) -> Option<Slow> {
        let roofline = Roofline::of(problem.checked, sizes, &Datasheet::like(problem.machine));
        let seconds = stages::seconds(problem, program, sizes)?;
        (seconds > FACTOR * roofline.seconds).then_some(Slow {
            seconds,
            roofline,
            remedy: None,
        })
    }

    /// Looks for a remedy.
    #[must_use]
    pub fn with_remedy(self, problem: &Problem<'_>, sizes: &[u64]) -> Slow {
        Slow {
            remedy: Remedy::find(problem, sizes, self.seconds),
            ..self
        }
    }

    /// The estimate as a multiple of the roofline.
    pub fn factor(&self) -> f64 {
        self.seconds / self.roofline.seconds
    }
}

impl Display for Slow {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let decimals = usize::from(self.factor() < 10.0);
        write!(
            f,
            "{:.decimals$} times its roofline by the estimate ({}; {}: at least {})",
            self.factor(),
            quantity(self.seconds, 0.0, "s"),
            self.roofline.bound,
            quantity(self.roofline.seconds, 0.0, "s"),
        )?;
        match &self.remedy {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}
