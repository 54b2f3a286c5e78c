//! A board in simulated time with known true energy, for tests of the meter and the benchmark of the estimator. Nothing sleeps.
//!
//! ```text
//!   load ── joules(t) ──▶ step k at s_k:  value = joules(s_k − lag − jitter) ── drift, wrap, stall ──▶ a reading, after its call's cost
//! ```

use super::board::{Board, BoardState};
use crate::error::{Error, Result};
use std::cell::{Cell, RefCell};

/// The behaviour of a simulated board and its counter. Times are in seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Behaviour {
    /// The power of the board.
    pub load: Load,
    /// The shortest and the longest time between steps of the counter.
    pub step: (f64, f64),
    /// The shortest age of the energy that a step shows.
    pub lag: f64,
    /// The range of that age: it is at most `lag + jitter`.
    pub jitter: f64,
    /// The duration of a reading: the median and the longest.
    pub call: (f64, f64),
    /// `true` if the counter samples power when it steps, instead of integrating it.
    pub samples: bool,
    /// The growth of the counter's relative error per second.
    pub drift: f64,
    /// Bits of the counter: 64 or 32.
    pub bits: u32,
    /// The first value in millijoules.
    pub begins: u64,
    /// The start and the end of a time in which the counter does not move.
    pub stall: Option<(f64, f64)>,
    /// The time of a reset.
    pub reset: Option<f64>,
    /// The fraction of readings that fail.
    pub failures: f64,
    /// The fraction of readings that are zero.
    pub zeros: f64,
    /// The period of instant power, which averages over the last quarter of it. `None`: unknown.
    pub instant: Option<f64>,
    /// The relative error of instant power.
    pub instant_error: f64,
    /// Temperature: at the start and at the end in °C, and the time constant.
    pub temperature: (f64, f64, f64),
    /// The rest of the board's state.
    pub state: BoardState,
}

/// The power of a board over time.
#[derive(Debug, Clone, PartialEq)]
pub enum Load {
    /// Constant power in watts.
    Steady(f64),
    /// Power at the start in watts, and its rise in watts per second.
    Rising(f64, f64),
    /// Power in the first half of each period and in the second, in watts, and the period.
    Switched(f64, f64, f64),
    /// Fluctuating power: the energy in joules until each multiple of 5 ms.
    Fluctuating(Vec<f64>),
}

/// Seconds between the points of a fluctuating load.
const GRID: f64 = 5e-3;

impl Load {
    /// Creates a load of this mean power for `seconds`, with fluctuations of this relative standard deviation and a correlation time of
    /// `memory` seconds.
    pub fn fluctuating(watts: f64, relative: f64, memory: f64, seconds: f64, seed: u64) -> Load {
        let random = Random(Cell::new(seed));
        let keep = (-GRID / memory).exp();
        let (mut joules, mut deviation) = (0.0, random.normal());
        let points = (0..=(seconds / GRID) as usize).map(|_| {
            let here = joules;
            deviation = keep * deviation + (1.0 - keep * keep).sqrt() * random.normal();
            joules += watts * (1.0 + relative * deviation) * GRID;
            here
        });
        Load::Fluctuating(points.collect())
    }

    /// The energy in joules from the start to this time.
    pub fn joules(&self, until: f64) -> f64 {
        let until = until.max(0.0);
        match self {
            Load::Steady(watts) => watts * until,
            Load::Rising(watts, more) => watts * until + more * until * until / 2.0,
            Load::Switched(on, off, period) => {
                let (whole, rest) = ((until / period).floor(), until % period);
                let half = period / 2.0;
                whole * half * (on + off) + on * rest.min(half) + off * (rest - half).max(0.0)
            }
            Load::Fluctuating(points) => {
                let at = until / GRID;
                let before = (at as usize).min(points.len().saturating_sub(2));
                match points.get(before..before + 2) {
                    Some(pair) => pair[0] + (pair[1] - pair[0]) * (at - before as f64),
                    None => 0.0,
                }
            }
        }
    }

    fn watts(&self, at: f64) -> f64 {
        const MOMENT: f64 = 1e-4;
        (self.joules(at) - self.joules(at - MOMENT)) / at.clamp(1e-9, MOMENT)
    }
}

impl Default for Behaviour {
    /// Like Hopper boards: steps every 99 to 106 ms, readings of 2.4 ms and at most 6.6 ms.
    fn default() -> Behaviour {
        Behaviour {
            load: Load::Steady(300.0),
            step: (0.099, 0.106),
            lag: 0.02,
            jitter: 0.007,
            call: (2.4e-3, 6.6e-3),
            samples: false,
            drift: 0.0,
            bits: 64,
            begins: 123_456_789,
            stall: None,
            reset: None,
            failures: 0.0,
            zeros: 0.0,
            instant: Some(0.1),
            instant_error: 0.0,
            temperature: (60.0, 60.0, 1.0),
            state: BoardState {
                sm_clock_mhz: Some(1980),
                memory_clock_mhz: Some(2619),
                temperature_celsius: None,
                power_limit_watts: Some(700.0),
                throttle_reasons: Some(0),
                foreign_processes: Some(0),
                partitioned: Some(false),
            },
        }
    }
}

/// A board in simulated time.
#[derive(Debug)]
pub struct SimulatedBoard {
    behaviour: Behaviour,
    now: Cell<f64>,
    random: Random,
    counter: RefCell<Counter>,
    polled: Cell<f64>,
}

#[derive(Debug)]
struct Counter {
    /// The time of the next step.
    next: f64,
    /// The time of the last step.
    stepped: f64,
    millijoules: f64,
    /// The value at the last reset.
    base: f64,
}

impl SimulatedBoard {
    /// Creates a board. The seed determines the times of its steps.
    pub fn new(behaviour: Behaviour, seed: u64) -> SimulatedBoard {
        let random = Random(Cell::new(seed));
        let next = random.uniform() * behaviour.step.1;
        SimulatedBoard {
            behaviour,
            now: Cell::new(0.0),
            counter: RefCell::new(Counter {
                next,
                stepped: 0.0,
                millijoules: 0.0,
                base: 0.0,
            }),
            random,
            polled: Cell::new(f64::NEG_INFINITY),
        }
    }

    /// The true mean power in watts between two readings at these times of the board's clock, whose values are `lag` and half of `jitter`
    /// old.
    pub fn true_watts(&self, from: f64, to: f64) -> f64 {
        let back = self.behaviour.lag + self.behaviour.jitter / 2.0;
        let load = &self.behaviour.load;
        (load.joules(to - back) - load.joules(from - back)) / (to - from)
    }

    fn advance(&self, to: f64) {
        self.now.set(to);
        let behaviour = &self.behaviour;
        let mut counter = self.counter.borrow_mut();
        while counter.next <= to {
            let at = counter.next;
            let (shortest, longest) = behaviour.step;
            counter.next += shortest + (longest - shortest) * self.random.uniform();
            let stalled = behaviour.stall.is_some_and(|(from, to)| (from..to).contains(&at));
            if stalled {
                continue;
            }
            let seen = at - behaviour.lag - behaviour.jitter * self.random.uniform();
            let joules = match behaviour.samples {
                true => counter.millijoules * 1e-3 + behaviour.load.watts(seen) * (at - counter.stepped),
                false => behaviour.load.joules(seen) * (1.0 + behaviour.drift * at / 2.0),
            };
            if behaviour
                .reset
                .is_some_and(|reset| (counter.stepped..at).contains(&reset))
            {
                counter.base = joules * 1e3 + behaviour.begins as f64;
            }
            counter.millijoules = joules * 1e3;
            counter.stepped = at;
        }
    }
}

impl Board for SimulatedBoard {
    fn now(&self) -> f64 {
        self.now.get()
    }

    fn rest(&self, seconds: f64) {
        self.advance(self.now.get() + seconds.max(0.0));
    }

    fn millijoules(&self) -> Result<u64> {
        let (median, most) = self.behaviour.call;
        let cost = (median * (0.3 * self.random.normal()).exp()).min(most);
        let within = cost * self.random.uniform();
        let asked = self.now.get();
        self.advance(asked + within);
        let value = {
            let counter = self.counter.borrow();
            (self.behaviour.begins as f64 + counter.millijoules - counter.base) as u64
        };
        self.advance(asked + cost);
        let chance = self.random.uniform();
        if chance < self.behaviour.failures {
            return Err(Error::Energy {
                reason: "the simulated counter fails".to_owned(),
            });
        }
        if chance < self.behaviour.failures + self.behaviour.zeros {
            return Ok(0);
        }
        Ok(match self.behaviour.bits {
            32 => value & 0xffff_ffff,
            _ => value,
        })
    }

    fn instant_watts(&self) -> Option<f64> {
        let refresh = self.behaviour.instant?;
        let now = self.now.get();
        // Boards return zeros if they are polled faster than every 50 ms.
        if now - self.polled.replace(now) < 0.049 {
            return None;
        }
        let at = (now / refresh).floor() * refresh;
        let seen = refresh / 4.0;
        let load = &self.behaviour.load;
        let watts = (load.joules(at) - load.joules(at - seen)) / seen;
        (watts > 0.0).then_some(watts * (1.0 + self.behaviour.instant_error))
    }

    fn state(&self) -> Result<BoardState> {
        let (first, last, constant) = self.behaviour.temperature;
        let celsius = last + (first - last) * (-self.now.get() / constant).exp();
        Ok(BoardState {
            temperature_celsius: Some(celsius.max(0.0) as u32),
            ..self.behaviour.state
        })
    }
}

/// Pseudo-random numbers (SplitMix64), determined by the seed.
#[derive(Debug)]
struct Random(Cell<u64>);

impl Random {
    fn next(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Uniform from 0 to 1.
    fn uniform(&self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Normal with mean 0 and variance 1 (Box–Muller).
    fn normal(&self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}
