//! Instructions and their operands.

use super::constant::ConstantValue;
use super::error::ParseError;
use super::lexer::TokenKind;
use super::parser::Parser;
use super::syntax::{Instruction, Operand};

impl Parser<'_, '_> {
    pub(super) fn instruction(&mut self) -> Result<Instruction, ParseError> {
        let first = self.token();
        let guard = if self.accept('@') {
            let negated = self.accept('!');
            Some((self.name("a predicate")?, negated))
        } else {
            None
        };
        let name = self.word("an instruction")?.to_owned();
        let mut modifiers = Vec::new();
        while let TokenKind::Dot(modifier) = self.kind() {
            self.at += 1;
            modifiers.push(modifier.to_owned());
        }
        let mut operands = Vec::new();
        let is_call = name == "call";
        if !self.is(';') {
            loop {
                // `(a, b)` is a list in calls, and a constant expression elsewhere.
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

    /// Parses a name with its component: `%tid.x`.
    fn name(&mut self, what: &str) -> Result<String, ParseError> {
        let mut name = self.word(what)?.to_owned();
        while let TokenKind::Dot(component) = self.kind() {
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
            TokenKind::Punctuation('{') => {
                self.at += 1;
                Operand::Vector(self.operands('}', depth)?)
            }
            TokenKind::Punctuation('[') => {
                self.at += 1;
                let address = self.bracketed(depth)?;
                self.expect(']')?;
                address
            }
            TokenKind::Float32(bits) => {
                self.at += 1;
                Operand::Float32(bits)
            }
            TokenKind::Punctuation('-') if matches!(self.ahead(1), TokenKind::Float32(_)) => {
                self.at += 1;
                let TokenKind::Float32(bits) = self.next().kind else {
                    return self.error("expected a number after `-`");
                };
                Operand::Float32(bits ^ 0x8000_0000)
            }
            _ if self.is_constant() => match self.constant(0)? {
                ConstantValue::Integer { bits, .. } => Operand::Integer(bits),
                ConstantValue::Float(value) => Operand::Float64(value.to_bits()),
            },
            TokenKind::Punctuation('!') => {
                self.at += 1;
                Operand::Not(self.name("a predicate")?)
            }
            TokenKind::Word("_") => {
                self.at += 1;
                Operand::Sink
            }
            TokenKind::Word(_) => {
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
