//! Evolutionary search of spaces that are too large to estimate completely.
//!
//! The genome of a schedule is its text: a family and the values of its parameters. A child has the values of one parent, and some of a
//! mate of the same family: another good schedule (crossover), or any one of the space (mutation). Children outside the space are dropped.

use super::random::Random;
use energy_kernel_compiler::schedule::Schedule;
use std::collections::{BTreeMap, BTreeSet};

/// The number of the best schedules that have children.
const PARENTS: usize = 16;

/// The mates, of ten, that are any schedule of the space.
const MUTATIONS: u64 = 5;

/// The attempts for each child: after a while most neighbours are known.
const ATTEMPTS: usize = 32;

/// Evaluates the cost of `first` and of descendants, of at most `most` schedules. Returns those that have a cost, the cheapest first.
pub(crate) fn evolve(
    space: &[Schedule],
    first: &[Schedule],
    most: usize,
    seed: u64,
    mut cost: impl FnMut(Schedule) -> Option<f64>,
) -> Vec<(Schedule, f64)> {
    let mut random = Random::new(seed);
    let mut seen: BTreeSet<Schedule> = BTreeSet::new();
    let mut ranked: Vec<(Schedule, f64)> = Vec::new();
    let mut generation: Vec<Schedule> = first.to_vec();
    // Built only if anything evolves.
    let mut members: Option<Members> = None;
    loop {
        generation.truncate(most - seen.len());
        seen.extend(&generation);
        ranked.extend(
            generation
                .iter()
                .filter_map(|&schedule| Some((schedule, cost(schedule)?))),
        );
        ranked.sort_by(|a, b| a.1.total_cmp(&b.1));
        if seen.len() >= most || seen.len() >= space.len() {
            return ranked;
        }
        let members = members.get_or_insert_with(|| Members::of(space));
        let parents: Vec<Schedule> = ranked.iter().take(PARENTS).map(|(schedule, _)| *schedule).collect();
        generation = members.children(&parents, &seen, &mut random);
        if generation.is_empty() {
            return ranked;
        }
    }
}

/// The members of a space, by family.
struct Members {
    families: BTreeMap<&'static str, Vec<Schedule>>,
    all: BTreeSet<Schedule>,
}

impl Members {
    fn of(space: &[Schedule]) -> Members {
        let mut families: BTreeMap<&str, Vec<Schedule>> = BTreeMap::new();
        for &schedule in space {
            families.entry(schedule.family()).or_default().push(schedule);
        }
        Members {
            families,
            all: space.iter().copied().collect(),
        }
    }

    /// As many children as parents, unless too few are found that were not seen.
    fn children(&self, parents: &[Schedule], seen: &BTreeSet<Schedule>, random: &mut Random) -> Vec<Schedule> {
        let mut children = BTreeSet::new();
        for _ in 0..ATTEMPTS * parents.len() {
            if children.len() == parents.len() {
                break;
            }
            let Some(parent) = any(parents, random) else { break };
            let family = self.families.get(parent.family()).map_or(&[][..], Vec::as_slice);
            let mates = if random.below(10) < MUTATIONS { family } else { parents };
            let child = any(mates, random).and_then(|mate| child(parent, mate, random));
            children.extend(child.filter(|child| self.all.contains(child) && !seen.contains(child)));
        }
        children.into_iter().collect()
    }
}

/// A random one of several.
fn any(schedules: &[Schedule], random: &mut Random) -> Option<Schedule> {
    schedules.get(random.below(schedules.len() as u64) as usize).copied()
}

/// A child of two schedules: each value is the parent's or the mate's with equal probability. `None` if their families differ.
fn child(parent: Schedule, mate: Schedule, random: &mut Random) -> Option<Schedule> {
    if parent.family() != mate.family() {
        return None;
    }
    let (parent, mate) = (parent.to_string(), mate.to_string());
    let mixed = values(&parent).zip(values(&mate));
    let text: String = mixed.map(|(a, b)| if random.below(2) == 0 { a } else { b }).collect();
    text.parse().ok()
}

/// The schedule of a space that is most similar to another: itself, or the one with the most equal values. `None` if the space lacks its
/// family.
pub(crate) fn most_like(space: &[Schedule], schedule: Schedule) -> Option<Schedule> {
    if space.contains(&schedule) {
        return Some(schedule);
    }
    let text = schedule.to_string();
    let others = |member: &Schedule| {
        let member = member.to_string();
        values(&text).zip(values(&member)).filter(|(a, b)| a != b).count()
    };
    let family = space.iter().filter(|member| member.family() == schedule.family());
    family.min_by_key(|member| others(member)).copied()
}

/// The parts of a schedule's text. `block=128x64x32` has three values.
fn values(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive([' ', 'x', '='])
}

#[cfg(test)]
mod tests {
    use super::*;
    use energy_kernel_compiler::schedule::{Contract, Keep, Pass, Row};

    /// Some 7000 schedules of two families.
    fn space() -> Vec<Schedule> {
        let tiles = [16, 32, 64, 128, 256];
        let row = |threads| {
            Schedule::Row(Row {
                threads,
                rows: 1,
                vector: 1,
                keep: Keep::Reload,
                unroll: 1,
                pass: Pass::Several,
                blocks: 0,
            })
        };
        let mut all: Vec<Schedule> = [32, 64, 128, 256].map(row).to_vec();
        for (&block_rows, &block_columns) in tiles.iter().flat_map(|a| tiles.iter().map(move |b| (a, b))) {
            for (block_depth, thread_rows) in [8, 16, 32].into_iter().flat_map(|a| [1, 2, 4, 8].map(|b| (a, b))) {
                for (thread_columns, stages) in [1, 2, 4, 8].into_iter().flat_map(|a| [1, 2].map(|b| (a, b))) {
                    all.extend([0, 66, 132].map(|blocks| {
                        Schedule::Contract(Contract {
                            block_rows,
                            block_columns,
                            block_depth,
                            thread_rows,
                            thread_columns,
                            stages,
                            blocks,
                            split_k: 1,
                        })
                    }));
                }
            }
        }
        all
    }

    /// The cost is least if all of seven parameters are right, and each matters alone.
    fn cost(schedule: Schedule) -> Option<f64> {
        let Schedule::Contract(c) = schedule else {
            return Some(100.0);
        };
        let away = |value: u32, from: u32| (f64::from(value).max(1.0) / f64::from(from)).log2().abs();
        let tile = away(c.block_rows, 128) + away(c.block_columns, 64) + away(c.block_depth, 16);
        let thread = away(c.thread_rows, 8) + away(c.thread_columns, 4) + away(c.stages, 2);
        Some(1.0 + tile + thread + f64::from(c.blocks) / 132.0)
    }

    #[test]
    fn evolution_finds_what_a_sample_of_the_same_size_does_not() {
        let space = space();
        assert!(space.len() > 7000);
        let (mut evolved, mut sampled) = (0.0, 0.0);
        for seed in 0..10 {
            let mut sample = space.clone();
            Random::new(seed).shuffle(&mut sample);
            let found = evolve(&space, &sample[..64], 160, seed, cost);
            assert_eq!(found.len(), 160);
            let distinct: BTreeSet<Schedule> = found.iter().map(|(schedule, _)| *schedule).collect();
            assert_eq!(distinct.len(), 160, "each is looked at once");
            assert!(distinct.iter().all(|schedule| space.contains(schedule)));
            assert_eq!(
                found,
                evolve(&space, &sample[..64], 160, seed, cost),
                "the seed decides"
            );
            evolved += found[0].1;
            sampled += sample[..160]
                .iter()
                .filter_map(|&s| cost(s))
                .fold(f64::INFINITY, f64::min);
        }
        // The least cost is 1.
        assert!(evolved / 10.0 < 2.0 && sampled / 10.0 > 3.0, "{evolved} {sampled}");
    }

    #[test]
    fn what_is_most_like_a_schedule_has_most_of_its_values() {
        let space = space();
        assert_eq!(most_like(&space, space[77]), Some(space[77]));
        let Schedule::Contract(known) = space[77] else {
            panic!("{}", space[77]);
        };
        // The space lacks only three stages.
        let like = most_like(&space, Schedule::Contract(Contract { stages: 3, ..known }));
        let expected = [1, 2].map(|stages| Schedule::Contract(Contract { stages, ..known }));
        assert!(like.is_some_and(|like| expected.contains(&like)), "{like:?}");
        let rows: Vec<Schedule> = space.iter().copied().filter(|s| s.family() == "row").collect();
        assert_eq!(most_like(&rows, space[77]), None);
    }

    #[test]
    fn a_small_space_is_enumerated_and_what_has_no_cost_left_out() {
        let space = &space()[..8];
        let all = evolve(space, space, 128, 1, cost);
        assert_eq!(all.len(), 8);
        assert!(all.is_sorted_by(|a, b| a.1 <= b.1));
        let rest = evolve(space, &space[..2], 128, 1, cost);
        assert!(rest.len() >= 2 && rest.len() <= 8);
        assert!(evolve(space, space, 128, 1, |_| None).is_empty());
        assert!(evolve(&[], &[], 128, 1, cost).is_empty());
        assert_eq!(evolve(space, space, 3, 1, cost).len(), 3);
    }
}
