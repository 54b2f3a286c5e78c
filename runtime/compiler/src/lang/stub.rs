//! The stand-in for an operator with errors, so that its callers compile.

use super::attribute::Attribute;
use super::errors::Errors;
use super::interface::{Bodies, Interface};
use super::signature;
use proc_macro2::TokenStream;

/// Returns items with the operator's names and types, or nothing if the signature itself is wrong.
pub(super) fn stub(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let attribute = syn::parse2::<Attribute>(attribute).unwrap_or_default();
    let Ok(function) = syn::parse2::<syn::ItemFn>(item) else {
        return TokenStream::new();
    };
    let mut errors = Errors::default();
    let signature = signature::read(&function, &attribute, &mut errors);
    if errors.finish().is_err() {
        return TokenStream::new();
    }
    let interface = Interface {
        name: &function.sig.ident,
        visibility: &function.vis,
        attributes: &function.attrs,
        generics: &attribute.types,
        parameters: &signature.parameters,
        results: &signature.results,
        tuple: signature.tuple,
        module: attribute.module.as_ref().unwrap_or(&function.sig.ident),
        runtime: &attribute.runtime,
    };
    interface.expand(Bodies::Stub)
}
