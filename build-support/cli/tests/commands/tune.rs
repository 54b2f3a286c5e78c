//! `tune`.

use crate::common::{call, command, json, package, ship, text};
use energy_kernel_build::cache::{Cache, Place, read_file};
use energy_kernel_compiler::record::encoding::encode;
use std::fs;

#[test]
fn without_a_place_for_results_nothing_is_tuned() {
    let (_root, folder) = package();
    let tuned = command(&folder)
        .args(["tune", "--emulated"])
        .env("ENERGY_KERNEL_CACHE_DIR", folder.join("Cargo.toml"))
        .output()
        .unwrap();
    assert_eq!(tuned.status.code(), Some(1));
    assert!(
        text(&tuned.stderr).contains("ENERGY_KERNEL_CACHE_DIR"),
        "{}",
        text(&tuned.stderr)
    );
}

#[test]
fn tuning_on_the_emulated_device_is_shown() {
    let (_root, folder) = package();
    let before = call(&folder, &["show", "--json"]);
    assert_eq!(
        text(&before.stdout).matches("null").count(),
        2,
        "{}",
        text(&before.stderr)
    );
    let words = ["tune", "--emulated", "--candidates", "3", "--json"];
    let tuned = call(&folder, &words);
    assert!(tuned.status.success(), "{}", text(&tuned.stderr));
    assert!(text(&tuned.stdout).contains("\"tuned\":2") && text(&tuned.stdout).contains("\"simulated\":true"));
    assert!(text(&call(&folder, &words).stdout).contains("\"tuned\":0"));
    let shown = call(&folder, &["show"]);
    assert!(
        text(&shown.stdout).contains("simulated") && text(&shown.stdout).contains("total"),
        "{}",
        text(&shown.stdout)
    );
    let check = call(&folder, &["check"]);
    assert_eq!(check.status.code(), Some(1));
    assert!(
        text(&check.stdout).contains("total (R = 4, C = 64): no shipped result"),
        "{}",
        text(&check.stdout)
    );
    let other = call(&folder, &["tune", "--emulated", "--operator", "absent"]);
    assert!(other.status.code() == Some(1) && text(&other.stderr).contains("total"));
}

#[test]
fn a_result_far_from_its_roofline_is_a_warning() {
    let (_root, folder) = package();
    let source = "
        #[energy_kernel(tune(N = 16384))]
        fn running(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> { |n| sum(|m| if m <= n { x[[m]] } else { 0.0 }) }
        #[energy_kernel(tune(N = 1024))]
        fn copy(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> { |n| x[[n]] }
    ";
    fs::write(folder.join("src/lib.rs"), source).unwrap();
    let tuned = call(&folder, &["tune", "--emulated", "--candidates", "1", "--json"]);
    let said = text(&tuned.stderr);
    assert_eq!(said.matches(" times its roofline by the estimate").count(), 1, "{said}");
    assert!(said.contains("warning: running (N = 16384): "), "{said}");
    let results = json(&tuned)["results"].clone();
    let slow = |name: &str| {
        let mut all = results.as_array().into_iter().flatten();
        all.find(|result| result["operator"] == name)
            .map(|result| !result["slow"].is_null())
    };
    assert_eq!((slow("running"), slow("copy")), (Some(true), Some(false)), "{results}");
}

/// A tuning that is killed at any time leaves complete files, and the next one resumes.
#[test]
fn a_tuning_that_was_killed_goes_on() {
    let (_root, folder) = package();
    let source = "
        #[energy_kernel(tune(M = [64, 96, 128], N = 64, K = 128))]
        pub fn product(x: Tensor<f32, (M, K)>, w: Tensor<f32, (N, K)>) -> Tensor<f32, (M, N)> {
            |m, n| sum(|k| x[[m, k]] * w[[n, k]])
        }
    ";
    fs::write(folder.join("src/lib.rs"), source).unwrap();
    for patience in [50, 150, 400] {
        let mut child = command(&folder)
            .args(["tune", "--emulated", "--candidates", "8", "--json"])
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(patience));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let last = call(&folder, &["tune", "--emulated", "--candidates", "8", "--json"]);
    assert!(last.status.success(), "{}", text(&last.stderr));
    assert_eq!(text(&last.stderr), "", "no file was left damaged");
    let shown = call(&folder, &["show", "--json"]);
    assert_eq!(
        text(&shown.stdout).matches("\"chosen\":true").count(),
        3,
        "{}",
        text(&shown.stdout)
    );
}

/// The error names the folder, the other sizes are tuned, and nothing is measured again.
#[test]
fn what_cannot_be_kept_costs_no_measurement() {
    let (_root, folder) = package();
    let words = ["tune", "--emulated", "--candidates", "3", "--json"];
    assert!(call(&folder, &words).status.success());
    let cache = energy_kernel_build::cache::Cache::of(&folder, "demo", Some(&folder.join("cache")));
    let result = cache.files(energy_kernel_build::cache::Place::User).remove(0);
    fs::remove_file(&result).unwrap();
    fs::create_dir(&result).unwrap();
    let tuned = call(&folder, &words);
    assert_eq!(tuned.status.code(), Some(1));
    assert!(text(&tuned.stdout).contains("\"failed\":2"), "{}", text(&tuned.stdout));
    let says = text(&tuned.stderr);
    for part in ["R = 4", "R = 8", folder.join("cache/demo").to_str().unwrap()] {
        assert!(says.contains(part), "{says}");
    }
    let journals = || {
        let files = fs::read_dir(cache.state().unwrap()).unwrap().flatten();
        files
            .filter(|file| file.path().extension().is_some_and(|e| e == "journal"))
            .count()
    };
    assert_eq!(journals(), 2);
    fs::remove_dir(&result).unwrap();
    assert!(text(&call(&folder, &words).stdout).contains("\"tuned\":2"));
    assert_eq!(journals(), 0);
}

#[test]
fn a_dry_run_tunes_nothing() {
    let (_root, folder) = package();
    let words = ["tune", "--emulated", "--candidates", "3", "--dry-run"];
    let said = call(&folder, &[words.as_slice(), &["--json"]].concat());
    assert!(said.status.success(), "{}", text(&said.stderr));
    let said: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    let jobs = said["would_tune"].as_array().unwrap();
    assert_eq!(jobs.len(), 2);
    assert!(jobs[0]["operator"] == "total" && jobs[0]["candidates"] == 3 && jobs[0]["schedules"].as_u64() > Some(3));
    assert!(!folder.join("cache").exists(), "nothing is written");
    let said = text(&call(&folder, &words).stdout);
    assert!(
        said.contains("2 of 2 sizes to tune") && said.contains("total (R = 4, C = 64): up to 3 of"),
        "{said}"
    );
}

/// A dry run predicts that a device refuses an operator. The hint does not name the command itself.
#[test]
fn what_is_too_large_for_the_device_is_said_before() {
    let (_root, folder) = package();
    let source = fs::read_to_string(folder.join("src/lib.rs")).unwrap();
    fs::write(
        folder.join("src/lib.rs"),
        source.replace("R = [4, 8]", "R = 4000000000"),
    )
    .unwrap();
    let words = ["tune", "--emulated", "--candidates", "3"];
    let foretold = text(&call(&folder, &[words.as_slice(), &["--dry-run"]].concat()).stdout);
    let says = "operations are more than the 1e11 that the emulated device allows";
    assert!(foretold.contains(&format!("none: some 1e12 {says}")), "{foretold}");
    let tuned = text(&call(&folder, &words).stderr);
    assert!(tuned.contains(says) && !tuned.contains("tune --emulated"), "{tuned}");
}

/// An operator whose fastest kernel does not need the least energy, on the emulated device.
const TRANSPOSE: &str = "#[energy_kernel(tune(R = 512, C = [384, 640, 768]))]
    fn transpose(x: Tensor<f32, (R, C)>) -> Tensor<f32, (C, R)> { |c, r| x[[r, c]] }";

/// Another objective chooses another kernel from the same measurements.
#[test]
fn the_objective_decides_what_is_chosen() {
    let (_root, folder) = package();
    fs::write(folder.join("src/lib.rs"), TRANSPOSE).unwrap();
    let sweep = ["tune", "--emulated", "--candidates", "24", "--sweep", "trace.jsonl"];
    assert!(call(&folder, &sweep).status.success());
    let mut schedules = Vec::new();
    for objective in [
        &["--objective", "latency"][..],
        &["--objective", "edp"],
        &["--objective", "energy", "--slack", "9"],
    ] {
        let words = ["tune", "--device", "replay:trace.jsonl", "--again"];
        let tuned = call(&folder, &[&words, objective].concat());
        assert!(tuned.status.success(), "{}", text(&tuned.stderr));
        let shown = call(&folder, &["show", "--front", "--json"]);
        let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
        let said = text(&tuned.stdout);
        let cost = |point: &serde_json::Value| {
            let of = |name: &str| point[name].as_f64().unwrap();
            match objective[1] {
                "latency" => of("latency_seconds"),
                "edp" => of("latency_seconds") * of("energy_joules"),
                _ => of("energy_joules"),
            }
        };
        let mut chosen = Vec::new();
        for columns in [384, 640, 768] {
            let sizes = format!("R = 512, C = {columns}");
            let line = said.lines().find(|line| line.contains(&format!("({sizes})"))).unwrap();
            let points = shown.as_array().unwrap().iter();
            let front = points.filter(|point| point["sizes"] == sizes.as_str());
            let best = front.min_by(|a, b| cost(a).total_cmp(&cost(b))).unwrap();
            let schedule = best["schedule"].as_str().unwrap();
            assert!(line.ends_with(schedule), "{objective:?}: {line}, but {best}");
            chosen.push(schedule.to_owned());
        }
        schedules.push(chosen);
    }
    assert_ne!(
        schedules[0], schedules[2],
        "the fastest needs the least energy everywhere"
    );
}

/// On the emulated device the energies of both kernels are exact.
#[test]
fn a_confirmation_compares_the_chosen_with_the_fastest() {
    let (_root, folder) = package();
    fs::write(folder.join("src/lib.rs"), TRANSPOSE).unwrap();
    let words = [
        "tune",
        "--emulated",
        "--candidates",
        "24",
        "--slack",
        "9",
        "--confirm",
        "--pairs",
        "4",
        "--json",
    ];
    let said = call(&folder, &words);
    assert!(said.status.success(), "{}", text(&said.stderr));
    let said: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    let confirmed = said["confirmed"].as_array().unwrap();
    assert_eq!(confirmed.len(), 3);
    let shown = call(&folder, &["show", "--front", "--json"]);
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    let mut compared = 0;
    for one in confirmed {
        assert!(one["simulated"] == true, "{one}");
        let front = shown
            .as_array()
            .unwrap()
            .iter()
            .filter(|point| point["sizes"] == one["sizes"]);
        let energies: Vec<f64> = front.map(|point| point["energy_joules"].as_f64().unwrap()).collect();
        // With this slack the last point of the front is chosen.
        let expected = 1.0 - energies.last().unwrap() / energies[0];
        match one["compared"].as_object() {
            None => assert_eq!(energies.len(), 1, "{one}"),
            Some(comparison) => {
                compared += 1;
                assert!(
                    (comparison["saving"].as_f64().unwrap() - expected).abs() < 1e-9,
                    "{one}, {energies:?}"
                );
                assert!(comparison["pairs"] == 4 && comparison["decided"] == true, "{one}");
            }
        }
    }
    assert!(compared > 0, "the fronts have more than one point: {shown}");
}

/// --ship refuses simulated results before measuring anything, whatever the trace's device is called.
#[test]
fn simulated_results_are_not_shipped() {
    let (_root, folder) = package();
    let sweep = ["tune", "--emulated", "--candidates", "2", "--sweep", "trace.jsonl"];
    assert!(call(&folder, &sweep).status.success());
    for device in ["emulated", "replay:trace.jsonl"] {
        let words = ["tune", "--device", device, "--ship"];
        for _ in 0..2 {
            let refused = call(&folder, &words);
            assert_eq!(refused.status.code(), Some(1), "{device}");
            assert_eq!(
                text(&refused.stderr),
                "error: nothing to ship: all results are simulated. Run `cargo energy-kernel tune --ship` on a machine with a GPU.\n"
            );
        }
        assert!(!folder.join("cache").exists(), "nothing was tuned");
        let dry = call(&folder, &[words.as_slice(), &["--dry-run", "--json"]].concat());
        assert_eq!(dry.status.code(), Some(1), "{device}");
        assert!(json(&dry)["error"].as_str().unwrap().starts_with("nothing to ship"));
    }
    assert!(!folder.join("energy-cache").exists());
}

#[test]
fn results_of_a_real_device_are_shipped() {
    let (_root, folder) = package();
    let sweep = ["tune", "--emulated", "--candidates", "2", "--sweep", "trace.jsonl"];
    assert!(call(&folder, &sweep).status.success());
    // Like a trace of a real GPU.
    let trace = fs::read_to_string(folder.join("trace.jsonl")).unwrap();
    let profile = trace
        .split("\"simulated_profile\":")
        .nth(1)
        .and_then(|rest| rest.split([',', '}']).next());
    let real = trace.replace("\"simulated\":true", "\"simulated\":false").replace(
        &format!("\"simulated_profile\":{}", profile.unwrap()),
        "\"simulated_profile\":null",
    );
    fs::write(folder.join("real.jsonl"), real).unwrap();
    let shipped = call(&folder, &["tune", "--device", "replay:real.jsonl", "--ship", "--json"]);
    assert!(shipped.status.success(), "{}", text(&shipped.stderr));
    assert_eq!(json(&shipped)["shipped"].as_array().unwrap().len(), 1);
    let check = call(&folder, &["check"]);
    assert_eq!(check.status.code(), Some(0), "{}", text(&check.stdout));
}

#[test]
fn an_operator_without_sizes_cannot_be_tuned() {
    let (_root, folder) = package();
    let source = "#[energy_kernel] fn softmax(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> { |i| exp(x[[i]]) }";
    fs::write(folder.join("src/lib.rs"), source).unwrap();
    for (words, says) in [
        (
            &["tune", "--emulated"][..],
            "demo has no operator with sizes to tune for (1 operator without)",
        ),
        (
            &["tune", "--emulated", "--operator", "softmax"],
            "`softmax` has no sizes to tune for",
        ),
    ] {
        let tuned = call(&folder, words);
        let said = text(&tuned.stderr);
        assert!(
            tuned.status.code() == Some(1) && said.contains(says) && said.contains("help: give it `tune(…)`"),
            "{said}"
        );
    }
}

/// The clock was wrong during a measurement.
#[test]
fn what_is_measured_again_replaces_a_result_of_the_future() {
    let (_root, folder) = package();
    let tune = ["tune", "--emulated", "--candidates", "1"];
    assert!(call(&folder, &tune).status.success());
    let cache = Cache::of(&folder, "demo", Some(&folder.join("cache")));
    let path = cache.files(Place::User).remove(0);
    let mut file = read_file(&path).unwrap();
    let now = file.records[0].measured_at;
    for record in &mut file.records {
        record.measured_at = now + 24 * 3600;
    }
    fs::write(&path, encode(&file).unwrap()).unwrap();
    fs::create_dir(folder.join("energy-cache")).unwrap();
    fs::copy(&path, folder.join("energy-cache").join(path.file_name().unwrap())).unwrap();
    let again = call(&folder, &[tune.as_slice(), &["--again"]].concat());
    assert!(
        again.status.success() && again.stderr.is_empty(),
        "{}",
        text(&again.stderr)
    );
    let kept = read_file(&path).unwrap();
    assert!(kept.records.iter().all(|record| record.measured_at < now + 3600));
    let shown = json(&call(&folder, &["show", "--json"]));
    let used = shown.as_array().unwrap().iter();
    let used = used.filter_map(|point| point["measured_at"].as_u64());
    assert!(
        used.clone().count() > 0 && used.into_iter().all(|at| at < now + 3600),
        "{shown}"
    );
}

/// Cases that once gave a false warning, or none.
#[test]
fn why_an_earlier_result_stays_in_use_is_said_truly() {
    let (_root, folder) = package();
    let tune = ["tune", "--emulated", "--candidates", "1", "--again"];
    let mut doubted = 0;
    ship(&folder, |file| {
        // A newer version has searched a newer space.
        file.records.iter_mut().for_each(|record| record.space_version += 1);
        doubted = file.records.len();
    });
    let again = call(&folder, &tune);
    assert!(again.status.success());
    let said = text(&again.stderr);
    assert_eq!(
        said.matches("the earlier result stays in use: it comes from a newer schedule space")
            .count(),
        doubted,
        "{said}"
    );
}

#[test]
fn sizes_that_are_assumed_are_said() {
    let (_root, folder) = package();
    let source = fs::read_to_string(folder.join("src/lib.rs")).unwrap();
    fs::write(folder.join("src/lib.rs"), source.replace(", C = 64", "")).unwrap();
    for words in [&["tune", "--emulated", "--dry-run"][..], &["show"]] {
        let said = text(&call(&folder, words).stderr);
        assert!(
            said.contains("total (") && said.contains("is tuned for C = 1024"),
            "{said}"
        );
    }
}

/// A relative path would mean another folder to each build script, command and program.
#[test]
fn a_relative_cache_is_refused_by_every_command() {
    let (root, folder) = package();
    for words in [
        &["tune", "--emulated"][..],
        &["show"],
        &["clean"],
        &["report"],
        &["check"],
        &["ptx", "total"],
    ] {
        let mut command = command(&folder);
        let output = command
            .args(words)
            .env("ENERGY_KERNEL_CACHE_DIR", "rel")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        assert!(
            text(&output.stderr).contains("rel means another folder"),
            "{words:?}: {}",
            text(&output.stderr)
        );
    }
    assert!(!folder.join("rel").exists() && !root.path().join("rel").exists());
}
