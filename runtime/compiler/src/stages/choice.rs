//! The programs of an untuned operator: what to store, and a schedule for each stage, by the estimate.

use super::launches::{least_launches, most_shared, threads, with_threads};
use super::{Split, StageOp, launches, permuted, results, sets};
use crate::check::Checked;
use crate::datasheet::Datasheet;
use crate::estimate;
use crate::features::{self, Features};
use crate::ir::{Op, SizeId};
use crate::kernel::{MOST_WORKSPACE, SCRATCH_ALIGNMENT};
use crate::lower;
use crate::problem::Problem;
use crate::schedule::{self, Program, Schedule};
use crate::size::Specialisation;
use crate::target::Machine;

/// Returns the estimated seconds of stages in so many launches, from those of each on its own: one launch, all bodies, and the gaps between
/// launches.
pub fn latency(each: impl IntoIterator<Item = f64>, launches: usize, sheet: &Datasheet) -> f64 {
    let bodies = each.into_iter().map(|seconds| (seconds - sheet.launch_s).max(0.0));
    sheet.launch_s + bodies.sum::<f64>() + sheet.gap_s * launches.saturating_sub(1) as f64
}

/// Returns the features of each stage of a program at these sizes. `None` if a stage has none.
pub fn features(problem: &Problem<'_>, program: &Program, sizes: &[u64]) -> Option<Vec<Features>> {
    if let Some(schedule) = program.lone() {
        return Some(vec![features::of(problem, schedule, sizes).ok()?]);
    }
    features_of_stages(problem, &lower::split(problem, &program.stored)?, program, sizes)
}

fn features_of_stages(problem: &Problem<'_>, split: &Split, program: &Program, sizes: &[u64]) -> Option<Vec<Features>> {
    let each = split.stages.iter().zip(&program.stages);
    each.map(|(stage, schedule)| features_of_stage(problem, stage, schedule, sizes))
        .collect()
}

/// The features of a schedule of a stage. `None` if it is not legal.
fn features_of_stage(problem: &Problem<'_>, stage: &StageOp, schedule: &Schedule, sizes: &[u64]) -> Option<Features> {
    let specialisation = stage.specialisation(problem.specialisation);
    let problem = Problem::new(&stage.checked, &specialisation, problem.machine);
    features::of(&problem, schedule, &stage.sizes_at(sizes)).ok()
}

/// Returns the number of launches of a program; 0 if it is not legal.
pub fn launch_count(problem: &Problem<'_>, program: &Program) -> usize {
    match program.lone() {
        Some(_) => 1,
        None => lower::split(problem, &program.stored).map_or(0, |split| launches(&split, &program.stages).len()),
    }
}

/// Returns the estimated seconds of a program at these sizes. `None` if a stage has no estimate.
pub fn seconds(problem: &Problem<'_>, program: &Program, sizes: &[u64]) -> Option<f64> {
    let sheet = Datasheet::like(problem.machine);
    if let Some(schedule) = program.lone() {
        let features = features::of(problem, schedule, sizes).ok()?;
        return Some(estimate::latency(&features, &sheet));
    }
    let split = lower::split(problem, &program.stored)?;
    let stages = features_of_stages(problem, &split, program, sizes)?;
    let each = stages.iter().map(|stage| estimate::latency(stage, &sheet));
    Some(latency(each, launches(&split, &program.stages).len(), &sheet))
}

/// Returns the program with such numbers of threads that stages share launches, if that is faster by the estimate.
pub fn sharing(problem: &Problem<'_>, program: Program, sizes: &[u64]) -> Program {
    let shared = || {
        let split = lower::split(problem, &program.stored)?;
        let sheet = Datasheet::like(problem.machine);
        let estimate =
            |number: usize, schedule: &Schedule| seconds_of_stage(problem, &split.stages[number], schedule, sizes);
        let stages = program.stages.iter().enumerate();
        let stages = stages.map(|(number, schedule)| Some((*schedule, estimate(number, schedule)?)));
        let stages = shared_stages(&split, stages.collect::<Option<_>>()?, &sheet, estimate);
        Some(stages.into_iter().map(|(schedule, _)| schedule).collect())
    };
    match program.lone() {
        Some(_) => program,
        None => Program {
            stages: shared().unwrap_or_else(|| program.stages.clone()),
            stored: program.stored,
        },
    }
}

/// The schedules of all stages with their seconds, with such numbers of threads that stages share launches, if that is faster.
fn shared_stages(
    split: &Split,
    stages: Vec<(Schedule, f64)>,
    sheet: &Datasheet,
    estimate: impl Fn(usize, &Schedule) -> Option<f64>,
) -> Vec<(Schedule, f64)> {
    let schedules = |stages: &[(Schedule, f64)]| stages.iter().map(|(schedule, _)| *schedule).collect::<Vec<_>>();
    let may_share = most_shared(split, &schedules(&stages));
    if may_share.len() == launches(split, &schedules(&stages)).len() {
        return stages;
    }
    let alone = |number: &usize| may_share.contains(&(*number..number + 1));
    let sharing: Vec<usize> = (0..stages.len()).filter(|number| !alone(number)).collect();
    let all_with = |count: u32| {
        let mut changed = stages.clone();
        for &number in &sharing {
            let (schedule, seconds) = &mut changed[number];
            if threads(schedule) != Some(count) {
                *schedule = with_threads(schedule, count);
                *seconds = estimate(number, schedule)?;
            }
        }
        Some(changed)
    };
    let counts: Vec<u32> = sharing
        .iter()
        .filter_map(|&number| threads(&stages[number].0))
        .collect();
    let total = |stages: &[(Schedule, f64)]| {
        let each = stages.iter().map(|(_, seconds)| *seconds);
        latency(each, launches(split, &schedules(stages)).len(), sheet)
    };
    let shared = counts.into_iter().filter_map(all_with);
    let fastest = shared.min_by(|a, b| total(a).total_cmp(&total(b)));
    match fastest {
        Some(shared) if total(&shared) < total(&stages) => shared,
        _ => stages,
    }
}

/// A program to run untuned.
#[derive(Debug, Clone, PartialEq)]
pub struct Untuned {
    /// The facts about calls that the kernel relies on.
    pub specialisation: Specialisation,
    /// The program.
    pub program: Program,
}

/// Returns the programs to run untuned, best first by the estimate: a call runs the first one whose workspace fits. Each [stores](stored_bytes) less
/// than those before it. The last one needs no workspace: it is [`estimate::untuned`], or a schedule without split-K. Each stage has the schedule
/// that the estimate ranks first among [`schedule::starts`].
pub fn untuned(checked: &Checked, specialisation: &Specialisation, machine: Machine, sizes: &[u64]) -> Vec<Untuned> {
    let chosen = estimate::untuned(checked, specialisation, machine, sizes);
    let unshared = chosen.unshared.map(|schedule| Untuned {
        specialisation: specialisation.clone(),
        program: schedule.into(),
    });
    let lone = Untuned {
        specialisation: chosen.specialisation,
        program: chosen.schedule.into(),
    };
    if sets(checked).is_empty() {
        return std::iter::once(lone).chain(unshared).collect();
    }
    let problem = Problem::new(checked, &lone.specialisation, machine);
    let limit = (chosen.seconds).or_else(|| seconds(&problem, &lone.program, sizes));
    let limit = limit.unwrap_or(f64::INFINITY);
    let mut programs: Vec<Untuned> = Vec::new();
    let mut least = u64::MAX;
    let storing = storing(&Problem::new(checked, specialisation, machine), sizes, limit);
    for (program, _) in storing.into_iter().filter(|(_, seconds)| *seconds < limit) {
        let bytes = stored_bytes(checked, &program.stored, sizes);
        if bytes < least {
            least = bytes;
            programs.push(Untuned {
                specialisation: specialisation.clone(),
                program,
            });
        }
    }
    programs.push(lone);
    programs.extend(unshared);
    programs
}

/// Returns the program to run untuned with the default limit of the workspace: the first of [`untuned`] whose stored values fit.
pub fn untuned_by_default(
    checked: &Checked,
    specialisation: &Specialisation,
    machine: Machine,
    sizes: &[u64],
) -> Option<Untuned> {
    let fits = |untuned: &Untuned| stored_bytes(checked, &untuned.program.stored, sizes) <= MOST_WORKSPACE;
    untuned(checked, specialisation, machine, sizes).into_iter().find(fits)
}

/// Returns the bytes of workspace for what is stored at these sizes.
pub fn stored_bytes(checked: &Checked, stored: &[u32], sizes: &[u64]) -> u64 {
    if stored.is_empty() {
        return 0;
    }
    let known = super::stored(checked).into_iter();
    let extent = |size: SizeId| sizes.get(size.index()).copied().unwrap_or(0);
    let each = known.filter(|known| stored.contains(&known.number())).map(|stored| {
        let extents = stored.dims(checked).into_iter().map(extent);
        let bytes = extents.fold(stored.element(checked).size().into(), u64::saturating_mul);
        bytes.checked_next_multiple_of(SCRATCH_ALIGNMENT).unwrap_or(u64::MAX)
    });
    each.fold(0, u64::saturating_add)
}

/// Returns the best program of each set of stored values by the estimate, with its seconds, fastest first. The program that stores nothing is
/// among them. A set whose gaps and compulsory traffic alone take longer than that program is not.
pub fn ranked(problem: &Problem<'_>, sizes: &[u64]) -> Vec<(Program, f64)> {
    let lone = best(problem, sizes).map(|(schedule, seconds)| (Program::from(schedule), seconds));
    let limit = lone.as_ref().map_or(f64::INFINITY, |(_, seconds)| *seconds);
    let mut programs = storing(problem, sizes, limit);
    programs.extend(lone);
    programs.sort_by(|a, b| a.1.total_cmp(&b.1));
    programs
}

/// Returns the best program of each set of stored values, with its seconds, fastest first. Left out are sets whose gaps and compulsory traffic
/// alone take as long as the limit, in seconds.
fn storing(problem: &Problem<'_>, sizes: &[u64], limit: f64) -> Vec<(Program, f64)> {
    let sheet = Datasheet::like(problem.machine);
    let mut programs: Vec<(Program, f64)> = Vec::new();
    let mut known: Vec<(Op, Option<(Schedule, f64)>)> = Vec::new();
    for stored in sets(problem.checked) {
        if permuted::among(problem.checked, &stored) && !permuted::may_pay(problem) {
            continue;
        }
        // Another launch reads what is in the workspace.
        let launches_at_least = if results::alone(problem.checked, &stored) { 1 } else { 2 };
        if latency([], launches_at_least, &sheet) >= limit {
            continue;
        }
        let Some(split) = lower::split(problem, &stored) else {
            continue;
        };
        let least = (split.stages.iter()).map(|stage| estimate::least(&stage.checked, &stage.sizes_at(sizes), &sheet));
        if latency(least, least_launches(&split), &sheet) >= limit {
            continue;
        }
        let stages = split.stages.iter().map(|stage| {
            if let Some((_, found)) = known.iter().find(|(op, _)| op == stage.op()) {
                return *found;
            }
            let found = best_of_stage(problem, stage, sizes);
            known.push((stage.op().clone(), found));
            found
        });
        if let Some(stages) = stages.collect::<Option<Vec<_>>>() {
            let estimate =
                |number: usize, schedule: &Schedule| seconds_of_stage(problem, &split.stages[number], schedule, sizes);
            let (stages, each): (Vec<Schedule>, Vec<f64>) =
                shared_stages(&split, stages, &sheet, estimate).into_iter().unzip();
            let seconds = latency(each, launches(&split, &stages).len(), &sheet);
            programs.push((Program { stored, stages }, seconds));
        }
    }
    programs.sort_by(|a, b| a.1.total_cmp(&b.1));
    programs
}

/// The estimated seconds of a schedule of a stage. `None` if it is not legal.
fn seconds_of_stage(problem: &Problem<'_>, stage: &StageOp, schedule: &Schedule, sizes: &[u64]) -> Option<f64> {
    let features = features_of_stage(problem, stage, schedule, sizes)?;
    Some(estimate::latency(&features, &Datasheet::like(problem.machine)))
}

fn best_of_stage(problem: &Problem<'_>, stage: &StageOp, sizes: &[u64]) -> Option<(Schedule, f64)> {
    let specialisation = stage.specialisation(problem.specialisation);
    best(
        &Problem::new(&stage.checked, &specialisation, problem.machine),
        &stage.sizes_at(sizes),
    )
}

fn best(problem: &Problem<'_>, sizes: &[u64]) -> Option<(Schedule, f64)> {
    let starts = schedule::starts(problem, sizes);
    estimate::ranked(problem, sizes, &starts).into_iter().next()
}
