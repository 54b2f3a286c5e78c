//! Real boards, through NVML.

use super::board::{Board, BoardState};
use crate::error::{Error, Result};
use nvml_wrapper::Nvml as Library;
use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::enums::device::SampleValue;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::structs::device::FieldId;
use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// NVML's field for power at this moment, in milliwatts.
const INSTANT_POWER: FieldId = FieldId(186);

/// A board known to NVML.
#[derive(Debug)]
pub struct Nvml {
    device: nvml_wrapper::Device<'static>,
    partitioned: Option<bool>,
    start: Instant,
}

fn failed(what: &str) -> impl FnOnce(NvmlError) -> Error {
    move |error| {
        let advice = match error {
            NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound => "; install the driver's NVML library",
            NvmlError::NoPermission => "; run as a user who may read it",
            NvmlError::NotSupported => "; use a board that counts energy (Volta or later)",
            _ => "",
        };
        Error::Energy {
            reason: format!("{what}: {error}{advice}"),
        }
    }
}

/// Returns the library, opened once. After a failure the next call tries again, because it may be installed while a program runs.
fn library() -> Result<&'static Library> {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    if let Some(library) = LIBRARY.get() {
        return Ok(library);
    }
    let library = Library::init().map_err(failed("NVML cannot be used"))?;
    Ok(LIBRARY.get_or_init(|| library))
}

impl Nvml {
    /// Opens the board at an address of the PCI bus, as NVML spells it: `00000000:3B:00.0`.
    ///
    /// # Errors
    /// [`Error::Energy`] without NVML, without a counter, or if the board is partitioned, because the counter is the whole board's.
    pub fn at(bus_id: &str) -> Result<Nvml> {
        let device = library()?
            .device_by_pci_bus_id(bus_id)
            .map_err(failed("NVML does not know the board"))?;
        let partitioned = match device.mig_mode() {
            Ok(mode) => Some(mode.current != 0),
            // This board cannot be partitioned.
            Err(NvmlError::NotSupported) => Some(false),
            Err(error) => {
                tracing::warn!(%error, "NVML does not state if the board is partitioned (MIG)");
                None
            }
        };
        if partitioned == Some(true) {
            return Err(Error::Energy {
                reason:
                    "the board is partitioned (MIG), but its counter covers the whole board; use a board without MIG"
                        .to_owned(),
            });
        }
        let board = Nvml {
            device,
            partitioned,
            start: Instant::now(),
        };
        board.millijoules()?;
        Ok(board)
    }

    /// The driver's version.
    ///
    /// # Errors
    /// [`Error::Energy`] if NVML does not state it.
    pub fn driver(&self) -> Result<String> {
        library()?
            .sys_driver_version()
            .map_err(failed("the driver's version cannot be read"))
    }
}

impl Board for Nvml {
    fn now(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    fn rest(&self, seconds: f64) {
        std::thread::sleep(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    }

    fn millijoules(&self) -> Result<u64> {
        self.device
            .total_energy_consumption()
            .map_err(failed("the energy counter cannot be read"))
    }

    fn instant_watts(&self) -> Option<f64> {
        let values = self.device.field_values_for(&[INSTANT_POWER]).ok()?;
        let milliwatts = match values.into_iter().next()?.ok()?.value.ok()? {
            SampleValue::U32(value) => f64::from(value),
            SampleValue::U64(value) => value as f64,
            SampleValue::I64(value) => value as f64,
            SampleValue::F64(value) => value,
        };
        // It may be 0 if it is polled too fast.
        (milliwatts > 0.0).then_some(milliwatts * 1e-3)
    }

    fn state(&self) -> Result<BoardState> {
        let device = &self.device;
        Ok(BoardState {
            sm_clock_mhz: device.clock_info(Clock::SM).ok(),
            memory_clock_mhz: device.clock_info(Clock::Memory).ok(),
            temperature_celsius: device.temperature(TemperatureSensor::Gpu).ok(),
            power_limit_watts: device
                .enforced_power_limit()
                .ok()
                .map(|milliwatts| f64::from(milliwatts) * 1e-3),
            throttle_reasons: device.current_throttle_reasons().ok().map(|reasons| reasons.bits()),
            foreign_processes: device
                .running_compute_processes()
                .ok()
                .map(|processes| foreign(processes.iter().map(|process| process.pid))),
            partitioned: self.partitioned,
        })
    }
}

/// The number of other processes among these. This process is one of them, because it has a context on the board. Its number is not
/// compared, because it has another one in a container.
fn foreign(processes: impl Iterator<Item = u32>) -> usize {
    processes.collect::<BTreeSet<u32>>().len().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_the_processes_is_this_one() {
        assert_eq!(foreign([].into_iter()), 0);
        assert_eq!(foreign([7, 7].into_iter()), 0);
        assert_eq!(foreign([7, 8, 9].into_iter()), 2);
    }

    #[test]
    fn a_missing_nvml_is_an_error() {
        // A machine with NVML has no board at that address either.
        let error = Nvml::at("FFFFFFFF:FF:FF.0").expect_err("no such board");
        assert!(matches!(error, Error::Energy { .. }), "{error}");
    }
}
