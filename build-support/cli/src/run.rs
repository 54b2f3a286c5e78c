//! `run`: one kernel of any PTX file.

use crate::arguments::{Arguments, Device, Run};
use crate::{Failure, Outcome};
use cudarc::driver::sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
use cudarc::driver::{CudaSlice, DevicePtr, LaunchConfig, PushKernelArg};
use cudarc::nvrtc::Ptx;
use energy_kernel_emulator::{
    Argument as Passed, ByClass, Class, Counts, Error, Finding, Launch, Memory, Module, Options, launch,
};
use miette::{IntoDiagnostic, Report, Result, WrapErr, miette};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Bytes of emulated memory.
const MEMORY: u64 = 16 << 30;

/// An argument of a kernel.
#[derive(Debug, Clone, PartialEq)]
pub enum Argument {
    /// A number: its bytes.
    Scalar(Vec<u8>),
    /// A buffer: what fills it, what becomes of it, and how long it is.
    Buffer {
        from: Option<PathBuf>,
        to: Option<PathBuf>,
        bytes: Option<u64>,
    },
}

/// Reads an argument as it is written on the command line.
pub fn argument(text: &str) -> Result<Argument, String> {
    let (kind, rest) = text
        .split_once(':')
        .ok_or("KIND:VALUE is expected: `u32:5`, `in:FILE`, …")?;
    macro_rules! scalar {
        ($T:ty) => {
            rest.parse::<$T>()
                .map(|value| Argument::Scalar(value.to_le_bytes().to_vec()))
                .map_err(|e| format!("`{rest}`: {e}"))
        };
    }
    let path = |text: &str| match text.is_empty() {
        true => Err("a file's name is missing".to_owned()),
        false => Ok(PathBuf::from(text)),
    };
    match kind {
        "u8" | "b8" => scalar!(u8),
        "s8" => scalar!(i8),
        "u16" | "b16" => scalar!(u16),
        "s16" => scalar!(i16),
        "u32" | "b32" => scalar!(u32),
        "s32" => scalar!(i32),
        "u64" | "b64" => scalar!(u64),
        "s64" => scalar!(i64),
        "f32" => scalar!(f32),
        "f64" => scalar!(f64),
        "in" => Ok(Argument::Buffer {
            from: Some(path(rest)?),
            to: None,
            bytes: None,
        }),
        "out" => {
            // The last colon: paths may have others.
            let (file, bytes) = rest.rsplit_once(':').ok_or("out:FILE:BYTES is expected")?;
            let bytes = bytes.parse().map_err(|e| format!("`{bytes}`: {e}"))?;
            Ok(Argument::Buffer {
                from: None,
                to: Some(path(file)?),
                bytes: Some(bytes),
            })
        }
        "inout" => {
            let (from, to) = rest.rsplit_once(':').ok_or("inout:IN:OUT is expected")?;
            Ok(Argument::Buffer {
                from: Some(path(from)?),
                to: Some(path(to)?),
                bytes: None,
            })
        }
        other => Err(format!(
            "`{other}` is no kind of argument: u8 … u64, s8 … s64, f32, f64, in, out, inout"
        )),
    }
}

pub fn run(arguments: &Arguments, options: &Run) -> Outcome {
    let text = std::fs::read_to_string(&options.file)
        .into_diagnostic()
        .wrap_err_with(|| format!("{} cannot be read", options.file.display()))?;
    match options.device {
        Device::Emulated => emulated(options, &text, arguments.json),
        Device::Cuda(ordinal) => {
            if options.check || options.counts || options.limit.is_some() {
                return Err(miette!("--check, --counts and --limit are the emulated device's").into());
            }
            cuda(options, &text, ordinal)?;
            if arguments.json {
                crate::output::json(&json!({}));
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// What a buffer holds at the start; none for one that is only written.
fn contents(from: Option<&Path>) -> Result<Option<Vec<u8>>> {
    from.map(|path| {
        std::fs::read(path)
            .into_diagnostic()
            .wrap_err_with(|| format!("{} cannot be read", path.display()))
    })
    .transpose()
}

fn save(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes)
        .into_diagnostic()
        .wrap_err_with(|| format!("{} cannot be written", path.display()))
}

fn emulated(options: &Run, text: &str, as_json: bool) -> Outcome {
    let module = Module::parse(text).map_err(|error| miette!("{}: {error}", options.file.display()))?;
    let kernel = kernel(options, module.kernels().map(|kernel| kernel.name()))?;
    let memory = Memory::new(MEMORY);
    let mut passed = Vec::new();
    let mut results: Vec<(&Path, u64, u64)> = Vec::new();
    for argument in &options.arguments {
        passed.push(match argument {
            Argument::Scalar(bytes) => Passed::Bytes(bytes.clone()),
            Argument::Buffer { from, to, bytes } => {
                let contents = contents(from.as_deref())?;
                let length = contents
                    .as_ref()
                    .map_or(bytes.unwrap_or(0), |contents| contents.len() as u64);
                let address = memory.allocate(length).map_err(failed)?;
                if let Some(contents) = &contents {
                    memory.write(address, contents).map_err(failed)?;
                }
                if let Some(to) = to {
                    results.push((to, address, length));
                }
                Passed::U64(address)
            }
        });
    }
    let launched = Launch {
        grid: options.grid,
        block: options.block,
        dynamic_shared: options.shared,
        arguments: &passed,
        options: Options {
            sanitize: options.check,
            count: options.counts,
            instruction_limit: options.limit,
            ..Options::default()
        },
    };
    let report = launch(&module, &kernel, &memory, &launched).map_err(|error| Failure {
        code: if matches!(error, Error::Unsupported { .. }) {
            4
        } else {
            1
        },
        report: failed(error),
    })?;
    for (path, address, length) in results {
        save_from(path, &memory, address, length)?;
    }
    if as_json {
        let findings: Vec<Value> = report.findings.iter().map(finding).collect();
        let counts = options.counts.then(|| counts(&report.counts));
        crate::output::json(&json!({ "findings": findings, "counts": counts }));
    } else if options.counts {
        say!("{:#?}", report.counts);
    }
    report.findings.iter().for_each(|finding| complain!("{finding}"));
    Ok(if report.findings.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(3)
    })
}

/// Copies a buffer to a file in pieces: it may be larger than what can be had a second time.
fn save_from(path: &Path, memory: &Memory, address: u64, length: u64) -> Result<()> {
    const PIECE: u64 = 1 << 20;
    let cannot = || format!("{} cannot be written", path.display());
    let mut file = std::fs::File::create(path).into_diagnostic().wrap_err_with(cannot)?;
    for start in (0..length).step_by(PIECE as usize) {
        let mut bytes = vec![0; PIECE.min(length - start) as usize];
        memory.read(address + start, &mut bytes).map_err(failed)?;
        file.write_all(&bytes).into_diagnostic().wrap_err_with(cannot)?;
    }
    Ok(())
}

fn finding(finding: &Finding) -> Value {
    json!({
        "kind": finding.kind.to_string(), "line": finding.line, "instruction": finding.instruction,
        "block": finding.block, "thread": finding.thread, "message": finding.message,
        "occurrences": finding.occurrences,
    })
}

fn counts(counts: &Counts) -> Value {
    let by_class = |numbers: ByClass| -> Value {
        let named = |class: &Class| (format!("{class:?}"), Value::from(numbers.get(*class)));
        Value::Object(Class::ALL.iter().map(named).collect())
    };
    let classes = [
        ("thread_instructions", by_class(counts.thread_instructions)),
        ("warp_instructions", by_class(counts.warp_instructions)),
    ];
    let numbers = counts.numbers().map(|(name, number)| (name, Value::from(number)));
    let named = classes
        .into_iter()
        .chain(numbers)
        .map(|(name, value)| (name.to_owned(), value));
    Value::Object(named.collect())
}

fn failed(error: impl std::fmt::Display) -> Report {
    miette!("{error}")
}

/// The kernel asked for, else the only one.
fn kernel<'a>(options: &Run, names: impl Iterator<Item = &'a str>) -> Result<String> {
    let names: Vec<&str> = names.collect();
    match (&options.kernel, names.as_slice()) {
        (Some(name), _) => Ok(name.clone()),
        (None, [only]) => Ok((*only).to_owned()),
        (None, []) => Err(miette!("{} has no kernel", options.file.display())),
        (None, _) => Err(miette!(
            help = format!("--kernel with one of: {}", names.join(", ")),
            "there are several kernels"
        )),
    }
}

/// On a GPU: through cudarc, once the runtime has found out that there is a driver.
fn cuda(options: &Run, text: &str, ordinal: usize) -> Result<()> {
    let gpu = energy_kernel::Gpu::open_at(ordinal).map_err(failed)?;
    let stream = gpu.stream().ok_or_else(|| miette!("GPU {ordinal} has no stream"))?;
    let name = match &options.kernel {
        Some(name) => name.clone(),
        None => {
            let module =
                Module::parse(text).map_err(|error| miette!(help = "name the kernel with --kernel", "{error}"))?;
            kernel(options, module.kernels().map(|kernel| kernel.name()))?
        }
    };
    let driver =
        |what: &'static str| move |error: cudarc::driver::DriverError| miette!("{what}: CUDA error {:?}", error.0);
    let module = stream
        .context()
        .load_module(Ptx::from_src(text))
        .map_err(driver("the module cannot be loaded"))?;
    let function = module.load_function(&name).map_err(driver("there is no such kernel"))?;
    let shared = i32::try_from(options.shared).into_diagnostic()?;
    function
        .set_attribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, shared)
        .map_err(driver("so much shared memory is not to be had"))?;
    let mut buffers: Vec<(Option<&Path>, CudaSlice<u8>, usize)> = Vec::new();
    // Every parameter as 64 bits: the driver reads as many as the parameter has, the lowest first.
    let mut values: Vec<u64> = Vec::new();
    for argument in &options.arguments {
        values.push(match argument {
            Argument::Scalar(bytes) => {
                let mut value = [0; 8];
                value[..bytes.len()].copy_from_slice(bytes);
                u64::from_le_bytes(value)
            }
            Argument::Buffer { from, to, bytes } => {
                let contents = contents(from.as_deref())?;
                let length = contents.as_ref().map_or(bytes.unwrap_or(0) as usize, Vec::len);
                let slice = match contents {
                    Some(contents) if length > 0 => stream.clone_htod(&contents),
                    // A buffer of nothing has an address all the same.
                    _ => stream.alloc_zeros(length.max(1)),
                };
                let slice = slice.map_err(driver("a buffer cannot be made"))?;
                let address = slice.device_ptr(stream).0;
                buffers.push((to.as_deref(), slice, length));
                address
            }
        });
    }
    let mut builder = stream.launch_builder(&function);
    values.iter().for_each(|value| {
        builder.arg(value);
    });
    let [gx, gy, gz] = options.grid;
    let [bx, by, bz] = options.block;
    let config = LaunchConfig {
        grid_dim: (gx, gy, gz),
        block_dim: (bx, by, bz),
        shared_mem_bytes: options.shared,
    };
    // SAFETY: what the kernel does with its arguments is its author's responsibility, who asked for it to be run; the
    // buffers outlive the launch, which is waited for.
    unsafe { builder.launch(config) }.map_err(driver("the launch"))?;
    stream.synchronize().map_err(driver("the kernel"))?;
    for (to, slice, length) in &buffers {
        if let Some(to) = to {
            let bytes = stream.clone_dtoh(slice).map_err(driver("a buffer cannot be read"))?;
            save(to, &bytes[..*length])?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_as_they_are_written() {
        assert_eq!(argument("s32:-5"), Ok(Argument::Scalar((-5i32).to_le_bytes().to_vec())));
        assert_eq!(argument("f32:1.5"), Ok(Argument::Scalar(1.5f32.to_le_bytes().to_vec())));
        assert_eq!(argument("u8:255"), Ok(Argument::Scalar(vec![255])));
        let out = Argument::Buffer {
            from: None,
            to: Some("a:b".into()),
            bytes: Some(12),
        };
        assert_eq!(argument("out:a:b:12"), Ok(out));
        let both = Argument::Buffer {
            from: Some("a".into()),
            to: Some("b".into()),
            bytes: None,
        };
        assert_eq!(argument("inout:a:b"), Ok(both));
        for wrong in [
            "5", "u32:-1", "u8:256", "f32:x", "in:", "out:a", "out:a:-1", "inout:a", "x:1", "",
        ] {
            assert!(argument(wrong).is_err(), "{wrong}");
        }
    }
}
