//! Tensors in device memory.

use crate::device::Storage;
use crate::device::cuda::Allocation;
use crate::element::{Element, bytes_of};
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::host::{HostTensor, volume};
use cudarc::driver::CudaSlice;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

/// Axes whose sizes a shape holds without allocating.
const INLINE: usize = 6;

/// A tensor in the memory of a [`Gpu`]: row-major, without gaps, of at least 0 axes.
///
/// It stands for memory that work on the GPU reads and writes in the order in which the work was given to the GPU;
/// [`to_vec`](Tensor::to_vec) waits for it. Cloning and [`slice`](Tensor::slice) share the memory.
pub struct Tensor<T> {
    storage: Arc<Storage>,
    /// Bytes from the storage's start.
    offset: u64,
    shape: Shape,
    element: PhantomData<fn() -> T>,
}

/// A tensor that could not become a cudarc slice ([`Tensor::into_cuda`]), and why.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct IntoCudaError<T> {
    /// The tensor, as it was.
    pub tensor: Tensor<T>,
    /// The reason.
    pub error: Error,
}

/// Sizes of axes. On the heap only beyond [`INLINE`] of them.
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
    /// A tensor of that shape (slowest axis first; empty for a single value) with these elements.
    ///
    /// # Errors
    /// [`Error::Elements`] if their number is not the shape's, [`Error::OutOfMemory`], or an error of the driver.
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

    /// A copy of a host tensor.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], or an error of the driver.
    pub fn from_host(gpu: &Gpu, host: &HostTensor<T>) -> Result<Tensor<T>> {
        Tensor::from_slice(gpu, host.shape(), host.data())
    }

    /// A tensor of that shape with every element 0 (`false`).
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], or an error of the driver.
    pub fn zeros(gpu: &Gpu, shape: &[usize]) -> Result<Tensor<T>> {
        let tensor = Tensor::uninitialised(gpu, shape)?;
        tensor.storage.clear()?;
        Ok(tensor)
    }

    /// A tensor with any contents. Whoever makes one writes all of it before it is read.
    pub(crate) fn uninitialised(gpu: &Gpu, shape: &[usize]) -> Result<Tensor<T>> {
        let bytes = volume(shape)? as u64 * size_of::<T>() as u64;
        Ok(Tensor {
            storage: Arc::new(gpu.device().allocate(bytes)?),
            offset: 0,
            shape: Shape::new(shape),
            element: PhantomData,
        })
    }

    /// A tensor of that shape from a cudarc slice. Operators on a [`Gpu`] of the slice's stream use it without synchronisation;
    /// on another stream of the same device they wait for the slice's, and it for them.
    ///
    /// # Errors
    /// [`Error::Elements`] if the slice's length is not the shape's number of elements; [`Error::Capture`] while the slice's stream is
    /// captured into a graph; an error of the driver.
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
            storage: Arc::new(Allocation::import(slice)?),
            offset: 0,
            shape: Shape::new(shape),
            element: PhantomData,
        })
    }

    /// The cudarc slice of a tensor that shares its memory with no other and lies on a real GPU. Nothing is copied.
    ///
    /// # Errors
    /// The tensor again, with [`Error::IntoCuda`] where it shares its memory, is a part of another tensor or has no elements,
    /// [`Error::WrongKind`] on an emulated GPU, [`Error::Capture`] while its stream is captured into a graph, or an error of the driver.
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
        if self.bytes() != self.storage.bytes {
            let reason = "it is a part of a larger tensor";
            return Err(back(self.storage, Error::IntoCuda { reason }));
        }
        let storage = match Arc::try_unwrap(self.storage) {
            Ok(storage) => storage,
            Err(shared) => {
                let reason = "it shares its memory with another tensor";
                return Err(back(shared, Error::IntoCuda { reason }));
            }
        };
        Allocation::export(storage).map_err(|refused| {
            let (storage, error) = *refused;
            back(Arc::new(storage), error)
        })
    }

    /// The elements, after all work that writes them.
    ///
    /// # Errors
    /// An error of the driver; one of work that was queued earlier may surface here.
    pub fn to_vec(&self) -> Result<Vec<T>> {
        let mut bytes = vec![0; self.bytes() as usize];
        self.storage.read(self.offset, &mut bytes)?;
        Ok(T::from_bytes(&bytes))
    }

    /// A copy in host memory, after all work that writes it.
    ///
    /// # Errors
    /// As [`to_vec`](Tensor::to_vec).
    pub fn to_host(&self) -> Result<HostTensor<T>> {
        HostTensor::new(self.shape(), self.to_vec()?)
    }

    /// Replaces the elements.
    ///
    /// # Errors
    /// [`Error::Elements`] if their number is not the tensor's, or an error of the driver.
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

    /// A part of the leading axis, sharing the memory: `x.slice(3..5)` of shape `[8, 4]` has shape `[2, 4]`.
    ///
    /// # Errors
    /// [`Error::Slice`] if the range is not in the axis, or the tensor has none.
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

    /// The same elements in another shape, sharing the memory.
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

    pub(crate) fn bytes(&self) -> u64 {
        (self.len() * size_of::<T>()) as u64
    }
}

impl<T> Tensor<T> {
    /// Sizes of the axes, slowest first.
    pub fn shape(&self) -> &[usize] {
        self.shape.sizes()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        // A tensor exists, so its volume does not overflow, unless a dimension of 0 hides that.
        match self.shape().contains(&0) {
            true => 0,
            false => self.shape().iter().product(),
        }
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn storage(&self) -> &Arc<Storage> {
        &self.storage
    }

    /// The address of the first element.
    pub(crate) fn address(&self) -> u64 {
        self.storage.address + self.offset
    }
}

impl<T> Clone for Tensor<T> {
    /// Another handle to the same memory.
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
