//! What the targets share.

use energy_kernel_compiler::record::encoding::{Document, FORMAT_VERSION, decode, encode};
use sha2::{Digest, Sha256};
use std::fmt::Debug;

/// A document of this kind with this payload: its header, length and hash are right, so that the fuzzer's bytes reach the decoder.
pub fn framed(kind: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x89EKERN\r\n".to_vec();
    bytes.extend(kind);
    bytes.extend(FORMAT_VERSION.to_le_bytes());
    bytes.extend((payload.len() as u32).to_le_bytes());
    let hash = Sha256::new().chain_update(&bytes).chain_update(payload).finalize();
    bytes.extend(hash);
    bytes.extend(payload);
    bytes
}

/// Decodes the bytes as they are, and as a payload. What is accepted must survive being written and read again.
pub fn decoded<D: Document + PartialEq + Debug>(bytes: &[u8]) -> Option<D> {
    let _ = decode::<D>(bytes);
    let document = decode::<D>(&framed(D::KIND, bytes)).ok()?;
    let written = encode(&document).expect("what is valid can be written");
    assert_eq!(decode::<D>(&written).as_ref(), Ok(&document));
    Some(document)
}
