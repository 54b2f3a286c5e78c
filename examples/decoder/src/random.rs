//! Numbers that any program can make: those of the weights, and of tokens to begin with.

use energy_kernel::f16;

/// Element `index` of the tensor of this number: in [−1, 1), a multiple of 2⁻¹¹, so that `f16` holds it exactly.
///
/// It is the output of SplitMix64 (Steele, Lea, Flood 2014) after `2³² number + index + 1` steps from 0: 12 bits of it, the upper ones.
pub fn uniform(number: u32, index: u32) -> f32 {
    let steps = (u64::from(number) << 32) + u64::from(index) + 1;
    let mut bits = steps.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^= bits >> 31;
    ((bits >> 52) as f32 - 2048.0) / 2048.0
}

/// Tensor `number`: `offset + scale · uniform`, each rounded to `f16`.
pub fn tensor(number: u32, elements: usize, offset: f32, scale: f32) -> Vec<f16> {
    (0..elements as u32)
        .map(|index| f16::from_f32(offset + scale * uniform(number, index)))
        .collect()
}
