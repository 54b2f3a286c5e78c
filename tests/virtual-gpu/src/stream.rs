//! Streams. Queued work is executed at the last moment that the CUDA model allows, so a program that forgets to wait reads
//! stale data.
//!
//! Simulated time is independent of execution. Work of known cost is scheduled on the device's timeline when it is queued. A kernel that
//! has never run is scheduled once it has run, and the work behind it after it.

use crate::capture::Executable;
use crate::codes::{Answer, Code};
use crate::cost::{self, Cost};
use crate::machine::{Machine, Pause};
use crate::modules::Launch;
use crate::order::Past;
use crate::settings::{Defect, Graphs};
use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};

pub type StreamId = u64;

/// `CU_STREAM_LEGACY` and `CU_STREAM_PER_THREAD`.
const LEGACY: u64 = 1;
const PER_THREAD: u64 = 2;

/// A stream.
pub struct Stream {
    pub device: usize,
    generation: u32,
    /// `true` if it synchronises with the legacy stream.
    blocking: bool,
    /// `true` if the program created it.
    owned: bool,
    /// `true` if its handle is invalid. Its queued work still runs.
    destroyed: bool,
    pub queue: VecDeque<Queued>,
    /// The number of items ever queued.
    pub enqueued: u64,
    executed: u64,
    /// The number of queued items without a place on the timeline.
    unscheduled: u64,
    /// The time at which its scheduled work ends, in seconds.
    ready: f64,
    /// The capture that records its work.
    pub capture: Option<u64>,
    /// The work ordered before whatever is queued next.
    pub past: Past,
    /// `true` if it was queried since something was queued, and was not done.
    asked: bool,
}

impl Stream {
    fn new(device: usize, generation: u32, blocking: bool, owned: bool) -> Stream {
        Stream {
            device,
            generation,
            blocking,
            owned,
            destroyed: false,
            queue: VecDeque::new(),
            enqueued: 0,
            executed: 0,
            unscheduled: 0,
            ready: 0.0,
            capture: None,
            past: Past::default(),
            asked: false,
        }
    }

    /// The number of queued items that do something.
    pub fn pending(&self) -> u64 {
        let orders = |work: &Work| matches!(work, Work::Mark(_) | Work::Wait(_) | Work::Read { .. });
        self.queue.iter().filter(|queued| !orders(&queued.work)).count() as u64
    }

    pub fn is_left(&self) -> bool {
        self.owned && !self.destroyed
    }
}

/// An item of a queue.
pub struct Queued {
    work: Work,
    queued_at: f64,
    scheduled: bool,
}

/// Work for a device.
#[derive(Clone)]
pub enum Work {
    Launch(Arc<Launch>),
    Write {
        to: u64,
        bytes: Arc<[u8]>,
    },
    Copy {
        from: u64,
        to: u64,
        bytes: usize,
    },
    Fill {
        at: u64,
        byte: u8,
        bytes: usize,
    },
    Free {
        at: u64,
    },
    /// The begin of a copy to the host, which the caller executes.
    Read {
        from: u64,
    },
    Graph(Arc<Executable>),
    Mark(Arc<Mark>),
    Wait(Arc<Mark>),
}

/// A point of a stream.
pub struct Mark {
    device: usize,
    stream: StreamId,
    /// The number of items of the stream up to and including the mark.
    position: u64,
    /// The work ordered before it.
    past: Past,
    /// The time at which the stream reaches it, in seconds.
    time: OnceLock<f64>,
}

impl Mark {
    pub fn time(&self) -> Option<f64> {
        self.time.get().copied()
    }

    pub fn position(&self) -> u64 {
        self.position
    }
}

/// The result of draining a stream.
#[derive(PartialEq)]
enum Progress {
    There,
    /// A kernel never ends.
    Stuck,
}

impl Machine {
    pub fn add_stream(&mut self, device: usize, blocking: bool, owned: bool) -> StreamId {
        let id = self.handle();
        let generation = self.devices[device].generation;
        self.streams
            .insert(id, Stream::new(device, generation, blocking, owned));
        id
    }

    /// Returns the stream of a handle. 0, 1 and 2 are the default streams of the current context.
    pub fn stream(&mut self, handle: u64) -> Answer<StreamId> {
        let current = self.current()?;
        match handle {
            0 | LEGACY => Ok(self.devices[current].legacy),
            PER_THREAD => {
                let key = (std::thread::current().id(), current);
                let generation = self.devices[current].generation;
                if let Some(known) = self.thread_streams.get(&key)
                    && self.streams[known].generation == generation
                {
                    return Ok(*known);
                }
                let id = self.add_stream(current, true, false);
                self.thread_streams.insert(key, id);
                Ok(id)
            }
            _ => {
                let stream = self.streams.get(&handle).filter(|stream| stream.is_left());
                let stream = stream.ok_or(Code::INVALID_HANDLE)?;
                if stream.generation != self.devices[stream.device].generation {
                    return Err(Code::CONTEXT_IS_DESTROYED);
                }
                self.healthy(stream.device)?;
                Ok(handle)
            }
        }
    }

    pub fn destroy_stream(&mut self, id: StreamId) {
        if let Some(capture) = self.streams[&id].capture {
            self.invalidate(capture);
        }
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.destroyed = true;
            stream.capture = None;
        }
        self.forget_if_done(id);
    }

    /// Removes a destroyed stream once its work is done.
    fn forget_if_done(&mut self, id: StreamId) {
        if self
            .streams
            .get(&id)
            .is_some_and(|stream| stream.destroyed && stream.queue.is_empty())
        {
            self.streams.remove(&id);
        }
    }

    /// Queues work, or adds it to a capture.
    pub fn enqueue(&mut self, id: StreamId, work: Work) -> Answer {
        if self.streams[&id].capture.is_some() {
            return self.record(id, work);
        }
        self.order_with_legacy(id)?;
        self.push(id, work);
        Ok(())
    }

    fn push(&mut self, id: StreamId, work: Work) {
        let queued_at = self.now();
        let position = self.streams[&id].enqueued + 1;
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.past.merge(&self.host);
            if let Work::Wait(mark) = &work {
                stream.past.merge(&mark.past);
            }
            stream.past.add(id, position);
        }
        self.note_uses(id, position, &work);
        let scheduled = self.streams[&id].unscheduled == 0 && self.schedule(id, &work, queued_at);
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.unscheduled += u64::from(!scheduled);
            stream.enqueued = position;
            stream.asked = false;
            stream.queue.push_back(Queued {
                work,
                queued_at,
                scheduled,
            });
        }
    }

    /// Orders the legacy stream and the blocking streams.
    fn order_with_legacy(&mut self, id: StreamId) -> Answer {
        let (device, blocking) = (self.streams[&id].device, self.streams[&id].blocking);
        let legacy = self.devices[device].legacy;
        let others: Vec<StreamId> = if id == legacy {
            let blocking = |(other, stream): &(&StreamId, &Stream)| {
                stream.blocking && stream.device == device && **other != legacy
            };
            self.streams.iter().filter(blocking).map(|(other, _)| *other).collect()
        } else if blocking {
            vec![legacy]
        } else {
            Vec::new()
        };
        for other in others {
            if let Some(capture) = self.streams[&other].capture {
                self.invalidate(capture);
                return Err(Code::CAPTURE_IMPLICIT);
            }
            if !self.streams[&other].queue.is_empty() {
                let mark = self.mark(other);
                self.push(id, Work::Wait(mark));
            }
        }
        Ok(())
    }

    /// Marks the end of a stream's queue.
    pub fn mark(&mut self, id: StreamId) -> Arc<Mark> {
        let stream = &self.streams[&id];
        let position = stream.enqueued + 1;
        let mut past = stream.past.clone();
        past.merge(&self.host);
        past.add(id, position);
        let mark = Arc::new(Mark {
            device: stream.device,
            stream: id,
            position,
            past,
            time: OnceLock::new(),
        });
        self.push(id, Work::Mark(mark.clone()));
        mark
    }

    /// Schedules work on the timeline. Returns `false` if its cost is unknown.
    fn schedule(&mut self, id: StreamId, work: &Work, queued_at: f64) -> bool {
        let (number, ready) = (self.streams[&id].device, self.streams[&id].ready);
        let ends = match work {
            Work::Mark(mark) => {
                let _ = mark.time.set(ready.max(queued_at));
                return true;
            }
            Work::Wait(mark) => match mark.time() {
                Some(time) => ready.max(time),
                None => return false,
            },
            Work::Free { .. } | Work::Read { .. } => return true,
            work => {
                let Some(cost) = self.cost(number, work) else {
                    return false;
                };
                let device = &mut self.devices[number];
                let begins = queued_at.max(ready).max(device.busy_until);
                device.busy_until = begins + cost.seconds;
                device.power.add(begins, cost);
                device.busy_until
            }
        };
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.ready = ends;
        }
        true
    }

    /// Returns the cost of work, or none for kernels that have never run.
    fn cost(&self, device: usize, work: &Work) -> Option<Cost> {
        let profile = self.devices[device].profile;
        match work {
            Work::Launch(launch) => self.costs.get(&launch.key()).copied(),
            Work::Graph(graph) => {
                if let Some(known) = graph.cost.get() {
                    return Some(*known);
                }
                let start = Cost {
                    seconds: cost::LAUNCH,
                    joules: 0.0,
                };
                let mut nodes = graph.nodes.iter().map(|work| self.cost(device, work));
                let sum = nodes.try_fold(start, |sum, node| Some(sum.and(node?)))?;
                Some(*graph.cost.get_or_init(|| sum))
            }
            Work::Write { bytes, .. } => Some(cost::over_the_bus(bytes.len())),
            Work::Copy { bytes, .. } => Some(cost::on_the_device(profile, 2 * bytes)),
            Work::Fill { bytes, .. } => Some(cost::on_the_device(profile, *bytes)),
            Work::Free { .. } | Work::Read { .. } | Work::Mark(_) | Work::Wait(_) => Some(Cost::default()),
        }
    }

    /// Executes a stream's queue up to a position.
    fn drain(&mut self, id: StreamId, position: u64) -> Progress {
        loop {
            let Some(stream) = self.streams.get_mut(&id) else {
                return Progress::There;
            };
            if stream.executed >= position {
                return Progress::There;
            }
            let Some(front) = stream.queue.front() else {
                return Progress::There;
            };
            let (device, work) = (stream.device, front.work.clone());
            let healthy = self.healthy(device).is_ok();
            let stuck = match &work {
                Work::Wait(mark) => self.drain(mark.stream, mark.position) == Progress::Stuck,
                work => healthy && work.never_ends(),
            };
            if stuck {
                return Progress::Stuck;
            }
            let Some(queued) = self.streams.get_mut(&id).and_then(|stream| {
                stream.executed += 1;
                stream.queue.pop_front()
            }) else {
                return Progress::There;
            };
            if healthy {
                self.perform(device, &queued.work);
            }
            if !queued.scheduled {
                // Failed work has no cost and takes no time.
                self.schedule(id, &queued.work, queued.queued_at);
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.unscheduled -= 1;
                }
            }
            self.forget_if_done(id);
        }
    }

    fn perform(&mut self, device: usize, work: &Work) {
        let memory = &self.devices[device].memory;
        let done = match work {
            Work::Launch(launch) => self.execute(device, launch),
            Work::Write { to, bytes } => memory.write(*to, bytes).map_err(|error| illegal("a copy", &error)),
            Work::Copy { from, to, bytes } => {
                let mut buffer = vec![0; *bytes];
                let copied = memory
                    .read(*from, &mut buffer)
                    .and_then(|()| memory.write(*to, &buffer));
                copied.map_err(|error| illegal("a copy", &error))
            }
            Work::Fill { at, byte, bytes } => memory
                .fill(*at, *byte, *bytes as u64)
                .map_err(|error| illegal("a fill", &error)),
            Work::Free { at } => memory.free(*at).map_err(|error| illegal("a free", &error)),
            Work::Graph(graph) => {
                self.perform_graph(device, graph);
                Ok(())
            }
            Work::Read { .. } | Work::Mark(_) | Work::Wait(_) => Ok(()),
        };
        if let Err(failure) = done {
            self.break_device(device, failure);
        }
    }

    fn perform_graph(&mut self, device: usize, graph: &Executable) {
        let first = graph.launches.fetch_add(1, Relaxed) == 0;
        let nodes: Vec<&Work> = match (self.settings.graphs, &graph.nodes[..]) {
            (Graphs::All, nodes) => nodes.iter().collect(),
            (Graphs::Sample, [one]) if first => vec![one],
            (Graphs::Sample, [one, .., other]) if first => vec![one, other],
            (Graphs::Sample, _) => Vec::new(),
        };
        for work in nodes {
            if self.healthy(device).is_ok() {
                self.perform(device, work);
            }
        }
        // Skipped nodes may be kernels that have never run: they cost an empty launch.
        for work in &graph.nodes {
            if let Work::Launch(launch) = work {
                let smallest = Cost {
                    seconds: cost::LAUNCH,
                    joules: 0.0,
                };
                self.costs.entry(launch.key()).or_insert(smallest);
            }
        }
    }

    /// Makes an error sticky for a device.
    pub fn break_device(&mut self, device: usize, failure: Failure) {
        if let Some(text) = failure.problem {
            self.problem(text);
        }
        self.devices[device].broken.get_or_insert(failure.code);
    }

    /// Executes a stream's queue up to a mark, and waits for the mark's time.
    pub fn wait_for(&mut self, mark: &Mark) -> Answer<Pause> {
        let progress = self.drain(mark.stream, mark.position);
        self.host.merge(&mark.past);
        self.ended(progress, mark.device, mark.time())
    }

    /// Executes a stream's queue, and waits for the end of the work.
    pub fn finish(&mut self, id: StreamId) -> Answer<Pause> {
        let Some(stream) = self.streams.get(&id) else {
            return Ok(Pause::None);
        };
        let (device, position) = (stream.device, stream.enqueued);
        let progress = self.drain(id, position);
        if let Some(stream) = self.streams.get(&id) {
            self.host.merge(&stream.past);
        }
        let ready = self.streams.get(&id).map(|stream| stream.ready);
        self.ended(progress, device, ready)
    }

    /// Executes a stream's queue, copies to the host, and waits for the copy.
    pub fn read(&mut self, id: StreamId, from: u64, to: &mut [u8]) -> Answer<Pause> {
        self.order_with_legacy(id)?;
        self.push(id, Work::Read { from });
        if let Pause::Forever = self.finish(id)? {
            return Ok(Pause::Forever);
        }
        let now = self.now();
        let Some(stream) = self.streams.get_mut(&id) else {
            return Err(Code::INVALID_HANDLE);
        };
        let device = &mut self.devices[stream.device];
        if let Err(error) = device.memory.read(from, to) {
            let number = stream.device;
            self.break_device(number, illegal("a copy", &error));
            return self.healthy(number).map(|()| Pause::None);
        }
        let cost = cost::over_the_bus(to.len());
        let begins = now.max(stream.ready).max(device.busy_until);
        device.power.add(begins, cost);
        device.busy_until = begins + cost.seconds;
        stream.ready = device.busy_until;
        Ok(Pause::Until(stream.ready))
    }

    /// Executes the queues of all streams of a device, and waits for the end of the work.
    pub fn finish_device(&mut self, device: usize) -> Answer<Pause> {
        let streams: Vec<StreamId> = self.streams_of(device);
        let mut until: f64 = 0.0;
        for id in streams {
            match self.finish(id)? {
                Pause::Until(time) => until = until.max(time),
                Pause::Forever => return Ok(Pause::Forever),
                Pause::None => {}
            }
        }
        Ok(Pause::Until(until))
    }

    fn streams_of(&self, device: usize) -> Vec<StreamId> {
        let generation = self.devices[device].generation;
        let own = |(_, stream): &(&StreamId, &Stream)| stream.device == device && stream.generation == generation;
        self.streams.iter().filter(own).map(|(id, _)| *id).collect()
    }

    fn ended(&self, progress: Progress, device: usize, time: Option<f64>) -> Answer<Pause> {
        if progress == Progress::Stuck {
            return Ok(Pause::Forever);
        }
        self.healthy(device)?;
        Ok(time.map_or(Pause::None, Pause::Until))
    }

    /// Succeeds if a stream has reached a mark: never at the first query, and not before the mark's time.
    pub fn reached(&mut self, mark: &Mark, asked_before: bool) -> Answer {
        let (stream, position) = (mark.stream, mark.position);
        let done = self.streams.get(&stream).is_none_or(|known| known.executed >= position);
        if !done && (!asked_before || self.drain(stream, position) == Progress::Stuck) {
            return Err(Code::NOT_READY);
        }
        self.healthy(mark.device)?;
        if mark.time().is_some_and(|time| time > self.now()) {
            return Err(Code::NOT_READY);
        }
        self.host.merge(&mark.past);
        Ok(())
    }

    /// Succeeds if a stream is done.
    pub fn is_done(&mut self, id: StreamId) -> Answer {
        let stream = &self.streams[&id];
        let end = Mark {
            device: stream.device,
            stream: id,
            position: stream.enqueued,
            past: stream.past.clone(),
            time: OnceLock::new(),
        };
        let asked = stream.asked;
        let reached = self.reached(&end, asked);
        let now = self.now();
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.asked = true;
            if reached.is_ok() && stream.ready > now {
                return Err(Code::NOT_READY);
            }
        }
        reached
    }
}

impl Work {
    /// Calls `visit` with every word that may be the address of memory in use.
    pub fn each_address(&self, visit: &mut impl FnMut(u64)) {
        match self {
            Work::Launch(launch) => launch.words().for_each(visit),
            Work::Write { to, .. } => visit(*to),
            Work::Copy { from, to, .. } => [*from, *to].into_iter().for_each(visit),
            Work::Fill { at: address, .. } | Work::Read { from: address } => visit(*address),
            Work::Graph(graph) => graph.addresses.iter().copied().for_each(visit),
            Work::Free { .. } | Work::Mark(_) | Work::Wait(_) => {}
        }
    }

    /// The name of the work in messages.
    pub fn name(&self) -> String {
        match self {
            Work::Launch(launch) => format!("`{}`", launch.entry),
            Work::Write { .. } | Work::Copy { .. } | Work::Read { .. } => "a copy".to_owned(),
            Work::Fill { .. } => "a fill".to_owned(),
            Work::Graph(_) => "a graph".to_owned(),
            Work::Free { .. } | Work::Mark(_) | Work::Wait(_) => "a stream".to_owned(),
        }
    }

    fn never_ends(&self) -> bool {
        match self {
            Work::Launch(launch) => launch.module.defect == Some(Defect::Hangs),
            Work::Graph(graph) => graph.nodes.iter().any(Work::never_ends),
            _ => false,
        }
    }
}

/// An asynchronous error, and the mistake of the program that caused it, if there is one.
pub struct Failure {
    pub code: Code,
    pub problem: Option<String>,
}

fn illegal(what: &str, error: &energy_kernel_emulator::MemoryError) -> Failure {
    Failure {
        code: Code::ILLEGAL_ADDRESS,
        problem: Some(format!("{what}: {error}")),
    }
}
