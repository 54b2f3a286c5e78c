//! A faster clock. Preloaded into a process, this library multiplies the monotonic clock by `VIRTUAL_GPU_CLOCK` and divides sleeps and
//! timeouts by it: with 5, ten seconds of measuring take two. The time of day is unchanged.
//!
//! It replaces `clock_gettime`, `nanosleep`, `clock_nanosleep` and, in `syscall`, the futex that Rust's standard library waits with. Other
//! timeouts (`poll`, `select`) are unchanged.

#![cfg(target_os = "linux")]

use std::ffi::{CStr, c_char, c_int, c_long, c_void};
use std::sync::atomic::{AtomicI64, AtomicPtr, Ordering::Relaxed};

/// `struct timespec`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Time {
    seconds: i64,
    nanoseconds: c_long,
}

unsafe extern "C" {
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    fn getenv(name: *const c_char) -> *const c_char;
}

/// `RTLD_NEXT`: the function that this library replaces.
const NEXT: *mut c_void = -1isize as *mut c_void;
const CLOCK_MONOTONIC: c_int = 1;
const CLOCK_MONOTONIC_RAW: c_int = 4;
const CLOCK_MONOTONIC_COARSE: c_int = 6;
const CLOCK_BOOTTIME: c_int = 7;
const TIMER_ABSTIME: c_int = 1;
const FUTEX_WAIT: c_long = 0;
const FUTEX_WAIT_BITSET: c_long = 9;
const FUTEX_CLOCK_REALTIME: c_long = 256;
/// The mask of a futex operation without its flags.
const FUTEX_OPERATION: c_long = 0x7F;
#[cfg(target_arch = "x86_64")]
const SYS_FUTEX: c_long = 202;
#[cfg(not(target_arch = "x86_64"))]
const SYS_FUTEX: c_long = 98;

/// Returns the factor. It takes no lock: locks may wait through this library.
fn factor() -> i64 {
    static FACTOR: AtomicI64 = AtomicI64::new(0);
    match FACTOR.load(Relaxed) {
        0 => {
            // SAFETY: a name that ends with a zero byte; what comes back is null or such a text.
            let value = unsafe {
                let value = getenv(c"VIRTUAL_GPU_CLOCK".as_ptr());
                if value.is_null() { c"" } else { CStr::from_ptr(value) }
            };
            let factor = value.to_str().ok().and_then(|text| text.parse().ok());
            let factor: i64 = factor.unwrap_or(1).clamp(1, 1000);
            FACTOR.store(factor, Relaxed);
            factor
        }
        factor => factor,
    }
}

fn runs_faster(clock: c_int) -> bool {
    matches!(
        clock,
        CLOCK_MONOTONIC | CLOCK_MONOTONIC_RAW | CLOCK_MONOTONIC_COARSE | CLOCK_BOOTTIME
    )
}

impl Time {
    fn total(self) -> i64 {
        self.seconds
            .saturating_mul(1_000_000_000)
            .saturating_add(self.nanoseconds)
    }

    fn of(total: i64) -> Time {
        Time {
            seconds: total / 1_000_000_000,
            nanoseconds: total % 1_000_000_000,
        }
    }

    /// Converts a time of the process to the system's, rounded up.
    fn slower(self) -> Time {
        Time::of(self.total().saturating_add(factor() - 1) / factor())
    }

    /// Converts a time of the system to the process's.
    fn faster(self) -> Time {
        Time::of(self.total().saturating_mul(factor()))
    }
}

/// Returns the replaced function, looked up once.
macro_rules! next {
    ($name:literal as $type:ty) => {{
        static FOUND: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
        let mut found = FOUND.load(Relaxed);
        if found.is_null() {
            // SAFETY: the system's library has each of these functions.
            found = unsafe { dlsym(NEXT, $name.as_ptr()) };
            FOUND.store(found, Relaxed);
        }
        // SAFETY: the type is that of the function's documentation.
        unsafe { std::mem::transmute::<*mut c_void, $type>(found) }
    }};
}

type ClockGettime = unsafe extern "C" fn(c_int, *mut Time) -> c_int;
type ClockNanosleep = unsafe extern "C" fn(c_int, c_int, *const Time, *mut Time) -> c_int;
type Nanosleep = unsafe extern "C" fn(*const Time, *mut Time) -> c_int;
type Syscall = unsafe extern "C" fn(c_long, c_long, c_long, c_long, c_long, c_long, c_long) -> c_long;

/// # Safety
/// As the system's function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: c_int, time: *mut Time) -> c_int {
    let next = next!(c"clock_gettime" as ClockGettime);
    // SAFETY: passed on as it came.
    let answer = unsafe { next(clock, time) };
    if answer == 0 && runs_faster(clock) {
        // SAFETY: the system has just written there.
        unsafe { *time = (*time).faster() };
    }
    answer
}

/// # Safety
/// As the system's function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_nanosleep(clock: c_int, flags: c_int, time: *const Time, left: *mut Time) -> c_int {
    let next = next!(c"clock_nanosleep" as ClockNanosleep);
    if flags & TIMER_ABSTIME != 0 && !runs_faster(clock) {
        // SAFETY: passed on as it came.
        return unsafe { next(clock, flags, time, left) };
    }
    // SAFETY: the caller gives a time, and room for one or null.
    unsafe {
        let answer = next(clock, flags, &(*time).slower(), left);
        hasten(left, flags & TIMER_ABSTIME == 0 && answer != 0);
        answer
    }
}

/// # Safety
/// As the system's function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nanosleep(time: *const Time, left: *mut Time) -> c_int {
    let next = next!(c"nanosleep" as Nanosleep);
    // SAFETY: the caller gives a time, and room for one or null.
    unsafe {
        let answer = next(&(*time).slower(), left);
        hasten(left, answer != 0);
        answer
    }
}

/// Converts the rest of an interrupted sleep to the process's time.
///
/// # Safety
/// `left` is null, or points to a time that the system wrote if `written`.
unsafe fn hasten(left: *mut Time, written: bool) {
    if written && !left.is_null() {
        // SAFETY: not null, and written.
        unsafe { *left = (*left).faster() };
    }
}

/// The replaced function is variadic. All arguments are passed in the same way, whatever their number.
///
/// # Safety
/// As the system's function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syscall(
    number: c_long,
    first: c_long,
    operation: c_long,
    third: c_long,
    timeout: c_long,
    fifth: c_long,
    sixth: c_long,
) -> c_long {
    let next = next!(c"syscall" as Syscall);
    let waits = matches!(operation & FUTEX_OPERATION, FUTEX_WAIT | FUTEX_WAIT_BITSET);
    let given = timeout as *const Time;
    if number != SYS_FUTEX || !waits || operation & FUTEX_CLOCK_REALTIME != 0 || given.is_null() {
        // SAFETY: passed on as it came.
        return unsafe { next(number, first, operation, third, timeout, fifth, sixth) };
    }
    // SAFETY: this call takes a time in that place, from now on or of the monotonic clock.
    unsafe {
        let sooner = (*given).slower();
        let timeout = std::ptr::from_ref(&sooner) as c_long;
        next(number, first, operation, third, timeout, fifth, sixth)
    }
}
