//! Virtual GPUs: `libcuda.so.1` and `libnvidia-ml.so.1` in one library, for processes that are to take the way to a real GPU on a
//! machine without one.
//!
//! Kernels run on the project's emulator. Time and energy are simulated on the wall clock. The library is a judge: it keeps to what
//! NVIDIA's documentation promises and to no more. Work is executed at the last moment at which a driver may, so that a wait that is
//! missing gives a wrong result; memory is freed in the order of its stream, so that a use after that is an illegal address; what is
//! left at the end is counted. [`Virtual`] starts processes on it.
//!
//! # Settings
//!
//! Everything is told by variables of the environment. One that is not in this list, or whose value cannot be understood, is printed, and
//! every call then answers "unknown error" (999).
//!
//! | `VIRTUAL_GPU_…` | value, and what it is if not set | |
//! |---|---|---|
//! | `DEVICES` | `9.0`; a list as `9.0,8.6`, or `none` | Capabilities: 8.0, 8.6, 8.9, 9.0, 10.0, 12.0, and 7.5, which the product does not support. |
//! | `CUDA` | `12.0`, or `12.8` from 10.0 on | The driver's CUDA version, and with it the PTX that it takes. |
//! | `MEMORY_MB` | `4096` | Megabytes that can be allocated on each device; more is what "other processes" have. |
//! | `POOLS` | `1` | 0: no stream-ordered allocation. |
//! | `THREADS` | `1` | Host threads that run a kernel. |
//! | `SANITIZE` | `0` | 1: launches run under the emulator's sanitizer; a finding is a failed launch. |
//! | `GRAPHS` | `all`; `sample` | Nodes of a graph that are executed: every one at each launch, or the first and last at the first launch. Time and energy pass for all. |
//! | `REGISTERS` | `40` | Registers that every kernel has. |
//! | `SPEED` | `1` | Kernels take their simulated time, and energy, divided by this. |
//! | `CLOCK` | `1` | Seconds of the process that pass in a second, for programs that wait long: a whole number. [`Virtual`] preloads the library that does it; the settings above and below are in the process's time. |
//! | `KERNEL_US` | | Every kernel takes so many microseconds, instead of what is simulated. |
//! | `WATTS` | | The board draws so much, whatever it does. |
//! | `INSTANT_WATTS` | | Instant power shows so much, whatever is drawn. |
//! | `TICK_MS` | `100` | The energy counter moves about so often; 0: never. A reading takes 2.4 % of it. |
//! | `COUNTER_BITS` | `64` | 32: it overflows. |
//! | `COUNTER_FIRST` | `1000000` | Where it begins, in millijoules. |
//! | `CELSIUS` | `45` | Temperature. |
//! | `THROTTLE` | `0` | NVML's mask of reasons, in decimal. |
//! | `FOREIGN` | `0` | Other processes on the board. |
//! | `MIG` | `0` | 1: the board is partitioned. |
//! | `FAIL` | | Calls that fail: `FUNCTION:WHICH:CODE`, a list. `FUNCTION` may end in `*`. `WHICH` counts calls of that function: `3`, `3+` from it on, `%3` each third. `CODE` is a number, with `:sticky` for an error that breaks the device; `hang` for a call that never returns; `crash` for one that ends the process. |
//! | `LIE` | | Functions that report success and do nothing, a list: [controls](LIARS) of the tests. |
//! | `KERNELS` | | Kernels with a defect: `DEFECT:TEXT` for those whose PTX has that text, `DEFECT:#WHICH` for the modules of that number; a list. The defects are `illegal` (breaks the device), `hang`, `idle` (does nothing), `crash` (ends the process), `spill`, `reject` (cannot be loaded). |
//! | `REPORT` | | A folder; each process leaves a [`Report`] there. |
//! | `TRACE` | | A file, to which every call and its answer is added. |
//!
//! # What it does not have
//!
//! Contexts other than primary ones, pinned and managed memory, peer access, textures, events of other processes. Calls for
//! these answer "not supported" (801), and the report says so.

mod abi;
mod capture;
mod clock;
mod codes;
mod cost;
mod driver;
mod machine;
mod modules;
mod nvml;
mod profile;
mod report;
mod settings;
mod stream;
mod virtual_gpu;

pub use profile::{PROFILES, Profile};
pub use report::Report;
pub use settings::LIARS;
pub use virtual_gpu::{Run, Virtual, is_child, while_failing};
