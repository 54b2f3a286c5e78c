//! Files, packed or not.

use super::TraceError;
use energy_kernel_compiler::file;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The most bytes that a trace may have, unpacked.
pub const MOST_BYTES: usize = 256 << 20;

/// A file's text; unpacked where it is a gzip file.
///
/// # Errors
/// It cannot be read, has more than [`MOST_BYTES`], or is no text.
pub fn read_text(path: &Path) -> Result<String, TraceError> {
    let opened = file::open(path, File::options().read(true));
    let file = opened.map_err(|error| TraceError::Unreadable(format!("{}: {error}", path.display())))?;
    text_of(&file, path)
}

/// The text of an open file, as [`read_text`] has it.
pub(super) fn text_of(file: &File, path: &Path) -> Result<String, TraceError> {
    let named = |problem: String| TraceError::Unreadable(format!("{}: {problem}", path.display()));
    let mut bytes = Vec::new();
    (file.take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes)).map_err(|error| named(error.to_string()))?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        bytes = unpack(&bytes).ok_or_else(|| {
            named("it is not a sound gzip file of one part, or too large; `zcat` unpacks several parts".to_owned())
        })?;
    }
    if bytes.len() > MOST_BYTES {
        return Err(named(format!("it has more than {MOST_BYTES} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| named(error.to_string()))
}

/// The contents of a gzip file of one member (RFC 1952).
fn unpack(bytes: &[u8]) -> Option<Vec<u8>> {
    let header = bytes.get(..10)?;
    let flags = header[3];
    let mut rest = &bytes[10..];
    if flags & 4 != 0 {
        let length = usize::from(u16::from_le_bytes(rest.get(..2)?.try_into().ok()?));
        rest = rest.get(2 + length..)?;
    }
    // A name and a comment, each up to a zero.
    for flag in [8, 16] {
        if flags & flag != 0 {
            let end = rest.iter().position(|&byte| byte == 0)?;
            rest = &rest[end + 1..];
        }
    }
    if flags & 2 != 0 {
        rest = rest.get(2..)?;
    }
    let unpacked = miniz_oxide::inflate::decompress_to_vec_with_limit(rest, MOST_BYTES).ok()?;
    // The length at the end is of the last part: parts behind the first are not passed over in silence.
    let (_, length) = bytes.split_last_chunk()?;
    (u32::try_from(unpacked.len()) == Ok(u32::from_le_bytes(*length))).then_some(unpacked)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "hello" as `gzip -n` packs it, and with a name in its header.
    const PLAIN: &[u8] = &[
        0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x86, 0xa6, 0x10, 0x36, 5, 0, 0,
        0,
    ];

    #[test]
    fn packed_and_plain_files_and_what_is_neither() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace");
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            read_text(&path)
        };
        assert_eq!(read(b"hello").as_deref(), Ok("hello"));
        assert_eq!(read(PLAIN).as_deref(), Ok("hello"));
        let mut named = PLAIN.to_vec();
        named[3] = 8;
        named.splice(10..10, *b"a.csv\0");
        assert_eq!(read(&named).as_deref(), Ok("hello"));
        let longer = read(&[PLAIN, &[PLAIN, b"\0"].concat()].concat());
        assert!(longer.is_err() && read(&[&named[..], &PLAIN[..PLAIN.len() - 4], &[6, 0, 0, 0]].concat()).is_err());
        for end in 2..PLAIN.len() {
            assert!(read(&PLAIN[..end]).is_err(), "cut off at {end}");
        }
        assert!(read(&[0xff, 0xfe, 0xfd]).is_err());
        assert!(read_text(&folder.path().join("none")).is_err());
    }
}
