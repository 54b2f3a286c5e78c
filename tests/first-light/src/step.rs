//! The frame of all steps: options, a deadline, and a place for results.

use clap::Args;
use serde_json::{Map, Value};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Any error ends a step.
pub type Result<T = Outcome> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The outcome of a step, with its key figures or the reason.
pub enum Outcome {
    Fine(String),
    Failed(String),
    Skipped(String),
    /// There is no GPU that could be used: no other step is of use.
    NoGpu(String),
}

/// The options that `run` passes to each step.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The folder that was carried to the machine.
    #[arg(long)]
    carried: PathBuf,
    /// The folder for results.
    #[arg(long)]
    out: PathBuf,
    /// A folder that is deleted afterwards.
    #[arg(long)]
    work: PathBuf,
    /// The step's time.
    #[arg(long)]
    seconds: f64,
    /// Sizes and numbers for a virtual GPU.
    #[arg(long)]
    tiny: bool,
}

/// A step under way.
pub struct Step {
    name: &'static str,
    options: Options,
    end: Instant,
    results: File,
}

impl Step {
    /// Opens the results.
    pub fn begin(name: &'static str, options: Options) -> Result<Step> {
        let file = options.out.join("results.jsonl");
        let results = File::options().create(true).append(true).open(&file);
        Ok(Step {
            name,
            end: Instant::now() + Duration::try_from_secs_f64(options.seconds)?,
            results: results.map_err(|error| format!("{}: {error}", file.display()))?,
            options,
        })
    }

    /// `true` for sizes and numbers that a virtual GPU can do.
    pub fn tiny(&self) -> bool {
        self.options.tiny
    }

    /// When the step should have ended.
    pub fn end(&self) -> Instant {
        self.end
    }

    /// The time that is left.
    pub fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// A carried file.
    pub fn carried(&self, name: &str) -> PathBuf {
        self.options.carried.join(name)
    }

    /// The `cargo-energy-kernel` that was carried.
    pub fn tool(&self) -> PathBuf {
        self.carried("bin/cargo-energy-kernel")
    }

    /// A file of results.
    pub fn result_file(&self, name: &str) -> PathBuf {
        self.options.out.join(name)
    }

    /// A folder that is deleted afterwards.
    pub fn work(&self) -> &Path {
        &self.options.work
    }

    /// Appends a result: an object, to which the step's name is added. It is in the file when this returns.
    pub fn result(&mut self, value: Value) -> Result<()> {
        let mut line = Map::from_iter([("step".to_owned(), self.name.into())]);
        match value {
            Value::Object(fields) => line.extend(fields),
            other => drop(line.insert("value".to_owned(), other)),
        }
        // One call of the system: two processes may append.
        let text = format!("{}\n", Value::Object(line));
        Ok(self.results.write_all(text.as_bytes())?)
    }
}
