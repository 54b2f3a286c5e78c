//! Random operators for the tests of this and other crates. Not for users.
//!
//! A program is generated from a list of bytes, one for each choice. After the list ends, every choice is the simplest.
//! So shorter lists give simpler programs, and proptest shrinks them without further help.

use crate::check::Checked;
use crate::element::{Element, Numbers, Type};
use crate::reference::{Number, stored};
use crate::size::Sizes;
use proptest::prelude::{Strategy, any};

/// The source of a well-typed operator, with valid sizes.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    /// The function.
    pub source: String,
    /// Values of its free sizes.
    pub sizes: Sizes,
}

/// Returns a strategy for well-typed programs with every construct of the language.
pub fn programs() -> impl Strategy<Value = Program> {
    proptest::collection::vec(any::<u8>(), 0..220).prop_map(|choices| Program::from_choices(&choices))
}

/// Returns the shape and bytes of each parameter, as a function of the seed. Floats are within ±2. Integers are small, and some
/// are negative, so that some gathers leave their tensors.
pub fn inputs(checked: &Checked, sizes: &[u64], seed: u64) -> Vec<(Vec<u64>, Vec<u8>)> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let parameters = checked.op().inputs.iter().map(|input| {
        let dims = input.dims.as_deref().unwrap_or(&[]);
        let shape: Vec<u64> = dims.iter().map(|size| sizes[size.index()]).collect();
        let mut bytes = Vec::new();
        for _ in 0..shape.iter().product() {
            let random = next();
            let float = (random >> 11) as f64 / (1u64 << 51) as f64 - 2.0;
            let integer = (random >> 40) as i64 % 12 - 3;
            let number = match input.element.numbers() {
                Numbers::Float(_) => Number::Float(float),
                Numbers::Integer(format) if format.signed => Number::Integer(integer),
                Numbers::Integer(_) => Number::Integer(integer.abs()),
                Numbers::Truth => Number::Bool(random >> 40 & 1 == 1),
            };
            bytes.extend(stored(input.element, number));
        }
        (shape, bytes)
    });
    parameters.collect()
}

/// The kinds of expressions that the typing rules distinguish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    Int,
    Float,
}

impl Kind {
    fn of(element: Element) -> Kind {
        match element.compute() {
            Type::Bool => Kind::Bool,
            Type::I32 | Type::I64 => Kind::Int,
            Type::F32 | Type::F64 => Kind::Float,
        }
    }
}

#[derive(Debug, Clone)]
struct Tensor {
    name: String,
    kind: Kind,
    /// Positions in the generator's sizes.
    dims: Vec<usize>,
}

/// A name of a value with its kind, or an axis with its size.
#[derive(Debug, Clone)]
enum Local {
    Axis(String, usize),
    Value(String, Kind),
}

struct Generator<'a> {
    choices: std::slice::Iter<'a, u8>,
    sizes: Vec<(String, u64)>,
    tensors: Vec<Tensor>,
    scalars: Vec<(String, Kind)>,
    locals: Vec<Local>,
    names: u32,
    /// The number of enclosing reductions. It is limited, so that programs stay small.
    reductions: u32,
}

impl Program {
    /// Generates the program of these choices.
    pub fn from_choices(choices: &[u8]) -> Program {
        let mut generator = Generator {
            choices: choices.iter(),
            sizes: Vec::new(),
            tensors: Vec::new(),
            scalars: Vec::new(),
            locals: Vec::new(),
            names: 0,
            reductions: 0,
        };
        let source = generator.function();
        Program {
            source,
            sizes: generator.sizes.into_iter().collect(),
        }
    }
}

impl Generator<'_> {
    /// Chooses a number below `count`; 0 after the choices end.
    fn below(&mut self, count: usize) -> usize {
        self.choices
            .next()
            .map_or(0, |&choice| usize::from(choice) % count.max(1))
    }

    fn name(&mut self, prefix: &str) -> String {
        self.names += 1;
        format!("{prefix}{}", self.names)
    }

    // ------------------------------------------------------------------ the function

    fn function(&mut self) -> String {
        let count = 1 + self.below(3);
        for name in ["A", "B", "C"].into_iter().take(count) {
            let value = [3, 4, 1, 7, 2, 5, 0, 8][self.below(8)];
            self.sizes.push((name.to_owned(), value));
        }
        let mut parameters = Vec::new();
        // The first tensor has every size, so that the shapes of a call determine all of them.
        let all: Vec<usize> = (0..count).collect();
        let element = Element::ALL[self.below(Element::ALL.len())];
        parameters.push(self.parameter("x", element, all));
        for name in ["y", "z"].into_iter().take(self.below(3)) {
            let element = Element::ALL[self.below(Element::ALL.len())];
            let dims = self.dims();
            parameters.push(self.parameter(name, element, dims));
        }
        for name in ["s", "t"].into_iter().take(self.below(3)) {
            let element = Element::ALL[self.below(Element::ALL.len())];
            self.scalars.push((name.to_owned(), Kind::of(element)));
            parameters.push(format!("{name}: {element}"));
        }
        let mut lets = String::new();
        for _ in 0..self.below(3) {
            let dims = self.dims();
            let kind = [Kind::Float, Kind::Int, Kind::Bool][self.below(3)];
            let (axes, body) = self.closure(&dims, kind, true);
            let name = self.name("u");
            lets += &format!("    let {name} = |{axes}| {body};\n");
            self.tensors.push(Tensor { name, kind, dims });
        }
        let mut types = Vec::new();
        let mut bodies = Vec::new();
        for _ in 0..1 + self.below(2) {
            let element = Element::ALL[self.below(Element::ALL.len())];
            let dims = self.dims();
            let kind = match Kind::of(element) {
                Kind::Float if self.below(4) == 1 => Kind::Int,
                kind => kind,
            };
            let (axes, body) = self.closure(&dims, kind, false);
            types.push(format!("Tensor<{element}, {}>", self.tuple(&dims)));
            bodies.push(format!("|{axes}| {body}"));
        }
        let (result, body) = match &types[..] {
            [single] => (single.clone(), bodies[0].clone()),
            several => (format!("({})", several.join(", ")), format!("({})", bodies.join(", "))),
        };
        format!(
            "fn program({}) -> {result} {{\n{lets}    {body}\n}}",
            parameters.join(", ")
        )
    }

    fn parameter(&mut self, name: &str, element: Element, dims: Vec<usize>) -> String {
        let text = format!("{name}: Tensor<{element}, {}>", self.tuple(&dims));
        self.tensors.push(Tensor {
            name: name.to_owned(),
            kind: Kind::of(element),
            dims,
        });
        text
    }

    fn dims(&mut self) -> Vec<usize> {
        let rank = [1, 2, 0, 3][self.below(4)];
        (0..rank).map(|_| self.below(self.sizes.len())).collect()
    }

    fn tuple(&self, dims: &[usize]) -> String {
        let names: String = dims.iter().map(|&dim| format!("{}, ", self.sizes[dim].0)).collect();
        format!(
            "({})",
            if dims.len() == 1 {
                names.trim_end()
            } else {
                names.trim_end_matches(", ")
            }
        )
    }

    /// Axes and body.
    fn closure(&mut self, dims: &[usize], kind: Kind, annotated: bool) -> (String, String) {
        let mark = self.locals.len();
        let mut axes = Vec::new();
        for &dim in dims {
            let name = self.name("i");
            let size = &self.sizes[dim].0;
            axes.push(if annotated {
                format!("{name}: {size}")
            } else {
                name.clone()
            });
            self.locals.push(Local::Axis(name, dim));
        }
        let body = self.expr(kind, 4);
        self.locals.truncate(mark);
        (axes.join(", "), body)
    }

    // ------------------------------------------------------------------ expressions

    fn expr(&mut self, kind: Kind, depth: u32) -> String {
        if depth == 0 || self.choices.len() == 0 {
            return self.leaf(kind);
        }
        let depth = depth - 1;
        // Constructs of every kind.
        match self.below(10) {
            0 => return self.leaf(kind),
            1 => {
                let condition = self.expr(Kind::Bool, depth);
                let (accept, reject) = (self.expr(kind, depth), self.expr(kind, depth));
                return format!("if {condition} {{ {accept} }} else {{ {reject} }}");
            }
            2 => {
                let value = self.expr(kind, depth);
                let name = self.name("v");
                self.locals.push(Local::Value(name.clone(), kind));
                let rest = self.expr(kind, depth);
                self.locals.pop();
                return format!("{{ let {name} = {value}; {rest} }}");
            }
            3 => return self.guarded(kind, depth),
            _ => {}
        }
        match kind {
            Kind::Bool => self.truth(depth),
            Kind::Int => self.integer(depth),
            Kind::Float => self.float(depth),
        }
    }

    fn truth(&mut self, depth: u32) -> String {
        match self.below(4) {
            0 | 1 => {
                let kind = [Kind::Int, Kind::Float][self.below(2)];
                let symbol = ["<", "<=", ">", ">=", "==", "!="][self.below(6)];
                format!("({}) {symbol} ({})", self.expr(kind, depth), self.expr(kind, depth))
            }
            2 => {
                let symbol = ["&&", "||", "==", "!="][self.below(4)];
                format!(
                    "(({}) {symbol} ({}))",
                    self.expr(Kind::Bool, depth),
                    self.expr(Kind::Bool, depth)
                )
            }
            _ => format!("!({})", self.expr(Kind::Bool, depth)),
        }
    }

    fn integer(&mut self, depth: u32) -> String {
        match self.below(8) {
            0 => {
                let symbol = ["+", "-"][self.below(2)];
                format!(
                    "({}) {symbol} ({})",
                    self.expr(Kind::Int, depth),
                    self.expr(Kind::Int, depth)
                )
            }
            1 => format!("({}) * {}", self.expr(Kind::Int, depth), 1 + self.below(4)),
            // The dividend is not constant: quotients of constants must be integers.
            2 => {
                let symbol = ["/", "%"][self.below(2)];
                format!(
                    "({} + A) {symbol} ({})",
                    self.leaf(Kind::Int),
                    self.expr(Kind::Int, depth)
                )
            }
            3 => {
                let name = ["min", "max"][self.below(2)];
                format!(
                    "{name}({}, {})",
                    self.expr(Kind::Int, depth),
                    self.expr(Kind::Int, depth)
                )
            }
            4 => {
                let ty = ["i32", "i8", "u8"][self.below(3)];
                let kind = [Kind::Float, Kind::Int, Kind::Bool][self.below(3)];
                format!("(({}) as {ty})", self.expr(kind, depth))
            }
            5 => {
                let name = ["argmax", "argmin"][self.below(2)];
                let kind = [Kind::Float, Kind::Int][self.below(2)];
                self.reduction(name, kind, depth)
            }
            6 => {
                let name = ["sum", "max", "min", "prod"][self.below(4)];
                self.reduction(name, Kind::Int, depth)
            }
            _ => format!(
                "{}({})",
                ["abs", "relu", "-", "!"][self.below(4)],
                self.expr(Kind::Int, depth)
            ),
        }
    }

    fn float(&mut self, depth: u32) -> String {
        match self.below(8) {
            0 | 1 => {
                let symbol = ["+", "-", "*", "/", "%"][self.below(5)];
                format!("({}) {symbol} ({})", self.expr(Kind::Float, depth), self.operand(depth))
            }
            2 => {
                let name = ["min", "max"][self.below(2)];
                format!("{name}({}, {})", self.expr(Kind::Float, depth), self.operand(depth))
            }
            3 => {
                let names = [
                    "exp", "tanh", "sigmoid", "gelu", "relu", "abs", "silu", "erf", "sin", "cos", "floor", "ceil",
                    "round",
                ];
                let name = names[self.below(names.len())];
                format!("{name}({})", self.expr(Kind::Float, depth))
            }
            4 => match self.below(4) {
                0 => format!("({}).powi({})", self.expr(Kind::Float, depth), self.below(4)),
                1 => format!("sqrt(abs({}))", self.expr(Kind::Float, depth)),
                2 => format!("rsqrt(abs({}) + 0.5)", self.expr(Kind::Float, depth)),
                _ => format!("ln(abs({}) + 0.5)", self.expr(Kind::Float, depth)),
            },
            5 => {
                let ty = ["f16", "bf16", "f32", "f64"][self.below(4)];
                let kind = [Kind::Float, Kind::Int, Kind::Bool][self.below(3)];
                format!("(({}) as {ty})", self.expr(kind, depth))
            }
            _ => {
                let name = ["sum", "max", "min", "prod"][self.below(4)];
                self.reduction(name, Kind::Float, depth)
            }
        }
    }

    /// A float, or an integer that is promoted.
    fn operand(&mut self, depth: u32) -> String {
        if self.below(5) == 1 {
            format!("{} + {}", self.leaf(Kind::Int), self.leaf(Kind::Float))
        } else {
            self.expr(Kind::Float, depth)
        }
    }

    fn reduction(&mut self, name: &str, kind: Kind, depth: u32) -> String {
        if self.reductions == 2 {
            return self.leaf(if name.starts_with("arg") { Kind::Int } else { kind });
        }
        self.reductions += 1;
        let dims: Vec<usize> = (0..1 + self.below(2)).map(|_| self.below(self.sizes.len())).collect();
        let (axes, body) = self.closure_at(&dims, kind, depth);
        self.reductions -= 1;
        format!("{name}(|{axes}| {body})")
    }

    fn closure_at(&mut self, dims: &[usize], kind: Kind, depth: u32) -> (String, String) {
        let mark = self.locals.len();
        let mut axes = Vec::new();
        for &dim in dims {
            let name = self.name("k");
            axes.push(format!("{name}: {}", self.sizes[dim].0));
            self.locals.push(Local::Axis(name, dim));
        }
        let body = self.expr(kind, depth);
        self.locals.truncate(mark);
        (axes.join(", "), body)
    }

    /// A read that is in range only under its guard.
    fn guarded(&mut self, kind: Kind, depth: u32) -> String {
        let vectors: Vec<Tensor> = self
            .tensors
            .iter()
            .filter(|t| t.kind == kind && t.dims.len() == 1)
            .cloned()
            .collect();
        let axes: Vec<(String, usize)> = self.axes();
        if vectors.is_empty() || axes.is_empty() {
            return self.leaf(kind);
        }
        let tensor = vectors[self.below(vectors.len())].clone();
        let (axis, _) = axes[self.below(axes.len())].clone();
        let (other, _) = axes[self.below(axes.len())].clone();
        let size = self.sizes[tensor.dims[0]].0.clone();
        let (guard, index) = match self.below(4) {
            0 => (format!("{axis} + 1 < {size}"), format!("{axis} + 1")),
            1 => (format!("{axis} > 0 && {axis} <= {size}"), format!("{axis} - 1")),
            2 => (
                format!("{other} <= {axis} && {axis} - {other} < {size}"),
                format!("{axis} - {other}"),
            ),
            _ => (format!("!({axis} * 2 >= {size})"), format!("{axis} * 2")),
        };
        let otherwise = self.expr(kind, depth);
        format!("if {guard} {{ {}[[{index}]] }} else {{ {otherwise} }}", tensor.name)
    }

    // ------------------------------------------------------------------ leaves

    fn axes(&self) -> Vec<(String, usize)> {
        let axes = self.locals.iter().filter_map(|local| match local {
            Local::Axis(name, dim) => Some((name.clone(), *dim)),
            Local::Value(..) => None,
        });
        axes.collect()
    }

    fn leaf(&mut self, kind: Kind) -> String {
        match self.below(6) {
            0..=2 => self.read(kind),
            3 => {
                let values = self.locals.iter().filter_map(|local| match local {
                    Local::Value(name, of) if *of == kind => Some(name.clone()),
                    _ => None,
                });
                let mut values: Vec<String> = values.collect();
                values.extend(
                    self.scalars
                        .iter()
                        .filter(|(_, of)| *of == kind)
                        .map(|(name, _)| name.clone()),
                );
                match values.len() {
                    0 => self.literal(kind),
                    count => values[self.below(count)].clone(),
                }
            }
            4 => match (kind, self.axes()) {
                (Kind::Int, axes) if !axes.is_empty() => axes[self.below(axes.len())].0.clone(),
                (Kind::Int, _) => {
                    let number = self.below(self.sizes.len());
                    self.sizes[number].0.clone()
                }
                _ => self.literal(kind),
            },
            _ => self.literal(kind),
        }
    }

    fn literal(&mut self, kind: Kind) -> String {
        match kind {
            Kind::Bool => ["true", "false"][self.below(2)].to_owned(),
            Kind::Int => self.below(7).to_string(),
            Kind::Float => ["0.5", "1.0", "0.1", "3.0", "f32::consts::PI", "0.0"][self.below(6)].to_owned(),
        }
    }

    fn read(&mut self, kind: Kind) -> String {
        let tensors: Vec<Tensor> = self
            .tensors
            .iter()
            .filter(|tensor| tensor.kind == kind)
            .cloned()
            .collect();
        if tensors.is_empty() {
            return self.literal(kind);
        }
        let tensor = tensors[self.below(tensors.len())].clone();
        let padded = self.below(5) == 1;
        let mut index = Vec::new();
        for &dim in &tensor.dims {
            match self.index(dim, padded) {
                Some(at) => index.push(at),
                // Without an axis, no index is certain to be in range.
                None => return self.literal(kind),
            }
        }
        let or = if padded {
            format!(".or({})", self.literal(kind))
        } else {
            String::new()
        };
        format!("{}{or}[[{}]]", tensor.name, index.join(", "))
    }

    /// An index that is in range for all values of the axes; any index with `padded`.
    fn index(&mut self, dim: usize, padded: bool) -> Option<String> {
        let (size, value) = self.sizes[dim].clone();
        let axes = self.axes();
        let same: Vec<String> = axes
            .iter()
            .filter(|(_, of)| *of == dim)
            .map(|(name, _)| name.clone())
            .collect();
        let gather: Vec<Tensor> = self
            .tensors
            .iter()
            .filter(|tensor| tensor.kind == Kind::Int && tensor.dims.iter().all(|d| same_axis(&axes, *d).is_some()))
            .cloned()
            .collect();
        let any = (!axes.is_empty()).then(|| axes[self.below(axes.len())].0.clone());
        match (self.below(8), any) {
            (1, Some(axis)) if padded => return Some(format!("{axis} * 2 - 1")),
            (2, Some(axis)) if value > 0 => return Some(format!("{axis} % {size}")),
            (3, Some(axis)) if value > 0 => return Some(format!("min({axis}, {size} - 1)")),
            (4, _) if !gather.is_empty() => {
                let tensor = gather[self.below(gather.len())].clone();
                let index: Vec<String> = tensor.dims.iter().filter_map(|&dim| same_axis(&axes, dim)).collect();
                return Some(format!("{}[[{}]]", tensor.name, index.join(", ")));
            }
            (7, Some(axis)) if !gather.is_empty() => {
                let tensor = gather[self.below(gather.len())].clone();
                let index: Vec<String> = tensor.dims.iter().filter_map(|&dim| same_axis(&axes, dim)).collect();
                let factor = ["1", &size, "100000", "-1"][self.below(4)];
                return Some(format!("{}[[{}]] * {factor} + {axis}", tensor.name, index.join(", ")));
            }
            (5, _) if !same.is_empty() => {
                let axis = &same[self.below(same.len())];
                return Some(format!("{size} - 1 - {axis}"));
            }
            (6, Some(axis)) if value > 0 => return Some(format!("max({axis} - {axis}, 0) / 2")),
            _ => {}
        }
        match same.len() {
            0 if value > 0 => Some((self.below(value as usize)).to_string()),
            0 => None,
            count => Some(same[self.below(count)].clone()),
        }
    }
}

fn same_axis(axes: &[(String, usize)], dim: usize) -> Option<String> {
    axes.iter().find(|(_, of)| *of == dim).map(|(name, _)| name.clone())
}
