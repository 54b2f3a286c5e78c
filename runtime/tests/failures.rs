//! Memory, kernels and captures survive failing calls of the driver: a fake driver fails them.
//!
//! A driver is loaded once per process, so each case runs in a process of its own: this test binary, started again.

#![cfg(target_os = "linux")]

mod fake;

use cudarc::driver::DriverError;
use cudarc::driver::sys::CUresult;
use energy_kernel::__private::DRIVER_SYMBOLS;
use energy_kernel::Result;
use energy_kernel::prelude::*;
use energy_kernel::tools::{Argument, View};
use fake::{CASE, WHOLE, run, run_with};
use std::collections::{BTreeSet, HashMap};

#[energy_kernel]
fn double(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {
    |n| x[[n]] * 2.0
}

#[energy_kernel]
fn product(x: Tensor<f16, (M, K)>, w: Tensor<f16, (N, K)>) -> Tensor<f16, (M, N)> {
    |m, n| sum(|k| x[[m, k]] * w[[n, k]])
}

/// The driver writes to this parameter of `double`.
const OUTPUT: (&str, &str) = ("FAKE_CUDA_OUTPUT", "1");
/// A driver that does not allocate in the order of streams.
const NO_POOLS: (&str, &str) = ("FAKE_CUDA_NO_POOLS", "1");

/// The case of this process.
#[test]
fn a_case() {
    match std::env::var(CASE).as_deref() {
        Err(_) => {}
        Ok("unreleased") => unreleased(),
        Ok("given away") => given_away(),
        Ok("dropped") => dropped(),
        Ok("captured") => captured(),
        Ok("graph") => graph(),
        Ok("limits") => limits(),
        Ok("too old") => {
            let expected = Error::DriverTooOld {
                symbol: "cuStreamIsCapturing",
            };
            assert_eq!(Gpu::open().unwrap_err(), expected);
        }
        Ok(other) => panic!("no case {other}"),
    }
}

/// Runs work while calls of the driver fail (`name:number:code`, separated by commas).
fn failing<R>(calls: &str, work: impl FnOnce() -> R) -> R {
    const VARIABLE: &str = "FAKE_CUDA_FAIL";
    // SAFETY: nothing else in this process reads or writes its environment meanwhile: the case is its only test.
    unsafe { std::env::set_var(VARIABLE, calls) };
    let result = work();
    // SAFETY: as above.
    unsafe { std::env::remove_var(VARIABLE) };
    result
}

/// Another stream of the same GPU.
fn beside(gpu: &Gpu) -> Gpu {
    let stream = gpu.stream().unwrap().context().new_stream().unwrap();
    Gpu::from_stream(stream).unwrap()
}

fn ones(gpu: &Gpu) -> Tensor<f32> {
    Tensor::from_slice(gpu, &[100], &[1.0; 100]).unwrap()
}

fn is_driver_error<T: std::fmt::Debug>(result: &Result<T>, of: &str, expected: u32) -> bool {
    matches!(result, Err(Error::Driver { call, code, .. }) if *call == of && *code == expected)
}

/// A tensor of another stream is used by a launch and dropped, while one call after the other fails.
fn unreleased() {
    let gpu = Gpu::open().unwrap();
    let theirs = beside(&gpu);
    let stream = theirs.stream().unwrap().clone();
    double(&gpu, &ones(&theirs)).unwrap();
    let calls = [
        "cuCtxGetCurrent",
        "cuEventCreate",
        "cuEventRecord",
        "cuLaunchKernel",
        "cuStreamIsCapturing",
        "cuStreamWaitEvent",
    ];
    let mut failed = BTreeSet::new();
    for (call, number) in calls.iter().flat_map(|call| (1..=4).map(move |number| (call, number))) {
        for besides in ["", ",cuStreamSynchronize:0:999", ",cuEventCreate:0:999"] {
            for slice in [false, true] {
                let x = match slice {
                    false => ones(&theirs),
                    true => Tensor::from_cuda(stream.clone_htod(&[1.0f32; 100]).unwrap(), &[100]).unwrap(),
                };
                // A new stream: its first wait makes an event.
                let here = beside(&gpu);
                double::prepare(&here, &Sizes::from([("N", 100)])).unwrap();
                let mut y = Tensor::zeros(&here, &[100]).unwrap();
                let result = failing(&format!("{call}:{number}:999{besides}"), || {
                    let result = double::into(&here, &x, &mut y);
                    drop(x);
                    result
                });
                if result.is_err() {
                    failed.insert(*call);
                }
                // The event for the wait after the launch is created before the launch.
                let launched = y.to_vec().unwrap()[0] == 1.0;
                assert!(
                    !launched || result.is_ok() || *call != "cuEventCreate",
                    "{call} {number}"
                );
                drop(y);
                // A program goes on after an error: whatever was queued still runs.
                double(&here, &ones(&here)).unwrap();
            }
        }
    }
    assert_eq!(failed, calls.into_iter().collect());
}

/// Proves by the driver's log that memory was freed only after the launches that used it.
fn nothing_is_freed_while_it_is_used(log: &str) {
    struct Use<'a> {
        address: &'a str,
        /// Streams whose later work is ordered after it.
        after: BTreeSet<&'a str>,
    }
    let mut uses: Vec<Option<Use<'_>>> = Vec::new();
    let mut recorded: HashMap<&str, Vec<usize>> = HashMap::new();
    let (mut launches, mut frees) = (0, 0);
    for line in log.lines() {
        match *line.split(' ').collect::<Vec<_>>() {
            ["uses", stream, first, second] => {
                launches += 1;
                uses.extend([first, second].map(|address| {
                    Some(Use {
                        address,
                        after: BTreeSet::from([stream]),
                    })
                }));
            }
            ["record", event, stream] => {
                let after = |at: &usize| uses[*at].as_ref().is_some_and(|one| one.after.contains(stream));
                recorded.insert(event, (0..uses.len()).filter(after).collect());
            }
            ["wait", stream, event] => {
                for &at in recorded.get(event).into_iter().flatten() {
                    if let Some(one) = &mut uses[at] {
                        one.after.insert(stream);
                    }
                }
            }
            ["synchronize", stream] => {
                for one in &mut uses {
                    if one.as_ref().is_some_and(|one| one.after.contains(stream)) {
                        *one = None;
                    }
                }
            }
            ["free", address, stream] => {
                frees += 1;
                for one in &mut uses {
                    if one.as_ref().is_some_and(|one| one.address == address) {
                        let over = one.as_ref().is_some_and(|one| one.after.contains(stream));
                        assert!(over, "`{line}` while it is used:\n{log}");
                        *one = None;
                    }
                }
            }
            _ => {}
        }
    }
    assert!(launches > 100 && frees > 100, "{launches} {frees}");
}

#[test]
fn no_memory_is_freed_under_a_running_kernel() {
    for pools in [&[OUTPUT][..], &[OUTPUT, NO_POOLS]] {
        if let Some(log) = run("unreleased", WHOLE, pools) {
            nothing_is_freed_while_it_is_used(&log);
        }
    }
}

/// A tensor becomes a cudarc slice, or stays what it was.
fn given_away() {
    let gpu = Gpu::open().unwrap();
    let stream = gpu.stream().unwrap();
    for call in [
        "cuEventCreate",
        "cuEventDestroy_v2",
        "cuEventRecord",
        "cuCtxGetCurrent",
        "cuStreamWaitEvent",
    ] {
        for number in 1..=8 {
            for slice in [false, true] {
                let tensor = match slice {
                    false => ones(&gpu),
                    true => Tensor::from_cuda(stream.clone_htod(&[1.0f32; 100]).unwrap(), &[100]).unwrap(),
                };
                match failing(&format!("{call}:{number}:2"), || tensor.into_cuda()) {
                    Ok(slice) => assert_eq!(stream.clone_dtoh(&slice).unwrap(), [1.0; 100]),
                    Err(refused) => {
                        assert!(matches!(refused.error, Error::Driver { .. }), "{refused:?}");
                        assert_eq!(refused.tensor.to_vec().unwrap(), [1.0; 100]);
                        let slice = refused.tensor.into_cuda().unwrap();
                        assert_eq!(stream.clone_dtoh(&slice).unwrap(), [1.0; 100]);
                    }
                }
            }
        }
    }
    let refused = failing("cuEventCreate:1:2", || ones(&gpu).into_cuda()).unwrap_err();
    assert!(is_driver_error::<()>(&Err(refused.error), "cuEventCreate", 2));

    // An error that other code left on the context is not reported as ours, and stays.
    let left = DriverError(CUresult::CUDA_ERROR_UNKNOWN);
    stream.context().record_err::<()>(Err(left));
    let slice = ones(&gpu).into_cuda().unwrap();
    let tensor = Tensor::from_cuda(slice, &[100]).unwrap();
    assert!(stream.context().check_err().is_err());
    assert!(failing("cuEventRecord:1:2", || tensor.into_cuda()).is_err());

    let whole = ones(&gpu);
    let part = whole.slice(..50).unwrap();
    for tensor in [whole, part, Tensor::zeros(&gpu, &[0]).unwrap()] {
        let refused = tensor.into_cuda().unwrap_err();
        assert!(matches!(refused.error, Error::IntoCuda { .. }), "{refused}");
    }
}

#[test]
fn a_tensor_becomes_a_slice_or_stays() {
    let Some(log) = run("given away", WHOLE, &[]) else {
        return;
    };
    let count = |text: &str| log.lines().filter(|line| line.starts_with(text)).count();
    assert_eq!(count("allocate"), count("free"), "{log}");
    // Events whose destruction failed are leaked.
    let lost = count("cuEventDestroy_v2 fails");
    assert_eq!(count("create event"), count("destroy event") + lost, "{log}");
}

/// A failed release is reported by the next synchronisation, under its own name, and by no other call.
fn dropped() {
    let gpu = Gpu::open().unwrap();
    let theirs = beside(&gpu);
    let code = CUresult::CUDA_ERROR_UNKNOWN as u32;
    let free = match std::env::var_os(NO_POOLS.0) {
        Some(_) => "cuMemFree",
        None => "cuMemFreeAsync",
    };
    let of = |calls: &str, dropped: Box<dyn FnOnce() + '_>| {
        failing(calls, dropped);
        // Healthy calls are healthy.
        double(&gpu, &ones(&gpu)).unwrap();
        double(&gpu, &ones(&theirs)).unwrap();
        assert_eq!(double(&gpu, &ones(&gpu)).unwrap().to_vec().unwrap()[0], 1.0);
        let Err(Error::Release { source }) = gpu.synchronize() else {
            panic!("{calls}")
        };
        gpu.synchronize().unwrap();
        *source
    };
    let (a, b) = (ones(&gpu), ones(&gpu));
    let released = of(
        &format!("{}:1:999", if free == "cuMemFree" { "cuMemFree_v2" } else { free }),
        Box::new(|| drop((a, b))),
    );
    assert!(is_driver_error::<()>(&Err(released), free, code));

    let a = ones(&gpu);
    let asked = of("cuStreamIsCapturing:1:999", Box::new(|| drop(a)));
    assert!(is_driver_error::<()>(&Err(asked), "cuStreamIsCapturing", code));

    let mark = gpu.mark().unwrap();
    let destroyed = of("cuEventDestroy_v2:1:999", Box::new(|| drop(mark)));
    assert!(is_driver_error::<()>(&Err(destroyed), "cuEventDestroy", code));

    // An error that cudarc keeps for its own next call is not ours, and does not keep anything from being released.
    let another = beside(&gpu);
    double(&another, &ones(&another)).unwrap();
    let context = gpu.stream().unwrap().context().clone();
    context.record_err::<()>(Err(DriverError(CUresult::CUDA_ERROR_UNKNOWN)));
    double(&gpu, &ones(&gpu)).unwrap();
    let y = double(&another, &ones(&gpu)).unwrap();
    drop(another);
    y.to_vec().unwrap();
    let graph = gpu.record(|| Ok(())).unwrap();
    graph.launch().unwrap();
    drop((graph, y));
    gpu.synchronize().unwrap();
    assert!(context.check_err().is_err());
    drop((theirs, gpu));
}

#[test]
fn failures_to_release_are_told_where_they_belong() {
    for pools in [&[OUTPUT][..], &[OUTPUT, NO_POOLS]] {
        let Some(log) = run("dropped", WHOLE, pools) else {
            return;
        };
        let count = |text: &str| log.lines().filter(|line| line.starts_with(text)).count();
        assert_eq!(count("load a kernel"), count("unload"), "{log}");
        // One could not be freed.
        assert_eq!(count("allocate"), count("free") + 1, "{log}");
    }
}

/// Calls that would invalidate a capture are refused. Releases are deferred until it has ended.
fn captured() {
    let gpu = Gpu::open().unwrap();
    let theirs = beside(&gpu);
    double(&theirs, &ones(&theirs)).unwrap();
    let (x, mut y, foreign) = (ones(&gpu), ones(&gpu), ones(&theirs));
    let (ours, slice) = (ones(&gpu), gpu.stream().unwrap().clone_htod(&[1.0f32; 8]).unwrap());
    let taken = Tensor::from_cuda(gpu.stream().unwrap().clone_htod(&[1.0f32; 8]).unwrap(), &[8]).unwrap();
    let (theirs_too, own) = (ones(&theirs), ones(&gpu));
    double::prepare(&gpu, &Sizes::from([("N", 100)])).unwrap();
    let prepared = double::plan(&gpu, &Sizes::from([("N", 100)])).unwrap();
    let graph = gpu.record(|| {
        let refused = |result: Result<()>| assert!(matches!(result, Err(Error::Capture { .. })), "{result:?}");
        let error = double::into(&gpu, &foreign, &mut y).unwrap_err();
        assert!(
            error.to_string().contains("`double` with a tensor of another stream"),
            "{error}"
        );
        refused(double::into(&gpu, &foreign, &mut y));
        refused(double::into(&theirs, &x, &mut ones(&theirs)));
        refused(gpu.synchronize());
        refused(gpu.mark().map(drop));
        refused(x.to_vec().map(drop));
        refused(y.copy_from_slice(&[0.0; 100]));
        refused(Tensor::from_cuda(slice, &[8]).map(drop));
        refused(Err(own.into_cuda().unwrap_err().error));

        // Other streams go on: the driver forbids this thread whatever may wait.
        drop(theirs_too);
        double(&theirs, &foreign)?.to_vec()?;
        theirs.synchronize()?;
        theirs.mark()?.wait()?;
        let opened = Gpu::open()?;
        double(&opened, &ones(&opened))?;
        drop(opened);
        drop((ours, taken));
        drop(theirs);
        let kernel = energy_kernel::compiler::lower::lower(
            double::KERNEL.variant(&[])?.checked(),
            prepared.specialisation(),
            gpu.machine(),
            prepared.schedule(),
        );
        drop(gpu.compile(&kernel.unwrap())?);
        double::into(&gpu, &x, &mut y)?;
        // The graph's own.
        drop(double(&gpu, &x)?);
        Ok(())
    });
    graph.unwrap().launch().unwrap();
    // A capture that fails is over.
    let failed = gpu.record(|| double::into(&gpu, &foreign, &mut y));
    assert!(matches!(failed, Err(Error::Capture { .. })));
    assert!(!gpu.record(|| Ok(())).is_err_and(|error| panic!("{error}")));
    gpu.synchronize().unwrap();
}

#[test]
fn captures_come_to_no_harm() {
    for pools in [&[OUTPUT][..], &[OUTPUT, NO_POOLS]] {
        let Some(log) = run("captured", WHOLE, pools) else {
            return;
        };
        let count = |text: &str| log.lines().filter(|line| line.starts_with(text)).count();
        assert_eq!(count("invalid"), 0, "{log}");
        assert_eq!(count("allocate"), count("free"), "{log}");
        assert_eq!(count("load a kernel"), count("unload"), "{log}");
        assert_eq!(count("begin capture"), count("end capture"), "{log}");
    }
}

/// A graph keeps the tensors, the kernel and the `Gpu` that its launches use.
fn graph() {
    let gpu = Gpu::open().unwrap();
    let (x, y) = (ones(&gpu), ones(&gpu));
    let plan = double::plan(&gpu, &Sizes::from([("N", 100)])).unwrap();
    let checked = double::KERNEL.variant(&[]).unwrap().checked();
    let kernel = energy_kernel::compiler::lower::lower(checked, plan.specialisation(), gpu.machine(), plan.schedule());
    let loaded = gpu.compile(&kernel.unwrap()).unwrap();
    let graph = {
        let (inputs, outputs) = ([Argument::tensor(&x)], [View::from(&y)]);
        // SAFETY: lowered from this operator and specialisation above; both tensors have 100 elements.
        let prepared = unsafe { loaded.prepare(checked, plan.specialisation(), &[100], &inputs, &outputs) }.unwrap();
        gpu.record(|| (0..3).try_for_each(|_| prepared.launch())).unwrap()
    };
    drop((x, y, loaded, gpu));
    graph.launch().unwrap();
    drop(graph);
}

#[test]
fn a_graph_keeps_what_it_uses() {
    let Some(log) = run("graph", WHOLE, &[OUTPUT]) else {
        return;
    };
    let position = |text: &str| log.lines().position(|line| line.starts_with(text)).unwrap();
    assert!(position("destroy executable") < position("free"), "{log}");
    assert!(position("destroy executable") < position("unload"), "{log}");
    let count = |text: &str| log.lines().filter(|line| line.starts_with(text)).count();
    assert_eq!(count("allocate"), count("free"), "{log}");
    assert_eq!((count("uses"), count("unload"), count("release")), (3, 1, 1), "{log}");
}

/// Kernels fit the limits of the device.
fn limits() {
    let gpu = Gpu::open().unwrap();
    let limits = gpu.machine().limits;
    let shared: u32 = std::env::var("FAKE_CUDA_SHARED").unwrap().parse().unwrap();
    assert_eq!(
        (limits.shared_per_block, limits.shared_per_multiprocessor),
        (shared, shared + 1024)
    );
    for size in [64, 2048, 3000, 4096, 8192] {
        let plan = product::prepare(&gpu, &Sizes::from([("M", size), ("N", size), ("K", size)])).unwrap();
        assert!(plan.dynamic_shared() <= shared, "{plan}");
    }
}

#[test]
fn kernels_fit_the_device() {
    for (capability, shared) in [
        ("80", "166912"),
        ("86", "101376"),
        ("89", "101376"),
        ("90", "232448"),
        ("100", "232448"),
        ("120", "101376"),
    ] {
        let device = [("FAKE_CUDA_CAPABILITY", capability), ("FAKE_CUDA_SHARED", shared)];
        run("limits", WHOLE, &device);
    }
}

#[test]
fn a_function_that_is_missing_is_told() {
    let all = DRIVER_SYMBOLS.into_iter();
    let symbols: Vec<&str> = all.filter(|symbol| *symbol != "cuStreamIsCapturing").collect();
    run_with("too old", WHOLE, &symbols, &[]);
}
