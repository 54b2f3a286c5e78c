//! Resolves paths to the files that define their items.

use crate::source::{Meaning, MentionKind, Module, Source};
use std::collections::BTreeSet;

/// The target of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Module(usize),
    /// An item of a module. The rest of the path belongs to the item.
    Item(usize, String),
    /// Another crate, a local variable, or a primitive type.
    Outside,
}

/// The imports that are being followed, by module and position. None is followed again, so that circles of globs end.
type Trail = Vec<(usize, usize)>;

/// Every use of an item of another file: the files' positions and the item's name.
///
/// A re-export alone does not count, and neither does the name of a module.
///
/// # Errors
/// A path through the crate's own modules leads nowhere, so this reading of the crate is wrong.
pub fn dependencies(source: &Source) -> Result<BTreeSet<(usize, usize, String)>, String> {
    let mut found = BTreeSet::new();
    for (module, Module { file, mentions, .. }) in source.modules.iter().enumerate() {
        for mention in mentions {
            let mut targets = source.resolve(module, &mention.path, &mut Trail::new());
            if targets.is_empty() {
                let path = mention.path.join("::");
                return Err(format!("{}: `{path}` leads nowhere", source.files[*file].display()));
            }
            if mention.kind == MentionKind::Macro && targets == [Target::Outside] {
                targets.extend(source.textual_macro(module, &mention.path));
            }
            // The name may mean the module only. The paths that begin with it tell.
            let unclear = |target: &Target| matches!(target, Target::Module(_));
            if mention.kind == MentionKind::Import && targets.iter().any(unclear) {
                continue;
            }
            for target in targets {
                if let Target::Item(owner, name) = target
                    && source.modules[owner].file != *file
                {
                    found.insert((*file, source.modules[owner].file, name));
                }
            }
        }
    }
    Ok(found)
}

impl Source {
    /// Resolves a path that stands in a module.
    fn resolve(&self, from: usize, path: &[String], trail: &mut Trail) -> Vec<Target> {
        let Some((first, rest)) = path.split_first() else {
            return Vec::new();
        };
        let mut targets = match first.as_str() {
            "crate" => vec![Target::Module(0)],
            "self" => vec![Target::Module(from)],
            "super" => self.modules[from].parent.map(Target::Module).into_iter().collect(),
            name => match self.named(from, name, from, trail) {
                found if found.is_empty() => vec![Target::Outside],
                found => found,
            },
        };
        for name in rest {
            let mut through = Vec::new();
            for target in &targets {
                match target {
                    Target::Module(module) if name == "super" => {
                        through.extend(self.modules[*module].parent.map(Target::Module));
                    }
                    Target::Module(module) => through.extend(self.named(*module, name, from, trail)),
                    Target::Item(..) | Target::Outside => {}
                }
            }
            // Where a module and an item have one name, a path goes through the module if it can.
            if through.is_empty() {
                targets.retain(|target| !matches!(target, Target::Module(_)));
            } else {
                targets = through;
            }
        }
        targets.sort();
        targets.dedup();
        targets
    }

    /// Resolves a name of a module, as far as `viewer` may see it.
    fn named(&self, module: usize, name: &str, viewer: usize, trail: &mut Trail) -> Vec<Target> {
        let Module { names, globs, .. } = &self.modules[module];
        let inside = self.is_inside(viewer, module);
        let mut found = Vec::new();
        for (position, own) in names.iter().enumerate() {
            if own.name != name || !(own.exported || inside) {
                continue;
            }
            match &own.meaning {
                Meaning::Module(child) => found.push(Target::Module(*child)),
                Meaning::Item | Meaning::Macro => found.push(Target::Item(module, name.to_owned())),
                Meaning::Import(path) => self.along((module, position), trail, |trail| {
                    found.extend(self.resolve(module, path, trail));
                }),
            }
        }
        if !found.is_empty() {
            return found;
        }
        for (position, glob) in globs.iter().enumerate().filter(|(_, glob)| glob.exported || inside) {
            self.along((module, names.len() + position), trail, |trail| {
                for target in self.resolve(module, &glob.path, trail) {
                    if let Target::Module(opened) = target {
                        found.extend(self.named(opened, name, module, trail));
                    }
                }
            });
        }
        if found.is_empty() {
            found = self.made_by_macro(module, name, trail);
        }
        found
    }

    /// Resolves a name among the arguments of a macro in item position: to an item of a module that the macro declares, else of this module.
    fn made_by_macro(&self, module: usize, name: &str, trail: &mut Trail) -> Vec<Target> {
        let Module {
            macro_arguments,
            macro_modules,
            ..
        } = &self.modules[module];
        if !macro_arguments.contains(name) {
            return Vec::new();
        }
        let children = macro_modules.iter();
        let found: Vec<Target> = children
            .flat_map(|&child| self.named(child, name, module, trail))
            .collect();
        match found.is_empty() {
            true => vec![Target::Item(module, name.to_owned())],
            false => found,
        }
    }

    /// A macro without a path: that of the nearest outer module, else the only one with this name.
    fn textual_macro(&self, module: usize, path: &[String]) -> Option<Target> {
        let name = path.last()?;
        let defines = |module: usize| {
            let mut names = self.modules[module].names.iter();
            names.any(|own| own.name == *name && matches!(own.meaning, Meaning::Macro))
        };
        let mut outer = std::iter::successors(Some(module), |&module| self.modules[module].parent);
        let nearest = outer.find(|&module| defines(module));
        let all: Vec<usize> = (0..self.modules.len()).filter(|&module| defines(module)).collect();
        let owner = nearest.or((all.len() == 1).then(|| all[0]))?;
        Some(Target::Item(owner, name.clone()))
    }

    fn along(&self, import: (usize, usize), trail: &mut Trail, go: impl FnOnce(&mut Trail)) {
        if !trail.contains(&import) {
            trail.push(import);
            go(trail);
            trail.pop();
        }
    }

    fn is_inside(&self, module: usize, ancestor: usize) -> bool {
        let mut outer = std::iter::successors(Some(module), |&module| self.modules[module].parent);
        outer.any(|module| module == ancestor)
    }
}
