//! The error of the power estimator, and the coverage of its 95 % intervals, on boards in simulated time. Prints a table.
//!
//! `cargo bench -p energy-kernel --features energy --bench energy`

use energy_kernel::energy::{
    Behaviour, Board, Load, Power, SimulatedBoard, Tick, Ticks, mean_power, students_quantile,
};

const WINDOWS: u64 = 4000;

fn main() {
    let boards = [
        ("steps 99–106 ms, jitter 7 ms", Behaviour::default()),
        (
            "jitter 20 ms",
            Behaviour {
                jitter: 0.02,
                ..Behaviour::default()
            },
        ),
        (
            "readings of 5 ms, up to 15 ms",
            Behaviour {
                call: (5e-3, 15e-3),
                ..Behaviour::default()
            },
        ),
        (
            "power rises by 2 % a second",
            Behaviour {
                load: Load::Rising(300.0, 6.0),
                ..Behaviour::default()
            },
        ),
        ("power fluctuates by 1 %", Behaviour::default()),
        (
            "counter drifts by 0.05 % a second",
            Behaviour {
                drift: 5e-4,
                ..Behaviour::default()
            },
        ),
        (
            "2 % of readings fail, 2 % are zero",
            Behaviour {
                failures: 0.02,
                zeros: 0.02,
                ..Behaviour::default()
            },
        ),
        (
            "stands still for 0.4 s",
            Behaviour {
                stall: Some((1.5, 1.9)),
                ..Behaviour::default()
            },
        ),
        (
            "wraps at 32 bits",
            Behaviour {
                bits: 32,
                begins: (1 << 32) - 400_000,
                ..Behaviour::default()
            },
        ),
    ];
    println!(
        "Simulated boards of 300 W, {WINDOWS} windows per row. RMSE, bias, and mean half-width of the 95 % interval relative to the true"
    );
    println!("mean power of the window; coverage is how often the interval holds it.\n");
    println!("| board | window | estimator | RMSE | bias | half-width | coverage |");
    println!("|---|---|---|---|---|---|---|");
    for (name, behaviour) in &boards {
        for seconds in [2.0, 5.0] {
            row(
                name,
                behaviour,
                seconds,
                "**tick to tick, two at each end**",
                |ticks, _| mean_power(ticks),
            );
        }
    }
    for (name, behaviour) in [&boards[0], &boards[1], &boards[4]] {
        for seconds in [2.0, 5.0] {
            row(name, behaviour, seconds, "first and last tick", |ticks, _| {
                first_and_last(ticks)
            });
            row(name, behaviour, seconds, "least squares", |ticks, _| {
                least_squares(ticks)
            });
        }
    }
    for seconds in [1.0, 2.0, 5.0] {
        row(
            boards[0].0,
            &boards[0].1,
            seconds,
            "not aligned: two readings",
            |_, ends| unaligned(ends),
        );
    }
}

/// Two readings: their times and joules.
type Ends = [(f64, f64); 2];

fn row(
    name: &str,
    behaviour: &Behaviour,
    seconds: f64,
    estimator: &str,
    estimate: impl Fn(&[Tick], Ends) -> Option<Power>,
) {
    let (mut squares, mut sum, mut widths, mut covered, mut count) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for seed in 0..WINDOWS {
        let mut behaviour = behaviour.clone();
        if name.contains("fluctuates") {
            behaviour.load = Load::fluctuating(300.0, 0.01, 0.3, 3.0 * seconds + 3.0, seed);
        }
        let board = SimulatedBoard::new(behaviour, seed);
        let (ticks, ends) = record(&board, seconds);
        let Some(power) = estimate(&ticks, ends) else { continue };
        let truth = board.true_watts(power.span.0, power.span.1);
        let error = power.watts / truth - 1.0;
        squares += error * error;
        sum += error;
        widths += power.interval / truth;
        covered += f64::from(error.abs() <= power.interval / truth);
        count += 1.0;
    }
    let percent = |value: f64| format!("{:.3} %", 100.0 * value);
    let (rmse, bias, width) = (
        percent((squares / count).sqrt()),
        percent(sum / count),
        percent(widths / count),
    );
    let (width, coverage) = match widths > 0.0 {
        true => (width, format!("{:.1} %", 100.0 * covered / count)),
        false => ("none".to_owned(), "none".to_owned()),
    };
    println!("| {name} | {seconds} s | {estimator} | {rmse} | {bias} | {width} | {coverage} |");
}

/// The ticks of a window, as the meter sees them, and readings at its start and its end, between ticks.
fn record(board: &SimulatedBoard, seconds: f64) -> (Vec<Tick>, Ends) {
    let mut ticks = Ticks::default();
    board.rest(0.7);
    let mut ends: Option<(f64, f64)> = None;
    let mut last = (0.0, 0.0);
    loop {
        let asked = board.now();
        if let Ok(value) = board.millijoules() {
            ticks.read(asked, board.now(), value);
            let here = (board.now(), ticks.joules());
            let begun = *ends.get_or_insert(here);
            if last == (0.0, 0.0) && here.0 - begun.0 >= seconds {
                last = here;
            }
        }
        if let [_, ticks @ ..] = ticks.ticks()
            && let Some(power) = mean_power(ticks)
            && power.span.1 - power.span.0 >= seconds
        {
            return (ticks.to_vec(), [ends.unwrap_or_default(), last]);
        }
        board.rest(1e-3);
    }
}

fn points(ticks: &[Tick]) -> Vec<(f64, f64)> {
    ticks
        .iter()
        .map(|tick| (tick.at - tick.gap / 2.0, tick.joules))
        .collect()
}

fn first_and_last(ticks: &[Tick]) -> Option<Power> {
    let points = points(ticks);
    let (first, last) = (points.first()?, points.last()?);
    let watts = (last.1 - first.1) / (last.0 - first.0);
    let squares: f64 = points
        .windows(3)
        .map(|three| {
            let delay = |point: (f64, f64)| point.0 - point.1 / watts;
            (delay(three[1]) - (delay(three[0]) + delay(three[2])) / 2.0).powi(2)
        })
        .sum();
    let freedom = (points.len() - 2) as f64;
    let delay = (squares / freedom / 1.5).sqrt();
    Some(Power {
        watts,
        interval: watts * students_quantile(0.6 * freedom) * delay * 2f64.sqrt() / (last.0 - first.0),
        span: (first.0, last.0),
        ticks: points.len(),
    })
}

fn least_squares(ticks: &[Tick]) -> Option<Power> {
    let points = points(ticks);
    let count = points.len() as f64;
    let mean = |of: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (time, joules) = (mean(&|point| point.0), mean(&|point| point.1));
    let spread: f64 = points.iter().map(|point| (point.0 - time).powi(2)).sum();
    let watts = points
        .iter()
        .map(|point| (point.0 - time) * (point.1 - joules))
        .sum::<f64>()
        / spread;
    let squares: f64 = points
        .iter()
        .map(|point| (point.1 - joules - watts * (point.0 - time)).powi(2))
        .sum();
    Some(Power {
        watts,
        interval: students_quantile(count - 2.0) * (squares / (count - 2.0) / spread).sqrt(),
        span: (points.first()?.0, points.last()?.0),
        ticks: points.len(),
    })
}

fn unaligned([from, to]: Ends) -> Option<Power> {
    Some(Power {
        watts: (to.1 - from.1) / (to.0 - from.0),
        interval: 0.0,
        span: (from.0, to.0),
        ticks: 0,
    })
}
