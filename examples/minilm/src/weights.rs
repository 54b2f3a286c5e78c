//! The published files: `model.safetensors`, `tokenizer.json`, `config.json`.

use crate::operators::Float;
use energy_kernel::{Gpu, Tensor};
use safetensors::{Dtype, SafeTensors};
use std::path::{Path, PathBuf};
use tokenizers::Tokenizer;

/// Why the model cannot be read or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file is missing or cannot be read.
    #[error(
        "{path}: {problem}; examples/minilm/fetch-weights.sh puts the weights there, --weights names another folder"
    )]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        problem: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path}: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// The problem.
        reason: String,
    },
    /// A sentence that cannot be encoded.
    #[error("the sentence {beginning:?}… has {tokens} tokens; the model takes at most {most}")]
    TooLong {
        /// Its first characters.
        beginning: String,
        /// Its tokens.
        tokens: usize,
        /// The shape that the model takes.
        most: usize,
    },
    /// The tokenizer gives up.
    #[error("the tokenizer: {0}")]
    Tokenizer(String),
    /// The GPU, or a kernel.
    #[error(transparent)]
    Kernel(#[from] energy_kernel::Error),
}

/// `config.json`, as far as it is needed.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Encoder layers.
    pub layers: usize,
    /// Added to variances.
    pub epsilon: f32,
    /// Attention heads.
    pub heads: usize,
    /// Features.
    pub hidden: usize,
    /// The longest sentence, in tokens.
    pub positions: usize,
}

/// All files, read.
#[derive(Debug)]
pub struct Weights {
    path: PathBuf,
    tensors: Vec<u8>,
    /// The real tokenizer.
    pub tokenizer: Tokenizer,
    /// The model's dimensions.
    pub config: Config,
}

impl Weights {
    /// Reads the files of a folder.
    ///
    /// # Errors
    /// A file is missing or not what it should be.
    pub fn read(folder: &Path) -> Result<Weights, Error> {
        let file = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).map_err(|problem| Error::File { path, problem })
        };
        let wrong = |name: &str, reason: String| Error::Content {
            path: folder.join(name),
            reason,
        };
        let tensors = file("model.safetensors")?;
        let mut tokenizer = Tokenizer::from_bytes(file("tokenizer.json")?)
            .map_err(|error| wrong("tokenizer.json", error.to_string()))?;
        // Sentences of a batch are padded to the longest of them, not to a fixed length; none is cut.
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(None)
            .map_err(|error| wrong("tokenizer.json", error.to_string()))?;
        let config: serde_json::Value =
            serde_json::from_slice(&file("config.json")?).map_err(|error| wrong("config.json", error.to_string()))?;
        let number = |key: &str| {
            config[key]
                .as_f64()
                .ok_or_else(|| wrong("config.json", format!("{key:?} is missing or no number")))
        };
        let config = Config {
            layers: number("num_hidden_layers")? as usize,
            epsilon: number("layer_norm_eps")? as f32,
            heads: number("num_attention_heads")? as usize,
            hidden: number("hidden_size")? as usize,
            positions: number("max_position_embeddings")? as usize,
        };
        if config.heads != 12 || config.hidden != 384 {
            return Err(wrong(
                "config.json",
                "the operators are written for 12 heads and 384 features".to_owned(),
            ));
        }
        Ok(Weights {
            path: folder.join("model.safetensors"),
            tensors,
            tokenizer,
            config,
        })
    }

    /// Copies the named tensors to the GPU, each element rounded to the nearest there is.
    ///
    /// # Errors
    /// The file is damaged, a tensor is missing or not of 32-bit floats, or the GPU is out of memory.
    pub fn load<F: Float, const N: usize>(&self, gpu: &Gpu, names: [String; N]) -> Result<[Tensor<F>; N], Error> {
        let wrong = |reason: String| Error::Content {
            path: self.path.clone(),
            reason,
        };
        let file = SafeTensors::deserialize(&self.tensors).map_err(|error| wrong(error.to_string()))?;
        let mut loaded = Vec::with_capacity(N);
        for name in names {
            let view = file.tensor(&name).map_err(|error| wrong(format!("{name}: {error}")))?;
            if view.dtype() != Dtype::F32 {
                return Err(wrong(format!("{name}: {:?} instead of F32", view.dtype())));
            }
            let values: Vec<F> = view
                .data()
                .chunks_exact(4)
                .map(|bytes| F::from_f32(f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])))
                .collect();
            loaded.push(Tensor::from_slice(gpu, view.shape(), &values)?);
        }
        loaded.try_into().map_err(|_| wrong("a tensor went missing".to_owned()))
    }
}
