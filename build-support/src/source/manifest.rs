//! A package's `Cargo.toml`, read without cargo to locate its source.

use super::text::read_text;
use std::io;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// The parts of a manifest that locate the source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The package's name. `None` in the manifest of a workspace alone.
    pub name: Option<String>,
    /// The files that targets (library, binaries, examples, tests, benches) name with `path`, joined to the manifest's folder.
    pub targets: Vec<PathBuf>,
    /// The build script, if there is one.
    pub build_script: Option<PathBuf>,
    /// The names of the crate `energy-kernel-build` in the build script, one for each dependency on it.
    pub build_crates: Vec<String>,
}

impl Manifest {
    /// The file's name.
    pub const FILE: &str = "Cargo.toml";

    /// Reads the manifest in a folder.
    ///
    /// # Errors
    /// The file does not exist, cannot be read, or is not TOML.
    pub fn read(folder: &Path) -> io::Result<Manifest> {
        let text = read_text(&folder.join(Manifest::FILE))?;
        let document =
            DeTable::parse(&text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.message()))?;
        let document = DeValue::Table(document.into_inner());
        Ok(Manifest {
            name: get(&document, &["package", "name"])
                .and_then(DeValue::as_str)
                .map(str::to_owned),
            targets: targets(&document).map(|path| folder.join(path)).collect(),
            build_script: build_script(&document, folder),
            build_crates: build_crates(&document),
        })
    }

    /// `true` if there is a build script that names `energy-kernel-build`, in code or in a comment.
    ///
    /// A script that calls it through a crate of its own can name it in a comment.
    pub fn build_script_calls_us(&self) -> bool {
        let script = self.build_script.as_deref().map(read_text);
        script.is_some_and(|text| {
            let named = |text: &str| {
                text.contains("energy_kernel_build") || self.build_crates.iter().any(|name| text.contains(name))
            };
            text.is_ok_and(|text| named(&text))
        })
    }
}

fn get<'a, 'i>(value: &'a DeValue<'i>, path: &[&str]) -> Option<&'a DeValue<'i>> {
    path.iter()
        .try_fold(value, |value, key| Some(value.as_table()?.get(*key)?.get_ref()))
}

fn targets<'a>(document: &'a DeValue<'_>) -> impl Iterator<Item = &'a str> {
    let several = ["bin", "example", "test", "bench"]
        .into_iter()
        .filter_map(|kind| get(document, &[kind])?.as_array())
        .flat_map(|all| all.iter().map(|target| target.get_ref()));
    get(document, &["lib"])
        .into_iter()
        .chain(several)
        .filter_map(|target| get(target, &["path"])?.as_str())
}

/// The build script by cargo's rules: the file that `build` names, none if that is `false`, else `build.rs` if it exists.
fn build_script(document: &DeValue<'_>, folder: &Path) -> Option<PathBuf> {
    match get(document, &["package", "build"]) {
        Some(DeValue::String(path)) => Some(folder.join(&**path)),
        Some(DeValue::Boolean(false)) => None,
        _ => Some(folder.join("build.rs")).filter(|script| script.is_file()),
    }
}

fn build_crates(document: &DeValue<'_>) -> Vec<String> {
    let of_targets = get(document, &["target"])
        .and_then(DeValue::as_table)
        .into_iter()
        .flat_map(|targets| targets.values())
        .map(|target| target.get_ref());
    std::iter::once(document)
        .chain(of_targets)
        .filter_map(|place| get(place, &["build-dependencies"])?.as_table())
        .flatten()
        .filter(|(key, value)| {
            let package = get(value.get_ref(), &["package"]).and_then(DeValue::as_str);
            package.unwrap_or(key.get_ref()) == "energy-kernel-build"
        })
        .map(|(key, _)| key.get_ref().replace('-', "_"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn read(manifest: &str) -> (tempfile::TempDir, io::Result<Manifest>) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
        let read = Manifest::read(folder.path());
        (folder, read)
    }

    #[test]
    fn targets_are_found_in_every_way_to_write_them() {
        let (folder, read) = read(
            "lib.path = \"lib.rs\"\nbin = [{ name = \"a\", path = 'bins/a.rs' }, { name = \"b\" }]\n\
             [package]\nname = \"demo\"\n[[example]]\nname = \"e\"\npath = \"../e\\u002ers\"\n[[bench]]\npath = 3\n",
        );
        let read = read.unwrap();
        let below = |path: &str| folder.path().join(path);
        assert_eq!(read.name.as_deref(), Some("demo"));
        assert_eq!(read.targets, [below("lib.rs"), below("bins/a.rs"), below("../e.rs")]);
        assert_eq!(read.build_script, None);
    }

    #[test]
    fn the_build_script_is_the_one_that_cargo_runs() {
        let (folder, missing) = read("[package]\nname = \"demo\"\n");
        assert!(!missing.unwrap().build_script_calls_us());
        let calls = |manifest: &str, file: &str, script: &str| {
            fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
            fs::write(folder.path().join(file), script).unwrap();
            Manifest::read(folder.path()).unwrap().build_script_calls_us()
        };
        let plain = "[package]\nname = \"demo\"\n";
        assert!(!calls(plain, "build.rs", "fn main() {}"));
        assert!(calls(plain, "build.rs", "fn main() { energy_kernel_build::run() }"));
        assert!(!calls(
            "[package]\nname = \"demo\"\nbuild = false\n",
            "build.rs",
            "energy_kernel_build"
        ));
        assert!(calls(
            "[package]\nname = \"demo\"\nbuild = \"b.rs\"\n",
            "b.rs",
            "energy_kernel_build"
        ));
        let renamed = "[package]\nname = \"demo\"\n[build-dependencies]\nekb = { package = \"energy-kernel-build\", version = \"0.1\" }\n";
        assert!(calls(renamed, "build.rs", "fn main() { ekb::run() }"));
        assert!(!calls(plain, "build.rs", "fn main() { ekb::run() }"));
    }

    #[test]
    fn what_is_no_manifest_is_an_error() {
        assert!(read("[package\n").1.is_err());
        assert!(read("[workspace]\n").1.unwrap().name.is_none());
        assert!(Manifest::read(Path::new("/nonexistent")).is_err());
    }
}
