//! The function and the module that the attribute generates.

use super::signature::{ElementType, Parameter, TensorType};
use crate::element::{Element, Origin};
use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{ToTokens, format_ident, quote};
use std::path::PathBuf;

/// The function and module to generate.
pub(super) struct Interface<'a> {
    pub name: &'a Ident,
    pub visibility: &'a syn::Visibility,
    pub attributes: &'a [syn::Attribute],
    pub generics: &'a [(Ident, Vec<Element>)],
    pub parameters: &'a [Parameter],
    pub results: &'a [TensorType],
    pub tuple: bool,
    pub module: &'a Ident,
    pub runtime: &'a syn::Path,
}

/// The bodies of the generated items.
pub(super) enum Bodies<'a> {
    /// Calls of the runtime.
    Full { package: &'a str, variants: &'a [Embedded] },
    /// Bodies that never run, because the crate does not compile.
    Stub,
}

/// The embedded data of one combination of element types.
pub(super) struct Embedded {
    pub elements: Vec<Element>,
    pub operator: Vec<u8>,
    pub bundle: Option<PathBuf>,
}

/// Returns an identifier that cannot collide with the user's names.
fn own(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

impl Interface<'_> {
    pub(super) fn expand(&self, bodies: Bodies<'_>) -> TokenStream {
        let (name, module, vis, attributes) = (self.name, self.module, self.visibility, self.attributes);
        let full = matches!(bodies, Bodies::Full { .. });
        let function = self.function(full);
        let into = self.into(full);
        let prepare = self.planning("prepare", full);
        let plan = self.planning("plan", full);
        let workspace = self.planning("workspace", full);
        let reference = self.reference(full);
        let kernel = match bodies {
            Bodies::Full { package, variants } => self.kernel(package, variants),
            Bodies::Stub => TokenStream::new(),
        };
        let traits = self.traits();
        // A stub does not use its parameters, which is not the user's fault.
        let unused = match bodies {
            Bodies::Full { .. } => TokenStream::new(),
            Bodies::Stub => quote!(#[allow(unused_variables)]),
        };
        let about = format!("The operator [`{name}()`](fn@{name}): its kernel, and other ways to call it.");
        quote! {
            #(#attributes)*
            #[allow(clippy::too_many_arguments)]
            #unused
            #vis #function

            #[doc = #about]
            #unused
            #[allow(dead_code, unreachable_pub, clippy::too_many_arguments)]
            #vis mod #module {
                #traits
                #kernel
                // Separate from the static, so that a parameter may have its name.
                mod functions {
                    #into
                    #prepare
                    #plan
                    #workspace
                    #reference
                }
                #[allow(unused_imports)]
                pub use self::functions::{into, plan, prepare, reference, workspace};
            }
        }
    }

    /// `fn name(gpu, inputs…) -> Result<outputs>`.
    fn function(&self, full: bool) -> TokenStream {
        let (name, module, runtime) = (self.name, self.module, self.runtime);
        let here = quote!(#module::);
        let (gpu, inputs, call) = (own("gpu"), own("inputs"), own("call"));
        let generics = self.generics(&here);
        let parameters = self.parameters(&quote!(Tensor));
        let result = self.result(&quote!(Tensor));
        let body = body(full, || {
            let variant = self.variant(&here);
            let arguments = self.arguments("Argument");
            let outputs = self.outputs();
            let positions = 0..outputs.len();
            let elements = self.results.iter().map(|result| self.element(&result.element));
            let value = self.value(&outputs);
            quote! {
                let #inputs = #arguments;
                let #call = #runtime::__private::Call::new(#variant, #gpu, &#inputs)?;
                #(let #outputs = #call.output::<#elements>(#positions)?;)*
                #call.launch(&[#(<#runtime::__private::View<'_> as ::core::convert::From<_>>::from(&#outputs)),*])?;
                ::core::result::Result::Ok(#value)
            }
        });
        quote! {
            fn #name #generics (#gpu: &#runtime::Gpu, #(#parameters),*) -> ::core::result::Result<#result, #runtime::Error> {
                #body
            }
        }
    }

    /// `fn into(gpu, inputs…, outputs…)`.
    fn into(&self, full: bool) -> TokenStream {
        let runtime = self.runtime;
        let (gpu, inputs) = (own("gpu"), own("inputs"));
        let generics = self.generics(&quote!(super::));
        let parameters = self.parameters(&quote!(Tensor));
        let outputs = self.outputs();
        let elements = self.results.iter().map(|result| self.element(&result.element));
        let body = body(full, || {
            let variant = self.variant(&quote!(super::));
            let arguments = self.arguments("Argument");
            quote! {
                let #inputs = #arguments;
                #runtime::__private::Call::new(#variant, #gpu, &#inputs)?
                    .launch(&[#(<#runtime::__private::View<'_> as ::core::convert::From<_>>::from(&*#outputs)),*])
            }
        });
        let plural = if outputs.len() == 1 { "a tensor" } else { "tensors" };
        let about = format!(
            "Runs the operator and stores its result in {plural} of the caller. After [`prepare`] it allocates nothing.\n\n# Errors\nArguments that do not fit each other or the GPU, or an error of the driver."
        );
        quote! {
            #[doc = #about]
            pub fn into #generics (
                #gpu: &#runtime::Gpu,
                #(#parameters,)*
                #(#outputs: &mut #runtime::Tensor<#elements>),*
            ) -> ::core::result::Result<(), #runtime::Error> {
                #body
            }
        }
    }

    /// `fn prepare(gpu, sizes) -> Result<Plan>`, `plan`, and `workspace`, which returns bytes.
    fn planning(&self, name: &str, full: bool) -> TokenStream {
        let runtime = self.runtime;
        let (gpu, sizes) = (own("gpu"), own("sizes"));
        let method = Ident::new(name, Span::call_site());
        let generics = self.generics(&quote!(super::));
        let plan = quote!(#runtime::Plan);
        let (about, result) = match name {
            "prepare" => (
                "Loads the kernel that calls of these sizes use. Afterwards [`into`] neither allocates nor waits.",
                plan,
            ),
            "workspace" => (
                "Returns the bytes of workspace that calls of these sizes share with other calls on the stream. [`prepare`] allocates it.",
                quote!(u64),
            ),
            _ => (
                "Returns the kernel that calls of these sizes use, why it was chosen, and its figures. Launches nothing.",
                plan,
            ),
        };
        let about = format!("{about}\n\n# Errors\nSizes that are missing, unknown or invalid, or no kernel for them.");
        let body = body(full, || {
            let variant = self.variant(&quote!(super::));
            quote!(#variant.#method(#gpu, #sizes))
        });
        quote! {
            #[doc = #about]
            pub fn #method #generics (
                #gpu: &#runtime::Gpu,
                #sizes: &#runtime::Sizes,
            ) -> ::core::result::Result<#result, #runtime::Error> {
                #body
            }
        }
    }

    /// `fn reference(inputs…) -> Result<outputs>`.
    fn reference(&self, full: bool) -> TokenStream {
        let runtime = self.runtime;
        let (inputs, call) = (own("inputs"), own("call"));
        let generics = self.generics(&quote!(super::));
        let parameters = self.parameters(&quote!(HostTensor));
        let result = self.result(&quote!(HostTensor));
        let body = body(full, || {
            let variant = self.variant(&quote!(super::));
            let arguments = self.arguments("HostArgument");
            let outputs = self.results.iter().enumerate().map(|(position, result)| {
                let element = self.element(&result.element);
                quote!(#call.output::<#element>(#position)?)
            });
            let value = self.value(&outputs.collect::<Vec<_>>());
            quote! {
                let #inputs = #arguments;
                let #call = #runtime::__private::HostOutputs::new(#variant, &#inputs)?;
                ::core::result::Result::Ok(#value)
            }
        });
        quote! {
            /// Computes the operator on the CPU, internally in double precision.
            ///
            /// # Errors
            /// Arguments that do not fit each other.
            pub fn reference #generics (#(#parameters),*) -> ::core::result::Result<#result, #runtime::Error> {
                #body
            }
        }
    }

    /// `static KERNEL`.
    fn kernel(&self, package: &str, variants: &[Embedded]) -> TokenStream {
        let runtime = self.runtime;
        let name = self.name.to_string();
        let variants = variants.iter().map(|variant| {
            let types = variant.elements.iter().map(|element| {
                let id = Ident::new(&format!("{element:?}"), Span::call_site());
                quote!(#runtime::__private::ElementId::#id)
            });
            let operator = Literal::byte_string(&variant.operator);
            let bundle = match variant.bundle.as_ref().and_then(|path| path.to_str()) {
                Some(path) => quote!(::core::option::Option::Some(::core::include_bytes!(#path))),
                None => quote!(::core::option::Option::None),
            };
            quote! {
                #runtime::__private::VariantData { types: &[#(#types),*], operator: #operator, bundle: #bundle }
            }
        });
        quote! {
            /// The operator itself, for tools.
            pub static KERNEL: #runtime::Operator = #runtime::Operator::new(#runtime::__private::OperatorData {
                name: #name,
                package: #package,
                variants: &[#(#variants),*],
            });
        }
    }

    /// For each type parameter, a trait that its element types implement.
    fn traits(&self) -> TokenStream {
        let runtime = self.runtime;
        let traits = self.generics.iter().map(|(name, elements)| {
            let types = elements.iter().map(|&element| self.known(element));
            let list: Vec<&str> = elements.iter().map(|element| element.name()).collect();
            let about = format!("The element types of `{name}`: {}.", list.join(", "));
            quote! {
                #[doc = #about]
                pub trait #name: #runtime::Element {}
                #(impl #name for #types {})*
            }
        });
        traits.collect()
    }

    /// `<T: here::T>`, or nothing.
    fn generics(&self, here: &TokenStream) -> TokenStream {
        let names = self.generics.iter().map(|(name, _)| name);
        match self.generics {
            [] => TokenStream::new(),
            _ => quote!(<#(#names: #here #names),*>),
        }
    }

    /// The expression for the variant of the element types at hand.
    fn variant(&self, here: &TokenStream) -> TokenStream {
        let runtime = self.runtime;
        let names = self.generics.iter().map(|(name, _)| name);
        quote!(#here KERNEL.variant(&[#(<#names as #runtime::Element>::ELEMENT),*])?)
    }

    fn parameters(&self, tensor: &TokenStream) -> Vec<TokenStream> {
        let runtime = self.runtime;
        let parameter = |parameter: &Parameter| {
            let (name, element) = (&parameter.name, self.element(&parameter.element));
            match parameter.dims {
                Some(_) => quote!(#name: &#runtime::#tensor<#element>),
                None => quote!(#name: #element),
            }
        };
        self.parameters.iter().map(parameter).collect()
    }

    /// `[Argument::tensor(x), Argument::scalar(s), …]`
    fn arguments(&self, kind: &str) -> TokenStream {
        let (runtime, kind) = (self.runtime, format_ident!("{kind}"));
        let arguments = self.parameters.iter().map(|parameter| {
            let name = &parameter.name;
            let constructor = match parameter.dims {
                Some(_) => quote!(tensor),
                None => quote!(scalar),
            };
            quote!(#runtime::__private::#kind::#constructor(#name))
        });
        quote!([#(#arguments),*])
    }

    /// The names of the results: `out`, or `out0`, `out1`, …
    fn outputs(&self) -> Vec<Ident> {
        match self.results.len() {
            1 => vec![own("out")],
            several => (0..several).map(|position| own(&format!("out{position}"))).collect(),
        }
    }

    fn result(&self, tensor: &TokenStream) -> TokenStream {
        let runtime = self.runtime;
        let types = self.results.iter().map(|result| {
            let element = self.element(&result.element);
            quote!(#runtime::#tensor<#element>)
        });
        self.value(&types.collect::<Vec<_>>())
    }

    /// A single item, or a tuple if the user's result type is one.
    fn value<T: ToTokens>(&self, parts: &[T]) -> TokenStream {
        match self.tuple {
            true => quote!((#(#parts,)*)),
            false => quote!(#(#parts)*),
        }
    }

    fn element(&self, element: &ElementType) -> TokenStream {
        match element {
            ElementType::Known(element) => self.known(*element),
            ElementType::Parameter(name) => quote!(#name),
        }
    }

    fn known(&self, element: Element) -> TokenStream {
        let (runtime, name) = (self.runtime, format_ident!("{}", element.name()));
        match element.origin() {
            Origin::Primitive => quote!(::core::primitive::#name),
            Origin::Runtime => quote!(#runtime::#name),
        }
    }
}

/// A function's body. A stub never runs: the crate does not compile.
fn body(full: bool, make: impl FnOnce() -> TokenStream) -> TokenStream {
    match full {
        true => make(),
        false => quote!(::core::unreachable!()),
    }
}
