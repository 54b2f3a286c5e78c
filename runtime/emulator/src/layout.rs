//! The layout of a module's variables: their offsets in its global and constant images, in a kernel's parameters, and
//! in the static shared memory of each kernel.

use std::collections::HashMap;

use crate::parse::ParseError;
use crate::parse::syntax::{Initial, Operand, Space, Statement, Type, Unit, Variable};

#[derive(Debug, Default)]
pub(crate) struct Layout {
    pub globals: HashMap<String, u64>,
    pub global_size: u64,
    pub constants: HashMap<String, u64>,
    pub constant_size: u64,
    /// (function, statement) → offset, for global and constant variables that functions declare.
    pub locals: HashMap<(usize, usize), u64>,
    /// For each kernel, the (offset, size) of its parameters in bytes.
    pub parameters: HashMap<usize, Vec<(u32, u32)>>,
    /// The initial contents of global and constant variables.
    pub images: Vec<Image>,
}

/// The initial values of a variable. Bytes without one are zero.
#[derive(Debug)]
pub(crate) struct Image {
    pub space: Space,
    pub at: u64,
    pub size: u64,
    pub ty: Type,
    pub values: Vec<Value>,
}

/// An initial value whose names are resolved.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value {
    Bits(u64),
    /// The masked bits of an address, shifted down to the mask's lowest bit.
    Address {
        base: Base,
        offset: i64,
        generic: bool,
        mask: u64,
    },
}

/// The start of an address in an initial value.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Base {
    Global(u64),
    Constant(u64),
    Function(usize),
}

/// Bytes that the constant variables of a module can have.
const MOST_CONSTANTS: u64 = 64 << 10;

/// Bytes of a block's shared memory that CUDA reserves for itself. They come first, as on sm_90.
pub(crate) const RESERVED_SHARED: u32 = 1024;

/// The static shared memory of one kernel.
#[derive(Debug, Default)]
pub(crate) struct SharedLayout {
    pub globals: HashMap<String, u32>,
    /// (function, statement) → offset, for variables that functions declare.
    pub locals: HashMap<(usize, usize), u32>,
    /// Bytes ahead of all variables that CUDA reserves. 0 in kernels that do not ask for their offset.
    pub reserved: u32,
    /// The offset at which dynamic shared memory starts, in bytes.
    pub size: u32,
    /// Every function that the kernel can reach, the kernel first.
    pub functions: Vec<usize>,
}

impl Layout {
    /// # Errors
    ///
    /// A variable does not fit, or has an initial value of the wrong kind.
    pub fn new(unit: &Unit) -> Result<Layout, ParseError> {
        let mut layout = Layout::default();
        for variable in &unit.variables {
            if let Some(base) = layout.reserve(variable)? {
                let (offsets, at) = match base {
                    Base::Constant(at) => (&mut layout.constants, at),
                    Base::Global(at) => (&mut layout.globals, at),
                    Base::Function(_) => continue,
                };
                offsets.insert(variable.name.clone(), at);
            }
        }
        // Initial values may be addresses of variables that are declared later.
        for variable in &unit.variables {
            if let Some(base) = layout.variable(&variable.name) {
                let image = layout.image(unit, variable, base, &[])?;
                layout.images.push(image);
            }
        }
        for function in 0..unit.functions.len() {
            layout.reserve_locals(unit, function)?;
        }
        for (index, function) in unit
            .functions
            .iter()
            .enumerate()
            .filter(|(_, function)| function.is_entry)
        {
            let mut end = 0u32;
            let ranges = function.parameters.iter().map(|parameter| {
                let size = parameter.size().min(1 << 24) as u32;
                let offset = align(end, parameter.align);
                end = offset.saturating_add(size);
                (offset, size)
            });
            layout.parameters.insert(index, ranges.collect());
        }
        Ok(layout)
    }

    /// Reserves room for a variable, if it lies in global or constant memory.
    fn reserve(&mut self, variable: &Variable) -> Result<Option<Base>, ParseError> {
        let size = match variable.space {
            Space::Global => &mut self.global_size,
            Space::Constant => &mut self.constant_size,
            _ => return Ok(None),
        };
        let at = size.next_multiple_of(u64::from(variable.align.max(1)));
        *size = at.saturating_add(variable.size()).min(1 << 40);
        if self.constant_size > MOST_CONSTANTS {
            let message = format!(
                "`{}` brings the constant variables to {} bytes: at most {MOST_CONSTANTS} are possible",
                variable.name, self.constant_size
            );
            return Err(ParseError::new(variable.line, message));
        }
        Ok(Some(match variable.space {
            Space::Constant => Base::Constant(at),
            _ => Base::Global(at),
        }))
    }

    /// The module's variable of that name.
    fn variable(&self, name: &str) -> Option<Base> {
        let constant = || self.constants.get(name).map(|at| Base::Constant(*at));
        self.globals.get(name).map(|at| Base::Global(*at)).or_else(constant)
    }

    /// Reserves room for the global and constant variables that a function declares.
    fn reserve_locals(&mut self, unit: &Unit, function: usize) -> Result<(), ParseError> {
        let mut scopes = vec![HashMap::new()];
        for (index, statement) in unit.functions[function].body.iter().flatten().enumerate() {
            match statement {
                Statement::Open => scopes.push(HashMap::new()),
                Statement::Close => {
                    scopes.pop();
                }
                Statement::Variable(variable) => {
                    let Some(base) = self.reserve(variable)? else { continue };
                    let image = self.image(unit, variable, base, &scopes)?;
                    self.locals.insert((function, index), image.at);
                    self.images.push(image);
                    if let Some(scope) = scopes.last_mut() {
                        scope.insert(variable.name.as_str(), base);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn image(
        &self,
        unit: &Unit,
        variable: &Variable,
        base: Base,
        scopes: &[HashMap<&str, Base>],
    ) -> Result<Image, ParseError> {
        let named = |name: &str| {
            let inner = scopes.iter().rev().find_map(|scope| scope.get(name).copied());
            let function = || unit.functions.iter().position(|function| function.name == name);
            inner
                .or_else(|| self.variable(name))
                .or_else(|| function().map(Base::Function))
        };
        let mut values = Vec::new();
        for initial in &variable.initial {
            let value = initial_value(initial, variable.ty, named);
            let wrong = |message| ParseError::new(variable.line, format!("`{}` starts with {message}", variable.name));
            values.push(value.map_err(wrong)?);
        }
        let (Base::Global(at) | Base::Constant(at)) = base else {
            return Err(ParseError::new(variable.line, "a variable that is a function"));
        };
        Ok(Image {
            space: variable.space,
            at,
            size: variable.size(),
            ty: variable.ty,
            values,
        })
    }

    /// Lays out the static shared memory of a kernel: the variables of every function that it can reach.
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
        let reserve = |size: &mut u32, variable: &Variable| {
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
                let offset = reserve(&mut layout.size, variable);
                layout.globals.insert(variable.name.clone(), offset);
            }
        }
        for &function in &reachable.functions {
            for (index, statement) in unit.functions[function].body.iter().flatten().enumerate() {
                if let Statement::Variable(variable) = statement
                    && variable.space == Space::Shared
                {
                    let offset = reserve(&mut layout.size, variable);
                    layout.locals.insert((function, index), offset);
                }
            }
        }
        // All `extern … []` arrays start together, behind everything static.
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

/// Resolves an initial value of a type. The error describes the value.
fn initial_value(initial: &Initial, ty: Type, named: impl Fn(&str) -> Option<Base>) -> Result<Value, String> {
    Ok(match (initial, ty) {
        (Initial::Integer(bits), _) if ty.is_integer() && ty != Type::B128 => Value::Bits(*bits),
        (Initial::Single(bits), Type::F32 | Type::B32 | Type::B64) => Value::Bits((*bits).into()),
        (Initial::Double(value), Type::F32 | Type::B32) => Value::Bits((*value as f32).to_bits().into()),
        (Initial::Double(value), Type::F64 | Type::B64) => Value::Bits(value.to_bits()),
        (Initial::Address { mask: u64::MAX, .. }, _) if ty.size() != 8 => {
            return Err(format!("an address, which does not fit {ty}"));
        }
        (
            Initial::Address {
                symbol,
                offset,
                generic,
                mask,
            },
            _,
        ) => match named(symbol) {
            Some(base) => Value::Address {
                base,
                offset: *offset,
                generic: *generic,
                mask: *mask,
            },
            None => {
                return Err(format!(
                    "`{symbol}`, which is neither a global or constant variable nor a function"
                ));
            }
        },
        (Initial::Integer(_), _) => return Err(format!("an integer, which {ty} does not take")),
        (Initial::Single(_) | Initial::Double(_), _) => return Err(format!("a float, which {ty} does not take")),
    })
}

struct Reachable<'u> {
    functions: Vec<usize>,
    /// Every name that a reachable function mentions.
    names: std::collections::HashSet<&'u str>,
}

fn reachable(unit: &Unit, kernel: usize) -> Reachable<'_> {
    let functions: HashMap<&str, usize> = unit
        .functions
        .iter()
        .enumerate()
        .map(|(index, function)| (function.name.as_str(), index))
        .collect();
    let variables: HashMap<&str, &Variable> = unit
        .variables
        .iter()
        .map(|variable| (variable.name.as_str(), variable))
        .collect();
    // A table of pointers names functions in its initial values.
    fn pointers(variable: &Variable) -> impl Iterator<Item = &str> {
        variable.initial.iter().filter_map(|value| match value {
            Initial::Address { symbol, .. } => Some(symbol.as_str()),
            _ => None,
        })
    }
    let mut found = Reachable {
        functions: vec![kernel],
        names: Default::default(),
    };
    let mut next = 0;
    while next < found.functions.len() {
        let mut names = Vec::new();
        for statement in unit.functions[found.functions[next]].body.iter().flatten() {
            match statement {
                Statement::Instruction(instruction) => instruction
                    .operands
                    .iter()
                    .for_each(|operand| mentioned(operand, &mut names)),
                Statement::Variable(variable) => names.extend(pointers(variable)),
                _ => {}
            }
        }
        while let Some(name) = names.pop() {
            if !found.names.insert(name) {
                continue;
            }
            if let Some(&function) = functions.get(name)
                && !found.functions.contains(&function)
            {
                found.functions.push(function);
            }
            names.extend(variables.get(name).into_iter().flat_map(|variable| pointers(variable)));
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

/// The next multiple of an alignment, saturating.
pub(crate) fn align(offset: u32, alignment: u32) -> u32 {
    let alignment = alignment.max(1);
    offset.checked_next_multiple_of(alignment).unwrap_or(u32::MAX - 4096)
}
