//! CUDA graphs.

use super::device::Cuda;
use super::error::failed;
use super::recorder::Used;
use super::stream::{Stream, release_deferred};
use crate::error::{Error, Result};
use cudarc::driver::result;
use cudarc::driver::sys::{self, CUstreamCaptureMode};
use std::sync::Arc;

/// Launches recorded in a graph, with the memory and modules that they use.
pub(crate) struct Graph {
    graph: sys::CUgraph,
    executable: sys::CUgraphExec,
    stream: Arc<Stream>,
    used: Used,
}

// SAFETY: handles of the driver may be used from any thread that binds the context first, which every use does. A graph is not
// `Sync`: the driver does not synchronise its use.
unsafe impl Send for Graph {}

impl Cuda {
    /// Records the work that `work` queues in a graph.
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

/// A running capture. It ends when dropped.
struct Capture<'a> {
    cuda: &'a Cuda,
    ended: bool,
}

impl<'a> Capture<'a> {
    fn new(cuda: &'a Cuda) -> Capture<'a> {
        cuda.recorder.start();
        Capture { cuda, ended: false }
    }

    fn end(mut self) -> Result<Graph> {
        self.ended = true;
        self.finish()
    }

    fn finish(&self) -> Result<Graph> {
        let stream = &self.cuda.stream;
        let used = self.cuda.recorder.stop();
        // The capture must end even if this fails.
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
                // If the capture went on, every later call would be refused.
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

    /// Queues all launches of the graph.
    pub fn launch(&self) -> Result<()> {
        self.stream.bind()?;
        // SAFETY: graph and stream are alive, and so are the memory and modules of the launches.
        unsafe { result::graph::launch(self.executable, self.stream.handle()) }.map_err(failed("cuGraphLaunch"))
    }

    fn destroy(&self) -> Result<()> {
        self.stream.bind()?;
        let mut destroyed = Ok(());
        if !self.executable.is_null() {
            // SAFETY: destroyed once. Launches in flight continue.
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
        // Its launches may still be in flight.
        for allocation in &self.used.allocations {
            self.stream.note(allocation.order_after(&self.stream));
        }
    }
}
