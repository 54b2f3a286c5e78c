//! Kernel Tuner's cache files.
//!
//! A cache file is JSON. It has the names of the tunable parameters (`tune_params_keys`) and an object of results (`cache`). Each result has
//! the parameters of one configuration and everything that was observed; `time` is in milliseconds. A file that a running tuner left open
//! lacks its last braces, and possibly a part of its last entry, which is then ignored.
//! Configurations that could not run have text instead of numbers; the mapping ignores them.

use super::error::TraceError;
use super::table::Table;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Reads a cache file.
///
/// # Errors
/// The text is not JSON, or lacks the keys of a cache file.
pub(super) fn parse(text: &str) -> Result<Table, TraceError> {
    let text = &without_python_numbers(text);
    let whole: Value = serde_json::from_str(text).or_else(|error| {
        // An open file ends in a comma after an entry.
        let open = |text: &str| serde_json::from_str(&format!("{}}}}}", text.trim_end().trim_end_matches(',')));
        let entries = text.rfind("},").filter(|_| error.is_eof());
        let or_cut_off = |error| entries.map_or(Err(error), |end| open(&text[..=end]));
        open(text).or_else(or_cut_off).map_err(|_| TraceError::Malformed {
            line: error.line(),
            problem: error.to_string(),
        })
    })?;
    let lacking =
        |what: &str| TraceError::Lacking(format!("this is not a cache file of Kernel Tuner: it has no `{what}`"));
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

/// Replaces Python's `NaN` and `Infinity`, which JSON lacks, by `null`. They stand for failed measurements.
fn without_python_numbers(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    // Every other part is in quotes. A quote after a backslash does not count.
    let (mut rest, mut quoted) = (text, false);
    while let Some(at) = rest.find(['"', '\\']) {
        let escape = rest.as_bytes()[at] == b'\\';
        let escaped = rest[at + 1..].chars().next().filter(|_| escape);
        let (part, behind) = rest.split_at(at + 1 + escaped.map_or(0, char::len_utf8));
        append(&mut plain, part, quoted);
        quoted ^= !escape;
        rest = behind;
    }
    append(&mut plain, rest, quoted);
    plain
}

fn append(plain: &mut String, part: &str, quoted: bool) {
    match quoted {
        true => plain.push_str(part),
        false => {
            let part = part.replace("-Infinity", "null").replace("Infinity", "null");
            plain.push_str(&part.replace("NaN", "null"));
        }
    }
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

    /// A tuner may end at any moment.
    #[test]
    fn of_a_file_that_is_cut_off_all_whole_entries_are_read() {
        let third = r#""3,16": {"clock": 3, "tile": 16, "time": 1.5, "nvml_energy": 0.25}"#;
        let open = format!("{CLOSED},\n{third},\n");
        let (first, last) = (open.find("\"2,16\"").unwrap(), open.rfind('}').unwrap());
        let read = |text: &str| {
            Mapping::default().sweeps(&parse(text).unwrap()).unwrap()[0]
                .points
                .len()
        };
        for end in first..open.len() {
            assert_eq!(read(&open[..end]), 1 + usize::from(end > last), "{}", &open[..end]);
        }
        assert_eq!(read(&open), 2);
        // Damage in the middle is an error.
        assert!(parse(&open.replacen("\"tile\": 16", "tile", 2)).is_err());
    }

    #[test]
    fn numbers_that_only_python_has_are_no_measurement() {
        let text = format!(
            "{CLOSED}, \"3,16\": {{\"clock\": 3, \"tile\": 16, \"time\": 1.5, \"nvml_energy\": NaN, \"times\": [-Infinity, Infinity],\
             \"note\": \"a \\\"NaN\\\" \\\\\"}}}}}}"
        );
        let table = parse(&text).unwrap();
        assert_eq!(Mapping::default().sweeps(&table).unwrap()[0].points.len(), 1);
        let note = table.column("note").unwrap();
        assert_eq!(table.rows[2][note], "a \"NaN\" \\");
        assert_eq!(without_python_numbers("NaN \"\\é\" NaN\\"), "null \"\\é\" null\\");
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
        // Too deep nesting is an error, too.
        assert!(parse(&"{\"a\":".repeat(100_000)).is_err());
    }
}
