//! The reference: an operator evaluated on the CPU, in `f64`, with a bound on how far a right kernel may be from it.
//!
//! Values are computed in `f64` (floats) or exactly (integers, wrapping in their compute type). With each comes the
//! absolute error that a kernel may have made computing it: a running error analysis, first order, in which an
//! operation of `f32` errs by 2⁻²⁴ of its result, a function by 4 units in the last place (`f64`: 2), and a sum of K
//! terms by 2·K·2⁻²⁴ of the sum of their magnitudes, in whatever order it is added. Where a small error changes what
//! is computed (a comparison, a conversion to an integer), the error is that of the wrong decision.

mod functions;

use crate::check::{CallError, Checked};
use crate::element::{Element, Type};
use crate::ir::{
    AxisId, BinaryOp, CompareOp, Expr, ExprId, Function, InputId, LetId, Literal, ReduceOp, SizeId, Source, UnaryOp,
};
use crate::text::{counted, given};
use half::{bf16, f16};
use std::collections::HashMap;

/// Why an operator was not evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The sizes are not valid.
    #[error(transparent)]
    Call(#[from] CallError),
    /// An argument has too few or too many bytes.
    #[error("`{name}` has {}, but its shape asks for {expected}", counted(*.found, "byte", "bytes"))]
    Length {
        /// The parameter.
        name: String,
        /// Bytes of its shape.
        expected: u64,
        /// Bytes given.
        found: u64,
    },
    /// A wrong number of arguments.
    #[error("the operator takes {}, but {}", counted(*.expected as u64, "argument", "arguments"), given(*.found as u64, "argument", "arguments"))]
    Arguments {
        /// Parameters.
        expected: usize,
        /// Arguments.
        found: usize,
    },
}

/// A number of the reference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A float, whatever its type, not rounded.
    Float(f64),
    /// An integer.
    Integer(i64),
    /// A truth value.
    Bool(bool),
}

/// A value with the error that a right kernel may have made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evaluated {
    /// The value, before it is rounded to the output's element type.
    pub value: Number,
    /// The absolute error, at most, before that rounding; infinite where anything goes.
    pub error: f64,
}

/// An operator with its sizes and arguments.
#[derive(Debug, Clone)]
pub struct Reference<'a> {
    checked: &'a Checked,
    sizes: &'a [u64],
    inputs: Vec<&'a [u8]>,
}

impl<'a> Reference<'a> {
    /// Checks sizes (all, in the order of [`Op::sizes`](crate::ir::Op::sizes)) and the arguments' lengths. Arguments are in the order of the parameters: a
    /// tensor's elements, row-major, or a scalar, little-endian.
    ///
    /// # Errors
    /// They do not fit the operator.
    pub fn new(checked: &'a Checked, sizes: &'a [u64], inputs: &[&'a [u8]]) -> Result<Reference<'a>, Error> {
        checked.verify(sizes)?;
        let op = checked.op();
        if op.inputs.len() != inputs.len() {
            return Err(Error::Arguments {
                expected: op.inputs.len(),
                found: inputs.len(),
            });
        }
        for (input, bytes) in op.inputs.iter().zip(inputs) {
            let dims = input.dims.iter().flatten().map(|size| sizes[size.index()]);
            let expected = dims.fold(u64::from(input.element.size()), u64::saturating_mul);
            let found = bytes.len() as u64;
            if expected != found {
                return Err(Error::Length {
                    name: input.name.clone(),
                    expected,
                    found,
                });
            }
        }
        Ok(Reference {
            checked,
            sizes,
            inputs: inputs.to_vec(),
        })
    }

    /// Starts evaluating. Evaluators are independent: one a thread.
    pub fn evaluator(&self) -> Evaluator<'_> {
        Evaluator {
            reference: self,
            axes: vec![0; self.checked.op().axes.len()],
            lets: HashMap::new(),
        }
    }

    /// The shape of an output.
    pub fn shape(&self, output: usize) -> Vec<u64> {
        let dims = &self.checked.op().outputs[output].dims;
        dims.iter().map(|size| self.sizes[size.index()]).collect()
    }

    /// All of an output, as it is stored.
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

/// The coordinates of the element of that number, row-major.
pub fn coordinates(number: u64, shape: &[u64]) -> Vec<u64> {
    let mut rest = number;
    let mut coordinates = vec![0; shape.len()];
    for (coordinate, &extent) in coordinates.iter_mut().zip(shape).rev() {
        *coordinate = rest % extent.max(1);
        rest /= extent.max(1);
    }
    coordinates
}

/// A value as an element of an output: rounded to nearest even, or wrapped.
pub fn stored(element: Element, value: Number) -> Vec<u8> {
    let float = value.float();
    let integer = value.integer();
    match element {
        Element::F32 => (float as f32).to_le_bytes().to_vec(),
        Element::F16 => f16::from_f64(float).to_le_bytes().to_vec(),
        Element::BF16 => bf16_from(float).to_le_bytes().to_vec(),
        Element::F64 => float.to_le_bytes().to_vec(),
        Element::I8 | Element::U8 => vec![integer as u8],
        Element::I32 => (integer as i32).to_le_bytes().to_vec(),
        Element::I64 => integer.to_le_bytes().to_vec(),
        Element::Bool => vec![u8::from(integer != 0)],
    }
}

/// Rounds once: by way of a binary32 rounded to odd.
fn bf16_from(value: f64) -> bf16 {
    let mut narrow = value as f32;
    if narrow.is_finite() && f64::from(narrow) != value {
        if f64::from(narrow).abs() > value.abs() {
            narrow = f32::from_bits(narrow.to_bits() - 1);
        }
        narrow = f32::from_bits(narrow.to_bits() | 1);
    }
    bf16::from_f32(narrow)
}

/// A stored element as a number; `bytes` has at least its size.
pub fn loaded(element: Element, bytes: &[u8]) -> Number {
    fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
        std::array::from_fn(|at| bytes.get(at).copied().unwrap_or(0))
    }
    match element {
        Element::F32 => Number::Float(f64::from(f32::from_le_bytes(array(bytes)))),
        Element::F16 => Number::Float(f16::from_le_bytes(array(bytes)).to_f64()),
        Element::BF16 => Number::Float(bf16::from_le_bytes(array(bytes)).to_f64()),
        Element::F64 => Number::Float(f64::from_le_bytes(array(bytes))),
        Element::I8 => Number::Integer(i64::from(i8::from_le_bytes(array(bytes)))),
        Element::U8 => Number::Integer(i64::from(bytes[0])),
        Element::I32 => Number::Integer(i64::from(i32::from_le_bytes(array(bytes)))),
        Element::I64 => Number::Integer(i64::from_le_bytes(array(bytes))),
        Element::Bool => Number::Bool(bytes[0] != 0),
    }
}

impl Number {
    /// As a float.
    pub fn float(self) -> f64 {
        match self {
            Number::Float(value) => value,
            Number::Integer(value) => value as f64,
            Number::Bool(value) => f64::from(u8::from(value)),
        }
    }

    /// As an integer: saturating from a float, as Rust's `as`.
    pub fn integer(self) -> i64 {
        match self {
            Number::Float(value) => value as i64,
            Number::Integer(value) => value,
            Number::Bool(value) => i64::from(value),
        }
    }

    fn truth(self) -> bool {
        self.integer() != 0
    }
}

impl Evaluated {
    const fn exact(value: Number) -> Evaluated {
        Evaluated { value, error: 0.0 }
    }

    /// Whether a stored element is what a right kernel may have stored: within the error, and one unit in the last place of the element's type.
    pub fn accepts(&self, element: Element, bytes: &[u8]) -> bool {
        let got = loaded(element, bytes);
        if !element.is_float() {
            let exact = loaded(element, &stored(element, self.value));
            // Neighbours are also those across the type's ends, since storing wraps.
            let distance = got.integer().wrapping_sub(exact.integer());
            let unused = 64 - 8 * element.size();
            let distance = (distance << unused) >> unused;
            return self.error.is_infinite() || distance.unsigned_abs() as f64 <= self.error;
        }
        let (got, value) = (got.float(), self.value.float());
        if self.error.is_infinite() {
            return true;
        }
        if value.is_nan() {
            return got.is_nan();
        }
        if value.is_infinite() {
            return got == value;
        }
        // First-order analysis: a little room for the second.
        let error = 1.02 * self.error + unit_in_last_place(element, value);
        let bound = |value: f64| loaded(element, &stored(element, Number::Float(value))).float();
        (bound(value - error)..=bound(value + error)).contains(&got)
    }
}

/// The distance between neighbours of an element type around a value; 0 for what has none.
fn unit_in_last_place(element: Element, value: f64) -> f64 {
    if !value.is_finite() {
        return 0.0;
    }
    let (digits, lowest) = match element {
        Element::F16 => (10, -24),
        Element::BF16 => (7, -133),
        Element::F32 => (23, -149),
        _ => (52, -1074),
    };
    let exponent = if value == 0.0 {
        lowest
    } else {
        libm::ilogb(value) - digits
    };
    libm::ldexp(1.0, exponent.max(lowest))
}

/// Half a unit in the last place, relative: what one operation errs by.
fn unit_roundoff(ty: Type) -> f64 {
    match ty {
        Type::F32 => 2f64.powi(-24),
        Type::F64 => 2f64.powi(-53),
        _ => 0.0,
    }
}

/// Evaluates single elements, remembering intermediate tensors.
#[derive(Debug, Clone)]
pub struct Evaluator<'a> {
    reference: &'a Reference<'a>,
    /// The value of each axis in scope.
    axes: Vec<i64>,
    lets: HashMap<(LetId, Vec<i64>), Evaluated>,
}

/// Elements of intermediate tensors that are remembered before the memory is given up.
const REMEMBERED: usize = 1 << 20;

impl Evaluator<'_> {
    /// An element of an output. Coordinates beyond its shape give an unspecified value.
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
                // With NaN, which is beyond no error, it is.
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
                cast(a, *element)
            }
            Expr::Call(function, arguments) => self.call(*function, arguments, ty),
            Expr::Reduce { op, axes, body } => self.reduce(*op, axes, *body, ty),
        }
    }

    /// An expression in the type in which it is wanted.
    fn value(&mut self, id: ExprId, ty: Type) -> Evaluated {
        let checked = self.reference.checked;
        if let Expr::Literal(literal) = checked.op().expr(id) {
            return Evaluated::exact(constant(*literal, ty));
        }
        let value = self.expr(id);
        converted(value, self.ty(id), ty)
    }

    /// The type a value is computed in. Index values have 64 bits, whatever a kernel needs for them.
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

    /// An index: mathematical integers, without the wrapping of values.
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
        let a = values[0];
        if ty.is_integer() {
            let x = a.value.integer();
            let value = match function {
                Function::Abs => x.wrapping_abs(),
                Function::Powi => power(x, values[1].value.integer()),
                _ => x.max(0),
            };
            return Evaluated::exact(wrapped(value, ty));
        }
        let numbers: Vec<f64> = values.iter().map(|value| value.value.float()).collect();
        let value = functions::function(function, &numbers);
        let (x, f) = (numbers[0], value);
        // How much an error of the argument becomes.
        let carried = |slope: f64| if a.error == 0.0 { 0.0 } else { slope.abs() * a.error };
        let units = if ty == Type::F32 { 4.0 } else { 2.0 };
        let own = rounding(2.0 * units * unit_roundoff(ty), f);
        let jump = |low: f64, high: f64| if low == high { 0.0 } else { (high - low).abs() };
        let at = |x: f64| functions::function(function, &[&[x], &numbers[1..]].concat());
        // Of a function that only rises or only falls; NaN, which is any, where it has no value.
        let spread = || match a.error {
            0.0 => 0.0,
            error => jump(at(x - error), f) + jump(at(x + error), f),
        };
        let error = match function {
            Function::Exp => own + carried(f).max(f * libm::expm1(a.error)),
            Function::Ln | Function::Sqrt | Function::Rsqrt | Function::Tanh | Function::Erf | Function::Sigmoid => {
                own + spread()
            }
            Function::Sin | Function::Cos => own + carried(1.0),
            Function::Abs | Function::Relu => a.error,
            Function::Powi | Function::Powf if a.error > 0.0 && x.abs() <= a.error => f64::INFINITY,
            Function::Powi => own + spread(),
            Function::Powf => {
                let of_power = if values[1].error == 0.0 {
                    0.0
                } else {
                    (f * libm::log(x)).abs() * values[1].error
                };
                own + spread() + of_power
            }
            Function::Floor | Function::Ceil | Function::Round | Function::Tf32 | Function::Tf32TowardZero => {
                jump(at(x - a.error), at(x + a.error))
            }
            Function::Gelu => 2.0 * own + carried(1.13),
            Function::Silu => 2.0 * own + carried(1.1),
        };
        Evaluated {
            value: Number::Float(value),
            error: in_type(error, value, ty),
        }
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

/// What a reduction has come to.
struct Total {
    op: ReduceOp,
    ty: Type,
    best: Number,
    position: u64,
    error: f64,
    /// The sum of the terms' magnitudes, or the product of those above 1.
    magnitude: f64,
    /// For `argmax`: the least that another candidate was behind, errors counted in.
    lead: f64,
    seen: bool,
}

impl Total {
    fn new(op: ReduceOp, ty: Type) -> Total {
        let float = ty.is_float();
        let number = |float_value: f64, integer: i64| {
            if float {
                Number::Float(float_value)
            } else {
                Number::Integer(integer)
            }
        };
        let (lowest, highest) = match ty {
            Type::I64 => (i64::MIN, i64::MAX),
            _ => (i64::from(i32::MIN), i64::from(i32::MAX)),
        };
        let best = match op {
            ReduceOp::Sum => number(0.0, 0),
            ReduceOp::Prod => number(1.0, 1),
            ReduceOp::Max | ReduceOp::ArgMax => number(f64::NEG_INFINITY, lowest),
            ReduceOp::Min | ReduceOp::ArgMin => number(f64::INFINITY, highest),
        };
        Total {
            op,
            ty,
            best,
            position: 0,
            error: 0.0,
            magnitude: if op == ReduceOp::Prod { 1.0 } else { 0.0 },
            lead: f64::INFINITY,
            seen: false,
        }
    }

    fn add(&mut self, term: Evaluated, position: u64) {
        match self.op {
            ReduceOp::Sum => {
                self.error += term.error;
                self.magnitude += term.value.float().abs();
                self.best = match (self.best, term.value) {
                    (Number::Float(a), b) => Number::Float(a + b.float()),
                    (a, b) => wrapped(a.integer().wrapping_add(b.integer()), self.ty),
                };
            }
            ReduceOp::Prod => {
                let so_far = Evaluated {
                    value: self.best,
                    error: self.error,
                };
                let product = arithmetic(BinaryOp::Mul, so_far, term, self.ty);
                (self.best, self.error) = (product.value, product.error);
                self.magnitude *= term.value.float().abs().max(1.0);
            }
            ReduceOp::Max | ReduceOp::Min => {
                let op = if self.op == ReduceOp::Max {
                    BinaryOp::Max
                } else {
                    BinaryOp::Min
                };
                let so_far = Evaluated {
                    value: self.best,
                    error: self.error,
                };
                let error = self.error.max(term.error);
                self.best = arithmetic(op, so_far, term, self.ty).value;
                self.error = error;
            }
            ReduceOp::ArgMax | ReduceOp::ArgMin => self.add_position(term, position),
        }
        self.seen = true;
    }

    fn add_position(&mut self, term: Evaluated, position: u64) {
        let sign = if self.op == ReduceOp::ArgMax { 1.0 } else { -1.0 };
        let (best, new) = (self.best.float(), term.value.float());
        let better = match (self.best, term.value) {
            (Number::Integer(a), Number::Integer(b)) => {
                if sign > 0.0 {
                    b > a
                } else {
                    b < a
                }
            }
            _ => !best.is_nan() && (new.is_nan() || sign * new > sign * best),
        };
        // With errors, whoever is that close may win.
        if self.seen && self.error + term.error > 0.0 {
            self.lead = self.lead.min((new - best).abs() - self.error - term.error);
        }
        if better {
            self.best = term.value;
            self.position = position;
        }
        self.error = self.error.max(term.error);
    }

    /// Whether finite terms may have come to more than their type holds.
    fn overflows(&self) -> bool {
        self.magnitude.is_finite() && self.magnitude > largest(self.ty)
    }

    /// What it has come to after so many terms, as a value of a type.
    fn result(self, terms: u64, ty: Type) -> Evaluated {
        match self.op {
            ReduceOp::ArgMax | ReduceOp::ArgMin => Evaluated {
                value: wrapped(self.position as i64, ty),
                error: if self.lead <= 0.0 { f64::INFINITY } else { 0.0 },
            },
            // In some order, a part of the whole may be as large as this, or too small to be exact.
            ReduceOp::Sum | ReduceOp::Prod if self.ty.is_float() && self.overflows() => Evaluated {
                value: self.best,
                error: f64::INFINITY,
            },
            ReduceOp::Sum => Evaluated {
                value: self.best,
                error: self.error + rounding(2.0 * terms as f64 * unit_roundoff(self.ty), self.magnitude),
            },
            ReduceOp::Prod if self.ty == Type::F32 && self.best.float().abs() < 2f64.powi(-126) * self.magnitude => {
                Evaluated {
                    value: self.best,
                    error: self.error + 2f64.powi(-148) * self.magnitude,
                }
            }
            _ => Evaluated {
                value: self.best,
                error: self.error,
            },
        }
    }
}

fn constant(literal: Literal, ty: Type) -> Number {
    match ty {
        Type::F32 => match literal {
            Literal::Float(value) => Number::Float(f64::from(value as f32)),
            Literal::Int(value) => Number::Float(f64::from(value as f32)),
            Literal::Bool(value) => Number::Bool(value),
        },
        Type::F64 => match literal {
            Literal::Float(value) => Number::Float(value),
            Literal::Int(value) => Number::Float(value as f64),
            Literal::Bool(value) => Number::Bool(value),
        },
        Type::Bool => Number::Bool(matches!(literal, Literal::Bool(true))),
        Type::I32 | Type::I64 => match literal {
            Literal::Float(value) => wrapped(value as i64, ty),
            Literal::Int(value) => wrapped(value, ty),
            Literal::Bool(value) => Number::Bool(value),
        },
    }
}

fn wrapped(value: i64, ty: Type) -> Number {
    Number::Integer(if ty == Type::I64 {
        value
    } else {
        i64::from(value as i32)
    })
}

fn quotient(a: i64, b: i64) -> i64 {
    if b == 0 { 0 } else { a.wrapping_div(b) }
}

fn remainder(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { a.wrapping_rem(b) }
}

/// `xⁿ`, wrapping; a negative power of an integer is 1/xⁿ, truncated.
fn power(x: i64, n: i64) -> i64 {
    if n < 0 {
        return match x {
            1 => 1,
            -1 => {
                if n % 2 == 0 {
                    1
                } else {
                    -1
                }
            }
            _ => 0,
        };
    }
    let (mut base, mut left, mut result) = (x, n, 1i64);
    while left > 0 {
        if left & 1 == 1 {
            result = result.wrapping_mul(base);
        }
        base = base.wrapping_mul(base);
        left >>= 1;
    }
    result
}

/// What rounding a value errs by; infinities and NaN are exact.
fn rounding(unit: f64, value: f64) -> f64 {
    if value.is_finite() { unit * value.abs() } else { 0.0 }
}

/// The error of a value as its type can hold it: one below the smallest subnormal is still one of that, and one without
/// a value, or beyond the largest number, is any.
fn in_type(error: f64, value: f64, ty: Type) -> f64 {
    match ty {
        _ if error.is_nan() => f64::INFINITY,
        Type::F32 if value.is_finite() && value.abs() + error > largest(ty) => f64::INFINITY,
        Type::F32 if error > 0.0 => error.max(2f64.powi(-148)),
        _ => error,
    }
}

/// The largest number of a type of floats.
fn largest(ty: Type) -> f64 {
    if ty == Type::F64 { f64::MAX } else { f64::from(f32::MAX) }
}

fn arithmetic(op: BinaryOp, a: Evaluated, b: Evaluated, ty: Type) -> Evaluated {
    if !ty.is_float() {
        let (x, y) = (a.value.integer(), b.value.integer());
        let value = match op {
            BinaryOp::Add => x.wrapping_add(y),
            BinaryOp::Sub => x.wrapping_sub(y),
            BinaryOp::Mul => x.wrapping_mul(y),
            BinaryOp::Div => quotient(x, y),
            BinaryOp::Rem => remainder(x, y),
            BinaryOp::Min => x.min(y),
            _ => x.max(y),
        };
        // An integer that a rounding decides is one of some; what is multiplied or divided by it, any.
        let scales = matches!(op, BinaryOp::Mul | BinaryOp::Div | BinaryOp::Rem);
        return Evaluated {
            value: wrapped(value, ty),
            error: match a.error + b.error {
                error if error > 0.0 && scales => f64::INFINITY,
                error => error,
            },
        };
    }
    let (x, y) = (a.value.float(), b.value.float());
    let unit = unit_roundoff(ty);
    let times = |error: f64, factor: f64| {
        if error == 0.0 || (factor == 0.0 && error.is_finite()) {
            0.0
        } else {
            error * factor.abs()
        }
    };
    let (value, error) = match op {
        BinaryOp::Add => (x + y, a.error + b.error + rounding(unit, x + y)),
        BinaryOp::Sub => (x - y, a.error + b.error + rounding(unit, x - y)),
        BinaryOp::Mul => (
            x * y,
            times(a.error, y) + times(b.error, x) + times(a.error, b.error) + rounding(unit, x * y),
        ),
        // The divisor may be 0.
        BinaryOp::Div | BinaryOp::Rem if b.error > 0.0 && y.abs() <= b.error => (x / y, f64::INFINITY),
        BinaryOp::Div => (
            x / y,
            times(a.error, 1.0 / y) + times(b.error, x / (y * y)) + rounding(unit, x / y),
        ),
        // A remainder is exact, but jumps with its operands.
        BinaryOp::Rem => (x % y, if a.error + b.error > 0.0 { y.abs() } else { 0.0 }),
        BinaryOp::Min => (functions::min(x, y), a.error.max(b.error)),
        _ => (functions::max(x, y), a.error.max(b.error)),
    };
    Evaluated {
        value: Number::Float(value),
        error: in_type(error, value, ty),
    }
}

fn compared(op: CompareOp, a: Number, b: Number) -> bool {
    let order = match (a, b) {
        (Number::Float(_), _) | (_, Number::Float(_)) => a.float().partial_cmp(&b.float()),
        _ => Some(a.integer().cmp(&b.integer())),
    };
    match op {
        CompareOp::Eq => order.is_some_and(|order| order.is_eq()),
        CompareOp::Ne => !order.is_some_and(|order| order.is_eq()),
        CompareOp::Lt => order.is_some_and(|order| order.is_lt()),
        CompareOp::Le => order.is_some_and(|order| order.is_le()),
        CompareOp::Gt => order.is_some_and(|order| order.is_gt()),
        CompareOp::Ge => order.is_some_and(|order| order.is_ge()),
    }
}

/// Promotion, or an integer in a narrower type.
fn converted(value: Evaluated, from: Type, to: Type) -> Evaluated {
    if from == to {
        return value;
    }
    match to {
        Type::F32 | Type::F64 => {
            let exact = value.value.float();
            let narrowed = if to == Type::F32 && from != Type::F64 {
                f64::from(exact as f32)
            } else {
                exact
            };
            let rounding = if to == Type::F32 && from == Type::F64 {
                rounding(unit_roundoff(Type::F32), exact)
            } else {
                0.0
            };
            Evaluated {
                value: Number::Float(narrowed),
                error: in_type(value.error + rounding, narrowed, to),
            }
        }
        Type::I32 | Type::I64 if from.is_float() => to_integer(value, to),
        Type::I32 | Type::I64 => Evaluated {
            value: wrapped(value.value.integer(), to),
            ..value
        },
        Type::Bool => Evaluated {
            value: Number::Bool(value.value.truth()),
            ..value
        },
    }
}

/// A float truncated and saturated to an integer.
fn to_integer(value: Evaluated, ty: Type) -> Evaluated {
    let truncated = |value: f64| {
        if ty == Type::I64 {
            value as i64
        } else {
            i64::from(value as i32)
        }
    };
    let float = value.value.float();
    let (low, high) = (truncated(float - value.error), truncated(float + value.error));
    Evaluated {
        value: Number::Integer(truncated(float)),
        error: (high as f64 - low as f64).abs(),
    }
}

/// `value as element`
fn cast(value: Evaluated, element: Element) -> Evaluated {
    let float = matches!(value.value, Number::Float(_));
    match element {
        Element::F16 | Element::BF16 => {
            let rounded = loaded(element, &stored(element, value.value));
            // An error may tip the rounding.
            let error = if value.error > 0.0 {
                value.error + unit_in_last_place(element, value.value.float())
            } else {
                0.0
            };
            Evaluated { value: rounded, error }
        }
        Element::I8 | Element::U8 => {
            let (low, high) = if element == Element::I8 { (-128, 127) } else { (0, 255) };
            if float {
                let integer = to_integer(value, Type::I32);
                return Evaluated {
                    value: Number::Integer(integer.value.integer().clamp(low, high)),
                    ..integer
                };
            }
            let integer = value.value.integer();
            let wrapped = if element == Element::I8 {
                i64::from(integer as i8)
            } else {
                i64::from(integer as u8)
            };
            Evaluated {
                value: Number::Integer(wrapped),
                ..value
            }
        }
        Element::Bool => Evaluated {
            value: Number::Bool(value.value.truth()),
            ..value
        },
        _ => {
            let from = match value.value {
                Number::Float(_) => Type::F64,
                Number::Integer(_) => Type::I64,
                Number::Bool(_) => Type::Bool,
            };
            converted(value, from, element.compute())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_have_64_bits() {
        let mut total = Total::new(ReduceOp::ArgMax, Type::F32);
        total.add(Evaluated::exact(Number::Float(0.0)), 0);
        total.add(Evaluated::exact(Number::Float(1.0)), 4_899_999_999);
        let found = total.result(4_900_000_000, Type::I64);
        assert_eq!(found, Evaluated::exact(Number::Integer(4_899_999_999)));
    }
}
