//! Finds the annotated operators of a crate in its source.
//!
//! The scan skips source that cannot be parsed and invalid operators. A build does not mention them: the macro reports them at their
//! place. The scan does not find operators that only exist after expansion (`macro_rules!`, generated files); those run untuned.

use super::sources::{Sources, Unread, unfolded};
use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::fingerprint;
use energy_kernel_compiler::lang;
use energy_kernel_compiler::lower::lower;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::record::{DeviceClass, Fingerprint, PackedKernel, Point, Record};
use energy_kernel_compiler::schedule::SPACE_VERSION;
use energy_kernel_compiler::size::Specialisation;
use quote::ToTokens;
use std::path::{Path, PathBuf};
use syn::visit::Visit;

/// One operator with one choice of element types.
#[derive(Debug, Clone)]
pub struct Found {
    /// The function's name, with the element types where they are chosen: `scale<f16>`.
    pub name: String,
    /// The function's file.
    pub file: PathBuf,
    /// The function's line, from 1.
    pub line: usize,
    /// The operator.
    pub checked: Checked,
    /// The operator's fingerprint.
    pub fingerprint: Fingerprint,
    /// The sizes to tune for. Empty without `tune(…)`.
    pub buckets: Vec<Vec<u64>>,
    /// The specialisation of the tuned kernels.
    pub specialisation: Specialisation,
    /// The sizes that `tune(…)` does not name. Tuning [assumes](energy_kernel_compiler::tuning::UNNAMED) a value for them.
    pub assumed: Vec<String>,
    /// The positions of inputs that earlier stages of a program stored. Empty for an operator of the source.
    pub warm_inputs: Vec<u32>,
}

/// Source that may hold operators but is skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1. 0 stands for the whole file.
    pub line: usize,
    /// The problem.
    pub problem: String,
}

impl std::fmt::Display for Skipped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if self.line > 0 {
            write!(f, "{}:", self.line)?;
        }
        write!(f, " {}", self.problem)
    }
}

impl Found {
    /// The number of functions among operators. A function with several element types counts once.
    pub fn functions<'a>(all: impl IntoIterator<Item = &'a Found>) -> usize {
        let places = all.into_iter().map(|found| (&found.file, found.line));
        places.collect::<std::collections::BTreeSet<_>>().len()
    }

    /// `true` if the compiler now emits another kernel for one of a record's schedules, or none for any of them.
    pub fn is_stale(&self, device: &DeviceClass, record: &Record) -> bool {
        let Some(machine) = device.machine() else {
            return false;
        };
        let mut refused = true;
        let differs = record.front.iter().any(|point| {
            let kernel = lower(
                &Problem::new(&self.checked, &record.specialisation, machine),
                &point.program,
            );
            refused &= kernel.is_err();
            kernel.is_ok_and(|kernel| PackedKernel::hash(&kernel) != point.kernel_hash)
        });
        differs || refused
    }

    /// `true` if the compiler can emit a kernel for one of a record's schedules. Schedules of another space version may be illegal.
    pub fn is_usable(&self, device: &DeviceClass, record: &Record) -> bool {
        let lowers = |machine, point: &Point| {
            lower(
                &Problem::new(&self.checked, &record.specialisation, machine),
                &point.program,
            )
            .is_ok()
        };
        record.space_version == SPACE_VERSION
            || (device.machine()).is_some_and(|machine| record.front.iter().any(|point| lowers(machine, point)))
    }
}

/// The operators of a package.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    /// The operators that name sizes to tune for, in the order of the source.
    pub operators: Vec<Found>,
    /// The operators without `tune(…)`. They have no buckets and run untuned.
    pub without_tune: Vec<Found>,
    /// Source that was skipped and may hold operators.
    pub skipped: Vec<Skipped>,
    /// The files outside the folders that were read.
    pub elsewhere: Vec<PathBuf>,
}

/// Finds the operators of a package. Of equal operators with the same name it takes the first.
pub fn scan(sources: &Sources) -> Scan {
    let mut scan = Scan::default();
    let mut add = |operator: Found| {
        let all = match operator.buckets.is_empty() {
            true => &mut scan.without_tune,
            false => &mut scan.operators,
        };
        let same = |earlier: &Found| {
            (earlier.fingerprint, &earlier.name, &earlier.buckets)
                == (operator.fingerprint, &operator.name, &operator.buckets)
        };
        if !all.iter().any(same) {
            all.push(operator);
        }
    };
    scan.elsewhere = sources.visit(|file, syntax| {
        let mut visitor = Visitor {
            file,
            found: Vec::new(),
            skipped: &mut scan.skipped,
        };
        match syntax {
            Ok(syntax) => visitor.visit_file(syntax),
            Err(Unread::Syntax(error)) => visitor.skip(&error),
            Err(Unread::Io(error)) => visitor.pass_over(0, &error),
        }
        visitor.found.into_iter().for_each(&mut add);
    });
    scan
}

/// The operators that name sizes to tune for, in these files and in the modules that they lead to.
pub fn operators(files: &[PathBuf]) -> Vec<Found> {
    scan(&Sources::files(files)).operators
}

struct Visitor<'a> {
    file: &'a Path,
    found: Vec<Found>,
    skipped: &'a mut Vec<Skipped>,
}

impl<'ast> Visit<'ast> for Visitor<'_> {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        // A function may have several attributes under different conditions. Find the sizes of each.
        for (at, attribute) in function.attrs.iter().enumerate() {
            if let Some(arguments) = unfolded(&attribute.meta).iter().find_map(arguments) {
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
        self.pass_over(error.span().start().line, error);
    }

    fn pass_over(&mut self, line: usize, problem: &dyn std::fmt::Display) {
        self.skipped.push(Skipped {
            file: self.file.to_owned(),
            line,
            problem: problem.to_string(),
        });
    }

    fn add(&mut self, arguments: proc_macro2::TokenStream, function: syn::ItemFn) {
        let line = function.sig.ident.span().start().line;
        let operator = match lang::parse(arguments, function.into_token_stream()) {
            Ok(operator) => operator,
            Err(error) => return self.skip(&error),
        };
        for variant in operator.variants {
            let tuning = &operator.tuning;
            let (buckets, specialisation) = match (
                tuning.buckets(&variant.checked),
                tuning.specialisation(&variant.checked),
            ) {
                (Ok(buckets), Ok(specialisation)) => (buckets, specialisation),
                (Err(problem), _) | (_, Err(problem)) => {
                    self.pass_over(line, &problem);
                    continue;
                }
            };
            let fingerprint = match fingerprint::of(&variant.checked) {
                Ok(fingerprint) => fingerprint,
                Err(problem) => {
                    self.pass_over(line, &problem);
                    continue;
                }
            };
            let op = variant.checked.op();
            let assumed = (operator.tuning.unnamed(&variant.checked).iter())
                .map(|size| op.sizes[size.index()].name.clone())
                .collect();
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
                assumed,
                warm_inputs: Vec::new(),
            });
        }
    }
}

/// The arguments of our attribute, in the forms `#[energy_kernel]`, `#[energy_kernel(…)]` and `#[any::path::energy_kernel(…)]`.
fn arguments(meta: &syn::Meta) -> Option<proc_macro2::TokenStream> {
    match meta {
        _ if meta.path().segments.last()?.ident != "energy_kernel" => None,
        syn::Meta::Path(_) => Some(proc_macro2::TokenStream::new()),
        syn::Meta::List(list) => Some(list.tokens.clone()),
        syn::Meta::NameValue(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(source: &str) -> Scan {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lib.rs");
        std::fs::write(&file, source).unwrap();
        scan(&Sources::files(&[file]))
    }

    #[test]
    fn operators_without_tune_are_found_and_told_apart() {
        let scan = scanned(
            "#[energy_kernel] fn softmax(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> { |i| exp(x[[i]]) }
             #[cfg_attr(a, energy_kernel(tune(N = 4)))] #[cfg_attr(not(a), energy_kernel(tune(N = 8)))]
             fn twice(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> { |i| 2.0 * x[[i]] }
             #[energy_kernel(types(T = [f16, f32]), tune(N = 4))]
             fn thrice(x: Tensor<T, (N,)>) -> Tensor<T, (N,)> { |i| 3.0 * x[[i]] }",
        );
        let names = |all: &[Found]| all.iter().map(|found| found.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&scan.without_tune), ["softmax"]);
        assert!(scan.without_tune[0].buckets.is_empty());
        assert_eq!(names(&scan.operators), ["twice", "twice", "thrice<f16>", "thrice<f32>"]);
        assert_eq!(Found::functions(&scan.operators), 2);
    }

    /// An operator is also asked for by name, so equal ones keep their names.
    #[test]
    fn operators_of_one_meaning_keep_their_names() {
        let operator = |name| {
            format!(
                "#[energy_kernel(tune(N = 4))] fn {name}(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {{ |i| x[[i]] }}"
            )
        };
        let scan = scanned(&[operator("a"), operator("b"), format!("mod m {{ {} }}", operator("b"))].join("\n"));
        let names: Vec<&str> = scan.operators.iter().map(|found| found.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn an_operator_whose_sizes_make_no_sense_is_passed_over_with_a_word() {
        let scan = scanned(
            "#[energy_kernel(dims(M = N - 8), tune(N = 4))]
             fn tail(x: Tensor<f32, (N,)>) -> Tensor<f32, (M,)> { |i| x[[i + 8]] }",
        );
        assert!(scan.operators.is_empty());
        let said: Vec<String> = scan.skipped.iter().map(ToString::to_string).collect();
        assert!(
            said.len() == 1 && said[0].contains("lib.rs:2: ") && said[0].contains('M'),
            "{said:?}"
        );
    }
}
