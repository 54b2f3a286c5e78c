//! Chooses whose energy to measure next, and when to stop: the dynamic updating of the energy cost model.
//!
//! The latencies of all candidates are known; each energy costs seconds. The strategy is independent of devices: a tuner, a
//! simulation and the replay of a trace use it in the same way.
//!
//! ```text
//!   fastest few ──▶ measured ──▶ model of ln power ──▶ expected energy of all others ──▶ a round of the most promising
//!                      ▲                                                                    │
//!                      └────────────── its size follows the model's error ◀─────────────────┘
//! ```
//!
//! # The rule
//!
//! 1. At first, assume that power is the same for all candidates, so that the fastest needs the least energy. The first [`Rule::first`]
//!    measurements go by rising latency. With a prior from other problems on the same device, they alternate between the least expected
//!    energy and the least latency, because the prior may be wrong.
//! 2. A Gaussian process learns the logarithm of power (energy over latency), or its residual from the prior, from the candidates'
//!    features and latency. The expected energy is the expected power times the known latency.
//! 3. A round measures the candidates of least expected energy. The later ones of a round are chosen with growing optimism (the
//!    expectation minus a multiple of its deviation), so that they differ. The search never skips the fastest unmeasured candidate while
//!    it could still be optimal: it measures that first, unless it is expected to need more energy than the most promising one by
//!    [`Rule::caution`] deviations.
//! 4. After a round, compare its predictions with the measurements. If their error is less than [`Rule::near`] times the error that noise
//!    and the model's uncertainty explain, the next round is half as large, else twice as large.
//! 5. Stop when nothing has improved by more than [`Rule::worth`] of the noise for [`Rule::patience`] rounds of promising candidates, and
//!    for [`Rule::persistence`] of all measurements.
//!
//! The expected improvement of the Gaussian process is no criterion to stop. Among thousands of candidates, some are always far enough
//! from all measured ones to promise an improvement. Near the first few, which are similar, it promises none too early.
//!
//! # The constants
//!
//! `tests/bench/results/ablation.md` changes one constant at a time; `tried.md` beside it lists other attempts.
//! - `first`: with fewer, the search is sometimes worse than rising latency at a single clock. More delay the model if power varies.
//! - Rounds of 1 need the fewest measurements. They grow to 4 only while the model errs by more than `near` expected deviations.
//! - `caution`: without it the search was sometimes worse than rising latency, for up to 6 measurements. With 2 deviations it leaves
//!   that order too slowly if power varies as much as time.
//! - `patience` below 14 stops too early if the first few are similar, and on the largest spaces. More than 16 costs every search
//!   measurements and finds nothing better. `persistence` keeps a long search from ending in a short lull.
//! - `worth`: a difference below the noise is not an improvement.

use super::model::Columns;
use super::model::gaussian::{self, Gaussian, Hyperparameters};
use std::collections::{BTreeMap, BTreeSet};

/// A candidate before its energy is measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The features that its power may depend on.
    pub features: Vec<f64>,
    /// Seconds.
    pub latency: f64,
    /// The prior of its power in ln W, from other problems on the same device. The same for all candidates without a prior.
    pub expected: f64,
}

/// The constants of the rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule {
    /// The number of measurements before the model is used.
    pub first: usize,
    /// The size of the first round with the model.
    pub start: usize,
    /// The smallest round.
    pub least: usize,
    /// The largest round.
    pub most: usize,
    /// The number of deviations by which the fastest candidate must be worse than the most promising one to be skipped.
    pub caution: f64,
    /// The largest error, in expected deviations, of a model that counts as right.
    pub near: f64,
    /// The least improvement, as a multiple of the noise.
    pub worth: f64,
    /// The number of rounds of promising candidates without an improvement that end the search.
    pub patience: usize,
    /// The fraction of all measurements that must follow the last improvement.
    pub persistence: f64,
    /// The exponent of latency in the cost: 0 for the least energy, 1 for the least energy-delay product.
    pub delay: f64,
}

impl Default for Rule {
    fn default() -> Rule {
        Rule {
            first: 6,
            start: 1,
            least: 1,
            most: 4,
            caution: 1.0,
            near: 3.0,
            worth: 1.0,
            patience: 16,
            persistence: 0.4,
            delay: 0.0,
        }
    }
}

impl Rule {
    /// The same rule with rounds of one size.
    pub fn with_rounds_of(self, size: usize) -> Rule {
        Rule {
            first: size,
            start: size,
            least: size,
            most: size,
            ..self
        }
    }
}

/// The least noise that the model assumes. Models of exact values would be overconfident.
const LEAST_NOISE: f64 = 1e-3;

/// The growth of the number of measurements after which hyperparameters are fitted again.
const ENOUGH_NEW: f64 = 1.1;

/// The fraction of candidates, the fastest, over which columns are standardised. The slowest do not matter.
const FAST: f64 = 0.5;
/// The fewest candidates over which columns are standardised.
const LEAST_FAST: usize = 64;

/// The optimism, in deviations, of the last candidate of a round.
const OPTIMISM: f64 = 2.0;

/// The belief about a candidate's logarithm of power.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Belief {
    /// ln W.
    pub mean: f64,
    /// The standard deviation of `mean`. A small one is the relative deviation of power.
    pub deviation: f64,
}

/// Decides which energies to measure.
#[derive(Debug, Clone)]
pub struct Strategy {
    rule: Rule,
    points: Vec<Vec<f64>>,
    log_latency: Vec<f64>,
    expected: Vec<f64>,
    /// The scales of the Gaussian process's smooth part.
    scales: &'static [f64],
    /// The order of measurements before there is a model.
    order: Vec<usize>,
    measured: BTreeMap<usize, Measurement>,
    /// The candidates that cannot be measured.
    excluded: BTreeSet<usize>,
    /// The measured candidates, in order.
    sequence: Vec<usize>,
    /// The predictions for the current round.
    asked: Vec<(usize, Belief)>,
    /// `true` if that round only has the fastest candidate, out of caution.
    is_cautious: bool,
    beliefs: Vec<Belief>,
    /// The hyperparameters, and the number of measurements that they were fitted to.
    shapes: Option<(Vec<Hyperparameters>, usize)>,
    /// The size of the next round.
    size: usize,
    progress: Progress,
}

#[derive(Debug, Clone, Copy)]
struct Measurement {
    log_power: f64,
    noise: f64,
}

/// The last improvement.
#[derive(Debug, Clone, Copy)]
struct Progress {
    /// The best candidate then.
    best: Option<usize>,
    /// The number of measurements then.
    measurements: usize,
    /// The number of rounds since.
    idle: usize,
}

impl Strategy {
    /// A strategy for these candidates.
    pub fn new(candidates: &[Candidate], rule: Rule) -> Strategy {
        let rows: Vec<Vec<f64>> = candidates
            .iter()
            .map(|candidate| candidate.features.iter().copied().chain([candidate.latency]).collect())
            .collect();
        let sorted = |key: &dyn Fn(&Candidate) -> f64| {
            let mut order: Vec<usize> = (0..candidates.len()).collect();
            order.sort_by(|&a, &b| key(&candidates[a]).total_cmp(&key(&candidates[b])));
            order
        };
        let order = sorted(&|candidate| candidate.latency);
        let promising = sorted(&|candidate| candidate.expected + (1.0 + rule.delay) * candidate.latency.ln());
        let fast = ((FAST * rows.len() as f64) as usize).max(LEAST_FAST).min(rows.len());
        let fast: Vec<&[f64]> = order[..fast].iter().map(|&c| rows[c].as_slice()).collect();
        let columns = Columns::of(&fast);
        let is_expecting = candidates.windows(2).any(|pair| pair[0].expected != pair[1].expected);
        Strategy {
            rule,
            points: rows.iter().map(|row| columns.apply(row)).collect(),
            log_latency: candidates.iter().map(|candidate| candidate.latency.ln()).collect(),
            expected: candidates.iter().map(|candidate| candidate.expected).collect(),
            scales: if is_expecting {
                gaussian::REMAINDER
            } else {
                gaussian::POWER
            },
            order: in_turn(&promising, &order),
            measured: BTreeMap::new(),
            excluded: BTreeSet::new(),
            sequence: Vec::new(),
            asked: Vec::new(),
            is_cautious: false,
            beliefs: Vec::new(),
            shapes: None,
            size: rule.start,
            progress: Progress {
                best: None,
                measurements: 0,
                idle: 0,
            },
        }
    }

    /// Adds a measurement: joules, and their relative standard deviation.
    pub fn observe(&mut self, candidate: usize, energy: f64, noise: f64) {
        let Some(log_latency) = self.log_latency.get(candidate) else {
            return;
        };
        let log_power = energy.ln() - log_latency;
        if log_power.is_finite() {
            let noise = if noise.is_finite() {
                noise.max(LEAST_NOISE)
            } else {
                LEAST_NOISE
            };
            if self
                .measured
                .insert(candidate, Measurement { log_power, noise })
                .is_none()
            {
                self.sequence.push(candidate);
            }
        }
    }

    /// Removes a candidate that was rejected.
    pub fn exclude(&mut self, candidate: usize) {
        self.excluded.insert(candidate);
    }

    /// `true` if the candidate may still be measured.
    fn is_open(&self, candidate: usize) -> bool {
        !self.measured.contains_key(&candidate) && !self.excluded.contains(&candidate)
    }

    /// The candidates to measure next, most promising first. Empty when the search is over.
    pub fn next_round(&mut self) -> Vec<usize> {
        let open = (0..self.points.len()).filter(|&c| self.is_open(c)).count();
        let first = self.rule.first.min(self.measured.len() + open);
        if self.measured.len() < first {
            return self.rising(first - self.measured.len());
        }
        self.review();
        if !self.learn() {
            return self.rising(self.size);
        }
        if self.is_over() {
            return Vec::new();
        }
        let mut round = self.promising();
        let overlooked = self.overlooked(&round);
        self.is_cautious = overlooked.is_some() && round.len() == 1;
        if let Some(fastest) = overlooked {
            round.pop();
            round.insert(0, fastest);
        }
        self.asked = round.iter().map(|&c| (c, self.beliefs[c])).collect();
        round
    }

    /// The measured candidate of the least expected cost. The model is less noisy than one measurement.
    pub fn best(&self) -> Option<usize> {
        let measured = self.measured.keys().copied();
        measured.min_by(|&a, &b| self.cost(a).total_cmp(&self.cost(b)))
    }

    /// The beliefs about all candidates' power. Empty before there is a model.
    pub fn beliefs(&self) -> &[Belief] {
        &self.beliefs
    }

    /// The expected energy of an unmeasured candidate, in joules. `None` before there is a model.
    pub fn expects(&self, candidate: usize) -> Option<f64> {
        let belief = self.beliefs.get(candidate)?;
        let unmeasured = !self.measured.contains_key(&candidate);
        unmeasured.then(|| (belief.mean + self.log_latency[candidate]).exp())
    }

    /// Fits the model to all measurements. Returns `false` if there are too few.
    pub fn learn(&mut self) -> bool {
        let points: Vec<Vec<f64>> = self.sequence.iter().map(|&c| self.points[c].clone()).collect();
        let measured = |c: &usize| self.measured[c];
        let values: Vec<f64> = self
            .sequence
            .iter()
            .map(|c| measured(c).log_power - self.expected[*c])
            .collect();
        let noise: Vec<f64> = self.sequence.iter().map(|c| measured(c).noise).collect();
        let known = self.shapes.take();
        let known = known.filter(|(_, count)| (values.len() as f64) < ENOUGH_NEW * *count as f64);
        let model = match &known {
            Some((shapes, _)) => Gaussian::with_shapes(&points, &values, &noise, shapes),
            None => Gaussian::fit(&points, &values, &noise, self.scales),
        };
        let Some(model) = model else { return false };
        self.shapes = known.or_else(|| Some((model.shapes(), values.len())));
        self.beliefs = (self.points.iter().zip(&self.expected))
            .map(|(point, expected)| {
                let (mean, deviation) = model.predict(point);
                Belief {
                    mean: mean + expected,
                    deviation,
                }
            })
            .collect();
        for (position, &c) in self.sequence.iter().enumerate() {
            self.beliefs[c] = Belief {
                mean: model.denoised(position, values[position], noise[position]) + self.expected[c],
                deviation: 0.0,
            };
        }
        true
    }

    /// The first `count` unmeasured candidates of the initial order.
    fn rising(&self, count: usize) -> Vec<usize> {
        let left = self.order.iter().filter(|c| self.is_open(**c));
        left.take(count).copied().collect()
    }

    /// The logarithm of the cost that the search minimises.
    fn cost(&self, candidate: usize) -> f64 {
        let log_power = match self.beliefs.get(candidate) {
            Some(belief) => belief.mean,
            None => self.measured.get(&candidate).map_or(f64::INFINITY, |m| m.log_power),
        };
        log_power + (1.0 + self.rule.delay) * self.log_latency[candidate]
    }

    /// Compares the last round with its predictions and sets the size of the next.
    fn review(&mut self) {
        let asked = std::mem::take(&mut self.asked);
        let errors = asked.iter().filter_map(|(c, belief)| {
            let Measurement { log_power, noise } = self.measured.get(c)?;
            Some(((log_power - belief.mean) / noise.hypot(belief.deviation)).powi(2))
        });
        let (count, sum) = errors.fold((0, 0.0), |(count, sum), error| (count + 1, sum + error));
        if count == 0 {
            return;
        }
        let is_near = (sum / f64::from(count)).sqrt() < self.rule.near;
        let size = if is_near { self.size / 2 } else { self.size * 2 };
        self.size = size.clamp(self.rule.least, self.rule.most.max(self.rule.least));
        self.progress.idle += usize::from(!self.is_cautious);
    }

    /// `true` if nothing has improved for long, or no candidate is left.
    fn is_over(&mut self) -> bool {
        let count = self.measured.len();
        let squares: f64 = self.measured.values().map(|m| m.noise * m.noise).sum();
        let worth = self.rule.worth * (squares / count.max(1) as f64).sqrt();
        // A better opinion of an earlier candidate is not an improvement.
        let before = self.progress.best.map_or(f64::INFINITY, |c| self.cost(c));
        let best = self
            .best()
            .filter(|c| !self.sequence[..self.progress.measurements].contains(c));
        if best.is_some_and(|c| self.cost(c) < before - worth) {
            self.progress = Progress {
                best,
                measurements: count,
                idle: 0,
            };
        }
        let since = (count - self.progress.measurements) as f64;
        (0..self.points.len()).all(|c| !self.is_open(c))
            || (self.progress.idle >= self.rule.patience && since >= self.rule.persistence * count as f64)
    }

    /// The most promising unmeasured candidates, for the next round.
    fn promising(&self) -> Vec<usize> {
        let mut left: Vec<usize> = (0..self.points.len()).filter(|&c| self.is_open(c)).collect();
        let mut round: Vec<usize> = Vec::with_capacity(self.size);
        while round.len() < self.size {
            let optimism = OPTIMISM * round.len() as f64 / self.size as f64;
            let promise = |c: usize| self.cost(c) - optimism * self.beliefs[c].deviation;
            let next = (0..left.len()).min_by(|&a, &b| promise(left[a]).total_cmp(&promise(left[b])));
            let Some(next) = next else { break };
            round.push(left.swap_remove(next));
        }
        round
    }

    /// The fastest unmeasured candidate, if this round would skip it although it could still be optimal.
    fn overlooked(&self, round: &[usize]) -> Option<usize> {
        let left = (0..self.points.len()).filter(|&c| self.is_open(c));
        let fastest = left.min_by(|&a, &b| self.log_latency[a].total_cmp(&self.log_latency[b]))?;
        let most = self.cost(*round.first()?);
        let may_be = self.cost(fastest) - self.rule.caution * self.beliefs[fastest].deviation <= most;
        (may_be && !round.contains(&fastest)).then_some(fastest)
    }
}

/// Merges two orders of the same numbers in turn, each number once.
fn in_turn(first: &[usize], second: &[usize]) -> Vec<usize> {
    let mut seen = vec![false; first.len()];
    let both = first.iter().zip(second).flat_map(|(&a, &b)| [a, b]);
    both.filter(|&number| !std::mem::replace(&mut seen[number], true))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tune::random::Random;

    /// Candidates with two features and latencies within `spread`, and their energies for this function of features and latency.
    fn space(count: usize, spread: f64, seed: u64, power: impl Fn(&[f64], f64) -> f64) -> (Vec<Candidate>, Vec<f64>) {
        let mut random = Random::new(seed);
        let candidates: Vec<Candidate> = (0..count)
            .map(|_| Candidate {
                features: vec![2f64.powi(random.below(6) as i32), random.below(5) as f64],
                latency: 1e-3 * (1.0 + spread * random.unit()),
                expected: 0.0,
            })
            .collect();
        let energies = candidates
            .iter()
            .map(|c| c.latency * power(&c.features, c.latency))
            .collect();
        (candidates, energies)
    }

    /// Runs a search. Returns the measured candidates, in order, and the chosen one.
    fn run(candidates: &[Candidate], energies: &[f64], noise: f64, seed: u64) -> (Vec<usize>, usize) {
        let mut random = Random::new(seed);
        let mut strategy = Strategy::new(candidates, Rule::default());
        let mut measured = Vec::new();
        loop {
            let round = strategy.next_round();
            if round.is_empty() {
                return (measured, strategy.best().unwrap());
            }
            for c in round {
                assert!(!measured.contains(&c), "{c} is measured twice");
                measured.push(c);
                strategy.observe(c, energies[c] * (1.0 + noise * random.normal()), noise);
            }
        }
    }

    fn by_latency(candidates: &[Candidate]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..candidates.len()).collect();
        order.sort_by(|&a, &b| candidates[a].latency.total_cmp(&candidates[b].latency));
        order
    }

    #[test]
    fn where_power_is_constant_the_fastest_are_measured_and_soon_it_is_over() {
        for seed in 0..5 {
            let (candidates, energies) = space(300, 1.0, seed, |_, _| 200.0);
            let (measured, best) = run(&candidates, &energies, 0.003, seed);
            let order = by_latency(&candidates);
            assert_eq!(measured[..6], order[..6]);
            assert!(measured.len() <= 30, "{}", measured.len());
            let among = order.iter().position(|c| *c == best).unwrap();
            assert!(among < 6, "the chosen one is the {among}th");
        }
    }

    #[test]
    fn the_order_of_rising_latency_is_not_left_without_a_reason() {
        for seed in 0..10 {
            let (candidates, _) = space(60, 0.4, seed, |_, _| 200.0);
            // An independent part of 2 %.
            let mut random = Random::new(seed + 100);
            let energies: Vec<f64> = (candidates.iter())
                .map(|c| c.latency * 200.0 * (1.0 + 0.02 * random.normal()))
                .collect();
            let (measured, _) = run(&candidates, &energies, 0.003, seed);
            assert_eq!(measured[..10], by_latency(&candidates)[..10], "seed {seed}");
        }
    }

    #[test]
    fn where_a_feature_tells_power_it_is_found_among_hundreds() {
        for seed in 0..5 {
            let power = |features: &[f64], _: f64| 150.0 + 20.0 * features[0].log2() + 10.0 * features[1];
            let (candidates, energies) = space(400, 0.5, seed, power);
            let least = energies.iter().copied().fold(f64::INFINITY, f64::min);
            let (measured, best) = run(&candidates, &energies, 0.005, seed);
            assert!(energies[best] < 1.01 * least, "{}", energies[best] / least);
            assert!(measured.len() < 80, "{}", measured.len());
        }
    }

    #[test]
    fn what_is_expected_from_elsewhere_is_used_from_the_first_round_on() {
        let power = |features: &[f64], _: f64| 400.0 - 40.0 * features[0].log2() - 30.0 * features[1];
        let (mut candidates, energies) = space(400, 0.5, 9, power);
        for (candidate, energy) in candidates.iter_mut().zip(&energies) {
            candidate.expected = (energy / candidate.latency).ln() + 0.2;
        }
        let (measured, _) = run(&candidates, &energies, 0.005, 1);
        let least = (0..energies.len())
            .min_by(|&a, &b| energies[a].total_cmp(&energies[b]))
            .unwrap();
        let position = measured.iter().position(|&c| c == least).unwrap();
        assert!(position <= 8, "{position}");
    }

    #[test]
    fn rounds_shrink_while_the_model_is_right_and_grow_when_it_is_not() {
        let (candidates, _) = space(200, 1.0, 3, |_, _| 1.0);
        let mut strategy = Strategy::new(
            &candidates,
            Rule {
                start: 2,
                ..Rule::default()
            },
        );
        for c in strategy.next_round() {
            strategy.observe(c, candidates[c].latency * 100.0, 0.005);
        }
        let second = strategy.next_round();
        assert_eq!(second.len(), 2);
        for &c in &second {
            strategy.observe(c, candidates[c].latency * 100.0, 0.005);
        }
        let third = strategy.next_round();
        assert_eq!(third.len(), 1, "the model was right");
        // An outlier.
        strategy.observe(third[0], candidates[third[0]].latency * 150.0, 0.005);
        assert_eq!(strategy.next_round().len(), 2);
    }

    #[test]
    fn nonsense_is_passed_over() {
        assert!(Strategy::new(&[], Rule::default()).next_round().is_empty());
        let (candidates, _) = space(3, 1.0, 1, |_, _| 1.0);
        let mut strategy = Strategy::new(&candidates, Rule::default());
        strategy.observe(99, 1.0, 0.1);
        strategy.observe(0, f64::NAN, 0.1);
        strategy.observe(0, -1.0, 0.1);
        assert_eq!(strategy.best(), None);
        assert_eq!(strategy.next_round().len(), 3);
        for c in 0..3 {
            strategy.observe(c, 1.0, f64::NAN);
        }
        assert!(strategy.next_round().is_empty(), "nothing is left");
        assert!(strategy.best().is_some());
    }
}
