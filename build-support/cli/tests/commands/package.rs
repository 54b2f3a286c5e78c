//! The package of a command, and the search for its operators.

use crate::common::{call, command, json, package, text};
use std::fs;

/// If a build script names other folders, the command must be told: otherwise their results would look unused.
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

/// The command without cargo.
fn without_cargo(folder: &std::path::Path, words: &[&str]) -> std::process::Output {
    let empty = folder.join("empty");
    fs::create_dir_all(&empty).unwrap();
    let mut command = command(folder);
    command.args(words).env_remove("CARGO").env("PATH", &empty);
    command.output().unwrap()
}

#[test]
fn a_package_is_tuned_where_there_is_no_cargo() {
    let (_root, folder) = package();
    let tuned = without_cargo(&folder, &["tune", "--emulated", "--candidates", "1", "--json"]);
    assert!(tuned.status.success(), "{}", text(&tuned.stderr));
    assert_eq!(json(&tuned)["tuned"], 2);
    // From another folder, and from a subfolder.
    let elsewhere = tempfile::tempdir().unwrap();
    let manifest = folder.join("Cargo.toml");
    let shown = without_cargo(
        elsewhere.path(),
        &["show", "--manifest-path", manifest.to_str().unwrap()],
    );
    assert!(text(&shown.stdout).contains("total"), "{}", text(&shown.stderr));
    let shown = without_cargo(&folder.join("src"), &["show", "--package", "demo"]);
    assert!(text(&shown.stdout).contains("total"), "{}", text(&shown.stderr));
    // The same package, so the same results.
    assert!(text(&call(&folder, &["show"]).stdout).contains("chosen"));
    for (words, says) in [
        (["check", "--json"], "total (R = 4, C = 64)"),
        (["ptx", "total"], ".visible .entry"),
        (["doctor", "--json"], "demo in "),
        (["clean", "--dry-run"], "would delete 1 file"),
        (["report", "--json"], "\"results\":2"),
    ] {
        let output = without_cargo(&folder, &words);
        assert!(text(&output.stdout).contains(says), "{words:?}: {output:?}");
    }
}

#[test]
fn metadata_in_a_file_takes_cargos_place() {
    let root = tempfile::tempdir().unwrap();
    fs::write(
        root.path().join("Cargo.toml"),
        "[workspace]\nmembers = [\"a\", \"b\"]\n",
    )
    .unwrap();
    for name in ["a", "b"] {
        let manifest = format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
        fs::create_dir_all(root.path().join(name).join("src")).unwrap();
        fs::write(root.path().join(name).join("Cargo.toml"), manifest).unwrap();
        let source = format!(
            "#[energy_kernel(tune(N = 4))] fn {name}(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {{ |i| x[[i]] }}"
        );
        fs::write(root.path().join(name).join("src/lib.rs"), source).unwrap();
    }
    let virtual_workspace = without_cargo(root.path(), &["show", "--package", "b"]);
    let says = text(&virtual_workspace.stderr);
    assert!(
        virtual_workspace.status.code() == Some(1) && says.contains("--metadata FILE"),
        "{says}"
    );

    let metadata = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(root.path())
        .output()
        .unwrap();
    fs::write(root.path().join("metadata.json"), &metadata.stdout).unwrap();
    let metadata = ["--metadata", "metadata.json"];
    let with = |words: &[&str]| without_cargo(root.path(), &[words, &metadata].concat());
    for name in ["a", "b"] {
        let shown = with(&["show", "--json", "--package", name]);
        assert_eq!(json(&shown)[0]["operator"], name, "{}", text(&shown.stderr));
    }
    let several = with(&["show"]);
    assert!(several.status.code() == Some(1) && text(&several.stderr).contains("--package: a, b"));
    let unknown = with(&["show", "--package", "c"]);
    assert!(unknown.status.code() == Some(1) && text(&unknown.stderr).contains("the packages are: a, b"));

    // Metadata from another path, and invalid metadata.
    fs::rename(root.path().join("b"), root.path().join("moved")).unwrap();
    let moved = with(&["show", "--package", "b"]);
    assert!(moved.status.code() == Some(1) && text(&moved.stderr).contains("which has no manifest"));
    fs::write(root.path().join("metadata.json"), "{").unwrap();
    let nonsense = with(&["show"]);
    assert!(nonsense.status.code() == Some(1) && text(&nonsense.stderr).contains("is not the metadata of a workspace"));
    fs::write(root.path().join("metadata.json"), "[]").unwrap();
    assert!(text(&with(&["show"]).stderr).contains("names no package"));
}
