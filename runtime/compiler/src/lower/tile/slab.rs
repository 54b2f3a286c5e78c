//! A slab: one side's elements for a few terms of a block's sums.

use super::block::Block;
use super::deal::{Deal, Piece};
use crate::element::Type;
use crate::ir::{BinaryOp, ExprId};
use crate::lower::Error;
use crate::lower::arithmetic::{binary, select};
use crate::lower::expression::{Lowering, Reduce};
use crate::lower::index::Linear;
use crate::lower::value::Value;
use crate::ptx::{Opcode, Reg};

/// One side's part of the block: how it is loaded.
pub(crate) struct Slab {
    pub factors: Vec<ExprId>,
    /// The type of their product.
    pub ty: Type,
    pub of_rows: bool,
    pub tile: u32,
    pub along_depth: bool,
    /// Neighbours that a thread loads at once.
    pub vector: u32,
    /// The deal of patches to threads; none if threads run along memory.
    pub deal: Option<Deal>,
}

/// The terms of a slab that are terms of the sum.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Inside {
    /// All of them.
    All,
    /// All or none.
    Where(Reg),
    /// Each load compares its own term with the end.
    Each,
}

impl Slab {
    /// The loads of this thread, in order.
    pub fn pieces(&self, lowering: &mut Lowering<'_>, block: Block) -> Vec<Piece> {
        let vector = i64::from(self.vector);
        let (slab, tile) = (i64::from(block.depth), i64::from(self.tile));
        let threads = i64::from(block.threads);
        let turns = slab * tile / vector / threads;
        if let Some(deal) = &self.deal {
            let mut pieces = Vec::new();
            for turn in 0..turns as u32 / deal.terms {
                let first = deal.piece(lowering, block.threads, turn);
                pieces.extend((0..deal.terms).map(|further| Piece {
                    row: first.row.clone(),
                    term: first.term.plus_constant(further.into()),
                }));
            }
            return pieces;
        }
        // Threads run along memory: the fast direction counts vectors.
        let fast = if self.along_depth { slab } else { tile } / vector;
        let tid = lowering.b.op(Opcode::TidX, &[]);
        let piece = |turn: i64| {
            let (along, across) = if threads >= fast {
                let shift = i64::from(fast.trailing_zeros());
                let along = lowering.b.op(Opcode::AndB32, &[tid.into(), (fast - 1).into()]);
                let across = lowering.b.op(Opcode::ShrU32, &[tid.into(), shift.into()]);
                (
                    Linear::register(along),
                    Linear::register(across).plus_constant(turn * (threads / fast)),
                )
            } else {
                let parts = fast / threads;
                (
                    Linear::register(tid).plus_constant(turn % parts * threads),
                    Linear::constant(turn / parts),
                )
            };
            let (term, row) = if self.along_depth {
                (along.times(vector), across)
            } else {
                (across, along.times(vector))
            };
            Piece { row, term }
        };
        (0..turns).map(piece).collect()
    }

    /// The product of the factors where their axes are bound as they are.
    pub fn product(&self, lowering: &mut Lowering<'_>, family: &mut dyn Reduce) -> Result<Value, Error> {
        let mut product: Option<Value> = None;
        for &factor in &self.factors {
            let value = lowering.value_as(factor, self.ty, family)?;
            product = Some(match product {
                None => value,
                Some(product) => binary(&mut lowering.b, BinaryOp::Mul, product, value),
            });
        }
        product.ok_or(Error::Unbound)
    }
}

/// The value where it is a term of the sum, else 0.
pub(crate) fn or_zero(lowering: &mut Lowering<'_>, value: Value, guard: Option<Reg>) -> Value {
    let Some(guard) = guard else { return value };
    let zero = Value::zero(&mut lowering.b, value.ty);
    select(&mut lowering.b, guard, value, zero)
}
