//! Exact counts of the instructions, bytes and events of a launch.

use std::ops::{Add, AddAssign, Sub};

macro_rules! classes {
    ($($(#[$doc:meta])+ $variant:ident $field:ident,)+) => {
        /// The class of an instruction: the unit that executes it, or its purpose.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Class { $($(#[$doc])+ $variant,)+ }

        impl Class {
            /// Every class, in the order of the discriminants.
            pub const ALL: &'static [Class] = &[$(Class::$variant,)+];
        }

        /// One number for each class of instruction.
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

            /// The number of a class by the name of its field; 0 if there is none.
            pub fn named(&self, name: &str) -> u64 {
                match name {
                    $(stringify!($field) => self.$field,)+
                    _ => 0,
                }
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

        impl Sub for ByClass {
            type Output = ByClass;
            fn sub(self, other: ByClass) -> ByClass {
                ByClass { $($field: self.$field - other.$field,)+ }
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
    /// Integer and bit operations other than multiplication and division, and wider integers.
    Integer integer,
    /// Integer multiplication and multiply-add.
    IntegerMultiply integer_multiply,
    /// Approximate functions. The same unit converts between integers and floating point, rounds to whole numbers, and converts
    /// binary64.
    Special special,
    /// Correctly rounded quotients, reciprocals and square roots of single precision.
    Division division,
    /// The same of double precision.
    Division64 division64,
    /// Quotients and remainders of integers of up to 32 bits.
    IntegerDivision integer_division,
    /// Quotients and remainders of integers of 64 bits.
    IntegerDivision64 integer_division64,
    /// All other conversions between types of floating point, and those that saturate or pack.
    Conversion conversion,
    /// Comparisons and selections.
    Predicate predicate,
    /// Moves, packing and address conversions.
    Move moves,
    /// Other names for a register or for a part of one, and for global addresses: no instruction of machine code.
    Name names,
    /// Loads from global memory, and through generic addresses.
    LoadGlobal load_global,
    /// Stores to global memory, and through generic addresses.
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
    /// Products of matrices (`mma`, `wmma.mma`, `wgmma`).
    Matrix matrix,
    /// Asynchronous copies and their waits.
    Copy copy,
}

macro_rules! counts {
    ($($(#[$doc:meta])+ $field:ident,)+) => {
        /// The events of a launch. Every number is exact, and independent of how blocks were spread over host threads.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Counts {
            /// Instructions executed by threads whose guard predicate was true.
            pub thread_instructions: ByClass,
            /// Instructions issued by warps with at least one active thread.
            pub warp_instructions: ByClass,
            $($(#[$doc])+ pub $field: u64,)+
        }

        impl Counts {
            /// All numbers except the instructions by class, each with its field's name.
            pub fn numbers(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($field), self.$field),)+].into_iter()
            }
        }

        impl Add for Counts {
            type Output = Counts;
            fn add(self, other: Counts) -> Counts {
                Counts {
                    thread_instructions: self.thread_instructions + other.thread_instructions,
                    warp_instructions: self.warp_instructions + other.warp_instructions,
                    $($field: self.$field + other.$field,)+
                }
            }
        }

        /// The events between two readings of the same counter.
        impl Sub for Counts {
            type Output = Counts;
            fn sub(self, earlier: Counts) -> Counts {
                Counts {
                    thread_instructions: self.thread_instructions - earlier.thread_instructions,
                    warp_instructions: self.warp_instructions - earlier.warp_instructions,
                    $($field: self.$field - earlier.$field,)+
                }
            }
        }
    };
}

counts! {
    /// Instructions issued by warps in which every thread's guard predicate was false.
    warp_instructions_skipped,
    /// Floating-point operations of all precisions, except those of matrix instructions. A fused multiply-add counts as
    /// two.
    flops,
    /// Operations of matrix products, including integer ones: 2 m n k for each instruction.
    matrix_flops,
    /// The same, as the number of `f16` operations that take equally long: an operation on 8-bit factors counts half, on `tf32` twice.
    matrix_f16_flops,
    /// Bytes that loads and asynchronous copies request from global memory.
    global_load_bytes,
    /// Bytes that stores and bulk copies wrote to global memory.
    global_store_bytes,
    /// Load requests of warps to global memory, one for each instruction.
    global_load_requests,
    /// Store requests of warps to global memory.
    global_store_requests,
    /// 32-byte sectors that each load request touches, summed over requests. Bytes ÷ (32 × sectors) tells how well the
    /// loads are coalesced.
    global_load_sectors,
    /// The part of `global_load_sectors` that comes from L2: sectors that the block did not touch shortly before, and all of copies that
    /// bypass L1. An assumption about caches; see the features of the compiler, which count alike.
    l2_load_sectors,
    /// 32-byte sectors that each store request touches, summed over requests.
    global_store_sectors,
    /// Bytes that atomic operations on global memory touch.
    global_atomic_bytes,
    /// 32-byte sectors that each atomic request touches, summed over requests.
    global_atomic_sectors,
    /// Compulsory reads from device memory, in bytes: 32 × the distinct sectors that the launch read.
    dram_read_bytes,
    /// Compulsory writes to device memory, in bytes: 32 × the distinct sectors that the launch wrote.
    dram_write_bytes,
    /// The part of `global_load_bytes` that asynchronous copies (`cp.async`, bulk) carried straight to shared memory.
    global_to_shared_bytes,
    /// Bytes that loads request from shared memory.
    shared_load_bytes,
    /// Bytes that stores, atomic operations and asynchronous copies wrote to shared memory, including the zeros that
    /// `cp.async` fills in.
    shared_store_bytes,
    /// Passes over the 32 banks of 4 bytes that accesses to shared memory take: the sum of the four kinds below. A
    /// warp's 8-byte accesses take at least two passes (half a warp each), 16-byte ones four, and each matrix of
    /// `ldmatrix` one. `wgmma` and bulk copies are not counted.
    shared_transactions,
    /// Passes beyond the least number, because lanes accessed different words of one bank: the sum of the four kinds
    /// below.
    shared_bank_conflicts,
    /// Passes of loads other than `ldmatrix`.
    shared_load_transactions,
    /// Bank conflicts of loads other than `ldmatrix`.
    shared_load_bank_conflicts,
    /// Passes of stores, `stmatrix` and atomic operations.
    shared_store_transactions,
    /// Bank conflicts of stores, `stmatrix` and atomic operations.
    shared_store_bank_conflicts,
    /// Passes of `ldmatrix`.
    matrix_load_transactions,
    /// Bank conflicts of `ldmatrix`.
    matrix_load_bank_conflicts,
    /// Passes of `cp.async`, as if the same threads stored as many bytes.
    copy_transactions,
    /// Bank conflicts of `cp.async`.
    copy_bank_conflicts,
    /// Bytes of local memory loaded and stored.
    local_bytes,
    /// Branches at which the active threads of a warp diverged.
    divergent_branches,
    /// Waits of warps for groups of `cp.async`.
    copy_waits,
    /// Groups of `cp.async` that may be in flight at those waits: the one that is waited for, and those that may remain.
    copy_groups,
    /// Barrier instructions executed by warps.
    barriers,
    /// Threads launched.
    threads,
    /// Blocks launched.
    blocks,
}

impl Counts {
    /// Counts a product of matrices whose factors have so many bits.
    pub(crate) fn add_matrix_flops(&mut self, flops: u64, bits: u32) {
        self.matrix_flops += flops;
        self.matrix_f16_flops += flops * u64::from(bits) / 16;
    }

    /// The bytes that loads asked for, as a share of the bytes of all sectors fetched. It exceeds 1 if threads share
    /// words, and is 1 if nothing was loaded.
    pub fn load_efficiency(&self) -> f64 {
        efficiency(self.global_load_bytes, self.global_load_sectors)
    }

    /// The bytes that stores wrote, as a share of the bytes of all sectors touched; 1 if nothing was stored.
    pub fn store_efficiency(&self) -> f64 {
        efficiency(self.global_store_bytes, self.global_store_sectors)
    }
}

fn efficiency(bytes: u64, sectors: u64) -> f64 {
    if sectors == 0 {
        1.0
    } else {
        bytes as f64 / (32 * sectors) as f64
    }
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
