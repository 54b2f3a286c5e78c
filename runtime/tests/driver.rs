//! The CUDA backend without a GPU: machines without a driver, unusable drivers and boards, and a virtual GPU.
//!
//! A driver is loaded once per process, so each test starts this test binary again in a process of its own.

#![cfg(target_os = "linux")]

use energy_kernel::prelude::*;
use energy_kernel::tools::compiler::record::Flag;
use energy_kernel::tools::{Argument, View};
use energy_kernel_compiler::problem::Problem;
use energy_kernel_virtual_gpu::{Report, Virtual, is_child};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Counts the allocations of this thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: forwards to the system's allocator. The counter allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller fulfils the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[energy_kernel]
fn double(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {
    |n| x[[n]] * 2.0
}

/// A kernel with 32 parameters: two tensors, 29 scalars and a size.
#[energy_kernel]
#[rustfmt::skip]
#[allow(clippy::too_many_arguments)]
fn many(
    x: Tensor<f32, (N,)>,
    a: f32, b: f32, c: f32, d: f32, e: f32, f: f32, g: f32, h: f32, i: f32, j: f32, k: f32, l: f32, m: f32, o: f32,
    p: f32, q: f32, r: f32, s: f32, t: f32, u: f32, v: f32, w: f32, y: f32, z: f32, aa: f32, bb: f32, cc: f32, dd: f32, ee: f32,
) -> Tensor<f32, (N,)> {
    |n| x[[n]] + a + b + c + d + e + f + g + h + i + j + k + l + m + o
        + p + q + r + s + t + u + v + w + y + z + aa + bb + cc + dd + ee
}

/// Runs a test in a process of its own. It must succeed and release all resources.
fn run(gpu: Virtual, test: &str) -> Report {
    gpu.run(test).clean()
}

#[test]
fn a_missing_driver_is_an_error() {
    match Gpu::open() {
        Ok(gpu) => eprintln!("SKIPPED: there is a driver and {gpu:?}"),
        Err(Error::NoDriver { tried, reason }) => assert!(!tried.is_empty() && !reason.is_empty()),
        Err(error) => eprintln!("SKIPPED: there is a driver: {error}"),
    }
}

#[test]
fn a_missing_gpu_is_an_error() {
    match is_child() {
        false => drop(run(Virtual::new("none"), "a_missing_gpu_is_an_error")),
        true => assert_eq!(Gpu::open().unwrap_err(), Error::NoDevice),
    }
}

#[test]
fn a_broken_driver_is_told() {
    if !is_child() {
        run(
            Virtual::new("9.0").with("FAIL", "cuInit:1+:803"),
            "a_broken_driver_is_told",
        );
        return;
    }
    let Error::Driver { call, code, name } = Gpu::open().unwrap_err() else {
        panic!()
    };
    assert_eq!((call, code), ("cuInit", 803));
    assert!(name.contains("reboot"), "{name}");
}

#[test]
fn a_gpu_before_ampere_is_an_error() {
    if !is_child() {
        run(Virtual::new("7.5"), "a_gpu_before_ampere_is_an_error");
        return;
    }
    let expected = Error::UnsupportedDevice {
        name: "Virtual T4".into(),
        major: 7,
        minor: 5,
    };
    assert_eq!(Gpu::open().unwrap_err(), expected);
}

#[test]
fn a_rejected_kernel_is_an_error_with_the_log() {
    if !is_child() {
        let gpu = Virtual::new("9.0").with("KERNELS", "reject:#1");
        run(gpu, "a_rejected_kernel_is_an_error_with_the_log");
        return;
    }
    let gpu = Gpu::open().unwrap();
    let x = Tensor::<f32>::zeros(&gpu, &[8]).unwrap();
    let Error::Load { kernel, reason, log } = double(&gpu, &x).unwrap_err() else {
        panic!()
    };
    assert!(kernel.contains("double"), "{kernel}");
    assert!(reason.contains("PTX"), "{reason}");
    assert_eq!(log, "ptxas fatal   : this kernel is to be rejected");
}

#[test]
fn a_gpu_runs_every_operation() {
    if is_child() {
        return whole();
    }
    let report = run(
        Virtual::new("9.0").with("MEMORY_MB", "1024"),
        "a_gpu_runs_every_operation",
    );
    // `double` three times, one of them across streams; then once with many parameters; three times timed, five times recorded.
    assert_eq!(report.calls("cuLaunchKernel"), 13, "{report}");
    assert_eq!(
        (report.calls("cuGraphLaunch"), report.calls("cuStreamBeginCapture_v2")),
        (1, 1),
        "{report}"
    );
    // The launch waits for the stream of the other tensor, and that stream waits for the launch.
    assert!(report.calls("cuStreamWaitEvent") >= 2, "{report}");
}

fn whole() {
    assert!(matches!(
        Gpu::open_at(1),
        Err(Error::NoSuchDevice { ordinal: 1, count: 1 })
    ));
    let gpu = Gpu::open().unwrap();
    assert!(!gpu.is_emulated());
    assert_eq!(gpu.device_class().name, "Virtual H100");
    assert_eq!(gpu.device_class().multiprocessors, 132);
    assert_eq!(gpu.driver_version().unwrap(), Some(12000));
    let uuid = gpu.uuid().unwrap().unwrap();
    assert_eq!(uuid, "GPU-76697274-7561-6c20-4750-552000000000");
    let numbers: Vec<f32> = (0..100).map(|i| i as f32).collect();
    let x = Tensor::from_slice(&gpu, &[100], &numbers).unwrap();
    assert_eq!(x.to_vec().unwrap(), numbers);
    assert_eq!(Tensor::<i8>::zeros(&gpu, &[3]).unwrap().to_vec().unwrap(), [0; 3]);
    assert_eq!(
        Tensor::<f32>::zeros(&gpu, &[1 << 29]).unwrap_err(),
        Error::OutOfMemory { bytes: 4 << 29 }
    );

    let doubled: Vec<f32> = numbers.iter().map(|number| 2.0 * number).collect();
    assert_eq!(double(&gpu, &x).unwrap().to_vec().unwrap(), doubled);
    let mut y = Tensor::zeros(&gpu, &[100]).unwrap();
    double::into(&gpu, &x, &mut y).unwrap();
    assert_eq!(y.to_vec().unwrap(), doubled);
    gpu.synchronize().unwrap();

    // After `prepare`, `into` allocates nothing.
    let sizes = Sizes::from([("N", 64)]);
    double::prepare(&gpu, &sizes).unwrap();
    many::prepare(&gpu, &sizes).unwrap();
    let (a, mut b) = (Tensor::zeros(&gpu, &[64]).unwrap(), Tensor::zeros(&gpu, &[64]).unwrap());
    let before = ALLOCATIONS.get();
    double::into(&gpu, &a, &mut b).unwrap();
    #[rustfmt::skip]
    many::into(
        &gpu, &a,
        1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0,
        1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0,
        &mut b,
    )
    .unwrap();
    assert_eq!(ALLOCATIONS.get(), before);
    assert_eq!(b.to_vec().unwrap(), [30.0; 64]);

    assert!(double(&gpu, &Tensor::zeros(&gpu, &[0]).unwrap()).unwrap().is_empty());

    // A caller's stream. Events order its tensors and the GPU's.
    let stream = gpu.stream().unwrap().context().new_stream().unwrap();
    let other = Gpu::from_stream(stream.clone()).unwrap();
    let slice = stream.clone_htod(&numbers).unwrap();
    let z = Tensor::from_cuda(slice, &[10, 10]).unwrap();
    assert_eq!(z.slice(1..2).unwrap().to_vec().unwrap(), numbers[10..20]);
    double(&gpu, &z.reshape(&[100]).unwrap()).unwrap();
    let back = z.into_cuda().unwrap();
    assert_eq!(stream.clone_dtoh(&back).unwrap(), numbers);
    let own = Tensor::from_slice(&other, &[100], &numbers)
        .unwrap()
        .into_cuda()
        .unwrap();
    assert_eq!(stream.clone_dtoh(&own).unwrap(), numbers);
    let shared = Tensor::from_slice(&other, &[100], &numbers).unwrap();
    let _second = shared.clone();
    assert!(shared.into_cuda().is_err());

    // Tools.
    let plan = double::plan(&gpu, &Sizes::from([("N", 100)])).unwrap();
    let variant = double::KERNEL.variant(&[]).unwrap();
    let kernel = energy_kernel::tools::compiler::lower::lower(
        &Problem::new(variant.checked(), plan.specialisation(), gpu.machine()),
        plan.program(),
    )
    .unwrap();
    let loaded = gpu.compile(&kernel).unwrap();
    assert_eq!(loaded.resources().unwrap().unwrap().registers, 40);
    let inputs = [Argument::tensor(&x)];
    let outputs = [View::from(&y)];
    // SAFETY: lowered from this operator and specialisation above; both tensors have 100 elements.
    let prepared = unsafe { loaded.prepare(variant.checked(), &[100], &inputs, &outputs) }.unwrap();
    let (seconds, ()) = gpu.time(|| (0..3).try_for_each(|_| prepared.launch())).unwrap();
    assert!((1e-6..1.0).contains(&seconds), "{seconds}");
    let graph = gpu.record(|| (0..5).try_for_each(|_| prepared.launch())).unwrap();
    graph.launch().unwrap();
}

/// The energy of a region on a board that draws 300 W and supports little else of NVML.
#[cfg(feature = "energy")]
fn energy() {
    use std::time::Duration;
    let gpu = Gpu::open().unwrap();
    let (energy, ()) = gpu
        .energy(|| {
            std::thread::sleep(Duration::from_millis(400));
            Ok(())
        })
        .unwrap();
    assert!(!energy.simulated && energy.seconds >= 0.4);
    assert!(
        (energy.joules - 300.0 * energy.seconds).abs() <= energy.uncertainty,
        "{energy:?}"
    );
    let meter = energy_kernel::energy::Meter::open(&gpu).unwrap();
    assert_eq!(meter.driver().unwrap(), "525.60.13");
    let state = meter.state().unwrap();
    assert_eq!((state.sm_clock_mhz, state.foreign_processes), (None, None));
    // NVML says that the board cannot be partitioned.
    let unknown: Vec<Flag> = state.unknown().collect();
    assert_eq!(unknown, [Flag::ThrottlingUnknown, Flag::ProcessesUnknown]);
}

/// All of NVML on a Hopper-like board: lagging steps of 99 to 106 ms, slow readings that may fail, a counter that wraps.
#[cfg(feature = "energy")]
fn hopper() {
    use energy_kernel::energy::{Board, Meter};
    use std::time::Duration;
    let gpu = Gpu::open().unwrap();
    let meter = Meter::open(&gpu).unwrap();
    let calibration = meter.calibrate().unwrap();
    // Single steps may be seen late, because this machine also does other work.
    assert!((0.095..0.11).contains(&calibration.step_s[0]), "{calibration}");
    assert!(calibration.call_s[0] > 2e-3 && calibration.aliases().is_none());
    let mut steps = 0;
    let window = meter
        .power(Duration::from_secs(1), || {
            steps += 1;
            std::thread::sleep(Duration::from_millis(5));
            Ok(())
        })
        .unwrap();
    // Three times the interval, because the test must not fail once in twenty runs.
    assert!(
        (window.power.watts - 300.0).abs() <= 3.0 * window.power.interval.max(0.5),
        "{window:?}"
    );
    assert!(window.power.interval < 6.0, "{window:?}");
    assert!(window.seconds() >= 1.0 && steps > 100 && window.power.ticks >= 10);
    assert_eq!(window.instant_watts, Some(330.0));
    assert!(window.disagrees());
    assert_eq!(window.survey.flags(), [Flag::AtPowerLimit, Flag::ForeignProcess]);
    assert_eq!(window.survey.sm_clock_mhz(), Some(1755.0));
    let state = meter.board().state().unwrap();
    assert_eq!(
        (state.memory_clock_mhz, state.temperature_celsius),
        (Some(2619), Some(61))
    );
    assert_eq!(
        (state.power_limit_watts, state.foreign_processes),
        (Some(700.0), Some(2))
    );
}

/// A board on which partitions, throttling and processes are unknown.
#[cfg(feature = "energy")]
fn silent() {
    use energy_kernel::energy::Meter;
    let meter = Meter::open(&Gpu::open().unwrap()).unwrap();
    let window = meter
        .power(std::time::Duration::from_millis(300), || {
            std::thread::sleep(std::time::Duration::from_millis(5));
            Ok(())
        })
        .unwrap();
    let expected = [Flag::ThrottlingUnknown, Flag::ProcessesUnknown, Flag::PartitionsUnknown];
    assert_eq!(window.survey.flags(), expected);
}

/// Boards with an unusable counter, and the error.
#[cfg(feature = "energy")]
fn useless(expected: &str) {
    use energy_kernel::energy::Meter;
    let gpu = Gpu::open().unwrap();
    let problem = Meter::open(&gpu).and_then(|meter| meter.calibrate()).unwrap_err();
    assert!(problem.to_string().contains(expected), "{problem}");
    assert!(gpu.energy(|| Ok(())).is_err());
}

#[cfg(feature = "energy")]
#[test]
fn the_counter_of_a_board() {
    if is_child() {
        return match std::env::var("CASE").as_deref() {
            Ok("energy") => energy(),
            Ok("hopper") => hopper(),
            Ok("silent") => silent(),
            Ok(reason) => useless(reason),
            Err(error) => panic!("{error}"),
        };
    }
    const COUNTER: &str = "nvmlDeviceGetTotalEnergyConsumption";
    let unsupported = "nvmlDeviceGetMigMode:1+:3,nvmlDeviceGetClockInfo:1+:3,nvmlDeviceGetCurrentClocksThrottleReasons:1+:3,\
                       nvmlDeviceGetComputeRunningProcesses_v3:1+:3,nvmlDeviceGetFieldValues:1+:3";
    let unknown = unsupported.replace(":3", ":999");
    let some_fail = format!("{COUNTER}:%50:999");
    let all_fail = format!("{COUNTER}:1+:999");
    let cases: [(&str, &[(&str, &str)]); 6] = [
        ("energy", &[("TICK_MS", "50"), ("FAIL", unsupported)]),
        (
            "hopper",
            &[
                ("COUNTER_BITS", "32"),
                ("COUNTER_FIRST", "4294900000"),
                ("CELSIUS", "61"),
                ("FOREIGN", "2"),
                ("THROTTLE", "4"),
                ("INSTANT_WATTS", "330"),
                ("FAIL", &some_fail),
            ],
        ),
        ("silent", &[("FAIL", &unknown)]),
        ("MIG", &[("MIG", "1")]),
        ("did not move", &[("TICK_MS", "0")]),
        ("cannot be read", &[("FAIL", &all_fail)]),
    ];
    for (case, settings) in cases {
        let board = Virtual::new("9.0").with("WATTS", "300");
        let board = settings
            .iter()
            .fold(board, |board, (name, value)| board.with(name, value));
        let mut command = board.test("the_counter_of_a_board");
        board
            .finish(command.env("CASE", case), std::time::Duration::from_secs(60))
            .clean();
    }
}
