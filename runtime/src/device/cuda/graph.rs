//! CUDA graphs.

use super::stream::{Stream, release_deferred};
use super::{Cuda, failed};
use crate::device::{Loaded, Storage};
use crate::error::{Error, Result};
use cudarc::driver::result;
use cudarc::driver::sys::{self, CUstreamCaptureMode};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Launches recorded in a graph, with the memory and kernels that they use.
pub(crate) struct Graph {
    graph: sys::CUgraph,
    executable: sys::CUgraphExec,
    stream: Arc<Stream>,
    used: Used,
}

// SAFETY: handles of the driver may be used from any thread that binds the context first, which every use does. A graph is not
// `Sync`: the driver does not synchronise its use.
unsafe impl Send for Graph {}

/// Memory and kernels that launches use.
#[derive(Default)]
struct Used {
    storages: Vec<Arc<Storage>>,
    kernels: Vec<Arc<Loaded>>,
}

/// Collects the memory and kernels of launches while they are recorded.
#[derive(Default)]
pub(super) struct Recorder {
    recording: AtomicBool,
    used: Mutex<Used>,
}

impl Recorder {
    /// Adds a launch.
    pub fn note<'s>(&self, kernel: &Arc<Loaded>, storages: impl Iterator<Item = &'s Arc<Storage>>) {
        if !self.recording.load(Relaxed) {
            return;
        }
        let mut used = self.used();
        add(&mut used.kernels, kernel);
        // Memory that the graph itself allocates is the graph's to free.
        for storage in storages.filter(|storage| !storage.is_of_graph()) {
            add(&mut used.storages, storage);
        }
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add<T>(all: &mut Vec<Arc<T>>, one: &Arc<T>) {
    // Launches tend to repeat, so the search starts at the last one.
    if !all.iter().rev().any(|known| Arc::ptr_eq(known, one)) {
        all.push(one.clone());
    }
}

impl Cuda {
    /// Records what `work` queues in a graph.
    pub fn record(&self, work: impl FnOnce() -> Result<()>) -> Result<Graph> {
        self.stream.bind()?;
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream is alive.
        unsafe { result::stream::begin_capture(self.stream.handle(), mode) }.map_err(failed("cuStreamBeginCapture"))?;
        let capture = Capture::new(self);
        let worked = work();
        // The capture ends whether or not the work succeeded.
        let graph = capture.end();
        worked?;
        graph?.instantiate()
    }
}

/// A capture under way. It ends, whatever happens.
struct Capture<'a> {
    cuda: &'a Cuda,
    ended: bool,
}

impl<'a> Capture<'a> {
    fn new(cuda: &'a Cuda) -> Capture<'a> {
        cuda.recorder.recording.store(true, Relaxed);
        Capture { cuda, ended: false }
    }

    fn end(mut self) -> Result<Graph> {
        self.ended = true;
        self.finish()
    }

    fn finish(&self) -> Result<Graph> {
        let stream = &self.cuda.stream;
        let used = std::mem::take(&mut *self.cuda.recorder.used());
        self.cuda.recorder.recording.store(false, Relaxed);
        // The capture is to end even if this fails.
        let bound = stream.bind();
        // SAFETY: the stream is alive, and was being captured.
        let end = || unsafe { result::stream::end_capture(stream.handle()) }.map_err(failed("cuStreamEndCapture"));
        let of = |graph, used| Graph {
            graph,
            executable: std::ptr::null_mut(),
            stream: stream.clone(),
            used,
        };
        let graph = match end() {
            Ok(graph) => of(graph, used),
            Err(error) => {
                // A capture that went on would refuse every later call.
                if stream.is_capturing().unwrap_or(false) {
                    drop(end().map(|graph| of(graph, Used::default())));
                }
                return Err(error);
            }
        };
        release_deferred();
        bound?;
        match graph.graph.is_null() {
            false => Ok(graph),
            true => Err(Error::Driver {
                call: "cuStreamEndCapture",
                code: 0,
                name: "no graph".to_owned(),
            }),
        }
    }
}

impl Drop for Capture<'_> {
    fn drop(&mut self) {
        // The work panicked.
        if !self.ended {
            drop(self.finish());
        }
    }
}

impl Graph {
    fn instantiate(mut self) -> Result<Graph> {
        // SAFETY: the graph is alive.
        self.executable = unsafe { result::graph::instantiate(self.graph, sys::CUgraphInstantiate_flags(0)) }
            .map_err(failed("cuGraphInstantiate"))?;
        Ok(self)
    }

    /// Queues all its launches.
    pub fn launch(&self) -> Result<()> {
        self.stream.bind()?;
        // SAFETY: graph and stream are alive, and so is all that the launches use.
        unsafe { result::graph::launch(self.executable, self.stream.handle()) }.map_err(failed("cuGraphLaunch"))
    }

    fn destroy(&self) -> Result<()> {
        self.stream.bind()?;
        let mut destroyed = Ok(());
        if !self.executable.is_null() {
            // SAFETY: destroyed once; launches that are under way go on.
            let executable = unsafe { result::graph::exec_destroy(self.executable) };
            destroyed = executable.map_err(failed("cuGraphExecDestroy"));
        }
        if !self.graph.is_null() {
            // SAFETY: destroyed once.
            let graph = unsafe { result::graph::destroy(self.graph) };
            destroyed = destroyed.and(graph.map_err(failed("cuGraphDestroy")));
        }
        destroyed
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        self.stream.note(self.destroy());
        // Its launches may still be under way.
        for storage in &self.used.storages {
            self.stream.note(super::release(&self.stream, storage));
        }
    }
}
