//! Circles in the graph of files, and their report.

use crate::resolve::dependencies;
use crate::source::Source;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::{self, Display, Formatter};
use std::path::Path;

/// Files that depend on each other, directly or through others of them.
#[derive(Debug)]
pub struct Circle {
    /// The files, relative to the package.
    pub files: Vec<String>,
    /// For each of them, the others whose items it uses, and these items' names.
    pub uses: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
}

/// All circles of a crate, the largest first. Names of files are relative to `package`.
///
/// # Errors
/// A path in the code was not understood.
pub fn circles(source: &Source, package: &Path) -> Result<Vec<Circle>, String> {
    let name = |file: usize| {
        let path = &source.files[file];
        path.strip_prefix(package).unwrap_or(path).display().to_string()
    };
    let mut uses: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (from, to, item) in dependencies(source)? {
        let of = uses.entry(name(from)).or_default();
        of.entry(name(to)).or_default().insert(item);
    }
    let reached: BTreeMap<&String, BTreeSet<&String>> =
        uses.keys().map(|from| (from, reachable(&uses, from))).collect();
    let reaches = |from: &String, to: &String| reached.get(from).is_some_and(|files| files.contains(to));
    let mut left: BTreeSet<&String> = uses.keys().filter(|file| reaches(file, file)).collect();
    let mut circles = Vec::new();
    while let Some(first) = left.first().copied() {
        let members = left.iter().filter(|file| reaches(first, file) && reaches(file, first));
        let members: BTreeSet<&String> = members.copied().collect();
        left.retain(|file| !members.contains(file));
        let inside = |file: &String| {
            let mut others = uses[file].clone();
            others.retain(|other, _| members.contains(other));
            (file.clone(), others)
        };
        circles.push(Circle {
            files: members.iter().map(|&file| file.clone()).collect(),
            uses: members.iter().map(|&file| inside(file)).collect(),
        });
    }
    circles.sort_by_key(|circle| std::cmp::Reverse(circle.files.len()));
    Ok(circles)
}

fn reachable<'a>(uses: &'a BTreeMap<String, BTreeMap<String, BTreeSet<String>>>, from: &str) -> BTreeSet<&'a String> {
    let mut found = BTreeSet::new();
    let mut next: Vec<&str> = vec![from];
    while let Some(file) = next.pop() {
        for other in uses.get(file).into_iter().flat_map(BTreeMap::keys) {
            if found.insert(other) {
                next.push(other);
            }
        }
    }
    found
}

impl Circle {
    /// The shortest way round: files, the last of which uses the first.
    fn shortest(&self) -> Vec<&str> {
        let ways = self.files.iter().filter_map(|start| {
            let mut before: BTreeMap<&str, &str> = BTreeMap::new();
            let mut next = VecDeque::from([start.as_str()]);
            while let Some(file) = next.pop_front() {
                for other in self.uses[file].keys() {
                    if other == start {
                        let way = std::iter::successors(Some(file), |file| before.get(file).copied());
                        let mut way: Vec<&str> = way.collect();
                        way.reverse();
                        return Some(way);
                    }
                    if !before.contains_key(other.as_str()) {
                        before.insert(other, file);
                        next.push_back(other);
                    }
                }
            }
            None
        });
        ways.min_by_key(Vec::len).unwrap_or_default()
    }

    fn items(&self, from: &str, to: &str) -> String {
        let items: Vec<&str> = self.uses[from][to].iter().map(String::as_str).collect();
        items.join(", ")
    }
}

impl Display for Circle {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let way = self.shortest();
        writeln!(
            f,
            "{} files depend on each other. The shortest circle:",
            self.files.len()
        )?;
        for (at, from) in way.iter().enumerate() {
            let to = way[(at + 1) % way.len()];
            writeln!(f, "  {from} uses {} of {to}", self.items(from, to))?;
        }
        if self.files.len() > way.len() {
            writeln!(f, "All uses among the {} files:", self.files.len())?;
            for (from, others) in &self.uses {
                for to in others.keys() {
                    writeln!(f, "  {from} uses {} of {to}", self.items(from, to))?;
                }
            }
        }
        f.write_str("Move the shared items into a file that uses neither side, or pass them as arguments.")
    }
}
