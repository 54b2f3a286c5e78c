//! The wording of warnings.

/// A number of sizes.
pub(super) fn sizes(count: usize) -> String {
    match count {
        1 => "1 size".to_owned(),
        several => format!("{several} sizes"),
    }
}

/// A list of names, each once. It names three at most and counts the others.
pub(super) fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut distinct: Vec<&str> = Vec::new();
    names.for_each(|name| {
        if !distinct.contains(&name) {
            distinct.push(name);
        }
    });
    match distinct.as_slice() {
        [first, second, third, _, ..] => format!("{first}, {second}, {third} and {} more", distinct.len() - 3),
        few => few.join(", "),
    }
}

/// One warning for many of a kind: the first, and where to find the others.
pub(super) fn one_of(warnings: Vec<String>, others: &str) -> Option<String> {
    let more = warnings.len().saturating_sub(1);
    let first = warnings.into_iter().next()?;
    Some(match more {
        0 => first,
        _ => format!("{first} (and {more} more; {others})"),
    })
}
