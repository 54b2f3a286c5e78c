//! Elements of tensors whose loads begin before anything waits for them.

use crate::families::formula::{Formulas, Node, NodeId, Place, Symbol};

/// Adds the elements in a value that suit, and that may be read wherever the axes exist that they depend on. Those inside of a sum are not among
/// them.
pub(super) fn add_loads(formulas: &Formulas<'_>, id: NodeId, suits: impl Fn(NodeId) -> bool, loads: &mut Vec<Place>) {
    let outside = |place: &&Place| place.axes.iter().all(|(_, symbol)| !matches!(symbol, Symbol::Inner(_)));
    for part in formulas.parts(id) {
        if !matches!(formulas.node(part), Node::Read(..)) || !suits(part) {
            continue;
        }
        let place = formulas.places(part).iter().find(outside);
        let free = place.filter(|place| formulas.checked.unconditional(place.expr) && !loads.contains(place));
        loads.extend(free.cloned());
    }
}
