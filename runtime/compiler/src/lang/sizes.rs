//! The operator's sizes: dimensions of its tensors, and formulas in `dims(…)`.

use super::attribute::Attribute;
use super::errors::Errors;
use super::groups::ungrouped_expr;
use super::signature::Signature;
use crate::ir::{Size, SizeId};
use crate::size::{SizeExpr, SizeOp};
use proc_macro2::{Ident, Span};
use syn::spanned::Spanned;
use syn::{BinOp, Expr, Lit, UnOp};

/// Returns all sizes with the spans that first name them: the inputs' dimensions, then derived sizes in the order of `dims`.
pub(super) fn sizes(attribute: &Attribute, signature: &Signature, errors: &mut Errors) -> Vec<(Size, Span)> {
    let derived = |name: &str| attribute.dims.iter().any(|(dim, _)| dim == name);
    let mut sizes: Vec<(Size, Span)> = Vec::new();
    let inputs = signature
        .parameters
        .iter()
        .filter_map(|parameter| parameter.dims.as_ref());
    for name in inputs
        .chain(signature.results.iter().map(|result| &result.dims))
        .flatten()
    {
        let text = name.to_string();
        if !derived(&text) && size_named(&sizes, &text).is_none() {
            let size = Size {
                name: text,
                definition: None,
            };
            sizes.push((size, name.span()));
        }
    }
    for (name, formula) in &attribute.dims {
        let text = name.to_string();
        if size_named(&sizes, &text).is_some() {
            errors.at(name.span(), format!("size `{text}` is defined twice"));
            continue;
        }
        let definition = formula_of(formula, &sizes, errors).unwrap_or(SizeExpr::Const(1));
        let size = Size {
            name: text,
            definition: Some(definition),
        };
        sizes.push((size, name.span()));
    }
    sizes
}

fn formula_of(expr: &Expr, sizes: &[(Size, Span)], errors: &mut Errors) -> Option<SizeExpr> {
    let binary = |op, a: SizeExpr, b: SizeExpr| SizeExpr::Binary(op, Box::new(a), Box::new(b));
    match ungrouped_expr(expr) {
        Expr::Lit(literal) => integer(expr, literal, errors).map(SizeExpr::Const),
        Expr::Path(path) => {
            let name = path.path.get_ident().map(Ident::to_string).unwrap_or_default();
            let found = size_named(sizes, &name).map(SizeExpr::Size);
            if found.is_none() {
                errors.at(
                    path.span(),
                    format!("unknown size `{name}`; a formula may use dimensions of the parameters and sizes defined earlier in `dims(…)`; write a constant as its value"),
                );
            }
            found
        }
        Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => {
            let value = formula_of(&unary.expr, sizes, errors)?;
            Some(binary(SizeOp::Sub, SizeExpr::Const(0), value))
        }
        Expr::Binary(operation) => {
            let op = match operation.op {
                BinOp::Add(_) => SizeOp::Add,
                BinOp::Sub(_) => SizeOp::Sub,
                BinOp::Mul(_) => SizeOp::Mul,
                BinOp::Div(_) => SizeOp::Div,
                BinOp::Rem(_) => SizeOp::Rem,
                _ => {
                    errors.at(operation.op.span(), "a size formula supports only `+ - * / %`");
                    return None;
                }
            };
            let a = formula_of(&operation.left, sizes, errors)?;
            let b = formula_of(&operation.right, sizes, errors)?;
            Some(binary(op, a, b))
        }
        Expr::MethodCall(call) if call.args.len() == 1 => {
            let op = match call.method.to_string().as_str() {
                "div_ceil" => SizeOp::DivCeil,
                "min" => SizeOp::Min,
                "max" => SizeOp::Max,
                _ => {
                    errors.at(
                        call.method.span(),
                        "a size formula supports only the methods `div_ceil`, `min` and `max`",
                    );
                    return None;
                }
            };
            let a = formula_of(&call.receiver, sizes, errors)?;
            let b = formula_of(&call.args[0], sizes, errors)?;
            Some(binary(op, a, b))
        }
        other => {
            errors.at(
                other.span(),
                "expected a formula of sizes and integers, such as `(H + 2 - R) / 2 + 1`",
            );
            None
        }
    }
}

fn integer(at: &Expr, literal: &syn::ExprLit, errors: &mut Errors) -> Option<i64> {
    if let Lit::Int(int) = &literal.lit
        && let Ok(value) = int.base10_parse::<i64>()
    {
        return Some(value);
    }
    errors.at(at.span(), "expected an integer");
    None
}

/// The size of that name.
pub(super) fn size_named(sizes: &[(Size, Span)], name: &str) -> Option<SizeId> {
    sizes
        .iter()
        .position(|(size, _)| size.name == name)
        .map(|at| SizeId(at as u32))
}
