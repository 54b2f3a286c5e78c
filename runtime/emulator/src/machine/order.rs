//! Who knows of whom: happens-before between the threads of a block, as the memory model of PTX orders them.
//!
//! Every warp has a clock, and an access has the time at which its thread made it. The clock goes on whenever threads
//! of the warp synchronise, or one of them releases, so that what comes later has another time. What a warp knows is a
//! time for every other warp: accesses up to then happened before. Threads hand on what they know at barriers; by
//! release and acquire a thread does so alone, and then it knows more than its warp until that synchronises.

use std::rc::Rc;

use super::registers::LANES;

/// Up to which times accesses are known to have happened: of all lanes of each warp, and of single threads beyond.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    warps: Vec<u32>,
    /// (thread, time), by thread.
    threads: Vec<(u16, u32)>,
}

/// The warp of a thread.
fn warp_of(thread: u16) -> usize {
    usize::from(thread) / LANES
}

impl Known {
    /// Nothing is known any more.
    pub fn forget(&mut self) {
        self.warps.clear();
        self.threads.clear();
    }

    #[inline(always)]
    fn of_warp(&self, warp: usize) -> u32 {
        self.warps.get(warp).copied().unwrap_or(0)
    }

    /// Whether an access of a thread is known, beyond what is known of its whole warp.
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

    pub fn join(&mut self, other: &Known) {
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

    /// Drops what is known of single threads where as much is known of their warps.
    fn prune(&mut self) {
        if self.threads.is_empty() {
            return;
        }
        let warps = &mut self.warps;
        // What is known of every lane is known of the warp.
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

    fn covers(&self, other: &Known) -> bool {
        let mut warps = other.warps.iter().enumerate();
        warps.all(|(warp, time)| *time <= self.of_warp(warp))
            && (other.threads.iter())
                .all(|(thread, time)| *time <= self.of_warp(warp_of(*thread)) || self.has(*thread, *time))
    }
}

/// What one thread knows, did and saw, beside its warp.
#[derive(Debug, Clone, Default)]
struct Thread {
    /// All that it knows, where that is more than its warp does.
    known: Option<Rc<Known>>,
    /// What its last release fence handed on, and its own time then.
    fence: Option<(Rc<Known>, u32)>,
    /// What others handed on in values that it read without acquiring them.
    observed: Option<Rc<Known>>,
}

pub(crate) struct Order {
    /// The clocks of warps, and behind them those of agents that are no threads.
    now: Vec<u32>,
    /// What all lanes of each warp know.
    known: Vec<Known>,
    /// Lanes of each warp that know more.
    apart: Vec<u32>,
    /// By thread; empty until one is needed.
    threads: Vec<Thread>,
    /// Somebody released since the last look.
    released: bool,
    /// The time at which the block started: older accesses are another block's.
    pub start: u32,
}

impl Order {
    pub fn new(warps: usize, agents: usize) -> Order {
        Order {
            now: vec![1; warps + agents],
            known: vec![Known::default(); warps],
            apart: vec![0; warps],
            threads: Vec::new(),
            released: false,
            start: 1,
        }
    }

    /// A new block starts: all clocks stand beyond those of the last one. The result is whether they start over, after
    /// two billion synchronisations.
    pub fn start_block(&mut self) -> bool {
        let newest = self.now.iter().copied().max().unwrap_or(0);
        let over = newest > u32::MAX / 2;
        self.start = if over { 1 } else { newest + 1 };
        self.now.fill(self.start);
        // Nobody knows of anybody else's accesses yet.
        for known in &mut self.known {
            known.threads.clear();
            known.warps.clear();
            known.warps.resize(self.now.len(), self.start - 1);
        }
        self.apart.fill(0);
        self.threads.clear();
        self.released = false;
        over
    }

    #[inline(always)]
    pub fn now(&self, warp: usize) -> u32 {
        self.now[warp]
    }

    /// The number of an agent as if it were a thread.
    pub fn agent(&self, agent: usize) -> u16 {
        ((self.known.len() + agent) * LANES) as u16
    }

    /// The time of what an agent does as its step of that number.
    pub fn agent_time(&mut self, agent: usize, step: u32) -> u32 {
        let time = self.start + step;
        let now = &mut self.now[self.known.len() + agent];
        *now = (*now).max(time);
        time
    }

    /// A warp knows that an agent's steps up to that number are done.
    pub fn learn_agent(&mut self, warp: usize, agent: usize, step: u32) {
        let column = self.known.len() + agent;
        let time = self.start + step;
        self.known[warp].note_warp(column, time);
    }

    /// The agent that a number stands for, if it is no thread's.
    pub fn as_agent(&self, thread: u32) -> Option<u32> {
        (thread as usize / LANES)
            .checked_sub(self.known.len())
            .map(|agent| agent as u32)
    }

    /// What a thread knows now.
    #[inline(always)]
    pub fn view(&self, thread: u32) -> View<'_> {
        let warp = thread as usize / LANES;
        View {
            order: self,
            warps: &self.known[warp].warps,
            thread,
            beyond: self.apart[warp] != 0 || !self.known[warp].threads.is_empty(),
        }
    }

    #[cold]
    fn ordered_beyond(&self, by: u16, time: u32, thread: u32) -> bool {
        let warp = thread as usize / LANES;
        let knows =
            |known: &Known| time <= known.of_warp(warp_of(by)) || (!known.threads.is_empty() && known.has(by, time));
        knows(&self.known[warp])
            || (self.apart[warp] != 0 && self.apart(warp, thread % LANES as u32).is_some_and(|own| knows(own)))
    }

    /// Whether an access happened before what a warp does as a whole now: some thread of it knows.
    pub fn ordered_for_warp(&self, by: u16, time: u32, warp: usize) -> bool {
        let first = (warp * LANES) as u32;
        let mut lanes = self.apart[warp] | 1;
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

    /// Ends an instruction of a warp: if a thread released in it, what comes later has another time.
    pub fn finish(&mut self, warp: usize) {
        if std::mem::take(&mut self.released) {
            self.advance(warp);
        }
    }

    /// Some of a warp's `live` threads synchronised with one another.
    #[inline(always)]
    pub fn synchronise(&mut self, warp: usize, lanes: u32, live: u32) {
        if live & !lanes == 0 && self.apart[warp] == 0 && self.known[warp].threads.is_empty() {
            self.known[warp].warps[warp] = self.now[warp];
            self.now[warp] += 1;
        } else {
            self.synchronise_apart(warp, lanes, live);
        }
    }

    #[cold]
    fn synchronise_apart(&mut self, warp: usize, lanes: u32, live: u32) {
        let mut joined = Known::default();
        self.publish(&mut joined, warp, lanes, live);
        if live & !lanes == 0 {
            self.forget_apart(warp, u32::MAX);
            self.known[warp].join(&joined);
        } else {
            let joined = Rc::new(joined);
            self.each_thread(warp, lanes, |_, thread| thread.known = Some(joined.clone()));
            self.apart[warp] |= lanes;
        }
        self.advance(warp);
    }

    fn forget_apart(&mut self, warp: usize, lanes: u32) {
        let forgotten = self.apart[warp] & lanes;
        if forgotten != 0 {
            self.each_thread(warp, forgotten, |_, thread| thread.known = None);
            self.apart[warp] &= !forgotten;
        }
    }

    fn each_thread(&mut self, warp: usize, mut lanes: u32, mut visit: impl FnMut(u32, &mut Thread)) {
        let all = self.known.len() * LANES;
        if self.threads.len() < all {
            self.threads.resize(all, Thread::default());
        }
        while lanes != 0 {
            let lane = lanes.trailing_zeros();
            lanes &= lanes - 1;
            visit(lane, &mut self.threads[warp * LANES + lane as usize]);
        }
    }

    /// What a thread knows more than its warp.
    fn apart(&self, warp: usize, lane: u32) -> Option<&Rc<Known>> {
        let thread = self.threads.get(warp * LANES + lane as usize)?;
        thread.known.as_ref().filter(|_| self.apart[warp] >> lane & 1 != 0)
    }

    /// Adds what some of a warp's `live` threads know and did to what others will know.
    pub fn publish(&self, to: &mut Known, warp: usize, lanes: u32, live: u32) {
        to.join(&self.known[warp]);
        let mut left = lanes & self.apart[warp];
        while left != 0 {
            if let Some(known) = self.apart(warp, left.trailing_zeros()) {
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

    /// Adds what a copy that a thread started has now done, in its name.
    pub fn publish_landed(&mut self, to: &mut Known, thread: u32) {
        let warp = thread as usize / LANES;
        self.publish(to, warp, 1 << (thread % LANES as u32), u32::MAX);
        self.advance(warp);
    }

    /// Some of a warp's `live` threads learn what others handed on.
    pub fn learn(&mut self, warp: usize, lanes: u32, live: u32, from: &Known) {
        let mut left = lanes;
        if live & !lanes == 0 {
            self.known[warp].join(from);
            left = self.apart[warp];
        }
        while left != 0 {
            self.learn_alone(warp, left.trailing_zeros(), from);
            left &= left - 1;
        }
    }

    fn learn_alone(&mut self, warp: usize, lane: u32, from: &Known) {
        let of_warp = &self.known[warp];
        let own = self.apart(warp, lane).filter(|own| !of_warp.covers(own));
        let knows = own.map_or(of_warp, |own| own);
        if knows.covers(from) {
            if own.is_none() {
                self.forget_apart(warp, 1 << lane);
            }
            return;
        }
        let mut known = knows.clone();
        known.join(of_warp);
        known.join(from);
        let mut known = Some(Rc::new(known));
        self.each_thread(warp, 1 << lane, |_, thread| thread.known = known.take());
        self.apart[warp] |= 1 << lane;
    }

    /// What a thread hands on with a value that it writes: all that it knows, or what its last fence did.
    pub fn release(&mut self, thread: u32, releases: bool, live: u32) -> Option<Known> {
        let (warp, lane) = (thread as usize / LANES, thread % LANES as u32);
        let mut known = Known::default();
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

    /// A thread read a value with which something was handed on: it learns that now, or at its next fence.
    pub fn observe(&mut self, thread: u32, acquires: bool, live: u32, from: &Known) {
        let (warp, lane) = (thread as usize / LANES, thread % LANES as u32);
        if acquires {
            return self.learn(warp, 1 << lane, live, from);
        }
        self.each_thread(warp, 1 << lane, |_, thread| {
            Rc::make_mut(thread.observed.get_or_insert_default()).join(from);
        });
    }

    /// A fence of some threads of a warp.
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
            let (now, apart, of_warp) = (self.now[warp], self.apart[warp], Rc::new(self.known[warp].clone()));
            self.each_thread(warp, lanes, |lane, thread| {
                let own = thread.known.as_ref().filter(|_| apart >> lane & 1 != 0);
                thread.fence = Some((own.unwrap_or(&of_warp).clone(), now));
            });
            self.advance(warp);
        }
    }
}

/// What a thread knows at the moment.
#[derive(Clone, Copy)]
pub(crate) struct View<'o> {
    order: &'o Order,
    /// The times of its warp.
    warps: &'o [u32],
    thread: u32,
    /// It, or its warp, knows single threads beyond theirs.
    beyond: bool,
}

impl View<'_> {
    /// Whether an access at a time by another thread happened before whatever this one does now.
    #[inline(always)]
    pub fn ordered(self, by: u16, time: u32) -> bool {
        time < self.order.start
            || time <= self.warps[warp_of(by)]
            || (self.beyond && self.order.ordered_beyond(by, time, self.thread))
    }

    /// Whether accesses of several lanes of a warp did; those of the thread itself always do.
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
