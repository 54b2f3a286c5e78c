//! `show`: what is known of the operators.

use crate::Outcome;
use crate::arguments::{Arguments, Show};
use crate::package::{Package, joules, seconds};
use comfy_table::{Table, presets};
use energy_kernel_build::names;
use energy_kernel_compiler::record::{Objective, Point};
use std::process::ExitCode;

pub fn show(arguments: &Arguments, options: &Show) -> Outcome {
    let package = Package::find(arguments)?;
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
                let chosen = Objective::default().choose(&record.front);
                for (number, point) in record.front.iter().enumerate() {
                    let is_chosen = Some(number) == chosen;
                    if !is_chosen && !options.front {
                        continue;
                    }
                    let energy = point
                        .energy
                        .map_or("unmeasured".to_owned(), |energy| joules(energy.mean));
                    let latency = seconds(point.latency.mean);
                    let schedule = point.schedule.to_string();
                    table.add_row([
                        &found.name,
                        &named,
                        &file.device.name,
                        &energy,
                        &latency,
                        &schedule,
                        &remarks(point, is_chosen),
                    ]);
                    json.push(serde_json::json!({
                        "operator": found.name, "sizes": named, "device": file.device.name,
                        "simulated": file.device.simulated, "chosen": is_chosen,
                        "energy_joules": point.energy.map(|energy| energy.mean),
                        "latency_seconds": point.latency.mean, "schedule": schedule,
                        "measured_at": record.measured_at,
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

fn remarks(point: &Point, chosen: bool) -> String {
    let mut remarks: Vec<&str> = Vec::new();
    if chosen {
        remarks.push("chosen");
    }
    if point.conditions.simulated_profile.is_some() {
        remarks.push("simulated");
    }
    remarks.extend(point.conditions.flags.iter().map(|flag| flag.name()));
    remarks.join(", ")
}
