//! `tune --sweep`, and replays of its traces.

use crate::common::{call, package, text};
use std::fs;

#[test]
fn a_sweep_is_recorded_and_tuned_on() {
    let (_root, folder) = package();
    let sweep = [
        "tune",
        "--device",
        "emulated",
        "--candidates",
        "4",
        "--sweep",
        "trace.jsonl",
    ];
    let few = call(&folder, &[sweep.as_slice(), &["--measurements", "1"]].concat());
    assert!(few.status.success(), "{}", text(&few.stderr));
    let said = text(&few.stdout);
    assert!(
        said.contains("total (R = 8, C = 64): 1 point, 1 new; 3 left for another time"),
        "{said}"
    );
    let all = call(&folder, &[sweep.as_slice(), &["--json"]].concat());
    let said: serde_json::Value = serde_json::from_slice(&all.stdout).unwrap();
    let swept = said["swept"].as_array().unwrap();
    assert!(
        swept.len() == 2 && swept.iter().all(|one| one["points"] == 4 && one["known"] == 1),
        "{said}"
    );
    assert!(
        said["simulated"] == true && !folder.join("cache").exists(),
        "nothing is tuned"
    );

    let replay = ["tune", "--device", "replay:trace.jsonl", "--json"];
    let foretold = call(&folder, &[replay.as_slice(), &["--dry-run"]].concat());
    let foretold: serde_json::Value = serde_json::from_slice(&foretold.stdout).unwrap();
    let jobs = foretold["would_tune"].as_array().unwrap();
    assert!(
        jobs.len() == 2 && jobs.iter().all(|job| job["schedules"] == 4 && job["candidates"] == 4),
        "a trace has its points and no more: {foretold}"
    );
    let tuned = call(&folder, &replay);
    assert!(tuned.status.success(), "{}", text(&tuned.stderr));
    assert!(text(&tuned.stdout).contains("\"tuned\":2") && text(&tuned.stdout).contains("\"simulated\":true"));
    let shown = text(&call(&folder, &["show", "--json"]).stdout);
    assert_eq!(shown.matches("\"chosen\":true").count(), 2, "{shown}");
    // Newer measurements stay.
    let fresh = ["tune", "--emulated", "--again", "--candidates", "4"];
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert!(call(&folder, &fresh).status.success());
    let again = call(&folder, &[replay.as_slice(), &["--again"]].concat());
    assert!(
        text(&again.stderr).contains("the earlier result stays in use: it was measured later"),
        "{}",
        text(&again.stderr)
    );

    for (words, says) in [
        (&[replay.as_slice(), &["--confirm"]].concat(), "needs a device"),
        (&[replay.as_slice(), &["--sweep", "other"]].concat(), "needs a device"),
        (&vec!["tune", "--device", "replay:Cargo.toml"], "line 1"),
        (&vec!["tune", "--emulated", "--sweep", "Cargo.toml"], "line 1"),
        (&vec!["tune", "--device", "replay:absent"], "absent"),
        (&vec!["tune", "--emulated", "--warm-l2"], "on a GPU"),
    ] {
        let failed = call(&folder, words);
        assert!(
            failed.status.code() == Some(1) && (text(&failed.stderr) + &text(&failed.stdout)).contains(says),
            "{words:?}: {}",
            text(&failed.stderr)
        );
    }
    assert!(
        fs::read_to_string(folder.join("Cargo.toml"))
            .unwrap()
            .starts_with("[package]")
    );
}

/// And what was recorded of it.
#[test]
fn a_renamed_operator_keeps_its_results() {
    let (_root, folder) = package();
    let words = ["tune", "--emulated", "--candidates", "3", "--json"];
    assert!(call(&folder, &words).status.success());
    assert!(
        call(&folder, &[words.as_slice(), &["--sweep", "t.jsonl"]].concat())
            .status
            .success()
    );
    let source = fs::read_to_string(folder.join("src/lib.rs")).unwrap();
    fs::write(folder.join("src/lib.rs"), source.replace("total", "sum_of_row")).unwrap();
    let shown = text(&call(&folder, &["show", "--json"]).stdout);
    assert!(
        shown.contains("sum_of_row") && !shown.contains("\"stale\":true"),
        "{shown}"
    );
    let replayed = call(&folder, &["tune", "--device", "replay:t.jsonl", "--again", "--json"]);
    assert!(
        text(&replayed.stdout).contains("\"tuned\":2"),
        "{}",
        text(&replayed.stderr)
    );
}
