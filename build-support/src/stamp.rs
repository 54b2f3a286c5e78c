//! What earlier runs of the build script saw and made. If nothing has changed, this run has nothing to do; if the records of an
//! operator have not, its bundle has not.

use crate::Build;
use crate::cache::{Cache, Known, Place, write_atomically};
use crate::environment::{Environment, WATCHED};
use crate::policy::Permission;
use crate::scan::Found;
use energy_kernel_compiler::file;
use energy_kernel_compiler::record::encoding::encode;
use energy_kernel_compiler::record::{Bundle, Fingerprint, Objective};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// A digest of everything that the outcome of a run depends on, by names, lengths and times; beside it, what that run told cargo.
pub(crate) struct Stamp(Note);

impl Stamp {
    /// `sources` are the [lines](file_lines) of the source files.
    pub(crate) fn of(
        build: &Build,
        (environment, permission): (&Environment, Permission),
        sources: &str,
        folders: &[&Path],
        cache: &Cache,
        output: &Path,
    ) -> Stamp {
        let mut text = format!("{build:?}\n{permission:?}\n{}\n", environment.gpus);
        for name in WATCHED
            .iter()
            .chain(&["TARGET", "HOST", "PROFILE", "CARGO_MANIFEST_DIR", "CARGO_PKG_NAME"])
        {
            text.push_str(&format!("{name}={:?}\n", environment.get(name)));
        }
        text.push_str(&script());
        for folder in folders {
            text.push_str(&format!("{} {}\n", folder.display(), folder.exists()));
        }
        let caches = [Place::Shipped, Place::User].map(|place| cache.files(place));
        text.push_str(sources);
        caches.iter().for_each(|files| text.push_str(&file_lines(files)));
        Stamp(Note::new(text.as_bytes(), output.join("stamp")))
    }

    /// What the last run told cargo, if it saw the same.
    pub(crate) fn unchanged(&self) -> Option<Vec<String>> {
        self.0.read()
    }

    pub(crate) fn write(&self, directives: &[String]) -> std::io::Result<()> {
        self.0.write(directives)
    }
}

/// A digest of everything that a bundle is made of; beside it, the warnings that came of it.
pub(crate) struct Memo {
    note: Note,
    bundle: PathBuf,
}

impl Memo {
    /// Of the operators of this fingerprint.
    pub(crate) fn of(
        fingerprint: Fingerprint,
        same: &[&Found],
        known: &Known,
        objective: Objective,
        output: &Path,
    ) -> Memo {
        let mut text = format!("{objective:?}\n").into_bytes();
        for found in same {
            let one = format!("{} {:?} {:?}\n", found.name, found.buckets, found.specialisation);
            text.extend(one.into_bytes());
        }
        text.extend(script().into_bytes());
        // What has no encoding is not valid, and was not read from a file.
        text.extend(known.devices.values().filter_map(|file| encode(file).ok()).flatten());
        Memo {
            note: Note::new(&text, output.join(format!("{fingerprint}.memo"))),
            bundle: output.join(Bundle::file_name(&fingerprint)),
        }
    }

    /// The warnings, if the bundle has been made.
    pub(crate) fn find(&self) -> Option<Vec<String>> {
        self.note.read().filter(|_| self.bundle.exists())
    }

    pub(crate) fn write(&self, says: &[String]) -> std::io::Result<()> {
        self.note.write(says)
    }
}

/// The most bytes of a note: more than any build says to cargo.
const LONGEST_NOTE: u64 = 8 << 20;

/// A digest, and lines that go with it, in a file.
struct Note {
    digest: String,
    path: PathBuf,
}

impl Note {
    fn new(of: &[u8], path: PathBuf) -> Note {
        let digest = Sha256::digest(of).iter().map(|byte| format!("{byte:02x}")).collect();
        Note { digest, path }
    }

    /// The lines, if the digest is the same.
    fn read(&self) -> Option<Vec<String>> {
        let text = file::read_text(&self.path, LONGEST_NOTE).ok()?;
        let mut lines = text.lines();
        if lines.next() != Some(&self.digest) {
            return None;
        }
        // The last line tells that the file is whole.
        let mut lines: Vec<String> = lines.map(str::to_owned).collect();
        (lines.pop()? == self.digest).then_some(lines)
    }

    fn write(&self, lines: &[String]) -> std::io::Result<()> {
        let mut text = format!("{}\n", self.digest);
        // Each is one line, or becomes one.
        lines
            .iter()
            .for_each(|line| text.push_str(&format!("{}\n", line.replace(['\n', '\r'], " "))));
        text.push_str(&format!("{}\n", self.digest));
        write_atomically(&self.path, text.as_bytes(), None)
    }
}

/// Source files that the last run found though they do not lie below the folders: without them it is not known what to compare.
///
/// A path that is no line of text is not remembered, and the next run does everything again.
pub(crate) fn remembered(output: &Path) -> Vec<PathBuf> {
    let text = file::read_text(&output.join(ELSEWHERE), LONGEST_NOTE).unwrap_or_default();
    text.lines().map(PathBuf::from).collect()
}

/// Keeps them for the next run, as far as that is possible.
pub(crate) fn remember(output: &Path, files: &[PathBuf]) {
    if remembered(output) != files {
        let lines = files.iter().filter_map(|file| Some(format!("{}\n", file.to_str()?)));
        let _ = write_atomically(&output.join(ELSEWHERE), lines.collect::<String>().as_bytes(), None);
    }
}

const ELSEWHERE: &str = "elsewhere";

/// The script itself: another version of this crate may decide or compile otherwise.
fn script() -> String {
    file_line(&std::env::current_exe().unwrap_or_default())
}

/// What tells these files from others and from what they were.
pub(crate) fn file_lines(files: &[PathBuf]) -> String {
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
