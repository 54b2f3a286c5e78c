//! The power of a board over simulated time, and its energy counter.

use crate::cost::Cost;
use crate::settings::Settings;
use std::collections::VecDeque;

/// The age in seconds at which finished work is folded into a sum.
const HORIZON: f64 = 5.0;

/// The power of a board over time. Times are seconds since the first call.
#[derive(Default)]
pub struct Power {
    idle_watts: f64,
    /// Constant power instead of the simulated one.
    fixed_watts: Option<f64>,
    /// Begin, end, and joules above idle of each piece of work.
    work: VecDeque<(f64, f64, f64)>,
    settled: f64,
}

impl Power {
    pub fn new(idle_watts: f64, settings: &Settings) -> Power {
        Power {
            idle_watts,
            fixed_watts: settings.watts,
            ..Power::default()
        }
    }

    pub fn add(&mut self, begin: f64, cost: Cost) {
        self.work.push_back((begin, begin + cost.seconds, cost.joules));
        while let Some(&(_, end, joules)) = self.work.front()
            && end < begin - HORIZON
        {
            self.settled += joules;
            self.work.pop_front();
        }
    }

    /// Returns the joules drawn from time 0 until `at`. Before time 0 the board is idle.
    pub fn joules(&self, at: f64) -> f64 {
        if let Some(watts) = self.fixed_watts {
            return watts * at;
        }
        let part = |&(begin, end, joules): &(f64, f64, f64)| match end > begin {
            true => joules * ((at - begin) / (end - begin)).clamp(0.0, 1.0),
            false => joules * f64::from(at >= end),
        };
        self.idle_watts * at + self.settled + self.work.iter().map(part).sum::<f64>()
    }

    /// Returns the mean watts of the quarter of a tick before `at`, as instant power does.
    pub fn watts(&self, at: f64, tick: f64) -> f64 {
        let width = (tick / 4.0).max(1e-3);
        (self.joules(at) - self.joules(at - width)) / width
    }
}

/// An energy counter. Like Hopper's it moves in steps of nearly equal length and lags a little.
pub struct Counter {
    /// Seconds of a step. 0: the counter stands still.
    step: f64,
    bits: u32,
    first: u64,
    last: f64,
    next: f64,
    random: u32,
}

impl Counter {
    pub fn new(settings: &Settings) -> Counter {
        Counter {
            step: settings.tick_ms * 1e-3,
            bits: settings.counter_bits,
            first: settings.counter_first,
            last: 0.0,
            next: 0.0,
            random: 1,
        }
    }

    /// Returns the seconds that a reading takes.
    pub fn reading(&self) -> f64 {
        0.024 * self.step
    }

    /// Returns the seconds of a step.
    pub fn step(&self) -> f64 {
        self.step
    }

    /// Returns the millijoules shown at `now`. Calls come in the order of time.
    pub fn read(&mut self, now: f64, power: &Power) -> u64 {
        if self.step > 0.0 {
            while self.next <= now {
                self.last = self.next;
                self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // 99 to 106 ms where the step is 100.
                self.next += self.step * (0.99 + 0.01 * f64::from((self.random >> 16) % 8));
            }
        }
        let seen = power.joules(self.last - 0.2 * self.step);
        let shown = self.first.saturating_add_signed((seen * 1e3) as i64);
        match self.bits {
            32 => shown & u64::from(u32::MAX),
            _ => shown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_drawn_while_it_runs() {
        let mut power = Power::new(100.0, &Settings::default());
        power.add(
            1.0,
            Cost {
                seconds: 0.5,
                joules: 50.0,
            },
        );
        assert_eq!(power.joules(1.0), 100.0);
        assert_eq!(power.joules(1.25), 150.0);
        assert_eq!(power.joules(2.0), 250.0);
        assert!((power.watts(1.5, 0.1) - 200.0).abs() < 1e-9);
        power.add(
            10.0,
            Cost {
                seconds: 0.0,
                joules: 3.0,
            },
        );
        assert_eq!(power.joules(10.0), 1053.0);
    }

    #[test]
    fn the_counter_moves_in_steps_of_a_hundred_milliseconds() {
        let settings = Settings {
            watts: Some(300.0),
            ..Settings::default()
        };
        let (power, mut counter) = (Power::new(0.0, &settings), Counter::new(&settings));
        let shown: Vec<u64> = (0..10_000)
            .map(|ms| counter.read(f64::from(ms) * 1e-3, &power))
            .collect();
        let steps = shown.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!((94..=101).contains(&steps), "{steps}");
        assert!((shown[9_999] - shown[0]).abs_diff(3_000_000) < 60_000);
    }
}
