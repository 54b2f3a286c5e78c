//! Kernel Tuner's cache files.
//!
//! JSON with the tunable parameters' names (`tune_params_keys`) and an object of results (`cache`), one for each configuration: its
//! parameters and whatever was observed. `time` is in milliseconds. A file that a running tuner left open lacks its last braces.
//! Configurations that could not be run have text where numbers stand otherwise; the mapping passes over them.

use super::{Table, TraceError};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Reads a cache file.
///
/// # Errors
/// It is no JSON, or lacks what a cache file has.
pub(super) fn parse(text: &str) -> Result<Table, TraceError> {
    let whole: Value = serde_json::from_str(text).or_else(|error| {
        // An open file ends in a comma after an entry.
        let open = format!("{}}}}}", text.trim_end().trim_end_matches(','));
        serde_json::from_str(&open).map_err(|_| TraceError::Malformed {
            line: error.line(),
            problem: error.to_string(),
        })
    })?;
    let lacking =
        |what: &str| TraceError::Lacking(format!("this is no cache file of Kernel Tuner: it has no `{what}`"));
    let keys = whole.get("tune_params_keys").and_then(Value::as_array);
    let tunables: Vec<String> = keys
        .ok_or_else(|| lacking("tune_params_keys"))?
        .iter()
        .filter_map(|key| key.as_str().map(str::to_owned))
        .collect();
    let entries = whole.get("cache").and_then(Value::as_object);
    let entries: Vec<&Map<String, Value>> = entries
        .ok_or_else(|| lacking("cache"))?
        .values()
        .filter_map(Value::as_object)
        .collect();
    let observed: BTreeSet<&String> = entries.iter().flat_map(|entry| entry.keys()).collect();
    let observed = observed.into_iter().filter(|key| !tunables.contains(key)).cloned();
    let columns: Vec<String> = tunables.iter().cloned().chain(observed).collect();
    let cell = |value: Option<&Value>| match value {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let rows = entries
        .iter()
        .map(|entry| columns.iter().map(|column| cell(entry.get(column))).collect())
        .collect();
    Ok(Table {
        columns,
        tunables,
        rows,
    })
}
