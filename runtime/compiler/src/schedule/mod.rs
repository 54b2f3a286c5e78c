//! Schedules: how an operator is computed.
//!
//! Each family is a parameter struct, the list of its legal points for an operator, and (in [`crate::lower`]) a
//! lowering. A [`Schedule`] is one point of one family. [`space`] lists all of them, [`default`] picks a decent one by
//! formula, for sizes nobody tuned for.
//!
//! To add a family: its file here (parameters, `points`, `default`), its lowering, and a line in [`Schedule`].

mod contract;
pub(crate) mod formula;
mod mma;
mod plain;
mod pointwise;
mod product;
mod row;
mod skinny;
mod text;
mod window;

pub use contract::Contract;
pub use mma::Mma;
pub use plain::Plain;
pub use pointwise::Pointwise;
pub use row::{Keep, Pass, Row};
pub use skinny::Skinny;
pub use text::ParseScheduleError;
pub use window::Window;

pub(crate) use contract::load_width as contract_load_width;
pub(crate) use mma::{
    Multiplicand, Strip as MmaStrip, are_paired, minimum_blocks as mma_minimum_blocks, patch as mma_patch,
    read_as_is as mma_read_as_is,
};
pub(crate) use pointwise::{
    Transposed, flat as pointwise_flat, resident_blocks as pointwise_resident_blocks, together as pointwise_together,
};
pub(crate) use product::{ContractShape, Side, operands as contract_operands};
pub(crate) use row::{
    Difference, Joint, Online, Product, Wave, kept_budget, minimum_blocks as row_minimum_blocks, read_again, row_axes,
};
pub(crate) use skinny::{SkinnyShape, Sum as SkinnySum, operands as skinny_operands};
pub(crate) use window::minimum_blocks as window_minimum_blocks;

use crate::check::Checked;
use crate::ir::{BinaryOp, Expr, ExprId, Source};
use crate::size::Specialisation;
use crate::target::Machine;
use bincode::{Decode, Encode};

/// Changes whenever the same schedule begins to mean another kernel, or the spaces change.
pub const SPACE_VERSION: u32 = 6;

/// One way to compute an operator.
///
/// Its text form (`Display`, `FromStr`) is what people see and type: `row threads=128 rows=1 vector=4 keep=registers unroll=1 pass=several`.
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
    /// Sums that a few rows share the weights of.
    Skinny(Skinny),
    /// Neighbouring outputs by one thread: reductions over small windows.
    Window(Window),
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
            Schedule::Skinny(_) => "skinny",
            Schedule::Window(_) => "window",
        }
    }
}

/// The legal schedules of an operator that are worth trying on a machine, in a fixed order.
pub fn space(checked: &Checked, specialisation: &Specialisation, machine: Machine) -> Vec<Schedule> {
    let mut all: Vec<Schedule> = plain::points().map(Schedule::Plain).collect();
    all.extend(pointwise::points(checked, specialisation, machine).map(Schedule::Pointwise));
    all.extend(row::points(checked, specialisation, machine).map(Schedule::Row));
    all.extend(contract::points(checked, specialisation, machine).map(Schedule::Contract));
    all.extend(
        mma::points(checked, specialisation, machine)
            .into_iter()
            .map(Schedule::Mma),
    );
    all.extend(skinny::points(checked, specialisation, machine).map(Schedule::Skinny));
    all.extend(window::points(checked, specialisation).map(Schedule::Window));
    all
}

/// `true` if a schedule is legal for an operator: its kernel is right, and fits the machine's limits.
///
/// [`space`] lists fewer: block counts that suit the machine's multiprocessors. Other block counts stay legal, so that results of a
/// machine with other multiprocessors can be used.
pub fn legal(checked: &Checked, specialisation: &Specialisation, machine: Machine, schedule: &Schedule) -> bool {
    match schedule {
        Schedule::Plain(plain) => plain::points().any(|point| point == *plain),
        Schedule::Pointwise(p) => pointwise::legal(checked, specialisation, p),
        Schedule::Row(row) => row::legal(checked, specialisation, machine, row),
        Schedule::Contract(contract) => contract::legal(checked, specialisation, machine, contract),
        Schedule::Mma(mma) => mma::legal(checked, specialisation, machine, mma),
        Schedule::Skinny(skinny) => skinny::legal(checked, specialisation, machine, skinny),
        Schedule::Window(window) => window::points(checked, specialisation).any(|point| point == *window),
    }
}

/// A decent schedule for these sizes, chosen by formula.
pub fn default(checked: &Checked, specialisation: &Specialisation, sizes: &[u64], machine: Machine) -> Schedule {
    window::default(checked, specialisation, sizes, machine)
        .map(Schedule::Window)
        .or_else(|| skinny::default(checked, specialisation, sizes, machine).map(Schedule::Skinny))
        .or_else(|| mma::default(checked, specialisation, sizes, machine).map(Schedule::Mma))
        .or_else(|| contract::default(checked, specialisation, sizes, machine).map(Schedule::Contract))
        .or_else(|| row::default(checked, specialisation, sizes, machine).map(Schedule::Row))
        .or_else(|| pointwise::default(checked, specialisation, sizes, machine).map(Schedule::Pointwise))
        .unwrap_or_else(|| Schedule::Plain(plain::default(checked, sizes, machine)))
}

/// A few decent schedules for these sizes, chosen by formulas, of all families that suit them; the first is [`default`].
/// [`estimate::default`](crate::estimate::default) chooses among them.
pub fn starts(checked: &Checked, specialisation: &Specialisation, sizes: &[u64], machine: Machine) -> Vec<Schedule> {
    let mut starts = vec![default(checked, specialisation, sizes, machine)];
    let more: Vec<Schedule> = match starts[0] {
        Schedule::Skinny(_) | Schedule::Mma(_) | Schedule::Contract(_) => {
            let skinny = skinny::starts(checked, specialisation, sizes, machine);
            let mma = mma::starts(checked, specialisation, sizes, machine);
            let contract = match mma.is_empty() {
                true => contract::starts(checked, specialisation, sizes, machine),
                false => Vec::new(),
            };
            let (skinny, mma) = (
                skinny.into_iter().map(Schedule::Skinny),
                mma.into_iter().map(Schedule::Mma),
            );
            let tiles = mma.chain(contract.into_iter().map(Schedule::Contract));
            skinny.chain(tiles).collect()
        }
        Schedule::Row(_) => {
            let rows = row::starts(checked, specialisation, sizes, machine);
            rows.into_iter().map(Schedule::Row).collect()
        }
        Schedule::Plain(_) | Schedule::Pointwise(_) | Schedule::Window(_) => Vec::new(),
    };
    starts.extend(more);
    first_of_each(starts, |&schedule| schedule)
}

/// The most blocks that a schedule may name. No machine holds more at once, and counters of 32 bits reach beyond them.
const MOST_BLOCKS: u32 = 1 << 22;

/// Choices for the most blocks of a launch: one a piece of work (0), as many as the machine holds at once, or half as many.
fn block_counts(all: u32) -> impl Iterator<Item = u32> + Clone {
    // Half of one is none.
    let some = [all / 2, all].into_iter().filter(|&blocks| blocks > 0);
    std::iter::once(0).chain(some)
}

/// Of points that are alike in something, the first.
fn first_of_each<P, K: PartialEq>(points: impl IntoIterator<Item = P>, kind: impl Fn(&P) -> K) -> Vec<P> {
    let mut first: Vec<P> = Vec::new();
    for point in points {
        if !first.iter().any(|other| kind(other) == kind(&point)) {
            first.push(point);
        }
    }
    first
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

/// Functions that an operator calls, where its source does.
fn calls(checked: &Checked) -> u32 {
    let is_call = |expr: &&Expr| matches!(expr, Expr::Call(..));
    checked.op().exprs.iter().filter(is_call).count() as u32
}

/// For each expression whether there is a reduction in it, or in an intermediate tensor that it reads.
fn reducing(checked: &Checked) -> Vec<bool> {
    let op = checked.op();
    let mut found = vec![false; op.exprs.len()];
    // Operands stand before what uses them; intermediate tensors refer to earlier ones, and may stand anywhere.
    for _ in 0..=op.lets.len() {
        for position in 0..op.exprs.len() {
            let mut reduces = match op.exprs[position] {
                Expr::Reduce { .. } => true,
                Expr::Read {
                    source: Source::Let(inner),
                    ..
                } => found[op.lets[inner.index()].body.index()],
                _ => false,
            };
            op.operands(ExprId(position as u32), |operand| reduces |= found[operand.index()]);
            found[position] = reduces;
        }
    }
    found
}

/// For each expression whether a condition decides if its value is wanted. What no condition stands before may be
/// computed for any values of its axes.
fn conditional(checked: &Checked) -> Vec<bool> {
    let op = checked.op();
    let mut found = vec![false; op.exprs.len()];
    // Operands stand before what uses them; intermediate tensors may stand anywhere.
    for _ in 0..=op.lets.len() {
        for position in (0..op.exprs.len()).rev() {
            let own = found[position];
            let mut mark = |expr: ExprId, conditional: bool| found[expr.index()] |= conditional;
            let id = ExprId(position as u32);
            match op.expr(id) {
                Expr::Select {
                    condition,
                    accept,
                    reject,
                } => {
                    mark(*condition, own);
                    mark(*accept, true);
                    mark(*reject, true);
                }
                Expr::Binary(BinaryOp::And | BinaryOp::Or, first, second) => {
                    mark(*first, own);
                    mark(*second, true);
                }
                _ => op.operands(id, |operand| mark(operand, own)),
            }
            if let Expr::Read {
                source: Source::Let(inner),
                index,
                ..
            } = op.expr(id)
            {
                let proven = (0..index.len()).all(|dimension| checked.proven(id, dimension));
                mark(op.lets[inner.index()].body, own || !proven);
            }
        }
    }
    found
}
