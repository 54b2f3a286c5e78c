//! The finder on small made-up crates.

use crate::circles::circles;
use crate::source::Source;
use std::path::Path;

/// The circles of a crate of these files below `src/`. The first is the root.
fn circles_of(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let read = |path: &Path| {
        let named = files.iter().find(|(name, _)| Path::new("src").join(name) == path);
        named.map(|(_, text)| (*text).to_owned())
    };
    let root = Path::new("src").join(files[0].0);
    let source = Source::read(&root, &read).unwrap();
    assert_eq!(
        source.files.len() + source.tests.len(),
        files.len(),
        "{:?}",
        source.files
    );
    let circles = circles(&source, Path::new("src")).unwrap();
    circles.into_iter().map(|circle| circle.files).collect()
}

/// Asserts that a crate has one circle of these files.
#[track_caller]
fn one_circle(files: &[(&str, &str)], expected: &[&str]) {
    assert_eq!(circles_of(files), [expected]);
}

#[track_caller]
fn no_circle(files: &[(&str, &str)]) {
    assert_eq!(circles_of(files), [] as [Vec<String>; 0]);
}

const A_AND_B: (&str, &str) = ("lib.rs", "mod a; mod b;");

#[test]
fn two_files() {
    let a = ("a.rs", "use crate::b::B; pub struct A(B);");
    one_circle(
        &[A_AND_B, a, ("b.rs", "use super::a::A; pub struct B(Box<A>);")],
        &["a.rs", "b.rs"],
    );
    no_circle(&[A_AND_B, a, ("b.rs", "pub struct B(u32);")]);
}

#[test]
fn three_files_by_paths_in_code() {
    let root = ("lib.rs", "mod a; mod b; mod c;");
    let a = ("a.rs", "pub struct A; pub fn f() { crate::b::g() }");
    let b = ("b.rs", "pub fn g() { super::c::h::<u32>() }");
    let c = ("c.rs", "pub fn h<T>() { let _ = <crate::a::A as Default>::default(); }");
    one_circle(&[root, a, b, c], &["a.rs", "b.rs", "c.rs"]);
    no_circle(&[root, a, b, ("c.rs", "pub fn h<T>() {}")]);
}

#[test]
fn re_exports_lead_to_the_definition() {
    let index = ("lib.rs", "mod a; mod b; mod index;");
    let through = (
        "index.rs",
        "pub(crate) use crate::a::*; pub use super::b::inner::B as Renamed;",
    );
    let a = ("a.rs", "use crate::index::Renamed; pub struct A(Renamed);");
    let b = ("b.rs", "pub mod inner { pub struct B(Box<crate::index::A>); }");
    one_circle(&[index, through, a, b], &["a.rs", "b.rs"]);
}

#[test]
fn globs_lead_to_what_is_used() {
    let uses = ("a.rs", "use crate::b::*; pub struct A; fn f() -> B { B }");
    let b = ("b.rs", "pub struct B; pub fn g(_: super::a::A) {}");
    one_circle(&[A_AND_B, uses, b], &["a.rs", "b.rs"]);
    // A local variable and a type parameter are not what the glob brings in.
    let locals = ("a.rs", "use crate::b::*; pub struct A; fn f<B>(g: B) -> B { g }");
    no_circle(&[A_AND_B, locals, b]);
    // Neither is what the module itself only imports.
    let foreign = (
        "b.rs",
        "use std::fmt::Error; pub fn g(_: super::a::A) -> Error { Error }",
    );
    no_circle(&[
        A_AND_B,
        ("a.rs", "use crate::b::*; pub struct A(Error); struct Error;"),
        foreign,
    ]);
}

#[test]
fn a_parent_that_only_re_exports_is_in_no_circle() {
    let root = ("lib.rs", "mod parent;");
    let parent = ("parent/mod.rs", "mod a; mod b; pub use a::A; pub use b::B;");
    let a = ("parent/a.rs", "pub struct A(super::B);");
    no_circle(&[root, parent, a, ("parent/b.rs", "pub struct B;")]);
}

#[test]
fn a_child_that_uses_its_parent_is() {
    let root = ("lib.rs", "mod parent;");
    let child = ("parent/child.rs", "use super::Shared; pub fn work(_: Shared) {}");
    let parent = (
        "parent.rs",
        "mod child; pub struct Shared; pub fn f() { child::work(Shared) }",
    );
    one_circle(&[root, parent, child], &["parent.rs", "parent/child.rs"]);
    let index = ("parent.rs", "mod child; pub use child::work; pub struct Shared;");
    no_circle(&[root, index, child]);
    let by_re_export = (
        "parent.rs",
        "mod child; pub use child::work; pub struct Shared; fn f() { work(Shared) }",
    );
    one_circle(&[root, by_re_export, child], &["parent.rs", "parent/child.rs"]);
}

#[test]
fn code_for_tests_does_not_count() {
    let b = ("b.rs", "use crate::a::A; pub struct B(A);");
    let inline = (
        "a.rs",
        "pub struct A; #[cfg(test)] mod tests { use crate::b::B; fn f(_: B) {} }",
    );
    no_circle(&[A_AND_B, inline, b]);
    let beside = (
        "a.rs",
        "pub struct A; #[cfg(all(test, unix))] #[path = \"checks.rs\"] mod tests;",
    );
    no_circle(&[A_AND_B, beside, b, ("checks.rs", "use crate::b::B;")]);
    let otherwise = ("a.rs", "pub struct A; #[cfg(not(test))] fn f(_: crate::b::B) {}");
    one_circle(&[A_AND_B, otherwise, b], &["a.rs", "b.rs"]);
}

#[test]
fn files_of_other_names() {
    let root = ("lib.rs", "#[path = \"deep/x.rs\"] mod a; mod inline { pub mod b; }");
    let a = ("deep/x.rs", "mod y; pub struct A; pub use y::f;");
    let y = ("deep/y.rs", "pub fn f(_: crate::inline::b::B) {}");
    let b = ("inline/b.rs", "pub struct B; fn g() { crate::a::f(B) }");
    one_circle(&[root, a, y, b], &["deep/y.rs", "inline/b.rs"]);
}

#[test]
fn macros_count_by_the_paths_in_them() {
    let root = ("lib.rs", "#[macro_use] mod b; mod a;");
    let a = ("a.rs", "pub struct A; fn f() { twice!(1) }");
    let body = ("b.rs", "macro_rules! twice { ($x:expr) => { $crate::a::A::new($x) } }");
    one_circle(&[root, a, body], &["a.rs", "b.rs"]);
    let argument = ("a.rs", "pub fn f() { println!(\"{}\", crate::b::g()) }");
    one_circle(
        &[root, argument, ("b.rs", "pub fn g() { vec![super::a::f()]; }")],
        &["a.rs", "b.rs"],
    );
}

#[test]
fn macros_declare_modules_and_items() {
    let root = (
        "lib.rs",
        "mod shared; macro_rules! all { ($($Name:ident in $module:ident),*) => { $(mod $module; pub use $module::$Name;)* pub enum All {} } }
         all! { A in a, B in b }",
    );
    let shared = ("shared.rs", "pub fn of(_: crate::A) {}");
    let a = ("a.rs", "pub struct A; fn f() { crate::shared::of(A) }");
    one_circle(&[root, shared, a, ("b.rs", "pub struct B;")], &["a.rs", "shared.rs"]);
    let b = ("b.rs", "pub struct B(crate::All);");
    one_circle(
        &[root, ("shared.rs", ""), ("a.rs", "pub struct A;"), b],
        &["b.rs", "lib.rs"],
    );
}

#[test]
fn a_name_of_a_module_and_an_item() {
    let root = ("lib.rs", "mod a; mod lower;");
    let lower = ("lower/mod.rs", "pub mod part; pub fn lower(_: crate::a::A) {}");
    let part = ("lower/part.rs", "pub struct Part;");
    let a = ("a.rs", "use crate::lower; pub struct A(lower::part::Part);");
    no_circle(&[root, lower, part, a]);
}

#[test]
fn a_circle_is_told_by_its_items() {
    let files = [
        A_AND_B,
        ("a.rs", "use crate::b::{B, g}; pub struct A;"),
        ("b.rs", "pub struct B(crate::a::A); pub fn g() {}"),
    ];
    let read = |path: &Path| {
        let named = files.iter().find(|(name, _)| Path::new(name) == path);
        named.map(|(_, text)| (*text).to_owned())
    };
    let source = Source::read(Path::new("lib.rs"), &read).unwrap();
    assert_eq!(
        circles(&source, Path::new("")).unwrap()[0].to_string(),
        "2 files depend on each other. The shortest circle:
  a.rs uses B, g of b.rs
  b.rs uses A of a.rs
Move the shared items into a file that uses neither side, or pass them as arguments."
    );
}

#[test]
fn a_file_that_is_missing_is_an_error() {
    let read = |path: &Path| (path == Path::new("lib.rs")).then(|| "mod a;".to_owned());
    let error = Source::read(Path::new("lib.rs"), &read).unwrap_err();
    assert_eq!(error, "lib.rs: there is no file for `mod a`");
}

#[test]
fn a_path_that_leads_nowhere_is_an_error() {
    let read = |_: &Path| Some("mod a { pub use std::fmt; } fn f() { a::fmt::g(a::B) }".to_owned());
    let source = Source::read(Path::new("lib.rs"), &read).unwrap();
    assert_eq!(
        circles(&source, Path::new("")).unwrap_err(),
        "lib.rs: `a::B` leads nowhere"
    );
}
