//! `ptx`, and `show --sizes`: the kernel that a call would use.

use crate::common::{call, package, text};

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
