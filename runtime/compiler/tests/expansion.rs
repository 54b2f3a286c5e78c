//! The expansion of the attribute, as syntax. The runtime's tests compile and run it.

#![cfg(feature = "syn")]

use energy_kernel_compiler::lang::{Environment, expand};
use proc_macro2::TokenStream;
use quote::ToTokens;
use std::path::PathBuf;
use syn::{File, Item, ItemFn, ItemMod};

fn expanded_with(attribute: &str, item: &str, bundle: Option<PathBuf>) -> File {
    let tokens = |text: &str| text.parse::<TokenStream>().unwrap();
    let environment = Environment {
        package: "a-package",
        bundle: &|_| bundle.clone(),
        overlooked: &|_| None,
    };
    syn::parse2(expand(tokens(attribute), tokens(item), &environment)).unwrap()
}

fn expanded(attribute: &str, item: &str) -> File {
    expanded_with(attribute, item, None)
}

fn function(file: &File) -> &ItemFn {
    file.items
        .iter()
        .find_map(|item| match item {
            Item::Fn(function) => Some(function),
            _ => None,
        })
        .expect("a function")
}

fn module(file: &File) -> &ItemMod {
    file.items
        .iter()
        .find_map(|item| match item {
            Item::Mod(module) => Some(module),
            _ => None,
        })
        .expect("a module")
}

fn names(module: &ItemMod) -> Vec<String> {
    let (_, items) = module.content.as_ref().unwrap();
    items
        .iter()
        .filter_map(|item| match item {
            Item::Fn(function) => Some(function.sig.ident.to_string()),
            Item::Static(constant) => Some(constant.ident.to_string()),
            Item::Trait(each) => Some(each.ident.to_string()),
            _ => None,
        })
        .collect()
}

/// The generated functions, which are in a module of their own.
fn functions(outer: &ItemMod) -> Vec<String> {
    let (_, items) = outer.content.as_ref().unwrap();
    let inner = items.iter().find_map(|item| match item {
        Item::Mod(module) => Some(module),
        _ => None,
    });
    names(inner.expect("a module"))
}

fn text(tokens: &impl ToTokens) -> String {
    tokens.to_token_stream().to_string().replace(' ', "")
}

const LINEAR: &str = "/// y = x\u{b7}w + b
    #[inline]
    pub(crate) fn linear(x: Tensor<f16, (M, K)>, w: Tensor<f16, (N, K)>, b: f32) -> Tensor<f16, (M, N)> {
        |m, n| sum(|k| x[[m, k]] * w[[n, k]]) + b
    }";

#[test]
fn a_function_and_a_module_of_the_same_name() {
    let file = expanded("tune(M = [1, 16], N = 64, K = 64)", LINEAR);
    assert_eq!(file.items.len(), 2);
    let function = function(&file);
    assert_eq!(
        text(&function.sig),
        "fnlinear(gpu:&::energy_kernel::Gpu,x:&::energy_kernel::Tensor<::energy_kernel::f16>,w:&::energy_kernel::Tensor<::energy_kernel::f16>,b:::core::primitive::f32)\
         ->::core::result::Result<::energy_kernel::Tensor<::energy_kernel::f16>,::energy_kernel::Error>"
    );
    assert_eq!(text(&function.vis), "pub(crate)");
    assert_eq!(
        function
            .attrs
            .iter()
            .filter(|attribute| attribute.path().is_ident("doc"))
            .count(),
        1
    );
    assert!(
        function
            .attrs
            .iter()
            .any(|attribute| attribute.path().is_ident("inline"))
    );
    let module = module(&file);
    assert_eq!(module.ident, "linear");
    assert_eq!(text(&module.vis), "pub(crate)");
    assert_eq!(names(module), ["KERNEL"]);
    assert_eq!(functions(module), ["into", "prepare", "plan", "workspace", "reference"]);
    assert!(text(module).contains("pubuseself::functions::{into,plan,prepare,reference,workspace};"));
    assert!(!text(&file).contains("compile_error"));
}

#[test]
fn several_results_are_a_tuple() {
    let file = expanded(
        "",
        "fn both(x: Tensor<f32, (R, C)>) -> (Tensor<f32, (R,)>, Tensor<i32, (R,)>) { (|r| max(|c| x[[r, c]]), |r| argmax(|c| x[[r, c]])) }",
    );
    let result = text(&function(&file).sig.output);
    assert!(
        result.contains(
            "Result<(::energy_kernel::Tensor<::core::primitive::f32>,::energy_kernel::Tensor<::core::primitive::i32>,),"
        ),
        "{result}"
    );
    let into = text(module(&file));
    assert!(into.contains("out0:&mut") && into.contains("out1:&mut"), "{into}");
}

#[test]
fn listed_element_types_are_a_trait() {
    let file = expanded(
        "types(T = [f16, bf16])",
        "pub fn copy<T>(x: Tensor<T, (N,)>) -> Tensor<T, (N,)> { |n| x[[n]] }",
    );
    assert!(text(&function(&file).sig).starts_with("fncopy<T:copy::T>("));
    let module = module(&file);
    assert_eq!(names(module), ["T", "KERNEL"]);
    let text = text(module);
    assert!(
        text.contains("implTfor::energy_kernel::f16{}implTfor::energy_kernel::bf16{}"),
        "{text}"
    );
    assert_eq!(text.matches("VariantData{").count(), 2);
}

#[test]
fn module_and_crate_are_renamed() {
    let file = expanded("module = linear_of, crate = other::name", LINEAR);
    assert_eq!(module(&file).ident, "linear_of");
    let text = text(&file);
    assert!(text.contains("linear_of::KERNEL") && text.contains("other::name::Gpu"));
    assert!(!text.contains("::energy_kernel"), "{text}");
}

#[test]
fn a_bundle_is_embedded_where_there_is_one() {
    assert!(text(&expanded("", LINEAR)).contains("bundle:::core::option::Option::None"));
    let with = text(&expanded_with("", LINEAR, Some("/target/out/x.ekbundle".into())));
    assert!(
        with.contains("::core::option::Option::Some(::core::include_bytes!(\"/target/out/x.ekbundle\"))"),
        "{with}"
    );
}

#[test]
fn an_error_leaves_items_of_the_same_types() {
    let wrong = LINEAR.replace("w[[n, k]]", "w[[n]]");
    let (right, wrong) = (expanded("", LINEAR), expanded("", &wrong));
    assert!(text(&wrong).contains("compile_error!"));
    assert_eq!(function(&wrong).sig, function(&right).sig);
    assert_eq!(
        functions(module(&wrong)),
        ["into", "prepare", "plan", "workspace", "reference"]
    );
    assert!(text(module(&wrong)).contains("::core::unreachable!()"));
    // The items are there even if the attribute cannot be parsed.
    let unreadable = expanded("tune(M = )", LINEAR);
    assert!(text(&unreadable).contains("compile_error!"));
    assert_eq!(function(&unreadable).sig, function(&right).sig);
}

/// The warning is a lint at `tune`, because stable attributes cannot warn. There is one for all element types.
#[test]
fn what_the_build_overlooks_is_deprecated_where_it_asks_to_be_tuned() {
    let warnings = |attribute: &str, says: Option<&str>| {
        let tokens = |text: &str| text.parse::<TokenStream>().unwrap();
        let environment = Environment {
            package: "a-package",
            bundle: &|_| None,
            overlooked: &|operators| {
                assert_eq!(operators.len(), 2);
                says.map(str::to_owned)
            },
        };
        let item = "fn twice<T>(x: Tensor<T, (N,)>) -> Tensor<T, (N,)> { |n| x[[n]] * 2.0 }";
        let file: File = syn::parse2(expand(tokens(attribute), tokens(item), &environment)).unwrap();
        let text = text(&file);
        (text.matches("#[deprecated(").count(), text.contains("note=\"because\""))
    };
    let (generic, tuned) = (
        "types(T = [f16, f32])",
        "types(T = [f16, f32]), tune(N = 8), tune(N = 9)",
    );
    assert_eq!(warnings(tuned, Some("because")), (1, true));
    assert_eq!(warnings(tuned, None), (0, false));
    assert_eq!(warnings(generic, Some("because")), (0, false));
}

#[test]
fn what_is_no_function_leaves_the_error_alone() {
    for item in [
        "struct Linear;",
        "fn linear(x: Vec<f32>) -> Tensor<f32, ()> { x }",
        "fn linear(self) {}",
    ] {
        let file = expanded("", item);
        assert!(text(&file).contains("compile_error!"), "{item}");
        assert!(
            !file.items.iter().any(|item| matches!(item, Item::Fn(_) | Item::Mod(_))),
            "{item}"
        );
    }
}
