//! The encoder's `f16` products run on tensor cores unless tuning found something better; its `f32` products never do.

use energy_kernel::tools::compiler::estimate;
use energy_kernel::tools::compiler::problem::Problem;
use energy_kernel::tools::compiler::schedule::Schedule;
use energy_kernel::tools::compiler::tuning;
use energy_kernel::{Element, Gpu, Operator, Plan, Sizes, f16};
use minilm::operators::{self, Float};

/// Sentences and their tokens: a size that was tuned, and others. Products of few rows are no work for tensor cores alone.
const SIZES: [(u64, u64); 3] = [(4, 64), (3, 23), (2, 105)];

#[test]
fn products_of_halves_run_on_tensor_cores() {
    let gpu = Gpu::emulated();
    for (sentences, tokens) in SIZES {
        for (kernel, plan) in products::<f16>(&gpu, sentences, tokens) {
            let untuned = untuned::<f16>(&gpu, kernel, &plan);
            assert!(uses_tensor_cores(&untuned), "{plan}\n  untuned: {untuned}");
        }
        for (_, plan) in products::<f32>(&gpu, sentences, tokens) {
            assert!(!plan.program().stages.iter().any(uses_tensor_cores), "{plan}");
        }
    }
}

fn uses_tensor_cores(schedule: &Schedule) -> bool {
    matches!(schedule, Schedule::Mma(_) | Schedule::Attention(_))
}

/// The encoder's products, and what computes them.
fn products<F: Float>(gpu: &Gpu, sentences: u64, tokens: u64) -> [(&'static Operator, Plan); 5] {
    let sizes = |more: &[(&str, u64)]| -> Sizes {
        let all = [("B", sentences), ("T", tokens)]
            .into_iter()
            .chain(more.iter().copied());
        all.collect()
    };
    let dense = |k, n| sizes(&[("K", k), ("N", n)]);
    let output = sizes(&[("H", 12), ("E", 32), ("K", 384), ("N", 384)]);
    let plans = [
        (
            &operators::linear::KERNEL,
            operators::linear::plan::<F>(gpu, &dense(384, 384)),
        ),
        (
            &operators::linear_gelu::KERNEL,
            operators::linear_gelu::plan::<F>(gpu, &dense(384, 1536)),
        ),
        (
            &operators::linear_residual::KERNEL,
            operators::linear_residual::plan::<F>(gpu, &dense(1536, 384)),
        ),
        (
            &operators::attention::KERNEL,
            operators::attention::plan::<F>(gpu, &sizes(&[("D", 384)])),
        ),
        (
            &operators::attention_output::KERNEL,
            operators::attention_output::plan::<F>(gpu, &output),
        ),
    ];
    plans.map(|(kernel, plan)| (kernel, plan.expect("a plan")))
}

/// The schedule that would run if nothing had been tuned.
fn untuned<F: Element>(gpu: &Gpu, kernel: &Operator, plan: &Plan) -> Schedule {
    let checked = kernel.variant(&[F::ELEMENT]).expect("the variant").checked();
    let sizes: Vec<u64> = (checked.op().sizes.iter())
        .map(|size| plan.sizes().get(&size.name).expect("a size"))
        .collect();
    let specialisation = tuning::untuned(checked, &sizes);
    estimate::default(&Problem::new(checked, &specialisation, gpu.machine()), &sizes)
}
