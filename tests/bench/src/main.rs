//! Strategies and models, judged on traces and simulations. See README.md beside it.

mod random;
mod space;
mod strategies;
mod synthetic;
mod trial;

use std::path::Path;
use std::process::ExitCode;
use strategies::Draw;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["traces", trace] => traces(Path::new(trace), ""),
        ["traces", trace, only] => traces(Path::new(trace), only),
        ["ablation", trace] => ablation(Path::new(trace)),
        _ => Err("usage: energy-kernel-bench traces TRACE [PART OF A SPACE'S NAME] | ablation TRACE".to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

const SEEDS: u64 = 20;

/// Strategies on the AD4000 trace.
fn traces(trace: &Path, only: &str) -> Result<(), String> {
    let spaces = space::ad4000(trace).map_err(|error| error.to_string())?;
    let made = synthetic::spaces(0);
    let spaces: Vec<_> = spaces
        .iter()
        .chain(&made)
        .filter(|space| space.name.contains(only))
        .collect();
    for (draw, title) in [
        (
            Draw::AsMeasured,
            "Energies as they were measured; seeds change what a strategy leaves to chance",
        ),
        (
            Draw::Resampled,
            "For each seed 80 % of the candidates, their energies drawn anew around the truth",
        ),
    ] {
        println!("## {title}\n\n{}", strategies::HEAD.trim_end());
        for space in &spaces {
            print!("{}", strategies::table(space, draw, SEEDS));
        }
        println!();
    }
    Ok(())
}

/// What each constant of the rule does, on a few spaces of each sort.
fn ablation(trace: &Path) -> Result<(), String> {
    let mut spaces = space::ad4000(trace).map_err(|error| error.to_string())?;
    spaces.retain(|space| ["clock 1485", "pooled, clock hidden, ≤ 25 %"].contains(&space.name.as_str()));
    spaces.extend(synthetic::spaces(0));
    strategies::ablation(&spaces, SEEDS);
    Ok(())
}
