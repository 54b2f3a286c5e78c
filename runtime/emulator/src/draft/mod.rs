//! A draft is one instruction being decoded: the files of [`crate::execute`] take its modifiers and operands, and emit
//! its operations.
//!
//! Names become register slots and offsets here. Every modifier must be taken: one that is left over is an error, so no
//! instruction ever runs under a guessed meaning.

pub(crate) mod call;
pub(crate) mod decoder;
mod emission;
mod helpers;
pub(crate) mod instruction;
mod operands;
pub(crate) mod scope;
mod special;
pub(crate) mod text;

pub(crate) use helpers::{AddOffset, ConstantPredicate, Nothing, Truncate};
pub(crate) use scope::Location;
pub(crate) use text::Draft;
