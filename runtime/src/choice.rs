//! Chooses the kernel of a call.
//!
//! Tuned kernels come from the crate's bundle and the user cache. The choice narrows them down in this order:
//!
//! 1. results for the same device class, else for the same model, else for the same compute capability;
//! 2. the bucket that fits the sizes, and of equal buckets the one with the best [`Standing`];
//! 3. the point of its front that the objective chooses.
//!
//! If no tuned kernel fits, a kernel is compiled with the program that the estimate ranks fastest among a few that store no more than the
//! limit of the workspace. It takes its sizes as
//! arguments, so that it serves other calls as well.

use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::kernels::KernelKey;
use crate::operator::Variant;
use crate::plan::{Alternative, Choice, Figures, Origin, RecordSource};
use energy_kernel_compiler::element::Element as ElementId;
use energy_kernel_compiler::estimate;
use energy_kernel_compiler::kernel::{Grids, Kernel};
use energy_kernel_compiler::lower::lower;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::record::{
    Bundle, Candidate, DeviceClass, Match, PackedKernel, Point, Record, Standing, TunedBucket,
};
use energy_kernel_compiler::repeated::repeated;
use energy_kernel_compiler::size::{Sizes, Specialisation};
use energy_kernel_compiler::stages::{self, Untuned};
use energy_kernel_compiler::tuning::{self, is_wide};
use std::cmp::Reverse;
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

/// A call's requirements on a kernel besides its sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Requirements {
    /// `true` if every tensor starts at a multiple of 16 bytes.
    pub aligned: bool,
    /// `true` if indices need 64 bits.
    pub wide: bool,
    pub check_indices: bool,
}

impl Requirements {
    pub fn of(variant: &Variant, sizes: &[u64], aligned: bool, check_indices: bool) -> Requirements {
        Requirements {
            aligned,
            wide: is_wide(&variant.checked, sizes),
            check_indices,
        }
    }

    fn met_by(self, specialisation: &Specialisation) -> bool {
        (self.aligned || !specialisation.aligned) && (specialisation.wide || !self.wide)
    }
}

/// A tuned bucket from either source.
#[derive(Clone, Copy)]
enum Tuned<'a> {
    Embedded(&'a Bundle, &'a TunedBucket),
    Cached(&'a Record),
}

impl<'a> Tuned<'a> {
    fn bucket(self) -> (&'a [u64], &'a Specialisation) {
        match self {
            Tuned::Embedded(_, bucket) => (&bucket.sizes, &bucket.specialisation),
            Tuned::Cached(record) => record.bucket(),
        }
    }

    /// The standing among results for the same bucket. A cached record counts as fresh, because finding out would take a compilation. The
    /// next build does that.
    fn standing(self, now: u64) -> Standing {
        match self {
            Tuned::Embedded(_, bucket) => bucket.standing(now),
            Tuned::Cached(record) => Standing {
                fresh: true,
                merits: record.merits(now),
            },
        }
    }

    fn points(self) -> Vec<&'a Point> {
        match self {
            Tuned::Embedded(_, bucket) => bucket.front.iter().map(|candidate| &candidate.point).collect(),
            Tuned::Cached(record) => record.front.iter().collect(),
        }
    }
}

/// A tuned bucket and the device it was measured on.
struct Found<'a> {
    /// How closely that device matches this one.
    rank: Match,
    device: &'a DeviceClass,
    tuned: Tuned<'a>,
}

/// Why a tuned bucket cannot be used, for people.
enum Unusable {
    /// The bucket does not fit. Another one may.
    Unfit(String),
    /// The device refused to load the kernel. The untuned kernel runs instead, because it is compiled for this device.
    Refused(String),
}

/// Chooses a kernel. The sizes are complete and verified.
pub(crate) fn choose(variant: &Variant, gpu: &Gpu, sizes: &[u64], required: Requirements) -> Result<Choice> {
    let mut found = find(variant, gpu.device_class());
    let mut first_reason = None;
    while let Some(position) = nearest(&found, sizes, required) {
        let reason = match tuned(variant, gpu, sizes, required, &found[position]) {
            Ok(choice) => {
                tracing::debug!(operator = variant.name(), sizes = %choice.named_sizes, program = %choice.key.program, origin = %choice.origin, "chosen");
                return Ok(choice);
            }
            Err(Unusable::Unfit(reason)) => {
                found.remove(position);
                reason
            }
            Err(Unusable::Refused(reason)) => {
                found.clear();
                reason
            }
        };
        if gpu.is_new_warning(variant.name(), &reason) {
            tracing::warn!(operator = variant.name(), %reason, "a tuned kernel cannot be used");
        }
        first_reason.get_or_insert(reason);
    }
    let reason = first_reason.unwrap_or_else(|| nothing_fits(variant, gpu, &found, sizes, required));
    let choice = untuned(variant, gpu, sizes, required, reason, gpu.workspace().limit())?;
    tracing::debug!(operator = variant.name(), sizes = %choice.named_sizes, program = %choice.key.program, origin = %choice.origin, "untuned");
    Ok(choice)
}

/// All buckets tuned for the operator that the device can use, the best first.
fn find<'a>(variant: &'a Variant, device: &DeviceClass) -> Vec<Found<'a>> {
    let embedded = variant.bundle.iter().flat_map(|bundle| {
        bundle.devices.iter().flat_map(move |tuned| {
            let entry = move |bucket| (&tuned.device, Tuned::Embedded(bundle, bucket));
            tuned.buckets.iter().map(entry)
        })
    });
    let cached = variant.cached().iter().flat_map(|file| {
        file.records
            .iter()
            .map(move |record| (&file.device, Tuned::Cached(record)))
    });
    let mut found: Vec<Found<'a>> = embedded
        .chain(cached)
        .filter_map(|(known, tuned)| {
            Some(Found {
                rank: known.matches(device)?,
                device: known,
                tuned,
            })
        })
        .collect();
    // `nearest` takes the first of equally near buckets.
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs());
    found.sort_by_cached_key(|found| (found.rank, Reverse(found.tuned.standing(now))));
    found
}

/// The position of the bucket that a call uses: the nearest one of the best rank.
fn nearest(found: &[Found<'_>], sizes: &[u64], required: Requirements) -> Option<usize> {
    [Match::Same, Match::Model, Match::Borrowed]
        .into_iter()
        .find_map(|rank| {
            let usable: Vec<usize> = (0..found.len())
                .filter(|&at| found[at].rank == rank && required.met_by(found[at].tuned.bucket().1))
                .collect();
            TunedBucket::nearest(&usable, |&at| found[at].tuned.bucket(), sizes).copied()
        })
}

/// Returns the tuned kernel of a bucket: the objective's choice among the usable points.
fn tuned(
    variant: &Variant,
    gpu: &Gpu,
    sizes: &[u64],
    required: Requirements,
    found: &Found<'_>,
) -> std::result::Result<Choice, Unusable> {
    let points = found.tuned.points();
    let embedded = variant.bundle.as_ref().map(|bundle| bundle.objective);
    let objective = gpu.objective().or(embedded).unwrap_or_default();
    let mut usable: Vec<usize> = (0..points.len()).collect();
    let mut reason = "its front is empty".to_owned();
    let (position, candidate) = loop {
        let Some(chosen) = objective.choose(usable.iter().map(|&at| points[at])) else {
            return Err(Unusable::Unfit(reason));
        };
        let position = usable.remove(chosen);
        match candidate(variant, gpu, sizes, required, found.tuned, position) {
            Ok(candidate) => break (position, candidate),
            Err(unfit) => reason = unfit,
        }
    };
    let Usable {
        key,
        kernel,
        stale,
        source,
    } = candidate;
    if let Some(refusal) = gpu.kernels().refusal(&key) {
        return Err(Unusable::Refused(refusal));
    }
    let simulated = found.device.simulated;
    let figures = |point: &Point| Figures {
        latency: point.latency,
        energy: point.energy,
        simulated,
    };
    // A stale front keeps the order of its points, but not their figures.
    let alternatives = points.iter().enumerate().map(|(at, alternative)| Alternative {
        program: alternative.program.clone(),
        figures: (!stale).then(|| figures(alternative)),
        chosen: at == position,
    });
    Ok(Choice {
        figures: (!stale).then(|| figures(points[position])),
        alternatives: alternatives.collect(),
        origin: Origin::Tuned {
            device: found.device.clone(),
            matches: found.rank,
            source,
            sizes: named(variant, found.tuned.bucket().0),
            stale,
        },
        ..unjustified(variant, gpu, sizes, kernel, key)
    })
}

/// The kernel of a point.
struct Usable {
    key: KernelKey,
    kernel: Arc<Kernel>,
    stale: bool,
    source: RecordSource,
}

/// Returns the kernel of a bucket's point.
///
/// # Errors
/// The reason why it cannot be launched at these sizes on this machine, for people.
fn candidate(
    variant: &Variant,
    gpu: &Gpu,
    sizes: &[u64],
    required: Requirements,
    tuned: Tuned<'_>,
    position: usize,
) -> std::result::Result<Usable, String> {
    let point = tuned.points()[position];
    let specialisation = Specialisation {
        check_indices: required.check_indices,
        ..tuned.bucket().1.clone()
    };
    let key = |embedded| KernelKey {
        operator: variant.number,
        specialisation: specialisation.clone(),
        program: point.program.clone(),
        embedded,
    };
    let compiled = |key: &KernelKey| {
        gpu.kernels().compiled(key, || {
            lower(
                &Problem::new(&variant.checked, &specialisation, gpu.machine()),
                &point.program,
            )
            .map_err(|e| e.to_string())
        })
    };
    let (key, kernel, stale, source) = match tuned {
        // The embedded kernel does not check indices, so the same program is compiled here with checks.
        Tuned::Embedded(_, bucket) if required.check_indices => {
            let key = key(None);
            let kernel = compiled(&key)?;
            (key, kernel, bucket.front[position].stale, RecordSource::Embedded)
        }
        Tuned::Embedded(bundle, bucket) => {
            let candidate: &Candidate = &bucket.front[position];
            let key = key(Some(candidate.kernel));
            let kernel = gpu
                .kernels()
                .compiled(&key, || bundle.kernel(candidate).map_err(|e| e.to_string()))?;
            (key, kernel, candidate.stale, RecordSource::Embedded)
        }
        Tuned::Cached(_) => {
            let key = key(None);
            let kernel = compiled(&key)?;
            let stale = !required.check_indices && PackedKernel::hash(&kernel) != point.kernel_hash;
            (key, kernel, stale, RecordSource::UserCache)
        }
    };
    (kernel.fits(&gpu.machine().limits)).map_err(|error| format!("the tuned kernel is too large: {error}"))?;
    let grids = kernel.grids(sizes).map_err(|error| error.to_string())?;
    (kernel.scratch_bytes(&grids, sizes, gpu.workspace().limit())).map_err(|error| error.to_string())?;
    Ok(Usable {
        key,
        kernel,
        stale,
        source,
    })
}

/// Returns the untuned kernel, whose program the estimate ranks fastest of those that need at most so many bytes of workspace. There is one that
/// needs none.
pub(crate) fn untuned(
    variant: &Variant,
    gpu: &Gpu,
    sizes: &[u64],
    required: Requirements,
    reason: String,
    most_bytes: u64,
) -> Result<Choice> {
    let specialisation = Specialisation {
        aligned: required.aligned,
        wide: required.wide,
        check_indices: required.check_indices,
        ..tuning::untuned(&variant.checked, sizes)
    };
    let machine = gpu.machine();
    let near = estimate::near(&variant.checked, &specialisation, sizes);
    let key = (variant.number, specialisation, near);
    let programs = gpu.kernels().programs(key, |specialisation, near| {
        stages::untuned(&variant.checked, specialisation, machine, near)
    });
    let failed = |reason: String| Error::Lower {
        operator: variant.name().to_owned(),
        reason,
    };
    for Untuned {
        specialisation,
        program,
    } in programs.iter().cloned()
    {
        if stages::stored_bytes(&variant.checked, &program.stored, sizes) > most_bytes {
            continue;
        }
        let key = KernelKey {
            operator: variant.number,
            specialisation,
            program,
            embedded: None,
        };
        let kernel = gpu.kernels().compiled(&key, || {
            let problem = Problem::new(&variant.checked, &key.specialisation, machine);
            lower(&problem, &key.program).map_err(|error| failed(error.to_string()))
        })?;
        // Split-K needs workspace, too. Where there is no grid, the launch says so.
        let fits = |grids: Grids| kernel.scratch_bytes(&grids, sizes, most_bytes).is_ok();
        if kernel.grids(sizes).map_or(true, fits) {
            return Ok(Choice {
                origin: Origin::Untuned { reason },
                ..unjustified(variant, gpu, sizes, kernel, key)
            });
        }
    }
    Err(failed("no kernel fits the workspace".to_owned()))
}

/// A choice without its reasons.
fn unjustified(variant: &Variant, gpu: &Gpu, sizes: &[u64], kernel: Arc<Kernel>, key: KernelKey) -> Choice {
    Choice {
        operator: variant.name().to_owned(),
        checked: variant.checked.clone(),
        machine: gpu.machine(),
        slow: OnceLock::new(),
        types: types(variant),
        repeated: (key.program.stored.is_empty())
            .then(|| repeated(&variant.checked, sizes))
            .flatten(),
        device: gpu.device_class().clone(),
        sizes: sizes.to_vec(),
        named_sizes: named(variant, sizes),
        kernel,
        key,
        origin: Origin::Untuned { reason: String::new() },
        figures: None,
        alternatives: Vec::new(),
    }
}

/// The element types as in a signature: `(f16, f16, f32) -> f16`.
fn types(variant: &Variant) -> String {
    let op = variant.checked.op();
    let list = |elements: Vec<ElementId>| {
        elements
            .iter()
            .map(|element| element.name())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let inputs = list(op.inputs.iter().map(|input| input.element).collect());
    match op.outputs.as_slice() {
        [output] => format!("({inputs}) -> {}", output.element),
        outputs => format!(
            "({inputs}) -> ({})",
            list(outputs.iter().map(|output| output.element).collect())
        ),
    }
}

fn named(variant: &Variant, sizes: &[u64]) -> Sizes {
    let names = variant.checked.op().sizes.iter().map(|size| size.name.clone());
    names.zip(sizes.iter().copied()).collect()
}

/// Returns why no tuned kernel can be used, for people.
fn nothing_fits(variant: &Variant, gpu: &Gpu, found: &[Found<'_>], sizes: &[u64], required: Requirements) -> String {
    let device = gpu.device_class();
    let refused = match crate::cache::folder() {
        Err(refused) => format!("; the user cache is not used: {refused}"),
        Ok(_) => String::new(),
    };
    let accepted = found.iter().any(|f| f.tuned.bucket().1.accepts(sizes));
    match (found.first(), accepted) {
        (Some(_), true) if required.wide => {
            "these sizes need 64-bit indices, but the tuned kernels have 32-bit ones".to_owned()
        }
        (Some(_), true) => "a tensor does not start at a multiple of 16 bytes".to_owned(),
        (Some(found), false) => {
            format!(
                "these sizes were not tuned; the sizes tuned for the nearest device are {}",
                named(variant, found.tuned.bucket().0)
            )
        }
        (None, _) if variant.bundle.is_some() || !variant.cached().is_empty() => {
            format!("the tuned kernels are for other devices than {device}{refused}")
        }
        (None, _) => format!("nothing was tuned for it on {device}{refused}"),
    }
}
