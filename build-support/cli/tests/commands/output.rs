//! Texts and exit codes of all commands.

use crate::common::{call, command, json, package, ship, text};
use crate::run::ptx_folder;
use std::fs;

#[test]
fn mistakes_exit_with_1_or_2_and_say_what_is_wrong() {
    let folder = ptx_folder();
    fs::write(folder.path().join("latin.ptx"), b"// \xe9").unwrap();
    fs::write(
        folder.path().join("none.ptx"),
        ".version 8.0\n.target sm_80\n.address_size 64\n",
    )
    .unwrap();
    fs::write(folder.path().join("nonsense.ptx"), "all is well").unwrap();
    let cases: [(&[&str], i32, &str); 26] = [
        (&["run", "absent.ptx"], 1, "absent.ptx"),
        (&["run", "."], 1, "cannot be read"),
        (&["run", "latin.ptx"], 1, "latin.ptx"),
        (&["run", "none.ptx"], 1, "no kernel"),
        (&["run", "nonsense.ptx"], 1, "line 1"),
        (&["run", "k.ptx", "--arg", "u32:1"], 1, "4 arguments"),
        (&["run", "k.ptx", "--kernel", "thrice"], 1, "thrice"),
        (&["run", "k.ptx", "--arg", "u32:x"], 2, "u32:x"),
        (&["run", "k.ptx", "--arg", "u32:-1"], 2, "u32:-1"),
        (&["run", "k.ptx", "--arg", "u32"], 2, "KIND:VALUE"),
        (&["run", "k.ptx", "--arg", "out:out:many"], 2, "many"),
        (&["run", "k.ptx", "--arg", "out:out"], 2, "out:FILE:BYTES"),
        (&["run", "k.ptx", "--arg", "out:out:-1"], 2, "-1"),
        (
            &["run", "k.ptx", "--arg", "out:out:99999999999999999999"],
            2,
            "too large",
        ),
        (
            &["run", "k.ptx", "--arg", "out:out:999999999999999999"],
            1,
            "999999999999999999",
        ),
        (&["run", "k.ptx", "--arg", "in:absent"], 1, "absent"),
        (&["run", "k.ptx", "--arg", "inout:in"], 2, "inout:IN:OUT"),
        (&["run", "k.ptx", "--device", "tpu"], 2, "cuda:N"),
        (&["run", "k.ptx", "--device", "cuda:0", "--check"], 1, "--check"),
        (&["run", "k.ptx", "--grid", "1,1,1,1"], 2, "X,Y,Z"),
        (&["run", "k.ptx", "--grid", "many"], 2, "many"),
        (&["run", "k.ptx", "--shared", "4294967296"], 2, "4294967296"),
        (&["run"], 2, "<FILE>"),
        (&["fly"], 2, "fly"),
        (&["tune", "--budget", "1e18s"], 2, "a year"),
        (&["check", "--manifest-path", "absent/Cargo.toml"], 1, "absent"),
    ];
    for (words, code, says) in cases {
        let output = call(folder.path(), words);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {stderr}");
        assert!(stderr.contains(says), "{words:?}: {stderr}");
        // The same error in JSON.
        let output = call(folder.path(), &[words, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(code), "{words:?}");
        let error: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(
            error["error"].as_str().is_some_and(|error| error.contains(says)),
            "{words:?}: {error}"
        );
    }
}

/// For example `… | head`.
#[test]
fn nobody_needs_to_read_to_the_end() {
    let (_root, folder) = package();
    for words in [["ptx", "total"], ["ptx", "--help"], ["doctor", "--json"]] {
        let mut child = command(&folder)
            .args(words)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(
            matches!(output.status.code(), Some(0 | 1)),
            "{words:?}: {}",
            text(&output.stderr)
        );
    }
}

/// Control characters in names of files and devices never reach a terminal.
#[test]
#[cfg(unix)]
fn outside_text_is_escaped() {
    const EVIL: &str = "\u{1b}[31m\n\u{7}\u{9b}2J\u{202e}x";
    let (_root, folder) = package();
    ship(&folder, |file| file.device.name = "GPU \u{202e}x".to_owned());
    fs::write(folder.join("energy-cache").join(format!("{EVIL}.ekcache")), "nonsense").unwrap();
    fs::write(folder.join("src").join(format!("{EVIL}.rs")), "energy_kernel fn half(").unwrap();
    let output = format!("no/{EVIL}.html");
    let commands: [&[&str]; 10] = [
        &["check"],
        &["show"],
        &["doctor"],
        &["clean", "--shipped", "--dry-run"],
        &["ptx", "total"],
        &["report", "--output", &output],
        &["show", EVIL],
        &["run", "one.ptx", EVIL],
        &["show", "--source-dir", EVIL],
        &["tune", "--device", &format!("replay:{EVIL}")],
    ];
    let unseen = |text: &str| {
        text.chars()
            .find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}')
    };
    let mut escaped = 0;
    for words in commands {
        let output = call(&folder, words);
        let said = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(unseen(&said), None, "{words:?}: {said:?}");
        escaped += said.matches(r"\u{1b}[31m").count();
        // A usage error repeats the command line with its lines.
        if words[0] != "run" {
            let is_forged = |line: &str| line.starts_with(r"\u{7}");
            assert!(!said.lines().any(is_forged), "{words:?}: {said:?}");
        }
        let programs = call(&folder, &[words, &["--json"]].concat());
        assert_eq!(unseen(&text(&programs.stdout)), None, "{words:?}");
        json(&programs);
    }
    assert!(escaped >= commands.len(), "every command had something to escape");
}

/// All failing commands report errors in the same form.
#[test]
fn failures_are_json_of_one_form() {
    let (_root, folder) = package();
    for words in [
        &["show", "absent"][..],
        &["ptx", "total", "--sizes", "R"],
        &["tune", "--emulated", "--ship"],
        &["fly"],
    ] {
        let output = call(&folder, &[words, &["--json"]].concat());
        assert_ne!(output.status.code(), Some(0));
        let said = json(&output);
        assert!(
            said["error"].is_string() && said["causes"].is_array() && said.get("help").is_some(),
            "{said}"
        );
    }
}
