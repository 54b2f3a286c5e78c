//! `clean`.

use crate::common::{call, command, package, text};
use std::fs;
use std::path::PathBuf;

#[test]
fn clean_deletes_what_it_says_and_no_more() {
    let (_root, folder) = package();
    assert!(
        call(&folder, &["tune", "--emulated", "--candidates", "1"])
            .status
            .success()
    );
    let cache = energy_kernel_build::cache::Cache::of(&folder, "demo", Some(&folder.join("cache")));
    let place = energy_kernel_build::cache::Place::User;
    let results = cache.files(place);
    assert_eq!(results.len(), 1);
    let journal = cache.state().unwrap().join("interrupted.journal");
    fs::write(&journal, "half").unwrap();
    let broken = folder.join("cache/demo/broken.ekcache");
    fs::write(&broken, "nonsense").unwrap();
    fs::create_dir(folder.join("energy-cache")).unwrap();
    let shipped = folder.join("energy-cache/shipped.ekcache");
    fs::copy(&results[0], &shipped).unwrap();
    let deleted = |words: &[&str]| {
        let said = call(&folder, &[&["clean", "--json"], words].concat());
        assert!(said.status.success(), "{}", text(&said.stderr));
        let said: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
        let files = said["deleted"]
            .as_array()
            .unwrap()
            .iter()
            .map(|file| PathBuf::from(file.as_str().unwrap()));
        files.collect::<Vec<PathBuf>>()
    };
    // Files in use are kept.
    let lock = cache.try_lock(energy_kernel_build::Lock::Tuning).unwrap().unwrap();
    let busy = call(&folder, &["clean"]);
    assert!(
        busy.status.code() == Some(1) && text(&busy.stderr).contains("another process is tuning demo"),
        "{}",
        text(&busy.stderr)
    );
    drop(lock);

    assert_eq!(deleted(&["--unused", "--dry-run"]), [&*broken]);
    assert!(broken.exists());
    assert_eq!(deleted(&["--unused"]), [&*broken]);
    assert!(!broken.exists() && results[0].exists() && journal.exists());
    assert_eq!(deleted(&["--dry-run"]), [&*results[0], &*journal]);
    assert_eq!(deleted(&[]), [&*results[0], &*journal]);
    assert!(!results[0].exists() && !journal.exists() && shipped.exists());
    assert_eq!(deleted(&["--shipped"]), [&*shipped]);
    assert!(text(&call(&folder, &["show"]).stdout).contains("untuned"));
    assert_eq!(deleted(&[]), Vec::<PathBuf>::new());
}

/// A file that is being edited does not show which operators exist.
#[test]
fn what_cannot_be_parsed_is_said_and_its_results_are_not_unused() {
    let (_root, folder) = package();
    assert!(
        call(&folder, &["tune", "--emulated", "--candidates", "1"])
            .status
            .success()
    );
    let source = fs::read_to_string(folder.join("src/lib.rs")).unwrap();
    let clean = ["clean", "--unused", "--dry-run"];
    for (broken, says) in [
        (format!("{source}\nfn half("), "src/lib.rs:"),
        (source.replace("x[[r, c]]", "y[[r, c]]"), "src/lib.rs:3: "),
    ] {
        fs::write(folder.join("src/lib.rs"), broken).unwrap();
        let shown = call(&folder, &["show"]);
        assert!(text(&shown.stderr).contains(says), "{}", text(&shown.stderr));
        let check = call(&folder, &["check"]);
        assert_eq!(check.status.code(), Some(1), "{}", text(&check.stdout));
        assert!(text(&check.stdout).contains(says), "{}", text(&check.stdout));
        assert!(text(&call(&folder, &clean).stdout).contains("would delete 0 files"));
    }
    fs::write(folder.join("src/lib.rs"), "").unwrap();
    assert!(text(&call(&folder, &clean).stdout).contains("would delete 1 file ("));
}

/// `clean` keeps the results that another checkout of the package uses, shared or not.
#[test]
fn clean_leaves_other_checkouts_alone() {
    let (_first, first) = package();
    let (_second, second) = package();
    let other =
        "#[energy_kernel(tune(N = 8))] pub fn other(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> { |n| x[[n]] + 1.0 }";
    let source = fs::read_to_string(second.join("src/lib.rs")).unwrap();
    fs::write(second.join("src/lib.rs"), format!("{source}\n{other}")).unwrap();
    let in_cache_of_first = |folder: &std::path::Path, words: &[&str]| {
        let mut command = command(folder);
        let output = command
            .args(words)
            .env("ENERGY_KERNEL_CACHE_DIR", first.join("cache"))
            .output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let tune = ["tune", "--emulated", "--candidates", "1", "--json"];
    in_cache_of_first(&first, &tune);
    let shared = in_cache_of_first(&second, &tune);
    assert!(
        shared.contains("\"tuned\":1"),
        "the first's result is the second's: {shared}"
    );
    // Otherwise one result would look unused, and the other would be deleted with the first checkout's own.
    assert!(in_cache_of_first(&first, &["clean", "--unused"]).contains("deleted 0 files"));
    let cleaned = in_cache_of_first(&first, &["clean"]);
    assert!(
        cleaned.contains("deleted 0 files") && cleaned.contains("kept 2 files that other checkouts"),
        "{cleaned}"
    );
    assert!(in_cache_of_first(&second, &["show"]).contains("simulated"));
    // After the other checkout is gone, its results and state are unused.
    fs::remove_dir_all(&second).unwrap();
    assert!(
        in_cache_of_first(&first, &["clean", "--unused"]).contains("deleted 1 file ("),
        "that of `other`"
    );
    let cleaned = in_cache_of_first(&first, &["clean"]);
    assert!(cleaned.contains("checkout") && !cleaned.contains("kept"), "{cleaned}");
}
