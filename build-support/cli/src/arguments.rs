//! What can be said on the command line.

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
  4    the emulator does not know an instruction (`run`)
  130  interrupted

With --json, a command prints one JSON document to the standard output; one that fails prints
{\"error\": …, \"causes\": […], \"help\": …}.";

/// Tunes GPU operators for energy, and shows what is known of them.
#[derive(Debug, Parser)]
#[command(name = "cargo energy-kernel", bin_name = "cargo energy-kernel", version, after_help = EXIT_CODES)]
pub struct Arguments {
    /// Print one JSON document instead of text, errors included.
    #[arg(long, global = true)]
    pub json: bool,
    /// The package, if the workspace has several.
    #[arg(long, short, global = true, value_name = "NAME")]
    pub package: Option<String>,
    /// The package's manifest, instead of the one of the current folder.
    #[arg(long, global = true, value_name = "PATH")]
    pub manifest_path: Option<PathBuf>,
    /// Read this file instead of asking cargo for the packages: what `cargo metadata --format-version 1 --no-deps` prints. Where there is no
    /// cargo, the manifest alone is enough for one package.
    #[arg(long, global = true, value_name = "FILE")]
    pub metadata: Option<PathBuf>,
    /// A folder with operators, relative to the manifest, instead of cargo's folders and targets; may be repeated. Name those of
    /// `Build::source_dirs` if the build script calls it.
    #[arg(long, global = true, value_name = "FOLDER")]
    pub source_dir: Vec<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Search for the kernels of least energy, and keep the results in the user's cache.
    Tune(Tune),
    /// Fail unless the package ships real, fresh results for all operators, and embeds them: for CI.
    Check(Check),
    /// Show what is known of the operators.
    Show(Show),
    /// Print the kernel that an operator would run.
    Ptx(Ptx),
    /// Run one kernel of a PTX file.
    Run(Run),
    /// Say what is wrong with GPU, driver, energy counter, caches and package; fail if anything is.
    Doctor(Doctor),
    /// Delete what is kept of a package in the user's cache.
    Clean(Clean),
    /// Write what is known of the operators into one HTML file: Pareto fronts, savings, the search's effort.
    Report(Report),
}

/// Options of `tune`.
#[derive(Debug, Args)]
pub struct Tune {
    /// Tune on the emulated device: results are simulated, and stay with it. The same as `--device emulated`.
    #[arg(long, conflicts_with = "device")]
    pub emulated: bool,
    /// Where: `gpu`, `emulated`, or `replay:FILE`, a trace that --sweep recorded: nothing is measured, and what the trace does not hold is
    /// not tried.
    #[arg(long, value_parser = bench, default_value = "gpu")]
    pub device: Bench,
    /// Record a trace instead: of each size up to --candidates kernels, each with its latency and energy. What the file holds already is
    /// not measured again.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["ship", "again", "confirm", "dry_run"])]
    pub sweep: Option<PathBuf>,
    /// Copy the results into the package's `energy-cache/`, to be committed and published. Simulated results are never shipped.
    #[arg(long)]
    pub ship: bool,
    /// Tune these operators only.
    #[arg(long, value_name = "NAME")]
    pub operator: Vec<String>,
    /// The most time: `90`, `90s`, `10m`, `2h`.
    #[arg(long, value_parser = duration, default_value = "10m")]
    pub budget: Duration,
    /// Tune again what is tuned already.
    #[arg(long)]
    pub again: bool,
    /// The most candidates for each size.
    #[arg(long, value_name = "NUMBER")]
    pub candidates: Option<usize>,
    /// The most energy measurements for each size; by default as many as it takes.
    #[arg(long, value_name = "NUMBER")]
    pub measurements: Option<NonZeroUsize>,
    /// How many rounds of energy measurements may bring no improvement before the search of a size ends.
    #[arg(long, value_name = "ROUNDS", default_value_t = Rule::default().patience)]
    pub patience: usize,
    /// Measure with the L2 cache as a kernel's last launch left it. By default every launch finds its tensors in device memory. What was
    /// measured with a cold cache is measured again.
    #[arg(long)]
    pub warm_l2: bool,
    /// What to look for.
    #[arg(long, value_enum, default_value_t = Aim::Energy)]
    pub objective: Aim,
    /// With `--objective energy`, how much slower than the fastest a kernel may be: 0.05 are 5 %.
    #[arg(long, default_value_t = 0.05)]
    pub slack: f64,
    /// The seed of the tuner's choices.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Only say what would be tuned.
    #[arg(long)]
    pub dry_run: bool,
    /// Afterwards, compare each chosen kernel with the fastest one, in turn and by windows of 5 s: the saving, with an interval.
    #[arg(long, conflicts_with = "dry_run")]
    pub confirm: bool,
    /// Pairs of windows for --confirm: an even number, at least 4.
    #[arg(long, default_value = "8", value_name = "NUMBER", value_parser = pairs)]
    pub pairs: usize,
}

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Aim {
    /// The least energy among kernels that are fast enough.
    Energy,
    /// The least product of energy and latency.
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
    /// Show this operator only.
    pub operator: Option<String>,
    /// Show the kernel that a call of these sizes would use: `M=16,K=384`.
    #[arg(long, requires = "operator")]
    pub sizes: Option<String>,
    /// The compute capability of the GPU that --sizes is about.
    #[arg(long, default_value = "9.0")]
    pub capability: String,
    /// Show the whole front, not the chosen points alone.
    #[arg(long)]
    pub front: bool,
}

/// Options of `ptx`.
#[derive(Debug, Args)]
pub struct Ptx {
    /// Which operator: `softmax`, `scale<f16>`.
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
    /// The kernel; not needed where there is one only.
    #[arg(long)]
    pub kernel: Option<String>,
    /// Blocks in x, y, z.
    #[arg(long, value_parser = triple, default_value = "1")]
    pub grid: [u32; 3],
    /// Threads of a block in x, y, z.
    #[arg(long, value_parser = triple, default_value = "1")]
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory.
    #[arg(long, default_value_t = 0, value_name = "BYTES")]
    pub shared: u32,
    /// `emulated`, or `cuda:N`.
    #[arg(long, default_value = "emulated", value_parser = device)]
    pub device: Device,
    /// Report what no program should do (out of bounds, races, …) to the standard error, with exit code 3. Emulated only.
    #[arg(long)]
    pub check: bool,
    /// Print what was counted. Emulated only.
    #[arg(long)]
    pub counts: bool,
    /// End it after so many warp instructions. Emulated only.
    #[arg(long, value_name = "NUMBER")]
    pub limit: Option<u64>,
    /// The arguments in order. Numbers: `u32:5`, `s32:-5`, `f32:1.5`, … (8 to 64 bits). Buffers: `in:FILE`, `out:FILE:BYTES`,
    /// `inout:IN:OUT`, and `same:K`, the buffer of --arg K (from 0). `bytes:FILE` is a structure; `bytes:FILE:8=K,16=K` puts
    /// addresses of buffers into it, `pointers:K,K` makes a buffer of them. Two kinds are no arguments: `buffer:in:FILE` (or
    /// out, inout) is a buffer to be pointed to, `symbol:NAME:FILE` sets a global or constant variable.
    #[arg(long = "arg", value_name = "ARGUMENT", value_parser = crate::run::argument, allow_hyphen_values = true)]
    pub arguments: Vec<crate::run::Argument>,
}

/// Options of `doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Also calibrate the energy counter: its period, what a reading costs, and whether loads that are switched on and off mislead it.
    #[arg(long)]
    pub energy: bool,
}

/// Options of `clean`.
#[derive(Debug, Args)]
pub struct Clean {
    /// Only say what would be deleted.
    #[arg(long)]
    pub dry_run: bool,
    /// Only results that no operator of the package can use; see --source-dir.
    #[arg(long)]
    pub unused: bool,
    /// Also the results that the package ships, in `energy-cache/`.
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

/// Where operators are tuned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bench {
    Gpu,
    Emulated,
    Replay(PathBuf),
}

impl Tune {
    /// Where it tunes.
    pub fn bench(&self) -> &Bench {
        match self.emulated {
            true => &Bench::Emulated,
            false => &self.device,
        }
    }

    /// What is looked for.
    pub fn objective(&self) -> Objective {
        match self.objective {
            Aim::Energy => Objective::Energy { slack: self.slack },
            Aim::Edp => Objective::Edp,
            Aim::Latency => Objective::Latency,
        }
    }

    /// What the L2 cache holds when a kernel starts.
    pub fn cache(&self) -> CacheMode {
        match self.warm_l2 {
            true => CacheMode::Warm,
            false => CacheMode::Cold,
        }
    }
}

fn bench(text: &str) -> Result<Bench, String> {
    match text {
        "gpu" => Ok(Bench::Gpu),
        "emulated" => Ok(Bench::Emulated),
        other => match other.strip_prefix("replay:") {
            Some(file) if !file.is_empty() => Ok(Bench::Replay(file.into())),
            _ => Err("`gpu`, `emulated` or `replay:FILE` is expected".to_owned()),
        },
    }
}

/// Where a PTX kernel runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    Emulated,
    Cuda(usize),
}

fn device(text: &str) -> Result<Device, String> {
    match text.strip_prefix("cuda:").map(str::parse) {
        Some(Ok(ordinal)) => Ok(Device::Cuda(ordinal)),
        None if text == "emulated" => Ok(Device::Emulated),
        _ => Err("`emulated` or `cuda:N` is expected".to_owned()),
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
        .map_err(|_| "a time is a number with s, m or h behind it")?;
    Duration::try_from_secs_f64(number * seconds)
        .ok()
        .filter(|time| *time <= LONGEST_BUDGET)
        .ok_or("a time is from 0 to a year".to_owned())
}

fn pairs(text: &str) -> Result<usize, String> {
    let pairs = text.parse().ok();
    pairs
        .filter(|pairs| *pairs >= LEAST_PAIRS && pairs % 2 == 0)
        .ok_or(format!("an even number of pairs is expected, at least {LEAST_PAIRS}"))
}

fn triple(text: &str) -> Result<[u32; 3], String> {
    let mut triple = [1; 3];
    let words: Vec<&str> = text.split(',').collect();
    if words.len() > 3 {
        return Err("at most three numbers are expected: X,Y,Z".to_owned());
    }
    for (slot, word) in triple.iter_mut().zip(words) {
        *slot = word
            .trim()
            .parse()
            .map_err(|_| format!("`{word}` is no number of blocks or threads"))?;
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
        assert_eq!(device("cuda:2"), Ok(Device::Cuda(2)));
        assert!(device("cuda").is_err() && device("cuda:x").is_err());
        assert_eq!((pairs("4"), pairs("10")), (Ok(4), Ok(10)));
        assert!(pairs("3").is_err() && pairs("2").is_err() && pairs("5").is_err() && pairs("many").is_err());
        assert_eq!(bench("replay:a:b"), Ok(Bench::Replay("a:b".into())));
        assert!(bench("replay:").is_err() && bench("cuda:0").is_err());
    }
}
