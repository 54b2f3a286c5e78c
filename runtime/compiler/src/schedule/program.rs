//! Programs: what stages store, and a schedule for each stage.

use crate::families::{ParseScheduleError, Schedule};
use bincode::{Decode, Encode};
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

/// A way to compute an operator in one or several launches.
///
/// A stage is an operator of its own. Its inputs are those of the whole operator and what earlier stages stored. A lone stage computes all
/// results; its text is that of its schedule. Several stages read `store=2; row …; contract …`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct Program {
    /// The numbers, ascending, of what the stages but the last one store: values, inputs with their dimensions permuted, and results. They
    /// count in the operator's canonical form.
    pub stored: Vec<u32>,
    /// The schedule of each stage, in launch order; the last one computes the other results.
    pub stages: Vec<Schedule>,
}

/// The most values that a program stores.
pub const MOST_STORED: usize = 4;

impl Program {
    /// The schedule of a program of one stage; none of another.
    pub fn lone(&self) -> Option<&Schedule> {
        match self.stages.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// The family of the last stage.
    pub fn family(&self) -> &'static str {
        self.stages.last().map_or("none", Schedule::family)
    }

    /// `true` if the number of stages fits the stored values, and these ascend.
    pub fn is_valid(&self) -> bool {
        self.stages.len() == self.stored.len() + 1
            && self.stored.len() <= MOST_STORED
            && self.stored.is_sorted_by(|a, b| a < b)
    }
}

impl From<Schedule> for Program {
    fn from(schedule: Schedule) -> Program {
        Program {
            stored: Vec::new(),
            stages: vec![schedule],
        }
    }
}

impl From<&Schedule> for Program {
    fn from(schedule: &Schedule) -> Program {
        Program::from(*schedule)
    }
}

impl From<&Program> for Program {
    fn from(program: &Program) -> Program {
        program.clone()
    }
}

impl Display for Program {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.stored.is_empty() {
            let stored: Vec<String> = self.stored.iter().map(u32::to_string).collect();
            write!(f, "store={}; ", stored.join(","))?;
        }
        for (number, stage) in self.stages.iter().enumerate() {
            write!(f, "{}{stage}", if number == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl FromStr for Program {
    type Err = ParseScheduleError;

    fn from_str(text: &str) -> Result<Program, ParseScheduleError> {
        let mut parts = text.split(';').map(str::trim).peekable();
        let numbers = parts.next_if(|part| part.starts_with("store="));
        let wrong = |value: &str| ParseScheduleError::Value {
            key: "store",
            value: value.to_owned(),
            expected: "ascending numbers, one for each stage but the last",
        };
        let stored = match numbers.and_then(|part| part.strip_prefix("store=")) {
            None => Vec::new(),
            Some(list) => (list.split(','))
                .map(|number| number.parse().map_err(|_| wrong(list)))
                .collect::<Result<_, _>>()?,
        };
        let program = Program {
            stored,
            stages: parts.map(str::parse).collect::<Result<_, _>>()?,
        };
        match program.is_valid() {
            true => Ok(program),
            false => {
                let stored: Vec<String> = program.stored.iter().map(u32::to_string).collect();
                Err(wrong(&stored.join(",")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_reads_back() {
        for text in [
            "plain threads=128",
            "store=2; plain threads=64; window threads=128 rows=2 columns=4",
            "store=0,3; plain threads=64; plain threads=128; plain threads=256",
        ] {
            let program: Program = text.parse().unwrap();
            assert_eq!(program.to_string(), text);
            assert_eq!(program.lone().is_some(), program.stages.len() == 1);
        }
    }

    #[test]
    fn nonsense_is_named() {
        let error = |text: &str| text.parse::<Program>().unwrap_err().to_string();
        let store = |value: &str| {
            format!("`store={value}` is not understood: ascending numbers, one for each stage but the last is expected")
        };
        assert_eq!(error("plain threads=1; plain threads=2"), store(""));
        assert_eq!(
            error("store=3,2; plain threads=1; plain threads=2; plain threads=4"),
            store("3,2")
        );
        assert_eq!(error("store=x; plain threads=1; plain threads=2"), store("x"));
        assert_eq!(error("store=1; plain"), "`threads=…` is missing");
        assert!(error("").contains("is no family of kernels"));
    }
}
