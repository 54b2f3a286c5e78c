//! The text of a point: `family key=value …`.

use crate::ptx::Cache;
use std::fmt::{self, Formatter, Write};

/// Why a text is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseScheduleError {
    /// The first word names no family.
    #[error("`{found}` is no family of kernels: {known}")]
    Family {
        /// The first word.
        found: String,
        /// The families there are.
        known: String,
    },
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
        /// A description of valid values.
        expected: &'static str,
    },
    /// A word that belongs to no parameter of the family.
    #[error("`{0}` is no parameter of this family")]
    Unknown(String),
}

/// A family's parameters as text. [`text`] implements it.
pub(crate) trait Text: Sized {
    /// Writes ` key=value` for each parameter.
    fn write(&self, f: &mut Formatter<'_>) -> fmt::Result;

    /// Takes the parameters from the words of a text.
    fn read(words: &mut Words<'_>) -> Result<Self, ParseScheduleError>;
}

/// Implements [`Text`] for a family by the keys of its text, in order. `key: a x b` is a key for two numbers. Earlier texts lack
/// `key: a or 0`, which means 0.
macro_rules! text {
    ($Family:ident { $($key:ident: $first:ident $(x $more:ident)* $(or $absent:literal)?),* $(,)? }) => {
        impl $crate::families::text::Text for $Family {
            fn write(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                $($crate::families::text::write_pair(f, stringify!($key), &[self.$first $(, self.$more)*])?;)*
                Ok(())
            }

            fn read(
                words: &mut $crate::families::text::Words<'_>,
            ) -> Result<$Family, $crate::families::text::ParseScheduleError> {
                $(let [$first $(, $more)*] = words.take(stringify!($key), &[$($absent)?])?;)*
                Ok($Family { $($first $(, $more)*),* })
            }
        }
    };
}
pub(crate) use text;

/// A value of a parameter.
pub(crate) trait Value: Sized + Copy {
    /// The description of one, two or three values.
    const EXPECTED: [&'static str; 3];

    fn write(self, out: &mut dyn Write) -> fmt::Result;

    fn read(text: &str) -> Option<Self>;
}

impl Value for u32 {
    const EXPECTED: [&'static str; 3] = ["a number", "ROWSxCOLUMNS", "ROWSxCOLUMNSxDEPTH"];

    fn write(self, out: &mut dyn Write) -> fmt::Result {
        write!(out, "{self}")
    }

    fn read(text: &str) -> Option<u32> {
        text.parse().ok()
    }
}

/// Implements [`Value`] for an enumeration by its variants' words.
macro_rules! words {
    ($Enum:ident: $expected:literal { $($Variant:ident = $word:literal),* $(,)? }) => {
        impl $crate::families::text::Value for $Enum {
            const EXPECTED: [&'static str; 3] = [$expected; 3];

            fn write(self, out: &mut dyn ::std::fmt::Write) -> ::std::fmt::Result {
                out.write_str(match self {
                    $($Enum::$Variant => $word),*
                })
            }

            fn read(text: &str) -> Option<$Enum> {
                match text {
                    $($word => Some($Enum::$Variant),)*
                    _ => None,
                }
            }
        }
    };
}
pub(crate) use words;

words!(Cache: "`normal` or `streaming`" { Normal = "normal", Streaming = "streaming" });

/// Writes ` key=value`; several values are joined by `x`.
pub(crate) fn write_pair<V: Value>(f: &mut Formatter<'_>, key: &str, values: &[V]) -> fmt::Result {
    write!(f, " {key}=")?;
    for (number, value) in values.iter().enumerate() {
        f.write_str(if number == 0 { "" } else { "x" })?;
        value.write(f)?;
    }
    Ok(())
}

/// The `key=value` words of a text that are not taken yet.
pub(crate) struct Words<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Words<'a> {
    pub fn of(words: impl Iterator<Item = &'a str>) -> Result<Words<'a>, ParseScheduleError> {
        let pair = |word: &'a str| {
            word.split_once('=')
                .ok_or_else(|| ParseScheduleError::Unknown(word.to_owned()))
        };
        words.map(pair).collect::<Result<_, _>>().map(Words)
    }

    /// Takes the `N` values of a key. If it is missing, they are `absent`, unless that is empty.
    pub fn take<V: Value, const N: usize>(
        &mut self,
        key: &'static str,
        absent: &[V],
    ) -> Result<[V; N], ParseScheduleError> {
        let Some(position) = self.0.iter().position(|(known, _)| *known == key) else {
            return absent.try_into().map_err(|_| ParseScheduleError::Missing(key));
        };
        let (_, value) = self.0.remove(position);
        let parts: Option<Vec<V>> = match N {
            1 => V::read(value).map(|one| vec![one]),
            _ => value.split('x').map(V::read).collect(),
        };
        parts
            .and_then(|parts| parts.try_into().ok())
            .ok_or_else(|| ParseScheduleError::Value {
                key,
                value: value.to_owned(),
                expected: V::EXPECTED[(N - 1).min(2)],
            })
    }

    /// An error if a word was not taken.
    pub fn end(self) -> Result<(), ParseScheduleError> {
        match self.0.first() {
            None => Ok(()),
            Some((key, value)) => Err(ParseScheduleError::Unknown(format!("{key}={value}"))),
        }
    }
}
