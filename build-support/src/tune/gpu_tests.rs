//! The GPU as a meter, on a virtual GPU whose kernels take 250 µs each, and whose board draws 300 W.
//!
//! A driver is loaded once per process, so the case runs in a process of its own: this test binary, started again.

use super::data::inputs;
use super::testing::operator;
use super::{Effort, GpuMeter, Meter, Problem};
use energy_kernel_compiler::lower::lower;
use energy_kernel_compiler::record::{CacheMode, Flag};
use energy_kernel_compiler::schedule;
use energy_kernel_virtual_gpu::{Virtual, is_child};
use std::time::{Duration, Instant};

#[test]
fn energy_is_power_by_the_counter_times_seconds_a_launch() {
    if is_child() {
        return measure();
    }
    Virtual::new("9.0")
        .with("GRAPHS", "sample")
        .with("KERNEL_US", "250")
        .with("WATTS", "300")
        .with("INSTANT_WATTS", "330")
        .with("THROTTLE", "4")
        .with("FOREIGN", "2")
        .run("tune::gpu_tests::energy_is_power_by_the_counter_times_seconds_a_launch")
        .clean();
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
    let kernel = lower(&found.checked, &found.specialisation, machine, &schedule).unwrap();

    let soon = Instant::now() + Duration::from_secs(12);
    meter.begin(problem, soon).unwrap();
    let (candidate, _) = meter.load(problem, &kernel, &[], soon).unwrap();
    let latency = meter.latency(problem, &candidate, soon).unwrap();
    // 1024 sets of 8 kB are rotated; the cache of 50 MiB holds them all.
    assert_eq!(latency.conditions.cache, CacheMode::Warm);
    // A graph takes 10 ms, which are 40 launches; fewer, where this thread had to wait between a mark and the first of them.
    assert!((7 * 20..=7 * 40).contains(&latency.conditions.launches), "{latency:?}");
    assert!((0.99..3.0).contains(&(latency.estimate.mean / 2.5e-4)), "{latency:?}");

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
    assert_eq!(conditions.driver, "525.60.13");

    // A claim takes longer than is left; nothing is measured in a hurry.
    meter.set_effort(Effort::Claim);
    let soon = Instant::now() + Duration::from_secs(4);
    assert_eq!(meter.energy(problem, &candidate, 2.5e-4, soon).unwrap(), None);
}
