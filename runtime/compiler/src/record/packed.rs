//! Kernels inside a bundle: compressed, and flat, so that decoding one never recurses.

use super::encoding::{Invalid, Validate, ensure, ensure_text};
use crate::ir::SizeId;
use crate::kernel::{Kernel, Launch, Parameter};
use crate::size::{SizeExpr, SizeOp};
use bincode::{Decode, Encode};
use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec_with_limit;
use sha2::{Digest, Sha256};

/// The most bytes of a kernel's PTX.
const PTX_LIMIT: usize = 16 << 20;

/// The most parts of a grid's formula, and so the deepest it nests.
const FORMULA_LIMIT: usize = 256;

/// A compiled kernel, compressed.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct PackedKernel {
    entry: String,
    /// Deflate.
    ptx: Vec<u8>,
    ptx_bytes: u32,
    grid: [Vec<Part>; 3],
    block: [u32; 3],
    dynamic_shared: u32,
    parameters: Vec<Parameter>,
}

/// A part of a formula in postfix notation.
#[derive(Debug, Clone, Copy, PartialEq, Encode, Decode)]
enum Part {
    Const(i64),
    Size(SizeId),
    Apply(SizeOp),
}

impl PackedKernel {
    /// SHA-256 of all that a kernel's figures depend on, its PTX but for its name, and how it is launched: what
    /// [`Point::kernel_hash`](super::Point::kernel_hash) holds.
    pub fn hash(kernel: &Kernel) -> [u8; 32] {
        let launch = format!("{:?}", (&kernel.launch, &kernel.parameters));
        // It is called after its operator, whose fingerprint is the same under any name.
        let nameless = kernel.ptx.replace(&kernel.entry, "");
        // No text of PTX has the zero byte: it tells where the launch begins.
        Sha256::new()
            .chain_update(nameless)
            .chain_update([0])
            .chain_update(launch)
            .finalize()
            .into()
    }

    /// Compresses a kernel.
    ///
    /// # Errors
    /// It is larger than anything that would be unpacked again.
    pub fn pack(kernel: &Kernel) -> Result<PackedKernel, Invalid> {
        let packed = PackedKernel {
            entry: kernel.entry.clone(),
            ptx: compress_to_vec(kernel.ptx.as_bytes(), 6),
            ptx_bytes: u32::try_from(kernel.ptx.len()).unwrap_or(u32::MAX),
            grid: kernel.launch.grid.each_ref().map(|formula| {
                let mut parts = Vec::new();
                flatten(formula, &mut parts);
                parts
            }),
            block: kernel.launch.block,
            dynamic_shared: kernel.launch.dynamic_shared,
            parameters: kernel.parameters.clone(),
        };
        packed.validate()?;
        Ok(packed)
    }

    /// The kernel again.
    ///
    /// # Errors
    /// The compressed bytes are damaged, or not as long as they say.
    pub fn unpack(&self) -> Result<Kernel, Invalid> {
        self.validate()?;
        let bytes = decompress_to_vec_with_limit(&self.ptx, self.ptx_bytes as usize)
            .map_err(|error| Invalid(format!("the PTX cannot be decompressed: {error}")))?;
        ensure(
            bytes.len() == self.ptx_bytes as usize,
            "the PTX is shorter than announced",
        )?;
        let ptx = String::from_utf8(bytes).map_err(|_| Invalid("the PTX is not text".into()))?;
        let [x, y, z] = self.grid.each_ref().map(|parts| unflatten(parts));
        Ok(Kernel {
            entry: self.entry.clone(),
            ptx,
            launch: Launch {
                grid: [x?, y?, z?],
                block: self.block,
                dynamic_shared: self.dynamic_shared,
            },
            parameters: self.parameters.clone(),
        })
    }
}

impl Validate for PackedKernel {
    fn validate(&self) -> Result<(), Invalid> {
        ensure_text(&self.entry, "the kernel's name")?;
        ensure(self.ptx_bytes as usize <= PTX_LIMIT, "the PTX is longer than 16 MiB")?;
        ensure(self.parameters.len() <= 256, "more than 256 kernel parameters")?;
        let threads = self
            .block
            .iter()
            .try_fold(1u32, |all, &threads| all.checked_mul(threads));
        ensure(
            threads.is_some_and(|threads| (1..=1024).contains(&threads)),
            "a block has 1 to 1024 threads",
        )?;
        self.grid.iter().try_for_each(|parts| unflatten(parts).map(drop))
    }
}

fn flatten(formula: &SizeExpr, parts: &mut Vec<Part>) {
    // One part more than is allowed is enough to be refused.
    if parts.len() > FORMULA_LIMIT {
        return;
    }
    match formula {
        SizeExpr::Const(value) => parts.push(Part::Const(*value)),
        SizeExpr::Size(size) => parts.push(Part::Size(*size)),
        SizeExpr::Binary(op, a, b) => {
            flatten(a, parts);
            flatten(b, parts);
            parts.push(Part::Apply(*op));
        }
    }
}

fn unflatten(parts: &[Part]) -> Result<SizeExpr, Invalid> {
    ensure(parts.len() <= FORMULA_LIMIT, "a grid's formula is too long")?;
    let malformed = || Invalid("a grid's formula is malformed".into());
    let mut stack = Vec::new();
    for part in parts {
        let formula = match *part {
            Part::Const(value) => SizeExpr::Const(value),
            Part::Size(size) => SizeExpr::Size(size),
            Part::Apply(op) => {
                let b = stack.pop().ok_or_else(malformed)?;
                let a = stack.pop().ok_or_else(malformed)?;
                SizeExpr::Binary(op, Box::new(a), Box::new(b))
            }
        };
        stack.push(formula);
    }
    match (stack.pop(), stack.pop()) {
        (Some(formula), None) => Ok(formula),
        _ => Err(malformed()),
    }
}
