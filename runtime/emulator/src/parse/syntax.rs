//! The syntax of PTX, before names are resolved.

use std::fmt;

/// An operand or variable type of PTX.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Type {
    U8,
    U16,
    U32,
    U64,
    S8,
    S16,
    S32,
    S64,
    B8,
    B16,
    B32,
    B64,
    B128,
    U16x2,
    S16x2,
    F16,
    F16x2,
    Bf16,
    Bf16x2,
    Tf32,
    E4m3x2,
    E5m2x2,
    F32,
    F64,
    Pred,
}

impl Type {
    /// The type that a modifier names, without its dot.
    pub fn from_name(name: &str) -> Option<Type> {
        Some(match name {
            "u8" => Type::U8,
            "u16" => Type::U16,
            "u32" => Type::U32,
            "u64" => Type::U64,
            "s8" => Type::S8,
            "s16" => Type::S16,
            "s32" => Type::S32,
            "s64" => Type::S64,
            "b8" => Type::B8,
            "b16" => Type::B16,
            "b32" => Type::B32,
            "b64" => Type::B64,
            "b128" => Type::B128,
            "u16x2" => Type::U16x2,
            "s16x2" => Type::S16x2,
            "f16" => Type::F16,
            "f16x2" => Type::F16x2,
            "bf16" => Type::Bf16,
            "bf16x2" => Type::Bf16x2,
            "tf32" => Type::Tf32,
            "e4m3x2" => Type::E4m3x2,
            "e5m2x2" => Type::E5m2x2,
            "f32" => Type::F32,
            "f64" => Type::F64,
            "pred" => Type::Pred,
            _ => return None,
        })
    }

    /// The size of a value in memory, in bytes.
    pub fn size(self) -> u32 {
        match self {
            Type::U8 | Type::S8 | Type::B8 | Type::Pred => 1,
            Type::U16 | Type::S16 | Type::B16 | Type::F16 | Type::Bf16 | Type::E4m3x2 | Type::E5m2x2 => 2,
            Type::U32 | Type::S32 | Type::B32 | Type::F32 | Type::Tf32 => 4,
            Type::U16x2 | Type::S16x2 | Type::F16x2 | Type::Bf16x2 => 4,
            Type::U64 | Type::S64 | Type::B64 | Type::F64 => 8,
            Type::B128 => 16,
        }
    }

    /// `true` for signed integers.
    pub fn is_signed(self) -> bool {
        matches!(self, Type::S8 | Type::S16 | Type::S32 | Type::S64)
    }

    /// `true` for integers and untyped bits.
    pub fn is_integer(self) -> bool {
        !matches!(
            self,
            Type::F16
                | Type::F16x2
                | Type::Bf16
                | Type::Bf16x2
                | Type::Tf32
                | Type::E4m3x2
                | Type::E5m2x2
                | Type::F32
                | Type::F64
                | Type::Pred
        )
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = format!("{self:?}").to_ascii_lowercase();
        write!(f, ".{name}")
    }
}

/// A state space, in which a variable lives or to which an address points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Space {
    Global,
    Shared,
    Local,
    Constant,
    Parameter,
    Generic,
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Space::Global => "global",
            Space::Shared => "shared",
            Space::Local => "local",
            Space::Constant => "const",
            Space::Parameter => "param",
            Space::Generic => "generic",
        })
    }
}

/// A parsed module.
#[derive(Debug, Default)]
pub(crate) struct Unit {
    pub version: (u32, u32),
    pub target: String,
    pub variables: Vec<Variable>,
    pub functions: Vec<Function>,
}

/// One value of a variable's initialiser.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Initial {
    Integer(u64),
    /// The bits of a `0f…` literal.
    Single(u32),
    Double(f64),
    /// `mask(symbol + offset)`: the masked bits of an address, shifted down to the mask's lowest bit.
    Address {
        symbol: String,
        offset: i64,
        generic: bool,
        mask: u64,
    },
}

#[derive(Debug, Clone)]
pub(crate) struct Variable {
    pub space: Space,
    pub align: u32,
    pub ty: Type,
    pub name: String,
    /// The number of elements, counting vector components; `None` for `extern … []`.
    pub elements: Option<u64>,
    pub initial: Vec<Initial>,
    pub is_pointer: bool,
    /// `true` for a parameter that is a register.
    pub is_register: bool,
    pub is_extern: bool,
    pub line: u32,
}

impl Variable {
    pub fn size(&self) -> u64 {
        self.elements.unwrap_or(0).saturating_mul(u64::from(self.ty.size()))
    }
}

/// A kernel (`.entry`) or a device function (`.func`), declared or defined.
#[derive(Debug, Clone)]
pub(crate) struct Function {
    pub name: String,
    pub is_entry: bool,
    pub results: Vec<Variable>,
    pub parameters: Vec<Variable>,
    pub body: Option<Vec<Statement>>,
    pub max_threads: Option<[u32; 3]>,
    pub required_threads: Option<[u32; 3]>,
    pub cluster: Option<[u32; 3]>,
    pub line: u32,
}

/// The types of a function's results and parameters.
#[derive(Debug, Clone, Default)]
pub(crate) struct Prototype {
    pub results: Vec<Type>,
    pub parameters: Vec<Type>,
}

impl Function {
    pub fn prototype(&self) -> Prototype {
        Prototype::new(&self.results, &self.parameters)
    }
}

impl Prototype {
    pub fn new(results: &[Variable], parameters: &[Variable]) -> Prototype {
        let types = |variables: &[Variable]| variables.iter().map(|variable| variable.ty).collect();
        Prototype {
            results: types(results),
            parameters: types(parameters),
        }
    }
}

/// A statement of a function's body.
#[derive(Debug, Clone)]
pub(crate) enum Statement {
    /// `{`, which opens a scope.
    Open,
    /// `}`
    Close,
    Label(String, u32),
    /// `.reg .ty name` or, with a count, `.reg .ty name<count>`.
    Register {
        ty: Type,
        /// The components of a vector register; 1 if it is none.
        lanes: u32,
        name: String,
        count: Option<u32>,
        line: u32,
    },
    Variable(Variable),
    /// `label: .branchtargets a, b;` or `.calltargets`.
    Targets {
        label: String,
        targets: Vec<String>,
    },
    /// `label: .callprototype …;`
    Prototype(String, Prototype),
    Instruction(Instruction),
}

/// An instruction: `@guard name.modifier… operand, …;`.
#[derive(Debug, Clone)]
pub(crate) struct Instruction {
    /// The guard predicate, and `true` if it is negated.
    pub guard: Option<(String, bool)>,
    pub name: String,
    pub modifiers: Vec<String>,
    pub operands: Vec<Operand>,
    pub line: u32,
    /// The byte range in the module's text.
    pub span: (usize, usize),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operand {
    /// A register, variable, label or function.
    Name(String),
    /// `!p`
    Not(String),
    /// `name + offset` outside brackets.
    Offset(String, i64),
    Integer(u64),
    Float32(u32),
    Float64(u64),
    /// `[base + offset]`, `[offset]`.
    Address {
        base: Option<String>,
        offset: i64,
    },
    Vector(Vec<Operand>),
    /// `d|p`
    Pair(Box<Operand>, Box<Operand>),
    /// `(a, b)` of a call.
    List(Vec<Operand>),
    /// `_`
    Sink,
}
