//! The machine: host, driver, GPU, clocks, and the behaviour of its energy counter.

use crate::program;
use crate::step::{Outcome, Result, Step};
use cudarc::driver::sys::CUdevice_attribute_enum::{self as Attribute, *};
use energy_kernel::Gpu;
use energy_kernel::energy::Meter;
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::process::Command;
use std::time::Duration;

/// Another program's time.
const PATIENCE: Duration = Duration::from_secs(20);

/// Lines of `nvidia-smi -q` that are shown; the file has them all.
const EXCERPT: [&str; 14] = [
    "Driver Version",
    "CUDA Version",
    "Product Name",
    "Persistence Mode",
    "MIG Mode",
    "Performance State",
    "Current Power Limit",
    "Average Power Draw",
    "GPU Current Temp",
    "SW Power Cap",
    "HW Thermal Slowdown",
    "SM  ",
    "Memory  ",
    "Process ID",
];

const ATTRIBUTES: [(&str, Attribute); 7] = [
    ("clock_khz", CU_DEVICE_ATTRIBUTE_CLOCK_RATE),
    ("memory_clock_khz", CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE),
    ("l2_bytes", CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE),
    (
        "shared_per_block_optin",
        CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN,
    ),
    (
        "shared_per_multiprocessor",
        CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR,
    ),
    (
        "registers_per_multiprocessor",
        CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR,
    ),
    (
        "threads_per_multiprocessor",
        CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR,
    ),
];

pub fn run(step: &mut Step) -> Result {
    host(step)?;
    nvidia_smi(step)?;
    let gpu = match Gpu::open() {
        Ok(gpu) => gpu,
        Err(error) => {
            step.result(json!({ "no_gpu": error.to_string() }))?;
            return Ok(Outcome::NoGpu(error.to_string()));
        }
    };
    let driver = describe(step, &gpu)?;
    let class = gpu.device_class().clone();
    let mut figures = format!("{class}, {driver}");
    // The doctor opens the GPU for itself, and counts other processes.
    drop(gpu);
    let ill = doctor(step)?;
    Ok(match ill.is_empty() {
        true => Outcome::Fine(figures),
        false => {
            figures = format!("{}; {figures}", ill.join("; "));
            Outcome::Failed(figures)
        }
    })
}

/// The machine around the GPU.
fn host(step: &mut Step) -> Result<()> {
    let line = |file: &str, key: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let found = text.lines().find_map(|line| line.strip_prefix(key)).map(str::to_owned);
        found.map(|value| {
            value
                .trim_start_matches(['\t', ' ', ':', '='])
                .trim_matches('"')
                .to_owned()
        })
    };
    let host = json!({
        "system": line("/etc/os-release", "PRETTY_NAME"),
        "kernel": line("/proc/version", ""),
        "processor": line("/proc/cpuinfo", "model name"),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "memory": line("/proc/meminfo", "MemTotal"),
    });
    println!("{host}");
    step.result(json!({ "host": host }))
}

/// All that the driver's own tool tells, in a file.
fn nvidia_smi(step: &mut Step) -> Result<()> {
    let ran = match program::run(Command::new("nvidia-smi").arg("-q"), PATIENCE) {
        Ok(ran) => ran,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("nvidia-smi is not installed");
            return Ok(());
        }
        Err(error) => {
            println!("nvidia-smi: {error}");
            return Ok(());
        }
    };
    std::fs::write(step.result_file("machine.txt"), &ran.out)?;
    if !ran.succeeded() {
        println!("nvidia-smi -q: {}: {}", ran.ending(), ran.last_line());
    }
    let told = |line: &&str| EXCERPT.iter().any(|start| line.trim_start().starts_with(start));
    for line in ran.out.lines().filter(told) {
        println!("{}", line.trim());
    }
    Ok(())
}

/// The GPU, by driver and NVML.
fn describe(step: &mut Step, gpu: &Gpu) -> Result<String> {
    let cuda = gpu.driver_version()?.unwrap_or(0);
    let class = gpu.device_class();
    let context = gpu.stream().ok_or("an emulated GPU")?.context();
    let mut attributes = serde_json::Map::new();
    for (name, attribute) in ATTRIBUTES {
        let value = context.attribute(attribute);
        attributes.insert(
            name.to_owned(),
            value.map_or_else(|error| format!("{:?}", error.0).into(), Value::from),
        );
    }
    let memory = context.mem_get_info().ok();
    let mut driver = format!("CUDA {}.{}", cuda / 1000, cuda % 1000 / 10);
    let board = Meter::open(gpu).and_then(|meter| Ok((meter.driver()?, meter.state()?)));
    let board = match board {
        Ok((version, state)) => {
            driver = format!("driver {version}, {driver}");
            json!({
                "driver": version, "sm_mhz": state.sm_clock_mhz, "memory_mhz": state.memory_clock_mhz,
                "celsius": state.temperature_celsius, "limit_watts": state.power_limit_watts, "state": format!("{state:?}"),
            })
        }
        Err(error) => json!({ "error": error.to_string() }),
    };
    let gpu = json!({
        "name": class.name, "capability": format!("{}.{}", class.compute_capability.0, class.compute_capability.1),
        "multiprocessors": class.multiprocessors, "memory_bytes": class.memory_bytes, "free_and_all_bytes": memory, "cuda": cuda,
        "attributes": attributes, "board": board,
    });
    println!("{gpu}");
    step.result(json!({ "gpu": gpu }))?;
    Ok(driver)
}

/// Runs the command's doctor with its calibration of the energy counter. Returns the problems.
fn doctor(step: &mut Step) -> Result<Vec<String>> {
    let mut command = Command::new(step.tool());
    command.args(["--json", "doctor", "--energy"]).current_dir(step.work());
    let limit = step.left().saturating_sub(Duration::from_secs(1));
    let ran = program::run(&mut command, limit).map_err(|error| format!("{}: {error}", step.tool().display()))?;
    let Ok(Value::Array(findings)) = serde_json::from_str(&ran.out) else {
        return Ok(vec![format!("doctor: {}: {}", ran.ending(), ran.last_line())]);
    };
    let mut ill = Vec::new();
    for finding in findings {
        let says = format!("{}: {}", text(&finding["what"]), text(&finding["says"]));
        println!("{} {says}", text(&finding["state"]));
        if finding["state"] == "problem" {
            ill.push(says);
        }
        step.result(json!({ "doctor": finding }))?;
    }
    Ok(ill)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
