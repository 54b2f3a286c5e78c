//! Measurements that strategies need on a space.

use crate::random::Random;
use crate::space::Space;
use crate::trial::{End, InOrder, Ours, Outcome, Policy, Textbook, search};
use energy_kernel_build::tune::strategy::Rule;
use rayon::prelude::*;
use std::fmt::Write;

/// A way to search a space.
#[derive(Debug, Clone, Copy)]
pub enum Searcher {
    Ours(Rule),
    Rising,
    Random,
    Textbook,
    /// The fastest, and nothing else.
    Fastest,
    Everything,
}

/// The strategies that are compared.
pub fn compared() -> Vec<(&'static str, Searcher)> {
    let rule = Rule::default();
    vec![
        ("**ours**", Searcher::Ours(rule)),
        ("always 8 a round", Searcher::Ours(rule.with_rounds_of(8))),
        (
            "always 8 a round, patience of 16 measurements",
            Searcher::Ours(Rule { patience: 2, ..rule }.with_rounds_of(8)),
        ),
        ("rising latency", Searcher::Rising),
        ("random", Searcher::Random),
        ("Gaussian process on power", Searcher::Textbook),
        ("the fastest only", Searcher::Fastest),
        ("everything", Searcher::Everything),
    ]
}

/// `true` if a seed draws candidates and measurements anew, or only what a strategy leaves to chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Draw {
    AsMeasured,
    Resampled,
}

/// The results of a strategy for all seeds.
pub struct Results {
    pub outcomes: Vec<Outcome>,
    /// `true` if it stops by itself.
    pub stops: bool,
    /// `true` if it goes on until the best is found.
    pub finds: bool,
}

/// The most measurements of one search: beyond, it counts as not found. Random search and rising latency are not limited.
const MOST: usize = 200;

/// Searches the space once for every seed.
pub fn results(space: &Space, searcher: Searcher, draw: Draw, seeds: u64) -> Results {
    let one = |seed: u64| {
        let mut random = Random::new(seed + 1);
        let space = match draw {
            Draw::AsMeasured => space.clone(),
            Draw::Resampled => space.resampled(0.8, &mut random),
        };
        let run = |policy: &mut dyn Policy, end: End, most: usize| search(&space, policy, end, most);
        match searcher {
            Searcher::Ours(rule) => {
                // How long until it finds is asked apart from when it stops.
                let patient = Rule {
                    patience: usize::MAX,
                    ..rule
                };
                let found = run(&mut Ours::new(&space, patient), End::Found, MOST);
                let stopped = run(&mut Ours::new(&space, rule), End::Done, MOST);
                Outcome {
                    within_1: found.within_1,
                    within_3: found.within_3,
                    ..stopped
                }
            }
            Searcher::Rising => run(&mut InOrder::rising(&space), End::Found, usize::MAX),
            Searcher::Random => run(&mut InOrder::random(&space, &mut random), End::Found, usize::MAX),
            Searcher::Everything => run(&mut InOrder::rising(&space), End::Done, usize::MAX),
            Searcher::Textbook => run(&mut Textbook::new(&space, &mut random), End::Found, MOST / 2),
            Searcher::Fastest => run(&mut InOrder::rising(&space), End::Done, 1),
        }
    };
    // Nothing of ours is left to chance.
    let repeats =
        draw == Draw::AsMeasured && matches!(searcher, Searcher::Ours(_) | Searcher::Rising | Searcher::Fastest);
    let outcomes = match repeats {
        true => vec![one(0); seeds as usize],
        false => (0..seeds).into_par_iter().map(one).collect(),
    };
    Results {
        outcomes,
        stops: matches!(searcher, Searcher::Ours(_) | Searcher::Fastest | Searcher::Everything),
        finds: !matches!(searcher, Searcher::Fastest | Searcher::Everything),
    }
}

/// The middle value; the upper of both for an even number.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (count, sum) = values.fold((0.0, 0.0), |(count, sum), value| (count + 1.0, sum + value));
    sum / count
}

fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, f64::max)
}

fn count(value: f64) -> String {
    if value.is_finite() {
        format!("{value}")
    } else {
        "—".to_owned()
    }
}

/// The lines of a table, for one space.
pub fn table(space: &Space, draw: Draw, seeds: u64) -> String {
    let mut lines = String::new();
    for (name, searcher) in compared() {
        let Results { outcomes, stops, finds } = results(space, searcher, draw, seeds);
        let found = |of: fn(&Outcome) -> f64| match finds {
            true => format!(
                "{} ({})",
                count(median(outcomes.iter().map(of))),
                count(largest(outcomes.iter().map(of)))
            ),
            false => String::new(),
        };
        let stopped = match stops {
            true => format!(
                "{} ({}) | {:.2} ({:.2})",
                median(outcomes.iter().map(|o| o.measurements as f64)),
                largest(outcomes.iter().map(|o| o.measurements as f64)),
                median(outcomes.iter().map(|o| 100.0 * o.regret)),
                largest(outcomes.iter().map(|o| 100.0 * o.regret)),
            ),
            false => " | ".to_owned(),
        };
        let _ = writeln!(
            lines,
            "| {} | {name} | {} | {} | {stopped} |",
            space.name,
            found(Outcome::until_1),
            found(Outcome::until_3)
        );
    }
    lines
}

/// The columns of [`summary`].
pub const SUMMARY: &str = "| strategy | to within 1 %: median, mean (most) | worse than rising latency (at most by) | \
                           measurements until it stops | regret then, %: median, mean |\n|---|---|---|---|---|";

/// One line for each strategy, over all of these spaces together.
pub fn summary(spaces: &[Space], label: &str, searchers: &[(&str, Searcher)], seeds: u64) {
    let over = |searcher: Searcher| -> Vec<Results> {
        let each = spaces.par_iter();
        each.map(|space| results(space, searcher, Draw::Resampled, seeds))
            .collect()
    };
    let rising = over(Searcher::Rising);
    for (name, searcher) in searchers {
        let results = over(*searcher);
        let outcomes = || results.iter().flat_map(|results| &results.outcomes);
        let to_1 = || outcomes().map(Outcome::until_1);
        let fastest = rising.iter().flat_map(|results| &results.outcomes);
        let more: Vec<f64> = to_1()
            .zip(fastest)
            .map(|(own, rising)| own - rising.until_1())
            .collect();
        let worse = more.iter().filter(|more| **more > 0.0).count();
        let regret = || outcomes().map(|outcome| 100.0 * outcome.regret);
        let stopped = match results.iter().all(|results| results.stops) {
            true => format!(
                "{} | {:.2}, {:.2}",
                median(outcomes().map(|outcome| outcome.measurements as f64)),
                median(regret()),
                mean(regret())
            ),
            false => " | ".to_owned(),
        };
        let average = Some(mean(to_1())).filter(|mean| mean.is_finite());
        println!(
            "| {label}{name} | {}, {} ({}) | {worse} of {} ({}) | {stopped} |",
            count(median(to_1())),
            average.map_or("—".to_owned(), |mean| format!("{mean:.1}")),
            count(largest(to_1())),
            more.len(),
            count(largest(more.into_iter())),
        );
    }
}

/// The rule with one constant changed at a time.
fn variants() -> Vec<(String, Rule)> {
    let rule = Rule::default();
    let mut variants = vec![("as it is".to_owned(), rule)];
    let mut add = |name: &str, rule: Rule| variants.push((name.to_owned(), rule));
    for first in [2, 3, 4, 8, 12] {
        add(&format!("first {first}"), Rule { first, ..rule });
    }
    for size in [1, 2, 4, 8] {
        add(
            &format!("rounds of {size}"),
            Rule {
                start: size,
                least: size,
                most: size,
                ..rule
            },
        );
    }
    add("rounds of 1 to 8", Rule { most: 8, ..rule });
    add(
        "no caution",
        Rule {
            caution: f64::NEG_INFINITY,
            ..rule
        },
    );
    for caution in [0.5, 1.5, 2.0] {
        add(&format!("caution {caution}"), Rule { caution, ..rule });
    }
    for near in [2.0, 5.0] {
        add(&format!("near {near}"), Rule { near, ..rule });
    }
    for worth in [0.25, 0.5, 2.0] {
        add(&format!("worth {worth}"), Rule { worth, ..rule });
    }
    for patience in [8, 12, 20] {
        add(&format!("patience {patience}"), Rule { patience, ..rule });
    }
    for persistence in [0.0, 0.33, 0.5, 0.67] {
        add(&format!("persistence {persistence}"), Rule { persistence, ..rule });
    }
    variants
}

/// The effect of each constant of the rule: a table over spaces, resampled.
pub fn ablation(spaces: &[Space], seeds: u64) {
    println!(
        "| rule | space | to within 1 %: median (most) | worse than rising latency | until it stops | regret then, %: median, mean (most) |\n\
                     |---|---|---|---|---|---|"
    );
    let rising: Vec<Results> = (spaces.iter())
        .map(|space| results(space, Searcher::Rising, Draw::Resampled, seeds))
        .collect();
    for (name, rule) in variants() {
        for (space, rising) in spaces.iter().zip(&rising) {
            let Results { outcomes, .. } = results(space, Searcher::Ours(rule), Draw::Resampled, seeds);
            let to_1 = || outcomes.iter().map(Outcome::until_1);
            let worse = to_1()
                .zip(&rising.outcomes)
                .filter(|(ours, rising)| *ours > rising.until_1())
                .count();
            let regret = || outcomes.iter().map(|o| 100.0 * o.regret);
            let line = format!(
                "| {name} | {} | {} ({}) | {worse} of {seeds} | {} | {:.2}, {:.2} ({:.2}) |",
                space.name,
                count(median(to_1())),
                count(largest(to_1())),
                median(outcomes.iter().map(|o| o.measurements as f64)),
                median(regret()),
                regret().sum::<f64>() / seeds as f64,
                largest(regret()),
            );
            println!("{line}");
        }
    }
}

/// The head of the tables.
pub const HEAD: &str = "| space | strategy | measurements to within 1 %: median (most) | to within 3 % | until it stops | regret then, % |\n\
                        |---|---|---|---|---|---|\n";
