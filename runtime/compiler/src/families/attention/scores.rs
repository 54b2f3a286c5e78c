//! The scores of a warp's rows: queries times keys, on tensor cores, and what the source makes of the products.

use super::keys::Keys;
use super::mask::{Condition, Score};
use super::rows::{Coordinates, Row};
use super::slab::Slab;
use super::span::Span;
use super::tile::{Lane, Tile, Warp};
use crate::element::Type;
use crate::ir::ExprId;
use crate::lower::Error;
use crate::lower::expression::{Binding, InSequence, Lanes, Lowering, Reduce};
use crate::lower::index::Linear;
use crate::lower::tile::multiplicand::Multiplicand;
use crate::lower::value::Value;
use crate::ptx::builder::move_of;
use crate::ptx::{Class, Few, Guard, Opcode, Operand, Reg};

/// A sum of the output's tile: of 16 rows and 8 columns a lane's part.
pub(super) type Accumulator = [Reg; 4];

/// The rows of a warp, and what their scores are made with.
pub(super) struct Scores<'t, 's> {
    pub tile: &'t Tile<'s>,
    pub lane: Lane,
    pub warp: Warp,
    /// The lane's rows: of each 16 of the warp, one of the upper 8 and, if `halves` is 2, one of the lower.
    pub own_rows: Vec<Row>,
    pub halves: usize,
    /// For each of them the factor of all its scores, made positive.
    factors: Vec<Option<Reg>>,
    /// For each of them, what turns the signs of its queries, if the factor may be negative.
    signs: Vec<Option<Reg>>,
    /// The queries' fragments for each 16 features, if the warp holds them.
    held: Option<Vec<Vec<Few<Reg>>>>,
}

impl<'t, 's> Scores<'t, 's> {
    /// The scores of a warp whose rows of the block are these.
    ///
    /// # Errors
    /// As of lowering.
    pub fn new(
        lowering: &mut Lowering<'_>,
        tile: &'t Tile<'s>,
        lane: Lane,
        warp: Warp,
    ) -> Result<Scores<'t, 's>, Error> {
        // If there are few rows, half of a fragment belongs to none.
        let few = tile.rows.total.as_constant().is_some_and(|total| total <= 8);
        let halves = if few { 1 } else { 2 };
        let line = lowering.b.op(Opcode::ShrU32, &[lane.number.into(), 2.into()]);
        let warp_row = warp.group.times(tile.warp_rows().into());
        let mut own_rows = Vec::new();
        for first in (0..tile.warp_rows()).step_by(16) {
            for half in 0..halves {
                let within = warp_row.plus(&Linear::register(line));
                let within = within.plus_constant((first + 8 * half).into());
                own_rows.push(tile.row(lowering, &within));
            }
        }
        let mut scores = Scores {
            tile,
            lane,
            warp,
            own_rows,
            halves: halves as usize,
            factors: Vec::new(),
            signs: Vec::new(),
            held: None,
        };
        for row in &scores.own_rows {
            let (factor, sign) = scores.factor(lowering, row)?.unzip();
            scores.factors.push(factor);
            scores.signs.push(sign.flatten());
        }
        Ok(scores)
    }

    /// The factor common to a row's scores, as a positive number, and what turns the signs of two queries if it is negative.
    fn factor(&self, lowering: &mut Lowering<'_>, row: &Row) -> Result<Option<(Reg, Option<Reg>)>, Error> {
        let Score::Scaled {
            factor,
            divides,
            positive,
        } = &self.tile.shape.mask.score
        else {
            return Ok(None);
        };
        row.at.bind(lowering, factor)?;
        let value = lowering.value_as(factor.expr, Type::F32, &mut InSequence)?.operand;
        let b = &mut lowering.b;
        let is_positive = *positive || matches!(value, Operand::F32(bits) if f32::from_bits(bits) > 0.0);
        let value = match value {
            Operand::Reg(value) => value,
            constant => b.constant(Class::F32, constant),
        };
        let value = match divides {
            true => b.op(Opcode::RcpF32, &[value.into()]),
            false => value,
        };
        if is_positive {
            return Ok(Some((value, None)));
        }
        let bits = b.op(Opcode::BitsF32, &[value.into()]);
        let upper = b.op(Opcode::AndB32, &[bits.into(), 0x8000_0000.into()]);
        let lower = b.op(Opcode::ShrU32, &[upper.into(), 16.into()]);
        let sign = b.op(Opcode::OrB32, &[upper.into(), lower.into()]);
        let factor = b.op(Opcode::AbsF32, &[value.into()]);
        Ok(Some((factor, Some(sign))))
    }

    /// The factor of the scores of the lane's row with that number.
    pub fn factor_of(&self, own: usize) -> Option<Reg> {
        self.factors[own]
    }

    // ------------------------------------------------------------------ products

    /// Waits for the queries, and loads their fragments if the warp holds them.
    pub fn hold_queries(&mut self, lowering: &mut Lowering<'_>) {
        if !self.tile.point.holds_queries(self.tile.heads) {
            return;
        }
        lowering.b.converge(Opcode::CopyWait0, &[]);
        lowering.b.barrier();
        let steps = 0..self.tile.heads.slice_features() / 16;
        self.held = Some(steps.map(|step| self.queries(lowering, step)).collect());
    }

    /// The byte of a line at which the warp's features begin.
    fn first_byte(&self) -> Linear {
        self.warp.slice.times(i64::from(2 * self.tile.heads.slice_features()))
    }

    /// The fragments of the warp's queries for 16 of its features. Lane `l` has the address of line `l % 8` of matrix `l / 8`: the second matrix is the
    /// next 8 rows, the third the next 8 features.
    fn queries(&self, lowering: &mut Lowering<'_>, step: u32) -> Vec<Few<Reg>> {
        let (line, chunk) = self.lane.halves(lowering);
        let line = self.warp.group.times(self.tile.warp_rows().into()).plus(&line);
        let chunk = chunk.plus(&self.first_byte());
        (0..self.tile.warp_rows() / 16)
            .map(|number| {
                let line = line.plus_constant(i64::from(16 * number));
                let byte = chunk.plus_constant(i64::from(32 * step));
                let at = self.tile.slabs[0].address(lowering, &line, &byte);
                let mut fragment = lowering.b.load_matrices(false, at);
                for (at, queries) in fragment.iter_mut().enumerate() {
                    let half = at % 2;
                    let own = number as usize * self.halves + half.min(self.halves - 1);
                    if let Some(sign) = self.signs[own] {
                        *queries = lowering.b.op(Opcode::XorB32, &[(*queries).into(), sign.into()]);
                    }
                }
                fragment
            })
            .collect()
    }

    /// The sums of products of the warp's slices of its queries and of the lines of a slab: of each 16 rows, for each 8 lines.
    pub fn products(&self, lowering: &mut Lowering<'_>, slab: Slab) -> Vec<Vec<Accumulator>> {
        let tiles = slab.lines / 8;
        let nothing: Accumulator = [lowering.b.constant(Class::F32, 0f32.into()); 4];
        let mut products = vec![vec![nothing; tiles as usize]; self.tile.warp_rows() as usize / 16];
        let (line, chunk) = self.lane.quarters(lowering);
        let chunk = chunk.plus(&self.first_byte());
        for step in 0..self.tile.heads.slice_features() / 16 {
            let queries = match &self.held {
                Some(held) => held[step as usize].clone(),
                None => self.queries(lowering, step),
            };
            for pair in 0..tiles / 2 {
                let line = line.plus_constant(i64::from(16 * pair));
                let byte = chunk.plus_constant(i64::from(32 * step));
                let at = slab.address(lowering, &line, &byte);
                let lines = lowering.b.load_matrices(false, at);
                for (queries, products) in queries.iter().zip(&mut products) {
                    for half in 0..2 {
                        let sum = &mut products[(2 * pair) as usize + half];
                        let (opcode, sources) =
                            product(self.tile.shape.multiplicands[0], queries, &lines[2 * half..][..2], sum);
                        sum.copy_from_slice(&lowering.b.converge_all(opcode, &sources));
                    }
                }
            }
        }
        products
    }

    // ------------------------------------------------------------------ scores

    /// The scores of a tile of keys, from `first` on, by their products, up to the factor of each row: of each 16 rows, for each 8 keys. A key that a row
    /// does not see has −∞. Nothing assigns these registers any more.
    ///
    /// # Errors
    /// As of lowering.
    pub fn of_tile(
        &self,
        lowering: &mut Lowering<'_>,
        products: Vec<Vec<Accumulator>>,
        first: &Linear,
        span: &Span,
    ) -> Result<Vec<Vec<Accumulator>>, Error> {
        let mask = &self.tile.shape.mask;
        if matches!(mask.score, Score::Value(_)) || !mask.conditions.is_empty() {
            self.each(lowering, &products, first, true, |lowering, row, key, product| {
                let score = self.score(lowering, row, key, product)?;
                self.masked(lowering, row, key, &mask.conditions, score)
            })?;
        }
        let Some(is_edge) = self.is_edge(lowering, first, span) else {
            return Ok(products);
        };
        lowering.b.begin_tail(Guard {
            predicate: is_edge,
            holds: true,
        });
        let bounds: Vec<Condition> = mask.bounds.iter().filter_map(|bound| bound.condition.clone()).collect();
        let whole = self.tile.is_whole(lowering);
        self.each(lowering, &products, first, !whole, |lowering, row, key, product| {
            let exists = key.guard;
            let score = self.masked(lowering, row, key, &bounds, product.into())?;
            Ok(self.or_unseen(lowering, score, exists))
        })?;
        lowering.b.end();
        Ok(products)
    }

    /// A predicate that holds if some row does not see all keys of a tile. None if all rows certainly see all.
    fn is_edge(&self, lowering: &mut Lowering<'_>, first: &Linear, span: &Span) -> Option<Reg> {
        let Keys { first: low, end: high } = &span.seen;
        let total = lowering.size(self.tile.shape.keys);
        let past = first.plus_constant(self.tile.point.keys.into());
        let below = (low.as_constant() != Some(0)).then(|| lowering.below(first, low));
        let beyond = (*high != total || !self.tile.is_whole(lowering)).then(|| lowering.below(high, &past));
        match (below, beyond) {
            (Some(a), Some(b)) => Some(lowering.b.op(Opcode::OrPred, &[a.into(), b.into()])),
            (a, b) => a.or(b),
        }
    }

    /// Begins the loads of what the scores of a tile of keys need beside the products.
    ///
    /// # Errors
    /// As of lowering.
    pub fn begin_loads(&self, lowering: &mut Lowering<'_>, first: &Linear) -> Result<(), Error> {
        let loads = &self.tile.shape.mask.loads;
        let keys = if loads.is_empty() { 0 } else { self.own_keys() };
        for number in 0..keys {
            let key = self.own_key(lowering, first, number, true);
            let at = Coordinates {
                outputs: self.tile.rows.batch.clone(),
                key: Some(key),
                feature: None,
            };
            for load in loads {
                at.bind(lowering, load)?;
                lowering.lanes = self.pairs(lowering);
                lowering.touch(load.expr, &mut InSequence)?;
            }
        }
        lowering.lanes = None;
        Ok(())
    }

    /// Replaces each product by what `of` makes of it, its row and its key. Keys have guards where asked for, and all may not be there.
    fn each<'a>(
        &self,
        lowering: &mut Lowering<'a>,
        products: &[Vec<Accumulator>],
        first: &Linear,
        guarded: bool,
        mut of: impl FnMut(&mut Lowering<'a>, &Row, &Binding, Reg) -> Result<Operand, Error>,
    ) -> Result<(), Error> {
        for own_key in 0..self.own_keys() {
            let (column, lane) = (own_key / 2, own_key % 2);
            let key = self.own_key(lowering, first, own_key, guarded);
            for (at, row) in self.own_rows.iter().enumerate() {
                let (number, half) = (at / self.halves, at % self.halves);
                lowering.lanes = self.pairs(lowering);
                let sum = products[number][column][2 * half + lane];
                let read = lowering.b.read(sum);
                let score = of(lowering, row, &key, read)?;
                lowering.b.assign(move_of(Class::F32), sum, &[score]);
            }
        }
        lowering.lanes = None;
        Ok(())
    }

    /// The number of the lane's keys of a tile.
    const fn own_keys(&self) -> usize {
        self.tile.point.keys as usize / 4
    }

    /// The lane's key with that number of the tile that begins with `first`. It has a guard where asked for, unless all keys are whole tiles.
    fn own_key(&self, lowering: &mut Lowering<'_>, first: &Linear, number: usize, guarded: bool) -> Binding {
        let total = lowering.size(self.tile.shape.keys);
        let own = first.plus(&Linear::register(self.lane.place).times(2));
        let pair = own.plus_constant(8 * (number / 2) as i64);
        let value = pair.plus_constant((number % 2) as i64);
        // One comparison serves a pair whose keys end together.
        let compared = if self.pairs(lowering).is_some() { &pair } else { &value };
        let guard = (guarded && !self.tile.is_whole(lowering)).then(|| lowering.below(compared, &total));
        Binding { value, guard }
    }

    /// The lanes of a pair of keys, if it ends where keys do.
    fn pairs(&self, lowering: &Lowering<'_>) -> Option<Lanes> {
        let paired = lowering.specialisation.aligned && lowering.size_multiple(self.tile.shape.keys) > 1;
        paired.then_some(Lanes {
            register: self.lane.place,
            width: 2,
        })
    }

    /// The score of a row and a key whose sum of products is known, up to the row's factor.
    fn score(&self, lowering: &mut Lowering<'_>, row: &Row, key: &Binding, product: Reg) -> Result<Operand, Error> {
        let Score::Value(place) = &self.tile.shape.mask.score else {
            return Ok(product.into());
        };
        row.at.with_key(key.clone()).bind(lowering, place)?;
        let mut known = Known(vec![(self.tile.shape.product, Value::new(Type::F32, product))]);
        Ok(lowering.value_as(place.expr, Type::F32, &mut known)?.operand)
    }

    /// A score where conditions hold for the row and the key, and that of the weight 0 elsewhere.
    fn masked(
        &self,
        lowering: &mut Lowering<'_>,
        row: &Row,
        key: &Binding,
        conditions: &[Condition],
        score: Operand,
    ) -> Result<Operand, Error> {
        let at = row.at.with_key(key.clone());
        let mut seen = None;
        for condition in conditions {
            at.bind(lowering, &condition.place)?;
            let value = lowering.value(condition.place.expr, &mut InSequence)?;
            let mut value = value.reg(&mut lowering.b);
            if !condition.holds {
                value = lowering.b.op(Opcode::NotPred, &[value.into()]);
            }
            seen = lowering.both(seen, Some(value));
        }
        Ok(self.or_unseen(lowering, score, seen))
    }

    /// A score if the condition holds, and that of the weight 0 if not.
    fn or_unseen(&self, lowering: &mut Lowering<'_>, score: Operand, seen: Option<Reg>) -> Operand {
        let Some(seen) = seen else { return score };
        let unseen = self.tile.shape.weighting.unseen();
        lowering
            .b
            .op(Opcode::SelF32, &[score, unseen.into(), seen.into()])
            .into()
    }
}

impl Lane {
    /// Line and byte of a lane's part of 16 lines by 32 bytes, where the second matrix is the next 8 lines.
    pub fn halves(self, lowering: &mut Lowering<'_>) -> (Linear, Linear) {
        let b = &mut lowering.b;
        let line = b.op(Opcode::AndB32, &[self.number.into(), 15.into()]);
        let chunk = b.op(Opcode::ShrU32, &[self.number.into(), 4.into()]);
        (Linear::register(line), Linear::register(chunk).times(16))
    }

    /// The same, where the second matrix is the next 16 bytes.
    fn quarters(self, lowering: &mut Lowering<'_>) -> (Linear, Linear) {
        let b = &mut lowering.b;
        let within = b.op(Opcode::AndB32, &[self.number.into(), 7.into()]);
        let upper = b.op(Opcode::ShrU32, &[self.number.into(), 4.into()]);
        let odd = b.op(Opcode::ShrU32, &[self.number.into(), 3.into()]);
        let odd = b.op(Opcode::AndB32, &[odd.into(), 1.into()]);
        let line = Linear::register(upper).times(8).plus(&Linear::register(within));
        (line, Linear::register(odd).times(16))
    }
}

/// Reductions whose values are known where they are asked for.
pub(super) struct Known(pub Vec<(ExprId, Value)>);

impl Reduce for Known {
    fn reduce(&mut self, _: &mut Lowering<'_>, expr: ExprId) -> Result<Option<Value>, Error> {
        let known = self.0.iter().find(|(known, _)| *known == expr);
        Ok(known.map(|&(_, value)| value))
    }
}

/// The instruction that adds the product of a left fragment and 8 columns of a right one to a sum, and its sources.
pub(super) fn product(
    multiplicand: Multiplicand,
    left: &[Reg],
    right: &[Reg],
    sum: &Accumulator,
) -> (Opcode, Few<Operand>) {
    let opcode = match multiplicand {
        Multiplicand::Bf16 => Opcode::MmaBf16,
        _ => Opcode::MmaF16,
    };
    let sources = left.iter().chain(right).chain(sum);
    (opcode, sources.map(|&reg| reg.into()).collect())
}
