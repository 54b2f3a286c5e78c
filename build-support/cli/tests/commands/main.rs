//! The commands, as they are called: a file for each.

mod check;
mod clean;
mod common;
mod doctor;
mod output;
mod package;
mod ptx;
mod report;
mod run;
mod sweep;
mod tune;
