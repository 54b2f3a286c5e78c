//! Evaluates elements.

use super::arithmetic::{arithmetic, cast, compared, converted, quotient, remainder};
use super::call::call;
use super::evaluated::{Evaluated, rounding_of};
use super::inputs::Reference;
use super::number::{Number, constant, loaded, stored, wrapped};
use super::total::Total;
use crate::element::Type;
use crate::ir::{AxisId, BinaryOp, Expr, ExprId, Function, InputId, LetId, Literal, ReduceOp, SizeId, Source, UnaryOp};
use std::collections::HashMap;

/// Returns the coordinates of an element by its row-major position.
pub fn coordinates(number: u64, shape: &[u64]) -> Vec<u64> {
    let mut rest = number;
    let mut coordinates = vec![0; shape.len()];
    for (coordinate, &extent) in coordinates.iter_mut().zip(shape).rev() {
        *coordinate = rest % extent.max(1);
        rest /= extent.max(1);
    }
    coordinates
}

impl Reference<'_> {
    /// Creates an evaluator. Evaluators are independent, so each thread can have its own.
    pub fn evaluator(&self) -> Evaluator<'_> {
        Evaluator {
            reference: self,
            axes: vec![0; self.checked.op().axes.len()],
            lets: HashMap::new(),
        }
    }

    /// Returns the stored bytes of a whole output.
    pub fn output(&self, output: usize) -> Vec<u8> {
        let shape = self.shape(output);
        let element = self.checked.op().outputs[output].element;
        let volume: u64 = shape.iter().product();
        let mut evaluator = self.evaluator();
        let mut bytes = Vec::with_capacity(volume as usize * element.size() as usize);
        for number in 0..volume {
            let value = evaluator.at(output, &coordinates(number, &shape)).value;
            bytes.extend(stored(element, value));
        }
        bytes
    }
}

/// Evaluates single elements, and caches intermediate tensors.
#[derive(Debug, Clone)]
pub struct Evaluator<'a> {
    reference: &'a Reference<'a>,
    /// The value of each axis in scope.
    axes: Vec<i64>,
    lets: HashMap<(LetId, Vec<i64>), Evaluated>,
}

/// The most cached elements of intermediate tensors. Then the cache is cleared.
const REMEMBERED: usize = 1 << 20;

impl Evaluator<'_> {
    /// Evaluates an element of an output. Coordinates beyond its shape give an unspecified value.
    pub fn at(&mut self, output: usize, coordinates: &[u64]) -> Evaluated {
        let entry = &self.reference.checked.op().outputs[output];
        for (axis, &coordinate) in entry.axes.iter().zip(coordinates) {
            self.axes[axis.index()] = coordinate as i64;
        }
        self.expr(entry.body)
    }

    fn expr(&mut self, id: ExprId) -> Evaluated {
        let checked = self.reference.checked;
        let op = checked.op();
        let ty = self.ty(id);
        match op.expr(id) {
            Expr::Literal(literal) => Evaluated::exact(constant(*literal, ty)),
            Expr::Size(size) => Evaluated::exact(wrapped(self.size(*size) as i64, ty)),
            Expr::Axis(axis) => Evaluated::exact(wrapped(self.axes[axis.index()], ty)),
            Expr::Scalar(input) => {
                let element = op.inputs[input.index()].element;
                Evaluated::exact(loaded(element, self.reference.inputs[input.index()]))
            }
            Expr::Read { source, index, or } => self.read(*source, index, *or, ty),
            Expr::Unary(unary, a) => {
                let a = self.value(*a, ty);
                let value = match (unary, a.value) {
                    (UnaryOp::Neg, Number::Float(value)) => Number::Float(-value),
                    (UnaryOp::Neg, value) => wrapped(value.integer().wrapping_neg(), ty),
                    (UnaryOp::Not, Number::Bool(value)) => Number::Bool(!value),
                    (UnaryOp::Not, value) => wrapped(!value.integer(), ty),
                };
                Evaluated { value, ..a }
            }
            Expr::Binary(binary @ (BinaryOp::And | BinaryOp::Or), a, b) => {
                let a = self.expr(*a);
                if a.value.truth() == (*binary == BinaryOp::Or) {
                    return a;
                }
                let b = self.expr(*b);
                Evaluated {
                    error: a.error + b.error,
                    ..b
                }
            }
            Expr::Binary(binary, a, b) => {
                let (a, b) = (self.value(*a, ty), self.value(*b, ty));
                arithmetic(*binary, a, b, ty)
            }
            Expr::Compare(compare, a, b) => {
                let operands = match checked.compares_indices(id) {
                    true => Type::I64,
                    false => checked.operand_ty(id),
                };
                let (a, b) = (self.value(*a, operands), self.value(*b, operands));
                let error = a.error + b.error;
                // `false` with NaN, so that NaN is doubtful.
                let apart = (a.value.float() - b.value.float()).abs() > error;
                let doubtful = error > 0.0 && !apart;
                Evaluated {
                    value: Number::Bool(compared(*compare, a.value, b.value)),
                    error: if doubtful { f64::INFINITY } else { 0.0 },
                }
            }
            Expr::Select {
                condition,
                accept,
                reject,
            } => {
                let condition = self.expr(*condition);
                let taken = if condition.value.truth() { *accept } else { *reject };
                let mut value = self.value(taken, ty);
                value.error += condition.error;
                value
            }
            Expr::Cast(a, element) => {
                let from = match op.expr(*a) {
                    Expr::Literal(_) => element.compute(),
                    _ => self.ty(*a),
                };
                let a = self.value(*a, from);
                let mut value = cast(a, *element);
                if self.reference.rescaled[id.index()] {
                    value.error += rounding_of(*element, value.value);
                }
                value
            }
            Expr::Call(function, arguments) => self.call(*function, arguments, ty),
            Expr::Reduce { op, axes, body } => self.reduce(*op, axes, *body, ty),
        }
    }

    /// Evaluates an expression in a given type.
    fn value(&mut self, id: ExprId, ty: Type) -> Evaluated {
        let checked = self.reference.checked;
        if let Expr::Literal(literal) = checked.op().expr(id) {
            return Evaluated::exact(constant(*literal, ty));
        }
        let value = self.expr(id);
        converted(value, self.ty(id), ty)
    }

    /// Returns the type of a value. Index values always have 64 bits here.
    fn ty(&self, id: ExprId) -> Type {
        let checked = self.reference.checked;
        match checked.is_index(id) {
            true => Type::I64,
            false => checked.ty(id),
        }
    }

    fn size(&self, size: SizeId) -> u64 {
        self.reference.sizes[size.index()]
    }

    fn read(&mut self, source: Source, index: &[ExprId], or: Option<ExprId>, ty: Type) -> Evaluated {
        let checked = self.reference.checked;
        let op = checked.op();
        let mut indices = Vec::with_capacity(index.len());
        let mut inside = true;
        for (dimension, &at) in index.iter().enumerate() {
            let value = self.index(at);
            let extent = match source {
                Source::Input(input) => op.inputs[input.index()]
                    .dims
                    .as_ref()
                    .map_or(0, |dims| self.size(dims[dimension])),
                Source::Let(inner) => self.size(checked.extent(op.lets[inner.index()].axes[dimension])),
            };
            inside &= u64::try_from(value).is_ok_and(|value| value < extent);
            indices.push(value);
        }
        if !inside {
            return match or {
                Some(or) => self.value(or, ty),
                None => Evaluated::exact(constant(Literal::Int(0), ty)),
            };
        }
        match source {
            Source::Input(input) => Evaluated::exact(self.element(input, &indices)),
            Source::Let(inner) => self.intermediate(inner, indices),
        }
    }

    fn element(&self, input: InputId, indices: &[i64]) -> Number {
        let entry = &self.reference.checked.op().inputs[input.index()];
        let mut offset = 0;
        for (&index, &size) in indices.iter().zip(entry.dims.iter().flatten()) {
            offset = offset * self.size(size) as usize + index as usize;
        }
        let size = entry.element.size() as usize;
        let bytes = &self.reference.inputs[input.index()][offset * size..(offset + 1) * size];
        loaded(entry.element, bytes)
    }

    fn intermediate(&mut self, inner: LetId, indices: Vec<i64>) -> Evaluated {
        let key = (inner, indices);
        if let Some(known) = self.lets.get(&key) {
            return *known;
        }
        let entry = &self.reference.checked.op().lets[inner.index()];
        let outer: Vec<i64> = entry.axes.iter().map(|axis| self.axes[axis.index()]).collect();
        for (axis, &value) in entry.axes.iter().zip(&key.1) {
            self.axes[axis.index()] = value;
        }
        let value = self.expr(entry.body);
        for (axis, value) in entry.axes.iter().zip(outer) {
            self.axes[axis.index()] = value;
        }
        if self.lets.len() >= REMEMBERED {
            self.lets.clear();
        }
        self.lets.insert(key, value);
        value
    }

    /// Evaluates an index in 64 bits, without the wrapping of values.
    fn index(&mut self, id: ExprId) -> i64 {
        let op = self.reference.checked.op();
        match *op.expr(id) {
            Expr::Axis(axis) => self.axes[axis.index()],
            Expr::Size(size) => self.size(size) as i64,
            Expr::Literal(Literal::Int(value)) => value,
            Expr::Unary(UnaryOp::Neg, a) => self.index(a).wrapping_neg(),
            Expr::Binary(BinaryOp::Add, a, b) => self.index(a).wrapping_add(self.index(b)),
            Expr::Binary(BinaryOp::Sub, a, b) => self.index(a).wrapping_sub(self.index(b)),
            Expr::Binary(BinaryOp::Mul, a, b) => self.index(a).wrapping_mul(self.index(b)),
            Expr::Binary(BinaryOp::Div, a, b) => quotient(self.index(a), self.index(b)),
            Expr::Binary(BinaryOp::Rem, a, b) => remainder(self.index(a), self.index(b)),
            _ => self.expr(id).value.integer(),
        }
    }

    fn call(&mut self, function: Function, arguments: &[ExprId], ty: Type) -> Evaluated {
        let mut values = Vec::with_capacity(2);
        for (position, &argument) in arguments.iter().enumerate() {
            let wanted = if function == Function::Powi && position == 1 {
                Type::I32
            } else {
                ty
            };
            values.push(self.value(argument, wanted));
        }
        call(function, &values, ty)
    }

    fn reduce(&mut self, op: ReduceOp, axes: &[AxisId], body: ExprId, own: Type) -> Evaluated {
        let checked = self.reference.checked;
        let ty = match op {
            ReduceOp::ArgMax | ReduceOp::ArgMin => self.ty(body),
            _ => own,
        };
        let extents: Vec<u64> = axes.iter().map(|&axis| self.size(checked.extent(axis))).collect();
        let terms: u64 = extents.iter().product();
        let mut total = Total::new(op, ty);
        let mut counters = vec![0u64; axes.len()];
        for position in 0..terms {
            for (axis, &counter) in axes.iter().zip(&counters) {
                self.axes[axis.index()] = counter as i64;
            }
            let value = self.value(body, ty);
            total.add(value, position);
            for (counter, &extent) in counters.iter_mut().zip(&extents).rev() {
                *counter += 1;
                if *counter < extent {
                    break;
                }
                *counter = 0;
            }
        }
        total.result(terms, own)
    }
}
