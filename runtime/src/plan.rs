//! What is known of the kernel that a call uses.

use crate::choice::Choice;
use energy_kernel_compiler::record::{DeviceClass, Estimate, Match};
use energy_kernel_compiler::repeated::Repeated;
use energy_kernel_compiler::schedule::Program;
use energy_kernel_compiler::size::{Sizes, Specialisation};
use energy_kernel_compiler::text::{counted, quantity};
use std::fmt::{Display, Formatter};
use std::sync::Arc;

/// Which kernel a call uses, why, and what is known of it. `Display` says it in a few lines.
#[derive(Clone)]
pub struct Plan {
    choice: Arc<Choice>,
}

/// Where a kernel comes from.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Origin {
    /// Measurements chose it.
    Tuned {
        /// The device it was measured on.
        device: DeviceClass,
        /// How well that device stands for this one.
        matches: Match,
        /// Where the results lie.
        place: Place,
        /// The sizes it was measured at.
        sizes: Sizes,
        /// Whether the compiler has changed since: the kernel is right, but it is not the one that was measured.
        stale: bool,
    },
    /// A formula chose it.
    Untuned {
        /// Why nothing tuned could be used.
        reason: String,
    },
}

/// Where results of tuning lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Embedded in the program by the build.
    Embedded,
    /// In the user's cache.
    UserCache,
}

/// Latency and energy of one launch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Seconds.
    pub latency: Estimate,
    /// Joules, where they were measured.
    pub energy: Option<Estimate>,
    /// Whether they were simulated, not measured.
    pub simulated: bool,
}

/// A launch of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlannedLaunch {
    /// Blocks in x, y, z; 0 of an axis makes the launch empty. None if the grid is beyond the limits of a GPU.
    pub grid: Option<[u32; 3]>,
    /// Threads of a block in x, y, z.
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory of a block.
    pub dynamic_shared: u32,
}

/// A point of the Pareto front of latency and energy.
#[derive(Debug, Clone, PartialEq)]
pub struct Alternative {
    /// How it computes.
    pub program: Program,
    /// Its figures; none where they are another kernel's by now.
    pub figures: Option<Figures>,
    /// Whether the objective chose it.
    pub chosen: bool,
}

impl Plan {
    pub(crate) fn new(choice: Choice) -> Plan {
        Plan {
            choice: Arc::new(choice),
        }
    }

    pub(crate) fn choice(&self) -> &Choice {
        &self.choice
    }

    /// The operator's name.
    pub fn operator(&self) -> &str {
        &self.choice.operator
    }

    /// The sizes of the call, derived ones included.
    pub fn sizes(&self) -> &Sizes {
        &self.choice.named_sizes
    }

    /// The device it is for.
    pub fn device(&self) -> &DeviceClass {
        &self.choice.device
    }

    /// Where the kernel comes from.
    pub fn origin(&self) -> &Origin {
        &self.choice.origin
    }

    /// Whether measurements chose the kernel.
    pub fn is_tuned(&self) -> bool {
        matches!(self.choice.origin, Origin::Tuned { .. })
    }

    /// How the kernel computes.
    pub fn program(&self) -> &Program {
        &self.choice.key.program
    }

    /// What the kernel is compiled to know; it is right for every call that this accepts.
    pub fn specialisation(&self) -> &Specialisation {
        &self.choice.key.specialisation
    }

    /// Work that the operator, as it is written, does many times over at these sizes, whatever kernel computes it.
    pub fn repeated(&self) -> Option<&Repeated> {
        self.choice.repeated.as_ref()
    }

    /// Latency and energy of a launch at the sizes it was measured at ([`Origin::Tuned`]), which need not be those of the call; none where nothing is known.
    pub fn figures(&self) -> Option<Figures> {
        self.choice.figures
    }

    /// The Pareto front it was chosen from, fastest first; empty for an untuned kernel.
    pub fn alternatives(&self) -> &[Alternative] {
        &self.choice.alternatives
    }

    /// The launches of a call, in order.
    pub fn launches(&self) -> impl ExactSizeIterator<Item = PlannedLaunch> {
        self.choice.kernel.launches.iter().map(|launch| PlannedLaunch {
            grid: launch.grid(&self.choice.sizes).ok(),
            block: launch.block,
            dynamic_shared: launch.dynamic_shared,
        })
    }

    /// The kernel's code.
    pub fn ptx(&self) -> &str {
        &self.choice.kernel.ptx
    }

    /// In words the sizes at which figures were measured, as far as they are not those of the call.
    fn measured_elsewhere(&self) -> String {
        let Origin::Tuned { sizes, .. } = self.origin() else {
            return String::new();
        };
        let others = sizes
            .iter()
            .filter(|&(name, size)| self.sizes().get(name) != Some(size));
        let others: Sizes = others.collect();
        match others.iter().next() {
            Some(_) => format!(" measured at {others}"),
            None => String::new(),
        }
    }
}

impl Display for Origin {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::Tuned {
                device,
                matches,
                place,
                sizes,
                stale,
            } => {
                let place = match place {
                    Place::Embedded => "embedded",
                    Place::UserCache => "user cache",
                };
                write!(f, "tuned ({place}, {}) on {device} at {sizes}", matches.name())?;
                if *stale {
                    write!(f, "; stale: the compiler has changed since it was measured")?;
                }
                Ok(())
            }
            Origin::Untuned { reason } => write!(f, "untuned: {reason}"),
        }
    }
}

impl Display for Figures {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let text = |value: Estimate, unit| quantity(value.mean, value.interval, unit);
        let energy = self
            .energy
            .map_or("energy unmeasured".to_owned(), |energy| text(energy, "J"));
        let simulated = if self.simulated { " (simulated)" } else { "" };
        write!(f, "{}, {energy}{simulated}", text(self.latency, "s"))
    }
}

impl Display for PlannedLaunch {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self.grid {
            Some(grid) => write!(f, "{grid:?} blocks of {:?} threads", self.block)?,
            None => write!(f, "the grid is too large")?,
        }
        let shared = counted(self.dynamic_shared.into(), "byte", "bytes");
        write!(f, ", {shared} of shared memory")
    }
}

impl Display for Alternative {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ", if self.chosen { '*' } else { '-' })?;
        if let Some(figures) = self.figures {
            write!(f, "{figures}: ")?;
        }
        write!(f, "{}", self.program)
    }
}

impl Display for Plan {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let (operator, types) = (self.operator(), &self.choice.types);
        writeln!(f, "{operator}{types} at {} on {}", self.sizes(), self.device())?;
        writeln!(f, "  {}", self.origin())?;
        writeln!(f, "  schedule: {}", self.program())?;
        for launch in self.launches() {
            writeln!(f, "  launch: {launch}")?;
        }
        if let Some(repeated) = self.repeated() {
            writeln!(f, "  repeated work: {repeated}")?;
        }
        let elsewhere = self.measured_elsewhere();
        match self.figures() {
            Some(figures) => write!(f, "  figures{elsewhere}: {figures}")?,
            None => write!(f, "  figures: none")?,
        }
        if let [_, _, ..] = self.alternatives() {
            write!(f, "\n  alternatives{elsewhere}, fastest first:")?;
            for alternative in self.alternatives() {
                write!(f, "\n  {alternative}")?;
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "Plan({self})")
    }
}
