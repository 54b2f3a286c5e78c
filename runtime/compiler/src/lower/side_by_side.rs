//! Two stages in one launch.

use super::stage::Stage;
use crate::ir::SizeId;
use crate::kernel::{Launch, Parameter, ParameterValue};
use crate::ptx::text::Entry;
use crate::ptx::{Action, Builder, Class, Compare, Guard, Opcode, Operand, Reg, Width};
use crate::size::{SizeExpr, SizeOp};

/// Joins two stages that need nothing of each other: the first blocks of the launch run the first one, the others the second. They have as
/// many threads a block, and no scratch memory. The entry has the name of the first.
pub(super) fn side_by_side(first: Stage, second: Stage) -> Stage {
    debug_assert!(first.scratch.is_empty() && second.scratch.is_empty());
    let mut b = Builder::new(&first.entry.name, first.entry.threads);
    let mut arguments = Arguments::default();
    let positions = [&first, &second].map(|stage| arguments.add(&mut b, stage));
    let blocks_of_first = &first.launch.grid[0];
    let boundary = match blocks_of_first.as_constant() {
        Some(blocks) => Operand::Int(blocks),
        None => {
            let blocks = formula(&mut b, blocks_of_first, &mut |b, size| arguments.size(b, size));
            b.op(Opcode::CvtU32U64, &[blocks]).into()
        }
    };
    let block = b.op(Opcode::CtaidX, &[]);
    let blocks = b.op(Opcode::NctaidX, &[]);
    let predicate = b.compare_unsigned(Compare::Lt, Class::B32, block.into(), boundary);
    let own = [
        Own {
            block: (Opcode::MovB32, vec![block.into()]),
            blocks: (Opcode::MovB32, vec![boundary]),
        },
        Own {
            block: (Opcode::SubS32, vec![block.into(), boundary]),
            blocks: (Opcode::SubS32, vec![blocks.into(), boundary]),
        },
    ];
    let launch = Launch {
        entry: first.launch.entry.clone(),
        grid: [
            blocks_of_first.clone().plus(second.launch.grid[0].clone()),
            SizeExpr::Const(1),
            SizeExpr::Const(1),
        ],
        dynamic_shared: first.launch.dynamic_shared.max(second.launch.dynamic_shared),
        parameters: arguments.parameters,
        ..first.launch.clone()
    };
    let entries = [first.entry, second.entry];
    for (holds, ((entry, positions), own)) in [true, false]
        .into_iter()
        .zip(entries.into_iter().zip(positions).zip(own))
    {
        b.begin_if(Guard { predicate, holds });
        add(&mut b, entry, &positions, &own);
        b.end();
    }
    Stage {
        entry: b.finish(),
        launch,
        scratch: Vec::new(),
    }
}

/// The instructions that give a stage the number of its block, and the number of its blocks.
struct Own {
    block: (Opcode, Vec<Operand>),
    blocks: (Opcode, Vec<Operand>),
}

/// Adds the body of a stage, whose parameters are now at these positions.
fn add(b: &mut Builder, entry: Entry, positions: &[u32], own: &Own) {
    if let Some(blocks) = entry.minimum_blocks {
        b.set_minimum_blocks(blocks);
    }
    if entry.shared {
        b.shared_base();
    }
    b.splice(entry.body, &entry.registers, &mut |instruction| {
        let (opcode, sources) = match &mut instruction.action {
            Action::Parameter(position, _) => return *position = positions[*position as usize],
            Action::Table(Opcode::CtaidX) => &own.block,
            Action::Table(Opcode::NctaidX) => &own.blocks,
            _ => return,
        };
        instruction.action = Action::Table(*opcode);
        instruction.sources = sources.iter().copied().collect();
    });
}

/// The parameters of a launch, each with the register that holds it.
#[derive(Default)]
struct Arguments {
    parameters: Vec<Parameter>,
    registers: Vec<Reg>,
}

impl Arguments {
    /// Adds the parameters of a stage. Returns the position of each.
    fn add(&mut self, b: &mut Builder, stage: &Stage) -> Vec<u32> {
        let each = stage.launch.parameters.iter().zip(&stage.entry.parameters);
        each.map(|(parameter, width)| self.position(b, *parameter, *width) as u32)
            .collect()
    }

    fn position(&mut self, b: &mut Builder, parameter: Parameter, width: Width) -> usize {
        let known = self.parameters.iter().position(|known| *known == parameter);
        known.unwrap_or_else(|| {
            self.parameters.push(parameter);
            self.registers.push(b.parameter(width));
            self.parameters.len() - 1
        })
    }

    /// A size, in 64 bits.
    fn size(&mut self, b: &mut Builder, size: SizeId) -> Reg {
        let is_size = |parameter: &Parameter| parameter.value == ParameterValue::Size(size);
        let position = self.parameters.iter().position(is_size).unwrap_or_else(|| {
            let parameter = Parameter {
                value: ParameterValue::Size(size),
                bytes: 8,
            };
            self.position(b, parameter, Width::B64)
        });
        match self.registers[position] {
            narrow if narrow.class == Class::B32 => b.op(Opcode::CvtU64U32, &[narrow.into()]),
            wide => wide,
        }
    }
}

/// The value of a formula over sizes that is not negative, in 64 bits.
fn formula(b: &mut Builder, of: &SizeExpr, size: &mut impl FnMut(&mut Builder, SizeId) -> Reg) -> Operand {
    let (op, left, right) = match of {
        SizeExpr::Const(value) => return Operand::Int(*value),
        SizeExpr::Size(id) => return size(b, *id).into(),
        SizeExpr::Binary(op, left, right) => (op, formula(b, left, size), formula(b, right, size)),
    };
    // Only the second operand of an instruction may be a constant.
    let register = |b: &mut Builder, operand| b.constant(Class::B64, operand).into();
    let mut left = match left {
        Operand::Int(_) => register(b, left),
        _ => left,
    };
    let opcode = match op {
        SizeOp::Add => Opcode::AddS64,
        SizeOp::Sub => Opcode::SubS64,
        SizeOp::Mul => Opcode::MulS64,
        SizeOp::Div => Opcode::DivU64,
        SizeOp::Rem => Opcode::RemU64,
        SizeOp::Min => Opcode::MinS64,
        SizeOp::Max => Opcode::MaxS64,
        SizeOp::DivCeil => {
            let beyond = b.op(Opcode::AddS64, &[left, right]);
            left = b.op(Opcode::AddS64, &[beyond.into(), Operand::Int(-1)]).into();
            Opcode::DivU64
        }
    };
    b.op(opcode, &[left, right]).into()
}
