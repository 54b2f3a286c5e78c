//! Tables of cells, as other tuners write them.

use super::error::TraceError;
use std::io::Read;

/// Named columns of text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// The names.
    pub columns: Vec<String>,
    /// The columns that are tunable parameters. Empty if the format does not tell.
    pub tunables: Vec<String>,
    /// The rows. Each has one cell per column.
    pub rows: Vec<Vec<String>>,
}

/// A line behind the end of a text. A quote without an end swallows it.
const SENTINEL: &str = "\n\0";

impl Table {
    /// Parses comma-separated values with a header (RFC 4180). Ignores empty rows.
    ///
    /// # Errors
    /// A row is longer or shorter than the header, or a quote has no end.
    pub fn parse_csv(text: &str) -> Result<Table, TraceError> {
        let malformed = |line, problem| TraceError::Malformed { line, problem };
        let text = text.trim_start_matches('\u{feff}').as_bytes();
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(text.chain(SENTINEL.as_bytes()));
        let mut rows: Vec<(usize, Vec<String>)> = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|error| malformed(0, error.to_string()))?;
            let line = record.position().map_or(0, |position| {
                // The position is before empty lines that the parser skips.
                let rest = text.get(position.byte() as usize..).unwrap_or_default();
                let skipped = rest.iter().take_while(|byte| b"\r\n".contains(byte));
                position.line() as usize + skipped.filter(|byte| **byte == b'\n').count()
            });
            rows.push((line, record.iter().map(str::to_owned).collect()));
        }
        if let Some((line, last)) = rows.pop()
            && last != [SENTINEL.trim_start()]
        {
            return Err(malformed(line, "a quote has no end".to_owned()));
        }
        rows.retain(|(_, cells)| cells.iter().any(|cell| !cell.is_empty()));
        let mut rows = rows.into_iter();
        let (_, columns) = rows
            .next()
            .ok_or_else(|| TraceError::Lacking("the file is empty".to_owned()))?;
        let rows = rows
            .map(|(line, cells)| match cells.len() == columns.len() {
                true => Ok(cells),
                false => Err(malformed(
                    line,
                    format!("the row has {} cells, the header {}", cells.len(), columns.len()),
                )),
            })
            .collect::<Result<_, _>>()?;
        Ok(Table {
            columns,
            tunables: Vec::new(),
            rows,
        })
    }

    /// The position of a column.
    ///
    /// # Errors
    /// There is no column of that name.
    pub fn column(&self, name: &str) -> Result<usize, TraceError> {
        self.columns.iter().position(|column| column == name).ok_or_else(|| {
            TraceError::Lacking(format!("there is no column `{name}`, only {}", self.columns.join(", ")))
        })
    }

    /// The rows whose cell in this column satisfies a condition.
    ///
    /// # Errors
    /// There is no such column.
    pub fn filtered(&self, column: &str, keep: impl Fn(&str) -> bool) -> Result<Table, TraceError> {
        let column = self.column(column)?;
        Ok(Table {
            rows: self.rows.iter().filter(|row| keep(&row[column])).cloned().collect(),
            ..self.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_line_ends_and_empty_lines() {
        let table = Table::parse_csv("a,\"b, c\"\r\n1,\"x\ny\"\r\n\r\n,\n2,\"say \"\"so\"\"\"").unwrap();
        assert_eq!(table.columns, ["a", "b, c"]);
        assert_eq!(table.rows, [["1", "x\ny"], ["2", "say \"so\""]]);
        assert_eq!(table.column("b, c"), Ok(1));
        assert!(table.column("d").is_err());
        assert_eq!(Table::parse_csv("a,b\n5\" disk,2\n").unwrap().rows, [["5\" disk", "2"]]);
        for (text, line) in [("a,b\n1,2\n3\n", 3), ("a,b\n\"1\n\",2\n\n3", 5), ("a\n1\n\"b", 3)] {
            let error = Table::parse_csv(text).unwrap_err();
            assert!(
                matches!(error, TraceError::Malformed { line: told, .. } if told == line),
                "{text:?}: {error}"
            );
        }
        assert!(Table::parse_csv("").is_err());
    }
}
