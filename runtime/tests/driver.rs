//! The CUDA side without a GPU: machines without a driver, with a broken one, and a fake driver that notes what is asked of it.
//!
//! A driver is loaded once per process, so each case runs in a process of its own: this test binary, started again.

#![cfg(target_os = "linux")]

mod fake;

#[cfg(feature = "energy")]
use energy_kernel::compiler::record::Flag;
use energy_kernel::prelude::*;
use energy_kernel::tools::{Argument, View};
use fake::{CASE, WHOLE, run};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Counts what this thread allocates.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: the system's allocator, and a counter beside it that allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps to the contract.
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

/// What runs in the processes.
#[test]
fn a_case() {
    match std::env::var(CASE).as_deref() {
        Err(_) => {}
        Ok("no device") => assert_eq!(Gpu::open().unwrap_err(), Error::NoDevice),
        Ok("broken") => {
            let Error::Driver { call, code, name } = Gpu::open().unwrap_err() else {
                panic!()
            };
            assert_eq!((call, code), ("cuInit", 803));
            assert!(name.contains("reboot"), "{name}");
        }
        Ok("too old") => {
            let error = Gpu::open().unwrap_err();
            assert!(matches!(error, Error::DriverTooOld { .. }), "{error}");
        }
        Ok("too small") => {
            let error = Gpu::open().unwrap_err();
            let expected = Error::UnsupportedDevice {
                name: "Fake GPU".into(),
                major: 7,
                minor: 0,
            };
            assert_eq!(error, expected);
        }
        Ok("rejected") => {
            let gpu = Gpu::open().unwrap();
            let x = Tensor::<f32>::zeros(&gpu, &[8]).unwrap();
            let Error::Load { kernel, reason, log } = double(&gpu, &x).unwrap_err() else {
                panic!()
            };
            assert!(kernel.contains("double"), "{kernel}");
            assert!(reason.contains("PTX"), "{reason}");
            assert_eq!(log, "ptxas fatal : line 7 is not to my taste");
        }
        Ok("whole") => whole(),
        #[cfg(feature = "energy")]
        Ok("energy") => energy(),
        #[cfg(feature = "energy")]
        Ok("hopper") => hopper(),
        #[cfg(feature = "energy")]
        Ok("silent") => silent(),
        #[cfg(feature = "energy")]
        Ok("partitioned") => useless("MIG"),
        #[cfg(feature = "energy")]
        Ok("still") => useless("stands still"),
        #[cfg(feature = "energy")]
        Ok("failing") => useless("cannot be read"),
        Ok(other) => panic!("no case {other}"),
    }
}

fn whole() {
    assert!(matches!(
        Gpu::open_at(1),
        Err(Error::NoSuchDevice { ordinal: 1, count: 1 })
    ));
    let gpu = Gpu::open().unwrap();
    assert!(!gpu.is_emulated());
    assert_eq!(gpu.device_class().name, "Fake GPU");
    assert_eq!(gpu.device_class().multiprocessors, 132);
    assert_eq!(gpu.driver_version().unwrap(), Some(12040));
    let uuid = gpu.uuid().unwrap().unwrap();
    assert_eq!(uuid, "GPU-00112233-4455-6677-8899-aabbccddeeff");
    let numbers: Vec<f32> = (0..100).map(|i| i as f32).collect();
    let x = Tensor::from_slice(&gpu, &[100], &numbers).unwrap();
    assert_eq!(x.to_vec().unwrap(), numbers);
    assert_eq!(Tensor::<i8>::zeros(&gpu, &[3]).unwrap().to_vec().unwrap(), [0; 3]);
    assert_eq!(
        Tensor::<f32>::zeros(&gpu, &[1 << 29]).unwrap_err(),
        Error::OutOfMemory { bytes: 4 << 29 }
    );

    // The fake kernel writes 1.0 to the start of its output.
    let y = double(&gpu, &x).unwrap();
    assert_eq!(y.to_vec().unwrap()[0], 1.0);
    let mut y = Tensor::zeros(&gpu, &[100]).unwrap();
    double::into(&gpu, &x, &mut y).unwrap();
    assert_eq!(y.to_vec().unwrap()[0], 1.0);
    gpu.synchronize().unwrap();

    // After `prepare`, `into` allocates nothing.
    double::prepare(&gpu, &Sizes::from([("N", 64)])).unwrap();
    let (a, mut b) = (Tensor::zeros(&gpu, &[64]).unwrap(), Tensor::zeros(&gpu, &[64]).unwrap());
    let before = ALLOCATIONS.get();
    double::into(&gpu, &a, &mut b).unwrap();
    assert_eq!(ALLOCATIONS.get(), before);

    assert!(double(&gpu, &Tensor::zeros(&gpu, &[0]).unwrap()).unwrap().is_empty());

    // A caller's stream: its tensors and the GPU's meet by events.
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
    let kernel =
        energy_kernel::compiler::lower::lower(variant.checked(), plan.specialisation(), gpu.machine(), plan.schedule())
            .unwrap();
    let loaded = gpu.compile(&kernel).unwrap();
    assert_eq!(loaded.resources().unwrap().unwrap().registers, 40);
    let inputs = [Argument::tensor(&x)];
    let outputs = [View::from(&y)];
    // SAFETY: lowered from this operator and specialisation above; both tensors have 100 elements.
    let prepared =
        unsafe { loaded.prepare(variant.checked(), plan.specialisation(), &[100], &inputs, &outputs) }.unwrap();
    let (seconds, ()) = gpu.time(|| (0..3).try_for_each(|_| prepared.launch())).unwrap();
    assert!((seconds - 2.5e-3).abs() < 1e-9);
    let graph = gpu.record(|| (0..5).try_for_each(|_| prepared.launch())).unwrap();
    graph.launch().unwrap();
}

/// The board draws 300 W, whatever is done.
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
    assert_eq!(meter.driver().unwrap(), "570.00");
    let state = meter.state().unwrap();
    assert_eq!((state.sm_clock_mhz, state.foreign_processes), (None, None));
    // NVML says that the board cannot be partitioned, and nothing else.
    let unknown: Vec<Flag> = state.unknown().collect();
    assert_eq!(unknown, [Flag::ThrottlingUnknown, Flag::ProcessesUnknown]);
}

/// The whole of NVML, on a board as Hopper's are: steps of 99 to 106 ms that lag, slow readings of which some fail, a counter that wraps.
#[cfg(feature = "energy")]
fn hopper() {
    use energy_kernel::energy::{Board, Meter};
    use std::time::Duration;
    let meter = Meter::open(&Gpu::open().unwrap()).unwrap();
    let calibration = meter.calibrate().unwrap();
    // Single steps may be seen late: this machine does other things besides.
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
    // Three times the interval: one test must not fail once in twenty runs.
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

/// A board that does not say if it is partitioned, if it throttles, and which processes use it.
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

/// Boards whose counter is of no use, and what is said of them.
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
    run("energy", WHOLE, &[]);
    let whole: &[(&str, &str)] = &[
        ("FAKE_NVML_HOPPER", "1"),
        ("FAKE_NVML_FIRST", "4294900000"),
        ("FAKE_NVML_FAILS_EVERY", "50"),
    ];
    run("hopper", WHOLE, whole);
    run(
        "partitioned",
        WHOLE,
        &[("FAKE_NVML_HOPPER", "1"), ("FAKE_NVML_MIG", "1")],
    );
    run("silent", WHOLE, &[("FAKE_NVML_HOPPER", "1"), ("FAKE_NVML_SILENT", "1")]);
    run("still", WHOLE, &[("FAKE_NVML_STILL", "1")]);
    run("failing", WHOLE, &[("FAKE_NVML_FAILS_EVERY", "1")]);
}

#[test]
fn a_machine_without_a_driver_is_told_so() {
    match Gpu::open() {
        Ok(gpu) => eprintln!("SKIPPED: there is a driver and {gpu:?}"),
        Err(Error::NoDriver { tried, reason }) => assert!(!tried.is_empty() && !reason.is_empty()),
        Err(error) => eprintln!("SKIPPED: there is a driver: {error}"),
    }
}

#[test]
fn drivers_that_cannot_be_used() {
    run("no device", &[], &[("FAKE_CUDA_INIT", "100")]);
    run("broken", WHOLE, &[("FAKE_CUDA_INIT", "803")]);
    run("too old", &[], &[]);
    run("too small", WHOLE, &[("FAKE_CUDA_CAPABILITY", "70")]);
    run("rejected", WHOLE, &[("FAKE_CUDA_REJECT", "")]);
}

#[test]
fn what_a_driver_is_asked() {
    let Some(log) = run("whole", WHOLE, &[("FAKE_CUDA_OUTPUT", "1")]) else {
        return;
    };
    let count = |text: &str| log.lines().filter(|line| line.starts_with(text)).count();
    assert_eq!(count("allocate"), count("free"), "{log}");
    assert_eq!(count("load a kernel"), count("unload"), "{log}");
    // Thrice `double`, once across streams, three timed, five recorded.
    assert_eq!(count("launch 1 1 1 /"), 12, "{log}");
    assert_eq!(count("create event"), count("destroy event"), "{log}");
    assert_eq!(
        (count("destroy graph"), count("destroy executable"), count("release")),
        (1, 1, 1),
        "{log}"
    );
    assert_eq!(count("launch graph"), 1, "{log}");
    assert_eq!(count("begin capture"), 1, "{log}");
    // The other stream's tensor: waited for before the launch, and made to wait after it.
    assert!(count("wait") >= 2, "{log}");
}
