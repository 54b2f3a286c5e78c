//! From tokens to checked operators.

use super::attribute::Attribute;
use super::body::Builder;
use super::errors::{Errors, located};
use super::signature::{self, Elements, Parameter, Signature, TensorType};
use super::sizes::sizes;
use super::tune::tuning;
use crate::check::{CallError, Checked, Subject};
use crate::element::Element;
use crate::ir::Size;
use crate::tuning::Tuning;
use proc_macro2::{Ident, Span, TokenStream};

/// An annotated function.
#[derive(Debug, Clone)]
pub struct Operator {
    /// The function's name.
    pub name: Ident,
    /// Its visibility.
    pub visibility: syn::Visibility,
    /// Its other attributes, documentation among them.
    pub attributes: Vec<syn::Attribute>,
    /// Type parameters with their element types (`types(T = […])`).
    pub generics: Vec<(Ident, Vec<Element>)>,
    /// Its parameters.
    pub parameters: Vec<Parameter>,
    /// Its results: one, or those of a tuple.
    pub results: Vec<TensorType>,
    /// `true` if the result type is a tuple.
    pub tuple: bool,
    /// The name of the generated module: the function's name, unless `module = …` gives another.
    pub module: Ident,
    /// The path of the runtime crate: `::energy_kernel`, unless `crate = …` gives another.
    pub runtime: syn::Path,
    /// The sizes to tune for.
    pub tuning: Tuning,
    /// The span of the first `tune`, if there is one.
    pub tune_span: Option<Span>,
    /// One operator for each combination of element types; the last type parameter changes fastest.
    pub variants: Vec<Variant>,
}

/// An operator for one choice of element types.
#[derive(Debug, Clone)]
pub struct Variant {
    /// The element type of each type parameter.
    pub elements: Vec<Element>,
    /// The operator.
    pub checked: Checked,
}

/// Reads the attribute and the annotated function.
///
/// # Errors
/// All errors in them, each at its span.
pub fn parse(attribute: TokenStream, item: TokenStream) -> syn::Result<Operator> {
    let attribute = syn::parse2::<Attribute>(attribute)?;
    let function =
        syn::parse2::<syn::ItemFn>(item.clone()).map_err(|error| match signature::number_in_shape(item) {
            Some(at) => syn::Error::new(at, signature::DIMENSION),
            None => error,
        })?;
    let mut errors = Errors::default();
    let signature = signature::read(&function, &attribute, &mut errors);
    let sizes = sizes(&attribute, &signature, &mut errors);
    let tuning = tuning(&attribute, &sizes, &mut errors);
    errors.finish()?;

    let mut variants = Vec::new();
    for elements in combinations(&attribute.types) {
        let named: Elements = attribute
            .types
            .iter()
            .map(|(name, _)| name.to_string())
            .zip(elements.iter().copied())
            .collect();
        let checked = variant(&function, &signature, &sizes, &named, &tuning)?;
        variants.push(Variant { elements, checked });
    }
    Ok(Operator {
        module: attribute.module.clone().unwrap_or_else(|| function.sig.ident.clone()),
        runtime: attribute.runtime.clone(),
        name: function.sig.ident,
        visibility: function.vis,
        attributes: function.attrs,
        generics: attribute.types,
        parameters: signature.parameters,
        results: signature.results,
        tuple: signature.tuple,
        tuning,
        tune_span: attribute.tune_span,
        variants,
    })
}

/// Returns all combinations of one element type for each type parameter.
fn combinations(types: &[(Ident, Vec<Element>)]) -> Vec<Vec<Element>> {
    types.iter().fold(vec![Vec::new()], |all, (_, elements)| {
        all.iter()
            .flat_map(|chosen| {
                elements.iter().map(|&element| {
                    let mut chosen = chosen.clone();
                    chosen.push(element);
                    chosen
                })
            })
            .collect()
    })
}

fn variant(
    function: &syn::ItemFn,
    signature: &Signature,
    sizes: &[(Size, Span)],
    elements: &Elements,
    tuning: &Tuning,
) -> syn::Result<Checked> {
    let mut errors = Errors::default();
    let mut builder = Builder::new(signature, sizes, elements, function.sig.ident.span(), &mut errors);
    builder.function(&function.block);
    let (mut op, spans) = builder.finish();
    errors.finish()?;
    op.name = function.sig.ident.to_string();
    let checked = Checked::new(op).map_err(|diagnostics| located(&diagnostics, &spans))?;
    let scalars = checked.scalars_in_indices();
    if !scalars.is_empty() {
        return Err(located(&scalars, &spans));
    }
    for sizes in tuning
        .buckets(&checked)
        .map_err(|error| syn::Error::new(spans.whole, error))?
    {
        checked.verify(&sizes).map_err(|error| {
            let at = match &error {
                CallError::Range { read: at, .. } | CallError::Narrow { at, .. } => spans.of(Subject::Expr(*at)),
                _ => spans.whole,
            };
            let op = checked.op();
            let list: Vec<String> = op
                .sizes
                .iter()
                .zip(&sizes)
                .map(|(size, value)| format!("{} = {value}", size.name))
                .collect();
            syn::Error::new(at, format!("{error}, at the tuned sizes {}", list.join(", ")))
        })?;
    }
    Ok(checked)
}
