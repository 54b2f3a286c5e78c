//! Online sums, such as those of a softmax in one pass, match the reference on adversarial rows.

use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::schedule::{Pass, Schedule};
use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::target::{Machine, Target};
use energy_kernel_compiler::{lang, lower, schedule};
use energy_kernel_tests::{Input, first_wrong, run, vectors};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

const HEAD: &str = "fn f(x: Tensor<f32, (R, C)>, y: Tensor<f32, (R, C)>, s: f32) -> Tensor<f32, (R,)>";

fn checked(body: &str) -> Checked {
    let source = format!("{HEAD} {{ {body} }}");
    let operator = lang::parse(Default::default(), source.parse().expect("tokens")).expect("a valid operator");
    operator.variants[0].checked.clone()
}

fn one_pass(checked: &Checked, specialisation: &Specialisation) -> Vec<Schedule> {
    schedule::space(&Problem::new(checked, specialisation, Machine::like(Target::Sm80)))
        .into_iter()
        .filter(|point| matches!(point, Schedule::Row(row) if row.pass == Pass::One))
        .collect()
}

/// Bodies whose sums can be computed online.
const ONLINE: [&str; 11] = [
    "let m = |r| max(|c| x[[r, c]]); |r| sum(|c| exp(x[[r, c]] - m[[r]]))",
    "|r| sum(|c| exp(x[[r, c]] - max(|d| x[[r, d]])))",
    "let m = |r| min(|c| x[[r, c]]); |r| sum(|c| exp((m[[r]] - x[[r, c]]) / 3.0) * y[[r, c]])",
    // The scale on either side of the bracket, the rest of the exponent in parts.
    "let m = |r| max(|c| x[[r, c]] * 2.0 + y[[r, c]]);
     |r| sum(|c| exp((y[[r, c]] - (m[[r]] - 2.0 * x[[r, c]])) * rsqrt(C as f32)) / (1.0 + y[[r, c]] * y[[r, c]]))",
    // Masked: by a choice, and by an element that is -∞.
    "let m = |r| max(|c| if c <= r { x[[r, c]] } else { f32::NEG_INFINITY });
     |r| sum(|c| if c <= r { exp(x[[r, c]] - m[[r]]) } else { 0.0 })",
    "let v = |r, c| if y[[r, c]] > 0.3 { x[[r, c]] } else { f32::NEG_INFINITY };
     let m = |r| max(|c| v[[r, c]]);
     |r| sum(|c| exp(v[[r, c]] - m[[r]]))",
    // Several with one largest, and the largest's place.
    "let m = |r| max(|c| x[[r, c]]);
     |r| sum(|c| exp(x[[r, c]] - m[[r]]) * y[[r, c]]) / sum(|c| exp(2.0 * (x[[r, c]] - m[[r]]))) + argmax(|c| x[[r, c]]) as f32",
    "let a = |r| sum(|c| x[[r, c]]) / C as f32; |r| sum(|c| (x[[r, c]] - a[[r]]) * (x[[r, c]] - a[[r]]))",
    "let a = |r| sum(|c| x[[r, c]]) / C as f32; |r| sum(|c| powi(a[[r]] - x[[r, c]], 2))",
    "let a = |r| sum(|c| x[[r, c]]) / C as f32; |r| sum(|c| (x[[r, c]] - a[[r]]) * y[[r, c]])",
    // A centre that is no mean.
    "let a = |r| sum(|c| x[[r, c]]) / C as f32;
     let b = |r| sum(|c| y[[r, c]]) * s;
     |r| sum(|c| (x[[r, c]] - a[[r]]) * (b[[r]] - y[[r, c]]))",
];

/// Bodies that look similar, but have no online sums.
const OTHERS: [&str; 10] = [
    // The exponent is unbounded.
    "let m = |r| max(|c| x[[r, c]]); |r| sum(|c| exp(y[[r, c]] - m[[r]]))",
    "let m = |r| min(|c| x[[r, c]]); |r| sum(|c| exp(x[[r, c]] - m[[r]]))",
    "let m = |r| max(|c| x[[r, c]]); |r| sum(|c| exp((x[[r, c]] - m[[r]]) * -1.0))",
    // The sign of the scale is unknown.
    "let m = |r| max(|c| x[[r, c]]); |r| sum(|c| exp((x[[r, c]] - m[[r]]) * s))",
    "let m = |r| max(|c| x[[r, c]]); |r| sum(|c| exp(x[[r, c]] - m[[r]]) + 1.0)",
    "let m = |r| max(|c| x[[r, c]]); |r| max(|c| exp(x[[r, c]] - m[[r]]))",
    // The centre is a minimum, which is exact. A mean is not.
    "let a = |r| min(|c| x[[r, c]]); |r| sum(|c| (x[[r, c]] - a[[r]]) * (x[[r, c]] - a[[r]]))",
    "let a = |r| s + sum(|c| x[[r, c]]); |r| sum(|c| (x[[r, c]] - a[[r]]) * (x[[r, c]] - a[[r]]))",
    "let a = |r| sum(|c| x[[r, c]]); |r| sum(|c| abs(x[[r, c]] - a[[r]]))",
    "let a = |r| sum(|c| x[[r, c]]); |r| sum(|c| powi(x[[r, c]] - a[[r]], 3))",
];

#[test]
fn the_forms_are_told_apart() {
    for (bodies, online) in [(&ONLINE[..], true), (&OTHERS[..], false)] {
        for body in bodies {
            let checked = checked(body);
            let sizes = checked.derive(vec![4, 1 << 18]).expect("sizes");
            for specialisation in [Specialisation::exact(&sizes), Specialisation::like(&sizes)] {
                assert_eq!(!one_pass(&checked, &specialisation).is_empty(), online, "{body}");
            }
        }
    }
}

/// Adversarial rows of one kind.
fn row(kind: usize, length: u64, random: &mut StdRng) -> Vec<f32> {
    let mut noise = |scale: f32| (random.random::<f32>() - 0.5) * scale;
    let mut row: Vec<f32> = (0..length)
        .map(|c| match kind {
            // Ascending: every element is a new maximum.
            0 => c as f32 * 0.7,
            // A large mean, a small deviation.
            1 => 4096.0 + noise(1.0),
            2 => -300.0 + noise(50.0),
            // Constant.
            3 => 0.1,
            4 => f32::NEG_INFINITY,
            _ => noise(6.0),
        })
        .collect();
    let mut place = |value: f32| {
        let at = random.random_range(0..length) as usize;
        row[at] = value;
    };
    match kind {
        5 => (0..length / 2).for_each(|_| place(f32::NEG_INFINITY)),
        6 => place(f32::INFINITY),
        7 => place(f32::NAN),
        // One outlier: the first element, or any.
        8 => row[0] = 3.0e6,
        9 => place(-7.0e4),
        10 => place(f32::MIN),
        _ => {}
    }
    row
}
const KINDS: usize = 12;

#[test]
fn online_sums_are_within_the_bound() {
    let mut random = StdRng::seed_from_u64(7);
    let mut runs = 0;
    for body in ONLINE {
        let checked = checked(body);
        for columns in [1, 3, 30, 96, 257, 1024] {
            let rows = KINDS as u64;
            let sizes = checked.derive(vec![rows, columns]).expect("sizes");
            let mut tensor = |kinds: fn(usize) -> usize| -> Input {
                let rows = (0..KINDS).flat_map(|kind| row(kinds(kind), columns, &mut random));
                Input {
                    bytes: rows.flat_map(f32::to_le_bytes).collect(),
                }
            };
            // The other tensor is mostly harmless.
            let inputs = [
                tensor(|kind| kind),
                tensor(|kind| if kind == 11 { 6 } else { 11 }),
                Input {
                    bytes: vectors::store(energy_kernel_compiler::element::Element::F32, 0.25),
                },
            ];
            for specialisation in [Specialisation::exact(&sizes), Specialisation::like(&sizes)] {
                let points = one_pass(&checked, &specialisation);
                for point in points.sample(&mut random, 2) {
                    runs += 1;
                    let kernel = lower::lower(
                        &Problem::new(&checked, &specialisation, Machine::like(Target::Sm80)),
                        point,
                    )
                    .expect("legal");
                    let wrong = run(&checked, &kernel, &sizes, &inputs)
                        .map(|run| first_wrong(&checked, &sizes, &inputs, &run.outputs))
                        .unwrap_or_else(Some);
                    assert_eq!(wrong, None, "{body}\n{sizes:?} {:?}\n{point}", specialisation.extents);
                }
            }
        }
    }
    assert!(runs > 200, "only {runs} kernels");
}
