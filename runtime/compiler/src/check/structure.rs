//! Structure: every reference resolves, children precede parents, and axes are used only in scope.

use super::axis_set::AxisSet;
use super::diagnostic::{Diagnostic, Subject};
use crate::ir::{AxisId, Expr, ExprId, Op, SizeId, Source};
use crate::size::{SizeExpr, SizeExprError};
use crate::text::{counted, given};

/// The most levels of nested expressions, intermediate tensors included. Later passes recurse.
const MAXIMUM_HEIGHT: u32 = 200;
/// The most expressions of an operator after its intermediate tensors are inlined.
const MAXIMUM_EXPANSION: u64 = 1 << 24;
/// The most parameters, results, intermediate tensors, and dimensions of one tensor.
const MAXIMUM_LIST: usize = 64;
/// The most expressions, axes and sizes.
const MAXIMUM_ARENA: usize = 1 << 16;

/// Returns the free axes of each expression.
pub(super) fn check(op: &Op) -> Result<Vec<AxisSet>, Vec<Diagnostic>> {
    let whole = |message: &str| vec![Diagnostic::new(Subject::Op, message)];
    let lists = [op.inputs.len(), op.outputs.len(), op.lets.len()];
    if lists.iter().any(|&length| length > MAXIMUM_LIST)
        || [op.exprs.len(), op.axes.len(), op.sizes.len()]
            .iter()
            .any(|&length| length > MAXIMUM_ARENA)
    {
        return Err(whole(
            "the operator is too large; it may have 64 parameters, results and intermediate tensors, and 65536 expressions",
        ));
    }
    if op.outputs.is_empty() {
        return Err(whole("the operator has no result"));
    }
    sizes(op)?;
    let mut checker = Checker {
        op,
        free: Vec::with_capacity(op.exprs.len()),
        height: Vec::with_capacity(op.exprs.len()),
        expansion: Vec::with_capacity(op.exprs.len()),
        owned: vec![false; op.axes.len()],
    };
    for (number, input) in op.inputs.iter().enumerate() {
        let subject = Subject::Input(crate::ir::InputId(number as u32));
        if let Some(dims) = &input.dims {
            checker.dims(subject, dims)?;
        }
    }
    for number in 0..op.exprs.len() {
        checker.expr(ExprId(number as u32))?;
    }
    for (number, entry) in op.lets.iter().enumerate() {
        let subject = Subject::Let(crate::ir::LetId(number as u32));
        checker.root(subject, &entry.axes, entry.body)?;
    }
    for (number, output) in op.outputs.iter().enumerate() {
        let subject = Subject::Output(number);
        checker.dims(subject, &output.dims)?;
        if output.axes.len() != output.dims.len() {
            return Err(vec![Diagnostic::new(
                subject,
                result_of_another_rank(output.dims.len(), output.axes.len()),
            )]);
        }
        checker.root(subject, &output.axes, output.body)?;
        for (&axis, &size) in output.axes.iter().zip(&output.dims) {
            if op.axes[axis.index()].extent != Some(size) {
                return Err(vec![Diagnostic::new(
                    Subject::Axis(axis),
                    "an output's axis must run over the output's dimension",
                )]);
            }
        }
    }
    Ok(checker.free)
}

fn sizes(op: &Op) -> Result<(), Vec<Diagnostic>> {
    let mut derived = false;
    for (number, size) in op.sizes.iter().enumerate() {
        let subject = Subject::Size(SizeId(number as u32));
        match &size.definition {
            None if derived => {
                return Err(vec![Diagnostic::new(subject, "free sizes must precede derived sizes")]);
            }
            None => {
                let id = SizeId(number as u32);
                let bound = op
                    .inputs
                    .iter()
                    .any(|input| input.dims.iter().flatten().any(|&s| s == id));
                if !bound {
                    return Err(vec![
                        Diagnostic::new(
                            subject,
                            format!(
                                "size `{}` is unknown: it is not a dimension of any parameter",
                                size.name
                            ),
                        )
                        .help(format!(
                            "derive it from other sizes: `#[energy_kernel(dims({} = …))]`",
                            size.name
                        )),
                    ]);
                }
            }
            Some(formula) => {
                derived = true;
                refers_before(formula, number, 0)
                    .ok_or_else(|| vec![Diagnostic::new(subject, "a size may refer only to earlier sizes")])?;
                // A formula that refers to sizes is checked at the call.
                if let Err(error @ (SizeExprError::DivisionByZero | SizeExprError::Overflow)) = formula.evaluate(&[]) {
                    let message = format!("the formula of size `{}` {error}", size.name);
                    return Err(vec![Diagnostic::new(subject, message)]);
                }
            }
        }
    }
    Ok(())
}

fn refers_before(formula: &SizeExpr, number: usize, depth: u32) -> Option<()> {
    match formula {
        SizeExpr::Const(_) => Some(()),
        SizeExpr::Size(id) => (id.index() < number).then_some(()),
        SizeExpr::Binary(_, a, b) if depth < MAXIMUM_HEIGHT => {
            refers_before(a, number, depth + 1)?;
            refers_before(b, number, depth + 1)
        }
        SizeExpr::Binary(..) => None,
    }
}

/// Returns the message for a closure with another number of axes than the result has dimensions.
pub(crate) fn result_of_another_rank(dimensions: usize, axes: usize) -> String {
    let (dimensions, axes) = (
        counted(dimensions as u64, "dimension", "dimensions"),
        counted(axes as u64, "axis", "axes"),
    );
    format!("the result has {dimensions}, but its closure has {axes}")
}

/// Returns the message for a function call with a wrong number of values.
pub(crate) fn call_of_another_length(name: &str, expected: usize, found: usize) -> String {
    let (takes, given) = (
        counted(expected as u64, "value", "values"),
        given(found as u64, "value", "values"),
    );
    format!("`{name}` takes {takes}, but {given}")
}

struct Checker<'a> {
    op: &'a Op,
    free: Vec<AxisSet>,
    height: Vec<u32>,
    expansion: Vec<u64>,
    owned: Vec<bool>,
}

type Checks = Result<(), Vec<Diagnostic>>;

fn wrong(at: Subject, message: impl Into<String>) -> Checks {
    Err(vec![Diagnostic::new(at, message)])
}

impl Checker<'_> {
    fn dims(&self, subject: Subject, dims: &[SizeId]) -> Checks {
        if dims.len() > MAXIMUM_LIST {
            return wrong(subject, "a tensor has at most 64 dimensions");
        }
        if dims.iter().any(|size| size.index() >= self.op.sizes.len()) {
            return wrong(subject, "a dimension refers to a size that does not exist");
        }
        Ok(())
    }

    fn own(&mut self, subject: Subject, axes: &[AxisId]) -> Checks {
        for &axis in axes {
            let Some(entry) = self.op.axes.get(axis.index()) else {
                return wrong(subject, "an axis does not exist");
            };
            if entry.extent.is_some_and(|size| size.index() >= self.op.sizes.len()) {
                return wrong(Subject::Axis(axis), "an axis runs over a size that does not exist");
            }
            if std::mem::replace(&mut self.owned[axis.index()], true) {
                return wrong(Subject::Axis(axis), "an axis belongs to two closures");
            }
        }
        Ok(())
    }

    fn root(&mut self, subject: Subject, axes: &[AxisId], body: ExprId) -> Checks {
        if body.index() >= self.op.exprs.len() {
            return wrong(subject, "its value does not exist");
        }
        self.own(subject, axes)?;
        if let Some(stray) = self.free[body.index()].iter().find(|axis| !axes.contains(axis)) {
            return wrong(
                Subject::Axis(stray),
                "an axis is used outside the closure it belongs to",
            );
        }
        Ok(())
    }

    fn expr(&mut self, id: ExprId) -> Checks {
        let op = self.op;
        let subject = Subject::Expr(id);
        let mut before = true;
        op.operands(id, |operand| before &= operand < id);
        if !before {
            return wrong(subject, "an operand follows the expression that uses it");
        }
        let (mut free, mut height, mut expansion) = (AxisSet::default(), 0, 1u64);
        op.operands(id, |operand| {
            free.extend(&self.free[operand.index()]);
            height = height.max(self.height[operand.index()]);
            expansion = expansion.saturating_add(self.expansion[operand.index()]);
        });
        match op.expr(id) {
            Expr::Axis(axis) if axis.index() < op.axes.len() => free.insert(*axis),
            Expr::Axis(_) => return wrong(subject, "the axis does not exist"),
            Expr::Size(size) if size.index() >= op.sizes.len() => {
                return wrong(subject, "the size does not exist");
            }
            Expr::Scalar(input) if op.inputs.get(input.index()).is_none_or(|input| input.dims.is_some()) => {
                return wrong(subject, "not a scalar parameter");
            }
            Expr::Read { source, index, .. } => {
                let (name, rank) = match source {
                    Source::Input(input) => match op.inputs.get(input.index()) {
                        Some(crate::ir::Input {
                            name, dims: Some(dims), ..
                        }) => (name, dims.len()),
                        _ => return wrong(subject, "not a tensor parameter"),
                    },
                    Source::Let(inner) => match op.lets.get(inner.index()) {
                        Some(entry) if entry.body < id => {
                            height = height.max(self.height[entry.body.index()]);
                            expansion = expansion.saturating_add(self.expansion[entry.body.index()]);
                            (&entry.name, entry.axes.len())
                        }
                        _ => return wrong(subject, "an intermediate tensor is used before it is defined"),
                    },
                };
                if index.len() != rank {
                    let has = counted(rank as u64, "dimension", "dimensions");
                    let given = given(index.len() as u64, "index", "indices");
                    return wrong(subject, format!("`{name}` has {has}, but {given}"));
                }
            }
            Expr::Call(function, arguments) => {
                let (_, name, expected) = crate::ir::Function::TABLE[*function as usize];
                if arguments.len() != expected {
                    return wrong(subject, call_of_another_length(name, expected, arguments.len()));
                }
            }
            Expr::Reduce { axes, .. } => {
                if axes.is_empty() {
                    return wrong(subject, "a reduction needs at least one axis");
                }
                self.own(subject, axes)?;
                axes.iter().for_each(|&axis| free.remove(axis));
            }
            _ => {}
        }
        if height >= MAXIMUM_HEIGHT {
            return wrong(subject, "the expression nests too deeply");
        }
        if expansion > MAXIMUM_EXPANSION {
            return wrong(
                subject,
                "the expression is too large after its intermediate tensors are inlined",
            );
        }
        self.free.push(free);
        self.height.push(height + 1);
        self.expansion.push(expansion);
        Ok(())
    }
}
