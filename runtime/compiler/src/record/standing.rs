//! Which of two records for one bucket is used.
//!
//! A total order, and the only one: builds, the command, merges and the runtime all use it, so they agree, whatever they meet
//! first. A record that says the same is the same; any two others differ in their content at least.

use super::front::Point;
use std::cmp::{Ordering, Reverse};
use std::collections::BTreeSet;

/// How a record stands among others for its bucket. The greater is used; the first difference decides.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Standing {
    /// `true` if the compiler still emits the kernels that were measured. The figures of others are withheld.
    pub fresh: bool,
    /// What else speaks for it.
    pub merits: Merits,
}

/// What speaks for a record, but for whether it is fresh, which only compiling tells. The first [difference](Merits::differences)
/// decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merits {
    /// The version of the space of schedules that was searched.
    space_version: u32,
    /// All energies that were meant to be measured, then any: a budget that ended early does not undo what was measured.
    energies: (bool, bool),
    /// How many kinds of doubt its figures are under.
    doubts: Reverse<usize>,
    /// When it was measured. None for a date that is yet to come: the clock was wrong, and nothing is known of its age.
    measured_at: Option<u64>,
    /// The hash of what it says.
    content: [u8; 32],
}

/// Why one record rather than another is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advantage {
    /// Its kernels are those that the compiler emits now.
    Fresh,
    /// It comes of a newer space of schedules.
    Space,
    /// It has energies that the other lacks.
    Energies,
    /// Its figures are under fewer doubts.
    Doubts,
    /// It was measured later.
    Later,
    /// Nothing but the order of their hashes.
    Content,
}

impl Advantage {
    /// How messages put it, after "the earlier result": `has energies that this one lacks`.
    pub const fn explanation(self) -> &'static str {
        match self {
            Advantage::Fresh => "is of kernels that the compiler still emits",
            Advantage::Space => "comes of a newer space of schedules",
            Advantage::Energies => "has energies that this one lacks",
            Advantage::Doubts => "has fewer doubts (throttling, a moving clock, another process on the GPU, …)",
            Advantage::Later => "was measured later",
            Advantage::Content => "is as good, and comes first",
        }
    }
}

impl Merits {
    /// Of a record or an embedded bucket. Times are in seconds since 1970.
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

    /// How much is known of energy: all that was meant to be measured, before some, before none.
    pub fn energies(&self) -> (bool, bool) {
        self.energies
    }

    /// When it was measured, in seconds since 1970; none for a date that is yet to come.
    pub fn measured_at(&self) -> Option<u64> {
        self.measured_at
    }

    /// How this one compares with another, what matters most first.
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
    /// Why this one is used rather than the other; none if it is not, or says the same.
    pub fn advantage_over(&self, other: &Standing) -> Option<Advantage> {
        let fresh = (Advantage::Fresh, self.fresh.cmp(&other.fresh));
        let mut differences = std::iter::once(fresh).chain(self.merits.differences(&other.merits));
        let (advantage, order) = differences.find(|(_, order)| order.is_ne())?;
        order.is_gt().then_some(advantage)
    }
}

/// Whether the first of two prevails by its [`Standing`]. At most two are looked at for staleness: the better by its merits
/// decides, unless it is stale.
pub(super) fn prevails<T>(a: (&T, &Merits), b: (&T, &Merits), stale: impl Fn(&T) -> bool) -> bool {
    match a.1.cmp(b.1) {
        Ordering::Equal => false,
        Ordering::Greater => !stale(a.0) || stale(b.0),
        Ordering::Less => stale(b.0) && !stale(a.0),
    }
}
