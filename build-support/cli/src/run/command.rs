//! Reads the file and chooses the device.

use super::{cuda, emulated};
use crate::arguments::{Arguments, Run, RunDevice};
use crate::outcome::Outcome;
use crate::output::json;
use miette::{IntoDiagnostic, WrapErr, miette};
use std::process::ExitCode;

pub fn run(arguments: &Arguments, options: &Run) -> Outcome {
    let text = std::fs::read_to_string(&options.file)
        .into_diagnostic()
        .wrap_err_with(|| format!("{} cannot be read", options.file.display()))?;
    match options.device {
        RunDevice::Emulated => emulated::run(options, &text, arguments.json),
        RunDevice::Cuda(ordinal) => {
            if options.check || options.counts || options.limit.is_some() {
                return Err(miette!("--check, --counts and --limit need the emulated device").into());
            }
            cuda::run(options, &text, ordinal)?;
            if arguments.json {
                json(&serde_json::json!({}));
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}
