//! The sizes to tune for: the `tune(…)` clauses.

use super::attribute::Attribute;
use super::errors::Errors;
use super::groups::ungrouped_expr;
use super::sizes::size_named;
use crate::ir::{Size, SizeId};
use crate::tuning::Tuning;
use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::{Expr, Lit};

/// Reads the `tune(…)` clauses.
pub(super) fn tuning(attribute: &Attribute, sizes: &[(Size, Span)], errors: &mut Errors) -> Tuning {
    let mut clauses = Vec::new();
    for clause in &attribute.tune {
        let mut read: Vec<(SizeId, Vec<u64>)> = Vec::new();
        for (name, value) in clause {
            let text = name.to_string();
            let Some(id) = size_named(sizes, &text) else {
                errors.at(name.span(), format!("the operator has no size `{text}`"));
                continue;
            };
            if sizes[id.index()].0.definition.is_some() {
                errors.at(
                    name.span(),
                    format!("size `{text}` is derived by `dims(…)`; tune the sizes that it is derived from"),
                );
                continue;
            }
            if read.iter().any(|(other, _)| *other == id) {
                errors.at(
                    name.span(),
                    format!(
                        "size `{text}` is given twice; to tune for several values, give a list: `{text} = [1, 16]`"
                    ),
                );
                continue;
            }
            read.push((id, values(value, errors)));
        }
        clauses.push(read);
    }
    Tuning { clauses }
}

/// One size or a list of them.
fn values(expr: &Expr, errors: &mut Errors) -> Vec<u64> {
    let items: Vec<&Expr> = match ungrouped_expr(expr) {
        Expr::Array(array) => array.elems.iter().collect(),
        one => vec![one],
    };
    if items.is_empty() {
        errors.at(expr.span(), "the list of sizes is empty");
    }
    let mut values = Vec::new();
    for item in items {
        let value = match ungrouped_expr(item) {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Int(int) => int.base10_parse::<u64>().ok().filter(|&value| value > 0),
                _ => None,
            },
            _ => None,
        };
        match value {
            Some(value) if i64::try_from(value).is_ok() => values.push(value),
            _ => errors.at(
                item.span(),
                "expected a positive integer or a list of them, such as `[1, 16, 256]`; write a constant as its value",
            ),
        }
    }
    values
}
