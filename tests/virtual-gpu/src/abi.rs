//! The pointers of C callers. The unsafe parts of the C interface are here, behind types that only C can make.
//!
//! The contract is the documentation of the two libraries: for the duration of a call a pointer is null or points to what the
//! function's documentation names.

use crate::codes::{Answer, Code};
use std::ffi::{CStr, c_char};

/// An output parameter.
#[repr(transparent)]
pub struct Out<T>(*mut T);

impl<T> Out<T> {
    pub fn set(self, value: T) -> Answer {
        if self.0.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        // SAFETY: not null, so it points to a `T` that the caller lets us write.
        unsafe { self.0.write(value) };
        Ok(())
    }
}

/// A parameter that a call reads and writes.
#[repr(transparent)]
pub struct InOut<T>(*mut T);

impl<T: Copy> InOut<T> {
    pub fn replace(self, value: T) -> Answer<T> {
        if self.0.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        // SAFETY: not null, so it points to an initialised `T` that the caller lets us write.
        Ok(unsafe { self.0.replace(value) })
    }

    /// Replaces the value by a function of it.
    pub fn update(self, make: impl FnOnce(T) -> Answer<T>) -> Answer {
        if self.0.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        // SAFETY: as above.
        let value = make(unsafe { self.0.read() })?;
        // SAFETY: as above.
        unsafe { self.0.write(value) };
        Ok(())
    }
}

/// A zero-terminated text.
#[repr(transparent)]
pub struct Text(*const c_char);

impl Text {
    pub fn read(&self) -> Answer<&str> {
        if self.0.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        // SAFETY: not null, so it points to a text that ends with a zero byte and lives during the call.
        let text = unsafe { CStr::from_ptr(self.0) };
        text.to_str().map_err(|_| Code::INVALID_VALUE)
    }
}

/// An input array.
#[repr(transparent)]
pub struct Array<T>(*const T);

impl<T> Array<T> {
    pub fn slice(&self, length: usize) -> Answer<&[T]> {
        match length {
            0 => Ok(&[]),
            _ if self.0.is_null() => Err(Code::INVALID_VALUE),
            // SAFETY: not null, so the caller has so many values there.
            _ => Ok(unsafe { std::slice::from_raw_parts(self.0, length) }),
        }
    }
}

/// An output array.
#[repr(transparent)]
pub struct Room<T>(*mut T);

impl<T> Room<T> {
    pub fn slice(&mut self, length: usize) -> Answer<&mut [T]> {
        match length {
            0 => Ok(&mut []),
            _ if self.0.is_null() => Err(Code::INVALID_VALUE),
            // SAFETY: not null, so the caller has room for so many there, which nobody else uses during the call.
            _ => Ok(unsafe { std::slice::from_raw_parts_mut(self.0, length) }),
        }
    }
}

impl Room<c_char> {
    /// Writes a text and its zero byte. Returns none if they do not fit.
    pub fn write_text(&mut self, room: usize, text: &str) -> Option<()> {
        let to = self.slice(room).ok()?.get_mut(..=text.len())?;
        let bytes = text.bytes().chain([0]);
        to.iter_mut().zip(bytes).for_each(|(to, byte)| *to = byte as c_char);
        Some(())
    }
}

/// The value of a JIT option: a pointer, or a number in its place.
#[repr(transparent)]
pub struct OptionValue(*mut c_char);

impl OptionValue {
    const ERROR_LOG: i32 = 5;
    const ERROR_LOG_BYTES: i32 = 6;

    /// Writes into the error log buffer among the options, if there is one.
    pub fn log(kinds: &[i32], values: &[OptionValue], text: &str) {
        let find = |wanted| std::iter::zip(kinds, values).find(|(kind, _)| **kind == wanted);
        let (Some((_, buffer)), Some((_, size))) = (find(Self::ERROR_LOG), find(Self::ERROR_LOG_BYTES)) else {
            return;
        };
        let room = size.0 as usize;
        let longest = room.saturating_sub(1).min(text.len());
        let end = (0..=longest).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        Room(buffer.0).write_text(room, &text[..end]);
    }
}
