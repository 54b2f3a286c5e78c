//! Work that one launch does many times over: a reduction inside another one is done again for everything that the outer one is done for,
//! whether it depends on it or not.
//!
//! What a kernel does not do again it is not charged for: a reduction that stands in no other is shared by the results that
//! need it, and loops over axes that it does not depend on are left, up to the innermost one that it does depend on.

use crate::check::Checked;
use crate::ir::{AxisId, Expr, ExprId, LetId, Source};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::{Display, Formatter};

/// Written out, an operator of more expressions than this is not looked at.
const MOST_STEPS: u32 = 1 << 14;
/// What the repeated work must multiply the necessary work by to be worth a word.
const WORTH: f64 = 2.0;

/// A reduction that is computed more often than it has values.
#[derive(Debug, Clone, PartialEq)]
pub struct Repeated {
    /// The intermediate tensor it stands in; none if it stands in another reduction directly.
    pub name: Option<String>,
    /// How often each of its values is computed.
    pub times: f64,
    /// The axes over which it is computed again, by name.
    pub over: Vec<String>,
    /// How much the whole operator computes for what it would compute if every reduction had each value once.
    pub factor: f64,
}

impl Display for Repeated {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let over: Vec<String> = self.over.iter().map(|axis| format!("`{axis}`")).collect();
        let (what, first) = match &self.name {
            Some(name) => (format!("each value of `{name}`"), format!("`{name}`")),
            None => ("each value of the inner reduction".to_owned(), "it".to_owned()),
        };
        let decimals = usize::from(self.factor < 10.0);
        write!(
            f,
            "{what} is computed {} times, once for each {}: {:.decimals$} times the work that is needed; \
             write two operators, one that returns {first} and one that takes it as a tensor",
            self.times,
            over.join(" and "),
            self.factor,
        )
    }
}

/// The reduction whose repetition costs most at these sizes (all of them, in the order of [`Op::sizes`](crate::ir::Op::sizes)), if the operator
/// would do with half of its work.
pub fn repeated(checked: &Checked, sizes: &[u64]) -> Option<Repeated> {
    let mut walk = Walk {
        checked,
        sizes,
        stands_for: BTreeMap::new(),
        within: Vec::new(),
        lets: Vec::new(),
        steps: 0,
        done: Vec::new(),
        seen: HashSet::new(),
    };
    let mut necessary = 0.0;
    for output in &checked.op().outputs {
        for &axis in &output.axes {
            walk.stands_for.insert(axis, BTreeSet::from([axis]));
        }
        necessary += walk.volume(&output.axes);
        walk.expr(output.body)?;
    }
    let mut total = necessary;
    for done in &walk.done {
        total += done.times * done.values * done.terms;
        necessary += done.values * done.terms;
    }
    let wasted = |done: &Done| (done.times - 1.0) * done.values * done.terms;
    let worst = walk.done.iter().max_by(|a, b| wasted(a).total_cmp(&wasted(b)))?;
    let factor = total / necessary;
    (factor >= WORTH && worst.times > 1.0).then(|| Repeated {
        name: worst.name.map(|inner| checked.op().lets[inner.index()].name.clone()),
        times: worst.times,
        over: worst
            .over
            .iter()
            .map(|axis| checked.op().axes[axis.index()].name.clone())
            .collect(),
        factor,
    })
}

/// A reduction that is done, with all the places where it is done at the same time as one.
struct Done {
    name: Option<LetId>,
    /// Different values it has.
    values: f64,
    /// What each is made of.
    terms: f64,
    /// How often each value is computed.
    times: f64,
    over: Vec<AxisId>,
}

/// A reduction around the place where the walk is.
#[derive(Clone)]
struct Around {
    /// The loops in which its terms are computed, outermost first: its own and those it could not be taken out of.
    loops: Vec<AxisId>,
    /// The axes of outputs for whose values it is computed.
    outputs: BTreeSet<AxisId>,
}

struct Walk<'a> {
    checked: &'a Checked,
    sizes: &'a [u64],
    /// The axes of outputs and reductions that an axis depends on: itself, or, of an intermediate tensor's, those of the index it is read at.
    stands_for: BTreeMap<AxisId, BTreeSet<AxisId>>,
    within: Vec<Around>,
    /// Intermediate tensors around the place where the walk is.
    lets: Vec<LetId>,
    steps: u32,
    done: Vec<Done>,
    /// What is done already: the reduction, its loops and what it depends on.
    seen: HashSet<(ExprId, Vec<AxisId>, BTreeSet<AxisId>)>,
}

impl Walk<'_> {
    fn volume<'b>(&self, axes: impl IntoIterator<Item = &'b AxisId>) -> f64 {
        let extent = |&axis: &AxisId| self.sizes.get(self.checked.extent(axis).index()).copied().unwrap_or(1);
        axes.into_iter().map(|axis| extent(axis) as f64).product()
    }

    /// The axes of outputs and reductions that an expression depends on.
    fn depends(&self, expr: ExprId) -> BTreeSet<AxisId> {
        let axes = self.checked.axes(expr).iter();
        axes.flat_map(|axis| self.stands_for.get(&axis).cloned().unwrap_or_default())
            .collect()
    }

    fn expr(&mut self, id: ExprId) -> Option<()> {
        self.steps += 1;
        if self.steps > MOST_STEPS {
            return None;
        }
        let op = self.checked.op();
        match op.expr(id) {
            Expr::Reduce { axes, body, .. } => self.reduction(id, axes, *body),
            Expr::Read { source, index, or } => {
                for &operand in index.iter().chain(or) {
                    self.expr(operand)?;
                }
                let Source::Let(inner) = *source else { return Some(()) };
                let entry = &op.lets[inner.index()];
                let depends: Vec<_> = index.iter().map(|&at| self.depends(at)).collect();
                let outer: Vec<_> = entry.axes.iter().map(|axis| self.stands_for.remove(axis)).collect();
                self.stands_for.extend(entry.axes.iter().copied().zip(depends));
                self.lets.push(inner);
                self.expr(entry.body)?;
                self.lets.pop();
                for (&axis, outer) in entry.axes.iter().zip(outer) {
                    match outer {
                        Some(outer) => self.stands_for.insert(axis, outer),
                        None => self.stands_for.remove(&axis),
                    };
                }
                Some(())
            }
            _ => {
                let mut operands = Vec::new();
                op.operands(id, |operand| operands.push(operand));
                operands.into_iter().try_for_each(|operand| self.expr(operand))
            }
        }
    }

    fn reduction(&mut self, id: ExprId, axes: &[AxisId], body: ExprId) -> Option<()> {
        let depends = self.depends(id);
        let is_output = |axis: &&AxisId| !self.within.iter().any(|around| around.loops.contains(axis));
        let mut outputs: BTreeSet<AxisId> = depends.iter().filter(is_output).copied().collect();
        // It is taken out of the loops up to the innermost that it depends on.
        let mut loops = Vec::new();
        for around in &self.within {
            if let Some(last) = around.loops.iter().rposition(|axis| depends.contains(axis))
                && last >= loops.len()
            {
                loops = around.loops[..=last].to_vec();
                outputs.extend(&around.outputs);
            }
        }
        if self.seen.insert((id, loops.clone(), depends.clone())) {
            let over = outputs.iter().chain(&loops).filter(|axis| !depends.contains(axis));
            let over: Vec<AxisId> = over.copied().collect();
            self.done.push(Done {
                name: self.lets.last().copied(),
                values: self.volume(&depends),
                terms: self.volume(axes),
                times: self.volume(&over),
                over,
            });
        }
        for &axis in axes {
            self.stands_for.insert(axis, BTreeSet::from([axis]));
        }
        loops.extend(axes);
        self.within.push(Around { loops, outputs });
        self.expr(body)?;
        self.within.pop();
        Some(())
    }
}
