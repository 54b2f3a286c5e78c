//! An entry of `--arg`.

use std::path::PathBuf;

/// An entry of `--arg`. Most are arguments of the kernel; they name each other by their positions, from 0.
#[derive(Debug, Clone, PartialEq)]
pub enum Argument {
    /// A number, or a structure, as its bytes. Addresses of buffers are put into it at some offsets.
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
    /// A buffer that is no argument of its own.
    Beside(Buffer),
    /// What a global or constant variable holds at the start; no argument.
    Symbol { name: String, from: PathBuf },
}

#[derive(Debug, Clone, PartialEq)]
pub enum Bytes {
    Given(Vec<u8>),
    File(PathBuf),
}

/// A buffer: what fills it, what becomes of it, and how long it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Buffer {
    pub from: Option<PathBuf>,
    pub to: Option<PathBuf>,
    pub bytes: Option<u64>,
}

/// Reads an entry as it is written on the command line.
pub fn argument(text: &str) -> Result<Argument, String> {
    let (kind, rest) = text
        .split_once(':')
        .ok_or("KIND:VALUE is expected: `u32:5`, `in:FILE`, …")?;
    macro_rules! scalar {
        ($T:ty) => {
            rest.parse::<$T>()
                .map(|value| Argument::Value {
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
        "in" | "out" | "inout" => buffer(kind, rest).map(Argument::Buffer),
        "bytes" => structure(rest),
        "same" => position(rest).map(Argument::Same),
        "pointers" => rest
            .split(',')
            .map(position)
            .collect::<Result<_, _>>()
            .map(Argument::Pointers),
        "buffer" => match rest.split_once(':') {
            Some((kind @ ("in" | "out" | "inout"), rest)) => buffer(kind, rest).map(Argument::Beside),
            _ => Err("buffer:in:FILE, buffer:out:FILE:BYTES or buffer:inout:IN:OUT is expected".into()),
        },
        "symbol" => match rest.split_once(':') {
            Some((name, file)) if !name.is_empty() => Ok(Argument::Symbol {
                name: name.to_owned(),
                from: path(file)?,
            }),
            _ => Err("symbol:NAME:FILE is expected".into()),
        },
        other => Err(format!(
            "`{other}` is no kind of argument: u8 … u64, s8 … s64, f32, f64, in, out, inout, bytes, same, pointers, buffer, symbol"
        )),
    }
}

fn path(text: &str) -> Result<PathBuf, String> {
    match text.is_empty() {
        true => Err("a file's name is missing".to_owned()),
        false => Ok(PathBuf::from(text)),
    }
}

fn position(text: &str) -> Result<usize, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is no position of an --arg; they count from 0"))
}

fn buffer(kind: &str, rest: &str) -> Result<Buffer, String> {
    // The last colon: paths may have others.
    match kind {
        "in" => Ok(Buffer {
            from: Some(path(rest)?),
            to: None,
            bytes: None,
        }),
        "out" => {
            let (file, bytes) = rest.rsplit_once(':').ok_or("out:FILE:BYTES is expected")?;
            let bytes = bytes.parse().map_err(|e| format!("`{bytes}`: {e}"))?;
            Ok(Buffer {
                from: None,
                to: Some(path(file)?),
                bytes: Some(bytes),
            })
        }
        _ => {
            let (from, to) = rest.rsplit_once(':').ok_or("inout:IN:OUT is expected")?;
            Ok(Buffer {
                from: Some(path(from)?),
                to: Some(path(to)?),
                bytes: None,
            })
        }
    }
}

/// `FILE`, or `FILE:OFFSET=POSITION,…`.
fn structure(text: &str) -> Result<Argument, String> {
    let pointer = |text: &str| {
        let (offset, of) = text.split_once('=')?;
        Some((offset.parse().ok()?, of.parse().ok()?))
    };
    let split = text.rsplit_once(':').and_then(|(file, pointers)| {
        let pointers: Option<Vec<(usize, usize)>> = pointers.split(',').map(pointer).collect();
        Some((file, pointers?))
    });
    let (file, pointers) = split.unwrap_or((text, Vec::new()));
    Ok(Argument::Value {
        bytes: Bytes::File(path(file)?),
        pointers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(bytes: &[u8]) -> Result<Argument, String> {
        Ok(Argument::Value {
            bytes: Bytes::Given(bytes.to_vec()),
            pointers: Vec::new(),
        })
    }

    #[test]
    fn arguments_are_read_as_they_are_written() {
        assert_eq!(argument("s32:-5"), value(&(-5i32).to_le_bytes()));
        assert_eq!(argument("f32:1.5"), value(&1.5f32.to_le_bytes()));
        assert_eq!(argument("u8:255"), value(&[255]));
        let out = Buffer {
            from: None,
            to: Some("a:b".into()),
            bytes: Some(12),
        };
        assert_eq!(argument("out:a:b:12"), Ok(Argument::Buffer(out.clone())));
        assert_eq!(argument("buffer:out:a:b:12"), Ok(Argument::Beside(out)));
        let both = Buffer {
            from: Some("a".into()),
            to: Some("b".into()),
            bytes: None,
        };
        assert_eq!(argument("inout:a:b"), Ok(Argument::Buffer(both)));
        let structure = |file: &str, pointers: &[(usize, usize)]| {
            Ok(Argument::Value {
                bytes: Bytes::File(file.into()),
                pointers: pointers.to_vec(),
            })
        };
        assert_eq!(argument("bytes:a"), structure("a", &[]));
        assert_eq!(argument("bytes:a:b"), structure("a:b", &[]));
        assert_eq!(argument("bytes:a:b:0=1,16=3"), structure("a:b", &[(0, 1), (16, 3)]));
        assert_eq!(argument("same:3"), Ok(Argument::Same(3)));
        assert_eq!(argument("pointers:3,0,3"), Ok(Argument::Pointers(vec![3, 0, 3])));
        let symbol = Argument::Symbol {
            name: "table".into(),
            from: "a:b".into(),
        };
        assert_eq!(argument("symbol:table:a:b"), Ok(symbol));
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
            assert!(argument(wrong).is_err(), "{wrong}");
        }
    }
}
