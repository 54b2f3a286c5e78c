//! The emulator notices a kernel that lost a wait for copies, a barrier, or the stage before it. So tests on the emulator see a compiler that
//! forgets one.

use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::kernel::Kernel;
use energy_kernel_compiler::lower;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::schedule::{Program, Schedule};
use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::stages;
use energy_kernel_compiler::target::{Machine, Target};
use energy_kernel_tests::{Input, first_wrong, operators, random_inputs, run};
use rand::SeedableRng;
use rand::rngs::StdRng;

/// The last steps of a pipeline commit groups without copies. The wait for them may be lost.
const EMPTY: &str = "cp.async.wait_group 0;";

/// A kernel at compiled-in sizes, and inputs.
struct Case {
    name: &'static str,
    checked: Checked,
    sizes: Vec<u64>,
    inputs: Vec<Input>,
    kernel: Kernel,
    /// The waits that may be lost, in order.
    idle: &'static [&'static str],
}

impl Case {
    /// A program of one schedule, or of one for each value that is worth storing and one more.
    fn new(name: &'static str, free: &[u64], schedules: &[&str], idle: &'static [&'static str]) -> Case {
        let mut all = operators(energy_kernel_tests::OPERATORS);
        all.extend(operators(include_str!("stages/operators.rs")));
        let (_, checked) = all.into_iter().find(|(other, _)| other == name).expect("an operator");
        let sizes = checked.derive(free.to_vec()).expect("sizes");
        let parse = |text: &&str| text.parse::<Schedule>().expect("a schedule");
        let stages: Vec<Schedule> = schedules.iter().map(parse).collect();
        let values = stages::values(&checked);
        let stored = values
            .iter()
            .map(stages::Value::number)
            .take(stages.len() - 1)
            .collect();
        let specialisation = Specialisation::exact(&sizes);
        let problem = Problem::new(&checked, &specialisation, Machine::like(Target::Sm80));
        let kernel = lower::lower(&problem, Program { stored, stages }).expect("a legal program");
        let inputs = random_inputs(&checked, &sizes, &mut StdRng::seed_from_u64(1));
        let case = Case {
            name,
            checked,
            sizes,
            inputs,
            kernel,
            idle,
        };
        assert_eq!(case.wrong(&case.kernel), None, "{name}");
        case
    }

    /// What the sanitizer or the reference finds.
    fn wrong(&self, kernel: &Kernel) -> Option<String> {
        match run(&self.checked, kernel, &self.sizes, &self.inputs) {
            Ok(run) => first_wrong(&self.checked, &self.sizes, &self.inputs, &run.outputs),
            Err(found) => Some(found),
        }
    }
}

fn cases() -> [Case; 6] {
    let mma = "mma block=32x32x32 warp=16x16 slice_k=1 stages=3 group=1 blocks=0 split_k=1";
    let contract = "contract block=32x32x16 thread=2x4 stages=2 blocks=0 split_k=1";
    [
        // T, H, S, G: three tiles of keys for the last rows.
        Case::new(
            "attention_f16",
            &[90, 2, 90, 1],
            &["attention rows=32 keys=32 warps=2 split_k=1"],
            &[],
        ),
        // C, Q, G, H: a state of 64 columns takes the place of keys and values.
        Case::new(
            "chunk_scan_bf16",
            &[1, 70, 1, 2],
            &["attention rows=32 keys=32 warps=2 split_k=1"],
            &[],
        ),
        // The second barrier keeps warps from a next row while others still read what was exchanged for this one.
        Case::new(
            "rms_norm_bf16",
            &[9, 128],
            &["row threads=64 rows=1 vector=2 keep=registers unroll=1 pass=several blocks=2"],
            &[],
        ),
        Case::new("linear_gelu_f16", &[40, 160, 40], &[mma], &[EMPTY]),
        Case::new("linear_gelu_f32", &[40, 80, 40], &[contract], &[]),
        Case::new("two_layers_f16", &[40, 160, 160, 40], &[mma, mma], &[EMPTY, EMPTY]),
    ]
}

#[test]
fn a_lost_wait_is_noticed() {
    for case in cases() {
        let lines: Vec<&str> = case.kernel.ptx.lines().collect();
        let is_wait = |line: &str| {
            ["cp.async.wait_group", "bar.sync"]
                .iter()
                .any(|wait| line.trim().starts_with(wait))
        };
        let waits: Vec<usize> = (0..lines.len()).filter(|&number| is_wait(lines[number])).collect();
        assert!(waits.len() >= 2, "{}: {waits:?}", case.name);
        let unnoticed = waits.into_iter().filter(|&number| {
            let mut without = lines.clone();
            without.remove(number);
            let kernel = Kernel {
                ptx: without.join("\n") + "\n",
                ..case.kernel.clone()
            };
            case.wrong(&kernel).is_none()
        });
        let unnoticed: Vec<&str> = unnoticed.map(|number| lines[number].trim()).collect();
        assert_eq!(unnoticed, case.idle, "{}", case.name);
    }
}

#[test]
fn a_lost_stage_is_noticed() {
    for case in cases().into_iter().filter(|case| case.kernel.launches.len() > 1) {
        for number in 0..case.kernel.launches.len() {
            let mut kernel = case.kernel.clone();
            kernel.launches.remove(number);
            assert!(case.wrong(&kernel).is_some(), "{}: launch {number}", case.name);
        }
        let mut kernel = case.kernel.clone();
        kernel.launches.reverse();
        assert!(case.wrong(&kernel).is_some(), "{}: in the other order", case.name);
    }
}
