//! An entry point that no driver has: a test injects faults while its process runs.

use crate::abi::Text;
use crate::codes::Code;
use crate::settings::faults;
use std::ffi::c_int;

/// Replaces the faults of `VIRTUAL_GPU_FAIL`. An empty text removes them.
#[unsafe(no_mangle)]
extern "C" fn virtualGpuFail(text: Text) -> c_int {
    crate::machine::answer("virtualGpuFail", |machine| {
        let wanted = match text.read()? {
            "" => Vec::new(),
            text => faults(text).map_err(|error| {
                eprintln!("virtual GPU: {text}: {error}");
                Code::INVALID_VALUE
            })?,
        };
        machine.set_faults(wanted);
        Ok(())
    })
}
