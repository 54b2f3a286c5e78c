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
use crate::parse::syntax::{Function, Instruction, Operand, Prototype, Space, Statement, Type, Variable};
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
    Register {
        ty: Type,
        slot: Slot,
    },
    /// Registers that can be named together; each has a name of its own, [`component`].
    Vector {
        lanes: u32,
    },
    Variable {
        place: Place,
        size: u64,
    },
}

/// The names of a vector register's components; colours are the same ones.
const COMPONENTS: [[&str; 4]; 2] = [["x", "y", "z", "w"], ["r", "g", "b", "a"]];

/// The register that is a component of a vector register.
fn component(vector: &str, lane: usize) -> String {
    format!("{vector}.{}", COMPONENTS[0][lane])
}

/// `%r<n>`.
#[derive(Debug, Clone)]
struct Range {
    prefix: String,
    ty: Type,
    lanes: u32,
    count: u32,
}

impl Range {
    /// Whether a register of that name is in it.
    fn contains(&self, name: &str) -> bool {
        let Some(digits) = name.strip_prefix(self.prefix.as_str()) else {
            return false;
        };
        let canonical = !digits.is_empty()
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && (digits == "0" || !digits.starts_with('0'));
        canonical && digits.parse::<u32>().is_ok_and(|number| number < self.count)
    }
}

#[derive(Debug, Default)]
struct Scope {
    names: HashMap<String, Symbol>,
    ranges: Vec<Range>,
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
    prototypes: HashMap<String, Prototype>,
    /// There are vector registers.
    has_vectors: bool,
    /// Results of the function that are registers, and their types.
    results: Vec<(String, Type)>,
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
        let frame = self.body.info.results.iter().chain(&self.body.info.parameters);
        let places: Vec<(Place, u32)> = match self.layout.parameters.get(&function) {
            Some(places) => places.iter().map(|(at, size)| (Place::Parameter(*at), *size)).collect(),
            None => frame.map(|(at, size)| (Place::Frame(*at), *size)).collect(),
        };
        let variables = definition.results.iter().chain(&definition.parameters);
        for (variable, (place, size)) in variables.clone().zip(places) {
            let size = size.into();
            let name = match variable.is_register {
                true => passed(&variable.name),
                false => variable.name.clone(),
            };
            scope.names.insert(name, Symbol::Variable { place, size });
        }
        self.body.scopes.push(scope);
        for variable in variables.filter(|variable| variable.is_register) {
            self.declare_register(variable.ty, 1, &variable.name, None, variable.line)?;
        }
        for variable in definition.parameters.iter().filter(|variable| variable.is_register) {
            let register = Operand::Name(variable.name.clone());
            let load = load_passed(register, &passed(&variable.name), variable.ty);
            let line = variable.line;
            Draft::decode(self, &Instruction { line, ..load })?;
        }
        let results = definition.results.iter().filter(|variable| variable.is_register);
        self.body.results = results.map(|variable| (variable.name.clone(), variable.ty)).collect();
        let mut scopes = 0;
        for (index, statement) in statements.iter().enumerate() {
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
                Statement::Register {
                    ty,
                    lanes,
                    name,
                    count,
                    line,
                } => self.declare_register(*ty, *lanes, name, *count, *line)?,
                Statement::Variable(variable) => self.declare_variable((function, index), variable)?,
                Statement::Targets { label, targets } => {
                    self.body.targets.insert(label.clone(), targets.clone());
                }
                Statement::Prototype(label, prototype) => {
                    self.body.prototypes.insert(label.clone(), prototype.clone());
                }
                Statement::Instruction(instruction) => Draft::decode(self, instruction)?,
            }
        }
        // Running off the end of a function returns from it.
        self.pass_results(None, definition.line, (0, 0))?;
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

    fn declare_register(
        &mut self,
        ty: Type,
        lanes: u32,
        name: &str,
        count: Option<u32>,
        line: u32,
    ) -> Result<(), Error> {
        if ty == Type::B128 {
            return Err(Error::Unsupported {
                instruction: format!(".reg .b128 {name}"),
                line,
                reason: "128-bit registers".into(),
            });
        }
        self.body.has_vectors |= lanes > 1;
        let scope = self.body.scopes.len() - 1;
        match count {
            Some(count) => self.body.scopes[scope].ranges.push(Range {
                prefix: name.to_owned(),
                ty,
                lanes,
                count,
            }),
            None => self.add_register(scope, ty, lanes, name),
        }
        Ok(())
    }

    /// Makes room for a register, or for the components of a vector register.
    fn add_register(&mut self, scope: usize, ty: Type, lanes: u32, name: &str) {
        if lanes == 1 {
            let slot = self.fresh(ty);
            let symbol = Symbol::Register { ty, slot };
            self.body.scopes[scope].names.insert(name.to_owned(), symbol);
            return;
        }
        for lane in 0..lanes as usize {
            let slot = self.fresh(ty);
            for names in COMPONENTS {
                let name = format!("{name}.{}", names[lane]);
                let symbol = Symbol::Register { ty, slot };
                self.body.scopes[scope].names.insert(name, symbol);
            }
        }
        let symbol = Symbol::Vector { lanes };
        self.body.scopes[scope].names.insert(name.to_owned(), symbol);
    }

    /// Stores results that are registers where the caller finds them.
    fn pass_results(&mut self, guard: Option<&(String, bool)>, line: u32, span: (usize, usize)) -> Result<(), Error> {
        for (name, ty) in self.body.results.clone() {
            let store = Instruction {
                guard: guard.cloned(),
                line,
                span,
                ..store_passed(&passed(&name), Operand::Name(name), ty)
            };
            Draft::decode(self, &store)?;
        }
        Ok(())
    }

    fn declare_variable(&mut self, statement: (usize, usize), variable: &Variable) -> Result<(), Error> {
        let size = variable.size();
        let place = match variable.space {
            Space::Shared => Place::Shared(self.shared.locals[&statement]),
            Space::Global => Place::Global(self.layout.locals[&statement]),
            Space::Constant => Place::Constant(self.layout.locals[&statement]),
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
            Space::Generic => {
                return Err(Error::Unsupported {
                    instruction: variable.name.clone(),
                    line: variable.line,
                    reason: "a variable without a space".into(),
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
            let (stem, is_component) = match name.rsplit_once('.') {
                Some((stem, _)) => (stem, true),
                None => (name, false),
            };
            let ranges = &self.body.scopes[index].ranges;
            let range = ranges.iter().find(|range| range.contains(stem)).cloned();
            if let Some(Range { ty, lanes, .. }) = range
                && (lanes > 1 || !is_component)
            {
                self.add_register(index, ty, lanes, stem);
                return self.body.scopes[index].names.get(name).cloned();
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

/// The `.param` variable that passes a parameter or result which is a register. No name in a module has a blank.
fn passed(register: &str) -> String {
    format!("{register} (passed)")
}

/// Loads a passed value into a register.
fn load_passed(register: Operand, from: &str, ty: Type) -> Instruction {
    let address = Operand::Address {
        base: Some(from.to_owned()),
        offset: 0,
    };
    passing("ld", vec![register, address], ty)
}

/// Stores a value to be passed.
fn store_passed(to: &str, value: Operand, ty: Type) -> Instruction {
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

/// The address of a function of the module, as pointers hold it.
pub(crate) fn function_address(function: usize) -> u64 {
    execute::control::FUNCTION_BASE + 16 * (function as u64 + 1)
}

pub(crate) fn align(offset: u32, alignment: u32) -> u32 {
    let alignment = alignment.max(1);
    offset.checked_next_multiple_of(alignment).unwrap_or(u32::MAX - 4096)
}
