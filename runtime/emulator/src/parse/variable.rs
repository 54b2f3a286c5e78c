//! Variables: declarations in a module, in a function and as parameters, with their initial values.

use super::constant::ConstantValue;
use super::error::ParseError;
use super::lexer::TokenKind;
use super::parser::{DEEPEST_NESTING, Parser};
use super::syntax::{Initial, Space, Type, Variable};

/// Bytes of the largest variable.
const LARGEST_VARIABLE: u64 = 1 << 30;

/// The attributes of a declaration ahead of its type.
#[derive(Default)]
struct Attributes {
    space: Option<Space>,
    align: Option<u32>,
    /// The components of a vector.
    lanes: Option<u64>,
    is_register: bool,
}

impl Parser<'_, '_> {
    /// Parses `.space attributes .type name[…] = …, name… ;`.
    pub(super) fn variables(&mut self) -> Result<Vec<Variable>, ParseError> {
        let mut variables = vec![self.variable()?];
        while self.accept(',') {
            let first = &variables[0];
            let (space, align, ty) = (first.space, first.align, first.ty);
            variables.push(self.declarator(space, align, ty, 1, false)?);
        }
        self.expect(';')?;
        Ok(variables)
    }

    /// Parses a variable up to its `,`, `;` or `)`.
    pub(super) fn variable(&mut self) -> Result<Variable, ParseError> {
        let mut attributes = Attributes::default();
        let ty = loop {
            let TokenKind::Dot(name) = self.kind() else {
                return self.error(format!("expected a type, found {}", self.found()));
            };
            self.at += 1;
            match Type::from_name(name) {
                Some(ty) => break ty,
                None => self.attribute(name, &mut attributes)?,
            }
        };
        let Attributes {
            space: Some(space),
            align,
            lanes,
            is_register,
        } = attributes
        else {
            return self.error("a variable needs a state space");
        };
        let lanes = lanes.unwrap_or(1);
        let is_pointer = self.pointer_attributes()?;
        if is_register && (lanes > 1 || ty == Type::Pred) {
            return self.unsupported("a vector or predicate register as a parameter");
        }
        let align = align.unwrap_or(ty.size() * lanes as u32);
        let variable = self.declarator(space, align, ty, lanes, is_pointer)?;
        Ok(Variable {
            is_register,
            ..variable
        })
    }

    /// Parses the rest of an attribute whose name is taken.
    fn attribute(&mut self, name: &str, attributes: &mut Attributes) -> Result<(), ParseError> {
        match name {
            "global" => attributes.space = Some(Space::Global),
            "shared" | "shared::cta" => attributes.space = Some(Space::Shared),
            "local" => attributes.space = Some(Space::Local),
            "const" => attributes.space = Some(Space::Constant),
            "param" => attributes.space = Some(Space::Parameter),
            "reg" => (attributes.space, attributes.is_register) = (Some(Space::Parameter), true),
            "managed" => {}
            "attribute" => {
                self.expect('(')?;
                while !self.accept(')') {
                    if self.kind() == TokenKind::End {
                        return self.error("`.attribute(` is never closed");
                    }
                    self.at += 1;
                }
            }
            "v2" => attributes.lanes = Some(2),
            "v4" => attributes.lanes = Some(4),
            "align" => {
                let value = self.small("an alignment")?;
                if !value.is_power_of_two() || value > 4096 {
                    return self.error(format!("an alignment of {value}: it must be a power of two up to 4096"));
                }
                attributes.align = Some(value);
            }
            _ => return self.unsupported(format!("`.{name}` in a variable declaration is not supported")),
        }
        Ok(())
    }

    /// Parses `.ptr .space .align n`, the attributes of a pointer. Returns `true` if there are some.
    fn pointer_attributes(&mut self) -> Result<bool, ParseError> {
        if !self.accept_dot("ptr") {
            return Ok(false);
        }
        loop {
            match self.kind() {
                TokenKind::Dot("align") => {
                    self.at += 1;
                    self.integer("an alignment")?;
                }
                TokenKind::Dot("global" | "const" | "shared" | "local" | "ptr") => self.at += 1,
                _ => return Ok(true),
            }
        }
    }

    fn declarator(
        &mut self,
        space: Space,
        align: u32,
        ty: Type,
        lanes: u64,
        is_pointer: bool,
    ) -> Result<Variable, ParseError> {
        let line = self.token().line;
        let name = self.word("a name")?.to_owned();
        let mut elements = Some(lanes);
        let mut shape = Vec::new();
        while self.accept('[') {
            if self.accept(']') {
                shape.push(None);
                elements = None;
                continue;
            }
            let extent = self.integer("an extent")?;
            shape.push(Some(extent));
            elements = elements.and_then(|elements| elements.checked_mul(extent));
            if elements.is_none_or(|elements| elements.saturating_mul(u64::from(ty.size())) > LARGEST_VARIABLE)
                && !shape.contains(&None)
            {
                return self.unsupported(format!("`{name}` is larger than 1 GiB"));
            }
            self.expect(']')?;
        }
        let mut initial = Vec::new();
        if self.accept('=') {
            self.initial(&mut initial, 0)?;
            if elements.is_none() && shape.len() == 1 {
                elements = Some(initial.len() as u64);
            }
            if elements.is_some_and(|elements| initial.len() as u64 > elements) {
                return self.error(format!("`{name}` has more initial values than elements"));
            }
        }
        Ok(Variable {
            space,
            align,
            ty,
            name,
            elements,
            initial,
            is_pointer,
            is_register: false,
            is_extern: false,
            line,
        })
    }

    fn initial(&mut self, values: &mut Vec<Initial>, depth: u32) -> Result<(), ParseError> {
        if depth > DEEPEST_NESTING {
            return self.error("initial values are nested too deeply");
        }
        if self.accept('{') {
            if self.accept('}') {
                return Ok(());
            }
            loop {
                self.initial(values, depth + 1)?;
                if self.accept('}') {
                    return Ok(());
                }
                self.expect(',')?;
            }
        }
        let value = match self.kind() {
            TokenKind::Integer { value: mask, .. } if self.ahead(1) == TokenKind::Punctuation('(') => {
                self.at += 2;
                let value = self.address(mask)?;
                self.expect(')')?;
                value
            }
            TokenKind::Float32(bits) => {
                self.at += 1;
                Initial::Single(bits)
            }
            _ if self.is_constant() => match self.constant(0)? {
                ConstantValue::Integer { bits, .. } => Initial::Integer(bits),
                ConstantValue::Float(value) => Initial::Double(value),
            },
            TokenKind::Word(_) => self.address(u64::MAX)?,
            _ => return self.error(format!("expected an initial value, found {}", self.found())),
        };
        values.push(value);
        Ok(())
    }

    /// Parses `symbol`, `symbol + offset` or `generic(symbol) + offset`.
    fn address(&mut self, mask: u64) -> Result<Initial, ParseError> {
        let mut symbol = self.word("a symbol")?;
        let generic = symbol == "generic" && self.accept('(');
        if generic {
            symbol = self.word("a symbol")?;
            self.expect(')')?;
        }
        let offset = self.offset()?;
        Ok(Initial::Address {
            symbol: symbol.to_owned(),
            offset,
            generic,
            mask,
        })
    }

    pub(super) fn parameters(&mut self) -> Result<Vec<Variable>, ParseError> {
        let mut parameters = Vec::new();
        self.expect('(')?;
        if self.accept(')') {
            return Ok(parameters);
        }
        loop {
            parameters.push(self.variable()?);
            if self.accept(')') {
                return Ok(parameters);
            }
            self.expect(',')?;
        }
    }
}
