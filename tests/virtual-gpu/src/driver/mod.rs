//! The entry points of the CUDA driver.
#![allow(non_snake_case)]

/// Defines entry points whose calls are counted, traced and subject to injected faults.
macro_rules! entries {
    ($(fn $name:ident($($argument:tt)*) |$machine:ident| $body:block)+) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $name($($argument)*) -> std::ffi::c_int {
            $crate::machine::answer(stringify!($name), |$machine| $body)
        }
    )+};
}
pub(crate) use entries;

mod context;
mod control;
mod device;
mod event;
mod graph;
mod memory;
mod module;
mod stream;
mod unsupported;
