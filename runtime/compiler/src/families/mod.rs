//! The families of kernels, and a [`Schedule`]: a point of one of them.
//!
//! The table below is the only list of families. Enumeration, text, space, legality, default and lowering follow from it. A family is a
//! folder: `space` (the parameters and the legal points), `shape` (what it finds in an operator), `lower` (the kernel).

pub(crate) mod analysis;
pub(crate) mod attention;
pub(crate) mod bound;
mod contract;
pub(crate) mod family;
pub(crate) mod formula;
pub(crate) mod guard;
mod mma;
mod plain;
mod pointwise;
mod reduce;
mod row;
mod skinny;
pub(crate) mod text;
mod window;

pub use row::{Keep, Pass};
pub use text::ParseScheduleError;

use crate::ir::SizeId;
use crate::lower::Error;
use crate::lower::expression::Lowering;
use crate::lower::grid::Grid;
use crate::problem::Problem;
use bincode::de::Decoder;
use bincode::enc::Encoder;
use bincode::error::{AllowedEnumVariants, DecodeError, EncodeError};
use bincode::{Decode, Encode};
use family::{Family, Work, first_of_each};
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;
use text::{Text, Words};

/// Changes whenever the same schedule begins to mean another kernel, or the spaces change.
pub const SPACE_VERSION: u32 = 11;

macro_rules! families {
    ($($(#[$documentation:meta])* $Family:ident in $module:ident),* $(,)?) => {
        $(pub use $module::$Family;)*

        /// One way to compute a stage of an operator.
        ///
        /// Its text form (`Display`, `FromStr`) is what people see and type: `row threads=128 rows=1 vector=4 keep=registers unroll=1 pass=several blocks=0`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Schedule {
            $($(#[$documentation])* $Family($Family),)*
        }

        // As bincode's derive would; that does not work inside of a macro.
        impl Encode for Schedule {
            fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
                let number = Schedule::FAMILIES.iter().position(|name| *name == self.family());
                (number.unwrap_or_default() as u32).encode(encoder)?;
                match self {
                    $(Schedule::$Family(point) => point.encode(encoder)),*
                }
            }
        }

        impl<Context> Decode<Context> for Schedule {
            fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Schedule, DecodeError> {
                const ALLOWED: &AllowedEnumVariants = &AllowedEnumVariants::Range {
                    min: 0,
                    max: Schedule::FAMILIES.len() as u32 - 1,
                };
                let found = u32::decode(decoder)?;
                match Schedule::FAMILIES.get(found as usize) {
                    $(Some(name) if *name == $Family::NAME => Decode::decode(decoder).map(Schedule::$Family),)*
                    _ => Err(DecodeError::UnexpectedVariant {
                        type_name: "Schedule",
                        allowed: ALLOWED,
                        found,
                    }),
                }
            }
        }

        bincode::impl_borrow_decode!(Schedule);

        impl Schedule {
            /// The names of all families.
            pub const FAMILIES: &[&str] = &[$($Family::NAME),*];

            /// The family's name.
            pub const fn family(&self) -> &'static str {
                match self {
                    $(Schedule::$Family(_) => $Family::NAME),*
                }
            }
        }

        impl Display for Schedule {
            fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
                f.write_str(self.family())?;
                match self {
                    $(Schedule::$Family(point) => point.write(f)),*
                }
            }
        }

        impl FromStr for Schedule {
            type Err = ParseScheduleError;

            fn from_str(text: &str) -> Result<Schedule, ParseScheduleError> {
                let mut words = text.split_whitespace();
                let family = words.next().unwrap_or_default();
                let mut words = Words::of(words)?;
                let schedule = match family {
                    $(name if name == $Family::NAME => Schedule::$Family(Text::read(&mut words)?),)*
                    other => {
                        return Err(ParseScheduleError::Family {
                            found: other.to_owned(),
                            known: Schedule::FAMILIES.join(", "),
                        });
                    }
                };
                words.end().map(|()| schedule)
            }
        }

        /// The offer of each family, in the order of the table.
        fn offers() -> [Offer; [$($Family::NAME),*].len()] {
            [$(Offer {
                work: $Family::WORK,
                space: |problem| $Family::space(problem).into_iter().map(Schedule::$Family).collect(),
                default: |problem, sizes| $Family::default(problem, sizes).map(Schedule::$Family),
                starts: |problem, sizes| $Family::starts(problem, sizes).into_iter().map(Schedule::$Family).collect(),
            }),*]
        }

        /// `true` if a schedule is legal for a problem: its kernel is right, and fits the machine's limits.
        ///
        /// [`space`] lists fewer: block counts that suit the machine's multiprocessors. Other block counts stay legal, so that results of a
        /// machine with other multiprocessors can be used.
        pub fn legal(problem: &Problem<'_>, schedule: &Schedule) -> bool {
            problem.with_joined(|problem, _| match schedule {
                $(Schedule::$Family(point) => point.is_legal(problem)),*
            })
        }

        /// Bytes of inputs that the blocks of a legal schedule read, if so many run at once and each wave of them reads a sector once. None
        /// if no wave reads what another one does, or nothing is known of it.
        pub(crate) fn wave_bytes(problem: &Problem<'_>, schedule: &Schedule, sizes: &[u64], at_once: u64) -> Option<f64> {
            of_joined(problem, sizes, |problem, sizes| match schedule {
                $(Schedule::$Family(point) => point.wave_bytes(problem, sizes, at_once)),*
            })
        }

        /// `true` if the schedule's kernel leaves out what it would multiply by 0, so that it may read less than the operator names.
        pub(crate) fn leaves_out(problem: &Problem<'_>, schedule: &Schedule) -> bool {
            problem.with_joined(|problem, _| match schedule {
                $(Schedule::$Family(point) => point.leaves_out(problem)),*
            })
        }

        /// The sizes whose largest values, if known, would make schedules legal that may be better than this one.
        pub(crate) fn bounded(problem: &Problem<'_>, schedule: &Schedule) -> Vec<SizeId> {
            problem.with_joined(|problem, joined| {
                let sizes = match schedule {
                    $(Schedule::$Family(point) => point.bounded(problem)),*
                };
                match joined {
                    Some(joined) => sizes.into_iter().filter_map(|size| joined.lone_factor(size)).collect(),
                    None => sizes,
                }
            })
        }

        /// Lowers a legal schedule to an entry with this name.
        pub(crate) fn lower<'a>(
            problem: &Problem<'a>,
            name: &str,
            schedule: &Schedule,
        ) -> Result<(Lowering<'a>, Grid), Error> {
            match schedule {
                $(Schedule::$Family(point) => point.lower(problem, name)),*
            }
        }
    };
}

// Their order is that of encoded schedules and of spaces. From the last to the first, the first that suits is the default.
families! {
    /// One thread an output element, reductions in sequence: accepts every operator.
    Plain in plain,
    /// Neighbouring outputs by one thread: operators without reductions.
    Pointwise in pointwise,
    /// A group of threads a row: reductions that many outputs share.
    Row in row,
    /// Tiles of sums of products, or of other pointwise work on two sides, by arithmetic in registers.
    Contract in contract,
    /// Tiles of sums of products, on tensor cores.
    Mma in mma,
    /// Sums of few rows that share weights.
    Skinny in skinny,
    /// Neighbouring outputs by one thread: reductions over small windows.
    Window in window,
    /// Threads along the outputs and along reductions, which blocks may share.
    Reduce in reduce,
    /// Tiles of rows that walk over keys: sums of values weighted by scores, with a softmax or without, on tensor cores.
    Attention in attention,
}

/// The points that a family offers for a problem.
struct Offer {
    work: Work,
    space: fn(&Problem<'_>) -> Vec<Schedule>,
    default: fn(&Problem<'_>, &[u64]) -> Option<Schedule>,
    starts: fn(&Problem<'_>, &[u64]) -> Vec<Schedule>,
}

/// Calls `of` with the problem and sizes as families see them.
fn of_joined<R>(problem: &Problem<'_>, sizes: &[u64], of: impl FnOnce(&Problem<'_>, &[u64]) -> R) -> R {
    problem.with_joined(|problem, joined| match joined {
        Some(joined) => of(problem, &joined.sizes_at(sizes)),
        None => of(problem, sizes),
    })
}

/// The legal schedules that are worth trying on the problem's machine, in a fixed order.
pub fn space(problem: &Problem<'_>) -> Vec<Schedule> {
    problem.with_joined(|problem, _| offers().iter().flat_map(|family| (family.space)(problem)).collect())
}

/// A good schedule for these sizes, chosen by formula.
pub fn default(problem: &Problem<'_>, sizes: &[u64]) -> Schedule {
    of_joined(problem, sizes, preferred).1
}

/// A few good schedules for these sizes, chosen by formulas, of all families that do the same work as [`default`], which comes first.
/// [`estimate::default`](crate::estimate::default) chooses among them.
pub fn starts(problem: &Problem<'_>, sizes: &[u64]) -> Vec<Schedule> {
    of_joined(problem, sizes, |problem, sizes| {
        let (work, first) = preferred(problem, sizes);
        let offers = offers();
        let rivals = offers.iter().rev().filter(|family| family.work == work);
        let starts = rivals.flat_map(|family| (family.starts)(problem, sizes));
        first_of_each(std::iter::once(first).chain(starts), |&schedule| schedule)
    })
}

impl Schedule {
    /// The number of blocks that share a tile or a reduction: 1 where none do.
    pub const fn split_k(&self) -> u32 {
        match self {
            Schedule::Contract(point) => point.split_k,
            Schedule::Mma(point) => point.split_k,
            Schedule::Reduce(point) => point.split_k,
            Schedule::Attention(point) => point.split_k,
            Schedule::Plain(_)
            | Schedule::Pointwise(_)
            | Schedule::Row(_)
            | Schedule::Window(_)
            | Schedule::Skinny(_) => 1,
        }
    }
}

/// Returns the schedule of the family that takes every operator.
pub(crate) fn plain(problem: &Problem<'_>, sizes: &[u64]) -> Schedule {
    of_joined(problem, sizes, |problem, sizes| {
        Schedule::Plain(Plain::for_sizes(problem, sizes))
    })
}

fn preferred(problem: &Problem<'_>, sizes: &[u64]) -> (Work, Schedule) {
    let suits = |family: &Offer| Some((family.work, (family.default)(problem, sizes)?));
    let everything = || (Work::Outputs, plain(problem, sizes));
    offers().iter().rev().find_map(suits).unwrap_or_else(everything)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_reads_back() {
        for text in [
            "plain threads=128",
            "pointwise threads=256 vector=4 unroll=2 cache=streaming tile=64 blocks=216",
            "row threads=64 rows=2 vector=4 keep=registers unroll=1 pass=several blocks=264",
            "row threads=64 rows=2 vector=4 keep=reload unroll=4 pass=one blocks=0",
            "contract block=128x64x16 thread=8x4 stages=2 blocks=54 split_k=1",
            "mma block=128x64x32 warp=64x32 slice_k=1 stages=3 group=8 blocks=0 split_k=1",
            "mma block=64x64x32 warp=32x32 slice_k=1 stages=4 group=1 blocks=0 split_k=8",
            "skinny rows=1 columns=2 vector=8 lanes=32 warps=4 unroll=2 cache=streaming",
            "window threads=128 rows=2 columns=4",
            "reduce threads=8 lanes=32 vector=4 keep=reload unroll=4 split_k=16",
            "attention rows=64 keys=64 warps=4 split_k=1",
        ] {
            let schedule: Schedule = text.parse().unwrap();
            assert_eq!(schedule.to_string(), text);
        }
    }

    #[test]
    fn texts_from_before_a_parameter_read_on() {
        let text = "row threads=64 rows=2 vector=4 keep=reload unroll=4 pass=one";
        let schedule: Schedule = text.parse().unwrap();
        assert_eq!(schedule.to_string(), format!("{text} blocks=0"));
    }

    #[test]
    fn nonsense_is_named() {
        let error = |text: &str| text.parse::<Schedule>().unwrap_err().to_string();
        let families = Schedule::FAMILIES.join(", ");
        assert_eq!(error(""), format!("`` is no family of kernels: {families}"));
        assert_eq!(error("plain"), "`threads=…` is missing");
        assert_eq!(
            error("plain threads=x"),
            "`threads=x` is not understood: a number is expected"
        );
        assert_eq!(error("plain threads=1 x=2"), "`x=2` is no parameter of this family");
        assert_eq!(
            error("contract block=1x2 thread=1x1 stages=1"),
            "`block=1x2` is not understood: ROWSxCOLUMNSxDEPTH is expected"
        );
    }
}
