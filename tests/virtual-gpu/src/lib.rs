//! Virtual GPUs: a `libcuda.so.1` and a `libnvidia-ml.so.1` for machines without a GPU, in one shared library.
//!
//! Kernels run on the project's emulator. Time and energy are simulated on the wall clock. The library judges programs: it promises what
//! NVIDIA's documentation promises, and nothing more.
//!
//! - Work runs at the last legal moment. A missing wait gives a wrong result.
//! - Memory is freed in stream order. A use that is not ordered between allocation and free is a line in the report, and an illegal address if
//!   it happens.
//! - Unwritten memory is NaN or −1.
//! - An asynchronous error is sticky until the process ends.
//! - Calls need a current context, captures keep their rules, and launches and PTX keep to the limits of the device.
//! - At exit a [`Report`] lists calls, leaks and mistakes.
//!
//! [`Virtual`] starts processes on virtual GPUs.
//!
//! # Settings
//!
//! Environment variables are the only configuration. An unknown variable of the prefix or an invalid value is printed, and every call then
//! returns 999 (unknown error).
//!
//! | `VIRTUAL_GPU_…` | default | meaning |
//! |---|---|---|
//! | `DEVICES` | `9.0` | Compute capabilities, such as `9.0,8.6` for two devices, or `none`. Known are 8.0, 8.6, 8.9, 9.0, 10.0, 12.0, and the unsupported 7.5. |
//! | `CUDA` | of the device | The driver's CUDA version, such as `12.4`. It limits the PTX version. |
//! | `MEMORY_MB` | `4096` | Megabytes that a program can allocate on each device. |
//! | `POOLS` | `1` | 0: no stream-ordered allocation. |
//! | `THREADS` | `1` | Host threads of a launch. |
//! | `SANITIZE` | `0` | 1: launches run under the emulator's sanitizer, and a finding fails the launch. |
//! | `GRAPHS` | `all` | `sample`: a graph executes its first and last node at its first launch only. Time and energy pass for all nodes. |
//! | `REGISTERS` | `40` | Registers a thread of every kernel. |
//! | `SPEED` | `1` | The divisor of the simulated time and energy of kernels. |
//! | `CLOCK` | `1` | The speed of the process's clock, a whole number, for programs that wait long. All other settings are in the process's time. [`Virtual`] preloads the library that this needs. |
//! | `KERNEL_US` | simulated | Microseconds of every kernel. |
//! | `WATTS` | simulated | The power of the board. |
//! | `INSTANT_WATTS` | the power | The reading of instant power. |
//! | `TICK_MS` | `100` | Milliseconds between steps of the energy counter. 0: it stands still. A reading takes 2.4 % of a step. |
//! | `COUNTER_BITS` | `64` | 32: the counter wraps. |
//! | `COUNTER_FIRST` | `1000000` | The counter's first value in millijoules. |
//! | `CELSIUS` | `45` | The temperature when the process starts. |
//! | `HEATING` | `0` | Degrees by which the temperature rises a second. |
//! | `THROTTLE` | `0` | NVML's mask of throttle reasons, in decimal. |
//! | `FOREIGN` | `0` | The number of other processes on the board. |
//! | `MIG` | `0` | 1: the board is partitioned. |
//! | `FAIL` | | Faults to inject, a list of `FUNCTION:WHICH:EFFECT`. `FUNCTION` may end in `*`. `WHICH` selects calls of the function: `3`, `3+` (and later), `%3` (every third). `EFFECT` is an error code, `CODE:sticky` for one that breaks the device, `hang` or `crash`. |
//! | `LIE` | | Functions that do nothing and report success, a list of [`LIARS`]. |
//! | `KERNELS` | | Defective kernels, a list of `DEFECT:TEXT` (PTX that contains the text) or `DEFECT:#WHICH` (modules by load order). Defects: `illegal` (breaks the device), `hang`, `idle` (does nothing), `crash` (ends the process), `spill`, `reject` (does not load). |
//! | `REPORT` | | A folder in which each process leaves its [`Report`]. |
//! | `TRACE` | | A file to which every call and its result are appended. |
//!
//! # Limits
//!
//! There are no contexts but primary ones, no pinned or managed memory, no peer access, no textures and no events of other processes.
//! Calls for these return 801 (not supported), and the report lists them. A device runs one piece of work at a time.

mod abi;
mod capture;
mod clock;
mod codes;
mod cost;
mod driver;
mod machine;
mod modules;
mod nvml;
mod order;
mod profile;
mod report;
mod settings;
mod stream;
mod virtual_gpu;

pub use profile::{PROFILES, Profile};
pub use report::Report;
pub use settings::LIARS;
pub use virtual_gpu::{Run, Virtual, is_child, while_failing};
