//! The states of a board during a measurement, and the flags they raise.

use super::board::BoardState;
use energy_kernel_compiler::record::Flag;
use std::collections::VecDeque;

/// NVML's unwanted reasons for throttling: hardware slowdown, software and hardware thermal slowdown, power brake.
const THROTTLING: u64 = 0x8 | 0x20 | 0x40 | 0x80;

/// NVML's reason for throttling at the power limit.
const POWER_CAP: u64 = 0x4;

/// The largest relative range of the SM clock without a flag.
const CLOCK: f64 = 0.02;

/// The largest range of the temperature without a flag, in °C.
const TEMPERATURE: f64 = 3.0;

/// The states of a board during a measurement, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Survey {
    states: Vec<BoardState>,
}

impl Survey {
    /// Adds a state.
    pub fn add(&mut self, state: BoardState) {
        self.states.push(state);
    }

    /// The mean SM clock in MHz.
    pub fn sm_clock_mhz(&self) -> Option<f64> {
        mean(self.values(|state| state.sm_clock_mhz.map(f64::from)))
    }

    /// The mean memory clock in MHz.
    pub fn memory_clock_mhz(&self) -> Option<f64> {
        mean(self.values(|state| state.memory_clock_mhz.map(f64::from)))
    }

    /// The temperature at the end, in °C.
    pub fn temperature_celsius(&self) -> Option<f64> {
        self.values(|state| state.temperature_celsius.map(f64::from)).last()
    }

    /// The power limit at the end, in watts.
    pub fn power_limit_watts(&self) -> Option<f64> {
        self.values(|state| state.power_limit_watts).last()
    }

    /// All reasons for throttling, as NVML's bit mask.
    pub fn throttle_reasons(&self) -> u64 {
        let reasons = self.states.iter().filter_map(|state| state.throttle_reasons);
        reasons.fold(0, |all, seen| all | seen)
    }

    /// The flags that the states raise.
    pub fn flags(&self) -> Vec<Flag> {
        let reasons = self.throttle_reasons();
        let clock = self.sm_clock_mhz().unwrap_or(0.0);
        let clocks = range(self.values(|state| state.sm_clock_mhz.map(f64::from)));
        let temperatures = range(self.values(|state| state.temperature_celsius.map(f64::from)));
        let raised = [
            (reasons & THROTTLING != 0, Flag::Throttled),
            (reasons & POWER_CAP != 0, Flag::AtPowerLimit),
            (clocks > CLOCK * clock, Flag::ClockDrift),
            (temperatures > TEMPERATURE, Flag::TemperatureDrift),
            (
                self.states.iter().any(|state| state.foreign_processes > Some(0)),
                Flag::ForeignProcess,
            ),
        ];
        let mut flags: Vec<Flag> = raised
            .into_iter()
            .filter_map(|(raised, flag)| raised.then_some(flag))
            .collect();
        for unknown in self.states.iter().flat_map(BoardState::unknown) {
            if !flags.contains(&unknown) {
                flags.push(unknown);
            }
        }
        flags
    }

    fn values(&self, of: impl Fn(&BoardState) -> Option<f64>) -> impl Iterator<Item = f64> {
        self.states.iter().filter_map(of)
    }
}

impl Extend<BoardState> for Survey {
    fn extend<T: IntoIterator<Item = BoardState>>(&mut self, states: T) {
        self.states.extend(states);
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    (count > 0.0).then(|| sum / count)
}

/// The largest value minus the smallest; 0 without values.
fn range(values: impl Iterator<Item = f64>) -> f64 {
    let (least, most) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| {
        (least.min(value), most.max(value))
    });
    (most - least).max(0.0)
}

/// Detects that a board has warmed up: its temperature changed by less than 1 °C in 10 s.
///
/// NVML reports whole degrees, so it compares the means of the first two and the last two of these seconds.
#[derive(Debug, Clone, Default)]
pub struct Thermometer {
    readings: VecDeque<(f64, f64)>,
}

impl Thermometer {
    const SECONDS: f64 = 10.0;
    const EDGE: f64 = 2.0;

    /// Adds a reading in °C at a time in seconds.
    pub fn read(&mut self, at: f64, celsius: f64) {
        self.readings.push_back((at, celsius));
        while self.readings.get(1).is_some_and(|(time, _)| at - time >= Self::SECONDS) {
            self.readings.pop_front();
        }
    }

    /// `true` if the temperature has settled.
    pub fn settled(&self) -> bool {
        let (Some((first, _)), Some((last, _))) = (self.readings.front(), self.readings.back()) else {
            return false;
        };
        let at = |within: &dyn Fn(f64) -> bool| {
            mean(
                self.readings
                    .iter()
                    .filter(|(time, _)| within(*time))
                    .map(|(_, celsius)| *celsius),
            )
        };
        let early = at(&|time| time <= first + Self::EDGE);
        let late = at(&|time| time >= last - Self::EDGE);
        let moved = early.zip(late).map(|(early, late)| (late - early).abs());
        last - first >= Self::SECONDS && moved.is_some_and(|moved| moved < 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(clock: u32, temperature: u32) -> BoardState {
        BoardState {
            sm_clock_mhz: Some(clock),
            temperature_celsius: Some(temperature),
            throttle_reasons: Some(0),
            foreign_processes: Some(0),
            partitioned: Some(false),
            ..BoardState::default()
        }
    }

    fn flags(states: impl IntoIterator<Item = BoardState>) -> Vec<Flag> {
        let mut survey = Survey::default();
        survey.extend(states);
        survey.flags()
    }

    #[test]
    fn each_flag_is_raised_by_its_cause_alone() {
        assert_eq!(flags([]), []);
        assert_eq!(flags([state(1980, 60), state(1950, 63)]), []);
        assert_eq!(flags([state(1980, 60), state(1930, 60)]), [Flag::ClockDrift]);
        assert_eq!(
            flags([state(1980, 60), state(1980, 64), state(1980, 62)]),
            [Flag::TemperatureDrift]
        );
        let with = |change: fn(&mut BoardState)| {
            let mut changed = state(1980, 60);
            change(&mut changed);
            flags([state(1980, 60), changed, state(1980, 60)])
        };
        assert_eq!(with(|state| state.throttle_reasons = Some(0x4)), [Flag::AtPowerLimit]);
        for reason in [0x8, 0x20, 0x40, 0x80] {
            assert_eq!(
                flags([BoardState {
                    throttle_reasons: Some(reason),
                    ..state(1980, 60)
                }]),
                [Flag::Throttled]
            );
        }
        // Idle, and clocks set by an application.
        assert_eq!(with(|state| state.throttle_reasons = Some(0x3)), []);
        assert_eq!(with(|state| state.foreign_processes = Some(1)), [Flag::ForeignProcess]);
        // An unknown raises a flag, too.
        assert_eq!(with(|state| state.throttle_reasons = None), [Flag::ThrottlingUnknown]);
        assert_eq!(with(|state| state.foreign_processes = None), [Flag::ProcessesUnknown]);
        assert_eq!(with(|state| state.partitioned = None), [Flag::PartitionsUnknown]);
    }

    #[test]
    fn a_survey_keeps_mean_clocks_and_the_last_temperature() {
        let mut survey = Survey::default();
        survey.extend([state(1900, 60), BoardState::default(), state(1920, 62)]);
        assert_eq!(
            (survey.sm_clock_mhz(), survey.temperature_celsius()),
            (Some(1910.0), Some(62.0))
        );
        assert_eq!((survey.memory_clock_mhz(), survey.power_limit_watts()), (None, None));
    }

    #[test]
    fn a_board_has_warmed_up_when_its_temperature_settles() {
        // From 40 to 70 °C with a time constant of 8 s: it changes by less than 1 °C in 10 s from about 25 s on.
        let mut thermometer = Thermometer::default();
        let settled = (0..600).find(|i| {
            let time = f64::from(*i) * 0.1;
            thermometer.read(time, (70.0 - 30.0 * (-time / 8.0).exp()).floor());
            thermometer.settled()
        });
        let seconds = f64::from(settled.expect("it settles")) * 0.1;
        assert!((22.0..45.0).contains(&seconds), "{seconds}");
        // A constant temperature needs the ten seconds. A flickering reading settles as well.
        let mut thermometer = Thermometer::default();
        for i in 0..=100u32 {
            assert!(!thermometer.settled(), "{i}");
            thermometer.read(f64::from(i) * 0.1, 65.0 + f64::from(i % 2));
        }
        assert!(thermometer.settled());
    }
}
