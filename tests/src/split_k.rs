//! Split-K products: several blocks share the reduction dimension of a tile.

use crate::parameter;
use energy_kernel_compiler::schedule::Schedule;

/// Operators and sizes that cover every accumulator type, several sums and outputs, a batch, and sums over several axes. Tiles at the edges are
/// incomplete.
pub const OPERATORS: [(&str, &[u64]); 12] = [
    ("linear_gelu_f32", &[72, 512, 40]),
    ("matmul_f64", &[40, 384, 72]),
    ("batched_matmul_f32", &[2, 33, 256, 70]),
    ("matmul_i8", &[40, 1024, 72]),
    ("linear_gelu_f16", &[72, 512, 40]),
    ("matmul_transposed_f16", &[512, 40, 72]),
    ("batched_matmul_f16", &[2, 33, 256, 70]),
    ("matmul_tf32", &[40, 512, 33]),
    ("matmul_u8", &[40, 1024, 72]),
    ("gated_columns_bf16", &[40, 512, 72]),
    ("conv_dilated_bf16", &[2, 128, 40, 33, 3]),
    ("conv_stride_f32", &[1, 64, 9, 9, 20, 3, 3]),
];

/// The family and the split-K factor of a split-K schedule with small tiles.
pub fn shared(point: &Schedule) -> Option<(&'static str, u32)> {
    let factor = factor(point);
    (factor > 1 && has_small_tiles(point)).then_some((point.family(), factor))
}

/// The split-K factor: 1 in families without split-K.
pub fn factor(point: &Schedule) -> u32 {
    parameter(point, "split_k").map_or(1, |factor| factor[0])
}

/// `true` if a block's tile has at most 64 × 64 outputs.
pub fn has_small_tiles(point: &Schedule) -> bool {
    parameter(point, "block").is_some_and(|block| block[0] * block[1] <= 64 * 64)
}
