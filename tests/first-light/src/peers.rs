//! Our operators beside PyTorch's: the same sizes, random normal numbers, more tensors in turn than the L2 cache holds, replays of graphs
//! timed by events, medians.

use crate::normal::normal;
use crate::program;
use crate::step::{Outcome, Result, Step};
use crate::timing::per_launch;
use energy_kernel::prelude::*;
use energy_kernel::{Element, Plan};
use first_light_operators::{decode, product, softmax};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::process::Command;
use std::time::Duration;

/// Tensors in turn have so many times the bytes of the L2 cache, and are no more than so many.
const ROTATION: (u64, usize) = (3, 64);

/// Numbers are drawn up to this, a prime, and then repeat.
const PERIOD: usize = 1_048_573;

#[energy_kernel]
fn copy(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> {
    |n| x[[n]]
}

#[energy_kernel]
fn large_product(a: Tensor<bf16, (M, K)>, b: Tensor<bf16, (N, K)>) -> Tensor<bf16, (M, N)> {
    |m, n| sum(|k| a[[m, k]] * b[[n, k]])
}

/// Our operators take less than this.
const OURS: Duration = Duration::from_secs(12);

/// The sizes.
struct Extents {
    copied: usize,
    large: usize,
    weights: usize,
    rows: usize,
    square: usize,
}

pub fn run(step: &mut Step) -> Result {
    let extents = match step.tiny() {
        true => Extents {
            copied: 4096,
            large: 64,
            weights: 64,
            rows: 32,
            square: 64,
        },
        false => Extents {
            copied: 1 << 28,
            large: 8192,
            weights: 4096,
            rows: 4096,
            square: 2048,
        },
    };
    // PyTorch goes first: ours then has the rest of the time, and meets a GPU that is warm.
    let (theirs, without) = pytorch(step, &extents)?;
    let ours = ours(&extents)?;
    let mut figures = Vec::new();
    for Ours {
        name,
        work,
        seconds,
        plan,
    } in ours
    {
        let peer = theirs.get(name).copied();
        let rate = work.rate(seconds);
        let beside = peer.map_or_else(
            || "PyTorch not measured".to_owned(),
            |peer| format!("PyTorch {} ({})", micros(peer), work.rate(peer)),
        );
        println!("{name}: ours {} ({rate}), {beside}; {}", micros(seconds), plan.origin());
        step.result(json!({
            "operator": name, "ours_s": seconds, "pytorch_s": peer, "bytes": work.bytes, "operations": work.operations,
            "origin": plan.origin().to_string(), "schedule": plan.program().to_string(),
        }))?;
        figures.push(match peer {
            Some(peer) => format!("{name} {rate} ({:.2} × PyTorch's time)", seconds / peer),
            None => format!("{name} {rate}"),
        });
    }
    let figures = figures.join(", ");
    Ok(match without {
        None => Outcome::Fine(figures),
        Some(Without::Absent(why)) => Outcome::Fine(format!("{figures}; PyTorch skipped: {why}")),
        Some(Without::Broken(why)) => Outcome::Failed(format!("{figures}; PyTorch: {why}")),
    })
}

fn micros(seconds: f64) -> String {
    format!("{:.2} µs", 1e6 * seconds)
}

/// The least work of a launch.
struct Work {
    bytes: f64,
    operations: f64,
}

impl Work {
    /// By what bounds it.
    fn rate(&self, seconds: f64) -> String {
        match self.operations > 100.0 * self.bytes {
            true => format!("{:.1} TFLOP/s", self.operations / seconds / 1e12),
            false => format!("{:.0} GB/s", self.bytes / seconds / 1e9),
        }
    }
}

/// An operator of ours that was timed.
struct Ours {
    name: &'static str,
    work: Work,
    seconds: f64,
    plan: Plan,
}

fn ours(extents: &Extents) -> energy_kernel::Result<Vec<Ours>> {
    let gpu = Gpu::open()?;
    let mut numbers = Normal::new();
    let sets = |bytes: usize| -> energy_kernel::Result<usize> {
        let l2 = gpu.l2_bytes()?.unwrap_or(128 << 20);
        let (times, most) = ROTATION;
        Ok(((times * l2).div_ceil(bytes.max(1) as u64) as usize).clamp(1, most))
    };
    let named = |sizes: &[(&str, usize)]| {
        sizes
            .iter()
            .fold(Sizes::new(), |all, (name, size)| all.with(name, *size as u64))
    };
    let mut all = Vec::new();
    let mut add = |name, bytes: usize, operations: f64, seconds, plan| {
        let work = Work {
            bytes: bytes as f64,
            operations,
        };
        all.push(Ours {
            name,
            work,
            seconds,
            plan,
        });
    };

    let n = extents.copied;
    let bytes = 8 * n;
    let mut tensors = (0..sets(bytes)?)
        .map(|_| Ok((numbers.f32(&gpu, &[n])?, Tensor::zeros(&gpu, &[n])?)))
        .collect::<energy_kernel::Result<Vec<_>>>()?;
    let plan = copy::prepare(&gpu, &named(&[("N", n)]))?;
    let count = tensors.len();
    let seconds = per_launch(&gpu, count, |set| {
        let (x, y) = &mut tensors[set];
        copy::into(&gpu, x, y)
    })?;
    add("copy", bytes, 0.0, seconds, plan);
    drop(tensors);

    let (r, c) = (extents.rows, extents.rows);
    let bytes = 8 * r * c;
    let mut tensors = (0..sets(bytes)?)
        .map(|_| Ok((numbers.f32(&gpu, &[r, c])?, Tensor::zeros(&gpu, &[r, c])?)))
        .collect::<energy_kernel::Result<Vec<_>>>()?;
    let plan = softmax::prepare(&gpu, &named(&[("R", r), ("C", c)]))?;
    let count = tensors.len();
    let seconds = per_launch(&gpu, count, |set| {
        let (x, y) = &mut tensors[set];
        softmax::into(&gpu, x, y)
    })?;
    add("softmax", bytes, 0.0, seconds, plan);
    drop(tensors);

    macro_rules! product {
        ($operator:ident, $draw:ident, $m:expr, $n:expr, $k:expr) => {{
            let (m, n, k) = ($m, $n, $k);
            let bytes = 2 * (m * k + n * k + m * n);
            let mut tensors = (0..sets(bytes)?)
                .map(|_| {
                    let (a, b) = (numbers.$draw(&gpu, &[m, k])?, numbers.$draw(&gpu, &[n, k])?);
                    Ok((a, b, Tensor::zeros(&gpu, &[m, n])?))
                })
                .collect::<energy_kernel::Result<Vec<_>>>()?;
            let plan = $operator::prepare(&gpu, &named(&[("M", m), ("N", n), ("K", k)]))?;
            let count = tensors.len();
            let seconds = per_launch(&gpu, count, |set| {
                let (a, b, y) = &mut tensors[set];
                $operator::into(&gpu, a, b, y)
            })?;
            add(
                stringify!($operator),
                bytes,
                2.0 * (m * n) as f64 * k as f64,
                seconds,
                plan,
            );
        }};
    }
    product!(decode, f16, 1, extents.weights, extents.weights);
    product!(product, f16, extents.square, extents.square, extents.square);
    product!(large_product, bf16, extents.large, extents.large, extents.large);
    Ok(all)
}

/// Random normal numbers, the same in each run.
struct Normal {
    numbers: Vec<f32>,
    random: StdRng,
}

impl Normal {
    fn new() -> Normal {
        let mut random = StdRng::seed_from_u64(1);
        Normal {
            numbers: (0..PERIOD).map(|_| normal(&mut random) as f32).collect(),
            random,
        }
    }

    /// A tensor of them, from any place on.
    fn tensor<T: Element>(&mut self, gpu: &Gpu, shape: &[usize], of: fn(f32) -> T) -> energy_kernel::Result<Tensor<T>> {
        let from = self.random.random_range(0..PERIOD);
        let numbers = self.numbers.iter().cycle().skip(from);
        let elements: Vec<T> = numbers.take(shape.iter().product()).map(|&number| of(number)).collect();
        Tensor::from_slice(gpu, shape, &elements)
    }

    fn f32(&mut self, gpu: &Gpu, shape: &[usize]) -> energy_kernel::Result<Tensor<f32>> {
        self.tensor(gpu, shape, |number| number)
    }

    fn f16(&mut self, gpu: &Gpu, shape: &[usize]) -> energy_kernel::Result<Tensor<f16>> {
        self.tensor(gpu, shape, f16::from_f32)
    }

    fn bf16(&mut self, gpu: &Gpu, shape: &[usize]) -> energy_kernel::Result<Tensor<bf16>> {
        self.tensor(gpu, shape, bf16::from_f32)
    }
}

/// Why PyTorch has no figures, or not all.
enum Without {
    /// There is no Python, or no PyTorch that sees a GPU.
    Absent(String),
    Broken(String),
}

/// PyTorch's seconds a launch, by operator.
fn pytorch(step: &mut Step, extents: &Extents) -> Result<(BTreeMap<String, f64>, Option<Without>)> {
    let sizes = [
        extents.copied,
        extents.rows,
        extents.weights,
        extents.square,
        extents.large,
    ];
    let mut python = Command::new("python3");
    python
        .arg(step.carried("peers.py"))
        .args(sizes.map(|size| size.to_string()));
    let mut figures = BTreeMap::new();
    let ran = match program::run(&mut python, step.left().saturating_sub(OURS)) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok((figures, Some(Without::Absent("python3 is not installed".to_owned()))));
        }
        ran => ran?,
    };
    let mut without = None;
    for line in ran
        .out
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
    {
        if let Some(why) = line["absent"].as_str() {
            without = Some(Without::Absent(why.to_owned()));
        } else if let Some(why) = line["error"].as_str() {
            without = Some(Without::Broken(format!("{}: {why}", line["operator"])));
        } else if let (Some(name), Some(seconds)) = (line["operator"].as_str(), line["seconds"].as_f64()) {
            figures.insert(name.to_owned(), seconds);
        }
        step.result(json!({ "pytorch": line }))?;
    }
    if !ran.succeeded() && without.is_none() {
        without = Some(Without::Broken(format!("{}: {}", ran.ending(), ran.last_line())));
    }
    Ok((figures, without))
}
