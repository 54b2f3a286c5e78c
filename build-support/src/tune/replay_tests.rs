//! Sweeps on the emulated device, and tuning on their traces.

use super::testing::operator;
use super::trace::{Recorder, Trace};
use super::{Backend, EmulatedBackend, Memory, Profile, ReplayBackend, Settings, Step, search, sweep};
use crate::bench::Job;
use crate::source::scan::Found;
use energy_kernel_compiler::record::{CacheMode, Objective, Record};
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::{Duration, Instant};

const SETTINGS: Settings = Settings {
    objective: Objective::Energy { slack: 0.3 },
    seed: 1,
    emulated_candidates: 12,
    emulated_operations: 1e9,
    candidates: 64,
    measurements: None,
    patience: 10,
    cache: CacheMode::Cold,
};

fn product() -> Found {
    operator(
        "tune(M = 16, N = 24, K = 32)",
        "fn product(a: Tensor<f32, (M, K)>, b: Tensor<f32, (K, N)>) -> Tensor<f32, (M, N)> { |m, n| sum(|k| a[[m, k]] * b[[k, n]]) }",
    )
}

fn job<'a>(found: &'a Found) -> Job<'a> {
    let end = Instant::now() + Duration::from_secs(60);
    Job {
        found,
        sizes: &found.buckets[0],
        deadline: end,
        limit: end,
        journal: None,
        stages: None,
    }
}

fn emulated() -> EmulatedBackend {
    EmulatedBackend::new(
        Profile::Hopper,
        SETTINGS.emulated_candidates,
        SETTINGS.emulated_operations,
    )
}

fn tune(backend: &mut impl Backend, found: &Found, settings: &Settings) -> Result<Record, String> {
    search(
        backend,
        &job(found),
        settings,
        &mut Memory::default(),
        &mut |_: Step<'_>| (),
    )
}

fn record(found: &Found, settings: &Settings, path: &Path) -> super::Swept {
    let mut recorder = Recorder::open(path).unwrap();
    sweep(&mut emulated(), &job(found), settings, &mut recorder, &mut |_: Step<
        '_,
    >| ())
    .unwrap()
}

#[test]
fn a_sweep_goes_on_where_it_ended_and_tuning_on_it_chooses_what_tuning_on_the_device_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.jsonl");
    let found = product();
    let first = record(
        &found,
        &Settings {
            measurements: NonZeroUsize::new(5),
            ..SETTINGS
        },
        &path,
    );
    assert_eq!((first.points, first.known, first.left), (5, 0, 7));
    let second = record(&found, &SETTINGS, &path);
    assert_eq!(
        (second.points, second.known, second.left, second.rejected.len()),
        (12, 5, 0, 0)
    );

    let trace = Trace::read(&path).unwrap();
    let [recording] = &trace.recordings[..] else { panic!() };
    assert_eq!(recording.points.len(), 12);
    assert_eq!(recording.problem.features.len(), recording.points[0].features.len());
    assert_eq!(recording.sweep().points.len(), 12);
    assert!(recording.sweep().problem.contains("product (M = 16") && recording.device.simulated);

    let on_the_device = tune(&mut emulated(), &found, &SETTINGS).unwrap();
    let mut backend = ReplayBackend::new(trace.clone(), 64).unwrap();
    let replayed = tune(&mut backend, &found, &SETTINGS).unwrap();
    let chosen = |record: &Record| {
        let point = record.choose(SETTINGS.objective).unwrap();
        (point.program.clone(), point.kernel_hash)
    };
    assert_eq!(chosen(&replayed), chosen(&on_the_device));
    assert_eq!((replayed.statistics.space, replayed.statistics.timed), (12, 12));
    assert!(replayed.energy_measured);
    let newest = recording.points.iter().map(|point| point.measured_at).max();
    assert_eq!(Some(replayed.measured_at), newest, "it is as old as the trace");
    // A limit of measurements holds, and the measured candidates are a result.
    let few = Settings {
        measurements: NonZeroUsize::new(1),
        ..SETTINGS
    };
    let hasty = tune(&mut backend, &found, &few).unwrap();
    assert_eq!((hasty.statistics.energy_measured, hasty.energy_measured), (1, true));
}

#[test]
fn what_is_not_in_the_trace_is_not_legal_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.jsonl");
    let found = product();
    record(
        &found,
        &Settings {
            measurements: NonZeroUsize::new(3),
            ..SETTINGS
        },
        &path,
    );
    let trace = Trace::read(&path).unwrap();

    let other = operator(
        "tune(M = 16, N = 24)",
        "fn other(a: Tensor<f32, (M, N)>) -> Tensor<f32, (M, N)> { |m, n| a[[m, n]] + 1.0 }",
    );
    let why = tune(&mut ReplayBackend::new(trace.clone(), 64).unwrap(), &other, &SETTINGS).unwrap_err();
    assert!(why.contains("no measurement of this operator"), "{why}");

    // The compiler now emits another kernel.
    let mut changed = trace.clone();
    for point in &mut changed.recordings[0].points {
        point.kernel_hash[0] ^= 1;
    }
    let why = tune(&mut ReplayBackend::new(changed, 64).unwrap(), &found, &SETTINGS).unwrap_err();
    assert!(why.contains("emits another kernel than was recorded"), "{why}");

    // Old recordings under an earlier name, of old kernels, do not hide newer ones.
    let mut renamed = trace.clone();
    let mut former = renamed.recordings[0].clone();
    former.problem.operator = "former".to_owned();
    for point in &mut former.points {
        point.kernel_hash[0] ^= 1;
        point.measured_at -= 1;
    }
    renamed.recordings.insert(0, former);
    let record = tune(&mut ReplayBackend::new(renamed, 64).unwrap(), &found, &SETTINGS).unwrap();
    assert_eq!(record.statistics.timed, 3);

    // A trace without energies gives latencies only.
    let mut timed = trace.clone();
    timed.recordings[0]
        .points
        .iter_mut()
        .for_each(|point| point.energy = None);
    let record = tune(&mut ReplayBackend::new(timed, 64).unwrap(), &found, &SETTINGS).unwrap();
    assert!(!record.energy_measured && record.front.iter().all(|point| point.energy.is_none()));

    let mut two = trace.clone();
    two.recordings.push(two.recordings[0].clone());
    two.recordings[1].device.multiprocessors += 1;
    let why = ReplayBackend::new(two, 64).unwrap_err();
    assert!(why.contains("several devices"), "{why}");
    assert!(ReplayBackend::new(Trace::default(), 64).is_err());
    let mut old = trace;
    old.recordings[0].device.compute_capability = (7, 5);
    assert!(ReplayBackend::new(old, 64).unwrap_err().contains("below 8.0"));
}
