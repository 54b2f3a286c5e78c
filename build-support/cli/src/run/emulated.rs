//! A kernel on the emulated device.

use super::kernel::{failed, kernel_name};
use super::launch::{Device, prepare};
use crate::arguments::Run;
use crate::outcome::{Failure, Outcome};
use energy_kernel_emulator::{Argument, ByClass, Class, Counts, Error, Finding, Launch, Memory, Module, Options};
use miette::{Result, miette};
use serde_json::{Value, json};
use std::process::ExitCode;

/// The bytes of emulated memory.
const MEMORY: u64 = 16 << 30;

/// The exit code for PTX that the emulator does not support.
const UNSUPPORTED: u8 = 4;

/// The emulated device.
struct Emulated<'a> {
    memory: Memory,
    module: &'a Module,
}

impl Device for Emulated<'_> {
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

/// Runs the kernel and reports findings and counts.
pub fn run(options: &Run, text: &str, as_json: bool) -> Outcome {
    let module = Module::parse(text).map_err(|error| Failure {
        code: if error.unsupported { UNSUPPORTED } else { 1 },
        report: miette!("{}: {error}", options.file.display()),
    })?;
    let kernel = kernel_name(options, module.kernels().map(|kernel| kernel.name()))?;
    let mut device = Emulated {
        memory: Memory::new(MEMORY),
        module: &module,
    };
    let prepared = prepare(options, &mut device)?;
    let passed: Vec<Argument> = prepared.values.iter().cloned().map(Argument::Bytes).collect();
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
