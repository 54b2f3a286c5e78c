//! Tensors whose element type is a value, not a type parameter.

use crate::argument::{Argument, View};
use crate::device::Storage;
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::host::volume;
use energy_kernel_compiler::element::Element as ElementId;
use energy_kernel_compiler::ir::Input;

/// A row-major tensor in device memory, of any element type.
///
/// Tools make buffers from an operator's declaration; programs use [`Tensor`](crate::Tensor). A buffer holds the bytes as they are: a
/// `bool` may be any byte, and is true unless it is 0.
pub struct Buffer {
    element: ElementId,
    shape: Box<[usize]>,
    storage: Storage,
}

/// An argument of an operator that owns its value.
#[derive(Debug)]
pub enum Operand {
    /// A tensor.
    Buffer(Buffer),
    /// A scalar: its little-endian bytes, padded with zeros.
    Scalar(u64),
}

impl Buffer {
    /// A buffer whose bytes are all 0.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], or an error of the driver.
    pub fn zeros(gpu: &Gpu, element: ElementId, shape: &[usize]) -> Result<Buffer> {
        let buffer = Buffer::uninitialised(gpu, element, shape)?;
        buffer.storage.clear()?;
        Ok(buffer)
    }

    /// A buffer with these elements, little-endian.
    ///
    /// # Errors
    /// Those of [`write`](Buffer::write); [`Error::OutOfMemory`].
    pub fn from_bytes(gpu: &Gpu, element: ElementId, shape: &[usize], bytes: &[u8]) -> Result<Buffer> {
        let mut buffer = Buffer::uninitialised(gpu, element, shape)?;
        buffer.write(bytes)?;
        Ok(buffer)
    }

    fn uninitialised(gpu: &Gpu, element: ElementId, shape: &[usize]) -> Result<Buffer> {
        let bytes = (volume(shape)? as u64).saturating_mul(element.size().into());
        Ok(Buffer {
            element,
            shape: shape.into(),
            storage: gpu.device().allocate(bytes)?,
        })
    }

    /// Replaces all elements by these, little-endian.
    ///
    /// # Errors
    /// [`Error::Elements`] if the number of bytes is not the buffer's; an error of the driver.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.len() as u64 != self.storage.bytes() {
            let size = self.element.size() as usize;
            return Err(Error::Elements {
                shape: self.shape.to_vec(),
                expected: self.storage.bytes() as usize / size,
                found: bytes.len() / size,
            });
        }
        self.storage.write(0, bytes)
    }

    /// The elements, little-endian, after all work that writes them.
    ///
    /// # Errors
    /// An error of the driver, or of work that was queued earlier.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.len_bytes()];
        self.storage.read(0, &mut bytes)?;
        Ok(bytes)
    }

    /// The number of bytes.
    pub fn len_bytes(&self) -> usize {
        self.storage.bytes() as usize
    }

    /// The buffer as an output of a launch.
    pub fn view(&self) -> View<'_> {
        View::new(&self.storage, 0, self.storage.bytes(), &self.shape, self.element)
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buffer")
            .field("element", &self.element)
            .field("shape", &self.shape)
            .field("device", &self.storage.describe())
            .finish_non_exhaustive()
    }
}

impl Operand {
    /// The argument for an operator's input: a tensor of this shape if the operator declares one, else a scalar. `bytes` are little-endian.
    ///
    /// # Errors
    /// Those of [`Buffer::from_bytes`]; [`Error::Elements`] for a scalar of another size than its element type.
    pub fn new(gpu: &Gpu, input: &Input, shape: &[usize], bytes: &[u8]) -> Result<Operand> {
        if input.dims.is_some() {
            return Buffer::from_bytes(gpu, input.element, shape, bytes).map(Operand::Buffer);
        }
        let mut word = [0; 8];
        match word.get_mut(..bytes.len()) {
            Some(low) if bytes.len() == input.element.size() as usize => low.copy_from_slice(bytes),
            _ => {
                return Err(Error::Elements {
                    shape: Vec::new(),
                    expected: 1,
                    found: bytes.len() / input.element.size() as usize,
                });
            }
        }
        Ok(Operand::Scalar(u64::from_le_bytes(word)))
    }

    /// The argument of a launch.
    pub fn argument(&self) -> Argument<'_> {
        match self {
            Operand::Buffer(buffer) => Argument::Tensor(buffer.view()),
            Operand::Scalar(bits) => Argument::Scalar(*bits),
        }
    }
}

#[cfg(all(test, feature = "emulator"))]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_in_and_come_out_as_they_are() {
        let gpu = Gpu::emulated();
        let bytes: Vec<u8> = (0..12).collect();
        let mut buffer = Buffer::from_bytes(&gpu, ElementId::F16, &[2, 3], &bytes).unwrap();
        assert_eq!((buffer.to_bytes().unwrap(), buffer.len_bytes()), (bytes, 12));
        buffer.write(&[0xff; 12]).unwrap();
        assert_eq!(buffer.to_bytes().unwrap(), [0xff; 12]);
        for wrong in [&[][..], &[0; 11], &[0; 14]] {
            let error = buffer.write(wrong).unwrap_err();
            assert!(matches!(error, Error::Elements { expected: 6, .. }), "{error}");
        }
        assert_eq!(
            Buffer::zeros(&gpu, ElementId::I64, &[2]).unwrap().to_bytes().unwrap(),
            [0; 16]
        );
        assert_eq!(Buffer::zeros(&gpu, ElementId::Bool, &[0, 9]).unwrap().len_bytes(), 0);
        assert!(Buffer::zeros(&gpu, ElementId::F32, &[usize::MAX, 2]).is_err());
    }

    #[test]
    fn scalars_are_padded_and_must_have_their_size() {
        let gpu = Gpu::emulated();
        let input = Input {
            name: "x".to_owned(),
            element: ElementId::F16,
            dims: None,
        };
        let operand = Operand::new(&gpu, &input, &[], &[1, 2]).unwrap();
        assert!(matches!(operand.argument(), Argument::Scalar(0x201)));
        assert!(Operand::new(&gpu, &input, &[], &[1, 2, 3, 4]).is_err());
    }
}
