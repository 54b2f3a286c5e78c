//! The results that a build embeds in a crate for one operator.

use super::cache::validate_bucket;
use super::device::{DeviceClass, Match};
use super::encoding::{Document, Invalid, Validate, ensure, ensure_text};
use super::fingerprint::Fingerprint;
use super::front::{Estimate, Objective, Point, validate_front};
use super::packed::PackedKernel;
use super::standing::{Merits, Standing};
use crate::size::Specialisation;
use crate::tuning;
use bincode::{Decode, Encode};

/// The compiled results of one operator for every known device class.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Bundle {
    /// The operator.
    pub fingerprint: Fingerprint,
    /// Its name, for messages.
    pub operator: String,
    /// The objective for choosing from its fronts, unless the program sets another.
    pub objective: Objective,
    /// The kernels. Points refer to them by position.
    pub kernels: Vec<PackedKernel>,
    /// One for each device class.
    pub devices: Vec<TunedDevice>,
}

/// The results for one device class.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct TunedDevice {
    /// The device class.
    pub device: DeviceClass,
    /// The results for each tuned bucket.
    pub buckets: Vec<TunedBucket>,
}

/// The results for one bucket.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct TunedBucket {
    /// The sizes it was tuned for, in the order of [`Op::sizes`](crate::ir::Op::sizes).
    pub sizes: Vec<u64>,
    /// What its kernels assume. They are correct for every call that it accepts.
    pub specialisation: Specialisation,
    /// The Pareto front, fastest first; not empty.
    pub front: Vec<Candidate>,
    /// When it was measured: seconds since 1970.
    pub measured_at: u64,
    /// `true` if energy was measured as far as it was meant to be.
    pub energy_measured: bool,
    /// The [`space_version`](super::Record::space_version) of its record.
    pub space_version: u32,
    /// The [`content`](super::Record::content) of its record.
    pub record: [u8; 32],
}

/// A point of the front with its kernel.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Candidate {
    /// The measured point.
    pub point: Point,
    /// The position in [`Bundle::kernels`].
    pub kernel: u32,
    /// `true` if the compiler now emits a different kernel for this schedule. The kernel is correct, but its figures belong to the old one.
    pub stale: bool,
}

impl Candidate {
    /// Seconds and joules of a launch. `None` if the kernel is stale.
    pub fn figures(&self) -> Option<(Estimate, Option<Estimate>)> {
        (!self.stale).then_some((self.point.latency, self.point.energy))
    }
}

impl Bundle {
    /// The most device classes of a bundle.
    pub const MOST_DEVICES: usize = 1024;

    /// The name of an operator's bundle in the folder of the [`Index`](super::Index).
    pub fn file_name(fingerprint: &Fingerprint) -> String {
        format!("{fingerprint}.ekbundle")
    }

    /// Returns the best match for a device, and how well it matches.
    pub fn device(&self, device: &DeviceClass) -> Option<(Match, &TunedDevice)> {
        self.devices
            .iter()
            .filter_map(|tuned| Some((tuned.device.matches(device)?, tuned)))
            .min_by_key(|(rank, _)| *rank)
    }

    /// Returns the best match for a call on a device: among the best-matching devices, the first with a bucket for the sizes.
    pub fn find(&self, device: &DeviceClass, sizes: &[u64]) -> Option<(Match, &TunedDevice, &TunedBucket)> {
        let mut ranked: Vec<(Match, &TunedDevice)> = self
            .devices
            .iter()
            .filter_map(|tuned| Some((tuned.device.matches(device)?, tuned)))
            .collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked
            .into_iter()
            .find_map(|(rank, tuned)| Some((rank, tuned, tuned.bucket(sizes)?)))
    }

    /// Unpacks a candidate's kernel.
    ///
    /// # Errors
    /// The bundle does not contain the kernel, or the kernel is damaged.
    pub fn kernel(&self, candidate: &Candidate) -> Result<crate::kernel::Kernel, Invalid> {
        self.kernels
            .get(candidate.kernel as usize)
            .ok_or_else(|| Invalid("no such kernel in the bundle".into()))?
            .unpack()
    }
}

impl TunedDevice {
    /// Returns the bucket that a call uses; see [`TunedBucket::nearest`].
    pub fn bucket(&self, sizes: &[u64]) -> Option<&TunedBucket> {
        TunedBucket::nearest(&self.buckets, |bucket| (&bucket.sizes, &bucket.specialisation), sizes)
    }
}

impl TunedBucket {
    /// Returns the bucket that [`tuning::choose`](crate::tuning::choose) chooses among those that accept a call.
    pub fn nearest<'a, B>(
        buckets: &'a [B],
        of: impl Fn(&'a B) -> (&'a [u64], &'a Specialisation),
        sizes: &[u64],
    ) -> Option<&'a B> {
        let accepting: Vec<&B> = buckets.iter().filter(|bucket| of(bucket).1.accepts(sizes)).collect();
        let tuned: Vec<&[u64]> = accepting.iter().map(|bucket| of(bucket).0).collect();
        accepting.get(tuning::choose(&tuned, sizes)?).copied()
    }

    /// The standing among other results of the same sizes. `now` is in seconds since 1970.
    pub fn standing(&self, now: u64) -> Standing {
        let merits = Merits::new(
            self.space_version,
            self.energy_measured,
            self.front.iter().map(|candidate| &candidate.point),
            (self.measured_at, now),
            self.record,
        );
        Standing {
            fresh: self.front.iter().all(|candidate| !candidate.stale),
            merits,
        }
    }

    /// Returns the candidate that the objective chooses. A valid bucket has one.
    pub fn choose(&self, objective: Objective) -> Option<&Candidate> {
        self.front
            .get(objective.choose(self.front.iter().map(|candidate| &candidate.point))?)
    }
}

impl Document for Bundle {
    const KIND: [u8; 4] = *b"BNDL";
}

impl Validate for Bundle {
    fn validate(&self) -> Result<(), Invalid> {
        ensure_text(&self.operator, "the operator's name")?;
        self.objective.validate()?;
        self.kernels.iter().try_for_each(PackedKernel::validate)?;
        ensure(
            self.devices.len() <= Bundle::MOST_DEVICES,
            "more than 1024 device classes",
        )?;
        for tuned in &self.devices {
            tuned.device.validate()?;
            ensure(tuned.buckets.len() <= 4096, "more than 4096 buckets")?;
            for bucket in &tuned.buckets {
                validate_bucket(&bucket.sizes, &bucket.specialisation)?;
                validate_front(bucket.front.iter().map(|candidate| &candidate.point))?;
                let known = |candidate: &Candidate| (candidate.kernel as usize) < self.kernels.len();
                ensure(bucket.front.iter().all(known), "a point refers to no kernel")?;
                let simulated = |candidate: &Candidate| candidate.point.conditions.simulated_profile.is_some();
                ensure(
                    bucket
                        .front
                        .iter()
                        .all(|candidate| simulated(candidate) == tuned.device.simulated),
                    "a real device has simulated figures, or a simulated device has measured ones",
                )?;
            }
        }
        Ok(())
    }
}
