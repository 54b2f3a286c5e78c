//! The roles of axes in sums that are computed in tiles: which dimension of the outputs, or of the terms, each stands for.

use crate::families::formula::Symbol;
use crate::ir::AxisId;

/// The axes that stand for each dimension.
pub(crate) struct Roles {
    /// Axes of the outputs, by position.
    pub outputs: Vec<Vec<AxisId>>,
    /// Axes of the terms, slowest first.
    pub depth: Vec<Vec<AxisId>>,
}

impl Roles {
    /// Outputs and terms of so many dimensions.
    pub fn new(outputs: usize, terms: usize) -> Roles {
        Roles {
            outputs: vec![Vec::new(); outputs],
            depth: vec![Vec::new(); terms],
        }
    }

    /// Takes note of what an axis stands for. None if it already stands for something else. What an axis of an inner reduction stands for must be
    /// known.
    pub fn stands_for(&mut self, axis: AxisId, symbol: Symbol) -> Option<()> {
        let symbol = match symbol {
            Symbol::Inner(inner) => self.symbol(inner)?,
            other => other,
        };
        match self.symbol(axis) {
            Some(known) => (known == symbol).then_some(()),
            None => {
                match symbol {
                    Symbol::Output(position) => self.outputs.get_mut(position)?.push(axis),
                    Symbol::Lane(position) => self.depth.get_mut(position)?.push(axis),
                    Symbol::Inner(_) => return None,
                }
                Some(())
            }
        }
    }

    /// The dimension that an axis stands for, if that is known.
    pub fn symbol(&self, axis: AxisId) -> Option<Symbol> {
        let among = |all: &[Vec<AxisId>]| all.iter().position(|axes| axes.contains(&axis));
        let output = among(&self.outputs).map(Symbol::Output);
        output.or_else(|| among(&self.depth).map(Symbol::Lane))
    }
}
