//! Runs NVIDIA's assembler on every line of the instruction table, and on the validation set for every kind of GPU. No kernel may spill.
//!
//! `ENERGY_KERNEL_PTXAS` is the path of `ptxas`. Without it the tests are left out and say so ([`tools`]).

use energy_kernel_compiler::lower;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::ptx::{Address, Builder, Cache, Class, Compare, Opcode, Operand, Reg, Space, Width};
use energy_kernel_compiler::schedule::{self, Program, Schedule};
use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::stages;
use energy_kernel_compiler::target::{Machine, Target};
use energy_kernel_tests::split_k;
use energy_kernel_tests::tools::tools;
use energy_kernel_tests::{GPUS, cases, families, missing_families, operators};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Output, Stdio};

/// The assembler's output if it reports an error, a spill, or a performance lint.
fn complaint(ptxas: &str, architecture: &str, ptx: &str) -> Option<String> {
    let mut child = Command::new(ptxas)
        .args(["-v", &format!("-arch={architecture}"), "-o", "/dev/null", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ptxas starts");
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(ptx.as_bytes())
        .expect("ptxas reads");
    let output = child.wait_with_output().expect("ptxas ends");
    let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    let spills = text
        .lines()
        .any(|line| line.contains("spill stores") && !line.contains(" 0 bytes spill stores"));
    let lint = text.contains("warning") || text.contains("C75") || text.contains("C76");
    (!output.status.success() || spills || lint).then_some(text)
}

#[test]
fn every_instruction_of_the_table_assembles() {
    let Some([ptxas]) = tools("every_instruction_of_the_table_assembles", ["ENERGY_KERNEL_PTXAS"]) else {
        return;
    };
    let mut b = Builder::new("table", 32);
    let out = b.parameter(Width::B64);
    let out = b.op(Opcode::ToGlobal, &[out.into()]);
    let word = b.parameter(Width::B32);
    let predicate = b.compare(Compare::Ne, Class::B32, word.into(), 0.into());
    let half = b.op(Opcode::CvtU16U32, &[word.into()]);
    let long = b.op(Opcode::CvtS64S32, &[word.into()]);
    let float = b.op(Opcode::F32Bits, &[word.into()]);
    let double = b.op(Opcode::CvtF64F32, &[float.into()]);
    let of = |class: Class| -> Operand {
        match class {
            Class::Pred => predicate,
            Class::B16 => half,
            Class::B32 => word,
            Class::B64 => long,
            Class::F32 => float,
            Class::F64 => double,
        }
        .into()
    };
    b.shared_base();
    for (number, &opcode) in Opcode::ALL.iter().enumerate() {
        let row = opcode.row();
        let sources: Vec<Operand> = row.sources.iter().map(|&class| of(class)).collect();
        let results: Vec<Reg> = if row.pure {
            b.ops(opcode, &sources).into_vec()
        } else {
            b.converge(opcode, &sources).into_iter().collect()
        };
        for result in results {
            let (width, value) = match result.class {
                Class::Pred => (Width::B32, b.op(Opcode::SelB32, &[1.into(), 0.into(), result.into()])),
                Class::B16 => (Width::B16, result),
                Class::B32 => (Width::B32, result),
                Class::B64 => (Width::B64, result),
                Class::F32 => (Width::F32, result),
                Class::F64 => (Width::F64, result),
            };
            let address = Address {
                base: out,
                offset: 8 * number as i32,
            };
            b.store(Space::Global, width, address, &[value.into()], Cache::Normal, None);
        }
    }
    let entry = b.finish();
    for target in Target::ALL {
        if let Some(text) = complaint(&ptxas, &target.to_string(), &entry.module(target)) {
            panic!("{target:?}: {text}");
        }
    }
}

/// Each GPU gets its own sixth of the validation set. With `EVERY_TARGET` in the environment it gets all of it, which takes six times as long.
#[test]
fn kernels_assemble_without_spilling() {
    let Some([ptxas]) = tools("kernels_assemble_without_spilling", ["ENERGY_KERNEL_PTXAS"]) else {
        return;
    };
    let operators = operators(energy_kernel_tests::OPERATORS);
    let parts = match std::env::var_os("EVERY_TARGET") {
        Some(_) => 1,
        None => GPUS.len(),
    };
    // Many specialisations share a kernel.
    let mut kernels = BTreeMap::new();
    let mut schedules = Vec::new();
    for (number, (architecture, machine)) in gpus().enumerate() {
        for case in cases(&operators, machine)
            .into_iter()
            .skip(number % parts)
            .step_by(parts)
        {
            let kernel = lower::lower(
                &Problem::new(case.checked, &case.specialisation, machine),
                case.schedule,
            )
            .unwrap_or_else(|error| panic!("{case}: {error}"));
            kernels.insert((architecture, kernel.ptx), format!("sm_{architecture} {case}"));
            schedules.push(case.schedule);
        }
    }
    assert_eq!(missing_families(&schedules), [""; 0]);
    none_complains(&ptxas, kernels);
}

/// Operators and sizes for which split-K pays.
const SHARED: [(&str, &[u64]); 7] = [
    ("linear_gelu_f32", &[64, 4096, 1000]),
    ("matmul_f64", &[60, 2048, 256]),
    ("linear_gelu_f16", &[64, 4096, 1000]),
    ("matmul_outer_bf16", &[4096, 64, 512]),
    ("linear_scaled_i8", &[64, 4096, 512]),
    ("matmul_tf32", &[64, 4096, 333]),
    ("gated_columns_bf16", &[64, 4096, 512]),
];

/// The last block of a split-K tile holds its own sums while it loads and adds those of the others.
#[test]
fn split_k_kernels_assemble_without_spilling() {
    let Some([ptxas]) = tools("split_k_kernels_assemble_without_spilling", ["ENERGY_KERNEL_PTXAS"]) else {
        return;
    };
    let operators = operators(energy_kernel_tests::OPERATORS);
    let samples = if std::env::var_os("EVERY_TARGET").is_some() {
        40
    } else {
        3
    };
    let mut random = StdRng::seed_from_u64(3);
    let mut kernels = BTreeMap::new();
    for (name, sizes) in SHARED {
        let found = operators.iter().find(|(of, _)| of == name);
        let (_, checked) = found.expect("the operator exists");
        let sizes = checked.derive(sizes.to_vec()).expect("sizes of the operator");
        let specialisation = Specialisation::exact(&sizes);
        for (architecture, machine) in gpus() {
            let space = schedule::space(&Problem::new(checked, &specialisation, machine));
            for points in families(&space) {
                let shared: Vec<_> = points.iter().filter(|point| split_k::factor(point) > 1).collect();
                for point in shared.sample(&mut random, samples) {
                    let kernel = lower::lower(&Problem::new(checked, &specialisation, machine), *point)
                        .unwrap_or_else(|error| panic!("{name} {point}: {error}"));
                    kernels.insert((architecture, kernel.ptx), format!("sm_{architecture} {name} {point}"));
                }
            }
        }
    }
    none_complains(&ptxas, kernels);
}

/// Stages that share a launch: both inputs of a convolution with channels last, of any sizes and of those compiled in.
#[test]
fn kernels_of_shared_launches_assemble_without_spilling() {
    let name = "kernels_of_shared_launches_assemble_without_spilling";
    let Some([ptxas]) = tools(name, ["ENERGY_KERNEL_PTXAS"]) else {
        return;
    };
    let operators = operators(energy_kernel_tests::OPERATORS);
    let mut random = StdRng::seed_from_u64(4);
    let mut kernels = BTreeMap::new();
    for (name, sizes) in [
        ("conv_stride_f16", &[2, 64, 33, 33, 32, 3, 3][..]),
        ("conv_valid_bf16", &[32, 30, 30, 64, 3, 3]),
        ("matmul_outer_bf16", &[96, 64, 80]),
    ] {
        let found = operators.iter().find(|(of, _)| of == name);
        let (_, checked) = found.expect("the operator exists");
        let sizes = checked.derive(sizes.to_vec()).expect("sizes of the operator");
        for (specialisation, (architecture, machine)) in [Specialisation::exact(&sizes), Specialisation::like(&sizes)]
            .iter()
            .flat_map(|specialisation| gpus().map(move |gpu| (specialisation, gpu)))
        {
            let problem = Problem::new(checked, specialisation, machine);
            for stored in stages::sets(checked) {
                let split = lower::split(&problem, &stored).expect("a set of stored values");
                let stages = split.stages.iter().map(|stage| {
                    let specialisation = stage.specialisation(specialisation);
                    let space = schedule::space(&Problem::new(&stage.checked, &specialisation, machine));
                    let of_128_threads =
                        |point: &&Schedule| matches!(point, Schedule::Pointwise(point) if point.threads == 128);
                    let light: Vec<&Schedule> = space.iter().filter(of_128_threads).collect();
                    light.choose(&mut random).map_or(space[0], |point| **point)
                });
                let stages = stages.collect();
                let program = Program { stored, stages };
                let kernel =
                    lower::lower(&problem, &program).unwrap_or_else(|error| panic!("{name} {program}: {error}"));
                if kernel.launches.len() < program.stages.len() {
                    kernels.insert(
                        (architecture, kernel.ptx),
                        format!("sm_{architecture} {name} {program}"),
                    );
                }
            }
        }
    }
    assert!(kernels.len() >= 6, "{}", kernels.len());
    none_complains(&ptxas, kernels);
}

/// The number of each GPU's architecture, and the machine.
fn gpus() -> impl Iterator<Item = (u32, Machine)> {
    GPUS.into_iter().map(|((major, minor), multiprocessors)| {
        let machine = Machine::documented((major, minor), multiprocessors);
        (10 * major + minor, machine.expect("8.0 or later"))
    })
}

/// Assembles kernels, by architecture and text, on all processors.
fn none_complains(ptxas: &str, kernels: BTreeMap<(u32, String), String>) {
    let kernels: Vec<_> = kernels.into_iter().collect();
    let failure = |((architecture, ptx), name): &((u32, String), String)| {
        complaint(ptxas, &format!("sm_{architecture}"), ptx).map(|text| format!("{name}: {text}"))
    };
    let failures: Vec<_> = kernels.par_iter().filter_map(failure).collect();
    assert!(!kernels.is_empty());
    println!("{} kernels assembled", kernels.len());
    assert!(
        failures.is_empty(),
        "{} of {}:\n{}",
        failures.len(),
        kernels.len(),
        failures.join("\n")
    );
}

/// Runs a test of this file by itself, without any tool.
fn without_tools(demanded: bool) -> Output {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", "every_instruction_of_the_table_assembles"]);
    command
        .env_remove("ENERGY_KERNEL_PTXAS")
        .env_remove("ENERGY_KERNEL_DEMAND_TOOLS");
    if demanded {
        command.env("ENERGY_KERNEL_DEMAND_TOOLS", "1");
    }
    command.output().expect("it starts")
}

#[test]
fn a_test_without_its_tool_says_that_it_is_left_out() {
    let output = without_tools(false);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(
        said.lines()
            .filter(|line| line.contains("left out"))
            .collect::<Vec<_>>(),
        ["every_instruction_of_the_table_assembles is left out: set ENERGY_KERNEL_PTXAS to the path of the tool"]
    );
}

#[test]
fn a_test_without_a_tool_that_is_demanded_fails() {
    let output = without_tools(true);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("ENERGY_KERNEL_PTXAS"), "{said}");
}
