//! The search with a worker that fails on request: this test executable, started again, serves the emulated device.

use super::message::VARIABLE;
use super::remote::{Patience, Remote, Start};
use super::serve::{Opens, serve};
use crate::bench::Job;
use crate::source::scan::Found;
use crate::tune::backend::{Backend, BackendError, Instance, Measured, OutputIndex};
use crate::tune::testing::operator;
use crate::tune::{EmulatedBackend, Memory, Profile, Settings, Step, search};
use energy_kernel_compiler::kernel::Kernel;
use energy_kernel_compiler::record::{CacheMode, DeviceClass, Objective, Point, Reason, Record, Rejected};
use energy_kernel_compiler::schedule::Schedule;
use energy_kernel_compiler::target::Machine;
use std::io::{BufReader, Write};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// The worker's failures: `WHEN:HOW:THREADS`, separated by spaces.
const FAILURES: &str = "ENERGY_KERNEL_TEST_FAILURES";

/// The emulated device, which fails for plain kernels with blocks of certain threads.
struct Unreliable {
    emulated: EmulatedBackend,
    failures: Vec<(String, String, u32)>,
}

impl Unreliable {
    fn open() -> Result<Unreliable, String> {
        let failures = std::env::var(FAILURES).unwrap_or_default();
        if failures == "no gpu" {
            return Err("no GPU today".to_owned());
        }
        let parts = failures.split_whitespace().map(|one| {
            let mut parts = one.split(':').map(str::to_owned);
            let threads = |text: String| text.parse().unwrap();
            (
                parts.next().unwrap(),
                parts.next().unwrap(),
                parts.next().map(threads).unwrap(),
            )
        });
        Ok(Unreliable {
            failures: parts.collect(),
            emulated: EmulatedBackend::new(Profile::Hopper, 64, 1e9),
        })
    }

    fn fail(&self, when: &str, threads: u32) -> Result<(), BackendError> {
        let mut failures = self.failures.iter();
        let failure = failures.find(|(at, _, of)| at == when && *of == threads);
        match failure.map(|(_, how, _)| how.as_str()) {
            Some("abort") => std::process::abort(),
            Some("exit") => std::process::exit(7),
            Some("hang") => std::thread::sleep(Duration::from_secs(3600)),
            Some("chatter") => std::io::stdout().write_all(b"a driver says something\n").unwrap(),
            Some("fault") => return Err(BackendError::rejected(Reason::Faulted, "illegal address")),
            Some("break") => return Err(BackendError::Broken("fell off the bus".to_owned())),
            Some(other) => panic!("{other}"),
            None => {}
        }
        Ok(())
    }
}

impl Opens for Unreliable {
    fn without_energy(&self) -> Option<&str> {
        None
    }
}

impl Backend for Unreliable {
    type Candidate = (u32, <EmulatedBackend as Backend>::Candidate);

    fn device(&self) -> &DeviceClass {
        self.emulated.device()
    }

    fn machine(&self) -> Machine {
        self.emulated.machine()
    }

    fn most_candidates(&self) -> usize {
        self.emulated.most_candidates()
    }

    fn energy_is_free(&self) -> bool {
        false
    }

    fn begin(&mut self, instance: Instance<'_>, deadline: Instant) -> Result<(), BackendError> {
        self.fail("begin", 0)?;
        self.emulated.begin(instance, deadline)
    }

    fn load(
        &mut self,
        instance: Instance<'_>,
        kernel: &Kernel,
        indices: &[OutputIndex],
        deadline: Instant,
    ) -> Result<(Self::Candidate, Vec<u64>), BackendError> {
        // Other families have blocks of as many threads.
        let threads = match kernel.name().contains("plain") {
            true => kernel.launches[0].block[0],
            false => 1,
        };
        self.fail("load", threads)?;
        let (candidate, results) = self.emulated.load(instance, kernel, indices, deadline)?;
        Ok(((threads, candidate), results))
    }

    fn latency(
        &mut self,
        instance: Instance<'_>,
        (threads, candidate): &Self::Candidate,
        deadline: Instant,
    ) -> Result<Measured, BackendError> {
        self.fail("latency", *threads)?;
        self.emulated.latency(instance, candidate, deadline)
    }

    fn energy(
        &mut self,
        instance: Instance<'_>,
        (threads, candidate): &Self::Candidate,
        latency: f64,
        deadline: Instant,
    ) -> Result<Option<Measured>, BackendError> {
        self.fail("energy", *threads)?;
        self.emulated.energy(instance, candidate, latency, deadline)
    }
}

/// The worker process. As a test it does nothing.
#[test]
fn serving() {
    if std::env::var_os(VARIABLE).is_some() {
        let open = |_, _| Unreliable::open();
        serve(open, BufReader::new(std::io::stdin()), std::io::stdout()).unwrap();
    }
}

/// A worker that fails in these ways.
fn start(failures: &str) -> Result<Remote, Start> {
    let failures = failures.to_owned();
    let command = move || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "tune::worker::tests::serving", "--nocapture"]);
        command.env(FAILURES, &failures);
        command
    };
    let patience = Patience {
        request: Duration::from_secs(30),
        grace: Duration::from_millis(1),
        ..Patience::default()
    };
    Remote::start_with(Box::new(command), patience, 64, CacheMode::Cold)
}

/// An operator with plain schedules of 32 to 1024 threads, and others.
fn found() -> Found {
    operator(
        "dims(ONE = 1), tune(N = 100)",
        "fn double(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> { |n| prod(|r: ONE| x[[n]] * 2.0 + (r as f32)) }",
    )
}

fn tune<M: Backend>(backend: &mut M, seconds: u64, journal: Option<&Path>) -> Result<Record, String> {
    let found = found();
    let job = Job {
        found: &found,
        sizes: &found.buckets[0],
        deadline: Instant::now() + Duration::from_secs(seconds),
        limit: Instant::now() + Duration::from_secs(seconds),
        journal,
        stages: None,
    };
    let settings = Settings {
        objective: Objective::Energy { slack: 100.0 },
        seed: 1,
        emulated_candidates: 64,
        emulated_operations: 1e9,
        candidates: 64,
        measurements: None,
        patience: 10,
        cache: CacheMode::Cold,
    };
    search(backend, &job, &settings, &mut Memory::default(), &mut |_: Step<'_>| ())
}

fn through_a_worker(failures: &str) -> Result<Record, String> {
    tune(&mut start(failures).unwrap_or_else(|_| panic!("no worker")), 60, None)
}

fn plain(rejected: &Rejected) -> (u32, Reason) {
    match *rejected.program.lone().unwrap() {
        Schedule::Plain(plain) => (plain.threads, rejected.reason),
        other => panic!("{other} is not plain"),
    }
}

/// The schedules of a front, without those with this many threads.
fn without(front: &[Point], threads: u32) -> Vec<Schedule> {
    let schedules = front.iter().map(|point| *point.program.lone().unwrap());
    schedules
        .filter(|one| !matches!(one, Schedule::Plain(plain) if plain.threads == threads))
        .collect()
}

#[test]
fn a_worker_measures_what_the_process_itself_would() {
    let record = through_a_worker("latency:chatter:64").unwrap();
    let here = tune(&mut Unreliable::open().unwrap(), 60, None).unwrap();
    assert_eq!(record.front, here.front);
    assert_eq!((record.rejected.as_slice(), record.energy_measured), (&[][..], true));
    assert!(record.front.iter().all(|point| point.energy.is_some()));
}

#[test]
fn each_failure_costs_one_candidate() {
    let whole = through_a_worker("").unwrap();
    for (failure, reason) in [
        ("load:abort:64", Reason::Crashed),
        ("load:exit:64", Reason::Crashed),
        ("load:fault:64", Reason::Faulted),
        ("load:break:64", Reason::NotLaunched),
        ("latency:abort:64", Reason::Crashed),
        ("energy:fault:64", Reason::Faulted),
        ("energy:abort:64", Reason::Crashed),
    ] {
        let record = through_a_worker(failure).unwrap();
        let rejected: Vec<_> = record.rejected.iter().map(plain).collect();
        assert_eq!(rejected, [(64, reason)], "{failure}");
        assert!(record.energy_measured, "{failure}");
        let left = without(&whole.front, 64);
        assert!(
            left.iter()
                .all(|one| record.front.iter().any(|point| point.program.lone() == Some(one))),
            "{failure}"
        );
    }
    let record = through_a_worker("load:abort:64 load:fault:128 latency:exit:256").unwrap();
    let mut rejected: Vec<_> = record.rejected.iter().map(plain).collect();
    rejected.sort();
    let expected = [(64, Reason::Crashed), (128, Reason::Faulted), (256, Reason::Crashed)];
    assert_eq!(rejected, expected);
}

#[test]
fn a_hang_ends_at_the_deadline_and_is_not_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("a.journal");
    let mut hanging = start("load:hang:64").unwrap_or_else(|_| panic!("no worker"));
    let begun = Instant::now();
    // The deadline may come before any other candidate is measured.
    let _ = tune(&mut hanging, 6, Some(&journal));
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    let begun = Instant::now();
    let record = tune(&mut hanging, 60, Some(&journal)).unwrap();
    assert_eq!(
        record.rejected.iter().map(plain).collect::<Vec<_>>(),
        [(64, Reason::Hung)]
    );
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn a_device_on_which_nothing_works_is_broken() {
    let why = through_a_worker("begin:break:0").unwrap_err();
    assert!(why.contains("fell off the bus"), "{why}");
    let why = through_a_worker("begin:abort:0").unwrap_err();
    assert!(why.contains("died"), "{why}");
}

#[test]
fn an_executable_that_does_not_serve_is_told_from_a_machine_without_a_gpu() {
    assert!(matches!(start("no gpu"), Err(Start::NoGpu(why)) if why == "no GPU today"));
    let silent = |program: &'static str| {
        let patience = Patience {
            first_word: Duration::from_millis(300),
            ..Patience::default()
        };
        Remote::start_with(Box::new(move || Command::new(program)), patience, 1, CacheMode::Cold)
    };
    assert!(
        matches!(silent("yes"), Err(Start::NotServing(_))),
        "it talks, and serves nothing"
    );
    assert!(matches!(silent("true"), Err(Start::NotServing(_))));
    assert!(matches!(silent("/nowhere/at/all"), Err(Start::NotServing(_))));
}

/// A worker ends with its input, even while a kernel hangs.
#[test]
#[cfg(unix)]
fn no_worker_outlives_its_parent() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "tune::worker::tests::serving", "--nocapture"]);
    command.env(VARIABLE, "1").env(FAILURES, "begin:hang:0");
    command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let found = found();
    for request in [
        super::message::Request::Open {
            candidates: 1,
            cache: CacheMode::Cold,
        },
        super::message::Request::Begin {
            op: found.checked.op().clone(),
            specialisation: found.specialisation.clone(),
            sizes: found.buckets[0].clone(),
            seed: 1,
            warm_inputs: Vec::new(),
            time: super::message::Left::until(Instant::now()),
        },
    ] {
        let bytes = energy_kernel_compiler::record::encoding::encode(&request).unwrap();
        input.write_all(&bytes).unwrap();
    }
    std::thread::sleep(Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none(), "it hangs");
    drop(input);
    let end = Instant::now() + Duration::from_secs(10);
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < end, "it still runs");
        std::thread::sleep(Duration::from_millis(10));
    }
}
