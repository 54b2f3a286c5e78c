//! Runs one instruction over many operands, a thread each.
#![allow(dead_code)]

pub mod exercise;
pub mod product;

use energy_kernel_emulator::{Argument, Finding, Launch, Memory, Module, Options, Report, launch};

pub const HEAD: &str = ".version 8.7\n.target sm_90\n.address_size 64\n";

/// Rows of three operands.
pub struct Values(Vec<[u64; 3]>);

impl Values {
    pub fn rows(&self) -> impl Iterator<Item = &[u64; 3]> {
        self.0.iter()
    }

    fn build(edges: &[u64], mask: u64, mut random: impl FnMut(u64) -> u64) -> Values {
        let mut rows = Vec::new();
        for a in edges {
            for b in edges {
                rows.push([*a, *b, edges[rows.len() % edges.len()]]);
            }
        }
        let mut state = 12345u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            random(state ^ state >> 29) & mask
        };
        while rows.len() < 1500 {
            rows.push([next(), next(), next()]);
        }
        Values(rows)
    }

    pub fn integers(bits: u32) -> Values {
        let mask = u64::MAX >> (64 - bits);
        let top = 1 << (bits - 1);
        let edges = [
            0,
            1,
            2,
            3,
            5,
            15,
            16,
            31,
            32,
            top,
            top - 1,
            top + 1,
            mask,
            mask - 1,
            0x5555_5555_5555_5555 & mask,
            0xff & mask,
        ];
        Values::build(&edges, mask, |state| {
            if state & 3 == 0 {
                (state >> 8) >> (state >> 2 & 63)
            } else {
                state >> 1
            }
        })
    }

    pub fn floats32() -> Values {
        let edges = [
            0.0f32,
            -0.0,
            1.0,
            -1.5,
            2.5,
            -3.0,
            0.1,
            f32::MIN_POSITIVE,
            -1e-40,
            1e-45,
            f32::MAX,
            -3e9,
            70000.0,
            65519.0,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
        ];
        let edges = edges.map(|value| u64::from(value.to_bits()));
        // Half of the random values are near one, so that additions overlap.
        Values::build(&edges, 0xffff_ffff, |state| {
            if state & 1 == 0 {
                state >> 7
            } else {
                (state >> 7 & 0x83ff_ffff) + 0x3c00_0000
            }
        })
    }

    pub fn floats64() -> Values {
        let edges = [
            0.0f64,
            -0.0,
            1.0,
            -1.5,
            2.5,
            0.1,
            f64::MIN_POSITIVE,
            -1e-310,
            5e-324,
            f64::MAX,
            1e19,
            -3e9,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
        ];
        let edges = edges.map(f64::to_bits);
        Values::build(&edges, u64::MAX, |state| {
            if state & 1 == 0 {
                state
            } else {
                (state & 0x801f_ffff_ffff_ffff) + 0x3fe0_0000_0000_0000
            }
        })
    }
}

/// The register type and the access type of an operand.
fn types(ty: &str) -> (&str, &str) {
    match ty {
        "f16" | "bf16" | "b16" => ("b16", "b16"),
        other => (other, other),
    }
}

fn kernel(instruction: &str, inputs: &[&str], output: &str) -> String {
    let mut text = format!("{HEAD}.visible .entry test(.param .u64 in, .param .u64 out, .param .u32 count) {{\n");
    text += ".reg .b64 %address, %index; .reg .b32 %thread, %n, %lo<3>, %hi<3>; .reg .b16 %h; .reg .pred %q, %p<3>;\n";
    for (name, ty) in ["%a", "%b", "%c"]
        .iter()
        .zip(inputs.iter().chain([&"b32", &"b32", &"b32"]))
    {
        text += &format!(".reg .{} {name};\n", types(ty).0);
    }
    text += &format!(".reg .{} %d;\n", types(output).0);
    text += "ld.param.u32 %n, [count]; mov.u32 %thread, %ctaid.x; mul.lo.u32 %thread, %thread, 128;\n";
    text +=
        ".reg .b32 %t; mov.u32 %t, %tid.x; add.u32 %thread, %thread, %t;\nsetp.ge.u32 %q, %thread, %n; @%q bra END;\n";
    text += "ld.param.u64 %address, [in]; mul.wide.u32 %index, %thread, 24; add.u64 %address, %address, %index;\n";
    for (position, (name, ty)) in ["%a", "%b", "%c"].iter().zip(inputs).enumerate() {
        text += &format!("ld.global.{} {name}, [%address+{}];\n", types(ty).1, 8 * position);
    }
    text += &format!("{instruction};\n");
    text += "ld.param.u64 %address, [out]; mul.wide.u32 %index, %thread, 8; add.u64 %address, %address, %index;\n";
    text += &format!("st.global.{} [%address], %d;\nEND: ret;\n}}\n", types(output).1);
    text
}

/// The result of an instruction for each row.
pub fn results(instruction: &str, inputs: &[&str], output: &str, values: &Values, approx_error: bool) -> Vec<u64> {
    let text = kernel(instruction, inputs, output);
    let memory = Memory::new(1 << 24);
    let rows = &values.0;
    let bytes: Vec<u8> = rows.iter().flatten().flat_map(|value| value.to_le_bytes()).collect();
    let input = upload(&memory, &bytes);
    let output = upload(&memory, &vec![0; rows.len() * 8]);
    let arguments = [
        Argument::U64(input),
        Argument::U64(output),
        Argument::U32(rows.len() as u32),
    ];
    let options = Options {
        sanitize: false,
        approx_error,
        ..Options::default()
    };
    run_with(
        &text,
        "test",
        [rows.len().div_ceil(128) as u32, 1, 1],
        128,
        &memory,
        &arguments,
        options,
    );
    let bytes = download(&memory, output, rows.len() * 8);
    bytes
        .chunks_exact(8)
        .map(|chunk| u64::from_le_bytes(chunk.try_into().expect("eight bytes")))
        .collect()
}

/// Compares an instruction with a computation, bit for bit.
pub fn check(
    instruction: &str,
    inputs: &[&str],
    output: &str,
    values: &Values,
    expected: impl Fn(u64, u64, u64) -> u64,
) {
    let got = results(instruction, inputs, output, values, false);
    for (row, got) in values.rows().zip(got) {
        let expected = expected(row[0], row[1], row[2]);
        assert_eq!(
            got, expected,
            "{instruction} of {row:x?}: {got:#x} instead of {expected:#x}"
        );
    }
}

/// The same, but any NaN equals any other.
pub fn check_float(
    instruction: &str,
    inputs: &[&str],
    output: &str,
    values: &Values,
    expected: impl Fn(u64, u64, u64) -> u64,
) {
    let is_nan = |bits: u64| match output {
        "f32" => f32::from_bits(bits as u32).is_nan(),
        "f64" => f64::from_bits(bits).is_nan(),
        "f16" => half::f16::from_bits(bits as u16).is_nan(),
        _ => half::bf16::from_bits(bits as u16).is_nan(),
    };
    let got = results(instruction, inputs, output, values, false);
    for (row, got) in values.rows().zip(got) {
        let expected = expected(row[0], row[1], row[2]);
        assert!(
            got == expected || (is_nan(got) && is_nan(expected)),
            "{instruction} of {row:x?}: {got:#x} instead of {expected:#x}"
        );
    }
}

pub fn upload(memory: &Memory, bytes: &[u8]) -> u64 {
    let address = memory.allocate(bytes.len() as u64).expect("memory");
    memory.write(address, bytes).expect("inside");
    address
}

pub fn download(memory: &Memory, address: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    memory.read(address, &mut bytes).expect("inside");
    bytes
}

pub fn words(memory: &Memory, address: u64, count: usize) -> Vec<u32> {
    download(memory, address, count * 4)
        .chunks_exact(4)
        .map(|chunk| u32::from_le_bytes(chunk.try_into().expect("four bytes")))
        .collect()
}

/// Launches and expects success.
pub fn run_with(
    text: &str,
    kernel: &str,
    grid: [u32; 3],
    threads: u32,
    memory: &Memory,
    arguments: &[Argument],
    options: Options,
) -> Report {
    try_run(text, kernel, grid, threads, memory, arguments, options).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

pub fn try_run(
    text: &str,
    kernel: &str,
    grid: [u32; 3],
    threads: u32,
    memory: &Memory,
    arguments: &[Argument],
    options: Options,
) -> Result<Report, energy_kernel_emulator::Error> {
    // EMULATOR_DUMP=folder writes every text there, so that ptxas can check it.
    if let Ok(folder) = std::env::var("EMULATOR_DUMP") {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        std::fs::write(format!("{folder}/{:x}.ptx", hasher.finish()), text).expect("dump");
    }
    let module = Module::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let with = Launch {
        grid,
        block: [threads, 1, 1],
        dynamic_shared: 0,
        arguments,
        options,
    };
    launch(&module, kernel, memory, &with)
}

/// The sanitizer's findings in a kernel `test` with one parameter, launched as one block.
pub fn findings_of(
    text: &str,
    threads: u32,
    memory: &Memory,
    buffer: u64,
) -> Result<Vec<Finding>, energy_kernel_emulator::Error> {
    let options = Options {
        sanitize: true,
        count: true,
        instruction_limit: Some(1_000_000),
        ..Options::default()
    };
    let arguments = [Argument::U64(buffer)];
    try_run(text, "test", [1, 1, 1], threads, memory, &arguments, options).map(|report| report.findings)
}
