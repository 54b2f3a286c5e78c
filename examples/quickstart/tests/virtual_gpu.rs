//! The example and its build script on a virtual GPU: what the one prints and the other keeps are measurements then.

#![cfg(target_os = "linux")]

use energy_kernel_virtual_gpu::{Run, Virtual};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[test]
fn the_example_measures_on_a_gpu() {
    // A kernel takes a fifth of a second, so that few launches fill the windows, and ten seconds pass in one.
    let gpu = Virtual::new("8.9")
        .with("KERNEL_US", "200000")
        .with("WATTS", "250")
        .with("CLOCK", "10");
    let run = gpu.finish(
        &mut gpu.command(env!("CARGO_BIN_EXE_quickstart")),
        Duration::from_secs(60),
    );
    let text = run.text.clone();
    run.clean();
    assert!(!text.contains("simulated") && !text.contains("emulated"), "{text}");
    let costs: Vec<(f64, f64)> = text
        .lines()
        .filter(|line| line.contains(" µs ") && line.contains(" µJ"))
        .map(|line| {
            let numbers: Vec<f64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            (numbers[0] * 1e-6, numbers[1] * 1e-6)
        })
        .collect();
    assert_eq!(costs.len(), 6, "{text}");
    for (seconds, joules) in costs {
        // By the host's clock, so more where this machine is busy.
        assert!((0.2..10.0).contains(&seconds), "{seconds} s\n{text}");
        let watts = joules / seconds;
        assert!((watts - 250.0).abs() < 25.0, "{watts} W\n{text}");
    }
    let errors = text
        .lines()
        .filter_map(|line| line.split("against the reference: ").nth(1));
    let errors: Vec<f64> = errors.map(|error| error.trim().parse().unwrap()).collect();
    assert!(errors.len() == 3 && errors.iter().all(|error| *error < 0.01), "{text}");
}

/// The build script that cargo built last for this package.
fn build_script() -> PathBuf {
    // This test's OUT_DIR is `build/quickstart-HASH/out`, and the script lies in a folder of another hash.
    let builds = Path::new(env!("OUT_DIR")).ancestors().nth(2).unwrap();
    let scripts = fs::read_dir(builds).unwrap().filter_map(|folder| {
        let folder = folder.unwrap();
        let own = folder.file_name().to_string_lossy().starts_with("quickstart-");
        Some(folder.path().join("build-script-build")).filter(|script| own && script.exists())
    });
    scripts
        .max_by_key(|script| script.metadata().unwrap().modified().unwrap())
        .expect("a build script")
}

/// Runs the build script as cargo would, for a small package.
fn build(gpu: &Virtual, package: &Path) -> Run {
    let mut command = gpu.command(build_script());
    command
        .current_dir(package)
        .env("CARGO_MANIFEST_DIR", package)
        .env("CARGO_PKG_NAME", "doubles")
        .env("OUT_DIR", package.join("build/out"))
        .env("ENERGY_KERNEL_CACHE_DIR", package.join("cache"))
        .envs([("TARGET", "a-machine"), ("HOST", "a-machine"), ("PROFILE", "debug")])
        .env_remove("CI")
        .env_remove("ENERGY_KERNEL");
    gpu.finish(&mut command, Duration::from_secs(120))
}

#[test]
fn a_build_tunes_on_a_gpu_once() {
    // A build takes two minutes at most, which are twelve seconds here. That may be too short for all energies.
    let gpu = Virtual::new("9.0")
        .with("GRAPHS", "sample")
        .with("WATTS", "300")
        .with("KERNEL_US", "100")
        .with("CLOCK", "10");
    let trace = gpu.folder().join("trace");
    let gpu = gpu.with("TRACE", &trace.to_string_lossy());
    let folder = tempfile::tempdir().unwrap();
    let package = folder.path();
    fs::create_dir_all(package.join("src")).unwrap();
    fs::create_dir_all(package.join("build/out")).unwrap();
    let source = "#[energy_kernel(tune(N = 4096))]
        pub fn double(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> { |n| x[[n]] * 2.0 }";
    fs::write(package.join("src/lib.rs"), source).unwrap();
    fs::write(package.join("Cargo.toml"), "[package]\nname = \"doubles\"\n").unwrap();

    let run = build(&gpu, package);
    assert!(run.status.is_some_and(|status| status.success()), "{}", run.text);
    assert!(!run.text.contains("untuned"), "{}", run.text);
    assert!(fs::read_to_string(&trace).unwrap().contains("cuLaunchKernel"));
    let names = |folder: PathBuf| -> Vec<String> {
        let files = fs::read_dir(folder).unwrap();
        files
            .map(|file| file.unwrap().file_name().to_string_lossy().into_owned())
            .collect()
    };
    let bundles = names(package.join("build/out/energy-kernel"));
    assert!(bundles.iter().any(|name| name.ends_with(".ekbundle")), "{bundles:?}");
    let caches = fs::read_dir(package.join("cache"))
        .unwrap()
        .map(|folder| folder.unwrap().path());
    let records: Vec<String> = caches.filter(|path| path.is_dir()).flat_map(names).collect();
    assert!(
        records.iter().any(|name| name.contains("virtual-h100-sm90")),
        "{records:?}"
    );

    // Tuned operators are not tuned again, and a warm build does not touch the driver.
    fs::remove_file(&trace).unwrap();
    let run = build(&gpu, package);
    assert!(run.status.is_some_and(|status| status.success()), "{}", run.text);
    assert!(!trace.exists() && run.report.is_none(), "{}", run.text);
}
