//! A thread's part of a reduction.

use super::step::Step;
use super::walk::Walker;
use crate::element::Type;
use crate::ir::AxisId;
use crate::ir::{ExprId, ReduceOp};
use crate::lower::Error;
use crate::lower::expression::{Accumulator, Lowering, Rounding};
use crate::lower::value::Value;

/// A thread's part of a reduction: an accumulator for each neighbour of a step, so that additions do not wait for each other.
pub(crate) struct Partial(pub Vec<Accumulator>);

impl Partial {
    pub fn new<W: Walker>(walker: &W, lowering: &mut Lowering<'_>, reduction: ReduceOp, ty: Type) -> Partial {
        let neighbours = 0..walker.vector();
        Partial(neighbours.map(|_| Accumulator::new(lowering, reduction, ty)).collect())
    }

    /// Takes in a step's elements.
    pub fn add<W: Walker>(
        &self,
        walker: &mut W,
        lowering: &mut Lowering<'_>,
        axes: &[AxisId],
        body: ExprId,
        step: &Step,
    ) -> Result<(), Error> {
        let vector = self.0.len() as i64;
        for (neighbour, &accumulator) in self.0.iter().enumerate() {
            let mut accumulator = accumulator;
            walker.bind_lane(lowering, axes, step, neighbour as u32);
            let fuses = W::FUSES && step.guard.is_none();
            let rounding = if fuses { Rounding::Once } else { Rounding::Each };
            let position = step.chunk.times(vector).plus_constant(neighbour as i64);
            accumulator.add_where(lowering, step.guard, &position, body, rounding, walker)?;
        }
        Ok(())
    }

    /// The thread's result.
    pub fn merged(self, lowering: &mut Lowering<'_>) -> Result<Accumulator, Error> {
        let mut neighbours = self.0.into_iter();
        let mut all = neighbours.next().ok_or(Error::Unbound)?;
        for other in neighbours {
            let value = Value::new(all.ty, lowering.b.read(other.best));
            let position = other.position.map(|reg| lowering.b.read(reg));
            all.merge(lowering, value, position);
        }
        Ok(all)
    }
}
