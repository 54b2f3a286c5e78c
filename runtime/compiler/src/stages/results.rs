//! Results that have a stage of their own.
//!
//! Most families compute results of one shape, and `row` those of shapes with equal leading dimensions. Where results have different shapes, a
//! stage for each shape may use any family, and the stages may share a launch: queries and keys of different heads, each rotated.

use super::permuted;
use crate::check::Checked;

/// Results of one shape that have a stage of their own.
#[derive(Debug, Clone, PartialEq)]
pub struct Results {
    /// Their positions among the operator's outputs, ascending.
    pub outputs: Vec<usize>,
    /// The number in a set of what is stored.
    number: u32,
}

impl Results {
    /// The number in a set of what is stored: results come after all expressions and inputs.
    pub fn number(&self) -> u32 {
        self.number
    }
}

/// Returns the results of each shape but the last one, in their order; the last stage computes those of the last shape.
pub fn results(checked: &Checked) -> Vec<Results> {
    let op = checked.op();
    let classes = checked.size_classes();
    let first = first_number(checked);
    let mut shapes: Vec<(Vec<_>, Results)> = Vec::new();
    for (position, output) in op.outputs.iter().enumerate() {
        let shape: Vec<_> = output.dims.iter().map(|size| classes[size.index()]).collect();
        match shapes.iter_mut().find(|(known, _)| *known == shape) {
            Some((_, results)) => results.outputs.push(position),
            None => {
                let results = Results {
                    outputs: vec![position],
                    number: (first + position) as u32,
                };
                shapes.push((shape, results));
            }
        }
    }
    shapes.pop();
    shapes.into_iter().map(|(_, results)| results).collect()
}

/// `true` if these numbers are results' alone.
pub(super) fn alone(checked: &Checked, numbers: &[u32]) -> bool {
    let first = first_number(checked);
    numbers.iter().all(|&number| number as usize >= first)
}

/// The number of the first output: it follows those of inputs.
fn first_number(checked: &Checked) -> usize {
    permuted::numbers(checked).end
}
