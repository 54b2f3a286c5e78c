//! Places instructions.
//!
//! The body under construction is a stack of open regions: the kernel, and in it loops and conditional pieces. A
//! pure instruction goes to the outermost region in which all its operands exist, before whatever inner region is
//! still open there; one that stands there already is not repeated. So invariants leave their loops and common
//! subexpressions are computed once, without a pass of their own.
//!
//! - Loads of constant memory are pure, but never leave the innermost open conditional: its condition may be what
//!   keeps them in bounds.
//! - Mutable registers (accumulators) are changed by [`Builder::assign`] where the call stands, and read by it, or by
//!   [`Builder::read`], which makes a value of what they hold there.
//! - Loads of shared memory, stores, barriers and shuffles stay where they are put.

use super::text::Entry;
use super::{
    Action, Address, Cache, Class, Compare, Guard, Instruction, Item, Loop, Opcode, Operand, Reg, Space, Turns, Width,
};
use std::collections::{HashMap, HashSet};

/// Builds the body of one kernel.
#[derive(Debug)]
pub struct Builder {
    name: String,
    parameters: Vec<Width>,
    threads: u32,
    minimum_blocks: Option<u32>,
    shared: bool,
    counts: [u32; 6],
    /// For each class, the depth of the region in which each register was made.
    depths: [Vec<u32>; 6],
    regions: Vec<Region>,
    regions_opened: u64,
}

/// An open region.
#[derive(Debug)]
struct Region {
    /// Different for every region ever opened.
    id: u64,
    kind: Kind,
    items: Vec<Item>,
    /// The pure instructions that stand here, by what they compute.
    known: HashMap<Known, Vec<Reg>>,
}

#[derive(Debug)]
enum Kind {
    Kernel,
    Loop(Reg, Turns),
    If(Guard),
}

type Known = (Action, Vec<Operand>, Option<Guard>);

/// A region that was open at some time, to ask whether what was made in it still exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    depth: u32,
    id: u64,
}

/// Inner regions set aside while instructions are put before them.
#[derive(Debug)]
#[must_use = "the inner regions are lost unless resumed"]
pub struct Suspended(Vec<Region>);

impl Builder {
    /// An empty kernel with that many threads a block.
    pub fn new(name: &str, threads: u32) -> Builder {
        let mut builder = Builder {
            name: name.to_owned(),
            parameters: Vec::new(),
            threads,
            minimum_blocks: None,
            shared: false,
            counts: [0; 6],
            depths: Default::default(),
            regions: Vec::new(),
            regions_opened: 0,
        };
        builder.open(Kind::Kernel);
        // %p0 is the printer's, for loop branches.
        builder.register(Class::Pred, 0);
        builder
    }

    /// Tells the assembler how many blocks should fit on a multiprocessor, which bounds the registers.
    pub fn set_minimum_blocks(&mut self, blocks: u32) {
        self.minimum_blocks = Some(blocks);
    }

    /// Declares one more parameter of the kernel and reads it.
    pub fn parameter(&mut self, width: Width) -> Reg {
        let number = self.parameters.len() as u32;
        self.parameters.push(width);
        let known = (Action::Parameter(number, width), Vec::new(), None);
        self.place(known, &[width.class()], 0)[0]
    }

    // ------------------------------------------------------------------ pure instructions

    /// The result of a pure instruction of the table.
    pub fn op(&mut self, opcode: Opcode, sources: &[Operand]) -> Reg {
        self.ops(opcode, sources)[0]
    }

    /// The results of a pure instruction of the table that has several.
    pub fn ops(&mut self, opcode: Opcode, sources: &[Operand]) -> Vec<Reg> {
        let row = opcode.row();
        debug_assert!(row.pure, "{opcode:?} must stay where it is put: use `converge`");
        self.check_sources(opcode, sources);
        let depth = self.depth_of(sources);
        self.place((Action::Table(opcode), sources.to_vec(), None), row.results, depth)
    }

    /// A constant in a register. Most instructions take constants as operands; vectors stored and mutable registers do not.
    pub fn constant(&mut self, class: Class, value: Operand) -> Reg {
        self.op(move_of(class), &[value])
    }

    /// A comparison: signed for integers.
    pub fn compare(&mut self, compare: Compare, class: Class, a: Operand, b: Operand) -> Reg {
        self.compare_as(compare, class, true, a, b)
    }

    /// A comparison of unsigned integers.
    pub fn compare_unsigned(&mut self, compare: Compare, class: Class, a: Operand, b: Operand) -> Reg {
        self.compare_as(compare, class, false, a, b)
    }

    fn compare_as(&mut self, compare: Compare, class: Class, signed: bool, a: Operand, b: Operand) -> Reg {
        let depth = self.depth_of(&[a, b]);
        let known = (Action::Compare(compare, class, signed), vec![a, b], None);
        self.place(known, &[Class::Pred], depth)[0]
    }

    /// A load of 1, 2 or 4 neighbours from memory that nobody writes during the kernel. Where the guard does not hold they are 0.
    pub fn load(
        &mut self,
        width: Width,
        vector: usize,
        address: Address,
        cache: Cache,
        guard: Option<Guard>,
    ) -> Vec<Reg> {
        let mut depth = self.depth(address.base).max(self.innermost_if());
        if let Some(guard) = guard {
            depth = depth.max(self.depth(guard.predicate));
        }
        let known = (
            Action::Load(Space::Constant, width, address, cache),
            vec![Operand::Int(vector as i64)],
            guard,
        );
        self.place(known, &vec![width.class(); vector], depth)
    }

    /// Puts a pure instruction into the region of that depth, unless it stands there already.
    fn place(&mut self, known: Known, classes: &[Class], depth: usize) -> Vec<Reg> {
        if let Some(results) = self.regions[depth].known.get(&known) {
            return results.clone();
        }
        let results: Vec<Reg> = classes.iter().map(|&class| self.register(class, depth)).collect();
        let (action, sources, guard) = known.clone();
        let sources = match action {
            Action::Load(..) => Vec::new(),
            _ => sources,
        };
        let region = &mut self.regions[depth];
        region.items.push(Item::Instruction(Instruction {
            action,
            results: results.clone(),
            sources,
            guard,
        }));
        region.known.insert(known, results.clone());
        results
    }

    // ------------------------------------------------------------------ instructions that stay where they are put

    /// A register that can be assigned several times, with its first value.
    pub fn mutable(&mut self, class: Class, first: Operand) -> Reg {
        let reg = self.register(class, self.regions.len() - 1);
        self.assign(move_of(class), reg, &[first]);
        reg
    }

    /// Assigns a mutable register here.
    pub fn assign(&mut self, opcode: Opcode, result: Reg, sources: &[Operand]) {
        self.assign_if(None, opcode, result, sources);
    }

    /// Assigns a mutable register here where the guard holds.
    pub fn assign_if(&mut self, guard: Option<Guard>, opcode: Opcode, result: Reg, sources: &[Operand]) {
        self.check_sources(opcode, sources);
        self.push(Instruction {
            action: Action::Table(opcode),
            results: vec![result],
            sources: sources.to_vec(),
            guard,
        });
    }

    /// What a mutable register holds here, as a value.
    pub fn read(&mut self, mutable: Reg) -> Reg {
        let reg = self.register(mutable.class, self.regions.len() - 1);
        self.assign(move_of(mutable.class), reg, &[mutable.into()]);
        reg
    }

    /// An instruction of the table that all threads of a warp or block execute together.
    pub fn converge(&mut self, opcode: Opcode, sources: &[Operand]) -> Option<Reg> {
        self.check_sources(opcode, sources);
        let depth = self.regions.len() - 1;
        let results: Vec<Reg> = opcode
            .row()
            .results
            .iter()
            .map(|&class| self.register(class, depth))
            .collect();
        let result = results.first().copied();
        self.push(Instruction {
            action: Action::Table(opcode),
            results,
            sources: sources.to_vec(),
            guard: None,
        });
        result
    }

    /// Waits for all threads of the block; what they wrote to shared memory is then seen.
    pub fn barrier(&mut self) {
        self.converge(Opcode::Barrier, &[]);
    }

    /// The address of the dynamic shared memory, whose size the launch gives.
    pub fn shared_base(&mut self) -> Reg {
        self.shared = true;
        self.op(Opcode::SharedBase, &[])
    }

    /// A load that stays where it is put: shared memory, or global memory that this kernel writes too.
    pub fn load_here(&mut self, space: Space, width: Width, vector: usize, address: Address) -> Vec<Reg> {
        let depth = self.regions.len() - 1;
        let results: Vec<Reg> = (0..vector).map(|_| self.register(width.class(), depth)).collect();
        self.push(Instruction {
            action: Action::Load(space, width, address, Cache::Normal),
            results: results.clone(),
            sources: Vec::new(),
            guard: None,
        });
        results
    }

    /// Like [`Builder::load`], into mutable registers: for loads that are to be in flight across the rest of a loop's turn.
    pub fn load_into(&mut self, results: &[Reg], width: Width, address: Address, cache: Cache, guard: Option<Guard>) {
        self.push(Instruction {
            action: Action::Load(Space::Constant, width, address, cache),
            results: results.to_vec(),
            sources: Vec::new(),
            guard,
        });
    }

    /// A store of 1, 2 or 4 neighbours.
    pub fn store(
        &mut self,
        space: Space,
        width: Width,
        address: Address,
        values: &[Operand],
        cache: Cache,
        guard: Option<Guard>,
    ) {
        self.push(Instruction {
            action: Action::Store(space, width, address, cache),
            results: Vec::new(),
            sources: values.to_vec(),
            guard,
        });
    }

    fn push(&mut self, instruction: Instruction) {
        self.top().items.push(Item::Instruction(instruction));
    }

    // ------------------------------------------------------------------ regions

    /// Opens a loop and returns its counter.
    pub fn begin_loop(&mut self, class: Class, turns: Turns) -> Reg {
        let counter = self.register(class, self.regions.len());
        self.open(Kind::Loop(counter, turns));
        counter
    }

    /// Opens a piece that executes where the guard holds.
    pub fn begin_if(&mut self, guard: Guard) {
        self.open(Kind::If(guard));
    }

    /// Closes the innermost region.
    pub fn end(&mut self) {
        debug_assert!(self.regions.len() > 1, "the kernel's own region is closed by `finish`");
        let Some(region) = self.regions.pop() else { return };
        let item = match region.kind {
            Kind::Kernel => return self.regions.push(region),
            Kind::If(guard) => Item::If(guard, region.items),
            Kind::Loop(counter, turns) => Item::Loop(Loop {
                counter,
                turns,
                body: region.items,
            }),
        };
        self.top().items.push(item);
    }

    /// Sets regions deeper than `depth` aside, so that what follows stands before them.
    pub fn suspend(&mut self, depth: usize) -> Suspended {
        Suspended(self.regions.split_off((depth + 1).min(self.regions.len())))
    }

    /// Continues in the regions set aside.
    pub fn resume(&mut self, suspended: Suspended) {
        self.regions.extend(suspended.0);
    }

    fn open(&mut self, kind: Kind) {
        self.regions_opened += 1;
        self.regions.push(Region {
            id: self.regions_opened,
            kind,
            items: Vec::new(),
            known: HashMap::new(),
        });
    }

    fn top(&mut self) -> &mut Region {
        let last = self.regions.len() - 1;
        &mut self.regions[last]
    }

    // ------------------------------------------------------------------ where things are

    /// The depth of the innermost region: 0 in the kernel's own.
    pub fn current_depth(&self) -> usize {
        self.regions.len() - 1
    }

    /// The innermost region.
    pub fn here(&self) -> Location {
        self.location(self.current_depth())
    }

    /// The open region of that depth.
    pub fn location(&self, depth: usize) -> Location {
        Location {
            depth: depth as u32,
            id: self.regions[depth].id,
        }
    }

    /// Whether what was made at that location still exists here.
    pub fn reaches(&self, location: Location) -> bool {
        self.regions
            .get(location.depth as usize)
            .is_some_and(|region| region.id == location.id)
    }

    /// The depth of the region in which a register was made.
    pub fn depth(&self, reg: Reg) -> usize {
        self.depths[reg.class as usize][reg.number as usize] as usize
    }

    /// The depth of the innermost open conditional; 0 without one.
    pub fn innermost_if(&self) -> usize {
        self.regions
            .iter()
            .rposition(|region| matches!(region.kind, Kind::If(_)))
            .unwrap_or(0)
    }

    fn depth_of(&self, sources: &[Operand]) -> usize {
        sources
            .iter()
            .map(|source| match source {
                Operand::Reg(reg) => self.depth(*reg),
                _ => 0,
            })
            .max()
            .unwrap_or(0)
    }

    fn register(&mut self, class: Class, depth: usize) -> Reg {
        let number = self.counts[class as usize];
        self.counts[class as usize] += 1;
        self.depths[class as usize].push(depth as u32);
        Reg { class, number }
    }

    fn check_sources(&self, opcode: Opcode, sources: &[Operand]) {
        let row = opcode.row();
        debug_assert!(
            sources.len() == row.sources.len()
                && sources.iter().zip(row.sources).all(|(source, &class)| match source {
                    Operand::Reg(reg) => reg.class == class,
                    Operand::Int(_) => !matches!(class, Class::F32 | Class::F64),
                    Operand::F32(_) => class == Class::F32,
                    Operand::F64(_) => class == Class::F64,
                }),
            "{opcode:?} of {sources:?}"
        );
    }

    // ------------------------------------------------------------------ the end

    /// Closes the kernel. Instructions whose results nobody reads are left out.
    pub fn finish(mut self) -> Entry {
        while self.regions.len() > 1 {
            self.end();
        }
        let mut body = self.regions.pop().map(|region| region.items).unwrap_or_default();
        let mut live = HashSet::new();
        mark_assigned(&body, &mut live);
        sweep(&mut body, &mut live);
        Entry {
            name: self.name,
            parameters: self.parameters,
            threads: self.threads,
            minimum_blocks: self.minimum_blocks,
            shared: self.shared,
            registers: self.counts,
            body,
        }
    }
}

/// Whether an instruction may be left out when its results are not read.
fn removable(instruction: &Instruction) -> bool {
    match instruction.action {
        Action::Table(opcode) => opcode.row().pure,
        Action::Compare(..) | Action::Load(..) | Action::Parameter(..) => true,
        Action::Store(..) => false,
    }
}

/// Registers assigned more than once and read anywhere are live throughout: their uses may stand before in the text.
fn mark_assigned(items: &[Item], live: &mut HashSet<Reg>) {
    let (mut assigned, mut repeatedly, mut read) = (HashSet::new(), HashSet::new(), HashSet::new());
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
    live.extend(repeatedly.intersection(&read));
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
fn sweep(items: &mut Vec<Item>, live: &mut HashSet<Reg>) {
    let mut kept = Vec::with_capacity(items.len());
    for mut item in items.drain(..).rev() {
        match &mut item {
            Item::Instruction(instruction) => {
                if removable(instruction) && !instruction.results.iter().any(|r| live.contains(r)) {
                    continue;
                }
                live.extend(instruction.sources.iter().filter_map(register_of));
                live.extend(instruction.guard.map(|guard| guard.predicate));
                if let Action::Load(_, _, address, _) | Action::Store(_, _, address, _) = instruction.action {
                    live.insert(address.base);
                }
            }
            Item::Loop(inner) => {
                sweep(&mut inner.body, live);
                if inner.body.is_empty() {
                    continue;
                }
                let turns = inner.turns;
                live.extend([turns.start, turns.end, turns.step].iter().filter_map(register_of));
            }
            Item::If(guard, body) => {
                sweep(body, live);
                if body.is_empty() {
                    continue;
                }
                live.insert(guard.predicate);
            }
        }
        kept.push(item);
    }
    kept.reverse();
    *items = kept;
}

fn register_of(operand: &Operand) -> Option<Reg> {
    match operand {
        Operand::Reg(reg) => Some(*reg),
        _ => None,
    }
}

/// The move of a class.
pub fn move_of(class: Class) -> Opcode {
    match class {
        Class::Pred => Opcode::MovPred,
        Class::B16 => Opcode::MovB16,
        Class::B32 => Opcode::MovB32,
        Class::B64 => Opcode::MovB64,
        Class::F32 => Opcode::MovF32,
        Class::F64 => Opcode::MovF64,
    }
}
