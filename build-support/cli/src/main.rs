//! The `cargo energy-kernel` command.
//!
//! Exit codes: 0 done; 1 the command or a check failed; 2 wrong usage; 3 the sanitizer found something (`run --check`);
//! 4 the emulator does not support an instruction (`run`); 130 interrupted.
//!
//! With `--json` each command prints one JSON document to the standard output. One that fails prints
//! `{"error": …, "causes": […], "help": …}`.

#[macro_use]
mod output;

mod arguments;
mod check;
mod clean;
mod doctor;
mod interrupt;
mod kernel;
mod outcome;
mod package;
mod progress;
mod ptx;
mod quantity;
mod report;
mod run;
mod show;
mod tune;

use arguments::{Arguments, Command};
use clap::Parser;
use outcome::Failure;
use std::process::ExitCode;

fn main() -> ExitCode {
    energy_kernel_build::tune::serve_if_asked();
    // Cargo passes the subcommand's name first.
    let mut words: Vec<std::ffi::OsString> = std::env::args_os().collect();
    if words.get(1).is_some_and(|word| word == "energy-kernel") {
        words.remove(1);
    }
    let json = words.iter().any(|word| word == "--json");
    let arguments = match Arguments::try_parse_from(words) {
        Ok(arguments) => arguments,
        // Requests for help or the version are successes.
        Err(told) if !told.use_stderr() => {
            let _ = told.print();
            return ExitCode::SUCCESS;
        }
        Err(mistake) => {
            if json {
                output::json(&serde_json::json!({ "error": mistake.to_string().trim(), "causes": [], "help": null }));
            }
            // `complain!` escapes words of the command line, such as file names.
            complain!("{}", mistake.to_string().trim_end());
            return ExitCode::from(2);
        }
    };
    let outcome = match &arguments.command {
        Command::Tune(tune) => tune::tune(&arguments, tune),
        Command::Check(check) => check::check(&arguments, check),
        Command::Show(show) => show::show(&arguments, show),
        Command::Ptx(ptx) => ptx::ptx(&arguments, ptx),
        Command::Run(run) => run::run(&arguments, run),
        Command::Doctor(doctor) => doctor::doctor(&arguments, doctor),
        Command::Clean(clean) => clean::clean(&arguments, clean),
        Command::Report(report) => report::report(&arguments, report),
    };
    outcome.unwrap_or_else(|failure| {
        let Failure { report, code } = failure;
        let causes: Vec<String> = report.chain().skip(1).map(ToString::to_string).collect();
        let help = report.help().map(|help| help.to_string());
        if arguments.json {
            output::json(&serde_json::json!({ "error": report.to_string(), "causes": causes, "help": help }));
        } else {
            complain!("error: {report}");
            causes.iter().for_each(|cause| complain!("  caused by: {cause}"));
            if let Some(help) = help {
                complain!("help: {help}");
            }
        }
        ExitCode::from(code)
    })
}
