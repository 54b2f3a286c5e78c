//! Random well-typed programs of the language match the reference on the emulator, with any schedule and any set of stored values.

use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::kernel::Kernel;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::schedule::{Program, Schedule};
use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::stages;
use energy_kernel_compiler::target::{Machine, Target};
use energy_kernel_compiler::testing::{inputs, programs};
use energy_kernel_compiler::tuning::is_wide;
use energy_kernel_compiler::{lang, lower, schedule};
use energy_kernel_tests::{Input, families, first_wrong, run};
use proptest::prelude::*;

/// Sizes compiled in, as arguments, and as arguments of a kernel with 64-bit indices.
fn specialisations(checked: &Checked, sizes: &[u64]) -> [Specialisation; 3] {
    let wide = is_wide(checked, sizes);
    let like = Specialisation::like(sizes);
    [
        Specialisation {
            wide,
            ..Specialisation::exact(sizes)
        },
        Specialisation { wide, ..like.clone() },
        Specialisation { wide: true, ..like },
    ]
}

/// A program for each set of values that can be stored. The seed chooses the schedule of each stage.
fn staged(problem: &Problem<'_>, sizes: &[u64], seed: u64) -> Vec<Program> {
    let sets = stages::sets(problem.checked).into_iter();
    let programs = sets.map(|stored| {
        let split = lower::split(problem, &stored).expect("the set can be stored");
        let stages = (0u64..).zip(&split.stages).map(|(number, stage)| {
            let own = stage.sizes_at(sizes);
            assert_eq!(stage.checked.verify(&own), Ok(()), "{own:?}: {:?}", stage.op());
            let specialisation = stage.specialisation(problem.specialisation);
            let space = schedule::space(&Problem::new(&stage.checked, &specialisation, problem.machine));
            let families: Vec<&[Schedule]> = families(&space).collect();
            let chosen = seed.rotate_right(7 * number as u32) as usize;
            let points = families[chosen % families.len()];
            points[chosen / 8 % points.len()]
        });
        let stages = stages.collect();
        Program { stored, stages }
    });
    programs.collect()
}

fn inputs_of(checked: &Checked, sizes: &[u64], seed: u64) -> Vec<Input> {
    let inputs = inputs(checked, sizes, seed).into_iter();
    inputs.map(|(_, bytes)| Input { bytes }).collect()
}

/// A program's kernel, and what is wrong with its results.
fn result(problem: &Problem<'_>, program: &Program, sizes: &[u64], inputs: &[Input]) -> (Kernel, Option<String>) {
    let kernel = lower::lower(problem, program).expect("the program is legal");
    let wrong = run(problem.checked, &kernel, sizes, inputs)
        .map(|run| first_wrong(problem.checked, sizes, inputs, &run.outputs))
        .unwrap_or_else(Some);
    (kernel, wrong)
}

/// Reads out of range in code that never runs at these sizes must not move to code that does.
#[test]
fn what_never_happens_is_not_read() {
    let cases: [(&str, &[(&str, u64)]); 9] = [
        ("|i| z[[i]] + sum(|j: M| x[[700]] * y[[j]])", &[("N", 2), ("M", 0)]),
        ("|i| z[[i]] + sum(|j: M| x[[i + 700]] * y[[j]])", &[("N", 2), ("M", 0)]),
        (
            "|i| z[[i]] + sum(|j: M| sum(|k: N| x[[k + 700]]) * y[[j]])",
            &[("N", 9), ("M", 0)],
        ),
        (
            "|i| z[[i]] + sum(|j: M, k: N| x[[k + 700]] * y[[j]])",
            &[("N", 9), ("M", 0)],
        ),
        (
            "let t = |j: M| x[[700]]; |i| z[[i]] + sum(|j: M| t[[j]])",
            &[("N", 2), ("M", 0)],
        ),
        (
            "let t = |j: M| max(|k: N| x[[k + 700]]); |i| z[[i]] + sum(|j: M| t[[j]])",
            &[("N", 2), ("M", 0)],
        ),
        ("|i| if M > 0 { x[[M + 700]] } else { z[[i]] }", &[("N", 2), ("M", 0)]),
        (
            "|i| if M > 0 { sum(|k: N| x[[k + 700]]) } else { z[[i]] }",
            &[("N", 2), ("M", 0)],
        ),
        ("|i| sum(|j: M| z[[i]] * (x[[700]] * y[[j]]))", &[("N", 2), ("M", 0)]),
    ];
    let one = "x: Tensor<f32, (N,)>, y: Tensor<f32, (M,)>, z: Tensor<f32, (N,)>";
    let mut sources: Vec<_> = cases
        .iter()
        .map(|(body, sizes)| (format!("fn f({one}) -> Tensor<f32, (N,)> {{ {body} }}"), *sizes))
        .collect();
    let two = "(Tensor<f32, (N, M)>, Tensor<f32, (N,)>)";
    sources.push((
        format!("fn f({one}) -> {two} {{ (|i, j| x[[700]] + y[[j]] * sum(|k: N| x[[k + 70]]), |i| z[[i]] + sum(|k: N| x[[k]])) }}"),
        &[("N", 33), ("M", 0)],
    ));
    // A matrix product with an empty reduction dimension.
    sources.push((
        "fn f(x: Tensor<f32, (M, K)>, w: Tensor<f32, (K, N)>, s: Tensor<f32, (N,)>) -> Tensor<f32, (M, N)> \
         { |m, n| sum(|k| (x[[m, k]] * s[[700]]) * w[[k, n]]) + s[[n]] }"
            .to_owned(),
        &[("M", 33), ("N", 16), ("K", 0)],
    ));
    // A matrix product that is in range only under a condition.
    sources.push((
        "fn f(x: Tensor<f32, (K, M)>, y: Tensor<f32, (K, N)>) -> Tensor<f32, (M, N)> \
         { |m, n| if n > 0 { sum(|k| x[[k, m]] * y[[k, n - 1]]) } else { 1.0 } }"
            .to_owned(),
        &[("K", 40), ("M", 9), ("N", 31)],
    ));
    for (source, sizes) in sources {
        let operator = lang::parse(Default::default(), source.parse().expect("tokens")).expect("an operator");
        let checked = &operator.variants[0].checked;
        let sizes = checked.bind(&sizes.iter().copied().collect()).expect("all sizes");
        assert_eq!(checked.verify(&sizes), Ok(()), "{source}");
        let inputs = inputs_of(checked, &sizes, 1);
        for specialisation in specialisations(checked, &sizes) {
            let problem = Problem::new(checked, &specialisation, Machine::like(Target::Sm80));
            let space = schedule::space(&problem);
            let lone = space.iter().step_by(7).map(Program::from);
            let several = (0..3).flat_map(|seed| staged(&problem, &sizes, seed << 4 | seed));
            for program in lone.chain(several) {
                let (kernel, wrong) = result(&problem, &program, &sizes, &inputs);
                assert_eq!(wrong, None, "{source}\n{program}\n{}", kernel.ptx);
            }
        }
    }
}

/// A row's reduction stands before the loop over its columns, where conditions of that loop do not exist yet.
#[test]
fn reductions_in_loops_do_not_see_their_conditions() {
    let source = "fn f(x: Tensor<i8, (A,)>, y: Tensor<i8, (A,)>) -> (Tensor<i8, (A, A, A)>, Tensor<f32, (A,)>) { \
         let half = |i: A, j: A| 0.5; \
         let less = |i: A, j: A, k: A| \
             (if true { if 0 < 0 { if true { half[[i, i]] } else { 0.5 } } else { 0.5 } } \
              else { sum(|l: A| half.or(0.5)[[A - 1 - k, k * 2 - 1]]) }) \
             < ((x.or(0)[[j * 2 - 1]] as f64) \
                + (if if false { false } else { true } { half[[min(i, A - 1), k % A]] } else { (0.1).powi(2) })); \
         (|i, j, k| if 0.5 <= (if !(less[[min(i, A - 1), max(k - k, 0) / 2, i % A]]) { \
                        half[[min(k, A - 1), min(j, A - 1)]] % half.or(0.5)[[A - 1 - i, j * 2 - 1]] \
                    } else { max(half.or(0.5)[[min(j, A - 1), i * 2 - 1]], 0.5) }) { \
                 (y[[j]] + A) % (if !(less[[i, i, i]]) { x[[i]] } else { x[[i]] }) \
             } else { x[[i]] }, \
          |i| half[[i, i]]) }";
    let operator = lang::parse(Default::default(), source.parse().expect("tokens")).expect("an operator");
    let checked = &operator.variants[0].checked;
    let sizes = checked.bind(&[("A", 7)].into_iter().collect()).expect("all sizes");
    let inputs = inputs_of(checked, &sizes, 1);
    for specialisation in specialisations(checked, &sizes) {
        let problem = Problem::new(checked, &specialisation, Machine::like(Target::Sm80));
        for schedule in schedule::space(&problem) {
            let (kernel, wrong) = result(&problem, &schedule.into(), &sizes, &inputs);
            assert_eq!(wrong, None, "{schedule}\n{}", kernel.ptx);
        }
    }
}

proptest! {
    #[test]
    fn every_schedule_gives_the_reference(program in programs(), seed in any::<u64>()) {
        let tokens = program.source.parse().expect("programs are tokens");
        let operator = lang::parse(Default::default(), tokens)
            .map_err(|error| TestCaseError::fail(format!("{error}\n{}", program.source)))?;
        let checked = &operator.variants[0].checked;
        let sizes = checked.bind(&program.sizes).expect("programs have sizes");
        // The range proof may reject a program that is safe.
        prop_assume!(checked.verify(&sizes).is_ok());
        let inputs = inputs_of(checked, &sizes, seed);
        for specialisation in specialisations(checked, &sizes) {
            let problem = Problem::new(checked, &specialisation, Machine::like(Target::Sm80));
            let space = schedule::space(&problem);
            let lone = families(&space).map(|points| Program::from(points[seed as usize % points.len()]));
            for schedules in lone.chain(staged(&problem, &sizes, seed)) {
                let (_, wrong) = result(&problem, &schedules, &sizes, &inputs);
                prop_assert!(
                    wrong.is_none(),
                    "{}\n{:?} {:?}\n{schedules}\n{}",
                    program.source, program.sizes, specialisation.extents, wrong.unwrap_or_default()
                );
            }
        }
    }
}
