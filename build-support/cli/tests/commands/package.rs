//! Which package a command is about, and where its operators are looked for.

use crate::common::{call, package, text};
use std::fs;

/// Where a build script names other folders, the command must be told, or it took their results for unused.
#[test]
fn operators_in_other_folders_are_found_where_they_are_named() {
    let (_root, folder) = package();
    fs::create_dir(folder.join("kernels")).unwrap();
    fs::rename(folder.join("src/lib.rs"), folder.join("kernels/operators.rs")).unwrap();
    fs::write(folder.join("src/lib.rs"), "").unwrap();
    let named = |words: &[&str]| {
        call(
            &folder,
            &[words, &["--source-dir", "src", "--source-dir", "kernels"]].concat(),
        )
    };
    assert!(named(&["tune", "--emulated", "--candidates", "1"]).status.success());
    assert!(text(&named(&["show"]).stdout).contains("total"));
    assert!(text(&named(&["clean", "--unused", "--dry-run"]).stdout).contains("would delete 0 files"));
    let wrong = call(&folder, &["show", "--source-dir", "kernel"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(
        text(&wrong.stderr).contains("there is no folder"),
        "{}",
        text(&wrong.stderr)
    );
}

#[test]
fn outside_a_package_the_error_is_of_use() {
    let folder = tempfile::tempdir().unwrap();
    let output = call(folder.path(), &["show"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("--manifest-path"));
}
