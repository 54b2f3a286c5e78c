//! Strategies and models, judged on traces and simulations. See README.md beside it.

mod models;
mod random;
mod reality;
mod roofline;
mod runs;
mod simulated;
mod space;
mod strategies;
mod synthetic;
mod trial;

use energy_kernel::simulate::Profile;
use models::Accuracy;
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use strategies::Draw;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["traces", trace] => traces(Path::new(trace), ""),
        ["traces", trace, only] => traces(Path::new(trace), only),
        ["sweeps", trace] => sweeps(Path::new(trace), "", None),
        ["sweeps", trace, mapping] => sweeps(Path::new(trace), mapping, None),
        ["sweeps", trace, mapping, truth] => sweeps(Path::new(trace), mapping, Some(truth)),
        ["reality"] => reality::print(&Path::new(env!("CARGO_MANIFEST_DIR")).join("reality")),
        ["simulated"] => simulated("hopper"),
        ["simulated", profile] => simulated(profile),
        ["ablation", trace] => ablation(Path::new(trace)),
        ["roofline"] => roofline::table("H100", &[]),
        ["roofline", device, ref names @ ..] => roofline::table(device, names),
        _ => Err(
            "usage: energy-kernel-bench traces TRACE [PART OF A SPACE'S NAME] | sweeps TRACE [MAPPING [TRUE ENERGY]] | ablation TRACE | reality | simulated [PROFILE] | roofline [DEVICE [OPERATOR…]]"
                .to_owned(),
        ),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

const SEEDS: u64 = 20;

/// Draws of samples and noise by which the accuracy of the product's model is judged; the table of models is of the first.
const DRAWS: u64 = 6;
/// Seeds of two draws lie so far apart.
const APART: u64 = 10_000;

fn name_of(file: &Path) -> std::borrow::Cow<'_, str> {
    file.file_name().unwrap_or_default().to_string_lossy()
}

/// Strategies on a trace in normal form, and on made-up spaces.
fn traces(trace: &Path, only: &str) -> Result<(), String> {
    println!("Made by `energy-kernel-bench traces {}`.\n", name_of(trace));
    let spaces = space::normal_form(trace).map_err(|error| error.to_string())?;
    let made = synthetic::spaces(0);
    let spaces: Vec<_> = spaces
        .iter()
        .chain(&made)
        .filter(|space| space.name.contains(only))
        .collect();
    for (draw, title) in [
        (
            Draw::AsMeasured,
            "Energies as they were measured; seeds change what a strategy leaves to chance",
        ),
        (
            Draw::Resampled,
            "For each seed 80 % of the candidates, their energies drawn anew around the truth",
        ),
    ] {
        println!("## {title}\n\n{}", strategies::HEAD.trim_end());
        for space in &spaces {
            print!("{}", strategies::table(space, draw, SEEDS));
        }
        println!();
    }
    Ok(())
}

/// Strategies on a trace of any kind; where the truth is known, also with energies drawn anew.
fn sweeps(trace: &Path, mapping: &str, truth: Option<&str>) -> Result<(), String> {
    let spaces = space::sweeps(trace, mapping, truth).map_err(|error| error.to_string())?;
    println!("{}", strategies::HEAD.trim_end());
    for space in spaces {
        print!("{}", strategies::table(&space, Draw::AsMeasured, SEEDS));
        if truth.is_some() {
            let name = format!("{}, drawn anew", space.name);
            print!("{}", strategies::table(&space.named(name), Draw::Resampled, SEEDS));
        }
    }
    Ok(())
}

/// Each pair as a space, with what these priors expect from samples of this draw.
fn as_spaces(pairs: &[simulated::Pair], prior: models::Prior, draw: u64) -> Result<Vec<space::Space>, String> {
    let one = |(number, pair): (usize, &simulated::Pair)| {
        let mut random = random::Random::new(APART * draw + number as u64 + 1);
        let samples = models::others(pairs, &pair.operator, 16, &mut random);
        let expected = prior.expect(&samples, &pair.kernels, 1).ok_or("nothing was learnt")?;
        Ok(space::Space {
            name: pair.operator.clone(),
            candidates: models::candidates(pair, &expected),
            measured: pair.truth.clone(),
            truth: pair.truth.clone(),
            noise: simulated::NOISE,
        })
    };
    pairs.par_iter().enumerate().map(one).collect()
}

/// The accuracy of predicted energies in each space after so many measurements, with noise of this draw.
fn accuracies(spaces: &[space::Space], measurements: usize, draw: u64) -> Vec<Accuracy> {
    let after = |(number, space)| {
        let mut random = random::Random::new(APART * draw + number as u64 + 1000);
        models::after(space, measurements, &mut random)
    };
    spaces.par_iter().enumerate().map(after).collect()
}

/// The effect of each constant of the rule, on a few spaces of each sort.
fn ablation(trace: &Path) -> Result<(), String> {
    let mut spaces = space::normal_form(trace).map_err(|error| error.to_string())?;
    let some = [
        "clock 1485",
        "pooled, clock hidden, ≤ 25 %",
        "pooled, clock hidden, all",
    ];
    spaces.retain(|space| some.contains(&space.name.as_str()));
    spaces.extend(synthetic::spaces(0));
    println!(
        "Made by `energy-kernel-bench ablation {}`: {SEEDS} seeds, resampled.\n",
        name_of(trace)
    );
    strategies::ablation(&spaces, SEEDS);
    Ok(())
}

/// Models and strategies on the simulated device, leaving one operator out.
fn simulated(profile: &str) -> Result<(), String> {
    let found = Profile::from_name(profile).ok_or("the profiles are `hopper`, `ampere` and `ada`")?;
    let pairs = simulated::pairs(found)?;
    println!(
        "Made by `energy-kernel-bench simulated {profile}`. Energies follow from counts by construction, so a list of prices does well here; what it \
         shows is that\nthe hidden terms, of which nothing is known beforehand, are learnt from few measurements.\n"
    );
    let counted = || pairs.iter().flat_map(|pair| &pair.counted).map(|part| 100.0 * part);
    println!(
        "{} operator–size pairs of {} operators, {} kernels, {} of them counted exactly (of the others likely values). What is priced by counts is \
         {:.0} % of\ntheir energy in the median, {:.0} % at most. All of it simulated.\n",
        pairs.len(),
        pairs.iter().map(|pair| &pair.operator).collect::<BTreeSet<_>>().len(),
        pairs.iter().map(|pair| pair.kernels.len()).sum::<usize>(),
        pairs.iter().map(|pair| pair.exact).sum::<usize>(),
        strategies::median(counted()),
        counted().fold(0.0, f64::max),
    );
    println!(
        "| what is expected from other operators | after so many measurements | MAPE, %: median (most) | Spearman: median (least) | \
         top-10 recall: median |\n|---|---|---|---|---|"
    );
    for (name, prior) in models::PRIORS {
        let spaces = as_spaces(&pairs, prior, 0)?;
        for measurements in [0, 8, 16, 24] {
            models::line(name, &measurements.to_string(), accuracies(&spaces, measurements, 0));
        }
    }
    let most = pairs.iter().map(|pair| Accuracy::of(&pair.knowable, &pair.truth));
    models::line("all but each kernel's own toggling", "", most.collect());
    let mut drawn = Vec::new();
    for draw in 0..DRAWS {
        let spaces = as_spaces(&pairs, models::Prior::LinearAndBoosted, draw)?;
        drawn.extend(accuracies(&spaces, 24, draw));
    }
    println!(
        "\nLinear and weighted boosted trees of the rest after 24 measurements, for {DRAWS} draws of the samples of other operators and of the noise: of {} \
         Spearman coefficients\n{} are at least 0.95, the least is {:.3}; MAPE is {:.2} % at most.",
        drawn.len(),
        drawn.iter().filter(|accuracy| accuracy.spearman >= 0.95).count(),
        drawn.iter().map(|accuracy| accuracy.spearman).fold(1.0, f64::min),
        drawn.iter().map(|accuracy| accuracy.error).fold(0.0, f64::max),
    );
    println!("\n{}", strategies::SUMMARY);
    let alone = as_spaces(&pairs, models::Prior::None, 0)?;
    strategies::summary(&alone, "", &strategies::compared(), SEEDS);
    let ours = &strategies::compared()[..2];
    let expecting = as_spaces(&pairs, models::Prior::LinearAndBoosted, 0)?;
    strategies::summary(&expecting, "expecting from other operators: ", ours, SEEDS);
    runs::table(&pairs, 10);
    Ok(())
}
