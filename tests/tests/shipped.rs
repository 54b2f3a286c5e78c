//! Packages a library as for publication and builds a program from the package. The program tunes nothing and uses the shipped kernels.

use energy_kernel_compiler::record::encoding::decode;
use energy_kernel_compiler::record::{CacheFile, Objective};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const RENEW: &str = "examples/shipped-cache/renew makes the shipped results anew";

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    assert!(!errors.contains("tuning"), "{errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn cargo(folder: &Path) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(folder)
        .env_remove("ENERGY_KERNEL")
        .env_remove("OUT_DIR")
        .env("CARGO_TERM_COLOR", "never");
    cargo
}

/// The package as a registry would have it, unpacked.
fn package(to: &Path) -> PathBuf {
    run(cargo(&workspace())
        .args([
            "package",
            "--package",
            "shipped-cache",
            "--no-verify",
            "--allow-dirty",
            "--exclude-lockfile",
            "--offline",
        ])
        .arg("--target-dir")
        .arg(to));
    let archive = to.join("package/shipped-cache-0.1.0.crate");
    run(Command::new("tar").arg("xzf").arg(archive).arg("-C").arg(to));
    to.join("shipped-cache-0.1.0")
}

/// A program outside of the workspace: it depends on the package, and on our crates as if they came from the registry.
fn user(folder: &Path, library: &Path) {
    let ours = [
        ("energy-kernel", "runtime"),
        ("energy-kernel-build", "build-support"),
        ("energy-kernel-compiler", "runtime/compiler"),
        ("energy-kernel-emulator", "runtime/emulator"),
        ("energy-kernel-macros", "macros"),
    ];
    let mut manifest = format!(
        "[package]\nname = \"user\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
         [dependencies]\nenergy-kernel = \"0.1\"\nshipped-cache = {{ path = {library:?} }}\n\n\
         [profile.dev]\ndebug = 0\n\n[patch.crates-io]\n"
    );
    for (name, path) in ours {
        manifest += &format!("{name} = {{ path = {:?} }}\n", workspace().join(path));
    }
    fs::create_dir_all(folder.join("src")).unwrap();
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    // The workspace's lock file names versions that need no download.
    fs::copy(workspace().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    fs::copy(
        workspace().join("examples/shipped-cache/user/src/main.rs"),
        folder.join("src/main.rs"),
    )
    .unwrap();
}

#[test]
fn a_packaged_library_brings_its_kernels_and_its_users_tune_nothing() {
    let root = tempfile::tempdir().unwrap();
    let library = package(root.path());
    let cache = root.path().join("cache");
    user(&root.path().join("user"), &library);
    let says = || {
        run(cargo(&root.path().join("user"))
            .args(["run", "--offline", "--quiet"])
            .env(
                "CARGO_TARGET_DIR",
                Path::new(env!("CARGO_TARGET_TMPDIR")).join("shipped"),
            )
            .env("ENERGY_KERNEL_CACHE_DIR", &cache))
    };
    let said = says();
    let mut shipped = 0;
    for file in fs::read_dir(library.join("energy-cache")).unwrap() {
        let file: CacheFile = decode(&fs::read(file.unwrap().path()).unwrap()).expect(RENEW);
        assert!(file.device.simulated, "the example was measured on nothing");
        for record in &file.records {
            let chosen = record.choose(Objective::default()).unwrap();
            assert!(
                said.contains(&format!("  schedule: {}\n", chosen.program)),
                "{RENEW}: {said}"
            );
            shipped += 1;
        }
    }
    assert_eq!(shipped, 4);
    // Two operators at three sizes each.
    assert_eq!(
        said.matches("  tuned (embedded, same device class)").count(),
        6,
        "{RENEW}: {said}"
    );
    assert!(
        said.contains("(simulated)") && said.contains("softmax of equal values: 0.001953125 "),
        "{said}"
    );
    let results = fs::read_dir(cache.join("shipped-cache")).into_iter().flatten().count();
    assert_eq!(results, 0, "nothing was tuned");

    // Without the shipped files they run untuned.
    fs::remove_dir_all(library.join("energy-cache")).unwrap();
    let said = says();
    assert_eq!(said.matches("  untuned: nothing was tuned for it").count(), 6, "{said}");
}
