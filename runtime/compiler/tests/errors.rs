//! What is said of wrong operators, and where: `tests/errors/NAME.rs` holds one, `NAME.txt` what is expected.
//!
//! `ENERGY_KERNEL_BLESS=1 cargo test --test errors` writes the expectations anew.

use energy_kernel_compiler::lang;
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::fmt::Write;
use std::path::Path;

/// The tokens in the attribute's parentheses, and those of the function below it.
fn annotated(file: &TokenStream) -> (TokenStream, TokenStream) {
    let tokens: Vec<TokenTree> = file.clone().into_iter().collect();
    let is_attribute = |pair: &[TokenTree]| match pair {
        [TokenTree::Punct(hash), TokenTree::Group(group)] => {
            hash.as_char() == '#'
                && group.delimiter() == Delimiter::Bracket
                && group.stream().to_string().starts_with("energy_kernel")
        }
        _ => false,
    };
    let at = tokens.windows(2).position(is_attribute).expect("an annotated function");
    let TokenTree::Group(attribute) = &tokens[at + 1] else {
        unreachable!("found as a group")
    };
    let arguments = attribute.stream().into_iter().find_map(|token| match token {
        TokenTree::Group(group) => Some(group.stream()),
        _ => None,
    });
    let rest = &tokens[at + 2..];
    let is_body = |token: &TokenTree| matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace);
    let end = rest.iter().position(is_body).expect("a function with a body");
    (arguments.unwrap_or_default(), rest[..=end].iter().cloned().collect())
}

/// As rustc shows it, more or less: the message, the line, and what of it is meant.
fn render(source: &str, errors: syn::Error) -> String {
    let lines: Vec<&str> = source.lines().collect();
    let mut text = String::new();
    for error in errors {
        let (start, end) = (error.span().start(), error.span().end());
        let line = lines.get(start.line - 1).copied().unwrap_or("");
        let last = if start.line == end.line {
            end.column
        } else {
            line.chars().count()
        };
        let mut message = error.to_string();
        message = message.replace("\nhelp: ", "\n  = help: ");
        let (first, help) = message.split_once("\n  = help").unwrap_or((&message, ""));
        writeln!(text, "error: {first}").unwrap();
        writeln!(text, "  --> {}:{}", start.line, start.column + 1).unwrap();
        writeln!(text, "   | {line}").unwrap();
        let marks = "^".repeat(last.saturating_sub(start.column).max(1));
        writeln!(text, "   | {}{marks}", " ".repeat(start.column)).unwrap();
        if !help.is_empty() {
            writeln!(text, "   = help{help}").unwrap();
        }
        text.push('\n');
    }
    text
}

#[test]
fn wrong_operators_are_explained_at_their_place() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/errors");
    let bless = std::env::var_os("ENERGY_KERNEL_BLESS").is_some();
    let mut names: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    names.sort();
    assert!(names.len() >= 25, "the cases are there");
    let mut wrong = Vec::new();
    for path in names {
        let source = std::fs::read_to_string(&path).unwrap();
        let (attr, item) = annotated(&source.parse().unwrap());
        let rendered = match lang::parse(attr, item) {
            Ok(_) => {
                wrong.push(format!("{}: accepted", path.display()));
                continue;
            }
            Err(errors) => render(&source, errors),
        };
        let expected_path = path.with_extension("txt");
        let expected = std::fs::read_to_string(&expected_path).unwrap_or_default();
        if bless {
            std::fs::write(&expected_path, &rendered).unwrap();
        } else if expected != rendered {
            wrong.push(format!("{}: expected\n{expected}\nfound\n{rendered}", path.display()));
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\nENERGY_KERNEL_BLESS=1 accepts these",
        wrong.join("\n")
    );
}
