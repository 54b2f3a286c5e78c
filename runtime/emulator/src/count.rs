//! What a launch executed and moved, counted exactly.

use std::ops::{Add, AddAssign};

macro_rules! classes {
    ($($(#[$doc:meta])+ $variant:ident $field:ident,)+) => {
        /// What kind of work an instruction is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Class { $($(#[$doc])+ $variant,)+ }

        impl Class {
            /// Every class, in the order of their discriminants.
            pub const ALL: &'static [Class] = &[$(Class::$variant,)+];
        }

        /// One number per class of instruction.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct ByClass { $($(#[$doc])+ pub $field: u64,)+ }

        impl ByClass {
            /// The number of a class.
            pub fn get(&self, class: Class) -> u64 {
                match class { $(Class::$variant => self.$field,)+ }
            }

            pub(crate) fn get_mut(&mut self, class: Class) -> &mut u64 {
                match class { $(Class::$variant => &mut self.$field,)+ }
            }

            /// The sum over all classes.
            pub fn total(&self) -> u64 {
                0 $(+ self.$field)+
            }
        }

        impl Add for ByClass {
            type Output = ByClass;
            fn add(self, other: ByClass) -> ByClass {
                ByClass { $($field: self.$field + other.$field,)+ }
            }
        }
    };
}

classes! {
    /// Single-precision fused multiply-add.
    Float32Fma float32_fma,
    /// Single-precision addition and subtraction.
    Float32Add float32_add,
    /// Single-precision multiplication.
    Float32Multiply float32_multiply,
    /// Other single-precision work: minimum, maximum, absolute value, negation.
    Float32Other float32_other,
    /// Double-precision arithmetic.
    Float64 float64,
    /// Arithmetic of `f16`, `bf16` and their pairs.
    Float16 float16,
    /// Integer and bit operations other than multiplication.
    Integer integer,
    /// Integer multiplication and multiply-add.
    IntegerMultiply integer_multiply,
    /// Approximate functions, division and square roots.
    Special special,
    /// Conversions between types.
    Conversion conversion,
    /// Comparisons and selections.
    Predicate predicate,
    /// Moves, packing and address conversions.
    Move moves,
    /// Loads from global memory (a generic address that points there included).
    LoadGlobal load_global,
    /// Stores to global memory.
    StoreGlobal store_global,
    /// Loads from shared memory.
    LoadShared load_shared,
    /// Stores to shared memory.
    StoreShared store_shared,
    /// Loads and stores of local memory.
    Local local,
    /// Loads of kernel parameters and constants.
    Constant constant,
    /// Atomic operations and reductions in memory.
    Atomic atomic,
    /// Shuffles, votes, matches and warp reductions.
    Shuffle shuffle,
    /// Barriers and fences.
    Barrier barrier,
    /// Branches, calls, returns and exits.
    Control control,
    /// Matrix instructions.
    Matrix matrix,
    /// Asynchronous copies and their waits.
    Copy copy,
}

macro_rules! counts {
    ($($(#[$doc:meta])+ $field:ident: $ty:ty,)+) => {
        /// The events of a launch. Every number is exact and independent of how blocks were spread over host threads.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Counts { $($(#[$doc])+ pub $field: $ty,)+ }

        impl Add for Counts {
            type Output = Counts;
            fn add(self, other: Counts) -> Counts {
                Counts { $($field: self.$field + other.$field,)+ }
            }
        }
    };
}

counts! {
    /// Instructions executed by threads (predicated off ones do not count).
    thread_instructions: ByClass,
    /// Instructions issued by warps, for any number of active threads (at least one).
    warp_instructions: ByClass,
    /// Instructions issued with every thread's guard predicate false.
    warp_instructions_skipped: u64,
    /// Floating-point operations of all precisions outside matrix instructions; a fused multiply-add is two.
    flops: u64,
    /// Floating-point operations of matrix instructions.
    matrix_flops: u64,
    /// Bytes that loads requested from global memory.
    global_load_bytes: u64,
    /// Bytes that stores sent to global memory.
    global_store_bytes: u64,
    /// Load requests of warps to global memory (one per instruction).
    global_load_requests: u64,
    /// Store requests of warps to global memory.
    global_store_requests: u64,
    /// 32-byte sectors that each load request touches, summed. Bytes ÷ (32 × sectors) is the efficiency of coalescing.
    global_load_sectors: u64,
    /// 32-byte sectors that each store request touches, summed.
    global_store_sectors: u64,
    /// Bytes that atomic operations on global memory touch.
    global_atomic_bytes: u64,
    /// 32-byte sectors that each atomic request touches, summed.
    global_atomic_sectors: u64,
    /// Compulsory reads from device memory: 32 × distinct sectors that the launch read.
    dram_read_bytes: u64,
    /// Compulsory writes to device memory: 32 × distinct sectors that the launch wrote.
    dram_write_bytes: u64,
    /// Bytes that loads requested from shared memory.
    shared_load_bytes: u64,
    /// Bytes that stores sent to shared memory.
    shared_store_bytes: u64,
    /// Passes over the 32 banks of 4 bytes that shared accesses take. A warp's 8-byte accesses take at least two passes
    /// (half a warp each), 16-byte ones four.
    shared_transactions: u64,
    /// Passes beyond the least number, because lanes wanted different words of one bank.
    shared_bank_conflicts: u64,
    /// Bytes of local memory loaded and stored.
    local_bytes: u64,
    /// Branches at which the active threads of a warp went different ways.
    divergent_branches: u64,
    /// Barrier instructions executed by warps.
    barriers: u64,
    /// Threads launched.
    threads: u64,
    /// Blocks launched.
    blocks: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        *self = *self + other;
    }
}

impl std::iter::Sum for Counts {
    fn sum<I: Iterator<Item = Counts>>(counts: I) -> Counts {
        counts.fold(Counts::default(), Add::add)
    }
}
