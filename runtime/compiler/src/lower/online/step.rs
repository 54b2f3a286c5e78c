//! A step of a walk over the elements of a row.

use crate::ir::AxisId;
use crate::lower::expression::{Binding, Lanes, Lowering};
use crate::lower::index::Linear;
use crate::ptx::Reg;

/// One step of a walk: `vector` neighbours.
pub(crate) struct Step {
    /// Its number among the steps of a turn.
    pub number: u32,
    /// Counts chunks of `vector` elements.
    pub chunk: Linear,
    /// Where the first element is.
    pub coordinates: Vec<Linear>,
    pub lanes: Option<Lanes>,
    /// Holds where the chunk exists.
    pub guard: Option<Reg>,
}

impl Step {
    /// Binds an axis to the coordinate that a lane has in a dimension of the walk.
    pub fn bind(&self, lowering: &mut Lowering<'_>, axis: AxisId, dimension: usize, lane: u32) {
        let fastest = dimension + 1 == self.coordinates.len();
        let value = self.coordinates[dimension].plus_constant(if fastest { lane.into() } else { 0 });
        let guard = self.guard;
        lowering.bind(axis, Binding { value, guard });
    }
}
