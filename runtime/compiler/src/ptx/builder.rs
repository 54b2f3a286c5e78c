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
    Action, Address, Cache, Class, Compare, Few, Guard, Instruction, Item, Loop, Opcode, Operand, Reg, Space, Turns,
    Width, liveness,
};
use rustc_hash::{FxBuildHasher, FxHashMap};
use smallvec::smallvec;
use std::hash::BuildHasher;

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
    /// The region that new instructions do not leave, while it is open.
    floor: Option<Location>,
}

/// An open region.
#[derive(Debug)]
struct Region {
    /// Different for every region ever opened.
    id: u64,
    kind: Kind,
    items: Vec<Item>,
    /// Where the pure instructions stand among the items, by a hash of what they compute.
    known: FxHashMap<u64, u32>,
}

#[derive(Debug)]
enum Kind {
    Kernel,
    Loop(Reg, Turns),
    If(Guard),
}

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
            floor: None,
        };
        builder.open(Kind::Kernel);
        // %p0 is the printer's, for loop branches.
        builder.register(Class::Pred, 0);
        builder
    }

    /// Tells the assembler how many blocks should fit on a multiprocessor, which bounds the registers: the least number asked for.
    pub fn set_minimum_blocks(&mut self, blocks: u32) {
        self.minimum_blocks = Some(self.minimum_blocks.map_or(blocks, |others| others.min(blocks)));
    }

    /// Whether [`Builder::set_minimum_blocks`] was called.
    pub fn has_minimum_blocks(&self) -> bool {
        self.minimum_blocks.is_some()
    }

    /// Declares one more parameter of the kernel and reads it.
    pub fn parameter(&mut self, width: Width) -> Reg {
        let number = self.parameters.len() as u32;
        self.parameters.push(width);
        self.place(Action::Parameter(number, width), &[], None, &[width.class()], 0)[0]
    }

    // ------------------------------------------------------------------ pure instructions

    /// The result of a pure instruction of the table.
    pub fn op(&mut self, opcode: Opcode, sources: &[Operand]) -> Reg {
        self.ops(opcode, sources)[0]
    }

    /// The results of a pure instruction of the table that has several.
    pub fn ops(&mut self, opcode: Opcode, sources: &[Operand]) -> Few<Reg> {
        let row = opcode.row();
        debug_assert!(row.pure, "{opcode:?} must stay where it is put: use `converge`");
        self.check_sources(opcode, sources);
        let depth = self.depth_of(sources);
        self.place(Action::Table(opcode), sources, None, row.results, depth)
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
        self.place(
            Action::Compare(compare, class, signed),
            &[a, b],
            None,
            &[Class::Pred],
            depth,
        )[0]
    }

    /// A load of 1, 2 or 4 neighbours from memory that nobody writes during the kernel. Where the guard does not hold they are 0.
    pub fn load(
        &mut self,
        width: Width,
        vector: usize,
        address: Address,
        cache: Cache,
        guard: Option<Guard>,
    ) -> Few<Reg> {
        let mut depth = self.depth(address.base).max(self.innermost_if());
        if let Some(guard) = guard {
            depth = depth.max(self.depth(guard.predicate));
        }
        let classes = [width.class(); 4];
        let load = Action::Load(Space::Constant, width, address, cache);
        self.place(load, &[], guard, &classes[..vector.min(4)], depth)
    }

    /// Puts a pure instruction into the region of that depth, unless it stands there already.
    fn place(
        &mut self,
        action: Action,
        sources: &[Operand],
        guard: Option<Guard>,
        classes: &[Class],
        depth: usize,
    ) -> Few<Reg> {
        let hash = FxBuildHasher.hash_one((action, sources, guard, classes.len()));
        let floor = self.floor.filter(|&floor| self.reaches(floor));
        let floor = floor.map_or(0, |floor| floor.depth as usize).max(depth);
        let places = if floor > depth { &[depth, floor][..] } else { &[depth] };
        for region in places.iter().map(|&depth| &self.regions[depth]) {
            // Two computations with one hash are as good as unknown to each other: then one of them may stand here twice.
            if let Some(&at) = region.known.get(&hash)
                && let Some(Item::Instruction(known)) = region.items.get(at as usize)
                && (known.action, &known.sources[..], known.guard) == (action, sources, guard)
                && known.results.len() == classes.len()
            {
                return known.results.clone();
            }
        }
        let depth = floor;
        let results: Few<Reg> = classes.iter().map(|&class| self.register(class, depth)).collect();
        let region = &mut self.regions[depth];
        region.known.insert(hash, region.items.len() as u32);
        region.items.push(Item::Instruction(Instruction {
            action,
            results: results.clone(),
            sources: sources.into(),
            guard,
        }));
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
            results: smallvec![result],
            sources: sources.into(),
            guard,
        });
    }

    /// Assigns several mutable registers here, by one instruction that has several results.
    pub fn assign_all(&mut self, opcode: Opcode, results: &[Reg], sources: &[Operand]) {
        self.check_sources(opcode, sources);
        self.push(Instruction {
            action: Action::Table(opcode),
            results: results.into(),
            sources: sources.into(),
            guard: None,
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
        let results: Few<Reg> = opcode
            .row()
            .results
            .iter()
            .map(|&class| self.register(class, depth))
            .collect();
        let result = results.first().copied();
        self.push(Instruction {
            action: Action::Table(opcode),
            results,
            sources: sources.into(),
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
    pub fn load_here(&mut self, space: Space, width: Width, vector: usize, address: Address) -> Few<Reg> {
        let depth = self.regions.len() - 1;
        let results: Few<Reg> = (0..vector).map(|_| self.register(width.class(), depth)).collect();
        self.push(Instruction {
            action: Action::Load(space, width, address, Cache::Normal),
            results: results.clone(),
            sources: Few::new(),
            guard: None,
        });
        results
    }

    /// Like [`Builder::load`], into mutable registers, which keep what they held where the guard does not hold.
    pub fn load_into(&mut self, results: &[Reg], width: Width, address: Address, cache: Cache, guard: Option<Guard>) {
        self.push(Instruction {
            action: Action::Load(Space::Constant, width, address, cache),
            results: results.into(),
            sources: results
                .iter()
                .filter(|_| guard.is_some())
                .map(|&reg| reg.into())
                .collect(),
            guard,
        });
    }

    /// Four 8 × 8 matrices of 16-bit elements from shared memory, one register each; see [`Action::LoadMatrices`].
    pub fn load_matrices(&mut self, transposed: bool, address: Address) -> Few<Reg> {
        let depth = self.regions.len() - 1;
        let results: Few<Reg> = (0..4).map(|_| self.register(Class::B32, depth)).collect();
        self.push(Instruction {
            action: Action::LoadMatrices(transposed, address),
            results: results.clone(),
            sources: Few::new(),
            guard: None,
        });
        results
    }

    /// Begins a copy of 4, 8 or 16 bytes from global to shared memory. Of `size`, where it is given, only so many are read and
    /// the others become zeros.
    pub fn copy(&mut self, bytes: u32, to: Address, from: Address, size: Option<Operand>, guard: Option<Guard>) {
        self.push(Instruction {
            action: Action::Copy(bytes, to, from),
            results: Few::new(),
            sources: size.into_iter().collect(),
            guard,
        });
    }

    /// Counts the arrival of a block, where the guard holds: of so many, and this one's number among them; see [`Action::Arrive`].
    pub fn arrive(&mut self, counter: Address, of: u32, number: Operand, guard: Guard) -> Reg {
        let result = self.register(Class::B32, self.regions.len() - 1);
        self.push(Instruction {
            action: Action::Arrive(counter),
            results: smallvec![result],
            sources: smallvec![(i64::from(of) - 1).into(), number],
            guard: Some(guard),
        });
        result
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
            results: Few::new(),
            sources: values.into(),
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

    /// Opens a piece that executes where the guard holds, and that new instructions do not leave: what follows is long, and few
    /// come there.
    pub fn begin_tail(&mut self, guard: Guard) {
        self.begin_if(guard);
        self.stay();
    }

    /// New instructions do not leave the innermost region while it is open: it is long, and what they make would be held throughout.
    pub fn stay(&mut self) {
        self.floor = Some(self.here());
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
            known: FxHashMap::default(),
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
        liveness::sweep(&mut body, &self.counts);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_in_a_tail_stays_there() {
        let mut b = Builder::new("tail", 32);
        let word = b.parameter(Width::B32);
        let known = b.op(Opcode::AddS32, &[word.into(), 1.into()]);
        let predicate = b.compare(Compare::Eq, Class::B32, word.into(), 0.into());
        let guard = Guard { predicate, holds: true };
        b.begin_tail(guard);
        // Another piece as deep is opened and closed before it, as functions of what is known early do.
        let inner = b.suspend(0);
        b.begin_if(guard);
        b.end();
        b.resume(inner);
        let new = b.op(Opcode::AddS32, &[word.into(), 2.into()]);
        assert_eq!(b.depth(new), 1);
        assert_eq!(
            b.op(Opcode::AddS32, &[word.into(), 1.into()]),
            known,
            "what is there already is used"
        );
        // From a loop in it, they leave as always.
        b.begin_loop(Class::B32, Turns::new(0, word, 1));
        let of_the_loop = b.op(Opcode::AddS32, &[word.into(), 3.into()]);
        assert_eq!(b.depth(of_the_loop), 1);
        b.end();
        b.end();
        let after = b.op(Opcode::AddS32, &[word.into(), 4.into()]);
        assert_eq!(b.depth(after), 0);
    }

    #[test]
    fn what_is_made_where_a_loop_stays_does_not_leave_it() {
        let depth_of = |stays: bool| {
            let mut b = Builder::new("loop", 32);
            let word = b.parameter(Width::B32);
            b.begin_loop(Class::B32, Turns::new(0, word, 1));
            if stays {
                b.stay();
            }
            let of_the_turn = b.op(Opcode::AddS32, &[word.into(), 1.into()]);
            b.depth(of_the_turn)
        };
        assert_eq!((depth_of(false), depth_of(true)), (0, 1));
    }
}
