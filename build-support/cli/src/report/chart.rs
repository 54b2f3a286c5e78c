//! A Pareto front as an SVG figure: latency to the right, energy upwards, both relative to the fastest kernel, with intervals as lines.

use energy_kernel_compiler::record::Point;
use std::fmt::Write;

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 260.0;
/// The margins for the scales: left and below.
const MARGIN: (f64, f64) = (80.0, 40.0);

/// A map from values to coordinates.
struct Scale {
    least: f64,
    most: f64,
    from: f64,
    to: f64,
}

impl Scale {
    /// The scale that these values fill, with a margin at both ends.
    fn of(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Scale {
        let (least, most) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| {
            (least.min(value), most.max(value))
        });
        // A single value gets a tenth on each side.
        let room = if most > least {
            (most - least) * 0.1
        } else {
            most.abs() * 0.1
        };
        Scale {
            least: least - room,
            most: most + room,
            from,
            to,
        }
    }

    fn place(&self, value: f64) -> f64 {
        self.from + (value - self.least) / (self.most - self.least) * (self.to - self.from)
    }

    /// Five equidistant values.
    fn marks(&self) -> impl Iterator<Item = f64> {
        (0..5).map(|step| self.least + (self.most - self.least) * f64::from(step) / 4.0)
    }
}

/// The figure. Empty if no energy was measured.
pub fn front(points: &[Point], chosen: usize) -> String {
    let measured: Vec<(usize, f64, f64, f64)> = points
        .iter()
        .enumerate()
        .filter_map(|(number, point)| {
            let energy = point.energy?;
            Some((number, point.latency.mean, energy.mean, energy.interval))
        })
        .collect();
    let Some(&(_, latency, energy, _)) = measured.first() else {
        return String::new();
    };
    let beside = |value: f64, fastest: f64| format!("{:+.1} %", 100.0 * (value / fastest - 1.0));
    let (left, below) = MARGIN;
    let x = Scale::of(measured.iter().map(|point| point.1), left, WIDTH - 10.0);
    let energies = measured.iter().flat_map(|point| [point.2 - point.3, point.2 + point.3]);
    let y = Scale::of(energies, HEIGHT - below, 10.0);
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\">");
    // Writing to a string cannot fail.
    for mark in x.marks() {
        let at = x.place(mark);
        let _ = write!(
            svg,
            "<line x1=\"{at:.1}\" y1=\"10\" x2=\"{at:.1}\" y2=\"{:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            HEIGHT - below,
            HEIGHT - below + 16.0,
            beside(mark, latency)
        );
    }
    for mark in y.marks() {
        let at = y.place(mark);
        let _ = write!(
            svg,
            "<line x1=\"{left}\" y1=\"{at:.1}\" x2=\"{:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - 10.0,
            left - 6.0,
            at + 4.0,
            beside(mark, energy)
        );
    }
    // The front is a staircase: no kernel is better than both of two neighbours.
    let mut steps = String::new();
    for (position, (_, latency, energy, _)) in measured.iter().enumerate() {
        let (across, up) = (x.place(*latency), y.place(*energy));
        let _ = match position {
            0 => write!(steps, "M{across:.1} {up:.1}"),
            _ => write!(steps, "H{across:.1}V{up:.1}"),
        };
    }
    let _ = write!(svg, "<path d=\"{steps}\" fill=\"none\" stroke=\"#88a\"/>");
    for (number, latency, energy, interval) in &measured {
        let (across, up) = (x.place(*latency), y.place(*energy));
        let fill = if *number == chosen { "#24c" } else { "#fff" };
        let _ = write!(
            svg,
            "<line x1=\"{across:.1}\" y1=\"{:.1}\" x2=\"{across:.1}\" y2=\"{:.1}\" stroke=\"#24c\"/>\
             <circle cx=\"{across:.1}\" cy=\"{up:.1}\" r=\"5\" fill=\"{fill}\" stroke=\"#24c\"/>",
            y.place(energy - interval),
            y.place(energy + interval)
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">time per launch →, energy ↑</text></svg>",
        WIDTH - 10.0,
        HEIGHT - 6.0
    );
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_holds_its_values() {
        let scale = Scale::of([2.0, 4.0].into_iter(), 100.0, 0.0);
        assert!((scale.place(3.0) - 50.0).abs() < 1e-9);
        assert!(scale.place(2.0) < 100.0 && scale.place(4.0) > 0.0);
        // One value, and none but zeros: the place is a number all the same.
        let one = Scale::of([5.0].into_iter(), 0.0, 10.0);
        assert!((one.place(5.0) - 5.0).abs() < 1e-9);
    }

    #[test]
    fn without_energies_there_is_no_figure() {
        assert_eq!(front(&[], 0), "");
    }
}
