//! Functions: their headers, and the statements of their bodies.

use super::error::ParseError;
use super::lexer::TokenKind;
use super::parser::{DEEPEST_NESTING, Parser};
use super::syntax::{Function, Prototype, Statement, Type};

/// Registers that one declaration can have.
const MOST_REGISTERS: u64 = 1 << 20;

impl Parser<'_, '_> {
    pub(super) fn function(&mut self) -> Result<Function, ParseError> {
        let line = self.token().line;
        let is_entry = self.next().kind == TokenKind::Dot("entry");
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
                TokenKind::Punctuation(';') => {
                    self.at += 1;
                    return Ok(function);
                }
                TokenKind::Punctuation('{') => {
                    self.at += 1;
                    function.body = Some(self.body()?);
                    return Ok(function);
                }
                TokenKind::Dot("maxntid") => function.max_threads = Some(self.extents()?),
                TokenKind::Dot("reqntid") => function.required_threads = Some(self.extents()?),
                TokenKind::Dot(
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
                TokenKind::Dot("noreturn" | "explicitcluster") => self.at += 1,
                TokenKind::Dot("reqnctapercluster") => function.cluster = Some(self.extents()?),
                TokenKind::Dot("pragma") => self.skip_line_directive(),
                TokenKind::Dot(other) => {
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
                TokenKind::End => return self.error("a function body is never closed"),
                TokenKind::Punctuation('{') => {
                    depth += 1;
                    if depth > DEEPEST_NESTING {
                        return self.error("braces are nested too deeply");
                    }
                    self.at += 1;
                    statements.push(Statement::Open);
                }
                TokenKind::Punctuation('}') => {
                    self.at += 1;
                    if depth == 0 {
                        return Ok(statements);
                    }
                    depth -= 1;
                    statements.push(Statement::Close);
                }
                TokenKind::Punctuation(';') => self.at += 1,
                TokenKind::Dot("loc" | "pragma" | "file") => self.skip_line_directive(),
                TokenKind::Dot("section") => self.skip_braces()?,
                TokenKind::Dot("reg") => self.registers(&mut statements)?,
                TokenKind::Dot("local" | "shared" | "param" | "global" | "const" | "align") => {
                    statements.extend(self.variables()?.into_iter().map(Statement::Variable));
                }
                TokenKind::Dot(other) => {
                    return self.unsupported(format!("`.{other}` in a function body is not supported"));
                }
                TokenKind::Word(name) if self.ahead(1) == TokenKind::Punctuation(':') => {
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

    /// Parses the statement behind `name:`: a target list, a prototype, or none (a plain label).
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
            TokenKind::Dot("v2") => 2,
            TokenKind::Dot("v4") => 4,
            _ => 1,
        };
        self.at += usize::from(lanes > 1);
        let ty = match self.kind() {
            TokenKind::Dot(name) => match Type::from_name(name) {
                Some(ty) => ty,
                None => return self.unsupported(format!("registers of type `.{name}` are not supported")),
            },
            _ => return self.error(format!("expected a register type after `.reg`, found {}", self.found())),
        };
        if lanes > 1 && (ty == Type::Pred || lanes * ty.size() > 16) {
            return self.error(format!("a register cannot be a vector of {lanes} {ty}"));
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
}
