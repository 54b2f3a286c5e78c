//! From records to bundles: the kernels of the fronts, compiled here.

use crate::cache::Known;
use crate::scan::Found;
use crate::session::buckets;
use energy_kernel_compiler::lower::lower;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::record::{
    Bundle, CacheFile, Candidate, Objective, PackedKernel, Point, Record, TunedBucket, TunedDevice,
};
use energy_kernel_compiler::target::Machine;

/// The bundle of operators of one fingerprint; none where nothing is known of them. Adds to `warnings` what is stale.
pub(crate) fn assemble(
    same: &[&Found],
    known: &Known,
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
            let Some(bucket) = record.and_then(|record| bucket(found, record, machine, &mut kernels)) else {
                continue;
            };
            let is_stale = bucket.front.iter().any(|candidate| candidate.stale);
            let warning = is_stale.then(|| stale(found, file));
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

fn stale(found: &Found, file: &CacheFile) -> String {
    format!(
        "{} on {}: the compiler emits other kernels than were measured; they are used, their figures are not. \
         `cargo energy-kernel tune --operator {} --again` measures them again",
        found.name,
        file.device.name,
        found.checked.op().name,
    )
}

fn bucket(found: &Found, record: &Record, machine: Machine, kernels: &mut Kernels) -> Option<TunedBucket> {
    // A schedule that this compiler refuses is left out: the others are still right.
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
