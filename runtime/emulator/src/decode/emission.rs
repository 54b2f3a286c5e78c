//! Emission: operations, with what they read and write, and where they branch to.

use super::draft::Result_;
use super::{Draft, Fix, FixPlace, Place, Symbol, is_callable};
use crate::count::Class;
use crate::execute::lanes::{Function as LaneFunction, Lanes, Slots, function};
use crate::machine::registers::Slot;
use crate::parse::syntax::{self, Operand, Statement, Type};
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
        if call.fits(callee) {
            return Ok(());
        }
        Err(self.invalid(format!("operands that do not fit the parameters of `{}`", callee.name)))
    }
}
