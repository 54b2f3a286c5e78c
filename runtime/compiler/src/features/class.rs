//! The class of each instruction. A new line of the table in [`ptx::opcode`](crate::ptx::opcode) needs its class here.

use crate::ptx::Opcode;

macro_rules! classes {
    ($($(#[$doc:meta])+ $variant:ident $name:literal,)+) => {
        /// A class of instructions. The emulator counts the same classes, from its own parse of the text.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum InstructionClass { $($(#[$doc])+ $variant,)+ }

        impl InstructionClass {
            /// Every class, in the order of their discriminants.
            pub const ALL: &'static [InstructionClass] = &[$(InstructionClass::$variant,)+];

            /// The name: `float32_fma`, …
            pub const fn name(self) -> &'static str {
                match self { $(InstructionClass::$variant => $name,)+ }
            }
        }
    };
}

classes! {
    /// Single-precision fused multiply-add.
    Float32Fma "float32_fma",
    /// Single-precision addition and subtraction.
    Float32Add "float32_add",
    /// Single-precision multiplication.
    Float32Multiply "float32_multiply",
    /// Other single-precision work: minimum, maximum, absolute value, negation.
    Float32Other "float32_other",
    /// Double-precision arithmetic.
    Float64 "float64",
    /// Arithmetic of `f16`, `bf16` and their pairs.
    Float16 "float16",
    /// Integer and bit operations other than multiplication and division, and wider integers.
    Integer "integer",
    /// Integer multiplication and multiply-add.
    IntegerMultiply "integer_multiply",
    /// Approximate functions; conversions between integers and floating point, to whole numbers, and of binary64, which the same unit
    /// does.
    Special "special",
    /// Correctly rounded quotients, reciprocals and square roots of single precision.
    Division "division",
    /// The same of double precision.
    Division64 "division64",
    /// Quotients and remainders of integers of up to 32 bits.
    IntegerDivision "integer_division",
    /// Quotients and remainders of integers of 64 bits.
    IntegerDivision64 "integer_division64",
    /// Conversions between types of floating point other than binary64.
    Conversion "conversion",
    /// Comparisons and selections.
    Predicate "predicate",
    /// Moves and packing.
    Move "moves",
    /// Other names for a register or for a part of one, and for global addresses: no instruction of machine code.
    Name "names",
    /// Loads from global memory.
    LoadGlobal "load_global",
    /// Stores to global memory.
    StoreGlobal "store_global",
    /// Loads from shared memory.
    LoadShared "load_shared",
    /// Stores to shared memory.
    StoreShared "store_shared",
    /// Loads of kernel parameters.
    Constant "constant",
    /// Shuffles between the threads of a warp.
    Shuffle "shuffle",
    /// Atomic operations in global memory.
    Atomic "atomic",
    /// Barriers.
    Barrier "barrier",
    /// Branches and returns.
    Control "control",
    /// Matrix instructions.
    Matrix "matrix",
    /// Asynchronous copies and their waits.
    Copy "copy",
}

impl InstructionClass {
    /// The instructions of machine code for one of PTX: those that ptxas 13.0 makes for sm_90 on the way that ordinary operands take. A
    /// divisor of 32 bits divides twice.
    pub const fn machine_instructions(self) -> u32 {
        match self {
            InstructionClass::Name => 0,
            InstructionClass::Division => 9,
            InstructionClass::Division64 => 13,
            InstructionClass::IntegerDivision => 16,
            InstructionClass::IntegerDivision64 => 76,
            _ => 1,
        }
    }
}

/// For an instruction that waits for asynchronous copies, the number of groups in flight: the one
/// that it waits for, and those that it lets continue. 0 for others.
pub(super) fn groups_on_their_way(opcode: Opcode) -> u32 {
    match opcode {
        Opcode::CopyWait0 => 1,
        Opcode::CopyWait1 => 2,
        Opcode::CopyWait2 => 3,
        Opcode::CopyWait3 => 4,
        _ => 0,
    }
}

/// Returns the class of an instruction of the table, and its floating-point operations per thread. For [`InstructionClass::Matrix`], all
/// operations per warp.
#[rustfmt::skip]
pub(super) fn of(opcode: Opcode) -> (InstructionClass, u64) {
    use Opcode::*;
    match opcode {
        FmaF32 | FmaSatF32 => (InstructionClass::Float32Fma, 2),
        AddF32 | SubF32 => (InstructionClass::Float32Add, 1),
        MulF32 => (InstructionClass::Float32Multiply, 1),
        MinF32 | MaxF32 | MinNanF32 | MaxNanF32 => (InstructionClass::Float32Other, 1),
        NegF32 | AbsF32 | CopysignF32 => (InstructionClass::Float32Other, 0),
        FmaF64 => (InstructionClass::Float64, 2),
        AddF64 | SubF64 | MulF64 | MinF64 | MaxF64 => (InstructionClass::Float64, 1),
        NegF64 | AbsF64 | CopysignF64 => (InstructionClass::Float64, 0),
        DivF32 | RcpF32 | SqrtF32 => (InstructionClass::Division, 1),
        DivF64 | RcpF64 | SqrtF64 => (InstructionClass::Division64, 1),
        DivS32 | DivU32 | QuotU32 | RemS32 | RemU32 => (InstructionClass::IntegerDivision, 0),
        DivS64 | DivU64 | RemS64 | RemU64 => (InstructionClass::IntegerDivision64, 0),
        Ex2F32 | Lg2F32 | RsqrtF32 | RcpApproxF32 | TanhApproxF32 => (InstructionClass::Special, 1),
        CvtF64F16 | CvtF16F64 | CvtF64F32 | CvtF32F64 | CvtRzF32F64 | CvtF32S32 | CvtF32S64 | CvtF64S32 | CvtF64S64 | CvtS32F32
        | CvtS64F32 | CvtS32F64 | CvtS64F64 | CvtNearS32F32 | CvtNearS32F64 | FloorF32 | CeilF32 | TruncF32 | NearF32 | FloorF64
        | CeilF64 | TruncF64 | NearF64 => (InstructionClass::Special, 0),
        AddS32 | SubS32 | MinS32 | MaxS32 | MinU32 | NegS32 | AbsS32 | AndB32 | OrB32
        | XorB32 | NotB32 | ShlB32 | ShrU32 | ShrS32 | ClzB32 | PrmtB32 | AddS64 | SubS64 | MinS64 | MaxS64 | NegS64 | AbsS64 | AndB64 | OrB64 | XorB64 | NotB64 | ShlB64 | ShrU64 | ShrS64 | ClzB64
        | CvtS64S32 | CvtU64U32 | CvtU32U16 => (InstructionClass::Integer, 0),
        MulS32 | MulHiU32 | MadS32 | MulWideS32 | MadWideS32 | MulWideU32 | MulS64 | MulHiU64 | MadS64 => (InstructionClass::IntegerMultiply, 0),
        CvtF32F16 | CvtF16F32 | CvtBf16F32 | CvtF16x2F32
        | CvtBf16x2F32 => (InstructionClass::Conversion, 0),
        MovPred | MovB16 | MovB32 | MovB64 | MovF32 | MovF64 | F64Halves | B64Halves | B32Halves | TidX | CtaidX | CtaidY | CtaidZ
        | NctaidX | SharedBase => (InstructionClass::Move, 0),
        BitsF32 | F32Bits | BitsF64 | F64Bits | HalvesF64 | HalvesB64 | HalvesB32 | CvtU32U64 | CvtU16U32 | ToGlobal => (InstructionClass::Name, 0),
        AndPred | OrPred | XorPred | NotPred | SelB16 | SelB32 | SelB64 | SelF32 | SelF64 => (InstructionClass::Predicate, 0),
        ShflBflyB32 | ShflDownB32 | ShflIdxB32 => (InstructionClass::Shuffle, 0),
        Barrier | BarrierOr | WarpBarrier => (InstructionClass::Barrier, 0),
        CopyCommit | CopyWait0 | CopyWait1 | CopyWait2 | CopyWait3 => (InstructionClass::Copy, 0),
        // 16 × 8 outputs, each a sum over K.
        MmaTf32 => (InstructionClass::Matrix, 2 * 16 * 8 * 8),
        MmaF16 | MmaBf16 => (InstructionClass::Matrix, 2 * 16 * 8 * 16),
        MmaS8S8 | MmaS8U8 | MmaU8S8 | MmaU8U8 => (InstructionClass::Matrix, 2 * 16 * 8 * 32),
    }
}
