//! Operands: registers, constants, variables and addresses become slots.

use super::draft::Result_;
use super::{Address, COMPONENTS, Draft, Place, Symbol, function_address};
use crate::count::Class;
use crate::execute;
use crate::execute::lanes::{Slots, function};
use crate::layout::RESERVED_SHARED;
use crate::machine::registers::Slot;
use crate::numerics::exact::{Format, Rounding};
use crate::numerics::round_f64;
use crate::parse::syntax::{Operand, Prototype, Space, Type};
use crate::program::*;

/// Whether a name is one of `%envreg0` to `%envreg31`.
fn is_environment(name: &str) -> bool {
    let number = name.strip_prefix("%envreg");
    number.is_some_and(|number| (0..32).any(|known: u32| known.to_string() == number))
}

impl<'d, 'm> Draft<'d, 'm> {
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

    /// A source of an instruction: a register of the type's width, a special register or a constant.
    pub fn source(&mut self, index: usize, ty: Type) -> Result_<Slot> {
        let operand = self.operand(index)?;
        self.source_of(operand, ty)
    }

    pub fn source_of(&mut self, operand: &Operand, ty: Type) -> Result_<Slot> {
        if let Some((name, declared, _)) = self.register(operand)
            && declared.size() != ty.size()
        {
            return Err(self.invalid(format!("`{name}` is {declared} where {ty} is needed")));
        }
        self.relaxed_source_of(operand, ty)
    }

    /// A source of `cvt` or `st`: its register may be wider than the type, whose bits are the register's lowest.
    pub fn relaxed_source_of(&mut self, operand: &Operand, ty: Type) -> Result_<Slot> {
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

    fn register_source(&mut self, name: &str, declared: Type, slot: Slot, ty: Type) -> Result_<Slot> {
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
        let axis = COMPONENTS[0]
            .iter()
            .position(|name| *name == axis)
            .map(|axis| axis as u8);
        let special = match (base, axis) {
            // Vectors have four components, of which nothing is in the last.
            (
                "%tid" | "%ntid" | "%ctaid" | "%nctaid" | "%clusterid" | "%nclusterid" | "%cluster_ctaid"
                | "%cluster_nctaid",
                Some(3),
            ) => return Ok(self.number(0, ty)),
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
            ("%aggr_smem_size", None) => Special::TotalAndReservedShared,
            ("%reserved_smem_offset_begin" | "%reserved_smem_offset_0", None) => return Ok(self.number(0, ty)),
            ("%reserved_smem_offset_end" | "%reserved_smem_offset_cap", None) => {
                return Ok(self.number(RESERVED_SHARED, ty));
            }
            // The part that device libraries use, of at least 288 bytes.
            ("%reserved_smem_offset_1", None) => return Ok(self.number(RESERVED_SHARED / 2, ty)),
            // What drivers tell kernels; zeros are what CUDA's tells those whose launch is not cooperative.
            (name, None) if is_environment(name) => return Ok(self.number(0, ty)),
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

    /// A constant of the type's width.
    fn number(&mut self, value: u32, ty: Type) -> Slot {
        match ty.size() {
            8 => self.wide_constant(value.into()),
            _ => self.narrow_constant(value),
        }
    }

    fn clock(&mut self, name: &str, ty: Type) -> Slot {
        let wide = self.fresh(Type::B64);
        let slots = Slots {
            to: wide,
            ..Slots::default()
        };
        self.ahead(Action::Machine(execute::data::read_clock), slots, Use::Row(wide));
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

    /// A destination register of the type's width.
    pub fn target(&mut self, index: usize, ty: Type) -> Result_<Slot> {
        let operand = self.operand(index)?;
        self.target_of(operand, ty)
    }

    pub fn target_of(&mut self, operand: &Operand, ty: Type) -> Result_<Slot> {
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

    /// A destination that an instruction extends to the register's width by itself, as loads do.
    pub fn wide_target_of(&mut self, operand: &Operand, ty: Type) -> Result_<Slot> {
        let Some((name, declared, slot)) = self.target_register(operand)? else {
            return Ok(self.fresh(ty));
        };
        self.check_fits(name, declared, ty)?;
        self.writes.push(Use::Row(slot));
        Ok(slot)
    }

    /// The destination of `cvt`. A register that is wider than the type takes the value extended: by its sign if the
    /// type is a signed integer, else by zeros.
    pub fn extended_target(&mut self, index: usize, ty: Type) -> Result_<Slot> {
        let operand = self.operand(index)?;
        let Some((name, declared, slot)) = self.target_register(operand)? else {
            return Ok(self.fresh(ty));
        };
        self.check_fits(name, declared, ty)?;
        let Some(extend) = execute::data::extension(ty, declared) else {
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

    /// The name, declared type and slot of a destination; none for `_`.
    fn target_register<'o>(&mut self, operand: &'o Operand) -> Result_<Option<(&'o str, Type, Slot)>> {
        match (self.register(operand), operand) {
            (Some(register), _) => Ok(Some(register)),
            (None, Operand::Sink) => Ok(None),
            (None, Operand::Name(name)) => Err(self.invalid(format!("no register `{name}`"))),
            (None, _) => Err(self.invalid("a destination that is not a register")),
        }
    }

    /// Checks that a register is at least as wide as a type.
    fn check_fits(&self, name: &str, declared: Type, ty: Type) -> Result_<()> {
        if declared == Type::Pred || ty == Type::Pred {
            return Err(self.invalid(format!("`{name}` is {declared} where {ty} is needed")));
        }
        if declared.size() < ty.size() {
            return Err(self.invalid(format!("`{name}` is {declared}, too narrow for {ty}")));
        }
        Ok(())
    }

    pub(super) fn predicate(&mut self, name: &str) -> Result_<Slot> {
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
        self.ahead(
            Action::Lanes(function::<execute::data::SetPredicate>()),
            Slots {
                to: slot,
                extra: value.into(),
                ..Slots::default()
            },
            Use::Predicate(slot),
        );
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
            Symbol::Register { .. } | Symbol::Vector { .. } => None,
        }
    }

    /// The address of the function of that name; a kernel has none here.
    pub fn function_pointer(&mut self, name: &str) -> Option<Option<u64>> {
        let functions = &self.decoder.unit.functions;
        let function = functions.iter().position(|function| function.name == name)?;
        if functions[function].is_entry {
            return Some(None);
        }
        self.decoder.request(function);
        Some(Some(function_address(function)))
    }

    /// The function that an operand names, and what it takes and gives.
    pub fn function_named(&mut self, name: &str) -> Option<(usize, Prototype)> {
        let functions = &self.decoder.unit.functions;
        let function = functions
            .iter()
            .position(|function| function.name == name && !function.is_entry)?;
        let prototype = functions[function].prototype();
        Some((self.decoder.request(function), prototype))
    }

    pub fn address_of(&mut self, place: Place, offset: i64) -> Slot {
        match place {
            Place::Shared(at) => self.wide_constant(u64::from(at).wrapping_add_signed(offset)),
            Place::Constant(at) => self.wide_constant(at.wrapping_add_signed(offset)),
            Place::Parameter(at) => self.wide_constant(u64::from(at).wrapping_add_signed(offset)),
            Place::Global(at) => self.decoder.constant(Constant::Global(at.wrapping_add_signed(offset))),
            Place::Frame(at) => {
                let slot = self.fresh(Type::B64);
                let slots = Slots {
                    to: slot,
                    from: [0; 4],
                    extra: u64::from(at).wrapping_add_signed(offset),
                };
                self.ahead(Action::Machine(execute::data::frame_address), slots, Use::Row(slot));
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
}
