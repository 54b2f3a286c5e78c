//! Where a module's variables lie: offsets in its global and constant images, in a kernel's parameters, and in
//! the static shared memory of each kernel.

use std::collections::HashMap;

use crate::decode::align;
use crate::parse::Unit;
use crate::parse::syntax::{Initial, Operand, Space, Statement, Variable};

#[derive(Debug, Default)]
pub(crate) struct Layout {
    pub globals: HashMap<String, u64>,
    pub global_size: u64,
    pub constants: HashMap<String, u64>,
    pub constant_size: u64,
    /// Of each entry function: (offset, size) of its parameters.
    pub parameters: HashMap<usize, Vec<(u32, u32)>>,
}

/// Bytes of a block's shared memory that belong to the device's system. As on sm_90 they come first.
pub(crate) const RESERVED_SHARED: u32 = 1024;

/// The static shared memory of one kernel.
#[derive(Debug, Default)]
pub(crate) struct SharedLayout {
    pub globals: HashMap<String, u32>,
    /// (function, line, name) → offset, of variables declared inside functions.
    pub locals: HashMap<(usize, u32, String), u32>,
    /// Bytes before all variables that belong to the device's system, in kernels that ask where.
    pub reserved: u32,
    /// Where dynamic shared memory starts.
    pub size: u32,
    /// Every function that the kernel can reach, itself first.
    pub functions: Vec<usize>,
}

impl Layout {
    pub fn new(unit: &Unit) -> Layout {
        let mut layout = Layout::default();
        for variable in &unit.variables {
            let (offsets, size) = match variable.space {
                Space::Global => (&mut layout.globals, &mut layout.global_size),
                Space::Constant => (&mut layout.constants, &mut layout.constant_size),
                _ => continue,
            };
            *size = size.next_multiple_of(u64::from(variable.align.max(1)));
            offsets.insert(variable.name.clone(), *size);
            *size = size.saturating_add(variable.size()).min(1 << 40);
        }
        for (index, function) in unit
            .functions
            .iter()
            .enumerate()
            .filter(|(_, function)| function.is_entry)
        {
            let mut end = 0u32;
            let places = function.parameters.iter().map(|parameter| {
                let size = parameter.size().min(1 << 24) as u32;
                let offset = align(end, parameter.align);
                end = offset.saturating_add(size);
                (offset, size)
            });
            layout.parameters.insert(index, places.collect());
        }
        layout
    }

    pub fn shared(&self, unit: &Unit, kernel: usize) -> SharedLayout {
        let reachable = reachable(unit, kernel);
        let asks = |name: &&str| name.starts_with("%reserved_smem_offset");
        let reserved = if reachable.names.iter().any(asks) {
            RESERVED_SHARED
        } else {
            0
        };
        let mut layout = SharedLayout {
            reserved,
            size: reserved,
            ..SharedLayout::default()
        };
        let place = |size: &mut u32, variable: &Variable| {
            let offset = align(*size, variable.align);
            *size = offset.saturating_add(variable.size().min(1 << 30) as u32);
            offset
        };
        let shared = |variable: &&Variable| variable.space == Space::Shared;
        let mut dynamic = Vec::new();
        for variable in unit
            .variables
            .iter()
            .filter(shared)
            .filter(|variable| reachable.names.contains(variable.name.as_str()))
        {
            if variable.elements.is_none() {
                dynamic.push(variable);
            } else {
                let offset = place(&mut layout.size, variable);
                layout.globals.insert(variable.name.clone(), offset);
            }
        }
        for &function in &reachable.functions {
            for statement in unit.functions[function].body.iter().flatten() {
                if let Statement::Variable(variable) = statement
                    && variable.space == Space::Shared
                {
                    let offset = place(&mut layout.size, variable);
                    layout
                        .locals
                        .insert((function, variable.line, variable.name.clone()), offset);
                }
            }
        }
        // All `extern … []` arrays start together, after everything static.
        let alignment = dynamic.iter().map(|variable| variable.align).max().unwrap_or(1);
        if !dynamic.is_empty() {
            layout.size = align(layout.size, alignment);
        }
        layout
            .globals
            .extend(dynamic.iter().map(|variable| (variable.name.clone(), layout.size)));
        layout.functions = reachable.functions;
        layout
    }
}

struct Reachable<'u> {
    functions: Vec<usize>,
    /// Every name that a reachable function mentions.
    names: std::collections::HashSet<&'u str>,
}

fn reachable(unit: &Unit, kernel: usize) -> Reachable<'_> {
    let by_name: HashMap<&str, usize> = unit
        .functions
        .iter()
        .enumerate()
        .map(|(index, function)| (function.name.as_str(), index))
        .collect();
    let mut found = Reachable {
        functions: vec![kernel],
        names: Default::default(),
    };
    let mut next = 0;
    while next < found.functions.len() {
        let mut names = Vec::new();
        for statement in unit.functions[found.functions[next]].body.iter().flatten() {
            if let Statement::Instruction(instruction) = statement {
                instruction
                    .operands
                    .iter()
                    .for_each(|operand| mentioned(operand, &mut names));
            }
        }
        // A variable's initial values may name functions, in tables of pointers.
        let tables = unit
            .variables
            .iter()
            .filter(|variable| names.contains(&variable.name.as_str()));
        let pointers = tables
            .flat_map(|variable| &variable.initial)
            .filter_map(|value| match value {
                Initial::Address { symbol, .. } => Some(symbol.as_str()),
                _ => None,
            });
        let pointers: Vec<&str> = pointers.collect();
        for name in names.into_iter().chain(pointers) {
            if let Some(&function) = by_name.get(name)
                && !found.functions.contains(&function)
            {
                found.functions.push(function);
            }
            found.names.insert(name);
        }
        next += 1;
    }
    found
}

fn mentioned<'u>(operand: &'u Operand, names: &mut Vec<&'u str>) {
    match operand {
        Operand::Name(name) | Operand::Offset(name, _) | Operand::Address { base: Some(name), .. } => names.push(name),
        Operand::Vector(operands) | Operand::List(operands) => {
            operands.iter().for_each(|operand| mentioned(operand, names))
        }
        Operand::Pair(first, second) => [first, second]
            .into_iter()
            .for_each(|operand| mentioned(operand, names)),
        _ => {}
    }
}
