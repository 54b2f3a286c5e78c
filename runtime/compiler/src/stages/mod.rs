//! Stages: an operator that runs as several steps, each with a schedule of its own.
//!
//! Stages store tensors for later ones: values, and inputs in another order of their dimensions ([`Stored`]). Results of different shapes may
//! have a stage for each shape, too ([`results()`]).
//!
//! A *stored value* ([`Value`]) is a reduction, or what pointwise work makes of reductions over the same axes up to its next use. It is worth
//! storing if another reduction uses it, if several elements of a result do, or if it stands beside a reduction over other terms. So is what
//! functions or divisions make of an input, if a reduction uses it for several elements of a result: GELU on a side of a product.
//! [`values()`] finds at most [`MOST_STORED`](crate::schedule::MOST_STORED) of them. An input is stored with its dimensions [`Permuted`] where a
//! product reads it better so.
//!
//! A program names by numbers what its stages but the last one store; [`sets`] lists the choices. A value's number is the position of its
//! expression in the operator, which is the same in the canonical form: renaming changes no number. Inputs and results follow the expressions.
//!
//! [`Split`] takes each stored value, and then the results, out of the operator as an operator of its own. Its inputs are those inputs of the
//! operator that it uses, and what was stored before. So every stage has families, schedules, features and a fingerprint like any operator.
//!
//! A stored value is computed over its full extents, also where no result needs it. So all its reads must be in range there: they are proved at
//! all sizes, or no condition surrounds the value and the call's proof covers it. Sizes that must be equal at a call are one size in a stage.
//! Neighbouring stages that need nothing of each other may share a [launch](launches()).
//! Kernels that report gathered indices out of range have one stage, because a stored value may gather what the results never ask for.

mod choice;
mod launches;
mod permuted;
mod results;
mod split;
mod stored;
mod taken;
mod values;

pub use choice::{
    Untuned, features, latency, launch_count, ranked, seconds, sharing, stored_bytes, untuned, untuned_by_default,
};
pub use launches::launches;
pub use permuted::Permuted;
pub use results::{Results, results};
pub use split::{Split, StageOp};
pub use stored::{Stored, sets, stored};
pub use taken::Origin;
pub use values::{Value, values};
