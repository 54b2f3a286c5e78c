//! The index of the bundles in OUT_DIR, for the macro.

use super::encoding::{Document, Invalid, Validate, ensure};
use super::fingerprint::Fingerprint;
use bincode::{Decode, Encode};

/// The index of the bundles of one package. OUT_DIR leaks from a parent cargo into crates without a build script, so
/// the macro embeds bundles only if package and manifest folder match its crate.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Index {
    /// `CARGO_PKG_NAME`.
    pub package: String,
    /// `CARGO_MANIFEST_DIR`.
    pub manifest_dir: String,
    /// The operators that have a bundle, in ascending order.
    pub fingerprints: Vec<Fingerprint>,
    /// The operators with sizes to tune for that the build script found, in ascending order. `None` if it did not look for any.
    pub found: Option<Vec<Fingerprint>>,
}

impl Index {
    /// The folder in OUT_DIR with the index and the bundles.
    pub const FOLDER: &'static str = "energy-kernel";

    /// The name of the index in that folder.
    pub const FILE: &'static str = "index.ekindex";

    /// `true` if this is the index of the package.
    pub fn is_of(&self, package: &str, manifest_dir: &str) -> bool {
        self.package == package && self.manifest_dir == manifest_dir
    }

    /// `true` if an operator has a bundle.
    pub fn has_bundle(&self, fingerprint: &Fingerprint) -> bool {
        self.fingerprints.binary_search(fingerprint).is_ok()
    }

    /// `true` if the build script looked for operators with sizes to tune for, and did not find this one.
    pub fn has_missed(&self, fingerprint: &Fingerprint) -> bool {
        let found = self.found.as_ref();
        found.is_some_and(|found| found.binary_search(fingerprint).is_err())
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
            [Some(&self.fingerprints), self.found.as_ref()]
                .into_iter()
                .flatten()
                .all(|list| list.is_sorted_by(|a, b| a < b)),
            "the fingerprints are not in ascending order",
        )
    }
}
