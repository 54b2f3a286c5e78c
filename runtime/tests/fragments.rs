//! Operators that `macro_rules!` makes, with every kind of fragment: what a fragment was given comes in a group without delimiters.

#![allow(missing_docs)]
#![allow(deprecated, reason = "`tune(…)` stands here without a build script, to be parsed")]

use energy_kernel::prelude::*;

macro_rules! of_type {
    ($name:ident, $t:ty) => {
        #[energy_kernel]
        pub fn $name(x: Tensor<$t, (N,)>, by: $t) -> Tensor<$t, (N,)> {
            |i| (x[[i]] as $t) + by
        }
    };
}
of_type!(of_f32, f32);
of_type!(of_parenthesised, (f32));

macro_rules! of_tensor {
    ($name:ident, $tensor:ty, $result:ty, $shape:ty, $size:ty) => {
        #[energy_kernel]
        pub fn $name(x: $tensor, y: Tensor<f32, $shape>) -> $result {
            |i| x[[i]] + sum(|j: $size| y[[j]])
        }
    };
}
of_tensor!(of_tensors, Tensor<f32, (N,)>, Tensor<f32, (N,)>, (M,), M);
of_tensor!(of_a_tuple, Tensor<f32, (N,)>, (Tensor<f32, (N,)>,), (M,), M);

macro_rules! of_expression {
    ($name:ident, $e:expr) => {
        #[energy_kernel]
        pub fn $name(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {
            |i| x[[i]] * $e
        }
    };
}
of_expression!(times_a_sum, 2.0 + 1.0);
of_expression!(times_negative, -1.5);
of_expression!(times_a_call, powi(2.0, 3));

macro_rules! of_literal {
    ($name:ident, $e:literal) => {
        #[energy_kernel(tune(N = $e), dims(SAME = $e))]
        pub fn $name(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {
            |i| x[[i]] * $e as f32 + SAME as f32
        }
    };
}
of_literal!(four, 4);

macro_rules! of_sizes {
    ($name:ident, $sizes:expr, $half:expr) => {
        #[energy_kernel(tune(N = $sizes), dims(H = $half))]
        pub fn $name(x: Tensor<f32, (N,)>) -> Tensor<f32, (H,)> {
            |i| x[[i]] * 2.0
        }
    };
}
of_sizes!(halves, [4, 8], (N + 1) / 2);
of_sizes!(quarters, 8, N.div_ceil(4));

macro_rules! of_visibility {
    ($v:vis $name:ident, $block:block) => {
        #[energy_kernel]
        $v fn $name(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> $block
    };
}
of_visibility!(pub(crate) twice, { |i| x[[i]] * 2.0 });
of_visibility!(twice_here, { |i| x[[i]] * 2.0 });

macro_rules! of_meta {
    ($(#[$m:meta])* $name:ident) => {
        $(#[$m])*
        pub fn $name(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> { |i| x[[i]] * 2.0 }
    };
}
of_meta!(
    #[energy_kernel]
    by_meta
);
of_meta!(
    #[doc = "x"]
    #[energy_kernel(tune(N = [1, 2]))]
    #[inline]
    by_several
);

macro_rules! of_item {
    ($i:item) => {
        $i
    };
}
of_item!(
    #[energy_kernel]
    pub fn by_item(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {
        |i| x[[i]] * 2.0
    }
);

macro_rules! of_functions {
    ($($name:ident => $f:ident),*) => {
        $(#[energy_kernel] pub fn $name(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> { |i| $f(x[[i]]) })*
    };
}
of_functions!(all_relu => relu, all_abs => abs);

macro_rules! of_types {
    ($name:ident, [$($t:ty),*], $list:expr, $crate_path:path) => {
        #[energy_kernel(types(T = [$($t),*], U = $list), crate = $crate_path)]
        pub fn $name<T, U>(x: Tensor<T, (N,)>, y: Tensor<U, (N,)>) -> Tensor<T, (N,)> { |i| x[[i]] * 2.0 + y[[i]] }
    };
}
of_types!(of_listed, [f16, f32], [i32, f32], ::energy_kernel);

macro_rules! of_tensor_names {
    ($name:ident, $x:ident, $read:expr, $index:expr) => {
        #[energy_kernel]
        pub fn $name($x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {
            |i| $read + $x.or(0.0)[[$index]]
        }
    };
}
// A fragment sees the names that its own tokens say.
of_tensor_names!(of_names, x, 1.0, 0);

#[test]
fn fragments_are_what_they_were_given() {
    let gpu = Gpu::emulated();
    let x = Tensor::from_slice(&gpu, &[4], &[1.0f32, 2.0, 3.0, 4.0]).unwrap();
    let y = Tensor::from_slice(&gpu, &[2], &[0.5f32, 1.5]).unwrap();
    let values = |y: Result<Tensor<f32>, Error>| y.unwrap().to_vec().unwrap();
    assert_eq!(values(of_f32(&gpu, &x, 1.0)), [2.0, 3.0, 4.0, 5.0]);
    assert_eq!(values(of_parenthesised(&gpu, &x, 1.0)), [2.0, 3.0, 4.0, 5.0]);
    assert_eq!(values(of_tensors(&gpu, &x, &y)), [3.0, 4.0, 5.0, 6.0]);
    assert_eq!(values(of_a_tuple(&gpu, &x, &y).map(|(z,)| z)), [3.0, 4.0, 5.0, 6.0]);
    assert_eq!(values(times_a_sum(&gpu, &x)), [3.0, 6.0, 9.0, 12.0]);
    assert_eq!(values(times_negative(&gpu, &x)), [-1.5, -3.0, -4.5, -6.0]);
    assert_eq!(values(times_a_call(&gpu, &x)), [8.0, 16.0, 24.0, 32.0]);
    assert_eq!(values(four(&gpu, &x)), [8.0, 12.0, 16.0, 20.0]);
    assert_eq!(values(halves(&gpu, &x)), [2.0, 4.0]);
    assert_eq!(values(quarters(&gpu, &x)), [2.0]);
    let doubled = [2.0, 4.0, 6.0, 8.0];
    assert_eq!(values(twice(&gpu, &x)), doubled);
    assert_eq!(values(twice_here(&gpu, &x)), doubled);
    assert_eq!(values(by_meta(&gpu, &x)), doubled);
    assert_eq!(values(by_several(&gpu, &x)), doubled);
    assert_eq!(values(by_item(&gpu, &x)), doubled);
    assert_eq!(values(all_relu(&gpu, &x)), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(values(all_abs(&gpu, &x)), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(values(of_listed(&gpu, &x, &x)), [3.0, 6.0, 9.0, 12.0]);
    assert_eq!(values(of_names(&gpu, &x)), [2.0, 2.0, 2.0, 2.0]);
}
