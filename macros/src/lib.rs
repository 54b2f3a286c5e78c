//! The attribute of energy-kernel: a thin shell over the compiler's front end.
//!
//! Use it through `energy_kernel::prelude`. The shell adds what only an expansion knows: the package it happens in, and what the
//! package's build left in `OUT_DIR`.

mod embed;

use embed::{Embedded, Missing};
use energy_kernel_compiler::lang::{Environment, expand};
use energy_kernel_compiler::record::Fingerprint;
use proc_macro::TokenStream;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Makes an operator of a function in index notation.
///
/// ```ignore
/// use energy_kernel::prelude::*;
///
/// /// y = gelu(x · wᵀ + b)
/// #[energy_kernel(tune(M = [1, 16, 256], N = 1536, K = 384))]
/// pub fn linear_gelu(x: Tensor<f16, (M, K)>, w: Tensor<f16, (N, K)>, b: Tensor<f16, (N,)>) -> Tensor<f16, (M, N)> {
///     |m, n| gelu(sum(|k| x[[m, k]] * w[[n, k]]) + b[[n]])
/// }
/// ```
///
/// The result is a function `linear_gelu(gpu, &x, &w, &b) -> Result<Tensor<f16>, Error>`, and a module of the same name:
/// `KERNEL`, the operator itself, for tools; `into(gpu, &x, &w, &b, &mut out)` (with several results `&mut out0, &mut out1, …`);
/// `prepare(gpu, &sizes)` and `plan(gpu, &sizes)`; `reference(&x, &w, &b)` on the CPU. With `types(…)` all of these are generic, and the
/// module has a trait for each type parameter, of its name, that its types implement.
///
/// Arguments, separated by commas:
/// - `tune(M = [1, 16, 256], N = 1536)`: sizes to tune for; lists multiply out; may be repeated. The build script tunes. If the package has none
///   that calls `energy_kernel_build::run()`, or if it does not find the operator (in `macro_rules!`, in generated files), the lint `deprecated`
///   warns at `tune`. Like any lint it is silent in dependencies from registries and repositories, and an error under `-D warnings`.
/// - `dims(HO = (H + 2 - R) / 2 + 1, TAPS = 3)`: derived and constant sizes. `/` rounds towards zero, as in Rust, and `a.div_ceil(b)` up. With
///   `dims(HALF = D / 2)` and an odd `D`, `2 * HALF` is `D - 1`, so an operator on the two halves of a row does not mean what it says: that `D` is
///   even is the caller's to check.
/// - `types(T = [f16, bf16])`: makes the operator generic over listed element types.
/// - `module = name`: another name for the module, where the function's own file is a module of that name.
/// - `crate = path`: where `energy_kernel` is found, if not at `::energy_kernel`: an absolute path, or one that starts with a crate's name.
///
/// What the body may hold:
/// - Numbers of any size. Sizes and axes are values too (`C as f32`, `if j <= i`), and so are the positions that `argmax` finds; on their own they have 64 bits. One
///   that must become an `i32`, because it meets one or is returned as one, and does not fit it, makes the call fail: write `as i64`, or return `i64`.
/// - Names of axes, parameters, sizes and `let`s alone. Constants and functions defined elsewhere are not seen by the macro: a constant is written out or made
///   a parameter, a function written out.
/// - Indices that are proved in range at the call, or that are read from a tensor of integers and compared in the kernel. Nothing is known of a scalar
///   parameter, so it stands in an index only where it is kept in range (`min(max(by, 0), N - 1)`), or where `x.or(0.0)[[…]]` says what is outside; else it
///   comes in a tensor of one element, `by: Tensor<i32, ()>`, and is read as `by[[]]`.
#[proc_macro_attribute]
pub fn energy_kernel(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let embedded = Embedded::from_environment();
    let package = std::env::var("CARGO_PKG_NAME").unwrap_or_default();
    let environment = Environment {
        package: &package,
        bundle: &|fingerprint| embedded.bundle(fingerprint),
        overlooked: &|operators| overlooked(&embedded, operators),
    };
    expand(attribute.into(), item.into(), &environment).into()
}

/// The warning for operators with `tune(…)` for which the build script does nothing. If the package has none, only the first operator of a crate
/// is warned of.
fn overlooked(embedded: &Embedded, operators: &[Fingerprint]) -> Option<String> {
    static SAID: AtomicBool = AtomicBool::new(false);
    // Operators in documentation tests are never tuned.
    if std::env::var_os("UNSTABLE_RUSTDOC_TEST_PATH").is_some() {
        return None;
    }
    let missing = embedded.missing(operators)?;
    match missing {
        Missing::BuildScript if SAID.swap(true, Relaxed) => None,
        missing => Some(missing.explanation().to_owned()),
    }
}
