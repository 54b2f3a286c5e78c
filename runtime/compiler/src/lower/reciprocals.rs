//! Divisions by sizes that are arguments: multiplications by reciprocals that the host computes.
//!
//! ptxas makes 16 instructions of such a division, and three of what stands here. A coordinate of an index divides by an extent, so kernels
//! for sizes that are arguments have many.

use crate::ir::SizeId;
use crate::kernel::{Parameter, ParameterValue};
use crate::ptx::text::Entry;
use crate::ptx::{Action, Class, Instruction, Item, Opcode, Operand, Reg, Width, for_each_instruction, visit};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::smallvec;

/// A size, and the bits by which a divisor lies below it.
type Divisor = (SizeId, u8);

/// Gives a kernel the reciprocals of the sizes that it divides by.
pub(super) fn divide_by_sizes(entry: &mut Entry, parameters: &mut Vec<Parameter>) {
    let divisors = divisors(entry, parameters);
    let mut reciprocals: FxHashMap<Divisor, [Operand; 2]> = FxHashMap::default();
    let mut first: Vec<Item> = Vec::new();
    let (registers, widths) = (&mut entry.registers, &mut entry.parameters);
    for_each_instruction(&mut entry.body, &mut |instruction| {
        let (Action::Table(Opcode::DivU32), &[number @ Operand::Reg(_), Operand::Reg(divisor)]) =
            (instruction.action, &instruction.sources[..])
        else {
            return;
        };
        let Some(&(size, shift)) = divisors.get(&divisor) else {
            return;
        };
        let [multiplier, by] = *reciprocals.entry((size, shift)).or_insert_with(|| {
            let mut fresh = |class: Class| {
                let number = &mut registers[class as usize];
                *number += 1;
                Reg {
                    class,
                    number: *number - 1,
                }
            };
            let [word, multiplier, by] = [Class::B64, Class::B32, Class::B32].map(&mut fresh);
            let parameter = Action::Parameter(widths.len() as u32, Width::B64);
            widths.push(Width::B64);
            parameters.push(Parameter {
                value: ParameterValue::Reciprocal { size, shift },
                bytes: 8,
            });
            first.push(Item::Instruction(Instruction {
                action: parameter,
                results: smallvec![word],
                sources: smallvec![],
                guard: None,
            }));
            first.push(Item::Instruction(Instruction {
                action: Action::Table(Opcode::HalvesB64),
                results: smallvec![multiplier, by],
                sources: smallvec![word.into()],
                guard: None,
            }));
            [multiplier.into(), by.into()]
        });
        instruction.action = Action::Table(Opcode::QuotU32);
        instruction.sources = smallvec![number, divisor.into(), multiplier, by];
    });
    entry.body.splice(..0, first);
}

/// The registers that hold a size, or a size in vectors, or that or 1.
fn divisors(entry: &Entry, parameters: &[Parameter]) -> FxHashMap<Reg, Divisor> {
    let mut divisors: FxHashMap<Reg, Divisor> = FxHashMap::default();
    let mut assigned: FxHashSet<Reg> = FxHashSet::default();
    visit(&entry.body, &mut |instruction| {
        let divisor = match (instruction.action, &instruction.sources[..]) {
            (Action::Parameter(number, Width::B32), _) => match parameters[number as usize].value {
                ParameterValue::Size(size) => Some((size, 0)),
                _ => None,
            },
            (Action::Table(Opcode::ShrU32), &[Operand::Reg(of), Operand::Int(by @ 0..=31)]) => divisors
                .get(&of)
                .map(|&(size, shift)| (size, shift.saturating_add(by as u8))),
            (Action::Table(Opcode::MaxS32), &[Operand::Reg(of), Operand::Int(1)]) => divisors.get(&of).copied(),
            _ => None,
        };
        for &result in &instruction.results {
            // A register that is assigned again holds something else then.
            match divisor {
                _ if !assigned.insert(result) => divisors.remove(&result),
                Some(divisor) => divisors.insert(result, divisor),
                None => None,
            };
        }
    });
    divisors
}
