//! The kernel to run.

use crate::arguments::Run;
use miette::{Report, Result, miette};

/// The kernel that the command line names, else the only one of the file.
pub fn kernel_name<'a>(options: &Run, names: impl Iterator<Item = &'a str>) -> Result<String> {
    let names: Vec<&str> = names.collect();
    match (&options.kernel, names.as_slice()) {
        (Some(name), _) => Ok(name.clone()),
        (None, [only]) => Ok((*only).to_owned()),
        (None, []) => Err(miette!("{} has no kernel", options.file.display())),
        (None, _) => Err(miette!(
            help = format!("--kernel with one of: {}", names.join(", ")),
            "there are several kernels"
        )),
    }
}

/// An error without help.
pub fn failed(error: impl std::fmt::Display) -> Report {
    miette!("{error}")
}
