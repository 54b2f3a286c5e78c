//! Which kernel a call uses.
//!
//! Of what was tuned, in the crate's bundle or the user's cache: results of the same device class, else of the same model, else
//! of the same compute capability; among these the bucket that fits the sizes, of equal ones the one of the best
//! [`Standing`]; in it the point that the objective chooses. Where nothing fits, a kernel is made here with the schedule that the estimate finds fastest among a few, its sizes kept as arguments so
//! that it serves others like them.

use crate::error::{Error, Result};
use crate::gpu::{Gpu, KernelKey};
use crate::kernel::Variant;
use crate::plan::{Alternative, Figures, Origin, Place};
use energy_kernel_compiler::element::Element;
use energy_kernel_compiler::estimate;
use energy_kernel_compiler::kernel::Kernel;
use energy_kernel_compiler::lower::lower;
use energy_kernel_compiler::problem::Problem;
use energy_kernel_compiler::record::{
    Bundle, Candidate, DeviceClass, Match, PackedKernel, Point, Record, Standing, TunedBucket,
};
use energy_kernel_compiler::repeated::{Repeated, repeated};
use energy_kernel_compiler::size::{Sizes, Specialisation};
use energy_kernel_compiler::tuning::{is_wide, untuned};
use std::cmp::Reverse;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// A kernel for a call, and why it.
#[derive(Debug)]
pub(crate) struct Choice {
    pub operator: String,
    /// The elements of inputs and outputs, as in a signature.
    pub types: String,
    pub repeated: Option<Repeated>,
    pub device: DeviceClass,
    /// In the order of the operator's sizes.
    pub sizes: Vec<u64>,
    pub named_sizes: Sizes,
    pub kernel: Arc<Kernel>,
    pub key: KernelKey,
    pub origin: Origin,
    pub figures: Option<Figures>,
    pub alternatives: Vec<Alternative>,
}

/// What a call demands of a kernel beyond its sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Need {
    /// Every tensor starts at a multiple of 16 bytes.
    pub aligned: bool,
    /// Indices need 64 bits.
    pub wide: bool,
    pub check_indices: bool,
}

impl Need {
    pub fn of(variant: &Variant, sizes: &[u64], aligned: bool, check_indices: bool) -> Need {
        Need {
            aligned,
            wide: is_wide(&variant.checked, sizes),
            check_indices,
        }
    }

    fn met_by(self, specialisation: &Specialisation) -> bool {
        (self.aligned || !specialisation.aligned) && (specialisation.wide || !self.wide)
    }
}

/// A tuned bucket, wherever it lies.
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

    /// The standing among results for the same bucket. A cached record counts as fresh: only compiling would tell, which the next build does.
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

struct Found<'a> {
    rank: Match,
    device: &'a DeviceClass,
    tuned: Tuned<'a>,
}

/// The reason why a tuned bucket cannot be used, for people.
enum Unusable {
    /// Another bucket may do.
    Unfit(String),
    /// The device refused to load the kernel. The untuned kernel runs instead: it is compiled for this device.
    Refused(String),
}

/// Chooses. All sizes are given, and have been verified.
pub(crate) fn choose(variant: &Variant, gpu: &Gpu, sizes: &[u64], need: Need) -> Result<Choice> {
    let mut found = find(variant, gpu.device_class());
    let mut untuned = None;
    while let Some(position) = nearest(&found, sizes, need) {
        let reason = match tuned(variant, gpu, sizes, need, &found[position]) {
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
        if gpu.is_news(variant.name(), &reason) {
            tracing::warn!(operator = variant.name(), %reason, "a tuned kernel cannot be used");
        }
        untuned.get_or_insert(reason);
    }
    let untuned = untuned.unwrap_or_else(|| nothing_fits(variant, gpu, &found, sizes, need));
    let choice = default(variant, gpu, sizes, need, untuned)?;
    tracing::debug!(operator = variant.name(), sizes = %choice.named_sizes, program = %choice.key.program, origin = %choice.origin, "untuned");
    Ok(choice)
}

/// Everything that was tuned for the operator and may be used on the device.
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
    // Of equally near buckets the first is taken.
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs());
    found.sort_by_cached_key(|found| (found.rank, Reverse(found.tuned.standing(now))));
    found
}

/// The position of the bucket that a call uses: the nearest one of the best rank that has any.
fn nearest(found: &[Found<'_>], sizes: &[u64], need: Need) -> Option<usize> {
    [Match::Same, Match::Model, Match::Borrowed]
        .into_iter()
        .find_map(|rank| {
            let usable: Vec<usize> = (0..found.len())
                .filter(|&at| found[at].rank == rank && need.met_by(found[at].tuned.bucket().1))
                .collect();
            TunedBucket::nearest(&usable, |&at| found[at].tuned.bucket(), sizes).copied()
        })
}

/// The tuned kernel of a bucket: the objective's choice among the points that can be used here.
fn tuned(
    variant: &Variant,
    gpu: &Gpu,
    sizes: &[u64],
    need: Need,
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
        match candidate(variant, gpu, sizes, need, found.tuned, position) {
            Ok(candidate) => break (position, candidate),
            Err(unfit) => reason = unfit,
        }
    };
    let Usable {
        key,
        kernel,
        stale,
        place,
    } = candidate;
    if let Some(refusal) = gpu.refusal(&key) {
        return Err(Unusable::Refused(refusal));
    }
    let simulated = found.device.simulated;
    let figures = |point: &Point| Figures {
        latency: point.latency,
        energy: point.energy,
        simulated,
    };
    // Of a stale front nothing but the order of its points is known.
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
            place,
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
    place: Place,
}

/// The kernel of a bucket's point, if it can be launched at these sizes on this machine; else the reason.
fn candidate(
    variant: &Variant,
    gpu: &Gpu,
    sizes: &[u64],
    need: Need,
    tuned: Tuned<'_>,
    position: usize,
) -> std::result::Result<Usable, String> {
    let point = tuned.points()[position];
    let specialisation = Specialisation {
        check_indices: need.check_indices,
        ..tuned.bucket().1.clone()
    };
    let key = |embedded| KernelKey {
        operator: variant.number,
        specialisation: specialisation.clone(),
        program: point.program.clone(),
        embedded,
    };
    let made = |key: &KernelKey| {
        gpu.compiled(key, || {
            lower(
                &Problem::new(&variant.checked, &specialisation, gpu.machine()),
                &point.program,
            )
            .map_err(|e| e.to_string())
        })
    };
    let (key, kernel, stale, place) = match tuned {
        // The embedded kernel does not check indices; the same schedule that does is made here.
        Tuned::Embedded(_, bucket) if need.check_indices => {
            let key = key(None);
            let kernel = made(&key)?;
            (key, kernel, bucket.front[position].stale, Place::Embedded)
        }
        Tuned::Embedded(bundle, bucket) => {
            let candidate: &Candidate = &bucket.front[position];
            let key = key(Some(candidate.kernel));
            let kernel = gpu.compiled(&key, || bundle.kernel(candidate).map_err(|e| e.to_string()))?;
            (key, kernel, candidate.stale, Place::Embedded)
        }
        Tuned::Cached(_) => {
            let key = key(None);
            let kernel = made(&key)?;
            let stale = !need.check_indices && PackedKernel::hash(&kernel) != point.kernel_hash;
            (key, kernel, stale, Place::UserCache)
        }
    };
    (kernel.fits(&gpu.machine().limits)).map_err(|error| format!("the tuned kernel is too large: {error}"))?;
    let grids = kernel.grids(sizes).map_err(|error| error.to_string())?;
    kernel.scratch_bytes(&grids).map_err(|error| error.to_string())?;
    Ok(Usable {
        key,
        kernel,
        stale,
        place,
    })
}

/// A kernel with the default schedule.
pub(crate) fn default(variant: &Variant, gpu: &Gpu, sizes: &[u64], need: Need, reason: String) -> Result<Choice> {
    let specialisation = Specialisation {
        aligned: need.aligned,
        wide: need.wide,
        check_indices: need.check_indices,
        ..untuned(&variant.checked, sizes)
    };
    let machine = gpu.machine();
    let near = estimate::near(&variant.checked, &specialisation, sizes);
    let schedule = gpu.default_schedule(variant.number, &specialisation, &near, || {
        estimate::default(&Problem::new(&variant.checked, &specialisation, machine), &near)
    });
    let key = KernelKey {
        operator: variant.number,
        specialisation,
        program: schedule.into(),
        embedded: None,
    };
    let kernel = gpu.compiled(&key, || {
        lower(
            &Problem::new(&variant.checked, &key.specialisation, machine),
            &key.program,
        )
        .map_err(|error| Error::Lower {
            operator: variant.name().to_owned(),
            reason: error.to_string(),
        })
    })?;
    Ok(Choice {
        origin: Origin::Untuned { reason },
        ..unjustified(variant, gpu, sizes, kernel, key)
    })
}

fn unjustified(variant: &Variant, gpu: &Gpu, sizes: &[u64], kernel: Arc<Kernel>, key: KernelKey) -> Choice {
    Choice {
        operator: variant.name().to_owned(),
        types: types(variant),
        repeated: repeated(&variant.checked, sizes),
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

/// `(f16, f16, f32) -> f16`
fn types(variant: &Variant) -> String {
    let op = variant.checked.op();
    let list = |elements: Vec<Element>| {
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

/// Why nothing that was tuned can be used, for people.
fn nothing_fits(variant: &Variant, gpu: &Gpu, found: &[Found<'_>], sizes: &[u64], need: Need) -> String {
    let device = gpu.device_class();
    let refused = match crate::cache::folder() {
        Err(refused) => format!("; the user's cache is not used: {refused}"),
        Ok(_) => String::new(),
    };
    let accepted = found.iter().any(|f| f.tuned.bucket().1.accepts(sizes));
    match (found.first(), accepted) {
        (Some(_), true) if need.wide => {
            "these sizes need 64-bit indices, and what was tuned has 32-bit ones".to_owned()
        }
        (Some(_), true) => "a tensor does not start at a multiple of 16 bytes".to_owned(),
        (Some(found), false) => {
            format!(
                "these sizes were not tuned; those nearest by device are {}",
                named(variant, found.tuned.bucket().0)
            )
        }
        (None, _) if variant.bundle.is_some() || !variant.cached().is_empty() => {
            format!("what was tuned is for other devices than {device}{refused}")
        }
        (None, _) => format!("nothing was tuned for it on {device}{refused}"),
    }
}
