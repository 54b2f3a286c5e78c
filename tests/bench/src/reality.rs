//! The formulas of the estimate beside what others measured: 340 kernels of an RTX 4000 Ada at ten clocks.
//!
//! `reality/` has the events of each kernel, counted by the emulator, with the registers that ptxas gave it, and the times and energies of an
//! external sensor. Its README names the sources. Kernels that spill or use local memory are left out.

use crate::models::Accuracy;
use crate::strategies::median;
use energy_kernel_build::tune::trace::{Table, read_text};
use energy_kernel_compiler::datasheet::Datasheet;
use energy_kernel_compiler::estimate::{TileGrid, Work};
use energy_kernel_compiler::features::InstructionClass;
use std::collections::BTreeMap;
use std::path::Path;

/// The accuracy that the formulas must reach, as means over the clocks.
pub struct Goal {
    pub spearman: f64,
    /// Mean absolute error in percent.
    pub error: f64,
}

/// For latencies; the kernel that is estimated fastest must be at most so much slower than the fastest.
pub const LATENCY: Goal = Goal {
    spearman: 0.90,
    error: 12.0,
};
pub const MOST_REGRET: f64 = 0.10;
/// For energies of estimated latencies.
pub const ENERGY: Goal = Goal {
    spearman: 0.95,
    error: 10.0,
};

/// A kernel at a clock.
struct Measured {
    work: Work,
    sheet: Datasheet,
    seconds: f64,
    joules: f64,
}

/// A prediction beside the truth, one clock after the other.
pub struct Predictor {
    pub name: &'static str,
    pub goal: Option<Goal>,
    /// Mean over the clocks.
    pub spearman: f64,
    /// Mean absolute error in percent.
    pub error: f64,
    /// The share of the ten best that are among the ten predicted best.
    pub recall: f64,
    /// The excess of the predicted best over the best, as a share of the best: the worst clock.
    pub regret: f64,
}

/// Reads the data in a folder and judges the formulas.
///
/// # Errors
/// A file cannot be read, or lacks a column or a number.
pub fn judge(folder: &Path) -> Result<Vec<Predictor>, String> {
    let clocks = read(folder)?;
    let seconds = |one: &Measured| one.work.seconds(&one.sheet);
    let of = |name, goal, predicted: &dyn Fn(&Measured) -> f64, truth: &dyn Fn(&Measured) -> f64| {
        let each: Vec<(Accuracy, f64)> = (clocks.values())
            .map(|kernels| {
                let predicted: Vec<f64> = kernels.iter().map(predicted).collect();
                let truth: Vec<f64> = kernels.iter().map(truth).collect();
                (Accuracy::of(&predicted, &truth), regret(&predicted, &truth))
            })
            .collect();
        let mean = |of: &dyn Fn(&Accuracy) -> f64| each.iter().map(|(one, _)| of(one)).sum::<f64>() / each.len() as f64;
        Predictor {
            name,
            goal,
            spearman: mean(&|one| one.spearman),
            error: mean(&|one| one.error),
            recall: mean(&|one| one.top_10),
            regret: each.iter().map(|(_, regret)| *regret).fold(0.0, f64::max),
        }
    };
    Ok(vec![
        of("latency", Some(LATENCY), &seconds, &|one| one.seconds),
        of(
            "energy, of the estimated latency",
            Some(ENERGY),
            &|one| one.work.joules(&one.sheet, seconds(one)),
            &|one| one.joules,
        ),
        of(
            "energy, of the measured latency",
            None,
            &|one| one.work.joules(&one.sheet, one.seconds),
            &|one| one.joules,
        ),
    ])
}

/// Prints the table, and what limits the kernels by the estimate.
///
/// # Errors
/// As of [`judge`], and where a goal is missed.
pub fn print(folder: &Path) -> Result<(), String> {
    let predictors = judge(folder)?;
    let clocks = read(folder)?;
    let kernels = clocks.values().map(Vec::len).max().unwrap_or(0);
    println!(
        "Made by `energy-kernel-bench reality`: {kernels} kernels of an RTX 4000 Ada at {} clocks, measured by others. Means over the clocks; regret of the \
         worst clock.\n",
        clocks.len()
    );
    println!(
        "| estimate of | Spearman | mean absolute error | top-10 recall | regret of its best | goal |\n|---|---|---|---|---|---|"
    );
    for one in &predictors {
        let goal = one.goal.as_ref().map_or("–".to_owned(), |goal| {
            format!("≥ {:.2}, ≤ {:.0} %", goal.spearman, goal.error)
        });
        println!(
            "| {} | {:.3} | {:.1} % | {:.2} | {:.1} % | {goal} |",
            one.name,
            one.spearman,
            one.error,
            one.recall,
            100.0 * one.regret
        );
    }
    let mut limits: BTreeMap<&str, usize> = BTreeMap::new();
    let last = clocks.values().next_back().map_or(&[][..], Vec::as_slice);
    for one in last {
        let busiest = one.work.busy(&one.sheet).into_iter().max_by(|a, b| a.1.total_cmp(&b.1));
        let seconds = one.work.seconds(&one.sheet);
        let name = busiest
            .filter(|(_, busy)| *busy >= 0.8 * seconds)
            .map_or("no unit", |(unit, _)| unit.name());
        *limits.entry(name).or_default() += 1;
    }
    let limits: Vec<String> = limits
        .iter()
        .map(|(name, kernels)| format!("{name} {kernels}"))
        .collect();
    println!(
        "\nBusy for at least 80 % of the estimated latency, at the highest clock: {}.",
        limits.join(", ")
    );
    let ratios = last.iter().map(|one| one.work.seconds(&one.sheet) / one.seconds);
    println!("Median of estimated ÷ measured latency there: {:.2}.", median(ratios));
    predictors.iter().try_for_each(missed)
}

/// The error if a goal is missed.
pub fn missed(predictor: &Predictor) -> Result<(), String> {
    let Some(goal) = &predictor.goal else { return Ok(()) };
    match predictor.spearman >= goal.spearman && predictor.error <= goal.error && predictor.regret <= MOST_REGRET {
        true => Ok(()),
        false => Err(format!(
            "{}: Spearman {:.3}, error {:.1} %, regret {:.1} %: the goal is ≥ {}, ≤ {} %, ≤ {} %",
            predictor.name,
            predictor.spearman,
            predictor.error,
            100.0 * predictor.regret,
            goal.spearman,
            goal.error,
            100.0 * MOST_REGRET
        )),
    }
}

/// The excess of the predicted best over the best, as a share of the best.
fn regret(predicted: &[f64], truth: &[f64]) -> f64 {
    let best = (0..predicted.len()).min_by(|&a, &b| predicted[a].total_cmp(&predicted[b]));
    let least = truth.iter().copied().fold(f64::INFINITY, f64::min);
    best.map_or(0.0, |best| truth[best] / least - 1.0)
}

/// The kernels at each clock in MHz.
fn read(folder: &Path) -> Result<BTreeMap<u64, Vec<Measured>>, String> {
    let table = |name: &str| {
        let text = read_text(&folder.join(name)).map_err(|error| error.to_string())?;
        Table::parse_csv(&text).map_err(|error| format!("{name}: {error}"))
    };
    let (counts, measured) = (table("ada_gemm_counts.csv.gz")?, table("ps3_ad4000.csv.gz")?);
    let mut works = BTreeMap::new();
    for row in &counts.rows {
        let row = Row {
            table: &counts,
            cells: row,
        };
        // ptxas keeps what it has no register for, and arrays with unknown indices, in local memory.
        if row.number("spill_st")? + row.number("spill_ld")? + row.number("local_bytes")? == 0.0 {
            works.insert(row.tunables()?, work(&row)?);
        }
    }
    let mut clocks: BTreeMap<u64, Vec<Measured>> = BTreeMap::new();
    for row in &measured.rows {
        let row = Row {
            table: &measured,
            cells: row,
        };
        if let Some(work) = works.get(&row.tunables()?) {
            let clock = row.number("clock_mhz")?;
            clocks.entry(clock as u64).or_default().push(Measured {
                work: *work,
                sheet: Datasheet::RTX_4000_ADA.at_clock(1e6 * clock),
                seconds: 1e-3 * row.number("time_ms_smooth")?,
                joules: row.number("energy_J_smooth")?,
            });
        }
    }
    Ok(clocks)
}

/// The work of a kernel: a product of complex `f16` matrices of 4096 rows, columns and terms.
fn work(row: &Row<'_>) -> Result<Work, String> {
    const SIDE: u64 = 4096;
    let sheet = Datasheet::RTX_4000_ADA;
    let number = |name: &str| row.number(name);
    let sum = |names: &[&str]| names.iter().map(|name| number(name)).sum::<Result<f64, String>>();
    let whole = |name: &str| number(name).map(|value| value as u64);
    let threads = whole("threads_block")? as u32;
    let shared = whole("smem")? as u32;
    let resident = sheet
        .limits()
        .resident_blocks(threads, whole("registers")? as u32, shared);
    let resident = resident.max(1);
    let (blocks, warps) = (number("blocks")?, f64::from(threads.div_ceil(32)));
    let grid = TileGrid {
        rows: SIDE,
        columns: SIDE,
        batches: 1,
        terms: SIDE,
        tile: [whole("M_PER_BLOCK")?, whole("N_PER_BLOCK")?],
        group: 1,
        bytes: [4.0, 4.0],
    };
    let threads_of = |class: &str| number(&format!("t_{class}"));
    let classes = row.table.columns.iter().filter_map(|name| name.strip_prefix("t_"));
    let thread_instructions = classes.map(threads_of).sum::<Result<f64, String>>()?;
    let sectors = number("global_load_sectors")?;
    let dram_read_bytes = number("dram_read_bytes")?;
    let copied_bytes = number("global_to_shared_bytes")?;
    // Each buffer holds a slab of both sides; every warp waits for every slab.
    let buffers = number("NBUFFER")?;
    let slabs = copied_bytes / (f64::from(shared) / buffers);
    let at_once = u64::from(sheet.multiprocessors) * u64::from(resident);
    let mut work = Work {
        blocks,
        warps,
        resident_blocks: f64::from(resident),
        matrix_flops: number("matrix_flops")?,
        shared_passes: number("shared_transactions")?,
        shared_bytes: sum(&["shared_load_bytes", "shared_store_bytes"])?,
        l1_clocks: Work::l1_clocks(sectors, number("global_load_bytes")?),
        // The counts do not tell what L1 served.
        l2_bytes: 32.0 * (sectors + sum(&["global_store_sectors", "global_atomic_sectors"])?),
        dram_read_bytes,
        wave_read_bytes: grid.wave_bytes(at_once).min(32.0 * sectors),
        dram_write_bytes: number("dram_write_bytes")?,
        load_waits: 0.0,
        wait_distance: 0.0,
        copy_waits: slabs * warps,
        copy_stages: buffers,
        copied_bytes,
        barriers: number("w_Barrier")?,
        thread_instructions,
        flops32: number("flops")?,
        flops64: 0.0,
        other: number("warp_instructions_skipped")?,
        memory: number("w_Local")?,
        ..Work::default()
    };
    for class in InstructionClass::ALL {
        // These kernels divide nothing, and were counted when names had no class of their own.
        let name = format!("w_{class:?}");
        if row.table.columns.contains(&name) {
            work.issue(*class, number(&name)?);
        }
    }
    Ok(work)
}

/// A row of a table.
struct Row<'a> {
    table: &'a Table,
    cells: &'a [String],
}

impl Row<'_> {
    fn cell(&self, name: &str) -> Result<&str, String> {
        let column = self.table.column(name).map_err(|error| error.to_string())?;
        Ok(&self.cells[column])
    }

    fn number(&self, name: &str) -> Result<f64, String> {
        let cell = self.cell(name)?;
        cell.parse()
            .map_err(|_| format!("`{cell}` in the column `{name}` is no number"))
    }

    /// The parameters of the kernel, in both tables.
    fn tunables(&self) -> Result<Vec<String>, String> {
        let names = ["block_size_y", "block_size_z", "M_PER_BLOCK", "N_PER_BLOCK", "NBUFFER"];
        names
            .into_iter()
            .map(|name| self.cell(name).map(str::to_owned))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_reached() {
        let predictors = judge(&Path::new(env!("CARGO_MANIFEST_DIR")).join("reality")).unwrap();
        for predictor in &predictors {
            missed(predictor).unwrap();
        }
        assert_eq!(predictors.iter().filter(|one| one.goal.is_some()).count(), 2);
    }

    #[test]
    fn regret_is_of_the_predicted_best() {
        assert_eq!(regret(&[2.0, 1.0, 3.0], &[4.0, 5.0, 9.0]), 0.25);
    }
}
