//! The kernel that a call uses, and why it was chosen.

use crate::kernels::KernelKey;
use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::kernel::{Kernel, SCRATCH_ALIGNMENT};
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::record::{DeviceClass, Estimate, Match};
use energy_kernel_compiler::repeated::Repeated;
use energy_kernel_compiler::schedule::Program;
use energy_kernel_compiler::size::{Sizes, Specialisation};
use energy_kernel_compiler::slow::{Change, Slow};
use energy_kernel_compiler::target::Machine;
use energy_kernel_compiler::text::{counted, quantity};
use std::fmt::{Display, Formatter};
use std::sync::{Arc, OnceLock};

/// The kernel that a call uses, why it was chosen, and its figures. `Display` summarises it in a few lines.
///
/// ```
/// use energy_kernel::prelude::*;
/// use energy_kernel::Origin;
///
/// #[energy_kernel]
/// fn scale(x: Tensor<f32, (M, N)>, by: f32) -> Tensor<f32, (M, N)> {
///     |m, n| x[[m, n]] * by
/// }
///
/// # fn main() -> Result<(), Error> {
/// let gpu = Gpu::emulated();
/// let plan = scale::plan(&gpu, &Sizes::from([("M", 16), ("N", 64)]))?;
///
/// // The call.
/// assert_eq!(plan.operator(), "scale");
/// assert_eq!(plan.sizes().get("N"), Some(64));
/// assert_eq!(plan.device(), gpu.device_class());
///
/// // The kernel.
/// println!("{} for {:?}", plan.program(), plan.specialisation());
/// assert!(plan.ptx().contains(".visible .entry"));
/// for launch in plan.launches() {
///     println!("{launch}");
/// }
/// assert!(plan.repeated().is_none());
/// assert!(plan.slow().is_none());
///
/// // Why this kernel. Nothing was tuned here, so there are no figures and no alternatives.
/// assert!(!plan.is_tuned() && matches!(plan.origin(), Origin::Untuned { .. }));
/// assert!(plan.figures().is_none() && plan.alternatives().is_empty());
/// println!("{plan}");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Plan {
    choice: Arc<Choice>,
}

/// A kernel for a call, and why it was chosen.
#[derive(Debug)]
pub(crate) struct Choice {
    pub operator: String,
    pub checked: Arc<Checked>,
    pub machine: Machine,
    /// The verdict on the kernel's distance from its roofline, once it was asked for.
    pub slow: OnceLock<Option<Slow>>,
    /// The element types of inputs and outputs, as in a signature.
    pub types: String,
    pub repeated: Option<Repeated>,
    pub device: DeviceClass,
    /// All sizes, in the operator's order.
    pub sizes: Vec<u64>,
    pub named_sizes: Sizes,
    pub kernel: Arc<Kernel>,
    pub key: KernelKey,
    pub origin: Origin,
    pub figures: Option<Figures>,
    pub alternatives: Vec<Alternative>,
}

/// The origin of a kernel.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Origin {
    /// The kernel was chosen by measurements.
    Tuned {
        /// The device it was measured on.
        device: DeviceClass,
        /// How closely that device matches this one.
        matches: Match,
        /// The source of the record.
        source: RecordSource,
        /// The sizes it was measured at.
        sizes: Sizes,
        /// `true` if the compiler now emits a different kernel for this program. The kernel is correct, but its figures belong to the old
        /// one.
        stale: bool,
    },
    /// The kernel was chosen by a formula.
    Untuned {
        /// Why no tuned kernel could be used.
        reason: String,
    },
}

/// The source of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordSource {
    /// The build embedded it in the program.
    Embedded,
    /// The user cache.
    UserCache,
}

/// Latency and energy of one call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Seconds.
    pub latency: Estimate,
    /// Joules. `None` if they were not measured.
    pub energy: Option<Estimate>,
    /// `true` if the figures are simulated, not measured.
    pub simulated: bool,
}

/// A launch of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlannedLaunch {
    /// Blocks in x, y, z; a 0 makes the launch empty. `None` if the grid is beyond a GPU's limits.
    pub grid: Option<[u32; 3]>,
    /// Threads per block in x, y, z.
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory per block.
    pub dynamic_shared: u32,
}

/// A point of the Pareto front of latency and energy.
#[derive(Debug, Clone, PartialEq)]
pub struct Alternative {
    /// The program of the kernel.
    pub program: Program,
    /// The kernel's figures. `None` if the record is stale: its figures belong to another kernel.
    pub figures: Option<Figures>,
    /// `true` if the objective chose this kernel.
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

    /// The device class of the call.
    pub fn device(&self) -> &DeviceClass {
        &self.choice.device
    }

    /// The origin of the kernel.
    pub fn origin(&self) -> &Origin {
        &self.choice.origin
    }

    /// `true` if measurements chose the kernel.
    pub fn is_tuned(&self) -> bool {
        matches!(self.choice.origin, Origin::Tuned { .. })
    }

    /// The program of the kernel.
    pub fn program(&self) -> &Program {
        &self.choice.key.program
    }

    /// The specialisation of the kernel, which is correct for every call that this accepts.
    pub fn specialisation(&self) -> &Specialisation {
        &self.choice.key.specialisation
    }

    /// Work that the operator's source repeats at these sizes. `None` if it repeats none, or if the program stores values.
    pub fn repeated(&self) -> Option<&Repeated> {
        self.choice.repeated.as_ref()
    }

    /// How far the kernel is from the roofline of the operator at these sizes, by the estimate, and what to write instead. `None` if it is
    /// near, or has no estimate. The first call computes it, in milliseconds for a kernel that is near.
    pub fn slow(&self) -> Option<&Slow> {
        let choice = &*self.choice;
        let judge = || {
            let problem = Problem::new(&choice.checked, &choice.key.specialisation, choice.machine);
            Slow::of(&problem, &choice.key.program, &choice.sizes)
        };
        choice.slow.get_or_init(judge).as_ref()
    }

    /// Latency and energy at the sizes of the measurement ([`Origin::Tuned`]), which may differ from the sizes of the call. `None` if
    /// unknown.
    pub fn figures(&self) -> Option<Figures> {
        self.choice.figures
    }

    /// The Pareto front that the kernel was chosen from, fastest first. Empty for an untuned kernel.
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

    /// The bytes of workspace that a call needs: stored values, and split-K partial sums and counters, each rounded up to a multiple of 256.
    /// Calls on one stream share it.
    pub fn workspace(&self) -> u64 {
        let Choice { kernel, sizes, .. } = self.choice();
        let grids = kernel.grids(sizes).unwrap_or_default();
        let each = kernel.scratch_bytes(&grids, sizes, u64::MAX).unwrap_or_default();
        each.into_iter().fold(0, |sum, bytes| {
            sum.saturating_add(bytes.next_multiple_of(SCRATCH_ALIGNMENT))
        })
    }

    /// The kernel's code.
    pub fn ptx(&self) -> &str {
        &self.choice.kernel.ptx
    }

    /// The sizes of the measurement that differ from those of the call, in words.
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
                source,
                sizes,
                stale,
            } => {
                let source = match source {
                    RecordSource::Embedded => "embedded",
                    RecordSource::UserCache => "user cache",
                };
                write!(f, "tuned ({source}, {}) on {device} at {sizes}", matches.name())?;
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
            None => write!(f, "a grid beyond the limits of a GPU")?,
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
        if self.workspace() > 0 {
            writeln!(f, "  workspace: {} bytes", self.workspace())?;
        }
        let slow = self.slow();
        if let Some(slow) = slow {
            writeln!(f, "  slow: {slow}")?;
        }
        let remedy = slow.and_then(|slow| slow.remedy.as_ref()).map(|remedy| &remedy.change);
        let said = matches!(remedy, Some(Change::Split { repeated: Some(_), .. }));
        if let Some(repeated) = self.repeated().filter(|_| !said) {
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
