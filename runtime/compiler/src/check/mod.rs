//! Checks an operator and derives the facts that everything after needs.
//!
//! [`Checked::new`] accepts any [`Op`](crate::ir::Op), even one decoded from hostile bytes. It checks the structure first, then types, extents
//! and reads. A [`Checked`] cannot be built any other way, so no later pass meets a malformed operator.
//! [`Checked::verify`] (in `range`) checks what depends on the sizes of a call.

mod axis_set;
mod call_error;
mod checked;
mod diagnostic;
mod extents;
mod joined;
mod range;
mod sizes;
mod structure;
mod types;
mod within;

pub use axis_set::AxisSet;
pub use call_error::CallError;
pub use checked::Checked;
pub use diagnostic::{Diagnostic, Subject};
pub use extents::Agreement;
pub(crate) use joined::{Joined, joined};
pub(crate) use range::Interval;
#[cfg(feature = "syn")]
pub(crate) use structure::{call_of_another_length, result_of_another_rank};
