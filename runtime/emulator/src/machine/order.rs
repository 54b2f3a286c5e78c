//! Happens-before between the threads of a block, as the memory model of PTX orders them, by vector clocks.
//!
//! Every warp has a clock, and every access has the time at which its thread made it. A warp's clock advances whenever
//! threads of the warp synchronise or one of them releases, so later accesses get a later time. A [`VectorClock`] holds
//! a time for every warp: accesses of that warp up to then happened before. Barriers pass clocks between warps. An
//! acquire passes a clock to one thread, which then is ahead of its warp until the warp synchronises.
//!
//! An agent is no thread, but accesses shared memory: a warp group's `wgmma` unit. It has a clock like a warp.

use std::rc::Rc;

use super::registers::LANES;

/// The times up to which accesses happened before: one for each warp, and later ones for single threads.
#[derive(Debug, Clone, Default)]
pub(crate) struct VectorClock {
    warps: Vec<u32>,
    /// (thread, time), sorted by thread.
    threads: Vec<(u16, u32)>,
}

/// The warp of a thread.
fn warp_of(thread: u16) -> usize {
    usize::from(thread) / LANES
}

impl VectorClock {
    /// Resets all times.
    pub fn forget(&mut self) {
        self.warps.clear();
        self.threads.clear();
    }

    #[inline(always)]
    fn of_warp(&self, warp: usize) -> u32 {
        self.warps.get(warp).copied().unwrap_or(0)
    }

    /// `true` if the clock has a time for this thread alone that covers an access.
    #[cold]
    fn has(&self, thread: u16, time: u32) -> bool {
        let found = self.threads.binary_search_by_key(&thread, |(thread, _)| *thread);
        found.is_ok_and(|at| time <= self.threads[at].1)
    }

    fn note(&mut self, thread: u16, time: u32) {
        if time <= self.of_warp(warp_of(thread)) {
            return;
        }
        match self.threads.binary_search_by_key(&thread, |(thread, _)| *thread) {
            Ok(at) => self.threads[at].1 = self.threads[at].1.max(time),
            Err(at) => self.threads.insert(at, (thread, time)),
        }
    }

    fn note_warp(&mut self, warp: usize, time: u32) {
        if self.warps.len() <= warp {
            self.warps.resize(warp + 1, 0);
        }
        self.warps[warp] = self.warps[warp].max(time);
    }

    pub fn join(&mut self, other: &VectorClock) {
        if self.warps.len() < other.warps.len() {
            self.warps.resize(other.warps.len(), 0);
        }
        for (own, other) in self.warps.iter_mut().zip(&other.warps) {
            *own = (*own).max(*other);
        }
        for &(thread, time) in &other.threads {
            self.note(thread, time);
        }
        self.prune();
    }

    /// Drops the times of single threads that their warps' times cover.
    fn prune(&mut self) {
        if self.threads.is_empty() {
            return;
        }
        let warps = &mut self.warps;
        // Times for every lane of a warp amount to a time for the warp.
        for lanes in self.threads.chunk_by(|a, b| warp_of(a.0) == warp_of(b.0)) {
            if lanes.len() == LANES {
                let warp = warp_of(lanes[0].0);
                let least = lanes.iter().map(|(_, time)| *time).min().unwrap_or(0);
                if warps.len() <= warp {
                    warps.resize(warp + 1, 0);
                }
                warps[warp] = warps[warp].max(least);
            }
        }
        let of_warp = |thread| self.warps.get(warp_of(thread)).copied().unwrap_or(0);
        self.threads.retain(|(thread, time)| *time > of_warp(*thread));
    }

    fn covers(&self, other: &VectorClock) -> bool {
        let mut warps = other.warps.iter().enumerate();
        warps.all(|(warp, time)| *time <= self.of_warp(warp))
            && (other.threads.iter())
                .all(|(thread, time)| *time <= self.of_warp(warp_of(*thread)) || self.has(*thread, *time))
    }
}

/// One thread's clocks, apart from its warp's.
#[derive(Debug, Clone, Default)]
struct Thread {
    /// The thread's clock, if it is ahead of its warp's.
    known: Option<Rc<VectorClock>>,
    /// The clock that its last release fence passes on, and the thread's own time then.
    fence: Option<(Rc<VectorClock>, u32)>,
    /// The clock that came with values which the thread read without acquiring them.
    observed: Option<Rc<VectorClock>>,
}

/// The clocks of all threads of a block.
pub(crate) struct Order {
    /// The time of each warp, then of each agent.
    now: Vec<u32>,
    /// The clock that all lanes of each warp share.
    clocks: Vec<VectorClock>,
    /// Lanes of each warp that are ahead of it.
    ahead: Vec<u32>,
    /// One for each thread; empty until one is needed.
    threads: Vec<Thread>,
    /// `true` if a thread released in the running instruction.
    released: bool,
    /// The time at which the block started. Older accesses belong to an earlier block.
    pub start: u32,
}

impl Order {
    pub fn new(warps: usize, agents: usize) -> Order {
        Order {
            now: vec![1; warps + agents],
            clocks: vec![VectorClock::default(); warps],
            ahead: vec![0; warps],
            threads: Vec::new(),
            released: false,
            start: 1,
        }
    }

    /// Starts a block, with all clocks beyond those of the last one. Returns `true` if the times start over, which they
    /// do after two billion synchronisations.
    pub fn start_block(&mut self) -> bool {
        let newest = self.now.iter().copied().max().unwrap_or(0);
        let over = newest > u32::MAX / 2;
        self.start = if over { 1 } else { newest + 1 };
        self.now.fill(self.start);
        for clock in &mut self.clocks {
            clock.threads.clear();
            clock.warps.clear();
            clock.warps.resize(self.now.len(), self.start - 1);
        }
        self.ahead.fill(0);
        self.threads.clear();
        self.released = false;
        over
    }

    #[inline(always)]
    pub fn now(&self, warp: usize) -> u32 {
        self.now[warp]
    }

    /// The number that stands for an agent where accesses have a thread's.
    pub fn agent(&self, agent: usize) -> u16 {
        ((self.clocks.len() + agent) * LANES) as u16
    }

    /// The time of an agent's step of that number.
    pub fn agent_time(&mut self, agent: usize, step: u32) -> u32 {
        let time = self.start + step;
        let now = &mut self.now[self.clocks.len() + agent];
        *now = (*now).max(time);
        time
    }

    /// Lets a warp see the end of an agent's steps up to that number.
    pub fn learn_agent(&mut self, warp: usize, agent: usize, step: u32) {
        let column = self.clocks.len() + agent;
        let time = self.start + step;
        self.clocks[warp].note_warp(column, time);
    }

    /// The agent that an access names, if it names no thread.
    pub fn as_agent(&self, thread: u32) -> Option<u32> {
        (thread as usize / LANES)
            .checked_sub(self.clocks.len())
            .map(|agent| agent as u32)
    }

    /// A thread's view of earlier accesses.
    #[inline(always)]
    pub fn view(&self, thread: u32) -> View<'_> {
        let warp = thread as usize / LANES;
        View {
            order: self,
            warps: &self.clocks[warp].warps,
            thread,
            beyond: self.ahead[warp] != 0 || !self.clocks[warp].threads.is_empty(),
        }
    }

    #[cold]
    fn ordered_beyond(&self, by: u16, time: u32, thread: u32) -> bool {
        let warp = thread as usize / LANES;
        let knows = |known: &VectorClock| {
            time <= known.of_warp(warp_of(by)) || (!known.threads.is_empty() && known.has(by, time))
        };
        knows(&self.clocks[warp])
            || (self.ahead[warp] != 0
                && self
                    .own_clock(warp, thread % LANES as u32)
                    .is_some_and(|own| knows(own)))
    }

    /// `true` if an access happened before what the warp does now as a whole: some thread of it is ordered after it.
    pub fn ordered_for_warp(&self, by: u16, time: u32, warp: usize) -> bool {
        let first = (warp * LANES) as u32;
        let mut lanes = self.ahead[warp] | 1;
        while lanes != 0 {
            let thread = first + lanes.trailing_zeros();
            if self.view(thread).ordered(by, time) {
                return true;
            }
            lanes &= lanes - 1;
        }
        false
    }

    pub fn advance(&mut self, warp: usize) {
        self.now[warp] += 1;
    }

    /// Ends an instruction of a warp. If a thread released in it, later accesses get a later time.
    pub fn finish(&mut self, warp: usize) {
        if std::mem::take(&mut self.released) {
            self.advance(warp);
        }
    }

    /// Synchronises some of a warp's `live` threads with one another.
    #[inline(always)]
    pub fn synchronise(&mut self, warp: usize, lanes: u32, live: u32) {
        if live & !lanes == 0 && self.ahead[warp] == 0 && self.clocks[warp].threads.is_empty() {
            self.clocks[warp].warps[warp] = self.now[warp];
            self.now[warp] += 1;
        } else {
            self.synchronise_ahead(warp, lanes, live);
        }
    }

    #[cold]
    fn synchronise_ahead(&mut self, warp: usize, lanes: u32, live: u32) {
        let mut joined = VectorClock::default();
        self.publish(&mut joined, warp, lanes, live);
        if live & !lanes == 0 {
            self.forget_own_clocks(warp, u32::MAX);
            self.clocks[warp].join(&joined);
        } else {
            let joined = Rc::new(joined);
            self.each_thread(warp, lanes, |_, thread| thread.known = Some(joined.clone()));
            self.ahead[warp] |= lanes;
        }
        self.advance(warp);
    }

    fn forget_own_clocks(&mut self, warp: usize, lanes: u32) {
        let forgotten = self.ahead[warp] & lanes;
        if forgotten != 0 {
            self.each_thread(warp, forgotten, |_, thread| thread.known = None);
            self.ahead[warp] &= !forgotten;
        }
    }

    fn each_thread(&mut self, warp: usize, mut lanes: u32, mut visit: impl FnMut(u32, &mut Thread)) {
        let all = self.clocks.len() * LANES;
        if self.threads.len() < all {
            self.threads.resize(all, Thread::default());
        }
        while lanes != 0 {
            let lane = lanes.trailing_zeros();
            lanes &= lanes - 1;
            visit(lane, &mut self.threads[warp * LANES + lane as usize]);
        }
    }

    /// The clock of a thread that is ahead of its warp.
    fn own_clock(&self, warp: usize, lane: u32) -> Option<&Rc<VectorClock>> {
        let thread = self.threads.get(warp * LANES + lane as usize)?;
        thread.known.as_ref().filter(|_| self.ahead[warp] >> lane & 1 != 0)
    }

    /// Adds the clocks of some of a warp's `live` threads, and their own accesses, to a clock that others will take
    /// over.
    pub fn publish(&self, to: &mut VectorClock, warp: usize, lanes: u32, live: u32) {
        to.join(&self.clocks[warp]);
        let mut left = lanes & self.ahead[warp];
        while left != 0 {
            if let Some(known) = self.own_clock(warp, left.trailing_zeros()) {
                to.join(known);
            }
            left &= left - 1;
        }
        if live & !lanes == 0 {
            to.note_warp(warp, self.now[warp]);
        } else {
            let mut left = lanes;
            while left != 0 {
                to.note((warp * LANES) as u16 + left.trailing_zeros() as u16, self.now[warp]);
                left &= left - 1;
            }
        }
        to.prune();
    }

    /// Adds the accesses of a thread's asynchronous copy that has landed.
    pub fn publish_landed(&mut self, to: &mut VectorClock, thread: u32) {
        let warp = thread as usize / LANES;
        self.publish(to, warp, 1 << (thread % LANES as u32), u32::MAX);
        self.advance(warp);
    }

    /// Lets some of a warp's `live` threads take over a clock.
    pub fn learn(&mut self, warp: usize, lanes: u32, live: u32, from: &VectorClock) {
        let mut left = lanes;
        if live & !lanes == 0 {
            self.clocks[warp].join(from);
            left = self.ahead[warp];
        }
        while left != 0 {
            self.learn_alone(warp, left.trailing_zeros(), from);
            left &= left - 1;
        }
    }

    fn learn_alone(&mut self, warp: usize, lane: u32, from: &VectorClock) {
        let of_warp = &self.clocks[warp];
        let own = self.own_clock(warp, lane).filter(|own| !of_warp.covers(own));
        let knows = own.map_or(of_warp, |own| own);
        if knows.covers(from) {
            if own.is_none() {
                self.forget_own_clocks(warp, 1 << lane);
            }
            return;
        }
        let mut known = knows.clone();
        known.join(of_warp);
        known.join(from);
        let mut known = Some(Rc::new(known));
        self.each_thread(warp, 1 << lane, |_, thread| thread.known = known.take());
        self.ahead[warp] |= 1 << lane;
    }

    /// The clock that a thread passes on with a value it writes: its own if the write releases, else that of its last
    /// release fence.
    pub fn release(&mut self, thread: u32, releases: bool, live: u32) -> Option<VectorClock> {
        let (warp, lane) = (thread as usize / LANES, thread % LANES as u32);
        let mut known = VectorClock::default();
        if releases {
            self.publish(&mut known, warp, 1 << lane, live);
            self.released = true;
            return Some(known);
        }
        let (fence, time) = self.threads.get(thread as usize)?.fence.clone()?;
        known.join(&fence);
        known.note(thread as u16, time);
        Some(known)
    }

    /// Notes that a thread read a value that passes on a clock. The thread takes it over now if it acquires, else at
    /// its next fence.
    pub fn observe(&mut self, thread: u32, acquires: bool, live: u32, from: &VectorClock) {
        let (warp, lane) = (thread as usize / LANES, thread % LANES as u32);
        if acquires {
            return self.learn(warp, 1 << lane, live, from);
        }
        self.each_thread(warp, 1 << lane, |_, thread| {
            Rc::make_mut(thread.observed.get_or_insert_default()).join(from);
        });
    }

    /// Runs a fence of some threads of a warp.
    pub fn fence(&mut self, warp: usize, lanes: u32, live: u32, acquires: bool, releases: bool) {
        if acquires && !self.threads.is_empty() {
            let mut observed = Vec::new();
            self.each_thread(warp, lanes, |lane, thread| {
                observed.extend(thread.observed.take().map(|known| (lane, known)));
            });
            for (lane, known) in observed {
                self.learn(warp, 1 << lane, live, &known);
            }
        }
        if releases {
            let (now, ahead, of_warp) = (self.now[warp], self.ahead[warp], Rc::new(self.clocks[warp].clone()));
            self.each_thread(warp, lanes, |lane, thread| {
                let own = thread.known.as_ref().filter(|_| ahead >> lane & 1 != 0);
                thread.fence = Some((own.unwrap_or(&of_warp).clone(), now));
            });
            self.advance(warp);
        }
    }
}

/// A thread's view of earlier accesses.
#[derive(Clone, Copy)]
pub(crate) struct View<'o> {
    order: &'o Order,
    /// The times of its warp's clock.
    warps: &'o [u32],
    thread: u32,
    /// `true` if there is more to look at than `warps`: the thread's own clock, or times of single threads.
    beyond: bool,
}

impl View<'_> {
    /// `true` if another thread's access at that time happened before what this thread does now.
    #[inline(always)]
    pub fn ordered(self, by: u16, time: u32) -> bool {
        time < self.order.start
            || time <= self.warps[warp_of(by)]
            || (self.beyond && self.order.ordered_beyond(by, time, self.thread))
    }

    /// `true` if the accesses of several lanes of a warp did. The thread's own always do.
    #[inline(always)]
    pub fn all_ordered(self, by_warp: u16, lanes: u32, time: u32) -> bool {
        if time < self.order.start || time <= self.warps[usize::from(by_warp)] {
            return true;
        }
        let own = u32::from(self.thread / LANES as u32 == by_warp.into()) << (self.thread % LANES as u32);
        let others = lanes & !own;
        others == 0 || (self.beyond && self.all_ordered_beyond(by_warp, others, time))
    }

    #[cold]
    fn all_ordered_beyond(self, by_warp: u16, mut lanes: u32, time: u32) -> bool {
        while lanes != 0 {
            let by = by_warp * LANES as u16 + lanes.trailing_zeros() as u16;
            lanes &= lanes - 1;
            if !self.order.ordered_beyond(by, time, self.thread) {
                return false;
            }
        }
        true
    }
}
