//! Three operators, tuned while this program was built: which kernels were chosen and why, what they cost beside the
//! untuned ones, and how far their results are from the reference.

mod measure;

use energy_kernel::prelude::*;
use energy_kernel::tools::{Argument, View};
use energy_kernel::{Element, Plan, Result};
use std::process::ExitCode;

/// A fused linear layer: `gelu(x · wᵀ + b)`.
#[energy_kernel(tune(M = [16, 64], N = 256, K = 192))]
pub fn linear_gelu(x: Tensor<f32, (M, K)>, w: Tensor<f32, (N, K)>, b: Tensor<f32, (N,)>) -> Tensor<f32, (M, N)> {
    |m, n| gelu(sum(|k| x[[m, k]] * w[[n, k]]) + b[[n]])
}

/// The softmax of each row.
#[energy_kernel(tune(R = 64, C = 1024))]
pub fn softmax(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R, C)> {
    let peak = |r| max(|c| x[[r, c]]);
    let total = |r| sum(|c| exp(x[[r, c]] - peak[[r]]));
    |r, c| exp(x[[r, c]] - peak[[r]]) / total[[r]]
}

/// A gated sum in half precision.
#[energy_kernel(tune(R = 64, C = 2048))]
pub fn gated_sum(x: Tensor<f16, (R, C)>, gate: Tensor<f16, (R, C)>, scale: f32) -> Tensor<f16, (R, C)> {
    |r, c| x[[r, c]] + scale * silu(gate[[r, c]])
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quickstart: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let gpu = Gpu::open().unwrap_or_else(|error| {
        println!("{error}");
        println!("Running on the emulated device: latencies and energies below are simulated.\n");
        Gpu::emulated()
    });
    let mut random = Random(1);

    let (x, w, b) = (
        random.floats(&[64, 192])?,
        random.floats(&[256, 192])?,
        random.floats(&[256])?,
    );
    let on_gpu = (
        Tensor::from_host(&gpu, &x)?,
        Tensor::from_host(&gpu, &w)?,
        Tensor::from_host(&gpu, &b)?,
    );
    let y = linear_gelu(&gpu, &on_gpu.0, &on_gpu.1, &on_gpu.2)?;
    Report {
        gpu: &gpu,
        plan: linear_gelu::plan(&gpu, &Sizes::from([("M", 64), ("N", 256), ("K", 192)]))?,
        variant: linear_gelu::KERNEL.variant(&[])?,
        inputs: &[
            Argument::tensor(&on_gpu.0),
            Argument::tensor(&on_gpu.1),
            Argument::tensor(&on_gpu.2),
        ],
        output: View::from(&y),
        error: largest_error(&y, &linear_gelu::reference(&x, &w, &b)?)?,
    }
    .print()?;

    let x = random.floats(&[64, 1024])?;
    let on_gpu = Tensor::from_host(&gpu, &x)?;
    let y = softmax(&gpu, &on_gpu)?;
    Report {
        gpu: &gpu,
        plan: softmax::plan(&gpu, &Sizes::from([("R", 64), ("C", 1024)]))?,
        variant: softmax::KERNEL.variant(&[])?,
        inputs: &[Argument::tensor(&on_gpu)],
        output: View::from(&y),
        error: largest_error(&y, &softmax::reference(&x)?)?,
    }
    .print()?;

    let (x, gate) = (random.halves(&[64, 2048])?, random.halves(&[64, 2048])?);
    let on_gpu = (Tensor::from_host(&gpu, &x)?, Tensor::from_host(&gpu, &gate)?);
    let y = gated_sum(&gpu, &on_gpu.0, &on_gpu.1, 0.5)?;
    Report {
        gpu: &gpu,
        plan: gated_sum::plan(&gpu, &Sizes::from([("R", 64), ("C", 2048)]))?,
        variant: gated_sum::KERNEL.variant(&[])?,
        inputs: &[
            Argument::tensor(&on_gpu.0),
            Argument::tensor(&on_gpu.1),
            Argument::scalar(0.5f32),
        ],
        output: View::from(&y),
        error: largest_error(&y, &gated_sum::reference(&x, &gate, 0.5)?)?,
    }
    .print()
}

/// The printed report of an operator.
struct Report<'a> {
    gpu: &'a Gpu,
    plan: Plan,
    variant: &'a energy_kernel::tools::Variant,
    inputs: &'a [Argument<'a>],
    output: View<'a>,
    error: f64,
}

impl Report<'_> {
    fn print(&self) -> Result<()> {
        println!("{}", self.plan);
        let chosen = (self.plan.program().clone(), self.plan.specialisation().clone());
        let untuned = measure::untuned(self.gpu, &self.plan, self.variant)?;
        let outputs = std::slice::from_ref(&self.output);
        for (name, (program, specialisation)) in [("chosen", chosen), ("untuned", untuned)] {
            let cost = measure::cost(
                self.gpu,
                &self.plan,
                self.variant,
                &program,
                &specialisation,
                self.inputs,
                outputs,
            )?;
            println!("  {name:8} {cost}  {program}");
        }
        println!("  largest error against the reference: {:.1e}\n", self.error);
        Ok(())
    }
}

/// The largest difference between a result and its reference.
fn largest_error<T: Element + Into<f64>>(result: &Tensor<T>, reference: &HostTensor<T>) -> Result<f64> {
    let result = result.to_vec()?;
    let differences = result
        .iter()
        .zip(reference.data())
        .map(|(&got, &expected)| (got.into() - expected.into()).abs());
    Ok(differences.fold(0.0, f64::max))
}

/// Numbers that are the same in every run: about normal, of mean 0 and variance 1.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        // The sum of uniform numbers; a linear congruential generator (Knuth, MMIX) makes those.
        let mut sum = 0.0;
        for _ in 0..12 {
            self.0 = self
                .0
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            sum += (self.0 >> 40) as f32 / (1u32 << 24) as f32 - 0.5;
        }
        sum
    }

    fn floats(&mut self, shape: &[usize]) -> Result<HostTensor<f32>> {
        let elements = (0..shape.iter().product()).map(|_| self.next()).collect();
        HostTensor::new(shape, elements)
    }

    fn halves(&mut self, shape: &[usize]) -> Result<HostTensor<f16>> {
        let elements = (0..shape.iter().product())
            .map(|_| f16::from_f32(self.next()))
            .collect();
        HostTensor::new(shape, elements)
    }
}
