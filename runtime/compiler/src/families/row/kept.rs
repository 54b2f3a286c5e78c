//! Rows kept in shared memory: each thread puts what it loads in one walk where it finds it in the next.
//!
//! All walks over an axis give a thread the same chunks, so nobody waits for anybody. Elements are known by their offset, with the
//! counter of the walk's loop left out. What a walk keeps serves those that stand after it; therefore what a walk needs of other
//! walks is computed before it ([`Group::ahead`]).

use super::space::{Keep, Row};
use crate::ir::InputId;
use crate::lower::expression::{Access, Lowering};
use crate::ptx::{Address, Few, Opcode, Reg};

/// A walk in a loop, over one axis of an extent that is compiled in.
pub(super) struct Walk {
    /// Different for every walk.
    pub id: u32,
    /// The loop's counter: the chunk of a turn's first step.
    pub counter: Reg,
    /// Chunks of all turns; 0 if nothing can be kept.
    pub slots: u32,
    /// The depth of the loop's region.
    pub depth: usize,
    /// The step at hand.
    pub step: u32,
    /// Where its chunk exists. Beyond, a thread loads zeros, and keeps and fetches them like elements.
    pub guard: Option<Reg>,
}

/// The elements that threads keep in shared memory, each its own.
pub(super) struct Kept {
    schedule: Row,
    /// The row's number among the block's rows, 32 bits.
    row_in_block: Option<Reg>,
    /// The walks under way, outermost first.
    pub walks: Vec<Walk>,
    /// The number of walks begun so far.
    pub walks_begun: u32,
    /// Bytes of shared memory in use, also for other purposes.
    pub shared_bytes: u32,
    pub(super) entries: Vec<KeptElements>,
    /// The inputs that are worth keeping.
    pub again: Vec<bool>,
    /// Bytes that may be used, and that are.
    pub budget: u32,
    pub(super) used: u32,
}

/// Elements that a walk has kept: one chunk after another, one row after another.
pub(super) struct KeptElements {
    pub(super) input: InputId,
    pub(super) count: u32,
    /// The offset of the first one of a turn, with the walk's counter as `None`.
    pub(super) offset: (Vec<(Option<Reg>, i64)>, i64),
    pub(super) step: u32,
    pub(super) walk: u32,
    /// Bytes from the start of shared memory.
    pub(super) region: u32,
    /// The last walk that fetched the elements of a chunk, and where it has them.
    pub(super) fetched: Option<(u32, Few<Reg>)>,
}

impl Kept {
    pub fn new(schedule: Row, row_in_block: Option<Reg>) -> Kept {
        Kept {
            schedule,
            row_in_block,
            walks: Vec::new(),
            walks_begun: 0,
            shared_bytes: 0,
            entries: Vec::new(),
            again: Vec::new(),
            budget: 0,
            used: 0,
        }
    }

    /// The walk at hand and what to keep these elements as; none if they are not kept.
    fn keeping(&self, lowering: &Lowering<'_>, access: &Access) -> Option<(&Walk, KeptElements)> {
        let walk = self.walks.last().filter(|walk| walk.slots > 0)?;
        let here = lowering.b.current_depth() == walk.depth && (access.guard.is_none() || access.guard == walk.guard);
        if self.schedule.keep != Keep::Shared || !here || !self.again[access.input.index()] {
            return None;
        }
        let mut terms: Vec<_> = access
            .first
            .terms()
            .iter()
            .map(|&(reg, coefficient)| ((reg != walk.counter).then_some(reg), coefficient))
            .collect();
        terms.sort_unstable();
        // Steps are as many chunks apart as there are threads.
        let by_chunk: i64 = terms.iter().filter(|(reg, _)| reg.is_none()).map(|&(_, c)| c).sum();
        let of_step = by_chunk * i64::from(walk.step * self.schedule.threads);
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
            offset: (terms, access.first.constant_part() - of_step),
            step: walk.step,
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
            true => lowering.b.op(Opcode::CvtU32U64, &[walk.counter.into()]),
            false => walk.counter,
        };
        let chunk = match self.row_in_block {
            Some(row) => {
                let sources = [row.into(), i64::from(walk.slots).into(), chunk.into()];
                lowering.b.op(Opcode::MadS32, &sources)
            }
            None => chunk,
        };
        Address {
            base: lowering.shared_address(base, chunk, bytes.into()),
            offset: (region + walk.step * self.schedule.threads * bytes) as i32,
        }
    }

    /// The elements: kept by an earlier walk, or loaded and, if there is room, kept.
    pub fn kept_or_loaded(&mut self, lowering: &mut Lowering<'_>, access: &Access) -> Few<Reg> {
        let Some((walk, mut wanted)) = self.keeping(lowering, access) else {
            return lowering.load_elements(access);
        };
        let bytes = access.count * access.element.size();
        let alike = |kept: &&KeptElements| {
            (kept.input, kept.count, &kept.offset) == (wanted.input, wanted.count, &wanted.offset)
        };
        // The stores of a walk under way stand after the code emitted now, unless it is this walk.
        let under_way = |kept: &&KeptElements| self.walks.iter().any(|walk| walk.id == kept.walk);
        let same = |kept: &&KeptElements| alike(kept) && kept.step == wanted.step;
        let mut known = (0..).zip(&self.entries).filter(|(_, kept)| same(kept));
        if known.clone().any(|(_, kept)| kept.walk == walk.id) {
            return lowering.load_elements(access);
        }
        if let Some((at, kept)) = known.find(|(_, kept)| !under_way(kept)) {
            let id = walk.id;
            if let Some((_, elements)) = kept.fetched.as_ref().filter(|(walk, _)| *walk == id) {
                return elements.clone();
            }
            let slot = self.slot(lowering, walk, kept.region, bytes);
            let elements = lowering.kept_elements(access.element, access.count, slot);
            self.entries[at].fetched = Some((id, elements.clone()));
            return elements;
        }
        let elements = lowering.load_elements(access);
        // The steps of a turn have one region.
        let others = self.entries.iter().filter(alike);
        let region = others.clone().find(|kept| kept.walk == walk.id).map(|kept| kept.region);
        let needed = (walk.slots * self.schedule.rows)
            .saturating_mul(bytes)
            .next_multiple_of(16);
        let room = self.used.saturating_add(needed) <= self.budget;
        if region.is_some() || room {
            wanted.region = region.unwrap_or(self.shared_bytes.next_multiple_of(16));
            let slot = self.slot(lowering, walk, wanted.region, bytes);
            lowering.keep_elements(access.element, &elements, slot);
            if region.is_none() {
                self.used += needed;
                self.shared_bytes = wanted.region + needed;
            }
            self.entries.push(wanted);
        }
        elements
    }
}
