//! A package, and the command on it.

use energy_kernel_build::cache::{Cache, Place, read_file};
use energy_kernel_compiler::record::CacheFile;
use energy_kernel_compiler::record::encoding::encode;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cargo-energy-kernel"));
    command
        .current_dir(folder)
        .env("ENERGY_KERNEL_CACHE_DIR", folder.join("cache"));
    command
}

pub fn call(folder: &Path, words: &[&str]) -> Output {
    command(folder).args(words).output().unwrap()
}

pub fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A package that cargo can describe. It is never compiled.
pub fn package() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("demo");
    fs::create_dir_all(folder.join("src")).unwrap();
    fs::write(
        folder.join("Cargo.toml"),
        "[package]\nname = \"demo\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n",
    )
    .unwrap();
    let source = "
        #[energy_kernel(tune(R = [4, 8], C = 64))]
        pub fn total(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R,)> { |r| sum(|c| x[[r, c]]) }
    ";
    fs::write(folder.join("src/lib.rs"), source).unwrap();
    fs::write(folder.join("build.rs"), "fn main() { energy_kernel_build::run() }").unwrap();
    (root, folder)
}

/// Tunes the package on the emulated device and ships the results after `change`.
pub fn ship(folder: &Path, mut change: impl FnMut(&mut CacheFile)) {
    let tuned = call(folder, &["tune", "--emulated", "--candidates", "1"]);
    assert!(tuned.status.success(), "{}", text(&tuned.stderr));
    let cache = Cache::of(folder, "demo", Some(&folder.join("cache")));
    fs::create_dir_all(folder.join("energy-cache")).unwrap();
    for path in cache.files(Place::User) {
        let mut file = read_file(&path).unwrap();
        change(&mut file);
        let name = CacheFile::file_name(&file.fingerprint, &file.device);
        fs::write(folder.join("energy-cache").join(name), encode(&file).unwrap()).unwrap();
    }
}

/// Makes results look like those of a real device.
pub fn real(file: &mut CacheFile) {
    file.device.simulated = false;
    let points = file.records.iter_mut().flat_map(|record| &mut record.front);
    points.for_each(|point| point.conditions.simulated_profile = None);
}
