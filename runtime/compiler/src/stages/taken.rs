//! Takes a stage out of an operator as an operator of its own.
//!
//! Its inputs are numbered by first use, its axes and sizes as the language numbers them: axes closure by closure, free sizes by first
//! appearance in the inputs, then derived ones. So equal stages of different operators are equal, and equal to an operator that says the same.

use super::permuted::Permuted;
use super::stored::Stored;
use super::values::Value;
use crate::check::Checked;
use crate::element::Element;
use crate::ir::{Axis, AxisId, Expr, ExprId, Input, InputId, Let, LetId, Op, Output, Size, SizeId, Source};
use std::collections::{BTreeMap, BTreeSet};

/// The origin of a stage's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// An input of the whole operator.
    Input(InputId),
    /// A tensor that an earlier stage stored, by its position.
    Stored(usize),
}

/// The part of an operator that a stage computes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// The stored tensor at this position.
    Stored(usize),
    /// The results with these positions.
    Results(Vec<usize>),
}

impl Part {
    /// The positions of the results that it computes.
    pub fn results(self) -> Vec<usize> {
        match self {
            Part::Stored(_) => Vec::new(),
            Part::Results(positions) => positions,
        }
    }
}

/// A stage before it is checked.
pub(super) struct Taken {
    pub op: Op,
    pub inputs: Vec<Origin>,
    /// For each size, the size of the whole operator.
    pub sizes: Vec<SizeId>,
    /// The axes whose extents the operator does not state. All extents are stated here.
    inferred: Vec<AxisId>,
}

impl Taken {
    /// Checks the stage. It states no extent that the language finds by itself.
    pub fn check(self) -> Option<Checked> {
        let mut op = self.op.clone();
        for axis in self.inferred {
            op.axes[axis.index()].extent = None;
        }
        let is_same = |checked: &Checked| {
            let mut stated = (0..).zip(&self.op.axes);
            stated.all(|(number, axis)| axis.extent == Some(checked.extent(AxisId(number))))
        };
        let inferred = Checked::new(op).ok().filter(is_same);
        inferred.or_else(|| Checked::new(self.op).ok())
    }
}

/// Takes out the stage that computes this part. `classes` has for each size the one that stands for it. `None` if no input of the operator
/// determines one of the stage's sizes.
pub(super) fn take(checked: &Checked, stored: &[Stored], part: &Part, classes: &[SizeId]) -> Option<Taken> {
    let mut taking = Taking {
        checked,
        stored,
        before: match part {
            Part::Stored(position) => *position,
            Part::Results(_) => stored.len(),
        },
        needed: BTreeSet::new(),
        lets: BTreeMap::new(),
        exprs: BTreeMap::new(),
        axes: BTreeMap::new(),
        inputs: Vec::new(),
        op: Op {
            name: checked.op().name.clone(),
            sizes: Vec::new(),
            inputs: Vec::new(),
            axes: Vec::new(),
            lets: Vec::new(),
            outputs: Vec::new(),
            exprs: Vec::new(),
        },
    };
    let roots: Vec<(Vec<AxisId>, ExprId, Element)> = match part {
        Part::Stored(position) => match &stored[*position] {
            Stored::Value(value) => vec![(value.axes.clone(), value.expr, value.element)],
            Stored::Permuted(permuted) => {
                taking.permute(permuted);
                return taking.with_own_sizes(classes);
            }
        },
        Part::Results(positions) => (positions.iter())
            .map(|&position| &checked.op().outputs[position])
            .map(|output| (output.axes.clone(), output.body, output.element))
            .collect(),
    };
    roots.iter().for_each(|&(_, root, _)| taking.need(root));
    taking.copy_lets();
    for (axes, root, element) in roots {
        for &axis in &axes {
            taking.axis(axis);
        }
        taking.copy_to(root);
        let mut body = taking.exprs[&root];
        if checked.is_index(root) && matches!(part, Part::Stored(_)) {
            body = taking.push(Expr::Cast(body, element));
        }
        let axes: Vec<AxisId> = axes.into_iter().map(|axis| taking.axis(axis)).collect();
        let dims = axes
            .iter()
            .filter_map(|axis| taking.op.axes[axis.index()].extent)
            .collect();
        taking.op.outputs.push(Output {
            element,
            dims,
            axes,
            body,
        });
    }
    taking.with_own_sizes(classes)
}

struct Taking<'a> {
    checked: &'a Checked,
    stored: &'a [Stored],
    /// The number of stages that store tensors before this one.
    before: usize,
    /// The expressions of the operator that the stage consists of.
    needed: BTreeSet<ExprId>,
    /// The intermediate tensors that the stage computes itself.
    lets: BTreeMap<LetId, LetId>,
    exprs: BTreeMap<ExprId, ExprId>,
    axes: BTreeMap<AxisId, AxisId>,
    inputs: Vec<Origin>,
    /// The stage. Its sizes are those of the whole operator until they are numbered.
    op: Op,
}

impl Taking<'_> {
    /// The stored value that this expression is, with its position. The stage that computes a value does not read it.
    fn stored_expr(&self, id: ExprId) -> Option<(usize, &Value)> {
        let found = self.stored_value(|value| value.tensor.is_none() && value.expr == id)?;
        (found.0 != self.before).then_some(found)
    }

    /// The stored value that is this intermediate tensor, with its position.
    fn stored_tensor(&self, inner: LetId) -> Option<(usize, &Value)> {
        self.stored_value(|value| value.tensor == Some(inner))
    }

    fn stored_value(&self, is: impl Fn(&Value) -> bool) -> Option<(usize, &Value)> {
        let mut values = self
            .stored
            .iter()
            .enumerate()
            .filter_map(|(position, stored)| match stored {
                Stored::Value(value) => Some((position, value)),
                Stored::Permuted(_) => None,
            });
        values.find(|(_, value)| is(value))
    }

    /// The input as an earlier stage stored it, with that position.
    fn stored_permuted(&self, input: InputId) -> Option<(usize, &Permuted)> {
        let earlier = self.stored.iter().take(self.before).enumerate();
        let mut permuted = earlier.filter_map(|(position, stored)| match stored {
            Stored::Permuted(permuted) => Some((position, permuted)),
            Stored::Value(_) => None,
        });
        permuted.find(|(_, permuted)| permuted.input == input)
    }

    /// Makes the stage that stores an input with its dimensions permuted.
    fn permute(&mut self, permuted: &Permuted) {
        let input = self.input(Origin::Input(permuted.input));
        let dims = self.op.inputs[input.index()].dims.clone().unwrap_or_default();
        let position = |dimension: usize| permuted.order.iter().position(|&own| own == dimension);
        let dims = permuted.permute(&dims);
        let axes: Vec<AxisId> = (0..dims.len() as u32).map(AxisId).collect();
        self.op.axes = (dims.iter().enumerate())
            .map(|(number, &size)| Axis {
                name: format!("i{number}"),
                extent: Some(size),
            })
            .collect();
        let index = (0..dims.len()).filter_map(position);
        let index: Vec<usize> = index.collect();
        let index = index.into_iter().map(|position| self.push(Expr::Axis(axes[position])));
        let index = index.collect();
        let source = Source::Input(input);
        let body = self.push(Expr::Read {
            source,
            index,
            or: None,
        });
        self.op.outputs.push(Output {
            element: self.op.inputs[input.index()].element,
            dims,
            axes,
            body,
        });
    }

    fn need(&mut self, id: ExprId) {
        if !self.needed.insert(id) || self.stored_expr(id).is_some() {
            return;
        }
        let op = self.checked.op();
        op.operands(id, |operand| self.need(operand));
        if let Expr::Read {
            source: Source::Let(inner),
            ..
        } = op.expr(id)
            && self.stored_tensor(*inner).is_none()
        {
            self.lets.insert(*inner, *inner);
            self.need(op.lets[inner.index()].body);
        }
    }

    fn push(&mut self, expr: Expr) -> ExprId {
        self.op.exprs.push(expr);
        ExprId(self.op.exprs.len() as u32 - 1)
    }

    /// Copies the intermediate tensors that the stage computes itself.
    fn copy_lets(&mut self) {
        let op = self.checked.op();
        for (number, own) in self.lets.values_mut().enumerate() {
            *own = LetId(number as u32);
        }
        for inner in self.lets.keys().copied().collect::<Vec<_>>() {
            let entry = &op.lets[inner.index()];
            let axes = entry.axes.iter().map(|&axis| self.axis(axis)).collect();
            self.copy_to(entry.body);
            self.op.lets.push(Let {
                name: entry.name.clone(),
                axes,
                body: self.exprs[&entry.body],
            });
        }
    }

    /// Copies the needed expressions up to the root of a closure.
    fn copy_to(&mut self, root: ExprId) {
        let later = self.needed.split_off(&ExprId(root.0 + 1));
        for id in std::mem::replace(&mut self.needed, later) {
            let stored = self
                .stored_expr(id)
                .map(|(position, value)| (position, value.axes.clone()));
            let copied = match stored {
                Some((position, axes)) => self.read_stored(position, axes),
                None => self.copied(id),
            };
            self.exprs.insert(id, copied);
        }
    }

    /// Reads a stored value where the operator computes it.
    fn read_stored(&mut self, position: usize, axes: Vec<AxisId>) -> ExprId {
        let index = axes.into_iter().map(|axis| {
            let axis = self.axis(axis);
            self.push(Expr::Axis(axis))
        });
        let index = index.collect();
        let source = Source::Input(self.input(Origin::Stored(position)));
        self.push(Expr::Read {
            source,
            index,
            or: None,
        })
    }

    fn copied(&mut self, id: ExprId) -> ExprId {
        let own = |taking: &Self, id: ExprId| taking.exprs[&id];
        let expr = match self.checked.op().expr(id) {
            Expr::Literal(literal) => Expr::Literal(*literal),
            Expr::Size(size) => Expr::Size(*size),
            Expr::Axis(axis) => Expr::Axis(self.axis(*axis)),
            Expr::Scalar(input) => Expr::Scalar(self.input(Origin::Input(*input))),
            Expr::Read { source, index, or } => {
                let index: Vec<ExprId> = index.iter().map(|&at| own(self, at)).collect();
                let or = or.map(|or| own(self, or));
                let (origin, index, narrowed) = match *source {
                    Source::Let(inner) => match self.stored_tensor(inner) {
                        // An index value that becomes an `i32` where it is used is stored in 64 bits.
                        Some((position, value)) => {
                            let narrowed = self.checked.is_index(value.expr) && !self.checked.is_index(id);
                            (Some(Origin::Stored(position)), index, narrowed)
                        }
                        None => (None, index, false),
                    },
                    Source::Input(input) => match self.stored_permuted(input) {
                        Some((position, permuted)) => (Some(Origin::Stored(position)), permuted.permute(&index), false),
                        None => (Some(Origin::Input(input)), index, false),
                    },
                };
                let source = match (*source, origin) {
                    (_, Some(origin)) => Source::Input(self.input(origin)),
                    (Source::Let(inner), None) => Source::Let(self.lets[&inner]),
                    (source, None) => source,
                };
                let read = Expr::Read { source, index, or };
                if narrowed {
                    let read = self.push(read);
                    Expr::Cast(read, self.checked.ty(id).element())
                } else {
                    read
                }
            }
            Expr::Unary(op, a) => Expr::Unary(*op, own(self, *a)),
            Expr::Binary(op, a, b) => Expr::Binary(*op, own(self, *a), own(self, *b)),
            Expr::Compare(op, a, b) => Expr::Compare(*op, own(self, *a), own(self, *b)),
            Expr::Select {
                condition,
                accept,
                reject,
            } => Expr::Select {
                condition: own(self, *condition),
                accept: own(self, *accept),
                reject: own(self, *reject),
            },
            Expr::Cast(a, element) => Expr::Cast(own(self, *a), *element),
            Expr::Call(function, arguments) => Expr::Call(
                *function,
                arguments.iter().map(|&argument| own(self, argument)).collect(),
            ),
            Expr::Reduce { op, axes, body } => Expr::Reduce {
                op: *op,
                axes: axes.iter().map(|&axis| self.axis(axis)).collect(),
                body: own(self, *body),
            },
        };
        self.push(expr)
    }

    fn axis(&mut self, axis: AxisId) -> AxisId {
        if let Some(&own) = self.axes.get(&axis) {
            return own;
        }
        let own = AxisId(self.op.axes.len() as u32);
        self.axes.insert(axis, own);
        self.op.axes.push(Axis {
            name: self.checked.op().axes[axis.index()].name.clone(),
            extent: Some(self.checked.extent(axis)),
        });
        own
    }

    fn input(&mut self, origin: Origin) -> InputId {
        let known = self.inputs.iter().position(|known| *known == origin);
        InputId(known.unwrap_or_else(|| {
            self.inputs.push(origin);
            self.op.inputs.push(match origin {
                Origin::Input(input) => self.checked.op().inputs[input.index()].clone(),
                Origin::Stored(position) => self.stored_input(position),
            });
            self.inputs.len() - 1
        }) as u32)
    }

    fn stored_input(&self, position: usize) -> Input {
        let (checked, stored) = (self.checked, &self.stored[position]);
        let name = match stored {
            Stored::Value(Value {
                tensor: Some(inner), ..
            }) => checked.op().lets[inner.index()].name.clone(),
            _ => format!("stored_{}", stored.number()),
        };
        Input {
            name,
            element: stored.element(checked),
            dims: Some(stored.dims(checked)),
        }
    }

    /// The sizes that the stage states, as those of the whole operator.
    fn stated_sizes(&self) -> Vec<SizeId> {
        let dims = self.op.inputs.iter().filter_map(|input| input.dims.as_deref());
        let extents = self.op.axes.iter().filter_map(|axis| axis.extent);
        let values = self.op.exprs.iter().filter_map(|expr| match expr {
            Expr::Size(size) => Some(*size),
            _ => None,
        });
        dims.flatten().copied().chain(extents).chain(values).collect()
    }

    /// Numbers the sizes that the stage uses.
    fn with_own_sizes(mut self, classes: &[SizeId]) -> Option<Taken> {
        let whole = self.checked.op();
        let class = |size: SizeId| classes[size.index()];
        let is_free = |size: SizeId| whole.sizes[size.index()].definition.is_none();
        let mut used = BTreeSet::new();
        loop {
            let mut waiting: Vec<SizeId> = self.stated_sizes();
            while let Some(size) = waiting.pop() {
                if used.insert(class(size))
                    && let Some(definition) = &whole.sizes[class(size).index()].definition
                {
                    definition.sizes(&mut |size| waiting.push(size));
                }
            }
            let has = |input: &Input, size: SizeId| input.dims.iter().flatten().any(|&own| class(own) == size);
            let is_bound = |size: SizeId| self.op.inputs.iter().any(|input| has(input, size));
            let Some(&unbound) = used.iter().find(|&&size| is_free(size) && !is_bound(size)) else {
                break;
            };
            // An input that the stage does not use may be all that determines a size.
            let other = whole.inputs.iter().position(|input| has(input, unbound))?;
            self.input(Origin::Input(InputId(other as u32)));
        }
        let dims = self.op.inputs.iter().filter_map(|input| input.dims.as_deref());
        let free = dims.flatten().map(|&size| class(size)).filter(|&size| is_free(size));
        let derived = used.iter().copied().filter(|&size| !is_free(size));
        let mut sizes: Vec<SizeId> = Vec::new();
        for size in free.chain(derived) {
            if !sizes.contains(&size) {
                sizes.push(size);
            }
        }
        let own = |size: SizeId| {
            let position = sizes.iter().position(|&known| known == class(size));
            SizeId(position.unwrap_or(sizes.len()) as u32)
        };
        let op = &mut self.op;
        op.sizes = (sizes.iter())
            .map(|size| Size {
                name: whole.sizes[size.index()].name.clone(),
                definition: whole.sizes[size.index()]
                    .definition
                    .as_ref()
                    .map(|formula| formula.with_sizes(&own)),
            })
            .collect();
        let dims = op.inputs.iter_mut().filter_map(|input| input.dims.as_mut());
        let dims = dims.chain(op.outputs.iter_mut().map(|output| &mut output.dims));
        dims.flatten().for_each(|size| *size = own(*size));
        let extents = op.axes.iter_mut().filter_map(|axis| axis.extent.as_mut());
        extents.for_each(|size| *size = own(*size));
        for expr in &mut op.exprs {
            if let Expr::Size(size) = expr {
                *size = own(*size);
            }
        }
        let results: BTreeSet<AxisId> = self
            .op
            .outputs
            .iter()
            .flat_map(|output| &output.axes)
            .copied()
            .collect();
        let is_stated = |axis: AxisId| whole.axes[axis.index()].extent.is_some();
        let inferred = self
            .axes
            .iter()
            .filter(|&(&axis, own)| !is_stated(axis) && !results.contains(own));
        Some(Taken {
            inferred: inferred.map(|(_, &own)| own).collect(),
            op: self.op,
            inputs: self.inputs,
            sizes,
        })
    }
}
