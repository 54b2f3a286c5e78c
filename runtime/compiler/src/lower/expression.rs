//! Expressions as instructions.
//!
//! [`Lowering`] holds one kernel under construction. A family binds axes to index values, asks for the value of an
//! expression, and stores it; what it may decide besides is how a reduction is done ([`Reduce`]).
//!
//! What keeps memory safe: a read whose index is in range at every size (`Checked::proven`) needs no condition but the
//! ones its axes carry ([`Binding::guard`]: lanes beyond the end of a row, say). Any other read is made only where all
//! conditions around it hold, and where its index is in range if that is known only at run time.

use super::index::{IndexMath, Linear};
use super::value::{self, Value, class_of, select_of};
use super::{Error, math};
use crate::check::Checked;
use crate::element::{Element, Type};
use crate::ir::{AxisId, BinaryOp, Expr, ExprId, InputId, Op, ReduceOp, SizeId, Source};
use crate::kernel::Parameter;
use crate::ptx::builder::{Location, move_of};
use crate::ptx::{Address, Builder, Cache, Class, Compare, Few, Guard, Opcode, Operand, Reg, Space, Turns, Width};
use crate::size::Specialisation;
use rustc_hash::FxHashMap;

/// An axis's value in the code being made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Binding {
    /// The index.
    pub value: Linear,
    /// Holds where the index is within the axis's extent; none if it always is.
    pub guard: Option<Reg>,
}

impl Binding {
    /// A value that is in range.
    pub fn of(value: Linear) -> Binding {
        Binding { value, guard: None }
    }
}

/// How a family does reductions: called for those that stand nowhere inside another reduction.
pub trait Reduce {
    /// The value of `expr`, a reduction, where its free axes are bound as they are; `None` to do it in sequence.
    ///
    /// # Errors
    /// As of lowering.
    fn reduce(&mut self, lowering: &mut Lowering<'_>, expr: ExprId) -> Result<Option<Value>, Error>;

    /// Elements of an input as they are stored. A family that has kept them need not load them.
    fn elements(&mut self, lowering: &mut Lowering<'_>, access: &Access) -> Few<Reg> {
        lowering.load_elements(access)
    }
}

/// Neighbouring elements of an input that are wanted.
#[derive(Debug, Clone)]
pub struct Access {
    /// The input.
    pub input: InputId,
    /// Where it lies.
    pub base: Reg,
    /// What it holds.
    pub element: Element,
    /// The number of the first one, row-major.
    pub first: Linear,
    /// How many: a power of two.
    pub count: u32,
    /// They are 0 where this does not hold.
    pub guard: Option<Reg>,
}

/// Reductions in sequence, by each thread for itself.
#[derive(Debug)]
pub struct InSequence;

impl Reduce for InSequence {
    fn reduce(&mut self, _: &mut Lowering<'_>, _: ExprId) -> Result<Option<Value>, Error> {
        Ok(None)
    }
}

/// Neighbouring lanes that one thread computes together, so that their reads become vector loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lanes {
    /// An axis is bound to `register · width + lane + …`; a read whose offset has the coefficient `width` of this register is contiguous.
    pub register: Reg,
    /// Lanes.
    pub width: u32,
}

/// How so many words of a width are loaded, as [`Builder::load`] does it.
pub type Load<'a> = dyn FnMut(&mut Builder, Width, usize, Address, Cache, Option<Guard>) -> Few<Reg> + 'a;

type MemoKey = (ExprId, Vec<Binding>, Option<Reg>);

/// One kernel under construction.
#[derive(Debug)]
pub struct Lowering<'a> {
    /// The instructions.
    pub b: Builder,
    /// The operator.
    pub checked: &'a Checked,
    /// What is known of sizes and addresses.
    pub specialisation: &'a Specialisation,
    /// Index arithmetic.
    pub math: IndexMath,
    /// Lanes computed together at present.
    pub lanes: Option<Lanes>,
    /// Lanes in a second direction: along another axis.
    pub across: Option<Lanes>,
    /// Whether the innermost dimension is a whole tensor seen as one row, whose chunks certainly fit.
    pub flat: bool,
    /// Whether every index that is not proved in range is compared with its extent: what is computed where nobody may want it.
    pub compared: bool,
    /// Cache hint of reads of inputs.
    pub read_cache: Cache,
    parameters: Vec<Parameter>,
    inputs: Vec<InputValue>,
    outputs: Vec<Reg>,
    sizes: Vec<Linear>,
    index_errors: Option<Reg>,
    /// Registers of products with sizes: a power of two that divides them.
    multiples: FxHashMap<Reg, u32>,
    /// Registers of bytes: the word each is part of.
    bytes: FxHashMap<Reg, Byte>,
    bindings: FxHashMap<AxisId, Binding>,
    /// Holds where the expression at hand is wanted: the conditions of `if`s around it.
    condition: Option<Reg>,
    memo: FxHashMap<MemoKey, (Value, Location)>,
    serial_depth: u32,
}

/// A byte of a word.
#[derive(Debug, Clone, Copy)]
struct Byte {
    word: Reg,
    number: i64,
    signed: bool,
}

#[derive(Debug, Clone, Copy)]
enum InputValue {
    Tensor(Reg),
    Scalar(Value),
}

/// The width in memory of an element.
pub const fn width_of(element: Element) -> Width {
    match element {
        Element::F32 => Width::F32,
        Element::F64 => Width::F64,
        Element::F16 | Element::BF16 => Width::B16,
        Element::I8 => Width::S8,
        Element::U8 | Element::Bool => Width::U8,
        Element::I32 => Width::B32,
        Element::I64 => Width::B64,
    }
}

impl<'a> Lowering<'a> {
    /// A kernel that has read its parameters.
    pub fn new(checked: &'a Checked, specialisation: &'a Specialisation, name: &str, threads: u32) -> Lowering<'a> {
        let mut lowering = Lowering {
            b: Builder::new(name, threads),
            checked,
            specialisation,
            math: IndexMath {
                wide: specialisation.wide,
            },
            lanes: None,
            across: None,
            flat: false,
            compared: false,
            read_cache: Cache::Normal,
            parameters: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            sizes: Vec::new(),
            index_errors: None,
            multiples: FxHashMap::default(),
            bytes: FxHashMap::default(),
            bindings: FxHashMap::default(),
            condition: None,
            memo: FxHashMap::default(),
            serial_depth: 0,
        };
        lowering.read_parameters();
        lowering
    }

    /// The operator.
    pub fn op(&self) -> &'a Op {
        self.checked.op()
    }

    /// The address of an output.
    pub fn output_pointer(&self, output: usize) -> Reg {
        self.outputs[output]
    }

    /// What the kernel is passed, in order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    fn read_parameters(&mut self) {
        let op = self.op();
        for (number, input) in op.inputs.iter().enumerate() {
            self.parameters.push(Parameter::Input(InputId(number as u32)));
            let value = if input.dims.is_some() {
                InputValue::Tensor(self.pointer())
            } else {
                let width = width_of(input.element);
                let stored = self.b.parameter(width);
                InputValue::Scalar(value::from_storage(&mut self.b, input.element, stored))
            };
            self.inputs.push(value);
        }
        for number in 0..op.outputs.len() {
            self.parameters.push(Parameter::Output(number as u32));
            let pointer = self.pointer();
            self.outputs.push(pointer);
        }
        let width = if self.math.wide { Width::B64 } else { Width::B32 };
        for (number, extent) in self.specialisation.extents.iter().enumerate() {
            let size = match extent.fixed() {
                Some(value) => Linear::constant(value as i64),
                None => {
                    self.parameters.push(Parameter::Size(SizeId(number as u32)));
                    let reg = self.b.parameter(width);
                    self.multiples.insert(reg, extent.multiple_of());
                    Linear::register(reg)
                }
            };
            self.sizes.push(size);
        }
        if self.specialisation.check_indices {
            self.parameters.push(Parameter::IndexErrors);
            self.index_errors = Some(self.pointer());
        }
    }

    /// One more parameter, for memory of the kernel's own: its address.
    pub fn scratch(&mut self, parameter: Parameter) -> Reg {
        self.parameters.push(parameter);
        self.pointer()
    }

    fn pointer(&mut self) -> Reg {
        let generic = self.b.parameter(Width::B64);
        self.b.op(Opcode::ToGlobal, &[generic.into()])
    }

    // ------------------------------------------------------------------ sizes and axes

    /// A size: compiled in, or the kernel argument.
    pub fn size(&self, size: SizeId) -> Linear {
        self.sizes[size.index()].clone()
    }

    /// A power of two up to 16 that divides the size.
    pub fn size_multiple(&self, size: SizeId) -> u32 {
        self.specialisation.extents[size.index()].multiple_of()
    }

    /// The extent of an axis.
    pub fn extent(&self, axis: AxisId) -> Linear {
        self.size(self.checked.extent(axis))
    }

    /// The product of extents.
    pub fn volume(&mut self, sizes: &[SizeId]) -> Linear {
        let mut volume = Linear::constant(1);
        for &size in sizes {
            volume = self.product(&volume, &self.size(size));
        }
        volume
    }

    /// A product, remembering what divides it.
    fn product(&mut self, x: &Linear, y: &Linear) -> Linear {
        let product = self.math.product(&mut self.b, x, y);
        // A constant is a coefficient, which tells by itself.
        if let (None, None, &[(reg, _)]) = (x.as_constant(), y.as_constant(), product.terms()) {
            let multiple = self.multiple_of(x).saturating_mul(self.multiple_of(y)).min(16);
            self.multiples.entry(reg).or_insert(multiple);
        }
        product
    }

    /// A power of two up to 16 that divides the value, constants included.
    fn multiple_of(&self, value: &Linear) -> u32 {
        let constant = crate::size::Extent::alignment(value.constant_part().unsigned_abs());
        self.terms_multiple(value).min(constant)
    }

    fn terms_multiple(&self, value: &Linear) -> u32 {
        value
            .terms()
            .iter()
            .map(|(reg, coefficient)| {
                let of_register = self.multiples.get(reg).copied().unwrap_or(1);
                crate::size::Extent::alignment(coefficient.unsigned_abs())
                    .saturating_mul(of_register)
                    .min(16)
            })
            .min()
            .unwrap_or(16)
    }

    /// Notes that a power of two divides a register.
    pub fn note_multiple(&mut self, reg: Reg, multiple: u32) {
        self.multiples.insert(reg, multiple);
    }

    /// Binds an axis.
    pub fn bind(&mut self, axis: AxisId, binding: Binding) {
        self.bindings.insert(axis, binding);
    }

    /// An axis's binding.
    ///
    /// # Errors
    /// It has none: a defect of the family.
    pub fn binding(&self, axis: AxisId) -> Result<Binding, Error> {
        self.bindings.get(&axis).cloned().ok_or(Error::Unbound)
    }

    /// The conjunction of conditions.
    pub fn both(&mut self, a: Option<Reg>, b: Option<Reg>) -> Option<Reg> {
        match (a, b) {
            (Some(a), Some(b)) if a != b => Some(self.b.op(Opcode::AndPred, &[a.into(), b.into()])),
            (a, b) => a.or(b),
        }
    }

    /// The condition under which the expression at hand is wanted.
    pub fn condition(&self) -> Option<Reg> {
        self.condition
    }

    /// Goes where `bodies` are wanted only if all of these axes have elements, and returns the condition to go back to
    /// with [`Lowering::leave`]. A read that is in range only because it never happens may otherwise stand before the loop that never runs.
    pub fn enter(&mut self, axes: &[AxisId], bodies: &[ExprId]) -> Option<Reg> {
        let outside = self.condition;
        if bodies.iter().all(|&body| self.checked.unconditional(body)) {
            return outside;
        }
        for &axis in axes {
            let extent = self.extent(axis);
            if extent.as_constant().is_none_or(|extent| extent <= 0) {
                let runs = self.below(&Linear::constant(0), &extent);
                self.condition = self.both(self.condition, Some(runs));
            }
        }
        outside
    }

    /// Goes back to a condition that [`Lowering::enter`] returned.
    pub fn leave(&mut self, outside: Option<Reg>) {
        self.condition = outside;
    }

    // ------------------------------------------------------------------ values

    /// Makes `expr` have a value where its free axes are bound as they are now.
    ///
    /// # Errors
    /// An axis without a binding.
    pub fn define(&mut self, expr: ExprId, value: Value) -> Result<(), Error> {
        let (expr, bindings, _) = self.key(expr)?;
        let location = self.b.here();
        self.memo.insert((expr, bindings, None), (value, location));
        Ok(())
    }

    fn key(&self, expr: ExprId) -> Result<MemoKey, Error> {
        let bindings = self
            .checked
            .axes(expr)
            .iter()
            .map(|axis| self.binding(axis))
            .collect::<Result<_, _>>()?;
        // A value that may be computed anywhere does not depend on who wants it.
        let condition = self.condition.filter(|_| !self.checked.unconditional(expr));
        Ok((expr, bindings, condition))
    }

    /// The value of an expression in its own type.
    ///
    /// # Errors
    /// As of lowering.
    pub fn value(&mut self, expr: ExprId, family: &mut dyn Reduce) -> Result<Value, Error> {
        let key = self.key(expr)?;
        // What is known without a condition is known under any.
        let anywhere = (key.0, key.1.clone(), None);
        for known in [&key, &anywhere] {
            if let Some((value, location)) = self.memo.get(known)
                && self.b.reaches(*location)
            {
                return Ok(*value);
            }
        }
        let value = self.compute(expr, family)?;
        let depth = match value.operand {
            Operand::Reg(reg) => self.b.depth(reg).min(self.b.current_depth()),
            _ => 0,
        };
        let location = self.b.location(depth);
        self.memo.insert(key, (value, location));
        Ok(value)
    }

    /// The value of an expression in the given type.
    ///
    /// # Errors
    /// As of lowering.
    pub fn value_as(&mut self, expr: ExprId, ty: Type, family: &mut dyn Reduce) -> Result<Value, Error> {
        // A literal is rounded once, from the source's digits.
        if let Expr::Literal(literal) = self.op().expr(expr) {
            return Ok(Value::literal(&mut self.b, *literal, ty));
        }
        let value = self.value(expr, family)?;
        Ok(self.converted(value, ty))
    }

    /// The value in another type.
    fn converted(&mut self, value: Value, ty: Type) -> Value {
        let byte = match value.operand {
            Operand::Reg(reg) if ty == Type::F32 => self.bytes.get(&reg).copied(),
            _ => None,
        };
        let Some(Byte { word, number, signed }) = byte else {
            return value.to(&mut self.b, ty);
        };
        // Conversions of integers are issued at a quarter of the rate of arithmetic. A byte as the last of 2²³'s significand
        // is 2²³ more than itself; a signed one is made positive first.
        let (word, more) = if signed {
            let flipped = self.b.op(Opcode::XorB32, &[word.into(), 0x8080_8080.into()]);
            (flipped, TWO_TO_23 + 128.0)
        } else {
            (word, TWO_TO_23)
        };
        let exponent = i64::from(TWO_TO_23.to_bits());
        let sources = [word.into(), exponent.into(), (0x7540 + number).into()];
        let sum = self.b.op(Opcode::PrmtB32, &sources);
        let sum = self.b.op(Opcode::F32Bits, &[sum.into()]);
        Value::new(Type::F32, self.b.op(Opcode::SubF32, &[sum.into(), more.into()]))
    }

    fn compute(&mut self, expr: ExprId, family: &mut dyn Reduce) -> Result<Value, Error> {
        let op = self.op();
        let ty = self.checked.ty(expr);
        Ok(match op.expr(expr) {
            Expr::Literal(literal) => Value::literal(&mut self.b, *literal, ty),
            Expr::Size(size) => {
                let size = self.size(*size);
                self.index_value(&size, ty)
            }
            Expr::Axis(axis) => {
                let value = self.binding(*axis)?.value;
                self.index_value(&value, ty)
            }
            Expr::Scalar(input) => match self.inputs[input.index()] {
                InputValue::Scalar(value) => value,
                InputValue::Tensor(_) => return Err(Error::Unbound),
            },
            Expr::Read { .. } => self.read(expr, false, family)?,
            Expr::Unary(unary, a) => {
                let a = self.value_as(*a, ty, family)?;
                value::unary(&mut self.b, *unary, a)
            }
            Expr::Binary(binary, x, y) => self.binary(ty, *binary, *x, *y, family)?,
            Expr::Compare(compare, x, y) => {
                let operands = self.checked.operand_ty(expr);
                let x = self.value_as(*x, operands, family)?;
                let y = self.value_as(*y, operands, family)?;
                Value::new(Type::Bool, value::compare(&mut self.b, *compare, x, y))
            }
            Expr::Select {
                condition,
                accept,
                reject,
            } => {
                let condition = self.value(*condition, family)?.reg(&mut self.b);
                let accept = self.conditional(condition, *accept, ty, family)?;
                let not = self.b.op(Opcode::NotPred, &[condition.into()]);
                let reject = self.conditional(not, *reject, ty, family)?;
                value::select(&mut self.b, condition, accept, reject)
            }
            Expr::Cast(a, element) => {
                let from = match op.expr(*a) {
                    Expr::Literal(_) => element.compute(),
                    _ => self.checked.ty(*a),
                };
                let a = self.value_as(*a, from, family)?;
                match element {
                    Element::F32 => self.converted(a, Type::F32),
                    _ => value::cast(&mut self.b, a, *element),
                }
            }
            Expr::Call(function, arguments) => {
                let mut values = Vec::with_capacity(arguments.len());
                for (position, &argument) in arguments.iter().enumerate() {
                    let wanted = if *function == crate::ir::Function::Powi && position == 1 {
                        Type::I32
                    } else {
                        ty
                    };
                    values.push(self.value_as(argument, wanted, family)?);
                }
                math::call(&mut self.b, *function, ty, &values)
            }
            Expr::Reduce {
                op: reduction,
                axes,
                body,
            } => {
                let done = if self.serial_depth == 0 {
                    family.reduce(self, expr)?
                } else {
                    None
                };
                match done {
                    Some(value) => value,
                    None => self.in_sequence(expr, *reduction, axes, *body, family)?,
                }
            }
        })
    }

    /// An index as a value of the language: 32 bits, wrapping, unless 64 are wanted.
    fn index_value(&mut self, index: &Linear, ty: Type) -> Value {
        let operand = self.math.operand(&mut self.b, index);
        let own = if self.math.wide { Type::I64 } else { Type::I32 };
        Value { ty: own, operand }.to(&mut self.b, ty)
    }

    fn binary(
        &mut self,
        ty: Type,
        binary: BinaryOp,
        x: ExprId,
        y: ExprId,
        family: &mut dyn Reduce,
    ) -> Result<Value, Error> {
        // `a · b + c` is rounded once: cheaper, and closer to the truth.
        if binary == BinaryOp::Add && ty.is_float() {
            for (product, addend) in [(x, y), (y, x)] {
                if let Expr::Binary(BinaryOp::Mul, a, b) = *self.op().expr(product)
                    && self.checked.ty(product) == ty
                {
                    let a = self.value_as(a, ty, family)?;
                    let b = self.value_as(b, ty, family)?;
                    let c = self.value_as(addend, ty, family)?;
                    let sources = [a.operand, b.operand, c.operand];
                    return Ok(Value::new(ty, self.b.op(value::fma_of(ty), &sources)));
                }
            }
        }
        let left = self.value_as(x, ty, family)?;
        let right = match binary {
            BinaryOp::And => {
                let condition = left.reg(&mut self.b);
                self.conditional(condition, y, ty, family)?
            }
            BinaryOp::Or => {
                let not = self.b.op(Opcode::NotPred, &[left.operand]);
                self.conditional(not, y, ty, family)?
            }
            _ => self.value_as(y, ty, family)?,
        };
        Ok(value::binary(&mut self.b, binary, left, right))
    }

    /// The value of an expression that is wanted only where `condition` holds too.
    fn conditional(&mut self, condition: Reg, expr: ExprId, ty: Type, family: &mut dyn Reduce) -> Result<Value, Error> {
        let outer = self.condition;
        self.condition = if self.checked.unconditional(expr) {
            outer
        } else {
            self.both(outer, Some(condition))
        };
        let value = self.value_as(expr, ty, family);
        self.condition = outer;
        value
    }

    // ------------------------------------------------------------------ indices and reads

    /// An integer expression as an index.
    ///
    /// # Errors
    /// As of lowering.
    pub fn index(&mut self, expr: ExprId, family: &mut dyn Reduce) -> Result<Linear, Error> {
        Ok(match self.op().expr(expr) {
            Expr::Literal(crate::ir::Literal::Int(value)) => Linear::constant(*value),
            Expr::Size(size) => self.size(*size),
            Expr::Axis(axis) => self.binding(*axis)?.value,
            Expr::Unary(crate::ir::UnaryOp::Neg, a) => self.index(*a, family)?.times(-1),
            Expr::Binary(BinaryOp::Add, x, y) => {
                let (x, y) = (self.index(*x, family)?, self.index(*y, family)?);
                x.plus(&y)
            }
            Expr::Binary(BinaryOp::Sub, x, y) => {
                let (x, y) = (self.index(*x, family)?, self.index(*y, family)?);
                x.plus(&y.times(-1))
            }
            Expr::Binary(BinaryOp::Mul, x, y) => {
                let (x, y) = (self.index(*x, family)?, self.index(*y, family)?);
                self.product(&x, &y)
            }
            Expr::Binary(op @ (BinaryOp::Div | BinaryOp::Rem), x, y) => {
                let whole = self.never_negative(*x);
                let (x, y) = (self.index(*x, family)?, self.index(*y, family)?);
                if whole && y.as_constant().is_some_and(|divisor| divisor > 0) {
                    let (quotient, remainder) = self.math.divide(&mut self.b, &x, &y);
                    return Ok(if *op == BinaryOp::Div { quotient } else { remainder });
                }
                let ty = self.index_type();
                let x = Value {
                    ty,
                    operand: self.math.operand(&mut self.b, &x),
                };
                let y = Value {
                    ty,
                    operand: self.math.operand(&mut self.b, &y),
                };
                let value = value::binary(&mut self.b, *op, x, y);
                self.linear_of(value)
            }
            _ => {
                let ty = self.index_type();
                let value = self.value_as(expr, ty, family)?;
                self.linear_of(value)
            }
        })
    }

    /// Whether an integer expression is certainly not negative, and does not wrap: an axis, divided or a remainder.
    fn never_negative(&self, expr: ExprId) -> bool {
        match *self.op().expr(expr) {
            Expr::Axis(_) => true,
            Expr::Binary(BinaryOp::Div | BinaryOp::Rem, x, y) => {
                let divisor = self.op().expr(y);
                matches!(divisor, Expr::Literal(crate::ir::Literal::Int(1..))) && self.never_negative(x)
            }
            _ => false,
        }
    }

    fn index_type(&self) -> Type {
        if self.math.wide { Type::I64 } else { Type::I32 }
    }

    fn linear_of(&mut self, value: Value) -> Linear {
        match value.operand {
            Operand::Int(value) => Linear::constant(value),
            _ => Linear::register(value.reg(&mut self.b)),
        }
    }

    /// Issues the loads of inputs in an expression, and nothing that waits for them. Its value, asked for later in the same region, uses them.
    ///
    /// # Errors
    /// As of lowering.
    pub fn touch(&mut self, expr: ExprId, family: &mut dyn Reduce) -> Result<(), Error> {
        if let Expr::Read {
            source: Source::Input(_),
            ..
        } = self.op().expr(expr)
        {
            return self.read_stored(expr, family).map(|_| ());
        }
        let mut operands = Vec::new();
        self.op().operands(expr, |operand| operands.push(operand));
        operands.into_iter().try_for_each(|operand| self.touch(operand, family))
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

    /// The value of a read; if it is only touched, the element as it is stored.
    fn read(&mut self, expr: ExprId, touched: bool, family: &mut dyn Reduce) -> Result<Value, Error> {
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
        // Of each dimension: the condition of its axes, and whether its index is in range.
        let mut guards = Vec::with_capacity(index.len());
        for (dimension, (&at, &size)) in index.iter().zip(&extents).enumerate() {
            let (mut own_guard, mut own_range) = (None, None);
            let gathered = checked.gathered(expr, dimension);
            let value = if gathered {
                self.gathered_index(at, size, &mut own_range, family)?
            } else {
                if (or.is_some() || self.compared) && !checked.proven(expr, dimension) {
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
            // Of a vector all elements are in range, or none: then one comparison and one load do for all of them.
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
                let entry = &self.op().lets[inner.index()];
                let saved: Vec<Option<Binding>> =
                    entry.axes.iter().map(|axis| self.bindings.get(axis).cloned()).collect();
                for ((&axis, value), (own_guard, own_range)) in entry.axes.iter().zip(indices).zip(guards) {
                    let guard = self.both(own_guard, own_range);
                    self.bind(axis, Binding { value, guard });
                }
                let ty = checked.ty(expr);
                let outer = self.condition;
                // An index that is in range only under a condition makes the whole value conditional.
                self.condition = if all.is_some() { self.both(outer, all) } else { outer };
                let value = self.value_as(entry.body, ty, family);
                self.condition = outer;
                for (&axis, binding) in entry.axes.iter().zip(saved) {
                    match binding {
                        Some(binding) => self.bind(axis, binding),
                        None => {
                            self.bindings.remove(&axis);
                        }
                    }
                }
                value?
            }
        };
        match (or, in_range) {
            (Some(or), Some(in_range)) => {
                let or = self.value_as(or, value.ty, family)?;
                // What was not loaded is 0.
                if is_zero(or) && matches!(source, Source::Input(_)) && value.ty != Type::Bool {
                    return Ok(value);
                }
                Ok(value::select(&mut self.b, in_range, value, or))
            }
            (None, Some(in_range)) if matches!(source, Source::Let(_)) => {
                let zero = Value::zero(&mut self.b, value.ty);
                Ok(value::select(&mut self.b, in_range, value, zero))
            }
            _ => Ok(value),
        }
    }

    /// An index that comes from a tensor: compared with the extent in its own width, since storage may hold anything.
    fn gathered_index(
        &mut self,
        at: ExprId,
        size: SizeId,
        in_range: &mut Option<Reg>,
        family: &mut dyn Reduce,
    ) -> Result<Linear, Error> {
        let ty = self.checked.ty(at);
        let value = self.value(at, family)?;
        let extent = self.size(size);
        let extent = self.index_value(&extent, ty);
        let inside = self
            .b
            .compare_unsigned(Compare::Lt, class_of(ty), value.operand, extent.operand);
        *in_range = self.both(*in_range, Some(inside));
        let own = self.index_type();
        let value = value.to(&mut self.b, own);
        Ok(self.linear_of(value))
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
        let mut offset = Linear::constant(0);
        let mut stride = Linear::constant(1);
        for (index, &size) in indices.iter().zip(extents).rev() {
            offset = offset.plus(&self.product(index, &stride));
            stride = self.product(&stride, &self.size(size));
        }
        offset
    }

    /// How many neighbours to load at once: contiguous over the lanes, aligned, never across the end.
    fn vector_width(&self, element: Element, offset: &Linear, innermost: Option<SizeId>) -> u32 {
        let contiguous = |lanes: &Lanes| {
            // Neighbours, or every other one.
            let steps = [i64::from(lanes.width), 2 * i64::from(lanes.width)];
            offset
                .terms()
                .iter()
                .any(|&(reg, coefficient)| reg == lanes.register && steps.contains(&coefficient))
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

    // ------------------------------------------------------------------ reductions in sequence

    fn in_sequence(
        &mut self,
        expr: ExprId,
        reduction: ReduceOp,
        axes: &[AxisId],
        body: ExprId,
        family: &mut dyn Reduce,
    ) -> Result<Value, Error> {
        // The loop stands in the outermost region in which everything it depends on exists.
        let mut depth = self.b.innermost_if();
        for axis in self.checked.axes(expr).iter() {
            let binding = self.binding(axis)?;
            let registers = binding.value.terms().iter().map(|&(reg, _)| reg).chain(binding.guard);
            depth = registers.map(|reg| self.b.depth(reg)).fold(depth, usize::max);
        }
        if let Some(condition) = self.condition {
            depth = depth.max(self.b.depth(condition));
        }
        let suspended = self.b.suspend(depth);
        self.serial_depth += 1;
        let mut accumulator = Accumulator::new(self, reduction, self.checked.ty(body));
        let outside = self.enter(axes, &[body]);
        let result = self.nest(&mut accumulator, axes, &Linear::constant(0), body, family);
        self.leave(outside);
        self.serial_depth -= 1;
        let value = accumulator.value(self);
        self.b.resume(suspended);
        result.map(|()| value)
    }

    /// The loops over `axes`, outermost first. `position` counts the combinations so far.
    fn nest(
        &mut self,
        accumulator: &mut Accumulator,
        axes: &[AxisId],
        position: &Linear,
        body: ExprId,
        family: &mut dyn Reduce,
    ) -> Result<(), Error> {
        let Some((&axis, inner)) = axes.split_first() else {
            return accumulator.add(self, position, body, family);
        };
        let extent = self.extent(axis);
        let outer = self.math.product(&mut self.b, position, &extent);
        match extent.as_constant() {
            Some(extent) if extent <= UNROLLED => {
                for index in 0..extent {
                    self.bind(axis, Binding::of(Linear::constant(index)));
                    self.nest(accumulator, inner, &outer.plus_constant(index), body, family)?;
                }
            }
            // The assembler would unroll all of it, and spill. So it is kept from it, and the outermost reduction's innermost
            // loop does a few turns at a time by itself.
            Some(extent) => {
                let together = match inner {
                    [] if self.serial_depth == 1 => UNROLLED,
                    _ => 1,
                };
                let whole = extent / together * together;
                let turns = Turns::new(0, whole, together).entered(true).rolled();
                let counter = self.b.begin_loop(self.math.class(), turns);
                let mut done = Ok(());
                for further in 0..together {
                    let index = Linear::register(counter).plus_constant(further);
                    self.bind(axis, Binding::of(index.clone()));
                    done = done.and_then(|()| self.nest(accumulator, inner, &outer.plus(&index), body, family));
                }
                self.b.end();
                done?;
                for index in whole..extent {
                    self.bind(axis, Binding::of(Linear::constant(index)));
                    self.nest(accumulator, inner, &outer.plus_constant(index), body, family)?;
                }
            }
            None => {
                let end = self.math.operand(&mut self.b, &extent);
                let class = self.math.class();
                let counter = self.b.begin_loop(class, Turns::new(0, end, 1));
                let index = Linear::register(counter);
                self.bind(axis, Binding::of(index.clone()));
                let done = self.nest(accumulator, inner, &outer.plus(&index), body, family);
                self.b.end();
                done?;
            }
        }
        Ok(())
    }
}

const TWO_TO_23: f32 = 8_388_608.0;
/// Compiled-in extents up to this are unrolled.
const UNROLLED: i64 = 4;

fn is_zero(value: Value) -> bool {
    matches!(value.operand, Operand::Int(0) | Operand::F32(0) | Operand::F64(0))
}

/// What a reduction has come to, in mutable registers.
#[derive(Debug, Clone, Copy)]
pub struct Accumulator {
    /// How values are combined.
    pub op: ReduceOp,
    /// The type of the values.
    pub ty: Type,
    /// The combined value.
    pub best: Reg,
    /// Where it was found, for `argmax` and `argmin` (index class).
    pub position: Option<Reg>,
}

impl Accumulator {
    /// An accumulator of nothing.
    pub fn new(lowering: &mut Lowering<'_>, op: ReduceOp, ty: Type) -> Accumulator {
        let identity = identity(op, ty);
        let best = lowering.b.mutable(class_of(ty), identity.operand);
        let position = matches!(op, ReduceOp::ArgMax | ReduceOp::ArgMin)
            .then(|| lowering.b.mutable(lowering.math.class(), 0.into()));
        Accumulator { op, ty, best, position }
    }

    /// Takes in the value of `body`, found at `position`.
    ///
    /// # Errors
    /// As of lowering.
    pub fn add(
        &mut self,
        lowering: &mut Lowering<'_>,
        position: &Linear,
        body: ExprId,
        family: &mut dyn Reduce,
    ) -> Result<(), Error> {
        if self.op == ReduceOp::Sum
            && let Expr::Binary(BinaryOp::Mul, x, y) = *lowering.op().expr(body)
            && lowering.checked.ty(body) == self.ty
        {
            let x = lowering.value_as(x, self.ty, family)?;
            let y = lowering.value_as(y, self.ty, family)?;
            let sources = [x.operand, y.operand, self.best.into()];
            lowering.b.assign(value::fma_of(self.ty), self.best, &sources);
            return Ok(());
        }
        let value = lowering.value_as(body, self.ty, family)?;
        self.combine(lowering, value, position);
        Ok(())
    }

    /// Takes in a value, found at `position`. Positions come in ascending order, or [`Accumulator::merge`] is to be used.
    pub fn combine(&mut self, lowering: &mut Lowering<'_>, value: Value, position: &Linear) {
        let b = &mut lowering.b;
        let sources = [self.best.into(), value.operand];
        match self.op {
            ReduceOp::Sum => b.assign(value::add_of(self.ty), self.best, &sources),
            ReduceOp::Prod => b.assign(value::mul_of(self.ty), self.best, &sources),
            ReduceOp::Max | ReduceOp::Min => {
                let op = if self.op == ReduceOp::Max {
                    BinaryOp::Max
                } else {
                    BinaryOp::Min
                };
                let current = Value::new(self.ty, b.read(self.best));
                let extreme = value::binary(b, op, current, value);
                b.assign(move_of(class_of(self.ty)), self.best, &[extreme.operand]);
            }
            ReduceOp::ArgMax | ReduceOp::ArgMin => {
                let current = Value::new(self.ty, b.read(self.best));
                let predicate = beats(b, self.op, value, current);
                self.replace(lowering, predicate, value, position);
            }
        }
    }

    /// Takes in what another accumulator has come to; positions may come in any order.
    pub fn merge(&mut self, lowering: &mut Lowering<'_>, value: Value, position: Option<Reg>) {
        let (Some(own), Some(position)) = (self.position, position) else {
            return self.combine(lowering, value, &Linear::constant(0));
        };
        let b = &mut lowering.b;
        let current = Value::new(self.ty, b.read(self.best));
        let better = beats(b, self.op, value, current);
        let worse = beats(b, self.op, current, value);
        // Equal, or both NaN: the lower position wins.
        let not_worse = b.op(Opcode::NotPred, &[worse.into()]);
        let earlier_than = b.read(own);
        let class = lowering.math.class();
        let earlier = b.compare(Compare::Lt, class, position.into(), earlier_than.into());
        let tie = b.op(Opcode::AndPred, &[not_worse.into(), earlier.into()]);
        let predicate = b.op(Opcode::OrPred, &[better.into(), tie.into()]);
        self.replace(lowering, predicate, value, &Linear::register(position));
    }

    fn replace(&mut self, lowering: &mut Lowering<'_>, predicate: Reg, value: Value, position: &Linear) {
        let guard = Some(Guard { predicate, holds: true });
        let class = class_of(self.ty);
        lowering.b.assign_if(guard, move_of(class), self.best, &[value.operand]);
        if let Some(own) = self.position {
            let position = lowering.math.operand(&mut lowering.b, position);
            let class = lowering.math.class();
            lowering.b.assign_if(guard, move_of(class), own, &[position]);
        }
    }

    /// The result here, as a value.
    pub fn value(&self, lowering: &mut Lowering<'_>) -> Value {
        match self.position {
            Some(position) => {
                let reg = lowering.b.read(position);
                let own = lowering.index_type();
                Value::new(own, reg).to(&mut lowering.b, Type::I32)
            }
            None => Value::new(self.ty, lowering.b.read(self.best)),
        }
    }
}

/// Whether `a` takes the place of `b` in an `argmax` or `argmin`: it is better, or the first NaN.
fn beats(b: &mut Builder, op: ReduceOp, x: Value, y: Value) -> Reg {
    let class = class_of(x.ty);
    if !x.ty.is_float() {
        let compare = if op == ReduceOp::ArgMax {
            Compare::Gt
        } else {
            Compare::Lt
        };
        return b.compare(compare, class, x.operand, y.operand);
    }
    let compare = if op == ReduceOp::ArgMax {
        Compare::GtU
    } else {
        Compare::LtU
    };
    let better = b.compare(compare, class, x.operand, y.operand);
    let number = b.compare(Compare::Eq, class, y.operand, y.operand);
    b.op(Opcode::AndPred, &[better.into(), number.into()])
}

/// What a reduction starts from.
pub fn identity(op: ReduceOp, ty: Type) -> Value {
    let highest = matches!(op, ReduceOp::Min | ReduceOp::ArgMin);
    match (op, ty) {
        (ReduceOp::Sum, Type::F32) => Value::f32(0.0),
        (ReduceOp::Sum, Type::F64) => Value::f64(0.0),
        (ReduceOp::Sum, Type::I64) => Value::i64(0),
        (ReduceOp::Sum, _) => Value::i32(0),
        (ReduceOp::Prod, Type::F32) => Value::f32(1.0),
        (ReduceOp::Prod, Type::F64) => Value::f64(1.0),
        (ReduceOp::Prod, Type::I64) => Value::i64(1),
        (ReduceOp::Prod, _) => Value::i32(1),
        (_, Type::F32) => Value::f32(if highest { f32::INFINITY } else { f32::NEG_INFINITY }),
        (_, Type::F64) => Value::f64(if highest { f64::INFINITY } else { f64::NEG_INFINITY }),
        (_, Type::I64) => Value::i64(if highest { i64::MAX } else { i64::MIN }),
        (_, _) => Value::i32(if highest { i32::MAX } else { i32::MIN }),
    }
}

/// The value of a truth value or number where `condition` holds, else the reduction's start.
pub fn or_identity(b: &mut Builder, op: ReduceOp, value: Value, condition: Option<Reg>) -> Value {
    let Some(condition) = condition else { return value };
    let start = identity(op, value.ty);
    let sources = [value.operand, start.operand, condition.into()];
    Value::new(value.ty, b.op(select_of(value.ty), &sources))
}
