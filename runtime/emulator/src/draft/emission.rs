//! Emission of operations, with the registers that they read and write, and the labels that they branch to.

use super::decoder::{Fixup, FixupTarget};
use super::text::Draft;
use crate::count::Class;
use crate::error::Error;
use crate::machine::action::Action;
use crate::machine::lanes::{LaneFunction, Lanes, function};
use crate::machine::program::{Constant, Control, Info, NO_GUARD, Operation, Use};
use crate::machine::registers::{Slot, Slots};
use crate::parse::syntax::{Instruction, Statement, Type};

impl Draft<'_, '_> {
    /// Allocates a predicate or register of the type's width.
    pub fn fresh(&mut self, ty: Type) -> Slot {
        self.decoder.fresh(ty)
    }

    /// The register that holds a 32-bit constant.
    pub fn narrow_constant(&mut self, value: u32) -> Slot {
        self.decoder.constant(Constant::Narrow(value))
    }

    /// The register that holds a 64-bit constant.
    pub fn wide_constant(&mut self, value: u64) -> Slot {
        self.decoder.constant(Constant::Wide(value))
    }

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

    /// Emits an operation ahead of the instruction, and leaves the instruction's own reads and writes as they are.
    pub(super) fn ahead(&mut self, action: Action, slots: Slots, written: Use) {
        let (reads, writes) = (std::mem::take(&mut self.reads), std::mem::take(&mut self.writes));
        self.writes.push(written);
        self.push_operation(action, slots, Class::Move, 0, true, false);
        (self.reads, self.writes) = (reads, writes);
    }

    /// The predicate that holds the threads' carry flag in this function.
    pub fn carry_flag(&mut self) -> Slot {
        match self.decoder.body.carry {
            Some(slot) => slot,
            None => {
                let slot = self.decoder.fresh(Type::Pred);
                self.decoder.body.carry = Some(slot);
                slot
            }
        }
    }

    /// Emits a step of the instruction ahead of its main operation.
    pub fn emit_before(&mut self, function: LaneFunction, to: Slot, from: &[Slot]) {
        let mut slots = Slots { to, ..Slots::default() };
        slots.from[..from.len()].copy_from_slice(from);
        let (reads, writes) = (std::mem::take(&mut self.reads), std::mem::take(&mut self.writes));
        self.reads = reads.clone();
        self.writes.push(Use::Row(to));
        self.push_operation(Action::Lanes(function), slots, Class::Integer, 0, false, false);
        (self.reads, self.writes) = (reads, writes);
    }

    /// Emits the instruction as a lane operation.
    pub fn lanes<L: Lanes>(
        &mut self,
        to: Slot,
        from: &[Slot],
        extra: u64,
        class: Class,
        flops: u32,
    ) -> Result<(), Error> {
        self.lane_function(function::<L>(), to, from, extra, class, flops)
    }

    /// Emits the instruction as a lane operation, given its function.
    pub fn lane_function(
        &mut self,
        function: LaneFunction,
        to: Slot,
        from: &[Slot],
        extra: u64,
        class: Class,
        flops: u32,
    ) -> Result<(), Error> {
        let mut slots = Slots {
            to,
            from: [0; 4],
            extra,
        };
        slots.from[..from.len()].copy_from_slice(from);
        self.emit(Action::Lanes(function), slots, class, flops)
    }

    /// Emits the instruction.
    pub fn emit(&mut self, action: Action, slots: Slots, class: Class, flops: u32) -> Result<(), Error> {
        self.push_operation(action, slots, class, flops, false, true);
        Ok(())
    }

    /// Emits the instruction as a move, which may copy undefined values without a finding.
    pub fn emit_move(&mut self, action: Action, slots: Slots) -> Result<(), Error> {
        self.push_operation(action, slots, Class::Move, 0, true, true);
        Ok(())
    }

    /// Emits a move that the machine code does without: it gives a register, or a part of one, another name.
    pub fn emit_name(&mut self, action: Action, slots: Slots) -> Result<(), Error> {
        self.push_operation(action, slots, Class::Name, 0, true, true);
        Ok(())
    }

    /// Appends an operation. `main` is `true` for the instruction's own operation, `false` for a helper.
    pub(super) fn push_operation(
        &mut self,
        action: Action,
        slots: Slots,
        class: Class,
        flops: u32,
        propagates: bool,
        main: bool,
    ) {
        let executable = &mut self.decoder.executable;
        executable.program.operations.push(Operation {
            slots,
            guard: self.guard,
            negated: self.negated,
            index: executable.actions.len() as u32,
        });
        executable.actions.push(action);
        let counted = main && !self.emitted;
        self.emitted |= main;
        let mut reads = self.reads.clone();
        if !main && self.guard != NO_GUARD {
            reads.retain(|read| *read != Use::Predicate(self.guard));
        }
        self.decoder.executable.program.info.push(Info {
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

    /// Emits a branch to a label.
    pub fn emit_branch(&mut self, label: &str) -> Result<(), Error> {
        let target = FixupTarget::Branch(self.decoder.executable.program.operations.len());
        self.emit(
            Action::Control(Control::Branch { to: 0 }),
            Slots::default(),
            Class::Control,
            0,
        )?;
        self.fix(target, label);
        Ok(())
    }

    /// Emits a branch through a list of targets.
    pub fn emit_indexed(&mut self, index: Slot, targets: &str) -> Result<(), Error> {
        let Some(labels) = self.branch_targets(targets) else {
            return Err(self.invalid(format!("no branch targets `{targets}`")));
        };
        let list = self.decoder.executable.program.lists.len();
        self.decoder.executable.program.lists.push(vec![0; labels.len()]);
        for (position, label) in labels.iter().enumerate() {
            self.fix(FixupTarget::List { list, index: position }, label);
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

    /// The labels of a `.branchtargets` list, which may follow the branch.
    fn branch_targets(&self, name: &str) -> Option<Vec<String>> {
        if let Some(targets) = self.decoder.body.targets.get(name) {
            return Some(targets.clone());
        }
        let current = self.syntax as *const Instruction;
        let statements = self.decoder.unit.functions.iter().filter_map(|function| function.body.as_ref()).find(|body| {
            body.iter().any(|statement| matches!(statement, Statement::Instruction(instruction) if std::ptr::eq(instruction, current)))
        })?;
        statements.iter().find_map(|statement| match statement {
            Statement::Targets { label, targets } if label == name => Some(targets.clone()),
            _ => None,
        })
    }

    /// Leaves a target to be resolved when the function's labels are known.
    fn fix(&mut self, target: FixupTarget, label: &str) {
        let scopes = self
            .decoder
            .body
            .scopes
            .iter()
            .rev()
            .map(|scope| scope.number)
            .collect();
        let fixup = Fixup {
            target,
            scopes,
            label: label.to_owned(),
            line: self.syntax.line,
            instruction: self.instruction(),
        };
        self.decoder.body.fixups.push(fixup);
    }
}
