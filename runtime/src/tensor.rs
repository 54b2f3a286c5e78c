//! Tensors in device memory.

use crate::argument::View;
use crate::device::Storage;
use crate::element::{Element, bytes_of};
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::host::{HostTensor, volume};
use cudarc::driver::CudaSlice;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

/// The most axes that a shape holds without allocating.
const INLINE: usize = 6;

/// A tensor in the memory of a [`Gpu`], row-major and without gaps.
///
/// The GPU reads and writes the memory in the order in which the work was queued; [`to_vec`](Tensor::to_vec) waits for it. Clones,
/// [slices](Tensor::slice) and [reshaped](Tensor::reshape) tensors share the memory.
///
/// ```
/// use energy_kernel::prelude::*;
///
/// # fn main() -> Result<(), Error> {
/// let gpu = Gpu::emulated();
/// let mut x = Tensor::from_slice(&gpu, &[2, 3], &[0, 1, 2, 3, 4, 5])?;
/// assert_eq!((x.shape(), x.len(), x.is_empty()), (&[2, 3][..], 6, false));
///
/// // Rows 1.., and the same elements in another shape. Both share the memory of `x`.
/// let (row, column) = (x.slice(1..)?, x.reshape(&[6, 1])?);
/// x.copy_from_slice(&[10, 11, 12, 13, 14, 15])?;
/// assert_eq!(row.to_vec()?, [13, 14, 15]);
/// assert_eq!(column.shape(), [6, 1]);
///
/// // To host memory and back.
/// let host = x.to_host()?;
/// assert_eq!(Tensor::from_host(&gpu, &host)?.to_vec()?, host.data());
///
/// let zeros = Tensor::<f16>::zeros(&gpu, &[4])?;
/// assert_eq!(zeros.to_vec()?, [f16::ZERO; 4]);
/// # Ok(())
/// # }
/// ```
pub struct Tensor<T> {
    storage: Storage,
    /// Bytes from the start of the storage.
    offset: u64,
    shape: Shape,
    element: PhantomData<fn() -> T>,
}

/// An error of [`Tensor::into_cuda`], with the tensor.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct IntoCudaError<T> {
    /// The unchanged tensor.
    pub tensor: Tensor<T>,
    /// The reason.
    pub error: Error,
}

/// The sizes of the axes. More than [`INLINE`] of them are kept on the heap.
#[derive(Clone)]
enum Shape {
    Inline([usize; INLINE], u8),
    Heap(Box<[usize]>),
}

impl Shape {
    fn new(sizes: &[usize]) -> Shape {
        let mut inline = [0; INLINE];
        match inline.get_mut(..sizes.len()) {
            Some(part) => {
                part.copy_from_slice(sizes);
                Shape::Inline(inline, sizes.len() as u8)
            }
            None => Shape::Heap(sizes.into()),
        }
    }

    fn sizes(&self) -> &[usize] {
        match self {
            Shape::Inline(sizes, rank) => &sizes[..usize::from(*rank)],
            Shape::Heap(sizes) => sizes,
        }
    }

    fn sizes_mut(&mut self) -> &mut [usize] {
        match self {
            Shape::Inline(sizes, rank) => &mut sizes[..usize::from(*rank)],
            Shape::Heap(sizes) => sizes,
        }
    }
}

impl<T: Element> Tensor<T> {
    /// Creates a tensor of this shape, slowest axis first, with these elements. An empty shape holds a single value.
    ///
    /// # Errors
    /// [`Error::Elements`] if the number of elements is not the shape's; [`Error::OutOfMemory`]; an error of the driver.
    pub fn from_slice(gpu: &Gpu, shape: &[usize], elements: &[T]) -> Result<Tensor<T>> {
        let expected = volume(shape)?;
        if expected != elements.len() {
            return Err(Error::Elements {
                shape: shape.to_vec(),
                expected,
                found: elements.len(),
            });
        }
        let tensor = Tensor::uninitialised(gpu, shape)?;
        tensor.storage.write(0, bytes_of(elements))?;
        Ok(tensor)
    }

    /// Copies a host tensor.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], or an error of the driver.
    pub fn from_host(gpu: &Gpu, host: &HostTensor<T>) -> Result<Tensor<T>> {
        Tensor::from_slice(gpu, host.shape(), host.data())
    }

    /// Creates a tensor of this shape whose elements are 0 (`false`).
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], or an error of the driver.
    pub fn zeros(gpu: &Gpu, shape: &[usize]) -> Result<Tensor<T>> {
        let tensor = Tensor::uninitialised(gpu, shape)?;
        tensor.storage.clear()?;
        Ok(tensor)
    }

    /// Creates a tensor without initialising it. The caller must write all of it before it is read.
    pub(crate) fn uninitialised(gpu: &Gpu, shape: &[usize]) -> Result<Tensor<T>> {
        let bytes = volume(shape)? as u64 * size_of::<T>() as u64;
        Ok(Tensor {
            storage: gpu.device().allocate(bytes)?,
            offset: 0,
            shape: Shape::new(shape),
            element: PhantomData,
        })
    }

    /// Creates a tensor of this shape from a cudarc slice, without a copy.
    ///
    /// Operators on a [`Gpu`] of the slice's stream use it without synchronisation. Operators on another stream of the same device wait
    /// for the slice's stream, and that stream waits for them.
    ///
    /// ```
    /// use energy_kernel::prelude::*;
    ///
    /// # fn main() -> Result<(), Error> {
    /// let gpu = Gpu::open().unwrap_or_else(|_| Gpu::emulated());
    /// let x = Tensor::from_slice(&gpu, &[2, 2], &[1.0f32, 2.0, 3.0, 4.0])?;
    /// let x = match x.into_cuda() {
    ///     Ok(slice) => Tensor::from_cuda(slice, &[4])?, // on a real GPU
    ///     Err(refused) => refused.tensor.reshape(&[4])?, // on the emulated one
    /// };
    /// assert_eq!(x.to_vec()?, [1.0, 2.0, 3.0, 4.0]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Elements`] if the length of the slice is not the shape's number of elements; [`Error::Capture`] during capture of the
    /// slice's stream; an error of the driver.
    pub fn from_cuda(slice: CudaSlice<T>, shape: &[usize]) -> Result<Tensor<T>> {
        let expected = volume(shape)?;
        if expected != slice.len() {
            return Err(Error::Elements {
                shape: shape.to_vec(),
                expected,
                found: slice.len(),
            });
        }
        Ok(Tensor {
            storage: Storage::import(slice)?,
            offset: 0,
            shape: Shape::new(shape),
            element: PhantomData,
        })
    }

    /// Converts the tensor to a cudarc slice, without a copy. [`from_cuda`](Tensor::from_cuda) has an example.
    ///
    /// # Errors
    /// Returns the tensor, with [`Error::IntoCuda`] if it shares its memory or has no elements, [`Error::WrongKind`] on an emulated GPU,
    /// [`Error::Capture`] during capture of its stream, or an error of the driver.
    pub fn into_cuda(self) -> std::result::Result<CudaSlice<T>, Box<IntoCudaError<T>>> {
        let shape = self.shape.clone();
        let offset = self.offset;
        let back = |storage, error| {
            let tensor = Tensor {
                storage,
                offset,
                shape,
                element: PhantomData,
            };
            Box::new(IntoCudaError { tensor, error })
        };
        if self.bytes() != self.storage.bytes() {
            let reason = "it is a part of a larger tensor";
            return Err(back(self.storage, Error::IntoCuda { reason }));
        }
        self.storage.export().map_err(|refused| {
            let (storage, error) = *refused;
            back(storage, error)
        })
    }

    /// Waits for all work that writes the tensor, and returns the elements.
    ///
    /// # Errors
    /// An error of the driver, or of work queued earlier.
    pub fn to_vec(&self) -> Result<Vec<T>> {
        let mut bytes = vec![0; self.bytes() as usize];
        self.storage.read(self.offset, &mut bytes)?;
        Ok(T::from_bytes(&bytes))
    }

    /// Waits for all work that writes the tensor, and returns a copy in host memory.
    ///
    /// # Errors
    /// Those of [`to_vec`](Tensor::to_vec).
    pub fn to_host(&self) -> Result<HostTensor<T>> {
        HostTensor::new(self.shape(), self.to_vec()?)
    }

    /// Replaces the elements.
    ///
    /// # Errors
    /// [`Error::Elements`] if the number of elements is not the tensor's; an error of the driver.
    pub fn copy_from_slice(&mut self, elements: &[T]) -> Result<()> {
        if elements.len() != self.len() {
            return Err(Error::Elements {
                shape: self.shape().to_vec(),
                expected: self.len(),
                found: elements.len(),
            });
        }
        self.storage.write(self.offset, bytes_of(elements))
    }

    /// Returns a range of the leading axis, which shares the memory. `x.slice(3..5)` of shape `[8, 4]` has shape `[2, 4]`.
    ///
    /// # Errors
    /// [`Error::Slice`] if the range exceeds the axis, or the tensor has no axis.
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Result<Tensor<T>> {
        let rows = self.shape().first().copied().unwrap_or(0);
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&last) => last.saturating_add(1),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => rows,
        };
        if start > end || end > rows || self.shape().is_empty() {
            return Err(Error::Slice {
                start,
                end,
                shape: self.shape().to_vec(),
            });
        }
        let row = volume(&self.shape()[1..])? * size_of::<T>();
        let mut shape = self.shape.clone();
        shape.sizes_mut()[0] = end - start;
        Ok(Tensor {
            storage: self.storage.clone(),
            offset: self.offset + (start * row) as u64,
            shape,
            element: PhantomData,
        })
    }

    /// Returns the same elements in another shape. It shares the memory.
    ///
    /// # Errors
    /// [`Error::Elements`] if the shape has another number of elements.
    pub fn reshape(&self, shape: &[usize]) -> Result<Tensor<T>> {
        let expected = volume(shape)?;
        if expected != self.len() {
            return Err(Error::Elements {
                shape: shape.to_vec(),
                expected,
                found: self.len(),
            });
        }
        Ok(Tensor {
            shape: Shape::new(shape),
            ..self.clone()
        })
    }

    fn bytes(&self) -> u64 {
        (self.len() * size_of::<T>()) as u64
    }
}

impl<T> Tensor<T> {
    /// The sizes of the axes, slowest first.
    pub fn shape(&self) -> &[usize] {
        self.shape.sizes()
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        // The volume of an existing tensor does not overflow, but a dimension of 0 may hide an overflow of the others.
        match self.shape().contains(&0) {
            true => 0,
            false => self.shape().iter().product(),
        }
    }

    /// `true` if there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'a, T: Element> From<&'a Tensor<T>> for View<'a> {
    fn from(tensor: &'a Tensor<T>) -> View<'a> {
        View::new(
            &tensor.storage,
            tensor.offset,
            tensor.bytes(),
            tensor.shape(),
            T::ELEMENT,
        )
    }
}

impl<T> Clone for Tensor<T> {
    /// Returns another handle to the same memory.
    fn clone(&self) -> Tensor<T> {
        Tensor {
            storage: self.storage.clone(),
            offset: self.offset,
            shape: self.shape.clone(),
            element: PhantomData,
        }
    }
}

impl<T> std::fmt::Debug for Tensor<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tensor")
            .field("element", &std::any::type_name::<T>())
            .field("shape", &self.shape())
            .field("device", &self.storage.describe())
            .finish_non_exhaustive()
    }
}
