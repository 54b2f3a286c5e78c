//! The speed of the cost model: training with 500 samples, inference on 2,000 candidates.

use criterion::{Criterion, criterion_group, criterion_main};
use energy_kernel_build::tune::model::boosting::Growth;
use energy_kernel_build::tune::model::device::{Described, DeviceModel, Sample, weight};
use energy_kernel_build::tune::model::gaussian::{Gaussian, REMAINDER};
use std::hint::black_box;

/// Numbers that look arbitrary, in (0, 1).
fn unit(seed: u64) -> f64 {
    let mixed = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 11) as f64 / (1u64 << 53) as f64
}

fn kernels(count: u64) -> Vec<Described> {
    let one = |kernel: u64| Described {
        counts: (0..11).map(|c| 1e6 * (1.0 + unit(100 * kernel + c))).collect(),
        shape: (0..5).map(|c| 1.0 + unit(100 * kernel + 20 + c)).collect(),
        latency: 1e-5 * (1.0 + unit(100 * kernel + 30)),
    };
    (0..count).map(one).collect()
}

fn model(c: &mut Criterion) {
    let samples: Vec<Sample> = kernels(500)
        .into_iter()
        .enumerate()
        .map(|(number, described)| Sample {
            energy: 150.0 * described.latency + 30e-12 * described.counts[3] + 1e-5 * unit(number as u64),
            weight: weight(1.0 + unit(7 * number as u64)),
            described,
        })
        .collect();
    let asked = kernels(2000);
    c.bench_function("device model: training with 500 samples", |b| {
        b.iter(|| DeviceModel::fit(black_box(&samples), Growth::default(), 1));
    });
    let trained = DeviceModel::fit(&samples, Growth::default(), 1);
    c.bench_function("device model: inference on 2,000 candidates", |b| {
        b.iter(|| trained.as_ref().and_then(|model| model.log_power(black_box(&asked))));
    });
    for count in [24, 150] {
        let points: Vec<Vec<f64>> = kernels(2000)
            .into_iter()
            .map(|kernel| kernel.counts.iter().map(|c| c / 1e6).collect())
            .collect();
        let values: Vec<f64> = points[..count]
            .iter()
            .map(|point: &Vec<f64>| point[0] + point[1])
            .collect();
        let noise = vec![0.01; count];
        c.bench_function(&format!("Gaussian process: training with {count} measurements"), |b| {
            b.iter(|| Gaussian::fit(black_box(&points[..count]), &values, &noise, REMAINDER));
        });
        let trained = Gaussian::fit(&points[..count], &values, &noise, REMAINDER);
        c.bench_function(
            &format!("Gaussian process of {count}: inference on 2,000 candidates"),
            |b| {
                b.iter(|| {
                    trained
                        .as_ref()
                        .map(|model| points.iter().map(|point| model.predict(point).0).sum::<f64>())
                });
            },
        );
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = model
}
criterion_main!(benches);
