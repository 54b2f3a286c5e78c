//! The places where results are kept.
//!
//! ```text
//!   <package>/energy-cache/                    committed and published with the crate; written by `tune --ship` only
//!   <user cache>/<package>/                    written by builds and by the command; shared by all checkouts of the package;
//!                                              also results of stages, which are never shipped
//!   <user cache>/.state/<package>-<checkout>/  of one manifest folder: journals, edits, the operators that it uses
//!   <user cache>/.state/locks/                 locks of packages and devices
//! ```
//! Builds watch the first two. For a bucket and device class the valid record with the best
//! [standing](energy_kernel_compiler::record::Standing) wins, whichever place holds it. An invalid file is reported and ignored.

mod checkout;
mod contents;
mod files;
mod locks;
mod places;
mod stages;

pub use contents::{Contents, Results};
pub(crate) use files::write_atomically;
pub use files::{Unreadable, read_file};
pub use locks::Lock;
pub use places::{Cache, NoUserCache, Place, SHIPPED};
pub use stages::{CachedStages, STAGE_OF};
