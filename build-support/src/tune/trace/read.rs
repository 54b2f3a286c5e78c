//! Reads traces of any format.

use super::error::TraceError;
use super::file::read_text;
use super::kernel_tuner;
use super::mapping::Mapping;
use super::recorded::{Recording, Trace};
use super::sweep::Sweep;
use super::table::Table;
use std::path::Path;

/// Reads a trace of any format, compressed or not. The mapping applies to foreign ones.
///
/// # Errors
/// The file cannot be read, violates its format, or lacks a column of the mapping.
pub fn read(path: &Path, mapping: &Mapping) -> Result<Vec<Sweep>, TraceError> {
    let text = read_text(path)?;
    if Trace::is_meant(&text) {
        return Ok(Trace::parse(&text)?.recordings.iter().map(Recording::sweep).collect());
    }
    // Some editors write a byte order mark.
    let text = text.trim_start_matches('\u{feff}');
    let table = if text.trim_start().starts_with('{') {
        kernel_tuner::parse(text)?
    } else {
        Table::parse_csv(text)?
    };
    mapping.sweeps(&table)
}
