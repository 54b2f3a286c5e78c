//! `tune`: tunes operators, optimised and with a progress bar; records and replays traces, confirms and ships results.

mod bench;
mod command;
mod confirm;
mod dry_run;
mod report;
mod ship;
mod sweep;

pub use command::tune;
