//! Pareto fronts, objectives, merging of caches, and the bucket that a call uses.

use energy_kernel_compiler::record::*;
use energy_kernel_compiler::schedule::{Plain, Schedule};
use energy_kernel_compiler::size::{Extent, Specialisation};
use proptest::prelude::*;

fn point(threads: u32, latency: f64, energy: Option<f64>) -> Point {
    let estimate = |mean: f64| Estimate { mean, interval: 0.0 };
    Point {
        program: Schedule::Plain(Plain { threads }).into(),
        kernel_hash: [0; 32],
        latency: estimate(latency),
        energy: energy.map(estimate),
        conditions: Conditions {
            driver: String::new(),
            simulated_profile: Some("hopper".into()),
            sm_clock_mhz: None,
            memory_clock_mhz: None,
            temperature_celsius: None,
            power_watts: None,
            power_limit_watts: None,
            throttle_reasons: 0,
            window_seconds: 0.0,
            launches: 1,
            inputs: Inputs::Random { seed: 0 },
            cache: CacheMode::Cold,
            flags: Vec::new(),
        },
    }
}

#[test]
fn objectives_choose_as_documented() {
    let energies = [(1.0, 10.0), (1.04, 8.0), (1.2, 7.9), (3.0, 5.0)];
    let front = energies.map(|(latency, energy)| point(1, latency, Some(energy)));
    assert_eq!(Objective::default().choose(&front), Some(1));
    assert_eq!(Objective::Energy { slack: 0.0 }.choose(&front), Some(0));
    assert_eq!(Objective::Energy { slack: 0.2 }.choose(&front), Some(2));
    assert_eq!(Objective::Energy { slack: 9.0 }.choose(&front), Some(3));
    assert_eq!(Objective::Energy { slack: f64::NAN }.choose(&front), Some(0));
    assert_eq!(Objective::Edp.choose(&front), Some(1));
    assert_eq!(Objective::Latency.choose(&front), Some(0));
    assert_eq!(Objective::Latency.choose(&[]), None);
    let unmeasured = [point(1, 1.0, None)];
    assert_eq!(Objective::default().choose(&unmeasured), Some(0));
    let partly = [point(1, 1.0, None), point(2, 1.01, Some(3.0))];
    assert_eq!(Objective::default().choose(&partly), Some(1));
    assert_eq!(Objective::Latency.choose(&partly), Some(0));
}

/// Few distinct values, so that ties happen.
fn cloud() -> impl Strategy<Value = Vec<Point>> {
    proptest::collection::vec((1u32..12, proptest::option::weighted(0.8, 1u32..12)), 0..40).prop_map(|figures| {
        let number = |(position, (latency, energy)): (usize, (u32, Option<u32>))| {
            point(position as u32, f64::from(latency), energy.map(f64::from))
        };
        figures.into_iter().enumerate().map(number).collect()
    })
}

fn beats(a: &Point, b: &Point) -> bool {
    let energy = |p: &Point| p.energy.map_or(f64::INFINITY, |e| e.mean);
    a.latency.mean <= b.latency.mean
        && energy(a) <= energy(b)
        && (a.latency.mean < b.latency.mean || energy(a) < energy(b))
}

proptest! {
    #[test]
    fn the_front_is_what_nothing_beats(points in cloud()) {
        let front = pareto_front(points.clone());
        for p in &points {
            let beaten = points.iter().any(|other| beats(other, p));
            // A slower point without energy is no better known than any faster one.
            let useless = p.energy.is_none() && points.iter().any(|other| other.latency.mean < p.latency.mean);
            // Of points with equal figures one stays.
            let equal = |f: &Point| f.latency == p.latency && f.energy == p.energy;
            prop_assert_eq!(!(beaten || useless), front.iter().any(equal));
        }
        prop_assert!(front.is_sorted_by(|a, b| a.latency.mean < b.latency.mean));
        prop_assert!(front.iter().skip(1).all(|p| p.energy.is_some()));
        let mut reversed = points;
        reversed.reverse();
        prop_assert_eq!(pareto_front(reversed), front);
    }

    #[test]
    fn choosing_from_the_front_loses_nothing(points in cloud(), slack in 0.0f64..2.0) {
        let front = pareto_front(points.clone());
        let Some(fastest) = points.iter().map(|p| p.latency.mean).min_by(f64::total_cmp) else {
            prop_assert!(front.is_empty());
            return Ok(());
        };
        let within = points.iter().filter(|p| p.latency.mean <= (1.0 + slack) * fastest);
        let least = within.filter_map(|p| p.energy).map(|e| e.mean).min_by(f64::total_cmp);
        let chosen = &front[Objective::Energy { slack }.choose(&front).unwrap()];
        prop_assert!(chosen.latency.mean <= (1.0 + slack) * fastest);
        prop_assert_eq!(chosen.energy.map(|e| e.mean), least);
    }
}

/// The time at which records are compared, in seconds since 1970.
const NOW: u64 = 1000;

fn record(size: u64, measured_at: u64, energy_measured: bool) -> Record {
    Record {
        sizes: vec![size],
        specialisation: Specialisation::like(&[size]),
        front: vec![point(1, 1.0, energy_measured.then_some(1.0))],
        rejected: Vec::new(),
        statistics: Statistics::default(),
        measured_at,
        energy_measured,
        space_version: 1,
    }
}

fn file(records: Vec<Record>) -> CacheFile {
    CacheFile {
        fingerprint: Fingerprint([0; 32]),
        operator: "op".into(),
        size_names: vec!["N".into()],
        device: DeviceClass {
            name: "hopper".into(),
            compute_capability: (9, 0),
            multiprocessors: 132,
            memory_bytes: 1 << 36,
            simulated: true,
        },
        records: Vec::new(),
    }
    .with(records)
}

trait With {
    fn with(self, records: Vec<Record>) -> Self;
}

impl With for CacheFile {
    fn with(mut self, records: Vec<Record>) -> CacheFile {
        records
            .into_iter()
            .for_each(|record| self.insert(record, NOW, |_| false));
        self
    }
}

#[test]
fn the_newest_measurement_of_a_bucket_wins_whatever_the_order() {
    let a = file(vec![record(16, 5, true), record(32, 5, true)]);
    let b = file(vec![record(16, 9, true), record(32, 1, true), record(64, 1, true)]);
    let mut ab = a.clone();
    ab.merge(b.clone(), NOW, |_| false);
    let mut ba = b;
    ba.merge(a, NOW, |_| false);
    assert_eq!(ab, ba);
    let age = |size: u64| {
        ab.record(&[size], &Specialisation::like(&[size]))
            .map(|r| r.measured_at)
    };
    assert_eq!([age(16), age(32), age(64), age(128)], [Some(9), Some(5), Some(1), None]);
}

#[test]
fn energies_are_not_lost_to_a_newer_record_without_them_unless_they_are_stale() {
    let measured = || record(16, 5, true);
    let choose = |record: Record, stale: bool| {
        let mut after = file(vec![measured()]);
        after.insert(record.clone(), NOW, |r| stale && r.measured_at == 5);
        let mut before = file(vec![record]);
        before.insert(measured(), NOW, |r| stale && r.measured_at == 5);
        assert_eq!(after, before, "whatever the order");
        after.records[0].clone()
    };
    assert_eq!(choose(record(16, 9, false), false), measured(), "a budget ended early");
    assert_eq!(choose(record(16, 5, false), false), measured());
    assert_eq!(
        choose(record(16, 9, true), false),
        record(16, 9, true),
        "the newer of equals"
    );
    assert_eq!(
        choose(record(16, 9, false), true),
        record(16, 9, false),
        "stale energies protect nothing"
    );
    let partly = Record {
        energy_measured: false,
        ..record(16, 9, true)
    };
    assert_eq!(
        choose(partly.clone(), false),
        measured(),
        "some energies are less than all"
    );
    let mut some = file(vec![partly.clone()]);
    some.insert(record(16, 11, false), NOW, |_| false);
    assert_eq!(some.records, [partly], "and more than none");
}

/// Each criterion outweighs all later ones.
#[test]
fn of_two_records_the_first_difference_decides() {
    let flagged = |flags: &[Flag]| {
        let mut record = record(16, 5, true);
        record.front[0].conditions.flags = flags.to_vec();
        record
    };
    let stale = flagged(&[Flag::Throttled]);
    let older_space = Record {
        space_version: 1,
        ..record(16, 9, true)
    };
    let newer_space = |record: Record| Record {
        space_version: 2,
        ..record
    };
    let ladder = [
        (older_space, newer_space(record(16, 8, false)), Advantage::Space),
        (record(16, 9, false), flagged(&[Flag::ClockDrift]), Advantage::Energies),
        (
            flagged(&[Flag::ClockDrift, Flag::Throttled]),
            flagged(&[Flag::ClockDrift]),
            Advantage::Doubts,
        ),
        (record(16, 4, true), record(16, 5, true), Advantage::Later),
        (record(16, NOW + 1, true), record(16, NOW, true), Advantage::Later),
        (record(16, u64::MAX, true), record(16, 0, true), Advantage::Later),
        (stale.clone(), newer_space(record(16, 3, false)), Advantage::Fresh),
    ];
    for (less, more, advantage) in ladder {
        let is_stale = |record: &Record| *record == stale && advantage == Advantage::Fresh;
        assert!(more.prevails_over(&less, NOW, is_stale), "{advantage:?}");
        assert!(!less.prevails_over(&more, NOW, is_stale), "{advantage:?}");
        let standing = |record: &Record| Standing {
            fresh: !is_stale(record),
            merits: record.merits(NOW),
        };
        assert_eq!(standing(&more).advantage_over(&standing(&less)), Some(advantage));
        assert_eq!(standing(&less).advantage_over(&standing(&more)), None);
    }
    assert!(
        !older_than_nothing(&record(16, 5, true)),
        "what says the same changes nothing"
    );
}

fn older_than_nothing(record: &Record) -> bool {
    record.prevails_over(&record.clone(), NOW, |_| false)
}

/// A date in the future becomes valid when the clock reaches it.
#[test]
fn a_date_is_of_the_future_only_until_then() {
    let (ahead, present) = (record(16, NOW + 10, true), record(16, NOW, true));
    assert!(present.prevails_over(&ahead, NOW + 9, |_| false));
    assert!(ahead.prevails_over(&present, NOW + 10, |_| false));
}

/// Records with few differences, so that every rule decides sometimes. Every third is stale.
fn rivals() -> impl Strategy<Value = Record> {
    let flags = proptest::sample::subsequence(vec![Flag::Throttled, Flag::ClockDrift, Flag::ShortWindow], 0..=2);
    let figures = (1u32..3, proptest::option::of(1u32..3), flags);
    let front = proptest::collection::vec(figures, 1..3).prop_map(|figures| {
        let points = figures
            .into_iter()
            .enumerate()
            .map(|(number, (latency, energy, flags))| {
                let mut point = point(number as u32 + 1, f64::from(latency), energy.map(f64::from));
                point.conditions.flags = flags;
                point
            });
        pareto_front(points.collect())
    });
    (front, NOW - 1..=NOW + 2, any::<bool>(), 1u32..3, 0u8..3).prop_map(
        |(front, measured_at, energy_measured, space_version, hash)| {
            let mut record = Record {
                front,
                measured_at,
                energy_measured,
                space_version,
                ..record(16, 0, false)
            };
            record.front[0].kernel_hash = [hash; 32];
            record
        },
    )
}

fn is_stale(record: &Record) -> bool {
    record.front[0].kernel_hash == [0; 32]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn which_record_wins_is_a_total_order(a in rivals(), b in rivals(), c in rivals()) {
        let over = |x: &Record, y: &Record| x.prevails_over(y, NOW, is_stale);
        // Exactly one of two different records prevails: the order is total and antisymmetric.
        prop_assert_eq!(over(&a, &b) as u8 + over(&b, &a) as u8, u8::from(a != b));
        prop_assert!(!over(&a, &a.clone()));
        if over(&a, &b) && over(&b, &c) {
            prop_assert!(over(&a, &c), "transitive");
        }
        // The result equals the order of the standings, although staleness is asked only if it decides.
        let standing = |record: &Record| Standing { fresh: !is_stale(record), merits: record.merits(NOW) };
        prop_assert_eq!(over(&a, &b), standing(&a) > standing(&b));
        prop_assert_eq!(over(&a, &b), standing(&a).advantage_over(&standing(&b)).is_some());
    }

    #[test]
    fn merging_is_commutative_associative_and_idempotent(records in proptest::collection::vec((rivals(), 1u64..3), 3)) {
        let files: Vec<CacheFile> = records
            .into_iter()
            .map(|(record, size)| {
                let bucket = (vec![size * 16], Specialisation::like(&[size * 16]));
                file(vec![Record { sizes: bucket.0, specialisation: bucket.1, ..record }])
            })
            .collect();
        let merged = |order: &[usize]| {
            let mut all = files[order[0]].clone();
            order[1..].iter().for_each(|&at| all.merge(files[at].clone(), NOW, is_stale));
            all
        };
        let mut right = files[1].clone();
        right.merge(files[2].clone(), NOW, is_stale);
        let mut nested = files[0].clone();
        nested.merge(right, NOW, is_stale);
        for order in [&[0, 1, 2][..], &[2, 1, 0], &[1, 2, 0], &[0, 1, 2, 0, 1, 2]] {
            prop_assert_eq!(&merged(order), &nested);
        }
    }
}

/// Finding out staleness needs compilation.
#[test]
fn staleness_is_asked_only_where_it_decides() {
    let asked = std::cell::RefCell::new(Vec::new());
    let stale = |answer: fn(&Record) -> bool| {
        let asked = &asked;
        move |record: &Record| {
            asked.borrow_mut().push(record.measured_at);
            answer(record)
        }
    };
    let (older, newer) = (record(16, 5, true), record(16, 9, true));
    assert!(!newer.prevails_over(&newer.clone(), NOW, stale(|_| true)));
    assert_eq!(asked.take(), [0; 0], "of equals none");
    assert!(newer.prevails_over(&older, NOW, stale(|_| false)));
    assert_eq!(asked.take(), [9], "the better is fresh: the other does not matter");
    assert!(!newer.prevails_over(&older, NOW, stale(|record| record.measured_at == 9)));
    assert_eq!(asked.take(), [9, 5]);
}

#[test]
fn what_is_measured_again_on_request_replaces_anything() {
    let mut known = file(vec![record(16, 9, true), record(32, 9, true)]);
    known.replace(record(16, 5, false));
    known.replace(record(64, 5, false));
    assert_eq!(
        known.records,
        [record(16, 5, false), record(32, 9, true), record(64, 5, false)]
    );
}

#[test]
fn a_call_uses_the_next_larger_bucket_else_the_largest() {
    let any = Specialisation {
        extents: vec![Extent::Any { multiple_of: 1 }],
        ..Specialisation::exact(&[])
    };
    let buckets = [1u64, 16, 256].map(|size| (vec![size], any.clone()));
    let at = |size: u64| TunedBucket::nearest(&buckets, |b| (&b.0, &b.1), &[size]).map(|b| b.0[0]);
    assert_eq!(
        [at(1), at(2), at(16), at(17), at(300)],
        [Some(1), Some(16), Some(16), Some(256), Some(256)]
    );
    let fixed = [(vec![8u64], Specialisation::exact(&[8]))];
    let accepted = |size: u64| TunedBucket::nearest(&fixed, |b| (&b.0, &b.1), &[size]).is_some();
    assert!(
        accepted(8) && !accepted(9),
        "a bucket whose kernels are compiled for other sizes is never used"
    );
}
