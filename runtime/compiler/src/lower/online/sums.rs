//! Online sums: begun with provisional values of what they depend on, and settled once that is known.

use super::step::Step;
use super::waves::{Difference, Joint, Online, Product, Wave};
use crate::element::Type;
use crate::families::formula::{NodeId, Place, Symbol};
use crate::ir::{AxisId, BinaryOp, Expr, ExprId, Function, ReduceOp, UnaryOp};
use crate::lower::arithmetic;
use crate::lower::expression::{Accumulator, Lowering, Reduce, or_identity};
use crate::lower::value::{self, Value, class_of};
use crate::lower::{Error, math};
use crate::ptx::builder::move_of;
use crate::ptx::{Class, Guard, Opcode, Operand, Reg};

/// A reduction of a wave: where it is computed.
pub(crate) struct Member {
    pub node: NodeId,
    pub op: ReduceOp,
    pub ty: Type,
    pub place: Place,
    pub axes: Vec<AxisId>,
    pub body: ExprId,
}

impl Member {
    pub fn of(lowering: &Lowering<'_>, joint: &Joint<'_>, number: usize) -> Result<Member, Error> {
        let node = joint.formulas.reductions[number].node;
        let place = joint.formulas.places(node).first().ok_or(Error::Unbound)?.clone();
        let Expr::Reduce { op, axes, body } = lowering.op().expr(place.expr) else {
            return Err(Error::Unbound);
        };
        Ok(Member {
            node,
            op: *op,
            ty: lowering.reduced_ty(place.expr),
            place,
            axes: axes.clone(),
            body: *body,
        })
    }
}

/// A dependent sum, and what a thread has of it.
pub(crate) enum Sum<'a> {
    Scaled {
        member: Member,
        by: &'a Product,
        /// The position of m among the wave's plain reductions.
        of: usize,
        /// Provisional m, and the sum with it.
        shift: Reg,
        sum: Reg,
    },
    Centred {
        member: Member,
        differences: [Difference; 2],
        /// Steps so far.
        steps: Reg,
        /// The means of the differences' elements; one register if they are one.
        means: [Reg; 2],
        /// Σ(f − f̄)(g − ḡ)
        product: Reg,
    },
}

/// A family that walks over the elements of a row, as online sums ask of it.
pub(crate) trait Walker: Reduce + Sized {
    /// Neighbouring elements of a step.
    fn vector(&self) -> u32;

    /// Binds the axes of a place that number rows.
    ///
    /// # Errors
    /// The place has a row's axis that the family does not bind.
    fn bind_place(&self, lowering: &mut Lowering<'_>, place: &Place) -> Result<(), Error>;

    /// Makes a step the one at hand.
    fn go_to(&mut self, lowering: &mut Lowering<'_>, step: &Step);

    /// Makes a step the one at hand, and binds the axes of its walk to one of its lanes.
    fn bind_lane(&mut self, lowering: &mut Lowering<'_>, axes: &[AxisId], step: &Step, lane: u32) {
        self.go_to(lowering, step);
        for (dimension, &axis) in axes.iter().enumerate() {
            step.bind(lowering, axis, dimension, lane);
        }
    }

    /// Makes a reduction have a value, wherever the operator has it.
    fn define(&self, lowering: &mut Lowering<'_>, joint: &Joint<'_>, node: NodeId, value: Value) -> Result<(), Error> {
        for place in joint.formulas.places(node) {
            self.bind_place(lowering, place)?;
            lowering.define(place.expr, value)?;
        }
        Ok(())
    }

    /// The value of what is the same for a row.
    fn uniform(
        &mut self,
        lowering: &mut Lowering<'_>,
        joint: &Joint<'_>,
        node: NodeId,
        ty: Type,
    ) -> Result<Value, Error> {
        let place = joint.formulas.places(node).first().ok_or(Error::Unbound)?;
        self.bind_place(lowering, place)?;
        lowering.value_as(place.expr, ty, self)
    }

    /// The value of a part of a member's body at one lane of a step.
    fn element(
        &mut self,
        lowering: &mut Lowering<'_>,
        joint: &Joint<'_>,
        node: NodeId,
        ty: Type,
        step: &Step,
        lane: u32,
    ) -> Result<Value, Error> {
        let place = joint.formulas.places(node).first().ok_or(Error::Unbound)?;
        self.bind_place(lowering, place)?;
        self.go_to(lowering, step);
        for &(axis, symbol) in &place.axes {
            if let Symbol::Lane(dimension) = symbol {
                step.bind(lowering, axis, dimension, lane);
            }
        }
        lowering.value_as(place.expr, ty, self)
    }
}

impl<'a> Sum<'a> {
    pub fn new(lowering: &mut Lowering<'_>, wave: &Wave, member: Member, online: &'a Online) -> Result<Sum<'a>, Error> {
        let class = class_of(member.ty);
        let zero = Value::zero(&mut lowering.b, member.ty).operand;
        Ok(match online {
            Online::Scaled { of, by } => {
                let of = wave
                    .plain
                    .iter()
                    .position(|number| number == of)
                    .ok_or(Error::Unbound)?;
                let shift = extreme(member.ty, by).operand;
                Sum::Scaled {
                    by,
                    of,
                    shift: lowering.b.mutable(class, shift),
                    sum: lowering.b.mutable(class, zero),
                    member,
                }
            }
            Online::Centred(differences) => {
                let first = lowering.b.mutable(class, zero);
                let second = match differences[0].element == differences[1].element {
                    true => first,
                    false => lowering.b.mutable(class, zero),
                };
                Sum::Centred {
                    differences: *differences,
                    steps: lowering.b.mutable(Class::B32, 0.into()),
                    means: [first, second],
                    product: lowering.b.mutable(class, zero),
                    member,
                }
            }
        })
    }

    /// Takes in the steps of a turn, of a sum that is a multiple of exp(σ·m): m grows to what `partial` has come to.
    pub fn scale<W: Walker>(
        &self,
        walker: &mut W,
        lowering: &mut Lowering<'_>,
        joint: &Joint<'_>,
        largest: &Member,
        largest_so_far: &[Accumulator],
        steps: &[Step],
    ) -> Result<(), Error> {
        let Sum::Scaled {
            member, by, shift, sum, ..
        } = self
        else {
            return Err(Error::Unbound);
        };
        let (ty, class) = (member.ty, class_of(member.ty));
        // Not less than the lowest number, so that −∞ has a distance from it.
        let before = Value::new(ty, lowering.b.read(*shift));
        let op = if largest.op == ReduceOp::Max {
            BinaryOp::Max
        } else {
            BinaryOp::Min
        };
        let mut now = before;
        for accumulator in largest_so_far {
            let value = Value::new(ty, lowering.b.read(accumulator.best));
            now = arithmetic::binary(&mut lowering.b, op, now, value);
        }
        let factor = rescaling(walker, lowering, joint, by, before, now)?;
        walker.define(lowering, joint, largest.node, now)?;
        let mut terms: Option<Value> = None;
        for step in steps {
            for lane in 0..walker.vector() {
                walker.bind_place(lowering, &member.place)?;
                walker.bind_lane(lowering, &member.axes, step, lane);
                let value = lowering.value_as(member.body, ty, walker)?;
                let value = or_identity(&mut lowering.b, ReduceOp::Sum, value, step.guard);
                terms = Some(match terms {
                    Some(terms) => arithmetic::binary(&mut lowering.b, BinaryOp::Add, terms, value),
                    None => value,
                });
            }
        }
        let terms = terms.ok_or(Error::Unbound)?;
        let sources = [Operand::Reg(*sum), factor.operand, terms.operand];
        lowering.b.assign(value::fma_of(ty), *sum, &sources);
        lowering.b.assign(move_of(class), *shift, &[now.operand]);
        Ok(())
    }

    /// The reduction.
    pub fn member(&self) -> &Member {
        match self {
            Sum::Scaled { member, .. } | Sum::Centred { member, .. } => member,
        }
    }

    /// The types of what [`Sum::left`] gives.
    pub fn left_types(&self) -> Vec<Type> {
        match self {
            Sum::Scaled { member, .. } => vec![member.ty],
            Sum::Centred { member, means, .. } => {
                let mut types = vec![Type::I32, member.ty];
                types.extend((means[0] != means[1]).then_some(member.ty));
                types.push(member.ty);
                types
            }
        }
    }

    /// What [`Sum::take_in`] needs of a sum that threads share: of a multiple of exp(σ·m) the sum for the m of all, `largest`; of products
    /// of differences the steps, the means and the sum around these. `total` adds up what each thread has of a value.
    pub fn left<W: Walker>(
        &self,
        walker: &mut W,
        lowering: &mut Lowering<'_>,
        joint: &Joint<'_>,
        largest: Option<Value>,
        total: &mut dyn FnMut(&mut W, &mut Lowering<'_>, Value) -> Value,
    ) -> Result<Vec<Value>, Error> {
        match self {
            Sum::Scaled { by, shift, sum, .. } => {
                let largest = largest.ok_or(Error::Unbound)?;
                let before = Value::new(largest.ty, lowering.b.read(*shift));
                let after = nearer(lowering, by, largest);
                let factor = rescaling(walker, lowering, joint, by, before, after)?;
                let sum = Value::new(largest.ty, lowering.b.read(*sum));
                let part = arithmetic::binary(&mut lowering.b, BinaryOp::Mul, sum, factor);
                Ok(vec![total(walker, lowering, part)])
            }
            Sum::Centred {
                member,
                steps,
                means,
                product,
                ..
            } => {
                let (ty, vector) = (member.ty, f64::from(walker.vector()));
                let own_steps = Value::new(Type::I32, lowering.b.read(*steps));
                let all_steps = total(walker, lowering, own_steps);
                let own = own_steps.to(&mut lowering.b, ty);
                let all = all_steps.to(&mut lowering.b, ty);
                // Threads that have no elements have no mean.
                let some = arithmetic::binary(&mut lowering.b, BinaryOp::Max, all, number(ty, 1.0));
                let mut left = vec![all_steps];
                let mut distances = Vec::with_capacity(2);
                for (which, &mean) in means.iter().enumerate() {
                    if which == 1 && means[0] == means[1] {
                        distances.extend(distances.first().copied());
                        continue;
                    }
                    let mean = Value::new(ty, lowering.b.read(mean));
                    let weighted = arithmetic::binary(&mut lowering.b, BinaryOp::Mul, mean, own);
                    let weighted = total(walker, lowering, weighted);
                    let of_all = arithmetic::binary(&mut lowering.b, BinaryOp::Div, weighted, some);
                    distances.push(arithmetic::binary(&mut lowering.b, BinaryOp::Sub, mean, of_all));
                    left.push(of_all);
                }
                let count = arithmetic::binary(&mut lowering.b, BinaryOp::Mul, own, number(ty, vector));
                let first = arithmetic::binary(&mut lowering.b, BinaryOp::Mul, distances[0], count);
                let product = lowering.b.read(*product);
                let sources = [first.operand, distances[1].operand, product.into()];
                let part = Value::new(ty, lowering.b.op(value::fma_of(ty), &sources));
                left.push(total(walker, lowering, part));
                Ok(left)
            }
        }
    }

    /// Takes in what others have come to, as [`Sum::left`] gives it; `largest` is their m.
    pub fn take_in<W: Walker>(
        &self,
        walker: &mut W,
        lowering: &mut Lowering<'_>,
        joint: &Joint<'_>,
        largest: Option<Value>,
        left: &[Value],
    ) -> Result<(), Error> {
        match self {
            Sum::Scaled { by, shift, sum, .. } => {
                let (largest, &[other]) = (largest.ok_or(Error::Unbound)?, left) else {
                    return Err(Error::Unbound);
                };
                let ty = largest.ty;
                let op = if by.constant < 0.0 {
                    BinaryOp::Max
                } else {
                    BinaryOp::Min
                };
                let before = Value::new(ty, lowering.b.read(*shift));
                let theirs = nearer(lowering, by, largest);
                let now = arithmetic::binary(&mut lowering.b, op, before, theirs);
                let own = rescaling(walker, lowering, joint, by, before, now)?;
                let of_other = rescaling(walker, lowering, joint, by, theirs, now)?;
                let other = arithmetic::binary(&mut lowering.b, BinaryOp::Mul, other, of_other);
                let sources = [Operand::Reg(*sum), own.operand, other.operand];
                lowering.b.assign(value::fma_of(ty), *sum, &sources);
                lowering.b.assign(move_of(class_of(ty)), *shift, &[now.operand]);
            }
            Sum::Centred {
                member,
                steps,
                means,
                product,
                ..
            } => {
                let (ty, vector) = (member.ty, f64::from(walker.vector()));
                let (&[theirs, .., other], Some(other_means)) = (left, left.get(1..left.len() - 1)) else {
                    return Err(Error::Unbound);
                };
                let b = &mut lowering.b;
                let before = Value::new(Type::I32, b.read(*steps));
                let after = arithmetic::binary(b, BinaryOp::Add, before, theirs);
                let [own_f, theirs_f, after_f] = [before, theirs, after].map(|steps| steps.to(b, ty));
                let some = arithmetic::binary(b, BinaryOp::Max, after_f, number(ty, 1.0));
                let share = arithmetic::binary(b, BinaryOp::Div, theirs_f, some);
                let mut apart = Vec::with_capacity(2);
                for (&mean, &other) in means.iter().zip(other_means) {
                    let own = Value::new(ty, b.read(mean));
                    let distance = arithmetic::binary(b, BinaryOp::Sub, other, own);
                    let sources = [distance.operand, share.operand, own.operand];
                    b.assign(value::fma_of(ty), mean, &sources);
                    apart.push(distance);
                }
                let (&first, &second) = (apart.first().zip(apart.last())).ok_or(Error::Unbound)?;
                let weight = arithmetic::binary(b, BinaryOp::Mul, own_f, share);
                let weight = arithmetic::binary(b, BinaryOp::Mul, weight, number(ty, vector));
                let weighted = arithmetic::binary(b, BinaryOp::Mul, first, weight);
                let own = Value::new(ty, b.read(*product));
                let sum = arithmetic::binary(b, BinaryOp::Add, own, other);
                let sources = [weighted.operand, second.operand, sum.operand];
                b.assign(value::fma_of(ty), *product, &sources);
                b.assign(Opcode::AddS32, *steps, &[before.operand, theirs.operand]);
            }
        }
        Ok(())
    }

    /// Takes in a step, of a sum of products of differences.
    pub fn centre<W: Walker>(
        &self,
        walker: &mut W,
        lowering: &mut Lowering<'_>,
        joint: &Joint<'_>,
        step: &Step,
    ) -> Result<(), Error> {
        let Sum::Centred {
            member,
            differences,
            steps,
            means,
            product,
        } = self
        else {
            return Err(Error::Unbound);
        };
        let (ty, vector) = (member.ty, walker.vector());
        let guard = step.guard.map(|predicate| Guard { predicate, holds: true });
        lowering
            .b
            .assign_if(guard, Opcode::AddS32, *steps, &[Operand::Reg(*steps), 1.into()]);
        let count = lowering.b.read(*steps);
        let count = Value::new(Type::I32, count).to(&mut lowering.b, ty);
        let reciprocal = if ty == Type::F64 {
            Opcode::RcpF64
        } else {
            Opcode::RcpF32
        };
        let share = Value::new(ty, lowering.b.op(reciprocal, &[count.operand]));
        // For each side: the residuals of the step's elements, the distance of their mean from the mean so far, and the new mean.
        let mut sides = Vec::with_capacity(2);
        for (difference, &mean) in differences.iter().zip(means) {
            if means[0] == means[1] && !sides.is_empty() {
                continue;
            }
            let mut elements = Vec::with_capacity(vector as usize);
            for lane in 0..vector {
                elements.push(walker.element(lowering, joint, difference.element, ty, step, lane)?);
            }
            let b = &mut lowering.b;
            let own = match elements.split_first() {
                Some((&first, rest)) => rest.iter().fold(first, |sum, &element| {
                    arithmetic::binary(b, BinaryOp::Add, sum, element)
                }),
                None => return Err(Error::Unbound),
            };
            let own = arithmetic::binary(b, BinaryOp::Mul, own, number(ty, 1.0 / f64::from(vector)));
            let distances: Vec<Value> = elements
                .into_iter()
                .map(|element| arithmetic::binary(b, BinaryOp::Sub, element, own))
                .collect();
            let before = Value::new(ty, b.read(mean));
            let apart = arithmetic::binary(b, BinaryOp::Sub, own, before);
            let sources = [apart.operand, share.operand, before.operand];
            let after = Value::new(ty, b.op(value::fma_of(ty), &sources));
            sides.push((distances, apart, after));
        }
        let (first, second) = (&sides[0], sides.last().unwrap_or(&sides[0]));
        // Σ over the step around its own means, then what it adds for their distance: v·(1 − 1/k) times both distances.
        let b = &mut lowering.b;
        let mut sum = Value::new(ty, b.read(*product));
        for (&x, &y) in first.0.iter().zip(&second.0) {
            sum = Value::new(ty, b.op(value::fma_of(ty), &[x.operand, y.operand, sum.operand]));
        }
        let elements = number(ty, f64::from(vector));
        let lost = arithmetic::binary(b, BinaryOp::Mul, share, number(ty, -f64::from(vector)));
        let weight = arithmetic::binary(b, BinaryOp::Add, elements, lost);
        let apart = arithmetic::binary(b, BinaryOp::Mul, first.1, weight);
        let sum = b.op(value::fma_of(ty), &[apart.operand, second.1.operand, sum.operand]);
        let class = class_of(ty);
        b.assign_if(guard, move_of(class), *product, &[sum.into()]);
        b.assign_if(guard, move_of(class), means[0], &[first.2.operand]);
        if means[0] != means[1] {
            b.assign_if(guard, move_of(class), means[1], &[second.2.operand]);
        }
        Ok(())
    }

    /// The thread's part of the sum, now that what it depends on is known.
    pub fn settled<W: Walker>(
        &self,
        walker: &mut W,
        lowering: &mut Lowering<'_>,
        joint: &Joint<'_>,
        plain: &[Member],
    ) -> Result<(&Member, Value), Error> {
        match self {
            Sum::Scaled {
                member,
                by,
                of,
                shift,
                sum,
            } => {
                let ty = member.ty;
                let known = walker.uniform(lowering, joint, plain[*of].node, ty)?;
                let before = Value::new(ty, lowering.b.read(*shift));
                let factor = rescaling(walker, lowering, joint, by, before, known)?;
                let sum = Value::new(ty, lowering.b.read(*sum));
                let part = arithmetic::binary(&mut lowering.b, BinaryOp::Mul, sum, factor);
                Ok((member, part))
            }
            Sum::Centred {
                member,
                differences,
                steps,
                means,
                product,
            } => {
                let ty = member.ty;
                let mut distances = Vec::with_capacity(2);
                for (difference, &mean) in differences.iter().zip(means) {
                    let mut distance = Value::new(ty, lowering.b.read(mean));
                    if let Some(centre) = difference.centre {
                        let centre = walker.uniform(lowering, joint, centre, ty)?;
                        distance = arithmetic::binary(&mut lowering.b, BinaryOp::Sub, distance, centre);
                    }
                    distances.push(distance);
                }
                let b = &mut lowering.b;
                let steps = Value::new(Type::I32, b.read(*steps)).to(b, ty);
                let count = arithmetic::binary(b, BinaryOp::Mul, steps, number(ty, f64::from(walker.vector())));
                let weighted = arithmetic::binary(b, BinaryOp::Mul, distances[0], count);
                let product = b.read(*product);
                let sources = [weighted.operand, distances[1].operand, product.into()];
                let mut part = Value::new(ty, b.op(value::fma_of(ty), &sources));
                if differences[0].negative != differences[1].negative {
                    part = arithmetic::unary(b, UnaryOp::Neg, part);
                }
                Ok((member, part))
            }
        }
    }
}

/// exp(σ·(after − before))
fn rescaling<W: Walker>(
    walker: &mut W,
    lowering: &mut Lowering<'_>,
    joint: &Joint<'_>,
    by: &Product,
    before: Value,
    after: Value,
) -> Result<Value, Error> {
    let ty = before.ty;
    let mut exponent = match by.constant < 0.0 {
        true => arithmetic::binary(&mut lowering.b, BinaryOp::Sub, before, after),
        false => arithmetic::binary(&mut lowering.b, BinaryOp::Sub, after, before),
    };
    if by.constant.abs() != 1.0 {
        exponent = arithmetic::binary(&mut lowering.b, BinaryOp::Mul, exponent, number(ty, by.constant.abs()));
    }
    for &(factor, divided) in &by.factors {
        let factor = walker.uniform(lowering, joint, factor, ty)?;
        let op = if divided { BinaryOp::Div } else { BinaryOp::Mul };
        exponent = arithmetic::binary(&mut lowering.b, op, exponent, factor);
    }
    Ok(math::call(&mut lowering.b, Function::Exp, ty, &[exponent]))
}

/// A largest (or smallest) value, at least the lowest number, so that −∞ has a distance from it.
fn nearer(lowering: &mut Lowering<'_>, by: &Product, largest: Value) -> Value {
    let op = if by.constant < 0.0 {
        BinaryOp::Max
    } else {
        BinaryOp::Min
    };
    arithmetic::binary(&mut lowering.b, op, extreme(largest.ty, by), largest)
}

/// The number that any other is beyond, where the largest (or smallest) is looked for.
fn extreme(ty: Type, by: &Product) -> Value {
    let sign = if by.constant < 0.0 { -1.0 } else { 1.0 };
    number(
        ty,
        if ty == Type::F64 {
            sign * f64::MAX
        } else {
            sign * f64::from(f32::MAX)
        },
    )
}

fn number(ty: Type, value: f64) -> Value {
    match ty {
        Type::F64 => Value::f64(value),
        _ => Value::f32(value as f32),
    }
}
