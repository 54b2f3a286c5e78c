//! An operator with its sizes and inputs.

use super::rescaled::rescaled_casts;
use crate::check::{CallError, Checked};
use crate::text::{counted, given};

/// The reason that an operator was not evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The sizes are not valid.
    #[error(transparent)]
    Call(#[from] CallError),
    /// An argument has too few or too many bytes.
    #[error("`{name}` has {}, but its shape needs {expected}", counted(*.found, "byte", "bytes"))]
    Length {
        /// The parameter.
        name: String,
        /// Bytes of its shape.
        expected: u64,
        /// Bytes given.
        found: u64,
    },
    /// A wrong number of arguments.
    #[error("the operator takes {}, but {}", counted(*.expected as u64, "argument", "arguments"), given(*.found as u64, "argument", "arguments"))]
    Arguments {
        /// Parameters.
        expected: usize,
        /// Arguments.
        found: usize,
    },
}

/// An operator with its sizes and arguments.
#[derive(Debug, Clone)]
pub struct Reference<'a> {
    pub(super) checked: &'a Checked,
    pub(super) sizes: &'a [u64],
    pub(super) inputs: Vec<&'a [u8]>,
    /// For each expression `true` if it is a cast that a kernel may make before a factor common to all terms of a sum.
    pub(super) rescaled: Vec<bool>,
}

impl<'a> Reference<'a> {
    /// Checks the sizes (all, in the order of [`Op::sizes`](crate::ir::Op::sizes)) and the arguments' lengths. Arguments are in the order of the
    /// parameters: the elements of a tensor, row-major, or a scalar, little-endian.
    ///
    /// # Errors
    /// The sizes or arguments do not fit the operator.
    pub fn new(checked: &'a Checked, sizes: &'a [u64], inputs: &[&'a [u8]]) -> Result<Reference<'a>, Error> {
        checked.verify(sizes)?;
        let op = checked.op();
        if op.inputs.len() != inputs.len() {
            return Err(Error::Arguments {
                expected: op.inputs.len(),
                found: inputs.len(),
            });
        }
        for (input, bytes) in op.inputs.iter().zip(inputs) {
            let dims = input.dims.iter().flatten().map(|size| sizes[size.index()]);
            let expected = dims.fold(u64::from(input.element.size()), u64::saturating_mul);
            let found = bytes.len() as u64;
            if expected != found {
                return Err(Error::Length {
                    name: input.name.clone(),
                    expected,
                    found,
                });
            }
        }
        Ok(Reference {
            checked,
            sizes,
            inputs: inputs.to_vec(),
            rescaled: rescaled_casts(op),
        })
    }

    /// Returns the shape of an output.
    pub fn shape(&self, output: usize) -> Vec<u64> {
        let dims = &self.checked.op().outputs[output].dims;
        dims.iter().map(|size| self.sizes[size.index()]).collect()
    }
}
