//! Tensors in host memory.

use crate::element::Element;
use crate::error::{Error, Result};

/// A tensor in host memory: row-major, without gaps.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor<T> {
    shape: Vec<usize>,
    data: Vec<T>,
}

impl<T: Element> HostTensor<T> {
    /// A tensor of that shape (slowest axis first; empty for a single value) with these elements.
    ///
    /// # Errors
    /// [`Error::Elements`] if their number is not the shape's.
    pub fn new(shape: &[usize], data: Vec<T>) -> Result<HostTensor<T>> {
        let expected = volume(shape)?;
        if expected != data.len() {
            return Err(Error::Elements {
                shape: shape.to_vec(),
                expected,
                found: data.len(),
            });
        }
        Ok(HostTensor {
            shape: shape.to_vec(),
            data,
        })
    }

    /// The elements.
    pub fn data(&self) -> &[T] {
        &self.data
    }

    /// The elements, given away.
    pub fn into_data(self) -> Vec<T> {
        self.data
    }

    /// Sizes of the axes, slowest first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }
}

/// Elements of a shape.
pub(crate) fn volume(shape: &[usize]) -> Result<usize> {
    // A dimension of 0 makes it empty whatever the others are.
    if shape.contains(&0) {
        return Ok(0);
    }
    shape
        .iter()
        .try_fold(1usize, |product, &dimension| product.checked_mul(dimension))
        .filter(|&volume| volume <= isize::MAX as usize / 8)
        .ok_or_else(|| Error::ShapeOverflow { shape: shape.to_vec() })
}
