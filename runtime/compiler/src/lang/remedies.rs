//! Advice for names that the language does not have.

use crate::element::Element;
use crate::ir::Function;

/// Functions of Rust and of tensor libraries, with what to write instead.
const FUNCTIONS: [(&[&str], &str); 50] = [
    (&["softplus"], "write `max(x, 0.0) + ln(1.0 + exp(-abs(x)))`"),
    (&["ln_1p", "log1p"], "write `ln(1.0 + x)`"),
    (&["exp_m1", "expm1"], "write `exp(x) - 1.0`"),
    (&["exp2"], "write `powf(2.0, x)`"),
    (&["log2"], "write `ln(x) * f32::consts::LOG2_E`"),
    (&["log10"], "write `ln(x) * f32::consts::LOG10_E`"),
    (&["log"], "the natural logarithm is `ln`"),
    (&["clamp", "clip"], "write `min(max(x, low), high)`"),
    (
        &["gelu_tanh"],
        "write `0.5 * x * (1.0 + tanh(0.7978845608 * (x + 0.044715 * x * x * x)))`",
    ),
    (&["trunc"], "write `if x < 0.0 { ceil(x) } else { floor(x) }`"),
    (&["fract"], "write `x % 1.0`"),
    (&["signum", "sign"], "write `if x < 0.0 { -1.0 } else { 1.0 }`"),
    (&["recip", "reciprocal"], "write `1.0 / x`"),
    (&["mul_add", "fma"], "write `a * b + c`: it is rounded once"),
    (&["rem_euclid"], "write `(x % n + n) % n`"),
    (&["div_euclid"], "write `(x - (x % n + n) % n) / n`"),
    (
        &["div_ceil"],
        "write `(x + n - 1) / n`; sizes have `div_ceil` in `dims(…)`",
    ),
    (
        &["round_ties_even", "rint"],
        "use `round`, which rounds half away from zero",
    ),
    (&["is_nan", "isnan"], "write `x != x`"),
    (&["is_finite", "isfinite"], "write `abs(x) < f32::INFINITY`"),
    (&["is_infinite", "isinf"], "write `abs(x) == f32::INFINITY`"),
    (&["tan"], "write `sin(x) / cos(x)`"),
    (&["sinh"], "write `(exp(x) - exp(-x)) / 2.0`"),
    (&["cosh"], "write `(exp(x) + exp(-x)) / 2.0`"),
    (
        &["cbrt"],
        "write `powf(x, 1.0 / 3.0)`, which is NaN for negative numbers",
    ),
    (&["hypot"], "write `sqrt(x * x + y * y)`"),
    (&["sqr", "square"], "write `x * x`"),
    (&["pow"], "use `powi` or `powf`"),
    (&["fabs"], "it is called `abs`"),
    (&["erfc"], "write `1.0 - erf(x)`"),
    (&["swish"], "it is called `silu`"),
    (&["logistic"], "it is called `sigmoid`"),
    (&["mish"], "write `x * tanh(ln(1.0 + exp(x)))`"),
    (&["elu"], "write `if x > 0.0 { x } else { exp(x) - 1.0 }`"),
    (&["leaky_relu"], "write `if x > 0.0 { x } else { 0.01 * x }`"),
    (&["relu6"], "write `min(relu(x), 6.0)`"),
    (
        &["hardsigmoid", "hard_sigmoid"],
        "write `min(max(x / 6.0 + 0.5, 0.0), 1.0)`",
    ),
    (
        &["hardswish", "hard_swish"],
        "write `x * min(max(x / 6.0 + 0.5, 0.0), 1.0)`",
    ),
    (&["where", "select"], "write `if … { … } else { … }`"),
    (&["mean", "avg", "average"], "write `sum(|k| …) / K as f32`"),
    (&["softmax"], "compose it of `max`, `exp` and `sum`"),
    (&["any"], "write `max(|k| (…) as i32) != 0`"),
    (&["all"], "write `min(|k| (…) as i32) != 0`"),
    (&["count"], "write `sum(|k| (…) as i32)`"),
    (&["maximum", "fmax"], "it is called `max`"),
    (&["minimum", "fmin"], "it is called `min`"),
    (
        &["to_bits", "from_bits"],
        "the kernel language has no bitwise operations",
    ),
    (
        &["top", "topk", "argtop", "sort"],
        "only the largest element is supported: `max` and `argmax`",
    ),
    (&["uniform", "rand", "random"], "pass random numbers in a tensor"),
    (
        &["wrapping_add", "wrapping_sub", "wrapping_mul"],
        "`+`, `-` and `*` of integers wrap",
    ),
];

/// Returns what to write instead of an unknown function.
pub(super) fn of_function(name: &str) -> String {
    let known = FUNCTIONS.iter().find(|(names, _)| names.contains(&name));
    if let Some((_, remedy)) = known {
        return (*remedy).to_owned();
    }
    let functions: Vec<&str> = Function::TABLE.iter().map(|(_, name, _)| *name).collect();
    format!(
        "the functions are {}, min, max, and the reductions sum, prod, min, max, argmax, argmin; \
         the macro cannot see functions defined elsewhere: write what they compute",
        functions.join(", ")
    )
}

/// Returns what to write instead of an unknown name.
pub(super) fn of_name(name: &str) -> String {
    let number = match name.to_ascii_lowercase().as_str() {
        "inf" | "infinity" => Some("use `f32::INFINITY` or `f32::NEG_INFINITY`"),
        "neg_infinity" => Some("use `f32::NEG_INFINITY`"),
        "nan" => Some("use `f32::NAN`"),
        "pi" | "tau" | "sqrt_2" | "ln_2" | "log2_e" => {
            Some("use a constant of `f32::consts`, such as `f32::consts::PI`")
        }
        _ => None,
    };
    if let Some(number) = number {
        return number.to_owned();
    }
    let constant = name
        .chars()
        .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    match constant {
        true => format!(
            "the macro cannot see constants defined elsewhere: write the value, add a parameter `{name}: f32`, or define a size with `dims({name} = …)`"
        ),
        false => format!("to pass in a value, add a parameter: `{name}: f32`"),
    }
}

/// What to write instead of an unknown constant.
pub(super) const OF_CONSTANT: &str = "known constants are f32::NEG_INFINITY, f32::MAX, f32::EPSILON, f32::consts::PI and the like; \
    the macro cannot see constants defined elsewhere: write the value, or add a parameter";

/// Returns the error for an unknown element type, with what to write instead.
pub(super) fn of_element(name: &str) -> String {
    let known = match name {
        "u32" => Some("use `i64`, or `i32` for values below 2³¹"),
        "u16" | "i16" => Some("use `i32`"),
        "usize" | "isize" | "u64" => Some("use `i32` or `i64`"),
        "f8e4m3" | "f8e5m2" | "f8" | "fp8" => Some("convert it to `f16` before the call"),
        "q8_0" | "q4_0" | "q4_1" | "q5_0" | "q5_1" | "q4_k" | "q5_k" | "q6_k" => {
            Some("pass the numbers as `i8` and the scales as another tensor")
        }
        "Option" => Some("write an operator with the parameter, and one without"),
        "half" | "float16" => Some("it is called `f16`"),
        "bfloat16" => Some("it is called `bf16`"),
        "float" | "float32" => Some("it is called `f32`"),
        "double" | "float64" => Some("it is called `f64`"),
        "int" | "int32" => Some("it is called `i32`"),
        "int8" => Some("it is called `i8`"),
        "uint8" => Some("it is called `u8`"),
        "int64" => Some("it is called `i64`"),
        _ => None,
    };
    let names: Vec<&str> = Element::ALL.iter().map(|element| element.name()).collect();
    let names = match names.split_last() {
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    };
    let is_parameter = name.len() <= 2 && name.starts_with(|c: char| c.is_ascii_uppercase());
    let parameter = match is_parameter {
        true => format!(", and parameters listed by `types({name} = […])`"),
        false => String::new(),
    };
    let help = known.map_or(String::new(), |known| format!("\nhelp: {known}"));
    format!("unknown element type `{name}`; the element types are {names}{parameter}{help}")
}

/// What to write instead of a bitwise operator.
pub(super) const OF_BITS: &str = "write `x * 4` for `x << 2`; for non-negative numbers, `x / 4` for `x >> 2` and `x % 256` for `x & 255`; \
    combine truth values with `&&` and `||`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_needs_no_remedy() {
        for (names, _) in FUNCTIONS {
            for name in names {
                assert!(Function::TABLE.iter().all(|(_, other, _)| other != name), "{name}");
            }
        }
        assert!(of_function("helper").contains("exp, ln, sqrt"));
    }

    /// Every suggested expression is accepted, as a number or as a truth value.
    #[test]
    fn remedies_are_of_the_language() {
        let accepts = |body: &str| {
            let names = ["x", "y", "n", "a", "b", "c", "low", "high"].map(|name| format!("{name}: f32"));
            let source = format!(
                "fn f(t: Tensor<f32, (N,)>, {}) -> Tensor<f32, (N,)> {{ |i| t[[i]] * {{ {body} }} }}",
                names.join(", ")
            );
            crate::lang::parse(Default::default(), source.parse().expect("tokens")).map(|_| ())
        };
        for (names, remedy) in FUNCTIONS {
            let Some(written) = remedy.split('`').nth(1).filter(|_| remedy.contains("write")) else {
                continue;
            };
            if !written.contains('…') {
                let number = accepts(written);
                let truth = accepts(&format!("if {written} {{ 1.0 }} else {{ 0.0 }}"));
                assert!(number.is_ok() || truth.is_ok(), "{names:?}: {number:?}");
            }
        }
    }
}
