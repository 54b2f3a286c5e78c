//! A stream: the order of work, waits between streams, and failed releases, which no caller sees at once.
//!
//! This file calls the driver directly. cudarc stores the error of a failed drop in the context and returns it from the next unrelated
//! call. Here each stream keeps its own, and [`Stream::unreleased`] returns it.

use super::error::failed;
use crate::error::{Error, Result};
use cudarc::driver::sys::{
    self, CUevent, CUevent_flags, CUevent_wait_flags, CUresult, CUstreamCaptureMode, CUstreamCaptureStatus,
};
use cudarc::driver::{CudaContext, CudaStream, DriverError, result};
use std::mem::ManuallyDrop;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A stream of a GPU, shared by the memory, modules and graphs whose work it orders.
pub(crate) struct Stream {
    cudarc: ManuallyDrop<Arc<CudaStream>>,
    /// The event that other streams wait for. Recording it again does not affect earlier waits.
    mark: Mutex<Option<Event>>,
    /// The first failed release since the last call of [`Stream::unreleased`].
    unreleased: Mutex<Option<Error>>,
}

/// An event. Its owner destroys it.
#[derive(Clone, Copy)]
pub(super) struct Event(CUevent);

// SAFETY: handles of the driver may be used from any thread that binds the context first, which every use does.
unsafe impl Send for Event {}
// SAFETY: as above; the driver's functions on events may be called from several threads at once.
unsafe impl Sync for Event {}

/// A release that is postponed until the capture of its stream has ended.
type Deferred = (Arc<Stream>, Box<dyn FnOnce(&Stream) -> Result<()> + Send>);

static DEFERRED: Mutex<Vec<Deferred>> = Mutex::new(Vec::new());

/// While it lives, this thread may make calls that the driver forbids during captures, such as freeing memory that no capture uses.
/// Without it these calls would fail and invalidate the capture.
pub(super) struct Permission {
    before: CUstreamCaptureMode,
}

impl Stream {
    pub fn new(cudarc: Arc<CudaStream>) -> Arc<Stream> {
        Arc::new(Stream {
            cudarc: ManuallyDrop::new(cudarc),
            mark: Mutex::default(),
            unreleased: Mutex::default(),
        })
    }

    pub fn cudarc(&self) -> &Arc<CudaStream> {
        &self.cudarc
    }

    pub fn context(&self) -> &Arc<CudaContext> {
        self.cudarc.context()
    }

    pub fn handle(&self) -> sys::CUstream {
        self.cudarc.cu_stream()
    }

    /// `true` if both are the same stream of the driver.
    pub fn is(&self, other: &Stream) -> bool {
        self.handle() == other.handle() && self.context().cu_ctx() == other.context().cu_ctx()
    }

    /// Makes its context current on this thread.
    pub fn bind(&self) -> Result<()> {
        let context = self.context().cu_ctx();
        if result::ctx::get_current().map_err(failed("cuCtxGetCurrent"))? != Some(context) {
            // SAFETY: the context lives as long as the stream.
            unsafe { result::ctx::set_current(context) }.map_err(failed("cuCtxSetCurrent"))?;
        }
        Ok(())
    }

    /// `true` if the stream is being captured into a graph.
    pub fn is_capturing(&self) -> Result<bool> {
        self.bind()?;
        // SAFETY: the stream is alive.
        match unsafe { result::stream::is_capturing(self.handle()) } {
            Ok(status) => Ok(status != CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE),
            // The legacy stream waits for all others, so their captures bind it too.
            Err(DriverError(CUresult::CUDA_ERROR_STREAM_CAPTURE_IMPLICIT)) => Ok(true),
            Err(error) => Err(failed("cuStreamIsCapturing")(error)),
        }
    }

    /// Fails while this stream is being captured, because the call would invalidate the capture.
    pub fn must_not_capture(&self, what: &str, remedy: &'static str) -> Result<()> {
        match self.is_capturing()? {
            false => Ok(()),
            true => Err(Error::Capture {
                what: what.to_owned(),
                remedy,
            }),
        }
    }

    /// Waits until all queued work is done.
    pub fn synchronize(&self) -> Result<()> {
        self.must_not_capture("waiting for the GPU", "synchronize after the capture has ended")?;
        let _permission = Permission::new();
        // SAFETY: the stream is alive.
        unsafe { result::stream::synchronize(self.handle()) }.map_err(failed("cuStreamSynchronize"))
    }

    /// Makes work queued here from now on wait for the work already queued on the other stream.
    pub fn wait_for(&self, other: &Stream) -> Result<()> {
        let mut mark = lock(&other.mark);
        let mark = other.event(&mut mark)?;
        // SAFETY: both streams and the event are alive, and of one context, which is bound.
        unsafe {
            result::event::record(mark.0, other.handle()).map_err(failed("cuEventRecord"))?;
            result::stream::wait_event(self.handle(), mark.0, CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT)
                .map_err(failed("cuStreamWaitEvent"))
        }
    }

    /// Creates the event that other streams wait for.
    pub fn prepare_to_be_waited_for(&self) -> Result<()> {
        self.event(&mut lock(&self.mark)).map(drop)
    }

    fn event(&self, mark: &mut Option<Event>) -> Result<Event> {
        self.bind()?;
        match *mark {
            Some(event) => Ok(event),
            None => Ok(*mark.insert(Event::new(CUevent_flags::CU_EVENT_DISABLE_TIMING)?)),
        }
    }

    /// Releases a resource that work on this stream may use: now, or after the capture of the stream. The context is bound then.
    pub fn release(self: &Arc<Stream>, release: impl FnOnce(&Stream) -> Result<()> + Send + 'static) {
        match self.is_capturing() {
            Ok(true) => lock(&DEFERRED).push((self.clone(), Box::new(release))),
            asked => {
                self.note(asked.map(drop));
                self.note(release(self));
            }
        }
    }

    /// Keeps the error of a failed release, which a drop cannot return.
    pub fn note(&self, released: Result<()>) {
        let Err(error) = released else { return };
        tracing::warn!(device = self.context().ordinal(), %error, "a dropped resource could not be released");
        lock(&self.unreleased).get_or_insert(error);
    }

    /// Returns the first failed release since the previous call.
    pub fn unreleased(&self) -> Result<()> {
        match lock(&self.unreleased).take() {
            Some(error) => Err(Error::Release {
                failure: Box::new(error),
            }),
            None => Ok(()),
        }
    }
}

/// Runs the deferred releases of streams whose capture has ended.
pub(super) fn release_deferred() {
    let deferred = std::mem::take(&mut *lock(&DEFERRED));
    for (stream, release) in deferred {
        stream.release(release);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(event) = lock(&self.mark).take() {
            self.note(self.bind().and_then(|()| event.destroy()));
        }
        // SAFETY: `self` is being dropped, and nothing after this uses the stream.
        let cudarc = unsafe { ManuallyDrop::take(&mut self.cudarc) };
        let context = cudarc.context().clone();
        if let Err(error) = uncovered(&context, "cuStreamDestroy", || drop(cudarc)) {
            tracing::warn!(device = context.ordinal(), %error, "a stream could not be destroyed");
        }
    }
}

impl Event {
    /// Creates an event of the current context.
    pub fn new(flags: CUevent_flags) -> Result<Event> {
        result::event::create(flags).map(Event).map_err(failed("cuEventCreate"))
    }

    pub fn handle(self) -> CUevent {
        self.0
    }

    pub fn record(self, stream: &Stream) -> Result<()> {
        // SAFETY: the event is alive, and the stream is of its context, which is bound.
        unsafe { result::event::record(self.0, stream.handle()) }.map_err(failed("cuEventRecord"))
    }

    pub fn synchronize(self) -> Result<()> {
        // SAFETY: the event is alive.
        unsafe { result::event::synchronize(self.0) }.map_err(failed("cuEventSynchronize"))
    }

    /// `true` once the work recorded in it is done.
    pub fn is_reached(self) -> Result<bool> {
        // SAFETY: the event is alive.
        match unsafe { result::event::query(self.0) } {
            Ok(()) => Ok(true),
            Err(DriverError(CUresult::CUDA_ERROR_NOT_READY)) => Ok(false),
            Err(error) => Err(failed("cuEventQuery")(error)),
        }
    }

    pub fn destroy(self) -> Result<()> {
        // SAFETY: its owner calls this once. Streams that wait for the event continue to wait.
        unsafe { result::event::destroy(self.0) }.map_err(failed("cuEventDestroy"))
    }
}

impl Permission {
    pub fn new() -> Permission {
        Permission {
            before: exchange(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED),
        }
    }
}

impl Drop for Permission {
    fn drop(&mut self) {
        exchange(self.before);
    }
}

/// Sets this thread's capture mode and returns the previous one.
fn exchange(mut mode: CUstreamCaptureMode) -> CUstreamCaptureMode {
    // SAFETY: reads and writes one integer. A failure leaves the mode as it was.
    let _ = unsafe { sys::cuThreadExchangeStreamCaptureMode(&mut mode) };
    mode
}

/// Runs calls of cudarc that store their error in the context, and returns that error. Errors that other code stored stay there.
pub(super) fn uncovered<R>(context: &CudaContext, call: &'static str, calls: impl FnOnce() -> R) -> Result<R> {
    let others: std::result::Result<(), DriverError> = context.check_err();
    let result = calls();
    let ours = context.check_err();
    context.record_err(others);
    ours.map_err(failed(call)).map(|()| result)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
