//! Emission: operations, with what they read and write, and where they branch to.

use super::draft::Result_;
use super::{Draft, Fix, FixPlace, Place, Symbol, align, is_callable, load_passed, passed, store_passed};
use crate::count::Class;
use crate::execute::lanes::{Function as LaneFunction, Lanes, Slots, function};
use crate::machine::LOCAL_LIMIT;
use crate::machine::registers::Slot;
use crate::parse::syntax::{self, Initial, Operand, Prototype, Statement, Type};
use crate::program::*;

impl<'d, 'm> Draft<'d, 'm> {
    /// Emits a helper operation from one slot to another, ahead of the instruction.
    pub(super) fn helper(&mut self, function: LaneFunction, from: Slot, to: Slot) {
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

    pub(super) fn helper_with(&mut self, function: LaneFunction, slots: Slots, to: Slot) {
        self.ahead(Action::Lanes(function), slots, Use::Row(to));
    }

    /// Emits an operation ahead of the instruction, whose own reads and writes stay as they are.
    pub(super) fn ahead(&mut self, action: Action, slots: Slots, written: Use) {
        let (reads, writes) = (std::mem::take(&mut self.reads), std::mem::take(&mut self.writes));
        self.writes.push(written);
        self.push(action, slots, Class::Move, 0, true, false);
        (self.reads, self.writes) = (reads, writes);
    }

    /// Requests every function that the kernel can reach: a call through a pointer may go to any.
    pub fn request_all(&mut self) {
        for &function in &self.decoder.shared.functions {
            if is_callable(&self.decoder.unit.functions[function]) {
                self.decoder.request(function);
            }
        }
    }

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

    /// Emits a move of several values at once: each is read before one is written.
    pub fn emit_moves(&mut self, function: LaneFunction, ty: Type, to: &[Operand], from: &[Operand]) -> Result_<()> {
        let reads = self.reads.clone();
        let mut moved = Vec::new();
        for operand in from {
            self.reads.clone_from(&reads);
            self.writes.clear();
            let from = self.source_of(operand, ty)?;
            let between = self.fresh(ty);
            self.writes.push(Use::Row(between));
            let slots = Slots {
                to: between,
                from: [from, 0, 0, 0],
                extra: 0,
            };
            self.emit_move(Action::Lanes(function), slots)?;
            moved.push(between);
        }
        for (operand, between) in to.iter().zip(moved) {
            let to = self.target_of(operand, ty)?;
            let slots = Slots {
                to,
                from: [between, 0, 0, 0],
                extra: 0,
            };
            self.after.push((function, slots, between, to));
        }
        Ok(())
    }

    pub(super) fn push(
        &mut self,
        action: Action,
        slots: Slots,
        class: Class,
        flops: u32,
        propagates: bool,
        main: bool,
    ) {
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

    /// Emits the stores of what a call passes in registers or as constants, the call as `control` makes it of its index
    /// in `Program::calls`, and the loads of results that go to registers.
    pub fn emit_call(
        &mut self,
        function: Option<usize>,
        prototype: Option<Prototype>,
        arguments: &[Operand],
        results: &[Operand],
        control: impl Fn(u32) -> Control,
    ) -> Result_<()> {
        let prototype = prototype.unwrap_or_default();
        let misfit = |draft: &Self, function: usize| {
            let name = &draft.decoder.program.functions[function].name;
            Err(draft.invalid(format!("operands that do not fit the parameters of `{name}`")))
        };
        let takes = (prototype.parameters.len(), prototype.results.len());
        let is_misfit = arguments.len() != takes.0 || (!results.is_empty() && results.len() != takes.1);
        if let Some(function) = function.filter(|_| is_misfit) {
            return misfit(self, function);
        }
        let mut call = Call {
            function: function.unwrap_or_default() as u32,
            caller: self.decoder.indices[&self.decoder.pending[self.current_function()]] as u32,
            ..Call::default()
        };
        for (index, operand) in arguments.iter().enumerate() {
            let place = match self.call_variable(operand) {
                Some(place) => place,
                None => {
                    let ty = self.register_type(operand).or(prototype.parameters.get(index).copied());
                    let (name, place) = self.call_operand(ty)?;
                    let store = store_passed(&name, operand.clone(), place.2);
                    self.decode_beside(store)?;
                    (place.0, place.1)
                }
            };
            call.arguments.push(place);
        }
        let mut loads = Vec::new();
        for (index, operand) in results.iter().enumerate() {
            let place = match self.call_variable(operand) {
                Some(place) => place,
                None => {
                    let ty = self.register_type(operand).or(prototype.results.get(index).copied());
                    let (name, place) = self.call_operand(ty)?;
                    loads.push(load_passed(operand.clone(), &name, place.2));
                    (place.0, place.1)
                }
            };
            call.results.push(place);
        }
        if let Some(function) = function
            && !call.fits(&self.decoder.program.functions[function])
        {
            return misfit(self, function);
        }
        let calls = &mut self.decoder.program.calls;
        calls.push(call);
        let index = calls.len() as u32 - 1;
        self.emit(Action::Control(control(index)), Slots::default(), Class::Control, 0)?;
        loads.into_iter().try_for_each(|load| self.decode_beside(load))
    }

    /// The `.param` variable that a call's operand names, as its place in the frame and its size.
    fn call_variable(&mut self, operand: &Operand) -> Option<(u32, u32)> {
        let Operand::Name(name) = operand else { return None };
        match self.decoder.lookup(name)? {
            Symbol::Variable {
                place: Place::Frame(offset),
                size,
            } => Some((offset, size as u32)),
            _ => None,
        }
    }

    /// A `.param` variable for a call's operand that is none: its name, and its place, size and type.
    fn call_operand(&mut self, ty: Option<Type>) -> Result_<(String, (u32, u32, Type))> {
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
            place: Place::Frame(offset),
            size: ty.size().into(),
        };
        if let Some(scope) = self.decoder.body.scopes.last_mut() {
            scope.names.insert(name.clone(), symbol);
        }
        Ok((name, (offset, ty.size(), ty)))
    }

    /// Decodes another instruction where this one stands, under its guard.
    fn decode_beside(&mut self, instruction: syntax::Instruction) -> Result_<()> {
        let instruction = syntax::Instruction {
            guard: self.syntax.guard.clone(),
            line: self.syntax.line,
            span: self.syntax.span,
            ..instruction
        };
        Draft::decode(self.decoder, &instruction)
    }

    /// Stores results that are registers, before a return.
    pub fn pass_results(&mut self) -> Result_<()> {
        let (guard, line, span) = (self.syntax.guard.as_ref(), self.syntax.line, self.syntax.span);
        self.decoder.pass_results(guard, line, span)
    }

    /// What the functions take and give that a call through a pointer may go to, as its last operand tells.
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

    fn current_function(&self) -> usize {
        // Functions are decoded in the order in which they were requested.
        self.decoder
            .program
            .functions
            .iter()
            .position(|function| function.name == self.decoder.body.info.name)
            .unwrap_or(0)
    }
}
