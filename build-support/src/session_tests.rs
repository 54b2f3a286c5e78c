//! Runs of the build script on packages in temporary folders, with a bench that measures nothing.

use crate::cache::{Cache, Place};
use crate::session::{Bench, Job, Outcome, Workshop, cache_file, execute};
use crate::{Build, Environment, Policy};
use energy_kernel_compiler::lower::lower;
use energy_kernel_compiler::record::encoding::{decode, encode};
use energy_kernel_compiler::record::*;
use energy_kernel_compiler::schedule::{self, Plain, Schedule};
use energy_kernel_compiler::target::{Machine, Target};
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
            root,
        };
        package.write("src/lib.rs", source);
        package
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
            user_cache: Some(self.path("cache")),
            gpus: String::new(),
            now: self.now,
            invoked: self.now - Duration::from_millis(5),
        }
    }

    fn run(&mut self) -> Outcome {
        execute(&self.build.clone(), &self.environment(), &mut self.workshop)
    }

    fn cache(&self) -> Cache {
        Cache::of(&self.path("package"), "demo", Some(&self.path("cache")))
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
}

fn warnings(outcome: &Outcome) -> Vec<&str> {
    let texts = outcome
        .directives
        .iter()
        .filter_map(|line| line.strip_prefix("cargo::warning="));
    texts.collect()
}

/// Benches that take the default schedule for the best.
#[derive(Clone)]
struct Fake {
    gpu: Result<(), String>,
    simulated: bool,
    tuned: Rc<RefCell<Vec<String>>>,
    announced: Vec<String>,
    trouble: Trouble,
    measured_at: u64,
    /// What becomes of a file while something is tuned.
    edit: Option<(PathBuf, String)>,
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
    let schedule = schedule::default(&found.checked, &found.specialisation, job.sizes, machine);
    let kernel = lower(&found.checked, &found.specialisation, machine, &schedule).unwrap();
    let estimate = Estimate {
        mean: 1e-5,
        interval: 1e-7,
    };
    Record {
        sizes: job.sizes.to_vec(),
        specialisation: found.specialisation.clone(),
        front: vec![Point {
            schedule,
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
    assert!(package.index().covers(
        "demo",
        &package.path("package").display().to_string(),
        &softmax.fingerprint
    ));

    let second = package.run();
    assert_eq!(second, first);
    assert_eq!(package.tuned(), BUCKETS);
    // Nor does another profile, whose OUT_DIR is empty.
    fs::remove_dir_all(package.path("out")).unwrap();
    package.run();
    assert_eq!(package.tuned(), BUCKETS);
    assert_eq!(package.bundles(), bundles);
}

/// Tuning takes minutes, and an editor saves meanwhile: what was scanned before that is not what lies there now.
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

/// Cargo compares times with when the script began: what it wrote itself must not look new.
#[test]
fn what_the_build_wrote_itself_is_no_change() {
    let mut package = Package::new();
    package.run();
    for path in package.cache().files(Place::User) {
        assert_eq!(modified(&path), package.environment().invoked);
    }
    #[cfg(unix)]
    assert_eq!(modified(&package.path("cache/demo")), package.environment().invoked);
    // Nor is the folder itself.
    let mut untuned = Package::new();
    untuned.variables.insert("ENERGY_KERNEL".into(), "cached".into());
    untuned.run();
    #[cfg(unix)]
    assert_eq!(modified(&untuned.path("cache/demo")), untuned.environment().invoked);
}

fn modified(path: &Path) -> SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

/// Set where this program is the build script of a package.
const ACTS: &str = "ENERGY_KERNEL_TEST_ACTS";

#[test]
fn acts_as_a_build_script_where_asked_to() {
    if std::env::var_os(ACTS).is_some() {
        // Not on the line that the test's name is on.
        println!();
        Build::new().or_emulated().emulated_candidates(1).run();
    }
}

/// With cargo itself, and a build script that calls this program.
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
            let test = [\"--exact\", \"session_tests::acts_as_a_build_script_where_asked_to\", \"--nocapture\"];
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
    for folder in ["cache/demo", "cache/.state/demo"] {
        assert_eq!(
            fs::metadata(package.path(folder)).unwrap().permissions().mode() & 0o777,
            0o700,
            "{folder}"
        );
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

/// What differs by its names shares a fingerprint and so a bundle; what is annotated twice, under conditions, has the sizes of both.
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
    // What is said of one of them names that one.
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

/// A budget that ended early must not undo what another tuning measured, wherever that lies; what is stale it may.
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
    let begun = std::time::Instant::now();
    let outcome = package.run();
    assert!(begun.elapsed() < Duration::from_secs(5));
    let texts = warnings(&outcome);
    let said: Vec<&&str> = texts.iter().filter(|text| text.contains("is not used")).collect();
    assert!(said.len() == 1 && said[0].contains("and 2 more"), "{texts:?}");
    assert!(said[0].contains("delete it"), "{texts:?}");
    assert_eq!(package.tuned(), 2 * BUCKETS, "what was lost is tuned again");
    assert_eq!(package.bundles().len(), 3);
}

/// It may be sound: it is not for a build to replace it.
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
    // A change of permissions is none that a build looks for; a first build has nothing to go by.
    fs::remove_dir_all(package.path("out/energy-kernel")).unwrap();
    let outcome = package.run();
    let texts = warnings(&outcome);
    assert!(
        texts.iter().any(|text| text.contains("see to its permissions")),
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

/// An earlier version's results are measured again without a word: an update is nothing to warn of at every build.
#[test]
fn what_an_earlier_version_left_is_passed_over() {
    let mut package = Package::new();
    package.run();
    for path in package.cache().files(Place::User) {
        let mut bytes = fs::read(&path).unwrap();
        bytes[12..14].copy_from_slice(&1u16.to_le_bytes());
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

/// What never ends is not read.
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

/// Names that no line of UTF-8 can hold are watched nevertheless, and by no other name.
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
            .for_each(|record| record.front[0].schedule = plain(12_345));
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

/// A full disk, say: the folder is there, and takes no file.
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

/// In other modules, or under other conditions: none of them is an edit of another.
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
fn a_debug_build_goes_on_while_another_tunes_and_a_release_build_waits() {
    let mut package = Package::new();
    let lock = package.cache().lock("tuning").unwrap();
    package.variables.insert("PROFILE".into(), "debug".into());
    let outcome = package.run();
    assert_eq!(package.tuned(), 0);
    assert!(outcome.directives.iter().any(|line| line.ends_with("again")));
    package.variables.insert("PROFILE".into(), "release".into());
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
    package.run();
    finishing.join().unwrap();
    assert_eq!(package.tuned(), 0, "concurrent builds never tune the same twice");
    assert_eq!(package.bundles().len(), 3);
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

/// Neither the cache nor `OUT_DIR` takes a byte; folders can still be made.
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
            "session_tests::acts_as_a_build_script_where_asked_to",
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
    // Nothing half written is left, and nothing locked.
    assert!(
        package
            .cache()
            .leftovers()
            .iter()
            .all(|path| fs::metadata(path).unwrap().len() == 0)
    );
    assert!(package.cache().try_lock("tuning").unwrap().is_some());
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

/// The fastest of a few runs, after something was done each time.
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
    // A memo without its bundle is worth nothing.
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

/// `[lib] path`, and a module outside of the package: tuned, watched, seen when they change, and not parsed again when they do not.
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
