//! PTX text → [`syntax`]. The parser resolves no names and judges no instruction, so a module with a kernel that the
//! emulator does not know still runs its others.

mod constant;
mod error;
mod function;
mod instruction;
mod lexer;
mod parser;
pub(crate) mod syntax;
mod unit;
mod variable;

pub use error::ParseError;
pub(crate) use unit::parse;
