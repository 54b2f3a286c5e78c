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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tune::trace::Mapping;

    const CLOSED: &str = r#"{
"device_name": "D", "kernel_name": "k", "tune_params_keys": ["clock", "tile"], "tune_params": {"clock": [1, 2], "tile": [16]},
"objective": "time", "cache": {
"1,16": {"clock": 1, "tile": 16, "time": 2.5, "nvml_energy": 0.5, "times": [2.5, 2.5], "timestamp": "2024"},
"2,16": {"clock": 2, "tile": 16, "time": "InvalidConfig", "__error__": "InvalidConfig"}"#;

    #[test]
    fn closed_and_open_files_give_the_same_and_failures_are_passed_over() {
        let closed = parse(&format!("{CLOSED}}}}}")).unwrap();
        assert_eq!(closed, parse(&format!("{CLOSED},\n")).unwrap());
        assert_eq!(closed.tunables, ["clock", "tile"]);
        let sweeps = Mapping::default().sweeps(&closed).unwrap();
        assert_eq!((sweeps.len(), sweeps[0].points.len()), (1, 1));
        let point = &sweeps[0].points[0];
        assert_eq!(
            (point.latency, point.energy, &point.features[..]),
            (2.5e-3, 0.5, &[1.0, 16.0][..])
        );
    }

    #[test]
    fn what_is_no_cache_file_is_refused() {
        for text in [
            "{",
            "{}",
            "[]",
            r#"{"tune_params_keys": 1, "cache": {}}"#,
            r#"{"tune_params_keys": []}"#,
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        // Nesting beyond what a parser can stand is an error as well.
        assert!(parse(&"{\"a\":".repeat(100_000)).is_err());
    }
}
