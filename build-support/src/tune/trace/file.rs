//! Trace files, compressed or not.

use super::error::TraceError;
use energy_kernel_compiler::file;
use flate2::bufread::MultiGzDecoder;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The largest trace, in bytes after decompression.
pub const MOST_BYTES: usize = 256 << 20;

/// The text of a file. A gzip file is decompressed.
///
/// # Errors
/// The file cannot be read, is larger than [`MOST_BYTES`], is a damaged gzip file, or is not UTF-8.
pub fn read_text(path: &Path) -> Result<String, TraceError> {
    let opened = file::open(path, File::options().read(true));
    let file = opened.map_err(|error| TraceError::Unreadable(format!("{}: {error}", path.display())))?;
    text_of(&file, path)
}

/// [`read_text`] for an open file.
pub(super) fn text_of(file: &File, path: &Path) -> Result<String, TraceError> {
    let named = |problem: String| TraceError::Unreadable(format!("{}: {problem}", path.display()));
    let mut bytes = Vec::new();
    let most = MOST_BYTES as u64 + 1;
    (file.take(most).read_to_end(&mut bytes)).map_err(|error| named(error.to_string()))?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut unpacked = Vec::new();
        let read = MultiGzDecoder::new(bytes.as_slice())
            .take(most)
            .read_to_end(&mut unpacked);
        read.map_err(|error| named(format!("the gzip file is damaged: {error}")))?;
        bytes = unpacked;
    }
    if bytes.len() > MOST_BYTES {
        return Err(named(format!("it has more than {MOST_BYTES} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| named(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "hello" as `gzip -n` packs it.
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
        assert_eq!(read(&[PLAIN, PLAIN].concat()).as_deref(), Ok("hellohello"));
        let mut named = PLAIN.to_vec();
        named[3] = 8;
        named.splice(10..10, *b"a.csv\0");
        assert_eq!(read(&named).as_deref(), Ok("hello"));
        assert!(read(&[PLAIN, b"\0"].concat()).is_err(), "garbage at the end");
        assert!(
            read(&[&named[..], &PLAIN[..PLAIN.len() - 4], &[6, 0, 0, 0]].concat()).is_err(),
            "a wrong length"
        );
        for end in 2..PLAIN.len() {
            assert!(read(&PLAIN[..end]).is_err(), "cut off at {end}");
        }
        assert!(read(&[0xff, 0xfe, 0xfd]).is_err());
        assert!(read_text(&folder.path().join("none")).is_err());
    }
}
