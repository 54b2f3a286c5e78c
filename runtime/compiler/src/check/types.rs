//! The type of every value.
//!
//! Literals, and expressions of only literals, are *weak*: they take the type of the operand that they meet. Sizes, axes and positions
//! are *index values*: they become `i32` when they meet an `i32`, and otherwise never wrap in 32 bits.
//! An upward pass infers types. A downward pass then gives weak expressions and index values their final types.

use super::diagnostic::{Diagnostic, Subject};
use crate::element::{Element, Type};
use crate::ir::{BinaryOp, Expr, ExprId, Function, Literal, Op, ReduceOp, Source, UnaryOp};

/// The type of a computed value. The order is that of promotion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Computed {
    /// The type; `I32` for an index value.
    pub(super) ty: Type,
    /// `true` for an index value, which is computed in the type of index registers.
    pub(super) index: bool,
}

impl Computed {
    const I32: Computed = Computed::plain(Type::I32);
    const INDEX: Computed = Computed {
        ty: Type::I32,
        index: true,
    };

    const fn plain(ty: Type) -> Computed {
        Computed { ty, index: false }
    }
}

/// The types of all expressions.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Types {
    pub(super) own: Vec<Computed>,
    /// For a comparison, the type in which its operands are compared; for other expressions, their own type.
    pub(super) operands: Vec<Computed>,
    /// Sizes, axes, positions and index values that become `i32` without an `as`.
    pub(super) narrowed: Vec<ExprId>,
}

/// How an expression's type yields to the type of another operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    /// A literal: takes the type of the other operand.
    Weak,
    /// An index value: takes the integer type of the other operand.
    Index,
    Strong,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Inferred {
    ty: Type,
    hold: Hold,
}

const fn strong(ty: Type) -> Inferred {
    Inferred { ty, hold: Hold::Strong }
}

const fn weak(ty: Type) -> Inferred {
    Inferred { ty, hold: Hold::Weak }
}

const INDEX: Inferred = Inferred {
    ty: Type::I32,
    hold: Hold::Index,
};

impl Inferred {
    fn computed(self) -> Computed {
        Computed {
            ty: self.ty,
            index: self.hold == Hold::Index,
        }
    }
}

/// Returns the common type of two operands. `None` for a truth value and a number.
fn meet(a: Inferred, b: Inferred) -> Option<Inferred> {
    let both = a.ty.promote(b.ty)?;
    let beside_literal = |literal: Type, other: Inferred| match adopt(literal, other.ty) {
        ty if ty == other.ty => other,
        ty => strong(ty),
    };
    Some(match (a.hold, b.hold) {
        (Hold::Weak, Hold::Weak) => weak(both),
        (Hold::Index, Hold::Index) => INDEX,
        (Hold::Weak, _) => beside_literal(a.ty, b),
        (_, Hold::Weak) => beside_literal(b.ty, a),
        _ => strong(both),
    })
}

/// Returns the common type of a literal and another operand: the operand's type, except that an integer becomes a float beside `0.5`, and
/// `i64` beside a literal that does not fit 32 bits.
fn adopt(literal: Type, other: Type) -> Type {
    match (literal.is_float(), other.is_float()) {
        (true, false) => Type::F32,
        (false, false) => other.max(literal),
        _ => other,
    }
}

pub(super) fn check(op: &Op) -> Result<Types, Vec<Diagnostic>> {
    let mut up = Upwards {
        op,
        inferred: Vec::with_capacity(op.exprs.len()),
        operands: Vec::with_capacity(op.exprs.len()),
        diagnostics: Vec::new(),
    };
    for number in 0..op.exprs.len() {
        let id = ExprId(number as u32);
        let inferred = up.expr(id);
        up.inferred.push(inferred);
        if up.operands.len() == number {
            up.operands.push(inferred.computed());
        }
    }
    for output in &op.outputs {
        up.stored(output.body, output.element);
    }
    if !up.diagnostics.is_empty() {
        return Err(up.diagnostics);
    }
    Ok(downwards(op, &up.inferred, up.operands))
}

struct Upwards<'a> {
    op: &'a Op,
    inferred: Vec<Inferred>,
    operands: Vec<Computed>,
    diagnostics: Vec<Diagnostic>,
}

impl Upwards<'_> {
    fn of(&self, expr: ExprId) -> Inferred {
        self.inferred[expr.index()]
    }

    fn report(&mut self, at: ExprId, message: impl Into<String>, help: Option<&str>) {
        let mut diagnostic = Diagnostic::new(Subject::Expr(at), message);
        if let Some(help) = help {
            diagnostic = diagnostic.help(help);
        }
        self.diagnostics.push(diagnostic);
    }

    /// Returns the type of an operand that must be a number, and reports truth values.
    fn number(&mut self, expr: ExprId, what: &str) -> Inferred {
        let inferred = self.of(expr);
        if inferred.ty == Type::Bool {
            self.report(
                expr,
                format!("{what} needs a number, but this is a truth value"),
                Some("convert it: `(…) as i32` or `(…) as f32` gives 0 or 1"),
            );
            return strong(Type::I32);
        }
        inferred
    }

    fn truth(&mut self, expr: ExprId, what: &str) {
        if self.of(expr).ty != Type::Bool {
            let ty = self.of(expr).ty;
            self.report(
                expr,
                format!("{what} needs a truth value, but this is {ty}"),
                Some("compare it: `… != 0`"),
            );
        }
    }

    fn expr(&mut self, id: ExprId) -> Inferred {
        let op = self.op;
        match op.expr(id) {
            Expr::Literal(Literal::Float(_)) => weak(Type::F32),
            Expr::Literal(Literal::Int(value)) if i32::try_from(*value).is_err() => weak(Type::I64),
            Expr::Literal(Literal::Int(_)) => weak(Type::I32),
            Expr::Literal(Literal::Bool(_)) => strong(Type::Bool),
            Expr::Size(_) | Expr::Axis(_) => INDEX,
            Expr::Scalar(input) => strong(op.inputs[input.index()].element.compute()),
            Expr::Read { source, index, or } => self.read(*source, index, *or),
            Expr::Unary(UnaryOp::Neg, a) => self.number(*a, "`-`"),
            Expr::Unary(UnaryOp::Not, a) => {
                let inferred = self.of(*a);
                if inferred.ty.is_float() {
                    self.report(
                        *a,
                        format!("`!` needs a truth value or an integer, but this is {}", inferred.ty),
                        None,
                    );
                }
                match inferred.hold {
                    // `!` flips the bits of an integer, so a literal under it cannot become a float.
                    Hold::Weak => strong(inferred.ty),
                    _ => inferred,
                }
            }
            Expr::Binary(binary @ (BinaryOp::And | BinaryOp::Or), a, b) => {
                let what = if *binary == BinaryOp::And { "`&&`" } else { "`||`" };
                self.truth(*a, what);
                self.truth(*b, what);
                strong(Type::Bool)
            }
            Expr::Binary(binary, a, b) => {
                let what = match binary {
                    BinaryOp::Add => "`+`",
                    BinaryOp::Sub => "`-`",
                    BinaryOp::Mul => "`*`",
                    BinaryOp::Div => "`/`",
                    BinaryOp::Rem => "`%`",
                    BinaryOp::Min => "`min`",
                    _ => "`max`",
                };
                let (a, b) = (self.number(*a, what), self.number(*b, what));
                meet(a, b).unwrap_or(strong(Type::I32))
            }
            Expr::Compare(_, a, b) => {
                let (left, right) = (self.of(*a), self.of(*b));
                let met = meet(left, right);
                if met.is_none() {
                    let (a, b) = (self.of(*a).ty, self.of(*b).ty);
                    self.report(
                        id,
                        format!("{a} and {b} cannot be compared"),
                        Some("convert the truth value: `(…) as i32`"),
                    );
                }
                // Index values keep 64 bits in comparisons, even with an `i32`.
                let index = [left.hold, right.hold].contains(&Hold::Index);
                self.operands.push(match met.map_or(Type::I32, |met| met.ty) {
                    Type::I32 if index => Computed::INDEX,
                    ty => Computed::plain(ty),
                });
                strong(Type::Bool)
            }
            Expr::Select {
                condition,
                accept,
                reject,
            } => {
                self.truth(*condition, "a condition");
                meet(self.of(*accept), self.of(*reject)).unwrap_or_else(|| {
                    let (a, b) = (self.of(*accept).ty, self.of(*reject).ty);
                    self.report(
                        id,
                        format!("the branches have different types: {a} and {b}"),
                        Some("convert one: `(…) as i32`"),
                    );
                    strong(Type::I32)
                })
            }
            Expr::Cast(a, element) => {
                if *element == Element::Bool && self.of(*a).ty != Type::Bool {
                    self.report(*a, "a number cannot be cast to `bool`", Some("compare it: `… != 0`"));
                }
                strong(element.compute())
            }
            Expr::Call(function, arguments) => self.call(*function, arguments),
            Expr::Reduce { op, body, .. } => {
                let what = match op {
                    ReduceOp::Sum => "`sum`",
                    ReduceOp::Prod => "`prod`",
                    ReduceOp::Max => "`max`",
                    ReduceOp::Min => "`min`",
                    ReduceOp::ArgMax => "`argmax`",
                    ReduceOp::ArgMin => "`argmin`",
                };
                let body = self.number(*body, what);
                match op {
                    ReduceOp::ArgMax | ReduceOp::ArgMin => INDEX,
                    _ => body,
                }
            }
        }
    }

    fn read(&mut self, source: Source, index: &[ExprId], or: Option<ExprId>) -> Inferred {
        for &at in index {
            let inferred = self.of(at);
            if !inferred.ty.is_integer() {
                self.report(
                    at,
                    format!("an index must be an integer, but this is {}", inferred.ty),
                    Some("convert it: `(…) as i32`"),
                );
            }
        }
        let of_source = match source {
            Source::Input(input) => strong(self.op.inputs[input.index()].element.compute()),
            Source::Let(inner) => match self.of(self.op.lets[inner.index()].body) {
                INDEX => INDEX,
                body => strong(body.ty),
            },
        };
        let ty = of_source.ty;
        if let Some(or) = or {
            let fits = meet(self.of(or), of_source).is_some_and(|met| met.ty == ty);
            if !fits {
                let found = self.of(or).ty;
                self.report(
                    or,
                    format!("the value outside the tensor is {found}, but the tensor's elements are computed in {ty}"),
                    Some("convert it with `as`"),
                );
            }
        }
        of_source
    }

    fn call(&mut self, function: Function, arguments: &[ExprId]) -> Inferred {
        let (_, name, _) = Function::TABLE[function as usize];
        let what = format!("`{name}`");
        let first = self.number(arguments[0], &what);
        let float = |inferred: Inferred| match inferred.hold {
            _ if inferred.ty.is_float() => inferred,
            Hold::Weak => weak(Type::F32),
            _ => strong(Type::F32),
        };
        match function {
            Function::Abs | Function::Relu => first,
            Function::Powi => {
                let power = self.number(arguments[1], &what);
                if !power.ty.is_integer() {
                    self.report(
                        arguments[1],
                        format!("the power of `powi` must be an integer, but this is {}", power.ty),
                        Some("use `powf`"),
                    );
                }
                first
            }
            Function::Powf => {
                let second = self.number(arguments[1], &what);
                meet(float(first), float(second)).unwrap_or(strong(Type::F32))
            }
            _ => float(first),
        }
    }

    /// Checks a value that is stored as an element.
    fn stored(&mut self, body: ExprId, element: Element) {
        let found = self.of(body);
        let wanted = element.compute();
        if (found.ty == Type::Bool) != (wanted == Type::Bool) {
            let help = if wanted == Type::Bool {
                "compare it: `… != 0`"
            } else {
                "convert it with `as`"
            };
            let ty = found.ty;
            self.report(
                body,
                format!("the result's elements are {element}, but the value is {ty}"),
                Some(help),
            );
        } else if found.ty.is_float() && !wanted.is_float() {
            let ty = found.ty;
            let help = format!("convert it: `round(…) as {element}`, or `(…) as {element}` to truncate");
            self.report(
                body,
                format!("the result's elements are {element}, but the value is {ty}"),
                Some(&help),
            );
        }
    }
}

/// Gives each literal the widest type that its parents want, and makes an index value an `i32` if all of them want that. Children precede
/// parents, so a backward pass has seen every parent of an expression before the expression.
fn downwards(op: &Op, inferred: &[Inferred], operands: Vec<Computed>) -> Types {
    let mut down = Downwards {
        op,
        inferred,
        wishes: vec![Wishes::default(); op.exprs.len()],
        types: Types {
            own: inferred.iter().map(|inferred| inferred.computed()).collect(),
            operands,
            narrowed: Vec::new(),
        },
    };
    for entry in &op.lets {
        down.visit(entry.body);
    }
    for output in &op.outputs {
        down.want_stored(output.body, output.element);
    }
    for number in (0..op.exprs.len()).rev() {
        down.expr(ExprId(number as u32));
    }
    down.types
}

/// The needs of an expression's parents.
#[derive(Debug, Clone, Copy, Default)]
struct Wishes {
    /// The widest type wanted.
    ty: Option<Computed>,
    /// `true` if a parent uses its value.
    as_value: bool,
    /// `true` if it is an index or a term of one.
    as_index: bool,
    /// `true` if a parent needs an `i32`.
    as_i32: bool,
}

struct Downwards<'a> {
    op: &'a Op,
    inferred: &'a [Inferred],
    wishes: Vec<Wishes>,
    types: Types,
}

impl Downwards<'_> {
    /// Notes that a parent uses the value, in any type.
    fn visit(&mut self, expr: ExprId) {
        self.wishes[expr.index()].as_value = true;
    }

    fn want(&mut self, expr: ExprId, ty: Computed) {
        self.visit(expr);
        let wishes = &mut self.wishes[expr.index()];
        wishes.ty = wishes.ty.max(Some(ty));
        wishes.as_i32 |= ty == Computed::I32;
    }

    /// Notes that the value is stored. The store converts an index value, which must fit an `i32` result.
    fn want_stored(&mut self, expr: ExprId, element: Element) {
        let wanted = Computed::plain(element.compute());
        match element {
            Element::I32 => self.want(expr, wanted),
            _ => self.want_converted(expr, wanted),
        }
    }

    /// Notes that the value is converted. An index value remains one until then.
    fn want_converted(&mut self, expr: ExprId, wanted: Computed) {
        let is_index = self.inferred[expr.index()].hold == Hold::Index;
        self.want(expr, if is_index { Computed::INDEX } else { wanted });
    }

    fn want_index(&mut self, expr: ExprId) {
        let wishes = &mut self.wishes[expr.index()];
        wishes.as_index = true;
        wishes.ty = wishes.ty.max(Some(Computed::INDEX));
    }

    fn expr(&mut self, id: ExprId) {
        let op = self.op;
        let number = id.index();
        let wishes = self.wishes[number];
        let Inferred { ty, hold } = self.inferred[number];
        match (hold, wishes.ty) {
            // A literal that needs 64 bits keeps them beside index values.
            (Hold::Weak, Some(Computed::INDEX)) if ty == Type::I64 => {}
            (Hold::Weak, Some(wanted)) if (wanted.ty.is_float() || !ty.is_float()) && wanted.ty != Type::Bool => {
                self.types.own[number] = wanted;
            }
            (Hold::Index, Some(Computed::I32)) => self.types.own[number] = Computed::I32,
            _ => {}
        }
        let own = self.types.own[number];
        let is_source = matches!(
            op.exprs[number],
            Expr::Size(_)
                | Expr::Axis(_)
                | Expr::Read { .. }
                | Expr::Reduce {
                    op: ReduceOp::ArgMax | ReduceOp::ArgMin,
                    ..
                }
        );
        if hold == Hold::Index && wishes.as_i32 && (own.index || is_source) {
            self.types.narrowed.push(id);
        }
        if wishes.as_index {
            let is_arithmetic = op.index_operands(id, |operand| self.want_index(operand));
            if is_arithmetic && !wishes.as_value {
                return;
            }
        }
        if !matches!(op.exprs[number], Expr::Compare(..)) {
            self.types.operands[number] = own;
        }
        match &op.exprs[number] {
            Expr::Literal(_) | Expr::Size(_) | Expr::Axis(_) | Expr::Scalar(_) => {}
            Expr::Unary(_, a) => self.want(*a, own),
            Expr::Binary(_, a, b) => {
                self.want(*a, own);
                self.want(*b, own);
            }
            Expr::Compare(_, a, b) => {
                let operands = self.types.operands[number];
                self.want(*a, operands);
                self.want(*b, operands);
            }
            Expr::Select {
                condition,
                accept,
                reject,
            } => {
                self.visit(*condition);
                self.want(*accept, own);
                self.want(*reject, own);
            }
            Expr::Cast(a, element) => self.want_converted(*a, Computed::plain(element.compute())),
            Expr::Call(Function::Powi, arguments) => {
                self.want(arguments[0], own);
                self.want(arguments[1], Computed::I32);
            }
            Expr::Call(_, arguments) => arguments.iter().for_each(|&a| self.want(a, own)),
            Expr::Reduce {
                op: reduction, body, ..
            } => match reduction {
                ReduceOp::ArgMax | ReduceOp::ArgMin => self.visit(*body),
                _ => self.want(*body, own),
            },
            Expr::Read { index, or, .. } => {
                index.iter().for_each(|&at| self.want_index(at));
                or.iter().for_each(|&or| self.want(or, own));
            }
        }
    }
}
