//! Leaves out instructions whose results nobody reads; and how many registers are in use at once.

use super::{Action, Class, Instruction, Item, Loop, Operand, Reg};

/// Leaves out what is not needed of a kernel's body. `counts`: the registers of each class.
pub(super) fn sweep(body: &mut Vec<Item>, counts: &[u32; 6]) {
    let mut live = Registers(counts.map(|count| vec![false; count as usize]));
    mark_assigned(body, &mut live);
    sweep_items(body, &mut live);
}

/// A set of registers.
#[derive(Debug, Clone)]
struct Registers([Vec<bool>; Class::ALL.len()]);

impl Registers {
    fn contains(&self, reg: Reg) -> bool {
        self.0[reg.class as usize][reg.number as usize]
    }

    /// Whether it was not in the set.
    fn insert(&mut self, reg: Reg) -> bool {
        !std::mem::replace(&mut self.0[reg.class as usize][reg.number as usize], true)
    }

    fn extend(&mut self, registers: impl IntoIterator<Item = Reg>) {
        for reg in registers {
            self.insert(reg);
        }
    }

    /// Inserts what is in both of two sets.
    fn insert_both(&mut self, a: &Registers, b: &Registers) {
        for ((own, a), b) in self.0.iter_mut().zip(&a.0).zip(&b.0) {
            for ((own, &a), &b) in own.iter_mut().zip(a).zip(b) {
                *own |= a && b;
            }
        }
    }
}

/// Whether an instruction may be left out when its results are not read.
fn removable(instruction: &Instruction) -> bool {
    match instruction.action {
        Action::Table(opcode) => opcode.row().pure,
        Action::Compare(..) | Action::Load(..) | Action::LoadMatrices(..) | Action::Parameter(..) => true,
        Action::Store(..) | Action::Copy(..) | Action::Arrive(_) => false,
    }
}

/// Registers assigned more than once and read anywhere are live throughout: their uses may stand before in the text.
fn mark_assigned(items: &[Item], live: &mut Registers) {
    let none = live.clone();
    let (mut assigned, mut repeatedly, mut read) = (none.clone(), none.clone(), none);
    visit(items, &mut |instruction| {
        for &result in &instruction.results {
            if !assigned.insert(result) {
                repeatedly.insert(result);
            }
        }
        for source in &instruction.sources {
            if let Operand::Reg(reg) = source {
                // An accumulator that only feeds itself is not read.
                if !instruction.results.contains(reg) {
                    read.insert(*reg);
                }
            }
        }
    });
    live.insert_both(&repeatedly, &read);
}

fn visit(items: &[Item], each: &mut impl FnMut(&Instruction)) {
    for item in items {
        match item {
            Item::Instruction(instruction) => each(instruction),
            Item::Loop(inner) => visit(&inner.body, each),
            Item::If(_, body) => visit(body, each),
        }
    }
}

/// Walks backwards: values are read after they are made, so one pass sees every reader first.
fn sweep_items(items: &mut Vec<Item>, live: &mut Registers) {
    let needed: Vec<bool> = items.iter_mut().rev().map(|item| needed(item, live)).collect();
    let mut needed = needed.into_iter().rev();
    items.retain(|_| needed.next().unwrap_or(true));
}

fn needed(item: &mut Item, live: &mut Registers) -> bool {
    match item {
        Item::Instruction(instruction) => {
            if removable(instruction) && !instruction.results.iter().any(|&result| live.contains(result)) {
                return false;
            }
            narrow(instruction, live);
            live.extend(instruction.sources.iter().filter_map(register_of));
            live.extend(instruction.guard.map(|guard| guard.predicate));
            live.extend(instruction.action.addresses().iter().map(|address| address.base));
        }
        Item::Loop(inner) => {
            sweep_items(&mut inner.body, live);
            if inner.body.is_empty() {
                return false;
            }
            let turns = inner.turns;
            live.extend([turns.start, turns.end, turns.step].iter().filter_map(register_of));
        }
        Item::If(guard, body) => {
            sweep_items(body, live);
            if body.is_empty() {
                return false;
            }
            live.insert(guard.predicate);
        }
    }
    true
}

/// A vector load of which one half is not read loads the other alone.
fn narrow(instruction: &mut Instruction, live: &Registers) {
    while let Action::Load(_, width, ref mut address, _) = instruction.action
        && instruction.results.len() > 1
    {
        let half = instruction.results.len() / 2;
        let dead = |results: &[Reg]| !results.iter().any(|&result| live.contains(result));
        if dead(&instruction.results[half..]) {
            instruction.results.truncate(half);
        } else if dead(&instruction.results[..half]) {
            instruction.results.drain(..half);
            address.offset += (half as u32 * width.bytes()) as i32;
        } else {
            return;
        }
        // What it keeps where it does not load.
        let results = &instruction.results;
        instruction
            .sources
            .retain(|source| matches!(source, Operand::Reg(reg) if results.contains(reg)));
    }
}

// ---------------------------------------------------------------------- pressure

/// The most 32-bit registers that hold something to be read later, in the order of the text. `counts`: the registers of each class.
pub(super) fn pressure(body: &[Item], counts: &[u32; 6]) -> u32 {
    let mut pressure = Pressure {
        live: Registers(counts.map(|count| vec![false; count as usize])),
        words: 0,
        most: 0,
    };
    pressure.items(body);
    pressure.most
}

/// What is live at a place, walking backwards.
struct Pressure {
    live: Registers,
    words: u32,
    most: u32,
}

impl Pressure {
    fn items(&mut self, items: &[Item]) {
        for item in items.iter().rev() {
            match item {
                Item::Instruction(instruction) => self.instruction(instruction),
                Item::If(guard, body) => {
                    // What is live after it stays so where the piece is skipped.
                    let after = self.live.clone();
                    self.items(body);
                    self.add_all(&after);
                    self.add(guard.predicate);
                }
                Item::Loop(each) => self.turns(each),
            }
        }
    }

    /// What the first instructions read is live at the end, too: found by a first pass.
    fn turns(&mut self, each: &Loop) {
        let read = [each.turns.end, each.turns.step];
        self.add(each.counter);
        read.iter().filter_map(register_of).for_each(|reg| self.add(reg));
        let after = self.live.clone();
        self.items(&each.body);
        self.add_all(&after);
        self.items(&each.body);
        self.add_all(&after);
        self.remove(each.counter);
        register_of(&each.turns.start).into_iter().for_each(|reg| self.add(reg));
    }

    fn instruction(&mut self, instruction: &Instruction) {
        instruction.results.iter().for_each(|&result| self.add(result));
        self.most = self.most.max(self.words);
        if instruction.guard.is_none() || matches!(instruction.action, Action::Load(..) | Action::Arrive(_)) {
            instruction.results.iter().for_each(|&result| self.remove(result));
        }
        instruction
            .sources
            .iter()
            .filter_map(register_of)
            .chain(instruction.guard.map(|guard| guard.predicate))
            .for_each(|reg| self.add(reg));
        let addresses = instruction.action.addresses();
        addresses.iter().for_each(|address| self.add(address.base));
        self.most = self.most.max(self.words);
    }

    fn add(&mut self, reg: Reg) {
        if self.live.insert(reg) {
            self.words += words(reg.class);
        }
    }

    fn remove(&mut self, reg: Reg) {
        if std::mem::take(&mut self.live.0[reg.class as usize][reg.number as usize]) {
            self.words -= words(reg.class);
        }
    }

    fn add_all(&mut self, others: &Registers) {
        for class in Class::ALL {
            let numbers = others.0[class as usize].iter().enumerate();
            numbers.filter(|&(_, &live)| live).for_each(|(number, _)| {
                self.add(Reg {
                    class,
                    number: number as u32,
                })
            });
        }
    }
}

/// 32-bit registers of a register of that class.
const fn words(class: Class) -> u32 {
    match class {
        Class::Pred => 0,
        Class::B16 | Class::B32 | Class::F32 => 1,
        Class::B64 | Class::F64 => 2,
    }
}

fn register_of(operand: &Operand) -> Option<Reg> {
    match operand {
        Operand::Reg(reg) => Some(*reg),
        _ => None,
    }
}
