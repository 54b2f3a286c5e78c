//! The parser's position in the tokens, and the primitives of its rules: looking ahead, expecting, skipping.

use super::error::ParseError;
use super::lexer::{Token, TokenKind};

/// The deepest nesting of braces and expressions. Bounds on nesting and sizes keep hostile text from exhausting the
/// host.
pub(super) const DEEPEST_NESTING: u32 = 64;

/// A recursive-descent parser. The files of this folder add its rules.
pub(super) struct Parser<'t, 'a> {
    pub tokens: &'t [Token<'a>],
    pub at: usize,
}

impl<'a> Parser<'_, 'a> {
    pub(super) fn token(&self) -> Token<'a> {
        self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    pub(super) fn ahead(&self, count: usize) -> TokenKind<'a> {
        self.tokens[(self.at + count).min(self.tokens.len() - 1)].kind
    }

    pub(super) fn kind(&self) -> TokenKind<'a> {
        self.token().kind
    }

    pub(super) fn next(&mut self) -> Token<'a> {
        let token = self.token();
        self.at += 1;
        token
    }

    pub(super) fn error<T>(&self, message: impl Into<String>) -> Result<T, ParseError> {
        Err(ParseError::new(self.token().line, message))
    }

    pub(super) fn unsupported<T>(&self, message: impl Into<String>) -> Result<T, ParseError> {
        Err(ParseError::unsupported(self.token().line, message))
    }

    /// `true` if no blanks separate the next `count` tokens.
    pub(super) fn adjacent(&self, count: usize) -> bool {
        let tokens = self.tokens.get(self.at..self.at + count).unwrap_or_default();
        tokens.windows(2).all(|pair| pair[0].end == pair[1].start)
    }

    pub(super) fn found(&self) -> String {
        match self.kind() {
            TokenKind::Word(word) => format!("`{word}`"),
            TokenKind::Dot(word) => format!("`.{word}`"),
            TokenKind::Punctuation(character) => format!("`{character}`"),
            TokenKind::End => "the end of the text".into(),
            TokenKind::Text(text) => format!("\"{text}\""),
            TokenKind::Integer { .. } | TokenKind::Float32(_) | TokenKind::Float64(_) => "a number".into(),
        }
    }

    pub(super) fn is(&self, character: char) -> bool {
        self.kind() == TokenKind::Punctuation(character)
    }

    pub(super) fn accept(&mut self, character: char) -> bool {
        let found = self.is(character);
        self.at += usize::from(found);
        found
    }

    pub(super) fn accept_dot(&mut self, name: &str) -> bool {
        let found = self.kind() == TokenKind::Dot(name);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, character: char) -> Result<(), ParseError> {
        if self.accept(character) {
            return Ok(());
        }
        self.error(format!("expected `{character}`, found {}", self.found()))
    }

    pub(super) fn word(&mut self, what: &str) -> Result<&'a str, ParseError> {
        match self.kind() {
            TokenKind::Word(word) => {
                self.at += 1;
                Ok(word)
            }
            _ => self.error(format!("expected {what}, found {}", self.found())),
        }
    }

    pub(super) fn integer(&mut self, what: &str) -> Result<u64, ParseError> {
        let negative = self.accept('-');
        match self.kind() {
            TokenKind::Integer { value, .. } => {
                self.at += 1;
                Ok(if negative { value.wrapping_neg() } else { value })
            }
            TokenKind::Word("WARP_SZ") if !negative => {
                self.at += 1;
                Ok(32)
            }
            _ => self.error(format!("expected {what}, found {}", self.found())),
        }
    }

    pub(super) fn small(&mut self, what: &str) -> Result<u32, ParseError> {
        let value = self.integer(what)?;
        match u32::try_from(value) {
            Ok(value) => Ok(value),
            Err(_) => self.error(format!("{what} {value} is too large")),
        }
    }

    /// Skips `.loc …` or `.pragma …;`, which do not change what a program does.
    pub(super) fn skip_line_directive(&mut self) {
        let line = self.token().line;
        self.at += 1;
        while self.token().line == line && !matches!(self.kind(), TokenKind::End | TokenKind::Punctuation('}')) {
            if self.accept(';') {
                return;
            }
            self.at += 1;
        }
    }

    pub(super) fn skip_braces(&mut self) -> Result<(), ParseError> {
        while !self.is('{') {
            if self.kind() == TokenKind::End {
                return self.error("expected `{` after `.section`");
            }
            self.at += 1;
        }
        while !self.accept('}') {
            if self.kind() == TokenKind::End {
                return self.error("a section is never closed");
            }
            self.at += 1;
        }
        Ok(())
    }
}
