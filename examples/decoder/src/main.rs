//! Reads a prompt and decodes a token after it, with weights in `f16` and in `i8`: which kernels were chosen, and what they cost.

use decoder::random::tensor;
use decoder::{Cache, FEATURES, Layer, Weight};
use energy_kernel::{Gpu, Result, Tensor, f16};
use std::process::ExitCode;

/// Tokens of the prompt.
const PROMPT: usize = 16;
/// The time for which work is repeated on a GPU to measure its energy, in seconds.
const WINDOW: f64 = 2.5;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("decoder: {error}");
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
    println!("Weights in f16");
    let half = report::<f16>(&gpu)?;
    println!("Weights in i8, a scale for each row");
    let int8 = report::<i8>(&gpu)?;
    let differences = half.iter().zip(&int8).map(|(a, b)| (a.to_f32() - b.to_f32()).abs());
    println!(
        "Their results differ by at most {:.4}.",
        differences.fold(0.0, f32::max)
    );
    Ok(())
}

/// Prints what a prompt and the token after it cost. The layer's output for that token.
fn report<W: Weight>(gpu: &Gpu) -> Result<Vec<f16>> {
    let layer = Layer::<W>::random(gpu)?;
    let tokens = tensor(0, (PROMPT + 1) * FEATURES, 0.0, 1.0);
    let tokens = Tensor::from_slice(gpu, &[PROMPT + 1, FEATURES], &tokens)?;
    let (prompt, next) = (tokens.slice(..PROMPT)?, tokens.slice(PROMPT..)?);
    let mut cache = Cache::new(gpu, PROMPT + 1)?;
    step(
        gpu,
        &format!("a prompt of {PROMPT} tokens"),
        &layer,
        &prompt,
        &mut cache,
    )?;
    let output = step(gpu, "the token after it", &layer, &next, &mut cache)?;
    println!();
    output.to_vec()
}

fn step<W: Weight>(gpu: &Gpu, name: &str, layer: &Layer<W>, x: &Tensor<f16>, cache: &mut Cache) -> Result<Tensor<f16>> {
    let before = cache.clone();
    let output = layer.forward(x, cache)?;
    // A copy of the cache as it was: the same tokens join it again and again.
    let again = || layer.forward(x, &mut before.clone()).map(drop);
    let repetitions = if gpu.is_emulated() {
        1
    } else {
        let (seconds, ()) = gpu.time(|| (0..10).try_for_each(|_| again()))?;
        (WINDOW / (seconds / 10.0)).ceil() as u64
    };
    let (energy, ()) = gpu.energy(|| (0..repetitions).try_for_each(|_| again()))?;
    let each = 1e6 / repetitions as f64;
    let simulated = if energy.simulated { " (simulated)" } else { "" };
    println!(
        "  {name}: {:.1} µs, {:.1} µJ{simulated}",
        energy.seconds * each,
        energy.joules * each
    );
    for plan in layer.plans(x.shape()[0], cache.length())? {
        let tuned = if plan.is_tuned() { "tuned" } else { "untuned" };
        println!("    {:9} {tuned:8} {}", plan.operator(), plan.program());
    }
    Ok(output)
}
