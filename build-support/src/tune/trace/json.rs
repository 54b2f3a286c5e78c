//! Devices, figures and conditions in JSON.

use energy_kernel_compiler::record::encoding::Validate;
use energy_kernel_compiler::record::{CacheMode, Conditions, DeviceClass, Estimate, Flag, Inputs};
use serde_json::{Map, Value, json};

/// A JSON object whose fields are read by name and type. Errors are text.
pub(super) struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    pub(super) fn of(value: &'a Value) -> Result<Fields<'a>, String> {
        value
            .as_object()
            .map(Fields)
            .ok_or("it is not a JSON object".to_owned())
    }

    /// `true` if the field exists and is not null.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| !value.is_null())
    }

    fn get<T>(&self, name: &str, what: &str, of: impl Fn(&'a Value) -> Option<T>) -> Result<T, String> {
        (self.0.get(name).and_then(of)).ok_or_else(|| format!("`{name}` is missing, or not a {what}"))
    }

    pub(super) fn text(&self, name: &str) -> Result<&'a str, String> {
        self.get(name, "string", Value::as_str)
    }

    pub(super) fn integer(&self, name: &str) -> Result<u64, String> {
        self.get(name, "whole number", Value::as_u64)
    }

    pub(super) fn list(&self, name: &str) -> Result<&'a [Value], String> {
        self.get(name, "list", |value| value.as_array().map(Vec::as_slice))
    }

    pub(super) fn object(&self, name: &str) -> Result<Fields<'a>, String> {
        self.get(name, "JSON object", |value| value.as_object().map(Fields))
    }

    fn number(&self, name: &str) -> Result<f64, String> {
        self.get(name, "number", Value::as_f64)
    }

    /// `None` if the field is missing.
    fn optional<T>(
        &self,
        name: &str,
        of: impl Fn(&Fields<'a>, &str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        self.has(name).then(|| of(self, name)).transpose()
    }

    /// A mean, and half the width of its interval.
    pub(super) fn estimate(&self, name: &str) -> Result<Estimate, String> {
        let numbers: Vec<Option<f64>> = self.list(name)?.iter().map(Value::as_f64).collect();
        let [Some(mean), Some(interval)] = numbers[..] else {
            return Err(format!("`{name}` is not a mean and half the width of its interval"));
        };
        let estimate = Estimate { mean, interval };
        estimate.validate().map_err(|invalid| format!("`{name}`: {invalid}"))?;
        Ok(estimate)
    }
}

pub(super) fn device(fields: &Fields<'_>) -> Result<DeviceClass, String> {
    let [major, minor] = fields.list("compute_capability")? else {
        return Err("`compute_capability` is not two numbers".to_owned());
    };
    let small = |value: Option<u64>, what: &str| {
        let small = value.and_then(|value| u32::try_from(value).ok());
        small.ok_or_else(|| format!("the {what} is invalid"))
    };
    let device = DeviceClass {
        name: fields.text("name")?.to_owned(),
        compute_capability: (
            small(major.as_u64(), "compute capability")?,
            small(minor.as_u64(), "compute capability")?,
        ),
        multiprocessors: small(fields.integer("multiprocessors").ok(), "number of multiprocessors")?,
        memory_bytes: fields.integer("memory_bytes")?,
        simulated: fields.get("simulated", "truth value", Value::as_bool)?,
    };
    device.validate().map_err(|invalid| invalid.to_string())?;
    Ok(device)
}

pub(super) fn device_value(device: &DeviceClass) -> Value {
    let (major, minor) = device.compute_capability;
    json!({
        "name": device.name, "compute_capability": [major, minor], "multiprocessors": device.multiprocessors,
        "memory_bytes": device.memory_bytes, "simulated": device.simulated,
    })
}

/// All flags.
const FLAGS: [Flag; 10] = [
    Flag::Throttled,
    Flag::AtPowerLimit,
    Flag::ClockDrift,
    Flag::TemperatureDrift,
    Flag::PowerDisagrees,
    Flag::ForeignProcess,
    Flag::ShortWindow,
    Flag::ThrottlingUnknown,
    Flag::ProcessesUnknown,
    Flag::PartitionsUnknown,
];

const fn word(flag: Flag) -> &'static str {
    match flag {
        Flag::Throttled => "throttled",
        Flag::AtPowerLimit => "at_power_limit",
        Flag::ClockDrift => "clock_drift",
        Flag::TemperatureDrift => "temperature_drift",
        Flag::PowerDisagrees => "power_disagrees",
        Flag::ForeignProcess => "foreign_process",
        Flag::ShortWindow => "short_window",
        Flag::ThrottlingUnknown => "throttling_unknown",
        Flag::ProcessesUnknown => "processes_unknown",
        Flag::PartitionsUnknown => "partitions_unknown",
    }
}

pub(super) fn conditions(fields: &Fields<'_>) -> Result<Conditions, String> {
    let flag = |value: &Value| {
        let known = FLAGS.into_iter().find(|flag| value.as_str() == Some(word(*flag)));
        known.ok_or_else(|| format!("{value} is not a flag"))
    };
    let text = |name| fields.optional(name, |fields, name| Ok(fields.text(name)?.to_owned()));
    let number = |name| fields.optional(name, |fields, name| fields.number(name));
    let integer = |name| fields.optional(name, |fields, name| fields.integer(name));
    Ok(Conditions {
        driver: text("driver")?.unwrap_or_default(),
        simulated_profile: text("simulated_profile")?,
        sm_clock_mhz: number("sm_clock_mhz")?,
        memory_clock_mhz: number("memory_clock_mhz")?,
        temperature_celsius: number("temperature_celsius")?,
        power_watts: number("power_watts")?,
        power_limit_watts: number("power_limit_watts")?,
        throttle_reasons: integer("throttle_reasons")?.unwrap_or(0),
        window_seconds: number("window_seconds")?.unwrap_or(0.0),
        launches: integer("launches")?.unwrap_or(0),
        inputs: Inputs::Random {
            seed: fields.integer("inputs_seed")?,
        },
        cache: match fields.text("cache")? {
            "cold" => CacheMode::Cold,
            "warm" => CacheMode::Warm,
            other => return Err(format!("`cache` is {other:?}; it must be cold or warm")),
        },
        flags: match fields.has("flags") {
            true => fields.list("flags")?.iter().map(flag).collect::<Result<_, _>>()?,
            false => Vec::new(),
        },
    })
}

pub(super) fn conditions_value(conditions: &Conditions) -> Value {
    let Inputs::Random { seed } = conditions.inputs;
    let flags: Vec<&str> = conditions.flags.iter().map(|flag| word(*flag)).collect();
    let mut value = json!({
        "driver": conditions.driver,
        "simulated_profile": conditions.simulated_profile,
        "sm_clock_mhz": conditions.sm_clock_mhz,
        "memory_clock_mhz": conditions.memory_clock_mhz,
        "temperature_celsius": conditions.temperature_celsius,
        "power_watts": conditions.power_watts,
        "power_limit_watts": conditions.power_limit_watts,
        "throttle_reasons": conditions.throttle_reasons,
        "window_seconds": conditions.window_seconds,
        "launches": conditions.launches,
        "inputs_seed": seed,
        "cache": match conditions.cache { CacheMode::Cold => "cold", CacheMode::Warm => "warm" },
        "flags": flags,
    });
    if let Some(known) = value.as_object_mut() {
        known.retain(|_, value| !value.is_null());
    }
    value
}
