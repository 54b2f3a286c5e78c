//! Reads: where they may happen, and how neighbours are loaded at once.

use super::{Access, Binding, Byte, InSequence, InputValue, Lanes, Load, Lowering, Numbered, Reduce, width_of};
use crate::element::{Element, Type};
use crate::ir::{Expr, ExprId, InputId, LetId, SizeId, Source};
use crate::lower::Error;
use crate::lower::arithmetic;
use crate::lower::index::Linear;
use crate::lower::value::{self, Value, class_of};
use crate::ptx::{Address, Builder, Cache, Class, Compare, Few, Guard, Opcode, Operand, Reg, Space, Width};

impl Lowering<'_> {
    /// Issues the loads of inputs in an expression, and nothing that waits for them. Its value, asked for later in the same region, uses them.
    ///
    /// # Errors
    /// As of lowering.
    pub fn touch(&mut self, expr: ExprId, family: &mut dyn Reduce) -> Result<(), Error> {
        let op = self.op();
        match op.expr(expr) {
            Expr::Read {
                source: Source::Input(_),
                ..
            } => self.read_stored(expr, family).map(|_| ()),
            Expr::Read {
                source: Source::Let(_),
                index,
                ..
            } => match index.iter().all(|&at| matches!(op.expr(at), Expr::Axis(_))) {
                true => self.read(expr, true, family).map(|_| ()),
                // Other indices may be values that are loaded.
                false => Ok(()),
            },
            // A reduction has loads of its own.
            Expr::Reduce { .. } => Ok(()),
            _ => {
                let mut operands = Vec::new();
                op.operands(expr, |operand| operands.push(operand));
                operands.into_iter().try_for_each(|operand| self.touch(operand, family))
            }
        }
    }

    /// Emits a part of an intermediate tensor where its axes have these values.
    fn inside_let<T>(&mut self, inner: LetId, bindings: Vec<Binding>, emit: impl FnOnce(&mut Self, ExprId) -> T) -> T {
        let entry = &self.op().lets[inner.index()];
        let saved: Vec<Option<Binding>> = entry.axes.iter().map(|axis| self.bindings.get(axis).cloned()).collect();
        for (&axis, binding) in entry.axes.iter().zip(bindings) {
            self.bind(axis, binding);
        }
        let emitted = emit(self, entry.body);
        for (&axis, binding) in entry.axes.iter().zip(saved) {
            match binding {
                Some(binding) => self.bind(axis, binding),
                None => {
                    self.bindings.remove(&axis);
                }
            }
        }
        emitted
    }

    /// The element that a read of an input yields, as it is stored; 0 where it is not read.
    ///
    /// # Errors
    /// As of lowering.
    pub fn stored(&mut self, expr: ExprId) -> Result<Reg, Error> {
        self.read_stored(expr, &mut InSequence)
    }

    /// The same, by way of a family's [`Reduce::elements`].
    ///
    /// # Errors
    /// As of lowering.
    pub fn read_stored(&mut self, expr: ExprId, family: &mut dyn Reduce) -> Result<Reg, Error> {
        Ok(self.read(expr, true, family)?.reg(&mut self.b))
    }

    /// The value of a read. If it is only touched, the element as it is stored, or 0 for an intermediate tensor.
    pub(super) fn read(&mut self, expr: ExprId, touched: bool, family: &mut dyn Reduce) -> Result<Value, Error> {
        let checked = self.checked;
        let Expr::Read { source, ref index, or } = *self.op().expr(expr) else {
            return Err(Error::Unbound);
        };
        let extents: Vec<SizeId> = match source {
            Source::Input(input) => self.op().inputs[input.index()].dims.clone().unwrap_or_default(),
            Source::Let(inner) => self.op().lets[inner.index()]
                .axes
                .iter()
                .map(|&axis| checked.extent(axis))
                .collect(),
        };
        let mut indices = Vec::with_capacity(index.len());
        // Where the read may happen, and where its index is in range.
        let (mut guard, mut in_range) = (None, None);
        // Dimensions whose index is to be compared with the extent.
        let mut compared = Vec::new();
        // For each dimension the guard of its axes, and the comparison of its index with the extent.
        let mut guards = Vec::with_capacity(index.len());
        for (dimension, (&at, &size)) in index.iter().zip(&extents).enumerate() {
            let (mut own_guard, mut own_range) = (None, None);
            let gathered = checked.gathered(expr, dimension);
            let unproved = gathered || ((or.is_some() || self.compared) && !checked.proven(expr, dimension));
            let in_64 = self.needs_64(at, size, gathered, unproved);
            let value = if gathered || in_64 {
                let value = match in_64 {
                    true => self.index_in_64(at, family)?,
                    false => self.value_as(at, Type::I32, family)?,
                };
                own_range = unproved.then(|| self.is_inside(value, size));
                let own = self.index_type();
                let value = value.to(&mut self.b, own);
                self.linear_of(value)
            } else {
                if unproved {
                    compared.push(dimension);
                }
                self.index(at, family)?
            };
            if !checked.proven(expr, dimension) && (gathered || or.is_none()) {
                own_guard = self.condition;
            }
            for axis in checked.axes(at).iter() {
                let of_axis = self.binding(axis)?.guard;
                own_guard = self.both(own_guard, of_axis);
            }
            guards.push((own_guard, own_range));
            indices.push(value);
        }
        let access = match source {
            Source::Input(input) => Some(self.access(input, &indices, &extents)?),
            Source::Let(_) => None,
        };
        for dimension in compared {
            // All elements of a vector are in range, or none: one comparison and one load serve all of them.
            let lane = match access {
                Some((_, lane)) if dimension + 1 == indices.len() => lane,
                _ => 0,
            };
            let value = indices[dimension].plus_constant(-lane);
            guards[dimension].1 = self.inside(&value, extents[dimension]);
        }
        for &(own_guard, own_range) in &guards {
            guard = self.both(guard, own_guard);
            in_range = self.both(in_range, own_range);
        }
        if or.is_none() && !touched && !self.compared {
            self.report_gathered(guard, in_range);
        }
        let all = self.both(guard, in_range);
        let value = match source {
            Source::Input(input) => {
                let element = self.op().inputs[input.index()].element;
                let Some((access, lane)) = access else {
                    return Err(Error::Unbound);
                };
                let access = Access { guard: all, ..access };
                let stored = family.elements(self, &access)[lane as usize];
                if touched {
                    return Ok(Value::new(element.compute(), stored));
                }
                value::from_storage(&mut self.b, element, stored)
            }
            Source::Let(inner) => {
                let guarded = indices.into_iter().zip(guards);
                let bindings = guarded.map(|(value, (own_guard, own_range))| Binding {
                    value,
                    guard: self.both(own_guard, own_range),
                });
                let bindings = bindings.collect();
                let ty = self.ty(expr);
                let outer = self.condition;
                // An index that is in range only under a condition makes the whole value conditional.
                self.condition = if all.is_some() { self.both(outer, all) } else { outer };
                let value = self.inside_let(inner, bindings, |lowering, body| match touched {
                    true => lowering.touch(body, family).map(|()| None),
                    false => lowering.value_as(body, ty, family).map(Some),
                });
                self.condition = outer;
                match value? {
                    Some(value) => value,
                    None => return Ok(Value::zero(&mut self.b, ty)),
                }
            }
        };
        match (or, in_range) {
            (Some(or), Some(in_range)) => {
                let or = self.value_as(or, value.ty, family)?;
                // Elements that were not loaded are 0.
                if is_zero(or) && matches!(source, Source::Input(_)) && value.ty != Type::Bool {
                    return Ok(value);
                }
                Ok(arithmetic::select(&mut self.b, in_range, value, or))
            }
            (None, Some(in_range)) if matches!(source, Source::Let(_)) => {
                let zero = Value::zero(&mut self.b, value.ty);
                Ok(arithmetic::select(&mut self.b, in_range, value, zero))
            }
            _ => Ok(value),
        }
    }

    /// `true` if an index, in the type it has, is within an extent.
    fn is_inside(&mut self, index: Value, size: SizeId) -> Reg {
        let extent = self.size(size);
        let extent = self.index_value(&extent, index.ty);
        self.b
            .compare_unsigned(Compare::Lt, class_of(index.ty), index.operand, extent.operand)
    }

    /// Where an index is within an extent; none if it certainly is.
    fn inside(&mut self, value: &Linear, size: SizeId) -> Option<Reg> {
        let extent = self.size(size);
        if let (Some(value), Some(extent)) = (value.as_constant(), extent.as_constant())
            && (0..extent).contains(&value)
        {
            return None;
        }
        let class = self.math.class();
        let value = self.math.operand(&mut self.b, value);
        let extent = self.math.operand(&mut self.b, &extent);
        // Negative ones are large when read as unsigned.
        Some(self.b.compare_unsigned(Compare::Lt, class, value, extent))
    }

    /// Sets the error word where a gathered index is out of range, if the kernel was asked to.
    fn report_gathered(&mut self, wanted: Option<Reg>, in_range: Option<Reg>) {
        let (Some(word), Some(in_range)) = (self.index_errors, in_range) else {
            return;
        };
        let outside = self.b.op(Opcode::NotPred, &[in_range.into()]);
        let condition = self.both(Some(outside), wanted);
        let condition = self.both(condition, self.condition);
        if let Some(predicate) = condition {
            let one = self.b.constant(Class::B32, 1.into());
            self.b.store(
                Space::Global,
                Width::B32,
                Address { base: word, offset: 0 },
                &[one.into()],
                Cache::Normal,
                Some(Guard { predicate, holds: true }),
            );
        }
    }

    /// The neighbours to load for the element of an input at these indices, and which of them it is. The guard is left open.
    fn access(&mut self, input: InputId, indices: &[Linear], extents: &[SizeId]) -> Result<(Access, i64), Error> {
        let element = self.op().inputs[input.index()].element;
        let InputValue::Tensor(base) = self.inputs[input.index()] else {
            return Err(Error::Unbound);
        };
        let offset = self.offset(indices, extents);
        let count = self.vector_width(element, &offset, extents.last().copied());
        let lane = offset.constant_part().rem_euclid(i64::from(count));
        let access = Access {
            input,
            base,
            element,
            first: offset.plus_constant(-lane),
            count,
            guard: None,
        };
        Ok((access, lane))
    }

    /// The number of the element at these indices, row-major.
    pub fn offset(&mut self, indices: &[Linear], extents: &[SizeId]) -> Linear {
        if let Some(offset) = self.at.as_ref().and_then(|at| at.beside(indices, extents)) {
            return offset;
        }
        let mut offset = Linear::constant(0);
        let mut stride = Linear::constant(1);
        for (index, &size) in indices.iter().zip(extents).rev() {
            offset = offset.plus(&self.product(index, &stride));
            stride = self.product(&stride, &self.size(size));
        }
        offset
    }

    /// The number of neighbours to load at once: contiguous over the lanes, aligned, never across the end.
    fn vector_width(&self, element: Element, offset: &Linear, innermost: Option<SizeId>) -> u32 {
        let contiguous = |lanes: &Lanes| {
            offset.terms().iter().any(|&(reg, coefficient)| {
                let step = match reg == lanes.register {
                    true => Some(i64::from(lanes.width)),
                    false => self.lane_registers.get(&reg).copied(),
                };
                // Neighbours, or every other one.
                step.is_some_and(|step| [step, 2 * step].contains(&coefficient))
            })
        };
        let lanes = [self.lanes, self.across].into_iter().flatten().find(contiguous);
        let (Some(lanes), Some(innermost)) = (lanes, innermost) else {
            return 1;
        };
        if !self.specialisation.aligned {
            return 1;
        }
        let divisible = if self.flat { 16 } else { self.size_multiple(innermost) };
        (16 / element.size())
            .min(lanes.width)
            .min(self.terms_multiple(offset))
            .min(divisible)
    }

    /// Loads neighbours in as few instructions as their number allows, in storage form.
    pub fn load_elements(&mut self, access: &Access) -> Few<Reg> {
        self.load_elements_by(access, &mut Builder::load)
    }

    /// The same, where a family loads in its own way.
    pub fn load_elements_by(&mut self, access: &Access, load: &mut Load<'_>) -> Few<Reg> {
        let size = access.element.size();
        let address = self.math.address(&mut self.b, access.base, &access.first, size);
        let guard = access.guard.map(|predicate| Guard { predicate, holds: true });
        let cache = self.read_cache;
        self.unpacked(access.element, access.count, |b, width, count, byte| {
            let address = Address {
                offset: address.offset.wrapping_add(byte),
                ..address
            };
            load(b, width, count, address, cache, guard)
        })
    }

    /// The same from shared memory, where this thread has put them with [`Lowering::keep_elements`].
    pub fn kept_elements(&mut self, element: Element, count: u32, address: Address) -> Few<Reg> {
        self.unpacked(element, count, |b, width, count, byte| {
            let address = Address {
                offset: address.offset.wrapping_add(byte),
                ..address
            };
            b.load_here(Space::Shared, width, count, address)
        })
    }

    /// Puts elements into shared memory, here.
    pub fn keep_elements(&mut self, element: Element, elements: &[Reg], address: Address) {
        let elements: Few<Operand> = elements.iter().map(|&reg| reg.into()).collect();
        let (width, packed) = self.pack(element, &elements);
        self.b
            .store(Space::Shared, width, address, &packed, Cache::Normal, None);
    }

    /// `load` loads so many words of a width, from so many bytes on; what they hold is taken apart.
    fn unpacked(
        &mut self,
        element: Element,
        count: u32,
        mut load: impl FnMut(&mut Builder, Width, usize, i32) -> Few<Reg>,
    ) -> Few<Reg> {
        let (width, count) = (width_of(element), count as usize);
        match (width, count) {
            (_, 1) => load(&mut self.b, width, 1, 0),
            (Width::B16, _) => {
                let words = load(&mut self.b, Width::B32, count / 2, 0);
                words
                    .into_iter()
                    .flat_map(|word| self.b.ops(Opcode::HalvesB32, &[word.into()]))
                    .collect()
            }
            (Width::U8 | Width::S8, 2) => {
                let half = load(&mut self.b, Width::B16, 1, 0)[0];
                let word = self.b.op(Opcode::CvtU32U16, &[half.into()]);
                let mut bytes = self.bytes_of(word, width == Width::S8);
                bytes.truncate(2);
                bytes
            }
            (Width::U8 | Width::S8, _) => {
                let words = load(&mut self.b, Width::B32, count / 4, 0);
                let signed = width == Width::S8;
                words.into_iter().flat_map(|word| self.bytes_of(word, signed)).collect()
            }
            _ => load(&mut self.b, width, count, 0),
        }
    }

    /// The four bytes of a word, extended to 32 bits.
    fn bytes_of(&mut self, word: Reg, signed: bool) -> Few<Reg> {
        (0..4)
            .map(|number| {
                let byte = if signed {
                    let up = self.b.op(Opcode::ShlB32, &[word.into(), (24 - 8 * number).into()]);
                    self.b.op(Opcode::ShrS32, &[up.into(), 24.into()])
                } else {
                    let down = self.b.op(Opcode::ShrU32, &[word.into(), (8 * number).into()]);
                    self.b.op(Opcode::AndB32, &[down.into(), 255.into()])
                };
                self.bytes.insert(byte, Byte { word, number, signed });
                byte
            })
            .collect()
    }
}

impl Numbered {
    /// The number of an element of the same row in a tensor of the same dimensions.
    fn beside(&self, indices: &[Linear], dims: &[SizeId]) -> Option<Linear> {
        let ([leading @ .., last], [own @ .., own_last]) = (indices, self.coordinates.as_slice()) else {
            return None;
        };
        let distance = last.plus(&own_last.times(-1)).as_constant()?;
        (dims == self.dims && leading == own).then(|| self.number.plus_constant(distance))
    }
}

fn is_zero(value: Value) -> bool {
    matches!(value.operand, Operand::Int(0) | Operand::F32(0) | Operand::F64(0))
}
