//! Memory: allocation, copies, fills.

use crate::abi::{Array, Out, Room};
use crate::codes::{Answer, Code};
use crate::machine::{Machine, Pause};
use crate::stream::{StreamId, Work};

entries! {
    fn cuMemGetInfo_v2(free: Out<usize>, total: Out<usize>) |machine| {
        let device = machine.current()?;
        let memory = &machine.devices[device].memory;
        free.set((machine.settings.memory - memory.used()) as usize)?;
        total.set(machine.devices[device].profile.memory as usize)
    }

    fn cuMemAlloc_v2(address: Out<u64>, bytes: usize) |machine| {
        let device = machine.current()?;
        machine.outside_captures()?;
        address.set(allocate(machine, device, bytes, false)?)
    }

    fn cuMemAllocAsync(address: Out<u64>, bytes: usize, stream: u64) |machine| {
        let id = machine.stream(stream)?;
        let device = machine.streams[&id].device;
        if !machine.settings.pools {
            return Err(Code::NOT_SUPPORTED);
        }
        if let Some(capture) = machine.streams[&id].capture {
            // A graph that allocates is more than this driver does.
            machine.invalidate(capture);
            return Err(Code::NOT_SUPPORTED);
        }
        address.set(allocate(machine, device, bytes, true)?)
    }

    fn cuMemFree_v2(address: u64) |machine| {
        machine.current()?;
        machine.outside_captures()?;
        let (device, pooled) = forget(machine, address)?;
        // Memory of a pool is taken to be unused; of other memory the driver waits for the device.
        let pause = match pooled {
            true => Pause::None,
            false => machine.finish_device(device)?,
        };
        machine.devices[device].memory.free(address).map_err(|_| Code::INVALID_VALUE)?;
        Ok(pause)
    }

    fn cuMemFreeAsync(address: u64, stream: u64) |machine| {
        let id = machine.stream(stream)?;
        if let Some(capture) = machine.streams[&id].capture {
            // In a graph only what the graph allocated can be freed.
            machine.invalidate(capture);
            return Err(Code::INVALID_VALUE);
        }
        let device = machine.streams[&id].device;
        if !machine.devices[device].live.contains_key(&address) {
            return Err(Code::INVALID_VALUE);
        }
        forget(machine, address)?;
        machine.enqueue(id, Work::Free { at: address })
    }

    fn cuMemcpyHtoDAsync_v2(to: u64, from: Array<u8>, bytes: usize, stream: u64) |machine| {
        let id = machine.stream(stream)?;
        write(machine, to, from.slice(bytes)?, id)
    }

    fn cuMemcpyHtoD_v2(to: u64, from: Array<u8>, bytes: usize) |machine| {
        let id = machine.stream(0)?;
        machine.outside_captures()?;
        write(machine, to, from.slice(bytes)?, id)?;
        machine.finish(id)
    }

    fn cuMemcpyDtoHAsync_v2(mut to: Room<u8>, from: u64, bytes: usize, stream: u64) |machine| {
        let id = machine.stream(stream)?;
        read(machine, to.slice(bytes)?, from, id)
    }

    fn cuMemcpyDtoH_v2(mut to: Room<u8>, from: u64, bytes: usize) |machine| {
        let id = machine.stream(0)?;
        machine.outside_captures()?;
        read(machine, to.slice(bytes)?, from, id)
    }

    fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: u64) |machine| {
        let id = machine.stream(stream)?;
        machine.enqueue(id, Work::Copy { from, to, bytes })
    }

    fn cuMemcpyDtoD_v2(to: u64, from: u64, bytes: usize) |machine| {
        let id = machine.stream(0)?;
        machine.outside_captures()?;
        machine.enqueue(id, Work::Copy { from, to, bytes })
    }

    fn cuMemsetD8Async(at: u64, byte: u8, bytes: usize, stream: u64) |machine| {
        let id = machine.stream(stream)?;
        machine.enqueue(id, Work::Fill { at, byte, bytes })
    }

    fn cuMemsetD8_v2(at: u64, byte: u8, bytes: usize) |machine| {
        let id = machine.stream(0)?;
        machine.outside_captures()?;
        machine.enqueue(id, Work::Fill { at, byte, bytes })
    }
}

fn allocate(machine: &mut Machine, device: usize, bytes: usize, pooled: bool) -> Answer<u64> {
    if bytes == 0 {
        return Err(Code::INVALID_VALUE);
    }
    let sanitize = machine.settings.sanitize;
    let device = &mut machine.devices[device];
    let address = device.memory.allocate(bytes as u64).map_err(|_| Code::OUT_OF_MEMORY)?;
    // What nobody wrote is NaN or −1; the sanitizer finds reads of it by itself.
    if !sanitize {
        let _ = device.memory.fill(address, 0xFF, bytes as u64);
    }
    device.live.insert(address, pooled);
    Ok(address)
}

/// Takes an allocation out of the program's hands: its device, and whether it is of a pool.
fn forget(machine: &mut Machine, address: u64) -> Answer<(usize, bool)> {
    let found = machine
        .devices
        .iter_mut()
        .enumerate()
        .find_map(|(number, device)| Some((number, device.live.remove(&address)?)));
    found.ok_or(Code::INVALID_VALUE)
}

/// Pageable memory is copied before the call returns; when the copy arrives, only the stream knows.
fn write(machine: &mut Machine, to: u64, bytes: &[u8], id: StreamId) -> Answer {
    // A graph would read the host's memory when it is launched.
    machine.not_captured(id)?;
    machine.enqueue(
        id,
        Work::Write {
            to,
            bytes: bytes.into(),
        },
    )
}

/// A copy into pageable memory returns when it is complete.
fn read(machine: &mut Machine, to: &mut [u8], from: u64, id: StreamId) -> Answer<Pause> {
    // A graph would write the host's memory when it is launched.
    machine.not_captured(id)?;
    machine.read(id, from, to)
}
