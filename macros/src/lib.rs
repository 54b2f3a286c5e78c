//! The attribute of energy-kernel: a thin shell over the compiler's front end.
//!
//! Use it through `energy_kernel::prelude`. The shell adds what only an expansion knows: its package, and the output of the package's
//! build in `OUT_DIR`.

mod embed;

use embed::{Embedded, Missing};
use energy_kernel_compiler::lang::{Environment, expand};
use energy_kernel_compiler::record::Fingerprint;
use proc_macro::TokenStream;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Turns a function in index notation into an operator.
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
/// The result is a function `linear_gelu(gpu, &x, &w, &b) -> Result<Tensor<f16>, Error>`, and a module of the same name that holds
/// - `into(gpu, &x, &w, &b, &mut out)`, which writes into a tensor; with several results `&mut out0, &mut out1, …`;
/// - `prepare(gpu, &sizes)` and `plan(gpu, &sizes)`;
/// - `reference(&x, &w, &b)`, which computes on the CPU;
/// - `KERNEL`, the operator itself, for tools.
///
/// With `types(…)` all of these are generic, and the module has a trait for each type parameter, of its name, that its types implement.
///
/// # Arguments
///
/// - `tune(M = [1, 16, 256], N = 1536)`: the sizes that the build script tunes. Lists multiply out. The clause may be repeated. The lint
///   `deprecated` warns at `tune` if the package has no build script that calls `energy_kernel_build::run()`, or if that script does not
///   find the operator (in `macro_rules!`, in generated files). Like any lint it is silent in dependencies from registries and repositories,
///   and an error under `-D warnings`.
/// - `dims(HO = (H + 2 - R) / 2 + 1, TAPS = 3)`: derived and constant sizes. `/` rounds towards zero, as in Rust, and `a.div_ceil(b)` rounds
///   up. With `dims(HALF = D / 2)` and an odd `D`, `2 * HALF` is `D - 1`; an operator on the two halves of a row then skips an element.
///   The caller must check that `D` is even.
/// - `types(T = [f16, bf16])`: makes the operator generic over listed element types.
/// - `module = name`: the name of the module, for a function whose file is a module of the function's name.
/// - `crate = path`: the path of `energy_kernel`, if it is not `::energy_kernel`. It is absolute or starts with a crate's name.
///
/// # Body
///
/// - Numbers may have any size. Sizes and axes are values too (`C as f32`, `if j <= i`), and so are the positions that `argmax` finds. Alone
///   they have 64 bits. If one becomes an `i32`, because it meets one or is returned as one, and does not fit, the call fails. Write `as i64`,
///   or return `i64`.
/// - Names may be axes, parameters, sizes and `let`s. The macro does not see constants and functions defined elsewhere: write a constant out
///   or make it a parameter, and write a function out.
/// - Indices must be proved in range at the call, or be read from a tensor of integers and compared in the kernel. Nothing is known of a
///   scalar parameter. Keep it in range in an index (`min(max(by, 0), N - 1)`), give the value outside (`x.or(0.0)[[…]]`), or pass it as a
///   tensor of one element, `by: Tensor<i32, ()>`, and read it as `by[[]]`.
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

/// The warning for operators with `tune(…)` that the build script does not tune. Without a build script only the first operator of a crate
/// gets it.
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
