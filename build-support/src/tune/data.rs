//! Tensors in host memory, and the random inputs that candidates are measured on.

use super::random::Random;
use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::element::{Element, Numbers};
use energy_kernel_compiler::ir::{AxisId, Expr, ExprId, Op, SizeId, Source};
use energy_kernel_compiler::reference::{Number, stored};

/// A row-major tensor in host memory, or a scalar (an empty shape).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data {
    /// The element type.
    pub element: Element,
    /// Dimensions, slowest first.
    pub shape: Vec<u64>,
    /// The elements, little-endian.
    pub bytes: Vec<u8>,
}

impl Data {
    /// The bytes of the element at a position. `None` outside the tensor.
    pub fn at(&self, position: u64) -> Option<&[u8]> {
        let size = self.element.size() as usize;
        let start = usize::try_from(position).ok()?.checked_mul(size)?;
        self.bytes.get(start..)?.get(..size)
    }

    /// Random elements: normal floats, and integers. Integers are below `bound` if they are used as indices, else small, so that sums do
    /// not overflow.
    fn random(element: Element, shape: Vec<u64>, bound: Option<u64>, random: &mut Random) -> Data {
        let count = shape.iter().product::<u64>();
        let total = (count * u64::from(element.size())) as usize;
        let mut bytes = Vec::with_capacity(total);
        for _ in 0..count.min(PERIOD) {
            let integer = |random: &mut Random, least: i64, most: i64| match bound {
                Some(bound) => random.below(bound.min(most.unsigned_abs() + 1)) as i64,
                None => least.max(-8) + random.below(16 - (least.max(-8) + 8) as u64) as i64,
            };
            let number = match element.numbers() {
                Numbers::Float(_) => Number::Float(random.normal()),
                Numbers::Integer(format) => Number::Integer(integer(random, format.smallest(), format.largest())),
                Numbers::Truth => Number::Bool(random.below(2) == 1),
            };
            bytes.extend(stored(element, number));
        }
        while bytes.len() < total {
            bytes.extend_from_within(..bytes.len().min(total - bytes.len()));
        }
        Data { element, shape, bytes }
    }
}

/// The period, in elements, after which a tensor repeats itself. It is a prime, so that rows differ. Drawing more numbers would take an
/// unoptimised build script longer than measuring.
const PERIOD: u64 = 1_048_573;

/// The most bytes of inputs and outputs of a measurement.
const MOST_BYTES: u64 = 16 << 30;

/// Random inputs of an operator, the same for the same seed: one for each of its parameters.
///
/// # Errors
/// Inputs and outputs together exceed [`MOST_BYTES`].
pub(crate) fn inputs(checked: &Checked, sizes: &[u64], seed: u64) -> Result<Vec<Data>, String> {
    let bytes = bytes(checked, sizes);
    if bytes > MOST_BYTES {
        return Err(format!(
            "its tensors have {bytes} bytes; the tuner measures with {MOST_BYTES} at most"
        ));
    }
    let op = checked.op();
    let mut random = Random::new(seed);
    let made = op.inputs.iter().zip(index_bounds(op, sizes)).map(|(input, bound)| {
        let dims = input.dims.as_deref().unwrap_or(&[]);
        Data::random(input.element, shape(dims, sizes), bound, &mut random)
    });
    Ok(made.collect())
}

/// The bytes of an operator's inputs and outputs.
pub(crate) fn bytes(checked: &Checked, sizes: &[u64]) -> u64 {
    let op = checked.op();
    let inputs = op
        .inputs
        .iter()
        .map(|input| (input.element, input.dims.as_deref().unwrap_or(&[])));
    let outputs = op.outputs.iter().map(|output| (output.element, output.dims.as_slice()));
    inputs
        .chain(outputs)
        .map(|(element, dims)| volume(dims, sizes).saturating_mul(u64::from(element.size())))
        .fold(0, u64::saturating_add)
}

/// The extents of dimensions.
pub(crate) fn shape(dims: &[SizeId], sizes: &[u64]) -> Vec<u64> {
    dims.iter()
        .map(|size| sizes.get(size.index()).copied().unwrap_or(0))
        .collect()
}

/// The number of elements of a tensor.
pub(crate) fn volume(dims: &[SizeId], sizes: &[u64]) -> u64 {
    shape(dims, sizes).into_iter().fold(1, u64::saturating_mul)
}

/// The approximate number of operations that any kernel needs: each expression per value, intermediate tensors computed once.
pub(crate) fn operations(checked: &Checked, sizes: &[u64]) -> f64 {
    let op = checked.op();
    let extent = |axes: &[AxisId]| -> f64 {
        let extents = axes
            .iter()
            .map(|&axis| sizes.get(checked.extent(axis).index()).copied().unwrap_or(1));
        extents.map(|extent| extent as f64).product()
    };
    let mut costs: Vec<f64> = Vec::with_capacity(op.exprs.len());
    for (number, expr) in op.exprs.iter().enumerate() {
        let mut operands = 0.0;
        // Children stand before their parents.
        op.operands(ExprId(number as u32), |operand| operands += costs[operand.index()]);
        costs.push(match expr {
            Expr::Reduce { axes, .. } => extent(axes) * (1.0 + operands),
            _ => 1.0 + operands,
        });
    }
    let lets = op.lets.iter().map(|each| extent(&each.axes) * costs[each.body.index()]);
    let outputs = op
        .outputs
        .iter()
        .map(|output| extent(&output.axes) * costs[output.body.index()]);
    lets.chain(outputs).sum()
}

/// For each input whose values are used as indices: the smallest dimension that they index.
fn index_bounds(op: &Op, sizes: &[u64]) -> Vec<Option<u64>> {
    let mut bounds: Vec<Option<u64>> = vec![None; op.inputs.len()];
    for expr in &op.exprs {
        let Expr::Read {
            source: Source::Input(source),
            index,
            ..
        } = expr
        else {
            continue;
        };
        let shape = shape(op.inputs[source.index()].dims.as_deref().unwrap_or(&[]), sizes);
        for (&at, extent) in index.iter().zip(shape) {
            each_value(op, at, &mut |input| {
                bounds[input] = Some(bounds[input].unwrap_or(u64::MAX).min(extent));
            });
        }
    }
    bounds
}

/// Visits the inputs whose values an index is made of. Inputs that index those have a bound of their own.
fn each_value(op: &Op, index: ExprId, visit: &mut impl FnMut(usize)) {
    match op.expr(index) {
        Expr::Read {
            source: Source::Input(input),
            ..
        }
        | Expr::Scalar(input) => visit(input.index()),
        Expr::Read { .. } => {}
        _ => op.operands(index, |operand| each_value(op, operand, visit)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tune::testing::operator;

    #[test]
    fn gathered_indices_are_in_range_and_everything_else_is_normal() {
        let embed = operator(
            "tune(V = 10, D = 8, T = 100)",
            "fn embed(table: Tensor<f32, (V, D)>, ids: Tensor<i32, (T,)>, scale: f16) -> Tensor<f32, (T, D)> {
                |t, d| table[[ids[[t]], d]] * scale
            }",
        );
        let names: Vec<&str> = embed.checked.op().sizes.iter().map(|size| size.name.as_str()).collect();
        assert_eq!(names, ["V", "D", "T"]);
        let made = inputs(&embed.checked, &[10, 8, 100], 1).unwrap();
        let ids: Vec<i32> = made[1]
            .bytes
            .chunks_exact(4)
            .map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        assert_eq!(ids.len(), 100);
        assert!(ids.iter().all(|id| (0..10).contains(id)) && ids.contains(&9) && ids.contains(&0));
        assert_eq!((made[0].shape.as_slice(), made[2].bytes.len()), ([10, 8].as_slice(), 2));
        assert_eq!(made, inputs(&embed.checked, &[10, 8, 100], 1).unwrap());
        assert_ne!(made, inputs(&embed.checked, &[10, 8, 100], 2).unwrap());
    }

    #[test]
    fn operations_multiply_over_axes_and_add_up_over_tensors() {
        let softmax = operator(
            "tune(R = 10, C = 100)",
            "fn f(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R, C)> {
                let total = |r| sum(|c| x[[r, c]]);
                |r, c| x[[r, c]] / total[[r]]
            }",
        );
        let twice = operations(&softmax.checked, &[20, 100]) / operations(&softmax.checked, &[10, 100]);
        assert!((twice - 2.0).abs() < 1e-9);
        assert!((2000.0..20_000.0).contains(&operations(&softmax.checked, &[10, 100])));
    }

    #[test]
    fn tensors_beyond_measure_are_refused() {
        let copy = operator(
            "tune(N = 8)",
            "fn copy(x: Tensor<f64, (N,)>) -> Tensor<f64, (N,)> { |n| x[[n]] }",
        );
        assert!(inputs(&copy.checked, &[1 << 31], 1).is_err());
        assert!(inputs(&copy.checked, &[u64::MAX], 1).is_err());
    }

    #[test]
    fn large_tensors_repeat_themselves() {
        let copy = operator(
            "tune(N = 8)",
            "fn copy(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> { |n| x[[n]] }",
        );
        let count = 2 * PERIOD + 1000;
        let made = inputs(&copy.checked, &[count], 1).unwrap().remove(0);
        assert_eq!(made.bytes.len() as u64, 4 * count);
        for position in [0, 999, PERIOD - 1] {
            assert_eq!(made.at(position), made.at(position + PERIOD));
        }
        assert_eq!(made.at(5), made.at(5 + 2 * PERIOD));
        assert_ne!(made.at(0), made.at(1));
    }

    #[test]
    fn small_integers_of_both_signs() {
        let add = operator(
            "tune(N = 8)",
            "fn add(x: Tensor<i8, (N,)>, y: Tensor<u8, (N,)>) -> Tensor<i32, (N,)> { |n| x[[n]] + y[[n]] }",
        );
        let made = inputs(&add.checked, &[1000], 1).unwrap();
        let signed: Vec<i8> = made[0].bytes.iter().map(|&byte| byte as i8).collect();
        assert_eq!((signed.iter().min(), signed.iter().max()), (Some(&-8), Some(&7)));
        assert_eq!(
            (made[1].bytes.iter().min(), made[1].bytes.iter().max()),
            (Some(&0), Some(&7))
        );
    }
}
