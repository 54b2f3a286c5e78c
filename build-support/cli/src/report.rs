//! `report`: writes the operators and their results into one self-contained HTML file.

mod chart;

use crate::arguments::{Arguments, Report};
use crate::outcome::Outcome;
use crate::output::{self, json, plain};
use crate::package::Package;
use crate::quantity::{count, joules, measured, seconds};
use energy_kernel_build::names;
use energy_kernel_build::scan::Found;
use energy_kernel_build::slow::{Judged, assumed_device};
use energy_kernel_compiler::record::{CacheMode, DeviceClass, Objective, Point, Record, Rejected};
use energy_kernel_compiler::slow::Slow;
use miette::{Context, IntoDiagnostic};
use serde_json::Value;
use std::fmt::Write;
use std::process::ExitCode;

const STYLE: &str = "body{font:15px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}\
table{border-collapse:collapse;margin:.5rem 0}td,th{padding:.15rem .7rem .15rem 0;text-align:left;vertical-align:top}\
th{font-weight:600;border-bottom:1px solid #999}code{font-size:13px}.chosen{font-weight:600}\
.simulated{background:#fff3cd;padding:0 .4rem}.doubt{color:#a33}svg text{font:12px sans-serif;fill:#444}";

pub fn report(arguments: &Arguments, options: &Report) -> Outcome {
    let package = Package::find(arguments)?;
    package.warn();
    let contents = package.cache.read(&package.operators);
    contents
        .warnings
        .iter()
        .for_each(|warning| complain!("warning: {}", plain(warning)));
    let mut sections = String::new();
    let (mut reported, mut without, mut far) = (0, Vec::new(), Vec::new());
    let assumed = assumed_device();
    for found in &package.operators {
        let known = contents.operators.get(&found.fingerprint);
        for sizes in &found.buckets {
            let files = known.iter().flat_map(|known| known.devices.values());
            let records = files.filter_map(|file| Some((&file.device, file.record(sizes, &found.specialisation)?)));
            let before = reported;
            let mut judge = |device, record| {
                let judged = Judged {
                    found,
                    sizes,
                    device,
                    record,
                };
                far.extend(judged.slow().map(|slow| Far::of(&judged, &slow)));
            };
            for (device, record) in records {
                section(&mut sections, found, device, record);
                judge(device, Some(record));
                reported += 1;
            }
            if reported == before {
                judge(&assumed, None);
                without.push(format!("{} ({})", found.name, names(found, sizes)));
            }
        }
    }
    without.extend(package.without_tune.iter().map(|found| found.name.clone()));
    let html = page(&package.name, &sections, &far, &without);
    std::fs::write(&options.output, html)
        .into_diagnostic()
        .wrap_err_with(|| format!("{} cannot be written", plain(options.output.display())))?;
    if arguments.json {
        let file = options.output.display().to_string();
        json(
            &serde_json::json!({ "file": file, "results": reported, "untuned": without,
                "slow": far.into_iter().map(|far| far.json).collect::<Vec<_>>(),
            }),
        );
    } else {
        say!("{}: {}", plain(options.output.display()), count(reported, "result"));
    }
    Ok(ExitCode::SUCCESS)
}

/// A kernel far from its roofline.
struct Far {
    text: String,
    json: Value,
}

impl Far {
    fn of(judged: &Judged<'_>, slow: &Slow) -> Far {
        Far {
            text: judged.line(slow),
            json: serde_json::json!({
                "operator": judged.found.name, "sizes": names(judged.found, judged.sizes), "device": judged.device.name,
                "tuned": judged.record.is_some(), "slow": output::slow(slow),
            }),
        }
    }
}

fn page(package: &str, sections: &str, far: &[Far], without: &[String]) -> String {
    let package = escape(package);
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Energy of {package}</title>\
         <style>{STYLE}</style></head><body>\n<h1>Energy of {package}</h1>\n\
         <p>Each figure shows the Pareto front of one operator at one size: no measured kernel is both faster and needs less energy. \
         Programs use the filled point: the least energy within 5&nbsp;% of the least latency.</p>\n{sections}"
    );
    if !far.is_empty() {
        html.push_str("<h2>Far from the roofline</h2><ul>");
        for far in far {
            let _ = writeln!(html, "<li class=\"doubt\">{}</li>", escape(&far.text));
        }
        html.push_str("</ul>\n");
    }
    if !without.is_empty() {
        let names: Vec<String> = without.iter().map(|name| escape(name)).collect();
        let _ = writeln!(html, "<h2>Not tuned</h2><p>{}</p>", names.join(", "));
    }
    html + "</body></html>\n"
}

/// Writes one result. (Writing to a string cannot fail.)
fn section(html: &mut String, found: &Found, device: &DeviceClass, record: &Record) {
    let stale = found.is_stale(device, record);
    let chosen = Objective::default().choose(&record.front).unwrap_or(0);
    let simulated = match device.simulated {
        true => " <span class=\"simulated\">simulated</span>",
        false => "",
    };
    let _ = writeln!(
        html,
        "<h2>{} <small>({})</small></h2>\n<p>{}{simulated}</p>",
        escape(&found.name),
        escape(&names(found, &record.sizes)),
        escape(&device.name)
    );
    if stale {
        let _ = writeln!(
            html,
            "<p class=\"doubt\">The compiler now emits other kernels than were measured, so the figures are not shown.</p>"
        );
        return;
    }
    if let Some(text) = saving(&record.front, chosen) {
        let _ = writeln!(html, "<p>{text}</p>");
    }
    html.push_str(&chart::front(&record.front, chosen));
    table(html, &record.front, chosen);
    effort(html, record, &record.front[chosen]);
    rejected(html, &record.rejected);
}

/// The energy that the chosen kernel saves relative to the fastest, and its cost in time.
fn saving(front: &[Point], chosen: usize) -> Option<String> {
    let (fastest, used) = (front.first()?, front.get(chosen)?);
    let (before, after) = (fastest.energy?.mean, used.energy?.mean);
    if chosen == 0 {
        return Some("The fastest kernel also needs the least energy within 5&nbsp;% of its latency.".to_owned());
    }
    Some(format!(
        "The chosen kernel needs <b>{:.1}&nbsp;% less energy</b> and {:.1}&nbsp;% more time than the fastest.",
        100.0 * (1.0 - after / before),
        100.0 * (used.latency.mean / fastest.latency.mean - 1.0)
    ))
}

fn table(html: &mut String, front: &[Point], chosen: usize) {
    html.push_str("<table><tr><th>latency</th><th>energy</th><th>schedule</th><th></th></tr>\n");
    for (number, point) in front.iter().enumerate() {
        let class = if number == chosen { " class=\"chosen\"" } else { "" };
        let energy = point.energy.map(|energy| measured(energy, joules));
        let doubts: Vec<&str> = point.conditions.flags.iter().map(|flag| flag.name()).collect();
        let _ = writeln!(
            html,
            "<tr{class}><td>{}</td><td>{}</td><td><code>{}</code></td><td class=\"doubt\">{}</td></tr>",
            measured(point.latency, seconds),
            energy.as_deref().unwrap_or("unmeasured"),
            escape(&point.program.to_string()),
            doubts.join(", ")
        );
    }
    html.push_str("</table>\n");
}

/// The effort of the search, and the conditions of the chosen point.
fn effort(html: &mut String, record: &Record, point: &Point) {
    let did = &record.statistics;
    let held = &point.conditions;
    let known = [
        held.power_watts.map(|watts| format!("{watts:.0}&nbsp;W")),
        held.power_limit_watts.map(|watts| format!("limit {watts:.0}&nbsp;W")),
        held.sm_clock_mhz.map(|clock| format!("{clock:.0}&nbsp;MHz")),
        held.temperature_celsius.map(|celsius| format!("{celsius:.0}&nbsp;°C")),
        (held.window_seconds > 0.0).then(|| format!("window of {:.1}&nbsp;s", held.window_seconds)),
        (held.cache == CacheMode::Warm).then(|| "L2 warm".to_owned()),
        (!held.driver.is_empty()).then(|| format!("driver {}", escape(&held.driver))),
    ];
    let known: Vec<String> = known.into_iter().flatten().collect();
    let predicted = match did.predicted {
        0 => String::new(),
        number => {
            let error = 100.0 * did.prediction_error;
            format!(" The energy model predicted {number} of these with a mean error of {error:.1}&nbsp;%.")
        }
    };
    let _ = writeln!(
        html,
        "<p><small>{}: {} compiled, {} timed, {} with measured energy, in {}.{predicted}{}{}</small></p>",
        count(did.space as usize, "schedule"),
        did.compiled,
        did.timed,
        did.energy_measured,
        seconds(did.seconds),
        if known.is_empty() { "" } else { " Conditions: " },
        known.join(", ")
    );
}

/// The rejected candidates by reason. A list that the reader can open shows each error.
fn rejected(html: &mut String, all: &[Rejected]) {
    if all.is_empty() {
        return;
    }
    let summary = Rejected::summary(all);
    let _ = writeln!(
        html,
        "<details><summary><small>Rejected candidates: {summary}</small></summary><ul>"
    );
    for one in all {
        let (schedule, detail) = (escape(&one.program.to_string()), escape(&one.detail));
        let _ = writeln!(html, "<li>{}: <code>{schedule}</code>: {detail}</li>", one.reason);
    }
    html.push_str("</ul></details>\n");
}

/// Escapes outside text for HTML.
fn escape(text: &str) -> String {
    plain(text)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use energy_kernel_compiler::record::Reason;
    use energy_kernel_compiler::schedule::Program;

    #[test]
    fn rejected_candidates_are_counted_and_listed() {
        let program: Program = "plain threads=128".parse().unwrap();
        let mut html = String::new();
        rejected(&mut html, &[Rejected::new(program, Reason::Wrong, "1 < 2")]);
        for part in ["Rejected candidates: 1 wrong", "plain threads=128", "1 &lt; 2"] {
            assert!(html.contains(part), "{html}");
        }
    }

    #[test]
    fn names_are_no_markup() {
        assert_eq!(escape("scale<f16> & \"x\""), "scale&lt;f16&gt; &amp; &quot;x&quot;");
        let html = page("<script>", "", &[], &["a<b".to_owned()]);
        assert!(!html.contains("<script>") && html.contains("a&lt;b"), "{html}");
    }
}
