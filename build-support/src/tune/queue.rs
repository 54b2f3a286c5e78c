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

    /// Seconds that each graph took from its predecessor's end to its own, of those that ended in this span of the board's clock; of all, where
    /// fewer than two ended within.
    pub(super) fn graphs(&self, (from, to): (f64, f64)) -> Result<Vec<f64>, Error> {
        self.last.wait()?;
        let between = |ends: &[f64]| -> Vec<f64> { ends.windows(2).map(|pair| pair[1] - pair[0]).collect() };
        let within: Vec<f64> = (self.ends.iter())
            .filter(|(seen, _)| (from..=to).contains(seen))
            .map(|(_, seconds)| *seconds)
            .collect();
        if within.len() >= 2 {
            return Ok(between(&within));
        }
        let ends = self.ends.iter().map(|(_, seconds)| *seconds);
        let all: Vec<f64> = [0.0]
            .into_iter()
            .chain(ends)
            .chain([self.last.seconds_since(&self.first)?])
            .collect();
        Ok(between(&all))
    }
}
