//! Executes one thread of a kernel body without memory. The stored value is the result.

use energy_kernel_compiler::ptx::text::Entry;
use energy_kernel_compiler::ptx::{
    Action, Class, Compare, Connective, Guard, Instruction, Item, Loop, Opcode, Operand, Reg,
};

/// The accuracy of approximate instructions.
#[derive(Debug, Clone, Copy)]
pub enum Approximation {
    /// Rounded correctly.
    Rounded,
    /// The largest documented error, up or down.
    Worst(Direction),
}

/// The sign of the error.
#[derive(Debug, Clone, Copy)]
pub enum Direction {
    Up,
    Down,
    /// Depends on the bits of the operand.
    Mixed,
}

/// The registers of one thread.
pub struct Thread<'e> {
    entry: &'e Entry,
    approximation: Approximation,
    registers: [Vec<u64>; 6],
    stored: u64,
}

impl<'e> Thread<'e> {
    pub fn new(entry: &'e Entry, approximation: Approximation) -> Thread<'e> {
        Thread {
            entry,
            approximation,
            registers: entry.registers.map(|count| vec![0; count as usize]),
            stored: 0,
        }
    }

    /// Runs the body and returns the bits of the last value stored.
    pub fn run(&mut self, parameters: &[u64]) -> u64 {
        let entry = self.entry;
        self.items(&entry.body, parameters);
        self.stored
    }

    fn items(&mut self, items: &[Item], parameters: &[u64]) {
        for item in items {
            match item {
                Item::Instruction(instruction) => {
                    if instruction.guard.is_none_or(|guard| self.holds(guard)) {
                        self.instruction(instruction, parameters);
                    }
                }
                Item::If(guard, body) => {
                    if self.holds(*guard) {
                        self.items(body, parameters);
                    }
                }
                Item::Loop(each) => self.counted(each, parameters),
            }
        }
    }

    fn counted(&mut self, each: &Loop, parameters: &[u64]) {
        assert_eq!(each.counter.class, Class::B32);
        let word = |thread: &Thread, operand| thread.value(operand) as u32 as i32;
        let mut counter = word(self, each.turns.start);
        assert!(!each.turns.entered || counter < word(self, each.turns.end));
        while counter < word(self, each.turns.end) {
            self.set(each.counter, u64::from(counter as u32));
            self.items(&each.body, parameters);
            counter += word(self, each.turns.step);
        }
    }

    fn holds(&self, guard: Guard) -> bool {
        (self.registers[0][guard.predicate.number as usize] != 0) == guard.holds
    }

    fn value(&self, operand: Operand) -> u64 {
        match operand {
            Operand::Reg(reg) => self.registers[reg.class as usize][reg.number as usize],
            Operand::Int(value) => value as u64,
            Operand::F32(bits) => u64::from(bits),
            Operand::F64(bits) => bits,
        }
    }

    fn set(&mut self, reg: Reg, value: u64) {
        let value = match reg.class {
            Class::Pred => value & 1,
            Class::B16 => value & 0xffff,
            Class::B32 | Class::F32 => value & 0xffff_ffff,
            Class::B64 | Class::F64 => value,
        };
        self.registers[reg.class as usize][reg.number as usize] = value;
    }

    fn instruction(&mut self, instruction: &Instruction, parameters: &[u64]) {
        let sources = &instruction.sources;
        let raw: Vec<u64> = sources.iter().map(|&source| self.value(source)).collect();
        match instruction.action {
            Action::Parameter(number, _) => self.set(instruction.results[0], parameters[number as usize]),
            Action::Store(..) => self.stored = raw[0],
            Action::Load(..) | Action::LoadMatrices(..) | Action::Copy(..) | Action::Arrive(_) => {
                panic!("the functions load nothing")
            }
            Action::Compare(compare, class, signed) => {
                let holds = compare_values(compare, class, signed, raw[0], raw[1]);
                self.set(instruction.results[0], u64::from(holds));
            }
            Action::CompareWith(compare, class, signed, connective) => {
                let holds = compare_values(compare, class, signed, raw[0], raw[1]);
                let other = raw[2] != 0;
                let both = match connective {
                    Connective::And => holds && other,
                    Connective::Or => holds || other,
                };
                self.set(instruction.results[0], u64::from(both));
            }
            Action::Table(Opcode::HalvesF64 | Opcode::HalvesB64) => {
                self.set(instruction.results[0], raw[0] & 0xffff_ffff);
                self.set(instruction.results[1], raw[0] >> 32);
            }
            Action::Table(opcode) => {
                let value = self.table(opcode, &raw);
                self.set(instruction.results[0], value);
            }
        }
    }

    fn table(&self, opcode: Opcode, raw: &[u64]) -> u64 {
        let word = |i: usize| raw[i] as u32;
        let signed = |i: usize| raw[i] as u32 as i32;
        let long = |i: usize| raw[i] as i64;
        let f = |i: usize| f32::from_bits(raw[i] as u32);
        let d = |i: usize| f64::from_bits(raw[i]);
        let of_word = |value: u32| u64::from(value);
        let of_signed = |value: i32| u64::from(value as u32);
        let of_f = |value: f32| u64::from(value.to_bits());
        let of_d = |value: f64| value.to_bits();
        let select = |accept: u64, reject: u64| if raw[2] != 0 { accept } else { reject };
        match opcode {
            Opcode::AddS32 => of_word(word(0).wrapping_add(word(1))),
            Opcode::SubS32 => of_word(word(0).wrapping_sub(word(1))),
            Opcode::MulS32 => of_word(word(0).wrapping_mul(word(1))),
            Opcode::MinS32 => of_signed(signed(0).min(signed(1))),
            Opcode::MaxS32 => of_signed(signed(0).max(signed(1))),
            Opcode::NegS32 => of_signed(signed(0).wrapping_neg()),
            Opcode::AbsS32 => of_signed(signed(0).wrapping_abs()),
            Opcode::AndB32 => of_word(word(0) & word(1)),
            Opcode::OrB32 => of_word(word(0) | word(1)),
            Opcode::ShlB32 => of_word(word(0).checked_shl(word(1)).unwrap_or(0)),
            Opcode::ShrU32 => of_word(word(0).checked_shr(word(1)).unwrap_or(0)),
            Opcode::ShrS32 => of_signed(signed(0) >> word(1).min(31)),
            Opcode::ClzB32 => of_word(word(0).leading_zeros()),
            Opcode::AddS64 => raw[0].wrapping_add(raw[1]),
            Opcode::SubS64 => raw[0].wrapping_sub(raw[1]),
            Opcode::MulS64 => raw[0].wrapping_mul(raw[1]),
            Opcode::MulHiU64 => ((u128::from(raw[0]) * u128::from(raw[1])) >> 64) as u64,
            Opcode::MadS64 => raw[0].wrapping_mul(raw[1]).wrapping_add(raw[2]),
            Opcode::RemU64 => raw[0] % raw[1],
            Opcode::MaxS64 => long(0).max(long(1)) as u64,
            Opcode::AbsS64 => long(0).wrapping_abs() as u64,
            Opcode::AndB64 => raw[0] & raw[1],
            Opcode::OrB64 => raw[0] | raw[1],
            Opcode::XorB64 => raw[0] ^ raw[1],
            Opcode::ShlB64 => raw[0].checked_shl(word(1)).unwrap_or(0),
            Opcode::ShrU64 => raw[0].checked_shr(word(1)).unwrap_or(0),
            Opcode::ShrS64 => (long(0) >> word(1).min(63)) as u64,
            Opcode::ClzB64 => of_word(raw[0].leading_zeros()),

            Opcode::AddF32 => of_f(f(0) + f(1)),
            Opcode::SubF32 => of_f(f(0) - f(1)),
            Opcode::MulF32 => of_f(f(0) * f(1)),
            Opcode::FmaF32 => of_f(f(0).mul_add(f(1), f(2))),
            Opcode::FmaSatF32 => {
                let value = f(0).mul_add(f(1), f(2));
                of_f(if value > 0.0 { value.min(1.0) } else { 0.0 })
            }
            Opcode::RcpF32 => of_f(1.0 / f(0)),
            Opcode::SqrtF32 => of_f(f(0).sqrt()),
            Opcode::NegF32 => of_f(-f(0)),
            Opcode::AbsF32 => of_f(f(0).abs()),
            Opcode::MinNanF32 => of_f(if f(0).is_nan() || f(1).is_nan() {
                f32::NAN
            } else if f(0).total_cmp(&f(1)).is_le() {
                f(0)
            } else {
                f(1)
            }),
            Opcode::MaxNanF32 => of_f(if f(0).is_nan() || f(1).is_nan() {
                f32::NAN
            } else if f(0).total_cmp(&f(1)).is_ge() {
                f(0)
            } else {
                f(1)
            }),
            Opcode::CopysignF32 => of_f(f(1).copysign(f(0))),
            Opcode::Ex2F32 => of_f(flush(self.approximate(f64::from(flush(f(0))).exp2(), raw[0], 22.0))),
            Opcode::RcpApproxF32 => of_f(flush(self.approximate(1.0 / f64::from(flush(f(0))), raw[0], 23.0))),
            Opcode::RsqrtF32 => of_f(self.approximate(1.0 / f64::from(f(0)).sqrt(), raw[0], 22.9)),

            Opcode::AddF64 => of_d(d(0) + d(1)),
            Opcode::SubF64 => of_d(d(0) - d(1)),
            Opcode::MulF64 => of_d(d(0) * d(1)),
            Opcode::FmaF64 => of_d(d(0).mul_add(d(1), d(2))),
            Opcode::DivF64 => of_d(d(0) / d(1)),
            Opcode::RcpF64 => of_d(1.0 / d(0)),
            Opcode::SqrtF64 => of_d(d(0).sqrt()),
            Opcode::NegF64 => of_d(-d(0)),
            Opcode::AbsF64 => of_d(d(0).abs()),
            Opcode::MaxF64 => of_d(match (d(0).is_nan(), d(1).is_nan()) {
                (true, _) => d(1),
                (_, true) => d(0),
                // −0 is less than +0.
                _ if d(0).total_cmp(&d(1)).is_ge() => d(0),
                _ => d(1),
            }),
            Opcode::CopysignF64 => of_d(d(1).copysign(d(0))),

            Opcode::CvtU64U32 => raw[0],
            Opcode::CvtU32U64 => raw[0],
            Opcode::CvtF64F32 => of_d(f64::from(f(0))),
            Opcode::CvtF32F64 => of_f(d(0) as f32),
            Opcode::CvtF32S32 => of_f(signed(0) as f32),
            Opcode::CvtF32S64 => of_f(long(0) as f32),
            Opcode::CvtF64S32 => of_d(f64::from(signed(0))),
            Opcode::CvtF64S64 => of_d(long(0) as f64),
            Opcode::FloorF32 => of_f(f(0).floor()),
            Opcode::CeilF32 => of_f(f(0).ceil()),
            Opcode::TruncF32 => of_f(f(0).trunc()),
            Opcode::FloorF64 => of_d(d(0).floor()),
            Opcode::CeilF64 => of_d(d(0).ceil()),
            Opcode::TruncF64 => of_d(d(0).trunc()),

            Opcode::MovB32 | Opcode::MovB64 | Opcode::MovF32 | Opcode::MovF64 => raw[0],
            Opcode::BitsF32 | Opcode::F32Bits | Opcode::BitsF64 | Opcode::F64Bits => raw[0],
            Opcode::F64Halves => of_word(word(0)) | of_word(word(1)) << 32,
            Opcode::AndPred => raw[0] & raw[1],
            Opcode::OrPred => raw[0] | raw[1],
            Opcode::NotPred => raw[0] ^ 1,
            Opcode::SelB32 | Opcode::SelB64 | Opcode::SelF32 | Opcode::SelF64 => select(raw[0], raw[1]),
            other => panic!("{other:?} is not evaluated"),
        }
    }

    /// The result of an approximate instruction with a relative error of at most 2⁻ᵇⁱᵗˢ.
    fn approximate(&self, exact: f64, operand: u64, bits: f64) -> f32 {
        let error = (-bits).exp2();
        let up = match self.approximation {
            Approximation::Rounded => return exact as f32,
            Approximation::Worst(Direction::Up) => true,
            Approximation::Worst(Direction::Down) => false,
            Approximation::Worst(Direction::Mixed) => operand.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 63 == 1,
        };
        let rounded = exact as f32;
        // Powers of two are exact.
        if f64::from(rounded) == exact {
            return rounded;
        }
        let wrong = if up {
            exact * (1.0 + error)
        } else {
            exact * (1.0 - error)
        };
        // Rounded towards the true value, so that the error stays within the limit.
        let wrong = wrong as f32;
        if (f64::from(wrong) - exact).abs() <= error * exact.abs() {
            return wrong;
        }
        if f64::from(wrong) > exact {
            wrong.next_down()
        } else {
            wrong.next_up()
        }
    }
}

fn flush(x: f32) -> f32 {
    if x.is_subnormal() { 0.0f32.copysign(x) } else { x }
}

fn compare_values(compare: Compare, class: Class, signed: bool, a: u64, b: u64) -> bool {
    let ordering = match (class, signed) {
        (Class::F32, _) => f32::from_bits(a as u32).partial_cmp(&f32::from_bits(b as u32)),
        (Class::F64, _) => f64::from_bits(a).partial_cmp(&f64::from_bits(b)),
        (Class::B32, true) => Some((a as u32 as i32).cmp(&(b as u32 as i32))),
        (Class::B32, false) => Some((a as u32).cmp(&(b as u32))),
        (_, true) => Some((a as i64).cmp(&(b as i64))),
        (_, false) => Some(a.cmp(&b)),
    };
    match compare {
        Compare::Eq => ordering.is_some_and(|o| o.is_eq()),
        Compare::Ne => ordering.is_some_and(|o| o.is_ne()),
        Compare::Lt => ordering.is_some_and(|o| o.is_lt()),
        Compare::Le => ordering.is_some_and(|o| o.is_le()),
        Compare::Gt => ordering.is_some_and(|o| o.is_gt()),
        Compare::Ge => ordering.is_some_and(|o| o.is_ge()),
        Compare::NeU => ordering.is_none_or(|o| o.is_ne()),
        Compare::LtU => ordering.is_none_or(|o| o.is_lt()),
        Compare::GtU => ordering.is_none_or(|o| o.is_gt()),
    }
}
