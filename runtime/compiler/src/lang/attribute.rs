//! The attribute: `tune(…)`, `dims(…)`, `types(…)`, `module = …`, `crate = …`.

use super::groups::ungrouped_expr;
use super::remedies;
use crate::element::Element;
use proc_macro2::{Ident, Span};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Expr, Token};

/// The attribute as written.
#[derive(Debug)]
pub(super) struct Attribute {
    pub(super) tune: Vec<Vec<(Ident, Expr)>>,
    /// The span of the first `tune`.
    pub(super) tune_span: Option<Span>,
    pub(super) dims: Vec<(Ident, Expr)>,
    pub(super) types: Vec<(Ident, Vec<Element>)>,
    pub(super) module: Option<Ident>,
    pub(super) runtime: syn::Path,
}

impl Default for Attribute {
    fn default() -> Attribute {
        Attribute {
            tune: Vec::new(),
            tune_span: None,
            dims: Vec::new(),
            types: Vec::new(),
            module: None,
            runtime: syn::parse_quote!(::energy_kernel),
        }
    }
}

impl Parse for Attribute {
    fn parse(input: ParseStream<'_>) -> syn::Result<Attribute> {
        let mut attribute = Attribute::default();
        while !input.is_empty() {
            let key = Ident::parse_any(input)?;
            match key.to_string().as_str() {
                "tune" => {
                    attribute.tune_span.get_or_insert(key.span());
                    attribute.tune.push(assignments(input)?);
                }
                "dims" => attribute.dims.extend(assignments(input)?),
                "types" => {
                    for (name, list) in assignments(input)? {
                        let elements = element_list(&list)?;
                        attribute.types.push((name, elements));
                    }
                }
                "module" => {
                    input.parse::<Token![=]>()?;
                    attribute.module = Some(input.parse()?);
                }
                "crate" => {
                    input.parse::<Token![=]>()?;
                    attribute.runtime = input.call(syn::Path::parse_mod_style)?;
                }
                other => {
                    return Err(syn::Error::new(
                        key.span(),
                        format!(
                            "unknown argument `{other}`; `energy_kernel` takes `tune(…)`, `dims(…)`, `types(…)`, `module = …` and `crate = …`"
                        ),
                    ));
                }
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(attribute)
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
            "expected a list of element types, such as `types(T = [f16, bf16])`",
        ));
    };
    let mut elements = Vec::new();
    for item in &array.elems {
        let name = match ungrouped_expr(item) {
            Expr::Path(path) => path.path.get_ident().map(Ident::to_string),
            _ => None,
        };
        let name = name.ok_or_else(|| syn::Error::new(item.span(), "expected an element type, such as `f16`"))?;
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
