//! Arguments of operators.

use crate::device::Storage;
use crate::element::Element;
use crate::error::{Error, Result};
use energy_kernel_compiler::element::Element as ElementId;
use energy_kernel_compiler::ir::{Input, Op};

/// An argument of an operator.
#[derive(Debug, Clone, Copy)]
pub enum Argument<'a> {
    /// A tensor.
    Tensor(View<'a>),
    /// A scalar: its little-endian bytes, padded with zeros.
    Scalar(u64),
}

/// A tensor of any element type, borrowed for a call.
#[derive(Clone, Copy)]
pub struct View<'a> {
    storage: &'a Storage,
    address: u64,
    bytes: u64,
    shape: &'a [usize],
    element: ElementId,
}

impl<'a> Argument<'a> {
    /// A tensor.
    pub fn tensor(tensor: impl Into<View<'a>>) -> Argument<'a> {
        Argument::Tensor(tensor.into())
    }

    /// A scalar.
    pub fn scalar<T: Element>(value: T) -> Argument<'a> {
        Argument::Scalar(value.to_bits())
    }

    /// The address of a tensor, or the bytes of a scalar.
    pub(crate) fn word(&self) -> u64 {
        match self {
            Argument::Tensor(view) => view.address,
            Argument::Scalar(bits) => *bits,
        }
    }

    pub(crate) fn view(&self) -> Option<&View<'a>> {
        match self {
            Argument::Tensor(view) => Some(view),
            Argument::Scalar(_) => None,
        }
    }

    /// Checks that the arguments are of the operator's types. Generated functions guarantee it, tools do not.
    pub(crate) fn check(inputs: &[Argument<'_>], op: &Op) -> Result<()> {
        let fits = |(argument, input): (&Argument<'_>, &Input)| match argument {
            Argument::Tensor(view) => input.dims.is_some() && view.element == input.element,
            Argument::Scalar(_) => input.dims.is_none(),
        };
        match op.inputs.len() == inputs.len() && inputs.iter().zip(&op.inputs).all(fits) {
            true => Ok(()),
            false => Err(Error::ElementTypes {
                operator: op.name.clone(),
                types: "these arguments".to_owned(),
            }),
        }
    }
}

impl<'a> View<'a> {
    /// A tensor of this shape at this many bytes behind the start of the storage.
    pub(crate) fn new(
        storage: &'a Storage,
        offset: u64,
        bytes: u64,
        shape: &'a [usize],
        element: ElementId,
    ) -> View<'a> {
        View {
            storage,
            address: storage.address() + offset,
            bytes,
            shape,
            element,
        }
    }

    pub(crate) fn storage(&self) -> &'a Storage {
        self.storage
    }

    pub(crate) fn address(&self) -> u64 {
        self.address
    }

    /// The size in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn shape(&self) -> &'a [usize] {
        self.shape
    }

    pub(crate) fn element(&self) -> ElementId {
        self.element
    }

    /// `true` if it is empty or starts at a multiple of 16 bytes.
    pub(crate) fn is_aligned(&self) -> bool {
        self.bytes == 0 || self.address.is_multiple_of(16)
    }

    /// `true` if both share a byte.
    pub(crate) fn overlaps(&self, other: &View<'_>) -> bool {
        self.bytes > 0
            && other.bytes > 0
            && self.storage.is(other.storage)
            && self.address < other.address + other.bytes
            && other.address < self.address + self.bytes
    }
}

impl std::fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View")
            .field("element", &self.element)
            .field("shape", &self.shape)
            .field("device", &self.storage.describe())
            .finish_non_exhaustive()
    }
}
