//! Schedules: how an operator is computed.
//!
//! Each family is a parameter struct, the list of its legal points for an operator, and (in [`crate::lower`]) a
//! lowering. A [`Schedule`] is one point of one family. [`space`] lists all of them, [`default`] picks a decent one by
//! formula, for sizes nobody tuned for.
//!
//! To add a family: its file here (parameters, `points`, `default`), its lowering, and a line in [`Schedule`].

mod contract;
mod mma;
mod plain;
mod pointwise;
mod product;
mod row;
mod text;

pub use contract::Contract;
pub use mma::Mma;
pub use plain::Plain;
pub use pointwise::Pointwise;
pub use row::{Keep, Row};
pub use text::ParseScheduleError;

pub(crate) use contract::load_width as contract_load_width;
pub(crate) use mma::{
    Multiplicand, minimum_blocks as mma_minimum_blocks, read_as_is as mma_read_as_is, vector as mma_vector,
};
pub(crate) use pointwise::flat as pointwise_flat;
pub(crate) use product::{ContractShape, Side, operands as contract_operands};
pub(crate) use row::{kept_budget, read_again, row_axes};

use crate::check::Checked;
use crate::size::Specialisation;
use crate::target::{Machine, Target};
use bincode::{Decode, Encode};

/// Changes whenever the same schedule begins to mean another kernel, or the spaces change.
pub const SPACE_VERSION: u32 = 2;

/// One way to compute an operator.
///
/// Its text form (`Display`, `FromStr`) is what people see and type: `row threads=128 rows=1 vector=4 keep=registers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub enum Schedule {
    /// One thread an output element, reductions in sequence: accepts every operator.
    Plain(Plain),
    /// Neighbouring outputs by one thread: operators without reductions.
    Pointwise(Pointwise),
    /// A group of threads a row: reductions that many outputs share.
    Row(Row),
    /// Tiles of a sum of products.
    Contract(Contract),
    /// The same on tensor cores.
    Mma(Mma),
}

impl Schedule {
    /// The family's name.
    pub const fn family(&self) -> &'static str {
        match self {
            Schedule::Plain(_) => "plain",
            Schedule::Pointwise(_) => "pointwise",
            Schedule::Row(_) => "row",
            Schedule::Contract(_) => "contract",
            Schedule::Mma(_) => "mma",
        }
    }
}

/// All legal schedules of an operator, in a fixed order.
pub fn space(checked: &Checked, specialisation: &Specialisation, target: Target) -> Vec<Schedule> {
    let mut all: Vec<Schedule> = plain::points().map(Schedule::Plain).collect();
    all.extend(pointwise::points(checked, specialisation).map(Schedule::Pointwise));
    all.extend(row::points(checked, specialisation, target).map(Schedule::Row));
    all.extend(contract::points(checked, specialisation, target).map(Schedule::Contract));
    all.extend(
        mma::points(checked, specialisation, target)
            .into_iter()
            .map(Schedule::Mma),
    );
    all
}

/// Whether a schedule is legal for an operator: one that [`space`] would list.
pub fn legal(checked: &Checked, specialisation: &Specialisation, target: Target, schedule: &Schedule) -> bool {
    match schedule {
        Schedule::Plain(plain) => plain::points().any(|point| point == *plain),
        Schedule::Pointwise(p) => pointwise::points(checked, specialisation).any(|point| point == *p),
        Schedule::Row(row) => row::points(checked, specialisation, target).any(|point| point == *row),
        Schedule::Contract(contract) => contract::legal(checked, specialisation, target, contract),
        Schedule::Mma(mma) => mma::legal(checked, specialisation, target, mma),
    }
}

/// A decent schedule for these sizes, chosen by formula.
pub fn default(checked: &Checked, specialisation: &Specialisation, sizes: &[u64], machine: Machine) -> Schedule {
    mma::default(checked, specialisation, sizes, machine)
        .map(Schedule::Mma)
        .or_else(|| contract::default(checked, specialisation, sizes, machine).map(Schedule::Contract))
        .or_else(|| row::default(checked, specialisation, sizes, machine).map(Schedule::Row))
        .or_else(|| pointwise::default(checked, specialisation, sizes, machine).map(Schedule::Pointwise))
        .unwrap_or_else(|| Schedule::Plain(plain::default(checked, sizes, machine)))
}

/// Elements of the largest output.
fn output_elements(checked: &Checked, sizes: &[u64]) -> u64 {
    let volume = |dims: &[crate::ir::SizeId]| {
        dims.iter()
            .map(|size| sizes.get(size.index()).copied().unwrap_or(1))
            .fold(1, u64::saturating_mul)
    };
    checked
        .op()
        .outputs
        .iter()
        .map(|output| volume(&output.dims))
        .max()
        .unwrap_or(0)
}
