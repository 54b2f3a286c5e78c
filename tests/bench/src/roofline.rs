//! Every operator of `operators/` beside its roofline: the schedule that runs untuned, and the best of a sample of its space. Estimates
//! and published figures only; nothing here is measured.

use crate::random::Random;
use crate::strategies::median;
use energy_kernel_build::names;
use energy_kernel_build::scan::{Found, scan};
use energy_kernel_build::sources::Sources;
use energy_kernel_compiler::datasheet::Datasheet;
use energy_kernel_compiler::estimate::{self, Terms};
use energy_kernel_compiler::features::{self, Features};
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::roofline::Roofline;
use energy_kernel_compiler::schedule::{Schedule, space, starts};
use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::target::Machine;
use energy_kernel_compiler::text::quantity;
use energy_kernel_compiler::tuning;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The points of a family that are drawn, and the most neighbours of a point that are estimated.
const SAMPLE: usize = 32;
/// The most steps from the best point of a family to its best neighbour.
const STEPS: usize = 4;
/// Families whose best drawn point takes up to so many times the least estimate are searched further.
const NEAR: f64 = 2.0;
const SEED: u64 = 14;
/// Beyond so many times its roofline an operator is listed.
const SLOW: f64 = 4.0;
/// A unit that is so busy bounds a kernel.
const BUSY: f64 = 0.8;

/// An operator at some sizes.
struct Row {
    model: String,
    name: String,
    sizes: String,
    roofline: Roofline,
    untuned: Estimated,
    best: Estimated,
}

/// A schedule with its estimate.
struct Estimated {
    schedule: Schedule,
    seconds: f64,
    limits: String,
}

/// Prints the table of a GPU.
///
/// # Errors
/// The GPU is not in the table of data sheets, or an operator is wrong.
pub fn table(device: &str) -> Result<(), String> {
    let sheet = Datasheet::named(device).ok_or_else(|| {
        let names: Vec<&str> = Datasheet::ALL.iter().map(|row| row.name).collect();
        format!("`{device}` has no data sheet here; the GPUs are {}", names.join(", "))
    })?;
    let machine = Machine::documented(sheet.capability, sheet.multiprocessors)
        .ok_or_else(|| format!("no kernels for {device}"))?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = scan(&Sources::of(folder, &[PathBuf::from("operators")]));
    if let Some(wrong) = found.skipped.first() {
        return Err(wrong.to_string());
    }
    if let Some(without) = found.without_tune.first() {
        return Err(format!("{} has no sizes; name them in `tune(…)`", without.name));
    }
    let all = found
        .operators
        .iter()
        .flat_map(|operator| operator.buckets.iter().map(move |sizes| (operator, sizes)));
    let all: Vec<(&Found, &Vec<u64>)> = all.collect();
    let rows = all
        .into_par_iter()
        .map(|(operator, sizes)| Row::of(operator, sizes, machine, &sheet))
        .collect::<Result<Vec<Row>, String>>()?;
    print(device, &sheet, Found::functions(&found.operators), &rows);
    Ok(())
}

impl Row {
    fn of(operator: &Found, sizes: &[u64], machine: Machine, sheet: &Datasheet) -> Result<Row, String> {
        let checked = &operator.checked;
        let named = format!("{} ({})", operator.name, names(operator, sizes));
        let wide = tuning::is_wide(checked, sizes);
        let untuned = Specialisation {
            wide,
            ..tuning::untuned(checked, sizes)
        };
        let problem = Problem::new(checked, &untuned, machine);
        let default = estimate::default(&problem, &estimate::near(checked, &untuned, sizes));
        let untuned = Estimated::of(&problem, default, sizes).map_err(|problem| format!("{named}: {problem}"))?;
        let exact = Specialisation {
            wide,
            ..Specialisation::exact(sizes)
        };
        let problem = Problem::new(checked, &exact, machine);
        let free = checked
            .op()
            .sizes
            .iter()
            .zip(sizes)
            .filter(|(size, _)| size.definition.is_none());
        let free: Vec<String> = free.map(|(size, value)| format!("{}={value}", size.name)).collect();
        Ok(Row {
            model: operator
                .file
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            name: operator.name.clone(),
            sizes: free.join(" "),
            roofline: Roofline::of(checked, sizes, sheet),
            untuned,
            best: best(&problem, sizes).ok_or_else(|| format!("{named}: no schedule can be lowered"))?,
        })
    }

    fn ratio(&self) -> f64 {
        self.untuned.seconds / self.roofline.seconds
    }

    fn best_ratio(&self) -> f64 {
        self.best.seconds / self.roofline.seconds
    }
}

/// The least estimate that a bounded search of a space finds: what runs without a search, points of each family drawn at random, and from
/// the best of those by steps to the best neighbour, of each family that comes near.
fn best(problem: &Problem<'_>, sizes: &[u64]) -> Option<Estimated> {
    let mut families: BTreeMap<&str, Vec<Schedule>> = BTreeMap::new();
    for schedule in space(problem) {
        families.entry(schedule.family()).or_default().push(schedule);
    }
    let estimated = |schedule| Estimated::of(problem, schedule, sizes).ok();
    let starts = starts(problem, sizes);
    let drawn = families.into_values().filter_map(|points| {
        let own = starts.iter().filter(|start| start.family() == points[0].family());
        let mut random = Random::new(SEED);
        let sampled = random.shuffled(points.len()).into_iter().take(SAMPLE);
        let all = own.copied().chain(sampled.map(|number| points[number]));
        Some((least(all.filter_map(estimated))?, points))
    });
    let drawn: Vec<(Estimated, Vec<Schedule>)> = drawn.collect();
    let fastest = drawn.iter().map(|(best, _)| best.seconds).fold(f64::INFINITY, f64::min);
    let near = drawn.into_iter().filter(|(best, _)| best.seconds <= NEAR * fastest);
    let improved = near.map(|(best, points)| descended(best, &points, estimated));
    least(improved)
}

/// Goes from a point to the fastest of its neighbours as long as that is faster.
fn descended(mut best: Estimated, points: &[Schedule], estimated: impl Fn(Schedule) -> Option<Estimated>) -> Estimated {
    let parameters = |schedule: &Schedule| -> Vec<String> {
        let text = schedule.to_string();
        text.split(' ').map(str::to_owned).collect()
    };
    let all: Vec<(Schedule, Vec<String>)> = points.iter().map(|point| (*point, parameters(point))).collect();
    for _ in 0..STEPS {
        let here = parameters(&best.schedule);
        let differing = |there: &[String]| here.iter().zip(there).filter(|(a, b)| a != b).count();
        let neighbours = all.iter().filter(|(_, there)| differing(there) == 1).take(SAMPLE);
        match least(neighbours.filter_map(|(point, _)| estimated(*point))) {
            Some(next) if next.seconds < best.seconds => best = next,
            _ => break,
        }
    }
    best
}

fn least(all: impl Iterator<Item = Estimated>) -> Option<Estimated> {
    all.min_by(|a, b| a.seconds.total_cmp(&b.seconds))
}

impl Estimated {
    fn of(problem: &Problem<'_>, schedule: Schedule, sizes: &[u64]) -> Result<Estimated, features::Error> {
        let features = features::of(problem, &schedule, sizes)?;
        let sheet = estimate::Datasheet::like(problem.machine);
        let seconds = estimate::latency(&features, &sheet);
        Ok(Estimated {
            schedule,
            seconds,
            limits: limits(&features, &sheet, seconds),
        })
    }
}

/// The units that are busy for most of a kernel's time.
fn limits(features: &Features, sheet: &estimate::Datasheet, seconds: f64) -> String {
    let terms = Terms::of_block(features, sheet);
    let clocks = |clocks: f64| clocks / sheet.clock_hz;
    let per_multiprocessor = (features.blocks as f64 / f64::from(sheet.multiprocessors)).max(1.0);
    let busy = [
        ("launch", sheet.launch_s),
        ("issue", clocks(terms.issue * per_multiprocessor)),
        ("pipes", clocks(terms.pipes * per_multiprocessor)),
        ("tensor cores", clocks(terms.matrix * per_multiprocessor)),
        ("shared memory", clocks(terms.shared * per_multiprocessor)),
        ("L2 port", clocks(terms.l2_port * per_multiprocessor)),
        ("latency of a warp", clocks(terms.alone * features.waves.max(1.0))),
        ("L2", features.l2_bytes().likely / sheet.l2_bandwidth),
        ("memory", features.dram_bytes().likely / sheet.dram_bandwidth),
    ];
    let body = (seconds - sheet.launch_s).max(sheet.launch_s);
    let most: Vec<&str> = busy
        .iter()
        .filter(|(_, time)| *time >= BUSY * body)
        .map(|(name, _)| *name)
        .collect();
    if most.is_empty() {
        "–".to_owned()
    } else {
        most.join(", ")
    }
}

fn print(device: &str, sheet: &Datasheet, functions: usize, rows: &[Row]) {
    let ratios = || rows.iter().map(Row::ratio);
    let best = || rows.iter().map(Row::best_ratio);
    println!("# Rooflines and estimates: {}\n", sheet.name);
    println!(
        "Made by `energy-kernel-bench roofline {device}`. Published figures and estimates; nothing is measured. *Roofline*: launch + the longest of \
         compulsory bytes / bandwidth and necessary operations / rate,\nwith the rate of `mma.sync` for types that tensor cores multiply exactly. \
         *Untuned*: the schedule that runs without a search, sizes as arguments. *Best*: the least estimate, sizes compiled in, of a seeded search: {SAMPLE} \
         points of each family\nand up to {STEPS} steps to the best neighbour. *Bound by*: what takes at least {:.0} % of the estimate.\n",
        100.0 * BUSY
    );
    println!(
        "{functions} operators, {} rows. Medians: {:.2} × the roofline untuned, {:.2} × the best.",
        rows.len(),
        median(ratios()),
        median(best())
    );
    for most in [1.5, 2.0, SLOW] {
        let within = |ratios: &mut dyn Iterator<Item = f64>| ratios.filter(|ratio| *ratio <= most).count();
        println!(
            "Within {most} ×: {} untuned, {} best.",
            within(&mut ratios()),
            within(&mut best())
        );
    }
    println!(
        "\n## Beyond {SLOW} × untuned\n\n| operator | sizes | untuned | best | untuned family | best family | bound by |\n|---|---|---|---|---|---|---|"
    );
    let mut slow: Vec<&Row> = rows.iter().filter(|row| row.ratio() > SLOW).collect();
    slow.sort_by(|a, b| b.ratio().total_cmp(&a.ratio()));
    for row in slow {
        println!(
            "| {} | {} | {} × | {} × | {} | {} | {} |",
            row.name,
            row.sizes,
            times(row.ratio()),
            times(row.best_ratio()),
            row.untuned.schedule.family(),
            row.best.schedule.family(),
            row.untuned.limits
        );
    }
    let mut model = "";
    for row in rows {
        if row.model != model {
            model = &row.model;
            println!(
                "\n## {model}\n\n| operator | sizes | roofline | by | untuned | × | bound by | best | × | bound by | untuned schedule | best schedule |\n\
                 |---|---|---|---|---|---|---|---|---|---|---|---|"
            );
        }
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            row.name,
            row.sizes,
            quantity(row.roofline.seconds, 0.0, "s"),
            row.roofline.bound,
            quantity(row.untuned.seconds, 0.0, "s"),
            times(row.ratio()),
            row.untuned.limits,
            quantity(row.best.seconds, 0.0, "s"),
            times(row.best_ratio()),
            row.best.limits,
            row.untuned.schedule,
            row.best.schedule,
        );
    }
}

/// A ratio with as many digits as matter.
fn times(ratio: f64) -> String {
    let decimals = if ratio < 10.0 { 2 } else { 0 };
    format!("{ratio:.decimals$}")
}
