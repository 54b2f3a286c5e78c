//! The GPU as a meter, on a machine without one: a fake driver whose graphs take 10 ms each, and a fake NVML of a board that draws 300 W.
//!
//! A driver is loaded once per process, so the case runs in a process of its own: this test binary, started again.

use super::data::inputs;
use super::testing::operator;
use super::{Effort, GpuMeter, Meter, Problem};
use energy_kernel_compiler::lower::lower;
use energy_kernel_compiler::record::{CacheMode, Flag};
use energy_kernel_compiler::schedule;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Set in the process that has the fake driver.
const CASE: &str = "ENERGY_KERNEL_TEST_METER";

#[test]
fn energy_is_power_by_the_counter_times_seconds_a_launch() {
    if std::env::var_os(CASE).is_some() {
        return measure();
    }
    let folder = tempfile::tempdir().unwrap();
    let fakes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/tests/fake");
    for (source, library, flags) in [
        ("libcuda.c", "libcuda.so", "-DWHOLE"),
        ("libnvidia-ml.c", "libnvidia-ml.so.1", "-O1"),
    ] {
        let compiled = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()))
            .args(["-shared", "-fPIC", "-w", flags, "-o"])
            .args([folder.path().join(library), fakes.join(source)])
            .status();
        if !compiled.is_ok_and(|status| status.success()) {
            eprintln!("SKIPPED: there is no C compiler to make a fake driver with");
            return;
        }
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "tune::gpu_tests::energy_is_power_by_the_counter_times_seconds_a_launch",
            "--nocapture",
        ])
        .env(CASE, "1")
        .env("LD_LIBRARY_PATH", folder.path())
        .env("FAKE_CUDA_GRAPH_MS", "10")
        .env("FAKE_NVML_HOPPER", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

fn measure() {
    let found = operator(
        "tune(N = 1000)",
        "fn double(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> { |n| x[[n]] * 2.0 }",
    );
    let sizes = found.buckets[0].as_slice();
    let inputs = inputs(&found.checked, sizes, 0).unwrap();
    let problem = Problem {
        checked: &found.checked,
        specialisation: &found.specialisation,
        sizes,
        inputs: &inputs,
        seed: 0,
    };
    let mut meter = GpuMeter::open(4).unwrap();
    let machine = meter.machine();
    let schedule = schedule::default(&found.checked, &found.specialisation, sizes, machine);
    let kernel = lower(&found.checked, &found.specialisation, machine.target, &schedule).unwrap();

    let soon = Instant::now() + Duration::from_secs(12);
    meter.begin(problem, soon).unwrap();
    let (candidate, _) = meter.load(problem, &kernel, &[], soon).unwrap();
    let latency = meter.latency(problem, &candidate, soon).unwrap();
    // 1024 sets of 8 kB are rotated; the cache of 128 MiB that is assumed holds them all.
    assert_eq!(latency.conditions.cache, CacheMode::Warm);
    // Whatever its launches, a graph takes 10 ms; more, where this thread had to wait between a mark and the launch.
    let launches = latency.conditions.launches as f64 / 7.0;
    assert!(
        (0.99..3.0).contains(&(latency.estimate.mean * launches / 0.01)),
        "{latency:?}"
    );

    let late = Instant::now() + Duration::from_secs(60);
    // Of such kernels 40 make a graph.
    let energy = meter.energy(problem, &candidate, 2.5e-4, late).unwrap();
    let energy = energy.expect("there is a counter");
    let conditions = &energy.conditions;
    let watts = conditions.power_watts.unwrap();
    assert!((watts / 300.0 - 1.0).abs() < 0.02, "{energy:?}");
    assert!(
        (0.99..1.2).contains(&(energy.estimate.mean / (watts * 2.5e-4))),
        "{energy:?}"
    );
    assert!(
        energy.estimate.interval > 0.0 && energy.estimate.interval < 0.03 * energy.estimate.mean,
        "{energy:?}"
    );
    assert!((2.0..4.0).contains(&conditions.window_seconds), "{energy:?}");
    assert_eq!(
        conditions.flags,
        [Flag::AtPowerLimit, Flag::PowerDisagrees, Flag::ForeignProcess]
    );
    assert_eq!(
        (conditions.sm_clock_mhz, conditions.power_limit_watts),
        (Some(1755.0), Some(700.0))
    );
    assert_eq!(conditions.driver, "570.00");

    // A claim takes longer than is left; nothing is measured in a hurry.
    meter.set_effort(Effort::Claim);
    let soon = Instant::now() + Duration::from_secs(4);
    assert_eq!(meter.energy(problem, &candidate, 2.5e-4, soon).unwrap(), None);
}
