//! Kernels in a bundle: compressed, and flat, so that decoding never recurses.

use super::encoding::{Invalid, Validate, ensure, ensure_text};
use crate::ir::SizeId;
use crate::kernel::{Kernel, Launch, Parameter, ParameterValue, Scratch, ScratchContent};
use crate::size::{SizeExpr, SizeOp};
use bincode::{Decode, Encode};
use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec_with_limit;
use sha2::{Digest, Sha256};

/// The most bytes of a kernel's PTX.
const PTX_LIMIT: usize = 16 << 20;

/// The most parts of a grid's formula, which also limits its nesting.
const FORMULA_LIMIT: usize = 256;

/// A compiled kernel, compressed.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct PackedKernel {
    /// Deflate.
    ptx: Vec<u8>,
    ptx_bytes: u32,
    launches: Vec<PackedLaunch>,
    scratch: Vec<Scratch>,
}

#[derive(Debug, Clone, PartialEq, Encode, Decode)]
struct PackedLaunch {
    entry: String,
    grid: [Vec<Part>; 3],
    block: [u32; 3],
    cluster: [u32; 3],
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
    /// The SHA-256 of everything that a kernel's figures depend on: its PTX without the entries' names, and its launches.
    /// It is stored in [`Point::kernel_hash`](super::Point::kernel_hash).
    pub fn hash(kernel: &Kernel) -> [u8; 32] {
        // An operator's name is part of the entries' names, but not of its fingerprint.
        let named = |ptx: String, launch: &Launch| ptx.replace(&launch.entry, "");
        let nameless = kernel.launches.iter().fold(kernel.ptx.clone(), named);
        let mut hasher = Sha256::new().chain_update(nameless);
        for launch in &kernel.launches {
            // PTX contains no zero byte, so one can mark the start of a launch.
            hasher = hasher
                .chain_update([0])
                .chain_update(launch_text(launch, &kernel.scratch));
        }
        hasher.finalize().into()
    }

    /// Compresses a kernel.
    ///
    /// # Errors
    /// The kernel exceeds the limits for unpacking.
    pub fn pack(kernel: &Kernel) -> Result<PackedKernel, Invalid> {
        let packed = PackedKernel {
            ptx: compress_to_vec(kernel.ptx.as_bytes(), 6),
            ptx_bytes: u32::try_from(kernel.ptx.len()).unwrap_or(u32::MAX),
            launches: kernel.launches.iter().map(PackedLaunch::pack).collect(),
            scratch: kernel.scratch.clone(),
        };
        packed.validate()?;
        Ok(packed)
    }

    /// Decompresses the kernel.
    ///
    /// # Errors
    /// The compressed bytes are damaged, or their length differs from the announced one.
    pub fn unpack(&self) -> Result<Kernel, Invalid> {
        self.validate()?;
        let bytes = decompress_to_vec_with_limit(&self.ptx, self.ptx_bytes as usize)
            .map_err(|error| Invalid(format!("the PTX cannot be decompressed: {error}")))?;
        ensure(
            bytes.len() == self.ptx_bytes as usize,
            "the PTX is shorter than announced",
        )?;
        let ptx = String::from_utf8(bytes).map_err(|_| Invalid("the PTX is not text".into()))?;
        Ok(Kernel {
            ptx,
            launches: self
                .launches
                .iter()
                .map(PackedLaunch::unpack)
                .collect::<Result<_, _>>()?,
            scratch: self.scratch.clone(),
        })
    }
}

impl PackedLaunch {
    fn pack(launch: &Launch) -> PackedLaunch {
        PackedLaunch {
            entry: launch.entry.clone(),
            grid: launch.grid.each_ref().map(|formula| {
                let mut parts = Vec::new();
                flatten(formula, &mut parts);
                parts
            }),
            block: launch.block,
            cluster: launch.cluster,
            dynamic_shared: launch.dynamic_shared,
            parameters: launch.parameters.clone(),
        }
    }

    fn unpack(&self) -> Result<Launch, Invalid> {
        let [x, y, z] = self.grid.each_ref().map(|parts| unflatten(parts));
        Ok(Launch {
            entry: self.entry.clone(),
            grid: [x?, y?, z?],
            block: self.block,
            cluster: self.cluster,
            dynamic_shared: self.dynamic_shared,
            parameters: self.parameters.clone(),
        })
    }
}

/// Returns the text of a launch in a kernel's hash. It must never change for a launch of an earlier format, because records of real devices
/// contain such hashes. So it is the `Debug` text of the first format's types.
fn launch_text(launch: &Launch, scratch: &[Scratch]) -> String {
    let parameters = launch.parameters.iter().map(|parameter| match parameter.value {
        ParameterValue::Scratch(position) => match scratch.get(position as usize) {
            Some(own) => match &own.content {
                // Several of a program may be alike.
                content @ ScratchContent::Tensor { .. } => format!("{content:?} at {position}"),
                content => format!("{content:?}"),
            },
            None => format!("Scratch({position})"),
        },
        value => format!("{value:?}"),
    });
    let parameters = parameters.collect::<Vec<_>>().join(", ");
    let Launch {
        grid,
        block,
        cluster,
        dynamic_shared,
        ..
    } = launch;
    let cluster = match cluster {
        [1, 1, 1] => String::new(),
        cluster => format!(", cluster: {cluster:?}"),
    };
    format!(
        "(Launch {{ grid: {grid:?}, block: {block:?}, dynamic_shared: {dynamic_shared}{cluster} }}, [{parameters}])"
    )
}

/// The most launches of a program.
const MOST_LAUNCHES: usize = 16;

/// The most blocks of a cluster on any GPU.
const MOST_CLUSTER: u32 = 16;

impl Validate for PackedKernel {
    fn validate(&self) -> Result<(), Invalid> {
        ensure(self.ptx_bytes as usize <= PTX_LIMIT, "the PTX is longer than 16 MiB")?;
        ensure(
            (1..=MOST_LAUNCHES).contains(&self.launches.len()),
            "a program has 1 to 16 launches",
        )?;
        ensure(
            self.scratch.len() <= 2 * MOST_LAUNCHES,
            "more than 32 pieces of scratch memory",
        )?;
        let known = |scratch: &Scratch| (scratch.launch as usize) < self.launches.len();
        ensure(self.scratch.iter().all(known), "scratch memory of an unknown launch")?;
        self.launches
            .iter()
            .try_for_each(|launch| launch.validate(self.scratch.len()))
    }
}

impl PackedLaunch {
    fn validate(&self, scratch: usize) -> Result<(), Invalid> {
        ensure_text(&self.entry, "the kernel's name")?;
        ensure(self.parameters.len() <= 256, "more than 256 kernel parameters")?;
        let volume = |sides: [u32; 3]| sides.into_iter().try_fold(1u32, u32::checked_mul);
        ensure(
            volume(self.block).is_some_and(|threads| (1..=1024).contains(&threads)),
            "a block has 1 to 1024 threads",
        )?;
        ensure(
            volume(self.cluster).is_some_and(|blocks| (1..=MOST_CLUSTER).contains(&blocks)),
            "a cluster has 1 to 16 blocks",
        )?;
        for parameter in &self.parameters {
            ensure(
                [1, 2, 4, 8].contains(&parameter.bytes),
                "a parameter has 1, 2, 4 or 8 bytes",
            )?;
            let ParameterValue::Scratch(position) = parameter.value else {
                continue;
            };
            ensure(
                (position as usize) < scratch,
                "a parameter takes unknown scratch memory",
            )?;
        }
        self.grid.iter().try_for_each(|parts| unflatten(parts).map(drop))
    }
}

fn flatten(formula: &SizeExpr, parts: &mut Vec<Part>) {
    // One part beyond the limit suffices to refuse the formula.
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
