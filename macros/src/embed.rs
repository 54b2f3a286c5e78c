//! What the build left for the macro: bundles in `OUT_DIR`.
//!
//! `OUT_DIR` leaks from a parent cargo into crates that have no build script of their own, so bundles count only where the index
//! beside them names this very package. Whatever is missing or cannot be read is not embedded: the operator runs untuned.

use energy_kernel_compiler::record::{Bundle, Fingerprint, Index, encoding};
use std::path::{Path, PathBuf};

/// The bundles of the crate that is being compiled.
pub struct Embedded {
    found: Option<(PathBuf, Index)>,
    package: String,
    manifest_dir: String,
}

impl Embedded {
    /// What the environment variables of the expansion say.
    pub fn from_environment() -> Embedded {
        let variable = |name| std::env::var(name).unwrap_or_default();
        let out_dir = std::env::var_os("OUT_DIR").map(PathBuf::from);
        Embedded::new(
            out_dir.as_deref(),
            variable("CARGO_PKG_NAME"),
            variable("CARGO_MANIFEST_DIR"),
        )
    }

    fn new(out_dir: Option<&Path>, package: String, manifest_dir: String) -> Embedded {
        let folder = out_dir
            .filter(|folder| folder.is_absolute())
            .map(|out_dir| out_dir.join(Index::FOLDER));
        let found = folder.and_then(|folder| {
            let bytes = std::fs::read(folder.join(Index::FILE)).ok()?;
            Some((folder, encoding::decode::<Index>(&bytes).ok()?))
        });
        Embedded {
            found,
            package,
            manifest_dir,
        }
    }

    /// The bundle of an operator.
    pub fn bundle(&self, fingerprint: &Fingerprint) -> Option<PathBuf> {
        let (folder, index) = self.found.as_ref()?;
        if !index.covers(&self.package, &self.manifest_dir, fingerprint) {
            return None;
        }
        let path = folder.join(Bundle::file_name(fingerprint));
        path.is_file().then_some(path)
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

    /// An OUT_DIR as a build script leaves it, with a bundle for fingerprint 1, and fingerprint 2 in the index only.
    fn out_dir() -> tempfile::TempDir {
        let out_dir = tempfile::tempdir().expect("a temporary folder");
        let folder = out_dir.path().join(Index::FOLDER);
        std::fs::create_dir(&folder).expect("a folder");
        let index = Index {
            package: PACKAGE.to_owned(),
            manifest_dir: MANIFEST.to_owned(),
            fingerprints: vec![fingerprint(1), fingerprint(2)],
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
        Embedded::new(out_dir, package.to_owned(), manifest.to_owned())
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
