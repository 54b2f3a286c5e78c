//! The arithmetic of tensor cores. [`TensorCores`] describes it and names the sources.

use super::{bf16_to_f32, f16_to_f32, f32_to_f16};

/// The GPU whose tensor cores matrix instructions imitate.
///
/// NVIDIA does not document how tensor cores add. The emulator follows measurements of GPUs: Fasi, Higham, Mikaitis and
/// Pranesh, "Numerical behavior of NVIDIA tensor cores" (PeerJ Computer Science 7:e330, 2021), Khattak and Mikaitis,
/// "Accurate models of NVIDIA tensor cores" (arXiv 2512.07004), and Xie et al., "MMA-Sim" (arXiv 2511.10909). The
/// parameters are those of the last, who found them to agree with hardware bit for bit.
///
/// Tensor cores add products of floats in steps. Each step adds a few products to the sum so far:
/// 1. A product is exact. Its exponent is the sum of its factors' exponents, so its significand lies in [1, 4).
/// 2. All terms, including the sum so far, are shifted to the largest exponent, and truncated toward zero to a number
///    of fractional bits.
/// 3. The terms are added exactly. The result is truncated to `f32`, or rounded to the nearest `f16`.
///
/// | | fractional bits | products a step |
/// |---|---|---|
/// | Ampere, Ada | 24 | 8 (`f16`, `bf16`), 4 (`tf32`) |
/// | Ada, 8-bit floats | 13, also in the result | 16 |
/// | Hopper and later | 25 | those of the instruction |
/// | Hopper, 8-bit floats in `wgmma` | 13, also in the result | those of the instruction |
///
/// Subnormal factors keep the least exponent of their format. Products of `f64` are fused multiply-adds in the order of
/// k. Products of integers are exact.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TensorCores {
    /// The GPU that the module's `.target` names: Ampere below `sm_90`, else Hopper.
    #[default]
    OfTarget,
    /// 24 fractional bits (compute capability 8.x).
    Ampere,
    /// 25 fractional bits (compute capability 9.0 and later).
    Hopper,
    /// No GPU: sums are kept in `f64` and rounded once, to nearest.
    Exact,
}

impl TensorCores {
    /// The tensor cores for a module with this `.target`. Never `OfTarget`.
    pub(crate) fn resolved(self, target: &str) -> TensorCores {
        let digits = target.trim_start_matches("sm_").trim_end_matches(char::is_alphabetic);
        match self {
            TensorCores::OfTarget if digits.parse::<u32>().is_ok_and(|capability| capability < 90) => {
                TensorCores::Ampere
            }
            TensorCores::OfTarget => TensorCores::Hopper,
            chosen => chosen,
        }
    }
}

/// The element types of matrix products.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(u32)]
pub(crate) enum Element {
    F16,
    Bf16,
    Tf32,
    F32,
    F64,
    S8,
    U8,
    S32,
    E4m3,
    E5m2,
}

pub(crate) const ELEMENTS: [(&str, Element, u32); 10] = [
    ("f16", Element::F16, 16),
    ("bf16", Element::Bf16, 16),
    ("tf32", Element::Tf32, 32),
    ("f32", Element::F32, 32),
    ("f64", Element::F64, 64),
    ("s8", Element::S8, 8),
    ("u8", Element::U8, 8),
    ("s32", Element::S32, 32),
    ("e4m3", Element::E4m3, 8),
    ("e5m2", Element::E5m2, 8),
];

impl Element {
    pub fn named(name: &str) -> Option<Element> {
        let (_, element, _) = ELEMENTS.iter().find(|(known, ..)| *known == name)?;
        Some(*element)
    }

    pub fn bits(self) -> u32 {
        ELEMENTS[self as usize].2
    }

    pub fn is_integer(self) -> bool {
        matches!(self, Element::S8 | Element::U8 | Element::S32)
    }

    /// The value of an element's bits.
    #[inline(always)]
    pub fn value(self, bits: u64) -> f64 {
        match self {
            Element::F16 => f16_to_f32(bits as u16).into(),
            Element::Bf16 => bf16_to_f32(bits as u16).into(),
            // The low 13 bits are ignored.
            Element::Tf32 => f32::from_bits(bits as u32 & !0x1fff).into(),
            Element::F32 => f32::from_bits(bits as u32).into(),
            Element::F64 => f64::from_bits(bits),
            Element::S8 => f64::from(bits as i8),
            Element::U8 => f64::from(bits as u8),
            Element::S32 => f64::from(bits as i32),
            // There are no infinities: all ones is NaN, all others are finite.
            Element::E4m3 => {
                let magnitude = bits & 0x7f;
                let value = match magnitude {
                    0x7f => f64::NAN,
                    0..8 => magnitude as f64 * 2f64.powi(-9),
                    _ => (8 + (magnitude & 7)) as f64 * 2f64.powi((magnitude >> 3) as i32 - 10),
                };
                if bits & 0x80 != 0 { -value } else { value }
            }
            // The format is the upper half of an f16.
            Element::E5m2 => f16_to_f32((bits as u16 & 0xff) << 8).into(),
        }
    }

    /// The element `index` of each word.
    #[inline(always)]
    pub fn values<const N: usize>(self, words: &[u32; N], index: usize) -> [f64; N] {
        let shift = self.bits() as usize * index;
        let mut values = [0.0; N];
        // The match is outside of the loop, so that each loop vectorises.
        macro_rules! each {
            ($($element:ident)+) => {
                match self {
                    $(Element::$element => {
                        for (value, word) in values.iter_mut().zip(words) {
                            *value = Element::$element.value(u64::from(*word >> shift));
                        }
                    })+
                }
            };
        }
        each!(F16 Bf16 Tf32 F32 F64 S8 U8 S32 E4m3 E5m2);
        values
    }

    /// The exponent of the format's subnormal numbers.
    fn least_exponent(self) -> i32 {
        match self {
            Element::F16 | Element::E5m2 => -14,
            Element::E4m3 => -6,
            _ => -126,
        }
    }

    /// The bits of a sum, rounded to nearest if it is not of this type already. Integers wrap, or saturate.
    #[inline(always)]
    pub fn stored(self, sum: f64, saturates: bool) -> u32 {
        match self {
            Element::F16 => f64_to_f16(sum).into(),
            Element::S32 if saturates => sum as i32 as u32,
            Element::S32 => sum as i64 as u32,
            _ if sum.is_nan() => super::NAN32,
            _ => (sum as f32).to_bits(),
        }
    }
}

/// The arithmetic that adds products.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Arithmetic {
    /// Fused multiply-adds in `f64`, in the order of k: as hardware does for `f64`, exact for integers.
    Fused,
    /// In steps, as [`TensorCores`] says.
    Aligned(Steps),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Steps {
    products: usize,
    fraction: i32,
    /// Results keep 13 fractional bits.
    short: bool,
    to_f16: bool,
}

impl Arithmetic {
    /// The arithmetic for products of `a` elements that are summed as `d`, with `k` of them in an instruction.
    pub fn new(cores: TensorCores, a: Element, d: Element, k: usize, warp_group: bool) -> Arithmetic {
        if cores == TensorCores::Exact || a == Element::F64 || a.is_integer() {
            return Arithmetic::Fused;
        }
        let small = a.bits() == 8;
        let (products, fraction) = match cores {
            TensorCores::Ampere if !warp_group => match a {
                Element::Tf32 => (4, 24),
                _ if small => (16, 13),
                _ => (8, 24),
            },
            _ if small && warp_group => (k, 13),
            _ => (k, 25),
        };
        Arithmetic::Aligned(Steps {
            products,
            fraction,
            short: fraction == 13,
            to_f16: d == Element::F16,
        })
    }
}

/// The most products along k of an instruction.
pub(crate) const MOST_K: usize = 32;
/// The number of columns that are computed together.
pub(crate) const COLUMNS: usize = 8;

/// The exponent of zero. It is below every other, also in a sum with one.
const ZERO: i32 = -10_000;
/// The exponent of infinities and NaN. It is above every other, also in a sum with `ZERO`.
const SPECIAL: i32 = 100_000;
/// A bound between the exponents of finite products and those of products with `SPECIAL`.
const FINITE: i32 = 50_000;
/// A bound below the exponents of all finite products and sums.
const LOWEST: i32 = -300;

#[inline(always)]
fn exponent(value: f64, least: i32) -> i32 {
    let field = (value.to_bits() >> 52 & 0x7ff) as i32;
    let finite = if field == 0 { ZERO } else { (field - 1023).max(least) };
    if field == 0x7ff { SPECIAL } else { finite }
}

/// A row of A.
#[derive(Clone, Copy)]
pub(crate) struct Left {
    values: [f64; MOST_K],
    exponents: [i32; MOST_K],
}

/// Eight columns of B.
#[derive(Clone, Copy)]
pub(crate) struct Right {
    values: [[f64; COLUMNS]; MOST_K],
    exponents: [[i32; COLUMNS]; MOST_K],
}

impl Left {
    /// A row without elements. Elements are read only after they were set.
    pub const EMPTY: Left = Left {
        values: [0.0; MOST_K],
        exponents: [0; MOST_K],
    };

    #[inline(always)]
    pub fn set(&mut self, k: usize, value: f64, element: Element) {
        self.values[k] = value;
        self.exponents[k] = exponent(value, element.least_exponent());
    }
}

impl Right {
    pub const EMPTY: Right = Right {
        values: [[0.0; COLUMNS]; MOST_K],
        exponents: [[0; COLUMNS]; MOST_K],
    };

    #[inline(always)]
    pub fn set(&mut self, k: usize, column: usize, value: f64, element: Element) {
        self.values[k][column] = value;
        self.exponents[k][column] = exponent(value, element.least_exponent());
    }
}

/// Adds the products of some rows and eight columns to their sums; `k` is the number of products in each.
pub(crate) fn multiply(arithmetic: Arithmetic, k: usize, left: &[Left], right: &Right, sums: &mut [[f64; COLUMNS]]) {
    #[cfg(target_arch = "x86_64")]
    if crate::host::has_avx2() {
        #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
        fn wide(arithmetic: Arithmetic, k: usize, left: &[Left], right: &Right, sums: &mut [[f64; COLUMNS]]) {
            each_row(arithmetic, k, left, right, sums);
        }
        // SAFETY: the processor has these features.
        unsafe { wide(arithmetic, k, left, right, sums) };
        return;
    }
    each_row(arithmetic, k, left, right, sums);
}

#[inline(always)]
fn each_row(arithmetic: Arithmetic, k: usize, left: &[Left], right: &Right, sums: &mut [[f64; COLUMNS]]) {
    for (left, sums) in left.iter().zip(sums) {
        match arithmetic {
            Arithmetic::Fused => {
                for (factor, factors) in left.values.iter().zip(&right.values).take(k) {
                    for (sum, other) in sums.iter_mut().zip(factors) {
                        *sum = factor.mul_add(*other, *sum);
                    }
                }
            }
            Arithmetic::Aligned(steps) => {
                let mut from = 0;
                while from < k {
                    let to = (from + steps.products).min(k);
                    steps.add(from..to, left, right, sums);
                    from = to;
                }
            }
        }
    }
}

impl Steps {
    /// Runs a step for eight columns.
    #[inline(always)]
    fn add(self, range: std::ops::Range<usize>, left: &Left, right: &Right, sums: &mut [f64; COLUMNS]) {
        let least = if self.to_f16 { -14 } else { -126 };
        let mut largest = [LOWEST; COLUMNS];
        for column in 0..COLUMNS {
            largest[column] = largest[column].max(exponent(sums[column], least));
        }
        for k in range.clone() {
            for (largest, other) in largest.iter_mut().zip(&right.exponents[k]) {
                *largest = (*largest).max(left.exponents[k] + other);
            }
        }
        if largest.iter().any(|exponent| *exponent > FINITE) {
            return self.add_special(range, left, right, sums);
        }
        let mut scales = [0.0; COLUMNS];
        let mut totals = [0.0; COLUMNS];
        for column in 0..COLUMNS {
            scales[column] = power(self.fraction - largest[column]);
            totals[column] = (sums[column] * scales[column]).trunc();
        }
        for k in range {
            for column in 0..COLUMNS {
                totals[column] += (left.values[k] * right.values[k][column] * scales[column]).trunc();
            }
        }
        let mut ordinary = !self.to_f16;
        for column in 0..COLUMNS {
            let sum = totals[column] * power(largest[column] - self.fraction);
            sums[column] = sum;
            ordinary &= sum == 0.0 || (power(-126)..power(128)).contains(&sum.abs());
        }
        if ordinary {
            // A normal f32 is an f64 whose last 29 bits are zero.
            let cut = if self.short { 39 } else { 29 };
            for sum in sums {
                *sum = f64::from_bits(sum.to_bits() & u64::MAX << cut);
            }
        } else {
            sums.iter_mut().for_each(|sum| *sum = self.result(*sum));
        }
    }

    /// Runs a step with infinities or NaN in some column, where finite terms do not matter.
    #[cold]
    fn add_special(self, range: std::ops::Range<usize>, left: &Left, right: &Right, sums: &mut [f64; COLUMNS]) {
        for column in 0..COLUMNS {
            let pairs = range.clone().map(|k| (left.values[k], right.values[k][column]));
            let special = sums[column] + pairs.map(|(x, y)| x * y).sum::<f64>();
            if special.is_finite() {
                // All terms of this column are finite.
                let mut alone = Right::EMPTY;
                for k in range.clone() {
                    alone.values[k][column] = right.values[k][column];
                    alone.exponents[k][column] = right.exponents[k][column];
                }
                let mut sum = [0.0; COLUMNS];
                sum[column] = sums[column];
                self.add(range.clone(), left, &alone, &mut sum);
                sums[column] = sum[column];
            } else {
                sums[column] = special;
            }
        }
    }

    /// Truncates or rounds a sum to the format of results.
    #[inline(always)]
    fn result(self, sum: f64) -> f64 {
        if self.to_f16 {
            return f16_to_f32(f64_to_f16(sum)).into();
        }
        let bits = toward_zero(sum).to_bits();
        f32::from_bits(if self.short { bits & !0x3ff } else { bits }).into()
    }
}

/// 2 to a power between −1022 and 1023.
#[inline(always)]
fn power(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

/// Truncates to `f32`. From 2^128 on the result is infinite.
#[inline(always)]
fn toward_zero(value: f64) -> f32 {
    let nearest = value as f32;
    let magnitude = value.abs();
    let further = f64::from(nearest).abs() > magnitude && magnitude < power(128);
    f32::from_bits(nearest.to_bits() - u32::from(further))
}

/// Rounds once to the nearest `f16`, ties to even. NaN becomes `0x7fff`.
#[inline(always)]
fn f64_to_f16(value: f64) -> u16 {
    let near = toward_zero(value);
    // The last bit is sticky, so that the second rounding is correct.
    let inexact = f64::from(near) != value && near.is_finite();
    f32_to_f16(f32::from_bits(near.to_bits() | u32::from(inexact)))
}
