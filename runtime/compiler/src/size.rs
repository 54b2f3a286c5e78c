//! Sizes: formulas over named sizes, their values at a call, and what a kernel assumes about them.

use crate::id::SizeId;
use bincode::{Decode, Encode};
use std::collections::BTreeMap;

/// A formula over sizes. An overflow is an error; values never wrap.
///
/// The encoding is a list in postfix order, so that decoding hostile bytes never recurses.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SizeExpr {
    /// A constant.
    Const(i64),
    /// A size.
    Size(SizeId),
    /// An operation on two formulas.
    Binary(SizeOp, Box<SizeExpr>, Box<SizeExpr>),
}

/// Operations of size formulas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub enum SizeOp {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a * b`
    Mul,
    /// `a / b`, truncating.
    Div,
    /// `a.div_ceil(b)`, rounded up.
    DivCeil,
    /// `a % b`
    Rem,
    /// `a.min(b)`
    Min,
    /// `a.max(b)`
    Max,
}

/// The reason that a size formula has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SizeExprError {
    /// A division by zero.
    #[error("divides by zero")]
    DivisionByZero,
    /// An intermediate value outside 64 bits.
    #[error("overflows 64 bits")]
    Overflow,
    /// A size without a value.
    #[error("refers to a size that has no value")]
    Unbound,
}

impl SizeExpr {
    /// Evaluates the formula at sizes in the order of [`Op::sizes`](crate::ir::Op::sizes).
    ///
    /// # Errors
    /// A division by zero, an overflow, or a size beyond `values`.
    pub fn evaluate(&self, values: &[u64]) -> Result<i64, SizeExprError> {
        match self {
            SizeExpr::Const(value) => Ok(*value),
            SizeExpr::Size(id) => values
                .get(id.index())
                .ok_or(SizeExprError::Unbound)
                .and_then(|&v| i64::try_from(v).map_err(|_| SizeExprError::Overflow)),
            SizeExpr::Binary(op, a, b) => {
                let (a, b) = (a.evaluate(values)?, b.evaluate(values)?);
                if b == 0 && matches!(op, SizeOp::Div | SizeOp::DivCeil | SizeOp::Rem) {
                    return Err(SizeExprError::DivisionByZero);
                }
                match op {
                    SizeOp::Add => a.checked_add(b),
                    SizeOp::Sub => a.checked_sub(b),
                    SizeOp::Mul => a.checked_mul(b),
                    SizeOp::Div => a.checked_div(b),
                    SizeOp::DivCeil => a.checked_div(b).and_then(|quotient| {
                        let inexact = a.checked_rem(b)? != 0 && ((a < 0) == (b < 0));
                        quotient.checked_add(i64::from(inexact))
                    }),
                    SizeOp::Rem => a.checked_rem(b),
                    SizeOp::Min => Some(a.min(b)),
                    SizeOp::Max => Some(a.max(b)),
                }
                .ok_or(SizeExprError::Overflow)
            }
        }
    }

    /// `ceil(self / divisor)`, folded where both are constant.
    pub fn div_ceil(self, divisor: u64) -> SizeExpr {
        self.binary(SizeOp::DivCeil, SizeExpr::Const(divisor as i64))
    }

    /// `self · other`, folded where both are constant.
    pub fn times(self, other: SizeExpr) -> SizeExpr {
        match (&self, &other) {
            (SizeExpr::Const(1), _) => other,
            (_, SizeExpr::Const(1)) => self,
            _ => self.binary(SizeOp::Mul, other),
        }
    }

    /// The operation on this and another formula, folded where both are constant.
    pub fn binary(self, op: SizeOp, other: SizeExpr) -> SizeExpr {
        let expr = SizeExpr::Binary(op, Box::new(self), Box::new(other));
        match &expr {
            SizeExpr::Binary(_, a, b)
                if matches!((a.as_ref(), b.as_ref()), (SizeExpr::Const(_), SizeExpr::Const(_))) =>
            {
                expr.evaluate(&[]).map_or(expr, SizeExpr::Const)
            }
            _ => expr,
        }
    }
}

/// The deepest nesting of a formula that decoding accepts.
pub const SIZE_EXPR_DEPTH: u32 = 64;

impl SizeExpr {
    /// `self + other`, folded where both are constant or one is 0.
    pub fn plus(self, other: SizeExpr) -> SizeExpr {
        match (&self, &other) {
            (SizeExpr::Const(0), _) => other,
            (_, SizeExpr::Const(0)) => self,
            _ => self.binary(SizeOp::Add, other),
        }
    }

    /// Returns the value of a constant formula.
    pub fn as_constant(&self) -> Option<i64> {
        match self {
            SizeExpr::Const(value) => Some(*value),
            _ => None,
        }
    }

    /// `true` if the formula nests at most `levels` deep. Looks no deeper than that.
    pub fn within_depth(&self, levels: u32) -> bool {
        match self {
            SizeExpr::Const(_) | SizeExpr::Size(_) => true,
            SizeExpr::Binary(_, a, b) => levels > 0 && a.within_depth(levels - 1) && b.within_depth(levels - 1),
        }
    }

    /// Calls `visit` for each reference to a size.
    pub fn sizes(&self, visit: &mut impl FnMut(SizeId)) {
        match self {
            SizeExpr::Const(_) => {}
            SizeExpr::Size(id) => visit(*id),
            SizeExpr::Binary(_, a, b) => {
                a.sizes(visit);
                b.sizes(visit);
            }
        }
    }

    /// Returns the formula over other sizes.
    pub(crate) fn with_sizes(&self, of: &impl Fn(SizeId) -> SizeId) -> SizeExpr {
        match self {
            SizeExpr::Const(value) => SizeExpr::Const(*value),
            SizeExpr::Size(id) => SizeExpr::Size(of(*id)),
            SizeExpr::Binary(op, a, b) => SizeExpr::Binary(*op, Box::new(a.with_sizes(of)), Box::new(b.with_sizes(of))),
        }
    }

    /// Returns the formula with sizes replaced by formulas.
    pub(crate) fn with_formulas(&self, of: &impl Fn(SizeId) -> SizeExpr) -> SizeExpr {
        match self {
            SizeExpr::Const(value) => SizeExpr::Const(*value),
            SizeExpr::Size(id) => of(*id),
            SizeExpr::Binary(op, a, b) => a.with_formulas(of).binary(*op, b.with_formulas(of)),
        }
    }

    fn postfix(&self, list: &mut Vec<Postfix>) {
        match self {
            SizeExpr::Const(value) => list.push(Postfix::Const(*value)),
            SizeExpr::Size(id) => list.push(Postfix::Size(*id)),
            SizeExpr::Binary(op, a, b) => {
                a.postfix(list);
                b.postfix(list);
                list.push(Postfix::Operation(*op));
            }
        }
    }

    fn from_postfix(list: Vec<Postfix>) -> Option<SizeExpr> {
        let mut stack: Vec<(SizeExpr, u32)> = Vec::new();
        for step in list {
            let next = match step {
                Postfix::Const(value) => (SizeExpr::Const(value), 0),
                Postfix::Size(id) => (SizeExpr::Size(id), 0),
                Postfix::Operation(op) => {
                    let ((b, depth_b), (a, depth_a)) = (stack.pop()?, stack.pop()?);
                    (SizeExpr::Binary(op, Box::new(a), Box::new(b)), depth_a.max(depth_b) + 1)
                }
            };
            if next.1 > SIZE_EXPR_DEPTH {
                return None;
            }
            stack.push(next);
        }
        let (expr, _) = stack.pop()?;
        stack.is_empty().then_some(expr)
    }
}

#[derive(Encode, Decode)]
enum Postfix {
    Const(i64),
    Size(SizeId),
    Operation(SizeOp),
}

impl Encode for SizeExpr {
    fn encode<E: bincode::enc::Encoder>(&self, encoder: &mut E) -> Result<(), bincode::error::EncodeError> {
        let mut list = Vec::new();
        self.postfix(&mut list);
        list.encode(encoder)
    }
}

impl<C> Decode<C> for SizeExpr {
    fn decode<D: bincode::de::Decoder<Context = C>>(decoder: &mut D) -> Result<Self, bincode::error::DecodeError> {
        let list = Vec::<Postfix>::decode(decoder)?;
        SizeExpr::from_postfix(list).ok_or(bincode::error::DecodeError::Other("not a size formula"))
    }
}

bincode::impl_borrow_decode!(SizeExpr);

/// Sizes by name: `Sizes::from([("M", 16), ("N", 1536)])`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct Sizes(BTreeMap<String, u64>);

impl Sizes {
    /// No sizes.
    pub fn new() -> Sizes {
        Sizes::default()
    }

    /// Adds a size, or replaces its value.
    #[must_use]
    pub fn with(mut self, name: &str, value: u64) -> Sizes {
        self.0.insert(name.to_owned(), value);
        self
    }

    /// The value of a size.
    pub fn get(&self, name: &str) -> Option<u64> {
        self.0.get(name).copied()
    }

    /// Names and values in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, &value)| (name.as_str(), value))
    }
}

impl<S: Into<String>> FromIterator<(S, u64)> for Sizes {
    fn from_iter<I: IntoIterator<Item = (S, u64)>>(pairs: I) -> Sizes {
        Sizes(pairs.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }
}

impl<S: Into<String>, const N: usize> From<[(S, u64); N]> for Sizes {
    fn from(pairs: [(S, u64); N]) -> Sizes {
        pairs.into_iter().collect()
    }
}

impl std::fmt::Display for Sizes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (position, (name, value)) in self.iter().enumerate() {
            let separator = if position == 0 { "" } else { ", " };
            write!(f, "{separator}{name} = {value}")?;
        }
        Ok(())
    }
}

/// What a kernel assumes about one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub enum Extent {
    /// Exactly this value, compiled in.
    Fixed(u64),
    /// A kernel argument that is a multiple of a power of two.
    Any {
        /// 1, 2, 4, 8 or 16.
        multiple_of: u32,
    },
    /// Such an argument with a largest value.
    AtMost {
        /// 1, 2, 4, 8 or 16.
        multiple_of: u32,
        /// The largest value.
        most: u64,
    },
}

impl Extent {
    /// Returns the largest power of two up to 16 that divides the value (16 for 0).
    pub fn alignment(value: u64) -> u32 {
        1 << value.trailing_zeros().min(4)
    }

    /// Returns a kernel argument with the alignment of this value.
    pub fn like(value: u64) -> Extent {
        Extent::Any {
            multiple_of: Extent::alignment(value),
        }
    }

    /// Returns the compiled-in value.
    pub fn fixed(self) -> Option<u64> {
        match self {
            Extent::Fixed(value) => Some(value),
            Extent::Any { .. } | Extent::AtMost { .. } => None,
        }
    }

    /// Returns the largest accepted value. `None` if there is none.
    pub fn most(self) -> Option<u64> {
        match self {
            Extent::Fixed(most) | Extent::AtMost { most, .. } => Some(most),
            Extent::Any { .. } => None,
        }
    }

    /// Returns a power of two up to 16 that divides every accepted value.
    pub fn multiple_of(self) -> u32 {
        match self {
            Extent::Fixed(value) => Extent::alignment(value),
            Extent::Any { multiple_of } | Extent::AtMost { multiple_of, .. } => multiple_of,
        }
    }

    /// The stronger of two statements about one size.
    pub(crate) fn and(self, other: Extent) -> Extent {
        match (self, other) {
            (Extent::Fixed(_), _) => self,
            (_, Extent::Fixed(_)) => other,
            _ if other.multiple_of() > self.multiple_of() => other,
            _ => self,
        }
    }

    /// `true` if kernels compiled for this extent are correct for the value.
    pub fn accepts(self, value: u64) -> bool {
        match self {
            Extent::Fixed(fixed) => fixed == value,
            Extent::Any { multiple_of } => value.is_multiple_of(u64::from(multiple_of)),
            Extent::AtMost { multiple_of, most } => value <= most && value.is_multiple_of(u64::from(multiple_of)),
        }
    }
}

/// What a kernel assumes about a call. A kernel is correct for every call that its specialisation accepts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct Specialisation {
    /// One for each of [`Op::sizes`](crate::ir::Op::sizes), derived ones included.
    pub extents: Vec<Extent>,
    /// `true` if every tensor starts at a multiple of 16 bytes.
    pub aligned: bool,
    /// `true` if index registers have 64 bits. A call for which [`is_wide`](crate::tuning::is_wide) is true needs them.
    pub wide: bool,
    /// `true` if the kernel reports gathered indices out of range in a word of device memory.
    pub check_indices: bool,
}

impl Specialisation {
    /// Compiles in every size, for 16-byte aligned tensors and 32-bit indices.
    pub fn exact(values: &[u64]) -> Specialisation {
        Specialisation {
            extents: values.iter().map(|&v| Extent::Fixed(v)).collect(),
            aligned: true,
            wide: false,
            check_indices: false,
        }
    }

    /// Makes every size a kernel argument with the alignment of the given value, for 16-byte aligned tensors and 32-bit indices.
    pub fn like(values: &[u64]) -> Specialisation {
        Specialisation {
            extents: values.iter().map(|&v| Extent::like(v)).collect(),
            ..Specialisation::exact(&[])
        }
    }

    /// The strongest statement about sizes that are equal at every call.
    pub(crate) fn stated(&self, equal: impl Iterator<Item = SizeId>) -> Extent {
        let stated = equal.filter_map(|size| self.extents.get(size.index()).copied());
        stated.reduce(Extent::and).unwrap_or(Extent::Any { multiple_of: 1 })
    }

    /// `true` if such a kernel is correct for these sizes. Does not consider addresses and tensor volumes.
    pub fn accepts(&self, values: &[u64]) -> bool {
        self.extents.len() == values.len() && self.extents.iter().zip(values).all(|(extent, &v)| extent.accepts(v))
    }
}
