//! `run`: one kernel of any PTX file.

mod argument;
mod cuda;
mod launch;

pub use argument::{Argument, argument};

use crate::arguments::{Arguments, Device, Run};
use crate::{Failure, Outcome};
use energy_kernel_emulator::{
    Argument as Passed, ByClass, Class, Counts, Error, Finding, Launch, Memory, Module, Options,
};
use miette::{IntoDiagnostic, Report, Result, WrapErr, miette};
use serde_json::{Value, json};
use std::process::ExitCode;

/// Bytes of emulated memory.
const MEMORY: u64 = 16 << 30;

/// The exit code for PTX that the emulator does not know.
const UNSUPPORTED: u8 = 4;

pub fn run(arguments: &Arguments, options: &Run) -> Outcome {
    let text = std::fs::read_to_string(&options.file)
        .into_diagnostic()
        .wrap_err_with(|| format!("{} cannot be read", options.file.display()))?;
    match options.device {
        Device::Emulated => emulated(options, &text, arguments.json),
        Device::Cuda(ordinal) => {
            if options.check || options.counts || options.limit.is_some() {
                return Err(miette!("--check, --counts and --limit are the emulated device's").into());
            }
            cuda::run(options, &text, ordinal)?;
            if arguments.json {
                crate::output::json(&json!({}));
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The emulated device.
struct Emulated<'a> {
    memory: Memory,
    module: &'a Module,
}

impl launch::Device for Emulated<'_> {
    fn allocate(&mut self, bytes: u64) -> Result<u64> {
        self.memory.allocate(bytes).map_err(failed)
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<()> {
        self.memory.write(address, bytes).map_err(failed)
    }

    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<()> {
        self.memory.read(address, bytes).map_err(failed)
    }

    fn write_variable(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.module.write_variable(&self.memory, name, bytes).map_err(failed)
    }
}

fn emulated(options: &Run, text: &str, as_json: bool) -> Outcome {
    let module = Module::parse(text).map_err(|error| Failure {
        code: if error.unsupported { UNSUPPORTED } else { 1 },
        report: miette!("{}: {error}", options.file.display()),
    })?;
    let kernel = kernel_name(options, module.kernels().map(|kernel| kernel.name()))?;
    let mut device = Emulated {
        memory: Memory::new(MEMORY),
        module: &module,
    };
    let prepared = launch::prepare(options, &mut device)?;
    let passed: Vec<Passed> = prepared.values.iter().cloned().map(Passed::Bytes).collect();
    let launched = Launch {
        grid: options.grid,
        block: options.block,
        dynamic_shared: options.shared,
        arguments: &passed,
        options: Options {
            sanitize: options.check,
            count: options.counts,
            instruction_limit: options.limit,
            ..Options::default()
        },
    };
    let report =
        energy_kernel_emulator::launch(&module, &kernel, &device.memory, &launched).map_err(|error| Failure {
            code: match error {
                Error::Unsupported { .. } | Error::SystemCall { .. } => UNSUPPORTED,
                _ => 1,
            },
            report: failed(error),
        })?;
    prepared.save(&device)?;
    if as_json {
        let findings: Vec<Value> = report.findings.iter().map(finding).collect();
        let counts = options.counts.then(|| counts(&report.counts));
        crate::output::json(&json!({ "findings": findings, "counts": counts }));
    } else if options.counts {
        say!("{:#?}", report.counts);
    }
    report.findings.iter().for_each(|finding| complain!("{finding}"));
    Ok(if report.findings.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(3)
    })
}

fn finding(finding: &Finding) -> Value {
    json!({
        "kind": finding.kind.to_string(), "line": finding.line, "instruction": finding.instruction,
        "block": finding.block, "thread": finding.thread, "message": finding.message,
        "occurrences": finding.occurrences,
    })
}

fn counts(counts: &Counts) -> Value {
    let by_class = |numbers: ByClass| -> Value {
        let named = |class: &Class| (format!("{class:?}"), Value::from(numbers.get(*class)));
        Value::Object(Class::ALL.iter().map(named).collect())
    };
    let classes = [
        ("thread_instructions", by_class(counts.thread_instructions)),
        ("warp_instructions", by_class(counts.warp_instructions)),
    ];
    let numbers = counts.numbers().map(|(name, number)| (name, Value::from(number)));
    let named = classes
        .into_iter()
        .chain(numbers)
        .map(|(name, value)| (name.to_owned(), value));
    Value::Object(named.collect())
}

fn failed(error: impl std::fmt::Display) -> Report {
    miette!("{error}")
}

/// The kernel asked for, else the only one.
fn kernel_name<'a>(options: &Run, names: impl Iterator<Item = &'a str>) -> Result<String> {
    let names: Vec<&str> = names.collect();
    match (&options.kernel, names.as_slice()) {
        (Some(name), _) => Ok(name.clone()),
        (None, [only]) => Ok((*only).to_owned()),
        (None, []) => Err(miette!("{} has no kernel", options.file.display())),
        (None, _) => Err(miette!(
            help = format!("--kernel with one of: {}", names.join(", ")),
            "there are several kernels"
        )),
    }
}
