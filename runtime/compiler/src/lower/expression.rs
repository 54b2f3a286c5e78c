//! Expressions as instructions.
//!
//! [`Lowering`] holds one kernel under construction. A family binds axes to index values, asks for the value of an
//! expression, and stores it; what it may decide besides is how a reduction is done ([`Reduce`]).
//!
//! Memory safety: a read whose index is in range at every size (`Checked::proven`) needs no condition but those that its axes
//! carry ([`Binding::guard`]: lanes beyond the end of a row, say). Any other read is made only where all
//! conditions around it hold, and where its index is in range if that is known only at run time.

mod bounds;
mod exact;
mod indices;
mod read;
mod reduction;

pub use bounds::Bounds;
pub use reduction::{Accumulator, Rounding, identity, or_identity, zero_unless};

use super::index::{IndexMath, Linear};
use super::value::{self, Value, class_of};
use super::{Error, math, quotient};
use crate::check::Checked;
use crate::element::{Element, Type};
use crate::ir::{AxisId, BinaryOp, CompareOp, Expr, ExprId, InputId, Op, ReduceOp, SizeId};
use crate::kernel::{Parameter, ParameterValue, ScratchContent};
use crate::lower::arithmetic;
use crate::problem::Problem;
use crate::ptx::builder::Location;
use crate::ptx::text::Entry;
use crate::ptx::{Address, Builder, Cache, Connective, Few, Guard, Opcode, Operand, Reg, Width};
use crate::size::{SizeExpr, Specialisation};
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

/// A family's way to do reductions. It is asked for reductions that stand nowhere inside another one.
pub trait Reduce {
    /// The value of `expr`, a reduction, where its free axes are bound as they are; `None` to do it in sequence.
    ///
    /// # Errors
    /// As of lowering.
    fn reduce(&mut self, lowering: &mut Lowering<'_>, expr: ExprId) -> Result<Option<Value>, Error>;

    /// `true` if many values of `dividend` are divided by one of `divisor`, as they are bound.
    ///
    /// # Errors
    /// As of lowering.
    fn divides_many(&self, _: &Lowering<'_>, _dividend: ExprId, _divisor: ExprId) -> Result<bool, Error> {
        Ok(false)
    }

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
    /// Its element type.
    pub element: Element,
    /// The number of the first one, row-major.
    pub first: Linear,
    /// The number of elements: a power of two.
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

/// An element of a tensor by its number, row-major, and by the coordinates that were computed from that number.
#[derive(Debug, Clone)]
pub struct Numbered {
    /// The tensor's dimensions.
    pub dims: Vec<SizeId>,
    /// The element's coordinates.
    pub coordinates: Vec<Linear>,
    /// Its number.
    pub number: Linear,
}

/// A load of so many words of a width, as by [`Builder::load`].
pub type Load<'a> = dyn FnMut(&mut Builder, Width, usize, Address, Cache, Option<Guard>) -> Few<Reg> + 'a;

/// From here on an `f32` has no fraction.
const TWO_TO_23: f32 = 8_388_608.0;

type MemoKey = (ExprId, Vec<Binding>, Option<Reg>);

/// One kernel under construction.
#[derive(Debug)]
pub struct Lowering<'a> {
    /// The instructions.
    pub b: Builder,
    /// The operator.
    pub checked: &'a Checked,
    /// The knowledge of sizes and addresses.
    pub specialisation: &'a Specialisation,
    /// Index arithmetic.
    pub math: IndexMath,
    /// Lanes computed together at present.
    pub lanes: Option<Lanes>,
    /// Lanes in a second direction: along another axis.
    pub across: Option<Lanes>,
    /// The element at hand. Reads of tensors of the same dimensions, there or beside it, take its number.
    pub at: Option<Numbered>,
    /// `true` if the innermost dimension is a whole tensor seen as one row, whose chunks certainly fit.
    pub flat: bool,
    /// `true` if every index that is not proved in range is compared with its extent: what is computed where nobody may want it.
    pub compared: bool,
    /// Cache hint of reads of inputs.
    pub read_cache: Cache,
    parameters: Vec<Parameter>,
    scratch: Vec<ScratchContent>,
    inputs: Vec<InputValue>,
    outputs: Vec<Reg>,
    sizes: Vec<Linear>,
    index_errors: Option<Reg>,
    /// Registers of products with sizes: a power of two that divides them.
    multiples: FxHashMap<Reg, u32>,
    /// Registers that carry lanes as [`Lanes::register`] does, with the coefficient of neighbours: remainders of indices that do.
    lane_registers: FxHashMap<Reg, i64>,
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
    pub fn new(problem: &Problem<'a>, name: &str, threads: u32) -> Lowering<'a> {
        let (checked, specialisation) = (problem.checked, problem.specialisation);
        let mut lowering = Lowering {
            b: Builder::new(name, threads),
            checked,
            specialisation,
            math: IndexMath {
                wide: specialisation.wide,
            },
            lanes: None,
            across: None,
            at: None,
            flat: false,
            compared: false,
            read_cache: Cache::Normal,
            parameters: Vec::new(),
            scratch: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            sizes: Vec::new(),
            index_errors: None,
            multiples: FxHashMap::default(),
            lane_registers: FxHashMap::default(),
            bytes: FxHashMap::default(),
            bindings: FxHashMap::default(),
            condition: None,
            memo: FxHashMap::default(),
            serial_depth: 0,
        };
        lowering.read_parameters(problem);
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

    /// The instructions, the parameters and the scratch memory of the kernel.
    pub fn finish(self) -> (Entry, Vec<Parameter>, Vec<ScratchContent>) {
        (self.b.finish(), self.parameters, self.scratch)
    }

    fn read_parameters(&mut self, problem: &Problem<'_>) {
        let op = self.op();
        for (number, input) in op.inputs.iter().enumerate() {
            let id = ParameterValue::Input(InputId(number as u32));
            let value = if input.dims.is_some() {
                InputValue::Tensor(self.pointer(id))
            } else {
                let stored = self.parameter(id, width_of(input.element));
                InputValue::Scalar(value::from_storage(&mut self.b, input.element, stored))
            };
            self.inputs.push(value);
        }
        for number in 0..op.outputs.len() {
            let pointer = self.pointer(ParameterValue::Output(number as u32));
            self.outputs.push(pointer);
        }
        let mut arguments = FxHashMap::default();
        for (number, extent) in self.specialisation.extents.iter().enumerate() {
            let size = match extent.fixed() {
                Some(value) => Linear::constant(value as i64),
                None => {
                    let formula = problem.formula(SizeId(number as u32));
                    let size = self.size_argument(&formula, &mut arguments);
                    let reg = self.math.register(&mut self.b, &size);
                    self.multiples.insert(reg, extent.multiple_of());
                    Linear::register(reg)
                }
            };
            self.sizes.push(size);
        }
        if self.specialisation.check_indices {
            self.index_errors = Some(self.pointer(ParameterValue::IndexErrors));
        }
    }

    /// A product of sizes that are arguments.
    fn size_argument(&mut self, formula: &SizeExpr, arguments: &mut FxHashMap<SizeId, Reg>) -> Linear {
        match formula {
            SizeExpr::Const(value) => Linear::constant(*value),
            SizeExpr::Size(size) => {
                let width = if self.math.wide { Width::B64 } else { Width::B32 };
                let known = arguments.get(size).copied();
                let reg = known.unwrap_or_else(|| self.parameter(ParameterValue::Size(*size), width));
                arguments.insert(*size, reg);
                Linear::register(reg)
            }
            SizeExpr::Binary(_, a, b) => {
                let (a, b) = (self.size_argument(a, arguments), self.size_argument(b, arguments));
                self.math.product(&mut self.b, &a, &b)
            }
        }
    }

    /// The address of scratch memory.
    pub fn scratch(&mut self, content: ScratchContent) -> Reg {
        let position = self.scratch.len() as u32;
        self.scratch.push(content);
        self.pointer(ParameterValue::Scratch(position))
    }

    fn parameter(&mut self, value: ParameterValue, width: Width) -> Reg {
        let bytes = width.bytes() as u8;
        self.parameters.push(Parameter { value, bytes });
        self.b.parameter(width)
    }

    fn pointer(&mut self, value: ParameterValue) -> Reg {
        let generic = self.parameter(value, Width::B64);
        self.b.op(Opcode::ToGlobal, &[generic.into()])
    }

    // ------------------------------------------------------------------ axes

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

    /// Emits code before all loops that are under way inside the region at a depth, for what is wanted under this condition only. The condition at
    /// hand may be a loop's.
    pub fn before_loops<T>(&mut self, depth: usize, condition: Option<Reg>, emit: impl FnOnce(&mut Self) -> T) -> T {
        let suspended = self.b.suspend(depth);
        let lanes = self.lanes.take();
        let at_hand = std::mem::replace(&mut self.condition, condition);
        let emitted = emit(self);
        self.condition = at_hand;
        self.lanes = lanes;
        self.b.resume(suspended);
        emitted
    }

    // ------------------------------------------------------------------ types

    /// The type an expression is computed in: of an index value that of index registers.
    pub fn ty(&self, expr: ExprId) -> Type {
        match self.checked.is_index(expr) {
            true => self.index_type(),
            false => self.checked.ty(expr),
        }
    }

    /// The type in which the operands of a comparison are compared.
    fn operand_ty(&self, compare: ExprId) -> Type {
        match self.checked.compares_indices(compare) {
            true => self.index_type(),
            false => self.checked.operand_ty(compare),
        }
    }

    /// The type of the values that a reduction combines.
    pub fn reduced_ty(&self, reduction: ExprId) -> Type {
        match *self.op().expr(reduction) {
            Expr::Reduce {
                op: ReduceOp::ArgMax | ReduceOp::ArgMin,
                body,
                ..
            } => self.ty(body),
            _ => self.ty(reduction),
        }
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
        if let Some(value) = self.known(&key) {
            return Ok(value);
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

    /// The value of an expression that is known already.
    fn known(&self, key: &MemoKey) -> Option<Value> {
        // Unconditional facts also hold under every guard.
        let anywhere = (key.0, key.1.clone(), None);
        let known = [key, &anywhere].into_iter().filter_map(|key| self.memo.get(key));
        let mut reached = known.filter(|(_, location)| self.b.reaches(*location));
        reached.next().map(|&(value, _)| value)
    }

    /// `true` if the value of an expression is known already.
    fn is_known(&self, expr: ExprId) -> Result<bool, Error> {
        Ok(self.known(&self.key(expr)?).is_some())
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
        let ty = self.ty(expr);
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
                arithmetic::unary(&mut self.b, *unary, a)
            }
            Expr::Binary(BinaryOp::And, x, y) => self.logical(Connective::And, *x, *y, family)?,
            Expr::Binary(BinaryOp::Or, x, y) => self.logical(Connective::Or, *x, *y, family)?,
            Expr::Binary(binary, x, y) => self.binary(ty, *binary, *x, *y, family)?,
            Expr::Compare(compare, x, y) => {
                let [x, y] = self.compared(expr, *compare, [*x, *y], family)?;
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
                arithmetic::select(&mut self.b, condition, accept, reject)
            }
            Expr::Cast(a, element) => {
                let from = match op.expr(*a) {
                    Expr::Literal(_) => element.compute(),
                    _ => self.ty(*a),
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
                let value = match done {
                    Some(value) => value,
                    None => self.in_sequence(expr, *reduction, axes, *body, family)?,
                };
                value.to(&mut self.b, ty)
            }
        })
    }

    /// An index as a value of the language, of this type.
    fn index_value(&mut self, index: &Linear, ty: Type) -> Value {
        self.index_operand(index).to(&mut self.b, ty)
    }

    /// An index as a value of the type of indices.
    fn index_operand(&mut self, index: &Linear) -> Value {
        Value {
            ty: self.index_type(),
            operand: self.math.operand(&mut self.b, index),
        }
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
        let right = self.value_as(y, ty, family)?;
        if binary == BinaryOp::Div && ty == Type::F32 && family.divides_many(self, x, y)? {
            return Ok(quotient::by_shared(&mut self.b, left, right));
        }
        Ok(arithmetic::binary(&mut self.b, binary, left, right))
    }

    /// The operands of a comparison. Neighbouring lanes that compare alike have the same. Of two axes, the one that changes less often takes the
    /// constants of both: so sums of it and constants leave the loops over the other one.
    fn compared(
        &mut self,
        expr: ExprId,
        relation: CompareOp,
        [x, y]: [ExprId; 2],
        family: &mut dyn Reduce,
    ) -> Result<[Value; 2], Error> {
        let op = self.op();
        let of_coordinates = [x, y].into_iter().all(|side| self.is_of_coordinates(side));
        if of_coordinates && self.checked.compares_indices(expr) && self.lanes.is_some() {
            let sides = (self.index(x, family)?, self.index(y, family)?);
            if let Some(together) = self.compared_together(relation, &sides.0, &sides.1) {
                return Ok(together.map(|side| self.index_operand(&side)));
            }
        }
        if let (Expr::Axis(a), Expr::Axis(b)) = (op.expr(x), op.expr(y))
            && self.checked.compares_indices(expr)
            && !self.is_known(x)?
            && !self.is_known(y)?
        {
            let (mut x, mut y) = (self.binding(*a)?.value, self.binding(*b)?.value);
            let depth = |value: &Linear| {
                let registers = value.terms().iter();
                registers.map(|&(reg, _)| self.b.depth(reg)).max()
            };
            let (in_x, in_y) = (x.constant_part(), y.constant_part());
            if depth(&x) > depth(&y) {
                (x, y) = (x.plus_constant(-in_x), y.plus_constant(-in_x));
            } else {
                (x, y) = (x.plus_constant(-in_y), y.plus_constant(-in_y));
            }
            return Ok([x, y].map(|side| self.index_operand(&side)));
        }
        let ty = self.operand_ty(expr);
        Ok([self.value_as(x, ty, family)?, self.value_as(y, ty, family)?])
    }

    /// Both truth values, or one of them. The second one is wanted only if it decides. A comparison takes the other one in.
    fn logical(
        &mut self,
        connective: Connective,
        x: ExprId,
        y: ExprId,
        family: &mut dyn Reduce,
    ) -> Result<Value, Error> {
        if self.checked.unconditional(y) && self.compares_now(x)? {
            let y = self.value(y, family)?.reg(&mut self.b);
            return self.compare_with(x, connective, y, family);
        }
        let x = self.value(x, family)?.reg(&mut self.b);
        let decides = match connective {
            Connective::And => x,
            Connective::Or => self.b.op(Opcode::NotPred, &[x.into()]),
        };
        if self.compares_now(y)? {
            return self.where_holds(decides, y, |lowering| lowering.compare_with(y, connective, x, family));
        }
        let y = self.conditional(decides, y, Type::Bool, family)?;
        let opcode = match connective {
            Connective::And => Opcode::AndPred,
            Connective::Or => Opcode::OrPred,
        };
        Ok(Value::new(Type::Bool, self.b.op(opcode, &[x.into(), y.operand])))
    }

    /// `true` for a comparison of numbers whose value is not known yet.
    fn compares_now(&self, expr: ExprId) -> Result<bool, Error> {
        let compares = matches!(self.op().expr(expr), Expr::Compare(..)) && self.operand_ty(expr) != Type::Bool;
        Ok(compares && !self.is_known(expr)?)
    }

    /// A comparison whose result is combined with a predicate.
    fn compare_with(
        &mut self,
        expr: ExprId,
        connective: Connective,
        other: Reg,
        family: &mut dyn Reduce,
    ) -> Result<Value, Error> {
        let Expr::Compare(compare, x, y) = *self.op().expr(expr) else {
            return Err(Error::Unbound);
        };
        let [x, y] = self.compared(expr, compare, [x, y], family)?;
        let (relation, class) = (value::relation(compare, x.ty), class_of(x.ty));
        let reg = self
            .b
            .compare_with(relation, class, [x.operand, y.operand], connective, other);
        Ok(Value::new(Type::Bool, reg))
    }

    /// The value of an expression that is wanted only where `condition` holds too.
    fn conditional(&mut self, condition: Reg, expr: ExprId, ty: Type, family: &mut dyn Reduce) -> Result<Value, Error> {
        self.where_holds(condition, expr, |lowering| lowering.value_as(expr, ty, family))
    }

    /// Emits what needs an expression only where `condition` holds too.
    fn where_holds<T>(&mut self, condition: Reg, expr: ExprId, emit: impl FnOnce(&mut Self) -> T) -> T {
        let outer = self.condition;
        self.condition = if self.checked.unconditional(expr) {
            outer
        } else {
            self.both(outer, Some(condition))
        };
        let emitted = emit(self);
        self.condition = outer;
        emitted
    }
}
