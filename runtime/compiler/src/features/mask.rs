//! Sets of lanes.

use super::form::LANES;

/// Bounds on a set of lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mask {
    /// The lanes that are certainly in the set.
    pub surely: u32,
    /// The lanes that may be in the set.
    pub possibly: u32,
}

impl Mask {
    pub const UNKNOWN: Mask = Mask {
        surely: 0,
        possibly: u32::MAX,
    };

    pub const fn exactly(lanes: u32) -> Mask {
        Mask {
            surely: lanes,
            possibly: lanes,
        }
    }

    pub fn exact(self) -> Option<u32> {
        (self.surely == self.possibly).then_some(self.surely)
    }

    pub fn and(self, other: Mask) -> Mask {
        Mask {
            surely: self.surely & other.surely,
            possibly: self.possibly & other.possibly,
        }
    }

    pub fn or(self, other: Mask) -> Mask {
        Mask {
            surely: self.surely | other.surely,
            possibly: self.possibly | other.possibly,
        }
    }

    pub fn not(self) -> Mask {
        Mask {
            surely: !self.possibly,
            possibly: !self.surely,
        }
    }

    pub fn xor(self, other: Mask) -> Mask {
        self.and(other.not()).or(self.not().and(other))
    }
}

/// Returns the lanes whose value satisfies a condition.
pub(super) fn lanes_where(values: &[i64; LANES], holds: impl Fn(i64) -> bool) -> u32 {
    values
        .iter()
        .enumerate()
        .fold(0, |mask, (lane, &value)| mask | u32::from(holds(value)) << lane)
}
