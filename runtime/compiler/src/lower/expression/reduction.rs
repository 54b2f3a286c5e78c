//! Reductions: in sequence, by one thread, and what any of them accumulates in.

use super::{Binding, Bounds, Lowering, Reduce};
use crate::element::Type;
use crate::ir::{AxisId, BinaryOp, Expr, ExprId, Literal, Op, ReduceOp};
use crate::lower::Error;
use crate::lower::arithmetic;
use crate::lower::index::Linear;
use crate::lower::value::{self, Value, class_of, select_of};
use crate::ptx::builder::move_of;
use crate::ptx::{Builder, Compare, Few, Guard, Opcode, Reg, Turns};

/// Compiled-in extents up to this are unrolled.
const UNROLLED: i64 = 4;
/// Loops over fewer elements are not worth the computation of bounds.
const WORTH_BOUNDS: i64 = 32;

/// The reduction that loops over several axes compute.
#[derive(Debug, Clone, Copy)]
struct Nest {
    reduction: ReduceOp,
    body: ExprId,
}

impl Lowering<'_> {
    /// A reduction as a loop of this thread alone.
    pub(super) fn in_sequence(
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
        let mut accumulator = Accumulator::new(self, reduction, self.reduced_ty(expr));
        let outside = self.enter(axes, &[body]);
        let nest = Nest { reduction, body };
        let result = self.nest(&mut accumulator, nest, axes, &Linear::constant(0), family);
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
        nest: Nest,
        axes: &[AxisId],
        position: &Linear,
        family: &mut dyn Reduce,
    ) -> Result<(), Error> {
        let Some((&axis, inner)) = axes.split_first() else {
            return accumulator.add(self, position, nest.body, family);
        };
        let extent = self.extent(axis);
        let outer = self.math.product(&mut self.b, position, &extent);
        let bounds = match extent.as_constant() {
            Some(extent) if extent < WORTH_BOUNDS => Bounds::default(),
            _ => self.bounds(nest.reduction, axis, axes, nest.body, family)?,
        };
        match extent.as_constant().filter(|_| bounds == Bounds::default()) {
            Some(extent) if extent <= UNROLLED => {
                for index in 0..extent {
                    self.bind(axis, Binding::of(Linear::constant(index)));
                    self.nest(accumulator, nest, inner, &outer.plus_constant(index), family)?;
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
                    done = done.and_then(|()| self.nest(accumulator, nest, inner, &outer.plus(&index), family));
                }
                self.b.end();
                done?;
                for index in whole..extent {
                    self.bind(axis, Binding::of(Linear::constant(index)));
                    self.nest(accumulator, nest, inner, &outer.plus_constant(index), family)?;
                }
            }
            None => {
                let start = bounds.start.unwrap_or_default();
                let start = self.math.operand(&mut self.b, &start);
                let end = self.math.operand(&mut self.b, &bounds.end.unwrap_or(extent));
                let class = self.math.class();
                let counter = self.b.begin_loop(class, Turns::new(start, end, 1));
                let index = Linear::register(counter);
                self.bind(axis, Binding::of(index.clone()));
                let done = self.nest(accumulator, nest, inner, &outer.plus(&index), family);
                self.b.end();
                done?;
            }
        }
        Ok(())
    }
}

/// The rounding of products that are added to a sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// A product is rounded with its sum.
    Once,
    /// A product is rounded, then its sum.
    Each,
}

/// The condition and the value of a term that is 0 elsewhere. A sum that began with +0 does not change where 0 is added.
pub fn zero_unless(op: &Op, term: ExprId) -> Option<(ExprId, ExprId)> {
    match *op.expr(term) {
        Expr::Select {
            condition,
            accept,
            reject,
        } => match *op.expr(reject) {
            Expr::Literal(Literal::Int(0) | Literal::Float(0.0)) => Some((condition, accept)),
            _ => None,
        },
        _ => None,
    }
}

/// The state of a reduction, in mutable registers.
#[derive(Debug, Clone, Copy)]
pub struct Accumulator {
    /// The operation that combines values.
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
        self.add_where(lowering, None, position, body, Rounding::Once, family)
    }

    /// Takes in the value of `body` where `wanted` holds.
    ///
    /// # Errors
    /// As of lowering.
    pub fn add_where(
        &mut self,
        lowering: &mut Lowering<'_>,
        wanted: Option<Reg>,
        position: &Linear,
        body: ExprId,
        rounding: Rounding,
        family: &mut dyn Reduce,
    ) -> Result<(), Error> {
        let same_type = lowering.ty(body) == self.ty;
        if self.op != ReduceOp::Sum || !same_type {
            let value = lowering.value_as(body, self.ty, family)?;
            let value = or_identity(&mut lowering.b, self.op, value, wanted);
            self.combine(lowering, value, position);
            return Ok(());
        }
        if let Some((condition, accept)) = zero_unless(lowering.op(), body) {
            let condition = lowering.value(condition, family)?.reg(&mut lowering.b);
            let wanted = lowering.both(wanted, Some(condition));
            return lowering.where_holds(condition, accept, |lowering| {
                self.add_where(lowering, wanted, position, accept, rounding, family)
            });
        }
        let guard = wanted.map(|predicate| Guard { predicate, holds: true });
        if let (Expr::Binary(BinaryOp::Mul, x, y), Rounding::Once) = (lowering.op().expr(body), rounding) {
            let x = lowering.value_as(*x, self.ty, family)?;
            let y = lowering.value_as(*y, self.ty, family)?;
            let sources = [x.operand, y.operand, self.best.into()];
            lowering.b.assign_if(guard, value::fma_of(self.ty), self.best, &sources);
            return Ok(());
        }
        let value = lowering.value_as(body, self.ty, family)?;
        let sources = [self.best.into(), value.operand];
        lowering.b.assign_if(guard, value::add_of(self.ty), self.best, &sources);
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
                let extreme = arithmetic::binary(b, op, current, value);
                b.assign(move_of(class_of(self.ty)), self.best, &[extreme.operand]);
            }
            ReduceOp::ArgMax | ReduceOp::ArgMin => {
                let current = Value::new(self.ty, b.read(self.best));
                let predicate = beats(b, self.op, value, current);
                self.replace(lowering, predicate, value, position);
            }
        }
    }

    /// Takes in another accumulator's value; positions may come in any order.
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

    /// Its 32-bit words: the value's, then the position's.
    pub fn words(&self, lowering: &mut Lowering<'_>) -> Few<Reg> {
        let value = Value::new(self.ty, lowering.b.read(self.best));
        let mut words = lowering.words(value);
        if let Some(position) = self.position {
            let position = lowering.b.read(position);
            let own = if lowering.math.wide { Type::I64 } else { Type::I32 };
            words.extend(lowering.words(Value::new(own, position)));
        }
        words
    }

    /// The number of its words.
    pub fn word_count(&self, lowering: &Lowering<'_>) -> usize {
        class_of(self.ty).words() + self.position.map_or(0, |_| lowering.math.class().words())
    }

    /// Replaces it by another accumulator, of which these are the words.
    pub fn set_words(&mut self, lowering: &mut Lowering<'_>, words: &[Reg]) {
        let (value, position) = self.of_words(lowering, words);
        lowering
            .b
            .assign(move_of(class_of(self.ty)), self.best, &[value.into()]);
        if let (Some(own), Some(position)) = (self.position, position) {
            let class = lowering.math.class();
            lowering.b.assign(move_of(class), own, &[position.into()]);
        }
    }

    /// Takes in another accumulator, of which these are the words; positions may come in any order.
    pub fn merge_words(&mut self, lowering: &mut Lowering<'_>, words: &[Reg]) {
        let (value, position) = self.of_words(lowering, words);
        self.merge(lowering, Value::new(self.ty, value), position);
    }

    fn of_words(&self, lowering: &mut Lowering<'_>, words: &[Reg]) -> (Reg, Option<Reg>) {
        let class = class_of(self.ty);
        let (value, position) = words.split_at(class.words());
        let value = lowering.value_of_words(class, value);
        let class = lowering.math.class();
        (value, self.position.map(|_| lowering.value_of_words(class, position)))
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

    /// The result here, as a value; a position is an index.
    pub fn value(&self, lowering: &mut Lowering<'_>) -> Value {
        match self.position {
            Some(position) => {
                let reg = lowering.b.read(position);
                Value::new(lowering.index_type(), reg)
            }
            None => Value::new(self.ty, lowering.b.read(self.best)),
        }
    }
}

/// `true` if `a` takes the place of `b` in an `argmax` or `argmin`: it is better, or the first NaN.
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

/// The identity of a reduction.
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
