//! The progress display of a tuning: measurements left, the best result, the current candidate, time left.

use crate::interrupt;
use crate::output::plain;
use crate::quantity::{count, joules, seconds};
use energy_kernel_build::tune::Step;
use indicatif::{HumanDuration, ProgressBar, ProgressState, ProgressStyle};
use miette::IntoDiagnostic;
use std::cell::RefCell;
use std::fmt::Write;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Two lines at the bottom of the terminal. Shows nothing without a terminal.
#[derive(Clone)]
pub struct Progress {
    bar: ProgressBar,
    current: Rc<RefCell<Current>>,
}

#[derive(Default)]
struct Current {
    operator: String,
    sizes: String,
    /// The current step. The terminal's width cuts it off.
    doing: String,
    latency: Option<f64>,
    /// The least joules, and the seconds of that candidate.
    least: Option<(f64, f64)>,
    rejected: usize,
    /// The error of the last measurement of this size that could not be written.
    not_kept: Option<String>,
}

impl Progress {
    /// A display for work that ends at `end` at the latest.
    pub fn new(hidden: bool, end: Instant) -> miette::Result<Progress> {
        let bar = match hidden {
            true => ProgressBar::hidden(),
            false => ProgressBar::new(0),
        };
        let left = move |_: &ProgressState, text: &mut dyn Write| {
            let left = end.saturating_duration_since(Instant::now());
            let _ = write!(text, "{}", HumanDuration(Duration::from_secs(left.as_secs())));
        };
        let style =
            ProgressStyle::with_template("{bar:16} {pos}/{len} sizes, at most {left} left: {prefix}\n  {wide_msg}");
        bar.set_style(style.into_diagnostic()?.with_key("left", left));
        Ok(Progress {
            bar,
            current: Rc::default(),
        })
    }

    /// Begins with the number of sizes to tune.
    pub fn begin(&self, jobs: usize) {
        self.bar.set_length(jobs as u64);
        // Keep the time left current during long measurements.
        self.bar.enable_steady_tick(Duration::from_millis(250));
    }

    /// Begins the next size of an operator.
    pub fn job(&self, operator: &str, sizes: &str) {
        *self.current.borrow_mut() = Current {
            operator: operator.to_owned(),
            sizes: sizes.to_owned(),
            ..Current::default()
        };
        self.bar.set_prefix(format!("{operator} ({sizes})"));
        self.show();
    }

    /// Shows a step of the tuner.
    pub fn step(&self, step: Step<'_>) {
        let mut current = self.current.borrow_mut();
        match step {
            Step::Stage { number, of } => {
                (current.latency, current.least) = (None, None);
                current.doing = format!("tuning stage {} of {of} by itself", number + 1);
            }
            Step::Whole => (current.latency, current.least) = (None, None),
            Step::Candidate { number, of, program } => {
                current.doing = format!(
                    "{} to time, now {program}",
                    count(of.saturating_sub(number), "candidate")
                );
            }
            Step::Energy { number, of, program } => {
                let left = count(of.saturating_sub(number), "energy measurement");
                current.doing = format!("{left} to go, now {program}");
            }
            Step::Rejected { rejected } => {
                current.rejected += 1;
                if rejected.reason.is_defect() {
                    let complaint = rejected.complaint(&current.operator, &current.sizes);
                    self.bar.suspend(|| complain!("warning: {}", plain(complaint)));
                }
            }
            Step::NoWorker { why } => {
                let said = format!(
                    "warning: {}; a candidate that faults will end the whole tuning",
                    plain(why)
                );
                self.bar.suspend(|| complain!("{said}"));
            }
            Step::NoEnergy { why } => {
                let said = format!("warning: {}; only latencies will be measured", plain(why));
                self.bar.suspend(|| complain!("{said}"));
            }
            Step::Kept => interrupt::kept(),
            Step::NotKept { why } => {
                interrupt::not_kept(why);
                current.not_kept = Some(why.to_owned());
            }
            Step::Timed { seconds } => {
                current.latency = Some(current.latency.map_or(seconds, |best| best.min(seconds)));
            }
            Step::Measured { seconds, joules } => {
                if current.least.is_none_or(|(least, _)| joules < least) {
                    current.least = Some((joules, seconds));
                }
            }
        }
        drop(current);
        self.show();
    }

    /// The reason that measurements of this size are not in the journal. `None` if they are.
    pub fn not_kept(&self) -> Option<String> {
        self.current.borrow().not_kept.clone()
    }

    /// Ends a size.
    pub fn done(&self) {
        self.bar.inc(1);
    }

    /// Prints above the display.
    pub fn suspend(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }

    /// Removes the display.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }

    fn show(&self) {
        self.bar.set_message(self.current.borrow().text());
    }
}

impl Current {
    fn text(&self) -> String {
        let best = match (self.least, self.latency) {
            (Some((least, time)), _) => format!("best {} in {}; ", joules(least), seconds(time)),
            (None, Some(time)) => format!("best {}; ", seconds(time)),
            (None, None) => String::new(),
        };
        let rejected = match self.rejected {
            0 => String::new(),
            rejected => format!("{rejected} rejected; "),
        };
        best + &rejected + &self.doing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use energy_kernel_compiler::record::{Reason, Rejected};
    use energy_kernel_compiler::schedule::Program;

    #[test]
    fn it_says_what_is_done_what_is_best_and_what_is_left() {
        let progress = Progress::new(true, Instant::now()).unwrap();
        let program: Program = "plain threads=128".parse().unwrap();
        progress.job("total", "R = 4");
        progress.step(Step::Candidate {
            number: 2,
            of: 6,
            program: &program,
        });
        progress.step(Step::Timed { seconds: 3e-6 });
        progress.step(Step::Timed { seconds: 2e-6 });
        let text = || progress.current.borrow().text();
        assert_eq!(text(), "best 2.00 µs; 4 candidates to time, now plain threads=128");
        progress.step(Step::Energy {
            number: 0,
            of: 2,
            program: &program,
        });
        progress.step(Step::Measured {
            seconds: 2e-6,
            joules: 4e-3,
        });
        progress.step(Step::Measured {
            seconds: 3e-6,
            joules: 3e-3,
        });
        assert_eq!(
            text(),
            "best 3.00 mJ in 3.00 µs; 2 energy measurements to go, now plain threads=128"
        );
        let rejected = Rejected::new(&program, Reason::Spills, "8 bytes a thread");
        progress.step(Step::Rejected { rejected: &rejected });
        assert_eq!(
            text(),
            "best 3.00 mJ in 3.00 µs; 1 rejected; 2 energy measurements to go, now plain threads=128"
        );
        progress.job("mean", "R = 4");
        assert_eq!(text(), "", "the best of another");
    }
}
