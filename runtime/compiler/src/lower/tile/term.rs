//! Terms of sums that are no products: pointwise work on operands, of which some have the rows and the others the columns.
//!
//! Slabs hold the operands, and each thread does the pointwise work for the outputs of its tile.

use super::roles::Roles;
use crate::check::Checked;
use crate::element::Type;
use crate::families::formula::Symbol;
use crate::ir::{BinaryOp, Expr, ExprId, Function, Literal, Source};

/// A term as pointwise work on operands.
pub(crate) struct Pointwise {
    /// `true` if it has the rows; where it stands.
    pub operands: Vec<(bool, ExprId)>,
    /// Sets of output positions that the operands with the rows, and those with the columns, depend on.
    pub rows: u64,
    pub columns: u64,
    /// Instructions that add a term to a sum.
    pub instructions: u32,
}

/// The most operands of a term, which all take registers and shared memory.
const MOST_OPERANDS: usize = 4;
/// The most instructions of a term: of longer ones arithmetic takes most of the time anyway.
const MOST_INSTRUCTIONS: u32 = 16;

impl Pointwise {
    /// Takes a term apart. None if it is no pointwise work on operands of both sides. `last`: the last output position, which columns have.
    pub fn of(checked: &Checked, roles: &mut Roles, body: ExprId, last: u64) -> Option<Pointwise> {
        let mut sets = Vec::new();
        Search { checked, roles }.sets(body, &mut sets)?;
        let union = |of: &dyn Fn(u64) -> bool| sets.iter().filter(|&&set| of(set)).fold(0, |all, set| all | set);
        let columns = union(&|set| set & last != 0);
        let rows = union(&|set| set & !columns != 0);
        if columns == 0 || rows == 0 || rows & last != 0 {
            return None;
        }
        let mut term = Pointwise {
            operands: Vec::new(),
            rows,
            columns,
            instructions: 1,
        };
        term.take(&mut Search { checked, roles }, body)?;
        let fits = term.operands.len() <= MOST_OPERANDS && term.instructions <= MOST_INSTRUCTIONS;
        fits.then_some(term)
    }

    /// Takes operands out of an expression, and counts the instructions for the rest.
    fn take(&mut self, search: &mut Search<'_>, expr: ExprId) -> Option<()> {
        let checked = search.checked;
        let op = checked.op();
        let set = search.outputs(expr)?;
        if checked.axes(expr).is_empty() {
            return Some(());
        }
        if set & !self.rows == 0 || set & !self.columns == 0 {
            let operand = (set & !self.rows == 0, expr);
            if !self.operands.contains(&operand) {
                self.operands.push(operand);
            }
            return Some(());
        }
        if let Some(body) = search.inside(expr) {
            return self.take(search, body);
        }
        self.instructions += match *op.expr(expr) {
            Expr::Unary(..) | Expr::Compare(..) | Expr::Select { .. } => 1,
            Expr::Binary(BinaryOp::Div | BinaryOp::Rem, ..) => return None,
            Expr::Binary(..) => 1,
            Expr::Cast(..) => 4,
            Expr::Call(Function::Abs | Function::Relu, _) => 1,
            Expr::Call(Function::Powi, ref arguments) => match op.expr(*arguments.get(1)?) {
                Expr::Literal(Literal::Int(2)) => 1,
                Expr::Literal(Literal::Int(0 | 1 | 3 | 4)) => 2,
                _ => return None,
            },
            _ => return None,
        };
        let mut operands = Vec::new();
        op.operands(expr, |operand| operands.push(operand));
        operands.into_iter().try_for_each(|operand| self.take(search, operand))
    }
}

/// The type of an operand's elements in shared memory, where those of the sum have `bytes`. None if it has another size.
pub(crate) fn type_in_slab(checked: &Checked, operand: ExprId, bytes: u32) -> Option<Type> {
    match (checked.ty(operand), bytes) {
        (Type::Bool, 4) => Some(Type::I32),
        (Type::Bool, _) => Some(Type::I64),
        (ty @ (Type::I32 | Type::F32), 4) | (ty @ (Type::I64 | Type::F64), 8) => Some(ty),
        _ => None,
    }
}

struct Search<'a> {
    checked: &'a Checked,
    roles: &'a mut Roles,
}

impl Search<'_> {
    /// The set of output positions that an expression depends on. None if it depends on an axis without a role.
    fn outputs(&self, expr: ExprId) -> Option<u64> {
        let mut set = 0;
        for axis in self.checked.axes(expr).iter() {
            if let Symbol::Output(position) = self.roles.symbol(axis)? {
                set |= 1u64.checked_shl(position as u32)?;
            }
        }
        Some(set)
    }

    /// The value of an intermediate tensor that is read at axes, in range: what its own axes stand for is then known.
    fn inside(&mut self, expr: ExprId) -> Option<ExprId> {
        let op = self.checked.op();
        let Expr::Read {
            source: Source::Let(inner),
            ref index,
            or: None,
        } = *op.expr(expr)
        else {
            return None;
        };
        let entry = &op.lets[inner.index()];
        for (dimension, (&at, &own)) in index.iter().zip(&entry.axes).enumerate() {
            let (Expr::Axis(axis), true) = (op.expr(at), self.checked.spans(expr, dimension)) else {
                return None;
            };
            let symbol = self.roles.symbol(*axis)?;
            self.roles.stands_for(own, symbol)?;
        }
        Some(entry.body)
    }

    /// The sets of output positions of all that a term reads. None if there is a reduction among it.
    fn sets(&mut self, expr: ExprId, sets: &mut Vec<u64>) -> Option<()> {
        if let Some(body) = self.inside(expr) {
            return self.sets(body, sets);
        }
        let op = self.checked.op();
        match op.expr(expr) {
            Expr::Reduce { .. } => return None,
            Expr::Read { .. } | Expr::Axis(_) => sets.push(self.outputs(expr)?),
            _ => {
                let mut operands = Vec::new();
                op.operands(expr, |operand| operands.push(operand));
                operands.into_iter().try_for_each(|operand| self.sets(operand, sets))?;
            }
        }
        Some(())
    }
}
