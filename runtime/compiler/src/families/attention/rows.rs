//! The rows of queries: a row is a place along the positions that keys and values have not, and one of the heads that share keys.

use super::shape::{AttentionShape, GroupSize};
use crate::families::formula::{Place, Symbol};
use crate::ir::SizeId;
use crate::lower::Error;
use crate::lower::expression::{Binding, Lowering};
use crate::lower::grid::volume_formula;
use crate::lower::index::Linear;
use crate::ptx::{Opcode, Reg};
use crate::size::{SizeExpr, SizeOp, Specialisation};

/// The values of the symbols in places.
#[derive(Debug, Clone)]
pub(super) struct Coordinates {
    /// Coordinates along each position of the output.
    pub outputs: Vec<Linear>,
    /// The key.
    pub key: Option<Binding>,
    /// The feature.
    pub feature: Option<Linear>,
}

impl Coordinates {
    /// Binds the axes of a place.
    ///
    /// # Errors
    /// The place has an axis that stands for nothing here.
    pub fn bind(&self, lowering: &mut Lowering<'_>, place: &Place) -> Result<(), Error> {
        for &(axis, symbol) in &place.axes {
            let binding = match symbol {
                Symbol::Output(position) => self.outputs.get(position).cloned().map(Binding::of),
                Symbol::Lane(_) => self.key.clone(),
                Symbol::Inner(_) => self.feature.clone().map(Binding::of),
            };
            lowering.bind(axis, binding.ok_or(Error::Unbound)?);
        }
        Ok(())
    }

    pub fn with_key(&self, key: Binding) -> Coordinates {
        Coordinates {
            key: Some(key),
            ..self.clone()
        }
    }

    pub fn with_feature(&self, feature: Linear) -> Coordinates {
        Coordinates {
            feature: Some(feature),
            ..self.clone()
        }
    }
}

/// A block's batch, and the rows there are in it.
pub(super) struct Rows {
    /// The batch's coordinates: the first head of its group, and 0 for rows and the column.
    pub batch: Vec<Linear>,
    /// Positions of rows, with their extents.
    positions: Vec<(usize, Linear)>,
    group: Option<HeadGroup>,
    /// The number of rows.
    pub total: Linear,
}

/// The heads of a block.
struct HeadGroup {
    position: usize,
    /// The number that share keys.
    size: Linear,
    /// All heads.
    heads: Linear,
    /// `true` if they share keys without a remainder.
    whole: bool,
}

/// One row: where it is, and where it exists.
pub(super) struct Row {
    pub at: Coordinates,
    /// None if it certainly does.
    pub exists: Option<Reg>,
}

impl Rows {
    /// The rows of a batch with that number.
    pub fn of_batch(lowering: &mut Lowering<'_>, shape: &AttentionShape, number: &Linear) -> Rows {
        let dims = lowering.op().outputs[0].dims.clone();
        let group = shape.group.map(|group| {
            let heads = lowering.size(dims[group.position]);
            let size = group_size(lowering, group.size);
            let whole = match (heads.as_constant(), size.as_constant()) {
                (Some(heads), Some(size)) => heads % size == 0,
                _ => false,
            };
            HeadGroup {
                position: group.position,
                size,
                heads,
                whole,
            }
        });
        let mut extents: Vec<Linear> = shape.batch.iter().map(|&at| lowering.size(dims[at])).collect();
        if let Some(group) = &group {
            extents.push(groups(lowering, group));
        }
        let places = lowering.math.coordinates(&mut lowering.b, number, &extents);
        let mut batch = vec![Linear::constant(0); dims.len()];
        for (&position, place) in shape.batch.iter().zip(&places) {
            batch[position] = place.clone();
        }
        if let (Some(group), Some(place)) = (&group, places.last()) {
            batch[group.position] = lowering.math.product(&mut lowering.b, place, &group.size);
        }
        let positions: Vec<(usize, Linear)> = shape.rows.iter().map(|&at| (at, lowering.size(dims[at]))).collect();
        let own = group.iter().map(|group| &group.size);
        let total = positions.iter().map(|(_, extent)| extent).chain(own);
        let total: Vec<Linear> = total.cloned().collect();
        let total = total.iter().fold(Linear::constant(1), |volume, extent| {
            lowering.math.product(&mut lowering.b, &volume, extent)
        });
        Rows {
            batch,
            positions,
            group,
            total,
        }
    }

    /// The row with that number; one that does not exist lies where the last one does.
    pub fn row(&self, lowering: &mut Lowering<'_>, number: &Linear, tile: u32) -> Row {
        let fits = (self.total.as_constant()).is_some_and(|total| total % i64::from(tile) == 0);
        let (inside, mut exists) = match fits {
            true => (number.clone(), None),
            false => (
                lowering.clamped(number, &self.total),
                Some(lowering.below(number, &self.total)),
            ),
        };
        let mut extents: Vec<Linear> = self.positions.iter().map(|(_, extent)| extent.clone()).collect();
        extents.extend(self.group.iter().map(|group| group.size.clone()));
        let places = lowering.math.coordinates(&mut lowering.b, &inside, &extents);
        let mut outputs = self.batch.clone();
        for ((position, _), place) in self.positions.iter().zip(&places) {
            outputs[*position] = place.clone();
        }
        if let (Some(group), Some(place)) = (&self.group, places.last()) {
            let head = self.batch[group.position].plus(place);
            outputs[group.position] = if group.whole {
                head
            } else {
                let is_head = lowering.below(&head, &group.heads);
                exists = lowering.both(exists, Some(is_head));
                lowering.clamped(&head, &group.heads)
            };
        }
        let at = Coordinates {
            outputs,
            key: None,
            feature: None,
        };
        Row { at, exists }
    }
}

/// The number of heads that share keys: at least 1, as any quotient by 0 is 0.
fn group_size(lowering: &mut Lowering<'_>, size: GroupSize) -> Linear {
    let size = match size {
        GroupSize::Literal(size) => Linear::constant(size),
        GroupSize::Size(size) => lowering.size(size),
    };
    match size.as_constant() {
        Some(size) => Linear::constant(size.max(1)),
        None => {
            let size = lowering.math.operand(&mut lowering.b, &size);
            Linear::register(lowering.b.op(Opcode::MaxS32, &[size, 1.into()]))
        }
    }
}

/// Groups of heads that share keys.
fn groups(lowering: &mut Lowering<'_>, group: &HeadGroup) -> Linear {
    let rounded = group.heads.plus(&group.size).plus_constant(-1);
    lowering.math.divide(&mut lowering.b, &rounded, &group.size).0
}

/// The numbers of batches and of rows in each, by formula.
pub(super) fn volumes(shape: &AttentionShape, dims: &[SizeId], known: &Specialisation) -> [SizeExpr; 2] {
    let volume = |positions: &[usize]| {
        let sizes: Vec<_> = positions.iter().map(|&position| dims[position]).collect();
        volume_formula(known, &sizes)
    };
    let (batches, rows) = (volume(&shape.batch), volume(&shape.rows));
    let Some(group) = shape.group else {
        return [batches, rows];
    };
    let heads = volume(&[group.position]);
    let size = match group.size {
        GroupSize::Literal(size) => SizeExpr::Const(size),
        GroupSize::Size(size) => volume_formula(known, &[size]),
    };
    let size = size.binary(SizeOp::Max, SizeExpr::Const(1));
    let groups = heads.binary(SizeOp::DivCeil, size.clone());
    [batches.times(groups), rows.times(size)]
}
