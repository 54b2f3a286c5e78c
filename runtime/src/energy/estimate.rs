//! Estimates watts from readings of the counter. Pure: it takes times as arguments and reads no device.
//!
//! A step of the counter is seen late, by a part of the time between two readings and by the jitter of the board's own clock. These delays
//! cause the error: the energy between two ticks is exact, the time between them is not. The estimate is the slope between the mean of the
//! first two ticks and the mean of the last two. `cargo bench --bench energy --features energy` compares estimators in simulated time:
//!
//! - The difference between the first and the last tick has a third more error.
//! - A least-squares line has a third to a half less error if power is steady. If power fluctuates by 1 % it has more than twice the error
//!   over 5 s, and its intervals hold the true power only half of the time: it weighs the middle of the window more than its ends.
//!
//! The spread of the delays comes from the ticks themselves: the distance of each tick from the line between its neighbours (a second
//! difference), which slow changes of power hardly affect.

/// A reading of the counter that shows a step of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tick {
    /// When it was seen, in seconds.
    pub at: f64,
    /// The step happened at most this many seconds before.
    pub gap: f64,
    /// The energy since the first reading, in joules.
    pub joules: f64,
}

/// Mean power between ticks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Power {
    /// Watts of the whole board.
    pub watts: f64,
    /// Half the width of the 95 % confidence interval, in watts. It covers this window, not the next one.
    pub interval: f64,
    /// The start and the end in seconds, on the clock of the readings.
    pub span: (f64, f64),
    /// The number of ticks used.
    pub ticks: usize,
}

/// The number of ticks averaged at each end of a window.
const EDGE: usize = 2;

/// A tick is left out if its gap exceeds the median by this factor: something held up the readings.
const WIDE: f64 = 3.0;

/// Some drivers count in 32 bits.
const WRAP: u64 = 1 << 32;

/// The most power that a board can draw, in watts. A reading beyond it is wrong.
const MOST_WATTS: f64 = 20_000.0;

/// The longest time in seconds that the counter may lag before it shows the energy of that time at once.
const MOST_LAG: f64 = 1.0;

/// More implausible readings than this in a row mean that the counter was reset.
const MOST_ODD: u32 = 3;

/// The steps of a counter, found in its readings.
///
/// A reading that is below the previous one, or implausibly far above it, is ignored. If such readings persist, the counter was reset, and
/// the ticks start anew. A 32-bit counter may wrap.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ticks {
    ticks: Vec<Tick>,
    last: Option<Reading>,
    /// The time and the value of the first reading.
    began: f64,
    first: u64,
    odd: u32,
    resets: u32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Reading {
    asked: f64,
    /// The value as it was read.
    raw: u64,
    /// The value without wraps.
    millijoules: u64,
}

impl Ticks {
    /// Adds a reading that was requested and answered at these times. Returns `true` if it shows a step.
    pub fn read(&mut self, asked: f64, answered: f64, raw: u64) -> bool {
        let Some(last) = self.last else {
            self.begin(asked, raw);
            return false;
        };
        let wrapped = raw < last.raw && last.raw < WRAP && last.raw >= WRAP / 16 * 15 && raw < WRAP / 16;
        let moved = match wrapped {
            true => Some(raw + WRAP - last.raw),
            false => raw.checked_sub(last.raw),
        };
        let quiet_since = self.ticks.last().map_or(last.asked, |tick| tick.at - tick.gap);
        let most = MOST_WATTS * 1e3 * (answered - quiet_since + MOST_LAG);
        let Some(moved) = moved.filter(|&moved| moved as f64 <= most) else {
            self.odd += 1;
            if self.odd > MOST_ODD {
                *self = Ticks {
                    resets: self.resets + 1,
                    ..Ticks::default()
                };
                self.begin(asked, raw);
            }
            return false;
        };
        self.odd = 0;
        let millijoules = last.millijoules + moved;
        // A thread may pause between the request and its look at the clock, so the gap starts before the last request.
        if moved > 0 {
            self.ticks.push(Tick {
                at: answered,
                gap: answered - last.asked,
                joules: (millijoules - self.first) as f64 * 1e-3,
            });
        }
        self.last = Some(Reading {
            asked,
            raw,
            millijoules,
        });
        moved > 0
    }

    fn begin(&mut self, asked: f64, raw: u64) {
        (self.began, self.first) = (asked, raw);
        self.last = Some(Reading {
            asked,
            raw,
            millijoules: raw,
        });
    }

    /// The steps so far.
    pub fn ticks(&self) -> &[Tick] {
        &self.ticks
    }

    /// The energy from the first reading to the last, in joules.
    pub fn joules(&self) -> f64 {
        self.last
            .map_or(0.0, |reading| (reading.millijoules - self.first) as f64 * 1e-3)
    }

    /// The number of resets of the counter.
    pub fn resets(&self) -> u32 {
        self.resets
    }

    /// The time of the last step, else of the first reading.
    pub fn last_moved(&self) -> f64 {
        self.ticks.last().map_or(self.began, |tick| tick.at)
    }
}

impl Tick {
    /// The most likely time of the step.
    fn middle(&self) -> f64 {
        self.at - self.gap / 2.0
    }
}

/// Estimates the mean power over these ticks. `None` if there are too few.
///
/// ```text
///   P = (Ē_last − Ē_first) / (t̄_last − t̄_first),        the means over two ticks at each end
///   d_i = (t_i − E_i/P) − ½ (t_{i−1} − E_{i−1}/P) − ½ (t_{i+1} − E_{i+1}/P),      σ² = Σ d² / (n − 2) / 1.5
///   interval = P · t_{0.975} · σ · √(2/2) / (t̄_last − t̄_first)
/// ```
/// where `t` is Student's quantile at 0.6 (n − 2) degrees of freedom. The factor 0.6 accounts for overlapping second differences; the
/// benchmark measures the resulting coverage.
pub fn mean_power(ticks: &[Tick]) -> Option<Power> {
    let mut gaps: Vec<f64> = ticks.iter().map(|tick| tick.gap).collect();
    gaps.sort_by(f64::total_cmp);
    let usual = *gaps.get(gaps.len() / 2)?;
    let points: Vec<(f64, f64)> = ticks
        .iter()
        .filter(|tick| tick.gap <= WIDE * usual)
        .map(|tick| (tick.middle(), tick.joules))
        .collect();
    if points.len() < 2 * EDGE {
        return None;
    }
    let mean = |points: &[(f64, f64)]| {
        let (times, joules) = points
            .iter()
            .fold((0.0, 0.0), |(t, e), point| (t + point.0, e + point.1));
        (times / points.len() as f64, joules / points.len() as f64)
    };
    let (start, before) = mean(&points[..EDGE]);
    let (end, after) = mean(&points[points.len() - EDGE..]);
    let seconds = end - start;
    let watts = (after - before) / seconds;
    if !(seconds > 0.0 && watts > 0.0) {
        return None;
    }
    let delays: Vec<f64> = points.iter().map(|(time, joules)| time - joules / watts).collect();
    let squares: f64 = delays
        .windows(3)
        .map(|three| (three[1] - (three[0] + three[2]) / 2.0).powi(2))
        .sum();
    let freedom = (points.len() - 2) as f64;
    let delay = (squares / freedom / 1.5).sqrt();
    let edges = (2.0 / EDGE as f64).sqrt();
    Some(Power {
        watts,
        // The counter counts whole millijoules.
        interval: (watts * students_quantile(0.6 * freedom) * delay * edges + 1e-3) / seconds,
        span: (start, end),
        ticks: points.len(),
    })
}

/// Half the width of the 95 % confidence interval of a mean, in units of its standard error, for Student's distribution with this many
/// degrees of freedom (at least 1).
///
/// From 4 degrees on it uses the Cornish–Fisher expansion (Abramowitz and Stegun 26.7.5), which is exact to 0.2 %; below, a table.
pub fn students_quantile(freedom: f64) -> f64 {
    const TABLE: [f64; 4] = [12.706, 4.303, 3.182, 2.776];
    const Z: f64 = 1.959_964;
    let below = freedom.max(1.0);
    if below < 4.0 {
        let (whole, part) = (below.floor(), below.fract());
        let at = whole as usize - 1;
        return TABLE[at] + part * (TABLE[at + 1] - TABLE[at]);
    }
    let powers = [Z.powi(3), Z.powi(5), Z.powi(7)];
    Z + (powers[0] + Z) / (4.0 * freedom)
        + (5.0 * powers[1] + 16.0 * powers[0] + 3.0 * Z) / (96.0 * freedom.powi(2))
        + (3.0 * powers[2] + 19.0 * powers[1] + 17.0 * powers[0] - 15.0 * Z) / (384.0 * freedom.powi(3))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Readings every 4 ms of a counter that steps every 100 ms, of a board that draws 300 W.
    fn readings(count: u64, first: u64) -> impl Iterator<Item = (f64, f64, u64)> {
        (0..count).map(move |i| {
            let asked = 4e-3 * i as f64;
            (asked, asked + 1e-3, first + i / 25 * 30_000)
        })
    }

    fn ticks_of(readings: impl Iterator<Item = (f64, f64, u64)>) -> Ticks {
        let mut ticks = Ticks::default();
        for (asked, answered, raw) in readings {
            ticks.read(asked, answered, raw);
        }
        ticks
    }

    #[test]
    fn steady_power_is_estimated_between_ticks() {
        let ticks = ticks_of(readings(526, 1_000_000));
        assert_eq!(ticks.ticks().len(), 21);
        assert!((ticks.ticks()[0].gap - 5e-3).abs() < 1e-9, "{ticks:?}");
        let power = mean_power(ticks.ticks()).expect("enough ticks");
        assert!((power.watts - 300.0).abs() < 1e-6, "{power:?}");
        assert!((power.span.1 - power.span.0 - 1.9).abs() < 1e-9 && power.ticks == 21);
        assert!(power.interval < 1e-3, "{power:?}");
    }

    #[test]
    fn too_few_ticks_give_no_estimate() {
        assert_eq!(mean_power(&[]), None);
        assert_eq!(mean_power(ticks_of(readings(76, 0)).ticks()), None);
        assert!(mean_power(ticks_of(readings(101, 0)).ticks()).is_some());
        // A counter that steps without energy.
        let still = [Tick {
            at: 1.0,
            gap: 0.0,
            joules: 5.0,
        }; 9];
        assert_eq!(mean_power(&still), None);
    }

    #[test]
    fn a_late_tick_is_left_out() {
        let mut ticks = ticks_of(readings(526, 0)).ticks().to_vec();
        let last = ticks.len() - 1;
        ticks[last].at += 0.08;
        ticks[last].gap += 0.08;
        let power = mean_power(&ticks).expect("enough ticks");
        assert!((power.watts - 300.0).abs() < 1e-6 && power.ticks == 20, "{power:?}");
    }

    #[test]
    fn wrong_readings_are_ignored_and_wraps_are_not() {
        let expected = ticks_of(readings(526, 0));
        // Zero, a number of another magnitude, and one below the previous.
        let spoiled = readings(526, 5_000_000)
            .enumerate()
            .map(|(i, (asked, answered, raw))| match i {
                60 => (asked, answered, 0),
                130 => (asked, answered, u64::MAX),
                217 => (asked, answered, raw - 100),
                _ => (asked, answered, raw),
            });
        let ticks = ticks_of(spoiled);
        assert_eq!(ticks.ticks().len(), expected.ticks().len());
        assert!((mean_power(ticks.ticks()).expect("enough").watts - 300.0).abs() < 1e-6);

        let wrapping = readings(526, WRAP - 100_000).map(|(asked, answered, raw)| (asked, answered, raw % WRAP));
        assert_eq!(ticks_of(wrapping).ticks(), expected.ticks());
    }

    #[test]
    fn a_reset_starts_the_ticks_anew() {
        let reset = readings(1052, 9_000_000).map(|(asked, answered, raw)| match raw {
            9_600_000.. => (asked, answered, raw - 9_600_000),
            _ => (asked, answered, raw),
        });
        let ticks = ticks_of(reset);
        assert!(ticks.ticks().len() < 25 && ticks.ticks()[0].at > 2.0, "{ticks:?}");
        assert!((mean_power(ticks.ticks()).expect("enough").watts - 300.0).abs() < 1e-6);
    }

    #[test]
    fn students_quantiles() {
        // From tables, at 97.5 %.
        for (freedom, quantile) in [
            (1, 12.706),
            (2, 4.303),
            (4, 2.776),
            (5, 2.571),
            (7, 2.365),
            (10, 2.228),
            (30, 2.042),
            (1000, 1.962),
        ] {
            let found = students_quantile(f64::from(freedom));
            assert!((found / quantile - 1.0).abs() < 2.5e-3, "{freedom}: {found}");
        }
        assert_eq!(students_quantile(0.0), 12.706);
        assert!((students_quantile(2.5) - 3.7425).abs() < 1e-9);
    }
}
