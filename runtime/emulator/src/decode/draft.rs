//! One instruction being decoded: its modifiers, and what is said of it.

use super::{Decoder, Symbol, component};
use crate::count::Class;
use crate::error::Error;
use crate::execute;
use crate::execute::lanes::{Function as LaneFunction, Slots};
use crate::machine::registers::Slot;
use crate::numerics::exact::Rounding;
use crate::parse::syntax::{self, Operand, Space, Type};
use crate::program::*;

/// An address operand, resolved.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Address {
    /// A 64-bit register with the base.
    pub base: Slot,
    pub offset: i32,
    /// The space that the variable named in it lives in.
    pub space: Option<Space>,
}

/// One instruction being decoded.
pub(crate) struct Draft<'d, 'm> {
    pub(super) decoder: &'d mut Decoder<'m>,
    pub(super) syntax: &'d syntax::Instruction,
    pub(super) modifiers: Vec<&'d str>,
    pub(super) guard: Slot,
    pub(super) negated: bool,
    pub(super) reads: Vec<Use>,
    pub(super) writes: Vec<Use>,
    pub(super) after: Vec<(LaneFunction, Slots, Slot, Slot)>,
    pub(super) emitted: bool,
}

pub(super) type Result_<T> = Result<T, Error>;

/// An instruction in which vector registers are written as their components; none if it has none.
fn spelt_out(decoder: &mut Decoder<'_>, syntax: &syntax::Instruction) -> Option<syntax::Instruction> {
    let mut spelt_out = None;
    for (index, operand) in syntax.operands.iter().enumerate() {
        if let Operand::Name(name) = operand
            && let Some(Symbol::Vector { lanes }) = decoder.lookup(name)
        {
            let components = (0..lanes as usize).map(|lane| Operand::Name(component(name, lane)));
            spelt_out.get_or_insert_with(|| syntax.clone()).operands[index] = Operand::Vector(components.collect());
        }
    }
    spelt_out
}

impl<'d, 'm> Draft<'d, 'm> {
    pub(super) fn decode(decoder: &mut Decoder<'m>, syntax: &syntax::Instruction) -> Result_<()> {
        if decoder.body.has_vectors
            && let Some(spelt_out) = spelt_out(decoder, syntax)
        {
            return Draft::decode_spelt_out(decoder, &spelt_out);
        }
        Draft::decode_spelt_out(decoder, syntax)
    }

    fn decode_spelt_out(decoder: &mut Decoder<'m>, syntax: &syntax::Instruction) -> Result_<()> {
        let modifiers = syntax.modifiers.iter().map(String::as_str).collect();
        let mut draft = Draft {
            decoder,
            syntax,
            modifiers,
            guard: NO_GUARD,
            negated: false,
            reads: Vec::new(),
            writes: Vec::new(),
            after: Vec::new(),
            emitted: false,
        };
        if let Some((name, negated)) = &syntax.guard {
            draft.guard = draft.predicate(name)?;
            draft.negated = *negated;
        }
        let decoded = execute::decode(&mut draft);
        if let (Ok(()) | Err(Error::Invalid { .. }), Some(left)) = (&decoded, draft.modifiers.first()) {
            // Nothing is judged that is not wholly understood.
            return Err(draft.unsupported(format!("`.{left}`")));
        }
        decoded?;
        for (function, slots, reads, writes) in std::mem::take(&mut draft.after) {
            draft.reads = vec![Use::Row(reads)];
            draft.writes = vec![Use::Row(writes)];
            draft.push(Action::Lanes(function), slots, Class::Move, 0, true, false);
        }
        Ok(())
    }

    pub fn name(&self) -> &'d str {
        &self.syntax.name
    }

    pub(super) fn instruction(&self) -> String {
        let (start, end) = self.syntax.span;
        crate::module::one_line(&self.decoder.text[start..end])
    }

    pub fn unsupported(&self, reason: impl Into<String>) -> Error {
        Error::Unsupported {
            instruction: self.instruction(),
            line: self.syntax.line,
            reason: reason.into(),
        }
    }

    pub fn invalid(&self, message: impl Into<String>) -> Error {
        Error::Invalid {
            instruction: self.instruction(),
            line: self.syntax.line,
            message: message.into(),
        }
    }

    /// Takes a modifier if it is there.
    pub fn take(&mut self, name: &str) -> bool {
        match self.modifiers.iter().position(|modifier| *modifier == name) {
            Some(position) => {
                self.modifiers.remove(position);
                true
            }
            None => false,
        }
    }

    /// Whether the instruction is written with a modifier, taken or not.
    pub fn had(&self, name: &str) -> bool {
        self.syntax.modifiers.iter().any(|modifier| modifier == name)
    }

    /// Takes the first of several modifiers that is there.
    pub fn take_any(&mut self, names: &[&'static str]) -> Option<&'static str> {
        names.iter().copied().find(|name| self.take(name))
    }

    /// Takes modifiers that do not change what the emulator computes.
    pub fn ignore(&mut self, names: &[&str]) {
        self.modifiers.retain(|modifier| !names.contains(modifier));
    }

    /// Takes modifiers that start with one of these.
    pub fn ignore_prefixed(&mut self, prefixes: &[&str]) -> bool {
        let before = self.modifiers.len();
        self.modifiers
            .retain(|modifier| !prefixes.iter().any(|prefix| modifier.starts_with(prefix)));
        before != self.modifiers.len()
    }

    /// Takes the first type among the modifiers.
    pub fn ty(&mut self) -> Result_<Type> {
        let found = self
            .modifiers
            .iter()
            .enumerate()
            .find_map(|(position, modifier)| Some((position, Type::from_name(modifier)?)));
        match found {
            Some((position, ty)) => {
                self.modifiers.remove(position);
                Ok(ty)
            }
            None => Err(self.unsupported("an instruction without a known type")),
        }
    }

    pub fn rounding(&mut self) -> Option<Rounding> {
        Some(match self.take_any(&["rn", "rz", "rm", "rp", "rna"])? {
            "rn" => Rounding::Nearest,
            "rz" => Rounding::Zero,
            "rm" => Rounding::Down,
            "rp" => Rounding::Up,
            _ => Rounding::Away,
        })
    }

    /// The first modifier that nobody took.
    pub fn left(&self) -> Option<&'d str> {
        self.modifiers.first().copied()
    }

    pub fn operands(&self) -> usize {
        self.syntax.operands.len()
    }

    pub fn operand(&self, index: usize) -> Result_<&'d Operand> {
        self.syntax
            .operands
            .get(index)
            .ok_or_else(|| self.invalid(format!("operand {} is missing", index + 1)))
    }

    /// Checks the number of operands.
    pub fn arity(&self, allowed: std::ops::RangeInclusive<usize>) -> Result_<()> {
        if allowed.contains(&self.operands()) {
            return Ok(());
        }
        Err(self.invalid(format!("{} operands", self.operands())))
    }

    /// The modifiers that nobody took, in order.
    pub fn take_rest(&mut self) -> Vec<&'d str> {
        std::mem::take(&mut self.modifiers)
    }

    /// Stores a list of numbers beside the program; operations refer to it by the index returned.
    pub fn add_list(&mut self, list: Vec<u32>) -> u64 {
        self.decoder.program.lists.push(list);
        self.decoder.program.lists.len() as u64 - 1
    }

    pub fn is_entry(&self) -> bool {
        self.decoder.body.is_entry
    }

    /// Notes the size of an access that may go to shared memory.
    pub fn note_shared_access(&mut self, size: u32) {
        let granule = &mut self.decoder.program.granule;
        *granule = (*granule).min(size.max(1));
    }
}
