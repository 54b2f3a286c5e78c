//! Runs of the build script on packages in temporary folders, with a bench that measures nothing.

use super::execute;
use super::outcome::Outcome;
use super::workshop::Workshop;
use crate::bench::lock_of;
use crate::cache::{Cache, Lock, Place};
use crate::{Bench, Build, Environment, Job, Policy, cache_file};
use energy_kernel_compiler::lower::lower;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::record::encoding::{FORMAT_VERSION, decode, encode};
use energy_kernel_compiler::record::*;
use energy_kernel_compiler::schedule::{self, Plain, Schedule};
use energy_kernel_compiler::target::{Machine, Target};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SOURCE: &str = "
use energy_kernel::prelude::*;

/// Softmax of rows.
#[energy_kernel(tune(R = [4, 64], C = 128))]
pub fn softmax(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R, C)> {
    let peak = |r| max(|c| x[[r, c]]);
    let total = |r| sum(|c| exp(x[[r, c]] - peak[[r]]));
    |r, c| exp(x[[r, c]] - peak[[r]]) / total[[r]]
}

mod inner {
    #[cfg_attr(feature = \"gpu\", ::energy_kernel::energy_kernel(types(T = [f16, f32]), tune(N = 1024)))]
    pub fn twice<T>(x: Tensor<T, (N,)>) -> Tensor<T, (N,)> {
        |n| x[[n]] * 2.0
    }
}

#[energy_kernel]
pub fn never_tuned(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {
    |n| -x[[n]]
}

#[energy_kernel(tune(N = 8))]
pub fn wrong(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {
    |n| y[[n]]
}
";

/// Two sizes of `softmax`, one of each `twice`.
const BUCKETS: usize = 4;

/// A package in a temporary folder.
struct Package {
    root: tempfile::TempDir,
    build: Build,
    variables: BTreeMap<String, String>,
    now: SystemTime,
    workshop: Fake,
    /// The user's cache.
    cache: PathBuf,
}

impl Package {
    fn new() -> Package {
        Package::with_source(SOURCE)
    }

    fn with_source(source: &str) -> Package {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("package/src")).unwrap();
        fs::create_dir_all(root.path().join("out")).unwrap();
        let package = Package {
            build: Build::new(),
            variables: [
                ("TARGET", "x86"),
                ("HOST", "x86"),
                ("PROFILE", "release"),
                ("CARGO_PKG_NAME", "demo"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
            now: UNIX_EPOCH + Duration::from_secs(1_790_000_000),
            workshop: Fake::default(),
            cache: root.path().join("cache"),
            root,
        };
        package.write("src/lib.rs", source);
        package
    }

    /// Another package, or another checkout of the same, with the same user's cache.
    fn beside(&self, name: &str, source: &str) -> Package {
        let mut other = Package::with_source(source);
        other.variables.insert("CARGO_PKG_NAME".into(), name.into());
        other.cache.clone_from(&self.cache);
        other
    }

    fn set(&mut self, variable: &str, value: &str) {
        self.variables.insert(variable.into(), value.into());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path("package").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn environment(&self) -> Environment {
        let mut variables = self.variables.clone();
        variables.insert("CARGO_MANIFEST_DIR".into(), self.path("package").display().to_string());
        variables.insert("OUT_DIR".into(), self.path("out").display().to_string());
        Environment {
            variables,
            user_cache: Some(self.cache.clone()),
            cargo_home: None,
            gpus: String::new(),
            now: self.now,
            invoked: self.now - Duration::from_millis(5),
        }
    }

    fn run(&mut self) -> Outcome {
        execute(&self.build.clone(), &self.environment(), &mut self.workshop)
    }

    fn cache(&self) -> Cache {
        let name = &self.variables["CARGO_PKG_NAME"];
        Cache::of(&self.path("package"), name, Some(&self.cache))
    }

    fn index(&self) -> Index {
        decode(&fs::read(self.path("out/energy-kernel").join(Index::FILE)).unwrap()).unwrap()
    }

    fn bundles(&self) -> Vec<Bundle> {
        let read = |fingerprint| fs::read(self.path("out/energy-kernel").join(Bundle::file_name(fingerprint))).unwrap();
        self.index()
            .fingerprints
            .iter()
            .map(|f| decode(&read(f)).unwrap())
            .collect()
    }

    fn tuned(&self) -> usize {
        self.workshop.tuned.borrow().len()
    }

    /// Changes all results of the user's cache.
    fn change(&self, change: impl Fn(&mut Record)) {
        for path in self.cache().files(Place::User) {
            let mut file = crate::cache::read_file(&path).unwrap();
            file.records.iter_mut().for_each(&change);
            fs::write(path, encode(&file).unwrap()).unwrap();
        }
    }

    /// Copies the results of the user's cache into the package.
    fn ship(&self) {
        let folder = self.path("package/energy-cache");
        fs::create_dir_all(&folder).unwrap();
        for path in self.cache().files(Place::User) {
            fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
        }
    }

    /// The distinct times of the embedded measurements.
    fn measured_at(&self) -> Vec<u64> {
        let bundles = self.bundles();
        let buckets = bundles.iter().flat_map(|bundle| &bundle.devices[0].buckets);
        let mut times: Vec<u64> = buckets.map(|bucket| bucket.measured_at).collect();
        times.sort_unstable();
        times.dedup();
        times
    }
}

fn asks_to_be_rerun(outcome: &Outcome) -> bool {
    outcome.directives.iter().any(|line| line.ends_with("again"))
}

fn warnings(outcome: &Outcome) -> Vec<&str> {
    let texts = outcome
        .directives
        .iter()
        .filter_map(|line| line.strip_prefix("cargo::warning="));
    texts.collect()
}

/// Benches for which the default schedule is the best.
#[derive(Clone)]
struct Fake {
    gpu: Result<(), String>,
    simulated: bool,
    tuned: Rc<RefCell<Vec<String>>>,
    announced: Vec<String>,
    trouble: Trouble,
    measured_at: u64,
    /// The change to a file during a tuning.
    edit: Option<(PathBuf, String)>,
    /// A folder that holds a file during each measurement. Two at a time are an error.
    measuring: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq)]
enum Trouble {
    None,
    Error,
    Panic,
    OpenPanics,
    Slow,
    NoEnergy,
    Defects,
}

impl Default for Fake {
    fn default() -> Fake {
        Fake {
            gpu: Ok(()),
            simulated: false,
            tuned: Rc::default(),
            announced: Vec::new(),
            trouble: Trouble::None,
            measured_at: 1000,
            edit: None,
            measuring: None,
        }
    }
}

fn device(simulated: bool) -> DeviceClass {
    DeviceClass {
        name: "NVIDIA H200".into(),
        compute_capability: (9, 0),
        multiprocessors: 132,
        memory_bytes: 140 << 30,
        simulated,
    }
}

struct FakeBench(Fake, DeviceClass);

impl Workshop for Fake {
    fn can_tune(&self) -> bool {
        true
    }

    fn open(&mut self, gpu: bool, emulated: bool) -> Result<Box<dyn Bench>, String> {
        assert!(self.trouble != Trouble::OpenPanics, "as asked");
        match (&self.gpu, gpu, emulated) {
            (Ok(()), true, _) => Ok(Box::new(FakeBench(self.clone(), device(false)))),
            (_, _, true) => Ok(Box::new(FakeBench(
                Fake {
                    simulated: true,
                    ..self.clone()
                },
                device(true),
            ))),
            (Err(why), ..) => Err(why.clone()),
            _ => Err("not allowed".into()),
        }
    }

    fn announce(&mut self, message: &str) {
        self.announced.push(message.to_owned());
    }
}

impl Bench for FakeBench {
    fn device(&self) -> &DeviceClass {
        &self.1
    }

    fn tune(&mut self, job: &Job<'_>) -> Result<Record, String> {
        match self.0.trouble {
            Trouble::Error => return Err("the GPU fell off the bus\nand is gone".into()),
            Trouble::Panic => panic!("as asked"),
            Trouble::Slow => std::thread::sleep(Duration::from_millis(60)),
            Trouble::None | Trouble::OpenPanics | Trouble::NoEnergy | Trouble::Defects => {}
        }
        if let Some((path, text)) = &self.0.edit {
            fs::write(path, text).unwrap();
        }
        if let Some(folder) = &self.0.measuring {
            let alone = fs::File::options()
                .write(true)
                .create_new(true)
                .open(folder.join("measuring"));
            assert!(alone.is_ok(), "another measures at the same time");
            std::thread::sleep(Duration::from_millis(5));
            fs::remove_file(folder.join("measuring")).unwrap();
        }
        self.0
            .tuned
            .borrow_mut()
            .push(format!("{} {:?}", job.found.name, job.sizes));
        let mut record = record(job, self.0.simulated, self.0.measured_at);
        if self.0.trouble == Trouble::NoEnergy {
            record.energy_measured = false;
            record.front[0].energy = None;
        }
        if self.0.trouble == Trouble::Defects {
            for (threads, reason) in [(64, Reason::Spills), (128, Reason::Wrong), (256, Reason::Hung)] {
                let schedule = Schedule::Plain(Plain { threads });
                record.rejected.push(Rejected::new(schedule, reason, "as asked"));
            }
        }
        Ok(record)
    }
}

fn record(job: &Job<'_>, simulated: bool, measured_at: u64) -> Record {
    let (found, machine) = (job.found, Machine::like(Target::Sm90));
    let schedule = schedule::default(&Problem::new(&found.checked, &found.specialisation, machine), job.sizes);
    let kernel = lower(&Problem::new(&found.checked, &found.specialisation, machine), schedule).unwrap();
    let estimate = Estimate {
        mean: 1e-5,
        interval: 1e-7,
    };
    Record {
        sizes: job.sizes.to_vec(),
        specialisation: found.specialisation.clone(),
        front: vec![Point {
            program: schedule.into(),
            kernel_hash: PackedKernel::hash(&kernel),
            latency: estimate,
            energy: Some(estimate),
            conditions: Conditions {
                driver: "580".into(),
                simulated_profile: simulated.then(|| "hopper".into()),
                sm_clock_mhz: None,
                memory_clock_mhz: None,
                temperature_celsius: None,
                power_watts: None,
                power_limit_watts: None,
                throttle_reasons: 0,
                window_seconds: 2.0,
                launches: 10,
                inputs: Inputs::Random { seed: 0 },
                cache: CacheMode::Cold,
                flags: Vec::new(),
            },
        }],
        rejected: Vec::new(),
        statistics: Statistics::default(),
        measured_at,
        energy_measured: true,
        space_version: schedule::SPACE_VERSION,
    }
}

#[test]
fn a_first_build_tunes_and_embeds_and_a_second_does_neither() {
    let mut package = Package::new();
    let first = package.run();
    assert_eq!(warnings(&first), [""; 0]);
    assert_eq!(package.tuned(), BUCKETS);
    assert_eq!(package.workshop.announced.len(), 1);
    let bundles = package.bundles();
    let mut names: Vec<&str> = bundles.iter().map(|bundle| bundle.operator.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["softmax", "twice<f16>", "twice<f32>"]);
    let softmax = bundles.iter().find(|bundle| bundle.operator == "softmax").unwrap();
    let (rank, _, bucket) = softmax.find(&device(false), &[8, 128]).unwrap();
    assert_eq!((rank, bucket.sizes.as_slice()), (Match::Same, [64, 128].as_slice()));
    let candidate = bucket.choose(Objective::default()).unwrap();
    assert!(!candidate.stale && softmax.kernel(candidate).unwrap().ptx.contains(".entry"));
    assert!(softmax.find(&device(false), &[8, 129]).is_none(), "C is compiled in");
    let index = package.index();
    assert!(index.is_of("demo", &package.path("package").display().to_string()));
    assert!(index.has_bundle(&softmax.fingerprint));

    let second = package.run();
    assert_eq!(second, first);
    assert_eq!(package.tuned(), BUCKETS);
    // Another profile, whose OUT_DIR is empty, tunes nothing either.
    fs::remove_dir_all(package.path("out")).unwrap();
    package.run();
    assert_eq!(package.tuned(), BUCKETS);
    assert_eq!(package.bundles(), bundles);
}

/// An editor may save while tuning takes minutes. Then the scanned source is outdated.
#[test]
fn what_is_edited_while_it_is_tuned_is_tuned_the_next_time() {
    let mut package = Package::new();
    let added =
        "#[energy_kernel(tune(N = 8))] fn added(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> { |n| x[[n]] + 3.0 }";
    package.workshop.edit = Some((package.path("package/src/lib.rs"), format!("{SOURCE}{added}")));
    package.run();
    assert_eq!((package.tuned(), package.bundles().len()), (BUCKETS, 3));
    package.run();
    assert_eq!((package.tuned(), package.bundles().len()), (BUCKETS + 1, 4));
}

#[test]
fn cargo_is_told_to_watch_what_exists_and_nothing_else() {
    let mut package = Package::new();
    package.write("examples/one.rs", "fn main() {}");
    let outcome = package.run();
    let watched: Vec<&Path> = outcome
        .directives
        .iter()
        .filter_map(|line| line.strip_prefix("cargo::rerun-if-changed=").map(Path::new))
        .collect();
    assert!(watched.iter().all(|path| path.is_dir()), "{watched:?}");
    let folders = [
        "package/src",
        "package/examples",
        "cache/demo",
        "out/energy-kernel/watched",
    ];
    assert_eq!(watched, folders.map(|name| package.path(name)));
    assert!(
        outcome
            .directives
            .contains(&"cargo::rerun-if-env-changed=ENERGY_KERNEL".to_owned())
    );
}

/// Cargo compares times with the start of the script, whose own files must not look new.
#[test]
fn what_the_build_wrote_itself_is_no_change() {
    let mut package = Package::new();
    package.run();
    for path in package.cache().files(Place::User) {
        assert_eq!(modified(&path), package.environment().invoked);
    }
    #[cfg(unix)]
    assert_eq!(modified(&package.path("cache/demo")), package.environment().invoked);
    // The folder does not look new either.
    let mut untuned = Package::new();
    untuned.variables.insert("ENERGY_KERNEL".into(), "cached".into());
    untuned.run();
    #[cfg(unix)]
    assert_eq!(modified(&untuned.path("cache/demo")), untuned.environment().invoked);
}

fn modified(path: &Path) -> SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

/// Set if this program acts as the build script of a package.
const ACTS: &str = "ENERGY_KERNEL_TEST_ACTS";

#[test]
fn acts_as_a_build_script_where_asked_to() {
    if std::env::var_os(ACTS).is_some() {
        // Not on the line that the test's name is on.
        println!();
        Build::new().or_emulated().emulated_candidates(1).run();
    }
}

/// Runs cargo, with a build script that calls this program.
#[test]
#[cfg(all(unix, feature = "tune"))]
fn cargo_notices_folders_that_are_new_and_rests_otherwise() {
    let package = Package::new();
    package.write(
        "Cargo.toml",
        "[package]\nname = \"demo\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n",
    );
    package.write("src/lib.rs", "");
    package.write("src/operators.rs", SOURCE);
    let ran = package.path("ran");
    let script = format!(
        "fn main() {{
            let test = [\"--exact\", \"session::tests::acts_as_a_build_script_where_asked_to\", \"--nocapture\"];
            assert!(std::process::Command::new({:?}).args(test).status().unwrap().success());
            let ran = std::fs::read_to_string({ran:?}).unwrap_or_default();
            std::fs::write({ran:?}, ran + \"x\").unwrap();
        }}",
        std::env::current_exe().unwrap()
    );
    package.write("build.rs", &script);
    let runs = || {
        for _ in 0..2 {
            let cargo = std::process::Command::new(env!("CARGO"))
                .args(["build", "--quiet", "--offline"])
                .current_dir(package.path("package"))
                .env("CARGO_TARGET_DIR", package.path("target"))
                .env("ENERGY_KERNEL_CACHE_DIR", package.path("cache"))
                .env("CI", "true")
                .env_remove("ENERGY_KERNEL")
                .env(ACTS, "")
                .output()
                .unwrap();
            assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
        }
        fs::read_to_string(&ran).unwrap().len()
    };
    assert_eq!(runs(), 1, "what the script wrote itself is no change");
    assert_eq!(package.cache().files(Place::User).len(), 3);
    for (number, folder) in ["energy-cache", "benches", "src/inner"].into_iter().enumerate() {
        fs::create_dir(package.path("package").join(folder)).unwrap();
        assert_eq!(runs(), number + 2, "{folder}");
    }
    fs::remove_dir(package.path("package/energy-cache")).unwrap();
    assert_eq!(runs(), 5);
}

#[test]
#[cfg(unix)]
fn the_cache_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let mut package = Package::new();
    package.run();
    let state = package.cache().state().unwrap().to_owned();
    for folder in [package.path("cache/demo"), state, package.path("cache/.state/locks")] {
        let mode = fs::metadata(&folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{}", folder.display());
    }
}

#[test]
fn without_a_gpu_one_warning_names_the_command() {
    let mut package = Package::new();
    package.workshop.gpu = Err("no NVIDIA driver is installed".into());
    let outcome = package.run();
    let texts = warnings(&outcome);
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(texts[0].contains("no NVIDIA driver is installed"));
    assert!(texts[0].contains("`cargo energy-kernel tune --package demo`"));
    assert!(texts[0].contains("softmax"));
    assert_eq!(package.index().fingerprints, []);
}

const FAR_AND_NEAR: &str = "
#[energy_kernel(tune(A = 8192, F = 1024, X = 8, D = 1024))]
fn experts(y: Tensor<f16, (A, F)>, w: Tensor<f16, (X, D, F)>, expert: Tensor<i32, (A,)>) -> Tensor<f16, (A, D)> {
    |a, d| sum(|f| y[[a, f]] * w[[expert[[a]], d, f]])
}
#[energy_kernel(tune(N = 16777216))]
fn copy(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> { |n| x[[n]] }
";

/// The warning of operators far from their roofline.
fn far(outcome: &Outcome) -> Option<&str> {
    let texts = warnings(outcome);
    texts.into_iter().find(|text| text.starts_with("far from the roofline"))
}

#[test]
fn operators_far_from_their_roofline_are_one_warning() {
    let mut package = Package::with_source(FAR_AND_NEAR);
    package.workshop.gpu = Err("no NVIDIA driver is installed".into());
    let outcome = package.run();
    let told = far(&outcome).unwrap();
    for part in [
        "experts (A = 8192, F = 1024, X = 8, D = 1024",
        ") on H100: ",
        " times its roofline by the estimate",
    ] {
        assert!(told.contains(part), "{told}");
    }
    assert!(!told.contains("copy"), "{told}");
    assert!(outcome.settled && !asks_to_be_rerun(&outcome));
    // A tuned operator is judged on the device of its results.
    let mut tuned = Package::with_source(FAR_AND_NEAR);
    let outcome = tuned.run();
    let told = far(&outcome).unwrap();
    assert!(told.contains("on NVIDIA H200: ") && !told.contains("H100"), "{told}");
    // Users of a package cannot rewrite its operators.
    tuned.write("Cargo.toml.orig", "");
    assert_eq!(far(&tuned.run()), None);
}

#[test]
fn operators_are_judged_once() {
    let mut package = Package::with_source(FAR_AND_NEAR);
    package.run();
    let notes = entries(&package.path("out/energy-kernel"));
    let mut marked = 0;
    for note in notes
        .iter()
        .filter(|note| note.extension().is_some_and(|e| e == "slow"))
    {
        let text = fs::read_to_string(note).unwrap();
        marked += usize::from(text.contains("experts"));
        fs::write(note, text.replace("experts", "remembered")).unwrap();
    }
    assert_eq!(marked, 1);
    package.write("src/other.rs", "// an edit");
    let outcome = package.run();
    assert!(far(&outcome).unwrap().contains("remembered"));
    // Other sizes are another question.
    package.write("src/lib.rs", &FAR_AND_NEAR.replace("A = 8192", "A = 4096"));
    let outcome = package.run();
    assert!(far(&outcome).unwrap().contains("experts (A = 4096"));
}

#[test]
fn shipped_results_are_used_where_nothing_may_be_tuned() {
    let mut author = Package::new();
    author.run();
    let mut user = Package::new();
    let folder = user.path("package/energy-cache");
    fs::create_dir_all(&folder).unwrap();
    for file in author.cache().files(Place::User) {
        fs::copy(&file, folder.join(file.file_name().unwrap())).unwrap();
    }
    user.write("Cargo.toml.orig", "");
    let outcome = user.run();
    assert_eq!(warnings(&outcome), [""; 0]);
    assert_eq!(user.tuned(), 0);
    assert_eq!(user.bundles(), author.bundles());
    assert!(outcome.directives.iter().any(|line| line.ends_with("energy-cache")));
    assert_eq!(
        user.cache().files(Place::User).len(),
        0,
        "shipped results are not copied about"
    );
}

/// Operators that differ only in names share a fingerprint and a bundle. One with two conditional attributes has the sizes of both.
#[test]
fn operators_of_one_meaning_are_embedded_for_the_sizes_of_all() {
    let mut package = Package::with_source(
        "
        #[energy_kernel(tune(N = [8, 16]))]
        fn first(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> { |n| x[[n]] + 1.0 }
        #[energy_kernel(tune(K = [16, 32]))]
        fn second(y: Tensor<f32, (K,)>) -> Tensor<f32, (K,)> { |k| y[[k]] + 1.0 }
        #[cfg_attr(feature = \"small\", energy_kernel(tune(N = 64)))]
        #[cfg_attr(not(feature = \"small\"), energy_kernel(tune(N = 128)))]
        fn third(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> { |n| x[[n]] + 2.0 }
        ",
    );
    for tuned in [5, 5] {
        let outcome = package.run();
        assert_eq!(warnings(&outcome), [""; 0]);
        assert_eq!(package.tuned(), tuned, "each once");
        let bundles = package.bundles();
        let mut sizes: Vec<Vec<u64>> = (bundles.iter().flat_map(|bundle| &bundle.devices[0].buckets))
            .map(|bucket| bucket.sizes.clone())
            .collect();
        sizes.sort();
        assert_eq!(
            (bundles.len(), sizes),
            (2, [8, 16, 32, 64, 128].map(|n| vec![n]).to_vec())
        );
    }
    // A warning names the operator concerned.
    for path in package.cache().files(Place::User) {
        let mut file = crate::cache::read_file(&path).unwrap();
        for record in file.records.iter_mut().filter(|record| record.sizes == [32]) {
            record.front[0].kernel_hash = [7; 32];
        }
        fs::write(path, encode(&file).unwrap()).unwrap();
    }
    let outcome = package.run();
    let [warning] = warnings(&outcome)[..] else {
        panic!("{outcome:?}")
    };
    assert!(warning.starts_with("second on "), "{warning}");
    assert!(warning.contains("--operator second --again"), "{warning}");
}

#[test]
fn the_newest_measurement_wins_wherever_it_lies() {
    for (shipped_at, expected) in [(999, 1000), (1001, 1001)] {
        let mut package = Package::new();
        package.run();
        let folder = package.path("package/energy-cache");
        fs::create_dir_all(&folder).unwrap();
        for path in package.cache().files(Place::User) {
            let mut file = crate::cache::read_file(&path).unwrap();
            file.records
                .iter_mut()
                .for_each(|record| record.measured_at = shipped_at);
            fs::write(folder.join(path.file_name().unwrap()), encode(&file).unwrap()).unwrap();
        }
        package.run();
        for bundle in package.bundles() {
            assert!(
                bundle.devices[0]
                    .buckets
                    .iter()
                    .all(|bucket| bucket.measured_at == expected)
            );
        }
    }
}

/// A tuning whose budget ended early must not replace complete results in either place, unless they are stale.
#[test]
fn a_newer_result_without_energy_replaces_none_that_has_it() {
    for (stale, expected) in [(false, 1000), (true, 1001)] {
        let mut package = Package::new();
        package.run();
        let folder = package.path("package/energy-cache");
        fs::create_dir_all(&folder).unwrap();
        let found = crate::scan::operators(&[package.path("package/src/lib.rs")]);
        for path in package.cache().files(Place::User) {
            let mut measured = crate::cache::read_file(&path).unwrap();
            let mut unmeasured = measured.clone();
            for record in &mut measured.records {
                if stale {
                    record.front[0].kernel_hash = [7; 32];
                }
            }
            for record in &mut unmeasured.records {
                record.measured_at += 1;
                record.energy_measured = false;
                record.front[0].energy = None;
            }
            // One place each; then both in one place.
            fs::write(folder.join(path.file_name().unwrap()), encode(&measured).unwrap()).unwrap();
            fs::write(&path, encode(&unmeasured).unwrap()).unwrap();
            let store = |file| package.cache().store(Place::Shipped, file, &found, None).unwrap();
            let stored = store(&unmeasured);
            let kept = crate::cache::read_file(&stored).unwrap();
            assert!(kept.records.iter().all(|record| record.measured_at == expected));
            fs::write(stored, encode(&measured).unwrap()).unwrap();
        }
        package.run();
        let bundles = package.bundles();
        let mut buckets = bundles.iter().flat_map(|bundle| &bundle.devices[0].buckets);
        assert!(buckets.all(|bucket| bucket.measured_at == expected));
    }
}

#[test]
fn hostile_and_damaged_cache_files_are_a_warning_and_a_miss() {
    let mut package = Package::new();
    package.run();
    let files = package.cache().files(Place::User);
    fs::write(&files[0], b"\x89EKERN\r\nCACH nonsense").unwrap();
    fs::File::create(&files[1]).unwrap().set_len(100 << 20).unwrap();
    fs::remove_file(&files[2]).unwrap();
    fs::create_dir(&files[2]).unwrap();
    #[cfg(unix)]
    fs::write(files[0].with_file_name("\x1b[2J\r\n.ekcache"), "nonsense").unwrap();
    let begun = std::time::Instant::now();
    let outcome = package.run();
    assert!(begun.elapsed() < Duration::from_secs(5));
    let texts = warnings(&outcome);
    let said: Vec<&&str> = texts.iter().filter(|text| text.contains("is not used")).collect();
    let more = if cfg!(unix) { "and 3 more" } else { "and 2 more" };
    assert!(said.len() == 1 && said[0].contains(more), "{texts:?}");
    assert!(!outcome.directives.iter().any(|line| line.contains(char::is_control)));
    assert!(said[0].contains("delete it"), "{texts:?}");
    assert_eq!(package.tuned(), 2 * BUCKETS, "what was lost is tuned again");
    assert_eq!(package.bundles().len(), 3);
}

/// An unreadable file may be valid, so a build does not replace it.
#[cfg(unix)]
#[test]
fn a_result_that_cannot_be_read_is_not_overwritten() {
    use std::os::unix::fs::PermissionsExt;
    let mut package = Package::new();
    package.run();
    let file = package.cache().files(Place::User).remove(0);
    let sound = fs::read(&file).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(&file).is_ok() {
        eprintln!("left out: this user reads everything");
        return;
    }
    // A build does not notice changed permissions, so this is a first build.
    fs::remove_dir_all(package.path("out/energy-kernel")).unwrap();
    let outcome = package.run();
    let texts = warnings(&outcome);
    assert!(
        texts.iter().any(|text| text.contains("fix its permissions")),
        "{texts:?}"
    );
    assert!(
        texts
            .iter()
            .any(|text| text.contains("is not kept") && text.contains("cannot be read")),
        "{texts:?}"
    );
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(fs::read(&file).unwrap(), sound);
}

/// Results of an earlier version are measured again without a warning.
#[test]
fn what_an_earlier_version_left_is_passed_over() {
    let mut package = Package::new();
    package.run();
    for path in package.cache().files(Place::User) {
        let mut bytes = fs::read(&path).unwrap();
        bytes[12..14].copy_from_slice(&1u16.to_le_bytes());
        let hash = Sha256::new().chain_update(&bytes[..18]).chain_update(&bytes[50..]);
        bytes[18..50].copy_from_slice(&hash.finalize());
        fs::write(&path, bytes).unwrap();
    }
    let again = package.tuned();
    let outcome = package.run();
    assert_eq!(package.tuned(), again + again, "all of it is tuned again");
    assert!(
        !warnings(&outcome).iter().any(|text| text.contains("is not used")),
        "{outcome:?}"
    );
}

/// Endless files are not read.
#[test]
#[cfg(unix)]
fn devices_and_links_in_circles_are_passed_over() {
    use std::os::unix::fs::symlink;
    let mut package = Package::new();
    let sources = package.path("package/src");
    symlink(&sources, sources.join("circle")).unwrap();
    symlink("itself.rs", sources.join("itself.rs")).unwrap();
    symlink("/dev/zero", sources.join("zero.rs")).unwrap();
    fs::create_dir_all(package.path("package/energy-cache")).unwrap();
    symlink("/dev/zero", package.path("package/energy-cache/zero.ekcache")).unwrap();
    let outcome = package.run();
    assert_eq!(package.bundles().len(), 3);
    assert!(
        matches!(warnings(&outcome).as_slice(), [one] if one.contains("zero.ekcache is not used")),
        "{outcome:?}"
    );
}

#[test]
fn sources_that_are_no_rust_are_left_to_the_compiler() {
    let mut package = Package::new();
    package.write("src/unfinished.rs", "#[energy_kernel(tune(N = 1))] fn f(x: Tensor<f32");
    fs::write(package.path("package/src/latin.rs"), b"// energy_kernel \xe9").unwrap();
    fs::create_dir(package.path("package/src/folder.rs")).unwrap();
    assert_eq!(warnings(&package.run()), [""; 0]);
    assert_eq!(package.bundles().len(), 3);
}

/// Paths that are not one line of UTF-8 are watched, too, and under no other name.
#[test]
#[cfg(unix)]
fn folders_may_have_any_name() {
    use std::os::unix::ffi::OsStrExt;
    for name in [b"caf\xe9".as_slice(), b"two\nlines"] {
        let mut package = Package::new();
        let cache = package.root.path().join(std::ffi::OsStr::from_bytes(name));
        let environment = Environment {
            user_cache: Some(cache.clone()),
            ..package.environment()
        };
        let outcome = execute(&package.build.clone(), &environment, &mut package.workshop);
        assert_eq!(warnings(&outcome), [""; 0]);
        assert_eq!(package.bundles().len(), 3);
        let watched: Vec<&str> = (outcome.directives.iter())
            .filter_map(|line| line.strip_prefix("cargo::rerun-if-changed="))
            .collect();
        assert!(watched.iter().all(|path| Path::new(path).exists()), "{watched:?}");
        let links = fs::read_dir(package.path("out/energy-kernel/watched")).unwrap();
        let mut targets = links.map(|link| fs::read_link(link.unwrap().path()).unwrap());
        assert!(targets.any(|target| target == cache.join("demo")));
    }
}

#[test]
fn an_output_folder_that_vanished_is_made_again_and_one_that_cannot_be_is_a_warning() {
    let mut package = Package::new();
    package.run();
    fs::remove_dir_all(package.path("out")).unwrap();
    assert_eq!(warnings(&package.run()), [""; 0]);
    assert_eq!(package.bundles().len(), 3);
    fs::remove_dir_all(package.path("out")).unwrap();
    fs::write(package.path("out"), "in the way").unwrap();
    let outcome = package.run();
    assert!(
        matches!(warnings(&outcome).as_slice(), [one] if one.contains("nothing is embedded") && one.contains("out")),
        "{outcome:?}"
    );
}

#[test]
fn a_policy_that_is_not_understood_is_auto() {
    let mut package = Package::new();
    package.build = Build::new().policy(Policy::Cached);
    package.variables.insert("ENERGY_KERNEL".into(), "fast".into());
    let outcome = package.run();
    assert!(
        matches!(warnings(&outcome).as_slice(), [one] if one.contains("ENERGY_KERNEL=fast")
            && one.contains("auto, cached, tune or off")),
        "{outcome:?}"
    );
    assert_eq!(package.tuned(), BUCKETS);
}

#[test]
fn schedules_that_the_compiler_refuses_are_left_out() {
    let mut package = Package::new();
    package.run();
    for path in package.cache().files(Place::User) {
        let mut file = crate::cache::read_file(&path).unwrap();
        let plain = |threads| schedule::Schedule::Plain(schedule::Plain { threads });
        file.records
            .iter_mut()
            .for_each(|record| record.front[0].program = plain(12_345).into());
        fs::write(path, encode(&file).unwrap()).unwrap();
    }
    let outcome = package.run();
    assert_eq!(package.index().fingerprints, [], "{:?}", warnings(&outcome));
}

#[test]
fn stale_results_are_used_without_their_figures() {
    let mut package = Package::new();
    package.run();
    for path in package.cache().files(Place::User) {
        let mut file = crate::cache::read_file(&path).unwrap();
        file.records
            .iter_mut()
            .for_each(|record| record.front[0].kernel_hash = [7; 32]);
        fs::write(path, encode(&file).unwrap()).unwrap();
    }
    let outcome = package.run();
    assert_eq!(package.tuned(), BUCKETS, "only asked for, it is tuned again");
    let [warning] = warnings(&outcome)[..] else {
        panic!("{outcome:?}")
    };
    assert!(warning.contains("--again"), "{warning}");
    let bundles = package.bundles();
    let candidate = &bundles[0].devices[0].buckets[0].front[0];
    assert!(candidate.stale && candidate.figures().is_none());
}

#[test]
fn no_trouble_of_a_device_breaks_a_build() {
    for trouble in [Trouble::Error, Trouble::Panic, Trouble::OpenPanics] {
        let mut package = Package::new();
        package.workshop.trouble = trouble;
        let outcome = package.run();
        assert_eq!(warnings(&outcome).len(), 1, "{outcome:?}");
        assert!(outcome.directives.iter().all(|line| !line.contains('\n')));
        assert_eq!(package.index().fingerprints, []);
    }
}

#[test]
fn the_budget_is_kept_and_what_was_tuned_is_kept_too() {
    let mut package = Package::new();
    package.workshop.trouble = Trouble::Slow;
    package.build = Build::new().budget(Duration::from_millis(100));
    let outcome = package.run();
    assert!((1..BUCKETS).contains(&package.tuned()), "{}", package.tuned());
    assert!(warnings(&outcome)[0].contains("tunes them"));
    assert!(!package.index().fingerprints.is_empty());
    package.build = Build::new().budget(Duration::from_secs(60));
    package.run();
    assert_eq!(package.tuned(), BUCKETS, "the rest and nothing twice");
}

#[test]
fn without_a_place_for_caches_a_build_goes_on() {
    let occupied = Package::new();
    occupied.write("../occupied", "");
    let nowhere = [
        None,
        Some(PathBuf::from("/proc/nowhere")),
        Some(occupied.path("occupied")),
    ];
    for user_cache in nowhere {
        let mut package = Package::new();
        let environment = Environment {
            user_cache: user_cache.clone(),
            ..package.environment()
        };
        let outcome = execute(&package.build.clone(), &environment, &mut package.workshop);
        assert!(
            matches!(warnings(&outcome).as_slice(), [one] if one.contains("not kept") && one.contains("ENERGY_KERNEL_CACHE_DIR")),
            "{outcome:?}"
        );
        assert_eq!(package.bundles().len(), 3, "what was tuned is embedded nevertheless");
        let mut cached = environment;
        cached.variables.insert("ENERGY_KERNEL".into(), "cached".into());
        let outcome = execute(&package.build.clone(), &cached, &mut package.workshop);
        assert!(
            !warnings(&outcome).iter().any(|text| text.contains("not kept")),
            "nothing is lost"
        );
    }
    drop(occupied);
}

/// The folder exists but takes no file, as on a full disk.
#[test]
fn results_that_cannot_be_written_are_one_warning() {
    let mut package = Package::new();
    package.run();
    for path in package.cache().files(Place::User) {
        fs::remove_file(&path).unwrap();
        fs::create_dir_all(path.join("in the way")).unwrap();
    }
    let outcome = package.run();
    let texts = warnings(&outcome);
    assert_eq!(
        texts.iter().filter(|text| text.contains("is not kept")).count(),
        1,
        "{texts:?}"
    );
    assert_eq!(package.bundles().len(), 3);
}

#[test]
fn emulated_results_stay_with_the_emulated_device() {
    let mut package = Package::new();
    package.build = Build::new().or_emulated();
    package.variables.insert("CI".into(), "true".into());
    package.run();
    assert_eq!(package.tuned(), BUCKETS);
    let bundles = package.bundles();
    assert!(
        bundles
            .iter()
            .flat_map(|bundle| &bundle.devices)
            .all(|tuned| tuned.device.simulated)
    );
    assert!(bundles[0].device(&device(false)).is_none());
    assert!(bundles[0].device(&device(true)).is_some());
}

#[test]
fn off_embeds_nothing() {
    let mut package = Package::new();
    package.run();
    package.variables.insert("ENERGY_KERNEL".into(), "off".into());
    package.run();
    assert_eq!(package.index().fingerprints, []);
    package.variables.insert("ENERGY_KERNEL".into(), "cached".into());
    package.run();
    assert_eq!(package.index().fingerprints.len(), 3);
    assert_eq!(package.tuned(), BUCKETS);
}

/// Operators of one name in several modules, or under several conditions, are not edits of each other.
#[test]
fn operators_of_one_name_do_not_wait_for_each_other() {
    let operator = |number: u32| {
        format!(
            "#[energy_kernel(tune(N = 8))] fn f(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {{ |n| x[[n]] + {number}.0 }}"
        )
    };
    let source = |first| format!("mod a {{ {} }} mod b {{ {} }}", operator(first), operator(2));
    let mut package = Package::with_source(&source(1));
    package.variables.insert("PROFILE".into(), "debug".into());
    assert!(package.run().settled);
    assert_eq!(package.tuned(), 2);
    // One of them is edited.
    package.now += Duration::from_secs(60);
    package.write("src/lib.rs", &source(13));
    assert!(!package.run().settled);
    assert_eq!(package.tuned(), 2);
    package.now += Duration::from_secs(601);
    assert!(package.run().settled);
    assert_eq!(package.tuned(), 3);
}

#[test]
fn an_operator_under_edit_waits_and_the_script_is_rerun() {
    let source = |factor: u32| {
        format!(
            "#[energy_kernel(tune(N = 8))] fn f(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {{ |n| x[[n]] * {factor}.0 }}"
        )
    };
    let mut package = Package::with_source(&source(1));
    package.variables.insert("PROFILE".into(), "debug".into());
    let first = package.run();
    assert_eq!(package.tuned(), 1, "seen for the first time: at once");
    assert!(!first.directives.iter().any(|line| line.ends_with("again")));
    package.write("src/lib.rs", &source(22));
    package.now += Duration::from_secs(60);
    let waiting = package.run();
    assert_eq!(package.tuned(), 1);
    assert!(waiting.directives.iter().any(|line| line.ends_with("again")) && !waiting.settled);
    package.now += Duration::from_secs(600);
    let rested = package.run();
    assert_eq!(package.tuned(), 2);
    assert!(!rested.directives.iter().any(|line| line.ends_with("again")));
    package.write("src/lib.rs", &source(333));
    package.variables.insert("PROFILE".into(), "release".into());
    package.run();
    assert_eq!(package.tuned(), 3, "a release build does not wait");
}

#[test]
fn a_debug_build_goes_on_while_another_tunes_with_one_warning() {
    let mut package = Package::new();
    let lock = package.cache().try_lock(Lock::Tuning).unwrap().unwrap();
    package.set("PROFILE", "debug");
    let outcome = package.run();
    assert_eq!(package.tuned(), 0);
    assert!(asks_to_be_rerun(&outcome) && !outcome.settled);
    let [warning] = warnings(&outcome)[..] else {
        panic!("{outcome:?}")
    };
    assert!(
        warning.contains("another process is tuning demo")
            && warning.contains("4 sizes of softmax, twice<f16>, twice<f32>"),
        "{warning}"
    );
    assert_eq!(package.workshop.announced, [""; 0]);
    drop(lock);
    assert_eq!(warnings(&package.run()), [""; 0]);
    assert_eq!(package.tuned(), BUCKETS);
}

#[test]
fn a_release_build_waits_while_another_tunes() {
    let mut package = Package::new();
    let lock = package.cache().try_lock(Lock::Tuning).unwrap().unwrap();
    // The other build ends, with its results in the cache.
    let mut other = Package::new();
    other.run();
    let results: Vec<CacheFile> = other
        .cache()
        .files(Place::User)
        .iter()
        .map(|path| crate::cache::read_file(path).unwrap())
        .collect();
    let cache = package.cache();
    let finishing = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        results
            .iter()
            .for_each(|file| drop(cache.store(Place::User, file, &[], None).unwrap()));
        drop(lock);
    });
    let outcome = package.run();
    finishing.join().unwrap();
    assert_eq!(warnings(&outcome), [""; 0]);
    assert_eq!(package.tuned(), 0, "concurrent builds never tune the same twice");
    assert_eq!(package.bundles().len(), 3);
    assert!(package.workshop.announced[0].contains("tuning it"));
}

/// Another process may hold a lock forever.
#[test]
fn a_build_waits_no_longer_than_its_budget_and_goes_on_with_one_warning() {
    for (profile, lock) in [
        ("release", Lock::Tuning),
        ("release", Lock::Device(&lock_of(&device(false)).unwrap())),
        ("debug", Lock::Device(&lock_of(&device(false)).unwrap())),
    ] {
        let mut package = Package::new();
        package.set("PROFILE", profile);
        package.build = Build::new().budget(Duration::from_millis(100));
        let held = package.cache().try_lock(lock).unwrap().unwrap();
        let outcome = package.run();
        assert_eq!(package.tuned(), 0);
        assert!(
            matches!(warnings(&outcome).as_slice(), [one] if one.contains("another process is") && one.contains("stay untuned")),
            "{outcome:?}"
        );
        assert!(asks_to_be_rerun(&outcome), "the next build tries again");
        assert_eq!(package.workshop.announced.len(), 1, "that it waits is announced");
        drop(held);
        package.build = Build::new();
        assert_eq!(warnings(&package.run()), [""; 0]);
        assert_eq!(package.tuned(), BUCKETS);
    }
}

/// Their measurements would disturb each other. Here each process has its own package.
#[test]
fn build_scripts_at_the_same_time_measure_one_after_the_other() {
    let (cache, measuring) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let tuned = |name: &str| {
        let mut package = Package::new();
        package.cache = cache.path().to_owned();
        package.set("CARGO_PKG_NAME", name);
        package.set("PROFILE", "debug");
        package.workshop.measuring = Some(measuring.path().to_owned());
        let outcome = package.run();
        (warnings(&outcome).len(), package.tuned())
    };
    std::thread::scope(|scope| {
        let builds: Vec<_> = (["a", "b", "c"].iter())
            .map(|name| scope.spawn(|| tuned(name)))
            .collect();
        for build in builds {
            assert_eq!(build.join().unwrap(), (0, BUCKETS));
        }
    });
}

/// Nothing disturbs simulated figures.
#[test]
fn simulated_devices_are_for_all_packages_at_once() {
    let mut package = Package::new();
    package.build = Build::new().or_emulated();
    package.set("CI", "true");
    let real = lock_of(&device(false)).unwrap();
    let held = package.cache().try_lock(Lock::Device(&real)).unwrap();
    assert!(held.is_some() && lock_of(&device(true)).is_none());
    assert_eq!(warnings(&package.run()), [""; 0]);
    assert_eq!(package.tuned(), BUCKETS);
}

/// Checkouts share results and nothing else: an operator of one is not an edit of the other's.
#[test]
fn checkouts_of_a_package_do_not_wait_for_each_other() {
    let operator = |body: &str| {
        format!(
            "#[energy_kernel(tune(N = 64))] pub fn scale(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {{ |i| {body} }}"
        )
    };
    let mut first = Package::with_source(&operator("x[[i]] * 2.0"));
    let mut second = first.beside("demo", &operator("x[[i]] * 3.0 + 1.0"));
    let mut third = first.beside("demo", &operator("x[[i]] * 2.0"));
    for package in [&first, &second, &third] {
        package.write("Cargo.toml", "");
    }
    for package in [&mut first, &mut second] {
        package.set("PROFILE", "debug");
        let outcome = package.run();
        assert_eq!(package.tuned(), 1, "at once");
        assert!(outcome.settled && warnings(&outcome).is_empty(), "{outcome:?}");
    }
    third.run();
    assert_eq!((third.tuned(), third.bundles().len()), (0, 1), "the first's result");
    // Each knows the operators of the others, as long as they exist.
    let of = |package: &Package| package.index().fingerprints[0];
    assert_eq!(first.cache().used_elsewhere(), [of(&first), of(&second)].into());
    assert_eq!(second.cache().used_elsewhere(), [of(&first)].into());
    assert!(
        first
            .cache()
            .leftovers()
            .iter()
            .all(|path| path.starts_with(first.cache().state().unwrap()))
    );
    fs::remove_file(second.path("package/Cargo.toml")).unwrap();
    assert_eq!(first.cache().used_elsewhere(), [of(&first)].into(), "the third's");
    assert!(
        first
            .cache()
            .leftovers()
            .iter()
            .any(|path| path.starts_with(second.cache().state().unwrap())),
        "what is left of a checkout that is gone"
    );
}

/// A clock that was once wrong must spoil neither place.
#[test]
fn a_date_in_the_future_is_older_than_any_other() {
    let mut package = Package::new();
    let future = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 24 * 3600;
    package.workshop.measured_at = future;
    package.run();
    assert_eq!(package.measured_at(), [future], "better than nothing");
    package.ship();
    package.change(|record| record.measured_at = 1000);
    package.run();
    assert_eq!(package.measured_at(), [1000], "the shipped one is passed over");
    // Storing a result beside one replaces it.
    let path = package.cache().files(Place::User).remove(0);
    let present = crate::cache::read_file(&path).unwrap();
    let mut ahead = present.clone();
    ahead.records.iter_mut().for_each(|record| record.measured_at = future);
    fs::write(&path, encode(&ahead).unwrap()).unwrap();
    package.cache().store(Place::User, &present, &[], None).unwrap();
    assert_eq!(crate::cache::read_file(&path).unwrap(), present);
}

/// It replaces the present results, unless they have more energies or are newer.
#[test]
fn what_is_asked_for_again_wins() {
    let mut package = Package::new();
    package.run();
    let cache = package.cache();
    let found = crate::scan::operators(&[package.path("package/src/lib.rs")]);
    let path = cache.files(Place::User).remove(0);
    let earlier = crate::cache::read_file(&path).unwrap();
    let again = |change: &dyn Fn(&mut Record)| {
        fs::write(&path, encode(&earlier).unwrap()).unwrap();
        let mut new = earlier.clone();
        new.records.iter_mut().for_each(change);
        cache.replace(Place::User, &new, &found).unwrap();
        crate::cache::read_file(&path).unwrap() == new
    };
    let unmeasured = |record: &mut Record| {
        record.energy_measured = false;
        record.front[0].energy = None;
    };
    assert!(again(&|record| record.measured_at += 500));
    assert!(!again(&|record| record.measured_at -= 500), "a trace that is older");
    assert!(again(
        &|record| record.front[0].conditions.flags = vec![Flag::AtPowerLimit]
    ));
    assert!(!again(&unmeasured), "the budget ended early");
    let mut ahead = earlier.clone();
    ahead
        .records
        .iter_mut()
        .for_each(|record| record.measured_at = u64::MAX);
    fs::write(&path, encode(&ahead).unwrap()).unwrap();
    cache.replace(Place::User, &earlier, &found).unwrap();
    assert_eq!(crate::cache::read_file(&path).unwrap(), earlier, "the clock was wrong");
    // Other buckets stay.
    let softmax = found.iter().find(|f| f.name == "softmax").unwrap();
    let path = (cache.files(Place::User).into_iter())
        .find(|path| crate::cache::read_file(path).unwrap().fingerprint == softmax.fingerprint)
        .unwrap();
    let both = crate::cache::read_file(&path).unwrap();
    let one = CacheFile {
        records: both.records[..1].to_vec(),
        ..both.clone()
    };
    cache.replace(Place::User, &one, &found).unwrap();
    assert_eq!(crate::cache::read_file(&path).unwrap(), both);
    // The stated reason is the one that decided.
    let device = device(false);
    let new = |change: &dyn Fn(&mut Record)| {
        let mut record = both.records[0].clone();
        change(&mut record);
        cache.preferred_to(&record, softmax, &device)
    };
    assert_eq!(new(&|_| ()), None);
    assert_eq!(new(&unmeasured), Some(Advantage::Energies));
    assert_eq!(new(&|record| record.measured_at -= 1), Some(Advantage::Later));
    assert_eq!(
        new(&|record| record.front[0].conditions.flags = vec![Flag::Throttled]),
        Some(Advantage::Doubts)
    );
    assert_eq!(
        new(&|record| record.front[0].kernel_hash = [7; 32]),
        Some(Advantage::Fresh)
    );
    assert_eq!(new(&|record| record.measured_at += 1), None);
}

/// Both versions continue, each with its own file.
#[test]
fn a_result_of_a_newer_format_is_never_overwritten() {
    let mut package = Package::new();
    package.run();
    let newer: Vec<(PathBuf, Vec<u8>)> = (package.cache().files(Place::User).into_iter())
        .map(|path| {
            let mut bytes = fs::read(&path).unwrap();
            bytes[12..14].copy_from_slice(&u16::MAX.to_le_bytes());
            fs::write(&path, &bytes).unwrap();
            (path, bytes)
        })
        .collect();
    for run in 1..=2 {
        fs::remove_dir_all(package.path("out")).unwrap();
        package.run();
        assert_eq!(package.tuned(), 2 * BUCKETS, "in run {run}, what is beside it is found");
        assert_eq!(package.bundles().len(), 3);
    }
    for (path, bytes) in &newer {
        assert_eq!(fs::read(path).unwrap(), *bytes);
    }
    let files = package.cache().files(Place::User);
    let end = format!(".format-{FORMAT_VERSION}.ekcache");
    let beside = |path: &&PathBuf| path.to_string_lossy().ends_with(&end);
    assert_eq!((files.len(), files.iter().filter(beside).count()), (6, 3), "{files:?}");
    // It also stays if nothing can be written beside it.
    let file = crate::cache::read_file(files.iter().find(beside).unwrap()).unwrap();
    for path in &files {
        let mut bytes = fs::read(path).unwrap();
        bytes[12..14].copy_from_slice(&u16::MAX.to_le_bytes());
        fs::write(path, bytes).unwrap();
    }
    assert!(package.cache().store(Place::User, &file, &[], None).is_err());
}

/// Records of another version of the space may still have legal schedules.
#[test]
fn results_of_another_space_are_used_where_their_schedules_mean_something() {
    for (space, refused, tuned) in [(1, false, BUCKETS), (99, false, BUCKETS), (99, true, 2 * BUCKETS)] {
        let mut package = Package::new();
        package.run();
        package.change(|record| {
            record.space_version = space;
            if refused {
                record.front[0].program = schedule::Schedule::Plain(schedule::Plain { threads: 12_345 }).into();
            }
        });
        package.run();
        assert_eq!(package.tuned(), tuned, "{space} {refused}");
        assert_eq!(package.bundles().len(), 3);
    }
}

/// No file in our places can block a build or be read endlessly.
#[test]
#[cfg(unix)]
fn pipes_devices_and_huge_files_in_any_place_cost_nothing() {
    type Make = fn(&Path);
    let pipe: Make = |path| {
        assert!(
            std::process::Command::new("mkfifo")
                .arg(path)
                .status()
                .unwrap()
                .success()
        );
    };
    let endless: Make = |path| std::os::unix::fs::symlink("/dev/zero", path).unwrap();
    let huge: Make = |path| fs::File::create(path).unwrap().set_len(1 << 40).unwrap();
    // The length of a lock's file does not matter.
    for (make, locks) in [(pipe, false), (endless, false), (huge, true)] {
        let mut package = Package::new();
        package.set("PROFILE", "debug");
        package.run();
        let state = package.cache().state().unwrap().to_owned();
        let mut places: Vec<PathBuf> = ["seen", "checkout"].map(|name| state.join(name)).into();
        places.extend(entries(&package.path("out/energy-kernel")));
        places.retain(|path| !path.is_dir());
        places.push(package.path("package/energy-cache/x.ekcache"));
        places.push(package.path("package/src/x.rs"));
        places.extend(package.cache().files(Place::User));
        // The state, index, stamp, three bundles, their memos and verdicts, a shipped file, a source file, three results.
        assert_eq!(places.len(), 2 + 11 + 2 + 3, "{places:?}");
        fs::create_dir(package.path("package/energy-cache")).unwrap();
        for path in &places {
            let _ = fs::remove_file(path);
            make(path);
        }
        let outcome = package.run();
        assert_eq!(package.tuned(), 2 * BUCKETS, "{:?}", warnings(&outcome));
        assert_eq!(package.bundles().len(), 3);
        // The next run finds everything in its place again.
        fs::remove_file(package.path("package/energy-cache/x.ekcache")).unwrap();
        package.run();
        assert_eq!(package.tuned(), 2 * BUCKETS);
        // Without locks the build uses its results but does not write them to shared folders.
        let files = entries(&package.path("cache/.state/locks"));
        assert_eq!(files.len(), 3, "{files:?}");
        files
            .into_iter()
            .chain(package.cache().files(Place::User))
            .for_each(|path| {
                fs::remove_file(&path).unwrap();
                if path.extension().is_some_and(|e| e == "lock") {
                    make(&path);
                }
            });
        let outcome = package.run();
        assert_eq!((package.tuned(), package.bundles().len()), (3 * BUCKETS, 3));
        let texts = warnings(&outcome);
        let said = texts
            .iter()
            .any(|text| text.contains("is not kept") && text.contains("writing.lock"));
        assert_eq!(
            (package.cache().files(Place::User).len(), said),
            if locks { (3, false) } else { (0, true) }
        );
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect()
}

/// An operator with too many results does not affect the others.
#[test]
fn a_bundle_that_cannot_be_written_is_left_out_alone() {
    let mut package = Package::new();
    package.run();
    let path = package.cache().files(Place::User).remove(0);
    let file = crate::cache::read_file(&path).unwrap();
    for number in 0..Bundle::MOST_DEVICES {
        let mut other = file.clone();
        other.device.name = format!("GPU {number}");
        let name = CacheFile::file_name(&other.fingerprint, &other.device);
        fs::write(path.with_file_name(name), encode(&other).unwrap()).unwrap();
    }
    let outcome = package.run();
    let [warning] = warnings(&outcome)[..] else {
        panic!("{outcome:?}")
    };
    assert!(
        warning.starts_with(&file.operator) && warning.contains("is not embedded") && warning.contains("1024"),
        "{warning}"
    );
    assert_eq!(package.bundles().len(), 2);
    assert!(!package.index().has_bundle(&file.fingerprint) && !package.index().has_missed(&file.fingerprint));
}

/// A relative path would mean another folder to each build script, command and program.
#[test]
fn a_relative_cache_is_refused() {
    for policy in ["auto", "cached"] {
        let mut package = Package::new();
        package.cache = "rel".into();
        package.set("ENERGY_KERNEL", policy);
        let outcome = package.run();
        let refused = (warnings(&outcome).into_iter()).filter(|text| text.contains("rel means another folder"));
        assert_eq!(refused.count(), 1, "{outcome:?}");
        assert!(
            !warnings(&outcome).iter().any(|text| text.contains("not kept")),
            "{outcome:?}"
        );
        assert_eq!(package.bundles().len(), if policy == "auto" { 3 } else { 0 });
        assert!(!Path::new("rel").exists());
    }
    let mut package = Package::new();
    package.build = Build::new().cache_dir("rel");
    let outcome = package.run();
    assert!(
        matches!(warnings(&outcome).as_slice(), [one] if one.contains("rel means another folder")),
        "{outcome:?}"
    );
    package.set("ENERGY_KERNEL", "off");
    assert_eq!(warnings(&package.run()), [""; 0]);
}

#[test]
fn sizes_that_are_assumed_are_said() {
    let mut package = Package::with_source(
        "
        #[energy_kernel(types(T = [f16, f32]), tune(M = 4))]
        fn rows<T>(x: Tensor<T, (M, N)>, s: Tensor<T, (K,)>) -> Tensor<T, (M, N)> { |m, n| x[[m, n]] + s[[0]] }
        #[energy_kernel(tune(N = 8))]
        fn all(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> { |n| x[[n]] + 1.0 }
        ",
    );
    for policy in ["auto", "cached"] {
        package.set("ENERGY_KERNEL", policy);
        let outcome = package.run();
        let [warning] = warnings(&outcome)[..] else {
            panic!("{outcome:?}")
        };
        for part in ["rows (", "src/lib.rs:3)", "N = 1024, K = 1024", "`tune(…)`"] {
            assert!(warning.contains(part), "{warning}");
        }
    }
    assert_eq!(package.tuned(), 3);
}

/// The attribute reports it for other operators.
#[test]
fn the_index_tells_what_was_found_and_whether_anything_was_looked_for() {
    let mut package = Package::new();
    package.set("ENERGY_KERNEL", "cached");
    package.run();
    let found = crate::scan::operators(&[package.path("package/src/lib.rs")]);
    let index = package.index();
    assert_eq!(
        (index.found.as_ref().map(Vec::len), index.fingerprints.len()),
        (Some(3), 0)
    );
    assert!(found.iter().all(|found| !index.has_missed(&found.fingerprint)));
    assert!(index.has_missed(&Fingerprint([0; 32])));
    package.set("ENERGY_KERNEL", "off");
    package.run();
    assert_eq!(package.index().found, None);
}

#[test]
fn builds_at_the_same_time_tune_each_operator_once() {
    let cache = tempfile::tempdir().unwrap();
    let tuned = || {
        let mut package = Package::new();
        package.workshop.trouble = Trouble::Slow;
        let environment = Environment {
            user_cache: Some(cache.path().to_owned()),
            ..package.environment()
        };
        let outcome = execute(&package.build.clone(), &environment, &mut package.workshop);
        assert_eq!((warnings(&outcome).len(), package.bundles().len()), (0, 3));
        package.tuned()
    };
    let by_each: Vec<usize> = std::thread::scope(|scope| {
        let builds: Vec<_> = (0..4).map(|_| scope.spawn(tuned)).collect();
        builds.into_iter().map(|build| build.join().unwrap()).collect()
    });
    assert_eq!(by_each.iter().sum::<usize>(), BUCKETS, "{by_each:?}");
}

/// Neither the cache nor `OUT_DIR` takes a byte, but folders can be created.
#[test]
#[cfg(all(unix, feature = "tune"))]
fn on_a_full_disk_a_build_goes_on_with_one_warning_of_each_kind() {
    let package = Package::with_source(
        "#[energy_kernel(tune(N = [4, 8]))] fn twice(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> { |n| x[[n]] * 2.0 }",
    );
    let output = std::process::Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "session::tests::acts_as_a_build_script_where_asked_to",
            "--nocapture",
        ])
        .envs(package.environment().variables)
        .env("ENERGY_KERNEL_CACHE_DIR", package.path("cache"))
        .env("CI", "true")
        .env_remove("ENERGY_KERNEL")
        .env(ACTS, "")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let said: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("cargo::warning="))
        .collect();
    let count = |what: &str| said.iter().filter(|line| line.contains(what)).count();
    assert_eq!((count("is not kept"), count("nothing is embedded")), (1, 1), "{said:?}");
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(package.cache().files(Place::User).is_empty());
    // No partial file and no lock is left.
    assert!(
        package
            .cache()
            .leftovers()
            .iter()
            .all(|path| fs::metadata(path).unwrap().len() == 0)
    );
    assert!(package.cache().try_lock(Lock::Tuning).unwrap().is_some());
}

#[test]
fn concurrent_writers_lose_nothing() {
    let mut package = Package::new();
    package.run();
    let cache = package.cache();
    let path = &cache.files(Place::User)[0];
    let template = crate::cache::read_file(path).unwrap();
    fs::remove_file(path).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4u64 {
            let (cache, template) = (&cache, &template);
            scope.spawn(move || {
                for number in 0..8 {
                    let mut record = template.records[0].clone();
                    record.specialisation.extents =
                        vec![energy_kernel_compiler::size::Extent::Any { multiple_of: 1 }; record.sizes.len()];
                    record.sizes[0] = writer * 100 + number;
                    let file = CacheFile {
                        records: vec![record],
                        ..template.clone()
                    };
                    cache.store(Place::User, &file, &[], None).unwrap();
                }
            });
        }
    });
    assert_eq!(crate::cache::read_file(path).unwrap().records.len(), 32);
    let left: Vec<_> = fs::read_dir(package.path("cache/demo")).unwrap().flatten().collect();
    assert!(
        left.iter()
            .all(|entry| !entry.file_name().to_string_lossy().ends_with(".tmp"))
    );
}

#[test]
fn a_stamp_that_was_cut_off_is_no_stamp() {
    let mut package = Package::new();
    let first = package.run();
    let stamp = package.path("out/energy-kernel/stamp");
    let text = fs::read_to_string(&stamp).unwrap();
    fs::write(&stamp, &text[..text.len() / 2]).unwrap();
    assert_eq!(package.run(), first);
    fs::remove_file(package.path("out/energy-kernel").join(Index::FILE)).unwrap();
    package.write("src/other.rs", "// changed");
    package.run();
    assert_eq!(package.bundles().len(), 3);
}

#[test]
fn outside_a_build_script_there_is_a_warning_and_no_more() {
    let mut package = Package::new();
    let environment = Environment {
        variables: BTreeMap::new(),
        ..package.environment()
    };
    let outcome = execute(&Build::new().policy(Policy::Tune), &environment, &mut package.workshop);
    assert_eq!(warnings(&outcome).len(), 1);
}

#[test]
fn cache_files_name_sizes_for_people() {
    let mut package = Package::new();
    package.run();
    let all = package.cache().read(&[]);
    let softmax = all
        .operators
        .values()
        .flat_map(|known| known.devices.values())
        .find(|f| f.operator == "softmax")
        .unwrap();
    assert_eq!(softmax.named(&softmax.records[0]).to_string(), "C = 128, R = 4");
    let found = crate::scan::operators(&[package.path("package/src/lib.rs")]);
    let rebuilt = cache_file(&found[0], &device(false), softmax.records[0].clone());
    assert_eq!(rebuilt.fingerprint, softmax.fingerprint);
}

/// Fifty operators, all of them tuned.
fn many() -> Package {
    let source: String = (0..50)
        .map(|number| {
            format!(
                "/// Operator {number}.\n#[energy_kernel(tune(R = [4, 64], C = 128))]\n\
                 pub fn op{number}(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R, C)> {{\n\
                     let total = |r| sum(|c| exp(x[[r, c]] - {number}.0));\n\
                     |r, c| exp(x[[r, c]]) / total[[r]]\n}}\n"
            )
        })
        .collect();
    let mut package = Package::with_source(&source);
    package.run();
    assert_eq!((package.tuned(), package.index().fingerprints.len()), (100, 50));
    package
}

/// The fastest of a few runs, each after an action.
fn fastest(package: &mut Package, mut before: impl FnMut(&mut Package, usize)) -> Duration {
    let runs = (0..5).map(|number| {
        before(package, number);
        let begun = std::time::Instant::now();
        package.run();
        begun.elapsed()
    });
    runs.min().unwrap()
}

#[test]
fn a_warm_run_over_fifty_operators_takes_less_than_a_tenth_of_a_second() {
    let mut package = many();
    let untouched = fastest(&mut package, |_, _| ());
    assert!(untouched < Duration::from_millis(100), "{untouched:?}");
}

#[test]
#[ignore = "measures, and needs the machine for itself: `cargo test -p energy-kernel-build -- --ignored --nocapture`"]
fn an_edit_beside_fifty_operators_costs_less_than_a_tenth_of_a_second() {
    let mut package = many();
    let untouched = fastest(&mut package, |_, _| ());
    let beside = fastest(&mut package, |package, number| {
        package.write("src/other.rs", &format!("// edit {number}"));
    });
    let within = fastest(&mut package, |package, number| {
        let source = fs::read_to_string(package.path("package/src/lib.rs")).unwrap();
        package.write("src/lib.rs", &format!("// edit {number}\n{source}"));
    });
    println!("nothing changed: {untouched:?}; another file: {beside:?}; the file of the operators: {within:?}");
    for time in [untouched, beside, within] {
        assert!(time < Duration::from_millis(100), "{time:?}");
    }
    assert_eq!(package.tuned(), 100);
}

#[test]
fn an_edit_elsewhere_compiles_no_bundle_again() {
    let mut package = many();
    let written = |package: &Package| {
        let names = package.index().fingerprints.into_iter().map(|f| Bundle::file_name(&f));
        names
            .map(|name| modified(&package.path("out/energy-kernel").join(name)))
            .collect::<Vec<_>>()
    };
    let before = written(&package);
    package.write("src/other.rs", "// an edit");
    package.run();
    assert_eq!(written(&package), before);
    assert_eq!(package.bundles().len(), 50);
    // A memo without its bundle does not count.
    let bundle = package
        .path("out/energy-kernel")
        .join(Bundle::file_name(&package.index().fingerprints[0]));
    fs::remove_file(&bundle).unwrap();
    package.write("src/other.rs", "// another edit");
    package.run();
    assert_eq!(package.bundles().len(), 50);
}

#[test]
fn energy_that_could_not_be_measured_is_one_warning() {
    let mut package = Package::new();
    package.workshop.trouble = Trouble::NoEnergy;
    let outcome = package.run();
    let texts = warnings(&outcome);
    assert!(
        matches!(texts.as_slice(), [one] if one.contains("softmax (") && one.contains("and 3 more") && one.contains("tune --package demo")),
        "{texts:?}"
    );
    assert_eq!(package.bundles().len(), 3, "the fastest kernels are used");
}

#[test]
fn defects_of_candidates_are_one_warning_that_says_how_to_report_them() {
    let mut package = Package::new();
    package.workshop.trouble = Trouble::Defects;
    let outcome = package.run();
    let [warning] = warnings(&outcome)[..] else {
        panic!("{outcome:?}")
    };
    for part in [
        "plain threads=128` rejected (wrong): as asked",
        "Please report",
        "more;",
    ] {
        assert!(warning.contains(part), "{warning}");
    }
    assert!(!warning.contains("spilling"), "a spill is no defect: {warning}");
}

#[test]
fn unmeasured_energy_is_measured_when_tuning_is_asked_for() {
    let mut package = Package::new();
    package.run();
    let path = package.cache().files(Place::User).remove(0);
    let mut file = crate::cache::read_file(&path).unwrap();
    let records = file.records.len();
    for record in &mut file.records {
        record.energy_measured = false;
        record.front[0].energy = None;
    }
    fs::write(&path, encode(&file).unwrap()).unwrap();
    package.run();
    assert_eq!(package.tuned(), BUCKETS, "not by itself");
    package.variables.insert("ENERGY_KERNEL".into(), "tune".into());
    package.workshop.measured_at += 1;
    package.run();
    assert_eq!(package.tuned(), BUCKETS + records);
    assert!(
        crate::cache::read_file(&path)
            .unwrap()
            .records
            .iter()
            .all(|record| record.energy_measured)
    );
}

/// Files of `[lib] path` and of a module outside the package are tuned and watched. Changes are noticed; unchanged files are not parsed again.
#[test]
fn source_outside_of_the_folders_is_found_and_watched() {
    let mut package = Package::with_source("");
    fs::remove_dir_all(package.path("package/src")).unwrap();
    package.write("Cargo.toml", "[package]\nname = \"demo\"\n[lib]\npath = \"lib.rs\"\n");
    package.write("lib.rs", "#[path = \"../shared/ops.rs\"] mod ops;");
    fs::create_dir(package.path("shared")).unwrap();
    fs::write(package.path("shared/ops.rs"), SOURCE).unwrap();
    let first = package.run();
    assert_eq!(package.tuned(), BUCKETS);
    for file in ["package/Cargo.toml", "package/lib.rs", "package/../shared/ops.rs"] {
        let watched = format!("cargo::rerun-if-changed={}", package.path(file).display());
        assert!(first.directives.contains(&watched), "{watched}: {:?}", first.directives);
    }
    package.run();
    let memo = modified(&package.path("out/energy-kernel/stamp"));
    let unchanged = package.run();
    assert_eq!(unchanged.directives, package.run().directives);
    assert_eq!(
        modified(&package.path("out/energy-kernel/stamp")),
        memo,
        "nothing was done"
    );
    fs::write(package.path("shared/ops.rs"), SOURCE.replace("fn twice", "fn double")).unwrap();
    package.run();
    assert_ne!(
        modified(&package.path("out/energy-kernel/stamp")),
        memo,
        "the change was seen"
    );
}
