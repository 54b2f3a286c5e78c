//! Warns of operators far from their roofline.

use super::package::Package;
use super::stamp::Verdicts;
use crate::cache::Contents;
use crate::slow::{Judged, assumed_device};
use crate::source::scan::Found;
use energy_kernel_compiler::record::{DeviceClass, Record};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// The most sizes of an operator that are judged.
const MOST_SIZES: usize = 8;
/// The time after which a build judges no further operators. The next run of the script goes on.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most operators that a build describes.
const MOST_TOLD: usize = 3;

/// Adds one warning that lists the operators far from their roofline on the devices that they were tuned on, else on an H100. Verdicts are
/// kept beside the stamps, so that the same operator is judged once. Returns `true` if the script should run again at the next build,
/// because some operators are not judged yet.
pub(super) fn warn(package: &Package<'_>, found: &[Found], contents: &Contents, warnings: &mut Vec<String>) -> bool {
    let end = Instant::now() + PATIENCE;
    let mut slow: Vec<Verdict> = Vec::new();
    let mut unfinished = false;
    for found in found {
        match verdict(package, found, contents, end) {
            Some(verdict) => slow.extend(verdict),
            None => unfinished = true,
        }
    }
    slow.sort_by(|a, b| b.factor.total_cmp(&a.factor));
    let told: Vec<&str> = slow
        .iter()
        .take(MOST_TOLD)
        .map(|verdict| verdict.text.as_str())
        .collect();
    let more = match slow.len().saturating_sub(MOST_TOLD) {
        0 => String::new(),
        more => format!("; and {more} more, which `cargo energy-kernel report` lists"),
    };
    if !told.is_empty() {
        warnings.push(format!("far from the roofline: {}{more}", told.join("; ")));
    }
    unfinished
}

/// The worst verdict on an operator.
struct Verdict {
    factor: f64,
    text: String,
}

impl Verdict {
    fn line(&self) -> String {
        format!("{} {}", self.factor, self.text)
    }

    fn from_line(line: &str) -> Option<Verdict> {
        let (factor, text) = line.split_once(' ')?;
        Some(Verdict {
            factor: factor.parse().ok()?,
            text: text.to_owned(),
        })
    }
}

/// The verdict on an operator: `Some(None)` if it is near its roofline, `None` if the time has ended before it was judged.
fn verdict(package: &Package<'_>, found: &Found, contents: &Contents, end: Instant) -> Option<Option<Verdict>> {
    let assumed = assumed_device();
    let known = contents.operators.get(&found.fingerprint);
    let tuned = known.iter().flat_map(|known| known.devices.values());
    let mut devices: Vec<&DeviceClass> = tuned
        .map(|file| &file.device)
        .filter(|device| !device.simulated)
        .collect();
    if devices.is_empty() {
        devices.push(&assumed);
    }
    let step = found.buckets.len().div_ceil(MOST_SIZES).max(1);
    let all: Vec<Judged<'_>> = (found.buckets.iter().step_by(step))
        .flat_map(|sizes| devices.iter().map(move |&device| (sizes, device)))
        .map(|(sizes, device)| Judged {
            found,
            sizes,
            device,
            record: contents.record(found, sizes, device),
        })
        .collect();
    let record = |record: &Record| {
        let programs: Vec<String> = record.front.iter().map(|point| point.program.to_string()).collect();
        format!("{:?} {}", record.specialisation, programs.join(", "))
    };
    let state: Vec<String> = all
        .iter()
        .map(|judged| {
            format!(
                "{} {:?} {:?}",
                judged.device.key(),
                judged.sizes,
                judged.record.map(record)
            )
        })
        .collect();
    let verdicts = Verdicts::of(found, &state, &package.output);
    if let Some(lines) = verdicts.find() {
        return Some(lines.first().and_then(|line| Verdict::from_line(line)));
    }
    if Instant::now() >= end {
        return None;
    }
    // A defect here must not cost the build's results.
    let worst = catch_unwind(AssertUnwindSafe(|| worst(&all))).unwrap_or_default();
    // Without the note the next run judges again.
    let _ = std::fs::create_dir_all(&package.output);
    let _ = verdicts.write(worst.iter().map(Verdict::line).collect());
    Some(worst)
}

/// The verdict on the kernel farthest from its roofline.
fn worst(all: &[Judged<'_>]) -> Option<Verdict> {
    let slow = all
        .iter()
        .filter_map(|judged| Some((judged, judged.slow_without_remedy()?)));
    let (judged, _) = slow.max_by(|(_, a), (_, b)| a.factor().total_cmp(&b.factor()))?;
    let slow = judged.slow()?;
    Some(Verdict {
        factor: slow.factor(),
        text: judged.line(&slow),
    })
}
