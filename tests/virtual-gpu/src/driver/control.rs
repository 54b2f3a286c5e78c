//! What no driver has: a test that runs in a process on the virtual GPU asks for faults while it runs.

use crate::abi::Text;
use crate::codes::Code;
use crate::settings::faults;
use std::ffi::c_int;

/// Sets the faults of `VIRTUAL_GPU_FAIL`; none for an empty text.
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
