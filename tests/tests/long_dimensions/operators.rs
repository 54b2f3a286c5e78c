//! Operators whose indices, sizes and axes pass 2³¹.

use energy_kernel::prelude::*;

#[energy_kernel]
pub fn gathered_i32(x: Tensor<u8, (V,)>, ids: Tensor<i32, (T,)>) -> Tensor<u8, (T,)> {
    |t| x[[ids[[t]]]]
}

#[energy_kernel]
pub fn gathered_i64(x: Tensor<u8, (V,)>, ids: Tensor<i64, (T,)>) -> Tensor<u8, (T,)> {
    |t| x[[ids[[t]]]]
}

#[energy_kernel]
pub fn gathered_or(x: Tensor<u8, (V,)>, ids: Tensor<i32, (T,)>) -> Tensor<u8, (T,)> {
    |t| x.or(9)[[ids[[t]]]]
}

/// Rows of 4096, flattened.
#[energy_kernel]
pub fn flattened_rows(x: Tensor<u8, (V,)>, ids: Tensor<i32, (T,)>, z: Tensor<u8, (D,)>) -> Tensor<u8, (T, D)> {
    |t, d| x[[ids[[t]] * 4096 + d]] + z[[d]]
}

#[energy_kernel]
pub fn flattened_rows_or(x: Tensor<u8, (V,)>, ids: Tensor<i32, (T,)>, z: Tensor<u8, (D,)>) -> Tensor<u8, (T, D)> {
    |t, d| x.or(9)[[ids[[t]] * 4096 + d]] + z[[d]]
}

#[energy_kernel]
pub fn scaled_u8(x: Tensor<u8, (V,)>, ids: Tensor<u8, (T,)>) -> Tensor<u8, (T,)> {
    |t| x[[ids[[t]] * 100000000 + 7]]
}

#[energy_kernel]
pub fn scaled_i8(x: Tensor<u8, (V,)>, ids: Tensor<i8, (T,)>) -> Tensor<u8, (T,)> {
    |t| x.or(9)[[ids[[t]] * 100000000 + 7]]
}

/// The pages of a cache, as a decoder reads them.
#[energy_kernel(dims(P = 1000000))]
pub fn paged(x: Tensor<u8, (V,)>, pages: Tensor<i32, (B,)>, at: Tensor<i32, (T,)>) -> Tensor<u8, (T,)> {
    |t| x[[pages[[at[[t]] / P]] * P + at[[t]] % P]]
}

#[energy_kernel]
pub fn halves(x: Tensor<u8, (V,)>, ids: Tensor<i32, (T,)>, z: Tensor<u8, (D,)>) -> Tensor<u8, (T, D)> {
    |t, d| x[[(ids[[t]] + d) / 2]] + z[[d]]
}

#[energy_kernel]
pub fn beside(x: Tensor<u8, (V,)>, ids: Tensor<i32, (T,)>, z: Tensor<u8, (D,)>) -> Tensor<u8, (T, D)> {
    |t, d| x.or(9)[[ids[[t]] + d]] + x.or(9)[[d - ids[[t]]]] + z[[d]]
}

#[energy_kernel]
pub fn at_the_largest(x: Tensor<u8, (V,)>, y: Tensor<f32, (T, C)>) -> Tensor<u8, (T,)> {
    |t| x[[argmax(|c| y[[t, c]]) * 1400000000 + 5]]
}

/// Indices of an intermediate tensor.
#[energy_kernel]
pub fn of_an_intermediate(
    x: Tensor<u8, (V,)>,
    ids: Tensor<i64, (T,)>,
) -> (Tensor<f64, (T,)>, Tensor<i64, (T,)>, Tensor<f32, (T,)>) {
    let place = |i: V| i as f64 + x[[i]] as f64;
    let whole = |i: V| i * 3 + 1;
    let shifted = |i: V| if i >= 7 { x[[i - 7]] as f32 } else { i as f32 };
    (
        |t| place[[ids[[t]]]],
        |t| whole[[ids[[t]]]],
        |t| shifted[[ids[[t]]]] + shifted[[V - 1 - t]] * 0.5,
    )
}

#[energy_kernel]
pub fn volume(
    x: Tensor<u8, (R, C)>,
    one: Tensor<f32, (I,)>,
) -> (Tensor<f32, (I,)>, Tensor<i64, (I,)>, Tensor<f64, (I,)>) {
    (
        |i| one[[i]] * (R * C) as f32,
        |i| R * C + i,
        |i| (R * C * (i + 1) - 1) as f64,
    )
}

/// No tensor of it is large.
#[energy_kernel]
pub fn area(
    r: Tensor<u8, (R,)>,
    c: Tensor<u8, (C,)>,
    one: Tensor<f32, (I,)>,
) -> (Tensor<f32, (I,)>, Tensor<bool, (I,)>, Tensor<i32, (I,)>) {
    (
        |i| one[[i]] * (R * C) as f32,
        |i| R * C > i,
        |i| (R * C % 1000 + i) as i32 + powi(C, 2) as i32,
    )
}

/// Sums of index values pass 2³¹ though none of them does.
#[energy_kernel]
pub fn ramps(
    x: Tensor<f32, (T, C)>,
) -> (
    Tensor<i64, (T,)>,
    Tensor<f32, (T,)>,
    Tensor<i32, (T,)>,
    Tensor<i64, (T,)>,
) {
    (
        |t| sum(|c: C| c),
        |t| sum(|c: C| c * c + t) as f32 * x[[t, 0]],
        |t| sum(|c: C| if c % 3 == t { c } else { 0 - c }),
        |t| max(|c: C| c * c) - min(|c: C| 5 - c * c) + argmax(|c| x[[t, c]]),
    )
}
