//! `show`: prints a table of the operators and their results.

use crate::arguments::{Arguments, Show};
use crate::kernel::{self, choose};
use crate::outcome::Outcome;
use crate::output::{json, plain};
use crate::package::Package;
use crate::quantity::{joules, seconds};
use comfy_table::{Table, presets};
use energy_kernel_build::cache::Contents;
use energy_kernel_build::names;
use energy_kernel_build::scan::Found;
use energy_kernel_compiler::record::{CacheFile, CacheMode, Objective, Point, Record};
use serde_json::Value;
use std::process::ExitCode;

/// A row of the table.
#[derive(Default)]
struct Row {
    operator: String,
    /// Empty if unknown.
    sizes: String,
    device: String,
    energy: String,
    latency: String,
    schedule: String,
    remarks: String,
    json: Value,
}

pub fn show(arguments: &Arguments, options: &Show) -> Outcome {
    let package = Package::find(arguments)?;
    package.warn();
    let wanted: Vec<String> = options.operator.iter().cloned().collect();
    let found = package.named(&wanted)?;
    let contents = package.cache.read(&package.operators);
    contents
        .warnings
        .iter()
        .for_each(|warning| complain!("warning: {}", plain(warning)));
    let mut rows = Vec::new();
    for found in found {
        match &options.sizes {
            Some(sizes) => rows.push(call(found, &contents, sizes, options)?),
            None if found.buckets.is_empty() => rows.extend(without_tune(found, &contents, options)),
            None => rows.extend(buckets(found, &contents, options)),
        }
    }
    if arguments.json {
        json(&rows.into_iter().map(|row| row.json).collect());
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(["operator", "sizes", "device", "energy", "latency", "schedule", ""]);
    for row in rows {
        table.add_row([
            row.operator,
            row.sizes,
            row.device,
            row.energy,
            row.latency,
            row.schedule,
            row.remarks,
        ]);
    }
    say!("{table}");
    Ok(ExitCode::SUCCESS)
}

/// The kernel that a call of these sizes would use.
fn call(found: &Found, contents: &Contents, sizes: &str, options: &Show) -> miette::Result<Row> {
    let sizes = kernel::sizes(found, sizes)?;
    let chosen = choose(found, contents, &sizes, kernel::machine(&options.capability)?)?;
    let (named, schedule) = (names(found, &sizes), chosen.program.to_string());
    Ok(Row {
        json: serde_json::json!({
            "operator": found.name, "sizes": named, "capability": options.capability, "schedule": schedule, "origin": chosen.origin,
        }),
        operator: found.name.clone(),
        sizes: named,
        device: format!("compute capability {}", plain(&options.capability)),
        schedule,
        remarks: chosen.origin,
        ..Row::default()
    })
}

/// The results of an operator that no longer has `tune(…)`. Programs still use them.
fn without_tune(found: &Found, contents: &Contents, options: &Show) -> Vec<Row> {
    let known = contents.operators.get(&found.fingerprint);
    let files = known.iter().flat_map(|known| known.devices.values());
    let records = files.flat_map(|file| file.records.iter().map(move |record| (file, record)));
    let rows: Vec<Row> = records
        .flat_map(|(file, record)| front(found, &names(found, &record.sizes), file, record, options))
        .collect();
    if !rows.is_empty() {
        return rows;
    }
    vec![Row {
        operator: found.name.clone(),
        remarks: format!(
            "no `tune(…)`: runs untuned; `show '{}' --sizes {}` says how",
            found.name,
            kernel::example(found)
        ),
        json: serde_json::json!({ "operator": found.name, "sizes": null, "device": null }),
        ..Row::default()
    }]
}

/// The results of each bucket on each device.
fn buckets(found: &Found, contents: &Contents, options: &Show) -> Vec<Row> {
    let known = contents.operators.get(&found.fingerprint);
    let mut rows = Vec::new();
    for sizes in &found.buckets {
        let named = names(found, sizes);
        let files = known.iter().flat_map(|known| known.devices.values());
        let records = files.filter_map(|file| Some((file, file.record(sizes, &found.specialisation)?)));
        let before = rows.len();
        for (file, record) in records {
            rows.extend(front(found, &named, file, record, options));
        }
        if rows.len() == before {
            rows.push(Row {
                json: serde_json::json!({ "operator": found.name, "sizes": named, "device": null }),
                operator: found.name.clone(),
                sizes: named,
                remarks: "untuned".to_owned(),
                ..Row::default()
            });
        }
    }
    rows
}

fn front(found: &Found, sizes: &str, file: &CacheFile, record: &Record, options: &Show) -> Vec<Row> {
    let stale = found.is_stale(&file.device, record);
    let chosen = Objective::default().choose(&record.front);
    let shown = record
        .front
        .iter()
        .enumerate()
        .map(|(number, point)| (point, Some(number) == chosen))
        .filter(|(_, is_chosen)| *is_chosen || options.front);
    let row = |(point, is_chosen): (&Point, bool)| {
        // The figures belong to another kernel than the one that would run.
        let (latency, energy) = match stale {
            true => (None, None),
            false => (Some(point.latency.mean), point.energy.map(|energy| energy.mean)),
        };
        let unknown = if stale { "" } else { "unmeasured" };
        let schedule = point.program.to_string();
        Row {
            json: serde_json::json!({
                "operator": found.name, "sizes": sizes, "device": file.device.name,
                "simulated": file.device.simulated, "chosen": is_chosen,
                "energy_joules": energy, "latency_seconds": latency, "schedule": schedule,
                "measured_at": record.measured_at, "stale": stale,
            }),
            operator: found.name.clone(),
            sizes: sizes.to_owned(),
            device: plain(&file.device.name),
            energy: energy.map_or(unknown.to_owned(), joules),
            latency: latency.map_or(unknown.to_owned(), seconds),
            schedule,
            remarks: remarks(point, is_chosen, stale),
        }
    };
    shown.map(row).collect()
}

fn remarks(point: &Point, chosen: bool, stale: bool) -> String {
    let mut remarks: Vec<&str> = Vec::new();
    if chosen {
        remarks.push("chosen");
    }
    if point.conditions.simulated_profile.is_some() {
        remarks.push("simulated");
    }
    if stale {
        remarks.push("stale: `tune --again` measures it");
    }
    if point.conditions.cache == CacheMode::Warm {
        remarks.push("warm L2");
    }
    remarks.extend(point.conditions.flags.iter().map(|flag| flag.name()));
    remarks.join(", ")
}
