//! A lowered stage.

use crate::kernel::{Launch, ScratchContent};
use crate::ptx::text::Entry;

/// A lowered stage before it is text.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// The instructions.
    pub entry: Entry,
    /// The launch. Its parameters count scratch memory from this stage's first one.
    pub launch: Launch,
    /// The scratch memory of the stage.
    pub scratch: Vec<ScratchContent>,
}
