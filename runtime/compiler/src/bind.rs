//! The argument bytes of a launch.

use crate::kernel::{Launch, ParameterValue};
use crate::reciprocal;
use smallvec::SmallVec;

/// The values that a call binds parameters to. Addresses are device addresses.
#[derive(Debug, Clone, Copy, Default)]
pub struct Values<'a> {
    /// For each input of the operator, the tensor's address, or the scalar's stored bytes in the lowest bytes.
    pub inputs: &'a [u64],
    /// The address of each output.
    pub outputs: &'a [u64],
    /// All sizes, in the order of [`Op::sizes`](crate::ir::Op::sizes).
    pub sizes: &'a [u64],
    /// The address of the word that reports gathered indices out of range.
    pub index_errors: u64,
    /// The address of each of [`Kernel::scratch`](crate::kernel::Kernel::scratch).
    pub scratch: &'a [u64],
}

/// A launch's arguments, in the order of its parameters. Up to 32 are stored without an allocation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arguments {
    /// One word for each argument, which is in its lowest bytes.
    words: SmallVec<[u64; 32]>,
    bytes: SmallVec<[u8; 32]>,
}

/// A parameter that the values do not cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("parameter {parameter} takes {value:?}, which the operator does not have")]
pub struct Unbound {
    /// The parameter's position.
    pub parameter: usize,
    /// The value that it is bound to.
    pub value: ParameterValue,
}

impl Launch {
    /// The arguments of this launch for these values.
    ///
    /// # Errors
    /// A parameter is bound to an input, output, size or scratch memory that does not exist.
    pub fn bind(&self, values: &Values<'_>) -> Result<Arguments, Unbound> {
        let mut arguments = Arguments::default();
        for (position, parameter) in self.parameters.iter().enumerate() {
            let word = match parameter.value {
                ParameterValue::Input(id) => values.inputs.get(id.index()).copied(),
                ParameterValue::Output(output) => values.outputs.get(output as usize).copied(),
                ParameterValue::Size(id) => values.sizes.get(id.index()).copied(),
                ParameterValue::IndexErrors => Some(values.index_errors),
                ParameterValue::Scratch(scratch) => values.scratch.get(scratch as usize).copied(),
                ParameterValue::Reciprocal { size, shift } => {
                    let size = values.sizes.get(size.index());
                    size.map(|size| reciprocal::word(size.checked_shr(shift.into()).unwrap_or(0)))
                }
            };
            let unbound = Unbound {
                parameter: position,
                value: parameter.value,
            };
            arguments.words.push(word.ok_or(unbound)?);
            arguments.bytes.push(parameter.bytes);
        }
        Ok(arguments)
    }
}

impl Arguments {
    /// The number of arguments.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// `true` if there are none.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The word of each argument. The host is little-endian, so the address of a word is that of the argument's bytes.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// The bytes of each argument, little-endian.
    pub fn to_bytes(&self) -> impl Iterator<Item = Vec<u8>> {
        let pairs = self.words.iter().zip(&self.bytes);
        pairs.map(|(word, &bytes)| word.to_le_bytes()[..usize::from(bytes.min(8))].to_vec())
    }
}
