//! The lexer: splits PTX text into tokens, each with its line and byte range.

use super::error::ParseError;

/// A token without its position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum TokenKind<'a> {
    /// A name: `add`, `%r1`, `$L__BB0_1`, `_`.
    Word(&'a str),
    /// A name after a dot, without the dot: `.global` gives `global`, `.L2::evict_first` gives `L2::evict_first`.
    Dot(&'a str),
    /// An integer literal. It is unsigned if a `U` follows or if it exceeds `i64::MAX`.
    Integer { value: u64, unsigned: bool },
    /// A single-precision literal `0f…`, as its bits.
    Float32(u32),
    /// A double-precision literal `0d…` or `1.5`, as its bits.
    Float64(u64),
    /// A quoted string, without its quotes.
    Text(&'a str),
    /// A punctuation character.
    Punctuation(char),
    /// The end of the text.
    End,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Token<'a> {
    pub kind: TokenKind<'a>,
    pub line: u32,
    pub start: usize,
    pub end: usize,
}

/// Splits the whole text into tokens, of which the last one is `TokenKind::End`.
pub(crate) fn tokenize(text: &str) -> Result<Vec<Token<'_>>, ParseError> {
    let mut lexer = Lexer {
        text,
        bytes: text.as_bytes(),
        at: 0,
        line: 1,
    };
    let mut tokens = Vec::with_capacity(text.len() / 4);
    loop {
        let token = lexer.next()?;
        let done = token.kind == TokenKind::End;
        tokens.push(token);
        if done {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    line: u32,
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'%')
}

impl<'a> Lexer<'a> {
    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn error(&self, message: impl Into<String>) -> ParseError {
        ParseError::new(self.line, message)
    }

    fn skip_blanks(&mut self) -> Result<(), ParseError> {
        loop {
            match self.peek(0) {
                b'\n' => {
                    self.line += 1;
                    self.at += 1;
                }
                b' ' | b'\t' | b'\r' => self.at += 1,
                // NVRTC ends its text with a NUL byte.
                0 if self.at < self.bytes.len() => self.at += 1,
                b'/' if self.peek(1) == b'/' => {
                    while self.at < self.bytes.len() && self.peek(0) != b'\n' {
                        self.at += 1;
                    }
                }
                b'/' if self.peek(1) == b'*' => {
                    let opened = self.line;
                    self.at += 2;
                    while !(self.peek(0) == b'*' && self.peek(1) == b'/') {
                        if self.at >= self.bytes.len() {
                            return Err(ParseError::new(opened, "a comment opened here is never closed"));
                        }
                        self.line += u32::from(self.peek(0) == b'\n');
                        self.at += 1;
                    }
                    self.at += 2;
                }
                _ => return Ok(()),
            }
        }
    }

    fn next(&mut self) -> Result<Token<'a>, ParseError> {
        self.skip_blanks()?;
        let start = self.at;
        let line = self.line;
        let first = self.peek(0);
        let kind = if start >= self.bytes.len() {
            TokenKind::End
        } else if first.is_ascii_digit() {
            self.number()?
        } else if is_word(first) {
            self.at += 1;
            while is_word(self.peek(0)) && self.peek(0) != b'%' {
                self.at += 1;
            }
            TokenKind::Word(&self.text[start..self.at])
        } else if first == b'.' && is_word(self.peek(1)) {
            self.at += 1;
            while is_word(self.peek(0)) || (self.peek(0) == b':' && self.peek(1) == b':' && is_word(self.peek(2))) {
                self.at += if self.peek(0) == b':' { 2 } else { 1 };
            }
            TokenKind::Dot(&self.text[start + 1..self.at])
        } else if first == b'"' {
            self.at += 1;
            while self.peek(0) != b'"' {
                if self.at >= self.bytes.len() || self.peek(0) == b'\n' {
                    return Err(self.error("a string opened here is never closed"));
                }
                self.at += 1;
            }
            self.at += 1;
            TokenKind::Text(&self.text[start + 1..self.at - 1])
        } else if first.is_ascii() {
            self.at += 1;
            TokenKind::Punctuation(first as char)
        } else {
            return Err(self.error("a character outside ASCII"));
        };
        Ok(Token {
            kind,
            line,
            start,
            end: self.at,
        })
    }

    fn number(&mut self) -> Result<TokenKind<'a>, ParseError> {
        let start = self.at;
        let bits = |digits: &str, length: usize| {
            (digits.len() == length)
                .then(|| u64::from_str_radix(digits, 16).ok())
                .flatten()
        };
        let prefix = [self.peek(0), self.peek(1).to_ascii_lowercase()];
        if prefix == *b"0f" || prefix == *b"0d" {
            self.at += 2;
            let from = self.at;
            while self.peek(0).is_ascii_hexdigit() {
                self.at += 1;
            }
            let digits = &self.text[from..self.at];
            let literal = if prefix[1] == b'f' {
                bits(digits, 8).map(|bits| TokenKind::Float32(bits as u32))
            } else {
                bits(digits, 16).map(TokenKind::Float64)
            };
            return literal.ok_or_else(|| {
                self.error(format!(
                    "`{}` is not a float literal: 0f takes 8 and 0d takes 16 hexadecimal digits",
                    &self.text[start..self.at]
                ))
            });
        }
        let radix = match prefix {
            [b'0', b'x'] => 16,
            [b'0', b'b'] => 2,
            _ => 10,
        };
        if radix != 10 {
            self.at += 2;
            let from = self.at;
            while self.peek(0).is_ascii_hexdigit() {
                self.at += 1;
            }
            let digits = &self.text[from..self.at];
            let marked = self.unsigned_mark();
            return u64::from_str_radix(digits, radix)
                .map(|value| integer(value, marked))
                .map_err(|_| self.error(format!("`{}` is not an integer", &self.text[start..self.at])));
        }
        while self.peek(0).is_ascii_digit() {
            self.at += 1;
        }
        let fraction = self.peek(0) == b'.' && self.peek(1).is_ascii_digit();
        let exponent = matches!(self.peek(0), b'e' | b'E');
        if fraction || exponent {
            if fraction {
                self.at += 1;
                while self.peek(0).is_ascii_digit() {
                    self.at += 1;
                }
            }
            if matches!(self.peek(0), b'e' | b'E') {
                self.at += 1;
                self.at += usize::from(matches!(self.peek(0), b'+' | b'-'));
                while self.peek(0).is_ascii_digit() {
                    self.at += 1;
                }
            }
            let digits = &self.text[start..self.at];
            return digits
                .parse::<f64>()
                .map(|value| TokenKind::Float64(value.to_bits()))
                .map_err(|_| self.error(format!("`{digits}` is not a number")));
        }
        let digits = &self.text[start..self.at];
        let marked = self.unsigned_mark();
        // A leading zero means octal, as in C.
        let octal = digits.len() > 1 && digits.starts_with('0');
        u64::from_str_radix(digits, if octal { 8 } else { 10 })
            .map(|value| integer(value, marked))
            .map_err(|_| self.error(format!("`{digits}` is not a 64-bit integer")))
    }

    /// Takes the `U` that makes an integer unsigned.
    fn unsigned_mark(&mut self) -> bool {
        let marked = self.peek(0) == b'U';
        self.at += usize::from(marked);
        marked
    }
}

fn integer<'a>(value: u64, marked: bool) -> TokenKind<'a> {
    TokenKind::Integer {
        value,
        unsigned: marked || value > i64::MAX as u64,
    }
}
