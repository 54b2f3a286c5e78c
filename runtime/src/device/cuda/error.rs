//! Driver errors as errors of this crate.

use crate::error::Error;
use cudarc::driver::DriverError;

/// Converts the error of a driver function. Does not call the driver, which may be what failed.
pub(super) fn failed(call: &'static str) -> impl FnOnce(DriverError) -> Error {
    move |error| Error::Driver {
        call,
        code: error.0 as u32,
        name: name_of(error),
    }
}

/// The name of a driver error, without the driver's help.
pub(super) fn name_of(error: DriverError) -> String {
    format!("{:?}", error.0)
}
