//! Numbers of events: exact, or bounded.

use super::class::Class;
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
pub struct ByClass([Count; Class::ALL.len()]);

impl ByClass {
    /// The sum over all kinds.
    pub fn total(&self) -> Count {
        self.0.iter().fold(Count::default(), |sum, &count| sum.plus(count))
    }
}

impl Index<Class> for ByClass {
    type Output = Count;
    fn index(&self, class: Class) -> &Count {
        &self.0[class as usize]
    }
}

impl IndexMut<Class> for ByClass {
    fn index_mut(&mut self, class: Class) -> &mut Count {
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
                for class in 0..Class::ALL.len() {
                    let (threads, warps) = (&mut self.thread_instructions.0[class], &mut self.warp_instructions.0[class]);
                    *threads = threads.like(sample.thread_instructions.0[class], times);
                    *warps = warps.like(sample.warp_instructions.0[class], times);
                }
                $(self.$field = self.$field.like(sample.$field, times);)+
                self
            }

            /// Adds another's so many times.
            pub(super) fn add(&mut self, other: &Counts, times: Count) {
                for class in 0..Class::ALL.len() {
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
    skipped_instructions,
    /// Floating-point operations of all precisions outside matrix instructions; a fused multiply-add is two.
    flops,
    /// Floating-point operations of matrix instructions.
    matrix_flops,
    /// Bytes that loads request from global memory.
    global_load_bytes,
    /// Bytes that stores send to global memory.
    global_store_bytes,
    /// 32-byte sectors that each load of a warp touches, summed.
    global_load_sectors,
    /// 32-byte sectors that each store of a warp touches, summed.
    global_store_sectors,
    /// Bytes that loads request from shared memory.
    shared_load_bytes,
    /// Bytes that stores send to shared memory.
    shared_store_bytes,
    /// Passes over the 32 banks of 4 bytes that shared accesses take. A warp's 8-byte accesses take at least two passes, 16-byte ones four.
    shared_transactions,
    /// Passes beyond the least number, because lanes want different words of one bank.
    shared_bank_conflicts,
    /// Branches at which the threads of a warp go different ways.
    divergent_branches,
    /// Times that a warp needs what a load from global memory gives while it is under way; those that were issued before then arrive together.
    memory_waits,
}
