//! The additions of tensor cores: cases computed by hand, and random ones computed by integers, step by step.
//!
//! The documentation of `TensorCores` has the rules. Every case here distinguishes some of them.

mod common;

use common::product::{Operand, product};
use energy_kernel_emulator::{Options, TensorCores};
use half::{bf16, f16};
use proptest::prelude::*;

const HEAD: &str = ".version 8.0\n.target sm_80\n.address_size 64\n";

/// An instruction: the shape and the types of its operands.
struct Kind {
    instruction: &'static str,
    k: usize,
    factor_bits: u32,
    sum_bits: u32,
    factor: fn(f64) -> u64,
    sum: fn(f64) -> u64,
    result: fn(u64) -> f64,
}

const F16: Kind = Kind {
    instruction: "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32",
    k: 16,
    factor_bits: 16,
    sum_bits: 32,
    factor: |value| f16::from_f64(value).to_bits().into(),
    sum: |value| (value as f32).to_bits().into(),
    result: |bits| f32::from_bits(bits as u32).into(),
};
const F16_TO_F16: Kind = Kind {
    instruction: "mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16",
    sum_bits: 16,
    sum: |value| f16::from_f64(value).to_bits().into(),
    result: |bits| f16::from_bits(bits as u16).to_f64(),
    ..F16
};
const BF16: Kind = Kind {
    instruction: "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32",
    factor: |value| bf16::from_f64(value).to_bits().into(),
    ..F16
};
const TF32: Kind = Kind {
    instruction: "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32",
    k: 8,
    factor_bits: 32,
    factor: |value| (value as f32).to_bits().into(),
    ..F16
};

/// Element (0, 0) of D, given C's and the factors of its products.
fn sum(kind: &Kind, cores: TensorCores, start: f64, factors: &[(usize, f64, f64)]) -> f64 {
    let k = kind.k;
    let (mut a, mut b, mut c) = (vec![0; 16 * k], vec![0; 8 * k], vec![0; 128]);
    c[0] = (kind.sum)(start);
    for &(at, x, y) in factors {
        (a[at], b[8 * at]) = ((kind.factor)(x), (kind.factor)(y));
    }
    let operands = [(kind.factor_bits, a), (kind.factor_bits, b), (kind.sum_bits, c)]
        .map(|(bits, elements)| Operand { bits, elements });
    let options = Options {
        tensor_cores: cores,
        ..Options::default()
    };
    let (result, _) = product(HEAD, kind.instruction, (16, k), &operands, options);
    // The other elements are unaffected.
    assert!(result[9..].iter().all(|bits| *bits == 0), "{result:x?}");
    (kind.result)(result[0])
}

/// The result on Ampere, on Hopper, and exactly.
fn sums(kind: &Kind, start: f64, factors: &[(usize, f64, f64)]) -> [f64; 3] {
    [TensorCores::Ampere, TensorCores::Hopper, TensorCores::Exact].map(|cores| sum(kind, cores, start, factors))
}

fn power(exponent: i32) -> f64 {
    2f64.powi(exponent)
}

#[test]
fn fractional_bits_are_kept_below_the_largest_exponent() {
    let next = 1.0 + power(-23);
    let small = |count: usize, exponent: i32| -> Vec<(usize, f64, f64)> {
        (0..count)
            .map(|at| (at, power(exponent / 2), power(exponent - exponent / 2)))
            .collect()
    };
    // All count two terms of 2^-24. Those with 25 bits count four of 2^-25. None that truncates counts eight of 2^-26.
    for kind in [&F16, &BF16] {
        assert_eq!(sums(kind, 1.0, &small(2, -24)), [next, next, next]);
        assert_eq!(sums(kind, 1.0, &small(4, -25)), [1.0, next, next]);
        assert_eq!(sums(kind, 1.0, &small(8, -26)), [1.0, 1.0, next]);
    }
    assert_eq!(sums(&TF32, 1.0, &small(2, -24)), [next, next, next]);
    assert_eq!(sums(&TF32, 1.0, &small(4, -25)), [1.0, next, next]);
}

#[test]
fn a_step_adds_so_many_products() {
    let next = 1.0 + power(-23);
    let pair = |second: usize| [(0, power(-12), power(-12)), (second, power(-12), power(-12))];
    // Ampere adds eight products of 16 bits or four of tf32, then truncates the sum. Hopper adds all at once.
    assert_eq!(sums(&F16, 1.0, &pair(7)), [next, next, next]);
    assert_eq!(sums(&F16, 1.0, &pair(8)), [1.0, next, next]);
    assert_eq!(sums(&BF16, 1.0, &pair(8)), [1.0, next, next]);
    assert_eq!(sums(&TF32, 1.0, &pair(3)), [next, next, next]);
    assert_eq!(sums(&TF32, 1.0, &pair(4)), [1.0, next, next]);
}

#[test]
fn truncation_is_toward_zero() {
    // 1 − 2^-25: Ampere drops the second term; on Hopper it clears the result's last bit (2^-24 below one).
    let little = [(0, -power(-12), power(-13))];
    assert_eq!(sums(&F16, 1.0, &little), [1.0, 1.0 - power(-24), 1.0]);
    let little = [(0, power(-12), power(-13))];
    assert_eq!(sums(&F16, -1.0, &little), [-1.0, -1.0 + power(-24), -1.0]);
    // Three quarters of the last place are truncated.
    let most = [(0, 1.5 * power(-12), power(-12))];
    assert_eq!(sums(&F16, 1.0, &most), [1.0, 1.0, 1.0 + power(-23)]);
}

#[test]
fn products_are_not_normalised() {
    // 1.5 × 1.5 = 2.25 counts with exponent 0: after it cancels, 2^-24 is still there on Ampere, and 2^-25 on Hopper.
    let cancelling = |little: i32| [(0, 1.5, 1.5), (1, -1.5, 1.5), (2, power(-12), power(little + 12))];
    assert_eq!(sums(&F16, 0.0, &cancelling(-24)), [power(-24); 3]);
    assert_eq!(sums(&F16, 0.0, &cancelling(-25)), [0.0, power(-25), power(-25)]);
    assert_eq!(sums(&F16, 0.0, &cancelling(-26)), [0.0, 0.0, power(-26)]);
    // The subnormal 2^-24 counts with exponent −14, so its product with 2^10 has exponent −4.
    let subnormal = |little: i32| [(0, power(-24), power(10)), (1, power(-15), power(little + 15))];
    assert_eq!(sums(&F16, 0.0, &subnormal(-28)), [power(-14) + power(-28); 3]);
    let exact = power(-14) + power(-29);
    assert_eq!(sums(&F16, 0.0, &subnormal(-29)), [power(-14), exact, exact]);
}

#[test]
fn f16_sums_are_rounded_to_nearest_after_each_step() {
    let next = 1.0 + power(-10);
    // A tie goes to even. Hopper adds two halves of a unit; Ampere rounds between them, after each step.
    let pair = |second: usize| [(0, power(-6), power(-5)), (second, power(-6), power(-5))];
    assert_eq!(sums(&F16_TO_F16, 1.0, &[(0, power(-6), power(-5))]), [1.0; 3]);
    assert_eq!(
        sums(&F16_TO_F16, next, &[(0, power(-6), power(-5))]),
        [1.0 + power(-9); 3]
    );
    assert_eq!(sums(&F16_TO_F16, 1.0, &pair(7)), [next; 3]);
    assert_eq!(sums(&F16_TO_F16, 1.0, &pair(8)), [1.0, next, next]);
    assert_eq!(sums(&F16_TO_F16, 65504.0, &[(0, 4.0, 4.0)]), [f64::INFINITY; 3]);
}

#[test]
fn tf32_ignores_the_low_bits_of_its_factors() {
    let low = 1.0 + power(-11);
    assert_eq!(sums(&TF32, 0.0, &[(0, low, 2.0)]), [2.0; 3]);
    assert_eq!(sums(&TF32, 0.0, &[(0, 1.0 + power(-10), 2.0)]), [2.0 + power(-9); 3]);
}

#[test]
fn infinities_and_nan() {
    let infinite = f64::INFINITY;
    for kind in [&F16, &BF16, &TF32, &F16_TO_F16] {
        assert_eq!(sums(kind, 1.0, &[(0, infinite, -1.0), (1, 2.0, 2.0)]), [-infinite; 3]);
        for factors in [
            vec![(0, infinite, 0.0)],
            vec![(0, f64::NAN, 0.0)],
            vec![(0, infinite, 1.0), (1, infinite, -1.0)],
        ] {
            assert!(sums(kind, 1.0, &factors).iter().all(|sum| sum.is_nan()));
        }
        assert!(
            sums(kind, infinite, &[(0, -infinite, 1.0)])
                .iter()
                .all(|sum| sum.is_nan())
        );
    }
    let huge = [(0, power(127), power(1))];
    assert_eq!(sums(&BF16, 0.0, &huge), [infinite; 3]);
    // Larger than any f32 on the way, but not at the end of the step.
    let returning = [(0, power(127), power(1)), (1, -power(127), power(1)), (2, 3.0, 1.0)];
    assert_eq!(sums(&BF16, 0.0, &returning), [0.0, 0.0, 3.0]);
}

#[test]
fn the_target_chooses_unless_the_options_do() {
    let factors = [(0, power(-12), power(-12)), (8, power(-12), power(-12))];
    assert_eq!(sum(&F16, TensorCores::OfTarget, 1.0, &factors), 1.0);
    let (mut a, mut b, mut c) = (vec![0; 256], vec![0; 128], vec![0; 128]);
    c[0] = (F16.sum)(1.0);
    for (at, x, y) in factors {
        (a[at], b[8 * at]) = ((F16.factor)(x), (F16.factor)(y));
    }
    let operands = [(16, a), (16, b), (32, c)].map(|(bits, elements)| Operand { bits, elements });
    for target in ["sm_90", "sm_90a", "sm_100a", "sm_120"] {
        let head = format!(".version 8.8\n.target {target}\n.address_size 64\n");
        let (result, _) = product(&head, F16.instruction, (16, 16), &operands, Options::default());
        assert_eq!((F16.result)(result[0]), 1.0 + power(-23), "{target}");
    }
}

/// f64 products are fused multiply-adds in the order of k.
#[test]
fn f64_products_are_fused_one_after_the_other() {
    let values = [0.1f64, 1e16, -1e16, 1.0 / 3.0];
    let mut a = vec![0; 32];
    let mut b = vec![0; 32];
    for (k, value) in values.into_iter().enumerate() {
        (a[k], b[8 * k]) = (value.to_bits(), (1.0 + value).to_bits());
    }
    let operands = [a, b, vec![0; 64]].map(|elements| Operand { bits: 64, elements });
    let instruction = "mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64";
    let (result, _) = product(HEAD, instruction, (8, 4), &operands, Options::default());
    let expected = values
        .iter()
        .fold(0.0, |sum, value: &f64| value.mul_add(1.0 + value, sum));
    assert_eq!(f64::from_bits(result[0]), expected);
}

/// One step by integers: every term as a whole number of units of the last fractional bit.
fn step(fraction: i32, start: f32, pairs: &[(f16, f16)]) -> f32 {
    // (significand, exponent of its unit, exponent)
    let unpack = |bits: u32, precision: u32, width: u32| -> (i128, i32, i32) {
        let field = (bits >> (precision - 1) & ((1 << width) - 1)) as i32;
        let fraction = (bits & ((1 << (precision - 1)) - 1)) as i128;
        let significand = if field == 0 {
            fraction
        } else {
            fraction | 1 << (precision - 1)
        };
        let exponent = field.max(1) - ((1 << (width - 1)) - 1);
        let negative = bits >> (precision - 1 + width) & 1 != 0;
        (
            if negative { -significand } else { significand },
            exponent - (precision as i32 - 1),
            exponent,
        )
    };
    let mut terms = vec![unpack(start.to_bits(), 24, 8)];
    for (x, y) in pairs {
        let (x, y) = (unpack(x.to_bits().into(), 11, 5), unpack(y.to_bits().into(), 11, 5));
        terms.push((x.0 * y.0, x.1 + y.1, x.2 + y.2));
    }
    let largest = terms.iter().filter(|term| term.0 != 0).map(|term| term.2).max();
    let Some(largest) = largest else { return 0.0 };
    let unit = largest - fraction;
    let total: i128 = terms
        .into_iter()
        .map(|(significand, exponent, _)| {
            let shift = exponent - unit;
            if shift >= 0 {
                significand << shift
            } else {
                significand / (1i128 << (-shift).min(100))
            }
        })
        .sum();
    // Truncated to 24 bits, or to those of a subnormal.
    let bits = 128 - total.unsigned_abs().leading_zeros() as i32;
    let cut = (bits - 24).max(-149 - unit).max(0);
    let kept = (total.unsigned_abs() >> cut) as f64 * 2f64.powi(unit + cut);
    (if total < 0 { -kept } else { kept }) as f32
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_sums_agree_with_integers(bits in prop::collection::vec(any::<u16>(), 16 * 16 + 16 * 8), starts in prop::collection::vec((any::<u16>(), -40i32..40), 128)) {
        // Finite values of every exponent; sums of about their size.
        let finite = |bits: u16| if bits & 0x7c00 == 0x7c00 { bits & 0x87ff } else { bits };
        let factors: Vec<f16> = bits.iter().map(|bits| f16::from_bits(finite(*bits))).collect();
        let (a, b) = factors.split_at(256);
        let c: Vec<f32> = starts.iter().map(|(bits, exponent)| f16::from_bits(finite(*bits)).to_f32() * 2f32.powi(*exponent)).collect();
        let bits_of = |values: &[f16]| values.iter().map(|value| u64::from(value.to_bits())).collect::<Vec<u64>>();
        let operands = [
            Operand { bits: 16, elements: bits_of(a) },
            Operand { bits: 16, elements: bits_of(b) },
            Operand { bits: 32, elements: c.iter().map(|value| value.to_bits().into()).collect() },
        ];
        for (cores, fraction, products) in [(TensorCores::Ampere, 24, 8), (TensorCores::Hopper, 25, 16)] {
            let options = Options { tensor_cores: cores, ..Options::default() };
            let (result, _) = product(HEAD, F16.instruction, (16, 16), &operands, options);
            for row in 0..16 {
                for column in 0..8 {
                    let pairs: Vec<(f16, f16)> = (0..16).map(|k| (a[16 * row + k], b[8 * k + column])).collect();
                    let expected = pairs.chunks(products).fold(c[8 * row + column], |sum, pairs| step(fraction, sum, pairs));
                    let got = f32::from_bits(result[8 * row + column] as u32);
                    prop_assert_eq!(got.to_bits(), expected.to_bits(), "{:?}: {} and not {}", cores, got, expected);
                }
            }
        }
    }
}
