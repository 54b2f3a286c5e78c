//! The order of records for the same bucket. The greatest record is used.
//!
//! It is a total order. Builds, the command, merges and the runtime all use it, so they agree in whatever order they read records. The
//! content decides last, so only identical records are equal.

use super::front::Point;
use std::cmp::{Ordering, Reverse};
use std::collections::BTreeSet;

/// The rank of a record among others for its bucket. The greatest is used, and the first difference decides.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Standing {
    /// `true` if the compiler still emits the measured kernels. Figures of stale kernels are withheld.
    pub fresh: bool,
    /// All other criteria.
    pub merits: Merits,
}

/// The criteria that need no compilation. The first difference decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merits {
    /// The version of the searched schedule space.
    space_version: u32,
    /// `(all, any)`: whether all intended energies were measured, and whether any was. So a search that ended early does not replace a
    /// complete one.
    energies: (bool, bool),
    /// The number of different flags on its figures. Fewer are better.
    doubts: Reverse<usize>,
    /// The date of the measurement. `None` for a date in the future, because the age is unknown if a clock was wrong.
    measured_at: Option<u64>,
    /// The SHA-256 of the record.
    content: [u8; 32],
}

/// The first criterion by which one record prevails over another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advantage {
    /// The compiler still emits its kernels.
    Fresh,
    /// It comes from a newer schedule space.
    Space,
    /// It has energies that the other lacks.
    Energies,
    /// Its figures have fewer flags.
    Doubts,
    /// It was measured later.
    Later,
    /// The order of their hashes alone.
    Content,
}

impl Advantage {
    /// The predicate about the record that prevails, for messages: `has energies that this one lacks`.
    pub const fn explanation(self) -> &'static str {
        match self {
            Advantage::Fresh => "belongs to kernels that the compiler still emits",
            Advantage::Space => "comes from a newer schedule space",
            Advantage::Energies => "has energies that this one lacks",
            Advantage::Doubts => "has fewer doubts (throttling, a moving clock, another process on the GPU, …)",
            Advantage::Later => "was measured later",
            Advantage::Content => "is as good",
        }
    }
}

impl Merits {
    /// Returns the merits of a record or an embedded bucket. Times are in seconds since 1970.
    pub fn new<'a>(
        space_version: u32,
        energy_measured: bool,
        front: impl Iterator<Item = &'a Point> + Clone,
        (measured_at, now): (u64, u64),
        content: [u8; 32],
    ) -> Merits {
        let doubts: BTreeSet<_> = front
            .clone()
            .flat_map(|point| point.conditions.flags.iter().copied())
            .collect();
        Merits {
            space_version,
            energies: (energy_measured, front.clone().any(|point| point.energy.is_some())),
            doubts: Reverse(doubts.len()),
            measured_at: (measured_at <= now).then_some(measured_at),
            content,
        }
    }

    /// `(all, any)`: `all` is `true` if all intended energies were measured, `any` if one point has an energy.
    pub fn energies(&self) -> (bool, bool) {
        self.energies
    }

    /// The date of the measurement in seconds since 1970; `None` for a date in the future.
    pub fn measured_at(&self) -> Option<u64> {
        self.measured_at
    }

    /// Compares by each criterion, the most important first.
    fn differences(&self, other: &Merits) -> [(Advantage, Ordering); 5] {
        [
            (Advantage::Space, self.space_version.cmp(&other.space_version)),
            (Advantage::Energies, self.energies.cmp(&other.energies)),
            (Advantage::Doubts, self.doubts.cmp(&other.doubts)),
            (Advantage::Later, self.measured_at.cmp(&other.measured_at)),
            (Advantage::Content, self.content.cmp(&other.content)),
        ]
    }
}

impl Ord for Merits {
    fn cmp(&self, other: &Merits) -> Ordering {
        let differences = self.differences(other);
        differences
            .iter()
            .fold(Ordering::Equal, |before, (_, order)| before.then(*order))
    }
}

impl PartialOrd for Merits {
    fn partial_cmp(&self, other: &Merits) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Standing {
    /// Returns the criterion by which this record prevails over the other. `None` if it does not prevail.
    pub fn advantage_over(&self, other: &Standing) -> Option<Advantage> {
        let fresh = (Advantage::Fresh, self.fresh.cmp(&other.fresh));
        let mut differences = std::iter::once(fresh).chain(self.merits.differences(&other.merits));
        let (advantage, order) = differences.find(|(_, order)| order.is_ne())?;
        order.is_gt().then_some(advantage)
    }
}

/// `true` if the first of two prevails by its [`Standing`]. The one with better merits prevails unless it is stale, so `stale` is rarely
/// called twice.
pub(super) fn prevails<T>(a: (&T, &Merits), b: (&T, &Merits), stale: impl Fn(&T) -> bool) -> bool {
    match a.1.cmp(b.1) {
        Ordering::Equal => false,
        Ordering::Greater => !stale(a.0) || stale(b.0),
        Ordering::Less => stale(b.0) && !stale(a.0),
    }
}
