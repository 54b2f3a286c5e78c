//! Records, and their files.

use super::device::DeviceClass;
use super::encoding::{FORMAT_VERSION, Invalid, Validate, digest, ensure, ensure_text};
use super::fingerprint::Fingerprint;
use super::front::{Objective, Point, validate_front};
use super::rejected::Rejected;
use super::standing::{Merits, prevails};
use crate::size::{Extent, Sizes, Specialisation};
use bincode::{Decode, Encode};
use std::collections::BTreeSet;

/// The records of one operator on one device class: a file of a cache.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct CacheFile {
    /// The operator.
    pub fingerprint: Fingerprint,
    /// Its name when it was tuned, for messages.
    pub operator: String,
    /// The names of [`Op::sizes`](crate::ir::Op::sizes) when it was tuned, for messages.
    pub size_names: Vec<String>,
    /// The device class that it was measured on.
    pub device: DeviceClass,
    /// The record of each bucket, sorted by bucket.
    pub records: Vec<Record>,
}

/// The result of tuning one bucket.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Record {
    /// The sizes it was tuned for, in the order of [`Op::sizes`](crate::ir::Op::sizes).
    pub sizes: Vec<u64>,
    /// What the kernels assume.
    pub specialisation: Specialisation,
    /// The Pareto front, fastest first; not empty.
    pub front: Vec<Point>,
    /// The rejected candidates, in the order in which they were tried.
    pub rejected: Vec<Rejected>,
    /// Statistics of the search.
    pub statistics: Statistics,
    /// The end of the search, in seconds since 1970.
    pub measured_at: u64,
    /// `true` if all intended energies were measured. If not, the front may be only the fastest point, and
    /// the next search measures again.
    pub energy_measured: bool,
    /// [`SPACE_VERSION`](crate::schedule::SPACE_VERSION) of the compiler that tuned it.
    pub space_version: u32,
}

/// Statistics of a search.
#[derive(Debug, Clone, Copy, Default, PartialEq, Encode, Decode)]
pub struct Statistics {
    /// Legal schedules.
    pub space: u64,
    /// Candidates compiled.
    pub compiled: u64,
    /// Candidates whose latency was measured.
    pub timed: u64,
    /// Candidates whose energy was measured.
    pub energy_measured: u64,
    /// Those of them whose energy the model had predicted.
    pub predicted: u64,
    /// The mean relative error of those predictions; 0 if there are none.
    pub prediction_error: f64,
    /// The duration in seconds.
    pub seconds: f64,
    /// The seed of random choices.
    pub seed: u64,
}

impl Record {
    /// The key of the record: the sizes, and what kernels assume about them.
    pub fn bucket(&self) -> (&[u64], &Specialisation) {
        (&self.sizes, &self.specialisation)
    }

    /// Returns the point that the objective chooses. A valid record has one.
    pub fn choose(&self, objective: Objective) -> Option<&Point> {
        self.front.get(objective.choose(&self.front)?)
    }

    /// `true` if this record is used for its bucket instead of the other: if its [`Standing`](super::Standing) is greater. `now` is in
    /// seconds since 1970. `stale` has to compile, so it is called only if it decides.
    pub fn prevails_over(&self, other: &Record, now: u64, stale: impl Fn(&Record) -> bool) -> bool {
        let merits = [self, other].map(|record| record.merits(now));
        prevails((self, &merits[0]), (other, &merits[1]), stale)
    }

    /// The merits of this record. `now` is in seconds since 1970.
    pub fn merits(&self, now: u64) -> Merits {
        Merits::new(
            self.space_version,
            self.energy_measured,
            self.front.iter(),
            (self.measured_at, now),
            self.content(),
        )
    }

    /// The SHA-256 of the record.
    pub fn content(&self) -> [u8; 32] {
        digest(self)
    }

    /// Seconds of a launch of the fastest point.
    pub fn best_latency(&self) -> Option<f64> {
        self.front.first().map(|point| point.latency.mean)
    }
}

impl CacheFile {
    /// The extension of these files.
    pub const EXTENSION: &'static str = "ekcache";

    /// The name of the file for an operator and a device class, the same in every cache.
    pub fn file_name(fingerprint: &Fingerprint, device: &DeviceClass) -> String {
        format!("{}.{}", CacheFile::stem(fingerprint, device), CacheFile::EXTENSION)
    }

    /// The name of the file for an operator and a device class if the usual one has a format that this version cannot read.
    pub fn file_name_beside(fingerprint: &Fingerprint, device: &DeviceClass) -> String {
        let stem = CacheFile::stem(fingerprint, device);
        format!("{stem}.format-{FORMAT_VERSION}.{}", CacheFile::EXTENSION)
    }

    fn stem(fingerprint: &Fingerprint, device: &DeviceClass) -> String {
        format!("{}-{}", fingerprint.short(), device.file_stem())
    }

    /// Returns a record's sizes by name.
    pub fn named(&self, record: &Record) -> Sizes {
        self.size_names
            .iter()
            .cloned()
            .zip(record.sizes.iter().copied())
            .collect()
    }

    /// The record for a bucket.
    pub fn record(&self, sizes: &[u64], specialisation: &Specialisation) -> Option<&Record> {
        self.records
            .iter()
            .find(|record| record.bucket() == (sizes, specialisation))
    }

    /// Adds a record, unless the present record of its bucket [prevails](Record::prevails_over).
    pub fn insert(&mut self, record: Record, now: u64, stale: impl Fn(&Record) -> bool) {
        match self.position(&record) {
            Err(position) => self.records.insert(position, record),
            Ok(position) => {
                let present = &mut self.records[position];
                if record.prevails_over(present, now, stale) {
                    *present = record;
                }
            }
        }
    }

    /// Adds a record, and replaces the present record of its bucket.
    pub fn replace(&mut self, record: Record) {
        match self.position(&record) {
            Err(position) => self.records.insert(position, record),
            Ok(position) => self.records[position] = record,
        }
    }

    /// The position of the record for a bucket, or the one to insert it at.
    fn position(&self, record: &Record) -> Result<usize, usize> {
        self.records.binary_search_by(|r| r.bucket().cmp(&record.bucket()))
    }

    /// Adds the records of another file for the same operator and device class.
    pub fn merge(&mut self, other: CacheFile, now: u64, stale: impl Fn(&Record) -> bool) {
        other
            .records
            .into_iter()
            .for_each(|record| self.insert(record, now, &stale));
    }
}

impl Validate for CacheFile {
    fn validate(&self) -> Result<(), Invalid> {
        ensure_text(&self.operator, "the operator's name")?;
        for name in &self.size_names {
            ensure_text(name, "a size's name")?;
        }
        self.device.validate()?;
        let counts = |record: &Record| record.sizes.len() == self.size_names.len();
        ensure(
            self.records.iter().all(counts),
            "sizes and their names differ in number",
        )?;
        ensure(self.records.len() <= 4096, "more than 4096 buckets")?;
        self.records.iter().try_for_each(Record::validate)?;
        let sorted = self.records.is_sorted_by(|a, b| a.bucket() < b.bucket());
        ensure(sorted, "the records are not sorted by bucket")?;
        let simulated = |point: &Point| point.conditions.simulated_profile.is_some();
        let mut points = self.records.iter().flat_map(|record| &record.front);
        ensure(
            points.all(|point| simulated(point) == self.device.simulated),
            "a real device has simulated figures, or a simulated device has measured ones",
        )
    }
}

impl Validate for Record {
    fn validate(&self) -> Result<(), Invalid> {
        validate_bucket(&self.sizes, &self.specialisation)?;
        validate_front(self.front.iter())?;
        let programs: BTreeSet<_> = self.front.iter().map(|point| &point.program).collect();
        ensure(programs.len() == self.front.len(), "a program is on the front twice")?;
        ensure(self.rejected.len() <= 4096, "more than 4096 rejected candidates")?;
        self.rejected.iter().try_for_each(Validate::validate)?;
        ensure(
            self.statistics.seconds.is_finite() && self.statistics.seconds >= 0.0,
            "the duration is not a length of time",
        )?;
        ensure(
            self.statistics.prediction_error.is_finite() && self.statistics.prediction_error >= 0.0,
            "the prediction error is not zero or a positive number",
        )
    }
}

/// Checks that a bucket's kernels accept the sizes that it was tuned for.
pub(super) fn validate_bucket(sizes: &[u64], specialisation: &Specialisation) -> Result<(), Invalid> {
    ensure(sizes.len() <= 64, "more than 64 sizes")?;
    let alignments = specialisation.extents.iter().all(|extent| match extent {
        Extent::Fixed(_) => true,
        Extent::Any { multiple_of } | Extent::AtMost { multiple_of, .. } => [1, 2, 4, 8, 16].contains(multiple_of),
    });
    ensure(alignments, "a size's alignment is not 1, 2, 4, 8 or 16")?;
    ensure(
        specialisation.accepts(sizes),
        "the kernels do not accept the sizes that they were tuned for",
    )
}
