//! Compares small kernels of every family with committed texts, so that a change of emission shows in review.
//!
//! A case is a file `tests/cases/FAMILY/NAME.case`, or `tests/cases/stages/NAME.case` for several stages; [`case`] documents its form. `BLESS=1 cargo test -p energy-kernel-tests --test cases`
//! writes the expected texts anew. The emulator runs each kernel, whose results must be those of the reference.

mod case;
mod difference;

use case::{Case, RULE};
use difference::difference;
use energy_kernel_compiler::schedule::Schedule;
use energy_kernel_tests::{first_wrong, random_inputs, run};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The folder of programs of several stages.
const STAGES: &str = "stages";

/// The fewest kernels of a family.
const LEAST_OF_A_FAMILY: usize = 4;

/// All case files, in alphabetical order.
fn files() -> Vec<PathBuf> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("cases")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder of cases") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => files.push(path),
            }
        }
    }
    files.sort();
    files
}

/// The beginning of an expected error.
const ERROR: &str = "error in the ";

/// The text that a case gives, and a wrong result of its kernel.
fn outcome(case: &Case<'_>) -> (String, Option<String>) {
    let compiled = match case.compile() {
        Ok(compiled) => compiled,
        Err(error) => return (format!("{ERROR}{error}\n"), None),
    };
    let inputs = random_inputs(&compiled.checked, &compiled.sizes, &mut StdRng::seed_from_u64(5));
    let wrong = match run(&compiled.checked, &compiled.kernel, &compiled.sizes, &inputs) {
        Ok(run) => first_wrong(&compiled.checked, &compiled.sizes, &inputs, &run.outputs),
        Err(error) => Some(error),
    };
    (compiled.text(), wrong)
}

#[test]
fn kernels_are_what_is_expected() {
    let bless = std::env::var_os("BLESS").is_some_and(|value| !value.is_empty());
    let mut failures = Vec::new();
    for path in files() {
        let text = fs::read_to_string(&path).expect("a case");
        let rule = format!("\n{RULE}\n");
        let (given, expected) = text.split_once(&rule).unwrap_or((text.trim_end(), ""));
        let case = match Case::read(given) {
            Ok(case) => case,
            Err(error) => {
                failures.push(format!("{}: {error}", path.display()));
                continue;
            }
        };
        let (found, wrong) = outcome(&case);
        if let Some(wrong) = wrong {
            failures.push(format!("{}: {wrong}", path.display()));
        }
        if found == expected {
            continue;
        }
        if bless {
            fs::write(&path, format!("{given}{rule}{found}")).expect("the case is written");
        } else {
            failures.push(format!("{}:\n{}", path.display(), difference(expected, &found)));
        }
    }
    assert!(
        failures.is_empty(),
        "{} cases fail (`-` expected, `+` found). Set BLESS=1 to accept the new texts.\n\n{}",
        failures.len(),
        failures.join("\n")
    );
}

#[test]
fn every_family_has_cases() {
    let mut kernels: BTreeMap<&str, usize> = Schedule::FAMILIES.iter().map(|family| (*family, 0)).collect();
    let mut errors = 0;
    for path in files() {
        let text = fs::read_to_string(&path).expect("a case");
        let (given, expected) = text.split_once(&format!("\n{RULE}\n")).expect("an expected text");
        let case = Case::read(given).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let folder = path.parent().and_then(Path::file_name).expect("a folder");
        let family = case.schedule.split(' ').next().unwrap_or_default();
        if folder == STAGES {
            assert!(family.starts_with("store="), "{} has one stage", path.display());
            continue;
        }
        assert_eq!(folder, family, "{} lies with another family", path.display());
        match expected.starts_with(ERROR) {
            true => errors += 1,
            false => *kernels.get_mut(family).expect("a family") += 1,
        }
    }
    println!("{kernels:?} and {errors} errors");
    for (family, found) in &kernels {
        assert!(
            *found >= LEAST_OF_A_FAMILY,
            "{family} has {found} of {LEAST_OF_A_FAMILY} cases"
        );
    }
    assert!(
        kernels.values().sum::<usize>() >= 60 && errors >= 6,
        "{kernels:?}, {errors} errors"
    );
}
