//! Candidates before they are measured. Each schedule is lowered once, for its estimate, its kernel and its features.

use super::describe::described;
use super::model::device::Described;
use crate::bench::Job;
use energy_kernel_compiler::datasheet::Datasheet;
use energy_kernel_compiler::estimate::latency;
use energy_kernel_compiler::features::{Features, of_stage};
use energy_kernel_compiler::kernel::Kernel;
use energy_kernel_compiler::lower::{self, Stage};
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::schedule::{Program, Schedule};
use energy_kernel_compiler::stages;
use energy_kernel_compiler::target::Machine;
use std::collections::BTreeMap;

/// The candidates of a problem on a machine.
pub(super) struct Candidates<'a> {
    job: &'a Job<'a>,
    machine: Machine,
    /// Lowered kernels whose text has not been needed yet.
    lowered: BTreeMap<Schedule, Stage>,
    /// The features of each stage of a program. Empty if one has none; every legal schedule has some.
    features: BTreeMap<Program, Vec<Features>>,
}

impl<'a> Candidates<'a> {
    pub(super) fn new(job: &'a Job<'a>, machine: Machine) -> Candidates<'a> {
        Candidates {
            job,
            machine,
            lowered: BTreeMap::new(),
            features: BTreeMap::new(),
        }
    }

    /// The estimated latency of a schedule in seconds. `None` if it has no kernel.
    pub(super) fn estimate(&mut self, schedule: Schedule) -> Option<f64> {
        let lowered = self.lower(&schedule).ok()?;
        self.lowered.insert(schedule, lowered);
        let features = self.features.get(&schedule.into())?.first()?;
        Some(latency(features, &Datasheet::like(self.machine)))
    }

    /// Drops the lowered kernels of all other schedules.
    pub(super) fn keep(&mut self, chosen: &[Schedule]) {
        self.lowered.retain(|schedule, _| chosen.contains(schedule));
    }

    /// The kernel of a program.
    ///
    /// # Errors
    /// There is none, which is a defect of the space.
    pub(super) fn kernel(&mut self, program: &Program) -> Result<Kernel, lower::Error> {
        let Some(schedule) = program.lone() else {
            return self.kernel_of_stages(program);
        };
        let stage = match self.lowered.remove(schedule) {
            Some(stage) => stage,
            None => self.lower(schedule)?,
        };
        Ok(lower::assemble(stage, self.machine))
    }

    /// The input of the device model: the features of a program whose kernel was made, and its latency in seconds.
    pub(super) fn describe(&self, program: &Program, latency: f64) -> Described {
        described(self.features.get(program).map_or(&[], Vec::as_slice), latency)
    }

    fn problem(&self) -> Problem<'a> {
        Problem::new(&self.job.found.checked, &self.job.found.specialisation, self.machine)
    }

    fn lower(&mut self, schedule: &Schedule) -> Result<Stage, lower::Error> {
        let problem = self.problem();
        let stage = lower::stage(&problem, schedule)?;
        let features = of_stage(&problem, schedule, &stage, self.job.sizes);
        self.features.insert(schedule.into(), features.into_iter().collect());
        Ok(stage)
    }

    fn kernel_of_stages(&mut self, program: &Program) -> Result<Kernel, lower::Error> {
        let problem = self.problem();
        let kernel = lower::lower(&problem, program)?;
        let features = stages::features(&problem, program, self.job.sizes).unwrap_or_default();
        self.features.insert(program.clone(), features);
        Ok(kernel)
    }
}

#[cfg(test)]
mod tests {
    use super::super::evolve::evolve;
    use super::super::sample::sample;
    use super::super::testing::operator;
    use super::*;
    use crate::source::scan::Found;
    use energy_kernel_compiler::lower::lower;
    use energy_kernel_compiler::schedule;
    use energy_kernel_compiler::target::{Machine, Target};
    use std::time::Instant;

    const MACHINE: Machine = Machine::like(Target::Sm90);

    /// The job of the first bucket, without time: nothing is measured.
    fn job_of(found: &Found) -> Job<'_> {
        Job {
            found,
            sizes: &found.buckets[0],
            deadline: Instant::now(),
            limit: Instant::now(),
            journal: None,
            stages: None,
        }
    }

    #[test]
    fn evolution_mostly_finds_no_slower_schedules_by_the_estimate_than_a_sample_of_as_many() {
        let products = [
            (
                "tune(M = 512, N = 1536, K = 384)",
                "fn product(x: Tensor<f32, (M, K)>, w: Tensor<f32, (N, K)>) -> Tensor<f32, (M, N)> { |m, n| sum(|k| x[[m, k]] * w[[n, k]]) }",
            ),
            (
                "tune(M = 512, N = 1536, K = 384)",
                "fn halves(x: Tensor<f16, (M, K)>, w: Tensor<f16, (N, K)>) -> Tensor<f16, (M, N)> { |m, n| sum(|k| x[[m, k]] * w[[n, k]]) }",
            ),
        ];
        let mut ratios = Vec::new();
        for (attribute, source) in products {
            let found = operator(attribute, source);
            let job = job_of(&found);
            let mut known = Candidates::new(&job, MACHINE);
            let space = schedule::space(&Problem::new(&found.checked, &found.specialisation, MACHINE));
            assert!(space.len() > 500, "{}", space.len());
            for seed in 0..8 {
                let pool = sample(&space, &space[..1], 96, seed);
                let ranked = evolve(&space, &pool[..48], 96, seed, |schedule| known.estimate(schedule));
                let all = evolve(&space, &pool, 96, seed, |schedule| known.estimate(schedule));
                println!("of {}: evolved {:e}, sampled {:e}", space.len(), ranked[0].1, all[0].1);
                ratios.push(ranked[0].1 / all[0].1);
            }
        }
        // 96 of thousands are few: a run may miss what a sample happens to hold.
        let no_slower = ratios.iter().filter(|ratio| **ratio <= 1.0).count();
        let faster = ratios.iter().filter(|ratio| **ratio < 1.0).count();
        assert!(
            4 * no_slower >= 3 * ratios.len() && 2 * faster > ratios.len(),
            "{ratios:?}"
        );
    }

    #[test]
    fn what_was_lowered_for_its_estimate_gives_the_same_kernel_and_its_features() {
        let found = operator(
            "tune(R = 64, C = 96)",
            "fn total(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R,)> { |r| sum(|c| x[[r, c]]) }",
        );
        let job = job_of(&found);
        let mut known = Candidates::new(&job, MACHINE);
        for schedule in schedule::space(&Problem::new(&found.checked, &found.specialisation, MACHINE)) {
            let expected = lower(&Problem::new(&found.checked, &found.specialisation, MACHINE), schedule).unwrap();
            assert!(known.estimate(schedule).is_some_and(|seconds| seconds > 0.0));
            assert_eq!(known.kernel(&schedule.into()).unwrap(), expected);
            assert_eq!(
                known.kernel(&schedule.into()).unwrap(),
                expected,
                "also where nothing is kept any more"
            );
            let described = known.describe(&schedule.into(), 1e-5);
            assert!(described.counts[0] > 0.0 && described.shape[0] > 0.0 && described.latency == 1e-5);
        }
    }
}
