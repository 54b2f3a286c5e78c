//! Keeps a GPU busy, and tells how long its work took in a window of time.

use energy_kernel::energy::{Board as _, Meter};
use energy_kernel::tools::{Graph, Mark};
use energy_kernel::{Error, Gpu};

/// Keeps a GPU busy with a graph, and notes when each was done.
pub(super) struct Queue<'a> {
    gpu: &'a Gpu,
    graph: &'a Graph,
    board: &'a Meter,
    first: Mark,
    /// The end of what is queued last.
    last: Mark,
    /// For each end: when it was seen, on the board's clock, and when it was, in seconds of the GPU's clock after the first.
    ends: Vec<(f64, f64)>,
}

impl<'a> Queue<'a> {
    /// Queues the graph for the first time.
    pub(super) fn new(gpu: &'a Gpu, graph: &'a Graph, board: &'a Meter) -> Result<Queue<'a>, Error> {
        let first = gpu.mark()?;
        graph.launch()?;
        Ok(Queue {
            first,
            last: gpu.mark()?,
            gpu,
            graph,
            board,
            ends: Vec::new(),
        })
    }

    /// Queues the graph once more, and waits for the one before.
    pub(super) fn step(&mut self) -> Result<(), Error> {
        self.graph.launch()?;
        let before = std::mem::replace(&mut self.last, self.gpu.mark()?);
        let seconds = before.seconds_since(&self.first)?;
        self.ends.push((self.board.board().now(), seconds));
        Ok(())
    }

    /// Seconds that a graph took from its predecessor's end to its own, as they were in this span of the board's clock, and how many there
    /// were; of all, where fewer than two ended within.
    pub(super) fn seconds_a_graph(&self, (from, to): (f64, f64)) -> Result<(f64, u64), Error> {
        self.last.wait()?;
        let within: Vec<f64> = (self.ends.iter())
            .filter(|(seen, _)| (from..=to).contains(seen))
            .map(|(_, seconds)| *seconds)
            .collect();
        if let [first, .., last] = within.as_slice() {
            let graphs = within.len() - 1;
            return Ok(((last - first) / graphs as f64, graphs as u64));
        }
        let graphs = self.ends.len() + 1;
        let seconds = self.last.seconds_since(&self.first)?;
        Ok((seconds / graphs as f64, graphs as u64))
    }
}
