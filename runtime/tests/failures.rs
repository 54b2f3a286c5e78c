//! Memory, kernels and captures survive failing calls of the driver. The virtual GPU injects the failures and checks what follows.
//!
//! A driver is loaded once per process, so each test starts this test binary again in a process of its own.

#![cfg(target_os = "linux")]

use cudarc::driver::DriverError;
use cudarc::driver::sys::CUresult;
use energy_kernel::__private::DRIVER_SYMBOLS;
use energy_kernel::Result;
use energy_kernel::prelude::*;
use energy_kernel::tools::{Argument, View};
use energy_kernel_compiler::problem::Problem;
use energy_kernel_virtual_gpu::{PROFILES, Report, Virtual, is_child, while_failing as failing};
use std::collections::BTreeSet;

#[energy_kernel]
fn double(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {
    |n| x[[n]] * 2.0
}

#[energy_kernel]
fn product(x: Tensor<f16, (M, K)>, w: Tensor<f16, (N, K)>) -> Tensor<f16, (M, N)> {
    |m, n| sum(|k| x[[m, k]] * w[[n, k]])
}

/// Runs a test in a process of its own with stream-ordered allocation, and in another without. Returns their reports.
fn with_and_without_pools(test: &str) -> [Report; 2] {
    ["1", "0"].map(|pools| {
        let run = Virtual::new("9.0").with("POOLS", pools).run(test);
        assert!(run.status.is_some_and(|status| status.success()), "{}", run.text);
        let report = run.report.unwrap();
        // No memory was used after its free, and no kernel after its unload.
        assert!(report.problems.is_empty(), "{report}");
        only_probed_functions_are_called(&report);
        report
    })
}

/// Checks that only these objects are left.
fn only_these_are_left(left: &[(&str, u64)], reports: [Report; 2]) {
    for report in reports {
        let found: Vec<(&str, u64)> = report
            .left
            .iter()
            .map(|(kind, count)| (kind.as_str(), *count))
            .collect();
        assert_eq!(found, left, "{report}");
    }
}

/// cudarc panics if a function is missing, so the runtime must probe every function it calls.
fn only_probed_functions_are_called(report: &Report) {
    let unprobed = report
        .calls
        .keys()
        .find(|function| function.starts_with("cu") && !DRIVER_SYMBOLS.contains(&function.as_str()));
    assert_eq!(unprobed, None);
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
#[test]
fn no_memory_is_freed_under_a_running_kernel() {
    if !is_child() {
        let reports = with_and_without_pools("no_memory_is_freed_under_a_running_kernel");
        // Memory that may still be in use is leaked if the driver cannot tell. Nothing else may be left.
        assert!(reports.iter().all(|report| report.executed > 100), "{reports:?}");
        return;
    }
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
        for besides in ["", ",cuStreamSynchronize:1+:999", ",cuEventCreate:1+:999"] {
            for slice in [false, true] {
                let x = match slice {
                    false => ones(&theirs),
                    true => Tensor::from_cuda(stream.clone_htod(&[1.0f32; 100]).unwrap(), &[100]).unwrap(),
                };
                // The first wait of a new stream creates an event.
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
                let launched = y.to_vec().unwrap()[0] == 2.0;
                assert!(
                    !launched || result.is_ok() || *call != "cuEventCreate",
                    "{call} {number}"
                );
                drop(y);
                // A program continues after an error: queued work still runs.
                double(&here, &ones(&here)).unwrap();
            }
        }
    }
    assert_eq!(failed, calls.into_iter().collect());
}

/// A tensor becomes a cudarc slice or stays unchanged.
#[test]
fn a_tensor_becomes_a_slice_or_stays() {
    if !is_child() {
        // Events whose destruction failed are leaked.
        return only_these_are_left(
            &[("events", 2)],
            with_and_without_pools("a_tensor_becomes_a_slice_or_stays"),
        );
    }
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

    // An error that other code stored in the context stays there and is not reported here.
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

/// Only the next synchronisation reports a failed release, under its own name.
#[test]
fn failed_releases_are_reported_by_the_next_synchronisation() {
    if !is_child() {
        let left = [("events", 1), ("memory", 1)];
        return only_these_are_left(
            &left,
            with_and_without_pools("failed_releases_are_reported_by_the_next_synchronisation"),
        );
    }
    let gpu = Gpu::open().unwrap();
    let theirs = beside(&gpu);
    let code = CUresult::CUDA_ERROR_UNKNOWN as u32;
    let free = match gpu.stream().unwrap().context().has_async_alloc() {
        true => "cuMemFreeAsync",
        false => "cuMemFree",
    };
    let of = |calls: &str, dropped: Box<dyn FnOnce() + '_>| {
        failing(calls, dropped);
        // Other calls still succeed.
        double(&gpu, &ones(&gpu)).unwrap();
        double(&gpu, &ones(&theirs)).unwrap();
        assert_eq!(double(&gpu, &ones(&gpu)).unwrap().to_vec().unwrap(), [2.0; 100]);
        let Err(Error::Release { failure }) = gpu.synchronize() else {
            panic!("{calls}")
        };
        gpu.synchronize().unwrap();
        *failure
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

    // An error that cudarc stores for its own next call is not reported here, and prevents no release.
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

/// Calls that would invalidate a capture are refused. Releases are deferred until it has ended.
#[test]
fn captures_come_to_no_harm() {
    if !is_child() {
        return only_these_are_left(&[], with_and_without_pools("captures_come_to_no_harm"));
    }
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

        // Other streams continue, although the driver forbids this thread every call that may wait.
        drop(theirs_too);
        double(&theirs, &foreign)?.to_vec()?;
        theirs.synchronize()?;
        theirs.mark()?.wait()?;
        let opened = Gpu::open()?;
        double(&opened, &ones(&opened))?;
        drop(opened);
        drop((ours, taken));
        drop(theirs);
        let kernel = energy_kernel::tools::compiler::lower::lower(
            &Problem::new(
                double::KERNEL.variant(&[])?.checked(),
                prepared.specialisation(),
                gpu.machine(),
            ),
            prepared.program(),
        );
        drop(gpu.compile(&kernel.unwrap())?);
        double::into(&gpu, &x, &mut y)?;
        // Memory of the graph itself.
        drop(double(&gpu, &x)?);
        Ok(())
    });
    graph.unwrap().launch().unwrap();
    // A failed capture ends.
    let failed = gpu.record(|| double::into(&gpu, &foreign, &mut y));
    assert!(matches!(failed, Err(Error::Capture { .. })));
    assert!(!gpu.record(|| Ok(())).is_err_and(|error| panic!("{error}")));
    gpu.synchronize().unwrap();
}

/// A graph keeps the tensors, the kernel and the `Gpu` that its launches use.
#[test]
fn a_graph_keeps_what_it_uses() {
    if !is_child() {
        return only_these_are_left(&[], with_and_without_pools("a_graph_keeps_what_it_uses"));
    }
    let gpu = Gpu::open().unwrap();
    let (x, y) = (ones(&gpu), ones(&gpu));
    let plan = double::plan(&gpu, &Sizes::from([("N", 100)])).unwrap();
    let checked = double::KERNEL.variant(&[]).unwrap().checked();
    let kernel = energy_kernel::tools::compiler::lower::lower(
        &Problem::new(checked, plan.specialisation(), gpu.machine()),
        plan.program(),
    );
    let loaded = gpu.compile(&kernel.unwrap()).unwrap();
    let graph = {
        let (inputs, outputs) = ([Argument::tensor(&x)], [View::from(&y)]);
        // SAFETY: lowered from this operator and specialisation above; both tensors have 100 elements.
        let prepared = unsafe { loaded.prepare(checked, &[100], &inputs, &outputs) }.unwrap();
        gpu.record(|| (0..3).try_for_each(|_| prepared.launch())).unwrap()
    };
    drop((x, y, loaded, gpu));
    graph.launch().unwrap();
    drop(graph);
}

/// Kernels fit the limits of the device.
#[test]
fn kernels_fit_the_device() {
    if !is_child() {
        for profile in &PROFILES {
            only_probed_functions_are_called(&Virtual::new(&profile.version()).run("kernels_fit_the_device").clean());
        }
        return;
    }
    let gpu = Gpu::open().unwrap();
    let limits = gpu.machine().limits;
    let name = &gpu.device_class().name;
    let profile = PROFILES.iter().find(|profile| profile.name == name).unwrap();
    let shared = profile.most_shared();
    assert_eq!(
        (limits.shared_per_block, limits.shared_per_multiprocessor),
        (shared, profile.shared)
    );
    for size in [64, 2048, 3000, 4096, 8192] {
        let plan = product::prepare(&gpu, &Sizes::from([("M", size), ("N", size), ("K", size)])).unwrap();
        assert!(plan.launches().all(|launch| launch.dynamic_shared <= shared), "{plan}");
    }
}

/// A driver may lack any function.
#[test]
fn a_missing_driver_function_is_an_error() {
    const NAME: &str = "a_missing_driver_function_is_an_error";
    if is_child() {
        println!("{}", Gpu::open().unwrap_err());
        return;
    }
    for symbol in DRIVER_SYMBOLS.iter().step_by(9).chain(&["cuStreamIsCapturing"]) {
        let text = Virtual::new("9.0").without(symbol).run(NAME).text;
        assert!(text.contains(&format!("too old: it has no `{symbol}`")), "{text}");
    }
}
