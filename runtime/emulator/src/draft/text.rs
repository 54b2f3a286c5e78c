//! The text of the instruction: its modifiers and its operands, unresolved.

use super::decoder::Decoder;
use crate::error::{Error, excerpt};
use crate::machine::lanes::LaneFunction;
use crate::machine::program::Use;
use crate::machine::registers::{Slot, Slots};
use crate::numerics::exact::Rounding;
use crate::parse::syntax::{Instruction, Operand, Type};

/// One instruction being decoded.
pub(crate) struct Draft<'d, 'm> {
    pub(super) decoder: &'d mut Decoder<'m>,
    pub(super) syntax: &'d Instruction,
    /// Modifiers that were not taken yet.
    pub(super) modifiers: Vec<&'d str>,
    pub(super) guard: Slot,
    pub(super) negated: bool,
    /// The registers that the operations emitted next read and write.
    pub(super) reads: Vec<Use>,
    pub(super) writes: Vec<Use>,
    /// Helpers to emit behind the instruction: the function, its operands, and the rows that it reads and writes.
    pub(super) after: Vec<(LaneFunction, Slots, Slot, Slot)>,
    /// `true` once the instruction's main operation is emitted.
    pub(super) emitted: bool,
}

impl<'d> Draft<'d, '_> {
    pub fn name(&self) -> &'d str {
        &self.syntax.name
    }

    /// The instruction as it is written, for messages.
    pub(super) fn instruction(&self) -> String {
        excerpt(self.decoder.text, self.syntax.span)
    }

    /// The error for an instruction that the emulator does not know.
    pub fn unsupported(&self, reason: impl Into<String>) -> Error {
        Error::Unsupported {
            instruction: self.instruction(),
            line: self.syntax.line,
            reason: reason.into(),
        }
    }

    /// The error for an instruction that is invalid PTX.
    pub fn invalid(&self, message: impl Into<String>) -> Error {
        Error::Invalid {
            instruction: self.instruction(),
            line: self.syntax.line,
            message: message.into(),
        }
    }

    /// Takes a modifier. Returns `true` if the instruction has it.
    pub fn take(&mut self, name: &str) -> bool {
        match self.modifiers.iter().position(|modifier| *modifier == name) {
            Some(position) => {
                self.modifiers.remove(position);
                true
            }
            None => false,
        }
    }

    /// `true` if the instruction has a modifier, taken or not.
    pub fn had(&self, name: &str) -> bool {
        self.syntax.modifiers.iter().any(|modifier| modifier == name)
    }

    /// Takes the first of several modifiers that the instruction has.
    pub fn take_any(&mut self, names: &[&'static str]) -> Option<&'static str> {
        names.iter().copied().find(|name| self.take(name))
    }

    /// Takes those of several modifiers that the instruction has. They must not change what the emulator computes.
    pub fn ignore(&mut self, names: &[&str]) {
        self.modifiers.retain(|modifier| !names.contains(modifier));
    }

    /// Takes the modifiers that start with one of these. Returns `true` if there are some.
    pub fn ignore_prefixed(&mut self, prefixes: &[&str]) -> bool {
        let before = self.modifiers.len();
        self.modifiers
            .retain(|modifier| !prefixes.iter().any(|prefix| modifier.starts_with(prefix)));
        before != self.modifiers.len()
    }

    /// Takes the first type among the modifiers.
    pub fn ty(&mut self) -> Result<Type, Error> {
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

    /// Takes the rounding mode.
    pub fn rounding(&mut self) -> Option<Rounding> {
        Some(match self.take_any(&["rn", "rz", "rm", "rp", "rna"])? {
            "rn" => Rounding::Nearest,
            "rz" => Rounding::Zero,
            "rm" => Rounding::Down,
            "rp" => Rounding::Up,
            _ => Rounding::Away,
        })
    }

    /// The first modifier that is not taken yet.
    pub fn left(&self) -> Option<&'d str> {
        self.modifiers.first().copied()
    }

    /// The number of operands.
    pub fn operands(&self) -> usize {
        self.syntax.operands.len()
    }

    pub fn operand(&self, index: usize) -> Result<&'d Operand, Error> {
        self.syntax
            .operands
            .get(index)
            .ok_or_else(|| self.invalid(format!("operand {} is missing", index + 1)))
    }

    /// Checks the number of operands.
    pub fn arity(&self, allowed: std::ops::RangeInclusive<usize>) -> Result<(), Error> {
        if allowed.contains(&self.operands()) {
            return Ok(());
        }
        Err(self.invalid(format!("{} operands", self.operands())))
    }

    /// Takes the modifiers that are left, in order.
    pub fn take_rest(&mut self) -> Vec<&'d str> {
        std::mem::take(&mut self.modifiers)
    }

    /// Adds a list to `Program::lists`. Returns its index.
    pub fn add_list(&mut self, list: Vec<u32>) -> u64 {
        self.decoder.executable.program.lists.push(list);
        self.decoder.executable.program.lists.len() as u64 - 1
    }

    /// `true` in a kernel, `false` in a device function.
    pub fn is_entry(&self) -> bool {
        self.decoder.body.is_entry
    }

    /// Notes the size, in bytes, of an access that may go to shared memory.
    pub fn note_shared_access(&mut self, size: u32) {
        let granule = &mut self.decoder.executable.program.granule;
        *granule = (*granule).min(size.max(1));
    }
}
