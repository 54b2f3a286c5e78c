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
//! # Architecture
//!
//! ```text
//! text ── parse ──▶ syntax ── decode ──▶ Executable ── run ──▶ memory, Report
//!                              ╰──── execute ────╯
//! ```
//!
//! Files depend on each other one way only, in this order:
//! - `host`, `numerics`, `memory`, `count`, `sanitize`, `error`, `options`: number formats, and the data of the API;
//! - `parse`: the syntax of PTX. `layout` places variables;
//! - `machine`: the program, and the state that instructions read and write;
//! - `draft`: one instruction being decoded;
//! - `execute`: the instructions, one file for each group: how they decode, and what they do;
//! - `decode`: functions and kernels, from syntax to an executable program;
//! - `run`: the interpreter, which runs blocks, warps and control transfers;
//! - `module`, `launch`: the API.
//!
//! Invariants:
//! - The crate knows PTX, and nothing of the compiler that emits it: it is an independent check.
//! - Nothing is guessed. A modifier, type or operand that no decoder takes is [`Error::Unsupported`], raised when a
//!   kernel that reaches it is launched.
//! - No input, neither PTX nor an address, reaches the host's memory unchecked. No program hangs a launch that has an
//!   [`Options::instruction_limit`].
//! - Counts and findings do not depend on how blocks were spread over host threads.
//!
//! The emulator does not model the order of weak memory accesses, time (the clock counts instructions), tensor maps and
//! textures. Memory is sequentially consistent. Only the sanitizer uses releases, acquires, fences and barriers: it
//! finds accesses to shared memory that nothing orders. It does not look for races in global memory. NVIDIA does not
//! document how tensor cores add; [`TensorCores`] names the measurements that the emulator follows.
//!
//! # How to add an instruction
//!
//! 1. Find the file of its group in `execute/`. `execute::decode` sends an instruction there by its first word: add the
//!    word if it is new.
//! 2. Define what one lane computes in the file's `lanes!` block: `Average(a: u32, b: u32) -> u32 { … }`. An
//!    instruction that needs memory or other lanes is a function instead, with the signature
//!    `machine::action::WarpFunction`, or `SyncFunction` if it is warp-synchronous.
//! 3. In the file's `decode`, take every modifier from the `Draft`, resolve the operands to slots, and emit the
//!    operation with its `Class` and flops: `draft.lanes::<Average>(to, &[a, b], 0, Class::Integer, 0)`, or `draft.emit`
//!    with an `Action`.
//! 4. Add a case to `tests/instructions.rs` that checks it against an independent computation.

mod count;
mod decode;
mod draft;
mod error;
mod execute;
mod host;
mod launch;
mod layout;
mod liveness;
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
