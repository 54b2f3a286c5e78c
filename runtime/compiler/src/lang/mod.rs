//! The front end: from an annotated function, as Rust tokens, to operators.
//!
//! [`parse`] reads the attribute and the function, builds one [`Op`] for each combination of element types, and checks
//! them, the tuned sizes included. Every error is at the user's span.

mod arguments;
mod body;
mod expand;
mod remedies;
mod signature;
mod stub;

use crate::check::{CallError, Checked, Diagnostic, Place};
use crate::element::Element;
use crate::ir::{Axis, Op, Size, SizeId};
use crate::tuning::Tuning;
use proc_macro2::{Ident, Span, TokenStream};
use std::collections::HashMap;

pub use expand::{Environment, expand};
pub use signature::{ElementType, Parameter, TensorType};

/// An annotated function.
#[derive(Debug, Clone)]
pub struct Operator {
    /// The function's name.
    pub name: Ident,
    /// Its visibility.
    pub visibility: syn::Visibility,
    /// Its other attributes, documentation among them.
    pub attributes: Vec<syn::Attribute>,
    /// Type parameters with the elements they stand for (`types(T = […])`).
    pub generics: Vec<(Ident, Vec<Element>)>,
    /// Its parameters.
    pub parameters: Vec<Parameter>,
    /// Its results: one, or those of a tuple.
    pub results: Vec<TensorType>,
    /// Whether the result type is a tuple.
    pub tuple: bool,
    /// The name of the generated module: the function's, or what `module = …` says.
    pub module: Ident,
    /// The path of the runtime crate: `::energy_kernel`, or what `crate = …` says.
    pub runtime: syn::Path,
    /// The sizes to tune for.
    pub tuning: Tuning,
    /// The span of the first `tune`; none if there is none.
    pub tune_span: Option<Span>,
    /// One operator a combination of element types, the last type parameter changing fastest.
    pub variants: Vec<Variant>,
}

/// An operator for one choice of element types.
#[derive(Debug, Clone)]
pub struct Variant {
    /// The choice, one a type parameter.
    pub elements: Vec<Element>,
    /// The operator.
    pub checked: Checked,
}

/// Where the parts of an operator stand in the source.
#[derive(Debug, Clone)]
struct Spans {
    whole: Span,
    sizes: Vec<Span>,
    inputs: Vec<Span>,
    axes: Vec<Span>,
    lets: Vec<Span>,
    outputs: Vec<Span>,
    exprs: Vec<Span>,
}

impl Spans {
    fn of(&self, place: Place) -> Span {
        let found = match place {
            Place::Op => None,
            Place::Size(id) => self.sizes.get(id.index()),
            Place::Input(id) => self.inputs.get(id.index()),
            Place::Axis(id) => self.axes.get(id.index()),
            Place::Let(id) => self.lets.get(id.index()),
            Place::Output(at) => self.outputs.get(at),
            Place::Expr(id) => self.exprs.get(id.index()),
        };
        found.copied().unwrap_or(self.whole)
    }
}

/// Errors found so far, reported together.
#[derive(Debug, Default)]
struct Errors(Option<syn::Error>);

impl Errors {
    fn push(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(first) => first.combine(error),
            none => *none = Some(error),
        }
    }

    fn at(&mut self, span: Span, message: impl std::fmt::Display) {
        self.push(syn::Error::new(span, message));
    }

    fn finish(self) -> syn::Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}

/// The elements that type parameters stand for, in one variant.
type Elements = HashMap<String, Element>;

/// Reads an annotated function: the attribute's arguments and the item.
///
/// # Errors
/// Everything that is wrong with it, each at its span.
pub fn parse(attribute: TokenStream, item: TokenStream) -> syn::Result<Operator> {
    let arguments = syn::parse2::<arguments::Arguments>(attribute)?;
    let function =
        syn::parse2::<syn::ItemFn>(item.clone()).map_err(|error| match signature::number_in_shape(item) {
            Some(at) => syn::Error::new(at, signature::DIMENSION),
            None => error,
        })?;
    let mut errors = Errors::default();
    let signature = signature::read(&function, &arguments, &mut errors);
    let sizes = arguments::sizes(&arguments, &signature, &mut errors);
    let tuning = arguments::tuning(&arguments, &sizes, &mut errors);
    errors.finish()?;

    let mut variants = Vec::new();
    for elements in combinations(&arguments.types) {
        let named: Elements = arguments
            .types
            .iter()
            .map(|(name, _)| name.to_string())
            .zip(elements.iter().copied())
            .collect();
        let checked = variant(&function, &signature, &sizes, &named, &tuning)?;
        variants.push(Variant { elements, checked });
    }
    Ok(Operator {
        module: arguments.module.clone().unwrap_or_else(|| function.sig.ident.clone()),
        runtime: arguments.runtime.clone(),
        name: function.sig.ident,
        visibility: function.vis,
        attributes: function.attrs,
        generics: arguments.types,
        parameters: signature.parameters,
        results: signature.results,
        tuple: signature.tuple,
        tuning,
        tune_span: arguments.tune_span,
        variants,
    })
}

/// All choices of one element for each type parameter.
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
    signature: &signature::Signature,
    sizes: &[(Size, Span)],
    elements: &Elements,
    tuning: &Tuning,
) -> syn::Result<Checked> {
    let mut errors = Errors::default();
    let mut builder = body::Builder::new(signature, sizes, elements, function.sig.ident.span(), &mut errors);
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
                CallError::Range { read: at, .. } | CallError::Narrow { at, .. } => spans.of(Place::Expr(*at)),
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

/// Findings of the check as errors at the user's spans.
fn located(diagnostics: &[Diagnostic], spans: &Spans) -> syn::Error {
    let mut errors = Errors::default();
    for diagnostic in diagnostics {
        let help = diagnostic
            .help
            .as_ref()
            .map_or(String::new(), |help| format!("\nhelp: {help}"));
        errors.at(spans.of(diagnostic.at), format!("{}{help}", diagnostic.message));
    }
    errors
        .0
        .unwrap_or_else(|| syn::Error::new(spans.whole, "the operator is not valid"))
}

/// An expression without the parentheses around it, and without the invisible groups that `macro_rules!` puts around what it was given.
fn ungrouped_expr(expr: &syn::Expr) -> &syn::Expr {
    match expr {
        syn::Expr::Paren(inner) => ungrouped_expr(&inner.expr),
        syn::Expr::Group(inner) => ungrouped_expr(&inner.expr),
        other => other,
    }
}

/// The size of that name.
fn size_named(sizes: &[(Size, Span)], name: &str) -> Option<SizeId> {
    sizes
        .iter()
        .position(|(size, _)| size.name == name)
        .map(|at| SizeId(at as u32))
}

/// An operator with nothing in it yet.
fn empty(sizes: &[(Size, Span)]) -> Op {
    Op {
        name: String::new(),
        sizes: sizes.iter().map(|(size, _)| size.clone()).collect(),
        inputs: Vec::new(),
        axes: Vec::<Axis>::new(),
        lets: Vec::new(),
        outputs: Vec::new(),
        exprs: Vec::new(),
    }
}
