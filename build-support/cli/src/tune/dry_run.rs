//! `tune --dry-run`: lists the sizes to tune.

use crate::output::{json, plain};
use crate::quantity::count;
use energy_kernel_build::tune::Laboratory;
use energy_kernel_build::{Bucket, names};

/// Lists the sizes to tune, with their numbers of schedules and candidates.
pub fn dry_run(as_json: bool, jobs: &[Bucket<'_>], bench: &mut dyn Laboratory) {
    let device = bench.device().clone();
    let mut all = Vec::new();
    for (found, sizes) in jobs {
        let ((space, candidates), why) = match bench.schedules(found, sizes) {
            Ok(counts) => (counts, None),
            Err(why) => ((0, 0), Some(why)),
        };
        let named = names(found, sizes);
        if !as_json {
            match &why {
                None => say!(
                    "{} ({named}): up to {candidates} of {}",
                    found.name,
                    count(space, "schedule")
                ),
                Some(why) => say!("{} ({named}): none: {}", found.name, plain(why)),
            }
        }
        all.push(serde_json::json!({
            "operator": found.name, "sizes": named, "schedules": space, "candidates": candidates, "why": why,
        }));
    }
    if as_json {
        json(&serde_json::json!({ "device": device.name, "simulated": device.simulated, "would_tune": all }));
    }
}
