//! The instructions, a file for each group: how they decode, and what they do. [`decode`] sends an instruction to its
//! group.

mod atomic;
mod bits;
pub(crate) mod bulk;
mod compare;
mod control;
mod convert;
pub(crate) mod copy;
mod data;
mod exchange;
mod float;
mod half;
mod integer;
mod matrix;
mod mbarrier;
mod memory;
mod mma;
mod special;
mod video;
mod wgmma;
mod wmma;

use crate::draft::Draft;
use crate::error::Error;
use crate::parse::syntax::Type;

/// Decodes an instruction: sends it to its group by its first word and, where groups share one, by its type.
pub(crate) fn decode(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    match draft.name() {
        "add" | "sub" | "mul" | "mad" | "fma" | "div" | "min" | "max" | "abs" | "neg" => arithmetic(draft),
        "rem" | "mul24" | "mad24" | "sad" | "dp4a" | "dp2a" | "addc" | "subc" | "madc" => integer::decode(draft, None),
        "and" | "or" | "xor" | "not" | "cnot" | "lop3" | "shl" | "shr" | "shf" | "prmt" | "bfe" | "bfi" | "clz"
        | "popc" | "brev" | "bfind" | "fns" | "bmsk" | "szext" => bits::decode(draft),
        "sqrt" | "rcp" | "rsqrt" | "sin" | "cos" | "lg2" | "ex2" | "tanh" => special::decode(draft),
        "copysign" | "testp" => float::decode(draft, None),
        "cvt" => convert::decode(draft),
        "setp" | "set" | "selp" | "slct" => compare::decode(draft),
        "mov" | "mapa" | "cvta" | "isspacep" | "nanosleep" | "prefetch" | "prefetchu" | "applypriority" | "discard"
        | "createpolicy" | "pmevent" | "setmaxnreg" => data::decode(draft),
        "ld" | "ldu" | "st" => memory::decode(draft),
        "atom" | "red" => atomic::decode(draft),
        "cp" => copies(draft),
        "wgmma" => wgmma::decode(draft),
        "mbarrier" => mbarrier::decode(draft),
        "ldmatrix" | "stmatrix" | "movmatrix" => matrix::decode(draft),
        "mma" => mma::decode(draft),
        "wmma" => wmma::decode(draft),
        "shfl" | "vote" | "match" | "redux" | "activemask" | "elect" => exchange::decode(draft),
        "bra" | "brx" | "call" | "ret" | "exit" | "trap" | "brkpt" | "bar" | "barrier" | "membar" | "fence" => {
            control::decode(draft)
        }
        name if name.starts_with('v') && name.ends_with(['2', '4']) => video::decode(draft),
        other => Err(draft.unsupported(format!("the instruction `{other}`"))),
    }
}

/// Decodes instructions that exist for integers, floats and half-precision floats.
fn arithmetic(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    let ty = draft.ty()?;
    match ty {
        Type::F32 if draft.name() == "div" && (draft.take("approx") || draft.take("full")) => special::divide(draft),
        Type::F32 | Type::F64 => float::decode(draft, Some(ty)),
        Type::F16 | Type::F16x2 | Type::Bf16 | Type::Bf16x2 => half::decode(draft, ty),
        _ => integer::decode(draft, Some(ty)),
    }
}

/// Decodes asynchronous copies, and the arrival at an mbarrier that follows them.
fn copies(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    if !draft.take("async") {
        return Err(draft.unsupported("this copy"));
    }
    if draft.had("bulk") {
        bulk::decode(draft)
    } else if draft.had("mbarrier") {
        mbarrier::decode_arrive(draft)
    } else {
        copy::decode(draft)
    }
}
