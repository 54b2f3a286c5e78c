//! Evaluates operators on the CPU, for the generated `reference` functions.

use crate::element::{Element, bytes_of};
use crate::error::{Error, Result};
use crate::host::HostTensor;
use crate::operator::Variant;
use energy_kernel_compiler::element::Element as ElementId;
use energy_kernel_compiler::ir::Input;
use energy_kernel_compiler::reference::Reference;

/// An argument of a `reference` function: a host tensor or a scalar.
#[derive(Debug)]
pub struct HostArgument {
    element: ElementId,
    /// `None` for a scalar.
    shape: Option<Vec<u64>>,
    bytes: Vec<u8>,
}

impl HostArgument {
    /// A tensor.
    pub fn tensor<T: Element>(tensor: &HostTensor<T>) -> HostArgument {
        HostArgument {
            element: T::ELEMENT,
            shape: Some(tensor.shape().iter().map(|&size| size as u64).collect()),
            bytes: bytes_of(tensor.data()).to_vec(),
        }
    }

    /// A scalar.
    pub fn scalar<T: Element>(value: T) -> HostArgument {
        HostArgument {
            element: T::ELEMENT,
            shape: None,
            bytes: bytes_of(&[value]).to_vec(),
        }
    }
}

/// The outputs of an operator, computed on the CPU.
#[derive(Debug)]
pub struct HostOutputs<'a> {
    variant: &'a Variant,
    /// The shape and the bytes of each output.
    outputs: Vec<(Vec<usize>, Vec<u8>)>,
}

impl HostOutputs<'_> {
    /// Computes the outputs.
    ///
    /// # Errors
    /// Inputs that do not fit the operator or each other.
    pub fn new<'a>(variant: &'a Variant, inputs: &[HostArgument]) -> Result<HostOutputs<'a>> {
        let checked = &variant.checked;
        let fits = |(argument, input): (&HostArgument, &Input)| {
            argument.element == input.element && argument.shape.is_some() == input.dims.is_some()
        };
        let expected = &checked.op().inputs;
        if expected.len() != inputs.len() || !inputs.iter().zip(expected).all(fits) {
            return Err(Error::ElementTypes {
                operator: variant.name().to_owned(),
                types: "these arguments".to_owned(),
            });
        }
        let shapes: Vec<&[u64]> = inputs.iter().filter_map(|input| input.shape.as_deref()).collect();
        let sizes = checked.sizes_of(&shapes).map_err(|source| variant.call_error(source))?;
        checked.verify(&sizes).map_err(|source| variant.call_error(source))?;
        let bytes: Vec<&[u8]> = inputs.iter().map(|input| input.bytes.as_slice()).collect();
        let evaluation = Reference::new(checked, &sizes, &bytes).map_err(|error| Error::Reference {
            operator: variant.name().to_owned(),
            reason: error.to_string(),
        })?;
        let outputs = 0..checked.op().outputs.len();
        let shape = |position| evaluation.shape(position).iter().map(|&size| size as usize).collect();
        Ok(HostOutputs {
            outputs: outputs
                .map(|position| (shape(position), evaluation.output(position)))
                .collect(),
            variant,
        })
    }

    /// Returns the output at this position.
    ///
    /// # Errors
    /// [`Error::ElementTypes`] if the operator has no output of this type there.
    pub fn output<T: Element>(&self, position: usize) -> Result<HostTensor<T>> {
        let elements = self
            .variant
            .checked
            .op()
            .outputs
            .get(position)
            .map(|output| output.element);
        match self.outputs.get(position) {
            Some((shape, bytes)) if elements == Some(T::ELEMENT) => HostTensor::new(shape, T::from_bytes(bytes)),
            _ => Err(Error::ElementTypes {
                operator: self.variant.name().to_owned(),
                types: format!("output {position} of {}", T::ELEMENT),
            }),
        }
    }
}
