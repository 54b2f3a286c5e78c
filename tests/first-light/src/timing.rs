//! Medians, and how long a launch takes.

use energy_kernel::{Gpu, Result};
use std::time::Instant;

/// A graph is made to take about so long, in seconds.
const GRAPH_SECONDS: f64 = 0.01;
/// Replays of a graph that are timed.
const REPLAYS: usize = 9;

/// The median; 0 of nothing.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Seconds a launch by the GPU's clock: the median over replays of a graph of many. `launch` is told which set of tensors comes next.
pub fn per_launch(gpu: &Gpu, sets: usize, mut launch: impl FnMut(usize) -> Result<()>) -> Result<f64> {
    let mut some = |count: usize| (0..count).try_for_each(|number| launch(number % sets));
    some(sets)?;
    let (seconds, ()) = gpu.time(|| some(sets))?;
    let each = (seconds / sets as f64).max(1e-7);
    let count = ((GRAPH_SECONDS / each) as usize).clamp(1, 1000).next_multiple_of(sets);
    let graph = gpu.record(|| some(count))?;
    graph.launch()?;
    let replay = |_| gpu.time(|| graph.launch()).map(|(seconds, ())| seconds / count as f64);
    Ok(median((0..REPLAYS).map(replay).collect::<Result<_>>()?))
}

/// Seconds of the host for a call, while the queue has room: the median over batches of so many calls, between which `wait` empties it.
pub fn host_per_call(
    batches: usize,
    count: usize,
    wait: impl Fn() -> Result<()>,
    mut call: impl FnMut() -> Result<()>,
) -> Result<f64> {
    call()?;
    let mut seconds = Vec::new();
    for _ in 0..batches {
        wait()?;
        let begun = Instant::now();
        (0..count).try_for_each(|_| call())?;
        seconds.push(begun.elapsed().as_secs_f64() / count as f64);
    }
    wait()?;
    Ok(median(seconds))
}
