//! The operator: what a kernel computes, independent of how.
//!
//! An [`Op`] maps input tensors and scalars to output tensors. Each output is one expression over the
//! output's axes; intermediate tensors ([`Let`]) are expressions over axes of their own. Expressions live
//! in one arena and refer to each other by [`ExprId`]. A child always precedes its parents, so a
//! single pass over the arena sees operands first. An expression may be shared (a `let` inside a closure).
//!
//! Semantics:
//! - Values are computed in a [`Type`](crate::element::Type); operands of mixed types are promoted
//!   (`i32 < i64 < f32 < f64`). A stored value is converted when read, and once when stored: round to nearest even.
//! - A literal takes the type of the operand that it meets. On its own it is `f32` or `i32`.
//! - Sizes, axes and positions (`argmax`, `argmin`) are *index values*. Expressions of index values and literals are index values too,
//!   reductions included. Index values are 64-bit integers: `(R * C) as f32`, `R * C > i` and `argmax(…) as i64`
//!   are exact beyond 2³¹. An index value that meets an `i32`, or is stored as one, becomes an `i32`, and arithmetic on it wraps. A call
//!   is refused if a size, an axis or a position does not fit then ([`CallError::Narrow`](crate::check::CallError::Narrow)). `as i64` widens
//!   and `as i32` wraps. A comparison with an `i32` is exact.
//! - An index is a 64-bit integer: its `+ - * / %` do not wrap in 32 bits, whatever the types of their operands, as in
//!   `table[[ids[[t]] * D + d]]`. Values inside a `let`, a function or an `if` follow the usual rules.
//! - Kernels use 64-bit instructions only where they need them ([`is_wide`](crate::tuning::is_wide)). Results do not depend on it.
//! - Integers wrap; `x / 0` is 0 and `x % 0` is `x`; division truncates. Shifts do not exist.
//! - `max` and `min` propagate NaN, as values and as reductions. `argmax` and `argmin` give the lowest index among
//!   equals, and NaN wins. An empty `sum` is 0, `prod` 1, `max` −∞ (integers: the type's minimum; index values: that of `i64`), `min` the opposite, `argmax` 0.
//! - A read outside its tensor yields the read's `or` value. Without one, affine indices are proved in range before the launch, and
//!   gathered indices out of range yield 0.
//! - Sums of `f16`, `bf16` accumulate in `f32`, of integers in their compute type, of `f64` in `f64`.
//! - `round` is Rust's: half away from zero. `as` between numbers is Rust's: saturating from float, wrapping among integers.

use crate::element::Element;
use crate::size::SizeExpr;
use bincode::{Decode, Encode};

pub use crate::id::{AxisId, ExprId, InputId, LetId, SizeId};

/// An operator. The module's documentation states its semantics.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Op {
    /// The function's name. Not part of the fingerprint.
    pub name: String,
    /// Free sizes (in order of first appearance in the inputs), then derived sizes. A derived size refers only to earlier sizes.
    pub sizes: Vec<Size>,
    /// Parameters in the order of the function's signature.
    pub inputs: Vec<Input>,
    /// Axes of outputs, intermediate tensors and reductions. Each axis belongs to exactly one of these.
    pub axes: Vec<Axis>,
    /// Intermediate tensors. Each refers only to earlier ones.
    pub lets: Vec<Let>,
    /// Results in the order of the function's result type; at least one.
    pub outputs: Vec<Output>,
    /// The arena. Children precede their parents.
    pub exprs: Vec<Expr>,
}

/// A named size of tensor dimensions.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Size {
    /// The name in the source.
    pub name: String,
    /// The formula of a derived size (`dims(…)`). `None` for a free size, which the shapes of a call determine.
    pub definition: Option<SizeExpr>,
}

/// A parameter.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Input {
    /// The name in the source.
    pub name: String,
    /// The element type.
    pub element: Element,
    /// A tensor's dimensions, slowest first, row-major without gaps; `None` for a scalar passed by value.
    pub dims: Option<Vec<SizeId>>,
}

/// An axis: an integer that runs from 0 to its extent.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Axis {
    /// The name in the source.
    pub name: String,
    /// The extent, if the source states it: always for an output's axis, otherwise from `|k: K|`.
    pub extent: Option<SizeId>,
}

/// An intermediate tensor. Its shape is its axes' extents. It is stored only if a schedule says so.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Let {
    /// The name in the source.
    pub name: String,
    /// Its axes, slowest first; empty for a single value.
    pub axes: Vec<AxisId>,
    /// Its value over its axes. It refers only to these axes and those of reductions inside it.
    pub body: ExprId,
}

/// A result.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Output {
    /// The element type.
    pub element: Element,
    /// Dimensions, slowest first.
    pub dims: Vec<SizeId>,
    /// Its axes, one for each dimension.
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
        /// The tensor.
        source: Source,
        /// One integer expression for each dimension.
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
    /// `if condition { accept } else { reject }`. Reads in a branch happen only if it is taken.
    Select {
        /// A truth value.
        condition: ExprId,
        /// The value if the condition holds.
        accept: ExprId,
        /// The value otherwise.
        reject: ExprId,
    },
    /// `a as T`: converted to the element type, then to its compute type.
    Cast(ExprId, Element),
    /// A function of the language.
    Call(Function, Vec<ExprId>),
    /// A reduction over all combinations of its axes.
    Reduce {
        /// The combining operation.
        op: ReduceOp,
        /// The axes, slowest first; at least one. `argmax`/`argmin` count their combinations in this order.
        axes: Vec<AxisId>,
        /// The reduced value.
        body: ExprId,
    },
}

/// The tensor that a read accesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Source {
    /// A tensor parameter.
    Input(InputId),
    /// An intermediate tensor.
    Let(LetId),
}

/// A constant in the source. Without a suffix it takes the type of the operand that it meets.
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
    /// The smaller operand; NaN if one is NaN.
    Min,
    /// The larger operand; NaN if one is NaN.
    Max,
    /// Logical and. Reads on the right happen only if the left holds.
    And,
    /// Logical or. Reads on the right happen only if the left does not hold.
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
    /// Absolute value, of integers too.
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
    /// `max(x, 0)`, of integers too. NaN stays NaN.
    Relu,
    /// `x/2 · (1 + erf(x/√2))`
    Gelu,
    /// `x · sigmoid(x)`
    Silu,
    /// `1 / (1 + e⁻ˣ)`
    Sigmoid,
    /// `tf32(x)`: rounded to 11 significant bits, half away from zero. Tensor cores multiply such numbers exactly. An `f64` is first rounded
    /// to `f32`.
    Tf32,
    /// `tf32_toward_zero(x)`: truncated to 11 significant bits, as tensor cores truncate an `f32`. It takes one instruction, `tf32` takes three.
    /// Errors are up to twice as large, and biased. A signalling NaN may become infinity. An `f64` is first rounded to `f32`.
    Tf32TowardZero,
}

impl Function {
    /// Every function, its name in the source, and its number of operands.
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

    /// `true` if special function units compute it, between other instructions. The others are a few ordinary instructions each.
    pub const fn is_special(self) -> bool {
        use Function::{Abs, Ceil, Floor, Powi, Relu, Round, Tf32, Tf32TowardZero};
        !matches!(self, Abs | Powi | Floor | Ceil | Round | Relu | Tf32 | Tf32TowardZero)
    }
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
    /// The position of the largest: an index value.
    ArgMax,
    /// The position of the smallest: an index value.
    ArgMin,
}

impl ReduceOp {
    /// The number that leaves a reduction as it is.
    pub const fn identity(self) -> f64 {
        match self {
            ReduceOp::Sum => 0.0,
            ReduceOp::Prod => 1.0,
            ReduceOp::Max | ReduceOp::ArgMax => f64::NEG_INFINITY,
            ReduceOp::Min | ReduceOp::ArgMin => f64::INFINITY,
        }
    }
}

impl Op {
    /// The expression with that id.
    pub fn expr(&self, id: ExprId) -> &Expr {
        &self.exprs[id.index()]
    }

    /// Calls `visit` with the operands of index arithmetic: `-a`, `a + b`, `a - b`, `a * b`, `a / b`, `a % b`.
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
