//! The accuracy of the language's functions as they are emitted, in units in the last place of the true result.
//!
//! `cargo test -p energy-kernel-compiler --test math -- --nocapture` prints the figures for the table of the module `lower::math`.

#[path = "math/evaluator.rs"]
mod evaluator;

use energy_kernel_compiler::element::Type;
use energy_kernel_compiler::ir::Function;
use energy_kernel_compiler::lower::math;
use energy_kernel_compiler::lower::value::{Value, class_of};
use energy_kernel_compiler::ptx::text::Entry;
use energy_kernel_compiler::ptx::{Address, Builder, Cache, Class, Item, Space, Turns, Width};
use energy_kernel_compiler::target::Target;
use evaluator::{Approximation, Direction, Thread};
use std::io::Write;

/// Evaluates kernels.
enum Routine {
    Call(Function),
    PowiBy(i32),
    Remainder,
}

/// A kernel of one thread that stores the routine's value of its parameters.
fn kernel(routine: &Routine, ty: Type) -> Entry {
    let mut b = Builder::new("routine", 32);
    let width = width_of(ty);
    let out = b.parameter(Width::B64);
    let x = Value::new(ty, b.parameter(width));
    let value = match routine {
        Routine::Call(Function::Powf) => {
            let y = Value::new(ty, b.parameter(width));
            math::call(&mut b, Function::Powf, ty, &[x, y])
        }
        Routine::Call(Function::Powi) => {
            let n = Value::new(Type::I32, b.parameter(Width::B32));
            math::call(&mut b, Function::Powi, ty, &[x, n])
        }
        Routine::Call(function) => math::call(&mut b, *function, ty, &[x]),
        Routine::PowiBy(n) => math::call(&mut b, Function::Powi, ty, &[x, Value::i32(*n)]),
        Routine::Remainder => {
            let y = Value::new(ty, b.parameter(width));
            math::remainder(&mut b, x, y)
        }
    };
    assert_eq!(value.ty, ty);
    let value = value.reg(&mut b);
    assert_eq!(value.class, class_of(ty));
    let address = Address { base: out, offset: 0 };
    b.store(Space::Global, width, address, &[value.into()], Cache::Normal, None);
    b.finish()
}

fn width_of(ty: Type) -> Width {
    match ty {
        Type::Bool | Type::I32 => Width::B32,
        Type::I64 => Width::B64,
        Type::F32 => Width::F32,
        Type::F64 => Width::F64,
    }
}

/// Counts the instructions of a body, those of loops and conditionals once.
fn instructions(items: &[Item]) -> usize {
    items
        .iter()
        .map(|item| match item {
            Item::Instruction(_) => 1,
            Item::If(_, body) => instructions(body),
            Item::Loop(each) => instructions(&each.body),
        })
        .sum()
}

/// The instructions of a routine, without the store and the loads of parameters.
fn size(entry: &Entry) -> usize {
    instructions(&entry.body) - 1 - entry.parameters.len()
}

struct Unary32<'e>(Thread<'e>);

impl Unary32<'_> {
    fn value(&mut self, x: f32) -> f32 {
        self.binary(x, 0.0)
    }

    fn binary(&mut self, x: f32, y: f32) -> f32 {
        let parameters = [0, u64::from(x.to_bits()), u64::from(y.to_bits())];
        f32::from_bits(self.0.run(&parameters) as u32)
    }
}

/// The distance from the true value in units in the last place of binary32; infinite if only one is NaN.
fn error_32(got: f32, truth: f64) -> f64 {
    if got.is_nan() || truth.is_nan() {
        return if got.is_nan() && truth.is_nan() {
            0.0
        } else {
            f64::INFINITY
        };
    }
    // Values beyond the largest number round to infinity, as if that were the next number.
    let beyond = 2f64.powi(128);
    let finite = |x: f64| x.clamp(-beyond, beyond);
    let exponent = (truth.abs().to_bits() >> 52) as i32 - 1023;
    let last_place = 2f64.powi(exponent.clamp(-126, 127) - 23);
    (finite(f64::from(got)) - finite(truth)).abs() / last_place
}

fn truth(function: Function, x: f64) -> f64 {
    match function {
        Function::Exp => x.exp(),
        Function::Ln => x.ln(),
        Function::Sqrt => x.sqrt(),
        Function::Rsqrt => 1.0 / x.sqrt(),
        Function::Tanh => x.tanh(),
        Function::Erf => libm::erf(x),
        Function::Sin => x.sin(),
        Function::Cos => x.cos(),
        Function::Abs => x.abs(),
        Function::Floor => x.floor(),
        Function::Ceil => x.ceil(),
        Function::Round => x.round(),
        Function::Relu if x.is_nan() => x,
        Function::Relu => x.max(0.0),
        Function::Gelu if x == f64::NEG_INFINITY => -0.0,
        Function::Gelu => 0.5 * x * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2),
        Function::Silu if x == f64::NEG_INFINITY => -0.0,
        // Not x / (1 + e⁻ˣ), because e⁻ˣ may overflow. eˣ may be subnormal although x eˣ is not.
        Function::Silu if x < 0.0 => x.max(-1000.0) * (x / 2.0).exp() / (1.0 + x.exp()) * (x / 2.0).exp(),
        Function::Silu => x / (1.0 + (-x).exp()),
        Function::Sigmoid if x < 0.0 => x.exp() / (1.0 + x.exp()),
        Function::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        // Through binary32, so values beyond its largest number become infinite.
        Function::Tf32 => {
            let x = f64::from(x as f32);
            let unit = 2f64.powi((x.abs().log2().floor() as i32).max(-126) - 10);
            let rounded = (x.abs() / unit + 0.5).floor() * unit;
            if x == 0.0 || !x.is_finite() {
                x
            } else {
                (rounded.copysign(x) as f32).into()
            }
        }
        Function::Tf32TowardZero => {
            let x = f64::from(x as f32);
            let unit = 2f64.powi((x.abs().log2().floor() as i32).max(-126) - 10);
            if x == 0.0 || !x.is_finite() {
                x
            } else {
                (x / unit).trunc() * unit
            }
        }
        Function::Powf | Function::Powi => unreachable!("of two arguments"),
    }
}

/// Numbers of every magnitude and sign, and evenly spaced numbers where the functions are curved.
fn samples_32() -> Vec<f32> {
    let bits = (0..u32::MAX).step_by(30_011).map(f32::from_bits);
    let even = (-60_000..60_000).map(|i| i as f32 * 3.0e-4 + 1e-5);
    let wide = (-40_000..40_000).map(|i| i as f32 * 0.00265);
    let angles = (1..20_000).map(|k| (f64::from(k) * std::f64::consts::FRAC_PI_2 * 7.0) as f32);
    let near_one = (0..2_000).flat_map(|i| {
        let bits = 1.0f32.to_bits();
        [f32::from_bits(bits + i * 7), f32::from_bits(bits - i * 7)]
    });
    bits.chain(even)
        .chain(wide)
        .chain(angles)
        .chain(near_one)
        .chain(special_32())
        .collect()
}

fn special_32() -> Vec<f32> {
    let some = [
        0.0,
        1.0,
        0.5,
        1.5,
        2.5,
        0.49999997,
        8388607.5,
        8388609.0,
        0.6,
        88.722_83,
        88.722_84,
        104.0,
        103.97,
        87.33,
        65536.0,
        65535.996,
        14.5,
        1e10,
        3.3e38,
        f32::MAX,
        f32::MIN_POSITIVE,
        f32::from_bits(1),
        f32::from_bits(0x7f_ffff),
        f32::INFINITY,
        // The number closest to a multiple of π/2, relative to its magnitude.
        1.6367692e31,
    ];
    some.iter().flat_map(|&x| [x, -x]).chain([f32::NAN]).collect()
}

/// The largest allowed errors: with correctly rounded approximate instructions, and with the worst documented ones.
const LIMITS_32: [(Function, f64, f64); 18] = [
    (Function::Exp, 1.5, 5.0),
    (Function::Ln, 0.9, 0.9),
    (Function::Sqrt, 0.5, 0.5),
    (Function::Rsqrt, 0.51, 2.2),
    (Function::Tanh, 1.7, 3.4),
    (Function::Erf, 2.0, 2.5),
    (Function::Sin, 2.6, 2.6),
    (Function::Cos, 2.6, 2.6),
    (Function::Abs, 0.0, 0.0),
    (Function::Floor, 0.0, 0.0),
    (Function::Ceil, 0.0, 0.0),
    (Function::Round, 0.0, 0.0),
    (Function::Relu, 0.0, 0.0),
    (Function::Gelu, 3.2, 7.0),
    (Function::Silu, 3.0, 8.0),
    (Function::Sigmoid, 2.5, 7.2),
    (Function::Tf32, 0.0, 0.0),
    (Function::Tf32TowardZero, 0.0, 0.0),
];

const MODES: [Approximation; 4] = [
    Approximation::Rounded,
    Approximation::Worst(Direction::Up),
    Approximation::Worst(Direction::Down),
    Approximation::Worst(Direction::Mixed),
];

#[test]
fn binary32() {
    let samples = samples_32();
    let mut failures = Vec::new();
    for (function, limit, worst_limit) in LIMITS_32 {
        let entry = kernel(&Routine::Call(function), Type::F32);
        let mut worst = [(0.0, 0.0f32); 2];
        for (mode, approximation) in MODES.into_iter().enumerate() {
            let mut routine = Unary32(Thread::new(&entry, approximation));
            let step = if mode == 0 { 1 } else { 3 };
            for &x in samples.iter().step_by(step) {
                let error = error_32(routine.value(x), truth(function, f64::from(x)));
                if error > worst[mode.min(1)].0 {
                    worst[mode.min(1)] = (error, x);
                }
            }
        }
        let [(rounded, at), (approximate, worst_at)] = worst;
        println!(
            "f32 {function:?}: {rounded:.2} at {at:e}; {approximate:.2} at {worst_at:e}; {} instructions",
            size(&entry)
        );
        if rounded > limit || approximate > worst_limit {
            failures.push(function);
        }
    }
    assert!(failures.is_empty(), "beyond the limits: {failures:?}");
}

/// Odd functions keep the sign of zeros.
#[test]
fn signs_of_zeros() {
    let keeps = [
        Function::Sqrt,
        Function::Tanh,
        Function::Erf,
        Function::Sin,
        Function::Floor,
        Function::Ceil,
        Function::Round,
        Function::Gelu,
        Function::Silu,
    ];
    for function in keeps {
        let entry = kernel(&Routine::Call(function), Type::F32);
        let mut routine = Unary32(Thread::new(&entry, Approximation::Rounded));
        assert_eq!(routine.value(-0.0).to_bits(), (-0.0f32).to_bits(), "{function:?}");
        assert_eq!(routine.value(0.0).to_bits(), 0, "{function:?}");
        let entry = kernel(&Routine::Call(function), Type::F64);
        let mut thread = Thread::new(&entry, Approximation::Rounded);
        assert_eq!(
            thread.run(&[0, (-0.0f64).to_bits()]),
            (-0.0f64).to_bits(),
            "{function:?}"
        );
        assert_eq!(thread.run(&[0, 0]), 0, "{function:?}");
    }
}

/// Pairs for `powf`: results of every size, bases near 1, special values.
fn power_pairs() -> Vec<(f64, f64)> {
    let mut random = Random(1);
    let mut pairs = Vec::new();
    for _ in 0..60_000 {
        let x = f64::from(f32::from_bits((random.next() >> 33) as u32));
        pairs.push((x, random.between(-104.0, 89.0) / x.ln()));
        let x = 1.0 + random.between(-0.5, 0.5) * random.between(0.0, 14.0).exp2().recip();
        pairs.push((x, random.between(-104.0, 89.0) / x.ln()));
        pairs.push((random.between(-10.0, 10.0), random.between(-9.0, 9.0).round()));
    }
    for x in special_32() {
        for y in special_32()
            .into_iter()
            .chain([2.0, 3.0, -2.0, -3.0, 16777215.0, 16777216.0])
        {
            pairs.push((f64::from(x), f64::from(y)));
        }
    }
    pairs
}

/// xorshift64*
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[test]
fn powf_32() {
    let entry = kernel(&Routine::Call(Function::Powf), Type::F32);
    let mut worst = [(0.0, (0.0, 0.0)); 2];
    for (mode, approximation) in MODES.into_iter().enumerate() {
        let mut routine = Unary32(Thread::new(&entry, approximation));
        for &(x, y) in &power_pairs() {
            let (x, y) = (x as f32, y as f32);
            let truth = f64::from(x).powf(f64::from(y));
            let got = routine.binary(x, y);
            assert!(
                truth.is_nan() || got.is_sign_negative() == truth.is_sign_negative(),
                "{x}^{y}: {got}, not {truth}"
            );
            let error = error_32(got, truth);
            if error > worst[mode.min(1)].0 {
                worst[mode.min(1)] = (error, (x, y));
            }
        }
    }
    println!("f32 Powf: {worst:?}; {} instructions", size(&entry));
    assert!(worst[0].0 <= 0.9 && worst[1].0 <= 4.0);
}

#[test]
fn powi_32() {
    let exact = |x: f32, n: i32| f64::from(x).powf(f64::from(n));
    let mut random = Random(3);
    let mut worst = (0.0, (0.0, 0));
    let mut check = |got: f32, x: f32, n: i32| {
        let truth = exact(x, n);
        assert!(
            truth.is_nan() || got.is_sign_negative() == truth.is_sign_negative(),
            "{x}^{n}: {got}"
        );
        let error = error_32(got, truth);
        if error > worst.0 {
            worst = (error, (x, n));
        }
    };
    let constants = [
        0,
        1,
        2,
        3,
        4,
        5,
        7,
        8,
        13,
        64,
        1000,
        -1,
        -2,
        -3,
        -4,
        -9,
        i32::MAX,
        i32::MIN,
    ];
    for n in constants {
        let entry = kernel(&Routine::PowiBy(n), Type::F32);
        let mut routine = Unary32(Thread::new(&entry, Approximation::Rounded));
        for x in special_32() {
            check(routine.value(x), x, n);
        }
        for _ in 0..20_000 {
            let x = f32::from_bits(random.next() as u32);
            check(routine.value(x), x, n);
            let limit = (88.0 / f64::from(n).abs().max(1.0)).min(80.0);
            let x = random.between(-limit, limit).exp() as f32;
            check(routine.value(x), x, n);
        }
    }
    let entry = kernel(&Routine::Call(Function::Powi), Type::F32);
    let mut routine = Thread::new(&entry, Approximation::Rounded);
    let mut variable = |x: f32, n: i32| {
        let got = routine.run(&[0, u64::from(x.to_bits()), u64::from(n as u32)]);
        check(f32::from_bits(got as u32), x, n);
    };
    for _ in 0..100_000 {
        let n = (random.next() as i32) >> (random.next() % 31);
        let limit = (88.0 / f64::from(n).abs().max(1.0)).min(80.0);
        variable(random.between(-limit, limit).exp() as f32, n);
    }
    for x in special_32() {
        for n in constants {
            variable(x, n);
        }
    }
    println!("f32 Powi: {worst:?}; {} instructions", size(&entry));
    assert!(worst.0 <= 2.0);
}

#[test]
fn powi_of_integers() {
    for (x, n) in [
        (3, 4),
        (-3, 5),
        (2, 31),
        (2, 32),
        (7, 0),
        (0, 0),
        (0, 5),
        (0, -1),
        (1, -7),
        (-1, -7),
        (-1, -8),
        (3, -2),
    ]
    .into_iter()
    .chain([(3, 1 << 30), (3, -(1 << 30)), (-1, i32::MIN), (5, i32::MIN), (10, 19)])
    {
        // The true value, by repeated products modulo 2⁶⁴.
        let mut power = 1i64;
        for _ in 0..n.unsigned_abs() % (1 << 12) {
            power = power.wrapping_mul(i64::from(x));
        }
        let known = n.unsigned_abs() < 1 << 12;
        let truth = match (n < 0, x) {
            (true, 1) => Some(1),
            (true, -1) => Some(if n % 2 == 0 { 1 } else { -1 }),
            (true, _) => Some(0),
            (false, _) if known => Some(power),
            (false, _) => None,
        };
        let Some(truth) = truth else { continue };
        for ty in [Type::I32, Type::I64] {
            let mask = if ty == Type::I32 { 0xffff_ffff } else { u64::MAX };
            let x = i64::from(x) as u64 & mask;
            for routine in [Routine::PowiBy(n), Routine::Call(Function::Powi)] {
                let entry = kernel(&routine, ty);
                let got = Thread::new(&entry, Approximation::Rounded).run(&[0, x, u64::from(n as u32)]);
                assert_eq!(got, truth as u64 & mask, "{x}^{n} of {ty}");
            }
        }
    }
    for (ty, x, magnitude) in [(Type::I32, -7i32 as u32 as u64, 7), (Type::I64, -7i64 as u64, 7)] {
        let entry = kernel(&Routine::Call(Function::Abs), ty);
        assert_eq!(Thread::new(&entry, Approximation::Rounded).run(&[0, x]), magnitude);
        let entry = kernel(&Routine::Call(Function::Relu), ty);
        assert_eq!(Thread::new(&entry, Approximation::Rounded).run(&[0, x]), 0);
        assert_eq!(Thread::new(&entry, Approximation::Rounded).run(&[0, 9]), 9);
    }
}

#[test]
fn remainder_is_exact() {
    let mut random = Random(5);
    let entry = kernel(&Routine::Remainder, Type::F32);
    let mut routine = Unary32(Thread::new(&entry, Approximation::Rounded));
    let mut pairs: Vec<(f32, f32)> = (0..50_000)
        .map(|_| {
            (
                f32::from_bits(random.next() as u32),
                f32::from_bits(random.next() as u32),
            )
        })
        .collect();
    pairs.extend((0..50_000).map(|_| (random.between(-100.0, 100.0) as f32, random.between(-9.0, 9.0) as f32)));
    for x in special_32() {
        pairs.extend(special_32().into_iter().map(|y| (x, y)));
    }
    for (x, y) in pairs {
        let (got, truth) = (routine.binary(x, y), x % y);
        assert!(
            got.to_bits() == truth.to_bits() || (got.is_nan() && truth.is_nan()),
            "{x} % {y}: {got}, not {truth}"
        );
    }
    println!("f32 %: exact; {} instructions", size(&entry));

    let entry = kernel(&Routine::Remainder, Type::F64);
    let mut thread = Thread::new(&entry, Approximation::Rounded);
    let mut pairs: Vec<(f64, f64)> = (0..20_000)
        .map(|_| (f64::from_bits(random.next()), f64::from_bits(random.next())))
        .collect();
    pairs.extend((0..20_000).map(|_| (random.between(-100.0, 100.0), random.between(-9.0, 9.0))));
    for x in special_64() {
        pairs.extend(special_64().into_iter().map(|y| (x, y)));
    }
    for (x, y) in pairs {
        let got = f64::from_bits(thread.run(&[0, x.to_bits(), y.to_bits()]));
        let truth = x % y;
        assert!(
            got.to_bits() == truth.to_bits() || (got.is_nan() && truth.is_nan()),
            "{x} % {y}: {got}, not {truth}"
        );
    }
    println!("f64 %: exact; {} instructions", size(&entry));
}

fn special_64() -> Vec<f64> {
    let some = [
        0.0,
        1.0,
        0.5,
        1.5,
        2.5,
        3.0,
        0.499_999_999_999_999_94,
        4503599627370495.5,
        4503599627370497.0,
        0.6,
        709.782712893384,
        709.7827128933841,
        745.2,
        708.4,
        1e10,
        1e300,
        39.5,
        f64::MAX,
        f64::MIN_POSITIVE,
        5e-324,
        2.2e-308,
        f64::INFINITY,
    ];
    some.iter().flat_map(|&x| [x, -x]).chain([f64::NAN]).collect()
}

/// A value of a binary64 function, to more digits than binary64 has.
struct Vector {
    function: Function,
    x: f64,
    y: f64,
    high: f64,
    low: f64,
}

fn vectors() -> Vec<Vector> {
    include_bytes!("math/vectors.bin")
        .chunks_exact(36)
        .map(|record| {
            let float = |at: usize| f64::from_le_bytes(record[at..at + 8].try_into().unwrap());
            let function = match u32::from_le_bytes(record[..4].try_into().unwrap()) {
                1 => Function::Exp,
                2 => Function::Ln,
                3 => Function::Rsqrt,
                4 => Function::Tanh,
                5 => Function::Erf,
                6 => Function::Sin,
                7 => Function::Cos,
                8 => Function::Gelu,
                9 => Function::Silu,
                10 => Function::Sigmoid,
                11 => Function::Powf,
                12 => Function::Powi,
                other => panic!("function {other}"),
            };
            Vector {
                function,
                x: float(4),
                y: float(12),
                high: float(20),
                low: float(28),
            }
        })
        .collect()
}

const LIMITS_64: [(Function, f64); 12] = [
    (Function::Exp, 1.0),
    (Function::Ln, 0.9),
    (Function::Rsqrt, 1.4),
    (Function::Tanh, 1.3),
    (Function::Erf, 1.0),
    (Function::Sin, 1.7),
    (Function::Cos, 1.7),
    (Function::Gelu, 3.6),
    (Function::Silu, 2.1),
    (Function::Sigmoid, 1.9),
    (Function::Powf, 1.2),
    (Function::Powi, 1.2),
];

#[test]
fn binary64() {
    let vectors = vectors();
    let mut failures = Vec::new();
    for (function, limit) in LIMITS_64 {
        let entry = kernel(&Routine::Call(function), Type::F64);
        let mut worst = (0.0, (0.0, 0.0));
        let mut count = 0;
        for vector in vectors.iter().filter(|vector| vector.function == function) {
            let y = match function {
                Function::Powi => u64::from(vector.y as i32 as u32),
                _ => vector.y.to_bits(),
            };
            let mut error = |entry: &Entry| {
                let got = f64::from_bits(Thread::new(entry, Approximation::Rounded).run(&[0, vector.x.to_bits(), y]));
                let error = ((got - vector.high) - vector.low).abs() / last_place_64(vector.high);
                let error = if error.is_nan() { f64::INFINITY } else { error };
                if error > worst.0 {
                    worst = (error, (vector.x, vector.y));
                }
            };
            error(&entry);
            if function == Function::Powi {
                error(&kernel(&Routine::PowiBy(vector.y as i32), Type::F64));
            }
            count += 1;
        }
        assert!(count >= 150, "{function:?} has {count} vectors");
        println!(
            "f64 {function:?}: {:.2} at {:?}; {} instructions",
            worst.0,
            worst.1,
            size(&entry)
        );
        if worst.0 > limit {
            failures.push(function);
        }
    }
    assert!(failures.is_empty(), "beyond the limits: {failures:?}");
}

/// The unit in the last place, with no less than the smallest subnormal.
fn last_place_64(x: f64) -> f64 {
    let exponent = (x.abs().to_bits() >> 52) as i64;
    f64::from_bits(1) * 2f64.powi((exponent.max(1) - 1).min(1023) as i32) * 2f64.powi((exponent - 1024).max(0) as i32)
}

/// Exact at special arguments, and at many others as accurate as the host's library.
#[test]
fn binary64_special() {
    let mut random = Random(9);
    let mut samples = special_64();
    samples.extend((0..20_000).map(|_| f64::from_bits(random.next())));
    samples.extend((0..20_000).map(|_| random.between(-45.0, 45.0)));
    let functions = Function::TABLE
        .iter()
        .filter(|(function, _, arguments)| *arguments == 1 && *function != Function::Gelu);
    for &(function, name, _) in functions.chain(&[(Function::Gelu, "gelu", 1)]) {
        let entry = kernel(&Routine::Call(function), Type::F64);
        let mut thread = Thread::new(&entry, Approximation::Rounded);
        // The host's gelu loses accuracy because its argument is rounded.
        let limit = if function == Function::Gelu { 3000.0 } else { 6.0 };
        for &x in &samples {
            let truth = truth(function, x);
            let got = f64::from_bits(thread.run(&[0, x.to_bits()]));
            let same = got == truth || (got.is_nan() && truth.is_nan());
            let error = (got - truth).abs() / last_place_64(truth);
            assert!(same || error <= limit, "{name}({x:e}): {got:e}, not {truth:e}: {error}");
        }
    }
}

#[test]
fn powf_64_special() {
    let entry = kernel(&Routine::Call(Function::Powf), Type::F64);
    let mut thread = Thread::new(&entry, Approximation::Rounded);
    let mut exponents = special_64();
    exponents.extend([
        2.0,
        -2.0,
        -3.0,
        9007199254740991.0,
        9007199254740992.0,
        -9007199254740991.0,
    ]);
    for x in special_64() {
        for &y in &exponents {
            let truth = x.powf(y);
            let got = f64::from_bits(thread.run(&[0, x.to_bits(), y.to_bits()]));
            let same = got.to_bits() == truth.to_bits() || (got.is_nan() && truth.is_nan());
            let error = (got - truth).abs() / last_place_64(truth);
            assert!(same || error <= 2.0, "{x:e}^{y:e}: {got:e}, not {truth:e}");
        }
    }
}

/// Loop invariants are hoisted, including the function's own conditionals.
#[test]
fn invariants_leave_loops() {
    let mut b = Builder::new("routine", 32);
    let out = b.parameter(Width::B64);
    let x = Value::new(Type::F32, b.parameter(Width::F32));
    let end = b.parameter(Width::B32);
    b.begin_loop(Class::B32, Turns::new(0, end, 1));
    let sine = math::call(&mut b, Function::Sin, Type::F32, &[x]);
    let address = Address { base: out, offset: 0 };
    b.store(Space::Global, Width::F32, address, &[sine.operand], Cache::Normal, None);
    let entry = b.finish();
    let inside = entry.body.iter().find_map(|item| match item {
        Item::Loop(each) => Some(instructions(&each.body)),
        _ => None,
    });
    assert_eq!(inside, Some(1));
    let mut thread = Thread::new(&entry, Approximation::Rounded);
    let got = f32::from_bits(thread.run(&[0, u64::from(1e9f32.to_bits()), 2]) as u32);
    assert!(error_32(got, 1e9f64.sin()) <= 3.0, "{got}");
}

/// The emulator runs the text, and the evaluator the instructions. Their results are identical if approximate
/// instructions are rounded correctly.
#[test]
fn text_means_the_same() {
    use energy_kernel_emulator::{Argument, Launch, Memory, Module, Options, launch};
    let memory = Memory::new(1 << 12);
    let out = memory.allocate(8).unwrap();
    for (name, entry) in routines() {
        let text = entry.module(Target::Sm80);
        let module = Module::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut thread = Thread::new(&entry, Approximation::Rounded);
        let double = entry.parameters[1] == Width::F64;
        for (position, &x) in special_64().iter().enumerate() {
            let raw: Vec<u64> = entry.parameters[1..]
                .iter()
                .enumerate()
                .map(|(parameter, width)| {
                    let value = if parameter == 0 {
                        x
                    } else {
                        special_64()[(position * 7 + 3) % special_64().len()]
                    };
                    match width {
                        Width::F32 => u64::from((value as f32).to_bits()),
                        Width::F64 => value.to_bits(),
                        Width::B32 => u64::from(value as i32 as u32),
                        _ => value as i64 as u64,
                    }
                })
                .collect();
            let mut arguments = vec![Argument::U64(out)];
            arguments.extend(raw.iter().zip(&entry.parameters[1..]).map(|(&raw, width)| match width {
                Width::F32 => Argument::F32(f32::from_bits(raw as u32)),
                Width::F64 => Argument::F64(f64::from_bits(raw)),
                Width::B32 => Argument::U32(raw as u32),
                _ => Argument::U64(raw),
            }));
            let options = Options {
                sanitize: true,
                ..Options::default()
            };
            memory.write(out, &[0; 8]).unwrap();
            let request = Launch {
                grid: [1, 1, 1],
                block: [1, 1, 1],
                dynamic_shared: 0,
                arguments: &arguments,
                options,
            };
            let report =
                launch(&module, &entry.name, &memory, &request).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(report.findings.is_empty(), "{name}: {:?}", report.findings);
            let mut bytes = [0; 8];
            memory.read(out, &mut bytes).unwrap();
            let got = u64::from_le_bytes(bytes);
            let mut parameters = vec![out];
            parameters.extend(&raw);
            let expected = thread.run(&parameters);
            let nan = |bits: u64| match entry.parameters[1] {
                Width::F32 => f32::from_bits(bits as u32).is_nan(),
                _ => double && f64::from_bits(bits).is_nan(),
            };
            assert!(
                got == expected || (nan(got) && nan(expected)),
                "{name} of {raw:x?}: {got:x}, not {expected:x}"
            );
        }
    }
}

/// ptxas accepts every routine, and nothing spills. `ENERGY_KERNEL_PTXAS` is its path.
#[test]
fn assembles() {
    let value = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let Some(ptxas) = value("ENERGY_KERNEL_PTXAS") else {
        let remedy = "set ENERGY_KERNEL_PTXAS to the path of the tool";
        assert!(
            value("ENERGY_KERNEL_DEMAND_TOOLS").is_none(),
            "assembles needs a tool: {remedy}"
        );
        // What is printed by the macros would be captured.
        writeln!(std::io::stderr(), "assembles is left out: {remedy}").unwrap();
        return;
    };
    let folder = std::env::temp_dir().join(format!("energy-kernel-math-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for (name, entry) in routines() {
        let source = folder.join(format!("{name}.ptx"));
        std::fs::write(&source, entry.module(Target::Sm80)).unwrap();
        let output = std::process::Command::new(&ptxas)
            .args(["-v", "-arch=sm_80", "-o"])
            .arg(folder.join(format!("{name}.cubin")))
            .arg(&source)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{name}: {text}");
        assert!(
            text.contains("0 bytes spill stores, 0 bytes spill loads"),
            "{name}: {text}"
        );
        let used = text.lines().find(|line| line.contains("Used")).unwrap_or_default();
        println!("{name}: {used}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Every routine of every type, with a name.
fn routines() -> Vec<(String, Entry)> {
    let mut routines = Vec::new();
    for (function, name, _) in Function::TABLE {
        routines.push((format!("{name}_f32"), kernel(&Routine::Call(function), Type::F32)));
        routines.push((format!("{name}_f64"), kernel(&Routine::Call(function), Type::F64)));
        if matches!(function, Function::Abs | Function::Relu | Function::Powi) {
            routines.push((format!("{name}_i32"), kernel(&Routine::Call(function), Type::I32)));
            routines.push((format!("{name}_i64"), kernel(&Routine::Call(function), Type::I64)));
        }
    }
    for (ty, name) in [
        (Type::F32, "f32"),
        (Type::F64, "f64"),
        (Type::I32, "i32"),
        (Type::I64, "i64"),
    ] {
        routines.push((format!("powi_by_{name}"), kernel(&Routine::PowiBy(-13), ty)));
    }
    routines.push(("remainder_f32".into(), kernel(&Routine::Remainder, Type::F32)));
    routines.push(("remainder_f64".into(), kernel(&Routine::Remainder, Type::F64)));
    routines
}
