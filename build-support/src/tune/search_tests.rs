//! The search with a scripted backend, and with the emulated device.

use super::backend::{Backend, BackendError, Instance, Measured, OutputIndex};
use super::data::Data;
use super::evolve::most_like;
use super::testing::{conditions, device, operator};
use super::workload::pick;
use super::{EmulatedBackend, Memory, Profile, Settings, Step, journaled, search};
use crate::bench::Job;
use crate::source::scan::Found;
use energy_kernel_compiler::estimate;
use energy_kernel_compiler::kernel::Kernel;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::record::*;
use energy_kernel_compiler::reference::Reference;
use energy_kernel_compiler::schedule::{self, Schedule};
use energy_kernel_compiler::target::{Machine, Target};
use energy_kernel_compiler::tuning;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

/// A device that returns the reference's results, and whose figures depend on a kernel's threads per block.
struct Scripted {
    device: DeviceClass,
    /// The block sizes that give wrong results.
    wrong: Vec<u32>,
    /// The block sizes that are refused.
    refused: Vec<u32>,
    /// The block sizes during which the tuner dies.
    deadly: Vec<u32>,
    /// The block sizes that fault during the energy measurement.
    faulty: Vec<u32>,
    /// The number of latencies after which the device breaks.
    breaks_after: usize,
    /// The time of each measurement.
    takes: Duration,
    counter: bool,
    free: bool,
    /// `true` for all families, `false` for `plain` only. Many schedules of other families have equal figures, and no search measures them all.
    every_family: bool,
    most_candidates: usize,
    latencies: usize,
    energies: Vec<u32>,
}

impl Default for Scripted {
    fn default() -> Scripted {
        Scripted {
            device: device(),
            wrong: Vec::new(),
            refused: Vec::new(),
            deadly: Vec::new(),
            faulty: Vec::new(),
            breaks_after: usize::MAX,
            takes: Duration::ZERO,
            counter: true,
            free: false,
            every_family: false,
            most_candidates: 1000,
            latencies: 0,
            energies: Vec::new(),
        }
    }
}

impl Scripted {
    fn measured(&self, mean: f64) -> Measured {
        std::thread::sleep(self.takes);
        Measured {
            estimate: Estimate {
                mean,
                interval: mean / 1000.0,
            },
            conditions: conditions(),
            latency: None,
        }
    }
}

impl Backend for Scripted {
    /// Threads per block.
    type Candidate = u32;

    fn device(&self) -> &DeviceClass {
        &self.device
    }

    fn machine(&self) -> Machine {
        Machine::like(Target::Sm90)
    }

    fn most_candidates(&self) -> usize {
        self.most_candidates
    }

    fn has(&self, schedule: &Schedule) -> bool {
        self.every_family || matches!(schedule, Schedule::Plain(_))
    }

    fn energy_is_free(&self) -> bool {
        self.free
    }

    fn begin(&mut self, _: Instance<'_>, _: Instant) -> Result<(), BackendError> {
        Ok(())
    }

    fn load(
        &mut self,
        instance: Instance<'_>,
        kernel: &Kernel,
        indices: &[OutputIndex],
        _: Instant,
    ) -> Result<(u32, Vec<u64>), BackendError> {
        let threads = kernel.launches[0].block[0];
        if self.refused.contains(&threads) {
            return Err(BackendError::rejected(Reason::Spills, "8 bytes a thread"));
        }
        assert!(!self.deadly.contains(&threads), "killed");
        let bytes: Vec<&[u8]> = instance.inputs.iter().map(|data| data.bytes.as_slice()).collect();
        let reference = Reference::new(instance.checked, instance.sizes, &bytes).unwrap();
        let output = &instance.checked.op().outputs[0];
        let mut data = Data {
            element: output.element,
            shape: reference.shape(0),
            bytes: reference.output(0),
        };
        if self.wrong.contains(&threads) {
            let end = data.bytes.len();
            data.bytes[end - 1] ^= 0x40;
        }
        Ok((threads, pick(&[data], indices)))
    }

    /// Blocks of 256 threads are slightly the fastest.
    fn latency(&mut self, _: Instance<'_>, &threads: &u32, _: Instant) -> Result<Measured, BackendError> {
        self.latencies += 1;
        if self.latencies > self.breaks_after {
            return Err(BackendError::Broken("it fell off the bus".into()));
        }
        Ok(self.measured(match threads {
            256 => 1.00e-5,
            128 => 1.02e-5,
            64 => 1.04e-5,
            _ => 3.0e-5,
        }))
    }

    /// Smaller blocks need less energy.
    fn energy(
        &mut self,
        _: Instance<'_>,
        &threads: &u32,
        _: f64,
        _: Instant,
    ) -> Result<Option<Measured>, BackendError> {
        self.energies.push(threads);
        if self.faulty.contains(&threads) {
            return Err(BackendError::rejected(Reason::Faulted, "illegal address"));
        }
        Ok(self.counter.then(|| self.measured(f64::from(threads) * 1e-5)))
    }
}

const SETTINGS: Settings = Settings {
    objective: Objective::Energy { slack: 0.05 },
    seed: 1,
    emulated_candidates: 6,
    emulated_operations: 1e9,
    candidates: 64,
    measurements: None,
    patience: 10,
    cache: CacheMode::Cold,
};

/// Ignores the steps of a tuner.
fn quiet(_: Step<'_>) {}

fn found() -> Found {
    // A reduction over an axis of its own keeps the pointwise family away.
    operator(
        "dims(ONE = 1), tune(N = 100)",
        "fn double(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> { |n| prod(|r: ONE| x[[n]] * 2.0 + (r as f32)) }",
    )
}

fn tune(backend: &mut Scripted, found: &Found, journal: Option<&Path>, time: Duration) -> Result<Record, String> {
    let job = Job {
        found,
        sizes: &found.buckets[0],
        deadline: Instant::now() + time,
        limit: Instant::now() + AMPLE,
        journal,
        stages: None,
    };
    search(backend, &job, &SETTINGS, &mut Memory::default(), &mut quiet)
}

const AMPLE: Duration = Duration::from_secs(60);

fn threads(point: &Point) -> u32 {
    let found = found();
    let machine = Machine::like(Target::Sm90);
    let kernel = energy_kernel_compiler::lower::lower(
        &Problem::new(&found.checked, &found.specialisation, machine),
        &point.program,
    );
    kernel.unwrap().launches[0].block[0]
}

#[test]
fn the_least_energy_within_the_bound_is_found_and_no_energy_is_measured_beyond_it() {
    let found = found();
    let mut backend = Scripted::default();
    let record = tune(&mut backend, &found, None, AMPLE).unwrap();
    assert!(record.energy_measured);
    let chosen = record.choose(SETTINGS.objective).unwrap();
    assert_eq!(threads(chosen), 64);
    assert_eq!(record.best_latency(), Some(1.00e-5));
    assert!(
        backend.energies.iter().all(|threads| *threads <= 256),
        "{:?}",
        backend.energies
    );
    assert_eq!(backend.energies[0], 256, "the fastest first");
    assert_eq!(record.statistics.timed as usize, backend.latencies);
    let mut space = schedule::space(&Problem::new(
        &found.checked,
        &found.specialisation,
        Machine::like(Target::Sm90),
    ));
    space.retain(|schedule| backend.has(schedule));
    assert_eq!(record.statistics.space as usize, space.len());
    assert_eq!(record.front.iter().map(threads).collect::<Vec<_>>(), [256, 128, 64]);
}

/// The schedules that run without a search are among the first candidates, so that a search does no worse.
#[test]
fn what_would_run_untuned_is_tried_early() {
    let functions = [
        (
            "tune(M = [16, 64], N = 256, K = 192)",
            "fn linear(x: Tensor<f32, (M, K)>, w: Tensor<f32, (N, K)>) -> Tensor<f32, (M, N)> { |m, n| sum(|k| x[[m, k]] * w[[n, k]]) }",
        ),
        (
            "tune(R = 64, C = 1024)",
            "fn norm(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R, C)> { let s = |r| sum(|c| x[[r, c]] * x[[r, c]]); |r, c| x[[r, c]] / s[[r]] }",
        ),
        (
            "tune(R = 64, C = 2048)",
            "fn scaled(x: Tensor<f16, (R, C)>, a: f32) -> Tensor<f16, (R, C)> { |r, c| x[[r, c]] * a }",
        ),
    ];
    let mut backend = Scripted {
        every_family: true,
        most_candidates: 3,
        ..Scripted::default()
    };
    let machine = backend.machine();
    let mut differ = 0;
    for (attributes, function) in functions {
        let found = operator(attributes, function);
        let (checked, sizes) = (&found.checked, &found.buckets[0]);
        let untuned = tuning::untuned(checked, sizes);
        let near = estimate::near(checked, &untuned, sizes);
        let tuned = estimate::default(&Problem::new(checked, &found.specialisation, machine), sizes);
        let (_, untuned) = estimate::untuned(checked, &untuned, machine, &near);
        let like = most_like(
            &schedule::space(&Problem::new(checked, &found.specialisation, machine)),
            untuned,
        )
        .unwrap();
        differ += usize::from(like != tuned);
        let job = Job {
            found: &found,
            sizes,
            deadline: Instant::now() + AMPLE,
            limit: Instant::now() + AMPLE,
            journal: None,
            stages: None,
        };
        let mut tried = Vec::new();
        let mut note = |step: Step<'_>| {
            if let Step::Candidate { program, .. } = step {
                tried.extend(program.lone().copied());
            }
        };
        search(&mut backend, &job, &SETTINGS, &mut Memory::default(), &mut note).unwrap();
        assert_eq!((tried.len(), tried[0]), (3, tuned), "{function}");
        assert!(
            tried.contains(&like),
            "{function}: {like}, like {untuned}, is not of {tried:?}"
        );
    }
    assert!(differ > 0, "the operators show nothing");
}

/// The energies measured for an operator with many candidates, with or without kills and resumptions.
#[test]
fn few_of_many_energies_are_measured_and_a_resumed_search_measures_the_same() {
    let found = operator(
        "tune(M = 48, N = 64, K = 16)",
        "fn product(a: Tensor<f32, (M, K)>, b: Tensor<f32, (K, N)>) -> Tensor<f32, (M, N)> { |m, n| sum(|k| a[[m, k]] * b[[k, n]]) }",
    );
    let run = |backend: &mut ByBlocks, journal: Option<&Path>| {
        let job = Job {
            found: &found,
            sizes: &found.buckets[0],
            deadline: Instant::now() + AMPLE,
            limit: Instant::now() + AMPLE,
            journal,
            stages: None,
        };
        let settings = Settings {
            objective: Objective::Energy { slack: 10.0 },
            candidates: 100,
            ..SETTINGS
        };
        search(backend, &job, &settings, &mut Memory::default(), &mut quiet)
    };
    let mut whole = ByBlocks::default();
    let record = run(&mut whole, None).unwrap();
    let timed = record.statistics.timed as usize;
    assert!(timed > 40, "{timed}");
    assert!(record.energy_measured);
    // The first six come by rising latency; the model predicts the others.
    let did = record.statistics;
    assert!(
        did.predicted == did.energy_measured - 6 && (1e-6..0.5).contains(&did.prediction_error),
        "{did:?}"
    );
    for point in record.front.iter().filter(|point| point.energy.is_some()) {
        let is_of_the_window = |&c: &[u32; 3]| point.latency.mean == whole.sustained(c);
        assert!(whole.energies.iter().any(is_of_the_window), "{point:?}");
    }
    assert!(
        (6..timed / 2).contains(&whole.energies.len()),
        "{} of {timed}",
        whole.energies.len()
    );

    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("a.journal");
    let mut energies = Vec::new();
    for breaks_after in [3, 8, usize::MAX] {
        let mut backend = ByBlocks {
            breaks_after,
            ..ByBlocks::default()
        };
        let resumed = run(&mut backend, Some(&journal)).unwrap();
        energies.extend(backend.energies);
        if breaks_after == usize::MAX {
            assert_eq!(resumed.front, record.front);
        }
    }
    assert_eq!(energies, whole.energies);
}

/// With what a run has learnt from one operator, the search of the next one needs fewer measurements for an equally good result.
#[test]
fn the_second_operator_of_a_run_starts_better_than_the_first() {
    let first = operator(
        "tune(M = 48, N = 64, K = 16)",
        "fn product(a: Tensor<f32, (M, K)>, b: Tensor<f32, (K, N)>) -> Tensor<f32, (M, N)> { |m, n| sum(|k| a[[m, k]] * b[[k, n]]) }",
    );
    let second = operator(
        "tune(M = 96, N = 80, K = 24)",
        "fn shifted(a: Tensor<f32, (M, K)>, b: Tensor<f32, (N, K)>, c: Tensor<f32, (N,)>) -> Tensor<f32, (M, N)> {
            |m, n| relu(sum(|k| a[[m, k]] * b[[n, k]]) + c[[n]])
        }",
    );
    let run = |found: &Found, memory: &mut Memory, backend: &mut ByBlocks, seed: u64| {
        let job = Job {
            found,
            sizes: &found.buckets[0],
            deadline: Instant::now() + AMPLE,
            limit: Instant::now() + AMPLE,
            journal: None,
            stages: None,
        };
        let settings = Settings {
            objective: Objective::Energy { slack: 10.0 },
            candidates: 100,
            seed,
            ..SETTINGS
        };
        let record = search(backend, &job, &settings, memory, &mut |_: Step<'_>| ()).unwrap();
        let least = record.choose(settings.objective).unwrap().energy.unwrap().mean;
        // Until one is measured that is as good as the chosen one.
        let until = 1 + backend
            .energies
            .iter()
            .position(|&c| backend.energy_of(c) <= 1.01 * least)
            .unwrap();
        (least, until, backend.energies.len())
    };
    let (mut all_alone, mut all_after) = (0, 0);
    for seed in 0..8 {
        let alone = run(&second, &mut Memory::default(), &mut ByBlocks::default(), seed);
        let mut memory = Memory::default();
        run(&first, &mut memory, &mut ByBlocks::default(), seed);
        let after = run(&second, &mut memory, &mut ByBlocks::default(), seed);
        assert!(after.0 <= 1.02 * alone.0, "{after:?} {alone:?}");
        (all_alone, all_after) = (all_alone + alone.1, all_after + after.1);
    }
    assert!(4 * all_after <= 3 * all_alone, "{all_after} {all_alone}");
}

/// A device whose latencies and energies depend on the launch. It returns the reference's results.
struct ByBlocks {
    scripted: Scripted,
    /// The number of energies until it breaks.
    breaks_after: usize,
    energies: Vec<[u32; 3]>,
    /// The reference's results at the indices of the instance.
    results: Option<Vec<u64>>,
}

impl ByBlocks {
    /// The latency in seconds: many threads, few blocks and much shared memory are slow.
    fn latency_of(&self, candidate: [u32; 3]) -> f64 {
        let [threads, blocks, shared] = candidate.map(f64::from);
        1e-5 * (1.0 + threads / 1024.0 + 10.0 / blocks + shared / 1e6)
    }

    /// The latency in the window of an energy, at a lower clock that differs between candidates.
    fn sustained(&self, candidate: [u32; 3]) -> f64 {
        self.latency_of(candidate) * (1.05 + f64::from(candidate[1] % 7) / 100.0)
    }

    /// Joules.
    fn energy_of(&self, candidate: [u32; 3]) -> f64 {
        let [threads, blocks, shared] = candidate.map(f64::from);
        let power = 200.0 + threads / 10.0 + 20.0 * blocks.log2() - shared / 1000.0;
        power * self.latency_of(candidate)
    }
}

impl Default for ByBlocks {
    fn default() -> ByBlocks {
        ByBlocks {
            scripted: Scripted::default(),
            breaks_after: usize::MAX,
            energies: Vec::new(),
            results: None,
        }
    }
}

impl Backend for ByBlocks {
    /// Threads, blocks, bytes of shared memory.
    type Candidate = [u32; 3];

    fn device(&self) -> &DeviceClass {
        self.scripted.device()
    }

    fn machine(&self) -> Machine {
        self.scripted.machine()
    }

    fn most_candidates(&self) -> usize {
        100
    }

    fn energy_is_free(&self) -> bool {
        false
    }

    fn begin(&mut self, _: Instance<'_>, _: Instant) -> Result<(), BackendError> {
        Ok(())
    }

    fn load(
        &mut self,
        instance: Instance<'_>,
        kernel: &Kernel,
        indices: &[OutputIndex],
        limit: Instant,
    ) -> Result<([u32; 3], Vec<u64>), BackendError> {
        let results = match &self.results {
            Some(results) if results.len() == indices.len() => results.clone(),
            _ => self.scripted.load(instance, kernel, indices, limit)?.1,
        };
        self.results = Some(results.clone());
        let blocks = kernel.launches[0].grid(instance.sizes).unwrap().iter().product();
        Ok((
            [kernel.launches[0].block[0], blocks, kernel.launches[0].dynamic_shared],
            results,
        ))
    }

    fn latency(&mut self, _: Instance<'_>, &candidate: &[u32; 3], _: Instant) -> Result<Measured, BackendError> {
        Ok(self.scripted.measured(self.latency_of(candidate)))
    }

    fn energy(
        &mut self,
        _: Instance<'_>,
        &candidate: &[u32; 3],
        _: f64,
        _: Instant,
    ) -> Result<Option<Measured>, BackendError> {
        if self.energies.len() == self.breaks_after {
            return Err(BackendError::Broken("it fell off the bus".into()));
        }
        self.energies.push(candidate);
        Ok(Some(Measured {
            latency: Some(Estimate {
                mean: self.sustained(candidate),
                interval: 0.0,
            }),
            ..self.scripted.measured(self.energy_of(candidate))
        }))
    }
}

#[test]
fn wrong_and_refused_candidates_never_compete() {
    let found = found();
    let mut backend = Scripted {
        wrong: vec![64],
        refused: vec![256],
        ..Scripted::default()
    };
    let record = tune(&mut backend, &found, None, AMPLE).unwrap();
    assert!(record.front.iter().all(|point| ![64, 256].contains(&threads(point))));
    let counts = Rejected::count(&record.rejected);
    assert!(counts[&Reason::Wrong] > 0 && counts[&Reason::Spills] > 0, "{counts:?}");
    let wrong = record.rejected.iter().find(|one| one.reason == Reason::Wrong).unwrap();
    assert!(wrong.detail.contains("elements are wrong"), "{wrong:?}");
    let mut backend = Scripted {
        wrong: (1..2000).collect(),
        ..Scripted::default()
    };
    let why = tune(&mut backend, &found, None, AMPLE).unwrap_err();
    assert!(why.contains(" wrong): "), "{why}");
    assert_eq!(backend.latencies, 0);
}

#[test]
fn a_candidate_that_faults_while_its_energy_is_measured_costs_itself_alone() {
    let found = found();
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("a.journal");
    let mut backend = Scripted {
        faulty: vec![256, 64],
        ..Scripted::default()
    };
    let record = tune(&mut backend, &found, Some(&journal), AMPLE).unwrap();
    assert!(record.energy_measured);
    assert_eq!(record.front.iter().map(threads).collect::<Vec<_>>(), [128]);
    assert_eq!(Rejected::summary(&record.rejected), "2 faulted");
    // A resumed tuning does not try them again.
    let mut backend = Scripted::default();
    let resumed = tune(&mut backend, &found, Some(&journal), AMPLE).unwrap();
    assert_eq!((backend.latencies, backend.energies.len()), (0, 0));
    assert_eq!((resumed.front, resumed.rejected.len()), (record.front, 2));
}

/// A tuning that was killed once tries the same candidate again, because of Ctrl-C. One that was killed twice does not.
#[test]
fn a_candidate_that_ends_the_tuner_twice_is_not_tried_again() {
    let found = found();
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("a.journal");
    for _ in 0..2 {
        let mut backend = Scripted {
            deadly: vec![128],
            ..Scripted::default()
        };
        let died = catch_unwind(AssertUnwindSafe(|| tune(&mut backend, &found, Some(&journal), AMPLE)));
        died.unwrap_err();
    }
    let mut backend = Scripted {
        deadly: vec![128],
        ..Scripted::default()
    };
    let record = tune(&mut backend, &found, Some(&journal), AMPLE).unwrap();
    assert_eq!(Rejected::summary(&record.rejected), "1 crashed");
    assert_eq!(record.front.iter().map(threads).collect::<Vec<_>>(), [256, 64]);
    // A start with any end does not count.
    let mut first = Scripted {
        breaks_after: 0,
        ..Scripted::default()
    };
    let other = folder.path().join("b.journal");
    for _ in 0..3 {
        tune(&mut first, &found, Some(&other), AMPLE).unwrap_err();
    }
    let record = tune(&mut Scripted::default(), &found, Some(&other), AMPLE).unwrap();
    assert_eq!(record.rejected, []);
}

#[test]
fn without_a_counter_the_record_says_that_energy_is_unmeasured() {
    let found = found();
    let record = tune(
        &mut Scripted {
            counter: false,
            ..Scripted::default()
        },
        &found,
        None,
        AMPLE,
    )
    .unwrap();
    assert!(!record.energy_measured);
    assert_eq!(record.front.len(), 1);
    assert_eq!((threads(&record.front[0]), record.front[0].energy), (256, None));
}

#[test]
fn the_deadline_is_kept_but_something_is_measured() {
    let found = found();
    let mut backend = Scripted {
        takes: Duration::from_millis(30),
        ..Scripted::default()
    };
    let record = tune(&mut backend, &found, None, Duration::ZERO).unwrap();
    assert_eq!(
        (backend.latencies, backend.energies.len(), record.energy_measured),
        (1, 0, false)
    );
    let mut backend = Scripted {
        takes: Duration::ZERO,
        free: true,
        ..Scripted::default()
    };
    let record = tune(&mut backend, &found, None, Duration::ZERO).unwrap();
    assert!(record.energy_measured, "what costs nothing is taken");
}

#[test]
fn an_interrupted_tuning_resumes_where_it_was() {
    let found = found();
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("a.journal");
    let whole = tune(&mut Scripted::default(), &found, None, AMPLE).unwrap();
    let mut broken = Scripted {
        breaks_after: 2,
        ..Scripted::default()
    };
    tune(&mut broken, &found, Some(&journal), AMPLE).unwrap();
    // Killed in the middle of a write.
    let mut bytes = std::fs::read(&journal).unwrap();
    bytes.extend_from_within(..100);
    std::fs::write(&journal, bytes).unwrap();
    let mut second = Scripted::default();
    let resumed = tune(&mut second, &found, Some(&journal), AMPLE).unwrap();
    assert_eq!(
        second.latencies as u64,
        whole.statistics.timed - 2,
        "what was timed is not timed again"
    );
    assert_eq!(resumed.front, whole.front);
    let mut third = Scripted::default();
    let again = tune(&mut third, &found, Some(&journal), AMPLE).unwrap();
    assert_eq!((third.latencies, third.energies.len()), (0, 0));
    assert_eq!(again.front, whole.front);
    // The journal of another operator, or nonsense, is of no use.
    std::fs::write(&journal, b"nonsense").unwrap();
    let mut fourth = Scripted::default();
    assert_eq!(
        tune(&mut fourth, &found, Some(&journal), AMPLE).unwrap().front,
        whole.front
    );
    assert!(fourth.latencies > 0);
}

#[test]
fn a_broken_device_ends_the_tuning_with_what_there_is() {
    let found = found();
    let mut backend = Scripted {
        breaks_after: 0,
        ..Scripted::default()
    };
    assert!(
        tune(&mut backend, &found, None, AMPLE)
            .unwrap_err()
            .contains("fell off the bus")
    );
    let mut backend = Scripted {
        breaks_after: 1,
        ..Scripted::default()
    };
    assert_eq!(tune(&mut backend, &found, None, AMPLE).unwrap().statistics.timed, 1);
}

#[test]
fn the_emulated_device_tunes_every_family_and_says_that_it_simulates() {
    let softmax = operator(
        "tune(R = 33, C = 100)",
        "fn softmax(x: Tensor<f16, (R, C)>) -> Tensor<f16, (R, C)> {
            let peak = |r| max(|c| x[[r, c]]);
            let total = |r| sum(|c| exp(x[[r, c]] - peak[[r]]));
            |r, c| exp(x[[r, c]] - peak[[r]]) / total[[r]]
        }",
    );
    let product = operator(
        "tune(M = 33, N = 20, K = 24)",
        "fn product(x: Tensor<f32, (M, K)>, w: Tensor<f32, (N, K)>, b: Tensor<i8, (N,)>) -> Tensor<f32, (M, N)> {
            |m, n| sum(|k| x[[m, k]] * w[[n, k]]) + b[[n]]
        }",
    );
    for found in [softmax, product] {
        let tune = || {
            let mut backend = EmulatedBackend::new(Profile::Hopper, 6, 1e9);
            let job = Job {
                found: &found,
                sizes: &found.buckets[0],
                deadline: Instant::now() + AMPLE,
                limit: Instant::now() + AMPLE,
                journal: None,
                stages: None,
            };
            search(
                &mut backend,
                &job,
                &SETTINGS,
                &mut Memory::default(),
                &mut |_: Step<'_>| (),
            )
            .unwrap()
        };
        let record = tune();
        assert_eq!(
            (record.statistics.timed, record.rejected.len()),
            (6, 0),
            "{}",
            found.name
        );
        assert!(record.energy_measured);
        assert!(
            record
                .front
                .iter()
                .all(|point| point.conditions.simulated_profile.as_deref() == Some("hopper"))
        );
        assert_eq!(tune().front, record.front, "the same every time");
    }
}

#[test]
fn what_would_take_hours_to_emulate_is_refused_at_once() {
    let product = operator(
        "tune(M = 8192, N = 8192, K = 8192)",
        "fn product(x: Tensor<i8, (M, K)>, w: Tensor<i8, (N, K)>) -> Tensor<i32, (M, N)> { |m, n| sum(|k| x[[m, k]] * w[[n, k]]) }",
    );
    let mut backend = EmulatedBackend::new(Profile::Hopper, 6, 1e9);
    let job = Job {
        found: &product,
        sizes: &product.buckets[0],
        deadline: Instant::now() + AMPLE,
        limit: Instant::now() + AMPLE,
        journal: None,
        stages: None,
    };
    let begun = Instant::now();
    let why = search(&mut backend, &job, &SETTINGS, &mut Memory::default(), &mut |_: Step<
        '_,
    >| ())
    .unwrap_err();
    assert!(
        why.contains("more than the 1e9") && !why.contains("allows more"),
        "{why}"
    );
    assert!(begun.elapsed() < Duration::from_secs(1));
}

/// `Kept` is reported for exactly the measurements in the journal, and never without a journal.
#[test]
fn what_is_kept_is_told_and_what_is_not_too() {
    let found = found();
    let folder = tempfile::tempdir().unwrap();
    let told = |journal: Option<&Path>| {
        let job = Job {
            found: &found,
            sizes: &found.buckets[0],
            deadline: Instant::now() + AMPLE,
            limit: Instant::now() + AMPLE,
            journal,
            stages: None,
        };
        let (mut measured, mut kept, mut lost) = (0, 0, 0);
        let mut tell = |step: Step<'_>| match step {
            Step::Kept => kept += 1,
            Step::NotKept { .. } => lost += 1,
            _ => {}
        };
        let mut backend = Scripted::default();
        let record = search(&mut backend, &job, &SETTINGS, &mut Memory::default(), &mut tell).unwrap();
        measured += record.statistics.timed + record.statistics.energy_measured;
        (measured, kept, lost)
    };
    let journal = folder.path().join("a.journal");
    let (measured, kept, lost) = told(Some(&journal));
    assert_eq!((kept, lost), (measured, 0));
    assert_eq!(journaled(&journal) as u64, kept);
    let nowhere = folder.path().join("no/folder/a.journal");
    let occupied = folder.path().join("occupied.journal");
    std::fs::create_dir(&occupied).unwrap();
    let mut impossible = vec![nowhere, occupied];
    if cfg!(unix) {
        let pipe = folder.path().join("pipe.journal");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        impossible.push(pipe);
    }
    for journal in &impossible {
        let (_, kept, lost) = told(Some(journal));
        assert!(kept == 0 && lost > 0, "{}", journal.display());
    }
    assert_eq!(told(None), (measured, 0, 0));
    // A journal that is too long begins again.
    let huge = folder.path().join("huge.journal");
    std::fs::File::create(&huge).unwrap().set_len(1 << 40).unwrap();
    assert_eq!(told(Some(&huge)), (measured, measured, 0));
    assert_eq!(journaled(&huge) as u64, measured);
}

/// A running launch is broken off. That does not reject the candidate in later tunings.
#[test]
fn emulation_never_outlasts_its_limit() {
    let product = operator(
        "tune(M = 512, N = 512, K = 256)",
        "fn product(x: Tensor<f32, (M, K)>, w: Tensor<f32, (N, K)>) -> Tensor<f32, (M, N)> { |m, n| sum(|k| x[[m, k]] * w[[n, k]]) }",
    );
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("a.journal");
    let mut backend = EmulatedBackend::new(Profile::Hopper, 6, 1e9);
    for (share, limit) in [(0, 100), (100, 100), (1000, 1000)] {
        let begun = Instant::now();
        let job = Job {
            found: &product,
            sizes: &product.buckets[0],
            deadline: begun + Duration::from_millis(share),
            limit: begun + Duration::from_millis(limit),
            journal: Some(&journal),
            stages: None,
        };
        let outcome = search(&mut backend, &job, &SETTINGS, &mut Memory::default(), &mut quiet);
        println!("{limit} ms: {:?}", begun.elapsed());
        assert!(
            begun.elapsed() < Duration::from_millis(limit + 2000),
            "{:?}",
            begun.elapsed()
        );
        if let Err(why) = outcome {
            assert!(why.contains("deadline") || why.contains("the time ended"), "{why}");
        }
        assert!(journaled(&journal) == 0 || limit == 1000);
    }
}

#[test]
fn what_would_not_fit_or_not_be_checked_in_time_is_not_emulated() {
    let total = operator(
        "dims(ONE = 1), tune(N = 100_000_000)",
        "fn total(x: Tensor<i8, (N,)>) -> Tensor<i32, (ONE,)> { |o| sum(|n| x[[n]]) }",
    );
    let lookup = operator(
        "tune(N = 4, V = 200_000_000)",
        "fn lookup(x: Tensor<i32, (N,)>, table: Tensor<i8, (V,)>) -> Tensor<i8, (N,)> { |n| table[[x[[n]]]] }",
    );
    for (found, says) in [(total, "to check"), (lookup, "bytes")] {
        let begun = Instant::now();
        let mut backend = EmulatedBackend::new(Profile::Hopper, 6, 1e9);
        let job = Job {
            found: &found,
            sizes: &found.buckets[0],
            deadline: begun + AMPLE,
            limit: begun + AMPLE,
            journal: None,
            stages: None,
        };
        let why = search(&mut backend, &job, &SETTINGS, &mut Memory::default(), &mut quiet).unwrap_err();
        assert!(why.contains(says), "{why}");
        assert!(begun.elapsed() < Duration::from_secs(1));
    }
}

#[test]
fn half_of_the_time_is_kept_for_energy() {
    let found = found();
    let mut backend = Scripted {
        takes: Duration::from_millis(200),
        every_family: true,
        ..Scripted::default()
    };
    let record = tune(&mut backend, &found, None, Duration::from_secs(1)).unwrap();
    assert!(
        record.statistics.energy_measured >= 1 && backend.latencies <= 4,
        "{:?}",
        record.statistics
    );
}
