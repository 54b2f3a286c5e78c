//! Bundles: compiles the kernels of the records' Pareto fronts.

use crate::buckets::buckets;
use crate::cache::Results;
use crate::source::scan::Found;
use energy_kernel_compiler::lower::lower;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::record::{
    Bundle, CacheFile, Candidate, Objective, PackedKernel, Point, Record, TunedBucket, TunedDevice,
};
use energy_kernel_compiler::target::Machine;

/// The bundle of operators with one fingerprint. `None` if there are no results. Adds a warning for each operator with stale results.
pub(super) fn bundle(
    same: &[&Found],
    known: &Results,
    objective: Objective,
    warnings: &mut Vec<String>,
) -> Option<Bundle> {
    let first = same.first()?;
    let wanted = buckets(same);
    let mut kernels = Kernels::default();
    let mut devices = Vec::new();
    for file in known.devices.values() {
        let Some(machine) = file.device.machine() else {
            continue;
        };
        let mut buckets = Vec::new();
        let mut warned: Vec<String> = Vec::new();
        for (found, sizes) in &wanted {
            let record = file.record(sizes, &found.specialisation);
            let Some(bucket) = record.and_then(|record| tuned_bucket(found, record, machine, &mut kernels)) else {
                continue;
            };
            let is_stale = bucket.front.iter().any(|candidate| candidate.stale);
            let warning = is_stale.then(|| stale_warning(found, file));
            warned.extend(warning.filter(|warning| !warned.contains(warning)));
            buckets.push(bucket);
        }
        warnings.extend(warned);
        if !buckets.is_empty() {
            devices.push(TunedDevice {
                device: file.device.clone(),
                buckets,
            });
        }
    }
    (!devices.is_empty()).then(|| Bundle {
        fingerprint: first.fingerprint,
        operator: first.name.clone(),
        objective,
        kernels: kernels.packed,
        devices,
    })
}

fn stale_warning(found: &Found, file: &CacheFile) -> String {
    format!(
        "{} on {}: the compiler now emits other kernels than were measured; they are used, but their figures are not. \
         `cargo energy-kernel tune --operator {} --again` measures them again",
        found.name,
        file.device.name,
        found.checked.op().name,
    )
}

fn tuned_bucket(found: &Found, record: &Record, machine: Machine, kernels: &mut Kernels) -> Option<TunedBucket> {
    // Leave out schedules that this compiler refuses; the others are still correct.
    let candidate = |point: &Point| {
        let (kernel, hash) = kernels.position(found, machine, point)?;
        Some(Candidate {
            point: point.clone(),
            kernel,
            stale: hash != point.kernel_hash,
        })
    };
    let front: Vec<Candidate> = record.front.iter().filter_map(candidate).collect();
    (!front.is_empty()).then(|| TunedBucket {
        sizes: record.sizes.clone(),
        specialisation: record.specialisation.clone(),
        front,
        measured_at: record.measured_at,
        energy_measured: record.energy_measured,
        space_version: record.space_version,
        record: record.content(),
    })
}

/// Compiled kernels, each once.
#[derive(Default)]
struct Kernels {
    packed: Vec<PackedKernel>,
}

impl Kernels {
    /// The position of a point's kernel, and its hash.
    fn position(&mut self, found: &Found, machine: Machine, point: &Point) -> Option<(u32, [u8; 32])> {
        let kernel = lower(
            &Problem::new(&found.checked, &found.specialisation, machine),
            &point.program,
        )
        .ok()?;
        let packed = PackedKernel::pack(&kernel).ok()?;
        let position = self
            .packed
            .iter()
            .position(|other| *other == packed)
            .unwrap_or_else(|| {
                self.packed.push(packed);
                self.packed.len() - 1
            });
        Some((u32::try_from(position).ok()?, PackedKernel::hash(&kernel)))
    }
}
