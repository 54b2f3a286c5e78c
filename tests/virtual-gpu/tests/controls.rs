//! Controls: the tests notice a driver that lies, and the virtual GPU notices a program that breaks the rules.

#![cfg(target_os = "linux")]

use cudarc::driver::sys::{self, CUresult, CUstreamCaptureMode::*};
use cudarc::driver::{CudaContext, CudaStream, DevicePtr, LaunchConfig, PushKernelArg, result};
use cudarc::nvrtc::Ptx;
use energy_kernel::prelude::*;
use energy_kernel::tools::compiler::lower::lower;
use energy_kernel::tools::compiler::problem::Problem;
use energy_kernel::tools::compiler::target::{Machine, Target};
use energy_kernel::tools::{Argument, View};
use energy_kernel_tests::scenarios::{add, integers, scale};
use energy_kernel_virtual_gpu::{LIARS, Virtual, is_child, while_failing};
use std::sync::Arc;
use std::time::Duration;

/// A program that relies on every promise of the driver.
fn relies_on_everything() {
    let numbers = integers(64);
    let times = |by: f32| numbers.iter().map(|number| number * by).collect::<Vec<f32>>();
    let gpu = Gpu::open().unwrap();
    let context = gpu.stream().unwrap().context().clone();

    // Copies, fills, launches.
    let x = Tensor::from_slice(&gpu, &[64], &numbers).unwrap();
    assert_eq!(x.to_vec().unwrap(), numbers);
    let mut y = Tensor::from_slice(&gpu, &[64], &numbers).unwrap();
    let zeros = Tensor::<f32>::zeros(&gpu, &[64]).unwrap();
    add::into(&gpu, &zeros, &x, &mut y).unwrap();
    assert_eq!(zeros.to_vec().unwrap(), [0.0; 64]);
    scale::into(&gpu, &x, 2.0, &mut y).unwrap();
    assert_eq!(y.to_vec().unwrap(), times(2.0));

    // Events between streams.
    let other = Gpu::from_stream(context.new_stream().unwrap()).unwrap();
    let theirs = scale(&other, &x, 3.0).unwrap();
    assert_eq!(scale(&gpu, &theirs, 5.0).unwrap().to_vec().unwrap(), times(15.0));

    // A caller's fill.
    let stream = context.new_stream().unwrap();
    let mut filled = stream.clone_htod(&numbers).unwrap();
    stream.memset_zeros(&mut filled).unwrap();
    assert_eq!(stream.clone_dtoh(&filled).unwrap(), [0.0; 64]);

    // After a synchronisation any stream finds what was done.
    scale::into(&gpu, &x, 7.0, &mut y).unwrap();
    gpu.synchronize().unwrap();
    let slice = y.into_cuda().unwrap();
    let (address, _) = slice.device_ptr(gpu.stream().unwrap());
    let mut read = [0f32; 64];
    // SAFETY: the slice has 64 elements, and the copy is waited for.
    unsafe { result::memcpy_dtoh_async(&mut read, address, stream.cu_stream()) }.unwrap();
    stream.synchronize().unwrap();
    assert_eq!(read.as_slice(), times(7.0));

    // The same after the whole context was waited for.
    let slice = scale(&gpu, &x, 11.0).unwrap().into_cuda().unwrap();
    context.synchronize().unwrap();
    let (address, _) = slice.device_ptr(gpu.stream().unwrap());
    // SAFETY: the slice has 64 elements, and the copy is waited for.
    unsafe { result::memcpy_dtoh_async(&mut read, address, stream.cu_stream()) }.unwrap();
    stream.synchronize().unwrap();
    assert_eq!(read.as_slice(), times(11.0));

    // Events on the host: a kernel that is dropped while it runs.
    let variant = scale::KERNEL.variant(&[]).unwrap();
    let plan = scale::plan(&gpu, &Sizes::from([("N", 64)])).unwrap();
    let kernel = lower(
        &Problem::new(variant.checked(), plan.specialisation(), Machine::like(Target::Sm80)),
        plan.program(),
    )
    .unwrap();
    let loaded = gpu.compile(&kernel).unwrap();
    let z = Tensor::<f32>::zeros(&gpu, &[64]).unwrap();
    let (inputs, outputs) = ([Argument::tensor(&x), Argument::scalar(9.0f32)], [View::from(&z)]);
    // SAFETY: lowered above from this operator and specialisation; both tensors have 64 elements.
    let prepared = unsafe { loaded.prepare(variant.checked(), &[64], &inputs, &outputs) };
    let prepared = prepared.unwrap();
    gpu.time(|| prepared.launch()).unwrap();
    prepared.launch().unwrap();
    drop(prepared);
    drop(loaded);
    assert_eq!(z.to_vec().unwrap(), times(9.0));
}

#[test]
fn a_driver_that_lies_is_noticed() {
    const NAME: &str = "a_driver_that_lies_is_noticed";
    if is_child() {
        return relies_on_everything();
    }
    Virtual::new("9.0").run(NAME).clean();
    for liar in LIARS {
        let run = Virtual::new("9.0").with("LIE", liar).run(NAME);
        let fine = run.status.is_some_and(|status| status.success());
        let report = run.report.unwrap_or_else(|| panic!("{liar}: {}", run.text));
        assert!(report.calls(liar) > 0, "{liar} was never called");
        assert!(
            !fine || !report.problems.is_empty() || !report.left.is_empty(),
            "{liar} lied unnoticed\n{report}"
        );
    }
}

const PTX: &str = ".version 7.8
.target sm_80
.address_size 64
.extern .shared .align 4 .b8 room[];
.visible .entry increment(.param .u64 data)
{
    .reg .b64 %rd<2>; .reg .b32 %r<2>;
    ld.param.u64 %rd0, [data];
    ld.global.u32 %r0, [%rd0];
    add.u32 %r1, %r0, 1;
    st.global.u32 [%rd0], %r1;
    ret;
}
.visible .entry stores(.param .u64 data)
{
    .reg .b64 %rd<2>; .reg .b32 %r<2>;
    mov.u32 %r0, 7;
    st.shared.u32 [room], %r0;
    ret;
}
";

fn one_thread(shared: u32) -> LaunchConfig {
    LaunchConfig {
        grid_dim: (1, 1, 1),
        block_dim: (1, 1, 1),
        shared_mem_bytes: shared,
    }
}

/// A context whose slices keep no events: what is ordered, the test orders.
fn plain_context() -> Arc<CudaContext> {
    let context = CudaContext::new(0).unwrap();
    // SAFETY: every test below says what is wrong about its order, if anything is.
    unsafe { context.disable_event_tracking() };
    context
}

fn code<T>(answered: Result<T, cudarc::driver::DriverError>) -> CUresult {
    answered.err().map_or(CUresult::CUDA_SUCCESS, |error| error.0)
}

fn increment(stream: &Arc<CudaStream>, data: u64) -> Result<(), cudarc::driver::DriverError> {
    let module = stream.context().load_module(Ptx::from_src(PTX)).unwrap();
    let function = module.load_function("increment").unwrap();
    // SAFETY: the kernel takes one address, of four bytes where the test is not about a wrong one.
    let launched = unsafe { stream.launch_builder(&function).arg(&data).launch(one_thread(0)) };
    // Unloading does not wait for a launch: these modules stay.
    std::mem::forget((module, function));
    launched.map(|_| ())
}

/// Runs a test in a process of its own, and returns the problems and what was left.
fn judged(gpu: Virtual, test: &str, body: impl FnOnce()) -> Option<energy_kernel_virtual_gpu::Report> {
    if is_child() {
        body();
        return None;
    }
    let run = gpu.run(test);
    assert!(run.status.is_some_and(|status| status.success()), "{}", run.text);
    run.report
}

#[test]
fn a_stream_that_does_not_wait_reads_what_was_there_before() {
    judged(
        Virtual::new("9.0"),
        "a_stream_that_does_not_wait_reads_what_was_there_before",
        || {
            let context = plain_context();
            let (first, second) = (context.new_stream().unwrap(), context.new_stream().unwrap());
            let data = first.clone_htod(&[41u32]).unwrap();
            first.synchronize().unwrap();
            increment(&first, data.device_ptr(&first).0).unwrap();
            assert_eq!(second.clone_dtoh(&data).unwrap(), [41]);
            second.join(&first).unwrap();
            assert_eq!(second.clone_dtoh(&data).unwrap(), [42]);
        },
    );
}

#[test]
fn memory_that_is_freed_too_early_is_an_illegal_address_for_good() {
    let report = judged(
        Virtual::new("9.0"),
        "memory_that_is_freed_too_early_is_an_illegal_address_for_good",
        || {
            let context = plain_context();
            let (first, second) = (context.new_stream().unwrap(), context.new_stream().unwrap());
            let data = second.clone_htod(&[41u32]).unwrap();
            let address = data.device_ptr(&second).0;
            increment(&first, address).unwrap();
            // Frees on its own stream, which does not wait for the first.
            drop(data);
            second.synchronize().unwrap();
            assert_eq!(code(first.synchronize()), CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
            for _ in 0..3 {
                assert_eq!(code(second.alloc_zeros::<u8>(1)), CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
            }
            assert_eq!(code(second.synchronize()), CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
        },
    );
    if let Some(report) = report {
        assert!(
            report.problems.iter().any(|problem| problem.contains("freed")),
            "{report}"
        );
    }
}

#[test]
fn memory_is_used_between_allocation_and_free_in_every_order() {
    let report = judged(
        Virtual::new("9.0"),
        "memory_is_used_between_allocation_and_free_in_every_order",
        || {
            let context = plain_context();
            let (first, second) = (context.new_stream().unwrap(), context.new_stream().unwrap());
            // The kernel happens to run before the free on the other stream.
            let data = second.clone_htod(&[41u32]).unwrap();
            second.synchronize().unwrap();
            increment(&first, data.device_ptr(&second).0).unwrap();
            drop(data);
            first.synchronize().unwrap();
            second.synchronize().unwrap();
            // It happens to run after the allocation on the other stream.
            let data = second.alloc_zeros::<u32>(1).unwrap();
            increment(&first, data.device_ptr(&second).0).unwrap();
            first.synchronize().unwrap();
            // A launch after the free.
            let address = data.device_ptr(&second).0;
            drop(data);
            increment(&second, address).unwrap();
            second.synchronize().unwrap_err();
        },
    );
    if let Some(report) = report {
        let found = |text: &str| report.problems.iter().filter(|problem| problem.contains(text)).count();
        assert_eq!(found("may still use it"), 1, "{report}");
        assert_eq!(found("may not have allocated yet"), 1, "{report}");
        assert_eq!(found("`increment` uses memory that was freed"), 1, "{report}");
    }
}

#[test]
fn what_is_not_freed_is_counted() {
    let report = judged(Virtual::new("9.0"), "what_is_not_freed_is_counted", || {
        let stream = plain_context().new_stream().unwrap();
        let leaked = stream.alloc_zeros::<u8>(100).unwrap().leak();
        assert_ne!(leaked, 0);
        std::mem::forget(stream.context().new_event(None).unwrap());
        std::mem::forget(stream);
    });
    if let Some(report) = report {
        let left: Vec<(&str, u64)> = report
            .left
            .iter()
            .map(|(kind, count)| (kind.as_str(), *count))
            .collect();
        assert_eq!(left, [("contexts", 1), ("events", 1), ("memory", 1), ("streams", 1)]);
        assert_eq!(report.queued, 1);
    }
}

#[test]
fn calls_need_the_context_of_their_device() {
    judged(
        Virtual::new("9.0,9.0"),
        "calls_need_the_context_of_their_device",
        || {
            let mut address = 0;
            // SAFETY: writes one address, or nothing.
            let allocate = |address: &mut u64| unsafe { sys::cuMemAlloc_v2(address, 16) };
            assert_eq!(allocate(&mut address), CUresult::CUDA_ERROR_NOT_INITIALIZED);
            let (first, second) = (CudaContext::new(0).unwrap(), CudaContext::new(1).unwrap());
            let stream = first.new_stream().unwrap();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let mut address = 0;
                    assert_eq!(allocate(&mut address), CUresult::CUDA_ERROR_INVALID_CONTEXT);
                    second.bind_to_thread().unwrap();
                    assert_eq!(allocate(&mut address), CUresult::CUDA_SUCCESS);
                    let module = second.load_module(Ptx::from_src(PTX)).unwrap();
                    let function = module.load_function("increment").unwrap();
                    // SAFETY: refused, because the stream is another device's.
                    let launched = unsafe { stream.launch_builder(&function).arg(&address).launch(one_thread(0)) };
                    assert_eq!(code(launched), CUresult::CUDA_ERROR_INVALID_HANDLE);
                    second.bind_to_thread().unwrap();
                    // SAFETY: allocated above, used by nothing.
                    assert_eq!(unsafe { sys::cuMemFree_v2(address) }, CUresult::CUDA_SUCCESS);
                });
            });
            // One device's addresses are nothing to another.
            let theirs = second.default_stream().clone_htod(&[1u32]).unwrap();
            let address = theirs.device_ptr(theirs.stream()).0;
            increment(&stream, address).unwrap();
            assert_eq!(code(stream.synchronize()), CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
            // And one that is broken does not break the other.
            assert_eq!(theirs.stream().clone_dtoh(&theirs).unwrap(), [1]);
        },
    );
}

#[test]
fn a_context_that_is_released_takes_all_with_it() {
    judged(
        Virtual::new("9.0"),
        "a_context_that_is_released_takes_all_with_it",
        || {
            let context = plain_context();
            let stream = context.new_stream().unwrap();
            // SAFETY: the one retained above; the test is about what is left then.
            unsafe { result::primary_ctx::release(context.cu_device()) }.unwrap();
            assert_eq!(code(stream.synchronize()), CUresult::CUDA_ERROR_CONTEXT_IS_DESTROYED);
            let again = CudaContext::new(0).unwrap();
            again.bind_to_thread().unwrap();
            // SAFETY: the stream's handle is stale, which is refused.
            let synchronised = unsafe { result::stream::synchronize(stream.cu_stream()) };
            assert_eq!(code(synchronised), CUresult::CUDA_ERROR_CONTEXT_IS_DESTROYED);
            std::mem::forget((stream, context));
        },
    );
}

#[test]
fn captures_are_broken_by_what_cannot_be_captured() {
    judged(
        Virtual::new("9.0"),
        "captures_are_broken_by_what_cannot_be_captured",
        || {
            let context = plain_context();
            let (stream, other) = (context.new_stream().unwrap(), context.new_stream().unwrap());
            let end = || code(stream.end_capture(sys::CUgraphInstantiate_flags(0)));
            let allocate = |context: &CudaContext| {
                context.bind_to_thread().unwrap();
                // SAFETY: freed at once.
                unsafe { result::malloc_sync(16).and_then(|address| result::free_sync(address)) }
            };
            let elsewhere =
                |work: &(dyn Fn() -> CUresult + Sync)| std::thread::scope(|scope| scope.spawn(work).join().unwrap());

            // An allocation: forbidden to all, to this thread, to nobody.
            for (mode, here, there) in [
                (CU_STREAM_CAPTURE_MODE_GLOBAL, true, true),
                (CU_STREAM_CAPTURE_MODE_THREAD_LOCAL, true, false),
                (CU_STREAM_CAPTURE_MODE_RELAXED, false, false),
            ] {
                let answer = |forbidden| match forbidden {
                    true => (
                        CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
                        CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED,
                    ),
                    false => (CUresult::CUDA_SUCCESS, CUresult::CUDA_SUCCESS),
                };
                stream.begin_capture(mode).unwrap();
                assert_eq!((code(allocate(&context)), end()), answer(here), "{mode:?}");
                stream.begin_capture(mode).unwrap();
                assert_eq!(
                    (elsewhere(&|| code(allocate(&context))), end()),
                    answer(there),
                    "{mode:?}"
                );
            }

            let mode = CU_STREAM_CAPTURE_MODE_RELAXED;
            // Waiting for what is captured.
            stream.begin_capture(mode).unwrap();
            assert_eq!(
                code(stream.synchronize()),
                CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED
            );
            assert_eq!(end(), CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
            stream.begin_capture(mode).unwrap();
            assert_eq!(
                code(context.synchronize()),
                CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED
            );
            assert_eq!(end(), CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
            // An event of the capture, asked for from outside.
            stream.begin_capture(mode).unwrap();
            let event = stream.record_event(None).unwrap();
            assert_eq!(code(event.synchronize()), CUresult::CUDA_ERROR_CAPTURED_EVENT);
            assert_eq!(end(), CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
            // Work outside that the graph would depend on.
            let event = other.record_event(None).unwrap();
            stream.begin_capture(mode).unwrap();
            assert_eq!(code(stream.wait(&event)), CUresult::CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
            assert_eq!(end(), CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
            // A stream that joined in and was not waited for.
            let data = other.clone_htod(&[0u32]).unwrap();
            let address = data.device_ptr(&other).0;
            other.synchronize().unwrap();
            let module = context.load_module(Ptx::from_src(PTX)).unwrap();
            let function = module.load_function("increment").unwrap();
            stream.begin_capture(mode).unwrap();
            other.join(&stream).unwrap();
            // SAFETY: the address is of four bytes.
            unsafe { other.launch_builder(&function).arg(&address).launch(one_thread(0)) }.unwrap();
            assert_eq!(end(), CUresult::CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
            // Another thread than the one that began.
            stream.begin_capture(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).unwrap();
            assert_eq!(elsewhere(&end), CUresult::CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
            assert_eq!(end(), CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
            // The stream that waits for all others.
            assert_eq!(
                code(context.default_stream().begin_capture(mode)),
                CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED
            );
            // After all that, it works.
            stream.begin_capture(mode).unwrap();
            // SAFETY: as above.
            unsafe { stream.launch_builder(&function).arg(&address).launch(one_thread(0)) }.unwrap();
            let graph = stream.end_capture(sys::CUgraphInstantiate_flags(0)).unwrap().unwrap();
            (0..3).for_each(|_| graph.launch().unwrap());
            other.join(&stream).unwrap();
            assert_eq!(other.clone_dtoh(&data).unwrap(), [3]);
        },
    );
}

#[test]
fn a_graph_has_the_memory_that_it_allocates() {
    let report = judged(Virtual::new("9.0"), "a_graph_has_the_memory_that_it_allocates", || {
        let context = plain_context();
        let stream = context.new_stream().unwrap();
        let result = stream.clone_htod(&[0u32]).unwrap();
        let outside = stream.alloc_zeros::<u32>(1).unwrap();
        let module = context.load_module(Ptx::from_src(PTX)).unwrap();
        let function = module.load_function("increment").unwrap();
        let end = || stream.end_capture(sys::CUgraphInstantiate_flags(0));

        stream.begin_capture(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).unwrap();
        let own = stream.alloc_zeros::<u32>(1).unwrap();
        let address = own.device_ptr(&stream).0;
        for _ in 0..2 {
            // SAFETY: the graph's memory of four bytes.
            unsafe { stream.launch_builder(&function).arg(&address).launch(one_thread(0)) }.unwrap();
        }
        // SAFETY: both are of four bytes.
        unsafe { result::memcpy_dtod_async(result.device_ptr(&stream).0, address, 4, stream.cu_stream()) }.unwrap();
        drop(own);
        let graph = end().unwrap().unwrap();
        for _ in 0..3 {
            graph.launch().unwrap();
        }
        assert_eq!(stream.clone_dtoh(&result).unwrap(), [2]);
        // Freed memory is poisoned.
        let mut left = [0u32];
        // SAFETY: the memory is there as long as the graph is.
        unsafe { result::memcpy_dtoh_async(&mut left, address, stream.cu_stream()) }.unwrap();
        assert_eq!(left, [u32::MAX]);
        drop(graph);

        // Memory from outside cannot be freed in a graph.
        stream.begin_capture(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).unwrap();
        drop(outside);
        assert_eq!(code(context.check_err()), CUresult::CUDA_ERROR_INVALID_VALUE);
        assert_eq!(code(end()), CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    });
    if let Some(report) = report {
        assert_eq!(report.left, [("memory".to_owned(), 1)].into(), "{report}");
    }
}

#[test]
fn kernels_keep_to_the_limits_of_the_device_and_its_driver() {
    const NAME: &str = "kernels_keep_to_the_limits_of_the_device_and_its_driver";
    let body = || {
        let context = plain_context();
        let stream = context.new_stream().unwrap();
        let load = |ptx: &str| context.load_module(Ptx::from_src(ptx));
        let (major, minor) = context.compute_capability().unwrap();
        let number = 10 * major + minor;

        let targets = [
            ("sm_86", number >= 86),
            ("sm_90", number >= 90),
            ("sm_90a", number == 90),
            ("sm_120", number == 120),
        ];
        for (target, runs) in targets {
            let expected = if runs {
                CUresult::CUDA_SUCCESS
            } else {
                CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU
            };
            assert_eq!(code(load(&PTX.replace("sm_80", target))), expected, "{target}");
        }
        let newest = if number >= 100 { "8.7" } else { "8.0" };
        let with_version = |version: &str| code(load(&PTX.replace("7.8", version)));
        assert_eq!(with_version(newest), CUresult::CUDA_SUCCESS);
        assert_eq!(with_version("8.8"), CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
        assert_eq!(code(load("nonsense")), CUresult::CUDA_ERROR_INVALID_PTX);

        let most = context
            .attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)
            .unwrap();
        assert_eq!(
            most,
            match number {
                80 => 163,
                90 | 100 => 227,
                _ => 99,
            } << 10
        );
        let module = load(PTX).unwrap();
        let function = module.load_function("stores").unwrap();
        let launch = |config: LaunchConfig| {
            // SAFETY: the kernel does not use its parameter.
            code(unsafe { stream.launch_builder(&function).arg(&0u64).launch(config) })
        };
        let shared = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        assert_eq!(launch(one_thread(48 << 10)), CUresult::CUDA_SUCCESS);
        assert_eq!(launch(one_thread((48 << 10) + 4)), CUresult::CUDA_ERROR_INVALID_VALUE);
        assert_eq!(
            code(function.set_attribute(shared, most + 1)),
            CUresult::CUDA_ERROR_INVALID_VALUE
        );
        function.set_attribute(shared, most).unwrap();
        assert_eq!(launch(one_thread(most as u32)), CUresult::CUDA_SUCCESS);

        let shape = |grid_dim, block_dim| LaunchConfig {
            grid_dim,
            block_dim,
            shared_mem_bytes: 4,
        };
        for (grid, block) in [
            ((0, 1, 1), (1, 1, 1)),
            ((1, 65_536, 1), (1, 1, 1)),
            ((1, 1, 1), (1025, 1, 1)),
            ((1, 1, 1), (1, 1, 65)),
        ] {
            assert_eq!(
                launch(shape(grid, block)),
                CUresult::CUDA_ERROR_INVALID_VALUE,
                "{grid:?} {block:?}"
            );
        }
        stream.synchronize().unwrap();
    };
    for devices in ["8.0", "8.6", "8.9", "9.0", "10.0", "12.0"] {
        judged(Virtual::new(devices), NAME, body);
        if is_child() {
            return;
        }
    }
    // 80 registers a thread, of 65,536 a block.
    const TOO_MANY: &str = "launches_need_registers";
    assert_eq!(
        Virtual::new("9.0")
            .with("REGISTERS", "80")
            .run(TOO_MANY)
            .clean()
            .executed,
        1
    );
}

/// Run by the test above alone.
#[test]
fn launches_need_registers() {
    if !is_child() {
        return;
    }
    let stream = plain_context().new_stream().unwrap();
    let module = stream.context().load_module(Ptx::from_src(PTX)).unwrap();
    let function = module.load_function("stores").unwrap();
    let launch = |threads| {
        let config = LaunchConfig {
            grid_dim: (1, 1, 1),
            block_dim: (threads, 1, 1),
            shared_mem_bytes: 4,
        };
        // SAFETY: the kernel does not use its parameter.
        code(unsafe { stream.launch_builder(&function).arg(&0u64).launch(config) })
    };
    assert_eq!(launch(1024), CUresult::CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
    assert_eq!(launch(512), CUresult::CUDA_SUCCESS);
    stream.synchronize().unwrap();
}

#[test]
fn a_stream_is_not_done_before_its_time() {
    let gpu = Virtual::new("9.0").with("KERNEL_US", "60000");
    judged(gpu, "a_stream_is_not_done_before_its_time", || {
        let context = plain_context();
        let stream = context.new_stream().unwrap();
        let data = stream.clone_htod(&[0u32]).unwrap();
        let address = data.device_ptr(&stream).0;
        let begun = std::time::Instant::now();
        increment(&stream, address).unwrap();
        let event = stream.record_event(None).unwrap();
        assert!(begun.elapsed() < Duration::from_millis(50));
        let mut asked = 0;
        while !event.is_complete() {
            asked += 1;
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(asked > 0 && begun.elapsed() >= Duration::from_millis(60));
        increment(&stream, address).unwrap();
        stream.synchronize().unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(120));
        assert_eq!(stream.clone_dtoh(&data).unwrap(), [2]);
    });
}

#[test]
fn kernels_take_what_the_settings_say() {
    const NAME: &str = "kernels_take_what_the_settings_say";
    if is_child() {
        let gpu = Gpu::open().unwrap();
        let x = Tensor::from_slice(&gpu, &[64], &integers(64)).unwrap();
        scale(&gpu, &x, 2.0).unwrap();
        let (seconds, _) = gpu.time(|| scale(&gpu, &x, 2.0)).unwrap();
        println!("seconds {seconds:e}");
        return;
    }
    let seconds = |setting: &str, value: &str| -> f64 {
        let run = Virtual::new("9.0").with(setting, value).run(NAME);
        let text = run.text.clone();
        run.clean();
        let found = text.lines().find_map(|line| line.split("seconds ").nth(1)).unwrap();
        found.trim().parse().unwrap()
    };
    // Two microseconds, and what the host takes between two calls.
    let simulated = seconds("SPEED", "1");
    assert!((2e-6..1e-3).contains(&simulated), "{simulated}");
    let slow = seconds("SPEED", "0.0001");
    assert!((0.02..0.04).contains(&slow), "{slow}");
    let fixed = seconds("KERNEL_US", "30000");
    assert!((0.03..0.05).contains(&fixed), "{fixed}");
}

#[test]
fn faults_come_where_they_are_asked_for() {
    const NAME: &str = "faults_come_where_they_are_asked_for";
    if is_child() {
        let context = plain_context();
        let stream = context.new_stream().unwrap();
        let allocate = || code(stream.alloc_zeros::<u8>(1));
        println!(
            "answers {:?}",
            [allocate(), allocate(), allocate()].map(|code| code as u32)
        );
        return;
    }
    for (fault, answers) in [
        ("cuMemAllocAsync:2:2", "[0, 2, 0]"),
        ("cuMemAllocAsync:2+:801", "[0, 801, 801]"),
        ("cuMem*:%2:700:sticky", "[0, 700, 700]"),
    ] {
        let run = Virtual::new("9.0").with("FAIL", fault).run(NAME);
        assert!(
            run.text.contains(&format!("answers {answers}")),
            "{fault}: {}",
            run.text
        );
        assert!(run.report.expect("a report").injected > 0);
    }
    let hangs = Virtual::new("9.0").with("FAIL", "cuMemAllocAsync:1:hang");
    let run = hangs.finish(&mut hangs.test(NAME), Duration::from_millis(500));
    assert!(run.status.is_none() && run.report.is_none());
    let run = Virtual::new("9.0").with("FAIL", "cuMemAllocAsync:1:crash").run(NAME);
    assert!(run.status.is_some_and(|status| !status.success()) && run.report.is_none());
}

#[test]
fn faults_come_while_they_are_asked_for() {
    judged(Virtual::new("9.0"), "faults_come_while_they_are_asked_for", || {
        let stream = plain_context().new_stream().unwrap();
        let allocate = || code(stream.alloc_zeros::<u8>(1)) as u32;
        assert_eq!(allocate(), 0);
        let answers = while_failing("cuMemAllocAsync:2:2", || [allocate(), allocate(), allocate()]);
        assert_eq!(answers, [0, 2, 0]);
        assert_eq!(
            while_failing("cuMemsetD8Async:1:801", || [allocate(), allocate()]),
            [801, 0]
        );
        assert_eq!([allocate(), allocate()], [0, 0]);
    });
}

#[test]
fn drivers_and_devices_that_are_too_old_are_told() {
    const NAME: &str = "drivers_and_devices_that_are_too_old_are_told";
    if is_child() {
        println!("{}", Gpu::open().unwrap_err());
        return;
    }
    let told = |gpu: Virtual| gpu.run(NAME).text;
    let text = told(Virtual::new("9.0").without("cuStreamEndCapture"));
    assert!(text.contains("too old: it has no `cuStreamEndCapture`"), "{text}");
    let text = told(Virtual::new("7.5"));
    assert!(text.contains("Virtual T4 has compute capability 7.5"), "{text}");
}

#[test]
fn kernels_have_the_defects_that_are_asked_for() {
    const NAME: &str = "kernels_have_the_defects_that_are_asked_for";
    if is_child() {
        let stream = plain_context().new_stream().unwrap();
        let data = stream.clone_htod(&[5u32]).unwrap();
        let module = stream.context().load_module(Ptx::from_src(PTX)).unwrap();
        let function = module.load_function("increment").unwrap();
        println!("local {}", function.local_size_bytes().unwrap());
        increment(&stream, data.device_ptr(&stream).0).unwrap();
        println!("synchronised {:?}", code(stream.synchronize()) as u32);
        println!("data {:?}", stream.clone_dtoh(&data).unwrap());
        return;
    }
    let run = |defect: &str| {
        let gpu = Virtual::new("9.0").with("KERNELS", defect);
        let run = gpu.finish(&mut gpu.test(NAME), Duration::from_secs(2));
        (run.status.map(|status| status.success()), run.text)
    };
    let expected = [
        ("spill:#1", Some(true), "local 64"),
        ("idle:increment", Some(true), "data [5]"),
        ("idle:decrement", Some(true), "data [6]"),
        ("illegal:#2", Some(false), "synchronised 700"),
        ("crash:#2", Some(false), "local 0"),
        ("reject:#1", Some(false), "INVALID_PTX"),
        ("hang:#2", None, "local 0"),
    ];
    for (defect, status, text) in expected {
        let (ended, written) = run(defect);
        assert!(
            ended == status && written.contains(text),
            "{defect}: {ended:?}\n{written}"
        );
    }
}

#[test]
fn a_setting_that_is_misspelt_fails_every_call() {
    const NAME: &str = "a_setting_that_is_misspelt_fails_every_call";
    if is_child() {
        let error = Gpu::open().unwrap_err();
        assert!(matches!(error, Error::Driver { code: 999, .. }), "{error}");
        return;
    }
    let gpu = Virtual::new("9.0");
    let run = gpu.finish(gpu.test(NAME).env("VIRTUAL_GPU_TICKMS", "7"), Duration::from_secs(20));
    let printed = "VIRTUAL_GPU_TICKMS=7: there is no such setting";
    assert!(
        run.status.is_some_and(|status| status.success()) && run.text.contains(printed),
        "{}",
        run.text
    );
}
