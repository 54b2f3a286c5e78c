//! Format version 3 of cache files: a count of wrong candidates stood where the rejected ones are listed now, and the version of the
//! schedule space was the file's.

use super::cache::{CacheFile, Record, Statistics};
use super::device::DeviceClass;
use super::fingerprint::Fingerprint;
use super::front::Point;
use crate::size::Specialisation;
use bincode::Decode;

#[derive(Decode)]
pub(super) struct CacheFile3 {
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
    front: Vec<Point>,
    statistics: Statistics3,
    measured_at: u64,
    energy_measured: bool,
}

#[derive(Decode)]
struct Statistics3 {
    space: u64,
    compiled: u64,
    /// Their schedules were not kept.
    _wrong: u64,
    timed: u64,
    energy_measured: u64,
    predicted: u64,
    prediction_error: f64,
    seconds: f64,
    seed: u64,
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
            front: self.front,
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
