//! The bundles and their index in OUT_DIR, which the attribute embeds.

use super::bundle::bundle;
use super::package::Package;
use super::stamp::Memo;
use super::wording::one_of;
use crate::cache::{Contents, write_atomically};
use crate::source::scan::Found;
use energy_kernel_compiler::file;
use energy_kernel_compiler::record::encoding::{LIMIT, encode};
use energy_kernel_compiler::record::{Bundle, Fingerprint, Index};
use std::collections::BTreeSet;
use std::io;

/// An operator with results.
pub(super) struct Assembled {
    fingerprint: Fingerprint,
    operator: String,
    /// The bundle to write. `None` if an earlier run has written it.
    bundle: Option<(Bundle, Memo)>,
    warnings: Vec<String>,
}

/// Makes the bundles of all operators that have results. Compiling is slow in an unoptimised build script, so a bundle that the same
/// script made of the same records stays as it is. Adds to `stale` one warning for each operator with stale results.
pub(super) fn assemble(
    package: &Package<'_>,
    found: &[Found],
    contents: &Contents,
    stale: &mut Vec<String>,
) -> Vec<Assembled> {
    let objective = package.build.objective;
    let mut assembled: Vec<Assembled> = Vec::new();
    for first in found {
        let Some(known) = contents.operators.get(&first.fingerprint) else {
            continue;
        };
        if assembled.iter().any(|other| other.fingerprint == first.fingerprint) {
            continue;
        }
        // Operators with the same fingerprint share one bundle, for the sizes of all of them.
        let same: Vec<&Found> = found.iter().filter(|f| f.fingerprint == first.fingerprint).collect();
        let memo = Memo::of(first.fingerprint, &same, known, objective, &package.output);
        let (bundle, warnings) = match memo.find() {
            Some(warnings) => (None, warnings),
            None => {
                let mut warnings = Vec::new();
                let Some(bundle) = bundle(&same, known, objective, &mut warnings) else {
                    continue;
                };
                (Some((bundle, memo)), warnings)
            }
        };
        stale.extend(warnings.iter().cloned());
        assembled.push(Assembled {
            fingerprint: first.fingerprint,
            operator: first.name.clone(),
            bundle,
            warnings,
        });
    }
    assembled.sort_by_key(|assembled| assembled.fingerprint);
    assembled
}

/// Writes the bundles, then the index, so that every bundle that an index names exists. A bundle that cannot be written is left out with a
/// warning. `found` are all operators of the package, `None` if the script did not look for them.
pub(super) fn write(
    package: &Package<'_>,
    found: Option<&[Found]>,
    assembled: &[Assembled],
    warnings: &mut Vec<String>,
) {
    let mut left_out = Vec::new();
    let mut fingerprints = Vec::new();
    let written = std::fs::create_dir_all(&package.output).and_then(|()| {
        for assembled in assembled {
            match write_bundle(package, assembled) {
                Ok(()) => fingerprints.push(assembled.fingerprint),
                Err(problem) => left_out.push(format!(
                    "{} is not embedded, and runs untuned: {problem}",
                    assembled.operator
                )),
            }
        }
        let found = found.map(|found| {
            let all: BTreeSet<Fingerprint> = found.iter().map(|found| found.fingerprint).collect();
            all.into_iter().collect()
        });
        let index = Index {
            package: package.name.clone(),
            manifest_dir: package.manifest_dir.display().to_string(),
            fingerprints,
            found,
        };
        put(package, Index::FILE, &encode(&index).map_err(io::Error::other)?)
    });
    match written {
        Ok(()) => warnings.extend(one_of(left_out, "they run untuned, too")),
        Err(problem) => warnings.push(format!(
            "nothing is embedded, {} cannot be written: {problem}",
            package.output.display()
        )),
    }
}

fn write_bundle(package: &Package<'_>, assembled: &Assembled) -> io::Result<()> {
    if let Some((bundle, memo)) = &assembled.bundle {
        let bytes = encode(bundle).map_err(io::Error::other)?;
        put(package, &Bundle::file_name(&assembled.fingerprint), &bytes)?;
        // Without the memo the next run compiles again.
        let _ = memo.write(&assembled.warnings);
    }
    Ok(())
}

/// Writes a file unless it has these contents already: rustc watches embedded files.
fn put(package: &Package<'_>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let path = package.output.join(name);
    if file::read(&path, LIMIT as u64).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    write_atomically(&path, bytes, None)
}
