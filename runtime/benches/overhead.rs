//! The time that a call adds to a raw launch, and the time of a macro expansion. Needs no GPU: launches go to a driver that does nothing
//! (`null_driver.c`), so only this crate's own time remains.

use criterion::{Criterion, criterion_group, criterion_main};
use cudarc::driver::sys;
use energy_kernel::prelude::*;
use energy_kernel_compiler::lang::{Environment, expand};
use std::hint::black_box;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

#[energy_kernel]
fn linear_gelu(x: Tensor<f32, (M, K)>, w: Tensor<f32, (N, K)>, b: Tensor<f32, (N,)>) -> Tensor<f32, (M, N)> {
    |m, n| gelu(sum(|k| x[[m, k]] * w[[n, k]]) + b[[n]])
}

/// Starts this program again with the null driver on its library path, which a process reads when it starts.
fn with_null_driver() -> bool {
    const STARTED: &str = "ENERGY_KERNEL_BENCH_STARTED";
    if std::env::var_os(STARTED).is_some() {
        return true;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/null_driver.c");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-w", "-O2", "-o"])
        .args([folder.join("libcuda.so"), source])
        .status();
    if !compiled.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: there is no C compiler to make a driver with");
        return false;
    }
    let Ok(program) = std::env::current_exe() else {
        return false;
    };
    let error = Command::new(program)
        .args(std::env::args_os().skip(1))
        .env("LD_LIBRARY_PATH", folder)
        .env(STARTED, "1")
        .exec();
    eprintln!("SKIPPED: {error}");
    false
}

fn launches(criterion: &mut Criterion) {
    if !with_null_driver() {
        return;
    }
    let gpu = Gpu::open().expect("the null driver");
    let tensor = |shape: &[usize]| Tensor::<f32>::zeros(&gpu, shape).expect("memory");
    let (x, w, b, mut y) = (tensor(&[16, 64]), tensor(&[32, 64]), tensor(&[32]), tensor(&[16, 32]));
    linear_gelu::prepare(&gpu, &Sizes::from([("M", 16), ("N", 32), ("K", 64)])).expect("a kernel");
    let mut group = criterion.benchmark_group("launch");
    group.bench_function("into", |bencher| {
        bencher.iter(|| linear_gelu::into(&gpu, &x, &w, &b, black_box(&mut y)));
    });
    let stream = gpu.stream().expect("a real device").cu_stream();
    group.bench_function("raw", |bencher| {
        bencher.iter(|| {
            let mut values = [1u64; 7];
            let mut pointers = values.each_mut().map(|value| std::ptr::from_mut(value).cast());
            // SAFETY: the null driver ignores its arguments.
            unsafe {
                sys::cuLaunchKernel(
                    std::ptr::dangling_mut(),
                    1,
                    1,
                    1,
                    32,
                    1,
                    1,
                    0,
                    stream,
                    black_box(pointers.as_mut_ptr()),
                    std::ptr::null_mut(),
                )
            }
        });
    });
    group.finish();
}

fn expansion(criterion: &mut Criterion) {
    let attribute: proc_macro2::TokenStream = "tune(M = [1, 16, 256], N = 1536, K = 384)".parse().expect("tokens");
    let item: proc_macro2::TokenStream =
        "pub fn linear_gelu(x: Tensor<f16, (M, K)>, w: Tensor<f16, (N, K)>, b: Tensor<f16, (N,)>) -> Tensor<f16, (M, N)> {
            |m, n| gelu(sum(|k| x[[m, k]] * w[[n, k]]) + b[[n]])
        }"
        .parse()
        .expect("tokens");
    let environment = Environment {
        package: "bench",
        bundle: &|_| None,
        overlooked: &|_| None,
    };
    criterion.bench_function("expand", |bencher| {
        bencher.iter(|| expand(attribute.clone(), item.clone(), &environment));
    });
}

criterion_group!(benches, launches, expansion);
criterion_main!(benches);
