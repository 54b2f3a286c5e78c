//! Operators for tests.

use crate::scan::{Found, operators};

/// The operator of this function with these arguments of the attribute.
pub(crate) fn operator(arguments: &str, function: &str) -> Found {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lib.rs");
    std::fs::write(&file, format!("#[energy_kernel({arguments})]\n{function}\n")).unwrap();
    let mut found = operators(&[file]);
    assert_eq!(found.len(), 1, "{function}");
    found.remove(0)
}
