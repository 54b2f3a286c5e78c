//! The choice of candidates: a bounded, diverse sample of the space, the same for the same seed.

use super::random::Random;
use energy_kernel_compiler::schedule::Schedule;
use std::collections::{BTreeMap, BTreeSet};

/// At most `limit` schedules, each once. `first` come first. Then the families take turns, each in random order, so that every prefix of
/// the list is diverse.
pub(crate) fn sample(space: &[Schedule], first: &[Schedule], limit: usize, seed: u64) -> Vec<Schedule> {
    let mut random = Random::new(seed);
    let mut families: BTreeMap<&str, Vec<Schedule>> = BTreeMap::new();
    for &schedule in space.iter().filter(|schedule| !first.contains(schedule)) {
        families.entry(schedule.family()).or_default().push(schedule);
    }
    // `plain` has few points, and rarely wins if another family accepts the operator.
    let mut turns: Vec<Vec<Schedule>> = Vec::new();
    let plain = families.remove("plain");
    let own = first.first().and_then(|default| families.remove(default.family()));
    turns.extend(own.into_iter().chain(families.into_values()));
    turns.iter_mut().for_each(|family| random.shuffle(family));
    let mut chosen = first.to_vec();
    let longest = turns.iter().map(Vec::len).max().unwrap_or(0);
    chosen.extend((0..longest).flat_map(|turn| turns.iter().filter_map(move |family| family.get(turn).copied())));
    if let Some(mut plain) = plain {
        random.shuffle(&mut plain);
        let position = (first.len() + 2).min(chosen.len());
        let rest = plain.split_off(1.min(plain.len()));
        chosen.splice(position..position, plain);
        chosen.extend(rest);
    }
    chosen.truncate(limit.max(1));
    chosen
}

/// At most `limit` candidates: the first of the sample, then in turn the next of `ranked` and the next of the sample, which covers errors of
/// the estimate. `ranked` are the estimated schedules, fastest first.
pub(crate) fn promising(sample: &[Schedule], ranked: &[Schedule], limit: usize) -> Vec<Schedule> {
    let mut taken = BTreeSet::new();
    let (mut by_estimate, mut by_turn) = (ranked.iter(), sample.iter());
    let mut chosen = Vec::new();
    chosen.extend(by_turn.next().filter(|&&first| taken.insert(first)));
    while chosen.len() < limit.max(1).min(sample.len()) {
        let turns: [&mut std::slice::Iter<'_, Schedule>; 2] = [&mut by_estimate, &mut by_turn];
        for turn in turns {
            chosen.extend(turn.find(|&&schedule| taken.insert(schedule)));
        }
    }
    chosen.truncate(limit.max(1));
    chosen.into_iter().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use energy_kernel_compiler::schedule::{Keep, Pass, Plain, Row};

    fn space() -> Vec<Schedule> {
        let plain = [64, 128, 256].map(|threads| Schedule::Plain(Plain { threads }));
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
        plain.into_iter().chain([32, 64, 128, 256, 512].map(row)).collect()
    }

    #[test]
    fn what_is_chosen_without_tuning_comes_first_and_every_family_has_its_turn() {
        let space = space();
        for (seed, limit, first) in [(1, 4, &space[5..6]), (2, 5, &space[5..7]), (3, 100, &space[4..5])] {
            let sample = sample(&space, first, limit, seed);
            assert_eq!(&sample[..first.len()], first);
            assert_eq!(sample.len(), limit.min(space.len()));
            let families: BTreeSet<_> = sample.iter().map(Schedule::family).collect();
            assert_eq!(families.len(), 2);
            let distinct: BTreeSet<_> = sample.iter().collect();
            assert_eq!(distinct.len(), sample.len());
        }
    }

    #[test]
    fn what_is_promising_and_what_is_not_take_turns() {
        let space = space();
        let ranked = [space[6], space[0], space[4], space[7]];
        assert_eq!(
            promising(&space, &ranked, 6),
            [space[0], space[6], space[1], space[4], space[2], space[7]]
        );
        for limit in [0, 1, 3, 8, 100] {
            let all = promising(&space, &ranked, limit);
            assert_eq!(all.len(), limit.clamp(1, space.len()));
            assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        }
        assert_eq!(promising(&space, &[], 100), space);
    }

    #[test]
    fn the_seed_decides_and_nothing_else() {
        let space = space();
        let all = |seed| sample(&space, &space[..1], 8, seed);
        assert_eq!(all(1), all(1));
        assert!((2..20).any(|seed| all(seed) != all(1)));
        assert_eq!(sample(&space, &space[..1], 0, 1), [space[0]]);
    }
}
