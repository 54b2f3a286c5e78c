//! `check`: the gate in CI.

use crate::common::{call, json, package, real, ship, text};
use std::fs;

#[test]
fn real_and_fresh_results_cover_their_operators() {
    let (_root, folder) = package();
    ship(&folder, real);
    let check = call(&folder, &["check"]);
    assert_eq!(check.status.code(), Some(0), "{}", text(&check.stdout));
    assert_eq!(text(&check.stdout), "the shipped results cover 1 operator\n");
    let said = json(&call(&folder, &["check", "--json"]));
    assert!(said["covered"] == true && said["operators"] == 1, "{said}");
    let other = call(&folder, &["check", "--device", "H999"]);
    assert_eq!(other.status.code(), Some(1));
    let says = text(&other.stdout);
    assert!(
        says.contains("total (R = 4, C = 64): no real result of a GPU named `H999`"),
        "{says}"
    );
}

#[test]
fn simulated_results_cover_nothing() {
    let (_root, folder) = package();
    ship(&folder, |_| ());
    let check = call(&folder, &["check"]);
    assert_eq!(check.status.code(), Some(1));
    let says = text(&check.stdout);
    assert!(says.contains("total (R = 8, C = 64): simulated results only"), "{says}");
    assert!(says.contains("help: run `cargo energy-kernel tune --ship`"), "{says}");
    assert!(!says.contains("cover"), "{says}");
}

/// Results without operators, and operators that no build script embeds, are not covered.
#[test]
fn a_package_without_operators_or_build_script_is_not_covered() {
    let source =
        |text: &'static str| move |folder: &std::path::Path| fs::write(folder.join("src/lib.rs"), text).unwrap();
    type Change<'a> = &'a dyn Fn(&std::path::Path);
    let cases: [(Change<'_>, &str); 6] = [
        (&source(""), "demo: no operator was found in its source"),
        (
            &source("#[energy_kernel] fn f(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> { |i| x[[i]] }"),
            "demo: 1 operator in its source, none with `tune(…)`",
        ),
        (
            &source("macro_rules! m { () => { #[energy_kernel(tune(N = 4))] fn f() {} } }"),
            "no operator was found",
        ),
        (
            &|folder| fs::remove_file(folder.join("build.rs")).unwrap(),
            "demo has no build script, so no result is embedded",
        ),
        (
            &|folder| fs::write(folder.join("build.rs"), "fn main() {}").unwrap(),
            "build.rs does not call `energy_kernel_build`, so no result is embedded",
        ),
        (&source("energy_kernel fn half("), "src/lib.rs:1: "),
    ];
    for (change, says) in cases {
        let (_root, folder) = package();
        ship(&folder, real);
        change(&folder);
        let check = call(&folder, &["check"]);
        assert_eq!(check.status.code(), Some(1), "{says}");
        let said = text(&check.stdout);
        assert!(
            said.contains(says) && said.contains("help: ") && !said.contains("cover "),
            "{said}"
        );
        let said = json(&call(&folder, &["check", "--json"]));
        assert!(
            said["covered"] == false && !said["problems"].as_array().unwrap().is_empty(),
            "{said}"
        );
    }
}

/// Source is found by cargo's rules: `[lib] path`, `[[bin]] path`, `#[path]`.
#[test]
fn operators_outside_of_src_are_to_be_covered() {
    let (_root, folder) = package();
    let manifest = "[package]\nname = \"demo\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[lib]\npath = \"lib.rs\"\n\
                    [[bin]]\nname = \"tool\"\npath = \"tool.rs\"\n[workspace]\n";
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    fs::rename(folder.join("src/lib.rs"), folder.join("ops.rs")).unwrap();
    fs::write(folder.join("lib.rs"), "#[path = \"ops.rs\"] mod operators;").unwrap();
    let tool = "#[energy_kernel(tune(N = 64))] fn scale(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> { |i| x[[i]] * 2.0 } fn main() {}";
    fs::write(folder.join("tool.rs"), tool).unwrap();
    let check = call(&folder, &["check"]);
    assert_eq!(check.status.code(), Some(1));
    let says = text(&check.stdout);
    for operator in [
        "total (R = 4, C = 64): no shipped result",
        "scale (N = 64): no shipped result",
    ] {
        assert!(says.contains(operator), "{says}");
    }
    ship(&folder, real);
    let check = call(&folder, &["check"]);
    assert_eq!(text(&check.stdout), "the shipped results cover 2 operators\n");
}

/// Operators are counted, not their element types or sizes.
#[test]
fn an_operator_of_several_types_is_one() {
    let (_root, folder) = package();
    let source = "#[energy_kernel(types(T = [f16, bf16, f32]), tune(N = [16, 32]))]
        fn scale(x: Tensor<T, (N,)>) -> Tensor<T, (N,)> { |i| x[[i]] * 2.0 }";
    fs::write(folder.join("src/lib.rs"), source).unwrap();
    ship(&folder, real);
    assert_eq!(
        text(&call(&folder, &["check"]).stdout),
        "the shipped results cover 1 operator\n"
    );
    let doctor = text(&call(&folder, &["doctor"]).stdout);
    assert!(doctor.contains(": 1 operator with sizes to tune for\n"), "{doctor}");
}

/// A result whose kernel is no longer emitted is stale, and shown without its figures.
#[test]
fn stale_results_are_named_and_cover_nothing() {
    let (_root, folder) = package();
    let stale = |file: &mut energy_kernel_compiler::record::CacheFile| {
        file.records[0].front[0].kernel_hash = [7; 32];
        real(file);
    };
    ship(&folder, stale);
    fs::remove_dir_all(folder.join("cache")).unwrap();
    let shown = json(&call(&folder, &["show", "--json"]));
    assert_eq!(
        (&shown[0]["stale"], &shown[0]["latency_seconds"]),
        (&true.into(), &serde_json::Value::Null)
    );
    assert!(shown[1]["stale"] == false && shown[1]["latency_seconds"].is_f64());
    assert!(text(&call(&folder, &["show"]).stdout).contains("stale"));
    let check = call(&folder, &["check"]);
    assert_eq!(check.status.code(), Some(1));
    let says = text(&check.stdout);
    assert!(
        says.contains("total (R = 4, C = 64) on") && says.contains("stale"),
        "{says}"
    );
    assert!(
        says.contains("tune --again --ship") && !says.contains("R = 8"),
        "{says}"
    );
}
