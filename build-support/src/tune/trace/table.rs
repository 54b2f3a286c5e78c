//! Tables of cells, as foreign tuners leave them.

use super::TraceError;

/// Named columns of text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// The names.
    pub columns: Vec<String>,
    /// Which of them are tunable parameters, where the format says.
    pub tunables: Vec<String>,
    /// Each as long as there are columns.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// Comma-separated values with a header (RFC 4180).
    ///
    /// # Errors
    /// A row of another length than the header, or a quote without an end.
    pub fn parse_csv(text: &str) -> Result<Table, TraceError> {
        let mut lines = csv_lines(text)?.into_iter();
        let (_, columns) = lines
            .next()
            .ok_or_else(|| TraceError::Lacking("the file is empty".to_owned()))?;
        let rows = lines
            .map(|(line, cells)| match cells.len() == columns.len() {
                true => Ok(cells),
                false => Err(TraceError::Malformed {
                    line,
                    problem: format!("{} cells stand under {} names", cells.len(), columns.len()),
                }),
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
    /// There is none of that name.
    pub fn column(&self, name: &str) -> Result<usize, TraceError> {
        self.columns.iter().position(|column| column == name).ok_or_else(|| {
            TraceError::Lacking(format!("there is no column `{name}`, only {}", self.columns.join(", ")))
        })
    }

    /// The rows for which this column's cell satisfies a condition.
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

/// Records with the number of the line on which each begins. Empty lines are passed over.
fn csv_lines(text: &str) -> Result<Vec<(usize, Vec<String>)>, TraceError> {
    let mut records = Vec::new();
    let (mut cells, mut cell) = (Vec::new(), String::new());
    let (mut line, mut begun, mut quoted) = (1, 1, false);
    let mut characters = text.trim_start_matches('\u{feff}').chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                cell.push('"');
            }
            '"' if quoted || cell.is_empty() => quoted = !quoted,
            ',' if !quoted => cells.push(std::mem::take(&mut cell)),
            '\r' if !quoted && characters.peek() == Some(&'\n') => {}
            '\n' if !quoted => {
                cells.push(std::mem::take(&mut cell));
                if cells.iter().any(|cell| !cell.is_empty()) {
                    records.push((begun, std::mem::take(&mut cells)));
                }
                cells.clear();
                line += 1;
                begun = line;
            }
            other => {
                line += usize::from(other == '\n');
                cell.push(other);
            }
        }
    }
    if quoted {
        return Err(TraceError::Malformed {
            line: begun,
            problem: "a quote has no end".to_owned(),
        });
    }
    if !cell.is_empty() || !cells.is_empty() {
        cells.push(cell);
        records.push((begun, cells));
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_line_ends_and_empty_lines() {
        let table = Table::parse_csv("a,\"b, c\"\r\n1,\"x\ny\"\r\n\r\n2,\"say \"\"so\"\"\"").unwrap();
        assert_eq!(table.columns, ["a", "b, c"]);
        assert_eq!(table.rows, [["1", "x\ny"], ["2", "say \"so\""]]);
        assert_eq!(table.column("b, c"), Ok(1));
        assert!(table.column("d").is_err());
        let Err(TraceError::Malformed { line: 3, .. }) = Table::parse_csv("a,b\n1,2\n3\n") else {
            panic!("a short row is accepted");
        };
        assert!(Table::parse_csv("a\n\"b").is_err() && Table::parse_csv("").is_err());
    }
}
