//! The entries of `--arg`.

use std::path::PathBuf;

/// An entry of `--arg`. Most are arguments of the kernel. Entries refer to each other by position, from 0.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// The bytes of a number or structure. `pointers` are offsets at which addresses of buffers are inserted, and the buffers' positions.
    Value {
        bytes: Bytes,
        pointers: Vec<(usize, usize)>,
    },
    /// A buffer.
    Buffer(Buffer),
    /// The buffer of another entry.
    Same(usize),
    /// A buffer with the addresses of others' buffers.
    Pointers(Vec<usize>),
    /// A buffer that other entries point to. It is not an argument.
    Beside(Buffer),
    /// The initial contents of a global or constant variable. It is not an argument.
    Symbol { name: String, from: PathBuf },
}

#[derive(Debug, Clone, PartialEq)]
pub enum Bytes {
    Given(Vec<u8>),
    File(PathBuf),
}

/// A buffer: the file that fills it, the file that it is saved to, and its length in bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Buffer {
    pub from: Option<PathBuf>,
    pub to: Option<PathBuf>,
    pub bytes: Option<u64>,
}

/// Parses an entry of the command line.
pub fn entry(text: &str) -> Result<Entry, String> {
    let (kind, rest) = text.split_once(':').ok_or("write KIND:VALUE: `u32:5`, `in:FILE`, …")?;
    macro_rules! scalar {
        ($T:ty) => {
            rest.parse::<$T>()
                .map(|value| Entry::Value {
                    bytes: Bytes::Given(value.to_le_bytes().to_vec()),
                    pointers: Vec::new(),
                })
                .map_err(|e| format!("`{rest}`: {e}"))
        };
    }
    match kind {
        "u8" | "b8" => scalar!(u8),
        "s8" => scalar!(i8),
        "u16" | "b16" => scalar!(u16),
        "s16" => scalar!(i16),
        "u32" | "b32" => scalar!(u32),
        "s32" => scalar!(i32),
        "u64" | "b64" => scalar!(u64),
        "s64" => scalar!(i64),
        "f32" => scalar!(f32),
        "f64" => scalar!(f64),
        "in" | "out" | "inout" => buffer(kind, rest).map(Entry::Buffer),
        "bytes" => structure(rest),
        "same" => position(rest).map(Entry::Same),
        "pointers" => rest
            .split(',')
            .map(position)
            .collect::<Result<_, _>>()
            .map(Entry::Pointers),
        "buffer" => match rest.split_once(':') {
            Some((kind @ ("in" | "out" | "inout"), rest)) => buffer(kind, rest).map(Entry::Beside),
            _ => Err("write buffer:in:FILE, buffer:out:FILE:BYTES or buffer:inout:IN:OUT".into()),
        },
        "symbol" => match rest.split_once(':') {
            Some((name, file)) if !name.is_empty() => Ok(Entry::Symbol {
                name: name.to_owned(),
                from: path(file)?,
            }),
            _ => Err("write symbol:NAME:FILE".into()),
        },
        other => Err(format!(
            "`{other}` is not a kind of entry; write u8 … u64, s8 … s64, f32, f64, in, out, inout, bytes, same, pointers, buffer or symbol"
        )),
    }
}

fn path(text: &str) -> Result<PathBuf, String> {
    match text.is_empty() {
        true => Err("the file name is missing".to_owned()),
        false => Ok(PathBuf::from(text)),
    }
}

fn position(text: &str) -> Result<usize, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is not the position of an --arg; positions count from 0"))
}

fn buffer(kind: &str, rest: &str) -> Result<Buffer, String> {
    // Split at the last colon: paths may contain others.
    match kind {
        "in" => Ok(Buffer {
            from: Some(path(rest)?),
            to: None,
            bytes: None,
        }),
        "out" => {
            let (file, bytes) = rest.rsplit_once(':').ok_or("write out:FILE:BYTES")?;
            let bytes = bytes.parse().map_err(|e| format!("`{bytes}`: {e}"))?;
            Ok(Buffer {
                from: None,
                to: Some(path(file)?),
                bytes: Some(bytes),
            })
        }
        _ => {
            let (from, to) = rest.rsplit_once(':').ok_or("write inout:IN:OUT")?;
            Ok(Buffer {
                from: Some(path(from)?),
                to: Some(path(to)?),
                bytes: None,
            })
        }
    }
}

/// `FILE`, or `FILE:OFFSET=POSITION,…`.
fn structure(text: &str) -> Result<Entry, String> {
    let pointer = |text: &str| {
        let (offset, of) = text.split_once('=')?;
        Some((offset.parse().ok()?, of.parse().ok()?))
    };
    let split = text.rsplit_once(':').and_then(|(file, pointers)| {
        let pointers: Option<Vec<(usize, usize)>> = pointers.split(',').map(pointer).collect();
        Some((file, pointers?))
    });
    let (file, pointers) = split.unwrap_or((text, Vec::new()));
    Ok(Entry::Value {
        bytes: Bytes::File(path(file)?),
        pointers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(bytes: &[u8]) -> Result<Entry, String> {
        Ok(Entry::Value {
            bytes: Bytes::Given(bytes.to_vec()),
            pointers: Vec::new(),
        })
    }

    #[test]
    fn arguments_are_read_as_they_are_written() {
        assert_eq!(entry("s32:-5"), value(&(-5i32).to_le_bytes()));
        assert_eq!(entry("f32:1.5"), value(&1.5f32.to_le_bytes()));
        assert_eq!(entry("u8:255"), value(&[255]));
        let out = Buffer {
            from: None,
            to: Some("a:b".into()),
            bytes: Some(12),
        };
        assert_eq!(entry("out:a:b:12"), Ok(Entry::Buffer(out.clone())));
        assert_eq!(entry("buffer:out:a:b:12"), Ok(Entry::Beside(out)));
        let both = Buffer {
            from: Some("a".into()),
            to: Some("b".into()),
            bytes: None,
        };
        assert_eq!(entry("inout:a:b"), Ok(Entry::Buffer(both)));
        let structure = |file: &str, pointers: &[(usize, usize)]| {
            Ok(Entry::Value {
                bytes: Bytes::File(file.into()),
                pointers: pointers.to_vec(),
            })
        };
        assert_eq!(entry("bytes:a"), structure("a", &[]));
        assert_eq!(entry("bytes:a:b"), structure("a:b", &[]));
        assert_eq!(entry("bytes:a:b:0=1,16=3"), structure("a:b", &[(0, 1), (16, 3)]));
        assert_eq!(entry("same:3"), Ok(Entry::Same(3)));
        assert_eq!(entry("pointers:3,0,3"), Ok(Entry::Pointers(vec![3, 0, 3])));
        let symbol = Entry::Symbol {
            name: "table".into(),
            from: "a:b".into(),
        };
        assert_eq!(entry("symbol:table:a:b"), Ok(symbol));
        for wrong in [
            "5",
            "u32:-1",
            "u8:256",
            "f32:x",
            "in:",
            "out:a",
            "out:a:-1",
            "inout:a",
            "x:1",
            "",
            "bytes:",
            "same:",
            "same:-1",
            "same:a",
            "pointers:",
            "pointers:1,",
            "buffer:a",
            "buffer:u32:5",
            "buffer:out:a",
            "symbol:a",
            "symbol::a",
            "symbol:a:",
        ] {
            assert!(entry(wrong).is_err(), "{wrong}");
        }
    }
}
