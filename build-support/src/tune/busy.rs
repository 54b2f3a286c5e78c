//! Keeps a GPU busy and times its work.

use energy_kernel::energy::{Board as _, Meter};
use energy_kernel::tools::{Graph, Mark};
use energy_kernel::{Error, Gpu};

/// A GPU that is kept busy with a graph. It notes the end of each replay.
pub(super) struct BusyGpu<'a> {
    gpu: &'a Gpu,
    graph: &'a Graph,
    meter: &'a Meter,
    first: Mark,
    /// The end of the last replay in the queue.
    last: Mark,
    /// The end of each replay: when it was seen, by the board's clock, and when it happened, by the GPU's clock. In seconds, from the first.
    ends: Vec<(f64, f64)>,
}

impl<'a> BusyGpu<'a> {
    /// Queues the first replay.
    pub(super) fn new(gpu: &'a Gpu, graph: &'a Graph, meter: &'a Meter) -> Result<BusyGpu<'a>, Error> {
        let first = gpu.mark()?;
        graph.launch()?;
        Ok(BusyGpu {
            first,
            last: gpu.mark()?,
            gpu,
            graph,
            meter,
            ends: Vec::new(),
        })
    }

    /// Queues another replay and waits for the one before.
    pub(super) fn step(&mut self) -> Result<(), Error> {
        self.graph.launch()?;
        let before = std::mem::replace(&mut self.last, self.gpu.mark()?);
        let seconds = before.seconds_since(&self.first)?;
        self.ends.push((self.meter.board().now(), seconds));
        Ok(())
    }

    /// The seconds from the end of each replay to the end of the next, for those in this span of the board's clock. For all replays if
    /// fewer than two ended in the span.
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
