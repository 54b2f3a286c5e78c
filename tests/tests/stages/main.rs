//! Programs of several stages: what they store, and that every set of stored values gives right results on the emulator with its sanitizer.

use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::ir::{AxisId, LetId};
use energy_kernel_compiler::lower::lower;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::schedule::{self, Keep, Program, Schedule};
use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::stages::{self, Split, Stored};
use energy_kernel_compiler::target::{Machine, Target};
use energy_kernel_tests::{families, first_wrong, operators, random_inputs, random_sizes_of, run};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rayon::prelude::*;

const OPERATORS: &str = include_str!("operators.rs");
const MACHINE: Machine = Machine::like(Target::Sm80);

/// All operators: those with values to store, and the validation set.
fn all() -> Vec<(String, Checked)> {
    let only = std::env::var("ONLY").unwrap_or_default();
    let mut all = operators(OPERATORS);
    all.extend(operators(energy_kernel_tests::OPERATORS));
    all.retain(|(name, _)| name.contains(&only));
    all
}

/// What each operator stores: the name of an intermediate tensor, or the axes of another value, with the element type.
fn stored(checked: &Checked) -> Vec<String> {
    let op = checked.op();
    let name = |inner: LetId| op.lets[inner.index()].name.clone();
    let axes = |axes: &[AxisId]| {
        let names = axes.iter().map(|axis| op.axes[axis.index()].name.as_str());
        format!("({})", names.collect::<Vec<_>>().join(", "))
    };
    let values = stages::values(checked).into_iter();
    values
        .map(|value| {
            format!(
                "{} {}",
                value.tensor.map_or_else(|| axes(&value.axes), name),
                value.element
            )
        })
        .collect()
}

#[test]
fn values_that_are_worth_storing_are_found() {
    let expected: [(&str, &[&str]); 27] = [
        ("two_layers_f16", &["hidden f16"]),
        ("nested_f32", &["(m, j) bf16"]),
        ("adapted_f16", &["low f32", "(m, n) f32", "(m, n) f32"]),
        ("gated_layers_f16", &["both f16"]),
        ("likeliest_f16", &["logits f32"]),
        ("nearest_row_f32", &["(t, c) f32", "nearest i64"]),
        ("offset_position", &["(t) i32"]),
        ("grouped_f16", &["(m, n, g) f32"]),
        ("response_norm_f32", &["response f32", "(b) f32", "(b, c) f32"]),
        ("attended_f32", &["scores f32", "peak f32", "(t, s) f32", "total f32"]),
        ("attended_as_f32", &["score f32", "peak f32", "weight f32", "total f32"]),
        ("two_convolutions_f32", &["(h, u, j) f32"]),
        ("smoothed_sums_f64", &["total f64"]),
        ("agreeing_f32", &["(m, j) f32"]),
        ("elsewhere_f32", &["wave f32"]),
        ("normalised_f32", &["square f32", "() f32"]),
        ("guarded_f32", &[]),
        ("looked_up_f16", &["hidden f16"]),
        ("joined_bf16", &["(t, o) f32", "(t, f) bf16", "(t, o) f32"]),
        ("activated_tf32", &["active f32"]),
        ("normed_product_f16", &["scale f32", "(m, k) f16"]),
        ("activated_convolution_f16", &[]),
        ("deep_f32", &["one f32", "two f32", "three f32", "four f32"]),
        ("softmax_f32", &["peak f32", "total f32"]),
        ("linear_gelu_f16", &[]),
        ("gated_f16", &[]),
        ("gathered_product_f16", &[]),
    ];
    let mut operators = operators(OPERATORS);
    operators.extend(energy_kernel_tests::operators(energy_kernel_tests::OPERATORS));
    for (name, values) in expected {
        let (_, checked) = operators
            .iter()
            .find(|(other, _)| other == name)
            .expect("a known operator");
        assert_eq!(stored(checked), values, "{name}");
    }
}

#[test]
fn inputs_that_are_worth_permuting_are_found() {
    // The dimensions of each permuted input, in the order of inputs.
    let expected: [(&str, &[&[usize]]); 9] = [
        ("conv_stride_f16", &[&[0, 2, 3, 1], &[0, 2, 3, 1]]),
        ("conv_grouped_f32", &[&[0, 1, 3, 4, 2], &[0, 1, 3, 4, 2]]),
        ("matmul_transposed_f16", &[&[1, 0]]),
        ("linear_gelu_f16", &[]),
        // No term indexes a dimension of both factors alone.
        ("conv_depthwise_f16", &[]),
        ("conv_causal_f16", &[]),
        ("transpose_f16", &[]),
        ("softmax_f32", &[]),
        ("two_layers_f16", &[]),
    ];
    let mut operators = operators(OPERATORS);
    operators.extend(energy_kernel_tests::operators(energy_kernel_tests::OPERATORS));
    for (name, permuted) in expected {
        let (_, checked) = operators
            .iter()
            .find(|(other, _)| other == name)
            .expect("a known operator");
        let found = stages::stored(checked).into_iter().filter_map(|stored| match stored {
            Stored::Permuted(permuted) => Some(permuted.order),
            Stored::Value(_) => None,
        });
        assert_eq!(found.collect::<Vec<_>>(), permuted, "{name}");
    }
}

/// Renaming changes neither the numbers of values nor the stages.
#[test]
fn values_do_not_depend_on_names() {
    let mut operators = operators(OPERATORS);
    operators.extend(energy_kernel_tests::operators(energy_kernel_tests::OPERATORS));
    for (name, checked) in operators {
        let mut op = checked.op().clone();
        for (number, axis) in op.axes.iter_mut().enumerate() {
            axis.name = format!("axis_{number}");
        }
        let renamed = Checked::new(op).expect("still valid");
        let numbers = |checked| stages::stored(checked).iter().map(Stored::number).collect::<Vec<_>>();
        assert_eq!(numbers(&renamed), numbers(&checked), "{name}");
    }
}

#[test]
fn an_untuned_operator_stores_what_would_take_far_longer_otherwise() {
    let mut operators = operators(OPERATORS);
    operators.extend(energy_kernel_tests::operators(energy_kernel_tests::OPERATORS));
    // Free sizes, and the least speedup by the estimate.
    let expected: [(&str, &[u64], f64); 13] = [
        ("joined_bf16", &[2048, 1024, 4096, 2048], 100.0),
        ("conv_valid_bf16", &[128, 30, 30, 128, 3, 3], 1.5),
        ("two_layers_f16", &[256, 1024, 1024, 1024], 50.0),
        ("nested_f32", &[256, 1024, 1024, 1024], 50.0),
        ("adapted_f16", &[512, 1024, 1024, 16], 1000.0),
        ("gated_layers_f16", &[64, 512, 1024, 512], 50.0),
        ("likeliest_f16", &[16, 512, 32000], 10.0),
        ("nearest_row_f32", &[1024, 64, 512], 3.0),
        ("grouped_f16", &[256, 1024, 32], 0.99),
        ("response_norm_f32", &[2, 28, 28, 256], 10.0),
        ("attended_f32", &[512, 64, 512, 64], 10.0),
        ("looked_up_f16", &[1000, 256, 128, 512, 512], 10.0),
        ("deep_f32", &[64, 256], 100.0),
    ];
    for (name, free, least) in expected {
        let (_, checked) = operators
            .iter()
            .find(|(other, _)| other == name)
            .expect("a known operator");
        let sizes = checked.derive(free.to_vec()).expect("valid sizes");
        checked.verify(&sizes).expect("valid sizes");
        let specialisation = Specialisation::like(&sizes);
        let problem = Problem::new(checked, &specialisation, Machine::like(Target::Sm90));
        let ranked = stages::ranked(&problem, &sizes);
        let (program, seconds) = &ranked[0];
        println!("{name}: {seconds:.1e} s by {program}");
        let lone = ranked.iter().find(|(program, _)| program.lone().is_some());
        let (_, lone) = lone.expect("one stage is always possible");
        assert!(
            lone / seconds > least,
            "{name}: {seconds:e} s by {program}, {lone:e} s by one stage"
        );
        let untuned = stages::untuned(checked, &specialisation, problem.machine, &sizes);
        assert_eq!(untuned[0].program, *program);
        // The last ones always fit: one stage, with and without split-K.
        let bytes = untuned
            .iter()
            .map(|untuned| stages::stored_bytes(checked, &untuned.program.stored, &sizes));
        let bytes: Vec<u64> = bytes.collect();
        assert!(
            bytes.is_sorted_by(|a, b| a > b || (*a, *b) == (0, 0)) && bytes.ends_with(&[0]),
            "{name}: {bytes:?}"
        );
    }
}

/// A random program for each set of stored values, at random sizes.
fn programs<'a>(name: &'a str, checked: &'a Checked, random: &mut StdRng) -> Vec<Case<'a>> {
    let mut cases = Vec::new();
    for stored in stages::sets(checked) {
        let split = Split::new(checked, &stored).unwrap_or_else(|| panic!("{name}: {stored:?} cannot be stored"));
        for exact in [true, false] {
            let sizes = random_sizes_of(checked, &SIZES, 3000, random);
            let specialisation = match exact {
                true => Specialisation::exact(&sizes),
                false => Specialisation::like(&sizes),
            };
            let stages = split.stages.iter().map(|stage| {
                let own = stage.sizes_at(&sizes);
                assert_eq!(
                    stage.checked.verify(&own),
                    Ok(()),
                    "{name} {stored:?} {sizes:?}: {:?}",
                    stage.op()
                );
                let specialisation = stage.specialisation(&specialisation);
                assert!(
                    specialisation.accepts(&own),
                    "{name} {stored:?} {sizes:?}: {specialisation:?}"
                );
                let space = schedule::space(&Problem::new(&stage.checked, &specialisation, MACHINE));
                let families: Vec<&[Schedule]> = families(&space).collect();
                let family = families.choose(random).expect("`plain` accepts everything");
                *family.choose(random).expect("no family is empty")
            });
            let stages = stages.collect();
            cases.push(Case {
                name,
                checked,
                program: Program {
                    stored: stored.clone(),
                    stages,
                },
                sizes,
                specialisation,
                seed: random.random(),
            });
        }
    }
    cases
}

const SIZES: [u64; 12] = [1, 2, 3, 5, 8, 13, 16, 17, 32, 33, 48, 65];

struct Case<'a> {
    name: &'a str,
    checked: &'a Checked,
    program: Program,
    sizes: Vec<u64>,
    specialisation: Specialisation,
    seed: u64,
}

/// The most instructions of threads of a program that is run.
const MOST_INSTRUCTIONS: f64 = 1e8;

impl Case<'_> {
    /// `true` if the emulator runs it in seconds. A program that computes a deep intermediate tensor anew for every use may take hours.
    fn is_short(&self) -> bool {
        let problem = Problem::new(self.checked, &self.specialisation, MACHINE);
        let stages = stages::features(&problem, &self.program, &self.sizes).expect("features of a legal program");
        let each = stages
            .iter()
            .map(|stage| stage.counts.thread_instructions.total().likely);
        each.sum::<f64>() <= MOST_INSTRUCTIONS
    }

    /// What is wrong with the results.
    fn wrong(&self) -> Option<String> {
        let Case {
            name,
            checked,
            program,
            sizes,
            ..
        } = self;
        let problem = Problem::new(checked, &self.specialisation, MACHINE);
        let kernel = lower(&problem, program).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(kernel.launches.len(), stages::launch_count(&problem, program));
        assert_eq!(program.to_string().parse(), Ok(program.clone()));
        let inputs = random_inputs(checked, sizes, &mut StdRng::seed_from_u64(self.seed));
        let wrong = run(checked, &kernel, sizes, &inputs)
            .map(|run| first_wrong(checked, sizes, &inputs, &run.outputs))
            .unwrap_or_else(Some);
        wrong.map(|wrong| format!("{name} {sizes:?} {:?}: {program}: {wrong}", self.specialisation.extents))
    }
}

/// Tensor cores multiply rows that are gathered, those out of range as 0.
#[test]
fn gathered_rows_are_multiplied_as_they_are() {
    let operators = operators(OPERATORS);
    let (name, checked) = (operators.iter())
        .find(|(name, _)| name == "gathered_product_f16")
        .expect("a known operator");
    let mut random = StdRng::seed_from_u64(1);
    let sizes = checked.derive(vec![12, 24, 48, 32]).expect("valid sizes");
    for specialisation in [Specialisation::exact(&sizes), Specialisation::like(&sizes)] {
        let space = schedule::space(&Problem::new(checked, &specialisation, MACHINE));
        let products = families(&space).filter(|family| ["contract", "mma"].contains(&family[0].family()));
        for schedule in products.flat_map(|family| family.sample(&mut random, 6).copied().collect::<Vec<_>>()) {
            let case = Case {
                name,
                checked,
                program: schedule.into(),
                sizes: sizes.clone(),
                specialisation: specialisation.clone(),
                seed: 5,
            };
            assert_eq!(case.wrong(), None);
        }
    }
}

/// A cache file may hold any program. Each is lowered, or refused with an error.
#[test]
fn hostile_programs_are_refused() {
    let mut random = StdRng::seed_from_u64(11);
    let all = all();
    let schedules = |checked: &Checked, specialisation: &Specialisation| {
        schedule::space(&Problem::new(checked, specialisation, MACHINE))
    };
    let (mut refused, mut lowered) = (0, 0);
    for (name, checked) in &all {
        let sizes = random_sizes_of(checked, &SIZES, 3000, &mut random);
        let specialisation = Specialisation::exact(&sizes);
        let problem = Problem::new(checked, &specialisation, MACHINE);
        let own = schedules(checked, &specialisation);
        let (_, other) = all.choose(&mut random).expect("operators");
        let foreign = schedules(
            other,
            &Specialisation::exact(&random_sizes_of(other, &SIZES, 3000, &mut random)),
        );
        let values: Vec<u32> = stages::stored(checked).iter().map(Stored::number).collect();
        for _ in 0..20 {
            let count = random.random_range(0..4);
            let stored: Vec<u32> = (0..count)
                .map(|_| match values.choose(&mut random) {
                    Some(&known) if random.random() => known,
                    _ => random.random_range(0..checked.op().exprs.len() as u32 + 3),
                })
                .collect();
            let stages = (0..random.random_range(0..5)).map(|_| {
                let space = if random.random() { &own } else { &foreign };
                *space.choose(&mut random).expect("a schedule")
            });
            let program = Program {
                stages: stages.collect(),
                stored,
            };
            match lower(&problem, &program) {
                Err(_) => refused += 1,
                Ok(kernel) => {
                    assert!(program.is_valid(), "{name}: {program}");
                    assert_eq!(kernel.launches.len(), stages::launch_count(&problem, &program));
                    lowered += 1;
                }
            }
        }
        // Cycles cannot be written down: each stage reads what earlier ones stored. The order is part of the program.
        if let [first, second, ..] = values[..] {
            for stored in [vec![second, first], vec![first, first]] {
                let stages = vec![own[0]; 3];
                assert!(lower(&problem, Program { stored, stages }).is_err(), "{name}");
            }
        }
    }
    println!("{refused} refused, {lowered} lowered");
    assert!(refused > 0 && lowered > 0);
}

#[test]
fn every_set_of_stored_values_gives_right_results() {
    let all = all();
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(3);
    let mut random = StdRng::seed_from_u64(seed);
    let rounds = if std::env::var_os("EVERY_CASE").is_some() { 4 } else { 1 };
    let mut cases = Vec::new();
    for _ in 0..rounds {
        for (name, checked) in &all {
            cases.extend(programs(name, checked, &mut random));
        }
    }
    let all = cases.len();
    cases.retain(Case::is_short);
    println!("{} of {all} programs are run", cases.len());
    assert!(10 * cases.len() >= 9 * all, "{} of {all}", cases.len());
    all_are_right(&cases);
}

fn all_are_right(cases: &[Case<'_>]) {
    let failures: Vec<String> = cases.par_iter().filter_map(Case::wrong).collect();
    assert!(
        failures.is_empty(),
        "{} of {}:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}

/// Results of different shapes have stages of their own, which read nothing of each other: so the families of each shape may share a launch.
#[test]
fn results_of_different_shapes_are_computed_in_one_launch() {
    let operators = operators(OPERATORS);
    let checked = &operators
        .iter()
        .find(|(name, _)| name == "apart_f16")
        .expect("it is there")
        .1;
    let results = stages::results(checked);
    let outputs: Vec<&[usize]> = results.iter().map(|results| results.outputs.as_slice()).collect();
    assert_eq!(outputs, [&[0]]);
    let number = results[0].number();
    let split = Split::new(checked, &[number]).expect("results can be computed apart");
    let each: Vec<&[usize]> = split.stages.iter().map(|stage| stage.results.as_slice()).collect();
    assert_eq!(each, [&[0][..], &[1, 2]]);
    assert_eq!(Split::new(checked, &[number + 1]), None);

    let sizes = checked.derive(vec![16, 48, 128]).expect("valid sizes");
    let problem = |specialisation| Problem::new(checked, specialisation, Machine::like(Target::Sm90));
    let specialisation = Specialisation::exact(&sizes);
    let untuned = stages::untuned(checked, &specialisation, problem(&specialisation).machine, &sizes);
    let program = &untuned[0].program;
    assert_eq!((program.family(), program.stages.len()), ("row", 2), "{program}");
    let kernel = lower(&problem(&specialisation), program).expect("the program is legal");
    assert_eq!((kernel.launches.len(), kernel.scratch.len()), (1, 0), "{program}");
}

/// The threads a block of a schedule whose stage may share a launch.
fn sharing_threads(schedule: &Schedule) -> Option<u32> {
    match schedule {
        Schedule::Plain(point) => Some(point.threads),
        Schedule::Pointwise(point) => Some(point.threads),
        Schedule::Row(point) if point.keep != Keep::Shared => Some(point.threads * point.rows),
        _ => None,
    }
}

/// Stages that need nothing of each other share a launch if they have as many threads a block: of every pair of schedules, with blocks for all
/// work and with fewer, with sizes compiled in and as arguments.
#[test]
fn stages_that_share_a_launch_give_right_results() {
    let all = all();
    let mut random = StdRng::seed_from_u64(8);
    let rounds = if std::env::var_os("EVERY_CASE").is_some() {
        12
    } else {
        3
    };
    let mut cases = Vec::new();
    for _ in 0..rounds {
        for (name, checked) in &all {
            for mut case in programs(name, checked, &mut random) {
                let Some(split) = Split::new(checked, &case.program.stored) else {
                    continue;
                };
                let threads = *[128, 256].choose(&mut random).expect("two numbers");
                let of_rows = random.random_bool(0.5);
                for (stage, schedule) in split.stages.iter().zip(&mut case.program.stages) {
                    let specialisation = stage.specialisation(&case.specialisation);
                    let space = schedule::space(&Problem::new(&stage.checked, &specialisation, MACHINE));
                    let fits = |point: &&Schedule| sharing_threads(point) == Some(threads);
                    let points = |rows: bool| -> Vec<&Schedule> {
                        let points = space.iter().filter(|point| rows == matches!(point, Schedule::Row(_)));
                        points.filter(fits).collect()
                    };
                    let points = [points(of_rows), points(false)]
                        .into_iter()
                        .find(|points| !points.is_empty());
                    let points = points.expect("`plain` accepts everything");
                    *schedule = **points.choose(&mut random).expect("not empty");
                }
                let shared = stages::launches(&split, &case.program.stages).len() < split.stages.len();
                if shared && case.is_short() {
                    cases.push(case);
                }
            }
        }
    }
    let persistent = |schedule: &Schedule| matches!(schedule, Schedule::Pointwise(point) if point.blocks > 0);
    let with_fewer = |case: &&Case<'_>| case.program.stages.iter().any(persistent);
    let with_fewer = cases.iter().filter(with_fewer).count();
    let rows = |schedule: &Schedule| matches!(schedule, Schedule::Row(_));
    let of_rows = cases.iter().filter(|case| case.program.stages.iter().any(rows)).count();
    println!(
        "{} programs, {with_fewer} of them with fewer blocks than work, {of_rows} of rows",
        cases.len()
    );
    assert!(cases.len() >= 10 * rounds && with_fewer >= rounds && of_rows >= rounds);
    all_are_right(&cases);
}
