//! Split-K kernels in calls: all launches on a GPU's stream share one workspace, which is bounded and intact after an interrupted launch.

use energy_kernel::__private::{OperatorData, VariantData};
use energy_kernel::simulate::Emulation;
use energy_kernel::tools::compiler::fingerprint;
use energy_kernel::tools::compiler::lang::{self, parse};
use energy_kernel::tools::compiler::lower::lower;
use energy_kernel::tools::compiler::record::*;
use energy_kernel::tools::compiler::schedule::{self, Schedule};
use energy_kernel::tools::compiler::target::{Machine, Target};
use energy_kernel::tools::{Argument, View};
use energy_kernel::{__private::Call, Gpu, Operator, Origin, Sizes, Tensor};
use energy_kernel_compiler::problem::Problem;
use std::time::Instant;

const K: usize = 512;
const N: usize = 64;

/// `y = x wᵀ`, tuned for few rows.
fn operator() -> lang::Operator {
    let attribute = "tune(M = [16, 64], N = 64, K = 512)".parse().unwrap();
    let item = "fn product(x: Tensor<f32, (M, K)>, w: Tensor<f32, (N, K)>) -> Tensor<f32, (M, N)> {
        |m, n| sum(|k| x[[m, k]] * w[[n, k]])
    }";
    parse(attribute, item.parse().unwrap()).unwrap()
}

/// The operator as the macro embeds it, with this split-K factor.
fn embedded(parts: u32) -> &'static Operator {
    let operator = operator();
    let checked = &operator.variants[0].checked;
    let specialisation = operator.tuning.specialisation(checked).unwrap();
    let space = schedule::space(&Problem::new(checked, &specialisation, Machine::like(Target::Sm90)));
    let small = |point: &&Schedule| matches!(point, Schedule::Contract(c) if c.split_k == parts && c.block_rows == 16 && c.block_columns == 32);
    let schedule = *space.iter().find(small).expect("there is such a schedule");
    let kernel = lower(
        &Problem::new(checked, &specialisation, Machine::like(Target::Sm90)),
        schedule,
    )
    .unwrap();
    let estimate = Estimate {
        mean: 1e-5,
        interval: 1e-8,
    };
    let point = Point {
        kernel_hash: PackedKernel::hash(&kernel),
        program: schedule.into(),
        latency: estimate,
        energy: Some(estimate),
        conditions: Conditions {
            driver: String::new(),
            simulated_profile: Some("hopper".to_owned()),
            sm_clock_mhz: None,
            memory_clock_mhz: None,
            temperature_celsius: None,
            power_watts: None,
            power_limit_watts: None,
            throttle_reasons: 0,
            window_seconds: 0.0,
            launches: 100,
            inputs: Inputs::Random { seed: 1 },
            cache: CacheMode::Cold,
            flags: Vec::new(),
        },
    };
    let candidate = Candidate {
        point,
        kernel: 0,
        stale: false,
    };
    let bucket = |sizes: Vec<u64>| TunedBucket {
        sizes,
        specialisation: specialisation.clone(),
        front: vec![candidate.clone()],
        measured_at: 1000,
        energy_measured: true,
        space_version: schedule::SPACE_VERSION,
        record: [0; 32],
    };
    let bundle = Bundle {
        fingerprint: fingerprint::of(checked).unwrap(),
        operator: "product".to_owned(),
        objective: Objective::default(),
        kernels: vec![PackedKernel::pack(&kernel).unwrap()],
        devices: vec![TunedDevice {
            device: Gpu::emulated().device_class().clone(),
            buckets: operator
                .tuning
                .buckets(checked)
                .unwrap()
                .into_iter()
                .map(bucket)
                .collect(),
        }],
    };
    let variants = vec![VariantData {
        types: &[],
        operator: encoding::encode(checked.op()).unwrap().leak(),
        bundle: Some(encoding::encode(&bundle).unwrap().leak()),
    }];
    Box::leak(Box::new(Operator::new(OperatorData {
        name: "product",
        package: "a-package",
        variants: variants.leak(),
    })))
}

/// Small integers, whose sums are exact in any order.
fn numbers(rows: usize) -> Vec<f32> {
    (0..rows * K).map(|at| ((at * 7 + at / K) % 11) as f32 - 5.0).collect()
}

fn sizes(rows: u64) -> Sizes {
    Sizes::from([("M", rows), ("N", N as u64), ("K", K as u64)])
}

/// Checks the result of a call of this many rows.
fn check(operator: &Operator, gpu: &Gpu, rows: usize) {
    let (left, right) = (numbers(rows), numbers(N));
    let x = Tensor::from_slice(gpu, &[rows, K], &left).unwrap();
    let w = Tensor::from_slice(gpu, &[N, K], &right).unwrap();
    let inputs = [Argument::tensor(&x), Argument::tensor(&w)];
    let call = Call::new(operator.variant(&[]).unwrap(), gpu, &inputs).unwrap();
    let y = call.output::<f32>(0).unwrap();
    call.launch(&[View::from(&y)]).unwrap();
    let row = |x: &[f32], w: &[f32]| x.iter().zip(w).map(|(x, w)| x * w).sum::<f32>();
    let expected: Vec<f32> = left
        .chunks(K)
        .flat_map(|x| right.chunks(K).map(move |w| row(x, w)))
        .collect();
    assert_eq!(y.to_vec().unwrap(), expected, "{rows} rows");
}

#[test]
fn launches_share_the_workspace() {
    let gpu = Gpu::emulated();
    let (two, eight) = (embedded(2), embedded(8));
    for rows in [16, 33, 5, 200, 16] {
        check(two, &gpu, rows);
        check(eight, &gpu, rows);
    }
    let plan = eight.variant(&[]).unwrap().plan(&gpu, &sizes(33)).unwrap();
    assert!(plan.is_tuned() && plan.to_string().contains("split_k=8"), "{plan}");
    // The GPU runs the calls of several threads one after the other.
    std::thread::scope(|scope| {
        for operator in [two, eight, two, eight] {
            let gpu = gpu.clone();
            scope.spawn(move || (0..3).for_each(|_| check(operator, &gpu, 40)));
        }
    });
}

#[test]
fn calls_run_untuned_beyond_the_largest_workspace() {
    let gpu = Gpu::emulated();
    let eight = embedded(8).variant(&[]).unwrap();
    // Eight partial sums of 64 numbers of 4 bytes per row.
    let most = (256 << 20) / (8 * 64 * 4);
    // The counters come on top.
    assert!(eight.plan(&gpu, &sizes(most - 64)).unwrap().is_tuned());
    let plan = eight.plan(&gpu, &sizes(most + 1)).unwrap();
    match plan.origin() {
        Origin::Untuned { reason } => assert!(reason.contains("bytes of workspace"), "{reason}"),
        origin => panic!("{origin}"),
    }
}

#[test]
fn calls_run_untuned_without_room_for_the_workspace() {
    let memory = 4 << 20;
    let gpu = Gpu::emulated_with(Emulation::new().memory(memory));
    let eight = embedded(8);
    let filling = Tensor::<f32>::zeros(&gpu, &[900_000]).unwrap();
    let plan = eight.variant(&[]).unwrap().prepare(&gpu, &sizes(1200)).unwrap();
    match plan.origin() {
        Origin::Untuned { reason } => assert!(reason.contains("no room"), "{reason}"),
        origin => panic!("{origin}"),
    }
    drop(filling);
    // Inputs and outputs fit, but not as many bytes again.
    check(eight, &gpu, 1100);
    check(eight, &gpu, 16);
}

#[test]
fn an_interrupted_launch_leaves_the_workspace_intact() {
    let gpu = Gpu::emulated();
    let eight = embedded(8);
    check(eight, &gpu, 64);
    let x = Tensor::from_slice(&gpu, &[64, K], &numbers(64)).unwrap();
    let w = Tensor::from_slice(&gpu, &[N, K], &numbers(N)).unwrap();
    let inputs = [Argument::tensor(&x), Argument::tensor(&w)];
    let mut broken = 0;
    for microseconds in [0, 500, 1000, 2000, 4000] {
        let call = Call::new(eight.variant(&[]).unwrap(), &gpu, &inputs).unwrap();
        let y = call.output::<f32>(0).unwrap();
        let deadline = Instant::now() + std::time::Duration::from_micros(microseconds);
        broken += usize::from(gpu.simulate_until(deadline, || call.launch(&[View::from(&y)])).is_err());
        check(eight, &gpu, 64);
    }
    assert!(broken > 0);
}
