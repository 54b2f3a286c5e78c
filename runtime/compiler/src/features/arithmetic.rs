//! The effect of instructions on integers and truth values. Values from memory and floating-point numbers are unknown.

use super::form::{Form, LANES};
use super::mask::Mask;
use super::progression::{BLOCK, WARP, gcd};
use super::symbols::Symbols;
use crate::ptx::{Class, Compare, Few, Opcode};
use smallvec::smallvec;

/// The knowledge about a register.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// An integer, exactly.
    Form(Form),
    /// An integer between bounds, both included.
    Between(i64, i64),
    /// An integer up to a multiple of a number, which is the same in all lanes.
    Modulo(Form, i64),
    /// A truth value.
    Truth(Mask),
}

impl Value {
    pub const UNKNOWN: Value = Value::Between(i64::MIN, i64::MAX);

    pub fn constant(value: i64) -> Value {
        Value::Form(Form::constant(value))
    }

    pub fn truth(&self) -> Mask {
        match self {
            Value::Truth(mask) => *mask,
            _ => Mask::UNKNOWN,
        }
    }

    /// The smallest and the largest value.
    pub fn bounds(&self, symbols: &Symbols) -> (i64, i64) {
        match self {
            Value::Form(form) => symbols.hull(form),
            Value::Between(low, high) => (*low, *high),
            Value::Modulo(..) | Value::Truth(_) => (i64::MIN, i64::MAX),
        }
    }
}

/// Evaluates an instruction of the table.
pub(super) fn evaluate(symbols: &mut Symbols, opcode: Opcode, sources: &[Value], grid: [u32; 3]) -> Few<Value> {
    let result = match opcode {
        Opcode::TidX => Some(Value::Form(symbols.coordinate(WARP))),
        Opcode::CtaidX => Some(Value::Form(symbols.coordinate(BLOCK))),
        Opcode::CtaidY => Some(Value::Form(symbols.coordinate(BLOCK + 1))),
        Opcode::CtaidZ => Some(Value::Form(symbols.coordinate(BLOCK + 2))),
        Opcode::NctaidX => Some(Value::constant(grid[0].into())),
        // Only the alignment of shared memory matters.
        Opcode::SharedBase => Some(Value::constant(0)),
        _ => match sources {
            [a] => unary(symbols, opcode, a),
            [a, b] => binary(symbols, opcode, a, b),
            [a, b, c] => ternary(symbols, opcode, a, b, c),
            [a, b, _, _] if opcode == Opcode::QuotU32 => binary(symbols, Opcode::DivU32, a, b),
            _ => None,
        },
    };
    let results = opcode.row().results;
    match (result, results) {
        (Some(value), [class]) => smallvec![in_range(symbols, *class, value)],
        _ => results.iter().map(|_| Value::UNKNOWN).collect(),
    }
}

/// Returns the value of a register. A value that may wrap is unknown.
fn in_range(symbols: &Symbols, class: Class, value: Value) -> Value {
    let limits = match class {
        Class::B32 => (i64::from(i32::MIN), i64::from(i32::MAX)),
        Class::B64 => (i64::MIN / 2, i64::MAX / 2),
        _ => return value,
    };
    if let Value::Modulo(..) = value {
        // Wrapping adds a multiple of every sector size.
        return value;
    }
    let (low, high) = value.bounds(symbols);
    if limits.0 <= low && high <= limits.1 {
        value
    } else {
        Value::Between(limits.0, limits.1)
    }
}

fn unary(symbols: &mut Symbols, opcode: Opcode, a: &Value) -> Option<Value> {
    let (low, high) = a.bounds(symbols);
    match opcode {
        Opcode::MovB32 | Opcode::MovB64 | Opcode::CvtS64S32 | Opcode::ToGlobal => Some(a.clone()),
        // Signed and unsigned agree for non-negative numbers.
        Opcode::CvtU64U32 | Opcode::CvtU32U64 => (low >= 0 && high <= i64::from(i32::MAX)).then(|| a.clone()),
        Opcode::MovPred => Some(Value::Truth(a.truth())),
        Opcode::NotPred => Some(Value::Truth(a.truth().not())),
        Opcode::NegS32 | Opcode::NegS64 => Some(linear(symbols, &[(-1, a)], 0)),
        Opcode::NotB32 | Opcode::NotB64 => Some(linear(symbols, &[(-1, a)], -1)),
        Opcode::AbsS32 | Opcode::AbsS64 => {
            let negative = linear(symbols, &[(-1, a)], 0);
            let mask = less(symbols, a, &Value::constant(0));
            Some(select(symbols, mask, &negative, a))
        }
        _ => None,
    }
}

fn binary(symbols: &mut Symbols, opcode: Opcode, a: &Value, b: &Value) -> Option<Value> {
    Some(match opcode {
        Opcode::AddS32 | Opcode::AddS64 => linear(symbols, &[(1, a), (1, b)], 0),
        // The barrier gives all threads of a block the same result. It is followed for the warp alone.
        Opcode::BarrierOr => Value::Truth(b.truth()),
        Opcode::SubS32 | Opcode::SubS64 => linear(symbols, &[(1, a), (-1, b)], 0),
        Opcode::MulS32 | Opcode::MulS64 | Opcode::MulWideS32 => product(symbols, a, b)?,
        Opcode::MulWideU32 => {
            natural(symbols, &[a, b])?;
            product(symbols, a, b)?
        }
        Opcode::DivS32 | Opcode::DivU32 | Opcode::DivS64 | Opcode::DivU64 => {
            natural(symbols, &[a, b])?;
            divide(symbols, a, b)?.0
        }
        Opcode::RemS32 | Opcode::RemU32 | Opcode::RemS64 | Opcode::RemU64 => {
            natural(symbols, &[a, b])?;
            divide(symbols, a, b)?.1
        }
        Opcode::ShrU32 | Opcode::ShrU64 => {
            natural(symbols, &[a])?;
            divide(symbols, a, &power_of_two(b)?)?.0
        }
        Opcode::ShrS32 | Opcode::ShrS64 => divide(symbols, a, &power_of_two(b)?)?.0,
        Opcode::ShlB32 | Opcode::ShlB64 => product(symbols, a, &power_of_two(b)?)?,
        Opcode::MinS32 | Opcode::MinS64 => least(symbols, a, b),
        Opcode::MinU32 => {
            natural(symbols, &[a, b])?;
            least(symbols, a, b)
        }
        Opcode::MaxS32 | Opcode::MaxS64 => {
            let (a, b) = (linear(symbols, &[(-1, a)], 0), linear(symbols, &[(-1, b)], 0));
            let negative = least(symbols, &a, &b);
            linear(symbols, &[(-1, &negative)], 0)
        }
        Opcode::AndB32 | Opcode::AndB64 => bitwise(symbols, a, b, |a, b| a & b, true)?,
        Opcode::OrB32 | Opcode::OrB64 => bitwise(symbols, a, b, |a, b| a | b, false)?,
        Opcode::XorB32 | Opcode::XorB64 => bitwise(symbols, a, b, |a, b| a ^ b, false)?,
        Opcode::AndPred => Value::Truth(a.truth().and(b.truth())),
        Opcode::OrPred => Value::Truth(a.truth().or(b.truth())),
        Opcode::XorPred => Value::Truth(a.truth().xor(b.truth())),
        _ => return None,
    })
}

fn ternary(symbols: &mut Symbols, opcode: Opcode, a: &Value, b: &Value, c: &Value) -> Option<Value> {
    Some(match opcode {
        Opcode::MadS32 | Opcode::MadS64 | Opcode::MadWideS32 => {
            let product = product(symbols, a, b)?;
            linear(symbols, &[(1, &product), (1, c)], 0)
        }
        Opcode::SelB32 | Opcode::SelB64 => {
            let mask = c.truth();
            select(symbols, mask, a, b)
        }
        _ => return None,
    })
}

/// Evaluates a comparison. Comparisons of floating-point numbers are unknown; truth values are never compared.
pub(super) fn compare(
    symbols: &mut Symbols,
    compare: Compare,
    class: Class,
    signed: bool,
    a: &Value,
    b: &Value,
) -> Value {
    if !matches!(class, Class::B32 | Class::B64) {
        return Value::Truth(Mask::UNKNOWN);
    }
    let (first, second) = match compare {
        Compare::Gt | Compare::Le => (b, a),
        _ => (a, b),
    };
    let mask = match compare {
        Compare::Eq | Compare::Ne => match linear(symbols, &[(1, a), (-1, b)], 0) {
            Value::Form(difference) => symbols.zero(&difference),
            Value::Between(low, high) if low > 0 || high < 0 => Mask::exactly(0),
            _ => Mask::UNKNOWN,
        },
        Compare::Lt | Compare::Gt | Compare::Le | Compare::Ge => {
            let below = less(symbols, first, second);
            if signed {
                below
            } else {
                // As an unsigned number, a negative number is larger than any other.
                let zero = Value::constant(0);
                let negative = (less(symbols, first, &zero), less(symbols, second, &zero));
                let differ = negative.0.xor(negative.1);
                below.and(differ.not()).or(negative.1.and(differ))
            }
        }
        Compare::NeU | Compare::LtU | Compare::GtU => Mask::UNKNOWN,
    };
    Value::Truth(match compare {
        Compare::Ne | Compare::Le | Compare::Ge => mask.not(),
        _ => mask,
    })
}

/// Returns `Some` if none of the values can be negative.
fn natural(symbols: &Symbols, values: &[&Value]) -> Option<()> {
    values.iter().all(|value| value.bounds(symbols).0 >= 0).then_some(())
}

fn power_of_two(exponent: &Value) -> Option<Value> {
    match exponent {
        Value::Form(form) => match form.as_constant()? {
            shift @ 0..=31 => Some(Value::constant(1 << shift)),
            _ => None,
        },
        _ => None,
    }
}

/// `Σ factor · value + constant`
fn linear(symbols: &Symbols, terms: &[(i64, &Value)], constant: i64) -> Value {
    let mut sum = Form::constant(constant);
    let mut modulus = 0;
    for (factor, value) in terms {
        let form = match value {
            Value::Form(form) => Some(form),
            Value::Modulo(form, of) => {
                modulus = gcd(modulus, of.saturating_mul(*factor));
                Some(form)
            }
            _ => None,
        };
        let Some(form) = form else {
            let (mut low, mut high) = (constant, constant);
            for (factor, value) in terms {
                let bounds = value.bounds(symbols);
                let ends = [bounds.0.saturating_mul(*factor), bounds.1.saturating_mul(*factor)];
                low = low.saturating_add(ends[0].min(ends[1]));
                high = high.saturating_add(ends[0].max(ends[1]));
            }
            return Value::Between(low, high);
        };
        let form = symbols.resolved(form);
        sum = sum.plus(&if *factor == 1 { form } else { form.times(*factor) });
    }
    match modulus {
        0 => Value::Form(sum),
        modulus => Value::Modulo(sum, modulus),
    }
}

fn product(symbols: &mut Symbols, a: &Value, b: &Value) -> Option<Value> {
    if let (Value::Form(a), Value::Form(b)) = (a, b) {
        let (a, b) = (symbols.resolved(a), symbols.resolved(b));
        let fits = |form: &Form, factor: i64| {
            let (low, high) = symbols.hull(form);
            low.checked_mul(factor).is_some() && high.checked_mul(factor).is_some()
        };
        match (a.as_constant(), b.as_constant()) {
            (Some(factor), _) => return fits(&b, factor).then(|| Value::Form(b.times(factor))),
            (_, Some(factor)) => return fits(&a, factor).then(|| Value::Form(a.times(factor))),
            _ => {}
        }
        if let (Some(a), Some(b)) = (symbols.fix(&a), symbols.fix(&b)) {
            let (x, y) = (a.values(), b.values());
            return Some(Value::Form(Form::from_lanes(std::array::from_fn(|lane| {
                x[lane].wrapping_mul(y[lane])
            }))));
        }
    }
    let (a, b) = (a.bounds(symbols), b.bounds(symbols));
    let corners = [
        a.0.saturating_mul(b.0),
        a.0.saturating_mul(b.1),
        a.1.saturating_mul(b.0),
        a.1.saturating_mul(b.1),
    ];
    let (low, high) = corners
        .iter()
        .fold((i64::MAX, i64::MIN), |(low, high), &x| (low.min(x), high.max(x)));
    Some(Value::Between(low, high))
}

/// Returns the quotient (rounded down) and the remainder.
fn divide(symbols: &mut Symbols, a: &Value, b: &Value) -> Option<(Value, Value)> {
    let Value::Form(b) = b else { return None };
    let divisor = symbols.fix(b)?.as_constant().filter(|&divisor| divisor > 0)?;
    if let Value::Form(a) = a
        && let Some((quotient, rest)) = symbols.divide(a, divisor)
    {
        return Some((Value::Form(quotient), Value::Form(rest)));
    }
    let (low, high) = a.bounds(symbols);
    let quotient = Value::Between(low.div_euclid(divisor), high.div_euclid(divisor));
    Some((quotient, Value::Between(0, divisor - 1)))
}

/// Returns the lanes in which `a < b`.
pub(super) fn less(symbols: &mut Symbols, a: &Value, b: &Value) -> Mask {
    match linear(symbols, &[(1, a), (-1, b)], 0) {
        Value::Form(difference) => symbols.negative(&difference),
        Value::Between(_, high) if high < 0 => Mask::exactly(u32::MAX),
        Value::Between(low, _) if low >= 0 => Mask::exactly(0),
        _ => Mask::UNKNOWN,
    }
}

fn least(symbols: &mut Symbols, a: &Value, b: &Value) -> Value {
    // Prefer the first of equals: an index clamped to its own largest value then keeps its form.
    let mask = less(symbols, b, a).not();
    match select(symbols, mask, a, b) {
        Value::Between(..) => {
            let (a, b) = (a.bounds(symbols), b.bounds(symbols));
            Value::Between(a.0.min(b.0), a.1.min(b.1))
        }
        exact => exact,
    }
}

fn select(symbols: &mut Symbols, mask: Mask, a: &Value, b: &Value) -> Value {
    if let (Value::Form(a), Value::Form(b)) = (a, b)
        && let Some(form) = symbols.select(mask, a, b)
    {
        return Value::Form(form);
    }
    let (a, b) = (a.bounds(symbols), b.bounds(symbols));
    match mask.exact() {
        Some(u32::MAX) => Value::Between(a.0, a.1),
        Some(0) => Value::Between(b.0, b.1),
        _ => Value::Between(a.0.min(b.0), a.1.max(b.1)),
    }
}

/// Evaluates a bitwise operation with a small non-negative operand. Only the bits below its highest bit are affected.
fn bitwise(
    symbols: &mut Symbols,
    a: &Value,
    b: &Value,
    operation: impl Fn(i64, i64) -> i64,
    clears_others: bool,
) -> Option<Value> {
    let (low_a, high_a) = a.bounds(symbols);
    let (low_b, high_b) = b.bounds(symbols);
    // The smaller operand determines the number of affected bits.
    let (wide, narrow, most) = match (low_a >= 0, low_b >= 0) {
        (true, true) if high_a < high_b => (b, a, high_a),
        (_, true) => (a, b, high_b),
        (true, false) => (b, a, high_a),
        (false, false) => return None,
    };
    let bits = 64 - most.leading_zeros();
    if bits > 40 {
        return None;
    }
    let modulus = 1i64 << bits;
    let (Value::Form(wide), Value::Form(narrow)) = (wide, narrow) else {
        return clears_others.then_some(Value::Between(0, most));
    };
    let exact = symbols.divide(wide, modulus).and_then(|(above, below)| {
        // A mask of all bits is a remainder.
        let narrow = symbols.resolved(narrow);
        if clears_others && narrow.as_constant() == Some(modulus - 1) {
            return Some(below);
        }
        let (below, bits) = match narrow.as_constant() {
            // A mask of the highest bit is that bit times a quotient.
            Some(bit) if clears_others && bit == modulus / 2 => {
                let (bit, _) = symbols.divide(&below, modulus / 2)?;
                return Some(symbols.resolved(&bit).times(modulus / 2));
            }
            _ => (symbols.fix(&below)?, symbols.fix(&narrow)?),
        };
        let (x, y) = (below.values(), bits.values());
        let result: [i64; LANES] = std::array::from_fn(|lane| operation(x[lane], y[lane]));
        let result = Form::from_lanes(result);
        Some(if clears_others {
            result
        } else {
            symbols.resolved(&above).times(modulus).plus(&result)
        })
    });
    match exact {
        Some(form) => Some(Value::Form(form)),
        None => clears_others.then_some(Value::Between(0, most)),
    }
}
