//! Stream capture and graphs.
//!
//! The rules are those of `cuThreadExchangeStreamCaptureMode` and `cuStreamBeginCapture`, and of "Prohibited and Unhandled Operations"
//! in the CUDA programming guide. An invalidated capture stays invalid until it ends.

use crate::codes::{Answer, Code};
use crate::cost::Cost;
use crate::machine::{Machine, Recorded};
use crate::stream::{StreamId, Work};
use energy_kernel_emulator::Memory;
use std::cell::Cell;
use std::collections::{BTreeSet, BinaryHeap, HashMap};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::thread::ThreadId;

thread_local! {
    /// The interaction mode of this thread.
    static OBEYED: Cell<Mode> = const { Cell::new(Mode::Global) };
}

impl Mode {
    /// The mode of a number in `CUstreamCaptureMode`.
    pub fn of(number: u32) -> Answer<Mode> {
        let all = [Mode::Global, Mode::ThreadLocal, Mode::Relaxed];
        all.get(number as usize).copied().ok_or(Code::INVALID_VALUE)
    }
}

/// Sets this thread's interaction mode, and returns the previous one.
pub fn exchange(mode: Mode) -> Mode {
    OBEYED.replace(mode)
}

/// A capture mode: the threads whose unsafe calls a capture prohibits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// All threads.
    Global,
    /// The thread that began it.
    ThreadLocal,
    /// None.
    Relaxed,
}

/// A capture in progress.
pub struct Capture {
    origin: StreamId,
    thread: ThreadId,
    mode: Mode,
    nodes: Vec<Node>,
    /// The dependencies of each stream's next node.
    tails: HashMap<StreamId, Vec<usize>>,
    invalid: bool,
    owned: Owned,
}

/// A graph.
pub struct Graph {
    pub nodes: Vec<Node>,
    pub owned: Arc<Owned>,
}

/// Memory that a graph allocates and frees. It keeps its addresses until the graph is destroyed.
pub struct Owned {
    memory: Arc<Memory>,
    addresses: Vec<u64>,
}

impl Drop for Owned {
    fn drop(&mut self) {
        for address in &self.addresses {
            // The address came from `allocate`, and only this frees it.
            let _ = self.memory.free(*address);
        }
    }
}

/// A node of a graph, and its dependencies.
#[derive(Clone)]
pub struct Node {
    work: Work,
    after: Vec<usize>,
}

/// An executable graph.
pub struct Executable {
    /// In execution order.
    pub nodes: Vec<Work>,
    /// Addresses that its nodes use.
    pub addresses: BTreeSet<u64>,
    pub launches: AtomicU64,
    pub cost: OnceLock<Cost>,
    _owned: Arc<Owned>,
}

impl Executable {
    /// Orders the nodes. Among ready nodes the latest recorded comes first, so a missing dependency gives a wrong result.
    pub fn new(graph: &Graph) -> Executable {
        let nodes = &graph.nodes;
        let mut waiting: Vec<usize> = nodes.iter().map(|node| node.after.len()).collect();
        let mut followers = vec![Vec::new(); nodes.len()];
        for (number, node) in nodes.iter().enumerate() {
            node.after.iter().for_each(|before| followers[*before].push(number));
        }
        let mut free: BinaryHeap<usize> = (0..nodes.len()).filter(|number| waiting[*number] == 0).collect();
        let mut order = Vec::with_capacity(nodes.len());
        while let Some(next) = free.pop() {
            order.push(nodes[next].work.clone());
            for follower in &followers[next] {
                waiting[*follower] -= 1;
                if waiting[*follower] == 0 {
                    free.push(*follower);
                }
            }
        }
        let mut addresses = BTreeSet::new();
        for work in &order {
            work.each_address(&mut |address| addresses.extend([address]));
        }
        Executable {
            nodes: order,
            addresses,
            launches: AtomicU64::new(0),
            cost: OnceLock::new(),
            _owned: graph.owned.clone(),
        }
    }
}

impl Machine {
    pub fn begin_capture(&mut self, id: StreamId, mode: Mode) -> Answer {
        let device = self.streams[&id].device;
        if id == self.devices[device].legacy {
            return Err(Code::CAPTURE_UNSUPPORTED);
        }
        let number = self.handle();
        let Some(stream) = self.streams.get_mut(&id) else {
            return Err(Code::INVALID_HANDLE);
        };
        if stream.capture.is_some() {
            return Err(Code::ILLEGAL_STATE);
        }
        stream.capture = Some(number);
        let capture = Capture {
            origin: id,
            thread: std::thread::current().id(),
            mode,
            nodes: Vec::new(),
            tails: HashMap::from([(id, Vec::new())]),
            invalid: false,
            owned: Owned {
                memory: self.devices[device].memory.clone(),
                addresses: Vec::new(),
            },
        };
        self.captures.insert(number, capture);
        Ok(())
    }

    /// Ends a capture. Returns the graph's handle.
    pub fn end_capture(&mut self, id: StreamId) -> Answer<u64> {
        let number = self.streams[&id].capture.ok_or(Code::ILLEGAL_STATE)?;
        let capture = self.captures.get(&number).ok_or(Code::ILLEGAL_STATE)?;
        if capture.origin != id {
            self.invalidate(number);
            return Err(Code::CAPTURE_UNMATCHED);
        }
        if capture.mode != Mode::Relaxed && capture.thread != std::thread::current().id() {
            self.invalidate(number);
            return Err(Code::CAPTURE_WRONG_THREAD);
        }
        for stream in self
            .streams
            .values_mut()
            .filter(|stream| stream.capture == Some(number))
        {
            stream.capture = None;
        }
        let capture = self.captures.remove(&number).ok_or(Code::ILLEGAL_STATE)?;
        if capture.invalid {
            return Err(Code::CAPTURE_INVALIDATED);
        }
        if !capture.is_joined() {
            return Err(Code::CAPTURE_UNJOINED);
        }
        let graph = self.handle();
        let (nodes, owned) = (capture.nodes, Arc::new(capture.owned));
        self.graphs.insert(graph, Graph { nodes, owned });
        Ok(graph)
    }

    /// Hands memory that a capture allocated and freed over to its graph.
    pub fn give_to_graph(&mut self, capture: u64, address: u64) {
        if let Some(capture) = self.captures.get_mut(&capture) {
            capture.owned.addresses.push(address);
        }
    }

    /// Returns the `CUstreamCaptureStatus` of a stream: 0 none, 1 active, 2 invalidated.
    pub fn capture_status(&self, id: StreamId) -> u32 {
        let capture = self.streams[&id].capture.and_then(|number| self.captures.get(&number));
        capture.map_or(0, |capture| 1 + u32::from(capture.invalid))
    }

    /// Adds work to the capture of its stream.
    pub fn record(&mut self, id: StreamId, work: Work) -> Answer {
        let capture = self.capture_of(id)?;
        let number = capture.nodes.len();
        let after = capture.tails.insert(id, vec![number]).unwrap_or_default();
        capture.nodes.push(Node { work, after });
        Ok(())
    }

    /// Records an event on a capturing stream.
    pub fn record_event(&mut self, id: StreamId) -> Answer<Recorded> {
        let number = self.streams[&id].capture.ok_or(Code::ILLEGAL_STATE)?;
        let capture = self.capture_of(id)?;
        let tail = capture.tails.get(&id).cloned().unwrap_or_default();
        Ok(Recorded::Captured(number, tail))
    }

    /// Makes a stream wait for an event if one of the two is captured. Returns `false` if neither is.
    pub fn join(&mut self, id: StreamId, recorded: &Recorded) -> Answer<bool> {
        let own = self.streams[&id].capture;
        match (own, recorded) {
            (None, Recorded::Never | Recorded::At(_)) => Ok(false),
            (Some(_), Recorded::Never) => Ok(true),
            (Some(number), Recorded::At(_)) => {
                self.invalidate(number);
                Err(Code::CAPTURE_ISOLATION)
            }
            (own, Recorded::Captured(number, nodes)) => {
                if let Some(own) = own.filter(|own| own != number) {
                    self.invalidate(own);
                    self.invalidate(*number);
                    return Err(Code::CAPTURE_MERGE);
                }
                let capture = self.captures.get_mut(number).ok_or(Code::CAPTURED_EVENT)?;
                if capture.invalid {
                    return Err(Code::CAPTURE_INVALIDATED);
                }
                capture.tails.entry(id).or_default().extend(nodes);
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.capture = Some(*number);
                }
                Ok(true)
            }
        }
    }

    fn capture_of(&mut self, id: StreamId) -> Answer<&mut Capture> {
        let number = self.streams[&id].capture.ok_or(Code::ILLEGAL_STATE)?;
        let capture = self.captures.get_mut(&number).ok_or(Code::ILLEGAL_STATE)?;
        match capture.invalid {
            true => Err(Code::CAPTURE_INVALIDATED),
            false => Ok(capture),
        }
    }

    pub fn invalidate(&mut self, capture: u64) {
        if let Some(capture) = self.captures.get_mut(&capture) {
            capture.invalid = true;
        }
    }

    /// Fails, and invalidates captures, if a capture prohibits unsafe calls on this thread.
    pub fn outside_captures(&mut self) -> Answer {
        let thread = std::thread::current().id();
        self.forbidden(|capture| match (OBEYED.get(), capture.mode) {
            (Mode::Relaxed, _) | (_, Mode::Relaxed) => false,
            (Mode::Global, Mode::Global) => true,
            (Mode::ThreadLocal, _) | (_, Mode::ThreadLocal) => capture.thread == thread,
        })
    }

    /// Fails, and invalidates the captures, if any stream of the context is being captured.
    pub fn without_captures(&mut self, device: usize) -> Answer {
        let captured: BTreeSet<u64> = (self.streams.values())
            .filter(|stream| stream.device == device)
            .filter_map(|stream| stream.capture)
            .collect();
        match captured.is_empty() {
            true => Ok(()),
            false => {
                captured.into_iter().for_each(|number| self.invalidate(number));
                Err(Code::CAPTURE_UNSUPPORTED)
            }
        }
    }

    /// Fails, and invalidates the capture, if the stream is being captured.
    pub fn not_captured(&mut self, id: StreamId) -> Answer {
        match self.streams[&id].capture {
            None => Ok(()),
            Some(number) => {
                self.invalidate(number);
                Err(Code::CAPTURE_UNSUPPORTED)
            }
        }
    }

    fn forbidden(&mut self, by: impl Fn(&Capture) -> bool) -> Answer {
        let mut answer = Ok(());
        for capture in self.captures.values_mut().filter(|capture| by(capture)) {
            capture.invalid = true;
            answer = Err(Code::CAPTURE_UNSUPPORTED);
        }
        answer
    }
}

impl Capture {
    /// `true` if the origin waits for every node.
    fn is_joined(&self) -> bool {
        let mut reached = vec![false; self.nodes.len()];
        let mut open: Vec<usize> = self.tails.get(&self.origin).cloned().unwrap_or_default();
        while let Some(number) = open.pop() {
            if !std::mem::replace(&mut reached[number], true) {
                open.extend(&self.nodes[number].after);
            }
        }
        reached.into_iter().all(|reached| reached)
    }
}
