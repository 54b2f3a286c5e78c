//! Calls and returns. A call opens a frame of registers and of local memory; parameters and results are copied between
//! frames.

use crate::machine::core::{Core, Stop};
use crate::machine::lanes::each;
use crate::machine::program::{FunctionInfo, Operation, Program};
use crate::machine::registers::Slot;
use crate::machine::warp::{Frame, LOCAL_LIMIT, Local, Warp};

/// Calls that can be open at once in a thread.
const DEEPEST_CALL: usize = 1024;
/// Register rows of all frames of a warp: 128 MiB.
const MOST_ROWS: usize = 1 << 20;

impl Warp {
    /// Calls a function; `call` is an index into `Program::calls`.
    pub(super) fn call(
        &mut self,
        core: &mut Core<'_>,
        operation: &Operation,
        call: u32,
        function: u32,
        lanes: u32,
    ) -> Result<(), Stop> {
        let program = core.launch.program;
        let caller = &program.functions[program.calls[call as usize].caller as usize];
        let callee = &program.functions[function as usize];
        let leader = lanes.trailing_zeros() as usize;
        let base = self.free_rows(program, function, lanes, self.bases[leader] + caller.rows);
        let predicate_base = self.predicate_bases[leader] + caller.predicates;
        if let Some(lane) = self.overflowing(caller, callee, base, lanes) {
            let message = format!(
                "stack overflow: {DEEPEST_CALL} calls, {LOCAL_LIMIT} bytes of local memory or {MOST_ROWS} registers"
            );
            return Err(core.fault(self, operation, lane, None, message));
        }
        each(lanes, |lane| {
            self.open_frame(program, call, function, lane);
            (self.bases[lane], self.predicate_bases[lane]) = (base, predicate_base);
        });
        self.start_frame(core, function, (base as usize, predicate_base as usize), lanes);
        Ok(())
    }

    /// Calls the function that each thread has the address of.
    pub(super) fn call_indirect(
        &mut self,
        core: &mut Core<'_>,
        operation: &Operation,
        call: u32,
        address: Slot,
        active: u32,
    ) -> Result<(), Stop> {
        let program = core.launch.program;
        let row = *self.registers.wide(address);
        let mut left = active;
        while left != 0 {
            let lane = left.trailing_zeros() as usize;
            let function = row[lane];
            let mut lanes = 0;
            each(left, |lane| lanes |= u32::from(row[lane] == function) << lane);
            left &= !lanes;
            let Some(&index) = program.addresses.get(&function) else {
                let message = "a call to an address that is not a function's";
                return Err(core.fault(self, operation, lane, Some(function), message));
            };
            let callee = &program.functions[index as usize];
            if !program.calls[call as usize].fits(callee) {
                let message = format!("a call to `{}`, whose parameters differ", callee.name);
                return Err(core.fault(self, operation, lane, Some(function), message));
            }
            self.call(core, operation, call, index, lanes)?;
        }
        Ok(())
    }

    /// Returns to the callers of threads that have some.
    pub(super) fn return_to_caller(&mut self, core: &Core<'_>, lanes: u32) {
        let program = core.launch.program;
        each(lanes, |lane| {
            if let Some(frame) = self.stacks[lane].pop() {
                let call = &program.calls[frame.call as usize];
                let results = &program.functions[frame.function as usize].results;
                let local = &mut self.local[lane];
                for (&(to, size), &(from, _)) in call.results.iter().zip(results) {
                    copy(local, self.local_bases[lane] + from, frame.local_base + to, size);
                }
                self.bases[lane] = frame.base;
                self.predicate_bases[lane] = frame.predicate_base;
                self.local_bases[lane] = frame.local_base;
                self.counters[lane] = frame.resume;
            }
        });
    }

    /// A thread whose stack a call would overflow, if there is one.
    fn overflowing(&self, caller: &FunctionInfo, callee: &FunctionInfo, base: u32, lanes: u32) -> Option<usize> {
        let mut overflowing = None;
        each(lanes, |lane| {
            let local = self.local_bases[lane] + caller.frame + callee.frame;
            if self.stacks[lane].len() >= DEEPEST_CALL
                || local as usize > LOCAL_LIMIT
                || (base + callee.rows) as usize > MOST_ROWS
            {
                overflowing = Some(lane);
            }
        });
        overflowing
    }

    /// Opens a thread's frame in local memory, copies the arguments there and sends the thread to the function.
    fn open_frame(&mut self, program: &Program, call: u32, function: u32, lane: usize) {
        let description = &program.calls[call as usize];
        let (caller, callee) = (
            &program.functions[description.caller as usize],
            &program.functions[function as usize],
        );
        let old = self.local_bases[lane];
        let new = old + caller.frame;
        self.stacks[lane].push(Frame {
            resume: self.counters[lane],
            call,
            function,
            base: self.bases[lane],
            predicate_base: self.predicate_bases[lane],
            local_base: old,
        });
        let local = &mut self.local[lane];
        let end = (new + callee.frame) as usize;
        if local.bytes.len() < end {
            local.bytes.resize(end, 0);
            local.defined.resize(end, false);
        }
        local.defined[new as usize..end].fill(false);
        for (&(from, size), &(to, _)) in description.arguments.iter().zip(&callee.parameters) {
            copy(local, old + from, new + to, size);
        }
        self.local_bases[lane] = new;
        self.counters[lane] = callee.entry;
    }

    /// Makes the registers of a new frame undefined, and writes its constants.
    fn start_frame(&mut self, core: &Core<'_>, function: u32, bases: (usize, usize), lanes: u32) {
        let callee = &core.launch.program.functions[function as usize];
        let (base, predicate_base) = bases;
        self.registers
            .reserve(base + callee.rows as usize, predicate_base + callee.predicates as usize);
        for mask in &mut self.registers.defined[base..] {
            *mask &= !lanes;
        }
        for mask in &mut self.registers.predicate_defined[predicate_base..] {
            *mask &= !lanes;
        }
        let left = self.registers.enter(base, predicate_base);
        self.fill_constants(core, function as usize, lanes, true);
        self.registers.enter(left.0, left.1);
    }

    /// The first rows from `base` on that are free for a frame of a function that these lanes call. Only lanes in the
    /// same function may share rows, because a 64-bit value of one lane may lie where others have 32-bit ones.
    fn free_rows(&self, program: &Program, function: u32, lanes: u32, mut base: u32) -> u32 {
        let rows = |function: u32| program.functions[function as usize].rows;
        loop {
            let mut taken = None;
            each(self.live & !lanes, |lane| {
                let open = &self.stacks[lane];
                let bases = open.iter().skip(1).map(|frame| frame.base).chain([self.bases[lane]]);
                for (frame, at) in open.iter().zip(bases) {
                    let end = at + rows(frame.function);
                    let shared = frame.function == function && at == base;
                    if !shared && at < base + rows(function) && base < end {
                        taken = taken.max(Some(end));
                    }
                }
            });
            match taken {
                Some(end) => base = end,
                None => return base,
            }
        }
    }
}

fn copy(local: &mut Local, from: u32, to: u32, size: u32) {
    let (from, to, size) = (from as usize, to as usize, size as usize);
    local.bytes.copy_within(from..from + size, to);
    local.defined.copy_within(from..from + size, to);
}
