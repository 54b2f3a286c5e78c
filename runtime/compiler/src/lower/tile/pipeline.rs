//! The loop over the slabs of a tile: while one is multiplied, the next ones arrive.

use super::arrival::{Padded, Swizzled};
use super::held::Held;
use super::slab::Inside;
use super::span::Span;
use super::tiling::Tiling;
use crate::lower::Error;
use crate::lower::expression::Lowering;
use crate::lower::index::Linear;
use crate::ptx::builder::move_of;
use crate::ptx::{Class, Compare, Guard, Opcode, Operand, Reg, Turns};

/// One or two stages, filled through registers: the next slab is loaded before the multiply-adds and stored after them. `accumulate` is given the
/// stage of a slab and the slab's first term among the block's.
pub(crate) fn double_buffered(
    lowering: &mut Lowering<'_>,
    tiling: &Tiling<'_>,
    slabs: &Padded<'_>,
    stages: u32,
    mut accumulate: impl FnMut(&mut Lowering<'_>, Reg, &Linear) -> Result<(), Error>,
) -> Result<(), Error> {
    let slab = i64::from(tiling.block.depth);
    let span = &tiling.span;

    let first = Linear::constant(0);
    let base = lowering.b.shared_base();
    let (axes, factors) = tiling.summed();
    let outside = lowering.enter(&axes, &factors);
    let inside = early(lowering, span, 0);
    slabs.load(lowering, &first, base, inside)?;
    lowering.b.barrier();

    // There is no slab after the last one: its loads are off, and the zeros in their place are never read. One loop for all slabs, and
    // never unrolled, keeps the sum out of the code that stores: the assembler would mix both, and spill.
    let end = lowering.math.operand(&mut lowering.b, &span.length);
    let turns = Turns::new(0, end, slab).entered(span.has(0)).rolled();
    let counter = lowering.b.begin_loop(Class::B32, turns);
    lowering.note_multiple(counter, tiling.block.depth.min(16));
    let here = Linear::register(counter);
    let next = here.plus_constant(slab);
    let more = span.may_have(slab);
    let inside = later(lowering, span, &next);
    if more {
        slabs.touch(lowering, &next, inside)?;
    }
    let alternate = |lowering: &mut Lowering<'_>, term: &Linear| match stages {
        1 => base,
        _ => alternating(lowering, base, term, slab, slabs.stage_bytes()),
    };
    let stage = alternate(lowering, &here);
    accumulate(lowering, stage, &here)?;
    if more {
        if stages == 1 {
            lowering.b.barrier();
        }
        let stage = alternate(lowering, &next);
        slabs.load(lowering, &next, stage, inside)?;
        lowering.b.barrier();
    }
    lowering.b.end();
    lowering.leave(outside);
    Ok(())
}

/// The terms of a slab that is loaded before the loop. It begins with that one of the block's terms.
fn early(lowering: &mut Lowering<'_>, span: &Span, term: i64) -> Inside {
    if span.is_whole && span.has(term) {
        Inside::All
    } else {
        later(lowering, span, &Linear::constant(term))
    }
}

/// The same for a slab that may not exist.
fn later(lowering: &mut Lowering<'_>, span: &Span, term: &Linear) -> Inside {
    if span.is_whole {
        Inside::Where(lowering.below(term, &span.length))
    } else {
        Inside::Each
    }
}

/// The address of the stage that holds the slab beginning with that term, of two.
fn alternating(lowering: &mut Lowering<'_>, base: Reg, term: &Linear, slab: i64, stage_bytes: u32) -> Reg {
    let term = lowering.math.operand(&mut lowering.b, term);
    let odd = match term {
        Operand::Int(term) => Operand::Int(term & slab),
        term => lowering.b.op(Opcode::AndB32, &[term, slab.into()]).into(),
    };
    let step = i64::from(stage_bytes) / slab;
    lowering.b.op(Opcode::MadS32, &[odd, step.into(), base.into()])
}

/// A ring of stages, all but one of which are on their way: by `cp.async`, and through registers where that is not possible. `accumulate` is
/// given the stage of a slab and the slab's first term among the block's.
pub(crate) fn ring(
    lowering: &mut Lowering<'_>,
    tiling: &Tiling<'_>,
    slabs: &Swizzled<'_>,
    base: Reg,
    stages: u32,
    mut accumulate: impl FnMut(&mut Lowering<'_>, Reg, &Linear) -> Result<(), Error>,
) -> Result<(), Error> {
    let stage_bytes = slabs.stage_bytes();
    let slab = i64::from(tiling.block.depth);
    let ahead = i64::from(stages) - 1;
    let span = &tiling.span;
    let (axes, factors) = tiling.summed();
    let outside = lowering.enter(&axes, &factors);

    let copies = slabs.copies();
    for stage in 0..ahead {
        let first = Linear::constant(stage * slab);
        // Stages beyond the last slab are empty copy groups.
        if span.may_have(stage * slab) {
            let inside = early(lowering, span, stage * slab);
            let at = (stage * i64::from(stage_bytes)).into();
            let to = lowering.b.op(Opcode::AddS32, &[base.into(), at]);
            slabs.copy(lowering, &first, to, inside)?;
            let mut loads = Held::new(lowering, inside);
            slabs.fill(lowering, &first, to, inside, &mut loads)?;
        }
        if copies {
            lowering.b.converge(Opcode::CopyCommit, &[]);
        }
    }
    let all = stage_bytes * stages;
    let first = lowering.b.mutable(Class::B32, base.into());
    let last = ahead * i64::from(stage_bytes);
    let last = lowering.b.op(Opcode::AddS32, &[base.into(), last.into()]);
    let last = lowering.b.mutable(Class::B32, last.into());

    let end = lowering.math.operand(&mut lowering.b, &span.length);
    let turns = Turns::new(0, end, slab).entered(span.has(0)).rolled();
    let counter = lowering.b.begin_loop(Class::B32, turns);
    lowering.note_multiple(counter, tiling.block.depth.min(16));
    let wait = match stages {
        2 => Opcode::CopyWait0,
        3 => Opcode::CopyWait1,
        4 => Opcode::CopyWait2,
        _ => Opcode::CopyWait3,
    };
    if copies {
        lowering.b.converge(wait, &[]);
    }
    // After the barrier the slab is complete, and no thread reads the one before it.
    lowering.b.barrier();
    let next = Linear::register(counter).plus_constant(ahead * slab);
    let more = span.may_have(ahead * slab);
    let inside = if more {
        later(lowering, span, &next)
    } else {
        Inside::Each
    };
    let (read, write) = (lowering.b.read(first), lowering.b.read(last));
    if more {
        slabs.copy(lowering, &next, write, inside)?;
    }
    if copies {
        lowering.b.converge(Opcode::CopyCommit, &[]);
    }
    let mut loads = Held::new(lowering, inside);
    if more {
        slabs.touch(lowering, &next, inside, &mut loads)?;
    }
    accumulate(lowering, read, &Linear::register(counter))?;
    if more {
        loads.arrive(&mut lowering.b);
        slabs.fill(lowering, &next, write, inside, &mut loads)?;
    }
    for stage in [first, last] {
        advance(lowering, base, stage, stage_bytes, all);
    }
    lowering.b.end();
    lowering.leave(outside);
    if copies {
        lowering.b.converge(Opcode::CopyWait0, &[]);
    }
    lowering.b.barrier();
    Ok(())
}

/// Moves the address of a stage to the next one of a ring of `all` bytes.
fn advance(lowering: &mut Lowering<'_>, base: Reg, stage: Reg, stage_bytes: u32, all: u32) {
    let b = &mut lowering.b;
    let end = b.op(Opcode::AddS32, &[base.into(), i64::from(all).into()]);
    b.assign(Opcode::AddS32, stage, &[stage.into(), i64::from(stage_bytes).into()]);
    let next = b.read(stage);
    let predicate = b.compare(Compare::Eq, Class::B32, next.into(), end.into());
    let guard = Some(Guard { predicate, holds: true });
    b.assign_if(guard, move_of(Class::B32), stage, &[base.into()]);
}
