//! The measured candidates of one problem.

/// The measured candidates of one problem.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sweep {
    /// The operator and its sizes, as text.
    pub problem: String,
    /// The names of the features.
    pub columns: Vec<String>,
    /// The candidates.
    pub points: Vec<SweepPoint>,
}

/// A measured candidate.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepPoint {
    /// The candidate's name, for display.
    pub label: String,
    /// One value for each column of the sweep.
    pub features: Vec<f64>,
    /// Seconds.
    pub latency: f64,
    /// Joules.
    pub energy: f64,
}
