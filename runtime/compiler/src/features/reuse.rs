//! Loads that L1 serves: of sectors that the block has read shortly before.
//!
//! The warps of a block run side by side. So like loads of a block read a grid of addresses: over lanes and warps, over copies of the load in
//! unrolled code, and over the iterations of loops. L1 keeps sectors from one iteration of a loop to the next if all that the block
//! reads in an iteration fits its share of L1. Then each sector of the grid is fetched once, else once an iteration.
//!
//! The sums here are estimates: no GPU documents how its L1 chooses what to keep.

use super::form::{Form, LANES};
use super::memory;
use super::symbols::Symbols;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

const SECTOR: u64 = memory::SECTOR as u64;
/// Bytes of L1 for each thread of a block: 2,048 threads share 256 KiB on Hopper, of which shared memory takes a part.
const SHARE: u64 = 64;

/// A load of a warp.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load<'a> {
    /// The addresses, resolved.
    pub address: &'a Form,
    pub lanes: u32,
    /// Bytes of each lane.
    pub bytes: u32,
    /// The enclosing loops, outermost first.
    pub turns: &'a [u32],
    /// The sectors that all its executions touch, one after the other.
    pub sectors: f64,
}

/// Returns the sectors that all executions of a set's loads fetch, in blocks of so many threads.
pub(super) fn fetched(symbols: &Symbols, loads: &[Load<'_>], threads: u32) -> f64 {
    let warps = symbols.warp_sides();
    let grids: Vec<Grid<'_>> = grids(symbols, loads, &warps);
    let mut block = Block {
        symbols,
        grids: &grids,
        growth: grids.iter().map(|grid| growth(symbols, grid)).collect(),
        kept: Vec::new(),
        share: f64::from(threads) * SHARE as f64,
        fits: FxHashMap::default(),
    };
    block.find_kept();
    let blocks = symbols.executions_of_sides() / executions(symbols, &warps);
    let each = grids.iter().enumerate().map(|(number, grid)| {
        let fetched = match block.is_read_again(number) {
            true => 0.0,
            false => block.sectors(grid, 0) * blocks,
        };
        fetched.min(grid.touched)
    });
    each.sum()
}

/// Like loads: the same lanes and growth, at several offsets.
struct Grid<'a> {
    first: Load<'a>,
    /// The lowest offset.
    base: i64,
    /// The steps of lanes, offsets and warps, and how many there are of each.
    steps: Steps,
    /// Parts that form no grid are counted one by one.
    parts: f64,
    /// The sectors that the executions touch, one after the other.
    touched: f64,
}

type Steps = SmallVec<[(u64, u64); 8]>;

fn grids<'a>(symbols: &Symbols, loads: &[Load<'a>], warps: &[u32]) -> Vec<Grid<'a>> {
    let mut alike: Vec<(Load<'a>, Vec<i64>, f64)> = Vec::new();
    for &load in loads {
        let known = alike.iter_mut().find(|(first, _, _)| first.is_like(&load));
        match known {
            Some((_, bases, touched)) => {
                bases.push(load.address.base);
                *touched += load.sectors;
            }
            None => alike.push((load, vec![load.address.base], load.sectors)),
        }
    }
    let grid = |(first, bases, touched): (Load<'a>, Vec<i64>, f64)| {
        let values = first.address.values();
        let lanes = (0..LANES).filter(|lane| first.lanes >> lane & 1 == 1);
        let (mut steps, apart) = steps_of(lanes.map(|lane| values[lane]).collect());
        let base = bases.iter().copied().min().unwrap_or(0);
        let (of_bases, bases_apart) = steps_of(bases);
        steps.extend(of_bases);
        for &side in warps {
            steps.push((first.address.slope(side), symbols.now(side).count as u64));
        }
        Grid {
            first,
            base,
            steps,
            parts: apart * bases_apart,
            touched,
        }
    };
    alike.into_iter().map(grid).collect()
}

impl Load<'_> {
    /// `true` if the loads differ in their offset only.
    fn is_like(&self, other: &Load<'_>) -> bool {
        self.lanes == other.lanes
            && self.bytes == other.bytes
            && self.turns == other.turns
            && self.address.grows_like(other.address)
    }
}

/// The loads of a block.
struct Block<'a> {
    symbols: &'a Symbols,
    grids: &'a [Grid<'a>],
    /// For each of them, how its addresses grow.
    growth: Vec<(Steps, Steps)>,
    /// The loops between whose iterations L1 keeps what was read.
    kept: Vec<u32>,
    share: f64,
    /// For loops from the outermost on, `true` if one iteration of all of them fits the share of L1.
    fits: FxHashMap<&'a [u32], bool>,
}

impl<'a> Block<'a> {
    /// Finds the loops whose iterations fit L1, inner loops first.
    fn find_kept(&mut self) {
        let deepest = self.grids.iter().map(|grid| grid.first.turns.len()).max().unwrap_or(0);
        for depth in (0..deepest).rev() {
            let mut loops: SmallVec<[u32; 4]> = SmallVec::new();
            for turn in self.grids.iter().filter_map(|grid| grid.first.turns.get(depth)) {
                if !loops.contains(turn) {
                    loops.push(*turn);
                }
            }
            for turn in loops {
                if self.bytes(depth + 1, |turns| turns.get(depth) == Some(&turn)) <= self.share {
                    self.kept.push(turn);
                }
            }
        }
    }

    /// The bytes that those loads fetch in one iteration of each of the outer loops, so many.
    fn bytes(&self, outer: usize, among: impl Fn(&[u32]) -> bool) -> f64 {
        let chosen = self.grids.iter().filter(|grid| among(grid.first.turns));
        chosen.map(|grid| self.sectors(grid, outer)).sum::<f64>() * SECTOR as f64
    }

    /// The sectors that a grid's loads fetch in one iteration of each of the outer loops, so many.
    fn sectors(&self, grid: &Grid<'_>, outer: usize) -> f64 {
        let mut steps = grid.steps.clone();
        let mut again = grid.parts;
        for &turn in &grid.first.turns[outer..] {
            let turns = self.symbols.now(turn).count as u64;
            match self.kept.contains(&turn) {
                true => steps.push((grid.first.address.slope(turn), turns)),
                false => again *= turns as f64,
            }
        }
        again * sectors(grid.first.bytes.into(), steps)
    }

    /// `true` if an earlier grid has the same addresses, and L1 keeps them until then.
    fn is_read_again(&mut self, number: usize) -> bool {
        let grids = self.grids;
        let grid = &grids[number];
        (0..number).any(|other| {
            if grids[other].base != grid.base || self.growth[other] != self.growth[number] {
                return false;
            }
            let pairs = grids[other].first.turns.iter().zip(grid.first.turns);
            let common = pairs.take_while(|(a, b)| a == b).count();
            self.fits(&grid.first.turns[..common])
        })
    }

    /// `true` if one iteration of each of these loops fits the share of L1.
    fn fits(&mut self, outer: &'a [u32]) -> bool {
        if let Some(&known) = self.fits.get(outer) {
            return known;
        }
        let fits = self.bytes(outer.len(), |turns| turns.starts_with(outer)) <= self.share;
        self.fits.insert(outer, fits);
        fits
    }
}

/// The steps over lanes, warps and loops, and the growth over blocks.
fn growth(symbols: &Symbols, grid: &Grid<'_>) -> (Steps, Steps) {
    let mut steps = grid.steps.clone();
    let slopes = grid.first.turns.iter().map(|&turn| {
        let turns = symbols.now(turn).count as u64;
        (grid.first.address.slope(turn), turns)
    });
    steps.extend(slopes);
    steps.retain(|(step, number)| *step != 0 && *number > 1);
    steps.sort_unstable();
    let others = grid.first.address.terms.iter();
    let others = others.filter(|term| !grid.first.turns.contains(&term.symbol));
    let mut blocks: Steps = others.map(|term| (u64::from(term.symbol), term.slope as u64)).collect();
    blocks.sort_unstable();
    (steps, blocks)
}

/// The product of the numbers of values of symbols.
fn executions(symbols: &Symbols, of: &[u32]) -> f64 {
    of.iter().map(|&side| symbols.now(side).count as f64).product()
}

/// Writes distinct numbers as a grid, `first + Σ step · (0..number)`. If they are none, returns how many parts they have.
fn steps_of(mut numbers: Vec<i64>) -> (Steps, f64) {
    numbers.sort_unstable();
    numbers.dedup();
    let mut steps = Steps::new();
    while numbers.len() > 1 {
        let step = numbers[1] - numbers[0];
        let alike = numbers.windows(2).take_while(|pair| pair[1] - pair[0] == step);
        let number = 1 + alike.count();
        let is_row = |row: &[i64]| row.windows(2).all(|pair| pair[1] - pair[0] == step);
        if !numbers.len().is_multiple_of(number) || !numbers.chunks(number).all(is_row) {
            return (steps, numbers.len() as f64);
        }
        steps.push((step as u64, number as u64));
        numbers = numbers.chunks(number).map(|row| row[0]).collect();
    }
    (steps, 1.0)
}

/// Returns the sectors of a grid whose elements have so many bytes.
fn sectors(bytes: u64, mut steps: Steps) -> f64 {
    steps.sort_unstable();
    // Bytes without a gap of a whole sector, and the steps of such rows.
    let mut row = bytes;
    let mut rows: Steps = SmallVec::new();
    for (step, number) in steps {
        if step <= row.max(SECTOR) {
            row = row.saturating_add(step.saturating_mul(number - 1));
            continue;
        }
        match rows.last_mut() {
            // A row that overlaps rows which are there already.
            Some((last, rows)) if step.is_multiple_of(*last) && step / *last <= *rows => {
                *rows += step / *last * (number - 1)
            }
            _ => rows.push((step, number)),
        }
    }
    row.div_ceil(SECTOR) as f64 * rows.iter().map(|(_, number)| *number as f64).product::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: u64, steps: &[(u64, u64)]) -> f64 {
        sectors(bytes, steps.iter().copied().collect())
    }

    #[test]
    fn sectors_of_grids() {
        assert_eq!(of(4, &[(4, 32)]), 4.0);
        assert_eq!(of(4, &[(0, 32)]), 1.0);
        // Lanes down a column; eight iterations along the rows.
        assert_eq!(of(4, &[(4096, 32)]), 32.0);
        assert_eq!(of(4, &[(4096, 32), (4, 8)]), 32.0);
        assert_eq!(of(4, &[(4096, 32), (4, 16)]), 64.0);
        // Three by three of 8 rows of 128 bytes: 10 rows of 136 bytes.
        assert_eq!(of(4, &[(4, 32), (1024, 8), (4, 3), (1024, 3)]), 50.0);
    }

    #[test]
    fn numbers_that_form_a_grid() {
        let (steps, parts) = steps_of(vec![0, 4, 8, 100, 104, 108, 4]);
        assert_eq!((steps.as_slice(), parts), (&[(4, 3), (100, 2)][..], 1.0));
        let (steps, parts) = steps_of(vec![0, 4, 9]);
        assert_eq!((steps.as_slice(), parts), (&[][..], 3.0));
        assert_eq!(steps_of(vec![7]).1, 1.0);
    }
}
