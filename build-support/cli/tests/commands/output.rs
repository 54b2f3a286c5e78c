//! What every command prints.

use crate::common::{call, command, package, text};
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
        // And for programs.
        let output = call(folder.path(), &[words, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(code), "{words:?}");
        let error: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(
            error["error"].as_str().is_some_and(|error| error.contains(says)),
            "{words:?}: {error}"
        );
    }
}

/// `… | head`, say.
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
