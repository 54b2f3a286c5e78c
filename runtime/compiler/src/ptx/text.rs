//! The text of a kernel.

use super::{Action, Address, Cache, Class, Instruction, Item, Loop, Opcode, Operand, Reg, Space, Width};
use crate::target::Target;
use std::fmt::{self, Write};

/// A finished kernel body with what its declaration says.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The entry's name.
    pub name: String,
    /// One a parameter: its PTX type (`u64`, `f32`, …).
    pub parameters: Vec<Width>,
    /// Threads a block.
    pub threads: u32,
    /// Blocks that should fit on a multiprocessor, where that is worth telling the assembler.
    pub minimum_blocks: Option<u32>,
    /// Whether dynamic shared memory is used.
    pub shared: bool,
    /// Registers of each class, in the order of [`Class::ALL`].
    pub registers: [u32; 6],
    /// The body.
    pub body: Vec<Item>,
}

impl Entry {
    /// The whole module.
    pub fn module(&self, target: Target) -> String {
        let mut printer = Printer {
            out: String::with_capacity(16 * 1024),
            labels: 0,
        };
        // Writing to a `String` cannot fail.
        let _ = printer.entry(self, target);
        printer.out
    }
}

struct Printer {
    out: String,
    labels: u32,
}

impl Printer {
    fn entry(&mut self, entry: &Entry, target: Target) -> fmt::Result {
        let version = match target {
            Target::Sm80 => "7.0",
            Target::Sm86 => "7.1",
            Target::Sm89 | Target::Sm90 => "7.8",
        };
        writeln!(self.out, ".version {version}")?;
        writeln!(self.out, ".target sm_{}", target.number())?;
        writeln!(self.out, ".address_size 64")?;
        if entry.shared {
            writeln!(self.out, ".extern .shared .align 16 .b8 shared[];")?;
        }
        write!(self.out, ".visible .entry {}(", entry.name)?;
        for (number, width) in entry.parameters.iter().enumerate() {
            let separator = if number == 0 { "" } else { "," };
            let ty = parameter_type(*width);
            write!(self.out, "{separator}\n    .param .{ty} {}_{number}", entry.name)?;
        }
        writeln!(self.out, "\n)\n.maxntid {}, 1, 1", entry.threads)?;
        if let Some(blocks) = entry.minimum_blocks {
            writeln!(self.out, ".minnctapersm {blocks}")?;
        }
        writeln!(self.out, "{{")?;
        for (class, &count) in Class::ALL.iter().zip(&entry.registers) {
            if count > 0 {
                writeln!(
                    self.out,
                    "    .reg .{} {}<{count}>;",
                    class.declaration(),
                    class.prefix()
                )?;
            }
        }
        self.items(&entry.name, &entry.body)?;
        writeln!(self.out, "    ret;\n}}")
    }

    fn items(&mut self, entry: &str, items: &[Item]) -> fmt::Result {
        for item in items {
            match item {
                Item::Instruction(instruction) => self.instruction(entry, instruction)?,
                Item::Loop(each) => self.counted(entry, each)?,
                Item::If(guard, body) => {
                    let end = self.label();
                    let skip = if guard.holds { "!" } else { "" };
                    writeln!(self.out, "    @{skip}{} bra $L{end};", name(guard.predicate))?;
                    self.items(entry, body)?;
                    writeln!(self.out, "$L{end}:")?;
                }
            }
        }
        Ok(())
    }

    fn counted(&mut self, entry: &str, each: &Loop) -> fmt::Result {
        let (top, end) = (self.label(), self.label());
        let counter = name(each.counter);
        let bits = if each.counter.class == Class::B64 { 64 } else { 32 };
        let predicate = LOOP_PREDICATE;
        writeln!(self.out, "    mov.b{bits} {counter}, {};", operand(each.turns.start))?;
        if !each.turns.entered {
            writeln!(
                self.out,
                "    setp.ge.s{bits} {predicate}, {counter}, {};",
                operand(each.turns.end)
            )?;
            writeln!(self.out, "    @{predicate} bra $L{end};")?;
        }
        writeln!(self.out, "$L{top}:")?;
        if each.turns.rolled {
            writeln!(self.out, "    .pragma \"nounroll\";")?;
        }
        self.items(entry, &each.body)?;
        writeln!(
            self.out,
            "    add.s{bits} {counter}, {counter}, {};",
            operand(each.turns.step)
        )?;
        writeln!(
            self.out,
            "    setp.lt.s{bits} {predicate}, {counter}, {};",
            operand(each.turns.end)
        )?;
        writeln!(self.out, "    @{predicate} bra $L{top};")?;
        writeln!(self.out, "$L{end}:")
    }

    fn instruction(&mut self, entry: &str, instruction: &Instruction) -> fmt::Result {
        if let (Action::Load(..), Some(_)) = (instruction.action, instruction.guard) {
            for &result in &instruction.results {
                let zero = match result.class {
                    Class::F32 => "0f00000000",
                    Class::F64 => "0d0000000000000000",
                    _ => "0",
                };
                writeln!(
                    self.out,
                    "    mov.{} {}, {zero};",
                    result.class.declaration(),
                    name(result)
                )?;
            }
        }
        write!(self.out, "    ")?;
        if let Some(guard) = instruction.guard {
            let not = if guard.holds { "" } else { "!" };
            write!(self.out, "@{not}{} ", name(guard.predicate))?;
        }
        match instruction.action {
            Action::Table(opcode) => self.table(opcode, instruction)?,
            Action::Compare(compare, class, signed) => {
                let ty = match (class, signed) {
                    (Class::B32, true) => "s32",
                    (Class::B32, false) => "u32",
                    (Class::B64, true) => "s64",
                    (Class::B64, false) => "u64",
                    (other, _) => other.declaration(),
                };
                write!(self.out, "setp.{}.{ty} ", compare.text())?;
                self.operands(instruction, false)?;
            }
            Action::Load(space, width, address, cache) => {
                let space = match (space, cache) {
                    (Space::Constant, Cache::Normal) => "global.nc",
                    (Space::Constant, Cache::Streaming) => "global.cs.nc",
                    (Space::Global, Cache::Normal) => "global",
                    (Space::Global, Cache::Streaming) => "global.cs",
                    (Space::Shared, _) => "shared",
                };
                let (vector, list) = vector(instruction.results.iter().map(|&r| name(r)));
                write!(
                    self.out,
                    "ld.{space}{vector}.{} {list}, [{}]",
                    memory_type(width),
                    address_text(address)
                )?;
            }
            Action::Store(space, width, address, cache) => {
                let space = if space == Space::Shared { "shared" } else { "global" };
                let hint = match cache {
                    Cache::Normal => "",
                    Cache::Streaming => ".cs",
                };
                let (vector, list) = vector(instruction.sources.iter().map(|&s| operand(s)));
                write!(
                    self.out,
                    "st.{space}{hint}{vector}.{} [{}], {list}",
                    memory_type(width),
                    address_text(address)
                )?;
            }
            Action::Parameter(number, width) => {
                write!(self.out, "ld.param.{} ", parameter_type(width))?;
                self.operands(instruction, false)?;
                write!(self.out, ", [{entry}_{number}]")?;
            }
        }
        writeln!(self.out, ";")
    }

    fn table(&mut self, opcode: Opcode, instruction: &Instruction) -> fmt::Result {
        let mut parts = opcode.row().text.split('|');
        let mnemonic = parts.next().unwrap_or_default();
        write!(self.out, "{mnemonic} ")?;
        let packs = matches!(
            opcode,
            Opcode::F64Halves
                | Opcode::HalvesF64
                | Opcode::HalvesB64
                | Opcode::B64Halves
                | Opcode::HalvesB32
                | Opcode::B32Halves
        );
        self.operands(instruction, packs)?;
        let none = instruction.results.is_empty() && instruction.sources.is_empty();
        for fixed in parts.filter(|part| !part.is_empty()) {
            let separator = if none { "" } else { ", " };
            write!(self.out, "{separator}{fixed}")?;
        }
        Ok(())
    }

    /// Results, then sources; `braces` around whichever there are two of.
    fn operands(&mut self, instruction: &Instruction, braces: bool) -> fmt::Result {
        let results: Vec<String> = instruction.results.iter().map(|&r| name(r)).collect();
        let sources: Vec<String> = instruction.sources.iter().map(|&s| operand(s)).collect();
        let mut first = true;
        for list in [results, sources] {
            if list.is_empty() {
                continue;
            }
            if !first {
                write!(self.out, ", ")?;
            }
            first = false;
            let joined = list.join(", ");
            if braces && list.len() == 2 {
                write!(self.out, "{{{joined}}}")?;
            } else {
                write!(self.out, "{joined}")?;
            }
        }
        Ok(())
    }

    fn label(&mut self) -> u32 {
        self.labels += 1;
        self.labels - 1
    }
}

/// The predicate of loop branches: written and read in adjacent lines only, so one serves all.
const LOOP_PREDICATE: &str = "%p0";

fn name(reg: Reg) -> String {
    format!("{}{}", reg.class.prefix(), reg.number)
}

fn operand(operand: Operand) -> String {
    match operand {
        Operand::Reg(reg) => name(reg),
        Operand::Int(value) => value.to_string(),
        Operand::F32(bits) => format!("0f{bits:08X}"),
        Operand::F64(bits) => format!("0d{bits:016X}"),
    }
}

fn address_text(address: Address) -> String {
    match address.offset {
        0 => name(address.base),
        offset => format!("{}+{offset}", name(address.base)),
    }
}

fn vector(list: impl ExactSizeIterator<Item = String>) -> (&'static str, String) {
    let vector = match list.len() {
        2 => ".v2",
        4 => ".v4",
        _ => "",
    };
    let joined = list.collect::<Vec<_>>().join(", ");
    match vector {
        "" => (vector, joined),
        _ => (vector, format!("{{{joined}}}")),
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

/// Parameters have fundamental types, not bits.
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
