//! Repeated work: a reduction inside another reduction is recomputed for every value of the outer one, even if it does not depend on it.
//!
//! Work that kernels share is not counted as repeated. A reduction outside any other is shared by the results that use it, and a reduction
//! is hoisted out of loops over axes that it does not depend on, up to the innermost loop that it does depend on.

use crate::check::Checked;
use crate::ir::{AxisId, Expr, ExprId, LetId, Source};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::{Display, Formatter};

/// The most expressions of an operator, with its intermediate tensors inlined, that are analysed.
const MOST_STEPS: u32 = 1 << 14;
/// The least ratio of all work to necessary work that is reported.
const WORTH: f64 = 2.0;

/// A reduction that is computed several times for each of its values.
#[derive(Debug, Clone, PartialEq)]
pub struct Repeated {
    /// The intermediate tensor that contains it; `None` if it is directly inside another reduction.
    pub name: Option<String>,
    /// The number of times that each value is computed.
    pub times: f64,
    /// The names of the axes over which it is repeated.
    pub over: Vec<String>,
    /// The operator's work, relative to its work if every value were computed once.
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
            "{what} is computed {} times, once for each {}: {:.decimals$} times the necessary work; \
             write two operators, one that returns {first} and one that takes it as a tensor",
            self.times,
            over.join(" and "),
            self.factor,
        )
    }
}

/// Returns the reduction whose repetition costs most at these sizes (all of them, in the order of [`Op::sizes`](crate::ir::Op::sizes)), if at
/// least half of the operator's work is repeated.
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

/// A reduction, counted once for all uses that share its loops.
struct Done {
    name: Option<LetId>,
    /// The number of different values.
    values: f64,
    /// The terms of each value.
    terms: f64,
    /// The number of times that each value is computed.
    times: f64,
    over: Vec<AxisId>,
}

/// A reduction that encloses the current expression.
#[derive(Clone)]
struct Around {
    /// The loops around its terms, outermost first: its own, and those that it cannot be hoisted out of.
    loops: Vec<AxisId>,
    /// The axes of outputs that it is computed for.
    outputs: BTreeSet<AxisId>,
}

struct Walk<'a> {
    checked: &'a Checked,
    sizes: &'a [u64],
    /// The axes of outputs and reductions that each axis depends on. For an axis of an intermediate tensor, those of the index that it is read
    /// at; for others, the axis itself.
    stands_for: BTreeMap<AxisId, BTreeSet<AxisId>>,
    within: Vec<Around>,
    /// The intermediate tensors that enclose the current expression.
    lets: Vec<LetId>,
    steps: u32,
    done: Vec<Done>,
    /// Reductions that were counted, each with its loops and the axes that it depends on.
    seen: HashSet<(ExprId, Vec<AxisId>, BTreeSet<AxisId>)>,
}

impl Walk<'_> {
    fn volume<'b>(&self, axes: impl IntoIterator<Item = &'b AxisId>) -> f64 {
        let extent = |&axis: &AxisId| self.sizes.get(self.checked.extent(axis).index()).copied().unwrap_or(1);
        axes.into_iter().map(|axis| extent(axis) as f64).product()
    }

    /// Returns the axes of outputs and reductions that an expression depends on.
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
        // Hoisted out of all loops inside the innermost one that it depends on.
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
