//! Runs tests in processes of their own with the fake driver: a driver is loaded once per process.

use energy_kernel::__private::DRIVER_SYMBOLS;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names the case that a process runs; without it the tests start such processes.
pub const CASE: &str = "ENERGY_KERNEL_TEST_CASE";

/// The flags of a driver that has every function. It exports those that are probed and no others, so that cudarc panics in a case that
/// reaches another one.
pub const WHOLE: &[&str] = &["-DWHOLE"];

fn compile(folder: &Path, name: &str, library: &str, flags: &[&str]) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake").join(name);
    let library = folder.join(library);
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let compiled = Command::new(compiler)
        .args(["-shared", "-fPIC", "-w", "-o"])
        .args([&library, &source])
        .args(flags)
        .status();
    match compiled {
        Ok(status) if status.success() => Some(library),
        _ => {
            eprintln!("SKIPPED: there is no C compiler to make a fake driver with");
            None
        }
    }
}

/// Runs the case in a process with that driver, and returns what the driver noted; nothing without a C compiler.
pub fn run(case: &str, flags: &[&str], variables: &[(&str, &str)]) -> Option<String> {
    run_with(case, flags, &DRIVER_SYMBOLS, variables)
}

/// The same with a driver that exports these functions only.
pub fn run_with(case: &str, flags: &[&str], symbols: &[&str], variables: &[(&str, &str)]) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let exports = folder.path().join("exports");
    let all: String = symbols.iter().map(|symbol| format!("{symbol}; ")).collect();
    std::fs::write(&exports, format!("{{ global: {all} local: *; }};\n")).unwrap();
    let script = format!("-Wl,--version-script={}", exports.display());
    let flags: Vec<&str> = flags.iter().copied().chain([&*script]).collect();
    compile(folder.path(), "libcuda.c", "libcuda.so", &flags)?;
    compile(folder.path(), "libnvidia-ml.c", "libnvidia-ml.so.1", &[])?;
    let log = folder.path().join("log");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_case", "--nocapture"])
        .env(CASE, case)
        .env("LD_LIBRARY_PATH", folder.path())
        .env("FAKE_CUDA_LOG", &log)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let log = std::fs::read_to_string(log).unwrap_or_default();
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{case}: {text}\n{log}"
    );
    Some(log)
}
