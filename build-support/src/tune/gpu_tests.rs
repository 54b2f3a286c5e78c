//! The GPU backend, on a virtual GPU whose kernels take 250 µs each and whose board draws 300 W.
//!
//! A driver is loaded once per process, so each case runs in a process of its own: this test binary, started again.

use super::data::{Data, inputs};
use super::gpu::GpuCandidate;
use super::testing::operator;
use super::{Backend, BackendError, Effort, GpuBackend, Instance, Measured};
use crate::source::scan::Found;
use energy_kernel_compiler::kernel::Kernel;
use energy_kernel_compiler::lower::lower;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::record::{CacheMode, Flag};
use energy_kernel_compiler::schedule;
use energy_kernel_virtual_gpu::{Virtual, is_child};
use std::time::{Duration, Instant};

/// The seconds per launch of the virtual GPU.
const SECONDS: f64 = 2.5e-4;

fn gpu() -> Virtual {
    Virtual::new("9.0")
        .with("GRAPHS", "sample")
        .with("KERNEL_US", "250")
        .with("WATTS", "300")
}

/// An operator that reads N numbers and writes N.
struct Double {
    found: Found,
    inputs: Vec<Data>,
}

impl Double {
    fn new(numbers: u64) -> Double {
        let found = operator(
            &format!("tune(N = {numbers})"),
            "fn double(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> { |n| x[[n]] * 2.0 }",
        );
        let inputs = inputs(&found.checked, found.buckets[0].as_slice(), 0).unwrap();
        Double { found, inputs }
    }

    fn instance(&self) -> Instance<'_> {
        Instance {
            checked: &self.found.checked,
            specialisation: &self.found.specialisation,
            sizes: self.found.buckets[0].as_slice(),
            inputs: &self.inputs,
            seed: 0,
            warm_inputs: &[],
        }
    }

    fn kernel(&self, backend: &GpuBackend) -> Kernel {
        let (instance, machine) = (self.instance(), backend.machine());
        let schedule = schedule::default(
            &Problem::new(instance.checked, instance.specialisation, machine),
            instance.sizes,
        );
        lower(
            &Problem::new(instance.checked, instance.specialisation, machine),
            schedule,
        )
        .unwrap()
    }

    /// Begins the instance, and puts its kernel on the GPU.
    fn load(&self, backend: &mut GpuBackend) -> GpuCandidate {
        backend.begin(self.instance(), within(60)).unwrap();
        let kernel = self.kernel(backend);
        backend.load(self.instance(), &kernel, &[], within(60)).unwrap().0
    }
}

fn within(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

#[test]
fn energy_is_power_by_the_counter_times_seconds_a_launch() {
    if is_child() {
        return measure();
    }
    gpu()
        .with("INSTANT_WATTS", "330")
        .with("THROTTLE", "4")
        .with("FOREIGN", "2")
        .run("tune::gpu_tests::energy_is_power_by_the_counter_times_seconds_a_launch")
        .clean();
}

fn measure() {
    let double = Double::new(1000);
    let instance = double.instance();
    let mut backend = GpuBackend::open(4).unwrap();
    let candidate = double.load(&mut backend);
    let soon = within(12);
    let latency = backend.latency(instance, &candidate, soon).unwrap();
    // 1024 sets of 8 kB are rotated; the cache of 50 MiB holds them all.
    assert_eq!(latency.conditions.cache, CacheMode::Warm);
    // A graph takes 10 ms, which are 40 launches; fewer, where this thread had to wait between a mark and the first of them.
    assert!((7 * 20..=7 * 40).contains(&latency.conditions.launches), "{latency:?}");
    assert!((0.99..3.0).contains(&(latency.estimate.mean / SECONDS)), "{latency:?}");

    let late = within(60);
    // Of such kernels 40 make a graph.
    let energy = backend.energy(instance, &candidate, SECONDS, late).unwrap();
    let energy = energy.expect("there is a counter");
    let conditions = &energy.conditions;
    let watts = conditions.power_watts.unwrap();
    assert!((watts / 300.0 - 1.0).abs() < 0.02, "{energy:?}");
    assert!(
        (0.99..1.2).contains(&(energy.estimate.mean / (watts * SECONDS))),
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

    // A claim takes longer than the time left, so nothing is measured.
    backend.set_effort(Effort::Claim);
    let soon = within(4);
    assert_eq!(backend.energy(instance, &candidate, SECONDS, soon).unwrap(), None);
}

/// Short of memory, tensors rotate in fewer sets; the record says that the cache held them.
#[test]
fn tensors_that_do_not_fit_often_rotate_in_fewer_sets() {
    if !is_child() {
        gpu()
            .with("MEMORY_MB", "80")
            .run("tune::gpu_tests::tensors_that_do_not_fit_often_rotate_in_fewer_sets")
            .clean();
        return;
    }
    let mut backend = GpuBackend::open(4).unwrap();
    // 16 MB per set: three times the cache of 50 MiB would be 11 sets.
    let double = Double::new(2 << 20);
    let candidate = double.load(&mut backend);
    let latency = backend.latency(double.instance(), &candidate, within(12)).unwrap();
    assert_eq!(latency.conditions.cache, CacheMode::Warm);

    // 128 MB: not even one set fits.
    let large = Double::new(16 << 20);
    match backend.begin(large.instance(), within(12)) {
        Err(BackendError::Unfit(why)) => assert!(why.contains("memory"), "{why}"),
        other => panic!("{other:?}"),
    }
    double.load(&mut backend);
}

/// Conditions are compared with those of the same instance's first energy.
#[test]
fn drift_is_told_within_a_problem() {
    if !is_child() {
        gpu()
            .with("HEATING", "1")
            .with("CLOCK", "4")
            .run("tune::gpu_tests::drift_is_told_within_a_problem")
            .clean();
        return;
    }
    let mut backend = GpuBackend::open(4).unwrap();
    let double = Double::new(1000);
    let energy = |candidate: &GpuCandidate, backend: &mut GpuBackend| -> Measured {
        let measured = backend
            .energy(double.instance(), candidate, SECONDS, within(120))
            .unwrap();
        measured.expect("there is a counter")
    };
    let drifted = |measured: &Measured| measured.conditions.flags.contains(&Flag::TemperatureDrift);

    let candidate = double.load(&mut backend);
    assert!(!drifted(&energy(&candidate, &mut backend)));
    std::thread::sleep(Duration::from_secs(5));
    assert!(drifted(&energy(&candidate, &mut backend)));

    let candidate = double.load(&mut backend);
    assert!(!drifted(&energy(&candidate, &mut backend)));
}

/// The temperature counts as settled after 10 s. The first warm-up takes that long even if a quarter of the time is less.
#[test]
fn the_first_warm_up_lasts_until_the_temperature_has_settled() {
    if !is_child() {
        gpu()
            .with("CLOCK", "4")
            .run("tune::gpu_tests::the_first_warm_up_lasts_until_the_temperature_has_settled")
            .clean();
        return;
    }
    let mut backend = GpuBackend::open(4).unwrap();
    let double = Double::new(1000);
    let candidate = double.load(&mut backend);
    let mut elapsed = || {
        let begun = Instant::now();
        backend.latency(double.instance(), &candidate, within(32)).unwrap();
        begun.elapsed().as_secs_f64()
    };
    assert!((13.0..16.0).contains(&elapsed()));
    assert!(elapsed() < 3.0);
}
