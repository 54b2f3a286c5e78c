//! `show`: what is known of the operators.

use crate::Outcome;
use crate::arguments::{Arguments, Show};
use crate::package::Package;
use crate::quantity::{joules, seconds};
use comfy_table::{Table, presets};
use energy_kernel_build::names;
use energy_kernel_compiler::record::{CacheMode, Objective, Point};
use std::process::ExitCode;

pub fn show(arguments: &Arguments, options: &Show) -> Outcome {
    let package = Package::find(arguments)?;
    package.warn();
    let wanted: Vec<String> = options.operator.iter().cloned().collect();
    let found = package.named(&wanted)?;
    let contents = package.cache.read(&package.operators);
    contents
        .warnings
        .iter()
        .for_each(|warning| complain!("warning: {warning}"));
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(["operator", "sizes", "device", "energy", "latency", "schedule", ""]);
    let mut json = Vec::new();
    for found in found {
        for sizes in &found.buckets {
            let named = names(found, sizes);
            let known = contents.operators.get(&found.fingerprint);
            let mut any = false;
            for file in known.iter().flat_map(|known| known.devices.values()) {
                let Some(record) = file.record(sizes, &found.specialisation) else {
                    continue;
                };
                any = true;
                let stale = found.is_stale(&file.device, record);
                let chosen = Objective::default().choose(&record.front);
                for (number, point) in record.front.iter().enumerate() {
                    let is_chosen = Some(number) == chosen;
                    if !is_chosen && !options.front {
                        continue;
                    }
                    // Of another kernel than would run: nothing is known of this one.
                    let (latency, energy) = match stale {
                        true => (None, None),
                        false => (Some(point.latency.mean), point.energy.map(|energy| energy.mean)),
                    };
                    let shown_energy = energy.map_or_else(|| unknown(stale), joules);
                    let shown_latency = latency.map_or_else(|| unknown(stale), seconds);
                    let schedule = point.schedule.to_string();
                    table.add_row([
                        &found.name,
                        &named,
                        &file.device.name,
                        &shown_energy,
                        &shown_latency,
                        &schedule,
                        &remarks(point, is_chosen, stale),
                    ]);
                    json.push(serde_json::json!({
                        "operator": found.name, "sizes": named, "device": file.device.name,
                        "simulated": file.device.simulated, "chosen": is_chosen,
                        "energy_joules": energy, "latency_seconds": latency, "schedule": schedule,
                        "measured_at": record.measured_at, "stale": stale,
                    }));
                }
            }
            if !any {
                table.add_row([found.name.as_str(), &named, "", "", "", "", "untuned"]);
                json.push(serde_json::json!({ "operator": found.name, "sizes": named, "device": null }));
            }
        }
    }
    if arguments.json {
        say!("{}", serde_json::Value::Array(json));
    } else {
        say!("{table}");
    }
    Ok(ExitCode::SUCCESS)
}

fn unknown(stale: bool) -> String {
    if stale { "" } else { "unmeasured" }.to_owned()
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
