//! Index arithmetic: integers that are linear in registers, until an address needs them.

use crate::ptx::{Builder, Class, Opcode, Operand, Reg};

/// `Σ register · coefficient + constant`: an axis's value, an index, an element offset.
///
/// Registers are 32 bits wide, or 64 in a wide kernel. Values are mathematical integers: a kernel that is not wide
/// has no tensor of 2³¹ elements, so nothing overflows.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Linear {
    /// In the order of the registers, each once, no coefficient 0.
    terms: Vec<(Reg, i64)>,
    constant: i64,
}

impl Linear {
    /// A constant.
    pub fn constant(value: i64) -> Linear {
        Linear {
            terms: Vec::new(),
            constant: value,
        }
    }

    /// A register's value.
    pub fn register(reg: Reg) -> Linear {
        Linear {
            terms: vec![(reg, 1)],
            constant: 0,
        }
    }

    /// The value, if it depends on no register.
    pub fn as_constant(&self) -> Option<i64> {
        self.terms.is_empty().then_some(self.constant)
    }

    /// Registers and their coefficients.
    pub fn terms(&self) -> &[(Reg, i64)] {
        &self.terms
    }

    /// The part that depends on no register.
    pub fn constant_part(&self) -> i64 {
        self.constant
    }

    /// The sum.
    #[must_use]
    pub fn plus(&self, other: &Linear) -> Linear {
        let mut terms = self.terms.clone();
        for &(reg, coefficient) in &other.terms {
            match terms.binary_search_by_key(&reg, |&(r, _)| r) {
                Ok(at) => terms[at].1 = terms[at].1.wrapping_add(coefficient),
                Err(at) => terms.insert(at, (reg, coefficient)),
            }
        }
        terms.retain(|&(_, coefficient)| coefficient != 0);
        Linear {
            terms,
            constant: self.constant.wrapping_add(other.constant),
        }
    }

    /// The sum with a constant.
    #[must_use]
    pub fn plus_constant(&self, value: i64) -> Linear {
        Linear {
            terms: self.terms.clone(),
            constant: self.constant.wrapping_add(value),
        }
    }

    /// The quotient by a number that divides every coefficient and the constant.
    #[must_use]
    pub fn divided(&self, divisor: i64) -> Linear {
        debug_assert!(
            self.constant % divisor == 0 && self.terms.iter().all(|(_, c)| c % divisor == 0),
            "{self:?} by {divisor}"
        );
        Linear {
            terms: self.terms.iter().map(|&(reg, c)| (reg, c / divisor)).collect(),
            constant: self.constant / divisor,
        }
    }

    /// The value as `factor · whole + rest`, if the factor divides every coefficient; the rest is a number below it.
    pub fn whole_and_rest(&self, factor: i64) -> (Linear, i64) {
        let rest = self.constant.rem_euclid(factor);
        (self.plus_constant(-rest).divided(factor), rest)
    }

    /// The largest number that divides all coefficients and `divisor`.
    pub fn common_factor(&self, divisor: i64) -> i64 {
        let gcd = |mut a: i64, mut b: i64| {
            while b != 0 {
                (a, b) = (b, a % b);
            }
            a.abs()
        };
        self.terms.iter().fold(divisor, |factor, &(_, c)| gcd(factor, c))
    }

    /// The multiple.
    #[must_use]
    pub fn times(&self, factor: i64) -> Linear {
        if factor == 0 {
            return Linear::constant(0);
        }
        Linear {
            terms: self
                .terms
                .iter()
                .map(|&(reg, coefficient)| (reg, coefficient.wrapping_mul(factor)))
                .collect(),
            constant: self.constant.wrapping_mul(factor),
        }
    }
}

/// The arithmetic of indices in one kernel: 32 bits, or 64 where tensors are that large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexMath {
    /// `true` if registers of indices have 64 bits.
    pub wide: bool,
}

impl IndexMath {
    /// The class of index registers.
    pub fn class(self) -> Class {
        if self.wide { Class::B64 } else { Class::B32 }
    }

    fn pick(self, narrow: Opcode, wide: Opcode) -> Opcode {
        if self.wide { wide } else { narrow }
    }

    /// The value as one operand. Terms made in outer regions are added first, so that they leave loops.
    pub fn operand(self, b: &mut Builder, value: &Linear) -> Operand {
        let mut terms: Vec<(usize, Reg, i64)> = value
            .terms
            .iter()
            .map(|&(reg, coefficient)| (b.depth(reg), reg, coefficient))
            .collect();
        terms.sort();
        let mut sum: Option<Reg> = None;
        for (_, reg, coefficient) in terms {
            sum = Some(match sum {
                None if coefficient == 1 => reg,
                None => self.times(b, reg, coefficient),
                Some(sum) if coefficient == 1 => {
                    b.op(self.pick(Opcode::AddS32, Opcode::AddS64), &[sum.into(), reg.into()])
                }
                Some(sum) => b.op(
                    self.pick(Opcode::MadS32, Opcode::MadS64),
                    &[reg.into(), coefficient.into(), sum.into()],
                ),
            });
        }
        match sum {
            None => Operand::Int(value.constant),
            Some(sum) if value.constant == 0 => sum.into(),
            Some(sum) => b
                .op(
                    self.pick(Opcode::AddS32, Opcode::AddS64),
                    &[sum.into(), value.constant.into()],
                )
                .into(),
        }
    }

    /// The value in a register.
    pub fn register(self, b: &mut Builder, value: &Linear) -> Reg {
        match self.operand(b, value) {
            Operand::Reg(reg) => reg,
            constant => b.constant(self.class(), constant),
        }
    }

    fn times(self, b: &mut Builder, reg: Reg, factor: i64) -> Reg {
        if factor > 1 && factor.count_ones() == 1 {
            let shift = i64::from(factor.trailing_zeros());
            return b.op(self.pick(Opcode::ShlB32, Opcode::ShlB64), &[reg.into(), shift.into()]);
        }
        b.op(self.pick(Opcode::MulS32, Opcode::MulS64), &[reg.into(), factor.into()])
    }

    /// The product of two values.
    pub fn product(self, b: &mut Builder, x: &Linear, y: &Linear) -> Linear {
        match (x.as_constant(), y.as_constant()) {
            (Some(factor), _) => y.times(factor),
            (_, Some(factor)) => x.times(factor),
            _ => {
                let (x, y) = (self.operand(b, x), self.operand(b, y));
                Linear::register(b.op(self.pick(Opcode::MulS32, Opcode::MulS64), &[x, y]))
            }
        }
    }

    /// Quotient and remainder of a value that is not negative by a divisor that is positive.
    pub fn divide(self, b: &mut Builder, x: &Linear, divisor: &Linear) -> (Linear, Linear) {
        match (x.as_constant(), divisor.as_constant()) {
            (_, Some(1)) => (x.clone(), Linear::constant(0)),
            // An axis that never runs reads nothing, but its arithmetic may be hoisted to code that is executed.
            (_, Some(0)) => (Linear::constant(0), Linear::constant(0)),
            (Some(x), Some(y)) if y > 0 => (Linear::constant(x / y), Linear::constant(x % y)),
            // All terms share this divisor, so neighbouring lanes get the same quotient and no division is emitted.
            (_, Some(y)) if y > 0 && x.common_factor(y) > 1 => {
                let factor = x.common_factor(y);
                let (whole, rest) = x.whole_and_rest(factor);
                let (quotient, remainder) = self.divide(b, &whole, &Linear::constant(y / factor));
                (quotient, remainder.times(factor).plus_constant(rest))
            }
            (_, Some(y)) if y > 0 && y.count_ones() == 1 => {
                let x = self.operand(b, x);
                let shift = i64::from(y.trailing_zeros());
                let quotient = b.op(self.pick(Opcode::ShrU32, Opcode::ShrU64), &[x, shift.into()]);
                let remainder = b.op(self.pick(Opcode::AndB32, Opcode::AndB64), &[x, (y - 1).into()]);
                (Linear::register(quotient), Linear::register(remainder))
            }
            _ => {
                let (x, y) = (self.operand(b, x), self.operand(b, divisor));
                let y = match y {
                    Operand::Reg(_) => b.op(self.pick(Opcode::MaxS32, Opcode::MaxS64), &[y, 1.into()]).into(),
                    constant => constant,
                };
                let quotient = b.op(self.pick(Opcode::DivU32, Opcode::DivU64), &[x, y]);
                let back = b.op(self.pick(Opcode::MulS32, Opcode::MulS64), &[quotient.into(), y]);
                let remainder = b.op(self.pick(Opcode::SubS32, Opcode::SubS64), &[x, back.into()]);
                (Linear::register(quotient), Linear::register(remainder))
            }
        }
    }

    /// Splits a linear number into coordinates, slowest first. The first extent is not needed to do so.
    pub fn coordinates(self, b: &mut Builder, linear: &Linear, extents: &[Linear]) -> Vec<Linear> {
        let mut coordinates = vec![Linear::constant(0); extents.len()];
        let mut rest = linear.clone();
        for (position, extent) in extents.iter().enumerate().rev() {
            if extent.as_constant() == Some(1) {
                continue;
            }
            // Whatever is left belongs to the slowest axis longer than 1.
            let last = extents[..position].iter().all(|e| e.as_constant() == Some(1));
            if last {
                coordinates[position] = rest;
                break;
            }
            let (quotient, remainder) = self.divide(b, &rest, extent);
            coordinates[position] = remainder;
            rest = quotient;
        }
        coordinates
    }

    /// `base + value · element_bytes` as a register and a constant offset. Each region adds its own terms to what outer
    /// ones made, so that a loop does one addition a pointer.
    pub fn address(self, b: &mut Builder, base: Reg, value: &Linear, element_bytes: u32) -> crate::ptx::Address {
        let bytes = i64::from(element_bytes);
        let mut terms: Vec<(usize, Reg, i64)> = value
            .terms
            .iter()
            .map(|&(reg, coefficient)| (b.depth(reg), reg, coefficient))
            .collect();
        terms.sort();
        let mut base = base;
        let mut at = 0;
        while at < terms.len() {
            let depth = terms[at].0;
            let group_end = at + terms[at..].partition_point(|term| term.0 <= depth);
            let group = &terms[at..group_end];
            at = group_end;
            base = match group {
                &[(_, reg, coefficient)] => self.step(b, base, reg, coefficient, bytes),
                _ => {
                    let offset = Linear {
                        terms: group.iter().map(|&(_, reg, c)| (reg, c)).collect(),
                        constant: 0,
                    };
                    let offset = self.register(b, &offset);
                    self.step(b, base, offset, 1, bytes)
                }
            };
        }
        let constant = value.constant.wrapping_mul(bytes);
        match i32::try_from(constant) {
            Ok(offset) => crate::ptx::Address { base, offset },
            Err(_) => crate::ptx::Address {
                base: b.op(Opcode::AddS64, &[base.into(), constant.into()]),
                offset: 0,
            },
        }
    }

    /// `base + reg · coefficient · bytes`
    fn step(self, b: &mut Builder, base: Reg, reg: Reg, coefficient: i64, bytes: i64) -> Reg {
        if self.wide {
            let factor = coefficient.wrapping_mul(bytes);
            return b.op(Opcode::MadS64, &[reg.into(), factor.into(), base.into()]);
        }
        match i32::try_from(coefficient.wrapping_mul(bytes)) {
            Ok(factor) => b.op(Opcode::MadWideS32, &[reg.into(), i64::from(factor).into(), base.into()]),
            // The elements fit 32 bits, so the product with the coefficient alone does.
            Err(_) => {
                let elements = self.times(b, reg, coefficient);
                b.op(Opcode::MadWideS32, &[elements.into(), bytes.into(), base.into()])
            }
        }
    }
}
