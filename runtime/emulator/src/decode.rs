//! Decoding: syntax → [`Executable`]. Names become slots and offsets, instructions become operations.

use std::collections::HashMap;

use crate::count::Class;
use crate::draft::Location;
use crate::draft::call::{load_passed, pass_results, passed};
use crate::draft::decoder::{Body, Decoder, FixupTarget, is_callable};
use crate::draft::instruction;
use crate::draft::scope::{Scope, Symbol};
use crate::error::Error;
use crate::execute;
use crate::layout::{Layout, align};
use crate::machine::action::{Action, Executable};
use crate::machine::program::{Control, FunctionInfo, Info, NO_GUARD, Operation, Program};
use crate::machine::registers::Slots;
use crate::parse::syntax::{Function, Instruction, Operand, Statement, Unit};

/// Decodes a kernel and every function that it can reach. `text` is the module's PTX, for messages.
pub(crate) fn decode(unit: &Unit, text: &str, layout: &Layout, kernel: usize) -> Result<Executable, Error> {
    let shared = layout.shared(unit, kernel);
    let program = Program {
        operations: Vec::new(),
        info: Vec::new(),
        functions: Vec::new(),
        addresses: HashMap::new(),
        calls: Vec::new(),
        lists: Vec::new(),
        static_shared: shared.size,
        reserved_shared: shared.reserved,
        granule: 4,
        cluster: unit.functions[kernel].cluster.unwrap_or([1, 1, 1]),
    };
    let mut decoder = Decoder {
        unit,
        text,
        layout,
        shared: &shared,
        executable: Executable {
            program,
            actions: Vec::new(),
        },
        requested: Vec::new(),
        indices: HashMap::new(),
        body: Body::default(),
    };
    decoder.request(kernel);
    let mut next = 0;
    while next < decoder.requested.len() {
        decode_function(&mut decoder, next)?;
        next += 1;
    }
    Ok(decoder.executable)
}

/// Decodes the function with that index in the program.
fn decode_function(decoder: &mut Decoder<'_>, index: usize) -> Result<(), Error> {
    let function = decoder.requested[index];
    let definition = &decoder.unit.functions[function];
    if !is_callable(definition) {
        return Err(Error::Unsupported {
            instruction: format!(".func {}", definition.name),
            line: definition.line,
            reason: "a function that is declared but not defined in this module (nothing is linked to it)".into(),
        });
    }
    let program = &decoder.executable.program;
    decoder.body = Body {
        index,
        info: FunctionInfo {
            entry: program.operations.len() as u32,
            ..program.functions[index].clone()
        },
        is_entry: definition.is_entry,
        ..Body::default()
    };
    declare_parameters(decoder, function)?;
    let mut scopes = 0;
    for (position, statement) in definition.body.iter().flatten().enumerate() {
        decode_statement(decoder, (function, position), statement, &mut scopes)?;
    }
    // Running off the end of a function returns from it.
    let end = Instruction {
        guard: None,
        name: "ret".into(),
        modifiers: Vec::new(),
        operands: Vec::new(),
        line: definition.line,
        span: (0, 0),
    };
    pass_results(decoder, &end, execute::decode)?;
    push_end(decoder, definition);
    resolve_labels(decoder)?;
    finish_frame(&mut decoder.body);
    decoder.executable.program.functions[index] = std::mem::take(&mut decoder.body.info);
    Ok(())
}

/// Opens the function's outermost scope with its parameters and results.
fn declare_parameters(decoder: &mut Decoder<'_>, function: usize) -> Result<(), Error> {
    let definition = &decoder.unit.functions[function];
    let info = &decoder.body.info;
    let locations: Vec<(Location, u32)> = match decoder.layout.parameters.get(&function) {
        Some(ranges) => ranges
            .iter()
            .map(|(at, size)| (Location::Parameter(*at), *size))
            .collect(),
        None => (info.results.iter().chain(&info.parameters))
            .map(|(at, size)| (Location::Frame(*at), *size))
            .collect(),
    };
    let mut scope = Scope::default();
    let variables = definition.results.iter().chain(&definition.parameters);
    for (variable, (location, size)) in variables.clone().zip(locations) {
        let size = size.into();
        let name = match variable.is_register {
            true => passed(&variable.name),
            false => variable.name.clone(),
        };
        scope.names.insert(name, Symbol::Variable { location, size });
    }
    decoder.body.scopes.push(scope);
    for variable in variables.filter(|variable| variable.is_register) {
        decoder.declare_register(variable.ty, 1, &variable.name, None, variable.line)?;
    }
    for variable in definition.parameters.iter().filter(|variable| variable.is_register) {
        let register = Operand::Name(variable.name.clone());
        let load = load_passed(register, &passed(&variable.name), variable.ty);
        let line = variable.line;
        instruction::decode(decoder, &Instruction { line, ..load }, execute::decode)?;
    }
    let results = definition.results.iter().filter(|variable| variable.is_register);
    decoder.body.results = results.map(|variable| (variable.name.clone(), variable.ty)).collect();
    Ok(())
}

/// Decodes a statement at (function, position); `scopes` counts the scopes that the function opened.
fn decode_statement(
    decoder: &mut Decoder<'_>,
    at: (usize, usize),
    statement: &Statement,
    scopes: &mut usize,
) -> Result<(), Error> {
    match statement {
        Statement::Open => {
            *scopes += 1;
            decoder.body.scopes.push(Scope {
                number: *scopes,
                ..Scope::default()
            });
        }
        Statement::Close => {
            decoder.body.scopes.pop();
        }
        Statement::Label(name, line) => {
            let scope = decoder.body.scopes.last().map_or(0, |scope| scope.number);
            let operation = decoder.executable.actions.len() as u32;
            let known = decoder.body.labels.insert((scope, name.clone()), operation);
            if known.is_some() {
                return Err(Error::Invalid {
                    instruction: format!("{name}:"),
                    line: *line,
                    message: "a label defined twice".into(),
                });
            }
        }
        Statement::Register {
            ty,
            lanes,
            name,
            count,
            line,
        } => decoder.declare_register(*ty, *lanes, name, *count, *line)?,
        Statement::Variable(variable) => decoder.declare_variable(at, variable)?,
        Statement::Targets { label, targets } => {
            decoder.body.targets.insert(label.clone(), targets.clone());
        }
        Statement::Prototype(label, prototype) => {
            decoder.body.prototypes.insert(label.clone(), prototype.clone());
        }
        Statement::Instruction(syntax) => instruction::decode(decoder, syntax, execute::decode)?,
    }
    Ok(())
}

/// Appends the operation behind a function's last one: a return, or all that a function of the runtime does.
fn push_end(decoder: &mut Decoder<'_>, definition: &Function) {
    let executable = &mut decoder.executable;
    executable.program.operations.push(Operation {
        slots: Slots::default(),
        guard: NO_GUARD,
        negated: false,
        index: executable.actions.len() as u32,
    });
    executable.actions.push(Action::Control(match definition.body {
        Some(_) => Control::Return,
        None => Control::System,
    }));
    executable.program.info.push(Info {
        line: definition.line,
        span: (0, 0),
        class: Class::Control,
        flops: 0,
        reads: Box::default(),
        writes: Box::default(),
        propagates: false,
        counted: false,
    });
}

fn resolve_labels(decoder: &mut Decoder<'_>) -> Result<(), Error> {
    for fixup in std::mem::take(&mut decoder.body.fixups) {
        let labels = &decoder.body.labels;
        let mut scopes = fixup.scopes.iter();
        let Some(&to) = scopes.find_map(|scope| labels.get(&(*scope, fixup.label.clone()))) else {
            return Err(Error::Invalid {
                instruction: fixup.instruction,
                line: fixup.line,
                message: format!("no label `{}`", fixup.label),
            });
        };
        match fixup.target {
            FixupTarget::Branch(operation) => {
                decoder.executable.actions[operation] = Action::Control(Control::Branch { to });
            }
            FixupTarget::List { list, index } => decoder.executable.program.lists[list][index] = to,
        }
    }
    Ok(())
}

/// Completes the description of the function's frame: its constants, and its size in local memory.
fn finish_frame(body: &mut Body) {
    let constants = body.constants.iter().map(|(&constant, &slot)| (slot, constant));
    body.info.constants = constants.collect();
    body.info.constants.sort_by_key(|(slot, _)| *slot);
    body.info.constant_rows = vec![false; body.info.rows as usize];
    for (slot, constant) in &body.info.constants {
        let end = slot + if constant.is_wide() { 2 } else { 1 };
        body.info.constant_rows[*slot as usize..end as usize].fill(true);
    }
    body.info.frame = align(body.info.frame, 16);
}
