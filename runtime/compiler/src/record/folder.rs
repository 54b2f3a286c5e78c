//! The folder of the user's cache. The build script, the command and the runtime must use the same one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The environment variable that sets the folder of the user's cache.
pub const FOLDER_VARIABLE: &str = "ENERGY_KERNEL_CACHE_DIR";

/// A relative path to the user's cache. It is refused, because the build script, the command and a program would resolve it in different
/// folders.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} means another folder to each build script and program; set {FOLDER_VARIABLE} to an absolute path",
    printable(.0)
)]
pub struct RelativeFolder(pub PathBuf);

/// Returns the folder that the variable names, otherwise the system's folder for caches, if there is one.
///
/// # Errors
/// The path is relative.
pub fn user_cache(
    variable: Option<OsString>,
    system: impl FnOnce() -> Option<PathBuf>,
) -> Result<Option<PathBuf>, RelativeFolder> {
    let named = variable.filter(|folder| !folder.is_empty()).map(PathBuf::from);
    named.or_else(system).map(absolute).transpose()
}

/// Returns the path if it is absolute.
///
/// # Errors
/// It is relative.
pub fn absolute(folder: PathBuf) -> Result<PathBuf, RelativeFolder> {
    match folder.is_absolute() {
        true => Ok(folder),
        false => Err(RelativeFolder(folder)),
    }
}

/// Returns the name of a package's folder in the cache. Text that is not a package's name could lead out of the cache, so it is replaced.
pub fn package_folder(package: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "-_".contains(c) {
            c
        } else {
            '_'
        }
    };
    package.chars().map(plain).collect()
}

fn printable(path: &Path) -> String {
    let shown = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    path.to_string_lossy().chars().map(shown).collect()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_variable_counts_unless_it_is_empty_and_a_relative_path_never() {
        let system = || Some(PathBuf::from("/home/me/.cache/energy-kernel"));
        let of = |variable: Option<&str>| user_cache(variable.map(OsString::from), system);
        assert_eq!(of(None), Ok(system()));
        assert_eq!(of(Some("")), Ok(system()));
        assert_eq!(of(Some("/elsewhere")), Ok(Some("/elsewhere".into())));
        assert_eq!(user_cache(None, || None), Ok(None));
        for relative in ["rel", "./rel", "../rel", "two\nlines"] {
            let refused = of(Some(relative)).unwrap_err().to_string();
            assert!(
                refused.contains("means another folder") && refused.contains(FOLDER_VARIABLE),
                "{refused}"
            );
            assert!(!refused.contains('\n'), "{refused}");
        }
    }

    #[test]
    fn no_package_leads_out_of_the_cache() {
        assert_eq!(package_folder("energy-kernel_2"), "energy-kernel_2");
        assert_eq!(package_folder("../x/é"), "___x__");
    }
}
