//! Every operator of `operators/` beside its roofline: the schedule that runs untuned, and the best of a sample of its space. Estimates
//! and published figures only; nothing here is measured.

use crate::random::Random;
use crate::strategies::median;
use energy_kernel_build::names;
use energy_kernel_build::scan::{Found, scan};
use energy_kernel_build::sources::Sources;
use energy_kernel_compiler::datasheet::Datasheet;
use energy_kernel_compiler::estimate::{self, Work};
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::roofline::Roofline;
use energy_kernel_compiler::schedule::{Program, Schedule, space, starts};
use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::stages::{self, Split};
use energy_kernel_compiler::target::Machine;
use energy_kernel_compiler::tuning;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The points of a family that are drawn, and the most neighbours of a point that are estimated.
const SAMPLE: usize = 128;
/// The most steps from the best point of a family to its best neighbour.
const STEPS: usize = 8;
/// Families whose best drawn point takes up to so many times the least estimate are searched further.
const NEAR: f64 = 2.0;
const SEED: u64 = 14;
/// The most sets of stored values whose stages are searched.
const MOST_SETS: usize = 3;
/// Beyond so many times its roofline an operator is listed.
const SLOW: f64 = 4.0;

/// Operators that wait for kernels of their own, and why: sums of scaled sums, gathered experts, first convolutions of 3 channels, guards and
/// quotients in a loop over terms, taps that are sizes.
const WAITING: [&str; 7] = [
    "group_scales",
    "experts_gate_and_up",
    "experts_down",
    "conv_stem",
    "patch_embed",
    "upsample_conv",
    "causal_conv",
];
/// At so few rows, products with 8-bit weights wait too.
const FEW_ROWS: u64 = 16;

/// An operator at some sizes.
struct Row {
    model: String,
    name: String,
    sizes: String,
    /// `true` if the operator waits for kernels of its own at these sizes.
    waits: bool,
    roofline: Roofline,
    untuned: Estimated,
    best: Estimated,
    /// The time that choosing the untuned schedule took on this machine.
    chosen_in: Duration,
}

/// A program with its estimate.
struct Estimated {
    program: Program,
    seconds: f64,
    /// The busiest unit of all stages, and the part of the time for which it is busy.
    unit: &'static str,
    share: f64,
}

/// Prints the table of a GPU, of the operators with these names; of all if there are none.
///
/// # Errors
/// The GPU is not in the table of data sheets, no operator has one of the names, or an operator is wrong.
pub fn table(device: &str, names: &[&str]) -> Result<(), String> {
    let sheet = Datasheet::named(device).ok_or_else(|| {
        let names: Vec<&str> = Datasheet::ALL.iter().map(|row| row.name).collect();
        format!("`{device}` has no data sheet here; the GPUs are {}", names.join(", "))
    })?;
    let machine = Machine::documented(sheet.capability, sheet.multiprocessors)
        .ok_or_else(|| format!("no kernels for {device}"))?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = scan(&Sources::of(folder, &[PathBuf::from("operators")]));
    if let Some(wrong) = found.skipped.first() {
        return Err(wrong.to_string());
    }
    if let Some(without) = found.without_tune.first() {
        return Err(format!("{} has no sizes; name them in `tune(…)`", without.name));
    }
    let is_called = |operator: &Found, name: &str| operator.name.split('<').next() == Some(name);
    let missing = |name: &&&str| !found.operators.iter().any(|operator| is_called(operator, name));
    if let Some(name) = names.iter().find(missing) {
        return Err(format!("no operator is called `{name}`"));
    }
    if !names.is_empty() {
        let is_wanted = |operator: &Found| names.iter().any(|name| is_called(operator, name));
        found.operators.retain(is_wanted);
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
    // Not in the table, which is the same on every machine.
    let milliseconds = || rows.iter().map(|row| 1e3 * row.chosen_in.as_secs_f64());
    eprintln!(
        "untuned schedules were chosen in {:.1} ms in the median, {:.1} ms at most",
        median(milliseconds()),
        milliseconds().fold(0.0, f64::max)
    );
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
        let near = estimate::near(checked, &untuned, sizes);
        let start = Instant::now();
        let chosen = stages::untuned_by_default(checked, &untuned, machine, &near);
        let chosen_in = start.elapsed();
        let estimated = chosen.and_then(|chosen| {
            let problem = Problem::new(checked, &chosen.specialisation, machine);
            Estimated::of(&problem, &chosen.program, sizes)
        });
        let untuned = estimated.ok_or_else(|| format!("{named}: no program has an estimate"))?;
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
            waits: waits(operator, sizes),
            roofline: Roofline::of(checked, sizes, sheet),
            best: best_program(&problem, sizes, &untuned.program)
                .ok_or_else(|| format!("{named}: no schedule can be lowered"))?,
            untuned,
            chosen_in,
        })
    }

    fn ratio(&self) -> f64 {
        self.untuned.seconds / self.roofline.seconds
    }

    fn best_ratio(&self) -> f64 {
        self.best.seconds / self.roofline.seconds
    }
}

/// `true` for operators that wait for kernels of their own.
fn waits(operator: &Found, sizes: &[u64]) -> bool {
    let (name, types) = operator.name.split_once('<').unwrap_or((&operator.name, ""));
    let rows = operator.checked.op().outputs[0].dims.first();
    let rows = rows.and_then(|size| sizes.get(size.index())).copied().unwrap_or(0);
    let few = 2..=FEW_ROWS;
    WAITING.contains(&name) || types.starts_with("i8") && few.contains(&rows)
}

/// The least estimate of a search of one stage, and of searches of the stages of the most promising sets of stored values.
fn best_program(problem: &Problem<'_>, sizes: &[u64], untuned: &Program) -> Option<Estimated> {
    let lone = best(problem, sizes, untuned.lone().copied());
    let sets = stages::ranked(problem, sizes)
        .into_iter()
        .map(|(program, _)| program.stored);
    let sets = sets.filter(|stored| !stored.is_empty()).take(MOST_SETS);
    let staged = sets.filter_map(|stored| {
        let split = Split::new(problem.checked, &stored)?;
        let stages = split.stages.iter().map(|stage| {
            let specialisation = stage.specialisation(problem.specialisation);
            let problem = Problem::new(&stage.checked, &specialisation, problem.machine);
            best(&problem, &stage.sizes_at(sizes), None)?.program.lone().copied()
        });
        let stages = stages.collect::<Option<_>>()?;
        let program = stages::sharing(problem, Program { stored, stages }, sizes);
        Estimated::of(problem, &program, sizes)
    });
    least(staged.chain(lone))
}

/// The least estimate that a bounded search of a space finds: what runs without a search, points of each family drawn at random, and from
/// the best of those by steps to the best neighbour, of each family that comes near.
fn best(problem: &Problem<'_>, sizes: &[u64], untuned: Option<Schedule>) -> Option<Estimated> {
    let mut families: BTreeMap<&str, Vec<Schedule>> = BTreeMap::new();
    for schedule in space(problem) {
        families.entry(schedule.family()).or_default().push(schedule);
    }
    let estimated = |schedule: Schedule| Estimated::of(problem, &schedule.into(), sizes);
    let mut starts = starts(problem, sizes);
    starts.extend(untuned);
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
    let parameters = |schedule: &dyn std::fmt::Display| -> Vec<String> {
        let text = schedule.to_string();
        // The number of persistent blocks follows from the others: how many are resident.
        let parameter = |word: &str| match word.strip_prefix("blocks=") {
            Some(number) if number != "0" => "persistent".to_owned(),
            _ => word.to_owned(),
        };
        text.split(' ').map(parameter).collect()
    };
    let all: Vec<(Schedule, Vec<String>)> = points.iter().map(|point| (*point, parameters(point))).collect();
    for _ in 0..STEPS {
        let here = parameters(&best.program);
        let differing = |there: &[String]| here.iter().zip(there).filter(|(a, b)| a != b).count();
        let neighbours = all.iter().filter(|(_, there)| differing(there) <= 1).take(SAMPLE);
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
    fn of(problem: &Problem<'_>, program: &Program, sizes: &[u64]) -> Option<Estimated> {
        let sheet = Datasheet::like(problem.machine);
        let stages = stages::features(problem, program, sizes)?;
        let works: Vec<Work> = stages.iter().map(Work::of).collect();
        let launches = stages::launch_count(problem, program);
        let seconds = stages::latency(works.iter().map(|work| work.seconds(&sheet)), launches, &sheet);
        let mut busy = vec![("launch", sheet.launch_s)];
        for (unit, time) in works.iter().flat_map(|work| work.busy(&sheet)) {
            match busy.iter_mut().find(|(name, _)| *name == unit.name()) {
                Some((_, sum)) => *sum += time,
                None => busy.push((unit.name(), time)),
            }
        }
        let (unit, time) = busy.into_iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
        Some(Estimated {
            program: program.clone(),
            seconds,
            unit,
            share: time / seconds,
        })
    }

    /// The families of the stages.
    fn families(&self) -> String {
        let families: Vec<&str> = self.program.stages.iter().map(Schedule::family).collect();
        families.join(", ")
    }

    /// The busiest unit and its part of the time.
    fn bound(&self) -> String {
        format!("{} {:.0} %", self.unit, 100.0 * self.share)
    }
}

fn print(device: &str, sheet: &Datasheet, functions: usize, rows: &[Row]) {
    println!("# Rooflines and estimates: {}\n", sheet.name);
    println!(
        "Made by `energy-kernel-bench roofline {device}`. Published figures and estimates; nothing is measured.\n\n\
         - *Roofline*: launch + the longest of compulsory bytes / bandwidth and necessary operations / rate. The rate of types that tensor cores multiply exactly is that of \
         `mma.sync`, {:.0} % of the data sheet's; rows bound by tensor cores are those that `wgmma` would lower on Hopper.\n\
         - *Untuned*: the schedule that runs without a search, sizes as arguments.\n\
         - *Best*: the least estimate that a seeded search finds, sizes compiled in: {SAMPLE} points of each family, and up to {STEPS} steps to the best neighbour.\n\
         - *Busiest*: the busiest unit and its part of the estimate. A small part means that latencies bound the kernel.\n",
        100.0 * sheet.mma_share
    );
    let others: Vec<&Row> = rows.iter().filter(|row| !row.waits).collect();
    println!(
        "## Summary\n\n{functions} operators, {} rows. {} of them, marked *, wait for kernels of their own.\n",
        rows.len(),
        rows.len() - others.len()
    );
    println!(
        "| × roofline | median | most | beyond 1.5 | beyond 2 | beyond 3 | beyond 4 |\n|---|---|---|---|---|---|---|"
    );
    let all: Vec<&Row> = rows.iter().collect();
    for (name, ratio) in [("untuned", Row::ratio as fn(&Row) -> f64), ("best", Row::best_ratio)] {
        summary(name, &all, ratio);
        summary(&format!("{name}, without those marked"), &others, ratio);
    }
    println!(
        "\n## Untuned beyond {SLOW} ×\n\n\
         | operator | sizes | roofline, µs | by | untuned × | family | busiest | best × | family | busiest |\n|---|---|---|---|---|---|---|---|---|---|"
    );
    let mut slow: Vec<&Row> = rows.iter().filter(|row| row.ratio() > SLOW).collect();
    slow.sort_by(|a, b| b.ratio().total_cmp(&a.ratio()));
    for row in slow {
        let [untuned, best] = [&row.untuned, &row.best].map(Estimated::families);
        println!("{}", row.line(&untuned, &best));
    }
    let mut model = "";
    for row in rows {
        if row.model != model {
            model = &row.model;
            println!(
                "\n## {model}\n\n\
                 | operator | sizes | roofline, µs | by | untuned × | schedule | busiest | best × | schedule | busiest |\n|---|---|---|---|---|---|---|---|---|---|"
            );
        }
        let [untuned, best] = [&row.untuned, &row.best].map(|one| one.program.to_string());
        println!("{}", row.line(&untuned, &best));
    }
}

fn summary(name: &str, rows: &[&Row], ratio: fn(&Row) -> f64) {
    let ratios = || rows.iter().map(|row| ratio(row));
    let beyond = |most: f64| ratios().filter(|&ratio| ratio > most).count();
    println!(
        "| {name} | {} | {} | {} | {} | {} | {} |",
        times(median(ratios())),
        times(ratios().fold(0.0, f64::max)),
        beyond(1.5),
        beyond(2.0),
        beyond(3.0),
        beyond(SLOW)
    );
}

impl Row {
    /// A line of a table. `untuned` and `best` name the schedules.
    fn line(&self, untuned: &str, best: &str) -> String {
        format!(
            "| {}{} | {} | {:.2} | {} | {} | {untuned} | {} | {} | {best} | {} |",
            self.name,
            if self.waits { " *" } else { "" },
            self.sizes,
            1e6 * self.roofline.seconds,
            self.roofline.bound,
            times(self.ratio()),
            self.untuned.bound(),
            times(self.best_ratio()),
            self.best.bound(),
        )
    }
}

/// A ratio with as many digits as matter.
fn times(ratio: f64) -> String {
    let decimals = if ratio < 10.0 { 2 } else { 0 };
    format!("{ratio:.decimals$}")
}
