//! The search of operators in several stages, on the emulated device.

use super::backend::Backend;
use super::programs::search;
use super::testing::operator;
use super::{EmulatedBackend, Memory, Profile, Settings, Step};
use crate::bench::{Job, StageResults};
use crate::build::Build;
use crate::cache::{Cache, CachedStages, Place};
use crate::source::scan::Found;
use energy_kernel_compiler::record::encoding::{decode, encode};
use energy_kernel_compiler::record::{CacheFile, DeviceClass, Record};
use std::cell::RefCell;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

const LAYERS: &str =
    "fn layers(x: Tensor<f32, (M, K)>, v: Tensor<f32, (J, K)>, w: Tensor<f32, (N, J)>) -> Tensor<f32, (M, N)> {
    let hidden = |m, j| relu(sum(|k| x[[m, k]] * v[[j, k]]));
    |m, n| sum(|j| hidden[[m, j]] * w[[n, j]])
}";

/// The first stage is that of `layers`; the second one adds a bias.
const BIASED: &str = "fn biased(y: Tensor<f32, (M, K)>, v: Tensor<f32, (J, K)>, w: Tensor<f32, (N, J)>, b: Tensor<f32, (N,)>) -> Tensor<f32, (M, N)> {
    |m, n| sum(|j| relu(sum(|k| y[[m, k]] * v[[j, k]])) * w[[n, j]]) + b[[n]]
}";

const SIZES: &str = "tune(M = 48, K = 64, J = 96, N = 40)";

fn settings() -> Settings {
    Settings {
        emulated_candidates: 3,
        emulated_operations: 1e10,
        ..Build::new().settings()
    }
}

/// The class of the emulated device.
fn device() -> DeviceClass {
    EmulatedBackend::new(Profile::Hopper, 1, 1.0).device().clone()
}

/// The record of a search, and its steps as words.
fn tune(found: &Found, journal: Option<&Path>, stages: Option<&dyn StageResults>) -> (Record, Vec<&'static str>) {
    let mut backend = EmulatedBackend::new(Profile::Hopper, 3, 1e10);
    let job = Job {
        found,
        sizes: &found.buckets[0],
        deadline: Instant::now() + Duration::from_secs(600),
        limit: Instant::now() + Duration::from_secs(600),
        journal,
        stages,
    };
    let mut steps = Vec::new();
    let mut note = |step: Step<'_>| match step {
        Step::Stage { .. } => steps.push("stage"),
        Step::Whole => steps.push("whole"),
        Step::Candidate { .. } => steps.push("candidate"),
        Step::Kept => steps.push("kept"),
        Step::Rejected { rejected } => panic!("{rejected:?}"),
        _ => {}
    };
    let record = search(&mut backend, &job, &settings(), &mut Memory::default(), &mut note).unwrap();
    (record, steps)
}

/// Keeps records in memory.
#[derive(Debug, Default)]
struct Kept(RefCell<Vec<(Found, Record)>>);

impl StageResults for Kept {
    fn find(&self, stage: &Found, sizes: &[u64], _: &DeviceClass) -> Option<Record> {
        let kept = self.0.borrow();
        let found = kept
            .iter()
            .find(|(known, record)| known.fingerprint == stage.fingerprint && record.sizes == sizes);
        found.map(|(_, record)| record.clone())
    }

    fn keep(&self, stage: &Found, _: &DeviceClass, record: &Record) {
        self.0.borrow_mut().push((stage.clone(), record.clone()));
    }
}

#[test]
fn stages_are_tuned_alone_and_programs_are_measured_as_wholes() {
    let found = operator(SIZES, LAYERS);
    let (record, steps) = tune(&found, None, None);
    assert_eq!(steps.iter().filter(|&&step| step == "stage").count(), 2, "{steps:?}");
    let whole = steps.iter().position(|&step| step == "whole").unwrap();
    let after = steps[whole..].iter().filter(|&&step| step == "candidate").count();
    assert!((1..=8 + 3).contains(&after), "{steps:?}");
    let fastest = &record.front[0];
    println!("{}: {:e} s", fastest.program, fastest.latency.mean);
    assert_eq!(fastest.program.stages.len(), 2, "{}", fastest.program);
    assert!(record.front.iter().all(|point| point.energy.is_some()));
    assert!(record.energy_measured && !found.is_stale(&device(), &record));
    assert!(record.statistics.timed >= record.statistics.energy_measured);
    assert!(record.statistics.timed as usize > after, "the stages count, too");
    // The record needs no other one.
    let file = crate::cache_file(&found, &device(), record);
    assert_eq!(decode::<CacheFile>(&encode(&file).unwrap()).unwrap(), file);
}

#[test]
fn operators_share_the_results_of_equal_stages() {
    let kept = Kept::default();
    let (layers, biased) = (operator(SIZES, LAYERS), operator(SIZES, BIASED));
    let (_, first) = tune(&layers, None, Some(&kept));
    let (_, second) = tune(&biased, None, Some(&kept));
    let names: Vec<String> = kept.0.borrow().iter().map(|(found, _)| found.name.clone()).collect();
    assert_eq!(names, ["a stage of layers", "a stage of layers", "a stage of biased"]);
    assert_eq!(candidates(&first), [3, 3]);
    assert_eq!(candidates(&second), [0, 3], "the first stage is known");
    // The same again takes nothing but the whole.
    let (_, third) = tune(&layers, None, Some(&kept));
    assert_eq!(candidates(&third), [0, 0]);
    // What earlier stages stored is warm, so its results are not those of an operator.
    let kept = kept.0.borrow();
    assert_eq!(
        kept.iter()
            .map(|(found, _)| found.warm_inputs.as_slice())
            .collect::<Vec<_>>(),
        [&[][..], &[0], &[0]]
    );
    let fingerprint = energy_kernel_compiler::fingerprint::of;
    assert!(
        kept.iter()
            .all(|(found, _)| fingerprint(&found.checked).unwrap() != found.fingerprint)
    );
}

/// The numbers of candidates of each stage.
fn candidates(steps: &[&str]) -> Vec<usize> {
    let stages = steps.split(|&step| step == "stage").skip(1);
    let own = stages.map(|steps| steps.iter().take_while(|&&step| step != "whole"));
    own.map(|steps| steps.filter(|&&step| step == "candidate").count())
        .collect()
}

#[test]
fn the_users_cache_keeps_results_of_stages_apart_from_those_of_operators() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::of(
        &folder.path().join("package"),
        "package",
        Some(&folder.path().join("user")),
    );
    let shared = |replaced_since| CachedStages {
        cache: &cache,
        replaced_since,
        modified: None,
    };
    let layers = operator(SIZES, LAYERS);
    // An operator that is the same as the first stage.
    let first = operator(
        "tune(M = 48, K = 64, J = 96)",
        "fn first(x: Tensor<f32, (M, K)>, v: Tensor<f32, (J, K)>) -> Tensor<f32, (M, J)> { |m, j| relu(sum(|k| x[[m, k]] * v[[j, k]])) }",
    );
    let (record, _) = tune(&first, None, None);
    let file = crate::cache_file(&first, &device(), record);
    cache
        .store(Place::User, &file, std::slice::from_ref(&first), None)
        .unwrap();
    let (_, steps) = tune(&layers, None, Some(&shared(None)));
    assert_eq!(candidates(&steps), [0, 3], "the operator's record serves its stage");
    let (_, steps) = tune(&layers, None, Some(&shared(None)));
    assert_eq!(candidates(&steps), [0, 0]);
    assert_eq!(cache.files(Place::User).len(), 2, "the operator and the second stage");
    let contents = cache.read(&[layers.clone(), first.clone()]);
    assert!(contents.record(&first, &first.buckets[0], &device()).is_some());
    assert!(contents.record(&layers, &layers.buckets[0], &device()).is_none());
    assert_eq!(contents.warnings, Vec::<String>::new());
    // Asked for new results, older ones do not count.
    let (_, steps) = tune(
        &layers,
        None,
        Some(&shared(Some(SystemTime::now() + Duration::from_secs(3600)))),
    );
    assert_eq!(candidates(&steps), [3, 3]);
}

#[test]
fn an_interrupted_tuning_of_stages_resumes() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let found = operator(SIZES, LAYERS);
    let (record, steps) = tune(&found, Some(&journal), None);
    assert!(steps.contains(&"kept"));
    let (again, steps) = tune(&found, Some(&journal), None);
    assert!(!steps.contains(&"kept"), "{steps:?}");
    assert_eq!(again.front, record.front);
}

#[test]
fn operators_with_nothing_worth_storing_have_no_stages() {
    let found = operator(
        "tune(R = 32, C = 64)",
        "fn softmax(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R, C)> {
            let peak = |r| max(|c| x[[r, c]]);
            let total = |r| sum(|c| exp(x[[r, c]] - peak[[r]]));
            |r, c| exp(x[[r, c]] - peak[[r]]) / total[[r]]
        }",
    );
    let (record, steps) = tune(&found, None, None);
    assert!(!steps.contains(&"stage"));
    assert!(record.front.iter().all(|point| point.program.lone().is_some()));
}
