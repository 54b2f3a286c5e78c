//! Numbers of events: exact, or bounded.

use super::class::InstructionClass;
use std::ops::{Index, IndexMut};

/// A number of events of a launch.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Count {
    /// It is at least this.
    pub low: u64,
    /// It is at most this.
    pub high: u64,
    /// The number, or a guess between its bounds.
    pub likely: f64,
}

impl Count {
    /// A number that is known.
    pub const fn exactly(number: u64) -> Count {
        Count {
            low: number,
            high: number,
            likely: number as f64,
        }
    }

    /// A number between bounds, included.
    pub const fn between(low: u64, high: u64) -> Count {
        Count {
            low,
            high,
            likely: (low as f64 + high as f64) / 2.0,
        }
    }

    /// Whether it is known.
    pub const fn is_exact(self) -> bool {
        self.low == self.high
    }

    /// The sum.
    #[must_use]
    pub const fn plus(self, other: Count) -> Count {
        Count {
            low: self.low.saturating_add(other.low),
            high: self.high.saturating_add(other.high),
            likely: self.likely + other.likely,
        }
    }

    /// So many times as much.
    #[must_use]
    pub const fn times(self, times: Count) -> Count {
        Count {
            low: self.low.saturating_mul(times.low),
            high: self.high.saturating_mul(times.high),
            likely: self.likely * times.likely,
        }
    }

    /// With the guess that a sample gives.
    fn like(self, sample: Count, times: f64) -> Count {
        Count {
            likely: (sample.likely * times).clamp(self.low as f64, self.high as f64),
            ..self
        }
    }
}

/// One number a kind of work.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ByClass([Count; InstructionClass::ALL.len()]);

impl ByClass {
    /// The sum over all kinds.
    pub fn total(&self) -> Count {
        self.0.iter().fold(Count::default(), |sum, &count| sum.plus(count))
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
        /// What a launch executes and moves.
        #[derive(Debug, Clone, Copy, Default, PartialEq)]
        pub struct Counts {
            /// Instructions executed by threads; those that are predicated off do not count.
            pub thread_instructions: ByClass,
            /// Instructions issued by warps for one thread or more.
            pub warp_instructions: ByClass,
            $($(#[$doc])+ pub $field: Count,)+
        }

        impl Counts {
            /// The numbers besides those by kind of work, with their names.
            pub fn events(&self) -> impl Iterator<Item = (&'static str, Count)> {
                [$((stringify!($field), self.$field),)+].into_iter()
            }

            /// With the guesses that a sample gives: what `part` of `all` warps do. Of none, as it is.
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

            /// Adds another's so many times.
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
    /// Floating-point operations of all precisions outside matrix instructions; a fused multiply-add is two.
    flops,
    /// Operations of matrix instructions, of integers too.
    matrix_flops,
    /// Bytes that loads and asynchronous copies request from global memory.
    global_load_bytes,
    /// Bytes that stores send to global memory.
    global_store_bytes,
    /// 32-byte sectors that each load or copy of a warp touches, summed.
    global_load_sectors,
    /// 32-byte sectors that each store of a warp touches, summed.
    global_store_sectors,
    /// Bytes that atomic operations on global memory touch.
    global_atomic_bytes,
    /// 32-byte sectors that each atomic operation of a warp touches, summed.
    global_atomic_sectors,
    /// Of `global_load_bytes`, those that asynchronous copies carry straight to shared memory.
    global_to_shared_bytes,
    /// Bytes that loads request from shared memory.
    shared_load_bytes,
    /// Bytes that stores and asynchronous copies send to shared memory, with the zeros that copies fill in.
    shared_store_bytes,
    /// Passes over the 32 banks of 4 bytes that loads take, other than those of matrices. A warp's 8-byte accesses take at
    /// least two passes, 16-byte ones four.
    shared_load_transactions,
    /// Of those, passes beyond the least number, because lanes want different words of one bank.
    shared_load_bank_conflicts,
    /// Passes of stores.
    shared_store_transactions,
    /// Of those, passes beyond the least number.
    shared_store_bank_conflicts,
    /// Passes of `ldmatrix`: at least one a matrix.
    matrix_load_transactions,
    /// Of those, passes beyond the least number.
    matrix_load_bank_conflicts,
    /// Passes of what asynchronous copies write, taken as stores of the same threads.
    copy_transactions,
    /// Of those, passes beyond the least number.
    copy_bank_conflicts,
    /// Branches at which the threads of a warp go different ways.
    divergent_branches,
    /// Barriers of a block that warps come to.
    barriers,
    /// Times that a warp needs what a load from global memory gives while it is under way; those that were issued before then arrive together.
    memory_waits,
    /// Instructions that those warps issue between a load and the wait for it, at most 128 each, summed over the waits.
    wait_distance,
    /// Times that a warp waits for a group of asynchronous copies.
    copy_waits,
    /// Groups of asynchronous copies that may be on their way at those times, the one that is waited for among them, summed.
    copy_groups,
}

/// Ways between the multiprocessor and memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Traffic {
    GlobalLoad,
    GlobalStore,
    /// Atomic operations in global memory.
    Atomic,
    SharedLoad,
    SharedStore,
    /// What `ldmatrix` reads from shared memory.
    MatrixLoad,
    /// What asynchronous copies write to shared memory.
    Copy,
}

impl Traffic {
    pub fn is_shared(self) -> bool {
        !matches!(self, Traffic::GlobalLoad | Traffic::GlobalStore | Traffic::Atomic)
    }
}

impl Counts {
    /// Passes over the banks of shared memory of all kinds of accesses.
    pub fn shared_transactions(&self) -> Count {
        self.shared_load_transactions
            .plus(self.shared_store_transactions)
            .plus(self.matrix_load_transactions)
            .plus(self.copy_transactions)
    }

    /// Passes beyond the least number, of all kinds of accesses.
    pub fn shared_bank_conflicts(&self) -> Count {
        self.shared_load_bank_conflicts
            .plus(self.shared_store_bank_conflicts)
            .plus(self.matrix_load_bank_conflicts)
            .plus(self.copy_bank_conflicts)
    }

    pub(super) fn add_bytes(&mut self, traffic: Traffic, bytes: Count) {
        let moved = match traffic {
            Traffic::GlobalLoad => &mut self.global_load_bytes,
            Traffic::GlobalStore => &mut self.global_store_bytes,
            Traffic::Atomic => &mut self.global_atomic_bytes,
            Traffic::SharedLoad | Traffic::MatrixLoad => &mut self.shared_load_bytes,
            Traffic::SharedStore | Traffic::Copy => &mut self.shared_store_bytes,
        };
        *moved = moved.plus(bytes);
    }

    /// Adds sectors of global memory, or passes over the banks of shared memory. `least`: the passes without conflicts, where they are known.
    pub(super) fn add_units(&mut self, traffic: Traffic, units: Count, least: Option<Count>) {
        let (sum, all_conflicts) = match traffic {
            Traffic::GlobalLoad => (&mut self.global_load_sectors, None),
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
