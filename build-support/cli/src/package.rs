//! The package that the command is about.

use crate::arguments::Arguments;
use energy_kernel_build::Environment;
use energy_kernel_build::cache::Cache;
use energy_kernel_build::scan::{Found, Scan, Skipped, scan};
use energy_kernel_build::sources::Sources;
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use std::path::{Path, PathBuf};

/// A package with its operators and caches.
pub struct Package {
    pub name: String,
    pub folder: PathBuf,
    pub operators: Vec<Found>,
    /// What may have been meant as operators.
    pub skipped: Vec<Skipped>,
    pub cache: Cache,
    pub environment: Environment,
}

impl Package {
    /// The package that is asked for, else that of the current folder.
    pub fn find(arguments: &Arguments) -> Result<Package> {
        let mut cargo = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["metadata", "--no-deps", "--format-version", "1"]);
        if let Some(path) = &arguments.manifest_path {
            cargo.arg("--manifest-path").arg(path);
        }
        let output = cargo.output().into_diagnostic().wrap_err("cargo cannot be run")?;
        if !output.status.success() {
            return Err(miette!(
                help = "run it in a package's folder, or name one with --manifest-path",
                "cargo metadata: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            ));
        }
        let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).into_diagnostic()?;
        let (name, folder) = choose(&metadata, arguments)?;
        let environment = Environment::of_process();
        let cache = Cache::of(&folder, &name, environment.user_cache.as_deref());
        if let Some(missing) = arguments.source_dir.iter().find(|dir| !folder.join(dir).is_dir()) {
            return Err(miette!(
                "--source-dir: there is no folder {}",
                folder.join(missing).display()
            ));
        }
        let Scan { operators, skipped, .. } = scan(&Sources::of(&folder, &arguments.source_dir));
        Ok(Package {
            name,
            folder,
            operators,
            skipped,
            cache,
            environment,
        })
    }

    /// Says what was passed over.
    pub fn warn(&self) {
        for skipped in &self.skipped {
            complain!("warning: passed over: {skipped}");
        }
    }

    /// The operators of these names: of all variants, where no variant is named. All where none is named.
    pub fn named(&self, names: &[String]) -> Result<Vec<&Found>> {
        let is = |found: &Found, name: &String| found.name == *name || found.checked.op().name == *name;
        for name in names {
            if !self.operators.iter().any(|found| is(found, name)) {
                let known: Vec<&str> = self.operators.iter().map(|found| found.name.as_str()).collect();
                return Err(miette!(
                    help = format!("with `tune(…)` there are: {}", known.join(", ")),
                    "`{name}` is no annotated operator of {}",
                    self.name
                ));
            }
        }
        let chosen = |found: &&Found| names.is_empty() || names.iter().any(|name| is(found, name));
        Ok(self.operators.iter().filter(chosen).collect())
    }
}

/// The package of that name; else the one whose manifest is meant, or the only one.
fn choose(metadata: &serde_json::Value, arguments: &Arguments) -> Result<(String, PathBuf)> {
    let packages: Vec<(&str, &Path)> = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|package| {
            let manifest = Path::new(package["manifest_path"].as_str()?);
            Some((package["name"].as_str()?, manifest.parent()?))
        })
        .collect();
    let owned = |(name, folder): (&str, &Path)| (name.to_owned(), folder.to_owned());
    if let Some(wanted) = &arguments.package {
        let found = packages.iter().find(|(name, _)| name == wanted).copied();
        return found
            .map(owned)
            .ok_or_else(|| miette!("there is no package `{wanted}` in this workspace"));
    }
    let here = match &arguments.manifest_path {
        Some(path) => path
            .canonicalize()
            .ok()
            .and_then(|path| Some(path.parent()?.to_owned())),
        None => std::env::current_dir().ok().and_then(|path| path.canonicalize().ok()),
    };
    // The innermost package around the current folder.
    let around = packages.iter().copied().filter(|(_, folder)| {
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
        here.as_ref().is_some_and(|here| here.starts_with(folder))
    });
    let innermost = around.max_by_key(|(_, folder)| folder.components().count());
    match (innermost, packages.as_slice()) {
        (Some(package), _) => Ok(owned(package)),
        (None, [only]) => Ok(owned(*only)),
        _ => Err(miette!(
            help = format!(
                "--package with one of: {}",
                packages.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
            ),
            "it is not clear which package is meant"
        )),
    }
}
