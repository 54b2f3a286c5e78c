//! `report`.

use crate::common::{call, package, text};
use std::fs;

#[test]
fn a_report_is_one_file_that_needs_nothing_else() {
    let (_root, folder) = package();
    assert!(
        call(&folder, &["tune", "--emulated", "--candidates", "24"])
            .status
            .success()
    );
    let said = call(&folder, &["report", "--output", "r.html", "--json"]);
    let said: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    assert!(said["results"] == 2 && said["file"] == "r.html", "{said}");
    let html = fs::read_to_string(folder.join("r.html")).unwrap();
    assert_eq!(html.matches("<h2>total").count(), 2);
    assert_eq!(
        html.matches("class=\"simulated\"").count(),
        2,
        "simulated is said of each"
    );
    assert_eq!(html.matches("<svg").count(), 2);
    assert_eq!(html.matches("fill=\"#24c\"").count(), 2, "one point of each is chosen");
    for outside in ["http:", "https:", "src=", "href=", "<script", "NaN", "inf"] {
        assert!(!html.contains(outside), "{outside}");
    }
    let nowhere = call(&folder, &["report", "--output", "no/such/folder.html"]);
    assert!(nowhere.status.code() == Some(1) && text(&nowhere.stderr).contains("cannot be written"));
    // Stale results are shown without figures.
    for path in fs::read_dir(folder.join("cache/demo")).unwrap() {
        let path = path.unwrap().path();
        let mut file = energy_kernel_build::cache::read_file(&path).unwrap();
        file.records[0].front[0].kernel_hash = [7; 32];
        fs::write(&path, energy_kernel_compiler::record::encoding::encode(&file).unwrap()).unwrap();
    }
    assert!(call(&folder, &["report", "--output", "r.html"]).status.success());
    let html = fs::read_to_string(folder.join("r.html")).unwrap();
    assert!(html.matches("<svg").count() == 1 && html.contains("other kernels than were measured"));
}
