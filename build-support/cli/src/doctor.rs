//! `doctor`: what is wrong with driver, energy counter, permissions, caches.

use crate::Outcome;
use crate::arguments::{Arguments, Doctor};
use crate::package::Package;
use energy_kernel::Gpu;
use energy_kernel::energy::{Board, Meter};
use energy_kernel_build::Environment;
use energy_kernel_build::cache::{Place, read_file};
use std::process::ExitCode;

/// One thing that was looked at.
struct Finding {
    what: &'static str,
    well: bool,
    says: String,
}

pub fn doctor(arguments: &Arguments, options: &Doctor) -> Outcome {
    let mut findings = Vec::new();
    let mut found = |what, result: Result<String, String>| {
        let well = result.is_ok();
        findings.push(Finding {
            what,
            well,
            says: result.unwrap_or_else(|problem| problem),
        });
    };
    match Gpu::open() {
        Err(error) => found("GPU", Err(error.to_string())),
        Ok(gpu) => {
            found("GPU", Ok(gpu.device_class().to_string()));
            found("driver", driver(&gpu));
            found("energy counter", counter(&gpu));
            if options.energy {
                found("calibration", calibration());
            }
        }
    }
    found("user's cache", user_cache());
    match Package::find(arguments) {
        Err(error) => {
            let help = error.help().map_or(String::new(), |help| format!("; {help}"));
            found("package", Err(format!("{error}{help}")));
        }
        Ok(package) => {
            found(
                "package",
                Ok(format!(
                    "{} in {}: {} operators with sizes to tune for",
                    package.name,
                    package.folder.display(),
                    package.operators.len()
                )),
            );
            for (what, place) in [("shipped results", Place::Shipped), ("cached results", Place::User)] {
                found(what, results(&package, place));
            }
            found("interrupted", Ok(interrupted(&package)));
            let build_script = package.folder.join("build.rs");
            found("build script", match std::fs::read_to_string(&build_script) {
                Ok(text) if text.contains("energy_kernel_build") => Ok("calls energy_kernel_build".to_owned()),
                _ => Err("build.rs does not call energy_kernel_build::run(): nothing is tuned or embedded by cargo build".to_owned()),
            });
            if let Some(value) = package.environment.get("ENERGY_KERNEL") {
                found(
                    "ENERGY_KERNEL",
                    value.parse::<energy_kernel_build::Policy>().map(|_| value.to_owned()),
                );
            }
        }
    }
    let ill = findings.iter().any(|finding| !finding.well);
    if arguments.json {
        let all: Vec<_> = findings
            .iter()
            .map(|f| serde_json::json!({ "what": f.what, "well": f.well, "says": f.says }))
            .collect();
        say!("{}", serde_json::Value::Array(all));
    } else {
        for Finding { what, well, says } in &findings {
            say!("{} {what:16} {says}", if *well { "ok     " } else { "problem" });
        }
    }
    Ok(if ill { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn driver(gpu: &Gpu) -> Result<String, String> {
    let cuda = gpu.driver_version().map_err(|error| error.to_string())?.unwrap_or(0);
    Ok(format!("supports CUDA {}.{}", cuda / 1000, cuda % 1000 / 10))
}

/// NVML, and what it says of the board.
fn counter(gpu: &Gpu) -> Result<String, String> {
    let meter = Meter::open(gpu).map_err(|error| error.to_string())?;
    let state = meter.state().map_err(|error| error.to_string())?;
    if state.foreign_processes > 0 {
        return Err(format!(
            "{} other processes use the GPU: energies cannot be told apart",
            state.foreign_processes
        ));
    }
    let mut says = format!(
        "can be read (driver {})",
        meter.driver().map_err(|error| error.to_string())?
    );
    let known = [
        state.sm_clock_mhz.map(|clock| format!("{clock} MHz")),
        state.temperature_celsius.map(|celsius| format!("{celsius} °C")),
        state.power_limit_watts.map(|watts| format!("limited to {watts:.0} W")),
        meter
            .board()
            .instant_watts()
            .map(|watts| format!("draws {watts:.0} W now")),
    ];
    for known in known.into_iter().flatten() {
        says += &format!(", {known}");
    }
    Ok(says + "; --energy calibrates it")
}

fn calibration() -> Result<String, String> {
    let calibration = energy_kernel_build::tune::calibrate()?;
    match calibration.aliases() {
        Some(true) => Err(calibration.to_string()),
        _ => Ok(calibration.to_string()),
    }
}

fn user_cache() -> Result<String, String> {
    let folder = Environment::of_process()
        .user_cache
        .ok_or("there is none; set ENERGY_KERNEL_CACHE_DIR")?;
    if folder.is_relative() {
        return Err(format!(
            "{} means another folder to each build script and program; set ENERGY_KERNEL_CACHE_DIR to an absolute path",
            folder.display()
        ));
    }
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let probe = folder.join(format!(".probe-{}", std::process::id()));
    std::fs::write(&probe, b"").map_err(|error| format!("{} cannot be written: {error}", folder.display()))?;
    let _ = std::fs::remove_file(probe);
    writable_by_owner_alone(&folder)?;
    Ok(folder.display().to_string())
}

/// Whoever may write there decides which kernels run.
#[cfg(unix)]
fn writable_by_owner_alone(folder: &std::path::Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(folder).map_or(0, |metadata| metadata.permissions().mode());
    match mode & 0o022 {
        0 => Ok(()),
        _ => Err(format!(
            "{} can be written by others: `chmod go-w` it",
            folder.display()
        )),
    }
}

#[cfg(not(unix))]
fn writable_by_owner_alone(_: &std::path::Path) -> Result<(), String> {
    Ok(())
}

/// Tunings that have not ended.
fn interrupted(package: &Package) -> String {
    let leftovers = package.cache.leftovers();
    let measured: Vec<usize> = leftovers
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "journal"))
        .map(|path| energy_kernel_build::tune::journaled(path))
        .filter(|outcomes| *outcomes > 0)
        .collect();
    match measured.len() {
        0 => "no tuning has to be gone on with".to_owned(),
        tunings => format!(
            "{tunings} tunings, with {} outcomes: `cargo energy-kernel tune` goes on with them",
            measured.iter().sum::<usize>()
        ),
    }
}

fn results(package: &Package, place: Place) -> Result<String, String> {
    let files = package.cache.files(place);
    let broken: Vec<String> = files
        .iter()
        .filter_map(|path| {
            let problem = read_file(path).err()?;
            Some(format!("{}: {problem}; {}", path.display(), problem.remedy()))
        })
        .collect();
    match broken.is_empty() {
        true => Ok(format!("{} files", files.len())),
        false => Err(broken.join("; ")),
    }
}
