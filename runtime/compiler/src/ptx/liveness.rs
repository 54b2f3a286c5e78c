//! Dead code elimination and register pressure.

use super::{Action, Class, Instruction, Item, Loop, Operand, Reg, visit};

/// Removes dead instructions from a kernel's body. `counts` is the number of registers of each class.
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

    /// Adds a register. Returns `true` if it was not in the set.
    fn insert(&mut self, reg: Reg) -> bool {
        !std::mem::replace(&mut self.0[reg.class as usize][reg.number as usize], true)
    }

    fn extend(&mut self, registers: impl IntoIterator<Item = Reg>) {
        for reg in registers {
            self.insert(reg);
        }
    }

    /// Adds the intersection of two sets.
    fn insert_both(&mut self, a: &Registers, b: &Registers) {
        for ((own, a), b) in self.0.iter_mut().zip(&a.0).zip(&b.0) {
            for ((own, &a), &b) in own.iter_mut().zip(a).zip(b) {
                *own |= a && b;
            }
        }
    }
}

/// `true` if an instruction may be removed when its results are not read.
fn removable(instruction: &Instruction) -> bool {
    match instruction.action {
        Action::Table(opcode) => opcode.row().pure,
        Action::Compare(..)
        | Action::CompareWith(..)
        | Action::Load(..)
        | Action::LoadMatrices(..)
        | Action::Parameter(..) => true,
        Action::Store(..) | Action::Copy(..) | Action::Arrive(_) => false,
    }
}

/// Marks registers that are assigned more than once and read anywhere. They are live throughout, because uses may precede assignments in
/// the text.
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
                // An accumulator that only updates itself is not read.
                if !instruction.results.contains(reg) {
                    read.insert(*reg);
                }
            }
        }
    });
    live.insert_both(&repeatedly, &read);
}

/// Walks backwards. Values are read after they are computed, so one pass sees every reader first.
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

/// Halves a vector load while one half is not read.
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
        // Sources that are also results keep their values if the guard does not hold.
        let results = &instruction.results;
        instruction
            .sources
            .retain(|source| matches!(source, Operand::Reg(reg) if results.contains(reg)));
    }
}

// ---------------------------------------------------------------------- pressure

/// Returns the largest number of live 32-bit registers, in text order. `counts` is the number of registers of each class.
pub(super) fn pressure(body: &[Item], counts: &[u32; 6]) -> u32 {
    let mut pressure = Pressure {
        live: Registers(counts.map(|count| vec![false; count as usize])),
        words: 0,
        most: 0,
    };
    pressure.items(body);
    pressure.most
}

/// The live registers at a point of a backward walk.
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
                    // Registers that are live after it remain live if it is skipped.
                    let after = self.live.clone();
                    self.items(body);
                    self.add_all(&after);
                    self.add(guard.predicate);
                }
                Item::Loop(each) => self.turns(each),
            }
        }
    }

    /// Walks a loop twice: the first pass finds the registers that the next iteration reads.
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
            self.words += reg.class.words() as u32;
        }
    }

    fn remove(&mut self, reg: Reg) {
        if std::mem::take(&mut self.live.0[reg.class as usize][reg.number as usize]) {
            self.words -= reg.class.words() as u32;
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

fn register_of(operand: &Operand) -> Option<Reg> {
    match operand {
        Operand::Reg(reg) => Some(*reg),
        _ => None,
    }
}
