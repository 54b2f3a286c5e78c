//! `run`: runs one kernel of any PTX file.

mod command;
mod cuda;
mod emulated;
mod entry;
mod kernel;
mod launch;

pub use command::run;
pub use entry::{Entry, entry};
