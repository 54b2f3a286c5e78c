//! Notes of earlier runs of the build script. If nothing has changed, this run has nothing to do. If the records of an operator have
//! not changed, neither has its bundle.

use super::package::Package;
use super::policy::Permission;
use crate::cache::{Place, Results, write_atomically};
use crate::environment::WATCHED;
use crate::source::scan::Found;
use energy_kernel_compiler::file;
use energy_kernel_compiler::record::encoding::encode;
use energy_kernel_compiler::record::{Bundle, Fingerprint, Objective};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// A digest of everything that the outcome of a run depends on (files by name, length and time), and that run's directives.
pub(super) struct Stamp(Note);

impl Stamp {
    /// The stamp of a package. `sources` are the [lines](file_lines) of its source files.
    pub(super) fn of(package: &Package<'_>, permission: Permission, sources: &str) -> Stamp {
        let environment = package.environment;
        let mut text = format!("{:?}\n{permission:?}\n{}\n", package.build, environment.gpus);
        for name in WATCHED
            .iter()
            .chain(&["TARGET", "HOST", "PROFILE", "CARGO_MANIFEST_DIR", "CARGO_PKG_NAME"])
        {
            text.push_str(&format!("{name}={:?}\n", environment.get(name)));
        }
        text.push_str(&script());
        for folder in package.folders() {
            text.push_str(&format!("{} {}\n", folder.display(), folder.exists()));
        }
        let caches = [Place::Shipped, Place::User].map(|place| package.cache.files(place));
        text.push_str(sources);
        caches.iter().for_each(|files| text.push_str(&file_lines(files)));
        Stamp(Note::new(text.as_bytes(), package.output.join("stamp")))
    }

    /// The directives of the last run, if nothing has changed since.
    pub(super) fn unchanged(&self) -> Option<Vec<String>> {
        self.0.read()
    }

    pub(super) fn write(&self, directives: &[String]) -> std::io::Result<()> {
        self.0.write(directives)
    }
}

/// A digest of everything that a bundle is made of, and the warnings about it.
pub(super) struct Memo {
    note: Note,
    bundle: PathBuf,
}

impl Memo {
    /// The memo of the operators with this fingerprint.
    pub(super) fn of(
        fingerprint: Fingerprint,
        same: &[&Found],
        known: &Results,
        objective: Objective,
        output: &Path,
    ) -> Memo {
        let mut text = format!("{objective:?}\n").into_bytes();
        for found in same {
            let one = format!("{} {:?} {:?}\n", found.name, found.buckets, found.specialisation);
            text.extend(one.into_bytes());
        }
        text.extend(script().into_bytes());
        // A file without an encoding is invalid, and was not read from disk.
        text.extend(known.devices.values().filter_map(|file| encode(file).ok()).flatten());
        Memo {
            note: Note::new(&text, output.join(format!("{fingerprint}.memo"))),
            bundle: output.join(Bundle::file_name(&fingerprint)),
        }
    }

    /// The warnings, if the bundle exists.
    pub(super) fn find(&self) -> Option<Vec<String>> {
        self.note.read().filter(|_| self.bundle.exists())
    }

    pub(super) fn write(&self, says: &[String]) -> std::io::Result<()> {
        self.note.write(says)
    }
}

/// The verdict on an operator's distance from its roofline.
pub(super) struct Verdicts(Note);

impl Verdicts {
    /// The verdict on an operator. `state` is what it depends on besides the operator: devices, sizes and schedules.
    pub(super) fn of(found: &Found, state: &[String], output: &Path) -> Verdicts {
        let text = format!("{}\n{}\n{}", found.name, state.join("\n"), script());
        let named = Sha256::digest(format!("{} {:?}", found.name, found.buckets));
        let name: String = named[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        Verdicts(Note::new(
            text.as_bytes(),
            output.join(format!("{}.{name}.slow", found.fingerprint)),
        ))
    }

    /// The lines, if nothing has changed.
    pub(super) fn find(&self) -> Option<Vec<String>> {
        self.0.read()
    }

    pub(super) fn write(&self, lines: Vec<String>) -> std::io::Result<()> {
        self.0.write(&lines)
    }
}

/// The largest note, in bytes: more than any build prints.
const LONGEST_NOTE: u64 = 8 << 20;

/// A file with a digest and lines that belong to it.
struct Note {
    digest: String,
    path: PathBuf,
}

impl Note {
    fn new(of: &[u8], path: PathBuf) -> Note {
        let digest = Sha256::digest(of).iter().map(|byte| format!("{byte:02x}")).collect();
        Note { digest, path }
    }

    /// The lines, if the digest is still the same.
    fn read(&self) -> Option<Vec<String>> {
        let text = file::read_text(&self.path, LONGEST_NOTE).ok()?;
        let mut lines = text.lines();
        if lines.next() != Some(&self.digest) {
            return None;
        }
        // The digest as the last line shows that the file is complete.
        let mut lines: Vec<String> = lines.map(str::to_owned).collect();
        (lines.pop()? == self.digest).then_some(lines)
    }

    fn write(&self, lines: &[String]) -> std::io::Result<()> {
        let mut text = format!("{}\n", self.digest);
        lines
            .iter()
            .for_each(|line| text.push_str(&format!("{}\n", line.replace(['\n', '\r'], " "))));
        text.push_str(&format!("{}\n", self.digest));
        write_atomically(&self.path, text.as_bytes(), None)
    }
}

/// The source files outside the folders that the last run found. They belong to the files to compare.
///
/// A path that is not one line of text is missing, so the next run scans again.
pub(super) fn remembered(output: &Path) -> Vec<PathBuf> {
    let text = file::read_text(&output.join(ELSEWHERE), LONGEST_NOTE).unwrap_or_default();
    text.lines().map(PathBuf::from).collect()
}

/// Notes the source files outside the folders for the next run. Best effort.
pub(super) fn remember(output: &Path, files: &[PathBuf]) {
    if remembered(output) != files {
        let lines = files.iter().filter_map(|file| Some(format!("{}\n", file.to_str()?)));
        let _ = write_atomically(&output.join(ELSEWHERE), lines.collect::<String>().as_bytes(), None);
    }
}

const ELSEWHERE: &str = "elsewhere";

/// The line of the script itself: another version of this crate may decide or compile differently.
fn script() -> String {
    file_line(&std::env::current_exe().unwrap_or_default())
}

/// One line per file with its path, length and time.
pub(super) fn file_lines(files: &[PathBuf]) -> String {
    files.iter().map(|file| file_line(file)).collect()
}

fn file_line(path: &Path) -> String {
    let seen = std::fs::metadata(path).ok().map(|metadata| {
        let modified = metadata
            .modified()
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        (metadata.len(), modified)
    });
    format!("{} {seen:?}\n", path.display())
}
