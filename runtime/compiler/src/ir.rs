//! The operator: what a kernel computes, with nothing said about how.
//!
//! An [`Op`] maps input tensors and scalars to output tensors. Each output is one expression over the
//! output's axes; intermediate tensors ([`Let`]) are expressions over axes of their own. Expressions live
//! in one arena and refer to each other by [`ExprId`]; a child always stands before its parent, so a
//! single pass over the arena sees operands first. An expression may be shared (a `let` inside a closure).
//!
//! Semantics:
//! - Values are computed in a [`Type`](crate::element::Type); operands of mixed types are promoted
//!   (`i32 < i64 < f32 < f64`). A stored value is converted when read, and once when stored: round to nearest even.
//! - Literals take the type of what they meet; on their own they are `f32` or `i32`.
//! - Sizes, axes and positions (`argmax`, `argmin`) are *index values*, and so is what is made of them and of literals
//!   alone, sums and products included. They are 64-bit integers: `(R * C) as f32`, `R * C > i` and `argmax(…) as i64`
//!   are exact beyond 2³¹. Beside an `i32`, or stored as one, they are `i32`s like it, and what is computed with them wraps; a
//!   call at whose sizes a size, an axis or a position does not fit is refused ([`CallError::Narrow`](crate::check::CallError::Narrow)). `as i64` widens
//!   and `as i32` wraps. A comparison with an `i32` is exact.
//! - An index is a 64-bit integer: its `+ - * / %` do not wrap in 32 bits, whatever the types of their operands, also in
//!   `table[[ids[[t]] * D + d]]`. What stands in a `let`, a function or an `if` is a value as anywhere.
//! - Which of this takes 64-bit instructions is the kernel's business ([`is_wide`](crate::tuning::is_wide)), and shows in nothing but time.
//! - Integers wrap; `x / 0` is 0 and `x % 0` is `x`; division truncates. Shifts do not exist.
//! - `max`, `min` propagate NaN, as values and as reductions. `argmax`/`argmin` give the lowest index among
//!   equals, NaN wins. An empty `sum` is 0, `prod` 1, `max` −∞ (integers: the type's minimum; index values: that of `i64`), `min` the opposite, `argmax` 0.
//! - A read outside its tensor yields the read's `or` value where it has one. Where it has none, the indices that
//!   are affine are proved to be in range before the launch; gathered ones yield 0.
//! - Sums of `f16`, `bf16` accumulate in `f32`, of integers in their compute type, of `f64` in `f64`.
//! - `round` is Rust's: half away from zero. `as` between numbers is Rust's: saturating from float, wrapping among integers.

use crate::element::Element;
use crate::size::SizeExpr;
use bincode::{Decode, Encode};

pub use crate::id::{AxisId, ExprId, InputId, LetId, SizeId};

/// An operator. See the module's documentation for what it means.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Op {
    /// The function's name. No part of the fingerprint.
    pub name: String,
    /// Free sizes first (in order of first appearance in the inputs), then derived ones; a derived size refers to earlier ones only.
    pub sizes: Vec<Size>,
    /// Parameters in the order of the function's signature.
    pub inputs: Vec<Input>,
    /// Axes of outputs, intermediate tensors and reductions. Each belongs to exactly one of them.
    pub axes: Vec<Axis>,
    /// Intermediate tensors; each refers to earlier ones only.
    pub lets: Vec<Let>,
    /// Results in the order of the function's result type; at least one.
    pub outputs: Vec<Output>,
    /// The arena. Children stand before their parents.
    pub exprs: Vec<Expr>,
}

/// A named size of tensor dimensions.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Size {
    /// The name in the source.
    pub name: String,
    /// None for a free size, bound by the shapes of a call; else its formula (`dims(…)`).
    pub definition: Option<SizeExpr>,
}

/// A parameter.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Input {
    /// The name in the source.
    pub name: String,
    /// What it is stored as.
    pub element: Element,
    /// A tensor's dimensions, slowest first, row-major without gaps; none for a scalar passed by value.
    pub dims: Option<Vec<SizeId>>,
}

/// An axis: an integer that runs from 0 to its extent.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Axis {
    /// The name in the source.
    pub name: String,
    /// The extent where the source states it: always for an output's axis, else from `|k: K|`.
    pub extent: Option<SizeId>,
}

/// An intermediate tensor. Its shape is its axes' extents; it is computed, never stored, unless a schedule says so.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Let {
    /// The name in the source.
    pub name: String,
    /// Its axes, slowest first; none for a single value.
    pub axes: Vec<AxisId>,
    /// Its value over its axes. Refers to no other axes than these and those of reductions inside.
    pub body: ExprId,
}

/// A result.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Output {
    /// What it is stored as.
    pub element: Element,
    /// Dimensions, slowest first.
    pub dims: Vec<SizeId>,
    /// Its axes, one a dimension.
    pub axes: Vec<AxisId>,
    /// Its value over its axes.
    pub body: ExprId,
}

/// An expression.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum Expr {
    /// A constant.
    Literal(Literal),
    /// A size as a value: an index value.
    Size(SizeId),
    /// An axis as a value: an index value.
    Axis(AxisId),
    /// A scalar parameter.
    Scalar(InputId),
    /// An element of a tensor.
    Read {
        /// Whose.
        source: Source,
        /// One integer expression a dimension.
        index: Vec<ExprId>,
        /// The value outside the tensor (`x.or(v)`).
        or: Option<ExprId>,
    },
    /// `-a`, `!a`.
    Unary(UnaryOp, ExprId),
    /// `a + b`, `a && b`, …
    Binary(BinaryOp, ExprId, ExprId),
    /// `a < b`, …: a truth value.
    Compare(CompareOp, ExprId, ExprId),
    /// `if condition { accept } else { reject }`. Reads in a branch happen only where it is taken.
    Select {
        /// A truth value.
        condition: ExprId,
        /// The value where it holds.
        accept: ExprId,
        /// The value where it does not.
        reject: ExprId,
    },
    /// `a as T`: converts to the element type, then computes on in that type's compute type.
    Cast(ExprId, Element),
    /// A function of the language.
    Call(Function, Vec<ExprId>),
    /// A reduction over all combinations of its axes.
    Reduce {
        /// How values are combined.
        op: ReduceOp,
        /// The axes, slowest first; at least one. `argmax`/`argmin` count their combinations in this order.
        axes: Vec<AxisId>,
        /// The value that is reduced.
        body: ExprId,
    },
}

/// Where a read comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Source {
    /// A tensor parameter.
    Input(InputId),
    /// An intermediate tensor.
    Let(LetId),
}

/// A constant of the source. Without a suffix it takes the type of what it meets.
#[derive(Debug, Clone, Copy, PartialEq, Encode, Decode)]
pub enum Literal {
    /// `0.5`, `f32::NEG_INFINITY`; exact to `f64`.
    Float(f64),
    /// `2`.
    Int(i64),
    /// `true`.
    Bool(bool),
}

/// Operators of one operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub enum UnaryOp {
    /// Arithmetic negation.
    Neg,
    /// Logical not of a truth value; bitwise of an integer.
    Not,
}

/// Operators of two operands of one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub enum BinaryOp {
    /// Addition.
    Add,
    /// Subtraction.
    Sub,
    /// Multiplication.
    Mul,
    /// Division.
    Div,
    /// Remainder, with the sign of the dividend.
    Rem,
    /// The smaller; NaN if one is NaN.
    Min,
    /// The larger; NaN if one is NaN.
    Max,
    /// Logical and; reads on the right happen only where the left holds.
    And,
    /// Logical or; reads on the right happen only where the left does not hold.
    Or,
}

/// Comparisons. All but `Ne` are false if an operand is NaN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub enum CompareOp {
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

/// Functions of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub enum Function {
    /// eˣ
    Exp,
    /// Natural logarithm.
    Ln,
    /// Square root.
    Sqrt,
    /// 1 / √x
    Rsqrt,
    /// Hyperbolic tangent.
    Tanh,
    /// Error function.
    Erf,
    /// Sine, of radians.
    Sin,
    /// Cosine, of radians.
    Cos,
    /// Absolute value; also of integers.
    Abs,
    /// `powi(x, n)`: an integer power.
    Powi,
    /// `powf(x, y)`.
    Powf,
    /// Towards −∞.
    Floor,
    /// Towards +∞.
    Ceil,
    /// To the nearest, half away from zero.
    Round,
    /// `max(x, 0)`; NaN stays NaN. Also of integers.
    Relu,
    /// `x/2 · (1 + erf(x/√2))`
    Gelu,
    /// `x · sigmoid(x)`
    Silu,
    /// `1 / (1 + e⁻ˣ)`
    Sigmoid,
    /// `tf32(x)`: to 11 significant bits, the nearest, half away from zero. What tensor cores multiply `f32` as. Of an `f64` by way of `f32`.
    Tf32,
    /// `tf32_toward_zero(x)`: to 11 significant bits, the rest cut off, as tensor cores do with an `f32` that nobody rounded. One instruction, where
    /// `tf32` takes three; errors are up to twice as large, and all to one side. A signalling NaN may become infinity. Of an `f64` by way of `f32`.
    Tf32TowardZero,
}

impl Function {
    /// Every function with its name in the source and its number of operands.
    pub const TABLE: [(Function, &'static str, usize); 20] = [
        (Function::Exp, "exp", 1),
        (Function::Ln, "ln", 1),
        (Function::Sqrt, "sqrt", 1),
        (Function::Rsqrt, "rsqrt", 1),
        (Function::Tanh, "tanh", 1),
        (Function::Erf, "erf", 1),
        (Function::Sin, "sin", 1),
        (Function::Cos, "cos", 1),
        (Function::Abs, "abs", 1),
        (Function::Powi, "powi", 2),
        (Function::Powf, "powf", 2),
        (Function::Floor, "floor", 1),
        (Function::Ceil, "ceil", 1),
        (Function::Round, "round", 1),
        (Function::Relu, "relu", 1),
        (Function::Gelu, "gelu", 1),
        (Function::Silu, "silu", 1),
        (Function::Sigmoid, "sigmoid", 1),
        (Function::Tf32, "tf32", 1),
        (Function::Tf32TowardZero, "tf32_toward_zero", 1),
    ];
}

/// Reductions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub enum ReduceOp {
    /// Σ
    Sum,
    /// Π
    Prod,
    /// The largest.
    Max,
    /// The smallest.
    Min,
    /// Where the largest is: an index value.
    ArgMax,
    /// Where the smallest is: an index value.
    ArgMin,
}

impl Op {
    /// The expression with that id.
    pub fn expr(&self, id: ExprId) -> &Expr {
        &self.exprs[id.index()]
    }

    /// Calls `visit` with the operands of an expression that index arithmetic computes: `-a`, `a + b`, `a - b`, `a * b`, `a / b`, `a % b`.
    /// Returns `false` for any other expression.
    pub(crate) fn index_operands(&self, id: ExprId, mut visit: impl FnMut(ExprId)) -> bool {
        match *self.expr(id) {
            Expr::Unary(UnaryOp::Neg, a) => visit(a),
            Expr::Binary(BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Rem, a, b) => {
                visit(a);
                visit(b);
            }
            _ => return false,
        }
        true
    }

    /// Calls `visit` with each direct operand of an expression, in source order.
    pub fn operands(&self, id: ExprId, mut visit: impl FnMut(ExprId)) {
        match self.expr(id) {
            Expr::Literal(_) | Expr::Size(_) | Expr::Axis(_) | Expr::Scalar(_) => {}
            Expr::Read { index, or, .. } => index.iter().chain(or).for_each(|&e| visit(e)),
            Expr::Unary(_, a) | Expr::Cast(a, _) => visit(*a),
            Expr::Binary(_, a, b) | Expr::Compare(_, a, b) => {
                visit(*a);
                visit(*b);
            }
            Expr::Select {
                condition,
                accept,
                reject,
            } => {
                visit(*condition);
                visit(*accept);
                visit(*reject);
            }
            Expr::Call(_, arguments) => arguments.iter().for_each(|&e| visit(e)),
            Expr::Reduce { body, .. } => visit(*body),
        }
    }
}
