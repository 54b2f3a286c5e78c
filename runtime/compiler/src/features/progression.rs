//! Arithmetic progressions, and sets of warps that are products of them.

use smallvec::SmallVec;

/// The values `low`, `low + stride`, …: `count` of them, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progression {
    pub low: i64,
    pub count: i64,
    pub stride: i64,
}

impl Progression {
    /// `0`, `1`, …, `count - 1`.
    pub fn below(count: i64) -> Progression {
        Progression {
            low: 0,
            count,
            stride: 1,
        }
    }

    /// Returns this progression without a part that begins with the same value.
    pub fn without(self, part: Progression) -> impl Iterator<Item = Progression> {
        let every = part.stride / self.stride;
        let covered = part.count.saturating_mul(every).min(self.count);
        let between = (1..every.min(covered)).map(move |offset| Progression {
            low: self.low + offset * self.stride,
            count: (covered - offset + every - 1) / every,
            stride: part.stride,
        });
        let after = (covered < self.count).then(|| Progression {
            low: self.low + covered * self.stride,
            count: self.count - covered,
            stride: self.stride,
        });
        between.chain(after)
    }
}

/// The greatest common divisor, never negative.
pub(super) fn gcd(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a.saturating_abs(), b.saturating_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The number of coordinates of a warp in a launch.
pub(super) const COORDINATES: usize = 4;
/// The coordinate of the warp in its block.
pub(super) const WARP: usize = 0;
/// The coordinate of the block in x. Those in y and z follow.
pub(super) const BLOCK: usize = 1;

/// A set of warps of a launch: a box, that is all combinations of its sides' values.
#[derive(Debug, Clone)]
pub(super) struct Warps {
    pub sides: Vec<Progression>,
    /// Each coordinate as a weighted sum of sides.
    pub coordinates: [SmallVec<[(u32, i64); 2]>; COORDINATES],
}

impl Warps {
    /// Returns so many warps of each block of a grid, from number `first` on.
    pub fn of(first: i64, warps: i64, grid: [u32; 3]) -> Warps {
        let mut sides = vec![Progression {
            low: first,
            count: warps,
            stride: 1,
        }];
        sides.extend(grid.map(|blocks| Progression::below(i64::from(blocks))));
        let coordinates = std::array::from_fn(|coordinate| SmallVec::from_iter([(coordinate as u32, 1)]));
        Warps { sides, coordinates }
    }

    /// Returns one warp of the set, the `number`-th of `of` along each side. They do not lie evenly: work often repeats itself every few blocks.
    /// Two neighbours lie as far from the start and from the end of their parts, so that growing work is not overestimated.
    pub fn one(&self, number: i64, of: i64) -> Warps {
        const GOLDEN: f64 = 0.618_033_988_749_895;
        let within = ((number - number % 2) as f64 * GOLDEN + 0.5).fract();
        let within = if number % 2 == 0 { within } else { 1.0 - within };
        let place = (number as f64 + within) / of as f64;
        let one = |side: &Progression| Progression {
            low: side.low + side.stride * ((side.count as f64 * place) as i64).min(side.count - 1),
            count: 1,
            stride: side.stride,
        };
        Warps {
            sides: self.sides.iter().map(one).collect(),
            coordinates: self.coordinates.clone(),
        }
    }

    pub fn count(&self) -> u64 {
        self.sides
            .iter()
            .map(|side| side.count as u64)
            .fold(1, u64::saturating_mul)
    }

    /// Returns disjoint sets that make up this set without a part. The part's sides begin with the same values.
    pub fn without<'a>(&'a self, part: &'a [Progression]) -> impl Iterator<Item = Warps> + 'a {
        (0..part.len()).flat_map(move |number| {
            self.sides[number].without(part[number]).map(move |rest| {
                let mut sides = [&part[..number], &self.sides[number..]].concat();
                sides[number] = rest;
                Warps {
                    sides,
                    coordinates: self.coordinates.clone(),
                }
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values(progression: Progression) -> Vec<i64> {
        (0..progression.count)
            .map(|step| progression.low + step * progression.stride)
            .collect()
    }

    proptest! {
        #[test]
        fn a_progression_is_its_part_and_the_rest(low in -9i64..9, count in 1i64..40, stride in 1i64..5, every in 1i64..7, kept in 1i64..50) {
            let whole = Progression { low, count, stride };
            let part = Progression { low, count: kept.min((count + every - 1) / every), stride: stride * every };
            let mut all: Vec<i64> = whole.without(part).flat_map(values).chain(values(part)).collect();
            all.sort_unstable();
            prop_assert_eq!(all, values(whole));
        }

        #[test]
        fn a_box_is_its_part_and_the_rest(counts in prop::array::uniform3(1u32..6), every in prop::array::uniform4(1i64..4), kept in prop::array::uniform4(1i64..4)) {
            let whole = Warps::of(2, 3, counts);
            let part: Vec<Progression> = whole.sides.iter().zip(every).zip(kept).map(|((side, every), kept)| Progression {
                low: side.low,
                count: kept.min((side.count + every - 1) / every),
                stride: every,
            }).collect();
            let points = |sides: &[Progression]| {
                sides.iter().fold(vec![vec![]], |points, side| {
                    points.iter().flat_map(|point| values(*side).into_iter().map(move |value| [&point[..], &[value]].concat())).collect()
                })
            };
            let mut all: Vec<Vec<i64>> = whole.without(&part).flat_map(|rest| points(&rest.sides)).chain(points(&part)).collect();
            all.sort_unstable();
            let mut expected = points(&whole.sides);
            expected.sort_unstable();
            prop_assert_eq!(all, expected);
        }
    }
}
