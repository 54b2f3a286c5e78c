//! Kernels of all families under NVIDIA's compute-sanitizer, where it is installed and works.

use crate::correctness::{FAMILIES, SAMPLE};
use crate::program::{self, Ran};
use crate::step::{Outcome, Result, Step};
use serde_json::json;
use std::io::ErrorKind;
use std::process::Command;

const TOOLS: [&str; 3] = ["memcheck", "racecheck", "synccheck"];

/// The exit code of the tool if it found something.
const FOUND: i32 = 86;

/// The tool's message on devices that it cannot inspect, as on some virtual machines.
const UNSUPPORTED: [&str; 3] = [
    "Device not supported",
    "No attachable process",
    "not supported on this platform",
];

pub fn run(step: &mut Step) -> Result {
    let mut figures = Vec::new();
    let mut failed = false;
    let mut ran = 0;
    let mut log = String::new();
    for (number, tool) in TOOLS.into_iter().enumerate() {
        let mut command = Command::new("compute-sanitizer");
        command.args([
            "--tool",
            tool,
            "--error-exitcode",
            &FOUND.to_string(),
            "--print-limit",
            "20",
        ]);
        command.arg(std::env::current_exe()?);
        command.args(["child", &format!("correctness:{SAMPLE}"), "0"]);
        command.arg((2 * FAMILIES.len()).to_string()).arg("--tiny");
        let share = step.left() / (TOOLS.len() - number) as u32;
        let tried = match program::run(&mut command, share) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Outcome::Skipped("compute-sanitizer is not installed".to_owned()));
            }
            tried => tried?,
        };
        log += &format!("== {tool}: {}\n{}{}\n", tried.ending(), tried.out, tried.err);
        std::fs::write(step.result_file("sanitizer.txt"), &log)?;
        let (well, says) = judge(&tried);
        step.result(json!({ "tool": tool, "verdict": says, "well": well }))?;
        println!("{tool}: {says}");
        ran += usize::from(well == Some(true));
        failed |= well == Some(false);
        figures.push(format!("{tool}: {says}"));
    }
    let figures = figures.join("; ");
    Ok(match (failed, ran) {
        (true, _) => Outcome::Failed(figures),
        (false, 0) => Outcome::Skipped(figures),
        (false, _) => Outcome::Fine(figures),
    })
}

/// The result of a run; none if the tool could not do it.
fn judge(ran: &Ran) -> (Option<bool>, String) {
    let both = || ran.out.lines().chain(ran.err.lines());
    let passed = both()
        .filter(|line| line.contains("\"end\"") && line.contains("\"value\""))
        .count();
    let wrong = both().find(|line| line.contains("\"why\""));
    let summary = both()
        .find_map(|line| line.split_once("SUMMARY: "))
        .map(|(_, summary)| summary.trim());
    let unsupported = both().find(|line| UNSUPPORTED.iter().any(|text| line.contains(text)));
    match (unsupported, summary, wrong) {
        (Some(line), ..) => (
            None,
            format!("does not work here: {}", line.trim_start_matches(['=', ' '])),
        ),
        (None, Some(summary), None) if ran.succeeded() && passed > 0 => {
            (Some(true), format!("{passed} kernels, {summary}"))
        }
        (None, _, Some(wrong)) => (Some(false), wrong.to_owned()),
        (None, Some(summary), None) => (
            Some(false),
            format!("{summary} after {passed} kernels, {}", ran.ending()),
        ),
        (None, None, None) => (
            None,
            format!("{} after {passed} kernels: {}", ran.ending(), ran.last_line()),
        ),
    }
}
