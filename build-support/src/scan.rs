//! Finds the annotated operators of a crate in its source.
//!
//! What cannot be parsed, or is no valid operator, is skipped, in a build without a word: the macro sees it too, and reports it at its
//! place. What only exists after expansion (`macro_rules!`, generated files) is not found; it runs untuned.

use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::fingerprint;
use energy_kernel_compiler::lang;
use energy_kernel_compiler::lower::lower;
use energy_kernel_compiler::record::{DeviceClass, Fingerprint, PackedKernel, Record};
use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::target::Target;
use quote::ToTokens;
use std::path::{Path, PathBuf};
use syn::visit::Visit;

/// The folders of a package that hold its source, as cargo has them.
pub const SOURCE_DIRS: [&str; 4] = ["src", "examples", "tests", "benches"];

/// One operator with one choice of element types.
#[derive(Debug, Clone)]
pub struct Found {
    /// The function's name, with the element types where they are chosen: `scale<f16>`.
    pub name: String,
    /// Where the function stands.
    pub file: PathBuf,
    /// In which line, from 1.
    pub line: usize,
    /// The operator.
    pub checked: Checked,
    /// What tells it from others.
    pub fingerprint: Fingerprint,
    /// The sizes to tune for.
    pub buckets: Vec<Vec<u64>>,
    /// What kernels for them are compiled to know.
    pub specialisation: Specialisation,
}

/// Something that may have been meant as operators, and is passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Where.
    pub file: PathBuf,
    /// In which line, from 1; 0 where it is the whole file.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

impl std::fmt::Display for Skipped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.problem)
    }
}

impl Found {
    /// Whether the compiler emits other kernels by now than those that a record's figures are of.
    pub fn is_stale(&self, device: &DeviceClass, record: &Record) -> bool {
        let (major, minor) = device.compute_capability;
        let Some(target) = Target::for_capability(major, minor) else {
            return false;
        };
        record.front.iter().any(|point| {
            lower(&self.checked, &record.specialisation, target, &point.schedule)
                .is_ok_and(|kernel| PackedKernel::hash(&kernel) != point.kernel_hash)
        })
    }
}

/// The Rust files below these folders, in a fixed order. Folders that do not exist have none; hidden ones are left out.
pub fn source_files(folders: &[PathBuf]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut pending: Vec<PathBuf> = folders.to_vec();
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            // Links are not followed into folders: they may lead in circles. Pipes and devices may never end.
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && !hidden => pending.push(path),
                Ok(_) if path.extension().is_some_and(|e| e == "rs") && path.is_file() => files.push(path),
                _ => {}
            }
        }
    }
    files.sort();
    files.dedup();
    files
}

/// The operators in these files that name sizes to tune for, in the order of the source; of equal ones the first.
pub fn operators(files: &[PathBuf]) -> Vec<Found> {
    scan(files).0
}

/// The [operators](operators()), and what was passed over.
pub fn scan(files: &[PathBuf]) -> (Vec<Found>, Vec<Skipped>) {
    let mut found: Vec<Found> = Vec::new();
    let mut skipped = Vec::new();
    for file in files {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) => {
                skipped.push(Skipped {
                    file: file.clone(),
                    line: 0,
                    problem: error.to_string(),
                });
                continue;
            }
        };
        // Parsing is slow and most files have none: the name must stand in the text.
        if !text.contains("energy_kernel") {
            continue;
        }
        for operator in operators_of(&text, file, &mut skipped) {
            if !found
                .iter()
                .any(|earlier| earlier.fingerprint == operator.fingerprint && earlier.buckets == operator.buckets)
            {
                found.push(operator);
            }
        }
    }
    (found, skipped)
}

fn operators_of(text: &str, file: &Path, skipped: &mut Vec<Skipped>) -> Vec<Found> {
    let mut visitor = Visitor {
        file,
        found: Vec::new(),
        skipped,
    };
    match syn::parse_file(text) {
        Ok(syntax) => visitor.visit_file(&syntax),
        Err(error) => visitor.skip(&error),
    }
    visitor.found
}

struct Visitor<'a> {
    file: &'a Path,
    found: Vec<Found>,
    skipped: &'a mut Vec<Skipped>,
}

impl<'ast> Visit<'ast> for Visitor<'_> {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        // Several, where each holds under another condition: whichever holds, its sizes are found.
        for (at, attribute) in function.attrs.iter().enumerate() {
            if let Some(arguments) = arguments(&attribute.meta) {
                let mut item = function.clone();
                item.attrs.remove(at);
                self.add(arguments, item);
            }
        }
        syn::visit::visit_item_fn(self, function);
    }
}

impl Visitor<'_> {
    fn skip(&mut self, error: &syn::Error) {
        self.skipped.push(Skipped {
            file: self.file.to_owned(),
            line: error.span().start().line,
            problem: error.to_string(),
        });
    }

    fn add(&mut self, arguments: proc_macro2::TokenStream, function: syn::ItemFn) {
        let line = function.sig.ident.span().start().line;
        let operator = match lang::parse(arguments, function.into_token_stream()) {
            Ok(operator) => operator,
            Err(error) => return self.skip(&error),
        };
        if operator.tuning.is_empty() {
            return;
        }
        for variant in operator.variants {
            let buckets = operator.tuning.buckets(&variant.checked);
            let specialisation = operator.tuning.specialisation(&variant.checked);
            let fingerprint = fingerprint::of(&variant.checked);
            let (Ok(buckets), Ok(specialisation), Ok(fingerprint)) = (buckets, specialisation, fingerprint) else {
                continue;
            };
            let elements: Vec<String> = variant.elements.iter().map(|element| element.to_string()).collect();
            let chosen = if elements.is_empty() {
                String::new()
            } else {
                format!("<{}>", elements.join(", "))
            };
            self.found.push(Found {
                name: format!("{}{chosen}", operator.name),
                file: self.file.to_owned(),
                line,
                fingerprint,
                checked: variant.checked,
                buckets,
                specialisation,
            });
        }
    }
}

/// The arguments of our attribute, in the forms `#[energy_kernel]`, `#[energy_kernel(…)]`, `#[any::path::energy_kernel(…)]` and
/// `#[cfg_attr(…, energy_kernel(…))]`.
fn arguments(meta: &syn::Meta) -> Option<proc_macro2::TokenStream> {
    let name = &meta.path().segments.last()?.ident;
    if name == "energy_kernel" {
        return match meta {
            syn::Meta::Path(_) => Some(proc_macro2::TokenStream::new()),
            syn::Meta::List(list) => Some(list.tokens.clone()),
            syn::Meta::NameValue(_) => None,
        };
    }
    if name != "cfg_attr" {
        return None;
    }
    let syn::Meta::List(list) = meta else { return None };
    let parts = list
        .parse_args_with(syn::punctuated::Punctuated::<syn::Meta, syn::Token![,]>::parse_terminated)
        .ok()?;
    parts.iter().skip(1).find_map(arguments)
}
