//! Tensors in host memory.

use crate::element::Element;
use crate::error::{Error, Result};

/// A tensor in host memory, row-major and without gaps.
///
/// ```
/// use energy_kernel::prelude::*;
///
/// # fn main() -> Result<(), Error> {
/// let x = HostTensor::new(&[2, 3], vec![0, 1, 2, 3, 4, 5])?;
/// assert_eq!((x.shape(), x.data()[4]), (&[2, 3][..], 4));
///
/// let gpu = Gpu::emulated();
/// let copy = Tensor::from_host(&gpu, &x)?.to_host()?;
/// assert_eq!(copy, x);
/// assert_eq!(copy.into_data(), [0, 1, 2, 3, 4, 5]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor<T> {
    shape: Vec<usize>,
    data: Vec<T>,
}

impl<T: Element> HostTensor<T> {
    /// Creates a tensor of this shape, slowest axis first, with these elements. An empty shape holds a single value.
    ///
    /// # Errors
    /// [`Error::Elements`] if the number of elements is not the shape's; [`Error::ShapeOverflow`].
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

    /// Returns the elements and drops the shape.
    pub fn into_data(self) -> Vec<T> {
        self.data
    }

    /// The sizes of the axes, slowest first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }
}

/// The number of elements of a shape.
pub(crate) fn volume(shape: &[usize]) -> Result<usize> {
    // A dimension of 0 makes the shape empty, even if the others overflow.
    if shape.contains(&0) {
        return Ok(0);
    }
    shape
        .iter()
        .try_fold(1usize, |product, &dimension| product.checked_mul(dimension))
        .filter(|&volume| volume <= isize::MAX as usize / 8)
        .ok_or_else(|| Error::ShapeOverflow { shape: shape.to_vec() })
}
