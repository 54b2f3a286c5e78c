//! `doctor`.

use crate::common::{call, command, package, text};
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
        stdout.contains("problem shipped results") && stdout.contains("x.ekcache"),
        "{stdout}"
    );
}

#[test]
#[cfg(unix)]
fn the_doctor_names_a_cache_that_others_may_write() {
    use std::os::unix::fs::PermissionsExt;
    let (_root, folder) = package();
    fs::create_dir(folder.join("cache")).unwrap();
    for (mode, well) in [(0o700, true), (0o777, false)] {
        fs::set_permissions(folder.join("cache"), fs::Permissions::from_mode(mode)).unwrap();
        let said = text(&call(&folder, &["doctor", "--json"]).stdout);
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        let findings = said.as_array().unwrap();
        let cache = findings
            .iter()
            .find(|finding| finding["what"] == "user's cache")
            .unwrap();
        assert_eq!(cache["well"], well, "{said}");
    }
}
