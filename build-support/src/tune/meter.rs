//! What measures candidates, and what they are measured on.

use super::data::{Data, shape, volume};
use bincode::{Decode, Encode};
use energy_kernel::tools::{Argument, View};
use energy_kernel::{Gpu, Tensor, bf16, f16};
use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::element::Element;
use energy_kernel_compiler::kernel::Kernel;
use energy_kernel_compiler::record::{Conditions, DeviceClass, Estimate, Reason};
use energy_kernel_compiler::schedule::Schedule;
use energy_kernel_compiler::size::Specialisation;
use energy_kernel_compiler::target::Machine;
use std::time::Instant;

/// What is measured: an operator at a size, on the same inputs for all candidates.
#[derive(Debug, Clone, Copy)]
pub struct Problem<'a> {
    /// The operator.
    pub checked: &'a Checked,
    /// What kernels are compiled to know.
    pub specialisation: &'a Specialisation,
    /// All sizes.
    pub sizes: &'a [u64],
    /// The values of its parameters.
    pub inputs: &'a [Data],
    /// What they were made from.
    pub seed: u64,
}

/// A figure, and what held while it was measured.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Measured {
    /// Seconds, or joules, a launch.
    pub estimate: Estimate,
    /// What held.
    pub conditions: Conditions,
    /// Seconds a launch in the window of an energy; none where there was no window.
    pub latency: Option<Estimate>,
}

/// An element of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Place {
    /// The output's number.
    pub output: u32,
    /// The element's row-major position.
    pub position: u64,
}

/// Why a candidate has no figure.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, thiserror::Error)]
pub enum MeterError {
    /// The candidate does not compete; the device goes on.
    #[error("{reason}: {detail}")]
    Rejected {
        /// The kind of failure.
        reason: Reason,
        /// The error, for people.
        detail: String,
    },
    /// The device cannot measure this problem at all: its tensors are too large, or the trace does not hold it.
    #[error("{0}")]
    Unfit(String),
    /// The device does not work any more; nothing else can be measured on it.
    #[error("{0}")]
    Broken(String),
}

impl MeterError {
    /// A candidate that does not compete.
    pub(crate) fn rejected(reason: Reason, detail: impl ToString) -> MeterError {
        MeterError::Rejected {
            reason,
            detail: detail.to_string(),
        }
    }
}

/// What a measurement of energy is for: how long it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub enum Effort {
    /// To choose among candidates: windows of at least 2 s.
    #[default]
    Search,
    /// To be published: windows of at least 5 s.
    Claim,
}

/// Measures candidates on a device.
pub trait Meter {
    /// A candidate on the device.
    type Candidate;

    /// Which device.
    fn device(&self) -> &DeviceClass;

    /// The identity of the GPU, `GPU-…`; none where that is not known, or where there is none.
    fn uuid(&self) -> Option<String> {
        None
    }

    /// What default schedules are chosen for.
    fn machine(&self) -> Machine;

    /// The most candidates that are worth trying.
    fn most_candidates(&self) -> usize;

    /// Whether energy costs nothing to measure, so that all candidates are.
    fn energy_is_free(&self) -> bool;

    /// Whether its measurements were made before, and checked then: no kernel is run, and what it computes is not told.
    fn is_recorded(&self) -> bool {
        false
    }

    /// When the measurements of the problem at hand were made, in seconds since 1970; none where they are made now.
    fn measured_at(&self) -> Option<u64> {
        None
    }

    /// Whether it can measure this schedule of the problem at hand: a device can try all of them.
    fn has(&self, schedule: &Schedule) -> bool {
        let _ = schedule;
        true
    }

    /// Whether it can measure an operator at all at these sizes.
    ///
    /// # Errors
    /// Why it cannot.
    fn accepts(&self, checked: &Checked, sizes: &[u64]) -> Result<(), MeterError> {
        let _ = (checked, sizes);
        Ok(())
    }

    /// What energies are measured for from now on. Where windows have no length, nothing changes.
    fn set_effort(&mut self, effort: Effort) {
        let _ = effort;
    }

    /// Takes on another problem, until the deadline at most.
    ///
    /// # Errors
    /// Its tensors do not fit the device, or the device is broken.
    fn begin(&mut self, problem: Problem<'_>, deadline: Instant) -> Result<(), MeterError>;

    /// Puts a candidate on the device and runs it once, until the deadline at most. Returns with it the elements at these places
    /// of its results, each with its bytes in the lowest places of a word.
    ///
    /// # Errors
    /// It does not compete, it takes too long, or the device is broken.
    fn load(
        &mut self,
        problem: Problem<'_>,
        kernel: &Kernel,
        places: &[Place],
        deadline: Instant,
    ) -> Result<(Self::Candidate, Vec<u64>), MeterError>;

    /// Seconds a launch.
    ///
    /// # Errors
    /// The candidate fails after all, or the device is broken.
    fn latency(
        &mut self,
        problem: Problem<'_>,
        candidate: &Self::Candidate,
        deadline: Instant,
    ) -> Result<Measured, MeterError>;

    /// Joules a launch; none where they cannot be measured, or not before the deadline.
    ///
    /// # Errors
    /// The candidate fails after all, or the device is broken.
    fn energy(
        &mut self,
        problem: Problem<'_>,
        candidate: &Self::Candidate,
        latency: f64,
        deadline: Instant,
    ) -> Result<Option<Measured>, MeterError>;
}

/// A tensor of any element type on a device, or a scalar.
pub(crate) enum Held {
    F32(Tensor<f32>),
    F16(Tensor<f16>),
    BF16(Tensor<bf16>),
    F64(Tensor<f64>),
    I8(Tensor<i8>),
    U8(Tensor<u8>),
    I32(Tensor<i32>),
    I64(Tensor<i64>),
    Bool(Tensor<bool>),
    Scalar(u64),
}

macro_rules! tensor {
    ($held:expr, $tensor:ident => $result:expr, $bits:ident => $scalar:expr) => {
        match $held {
            Held::F32($tensor) => $result,
            Held::F16($tensor) => $result,
            Held::BF16($tensor) => $result,
            Held::F64($tensor) => $result,
            Held::I8($tensor) => $result,
            Held::U8($tensor) => $result,
            Held::I32($tensor) => $result,
            Held::I64($tensor) => $result,
            Held::Bool($tensor) => $result,
            Held::Scalar($bits) => $scalar,
        }
    };
}

impl Held {
    fn argument(&self) -> Argument<'_> {
        tensor!(self, tensor => Argument::tensor(tensor), bits => Argument::Scalar(*bits))
    }

    fn view(&self) -> Option<View<'_>> {
        tensor!(self, tensor => Some(View::from(tensor)), _bits => None)
    }
}

/// One set of an operator's tensors on a device.
pub(crate) struct Workload {
    inputs: Vec<Held>,
    outputs: Vec<Held>,
}

impl Workload {
    /// Copies the inputs to the device, and makes room for the outputs.
    pub(crate) fn new(gpu: &Gpu, problem: Problem<'_>) -> energy_kernel::Result<Workload> {
        let op = problem.checked.op();
        let upload = |(input, data): (&energy_kernel_compiler::ir::Input, &Data)| match input.dims {
            Some(_) => hold(gpu, data.element, &data.shape, Some(&data.bytes)),
            None => {
                let mut bits = [0; 8];
                bits[..data.bytes.len()].copy_from_slice(&data.bytes);
                Ok(Held::Scalar(u64::from_le_bytes(bits)))
            }
        };
        let room = |output: &energy_kernel_compiler::ir::Output| {
            hold(gpu, output.element, &shape(&output.dims, problem.sizes), None)
        };
        Ok(Workload {
            inputs: op
                .inputs
                .iter()
                .zip(problem.inputs)
                .map(upload)
                .collect::<Result<_, _>>()?,
            outputs: op.outputs.iter().map(room).collect::<Result<_, _>>()?,
        })
    }

    /// Overwrites the outputs: a kernel that writes nothing must not pass for one that gave the results of the last.
    pub(crate) fn poison(&mut self, gpu: &Gpu, problem: Problem<'_>) -> energy_kernel::Result<()> {
        for (held, output) in self.outputs.iter_mut().zip(&problem.checked.op().outputs) {
            let shape = shape(&output.dims, problem.sizes);
            let bytes = volume(&output.dims, problem.sizes).saturating_mul(output.element.size().into());
            // NaN, or −1.
            let poison = vec![0xff; usize::try_from(bytes).unwrap_or(0)];
            *held = hold(gpu, output.element, &shape, Some(&poison))?;
        }
        Ok(())
    }

    pub(crate) fn arguments(&self) -> Vec<Argument<'_>> {
        self.inputs.iter().map(Held::argument).collect()
    }

    pub(crate) fn views(&self) -> Vec<View<'_>> {
        self.outputs.iter().filter_map(Held::view).collect()
    }

    /// Copies the results at these places back.
    pub(crate) fn results(&self, problem: Problem<'_>, places: &[Place]) -> energy_kernel::Result<Vec<u64>> {
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let outputs = self.outputs.iter().zip(&problem.checked.op().outputs);
        let outputs: Vec<Data> = outputs
            .map(|(held, output)| {
                Ok(Data {
                    element: output.element,
                    shape: shape(&output.dims, problem.sizes),
                    bytes: download(held)?,
                })
            })
            .collect::<energy_kernel::Result<_>>()?;
        Ok(pick(&outputs, places))
    }
}

/// A tensor with these elements, or zeros. Whole buffers are copied at once: build scripts are not optimised, and a loop over
/// elements would take longer than the measurement.
fn hold(gpu: &Gpu, element: Element, shape: &[u64], bytes: Option<&[u8]>) -> energy_kernel::Result<Held> {
    let shape: Vec<usize> = shape
        .iter()
        .map(|&extent| usize::try_from(extent).unwrap_or(usize::MAX))
        .collect();
    macro_rules! make {
        ($variant:ident, $T:ty, $from:expr) => {{
            let from: fn(&[u8]) -> Vec<$T> = $from;
            Held::$variant(match bytes {
                None => Tensor::zeros(gpu, &shape)?,
                Some(bytes) => Tensor::from_slice(gpu, &shape, &from(bytes))?,
            })
        }};
    }
    Ok(match element {
        Element::F32 => make!(F32, f32, plain),
        Element::F16 => make!(F16, f16, plain),
        Element::BF16 => make!(BF16, bf16, plain),
        Element::F64 => make!(F64, f64, plain),
        Element::I8 => make!(I8, i8, plain),
        Element::U8 => make!(U8, u8, plain),
        Element::I32 => make!(I32, i32, plain),
        Element::I64 => make!(I64, i64, plain),
        Element::Bool => make!(Bool, bool, |bytes| bytes.iter().map(|&byte| byte != 0).collect()),
    })
}

fn download(held: &Held) -> energy_kernel::Result<Vec<u8>> {
    tensor!(held, tensor => Ok(bytes_of(&tensor.to_vec()?)), _bits => Ok(Vec::new()))
}

/// The elements of these outputs at these places; 0 where there is none.
pub(crate) fn pick(outputs: &[Data], places: &[Place]) -> Vec<u64> {
    let element = |place: &Place| outputs.get(place.output as usize)?.at(place.position);
    let word = |place| {
        let mut word = [0; 8];
        if let Some(bytes) = element(place) {
            word[..bytes.len()].copy_from_slice(bytes);
        }
        u64::from_le_bytes(word)
    };
    places.iter().map(word).collect()
}

/// A type that may have any bits, and has no padding.
trait Plain: Copy {}

impl Plain for f32 {}
impl Plain for f16 {}
impl Plain for bf16 {}
impl Plain for f64 {}
impl Plain for i8 {}
impl Plain for u8 {}
impl Plain for i32 {}
impl Plain for i64 {}

/// The numbers that these bytes are; left over ones are dropped.
fn plain<T: Plain>(bytes: &[u8]) -> Vec<T> {
    let count = bytes.len() / size_of::<T>();
    let mut numbers = Vec::<T>::with_capacity(count);
    // SAFETY: the capacity is `count` numbers, which the bytes are at least; any bits are a `T`.
    unsafe {
        std::ptr::copy_nonoverlapping(
            bytes.as_ptr(),
            numbers.as_mut_ptr().cast::<u8>(),
            count * size_of::<T>(),
        );
        numbers.set_len(count);
    }
    numbers
}

/// The bytes that these elements are.
fn bytes_of<T: energy_kernel::Element>(elements: &[T]) -> Vec<u8> {
    // SAFETY: elements of tensors are numbers or truth values, without padding, so that all of their bytes are initialised.
    let bytes = unsafe { std::slice::from_raw_parts(elements.as_ptr().cast::<u8>(), size_of_val(elements)) };
    bytes.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_their_bytes() {
        let floats = [1.5f32, -0.0, f32::INFINITY];
        let bytes: Vec<u8> = floats.iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!(bytes_of(&floats), bytes);
        assert_eq!(plain::<f32>(&bytes), floats);
        assert_eq!(plain::<i64>(&bytes).len(), 1);
        assert_eq!(plain::<f16>(&[]), []);
        assert_eq!(bytes_of(&[true, false]), [1, 0]);
    }
}
