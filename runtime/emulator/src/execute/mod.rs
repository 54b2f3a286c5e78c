//! What each instruction means. One file per group; `decode` knows which group an instruction belongs to.

pub(crate) mod lanes;

mod atomic;
mod bits;
pub(crate) mod bulk;
mod compare;
pub(crate) mod control;
mod convert;
pub(crate) mod copy;
pub(crate) mod data;
mod float;
mod half;
mod integer;
mod matrix;
mod memory;
mod mma;
mod special;
mod video;
mod warp;
mod wgmma;
mod wmma;

use crate::decode::Draft;
use crate::error::Error;
use crate::parse::syntax::Type;

/// Decodes one instruction: sends it to its group by its first word and, where groups share one, by its type.
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
        "cp" => copy::decode(draft),
        "wgmma" => wgmma::decode(draft),
        "mbarrier" => bulk::decode_mbarrier(draft),
        "ldmatrix" | "stmatrix" | "movmatrix" => matrix::decode(draft),
        "mma" => mma::decode(draft),
        "wmma" => wmma::decode(draft),
        "shfl" | "vote" | "match" | "redux" | "activemask" | "elect" => warp::decode(draft),
        "bra" | "brx" | "call" | "ret" | "exit" | "trap" | "brkpt" | "bar" | "barrier" | "membar" | "fence" => {
            control::decode(draft)
        }
        name if name.starts_with('v') && name.ends_with(['2', '4']) => video::decode(draft),
        other => Err(draft.unsupported(format!("the instruction `{other}`"))),
    }
}

/// Instructions that exist for integers, floats and half-precision floats.
fn arithmetic(draft: &mut Draft<'_, '_>) -> Result<(), Error> {
    let ty = draft.ty()?;
    match ty {
        Type::F32 | Type::F64 => float::decode(draft, Some(ty)),
        Type::F16 | Type::F16x2 | Type::Bf16 | Type::Bf16x2 => half::decode(draft, ty),
        _ => integer::decode(draft, Some(ty)),
    }
}
