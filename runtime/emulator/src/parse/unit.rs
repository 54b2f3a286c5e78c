//! A whole module: its directives and declarations.

use super::error::ParseError;
use super::lexer::{self, TokenKind};
use super::parser::Parser;
use super::syntax::Unit;

/// Parses the text of a module.
pub(crate) fn parse(text: &str) -> Result<Unit, ParseError> {
    let tokens = lexer::tokenize(text)?;
    Parser { tokens: &tokens, at: 0 }.unit()
}

impl Parser<'_, '_> {
    fn unit(&mut self) -> Result<Unit, ParseError> {
        let mut unit = Unit::default();
        let mut versioned = false;
        loop {
            match self.kind() {
                TokenKind::End => break,
                TokenKind::Dot("version") => {
                    self.at += 1;
                    match self.next().kind {
                        TokenKind::Float64(bits) => {
                            let tenths = (f64::from_bits(bits) * 10.0).round() as u32;
                            unit.version = (tenths / 10, tenths % 10);
                            versioned = true;
                        }
                        _ => return self.error("expected a version such as 8.0 after `.version`"),
                    }
                }
                TokenKind::Dot("target") => {
                    self.at += 1;
                    unit.target = self.word("a target such as sm_80")?.to_owned();
                    while self.accept(',') {
                        self.word("a target")?;
                    }
                }
                TokenKind::Dot("address_size") => {
                    self.at += 1;
                    if self.integer("an address size")? != 64 {
                        return self.unsupported("only 64-bit addresses are supported");
                    }
                }
                TokenKind::Dot("file") => {
                    while matches!(
                        self.ahead(1),
                        TokenKind::Integer { .. } | TokenKind::Text(_) | TokenKind::Punctuation(',')
                    ) {
                        self.at += 1;
                    }
                    self.at += 1;
                }
                TokenKind::Dot("loc" | "pragma") => self.skip_line_directive(),
                TokenKind::Dot("section") => self.skip_braces()?,
                TokenKind::Dot("alias") => return self.unsupported("`.alias` is not supported"),
                TokenKind::Punctuation(';') => self.at += 1,
                TokenKind::Dot(_) => self.declaration(&mut unit)?,
                _ => return self.error(format!("expected a directive, found {}", self.found())),
            }
        }
        if !versioned {
            return Err(ParseError::new(1, "PTX starts with `.version`; none was found"));
        }
        Ok(unit)
    }

    /// Parses a variable or a function of the module, with its linkage.
    fn declaration(&mut self, unit: &mut Unit) -> Result<(), ParseError> {
        let mut is_extern = false;
        loop {
            match self.kind() {
                TokenKind::Dot("extern") => is_extern = true,
                TokenKind::Dot("visible" | "weak" | "common") => {}
                TokenKind::Dot("entry" | "func") => {
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
                TokenKind::Dot("global" | "const" | "shared") => {
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
                TokenKind::Dot(other) => return self.unsupported(format!("`.{other}` in a module is not supported")),
                _ => {
                    return self.error(format!("expected a variable or function, found {}", self.found()));
                }
            }
            self.at += 1;
        }
    }
}
