//! The commands on a virtual GPU, with faults of its kernels.

#![cfg(target_os = "linux")]

use energy_kernel_virtual_gpu::{Run, Virtual};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

const BUILD: &str = "fn main() { energy_kernel_build::run() }";
const DOUBLE: &str = "#[energy_kernel(tune(N = 4096))]
pub fn double(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> { |n| x[[n]] * 2.0 }";

/// A package with one operator.
fn package() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let manifest = "[package]\nname = \"doubles\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n";
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("Cargo.toml", manifest);
    write("build.rs", BUILD);
    fs::create_dir(folder.path().join("src")).unwrap();
    write("src/lib.rs", DOUBLE);
    folder
}

/// A GPU that draws 300 W and whose kernels take 100 µs. Its time passes four times as fast, because tuning waits for clocks and counters.
fn gpu() -> Virtual {
    Virtual::new("9.0")
        .with("GRAPHS", "sample")
        .with("WATTS", "300")
        .with("KERNEL_US", "100")
        .with("CLOCK", "4")
}

/// Runs a command in a folder.
fn call(gpu: &Virtual, folder: &Path, words: &[&str]) -> Run {
    let mut command = gpu.command(env!("CARGO_BIN_EXE_cargo-energy-kernel"));
    command
        .current_dir(folder)
        .env("ENERGY_KERNEL_CACHE_DIR", folder.join("cache"))
        .args(words);
    gpu.finish(&mut command, Duration::from_secs(120))
}

#[track_caller]
fn succeeds(run: &Run) -> &str {
    assert!(
        run.status.is_some_and(|status| status.success()),
        "{:?}\n{}",
        run.status,
        run.text
    );
    &run.text
}

/// The last line that is JSON.
fn json(text: &str) -> Value {
    let parsed = |line: &str| serde_json::from_str(line).ok();
    text.lines()
        .rev()
        .find_map(parsed)
        .unwrap_or_else(|| panic!("no JSON in\n{text}"))
}

const FEW: [&str; 4] = ["--candidates", "6", "--measurements", "2"];

/// Runs `tune` with few candidates.
fn tune(gpu: &Virtual, folder: &Path, words: &[&str]) -> Run {
    call(gpu, folder, &[&["tune"], &FEW[..], words].concat())
}

#[test]
fn a_gpu_and_its_counter_are_examined() {
    let (gpu, folder) = (gpu(), package());
    let run = call(&gpu, folder.path(), &["doctor", "--energy", "--json"]);
    let findings = json(succeeds(&run));
    let says = |what: &str| {
        let finding = findings
            .as_array()
            .unwrap()
            .iter()
            .find(|finding| finding["what"] == what);
        let finding = finding.unwrap_or_else(|| panic!("nothing of {what} in\n{findings}"));
        assert_eq!(finding["state"], "ok", "{finding}");
        finding["says"].as_str().unwrap().to_owned()
    };
    assert!(says("GPU").starts_with("Virtual H100"));
    assert!(says("driver").contains("12.0"));
    assert!(says("energy counter").contains("limited to 700 W, draws 300 W"));
    assert!(says("calibration").contains("no aliasing"));

    // A problem of the board is reported.
    let ill = self::gpu().with("FOREIGN", "1");
    let run = call(&ill, folder.path(), &["doctor"]);
    assert!(run.text.contains("1 other process"), "{}", run.text);
    assert_eq!(run.status.unwrap().code(), Some(1));
}

/// The points of a front with measured energy.
fn measured(gpu: &Virtual, folder: &Path) -> Vec<Value> {
    let shown = json(succeeds(&call(gpu, folder, &["show", "--front", "--json"])));
    let points = shown.as_array().unwrap().iter();
    points
        .filter(|point| point["energy_joules"].is_f64())
        .cloned()
        .collect()
}

/// Tunes until an energy is measured. On a busy machine, ticks of the counter are missed.
fn tune_with_energy(gpu: &Virtual, folder: &Path) -> Value {
    for _ in 0..5 {
        succeeds(&tune(gpu, folder, &["--again"]));
        if let Some(point) = measured(gpu, folder).first() {
            return point.clone();
        }
    }
    panic!("no energy in five tunings");
}

#[test]
fn operators_are_tuned_and_shipped() {
    let (gpu, folder) = (gpu(), package());
    let point = tune_with_energy(&gpu, folder.path());
    assert_eq!(point["device"], "Virtual H100");
    let number = |key: &str| point[key].as_f64().unwrap_or_else(|| panic!("no {key} in {point}"));
    let watts = number("energy_joules") / number("latency_seconds");
    assert!((watts - 300.0).abs() < 30.0, "{watts} W: {point}");

    let summary = json(succeeds(&tune(&gpu, folder.path(), &["--ship", "--json"])));
    assert_eq!(
        (&summary["tuned"], &summary["failed"]),
        (&0.into(), &0.into()),
        "{summary}"
    );
    assert_eq!(summary["shipped"].as_array().unwrap().len(), 1, "{summary}");
    succeeds(&call(&gpu, folder.path(), &["check"]));
}

#[test]
fn a_sweep_is_recorded_and_replayed() {
    let (gpu, folder) = (gpu(), package());
    let sweep = call(
        &gpu,
        folder.path(),
        &["tune", "--sweep", "trace.json", "--candidates", "4"],
    );
    succeeds(&sweep);
    assert!(folder.path().join("trace.json").metadata().unwrap().len() > 0);
    let replayed = call(
        &gpu,
        folder.path(),
        &["tune", "--device", "replay:trace.json", "--json"],
    );
    assert_eq!(json(succeeds(&replayed))["tuned"], 1);
    let shown = json(succeeds(&call(&gpu, folder.path(), &["show", "--json"])));
    assert_eq!(
        (&shown[0]["operator"], &shown[0]["simulated"]),
        (&"double".into(), &false.into()),
        "{shown}"
    );
}

#[test]
fn a_saving_is_confirmed() {
    let (gpu, folder) = (gpu(), package());
    tune_with_energy(&gpu, folder.path());
    let run = tune(&gpu, folder.path(), &["--confirm", "--pairs", "4", "--json"]);
    let summary = json(succeeds(&run));
    let confirmed = &summary["confirmed"][0];
    assert_eq!(
        (&confirmed["operator"], &confirmed["simulated"]),
        (&"double".into(), &false.into()),
        "{summary}"
    );
}

#[test]
fn kernels_that_fault_crash_or_are_wrong_cost_themselves_alone() {
    let folder = package();
    let gpu = gpu().with("KERNELS", "illegal:.maxntid 64,crash:.maxntid 256,idle:.maxntid 128");
    let summary = json(succeeds(&call(
        &gpu,
        folder.path(),
        &["tune", "--candidates", "60", "--measurements", "2", "--json"],
    )));
    assert_eq!(
        (&summary["tuned"], &summary["failed"]),
        (&1.into(), &0.into()),
        "{summary}"
    );
    let rejected = summary["results"][0]["rejected"].as_array().unwrap();
    for (reason, schedule) in [
        ("faulted", "threads=64"),
        ("crashed", "threads=256"),
        ("wrong", "threads=128"),
    ] {
        let mut of_it = rejected.iter().filter(|one| one["reason"] == reason).peekable();
        assert!(of_it.peek().is_some(), "nothing was {reason}: {summary}");
        assert!(
            of_it.all(|one| one["schedule"].as_str().unwrap().contains(schedule)),
            "{summary}"
        );
    }
    let shown = json(succeeds(&call(&gpu, folder.path(), &["show", "--json"])));
    let chosen = shown[0]["schedule"].as_str().unwrap();
    let defective = ["threads=64", "threads=128", "threads=256"];
    assert!(!defective.iter().any(|threads| chosen.contains(threads)), "{shown}");
}

#[test]
fn a_kernel_that_hangs_is_told_at_the_end_of_the_time() {
    let folder = package();
    // The first candidate.
    let gpu = gpu().with("KERNELS", "hang:.maxntid 128");
    let words = ["tune", "--candidates", "6", "--budget", "20s", "--json"];
    let run = call(&gpu, folder.path(), &words);
    assert_eq!(run.status.and_then(|status| status.code()), Some(1), "{}", run.text);
    assert_eq!(json(&run.text)["failed"], 1);
    assert!(run.text.contains("rejected (hung)"), "{}", run.text);
    // It is not tried again.
    let run = call(
        &gpu,
        folder.path(),
        &["tune", "--candidates", "6", "--budget", "20s", "--json"],
    );
    assert_eq!(json(succeeds(&run))["tuned"], 1, "{}", run.text);
}

#[test]
fn structures_pointers_and_variables_reach_a_kernel() {
    let (gpu, folder) = (gpu(), tempfile::tempdir().unwrap());
    let write = |name: &str, words: &[u32]| {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        fs::write(folder.path().join(name), bytes).unwrap()
    };
    fs::write(folder.path().join("p.ptx"), include_str!("gather.ptx")).unwrap();
    write("seven", &[7]);
    write("eight", &[8]);
    write("s", &[1, 1, 30, 1, 1, 1]);
    write("added", &[2000]);
    let arguments = [
        "buffer:in:seven",
        "bytes:s:0=0,16=2",
        "buffer:out:result:4",
        "pointers:0,4",
        "buffer:in:eight",
        "symbol:added:added",
        "out:twice:8",
        "same:6",
    ];
    let run = |arguments: &[&str]| {
        let mut words = vec!["run", "p.ptx", "--device", "cuda:0"];
        words.extend(arguments.iter().flat_map(|argument| ["--arg", argument]));
        call(&gpu, folder.path(), &words)
    };
    succeeds(&run(&arguments));
    let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
    assert_eq!(read("result"), (7 + 30 + 2000u32).to_le_bytes());
    assert_eq!(read("twice"), [7008u32, 7008].map(u32::to_le_bytes).concat());
    for (arguments, says) in [
        (&arguments[..7], "takes 4 arguments, 3 were given"),
        (&["symbol:nothing:added"], "no global or constant variable `nothing`"),
        (&["symbol:added:s"], "`added` has 4 bytes, 24 were given"),
    ] {
        let run = run(arguments);
        assert_eq!(run.status.and_then(|status| status.code()), Some(1), "{}", run.text);
        assert!(run.text.replace("\n  │ ", " ").contains(says), "{}", run.text);
    }
}
