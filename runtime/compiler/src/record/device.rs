//! Device classes: the GPUs that a measurement is valid for.

use super::encoding::{Invalid, Validate, ensure, ensure_text};
use super::fingerprint::hexadecimal;
use crate::target::Machine;
use bincode::{Decode, Encode};
use sha2::{Digest, Sha256};
use std::fmt::{Display, Formatter};

/// A class of GPUs that are expected to behave alike. It does not contain the device's index, which may change.
///
/// Memory is compared in whole GiB, because drivers reserve slightly different amounts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct DeviceClass {
    /// The driver's name for the GPU, or the emulated device's profile.
    pub name: String,
    /// Major and minor: (9, 0) for Hopper.
    pub compute_capability: (u32, u32),
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
    /// Total memory, in bytes.
    pub memory_bytes: u64,
    /// `true` if figures of this device are simulated. Simulated and real devices never match.
    pub simulated: bool,
}

/// How well the records of one device class fit another. Better matches are smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Match {
    /// The same class.
    Same,
    /// The same name and compute capability, but other multiprocessors or memory.
    Model,
    /// Only the same compute capability: borrowed.
    Borrowed,
}

impl Match {
    /// The text in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Match::Same => "same device class",
            Match::Model => "same model",
            Match::Borrowed => "borrowed from another GPU of the same compute capability",
        }
    }
}

impl DeviceClass {
    /// Returns how well records of `self` fit `device`. `None` if they must not be used on it.
    pub fn matches(&self, device: &DeviceClass) -> Option<Match> {
        if self.simulated != device.simulated || self.compute_capability != device.compute_capability {
            return None;
        }
        let same_name = self.name == device.name;
        let same_size = self.multiprocessors == device.multiprocessors && self.memory_gib() == device.memory_gib();
        Some(match (same_name, same_size) {
            (true, true) => Match::Same,
            (true, false) => Match::Model,
            (false, _) => Match::Borrowed,
        })
    }

    /// Returns the machine with the documented limits of its compute capability, for builds without the device. `None` below 8.0. A program
    /// that runs on the device takes the limits from its driver.
    pub fn machine(&self) -> Option<Machine> {
        Machine::documented(self.compute_capability, self.multiprocessors)
    }

    /// The memory in GiB, rounded.
    pub fn memory_gib(&self) -> u64 {
        const GIB: u64 = 1 << 30;
        self.memory_bytes / GIB + u64::from(self.memory_bytes % GIB >= GIB / 2)
    }

    /// Returns a text that is equal for devices of the same class and different for others.
    pub fn key(&self) -> String {
        let (major, minor) = self.compute_capability;
        format!(
            "{}{}|{major}.{minor}|{}|{}",
            if self.simulated { "simulated " } else { "" },
            self.name,
            self.multiprocessors,
            self.memory_gib()
        )
    }

    /// Returns the key as a part of a file name: readable, portable, and distinct for distinct classes.
    pub fn file_stem(&self) -> String {
        let mut name = String::new();
        for c in self.name.chars().take(48) {
            if c.is_ascii_alphanumeric() {
                name.push(c.to_ascii_lowercase());
            } else if !name.is_empty() && !name.ends_with('-') {
                name.push('-');
            }
        }
        let (major, minor) = self.compute_capability;
        let simulated = if self.simulated { "simulated-" } else { "" };
        let digest = hexadecimal(&Sha256::digest(self.key())[..4]);
        format!("{simulated}{}-sm{major}{minor}-{digest}", name.trim_end_matches('-'))
    }
}

impl Display for DeviceClass {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let (major, minor) = self.compute_capability;
        let simulated = if self.simulated { "simulated " } else { "" };
        write!(
            f,
            "{simulated}{} (compute capability {major}.{minor}, {} multiprocessors, {} GiB)",
            self.name,
            self.multiprocessors,
            self.memory_gib()
        )
    }
}

impl Validate for DeviceClass {
    fn validate(&self) -> Result<(), Invalid> {
        ensure_text(&self.name, "the device's name")?;
        ensure(!self.name.is_empty(), "the device has no name")?;
        let (major, minor) = self.compute_capability;
        ensure(major <= 99 && minor <= 9, "the compute capability does not exist")?;
        ensure(
            (1..=100_000).contains(&self.multiprocessors),
            "the number of multiprocessors is out of range",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str, capability: (u32, u32), multiprocessors: u32, gib: u64, simulated: bool) -> DeviceClass {
        DeviceClass {
            name: name.into(),
            compute_capability: capability,
            multiprocessors,
            memory_bytes: gib << 30,
            simulated,
        }
    }

    #[test]
    fn ranks_are_ordered_and_simulation_stays_apart() {
        let own = device("NVIDIA H200", (9, 0), 132, 140, false);
        let reserved = DeviceClass {
            memory_bytes: own.memory_bytes - 300_000_000,
            ..own.clone()
        };
        let smaller = DeviceClass {
            multiprocessors: 114,
            ..own.clone()
        };
        let other = device("NVIDIA H100 PCIe", (9, 0), 114, 80, false);
        let older = device("NVIDIA A100", (8, 0), 108, 40, false);
        let simulated = DeviceClass {
            simulated: true,
            ..own.clone()
        };
        assert_eq!(reserved.matches(&own), Some(Match::Same));
        assert_eq!(smaller.matches(&own), Some(Match::Model));
        assert_eq!(other.matches(&own), Some(Match::Borrowed));
        assert_eq!(older.matches(&own), None);
        assert_eq!(simulated.matches(&own), None);
        assert_eq!(own.matches(&simulated), None);
        assert_eq!(simulated.matches(&simulated), Some(Match::Same));
        assert!(Match::Same < Match::Model && Match::Model < Match::Borrowed);
    }

    #[test]
    fn file_names_are_portable_and_distinct() {
        let a = device("NVIDIA GeForce RTX 4090 (Ti/é)", (8, 9), 128, 24, false);
        let b = DeviceClass {
            multiprocessors: 127,
            ..a.clone()
        };
        let c = DeviceClass {
            simulated: true,
            ..a.clone()
        };
        let stems = [a.file_stem(), b.file_stem(), c.file_stem()];
        assert!(stems[0].starts_with("nvidia-geforce-rtx-4090-ti-sm89-"), "{}", stems[0]);
        assert!(stems[2].starts_with("simulated-nvidia"));
        for stem in &stems {
            assert!(
                stem.chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
                "{stem}"
            );
        }
        assert!(stems[0] != stems[1] && stems[0] != stems[2]);
    }
}
