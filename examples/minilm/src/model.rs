//! The encoder: the operators put together.

use crate::operators::{self, Float};
use crate::weights::{Error, Weights};
use energy_kernel::{Gpu, Tensor};
use tokenizers::Tokenizer;

/// A matrix and its bias.
struct Dense<F> {
    weight: Tensor<F>,
    bias: Tensor<F>,
}

/// The parameters of one encoder layer.
struct Layer<F> {
    query: Dense<F>,
    key: Dense<F>,
    value: Dense<F>,
    output: Dense<F>,
    output_norm: Dense<F>,
    inner: Dense<F>,
    outer: Dense<F>,
    outer_norm: Dense<F>,
}

/// The encoder on a GPU, its weights and activations in `f32` or `f16`.
pub struct Encoder<F> {
    gpu: Gpu,
    tokenizer: Tokenizer,
    words: Tensor<F>,
    positions: Tensor<F>,
    kinds: Tensor<F>,
    norm: Dense<F>,
    layers: Vec<Layer<F>>,
    epsilon: f32,
    longest: usize,
    scale: f32,
}

impl<F: Float> Encoder<F> {
    /// Copies the weights to the GPU, rounded once to what they are stored as.
    ///
    /// # Errors
    /// The weights are damaged, or the GPU is out of memory.
    pub fn new(gpu: &Gpu, weights: &Weights) -> Result<Encoder<F>, Error> {
        let dense = |name: &str| -> Result<Dense<F>, Error> {
            let [weight, bias] = weights.load(gpu, [format!("{name}.weight"), format!("{name}.bias")])?;
            Ok(Dense { weight, bias })
        };
        let [words, positions, kinds] = weights.load(
            gpu,
            ["word", "position", "token_type"].map(|kind| format!("embeddings.{kind}_embeddings.weight")),
        )?;
        let layers = (0..weights.config.layers)
            .map(|number| {
                let part = |name: &str| dense(&format!("encoder.layer.{number}.{name}"));
                Ok(Layer {
                    query: part("attention.self.query")?,
                    key: part("attention.self.key")?,
                    value: part("attention.self.value")?,
                    output: part("attention.output.dense")?,
                    output_norm: part("attention.output.LayerNorm")?,
                    inner: part("intermediate.dense")?,
                    outer: part("output.dense")?,
                    outer_norm: part("output.LayerNorm")?,
                })
            })
            .collect::<Result<_, Error>>()?;
        let config = weights.config;
        Ok(Encoder {
            gpu: gpu.clone(),
            tokenizer: weights.tokenizer.clone(),
            words,
            positions,
            kinds,
            norm: dense("embeddings.LayerNorm")?,
            layers,
            epsilon: config.epsilon,
            longest: config.positions,
            scale: 1.0 / ((config.hidden / config.heads) as f32).sqrt(),
        })
    }

    /// The embeddings of sentences, 384 numbers each, of length 1. All are encoded as one batch.
    ///
    /// # Errors
    /// A sentence is too long, or the GPU fails.
    pub fn encode(&self, sentences: &[&str]) -> Result<Vec<Vec<f32>>, Error> {
        if sentences.is_empty() {
            return Ok(Vec::new());
        }
        let encodings = self
            .tokenizer
            .encode_batch(sentences.to_vec(), true)
            .map_err(|error| Error::Tokenizer(error.to_string()))?;
        let length = encodings.iter().map(|encoding| encoding.len()).max().unwrap_or(0);
        if let Some((sentence, encoding)) = sentences.iter().zip(&encodings).find(|(_, e)| e.len() > self.longest) {
            return Err(Error::TooLong {
                beginning: sentence.chars().take(40).collect(),
                tokens: encoding.len(),
                most: self.longest,
            });
        }
        let (mut ids, mut mask) = (Vec::new(), Vec::new());
        for encoding in &encodings {
            let padding = length - encoding.len();
            ids.extend(encoding.get_ids().iter().map(|&id| id as i32));
            ids.extend(std::iter::repeat_n(0, padding));
            mask.extend(std::iter::repeat_n(1, encoding.len()));
            mask.extend(std::iter::repeat_n(0, padding));
        }
        let shape = [sentences.len(), length];
        let ids = Tensor::from_slice(&self.gpu, &shape, &ids)?;
        let mask = Tensor::from_slice(&self.gpu, &shape, &mask)?;
        let embeddings = self.forward(&ids, &mask)?;
        Ok(embeddings
            .to_vec()?
            .chunks(embeddings.shape()[1])
            .map(<[f32]>::to_vec)
            .collect())
    }

    /// Tokens `(B, T)` and their mask to embeddings `(B, 384)`.
    fn forward(&self, ids: &Tensor<i32>, mask: &Tensor<i32>) -> Result<Tensor<f32>, Error> {
        let gpu = &self.gpu;
        let x = operators::embed(gpu, ids, &self.words, &self.positions, &self.kinds)?;
        let mut x = self.normed(&x, &self.norm)?;
        for layer in &self.layers {
            let q = operators::linear(gpu, &x, &layer.query.weight, &layer.query.bias)?;
            let k = operators::linear(gpu, &x, &layer.key.weight, &layer.key.bias)?;
            let v = operators::linear(gpu, &x, &layer.value.weight, &layer.value.bias)?;
            let context = operators::attention(gpu, &q, &k, &v, mask, self.scale)?;
            let y = operators::attention_output(gpu, &context, &layer.output.weight, &layer.output.bias, &x)?;
            let y = self.normed(&y, &layer.output_norm)?;
            let inner = operators::linear_gelu(gpu, &y, &layer.inner.weight, &layer.inner.bias)?;
            let z = operators::linear_residual(gpu, &inner, &layer.outer.weight, &layer.outer.bias, &y)?;
            x = self.normed(&z, &layer.outer_norm)?;
        }
        let pooled = operators::mean_pool(gpu, &x, mask)?;
        Ok(operators::normalise(gpu, &pooled)?)
    }

    fn normed(&self, x: &Tensor<F>, norm: &Dense<F>) -> Result<Tensor<F>, Error> {
        Ok(operators::layer_norm(
            &self.gpu,
            x,
            &norm.weight,
            &norm.bias,
            self.epsilon,
        )?)
    }
}
