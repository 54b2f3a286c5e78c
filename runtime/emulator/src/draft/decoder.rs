//! The state of decoding a kernel: the functions it reaches, and the function being decoded.

use std::collections::HashMap;

use super::scope::{COMPONENTS, Location, RegisterRange, Scope, Symbol};
use crate::error::Error;
use crate::layout::{Layout, SharedLayout, align};
use crate::machine::action::Executable;
use crate::machine::address::function_address;
use crate::machine::program::{Constant, FunctionInfo, SYSTEM_FUNCTIONS};
use crate::machine::registers::Slot;
use crate::machine::warp::LOCAL_LIMIT;
use crate::parse::syntax::{Function, Prototype, Space, Type, Unit, Variable};

pub(crate) struct Decoder<'m> {
    pub unit: &'m Unit,
    /// The module's PTX text, for messages.
    pub text: &'m str,
    pub layout: &'m Layout,
    pub shared: &'m SharedLayout,
    pub executable: Executable,
    /// Functions of the unit, by their index in the program, and the other way.
    pub requested: Vec<usize>,
    pub indices: HashMap<usize, usize>,
    pub body: Body,
}

/// The function being decoded.
#[derive(Default)]
pub(crate) struct Body {
    /// The function's index in the program.
    pub index: usize,
    pub info: FunctionInfo,
    pub is_entry: bool,
    /// From the outermost to the innermost.
    pub scopes: Vec<Scope>,
    pub constants: HashMap<Constant, Slot>,
    /// (scope, label) → operation.
    pub labels: HashMap<(usize, String), u32>,
    pub targets: HashMap<String, Vec<String>>,
    pub prototypes: HashMap<String, Prototype>,
    /// `true` if the function declares vector registers.
    pub has_vectors: bool,
    /// The names and types of the function's results that are registers.
    pub results: Vec<(String, Type)>,
    /// The predicate that holds carry flags, once one is used.
    pub carry: Option<Slot>,
    pub fixups: Vec<Fixup>,
}

/// An operation or a list entry that needs the address of a label.
pub(crate) struct Fixup {
    pub target: FixupTarget,
    /// The scopes in which the label may be, from the innermost to the outermost.
    pub scopes: Vec<usize>,
    pub label: String,
    pub line: u32,
    pub instruction: String,
}

pub(crate) enum FixupTarget {
    /// The branch at this index.
    Branch(usize),
    /// An entry of a list of branch targets.
    List { list: usize, index: usize },
}

impl Decoder<'_> {
    /// The index in the program of a function of the unit. The first request queues the function for decoding.
    pub fn request(&mut self, function: usize) -> usize {
        if let Some(&index) = self.indices.get(&function) {
            return index;
        }
        let index = self.requested.len();
        self.requested.push(function);
        self.indices.insert(function, index);
        let program = &mut self.executable.program;
        program.addresses.insert(function_address(function), index as u32);
        let definition = &self.unit.functions[function];
        let mut info = FunctionInfo {
            name: definition.name.clone(),
            ..FunctionInfo::default()
        };
        if !definition.is_entry {
            for (variables, ranges) in [
                (&definition.results, &mut info.results),
                (&definition.parameters, &mut info.parameters),
            ] {
                for variable in variables {
                    info.frame = align(info.frame, variable.align);
                    ranges.push((info.frame, variable.size() as u32));
                    info.frame = info.frame.saturating_add(variable.size() as u32);
                }
            }
        }
        program.functions.push(info);
        index
    }

    pub fn declare_register(
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
            Some(count) => self.body.scopes[scope].ranges.push(RegisterRange {
                prefix: name.to_owned(),
                ty,
                lanes,
                count,
            }),
            None => self.add_register(scope, ty, lanes, name),
        }
        Ok(())
    }

    /// Allocates a register, or the components of a vector register.
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

    /// Declares a variable of a function; `statement` is the function and the index of the declaration in it.
    pub fn declare_variable(&mut self, statement: (usize, usize), variable: &Variable) -> Result<(), Error> {
        let size = variable.size();
        let location = match variable.space {
            Space::Shared => Location::Shared(self.shared.locals[&statement]),
            Space::Global => Location::Global(self.layout.locals[&statement]),
            Space::Constant => Location::Constant(self.layout.locals[&statement]),
            Space::Local | Space::Parameter => {
                let offset = align(self.body.info.frame, variable.align);
                if u64::from(offset) + size > LOCAL_LIMIT as u64 {
                    return Err(Error::Invalid {
                        instruction: variable.name.clone(),
                        line: variable.line,
                        message: "more local memory than a thread can have (512 KiB)".into(),
                    });
                }
                self.body.info.frame = offset + size as u32;
                Location::Frame(offset)
            }
            Space::Generic => {
                return Err(Error::Unsupported {
                    instruction: variable.name.clone(),
                    line: variable.line,
                    reason: "a variable without a space".into(),
                });
            }
        };
        self.declare(variable.name.clone(), Symbol::Variable { location, size });
        Ok(())
    }

    /// Declares a name in the innermost scope.
    pub fn declare(&mut self, name: String, symbol: Symbol) {
        if let Some(scope) = self.body.scopes.last_mut() {
            scope.names.insert(name, symbol);
        }
    }

    /// Allocates a predicate, or the register rows for a value of the type: two for 64 bits, else one.
    pub fn fresh(&mut self, ty: Type) -> Slot {
        let info = &mut self.body.info;
        if ty == Type::Pred {
            info.predicates += 1;
            return info.predicates - 1;
        }
        let rows = if ty.size() == 8 { 2 } else { 1 };
        info.rows += rows;
        let first = info.rows - rows;
        if rows == 2 {
            info.wide_rows.push(first);
        }
        first
    }

    /// The slot of a constant of the function's frame.
    pub fn constant(&mut self, constant: Constant) -> Slot {
        if let Some(&slot) = self.body.constants.get(&constant) {
            return slot;
        }
        let wide = constant.is_wide();
        let slot = self.fresh(if wide { Type::B64 } else { Type::B32 });
        self.body.constants.insert(constant, slot);
        slot
    }

    /// The symbol of a name, looked up from the innermost scope to the module.
    pub fn lookup(&mut self, name: &str) -> Option<Symbol> {
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
            if let Some(RegisterRange { ty, lanes, .. }) = range
                && (lanes > 1 || !is_component)
            {
                self.add_register(index, ty, lanes, stem);
                return self.body.scopes[index].names.get(name).cloned();
            }
        }
        let variable = self.unit.variables.iter().find(|variable| variable.name == name)?;
        let location = match variable.space {
            Space::Shared => Location::Shared(*self.shared.globals.get(name)?),
            Space::Constant => Location::Constant(*self.layout.constants.get(name)?),
            _ => Location::Global(*self.layout.globals.get(name)?),
        };
        Some(Symbol::Variable {
            location,
            size: variable.size(),
        })
    }
}

/// `true` if the function has a body, or is one that the GPU's runtime provides.
pub(crate) fn is_callable(function: &Function) -> bool {
    function.body.is_some() || SYSTEM_FUNCTIONS.contains(&function.name.as_str())
}
