//! The encoding of records, bundles and indices. No other module knows it.
//!
//! ```text
//!   magic (8) │ kind (4) │ format version (2) │ payload length (4) │ SHA-256 of all else (32) │ payload
//! ```
//! Integers are little-endian. The payload is bincode 2 in its standard configuration. The order of checks matters: length
//! and hash are checked before anything is decoded, decoding is
//! limited, all bytes must be consumed, and the values are validated.

use bincode::config::Configuration;
use bincode::enc::write::Writer;
use bincode::error::EncodeError as Refusal;
use bincode::{Decode, Encode, config};
use sha2::{Digest, Sha256};
use std::io::{self, BufRead, Read};

/// The format version. It changes whenever an encoded type changes.
pub const FORMAT_VERSION: u16 = 5;

/// The most bytes of a document, and of any decoded list inside it.
pub const LIMIT: usize = 16 << 20;

const MAGIC: [u8; 8] = *b"\x89EKERN\r\n";
const HEADER: usize = 8 + 4 + 2 + 4 + 32;
const HASHED_HEADER: usize = HEADER - 32;

type Little = Configuration<config::LittleEndian, config::Varint, config::Limit<LIMIT>>;
const CONFIGURATION: Little = config::standard().with_limit::<LIMIT>();

/// The reason that bytes are not a valid document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The magic number is missing.
    #[error("this is not a file of energy-kernel")]
    Magic,
    /// Another kind of document.
    #[error("this is a file of kind `{found}`, not `{expected}`")]
    Kind {
        /// The expected kind.
        expected: String,
        /// The kind found.
        found: String,
    },
    /// Written by a newer version, or by one too old to be converted.
    #[error("the file has format version {found}; this version reads {FORMAT_VERSION}")]
    Version {
        /// The version found.
        found: u16,
    },
    /// Longer than the limit.
    #[error("the file has {found} bytes, more than {LIMIT}")]
    TooLong {
        /// Its length.
        found: usize,
    },
    /// Truncated, or followed by something else.
    #[error("the file announces {announced} bytes and has {found}")]
    Length {
        /// The length in the header.
        announced: usize,
        /// The actual length.
        found: usize,
    },
    /// Changed after it was written.
    #[error("the file is damaged: its hash does not match")]
    Hash,
    /// The payload does not decode as this kind.
    #[error("the file cannot be decoded: {0}")]
    Payload(String),
    /// The values are invalid.
    #[error("the file is not valid: {0}")]
    Invalid(Invalid),
}

/// The reason that a document cannot be encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Its values are invalid, and would be refused when read.
    #[error("not valid: {0}")]
    Invalid(Invalid),
    /// Its encoding exceeds the limit for reading.
    #[error("{0} bytes exceed the limit of {LIMIT}")]
    TooLong(usize),
    /// The encoder failed.
    #[error("cannot be encoded: {0}")]
    Encoder(String),
}

impl From<Invalid> for DecodeError {
    fn from(invalid: Invalid) -> DecodeError {
        DecodeError::Invalid(invalid)
    }
}

impl From<Invalid> for EncodeError {
    fn from(invalid: Invalid) -> EncodeError {
        EncodeError::Invalid(invalid)
    }
}

/// Invalid values, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

/// A check of decoded values.
pub trait Validate {
    /// Checks the values.
    ///
    /// # Errors
    /// The first invalid value.
    fn validate(&self) -> Result<(), Invalid>;
}

/// A type that is written to files.
pub trait Document: Encode + Decode<()> + Validate {
    /// Four letters that identify the kind of document.
    const KIND: [u8; 4];

    /// The oldest format version that can be converted.
    const OLDEST: u16 = FORMAT_VERSION;

    /// Converts the payload of an older format version, from [`OLDEST`](Document::OLDEST) on.
    ///
    /// # Errors
    /// The payload does not decode as that version.
    fn convert(found: u16, payload: &[u8]) -> Result<Self, DecodeError> {
        let _ = payload;
        Err(DecodeError::Version { found })
    }
}

/// Encodes a document. Deterministic.
///
/// # Errors
/// The document is invalid or too long.
pub fn encode<D: Document>(document: &D) -> Result<Vec<u8>, EncodeError> {
    encode_as(FORMAT_VERSION, document)
}

/// Encodes a document with another version in its header.
pub(crate) fn encode_as<D: Document>(version: u16, document: &D) -> Result<Vec<u8>, EncodeError> {
    document.validate()?;
    let payload = bincode::encode_to_vec(document, CONFIGURATION).map_err(|e| EncodeError::Encoder(e.to_string()))?;
    let total = HEADER + payload.len();
    let length = u32::try_from(payload.len()).ok().filter(|_| total <= LIMIT);
    let length = length.ok_or(EncodeError::TooLong(total))?;
    let mut bytes = Vec::with_capacity(total);
    bytes.extend(MAGIC);
    bytes.extend(D::KIND);
    bytes.extend(version.to_le_bytes());
    bytes.extend(length.to_le_bytes());
    let digest = hash(&bytes, &payload);
    bytes.extend(digest);
    bytes.extend(payload);
    Ok(bytes)
}

/// Decodes a document. Never panics. The memory it takes is bounded by a small multiple of [`LIMIT`], whatever lengths the bytes announce.
///
/// # Errors
/// The bytes are not exactly one valid document of this kind, in this version or one that can be converted.
pub fn decode<D: Document>(bytes: &[u8]) -> Result<D, DecodeError> {
    let (version, payload) = open::<D>(bytes)?;
    let document = match version {
        FORMAT_VERSION => decode_payload(payload)?,
        older => D::convert(older, payload)?,
    };
    document.validate()?;
    Ok(document)
}

/// Decodes a whole payload.
pub(super) fn decode_payload<T: Decode<()>>(payload: &[u8]) -> Result<T, DecodeError> {
    let (value, consumed): (T, usize) =
        bincode::decode_from_slice(payload, CONFIGURATION).map_err(|e| DecodeError::Payload(e.to_string()))?;
    match payload.len() - consumed {
        0 => Ok(value),
        left => Err(DecodeError::Payload(format!("{left} bytes are left over"))),
    }
}

/// Returns the SHA-256 of a value's encoding.
pub(super) fn digest(value: &impl Encode) -> [u8; 32] {
    struct Hashing(Sha256);
    impl Writer for Hashing {
        fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
            self.0.update(bytes);
            Ok(())
        }
    }
    let mut hashing = Hashing(Sha256::new());
    // Neither derived encoders nor this writer fail.
    let _ = bincode::encode_into_writer(value, &mut hashing, CONFIGURATION);
    hashing.0.finalize().into()
}

/// Decodes consecutive documents, up to the first incomplete or invalid one. Returns them and the number of bytes that
/// they take.
pub fn decode_all<D: Document>(bytes: &[u8]) -> (Vec<D>, usize) {
    let mut documents = Vec::new();
    let mut taken = 0;
    while let Some(header) = bytes.get(taken..taken + HEADER) {
        let payload = u32::from_le_bytes([header[14], header[15], header[16], header[17]]) as usize;
        let end = taken + HEADER + payload;
        let Some(Ok(document)) = bytes.get(taken..end).map(decode) else {
            break;
        };
        documents.push(document);
        taken = end;
    }
    (documents, taken)
}

/// Reads the next document of a stream, and skips bytes before it. `None` at the stream's end.
///
/// # Errors
/// The stream cannot be read, ends inside the document, or contains an invalid document.
pub fn read<D: Document>(stream: &mut impl BufRead) -> io::Result<Option<D>> {
    let mut bytes = Vec::with_capacity(HEADER);
    while bytes != MAGIC {
        let mut byte = [0];
        if stream.read(&mut byte)? == 0 {
            return Ok(None);
        }
        bytes.push(byte[0]);
        // No proper suffix of a prefix of the magic begins it, so after a mismatch only this byte can begin it.
        if !MAGIC.starts_with(&bytes) {
            bytes.drain(..bytes.len() - 1);
            bytes.retain(|&byte| byte == MAGIC[0]);
        }
    }
    bytes.resize(HEADER, 0);
    stream.read_exact(&mut bytes[MAGIC.len()..])?;
    let invalid = |error: DecodeError| io::Error::new(io::ErrorKind::InvalidData, error);
    let length = u32::from_le_bytes([bytes[14], bytes[15], bytes[16], bytes[17]]) as usize;
    if HEADER + length > LIMIT {
        return Err(invalid(DecodeError::TooLong { found: HEADER + length }));
    }
    stream.take(length as u64).read_to_end(&mut bytes)?;
    decode(&bytes).map(Some).map_err(invalid)
}

/// Checks a document's header, and returns its format version and payload.
fn open<D: Document>(bytes: &[u8]) -> Result<(u16, &[u8]), DecodeError> {
    if bytes.len() > LIMIT {
        return Err(DecodeError::TooLong { found: bytes.len() });
    }
    if bytes.get(..8) != Some(MAGIC.as_slice()) {
        return Err(DecodeError::Magic);
    }
    let Some((header, payload)) = bytes.split_at_checked(HEADER) else {
        return Err(DecodeError::Length {
            announced: HEADER,
            found: bytes.len(),
        });
    };
    let version = u16::from_le_bytes([header[12], header[13]]);
    if !(D::OLDEST..=FORMAT_VERSION).contains(&version) {
        return Err(DecodeError::Version { found: version });
    }
    if header[8..12] != D::KIND {
        let name = |kind: &[u8]| kind.escape_ascii().to_string();
        return Err(DecodeError::Kind {
            expected: name(&D::KIND),
            found: name(&header[8..12]),
        });
    }
    let announced = u32::from_le_bytes([header[14], header[15], header[16], header[17]]) as usize;
    if announced != payload.len() {
        return Err(DecodeError::Length {
            announced,
            found: payload.len(),
        });
    }
    if hash(&header[..HASHED_HEADER], payload)[..] != header[HASHED_HEADER..] {
        return Err(DecodeError::Hash);
    }
    Ok((version, payload))
}

fn hash(header: &[u8], payload: &[u8]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(header);
    hasher.update(payload);
    hasher.finalize().into()
}

/// Returns an error unless the condition holds.
pub(super) fn ensure(condition: bool, otherwise: &str) -> Result<(), Invalid> {
    if condition {
        Ok(())
    } else {
        Err(Invalid(otherwise.to_owned()))
    }
}

/// Returns an error unless the text is short and printable.
pub(super) fn ensure_text(text: &str, what: &str) -> Result<(), Invalid> {
    if text.len() <= 256 && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Invalid(format!(
        "{what} is longer than 256 bytes or holds control characters"
    )))
}
