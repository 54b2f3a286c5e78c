//! Finds import circles: files of a published crate that use each other, directly or through other files.
//!
//! A file uses another if its code names an item that the other defines: in a `use`, in a path, or in a macro. The finder follows re-exports to
//! the definition; a re-export alone does not count as a use. It skips code for tests. It does not see method calls, which name no file's item.

mod circles;
mod made_up;
mod resolve;
mod source;

use circles::circles;
use serde_json::Value;
use source::Source;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn no_file_of_a_published_crate_is_in_a_circle() {
    let mut complaints = Vec::new();
    let targets = published_targets();
    assert!(targets.len() >= 6, "{targets:?}");
    for Target { package, folder, root } in targets {
        let source = read(&root);
        let circles = circles(&source, &folder).unwrap_or_else(|error| panic!("{package}: {error}"));
        let found: usize = circles.iter().map(|circle| circle.files.len()).sum();
        println!("{package}: {found} of {} files are in circles", source.files.len());
        if found > 0 {
            let circles: Vec<String> = circles.iter().map(ToString::to_string).collect();
            complaints.push(format!("{package}: {}", circles.join("\n")));
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n\n"));
}

fn read(root: &Path) -> Source {
    Source::read(root, &|file| fs::read_to_string(file).ok()).unwrap_or_else(|error| panic!("{error}"))
}

/// A library or program of a published crate.
#[derive(Debug)]
struct Target {
    package: String,
    /// The package's folder.
    folder: PathBuf,
    /// The root file.
    root: PathBuf,
}

/// The targets of the workspace that users compile.
fn published_targets() -> Vec<Target> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut targets = Vec::new();
    // `publish` is null where nothing forbids it.
    for package in list(&metadata["packages"])
        .iter()
        .filter(|package| package["publish"].is_null())
    {
        let folder = Path::new(&text(&package["manifest_path"])).with_file_name("");
        let kinds = |target: &Value| list(&target["kind"]).iter().map(text).collect::<Vec<_>>();
        let used = |target: &&Value| {
            let kinds = kinds(target);
            kinds
                .iter()
                .any(|kind| ["lib", "proc-macro", "bin"].contains(&kind.as_str()))
        };
        targets.extend(list(&package["targets"]).iter().filter(used).map(|target| Target {
            package: text(&package["name"]),
            folder: folder.clone(),
            root: text(&target["src_path"]).into(),
        }));
    }
    targets
}

/// Every source file of a published crate is read, or belongs to a module for tests.
#[test]
fn no_file_is_overlooked() {
    let mut seen: Vec<PathBuf> = Vec::new();
    let mut tests: Vec<PathBuf> = Vec::new();
    let mut folders: Vec<PathBuf> = Vec::new();
    for Target { root, .. } in published_targets() {
        let source = read(&root);
        seen.extend(source.files);
        tests.extend(source.tests);
        folders.extend(root.parent().map(Path::to_owned));
    }
    let of_tests = |file: &Path| {
        tests
            .iter()
            .any(|test| file == test || file.starts_with(test.with_extension("")))
    };
    let mut overlooked = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            let rust = path.extension().is_some_and(|extension| extension == "rs");
            if path.is_dir() {
                folders.push(path);
            } else if rust && !seen.contains(&path) && !of_tests(&path) {
                overlooked.push(path);
            }
        }
    }
    assert!(overlooked.is_empty(), "{overlooked:#?}");
}
