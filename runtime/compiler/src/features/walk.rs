//! Walks over a kernel's instructions, once for each set of warps that are alike.

use super::arithmetic::{self, Value};
use super::class::{self, Class};
use super::count::{Count, Counts};
use super::form::{LANES, Mask, Symbols};
use super::memory;
use super::progression::{Progression, Warps};
use crate::ptx::text::Entry;
use crate::ptx::{Action, Address, Guard, Instruction, Item, Loop, Operand, Reg, Space, Width};

/// Instructions that are looked at before sets are made no smaller: then what differs within one is bounded.
const EFFORT: u64 = 60_000;

/// A kernel's argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Argument {
    /// The address of an allocation, which begins at a multiple of 256 bytes.
    Pointer,
    /// An integer.
    Integer(i64),
    /// A scalar whose value makes no difference to what is counted, or is not known.
    Unknown,
}

/// What a launch of a kernel does. `arguments`: one a parameter.
pub fn count(entry: &Entry, grid: [u32; 3], arguments: &[Argument]) -> Counts {
    let mut total = Counts::default();
    let full = i64::from(entry.threads / 32);
    let rest = entry.threads % 32;
    let parts = [
        (Warps::of(0, full, grid), u32::MAX),
        (Warps::of(full, 1, grid), (1 << rest) - 1),
    ];
    let mut walk = Walk::new(entry, grid, arguments);
    for (all, lanes) in parts {
        if all.count() == 0 || lanes == 0 {
            continue;
        }
        let mut left = all.count();
        let mut sets = vec![all.clone()];
        while let Some(set) = sets.pop() {
            if walk.effort > EFFORT {
                break;
            }
            let (counts, alike, rest) = walk.set(&set, lanes, true);
            total.add(&counts, Count::exactly(alike));
            left = left.saturating_sub(alike);
            sets.extend(rest);
        }
        if left > 0 {
            let (counts, ..) = walk.set(&all, lanes, false);
            total.add(&counts, Count::exactly(left));
        }
    }
    total
}

struct Walk<'a> {
    entry: &'a Entry,
    grid: [u32; 3],
    arguments: &'a [Argument],
    symbols: Symbols,
    /// Of each register, by its slot.
    values: Vec<Value>,
    /// Registers that addresses, conditions and loops are made of, which are assigned at one place.
    wanted: Vec<bool>,
    /// For each register the number of the wait before which a load into it was issued; 0 for others.
    loaded: Vec<u32>,
    waits: u32,
    /// Where each class's registers begin.
    slots: [usize; 6],
    /// Instructions looked at.
    effort: u64,
}

impl<'a> Walk<'a> {
    fn new(entry: &'a Entry, grid: [u32; 3], arguments: &'a [Argument]) -> Walk<'a> {
        let mut slots = [0; 6];
        let mut all = 0;
        for (slot, &count) in slots.iter_mut().zip(&entry.registers) {
            *slot = all;
            all += count as usize;
        }
        let mut walk = Walk {
            entry,
            grid,
            arguments,
            symbols: Symbols::new(&Warps::of(0, 1, grid), false),
            values: Vec::new(),
            wanted: vec![false; all],
            loaded: vec![0; all],
            waits: 1,
            slots,
            effort: 0,
        };
        walk.want(&entry.body);
        let mut assigned = vec![0u8; all];
        walk.assignments(&entry.body, &mut assigned);
        for (wanted, assigned) in walk.wanted.iter_mut().zip(assigned) {
            *wanted &= assigned == 1;
        }
        walk
    }

    fn slot(&self, reg: Reg) -> usize {
        self.slots[reg.class as usize] + reg.number as usize
    }

    // ------------------------------------------------------------------ what matters

    /// Marks what is needed of the items, from the last to the first: operands are made before.
    fn want(&mut self, items: &[Item]) {
        for item in items.iter().rev() {
            match item {
                Item::Instruction(instruction) => self.want_of(instruction),
                Item::If(guard, body) => {
                    self.want(body);
                    self.want_register(guard.predicate);
                }
                Item::Loop(each) => {
                    self.want(&each.body);
                    for operand in [each.turns.start, each.turns.end, each.turns.step] {
                        self.want_operand(operand);
                    }
                    self.want_register(each.counter);
                }
            }
        }
    }

    fn want_of(&mut self, instruction: &Instruction) {
        if let Some(guard) = instruction.guard {
            self.want_register(guard.predicate);
        }
        match instruction.action {
            Action::Load(_, _, address, _) | Action::Store(_, _, address, _) => self.want_register(address.base),
            Action::Parameter(..) => {}
            Action::Table(_) | Action::Compare(..) => {
                if instruction.results.iter().any(|&reg| self.wanted[self.slot(reg)]) {
                    instruction.sources.iter().for_each(|&source| self.want_operand(source));
                }
            }
        }
    }

    fn want_operand(&mut self, operand: Operand) {
        if let Operand::Reg(reg) = operand {
            self.want_register(reg);
        }
    }

    fn want_register(&mut self, reg: Reg) {
        let slot = self.slot(reg);
        self.wanted[slot] = true;
    }

    /// How often each register is assigned in the text, up to 2; guarded assignments count as two.
    fn assignments(&self, items: &[Item], assigned: &mut [u8]) {
        for item in items {
            match item {
                Item::Instruction(instruction) => {
                    let times = 1 + u8::from(instruction.guard.is_some());
                    for &result in &instruction.results {
                        let assigned = &mut assigned[self.slot(result)];
                        *assigned = (*assigned + times).min(2);
                    }
                }
                Item::If(_, body) => self.assignments(body, assigned),
                Item::Loop(each) => {
                    assigned[self.slot(each.counter)] += 1;
                    self.assignments(&each.body, assigned);
                }
            }
        }
    }

    // ------------------------------------------------------------------ one set

    /// What one warp of a set does, how many do the same, and the sets of the others.
    fn set(&mut self, set: &Warps, lanes: u32, may_narrow: bool) -> (Counts, u64, Vec<Warps>) {
        self.symbols = Symbols::new(set, may_narrow);
        self.values.clear();
        self.values.resize(self.wanted.len(), Value::UNKNOWN);
        self.loaded.fill(0);
        self.waits = 1;
        let mut counts = Counts::default();
        let entry = self.entry;
        self.items(&entry.body, Mask::exactly(lanes), &mut counts);
        // The `ret` at the end.
        issue(&mut counts, Class::Control, Mask::exactly(lanes), Mask::exactly(lanes));
        let (alike, rest) = self.symbols.remaining();
        (counts, alike, rest)
    }

    fn items(&mut self, items: &[Item], active: Mask, counts: &mut Counts) {
        for item in items {
            if self.effort > EFFORT {
                self.symbols.may_narrow = false;
            }
            match item {
                Item::Instruction(instruction) => self.instruction(instruction, active, counts),
                Item::If(guard, body) => {
                    let inside = active.and(self.condition(Some(*guard)));
                    branch(counts, active, active.and(inside.not()));
                    if inside.possibly != 0 {
                        self.items(body, inside, counts);
                    }
                }
                Item::Loop(each) => self.turns(each, active, counts),
            }
        }
    }

    fn condition(&self, guard: Option<Guard>) -> Mask {
        match guard {
            None => Mask::exactly(u32::MAX),
            Some(guard) => {
                let truth = self.values[self.slot(guard.predicate)].truth();
                if guard.holds { truth } else { truth.not() }
            }
        }
    }

    fn operand(&self, operand: Operand) -> Value {
        match operand {
            Operand::Reg(reg) => self.values[self.slot(reg)].clone(),
            Operand::Int(value) => Value::constant(value),
            Operand::F32(_) | Operand::F64(_) => Value::UNKNOWN,
        }
    }

    fn assign(&mut self, reg: Reg, value: Value) {
        let slot = self.slot(reg);
        if self.wanted[slot] {
            self.values[slot] = value;
        }
    }

    // ------------------------------------------------------------------ instructions

    fn instruction(&mut self, instruction: &Instruction, region: Mask, counts: &mut Counts) {
        self.effort += 1;
        let active = region.and(self.condition(instruction.guard));
        self.wait_for(instruction, active, counts);
        let first = instruction.results.first().copied();
        match instruction.action {
            Action::Table(opcode) => {
                let (class, flops) = class::of(opcode);
                issue(counts, class, region, active);
                match (flops, class) {
                    (0, _) => {}
                    (_, Class::Matrix) => {
                        let warps = times(active, 1, |lanes| u64::from(lanes != 0));
                        counts.matrix_flops = counts.matrix_flops.plus(warps.times(Count::exactly(flops)));
                    }
                    _ => counts.flops = counts.flops.plus(threads(active).times(Count::exactly(flops))),
                }
                if instruction.results.iter().any(|&reg| self.wanted[self.slot(reg)]) {
                    let sources: crate::ptx::Few<Value> =
                        instruction.sources.iter().map(|&source| self.operand(source)).collect();
                    let results = arithmetic::evaluate(&mut self.symbols, opcode, &sources, self.grid);
                    for (&reg, value) in instruction.results.iter().zip(results) {
                        self.assign(reg, value);
                    }
                }
            }
            Action::Compare(compare, class, signed) => {
                issue(counts, Class::Predicate, region, active);
                if let (Some(reg), [a, b]) = (first, &instruction.sources[..])
                    && self.wanted[self.slot(reg)]
                {
                    let (a, b) = (self.operand(*a), self.operand(*b));
                    let value = arithmetic::compare(&mut self.symbols, compare, class, signed, &a, &b);
                    self.assign(reg, value);
                }
            }
            Action::Parameter(number, _) => {
                issue(counts, Class::Constant, region, active);
                let value = match self.arguments.get(number as usize) {
                    Some(Argument::Integer(value)) => Value::constant(*value),
                    // Far apart from each other.
                    Some(Argument::Pointer) => Value::constant(i64::from(number + 1) << 48),
                    _ => Value::UNKNOWN,
                };
                first.into_iter().for_each(|reg| self.assign(reg, value.clone()));
            }
            Action::Load(space, width, address, _) => {
                if instruction.guard.is_some() {
                    // The zeros that it leaves elsewhere.
                    for _ in &instruction.results {
                        issue(counts, Class::Move, region, region);
                    }
                }
                let bytes = width.bytes() * instruction.results.len() as u32;
                let class = if space == Space::Shared {
                    Class::LoadShared
                } else {
                    Class::LoadGlobal
                };
                issue(counts, class, region, active);
                self.access(space, address, bytes, active, false, counts);
                for &reg in &instruction.results {
                    let slot = self.slot(reg);
                    self.loaded[slot] = if space == Space::Shared { 0 } else { self.waits };
                    self.assign(reg, loaded(width));
                }
            }
            Action::Store(space, width, address, _) => {
                let bytes = width.bytes() * instruction.sources.len() as u32;
                let class = if space == Space::Shared {
                    Class::StoreShared
                } else {
                    Class::StoreGlobal
                };
                issue(counts, class, region, active);
                self.access(space, address, bytes, active, true, counts);
            }
        }
    }

    /// Counts a wait if an instruction reads what is still under way from global memory.
    fn wait_for(&mut self, instruction: &Instruction, active: Mask, counts: &mut Counts) {
        let under_way = |reg: Reg| self.loaded[self.slot(reg)] == self.waits;
        let addressed = match instruction.action {
            Action::Load(_, _, address, _) | Action::Store(_, _, address, _) => under_way(address.base),
            _ => false,
        };
        let read = |source: &Operand| matches!(source, Operand::Reg(reg) if under_way(*reg));
        if addressed || instruction.sources.iter().any(read) {
            self.waits += 1;
            counts.memory_waits = counts.memory_waits.plus(warps(active));
        }
    }

    fn access(&mut self, space: Space, address: Address, bytes: u32, active: Mask, store: bool, counts: &mut Counts) {
        let address = match &self.values[self.slot(address.base)] {
            Value::Form(base) => Some(base.clone().plus_constant(address.offset.into())),
            _ => None,
        };
        let moved = threads(active).times(Count::exactly(bytes.into()));
        let add = |count: &mut Count, more: Count| *count = count.plus(more);
        if space == Space::Shared {
            let passes = memory::passes(&mut self.symbols, address.as_ref(), bytes, active);
            let least = times(active, 1, |lanes| memory::least_passes(bytes, lanes));
            add(&mut counts.shared_transactions, passes);
            let conflicts = match active.exact() {
                Some(_) => Count {
                    low: passes.low - least.low,
                    high: passes.high - least.low,
                },
                None => Count {
                    low: 0,
                    high: passes.high,
                },
            };
            add(&mut counts.shared_bank_conflicts, conflicts);
            let side = if store {
                &mut counts.shared_store_bytes
            } else {
                &mut counts.shared_load_bytes
            };
            add(side, moved);
        } else {
            let sectors = memory::sectors(&mut self.symbols, address.as_ref(), active);
            let (bytes, touched) = if store {
                (&mut counts.global_store_bytes, &mut counts.global_store_sectors)
            } else {
                (&mut counts.global_load_bytes, &mut counts.global_load_sectors)
            };
            add(bytes, moved);
            add(touched, sectors);
        }
    }

    // ------------------------------------------------------------------ loops

    fn turns(&mut self, each: &Loop, active: Mask, counts: &mut Counts) {
        let (start, end) = (self.operand(each.turns.start), self.operand(each.turns.end));
        let step = match self.operand(each.turns.step) {
            Value::Form(step) => self.symbols.fix(&step).and_then(|step| step.as_constant()),
            _ => None,
        };
        // The counter's first value, and how many turns each lane makes, at least and at most.
        let least = i64::from(each.turns.entered);
        let (most, fewest) = match (self.length(&start, &end, step.unwrap_or(1).max(1)), step) {
            (Some(turns), Some(1..)) => (turns.map(|turn| turn.max(least)), turns.map(|turn| turn.max(least))),
            _ => {
                let span = end
                    .bounds(&self.symbols)
                    .1
                    .saturating_sub(start.bounds(&self.symbols).0);
                let most = span.saturating_add(step.unwrap_or(1).max(1) - 1) / step.unwrap_or(1).max(1);
                ([most.max(least); LANES], [least; LANES])
            }
        };
        issue(counts, Class::Move, active, active);
        if !each.turns.entered {
            issue(counts, Class::Predicate, active, active);
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
        let turns = Count {
            low: longest(&fewest, active.surely) as u64,
            high: longest(&most, active.possibly) as u64,
        };
        if turns.high == 0 {
            return;
        }
        back_edges(counts, active, &fewest, &most, turns);
        let exact = fewest == most;
        let mut done = 0;
        let mut left = vec![Progression::below(turns.high as i64)];
        while let Some(some) = left.pop() {
            // What differs from turn to turn is bounded for all that are left together, if it is not worth telling apart.
            let together = !exact || !self.symbols.may_narrow;
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
            let mut once = Counts::default();
            self.items(&each.body, inside, &mut once);
            let alike = self.symbols.now(turn);
            self.symbols.end_turns(turn);
            if together {
                let rest = Count {
                    low: turns.low.saturating_sub(done),
                    high: turns.high.saturating_sub(done),
                };
                counts.add(&once, rest);
                break;
            }
            counts.add(&once, Count::exactly(alike.count as u64));
            done += alike.count as u64;
            left.extend(some.without(alike));
        }
    }

    /// The turns of each lane: exactly, and the same in all executions that remain.
    fn length(&mut self, start: &Value, end: &Value, step: i64) -> Option<[i64; LANES]> {
        let (Value::Form(start), Value::Form(end)) = (start, end) else {
            return None;
        };
        let span = self.symbols.resolved(end).minus(&self.symbols.resolved(start));
        let (turns, _) = self.symbols.divide(&span.plus_constant(step - 1), step)?;
        let turns = self.symbols.fix(&turns)?;
        Some(turns.values().map(|turns| turns.max(0)))
    }
}

/// An integer of that width from memory.
fn loaded(width: Width) -> Value {
    match width {
        Width::U8 => Value::Between(0, 255),
        Width::S8 => Value::Between(-128, 127),
        Width::B32 => Value::Between(i32::MIN.into(), i32::MAX.into()),
        _ => Value::UNKNOWN,
    }
}

// ---------------------------------------------------------------------- what masks count for

fn times(active: Mask, factor: u64, of: impl Fn(u32) -> u64) -> Count {
    Count {
        low: of(active.surely) * factor,
        high: of(active.possibly) * factor,
    }
}

fn threads(active: Mask) -> Count {
    times(active, 1, |lanes| lanes.count_ones().into())
}

/// 1 if any lane is active.
fn warps(active: Mask) -> Count {
    times(active, 1, |lanes| u64::from(lanes != 0))
}

/// Counts an instruction that stands in a region and executes in some of its lanes.
fn issue(counts: &mut Counts, class: Class, region: Mask, active: Mask) {
    let (all, some) = (
        &mut counts.thread_instructions[class],
        &mut counts.warp_instructions[class],
    );
    *all = all.plus(threads(active));
    *some = some.plus(warps(active));
    let skipped = Count {
        low: u64::from(region.surely != 0 && active.possibly == 0),
        high: u64::from(region.possibly != 0 && active.surely == 0),
    };
    counts.skipped_instructions = counts.skipped_instructions.plus(skipped);
}

/// Counts a branch that some lanes of a region take.
fn branch(counts: &mut Counts, region: Mask, taken: Mask) {
    issue(counts, Class::Control, region, taken);
    let stay = region.and(taken.not());
    let diverges = Count {
        low: u64::from(taken.surely != 0 && stay.surely != 0),
        high: u64::from(taken.possibly != 0 && stay.possibly != 0),
    };
    counts.divergent_branches = counts.divergent_branches.plus(diverges);
}

/// Counts what ends each turn: the counter's step, the comparison, and the branch back.
fn back_edges(counts: &mut Counts, active: Mask, fewest: &[i64; LANES], most: &[i64; LANES], turns: Count) {
    let sum = |turns: &[i64; LANES], lanes: u32, less: i64| -> u64 {
        let chosen = turns.iter().enumerate().filter(|(lane, _)| lanes >> lane & 1 == 1);
        chosen
            .map(|(_, &turns)| (turns - less).max(0) as u64)
            .fold(0, u64::saturating_add)
    };
    let lanes = |less| Count {
        low: sum(fewest, active.surely, less),
        high: sum(most, active.possibly, less),
    };
    for class in [Class::Integer, Class::Predicate] {
        counts.thread_instructions[class] = counts.thread_instructions[class].plus(lanes(0));
        counts.warp_instructions[class] = counts.warp_instructions[class].plus(turns);
    }
    let back = Count {
        low: turns.low.saturating_sub(1),
        high: turns.high.saturating_sub(1),
    };
    counts.thread_instructions[Class::Control] = counts.thread_instructions[Class::Control].plus(lanes(1));
    counts.warp_instructions[Class::Control] = counts.warp_instructions[Class::Control].plus(back);
    // The last turn's branch back is taken by nobody; others part lanes where some make fewer turns.
    let last = Count {
        low: u64::from(turns.low > 0),
        high: 1,
    };
    counts.skipped_instructions = counts.skipped_instructions.plus(last);
    let ends = if fewest == most && active.exact().is_some() {
        let mut ends: Vec<i64> = (0..LANES)
            .filter(|lane| active.surely >> lane & 1 == 1 && most[*lane] > 0)
            .map(|lane| most[lane])
            .collect();
        ends.sort_unstable();
        ends.dedup();
        Count::exactly(ends.len().saturating_sub(1) as u64)
    } else {
        Count {
            low: 0,
            high: (u64::from(active.possibly.count_ones()).max(1) - 1).min(turns.high),
        }
    };
    counts.divergent_branches = counts.divergent_branches.plus(ends);
}

fn lanes_where(values: &[i64; LANES], holds: impl Fn(i64) -> bool) -> u32 {
    values
        .iter()
        .enumerate()
        .fold(0, |mask, (lane, &value)| mask | u32::from(holds(value)) << lane)
}
