//! Products whose blocks share the terms of a tile.

use energy_kernel_compiler::schedule::Schedule;

/// Every type that is summed in, several sums and outputs, a batch, sums over several axes; with sizes that leave tiles incomplete.
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

/// The family and how many blocks share a tile, where several do and tiles are small.
pub fn shared(point: &Schedule) -> Option<(&'static str, u32)> {
    let (parts, tile) = match point {
        Schedule::Mma(point) => (point.parts, point.block_rows * point.block_columns),
        Schedule::Contract(point) => (point.parts, point.block_rows * point.block_columns),
        _ => return None,
    };
    (parts > 1 && tile <= 64 * 64).then_some((point.family(), parts))
}
