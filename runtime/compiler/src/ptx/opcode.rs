//! The instruction table.
//!
//! Loads, stores, comparisons and parameters have special operands (`Action` in the parent module). Every other instruction is a line here:
//! name, text, classes of the sources, class of the result. `convergent` marks instructions that all threads of a warp or
//! block must execute together. The builder does not move them.

/// A class of registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// A predicate.
    Pred,
    /// 16 bits: binary16, bfloat16.
    B16,
    /// 32 bits: integers, shared addresses, packed halves.
    B32,
    /// 64 bits: integers, global addresses.
    B64,
    /// A binary32.
    F32,
    /// A binary64.
    F64,
}

impl Class {
    /// Every class, in order of declaration.
    pub const ALL: [Class; 6] = [Class::Pred, Class::B16, Class::B32, Class::B64, Class::F32, Class::F64];

    /// The number of 32-bit registers that a register of this class occupies.
    pub const fn words(self) -> usize {
        match self {
            Class::Pred => 0,
            Class::B16 | Class::B32 | Class::F32 => 1,
            Class::B64 | Class::F64 => 2,
        }
    }

    /// The declared type of registers of this class.
    pub const fn declaration(self) -> &'static str {
        match self {
            Class::Pred => "pred",
            Class::B16 => "b16",
            Class::B32 => "b32",
            Class::B64 => "b64",
            Class::F32 => "f32",
            Class::F64 => "f64",
        }
    }

    /// The prefix of register names.
    pub const fn prefix(self) -> &'static str {
        match self {
            Class::Pred => "%p",
            Class::B16 => "%h",
            Class::B32 => "%r",
            Class::B64 => "%rd",
            Class::F32 => "%f",
            Class::F64 => "%fd",
        }
    }
}

/// Comparisons of `setp`. Those that end in `U` also hold if an operand is NaN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Compare {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    NeU,
    LtU,
    GtU,
}

impl Compare {
    /// The PTX spelling.
    pub const fn text(self) -> &'static str {
        match self {
            Compare::Eq => "eq",
            Compare::Ne => "ne",
            Compare::Lt => "lt",
            Compare::Le => "le",
            Compare::Gt => "gt",
            Compare::Ge => "ge",
            Compare::NeU => "neu",
            Compare::LtU => "ltu",
            Compare::GtU => "gtu",
        }
    }
}

/// A line of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The mnemonic with its qualifiers. Special registers and fixed operands follow after a `|`.
    pub text: &'static str,
    /// Classes of the sources.
    pub sources: &'static [Class],
    /// Classes of the results.
    pub results: &'static [Class],
    /// `true` if the result depends only on the sources.
    pub pure: bool,
    /// The sizes of the brace groups of operands, results first; empty if no operands are grouped.
    pub groups: &'static [usize],
}

macro_rules! table {
    (@pure) => { true };
    (@pure convergent) => { false };
    ($($name:ident $text:literal ($($source:ident)*) -> ($($result:ident)*) $([$($group:literal)*])? $($convergent:ident)?;)*) => {
        /// An instruction of the table.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "each is its line of the table")]
        pub enum Opcode { $($name),* }

        impl Opcode {
            /// Every instruction of the table.
            pub const ALL: &'static [Opcode] = &[$(Opcode::$name),*];

            /// The line of the table.
            pub const fn row(self) -> &'static Row {
                match self {
                    $(Opcode::$name => &Row {
                        text: $text,
                        sources: &[$(Class::$source),*],
                        results: &[$(Class::$result),*],
                        pure: table!(@pure $($convergent)?),
                        groups: &[$($($group),*)?],
                    },)*
                }
            }
        }
    };
}

table! {
    // 32-bit integers
    AddS32    "add.s32"      (B32 B32)     -> (B32);
    SubS32    "sub.s32"      (B32 B32)     -> (B32);
    MulS32    "mul.lo.s32"   (B32 B32)     -> (B32);
    MulHiU32  "mul.hi.u32"   (B32 B32)     -> (B32);
    MadS32    "mad.lo.s32"   (B32 B32 B32) -> (B32);
    DivS32    "div.s32"      (B32 B32)     -> (B32);
    // of numbers below 2³¹
    DivU32    "div.u32"      (B32 B32)     -> (B32);
    // of a number below 2³¹, by a divisor that is not printed, with its reciprocal (`reciprocal::word`): three instructions
    QuotU32   "mul.hi.u32"   (B32 B32 B32 B32) -> (B32);
    RemS32    "rem.s32"      (B32 B32)     -> (B32);
    RemU32    "rem.u32"      (B32 B32)     -> (B32);
    MinS32    "min.s32"      (B32 B32)     -> (B32);
    MaxS32    "max.s32"      (B32 B32)     -> (B32);
    MinU32    "min.u32"      (B32 B32)     -> (B32);
    NegS32    "neg.s32"      (B32)         -> (B32);
    AbsS32    "abs.s32"      (B32)         -> (B32);
    AndB32    "and.b32"      (B32 B32)     -> (B32);
    OrB32     "or.b32"       (B32 B32)     -> (B32);
    XorB32    "xor.b32"      (B32 B32)     -> (B32);
    NotB32    "not.b32"      (B32)         -> (B32);
    ShlB32    "shl.b32"      (B32 B32)     -> (B32);
    ShrU32    "shr.u32"      (B32 B32)     -> (B32);
    ShrS32    "shr.s32"      (B32 B32)     -> (B32);
    ClzB32    "clz.b32"      (B32)         -> (B32);
    PrmtB32   "prmt.b32"     (B32 B32 B32) -> (B32);
    MulWideS32 "mul.wide.s32" (B32 B32)     -> (B64);
    MadWideS32 "mad.wide.s32" (B32 B32 B64) -> (B64);
    MulWideU32 "mul.wide.u32" (B32 B32)     -> (B64);

    // 64-bit integers
    AddS64    "add.s64"      (B64 B64)     -> (B64);
    SubS64    "sub.s64"      (B64 B64)     -> (B64);
    MulS64    "mul.lo.s64"   (B64 B64)     -> (B64);
    MulHiU64  "mul.hi.u64"   (B64 B64)     -> (B64);
    MadS64    "mad.lo.s64"   (B64 B64 B64) -> (B64);
    DivS64    "div.s64"      (B64 B64)     -> (B64);
    // of numbers below 2⁶³
    DivU64    "div.u64"      (B64 B64)     -> (B64);
    RemS64    "rem.s64"      (B64 B64)     -> (B64);
    RemU64    "rem.u64"      (B64 B64)     -> (B64);
    MinS64    "min.s64"      (B64 B64)     -> (B64);
    MaxS64    "max.s64"      (B64 B64)     -> (B64);
    NegS64    "neg.s64"      (B64)         -> (B64);
    AbsS64    "abs.s64"      (B64)         -> (B64);
    AndB64    "and.b64"      (B64 B64)     -> (B64);
    OrB64     "or.b64"       (B64 B64)     -> (B64);
    XorB64    "xor.b64"      (B64 B64)     -> (B64);
    NotB64    "not.b64"      (B64)         -> (B64);
    ShlB64    "shl.b64"      (B64 B32)     -> (B64);
    ShrU64    "shr.u64"      (B64 B32)     -> (B64);
    ShrS64    "shr.s64"      (B64 B32)     -> (B64);
    ClzB64    "clz.b64"      (B64)         -> (B32);

    // binary32; `.rn` prevents ptxas from fusing multiplications and additions
    AddF32    "add.rn.f32"   (F32 F32)     -> (F32);
    SubF32    "sub.rn.f32"   (F32 F32)     -> (F32);
    MulF32    "mul.rn.f32"   (F32 F32)     -> (F32);
    FmaF32    "fma.rn.f32"   (F32 F32 F32) -> (F32);
    FmaSatF32 "fma.rn.sat.f32" (F32 F32 F32) -> (F32);
    DivF32    "div.rn.f32"   (F32 F32)     -> (F32);
    RcpF32    "rcp.rn.f32"   (F32)         -> (F32);
    SqrtF32   "sqrt.rn.f32"  (F32)         -> (F32);
    NegF32    "neg.f32"      (F32)         -> (F32);
    AbsF32    "abs.f32"      (F32)         -> (F32);
    MinF32    "min.f32"      (F32 F32)     -> (F32);
    MaxF32    "max.f32"      (F32 F32)     -> (F32);
    MinNanF32 "min.NaN.f32"  (F32 F32)     -> (F32);
    MaxNanF32 "max.NaN.f32"  (F32 F32)     -> (F32);
    CopysignF32 "copysign.f32" (F32 F32)   -> (F32);
    Ex2F32    "ex2.approx.ftz.f32" (F32)   -> (F32);
    Lg2F32    "lg2.approx.f32" (F32)       -> (F32);
    RsqrtF32  "rsqrt.approx.f32" (F32)     -> (F32);
    RcpApproxF32 "rcp.approx.ftz.f32" (F32) -> (F32);
    TanhApproxF32 "tanh.approx.f32" (F32)  -> (F32);

    // binary64
    AddF64    "add.rn.f64"   (F64 F64)     -> (F64);
    SubF64    "sub.rn.f64"   (F64 F64)     -> (F64);
    MulF64    "mul.rn.f64"   (F64 F64)     -> (F64);
    FmaF64    "fma.rn.f64"   (F64 F64 F64) -> (F64);
    DivF64    "div.rn.f64"   (F64 F64)     -> (F64);
    RcpF64    "rcp.rn.f64"   (F64)         -> (F64);
    SqrtF64   "sqrt.rn.f64"  (F64)         -> (F64);
    NegF64    "neg.f64"      (F64)         -> (F64);
    AbsF64    "abs.f64"      (F64)         -> (F64);
    MinF64    "min.f64"      (F64 F64)     -> (F64);
    MaxF64    "max.f64"      (F64 F64)     -> (F64);
    CopysignF64 "copysign.f64" (F64 F64)   -> (F64);

    // conversions
    CvtS64S32 "cvt.s64.s32"  (B32)         -> (B64);
    CvtU64U32 "cvt.u64.u32"  (B32)         -> (B64);
    CvtU32U64 "cvt.u32.u64"  (B64)         -> (B32);
    CvtU32U16 "cvt.u32.u16"  (B16)         -> (B32);
    CvtU16U32 "cvt.u16.u32"  (B32)         -> (B16);
    CvtF32F16 "cvt.f32.f16"  (B16)         -> (F32);
    CvtF64F16 "cvt.f64.f16"  (B16)         -> (F64);
    CvtF16F32 "cvt.rn.f16.f32" (F32)       -> (B16);
    CvtF16F64 "cvt.rn.f16.f64" (F64)       -> (B16);
    CvtBf16F32 "cvt.rn.bf16.f32" (F32)     -> (B16);
    // two, the second in the lower half
    CvtF16x2F32 "cvt.rn.f16x2.f32" (F32 F32) -> (B32);
    CvtBf16x2F32 "cvt.rn.bf16x2.f32" (F32 F32) -> (B32);
    CvtF64F32 "cvt.f64.f32"  (F32)         -> (F64);
    CvtF32F64 "cvt.rn.f32.f64" (F64)       -> (F32);
    CvtRzF32F64 "cvt.rz.f32.f64" (F64)     -> (F32);
    CvtF32S32 "cvt.rn.f32.s32" (B32)       -> (F32);
    CvtF32S64 "cvt.rn.f32.s64" (B64)       -> (F32);
    CvtF64S32 "cvt.rn.f64.s32" (B32)       -> (F64);
    CvtF64S64 "cvt.rn.f64.s64" (B64)       -> (F64);
    CvtS32F32 "cvt.rzi.s32.f32" (F32)      -> (B32);
    CvtS64F32 "cvt.rzi.s64.f32" (F32)      -> (B64);
    CvtS32F64 "cvt.rzi.s32.f64" (F64)      -> (B32);
    CvtS64F64 "cvt.rzi.s64.f64" (F64)      -> (B64);
    CvtNearS32F32 "cvt.rni.s32.f32" (F32)  -> (B32);
    CvtNearS32F64 "cvt.rni.s32.f64" (F64)  -> (B32);
    FloorF32  "cvt.rmi.f32.f32" (F32)      -> (F32);
    CeilF32   "cvt.rpi.f32.f32" (F32)      -> (F32);
    TruncF32  "cvt.rzi.f32.f32" (F32)      -> (F32);
    NearF32   "cvt.rni.f32.f32" (F32)      -> (F32);
    FloorF64  "cvt.rmi.f64.f64" (F64)      -> (F64);
    CeilF64   "cvt.rpi.f64.f64" (F64)      -> (F64);
    TruncF64  "cvt.rzi.f64.f64" (F64)      -> (F64);
    NearF64   "cvt.rni.f64.f64" (F64)      -> (F64);

    // moves; those between classes keep the bits
    MovPred   "mov.pred"     (Pred)        -> (Pred);
    MovB16    "mov.b16"      (B16)         -> (B16);
    MovB32    "mov.b32"      (B32)         -> (B32);
    MovB64    "mov.b64"      (B64)         -> (B64);
    MovF32    "mov.f32"      (F32)         -> (F32);
    MovF64    "mov.f64"      (F64)         -> (F64);
    BitsF32   "mov.b32"      (F32)         -> (B32);
    F32Bits   "mov.b32"      (B32)         -> (F32);
    BitsF64   "mov.b64"      (F64)         -> (B64);
    F64Bits   "mov.b64"      (B64)         -> (F64);
    F64Halves "mov.b64"      (B32 B32)     -> (F64) [1 2];
    HalvesF64 "mov.b64"      (F64)         -> (B32 B32) [2 1];
    HalvesB64 "mov.b64"      (B64)         -> (B32 B32) [2 1];
    B64Halves "mov.b64"      (B32 B32)     -> (B64) [1 2];
    HalvesB32 "mov.b32"      (B32)         -> (B16 B16) [2 1];
    B32Halves "mov.b32"      (B16 B16)     -> (B32) [1 2];

    // truth values and selection
    AndPred   "and.pred"     (Pred Pred)   -> (Pred);
    OrPred    "or.pred"      (Pred Pred)   -> (Pred);
    XorPred   "xor.pred"     (Pred Pred)   -> (Pred);
    NotPred   "not.pred"     (Pred)        -> (Pred);
    SelB16    "selp.b16"     (B16 B16 Pred) -> (B16);
    SelB32    "selp.b32"     (B32 B32 Pred) -> (B32);
    SelB64    "selp.b64"     (B64 B64 Pred) -> (B64);
    SelF32    "selp.f32"     (F32 F32 Pred) -> (F32);
    SelF64    "selp.f64"     (F64 F64 Pred) -> (F64);

    // position of the thread
    TidX      "mov.u32|%tid.x"    ()       -> (B32);
    CtaidX    "mov.u32|%ctaid.x"  ()       -> (B32);
    CtaidY    "mov.u32|%ctaid.y"  ()       -> (B32);
    CtaidZ    "mov.u32|%ctaid.z"  ()       -> (B32);
    NctaidX   "mov.u32|%nctaid.x" ()       -> (B32);
    SharedBase "mov.u32|shared"   ()       -> (B32);

    // a pointer parameter as an address of global memory
    ToGlobal  "cvta.to.global.u64" (B64)   -> (B64);

    // shuffles: value, lane mask or offset
    ShflBflyB32 "shfl.sync.bfly.b32||31, 0xffffffff" (B32 B32) -> (B32) convergent;
    ShflDownB32 "shfl.sync.down.b32||31, 0xffffffff" (B32 B32) -> (B32) convergent;
    ShflIdxB32 "shfl.sync.idx.b32||31, 0xffffffff" (B32 B32) -> (B32) convergent;
    Barrier   "bar.sync|0"   ()            -> () convergent;
    // barrier 0; `or` over the block's predicates
    BarrierOr "bar.red.or.pred" (B32 Pred) -> (Pred) convergent;
    WarpBarrier "bar.warp.sync|0xffffffff" () -> () convergent;

    // groups of asynchronous copies; the wait is for all but the newest so many groups
    CopyCommit "cp.async.commit_group" ()  -> () convergent;
    CopyWait0 "cp.async.wait_group|0" ()   -> () convergent;
    CopyWait1 "cp.async.wait_group|1" ()   -> () convergent;
    CopyWait2 "cp.async.wait_group|2" ()   -> () convergent;
    CopyWait3 "cp.async.wait_group|3" ()   -> () convergent;

    // tensor cores: a tile of 16 × 8 outputs for each warp, D = A · B + C
    MmaF16  "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32"
        (B32 B32 B32 B32 B32 B32 F32 F32 F32 F32) -> (F32 F32 F32 F32) [4 4 2 4] convergent;
    MmaBf16 "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32"
        (B32 B32 B32 B32 B32 B32 F32 F32 F32 F32) -> (F32 F32 F32 F32) [4 4 2 4] convergent;
    MmaTf32 "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32"
        (B32 B32 B32 B32 B32 B32 F32 F32 F32 F32) -> (F32 F32 F32 F32) [4 4 2 4] convergent;
    MmaS8S8 "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32"
        (B32 B32 B32 B32 B32 B32 B32 B32 B32 B32) -> (B32 B32 B32 B32) [4 4 2 4] convergent;
    MmaS8U8 "mma.sync.aligned.m16n8k32.row.col.s32.s8.u8.s32"
        (B32 B32 B32 B32 B32 B32 B32 B32 B32 B32) -> (B32 B32 B32 B32) [4 4 2 4] convergent;
    MmaU8S8 "mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32"
        (B32 B32 B32 B32 B32 B32 B32 B32 B32 B32) -> (B32 B32 B32 B32) [4 4 2 4] convergent;
    MmaU8U8 "mma.sync.aligned.m16n8k32.row.col.s32.u8.u8.s32"
        (B32 B32 B32 B32 B32 B32 B32 B32 B32 B32) -> (B32 B32 B32 B32) [4 4 2 4] convergent;
}
