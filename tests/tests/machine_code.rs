//! Checks machine code. The main loop of a product, over the reduction dimension, consists of tensor core instructions, `ldmatrix` and 16-byte
//! asynchronous copies where they are intended, and little else. A row in registers takes few instructions an element.
//!
//! `ENERGY_KERNEL_PTXAS` and `ENERGY_KERNEL_NVDISASM` are the paths of both tools. Without them the test is
//! left out and says so ([`tools`]).

use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::features::InstructionClass;
use energy_kernel_compiler::lower;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::schedule::Program;
use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::target::{Machine, Target};
use energy_kernel_tests::operators;
use energy_kernel_tests::tools::tools;
use std::collections::BTreeMap;
use std::process::Command;

/// The fewest instructions of a kind in a loop, by the beginning of their names and, after `*`, by a later part.
type Has = &'static [(&'static str, usize)];

/// Operators besides the validation set: factors of 1 and 4 bytes contiguous along their own axes, and truncation to `tf32`.
const OUTER: &str = "
#[energy_kernel]
fn outer_i8(a: Tensor<i8, (K, M)>, b: Tensor<i8, (K, N)>) -> Tensor<i32, (M, N)> {
    |m, n| sum(|k| a[[k, m]] * b[[k, n]])
}

#[energy_kernel]
fn outer_tf32(a: Tensor<f32, (K, M)>, b: Tensor<f32, (K, N)>) -> Tensor<f32, (M, N)> {
    |m, n| sum(|k| tf32(a[[k, m]]) * tf32(b[[k, n]]))
}

#[energy_kernel]
fn matmul_cut(a: Tensor<f32, (M, K)>, b: Tensor<f32, (N, K)>) -> Tensor<f32, (M, N)> {
    |m, n| sum(|k| tf32_toward_zero(a[[m, k]]) * tf32_toward_zero(b[[n, k]]))
}";

/// An operator, its free sizes, a schedule, the instructions of its main loop, and the least share of arithmetic instructions among all. The
/// first kind of instruction is the arithmetic. The share is the measured one, rounded down; Triton's share for the same functions, tiles and
/// warps is lower (`tests/bench/results/sass/triton.md`).
const KERNELS: [(&str, &[u64], &str, Has, f64); 13] = [
    (
        "linear_bf16",
        &[4096, 4096, 4096],
        "mma block=128x128x32 warp=64x64 slice_k=1 stages=3 group=8 blocks=0 split_k=1",
        &[("HMMA.16816.F32.BF16", 64), ("LDSM.16.M88.4", 16), ("LDGSTS*.128", 8)],
        0.51,
    ),
    (
        "matmul_transposed_f16",
        &[4096, 4096, 4096],
        "mma block=64x64x64 warp=32x32 slice_k=1 stages=3 group=8 blocks=0 split_k=1",
        &[("HMMA.16816.F32", 32), ("LDSM.16", 16), ("LDGSTS*.128", 8)],
        0.34,
    ),
    // Two sums share the left factor.
    (
        "gated_f16",
        &[4096, 4096, 4096],
        "mma block=128x64x32 warp=64x32 slice_k=1 stages=3 group=8 blocks=0 split_k=1",
        &[("HMMA.16816.F32", 64), ("LDSM.16.M88.4", 16), ("LDGSTS*.128", 8)],
        0.51,
    ),
    // Persistent blocks.
    (
        "linear_bf16",
        &[4096, 4096, 4096],
        "mma block=128x128x32 warp=64x64 slice_k=1 stages=3 group=8 blocks=108 split_k=1",
        &[("HMMA.16816.F32.BF16", 64), ("LDSM.16.M88.4", 16), ("LDGSTS*.128", 8)],
        0.51,
    ),
    (
        "matmul_i8",
        &[4096, 4096, 4096],
        "mma block=128x128x64 warp=64x64 slice_k=1 stages=3 group=8 blocks=0 split_k=1",
        &[("IMMA.16832.S8.S8", 64), ("LDSM.16.M88.4", 16), ("LDGSTS*.128", 8)],
        0.52,
    ),
    (
        "matmul_u8",
        &[4096, 4096, 4096],
        "mma block=128x128x64 warp=64x64 slice_k=1 stages=3 group=8 blocks=0 split_k=1",
        // `prmt` splits pairs of rows in registers.
        &[
            ("IMMA.16832.U8.S8", 64),
            ("LDSM.16.M88.4", 8),
            ("LDSM.16.MT88.4", 8),
            ("LDGSTS*.128", 8),
            ("PRMT", 32),
        ],
        0.4,
    ),
    // Three instructions take an integer sum into a total: none of them converts.
    (
        "group_scales_i8",
        &[4096, 128, 32, 4096],
        "mma block=64x64x64 warp=32x32 slice_k=1 stages=3 group=8 blocks=0 split_k=1",
        &[
            ("FFMA", 64),
            ("FADD", 64),
            ("FMUL", 64),
            ("IMMA.16832.S8.S8", 16),
            ("LDSM.16.M88.4", 8),
            ("LDGSTS*.128", 4),
        ],
        0.2,
    ),
    (
        "outer_i8",
        &[4096, 4096, 4096],
        "mma block=64x64x64 warp=32x32 slice_k=1 stages=3 group=8 blocks=0 split_k=1",
        &[
            ("IMMA.16832.S8.S8", 16),
            ("LDSM.16.MT88.4", 8),
            ("LDGSTS*.128", 4),
            ("PRMT", 32),
        ],
        0.17,
    ),
    (
        "matmul_tf32",
        &[4096, 4096, 4096],
        "mma block=128x64x32 warp=64x32 slice_k=1 stages=2 group=8 blocks=0 split_k=1",
        // Rounding to tf32 is three instructions an element.
        &[
            ("HMMA.1688.F32.TF32", 64),
            ("LDSM.16.M88.4", 16),
            ("FFMA", 48),
            ("STS.128", 12),
        ],
        0.23,
    ),
    (
        "matmul_tf32",
        &[4096, 4096, 4096],
        "mma block=128x128x16 warp=64x64 slice_k=1 stages=3 group=8 blocks=0 split_k=1",
        &[
            ("HMMA.1688.F32.TF32", 64),
            ("LDSM.16.M88.4", 16),
            ("FFMA", 32),
            ("STS.128", 8),
        ],
        0.3,
    ),
    (
        "matmul_cut",
        &[4096, 4096, 4096],
        "mma block=128x128x16 warp=64x64 slice_k=1 stages=3 group=8 blocks=0 split_k=1",
        // One instruction an element.
        &[
            ("HMMA.1688.F32.TF32", 64),
            ("LDSM.16.M88.4", 16),
            ("LOP3", 32),
            ("STS.128", 8),
        ],
        0.43,
    ),
    (
        "outer_tf32",
        &[4096, 4096, 4096],
        "mma block=128x128x16 warp=64x64 slice_k=1 stages=3 group=8 blocks=0 split_k=1",
        &[
            ("HMMA.1688.F32.TF32", 64),
            ("LDSM.16.M88.4", 16),
            ("FFMA", 32),
            ("LDG*.128", 8),
            ("STS.128", 8),
        ],
        0.3,
    ),
    (
        "batched_matmul_f32",
        &[2, 4096, 4096, 4096],
        "contract block=128x128x16 thread=8x8 stages=2 blocks=0 split_k=1",
        &[("FFMA", 1024), ("LDS.128", 64), ("LDG*.128", 4)],
        0.9,
    ),
];

/// The instructions of a disassembly, and the position of each label among them.
fn instructions(text: &str) -> (Vec<&str>, BTreeMap<&str, usize>) {
    let mut instructions: Vec<&str> = Vec::new();
    let mut labels = BTreeMap::new();
    for line in text.lines() {
        if let Some((label, "")) = line.trim().split_once(':') {
            labels.insert(label, instructions.len());
        }
        let instruction = line
            .trim_start()
            .strip_prefix("/*")
            .and_then(|line| line.split_once("*/"));
        if let Some((_, instruction)) = instruction.filter(|(address, _)| address.len() >= 4) {
            instructions.push(instruction.trim());
        }
    }
    (instructions, labels)
}

/// The instructions of the loop with the most arithmetic, without predicates.
fn steady_state(text: &str, arithmetic: &str) -> Vec<String> {
    let (instructions, labels) = instructions(text);
    let name = |instruction: &&str| match instruction.strip_prefix('@') {
        Some(guarded) => guarded.split_once(' ').map_or("", |(_, rest)| rest).to_owned(),
        None => (*instruction).to_owned(),
    };
    let loops = instructions.iter().enumerate().filter_map(|(end, instruction)| {
        let (_, target) = instruction.split_once("BRA")?.1.split_once("`(")?;
        let start = *labels.get(target.split_once(')')?.0)?;
        (start <= end).then(|| instructions[start..=end].iter().map(name).collect::<Vec<String>>())
    });
    let count = |body: &Vec<String>| body.iter().filter(|name| name.starts_with(arithmetic)).count();
    // Of nested loops this is the inner one.
    loops
        .max_by_key(|body| (count(body), std::cmp::Reverse(body.len())))
        .unwrap_or_default()
}

/// The machine code of a kernel for sm_80.
fn disassembled(
    known: &[(String, Checked)],
    name: &str,
    free: &[u64],
    schedule: &str,
    ptxas: &str,
    nvdisasm: &str,
) -> String {
    let (_, checked) = known.iter().find(|(of, _)| of == name).expect("the operator exists");
    let sizes = checked.derive(free.to_vec()).expect("all free sizes");
    let program: Program = schedule.parse().expect("a schedule");
    let kernel = lower::lower(
        &Problem::new(checked, &Specialisation::exact(&sizes), Machine::like(Target::Sm80)),
        program,
    )
    .unwrap_or_else(|error| panic!("{name}: {error}"));
    machine_code(&kernel.ptx, "sm_80", ptxas, nvdisasm)
}

fn machine_code(ptx: &str, target: &str, ptxas: &str, nvdisasm: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let (source, binary) = (folder.path().join("kernel.ptx"), folder.path().join("kernel.cubin"));
    std::fs::write(&source, ptx).expect("written");
    let mut assemble = Command::new(ptxas);
    assemble
        .arg(format!("-arch={target}"))
        .arg("-o")
        .arg(&binary)
        .arg(&source);
    assert!(assemble.status().expect("ptxas starts").success());
    let output = Command::new(nvdisasm)
        .arg("-c")
        .arg(&binary)
        .output()
        .expect("nvdisasm starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn loops_over_the_terms_are_what_they_are_meant_to_be() {
    let test = "loops_over_the_terms_are_what_they_are_meant_to_be";
    let Some([ptxas, nvdisasm]) = tools(test, ["ENERGY_KERNEL_PTXAS", "ENERGY_KERNEL_NVDISASM"]) else {
        return;
    };
    let mut known = operators(energy_kernel_tests::OPERATORS);
    known.extend(operators(OUTER));
    for (name, free, schedule, has, share) in KERNELS {
        let text = disassembled(&known, name, free, schedule, &ptxas, &nvdisasm);
        let (arithmetic, _) = has[0];
        let body = steady_state(&text, arithmetic);
        let is = |instruction: &&String, what: &str| {
            let (begin, more) = what.split_once('*').unwrap_or((what, ""));
            let name = instruction.split(' ').next().unwrap_or_default();
            name.strip_prefix(begin).is_some_and(|rest| rest.contains(more))
        };
        let count = |what: &str| body.iter().filter(|instruction| is(instruction, what)).count();
        for &(what, least) in has {
            assert!(
                count(what) >= least,
                "{name} {schedule}: {} of {least} {what} in {body:#?}",
                count(what)
            );
        }
        let found = count(arithmetic) as f64 / body.len() as f64;
        println!("{name} {schedule}: {found:.3} of {} instructions", body.len());
        assert!(
            found >= share,
            "{name} {schedule}: {found} of {} instructions",
            body.len()
        );
        // No spills, and no divisions for addresses.
        for not in ["LDL", "STL", "I2F", "MUFU"] {
            assert_eq!(count(not), 0, "{name} {schedule}: {not} in {body:#?}");
        }
    }
}

/// An operator, its free sizes, a schedule that keeps a row in registers, the elements of a thread, and the most instructions an element.
const ROWS: [(&str, &[u64], &str, usize, f64); 4] = [
    (
        "softmax_f32",
        &[4096, 4096],
        "row threads=256 rows=1 vector=4 keep=registers unroll=1 pass=several",
        16,
        20.0,
    ),
    (
        "softmax_f32",
        &[4096, 1024],
        "row threads=32 rows=4 vector=4 keep=registers unroll=1 pass=several",
        32,
        20.0,
    ),
    (
        "layer_norm_f16",
        &[4096, 4096],
        "row threads=256 rows=1 vector=8 keep=registers unroll=1 pass=several",
        16,
        18.0,
    ),
    (
        "layer_norm_f16",
        &[4096, 1024],
        "row threads=32 rows=4 vector=8 keep=registers unroll=1 pass=several",
        32,
        18.0,
    ),
];

#[test]
fn rows_in_registers_take_few_instructions() {
    let test = "rows_in_registers_take_few_instructions";
    let Some([ptxas, nvdisasm]) = tools(test, ["ENERGY_KERNEL_PTXAS", "ENERGY_KERNEL_NVDISASM"]) else {
        return;
    };
    let known = operators(energy_kernel_tests::OPERATORS);
    for (name, free, schedule, elements, most) in ROWS {
        let text = disassembled(&known, name, free, schedule, &ptxas, &nvdisasm);
        // Alignment behind the code is no instruction of it.
        let (all, _) = instructions(&text);
        let all: Vec<&str> = all
            .into_iter()
            .filter(|instruction| !instruction.starts_with("NOP"))
            .collect();
        let each = all.len() as f64 / elements as f64;
        println!("{name} {free:?} {schedule}: {each:.2}");
        assert!(
            each <= most,
            "{name} {schedule}: {each} instructions an element: {all:#?}"
        );
    }
}

/// Classes whose instructions are none of machine code, or several; a type, and instructions that make `%z` of `%x` and `%y`.
const OTHERWISE: [(InstructionClass, &str, &[&str]); 5] = [
    (
        InstructionClass::Name,
        "u64",
        &[
            "mov.b64 %double, %x; mov.b64 %z, %double;",
            "mov.b64 {%low, %high}, %x; mov.b32 %float, %low; mov.b32 %low, %float; mov.b64 %z, {%low, %high};",
            "mov.b64 {%low, %high}, %x; cvt.u32.u64 %low, %x; mov.b64 %z, {%low, %high};",
            "cvta.to.global.u64 %z, %x;",
        ],
    ),
    (
        InstructionClass::Division,
        "f32",
        &["div.rn.f32 %z, %x, %y;", "rcp.rn.f32 %z, %x;", "sqrt.rn.f32 %z, %x;"],
    ),
    (
        InstructionClass::Division64,
        "f64",
        &["div.rn.f64 %z, %x, %y;", "rcp.rn.f64 %z, %x;", "sqrt.rn.f64 %z, %x;"],
    ),
    (
        InstructionClass::IntegerDivision,
        "u32",
        // Index arithmetic divides by an extent several times, and its reciprocal is computed once.
        &[
            "div.s32 %z, %x, %y; add.u32 %low, %x, 7; div.s32 %low, %low, %y; add.u32 %z, %z, %low;",
            "div.u32 %z, %x, %y; add.u32 %low, %x, 7; div.u32 %low, %low, %y; add.u32 %z, %z, %low;",
            "rem.s32 %z, %x, %y; add.u32 %low, %x, 7; rem.s32 %low, %low, %y; add.u32 %z, %z, %low;",
            "rem.u32 %z, %x, %y; add.u32 %low, %x, 7; rem.u32 %low, %low, %y; add.u32 %z, %z, %low;",
        ],
    ),
    (
        InstructionClass::IntegerDivision64,
        "u64",
        &[
            "div.s64 %z, %x, %y;",
            "div.u64 %z, %x, %y;",
            "rem.s64 %z, %x, %y;",
            "rem.u64 %z, %x, %y;",
        ],
    ),
];

/// The instructions that a thread executes, if every branch forward is taken: those around what only unusual operands need.
fn executed(text: &str) -> usize {
    let (instructions, labels) = instructions(text);
    let (mut at, mut caller, mut count) = (0, None, 0);
    while let Some(instruction) = instructions.get(at) {
        let instruction = match instruction.strip_prefix('@') {
            Some(guarded) => guarded.split_once(' ').map_or("", |(_, rest)| rest),
            None => instruction,
        };
        let target = instruction.split_once("`(").and_then(|(_, rest)| rest.split_once(')'));
        let target = target.and_then(|(label, _)| labels.get(label).copied());
        count += 1;
        at = match (instruction.get(..3), target) {
            (Some("EXI"), _) => break,
            (Some("BRA"), Some(target)) if target > at => target,
            (Some("CAL"), Some(target)) => {
                caller = Some(at + 1);
                target
            }
            (Some("RET"), _) => caller.take().expect("a call before it"),
            _ => at + 1,
        };
    }
    count
}

#[test]
fn divisions_and_names_are_as_many_instructions_as_are_counted() {
    let test = "divisions_and_names_are_as_many_instructions_as_are_counted";
    let Some([ptxas, nvdisasm]) = tools(test, ["ENERGY_KERNEL_PTXAS", "ENERGY_KERNEL_NVDISASM"]) else {
        return;
    };
    let count = |ty: &str, body: &str| {
        let ptx = format!(
            ".version 8.0\n.target sm_90\n.address_size 64\n.visible .entry kernel(.param .u64 at) {{
            .reg .{ty} %x, %y, %z; .reg .u64 %at; .reg .f64 %double; .reg .f32 %float; .reg .u32 %low, %high;
            ld.param.u64 %at, [at]; ld.global.{ty} %x, [%at]; ld.global.{ty} %y, [%at+8];
            {body}
            st.global.{ty} [%at+16], %x; st.global.{ty} [%at+24], %y; st.global.{ty} [%at+32], %z; ret; }}"
        );
        executed(&machine_code(&ptx, "sm_90", &ptxas, &nvdisasm))
    };
    for (class, ty, bodies) in OTHERWISE {
        let none = count(ty, &format!("mov.{ty} %z, %x;"));
        let counts: Vec<f64> = bodies
            .iter()
            .map(|body| {
                let additions = body.matches("add.").count();
                let divisions = body.matches("div.").count() + body.matches("rem.").count();
                (count(ty, body) - none - additions) as f64 / divisions.max(1) as f64
            })
            .collect();
        let mean = counts.iter().sum::<f64>() / counts.len() as f64;
        let counted = f64::from(class.machine_instructions());
        println!("{class:?}: {counts:?}, counted as {counted}");
        assert!(
            (mean - counted).abs() <= 0.1 * counted,
            "{class:?}: {counts:?}, not {counted}"
        );
    }
}
