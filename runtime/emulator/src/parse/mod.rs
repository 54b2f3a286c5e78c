//! PTX text → [`syntax`]. Nothing is resolved or judged here: instructions that nobody knows parse like
//! any other, so that a module with exotic kernels still runs its others.

mod constant;
pub(crate) mod lexer;
pub(crate) mod syntax;

use constant::Constant;
use lexer::{Kind, Token};
use syntax::*;

/// Text that is not PTX, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("PTX line {line}: {message}")]
pub struct ParseError {
    /// Line of the text, from 1.
    pub line: u32,
    /// What was expected or found.
    pub message: String,
    /// `true` if the text may be PTX that is not known here, `false` if it is wrong.
    pub unsupported: bool,
}

impl ParseError {
    pub(crate) fn new(line: u32, message: impl Into<String>) -> Self {
        ParseError {
            line,
            message: message.into(),
            unsupported: false,
        }
    }

    pub(crate) fn unsupported(line: u32, message: impl Into<String>) -> Self {
        ParseError {
            unsupported: true,
            ..ParseError::new(line, message)
        }
    }
}

/// A parsed translation unit.
#[derive(Debug, Default)]
pub(crate) struct Unit {
    pub version: (u32, u32),
    pub target: String,
    pub variables: Vec<Variable>,
    pub functions: Vec<Function>,
}

pub(crate) fn parse(text: &str) -> Result<Unit, ParseError> {
    let tokens = lexer::tokenize(text)?;
    let mut parser = Parser { tokens: &tokens, at: 0 };
    parser.unit()
}

/// Bounds on nesting and sizes keep hostile text from exhausting the host.
const DEEPEST_NESTING: u32 = 64;
const MOST_REGISTERS: u64 = 1 << 20;
const LARGEST_VARIABLE: u64 = 1 << 30;

struct Parser<'t, 'a> {
    tokens: &'t [Token<'a>],
    at: usize,
}

impl<'a> Parser<'_, 'a> {
    fn token(&self) -> Token<'a> {
        self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn ahead(&self, count: usize) -> Kind<'a> {
        self.tokens[(self.at + count).min(self.tokens.len() - 1)].kind
    }

    fn kind(&self) -> Kind<'a> {
        self.token().kind
    }

    fn next(&mut self) -> Token<'a> {
        let token = self.token();
        self.at += 1;
        token
    }

    fn error<T>(&self, message: impl Into<String>) -> Result<T, ParseError> {
        Err(ParseError::new(self.token().line, message))
    }

    fn unsupported<T>(&self, message: impl Into<String>) -> Result<T, ParseError> {
        Err(ParseError::unsupported(self.token().line, message))
    }

    /// Whether the next so many tokens stand without blanks between.
    fn adjacent(&self, count: usize) -> bool {
        let tokens = self.tokens.get(self.at..self.at + count).unwrap_or_default();
        tokens.windows(2).all(|pair| pair[0].end == pair[1].start)
    }

    fn found(&self) -> String {
        match self.kind() {
            Kind::Word(word) => format!("`{word}`"),
            Kind::Dot(word) => format!("`.{word}`"),
            Kind::Punctuation(character) => format!("`{character}`"),
            Kind::End => "the end of the text".into(),
            Kind::Text(text) => format!("\"{text}\""),
            Kind::Integer { .. } | Kind::Float32(_) | Kind::Float64(_) => "a number".into(),
        }
    }

    fn is(&self, character: char) -> bool {
        self.kind() == Kind::Punctuation(character)
    }

    fn accept(&mut self, character: char) -> bool {
        let found = self.is(character);
        self.at += usize::from(found);
        found
    }

    fn accept_dot(&mut self, name: &str) -> bool {
        let found = self.kind() == Kind::Dot(name);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, character: char) -> Result<(), ParseError> {
        if self.accept(character) {
            return Ok(());
        }
        self.error(format!("expected `{character}`, found {}", self.found()))
    }

    fn word(&mut self, what: &str) -> Result<&'a str, ParseError> {
        match self.kind() {
            Kind::Word(word) => {
                self.at += 1;
                Ok(word)
            }
            _ => self.error(format!("expected {what}, found {}", self.found())),
        }
    }

    fn integer(&mut self, what: &str) -> Result<u64, ParseError> {
        let negative = self.accept('-');
        match self.kind() {
            Kind::Integer { value, .. } => {
                self.at += 1;
                Ok(if negative { value.wrapping_neg() } else { value })
            }
            Kind::Word("WARP_SZ") if !negative => {
                self.at += 1;
                Ok(32)
            }
            _ => self.error(format!("expected {what}, found {}", self.found())),
        }
    }

    fn small(&mut self, what: &str) -> Result<u32, ParseError> {
        let value = self.integer(what)?;
        match u32::try_from(value) {
            Ok(value) => Ok(value),
            Err(_) => self.error(format!("{what} {value} is too large")),
        }
    }

    fn unit(&mut self) -> Result<Unit, ParseError> {
        let mut unit = Unit::default();
        let mut versioned = false;
        loop {
            match self.kind() {
                Kind::End => break,
                Kind::Dot("version") => {
                    self.at += 1;
                    match self.next().kind {
                        Kind::Float64(bits) => {
                            let tenths = (f64::from_bits(bits) * 10.0).round() as u32;
                            unit.version = (tenths / 10, tenths % 10);
                            versioned = true;
                        }
                        _ => return self.error("expected a version such as 8.0 after `.version`"),
                    }
                }
                Kind::Dot("target") => {
                    self.at += 1;
                    unit.target = self.word("a target such as sm_80")?.to_owned();
                    while self.accept(',') {
                        self.word("a target")?;
                    }
                }
                Kind::Dot("address_size") => {
                    self.at += 1;
                    if self.integer("an address size")? != 64 {
                        return self.unsupported("only 64-bit addresses are supported");
                    }
                }
                Kind::Dot("file") => {
                    while matches!(
                        self.ahead(1),
                        Kind::Integer { .. } | Kind::Text(_) | Kind::Punctuation(',')
                    ) {
                        self.at += 1;
                    }
                    self.at += 1;
                }
                Kind::Dot("loc" | "pragma") => self.skip_line_directive(),
                Kind::Dot("section") => self.skip_braces()?,
                Kind::Dot("alias") => return self.unsupported("`.alias` is not supported"),
                Kind::Punctuation(';') => self.at += 1,
                Kind::Dot(_) => self.declaration(&mut unit)?,
                _ => return self.error(format!("expected a directive, found {}", self.found())),
            }
        }
        if !versioned {
            return Err(ParseError::new(1, "PTX starts with `.version`; none was found"));
        }
        Ok(unit)
    }

    /// `.loc …` and `.pragma …;` carry nothing that changes what a program does.
    fn skip_line_directive(&mut self) {
        let line = self.token().line;
        self.at += 1;
        while self.token().line == line && !matches!(self.kind(), Kind::End | Kind::Punctuation('}')) {
            if self.accept(';') {
                return;
            }
            self.at += 1;
        }
    }

    fn skip_braces(&mut self) -> Result<(), ParseError> {
        while !self.is('{') {
            if self.kind() == Kind::End {
                return self.error("expected `{` after `.section`");
            }
            self.at += 1;
        }
        while !self.accept('}') {
            if self.kind() == Kind::End {
                return self.error("a section is never closed");
            }
            self.at += 1;
        }
        Ok(())
    }

    /// A module-level variable or function, with its linkage.
    fn declaration(&mut self, unit: &mut Unit) -> Result<(), ParseError> {
        let mut is_extern = false;
        loop {
            match self.kind() {
                Kind::Dot("extern") => is_extern = true,
                Kind::Dot("visible" | "weak" | "common") => {}
                Kind::Dot("entry" | "func") => {
                    let function = self.function()?;
                    // A definition replaces its earlier declaration.
                    match unit.functions.iter_mut().find(|known| known.name == function.name) {
                        Some(known) if known.body.is_none() => *known = function,
                        Some(known) if function.body.is_none() && known.is_entry == function.is_entry => {}
                        Some(_) => {
                            return Err(ParseError::new(
                                function.line,
                                format!("`{}` is defined twice", function.name),
                            ));
                        }
                        None => unit.functions.push(function),
                    }
                    return Ok(());
                }
                Kind::Dot("global" | "const" | "shared") => {
                    for mut variable in self.variables()? {
                        variable.is_extern = is_extern;
                        match unit.variables.iter_mut().find(|known| known.name == variable.name) {
                            Some(known) if known.is_extern => *known = variable,
                            Some(_) if is_extern => {}
                            Some(_) => {
                                return Err(ParseError::new(
                                    variable.line,
                                    format!("`{}` is defined twice", variable.name),
                                ));
                            }
                            None => unit.variables.push(variable),
                        }
                    }
                    return Ok(());
                }
                Kind::Dot(other) => return self.unsupported(format!("`.{other}` in a module is not supported")),
                _ => {
                    return self.error(format!("expected a variable or function, found {}", self.found()));
                }
            }
            self.at += 1;
        }
    }

    /// `.space attributes .type name[…] = …, name… ;`
    fn variables(&mut self) -> Result<Vec<Variable>, ParseError> {
        let mut variables = vec![self.variable()?];
        while self.accept(',') {
            let first = &variables[0];
            let (space, align, ty) = (first.space, first.align, first.ty);
            variables.push(self.declarator(space, align, ty, 1, false)?);
        }
        self.expect(';')?;
        Ok(variables)
    }

    /// One variable up to its `,`, `;` or `)`.
    fn variable(&mut self) -> Result<Variable, ParseError> {
        let mut space = None;
        let mut align = None;
        let mut lanes = 1;
        let (mut is_pointer, mut is_register) = (false, false);
        let ty = loop {
            match self.kind() {
                Kind::Dot(name) => {
                    self.at += 1;
                    match name {
                        "ptr" => {
                            is_pointer = true;
                            // The space and alignment of what a parameter points to.
                            while let Kind::Dot(name) = self.kind() {
                                self.at += 1;
                                match name {
                                    "align" => {
                                        self.integer("an alignment")?;
                                    }
                                    "global" | "const" | "shared" | "local" => {}
                                    _ => {
                                        return self.unsupported(format!("`.{name}` after `.ptr` is not supported"));
                                    }
                                }
                            }
                            continue;
                        }
                        "global" => space = Some(Space::Global),
                        "shared" | "shared::cta" => space = Some(Space::Shared),
                        "local" => space = Some(Space::Local),
                        "const" => space = Some(Space::Constant),
                        "param" => space = Some(Space::Parameter),
                        "managed" => {}
                        "attribute" => {
                            self.expect('(')?;
                            while !self.accept(')') {
                                if self.kind() == Kind::End {
                                    return self.error("`.attribute(` is never closed");
                                }
                                self.at += 1;
                            }
                        }
                        "v2" => lanes = 2,
                        "v4" => lanes = 4,
                        "reg" => (space, is_register) = (Some(Space::Parameter), true),
                        "align" => {
                            let value = self.small("an alignment")?;
                            if !value.is_power_of_two() || value > 4096 {
                                return self
                                    .error(format!("an alignment of {value}: it must be a power of two up to 4096"));
                            }
                            align = Some(value);
                        }
                        _ => match Type::from_name(name) {
                            Some(found) => break found,
                            None => {
                                return self
                                    .unsupported(format!("`.{name}` in a variable declaration is not supported"));
                            }
                        },
                    }
                }
                _ => return self.error(format!("expected a type, found {}", self.found())),
            }
        };
        let Some(space) = space else {
            return self.error("a variable needs a state space");
        };
        // `.param .u64 .ptr .global .align 8 name`: attributes may follow the type.
        while self.kind() == Kind::Dot("ptr") {
            self.at += 1;
            is_pointer = true;
            loop {
                match self.kind() {
                    Kind::Dot("align") => {
                        self.at += 1;
                        self.integer("an alignment")?;
                    }
                    Kind::Dot("global" | "const" | "shared" | "local") => self.at += 1,
                    _ => break,
                }
            }
        }
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
            Kind::Integer { value: mask, .. } if self.ahead(1) == Kind::Punctuation('(') => {
                self.at += 2;
                let value = self.address(mask)?;
                self.expect(')')?;
                value
            }
            Kind::Float32(bits) => {
                self.at += 1;
                Initial::Single(bits)
            }
            _ if self.is_constant() => match self.constant(0)? {
                Constant::Integer { bits, .. } => Initial::Integer(bits),
                Constant::Float(value) => Initial::Double(value),
            },
            Kind::Word(_) => self.address(u64::MAX)?,
            _ => return self.error(format!("expected an initial value, found {}", self.found())),
        };
        values.push(value);
        Ok(())
    }

    /// `symbol`, `symbol + offset`, `generic(symbol) + offset`.
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

    fn parameters(&mut self) -> Result<Vec<Variable>, ParseError> {
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

    fn function(&mut self) -> Result<Function, ParseError> {
        let line = self.token().line;
        let is_entry = self.next().kind == Kind::Dot("entry");
        let results = if !is_entry && self.is('(') {
            self.parameters()?
        } else {
            Vec::new()
        };
        let name = self.word("a function name")?.to_owned();
        let parameters = if self.is('(') { self.parameters()? } else { Vec::new() };
        if is_entry && parameters.iter().any(|parameter| parameter.is_register) {
            return Err(ParseError::new(
                line,
                format!("a parameter of the kernel `{name}` is a register"),
            ));
        }
        let mut function = Function {
            name,
            is_entry,
            results,
            parameters,
            body: None,
            max_threads: None,
            required_threads: None,
            cluster: None,
            line,
        };
        loop {
            match self.kind() {
                Kind::Punctuation(';') => {
                    self.at += 1;
                    return Ok(function);
                }
                Kind::Punctuation('{') => {
                    self.at += 1;
                    function.body = Some(self.body()?);
                    return Ok(function);
                }
                Kind::Dot("maxntid") => function.max_threads = Some(self.extents()?),
                Kind::Dot("reqntid") => function.required_threads = Some(self.extents()?),
                Kind::Dot(
                    "minnctapersm"
                    | "maxnreg"
                    | "maxnctapersm"
                    | "maxclusterrank"
                    | "abi_preserve"
                    | "abi_preserve_control",
                ) => {
                    self.at += 1;
                    self.integer("a count")?;
                }
                Kind::Dot("noreturn" | "explicitcluster") => self.at += 1,
                Kind::Dot("reqnctapercluster") => function.cluster = Some(self.extents()?),
                Kind::Dot("pragma") => self.skip_line_directive(),
                Kind::Dot(other) => {
                    return self.unsupported(format!("`.{other}` on a function is not supported"));
                }
                _ => {
                    return self.error(format!("expected a function body, found {}", self.found()));
                }
            }
        }
    }

    fn extents(&mut self) -> Result<[u32; 3], ParseError> {
        self.at += 1;
        let mut extents = [self.small("an extent")?, 1, 1];
        let mut axis = 1;
        while self.accept(',') {
            if axis == 3 {
                return self.error("at most three extents");
            }
            extents[axis] = self.small("an extent")?;
            axis += 1;
        }
        Ok(extents)
    }

    fn body(&mut self) -> Result<Vec<Statement>, ParseError> {
        let mut statements = Vec::new();
        let mut depth = 0u32;
        loop {
            match self.kind() {
                Kind::End => return self.error("a function body is never closed"),
                Kind::Punctuation('{') => {
                    depth += 1;
                    if depth > DEEPEST_NESTING {
                        return self.error("braces are nested too deeply");
                    }
                    self.at += 1;
                    statements.push(Statement::Open);
                }
                Kind::Punctuation('}') => {
                    self.at += 1;
                    if depth == 0 {
                        return Ok(statements);
                    }
                    depth -= 1;
                    statements.push(Statement::Close);
                }
                Kind::Punctuation(';') => self.at += 1,
                Kind::Dot("loc" | "pragma" | "file") => self.skip_line_directive(),
                Kind::Dot("section") => self.skip_braces()?,
                Kind::Dot("reg") => self.registers(&mut statements)?,
                Kind::Dot("local" | "shared" | "param" | "global" | "const" | "align") => {
                    statements.extend(self.variables()?.into_iter().map(Statement::Variable));
                }
                Kind::Dot(other) => {
                    return self.unsupported(format!("`.{other}` in a function body is not supported"));
                }
                Kind::Word(name) if self.ahead(1) == Kind::Punctuation(':') => {
                    let line = self.token().line;
                    self.at += 2;
                    self.labelled(name, line, &mut statements)?;
                }
                _ => {
                    let instruction = self.instruction()?;
                    statements.push(Statement::Instruction(instruction));
                }
            }
        }
    }

    /// What follows `name:`: a target list, a prototype, or nothing (a plain label).
    fn labelled(&mut self, name: &str, line: u32, statements: &mut Vec<Statement>) -> Result<(), ParseError> {
        let label = name.to_owned();
        if self.accept_dot("branchtargets") || self.accept_dot("calltargets") {
            let mut targets = vec![self.word("a label")?.to_owned()];
            while self.accept(',') {
                targets.push(self.word("a label")?.to_owned());
            }
            self.expect(';')?;
            statements.push(Statement::Targets { label, targets });
        } else if self.accept_dot("callprototype") {
            let results = if self.is('(') { self.parameters()? } else { Vec::new() };
            self.word("`_`")?;
            let parameters = if self.is('(') { self.parameters()? } else { Vec::new() };
            self.accept_dot("noreturn");
            self.expect(';')?;
            statements.push(Statement::Prototype(label, Prototype::new(&results, &parameters)));
        } else {
            statements.push(Statement::Label(label, line));
        }
        Ok(())
    }

    fn registers(&mut self, statements: &mut Vec<Statement>) -> Result<(), ParseError> {
        self.at += 1;
        let lanes = match self.kind() {
            Kind::Dot("v2") => 2,
            Kind::Dot("v4") => 4,
            _ => 1,
        };
        self.at += usize::from(lanes > 1);
        let ty = match self.kind() {
            Kind::Dot(name) => match Type::from_name(name) {
                Some(ty) => ty,
                None => return self.unsupported(format!("registers of type `.{name}` are not supported")),
            },
            _ => return self.error(format!("expected a register type after `.reg`, found {}", self.found())),
        };
        if lanes > 1 && (ty == Type::Pred || lanes * ty.size() > 16) {
            return self.error(format!("vectors of {lanes} {ty} are no registers"));
        }
        self.at += 1;
        loop {
            let line = self.token().line;
            let name = self.word("a register name")?.to_owned();
            let count = if self.accept('<') {
                let count = self.integer("a register count")?;
                if count > MOST_REGISTERS {
                    return self.unsupported(format!(
                        "{count} registers are more than the {MOST_REGISTERS} supported"
                    ));
                }
                self.expect('>')?;
                Some(count as u32)
            } else {
                None
            };
            statements.push(Statement::Register {
                ty,
                lanes,
                name,
                count,
                line,
            });
            if !self.accept(',') {
                break;
            }
        }
        self.expect(';')
    }

    fn instruction(&mut self) -> Result<Instruction, ParseError> {
        let first = self.token();
        let guard = if self.accept('@') {
            let negated = self.accept('!');
            Some((self.name("a predicate")?, negated))
        } else {
            None
        };
        let name = self.word("an instruction")?.to_owned();
        let mut modifiers = Vec::new();
        while let Kind::Dot(modifier) = self.kind() {
            self.at += 1;
            modifiers.push(modifier.to_owned());
        }
        let mut operands = Vec::new();
        let is_call = name == "call";
        if !self.is(';') {
            loop {
                // `(a, b)` is a list here, and a constant expression elsewhere.
                operands.push(if is_call && self.accept('(') {
                    Operand::List(self.operands(')', 0)?)
                } else {
                    self.operand(0)?
                });
                if !self.accept(',') {
                    break;
                }
            }
        }
        let end = self.token().end;
        if !self.accept(';') {
            return self.error(format!("expected `;` after `{name}`, found {}", self.found()));
        }
        Ok(Instruction {
            guard,
            name,
            modifiers,
            operands,
            line: first.line,
            span: (first.start, end),
        })
    }

    /// A name with its components: `%tid.x`.
    fn name(&mut self, what: &str) -> Result<String, ParseError> {
        let mut name = self.word(what)?.to_owned();
        while let Kind::Dot(component) = self.kind() {
            self.at += 1;
            name.push('.');
            name.push_str(component);
        }
        Ok(name)
    }

    fn operand(&mut self, depth: u32) -> Result<Operand, ParseError> {
        if depth > 8 {
            return self.error("operands are nested too deeply");
        }
        let operand = match self.kind() {
            Kind::Punctuation('{') => {
                self.at += 1;
                Operand::Vector(self.operands('}', depth)?)
            }
            Kind::Punctuation('[') => {
                self.at += 1;
                let address = self.bracketed(depth)?;
                self.expect(']')?;
                address
            }
            Kind::Float32(bits) => {
                self.at += 1;
                Operand::Float32(bits)
            }
            Kind::Punctuation('-') if matches!(self.ahead(1), Kind::Float32(_)) => {
                self.at += 1;
                let Kind::Float32(bits) = self.next().kind else {
                    return self.error("expected a number after `-`");
                };
                Operand::Float32(bits ^ 0x8000_0000)
            }
            _ if self.is_constant() => match self.constant(0)? {
                Constant::Integer { bits, .. } => Operand::Integer(bits),
                Constant::Float(value) => Operand::Float64(value.to_bits()),
            },
            Kind::Punctuation('!') => {
                self.at += 1;
                Operand::Not(self.name("a predicate")?)
            }
            Kind::Word("_") => {
                self.at += 1;
                Operand::Sink
            }
            Kind::Word(_) => {
                let name = self.name("an operand")?;
                match self.offset()? {
                    0 if self.is('[') => {
                        self.at += 1;
                        let index = self.constant_integer()? as i64;
                        self.expect(']')?;
                        Operand::Offset(name, index)
                    }
                    0 => Operand::Name(name),
                    offset => Operand::Offset(name, offset),
                }
            }
            _ => return self.error(format!("expected an operand, found {}", self.found())),
        };
        if self.accept('|') {
            let second = self.operand(depth + 1)?;
            return Ok(Operand::Pair(Box::new(operand), Box::new(second)));
        }
        Ok(operand)
    }

    fn operands(&mut self, close: char, depth: u32) -> Result<Vec<Operand>, ParseError> {
        let mut operands = Vec::new();
        if self.accept(close) {
            return Ok(operands);
        }
        loop {
            operands.push(self.operand(depth + 1)?);
            if self.accept(close) {
                return Ok(operands);
            }
            self.expect(',')?;
        }
    }

    fn bracketed(&mut self, depth: u32) -> Result<Operand, ParseError> {
        if !self.is_constant() {
            let base = Some(self.name("an address")?);
            let mut offset = self.offset()?;
            if self.accept('[') {
                offset = offset.wrapping_add(self.constant_integer()? as i64);
                self.expect(']')?;
            }
            if self.is(',') {
                // Tensor coordinates: `[map, {x, y}]`.
                let mut parts = vec![Operand::Address { base, offset }];
                while self.accept(',') {
                    parts.push(self.operand(depth + 1)?);
                }
                return Ok(Operand::List(parts));
            }
            return Ok(Operand::Address { base, offset });
        }
        Ok(Operand::Address {
            base: None,
            offset: self.constant_integer()? as i64,
        })
    }
}
