//! Reductions among the lanes of a warp.

use super::expression::{Accumulator, Lowering};
use super::value::{Value, class_of};
use crate::element::Type;
use crate::ptx::{Opcode, Reg};

/// Exchanges and combines among `width` lanes that are `stride` apart: with the lane whose number differs in one bit, for
/// each bit. All end with the same.
pub(crate) fn butterfly(lowering: &mut Lowering<'_>, all: &mut Accumulator, width: u32, stride: u32) {
    let class = class_of(all.ty);
    let mut distance = width * stride / 2;
    while distance >= stride {
        let value = lowering.b.read(all.best);
        let other = shuffle(lowering, Value::new(all.ty, value), distance);
        let other = lowering.value_of_words(class, &other);
        let position = all.position.map(|position| {
            let position = lowering.b.read(position);
            let own = if lowering.math.wide { Type::I64 } else { Type::I32 };
            let words = shuffle(lowering, Value::new(own, position), distance);
            let class = lowering.math.class();
            lowering.value_of_words(class, &words)
        });
        all.merge(lowering, Value::new(all.ty, other), position);
        distance /= 2;
    }
}

fn shuffle(lowering: &mut Lowering<'_>, value: Value, distance: u32) -> Vec<Reg> {
    lowering
        .words(value)
        .into_iter()
        .filter_map(|word| {
            lowering
                .b
                .converge(Opcode::ShflBflyB32, &[word.into(), i64::from(distance).into()])
        })
        .collect()
}
