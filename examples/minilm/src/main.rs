//! Prints how similar sentences are, or their embeddings.

use clap::Parser;
use energy_kernel::{Gpu, f16};
use minilm::{Encoder, Weights};
use std::path::PathBuf;
use std::process::ExitCode;

/// Encodes sentences with all-MiniLM-L6-v2, on the GPU or, without one, on the emulated device.
#[derive(Parser)]
struct Arguments {
    /// Print an array of embeddings instead of the similarity matrix.
    #[arg(long)]
    json: bool,
    /// Store weights and activations as f16, whose products run on tensor cores.
    #[arg(long)]
    f16: bool,
    /// The folder with model.safetensors, tokenizer.json and config.json.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/weights"))]
    weights: PathBuf,
    /// The sentences.
    #[arg(required = true)]
    sentences: Vec<String>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("minilm: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let gpu = Gpu::open().unwrap_or_else(|error| {
        eprintln!("{error}; running on the emulated device");
        Gpu::emulated()
    });
    let weights = Weights::read(&arguments.weights)?;
    let sentences: Vec<&str> = arguments.sentences.iter().map(String::as_str).collect();
    let embeddings = match arguments.f16 {
        true => Encoder::<f16>::new(&gpu, &weights)?.encode(&sentences)?,
        false => Encoder::<f32>::new(&gpu, &weights)?.encode(&sentences)?,
    };
    if arguments.json {
        println!("{}", serde_json::to_string(&embeddings)?);
        return Ok(());
    }
    for (sentence, row) in sentences.iter().zip(&embeddings) {
        let similarities: Vec<String> = embeddings
            .iter()
            .map(|column| format!("{:6.3}", row.iter().zip(column).map(|(a, b)| a * b).sum::<f32>()))
            .collect();
        println!("{}  {sentence}", similarities.join(" "));
    }
    Ok(())
}
