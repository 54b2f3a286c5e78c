//! Events.

use crate::abi::Out;
use crate::codes::{Answer, Code};
use crate::machine::{Event, Machine, Pause, Recorded};
use std::sync::Arc;

/// `CU_EVENT_DISABLE_TIMING`
const DISABLE_TIMING: u32 = 2;
/// The resolution of event times, in seconds.
const RESOLUTION: f64 = 0.5e-6;

entries! {
    fn cuEventCreate(event: Out<u64>, flags: u32) |machine| {
        let device = machine.current()?;
        let handle = machine.handle();
        let made = Event {
            device,
            timed: flags & DISABLE_TIMING == 0,
            recorded: Recorded::Never,
            asked: false,
        };
        machine.events.insert(handle, made);
        event.set(handle)
    }

    fn cuEventDestroy_v2(event: u64) |machine| {
        machine.current()?;
        machine.events.remove(&event).map(|_| ()).ok_or(Code::INVALID_HANDLE)
    }

    fn cuEventRecord(event: u64, stream: u64) |machine| {
        let id = machine.stream(stream)?;
        let device = machine.events.get(&event).ok_or(Code::INVALID_HANDLE)?.device;
        if device != machine.streams[&id].device {
            return Err(Code::INVALID_HANDLE);
        }
        let recorded = match machine.streams[&id].capture {
            Some(_) => machine.record_event(id)?,
            None => Recorded::At(machine.mark(id)),
        };
        let event = machine.events.get_mut(&event).ok_or(Code::INVALID_HANDLE)?;
        event.recorded = recorded;
        event.asked = false;
        Ok(())
    }

    fn cuEventQuery(event: u64) |machine| {
        let recorded = outside(machine, event)?;
        let Recorded::At(mark) = recorded else { return Ok(()) };
        let asked = machine.events.get_mut(&event).is_some_and(|event| std::mem::replace(&mut event.asked, true));
        machine.reached(&mark, asked)
    }

    fn cuEventSynchronize(event: u64) |machine| {
        match outside(machine, event)? {
            Recorded::At(mark) => machine.wait_for(&mark),
            Recorded::Never | Recorded::Captured(..) => Ok(Pause::None),
        }
    }

    fn cuEventElapsedTime(milliseconds: Out<f32>, start: u64, end: u64) |machine| {
        milliseconds.set(elapsed(machine, start, end)?)
    }

    fn cuEventElapsedTime_v2(milliseconds: Out<f32>, start: u64, end: u64) |machine| {
        milliseconds.set(elapsed(machine, start, end)?)
    }
}

/// Returns the point of an event that is queried. Querying a captured event invalidates its capture.
fn outside(machine: &mut Machine, event: u64) -> Answer<Recorded> {
    machine.current()?;
    let recorded = machine.events.get(&event).ok_or(Code::INVALID_HANDLE)?.recorded.clone();
    if let Recorded::Captured(capture, _) = recorded {
        machine.invalidate(capture);
        return Err(Code::CAPTURED_EVENT);
    }
    machine.outside_captures()?;
    Ok(recorded)
}

fn elapsed(machine: &mut Machine, start: u64, end: u64) -> Answer<f32> {
    machine.current()?;
    let event = |handle: u64| machine.events.get(&handle).ok_or(Code::INVALID_HANDLE);
    let (start, end) = (event(start)?, event(end)?);
    let (Recorded::At(first), Recorded::At(last)) = (&start.recorded, &end.recorded) else {
        return Err(Code::INVALID_HANDLE);
    };
    if !start.timed || !end.timed || start.device != end.device {
        return Err(Code::INVALID_HANDLE);
    }
    let (first, last) = (Arc::clone(first), Arc::clone(last));
    machine.reached(&first, false)?;
    machine.reached(&last, false)?;
    let (Some(begin), Some(end)) = (first.time(), last.time()) else {
        return Err(Code::NOT_READY);
    };
    Ok((((end - begin) / RESOLUTION).round() * RESOLUTION * 1e3) as f32)
}
