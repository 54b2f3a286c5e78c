//! Syntax → [`Program`]: names become slots and offsets, instructions become operations.
//!
//! A [`Draft`] is one instruction being decoded. The files of [`crate::execute`] read its modifiers and operands
//! and emit its operations. Every modifier must be taken by somebody: one that is left over is an error, so no
//! instruction is ever run under a guessed meaning.

use std::collections::HashMap;

use crate::count::Class;
use crate::error::Error;
use crate::execute;
use crate::execute::lanes::{Function as LaneFunction, Lanes, Slots, function};
use crate::layout::Layout;
use crate::machine::registers::Slot;
use crate::numerics::exact::{Format, Rounding};
use crate::numerics::round_f64;
use crate::parse::Unit;
use crate::parse::syntax::{self, Operand, Space, Statement, Type, Variable};
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
        let Some(statements) = &definition.body else {
            return Err(here(
                "a function that is declared but not defined in this module (nothing is linked to it)",
            ));
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
        let end = Operation {
            action: Action::Control(Control::Return),
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

/// The address of a function of the module, as pointers hold it.
pub(crate) fn function_address(function: usize) -> u64 {
    execute::control::FUNCTION_BASE + 16 * (function as u64 + 1)
}

pub(crate) fn align(offset: u32, alignment: u32) -> u32 {
    let alignment = alignment.max(1);
    offset.checked_next_multiple_of(alignment).unwrap_or(u32::MAX - 4096)
}

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
    decoder: &'d mut Decoder<'m>,
    syntax: &'d syntax::Instruction,
    modifiers: Vec<&'d str>,
    guard: Slot,
    negated: bool,
    reads: Vec<Use>,
    writes: Vec<Use>,
    after: Vec<(LaneFunction, Slots, Slot, Slot)>,
    emitted: bool,
}

type Result_<T> = Result<T, Error>;

impl<'d, 'm> Draft<'d, 'm> {
    fn decode(decoder: &mut Decoder<'m>, syntax: &syntax::Instruction) -> Result_<()> {
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
        execute::decode(&mut draft)?;
        if let Some(left) = draft.modifiers.first() {
            return Err(draft.unsupported(format!("`.{left}`")));
        }
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

    fn instruction(&self) -> String {
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

    // ---- modifiers ----

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

    // ---- operands ----

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

    pub fn fresh(&mut self, ty: Type) -> Slot {
        self.decoder.fresh(ty)
    }

    pub fn narrow_constant(&mut self, value: u32) -> Slot {
        self.decoder.constant(Constant::Narrow(value))
    }

    pub fn wide_constant(&mut self, value: u64) -> Slot {
        self.decoder.constant(Constant::Wide(value))
    }

    /// The declared type of a register operand.
    pub fn register_type(&mut self, operand: &Operand) -> Option<Type> {
        match operand {
            Operand::Name(name) => match self.decoder.lookup(name)? {
                Symbol::Register { ty, .. } => Some(ty),
                Symbol::Variable { .. } => None,
            },
            _ => None,
        }
    }

    /// A source of an instruction: a register, a special register or a constant, as a slot of the type's width.
    pub fn source(&mut self, index: usize, ty: Type) -> Result_<Slot> {
        let operand = self.operand(index)?;
        self.source_of(operand, ty)
    }

    pub fn source_of(&mut self, operand: &Operand, ty: Type) -> Result_<Slot> {
        match operand {
            Operand::Name(name) => {
                if let Some(symbol) = self.decoder.lookup(name) {
                    let Symbol::Register { ty: declared, slot } = symbol else {
                        return Err(self.invalid(format!("`{name}` is a variable, not a register")));
                    };
                    return self.register_source(name, declared, slot, ty);
                }
                self.special(name, ty)
            }
            Operand::Integer(value) => Ok(match ty {
                Type::F32 | Type::F64 | Type::F16 | Type::Bf16 => {
                    return Err(self.invalid("an integer constant where a float is needed"));
                }
                _ if ty.size() == 8 => self.wide_constant(*value),
                _ => self.narrow_constant(*value as u32),
            }),
            Operand::Float32(bits) => match ty.size() {
                4 => Ok(self.narrow_constant(*bits)),
                8 if ty == Type::F64 => Ok(self.wide_constant(f64::from(f32::from_bits(*bits)).to_bits())),
                _ => Err(self.invalid("a single-precision constant of another type")),
            },
            Operand::Float64(bits) => match ty {
                Type::F64 | Type::B64 => Ok(self.wide_constant(*bits)),
                Type::F32 => {
                    Ok(self.narrow_constant(round_f64(f64::from_bits(*bits), Format::F32, Rounding::Nearest) as u32))
                }
                _ => Err(self.invalid("a double-precision constant of another type")),
            },
            _ => Err(self.invalid("an operand that is neither register nor constant")),
        }
    }

    fn register_source(&mut self, name: &str, declared: Type, slot: Slot, ty: Type) -> Result_<Slot> {
        if declared == Type::Pred || ty == Type::Pred {
            return Err(self.invalid(format!("`{name}` is {declared} where {ty} is needed")));
        }
        if declared.size() < ty.size() {
            return Err(self.invalid(format!("`{name}` is {declared}, too narrow for {ty}")));
        }
        if declared.size() == 8 && ty.size() < 8 {
            // The low half of a 64-bit register.
            let low = self.fresh(Type::B32);
            let (reads, writes) = (std::mem::take(&mut self.reads), std::mem::take(&mut self.writes));
            self.reads.push(Use::Row(slot));
            self.writes.push(Use::Row(low));
            let slots = Slots {
                to: low,
                from: [slot, 0, 0, 0],
                extra: 0,
            };
            self.push(
                Action::Lanes(function::<execute::data::Truncate>()),
                slots,
                Class::Move,
                0,
                true,
                false,
            );
            (self.reads, self.writes) = (reads, writes);
            self.reads.push(Use::Row(low));
            return Ok(low);
        }
        self.reads.push(Use::Row(slot));
        Ok(slot)
    }

    /// A special register as a source.
    fn special(&mut self, name: &str, ty: Type) -> Result_<Slot> {
        let (base, axis) = name.rsplit_once('.').unwrap_or((name, ""));
        let axis = match axis {
            "x" => Some(0),
            "y" => Some(1),
            "z" => Some(2),
            _ => None,
        };
        let special = match (base, axis) {
            ("%tid", Some(axis)) => Special::ThreadIndex(axis),
            ("%ntid", Some(axis)) => Special::BlockSize(axis),
            ("%ctaid", Some(axis)) => Special::BlockIndex(axis),
            ("%nctaid", Some(axis)) => Special::GridSize(axis),
            ("%clusterid", Some(axis)) => Special::ClusterIndex(axis),
            ("%nclusterid", Some(axis)) => Special::ClusterCount(axis),
            ("%cluster_ctaid", Some(axis)) => Special::IndexInCluster(axis),
            ("%cluster_nctaid", Some(axis)) => Special::ClusterSize(axis),
            ("%cluster_ctarank", None) => Special::ClusterRank,
            ("%cluster_nctarank", None) => Special::ClusterBlocks,
            ("%laneid", None) => Special::Lane,
            ("%warpid", None) => Special::WarpIndex,
            ("%nwarpid", None) => Special::WarpCount,
            ("%smid", None) => Special::Processor,
            ("%nsmid", None) => Special::ProcessorCount,
            ("%gridid", None) => Special::GridId,
            ("%lanemask_eq", None) => Special::MaskEqual,
            ("%lanemask_lt", None) => Special::MaskLess,
            ("%lanemask_le", None) => Special::MaskLessEqual,
            ("%lanemask_gt", None) => Special::MaskGreater,
            ("%lanemask_ge", None) => Special::MaskGreaterEqual,
            ("%dynamic_smem_size", None) => Special::DynamicShared,
            ("%total_smem_size", None) => Special::TotalShared,
            ("WARP_SZ", None) => {
                return Ok(if ty.size() == 8 {
                    self.wide_constant(32)
                } else {
                    self.narrow_constant(32)
                });
            }
            ("%clock" | "%clock_hi" | "%clock64" | "%globaltimer" | "%globaltimer_lo" | "%globaltimer_hi", None) => {
                return Ok(self.clock(name, ty));
            }
            _ if name.starts_with('%') => {
                return Err(self.unsupported(format!(
                    "the name `{name}` (not declared, and no special register known here)"
                )));
            }
            _ => return Err(self.invalid(format!("no register `{name}`"))),
        };
        let slot = self.decoder.constant(Constant::Special(special));
        let wide = special == Special::GridId;
        if (ty.size() == 8) == wide {
            return Ok(slot);
        }
        if wide {
            return Err(self.invalid(format!("`{name}` has 64 bits")));
        }
        // `mov.u64` of a 32-bit special register zero-extends.
        let extended = self.fresh(Type::B64);
        self.helper(function::<execute::data::Extend>(), slot, extended);
        Ok(extended)
    }

    fn clock(&mut self, name: &str, ty: Type) -> Slot {
        let wide = self.fresh(Type::B64);
        let slots = Slots {
            to: wide,
            ..Slots::default()
        };
        let (reads, writes) = (std::mem::take(&mut self.reads), std::mem::take(&mut self.writes));
        self.writes.push(Use::Row(wide));
        self.push(
            Action::Machine(execute::data::read_clock),
            slots,
            Class::Move,
            0,
            true,
            false,
        );
        (self.reads, self.writes) = (reads, writes);
        if ty.size() == 8 {
            return wide;
        }
        let narrow = self.fresh(Type::B32);
        let part = if name.ends_with("_hi") {
            function::<execute::data::High>()
        } else {
            function::<execute::data::Truncate>()
        };
        self.helper(part, wide, narrow);
        narrow
    }

    /// Emits a helper operation from one slot to another, ahead of the instruction.
    fn helper(&mut self, function: LaneFunction, from: Slot, to: Slot) {
        self.helper_with(
            function,
            Slots {
                to,
                from: [from, 0, 0, 0],
                extra: 0,
            },
            to,
        );
    }

    fn helper_with(&mut self, function: LaneFunction, slots: Slots, to: Slot) {
        let (reads, writes) = (std::mem::take(&mut self.reads), std::mem::take(&mut self.writes));
        self.writes.push(Use::Row(to));
        self.push(Action::Lanes(function), slots, Class::Move, 0, true, false);
        (self.reads, self.writes) = (reads, writes);
    }

    /// A destination register of the type's width.
    pub fn target(&mut self, index: usize, ty: Type) -> Result_<Slot> {
        let operand = self.operand(index)?;
        self.target_of(operand, ty)
    }

    pub fn target_of(&mut self, operand: &Operand, ty: Type) -> Result_<Slot> {
        let Operand::Name(name) = operand else {
            if *operand == Operand::Sink {
                return Ok(self.fresh(ty));
            }
            return Err(self.invalid("a destination that is not a register"));
        };
        match self.decoder.lookup(name) {
            Some(Symbol::Register { ty: declared, slot }) => {
                if (declared == Type::Pred) != (ty == Type::Pred) {
                    return Err(self.invalid(format!("`{name}` is {declared} where {ty} is needed")));
                }
                if ty == Type::Pred {
                    self.writes.push(Use::Predicate(slot));
                    return Ok(slot);
                }
                if declared.size() < ty.size() {
                    return Err(self.invalid(format!("`{name}` is {declared}, too narrow for {ty}")));
                }
                if declared.size() == 8 && ty.size() < 8 {
                    // Written narrow, then extended into the 64-bit register.
                    let low = self.fresh(Type::B32);
                    self.writes.push(Use::Row(low));
                    let extend = if ty.is_signed() {
                        function::<execute::data::ExtendSigned>()
                    } else {
                        function::<execute::data::Extend>()
                    };
                    self.after.push((
                        extend,
                        Slots {
                            to: slot,
                            from: [low, 0, 0, 0],
                            extra: 0,
                        },
                        low,
                        slot,
                    ));
                    return Ok(low);
                }
                self.writes.push(Use::Row(slot));
                Ok(slot)
            }
            _ => Err(self.invalid(format!("no register `{name}`"))),
        }
    }

    fn predicate(&mut self, name: &str) -> Result_<Slot> {
        match self.decoder.lookup(name) {
            Some(Symbol::Register { ty: Type::Pred, slot }) => {
                self.reads.push(Use::Predicate(slot));
                Ok(slot)
            }
            _ => Err(self.invalid(format!("no predicate `{name}`"))),
        }
    }

    /// A predicate source, possibly negated.
    pub fn predicate_source(&mut self, index: usize) -> Result_<(Slot, bool)> {
        match self.operand(index)? {
            Operand::Name(name) => Ok((self.predicate(name)?, false)),
            Operand::Not(name) => Ok((self.predicate(name)?, true)),
            Operand::Integer(value) => {
                // A constant predicate: a helper sets it.
                let slot = self.constant_predicate(*value != 0);
                Ok((slot, false))
            }
            _ => Err(self.invalid("an operand that is not a predicate")),
        }
    }

    fn constant_predicate(&mut self, value: bool) -> Slot {
        let slot = self.fresh(Type::Pred);
        let (reads, writes) = (std::mem::take(&mut self.reads), std::mem::take(&mut self.writes));
        self.writes.push(Use::Predicate(slot));
        self.push(
            Action::Lanes(function::<execute::data::SetPredicate>()),
            Slots {
                to: slot,
                extra: value.into(),
                ..Slots::default()
            },
            Class::Move,
            0,
            true,
            false,
        );
        (self.reads, self.writes) = (reads, writes);
        slot
    }

    /// Whether an operand is a predicate.
    pub fn is_predicate(&mut self, index: usize) -> Result_<bool> {
        let operand = self.operand(index)?;
        Ok(matches!(operand, Operand::Not(_)) || self.register_type(operand) == Some(Type::Pred))
    }

    /// An address as one register: its offset is added ahead of the instruction.
    pub fn offset_address(&mut self, address: Address) -> Slot {
        if address.offset == 0 {
            return address.base;
        }
        let sum = self.fresh(Type::B64);
        let slots = Slots {
            to: sum,
            from: [address.base, 0, 0, 0],
            extra: address.offset as i64 as u64,
        };
        self.helper_with(function::<execute::data::AddOffset>(), slots, sum);
        sum
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

    /// A constant operand.
    pub fn immediate(&self, index: usize) -> Result_<u64> {
        match self.operand(index)? {
            Operand::Integer(value) => Ok(*value),
            _ => Err(self.invalid(format!("operand {} must be a constant", index + 1))),
        }
    }

    /// The variable that an operand names, with an offset.
    pub fn variable(&mut self, operand: &Operand) -> Option<(Place, i64)> {
        let (name, offset) = match operand {
            Operand::Name(name) => (name, 0),
            Operand::Offset(name, offset) => (name, *offset),
            _ => return None,
        };
        match self.decoder.lookup(name)? {
            Symbol::Variable { place, size: _ } => Some((place, offset)),
            Symbol::Register { .. } => None,
        }
    }

    /// The address of the function of that name.
    pub fn function_pointer(&mut self, name: &str) -> Option<u64> {
        let functions = &self.decoder.unit.functions;
        let function = functions
            .iter()
            .position(|function| function.name == name && !function.is_entry)?;
        self.decoder.request(function);
        Some(function_address(function))
    }

    /// Requests every function that the kernel can reach: a call through a pointer may go to any.
    pub fn request_all(&mut self) {
        for &function in &self.decoder.shared.functions {
            if self.decoder.unit.functions[function].body.is_some() {
                self.decoder.request(function);
            }
        }
    }

    /// The function that an operand names.
    pub fn function_named(&mut self, name: &str) -> Option<usize> {
        let function = self
            .decoder
            .unit
            .functions
            .iter()
            .position(|function| function.name == name && !function.is_entry)?;
        Some(self.decoder.request(function))
    }

    pub fn address_of(&mut self, place: Place, offset: i64) -> Slot {
        match place {
            Place::Shared(at) => self.wide_constant(u64::from(at).wrapping_add_signed(offset)),
            Place::Constant(at) => self.wide_constant(at.wrapping_add_signed(offset)),
            Place::Parameter(at) => self.wide_constant(u64::from(at).wrapping_add_signed(offset)),
            Place::Global(at) => self.decoder.constant(Constant::Global(at.wrapping_add_signed(offset))),
            Place::Frame(at) => {
                let slot = self.fresh(Type::B64);
                let (reads, writes) = (std::mem::take(&mut self.reads), std::mem::take(&mut self.writes));
                self.writes.push(Use::Row(slot));
                let slots = Slots {
                    to: slot,
                    from: [0; 4],
                    extra: u64::from(at).wrapping_add_signed(offset),
                };
                self.push(
                    Action::Machine(execute::data::frame_address),
                    slots,
                    Class::Move,
                    0,
                    true,
                    false,
                );
                (self.reads, self.writes) = (reads, writes);
                slot
            }
        }
    }

    /// The space of a variable's place.
    pub fn space_of(&self, place: Place) -> Space {
        match place {
            Place::Shared(_) => Space::Shared,
            Place::Frame(_) => Space::Local,
            Place::Global(_) => Space::Global,
            Place::Constant(_) => Space::Constant,
            Place::Parameter(_) => Space::Parameter,
        }
    }

    /// An address operand `[…]`.
    pub fn address(&mut self, index: usize) -> Result_<Address> {
        let operand = self.operand(index)?;
        self.address_operand(operand)
    }

    pub fn address_operand(&mut self, operand: &Operand) -> Result_<Address> {
        let Operand::Address { base, offset } = operand else {
            return Err(self.invalid("an operand that is not an address"));
        };
        let Some(name) = base else {
            return Ok(Address {
                base: self.wide_constant(*offset as u64),
                offset: 0,
                space: None,
            });
        };
        match self.decoder.lookup(name) {
            Some(Symbol::Variable { place, .. }) => {
                let space = Some(self.space_of(place));
                Ok(Address {
                    base: self.address_of(place, *offset),
                    offset: 0,
                    space,
                })
            }
            Some(Symbol::Register { ty, slot }) if ty != Type::Pred => {
                let Ok(offset) = i32::try_from(*offset) else {
                    return Err(self.invalid("an address offset beyond 32 bits"));
                };
                self.reads.push(Use::Row(slot));
                if ty.size() == 8 {
                    return Ok(Address {
                        base: slot,
                        offset,
                        space: None,
                    });
                }
                let extended = self.fresh(Type::B64);
                self.helper(function::<execute::data::Extend>(), slot, extended);
                Ok(Address {
                    base: extended,
                    offset,
                    space: None,
                })
            }
            _ => Err(self.invalid(format!("no register or variable `{name}`"))),
        }
    }

    /// The registers of `{a, b, …}` or of a single operand.
    pub fn elements(&self, index: usize) -> Result_<Vec<&'d Operand>> {
        Ok(match self.operand(index)? {
            Operand::Vector(elements) => elements.iter().collect(),
            operand => vec![operand],
        })
    }

    pub fn is_entry(&self) -> bool {
        self.decoder.body.is_entry
    }

    /// Notes the size of an access that may go to shared memory.
    pub fn note_shared_access(&mut self, size: u32) {
        let granule = &mut self.decoder.program.granule;
        *granule = (*granule).min(size.max(1));
    }

    // ---- emission ----

    /// The predicate that holds the carry flag of this function's threads.
    pub fn carry_flag(&mut self) -> Slot {
        match self.decoder.body.carry {
            Some(slot) => slot,
            None => {
                let slot = self.fresh(Type::Pred);
                self.decoder.body.carry = Some(slot);
                slot
            }
        }
    }

    /// Emits a step of the instruction that comes before its main operation.
    pub fn emit_before(&mut self, function: LaneFunction, to: Slot, from: &[Slot]) {
        let mut slots = Slots { to, ..Slots::default() };
        slots.from[..from.len()].copy_from_slice(from);
        let (reads, writes) = (std::mem::take(&mut self.reads), std::mem::take(&mut self.writes));
        self.reads = reads.clone();
        self.writes.push(Use::Row(to));
        self.push(Action::Lanes(function), slots, Class::Integer, 0, false, false);
        (self.reads, self.writes) = (reads, writes);
    }

    /// Emits the instruction as a lane operation.
    pub fn lanes<L: Lanes>(&mut self, to: Slot, from: &[Slot], extra: u64, class: Class, flops: u32) -> Result_<()> {
        self.lane_function(function::<L>(), to, from, extra, class, flops)
    }

    pub fn lane_function(
        &mut self,
        function: LaneFunction,
        to: Slot,
        from: &[Slot],
        extra: u64,
        class: Class,
        flops: u32,
    ) -> Result_<()> {
        let mut slots = Slots {
            to,
            from: [0; 4],
            extra,
        };
        slots.from[..from.len()].copy_from_slice(from);
        self.emit(Action::Lanes(function), slots, class, flops)
    }

    pub fn emit(&mut self, action: Action, slots: Slots, class: Class, flops: u32) -> Result_<()> {
        self.push(action, slots, class, flops, false, true);
        Ok(())
    }

    /// Emits the instruction as a move, which hands undefined values on without a finding.
    pub fn emit_move(&mut self, action: Action, slots: Slots) -> Result_<()> {
        self.push(action, slots, Class::Move, 0, true, true);
        Ok(())
    }

    fn push(&mut self, action: Action, slots: Slots, class: Class, flops: u32, propagates: bool, main: bool) {
        let operations = &mut self.decoder.program.operations;
        operations.push(Operation {
            action,
            slots,
            guard: self.guard,
            negated: self.negated,
            index: operations.len() as u32,
        });
        let counted = main && !self.emitted;
        self.emitted |= main;
        let mut reads = self.reads.clone();
        if !main && self.guard != NO_GUARD {
            reads.retain(|read| *read != Use::Predicate(self.guard));
        }
        self.decoder.program.info.push(Info {
            line: self.syntax.line,
            span: self.syntax.span,
            class,
            flops,
            reads: reads.into(),
            writes: self.writes.as_slice().into(),
            propagates,
            counted,
        });
    }

    pub fn emit_branch(&mut self, label: &str) -> Result_<()> {
        let place = FixPlace::Branch(self.decoder.program.operations.len());
        self.emit(
            Action::Control(Control::Branch { to: 0 }),
            Slots::default(),
            Class::Control,
            0,
        )?;
        self.fix(place, label);
        Ok(())
    }

    pub fn emit_indexed(&mut self, index: Slot, targets: &str) -> Result_<()> {
        let Some(labels) = self.branch_targets(targets) else {
            return Err(self.invalid(format!("no branch targets `{targets}`")));
        };
        let list = self.decoder.program.lists.len();
        self.decoder.program.lists.push(vec![0; labels.len()]);
        for (position, label) in labels.iter().enumerate() {
            self.fix(FixPlace::List { list, index: position }, label);
        }
        self.emit(
            Action::Control(Control::Indexed {
                list: list as u32,
                index,
            }),
            Slots::default(),
            Class::Control,
            0,
        )
    }

    /// The labels of a `.branchtargets`, which may stand after the branch.
    fn branch_targets(&self, name: &str) -> Option<Vec<String>> {
        if let Some(targets) = self.decoder.body.targets.get(name) {
            return Some(targets.clone());
        }
        let current = self.syntax as *const syntax::Instruction;
        let statements = self.decoder.unit.functions.iter().filter_map(|function| function.body.as_ref()).find(|body| {
            body.iter().any(|statement| matches!(statement, Statement::Instruction(instruction) if std::ptr::eq(instruction, current)))
        })?;
        statements.iter().find_map(|statement| match statement {
            Statement::Targets { label, targets } if label == name => Some(targets.clone()),
            _ => None,
        })
    }

    fn fix(&mut self, place: FixPlace, label: &str) {
        let scopes = self
            .decoder
            .body
            .scopes
            .iter()
            .rev()
            .map(|scope| scope.number)
            .collect();
        let fix = Fix {
            place,
            scopes,
            label: label.to_owned(),
            line: self.syntax.line,
            instruction: self.instruction(),
        };
        self.decoder.body.fixes.push(fix);
    }

    /// Registers a call's argument copies; the result is an index into `Program::calls`.
    pub fn add_call(&mut self, function: usize, arguments: &[Operand], results: &[Operand]) -> Result_<u32> {
        let mut places = [Vec::new(), Vec::new()];
        for (operands, places) in [arguments, results].into_iter().zip(&mut places) {
            for operand in operands {
                let Operand::Name(name) = operand else {
                    return Err(self.unsupported("a call operand that is not a `.param` variable"));
                };
                match self.decoder.lookup(name) {
                    Some(Symbol::Variable {
                        place: Place::Frame(offset),
                        size,
                    }) => places.push((offset, size as u32)),
                    _ => {
                        return Err(
                            self.unsupported(format!("the call operand `{name}`, which is not a `.param` variable"))
                        );
                    }
                }
            }
        }
        let [arguments, results] = places;
        let caller = self.decoder.indices[&self.decoder.pending[self.current_function()]] as u32;
        self.decoder.program.calls.push(Call {
            function: function as u32,
            caller,
            arguments,
            results,
        });
        Ok(self.decoder.program.calls.len() as u32 - 1)
    }

    fn current_function(&self) -> usize {
        // Functions are decoded in the order in which they were requested.
        self.decoder
            .program
            .functions
            .iter()
            .position(|function| function.name == self.decoder.body.info.name)
            .unwrap_or(0)
    }

    /// Whether the call's operands fit the function that it names.
    pub fn check_call(&self, call: u32) -> Result_<()> {
        let call = &self.decoder.program.calls[call as usize];
        let callee = &self.decoder.program.functions[call.function as usize];
        let fits = |given: &[(u32, u32)], expected: &[(u32, u32)]| {
            given.len() == expected.len()
                && given
                    .iter()
                    .zip(expected)
                    .all(|(given, expected)| given.1 == expected.1)
        };
        if fits(&call.arguments, &callee.parameters)
            && (fits(&call.results, &callee.results) || call.results.is_empty())
        {
            return Ok(());
        }
        Err(self.invalid(format!("operands that do not fit the parameters of `{}`", callee.name)))
    }
}
