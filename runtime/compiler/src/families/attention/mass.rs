//! The sum of a row's weights, in registers of the four lanes that share the row.

use crate::lower::expression::Lowering;
use crate::ptx::builder::move_of;
use crate::ptx::{Builder, Class, Opcode, Reg};

/// The sum of a lane's weights of a row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mass(pub Reg);

impl Mass {
    /// The mass of a row that has seen nothing.
    pub fn new(lowering: &mut Lowering<'_>) -> Mass {
        Mass(lowering.b.mutable(Class::F32, 0f32.into()))
    }

    /// Adds weights to those of the row. They are rounded first where the source does so.
    pub fn add(self, b: &mut Builder, weights: &[Reg]) {
        let mut chains: [Option<Reg>; 2] = [None; 2];
        for (number, &weight) in weights.iter().enumerate() {
            let chain = &mut chains[number % 2];
            *chain = Some(match *chain {
                None => weight,
                Some(sum) => b.op(Opcode::AddF32, &[sum.into(), weight.into()]),
            });
        }
        for sum in chains.into_iter().flatten() {
            b.assign(Opcode::AddF32, self.0, &[self.0.into(), sum.into()]);
        }
    }

    /// Forgets what the row has seen.
    pub fn forget(self, b: &mut Builder) {
        b.assign(move_of(Class::F32), self.0, &[0f32.into()]);
    }

    /// The sum of the weights of all lanes.
    pub fn total(self, b: &mut Builder) -> Reg {
        let mass = b.read(self.0);
        across_lanes(b, Opcode::AddF32, mass)
    }
}

/// Combines a value of the four lanes that share a row.
pub(super) fn across_lanes(b: &mut Builder, combine: Opcode, value: Reg) -> Reg {
    let mut value = value;
    for distance in [1i64, 2] {
        let bits = b.op(Opcode::BitsF32, &[value.into()]);
        // It has a result.
        let other = b
            .converge(Opcode::ShflBflyB32, &[bits.into(), distance.into()])
            .unwrap_or(bits);
        let other = b.op(Opcode::F32Bits, &[other.into()]);
        value = b.op(combine, &[value.into(), other.into()]);
    }
    value
}
