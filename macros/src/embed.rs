//! The build's output for the macro: bundles in `OUT_DIR`.
//!
//! A parent cargo leaks `OUT_DIR` into crates without a build script. So bundles are used only if the index beside them names this
//! package. Files that are missing or unreadable are not embedded: the operator runs untuned.

use energy_kernel_compiler::file;
use energy_kernel_compiler::record::{Bundle, Fingerprint, Index, encoding};
use std::path::{Path, PathBuf};

/// The files that the build script wrote for the crate being compiled.
pub struct Embedded {
    output: Output,
}

enum Output {
    /// There is no index of this package, because it has no build script that looks for operators.
    Nothing,
    /// The index cannot be read.
    Unreadable,
    /// The package's index, and the folder that holds it.
    Index(PathBuf, Index),
}

/// Why the build script does nothing for an operator with `tune(…)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// The package has no build script that looks for operators.
    BuildScript,
    /// The build script did not find the operator.
    Operator,
}

impl Missing {
    /// The message: the problem, then the remedy.
    pub const fn explanation(self) -> &'static str {
        match self {
            Missing::BuildScript => {
                "`tune(…)` embeds nothing: this package has no build script that calls `energy_kernel_build::run()`; add one, or remove `tune(…)`"
            }
            Missing::Operator => {
                "`tune(…)` embeds nothing: the build script did not find this operator; it reads sources as they are written, without \
                 `macro_rules!` and generated files. Write the operator where it looks (`Build::source_dirs`), or remove `tune(…)`"
            }
        }
    }
}

impl Embedded {
    /// Finds the files by the environment variables of the expansion.
    pub fn from_environment() -> Embedded {
        let variable = |name| std::env::var(name).unwrap_or_default();
        let out_dir = std::env::var_os("OUT_DIR").map(PathBuf::from);
        let (package, manifest_dir) = (variable("CARGO_PKG_NAME"), variable("CARGO_MANIFEST_DIR"));
        Embedded::new(out_dir.as_deref(), &package, &manifest_dir)
    }

    fn new(out_dir: Option<&Path>, package: &str, manifest_dir: &str) -> Embedded {
        let folder = out_dir
            .filter(|folder| folder.is_absolute())
            .map(|out_dir| out_dir.join(Index::FOLDER));
        let output = match folder {
            Some(folder) if folder.join(Index::FILE).exists() => {
                let bytes = file::read(&folder.join(Index::FILE), encoding::LIMIT as u64);
                match bytes.ok().and_then(|bytes| encoding::decode::<Index>(&bytes).ok()) {
                    Some(index) if index.is_of(package, manifest_dir) => Output::Index(folder, index),
                    Some(_) => Output::Nothing,
                    None => Output::Unreadable,
                }
            }
            _ => Output::Nothing,
        };
        Embedded { output }
    }

    /// The path of an operator's bundle.
    pub fn bundle(&self, fingerprint: &Fingerprint) -> Option<PathBuf> {
        let Output::Index(folder, index) = &self.output else {
            return None;
        };
        let path = folder.join(Bundle::file_name(fingerprint));
        // rustc reads the whole file, even if it is a device or does not fit into memory.
        let fits = |path: &PathBuf| {
            path.metadata()
                .is_ok_and(|file| file.is_file() && file.len() <= encoding::LIMIT as u64)
        };
        Some(path).filter(|path| index.has_bundle(fingerprint) && fits(path))
    }

    /// Returns why the build script does nothing for one of these operators. `None` if it found all of them, or was told not to look.
    pub fn missing(&self, operators: &[Fingerprint]) -> Option<Missing> {
        match &self.output {
            Output::Nothing => Some(Missing::BuildScript),
            Output::Unreadable => None,
            Output::Index(_, index) => {
                let missed = operators.iter().any(|operator| index.has_missed(operator));
                missed.then_some(Missing::Operator)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKAGE: &str = "speech";
    const MANIFEST: &str = "/home/author/speech";

    fn fingerprint(byte: u8) -> Fingerprint {
        Fingerprint([byte; 32])
    }

    /// An `OUT_DIR` of a build script, with a bundle for fingerprint 1. Fingerprint 2 is only in the index.
    fn out_dir() -> tempfile::TempDir {
        let out_dir = tempfile::tempdir().expect("a temporary folder");
        let folder = out_dir.path().join(Index::FOLDER);
        std::fs::create_dir(&folder).expect("a folder");
        let index = Index {
            package: PACKAGE.to_owned(),
            manifest_dir: MANIFEST.to_owned(),
            fingerprints: vec![fingerprint(1), fingerprint(2)],
            found: Some(vec![fingerprint(1), fingerprint(2), fingerprint(4)]),
        };
        std::fs::write(
            folder.join(Index::FILE),
            encoding::encode(&index).expect("a valid index"),
        )
        .expect("written");
        std::fs::write(folder.join(Bundle::file_name(&fingerprint(1))), b"a bundle").expect("written");
        out_dir
    }

    fn embedded(out_dir: Option<&Path>, package: &str, manifest: &str) -> Embedded {
        Embedded::new(out_dir, package, manifest)
    }

    #[test]
    fn the_own_bundle_is_found() {
        let out_dir = out_dir();
        let embedded = embedded(Some(out_dir.path()), PACKAGE, MANIFEST);
        let path = embedded.bundle(&fingerprint(1)).expect("a bundle");
        assert!(path.is_absolute());
        assert_eq!(std::fs::read(path).expect("readable"), b"a bundle");
    }

    #[test]
    fn no_bundle_without_file_index_or_folder() {
        let out_dir = out_dir();
        let own = embedded(Some(out_dir.path()), PACKAGE, MANIFEST);
        assert_eq!(own.bundle(&fingerprint(2)), None, "in the index, but no file");
        assert_eq!(own.bundle(&fingerprint(3)), None, "not in the index");
        std::fs::write(out_dir.path().join(Index::FOLDER).join(Index::FILE), b"damaged").expect("written");
        assert_eq!(
            embedded(Some(out_dir.path()), PACKAGE, MANIFEST).bundle(&fingerprint(1)),
            None
        );
        let empty = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(
            embedded(Some(empty.path()), PACKAGE, MANIFEST).bundle(&fingerprint(1)),
            None
        );
        assert_eq!(embedded(None, PACKAGE, MANIFEST).bundle(&fingerprint(1)), None);
    }

    /// rustc would read such files forever, or fill the memory.
    #[test]
    fn devices_and_huge_files_are_not_embedded() {
        let out_dir = out_dir();
        let path = out_dir
            .path()
            .join(Index::FOLDER)
            .join(Bundle::file_name(&fingerprint(1)));
        let bundle = || embedded(Some(out_dir.path()), PACKAGE, MANIFEST).bundle(&fingerprint(1));
        assert!(bundle().is_some());
        std::fs::File::create(&path)
            .expect("a file")
            .set_len(1 << 40)
            .expect("sparse");
        assert_eq!(bundle(), None);
        #[cfg(unix)]
        {
            std::fs::remove_file(&path).expect("removed");
            std::os::unix::fs::symlink("/dev/zero", &path).expect("a link");
            assert_eq!(bundle(), None);
            let index = out_dir.path().join(Index::FOLDER).join(Index::FILE);
            std::fs::remove_file(&index).expect("removed");
            std::os::unix::fs::symlink("/dev/zero", &index).expect("a link");
            assert_eq!(bundle(), None);
        }
    }

    #[test]
    fn untuned_operators_are_known_with_the_reason() {
        let out_dir = out_dir();
        let missing = |out_dir: Option<&Path>, manifest, operators: &[u8]| {
            let operators: Vec<Fingerprint> = operators.iter().map(|&byte| fingerprint(byte)).collect();
            embedded(out_dir, PACKAGE, manifest).missing(&operators)
        };
        let own = Some(out_dir.path());
        assert_eq!(missing(own, MANIFEST, &[1]), None);
        assert_eq!(
            missing(own, MANIFEST, &[4]),
            None,
            "found, and nothing is known of it yet"
        );
        assert_eq!(missing(own, MANIFEST, &[1, 3]), Some(Missing::Operator));
        assert_eq!(missing(None, MANIFEST, &[1]), Some(Missing::BuildScript));
        let leaked = missing(own, "/home/author/other", &[1]);
        assert_eq!(leaked, Some(Missing::BuildScript), "the index of a parent");
        let empty = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(missing(Some(empty.path()), MANIFEST, &[1]), Some(Missing::BuildScript));
        // `ENERGY_KERNEL=off`, and a build script that warns itself.
        let index = |found| Index {
            package: PACKAGE.to_owned(),
            manifest_dir: MANIFEST.to_owned(),
            fingerprints: Vec::new(),
            found,
        };
        let path = out_dir.path().join(Index::FOLDER).join(Index::FILE);
        std::fs::write(&path, encoding::encode(&index(None)).expect("a valid index")).expect("written");
        assert_eq!(missing(own, MANIFEST, &[1, 3]), None);
        std::fs::write(&path, b"damaged").expect("written");
        assert_eq!(missing(own, MANIFEST, &[1, 3]), None);
    }

    #[test]
    fn another_package_is_not_served() {
        let out_dir = out_dir();
        for (package, manifest) in [("other", MANIFEST), (PACKAGE, "/home/author/other")] {
            assert_eq!(
                embedded(Some(out_dir.path()), package, manifest).bundle(&fingerprint(1)),
                None
            );
        }
    }
}
