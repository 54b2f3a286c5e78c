//! `report`.

use crate::common::{call, json, package, text};
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

#[test]
fn a_report_lists_operators_far_from_their_roofline() {
    let (_root, folder) = package();
    let source = "
        #[energy_kernel(tune(A = 8192, F = 1024, X = 8, D = 1024))]
        fn experts(y: Tensor<f16, (A, F)>, w: Tensor<f16, (X, D, F)>, expert: Tensor<i32, (A,)>) -> Tensor<f16, (A, D)> {
            |a, d| sum(|f| y[[a, f]] * w[[expert[[a]], d, f]])
        }
        #[energy_kernel(tune(N = 16777216))]
        fn copy(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> { |n| x[[n]] }
    ";
    fs::write(folder.join("src/lib.rs"), source).unwrap();
    let said = json(&call(&folder, &["report", "--output", "r.html", "--json"]));
    let slow = said["slow"].as_array().unwrap();
    assert!(
        slow.len() == 1 && slow[0]["operator"] == "experts" && slow[0]["device"] == "H100" && slow[0]["tuned"] == false,
        "{said}"
    );
    let verdict = &slow[0]["slow"];
    let seconds = |name: &str| verdict[name].as_f64().unwrap();
    assert!(
        seconds("estimate_seconds") > 4.0 * seconds("roofline_seconds"),
        "{said}"
    );
    let html = fs::read_to_string(folder.join("r.html")).unwrap();
    let listed = html.split("<h2>Far from the roofline</h2>").nth(1).unwrap();
    let listed = listed.split("</ul>").next().unwrap();
    assert!(
        listed.contains("experts (A = 8192") && !listed.contains("copy (N"),
        "{html}"
    );
}
