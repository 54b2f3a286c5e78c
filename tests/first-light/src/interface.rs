//! The scenarios of the public interface, which the virtual GPU's tests run as well.

use crate::children::{Ended, Item, Plan, Set, Trouble, supervise};
use crate::step::{Outcome, Result, Step};
use energy_kernel::Gpu;
use energy_kernel_tests::scenarios;
use serde_json::{Value, json};
use std::time::Duration;

type Scenario = fn(&Gpu) -> energy_kernel::Result<()>;

macro_rules! list {
    ($($scenario:ident)*) => {
        &[$((stringify!($scenario), scenarios::$scenario)),*]
    };
}

const SCENARIOS: &[(&str, Scenario)] = energy_kernel_tests::scenarios!(list);

/// The scenarios, each on a stream of its own.
pub struct Scenarios;

impl Scenarios {
    pub fn open() -> energy_kernel::Result<Scenarios> {
        // A process without a GPU says so once, not with each scenario.
        Gpu::open().map(|_| Scenarios)
    }
}

impl Set for Scenarios {
    fn item(&self, number: usize) -> Option<Item<'_>> {
        let (name, scenario) = SCENARIOS.get(number)?;
        let run = || {
            let ended = Gpu::open().and_then(|gpu| scenario(&gpu));
            // The state of the context is unknown.
            ended.map(|()| Value::Null).map_err(|error| Trouble {
                fatal: true,
                ..error.into()
            })
        };
        Some(Item {
            name: (*name).to_owned(),
            run: Box::new(run),
        })
    }
}

pub fn run(step: &mut Step) -> Result {
    let mut failed = Vec::new();
    let mut passed = 0;
    let plan = Plan {
        set: "interface",
        items: 0..SCENARIOS.len(),
        tiny: step.tiny(),
        patience: Duration::from_secs(if step.tiny() { 60 } else { 20 }),
        end: step.end(),
    };
    let ended = |Ended { name, result, .. }| match result {
        Ok(_) => {
            println!("ok      {name}");
            passed += 1;
        }
        Err(why) => {
            println!("FAILED  {name}: {why}");
            failed.push((name, why));
        }
    };
    supervise(&plan, ended)?;
    for (name, why) in &failed {
        step.result(json!({ "scenario": name, "why": why }))?;
    }
    let of = SCENARIOS.len();
    step.result(json!({ "scenarios": of, "passed": passed }))?;
    let summary = format!("{passed} of {of} scenarios");
    Ok(match failed.first() {
        Some((name, why)) => Outcome::Failed(format!("{summary}; {name}: {why}")),
        None if passed < of => Outcome::Failed(format!("{summary}; the time ended")),
        None => Outcome::Fine(summary),
    })
}
