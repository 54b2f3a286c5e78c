//! The expected results: the CPU reference at sampled outputs, tile edges among them.

use super::backend::OutputIndex;
use super::data::Data;
use super::random::Random;
use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::element::Element;
use energy_kernel_compiler::reference::{Error, Evaluated, Reference, loaded};
use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, Instant};

/// The most output elements that are compared.
const SAMPLES: usize = 4096;

/// The longest time for computing them. Those that are computed by then are compared.
const TIME: Duration = Duration::from_secs(3);

/// The expected values of sampled output elements. Computed once for a size and compared with the results of every candidate.
#[derive(Debug, Clone)]
pub struct Expected {
    indices: Vec<OutputIndex>,
    /// The value at each index.
    values: Vec<Evaluated>,
    /// The element type of each output.
    elements: Vec<Element>,
}

/// How a candidate's results differ from the expected ones.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The number of wrong elements.
    pub wrong: usize,
    /// The number of elements compared.
    pub of: usize,
    /// The element with the largest error.
    pub index: OutputIndex,
    /// The element's value.
    pub found: f64,
    /// The expected value.
    pub expected: f64,
    /// The bound on the error, without the rounding of the result.
    pub bound: f64,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference {
            wrong,
            of,
            index: OutputIndex { output, position },
            found,
            expected,
            bound,
        } = self;
        write!(
            f,
            "{wrong} of {of} elements are wrong, the worst at {position} of output {output}: {found} instead of {expected} ± {bound:e}"
        )
    }
}

impl Expected {
    /// Evaluates the reference at up to 4096 output elements, the same ones for the same seed. It stops early after a few seconds or at
    /// the deadline.
    ///
    /// # Errors
    /// The operator cannot run at these sizes, or on these inputs.
    pub fn compute(
        checked: &Checked,
        sizes: &[u64],
        inputs: &[Data],
        seed: u64,
        deadline: Instant,
    ) -> Result<Expected, Error> {
        let bytes: Vec<&[u8]> = inputs.iter().map(|data| data.bytes.as_slice()).collect();
        let reference = Reference::new(checked, sizes, &bytes)?;
        let mut evaluator = reference.evaluator();
        let outputs = checked.op().outputs.len();
        let mut random = Random::new(seed);
        let mut indices: Vec<(usize, Vec<u64>)> = Vec::new();
        for output in 0..outputs {
            let chosen = coordinates(&reference.shape(output), SAMPLES / outputs, &mut random);
            indices.extend(chosen.into_iter().map(|at| (output, at)));
        }
        // In random order, so that those computed in time are still a fair sample. The ends of each output come first.
        random.shuffle(&mut indices);
        let inner = |(output, at): &(usize, Vec<u64>)| {
            let shape = reference.shape(*output);
            let last = at.iter().zip(&shape).all(|(&c, &extent)| c + 1 == extent);
            !(last || at.iter().all(|&c| c == 0))
        };
        indices.sort_by_key(inner);
        let begun = Instant::now();
        let mut kept = Vec::with_capacity(indices.len());
        let mut values = Vec::with_capacity(indices.len());
        for (output, at) in indices {
            let enough = begun.elapsed() > TIME && values.len() >= 16;
            if enough || (Instant::now() > deadline && !values.is_empty()) {
                break;
            }
            let shape = reference.shape(output);
            kept.push(OutputIndex {
                output: output as u32,
                position: at
                    .iter()
                    .zip(&shape)
                    .fold(0, |position, (&c, &extent)| position * extent + c),
            });
            values.push(evaluator.at(output, &at));
        }
        Ok(Expected {
            indices: kept,
            values,
            elements: checked.op().outputs.iter().map(|output| output.element).collect(),
        })
    }

    /// The indices of the sampled elements.
    pub fn indices(&self) -> &[OutputIndex] {
        &self.indices
    }

    /// Compares a candidate's results at [the indices](Expected::indices): one word for each, with the element's bytes at its
    /// low end.
    ///
    /// # Errors
    /// The difference.
    pub fn compare(&self, results: &[u64]) -> Result<(), Difference> {
        let of = self.indices.len();
        let mut worst: Option<(f64, Difference)> = None;
        let mut wrong = 0;
        let mut results = results.iter();
        for (&index, evaluated) in self.indices.iter().zip(&self.values) {
            let element = self.elements[index.output as usize];
            // A missing result is wrong.
            let bytes = results.next().map(|word| word.to_le_bytes());
            let bytes = bytes.as_ref().map(|bytes| &bytes[..element.size() as usize]);
            if bytes.is_some_and(|bytes| evaluated.accepts(element, bytes)) {
                continue;
            }
            wrong += 1;
            let found = bytes.map_or(f64::NAN, |bytes| loaded(element, bytes).float());
            let expected = evaluated.value.float();
            let error = match (found - expected).abs() {
                error if error.is_nan() => f64::INFINITY,
                error => error,
            };
            if worst.as_ref().is_none_or(|(largest, _)| error > *largest) {
                let difference = Difference {
                    wrong: 0,
                    of,
                    index,
                    found,
                    expected,
                    bound: evaluated.error,
                };
                worst = Some((error, difference));
            }
        }
        match worst {
            None => Ok(()),
            Some((_, difference)) => Err(Difference { wrong, ..difference }),
        }
    }
}

/// The coordinates of up to `most` elements of a tensor: all of a small one, else both ends, tile edges and random elements.
fn coordinates(shape: &[u64], most: usize, random: &mut Random) -> Vec<Vec<u64>> {
    let elements = shape.iter().copied().fold(1u64, u64::saturating_mul);
    let split = |mut position: u64| {
        let mut at = vec![0; shape.len()];
        for (c, &extent) in at.iter_mut().zip(shape).rev() {
            *c = position % extent.max(1);
            position /= extent.max(1);
        }
        at
    };
    if elements <= most as u64 {
        return (0..elements).map(split).collect();
    }
    let mut chosen = BTreeSet::from([split(0), split(elements - 1)]);
    // Many draws may coincide in a narrow tensor; a bounded number of them is enough.
    for draw in 0..4 * most {
        if chosen.len() >= most {
            break;
        }
        let at = shape.iter().map(|&extent| match draw % 2 {
            0 => random.below(extent),
            _ => edge(extent, random),
        });
        chosen.insert(at.collect());
    }
    chosen.into_iter().collect()
}

/// A coordinate at the begin or end of a tile.
fn edge(extent: u64, random: &mut Random) -> u64 {
    let tile = 16u64 << random.below(5);
    let border = match random.below(4) {
        0 => 0,
        1 => extent,
        _ => random.below(extent / tile + 1) * tile,
    };
    // The last element of one tile, or the first of the next.
    border.saturating_sub(random.below(2)).min(extent - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tune::data::inputs;
    use crate::tune::testing::operator;
    use crate::tune::workload::pick;
    use half::f16;

    fn dot() -> crate::source::scan::Found {
        operator(
            "tune(M = 40, N = 300, K = 64)",
            "fn dot(x: Tensor<f16, (M, K)>, w: Tensor<f16, (N, K)>) -> Tensor<f16, (M, N)> { |m, n| sum(|k| x[[m, k]] * w[[n, k]]) }",
        )
    }

    fn right(found: &crate::source::scan::Found, inputs: &[Data], sizes: &[u64]) -> Vec<Data> {
        let bytes: Vec<&[u8]> = inputs.iter().map(|data| data.bytes.as_slice()).collect();
        let reference = Reference::new(&found.checked, sizes, &bytes).unwrap();
        let outputs = found.checked.op().outputs.iter().enumerate();
        outputs
            .map(|(number, output)| Data {
                element: output.element,
                shape: reference.shape(number),
                bytes: reference.output(number),
            })
            .collect()
    }

    fn compare(expected: &Expected, outputs: &[Data]) -> Result<(), Difference> {
        expected.compare(&pick(outputs, expected.indices()))
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn right_results_pass_and_wrong_ones_do_not() {
        let (found, sizes) = (dot(), [40, 64, 300]);
        assert_eq!(found.buckets, [sizes]);
        let inputs = inputs(&found.checked, &sizes, 3).unwrap();
        let expected = Expected::compute(&found.checked, &sizes, &inputs, 3, later()).unwrap();
        let outputs = right(&found, &inputs, &sizes);
        assert_eq!(compare(&expected, &outputs), Ok(()));
        // One missing term of 64 in every element.
        let shorter: Vec<Data> = {
            let mut inputs = inputs.clone();
            inputs[0].bytes.chunks_exact_mut(128).for_each(|row| row[..2].fill(0));
            right(&found, &inputs, &sizes)
        };
        assert!(compare(&expected, &shorter).is_err());
        let mut last = outputs.clone();
        let end = last[0].bytes.len();
        last[0].bytes[end - 2..].copy_from_slice(&f16::from_f64(99.0).to_le_bytes());
        let difference = compare(&expected, &last).unwrap_err();
        assert_eq!(
            (difference.wrong, difference.found),
            (1, 99.0),
            "the last element is always compared"
        );
        assert!(
            difference
                .to_string()
                .contains(&format!("the worst at {} of output 0: 99", end / 2 - 1))
        );
        // The largest error is reported, wherever it is.
        last[0].bytes[..2].copy_from_slice(&f16::from_f64(-500.0).to_le_bytes());
        let difference = compare(&expected, &last).unwrap_err();
        assert_eq!(
            (difference.wrong, difference.found, difference.index.position),
            (2, -500.0, 0)
        );
        let difference = expected.compare(&[]).unwrap_err();
        assert_eq!(
            (difference.wrong, difference.of),
            (expected.indices().len(), difference.wrong)
        );
    }

    #[test]
    fn integers_must_be_exact_and_nan_must_be_nan() {
        let largest = operator(
            "tune(R = 3, C = 5)",
            "fn f(x: Tensor<f32, (R, C)>) -> Tensor<i32, (R,)> { |r| argmax(|c| x[[r, c]]) }",
        );
        let inputs = inputs(&largest.checked, &[3, 5], 1).unwrap();
        let expected = Expected::compute(&largest.checked, &[3, 5], &inputs, 1, later()).unwrap();
        let mut outputs = right(&largest, &inputs, &[3, 5]);
        assert_eq!(compare(&expected, &outputs), Ok(()));
        outputs[0].bytes[0] ^= 1;
        assert!(compare(&expected, &outputs).is_err());

        let root = operator(
            "tune(N = 64)",
            "fn f(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> { |n| sqrt(x[[n]]) }",
        );
        let inputs = super::super::data::inputs(&root.checked, &[64], 1).unwrap();
        let expected = Expected::compute(&root.checked, &[64], &inputs, 1, later()).unwrap();
        let outputs = right(&root, &inputs, &[64]);
        assert_eq!(compare(&expected, &outputs), Ok(()));
        let zeros = Data {
            bytes: vec![0; 256],
            ..outputs[0].clone()
        };
        assert!(compare(&expected, &[zeros]).is_err());
    }

    #[test]
    fn samples_are_many_distinct_and_at_the_edges() {
        let mut random = Random::new(1);
        let chosen = coordinates(&[1000, 3000], 4096, &mut random);
        assert_eq!(chosen.len(), 4096);
        assert!(chosen.contains(&vec![0, 0]) && chosen.contains(&vec![999, 2999]));
        assert!(chosen.iter().all(|at| at[0] < 1000 && at[1] < 3000));
        assert!(chosen.iter().filter(|at| at[0] == 999).count() > 100);
        assert!(chosen.iter().filter(|at| at[1] % 16 == 15).count() > 500);
        assert_eq!(coordinates(&[2, 3], 4096, &mut random).len(), 6);
        assert_eq!(coordinates(&[], 4096, &mut random), [Vec::<u64>::new()]);
        assert_eq!(coordinates(&[0, 5], 4096, &mut random).len(), 0);
        assert!(coordinates(&[1 << 40, 1 << 40], 100, &mut random).len() == 100);
    }
}
