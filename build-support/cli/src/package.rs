//! The package of the command.

use crate::arguments::Arguments;
use crate::output::plain;
use energy_kernel_build::cache::Cache;
use energy_kernel_build::manifest::Manifest;
use energy_kernel_build::scan::{Found, Scan, Skipped, scan};
use energy_kernel_build::sources::Sources;
use energy_kernel_build::{Environment, assumptions};
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use serde_json::Value;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// The code of the error that the workspace has several packages and none was named.
pub const SEVERAL: &str = "several-packages";

/// A package with its operators and caches.
pub struct Package {
    pub name: String,
    pub folder: PathBuf,
    pub manifest: Manifest,
    /// The operators with sizes to tune for.
    pub operators: Vec<Found>,
    pub without_tune: Vec<Found>,
    /// Source that was skipped and may hold operators.
    pub skipped: Vec<Skipped>,
    pub cache: Cache,
    pub environment: Environment,
}

impl Package {
    /// Finds the package of the command line, else that of the current folder.
    pub fn find(arguments: &Arguments) -> Result<Package> {
        let package = Package::look(arguments)?;
        match package.cache.refused() {
            Some(refused) => Err(miette!("the user's cache cannot be used: {}", plain(refused))),
            None => Ok(package),
        }
    }

    /// Like [`find`](Package::find), but accepts a package whose user's cache is refused.
    pub fn look(arguments: &Arguments) -> Result<Package> {
        let metadata = match &arguments.metadata {
            Some(file) => Some(read_metadata(file)?),
            None => ask_cargo(arguments)?,
        };
        let (name, folder) = match metadata {
            Some(metadata) => choose(&metadata, arguments)?,
            None => without_cargo(arguments)?,
        };
        if let Some(missing) = arguments.source_dir.iter().find(|dir| !folder.join(dir).is_dir()) {
            let missing = plain(folder.join(missing).display());
            return Err(miette!("--source-dir: there is no folder {missing}"));
        }
        let manifest = read_manifest(&folder)?;
        let environment = Environment::of_process();
        let Scan {
            operators,
            without_tune,
            skipped,
            ..
        } = scan(&Sources::of(&folder, &arguments.source_dir));
        Ok(Package {
            cache: Cache::of(&folder, &name, environment.user_cache.as_deref()),
            name,
            folder,
            manifest,
            operators,
            without_tune,
            skipped,
            environment,
        })
    }

    /// Warns of assumed sizes and of skipped source.
    pub fn warn(&self) {
        for assumption in assumptions(&self.operators) {
            complain!("warning: {}", plain(assumption));
        }
        for skipped in &self.skipped {
            complain!("warning: skipped: {}", plain(skipped));
        }
    }

    /// The operators of these names, with or without `tune(…)`. A name without element types stands for all variants. Returns all operators
    /// if there are no names.
    pub fn named(&self, names: &[String]) -> Result<Vec<&Found>> {
        let all = || self.operators.iter().chain(&self.without_tune);
        let is = |found: &Found, name: &str| self.is(found, name);
        if let Some(unknown) = names.iter().find(|name| !all().any(|found| is(found, name))) {
            let known: Vec<&str> = all().map(|found| found.name.as_str()).collect();
            return Err(miette!(
                help = match known.is_empty() {
                    true => "no operator was found; name other folders with --source-dir".to_owned(),
                    false => format!("the operators are: {}", known.join(", ")),
                },
                "{} has no operator `{}`",
                self.name,
                plain(unknown)
            ));
        }
        let chosen = |found: &&Found| names.is_empty() || names.iter().any(|name| is(found, name));
        Ok(all().filter(chosen).collect())
    }

    /// `true` if a name means the operator: `scale`, `scale<f16>`, or with its place `src/lib.rs:12:scale<f16>`.
    fn is(&self, found: &Found, name: &str) -> bool {
        found.name == name || found.checked.op().name == name || self.place(found) == name
    }

    /// The unique name of an operator, with its place: `src/lib.rs:12:scale<f16>`.
    pub fn place(&self, found: &Found) -> String {
        let file = found.file.strip_prefix(&self.folder).unwrap_or(&found.file);
        format!("{}:{}:{}", file.display(), found.line, found.name)
    }
}

fn read_manifest(folder: &Path) -> Result<Manifest> {
    let path = folder.join(Manifest::FILE);
    Manifest::read(folder)
        .into_diagnostic()
        .wrap_err_with(|| format!("{} cannot be read", plain(path.display())))
}

/// The largest metadata file, in bytes: far more than any workspace has.
const LONGEST_METADATA: u64 = 256 << 20;

/// Reads the output of an earlier `cargo metadata`.
fn read_metadata(file: &Path) -> Result<Value> {
    let mut text = Vec::new();
    std::fs::File::open(file)
        .and_then(|file| file.take(LONGEST_METADATA).read_to_end(&mut text))
        .into_diagnostic()
        .wrap_err_with(|| format!("{} cannot be read", plain(file.display())))?;
    serde_json::from_slice(&text).map_err(|error| {
        miette!(
            help = "`cargo metadata --format-version 1 --no-deps` prints it",
            "{} is not the metadata of a workspace: {error}",
            plain(file.display())
        )
    })
}

/// Asks cargo for the workspace's metadata. `None` if there is no cargo.
fn ask_cargo(arguments: &Arguments) -> Result<Option<Value>> {
    let mut cargo = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["metadata", "--no-deps", "--format-version", "1"]);
    if let Some(path) = &arguments.manifest_path {
        cargo.arg("--manifest-path").arg(path);
    }
    let output = match cargo.output() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        output => output
            .into_diagnostic()
            .wrap_err("cargo cannot be run; pass --metadata FILE instead")?,
    };
    if !output.status.success() {
        return Err(miette!(
            help = "run the command in a package's folder, or name a package with --manifest-path",
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ));
    }
    serde_json::from_slice(&output.stdout)
        .into_diagnostic()
        .wrap_err("cargo metadata")
        .map(Some)
}

/// Chooses the package of the command line's name or manifest, else the innermost one around the current folder, else the only one.
fn choose(metadata: &Value, arguments: &Arguments) -> Result<(String, PathBuf)> {
    let packages: Vec<(&str, &Path)> = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|package| {
            let manifest = Path::new(package["manifest_path"].as_str()?);
            Some((package["name"].as_str()?, manifest.parent()?))
        })
        .collect();
    let names = || {
        packages
            .iter()
            .map(|(name, _)| plain(name))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let here = match &arguments.manifest_path {
        Some(path) => path
            .canonicalize()
            .ok()
            .and_then(|path| Some(path.parent()?.to_owned())),
        None => std::env::current_dir().ok().and_then(|path| path.canonicalize().ok()),
    };
    // Packages may be nested.
    let around = packages.iter().filter(|(_, folder)| {
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
        here.as_ref().is_some_and(|here| here.starts_with(folder))
    });
    let innermost = around.max_by_key(|(_, folder)| folder.components().count());
    let chosen = match (&arguments.package, innermost, packages.as_slice()) {
        (Some(wanted), _, _) => packages.iter().find(|(name, _)| name == wanted).ok_or_else(|| {
            miette!(
                help = format!("the packages are: {}", names()),
                "there is no package `{}` in this workspace",
                plain(wanted)
            )
        })?,
        (None, Some(package), _) => package,
        (None, None, [only]) => only,
        (None, None, []) => return Err(miette!("the metadata names no package")),
        (None, None, _) => {
            return Err(miette!(
                code = SEVERAL,
                help = format!("name one of them with --package: {}", names()),
                "there are several packages"
            ));
        }
    };
    let (name, folder) = *chosen;
    if !folder.join(Manifest::FILE).is_file() {
        return Err(miette!(
            help = "metadata holds absolute paths: create it with the package at the same path, or use --manifest-path",
            "the metadata locates `{}` in {}, which has no manifest",
            plain(name),
            plain(folder.display())
        ));
    }
    Ok((name.to_owned(), folder.to_owned()))
}

/// Reads the nearest manifest without cargo.
fn without_cargo(arguments: &Arguments) -> Result<(String, PathBuf)> {
    let help = "name a package's manifest with --manifest-path, or pass --metadata FILE: what `cargo metadata --format-version 1 --no-deps` \
                prints on a machine with cargo";
    let manifest = match &arguments.manifest_path {
        Some(path) => path
            .canonicalize()
            .into_diagnostic()
            .wrap_err_with(|| format!("{} cannot be read", plain(path.display())))?,
        None => {
            let here = std::env::current_dir().into_diagnostic()?;
            let manifests = here.ancestors().map(|folder| folder.join(Manifest::FILE));
            manifests
                .into_iter()
                .find(|manifest| manifest.is_file())
                .ok_or_else(|| {
                    miette!(
                        help = help,
                        "there is no Cargo.toml in {} or above it, and no cargo to ask",
                        plain(here.display())
                    )
                })?
        }
    };
    let folder = match (manifest.parent(), manifest.file_name()) {
        (Some(folder), Some(name)) if name == Manifest::FILE => folder.to_owned(),
        _ => return Err(miette!("{} is not a Cargo.toml", plain(manifest.display()))),
    };
    let shown = plain(manifest.display());
    match (read_manifest(&folder)?.name, &arguments.package) {
        (Some(name), Some(wanted)) if name != *wanted => Err(miette!(
            help = help,
            "{shown} belongs to package `{}`, not `{}`, and there is no cargo to ask for others",
            plain(name),
            plain(wanted)
        )),
        (Some(name), _) => Ok((name, folder)),
        (None, _) => Err(miette!(
            help = help,
            "{shown} belongs to a workspace, and there is no cargo to ask for its packages"
        )),
    }
}
