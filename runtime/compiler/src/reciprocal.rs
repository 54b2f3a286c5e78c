//! Division of integers by a multiplication and a shift, whose factors are known before a kernel runs.
//!
//! A multiplier is `2^(bits + shift) ÷ divisor`, rounded up, so less than 1 too large. Then `x · multiplier ÷ 2^(bits + shift)` exceeds
//! `x ÷ divisor` by less than `x ÷ 2^(bits + shift)`. If that is at most `1 ÷ divisor`, both are rounded down to the same integer
//! (Granlund and Montgomery, 1994).

/// `⌊x ÷ divisor⌋ = ⌊x · multiplier ÷ 2^bits⌋ ≫ shift`, for x below 2^(bits − 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reciprocal {
    /// The factor, of `bits` bits.
    pub multiplier: u64,
    /// The shift to the right.
    pub shift: u32,
}

impl Reciprocal {
    /// The reciprocal of a divisor of at least 2, for numbers of 32 or 64 bits.
    pub fn of(divisor: u64, bits: u32) -> Reciprocal {
        let shift = (divisor - 1).ilog2();
        let power = 1u128 << (bits + shift);
        Reciprocal {
            multiplier: power.div_ceil(divisor.into()) as u64,
            shift,
        }
    }
}

/// The reciprocal of a size that is an argument, as a kernel takes it: `⌊x ÷ divisor⌋ = ⌊2x · multiplier ÷ 2³²⌋ ≫ shift` for x below 2³¹,
/// where the word's lower half is the multiplier and the upper one the shift. Of 0, as of 1.
pub(crate) fn word(divisor: u64) -> u64 {
    match divisor {
        0 | 1 => 1 << 31,
        2..=0x8000_0000 => {
            let Reciprocal { multiplier, shift } = Reciprocal::of(divisor, 32);
            multiplier | u64::from(shift + 1) << 32
        }
        // Nothing below 2³¹ reaches it.
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn divisors() -> impl Iterator<Item = u64> {
        let others = [
            0x7fff,
            50_257,
            65_535,
            65_537,
            128_256,
            1_048_575,
            0x4000_0000,
            0x4000_0001,
            0x7fff_fffe,
            0x7fff_ffff,
        ];
        (1..3000).chain(others)
    }

    /// Numbers below `2^(bits - 1)`, the hardest among them.
    fn numbers(divisor: u64, bits: u32) -> impl Iterator<Item = u64> {
        let most = (1u64 << (bits - 1)) - 1;
        let last = most / divisor * divisor;
        let mut state = divisor;
        let any = (0..20).map(move |_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state >> (65 - bits)
        });
        let near = [0, 1, divisor - 1, divisor, divisor + 1, last - 1, last, most - 1, most];
        any.flat_map(move |any| [any, any / divisor * divisor]).chain(near)
    }

    #[test]
    fn constants_divide_exactly() {
        for bits in [32, 64] {
            for divisor in divisors().skip(1) {
                let Reciprocal { multiplier, shift } = Reciprocal::of(divisor, bits);
                for x in numbers(divisor, bits) {
                    let quotient = ((u128::from(x) * u128::from(multiplier)) >> bits) as u64 >> shift;
                    assert_eq!(quotient, x / divisor, "{x} ÷ {divisor}");
                }
            }
        }
    }

    #[test]
    fn sizes_divide_exactly() {
        for divisor in divisors().chain([0x8000_0000, 0x8000_0001, u64::MAX]) {
            let (multiplier, shift) = (word(divisor) & 0xffff_ffff, word(divisor) >> 32);
            for x in numbers(divisor.min(0x7fff_ffff), 32) {
                assert_eq!(((2 * x * multiplier) >> 32) >> shift, x / divisor, "{x} ÷ {divisor}");
            }
        }
        assert_eq!(word(0), word(1));
    }
}
