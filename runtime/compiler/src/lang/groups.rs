//! Syntax without the parentheses and invisible groups around it.

use syn::{Expr, Stmt, Type};

/// Returns a type without the parentheses around it, and without the invisible groups that `macro_rules!` puts around its arguments.
pub(super) fn ungrouped(ty: &Type) -> &Type {
    match ty {
        Type::Paren(inner) => ungrouped(&inner.elem),
        Type::Group(inner) => ungrouped(&inner.elem),
        other => other,
    }
}

/// Returns an expression without the parentheses and invisible groups around it.
pub(super) fn ungrouped_expr(expr: &Expr) -> &Expr {
    match expr {
        Expr::Paren(inner) => ungrouped_expr(&inner.expr),
        Expr::Group(inner) => ungrouped_expr(&inner.expr),
        other => other,
    }
}

/// Returns an expression without the parentheses, groups and braces around it.
pub(super) fn unwrapped(expr: &Expr) -> &Expr {
    match ungrouped_expr(expr) {
        Expr::Block(block) => match block.block.stmts.as_slice() {
            [Stmt::Expr(inner, None)] => unwrapped(inner),
            _ => expr,
        },
        other => other,
    }
}
