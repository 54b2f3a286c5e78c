//! Measured points, their Pareto front, and the choice of a point.

use super::conditions::Conditions;
use super::encoding::{Invalid, Validate, ensure};
use crate::schedule::Program;
use bincode::{Decode, Encode};

/// A measured quantity.
#[derive(Debug, Clone, Copy, PartialEq, Encode, Decode)]
pub struct Estimate {
    /// The mean: seconds, or joules.
    pub mean: f64,
    /// Half the width of the 95 % confidence interval, in the same unit.
    pub interval: f64,
}

/// One measured candidate.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Point {
    /// The program.
    pub program: Program,
    /// [`PackedKernel::hash`](super::PackedKernel::hash) of the kernel that was measured.
    pub kernel_hash: [u8; 32],
    /// Seconds of a launch.
    pub latency: Estimate,
    /// Joules of a launch, if they were measured.
    pub energy: Option<Estimate>,
    /// The conditions of the measurement.
    pub conditions: Conditions,
}

/// The objective for choosing a point of a front.
#[derive(Debug, Clone, Copy, PartialEq, Encode, Decode)]
#[non_exhaustive]
pub enum Objective {
    /// The lowest energy among points at most (1 + `slack`) times as slow as the fastest.
    Energy {
        /// 0.05 by default.
        slack: f64,
    },
    /// The lowest product of energy and latency.
    Edp,
    /// The lowest latency.
    Latency,
}

impl Default for Objective {
    fn default() -> Objective {
        Objective::Energy { slack: 0.05 }
    }
}

impl Objective {
    /// Returns the position of the chosen point in a front sorted by latency. `None` if the front is empty. If no eligible point has
    /// an energy, the fastest is chosen.
    pub fn choose<'a>(&self, front: impl IntoIterator<Item = &'a Point>) -> Option<usize> {
        let mut front = front.into_iter().enumerate();
        let (_, fastest) = front.next()?;
        let score = |point: &Point| {
            let energy = point.energy?.mean;
            match *self {
                Objective::Latency => None,
                Objective::Edp => Some(energy * point.latency.mean),
                // A NaN slack admits only the fastest point.
                Objective::Energy { slack } => {
                    (point.latency.mean <= (1.0 + slack.max(0.0)) * fastest.latency.mean).then_some(energy)
                }
            }
        };
        let scored = front.filter_map(|(position, point)| Some((position, score(point)?)));
        let best = score(fastest).map(|score| (0, score)).into_iter().chain(scored);
        Some(
            best.min_by(|a, b| a.1.total_cmp(&b.1))
                .map_or(0, |(position, _)| position),
        )
    }
}

/// Returns the points that no other point dominates, fastest first.
///
/// A point dominates points that are not faster and do not need less energy. It also dominates points without energy that are
/// not faster, so at most one such point remains, the fastest.
pub fn pareto_front(mut points: Vec<Point>) -> Vec<Point> {
    let energy = |point: &Point| point.energy.map_or(f64::INFINITY, |energy| energy.mean);
    points.retain(|point| point.latency.mean.is_finite() && !energy(point).is_nan());
    // The program breaks ties, so that the same measurements always give the same front.
    points.sort_by(|a, b| {
        (a.latency.mean.total_cmp(&b.latency.mean))
            .then(energy(a).total_cmp(&energy(b)))
            .then_with(|| a.program.cmp(&b.program))
    });
    let mut front: Vec<Point> = Vec::new();
    for point in points {
        if front.last().is_none_or(|last| energy(&point) < energy(last)) {
            front.push(point);
        }
    }
    front
}

impl Validate for Objective {
    fn validate(&self) -> Result<(), Invalid> {
        let Objective::Energy { slack } = self else {
            return Ok(());
        };
        ensure(
            slack.is_finite() && *slack >= 0.0,
            "the slack is not zero or a positive number",
        )
    }
}

impl Validate for Estimate {
    fn validate(&self) -> Result<(), Invalid> {
        ensure(
            self.mean.is_finite() && self.mean > 0.0,
            "a figure is not a positive number",
        )?;
        ensure(
            self.interval.is_finite() && self.interval >= 0.0,
            "an interval is not a number",
        )
    }
}

impl Validate for Point {
    fn validate(&self) -> Result<(), Invalid> {
        validate_program(&self.program)?;
        self.latency.validate()?;
        self.energy.iter().try_for_each(Estimate::validate)?;
        self.conditions.validate()
    }
}

/// Checks that a program has one stage more than stored values.
pub(super) fn validate_program(program: &Program) -> Result<(), Invalid> {
    ensure(program.is_valid(), "a program's stages do not fit its stored values")
}

/// Checks that points are a front, and not too many.
pub(super) fn validate_front<'a>(front: impl ExactSizeIterator<Item = &'a Point>) -> Result<(), Invalid> {
    ensure((1..=256).contains(&front.len()), "a front has 1 to 256 points")?;
    let mut last = (0.0, f64::INFINITY);
    for (position, point) in front.enumerate() {
        point.validate()?;
        let energy = point.energy.map(|energy| energy.mean);
        ensure(
            position == 0 || energy.is_some(),
            "a slower point without energy is on the front",
        )?;
        ensure(point.latency.mean > last.0, "the front is not sorted by latency")?;
        ensure(
            energy.is_none_or(|energy| energy < last.1),
            "the front contains a dominated point",
        )?;
        last = (point.latency.mean, energy.unwrap_or(f64::INFINITY));
    }
    Ok(())
}
