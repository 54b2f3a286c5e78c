//! A range of keys.

use crate::lower::index::Linear;

/// Keys from a first one to an end.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    pub first: Linear,
    pub end: Linear,
}
