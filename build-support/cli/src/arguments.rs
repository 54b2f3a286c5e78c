//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use energy_kernel_build::LONGEST_BUDGET;
use energy_kernel_build::tune::LEAST_PAIRS;
use energy_kernel_build::tune::strategy::Rule;
use energy_kernel_compiler::record::{CacheMode, Objective};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

const EXIT_CODES: &str = "Exit codes:
  0    done
  1    the command or a check failed
  2    wrong usage
  3    the sanitizer found something (`run --check`)
  4    the emulator does not support an instruction (`run`)
  130  interrupted

With --json, a command prints one JSON document to the standard output; one that fails prints
{\"error\": …, \"causes\": […], \"help\": …}.";

/// Tunes GPU operators for energy and shows their results.
#[derive(Debug, Parser)]
#[command(name = "cargo energy-kernel", bin_name = "cargo energy-kernel", version, after_help = EXIT_CODES)]
pub struct Arguments {
    /// Print one JSON document instead of text, errors included.
    #[arg(long, global = true)]
    pub json: bool,
    /// The package. Needed if the workspace has several.
    #[arg(long, short, global = true, value_name = "NAME")]
    pub package: Option<String>,
    /// The package's manifest, instead of that of the current folder.
    #[arg(long, global = true, value_name = "PATH")]
    pub manifest_path: Option<PathBuf>,
    /// Read the packages from this file instead of asking cargo. `cargo metadata --format-version 1 --no-deps` prints it. Without cargo, the
    /// manifest alone is enough for one package.
    #[arg(long, global = true, value_name = "FILE")]
    pub metadata: Option<PathBuf>,
    /// A folder with operators, relative to the manifest, instead of cargo's folders and targets. May be repeated. Name the same folders as
    /// `Build::source_dirs` in the build script.
    #[arg(long, global = true, value_name = "FOLDER")]
    pub source_dir: Vec<PathBuf>,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Search for the kernels of least energy and keep the results in the user's cache.
    Tune(Tune),
    /// Fail unless the package ships and embeds real, fresh results for all operators. For CI.
    Check(Check),
    /// Show the operators and their results.
    Show(Show),
    /// Print the kernel that an operator would run.
    Ptx(Ptx),
    /// Run one kernel of a PTX file.
    Run(Run),
    /// Check GPU, driver, energy counter, caches and package, and fail if there is a problem.
    Doctor(Doctor),
    /// Delete the files of a package in the user's cache.
    Clean(Clean),
    /// Write the results into one HTML file: Pareto fronts, savings, and the effort of the search.
    Report(Report),
}

/// Options of `tune`.
#[derive(Debug, Args)]
pub struct Tune {
    /// Tune on the emulated device. No real device uses its simulated results. The same as `--device emulated`.
    #[arg(long, conflicts_with = "device")]
    pub emulated: bool,
    /// The device: `gpu`, `emulated`, or `replay:FILE`. A replay takes all measurements from a trace that --sweep recorded, and tries only
    /// the kernels in it.
    #[arg(long, value_parser = tune_device, default_value = "gpu")]
    pub device: TuneDevice,
    /// Record a trace instead of tuning: the latency and energy of up to --candidates kernels for each size. Kernels that the file already
    /// holds are not measured again.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["ship", "again", "confirm", "dry_run"])]
    pub sweep: Option<PathBuf>,
    /// Copy the results into the package's `energy-cache/`, to be committed and published. Simulated results are never shipped.
    #[arg(long)]
    pub ship: bool,
    /// Tune only this operator. May be repeated.
    #[arg(long, value_name = "NAME")]
    pub operator: Vec<String>,
    /// The most time for tuning: `90`, `90s`, `10m`, `2h`.
    #[arg(long, value_parser = duration, default_value = "10m")]
    pub budget: Duration,
    /// Tune again the sizes that have results.
    #[arg(long)]
    pub again: bool,
    /// The most candidates for each size.
    #[arg(long, value_name = "NUMBER")]
    pub candidates: Option<usize>,
    /// The most energy measurements for each size. No limit by default.
    #[arg(long, value_name = "NUMBER")]
    pub measurements: Option<NonZeroUsize>,
    /// The number of rounds of energy measurements without an improvement that end the search of a size.
    #[arg(long, value_name = "ROUNDS", default_value_t = Rule::default().patience)]
    pub patience: usize,
    /// Measure with a warm L2 cache, as the last launch left it. By default every launch reads its tensors from device memory. Sizes that
    /// were measured with a cold cache are measured again.
    #[arg(long)]
    pub warm_l2: bool,
    /// The objective.
    #[arg(long, value_enum, default_value_t = Aim::Energy)]
    pub objective: Aim,
    /// With `--objective energy`, the largest latency above the fastest kernel's, as a fraction: 0.05 for 5 %.
    #[arg(long, default_value_t = 0.05)]
    pub slack: f64,
    /// The seed of the tuner's choices.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Only list the sizes that would be tuned.
    #[arg(long)]
    pub dry_run: bool,
    /// After tuning, compare each chosen kernel with the fastest one: the saving with its interval, from alternating windows of 5 s.
    #[arg(long, conflicts_with = "dry_run")]
    pub confirm: bool,
    /// The number of pairs of windows for --confirm: even, at least 4.
    #[arg(long, default_value = "8", value_name = "NUMBER", value_parser = pairs)]
    pub pairs: usize,
}

/// The objective of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Aim {
    /// The least energy among kernels that are fast enough.
    Energy,
    /// The least energy-delay product.
    Edp,
    /// The least latency.
    Latency,
}

/// Options of `check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Require results for a GPU whose name contains this.
    #[arg(long, value_name = "NAME")]
    pub device: Option<String>,
}

/// Options of `show`.
#[derive(Debug, Args)]
pub struct Show {
    /// Show only this operator.
    pub operator: Option<String>,
    /// Show the kernel that a call of these sizes would use: `M=16,K=384`.
    #[arg(long, requires = "operator")]
    pub sizes: Option<String>,
    /// The compute capability of the GPU of the call in --sizes.
    #[arg(long, default_value = "9.0")]
    pub capability: String,
    /// Show the whole Pareto front, not only the chosen points.
    #[arg(long)]
    pub front: bool,
}

/// Options of `ptx`.
#[derive(Debug, Args)]
pub struct Ptx {
    /// The operator: `softmax`, `scale<f16>`.
    pub operator: String,
    /// The sizes of the call: `M=16,K=384`. By default those of the first `tune(…)` bucket.
    #[arg(long)]
    pub sizes: Option<String>,
    /// The schedule, instead of the one that would run: `row threads=128 rows=1 vector=4 keep=registers unroll=1 pass=several`.
    #[arg(long)]
    pub schedule: Option<String>,
    /// The compute capability that the kernel is compiled for.
    #[arg(long, default_value = "9.0")]
    pub capability: String,
    /// List the legal schedules instead.
    #[arg(long)]
    pub list: bool,
}

/// Options of `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// The PTX file.
    pub file: PathBuf,
    /// The kernel. Needed if the file has several.
    #[arg(long)]
    pub kernel: Option<String>,
    /// Blocks in x, y, z.
    #[arg(long, value_parser = triple, default_value = "1")]
    pub grid: [u32; 3],
    /// Threads per block in x, y, z.
    #[arg(long, value_parser = triple, default_value = "1")]
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory.
    #[arg(long, default_value_t = 0, value_name = "BYTES")]
    pub shared: u32,
    /// `emulated`, or `cuda:N`.
    #[arg(long, default_value = "emulated", value_parser = run_device)]
    pub device: RunDevice,
    /// Run the sanitizer: report accesses out of bounds, races and so on to the standard error, with exit code 3. Emulated only.
    #[arg(long)]
    pub check: bool,
    /// Print the counts of instructions, bytes and other events. Emulated only.
    #[arg(long)]
    pub counts: bool,
    /// End the kernel after this many warp instructions. Emulated only.
    #[arg(long, value_name = "NUMBER")]
    pub limit: Option<u64>,
    /// An argument of the kernel. Repeat it in the order of the parameters. Numbers: `u32:5`, `s32:-5`, `f32:1.5`, … (8 to 64 bits).
    /// Buffers: `in:FILE`, `out:FILE:BYTES`, `inout:IN:OUT`, and `same:K`, the buffer of --arg K (from 0). `bytes:FILE` is a structure;
    /// `bytes:FILE:8=K,16=K` inserts addresses of buffers into it, and `pointers:K,K` is a buffer of addresses. Two kinds are not
    /// arguments: `buffer:in:FILE` (or out, inout) is a buffer to point to, and `symbol:NAME:FILE` sets a global or constant variable.
    #[arg(long = "arg", value_name = "ARGUMENT", value_parser = crate::run::entry, allow_hyphen_values = true)]
    pub entries: Vec<crate::run::Entry>,
}

/// Options of `doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Also calibrate the energy counter: its period, the cost of a reading, and aliasing with loads that are switched on and off.
    #[arg(long)]
    pub energy: bool,
}

/// Options of `clean`.
#[derive(Debug, Args)]
pub struct Clean {
    /// Only list the files that would be deleted.
    #[arg(long)]
    pub dry_run: bool,
    /// Delete only results that no operator of the package can use; see --source-dir.
    #[arg(long)]
    pub unused: bool,
    /// Also delete the results that the package ships, in `energy-cache/`.
    #[arg(long)]
    pub shipped: bool,
}

/// Options of `report`.
#[derive(Debug, Args)]
pub struct Report {
    /// The file.
    #[arg(long, value_name = "FILE", default_value = "energy-report.html")]
    pub output: PathBuf,
}

/// The device that operators are tuned on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TuneDevice {
    Gpu,
    Emulated,
    Replay(PathBuf),
}

impl Tune {
    /// The device.
    pub fn chosen_device(&self) -> &TuneDevice {
        match self.emulated {
            true => &TuneDevice::Emulated,
            false => &self.device,
        }
    }

    /// The objective.
    pub fn objective(&self) -> Objective {
        match self.objective {
            Aim::Energy => Objective::Energy { slack: self.slack },
            Aim::Edp => Objective::Edp,
            Aim::Latency => Objective::Latency,
        }
    }

    /// The state of the L2 cache when a kernel starts.
    pub fn cache(&self) -> CacheMode {
        match self.warm_l2 {
            true => CacheMode::Warm,
            false => CacheMode::Cold,
        }
    }
}

fn tune_device(text: &str) -> Result<TuneDevice, String> {
    match text {
        "gpu" => Ok(TuneDevice::Gpu),
        "emulated" => Ok(TuneDevice::Emulated),
        other => match other.strip_prefix("replay:") {
            Some(file) if !file.is_empty() => Ok(TuneDevice::Replay(file.into())),
            _ => Err("write `gpu`, `emulated` or `replay:FILE`".to_owned()),
        },
    }
}

/// The device that a PTX kernel runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunDevice {
    Emulated,
    Cuda(usize),
}

fn run_device(text: &str) -> Result<RunDevice, String> {
    match text.strip_prefix("cuda:").map(str::parse) {
        Some(Ok(ordinal)) => Ok(RunDevice::Cuda(ordinal)),
        None if text == "emulated" => Ok(RunDevice::Emulated),
        _ => Err("write `emulated` or `cuda:N`".to_owned()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(number) => (number, text.chars().last()),
        None => (text, None),
    };
    let seconds = match unit {
        Some('m') => 60.0,
        Some('h') => 3600.0,
        _ => 1.0,
    };
    let number: f64 = number
        .parse()
        .map_err(|_| "write a number with an optional s, m or h")?;
    Duration::try_from_secs_f64(number * seconds)
        .ok()
        .filter(|time| *time <= LONGEST_BUDGET)
        .ok_or("write a time from 0 to a year".to_owned())
}

fn pairs(text: &str) -> Result<usize, String> {
    let pairs = text.parse().ok();
    pairs
        .filter(|pairs| *pairs >= LEAST_PAIRS && pairs % 2 == 0)
        .ok_or(format!("write an even number of pairs, at least {LEAST_PAIRS}"))
}

fn triple(text: &str) -> Result<[u32; 3], String> {
    let mut triple = [1; 3];
    let words: Vec<&str> = text.split(',').collect();
    if words.len() > 3 {
        return Err("write at most three numbers: X,Y,Z".to_owned());
    }
    for (slot, word) in triple.iter_mut().zip(words) {
        *slot = word
            .trim()
            .parse()
            .map_err(|_| format!("`{word}` is not a number of blocks or threads"))?;
    }
    Ok(triple)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn times_triples_and_devices() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        assert!(
            duration("-1").is_err()
                && duration("soon").is_err()
                && duration("").is_err()
                && duration("NaN").is_err()
                && duration("1e18").is_err()
        );
        assert_eq!(triple("4"), Ok([4, 1, 1]));
        assert_eq!(triple("4, 2,3"), Ok([4, 2, 3]));
        assert!(triple("1,2,3,4").is_err() && triple("-1").is_err() && triple("").is_err());
        assert_eq!(run_device("cuda:2"), Ok(RunDevice::Cuda(2)));
        assert!(run_device("cuda").is_err() && run_device("cuda:x").is_err());
        assert_eq!((pairs("4"), pairs("10")), (Ok(4), Ok(10)));
        assert!(pairs("3").is_err() && pairs("2").is_err() && pairs("5").is_err() && pairs("many").is_err());
        assert_eq!(tune_device("replay:a:b"), Ok(TuneDevice::Replay("a:b".into())));
        assert!(tune_device("replay:").is_err() && tune_device("cuda:0").is_err());
    }
}
