//! `check`: the gate in CI.

use crate::common::{call, package, text};
use std::fs;

/// Measured with kernels that are emitted no more: used and reported, without its figures.
#[test]
fn stale_results_are_shown_without_figures() {
    let (_root, folder) = package();
    let tuned = call(&folder, &["tune", "--emulated", "--candidates", "1"]);
    assert!(tuned.status.success(), "{}", text(&tuned.stderr));
    fs::create_dir(folder.join("energy-cache")).unwrap();
    for path in fs::read_dir(folder.join("cache/demo")).unwrap() {
        let path = path.unwrap().path();
        let mut file = energy_kernel_build::cache::read_file(&path).unwrap();
        file.records[0].front[0].kernel_hash = [7; 32];
        let bytes = energy_kernel_compiler::record::encoding::encode(&file).unwrap();
        fs::write(folder.join("energy-cache").join(path.file_name().unwrap()), &bytes).unwrap();
        fs::write(&path, bytes).unwrap();
    }
    let shown = text(&call(&folder, &["show", "--json"]).stdout);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        (&shown[0]["stale"], &shown[0]["latency_seconds"]),
        (&true.into(), &serde_json::Value::Null)
    );
    assert!(shown[1]["stale"] == false && shown[1]["latency_seconds"].is_f64());
    assert!(text(&call(&folder, &["show"]).stdout).contains("stale"));
    let check = call(&folder, &["check"]);
    assert_eq!(check.status.code(), Some(0), "stale results cover their operators");
    assert!(
        text(&check.stdout).contains("total (R = 4, C = 64) on"),
        "{}",
        text(&check.stdout)
    );
}
