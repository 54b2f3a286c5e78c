//! What an operator costs to compile: parsing and checking it (limit: 5 ms with the expansion), and emitting a kernel (limit: 1 ms); what
//! a kernel's features cost, emission included (limit: 2 ms); what the choice of untuned programs costs: a millisecond for each schedule that is
//! estimated, of which an operator with nothing to store has no more than before there were stages; and what a call with new sizes costs before that: the proof that
//! its indices are in range (limit: 20 µs).

use criterion::{Criterion, criterion_group, criterion_main};
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::schedule::Schedule;
use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::target::{Machine, Target};
use energy_kernel_compiler::{estimate, features, lang, lower, stages};
use std::hint::black_box;

const LINEAR: &str =
    "fn linear_gelu(x: Tensor<f16, (M, K)>, w: Tensor<f16, (N, K)>, b: Tensor<f16, (N,)>) -> Tensor<f16, (M, N)> {
    |m, n| gelu(sum(|k| x[[m, k]] * w[[n, k]]) + b[[n]])
}";
const SOFTMAX: &str = "fn softmax(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R, C)> {
    let peak = |r| max(|c| x[[r, c]]);
    let total = |r| sum(|c| exp(x[[r, c]] - peak[[r]]));
    |r, c| exp(x[[r, c]] - peak[[r]]) / total[[r]]
}";
const CONV: &str =
    "fn conv(x: Tensor<f16, (B, C, H, W)>, w: Tensor<f16, (O, C, R, S)>) -> Tensor<f16, (B, O, HO, WO)> {
    |b, o, h, v| sum(|c, r, s| x.or(0.0)[[b, c, h * 2 + r - 1, v * 2 + s - 1]] * w[[o, c, r, s]])
}";
const ROPE: &str = "fn rope(x: Tensor<f16, (T, D)>, c: Tensor<f16, (T, D)>) -> Tensor<f16, (T, D)> {
    |t, d| if d < E { x[[t, d]] * c[[t, d]] - x[[t, d + E]] * c[[t, d + E]] }
           else { x[[t, d]] * c[[t, d]] + x[[t, d - E]] * c[[t, d - E]] }
}";
const LAYERS: &str =
    "fn layers(x: Tensor<f16, (M, K)>, v: Tensor<f16, (J, K)>, w: Tensor<f16, (N, J)>) -> Tensor<f16, (M, N)> {
    let hidden = |m, j| relu(sum(|k| x[[m, k]] * v[[j, k]])) as f16;
    |m, n| sum(|j| hidden[[m, j]] * w[[n, j]])
}";
const UPSAMPLE: &str = "fn upsample(x: Tensor<f32, (H, W)>) -> Tensor<f32, (HO, WO)> {
    |h, w| x[[min(max((h - 1) / 2, 0), H - 1), min(max((w - 1) / 2, 0), W - 1)]]
        + x[[min((h + 1) / 2, H - 1), min((w + 1) / 2, W - 1)]]
}";

fn benchmarks(criterion: &mut Criterion) {
    let cases = [
        (
            "linear_gelu",
            "",
            LINEAR,
            vec![256, 384, 1536],
            "contract block=128x128x16 thread=8x8 stages=2 blocks=0 split_k=1",
        ),
        (
            "linear_gelu",
            "",
            LINEAR,
            vec![256, 384, 1536],
            "mma block=128x128x64 warp=64x64 slice_k=1 stages=3 group=8 blocks=0 split_k=1",
        ),
        ("linear_gelu", "", LINEAR, vec![256, 384, 1536], "plain threads=128"),
        (
            "softmax",
            "",
            SOFTMAX,
            vec![4096, 4096],
            "row threads=256 rows=1 vector=4 keep=registers unroll=1 pass=several",
        ),
        (
            "conv",
            "dims(HO = (H + 2 - R) / 2 + 1, WO = (W + 2 - S) / 2 + 1)",
            CONV,
            vec![1, 64, 56, 56, 128, 3, 3],
            "contract block=64x64x16 thread=8x4 stages=2 blocks=0 split_k=1",
        ),
    ];
    for (name, attribute, source, free, schedule) in cases {
        let tokens = || (attribute.parse().expect("tokens"), source.parse().expect("tokens"));
        let (attribute, item) = tokens();
        let operator = lang::parse(attribute, item).expect("the operator is valid");
        let checked = &operator.variants[0].checked;
        let sizes = checked.derive(free).expect("the sizes are valid");
        let specialisation = Specialisation::exact(&sizes);
        let point: Schedule = schedule.parse().expect("a schedule");
        criterion.bench_function(&format!("emit {name}: {schedule}"), |bencher| {
            bencher.iter(|| {
                lower::lower(
                    &Problem::new(black_box(checked), &specialisation, Machine::like(Target::Sm80)),
                    point,
                )
                .expect("legal")
            });
        });
        let machine = Machine::like(Target::Sm80);
        criterion.bench_function(&format!("features {name}: {schedule}"), |bencher| {
            bencher.iter(|| {
                features::of(
                    &Problem::new(black_box(checked), &specialisation, machine),
                    &point,
                    &sizes,
                )
                .expect("legal")
            });
        });
    }
    for (name, source, free) in [
        ("linear_gelu", LINEAR, vec![256, 384, 1536]),
        ("softmax", SOFTMAX, vec![4096, 4096]),
        ("layers", LAYERS, vec![256, 1024, 1024, 1024]),
    ] {
        let operator = lang::parse("".parse().expect("tokens"), source.parse().expect("tokens")).expect("valid");
        let checked = &operator.variants[0].checked;
        let sizes = checked.derive(free).expect("the sizes are valid");
        let specialisation = Specialisation::like(&sizes);
        let machine = Machine::like(Target::Sm90);
        let problem = || Problem::new(black_box(checked), &specialisation, machine);
        criterion.bench_function(&format!("choose {name}"), |bencher| {
            bencher.iter(|| stages::untuned(black_box(checked), &specialisation, machine, &sizes));
        });
        criterion.bench_function(&format!("choose {name}, one stage"), |bencher| {
            bencher.iter(|| estimate::default(&problem(), &sizes));
        });
    }
    for (name, attribute, source, free) in [
        ("rope", "dims(E = D / 2)", ROPE, vec![64, 128]),
        ("upsample", "dims(HO = H * 2, WO = W * 2)", UPSAMPLE, vec![32, 8]),
    ] {
        let tokens = (attribute.parse().expect("tokens"), source.parse().expect("tokens"));
        let operator = lang::parse(tokens.0, tokens.1).expect("the operator is valid");
        let checked = &operator.variants[0].checked;
        let sizes = checked.derive(free).expect("the sizes are valid");
        criterion.bench_function(&format!("verify {name}"), |bencher| {
            bencher.iter(|| checked.verify(black_box(&sizes)).expect("indices are in range"));
        });
    }
    let environment = lang::Environment {
        package: "bench",
        bundle: &|_| None,
        overlooked: &|_| None,
    };
    for (name, attribute, source) in [
        ("linear_gelu", "tune(M = [1, 16, 256], N = 1536, K = 384)", LINEAR),
        ("conv", "dims(HO = (H + 2 - R) / 2 + 1, WO = (W + 2 - S) / 2 + 1)", CONV),
    ] {
        criterion.bench_function(&format!("expand {name}"), |bencher| {
            bencher.iter(|| {
                let (attribute, item) = (attribute.parse().expect("tokens"), source.parse().expect("tokens"));
                lang::expand(attribute, item, &environment)
            });
        });
    }
}

criterion_group!(benches, benchmarks);
criterion_main!(benches);
