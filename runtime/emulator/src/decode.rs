//! Syntax → [`Program`]: names become slots and offsets, instructions become operations.
//!
//! A [`Draft`] is one instruction being decoded. The files of [`crate::execute`] read its modifiers and operands
//! and emit its operations. Every modifier must be taken by somebody: one that is left over is an error, so no
//! instruction is ever run under a guessed meaning.

mod draft;
mod emission;
mod operands;

pub(crate) use draft::{Address, Draft};

use std::collections::HashMap;

use crate::count::Class;
use crate::error::Error;
use crate::execute;
use crate::execute::lanes::Slots;
use crate::layout::Layout;
use crate::machine::registers::Slot;
use crate::parse::Unit;
use crate::parse::syntax::{Function, Space, Statement, Type, Variable};
use crate::program::*;

/// Decodes a kernel and every function that it can reach.
pub(crate) fn decode(unit: &Unit, text: &str, layout: &Layout, kernel: usize) -> Result<Program, Error> {
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
        program,
        indices: HashMap::new(),
        pending: Vec::new(),
        body: Body::default(),
    };
    decoder.request(kernel);
    let mut next = 0;
    while next < decoder.pending.len() {
        decoder.function(decoder.pending[next], next)?;
        next += 1;
    }
    Ok(decoder.program)
}

/// Where a variable lives.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    Shared(u32),
    /// Offset in the function's frame, in local memory.
    Frame(u32),
    /// Offset in the module's global image.
    Global(u64),
    Constant(u64),
    /// Offset in the kernel's parameters.
    Parameter(u32),
}

#[derive(Debug, Clone)]
enum Symbol {
    Register { ty: Type, slot: Slot },
    Variable { place: Place, size: u64 },
}

#[derive(Debug, Default)]
struct Scope {
    names: HashMap<String, Symbol>,
    /// `%r<n>`: prefix, type and count.
    ranges: Vec<(String, Type, u32)>,
    /// Number of the scope, for labels.
    number: usize,
}

/// The function being decoded.
#[derive(Default)]
struct Body {
    info: FunctionInfo,
    is_entry: bool,
    scopes: Vec<Scope>,
    constants: HashMap<Constant, Slot>,
    /// (scope, label) → operation.
    labels: HashMap<(usize, String), u32>,
    targets: HashMap<String, Vec<String>>,
    /// The predicate that holds carry flags, once one is used.
    carry: Option<Slot>,
    /// Operations or lists that wait for a label: (where, scopes from inner to outer, label, line).
    fixes: Vec<Fix>,
}

struct Fix {
    place: FixPlace,
    scopes: Vec<usize>,
    label: String,
    line: u32,
    instruction: String,
}

enum FixPlace {
    Branch(usize),
    List { list: usize, index: usize },
}

pub(crate) struct Decoder<'m> {
    unit: &'m Unit,
    text: &'m str,
    layout: &'m Layout,
    shared: &'m crate::layout::SharedLayout,
    program: Program,
    /// Function of the unit → function of the program.
    indices: HashMap<usize, usize>,
    pending: Vec<usize>,
    body: Body,
}

impl<'m> Decoder<'m> {
    /// The function's index in the program; it is decoded in its turn.
    fn request(&mut self, function: usize) -> usize {
        if let Some(&index) = self.indices.get(&function) {
            return index;
        }
        let index = self.pending.len();
        self.pending.push(function);
        self.indices.insert(function, index);
        self.program.addresses.insert(function_address(function), index as u32);
        let definition = &self.unit.functions[function];
        let mut info = FunctionInfo {
            name: definition.name.clone(),
            ..FunctionInfo::default()
        };
        if !definition.is_entry {
            for (variables, places) in [
                (&definition.results, &mut info.results),
                (&definition.parameters, &mut info.parameters),
            ] {
                for variable in variables {
                    info.frame = align(info.frame, variable.align);
                    places.push((info.frame, variable.size() as u32));
                    info.frame = info.frame.saturating_add(variable.size() as u32);
                }
            }
        }
        self.program.functions.push(info);
        index
    }

    fn function(&mut self, function: usize, index: usize) -> Result<(), Error> {
        let definition = &self.unit.functions[function];
        let here = |message: &str| Error::Unsupported {
            instruction: format!(".func {}", definition.name),
            line: definition.line,
            reason: message.into(),
        };
        let no_statements = Vec::new();
        let statements = match &definition.body {
            Some(statements) => statements,
            None if is_callable(definition) => &no_statements,
            None => {
                return Err(here(
                    "a function that is declared but not defined in this module (nothing is linked to it)",
                ));
            }
        };
        self.body = Body {
            info: self.program.functions[index].clone(),
            is_entry: definition.is_entry,
            ..Body::default()
        };
        self.body.info.entry = self.program.operations.len() as u32;
        let mut scope = Scope::default();
        if definition.is_entry {
            for (variable, &(offset, size)) in definition.parameters.iter().zip(&self.layout.parameters[&function]) {
                scope.names.insert(
                    variable.name.clone(),
                    Symbol::Variable {
                        place: Place::Parameter(offset),
                        size: size.into(),
                    },
                );
            }
        } else {
            let places = self.body.info.results.iter().chain(&self.body.info.parameters);
            for (variable, &(offset, size)) in definition.results.iter().chain(&definition.parameters).zip(places) {
                scope.names.insert(
                    variable.name.clone(),
                    Symbol::Variable {
                        place: Place::Frame(offset),
                        size: size.into(),
                    },
                );
            }
        }
        self.body.scopes.push(scope);
        let mut scopes = 0;
        for statement in statements {
            match statement {
                Statement::Open => {
                    scopes += 1;
                    self.body.scopes.push(Scope {
                        number: scopes,
                        ..Scope::default()
                    });
                }
                Statement::Close => {
                    self.body.scopes.pop();
                }
                Statement::Label(name, line) => {
                    let scope = self.body.scopes.last().map_or(0, |scope| scope.number);
                    if self
                        .body
                        .labels
                        .insert((scope, name.clone()), self.program.operations.len() as u32)
                        .is_some()
                    {
                        return Err(Error::Invalid {
                            instruction: format!("{name}:"),
                            line: *line,
                            message: "a label defined twice".into(),
                        });
                    }
                }
                Statement::Register { ty, name, count, line } => self.declare_register(*ty, name, *count, *line)?,
                Statement::Variable(variable) => self.declare_variable(function, variable)?,
                Statement::Targets { label, targets } => {
                    self.body.targets.insert(label.clone(), targets.clone());
                }
                Statement::Prototype => {}
                Statement::Instruction(instruction) => Draft::decode(self, instruction)?,
            }
        }
        // Running off the end of a function returns from it.
        let end = match &definition.body {
            Some(_) => Control::Return,
            None => Control::System,
        };
        let end = Operation {
            action: Action::Control(end),
            slots: Slots::default(),
            guard: NO_GUARD,
            negated: false,
            index: self.program.operations.len() as u32,
        };
        self.program.operations.push(end);
        self.program.info.push(Info {
            line: definition.line,
            span: (0, 0),
            class: Class::Control,
            flops: 0,
            reads: Box::default(),
            writes: Box::default(),
            propagates: false,
            counted: false,
        });
        self.resolve_labels()?;
        self.body.info.constants = self
            .body
            .constants
            .iter()
            .map(|(&constant, &slot)| (slot, constant))
            .collect();
        self.body.info.constants.sort_by_key(|(slot, _)| *slot);
        self.body.info.constant_rows = vec![false; self.body.info.rows as usize];
        for (slot, constant) in &self.body.info.constants {
            let end = slot + if constant.is_wide() { 2 } else { 1 };
            self.body.info.constant_rows[*slot as usize..end as usize].fill(true);
        }
        self.body.info.frame = align(self.body.info.frame, 16);
        self.program.functions[index] = std::mem::take(&mut self.body.info);
        Ok(())
    }

    fn resolve_labels(&mut self) -> Result<(), Error> {
        for fix in std::mem::take(&mut self.body.fixes) {
            let target = fix
                .scopes
                .iter()
                .find_map(|scope| self.body.labels.get(&(*scope, fix.label.clone())));
            let Some(&target) = target else {
                return Err(Error::Invalid {
                    instruction: fix.instruction,
                    line: fix.line,
                    message: format!("no label `{}`", fix.label),
                });
            };
            match fix.place {
                FixPlace::Branch(operation) => {
                    self.program.operations[operation].action = Action::Control(Control::Branch { to: target })
                }
                FixPlace::List { list, index } => self.program.lists[list][index] = target,
            }
        }
        Ok(())
    }

    fn declare_register(&mut self, ty: Type, name: &str, count: Option<u32>, line: u32) -> Result<(), Error> {
        if ty == Type::B128 {
            return Err(Error::Unsupported {
                instruction: format!(".reg .b128 {name}"),
                line,
                reason: "128-bit registers".into(),
            });
        }
        match count {
            Some(count) => {
                if let Some(scope) = self.body.scopes.last_mut() {
                    scope.ranges.push((name.to_owned(), ty, count));
                }
            }
            None => {
                let slot = self.fresh(ty);
                if let Some(scope) = self.body.scopes.last_mut() {
                    scope.names.insert(name.to_owned(), Symbol::Register { ty, slot });
                }
            }
        }
        Ok(())
    }

    fn declare_variable(&mut self, function: usize, variable: &Variable) -> Result<(), Error> {
        let size = variable.size();
        let place = match variable.space {
            Space::Shared => Place::Shared(self.shared.locals[&(function, variable.line, variable.name.clone())]),
            Space::Local | Space::Parameter => {
                let offset = align(self.body.info.frame, variable.align);
                if u64::from(offset) + size > crate::machine::LOCAL_LIMIT as u64 {
                    return Err(Error::Invalid {
                        instruction: variable.name.clone(),
                        line: variable.line,
                        message: "more local memory than a thread can have (512 KiB)".into(),
                    });
                }
                self.body.info.frame = offset + size as u32;
                Place::Frame(offset)
            }
            space => {
                return Err(Error::Unsupported {
                    instruction: format!(".{space} {}", variable.name),
                    line: variable.line,
                    reason: "such a variable inside a function".into(),
                });
            }
        };
        if let Some(scope) = self.body.scopes.last_mut() {
            scope
                .names
                .insert(variable.name.clone(), Symbol::Variable { place, size });
        }
        Ok(())
    }

    /// A new row pair, row or predicate.
    fn fresh(&mut self, ty: Type) -> Slot {
        let info = &mut self.body.info;
        if ty == Type::Pred {
            info.predicates += 1;
            return info.predicates - 1;
        }
        let rows = if ty.size() == 8 { 2 } else { 1 };
        info.rows += rows;
        info.rows - rows
    }

    fn constant(&mut self, constant: Constant) -> Slot {
        if let Some(&slot) = self.body.constants.get(&constant) {
            return slot;
        }
        let wide = constant.is_wide();
        let slot = self.fresh(if wide { Type::B64 } else { Type::B32 });
        self.body.constants.insert(constant, slot);
        slot
    }

    fn lookup(&mut self, name: &str) -> Option<Symbol> {
        for index in (0..self.body.scopes.len()).rev() {
            if let Some(symbol) = self.body.scopes[index].names.get(name) {
                return Some(symbol.clone());
            }
            let found = self.body.scopes[index].ranges.iter().find_map(|(prefix, ty, count)| {
                let digits = name.strip_prefix(prefix.as_str())?;
                let canonical = !digits.is_empty()
                    && digits.bytes().all(|byte| byte.is_ascii_digit())
                    && (digits == "0" || !digits.starts_with('0'));
                (canonical && digits.parse::<u32>().ok()? < *count).then_some(*ty)
            });
            if let Some(ty) = found {
                let symbol = Symbol::Register {
                    ty,
                    slot: self.fresh(ty),
                };
                self.body.scopes[index].names.insert(name.to_owned(), symbol.clone());
                return Some(symbol);
            }
        }
        let variable = self.unit.variables.iter().find(|variable| variable.name == name)?;
        let place = match variable.space {
            Space::Shared => Place::Shared(*self.shared.globals.get(name)?),
            Space::Constant => Place::Constant(*self.layout.constants.get(name)?),
            _ => Place::Global(*self.layout.globals.get(name)?),
        };
        Some(Symbol::Variable {
            place,
            size: variable.size(),
        })
    }
}

/// Functions that a GPU's system provides to every module that declares them.
const SYSTEM: [&str; 4] = [ASSERTION, "vprintf", "malloc", "free"];

/// The function that a failed `assert` calls.
pub(crate) const ASSERTION: &str = "__assertfail";

/// Whether a call to a function has somewhere to go.
fn is_callable(function: &Function) -> bool {
    function.body.is_some() || SYSTEM.contains(&function.name.as_str())
}

/// The address of a function of the module, as pointers hold it.
pub(crate) fn function_address(function: usize) -> u64 {
    execute::control::FUNCTION_BASE + 16 * (function as u64 + 1)
}

pub(crate) fn align(offset: u32, alignment: u32) -> u32 {
    let alignment = alignment.max(1);
    offset.checked_next_multiple_of(alignment).unwrap_or(u32::MAX - 4096)
}
