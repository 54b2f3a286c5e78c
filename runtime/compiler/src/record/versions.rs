//! Format versions of cache files, and the conversion of earlier ones.
//!
//! - 3: counted wrong candidates instead of listing rejected ones, and had one version of the schedule space for the whole file.
//! - 4: had a schedule in place of a program.

use super::cache::{CacheFile, Record, Statistics};
use super::conditions::Conditions;
use super::device::DeviceClass;
use super::encoding::{DecodeError, Document, decode_payload};
use super::fingerprint::Fingerprint;
use super::front::{Estimate, Point};
use super::rejected::{Reason, Rejected};
use crate::schedule::{Program, Schedule};
use crate::size::Specialisation;
use bincode::Decode;

impl Document for CacheFile {
    const KIND: [u8; 4] = *b"CACH";

    const OLDEST: u16 = 3;

    fn convert(version: u16, payload: &[u8]) -> Result<CacheFile, DecodeError> {
        match version {
            3 => decode_payload::<CacheFile3>(payload).map(CacheFile::from),
            4 => decode_payload::<CacheFile4>(payload).map(CacheFile::from),
            found => Err(DecodeError::Version { found }),
        }
    }
}

#[derive(Decode)]
struct CacheFile4 {
    fingerprint: Fingerprint,
    operator: String,
    size_names: Vec<String>,
    device: DeviceClass,
    records: Vec<Record4>,
}

#[derive(Decode)]
struct Record4 {
    sizes: Vec<u64>,
    specialisation: Specialisation,
    front: Vec<Point4>,
    rejected: Vec<Rejected4>,
    statistics: Statistics,
    measured_at: u64,
    energy_measured: bool,
    space_version: u32,
}

#[derive(Decode)]
struct Point4 {
    schedule: Schedule,
    kernel_hash: [u8; 32],
    latency: Estimate,
    energy: Option<Estimate>,
    conditions: Conditions,
}

#[derive(Decode)]
struct Rejected4 {
    schedule: Schedule,
    reason: Reason,
    detail: String,
}

#[derive(Decode)]
struct CacheFile3 {
    fingerprint: Fingerprint,
    operator: String,
    size_names: Vec<String>,
    space_version: u32,
    device: DeviceClass,
    records: Vec<Record3>,
}

#[derive(Decode)]
struct Record3 {
    sizes: Vec<u64>,
    specialisation: Specialisation,
    front: Vec<Point4>,
    statistics: Statistics3,
    measured_at: u64,
    energy_measured: bool,
}

#[derive(Decode)]
struct Statistics3 {
    space: u64,
    compiled: u64,
    /// The count of wrong candidates, whose schedules are unknown.
    _wrong: u64,
    timed: u64,
    energy_measured: u64,
    predicted: u64,
    prediction_error: f64,
    seconds: f64,
    seed: u64,
}

impl From<CacheFile4> for CacheFile {
    fn from(file: CacheFile4) -> CacheFile {
        CacheFile {
            fingerprint: file.fingerprint,
            operator: file.operator,
            size_names: file.size_names,
            device: file.device,
            records: file.records.into_iter().map(Record::from).collect(),
        }
    }
}

impl From<Record4> for Record {
    fn from(record: Record4) -> Record {
        Record {
            sizes: record.sizes,
            specialisation: record.specialisation,
            front: record.front.into_iter().map(Point::from).collect(),
            rejected: record.rejected.into_iter().map(Rejected::from).collect(),
            statistics: record.statistics,
            measured_at: record.measured_at,
            energy_measured: record.energy_measured,
            space_version: record.space_version,
        }
    }
}

impl From<Point4> for Point {
    fn from(point: Point4) -> Point {
        Point {
            program: Program::from(point.schedule),
            kernel_hash: point.kernel_hash,
            latency: point.latency,
            energy: point.energy,
            conditions: point.conditions,
        }
    }
}

impl From<Rejected4> for Rejected {
    fn from(rejected: Rejected4) -> Rejected {
        Rejected {
            program: Program::from(rejected.schedule),
            reason: rejected.reason,
            detail: rejected.detail,
        }
    }
}

impl From<CacheFile3> for CacheFile {
    fn from(file: CacheFile3) -> CacheFile {
        let space_version = file.space_version;
        let record = |record: Record3| record.of_space(space_version);
        CacheFile {
            fingerprint: file.fingerprint,
            operator: file.operator,
            size_names: file.size_names,
            device: file.device,
            records: file.records.into_iter().map(record).collect(),
        }
    }
}

impl Record3 {
    fn of_space(self, space_version: u32) -> Record {
        let Statistics3 {
            space,
            compiled,
            _wrong,
            timed,
            energy_measured,
            predicted,
            prediction_error,
            seconds,
            seed,
        } = self.statistics;
        Record {
            sizes: self.sizes,
            specialisation: self.specialisation,
            front: self.front.into_iter().map(Point::from).collect(),
            rejected: Vec::new(),
            statistics: Statistics {
                space,
                compiled,
                timed,
                energy_measured,
                predicted,
                prediction_error,
                seconds,
                seed,
            },
            measured_at: self.measured_at,
            energy_measured: self.energy_measured,
            space_version,
        }
    }
}
