//! Prints kernels.

use super::{
    Action, Address, Cache, Class, Connective, Few, Instruction, Item, Loop, Opcode, Operand, Reg, Space, Width,
};
use crate::reciprocal::Reciprocal;
use crate::target::Target;

/// A finished kernel: its declaration and its body.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The entry's name.
    pub name: String,
    /// The PTX type of each parameter (`u64`, `f32`, …).
    pub parameters: Vec<Width>,
    /// Threads of a block.
    pub threads: u32,
    /// Blocks that must fit on a multiprocessor (`.minnctapersm`), if the kernel requires a number.
    pub minimum_blocks: Option<u32>,
    /// `true` if the kernel uses dynamic shared memory.
    pub shared: bool,
    /// Registers of each class, in the order of [`Class::ALL`].
    pub registers: [u32; 6],
    /// The body.
    pub body: Vec<Item>,
}

impl Entry {
    /// Prints a module with this entry only.
    pub fn module(&self, target: Target) -> String {
        module(std::slice::from_ref(self), target)
    }

    /// Returns the largest number of live 32-bit registers of a thread, in text order. ptxas needs
    /// a few more, and may reorder instructions.
    pub fn pressure(&self) -> u32 {
        super::liveness::pressure(&self.body, &self.registers)
    }
}

/// Prints a module with these entries.
pub fn module(entries: &[Entry], target: Target) -> String {
    // About 40 characters for each instruction. Most instructions define one register.
    let registers: u32 = entries.iter().flat_map(|entry| entry.registers).sum();
    let mut printer = Printer {
        out: String::with_capacity(1024 + 40 * registers as usize),
        labels: 0,
    };
    printer.header(entries.iter().any(|entry| entry.shared), target);
    entries.iter().for_each(|entry| printer.entry(entry));
    printer.out
}

struct Printer {
    out: String,
    labels: u32,
}

impl Printer {
    fn header(&mut self, shared: bool, target: Target) {
        let suffix = if target.is_specific() { "a" } else { "" };
        self.texts(&[".version ", target.ptx_version(), "\n.target sm_"]);
        self.number(target.number().into());
        self.texts(&[suffix, "\n.address_size 64\n"]);
        if shared {
            self.text(".extern .shared .align 16 .b8 shared[];\n");
        }
    }

    fn entry(&mut self, entry: &Entry) {
        self.texts(&[".visible .entry ", &entry.name, "("]);
        for (number, width) in entry.parameters.iter().enumerate() {
            let separator = if number == 0 { "" } else { "," };
            let ty = parameter_type(*width);
            self.texts(&[separator, "\n    .param .", ty, " ", &entry.name, "_"]);
            self.number(number as i64);
        }
        self.text("\n)\n.maxntid ");
        self.number(entry.threads.into());
        self.text(", 1, 1\n");
        if let Some(blocks) = entry.minimum_blocks {
            self.text(".minnctapersm ");
            self.number(blocks.into());
            self.text("\n");
        }
        self.text("{\n");
        for (class, &count) in Class::ALL.iter().zip(&entry.registers) {
            if count > 0 {
                self.texts(&["    .reg .", class.declaration(), " ", class.prefix(), "<"]);
                self.number(count.into());
                self.text(">;\n");
            }
        }
        self.items(&entry.name, &entry.body);
        self.text("    ret;\n}\n");
    }

    fn items(&mut self, entry: &str, items: &[Item]) {
        for item in items {
            match item {
                Item::Instruction(instruction) => self.instruction(entry, instruction),
                Item::Loop(each) => self.counted(entry, each),
                Item::If(guard, body) => {
                    let end = self.new_label();
                    self.text(if guard.holds { "    @!" } else { "    @" });
                    self.register(guard.predicate);
                    self.branch(end);
                    self.items(entry, body);
                    self.label(end);
                }
            }
        }
    }

    fn counted(&mut self, entry: &str, each: &Loop) {
        let (top, end) = (self.new_label(), self.new_label());
        let bits = if each.counter.class == Class::B64 { "64" } else { "32" };
        self.texts(&["    mov.b", bits, " "]);
        self.register(each.counter);
        self.text(", ");
        self.operand(each.turns.start);
        self.text(";\n");
        if !each.turns.entered {
            self.compare_counter("ge", bits, each);
            self.branch(end);
        }
        self.label(top);
        if each.turns.rolled {
            self.text("    .pragma \"nounroll\";\n");
        }
        self.items(entry, &each.body);
        self.texts(&["    add.s", bits, " "]);
        self.register(each.counter);
        self.text(", ");
        self.register(each.counter);
        self.text(", ");
        self.operand(each.turns.step);
        self.text(";\n");
        self.compare_counter("lt", bits, each);
        self.branch(top);
        self.label(end);
    }

    /// Prints a comparison of a counter with its bound, and begins a line that executes if it holds.
    fn compare_counter(&mut self, compare: &str, bits: &str, each: &Loop) {
        self.texts(&["    setp.", compare, ".s", bits, " ", LOOP_PREDICATE, ", "]);
        self.register(each.counter);
        self.text(", ");
        self.operand(each.turns.end);
        self.texts(&[";\n    @", LOOP_PREDICATE]);
    }

    fn branch(&mut self, label: u32) {
        self.text(" bra $L");
        self.number(label.into());
        self.text(";\n");
    }

    fn label(&mut self, label: u32) {
        self.text("$L");
        self.number(label.into());
        self.text(":\n");
    }

    /// Prints an instruction. Kernels have thousands of them, so it avoids the formatting machinery.
    fn instruction(&mut self, entry: &str, instruction: &Instruction) {
        if instruction.leaves_zeros() {
            for &result in &instruction.results {
                let zero = match result.class {
                    Class::F32 => "0f00000000",
                    Class::F64 => "0d0000000000000000",
                    _ => "0",
                };
                self.texts(&["    mov.", result.class.declaration(), " "]);
                self.register(result);
                self.texts(&[", ", zero, ";\n"]);
            }
        }
        self.text("    ");
        if let Some(guard) = instruction.guard {
            self.text(if guard.holds { "@" } else { "@!" });
            self.register(guard.predicate);
            self.text(" ");
        }
        let (results, sources) = (&instruction.results, &instruction.sources);
        match instruction.action {
            Action::Table(opcode) => match (opcode, instruction.constant_divisor()) {
                (Opcode::QuotU32, _) => self.quotient_by_reciprocal(instruction),
                (_, Some(divisor)) => self.quotient(opcode, instruction, divisor),
                (_, None) => self.table(opcode, instruction),
            },
            Action::Compare(compare, class, signed) => {
                self.texts(&["setp.", compare.text(), ".", compared(class, signed), " "]);
                self.operands(instruction, &[]);
            }
            Action::CompareWith(compare, class, signed, connective) => {
                let connective = match connective {
                    Connective::And => ".and.",
                    Connective::Or => ".or.",
                };
                self.texts(&["setp.", compare.text(), connective, compared(class, signed), " "]);
                self.operands(instruction, &[]);
            }
            Action::Load(space, width, address, cache) => {
                let space = match (space, cache) {
                    (Space::Constant, Cache::Normal) => "global.nc",
                    (Space::Constant, Cache::Streaming) => "global.cs.nc",
                    (Space::Global, Cache::Normal) => "global",
                    (Space::Global, Cache::Streaming) => "global.cs",
                    (Space::Shared, _) => "shared",
                };
                self.texts(&["ld.", space, vector(results.len()), ".", memory_type(width), " "]);
                self.list(results, results.len() > 1, Self::register);
                self.text(", ");
                self.address(address);
            }
            Action::Store(space, width, address, cache) => {
                let space = if space == Space::Shared { "shared" } else { "global" };
                let hint = match cache {
                    Cache::Normal => "",
                    Cache::Streaming => ".cs",
                };
                self.texts(&["st.", space, hint, vector(sources.len()), ".", memory_type(width), " "]);
                self.address(address);
                self.text(", ");
                self.list(sources, sources.len() > 1, Self::operand);
            }
            Action::LoadMatrices(transposed, address) => {
                let hint = if transposed { ".trans" } else { "" };
                self.texts(&["ldmatrix.sync.aligned.m8n8.x4", hint, ".shared.b16 "]);
                self.list(results, true, Self::register);
                self.text(", ");
                self.address(address);
            }
            Action::Copy(bytes, to, from) => {
                // 16-byte copies bypass L1.
                let level = if bytes == 16 { "cg" } else { "ca" };
                self.texts(&["cp.async.", level, ".shared.global "]);
                self.address(to);
                self.text(", ");
                self.address(from);
                self.text(", ");
                self.number(bytes.into());
                for &size in sources {
                    self.text(", ");
                    self.operand(size);
                }
            }
            Action::Arrive(address) => {
                self.text("atom.acq_rel.gpu.global.inc.u32 ");
                self.list(results, false, Self::register);
                self.text(", ");
                self.address(address);
                self.text(", ");
                self.list(&sources[..1], false, Self::operand);
            }
            Action::Parameter(number, width) => {
                self.texts(&["ld.param.", parameter_type(width), " "]);
                self.operands(instruction, &[]);
                self.texts(&[", [", entry, "_"]);
                self.number(number.into());
                self.text("]");
            }
        }
        self.text(";\n");
    }

    fn table(&mut self, opcode: Opcode, instruction: &Instruction) {
        let (mnemonic, fixed) = match opcode.row().text.split_once('|') {
            Some((mnemonic, fixed)) => (mnemonic, fixed),
            None => (opcode.row().text, ""),
        };
        self.texts(&[mnemonic, " "]);
        self.operands(instruction, opcode.row().groups);
        let none = instruction.results.is_empty() && instruction.sources.is_empty();
        for part in fixed.split('|').filter(|part| !part.is_empty()) {
            self.texts(&[if none { "" } else { ", " }, part]);
        }
    }

    /// Prints a quotient by a constant, in two instructions.
    fn quotient(&mut self, opcode: Opcode, instruction: &Instruction, divisor: u64) {
        let (ty, bits) = if opcode == Opcode::DivU64 {
            (".u64 ", 64)
        } else {
            (".u32 ", 32)
        };
        let Reciprocal { multiplier, shift } = Reciprocal::of(divisor, bits);
        let result = &instruction.results[..1];
        self.texts(&["mul.hi", ty]);
        self.list(result, false, Self::register);
        self.text(", ");
        self.list(&instruction.sources[..1], false, Self::operand);
        self.text(", 0x");
        self.hexadecimal(multiplier, bits / 4);
        self.texts(&["U;\n    shr", ty]);
        self.list(&[result[0], result[0]], false, Self::register);
        self.text(", ");
        self.number(shift.into());
    }

    /// Prints [`Opcode::QuotU32`], in three instructions.
    fn quotient_by_reciprocal(&mut self, instruction: &Instruction) {
        let result = Operand::Reg(instruction.results[0]);
        let (number, multiplier, shift) = (instruction.sources[0], instruction.sources[2], instruction.sources[3]);
        self.text("add.u32 ");
        self.list(&[result, number, number], false, Self::operand);
        self.text(";\n    mul.hi.u32 ");
        self.list(&[result, result, multiplier], false, Self::operand);
        self.text(";\n    shr.u32 ");
        self.list(&[result, result, shift], false, Self::operand);
    }

    /// Prints results, then sources. Grouped operands are in braces.
    fn operands(&mut self, instruction: &Instruction, groups: &[usize]) {
        let results = instruction.results.iter().map(|&reg| Operand::Reg(reg));
        let all: Few<Operand> = results.chain(instruction.sources.iter().copied()).collect();
        if groups.is_empty() {
            return self.list(&all, false, Self::operand);
        }
        let mut rest = &all[..];
        for (position, &count) in groups.iter().enumerate() {
            let (group, others) = rest.split_at(count.min(rest.len()));
            self.text(if position > 0 { ", " } else { "" });
            self.list(group, count > 1, Self::operand);
            rest = others;
        }
    }

    fn list<T: Copy>(&mut self, list: &[T], braces: bool, print: impl Fn(&mut Self, T)) {
        if braces {
            self.text("{");
        }
        for (position, &each) in list.iter().enumerate() {
            if position > 0 {
                self.text(", ");
            }
            print(self, each);
        }
        if braces {
            self.text("}");
        }
    }

    fn address(&mut self, address: Address) {
        self.text("[");
        self.register(address.base);
        if address.offset != 0 {
            self.text("+");
            self.number(address.offset.into());
        }
        self.text("]");
    }

    fn operand(&mut self, operand: Operand) {
        match operand {
            Operand::Reg(reg) => self.register(reg),
            Operand::Int(value) => self.number(value),
            Operand::F32(bits) => {
                self.text("0f");
                self.hexadecimal(bits.into(), 8);
            }
            Operand::F64(bits) => {
                self.text("0d");
                self.hexadecimal(bits, 16);
            }
        }
    }

    fn register(&mut self, reg: Reg) {
        self.prefixed(reg.class.prefix(), reg.number.into());
    }

    fn number(&mut self, value: i64) {
        self.prefixed(if value < 0 { "-" } else { "" }, value.unsigned_abs());
    }

    /// Prints a prefix of at most 4 characters and a number.
    fn prefixed(&mut self, prefix: &str, mut value: u64) {
        let mut text = [0; 24];
        let mut first = text.len();
        loop {
            first -= 1;
            text[first] = b'0' + (value % 10) as u8;
            value /= 10;
            if value == 0 {
                break;
            }
        }
        for &character in prefix.as_bytes().iter().rev() {
            first -= 1;
            text[first] = character;
        }
        // Always ASCII.
        self.text(std::str::from_utf8(&text[first..]).unwrap_or_default());
    }

    fn hexadecimal(&mut self, bits: u64, digits: u32) {
        let digit = |place: u32| char::from(b"0123456789ABCDEF"[(bits >> (4 * place) & 15) as usize]);
        self.out.extend((0..digits).rev().map(digit));
    }

    fn text(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn texts(&mut self, texts: &[&str]) {
        texts.iter().for_each(|text| self.out.push_str(text));
    }

    fn new_label(&mut self) -> u32 {
        self.labels += 1;
        self.labels - 1
    }
}

/// The predicate of loop branches. It is written and read in adjacent lines, so all loops share it.
const LOOP_PREDICATE: &str = "%p0";

/// The suffix of loads and stores of so many neighbours.
const fn vector(count: usize) -> &'static str {
    match count {
        2 => ".v2",
        4 => ".v4",
        _ => "",
    }
}

/// The type that a comparison compares.
const fn compared(class: Class, signed: bool) -> &'static str {
    match (class, signed) {
        (Class::B32, true) => "s32",
        (Class::B32, false) => "u32",
        (Class::B64, true) => "s64",
        (Class::B64, false) => "u64",
        (other, _) => other.declaration(),
    }
}

const fn memory_type(width: Width) -> &'static str {
    match width {
        Width::U8 => "u8",
        Width::S8 => "s8",
        Width::B16 => "b16",
        Width::B32 => "b32",
        Width::B64 => "b64",
        Width::F32 => "f32",
        Width::F64 => "f64",
    }
}

/// The type of a parameter. Parameters cannot have untyped bits.
const fn parameter_type(width: Width) -> &'static str {
    match width {
        Width::U8 => "u8",
        Width::S8 => "s8",
        Width::B16 => "u16",
        Width::B32 => "u32",
        Width::B64 => "u64",
        Width::F32 => "f32",
        Width::F64 => "f64",
    }
}
