//! Quotients by a divisor that a row or column shares are rounded as by IEEE 754 but for a 2¹⁶th of a rounding, also of zeros, infinities, NaN
//! and numbers at the ends of the exponent range.

use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::schedule::Schedule;
use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::target::{Machine, Target};
use energy_kernel_compiler::{lang, lower};
use energy_kernel_tests::{Input, run};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

const ROWS: &str = "fn f(x: Tensor<f32, (R, C)>, y: Tensor<f32, (R,)>) -> (Tensor<f32, (R, C)>, Tensor<f32, (R,)>) {
    (|r, c| x[[r, c]] / y[[r]], |r| max(|c| x[[r, c]]))
}";
const COLUMNS: &str =
    "fn f(x: Tensor<f32, (R, C)>, y: Tensor<f32, (C,)>) -> (Tensor<f32, (R, C)>, Tensor<f32, (R, C)>) {
    (|r, c| x[[r, c]] / y[[c]], |r, c| max(|k: R| x[[k, c]]))
}";

const SIDE: u64 = 256;

const SPECIAL: [f32; 14] = [
    0.0,
    1.0,
    3.0,
    f32::INFINITY,
    f32::NAN,
    f32::MAX,
    f32::MIN_POSITIVE,
    1e-45,
    1.1e-38,
    8.507_059e37,
    1.844_674_4e19,
    1.844_674_6e19,
    5.421_011e-20,
    5.421_01e-20,
];

/// Special numbers, numbers of any exponent, and neighbours of powers of two.
fn drawn(random: &mut StdRng) -> f32 {
    let magnitude = match random.random_range(0..4) {
        0 => SPECIAL.choose(random).copied().unwrap_or_default(),
        1 => f32::from_bits(
            ((random.random_range(0..255u32)) << 23).wrapping_add(random.random_range(0..4)) % 0x7f80_0000,
        ),
        _ => f32::from_bits(random.random_range(0..0x7f80_0000)),
    };
    if random.random() { magnitude } else { -magnitude }
}

/// `true` if this is the quotient, rounded once and hardly worse; near the smallest numbers, within two of the smallest.
fn is_quotient(x: f32, y: f32, got: f32) -> bool {
    let (exact, expected) = (f64::from(x) / f64::from(y), x / y);
    let error = (-24f64).exp2() * exact.abs() * (1.0 + (-16f64).exp2());
    let close = (f64::from(got) - exact).abs() <= (error + (-150f64).exp2()).max((-148f64).exp2());
    let same = got.to_bits() == expected.to_bits() || (got.is_nan() && expected.is_nan());
    same || (expected.is_finite() && close && got.is_sign_positive() == expected.is_sign_positive())
}

fn check(source: &str, schedule: &str, divisor: impl Fn(u64, u64) -> u64) {
    let operator = lang::parse(Default::default(), source.parse().expect("tokens")).expect("a valid operator");
    let checked = &operator.variants[0].checked;
    let sizes = checked.derive(vec![SIDE, SIDE]).expect("both sizes");
    let point: Schedule = schedule.parse().expect("a schedule");
    let machine = Machine::like(Target::Sm80);
    let specialisation = Specialisation::exact(&sizes);
    let kernel = lower::lower(&Problem::new(checked, &specialisation, machine), point).expect(schedule);
    assert!(!kernel.ptx.contains("div."), "{}", kernel.ptx);
    let mut random = StdRng::seed_from_u64(7);
    let mut draw = |count: u64| -> Vec<f32> { (0..count).map(|_| drawn(&mut random)).collect() };
    let (x, y) = (draw(SIDE * SIDE), draw(SIDE));
    let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let inputs = [Input { bytes: bytes(&x) }, Input { bytes: bytes(&y) }];
    let outputs = run(checked, &kernel, &sizes, &inputs).expect(schedule).outputs;
    let quotients = outputs[0]
        .chunks(4)
        .map(|chunk| f32::from_le_bytes(chunk.try_into().expect("four bytes")));
    for (number, (&x, got)) in (0..).zip(x.iter().zip(quotients)) {
        let y = y[divisor(number / SIDE, number % SIDE) as usize];
        assert!(
            is_quotient(x, y, got),
            "{schedule}: {x:e} / {y:e} is {got:e}, not {:e}",
            x / y
        );
    }
}

#[test]
fn quotients_by_shared_divisors_are_rounded_once() {
    check(
        ROWS,
        "row threads=32 rows=4 vector=4 keep=registers unroll=1 pass=several",
        |row, _| row,
    );
    check(
        ROWS,
        "row threads=64 rows=1 vector=2 keep=reload unroll=2 pass=several",
        |row, _| row,
    );
    check(
        COLUMNS,
        "reduce threads=32 lanes=4 vector=4 keep=registers unroll=1 split_k=1",
        |_, column| column,
    );
}
