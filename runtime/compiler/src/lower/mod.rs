//! Lowering: from a problem and a program to a kernel.
//!
//! A family lowers each stage, with [`expression`] for whatever the language says inside it, and `tile` for what tiled
//! families share. [`assemble`] makes one module of the stages.
//!
//! Every kernel tells the assembler how many blocks should fit on a multiprocessor (`.minnctapersm`): left alone it spills in one kernel of a
//! few hundred. The number follows from the family's estimate of registers, or 168 of them, and is never more than the registers allow that
//! are live at once in the order of the text ([`ptx::liveness`](crate::ptx)). Assembling thousands of kernels gave both rules.

pub mod arithmetic;
mod emit;
mod error;
pub mod expression;
pub(crate) mod grid;
pub mod index;
pub mod math;
pub(crate) mod online;
mod quotient;
pub(crate) mod shuffle;
pub(crate) mod tile;
pub mod value;

pub use error::Error;

use crate::element::Type;
use crate::families::{self, Schedule};
use crate::ir::Expr;
use crate::kernel::{Kernel, Launch, ParameterValue, Scratch, ScratchContent};
use crate::problem::Problem;
use crate::ptx::text::{self, Entry};
use crate::schedule::Program;
use crate::size::SizeExpr;
use crate::target::Machine;

/// Registers that a thread may have in any kernel; most take far fewer.
const REGISTERS: u32 = 168;

/// A lowered stage before it is text.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// The instructions.
    pub entry: Entry,
    /// The launch. Its parameters count scratch memory from this stage's first one.
    pub launch: Launch,
    /// The scratch memory of the stage.
    pub scratch: Vec<ScratchContent>,
}

/// Compiles a program for a problem. A schedule is a program of one stage.
///
/// # Errors
/// The program is not legal, or the specialisation belongs to another operator.
pub fn lower(problem: &Problem<'_>, program: impl Into<Program>) -> Result<Kernel, Error> {
    let program = program.into();
    let illegal = || Error::Illegal(program.to_string());
    let lone = program.lone().ok_or_else(illegal)?;
    Ok(assemble(vec![stage(problem, lone)?], problem.machine))
}

/// The program of stages that are launched in this order.
pub fn assemble(stages: Vec<Stage>, machine: Machine) -> Kernel {
    let (mut entries, mut launches, mut scratch) = (Vec::new(), Vec::new(), Vec::new());
    for (number, mut stage) in stages.into_iter().enumerate() {
        for parameter in &mut stage.launch.parameters {
            if let ParameterValue::Scratch(position) = &mut parameter.value {
                *position += scratch.len() as u32;
            }
        }
        let launch = number as u32;
        scratch.extend(stage.scratch.into_iter().map(|content| Scratch { launch, content }));
        launches.push(stage.launch);
        entries.push(stage.entry);
    }
    Kernel {
        ptx: text::module(&entries, machine.target),
        launches,
        scratch,
    }
}

/// Lowers an operator to the instructions of one stage.
///
/// # Errors
/// Those of [`lower`].
pub fn stage(problem: &Problem<'_>, schedule: &Schedule) -> Result<Stage, Error> {
    let (op, machine) = (problem.op(), problem.machine);
    let expected = op.sizes.len();
    let found = problem.specialisation.extents.len();
    if expected != found {
        return Err(Error::Specialisation { expected, found });
    }
    if !families::legal(problem, schedule) {
        return Err(Error::Illegal(schedule.to_string()));
    }
    let name = entry_name(&op.name, schedule.family());
    let (mut lowering, grid) = families::lower(problem, &name, schedule)?;
    // Left alone, the assembler now and then spills to fit more blocks, or because it unrolled too far. Functions in f64
    // hold many values at once, whatever else a kernel does.
    let doubles = |expr: &Expr| matches!(expr, Expr::Call(_, arguments) if arguments.iter().any(|&argument| problem.checked.ty(argument) == Type::F64));
    if !lowering.b.has_minimum_blocks() || op.exprs.iter().any(doubles) {
        let blocks = machine.resident_blocks(grid.threads, REGISTERS, grid.dynamic_shared);
        lowering.b.set_minimum_blocks(blocks.max(1));
    }
    let (mut entry, parameters, scratch) = lowering.finish();
    // A family's estimate of registers may be too low: what the kernel itself holds at once is certainly needed.
    let most = machine.minimum_blocks(grid.threads, entry.pressure(), grid.dynamic_shared);
    entry.minimum_blocks = entry.minimum_blocks.map(|blocks| blocks.min(most));
    let launch = Launch {
        entry: entry.name.clone(),
        grid: [grid.blocks, SizeExpr::Const(1), SizeExpr::Const(1)],
        block: [grid.threads, 1, 1],
        cluster: [1; 3],
        dynamic_shared: grid.dynamic_shared,
        parameters,
    };
    // The families estimate shared memory; this is the amount that the kernel really takes.
    if launch.fits(&machine.limits).is_err() {
        return Err(Error::Illegal(schedule.to_string()));
    }
    Ok(Stage { entry, launch, scratch })
}

/// A PTX identifier: the operator's name may hold what PTX does not allow.
fn entry_name(operator: &str, family: &str) -> String {
    let plain: String = operator
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .take(64)
        .collect();
    format!("ek_{plain}_{family}")
}
