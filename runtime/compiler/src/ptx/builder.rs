//! Builds a kernel's body and places its instructions.
//!
//! The body under construction is a stack of open regions: the kernel, and inside it loops and conditional regions. A
//! pure instruction is placed in the outermost region in which all its operands exist, before the open inner
//! regions, unless that region already contains it. So loop invariants are hoisted and common
//! subexpressions are computed once, without a separate pass.
//!
//! - Loads of constant memory are pure, but never leave the innermost open conditional: its condition may
//!   keep them in bounds.
//! - [`Builder::assign`] changes a mutable register (an accumulator) at the current position. [`Builder::read`]
//!   returns its current content as a value.
//! - Loads of shared memory, stores, barriers and shuffles stay at the current position.

use super::text::Entry;
use super::undo::{BIAS, Definitions, Undone};
use super::{
    Action, Address, Cache, Class, Compare, Connective, Few, Guard, Instruction, Item, Loop, Opcode, Operand, Reg,
    Space, Turns, Width, liveness,
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
    /// For each class, the depth of the region in which each register was defined.
    depths: [Vec<u32>; 6],
    regions: Vec<Region>,
    regions_opened: u64,
    /// An open region that new instructions do not leave.
    floor: Option<Location>,
    definitions: Definitions,
}

/// An open region.
#[derive(Debug)]
struct Region {
    /// A number that is unique among all regions ever opened.
    id: u64,
    kind: Kind,
    items: Vec<Item>,
    /// The positions of pure instructions among the items, by a hash of their operation and operands.
    known: FxHashMap<u64, u32>,
}

#[derive(Debug)]
enum Kind {
    Kernel,
    Loop(Reg, Turns),
    If(Guard),
}

/// A region that is or was open. It tells whether values defined in it still exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    depth: u32,
    id: u64,
}

/// Inner regions set aside while instructions are placed before them.
#[derive(Debug)]
#[must_use = "the inner regions are lost unless resumed"]
pub struct Suspended(Vec<Region>);

impl Builder {
    /// Creates an empty kernel with blocks of so many threads.
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
            definitions: Definitions::default(),
        };
        builder.open(Kind::Kernel);
        // The printer uses %p0 for loop branches.
        builder.register(Class::Pred, 0);
        builder
    }

    /// Sets `.minnctapersm`, the number of blocks that must fit on a multiprocessor, which bounds the registers. The smallest request counts.
    pub fn set_minimum_blocks(&mut self, blocks: u32) {
        self.minimum_blocks = Some(self.minimum_blocks.map_or(blocks, |others| others.min(blocks)));
    }

    /// `true` if [`Builder::set_minimum_blocks`] was called.
    pub fn has_minimum_blocks(&self) -> bool {
        self.minimum_blocks.is_some()
    }

    /// Declares the kernel's next parameter and reads it.
    pub fn parameter(&mut self, width: Width) -> Reg {
        let number = self.parameters.len() as u32;
        self.parameters.push(width);
        self.place(Action::Parameter(number, width), &[], None, &[width.class()], 0)[0]
    }

    // ------------------------------------------------------------------ pure instructions

    /// Emits a pure instruction of the table and returns its result.
    pub fn op(&mut self, opcode: Opcode, sources: &[Operand]) -> Reg {
        self.ops(opcode, sources)[0]
    }

    /// Emits a pure instruction of the table with several results, unless it undoes earlier ones.
    pub fn ops(&mut self, opcode: Opcode, sources: &[Operand]) -> Few<Reg> {
        debug_assert!(
            opcode.row().pure,
            "{opcode:?} must stay where it is put: use `converge`"
        );
        self.check_sources(opcode, sources);
        match self.definitions.undone(opcode, sources) {
            Some(Undone::Register(reg)) => smallvec![reg],
            Some(Undone::Selection(narrow)) => self.ops(Opcode::SelB16, &narrow),
            Some(Undone::Upper(half, opcode, sources)) => {
                let results = self.place_pure(opcode, &sources);
                self.definitions.note_upper(results[0], half);
                results
            }
            Some(Undone::Biased(bits)) => {
                let float = self.op(Opcode::F32Bits, &[bits.into()]);
                let bias = f32::from_bits(BIAS as u32);
                self.ops(Opcode::SubF32, &[float.into(), bias.into()])
            }
            None => {
                let results = self.place_pure(opcode, sources);
                self.definitions.note(opcode, sources, &results);
                results
            }
        }
    }

    /// The integer that was added to [`BIAS`], and is within ± 2²², in these bits.
    pub fn without_bias(&mut self, bits: Reg) -> Reg {
        let integer = self.op(Opcode::SubS32, &[bits.into(), BIAS.into()]);
        self.definitions.note_biased(integer, bits);
        integer
    }

    fn place_pure(&mut self, opcode: Opcode, sources: &[Operand]) -> Few<Reg> {
        let depth = self.depth_of(sources);
        self.place(Action::Table(opcode), sources, None, opcode.row().results, depth)
    }

    /// Returns a register that holds a constant. Most instructions take constants as operands, but vector stores and mutable registers do not.
    pub fn constant(&mut self, class: Class, value: Operand) -> Reg {
        self.op(move_of(class), &[value])
    }

    /// Emits a comparison, signed for integers.
    pub fn compare(&mut self, compare: Compare, class: Class, a: Operand, b: Operand) -> Reg {
        self.compare_as(compare, class, true, a, b)
    }

    /// Emits a comparison of unsigned integers.
    pub fn compare_unsigned(&mut self, compare: Compare, class: Class, a: Operand, b: Operand) -> Reg {
        self.compare_as(compare, class, false, a, b)
    }

    /// Emits a signed comparison whose result is combined with a predicate.
    pub fn compare_with(
        &mut self,
        compare: Compare,
        class: Class,
        [a, b]: [Operand; 2],
        connective: Connective,
        other: Reg,
    ) -> Reg {
        let sources = [a, b, other.into()];
        let depth = self.depth_of(&sources);
        let action = Action::CompareWith(compare, class, true, connective);
        self.place(action, &sources, None, &[Class::Pred], depth)[0]
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

    /// Loads 1, 2 or 4 neighbours from memory that the kernel does not write. If the guard does not hold, they are 0.
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

    /// Places a pure instruction in the region at a depth, unless the region already contains it.
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
            // After a hash collision, one of the two computations may be emitted twice.
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

    // ------------------------------------------------------------------ instructions at the current position

    /// Returns a register that can be assigned several times, with its first value.
    pub fn mutable(&mut self, class: Class, first: Operand) -> Reg {
        let reg = self.register(class, self.regions.len() - 1);
        self.definitions.note_mutable(reg);
        self.assign(move_of(class), reg, &[first]);
        reg
    }

    /// Assigns a mutable register at the current position.
    pub fn assign(&mut self, opcode: Opcode, result: Reg, sources: &[Operand]) {
        self.assign_if(None, opcode, result, sources);
    }

    /// Assigns a mutable register at the current position, if the guard holds.
    pub fn assign_if(&mut self, guard: Option<Guard>, opcode: Opcode, result: Reg, sources: &[Operand]) {
        self.check_sources(opcode, sources);
        self.push(Instruction {
            action: Action::Table(opcode),
            results: smallvec![result],
            sources: sources.into(),
            guard,
        });
    }

    /// Assigns several mutable registers by one instruction with several results.
    pub fn assign_all(&mut self, opcode: Opcode, results: &[Reg], sources: &[Operand]) {
        self.check_sources(opcode, sources);
        self.push(Instruction {
            action: Action::Table(opcode),
            results: results.into(),
            sources: sources.into(),
            guard: None,
        });
    }

    /// Returns the current content of a mutable register as a value.
    pub fn read(&mut self, mutable: Reg) -> Reg {
        let reg = self.register(mutable.class, self.regions.len() - 1);
        self.assign(move_of(mutable.class), reg, &[mutable.into()]);
        reg
    }

    /// Emits an instruction of the table that all threads of a warp or block execute together.
    pub fn converge(&mut self, opcode: Opcode, sources: &[Operand]) -> Option<Reg> {
        self.converge_all(opcode, sources).first().copied()
    }

    /// The same for an instruction with several results.
    pub fn converge_all(&mut self, opcode: Opcode, sources: &[Operand]) -> Few<Reg> {
        let depth = self.regions.len() - 1;
        let classes = opcode.row().results.iter();
        let results: Few<Reg> = classes.map(|&class| self.register(class, depth)).collect();
        self.assign_all(opcode, &results, sources);
        results
    }

    /// Waits for all threads of the block. Their writes to shared memory are visible afterwards.
    pub fn barrier(&mut self) {
        self.converge(Opcode::Barrier, &[]);
    }

    /// Returns the address of the dynamic shared memory.
    pub fn shared_base(&mut self) -> Reg {
        self.shared = true;
        self.op(Opcode::SharedBase, &[])
    }

    /// Loads at the current position, from shared memory or from global memory that the kernel also writes.
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

    /// Like [`Builder::load`], into mutable registers, which keep their values if the guard does not hold.
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

    /// Loads four 8 × 8 matrices of 16-bit elements from shared memory, one register each; see [`Action::LoadMatrices`].
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

    /// Starts an asynchronous copy of 4, 8 or 16 bytes from global to shared memory. If `size` is given, only so many bytes are read, and
    /// the others become zeros.
    pub fn copy(&mut self, bytes: u32, to: Address, from: Address, size: Option<Operand>, guard: Option<Guard>) {
        self.push(Instruction {
            action: Action::Copy(bytes, to, from),
            results: Few::new(),
            sources: size.into_iter().collect(),
            guard,
        });
    }

    /// Counts the arrival of one of so many blocks, if the guard holds; see [`Action::Arrive`].
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

    /// Stores 1, 2 or 4 neighbours.
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

    /// Adds the finished body of another kernel to the innermost region. Its registers, of which there are so many of each class, become new
    /// ones; then `adapt` may change its instructions.
    pub(crate) fn splice(
        &mut self,
        mut body: Vec<Item>,
        registers: &[u32; 6],
        adapt: &mut impl FnMut(&mut Instruction),
    ) {
        super::renumber(&mut body, &self.counts);
        super::for_each_instruction(&mut body, adapt);
        let depth = self.current_depth();
        for (class, &count) in Class::ALL.into_iter().zip(registers) {
            (0..count).for_each(|_| {
                self.register(class, depth);
            });
        }
        self.top().items.extend(body);
    }

    // ------------------------------------------------------------------ regions

    /// Opens a loop and returns its counter.
    pub fn begin_loop(&mut self, class: Class, turns: Turns) -> Reg {
        let counter = self.register(class, self.regions.len());
        self.open(Kind::Loop(counter, turns));
        counter
    }

    /// Opens a region that executes if the guard holds.
    pub fn begin_if(&mut self, guard: Guard) {
        self.open(Kind::If(guard));
    }

    /// Opens a region that executes if the guard holds, and that new instructions do not leave. For long code that few threads
    /// execute.
    pub fn begin_tail(&mut self, guard: Guard) {
        self.begin_if(guard);
        self.stay();
    }

    /// Keeps new instructions in the innermost region while it is open. In a long region, hoisted values would occupy registers throughout.
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

    /// Sets regions deeper than `depth` aside, so that new instructions precede them.
    pub fn suspend(&mut self, depth: usize) -> Suspended {
        Suspended(self.regions.split_off((depth + 1).min(self.regions.len())))
    }

    /// Reopens the regions set aside.
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

    // ------------------------------------------------------------------ locations

    /// The depth of the innermost region; 0 for the kernel itself.
    pub fn current_depth(&self) -> usize {
        self.regions.len() - 1
    }

    /// The innermost region.
    pub fn here(&self) -> Location {
        self.location(self.current_depth())
    }

    /// The open region at a depth.
    pub fn location(&self, depth: usize) -> Location {
        Location {
            depth: depth as u32,
            id: self.regions[depth].id,
        }
    }

    /// `true` if values defined at a location still exist here.
    pub fn reaches(&self, location: Location) -> bool {
        self.regions
            .get(location.depth as usize)
            .is_some_and(|region| region.id == location.id)
    }

    /// The depth of the region in which a register was defined.
    pub fn depth(&self, reg: Reg) -> usize {
        self.depths[reg.class as usize][reg.number as usize] as usize
    }

    /// The depth of the innermost open conditional; 0 if there is none.
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

    // ------------------------------------------------------------------ end

    /// Closes the kernel, and removes dead instructions.
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

/// The move instruction of a class.
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
        // A conditional region of the same depth opens and closes before it.
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
        // Instructions in a loop inside it are hoisted as usual.
        b.begin_loop(Class::B32, Turns::new(0, word, 1));
        let of_the_loop = b.op(Opcode::AddS32, &[word.into(), 3.into()]);
        assert_eq!(b.depth(of_the_loop), 1);
        b.end();
        b.end();
        let after = b.op(Opcode::AddS32, &[word.into(), 4.into()]);
        assert_eq!(b.depth(after), 0);
    }

    #[test]
    fn what_is_only_moved_is_not_converted() {
        let mut b = Builder::new("moves", 32);
        let word = b.parameter(Width::B32);
        let halves = b.ops(Opcode::HalvesB32, &[word.into()]);
        let wide = |b: &mut Builder, half: Reg| b.op(Opcode::CvtF32F16, &[half.into()]);
        let narrow = |b: &mut Builder, wide: Reg| b.op(Opcode::CvtF16F32, &[wide.into()]);
        let [low, high] = [halves[0], halves[1]].map(|half| wide(&mut b, half));
        let back = [low, high].map(|wide| narrow(&mut b, wide));
        assert_eq!(back, [halves[0], halves[1]]);
        let pack = |b: &mut Builder, [low, high]: [Reg; 2]| b.op(Opcode::B32Halves, &[low.into(), high.into()]);
        assert_eq!(pack(&mut b, back), word);
        assert_ne!(pack(&mut b, [back[1], back[0]]), word, "the halves change places");

        // Another type rounds; so does a value that was computed.
        let other = b.op(Opcode::CvtBf16F32, &[low.into()]);
        assert!(!halves.contains(&other));
        let sum = b.op(Opcode::AddF32, &[low.into(), high.into()]);
        assert!(!halves.contains(&narrow(&mut b, sum)));

        // A choice among values that are moved is one among their bits.
        let predicate = b.compare(Compare::Eq, Class::B32, word.into(), 0.into());
        let chosen = b.op(Opcode::SelF32, &[low.into(), 1.0f32.into(), predicate.into()]);
        let chosen = narrow(&mut b, chosen);
        let bits = b.op(Opcode::SelB16, &[halves[0].into(), 0x3c00.into(), predicate.into()]);
        assert_eq!(chosen, bits);

        // The content of a mutable register may be another one where the value is used.
        let mutable = b.mutable(Class::B16, halves[0].into());
        let of_mutable = wide(&mut b, mutable);
        assert_ne!(narrow(&mut b, of_mutable), mutable);
    }

    #[test]
    fn a_half_of_a_word_is_widened_in_the_word() {
        let mut b = Builder::new("halves", 32);
        let word = b.parameter(Width::B32);
        let halves = b.ops(Opcode::HalvesB32, &[word.into()]);
        for (half, (opcode, number)) in halves
            .into_iter()
            .zip([(Opcode::ShlB32, 16), (Opcode::AndB32, 0xffff_0000)])
        {
            let bits = b.op(Opcode::CvtU32U16, &[half.into()]);
            let upper = b.op(Opcode::ShlB32, &[bits.into(), 16.into()]);
            assert_eq!(b.op(opcode, &[word.into(), number.into()]), upper);
            let wide = b.op(Opcode::F32Bits, &[upper.into()]);
            assert_eq!(b.op(Opcode::CvtBf16F32, &[wide.into()]), half);
        }
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
