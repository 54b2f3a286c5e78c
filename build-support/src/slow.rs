//! Operators far from their roofline.

use crate::buckets::names;
use crate::source::scan::Found;
use energy_kernel_compiler::datasheet::Datasheet;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::record::{DeviceClass, Objective, Record};
use energy_kernel_compiler::schedule::Program;
use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::slow::Slow;
use energy_kernel_compiler::stages;
use energy_kernel_compiler::tuning;

/// The kernel of an operator at some sizes on a device.
#[derive(Debug, Clone, Copy)]
pub struct Judged<'a> {
    /// The operator.
    pub found: &'a Found,
    /// All sizes, in the operator's order.
    pub sizes: &'a [u64],
    /// The device class.
    pub device: &'a DeviceClass,
    /// The result for these sizes on the device. Without one the untuned kernel is judged.
    pub record: Option<&'a Record>,
}

impl Judged<'_> {
    /// Returns how far the kernel is from its roofline, by the estimate. `None` if it is near, or has no estimate.
    pub fn slow(&self) -> Option<Slow> {
        self.judge(Slow::of)
    }

    /// Like [`slow`](Judged::slow), but looks for no remedy, which takes many estimates.
    pub fn slow_without_remedy(&self) -> Option<Slow> {
        self.judge(Slow::without_remedy)
    }

    fn judge(&self, judge: impl Fn(&Problem<'_>, &Program, &[u64]) -> Option<Slow>) -> Option<Slow> {
        let (checked, sizes, machine) = (&self.found.checked, self.sizes, self.device.machine()?);
        if let Some(record) = self.record {
            let chosen = record.choose(Objective::default())?;
            let problem = Problem::new(checked, &record.specialisation, machine);
            return judge(&problem, &chosen.program, sizes);
        }
        let untuned = Specialisation {
            wide: tuning::is_wide(checked, sizes),
            ..tuning::untuned(checked, sizes)
        };
        let untuned = stages::untuned_by_default(checked, &untuned, machine, sizes)?;
        let problem = Problem::new(checked, &untuned.specialisation, machine);
        judge(&problem, &untuned.program, sizes)
    }

    /// The kernel and the verdict on it, in a line.
    pub fn line(&self, slow: &Slow) -> String {
        let (name, sizes) = (&self.found.name, names(self.found, self.sizes));
        format!("{name} ({sizes}) on {}: {slow}", self.device.name)
    }
}

/// The device class that operators are judged for which were tuned on no GPU: an H100.
pub fn assumed_device() -> DeviceClass {
    let sheet = Datasheet::H100;
    DeviceClass {
        name: sheet.name.to_owned(),
        compute_capability: sheet.capability,
        multiprocessors: sheet.multiprocessors,
        memory_bytes: sheet.memory_bytes,
        simulated: false,
    }
}
