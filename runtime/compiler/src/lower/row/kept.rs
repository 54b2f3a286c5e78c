//! Rows kept in shared memory: each thread puts what it loads in one walk where it finds it in the next.
//!
//! All walks over an axis give a thread the same chunks, so nobody waits for anybody. Elements are known by their offset, with the
//! counter of the walk's loop left out. What a walk keeps serves those that stand after it; therefore what a walk needs of other
//! walks is computed before it ([`Group::ahead`]).

use super::Group;
use crate::ir::{ExprId, InputId};
use crate::lower::Error;
use crate::lower::expression::{Access, Lowering};
use crate::ptx::{Address, Few, Opcode, Reg};
use crate::schedule::{Keep, read_again};

/// A walk in a loop, over one axis of an extent that is compiled in.
pub(super) struct Walk {
    /// Different for every walk.
    pub id: u32,
    /// The loop's counter: the chunk at hand.
    pub chunk: Reg,
    /// How many chunks there are; 0 if nothing can be kept.
    pub chunks: u32,
    /// The depth of the loop's region.
    pub depth: usize,
}

/// What threads have put into shared memory, each its own.
#[derive(Default)]
pub(super) struct Kept {
    entries: Vec<KeptElements>,
    /// Bytes that may be used, and that are.
    pub budget: u32,
    used: u32,
}

/// Elements that a walk has kept: one chunk after another, one row after another.
pub(super) struct KeptElements {
    input: InputId,
    count: u32,
    /// The offset of the first, with the walk's chunk as `None`.
    offset: (Vec<(Option<Reg>, i64)>, i64),
    walk: u32,
    /// Bytes from the start of shared memory.
    region: u32,
    /// The last walk that fetched the elements of a chunk, and where it has them.
    fetched: Option<(u32, Few<Reg>)>,
}

impl Group {
    /// Computes what is the same for a whole row before a walk that needs it, so that what it reads is kept by then.
    pub(super) fn ahead(&mut self, lowering: &mut Lowering<'_>, expr: ExprId) -> Result<(), Error> {
        if self.schedule.keep != Keep::Shared || !lowering.checked.unconditional(expr) {
            return Ok(());
        }
        // Operands stand before what uses them, so each is looked at once.
        let mut wanted = vec![false; expr.index() + 1];
        wanted[expr.index()] = true;
        let mut uniform = Vec::new();
        for position in (0..=expr.index()).rev() {
            if !wanted[position] {
                continue;
            }
            let expr = ExprId(position as u32);
            let axes = lowering.checked.axes(expr);
            let bound = axes.iter().all(|axis| lowering.binding(axis).is_ok());
            if bound && self.same_for_all(lowering, expr)? {
                uniform.push(expr);
            } else {
                lowering.op().operands(expr, |operand| wanted[operand.index()] = true);
            }
        }
        uniform
            .into_iter()
            .rev()
            .try_for_each(|expr| lowering.value(expr, self).map(|_| ()))
    }

    /// The walk at hand and what to keep these elements as; none if they are not kept.
    fn keeping(&self, lowering: &Lowering<'_>, access: &Access) -> Option<(&Walk, KeptElements)> {
        let walk = self.walks.last().filter(|walk| walk.chunks > 0)?;
        let here = lowering.b.current_depth() == walk.depth && access.guard.is_none();
        if self.schedule.keep != Keep::Shared || !here || !read_again(lowering.checked, access.input) {
            return None;
        }
        let mut terms: Vec<_> = access
            .first
            .terms()
            .iter()
            .map(|&(reg, coefficient)| ((reg != walk.chunk).then_some(reg), coefficient))
            .collect();
        terms.sort_unstable();
        // Neither the same for all chunks, nor dependent on anything else that changes within the loop.
        let fixed = terms
            .iter()
            .flat_map(|(reg, _)| reg)
            .all(|&reg| lowering.b.depth(reg) < walk.depth);
        if !fixed || terms.iter().all(|(reg, _)| reg.is_some()) {
            return None;
        }
        let elements = KeptElements {
            input: access.input,
            count: access.count,
            offset: (terms, access.first.constant_part()),
            walk: walk.id,
            region: 0,
            fetched: None,
        };
        Some((walk, elements))
    }

    /// Where a thread keeps the elements of a chunk.
    fn slot(&self, lowering: &mut Lowering<'_>, walk: &Walk, region: u32, bytes: u32) -> Address {
        let base = lowering.b.shared_base();
        let chunk = match lowering.math.wide {
            true => lowering.b.op(Opcode::CvtU32U64, &[walk.chunk.into()]),
            false => walk.chunk,
        };
        let chunk = match self.row_in_block {
            Some(row) => {
                let sources = [row.into(), i64::from(walk.chunks).into(), chunk.into()];
                lowering.b.op(Opcode::MadS32, &sources)
            }
            None => chunk,
        };
        Address {
            base: lowering.shared_address(base, chunk, bytes.into()),
            offset: region as i32,
        }
    }

    /// The elements: kept by an earlier walk, or loaded and, if there is room, kept.
    pub(super) fn kept_or_loaded(&mut self, lowering: &mut Lowering<'_>, access: &Access) -> Few<Reg> {
        let Some((walk, mut wanted)) = self.keeping(lowering, access) else {
            return lowering.load_elements(access);
        };
        let bytes = access.count * access.element.size();
        let same = |kept: &&KeptElements| {
            (kept.input, kept.count, &kept.offset) == (wanted.input, wanted.count, &wanted.offset)
        };
        // What a walk under way keeps stands after what is emitted now, unless it is this walk.
        let under_way = |kept: &&KeptElements| self.walks.iter().any(|walk| walk.id == kept.walk);
        let mut known = (0..).zip(&self.kept.entries).filter(|(_, kept)| same(kept));
        if known.clone().any(|(_, kept)| kept.walk == walk.id) {
            return lowering.load_elements(access);
        }
        if let Some((at, kept)) = known.find(|(_, kept)| !under_way(kept)) {
            let id = walk.id;
            if let Some((_, elements)) = kept.fetched.as_ref().filter(|(walk, _)| *walk == id) {
                return elements.clone();
            }
            let slot = self.slot(lowering, walk, kept.region, bytes);
            let elements = lowering.kept_elements(access, slot);
            self.kept.entries[at].fetched = Some((id, elements.clone()));
            return elements;
        }
        let elements = lowering.load_elements(access);
        let needed = (walk.chunks * self.schedule.rows)
            .saturating_mul(bytes)
            .next_multiple_of(16);
        if self.kept.used.saturating_add(needed) <= self.kept.budget {
            wanted.region = self.shared_bytes.next_multiple_of(16);
            let slot = self.slot(lowering, walk, wanted.region, bytes);
            lowering.keep_elements(access, &elements, slot);
            self.kept.used += needed;
            self.shared_bytes = wanted.region + needed;
            self.kept.entries.push(wanted);
        }
        elements
    }
}
