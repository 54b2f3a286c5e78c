//! Functions as far out as their arguments allow.

use crate::lower::value::Value;
use crate::ptx::{Builder, Operand};

/// Emits into the outermost region where the arguments exist. Pure instructions go there by themselves; some functions have
/// loops and conditions too.
pub(super) fn hoisted(b: &mut Builder, arguments: &[Value], emit: impl FnOnce(&mut Builder) -> Value) -> Value {
    let depth = |value: &Value| match value.operand {
        Operand::Reg(reg) => b.depth(reg),
        _ => 0,
    };
    let depth = arguments.iter().map(depth).max().unwrap_or(0);
    let inner = b.suspend(depth);
    let result = emit(b);
    b.resume(inner);
    result
}
