//! Annotated operators end to end on the emulated device, compared with values computed here.

use energy_kernel::prelude::*;
use energy_kernel::simulate::Emulation;
use energy_kernel::{Element, Origin};

/// z = x · factor + y
#[energy_kernel]
pub fn scale_add(x: Tensor<f32, (M, N)>, y: Tensor<f32, (M, N)>, factor: f32) -> Tensor<f32, (M, N)> {
    |m, n| x[[m, n]] * factor + y[[m, n]]
}

/// The softmax of each row.
#[energy_kernel]
pub fn row_softmax(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R, C)> {
    let peak = |r| max(|c| x[[r, c]]);
    let total = |r| sum(|c| exp(x[[r, c]] - peak[[r]]));
    |r, c| exp(x[[r, c]] - peak[[r]]) / total[[r]]
}

/// y = x · wᵀ + b
#[energy_kernel(types(T = [f16, bf16]))]
pub fn linear<T>(x: Tensor<T, (M, K)>, w: Tensor<T, (N, K)>, b: Tensor<T, (N,)>) -> Tensor<T, (M, N)> {
    |m, n| sum(|k| x[[m, k]] * w[[n, k]]) + b[[n]]
}

#[energy_kernel(module = extremes_of)]
fn extremes(x: Tensor<f32, (R, C)>) -> (Tensor<f32, (R,)>, Tensor<i32, (R,)>) {
    (|r| max(|c| x[[r, c]]), |r| argmax(|c| x[[r, c]]))
}

#[energy_kernel]
fn gather(table: Tensor<f32, (V, D)>, ids: Tensor<i32, (T,)>) -> Tensor<f32, (T, D)> {
    |t, d| table[[ids[[t]], d]]
}

/// Parameters with the names of generated items.
#[energy_kernel]
fn names(gpu: Tensor<f32, (N,)>, out: Tensor<f32, (N,)>, inputs: f32, call: bool) -> Tensor<f32, (N,)> {
    |n| if call { gpu[[n]] * inputs } else { out[[n]] }
}

/// Names that generated code might use have another meaning here.
mod shadowed {
    #![allow(dead_code, non_camel_case_types, non_snake_case)]
    pub struct Result;
    pub struct Option;
    pub struct Tensor;
    pub struct Gpu;
    pub struct Error;
    pub struct Sizes;
    pub struct Kernel;
    pub struct f16;
    pub struct f32;
    pub struct bool;
    pub mod core {}
    pub mod std {}
    pub mod energy_kernel {}
    pub fn Ok() {}
    pub fn Some() {}
    pub fn None() {}

    #[::energy_kernel::prelude::energy_kernel]
    pub(super) fn twice(x: Tensor<f16, (N,)>, twice: bool) -> Tensor<f16, (N,)> {
        |n| if twice { x[[n]] * 2.0 } else { x[[n]] }
    }
}

#[test]
fn names_in_scope_change_nothing() {
    let gpu = Gpu::emulated();
    let values = [1.5, -2.0, 0.25].map(f16::from_f32);
    let x = Tensor::from_slice(&gpu, &[3], &values).unwrap();
    let y = shadowed::twice(&gpu, &x, true).unwrap();
    assert_eq!(y.to_vec().unwrap(), [3.0, -4.0, 0.5].map(f16::from_f32));
    let y = shadowed::twice::reference(&x.to_host().unwrap(), false).unwrap();
    assert_eq!(y.data(), values);
}

/// Only the user's names are in scope, and parameters have the names of generated items.
#[no_implicit_prelude]
mod without_a_prelude {
    #![allow(non_snake_case, clippy::too_many_arguments)]
    use ::energy_kernel::prelude::energy_kernel;

    #[energy_kernel(types(T = [f16, f32]))]
    pub fn scaled<T>(
        KERNEL: Tensor<T, (N, M)>,
        gpu: Tensor<f32, (M,)>,
        out: f32,
        Sizes: i32,
        Error: bool,
        inputs: Tensor<f64, (M,)>,
        call: Tensor<i64, ()>,
        functions: u8,
        into: i8,
        plan: f32,
    ) -> (Tensor<T, (N, M)>, Tensor<f64, (M,)>) {
        (
            |n, m| {
                if Error {
                    KERNEL[[n, m]] * gpu[[m]] * out
                } else {
                    plan * Sizes as f32
                }
            },
            |m| inputs[[m]] + call[[]] + functions + into,
        )
    }

    #[energy_kernel]
    pub fn KERNEL(reference: Tensor<f32, (T,)>, prepare: i32) -> Tensor<f32, (T,)> {
        |t| reference[[t]] + prepare as f32
    }
}

#[test]
fn parameters_may_have_any_name() {
    use without_a_prelude::{KERNEL, scaled};
    let gpu = Gpu::emulated();
    let x = Tensor::from_slice(&gpu, &[2, 2], &[1.0f32, 2.0, 3.0, 4.0]).unwrap();
    let y = Tensor::from_slice(&gpu, &[2], &[2.0f32, 3.0]).unwrap();
    let z = Tensor::from_slice(&gpu, &[2], &[0.5f64, 1.5]).unwrap();
    let one = Tensor::from_slice(&gpu, &[], &[1i64]).unwrap();
    let (a, b) = scaled(&gpu, &x, &y, 0.5, 7, true, &z, &one, 2, -1, 0.0).unwrap();
    assert_eq!(a.to_vec().unwrap(), [1.0, 3.0, 3.0, 6.0]);
    assert_eq!(b.to_vec().unwrap(), [2.5, 3.5]);
    let (mut c, mut d) = (
        Tensor::<f32>::zeros(&gpu, &[2, 2]).unwrap(),
        Tensor::zeros(&gpu, &[2]).unwrap(),
    );
    scaled::into(&gpu, &x, &y, 0.5, 7, false, &z, &one, 2, -1, 0.5, &mut c, &mut d).unwrap();
    assert_eq!(c.to_vec().unwrap(), [3.5; 4]);
    assert_eq!(KERNEL(&gpu, &y, 1).unwrap().to_vec().unwrap(), [3.0, 4.0]);
    let host = KERNEL::reference(&y.to_host().unwrap(), 2).unwrap();
    assert_eq!(host.data(), [4.0, 5.0]);
    assert_eq!(KERNEL::KERNEL.name(), "KERNEL");
}

/// The remedy in the error for a scalar in an index.
#[energy_kernel]
fn turned(angle: Tensor<f32, (P, D)>, x: Tensor<f32, (T, D)>, offset: Tensor<i32, ()>) -> Tensor<f32, (T, D)> {
    |t, d| x[[t, d]] * angle[[t + offset[[]], d]]
}

/// The other remedies: an index kept in range, or a value outside.
#[energy_kernel]
fn kept_in_range(x: Tensor<f32, (T,)>, by: i32) -> (Tensor<f32, (T,)>, Tensor<f32, (T,)>, Tensor<f32, (T,)>) {
    (
        |t| x[[min(max(t + by, 0), T - 1)]],
        |t| x.or(-1.0)[[t + by]],
        |t| if by >= 0 && by < T { x[[by]] } else { x[[t]] - 8.0 },
    )
}

#[test]
fn scalars_in_indices_have_remedies() {
    let gpu = Gpu::emulated();
    let angle = tensor(&gpu, &[10, 3]);
    let ones = Tensor::from_slice(&gpu, &[4, 3], &[1.0f32; 12]).unwrap();
    for offset in [0, 6, 8, -1] {
        let by = Tensor::from_slice(&gpu, &[], &[offset]).unwrap();
        let y = turned(&gpu, &angle, &ones, &by).unwrap().to_vec().unwrap();
        for (at, y) in y.into_iter().enumerate() {
            let row = at as i32 / 3 + offset;
            let expected = if (0..10).contains(&row) {
                numbers(30)[row as usize * 3 + at % 3]
            } else {
                0.0
            };
            assert_eq!(y, expected, "{offset}");
        }
    }
    let x = tensor(&gpu, &[4]);
    let values = numbers(4);
    for by in [0, 1, -3, 100, i32::MIN, i32::MAX] {
        let (a, b, c) = kept_in_range(&gpu, &x, by).unwrap();
        let (a, b, c) = (a.to_vec().unwrap(), b.to_vec().unwrap(), c.to_vec().unwrap());
        for t in 0..4i32 {
            // A value that meets an `i32` becomes one and wraps. An index does not.
            let wrapped = t.wrapping_add(by);
            let inside = |at: i64| usize::try_from(at).ok().and_then(|at| values.get(at).copied());
            assert_eq!(a[t as usize], values[wrapped.clamp(0, 3) as usize], "{by}");
            assert_eq!(
                b[t as usize],
                inside(i64::from(t) + i64::from(by)).unwrap_or(-1.0),
                "{by}"
            );
            assert_eq!(
                c[t as usize],
                inside(by.into()).unwrap_or(values[t as usize] - 8.0),
                "{by}"
            );
        }
    }
}

/// Computes every value of `hidden` again for each `n`.
#[energy_kernel]
fn recomputed(x: Tensor<f32, (M, K)>, v: Tensor<f32, (H, K)>, w: Tensor<f32, (N, H)>) -> Tensor<f32, (M, N)> {
    let hidden = |m, h| relu(sum(|k| x[[m, k]] * v[[h, k]]));
    |m, n| sum(|h| hidden[[m, h]] * w[[n, h]])
}

#[test]
fn a_plan_reports_repeated_work() {
    let gpu = Gpu::emulated();
    // With workspace the hidden layer is stored, and nothing is repeated.
    let sizes = Sizes::from([("M", 8), ("K", 64), ("H", 256), ("N", 32)]);
    assert!(recomputed::plan(&gpu, &sizes).unwrap().repeated().is_none());
    gpu.set_workspace_limit(0);
    let plan = recomputed::plan(&gpu, &sizes).unwrap();
    let repeated = plan.repeated().unwrap();
    assert_eq!((repeated.name.as_deref(), repeated.times), (Some("hidden"), 32.0));
    let told = plan.to_string();
    assert!(
        told.contains("each value of `hidden` is computed 32 times, once for each `n`: 22 times the necessary work"),
        "{told}"
    );
    assert!(told.contains("write two operators"), "{told}");
    assert!(told.starts_with("recomputed(f32, f32, f32) -> f32 at "), "{told}");
    let once = sizes.with("N", 1);
    assert!(recomputed::plan(&gpu, &once).unwrap().repeated().is_none());
    let softmax = row_softmax::plan(&gpu, &Sizes::from([("R", 100), ("C", 512)])).unwrap();
    assert!(softmax.repeated().is_none() && !softmax.to_string().contains("repeated"));
}

#[test]
fn a_plan_names_a_kernel_far_from_its_roofline() {
    let gpu = Gpu::emulated();
    let sizes = Sizes::from([("M", 256), ("K", 512), ("H", 1024), ("N", 256)]);
    assert!(recomputed::plan(&gpu, &sizes).unwrap().slow().is_none());
    gpu.set_workspace_limit(0);
    let plan = recomputed::plan(&gpu, &sizes).unwrap();
    let slow = plan.slow().unwrap();
    assert!(slow.factor() > 4.0 && slow.seconds > slow.roofline.seconds, "{slow:?}");
    let told = plan.to_string();
    let line = told.lines().find(|line| line.starts_with("  slow: ")).unwrap();
    assert!(line.contains(" times its roofline by the estimate ("), "{told}");
    assert!(told.contains("repeated work: "), "{told}");
    let near = row_softmax::plan(&gpu, &Sizes::from([("R", 4096), ("C", 512)])).unwrap();
    assert!(near.slow().is_none() && !near.to_string().contains("slow: "), "{near}");
}

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 37 + 11) % 64) as f32 / 16.0 - 2.0).collect()
}

fn tensor(gpu: &Gpu, shape: &[usize]) -> Tensor<f32> {
    Tensor::from_slice(gpu, shape, &numbers(shape.iter().product())).unwrap()
}

#[test]
fn pointwise_with_a_scalar() {
    let gpu = Gpu::emulated();
    for shape in [[3, 5], [16, 64], [1, 1]] {
        let (x, y) = (tensor(&gpu, &shape), tensor(&gpu, &shape));
        let z = scale_add(&gpu, &x, &y, 3.0).unwrap();
        assert_eq!(z.shape(), shape);
        let expected: Vec<f32> = numbers(shape[0] * shape[1]).iter().map(|v| v * 3.0 + v).collect();
        assert_eq!(z.to_vec().unwrap(), expected);
    }
}

#[test]
fn softmax_rows_sum_to_one() {
    let gpu = Gpu::emulated();
    let x = tensor(&gpu, &[5, 300]);
    let y = row_softmax(&gpu, &x).unwrap().to_vec().unwrap();
    let x = x.to_vec().unwrap();
    for (x, y) in x.chunks(300).zip(y.chunks(300)) {
        let peak = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let total: f64 = x.iter().map(|&v| f64::from(v - peak).exp()).sum();
        for (&x, &y) in x.iter().zip(y) {
            let expected = f64::from(x - peak).exp() / total;
            assert!((f64::from(y) - expected).abs() <= 1e-6 * expected, "{y} for {expected}");
        }
    }
}

fn linear_of<T: Element + linear::T>(convert: impl Fn(f32) -> T, tolerance: f64) {
    let gpu = Gpu::emulated();
    let (m, n, k) = (5, 24, 40);
    let small = |count| numbers(count).iter().map(|&v| convert(v)).collect::<Vec<T>>();
    let (x, w, b) = (small(m * k), small(n * k), small(n));
    let device = |shape: &[usize], values: &[T]| Tensor::from_slice(&gpu, shape, values).unwrap();
    let y = linear(&gpu, &device(&[m, k], &x), &device(&[n, k], &w), &device(&[n], &b)).unwrap();
    assert_eq!(y.shape(), [m, n]);
    for (at, y) in y.to_vec().unwrap().into_iter().enumerate() {
        let (row, column) = (at / n, at % n);
        let product = (0..k)
            .map(|i| x[row * k + i].to_f64() * w[column * k + i].to_f64())
            .sum::<f64>();
        let expected = product + b[column].to_f64();
        assert!(
            (y.to_f64() - expected).abs() <= tolerance * expected.abs().max(1.0),
            "{y:?} for {expected}"
        );
    }
}

#[test]
fn one_operator_for_two_element_types() {
    linear_of(f16::from_f32, 1e-3);
    linear_of(bf16::from_f32, 8e-3);
    assert_eq!(linear::KERNEL.types().count(), 2);
}

#[test]
fn several_results() {
    let gpu = Gpu::emulated();
    let x = Tensor::from_slice(&gpu, &[2, 3], &[1.0f32, 7.0, 7.0, -1.0, -3.0, -2.0]).unwrap();
    let (value, place) = extremes(&gpu, &x).unwrap();
    assert_eq!(value.to_vec().unwrap(), [7.0, -1.0]);
    assert_eq!(place.to_vec().unwrap(), [1, 0]);
    let (mut value, mut place) = (Tensor::zeros(&gpu, &[2]).unwrap(), Tensor::zeros(&gpu, &[2]).unwrap());
    extremes_of::into(&gpu, &x, &mut value, &mut place).unwrap();
    assert_eq!(value.to_vec().unwrap(), [7.0, -1.0]);
    assert_eq!(place.to_vec().unwrap(), [1, 0]);
}

#[test]
fn names_of_parameters_do_not_matter() {
    let gpu = Gpu::emulated();
    let (a, b) = (tensor(&gpu, &[9]), tensor(&gpu, &[9]));
    let doubled: Vec<f32> = numbers(9).iter().map(|v| v * 2.0).collect();
    assert_eq!(names(&gpu, &a, &b, 2.0, true).unwrap().to_vec().unwrap(), doubled);
    assert_eq!(names(&gpu, &a, &b, 2.0, false).unwrap().to_vec().unwrap(), numbers(9));
}

#[test]
fn gathered_indices_out_of_range_are_reported_on_demand() {
    let gpu = Gpu::emulated();
    let table = tensor(&gpu, &[4, 3]);
    let ids = Tensor::from_slice(&gpu, &[3], &[3, 0, 4]).unwrap();
    let read = gather(&gpu, &table, &ids).unwrap().to_vec().unwrap();
    let rows = numbers(12);
    assert_eq!(read[..3], rows[9..]);
    assert_eq!(read[3..6], rows[..3]);
    assert_eq!(read[6..], [0.0; 3]);
    gpu.synchronize().unwrap();
    gpu.check_indices(true);
    gather(&gpu, &table, &ids).unwrap();
    assert_eq!(
        gpu.synchronize(),
        Err(Error::IndexOutOfRange {
            operator: "gather".into()
        })
    );
    gpu.synchronize().unwrap();
    let ids = Tensor::from_slice(&gpu, &[3], &[3, 0, 1]).unwrap();
    gather(&gpu, &table, &ids).unwrap();
    gpu.synchronize().unwrap();
}

#[test]
fn an_empty_result_launches_nothing() {
    let gpu = Gpu::emulated();
    for shape in [[0, 7], [7, 0]] {
        let x = tensor(&gpu, &shape);
        let y = scale_add(&gpu, &x, &x, 1.0).unwrap();
        assert_eq!(y.shape(), shape);
        assert!(y.is_empty() && y.to_vec().unwrap().is_empty());
    }
    // Rows without columns: an empty sum, and no elements to divide.
    assert!(row_softmax(&gpu, &tensor(&gpu, &[3, 0])).unwrap().is_empty());
}

#[test]
fn slices_share_memory_at_any_alignment() {
    let gpu = Gpu::emulated();
    let x = tensor(&gpu, &[7, 5]);
    let part = x.slice(3..5).unwrap();
    assert_eq!(part.to_vec().unwrap(), numbers(35)[15..25]);
    // It starts at 60 bytes, which is not a multiple of 16.
    let y = scale_add(&gpu, &part, &part, 0.0).unwrap();
    assert_eq!(y.to_vec().unwrap(), numbers(35)[15..25]);
    let mut whole = Tensor::<f32>::zeros(&gpu, &[7, 5]).unwrap();
    let mut out = whole.slice(1..3).unwrap();
    scale_add::into(&gpu, &part, &part, 0.0, &mut out).unwrap();
    assert_eq!(whole.to_vec().unwrap()[5..15], numbers(35)[15..25]);
    assert_eq!(whole.to_vec().unwrap()[..5], [0.0; 5]);
    whole.copy_from_slice(&numbers(35)).unwrap();
    assert_eq!(out.to_vec().unwrap(), numbers(35)[5..15]);
}

#[test]
fn wrong_arguments_are_typed_errors() {
    let gpu = Gpu::emulated();
    let x = tensor(&gpu, &[4, 6]);
    let error = scale_add(&gpu, &x, &tensor(&gpu, &[4, 5]), 1.0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`scale_add`: dimension 1 of `y` is 5, but N = 6 in `x`"
    );
    assert!(matches!(
        scale_add(&gpu, &x, &tensor(&gpu, &[24]), 1.0),
        Err(Error::Call { .. })
    ));
    let mut small = tensor(&gpu, &[3, 6]);
    let error = scale_add::into(&gpu, &x, &x, 1.0, &mut small).unwrap_err();
    let expected = Error::OutputShape {
        operator: "scale_add".into(),
        output: 0,
        expected: vec![4, 6],
        found: vec![3, 6],
    };
    assert_eq!(error, expected);
    let mut alias = x.clone();
    let error = scale_add::into(&gpu, &x, &x, 1.0, &mut alias).unwrap_err();
    assert_eq!(
        error,
        Error::Overlap {
            operator: "scale_add".into(),
            output: 0,
            other: "`x`".into()
        }
    );
    let other = Gpu::emulated();
    assert!(matches!(scale_add(&other, &x, &x, 1.0), Err(Error::WrongDevice { .. })));
    assert!(matches!(
        scale_add(&gpu, &x, &tensor(&other, &[4, 6]), 1.0),
        Err(Error::WrongDevice { .. })
    ));
}

#[test]
fn a_plan_says_what_and_why() {
    let gpu = Gpu::emulated();
    let sizes = Sizes::from([("R", 100), ("C", 512)]);
    let plan = row_softmax::plan(&gpu, &sizes).unwrap();
    assert!(!plan.is_tuned());
    let Origin::Untuned { reason } = plan.origin() else {
        panic!("{plan}")
    };
    assert!(
        reason.starts_with("nothing was tuned for it on simulated hopper"),
        "{reason}"
    );
    assert!(plan.ptx().contains(".entry"));
    assert!(plan.figures().is_none() && plan.alternatives().is_empty());
    assert_eq!(plan.sizes(), &sizes);
    assert!(plan.to_string().contains("untuned"), "{plan}");
    let prepared = row_softmax::prepare(&gpu, &sizes).unwrap();
    assert_eq!(prepared.ptx(), plan.ptx());
    let error = row_softmax::plan(&gpu, &Sizes::from([("R", 1)])).unwrap_err();
    assert_eq!(error.to_string(), "`row_softmax`: size `C` is missing");
}

#[test]
fn simulated_costs_grow_with_the_work() {
    let gpu = Gpu::emulated();
    let cost = |rows: usize| {
        let x = tensor(&gpu, &[rows, 256]);
        let mut y = Tensor::zeros(&gpu, &[rows, 256]).unwrap();
        let (simulated, ()) = gpu.simulate(|| scale_add::into(&gpu, &x, &x, 2.0, &mut y)).unwrap();
        assert_eq!(simulated.counts.dram_write_bytes, rows as u64 * 1024);
        simulated
    };
    let (small, large) = (cost(16), cost(4096));
    assert!(large.energy_j > small.energy_j && large.latency_s >= small.latency_s);
}

#[test]
fn out_of_memory_is_an_error() {
    let gpu = Gpu::emulated_with(Emulation::new().memory(1 << 20));
    let error = Tensor::<f32>::zeros(&gpu, &[1 << 20]).unwrap_err();
    assert_eq!(error, Error::OutOfMemory { bytes: 4 << 20 });
    let overflow = [usize::MAX, 3];
    assert!(matches!(
        Tensor::<f32>::zeros(&gpu, &overflow),
        Err(Error::ShapeOverflow { .. })
    ));
}

#[test]
fn threads_share_a_gpu() {
    let gpu = Gpu::emulated();
    let expected: Vec<f32> = numbers(64).iter().map(|v| v * 2.0).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let x = tensor(&gpu, &[8, 8]);
                for _ in 0..8 {
                    assert_eq!(scale_add(&gpu, &x, &x, 1.0).unwrap().to_vec().unwrap(), expected);
                }
            });
        }
    });
}

#[test]
fn the_reference_agrees() {
    let gpu = Gpu::emulated();
    let x = HostTensor::new(&[6, 50], numbers(300)).unwrap();
    let expected = row_softmax::reference(&x).unwrap();
    assert_eq!(expected.shape(), [6, 50]);
    let found = row_softmax(&gpu, &Tensor::from_host(&gpu, &x).unwrap())
        .unwrap()
        .to_host()
        .unwrap();
    for (found, expected) in found.data().iter().zip(expected.data()) {
        assert!((found - expected).abs() <= 1e-6 * expected, "{found} for {expected}");
    }
    let (value, place) = extremes_of::reference(&x).unwrap();
    let (found, at) = extremes(&gpu, &Tensor::from_host(&gpu, &x).unwrap()).unwrap();
    assert_eq!(found.to_host().unwrap(), value);
    assert_eq!(at.to_host().unwrap(), place);
    let short = HostTensor::new(&[5, 50], numbers(250)).unwrap();
    assert!(matches!(scale_add::reference(&x, &short, 1.0), Err(Error::Call { .. })));
    let scaled = scale_add::reference(&x, &x, 2.0).unwrap();
    assert_eq!(scaled.data()[7], 3.0 * x.data()[7]);
}
