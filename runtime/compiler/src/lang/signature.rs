//! The function's signature: parameters and results as tensors and scalars.

use super::attribute::Attribute;
use super::errors::Errors;
use super::groups::ungrouped;
use super::remedies;
use crate::element::Element;
use proc_macro2::{Delimiter, Ident, Span, TokenStream, TokenTree};
use std::collections::HashMap;
use syn::spanned::Spanned;
use syn::{FnArg, GenericArgument, GenericParam, Pat, PathArguments, ReturnType, Type};

/// The element type of each type parameter in one variant.
pub(super) type Elements = HashMap<String, Element>;

/// The element type of a tensor or scalar: known, or a type parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ElementType {
    /// This element type.
    Known(Element),
    /// The element type of this type parameter.
    Parameter(Ident),
}

impl ElementType {
    /// Returns the element type in a variant.
    pub(super) fn resolve(&self, elements: &Elements) -> Option<Element> {
        match self {
            ElementType::Known(element) => Some(*element),
            ElementType::Parameter(name) => elements.get(&name.to_string()).copied(),
        }
    }
}

/// A parameter of the function.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Its name.
    pub name: Ident,
    /// Its elements.
    pub element: ElementType,
    /// A tensor's dimensions; none for a scalar.
    pub dims: Option<Vec<Ident>>,
}

/// A tensor among the results.
#[derive(Debug, Clone)]
pub struct TensorType {
    /// Its elements.
    pub element: ElementType,
    /// Its dimensions.
    pub dims: Vec<Ident>,
    /// Its span.
    pub(super) span: Span,
}

#[derive(Debug)]
pub(super) struct Signature {
    pub(super) parameters: Vec<Parameter>,
    pub(super) results: Vec<TensorType>,
    pub(super) tuple: bool,
}

const TENSOR: &str = "expected a tensor type such as `Tensor<f32, (M, K)>`: an element type and the name of each dimension's size (`(N,)` for one dimension, `()` for none); name a number with `dims(TWO = 2)`";

pub(super) const DIMENSION: &str =
    "expected the name of a size; name constants and formulas in the attribute: `dims(TAPS = 3, HO = H / 2)`";

/// Returns the span of a number in a tensor's shape, as in `Tensor<f32, (N, 2)>`. Rust's grammar does not allow a number there.
pub(super) fn number_in_shape(item: TokenStream) -> Option<Span> {
    let mut after_comma = false;
    for token in item {
        if let TokenTree::Group(group) = &token {
            let found = match group.delimiter() {
                Delimiter::Parenthesis if after_comma => group.stream().into_iter().find_map(|token| match token {
                    TokenTree::Literal(literal) => Some(literal.span()),
                    _ => None,
                }),
                Delimiter::Parenthesis => number_in_shape(group.stream()),
                _ => None,
            };
            if found.is_some() {
                return found;
            }
        }
        after_comma = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == ',');
    }
    None
}

pub(super) fn read(function: &syn::ItemFn, attribute: &Attribute, errors: &mut Errors) -> Signature {
    let signature = &function.sig;
    for (keyword, present) in [
        ("const", signature.constness.map(|t| t.span())),
        ("async", signature.asyncness.map(|t| t.span())),
    ] {
        if let Some(span) = present {
            errors.at(span, format!("an operator cannot be `{keyword} fn`"));
        }
    }
    let names = |ident: &Ident| attribute.types.iter().any(|(name, _)| name == ident);
    for parameter in &signature.generics.params {
        match parameter {
            GenericParam::Type(ty) if names(&ty.ident) => {}
            other => errors.at(
                other.span(),
                "an operator can be generic only over element types that the attribute lists: `types(T = [f16, bf16])`",
            ),
        }
    }
    if let Some(clause) = &signature.generics.where_clause {
        errors.at(clause.span(), "an operator cannot have a `where` clause");
    }
    let mut parameters: Vec<Parameter> = Vec::new();
    for input in &signature.inputs {
        let FnArg::Typed(input) = input else {
            errors.at(input.span(), "an operator cannot take `self`");
            continue;
        };
        let Pat::Ident(name) = input.pat.as_ref() else {
            errors.at(input.pat.span(), "a parameter must be a plain name");
            continue;
        };
        if parameters.iter().any(|other| other.name == name.ident) {
            errors.at(name.ident.span(), format!("two parameters are named `{}`", name.ident));
        }
        let Some((element, dims)) = value_type(&input.ty, attribute, errors) else {
            continue;
        };
        parameters.push(Parameter {
            name: name.ident.clone(),
            element,
            dims,
        });
    }
    let mut results = Vec::new();
    let mut tuple = false;
    match &signature.output {
        ReturnType::Default => errors.at(
            signature.ident.span(),
            "an operator must return a tensor: `-> Tensor<f32, (M, N)>`",
        ),
        ReturnType::Type(_, ty) => match ungrouped(ty) {
            Type::Tuple(list) => {
                tuple = true;
                if list.elems.is_empty() {
                    errors.at(list.span(), "an operator must return at least one tensor");
                }
                for ty in &list.elems {
                    results.extend(result(ty, attribute, errors));
                }
            }
            ty => results.extend(result(ty, attribute, errors)),
        },
    }
    Signature {
        parameters,
        results,
        tuple,
    }
}

fn result(ty: &Type, attribute: &Attribute, errors: &mut Errors) -> Option<TensorType> {
    match value_type(ty, attribute, errors)? {
        (element, Some(dims)) => Some(TensorType {
            element,
            dims,
            span: ty.span(),
        }),
        (element, None) => {
            let name = match element {
                ElementType::Known(element) => element.to_string(),
                ElementType::Parameter(name) => name.to_string(),
            };
            errors.at(ty.span(), format!("return a single value as `Tensor<{name}, ()>`"));
            None
        }
    }
}

/// Returns a tensor's element type and dimensions, or a scalar's type.
fn value_type(ty: &Type, attribute: &Attribute, errors: &mut Errors) -> Option<(ElementType, Option<Vec<Ident>>)> {
    let path = match ungrouped(ty) {
        Type::Path(path) if path.qself.is_none() => &path.path,
        Type::Reference(reference) => {
            let message = match reference.mutability {
                Some(_) => {
                    "an operator cannot write to its parameters; remove `&mut` and return a tensor, which the generated `into` stores in a tensor of the caller"
                }
                None => "remove `&`: the generated function borrows its tensors",
            };
            errors.at(reference.span(), message);
            return None;
        }
        other => {
            errors.at(other.span(), TENSOR);
            return None;
        }
    };
    let last = path.segments.last()?;
    if last.ident != "Tensor" {
        return element_type(path, attribute, errors).map(|element| (element, None));
    }
    let PathArguments::AngleBracketed(generic) = &last.arguments else {
        errors.at(ty.span(), TENSOR);
        return None;
    };
    let types: Vec<&Type> = generic
        .args
        .iter()
        .filter_map(|argument| match argument {
            GenericArgument::Type(ty) => Some(ty),
            _ => None,
        })
        .collect();
    let [element, shape] = types.as_slice() else {
        errors.at(ty.span(), TENSOR);
        return None;
    };
    let element = match ungrouped(element) {
        Type::Path(path) => element_type(&path.path, attribute, errors),
        other => {
            errors.at(other.span(), TENSOR);
            None
        }
    };
    let dims = dimensions(shape, errors);
    Some((element?, Some(dims?)))
}

fn element_type(path: &syn::Path, attribute: &Attribute, errors: &mut Errors) -> Option<ElementType> {
    if let Some(name) = path.get_ident()
        && attribute.types.iter().any(|(parameter, _)| parameter == name)
    {
        return Some(ElementType::Parameter(name.clone()));
    }
    let last = path.segments.last()?;
    let known = Element::from_name(&last.ident.to_string()).filter(|_| last.arguments.is_empty());
    if known.is_none() {
        errors.at(path.span(), remedies::of_element(&last.ident.to_string()));
    }
    known.map(ElementType::Known)
}

fn dimensions(shape: &Type, errors: &mut Errors) -> Option<Vec<Ident>> {
    let Type::Tuple(tuple) = ungrouped(shape) else {
        let hint = match ungrouped(shape) {
            Type::Path(path) => path
                .path
                .get_ident()
                .map(|name| format!("write one dimension as `({name},)`")),
            _ => None,
        };
        errors.at(shape.span(), hint.unwrap_or_else(|| TENSOR.to_owned()));
        return None;
    };
    let mut dims = Vec::new();
    for dim in &tuple.elems {
        match ungrouped(dim) {
            Type::Path(path) if path.path.get_ident().is_some() => dims.extend(path.path.get_ident().cloned()),
            other => {
                errors.at(other.span(), DIMENSION);
                return None;
            }
        }
    }
    Some(dims)
}
