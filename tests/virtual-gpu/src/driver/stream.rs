//! Streams and their capture.

use crate::abi::{InOut, Out};
use crate::capture::{self, Mode};
use crate::codes::Code;
use crate::machine::Recorded;
use crate::stream::Work;

/// `CU_STREAM_NON_BLOCKING`
const NON_BLOCKING: u32 = 1;

entries! {
    fn cuStreamCreate(stream: Out<u64>, flags: u32) |machine| {
        let device = machine.current()?;
        if flags > NON_BLOCKING {
            return Err(Code::INVALID_VALUE);
        }
        let id = machine.add_stream(device, flags != NON_BLOCKING, true);
        stream.set(id)
    }

    fn cuStreamCreateWithPriority(stream: Out<u64>, flags: u32, _priority: i32) |machine| {
        let device = machine.current()?;
        if flags > NON_BLOCKING {
            return Err(Code::INVALID_VALUE);
        }
        let id = machine.add_stream(device, flags != NON_BLOCKING, true);
        stream.set(id)
    }

    fn cuStreamDestroy_v2(stream: u64) |machine| {
        let id = machine.stream(stream)?;
        // Default streams cannot be destroyed.
        if id != stream {
            return Err(Code::INVALID_HANDLE);
        }
        machine.destroy_stream(id);
        Ok(())
    }

    fn cuStreamSynchronize(stream: u64) |machine| {
        let id = machine.stream(stream)?;
        machine.not_captured(id)?;
        machine.outside_captures()?;
        machine.finish(id)
    }

    fn cuStreamQuery(stream: u64) |machine| {
        let id = machine.stream(stream)?;
        machine.not_captured(id)?;
        machine.outside_captures()?;
        machine.is_done(id)
    }

    fn cuStreamWaitEvent(stream: u64, event: u64, _flags: u32) |machine| {
        let id = machine.stream(stream)?;
        let recorded = machine.events.get(&event).ok_or(Code::INVALID_HANDLE)?.recorded.clone();
        if machine.join(id, &recorded)? {
            return Ok(());
        }
        match recorded {
            Recorded::At(mark) => machine.enqueue(id, Work::Wait(mark)),
            Recorded::Never | Recorded::Captured(..) => Ok(()),
        }
    }

    fn cuStreamIsCapturing(stream: u64, status: Out<u32>) |machine| {
        let id = machine.stream(stream)?;
        status.set(machine.capture_status(id))
    }

    fn cuStreamBeginCapture_v2(stream: u64, mode: u32) |machine| {
        let id = machine.stream(stream)?;
        machine.begin_capture(id, Mode::of(mode)?)
    }

    fn cuThreadExchangeStreamCaptureMode(mode: InOut<u32>) |_machine| {
        mode.update(|mode| Ok(capture::exchange(Mode::of(mode)?) as u32))
    }

    fn cuStreamEndCapture(stream: u64, graph: Out<u64>) |machine| {
        let id = machine.stream(stream)?;
        let ended = machine.end_capture(id);
        graph.set(ended.unwrap_or(0))?;
        ended.map(|_| ())
    }
}
