//! A package's source: its manifest, its files, and the operators in them.

pub mod manifest;
pub mod scan;
pub mod sources;
mod text;
