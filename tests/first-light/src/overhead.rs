//! The cost of a launch: through `into`, through cudarc, through the driver alone; waited for, queued, and in a graph.

use crate::step::{Outcome, Result, Step};
use crate::timing::{host_per_call, median, per_launch};
use cudarc::driver::{CudaFunction, CudaSlice, CudaStream, DevicePtr, DriverError, LaunchConfig, PushKernelArg, sys};
use cudarc::nvrtc::Ptx;
use energy_kernel::tools::compiler::kernel::ParameterValue;
use energy_kernel::tools::compiler::lower::lower;
use energy_kernel::{Gpu, Sizes, Tensor, f16};
use energy_kernel_compiler::problem::Problem;
use energy_kernel_tests::scenarios::{add, integers, linear_gelu, softmax};
use serde_json::json;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

/// Elements of `add`.
const N: usize = 4096;

/// Launches in a row that no queue is too short for.
const QUEUED: usize = 256;

pub fn run(step: &mut Step) -> Result {
    let gpu = Gpu::open()?;
    let (batches, count) = if step.tiny() { (3, 16) } else { (15, QUEUED) };

    // Three ways to launch one kernel.
    let numbers = integers(N);
    let tensor = || Tensor::from_slice(&gpu, &[N], &numbers);
    let (a, b, mut sum) = (tensor()?, tensor()?, tensor()?);
    add::prepare(&gpu, &Sizes::from([("N", N as u64)]))?;
    let into = host_per_call(
        batches,
        count,
        || gpu.synchronize(),
        || add::into(&gpu, &a, &b, &mut sum),
    )?;
    let raw = Raw::new(&gpu, &numbers)?;
    let builder = host_per_call(batches, count, || raw.wait(), || raw.build())?;
    let bare = host_per_call(batches, count, || raw.wait(), || raw.bare())?;
    if raw.result()? != sum.to_vec()? {
        return Ok(Outcome::Failed(
            "the kernel that cudarc launched computes something else".to_owned(),
        ));
    }
    let [into, builder, bare] = [into, builder, bare].map(|seconds| 1e6 * seconds);
    println!("host time of a launch: into {into:.2} µs, cudarc's builder {builder:.2} µs, cuLaunchKernel {bare:.2} µs");
    step.result(json!({ "kernel": "add", "into_us": into, "builder_us": builder, "bare_us": bare }))?;

    // Short kernels: what they take when each is waited for, in a queue, and in a graph.
    let (rows, columns) = (16, 256);
    let x = Tensor::from_slice(&gpu, &[rows, columns], &integers(rows * columns))?;
    let mut y = Tensor::from_slice(&gpu, &[rows, columns], &integers(rows * columns))?;
    let halves = |shape: &[usize]| {
        let numbers = integers(shape.iter().product());
        let halves: Vec<f16> = numbers.into_iter().map(|number| f16::from_f32(number / 16.0)).collect();
        Tensor::from_slice(&gpu, shape, &halves)
    };
    let (h, w, bias, mut out) = (
        halves(&[1, 256])?,
        halves(&[64, 256])?,
        halves(&[64])?,
        halves(&[1, 64])?,
    );
    let short: [(&str, &mut dyn FnMut() -> energy_kernel::Result<()>); 3] = [
        ("add", &mut || add::into(&gpu, &a, &b, &mut sum)),
        ("softmax", &mut || softmax::into(&gpu, &x, &mut y)),
        ("linear_gelu", &mut || linear_gelu::into(&gpu, &h, &w, &bias, &mut out)),
    ];
    let mut figures = Vec::new();
    for (name, launch) in short {
        let launch = RefCell::new(launch);
        let launch = || (launch.borrow_mut())();
        launch()?;
        gpu.synchronize()?;
        let mut waited = Vec::new();
        for _ in 0..batches * count / 4 {
            let begun = Instant::now();
            launch()?;
            gpu.synchronize()?;
            waited.push(begun.elapsed().as_secs_f64());
        }
        let queue = || {
            gpu.time(|| (0..count).try_for_each(|_| launch()))
                .map(|(seconds, ())| seconds / count as f64)
        };
        let queued = (0..batches)
            .map(|_| queue())
            .collect::<energy_kernel::Result<Vec<_>>>()?;
        let node = per_launch(&gpu, 1, |_| launch())?;
        let [waited, queued, node] = [median(waited), median(queued), node].map(|seconds| 1e6 * seconds);
        println!("{name}: waited for {waited:.2} µs, queued {queued:.2} µs, in a graph {node:.2} µs a launch");
        step.result(json!({ "kernel": name, "waited_us": waited, "queued_us": queued, "node_us": node }))?;
        figures.push(format!("{name} {waited:.1}/{queued:.1}/{node:.1}"));
    }
    Ok(Outcome::Fine(format!(
        "into {into:.2} µs, cudarc {builder:.2}, bare {bare:.2}; waited/queued/graph µs: {}",
        figures.join(", ")
    )))
}

/// The kernel of `add`, loaded and launched by cudarc alone.
struct Raw {
    stream: Arc<CudaStream>,
    function: CudaFunction,
    config: LaunchConfig,
    slots: Vec<Slot>,
    tensors: [CudaSlice<f32>; 3],
    addresses: [u64; 3],
    size: u32,
}

/// A parameter of the kernel.
#[derive(Clone, Copy)]
enum Slot {
    Tensor(usize),
    Size,
}

impl Raw {
    fn new(gpu: &Gpu, numbers: &[f32]) -> Result<Raw> {
        let variant = add::KERNEL.variant(&[])?;
        let plan = add::plan(gpu, &Sizes::from([("N", N as u64)]))?;
        let kernel = lower(
            &Problem::new(variant.checked(), plan.specialisation(), gpu.machine()),
            plan.program(),
        )?;
        if kernel.ptx != plan.ptx() {
            return Err("the plan's kernel cannot be made again".into());
        }
        let [launch] = kernel.launches.as_slice() else {
            return Err("`add` has more than one launch".into());
        };
        let slots = launch.parameters.iter().map(|parameter| match parameter.value {
            ParameterValue::Input(id) => Ok(Slot::Tensor(id.index())),
            ParameterValue::Output(_) => Ok(Slot::Tensor(2)),
            ParameterValue::Size(_) => Ok(Slot::Size),
            other => Err(format!("`add` has no use for {other:?}")),
        });
        let slots = slots.collect::<std::result::Result<_, _>>()?;
        let stream = gpu.stream().ok_or("an emulated GPU")?.context().new_stream()?;
        let module = stream.context().load_module(Ptx::from_src(&kernel.ptx))?;
        let tensor = || stream.clone_htod(numbers);
        let tensors = [tensor()?, tensor()?, tensor()?];
        let [x, y, z] = launch.grid(&[N as u64])?;
        let [bx, by, bz] = launch.block;
        Ok(Raw {
            function: module.load_function(&launch.entry)?,
            config: LaunchConfig {
                grid_dim: (x, y, z),
                block_dim: (bx, by, bz),
                shared_mem_bytes: launch.dynamic_shared,
            },
            slots,
            addresses: tensors.each_ref().map(|tensor| tensor.device_ptr(&stream).0),
            tensors,
            size: N as u32,
            stream,
        })
    }

    /// As users of cudarc do it.
    fn build(&self) -> energy_kernel::Result<()> {
        let mut builder = self.stream.launch_builder(&self.function);
        for slot in &self.slots {
            match slot {
                Slot::Tensor(number) => builder.arg(&self.tensors[*number]),
                Slot::Size => builder.arg(&self.size),
            };
        }
        // SAFETY: the kernel's parameters, in order: tensors of the size that it was lowered for, and that size in 32 bits.
        let launched = unsafe { builder.launch(self.config) };
        launched.map(|_| ()).map_err(failed("cuLaunchKernel"))
    }

    /// The driver's call, and nothing else.
    fn bare(&self) -> energy_kernel::Result<()> {
        let mut pointers = [std::ptr::null_mut(); 8];
        for (pointer, slot) in pointers.iter_mut().zip(&self.slots) {
            *pointer = match slot {
                Slot::Tensor(number) => std::ptr::from_ref(&self.addresses[*number]).cast_mut().cast(),
                Slot::Size => std::ptr::from_ref(&self.size).cast_mut().cast(),
            };
        }
        let ((x, y, z), (bx, by, bz)) = (self.config.grid_dim, self.config.block_dim);
        // SAFETY: as above; the driver reads what it is pointed to, and writes nothing there.
        let launched = unsafe {
            sys::cuLaunchKernel(
                self.function.cu_function(),
                x,
                y,
                z,
                bx,
                by,
                bz,
                self.config.shared_mem_bytes,
                self.stream.cu_stream(),
                pointers.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        };
        launched.result().map_err(failed("cuLaunchKernel"))
    }

    fn wait(&self) -> energy_kernel::Result<()> {
        self.stream.synchronize().map_err(failed("cuStreamSynchronize"))
    }

    fn result(&self) -> Result<Vec<f32>> {
        Ok(self.stream.clone_dtoh(&self.tensors[2])?)
    }
}

fn failed(call: &'static str) -> impl Fn(DriverError) -> energy_kernel::Error {
    move |error| energy_kernel::Error::Driver {
        call,
        code: error.0 as u32,
        name: format!("{:?}", error.0),
    }
}
