//! What can go wrong, typed.

use energy_kernel_compiler::check::CallError;
use energy_kernel_compiler::text::{counted, given};

/// An error of this crate. Says what happened, where, and what can be done about it.
///
/// `Display` says all of it: no variant has a [`source`](std::error::Error::source), so a chain of errors prints nothing twice.
#[derive(Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no CUDA driver on this machine.
    #[error("no CUDA driver: none of {} can be opened ({reason}); install the NVIDIA driver, or use `Gpu::emulated()`", .tried.join(", "))]
    NoDriver {
        /// Names that were tried.
        tried: Vec<String>,
        /// What the system's loader said last.
        reason: String,
    },
    /// The driver lacks a function that this crate needs.
    #[error("the CUDA driver is too old: it has no `{symbol}`; CUDA 12.0 (driver 525) or later is needed")]
    DriverTooOld {
        /// The missing function.
        symbol: &'static str,
    },
    /// The driver works, and finds no device.
    #[error("the CUDA driver finds no GPU (CUDA_VISIBLE_DEVICES may hide it); `Gpu::emulated()` needs none")]
    NoDevice,
    /// There is no device of that ordinal.
    #[error("there is no GPU {ordinal}: the driver finds {count}")]
    NoSuchDevice {
        /// The ordinal asked for.
        ordinal: usize,
        /// Devices there are.
        count: usize,
    },
    /// A GPU that the kernels cannot run on.
    #[error("{name} has compute capability {major}.{minor}; kernels need 8.0 (Ampere) or later")]
    UnsupportedDevice {
        /// The device's name.
        name: String,
        /// Compute capability, first number.
        major: u32,
        /// Compute capability, second number.
        minor: u32,
    },
    /// A function of the driver failed.
    #[error("{call} failed: {name} ({code})")]
    Driver {
        /// The function.
        call: &'static str,
        /// The driver's error code.
        code: u32,
        /// The code's name.
        name: String,
    },
    /// The device's memory is exhausted.
    #[error("out of device memory: {bytes} bytes do not fit")]
    OutOfMemory {
        /// Bytes asked for.
        bytes: u64,
    },
    /// A kernel needs more memory of its own than is kept, and its stream is being captured into a graph.
    #[error(
        "a kernel needs {bytes} bytes for sums that its blocks leave for each other, which cannot be allocated while the stream is captured; call `prepare` for these sizes before the capture begins"
    )]
    Unprepared {
        /// Bytes it needs.
        bytes: u64,
    },
    /// Another number of elements than the shape says.
    #[error("shape {shape:?} has {}, but {}", counted(*.expected as u64, "element", "elements"), given(*.found as u64, "element", "elements"))]
    Elements {
        /// The shape.
        shape: Vec<usize>,
        /// Elements of the shape.
        expected: usize,
        /// Elements given.
        found: usize,
    },
    /// A shape of more bytes than can be addressed.
    #[error("shape {shape:?} overflows the address space")]
    ShapeOverflow {
        /// The shape.
        shape: Vec<usize>,
    },
    /// A range of the leading axis that the tensor does not have.
    #[error("range {start}..{end} is not in the leading axis of shape {shape:?}")]
    Slice {
        /// First index.
        start: usize,
        /// Index behind the last.
        end: usize,
        /// The tensor's shape.
        shape: Vec<usize>,
    },
    /// The operator cannot be called with these shapes or sizes.
    #[error("`{operator}`: {problem}")]
    Call {
        /// The operator.
        operator: String,
        /// What does not fit.
        problem: Box<CallError>,
    },
    /// An output tensor of another shape than the operator gives.
    #[error("`{operator}`: output {output} has shape {expected:?}, but the tensor given for it has {found:?}")]
    OutputShape {
        /// The operator.
        operator: String,
        /// The output's position.
        output: usize,
        /// The shape the operator gives.
        expected: Vec<usize>,
        /// The shape of the tensor.
        found: Vec<usize>,
    },
    /// A tensor of another device than the one the operator runs on.
    #[error("`{operator}`: {tensor} is on {found}, but the operator runs on {expected}")]
    WrongDevice {
        /// The operator.
        operator: String,
        /// The tensor's name.
        tensor: String,
        /// The device the operator runs on.
        expected: String,
        /// The tensor's device.
        found: String,
    },
    /// An output that shares memory with another argument.
    #[error("`{operator}`: output {output} overlaps {other} in memory")]
    Overlap {
        /// The operator.
        operator: String,
        /// The output's position.
        output: usize,
        /// The other argument.
        other: String,
    },
    /// No kernel of the operator is for these element types.
    #[error("`{operator}` is not made for {types}")]
    ElementTypes {
        /// The operator.
        operator: String,
        /// The types asked for.
        types: String,
    },
    /// A gathered index was out of range (see [`Gpu::check_indices`](crate::Gpu::check_indices)).
    #[error("`{operator}`: an index read from a tensor was out of range; the element was taken as 0")]
    IndexOutOfRange {
        /// The operator.
        operator: String,
    },
    /// The operator could not be computed on the CPU.
    #[error("`{operator}`: {reason}")]
    Reference {
        /// The operator.
        operator: String,
        /// Why.
        reason: String,
    },
    /// No kernel could be made for the operator at these sizes.
    #[error("`{operator}`: no kernel: {reason}")]
    Lower {
        /// The operator.
        operator: String,
        /// Why.
        reason: String,
    },
    /// The driver or the emulator rejected a kernel.
    #[error("`{kernel}` cannot be loaded: {reason}{}{log}", if .log.is_empty() { "" } else { "\n" })]
    Load {
        /// The kernel.
        kernel: String,
        /// The error.
        reason: String,
        /// What the driver's compiler wrote.
        log: String,
    },
    /// An emulated launch failed.
    #[error("`{kernel}` failed on the emulated device: {reason}")]
    Emulator {
        /// The kernel.
        kernel: String,
        /// What happened.
        reason: String,
    },
    /// The emulator's sanitizer found something.
    #[error("`{kernel}`: the sanitizer found {}, the first: {}", counted(.findings.len() as u64, "problem", "problems"), .findings.first().map_or("", String::as_str))]
    Sanitizer {
        /// The kernel.
        kernel: String,
        /// What it found, each with its PTX line, block and thread.
        findings: Vec<String>,
    },
    /// The operator that the macro embedded cannot be read: crates of different versions were mixed.
    #[error("`{operator}` was embedded by another version of energy-kernel-macros: {reason}")]
    Embedded {
        /// The operator.
        operator: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something that only works on the emulated device, or only on a real one.
    #[error("{what} is for {} devices", if *.emulated { "emulated" } else { "real" })]
    WrongKind {
        /// What was asked for.
        what: &'static str,
        /// Whether it is for emulated devices.
        emulated: bool,
    },
    /// An operation that would invalidate the capture of a stream into a CUDA graph. It was refused; the capture is intact.
    #[error("{what} is not possible while the stream is captured into a CUDA graph; {remedy}")]
    Capture {
        /// The operation.
        what: String,
        /// The remedy, as an imperative.
        remedy: &'static str,
    },
    /// Memory or a kernel that was dropped earlier could not be released. The call that reports it has succeeded otherwise.
    #[error("something that was dropped earlier could not be released: {source}")]
    Release {
        /// The failure.
        source: Box<Error>,
    },
    /// A tensor that cannot become a cudarc slice.
    #[error("the tensor cannot become a cudarc slice: {reason}")]
    IntoCuda {
        /// The reason.
        reason: &'static str,
    },
    /// Energy could not be measured.
    #[error("energy cannot be measured: {reason}")]
    Energy {
        /// Why, and what to do.
        reason: String,
    },
}

/// `main() -> Result<_, Error>` and `unwrap` print errors with `Debug`: they print what `Display` says.
impl std::fmt::Debug for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn main_prints_what_display_says_and_a_chain_says_it_once() {
        let problem = CallError::MissingSize { name: "K".to_owned() };
        let error = Error::Call {
            operator: "swiglu".to_owned(),
            problem: Box::new(problem.clone()),
        };
        // As `main() -> Result<(), Error>` does.
        assert_eq!(format!("{error:?}"), format!("`swiglu`: {problem}"));
        assert_eq!(format!("{error:#?}"), error.to_string());
        assert!(error.source().is_none(), "`Display` has said it");
    }
}
