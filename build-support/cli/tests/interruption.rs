//! Interrupted tunings, and tunings at the same time.

#![cfg(unix)]

use energy_kernel_build::Lock;
use energy_kernel_build::cache::{Cache, Place, read_file};
use energy_kernel_build::tune::journaled;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The number of buckets of the package.
const BUCKETS: usize = 4;

const SOURCE: &str = "
    #[energy_kernel(tune(M = [16, 32, 48], N = 64, K = 64))]
    pub fn product(a: Tensor<f32, (M, K)>, b: Tensor<f32, (K, N)>) -> Tensor<f32, (M, N)> {
        |m, n| sum(|k| a[[m, k]] * b[[k, n]])
    }
    #[energy_kernel(tune(R = 64, C = 512))]
    pub fn total(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R,)> { |r| sum(|c| x[[r, c]]) }
";

/// A package that cargo can describe. It is never compiled.
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

    /// The journals of interrupted tunings.
    fn journals(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let files = fs::read_dir(self.cache().state().unwrap())
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        files
            .filter(|path| path.extension().is_some_and(|e| e == "journal"))
            .filter_map(|path| Some((path.clone(), fs::read(&path).ok()?)))
            .collect()
    }

    /// The number of buckets with a result. Checks that every file is complete.
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

/// After twenty `kill -9`, all measurements are kept, every file is complete, and nothing is locked.
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
        let lock = package.cache().try_lock(Lock::Tuning).unwrap();
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

/// A full disk leaves no partial entry that would hide later ones.
#[test]
fn a_sweep_that_finds_no_room_leaves_whole_lines() {
    let package = Package::new();
    let trace = package.folder.join("trace.jsonl");
    let sweep = |limit: &str| {
        // A limit on the file size stands for a full disk. It is in the middle of a line.
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
    // The command counts a measurement after writing it: with two in a journal, at least one is counted.
    wait_until(&package, |journals| journals.keys().any(|path| journaled(path) > 1));
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

/// The message counts only measurements on disk.
#[test]
fn an_interrupt_on_a_full_disk_says_that_nothing_is_kept() {
    let package = Package::new();
    // A limit of 0 bytes stands for a full disk. Files can be created.
    let child = Command::new("sh")
        .args([
            "-c",
            "trap '' XFSZ; ulimit -f 0; exec \"$0\" tune --emulated --json --candidates 12",
        ])
        .arg(env!("CARGO_BIN_EXE_cargo-energy-kernel"))
        .current_dir(&package.folder)
        .env("ENERGY_KERNEL_CACHE_DIR", package.folder.join("cache"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The second size has begun, so the first was measured.
    wait_until(&package, |journals| journals.len() > 1);
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    // The first size was reported before.
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let interrupted: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert!(
        interrupted["kept"] == 0 && interrupted["not_kept"].is_string(),
        "{interrupted}"
    );
    assert!(package.journals().values().all(Vec::is_empty));
    let warned = String::from_utf8_lossy(&output.stderr);
    assert!(
        warned.contains("the measurements are lost") && !warned.contains("run the command again"),
        "{warned}"
    );
}

/// Another process may hold the lock forever.
#[test]
fn a_tuning_waits_no_longer_than_its_budget() {
    let package = Package::new();
    let _lock = package.cache().try_lock(Lock::Tuning).unwrap().unwrap();
    let output = package.command().args(["--budget", "0.1"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.code() == Some(1) && said.contains("another process is still tuning demo"),
        "{output:?}"
    );
    assert_eq!(package.results(), 0);
}

#[test]
fn tunings_at_the_same_time_tune_each_operator_once() {
    let package = Package::new();
    let children = [package.tune(), package.tune(), package.tune()];
    let tuned: Vec<u64> = children.map(|child| finish(child)["tuned"].as_u64().unwrap()).into();
    assert_eq!(tuned.iter().sum::<u64>(), BUCKETS as u64, "{tuned:?}");
    assert_eq!(package.results(), BUCKETS);
}

/// The command reports that it waits. Its budget begins after the wait.
#[test]
fn a_tuning_that_waits_for_another_says_so() {
    let package = Package::new();
    let lock = package.cache().try_lock(Lock::Tuning).unwrap().unwrap();
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

/// Polls the journals until a condition holds.
fn wait_until(package: &Package, is: impl Fn(&BTreeMap<PathBuf, Vec<u8>>) -> bool) {
    let patience = Instant::now() + Duration::from_secs(60);
    while !is(&package.journals()) {
        assert!(Instant::now() < patience, "nothing was measured");
        std::thread::sleep(Duration::from_millis(2));
    }
}
