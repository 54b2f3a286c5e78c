//! Constant expressions of 64-bit integers and double-precision floats. Integers are signed unless a literal or a cast
//! makes them unsigned.
//! The operators and their precedence are C's.

use std::cmp::Ordering;

use super::error::ParseError;
use super::lexer::TokenKind;
use super::parser::{DEEPEST_NESTING, Parser};

/// The value of a constant expression.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum ConstantValue {
    Integer { bits: u64, unsigned: bool },
    Float(f64),
}

use ConstantValue::{Float, Integer};

fn signed(value: i64) -> ConstantValue {
    Integer {
        bits: value as u64,
        unsigned: false,
    }
}

/// Binary operators from the loosest binding to the tightest.
const OPERATORS: [&[&str]; 10] = [
    &["||"],
    &["&&"],
    &["|"],
    &["^"],
    &["&"],
    &["==", "!="],
    &["<=", ">=", "<", ">"],
    &["<<", ">>"],
    &["+", "-"],
    &["*", "/", "%"],
];

/// The level of sums in [`OPERATORS`].
const SUMS: usize = 8;

impl Parser<'_, '_> {
    /// Parses a constant expression.
    pub(super) fn constant(&mut self, depth: u32) -> Result<ConstantValue, ParseError> {
        if depth > DEEPEST_NESTING {
            return self.error("a constant expression is nested too deeply");
        }
        let first = self.unary(depth)?;
        let condition = self.binary(first, 0, depth)?;
        if !self.accept('?') {
            return Ok(condition);
        }
        let holds = self.truth(condition)?;
        let then = self.constant(depth + 1)?;
        self.expect(':')?;
        let other = self.constant(depth + 1)?;
        // Both have the same type, whichever is chosen.
        let (then, other) = self.alike(then, other)?;
        Ok(if holds { then } else { other })
    }

    /// Parses a constant expression of integer type. Returns its 64-bit pattern.
    pub(super) fn constant_integer(&mut self) -> Result<u64, ParseError> {
        match self.constant(0)? {
            Integer { bits, .. } => Ok(bits),
            Float(_) => self.error("expected an integer, found a float"),
        }
    }

    /// Parses the offset that may follow a name: `+ …` or `- …`.
    pub(super) fn offset(&mut self) -> Result<i64, ParseError> {
        match self.binary(signed(0), SUMS, 0)? {
            Integer { bits, .. } => Ok(bits as i64),
            Float(_) => self.error("expected an integer offset, found a float"),
        }
    }

    /// `true` if a constant expression starts here.
    pub(super) fn is_constant(&self) -> bool {
        match self.kind() {
            TokenKind::Integer { .. } | TokenKind::Float64(_) | TokenKind::Word("WARP_SZ") => true,
            TokenKind::Punctuation('-' | '+' | '~' | '(') => true,
            // `!p` is a predicate.
            TokenKind::Punctuation('!') => !matches!(self.ahead(1), TokenKind::Word(word) if word != "WARP_SZ"),
            _ => false,
        }
    }

    /// Parses the operators behind a first operand that bind as tightly as `level`, or tighter.
    fn binary(&mut self, mut left: ConstantValue, level: usize, depth: u32) -> Result<ConstantValue, ParseError> {
        while let Some((operator, found)) = self.operator(level) {
            self.at += operator.len();
            let mut right = self.unary(depth)?;
            if found + 1 < OPERATORS.len() {
                right = self.binary(right, found + 1, depth)?;
            }
            left = self.apply(operator, left, right)?;
        }
        Ok(left)
    }

    /// The binary operator here and its level, if it binds as tightly as `level`, or tighter.
    fn operator(&self, level: usize) -> Option<(&'static str, usize)> {
        let here = |operator: &&&str| {
            let tokens = operator.chars().enumerate();
            tokens.clone().all(|(ahead, character)| match self.ahead(ahead) {
                TokenKind::Punctuation(found) => found == character,
                // A lone `%` is an operator, not the start of a name.
                TokenKind::Word("%") => character == '%',
                _ => false,
            }) && self.adjacent(operator.len())
        };
        // The longest match wins: `<` also begins `<<` and `<=`.
        let all = OPERATORS.iter().enumerate();
        let all = all.flat_map(|(level, operators)| operators.iter().map(move |operator| (operator, level)));
        let (operator, found) = all
            .filter(|(operator, _)| here(operator))
            .max_by_key(|(operator, _)| operator.len())?;
        (found >= level).then_some((*operator, found))
    }

    fn unary(&mut self, depth: u32) -> Result<ConstantValue, ParseError> {
        if depth > DEEPEST_NESTING {
            return self.error("a constant expression is nested too deeply");
        }
        match self.kind() {
            TokenKind::Integer { value, unsigned } => {
                self.at += 1;
                Ok(Integer { bits: value, unsigned })
            }
            TokenKind::Float64(bits) => {
                self.at += 1;
                Ok(Float(f64::from_bits(bits)))
            }
            TokenKind::Word("WARP_SZ") => {
                self.at += 1;
                Ok(signed(32))
            }
            TokenKind::Punctuation('(') => {
                self.at += 1;
                if let TokenKind::Dot(cast @ ("s64" | "u64")) = self.kind() {
                    self.at += 1;
                    self.expect(')')?;
                    return match self.unary(depth + 1)? {
                        Integer { bits, .. } => Ok(Integer {
                            bits,
                            unsigned: cast == "u64",
                        }),
                        Float(_) => self.error("a cast of a float"),
                    };
                }
                let value = self.constant(depth + 1)?;
                self.expect(')')?;
                Ok(value)
            }
            TokenKind::Punctuation(operator @ ('-' | '+' | '~' | '!')) => {
                self.at += 1;
                match (operator, self.unary(depth + 1)?) {
                    ('-', Integer { bits, unsigned }) => Ok(Integer {
                        bits: bits.wrapping_neg(),
                        unsigned,
                    }),
                    ('-', Float(value)) => Ok(Float(-value)),
                    ('+', value) => Ok(value),
                    ('~', Integer { bits, unsigned }) => Ok(Integer { bits: !bits, unsigned }),
                    ('~', Float(_)) => self.error("`~` of a float"),
                    (_, value) => Ok(signed((!self.truth(value)?).into())),
                }
            }
            _ => self.error(format!("expected a constant, found {}", self.found())),
        }
    }

    fn truth(&self, value: ConstantValue) -> Result<bool, ParseError> {
        match value {
            Integer { bits, .. } => Ok(bits != 0),
            Float(_) => self.error("expected an integer condition, found a float"),
        }
    }

    /// Converts two operands to their common type, which is unsigned if one of them is.
    fn alike(&self, left: ConstantValue, right: ConstantValue) -> Result<(ConstantValue, ConstantValue), ParseError> {
        match (left, right) {
            (Float(_), Float(_)) => Ok((left, right)),
            (Integer { bits: a, unsigned: x }, Integer { bits: b, unsigned: y }) => {
                let typed = |bits| Integer { bits, unsigned: x || y };
                Ok((typed(a), typed(b)))
            }
            _ => self.error("an integer and a float in one constant expression"),
        }
    }

    fn apply(&self, operator: &str, left: ConstantValue, right: ConstantValue) -> Result<ConstantValue, ParseError> {
        match operator {
            "||" => Ok(signed((self.truth(left)? | self.truth(right)?).into())),
            "&&" => Ok(signed((self.truth(left)? & self.truth(right)?).into())),
            "<<" | ">>" => self.shift(operator == "<<", left, right),
            "==" | "!=" | "<" | "<=" | ">" | ">=" => self.compare(operator, left, right),
            _ => self.calculate(operator, left, right),
        }
    }

    fn shift(&self, to_left: bool, value: ConstantValue, amount: ConstantValue) -> Result<ConstantValue, ParseError> {
        match (value, amount) {
            // Assemblers disagree on amounts of 64 and more.
            (
                Integer { bits, unsigned },
                Integer {
                    bits: amount @ 0..64, ..
                },
            ) => Ok(Integer {
                bits: match (to_left, unsigned) {
                    (true, _) => bits << amount,
                    (false, true) => bits >> amount,
                    (false, false) => (bits as i64 >> amount) as u64,
                },
                unsigned,
            }),
            (Integer { .. }, Integer { bits, .. }) => {
                self.error(format!("a constant is shifted by {}: 0 to 63 is possible", bits as i64))
            }
            _ => self.error("a shift of floats"),
        }
    }

    fn compare(&self, operator: &str, left: ConstantValue, right: ConstantValue) -> Result<ConstantValue, ParseError> {
        let order = match self.alike(left, right)? {
            (Float(a), Float(b)) => a.partial_cmp(&b),
            (
                Integer {
                    bits: a,
                    unsigned: true,
                },
                Integer { bits: b, .. },
            ) => Some(a.cmp(&b)),
            (Integer { bits: a, .. }, Integer { bits: b, .. }) => Some((a as i64).cmp(&(b as i64))),
            _ => None,
        };
        let holds = match operator {
            "==" => order.is_some_and(Ordering::is_eq),
            "!=" => order.is_none_or(Ordering::is_ne),
            "<" => order.is_some_and(Ordering::is_lt),
            "<=" => order.is_some_and(Ordering::is_le),
            ">" => order.is_some_and(Ordering::is_gt),
            _ => order.is_some_and(Ordering::is_ge),
        };
        Ok(signed(holds.into()))
    }

    fn calculate(
        &self,
        operator: &str,
        left: ConstantValue,
        right: ConstantValue,
    ) -> Result<ConstantValue, ParseError> {
        let (bits, unsigned) = match self.alike(left, right)? {
            (Integer { bits: a, unsigned }, Integer { bits: b, .. }) => {
                let (x, y) = (a as i64, b as i64);
                let bits = match operator {
                    "+" => a.wrapping_add(b),
                    "-" => a.wrapping_sub(b),
                    "*" => a.wrapping_mul(b),
                    "&" => a & b,
                    "|" => a | b,
                    "^" => a ^ b,
                    _ if b == 0 => return self.error("a constant is divided by zero"),
                    "/" if unsigned => a / b,
                    "/" => x.wrapping_div(y) as u64,
                    _ if unsigned => a % b,
                    _ => x.wrapping_rem(y) as u64,
                };
                (bits, unsigned)
            }
            (Float(a), Float(b)) => {
                return match operator {
                    "+" => Ok(Float(a + b)),
                    "-" => Ok(Float(a - b)),
                    "*" => Ok(Float(a * b)),
                    "/" => Ok(Float(a / b)),
                    _ => self.error(format!("`{operator}` of floats")),
                };
            }
            _ => return self.error("an integer and a float in one constant expression"),
        };
        Ok(Integer { bits, unsigned })
    }
}
