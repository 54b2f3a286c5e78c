//! The embeddings of 20 sentences against a `float64` re-computation (`vectors/README.md`), on the emulated device.
//!
//! Without the weights the test says that it was left out, unless `ENERGY_KERNEL_DEMAND_WEIGHTS` is set.

use energy_kernel::{Gpu, f16};
use minilm::operators::Float;
use minilm::{Encoder, Weights};
use std::path::Path;

const FEATURES: usize = 384;
/// Sentences a batch: of similar length, so that little is padded.
const BATCH: usize = 4;

#[test]
fn embeddings_are_those_of_float64() {
    embeddings_have_cosines::<f32>(0.9999);
}

#[test]
fn embeddings_in_half_precision_are_nearly() {
    embeddings_have_cosines::<f16>(0.999);
}

/// Encodes all sentences, and compares.
fn embeddings_have_cosines<F: Float>(least: f64) {
    let Some(weights) = weights() else { return };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let sentences = std::fs::read_to_string(folder.join("sentences.json")).expect("sentences.json");
    let sentences: serde_json::Value = serde_json::from_str(&sentences).expect("sentences.json is JSON");
    let texts: Vec<&str> = sentences
        .as_array()
        .expect("a list")
        .iter()
        .map(|sentence| sentence["text"].as_str().expect("a text"))
        .collect();
    let expected: Vec<f64> = std::fs::read(folder.join("embeddings.f64"))
        .expect("embeddings.f64")
        .chunks_exact(8)
        .map(|bytes| f64::from_le_bytes(bytes.try_into().expect("eight bytes")))
        .collect();
    assert_eq!(expected.len(), texts.len() * FEATURES);
    assert!(texts.len() >= 20);

    let encoder = Encoder::<F>::new(&Gpu::emulated(), &weights).expect("the weights load");
    let mut order: Vec<usize> = (0..texts.len()).collect();
    order.sort_by_key(|&number| texts[number].len());
    let mut worst = 1.0f64;
    for batch in order.chunks(BATCH) {
        let sentences: Vec<&str> = batch.iter().map(|&number| texts[number]).collect();
        let embeddings = encoder.encode(&sentences).expect("the sentences are encoded");
        for (&number, embedding) in batch.iter().zip(&embeddings) {
            let cosine = cosine(embedding, &expected[number * FEATURES..][..FEATURES]);
            assert!(cosine >= least, "cosine {cosine} for {:?}", texts[number]);
            worst = worst.min(cosine);
        }
    }
    println!("smallest cosine of {} sentences: 1 - {:.1e}", texts.len(), 1.0 - worst);
}

/// The published weights; none where they were not fetched, which is said.
fn weights() -> Option<Weights> {
    match Weights::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("weights")) {
        Ok(weights) => Some(weights),
        Err(error) if std::env::var_os("ENERGY_KERNEL_DEMAND_WEIGHTS").is_some() => panic!("{error}"),
        Err(error) => {
            println!("left out: {error}");
            None
        }
    }
}

fn cosine(a: &[f32], b: &[f64]) -> f64 {
    let dot = |x: &mut dyn Iterator<Item = (f64, f64)>| x.map(|(a, b)| a * b).sum::<f64>();
    let of = |v: f64| v.sqrt();
    let ab = dot(&mut a.iter().zip(b).map(|(&a, &b)| (f64::from(a), b)));
    let aa = dot(&mut a.iter().map(|&a| (f64::from(a), f64::from(a))));
    let bb = dot(&mut b.iter().map(|&b| (b, b)));
    ab / (of(aa) * of(bb))
}

#[test]
fn no_sentence_gives_no_embedding() {
    let Some(weights) = weights() else { return };
    let encoder = Encoder::<f16>::new(&Gpu::emulated(), &weights).expect("the weights load");
    assert_eq!(encoder.encode(&[]).expect("nothing to do"), Vec::<Vec<f32>>::new());
    let long = "word ".repeat(600);
    assert!(
        encoder
            .encode(&[&long])
            .unwrap_err()
            .to_string()
            .contains("at most 512")
    );
}
