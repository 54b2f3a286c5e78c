//! `doctor`.

use crate::common::{call, command, json, package, text};
use std::fs;

#[test]
fn the_doctor_names_a_cache_that_is_elsewhere_for_everybody_and_packages_to_choose_from() {
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
        fs::write(root.path().join(name).join("src/lib.rs"), "").unwrap();
    }
    let mut doctor = command(root.path());
    let output = doctor
        .arg("doctor")
        .env("ENERGY_KERNEL_CACHE_DIR", "here")
        .output()
        .unwrap();
    let says = text(&output.stdout);
    assert!(
        says.contains("here means another folder") && says.contains("absolute path"),
        "{says}"
    );
    assert!(says.contains("name one of them with --package: a, b"), "{says}");
    assert!(!root.path().join("here").exists());
}

#[test]
fn the_doctor_names_broken_caches() {
    let (_root, folder) = package();
    fs::create_dir(folder.join("energy-cache")).unwrap();
    fs::write(folder.join("energy-cache/x.ekcache"), "nonsense").unwrap();
    let doctor = call(&folder, &["doctor"]);
    assert_eq!(doctor.status.code(), Some(1));
    let stdout = text(&doctor.stdout);
    assert!(
        stdout.contains("x.ekcache") && stdout.contains("problem  shipped results"),
        "{stdout}"
    );
}

#[test]
#[cfg(unix)]
fn the_doctor_names_a_cache_that_others_may_write() {
    use std::os::unix::fs::PermissionsExt;
    let (_root, folder) = package();
    fs::create_dir(folder.join("cache")).unwrap();
    for (mode, state) in [(0o700, "ok"), (0o777, "problem")] {
        fs::set_permissions(folder.join("cache"), fs::Permissions::from_mode(mode)).unwrap();
        let said = text(&call(&folder, &["doctor", "--json"]).stdout);
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        let findings = said.as_array().unwrap();
        let cache = findings
            .iter()
            .find(|finding| finding["what"] == "user's cache")
            .unwrap();
        assert_eq!(cache["state"], state, "{said}");
    }
}

/// The problems, except those of GPUs: the machine may have any GPU.
fn problems(folder: &std::path::Path) -> Vec<String> {
    let doctor = call(folder, &["doctor", "--json"]);
    let said = json(&doctor);
    let problems = said
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["state"] == "problem");
    let (device, others): (Vec<_>, Vec<_>) = problems.partition(|finding| finding["section"] == "device");
    let is_ill = !(device.is_empty() && others.is_empty());
    assert_eq!(doctor.status.code(), Some(i32::from(is_ill)), "{said}");
    others
        .iter()
        .map(|finding| finding["what"].as_str().unwrap().to_owned())
        .collect()
}

/// A healthy package, no package, a package without operators, and a workspace have no problems.
#[test]
fn what_is_absent_is_no_problem() {
    let (_root, folder) = package();
    assert_eq!(problems(&folder), [""; 0]);
    let nowhere = tempfile::tempdir().unwrap();
    assert_eq!(problems(nowhere.path()), [""; 0]);
    fs::remove_file(folder.join("build.rs")).unwrap();
    fs::write(folder.join("src/lib.rs"), "").unwrap();
    assert_eq!(problems(&folder), [""; 0]);
    let says = text(&call(&folder, &["doctor"]).stdout);
    assert!(says.contains("demo in ") && says.contains(": no operators\n"), "{says}");
    assert!(!says.contains("build script"), "{says}");
    for section in ["device", "cache", "package"] {
        assert_eq!(says.lines().filter(|line| *line == section).count(), 1, "{says}");
    }
}

#[test]
fn a_build_script_that_tunes_nothing_is_a_problem() {
    let (_root, folder) = package();
    fs::write(folder.join("build.rs"), "fn main() {}").unwrap();
    assert_eq!(problems(&folder), ["build script"]);
    fs::remove_file(folder.join("build.rs")).unwrap();
    assert_eq!(problems(&folder), ["build script"]);
    let says = text(&call(&folder, &["doctor"]).stdout);
    assert!(
        says.contains("demo has no build script: `cargo build` tunes and embeds nothing"),
        "{says}"
    );
}

#[test]
fn a_package_that_is_asked_for_and_missing_is_a_problem() {
    let (_root, folder) = package();
    for words in [
        ["--manifest-path", "absent/Cargo.toml"],
        ["--package", "absent"],
        ["--metadata", "absent"],
    ] {
        let doctor = call(&folder, &[&["doctor", "--json"], words.as_slice()].concat());
        assert_eq!(doctor.status.code(), Some(1), "{words:?}");
        assert!(text(&doctor.stdout).contains("absent"), "{}", text(&doctor.stdout));
    }
}
