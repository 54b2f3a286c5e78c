//! Sets of axes.

use crate::ir::AxisId;

/// A set of axes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct AxisSet(Vec<AxisId>);

impl AxisSet {
    /// Iterates over the axes in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = AxisId> + '_ {
        self.0.iter().copied()
    }

    /// `true` if the axis is in the set.
    pub fn contains(&self, axis: AxisId) -> bool {
        self.0.binary_search(&axis).is_ok()
    }

    /// `true` if the set is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn insert(&mut self, axis: AxisId) {
        if let Err(at) = self.0.binary_search(&axis) {
            self.0.insert(at, axis);
        }
    }

    pub(super) fn extend(&mut self, other: &AxisSet) {
        other.iter().for_each(|axis| self.insert(axis));
    }

    pub(super) fn remove(&mut self, axis: AxisId) {
        if let Ok(at) = self.0.binary_search(&axis) {
            self.0.remove(at);
        }
    }
}
