//! A kernel prepared for many walks. Instructions that every thread executes are counted once. The remaining steps
//! compute addresses, conditions and trip counts, or depend on them.

use super::class::{self, InstructionClass};
use super::progression::gcd;
use crate::ptx::text::Entry;
use crate::ptx::{Action, Guard, Instruction, Item, Loop, Opcode, Operand, Reg, Space};

/// A kernel prepared for walks.
pub(super) struct Program<'a> {
    pub body: Body<'a>,
    /// For each slot of a register, `true` if its value is needed and can be known: it is assigned once, or is a ring.
    pub wanted: Vec<bool>,
    /// For each slot of a register, the step of a ring; 0 for other registers. See [`Assignments::step`].
    pub rings: Vec<i64>,
    /// The first slot of each class of registers.
    starts: [usize; 6],
    /// Threads of a block.
    pub threads: u32,
}

/// The instructions of a region.
pub(super) struct Body<'a> {
    /// The work of each active warp.
    pub work: Work,
    pub steps: Vec<Step<'a>>,
}

/// A step of a walk.
pub(super) enum Step<'a> {
    /// An instruction with a guard, an address, or a needed result, and its wait distance; see [`Loads::waits_for`].
    Instruction(&'a Instruction, Option<u64>),
    If(Guard, Body<'a>),
    Loop(&'a Loop, Body<'a>),
}

/// A sum over instructions that all active lanes execute.
#[derive(Debug, Clone)]
pub(super) struct Work {
    pub instructions: [u64; InstructionClass::ALL.len()],
    pub flops: u64,
    pub matrix_flops: u64,
    pub barriers: u64,
    pub memory_waits: u64,
    pub wait_distance: u64,
    pub copy_waits: u64,
    pub copy_groups: u64,
}

impl Default for Work {
    fn default() -> Work {
        Work {
            instructions: [0; InstructionClass::ALL.len()],
            flops: 0,
            matrix_flops: 0,
            barriers: 0,
            memory_waits: 0,
            wait_distance: 0,
            copy_waits: 0,
            copy_groups: 0,
        }
    }
}

impl Work {
    /// Returns the work of one instruction.
    pub fn of(instruction: &Instruction, waits: Option<u64>) -> Work {
        let mut work = Work::default();
        work.add(instruction, waits);
        work
    }

    fn add(&mut self, instruction: &Instruction, waits: Option<u64>) {
        let (class, flops) = match instruction.action {
            Action::Table(opcode) => class::of(opcode),
            Action::Compare(..) | Action::CompareWith(..) => (InstructionClass::Predicate, 0),
            Action::Parameter(..) => (InstructionClass::Constant, 0),
            Action::Load(Space::Shared, ..) | Action::LoadMatrices(..) => (InstructionClass::LoadShared, 0),
            Action::Load(..) => (InstructionClass::LoadGlobal, 0),
            Action::Store(Space::Shared, ..) => (InstructionClass::StoreShared, 0),
            Action::Store(..) => (InstructionClass::StoreGlobal, 0),
            Action::Copy(..) => (InstructionClass::Copy, 0),
            Action::Arrive(_) => (InstructionClass::Atomic, 0),
        };
        // Quotients by reciprocals are printed as a multiplication and these others.
        let quotient = match instruction.action {
            Action::Table(Opcode::QuotU32) => Some(2),
            _ => instruction.constant_divisor().map(|_| 1),
        };
        match quotient {
            Some(others) => {
                self.instructions[InstructionClass::IntegerMultiply as usize] += 1;
                self.instructions[InstructionClass::Integer as usize] += others;
            }
            None => self.instructions[class as usize] += 1,
        }
        if let Action::Table(opcode) = instruction.action {
            let groups = class::groups_on_their_way(opcode);
            self.barriers += u64::from(matches!(opcode, Opcode::Barrier | Opcode::BarrierOr));
            self.copy_waits += u64::from(groups > 0);
            self.copy_groups += u64::from(groups);
        }
        self.memory_waits += u64::from(waits.is_some());
        self.wait_distance += waits.unwrap_or(0);
        if class == InstructionClass::Matrix {
            self.matrix_flops += flops;
        } else {
            self.flops += flops;
        }
    }
}

/// The assignments of a register.
#[derive(Debug, Clone, Copy, Default)]
struct Assignments {
    number: u32,
    /// `true` if a move assigns it.
    moves: bool,
    others: bool,
    /// The common divisor of all constants that are added to it.
    steps: i64,
}

impl Assignments {
    /// Returns the step of a ring: a register that is set, and incremented by multiples of the step, such as the address of a pipeline stage
    /// in shared memory. Its value is known up to a multiple of the step.
    fn step(&self) -> i64 {
        if self.moves && !self.others { self.steps } else { 0 }
    }
}

impl<'a> Program<'a> {
    pub fn new(entry: &'a Entry) -> Program<'a> {
        let mut starts = [0; 6];
        let mut all = 0;
        for (start, &count) in starts.iter_mut().zip(&entry.registers) {
            *start = all;
            all += count as usize;
        }
        let mut program = Program {
            body: Body {
                work: Work::default(),
                steps: Vec::new(),
            },
            wanted: vec![false; all],
            rings: vec![0; all],
            starts,
            threads: entry.threads,
        };
        program.want(&entry.body);
        let mut assignments = vec![Assignments::default(); all];
        program.assignments(&entry.body, &mut assignments);
        if assignments.iter().any(|assignments| assignments.step() > 0) {
            let mut varying = vec![false; all];
            while program.vary(&entry.body, false, &mut varying) {}
            for ((ring, assignments), varying) in program.rings.iter_mut().zip(&assignments).zip(varying) {
                *ring = if varying { 0 } else { assignments.step() };
            }
        }
        for ((wanted, assignments), ring) in program.wanted.iter_mut().zip(&assignments).zip(&program.rings) {
            *wanted &= assignments.number == 1 || *ring > 0;
        }
        let mut loads = Loads {
            issued: vec![(0, 0); all],
            waits: 1,
            position: 0,
        };
        program.body = program.prepared(&entry.body, &mut loads);
        program
    }

    pub fn slot(&self, reg: Reg) -> usize {
        self.starts[reg.class as usize] + reg.number as usize
    }

    pub fn wants(&self, results: &[Reg]) -> bool {
        results.iter().any(|&reg| self.wanted[self.slot(reg)])
    }

    // ------------------------------------------------------------------ needed registers

    /// Marks the needed registers, from the last item to the first, because operands are computed before their uses.
    fn want(&mut self, items: &[Item]) {
        for item in items.iter().rev() {
            match item {
                Item::Instruction(instruction) => self.want_for(instruction),
                Item::If(guard, body) => {
                    self.want(body);
                    self.want_register(guard.predicate);
                }
                Item::Loop(each) => {
                    self.want(&each.body);
                    for operand in [each.turns.start, each.turns.end, each.turns.step] {
                        self.want_operand(operand);
                    }
                }
            }
        }
    }

    fn want_for(&mut self, instruction: &Instruction) {
        if let Some(guard) = instruction.guard {
            self.want_register(guard.predicate);
        }
        let addresses = instruction.action.addresses();
        addresses.iter().for_each(|address| self.want_register(address.base));
        // Stored values are not needed. The number of copied bytes and of arriving blocks is.
        let sources = matches!(instruction.action, Action::Copy(..) | Action::Arrive(_));
        if sources || addresses.is_empty() && self.wants(&instruction.results) {
            instruction.sources.iter().for_each(|&source| self.want_operand(source));
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

    /// Collects the assignments of each register. A guarded assignment counts twice.
    fn assignments(&self, items: &[Item], assignments: &mut [Assignments]) {
        for item in items {
            match item {
                Item::Instruction(instruction) => {
                    for &result in &instruction.results {
                        let assignments = &mut assignments[self.slot(result)];
                        // The arrival of one thread is broadcast to its block.
                        let elsewhere = instruction.guard.is_some() && !matches!(instruction.action, Action::Arrive(_));
                        assignments.number += 1 + u32::from(elsewhere);
                        match (instruction.action, &instruction.sources[..]) {
                            (Action::Table(Opcode::MovB32), _) => assignments.moves = true,
                            (Action::Table(Opcode::AddS32), &[Operand::Reg(own), Operand::Int(step)])
                                if own == result =>
                            {
                                assignments.steps = gcd(assignments.steps, step);
                            }
                            _ => assignments.others = true,
                        }
                    }
                }
                Item::If(_, body) => self.assignments(body, assignments),
                Item::Loop(each) => {
                    assignments[self.slot(each.counter)].number += 1;
                    assignments[self.slot(each.counter)].others = true;
                    self.assignments(&each.body, assignments);
                }
            }
        }
    }

    /// Marks registers that may differ between the threads of a warp. Returns `true` if it marked more.
    fn vary(&self, items: &[Item], inside: bool, varying: &mut [bool]) -> bool {
        let mut more = false;
        for item in items {
            match item {
                Item::Instruction(instruction) => {
                    let reads = |reg: Reg| varying[self.slot(reg)];
                    let read = |source: &Operand| matches!(source, Operand::Reg(reg) if reads(*reg));
                    let varies = inside
                        || instruction.guard.is_some_and(|guard| reads(guard.predicate))
                        || instruction.sources.iter().any(read)
                        || match instruction.action {
                            Action::Table(opcode) => opcode == Opcode::TidX || !opcode.row().pure,
                            Action::Compare(..) | Action::CompareWith(..) | Action::Parameter(..) => false,
                            Action::Load(..) | Action::LoadMatrices(..) | Action::Arrive(_) => true,
                            // No results.
                            Action::Store(..) | Action::Copy(..) => false,
                        };
                    for &result in &instruction.results {
                        more |= varies && !std::mem::replace(&mut varying[self.slot(result)], true);
                    }
                }
                Item::If(guard, body) => {
                    let inside = inside || varying[self.slot(guard.predicate)];
                    more |= self.vary(body, inside, varying);
                }
                Item::Loop(each) => {
                    let turns = [each.turns.start, each.turns.end, each.turns.step];
                    let reads = |turn: &Operand| matches!(turn, Operand::Reg(reg) if varying[self.slot(*reg)]);
                    let inside = inside || turns.iter().any(reads);
                    more |= inside && !std::mem::replace(&mut varying[self.slot(each.counter)], true);
                    more |= self.vary(&each.body, inside, varying);
                }
            }
        }
        more
    }

    // ------------------------------------------------------------------ steps

    fn prepared(&self, items: &'a [Item], loads: &mut Loads) -> Body<'a> {
        let mut body = Body {
            work: Work::default(),
            steps: Vec::new(),
        };
        for item in items {
            match item {
                Item::Instruction(instruction) => self.prepare(instruction, &mut body, loads),
                Item::If(guard, inner) => body.steps.push(Step::If(*guard, self.prepared(inner, loads))),
                Item::Loop(each) => {
                    // Twice, because an iteration may wait for loads of the one before.
                    self.prepared(&each.body, loads);
                    body.steps.push(Step::Loop(each, self.prepared(&each.body, loads)));
                }
            }
        }
        body
    }

    fn prepare(&self, instruction: &'a Instruction, body: &mut Body<'a>, loads: &mut Loads) {
        let waits = loads.waits_for(self, instruction);
        let memory = !instruction.action.addresses().is_empty();
        if instruction.guard.is_none() {
            body.work.add(instruction, waits);
        } else if instruction.leaves_zeros() {
            body.work.instructions[InstructionClass::Move as usize] += instruction.results.len() as u64;
        }
        if memory || instruction.guard.is_some() || self.wants(&instruction.results) {
            body.steps.push(Step::Instruction(instruction, waits));
        }
    }
}

/// The number of instructions that hides a load's whole latency.
const HIDING: u64 = 128;

/// Global loads in flight, in text order.
struct Loads {
    /// For each slot of a register, the number of waits and of instructions when a load into it was issued.
    issued: Vec<(u32, u64)>,
    waits: u32,
    position: u64,
}

impl Loads {
    /// If an instruction needs a load in flight, returns the number of instructions since that load, at most [`HIDING`]. All loads in
    /// flight then arrive.
    fn waits_for(&mut self, program: &Program<'_>, instruction: &Instruction) -> Option<u64> {
        if let (&Action::Table(opcode), [Operand::Reg(named)]) = (&instruction.action, &instruction.sources[..])
            && class::of(opcode).0 == InstructionClass::Name
        {
            let issued = self.issued[program.slot(*named)];
            for &name in &instruction.results {
                self.issued[program.slot(name)] = issued;
            }
            return None;
        }
        self.position += 1;
        let distance = |reg: Reg| {
            let (wait, position) = self.issued[program.slot(reg)];
            (wait == self.waits).then(|| (self.position - position).min(HIDING))
        };
        let addresses = instruction.action.addresses();
        let sources = instruction.sources.iter().filter_map(|source| match source {
            Operand::Reg(reg) => Some(*reg),
            _ => None,
        });
        let read = addresses.iter().map(|address| address.base).chain(sources);
        let waits = read.filter_map(distance).min();
        self.waits += u32::from(waits.is_some());
        let loads = matches!(
            instruction.action,
            Action::Load(Space::Constant | Space::Global, ..) | Action::Arrive(_)
        );
        for &reg in &instruction.results {
            self.issued[program.slot(reg)] = (if loads { self.waits } else { 0 }, self.position);
        }
        waits
    }
}
