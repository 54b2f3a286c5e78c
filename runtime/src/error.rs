//! The errors of this crate.

use energy_kernel_compiler::check::CallError;
use energy_kernel_compiler::text::{counted, given};

/// An error of this crate: what is wrong, where, and what to do.
///
/// `Display` includes the causes, so no variant has a [`source`](std::error::Error::source). A chain of errors prints each cause once.
#[derive(Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// This machine has no CUDA driver.
    #[error("no CUDA driver: none of {} can be opened ({reason}); install the NVIDIA driver, or use `Gpu::emulated()`", .tried.join(", "))]
    NoDriver {
        /// The file names tried.
        tried: Vec<String>,
        /// The last error of the system's loader.
        reason: String,
    },
    /// The driver lacks a function that this crate needs.
    #[error("the CUDA driver is too old: it has no `{symbol}`; install driver 525 (CUDA 12.0) or later")]
    DriverTooOld {
        /// The missing function.
        symbol: &'static str,
    },
    /// The driver works but finds no GPU.
    #[error("the CUDA driver finds no GPU; check CUDA_VISIBLE_DEVICES, or use `Gpu::emulated()`")]
    NoDevice,
    /// No GPU has this ordinal.
    #[error("there is no GPU {ordinal}: the driver finds {count}")]
    NoSuchDevice {
        /// The ordinal asked for.
        ordinal: usize,
        /// The number of GPUs.
        count: usize,
    },
    /// The kernels cannot run on this GPU.
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
        /// The bytes asked for.
        bytes: u64,
    },
    /// A kernel needs a larger workspace, but its stream is being captured into a graph.
    #[error(
        "`{operator}` needs a {bytes}-byte workspace, which cannot be allocated during stream capture; call `prepare` for these sizes first"
    )]
    Unprepared {
        /// The operator.
        operator: String,
        /// The bytes it needs.
        bytes: u64,
    },
    /// The number of elements is not the shape's.
    #[error("shape {shape:?} has {}, but {}", counted(*.expected as u64, "element", "elements"), given(*.found as u64, "element", "elements"))]
    Elements {
        /// The shape.
        shape: Vec<usize>,
        /// Elements of the shape.
        expected: usize,
        /// Elements given.
        found: usize,
    },
    /// A shape has more bytes than can be addressed.
    #[error("shape {shape:?} overflows the address space")]
    ShapeOverflow {
        /// The shape.
        shape: Vec<usize>,
    },
    /// A range exceeds the leading axis of the tensor.
    #[error("range {start}..{end} exceeds the leading axis of shape {shape:?}")]
    Slice {
        /// First index.
        start: usize,
        /// One past the last index.
        end: usize,
        /// The tensor's shape.
        shape: Vec<usize>,
    },
    /// The operator cannot be called with these shapes or sizes.
    #[error("`{operator}`: {problem}")]
    Call {
        /// The operator.
        operator: String,
        /// The problem.
        problem: Box<CallError>,
    },
    /// An output tensor does not have the shape of the operator's output.
    #[error("`{operator}`: output {output} has shape {expected:?}, but the tensor given for it has {found:?}")]
    OutputShape {
        /// The operator.
        operator: String,
        /// The output's position.
        output: usize,
        /// The shape of the operator's output.
        expected: Vec<usize>,
        /// The shape of the tensor.
        found: Vec<usize>,
    },
    /// A tensor is on another device than the operator.
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
    /// An output shares memory with another argument.
    #[error("`{operator}`: output {output} overlaps {other} in memory")]
    Overlap {
        /// The operator.
        operator: String,
        /// The output's position.
        output: usize,
        /// The other argument.
        other: String,
    },
    /// The operator does not have these element types.
    #[error("`{operator}` is not made for {types}")]
    ElementTypes {
        /// The operator.
        operator: String,
        /// The types asked for.
        types: String,
    },
    /// A gathered index was out of range ([`Gpu::check_indices`](crate::Gpu::check_indices)).
    #[error("`{operator}`: an index read from a tensor was out of range; its element was read as 0")]
    IndexOutOfRange {
        /// The operator.
        operator: String,
    },
    /// The operator could not be computed on the CPU.
    #[error("`{operator}`: {reason}")]
    Reference {
        /// The operator.
        operator: String,
        /// The reason.
        reason: String,
    },
    /// No kernel can be compiled or launched for the operator at these sizes.
    #[error("`{operator}`: no kernel: {reason}")]
    Lower {
        /// The operator.
        operator: String,
        /// The reason.
        reason: String,
    },
    /// The driver or the emulator rejected a kernel.
    #[error("`{kernel}` cannot be loaded: {reason}{}{log}", if .log.is_empty() { "" } else { "\n" })]
    Load {
        /// The kernel.
        kernel: String,
        /// The reason.
        reason: String,
        /// The log of the driver's compiler.
        log: String,
    },
    /// An emulated launch failed.
    #[error("`{kernel}` failed on the emulated device: {reason}")]
    Emulator {
        /// The kernel.
        kernel: String,
        /// The reason.
        reason: String,
    },
    /// The emulator's sanitizer found a problem.
    #[error("`{kernel}`: the sanitizer found {}, the first: {}", counted(.findings.len() as u64, "problem", "problems"), .findings.first().map_or("", String::as_str))]
    Sanitizer {
        /// The kernel.
        kernel: String,
        /// The findings, each with its PTX line, block and thread.
        findings: Vec<String>,
    },
    /// The embedded operator cannot be read, because crates of different versions were mixed.
    #[error("`{operator}` was embedded by another version of energy-kernel-macros: {reason}")]
    Embedded {
        /// The operator.
        operator: String,
        /// The reason.
        reason: String,
    },
    /// A feature works only on emulated GPUs, or only on real ones.
    #[error("{what} is for {} devices", if *.emulated { "emulated" } else { "real" })]
    WrongKind {
        /// The feature.
        what: &'static str,
        /// `true` if it works only on emulated GPUs.
        emulated: bool,
    },
    /// An operation would invalidate the capture of a stream into a CUDA graph. It was refused, and the capture is intact.
    #[error("{what} is not possible during stream capture; {remedy}")]
    Capture {
        /// The operation.
        what: String,
        /// The remedy, as an imperative.
        remedy: &'static str,
    },
    /// Memory or a module dropped earlier could not be released. The reporting call has succeeded otherwise.
    #[error("a resource dropped earlier could not be released: {failure}")]
    Release {
        /// The failure.
        failure: Box<Error>,
    },
    /// A tensor cannot become a cudarc slice.
    #[error("the tensor cannot become a cudarc slice: {reason}")]
    IntoCuda {
        /// The reason.
        reason: &'static str,
    },
    /// Energy could not be measured.
    #[error("energy cannot be measured: {reason}")]
    Energy {
        /// The reason, and what to do.
        reason: String,
    },
}

/// Same as `Display`, because `unwrap` and `main() -> Result<_, Error>` print errors with `Debug`.
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
    fn debug_equals_display_and_a_chain_prints_each_cause_once() {
        let problem = CallError::MissingSize { name: "K".to_owned() };
        let error = Error::Call {
            operator: "swiglu".to_owned(),
            problem: Box::new(problem.clone()),
        };
        // As `main() -> Result<(), Error>` does.
        assert_eq!(format!("{error:?}"), format!("`swiglu`: {problem}"));
        assert_eq!(format!("{error:#?}"), error.to_string());
        let release = Error::Release {
            failure: Box::new(error.clone()),
        };
        assert!(release.to_string().ends_with(&error.to_string()));
        for error in [error, release] {
            assert!(error.source().is_none(), "`Display` includes the cause");
        }
    }
}
