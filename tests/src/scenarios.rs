//! Scenarios of the public interface. Each uses a GPU, real or virtual, as a program does, and panics at a wrong result.

#![allow(missing_docs, reason = "the names of the scenarios and of their operators say it")]

use energy_kernel::prelude::*;
use energy_kernel::tools::compiler::lower::lower;
use energy_kernel::tools::compiler::schedule;
use energy_kernel::tools::compiler::size::Specialisation;
use energy_kernel::tools::{Argument, View};
use energy_kernel::{Element, Result};
use energy_kernel_compiler::problem::Problem;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Passes the names of all scenarios to a macro.
#[macro_export]
macro_rules! scenarios {
    ($to:ident) => {
        $to! {
            tensors_go_to_the_device_and_back
            operators_agree_with_their_references
            large_products_can_be_loaded
            bad_indices_are_told_at_the_next_synchronisation
            calls_follow_each_other_without_synchronisation
            streams_wait_for_each_others_tensors
            slices_go_to_cudarc_and_back
            threads_share_a_gpu
            a_tensor_may_be_made_in_one_thread_and_dropped_in_another
            threads_share_the_workspace_of_stages
            launches_are_recorded_in_graphs
            a_graph_of_stages_keeps_the_workspace_it_was_recorded_with
            graphs_of_stages_may_have_workspaces_of_their_own
            a_caller_captures_calls_on_streams_of_its_own
            a_captured_call_of_stages_keeps_its_workspace
            tensors_of_another_stream_do_no_harm_to_a_capture
            what_is_dropped_during_a_capture_does_it_no_harm
            tools_load_time_and_launch_kernels_of_their_choice
            a_region_has_joules
        }
    };
}

#[energy_kernel]
pub fn linear_gelu(x: Tensor<f16, (M, K)>, w: Tensor<f16, (N, K)>, b: Tensor<f16, (N,)>) -> Tensor<f16, (M, N)> {
    |m, n| gelu(sum(|k| x[[m, k]] * w[[n, k]]) + b[[n]])
}

#[energy_kernel]
pub fn softmax(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R, C)> {
    let peak = |r| max(|c| x[[r, c]]);
    let total = |r| sum(|c| exp(x[[r, c]] - peak[[r]]));
    |r, c| exp(x[[r, c]] - peak[[r]]) / total[[r]]
}

#[energy_kernel]
pub fn embed(table: Tensor<f32, (V, D)>, ids: Tensor<i32, (T,)>) -> Tensor<f32, (T, D)> {
    |t, d| table[[ids[[t]], d]]
}

#[energy_kernel]
pub fn scale(x: Tensor<f32, (N,)>, by: f32) -> Tensor<f32, (N,)> {
    |n| x[[n]] * by
}

#[energy_kernel]
pub fn add(a: Tensor<f32, (N,)>, b: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {
    |n| a[[n]] + b[[n]]
}

/// The inner product is stored, and both run as tiles.
#[energy_kernel]
pub fn layers(x: Tensor<f32, (M, K)>, v: Tensor<f32, (J, K)>, w: Tensor<f32, (N, J)>) -> Tensor<f32, (M, N)> {
    let hidden = |m, j| relu(sum(|k| x[[m, k]] * v[[j, k]]));
    |m, n| sum(|j| hidden[[m, j]] * w[[n, j]])
}

/// Small integers as `f32`, so that short sums and products are exact.
pub fn integers(length: usize) -> Vec<f32> {
    (0..length).map(|at| ((at * 7 + at / 5) % 23) as f32 - 11.0).collect()
}

/// Numbers in −1..1 that the seed determines.
pub struct Random(pub u64);

impl Random {
    fn number(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / f64::from(1u32 << 30) - 1.0
    }

    pub fn f32(&mut self, shape: &[usize]) -> HostTensor<f32> {
        let numbers = (0..shape.iter().product()).map(|_| self.number() as f32).collect();
        HostTensor::new(shape, numbers).unwrap()
    }

    pub fn f16(&mut self, shape: &[usize]) -> HostTensor<f16> {
        let numbers = (0..shape.iter().product())
            .map(|_| f16::from_f64(self.number()))
            .collect();
        HostTensor::new(shape, numbers).unwrap()
    }
}

/// Asserts that a tensor holds the expected values within a tolerance.
///
/// # Panics
/// It does not.
#[track_caller]
pub fn assert_near<T: Element + Into<f64>>(found: &Tensor<T>, expected: &HostTensor<T>, most: f64) {
    assert_eq!(found.shape(), expected.shape());
    let found = found.to_vec().unwrap();
    let pairs = found.iter().zip(expected.data());
    for (at, (&found, &expected)) in pairs.enumerate() {
        let (found, expected): (f64, f64) = (found.into(), expected.into());
        assert!(
            (found - expected).abs() <= most,
            "element {at} is {found}, not {expected}"
        );
    }
}

pub fn tensors_go_to_the_device_and_back(gpu: &Gpu) -> Result<()> {
    let numbers = integers(1000);
    let mut x = Tensor::from_slice(gpu, &[10, 100], &numbers)?;
    assert_eq!(x.to_vec()?, numbers);
    assert_eq!(x.slice(3..5)?.to_vec()?, numbers[300..500]);
    assert!(x.slice(10..)?.to_vec()?.is_empty());
    let doubled = scale(gpu, &x.slice(7..8)?.reshape(&[100])?, 2.0)?;
    assert_eq!(doubled.to_vec()?[5], 2.0 * numbers[705]);
    x.copy_from_slice(&vec![3.0; 1000])?;
    assert_eq!(x.to_vec()?, [3.0; 1000]);
    assert_eq!(Tensor::<i8>::zeros(gpu, &[13])?.to_vec()?, [0; 13]);
    assert!(scale(gpu, &Tensor::zeros(gpu, &[0])?, 2.0)?.to_vec()?.is_empty());
    Ok(())
}

pub fn operators_agree_with_their_references(gpu: &Gpu) -> Result<()> {
    for (rows, columns, terms) in [(33, 48, 64), (1, 7, 13), (65, 96, 128)] {
        let mut random = Random(2);
        let x = random.f16(&[rows, terms]);
        let (w, b) = (random.f16(&[columns, terms]), random.f16(&[columns]));
        let on = |host: &HostTensor<f16>| Tensor::from_host(gpu, host);
        let y = linear_gelu(gpu, &on(&x)?, &on(&w)?, &on(&b)?)?;
        assert_near(&y, &linear_gelu::reference(&x, &w, &b)?, 0.02);
    }
    let x = Random(3).f32(&[7, 300]);
    softmax::prepare(gpu, &Sizes::from([("R", 7), ("C", 300)]))?;
    let mut y = Tensor::zeros(gpu, &[7, 300])?;
    softmax::into(gpu, &Tensor::from_host(gpu, &x)?, &mut y)?;
    assert_near(&y, &softmax::reference(&x)?, 1e-6);
    Ok(())
}

pub fn large_products_can_be_loaded(gpu: &Gpu) -> Result<()> {
    for size in [512, 2048, 4096] {
        linear_gelu::prepare(gpu, &Sizes::from([("M", size), ("N", size), ("K", size)]))?;
    }
    Ok(())
}

pub fn bad_indices_are_told_at_the_next_synchronisation(gpu: &Gpu) -> Result<()> {
    let table = Random(4).f32(&[10, 8]);
    let ids = HostTensor::new(&[3], vec![1, 9, 4])?;
    let on = Tensor::from_host(gpu, &table)?;
    gpu.check_indices(true);
    let y = embed(gpu, &on, &Tensor::from_host(gpu, &ids)?)?;
    assert_near(&y, &embed::reference(&table, &ids)?, 0.0);
    gpu.synchronize()?;
    let y = embed(gpu, &on, &Tensor::from_slice(gpu, &[2], &[77, -1])?)?;
    let operator = "embed".to_owned();
    assert_eq!(gpu.synchronize(), Err(Error::IndexOutOfRange { operator }));
    assert_eq!(y.to_vec()?, [0.0; 16]);
    gpu.synchronize()
}

pub fn calls_follow_each_other_without_synchronisation(gpu: &Gpu) -> Result<()> {
    let numbers = integers(500);
    let mut x = Tensor::from_slice(gpu, &[500], &numbers)?;
    for _ in 0..6 {
        // The stream frees the old tensor behind the kernel that reads it.
        x = scale(gpu, &x, -2.0)?;
    }
    let expected: Vec<f32> = numbers.iter().map(|number| number * 64.0).collect();
    assert_eq!(x.to_vec()?, expected);
    Ok(())
}

pub fn streams_wait_for_each_others_tensors(gpu: &Gpu) -> Result<()> {
    let context = gpu.stream().unwrap().context();
    let numbers = integers(400);
    let streams = [
        context.new_stream(),
        Ok(context.default_stream()),
        Ok(context.per_thread_stream()),
    ];
    for stream in streams.map(|stream| stream.unwrap()) {
        let other = Gpu::from_stream(stream)?;
        let a = Tensor::from_slice(&other, &[400], &numbers)?;
        let b = scale(&other, &a, 3.0)?;
        let c = scale(gpu, &b, 2.0)?;
        let mut d = scale(&other, &c, -0.5)?;
        // Both streams still read them.
        drop((b, c));
        let expected: Vec<f32> = numbers.iter().map(|number| number * -3.0).collect();
        assert_eq!(d.to_vec()?, expected);
        // One stream writes a tensor that the other is about to read.
        let (mine, yours) = (scale(gpu, &a, 5.0)?, scale(&other, &a, 7.0)?);
        add::into(gpu, &mine, &yours, &mut d)?;
        let e = scale(&other, &d, 1.0)?;
        scale::into(gpu, &a, 0.0, &mut d)?;
        drop(d);
        let expected: Vec<f32> = numbers.iter().map(|number| number * 12.0).collect();
        assert_eq!(e.to_vec()?, expected);
    }
    Ok(())
}

pub fn slices_go_to_cudarc_and_back(gpu: &Gpu) -> Result<()> {
    let numbers = integers(400);
    let context = gpu.stream().unwrap().context();
    let stream = context.new_stream().unwrap();
    let slice = stream.clone_htod(&numbers).unwrap();
    let x = Tensor::from_cuda(slice, &[20, 20])?;
    let row = x.slice(3..4)?.reshape(&[20])?;
    let doubled = scale(gpu, &row, 2.0)?;
    // Its memory is shared with the row.
    let x = x.into_cuda().unwrap_err().tensor;
    drop(row);
    let slice = x.into_cuda().unwrap();
    // Waits for the kernel on the other stream that read a row.
    stream.memset_zeros(&mut { slice }).unwrap();
    let expected: Vec<f32> = numbers[60..80].iter().map(|number| number * 2.0).collect();
    assert_eq!(doubled.to_vec()?, expected);
    // A tensor of our own becomes a slice, which a third stream uses.
    let slice = doubled.into_cuda().unwrap();
    let third = context.new_stream().unwrap();
    assert_eq!(third.clone_dtoh(&slice).unwrap(), expected);
    Ok(())
}

pub fn threads_share_a_gpu(gpu: &Gpu) -> Result<()> {
    let numbers = integers(256);
    std::thread::scope(|scope| {
        for thread in 1..5 {
            let (gpu, numbers) = (gpu.clone(), &numbers);
            scope.spawn(move || {
                // Every other thread has a stream of its own.
                let gpu = if thread % 2 == 0 { Gpu::open().unwrap() } else { gpu };
                for round in 0..4 {
                    let x = Tensor::from_slice(&gpu, &[256], numbers).unwrap();
                    let by = (4 * thread + round) as f32;
                    let y = scale(&gpu, &x, by).unwrap();
                    let expected: Vec<f32> = numbers.iter().map(|number| number * by).collect();
                    assert_eq!(y.to_vec().unwrap(), expected);
                }
            });
        }
    });
    Ok(())
}

/// The matrices of [`layers`], with a first row that the seed determines. All sums are exact.
fn layers_of(rows: usize, seed: usize) -> [HostTensor<f32>; 3] {
    let matrix = |rows: usize, columns: usize, seed: usize| {
        let numbers = integers(rows * columns + seed)[seed..].to_vec();
        HostTensor::new(&[rows, columns], numbers).unwrap()
    };
    [matrix(rows, 32, seed), matrix(48, 32, 0), matrix(40, 48, 3)]
}

fn layers_sizes(rows: usize) -> Sizes {
    Sizes::from([("M", rows as u64), ("K", 32), ("J", 48), ("N", 40)])
}

pub fn threads_share_the_workspace_of_stages(gpu: &Gpu) -> Result<()> {
    let plan = layers::prepare(gpu, &layers_sizes(33))?;
    assert!(plan.launches().len() == 2 && plan.workspace() >= 33 * 48 * 4, "{plan}");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                let [x, v, w] = layers_of(33, thread);
                let expected = layers::reference(&x, &v, &w).unwrap();
                let tensor = |host: &HostTensor<f32>| Tensor::from_slice(gpu, host.shape(), host.data()).unwrap();
                let (x, v, w) = (tensor(&x), tensor(&v), tensor(&w));
                for _ in 0..6 {
                    let y = layers(gpu, &x, &v, &w).unwrap();
                    assert_eq!(y.to_vec().unwrap(), expected.data());
                }
            });
        }
    });
    Ok(())
}

pub fn a_tensor_may_be_made_in_one_thread_and_dropped_in_another(gpu: &Gpu) -> Result<()> {
    let (send, receive) = mpsc::channel::<Tensor<f32>>();
    let reader = std::thread::spawn(move || receive.iter().map(|y| y.to_vec().unwrap()[1]).collect::<Vec<_>>());
    for by in 1..4 {
        let x = Tensor::from_slice(gpu, &[2], &[0.0, 10.0])?;
        send.send(scale(gpu, &x, by as f32)?).unwrap();
    }
    drop(send);
    assert_eq!(reader.join().unwrap(), [10.0, 20.0, 30.0]);
    Ok(())
}

pub fn launches_are_recorded_in_graphs(gpu: &Gpu) -> Result<()> {
    let numbers = integers(64);
    let x = Tensor::from_slice(gpu, &[64], &numbers)?;
    let (mut y, mut z) = (Tensor::zeros(gpu, &[64])?, Tensor::zeros(gpu, &[64])?);
    scale::prepare(gpu, &Sizes::from([("N", 64)]))?;
    add::prepare(gpu, &Sizes::from([("N", 64)]))?;
    let graph = gpu.record(|| {
        scale::into(gpu, &x, 5.0, &mut y)?;
        add::into(gpu, &y, &x, &mut z)
    })?;
    // Recording does nothing yet.
    assert_eq!(z.to_vec()?, [0.0; 64]);
    let (seconds, ()) = gpu.time(|| graph.launch())?;
    assert!((1e-7..0.1).contains(&seconds), "{seconds}");
    let expected: Vec<f32> = numbers.iter().map(|number| number * 6.0).collect();
    assert_eq!(z.to_vec()?, expected);
    z.copy_from_slice(&[0.0; 64])?;
    graph.launch()?;
    drop(graph);
    assert_eq!(z.to_vec()?, expected);
    Ok(())
}

pub fn a_graph_of_stages_keeps_the_workspace_it_was_recorded_with(gpu: &Gpu) -> Result<()> {
    let [x, v, w] = layers_of(17, 1);
    let expected = layers::reference(&x, &v, &w)?;
    let tensor = |host: &HostTensor<f32>| Tensor::from_slice(gpu, host.shape(), host.data());
    let (x, v, w) = (tensor(&x)?, tensor(&v)?, tensor(&w)?);
    let mut y = Tensor::zeros(gpu, &[17, 40])?;
    layers::prepare(gpu, &layers_sizes(17))?;
    let graph = gpu.record(|| layers::into(gpu, &x, &v, &w, &mut y))?;
    graph.launch()?;
    assert_eq!(y.to_vec()?, expected.data());
    // A larger call gets more workspace, and the graph still has its own.
    let [more, _, _] = layers_of(2000, 0);
    let most = layers(gpu, &tensor(&more)?, &v, &w)?;
    y.copy_from_slice(&[0.0; 17 * 40])?;
    graph.launch()?;
    let after = layers(gpu, &x, &v, &w)?;
    assert_eq!(y.to_vec()?, expected.data());
    assert_eq!(after.to_vec()?, expected.data());
    drop(most);
    // What was not prepared cannot get more while it is captured.
    let (wide, mut out) = (Tensor::zeros(gpu, &[5000, 32])?, Tensor::zeros(gpu, &[5000, 40])?);
    let refused = gpu.record(|| layers::into(gpu, &wide, &v, &w, &mut out));
    assert!(
        matches!(refused, Err(energy_kernel::Error::Unprepared { .. })),
        "{:?}",
        refused.err()
    );
    Ok(())
}

pub fn graphs_of_stages_may_have_workspaces_of_their_own(gpu: &Gpu) -> Result<()> {
    let [x, v, w] = layers_of(17, 1);
    let expected = layers::reference(&x, &v, &w)?;
    let tensor = |host: &HostTensor<f32>| Tensor::from_slice(gpu, host.shape(), host.data());
    let (x, v, w) = (tensor(&x)?, tensor(&v)?, tensor(&w)?);
    let bytes = layers::workspace(gpu, &layers_sizes(17))? as usize;
    let mut graphs = Vec::new();
    for _ in 0..2 {
        let mut y = Tensor::zeros(gpu, &[17, 40])?;
        gpu.set_workspace(Some(Tensor::<u8>::zeros(gpu, &[bytes])?))?;
        layers::prepare(gpu, &layers_sizes(17))?;
        let graph = gpu.record(|| layers::into(gpu, &x, &v, &w, &mut y))?;
        graphs.push((graph, y));
    }
    gpu.set_workspace(None)?;
    // The caller's memory lives as long as the graph that uses it.
    for (graph, y) in &graphs {
        graph.launch()?;
        assert_eq!(y.to_vec()?, expected.data());
    }
    Ok(())
}

/// Nobody tells when a graph of the caller ends, so the workspace that it uses is not freed when it is outgrown.
pub fn a_captured_call_of_stages_keeps_its_workspace(gpu: &Gpu) -> Result<()> {
    use cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};
    let stream = gpu.stream().unwrap();
    let [x, v, w] = layers_of(17, 1);
    let expected = layers::reference(&x, &v, &w)?;
    let tensor = |host: &HostTensor<f32>| Tensor::from_slice(gpu, host.shape(), host.data());
    let (x, v, w) = (tensor(&x)?, tensor(&v)?, tensor(&w)?);
    let mut y = Tensor::zeros(gpu, &[17, 40])?;
    layers::prepare(gpu, &layers_sizes(17))?;
    let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
    stream.begin_capture(mode).unwrap();
    layers::into(gpu, &x, &v, &w, &mut y)?;
    let graph = stream.end_capture(CUgraphInstantiate_flags(0)).unwrap().unwrap();
    let [more, _, _] = layers_of(3000, 0);
    drop(layers(gpu, &tensor(&more)?, &v, &w)?);
    graph.launch().unwrap();
    assert_eq!(y.to_vec()?, expected.data());
    Ok(())
}

pub fn a_caller_captures_calls_on_streams_of_its_own(gpu: &Gpu) -> Result<()> {
    use cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode::*};
    let stream = gpu.stream().unwrap();
    let other = Gpu::from_stream(stream.context().new_stream().unwrap())?;
    let numbers = integers(64);
    let x = Tensor::from_slice(gpu, &[64], &numbers)?;
    let (mut y, mut z) = (Tensor::zeros(gpu, &[64])?, Tensor::zeros(gpu, &[64])?);
    let mut theirs = Tensor::zeros(&other, &[64])?;
    for gpu in [gpu, &other] {
        scale::prepare(gpu, &Sizes::from([("N", 64)]))?;
        add::prepare(gpu, &Sizes::from([("N", 64)]))?;
    }
    // A launch of the graph on one stream does not wait for earlier work of the other.
    other.synchronize()?;
    for mode in [
        CU_STREAM_CAPTURE_MODE_GLOBAL,
        CU_STREAM_CAPTURE_MODE_THREAD_LOCAL,
        CU_STREAM_CAPTURE_MODE_RELAXED,
    ] {
        stream.begin_capture(mode).unwrap();
        scale::into(gpu, &x, 2.0, &mut y)?;
        // The caller's other stream joins in, and its work is waited for.
        other.stream().unwrap().join(stream).unwrap();
        scale::into(&other, &y, 3.0, &mut theirs)?;
        stream.join(other.stream().unwrap()).unwrap();
        add::into(gpu, &y, &theirs, &mut z)?;
        let graph = stream.end_capture(CUgraphInstantiate_flags(0)).unwrap().unwrap();
        z.copy_from_slice(&[0.0; 64])?;
        graph.launch().unwrap();
        let expected: Vec<f32> = numbers.iter().map(|number| number * 8.0).collect();
        assert_eq!(z.to_vec()?, expected);
    }
    Ok(())
}

pub fn tensors_of_another_stream_do_no_harm_to_a_capture(gpu: &Gpu) -> Result<()> {
    let other = Gpu::open()?;
    let (x, foreign) = (
        Tensor::from_slice(gpu, &[8], &[1.0; 8])?,
        Tensor::from_slice(&other, &[8], &[2.0; 8])?,
    );
    let mut y = Tensor::zeros(gpu, &[8])?;
    add::prepare(gpu, &Sizes::from([("N", 8)]))?;
    let mut told = None;
    let graph = gpu.record(|| {
        told = add::into(gpu, &x, &foreign, &mut y).err();
        add::into(gpu, &x, &x, &mut y)
    })?;
    // Not a bare code of the driver, and the capture goes on.
    let told = told.expect("the tensor belongs to another stream").to_string();
    assert!(told.contains("captur") && !told.contains("905"), "{told}");
    graph.launch()?;
    assert_eq!(y.to_vec()?, [2.0; 8]);
    Ok(())
}

pub fn what_is_dropped_during_a_capture_does_it_no_harm(gpu: &Gpu) -> Result<()> {
    let x = Tensor::from_slice(gpu, &[8], &[1.0; 8])?;
    let mut y = Tensor::zeros(gpu, &[8])?;
    scale::prepare(gpu, &Sizes::from([("N", 8)]))?;
    let other = Gpu::open()?;
    let mine = Tensor::from_slice(gpu, &[8], &[5.0; 8])?;
    let theirs = scale(&other, &Tensor::from_slice(&other, &[8], &[5.0; 8])?, 2.0)?;
    let graph = gpu.record(|| {
        drop((mine, theirs, other));
        scale::into(gpu, &x, 3.0, &mut y)
    })?;
    graph.launch()?;
    assert_eq!(y.to_vec()?, [3.0; 8]);
    Ok(())
}

pub fn tools_load_time_and_launch_kernels_of_their_choice(gpu: &Gpu) -> Result<()> {
    let variant = scale::KERNEL.variant(&[])?;
    let specialisation = Specialisation::exact(&[128]);
    let machine = gpu.machine();
    let x = Tensor::from_slice(gpu, &[128], &integers(128))?;
    let expected: Vec<f32> = integers(128).iter().map(|number| number * 2.0).collect();
    let space = schedule::space(&Problem::new(variant.checked(), &specialisation, machine));
    assert!(space.len() > 4);
    for schedule in space.iter().step_by(space.len() / 4) {
        let kernel = lower(&Problem::new(variant.checked(), &specialisation, machine), schedule).unwrap();
        let loaded = gpu.compile(&kernel)?;
        let resources = loaded.resources()?.unwrap();
        assert!(
            (1..=255).contains(&resources.registers) && resources.local_bytes == 0,
            "{resources:?}"
        );
        let y = Tensor::<f32>::zeros(gpu, &[128])?;
        let (inputs, outputs) = ([Argument::tensor(&x), Argument::scalar(2.0f32)], [View::from(&y)]);
        // SAFETY: lowered above from this operator and specialisation; both tensors have 128 elements.
        let prepared = unsafe { loaded.prepare(variant.checked(), &[128], &inputs, &outputs) }?;
        let start = gpu.mark()?;
        prepared.launch()?;
        assert!(gpu.mark()?.seconds_since(&start)? > 0.0);
        assert_eq!(y.to_vec()?, expected);
    }
    Ok(())
}

pub fn a_region_has_joules(gpu: &Gpu) -> Result<()> {
    let mut x = Tensor::from_slice(gpu, &[1 << 12], &integers(1 << 12))?;
    let (energy, calls) = gpu.energy(|| {
        let begun = Instant::now();
        let mut calls = 0;
        while begun.elapsed() < Duration::from_millis(500) {
            x = scale(gpu, &x, -1.0)?;
            gpu.synchronize()?;
            calls += 1;
        }
        Ok(calls)
    })?;
    assert!(calls > 0 && energy.seconds > 0.0 && !energy.simulated, "{energy:?}");
    // Boards draw from ten watts to two kilowatts.
    let watts = energy.joules / energy.seconds;
    assert!(
        (10.0..2000.0).contains(&watts) && energy.uncertainty < energy.joules,
        "{energy:?}"
    );
    Ok(())
}
