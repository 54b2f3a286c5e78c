//! Terms that are pointwise work on operands in registers, added to accumulators.

use super::products::Sum;
use super::tiling::{Tiling, bind};
use crate::ir::{BinaryOp, Expr, ExprId, Function, Literal, Source};
use crate::lower::Error;
use crate::lower::expression::{Binding, InSequence, Lowering, zero_unless};
use crate::lower::index::Linear;
use crate::lower::value::{Value, add_of, fma_of};
use crate::ptx::{Guard, Reg};

/// The work for one term of a sum.
pub(crate) struct Pointwise<'t> {
    pub tiling: &'t Tiling<'t>,
    pub sum: &'t Sum,
    pub body: ExprId,
    /// Holds if it is a term of the sum; none if it certainly is.
    pub wanted: Option<Reg>,
}

impl Pointwise<'_> {
    /// Adds the term with that number in its slab to the accumulators of a thread's tile of `rows × columns`. `fragments` are the thread's elements of
    /// each side.
    ///
    /// # Errors
    /// As of lowering.
    pub fn add(
        &self,
        lowering: &mut Lowering<'_>,
        term: i64,
        [rows, columns]: [u32; 2],
        accumulators: &[Reg],
        fragments: &[Vec<Reg>],
    ) -> Result<(), Error> {
        let shape = self.tiling.shape;
        for axis in shape.depth.iter().flatten() {
            lowering.bind(*axis, Binding::of(named(term)));
        }
        for (of_rows, count) in [(true, rows), (false, columns)] {
            let sides = self.sum.operands.iter().copied();
            for side in sides.filter(|&side| shape.sides[side].of_rows == of_rows) {
                for (place, &element) in fragments[side].iter().enumerate().take(count as usize) {
                    self.go_to(lowering, of_rows, place as i64);
                    let side = &shape.sides[side];
                    for &operand in &side.factors {
                        let ty = lowering.ty(operand);
                        let value = Value::new(side.ty, element).to(&mut lowering.b, ty);
                        lowering.define(operand, value)?;
                    }
                }
            }
        }
        let places = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
        for ((row, column), &accumulator) in places.zip(accumulators) {
            self.go_to(lowering, true, row.into());
            self.go_to(lowering, false, column.into());
            self.add_value(lowering, accumulator, self.body, self.wanted)?;
        }
        Ok(())
    }

    /// Binds the axes of rows, or of columns, to names for a place in the thread's tile.
    fn go_to(&self, lowering: &mut Lowering<'_>, of_rows: bool, place: i64) {
        let shape = self.tiling.shape;
        let positions = if of_rows { &shape.rows } else { &shape.columns };
        for &position in positions {
            bind(lowering, shape, position, &named(place));
        }
    }

    /// Adds the value of an expression to an accumulator, where that is wanted.
    fn add_value(
        &self,
        lowering: &mut Lowering<'_>,
        accumulator: Reg,
        expr: ExprId,
        wanted: Option<Reg>,
    ) -> Result<(), Error> {
        let ty = self.tiling.shape.ty;
        let op = lowering.op();
        let is_two = |expr: ExprId| match *op.expr(expr) {
            Expr::Literal(Literal::Int(literal)) => literal == 2,
            Expr::Literal(Literal::Float(literal)) => literal == 2.0,
            _ => false,
        };
        let same_type = lowering.ty(expr) == ty;
        let guard = wanted.map(|predicate| Guard { predicate, holds: true });
        let multiply = |lowering: &mut Lowering<'_>, a: ExprId, b: ExprId| -> Result<(), Error> {
            let a = lowering.value_as(a, ty, &mut InSequence)?;
            let b = lowering.value_as(b, ty, &mut InSequence)?;
            let sources = [a.operand, b.operand, accumulator.into()];
            lowering.b.assign_if(guard, fma_of(ty), accumulator, &sources);
            Ok(())
        };
        if let Some((condition, accept)) = zero_unless(op, expr) {
            let condition = lowering.value(condition, &mut InSequence)?.reg(&mut lowering.b);
            let wanted = lowering.both(wanted, Some(condition));
            return self.add_value(lowering, accumulator, accept, wanted);
        }
        match *op.expr(expr) {
            Expr::Read {
                source: Source::Let(inner),
                ..
            } if !self.is_operand(expr) => self.add_value(lowering, accumulator, op.lets[inner.index()].body, wanted),
            Expr::Binary(BinaryOp::Mul, a, b) if same_type => multiply(lowering, a, b),
            Expr::Call(Function::Powi, ref arguments) if same_type && is_two(arguments[1]) => {
                multiply(lowering, arguments[0], arguments[0])
            }
            _ => {
                let value = lowering.value_as(expr, ty, &mut InSequence)?;
                let sources = [accumulator.into(), value.operand];
                lowering.b.assign_if(guard, add_of(ty), accumulator, &sources);
                Ok(())
            }
        }
    }

    fn is_operand(&self, expr: ExprId) -> bool {
        let sides = &self.tiling.shape.sides;
        self.sum
            .operands
            .iter()
            .any(|&side| sides[side].factors.contains(&expr))
    }
}

/// A value for axes that tells the place in a tile or slab apart from others. No coordinate is negative, so no other value has the name.
fn named(place: i64) -> Linear {
    Linear::constant(-1 - place)
}
