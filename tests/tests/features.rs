//! Compares the features of lowered kernels with the emulator's counts.

use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::features::{self, Count, Features, InstructionClass};
use energy_kernel_compiler::ir::Expr;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::schedule::{self, Schedule};
use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::target::{Machine, Target};
use energy_kernel_emulator::Counts;
use energy_kernel_tests::split_k;
use energy_kernel_tests::{families, is_short, live_registers, operators, random_inputs, random_sizes, run};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const MACHINE: Machine = Machine::like(Target::Sm80);

/// The emulator's counts by their names, without requests: those are the load and store instructions.
fn counted(counts: &Counts) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    for &class in energy_kernel_emulator::Class::ALL {
        all.push((format!("threads {class:?}"), counts.thread_instructions.get(class)));
        all.push((format!("warps {class:?}"), counts.warp_instructions.get(class)));
    }
    let numbers = counts.numbers().filter(|(name, _)| !name.ends_with("_requests"));
    all.extend(numbers.map(|(name, count)| (name.to_owned(), count)));
    all
}

fn claimed(features: &Features) -> Vec<(String, Count)> {
    let counts = &features.counts;
    let mut all = Vec::new();
    for &class in InstructionClass::ALL {
        all.push((format!("threads {class:?}"), counts.thread_instructions[class]));
        all.push((format!("warps {class:?}"), counts.warp_instructions[class]));
    }
    all.extend(counts.events().map(|(name, count)| (name.to_owned(), count)));
    let threads = u64::from(features.threads) * features.blocks;
    let others = [
        ("shared_transactions", counts.shared_transactions()),
        ("shared_bank_conflicts", counts.shared_bank_conflicts()),
        ("matrix_f16_flops", features.matrix_f16_flops()),
        ("dram_read_bytes", features.dram_read_bytes),
        ("dram_write_bytes", features.dram_write_bytes),
        ("threads", Count::exactly(threads)),
        ("blocks", Count::exactly(features.blocks)),
    ];
    all.extend(others.map(|(name, count)| (name.to_owned(), count)));
    all
}

/// The wrong numbers among a run's features, the number of exact ones, and the number of all.
fn compare(features: &Features, counts: &Counts) -> (Vec<String>, usize, usize) {
    let counted = counted(counts);
    let claimed = claimed(features);
    let (mut wrong, mut exact) = (Vec::new(), 0);
    for (name, number) in &counted {
        let claim = claimed.iter().find(|(own, _)| own == name).map(|(_, count)| *count);
        // Events that no feature counts must not occur.
        let claim = claim.unwrap_or_default();
        exact += usize::from(claim.is_exact());
        if !(claim.low..=claim.high).contains(number) {
            wrong.push(format!("{name}: {number}, claimed {}..={}", claim.low, claim.high));
        }
    }
    (wrong, exact, counted.len())
}

fn check(
    name: &str,
    checked: &Checked,
    specialisation: &Specialisation,
    sizes: &[u64],
    point: &Schedule,
    random: &mut StdRng,
) -> (usize, usize) {
    let problem = Problem::new(checked, specialisation, MACHINE);
    if !is_short(&problem, point, sizes) {
        return (0, 0);
    }
    let features = features::of(&problem, point, sizes).expect("the point is legal");
    // After long divergence threads reconverge later in the emulator than in the features: it switches threads, so that locks work. Rows that a
    // mask bounds differ in length.
    let outputs = checked.op().outputs.iter();
    let elements = outputs.map(|output| output.dims.iter().map(|size| sizes[size.index()]).product::<u64>());
    let for_each = features.counts.thread_instructions.total().likely / elements.min().unwrap_or(0) as f64;
    let is_masked = || {
        checked
            .op()
            .exprs
            .iter()
            .any(|expr| matches!(expr, Expr::Select { .. }))
    };
    let may_diverge = matches!(point.family(), "plain" | "row") || point.family() == "reduce" && is_masked();
    if may_diverge && for_each > 3000.0 {
        return (0, 0);
    }
    let kernel = energy_kernel_compiler::lower::lower(&problem, point).expect("legal");
    let stage = energy_kernel_compiler::lower::stage(&problem, point).expect("legal");
    // The emulator computes them from the text alone. Constants and values under a guard make the difference.
    let (claimed, live) = (stage.entry.pressure(), live_registers(&kernel));
    assert!(
        claimed.abs_diff(live) <= 2,
        "{name} {point}: {claimed} live registers, {live} in the text"
    );
    let inputs = random_inputs(checked, sizes, random);
    let run = run(checked, &kernel, sizes, &inputs)
        .unwrap_or_else(|error| panic!("{name} {sizes:?} {:?}\n{point}\n{error}", specialisation.extents));
    let (wrong, exact, all) = compare(&features, &run.counts);
    assert!(
        wrong.is_empty(),
        "{name} {sizes:?} {:?}\n{point}, {for_each:.0} instructions an element\n{wrong:#?}\n{}",
        specialisation.extents,
        kernel.ptx
    );
    (exact, all)
}

/// Sizes of a call with two specialisations: compiled in, and as arguments.
fn calls(checked: &Checked, random: &mut StdRng) -> Vec<(Vec<u64>, Specialisation)> {
    let sizes = random_sizes(checked, random);
    [Specialisation::exact(&sizes), Specialisation::like(&sizes)]
        .into_iter()
        .map(|specialisation| (sizes.clone(), specialisation))
        .collect()
}

/// The features estimate L1's hits from the addresses of a block; the emulator counts them in the order of its accesses. In the median of a
/// family's schedules the two agree within a factor of about two. They differ at borders, whose warps the features walk apart.
#[test]
fn reads_from_l2_are_about_what_the_emulator_counts() {
    let operators = operators(energy_kernel_tests::OPERATORS);
    let mut random = StdRng::seed_from_u64(5);
    for (name, family, sizes) in [
        ("matmul_f64", "plain", vec![64, 96, 128]),
        ("linear_gelu_f32", "plain", vec![96, 128, 64]),
        ("max_pool_f32", "window", vec![4, 8, 64, 64]),
        ("softmax_f32", "row", vec![16, 2048]),
        ("linear_gelu_f32", "contract", vec![128, 64, 128]),
        ("matvec_f32", "skinny", vec![256, 512]),
        ("transpose_f16", "pointwise", vec![2, 128, 192]),
    ] {
        let (_, checked) = operators
            .iter()
            .find(|(of, _)| of == name)
            .expect("the operator exists");
        let sizes = checked.derive(sizes).expect("free sizes");
        let specialisation = Specialisation::exact(&sizes);
        let problem = Problem::new(checked, &specialisation, MACHINE);
        let space: Vec<_> = (schedule::space(&problem).into_iter())
            .filter(|point| point.family() == family && split_k::factor(point) <= 1)
            .collect();
        assert!(!space.is_empty(), "{name}: no {family}");
        let mut apart = Vec::new();
        for point in space.sample(&mut random, 12) {
            let features = features::of(&problem, point, &sizes).expect("the point is legal");
            let kernel = energy_kernel_compiler::lower::lower(&problem, point).expect("legal");
            let inputs = random_inputs(checked, &sizes, &mut random);
            let counts = energy_kernel_tests::count(checked, &kernel, &sizes, &inputs).expect("it runs");
            apart.push((
                features.counts.l2_load_sectors.likely / counts.l2_load_sectors as f64,
                point.to_string(),
            ));
        }
        apart.sort_by(|a, b| a.0.total_cmp(&b.0));
        let median = apart[apart.len() / 2].0;
        assert!((0.45..2.2).contains(&median), "{name}: {apart:#?}");
    }
}

/// In a split-K tile one block also adds up the partial sums.
#[test]
fn who_adds_up_is_counted() {
    let mut random = StdRng::seed_from_u64(12);
    let operators = operators(energy_kernel_tests::OPERATORS);
    let mut known = Vec::new();
    for (name, sizes) in [
        ("linear_gelu_f32", [72, 512, 40]),
        ("linear_gelu_f16", [72, 512, 40]),
        ("matmul_f64", [40, 384, 72]),
        ("gated_columns_bf16", [40, 512, 72]),
    ] {
        let found = operators.iter().find(|(of, _)| of == name);
        let (_, checked) = found.expect("the operator exists");
        let sizes = checked.derive(sizes.to_vec()).expect("three sizes");
        let specialisation = Specialisation::exact(&sizes);
        let space = schedule::space(&Problem::new(checked, &specialisation, MACHINE));
        let points: Vec<_> = space.iter().filter(|point| split_k::factor(point) > 1).collect();
        for point in points.sample(&mut random, 4) {
            let (exact, all) = check(name, checked, &specialisation, &sizes, point, &mut random);
            known.push(exact as f64 / all as f64);
        }
        assert!(points.len() >= 4, "{name}: {} points", points.len());
    }
    // Large tiles have more kinds of warps than the features walk.
    known.sort_by(f64::total_cmp);
    assert!(known[known.len() / 4] > 0.9, "{known:?}");
}

#[test]
fn features_are_what_the_emulator_counts() {
    let of_operator = |(number, (name, checked)): (usize, &(String, Checked))| {
        let seeded = || StdRng::seed_from_u64(number as u64);
        let mut random = seeded();
        // The draws of a family do not depend on the spaces of others.
        let mut draws: BTreeMap<&str, StdRng> = BTreeMap::new();
        let mut shares = Vec::new();
        let calls = [calls(checked, &mut random), calls(checked, &mut random)].concat();
        for (sizes, specialisation) in calls {
            let space = schedule::space(&Problem::new(checked, &specialisation, MACHINE));
            for points in families(&space) {
                let draw = draws.entry(points[0].family()).or_insert_with(seeded);
                let point = points.choose(draw).expect("not empty");
                let share = check(name, checked, &specialisation, &sizes, point, draw);
                shares.push((point.family(), share));
            }
        }
        shares
    };
    let operators = operators(energy_kernel_tests::OPERATORS);
    let shares: Vec<_> = operators.par_iter().enumerate().flat_map_iter(of_operator).collect();
    let mut share: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (family, (exact, all)) in shares {
        let known = share.entry(family).or_default();
        *known = (known.0 + exact, known.1 + all);
    }
    assert!(share.keys().eq(BTreeSet::from_iter(Schedule::FAMILIES)), "{share:?}");
    // Some conditions depend on data, and some shapes have more kinds of warps than the features walk, as have parts of unknown sums.
    for (family, (exact, all)) in share {
        println!("{family}: {exact} of {all} numbers exact");
        // Tensors say how many keys most of attention's operators here visit, and how many terms one of `mma` has.
        let least = match family {
            "attention" => 0.4,
            "mma" => 0.75,
            _ => 0.8,
        };
        assert!(exact as f64 > least * all as f64, "{family}");
    }
}
