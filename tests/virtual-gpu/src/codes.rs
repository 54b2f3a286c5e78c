//! The error codes of the two libraries.

use std::ffi::CStr;

/// An error code of the CUDA driver or of NVML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code(pub i32);

/// The result of an entry point.
pub type Answer<T = ()> = Result<T, Code>;

macro_rules! codes {
    ($($name:ident $number:literal $text:literal)+) => {
        impl Code {
            $(pub const $name: Code = Code($number);)+

            /// Returns the driver's name of a code, 0 included.
            pub fn name(code: i32) -> Option<&'static CStr> {
                Some(match code {
                    0 => c"CUDA_SUCCESS",
                    214 => c"CUDA_ERROR_ECC_UNCORRECTABLE",
                    $($number => $text,)+
                    _ => return None,
                })
            }
        }
    };
}

codes! {
    INVALID_VALUE 1 c"CUDA_ERROR_INVALID_VALUE"
    OUT_OF_MEMORY 2 c"CUDA_ERROR_OUT_OF_MEMORY"
    NOT_INITIALIZED 3 c"CUDA_ERROR_NOT_INITIALIZED"
    NO_DEVICE 100 c"CUDA_ERROR_NO_DEVICE"
    INVALID_DEVICE 101 c"CUDA_ERROR_INVALID_DEVICE"
    INVALID_CONTEXT 201 c"CUDA_ERROR_INVALID_CONTEXT"
    NO_BINARY_FOR_GPU 209 c"CUDA_ERROR_NO_BINARY_FOR_GPU"
    INVALID_PTX 218 c"CUDA_ERROR_INVALID_PTX"
    UNSUPPORTED_PTX_VERSION 222 c"CUDA_ERROR_UNSUPPORTED_PTX_VERSION"
    INVALID_HANDLE 400 c"CUDA_ERROR_INVALID_HANDLE"
    ILLEGAL_STATE 401 c"CUDA_ERROR_ILLEGAL_STATE"
    NOT_FOUND 500 c"CUDA_ERROR_NOT_FOUND"
    NOT_READY 600 c"CUDA_ERROR_NOT_READY"
    ILLEGAL_ADDRESS 700 c"CUDA_ERROR_ILLEGAL_ADDRESS"
    LAUNCH_OUT_OF_RESOURCES 701 c"CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"
    LAUNCH_TIMEOUT 702 c"CUDA_ERROR_LAUNCH_TIMEOUT"
    CONTEXT_IS_DESTROYED 709 c"CUDA_ERROR_CONTEXT_IS_DESTROYED"
    MISALIGNED_ADDRESS 716 c"CUDA_ERROR_MISALIGNED_ADDRESS"
    LAUNCH_FAILED 719 c"CUDA_ERROR_LAUNCH_FAILED"
    NOT_SUPPORTED 801 c"CUDA_ERROR_NOT_SUPPORTED"
    CAPTURE_UNSUPPORTED 900 c"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"
    CAPTURE_INVALIDATED 901 c"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"
    CAPTURE_MERGE 902 c"CUDA_ERROR_STREAM_CAPTURE_MERGE"
    CAPTURE_UNMATCHED 903 c"CUDA_ERROR_STREAM_CAPTURE_UNMATCHED"
    CAPTURE_UNJOINED 904 c"CUDA_ERROR_STREAM_CAPTURE_UNJOINED"
    CAPTURE_ISOLATION 905 c"CUDA_ERROR_STREAM_CAPTURE_ISOLATION"
    CAPTURE_IMPLICIT 906 c"CUDA_ERROR_STREAM_CAPTURE_IMPLICIT"
    CAPTURED_EVENT 907 c"CUDA_ERROR_CAPTURED_EVENT"
    CAPTURE_WRONG_THREAD 908 c"CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD"
    UNKNOWN 999 c"CUDA_ERROR_UNKNOWN"
}

/// NVML's codes.
pub mod nvml {
    use super::Code;
    use std::ffi::CStr;

    pub const UNINITIALIZED: Code = Code(1);
    pub const INVALID_ARGUMENT: Code = Code(2);
    pub const NOT_SUPPORTED: Code = Code(3);
    pub const NOT_FOUND: Code = Code(6);
    pub const INSUFFICIENT_SIZE: Code = Code(7);

    /// Returns the meaning of a code.
    pub fn text(code: i32) -> &'static CStr {
        match code {
            0 => c"The operation was successful",
            1 => c"NVML was not first initialized",
            2 => c"A supplied argument is invalid",
            3 => c"The requested operation is not available on target device",
            4 => c"The current user does not have permission for operation",
            6 => c"A query to find an object was unsuccessful",
            7 => c"An input argument is not large enough",
            15 => c"The GPU has fallen off the bus",
            _ => c"An internal driver error occurred",
        }
    }
}
