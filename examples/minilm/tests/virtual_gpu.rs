//! The encoder on virtual GPUs, through the command: one sentence, compared with the `float64` re-computation.
//!
//! Without the weights the test says that it was left out, unless `ENERGY_KERNEL_DEMAND_WEIGHTS` is set.

#![cfg(target_os = "linux")]

use energy_kernel_virtual_gpu::Virtual;
use std::path::Path;
use std::time::Duration;

const FEATURES: usize = 384;

#[test]
fn a_sentence_is_encoded_on_a_gpu() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    if !folder.join("weights/model.safetensors").exists() {
        assert!(
            std::env::var_os("ENERGY_KERNEL_DEMAND_WEIGHTS").is_none(),
            "there are no weights"
        );
        println!("left out: there are no weights");
        return;
    }
    let sentences = std::fs::read_to_string(folder.join("vectors/sentences.json")).unwrap();
    let sentences: serde_json::Value = serde_json::from_str(&sentences).unwrap();
    let texts = sentences
        .as_array()
        .unwrap()
        .iter()
        .map(|sentence| sentence["text"].as_str().unwrap());
    let (number, text) = texts
        .enumerate()
        .filter(|(_, text)| text.len() > 10)
        .min_by_key(|(_, text)| text.len())
        .unwrap();
    let expected: Vec<f64> = std::fs::read(folder.join("vectors/embeddings.f64"))
        .unwrap()
        .chunks_exact(8)
        .map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap()))
        .collect();
    let expected = &expected[number * FEATURES..][..FEATURES];
    for (capability, options, least) in [("8.6", &["--json"][..], 0.9999), ("9.0", &["--json", "--f16"], 0.999)] {
        let gpu = Virtual::new(capability);
        let mut command = gpu.command(env!("CARGO_BIN_EXE_minilm"));
        let run = gpu.finish(command.args(options).arg(text), Duration::from_secs(120));
        let printed = run.text.clone();
        run.clean();
        assert!(!printed.contains("emulated"), "{printed}");
        let embeddings: Vec<Vec<f64>> = serde_json::from_str(&printed).unwrap_or_else(|_| panic!("{printed}"));
        let product = |a: &[f64], b: &[f64]| std::iter::zip(a, b).map(|(a, b)| a * b).sum::<f64>();
        let found = &embeddings[0];
        let cosine = product(found, expected) / (product(found, found) * product(expected, expected)).sqrt();
        assert!(cosine >= least, "{capability}: cosine {cosine} for {text:?}");
    }
}
