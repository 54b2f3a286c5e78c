//! Number formats and roundings, exactly as PTX defines them.
//!
//! Round-to-nearest arithmetic of `f32` and `f64` is the host's own (IEEE 754). [`exact`] does all else by integer
//! arithmetic on unpacked numbers and a single rounding.

pub(crate) mod exact;
pub(crate) mod tensor;

use exact::{Format, Rounding};

/// The NaN that `f32` arithmetic of a GPU produces.
pub(crate) const NAN32: u32 = 0x7fff_ffff;

/// Widens the bits of an `f16`, exactly. Without branches, so that loops over lanes vectorise.
#[inline(always)]
pub(crate) fn f16_to_f32(bits: u16) -> f32 {
    let sign = (u32::from(bits) & 0x8000) << 16;
    let magnitude = (u32::from(bits) & 0x7fff) << 13;
    // Rebias the exponent by multiplication, which also normalises subnormals.
    let scaled = f32::from_bits(magnitude) * f32::from_bits(0x7780_0000);
    let special = if magnitude >= 0x0f80_0000 { 0x7f80_0000 } else { 0 };
    f32::from_bits(scaled.to_bits() | special | sign)
}

/// Rounds to the nearest `f16`, ties to even. NaN becomes `0x7fff`.
#[inline(always)]
pub(crate) fn f32_to_f16(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = ((bits >> 16) & 0x8000) as u16;
    let magnitude = bits & 0x7fff_ffff;
    // Normal results are rounded by an increment in place, subnormal ones by an addition that aligns them.
    let normal = magnitude.wrapping_add(0xc800_0fff).wrapping_add((magnitude >> 13) & 1) >> 13;
    let subnormal = (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0x3f00_0000);
    let finite = if magnitude < 0x3880_0000 { subnormal } else { normal };
    let result = if magnitude >= 0x4780_0000 {
        if magnitude > 0x7f80_0000 { 0x7fff } else { 0x7c00 }
    } else {
        finite
    };
    if magnitude > 0x7f80_0000 {
        0x7fff
    } else {
        result as u16 | sign
    }
}

/// Widens the bits of a `bf16`, exactly.
#[inline(always)]
pub(crate) fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// Rounds to the nearest `bf16`, ties to even. NaN becomes `0x7fff`.
#[inline(always)]
pub(crate) fn f32_to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    if value.is_nan() { 0x7fff } else { rounded as u16 }
}

/// Rounds an `f64` once to a narrower format.
pub(crate) fn round_f64(value: f64, to: Format, rounding: Rounding) -> u64 {
    exact::convert(Format::F64, value.to_bits(), to, rounding)
}

/// Replaces a subnormal `f32` by a zero of the same sign.
#[inline(always)]
pub(crate) fn flush(value: f32) -> f32 {
    let bits = value.to_bits();
    if bits & 0x7f80_0000 == 0 {
        f32::from_bits(bits & 0x8000_0000)
    } else {
        value
    }
}

/// Clamps to [0, 1]. NaN becomes 0.
#[inline(always)]
pub(crate) fn saturate(value: f32) -> f32 {
    // The comparison is false for NaN, and for a negative zero.
    if value > 0.0 {
        if value < 1.0 { value } else { 1.0 }
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f16_conversions_agree_with_the_half_crate_on_every_pattern() {
        for bits in 0..=u16::MAX {
            let expected = half::f16::from_bits(bits).to_f32();
            let value = f16_to_f32(bits);
            assert!(
                value.to_bits() == expected.to_bits() || (value.is_nan() && expected.is_nan()),
                "{bits:#x}"
            );
            if !value.is_nan() {
                assert_eq!(f32_to_f16(value), bits);
                for nudge in [-4097i32, -4096, -4095, -1, 1, 4095, 4096, 4097] {
                    let near = f32::from_bits(value.to_bits().wrapping_add_signed(nudge));
                    if !near.is_nan() {
                        assert_eq!(f32_to_f16(near), half::f16::from_f32(near).to_bits(), "{near:e}");
                        assert_eq!(
                            u64::from(f32_to_f16(near)),
                            round_f64(f64::from(near), Format::F16, Rounding::Nearest),
                            "{near:e}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn bf16_rounds_to_nearest_even() {
        let mut state = 1u32;
        for _ in 0..200_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let value = f32::from_bits(state);
            if !value.is_nan() {
                assert_eq!(f32_to_bf16(value), half::bf16::from_f32(value).to_bits());
                assert_eq!(
                    u64::from(f32_to_bf16(value)),
                    round_f64(f64::from(value), Format::BF16, Rounding::Nearest),
                    "{value:e}"
                );
            }
        }
        assert_eq!(f32_to_bf16(f32::NAN), 0x7fff);
    }

    #[test]
    fn saturation_maps_nan_and_negative_zero_to_zero() {
        assert_eq!(saturate(f32::NAN).to_bits(), 0);
        assert_eq!(saturate(-0.0).to_bits(), 0);
        assert_eq!(saturate(-3.0), 0.0);
        assert_eq!(saturate(0.25), 0.25);
        assert_eq!(saturate(7.0), 1.0);
    }
}
