//! Constants: `f32::MAX` and the like, and expressions of literals.

use crate::element::{Element, Numbers};
use crate::ir::{BinaryOp, Expr, ExprId, Function, Literal, Op, UnaryOp};

/// Returns the value of an expression of literals. It is computed in 64 bits, so that constants are exact.
pub(super) fn folded(op: &Op, expr: &Expr) -> Option<Literal> {
    let literal = |id: ExprId| match op.expr(id) {
        Expr::Literal(literal) => Some(*literal),
        _ => None,
    };
    let float = |literal: Literal| match literal {
        Literal::Float(value) => Some(value),
        Literal::Int(value) => Some(value as f64),
        Literal::Bool(_) => None,
    };
    match *expr {
        Expr::Unary(UnaryOp::Neg, a) => match literal(a)? {
            Literal::Float(value) => Some(Literal::Float(-value)),
            Literal::Int(value) => Some(Literal::Int(value.wrapping_neg())),
            Literal::Bool(_) => None,
        },
        Expr::Binary(binary, a, b) => match (literal(a)?, literal(b)?) {
            (Literal::Int(a), Literal::Int(b)) => {
                let value = match binary {
                    BinaryOp::Add => a.checked_add(b),
                    BinaryOp::Sub => a.checked_sub(b),
                    BinaryOp::Mul => a.checked_mul(b),
                    BinaryOp::Div => a.checked_div(b),
                    BinaryOp::Rem => a.checked_rem(b),
                    BinaryOp::Min => Some(a.min(b)),
                    BinaryOp::Max => Some(a.max(b)),
                    BinaryOp::And | BinaryOp::Or => None,
                };
                // A result that does not fit `i32` wraps in the kernel.
                value.filter(|&value| i32::try_from(value).is_ok()).map(Literal::Int)
            }
            (a, b) => {
                let (a, b) = (float(a)?, float(b)?);
                let value = match binary {
                    BinaryOp::Add => a + b,
                    BinaryOp::Sub => a - b,
                    BinaryOp::Mul => a * b,
                    BinaryOp::Div => a / b,
                    _ => return None,
                };
                Some(Literal::Float(value))
            }
        },
        Expr::Call(function, ref arguments) => {
            let value = float(literal(*arguments.first()?)?)?;
            let value = match function {
                Function::Exp => libm::exp(value),
                Function::Ln => libm::log(value),
                Function::Sqrt => value.sqrt(),
                Function::Rsqrt => 1.0 / value.sqrt(),
                _ => return None,
            };
            Some(Literal::Float(value))
        }
        _ => None,
    }
}

/// `f32::NEG_INFINITY`, `std::f64::consts::PI`, `i32::MIN`, …
pub(super) fn named(path: &syn::Path) -> Option<Literal> {
    let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let names = match names.as_slice() {
        ["std" | "core", rest @ ..] => rest,
        all => all,
    };
    use std::f64::consts;
    let value = match names {
        ["f32" | "f64", "consts", name] => match *name {
            "PI" => consts::PI,
            "TAU" => consts::TAU,
            "E" => consts::E,
            "SQRT_2" => consts::SQRT_2,
            "FRAC_1_SQRT_2" => consts::FRAC_1_SQRT_2,
            "LN_2" => consts::LN_2,
            "LN_10" => consts::LN_10,
            "LOG2_E" => consts::LOG2_E,
            "LOG10_E" => consts::LOG10_E,
            "FRAC_1_PI" => consts::FRAC_1_PI,
            "FRAC_2_PI" => consts::FRAC_2_PI,
            "FRAC_2_SQRT_PI" => consts::FRAC_2_SQRT_PI,
            "FRAC_PI_2" => consts::FRAC_PI_2,
            "FRAC_PI_4" => consts::FRAC_PI_4,
            _ => return None,
        },
        [ty, name] => return of_element(Element::from_name(ty)?, name),
        _ => return None,
    };
    Some(Literal::Float(value))
}

/// `f32::MAX`, `i8::MIN`, …
fn of_element(element: Element, name: &str) -> Option<Literal> {
    match element.numbers() {
        Numbers::Float(format) => Some(Literal::Float(match name {
            "INFINITY" => f64::INFINITY,
            "NEG_INFINITY" => f64::NEG_INFINITY,
            "NAN" => f64::NAN,
            "MAX" => format.largest(),
            "MIN" => -format.largest(),
            "EPSILON" => format.epsilon(),
            "MIN_POSITIVE" => format.smallest_normal(),
            _ => return None,
        })),
        Numbers::Integer(format) => Some(Literal::Int(match name {
            "MIN" => format.smallest(),
            "MAX" => format.largest(),
            _ => return None,
        })),
        Numbers::Truth => None,
    }
}
