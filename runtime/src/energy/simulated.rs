//! A board in simulated time, whose true energy is known: for tests of what measures, and for the benchmark of the estimator. Nothing sleeps.
//!
//! ```text
//!   load ── joules(t) ──▶ step k at s_k:  value = joules(s_k − lag − jitter) ── drift, wrap, stall ──▶ a reading, after its call's cost
//! ```

use super::board::{Board, BoardState};
use crate::error::{Error, Result};
use std::cell::{Cell, RefCell};

/// What the board does, and how its counter behaves. Times in seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Behaviour {
    /// What it draws.
    pub load: Load,
    /// The shortest and the longest time between steps of the counter.
    pub step: (f64, f64),
    /// A step shows the energy of so long ago at least,
    pub lag: f64,
    /// and up to so much longer ago.
    pub jitter: f64,
    /// What a reading takes: the median, and the most.
    pub call: (f64, f64),
    /// Whether the counter samples power when it steps, instead of adding all of it up.
    pub samples: bool,
    /// The counter errs by this part more each second.
    pub drift: f64,
    /// Bits of the counter: 64 or 32.
    pub bits: u32,
    /// Where it begins, in millijoules.
    pub begins: u64,
    /// It stands still from the first time to the second.
    pub stall: Option<(f64, f64)>,
    /// It begins anew at this time.
    pub reset: Option<f64>,
    /// The part of readings that fail.
    pub failures: f64,
    /// The part of readings that are zero.
    pub zeros: f64,
    /// Instant power is refreshed so often, and sees the quarter of the time before; none: the board does not say.
    pub instant: Option<f64>,
    /// Instant power errs by this part.
    pub instant_error: f64,
    /// Temperature in °C: at first, in the end, and the time constant.
    pub temperature: (f64, f64, f64),
    /// The rest of the board's state.
    pub state: BoardState,
}

/// What a board draws.
#[derive(Debug, Clone, PartialEq)]
pub enum Load {
    /// Watts.
    Steady(f64),
    /// Watts at first, and so many more each second.
    Rising(f64, f64),
    /// Watts in the first half of each period, watts in the second, and the period.
    Switched(f64, f64, f64),
    /// Watts that fluctuate: the joules until each multiple of 5 ms.
    Fluctuating(Vec<f64>),
}

/// Between the points of a fluctuating load.
const GRID: f64 = 5e-3;

impl Load {
    /// Mean watts, with fluctuations of this relative standard deviation that are forgotten after about `memory` seconds; for `seconds`.
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

    /// Joules from the start to a time.
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
    /// As seen on Hopper boards: steps every 99 to 106 ms, readings that take 2.4 ms and 6.6 ms at most.
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
pub struct Simulated {
    behaviour: Behaviour,
    now: Cell<f64>,
    random: Random,
    counter: RefCell<Counter>,
    polled: Cell<f64>,
}

#[derive(Debug)]
struct Counter {
    /// When it steps next.
    next: f64,
    /// The time of its last step.
    stepped: f64,
    millijoules: f64,
    /// Where it began anew.
    base: f64,
}

impl Simulated {
    /// A board. Its steps fall where the seed says.
    pub fn new(behaviour: Behaviour, seed: u64) -> Simulated {
        let random = Random(Cell::new(seed));
        let next = random.uniform() * behaviour.step.1;
        Simulated {
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

    /// The mean power in truth, between two times of the board's clock; what the counter shows then lies `lag` and half of `jitter` back.
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

impl Board for Simulated {
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
        // Polled faster than every 50 ms, it gives zeros.
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

/// Pseudo-random numbers (SplitMix64): the same for the same seed.
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

    /// From 0 to 1.
    fn uniform(&self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// With mean 0 and variance 1 (Box and Muller).
    fn normal(&self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}
