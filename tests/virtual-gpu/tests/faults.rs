//! Injects every kind of fault into the first and last calls of every entry point that a program reaches. The outcomes are the table
//! `faults.md`.
//!
//! The scenario runs once a fault, in its own process. It must not panic, hang or compute wrong results. After an error of one call the next
//! try must succeed, and nothing may leak but the object that the failing call should have released. The user is told, or no harm is
//! done; every other outcome has a reason in the table.
//!
//! `WRITE_FAULTS=1` writes the table. Otherwise the test compares it.

#![cfg(target_os = "linux")]

use energy_kernel::prelude::*;
use energy_kernel::tools::compiler::lower::lower;
use energy_kernel::tools::compiler::problem::Problem;
use energy_kernel::tools::compiler::schedule::{self, Schedule};
use energy_kernel::tools::compiler::size::Specialisation;
use energy_kernel::tools::compiler::target::{Machine, Target};
use energy_kernel::tools::{Argument, View};
use energy_kernel::{Plan, Result};
use energy_kernel_tests::scenarios::{add, embed, integers, scale};
use energy_kernel_virtual_gpu::{Run, Virtual, is_child};
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The number of first calls of each function that fail, one a run. The last call fails in another run.
const FIRST: u64 = 3;

/// A kind of fault.
struct Kind {
    title: &'static str,
    code: i32,
    sticky: bool,
}

const fn kind(title: &'static str, code: i32, sticky: bool) -> Kind {
    Kind { title, code, sticky }
}

const OF_DRIVER: [Kind; 5] = [
    kind("out of memory", 2, false),
    kind("illegal address", 700, true),
    kind("launch failed", 719, true),
    kind("not supported", 801, false),
    kind("ECC", 214, true),
];
const OF_NVML: [Kind; 4] = [
    kind("no permission", 4, false),
    kind("not supported", 3, false),
    kind("lost", 15, false),
    kind("unknown", 999, false),
];

#[energy_kernel]
fn dot(a: Tensor<f32, (M, K)>, b: Tensor<f32, (N, K)>) -> Tensor<f32, (M, N)> {
    |m, n| sum(|k| a[[m, k]] * b[[n, k]])
}

/// The state of the scenario.
struct Program {
    gpu: Gpu,
    numbers: Vec<f32>,
    x: OnceCell<Tensor<f32>>,
}

type Step = (&'static str, fn(&Program) -> Result<()>);

impl Program {
    fn x(&self) -> Result<&Tensor<f32>> {
        if self.x.get().is_none() {
            let _ = self.x.set(Tensor::from_slice(&self.gpu, &[64], &self.numbers)?);
        }
        Ok(self.x.get().unwrap())
    }

    fn times(&self, by: f32) -> Vec<f32> {
        self.numbers.iter().map(|number| number * by).collect()
    }
}

const STEPS: &[Step] = &[
    ("upload", |program| {
        expect("upload", &program.x()?.to_vec()?, &program.numbers);
        expect("zeros", &Tensor::<f32>::zeros(&program.gpu, &[7])?.to_vec()?, &[0.0; 7]);
        Ok(())
    }),
    ("operator", |program| {
        let y = scale(&program.gpu, program.x()?, 3.0)?;
        expect("operator", &y.to_vec()?, &program.times(3.0));
        Ok(())
    }),
    ("prepared", |program| {
        let gpu = &program.gpu;
        let _: Plan = add::prepare(gpu, &Sizes::from([("N", 64)]))?;
        let mut y = Tensor::zeros(gpu, &[64])?;
        add::into(gpu, program.x()?, program.x()?, &mut y)?;
        gpu.synchronize()?;
        expect("prepared", &y.to_vec()?, &program.times(2.0));
        Ok(())
    }),
    ("indices", |program| {
        let gpu = &program.gpu;
        let table = Tensor::from_slice(gpu, &[2, 2], &[1.0, 2.0, 3.0, 4.0])?;
        let ids = Tensor::from_slice(gpu, &[2], &[1, 9])?;
        gpu.check_indices(true);
        let y = embed(gpu, &table, &ids);
        let told = y.as_ref().map(|_| gpu.synchronize());
        gpu.check_indices(false);
        match told {
            Ok(Err(Error::IndexOutOfRange { .. })) => {}
            Ok(Ok(())) => wrong("indices", "no error of a bad index"),
            Ok(Err(error)) => return Err(error),
            Err(_) => {}
        }
        expect("indices", &y?.to_vec()?, &[3.0, 4.0, 0.0, 0.0]);
        Ok(())
    }),
    ("graph", |program| {
        let gpu = &program.gpu;
        scale::prepare(gpu, &Sizes::from([("N", 64)]))?;
        let mut y = Tensor::zeros(gpu, &[64])?;
        let x = program.x()?;
        let graph = gpu.record(|| scale::into(gpu, x, 5.0, &mut y))?;
        let (seconds, ()) = gpu.time(|| graph.launch())?;
        if !(seconds > 0.0 && seconds < 1.0) {
            wrong("graph", &format!("it took {seconds} s"));
        }
        expect("graph", &y.to_vec()?, &program.times(5.0));
        Ok(())
    }),
    ("streams", |program| {
        let gpu = &program.gpu;
        let other = Gpu::open()?;
        let theirs = scale(&other, program.x()?, 2.0)?;
        let y = add(gpu, &theirs, program.x()?)?;
        drop(theirs);
        expect("streams", &y.to_vec()?, &program.times(3.0));
        // A slice of cudarc's, there and back.
        let y = match y.into_cuda() {
            Ok(slice) => Tensor::from_cuda(slice, &[64])?,
            Err(refused) => {
                println!("TOLD into_cuda: {}", refused.error);
                refused.tensor
            }
        };
        expect("slice", &scale(&other, &y, 2.0)?.to_vec()?, &program.times(6.0));
        Ok(())
    }),
    ("tools", |program| {
        let gpu = &program.gpu;
        let plan = scale::plan(gpu, &Sizes::from([("N", 64)]))?;
        let variant = scale::KERNEL.variant(&[])?;
        let kernel = lower(
            &Problem::new(variant.checked(), plan.specialisation(), Machine::like(Target::Sm80)),
            plan.program(),
        )
        .unwrap();
        let loaded = gpu.compile(&kernel)?;
        loaded.resources()?;
        gpu.l2_bytes()?;
        gpu.driver_version()?;
        let y = Tensor::<f32>::zeros(gpu, &[64])?;
        let (inputs, outputs) = (
            [Argument::tensor(program.x()?), Argument::scalar(7.0f32)],
            [View::from(&y)],
        );
        // SAFETY: lowered above from this operator and specialisation; both tensors have 64 elements.
        unsafe { loaded.prepare(variant.checked(), &[64], &inputs, &outputs) }?.launch()?;
        expect("tools", &y.to_vec()?, &program.times(7.0));
        Ok(())
    }),
    ("parts", |program| {
        // Blocks that share a tile need memory of their own, which their stream keeps.
        let gpu = &program.gpu;
        let variant = dot::KERNEL.variant(&[])?;
        // M, K, N
        let sizes = [16, 256, 32];
        let specialisation = Specialisation::exact(&sizes);
        let space = schedule::space(&Problem::new(
            variant.checked(),
            &specialisation,
            Machine::like(Target::Sm80),
        ));
        let shared = |point: &&Schedule| matches!(point, Schedule::Contract(point) if point.split_k == 4);
        let kernel = lower(
            &Problem::new(variant.checked(), &specialisation, Machine::like(Target::Sm80)),
            space.iter().find(shared).unwrap(),
        )
        .unwrap();
        let loaded = gpu.compile(&kernel)?;
        let (a, b) = (integers(16 * 256), integers(32 * 256));
        let (on_a, on_b) = (
            Tensor::from_slice(gpu, &[16, 256], &a)?,
            Tensor::from_slice(gpu, &[32, 256], &b)?,
        );
        let y = Tensor::<f32>::zeros(gpu, &[16, 32])?;
        let (inputs, outputs) = ([Argument::tensor(&on_a), Argument::tensor(&on_b)], [View::from(&y)]);

        // SAFETY: lowered above from this operator and specialisation, with tensors of its sizes.
        unsafe { loaded.prepare(variant.checked(), &sizes, &inputs, &outputs) }?.launch()?;
        let product = |row: &[f32], column: &[f32]| std::iter::zip(row, column).map(|(a, b)| a * b).sum();
        let expected: Vec<f32> = (a.chunks(256))
            .flat_map(|row| b.chunks(256).map(move |column| product(row, column)))
            .collect();
        expect("parts", &y.to_vec()?, &expected);
        Ok(())
    }),
    ("energy", |program| {
        let gpu = &program.gpu;
        let (energy, ()) = gpu.energy(|| {
            scale(gpu, program.x()?, 2.0)?;
            Ok(())
        })?;
        if energy.simulated || !(0.0..1e3).contains(&energy.joules) {
            wrong("energy", &format!("{energy:?}"));
        }
        let meter = energy_kernel::energy::Meter::open(gpu)?;
        meter.driver()?;
        let state = meter.state()?;
        for unknown in state.unknown() {
            println!("TOLD energy: {}", unknown.name());
        }
        for (is_missing, what) in [
            (state.sm_clock_mhz.is_none(), "the clock"),
            (state.temperature_celsius.is_none(), "the temperature"),
            (state.power_limit_watts.is_none(), "the power limit"),
            (
                energy_kernel::energy::Board::instant_watts(meter.board()).is_none(),
                "instant power",
            ),
        ] {
            if is_missing {
                println!("TOLD energy: {what} is not known");
            }
        }
        Ok(())
    }),
];

fn wrong(step: &str, what: &str) {
    println!("WRONG {step}: {what}");
    std::process::exit(9);
}

fn expect(step: &str, found: &[f32], expected: &[f32]) {
    if found != expected {
        wrong(step, &format!("{found:?}, not {expected:?}"));
    }
}

/// The scenario. A failing step is tried three times: a fault that is not sticky affects one call.
#[test]
fn the_scenario() {
    if !is_child() {
        return;
    }
    let tries = |name: &str, work: &mut dyn FnMut() -> Result<()>| {
        for _ in 0..3 {
            match work() {
                Ok(()) => return,
                Err(error) => println!("TOLD {name}: {error}"),
            }
        }
        println!("LASTING {name}");
    };
    let mut opened = None;
    tries("open", &mut || {
        opened = Some(Gpu::open()?);
        Ok(())
    });
    if let Some(gpu) = opened {
        let program = Program {
            gpu,
            numbers: integers(64),
            x: OnceCell::new(),
        };
        for (name, step) in STEPS {
            tries(name, &mut || step(&program));
        }
    }
    println!("END");
}

/// A device with or without memory pools. They reach different functions.
fn machine(pools: bool) -> Virtual {
    let pools = if pools { "1" } else { "0" };
    Virtual::new("9.0")
        .with("TICK_MS", "8")
        .with("WATTS", "300")
        .with("POOLS", pools)
}

/// The outcome of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The program got a typed error.
    Told,
    /// No error, right results, no leak.
    Harmless,
    /// No error, but the object that the call should have released leaks, or the device is broken.
    Unnoticed,
    /// Another object leaks.
    Leaks,
}

impl Outcome {
    fn text(self) -> &'static str {
        match self {
            Outcome::Told => "told",
            Outcome::Harmless => "harmless",
            Outcome::Unnoticed => "unnoticed",
            Outcome::Leaks => "leaks",
        }
    }
}

/// The reason of an outcome that is neither told nor harmless.
struct Reason {
    function: &'static str,
    call: &'static str,
    outcome: Outcome,
    text: &'static str,
}

const fn reason(function: &'static str, call: &'static str, outcome: Outcome, text: &'static str) -> Reason {
    Reason {
        function,
        call,
        outcome,
        text,
    }
}

const NOBODY_LEFT: &str = "comes when the last handle of the device is dropped: no call follows that could tell it";

const TRACED: &str =
    "is told by a tracing event alone: the `Gpu` of that stream is gone, and others have nothing to do with it";

const MAY_RUN: &str = "a module stays loaded, and memory allocated, as long as it is unknown if a kernel still uses it";

const REASONS: &[Reason] = &[
    reason("cuCtxGetCurrent", "last", Outcome::Unnoticed, NOBODY_LEFT),
    reason("cuEventDestroy_v2", "last", Outcome::Unnoticed, NOBODY_LEFT),
    reason("cuDevicePrimaryCtxRelease_v2", "1", Outcome::Unnoticed, NOBODY_LEFT),
    reason("cuDevicePrimaryCtxRelease_v2", "2", Outcome::Unnoticed, NOBODY_LEFT),
    reason("cuMemFreeAsync", "last", Outcome::Unnoticed, NOBODY_LEFT),
    reason("cuMemFree_v2", "last", Outcome::Unnoticed, NOBODY_LEFT),
    reason("cuModuleUnload", "1", Outcome::Unnoticed, NOBODY_LEFT),
    reason("cuModuleUnload", "last", Outcome::Unnoticed, NOBODY_LEFT),
    reason("cuStreamDestroy_v2", "1", Outcome::Unnoticed, TRACED),
    reason("cuStreamDestroy_v2", "2", Outcome::Unnoticed, NOBODY_LEFT),
    reason("cuStreamIsCapturing", "last", Outcome::Unnoticed, NOBODY_LEFT),
    reason("cuStreamSynchronize", "last", Outcome::Leaks, MAY_RUN),
    reason("cuStreamSynchronize", "last", Outcome::Unnoticed, NOBODY_LEFT),
    reason(
        "cuThreadExchangeStreamCaptureMode",
        "last",
        Outcome::Unnoticed,
        NOBODY_LEFT,
    ),
    reason(
        "cuDeviceGetAttribute",
        "1",
        Outcome::Leaks,
        "cudarc retains the context before it asks for the attribute, and does not release it: one reference, until the process ends",
    ),
];

/// The kind of object that a function releases.
fn keeps(function: &str) -> Option<&'static str> {
    Some(match function {
        "cuMemFreeAsync" | "cuMemFree_v2" => "memory",
        "cuModuleUnload" => "modules",
        "cuEventDestroy_v2" => "events",
        "cuStreamDestroy_v2" => "streams",
        "cuGraphDestroy" => "graphs",
        "cuGraphExecDestroy" => "executables",
        "cuDevicePrimaryCtxRelease_v2" => "contexts",
        _ => return None,
    })
}

/// Returns the outcome of a fault, or the broken rule.
fn judge(fault: &Fault, run: &Run) -> std::result::Result<Outcome, String> {
    let broken = |rule: &str| Err(format!("{} {rule}\n{}", fault.setting(), run.text));
    let Some(status) = run.status else {
        return broken("hangs");
    };
    if run.text.contains("panicked") {
        return broken("panics");
    }
    if run.text.contains("WRONG") {
        return broken("computes something wrong");
    }
    let Some(report) = run
        .report
        .as_ref()
        .filter(|_| status.success() && run.text.contains("END"))
    else {
        return broken("does not end well");
    };
    if !report.problems.is_empty() {
        return broken("makes a mistake on the device");
    }
    let told = run.text.contains("TOLD");
    if fault.kind().sticky {
        return Ok(if told { Outcome::Told } else { Outcome::Unnoticed });
    }
    if run.text.contains("LASTING") {
        return broken("fails again at the next tries");
    }
    let mut left = report.left.clone();
    let own = keeps(&fault.function).and_then(|kind| left.remove(kind));
    Ok(match (told, own) {
        _ if own.is_some_and(|count| count > 1) || !left.is_empty() => Outcome::Leaks,
        (true, _) => Outcome::Told,
        (false, None) => Outcome::Harmless,
        (false, Some(_)) => Outcome::Unnoticed,
    })
}

/// One fault: a call and a kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Fault {
    function: String,
    nth: u64,
    /// `true` for the last call.
    last: bool,
    /// The index of its kind.
    column: usize,
    /// `true` if it is reached with memory pools.
    pools: bool,
}

impl Fault {
    fn kind(&self) -> &'static Kind {
        &kinds(&self.function)[self.column]
    }

    fn call(&self) -> String {
        match self.last {
            true => "last".to_owned(),
            false => self.nth.to_string(),
        }
    }

    fn setting(&self) -> String {
        let kind = self.kind();
        let sticky = if kind.sticky { ":sticky" } else { "" };
        format!("{}:{}:{}{sticky}", self.function, self.nth, kind.code)
    }
}

fn kinds(function: &str) -> &'static [Kind] {
    match function.starts_with("nvml") {
        true => &OF_NVML,
        false => &OF_DRIVER,
    }
}

/// Returns the calls of each function when nothing fails.
fn calls(pools: bool) -> BTreeMap<String, u64> {
    let run = machine(pools).run("the_scenario");
    assert!(!run.text.contains("TOLD"), "{}", run.text);
    run.clean().calls
}

fn every_fault() -> Vec<Fault> {
    let (with, mut without) = (calls(true), calls(false));
    without.retain(|function, _| !with.contains_key(function));
    let mut faults = Vec::new();
    for (pools, calls) in [(true, with), (false, without)] {
        for (function, count) in calls {
            // The number of counter readings depends on timing.
            let last = (count > FIRST && !function.starts_with("nvml")).then_some((count, true));
            let calls = (1..=FIRST.min(count)).map(|nth| (nth, false)).chain(last);
            let columns = 0..kinds(&function).len();
            faults.extend(calls.flat_map(|(nth, last)| {
                columns
                    .clone()
                    .map(|column| Fault {
                        function: function.clone(),
                        nth,
                        last,
                        column,
                        pools,
                    })
                    .collect::<Vec<_>>()
            }));
        }
    }
    faults.sort();
    faults
}

/// Runs the scenario once a fault.
fn run(faults: &[Fault]) -> Vec<std::result::Result<Outcome, String>> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(vec![None; faults.len()]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Relaxed);
                    let Some(fault) = faults.get(number) else { return };
                    let run = machine(fault.pools).with("FAIL", &fault.setting()).run("the_scenario");
                    outcomes.lock().unwrap()[number] = Some(judge(fault, &run));
                }
            });
        }
    });
    outcomes.into_inner().unwrap().into_iter().map(Option::unwrap).collect()
}

const HEAD: &str = "# Outcomes of faults in driver and NVML

A scenario of the public interface runs on a virtual GPU once for each fault. A fault is one call of an entry point (its first, second, third or last) that
returns an error; illegal address, launch failed and ECC are sticky. `tests/faults.rs` makes this page. *told*: the program got a typed error, and the
next try succeeded unless the error was sticky. *harmless*: no error, right results, no leak. *unnoticed*: no error, but the failing call's own object leaks,
or the device is broken.
";

/// Returns the page: a table for each library, and the reasons.
fn page(outcomes: &BTreeMap<Fault, Outcome>) -> String {
    let mut text = String::from(HEAD);
    for (title, prefix, kinds) in [("The driver", "cu", &OF_DRIVER[..]), ("NVML", "nvml", &OF_NVML[..])] {
        let titles: Vec<&str> = kinds.iter().map(|kind| kind.title).collect();
        let _ = writeln!(text, "\n## {title}\n\n| call | {} |", titles.join(" | "));
        let _ = writeln!(text, "|---|{}", "---|".repeat(kinds.len()));
        let mut rows: BTreeMap<(&str, String), Vec<&str>> = BTreeMap::new();
        for (fault, outcome) in outcomes.iter().filter(|(fault, _)| fault.function.starts_with(prefix)) {
            rows.entry((&fault.function, fault.call()))
                .or_default()
                .push(outcome.text());
        }
        for ((function, call), cells) in rows {
            let _ = writeln!(text, "| `{function}` {call} | {} |", cells.join(" | "));
        }
    }
    text.push_str("\n## Reasons\n\n");
    for reason in REASONS {
        let outcome = reason.outcome.text();
        let _ = writeln!(
            text,
            "- `{}` {}, {outcome}: {}.",
            reason.function, reason.call, reason.text
        );
    }
    text
}

/// The functions that the runtime's probe checks.
fn probed() -> Vec<&'static str> {
    let source = include_str!("../../../runtime/src/device/probe.rs");
    let quoted = source.split('"').skip(1).step_by(2);
    quoted
        .filter(|text| text.starts_with("cu") && text.len() > "cuda".len())
        .collect()
}

#[test]
fn every_function_that_is_reached_is_probed() {
    if is_child() {
        return;
    }
    let probed = probed();
    let reached = every_fault()
        .into_iter()
        .map(|fault| fault.function)
        .filter(|function| function.starts_with("cu"));
    let unprobed: BTreeSet<String> = reached
        .filter(|function| !probed.contains(&function.as_str()))
        .collect();
    assert!(unprobed.is_empty(), "{unprobed:?}");
}

#[test]
fn every_fault_comes_to_what_the_table_says() {
    if is_child() {
        return;
    }
    let faults = every_fault();
    let results = run(&faults);
    let broken: Vec<&String> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    assert!(broken.is_empty(), "{} faults, the first: {}", broken.len(), broken[0]);
    let outcomes: BTreeMap<Fault, Outcome> = (std::iter::zip(faults, results))
        .filter_map(|(fault, result)| Some((fault, result.ok()?)))
        .collect();

    let is_for = |reason: &Reason, fault: &Fault, outcome: Outcome| {
        (reason.function, reason.call, reason.outcome) == (fault.function.as_str(), fault.call().as_str(), outcome)
    };
    for (fault, &outcome) in &outcomes {
        let fine = matches!(outcome, Outcome::Told | Outcome::Harmless);
        let reasoned = REASONS.iter().any(|reason| is_for(reason, fault, outcome));
        assert!(fine || reasoned, "{} ({}): {outcome:?}", fault.setting(), fault.call());
    }
    for reason in REASONS {
        let used = outcomes.iter().any(|(fault, outcome)| is_for(reason, fault, *outcome));
        assert!(
            used,
            "{} {}: there is no such outcome any more",
            reason.function, reason.call
        );
    }

    let (path, page) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("faults.md"), page(&outcomes));
    if std::env::var_os("WRITE_FAULTS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let known = std::fs::read_to_string(path).unwrap();
    let differ = std::iter::zip(known.lines(), page.lines()).find(|(known, found)| known != found);
    assert!(
        differ.is_none() && known.len() == page.len(),
        "the table (WRITE_FAULTS=1 writes it) differs: {differ:?}"
    );
}
