//! The range proof against enumeration: random small programs, every value of every axis.

use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::lang;
use energy_kernel_compiler::size::Sizes;
use std::fmt;

// ---------------------------------------------------------------------- programs

const M: usize = 0;
const P: usize = 1;
const K: usize = 2;
const N: usize = 3;
/// Sizes by number. The first three are also the extents of the axes with these numbers.
const SIZES: [&str; 4] = ["M", "P", "K", "N"];
const AXES: [&str; 3] = ["i", "j", "k"];

enum Int {
    Literal(i32),
    Size(usize),
    Axis(usize),
    Neg(Box<Int>),
    Operator(char, Box<Int>, Box<Int>),
    Min(Box<Int>, Box<Int>),
    Max(Box<Int>, Box<Int>),
    If(Box<Truth>, Box<Int>, Box<Int>),
}

enum Truth {
    Compare(&'static str, Int, Int),
    And(Box<Truth>, Box<Truth>),
    Or(Box<Truth>, Box<Truth>),
    Not(Box<Truth>),
}

enum Body {
    Zero,
    Read(Int),
    If(Truth, Box<Body>, Box<Body>),
    /// Over `k`.
    Sum(Box<Body>),
}

impl Int {
    fn is_constant(&self) -> bool {
        match self {
            Int::Literal(_) => true,
            Int::Size(_) | Int::Axis(_) | Int::If(..) => false,
            Int::Neg(a) => a.is_constant(),
            Int::Operator(_, a, b) | Int::Min(a, b) | Int::Max(a, b) => a.is_constant() && b.is_constant(),
        }
    }
}

impl fmt::Display for Int {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Int::Literal(value) => write!(f, "{value}"),
            Int::Size(size) => write!(f, "{}", SIZES[*size]),
            Int::Axis(axis) => write!(f, "{}", AXES[*axis]),
            Int::Neg(a) => write!(f, "(-{a})"),
            Int::Operator(operator, a, b) => write!(f, "({a} {operator} {b})"),
            Int::Min(a, b) => write!(f, "min({a}, {b})"),
            Int::Max(a, b) => write!(f, "max({a}, {b})"),
            Int::If(condition, a, b) => write!(f, "(if {condition} {{ {a} }} else {{ {b} }})"),
        }
    }
}

impl fmt::Display for Truth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Truth::Compare(compare, a, b) => write!(f, "({a} {compare} {b})"),
            Truth::And(a, b) => write!(f, "({a} && {b})"),
            Truth::Or(a, b) => write!(f, "({a} || {b})"),
            Truth::Not(a) => write!(f, "!{a}"),
        }
    }
}

impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Body::Zero => write!(f, "0.0"),
            Body::Read(index) => write!(f, "x[[{index}]]"),
            Body::If(condition, a, b) => write!(f, "(if {condition} {{ {a} }} else {{ {b} }})"),
            Body::Sum(body) => write!(f, "sum(|k: K| {body})"),
        }
    }
}

// ---------------------------------------------------------------------- chance

struct Random(u64);

impl Random {
    fn below(&mut self, count: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) % count
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    fn leaf(&mut self, axes: usize) -> Int {
        match self.below(20) {
            0..12 => Int::Axis(self.below(axes as u64) as usize),
            12..15 => Int::Size(self.below(4) as usize),
            15 if self.below(4) == 0 => Int::Literal(self.of(&[i32::MAX, 1 << 16, 1 << 30, 1_000_000_007])),
            _ => Int::Literal(self.below(6) as i32),
        }
    }

    fn int(&mut self, axes: usize, depth: u32) -> Int {
        if depth == 0 || self.below(5) == 0 {
            return self.leaf(axes);
        }
        let boxed = |value| Box::new(value);
        match self.below(20) {
            kind @ 0..10 => {
                let operator = if kind < 5 { '+' } else { '-' };
                let b = if self.below(2) == 0 {
                    Int::Literal(1 + self.below(3) as i32)
                } else {
                    self.int(axes, depth - 1)
                };
                Int::Operator(operator, boxed(self.int(axes, depth - 1)), boxed(b))
            }
            10 | 11 => {
                let factor = match self.below(12) {
                    0 => self.leaf(axes),
                    1 => Int::Literal(self.of(&[1 << 16, 1 << 30])),
                    _ => Int::Literal(self.of(&[2, 2, 3, 4, 5])),
                };
                Int::Operator('*', boxed(self.int(axes, depth - 1)), boxed(factor))
            }
            kind @ 12..16 => {
                let operator = if kind < 14 { '/' } else { '%' };
                let divisor = match self.below(30) {
                    0 => self.leaf(axes),
                    _ => Int::Literal(self.of(&[1, 2, 2, 3, 3, 4, 5])),
                };
                let dividend = match self.int(axes, depth - 1) {
                    // The language refuses quotients of constants.
                    constant if constant.is_constant() => Int::Axis(0),
                    varying => varying,
                };
                Int::Operator(operator, boxed(dividend), boxed(divisor))
            }
            16 => Int::Min(boxed(self.int(axes, depth - 1)), boxed(self.int(axes, depth - 1))),
            17 => Int::Max(boxed(self.int(axes, depth - 1)), boxed(self.int(axes, depth - 1))),
            18 => Int::If(
                Box::new(self.truth(axes, 1)),
                boxed(self.int(axes, depth - 1)),
                boxed(self.int(axes, depth - 1)),
            ),
            _ => Int::Neg(boxed(self.int(axes, depth - 1))),
        }
    }

    fn truth(&mut self, axes: usize, depth: u32) -> Truth {
        match self.below(if depth == 0 { 6 } else { 10 }) {
            0..6 => {
                let compare = self.of(&["<", "<=", ">", ">=", "==", "!="]);
                Truth::Compare(compare, self.int(axes, 1), self.int(axes, 1))
            }
            6 | 7 => Truth::And(
                Box::new(self.truth(axes, depth - 1)),
                Box::new(self.truth(axes, depth - 1)),
            ),
            8 => Truth::Or(
                Box::new(self.truth(axes, depth - 1)),
                Box::new(self.truth(axes, depth - 1)),
            ),
            _ => Truth::Not(Box::new(self.truth(axes, depth - 1))),
        }
    }

    fn body(&mut self, axes: usize, depth: u32) -> Body {
        match self.below(10) {
            0..5 if depth > 0 => Body::If(
                self.truth(axes, 1),
                Box::new(self.body(axes, depth - 1)),
                Box::new(self.body(axes, depth - 1)),
            ),
            5..7 if depth > 0 && axes == 2 => Body::Sum(Box::new(self.body(3, depth - 1))),
            9 if depth < 2 => Body::Zero,
            _ => Body::Read(self.int(axes, 3)),
        }
    }
}

// ---------------------------------------------------------------------- enumeration

fn quotient(a: i64, b: i64) -> i64 {
    if b == 0 { 0 } else { a.wrapping_div(b) }
}

fn remainder(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { a.wrapping_rem(b) }
}

/// The indices that are read.
struct Reads {
    sizes: [u64; 4],
    /// The values that each axis takes.
    values: [Vec<u64>; 3],
    axes: [u64; 3],
    low: i64,
    high: i64,
}

impl Reads {
    fn of(body: &Body, sizes: [u64; 4], values: [Vec<u64>; 3]) -> Reads {
        let mut reads = Reads {
            sizes,
            values: values.clone(),
            axes: [0; 3],
            low: i64::MAX,
            high: i64::MIN,
        };
        for &i in &values[M] {
            for &j in &values[P] {
                reads.axes = [i, j, 0];
                reads.body(body);
            }
        }
        reads
    }

    fn are_in(&self, extent: u64) -> bool {
        self.low > self.high || (self.low >= 0 && (self.high as u64) < extent)
    }

    /// The smallest extent that could hold them.
    fn tight(&self) -> u64 {
        u64::try_from(self.high).map_or(0, |high| high + 1)
    }

    fn body(&mut self, body: &Body) {
        match body {
            Body::Zero => {}
            Body::Read(index) => {
                let index = self.value(index);
                self.low = self.low.min(index);
                self.high = self.high.max(index);
            }
            Body::If(condition, a, b) => self.body(if self.truth(condition) { a } else { b }),
            Body::Sum(body) => {
                for at in 0..self.values[K].len() {
                    self.axes[K] = self.values[K][at];
                    self.body(body);
                }
            }
        }
    }

    /// Sizes and axes are integers of 64 bits, in an index and in a condition.
    fn value(&self, int: &Int) -> i64 {
        match int {
            Int::Literal(value) => i64::from(*value),
            Int::Size(size) => self.sizes[*size] as i64,
            Int::Axis(axis) => self.axes[*axis] as i64,
            Int::Neg(a) => self.value(a).wrapping_neg(),
            Int::Operator(operator, a, b) => operate(*operator, self.value(a), self.value(b)),
            Int::Min(a, b) => self.value(a).min(self.value(b)),
            Int::Max(a, b) => self.value(a).max(self.value(b)),
            Int::If(condition, a, b) => self.value(if self.truth(condition) { a } else { b }),
        }
    }

    fn truth(&self, truth: &Truth) -> bool {
        match truth {
            Truth::Compare(compare, a, b) => {
                let (a, b) = (self.value(a), self.value(b));
                match *compare {
                    "<" => a < b,
                    "<=" => a <= b,
                    ">" => a > b,
                    ">=" => a >= b,
                    "==" => a == b,
                    _ => a != b,
                }
            }
            Truth::And(a, b) => self.truth(a) && self.truth(b),
            Truth::Or(a, b) => self.truth(a) || self.truth(b),
            Truth::Not(a) => !self.truth(a),
        }
    }
}

fn operate(operator: char, a: i64, b: i64) -> i64 {
    match operator {
        '+' => a.wrapping_add(b),
        '-' => a.wrapping_sub(b),
        '*' => a.wrapping_mul(b),
        '/' => quotient(a, b),
        _ => remainder(a, b),
    }
}

// ---------------------------------------------------------------------- the tests

/// A random body, and the operator around it, which reads `x` of `X` elements.
fn program(random: &mut Random) -> (Body, Checked) {
    let body = random.body(2, 2);
    let source = format!(
        "fn f(x: Tensor<f32, (X,)>, y: Tensor<f32, (M, P)>, z: Tensor<f32, (K,)>, w: Tensor<f32, (N,)>)
            -> Tensor<f32, (M, P)> {{ |i, j| {body} }}"
    );
    let operator = lang::parse(Default::default(), source.parse().unwrap());
    let mut operator = operator.unwrap_or_else(|error| panic!("{error}: {source}"));
    (body, operator.variants.remove(0).checked)
}

fn bound(checked: &Checked, sizes: [u64; 4], extent: u64) -> Vec<u64> {
    let sizes: Sizes = SIZES.into_iter().zip(sizes).chain([("X", extent)]).collect();
    checked.bind(&sizes).unwrap()
}

/// Enumerates every value of every axis. Accepted programs read only existing elements, and few others are refused.
#[test]
fn small_programs_are_decided() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let (mut safe, mut accepted, mut refused) = (0, 0, 0);
    for _ in 0..6000 {
        let (body, checked) = program(&mut random);
        for _ in 0..4 {
            let sizes = [(); 4].map(|()| if random.below(12) == 0 { 0 } else { 1 + random.below(7) });
            let reads = Reads::of(&body, sizes, [M, P, K].map(|axis| (0..sizes[axis]).collect()));
            let tight = reads.tight();
            if tight > 1 << 20 {
                continue;
            }
            for extent in [tight, sizes[N], tight.saturating_sub(1)] {
                let is_safe = reads.are_in(extent);
                let verdict = checked.verify(&bound(&checked, sizes, extent));
                assert!(
                    is_safe || verdict.is_err(),
                    "X = {extent}, {SIZES:?} = {sizes:?}: {body}"
                );
                safe += u32::from(is_safe);
                accepted += u32::from(verdict.is_ok());
                refused += u32::from(!is_safe);
            }
        }
    }
    let rate = f64::from(accepted) / f64::from(safe);
    println!("{safe} safe, {accepted} of them accepted ({rate:.4}); {refused} unsafe, all refused");
    assert!(rate > 0.98, "{rate}");
}

/// Axes on which values wrap are too long to enumerate. Some values of each are tried, including its ends.
#[test]
fn large_sizes_are_sound() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut accepted = 0;
    for _ in 0..2000 {
        let (body, checked) = program(&mut random);
        for _ in 0..6 {
            let sizes = [(); 4].map(|()| {
                let large = [
                    1000,
                    21_475,
                    46_341,
                    1 << 16,
                    1 << 30,
                    (1 << 31) - 1,
                    1 << 31,
                    1 << 33,
                    1 << 62,
                ];
                let size: u64 = match random.below(3) {
                    0 => 1 + random.below(7),
                    _ => random.of(&large),
                };
                size.saturating_sub(random.below(2))
            });
            let values = [M, P, K].map(|axis| {
                let size = sizes[axis];
                let some = (0..3).map(|_| random.below(size.clamp(1, 1 << 31)));
                let mut values: Vec<u64> = [0, 1, 2, size / 2, size.saturating_sub(2), size.wrapping_sub(1)].into();
                values.extend(some);
                values.retain(|&value| value < size);
                values
            });
            let reads = Reads::of(&body, sizes, values);
            for extent in [reads.tight(), sizes[N], sizes[M], i64::MAX as u64] {
                let is_safe = reads.are_in(extent);
                let verdict = checked.verify(&bound(&checked, sizes, extent));
                assert!(
                    is_safe || verdict.is_err(),
                    "X = {extent}, {SIZES:?} = {sizes:?}: {body}"
                );
                accepted += u32::from(verdict.is_ok());
            }
        }
    }
    println!("{accepted} accepted");
    assert!(accepted > 10_000);
}
