//! The files of a package's source.
//!
//! Cargo's folders are walked completely. Files elsewhere are found as rustc finds them: from the `path` of a target through `mod name;`,
//! and from any file through `#[path]` and `include!`. Files below the folders need no following, so most of them are not parsed.

use super::manifest::Manifest;
use super::text::read_text;
use std::collections::{HashSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use syn::ext::IdentExt;
use syn::visit::Visit;

/// The folders that hold a package's source by cargo's rules.
pub const SOURCE_DIRS: [&str; 4] = ["src", "examples", "tests", "benches"];

/// The places that are searched for a package's source.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Walked completely.
    folders: Vec<PathBuf>,
    /// Files whose modules are followed.
    targets: Vec<PathBuf>,
    manifest: Option<PathBuf>,
}

/// A Rust file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    /// `true` if its modules are beside it: a target, a `mod.rs`, a file that `#[path]` names. Modules of `name.rs` are in `name/`.
    pub(crate) is_root: bool,
}

impl Sources {
    /// The sources of the package in `folder`. `named` folders, relative to it, replace cargo's folders and targets.
    pub fn of(folder: &Path, named: &[PathBuf]) -> Sources {
        if !named.is_empty() {
            return Sources {
                folders: named.iter().map(|name| folder.join(name)).collect(),
                ..Sources::default()
            };
        }
        Sources {
            folders: SOURCE_DIRS.map(|name| folder.join(name)).into(),
            // Cargo has read the manifest before and reports problems with it.
            targets: Manifest::read(folder).unwrap_or_default().targets,
            manifest: Some(folder.join(Manifest::FILE)),
        }
    }

    /// These files and the modules that they lead to.
    pub fn files(files: &[PathBuf]) -> Sources {
        Sources {
            targets: files.to_vec(),
            ..Sources::default()
        }
    }

    /// The folders. They may not exist.
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// The manifest, if its targets are searched.
    pub fn manifest(&self) -> Option<&Path> {
        self.manifest.as_deref()
    }

    /// The Rust files below the folders, in a fixed order. Hidden folders are left out. A linked folder is walked once, and not at all if
    /// it contains the link.
    pub fn walk(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut seen = HashSet::new();
        // Linked folders come last, so that a file that is also reached without a link keeps that path.
        let mut pending: VecDeque<PathBuf> = self.folders.iter().cloned().collect();
        while let Some(folder) = pending.pop_front() {
            let Ok(place) = folder.canonicalize() else { continue };
            if !seen.insert(place.clone()) {
                continue;
            }
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            let mut entries: Vec<std::fs::DirEntry> = entries.collect();
            entries.sort_by_key(std::fs::DirEntry::file_name);
            for entry in entries {
                let path = entry.path();
                let hidden = entry.file_name().to_string_lossy().starts_with('.');
                let is_cycle = |path: &Path| path.canonicalize().is_ok_and(|target| place.starts_with(target));
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() && !hidden => pending.push_front(path),
                    Ok(kind) if kind.is_symlink() && path.is_dir() && !hidden && !is_cycle(&path) => {
                        pending.push_back(path);
                    }
                    // Pipes and devices may never end.
                    Ok(_) if path.extension().is_some_and(|e| e == "rs") && path.is_file() => files.push(path),
                    _ => {}
                }
            }
        }
        files.sort();
        files
    }

    /// `true` if a file's modules are beside it, judged by its name and folder.
    fn is_root(&self, path: &Path) -> bool {
        let name = |path: Option<&Path>, names: &[&str]| {
            path.and_then(Path::file_name)
                .is_some_and(|name| names.iter().any(|each| name == *each))
        };
        self.targets.iter().any(|target| target == path)
            || name(Some(path), &["lib.rs", "main.rs", "mod.rs"])
            || name(path.parent(), &["bin", "examples", "tests", "benches"])
    }

    /// Visits each file that may have operators once: those below the folders, the targets, and all that they lead to. Returns the files
    /// outside the folders.
    pub(crate) fn visit(&self, mut visit: impl FnMut(&Path, Result<&syn::File, Unread>)) -> Vec<PathBuf> {
        let walked = self.walk();
        let place = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
        let inside: HashSet<PathBuf> = walked.iter().map(place).collect();
        let starts = walked.iter().chain(&self.targets).map(|path| Source {
            path: path.clone(),
            is_root: self.is_root(path),
        });
        let mut pending: VecDeque<Source> = starts.collect();
        let (mut seen, mut elsewhere) = (HashSet::new(), Vec::new());
        while let Some(source) = pending.pop_front() {
            // The file of a module that a condition leaves out may be missing. Otherwise rustc reports it.
            if !source.path.is_file() || !seen.insert(place(&source.path)) {
                continue;
            }
            let is_inside = inside.contains(&place(&source.path));
            if !is_inside {
                elsewhere.push(source.path.clone());
            }
            let text = match read_text(&source.path) {
                Ok(text) => text,
                Err(error) => {
                    visit(&source.path, Err(Unread::Io(error)));
                    continue;
                }
            };
            // Parsing is slow, and most files have no operators and lead nowhere.
            let leads = leads_elsewhere(&text) || (!is_inside && text.contains("mod "));
            if !leads && !text.contains("energy_kernel") {
                continue;
            }
            match syn::parse_file(&text) {
                Ok(syntax) => {
                    visit(&source.path, Ok(&syntax));
                    if leads {
                        pending.extend(modules(&source, &syntax));
                    }
                }
                Err(error) => visit(&source.path, Err(Unread::Syntax(error))),
            }
        }
        elsewhere
    }
}

/// The reason that a file is skipped.
#[derive(Debug)]
pub(crate) enum Unread {
    Io(io::Error),
    Syntax(syn::Error),
}

/// `true` if a text may have `#[path = "…"]` or `include!`.
fn leads_elsewhere(text: &str) -> bool {
    let assigned = |(at, name): (usize, &str)| text[at + name.len()..].trim_start().starts_with('=');
    text.contains("include!") || (text.contains("mod ") && text.match_indices("path").any(assigned))
}

/// The files that a file names. They may not exist.
fn modules(source: &Source, syntax: &syn::File) -> Vec<Source> {
    let folder = source.path.parent().unwrap_or(Path::new("")).to_owned();
    let below = match source.is_root {
        true => None,
        false => source.path.file_stem().map(PathBuf::from),
    };
    let mut found = Vec::new();
    let mut visitor = Modules {
        file: &folder,
        folder: folder.clone(),
        below,
        found: &mut found,
    };
    visitor.visit_file(syntax);
    found
}

/// Finds module files by rustc's rules.
struct Modules<'a> {
    /// The folder of the file, which `include!` is relative to.
    file: &'a Path,
    /// The folder that `#[path]` is relative to. An inline module has its own.
    folder: PathBuf,
    /// The folder of modules without `#[path]`, relative to `folder`.
    below: Option<PathBuf>,
    found: &'a mut Vec<Source>,
}

impl<'ast> Visit<'ast> for Modules<'_> {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        let name = module.ident.unraw().to_string();
        let (always, sometimes) = paths(&module.attrs);
        let own = match &self.below {
            Some(below) => self.folder.join(below),
            None => self.folder.clone(),
        };
        let Some((_, items)) = &module.content else {
            let named = always.iter().chain(&sometimes).map(|path| Source {
                path: self.folder.join(path),
                is_root: true,
            });
            self.found.extend(named);
            if always.is_none() {
                self.found.push(Source {
                    path: own.join(format!("{name}.rs")),
                    is_root: false,
                });
                self.found.push(Source {
                    path: own.join(name).join("mod.rs"),
                    is_root: true,
                });
            }
            return;
        };
        let folder = match always {
            Some(path) => self.folder.join(path),
            None => own.join(name),
        };
        let mut inner = Modules {
            file: self.file,
            folder,
            below: None,
            found: self.found,
        };
        items.iter().for_each(|item| inner.visit_item(item));
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        let is_include = called.path.segments.last().is_some_and(|last| last.ident == "include");
        if is_include && let Ok(path) = called.parse_body::<syn::LitStr>() {
            self.found.push(Source {
                path: self.file.join(path.value()),
                is_root: true,
            });
        }
    }
}

/// The path in `#[path = "…"]`, and those in `cfg_attr`.
fn paths(attributes: &[syn::Attribute]) -> (Option<String>, Vec<String>) {
    let path = |meta: &syn::Meta| match meta {
        syn::Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            syn::Expr::Lit(literal) => match &literal.lit {
                syn::Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    };
    let always = attributes.iter().find_map(|attribute| path(&attribute.meta));
    let conditional = attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg_attr"));
    let sometimes = conditional.flat_map(|attribute| unfolded(&attribute.meta));
    (always, sometimes.filter_map(|meta| path(&meta)).collect())
}

/// An attribute, or all those that `cfg_attr(…, …)` may expand to.
pub(crate) fn unfolded(meta: &syn::Meta) -> Vec<syn::Meta> {
    let syn::Meta::List(list) = meta else {
        return vec![meta.clone()];
    };
    if !meta.path().is_ident("cfg_attr") {
        return vec![meta.clone()];
    }
    let parts = list.parse_args_with(syn::punctuated::Punctuated::<syn::Meta, syn::Token![,]>::parse_terminated);
    let parts = parts.into_iter().flatten().skip(1);
    parts.flat_map(|part| unfolded(&part)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::text::LONGEST;
    use super::*;
    use crate::scan::scan;
    use std::fs;

    /// A folder with these files.
    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn operator(name: &str) -> String {
        format!(
            "#[energy_kernel(tune(N = 64))] fn {name}(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {{ |i| x[[i]] }}\n"
        )
    }

    /// The names of the operators that are found in a package.
    fn found(package: &Path) -> Vec<String> {
        let scan = scan(&Sources::of(package, &[]));
        assert_eq!(scan.skipped, []);
        scan.operators.into_iter().map(|found| found.name).collect()
    }

    /// Every rule for the place of a module, with decoys at the places of other rules.
    const MODULES: [(&str, &str); 21] = [
        (
            "lib.rs",
            "mod plain; mod nested; mod inline { mod below; pub mod deeper { mod down; } } #[path = \"../shared/named.rs\"] mod renamed;
             #[path = \"moved\"] mod here { mod there; #[path = \"by_name.rs\"] mod other; } mod r#type; include!(\"included.rs\");
             fn f() { #[path = \"local.rs\"] mod local; }",
        ),
        ("plain.rs", "mod child; mod inline { mod child; #[path = \"q.rs\"] mod named; } #[path = \"beside.rs\"] mod beside;"),
        ("plain/child.rs", ""),
        ("child.rs", "// decoy"),
        ("plain/inline/child.rs", ""),
        ("inline/child.rs", "// decoy"),
        ("plain/inline/q.rs", ""),
        ("beside.rs", "mod under;"),
        ("under.rs", ""),
        ("beside/under.rs", "// decoy"),
        ("nested/mod.rs", "mod child;"),
        ("nested/child.rs", ""),
        ("inline/below.rs", ""),
        ("inline/deeper/down.rs", ""),
        ("moved/there.rs", ""),
        ("moved/by_name.rs", ""),
        ("here/there.rs", "// decoy"),
        ("type.rs", ""),
        ("included.rs", "mod from_included;"),
        ("from_included.rs", ""),
        ("local.rs", ""),
    ];

    #[test]
    fn modules_are_found_where_rustc_finds_them() {
        let root = folder(&[("shared/named.rs", "mod beside;"), ("shared/beside.rs", "")]);
        for (name, text) in MODULES {
            let path = root.path().join("package").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let target = root.path().join("package/lib.rs");
        let output = std::process::Command::new("rustc")
            .args([
                "--edition",
                "2024",
                "--crate-type",
                "lib",
                "--emit=dep-info=deps",
                "lib.rs",
            ])
            .current_dir(target.parent().unwrap())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let places = |paths: &mut dyn Iterator<Item = PathBuf>| -> Vec<PathBuf> {
            let mut paths: Vec<PathBuf> = paths
                .map(|path| root.path().join("package").join(path).canonicalize().unwrap())
                .collect();
            paths.sort();
            paths.dedup();
            paths
        };
        let deps = fs::read_to_string(root.path().join("package/deps")).unwrap();
        let theirs = deps.lines().filter_map(|line| line.strip_suffix(':'));
        let theirs = places(&mut theirs.map(PathBuf::from));
        let ours = places(&mut Sources::files(&[target]).visit(|_, _| ()).into_iter());
        assert_eq!(ours, theirs);
        assert_eq!(ours.len(), MODULES.len() - 4 + 2);
    }

    #[test]
    fn targets_and_what_they_lead_to_are_found() {
        let manifest = "[package]\nname = \"demo\"\n[lib]\npath = \"lib.rs\"\n[[bin]]\nname = \"tool\"\npath = \"tool/start.rs\"\n";
        let root = folder(&[
            ("Cargo.toml", manifest),
            ("lib.rs", &(operator("a") + "mod inner; #[cfg(never)] mod generated;")),
            ("inner.rs", &operator("b")),
            ("tool/start.rs", "mod parts;"),
            ("tool/parts.rs", &operator("c")),
            (
                "examples/e.rs",
                "#[cfg_attr(unix, path = \"../unix.rs\")] #[cfg_attr(not(unix), path = \"../other.rs\")] mod system;",
            ),
            ("unix.rs", &operator("d")),
            ("other.rs", &operator("e")),
            ("orphan.rs", &operator("f")),
        ]);
        let mut names = found(root.path());
        names.sort();
        assert_eq!(names, ["a", "b", "c", "d", "e"]);
        // Named folders replace all of that.
        let named = scan(&Sources::of(root.path(), &["tool".into()]));
        assert_eq!(named.operators.len(), 1);
        assert_eq!(named.elsewhere, Vec::<PathBuf>::new());
    }

    #[test]
    #[cfg(unix)]
    fn linked_folders_are_walked_once_and_cycles_end() {
        use std::os::unix::fs::symlink;
        let root = folder(&[
            ("package/src/lib.rs", &operator("a")),
            ("package/target/generated.rs", &operator("target")),
            ("linked/x.rs", &operator("b")),
            ("linked/deep/y.rs", &operator("c")),
        ]);
        let at = |path: &str| root.path().join(path);
        symlink(at("linked"), at("package/src/ops")).unwrap();
        symlink(at("linked"), at("package/src/again")).unwrap();
        symlink(at("package/src"), at("linked/back")).unwrap();
        symlink("..", at("package/src/up")).unwrap();
        symlink("/", at("package/src/root")).unwrap();
        symlink("loop", at("package/src/loop")).unwrap();
        symlink("nowhere", at("package/src/dangling.rs")).unwrap();
        let mut names = found(&at("package"));
        names.sort();
        assert_eq!(names, ["a", "b", "c"]);
    }

    #[test]
    #[cfg(unix)]
    fn what_is_no_file_is_not_read() {
        let root = folder(&[(
            "src/lib.rs",
            &(operator("a") + "#[path = \"../pipe\"] mod p; #[path = \"/dev/zero\"] mod z;"),
        )]);
        let pipe = root.path().join("pipe");
        assert!(
            std::process::Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        assert_eq!(found(root.path()), ["a"]);
        assert!(read_text(&pipe).is_err() && read_text(Path::new("/dev/zero")).is_err());
    }

    #[test]
    fn what_cannot_be_read_or_parsed_is_said() {
        let root = folder(&[("src/lib.rs", "energy_kernel fn"), ("src/harmless.rs", "fn half(")]);
        let long = fs::File::create(root.path().join("src/long.rs")).unwrap();
        long.set_len(LONGEST + 1).unwrap();
        let skipped = scan(&Sources::of(root.path(), &[])).skipped;
        let texts: Vec<String> = skipped.iter().map(ToString::to_string).collect();
        assert!(texts.len() == 2 && texts[0].contains("lib.rs:1: "), "{texts:?}");
        assert!(texts[1].ends_with("long.rs: it is longer than 32 MiB"), "{texts:?}");
    }
}
