//! What tells the macro whose bundles lie in OUT_DIR.

use super::encoding::{Document, Invalid, Validate, ensure};
use super::fingerprint::Fingerprint;
use bincode::{Decode, Encode};

/// The index of the bundles of one package. OUT_DIR leaks from a parent cargo into crates without a build script, so
/// bundles are embedded only where package and manifest folder are one's own.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Index {
    /// `CARGO_PKG_NAME`.
    pub package: String,
    /// `CARGO_MANIFEST_DIR`.
    pub manifest_dir: String,
    /// Operators that have a bundle, ascending.
    pub fingerprints: Vec<Fingerprint>,
}

impl Index {
    /// The folder in OUT_DIR that holds index and bundles.
    pub const FOLDER: &'static str = "energy-kernel";

    /// The name of the index in that folder.
    pub const FILE: &'static str = "index.ekindex";

    /// Whether an operator of this package has a bundle.
    pub fn covers(&self, package: &str, manifest_dir: &str, fingerprint: &Fingerprint) -> bool {
        self.package == package
            && self.manifest_dir == manifest_dir
            && self.fingerprints.binary_search(fingerprint).is_ok()
    }
}

impl Document for Index {
    const KIND: [u8; 4] = *b"INDX";
}

impl Validate for Index {
    fn validate(&self) -> Result<(), Invalid> {
        ensure(self.package.len() <= 1024, "the package's name is too long")?;
        ensure(self.manifest_dir.len() <= 65536, "the manifest's folder is too long")?;
        ensure(
            self.fingerprints.is_sorted_by(|a, b| a < b),
            "the fingerprints are not in ascending order",
        )
    }
}
