//! Arithmetic on slabs: terms are added to accumulators in registers, by FMA or by `mma.sync`.

use super::arrival::{Padded, Swizzled};
use super::folding::Folding;
use super::fragment::{Matrices, group, vector};
use super::multiplicand::Multiplicand;
use super::pointwise::Pointwise;
use super::products::Sum;
use super::tiling::Tiling;
use super::warp::{Warp, WarpTile};
use crate::lower::Error;
use crate::lower::expression::Lowering;
use crate::lower::index::Linear;
use crate::lower::value::{Value, class_of, fma_of, width_in_shared};
use crate::ptx::{Few, Opcode, Operand, Reg};

/// Fused multiply-adds, or other arithmetic: a tile of outputs in each thread's registers.
pub(crate) struct Fma<'t> {
    tiling: &'t Tiling<'t>,
    /// Rows and columns of a thread's tile.
    pub rows: u32,
    pub columns: u32,
    /// The thread's row and column among the block's threads.
    pub thread_row: Reg,
    pub thread_column: Reg,
    /// For each sum, row-major: `rows × columns` mutable registers.
    pub accumulators: Vec<Vec<Reg>>,
}

impl<'t> Fma<'t> {
    pub fn new(lowering: &mut Lowering<'_>, tiling: &'t Tiling<'t>, [rows, columns]: [u32; 2]) -> Fma<'t> {
        let Tiling { shape, block, .. } = *tiling;
        let tid = lowering.b.op(Opcode::TidX, &[]);
        let across = i64::from(block.columns / columns);
        let shift = i64::from(across.trailing_zeros());
        let thread_column = lowering.b.op(Opcode::AndB32, &[tid.into(), (across - 1).into()]);
        let thread_row = lowering.b.op(Opcode::ShrU32, &[tid.into(), shift.into()]);
        let class = class_of(shape.ty);
        let zero = Value::zero(&mut lowering.b, shape.ty).operand;
        let mut tile = || (0..rows * columns).map(|_| lowering.b.mutable(class, zero)).collect();
        Fma {
            accumulators: shape.sums.iter().map(|_| tile()).collect(),
            tiling,
            rows,
            columns,
            thread_row,
            thread_column,
        }
    }

    /// Adds the terms of the slabs in a stage to the accumulators. The slabs begin with that one of the block's terms.
    ///
    /// # Errors
    /// As of lowering.
    pub fn accumulate(
        &self,
        lowering: &mut Lowering<'_>,
        slabs: &Padded<'_>,
        stage: Reg,
        first_term: &Linear,
    ) -> Result<(), Error> {
        let Tiling { shape, block, .. } = *self.tiling;
        let bytes = width_in_shared(shape.ty).bytes();
        let mut own = |thread: Reg, count: u32| {
            let step = i64::from(group(count, bytes) * bytes);
            let sources = [thread.into(), step.into(), stage.into()];
            lowering.b.op(Opcode::MadS32, &sources)
        };
        let left = own(self.thread_row, self.rows);
        let right = own(self.thread_column, self.columns);
        for term in 0..block.depth {
            let fragments: Vec<Vec<Reg>> = (slabs.slabs())
                .map(|slab| {
                    let width = width_in_shared(slab.0.ty);
                    match slab.0.of_rows {
                        true => vector(lowering, left, slab, term, self.rows, width),
                        false => vector(lowering, right, slab, term, self.columns, width),
                    }
                })
                .collect();
            for (sum, accumulators) in shape.sums.iter().zip(&self.accumulators) {
                match sum.body {
                    None => self.multiply(lowering, sum, accumulators, &fragments),
                    Some(body) => {
                        let term = i64::from(term);
                        let span = &self.tiling.span;
                        let wanted =
                            (!span.is_whole).then(|| lowering.below(&first_term.plus_constant(term), &span.length));
                        let work = Pointwise {
                            tiling: self.tiling,
                            sum,
                            body,
                            wanted,
                        };
                        work.add(lowering, term, [self.rows, self.columns], accumulators, &fragments)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn multiply(&self, lowering: &mut Lowering<'_>, sum: &Sum, accumulators: &[Reg], fragments: &[Vec<Reg>]) {
        let [left, right] = [0, 1].map(|operand| &fragments[sum.operands[operand]]);
        for (row, &x) in left.iter().enumerate() {
            for (column, &y) in right.iter().enumerate() {
                let accumulator = accumulators[row * self.columns as usize + column];
                let sources = [x.into(), y.into(), accumulator.into()];
                lowering.b.assign(fma_of(self.tiling.shape.ty), accumulator, &sources);
            }
        }
    }
}

/// `mma.sync`: a tile of outputs in each warp's registers.
pub(crate) struct MmaSync<'t> {
    pub tiling: &'t Tiling<'t>,
    pub tile: WarpTile,
    pub warp: Warp,
    instruction: Opcode,
    /// Terms that it multiplies.
    step: u32,
    /// What an accumulator holds of no terms.
    nothing: Operand,
    /// For each sum, for each 16 × 8 of the warp's tile, row-major: four mutable registers.
    accumulators: Vec<Vec<[Reg; 4]>>,
    folding: Option<Folding<'t>>,
}

impl<'t> MmaSync<'t> {
    pub fn new(
        lowering: &mut Lowering<'_>,
        tiling: &'t Tiling<'t>,
        tile: WarpTile,
        warp: Warp,
        multiplicands: [Multiplicand; 2],
    ) -> MmaSync<'t> {
        let shape = tiling.shape;
        let fold = shape.fold.as_ref();
        let folding = fold.map(|fold| Folding::new(lowering, tiling, fold, tile, &warp, multiplicands));
        let nothing = match &folding {
            Some(folding) => folding.nothing(lowering),
            None => Value::zero(&mut lowering.b, shape.ty).operand,
        };
        let accumulators = (shape.sums.iter())
            .map(|_| tile.registers(lowering, shape.ty, nothing))
            .collect();
        MmaSync {
            folding,
            nothing,
            accumulators,
            tiling,
            tile,
            warp,
            instruction: instruction(multiplicands),
            step: multiplicands[0].at_once(),
        }
    }

    /// The registers of the sums that outputs are made of.
    pub fn results(&self) -> &[Vec<[Reg; 4]>] {
        match &self.folding {
            Some(folding) => &folding.totals,
            None => &self.accumulators,
        }
    }

    /// Adds the products of the slabs in a stage to the accumulators: the warp's slice of the terms, 32 bytes of them at a time. The slabs begin
    /// with that one of the block's terms.
    ///
    /// # Errors
    /// As of lowering.
    pub fn accumulate(
        &self,
        lowering: &mut Lowering<'_>,
        slabs: &Swizzled<'_>,
        stage: Reg,
        first_term: &Linear,
    ) -> Result<(), Error> {
        let steps = self.tiling.block.depth / self.step / self.tile.slices;
        let first_term = &self.tiling.span.first.plus(first_term);
        let (warp, tile) = (&self.warp, self.tile);
        let matrices = Matrices { warp, tile };
        // Steps after which a group ends, and with which the next begins.
        let of_group = self.folding.as_ref().map(|folding| (folding, folding.steps(self.step)));
        let mut loaded: Vec<Value> = Vec::new();
        for step in 0..steps {
            let begins = of_group
                .as_ref()
                .is_some_and(|(_, group)| group.is_some_and(|group| step % group == 0));
            if let Some((folding, group)) = &of_group
                && step % group.unwrap_or(steps) == 0
            {
                loaded = folding.touch(lowering, &first_term.plus_constant((step * self.step).into()))?;
            }
            let fragments: Vec<Vec<Few<Reg>>> = (slabs.layouts())
                .map(|layout| matrices.fragments(lowering, stage, layout, step, steps))
                .collect();
            self.multiply(lowering, &fragments, begins);
            if let Some((folding, group)) = &of_group
                && (step + 1) % group.unwrap_or(steps) == 0
            {
                let first = (step + 1 - group.unwrap_or(steps)) * self.step;
                folding.fold(
                    lowering,
                    &self.accumulators,
                    &loaded,
                    &first_term.plus_constant(first.into()),
                )?;
            }
        }
        Ok(())
    }

    /// Adds the products of fragments to the accumulators, or to nothing if they begin a group.
    fn multiply(&self, lowering: &mut Lowering<'_>, fragments: &[Vec<Few<Reg>>], begins: bool) {
        let shape = self.tiling.shape;
        let nothing = begins.then(|| lowering.b.constant(class_of(shape.ty), self.nothing));
        let columns = self.tile.columns as usize / 8;
        for (sum, accumulators) in shape.sums.iter().zip(&self.accumulators) {
            let [left, right] = [0, 1].map(|operand| &fragments[sum.operands[operand]]);
            for (row, left) in left.iter().enumerate() {
                for column in 0..columns {
                    // Matrices 0 and 1 hold the first 8 of 16 columns, matrices 2 and 3 the others.
                    let right = &right[column / 2][column % 2 * 2..][..2];
                    let accumulator = accumulators[row * columns + column];
                    let addend = nothing.map_or(accumulator, |nothing| [nothing; 4]);
                    let sources = left.iter().chain(right).chain(&addend);
                    let sources: Few<Operand> = sources.map(|&reg| reg.into()).collect();
                    lowering.b.assign_all(self.instruction, &accumulator, &sources);
                }
            }
        }
    }
}

fn instruction(multiplicands: [Multiplicand; 2]) -> Opcode {
    match multiplicands {
        [Multiplicand::F16, _] => Opcode::MmaF16,
        [Multiplicand::Bf16, _] => Opcode::MmaBf16,
        [Multiplicand::Tf32, _] => Opcode::MmaTf32,
        [Multiplicand::Int8(true), Multiplicand::Int8(true)] => Opcode::MmaS8S8,
        [Multiplicand::Int8(true), _] => Opcode::MmaS8U8,
        [Multiplicand::Int8(false), Multiplicand::Int8(true)] => Opcode::MmaU8S8,
        [Multiplicand::Int8(false), _] => Opcode::MmaU8U8,
    }
}
