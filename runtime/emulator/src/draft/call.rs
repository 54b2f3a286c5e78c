//! Calls: functions and their addresses, and values that pass between a register and a parameter in memory.

use super::decoder::{Decoder, is_callable};
use super::instruction::{Decode, decode};
use super::scope::{Location, Symbol};
use super::text::Draft;
use crate::count::Class;
use crate::error::Error;
use crate::layout::align;
use crate::machine::action::Action;
use crate::machine::address::function_address;
use crate::machine::program::{Call, Control};
use crate::machine::registers::Slots;
use crate::machine::warp::LOCAL_LIMIT;
use crate::parse::syntax::{Initial, Instruction, Operand, Prototype, Type};

/// The `.param` variable that passes a parameter or result that is a register. No name in a module has a blank.
pub(crate) fn passed(register: &str) -> String {
    format!("{register} (passed)")
}

/// The load of a passed value into a register.
pub(crate) fn load_passed(register: Operand, from: &str, ty: Type) -> Instruction {
    let address = Operand::Address {
        base: Some(from.to_owned()),
        offset: 0,
    };
    passing("ld", vec![register, address], ty)
}

/// The store of a value to be passed.
pub(crate) fn store_passed(to: &str, value: Operand, ty: Type) -> Instruction {
    let address = Operand::Address {
        base: Some(to.to_owned()),
        offset: 0,
    };
    passing("st", vec![address, value], ty)
}

fn passing(name: &str, operands: Vec<Operand>, ty: Type) -> Instruction {
    let ty = match ty {
        Type::F32 => "f32".into(),
        Type::F64 => "f64".into(),
        _ => format!("b{}", 8 * ty.size()),
    };
    Instruction {
        guard: None,
        name: name.into(),
        modifiers: vec!["param".into(), ty],
        operands,
        line: 0,
        span: (0, 0),
    }
}

/// Decodes the stores of the function's results that are registers, ahead of a return. `memory` decodes `st`.
pub(crate) fn pass_results(decoder: &mut Decoder<'_>, ret: &Instruction, memory: Decode) -> Result<(), Error> {
    for (name, ty) in decoder.body.results.clone() {
        let store = store_passed(&passed(&name), Operand::Name(name), ty);
        decode(decoder, &beside(ret, store), memory)?;
    }
    Ok(())
}

/// An instruction with the guard and the position in the text of another.
fn beside(other: &Instruction, instruction: Instruction) -> Instruction {
    Instruction {
        guard: other.guard.clone(),
        line: other.line,
        span: other.span,
        ..instruction
    }
}

/// A call instruction. The function is an index in the program, `None` for a call through a pointer.
pub(crate) struct CallSyntax<'o> {
    pub function: Option<usize>,
    pub prototype: Option<Prototype>,
    pub arguments: &'o [Operand],
    pub results: &'o [Operand],
}

/// The bytes of a frame that pass an operand of a call.
struct PassedOperand {
    /// (offset, size).
    range: (u32, u32),
    /// The name and the type of the `.param` variable that was made for the operand, if it was not one itself.
    reserved: Option<(String, Type)>,
}

impl Draft<'_, '_> {
    /// The address of the function of that name: `Some(None)` for a kernel, whose address is not supported.
    pub fn function_pointer(&mut self, name: &str) -> Option<Option<u64>> {
        let functions = &self.decoder.unit.functions;
        let function = functions.iter().position(|function| function.name == name)?;
        if functions[function].is_entry {
            return Some(None);
        }
        self.decoder.request(function);
        Some(Some(function_address(function)))
    }

    /// The function of that name, as its index in the program and its prototype.
    pub fn function_named(&mut self, name: &str) -> Option<(usize, Prototype)> {
        let functions = &self.decoder.unit.functions;
        let function = functions
            .iter()
            .position(|function| function.name == name && !function.is_entry)?;
        let prototype = functions[function].prototype();
        Some((self.decoder.request(function), prototype))
    }

    /// Requests every function that the kernel can reach, since a call through a pointer may go to any of them.
    pub fn request_all(&mut self) {
        for &function in &self.decoder.shared.functions {
            if is_callable(&self.decoder.unit.functions[function]) {
                self.decoder.request(function);
            }
        }
    }

    /// The prototype of the functions that a call through a pointer may go to. `name` is the call's last operand.
    pub fn prototype_named(&self, name: &str) -> Option<Prototype> {
        if let Some(prototype) = self.decoder.body.prototypes.get(name) {
            return Some(prototype.clone());
        }
        let unit = self.decoder.unit;
        let first = match self.decoder.body.targets.get(name) {
            Some(targets) => targets.first().map(String::as_str),
            None => {
                let table = unit.variables.iter().find(|variable| variable.name == name)?;
                table.initial.first().and_then(|value| match value {
                    Initial::Address { symbol, .. } => Some(symbol.as_str()),
                    _ => None,
                })
            }
        };
        let first = first?;
        let function = unit.functions.iter().find(|function| function.name == first)?;
        Some(function.prototype())
    }

    /// Emits the stores of arguments that are registers or constants, the call as `control` makes it of its index in
    /// `Program::calls`, and the loads of results that go to registers. `memory` decodes `ld` and `st`.
    pub fn emit_call(
        &mut self,
        call: CallSyntax<'_>,
        control: impl Fn(u32) -> Control,
        memory: Decode,
    ) -> Result<(), Error> {
        let CallSyntax {
            function,
            prototype,
            arguments,
            results,
        } = call;
        let prototype = prototype.unwrap_or_default();
        let takes = (prototype.parameters.len(), prototype.results.len());
        let is_misfit = arguments.len() != takes.0 || (!results.is_empty() && results.len() != takes.1);
        if let Some(function) = function.filter(|_| is_misfit) {
            return Err(self.misfit(function));
        }
        let mut call = Call {
            function: function.unwrap_or_default() as u32,
            caller: self.decoder.body.index as u32,
            ..Call::default()
        };
        for (index, operand) in arguments.iter().enumerate() {
            let PassedOperand { range, reserved } = self.call_operand(operand, prototype.parameters.get(index))?;
            if let Some((name, ty)) = reserved {
                let store = beside(self.syntax, store_passed(&name, operand.clone(), ty));
                decode(self.decoder, &store, memory)?;
            }
            call.arguments.push(range);
        }
        let mut loads = Vec::new();
        for (index, operand) in results.iter().enumerate() {
            let PassedOperand { range, reserved } = self.call_operand(operand, prototype.results.get(index))?;
            if let Some((name, ty)) = reserved {
                loads.push(beside(self.syntax, load_passed(operand.clone(), &name, ty)));
            }
            call.results.push(range);
        }
        let program = &mut self.decoder.executable.program;
        if let Some(function) = function
            && !call.fits(&program.functions[function])
        {
            return Err(self.misfit(function));
        }
        program.calls.push(call);
        let index = program.calls.len() as u32 - 1;
        self.emit(Action::Control(control(index)), Slots::default(), Class::Control, 0)?;
        loads.iter().try_for_each(|load| decode(self.decoder, load, memory))
    }

    fn misfit(&self, function: usize) -> Error {
        let name = &self.decoder.executable.program.functions[function].name;
        self.invalid(format!("operands that do not fit the parameters of `{name}`"))
    }

    /// Finds the bytes of the frame that pass an operand of a call. Reserves them for an operand that is not a `.param`
    /// variable.
    fn call_operand(&mut self, operand: &Operand, expected: Option<&Type>) -> Result<PassedOperand, Error> {
        if let Operand::Name(name) = operand
            && let Some(Symbol::Variable {
                location: Location::Frame(offset),
                size,
            }) = self.decoder.lookup(name)
        {
            return Ok(PassedOperand {
                range: (offset, size as u32),
                reserved: None,
            });
        }
        let ty = self.register_type(operand).or(expected.copied());
        let Some(ty) = ty.filter(|ty| *ty != Type::Pred) else {
            return Err(self.unsupported("a call operand of no known type"));
        };
        let info = &mut self.decoder.body.info;
        let offset = align(info.frame, ty.size());
        info.frame = offset.saturating_add(ty.size());
        if info.frame as usize > LOCAL_LIMIT {
            return Err(self.invalid("more local memory than a thread can have (512 KiB)"));
        }
        let name = passed(&format!("operand at {offset}"));
        let symbol = Symbol::Variable {
            location: Location::Frame(offset),
            size: ty.size().into(),
        };
        self.decoder.declare(name.clone(), symbol);
        Ok(PassedOperand {
            range: (offset, ty.size()),
            reserved: Some((name, ty)),
        })
    }

    /// Emits the stores of the function's results that are registers, ahead of a return. `memory` decodes `st`.
    pub fn emit_results(&mut self, memory: Decode) -> Result<(), Error> {
        pass_results(self.decoder, self.syntax, memory)
    }
}
