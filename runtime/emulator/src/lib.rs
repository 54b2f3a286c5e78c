//! Runs, checks and counts PTX on the CPU.
//!
//! ```
//! use energy_kernel_emulator::{Argument, Launch, Memory, Module, Options, launch};
//!
//! let module = Module::parse(r#"
//!     .version 8.0
//!     .target sm_80
//!     .address_size 64
//!     .visible .entry double_all(.param .u64 data) {
//!         .reg .b32 %r<3>; .reg .f32 %f<2>; .reg .b64 %rd<4>;
//!         ld.param.u64 %rd0, [data];
//!         mov.u32 %r0, %tid.x;
//!         mul.wide.u32 %rd1, %r0, 4;
//!         add.s64 %rd2, %rd0, %rd1;
//!         ld.global.f32 %f0, [%rd2];
//!         add.f32 %f1, %f0, %f0;
//!         st.global.f32 [%rd2], %f1;
//!         ret;
//!     }
//! "#)?;
//! let memory = Memory::new(1 << 20);
//! let data = memory.allocate(128)?;
//! for index in 0..32u64 {
//!     memory.write(data + 4 * index, &(index as f32).to_le_bytes())?;
//! }
//! let report = launch(&module, "double_all", &memory, &Launch {
//!     grid: [1, 1, 1],
//!     block: [32, 1, 1],
//!     dynamic_shared: 0,
//!     arguments: &[Argument::U64(data)],
//!     options: Options { sanitize: true, count: true, ..Options::default() },
//! })?;
//! assert!(report.findings.is_empty());
//! assert_eq!(report.counts.flops, 32);
//! let mut last = [0; 4];
//! memory.read(data + 124, &mut last)?;
//! assert_eq!(f32::from_le_bytes(last), 62.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How it is built
//!
//! ```text
//! text ── parse ──▶ syntax ── decode ──▶ Program ── machine ──▶ memory, Report
//!                      ▲         ▲                     ▲
//!                    layout   execute (what each instruction means, one file per group)
//! ```
//!
//! Invariants:
//! - The crate knows PTX and nothing of the compiler that emits it: it is an independent check.
//! - Nothing is guessed: a modifier, type or operand that no decoder takes is [`Error::Unsupported`], raised when a
//!   kernel that reaches it is launched.
//! - No input, PTX or memory address, reaches the host's memory unchecked; no program hangs a launch that has an
//!   [`Options::instruction_limit`].
//! - Counts and findings do not depend on how blocks were spread over host threads.
//!
//! What is not modelled: the order of weak memory accesses, time (the clock counts instructions), tensor maps and
//! textures. Memory is sequentially consistent. The sanitizer alone looks at releases, acquires, fences and barriers: it
//! finds the accesses to shared memory that nothing orders. Races in global memory are not looked for. How tensor cores
//! add is not documented by their maker; what is done here was measured by others ([`TensorCores`]).
//!
//! # How to add an instruction
//!
//! 1. Find the file of its group in `execute/`; `execute::decode` sends the first word of an instruction there.
//! 2. Say what one lane computes, in the file's `lanes!` block: `Average(a: u32, b: u32) -> u32 { … }`. An instruction
//!    that needs memory or other lanes is a function with the signature `program::Machine` instead.
//! 3. In the file's `decode`, take every modifier from the `Draft` and emit the operation with its `Class` and flops.
//! 4. Add a case to `tests/instructions.rs`, against an independent computation.

mod count;
mod decode;
mod draft;
mod error;
mod execute;
mod host;
mod launch;
mod layout;
mod machine;
mod memory;
mod module;
mod numerics;
mod options;
mod parse;
mod run;
mod sanitize;

pub use count::{ByClass, Class, Counts};
pub use error::Error;
pub use launch::{Argument, Launch, Report, launch};
pub use memory::{Memory, MemoryError};
pub use module::{Kernel, Module, Parameter};
pub use numerics::tensor::TensorCores;
pub use options::Options;
pub use parse::ParseError;
pub use parse::syntax::{Space, Type};
pub use sanitize::{Finding, FindingKind};
