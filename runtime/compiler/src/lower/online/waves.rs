//! The reductions of a row that share one walk, though some of them depend on others.
//!
//! A sum that depends on another reduction of the row can be begun before that is known, with a provisional value in its place,
//! and be settled once it is known, where its terms have one of two forms. Both are recognised by algebra, whatever the
//! operator is called that has them:
//!
//! - **scaled**: every term is a multiple of `exp(σ·m + …)`, where m is the largest of some values f. If m is replaced by m', the sum
//!   so far only has to be multiplied by `exp(σ·(m' − m))`. That is sound if the exponent is 0 where f is the largest, and falls
//!   from there on: then no term exceeds its factor, at any provisional m (Milakov and Gimelshein, arXiv 1805.02867, for the softmax).
//! - **centred**: every term is a product `(f − s)·(g − t)`, where s and t are 0 or multiples of Σf and Σg. Around the means of f
//!   and g, `Σ(f − s)(g − t) = Σ(f − f̄)(g − ḡ) + n·(f̄ − s)(ḡ − t)`; the first part is updated as elements come, without
//!   cancellation (Chan, Golub and LeVeque 1979), and the second added in the end. That errs with the rounding of the means, as
//!   s and t do by which the sum as written errs. Of other centres, which may be exact, it does not hold.

use crate::check::Checked;
use crate::element::Element;
use crate::families::formula::{Formulas, LiteralBits, Node, NodeId};
use crate::ir::{BinaryOp, Function, ReduceOp, UnaryOp};

/// Reductions over the same elements, by their positions in [`Formulas::reductions`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wave {
    /// Reductions that depend on no other of the wave.
    pub plain: Vec<usize>,
    /// Reductions that depend on plain ones.
    pub online: Vec<(usize, Online)>,
}

/// The way to sum before all that the sum depends on is known.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Online {
    /// A multiple of `exp(σ·m)`, where m is the reduction `of`.
    Scaled {
        /// The largest (or smallest) value, one of the wave's plain reductions.
        of: usize,
        /// σ
        by: Product,
    },
    /// The sum of products of two differences.
    Centred([Difference; 2]),
}

/// A constant times factors, each of which is the same for a row; those marked are divided by.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Product {
    pub constant: f64,
    pub factors: Vec<(NodeId, bool)>,
}

/// `element − centre`, or its negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Difference {
    pub element: NodeId,
    /// A value of the row; none is 0.
    pub centre: Option<NodeId>,
    pub negative: bool,
}

/// The operator's row reductions, and in which walks they can be done.
pub(crate) struct Joint<'a> {
    pub formulas: Formulas<'a>,
    waves: Vec<Wave>,
}

impl<'a> Joint<'a> {
    /// The waves of an operator whose leading `rows` output axes number rows. None if it is too large to analyse.
    pub fn of(checked: &'a Checked, rows: usize) -> Option<Joint<'a>> {
        Formulas::new(checked, rows).map(Joint::new)
    }

    /// The waves of an operator that is written out.
    pub fn new(formulas: Formulas<'a>) -> Joint<'a> {
        let waves = waves(&formulas);
        Joint { formulas, waves }
    }

    /// The walk that serves all reductions, if one can.
    pub fn only(&self) -> Option<&Wave> {
        match &self.waves[..] {
            [wave] => Some(wave),
            _ => None,
        }
    }

    /// The most accumulators a lane that a walk needs, if walks are shared or not.
    pub fn accumulators(&self, shared: bool) -> usize {
        let own = |&number: &usize| match self.formulas.reductions[number].op {
            ReduceOp::ArgMax | ReduceOp::ArgMin => 2,
            _ => 1,
        };
        let of_wave = |wave: &Wave| match shared {
            true => wave.plain.iter().map(own).sum(),
            false => wave.plain.iter().map(own).max().unwrap_or(1),
        };
        self.waves.iter().map(of_wave).max().unwrap_or(1)
    }

    /// Walks that serve several reductions.
    pub fn shared(&self) -> impl Iterator<Item = &Wave> {
        let shared = |wave: &&Wave| wave.plain.len() + wave.online.len() > 1;
        self.waves.iter().filter(shared)
    }
}

fn waves(formulas: &Formulas<'_>) -> Vec<Wave> {
    let mut waves = Vec::new();
    let mut known = 0u64;
    let all = 0..formulas.reductions.len();
    // Reductions stand after those they depend on.
    while let Some(first) = all.clone().find(|&number| known & (1 << number) == 0) {
        let extents = &formulas.reductions[first].extents;
        let open = |number: usize| known & (1 << number) == 0 && formulas.reductions[number].extents == *extents;
        let needs = |number: usize| formulas.facts(formulas.reductions[number].body).reductions & !known;
        let plain: Vec<usize> = all
            .clone()
            .filter(|&number| open(number) && needs(number) == 0)
            .collect();
        let set = plain.iter().fold(0u64, |set, number| set | 1 << number);
        let online: Vec<(usize, Online)> = all
            .clone()
            .filter(|&number| open(number) && needs(number) != 0 && needs(number) & !set == 0)
            .filter_map(|number| Some((number, online(formulas, number, needs(number))?)))
            .collect();
        known |= online.iter().fold(set, |set, (number, _)| set | 1 << number);
        waves.push(Wave { plain, online });
    }
    waves
}

/// The way to do a reduction while those in the set `unknown` are not known; none if there is no such way.
fn online(formulas: &Formulas<'_>, number: usize, unknown: u64) -> Option<Online> {
    let reduction = &formulas.reductions[number];
    let body = reduction.body;
    if reduction.op != ReduceOp::Sum || !formulas.ty(body).is_float() {
        return None;
    }
    centred(formulas, body, unknown).or_else(|| scaled(formulas, body, unknown))
}

// ---------------------------------------------------------------------- centred

fn centred(formulas: &Formulas<'_>, body: NodeId, unknown: u64) -> Option<Online> {
    let factors = match formulas.node(body) {
        Node::Binary(BinaryOp::Mul, a, b) => [*a, *b],
        Node::Call(Function::Powi, arguments) => match formulas.node(arguments[1]) {
            Node::Literal(LiteralBits::Int(2)) => [arguments[0]; 2],
            _ => return None,
        },
        _ => return None,
    };
    let ty = formulas.ty(body);
    let [Some(first), Some(second)] = factors.map(|factor| difference(formulas, factor, unknown)) else {
        return None;
    };
    let same_type = [first, second].iter().all(|difference| {
        let parts = [Some(difference.element), difference.centre];
        parts.into_iter().flatten().all(|part| formulas.ty(part) == ty)
    });
    same_type.then_some(Online::Centred([first, second]))
}

fn difference(formulas: &Formulas<'_>, factor: NodeId, unknown: u64) -> Option<Difference> {
    let is_known = |id: NodeId| formulas.facts(id).reductions & unknown == 0;
    let element = |id: NodeId| is_known(id) && !formulas.places(id).is_empty();
    let centre = |id: NodeId, element: NodeId| {
        let is_sum = |factor: NodeId| match *formulas.node(factor) {
            Node::Row(number) => {
                let reduction = &formulas.reductions[number];
                reduction.op == ReduceOp::Sum && reduction.body == element
            }
            _ => false,
        };
        let terms = Algebra::new(formulas).terms(id).unwrap_or_default();
        let multiple = match &terms[..] {
            [term] => {
                let (sums, others): (Vec<_>, Vec<_>) = term.factors.iter().partition(|(factor, _)| is_sum(*factor));
                matches!(sums[..], [(_, false)]) && others.iter().all(|&(factor, _)| is_known(factor))
            }
            _ => false,
        };
        multiple && !formulas.facts(id).lanes && !formulas.places(id).is_empty()
    };
    match *formulas.node(factor) {
        _ if element(factor) => Some(Difference {
            element: factor,
            centre: None,
            negative: false,
        }),
        Node::Binary(BinaryOp::Sub, a, b) if element(a) && centre(b, a) => Some(Difference {
            element: a,
            centre: Some(b),
            negative: false,
        }),
        Node::Binary(BinaryOp::Sub, a, b) if element(b) && centre(a, b) => Some(Difference {
            element: b,
            centre: Some(a),
            negative: true,
        }),
        _ => None,
    }
}

// ---------------------------------------------------------------------- scaled

fn scaled(formulas: &Formulas<'_>, body: NodeId, unknown: u64) -> Option<Online> {
    if unknown.count_ones() != 1 {
        return None;
    }
    let of = unknown.trailing_zeros() as usize;
    let largest = &formulas.reductions[of];
    let sign = match largest.op {
        ReduceOp::Max => -1.0,
        ReduceOp::Min => 1.0,
        _ => return None,
    };
    let Multiple::Of(by) = Algebra::new(formulas).multiple(body, of)? else {
        return None;
    };
    // Factors whose sign is not known could make terms of any size.
    let sound = by.constant * sign > 0.0
        && by.factors.iter().all(|&(factor, _)| {
            let uniform = !formulas.facts(factor).lanes && formulas.facts(factor).reductions & unknown == 0;
            uniform
                && formulas.ty(factor).is_float()
                && !formulas.places(factor).is_empty()
                && positive(formulas, factor)
        });
    (sound && formulas.ty(largest.body) == formulas.ty(body)).then_some(Online::Scaled { of, by })
}

/// Sums of products, and what terms are multiples of.
struct Algebra<'a> {
    formulas: &'a Formulas<'a>,
    /// Conditions of choices around, and how they came out.
    decided: Vec<(NodeId, bool)>,
}

enum Multiple {
    /// It is 0.
    Zero,
    /// It does not depend on what is not known.
    Free,
    /// A multiple of `exp(σ·m)`, for this σ.
    Of(Product),
}

impl<'a> Algebra<'a> {
    fn new(formulas: &'a Formulas<'a>) -> Algebra<'a> {
        Algebra {
            formulas,
            decided: Vec::new(),
        }
    }

    /// The factor of a term that depends on the reduction `of`.
    fn multiple(&mut self, id: NodeId, of: usize) -> Option<Multiple> {
        let formulas = self.formulas;
        if formulas.facts(id).reductions & (1 << of) == 0 {
            return Some(match constant(formulas, id) {
                Some(0.0) => Multiple::Zero,
                _ => Multiple::Free,
            });
        }
        match *formulas.node(id) {
            Node::Call(Function::Exp, ref arguments) => self.exponent(arguments[0], of).map(Multiple::Of),
            Node::Unary(UnaryOp::Neg, a) => self.multiple(a, of),
            Node::Cast(a, Element::F32 | Element::F64) if formulas.ty(a) == formulas.ty(id) => self.multiple(a, of),
            Node::Binary(BinaryOp::Mul, a, b) => match (self.multiple(a, of)?, self.multiple(b, of)?) {
                (Multiple::Of(by), Multiple::Free) | (Multiple::Free, Multiple::Of(by)) => Some(Multiple::Of(by)),
                _ => None,
            },
            Node::Binary(BinaryOp::Div, a, b) => match (self.multiple(a, of)?, self.multiple(b, of)?) {
                (Multiple::Of(by), Multiple::Free) => Some(Multiple::Of(by)),
                _ => None,
            },
            Node::Binary(BinaryOp::Add | BinaryOp::Sub, a, b) => {
                let (a, b) = (self.multiple(a, of)?, self.multiple(b, of)?);
                alike(a, b)
            }
            Node::Select(condition, accept, reject) if matches!(self.multiple(condition, of)?, Multiple::Free) => {
                let accept = self.decide(condition, true, |algebra| algebra.multiple(accept, of))?;
                let reject = self.decide(condition, false, |algebra| algebra.multiple(reject, of))?;
                alike(accept, reject)
            }
            _ => None,
        }
    }

    fn decide<T>(&mut self, condition: NodeId, holds: bool, within: impl FnOnce(&mut Self) -> T) -> T {
        self.decided.push((condition, holds));
        let result = within(self);
        self.decided.pop();
        result
    }

    /// σ, where the exponent is `σ·m` and something that m does not occur in, and is 0 where m is the value it is the largest of.
    fn exponent(&self, exponent: NodeId, of: usize) -> Option<Product> {
        let is_unknown = |id: NodeId| *self.formulas.node(id) == Node::Row(of);
        let (with, mut rest): (Vec<Product>, Vec<Product>) = self
            .terms(exponent)?
            .into_iter()
            .partition(|term| term.factors.iter().any(|&(factor, _)| is_unknown(factor)));
        let [mut by] = <[Product; 1]>::try_from(with).ok()?;
        let at = by.factors.iter().position(|&(factor, _)| is_unknown(factor))?;
        let (_, divided) = by.factors.remove(at);
        let unknown = |product: &Product| {
            let facts = product.factors.iter().map(|&(factor, _)| self.formulas.facts(factor));
            facts.fold(0, |set, facts| set | facts.reductions) & (1 << of) != 0
        };
        if divided || unknown(&by) || rest.iter().any(unknown) {
            return None;
        }
        let largest_of = self.terms(self.formulas.reductions[of].body)?;
        rest.extend(largest_of.iter().map(|term| term.times(&by)));
        collected(rest).is_empty().then_some(by)
    }

    /// A value as a sum of products, as far as it is one. What choices are known to choose is chosen.
    fn terms(&self, id: NodeId) -> Option<Vec<Product>> {
        let formulas = self.formulas;
        if let Some(constant) = constant(formulas, id) {
            let factors = Vec::new();
            return Some(collected(vec![Product { constant, factors }]));
        }
        let scaled = |terms: Vec<Product>, by: &Product| terms.iter().map(|term| term.times(by)).collect::<Vec<_>>();
        let minus = Product {
            constant: -1.0,
            factors: Vec::new(),
        };
        let float = formulas.ty(id).is_float();
        let terms = match *formulas.node(id) {
            Node::Unary(UnaryOp::Neg, a) if float => scaled(self.terms(a)?, &minus),
            Node::Binary(op @ (BinaryOp::Add | BinaryOp::Sub), a, b) if float => {
                let (mut a, b) = (self.terms(a)?, self.terms(b)?);
                a.extend(if op == BinaryOp::Add { b } else { scaled(b, &minus) });
                a
            }
            Node::Binary(BinaryOp::Mul, a, b) if float => {
                let (a, b) = (self.terms(a)?, self.terms(b)?);
                if a.len() * b.len() > MOST_TERMS {
                    return None;
                }
                b.iter().flat_map(|by| scaled(a.clone(), by)).collect()
            }
            Node::Binary(BinaryOp::Div, a, b) if float => match constant(formulas, b) {
                Some(constant) => {
                    let factors = Vec::new();
                    let constant = 1.0 / constant;
                    scaled(self.terms(a)?, &Product { constant, factors })
                }
                None => {
                    let (constant, factors) = (1.0, vec![(b, true)]);
                    scaled(self.terms(a)?, &Product { constant, factors })
                }
            },
            Node::Cast(a, Element::F32 | Element::F64) if float && formulas.ty(a) == formulas.ty(id) => {
                self.terms(a)?
            }
            Node::Select(condition, accept, reject) => match self.decided.iter().find(|(known, _)| *known == condition)
            {
                Some((_, true)) => self.terms(accept)?,
                Some((_, false)) => self.terms(reject)?,
                None => vec![Product::of(id)],
            },
            _ => vec![Product::of(id)],
        };
        (terms.len() <= MOST_TERMS).then(|| collected(terms))
    }
}

/// The factor that two terms have in common.
fn alike(a: Multiple, b: Multiple) -> Option<Multiple> {
    match (a, b) {
        (Multiple::Zero, other) | (other, Multiple::Zero) => Some(other),
        (Multiple::Of(a), Multiple::Of(b)) if a == b => Some(Multiple::Of(a)),
        _ => None,
    }
}

/// A sum of more products is left alone.
const MOST_TERMS: usize = 16;

impl Product {
    fn of(id: NodeId) -> Product {
        Product {
            constant: 1.0,
            factors: vec![(id, false)],
        }
    }

    fn times(&self, other: &Product) -> Product {
        let mut factors = self.factors.clone();
        for &(factor, divided) in &other.factors {
            match factors.iter().position(|&known| known == (factor, !divided)) {
                Some(at) => drop(factors.remove(at)),
                None => factors.push((factor, divided)),
            }
        }
        factors.sort_unstable();
        Product {
            constant: self.constant * other.constant,
            factors,
        }
    }
}

/// A sum of products in which no two have the same factors and none is 0.
fn collected(products: Vec<Product>) -> Vec<Product> {
    let mut sum: Vec<Product> = Vec::new();
    for product in products {
        match sum.iter_mut().find(|known| known.factors == product.factors) {
            Some(known) => known.constant += product.constant,
            None => sum.push(product),
        }
    }
    sum.retain(|product| product.constant != 0.0);
    sum
}

fn constant(formulas: &Formulas<'_>, id: NodeId) -> Option<f64> {
    match *formulas.node(id) {
        Node::Literal(LiteralBits::Float(bits)) => Some(f64::from_bits(bits)).filter(|value| value.is_finite()),
        Node::Literal(LiteralBits::Int(value)) => Some(value as f64),
        Node::Unary(UnaryOp::Neg, a) => constant(formulas, a).map(|value| -value),
        _ => None,
    }
}

/// `true` if a value is certainly not negative.
fn positive(formulas: &Formulas<'_>, id: NodeId) -> bool {
    if let Some(constant) = constant(formulas, id) {
        return constant >= 0.0;
    }
    match *formulas.node(id) {
        Node::Cast(a, _) => formulas.ty(a).is_float() && positive(formulas, a),
        Node::Binary(BinaryOp::Add | BinaryOp::Mul | BinaryOp::Div, a, b) => {
            formulas.ty(id).is_float() && positive(formulas, a) && positive(formulas, b)
        }
        Node::Call(Function::Sqrt | Function::Rsqrt | Function::Exp, _) => true,
        Node::Call(Function::Abs | Function::Relu | Function::Sigmoid, _) => formulas.ty(id).is_float(),
        _ => false,
    }
}
