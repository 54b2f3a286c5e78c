//! The steps of first light, each a process of its own that `run` starts and limits. README.md tells what they find out.
//!
//! A step prints text for people, and last of all a line `= …` with its key figures; what it measures it appends to `results.jsonl`. Exit codes:
//! 0 it succeeded, 1 it failed, 69 there is no GPU, 77 it was skipped.

mod children;
mod compare;
mod correctness;
mod interface;
mod machine;
mod normal;
mod overhead;
mod peers;
mod program;
mod sanitizer;
mod split_k;
mod step;
mod timing;
mod tune;

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use step::{Options, Outcome, Step};

/// One step of first light; `run` calls them.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Describe the machine, and calibrate its energy counter.
    Machine(Options),
    /// Run the scenarios of the public interface.
    Interface(Options),
    /// Run split-K products, again and again.
    #[command(name = "split_k")]
    SplitK(Options),
    /// Compare kernels of every family with the reference.
    Correctness(Options),
    /// Run some of these kernels under compute-sanitizer.
    Sanitizer(Options),
    /// Time launches.
    Overhead(Options),
    /// Time our operators and PyTorch's.
    Peers(Options),
    /// Tune three operators.
    Tune(Options),
    /// Compare kernels' energies.
    Compare(Options),
    /// Record a trace of many kernels.
    Sweep(Options),
    /// Run the items of a set from a number on, in this process.
    Child(children::Child),
}

fn main() -> ExitCode {
    let (name, step, options): (_, fn(&mut Step) -> step::Result, _) = match Arguments::parse().command {
        Command::Machine(options) => ("machine", machine::run, options),
        Command::Interface(options) => ("interface", interface::run, options),
        Command::SplitK(options) => ("split_k", split_k::run, options),
        Command::Correctness(options) => ("correctness", correctness::run, options),
        Command::Sanitizer(options) => ("sanitizer", sanitizer::run, options),
        Command::Overhead(options) => ("overhead", overhead::run, options),
        Command::Peers(options) => ("peers", peers::run, options),
        Command::Tune(options) => ("tune", tune::run, options),
        Command::Compare(options) => ("compare", compare::run, options),
        Command::Sweep(options) => ("sweep", tune::sweep, options),
        Command::Child(child) => return child.serve(),
    };
    let outcome = Step::begin(name, options).and_then(|mut begun| step(&mut begun));
    let (code, figures) = match outcome {
        Ok(Outcome::Fine(figures)) => (0, figures),
        Ok(Outcome::Failed(why)) => (1, why),
        Ok(Outcome::NoGpu(why)) => (69, why),
        Ok(Outcome::Skipped(why)) => (77, why),
        Err(error) => (1, error.to_string()),
    };
    // The table has a line for it.
    println!("= {}", figures.lines().collect::<Vec<_>>().join("; "));
    ExitCode::from(code)
}
