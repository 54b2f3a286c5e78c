//! The text form of a case, and its compilation.
//!
//! ```text
//! // What the case shows.
//! capability: 8.0
//! fixed: R = 3, C = 256
//! arguments: N = 7
//! options: wide, check_indices, unaligned
//! schedule: row threads=32 rows=1 vector=4 keep=registers unroll=1 pass=several
//!
//! #[energy_kernel]
//! fn f(…) -> … { … }
//! ---
//! the launches and the PTX, or an error
//! ```
//!
//! Free sizes are `fixed` (compiled in) or `arguments` of the kernel. The kernel knows the power of two that divides an argument's value. Only
//! `capability` and `schedule` are required.

use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::kernel::{Kernel, MOST_WORKSPACE, Parameter, ParameterValue};
use energy_kernel_compiler::lower::lower;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::schedule::Program;
use energy_kernel_compiler::size::{Extent, Sizes, Specialisation};
use energy_kernel_compiler::target::Machine;
use energy_kernel_tests::{GPUS, operator};
use std::fmt::Write;

/// The line between a case and the expected text.
pub const RULE: &str = "---";

/// A case without its expected text.
#[derive(Debug)]
pub struct Case<'a> {
    machine: Machine,
    sizes: Vec<(&'a str, u64)>,
    /// The names of the sizes that are arguments of the kernel.
    arguments: Vec<&'a str>,
    options: Vec<&'a str>,
    /// The text of the schedule.
    pub schedule: &'a str,
    operator: &'a str,
}

/// A compiled case.
pub struct Compiled {
    pub checked: Checked,
    /// All sizes.
    pub sizes: Vec<u64>,
    pub kernel: Kernel,
}

impl<'a> Case<'a> {
    /// Reads a case.
    ///
    /// # Errors
    /// The first line that is wrong, or missing.
    pub fn read(text: &'a str) -> Result<Case<'a>, String> {
        let (header, operator) = text.split_once("\n\n").ok_or("no empty line follows the header")?;
        let (mut machine, mut schedule) = (None, None);
        let (mut sizes, mut arguments, mut options) = (Vec::new(), Vec::new(), Vec::new());
        for line in header.lines().filter(|line| !line.starts_with("//")) {
            let wrong = || format!("`{line}` is not understood");
            let (key, value) = line.split_once(": ").ok_or_else(wrong)?;
            let parts = || value.split(',').map(str::trim);
            match key {
                "capability" => machine = Some(machine_of(value).ok_or_else(wrong)?),
                "schedule" => schedule = Some(value),
                "fixed" | "arguments" => {
                    for pair in parts() {
                        let (name, value) = pair.split_once(" = ").ok_or_else(wrong)?;
                        sizes.push((name, value.parse().map_err(|_| wrong())?));
                        if key == "arguments" {
                            arguments.push(name);
                        }
                    }
                }
                "options" if parts().all(|option| ["wide", "check_indices", "unaligned"].contains(&option)) => {
                    options.extend(parts());
                }
                _ => return Err(wrong()),
            }
        }
        Ok(Case {
            machine: machine.ok_or("`capability: …` is missing")?,
            schedule: schedule.ok_or("`schedule: …` is missing")?,
            sizes,
            arguments,
            options,
            operator,
        })
    }

    /// Compiles the kernel.
    ///
    /// # Errors
    /// The step that fails, and its error.
    pub fn compile(&self) -> Result<Compiled, String> {
        let function = syn::parse_str(self.operator).map_err(|error| format!("operator: {error}"))?;
        let mut variants = operator(function).map_err(|error| format!("operator: {error}"))?;
        let checked = variants.swap_remove(0);
        let sizes: Sizes = self.sizes.iter().copied().collect();
        let sizes = checked.bind(&sizes).map_err(|error| format!("sizes: {error}"))?;
        checked.verify(&sizes).map_err(|error| format!("sizes: {error}"))?;
        let program: Program = self.schedule.parse().map_err(|error| format!("schedule: {error}"))?;
        let specialisation = self.specialisation(&checked, &sizes);
        let problem = Problem::new(&checked, &specialisation, self.machine);
        let kernel = lower(&problem, program).map_err(|error| format!("lowering: {error}"))?;
        Ok(Compiled { checked, sizes, kernel })
    }

    fn specialisation(&self, checked: &Checked, sizes: &[u64]) -> Specialisation {
        let mut extents: Vec<Extent> = Vec::new();
        for (size, &value) in checked.op().sizes.iter().zip(sizes) {
            let mut fixed = !self.arguments.contains(&size.name.as_str());
            if let Some(formula) = &size.definition {
                formula.sizes(&mut |of| fixed &= extents[of.index()].fixed().is_some());
            }
            extents.push(if fixed {
                Extent::Fixed(value)
            } else {
                Extent::like(value)
            });
        }
        let option = |name: &str| self.options.contains(&name);
        Specialisation {
            extents,
            aligned: !option("unaligned"),
            wide: option("wide"),
            check_indices: option("check_indices"),
        }
    }
}

/// The GPU of a compute capability, `8.0`.
fn machine_of(capability: &str) -> Option<Machine> {
    let (major, minor) = capability.split_once('.')?;
    let wanted = (major.parse().ok()?, minor.parse().ok()?);
    let (_, multiprocessors) = GPUS.into_iter().find(|(capability, _)| *capability == wanted)?;
    Machine::documented(wanted, multiprocessors)
}

impl Compiled {
    /// The launches, the scratch memory and the PTX.
    pub fn text(&self) -> String {
        let Compiled { checked, sizes, kernel } = self;
        let mut text = String::new();
        let grids = kernel.grids(sizes).expect("the sizes were verified");
        for (launch, [x, y, z]) in kernel.launches.iter().zip(&grids) {
            let parameters = launch.parameters.iter();
            let parameters: Vec<String> = parameters.map(|parameter| named(parameter, checked)).collect();
            let cluster = match launch.cluster {
                [1, 1, 1] => String::new(),
                [x, y, z] => format!(" in clusters of {x} x {y} x {z}"),
            };
            let [width, height, depth] = launch.block;
            let _ = writeln!(
                text,
                "launch {}: {x} x {y} x {z} blocks{cluster} of {width} x {height} x {depth} threads, {} bytes of shared memory\n\
                 parameters: {}",
                launch.entry,
                launch.dynamic_shared,
                parameters.join(", ")
            );
        }
        let scratch = kernel
            .scratch_bytes(&grids, sizes, MOST_WORKSPACE)
            .expect("cases are small");
        for (number, (own, bytes)) in kernel.scratch.iter().zip(scratch).enumerate() {
            let zeroed = if own.content.is_zeroed() { ", zeroed" } else { "" };
            let _ = writeln!(text, "scratch {number}: {bytes} bytes{zeroed}");
        }
        text + &kernel.ptx
    }
}

/// A parameter's name and width.
fn named(parameter: &Parameter, checked: &Checked) -> String {
    let op = checked.op();
    let name = match parameter.value {
        ParameterValue::Input(input) => op.inputs[input.index()].name.clone(),
        ParameterValue::Output(position) => format!("output {position}"),
        ParameterValue::Size(size) => op.sizes[size.index()].name.clone(),
        ParameterValue::IndexErrors => "index errors".to_owned(),
        ParameterValue::Scratch(position) => format!("scratch {position}"),
        ParameterValue::Reciprocal { size, shift: 0 } => format!("reciprocal of {}", op.sizes[size.index()].name),
        ParameterValue::Reciprocal { size, shift } => {
            format!("reciprocal of {} ÷ {}", op.sizes[size.index()].name, 1u64 << shift)
        }
    };
    format!("{name} ({} bytes)", parameter.bytes)
}
