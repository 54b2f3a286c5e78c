//! Allocations, copies and fills.

use crate::abi::{Array, Out, Room};
use crate::codes::{Answer, Code};
use crate::machine::{Allocation, AllocationKind, Machine, Pause};
use crate::order::Past;
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
        address.set(allocate(machine, device, bytes, AllocationKind::Plain)?)
    }

    fn cuMemAllocAsync(address: Out<u64>, bytes: usize, stream: u64) |machine| {
        let id = machine.stream(stream)?;
        let device = machine.streams[&id].device;
        if !machine.settings.pools {
            return Err(Code::NOT_SUPPORTED);
        }
        let Some(capture) = machine.streams[&id].capture else {
            let at = allocate(machine, device, bytes, AllocationKind::Pooled)?;
            let position = machine.mark(id).position();
            if let Some(allocation) = machine.devices[device].live.get_mut(&at) {
                allocation.born = Some((id, position));
            }
            return address.set(at);
        };
        let at = allocate(machine, device, bytes, AllocationKind::OfGraph(capture))?;
        machine.enqueue(id, poison(at, bytes as u64))?;
        address.set(at)
    }

    fn cuMemFree_v2(address: u64) |machine| {
        machine.current()?;
        machine.outside_captures()?;
        let (device, allocation) = forget(machine, address)?;
        // The driver waits for the device, but not for memory from a pool.
        let pause = match allocation.kind {
            AllocationKind::Plain => machine.finish_device(device)?,
            AllocationKind::Pooled | AllocationKind::OfGraph(_) => Pause::None,
        };
        let device = &mut machine.devices[device];
        device.freed.insert(address, allocation.bytes);
        device.memory.free(address).map_err(|_| Code::INVALID_VALUE)?;
        Ok(pause)
    }

    fn cuMemFreeAsync(address: u64, stream: u64) |machine| {
        let id = machine.stream(stream)?;
        let device = machine.streams[&id].device;
        let known = machine.devices[device].live.get(&address).map(|known| known.kind);
        let Some(capture) = machine.streams[&id].capture else {
            known.ok_or(Code::INVALID_VALUE)?;
            let (_, allocation) = forget(machine, address)?;
            machine.devices[device].freed.insert(address, allocation.bytes);
            machine.enqueue(id, Work::Free { at: address })?;
            machine.check_free(id, &allocation.uses);
            return Ok(());
        };
        // A graph can free only its own allocations.
        if known != Some(AllocationKind::OfGraph(capture)) {
            machine.invalidate(capture);
            return Err(Code::INVALID_VALUE);
        }
        let (_, allocation) = forget(machine, address)?;
        machine.give_to_graph(capture, address);
        machine.enqueue(id, poison(address, allocation.bytes))
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

/// The content of unwritten and freed memory: NaN, or −1.
const POISON: u8 = 0xFF;

/// Marks the begin or the end of an allocation in a graph: its memory stays mapped as long as the graph exists.
fn poison(at: u64, bytes: u64) -> Work {
    let bytes = bytes as usize;
    Work::Fill {
        at,
        byte: POISON,
        bytes,
    }
}

fn allocate(machine: &mut Machine, device: usize, bytes: usize, kind: AllocationKind) -> Answer<u64> {
    if bytes == 0 {
        return Err(Code::INVALID_VALUE);
    }
    let sanitize = machine.settings.sanitize;
    let mut address = machine.devices[device].memory.allocate(bytes as u64);
    // A driver gives up only after it has released the memory whose release is queued.
    if address.is_err() && !matches!(kind, AllocationKind::OfGraph(_)) {
        machine.finish_device(device)?;
        address = machine.devices[device].memory.allocate(bytes as u64);
    }
    let address = address.map_err(|_| Code::OUT_OF_MEMORY)?;
    let device = &mut machine.devices[device];
    let bytes = bytes as u64;
    // The sanitizer tracks unwritten memory itself.
    if !sanitize {
        device
            .memory
            .fill(address, POISON, bytes)
            .map_err(|_| Code::OUT_OF_MEMORY)?;
    }
    let allocation = Allocation {
        bytes,
        kind,
        born: None,
        uses: Past::default(),
    };
    device.live.insert(address, allocation);
    Ok(address)
}

/// Removes an allocation from the program's live ones. Returns its device and itself.
fn forget(machine: &mut Machine, address: u64) -> Answer<(usize, Allocation)> {
    let found = machine
        .devices
        .iter_mut()
        .enumerate()
        .find_map(|(number, device)| Some((number, device.live.remove(&address)?)));
    found.ok_or(Code::INVALID_VALUE)
}

/// A copy from pageable memory. The source is staged before the call returns; the destination is written in stream order.
fn write(machine: &mut Machine, to: u64, bytes: &[u8], id: StreamId) -> Answer {
    // A graph would read host memory at launch.
    machine.not_captured(id)?;
    machine.enqueue(
        id,
        Work::Write {
            to,
            bytes: bytes.into(),
        },
    )
}

/// A copy into pageable memory. The call returns when it is complete.
fn read(machine: &mut Machine, to: &mut [u8], from: u64, id: StreamId) -> Answer<Pause> {
    // A graph would write host memory at launch.
    machine.not_captured(id)?;
    machine.read(id, from, to)
}
