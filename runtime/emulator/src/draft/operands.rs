//! Operands: registers, constants, variables and addresses become slots.

use super::helpers::{AddOffset, ConstantPredicate, Extend, Truncate, extension, frame_address};
use super::scope::{Location, Symbol};
use super::text::Draft;
use crate::count::Class;
use crate::error::Error;
use crate::machine::action::Action;
use crate::machine::lanes::{LaneFunction, function};
use crate::machine::program::{Constant, Use};
use crate::machine::registers::{Slot, Slots};
use crate::numerics::exact::{Format, Rounding};
use crate::numerics::round_f64;
use crate::parse::syntax::{Operand, Space, Type};

/// A resolved address operand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Address {
    /// The 64-bit register with the base.
    pub base: Slot,
    pub offset: i32,
    /// The state space of the variable that the operand names, if it names one.
    pub space: Option<Space>,
}

impl<'d> Draft<'d, '_> {
    /// The declared type of a register operand.
    pub fn register_type(&mut self, operand: &Operand) -> Option<Type> {
        self.register(operand).map(|(_, ty, _)| ty)
    }

    /// The name, declared type and slot of a register operand.
    fn register<'o>(&mut self, operand: &'o Operand) -> Option<(&'o str, Type, Slot)> {
        let Operand::Name(name) = operand else { return None };
        match self.decoder.lookup(name)? {
            Symbol::Register { ty, slot } => Some((name, ty, slot)),
            Symbol::Variable { .. } | Symbol::Vector { .. } => None,
        }
    }

    /// The slot of a source: a register of the type's width, a special register or a constant.
    pub fn source(&mut self, index: usize, ty: Type) -> Result<Slot, Error> {
        let operand = self.operand(index)?;
        self.source_of(operand, ty)
    }

    pub fn source_of(&mut self, operand: &Operand, ty: Type) -> Result<Slot, Error> {
        if let Some((name, declared, _)) = self.register(operand)
            && declared.size() != ty.size()
        {
            return Err(self.invalid(format!("`{name}` is {declared} where {ty} is needed")));
        }
        self.relaxed_source_of(operand, ty)
    }

    /// The slot of a source of `cvt` or `st`, whose register may be wider than the type. The low bits count.
    pub fn relaxed_source_of(&mut self, operand: &Operand, ty: Type) -> Result<Slot, Error> {
        if let Some((name, declared, slot)) = self.register(operand) {
            return self.register_source(name, declared, slot, ty);
        }
        match operand {
            Operand::Name(name) if self.decoder.lookup(name).is_some() => {
                Err(self.invalid(format!("`{name}` is a variable, not a register")))
            }
            Operand::Name(name) => self.special(name, ty),
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

    fn register_source(&mut self, name: &str, declared: Type, slot: Slot, ty: Type) -> Result<Slot, Error> {
        self.check_fits(name, declared, ty)?;
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
            self.push_operation(
                Action::Lanes(function::<Truncate>()),
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

    /// The slot of a destination register of the type's width.
    pub fn target(&mut self, index: usize, ty: Type) -> Result<Slot, Error> {
        let operand = self.operand(index)?;
        self.target_of(operand, ty)
    }

    pub fn target_of(&mut self, operand: &Operand, ty: Type) -> Result<Slot, Error> {
        let Some((name, declared, slot)) = self.target_register(operand)? else {
            return Ok(self.fresh(ty));
        };
        if (declared == Type::Pred) != (ty == Type::Pred) || declared.size() != ty.size() {
            return Err(self.invalid(format!("`{name}` is {declared} where {ty} is needed")));
        }
        self.writes.push(match ty {
            Type::Pred => Use::Predicate(slot),
            _ => Use::Row(slot),
        });
        Ok(slot)
    }

    /// The slot of a destination that the instruction itself extends to the register's width, as loads do.
    pub fn wide_target_of(&mut self, operand: &Operand, ty: Type) -> Result<Slot, Error> {
        let Some((name, declared, slot)) = self.target_register(operand)? else {
            return Ok(self.fresh(ty));
        };
        self.check_fits(name, declared, ty)?;
        self.writes.push(Use::Row(slot));
        Ok(slot)
    }

    /// The slot of the destination of `cvt`. A register wider than the type takes the value sign-extended if the type
    /// is a signed integer, else zero-extended.
    pub fn extended_target(&mut self, index: usize, ty: Type) -> Result<Slot, Error> {
        let operand = self.operand(index)?;
        let Some((name, declared, slot)) = self.target_register(operand)? else {
            return Ok(self.fresh(ty));
        };
        self.check_fits(name, declared, ty)?;
        let Some(extend) = extension(ty, declared) else {
            self.writes.push(Use::Row(slot));
            return Ok(slot);
        };
        let narrow = self.fresh(ty);
        self.writes.push(Use::Row(narrow));
        let slots = Slots {
            to: slot,
            from: [narrow, 0, 0, 0],
            extra: 0,
        };
        self.after.push((extend, slots, narrow, slot));
        Ok(narrow)
    }

    /// The name, declared type and slot of a destination; `None` for `_`.
    fn target_register<'o>(&mut self, operand: &'o Operand) -> Result<Option<(&'o str, Type, Slot)>, Error> {
        match (self.register(operand), operand) {
            (Some(register), _) => Ok(Some(register)),
            (None, Operand::Sink) => Ok(None),
            (None, Operand::Name(name)) => Err(self.invalid(format!("no register `{name}`"))),
            (None, _) => Err(self.invalid("a destination that is not a register")),
        }
    }

    /// Checks that a register is at least as wide as a type.
    fn check_fits(&self, name: &str, declared: Type, ty: Type) -> Result<(), Error> {
        if declared == Type::Pred || ty == Type::Pred {
            return Err(self.invalid(format!("`{name}` is {declared} where {ty} is needed")));
        }
        if declared.size() < ty.size() {
            return Err(self.invalid(format!("`{name}` is {declared}, too narrow for {ty}")));
        }
        Ok(())
    }

    /// The slot of a predicate that the instruction reads.
    pub(super) fn predicate(&mut self, name: &str) -> Result<Slot, Error> {
        match self.decoder.lookup(name) {
            Some(Symbol::Register { ty: Type::Pred, slot }) => {
                self.reads.push(Use::Predicate(slot));
                Ok(slot)
            }
            _ => Err(self.invalid(format!("no predicate `{name}`"))),
        }
    }

    /// The slot of a predicate source, and `true` if it is negated.
    pub fn predicate_source(&mut self, index: usize) -> Result<(Slot, bool), Error> {
        match self.operand(index)? {
            Operand::Name(name) => Ok((self.predicate(name)?, false)),
            Operand::Not(name) => Ok((self.predicate(name)?, true)),
            Operand::Integer(value) => {
                let slot = self.constant_predicate(*value != 0);
                Ok((slot, false))
            }
            _ => Err(self.invalid("an operand that is not a predicate")),
        }
    }

    fn constant_predicate(&mut self, value: bool) -> Slot {
        let slot = self.fresh(Type::Pred);
        self.ahead(
            Action::Lanes(function::<ConstantPredicate>()),
            Slots {
                to: slot,
                extra: value.into(),
                ..Slots::default()
            },
            Use::Predicate(slot),
        );
        slot
    }

    /// `true` if the operand is a predicate.
    pub fn is_predicate(&mut self, index: usize) -> Result<bool, Error> {
        let operand = self.operand(index)?;
        Ok(matches!(operand, Operand::Not(_)) || self.register_type(operand) == Some(Type::Pred))
    }

    /// The slot of an address with its offset, which a helper adds.
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
        self.helper_with(function::<AddOffset>(), slots, sum);
        sum
    }

    /// The value of a constant operand.
    pub fn immediate(&self, index: usize) -> Result<u64, Error> {
        match self.operand(index)? {
            Operand::Integer(value) => Ok(*value),
            _ => Err(self.invalid(format!("operand {} must be a constant", index + 1))),
        }
    }

    /// The location of the variable that an operand names, and an offset.
    pub fn variable(&mut self, operand: &Operand) -> Option<(Location, i64)> {
        let (name, offset) = match operand {
            Operand::Name(name) => (name, 0),
            Operand::Offset(name, offset) => (name, *offset),
            _ => return None,
        };
        match self.decoder.lookup(name)? {
            Symbol::Variable { location, .. } => Some((location, offset)),
            Symbol::Register { .. } | Symbol::Vector { .. } => None,
        }
    }

    /// The slot of the address of a location plus an offset.
    pub fn address_of(&mut self, location: Location, offset: i64) -> Slot {
        match location {
            Location::Shared(at) => self.wide_constant(u64::from(at).wrapping_add_signed(offset)),
            Location::Constant(at) => self.wide_constant(at.wrapping_add_signed(offset)),
            Location::Parameter(at) => self.wide_constant(u64::from(at).wrapping_add_signed(offset)),
            Location::Global(at) => self.decoder.constant(Constant::Global(at.wrapping_add_signed(offset))),
            Location::Frame(at) => {
                let slot = self.fresh(Type::B64);
                let slots = Slots {
                    to: slot,
                    from: [0; 4],
                    extra: u64::from(at).wrapping_add_signed(offset),
                };
                self.ahead(Action::Warp(frame_address), slots, Use::Row(slot));
                slot
            }
        }
    }

    /// The state space of a location.
    pub fn space_of(&self, location: Location) -> Space {
        match location {
            Location::Shared(_) => Space::Shared,
            Location::Frame(_) => Space::Local,
            Location::Global(_) => Space::Global,
            Location::Constant(_) => Space::Constant,
            Location::Parameter(_) => Space::Parameter,
        }
    }

    /// Resolves an address operand `[…]`.
    pub fn address(&mut self, index: usize) -> Result<Address, Error> {
        let operand = self.operand(index)?;
        self.address_operand(operand)
    }

    pub fn address_operand(&mut self, operand: &Operand) -> Result<Address, Error> {
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
            Some(Symbol::Variable { location, .. }) => {
                let space = Some(self.space_of(location));
                Ok(Address {
                    base: self.address_of(location, *offset),
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
                self.helper(function::<Extend>(), slot, extended);
                Ok(Address {
                    base: extended,
                    offset,
                    space: None,
                })
            }
            _ => Err(self.invalid(format!("no register or variable `{name}`"))),
        }
    }

    /// The operands in braces, or the single operand.
    pub fn elements(&self, index: usize) -> Result<Vec<&'d Operand>, Error> {
        Ok(match self.operand(index)? {
            Operand::Vector(elements) => elements.iter().collect(),
            operand => vec![operand],
        })
    }
    /// Emits a parallel move: all values are read before the first one is written.
    pub fn emit_moves(
        &mut self,
        function: LaneFunction,
        ty: Type,
        to: &[Operand],
        from: &[Operand],
    ) -> Result<(), Error> {
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
}
