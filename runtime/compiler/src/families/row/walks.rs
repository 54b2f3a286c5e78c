//! Several reductions of a row in one walk, also such that depend on others of them: see [`crate::schedule::Online`].
//!
//! Each thread begins the dependent sums with provisional values of its own, and settles its part once the others are known to
//! all; across threads they are plain sums. A part that is not finite then is summed again as it is written, so that infinities
//! and NaN come out as anywhere else.

use crate::lower::Error;
use crate::lower::expression::{Accumulator, Binding, Lowering, or_identity};
use crate::lower::value::{self, Value, class_of};
use crate::lower::math;
use crate::element::Type;
use crate::ir::{AxisId, BinaryOp, Expr, ExprId, Function, ReduceOp, UnaryOp};
use crate::ptx::builder::move_of;
use crate::ptx::{Class, Compare, Guard, Opcode, Operand, Reg};
use super::lower::{Group, Pace, Partial, Step};
use super::joint::{Difference, Joint, Online, Product, Wave};
use crate::families::formula::{NodeId, Place, Symbol};

/// A reduction of a wave: where it is computed.
pub(super) struct Member {
    pub(super) node: NodeId,
    pub(super) op: ReduceOp,
    pub(super) ty: Type,
    pub(super) place: Place,
    pub(super) axes: Vec<AxisId>,
    pub(super) body: ExprId,
}

impl Member {
    pub(super) fn of(lowering: &Lowering<'_>, joint: &Joint<'_>, number: usize) -> Result<Member, Error> {
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
pub(super) enum Sum<'a> {
    Scaled {
        member: Member,
        by: &'a Product,
        /// What it is a multiple of exp(σ·m) for, at present: the position among the wave's plain reductions.
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

impl Group {
    /// Does the reductions that share walks.
    pub(super) fn joint(&mut self, lowering: &mut Lowering<'_>) -> Result<(), Error> {
        let Some(joint) = Joint::of(lowering.checked, self.row_count) else {
            return Ok(());
        };
        joint.shared().try_for_each(|wave| self.wave(lowering, &joint, wave))
    }

    pub(super) fn wave(&mut self, lowering: &mut Lowering<'_>, joint: &Joint<'_>, wave: &Wave) -> Result<(), Error> {
        let plain: Vec<Member> = wave
            .plain
            .iter()
            .map(|&number| Member::of(lowering, joint, number))
            .collect::<Result<_, _>>()?;
        let mut partial: Vec<Partial> = plain
            .iter()
            .map(|member| Partial::new(self, lowering, member.op, member.ty))
            .collect();
        let mut sums = Vec::with_capacity(wave.online.len());
        for (number, online) in &wave.online {
            let member = Member::of(lowering, joint, *number)?;
            sums.push(Sum::new(lowering, wave, member, online)?);
        }
        for member in &plain {
            self.bind_place(lowering, &member.place)?;
            self.ahead(lowering, member.body)?;
        }
        let axes = &plain.first().ok_or(Error::Unbound)?.axes;
        self.walk(lowering, axes, Pace::Schedule, |group, lowering, steps| {
            for (member, partial) in plain.iter().zip(&mut partial) {
                for step in steps {
                    group.bind_place(lowering, &member.place)?;
                    partial.add(group, lowering, &member.axes, member.body, step)?;
                }
            }
            sums.iter().try_for_each(|sum| match sum {
                Sum::Scaled { of, .. } => sum.scale(group, lowering, joint, &plain[*of], &partial[*of], steps),
                Sum::Centred { .. } => steps
                    .iter()
                    .try_for_each(|step| sum.centre(group, lowering, joint, step)),
            })
        })?;
        for (member, partial) in plain.iter().zip(partial) {
            let total = partial.total(self, lowering)?;
            self.define(lowering, joint, member.node, total)?;
        }
        for sum in &sums {
            let (member, part) = sum.settled(self, lowering, joint, &plain)?;
            let mut total = self.finite_or_again(lowering, member, part)?;
            self.across_threads(lowering, &mut total);
            let total = total.value(lowering);
            self.define(lowering, joint, member.node, total)?;
        }
        Ok(())
    }

    /// Binds the axes of a place that number rows.
    pub(super) fn bind_place(&self, lowering: &mut Lowering<'_>, place: &Place) -> Result<(), Error> {
        for &(axis, symbol) in &place.axes {
            if let Symbol::Output(position) = symbol {
                let coordinate = self.coordinates.get(position).ok_or(Error::Unbound)?;
                lowering.bind(axis, Binding::of(coordinate.clone()));
            }
        }
        Ok(())
    }

    /// Makes a reduction have a value, wherever the operator has it.
    pub(super) fn define(&self, lowering: &mut Lowering<'_>, joint: &Joint<'_>, node: NodeId, value: Value) -> Result<(), Error> {
        for place in joint.formulas.places(node) {
            self.bind_place(lowering, place)?;
            lowering.define(place.expr, value)?;
        }
        Ok(())
    }

    /// The value of what is the same for a row.
    pub(super) fn uniform(
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
    pub(super) fn element(
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

    /// A thread's part of a sum; as it is written, if it is not finite.
    pub(super) fn finite_or_again(
        &mut self,
        lowering: &mut Lowering<'_>,
        member: &Member,
        part: Value,
    ) -> Result<Accumulator, Error> {
        let class = class_of(member.ty);
        let mut sum = Accumulator::new(lowering, ReduceOp::Sum, member.ty);
        lowering.b.assign(move_of(class), sum.best, &[part.operand]);
        let (magnitude, infinity) = match member.ty {
            Type::F64 => (Opcode::AbsF64, Value::f64(f64::INFINITY)),
            _ => (Opcode::AbsF32, Value::f32(f32::INFINITY)),
        };
        let magnitude = lowering.b.op(magnitude, &[part.operand]);
        let finite = lowering
            .b
            .compare(Compare::Lt, class, magnitude.into(), infinity.operand);
        lowering.b.begin_if(Guard {
            predicate: finite,
            holds: false,
        });
        let zero = Value::zero(&mut lowering.b, member.ty);
        lowering.b.assign(move_of(class), sum.best, &[zero.operand]);
        self.bind_place(lowering, &member.place)?;
        let vector = self.schedule.vector;
        let done = self.walk(lowering, &member.axes, Pace::Slow, |group, lowering, steps| {
            for step in steps {
                for lane in 0..vector {
                    group.bind_lane(lowering, &member.axes, step, lane);
                    let value = lowering.value_as(member.body, member.ty, group)?;
                    sum.combine(lowering, value, &step.chunk);
                }
            }
            Ok(())
        });
        lowering.b.end();
        done.map(|()| sum)
    }
}

impl<'a> Sum<'a> {
    pub(super) fn new(lowering: &mut Lowering<'_>, wave: &Wave, member: Member, online: &'a Online) -> Result<Sum<'a>, Error> {
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
    pub(super) fn scale(
        &self,
        group: &mut Group,
        lowering: &mut Lowering<'_>,
        joint: &Joint<'_>,
        largest: &Member,
        partial: &Partial,
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
        for accumulator in &partial.0 {
            let value = Value::new(ty, lowering.b.read(accumulator.best));
            now = value::binary(&mut lowering.b, op, now, value);
        }
        let factor = rescaling(group, lowering, joint, by, before, now)?;
        group.define(lowering, joint, largest.node, now)?;
        let mut terms: Option<Value> = None;
        for step in steps {
            for lane in 0..group.schedule.vector {
                group.bind_place(lowering, &member.place)?;
                group.bind_lane(lowering, &member.axes, step, lane);
                let value = lowering.value_as(member.body, ty, group)?;
                let value = or_identity(&mut lowering.b, ReduceOp::Sum, value, step.guard);
                terms = Some(match terms {
                    Some(terms) => value::binary(&mut lowering.b, BinaryOp::Add, terms, value),
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

    /// Takes in a step, of a sum of products of differences.
    pub(super) fn centre(
        &self,
        group: &mut Group,
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
        let (ty, vector) = (member.ty, group.schedule.vector);
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
        // Of each side: the distances of the step's elements from their mean, the distance of that mean from those before, and the new one.
        let mut sides = Vec::with_capacity(2);
        for (difference, &mean) in differences.iter().zip(means) {
            if means[0] == means[1] && !sides.is_empty() {
                continue;
            }
            let mut elements = Vec::with_capacity(vector as usize);
            for lane in 0..vector {
                elements.push(group.element(lowering, joint, difference.element, ty, step, lane)?);
            }
            let b = &mut lowering.b;
            let own = match elements.split_first() {
                Some((&first, rest)) => rest
                    .iter()
                    .fold(first, |sum, &element| value::binary(b, BinaryOp::Add, sum, element)),
                None => return Err(Error::Unbound),
            };
            let own = value::binary(b, BinaryOp::Mul, own, number(ty, 1.0 / f64::from(vector)));
            let distances: Vec<Value> = elements
                .into_iter()
                .map(|element| value::binary(b, BinaryOp::Sub, element, own))
                .collect();
            let before = Value::new(ty, b.read(mean));
            let apart = value::binary(b, BinaryOp::Sub, own, before);
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
        let lost = value::binary(b, BinaryOp::Mul, share, number(ty, -f64::from(vector)));
        let weight = value::binary(b, BinaryOp::Add, elements, lost);
        let apart = value::binary(b, BinaryOp::Mul, first.1, weight);
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
    pub(super) fn settled(
        &self,
        group: &mut Group,
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
                let known = group.uniform(lowering, joint, plain[*of].node, ty)?;
                let before = Value::new(ty, lowering.b.read(*shift));
                let factor = rescaling(group, lowering, joint, by, before, known)?;
                let sum = Value::new(ty, lowering.b.read(*sum));
                let part = value::binary(&mut lowering.b, BinaryOp::Mul, sum, factor);
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
                        let centre = group.uniform(lowering, joint, centre, ty)?;
                        distance = value::binary(&mut lowering.b, BinaryOp::Sub, distance, centre);
                    }
                    distances.push(distance);
                }
                let b = &mut lowering.b;
                let steps = Value::new(Type::I32, b.read(*steps)).to(b, ty);
                let count = value::binary(b, BinaryOp::Mul, steps, number(ty, f64::from(group.schedule.vector)));
                let weighted = value::binary(b, BinaryOp::Mul, distances[0], count);
                let product = b.read(*product);
                let sources = [weighted.operand, distances[1].operand, product.into()];
                let mut part = Value::new(ty, b.op(value::fma_of(ty), &sources));
                if differences[0].negative != differences[1].negative {
                    part = value::unary(b, UnaryOp::Neg, part);
                }
                Ok((member, part))
            }
        }
    }
}

/// exp(σ·(after − before))
pub(super) fn rescaling(
    group: &mut Group,
    lowering: &mut Lowering<'_>,
    joint: &Joint<'_>,
    by: &Product,
    before: Value,
    after: Value,
) -> Result<Value, Error> {
    let ty = before.ty;
    let mut exponent = match by.constant < 0.0 {
        true => value::binary(&mut lowering.b, BinaryOp::Sub, before, after),
        false => value::binary(&mut lowering.b, BinaryOp::Sub, after, before),
    };
    if by.constant.abs() != 1.0 {
        exponent = value::binary(&mut lowering.b, BinaryOp::Mul, exponent, number(ty, by.constant.abs()));
    }
    for &(factor, divided) in &by.factors {
        let factor = group.uniform(lowering, joint, factor, ty)?;
        let op = if divided { BinaryOp::Div } else { BinaryOp::Mul };
        exponent = value::binary(&mut lowering.b, op, exponent, factor);
    }
    Ok(math::call(&mut lowering.b, Function::Exp, ty, &[exponent]))
}

/// The number that any other is beyond, where the largest (or smallest) is looked for.
pub(super) fn extreme(ty: Type, by: &Product) -> Value {
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

pub(super) fn number(ty: Type, value: f64) -> Value {
    match ty {
        Type::F64 => Value::f64(value),
        _ => Value::f32(value as f32),
    }
}
