//! The 16 barriers of a block. Arrivals are counted by thread, as on sm_70 and later.

use super::order::VectorClock;
use super::program::{Reduction, ReductionKind};
use super::registers::LANES;

pub(crate) const BARRIERS: usize = 16;

/// Lanes of a warp that wait at a barrier.
#[derive(Clone, Copy)]
pub(crate) struct Waiting {
    pub warp: usize,
    pub lanes: u32,
    pub operation: u32,
    pub reduction: Option<Reduction>,
    /// The bases of the frame whose registers take the reduction's result.
    pub base: usize,
    pub predicate_base: usize,
}

/// One barrier between its first arrival and its completion.
#[derive(Default)]
pub(crate) struct BarrierState {
    /// Lanes that arrived, by warp.
    pub arrived: Vec<u32>,
    /// The number of threads expected; `None` for all that have not exited.
    pub count: Option<u32>,
    pub waiting: Vec<Waiting>,
    /// The threads whose predicate was true, and false, so far.
    pub trues: u32,
    pub falses: u32,
    /// The clock that the threads which arrived pass on.
    pub clock: VectorClock,
}

impl BarrierState {
    pub fn is_idle(&self) -> bool {
        self.arrived.iter().all(|lanes| *lanes == 0)
    }

    pub fn result(&self, kind: ReductionKind) -> u32 {
        match kind {
            ReductionKind::Count => self.trues,
            ReductionKind::And => u32::from(self.falses == 0),
            ReductionKind::Or => u32::from(self.trues != 0),
        }
    }

    /// `true` if all expected threads have arrived. `live` has the lanes of each warp that have not exited.
    pub fn is_complete(&self, live: &[u32]) -> bool {
        if self.is_idle() {
            return false;
        }
        match self.count {
            None => self
                .arrived
                .iter()
                .zip(live)
                .all(|(arrived, live)| live & !arrived == 0),
            // Hardware counts whole warps: a warp counts as 32 once all of its live threads have arrived.
            Some(count) => {
                let threads: u32 = (self.arrived.iter().zip(live))
                    .map(|(arrived, live)| {
                        if *arrived != 0 && live & !arrived == 0 {
                            LANES as u32
                        } else {
                            arrived.count_ones()
                        }
                    })
                    .sum();
                threads >= count
            }
        }
    }
}

#[derive(Default)]
pub(crate) struct Barriers {
    states: Vec<BarrierState>,
    /// The number of `wgmma` products that each warp has issued.
    pub products: Vec<u32>,
    /// `true` if a thread arrived or exited since the barriers were last checked.
    pub changed: bool,
}

impl Barriers {
    pub fn start_block(&mut self, warps: usize) {
        self.products.clear();
        self.products.resize(warps, 0);
        self.states.resize_with(BARRIERS, BarrierState::default);
        for state in &mut self.states {
            state.arrived.clear();
            state.arrived.resize(warps, 0);
            state.clock.forget();
            state.waiting.clear();
            (state.count, state.trues, state.falses) = (None, 0, 0);
        }
        self.changed = false;
    }

    pub fn state(&mut self, number: usize) -> &mut BarrierState {
        &mut self.states[number]
    }

    pub fn states(&self) -> &[BarrierState] {
        &self.states
    }

    /// Takes a barrier's state and makes the barrier ready for its next use.
    pub fn reset(&mut self, number: usize) -> BarrierState {
        self.changed = true;
        let warps = self.states[number].arrived.len();
        let fresh = BarrierState {
            arrived: vec![0; warps],
            ..BarrierState::default()
        };
        std::mem::replace(&mut self.states[number], fresh)
    }
}

/// The value of a register that is the same in all of these lanes; `None` if it differs.
pub(crate) fn uniform(row: &[u32; LANES], lanes: u32) -> Option<u32> {
    let first = row[lanes.trailing_zeros() as usize & 31];
    let same = (0..LANES).all(|lane| lanes >> lane & 1 == 0 || row[lane] == first);
    same.then_some(first)
}
