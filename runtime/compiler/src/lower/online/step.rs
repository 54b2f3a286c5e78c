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
    /// The step at a chunk of elements. The thread's lanes are neighbouring outputs (`across`), or else `vector` neighbours along the walk.
    pub fn of(
        lowering: &mut Lowering<'_>,
        extents: &[Linear],
        number: u32,
        chunk: Linear,
        guard: Option<Reg>,
        across: Option<Lanes>,
        vector: u32,
    ) -> Step {
        let mut coordinates = lowering.math.coordinates(&mut lowering.b, &chunk, extents);
        let mut lanes = across;
        if let (None, Some(last)) = (across, coordinates.last_mut()) {
            // Steps of one turn differ by a constant, which goes into the addresses.
            let (register, constant) = match last.terms() {
                &[(register, 1)] => (register, last.constant_part()),
                _ => (lowering.math.register(&mut lowering.b, last), 0),
            };
            lanes = Some(Lanes {
                register,
                width: vector,
            });
            *last = Linear::register(register).plus_constant(constant).times(vector.into());
        }
        Step {
            number,
            chunk,
            coordinates,
            lanes: lanes.filter(|lanes| lanes.width > 1),
            guard,
        }
    }

    /// Binds an axis to the coordinate that a lane has in a dimension of the walk.
    pub fn bind(&self, lowering: &mut Lowering<'_>, axis: AxisId, dimension: usize, lane: u32) {
        let fastest = dimension + 1 == self.coordinates.len();
        let value = self.coordinates[dimension].plus_constant(if fastest { lane.into() } else { 0 });
        let guard = self.guard;
        lowering.bind(axis, Binding { value, guard });
    }
}
