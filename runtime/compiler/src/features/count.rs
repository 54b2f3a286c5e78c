//! Counts of events: exact or bounded.

use super::class::InstructionClass;
use std::ops::{Index, IndexMut};

/// A number of events of a launch.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Count {
    /// The lower bound.
    pub low: u64,
    /// The upper bound.
    pub high: u64,
    /// The exact number, or a guess between the bounds.
    pub likely: f64,
}

impl Count {
    /// Returns an exact count.
    pub const fn exactly(number: u64) -> Count {
        Count {
            low: number,
            high: number,
            likely: number as f64,
        }
    }

    /// Returns a count between bounds, both included.
    pub const fn between(low: u64, high: u64) -> Count {
        Count {
            low,
            high,
            likely: (low as f64 + high as f64) / 2.0,
        }
    }

    /// `true` if the count is exact.
    pub const fn is_exact(self) -> bool {
        self.low == self.high
    }

    /// Returns the sum.
    #[must_use]
    pub const fn plus(self, other: Count) -> Count {
        Count {
            low: self.low.saturating_add(other.low),
            high: self.high.saturating_add(other.high),
            likely: self.likely + other.likely,
        }
    }

    /// Returns the product.
    #[must_use]
    pub const fn times(self, times: Count) -> Count {
        Count {
            low: self.low.saturating_mul(times.low),
            high: self.high.saturating_mul(times.high),
            likely: self.likely * times.likely,
        }
    }

    /// Takes the guess from a sample.
    fn like(self, sample: Count, times: f64) -> Count {
        Count {
            likely: (sample.likely * times).clamp(self.low as f64, self.high as f64),
            ..self
        }
    }
}

/// One count for each class of instructions.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ByClass([Count; InstructionClass::ALL.len()]);

impl ByClass {
    /// The sum over all classes.
    pub fn total(&self) -> Count {
        self.0.iter().fold(Count::default(), |sum, &count| sum.plus(count))
    }

    /// The instructions of machine code for them: [`InstructionClass::machine_instructions`]. A bounded count has its likely value.
    pub fn machine_instructions(&self) -> f64 {
        let of = |&class: &InstructionClass| self[class].likely * f64::from(class.machine_instructions());
        InstructionClass::ALL.iter().map(of).sum()
    }
}

impl Index<InstructionClass> for ByClass {
    type Output = Count;
    fn index(&self, class: InstructionClass) -> &Count {
        &self.0[class as usize]
    }
}

impl IndexMut<InstructionClass> for ByClass {
    fn index_mut(&mut self, class: InstructionClass) -> &mut Count {
        &mut self.0[class as usize]
    }
}

macro_rules! counts {
    ($($(#[$doc:meta])+ $field:ident,)+) => {
        /// The instructions and the traffic of a launch.
        #[derive(Debug, Clone, Copy, Default, PartialEq)]
        pub struct Counts {
            /// Instructions executed by threads, without those that are predicated off.
            pub thread_instructions: ByClass,
            /// Instructions issued by warps for at least one thread.
            pub warp_instructions: ByClass,
            $($(#[$doc])+ pub $field: Count,)+
        }

        impl Counts {
            /// The counts that are not by class, with their names.
            pub fn events(&self) -> impl Iterator<Item = (&'static str, Count)> {
                [$((stringify!($field), self.$field),)+].into_iter()
            }

            /// Takes the guesses from a sample of `part` out of `all` warps. Without a sample, nothing changes.
            pub(super) fn like(mut self, sample: &Counts, all: u64, part: u64) -> Counts {
                if part == 0 {
                    return self;
                }
                let times = all as f64 / part as f64;
                for class in 0..InstructionClass::ALL.len() {
                    let (threads, warps) = (&mut self.thread_instructions.0[class], &mut self.warp_instructions.0[class]);
                    *threads = threads.like(sample.thread_instructions.0[class], times);
                    *warps = warps.like(sample.warp_instructions.0[class], times);
                }
                $(self.$field = self.$field.like(sample.$field, times);)+
                self
            }

            /// Adds other counts so many times.
            pub(super) fn add(&mut self, other: &Counts, times: Count) {
                for class in 0..InstructionClass::ALL.len() {
                    let (threads, warps) = (&mut self.thread_instructions.0[class], &mut self.warp_instructions.0[class]);
                    *threads = threads.plus(other.thread_instructions.0[class].times(times));
                    *warps = warps.plus(other.warp_instructions.0[class].times(times));
                }
                $(self.$field = self.$field.plus(other.$field.times(times));)+
            }
        }
    };
}

counts! {
    /// Instructions issued by warps with every thread predicated off.
    warp_instructions_skipped,
    /// Floating-point operations of all precisions outside matrix instructions. A fused multiply-add counts as two.
    flops,
    /// Operations of matrix instructions, including integer ones.
    matrix_flops,
    /// Bytes that loads and asynchronous copies request from global memory.
    global_load_bytes,
    /// Bytes that stores send to global memory.
    global_store_bytes,
    /// 32-byte sectors that each load or copy of a warp touches, summed.
    global_load_sectors,
    /// The part of those that comes from L2: what a block has not read shortly before, and all of the copies that bypass L1.
    l2_load_sectors,
    /// 32-byte sectors that each store of a warp touches, summed.
    global_store_sectors,
    /// Bytes that atomic operations on global memory touch.
    global_atomic_bytes,
    /// 32-byte sectors that each atomic operation of a warp touches, summed.
    global_atomic_sectors,
    /// The part of `global_load_bytes` that asynchronous copies move directly to shared memory.
    global_to_shared_bytes,
    /// Bytes that loads request from shared memory.
    shared_load_bytes,
    /// Bytes that stores and asynchronous copies write to shared memory, including the zeros that copies fill in.
    shared_store_bytes,
    /// Passes of loads other than `ldmatrix` over the 32 banks of 4 bytes. A warp's 8-byte accesses take at
    /// least two passes, 16-byte accesses four.
    shared_load_transactions,
    /// Passes of those beyond the minimum, because lanes access different words of one bank.
    shared_load_bank_conflicts,
    /// Passes of stores.
    shared_store_transactions,
    /// Passes of those beyond the minimum.
    shared_store_bank_conflicts,
    /// Passes of `ldmatrix`: at least one for each matrix.
    matrix_load_transactions,
    /// Passes of those beyond the minimum.
    matrix_load_bank_conflicts,
    /// Passes of the writes of asynchronous copies, counted as stores of the same threads.
    copy_transactions,
    /// Passes of those beyond the minimum.
    copy_bank_conflicts,
    /// Branches at which the threads of a warp diverge.
    divergent_branches,
    /// Block barriers that warps arrive at.
    barriers,
    /// Waits of warps for a result of a global load in flight. Loads issued before the wait arrive together.
    memory_waits,
    /// Instructions that warps issue between a load and the wait for it, at most 128 each, summed over the waits.
    wait_distance,
    /// Waits of warps for a group of asynchronous copies.
    copy_waits,
    /// Groups of asynchronous copies in flight at those waits, including the awaited one, summed.
    copy_groups,
}

/// Kinds of memory traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Traffic {
    GlobalLoad,
    /// Copies that leave nothing in L1.
    LoadPastL1,
    GlobalStore,
    /// Atomic operations in global memory.
    Atomic,
    SharedLoad,
    SharedStore,
    /// Reads of `ldmatrix` from shared memory.
    MatrixLoad,
    /// Writes of asynchronous copies to shared memory.
    Copy,
}

impl Traffic {
    pub fn is_shared(self) -> bool {
        !matches!(
            self,
            Traffic::GlobalLoad | Traffic::LoadPastL1 | Traffic::GlobalStore | Traffic::Atomic
        )
    }
}

impl Counts {
    /// Passes of all accesses over the banks of shared memory.
    pub fn shared_transactions(&self) -> Count {
        self.shared_load_transactions
            .plus(self.shared_store_transactions)
            .plus(self.matrix_load_transactions)
            .plus(self.copy_transactions)
    }

    /// Passes of all accesses beyond the minimum.
    pub fn shared_bank_conflicts(&self) -> Count {
        self.shared_load_bank_conflicts
            .plus(self.shared_store_bank_conflicts)
            .plus(self.matrix_load_bank_conflicts)
            .plus(self.copy_bank_conflicts)
    }

    pub(super) fn add_bytes(&mut self, traffic: Traffic, bytes: Count) {
        let moved = match traffic {
            Traffic::GlobalLoad | Traffic::LoadPastL1 => &mut self.global_load_bytes,
            Traffic::GlobalStore => &mut self.global_store_bytes,
            Traffic::Atomic => &mut self.global_atomic_bytes,
            Traffic::SharedLoad | Traffic::MatrixLoad => &mut self.shared_load_bytes,
            Traffic::SharedStore | Traffic::Copy => &mut self.shared_store_bytes,
        };
        *moved = moved.plus(bytes);
    }

    /// Adds sectors of global memory, or passes over the banks of shared memory. `least` is the number of passes without conflicts, if known.
    pub(super) fn add_units(&mut self, traffic: Traffic, units: Count, least: Option<Count>) {
        let (sum, all_conflicts) = match traffic {
            Traffic::GlobalLoad => (&mut self.global_load_sectors, None),
            Traffic::LoadPastL1 => {
                self.l2_load_sectors = self.l2_load_sectors.plus(units);
                (&mut self.global_load_sectors, None)
            }
            Traffic::GlobalStore => (&mut self.global_store_sectors, None),
            Traffic::Atomic => (&mut self.global_atomic_sectors, None),
            Traffic::SharedLoad => (
                &mut self.shared_load_transactions,
                Some(&mut self.shared_load_bank_conflicts),
            ),
            Traffic::SharedStore => (
                &mut self.shared_store_transactions,
                Some(&mut self.shared_store_bank_conflicts),
            ),
            Traffic::MatrixLoad => (
                &mut self.matrix_load_transactions,
                Some(&mut self.matrix_load_bank_conflicts),
            ),
            Traffic::Copy => (&mut self.copy_transactions, Some(&mut self.copy_bank_conflicts)),
        };
        *sum = sum.plus(units);
        let Some(all_conflicts) = all_conflicts else { return };
        let conflicts = match least {
            Some(least) => Count {
                low: units.low.saturating_sub(least.high),
                high: units.high.saturating_sub(least.low),
                likely: (units.likely - least.likely).max(0.0),
            },
            None => Count {
                likely: 0.0,
                ..Count::between(0, units.high)
            },
        };
        *all_conflicts = all_conflicts.plus(conflicts);
    }
}
