//! Tunings that are ended, or run beside each other.

#![cfg(unix)]

use energy_kernel_build::cache::{Cache, Place, read_file};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Buckets of the package.
const BUCKETS: usize = 4;

const SOURCE: &str = "
    #[energy_kernel(tune(M = [16, 32, 48], N = 64, K = 64))]
    pub fn product(a: Tensor<f32, (M, K)>, b: Tensor<f32, (K, N)>) -> Tensor<f32, (M, N)> {
        |m, n| sum(|k| a[[m, k]] * b[[k, n]])
    }
    #[energy_kernel(tune(R = 64, C = 512))]
    pub fn total(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R,)> { |r| sum(|c| x[[r, c]]) }
";

/// A package that cargo can describe; nothing of it is ever compiled.
struct Package {
    _root: tempfile::TempDir,
    folder: PathBuf,
}

impl Package {
    fn new() -> Package {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("demo");
        fs::create_dir_all(folder.join("src")).unwrap();
        let manifest = "[package]\nname = \"demo\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n";
        fs::write(folder.join("Cargo.toml"), manifest).unwrap();
        fs::write(folder.join("src/lib.rs"), SOURCE).unwrap();
        Package { _root: root, folder }
    }

    fn cache(&self) -> Cache {
        Cache::of(&self.folder, "demo", Some(&self.folder.join("cache")))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cargo-energy-kernel"));
        command
            .current_dir(&self.folder)
            .args(["tune", "--emulated", "--json", "--candidates", "12"])
            .env("ENERGY_KERNEL_CACHE_DIR", self.folder.join("cache"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn tune(&self) -> Child {
        self.command().spawn().unwrap()
    }

    /// The journals of tunings that have not ended.
    fn journals(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let state = self.folder.join("cache/.state/demo");
        let files = fs::read_dir(state)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        files
            .filter(|path| path.extension().is_some_and(|e| e == "journal"))
            .map(|path| (path.clone(), fs::read(&path).unwrap()))
            .collect()
    }

    /// Buckets that have a result. Every file is whole.
    fn results(&self) -> usize {
        let files = self.cache().files(Place::User);
        files
            .iter()
            .map(|path| read_file(path).unwrap_or_else(|problem| panic!("{}: {problem}", path.display())))
            .map(|file| file.records.len())
            .sum()
    }
}

fn said(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

fn finish(child: Child) -> serde_json::Value {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    said(&output)
}

/// `kill -9`, twenty times: what was measured stays measured, every file is whole, and nothing stays locked.
#[test]
fn a_tuning_that_is_killed_at_any_moment_loses_nothing() {
    let package = Package::new();
    let begun = Instant::now();
    assert_eq!(finish(package.tune())["tuned"], BUCKETS);
    let whole = begun.elapsed();
    let clear = || fs::remove_dir_all(package.folder.join("cache")).unwrap();
    clear();
    let (mut kept, mut results, mut random) = (BTreeMap::<PathBuf, Vec<u8>>::new(), 0, 1u32);
    let mut interrupted = 0;
    for _ in 0..20 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let mut child = package.tune();
        std::thread::sleep(whole.mul_f64(f64::from(random >> 8) / f64::from(1 << 24)));
        child.kill().unwrap();
        child.wait().unwrap();

        let (now, ended) = (package.journals(), package.results());
        assert!(ended >= results);
        let gone = kept.keys().filter(|path| !now.contains_key(*path)).count();
        assert!(gone <= ended - results, "a journal goes when its result is there");
        for (path, before) in &kept {
            if let Some(after) = now.get(path) {
                assert!(after.starts_with(before), "{} lost measurements", path.display());
            }
        }
        interrupted += usize::from(!now.is_empty());
        (kept, results) = (now, ended);
        let lock = package.cache().try_lock("tuning").unwrap();
        assert!(lock.is_some(), "nothing stays locked");
        if results == BUCKETS {
            clear();
            (kept, results) = (BTreeMap::new(), 0);
        }
    }
    assert!(interrupted > 0, "some were in the middle of it");
    assert_eq!(finish(package.tune())["tuned"], BUCKETS - results);
    assert_eq!(package.results(), BUCKETS);
}

/// Where a disk is full nothing is left that would hide what is recorded once it is not.
#[test]
fn a_sweep_that_finds_no_room_leaves_whole_lines() {
    let package = Package::new();
    let trace = package.folder.join("trace.jsonl");
    let sweep = |limit: &str| {
        // A file that may not grow any more, instead of a full disk; in the middle of a line.
        let command = format!("trap '' XFSZ; {limit}; exec \"$0\" tune --emulated --candidates 12 --sweep trace.jsonl");
        let output = Command::new("sh")
            .args(["-c", &command, env!("CARGO_BIN_EXE_cargo-energy-kernel")])
            .current_dir(&package.folder)
            .env("ENERGY_KERNEL_CACHE_DIR", package.folder.join("cache"))
            .output()
            .unwrap();
        (output.status.code(), fs::read_to_string(&trace).unwrap())
    };
    let (code, before) = sweep("ulimit -f 20");
    assert!(code == Some(1) && before.ends_with('\n'), "{code:?}");
    let (code, after) = sweep("true");
    assert!(code == Some(0) && after.starts_with(&before), "{code:?}");
    assert!(after.len() > before.len());
}

#[test]
fn an_interrupt_says_what_is_kept_and_the_next_run_goes_on() {
    let package = Package::new();
    let child = package.tune();
    wait_for_a_measurement(&package.folder);
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let interrupted = said(&output);
    assert!(
        interrupted["error"] == "interrupted" && interrupted["kept"].as_u64() > Some(0),
        "{interrupted}"
    );
    let results = package.results();
    assert!(results < BUCKETS && !package.journals().is_empty());
    assert_eq!(finish(package.tune())["tuned"], BUCKETS - results);
    assert!(package.journals().is_empty());
}

#[test]
fn tunings_at_the_same_time_tune_each_operator_once() {
    let package = Package::new();
    let children = [package.tune(), package.tune(), package.tune()];
    let tuned: Vec<u64> = children.map(|child| finish(child)["tuned"].as_u64().unwrap()).into();
    assert_eq!(tuned.iter().sum::<u64>(), BUCKETS as u64, "{tuned:?}");
    assert_eq!(package.results(), BUCKETS);
}

/// It says that it waits, and its time begins when that ends.
#[test]
fn a_tuning_that_waits_for_another_says_so() {
    let package = Package::new();
    let lock = package.cache().lock("tuning").unwrap();
    let mut child = package.command();
    let mut child = child.args(["--budget", "60"]).spawn().unwrap();
    let mut says = String::new();
    BufReader::new(child.stderr.take().unwrap())
        .read_line(&mut says)
        .unwrap();
    assert!(says.contains("another process is tuning demo; waiting"), "{says}");
    drop(lock);
    assert_eq!(finish(child)["tuned"], BUCKETS);
}

fn wait_for_a_measurement(folder: &Path) {
    let state = folder.join("cache/.state/demo");
    let patience = Instant::now() + Duration::from_secs(60);
    while Instant::now() < patience {
        let entries = fs::read_dir(&state).into_iter().flatten().flatten();
        let written = |path: &Path| {
            path.extension().is_some_and(|e| e == "journal") && fs::metadata(path).is_ok_and(|file| file.len() > 0)
        };
        if entries.map(|entry| entry.path()).any(|path| written(&path)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    panic!("nothing was measured");
}
