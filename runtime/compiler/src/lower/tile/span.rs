//! The terms of the sums that a block takes in.

use super::block::Block;
use super::split_k::Part;
use crate::lower::expression::Lowering;
use crate::lower::index::Linear;
use crate::ptx::Opcode;

/// A block's part of the terms.
pub(crate) struct Span {
    /// The first term. A multiple of a slab.
    pub first: Linear,
    /// The number of terms; none if it is negative.
    pub length: Linear,
    /// A lower bound of that number.
    least: i64,
    /// An upper bound, where one is known.
    most: Option<i64>,
    /// The term after the last one of all blocks of the tile.
    pub end: Linear,
    /// `true` if the terms certainly fill whole slabs.
    pub is_whole: bool,
}

impl Span {
    /// The part of `depth` terms that is a block's. Split-K gives each part as many slabs as any other, but for the last ones, which may have fewer,
    /// or none.
    pub fn of(lowering: &mut Lowering<'_>, depth: &Linear, block: Block, part: &Part) -> Span {
        let (slab, parts) = (i64::from(block.depth), i64::from(block.split_k));
        let Some(terms) = depth.as_constant() else {
            return Span::of_unknown(lowering, depth, block, part);
        };
        let most = (terms.max(1) as u64).div_ceil((slab * parts) as u64) as i64 * slab;
        let first = part.number.times(most);
        let (length, least, most) = if parts == 1 {
            (Linear::constant(terms), terms, terms)
        } else if terms == most * parts {
            (Linear::constant(most), most, most)
        } else {
            let left = depth.plus(&first.times(-1));
            let left = lowering.math.operand(&mut lowering.b, &left);
            let length = lowering.b.op(Opcode::MinS32, &[left, most.into()]);
            (Linear::register(length), terms - (parts - 1) * most, most)
        };
        Span {
            first,
            length,
            end: depth.clone(),
            least,
            most: Some(most),
            is_whole: terms > 0 && terms % slab == 0,
        }
    }

    /// The same where the number of terms is known only to the kernel.
    fn of_unknown(lowering: &mut Lowering<'_>, depth: &Linear, block: Block, part: &Part) -> Span {
        let (slab, parts) = (i64::from(block.depth), i64::from(block.split_k));
        if parts > 1 {
            let rounded = depth.plus_constant(slab * parts - 1);
            let whole = Linear::constant(slab * parts);
            let slabs = lowering.math.divide(&mut lowering.b, &rounded, &whole).0;
            return Span::shared(lowering, depth, &slabs.times(slab), block, part);
        }
        Span {
            first: Linear::constant(0),
            length: depth.clone(),
            end: depth.clone(),
            least: 0,
            most: None,
            is_whole: false,
        }
    }

    /// The part of groups of `padded` terms each that is a block's: as many as any other part has, but for the last ones.
    pub fn of_groups(lowering: &mut Lowering<'_>, [groups, padded]: [&Linear; 2], block: Block, part: &Part) -> Span {
        let depth = lowering.math.product(&mut lowering.b, groups, padded);
        if block.split_k == 1 {
            return Span::of(lowering, &depth, block, part);
        }
        let most = lowering.divided_up(groups, block.split_k);
        let most = lowering.math.product(&mut lowering.b, &most, padded);
        Span::shared(lowering, &depth, &most, block, part)
    }

    /// The part of `depth` terms where each part has `most`, which fill whole slabs, but for the last ones.
    fn shared(lowering: &mut Lowering<'_>, depth: &Linear, most: &Linear, block: Block, part: &Part) -> Span {
        let first = lowering.math.product(&mut lowering.b, &part.number, most);
        let first = lowering.math.register(&mut lowering.b, &first);
        lowering.note_multiple(first, block.depth.min(16));
        let first = Linear::register(first);
        let left = lowering.math.operand(&mut lowering.b, &depth.plus(&first.times(-1)));
        let most = lowering.math.operand(&mut lowering.b, most);
        let length = lowering.b.op(Opcode::MinS32, &[left, most]);
        Span {
            first,
            length: Linear::register(length),
            end: depth.clone(),
            least: 0,
            most: None,
            is_whole: false,
        }
    }

    /// The part of the terms from `first`, which begins a slab, up to `end`, of `depth` in all.
    pub fn within(
        lowering: &mut Lowering<'_>,
        [first, end]: [Linear; 2],
        depth: &Linear,
        block: Block,
        part: &Part,
    ) -> Span {
        let length = if first.as_constant() == Some(0) {
            end.clone()
        } else {
            let length = lowering.math.operand(&mut lowering.b, &end.plus(&first.times(-1)));
            Linear::register(lowering.b.op(Opcode::MaxS32, &[length, 0.into()]))
        };
        let terms = depth.as_constant();
        let span = Span::of_unknown(lowering, &length, block, part);
        Span {
            first: first.plus(&span.first),
            end,
            most: terms,
            is_whole: terms.is_some_and(|terms| terms > 0 && terms % i64::from(block.depth) == 0),
            ..span
        }
    }

    /// `true` if the block certainly has a term with that number.
    pub fn has(&self, term: i64) -> bool {
        term < self.least
    }

    /// `true` if the block may have a term with that number.
    pub fn may_have(&self, term: i64) -> bool {
        self.most.is_none_or(|most| term < most)
    }
}
