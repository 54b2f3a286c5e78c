//! Split-K products, launched again and again from several threads and on two streams: the result must be
//! right, and the same bit for bit whoever of the blocks comes last.

use crate::children::{Ended, Item, Plan, Set, Trouble, supervise};
use crate::step::{Outcome, Result, Step};
use energy_kernel::tools::compiler::check::Checked;
use energy_kernel::tools::compiler::problem::Problem;
use energy_kernel::tools::compiler::schedule;
use energy_kernel::{Gpu, Schedule, Specialisation};
use energy_kernel_tests::on_gpu::{Instance, Loaded, Outputs};
use energy_kernel_tests::split_k::{OPERATORS, shared};
use energy_kernel_tests::{operators, random_inputs};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use std::time::Duration;

/// Launches that are queued before their results are looked at.
const QUEUED: usize = 4;

/// Split-K kernels: each operator with each split-K factor, of each family.
pub struct SplitK {
    /// Two streams of one GPU.
    gpus: [Gpu; 2],
    cases: Vec<Case>,
    rounds: usize,
}

struct Case {
    name: &'static str,
    checked: Checked,
    sizes: Vec<u64>,
    schedule: Schedule,
}

impl SplitK {
    pub fn open(tiny: bool) -> energy_kernel::Result<SplitK> {
        let gpus = [Gpu::open()?, Gpu::open()?];
        let all = operators(energy_kernel_tests::OPERATORS);
        let mut cases = Vec::new();
        for (name, sizes) in OPERATORS {
            let found = all.iter().find(|(of, _)| of == name);
            let (_, checked) = found.expect("the operator exists");
            let sizes = checked.derive(sizes.to_vec()).expect("sizes of the operator");
            let space = schedule::space(&Problem::new(
                checked,
                &Specialisation::exact(&sizes),
                gpus[0].machine(),
            ));
            let mut kinds: Vec<_> = space.iter().filter_map(shared).collect();
            kinds.sort_unstable();
            kinds.dedup();
            for (number, kind) in kinds.into_iter().enumerate() {
                let points: Vec<&Schedule> = space.iter().filter(|point| shared(point) == Some(kind)).collect();
                let case = Case {
                    name,
                    checked: checked.clone(),
                    sizes: sizes.clone(),
                    // Neither all of the first points nor all of the last.
                    schedule: *points[(7 * number + name.len()) % points.len()],
                };
                cases.push((number, case));
            }
        }
        // The operators take turns, for the time may end before all kernels were run.
        cases.sort_by_key(|(number, _)| *number);
        let cases = cases.into_iter().map(|(_, case)| case);
        Ok(SplitK {
            gpus,
            // A virtual GPU has time for some.
            cases: match tiny {
                true => cases.step_by(11).collect(),
                false => cases.collect(),
            },
            rounds: if tiny { 1 } else { 24 },
        })
    }

    fn check(&self, case: &Case) -> std::result::Result<Value, Trouble> {
        let mut random = StdRng::seed_from_u64(21);
        let inputs = random_inputs(&case.checked, &case.sizes, &mut random);
        let exact = Specialisation::exact(&case.sizes);
        let [mine, other] = &self.gpus;
        let problem = |gpu| Instance::new(gpu, &case.checked, case.sizes.clone(), inputs.clone());
        let (problem, theirs) = (problem(mine)?, problem(other)?);
        let kernel = problem.load(mine, &exact, &case.schedule)?;
        let first = problem.outputs(mine)?;
        kernel.launch(&first)?;
        if let Some(wrong) = first.first_wrong()? {
            return Err(Trouble::wrong(wrong));
        }
        let expected = first.bytes()?;
        let elsewhere = theirs.load(other, &exact, &case.schedule)?;
        let launch = |problem: &Instance<'_>, gpu: &Gpu, kernel: &Loaded<'_>| {
            let outputs = (0..QUEUED)
                .map(|_| problem.outputs(gpu))
                .collect::<energy_kernel::Result<Vec<_>>>()?;
            for round in 0..self.rounds {
                outputs.iter().try_for_each(|outputs| kernel.launch(outputs))?;
                for (number, outputs) in outputs.iter().enumerate() {
                    if Outputs::bytes(outputs)? != expected {
                        return Err(Trouble::wrong(format!(
                            "launch {} differs from the first",
                            round * QUEUED + number
                        )));
                    }
                }
            }
            Ok(())
        };
        // Two threads share a stream, and the memory in which blocks leave their sums.
        std::thread::scope(|scope| {
            let threads = [
                scope.spawn(|| launch(&problem, mine, &kernel)),
                scope.spawn(|| launch(&problem, mine, &kernel)),
                scope.spawn(|| launch(&theirs, other, &elsewhere)),
            ];
            threads.into_iter().try_for_each(|thread| match thread.join() {
                Ok(launched) => launched,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })?;
        Ok(json!({ "launches": 3 * self.rounds * QUEUED + 1 }))
    }
}

impl Set for SplitK {
    fn item(&self, number: usize) -> Option<Item<'_>> {
        let case = self.cases.get(number)?;
        Some(Item {
            name: format!("{} {:?}: {}", case.name, case.sizes, case.schedule),
            run: Box::new(move || self.check(case)),
        })
    }
}

pub fn run(step: &mut Step) -> Result {
    let mut failed = Vec::new();
    let (mut kernels, mut launches) = (0, 0);
    let plan = Plan {
        set: "split_k",
        items: 0..usize::MAX,
        tiny: step.tiny(),
        patience: Duration::from_secs(if step.tiny() { 60 } else { 20 }),
        end: step.end(),
    };
    supervise(&plan, |Ended { number, name, result }| {
        kernels += 1;
        match result {
            Ok(value) => launches += value["launches"].as_u64().unwrap_or(0),
            Err(why) => {
                println!("FAILED  {name}: {why}");
                failed.push((number, name, why));
            }
        }
    })?;
    for (number, name, why) in &failed {
        step.result(json!({ "item": number, "kernel": name, "why": why }))?;
    }
    step.result(json!({ "kernels": kernels, "launches": launches, "failed": failed.len() }))?;
    let summary = format!("{launches} launches of {kernels} kernels");
    Ok(match failed.first() {
        Some((_, name, why)) => Outcome::Failed(format!("{summary}, {} failed; {name}: {why}", failed.len())),
        None if kernels == 0 => Outcome::Failed("no kernel was run".to_owned()),
        None => Outcome::Fine(format!("{summary}, all results the same")),
    })
}
