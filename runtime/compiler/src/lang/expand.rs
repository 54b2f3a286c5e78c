//! The expansion of the attribute: a function, and a module of the same name.
//!
//! Every path in the expansion is absolute, traits included. Every name of its own has the macro's hygiene or a scope without the user's
//! names. So names in the user's code never change its meaning.

use super::interface::{Bodies, Embedded, Interface};
use super::parse::{Operator, parse};
use super::stub::stub;
use crate::fingerprint;
use crate::record::{Fingerprint, encoding};
use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use std::path::PathBuf;

/// The crate that the attribute is expanded in.
pub struct Environment<'a> {
    /// The package's name.
    pub package: &'a str,
    /// Returns the absolute path of an operator's bundle, if the build script wrote one.
    pub bundle: &'a dyn Fn(&Fingerprint) -> Option<PathBuf>,
    /// Returns a warning for operators with `tune(…)` that the build script did not find.
    pub overlooked: &'a dyn Fn(&[Fingerprint]) -> Option<String>,
}

/// Expands the attribute. If there are errors, the result contains them at their spans. If the signature is still readable, it also
/// contains items with the same names and types, so that calls of the operator cause no further errors.
pub fn expand(attribute: TokenStream, item: TokenStream, environment: &Environment<'_>) -> TokenStream {
    let expanded = parse(attribute.clone(), item.clone()).and_then(|operator| full(&operator, environment));
    expanded.unwrap_or_else(|error| {
        let errors = error.into_compile_error();
        let stub = stub(attribute, item);
        quote!(#errors #stub)
    })
}

fn full(operator: &Operator, environment: &Environment<'_>) -> syn::Result<TokenStream> {
    let mut fingerprints = Vec::new();
    let variants = operator.variants.iter().map(|variant| {
        let error = |error| syn::Error::new(operator.name.span(), error);
        let bytes = encoding::encode(variant.checked.op()).map_err(error)?;
        let fingerprint = fingerprint::of(&variant.checked).map_err(error)?;
        let bundle = (environment.bundle)(&fingerprint);
        fingerprints.push(fingerprint);
        Ok(Embedded {
            elements: variant.elements.clone(),
            operator: bytes,
            bundle,
        })
    });
    let interface = Interface {
        name: &operator.name,
        visibility: &operator.visibility,
        attributes: &operator.attributes,
        generics: &operator.generics,
        parameters: &operator.parameters,
        results: &operator.results,
        tuple: operator.tuple,
        module: &operator.module,
        runtime: &operator.runtime,
    };
    let variants = variants.collect::<syn::Result<Vec<_>>>()?;
    let expanded = interface.expand(Bodies::Full {
        package: environment.package,
        variants: &variants,
    });
    let overlooked = (operator.tune_span).and_then(|span| Some((span, (environment.overlooked)(&fingerprints)?)));
    let warning = overlooked.map(|(span, message)| warning(span, &message));
    Ok(quote!(#expanded #warning))
}

/// Returns code that warns at a span. It uses a deprecated item, because attributes have no stable way to warn. The lint is silent in
/// dependencies, an error under `-D warnings`, and allowed by `#![allow(deprecated)]`.
fn warning(at: Span, message: &str) -> TokenStream {
    let name = Ident::new("tune", at);
    quote! {
        #[allow(non_upper_case_globals)]
        const _: () = {
            #[deprecated(note = #message)]
            const #name: () = ();
            #name
        };
    }
}
