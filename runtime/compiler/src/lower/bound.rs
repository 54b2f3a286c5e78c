//! The values of an axis that conditions leave, from the bounds that they set.

use super::Error;
use super::expression::{InSequence, Lowering};
use super::index::Linear;
use crate::element::Type;
use crate::families::bound::{Bound, End};
use crate::families::formula::Place;
use crate::ptx::{Class, Opcode, Operand, Reg};

/// Numbers of an `i64` tensor are limited to this, so that sums of them do not wrap.
const FAR: i64 = 1 << 48;

impl Lowering<'_> {
    /// The value of a bound on an axis of that extent, from 0 to the extent. `bind` binds the axes of each of its terms.
    ///
    /// # Errors
    /// As of lowering.
    pub(crate) fn bound(
        &mut self,
        bound: &Bound,
        extent: &Linear,
        bind: &mut dyn FnMut(&mut Self, &Place) -> Result<(), Error>,
    ) -> Result<Reg, Error> {
        let (End::First(constant) | End::Last(constant)) = bound.end;
        let mut sum = self.b.constant(Class::B64, constant.into());
        for (sign, place) in &bound.terms {
            bind(self, place)?;
            let is_long = self.ty(place.expr) == Type::I64;
            let term = self.value_as(place.expr, Type::I64, &mut InSequence)?;
            let b = &mut self.b;
            let mut term = term.reg(b);
            if is_long {
                term = b.op(Opcode::MaxS64, &[term.into(), (-FAR).into()]);
                term = b.op(Opcode::MinS64, &[term.into(), FAR.into()]);
            }
            let opcode = if *sign > 0 { Opcode::AddS64 } else { Opcode::SubS64 };
            sum = b.op(opcode, &[sum.into(), term.into()]);
        }
        let total = match self.math.operand(&mut self.b, extent) {
            Operand::Reg(total) => self.b.op(Opcode::CvtS64S32, &[total.into()]).into(),
            total => total,
        };
        let b = &mut self.b;
        let sum = b.op(Opcode::MaxS64, &[sum.into(), 0.into()]);
        let sum = b.op(Opcode::MinS64, &[sum.into(), total]);
        Ok(b.op(Opcode::CvtU32U64, &[sum.into()]))
    }

    /// The stricter of two ends by `opcode`, the former of which is that of `all` values unless another bound moved it.
    pub(crate) fn narrowed(&mut self, opcode: Opcode, all: &Linear, former: &Linear, bound: &Linear) -> Linear {
        if former == all {
            return bound.clone();
        }
        let former = self.math.operand(&mut self.b, former);
        let bound = self.math.operand(&mut self.b, bound);
        Linear::register(self.b.op(opcode, &[former, bound]))
    }

    /// A value rounded down to a multiple of a power of two.
    pub(crate) fn rounded_down(&mut self, value: &Linear, multiple: u32) -> Linear {
        if value.as_constant() == Some(0) {
            return value.clone();
        }
        let value = self.math.operand(&mut self.b, value);
        let rounded = self.b.op(Opcode::AndB32, &[value, (-i64::from(multiple)).into()]);
        self.note_multiple(rounded, multiple);
        Linear::register(rounded)
    }
}
