//! The roofline: the least time that the published figures of a GPU allow an operator.
//!
//! ```text
//! roofline = launch + max( compulsory bytes / bandwidth, operations of each unit / its rate )
//! ```
//!
//! Operations are [necessary](Work): they depend on the operator and its sizes, not on a schedule. An addition takes in a multiplication, if there
//! is one for it; otherwise each floating-point operation is an instruction. Nothing here is measured.

mod guards;
mod work;

pub use work::Work;

use crate::check::Checked;
use crate::datasheet::Datasheet;
use std::fmt::{Display, Formatter};

/// The least time of a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Roofline {
    /// Seconds. 0 if all results are empty, because then nothing is launched.
    pub seconds: f64,
    /// The largest term.
    pub bound: Bound,
}

/// The unit or resource that bounds the time of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Bound {
    /// The launch itself.
    Launch,
    /// Bytes of device memory.
    Memory,
    /// The tensor cores.
    TensorCores,
    /// Arithmetic outside of tensor cores.
    Arithmetic,
    /// Exponentials, roots, reciprocals and the like.
    SpecialFunctions,
}

impl Display for Bound {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Bound::Launch => "launch",
            Bound::Memory => "memory",
            Bound::TensorCores => "tensor cores",
            Bound::Arithmetic => "arithmetic",
            Bound::SpecialFunctions => "special functions",
        })
    }
}

/// Special functions per clock and multiprocessor.
const SPECIALS: f64 = 16.0;
/// The most integer operations of an instruction: a multiply-add, or an addition of three numbers.
const INTEGERS: f64 = 2.0;

impl Roofline {
    /// Returns the roofline of an operator at these sizes (all of them, in the order of [`Op::sizes`](crate::ir::Op::sizes)).
    ///
    /// ```
    /// # use energy_kernel_compiler::{datasheet::Datasheet, lang, roofline::{Bound, Roofline}};
    /// let source = "fn double(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> { |n| x[[n]] * 2.0 }";
    /// # let operator = lang::parse(Default::default(), source.parse().unwrap()).unwrap();
    /// # let checked = &operator.variants[0].checked;
    /// let roofline = Roofline::of(checked, &[1 << 28], &Datasheet::H100);
    /// assert_eq!(roofline.bound, Bound::Memory);
    /// assert_eq!(roofline.seconds, 2e-6 + 8.0 * f64::from(1 << 28) / 3.35e12);
    /// ```
    pub fn of(checked: &Checked, sizes: &[u64], sheet: &Datasheet) -> Roofline {
        Work::of(checked, sizes).roofline(sheet)
    }
}

impl Work {
    /// Returns the least time of this work on a GPU.
    pub fn roofline(&self, sheet: &Datasheet) -> Roofline {
        if *self == Work::default() {
            return Roofline {
                seconds: 0.0,
                bound: Bound::Launch,
            };
        }
        let clocks = f64::from(sheet.multiprocessors) * sheet.clock_hz;
        let arithmetic = [
            (self.float32 - self.fused32) / sheet.float32_rate,
            (self.float64 - self.fused64) / sheet.float64_rate,
            self.integer / (INTEGERS * sheet.integer_rate),
        ];
        let terms = [
            (Bound::Memory, self.bytes / sheet.dram_bandwidth),
            (Bound::TensorCores, self.matrix / sheet.mma_flops()),
            (Bound::Arithmetic, arithmetic.into_iter().fold(0.0, f64::max) / clocks),
            (Bound::SpecialFunctions, self.special / SPECIALS / clocks),
        ];
        let longest = terms.into_iter().fold(terms[0], |a, b| if b.1 > a.1 { b } else { a });
        Roofline {
            seconds: sheet.launch_s + longest.1,
            bound: if longest.1 > sheet.launch_s {
                longest.0
            } else {
                Bound::Launch
            },
        }
    }
}
