//! The attribute's arguments: `tune(…)`, `dims(…)`, `types(…)`, `module = …`, `crate = …`.

use super::signature::Signature;
use super::{Errors, remedies, size_named, ungrouped_expr};
use crate::element::Element;
use crate::ir::{Size, SizeId};
use crate::size::{SizeExpr, SizeOp};
use crate::tuning::Tuning;
use proc_macro2::{Ident, Span};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{BinOp, Expr, Lit, Token, UnOp};

/// The arguments as they are written.
#[derive(Debug)]
pub(super) struct Arguments {
    pub(super) tune: Vec<Vec<(Ident, Expr)>>,
    /// The span of the first `tune`.
    pub(super) tune_span: Option<Span>,
    pub(super) dims: Vec<(Ident, Expr)>,
    pub(super) types: Vec<(Ident, Vec<Element>)>,
    pub(super) module: Option<Ident>,
    pub(super) runtime: syn::Path,
}

impl Default for Arguments {
    fn default() -> Arguments {
        Arguments {
            tune: Vec::new(),
            tune_span: None,
            dims: Vec::new(),
            types: Vec::new(),
            module: None,
            runtime: syn::parse_quote!(::energy_kernel),
        }
    }
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> syn::Result<Arguments> {
        let mut arguments = Arguments::default();
        while !input.is_empty() {
            let key = Ident::parse_any(input)?;
            match key.to_string().as_str() {
                "tune" => {
                    arguments.tune_span.get_or_insert(key.span());
                    arguments.tune.push(assignments(input)?);
                }
                "dims" => arguments.dims.extend(assignments(input)?),
                "types" => {
                    for (name, list) in assignments(input)? {
                        let elements = element_list(&list)?;
                        arguments.types.push((name, elements));
                    }
                }
                "module" => {
                    input.parse::<Token![=]>()?;
                    arguments.module = Some(input.parse()?);
                }
                "crate" => {
                    input.parse::<Token![=]>()?;
                    arguments.runtime = input.call(syn::Path::parse_mod_style)?;
                }
                other => {
                    return Err(syn::Error::new(
                        key.span(),
                        format!(
                            "`{other}` is no argument of `energy_kernel`: there are `tune(…)`, `dims(…)`, `types(…)`, `module = …` and `crate = …`"
                        ),
                    ));
                }
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(arguments)
    }
}

/// `(A = …, B = …)`
fn assignments(input: ParseStream<'_>) -> syn::Result<Vec<(Ident, Expr)>> {
    let inner;
    syn::parenthesized!(inner in input);
    let list = Punctuated::<Assignment, Token![,]>::parse_terminated(&inner)?;
    Ok(list.into_iter().map(|a| (a.name, a.value)).collect())
}

struct Assignment {
    name: Ident,
    value: Expr,
}

impl Parse for Assignment {
    fn parse(input: ParseStream<'_>) -> syn::Result<Assignment> {
        let name = input.parse()?;
        input.parse::<Token![=]>()?;
        Ok(Assignment {
            name,
            value: input.parse()?,
        })
    }
}

fn element_list(list: &Expr) -> syn::Result<Vec<Element>> {
    let Expr::Array(array) = ungrouped_expr(list) else {
        return Err(syn::Error::new(
            list.span(),
            "a list of element types is expected: `types(T = [f16, bf16])`",
        ));
    };
    let mut elements = Vec::new();
    for item in &array.elems {
        let name = match ungrouped_expr(item) {
            Expr::Path(path) => path.path.get_ident().map(Ident::to_string),
            _ => None,
        };
        let name = name.ok_or_else(|| syn::Error::new(item.span(), "an element type is expected, such as `f16`"))?;
        let element =
            Element::from_name(&name).ok_or_else(|| syn::Error::new(item.span(), remedies::of_element(&name)))?;
        if elements.contains(&element) {
            return Err(syn::Error::new(item.span(), format!("`{element}` is listed twice")));
        }
        elements.push(element);
    }
    if elements.is_empty() {
        return Err(syn::Error::new(array.span(), "the list of element types is empty"));
    }
    Ok(elements)
}

/// All sizes with where they are named first: those of the inputs' dimensions, then derived ones in the order of `dims`.
pub(super) fn sizes(arguments: &Arguments, signature: &Signature, errors: &mut Errors) -> Vec<(Size, Span)> {
    let derived = |name: &str| arguments.dims.iter().any(|(dim, _)| dim == name);
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
    for (name, formula) in &arguments.dims {
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
                    format!("`{name}` is no size known here: dimensions of the parameters, and sizes defined before this one in `dims(…)`; of a constant write the value"),
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
                    errors.at(operation.op.span(), "sizes are computed with + - * / % only");
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
                        "sizes have the methods `div_ceil`, `min` and `max` only",
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
                "a size is a formula of sizes and integers, such as `(H + 2 - R) / 2 + 1`",
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
    errors.at(at.span(), "an integer is expected");
    None
}

/// The `tune(…)` clauses.
pub(super) fn tuning(arguments: &Arguments, sizes: &[(Size, Span)], errors: &mut Errors) -> Tuning {
    let mut clauses = Vec::new();
    for clause in &arguments.tune {
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
                    format!("size `{text}` follows from others by `dims(…)`: tune those"),
                );
                continue;
            }
            if read.iter().any(|(other, _)| *other == id) {
                errors.at(
                    name.span(),
                    format!("size `{text}` is given twice; a list has several values: `{text} = [1, 16]`"),
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
                "a size to tune for is a positive integer, or a list of them: `[1, 16, 256]`; of a constant write the value",
            ),
        }
    }
    values
}
