//! A package, and the command on it.

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

/// A package that cargo can describe; nothing of it is ever compiled.
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
    (root, folder)
}
