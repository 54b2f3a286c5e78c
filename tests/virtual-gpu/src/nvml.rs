//! The entry points of NVML, for the same boards.
#![allow(non_snake_case)]

use crate::abi::{InOut, Out, Room, Text};
use crate::codes::{Answer, nvml as codes};
use crate::driver::entries;
use crate::machine::{Machine, Pause};
use std::ffi::{c_char, c_int};

/// The handle of board 0. Others follow.
const BOARDS: usize = 0x3000;
/// The field of instant power, in milliwatts.
const INSTANT_POWER: u32 = 186;
/// The type of a 32-bit field.
const UNSIGNED: u32 = 1;
const CLOCK_GRAPHICS: c_int = 0;
const CLOCK_SM: c_int = 1;
const CLOCK_MEMORY: c_int = 2;

/// `nvmlProcessInfo_t`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Process {
    pid: u32,
    used_memory: u64,
    gpu_instance: u32,
    compute_instance: u32,
}

/// `nvmlFieldValue_t`
#[repr(C)]
pub struct Field {
    id: u32,
    scope: u32,
    timestamp: i64,
    latency: i64,
    kind: u32,
    result: c_int,
    value: u64,
}

/// Returns the PCI bus number of a device.
pub fn bus(device: usize) -> u32 {
    0x3B + device as u32
}

/// Returns the PCI address of a device.
pub fn bus_id(device: usize) -> String {
    format!("00000000:{:02X}:00.0", bus(device))
}

/// Returns the UUID of a device.
pub fn uuid(device: usize) -> [u8; 16] {
    let mut bytes = *b"virtual GPU \0\0\0\0";
    bytes[12..].copy_from_slice(&(device as u32).to_be_bytes());
    bytes
}

#[unsafe(no_mangle)]
extern "C" fn nvmlErrorString(code: c_int) -> *const c_char {
    codes::text(code).as_ptr()
}

entries! {
    fn nvmlInit_v2() |machine| {
        init(machine)
    }

    fn nvmlInitWithFlags(_flags: u32) |machine| {
        init(machine)
    }

    fn nvmlShutdown() |machine| {
        machine.nvml_users = machine.nvml_users.checked_sub(1).ok_or(codes::UNINITIALIZED)?;
        Ok(())
    }

    fn nvmlSystemGetDriverVersion(mut version: Room<c_char>, room: u32) |machine| {
        used(machine)?;
        let newest = machine.devices.iter().max_by_key(|device| device.profile.cuda);
        let driver = newest.map_or("525.60.13", |device| device.profile.driver);
        version.write_text(room as usize, driver).ok_or(codes::INSUFFICIENT_SIZE)
    }

    fn nvmlDeviceGetCount_v2(count: Out<u32>) |machine| {
        used(machine)?;
        count.set(machine.devices.len() as u32)
    }

    fn nvmlDeviceGetHandleByIndex_v2(index: u32, device: Out<usize>) |machine| {
        used(machine)?;
        match (index as usize) < machine.devices.len() {
            true => device.set(BOARDS + index as usize),
            false => Err(codes::INVALID_ARGUMENT),
        }
    }

    fn nvmlDeviceGetHandleByPciBusId_v2(id: Text, device: Out<usize>) |machine| {
        used(machine)?;
        let id = id.read()?;
        let found = (0..machine.devices.len()).find(|number| bus_id(*number).eq_ignore_ascii_case(id));
        device.set(BOARDS + found.ok_or(codes::NOT_FOUND)?)
    }

    fn nvmlDeviceGetName(device: usize, mut name: Room<c_char>, room: u32) |machine| {
        let number = board(machine, device)?;
        let profile = machine.devices[number].profile;
        name.write_text(room as usize, profile.name).ok_or(codes::INSUFFICIENT_SIZE)
    }

    fn nvmlDeviceGetUUID(device: usize, mut text: Room<c_char>, room: u32) |machine| {
        let number = board(machine, device)?;
        let hex: String = uuid(number).iter().map(|byte| format!("{byte:02x}")).collect();
        let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
        let uuid = format!("GPU-{}", parts.join("-"));
        text.write_text(room as usize, &uuid).ok_or(codes::INSUFFICIENT_SIZE)
    }

    fn nvmlDeviceGetTotalEnergyConsumption(device: usize, millijoules: Out<u64>) |machine| {
        let number = board(machine, device)?;
        let now = machine.now();
        let device = &mut machine.devices[number];
        let shown = device.counter.read(now, &device.power);
        millijoules.set(shown)?;
        Ok(Pause::Until(now + device.counter.reading()))
    }

    fn nvmlDeviceGetMigMode(device: usize, current: Out<u32>, pending: Out<u32>) |machine| {
        board(machine, device)?;
        let mode = u32::from(machine.settings.mig);
        current.set(mode)?;
        pending.set(mode)
    }

    fn nvmlDeviceGetClockInfo(device: usize, kind: c_int, megahertz: Out<u32>) |machine| {
        let number = board(machine, device)?;
        let profile = machine.devices[number].profile;
        megahertz.set(match kind {
            CLOCK_GRAPHICS | CLOCK_SM => profile.clock_mhz,
            CLOCK_MEMORY => profile.memory_clock_mhz,
            _ => return Err(codes::NOT_SUPPORTED),
        })
    }

    fn nvmlDeviceGetTemperature(device: usize, _sensor: c_int, celsius: Out<u32>) |machine| {
        board(machine, device)?;
        let warmer = machine.settings.heating * machine.now();
        celsius.set(machine.settings.celsius + warmer as u32)
    }

    fn nvmlDeviceGetEnforcedPowerLimit(device: usize, milliwatts: Out<u32>) |machine| {
        let number = board(machine, device)?;
        milliwatts.set(1000 * machine.devices[number].profile.power_limit)
    }

    fn nvmlDeviceGetCurrentClocksThrottleReasons(device: usize, reasons: Out<u64>) |machine| {
        board(machine, device)?;
        reasons.set(machine.settings.throttle)
    }

    fn nvmlDeviceGetComputeRunningProcesses_v3(device: usize, count: InOut<u32>, mut processes: Room<Process>) |machine| {
        let number = board(machine, device)?;
        // A process is listed while it has a context.
        let own = u32::from(machine.devices[number].users > 0);
        let running = own + machine.settings.foreign;
        let room = count.replace(running)?;
        if room < running {
            return Err(codes::INSUFFICIENT_SIZE);
        }
        for (place, process) in processes.slice(running as usize)?.iter_mut().enumerate() {
            let foreign = place as u32 >= own;
            *process = Process {
                pid: if foreign { 1 + place as u32 } else { std::process::id() },
                used_memory: 0,
                gpu_instance: u32::MAX,
                compute_instance: u32::MAX,
            };
        }
        Ok(())
    }

    fn nvmlDeviceGetFieldValues(device: usize, count: c_int, mut fields: Room<Field>) |machine| {
        let number = board(machine, device)?;
        let now = machine.now();
        let device = &machine.devices[number];
        let step = device.counter.step().max(1e-3);
        // Instant power is updated once a step of the counter.
        let at = (now / step).floor() * step;
        let watts = machine.settings.instant_watts.unwrap_or_else(|| device.power.watts(at, step));
        let count = usize::try_from(count).map_err(|_| codes::INVALID_ARGUMENT)?;
        for field in fields.slice(count)? {
            field.scope = 0;
            field.timestamp = (now * 1e6) as i64;
            field.latency = 0;
            field.kind = UNSIGNED;
            field.result = if field.id == INSTANT_POWER { 0 } else { codes::NOT_SUPPORTED.0 };
            field.value = (watts * 1e3) as u64;
        }
        Ok(())
    }
}

fn init(machine: &mut Machine) -> Answer {
    machine.nvml_users += 1;
    Ok(())
}

fn used(machine: &Machine) -> Answer {
    match machine.nvml_users {
        0 => Err(codes::UNINITIALIZED),
        _ => Ok(()),
    }
}

/// Returns the device of a board's handle.
fn board(machine: &Machine, handle: usize) -> Answer<usize> {
    used(machine)?;
    let number = handle.wrapping_sub(BOARDS);
    match number < machine.devices.len() {
        true => Ok(number),
        false => Err(codes::INVALID_ARGUMENT),
    }
}
