//! Instructions whose result is already in a register, because they undo earlier ones.
//!
//! The language computes with `f32` what is stored in 16 bits. So a value that is only moved would be widened and rounded back, and words
//! would be taken apart and put together. Widening is exact: the register that was widened holds the same bits. A half of a word is moved
//! up in the word itself. An integer of few bits that was added to the bits of a large number becomes a float by a subtraction.

use super::Opcode::{
    self, AndB32, B32Halves, CvtBf16F32, CvtF16F32, CvtF32F16, CvtF32F64, CvtF32S32, CvtF64F32, CvtS64S32, CvtU32U16,
    CvtU32U64, F32Bits, HalvesB32, SelF32, ShlB32,
};
use super::{Few, Operand, Reg};
use rustc_hash::{FxHashMap, FxHashSet};

/// The instructions that made registers, as far as later ones may undo them.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    of: FxHashMap<Reg, Definition>,
    /// The 16 bits that are the upper half of these words, whose lower half is 0.
    upper: FxHashMap<Reg, Reg>,
    /// The bits of `1.5 · 2²³` with these integers added, which lie within ± 2²².
    biased: FxHashMap<Reg, Reg>,
    /// Registers that may be assigned again: what was made of them may outlive their content.
    mutable: FxHashSet<Reg>,
}

#[derive(Debug)]
struct Definition {
    opcode: Opcode,
    sources: Few<Operand>,
    /// The position among the instruction's results.
    position: usize,
}

/// The value of an instruction that undoes others.
pub(super) enum Undone {
    /// The content of this register.
    Register(Reg),
    /// One of two narrow values: the operands of `selp.b16`.
    Selection([Operand; 3]),
    /// These 16 bits as the upper half of a word, made of the word that they are a half of.
    Upper(Reg, Opcode, [Operand; 2]),
    /// What the float of these bits exceeds `1.5 · 2²³` by.
    Biased(Reg),
}

/// The bits of `1.5 · 2²³`: an `f32` to whose last place integers within ± 2²² are added. The GPU converts 16 integers in the time of 128 subtractions.
pub const BIAS: i64 = 0x4b40_0000;

impl Definitions {
    /// Notes a register that can be assigned several times.
    pub fn note_mutable(&mut self, reg: Reg) {
        self.mutable.insert(reg);
    }

    /// Notes that a word's upper half is these 16 bits, and that its lower half is 0. What was noted first stays: it exists wherever the
    /// word does.
    pub fn note_upper(&mut self, word: Reg, half: Reg) {
        self.upper.entry(word).or_insert(half);
    }

    /// Notes that an integer is these bits less [`BIAS`], and within ± 2²².
    pub fn note_biased(&mut self, integer: Reg, bits: Reg) {
        self.biased.insert(integer, bits);
    }

    /// Notes a pure instruction.
    pub fn note(&mut self, opcode: Opcode, sources: &[Operand], results: &[Reg]) {
        if !matches!(
            opcode,
            CvtF32F16 | CvtU32U16 | CvtF64F32 | CvtS64S32 | F32Bits | HalvesB32 | SelF32
        ) {
            return;
        }
        let changes = |source: &Operand| matches!(source, Operand::Reg(reg) if self.mutable.contains(reg));
        if sources.iter().any(changes) {
            return;
        }
        for (position, &result) in results.iter().enumerate() {
            let definition = Definition {
                opcode,
                sources: sources.into(),
                position,
            };
            self.of.insert(result, definition);
        }
    }

    /// Returns the value of an instruction if it undoes others.
    pub fn undone(&self, opcode: Opcode, sources: &[Operand]) -> Option<Undone> {
        match (opcode, sources) {
            (CvtF16F32 | CvtBf16F32, &[wide]) => match self.narrowed(opcode, wide) {
                Some(Operand::Reg(narrow)) => Some(Undone::Register(narrow)),
                Some(_) => None,
                None => self.selection(opcode, wide).map(Undone::Selection),
            },
            (CvtF32S32, &[Operand::Reg(integer)]) => self.biased.get(&integer).copied().map(Undone::Biased),
            (CvtF32F64, &[wide]) => self.source_of(CvtF64F32, wide).map(Undone::Register),
            (CvtU32U64, &[wide]) => self.source_of(CvtS64S32, wide).map(Undone::Register),
            (ShlB32, &[bits, Operand::Int(16)]) => {
                let half = self.source_of(CvtU32U16, bits)?;
                let (opcode, sources) = match [0, 1].map(|position| self.half(half.into(), position)) {
                    [Some(word), _] => (ShlB32, [word.into(), Operand::Int(16)]),
                    [_, Some(word)] => (AndB32, [word.into(), Operand::Int(0xffff_0000)]),
                    _ => (ShlB32, [bits, Operand::Int(16)]),
                };
                Some(Undone::Upper(half, opcode, sources))
            }
            (B32Halves, &[low, high]) => {
                let [low, high] = [self.half(low, 0)?, self.half(high, 1)?];
                (low == high).then_some(Undone::Register(low))
            }
            _ => None,
        }
    }

    /// The 16 bits that a value was widened from, if that is what this conversion rounds it to.
    fn narrowed(&self, opcode: Opcode, wide: Operand) -> Option<Operand> {
        if let Operand::F32(bits) = wide {
            let value = f32::from_bits(bits);
            let narrow = match opcode {
                CvtF16F32 => half::f16::from_f32(value).to_bits(),
                _ => half::bf16::from_f32(value).to_bits(),
            };
            return Some(i64::from(narrow).into());
        }
        if opcode == CvtF16F32 {
            return self.source_of(CvtF32F16, wide).map(Operand::Reg);
        }
        let word = self.source_of(F32Bits, wide)?;
        self.upper.get(&word).copied().map(Operand::Reg)
    }

    /// A selection of two values that were widened.
    fn selection(&self, opcode: Opcode, wide: Operand) -> Option<[Operand; 3]> {
        let definition = self.definition(wide)?;
        match (definition.opcode, definition.sources.as_slice()) {
            (SelF32, &[a, b, predicate]) => Some([self.narrowed(opcode, a)?, self.narrowed(opcode, b)?, predicate]),
            _ => None,
        }
    }

    /// The word whose half at this position the register is.
    fn half(&self, of: Operand, position: usize) -> Option<Reg> {
        let definition = self.definition(of)?;
        let is_half = (definition.opcode, definition.position) == (HalvesB32, position);
        is_half.then(|| register(&definition.sources))?
    }

    /// The source of the instruction that made the operand, if it is this one.
    fn source_of(&self, opcode: Opcode, of: Operand) -> Option<Reg> {
        let definition = self.definition(of)?;
        (definition.opcode == opcode).then(|| register(&definition.sources))?
    }

    fn definition(&self, of: Operand) -> Option<&Definition> {
        match of {
            Operand::Reg(reg) => self.of.get(&reg),
            _ => None,
        }
    }
}

/// The only source, if it is a register.
fn register(sources: &[Operand]) -> Option<Reg> {
    match sources {
        &[Operand::Reg(reg)] => Some(reg),
        _ => None,
    }
}
