//! Contexts. Only primary contexts exist.

use crate::abi::Out;
use crate::codes::Code;
use crate::machine::Machine;
use std::ffi::c_int;

entries! {
    fn cuDevicePrimaryCtxRetain(context: Out<u64>, device: c_int) |machine| {
        machine.device(device)?;
        let number = device as usize;
        machine.healthy(number)?;
        if machine.devices[number].users == 0 {
            machine.devices[number].generation += 1;
            machine.devices[number].legacy = machine.add_stream(number, true, false);
        }
        machine.devices[number].users += 1;
        context.set(machine.context(number))
    }

    fn cuDevicePrimaryCtxRelease_v2(device: c_int) |machine| {
        let device = machine.device(device)?;
        device.users = device.users.checked_sub(1).ok_or(Code::INVALID_CONTEXT)?;
        Ok(())
    }

    fn cuCtxGetCurrent(context: Out<u64>) |machine| {
        machine.initialised()?;
        context.set(Machine::current_context())
    }

    fn cuCtxSetCurrent(context: u64) |machine| {
        machine.initialised()?;
        machine.set_current(context)
    }

    fn cuCtxGetDevice(device: Out<c_int>) |machine| {
        let current = machine.current()?;
        device.set(current as c_int)
    }

    fn cuCtxSynchronize() |machine| {
        let device = machine.current()?;
        machine.without_captures(device)?;
        machine.finish_device(device)
    }
}
