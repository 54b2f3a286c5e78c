//! Kernels of every family, at random schedules and sizes of the validation set's operators, compared with the reference. Each family has
//! processes of its own.

use crate::children::{Ended, Item, Plan, Set, Trouble, supervise};
use crate::step::{Outcome, Result, Step};
use energy_kernel::tools::compiler::check::Checked;
use energy_kernel::tools::compiler::problem::Problem;
use energy_kernel::tools::compiler::schedule;
use energy_kernel::{Gpu, Schedule, Specialisation};
use energy_kernel_tests::on_gpu::Instance;
use energy_kernel_tests::{OPERATORS, operators, random_inputs, random_sizes, random_sizes_of};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Every family, and last the kernels that calls choose.
pub const FAMILIES: [&str; Schedule::FAMILIES.len() + 1] = {
    let mut all = [CHOSEN; _];
    let (families, _) = all.split_at_mut(Schedule::FAMILIES.len());
    families.copy_from_slice(Schedule::FAMILIES);
    all
};

/// Not a family: the kernels that calls choose.
const CHOSEN: &str = "chosen";

/// The name of a set in which all families take turns.
pub const SAMPLE: &str = "sample";

/// The least numbers: kernels of each family, and operators over all families.
const LEAST: (usize, usize) = (12, 20);

/// Kernels of each family that a virtual GPU runs.
const TINY: usize = 14;

/// Rounds through the operators for one kernel: few random sizes suit the families that accept few.
const ROUNDS: usize = 8;

/// Sizes that fill a GPU, of which a virtual one has no time for.
const LARGE: [u64; 14] = [1, 3, 16, 40, 64, 100, 128, 130, 255, 256, 384, 512, 1000, 1024];
/// Elements of outputs and inputs at these sizes, at most.
const MOST_ELEMENTS: u64 = 1 << 20;

/// A launch may take so long: on a GPU, where none of these kernels needs a second, and on a virtual one.
const PATIENCE: [Duration; 2] = [Duration::from_secs(4), Duration::from_secs(10)];

/// Kernels of a family, in an order that takes its operators in turn.
pub struct Kernels {
    gpu: Gpu,
    family: String,
    operators: Vec<(String, Checked)>,
    tiny: bool,
}

/// One kernel.
struct Case<'a> {
    name: &'a str,
    checked: &'a Checked,
    sizes: Vec<u64>,
    specialisation: Specialisation,
    /// None: what a call chooses.
    schedule: Option<Schedule>,
    /// The seed of the inputs.
    seed: u64,
}

impl Kernels {
    pub fn open(family: &str, tiny: bool) -> energy_kernel::Result<Kernels> {
        Ok(Kernels {
            gpu: Gpu::open()?,
            family: family.to_owned(),
            operators: operators(OPERATORS),
            tiny,
        })
    }

    /// The case of that number. Operators that a family does not accept are passed over, so that numbers mean the same in each process.
    fn case(&self, number: usize) -> Option<Case<'_>> {
        let family = match self.family.as_str() {
            SAMPLE => FAMILIES[number % FAMILIES.len()],
            family => family,
        };
        // The name tells families apart.
        let seed = family
            .bytes()
            .fold(number as u64, |seed, byte| seed * 31 + u64::from(byte));
        let mut random = StdRng::seed_from_u64(seed);
        let mut order = self.operators.iter().cycle().skip(number * 7 % self.operators.len());
        order
            .by_ref()
            .take(ROUNDS * self.operators.len())
            .find_map(|(name, checked)| {
                let sizes = match self.tiny || random.random() {
                    true => random_sizes(checked, &mut random),
                    false => random_sizes_of(checked, &LARGE, MOST_ELEMENTS, &mut random),
                };
                let specialisation = match random.random() {
                    true => Specialisation::exact(&sizes),
                    false => Specialisation::like(&sizes),
                };
                let schedule = match family {
                    CHOSEN => None,
                    _ => {
                        let mut space = schedule::space(&Problem::new(checked, &specialisation, self.gpu.machine()));
                        space.retain(|point| point.family() == family);
                        Some(*space.choose(&mut random)?)
                    }
                };
                Some(Case {
                    name,
                    checked,
                    sizes,
                    specialisation,
                    schedule,
                    seed,
                })
            })
    }

    fn check(&self, case: Case<'_>) -> std::result::Result<Value, Trouble> {
        let inputs = random_inputs(case.checked, &case.sizes, &mut StdRng::seed_from_u64(case.seed));
        let largest = inputs.iter().map(|input| input.bytes.len()).max().unwrap_or(0) as u64;
        let problem = Instance::new(&self.gpu, case.checked, case.sizes, inputs)?;
        let outputs = problem.outputs(&self.gpu)?;
        let loaded = match &case.schedule {
            None => {
                problem.call(&self.gpu, &outputs)?;
                None
            }
            Some(schedule) => {
                let loaded = problem.load(&self.gpu, &case.specialisation, schedule)?;
                loaded.launch(&outputs)?;
                Some(loaded)
            }
        };
        let patience = PATIENCE[usize::from(self.tiny)];
        if !self.gpu.wait_until(Instant::now() + patience)? {
            // Whoever frees what a kernel uses waits for it.
            std::mem::forget((loaded, outputs));
            std::mem::forget(problem);
            return Err(Trouble {
                why: format!("the kernel hangs: it did not end in {} s", patience.as_secs()),
                fatal: true,
            });
        }
        // The reference goes through an input for an element of a result at most.
        let points = (10_000_000 / largest.max(1)).clamp(64, 4096);
        match outputs.first_wrong_among(points)? {
            Some(wrong) => Err(Trouble::wrong(wrong)),
            None => Ok(json!({
                "operator": case.name, "schedule": case.schedule.map(|schedule| schedule.to_string()),
            })),
        }
    }
}

impl Set for Kernels {
    fn item(&self, number: usize) -> Option<Item<'_>> {
        let case = self.case(number)?;
        let schedule = case
            .schedule
            .map_or("what a call chooses".to_owned(), |schedule| schedule.to_string());
        Some(Item {
            name: format!(
                "{} {:?} {:?}: {schedule}",
                case.name, case.sizes, case.specialisation.extents
            ),
            run: Box::new(move || self.check(case)),
        })
    }
}

/// The results of a family.
#[derive(Default)]
struct Tally {
    kernels: usize,
    operators: BTreeSet<String>,
    schedules: BTreeSet<String>,
    /// Items' numbers, their names, and reasons.
    failed: Vec<(usize, String, String)>,
    /// Why no process of it ran.
    lost: Option<String>,
}

pub fn run(step: &mut Step) -> Result {
    let tallies: Mutex<BTreeMap<&str, Tally>> = Mutex::default();
    let families = Mutex::new(FAMILIES.iter());
    let tell = |family, tell: &dyn Fn(&mut Tally)| {
        let mut tallies = tallies.lock().expect("no thread panics with it");
        tell(tallies.entry(family).or_default());
    };
    let follow = |family: &'static str, end| {
        let set = format!("correctness:{family}");
        let plan = Plan {
            set: &set,
            items: 0..if step.tiny() { TINY } else { usize::MAX },
            tiny: step.tiny(),
            patience: Duration::from_secs(if step.tiny() { 60 } else { 15 }),
            end,
        };
        let supervised = supervise(&plan, |Ended { number, name, result }| match result {
            Ok(value) => tell(family, &|tally| {
                tally.kernels += 1;
                tally.operators.extend(value["operator"].as_str().map(str::to_owned));
                tally.schedules.extend(value["schedule"].as_str().map(str::to_owned));
            }),
            Err(why) => {
                println!("FAILED  {family}: {name}: {why}");
                tell(family, &|tally| tally.failed.push((number, name.clone(), why.clone())));
            }
        });
        if let Err(why) = supervised {
            println!("FAILED  {family}: {why}");
            tell(family, &|tally| tally.lost = Some(why.clone()));
        }
    };
    // Their processes compile and compute references on the host most of the time.
    let threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(FAMILIES.len());
    let rounds = FAMILIES.len().div_ceil(threads) as u32;
    let share = step.left() / rounds;
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let Some(family) = families.lock().expect("no thread panics with it").next() else {
                        break;
                    };
                    follow(family, step.end().min(Instant::now() + share));
                }
            });
        }
    });

    let tallies = tallies.into_inner().expect("no thread panics with it");
    let mut operators = BTreeSet::new();
    let (mut kernels, mut troubles) = (0, Vec::new());
    for (family, tally) in &tallies {
        println!(
            "{family:10} {} kernels right, {} failed; {} operators, {} schedules",
            tally.kernels,
            tally.failed.len(),
            tally.operators.len(),
            tally.schedules.len()
        );
        step.result(json!({
            "family": family, "right": tally.kernels, "failed": tally.failed.len(), "operators": tally.operators.len(),
            "schedules": tally.schedules.len(),
        }))?;
        for (number, name, why) in &tally.failed {
            step.result(json!({ "family": family, "item": number, "kernel": name, "why": why }))?;
            troubles.push(format!("{family}: {name}: {why}"));
        }
        troubles.extend(tally.lost.as_ref().map(|why| format!("{family}: {why}")));
        if tally.kernels + tally.failed.len() < LEAST.0 && tally.lost.is_none() {
            troubles.push(format!("{family}: the time was enough for {} kernels", tally.kernels));
        }
        kernels += tally.kernels;
        operators.extend(&tally.operators);
    }
    if operators.len() < LEAST.1 {
        troubles.push(format!("{} operators only", operators.len()));
    }
    let summary = format!(
        "{kernels} kernels of {} families and {} operators right",
        tallies.keys().filter(|family| **family != CHOSEN).count(),
        operators.len()
    );
    Ok(match troubles.first() {
        None => Outcome::Fine(summary),
        Some(first) => Outcome::Failed(format!("{summary}, {} troubles; {first}", troubles.len())),
    })
}
