//! The weights of keys, by their scores.

/// The weight of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weighting {
    /// `exp(score − max score)`
    Softmax,
    /// The score itself.
    Score,
}

impl Weighting {
    /// The score whose weight is 0: that of a key that a row does not see.
    pub const fn unseen(self) -> f32 {
        match self {
            Weighting::Softmax => f32::NEG_INFINITY,
            Weighting::Score => 0.0,
        }
    }
}
