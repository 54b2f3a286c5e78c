//! The package whose build script runs.

use crate::build::Build;
use crate::cache::{Cache, Place};
use crate::environment::Environment;
use crate::source::sources::Sources;
use energy_kernel_compiler::record::Index;
use std::path::{Path, PathBuf};

/// A package, its settings and its folders.
pub(super) struct Package<'a> {
    pub(super) build: &'a Build,
    pub(super) environment: &'a Environment,
    pub(super) name: String,
    pub(super) manifest_dir: PathBuf,
    /// The folder below OUT_DIR that holds bundles.
    pub(super) output: PathBuf,
    pub(super) cache: Cache,
    pub(super) sources: Sources,
}

impl<'a> Package<'a> {
    /// The package of the environment. `None` if cargo did not set its variables.
    pub(super) fn of(build: &'a Build, environment: &'a Environment) -> Option<Package<'a>> {
        let manifest_dir = Path::new(environment.get("CARGO_MANIFEST_DIR")?);
        let name = environment.get("CARGO_PKG_NAME")?;
        let out_dir = environment.get("OUT_DIR")?;
        Some(Package {
            build,
            environment,
            name: name.to_owned(),
            manifest_dir: manifest_dir.to_owned(),
            output: Path::new(out_dir).join(Index::FOLDER),
            cache: Cache::of(manifest_dir, name, user_cache(build, environment)),
            sources: Sources::of(manifest_dir, &build.source_dirs),
        })
    }

    /// The folders that are read.
    pub(super) fn folders(&self) -> Vec<&Path> {
        let caches = [Place::Shipped, Place::User]
            .into_iter()
            .filter_map(|place| self.cache.folder(place));
        let sources = self.sources.folders().iter().map(PathBuf::as_path);
        sources.chain(caches).collect()
    }

    /// The command that tunes this package.
    pub(super) fn command(&self) -> String {
        format!("cargo energy-kernel tune --package {}", self.name)
    }
}

/// The folder of the user's cache. The variable takes precedence over the setting.
fn user_cache<'a>(build: &'a Build, environment: &'a Environment) -> Option<&'a Path> {
    let in_code = build
        .cache_dir
        .as_deref()
        .filter(|_| environment.get("ENERGY_KERNEL_CACHE_DIR").is_none());
    in_code.or(environment.user_cache.as_deref())
}
