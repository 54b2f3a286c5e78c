//! One search of a space by one policy, and what came of it.

use crate::random::Random;
use crate::space::Space;
use energy_kernel_build::tune::model::Columns;
use energy_kernel_build::tune::model::gaussian::{Gaussian, POWER};
use energy_kernel_build::tune::strategy::{Rule, Strategy};

/// Chooses what to measure.
pub trait Policy {
    /// The next candidates; none when it is done.
    fn next(&mut self) -> Vec<usize>;
    fn observe(&mut self, candidate: usize, energy: f64);
    /// The measured candidate that it would choose.
    fn best(&self) -> Option<usize>;
}

/// The result of a search.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// Measurements until one candidate lay within 1 % of the least energy; none if none ever did.
    pub within_1: Option<usize>,
    /// The same for 3 %.
    pub within_3: Option<usize>,
    /// Measurements until it was done.
    pub measurements: usize,
    /// The energy of the chosen candidate beyond the least, as a share of the least.
    pub regret: f64,
}

impl Outcome {
    /// Measurements until within 1 %, infinite if it never was.
    pub fn until_1(&self) -> f64 {
        self.within_1.map_or(f64::INFINITY, |count| count as f64)
    }

    /// The same for 3 %.
    pub fn until_3(&self) -> f64 {
        self.within_3.map_or(f64::INFINITY, |count| count as f64)
    }
}

/// When a search ends, if not before because nothing is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// When one lies within 1 %.
    Found,
    /// When the policy is done.
    Done,
}

/// Searches with at most so many measurements.
pub fn search(space: &Space, policy: &mut dyn Policy, end: End, most: usize) -> Outcome {
    let mut outcome = Outcome {
        within_1: None,
        within_3: None,
        measurements: 0,
        regret: f64::INFINITY,
    };
    'search: loop {
        let round = policy.next();
        if round.is_empty() {
            break;
        }
        for candidate in round {
            policy.observe(candidate, space.measured[candidate]);
            outcome.measurements += 1;
            let regret = space.regret(candidate);
            let first = |bound: f64, slot: &mut Option<usize>| {
                if regret <= bound && slot.is_none() {
                    *slot = Some(outcome.measurements);
                }
            };
            first(0.01, &mut outcome.within_1);
            first(0.03, &mut outcome.within_3);
            if outcome.measurements >= most || (end == End::Found && outcome.within_1.is_some()) {
                break 'search;
            }
        }
    }
    outcome.regret = policy.best().map_or(f64::INFINITY, |best| space.regret(best));
    outcome
}

/// Our own strategy.
pub struct Ours {
    strategy: Strategy,
    noise: f64,
    measured: Vec<usize>,
}

impl Ours {
    pub fn new(space: &Space, rule: Rule) -> Ours {
        Ours {
            strategy: Strategy::new(&space.candidates, rule),
            noise: space.noise,
            measured: Vec::new(),
        }
    }

    /// The candidates measured.
    pub fn measured(&self) -> impl Iterator<Item = usize> {
        self.measured.iter().copied()
    }
}

impl Policy for Ours {
    fn next(&mut self) -> Vec<usize> {
        self.strategy.next_round()
    }

    fn observe(&mut self, candidate: usize, energy: f64) {
        self.measured.push(candidate);
        self.strategy.observe(candidate, energy, self.noise);
    }

    fn best(&self) -> Option<usize> {
        self.strategy.best()
    }
}

/// Measures in a fixed order.
pub struct InOrder {
    order: Vec<usize>,
    measured: Vec<(usize, f64)>,
}

impl InOrder {
    pub fn new(order: Vec<usize>) -> InOrder {
        InOrder {
            order,
            measured: Vec::new(),
        }
    }

    pub fn random(space: &Space, random: &mut Random) -> InOrder {
        InOrder::new(random.shuffled(space.candidates.len()))
    }

    /// By rising latency.
    pub fn rising(space: &Space) -> InOrder {
        let mut order: Vec<usize> = (0..space.candidates.len()).collect();
        order.sort_by(|&a, &b| space.candidates[a].latency.total_cmp(&space.candidates[b].latency));
        InOrder::new(order)
    }
}

impl Policy for InOrder {
    fn next(&mut self) -> Vec<usize> {
        self.order.get(self.measured.len()).copied().into_iter().collect()
    }

    fn observe(&mut self, candidate: usize, energy: f64) {
        self.measured.push((candidate, energy));
    }

    fn best(&self) -> Option<usize> {
        let least = self.measured.iter().min_by(|a, b| a.1.total_cmp(&b.1));
        least.map(|&(candidate, _)| candidate)
    }
}

/// The textbook's Gaussian process on the logarithm of power: a few at random, then one after the other the least lower confidence bound.
pub struct Textbook {
    points: Vec<Vec<f64>>,
    log_latency: Vec<f64>,
    first: Vec<usize>,
    noise: f64,
    measured: Vec<(usize, f64)>,
}

/// Random measurements before the model is asked.
const FIRST: usize = 8;

impl Textbook {
    pub fn new(space: &Space, random: &mut Random) -> Textbook {
        let rows: Vec<Vec<f64>> = (space.candidates.iter())
            .map(|c| c.features.iter().copied().chain([c.latency]).collect())
            .collect();
        let columns = Columns::of(&rows);
        let mut first = random.shuffled(space.candidates.len());
        first.truncate(FIRST);
        Textbook {
            points: rows.iter().map(|row| columns.apply(row)).collect(),
            log_latency: space.candidates.iter().map(|c| c.latency.ln()).collect(),
            first,
            noise: space.noise,
            measured: Vec::new(),
        }
    }
}

impl Policy for Textbook {
    fn next(&mut self) -> Vec<usize> {
        if self.measured.is_empty() {
            return self.first.clone();
        }
        let points: Vec<Vec<f64>> = self.measured.iter().map(|(c, _)| self.points[*c].clone()).collect();
        let values: Vec<f64> = self
            .measured
            .iter()
            .map(|(c, energy)| energy.ln() - self.log_latency[*c])
            .collect();
        let Some(model) = Gaussian::fit(&points, &values, &vec![self.noise; values.len()], POWER) else {
            return Vec::new();
        };
        let bound = |c: usize| {
            let (mean, deviation) = model.predict(&self.points[c]);
            self.log_latency[c] + mean - deviation
        };
        let left = (0..self.points.len()).filter(|c| !self.measured.iter().any(|(m, _)| m == c));
        let bounds = left.map(|c| (c, bound(c)));
        bounds
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .map(|(c, _)| c)
            .into_iter()
            .collect()
    }

    fn observe(&mut self, candidate: usize, energy: f64) {
        self.measured.push((candidate, energy));
    }

    fn best(&self) -> Option<usize> {
        let least = self.measured.iter().min_by(|a, b| a.1.total_cmp(&b.1));
        least.map(|&(candidate, _)| candidate)
    }
}
