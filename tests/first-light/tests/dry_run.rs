//! The script on virtual GPUs, in a folder that holds what `pack` carries, with a path on which there is nothing but what it may need.

#![cfg(target_os = "linux")]

use energy_kernel_virtual_gpu::Virtual;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tempfile::TempDir;

/// The programs that the script may call: bash and coreutils, and tar where there is one.
const PROGRAMS: [&str; 8] = ["bash", "dirname", "mkdir", "mktemp", "rm", "sleep", "tar", "timeout"];

/// Starts a step as the script does. A virtual GPU that is to run every node of small graphs cannot pass over those of large ones, and
/// measuring energy waits so much that it can do with a faster clock.
const START: &str = "#!/bin/bash
case $1 in
machine | tune | compare | sweep) ;;
*) unset LD_PRELOAD VIRTUAL_GPU_CLOCK ;;
esac
[[ $1 != interface ]] || export VIRTUAL_GPU_GRAPHS=all
exec PROGRAM \"$@\"
";

/// A folder as it is carried, and what comes back.
struct Carried {
    folder: TempDir,
    /// One at a time: what is timed needs the machine for itself.
    _turn: MutexGuard<'static, ()>,
}

/// The script's exit and output.
struct Ended {
    code: Option<i32>,
    text: String,
    took: Duration,
    out: PathBuf,
}

impl Carried {
    fn new() -> Carried {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        for made in ["bin", "path", "operators/src", "tmp"] {
            fs::create_dir_all(folder.path().join(made)).unwrap();
        }
        for carried in ["run", "peers.py", "operators/Cargo.toml", "operators/src/lib.rs"] {
            fs::copy(here.join(carried), folder.path().join(carried)).unwrap();
        }
        let carried = Carried { folder, _turn: turn };
        carried.program(
            "bin/first-light",
            &START.replace("PROGRAM", env!("CARGO_BIN_EXE_first-light")),
        );
        symlink(tool(), carried.path("bin/cargo-energy-kernel")).unwrap();
        for program in PROGRAMS {
            let found = std::env::split_paths(&std::env::var_os("PATH").unwrap())
                .map(|folder| folder.join(program))
                .find(|path| path.exists());
            if let Some(found) = found {
                symlink(found, carried.path("path").join(program)).unwrap();
            }
        }
        carried
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a program there.
    fn program(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Runs the script, for so many seconds at most.
    fn run(&self, gpu: &Virtual, limit: u64, words: &[&str]) -> Ended {
        self.run_by(Command::new(self.path("run")), gpu, limit, words)
    }

    /// [`run`](Carried::run) by a command to which the script's options are added.
    fn run_by(&self, mut command: Command, gpu: &Virtual, limit: u64, words: &[&str]) -> Ended {
        let out = self.path("out");
        command
            .arg("--tiny")
            .arg("--out")
            .arg(&out)
            .args(words)
            .env_clear()
            .envs(gpu.variables())
            .env("PATH", self.path("path"))
            .env("TMPDIR", self.path("tmp"))
            .current_dir(self.folder.path());
        let begun = Instant::now();
        let run = gpu.finish(&mut command, Duration::from_secs(limit));
        let ended = Ended {
            code: run.status.and_then(|status| status.code()),
            text: run.text,
            took: begun.elapsed(),
            out,
        };
        assert!(run.status.is_some(), "it still runs after {limit} s:\n{}", ended.text);
        let left: Vec<_> = fs::read_dir(self.path("tmp")).unwrap().collect();
        assert!(left.is_empty(), "{left:?} is left behind:\n{}", ended.text);
        ended
    }
}

impl Ended {
    /// The step's line of the table: its result and its figures.
    #[track_caller]
    fn row(&self, step: &str) -> (String, String) {
        let table = fs::read_to_string(self.out.join("table.txt")).unwrap();
        assert!(
            self.text.contains(&table),
            "the table is not what was printed:\n{}",
            self.text
        );
        let row = table.lines().find(|line| line.split(' ').next() == Some(step));
        let row = row.unwrap_or_else(|| panic!("no step {step} in\n{}", self.text));
        let mut words = row.split_whitespace().skip(1);
        let result = words.next().unwrap().to_owned();
        words.next().unwrap().parse::<u32>().expect("seconds");
        (result, words.collect::<Vec<_>>().join(" "))
    }

    #[track_caller]
    fn ends(&self, step: &str, result: &str, figures: &str) {
        let (found, says) = self.row(step);
        let right = found == result && says.contains(figures);
        assert!(
            right,
            "{step} {found}: {says}\nand not {result}: {figures}\n{}",
            self.text
        );
    }

    /// The results of a step, line by line.
    fn results(&self, step: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.out.join("results.jsonl")).unwrap();
        let lines = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}")));
        lines.filter(|line| line["step"] == step).collect()
    }
}

/// The command's executable. A test run of the workspace has built it; where its sources are newer, it is built here.
fn tool() -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_first-light")).parent().unwrap();
    let tool = folder.join("cargo-energy-kernel");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let built = fs::metadata(&tool)
        .and_then(|data| data.modified())
        .unwrap_or(SystemTime::UNIX_EPOCH);
    if ["build-support", "runtime", "macros"]
        .iter()
        .any(|folder| newer(&root.join(folder), built))
    {
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .args(["build", "--quiet", "-p", "cargo-energy-kernel"])
            .current_dir(root);
        if folder.ends_with("release") {
            cargo.arg("--release");
        }
        assert!(cargo.status().unwrap().success());
    }
    tool
}

/// `true` if a source is newer than that.
fn newer(folder: &Path, than: SystemTime) -> bool {
    fs::read_dir(folder).unwrap().any(|entry| {
        let entry = entry.unwrap();
        let path = entry.path();
        match path.is_dir() {
            true => newer(&path, than),
            false => {
                path.extension().is_some_and(|e| e == "rs") && entry.metadata().unwrap().modified().unwrap() > than
            }
        }
    })
}

/// A GPU whose board draws 300 W. While energy is measured, time passes twice as fast.
fn gpu() -> Virtual {
    Virtual::new("9.0")
        .with("GRAPHS", "sample")
        .with("WATTS", "300")
        .with("CLOCK", "2")
}

#[test]
fn all_steps_pass() {
    let (carried, gpu) = (Carried::new(), gpu());
    let ended = carried.run(&gpu, 900, &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    ended.ends("machine", "ok", "Virtual H100");
    ended.ends("interface", "ok", "scenarios");
    ended.ends("split_k", "ok", "all results the same");
    ended.ends("correctness", "ok", "kernels of 9 families");
    ended.ends("sanitizer", "skipped", "compute-sanitizer is not installed");
    ended.ends("overhead", "ok", "into ");
    ended.ends("peers", "ok", "PyTorch skipped: python3 is not installed");
    ended.ends("tune", "ok", "mJ");
    ended.ends("compare", "ok", "decode against itself");
    ended.ends("sweep", "ok", "points of 3 operators");
    assert_eq!(
        fs::read_to_string(ended.out.join("table.txt")).unwrap().lines().count(),
        11
    );

    // The least numbers of families, kernels of each and operators; each step's last line is the table's.
    let families = ended.results("correctness");
    let families: Vec<&Value> = families.iter().filter(|line| line["family"].is_string()).collect();
    // Nine families, and what calls choose.
    assert_eq!(families.len(), 10);
    assert!(
        families
            .iter()
            .all(|family| family["right"].as_u64() >= Some(12) && family["failed"] == 0)
    );
    for step in [
        "machine",
        "interface",
        "split_k",
        "correctness",
        "overhead",
        "peers",
        "tune",
        "compare",
        "sweep",
    ] {
        let results = ended.results(step);
        assert!(
            results.len() > 1 && results.last().unwrap()["result"] == "ok",
            "{step}: {results:?}"
        );
    }
    // Each operator has a front with energies.
    let fronts = ended.results("tune");
    let fronts: Vec<&Value> = fronts.iter().filter(|line| line["plan"].is_object()).collect();
    assert_eq!(fronts.len(), 3);
    assert!(
        fronts
            .iter()
            .all(|front| front["plan"]["front"][0]["figures"]["energy_j"][0].as_f64() > Some(0.0))
    );

    // Few files come back from a machine that is lent.
    let mut files: Vec<String> = fs::read_dir(&ended.out)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert_eq!(
        files,
        ["log.txt", "records.tar", "results.jsonl", "table.txt", "trace.json"]
    );
    // No process used the driver as none may.
    for report in gpu.reports() {
        assert!(report.problems.is_empty() && report.left.is_empty(), "{report}");
    }
}

#[test]
fn short_is_the_machine_and_a_sample() {
    let carried = Carried::new();
    let ended = carried.run(&gpu(), 400, &["--short"]);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    ended.ends("machine", "ok", "Virtual H100");
    ended.ends("correctness", "ok", "kernels of 9 families");
    assert!(
        ended
            .results("machine")
            .iter()
            .any(|line| line["doctor"]["what"] == "calibration")
    );
    assert_eq!(
        fs::read_to_string(ended.out.join("table.txt")).unwrap().lines().count(),
        3
    );
}

#[test]
fn a_kernel_that_hangs_is_named_and_costs_itself() {
    let carried = Carried::new();
    let gpu = gpu().with("KERNELS", "hang:max_pool_f32_window");
    let ended = carried.run(&gpu, 400, &["--steps", "correctness"]);
    assert_eq!(ended.code, Some(1), "{}", ended.text);
    ended.ends("correctness", "failed", "max_pool_f32 [");
    let of = |family: &str| {
        ended
            .results("correctness")
            .into_iter()
            .find(|line| line["family"] == family && line["right"].is_u64())
            .unwrap()
    };
    let [right, failed] = ["right", "failed"].map(|number| of("window")[number].as_u64().unwrap());
    assert!(right + failed == 14 && (1..5).contains(&failed), "{}", ended.text);
    assert_eq!((&of("mma")["right"], &of("mma")["failed"]), (&14.into(), &0.into()));
    let failures = ended.results("correctness");
    let of_window = |kernel: &str| kernel.contains(": window threads=");
    let mut failures = failures.iter();
    let failure = failures
        .find(|line| line["kernel"].as_str().is_some_and(of_window))
        .unwrap();
    assert!(failure["why"].as_str().unwrap().contains("hangs"), "{failure}");
}

#[test]
fn a_kernel_that_faults_is_named_and_costs_itself() {
    let carried = Carried::new();
    let gpu = gpu().with(
        "KERNELS",
        "illegal:rms_norm_bf16_row,idle:matmul_tf32_mma,crash:causal_softmax_f32_row",
    );
    let ended = carried.run(&gpu, 400, &["--steps", "correctness"]);
    assert_eq!(ended.code, Some(1), "{}", ended.text);
    let failures = ended.results("correctness");
    let why = |kernel: &str| {
        let found = failures
            .iter()
            .find(|line| line["kernel"].as_str().is_some_and(|name| name.starts_with(kernel)));
        found.unwrap_or_else(|| panic!("{kernel} is not named:\n{}", ended.text))["why"].to_string()
    };
    assert!(
        why("rms_norm_bf16").contains("ILLEGAL_ADDRESS"),
        "{}",
        why("rms_norm_bf16")
    );
    assert!(
        why("causal_softmax_f32").contains("signal"),
        "{}",
        why("causal_softmax_f32")
    );
    assert!(why("matmul_tf32").contains("expected"), "{}", why("matmul_tf32"));
    let rows = failures
        .iter()
        .find(|line| line["family"] == "row" && line["right"].is_u64())
        .unwrap();
    assert_eq!(
        rows["right"].as_u64().unwrap() + rows["failed"].as_u64().unwrap(),
        14,
        "{rows}"
    );
}

#[test]
fn a_driver_that_never_answers_costs_a_step_its_time() {
    let carried = Carried::new();
    let gpu = gpu().with("FAIL", "cuDevicePrimaryCtxRetain:1+:hang");
    let ended = carried.run(&gpu, 60, &["--steps", "machine,interface,overhead", "--budget", "12"]);
    assert_eq!(ended.code, Some(1), "{}", ended.text);
    assert!(ended.took < Duration::from_secs(25), "{:?}", ended.took);
    ended.ends("machine", "failed", "it did not end in 12 s");
    ended.ends("interface", "skipped", "no time is left");
    ended.ends("overhead", "skipped", "no time is left");
}

#[test]
fn what_is_interrupted_leaves_what_it_has() {
    let carried = Carried::new();
    let gpu = gpu().with("FAIL", "cuDevicePrimaryCtxRetain:1+:hang");
    let mut command = Command::new(carried.path("path/timeout"));
    command.args(["--preserve-status", "4"]).arg(carried.path("run"));
    let ended = carried.run_by(command, &gpu, 60, &["--steps", "sanitizer,machine"]);
    assert_eq!(ended.code, Some(143), "{}", ended.text);
    ended.ends("machine", "failed", "it was interrupted");
    assert!(
        ended.text.contains("\"system\""),
        "what the step said is shown:\n{}",
        ended.text
    );
}

#[test]
fn without_nvml_nothing_that_needs_energy_passes() {
    let (carried, gpu) = (Carried::new(), gpu());
    for name in ["libnvidia-ml.so", "libnvidia-ml.so.1"] {
        fs::remove_file(gpu.folder().join(name)).unwrap();
    }
    let ended = carried.run(
        &gpu,
        180,
        &["--steps", "machine,overhead,tune,compare", "--budget", "120"],
    );
    assert_eq!(ended.code, Some(1), "{}", ended.text);
    ended.ends("machine", "failed", "NVML");
    ended.ends("overhead", "ok", "into");
    ended.ends("tune", "failed", "energy unmeasured");
    ended.ends("compare", "failed", "NVML");
}

#[test]
fn without_a_gpu_it_ends_at_once() {
    let carried = Carried::new();
    let ended = carried.run(&Virtual::new("none"), 60, &[]);
    assert_eq!(ended.code, Some(69), "{}", ended.text);
    assert!(ended.took < Duration::from_secs(20), "{:?}", ended.took);
    ended.ends("machine", "failed", "the CUDA driver finds no GPU");
    assert_eq!(
        fs::read_to_string(ended.out.join("table.txt")).unwrap().lines().count(),
        2
    );

    // Results are not overwritten, and words that mean nothing are not passed over.
    let again = carried.run(&Virtual::new("none"), 60, &[]);
    assert!(
        again.code == Some(2) && again.text.contains("holds results already"),
        "{}",
        again.text
    );
    let wrong = carried.run(&Virtual::new("none"), 60, &["--steps", "machine,lunch"]);
    assert!(
        wrong.code == Some(2) && wrong.text.contains("there is no step lunch"),
        "{}",
        wrong.text
    );
    let wrong = carried.run(&Virtual::new("none"), 60, &["--budget", "soon"]);
    assert!(
        wrong.code == Some(2) && wrong.text.contains("soon is not a number"),
        "{}",
        wrong.text
    );
}

#[test]
fn what_other_tools_say_is_understood() {
    let sanitizer = |carried: &Carried, text: &str| {
        carried.program("path/compute-sanitizer", &format!("#!/bin/bash\n{text}"));
        let _ = fs::remove_dir_all(carried.path("out"));
        carried.run(&gpu(), 400, &["--steps", "sanitizer"])
    };
    let carried = Carried::new();
    let ended = sanitizer(
        &carried,
        "echo '========= Error: Device not supported. Please refer to the documentation.'; exit 1\n",
    );
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    ended.ends(
        "sanitizer",
        "skipped",
        "memcheck: does not work here: Error: Device not supported",
    );
    assert!(ended.out.join("sanitizer.txt").exists());
    // It runs the kernels, of which none is wrong.
    let run = "while [[ $1 != */first-light ]]; do shift; done\n\"$@\"\n";
    let ended = sanitizer(&carried, &format!("{run}echo '========= ERROR SUMMARY: 0 errors'\n"));
    ended.ends("sanitizer", "ok", "memcheck: 20 kernels, 0 errors");
    let ended = sanitizer(
        &carried,
        &format!("{run}echo '========= ERROR SUMMARY: 3 errors'\nexit 86\n"),
    );
    assert_eq!(ended.code, Some(1), "{}", ended.text);
    ended.ends("sanitizer", "failed", "memcheck: 3 errors after 20 kernels");

    let python = |text: &str| {
        carried.program("path/python3", &format!("#!/bin/bash\n{text}"));
        let _ = fs::remove_dir_all(carried.path("out"));
        carried.run(&gpu(), 400, &["--steps", "peers"])
    };
    let ended = python("echo '{\"operator\":\"copy\",\"seconds\":1e-6}'\n");
    ended.ends("peers", "ok", "× PyTorch's time)");
    let ended = python("echo '{\"operator\":\"copy\",\"error\":\"OutOfMemoryError: CUDA\"}'; exit 1\n");
    ended.ends("peers", "failed", "OutOfMemoryError");
    let ended = python("echo '{\"absent\":\"no PyTorch: No module named torch\"}'\n");
    ended.ends("peers", "ok", "PyTorch skipped: no PyTorch");
}
