//! The proof that an index is in range.
//!
//! At concrete sizes, an integer expression is a linear form over atoms. Atoms are axes and non-linear values, which are described by
//! inequalities: `min(a, b)` is at most `a` and at most `b`. Conditions are inequalities too. Where
//! inequalities do not suffice, the prover splits cases: `a != b` is `a < b` or `a > b`, and `min(a, b)` is `a` or `b`. A
//! proof must hold in every case that does not contradict itself.

use super::form::{ANYTHING, Atom, Form, Interval};
use super::system::System;
use crate::check::checked::Checked;
use crate::element::Type;
use crate::ir::{AxisId, BinaryOp, CompareOp, Expr, ExprId, Function, InputId, Literal, ReduceOp, Source, UnaryOp};
use std::collections::HashMap;

/// The budget of all proofs of a call: a few milliseconds. Indices that are not proved within it count as unproved.
const EFFORT: u32 = 60_000;
/// The deepest nesting of case splits.
const DEPTH: u32 = 8;
/// The most terms of a form, atoms, conditions and cases that a proof considers.
const MOST: usize = 32;

/// The conditions that hold where an expression is used.
#[derive(Debug, Clone, Default)]
pub(super) struct Context {
    /// Forms that are not negative.
    facts: Vec<Form>,
    /// Pairs of alternatives: at least one of each pair holds.
    cases: Vec<[Vec<Fact>; 2]>,
    /// `true` if a condition can never hold.
    pub(super) impossible: bool,
}

#[derive(Debug, Clone)]
enum Fact {
    NotNegative(Form),
    /// A truth value equals this.
    Is(ExprId, bool),
}

impl Context {
    /// `true` if no condition is known.
    pub(super) fn is_empty(&self) -> bool {
        self.facts.is_empty() && self.cases.is_empty() && !self.impossible
    }

    pub(super) fn mark(&self) -> Mark {
        Mark(self.facts.len(), self.cases.len(), self.impossible)
    }

    /// Removes everything added since the mark.
    pub(super) fn reset(&mut self, mark: Mark) {
        self.facts.truncate(mark.0);
        self.cases.truncate(mark.1);
        self.impossible = mark.2;
    }

    // A fact whose form would overflow 128 bits is dropped. Dropping facts is sound: it only proves less.

    fn not_negative(&mut self, form: Option<Form>) {
        self.facts.extend(form);
    }

    fn either(&mut self, alternatives: [Vec<Fact>; 2]) {
        if self.cases.len() < MOST {
            self.cases.push(alternatives);
        }
    }
}

/// A state of a context to return to.
pub(super) struct Mark(usize, usize, bool);

fn not_negative<const N: usize>(forms: [Option<Form>; N]) -> Vec<Fact> {
    forms.into_iter().flatten().map(Fact::NotNegative).collect()
}

/// The arithmetic of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Arithmetic {
    /// In 64 bits: `+ - * / %` of an index.
    Index,
    /// In its own type: any other value.
    Value,
}

/// The meaning of an atom.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Meaning {
    Axis(AxisId),
    Scalar(InputId),
    /// `a / c`, truncated, for a positive `c`.
    Quotient(Form, i128),
    /// `a % c`, with the sign of `a`, for a positive `c`.
    Remainder(Form, i128),
    Smaller(Form, Form),
    Product(Form, Form),
    Select(ExprId, Form, Form),
    /// A value of which only the interval is known.
    Opaque(ExprId, Arithmetic),
}

/// A context with the inequalities of its atoms.
#[derive(Debug, Clone, Default)]
struct Case {
    /// Facts that are not in the system yet.
    context: Context,
    system: System,
    described: Vec<Atom>,
}

#[derive(Debug)]
pub(super) struct Prover<'a> {
    checked: &'a Checked,
    sizes: &'a [u64],
    /// The assumed value of every scalar parameter; `None` for any value.
    scalars: Option<i128>,
    atoms: Vec<(Meaning, Interval)>,
    numbers: HashMap<Meaning, Atom>,
    forms: HashMap<(ExprId, Arithmetic), Form>,
    effort: u32,
}

impl<'a> Prover<'a> {
    pub(super) fn new(checked: &'a Checked, sizes: &'a [u64]) -> Prover<'a> {
        Prover {
            checked,
            sizes,
            scalars: None,
            atoms: Vec::new(),
            numbers: HashMap::new(),
            forms: HashMap::new(),
            effort: EFFORT,
        }
    }

    /// Assumes a value for every scalar parameter.
    pub(super) fn with_scalars(self, value: i128) -> Prover<'a> {
        Prover {
            scalars: Some(value),
            ..self
        }
    }

    /// Spends one step of the budget. Returns `false` if it is used up.
    pub(super) fn step(&mut self) -> bool {
        self.effort = self.effort.saturating_sub(1);
        self.effort > 0
    }

    /// Returns an interval that contains the index, no tighter than needed to show that it is within `wanted`. `None` if the index is never
    /// used.
    pub(super) fn bounds(&mut self, context: &Context, index: ExprId, wanted: Interval) -> Option<Interval> {
        let form = self.form(index, Arithmetic::Index);
        let range = self.range(&form);
        if range.within(wanted) || self.effort == 0 {
            return Some(range);
        }
        let mut case = Case {
            context: context.clone(),
            ..Case::default()
        };
        for &(atom, _) in &form.terms {
            self.describe(&mut case, atom);
        }
        // A proof cut off by the budget may know less than the interval before it.
        Some(self.bounds_in(case, &form, wanted, DEPTH)?.narrowed(range))
    }

    fn bounds_in(&mut self, mut case: Case, form: &Form, wanted: Interval, depth: u32) -> Option<Interval> {
        while let Some(fact) = case.context.facts.pop() {
            self.step();
            for &(atom, _) in &fact.terms {
                self.describe(&mut case, atom);
            }
            case.system.add(fact);
        }
        if case.context.impossible {
            return None;
        }
        let found = case.system.clone().bounds(form, &mut self.effort)?;
        if found.within(wanted) || depth == 0 || !self.step() {
            return Some(found);
        }
        // The newest cases describe the atoms of the form itself.
        let Some(alternatives) = case.context.cases.pop() else {
            return Some(found);
        };
        let found = alternatives.map(|facts| {
            let mut case = case.clone();
            for fact in facts {
                match fact {
                    Fact::NotNegative(form) => case.context.facts.push(form),
                    Fact::Is(condition, holds) => self.assume(&mut case.context, condition, holds),
                }
            }
            self.bounds_in(case, form, wanted, depth - 1)
        });
        match found {
            [Some(a), Some(b)] => Some(a.hull(b)),
            [a, b] => a.or(b),
        }
    }

    /// Adds the facts about an atom, unless they are already there.
    fn describe(&mut self, case: &mut Case, atom: Atom) {
        if case.described.contains(&atom) || case.described.len() >= MOST {
            return;
        }
        case.described.push(atom);
        let Some((meaning, range)) = self.atoms.get(atom.0 as usize).cloned() else {
            return;
        };
        let own = Form::atom(atom);
        let known = &mut case.context;
        known.not_negative(range.low.and_then(|low| own.plus(&Form::constant(low), -1)));
        known.not_negative(range.high.and_then(|high| Form::constant(high).plus(&own, -1)));
        match meaning {
            Meaning::Axis(_) | Meaning::Scalar(_) | Meaning::Opaque(..) => {}
            Meaning::Quotient(a, c) => {
                let rest = a.plus(&own, -c);
                let missing = rest.as_ref().and_then(|rest| rest.times(-1));
                let below = |form: &Option<Form>| form.clone()?.offset(c - 1);
                known.not_negative(below(&rest));
                known.not_negative(below(&missing));
                match self.range(&a) {
                    Interval { low: Some(0..), .. } => known.not_negative(rest),
                    Interval { high: Some(..=0), .. } => known.not_negative(missing),
                    _ => known.either([
                        not_negative([Some(a.clone()), rest]),
                        not_negative([a.times(-1), missing]),
                    ]),
                }
            }
            Meaning::Remainder(a, c) => {
                let difference = self.quotient(&a, c).combined(c, &own, 1);
                let difference = difference.and_then(|sum| sum.plus(&a, -1));
                known.not_negative(difference.as_ref().and_then(|form| form.times(-1)));
                known.not_negative(difference);
            }
            Meaning::Smaller(a, b) => {
                known.not_negative(a.plus(&own, -1));
                known.not_negative(b.plus(&own, -1));
                known.either([not_negative([own.plus(&a, -1)]), not_negative([own.plus(&b, -1)])]);
            }
            Meaning::Select(condition, accept, reject) => {
                known.either([(accept, true), (reject, false)].map(|(value, holds)| {
                    let mut facts = not_negative([own.plus(&value, -1), value.plus(&own, -1)]);
                    facts.push(Fact::Is(condition, holds));
                    facts
                }));
            }
            Meaning::Product(a, b) => {
                // `(a - x) · (b - y)` has a known sign if `x` and `y` are interval ends.
                let ends = |range: Interval| [(range.low, 1), (range.high, -1)];
                for (x, side) in ends(self.range(&a)) {
                    for (y, other) in ends(self.range(&b)) {
                        let distances = |x: i128, y: i128| {
                            let form = own.plus(&a, y.checked_neg()?)?.plus(&b, x.checked_neg()?)?;
                            form.offset(x.checked_mul(y)?)?.times(side * other)
                        };
                        known.not_negative(x.zip(y).and_then(|(x, y)| distances(x, y)));
                    }
                }
            }
        }
    }

    /// Returns the interval of an integer value under any condition.
    pub(super) fn interval(&mut self, expr: ExprId) -> Interval {
        let form = self.form(expr, Arithmetic::Value);
        self.range(&form)
    }

    /// Returns the interval of an integer value before it wraps to its type.
    pub(super) fn interval_before(&mut self, expr: ExprId) -> Interval {
        match self.linear(expr, Arithmetic::Value) {
            Some(form) => self.range(&form),
            None => self.interval(expr),
        }
    }

    // ------------------------------------------------------------------ conditions

    /// Assumes that a truth value equals `holds`.
    pub(super) fn assume(&mut self, context: &mut Context, condition: ExprId, holds: bool) {
        if context.facts.len() >= MOST || !self.step() {
            return;
        }
        let op = self.checked.op();
        match op.expr(condition) {
            Expr::Literal(Literal::Bool(value)) => context.impossible |= *value != holds,
            Expr::Unary(UnaryOp::Not, a) => self.assume(context, *a, !holds),
            Expr::Binary(binary @ (BinaryOp::And | BinaryOp::Or), a, b) => {
                if (*binary == BinaryOp::And) == holds {
                    self.assume(context, *a, holds);
                    self.assume(context, *b, holds);
                } else {
                    context.either([vec![Fact::Is(*a, holds)], vec![Fact::Is(*b, holds)]]);
                }
            }
            Expr::Select {
                condition,
                accept,
                reject,
            } => context.either(
                [(true, *accept), (false, *reject)]
                    .map(|(taken, value)| vec![Fact::Is(*condition, taken), Fact::Is(value, holds)]),
            ),
            Expr::Compare(compare, a, b) => {
                let ty = match self.checked.compares_indices(condition) {
                    true => Type::I64,
                    false => self.checked.operand_ty(condition),
                };
                if ty.is_integer()
                    && let Some(a) = self.operand(*a, Arithmetic::Value, ty)
                    && let Some(b) = self.operand(*b, Arithmetic::Value, ty)
                {
                    self.compare(context, if holds { *compare } else { opposite(*compare) }, &a, &b);
                }
            }
            _ => {}
        }
    }

    fn compare(&mut self, context: &mut Context, compare: CompareOp, a: &Form, b: &Form) {
        let at_least = |high: &Form, low: &Form, by: i128| high.plus(low, -1)?.offset(-by);
        let known = match compare {
            CompareOp::Lt => [at_least(b, a, 1), None],
            CompareOp::Le => [at_least(b, a, 0), None],
            CompareOp::Gt => [at_least(a, b, 1), None],
            CompareOp::Ge => [at_least(a, b, 0), None],
            CompareOp::Eq => [at_least(a, b, 0), at_least(b, a, 0)],
            CompareOp::Ne => {
                let (less, more) = (at_least(b, a, 1), at_least(a, b, 1));
                let possible = |form: &Option<Form>| form.as_ref().is_none_or(|form| self.possible(form));
                match (possible(&less), possible(&more)) {
                    (true, true) => return context.either([not_negative([less]), not_negative([more])]),
                    (true, false) => [less, None],
                    (false, _) => [more, None],
                }
            }
        };
        for fact in known.into_iter().flatten() {
            context.impossible |= !self.possible(&fact);
            context.facts.push(fact);
        }
    }

    /// `true` if a form's interval contains non-negative numbers.
    fn possible(&self, form: &Form) -> bool {
        self.range(form).high.is_none_or(|high| high >= 0)
    }

    // ------------------------------------------------------------------ expressions

    /// Returns an integer expression as a form.
    fn form(&mut self, expr: ExprId, arithmetic: Arithmetic) -> Form {
        if let Some(known) = self.forms.get(&(expr, arithmetic)) {
            return known.clone();
        }
        let ty = self.width(expr);
        let literal = matches!(self.checked.op().expr(expr), Expr::Literal(_));
        // A value that may have wrapped differs from its form.
        let exact = |prover: &Self, form: &Form| {
            form.terms.len() <= MOST
                && (arithmetic == Arithmetic::Index || literal || prover.range(form).within(Interval::of(ty)))
        };
        let form = match self.linear(expr, arithmetic) {
            Some(form) if exact(self, &form) => form,
            _ => {
                let range = match arithmetic {
                    Arithmetic::Index => ANYTHING,
                    Arithmetic::Value => Interval::of(ty),
                };
                self.atom(Meaning::Opaque(expr, arithmetic), range)
            }
        };
        self.forms.insert((expr, arithmetic), form.clone());
        form
    }

    /// Returns the type of a value. Index values count as 64-bit: kernels use 32 bits only where the result is the same.
    fn width(&self, expr: ExprId) -> Type {
        match self.checked.is_index(expr) {
            true => Type::I64,
            false => self.checked.ty(expr),
        }
    }

    fn linear(&mut self, expr: ExprId, arithmetic: Arithmetic) -> Option<Form> {
        let op = self.checked.op();
        let width = match arithmetic {
            Arithmetic::Index => Type::I64,
            Arithmetic::Value => self.width(expr),
        };
        match *op.expr(expr) {
            Expr::Literal(Literal::Int(value)) => Some(Form::constant(value.into())),
            _ if arithmetic == Arithmetic::Value && !width.is_integer() => None,
            Expr::Size(size) => Some(Form::constant(self.sizes[size.index()].into())),
            Expr::Axis(axis) => {
                let extent = i128::from(self.sizes[self.checked.extent(axis).index()]);
                Some(self.atom(Meaning::Axis(axis), Interval::new(0, extent - 1)))
            }
            Expr::Scalar(input) => Some(match self.scalars {
                Some(value) => Form::constant(value),
                None => {
                    let range = Interval::of_element(op.inputs[input.index()].element);
                    self.atom(Meaning::Scalar(input), range)
                }
            }),
            Expr::Unary(UnaryOp::Neg, a) => self.form(a, arithmetic).times(-1),
            Expr::Binary(BinaryOp::Add, a, b) => self.form(a, arithmetic).plus(&self.form(b, arithmetic), 1),
            Expr::Binary(BinaryOp::Sub, a, b) => self.form(a, arithmetic).plus(&self.form(b, arithmetic), -1),
            Expr::Binary(BinaryOp::Mul, a, b) => {
                let (a, b) = (self.form(a, arithmetic), self.form(b, arithmetic));
                match (a.as_constant(), b.as_constant()) {
                    (Some(factor), _) => b.times(factor),
                    (_, Some(factor)) => a.times(factor),
                    _ => {
                        let range = self.range(&a).product(self.range(&b));
                        Some(self.atom(Meaning::Product(a, b), range))
                    }
                }
            }
            Expr::Binary(binary @ (BinaryOp::Div | BinaryOp::Rem), a, b) => {
                let (a, b) = (self.operand(a, arithmetic, width)?, self.operand(b, arithmetic, width)?);
                match (binary, b.as_constant()) {
                    (BinaryOp::Div, Some(0)) => Some(Form::constant(0)),
                    (BinaryOp::Div, Some(c @ 1..)) => Some(self.quotient(&a, c)),
                    (BinaryOp::Div, Some(c)) => self.quotient(&a, c.checked_neg()?).times(-1),
                    (_, Some(0)) => Some(a),
                    (_, Some(c)) => Some(self.remainder(&a, c.checked_abs()?)),
                    (_, None) => {
                        let range = varying(binary, self.range(&a), self.range(&b));
                        Some(self.atom(Meaning::Opaque(expr, arithmetic), range))
                    }
                }
            }
            _ if arithmetic == Arithmetic::Index => Some(self.form(expr, Arithmetic::Value)),
            Expr::Unary(UnaryOp::Not, a) => self.operand(a, arithmetic, width)?.times(-1)?.offset(-1),
            Expr::Binary(BinaryOp::Min, a, b) => {
                let (a, b) = (self.operand(a, arithmetic, width)?, self.operand(b, arithmetic, width)?);
                Some(self.smaller(a, b))
            }
            Expr::Binary(BinaryOp::Max, a, b) => {
                let (a, b) = (self.operand(a, arithmetic, width)?, self.operand(b, arithmetic, width)?);
                self.larger(a, b)
            }
            Expr::Call(Function::Relu, ref arguments) => {
                let a = self.operand(*arguments.first()?, arithmetic, width)?;
                self.larger(a, Form::constant(0))
            }
            Expr::Call(Function::Abs, ref arguments) => {
                let a = self.operand(*arguments.first()?, arithmetic, width)?;
                let negative = a.times(-1)?;
                self.larger(a, negative)
            }
            Expr::Call(Function::Powi, ref arguments) => {
                let &[base, power] = arguments.as_slice() else {
                    return None;
                };
                let base = self.operand(base, arithmetic, width)?;
                let power = self.operand(power, arithmetic, Type::I32)?;
                let (base, power) = (self.range(&base), self.range(&power));
                let range = base.power(power.low?).hull(base.power(power.high?)).hull(base.power(0));
                Some(self.atom(Meaning::Opaque(expr, arithmetic), range))
            }
            Expr::Select {
                condition,
                accept,
                reject,
            } => {
                let accept = self.operand(accept, arithmetic, width)?;
                let reject = self.operand(reject, arithmetic, width)?;
                Some(self.select(condition, accept, reject))
            }
            Expr::Cast(a, element) => {
                let range = Interval::of_element(element);
                if self.checked.ty(a) == Type::Bool {
                    return Some(self.select(a, Form::constant(1), Form::constant(0)));
                }
                let form = self.form(a, arithmetic);
                if self.range(&form).within(range) {
                    return Some(form);
                }
                Some(self.atom(Meaning::Opaque(expr, arithmetic), range))
            }
            Expr::Reduce {
                op: reduction,
                ref axes,
                body,
            } => {
                let range = self.reduced(reduction, axes, body, width);
                Some(self.atom(Meaning::Opaque(expr, arithmetic), range))
            }
            Expr::Read {
                source: Source::Let(inner),
                or: None,
                ..
            } => {
                // A gathered read out of range yields 0.
                let range = self.interval(op.lets[inner.index()].body).hull(Interval::new(0, 0));
                Some(self.atom(Meaning::Opaque(expr, arithmetic), range))
            }
            _ => None,
        }
    }

    /// Returns the interval of an integer reduction.
    fn reduced(&mut self, reduction: ReduceOp, axes: &[AxisId], body: ExprId, ty: Type) -> Interval {
        let extents = axes.iter().map(|&axis| self.sizes[self.checked.extent(axis).index()]);
        let terms = extents.fold(1i128, |terms, extent| terms.saturating_mul(extent.into()));
        let extremes = Interval::of(ty);
        let only = |end: Option<i128>| Interval { low: end, high: end };
        match reduction {
            ReduceOp::ArgMax | ReduceOp::ArgMin => Interval::new(0, (terms - 1).max(0)),
            ReduceOp::Max if terms == 0 => only(extremes.low),
            ReduceOp::Min if terms == 0 => only(extremes.high),
            ReduceOp::Max | ReduceOp::Min => self.interval(body),
            // Contains partial sums, down to the empty one.
            ReduceOp::Sum => self.interval(body).times(terms).hull(Interval::new(0, 0)),
            ReduceOp::Prod => self.interval(body).power(terms),
        }
    }

    /// Returns the form of an operand, if the operand certainly does not wrap.
    fn operand(&mut self, expr: ExprId, arithmetic: Arithmetic, ty: Type) -> Option<Form> {
        let form = self.form(expr, arithmetic);
        self.range(&form).within(Interval::of(ty)).then_some(form)
    }

    fn quotient(&mut self, a: &Form, c: i128) -> Form {
        if c == 1 {
            return a.clone();
        }
        let range = self.range(a).quotient(c);
        self.atom(Meaning::Quotient(a.clone(), c), range)
    }

    fn remainder(&mut self, a: &Form, c: i128) -> Form {
        let range = self.range(a);
        if range.within(Interval::new(1 - c, c - 1)) {
            return a.clone();
        }
        self.atom(Meaning::Remainder(a.clone(), c), range.remainder(Some(c)))
    }

    fn smaller(&mut self, a: Form, b: Form) -> Form {
        let range = self.range(&a).smaller(self.range(&b));
        self.atom(Meaning::Smaller(a, b), range)
    }

    fn larger(&mut self, a: Form, b: Form) -> Option<Form> {
        self.smaller(a.times(-1)?, b.times(-1)?).times(-1)
    }

    fn select(&mut self, condition: ExprId, accept: Form, reject: Form) -> Form {
        let range = self.range(&accept).hull(self.range(&reject));
        self.atom(Meaning::Select(condition, accept, reject), range)
    }

    fn atom(&mut self, meaning: Meaning, range: Interval) -> Form {
        if let Interval { low: Some(low), high } = range
            && high == Some(low)
        {
            return Form::constant(low);
        }
        let next = Atom(self.atoms.len() as u32);
        let atom = *self.numbers.entry(meaning).or_insert_with_key(|meaning| {
            self.atoms.push((meaning.clone(), range));
            next
        });
        Form::atom(atom)
    }

    /// Returns the interval of a form from the intervals of its atoms alone.
    fn range(&self, form: &Form) -> Interval {
        let constant = Interval::new(form.constant, form.constant);
        form.terms.iter().fold(constant, |sum, &(atom, coefficient)| {
            let range = self.atoms.get(atom.0 as usize).map_or(ANYTHING, |&(_, range)| range);
            sum.plus(range.times(coefficient))
        })
    }
}

fn opposite(compare: CompareOp) -> CompareOp {
    match compare {
        CompareOp::Eq => CompareOp::Ne,
        CompareOp::Ne => CompareOp::Eq,
        CompareOp::Lt => CompareOp::Ge,
        CompareOp::Ge => CompareOp::Lt,
        CompareOp::Le => CompareOp::Gt,
        CompareOp::Gt => CompareOp::Le,
    }
}

/// Returns the interval of `a / b` or `a % b`, where `x / 0` is 0 and `x % 0` is `x`.
fn varying(binary: BinaryOp, a: Interval, b: Interval) -> Interval {
    let sizes = b.smaller(b.times(-1)).low.and_then(i128::checked_neg);
    match (binary, b.low) {
        (BinaryOp::Rem, Some(1..)) => a.remainder(sizes),
        (BinaryOp::Rem, _) => a.remainder(None),
        (_, Some(least @ 1..)) => a.quotient(least).hull(Interval::new(0, 0)),
        _ => a.hull(a.times(-1)).hull(Interval::new(0, 0)),
    }
}
