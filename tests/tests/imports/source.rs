//! The modules of a crate, read from its files: the names that each defines or imports, and the paths that its code mentions.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, Meta, Token, UseTree, Visibility};

/// A crate's files and modules. The first module is the root.
#[derive(Debug, Default)]
pub struct Source {
    pub files: Vec<PathBuf>,
    pub modules: Vec<Module>,
    /// Files of modules that are compiled for tests only. They are not read.
    pub tests: Vec<PathBuf>,
}

/// A module, inline or with a file of its own.
#[derive(Debug)]
pub struct Module {
    /// Its file's position in [`Source::files`].
    pub file: usize,
    pub parent: Option<usize>,
    pub names: Vec<Name>,
    pub globs: Vec<Glob>,
    pub mentions: Vec<Mention>,
    /// Identifiers in the arguments of macros in item position. Such a macro may define items with these names.
    pub macro_arguments: BTreeSet<String>,
    /// The modules that such macros declare.
    pub macro_modules: Vec<usize>,
}

/// A name in a module.
#[derive(Debug)]
pub struct Name {
    pub name: String,
    pub meaning: Meaning,
    /// `true` if other modules than its descendants may see it.
    pub exported: bool,
}

#[derive(Debug)]
pub enum Meaning {
    Module(usize),
    Item,
    Macro,
    /// `use` of a path.
    Import(Vec<String>),
}

/// A `use` of everything in a module.
#[derive(Debug)]
pub struct Glob {
    pub path: Vec<String>,
    pub exported: bool,
}

/// A path in code.
#[derive(Debug)]
pub struct Mention {
    pub path: Vec<String>,
    pub kind: MentionKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MentionKind {
    /// A `use` that does not re-export.
    Import,
    /// A type, a value or a trait.
    Path,
    /// A macro's name.
    Macro,
}

/// A file that is still to be read.
struct Pending {
    path: PathBuf,
    module: usize,
    /// The folder of its child modules.
    folder: PathBuf,
}

impl Source {
    /// Reads the crate with this root file and everything that it declares. `read` gives the text of a file that exists.
    ///
    /// # Errors
    /// A file does not exist or is not Rust.
    pub fn read(root: &Path, read: &dyn Fn(&Path) -> Option<String>) -> Result<Source, String> {
        let mut source = Source::default();
        let module = source.add(0, None);
        let mut pending = vec![Pending {
            path: root.to_owned(),
            module,
            folder: parent(root),
        }];
        while let Some(Pending { path, module, folder }) = pending.pop() {
            let text = read(&path).ok_or_else(|| format!("{} cannot be read", path.display()))?;
            let file = syn::parse_file(&text).map_err(|error| format!("{}: {error}", path.display()))?;
            source.modules[module].file = source.files.len();
            source.files.push(path.clone());
            let mut reader = Reader {
                beside: parent(&path),
                source: &mut source,
                read,
                module,
                folder,
                bound: BTreeSet::new(),
                pending: &mut pending,
                missing: None,
            };
            reader.visit_file(&file);
            reader.follow_macros();
            if let Some(missing) = reader.missing {
                return Err(format!("{}: there is no file for `mod {missing}`", path.display()));
            }
        }
        Ok(source)
    }

    fn add(&mut self, file: usize, parent: Option<usize>) -> usize {
        self.modules.push(Module {
            file,
            parent,
            names: Vec::new(),
            globs: Vec::new(),
            mentions: Vec::new(),
            macro_arguments: BTreeSet::new(),
            macro_modules: Vec::new(),
        });
        self.modules.len() - 1
    }
}

/// Reads a file into its module and its inline modules.
struct Reader<'a> {
    source: &'a mut Source,
    read: &'a dyn Fn(&Path) -> Option<String>,
    module: usize,
    /// The folder of the module's child modules.
    folder: PathBuf,
    /// The folder that `#[path]` is relative to.
    beside: PathBuf,
    /// Local variables and type parameters of the surrounding items.
    bound: BTreeSet<String>,
    pending: &'a mut Vec<Pending>,
    /// A module whose file was not found.
    missing: Option<String>,
}

impl Reader<'_> {
    fn here(&mut self) -> &mut Module {
        &mut self.source.modules[self.module]
    }

    fn define(&mut self, name: &impl ToString, meaning: Meaning, exported: bool) {
        let name = plain(name);
        self.here().names.push(Name {
            name,
            meaning,
            exported,
        });
    }

    fn mention(&mut self, path: Vec<String>, kind: MentionKind) {
        let local = path.len() == 1 && kind == MentionKind::Path && self.bound.contains(&path[0]);
        if !local {
            self.here().mentions.push(Mention { path, kind });
        }
    }

    /// The file of a child module, and the folder of that module's own children.
    fn child_file(&self, name: &str) -> Option<(PathBuf, PathBuf)> {
        let folder = self.folder.join(name);
        let files = [self.folder.join(format!("{name}.rs")), folder.join("mod.rs")];
        let file = files.into_iter().find(|file| (self.read)(file).is_some())?;
        Some((file, folder))
    }

    fn declare(&mut self, module: &syn::ItemMod) {
        let name = plain(&module.ident);
        let exported = is_exported(&module.vis);
        if let Some((_, items)) = &module.content {
            let child = self
                .source
                .add(self.source.modules[self.module].file, Some(self.module));
            self.define(&name, Meaning::Module(child), exported);
            let folder = self.folder.join(&name);
            let outer = (self.module, self.folder.clone(), self.beside.clone());
            (self.module, self.folder, self.beside) = (child, folder.clone(), folder);
            items.iter().for_each(|item| self.visit_item(item));
            self.follow_macros();
            (self.module, self.folder, self.beside) = outer;
            return;
        }
        let found = match path_attribute(&module.attrs) {
            Some(path) => {
                let file = self.beside.join(path);
                let folder = parent(&file);
                Some((file, folder))
            }
            None => self.child_file(&name),
        };
        match found {
            Some((path, _)) if module.attrs.iter().any(is_for_tests) => self.source.tests.push(path),
            Some((path, folder)) => {
                let child = self.source.add(0, Some(self.module));
                self.define(&name, Meaning::Module(child), exported);
                self.pending.push(Pending {
                    path,
                    module: child,
                    folder,
                });
            }
            None => self.missing = Some(name),
        }
    }

    /// Declares the modules that macros declare: those that an argument names and that have a file.
    fn follow_macros(&mut self) {
        for name in self.here().macro_arguments.clone() {
            let named = |own: &Name| own.name == name && matches!(own.meaning, Meaning::Module(_));
            if self.here().names.iter().any(named) {
                continue;
            }
            if let Some((path, folder)) = self.child_file(&name) {
                let child = self.source.add(0, Some(self.module));
                self.define(&name, Meaning::Module(child), true);
                self.here().macro_modules.push(child);
                self.pending.push(Pending {
                    path,
                    module: child,
                    folder,
                });
            }
        }
    }

    fn import(&mut self, tree: &UseTree, prefix: &[String], exported: bool) {
        let with = |name: &dyn ToString| -> Vec<String> {
            let name = plain(&name.to_string());
            match name.as_str() {
                "self" if !prefix.is_empty() => prefix.to_vec(),
                _ => [prefix, &[name]].concat(),
            }
        };
        match tree {
            UseTree::Path(path) => self.import(&path.tree, &with(&path.ident), exported),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(tree, prefix, exported);
                }
            }
            UseTree::Glob(_) => self.here().globs.push(Glob {
                path: prefix.to_vec(),
                exported,
            }),
            UseTree::Name(name) => {
                let path = with(&name.ident);
                let name = path.last().cloned().unwrap_or_default();
                self.import_as(&name, path, exported);
            }
            UseTree::Rename(rename) => self.import_as(&rename.rename.to_string(), with(&rename.ident), exported),
        }
    }

    fn import_as(&mut self, name: &str, path: Vec<String>, exported: bool) {
        if !exported {
            self.mention(path.clone(), MentionKind::Import);
        }
        self.define(&name, Meaning::Import(path), exported);
    }

    /// Takes paths from tokens that are not parsed: a macro's arguments or body.
    fn scan(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let is = |at: usize, c: char| matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == c);
        let mut at = 0;
        while at < tokens.len() {
            let start = at;
            at += 1;
            match &tokens[start] {
                TokenTree::Group(group) => self.scan(group.stream()),
                TokenTree::Ident(first) => {
                    let mut path = vec![plain(first)];
                    while is(at, ':') && is(at + 1, ':') {
                        let Some(TokenTree::Ident(next)) = tokens.get(at + 2) else {
                            break;
                        };
                        path.push(plain(next));
                        at += 3;
                    }
                    let before = |c: char, back: usize| start >= back && is(start - back, c);
                    let of_a_value = before('.', 1) && !before('.', 2);
                    let variable = before('$', 1) && path[0] != "crate";
                    let continued = before(':', 1) && before(':', 2);
                    let label = path.len() == 1 && is(at, ':') && !is(at + 1, ':');
                    let kind = match is(at, '!') && !is(at + 1, '=') {
                        true => MentionKind::Macro,
                        false => MentionKind::Path,
                    };
                    if !(of_a_value || variable || continued || label || before('\'', 1)) {
                        self.mention(path, kind);
                    }
                }
                _ => {}
            }
        }
    }

    /// Defines the items whose names stand in a macro's body.
    fn define_items_of_body(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for (at, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                    self.define_items_of_body(group.stream());
                }
                TokenTree::Ident(keyword) => {
                    const ITEMS: [&str; 8] = ["const", "enum", "fn", "static", "struct", "trait", "type", "union"];
                    if let Some(TokenTree::Ident(name)) = tokens.get(at + 1)
                        && ITEMS.iter().any(|item| keyword == item)
                    {
                        self.define(name, Meaning::Item, true);
                    }
                }
                _ => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if let Item::Mod(module) = item {
            // The file of a module for tests is noted.
            let read = module.content.is_none() || !module.attrs.iter().any(is_for_tests);
            return if read {
                self.declare(module)
            };
        }
        let (attributes, name) = parts(item);
        if attributes.iter().any(is_for_tests) {
            return;
        }
        if let Some((name, visibility)) = name {
            self.define(name, Meaning::Item, is_exported(visibility));
        }
        match item {
            Item::Use(import) if import.leading_colon.is_none() => {
                self.import(&import.tree, &[], is_exported(&import.vis));
            }
            Item::Use(_) => {}
            Item::Macro(item) => {
                let tokens = item.mac.tokens.clone();
                match &item.ident {
                    Some(name) => {
                        self.define(name, Meaning::Macro, true);
                        self.define_items_of_body(tokens.clone());
                        self.scan(tokens);
                    }
                    None => {
                        let arguments = identifiers(tokens);
                        self.here().macro_arguments.extend(arguments);
                        self.visit_macro(&item.mac);
                    }
                }
            }
            _ => {
                let outer = self.bound.clone();
                let mut bound = Bound(&mut self.bound);
                bound.visit_item(item);
                visit::visit_item(self, item);
                self.bound = outer;
            }
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !function.attrs.iter().any(is_for_tests) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            let names = path.segments.iter().map(|segment| plain(&segment.ident));
            self.mention(names.collect(), MentionKind::Path);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, invoked: &'ast syn::Macro) {
        if invoked.path.leading_colon.is_none() {
            let names = invoked.path.segments.iter().map(|segment| plain(&segment.ident));
            self.mention(names.collect(), MentionKind::Macro);
        }
        // Quoted code belongs to another crate.
        let quoting = invoked
            .path
            .segments
            .last()
            .is_some_and(|last| last.ident.to_string().starts_with("quote"));
        if !quoting {
            self.scan(invoked.tokens.clone());
        }
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.scan(list.tokens.clone());
        }
    }

    // `pub(super)` uses nothing.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}
}

/// Collects the names of local variables and type parameters.
struct Bound<'a>(&'a mut BTreeSet<String>);

impl<'ast> Visit<'ast> for Bound<'_> {
    fn visit_pat_ident(&mut self, pattern: &'ast syn::PatIdent) {
        let name = plain(&pattern.ident);
        // Others are constants and variants.
        if name.starts_with(|c: char| c.is_lowercase() || c == '_') {
            self.0.insert(name);
        }
        visit::visit_pat_ident(self, pattern);
    }

    fn visit_type_param(&mut self, parameter: &'ast syn::TypeParam) {
        self.0.insert(plain(&parameter.ident));
        visit::visit_type_param(self, parameter);
    }

    fn visit_const_param(&mut self, parameter: &'ast syn::ConstParam) {
        self.0.insert(plain(&parameter.ident));
    }
}

/// An item's attributes; its name and visibility, if it has one.
fn parts(item: &Item) -> (&[Attribute], Option<(&syn::Ident, &Visibility)>) {
    match item {
        Item::Const(item) => (&item.attrs, Some((&item.ident, &item.vis))),
        Item::Enum(item) => (&item.attrs, Some((&item.ident, &item.vis))),
        Item::Fn(item) => (&item.attrs, Some((&item.sig.ident, &item.vis))),
        Item::Static(item) => (&item.attrs, Some((&item.ident, &item.vis))),
        Item::Struct(item) => (&item.attrs, Some((&item.ident, &item.vis))),
        Item::Trait(item) => (&item.attrs, Some((&item.ident, &item.vis))),
        Item::TraitAlias(item) => (&item.attrs, Some((&item.ident, &item.vis))),
        Item::Type(item) => (&item.attrs, Some((&item.ident, &item.vis))),
        Item::Union(item) => (&item.attrs, Some((&item.ident, &item.vis))),
        Item::ForeignMod(item) => (&item.attrs, None),
        Item::Impl(item) => (&item.attrs, None),
        Item::Macro(item) => (&item.attrs, None),
        Item::Mod(item) => (&item.attrs, None),
        Item::Use(item) => (&item.attrs, None),
        _ => (&[], None),
    }
}

/// `true` if an attribute leaves its item out of everything but tests.
fn is_for_tests(attribute: &Attribute) -> bool {
    fn needs_test(condition: &Meta) -> bool {
        let parts = |list: &syn::MetaList| {
            list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
                .unwrap_or_default()
        };
        match condition {
            Meta::Path(path) => path.is_ident("test"),
            Meta::List(list) if list.path.is_ident("all") => parts(list).iter().any(needs_test),
            Meta::List(list) if list.path.is_ident("any") => parts(list).iter().all(needs_test),
            _ => false,
        }
    }
    let condition = || attribute.parse_args::<Meta>();
    attribute.path().is_ident("cfg") && condition().is_ok_and(|condition| needs_test(&condition))
}

/// The path in `#[path = "…"]`.
fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            syn::Expr::Lit(syn::ExprLit {
                lit: syn::Lit::Str(path),
                ..
            }) => Some(path.value()),
            _ => None,
        },
        _ => None,
    })
}

fn is_exported(visibility: &Visibility) -> bool {
    !matches!(visibility, Visibility::Inherited)
}

/// All identifiers, at any depth.
fn identifiers(tokens: TokenStream) -> BTreeSet<String> {
    let of = |token: TokenTree| match token {
        TokenTree::Ident(name) => BTreeSet::from([plain(&name)]),
        TokenTree::Group(group) => identifiers(group.stream()),
        _ => BTreeSet::new(),
    };
    tokens.into_iter().flat_map(of).collect()
}

/// A name without `r#`.
fn plain(name: &impl ToString) -> String {
    let name = name.to_string();
    name.strip_prefix("r#").map(str::to_owned).unwrap_or(name)
}

fn parent(path: &Path) -> PathBuf {
    path.parent().map(Path::to_owned).unwrap_or_default()
}
