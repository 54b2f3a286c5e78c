//! Walks over a kernel's instructions, once for each set of similar warps.

use super::arithmetic::{self, Value};
use super::class::InstructionClass;
use super::count::{Count, Counts, Traffic};
use super::form::{Form, LANES};
use super::mask::{Mask, lanes_where};
use super::memory;
use super::program::{Body, Program, Step, Work};
use super::progression::{Progression, Warps};
use super::reuse::{self, Load};
use super::symbols::{Detail, Symbols};
use crate::ptx::text::Entry;
use crate::ptx::{
    Action, Address, Class, Compare, Connective, Few, Guard, Instruction, Loop, Operand, Reg, Space, Width,
};
use smallvec::SmallVec;

/// The effort in full detail, and then for conditions alone. An instruction counts 1, an evaluated one [`EVALUATION`].
/// The limits bound the time for a kernel to about a millisecond.
const EFFORT: [(Detail, u64); 2] = [(Detail::All, 40_000), (Detail::Conditions, 10_000)];
const EVALUATION: u64 = 5;
/// Warps of a sample.
const SAMPLE: i64 = 8;

/// The knowledge about a kernel's argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownArgument {
    /// The address of an allocation, a multiple of 256 bytes.
    Pointer,
    /// An integer.
    Integer(i64),
    /// A scalar whose value is unknown or irrelevant.
    Unknown,
}

/// Counts the work of a launch. `arguments` has one entry for each parameter.
pub fn count(entry: &Entry, grid: [u32; 3], arguments: &[KnownArgument]) -> Counts {
    let program = Program::new(entry);
    let mut walk = Walk::new(&program, grid, arguments);
    let all: u64 = walk.parts().iter().map(|(part, _)| part.count()).sum();
    // Counts in full detail, and the number of their warps, to extrapolate to the others.
    let mut sample = (Counts::default(), 0);
    for (detail, effort) in EFFORT {
        let (counts, left) = walk.launch(detail, effort);
        if left == 0 {
            return counts.like(&sample.0, all, sample.1);
        }
        if detail == Detail::All {
            sample = walk.sample(effort);
        }
    }
    let mut counts = Counts::default();
    for (part, lanes) in walk.parts() {
        counts.add(&walk.set(&part, lanes, Detail::Nothing).0, Count::exactly(1));
    }
    counts.like(&sample.0, all, sample.1)
}

/// A memory access. Its sectors or passes are counted after the walk, when the set of executions is final.
struct Access {
    address: Form,
    /// Unknown displacements are multiples of this; 0 if there are none.
    besides: i64,
    bytes: u32,
    traffic: Traffic,
    active: Mask,
    /// The enclosing loops whose iterations are counted exactly.
    turns: SmallVec<[u32; 3]>,
    /// The number of times that it happens in other enclosing loops.
    times: Count,
}

struct Walk<'a> {
    program: &'a Program<'a>,
    grid: [u32; 3],
    arguments: &'a [KnownArgument],
    symbols: Symbols,
    /// The value in each slot of a register.
    values: Vec<Value>,
    /// Slots of registers that turned out not to be rings.
    refuted: Vec<usize>,
    accesses: Vec<Access>,
    /// The open loops whose iterations are counted exactly, and the number of iterations of the others.
    turns: SmallVec<[u32; 3]>,
    times: Count,
    /// The effort spent, and the limit after which sets no longer shrink.
    effort: u64,
    most_effort: u64,
}

impl<'a> Walk<'a> {
    fn new(program: &'a Program<'a>, grid: [u32; 3], arguments: &'a [KnownArgument]) -> Walk<'a> {
        Walk {
            program,
            grid,
            arguments,
            symbols: Symbols::new(&Warps::of(0, 1, grid), Detail::Nothing),
            values: Vec::new(),
            refuted: Vec::new(),
            accesses: Vec::new(),
            turns: SmallVec::new(),
            times: Count::exactly(1),
            effort: 0,
            most_effort: 0,
        }
    }

    // ------------------------------------------------------------------ sets of warps

    /// Returns the full warps of the launch, and the partial ones, each with their lanes.
    fn parts(&self) -> Vec<(Warps, u32)> {
        let (whole, rest) = (self.program.threads / 32, self.program.threads % 32);
        let parts = [
            (Warps::of(0, whole.into(), self.grid), u32::MAX),
            (Warps::of(whole.into(), 1, self.grid), (1 << rest) - 1),
        ];
        parts
            .into_iter()
            .filter(|(part, lanes)| part.count() > 0 && *lanes != 0)
            .collect()
    }

    /// Returns the counts of all warps, and the number of warps that the effort did not reach.
    fn launch(&mut self, detail: Detail, effort: u64) -> (Counts, u64) {
        let mut total = Counts::default();
        let mut left = 0;
        (self.effort, self.most_effort) = (0, effort);
        let mut dearest = 0;
        for (part, lanes) in self.parts() {
            let mut missing = part.count();
            let mut sets = vec![part];
            while self.effort + dearest <= effort
                && let Some(set) = sets.pop()
            {
                let before = self.effort;
                let (counts, alike, rest) = self.set(&set, lanes, detail);
                total.add(&counts, Count::exactly(1));
                missing -= alike;
                sets.extend(rest);
                dearest = dearest.max(self.effort - before);
            }
            left += missing;
        }
        (total, left)
    }

    /// Returns the counts of some warps all over the launch, and their number. The first sets alone would not do: blocks may have the more
    /// work the later they are.
    fn sample(&mut self, effort: u64) -> (Counts, u64) {
        let mut total = Counts::default();
        let mut number = 0;
        (self.effort, self.most_effort) = (0, effort);
        for (part, lanes) in self.parts() {
            for at in 0..SAMPLE {
                total.add(
                    &self.set(&part.one(at, SAMPLE), lanes, Detail::All).0,
                    Count::exactly(1),
                );
                number += 1;
            }
        }
        (total, number)
    }

    /// Walks the first warp of a set. Returns the counts of all warps similar to it, their number, and the sets of the others.
    fn set(&mut self, set: &Warps, lanes: u32, detail: Detail) -> (Counts, u64, Vec<Warps>) {
        let refuted = self.refuted.len();
        self.symbols = Symbols::new(set, detail);
        self.values.clear();
        self.values.resize(self.program.wanted.len(), Value::UNKNOWN);
        let mut once = Counts::default();
        self.body(&self.program.body, Mask::exactly(lanes), &mut once);
        // The final `ret`.
        issue(&mut once, InstructionClass::Control, Mask::exactly(lanes));
        if self.refuted.len() > refuted {
            // A register turned out not to be a ring: count again.
            self.accesses.clear();
            return self.set(set, lanes, detail);
        }
        let (alike, rest) = self.symbols.remaining();
        let mut counts = Counts::default();
        counts.add(&once, Count::exactly(alike));
        self.count_accesses(&mut counts);
        (counts, alike, rest)
    }

    fn body(&mut self, body: &Body<'_>, active: Mask, counts: &mut Counts) {
        add_work(&body.work, active, counts);
        for step in &body.steps {
            if self.effort > self.most_effort {
                self.symbols.detail = Detail::Nothing;
            }
            match step {
                Step::Instruction(instruction, waits) => self.instruction(instruction, *waits, active, counts),
                Step::If(guard, body) => {
                    let inside = active.and(self.condition(*guard));
                    branch(counts, active, active.and(inside.not()));
                    if inside.possibly != 0 {
                        self.body(body, inside, counts);
                    }
                }
                Step::Loop(each, body) => self.turns(each, body, active, counts),
            }
        }
    }

    fn condition(&self, guard: Guard) -> Mask {
        let truth = self.values[self.program.slot(guard.predicate)].truth();
        if guard.holds { truth } else { truth.not() }
    }

    fn operand(&self, operand: Operand) -> Value {
        match operand {
            Operand::Reg(reg) => self.values[self.program.slot(reg)].clone(),
            Operand::Int(value) => Value::constant(value),
            Operand::F32(_) | Operand::F64(_) => Value::UNKNOWN,
        }
    }

    fn assign(&mut self, reg: Reg, value: Value) {
        let slot = self.program.slot(reg);
        if !self.program.wanted[slot] {
            return;
        }
        let step = self.program.rings[slot];
        self.values[slot] = match (step, &self.values[slot], value) {
            (0, _, value) => value,
            _ if self.refuted.contains(&slot) => Value::UNKNOWN,
            (_, Value::Modulo(known, _), Value::Form(form)) => {
                let apart = self.symbols.resolved(&form).minus(&self.symbols.resolved(known));
                if apart.as_constant().is_none_or(|apart| apart % step != 0) {
                    self.refuted.push(slot);
                }
                Value::Modulo(known.clone(), step)
            }
            (_, Value::Modulo(known, _), Value::Modulo(..)) => Value::Modulo(known.clone(), step),
            (_, _, Value::Form(form)) if form.is_fixed() => Value::Modulo(form, step),
            _ => {
                self.refuted.push(slot);
                Value::UNKNOWN
            }
        };
    }

    // ------------------------------------------------------------------ instructions

    fn instruction(&mut self, instruction: &Instruction, waits: Option<u64>, region: Mask, counts: &mut Counts) {
        self.effort += 1;
        let active = match instruction.guard {
            None => region,
            Some(guard) => {
                let active = region.and(self.condition(guard));
                add_work(&Work::of(instruction, waits), active, counts);
                skip(counts, region, active);
                active
            }
        };
        match instruction.action {
            Action::Load(space, width, address, _) => {
                let bytes = width.bytes() * instruction.results.len() as u32;
                let traffic = match space {
                    Space::Shared => Traffic::SharedLoad,
                    Space::Constant | Space::Global => Traffic::GlobalLoad,
                };
                self.access(traffic, address, bytes, active, counts);
                instruction
                    .results
                    .iter()
                    .for_each(|&reg| self.assign(reg, loaded(width)));
            }
            Action::Store(space, width, address, _) => {
                let bytes = width.bytes() * instruction.sources.len() as u32;
                let traffic = match space {
                    Space::Shared => Traffic::SharedStore,
                    Space::Constant | Space::Global => Traffic::GlobalStore,
                };
                self.access(traffic, address, bytes, active, counts);
            }
            Action::LoadMatrices(_, address) => {
                // Each lane addresses a row of 16 bytes.
                self.access(Traffic::MatrixLoad, address, 16, active, counts);
                let results = instruction.results.iter();
                results.for_each(|&reg| self.assign(reg, loaded(Width::B32)));
            }
            Action::Copy(bytes, to, from) => {
                self.access(Traffic::Copy, to, bytes, active, counts);
                self.copied_from(from, bytes, instruction.sources.first().copied(), active, counts);
            }
            Action::Arrive(address) => {
                self.access(Traffic::Atomic, address, 4, active, counts);
                let number = instruction.sources.last().map(|&number| self.operand(number));
                self.assign(instruction.results[0], number.unwrap_or(Value::UNKNOWN));
            }
            _ if !self.program.wants(&instruction.results) => {}
            Action::Table(opcode) => {
                let sources = self.sources(instruction);
                let results = arithmetic::evaluate(&mut self.symbols, opcode, &sources, self.grid);
                for (&reg, value) in instruction.results.iter().zip(results) {
                    self.assign(reg, value);
                }
            }
            Action::Compare(compare, class, signed) => {
                let sources = self.sources(instruction);
                if let [a, b] = &sources[..] {
                    let value = arithmetic::compare(&mut self.symbols, compare, class, signed, a, b);
                    self.assign(instruction.results[0], value);
                }
            }
            Action::CompareWith(compare, class, signed, connective) => {
                let sources = self.sources(instruction);
                if let [a, b, other] = &sources[..] {
                    let own = arithmetic::compare(&mut self.symbols, compare, class, signed, a, b);
                    let value = match connective {
                        Connective::And => own.truth().and(other.truth()),
                        Connective::Or => own.truth().or(other.truth()),
                    };
                    self.assign(instruction.results[0], Value::Truth(value));
                }
            }
            Action::Parameter(number, _) => {
                let value = match self.arguments.get(number as usize) {
                    Some(KnownArgument::Integer(value)) => Value::constant(*value),
                    // Allocations never overlap.
                    Some(KnownArgument::Pointer) => Value::constant(i64::from(number + 1) << 48),
                    _ => Value::UNKNOWN,
                };
                self.assign(instruction.results[0], value);
            }
        }
    }

    fn sources(&mut self, instruction: &Instruction) -> Few<Value> {
        self.effort += EVALUATION;
        instruction.sources.iter().map(|&source| self.operand(source)).collect()
    }

    fn access(&mut self, traffic: Traffic, address: Address, bytes: u32, active: Mask, counts: &mut Counts) {
        counts.add_bytes(traffic, threads(active).times(Count::exactly(bytes.into())));
        if active.possibly == 0 {
            return;
        }
        let base = match &self.values[self.program.slot(address.base)] {
            Value::Form(base) => Some((base.clone(), 0)),
            Value::Modulo(base, of) => Some((base.clone(), *of)),
            _ => None,
        };
        match base {
            Some((base, besides)) => self.accesses.push(Access {
                address: base.plus_constant(address.offset.into()),
                besides,
                bytes,
                traffic,
                active,
                turns: self.turns.clone(),
                times: self.times,
            }),
            None => {
                let units = units_anywhere(traffic, bytes, active);
                counts.add_units(traffic, units, None);
                if traffic == Traffic::GlobalLoad {
                    counts.l2_load_sectors = counts.l2_load_sectors.plus(Count { low: 0, ..units });
                }
            }
        }
    }

    /// Counts the global reads of a copy: `size` bytes for each lane if given, and nothing for lanes where it is 0.
    fn copied_from(&mut self, from: Address, bytes: u32, size: Option<Operand>, active: Mask, counts: &mut Counts) {
        // The text of a copy asks for it to bypass L1 where PTX allows that.
        let traffic = match bytes {
            16 => Traffic::LoadPastL1,
            _ => Traffic::GlobalLoad,
        };
        let Some(size) = size.map(|size| self.operand(size)) else {
            let all = threads(active).times(Count::exactly(bytes.into()));
            counts.global_to_shared_bytes = counts.global_to_shared_bytes.plus(all);
            return self.access(traffic, from, bytes, active, counts);
        };
        let nothing = arithmetic::compare(
            &mut self.symbols,
            Compare::Eq,
            Class::B32,
            true,
            &size,
            &Value::constant(0),
        );
        let reading = active.and(nothing.truth().not());
        let sizes = match &size {
            Value::Form(form) => Some(self.symbols.resolved(form)).filter(Form::is_fixed),
            _ => None,
        };
        let whole = sizes.is_some_and(|sizes| {
            let mut sizes = sizes.values().into_iter();
            sizes.all(|size| size == 0 || size == i64::from(bytes))
        });
        if whole {
            let all = threads(reading).times(Count::exactly(bytes.into()));
            counts.global_to_shared_bytes = counts.global_to_shared_bytes.plus(all);
            return self.access(traffic, from, bytes, reading, counts);
        }
        // Lanes that copy part of the bytes: only bounds are known.
        let all = threads(reading).times(Count::between(1, bytes.into()));
        counts.global_to_shared_bytes = counts.global_to_shared_bytes.plus(all);
        counts.add_bytes(Traffic::LoadPastL1, all);
        let sectors = units_anywhere(Traffic::LoadPastL1, bytes, reading);
        counts.add_units(Traffic::LoadPastL1, sectors, None);
    }

    fn count_accesses(&mut self, counts: &mut Counts) {
        let accesses = std::mem::take(&mut self.accesses);
        self.effort += EVALUATION * accesses.len() as u64;
        let touched: Vec<Count> = accesses
            .iter()
            .map(|access| self.count_access(access, counts))
            .collect();
        let addresses: Vec<Form> = accesses
            .iter()
            .map(|access| self.symbols.resolved(&access.address))
            .collect();
        let (mut loads, mut from_l2) = (Vec::new(), Count::default());
        for ((access, touched), address) in accesses.iter().zip(touched).zip(&addresses) {
            // The addresses in the rounds of other loops are unknown.
            let is_known = access.besides == 0 && access.times == Count::exactly(1);
            match access.traffic {
                Traffic::GlobalLoad if is_known => {
                    from_l2.high = from_l2.high.saturating_add(touched.high);
                    loads.push(Load {
                        address,
                        lanes: access.active.possibly,
                        bytes: access.bytes,
                        turns: &access.turns,
                        sectors: touched.likely,
                    });
                }
                Traffic::GlobalLoad => {
                    from_l2.high = from_l2.high.saturating_add(touched.high);
                    from_l2.likely += touched.likely;
                }
                _ => {}
            }
        }
        from_l2.likely += reuse::fetched(&self.symbols, &loads, self.program.threads);
        counts.l2_load_sectors = counts.l2_load_sectors.plus(from_l2);
    }

    /// Counts the sectors or passes of an access, and returns them.
    fn count_access(&self, access: &Access, counts: &mut Counts) -> Count {
        let &Access {
            ref address,
            bytes,
            traffic,
            active,
            ..
        } = access;
        let values = self.symbols.resolved(address).values();
        let number = |lanes: u32, values: &[i64; LANES]| match traffic.is_shared() {
            true => memory::passes(bytes, lanes, values),
            false => memory::sectors(lanes, values),
        };
        let modulus = match traffic.is_shared() {
            true => memory::WORD,
            false => memory::SECTOR,
        };
        let displacements = self
            .symbols
            .displacements(address, access.besides, modulus, &access.turns);
        let (low, high) = displacements.sum(&values, |values| {
            let most = number(active.possibly, values);
            let least = active.exact().map_or_else(|| number(active.surely, values), |_| most);
            (least, most)
        });
        let sum = Count::between(low, high).times(access.times);
        let least = active.exact().map(|lanes| {
            let each = Count::exactly(memory::least_passes(bytes, lanes));
            Count::exactly(displacements.executions())
                .times(each)
                .times(access.times)
        });
        counts.add_units(traffic, sum, least);
        sum
    }

    // ------------------------------------------------------------------ loops

    fn turns(&mut self, each: &Loop, body: &Body<'_>, active: Mask, counts: &mut Counts) {
        let (start, end) = (self.operand(each.turns.start), self.operand(each.turns.end));
        let step = match self.operand(each.turns.step) {
            Value::Form(step) => self.symbols.fix(&step).and_then(|step| step.as_constant()),
            _ => None,
        };
        // Bounds on each lane's trip count.
        let least = i64::from(each.turns.entered);
        let (most, fewest) = match (self.length(&start, &end, step.unwrap_or(1).max(1), least), step) {
            (Some(turns), Some(1..)) => (turns, turns),
            _ => {
                let span = end
                    .bounds(&self.symbols)
                    .1
                    .saturating_sub(start.bounds(&self.symbols).0);
                let most = span.saturating_add(step.unwrap_or(1).max(1) - 1) / step.unwrap_or(1).max(1);
                ([most.max(least); LANES], [least; LANES])
            }
        };
        issue(counts, InstructionClass::Move, active);
        if !each.turns.entered {
            issue(counts, InstructionClass::Predicate, active);
            let inside = Mask {
                surely: lanes_where(&fewest, |turns| turns > 0),
                possibly: lanes_where(&most, |turns| turns > 0),
            };
            branch(counts, active, active.and(inside.not()));
        }
        let longest = |turns: &[i64; LANES], lanes: u32| {
            let chosen = turns.iter().enumerate().filter(|(lane, _)| lanes >> lane & 1 == 1);
            chosen.map(|(_, &turns)| turns).max().unwrap_or(0)
        };
        let turns = Count::between(
            longest(&fewest, active.surely) as u64,
            longest(&most, active.possibly) as u64,
        );
        if turns.high == 0 {
            return;
        }
        back_edges(counts, active, &fewest, &most, turns);
        let exact = fewest == most;
        let mut done = 0;
        let mut left = vec![Progression::below(turns.high as i64)];
        while let Some(some) = left.pop() {
            // Without exact trip counts or detail, the remaining iterations are bounded together.
            let together = !exact || self.symbols.detail == Detail::Nothing;
            let some = if together {
                Progression::below(turns.high as i64)
            } else {
                some
            };
            let turn = self.symbols.add_turns(some);
            if !together {
                let changes = most.iter().filter(|&&turns| turns > some.low).min();
                let same = changes.map_or(1, |&change| (change - some.low - 1) / some.stride + 1);
                self.symbols.shorten(turn, same);
            }
            let last = some.low + (self.symbols.now(turn).count - 1) * some.stride;
            let inside = active.and(Mask {
                surely: lanes_where(&fewest, |turns| turns > last),
                possibly: lanes_where(&most, |turns| turns > some.low),
            });
            let counter = match (&start, step) {
                (Value::Form(start), Some(step)) => {
                    let turn = self.symbols.resolved(&self.symbols.form(turn));
                    Value::Form(self.symbols.resolved(start).plus(&turn.times(step)))
                }
                _ => Value::Between(start.bounds(&self.symbols).0, end.bounds(&self.symbols).1),
            };
            self.assign(each.counter, counter);
            let outer = self.times;
            let rest = Count::between(turns.low.saturating_sub(done), turns.high.saturating_sub(done));
            if together {
                self.times = outer.times(rest);
            } else {
                self.turns.push(turn);
            }
            let mut once = Counts::default();
            self.body(body, inside, &mut once);
            if together {
                self.times = outer;
                counts.add(&once, rest);
                break;
            }
            self.turns.pop();
            let alike = self.symbols.now(turn);
            counts.add(&once, Count::exactly(alike.count as u64));
            done += alike.count as u64;
            left.extend(some.without(alike));
        }
    }

    /// Returns the trip count of each lane, which is the same in all remaining executions.
    fn length(&mut self, start: &Value, end: &Value, step: i64, least: i64) -> Option<[i64; LANES]> {
        let (Value::Form(start), Value::Form(end)) = (start, end) else {
            return None;
        };
        let span = self.symbols.resolved(end).minus(&self.symbols.resolved(start));
        self.symbols.fixed_quotients(&span.plus_constant(step - 1), step, least)
    }
}

/// Returns the bounds of an integer loaded from memory.
fn loaded(width: Width) -> Value {
    match width {
        Width::U8 => Value::Between(0, 255),
        Width::S8 => Value::Between(-128, 127),
        Width::B32 => Value::Between(i32::MIN.into(), i32::MAX.into()),
        _ => Value::UNKNOWN,
    }
}

// ---------------------------------------------------------------------- counting masks

fn times(active: Mask, of: impl Fn(u32) -> u64) -> Count {
    match active.exact() {
        Some(lanes) => Count::exactly(of(lanes)),
        None => Count::between(of(active.surely), of(active.possibly)),
    }
}

fn threads(active: Mask) -> Count {
    times(active, |lanes| lanes.count_ones().into())
}

/// 1 if any lane is active.
fn warps(active: Mask) -> Count {
    times(active, |lanes| u64::from(lanes != 0))
}

/// Bounds the sectors or passes of an access with unknown addresses.
fn units_anywhere(traffic: Traffic, bytes: u32, active: Mask) -> Count {
    if traffic.is_shared() {
        let least = memory::least_passes(bytes, active.surely);
        return Count::between(least, memory::most_passes(bytes, active.possibly));
    }
    let sectors = times(active, |lanes| u64::from(lanes.count_ones()));
    Count::between(sectors.low.min(1), sectors.high)
}

/// Counts work of all active lanes.
fn add_work(work: &Work, active: Mask, counts: &mut Counts) {
    let (threads, warps) = (threads(active), warps(active));
    for &class in InstructionClass::ALL {
        let number = work.instructions[class as usize];
        if number > 0 {
            let (all, some) = (
                &mut counts.thread_instructions[class],
                &mut counts.warp_instructions[class],
            );
            *all = all.plus(Count::exactly(number).times(threads));
            *some = some.plus(Count::exactly(number).times(warps));
        }
    }
    for (count, number, of) in [
        (&mut counts.flops, work.flops, threads),
        (&mut counts.matrix_flops, work.matrix_flops, warps),
        (&mut counts.barriers, work.barriers, warps),
        (&mut counts.memory_waits, work.memory_waits, warps),
        (&mut counts.wait_distance, work.wait_distance, warps),
        (&mut counts.copy_waits, work.copy_waits, warps),
        (&mut counts.copy_groups, work.copy_groups, warps),
    ] {
        *count = count.plus(Count::exactly(number).times(of));
    }
}

/// Counts an instruction of all active lanes.
fn issue(counts: &mut Counts, class: InstructionClass, active: Mask) {
    let mut work = Work::default();
    work.instructions[class as usize] = 1;
    add_work(&work, active, counts);
}

/// Counts a guarded instruction that no lane of a region executes.
fn skip(counts: &mut Counts, region: Mask, active: Mask) {
    let skipped = Count::between(
        u64::from(region.surely != 0 && active.possibly == 0),
        u64::from(region.possibly != 0 && active.surely == 0),
    );
    counts.warp_instructions_skipped = counts.warp_instructions_skipped.plus(skipped);
}

/// Counts a branch that some lanes of a region take.
fn branch(counts: &mut Counts, region: Mask, taken: Mask) {
    issue(counts, InstructionClass::Control, taken);
    skip(counts, region, taken);
    let stay = region.and(taken.not());
    let diverges = Count::between(
        u64::from(taken.surely != 0 && stay.surely != 0),
        u64::from(taken.possibly != 0 && stay.possibly != 0),
    );
    counts.divergent_branches = counts.divergent_branches.plus(diverges);
}

/// Counts the end of each iteration: increment, comparison, and branch back.
fn back_edges(counts: &mut Counts, active: Mask, fewest: &[i64; LANES], most: &[i64; LANES], turns: Count) {
    let sum = |turns: &[i64; LANES], lanes: u32, less: i64| -> u64 {
        let chosen = turns.iter().enumerate().filter(|(lane, _)| lanes >> lane & 1 == 1);
        chosen
            .map(|(_, &turns)| (turns - less).max(0) as u64)
            .fold(0, u64::saturating_add)
    };
    let lanes = |less| Count::between(sum(fewest, active.surely, less), sum(most, active.possibly, less));
    let back = Count::between(turns.low.saturating_sub(1), turns.high.saturating_sub(1));
    for (class, threads, warps) in [
        (InstructionClass::Integer, lanes(0), turns),
        (InstructionClass::Predicate, lanes(0), turns),
        (InstructionClass::Control, lanes(1), back),
    ] {
        counts.thread_instructions[class] = counts.thread_instructions[class].plus(threads);
        counts.warp_instructions[class] = counts.warp_instructions[class].plus(warps);
    }
    // No lane takes the last branch back. Others diverge if some lanes make fewer iterations.
    let last = Count::between(u64::from(turns.low > 0), 1);
    counts.warp_instructions_skipped = counts.warp_instructions_skipped.plus(last);
    let ends = if fewest == most && active.exact().is_some() {
        let mut ends: Vec<i64> = (0..LANES)
            .filter(|lane| active.surely >> lane & 1 == 1 && most[*lane] > 0)
            .map(|lane| most[lane])
            .collect();
        ends.sort_unstable();
        ends.dedup();
        Count::exactly(ends.len().saturating_sub(1) as u64)
    } else {
        let lanes = u64::from(active.possibly.count_ones()).max(1);
        Count::between(0, (lanes - 1).min(turns.high))
    };
    counts.divergent_branches = counts.divergent_branches.plus(ends);
}
