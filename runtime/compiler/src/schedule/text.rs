//! Schedules as text: `family key=value …`.

use super::{Contract, Keep, Mma, Pass, Plain, Pointwise, Row, Schedule, Skinny, Window};
use crate::ptx::Cache;
use std::fmt;
use std::str::FromStr;

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Schedule::Plain(p) => write!(f, "plain threads={}", p.threads),
            Schedule::Pointwise(p) => {
                let cache = cache_word(p.cache);
                let (threads, vector, unroll, tile, blocks) = (p.threads, p.vector, p.unroll, p.tile, p.blocks);
                write!(
                    f,
                    "pointwise threads={threads} vector={vector} unroll={unroll} cache={cache} tile={tile} blocks={blocks}"
                )
            }
            Schedule::Row(r) => {
                let keep = match r.keep {
                    Keep::Registers => "registers",
                    Keep::Shared => "shared",
                    Keep::Reload => "reload",
                };
                let pass = match r.pass {
                    Pass::One => "one",
                    Pass::Several => "several",
                };
                let (threads, rows, vector, unroll) = (r.threads, r.rows, r.vector, r.unroll);
                write!(
                    f,
                    "row threads={threads} rows={rows} vector={vector} keep={keep} unroll={unroll} pass={pass}"
                )
            }
            Schedule::Contract(c) => write!(
                f,
                "contract block={}x{}x{} thread={}x{} stages={} blocks={} parts={}",
                c.block_rows,
                c.block_columns,
                c.block_depth,
                c.thread_rows,
                c.thread_columns,
                c.stages,
                c.blocks,
                c.parts
            ),
            Schedule::Mma(m) => write!(
                f,
                "mma block={}x{}x{} warp={}x{} split={} stages={} group={} blocks={} parts={}",
                m.block_rows,
                m.block_columns,
                m.block_depth,
                m.warp_rows,
                m.warp_columns,
                m.split,
                m.stages,
                m.group,
                m.blocks,
                m.parts
            ),
            Schedule::Skinny(s) => write!(
                f,
                "skinny rows={} columns={} vector={} lanes={} warps={} unroll={} cache={}",
                s.rows,
                s.columns,
                s.vector,
                s.lanes,
                s.warps,
                s.unroll,
                cache_word(s.cache)
            ),
            Schedule::Window(w) => write!(f, "window threads={} rows={} columns={}", w.threads, w.rows, w.columns),
        }
    }
}

fn cache_word(cache: Cache) -> &'static str {
    match cache {
        Cache::Normal => "normal",
        Cache::Streaming => "streaming",
    }
}

/// Why a text is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseScheduleError {
    /// The first word names no family.
    #[error("`{0}` is no family of kernels: plain, pointwise, row, contract, mma, skinny or window")]
    Family(String),
    /// A parameter is missing.
    #[error("`{0}=…` is missing")]
    Missing(&'static str),
    /// A parameter has a value that is not understood.
    #[error("`{key}={value}` is not understood: {expected} is expected")]
    Value {
        /// The parameter.
        key: &'static str,
        /// Its value.
        value: String,
        /// What could stand there.
        expected: &'static str,
    },
    /// A word that belongs to no parameter of the family.
    #[error("`{0}` is no parameter of this family")]
    Unknown(String),
}

struct Words<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Words<'a> {
    fn take(&mut self, key: &'static str) -> Result<&'a str, ParseScheduleError> {
        let at = self
            .0
            .iter()
            .position(|(k, _)| *k == key)
            .ok_or(ParseScheduleError::Missing(key))?;
        Ok(self.0.remove(at).1)
    }

    fn number(&mut self, key: &'static str) -> Result<u32, ParseScheduleError> {
        let value = self.take(key)?;
        value.parse().map_err(|_| wrong(key, value, "a number"))
    }

    fn numbers<const N: usize>(
        &mut self,
        key: &'static str,
        expected: &'static str,
    ) -> Result<[u32; N], ParseScheduleError> {
        let value = self.take(key)?;
        let parts: Option<Vec<u32>> = value.split('x').map(|part| part.parse().ok()).collect();
        parts
            .and_then(|parts| parts.try_into().ok())
            .ok_or_else(|| wrong(key, value, expected))
    }

    fn one_of<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&str, T)],
        expected: &'static str,
    ) -> Result<T, ParseScheduleError> {
        let value = self.take(key)?;
        choices
            .iter()
            .find(|(name, _)| *name == value)
            .map(|&(_, choice)| choice)
            .ok_or_else(|| wrong(key, value, expected))
    }

    fn cache(&mut self) -> Result<Cache, ParseScheduleError> {
        let choices = [Cache::Normal, Cache::Streaming].map(|cache| (cache_word(cache), cache));
        self.one_of("cache", &choices, "`normal` or `streaming`")
    }
}

fn wrong(key: &'static str, value: &str, expected: &'static str) -> ParseScheduleError {
    ParseScheduleError::Value {
        key,
        value: value.to_owned(),
        expected,
    }
}

impl FromStr for Schedule {
    type Err = ParseScheduleError;

    fn from_str(text: &str) -> Result<Schedule, ParseScheduleError> {
        let mut words = text.split_whitespace();
        let family = words.next().unwrap_or_default();
        let pairs: Result<_, _> = words
            .map(|word| {
                word.split_once('=')
                    .ok_or_else(|| ParseScheduleError::Unknown(word.to_owned()))
            })
            .collect();
        let mut words = Words(pairs?);
        let schedule = match family {
            "plain" => Schedule::Plain(Plain {
                threads: words.number("threads")?,
            }),
            "pointwise" => Schedule::Pointwise(Pointwise {
                threads: words.number("threads")?,
                vector: words.number("vector")?,
                unroll: words.number("unroll")?,
                cache: words.cache()?,
                tile: words.number("tile")?,
                blocks: words.number("blocks")?,
            }),
            "row" => Schedule::Row(Row {
                threads: words.number("threads")?,
                rows: words.number("rows")?,
                vector: words.number("vector")?,
                keep: words.one_of(
                    "keep",
                    &[
                        ("registers", Keep::Registers),
                        ("shared", Keep::Shared),
                        ("reload", Keep::Reload),
                    ],
                    "`registers`, `shared` or `reload`",
                )?,
                unroll: words.number("unroll")?,
                pass: words.one_of(
                    "pass",
                    &[("one", Pass::One), ("several", Pass::Several)],
                    "`one` or `several`",
                )?,
            }),
            "contract" => {
                let [block_rows, block_columns, block_depth] = words.numbers("block", "ROWSxCOLUMNSxDEPTH")?;
                let [thread_rows, thread_columns] = words.numbers("thread", "ROWSxCOLUMNS")?;
                Schedule::Contract(Contract {
                    block_rows,
                    block_columns,
                    block_depth,
                    thread_rows,
                    thread_columns,
                    stages: words.number("stages")?,
                    blocks: words.number("blocks")?,
                    parts: words.number("parts")?,
                })
            }
            "mma" => {
                let [block_rows, block_columns, block_depth] = words.numbers("block", "ROWSxCOLUMNSxDEPTH")?;
                let [warp_rows, warp_columns] = words.numbers("warp", "ROWSxCOLUMNS")?;
                Schedule::Mma(Mma {
                    block_rows,
                    block_columns,
                    block_depth,
                    warp_rows,
                    warp_columns,
                    split: words.number("split")?,
                    stages: words.number("stages")?,
                    group: words.number("group")?,
                    blocks: words.number("blocks")?,
                    parts: words.number("parts")?,
                })
            }
            "skinny" => Schedule::Skinny(Skinny {
                rows: words.number("rows")?,
                columns: words.number("columns")?,
                vector: words.number("vector")?,
                lanes: words.number("lanes")?,
                warps: words.number("warps")?,
                unroll: words.number("unroll")?,
                cache: words.cache()?,
            }),
            "window" => Schedule::Window(Window {
                threads: words.number("threads")?,
                rows: words.number("rows")?,
                columns: words.number("columns")?,
            }),
            other => return Err(ParseScheduleError::Family(other.to_owned())),
        };
        match words.0.first() {
            None => Ok(schedule),
            Some((key, value)) => Err(ParseScheduleError::Unknown(format!("{key}={value}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_reads_back() {
        for text in [
            "plain threads=128",
            "pointwise threads=256 vector=4 unroll=2 cache=streaming tile=64 blocks=216",
            "row threads=64 rows=2 vector=4 keep=registers unroll=1 pass=several",
            "row threads=64 rows=2 vector=4 keep=reload unroll=4 pass=one",
            "contract block=128x64x16 thread=8x4 stages=2 blocks=54 parts=1",
            "mma block=128x64x32 warp=64x32 split=1 stages=3 group=8 blocks=0 parts=1",
            "mma block=64x64x32 warp=32x32 split=1 stages=4 group=1 blocks=0 parts=8",
            "skinny rows=1 columns=2 vector=8 lanes=32 warps=4 unroll=2 cache=streaming",
            "window threads=128 rows=2 columns=4",
        ] {
            let schedule: Schedule = text.parse().unwrap();
            assert_eq!(schedule.to_string(), text);
        }
    }

    #[test]
    fn nonsense_is_named() {
        let error = |text: &str| text.parse::<Schedule>().unwrap_err().to_string();
        assert_eq!(
            error(""),
            "`` is no family of kernels: plain, pointwise, row, contract, mma, skinny or window"
        );
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
