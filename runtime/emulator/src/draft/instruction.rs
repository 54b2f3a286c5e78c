//! Decoding one instruction, given the function that knows it.

use super::decoder::Decoder;
use super::scope::{Symbol, component};
use super::text::Draft;
use crate::count::Class;
use crate::error::Error;
use crate::machine::action::Action;
use crate::machine::program::{NO_GUARD, Use};
use crate::parse::syntax::{Instruction, Operand};

/// A function that takes an instruction's modifiers and operands, and emits its operations.
pub(crate) type Decode = fn(&mut Draft<'_, '_>) -> Result<(), Error>;

/// Decodes an instruction and appends its operations to the program.
pub(crate) fn decode(decoder: &mut Decoder<'_>, instruction: &Instruction, with: Decode) -> Result<(), Error> {
    if decoder.body.has_vectors
        && let Some(expanded) = with_components(decoder, instruction)
    {
        return decode_expanded(decoder, &expanded, with);
    }
    decode_expanded(decoder, instruction, with)
}

/// The instruction with its vector registers replaced by their components; `None` if it has no vector register.
fn with_components(decoder: &mut Decoder<'_>, instruction: &Instruction) -> Option<Instruction> {
    let mut expanded = None;
    for (index, operand) in instruction.operands.iter().enumerate() {
        if let Operand::Name(name) = operand
            && let Some(Symbol::Vector { lanes }) = decoder.lookup(name)
        {
            let components = (0..lanes as usize).map(|lane| Operand::Name(component(name, lane)));
            expanded.get_or_insert_with(|| instruction.clone()).operands[index] = Operand::Vector(components.collect());
        }
    }
    expanded
}

fn decode_expanded(decoder: &mut Decoder<'_>, instruction: &Instruction, with: Decode) -> Result<(), Error> {
    let mut draft = Draft {
        decoder,
        syntax: instruction,
        modifiers: instruction.modifiers.iter().map(String::as_str).collect(),
        guard: NO_GUARD,
        negated: false,
        reads: Vec::new(),
        writes: Vec::new(),
        after: Vec::new(),
        emitted: false,
    };
    if let Some((name, negated)) = &instruction.guard {
        draft.guard = draft.predicate(name)?;
        draft.negated = *negated;
    }
    let decoded = with(&mut draft);
    if let (Ok(()) | Err(Error::Invalid { .. }), Some(left)) = (&decoded, draft.modifiers.first()) {
        // An instruction that is not wholly understood is never called invalid.
        return Err(draft.unsupported(format!("`.{left}`")));
    }
    decoded?;
    for (function, slots, read, written) in std::mem::take(&mut draft.after) {
        draft.reads = vec![Use::Row(read)];
        draft.writes = vec![Use::Row(written)];
        draft.push_operation(Action::Lanes(function), slots, Class::Move, 0, true, false);
    }
    Ok(())
}
