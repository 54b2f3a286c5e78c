//! The identity of an operator: its canonical form, hashed.
//!
//! The canonical form is the operator without its names. Everything else in an [`Op`] is in source order. So renaming, spacing and
//! comments do not change it, and any change of meaning does.

use crate::check::Checked;
use crate::ir::Op;
use crate::record::Fingerprint;
use crate::record::encoding::{self, Document, EncodeError, Invalid, Validate};
use crate::stages::StageOp;
use sha2::{Digest, Sha256};

/// The hash's prefix: the versions of space and format of the first published records. It never
/// changes, or those records would belong to no operator.
const SPACE: u32 = 6;
const FORMAT: u16 = 3;

/// Returns the fingerprint of an operator. It does not depend on the versions of the schedule space and the format.
///
/// # Errors
/// The operator is too large to encode.
pub fn of(checked: &Checked) -> Result<Fingerprint, EncodeError> {
    let bytes = encoding::encode_as(FORMAT, &without_names(checked.op()))?;
    let mut hasher = Sha256::new();
    hasher.update(SPACE.to_le_bytes());
    hasher.update(bytes);
    Ok(Fingerprint(hasher.finalize().into()))
}

/// Returns the fingerprint of a stage of a program. It depends on the stage's operator and on which inputs earlier stages stored: those are still in
/// the L2 cache when the stage starts. It is never the fingerprint of an operator.
///
/// # Errors
/// The operator is too large to encode.
pub fn of_stage(stage: &StageOp) -> Result<Fingerprint, EncodeError> {
    let mut hasher = Sha256::new();
    hasher.update(of(&stage.checked)?.0);
    stage
        .stored_inputs()
        .iter()
        .for_each(|input| hasher.update(input.to_le_bytes()));
    Ok(Fingerprint(hasher.finalize().into()))
}

fn without_names(op: &Op) -> Op {
    let mut op = op.clone();
    op.name.clear();
    op.sizes.iter_mut().for_each(|size| size.name.clear());
    op.inputs.iter_mut().for_each(|input| input.name.clear());
    op.axes.iter_mut().for_each(|axis| axis.name.clear());
    op.lets.iter_mut().for_each(|each| each.name.clear());
    op
}

/// An operator as the macro embeds it. [`Checked::new`] validates it.
impl Document for Op {
    const KIND: [u8; 4] = *b"OPER";
}

impl Validate for Op {
    fn validate(&self) -> Result<(), Invalid> {
        Ok(())
    }
}
