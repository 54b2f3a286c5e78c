//! Types: what every value is computed in.
//!
//! Literals, and expressions of nothing else, are *weak*: they take the type of what they meet. One pass upwards
//! finds what meets what; one pass downwards tells the weak ones.

use super::{Diagnostic, Place};
use crate::element::{Element, Type};
use crate::ir::{BinaryOp, Expr, ExprId, Function, Literal, Op, ReduceOp, Source, UnaryOp};

/// The types of all expressions.
pub(super) struct Types {
    pub(super) own: Vec<Type>,
    pub(super) operands: Vec<Type>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Inferred {
    ty: Type,
    weak: bool,
}

const fn strong(ty: Type) -> Inferred {
    Inferred { ty, weak: false }
}

const fn weak(ty: Type) -> Inferred {
    Inferred { ty, weak: true }
}

/// The type in which two values meet; none if one is a truth value and the other a number.
fn meet(a: Inferred, b: Inferred) -> Option<Inferred> {
    let both = a.ty.promote(b.ty)?;
    Some(match (a.weak, b.weak) {
        (true, true) => weak(both),
        (false, false) => strong(both),
        (true, false) => strong(adopt(a.ty, b.ty)),
        (false, true) => strong(adopt(b.ty, a.ty)),
    })
}

/// The type of a strong operand that meets a weak one: its own, but an integer becomes a float beside `0.5`, and 64 bits wide beside a
/// literal that needs them.
fn adopt(weak: Type, strong: Type) -> Type {
    match (weak.is_float(), strong.is_float()) {
        (true, false) => Type::F32,
        (false, false) => strong.max(weak),
        _ => strong,
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
            up.operands.push(inferred.ty);
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
    operands: Vec<Type>,
    diagnostics: Vec<Diagnostic>,
}

impl Upwards<'_> {
    fn of(&self, expr: ExprId) -> Inferred {
        self.inferred[expr.index()]
    }

    fn report(&mut self, at: ExprId, message: impl Into<String>, help: Option<&str>) {
        let mut diagnostic = Diagnostic::new(Place::Expr(at), message);
        if let Some(help) = help {
            diagnostic = diagnostic.help(help);
        }
        self.diagnostics.push(diagnostic);
    }

    /// A number; a truth value is reported.
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
            Expr::Size(_) | Expr::Axis(_) => strong(Type::I32),
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
                // Bits are an integer's: a literal under `!` is one, whatever it meets.
                strong(inferred.ty)
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
                let met = meet(self.of(*a), self.of(*b));
                if met.is_none() {
                    let (a, b) = (self.of(*a).ty, self.of(*b).ty);
                    self.report(
                        id,
                        format!("{a} and {b} cannot be compared"),
                        Some("convert the truth value: `(…) as i32`"),
                    );
                }
                self.operands.push(met.map_or(Type::I32, |met| met.ty));
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
                    self.report(*a, "a number is not cast to bool", Some("compare it: `… != 0`"));
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
                    ReduceOp::ArgMax | ReduceOp::ArgMin => strong(Type::I32),
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
        let ty = match source {
            Source::Input(input) => self.op.inputs[input.index()].element.compute(),
            Source::Let(inner) => self.of(self.op.lets[inner.index()].body).ty,
        };
        if let Some(or) = or {
            let fits = meet(self.of(or), strong(ty)).is_some_and(|met| met.ty == ty);
            if !fits {
                let found = self.of(or).ty;
                self.report(
                    or,
                    format!("the value outside the tensor is {found}, but the tensor's elements are computed in {ty}"),
                    Some("convert it with `as`"),
                );
            }
        }
        strong(ty)
    }

    fn call(&mut self, function: Function, arguments: &[ExprId]) -> Inferred {
        let (_, name, _) = Function::TABLE[function as usize];
        let what = format!("`{name}`");
        let first = self.number(arguments[0], &what);
        let float = |inferred: Inferred| Inferred {
            ty: if inferred.ty.is_float() { inferred.ty } else { Type::F32 },
            ..inferred
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

    /// A value that is stored as an element.
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
            let help = format!("say how to convert it: `round(…) as {element}`, or `(…) as {element}` to truncate");
            self.report(
                body,
                format!("the result's elements are {element}, but the value is {ty}"),
                Some(&help),
            );
        }
    }
}

/// Tells weak expressions the widest type that is wanted of them. Parents stand behind children, so going backwards
/// every wish is known when an expression is reached.
fn downwards(op: &Op, inferred: &[Inferred], operands: Vec<Type>) -> Types {
    let mut wanted: Vec<Option<Type>> = vec![None; op.exprs.len()];
    let mut own: Vec<Type> = inferred.iter().map(|inferred| inferred.ty).collect();
    let mut operands = operands;
    let want = |wanted: &mut Vec<Option<Type>>, expr: ExprId, ty: Type| {
        let slot = &mut wanted[expr.index()];
        *slot = Some(slot.map_or(ty, |other| other.max(ty)));
    };
    for output in &op.outputs {
        want(&mut wanted, output.body, output.element.compute());
    }
    for number in (0..op.exprs.len()).rev() {
        if let (true, Some(ty)) = (inferred[number].weak, wanted[number])
            && (ty.is_float() || !inferred[number].ty.is_float())
            && ty != Type::Bool
        {
            own[number] = ty;
        }
        let ty = own[number];
        let compare = matches!(op.exprs[number], Expr::Compare(..));
        if !compare {
            operands[number] = ty;
        }
        match &op.exprs[number] {
            Expr::Unary(_, a) => want(&mut wanted, *a, ty),
            Expr::Binary(_, a, b) => {
                want(&mut wanted, *a, ty);
                want(&mut wanted, *b, ty);
            }
            Expr::Compare(_, a, b) => {
                want(&mut wanted, *a, operands[number]);
                want(&mut wanted, *b, operands[number]);
            }
            Expr::Select { accept, reject, .. } => {
                want(&mut wanted, *accept, ty);
                want(&mut wanted, *reject, ty);
            }
            Expr::Cast(a, element) => want(&mut wanted, *a, element.compute()),
            Expr::Call(Function::Powi, arguments) => want(&mut wanted, arguments[0], ty),
            Expr::Call(_, arguments) => arguments.iter().for_each(|&a| want(&mut wanted, a, ty)),
            Expr::Reduce {
                op: reduction, body, ..
            } if !matches!(reduction, ReduceOp::ArgMax | ReduceOp::ArgMin) => {
                want(&mut wanted, *body, ty);
            }
            Expr::Read { or: Some(or), .. } => want(&mut wanted, *or, ty),
            _ => {}
        }
    }
    Types { own, operands }
}
