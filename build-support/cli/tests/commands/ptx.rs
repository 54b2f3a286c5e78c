//! `ptx`, and `show --sizes`: the kernel that a call would use.

use crate::common::{call, json, package, text};
use energy_kernel::{Gpu, Sizes, tools::Variant};
use std::fs;
use std::path::Path;

#[test]
fn kernels_are_printed_and_schedules_listed() {
    let (_root, folder) = package();
    let default = call(&folder, &["ptx", "total"]);
    assert!(
        text(&default.stdout).contains(".visible .entry"),
        "{}",
        text(&default.stderr)
    );
    let list = call(&folder, &["ptx", "total", "--list"]);
    let list = text(&list.stdout);
    let last = list.lines().last().unwrap();
    let asked = call(&folder, &["ptx", "total", "--schedule", last, "--sizes", "R=5,C=64"]);
    assert!(text(&asked.stdout).contains(last), "{}", text(&asked.stderr));
    let wrong = call(&folder, &["ptx", "total", "--schedule", "sideways"]);
    assert!(wrong.status.code() == Some(1) && text(&wrong.stderr).contains("sideways"));
    let sizes = call(&folder, &["ptx", "total", "--sizes", "R"]);
    assert!(sizes.status.code() == Some(1) && text(&sizes.stderr).contains("NAME=NUMBER"));
}

/// The kernel that the runtime runs untuned on a GPU of compute capability 9.0.
fn running(folder: &Path, operator: usize, sizes: &[(&str, u64)]) -> String {
    let found = energy_kernel_build::scan::scan(&energy_kernel_build::sources::Sources::of(folder, &[]));
    let all: Vec<_> = found.operators.into_iter().chain(found.without_tune).collect();
    let variant = Variant::new(all[operator].checked.clone(), "no-such-package").unwrap();
    let sizes: Sizes = sizes.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    variant.plan(&Gpu::emulated(), &sizes).unwrap().ptx().to_owned()
}

/// Without `tune(…)`, without results, and with tensors of 2³¹ elements and more.
#[test]
fn the_kernel_that_would_run_is_printed() {
    let (_root, folder) = package();
    let source = "
        #[energy_kernel(tune(N = 64))]
        fn scale(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> { |i| x[[i]] * 2.0 }
        #[energy_kernel]
        fn softmax(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R, C)> {
            let total = |r| sum(|c| exp(x[[r, c]]));
            |r, c| exp(x[[r, c]]) / total[[r]]
        }
    ";
    fs::write(folder.join("src/lib.rs"), source).unwrap();
    let printed = |words: &[&str]| {
        let output = call(&folder, &[&["ptx", "--json"], words].concat());
        assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
        json(&output)
    };
    for (words, operator, sizes) in [
        (&["scale"][..], 0, &[("N", 64)][..]),
        (&["scale", "--sizes", "N=100"], 0, &[("N", 100)]),
        (&["scale", "--sizes", "N=3000000000"], 0, &[("N", 3_000_000_000)]),
        (&["softmax", "--sizes", "R=100,C=1000"], 1, &[("R", 100), ("C", 1000)]),
        (
            &["softmax", "--sizes", "R=1000000,C=3000"],
            1,
            &[("R", 1_000_000), ("C", 3000)],
        ),
    ] {
        let said = printed(words);
        assert_eq!(said["ptx"], running(&folder, operator, sizes), "{words:?}");
        assert_eq!(said["origin"], "untuned");
    }
    let narrow = printed(&["scale", "--sizes", "N=300000000"]);
    let wide = printed(&["scale", "--sizes", "N=3000000000"]);
    assert!(
        narrow["ptx"] != wide["ptx"] && wide["sizes"] == "N = 3000000000",
        "{wide}"
    );

    let unknown = call(&folder, &["ptx", "softmax"]);
    let says = text(&unknown.stderr);
    assert!(
        unknown.status.code() == Some(1) && says.contains("--sizes R=1024,C=1024"),
        "{says}"
    );
    let none = call(&folder, &["ptx", "softmax", "--sizes", "R=4"]);
    assert!(
        none.status.code() == Some(1) && text(&none.stderr).contains('C'),
        "{}",
        text(&none.stderr)
    );
}

/// Like a call, it uses the next larger bucket's kernel.
#[test]
fn sizes_between_buckets_take_the_kernel_of_one() {
    let (_root, folder) = package();
    assert!(
        call(&folder, &["tune", "--emulated", "--candidates", "3"])
            .status
            .success()
    );
    let tuned = json(&call(&folder, &["show", "--json"]));
    let schedule = |sizes: &str| {
        let all = tuned.as_array().unwrap();
        all.iter().find(|one| one["sizes"] == sizes).unwrap()["schedule"].clone()
    };
    for (sizes, bucket) in [
        ("R=3,C=64", "R = 4, C = 64"),
        ("R=5,C=64", "R = 8, C = 64"),
        ("R=99,C=64", "R = 8, C = 64"),
    ] {
        let said = json(&call(&folder, &["ptx", "total", "--sizes", sizes, "--json"]));
        assert_eq!(said["schedule"], schedule(bucket), "{sizes}");
        let origin = said["origin"].as_str().unwrap();
        assert!(
            origin.starts_with(&format!("tuned for {bucket} on ")) && origin.ends_with(", simulated"),
            "{origin}"
        );
        let shown = json(&call(&folder, &["show", "total", "--sizes", sizes, "--json"]));
        assert_eq!(
            (&shown[0]["schedule"], &shown[0]["origin"]),
            (&said["schedule"], &said["origin"])
        );
    }
    let other = json(&call(&folder, &["ptx", "total", "--sizes", "R=4,C=65", "--json"]));
    assert_eq!(other["origin"], "untuned");
    let older = json(&call(&folder, &["ptx", "total", "--capability", "8.0", "--json"]));
    assert_eq!(older["origin"], "untuned");
}

#[test]
fn operators_without_tune_are_shown() {
    let (_root, folder) = package();
    let source = "#[energy_kernel] fn softmax(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> { |i| exp(x[[i]]) }";
    fs::write(folder.join("src/lib.rs"), source).unwrap();
    for words in [&["show"][..], &["show", "softmax"]] {
        let shown = text(&call(&folder, words).stdout);
        assert!(
            shown.contains("softmax") && shown.contains("no `tune(…)`: runs untuned"),
            "{shown}"
        );
    }
    let shown = json(&call(
        &folder,
        &["show", "softmax", "--sizes", "N=3000000000", "--json"],
    ));
    assert!(
        shown[0]["origin"] == "untuned"
            && shown[0]["schedule"]
                .as_str()
                .is_some_and(|s| s.starts_with("pointwise")),
        "{shown}"
    );
    let alone = call(&folder, &["show", "--sizes", "N=4"]);
    assert_eq!(alone.status.code(), Some(2), "sizes are one operator's");
}

/// Operators of one name differ in their places.
#[test]
fn operators_of_one_name_can_be_named() {
    let (_root, folder) = package();
    let operator = |factor| {
        format!(
            "#[energy_kernel(tune(N = 64))]\nfn scale(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {{ |i| x[[i]] * {factor}.0 }}\n"
        )
    };
    fs::write(
        folder.join("src/lib.rs"),
        format!("{}mod other {{\n{}}}", operator(2), operator(3)),
    )
    .unwrap();
    let ambiguous = call(&folder, &["ptx", "scale"]);
    let says = text(&ambiguous.stderr);
    let help = says.lines().find_map(|line| line.strip_prefix("help: name one of: "));
    let places: Vec<&str> = help.unwrap_or_else(|| panic!("{says}")).split(", ").collect();
    assert_eq!(places, ["src/lib.rs:2:scale", "src/lib.rs:5:scale"]);
    for (place, factor) in places.into_iter().zip(["0f40000000", "0f40400000"]) {
        let printed = text(&call(&folder, &["ptx", place]).stdout).to_lowercase();
        assert!(printed.contains(factor), "{place}: {printed}");
    }
}

/// Programs still use results from before an operator lost its `tune(…)`.
#[test]
fn results_outlive_tune() {
    let (_root, folder) = package();
    assert!(
        call(&folder, &["tune", "--emulated", "--candidates", "1"])
            .status
            .success()
    );
    let source = fs::read_to_string(folder.join("src/lib.rs")).unwrap();
    fs::write(
        folder.join("src/lib.rs"),
        source.replace("(tune(R = [4, 8], C = 64))", ""),
    )
    .unwrap();
    let printed = json(&call(&folder, &["ptx", "total", "--sizes", "R=4,C=64", "--json"]));
    assert!(
        printed["origin"]
            .as_str()
            .unwrap()
            .starts_with("tuned for R = 4, C = 64"),
        "{printed}"
    );
    let shown = json(&call(&folder, &["show", "--json"]));
    assert_eq!(shown.as_array().unwrap().len(), 2, "{shown}");
    let unused = call(&folder, &["clean", "--unused", "--dry-run"]);
    assert!(
        text(&unused.stdout).contains("would delete 0 files"),
        "{}",
        text(&unused.stdout)
    );
}
