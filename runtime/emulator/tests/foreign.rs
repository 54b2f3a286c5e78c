//! Runs PTX that this project did not emit, and compares the results with ones computed elsewhere.
//!
//! `foreign/README.md` names the origin of kernels, inputs and expected outputs. Every case runs with the sanitizer on
//! and must give no finding, once with approximate instructions rounded correctly, once with the error of hardware.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use energy_kernel_emulator::{Argument, Launch, Memory, Module, Options, launch};
use serde::Deserialize;

/// One test for each kernel file, so that a failure names it, and one that finds forgotten files.
macro_rules! corpus {
    ($($file:ident),* $(,)?) => {
        mod kernel {
            $(
                #[test]
                fn $file() {
                    super::run_file(stringify!($file));
                }
            )*
        }

        #[test]
        fn every_case_has_a_test() {
            for case in manifest() {
                let file = stem(&case.ptx);
                assert!([$(stringify!($file)),*].contains(&file.as_str()), "no test runs {file}");
            }
        }
    };
}

corpus!(
    atomics,
    bf16,
    bitonic,
    bits,
    calls,
    cluster,
    collatz,
    constants,
    dynamic_shared,
    f64math,
    fastmath,
    gemm,
    grids,
    half2,
    histogram,
    hopper,
    int64,
    local_array,
    mandelbrot,
    mathf,
    mma_pipeline,
    narrow_floats,
    pipeline,
    reduce,
    redux,
    rounding,
    scan,
    simd,
    stencil,
    switch,
    system,
    tensor,
    tiles_add_parts,
    tiles_bf16_sm80,
    tiles_bf16_sm90,
    tiles_f16_odd_sm80,
    tiles_f16_sm80,
    tiles_f16_sm90,
    tiles_i8_deep_sm80,
    tiles_i8_sm80,
    tiles_i8_sm90,
    tiles_layer_bf16_sm80,
    tiles_layer_f16_sm80,
    tiles_layer_odd_sm80,
    tiles_layer_tf32_sm80,
    tiles_softmax,
    tiles_sort,
    tiles_split_atomic_sm80,
    tiles_split_sm80,
    tiles_tf32_deep_sm80,
    tiles_tf32_sm80,
    tiles_transpose,
    vector_add,
    vector_atomics,
    votes,
    wmma,
);

fn run_file(file: &str) {
    let cases: Vec<Case> = manifest().into_iter().filter(|case| stem(&case.ptx) == file).collect();
    assert!(!cases.is_empty(), "the manifest has no case of {file}");
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| run(case).err().map(|why| format!("{}: {why}", case.name)))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// A launch of the manifest.
#[derive(Deserialize)]
struct Case {
    name: String,
    ptx: String,
    kernel: String,
    grid: [u32; 3],
    block: [u32; 3],
    dynamic_shared: u32,
    arguments: Vec<Given>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Given {
    In {
        r#in: String,
    },
    Out {
        out: String,
        bytes: u64,
        #[serde(flatten)]
        compare: Compare,
    },
    InOut {
        inout: String,
        expect: String,
        #[serde(flatten)]
        compare: Compare,
    },
    Scalar(Scalar),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Scalar {
    I32(i32),
    U32(u32),
    U64(u64),
    F32(f32),
    F64(f64),
}

#[derive(Deserialize)]
struct Compare {
    r#type: Element,
    #[serde(flatten)]
    mode: Mode,
}

#[derive(Deserialize)]
#[serde(tag = "mode", rename_all = "lowercase")]
enum Mode {
    Exact,
    Ulp { ulp: u32 },
    Close { abs: f64, rel: f64 },
}

#[derive(Deserialize, Clone, Copy, PartialEq, Debug)]
#[serde(rename_all = "lowercase")]
enum Element {
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    F16,
    Bf16,
    F32,
    F64,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign")
}

fn read(path: &str) -> Vec<u8> {
    std::fs::read(folder().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn manifest() -> Vec<Case> {
    serde_json::from_slice(&read("manifest.json")).expect("the manifest is as README.md says")
}

fn stem(path: &str) -> String {
    Path::new(path)
        .file_stem()
        .expect("a file")
        .to_string_lossy()
        .into_owned()
}

/// Runs a case. Returns a description of its failures.
fn run(case: &Case) -> Result<(), String> {
    run_with(case, false)?;
    run_with(case, true).map_err(|why| format!("with errors of approximate instructions: {why}"))
}

fn run_with(case: &Case, approx_error: bool) -> Result<(), String> {
    let text = String::from_utf8(read(&case.ptx)).map_err(|error| error.to_string())?;
    let module = Module::parse(&text).map_err(|error| error.to_string())?;
    let memory = Memory::new(1 << 24);
    let buffer = |data: &[u8]| -> Result<u64, String> {
        let address = memory.allocate(data.len() as u64).map_err(|error| error.to_string())?;
        memory.write(address, data).map_err(|error| error.to_string())?;
        Ok(address)
    };
    let mut arguments = Vec::new();
    let mut expected = Vec::new();
    for given in &case.arguments {
        arguments.push(match given {
            Given::Scalar(scalar) => scalar.argument(),
            Given::In { r#in } => Argument::U64(buffer(&read(r#in))?),
            Given::Out { out, bytes, compare } => {
                let address = memory.allocate(*bytes).map_err(|error| error.to_string())?;
                expected.push((arguments.len(), address, read(out), compare));
                Argument::U64(address)
            }
            Given::InOut { inout, expect, compare } => {
                let address = buffer(&read(inout))?;
                expected.push((arguments.len(), address, read(expect), compare));
                Argument::U64(address)
            }
        });
    }
    let options = Options {
        sanitize: true,
        count: true,
        approx_error,
        instruction_limit: Some(100_000_000),
        ..Options::default()
    };
    let Case {
        grid,
        block,
        dynamic_shared,
        ..
    } = *case;
    let with = Launch {
        grid,
        block,
        dynamic_shared,
        arguments: &arguments,
        options,
    };
    let report = launch(&module, &case.kernel, &memory, &with).map_err(|error| error.to_string())?;
    let mut wrong = String::new();
    for finding in report.findings.iter().take(5) {
        let _ = write!(wrong, "\n  finding: {finding}");
    }
    for (position, address, expected, compare) in expected {
        let mut got = vec![0; expected.len()];
        memory.read(address, &mut got).map_err(|error| error.to_string())?;
        if let Some(difference) = compare.difference(&got, &expected, approx_error) {
            let _ = write!(wrong, "\n  argument {position}: {difference}");
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

impl Scalar {
    fn argument(&self) -> Argument {
        match *self {
            Scalar::I32(value) => Argument::I32(value),
            Scalar::U32(value) => Argument::U32(value),
            Scalar::U64(value) => Argument::U64(value),
            Scalar::F32(value) => Argument::F32(value),
            Scalar::F64(value) => Argument::F64(value),
        }
    }
}

impl Compare {
    /// The number of elements in which `got` differs from `expected`, and the first of them.
    fn difference(&self, got: &[u8], expected: &[u8], approx_error: bool) -> Option<String> {
        let size = self.r#type.bytes();
        let pairs = got.chunks_exact(size).zip(expected.chunks_exact(size)).enumerate();
        let wrong: Vec<_> = pairs
            .filter(|(_, (got, expected))| !self.accepts(got, expected, approx_error))
            .collect();
        let mut text = format!("{} of {} {:?} differ:", wrong.len(), expected.len() / size, self.r#type);
        for (index, (got, expected)) in wrong.iter().take(4) {
            let show = |bytes: &[u8]| format!("0x{:x} ({})", bits(bytes), self.r#type.value(bytes));
            let _ = write!(text, " [{index}] got {} expected {};", show(got), show(expected));
        }
        (!wrong.is_empty()).then_some(text)
    }

    /// The error bounds of NVIDIA's libraries hold for hardware, whose `ex2.approx.f32` is better than the 2⁻²² of the
    /// PTX manual. With that error an f32 result may be off by four more units.
    fn accepts(&self, got: &[u8], expected: &[u8], approx_error: bool) -> bool {
        if !self.r#type.is_float() {
            return got == expected;
        }
        let (value, wanted) = (self.r#type.value(got), self.r#type.value(expected));
        if value.is_nan() || wanted.is_nan() {
            return value.is_nan() && wanted.is_nan();
        }
        match self.mode {
            Mode::Exact => got == expected,
            Mode::Ulp { ulp } => {
                let more = if approx_error && self.r#type == Element::F32 {
                    4
                } else {
                    0
                };
                (ordered(got) - ordered(expected)).abs() <= i128::from(ulp + more)
            }
            Mode::Close { abs, rel } => value == wanted || (value - wanted).abs() <= abs + rel * wanted.abs(),
        }
    }
}

fn bits(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |bits, &byte| bits << 8 | u64::from(byte))
}

/// The position of a float among all floats of its size: neighbours differ by one, both zeros are 0.
fn ordered(bytes: &[u8]) -> i128 {
    let sign = 1 << (8 * bytes.len() - 1);
    let magnitude = i128::from(bits(bytes) & (sign - 1));
    if bits(bytes) & sign == 0 { magnitude } else { -magnitude }
}

impl Element {
    fn bytes(self) -> usize {
        match self {
            Element::I8 | Element::U8 => 1,
            Element::I16 | Element::U16 | Element::F16 | Element::Bf16 => 2,
            Element::I32 | Element::U32 | Element::F32 => 4,
            Element::I64 | Element::U64 | Element::F64 => 8,
        }
    }

    fn is_float(self) -> bool {
        matches!(self, Element::F16 | Element::Bf16 | Element::F32 | Element::F64)
    }

    /// The value as f64, to be printed: 64-bit integers may be rounded.
    fn value(self, bytes: &[u8]) -> f64 {
        let raw = bits(bytes);
        let unused = 64 - 8 * bytes.len();
        match self {
            Element::F16 => half::f16::from_bits(raw as u16).to_f64(),
            Element::Bf16 => half::bf16::from_bits(raw as u16).to_f64(),
            Element::F32 => f64::from(f32::from_bits(raw as u32)),
            Element::F64 => f64::from_bits(raw),
            Element::U8 | Element::U16 | Element::U32 | Element::U64 => raw as f64,
            Element::I8 | Element::I16 | Element::I32 | Element::I64 => {
                (raw << unused).cast_signed().wrapping_shr(unused as u32) as f64
            }
        }
    }
}
