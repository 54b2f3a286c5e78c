//! Lowering: from a problem and a program to a kernel.
//!
//! A family lowers each stage, with [`expression`] for whatever the language says inside it, and `tile` for what tiled
//! families share. [`assemble`] makes one module of the stages.
//!
//! Every kernel tells the assembler how many blocks should fit on a multiprocessor (`.minnctapersm`): left alone it spills in one kernel of a
//! few hundred. The number follows from the family's estimate of registers, or 168 of them, and is never more than the registers allow that
//! are live at once in the order of the text ([`ptx::liveness`](crate::ptx)). Assembling thousands of kernels gave both rules.

pub mod arithmetic;
mod bound;
mod emit;
mod error;
pub mod expression;
pub(crate) mod grid;
pub mod index;
pub mod math;
pub(crate) mod online;
mod quotient;
mod reciprocals;
pub(crate) mod shuffle;
mod side_by_side;
mod stage;
pub(crate) mod tile;
pub mod value;

pub use error::Error;
pub use stage::Stage;

use crate::element::Type;
use crate::families::{self, Schedule};
use crate::ir::{Expr, ExprId, SizeId};
use crate::kernel::{Kernel, Launch, ParameterValue, Scratch, ScratchContent};
use crate::problem::Problem;
use crate::ptx::text::{self, Entry};
use crate::schedule::Program;
use crate::size::SizeExpr;
use crate::stages::{Origin, Split, launches};
use crate::target::Machine;
use grid::volume_formula;
use side_by_side::side_by_side;
use std::ops::Range;

/// Registers that a thread may have in any kernel; most take far fewer.
const REGISTERS: u32 = 168;

/// Compiles a program for a problem. A schedule is a program of one stage.
///
/// # Errors
/// The program is not legal, or the specialisation belongs to another operator.
pub fn lower(problem: &Problem<'_>, program: impl Into<Program>) -> Result<Kernel, Error> {
    let program = program.into();
    let illegal = || Error::Illegal(program.to_string());
    if !program.is_valid() {
        return Err(illegal());
    }
    if let Some(lone) = program.lone() {
        return Ok(assemble(stage(problem, lone)?, problem.machine));
    }
    let split = split(problem, &program.stored).ok_or_else(illegal)?;
    let stages = split.stages.iter().zip(&program.stages).map(|(own, schedule)| {
        let specialisation = own.specialisation(problem.specialisation);
        stage(&Problem::new(&own.checked, &specialisation, problem.machine), schedule)
    });
    let launches = launches(&split, &program.stages);
    Ok(assemble_split(
        problem,
        &split,
        &launches,
        stages.collect::<Result<_, _>>()?,
    ))
}

/// Splits the operator of a problem into stages. `None` if it cannot store the values with these numbers, or if its kernels report gathered
/// indices out of range.
pub fn split(problem: &Problem<'_>, stored: &[u32]) -> Option<Split> {
    let checked = problem.checked;
    let gathers = |expr: u32| match checked.op().expr(ExprId(expr)) {
        Expr::Read { index, .. } => (0..index.len()).any(|dimension| checked.gathered(ExprId(expr), dimension)),
        _ => false,
    };
    if problem.specialisation.check_indices && (0..checked.op().exprs.len() as u32).any(gathers) {
        return None;
    }
    Split::new(checked, stored)
}

/// The program of one stage.
pub fn assemble(stage: Stage, machine: Machine) -> Kernel {
    let scratch = stage.scratch.into_iter();
    Kernel {
        ptx: text::module(&[stage.entry], machine.target),
        launches: vec![stage.launch],
        scratch: scratch.map(|content| Scratch { launch: 0, content }).collect(),
    }
}

/// The program of the lowered stages of a split operator, of which each launch runs some.
fn assemble_split(problem: &Problem<'_>, split: &Split, launches: &[Range<usize>], stages: Vec<Stage>) -> Kernel {
    let launch_of = |stage: usize| launches.iter().position(|stages| stages.contains(&stage)).unwrap_or(0) as u32;
    let stored = split.stored.iter().enumerate().map(|(stage, stored)| Scratch {
        launch: launch_of(stage),
        content: ScratchContent::Tensor {
            elements: volume_formula(problem.specialisation, &stored.dims(problem.checked)),
            element_bytes: stored.element(problem.checked).size(),
        },
    });
    let mut scratch: Vec<Scratch> = stored.collect();
    let mut lowered = stages.into_iter().enumerate().map(|(number, mut stage)| {
        in_whole(split, number, &mut stage, scratch.len());
        let launch = launch_of(number);
        scratch.extend(stage.scratch.drain(..).map(|content| Scratch { launch, content }));
        stage
    });
    let joined = launches.iter().filter_map(|stages| {
        let own = lowered.by_ref().take(stages.len());
        own.reduce(side_by_side)
    });
    let (entries, launches): (Vec<Entry>, Vec<Launch>) = joined.map(|stage| (stage.entry, stage.launch)).unzip();
    Kernel {
        ptx: text::module(&entries, problem.machine.target),
        launches,
        scratch,
    }
}

/// Makes a stage part of the whole: by its number, and the pieces of scratch memory before its own.
fn in_whole(split: &Split, number: usize, stage: &mut Stage, before: usize) {
    let own = &split.stages[number];
    for parameter in &mut stage.launch.parameters {
        parameter.value = match parameter.value {
            ParameterValue::Input(input) => match own.inputs[input.index()] {
                Origin::Input(input) => ParameterValue::Input(input),
                Origin::Stored(position) => ParameterValue::Scratch(position as u32),
            },
            ParameterValue::Output(output) => match own.results.get(output as usize) {
                Some(&result) => ParameterValue::Output(result as u32),
                None => ParameterValue::Scratch(number as u32),
            },
            ParameterValue::Size(size) => ParameterValue::Size(own.sizes[size.index()]),
            ParameterValue::Scratch(position) => ParameterValue::Scratch(position + before as u32),
            ParameterValue::IndexErrors => ParameterValue::IndexErrors,
            ParameterValue::Reciprocal { size, shift } => ParameterValue::Reciprocal {
                size: own.sizes[size.index()],
                shift,
            },
        };
    }
    let size = |size: SizeId| own.sizes[size.index()];
    for blocks in &mut stage.launch.grid {
        *blocks = blocks.with_sizes(&size);
    }
    // Stages of one family would share a name.
    let name = format!("{}_{number}", stage.launch.entry);
    stage.entry.name.clone_from(&name);
    stage.launch.entry = name;
}

/// Lowers an operator to the instructions of one stage.
///
/// # Errors
/// Those of [`lower`].
pub fn stage(problem: &Problem<'_>, schedule: &Schedule) -> Result<Stage, Error> {
    let expected = problem.op().sizes.len();
    let found = problem.specialisation.extents.len();
    if expected != found {
        return Err(Error::Specialisation { expected, found });
    }
    problem.with_joined(|problem, _| of_joined(problem, schedule))
}

/// Lowers an operator as families see it to the instructions of one stage.
fn of_joined(problem: &Problem<'_>, schedule: &Schedule) -> Result<Stage, Error> {
    if !families::legal(problem, schedule) {
        return Err(Error::Illegal(schedule.to_string()));
    }
    let (op, machine) = (problem.op(), problem.machine);
    let name = entry_name(&op.name, schedule.family());
    let (mut lowering, grid) = families::lower(problem, &name, schedule)?;
    // Left alone, the assembler now and then spills to fit more blocks, or because it unrolled too far. Functions in f64
    // hold many values at once, whatever else a kernel does.
    let doubles = |expr: &Expr| matches!(expr, Expr::Call(_, arguments) if arguments.iter().any(|&argument| problem.checked.ty(argument) == Type::F64));
    if !lowering.b.has_minimum_blocks() || op.exprs.iter().any(doubles) {
        let blocks = machine.resident_blocks(grid.threads, REGISTERS, grid.dynamic_shared);
        lowering.b.set_minimum_blocks(blocks.max(1));
    }
    let (mut entry, mut parameters, scratch) = lowering.finish();
    reciprocals::divide_by_sizes(&mut entry, &mut parameters);
    // A family's estimate of registers may be too low: what the kernel itself holds at once is certainly needed.
    let most = machine.minimum_blocks(grid.threads, entry.pressure(), grid.dynamic_shared);
    entry.minimum_blocks = entry.minimum_blocks.map(|blocks| blocks.min(most));
    let blocks = grid.blocks.with_formulas(&|size| problem.formula(size));
    let launch = Launch {
        entry: entry.name.clone(),
        grid: [blocks, SizeExpr::Const(1), SizeExpr::Const(1)],
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
