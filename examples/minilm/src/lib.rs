//! The sentence encoder all-MiniLM-L6-v2: a BERT of 6 layers, 384 wide, whose mean over tokens is the embedding.
//!
//! [`operators`] holds the mathematics, each operator an annotated function; [`model`] puts them together;
//! [`weights`] reads the published files.

pub mod model;
pub mod operators;
pub mod weights;

pub use model::Encoder;
pub use weights::Weights;
