//! Initialisation, devices and their attributes.

use crate::abi::{Out, Room};
use crate::codes::Code;
use crate::machine::Machine;
use crate::profile::{PLAIN_SHARED, REGISTERS, RESERVED_SHARED};
use std::ffi::{c_char, c_int};

#[unsafe(no_mangle)]
extern "C" fn cuGetErrorName(code: c_int, name: Out<*const c_char>) -> c_int {
    crate::machine::answer("cuGetErrorName", |_| name_of(code, name))
}

#[unsafe(no_mangle)]
extern "C" fn cuGetErrorString(code: c_int, text: Out<*const c_char>) -> c_int {
    crate::machine::answer("cuGetErrorString", |_| name_of(code, text))
}

fn name_of(code: c_int, to: Out<*const c_char>) -> Result<(), Code> {
    match Code::name(code) {
        Some(name) => to.set(name.as_ptr()),
        None => {
            to.set(std::ptr::null())?;
            Err(Code::INVALID_VALUE)
        }
    }
}

entries! {
    fn cuInit(flags: u32) |machine| {
        if flags != 0 {
            return Err(Code::INVALID_VALUE);
        }
        if machine.devices.is_empty() {
            return Err(Code::NO_DEVICE);
        }
        machine.initialised = true;
        Ok(())
    }

    fn cuDriverGetVersion(version: Out<c_int>) |machine| {
        version.set(cuda(machine) as c_int)
    }

    fn cuDeviceGetCount(count: Out<c_int>) |machine| {
        machine.initialised()?;
        count.set(machine.devices.len() as c_int)
    }

    fn cuDeviceGet(device: Out<c_int>, ordinal: c_int) |machine| {
        machine.device(ordinal)?;
        device.set(ordinal)
    }

    fn cuDeviceGetName(mut name: Room<c_char>, room: c_int, device: c_int) |machine| {
        let profile = machine.device(device)?.profile;
        let room = usize::try_from(room).map_err(|_| Code::INVALID_VALUE)?;
        // The driver truncates long names.
        let length = profile.name.len().min(room.saturating_sub(1));
        name.write_text(room, &profile.name[..length]).ok_or(Code::INVALID_VALUE)
    }

    fn cuDeviceTotalMem_v2(bytes: Out<usize>, device: c_int) |machine| {
        bytes.set(machine.device(device)?.profile.memory as usize)
    }

    fn cuDeviceGetUuid(uuid: Out<[u8; 16]>, device: c_int) |machine| {
        machine.device(device)?;
        uuid.set(crate::nvml::uuid(device as usize))
    }

    fn cuDeviceGetUuid_v2(uuid: Out<[u8; 16]>, device: c_int) |machine| {
        machine.device(device)?;
        uuid.set(crate::nvml::uuid(device as usize))
    }

    fn cuDeviceGetPCIBusId(mut text: Room<c_char>, room: c_int, device: c_int) |machine| {
        machine.device(device)?;
        let room = usize::try_from(room).map_err(|_| Code::INVALID_VALUE)?;
        text.write_text(room, &crate::nvml::bus_id(device as usize)).ok_or(Code::INVALID_VALUE)
    }

    fn cuDeviceGetAttribute(value: Out<c_int>, which: c_int, device: c_int) |machine| {
        match attribute(machine, which, device)? {
            Some(known) => value.set(known),
            None => {
                machine.problem(format!("device attribute {which} is not known to the virtual GPU"));
                Err(Code::INVALID_VALUE)
            }
        }
    }
}

/// Returns the driver's CUDA version. With several devices the newest driver serves all.
fn cuda(machine: &Machine) -> u32 {
    let newest = || machine.devices.iter().map(|device| device.profile.cuda).max();
    machine.settings.cuda.or_else(newest).unwrap_or(12_000)
}

/// Returns an attribute by its number in `CUdevice_attribute`, or none if it is not modelled.
fn attribute(machine: &mut Machine, which: c_int, ordinal: c_int) -> Result<Option<c_int>, Code> {
    let pools = machine.settings.pools;
    let profile = machine.device(ordinal)?.profile;
    let value = match which {
        // MAX_THREADS_PER_BLOCK, MAX_BLOCK_DIM_X to Z, MAX_GRID_DIM_X to Z
        1..=3 => 1024,
        4 => 64,
        5 => i32::MAX as u32,
        6 | 7 => 65_535,
        // MAX_SHARED_MEMORY_PER_BLOCK, TOTAL_CONSTANT_MEMORY, WARP_SIZE, MAX_REGISTERS_PER_BLOCK
        8 => PLAIN_SHARED,
        9 => 65_536,
        10 => 32,
        12 => REGISTERS,
        // CLOCK_RATE, MULTIPROCESSOR_COUNT, INTEGRATED, COMPUTE_MODE, CONCURRENT_KERNELS, ECC_ENABLED
        13 => 1000 * profile.clock_mhz,
        16 => profile.multiprocessors,
        18 | 20 => 0,
        31 | 32 => 1,
        // PCI_BUS_ID, PCI_DEVICE_ID, PCI_DOMAIN_ID
        33 => crate::nvml::bus(ordinal as usize),
        34 | 50 => 0,
        // MEMORY_CLOCK_RATE, L2_CACHE_SIZE, MAX_THREADS_PER_MULTIPROCESSOR, UNIFIED_ADDRESSING
        36 => 1000 * profile.memory_clock_mhz,
        38 => profile.l2,
        39 => profile.threads,
        41 => 1,
        // COMPUTE_CAPABILITY_MAJOR and _MINOR
        75 => profile.capability.0,
        76 => profile.capability.1,
        // MAX_SHARED_MEMORY_PER_MULTIPROCESSOR, MAX_REGISTERS_PER_MULTIPROCESSOR, COOPERATIVE_LAUNCH, _PER_BLOCK_OPTIN
        81 => profile.shared,
        82 => REGISTERS,
        95 => 1,
        97 => profile.most_shared(),
        // MAX_BLOCKS_PER_MULTIPROCESSOR, RESERVED_SHARED_MEMORY_PER_BLOCK, MEMORY_POOLS_SUPPORTED, CLUSTER_LAUNCH
        106 => profile.blocks,
        111 => RESERVED_SHARED,
        115 => u32::from(pools),
        120 => u32::from(profile.capability.0 >= 9),
        _ => return Ok(None),
    };
    Ok(Some(value as c_int))
}
