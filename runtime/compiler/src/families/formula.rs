//! Expressions with the intermediate tensors written out, each once: two that mean the same are the same node.
//!
//! Axes become [`Symbol`]s, so that reductions over axes of different names are compared too. A family looks here for what a
//! whole operator has in common; what it finds it evaluates by way of [`Place`]s.

use crate::check::Checked;
use crate::element::{Element, Type};
use crate::ir::{
    AxisId, BinaryOp, CompareOp, Expr, ExprId, Function, InputId, Literal, ReduceOp, SizeId, Source, UnaryOp,
};
use rustc_hash::FxHashMap;

/// A node: a position in [`Formulas`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NodeId(u32);

/// The symbol that an axis stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Symbol {
    /// The output axis at that position; those of all outputs are the same.
    Output(usize),
    /// The axis at that position of the row reduction around.
    Lane(usize),
    /// An axis of a reduction that is none of rows.
    Inner(AxisId),
}

/// A computation from other nodes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Node {
    Axis(Symbol),
    /// A constant, by its bits.
    Literal(LiteralBits),
    Size(SizeId),
    Scalar(InputId),
    /// A row reduction: a position in [`Formulas::reductions`].
    Row(usize),
    Read(InputId, Vec<NodeId>, Option<NodeId>),
    Unary(UnaryOp, NodeId),
    Binary(BinaryOp, NodeId, NodeId),
    Compare(CompareOp, NodeId, NodeId),
    Select(NodeId, NodeId, NodeId),
    Cast(NodeId, Element),
    Call(Function, Vec<NodeId>),
    /// An opaque value, equal only to itself.
    Opaque(ExprId, Vec<NodeId>),
}

/// A literal that can be compared: its kind and its bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum LiteralBits {
    Float(u64),
    Int(i64),
    Bool(bool),
}

/// Where a node stands in the operator: it has the expression's value where the axes are bound to what the symbols stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub expr: ExprId,
    pub axes: Vec<(AxisId, Symbol)>,
}

/// A reduction over nothing but a row: one value for a row.
#[derive(Debug, Clone)]
pub(crate) struct RowReduction {
    pub op: ReduceOp,
    /// The extents of its axes.
    pub extents: Vec<SizeId>,
    /// In terms of [`Symbol::Lane`].
    pub body: NodeId,
    /// The reduction itself.
    pub node: NodeId,
}

/// The dependences of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The output axes at these positions, as a set of bits.
    pub outputs: u64,
    /// Axes of reductions.
    pub lanes: bool,
    /// Row reductions, as a set of bits.
    pub reductions: u64,
}

/// A type, and whether it is that of an index value, which is another one in kernels with 64-bit indices.
type Computed = (Type, bool);

struct Entry {
    node: Node,
    ty: Computed,
    facts: Facts,
    /// Where it was met with axes that are symbols.
    places: Vec<Place>,
}

/// The nodes of an operator.
pub(crate) struct Formulas<'a> {
    pub checked: &'a Checked,
    /// The output axes that number rows, as a set of bits.
    rows: u64,
    nodes: Vec<Entry>,
    known: FxHashMap<(Node, Computed), NodeId>,
    /// The node that each axis stands for at this point of the walk.
    axes: Vec<Option<NodeId>>,
    /// In order of dependence.
    pub reductions: Vec<RowReduction>,
    /// The outputs' values.
    pub outputs: Vec<NodeId>,
    /// `true` if row reductions that only a condition makes wanted are row reductions too.
    conditional: bool,
    steps: u32,
}

impl<'a> Formulas<'a> {
    /// Writes out the outputs of an operator, of which so many leading axes number rows. None if it is too large to be looked at.
    pub fn new(checked: &'a Checked, rows: usize) -> Option<Formulas<'a>> {
        Formulas::written(checked, leading(rows), false)
    }

    /// The same where rows are numbered by any output axes: a set of bits of their positions.
    pub fn of_rows(checked: &'a Checked, rows: u64) -> Option<Formulas<'a>> {
        Formulas::written(checked, rows, false)
    }

    /// The same for who computes reductions also where nobody wants them, and sees to it that no read leaves its tensor then.
    pub fn anywhere(checked: &'a Checked, rows: usize) -> Option<Formulas<'a>> {
        Formulas::written(checked, leading(rows), true)
    }

    fn written(checked: &'a Checked, rows: u64, conditional: bool) -> Option<Formulas<'a>> {
        let op = checked.op();
        let mut formulas = Formulas {
            checked,
            rows,
            nodes: Vec::new(),
            known: FxHashMap::default(),
            axes: vec![None; op.axes.len()],
            reductions: Vec::new(),
            outputs: Vec::new(),
            conditional,
            steps: 0,
        };
        for output in &op.outputs {
            for (position, axis) in output.axes.iter().enumerate() {
                formulas.axes[axis.index()] = Some(formulas.symbol(Symbol::Output(position)));
            }
            let body = formulas.expr(output.body)?;
            formulas.outputs.push(body);
        }
        Some(formulas)
    }

    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize].node
    }

    pub fn ty(&self, id: NodeId) -> Type {
        self.nodes[id.0 as usize].ty.0
    }

    /// `true` if it is an index value.
    pub fn is_index(&self, id: NodeId) -> bool {
        self.nodes[id.0 as usize].ty.1
    }

    pub fn facts(&self, id: NodeId) -> Facts {
        self.nodes[id.0 as usize].facts
    }

    /// The operands of a node. A row reduction has none: it is one value.
    pub fn operands(&self, id: NodeId) -> Vec<NodeId> {
        match self.node(id) {
            Node::Axis(_) | Node::Literal(_) | Node::Size(_) | Node::Scalar(_) | Node::Row(_) => Vec::new(),
            Node::Read(_, index, or) => index.iter().chain(or).copied().collect(),
            Node::Unary(_, a) | Node::Cast(a, _) => vec![*a],
            Node::Binary(_, a, b) | Node::Compare(_, a, b) => vec![*a, *b],
            Node::Select(condition, accept, reject) => vec![*condition, *accept, *reject],
            Node::Call(_, operands) | Node::Opaque(_, operands) => operands.clone(),
        }
    }

    /// A node and all that it is made of, each once.
    pub fn parts(&self, id: NodeId) -> Vec<NodeId> {
        let mut parts = vec![id];
        let mut next = 0;
        while let Some(&part) = parts.get(next) {
            next += 1;
            for operand in self.operands(part) {
                if !parts.contains(&operand) {
                    parts.push(operand);
                }
            }
        }
        parts
    }

    /// `true` if a node depends on a symbol, other than through a row reduction.
    pub fn depends_on(&self, id: NodeId, symbol: Symbol) -> bool {
        let is_symbol = |part: NodeId| *self.node(part) == Node::Axis(symbol);
        self.parts(id).into_iter().any(is_symbol)
    }

    /// All nodes, operands before what they are part of.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.nodes.len() as u32).map(NodeId)
    }

    /// The most different reads of tensors that a walk over a row needs: what reductions read, or outputs.
    pub fn reads_in_a_walk(&self) -> usize {
        let reads = |facts: &dyn Fn(&Facts) -> bool| {
            let is_read = |entry: &&Entry| matches!(entry.node, Node::Read(..)) && facts(&entry.facts);
            self.nodes.iter().filter(is_read).count()
        };
        reads(&|facts| facts.lanes).max(reads(&|facts| facts.outputs & !self.rows != 0))
    }

    /// Where a node may be evaluated; nowhere if it stands only where axes are bound to more than symbols.
    pub fn places(&self, id: NodeId) -> &[Place] {
        &self.nodes[id.0 as usize].places
    }

    fn symbol(&mut self, symbol: Symbol) -> NodeId {
        let own = match symbol {
            Symbol::Output(position) => Facts {
                outputs: 1 << position.min(63),
                ..Facts::default()
            },
            Symbol::Lane(_) | Symbol::Inner(_) => Facts {
                lanes: true,
                ..Facts::default()
            },
        };
        self.intern(Node::Axis(symbol), (Type::I32, false), &[], own)
    }

    /// The type that an expression is computed in. A size, a literal or a position is the same number in every type it may have.
    fn computed(&self, expr: ExprId) -> Computed {
        let same = matches!(
            self.checked.op().expr(expr),
            Expr::Size(_)
                | Expr::Literal(_)
                | Expr::Reduce {
                    op: ReduceOp::ArgMax | ReduceOp::ArgMin,
                    ..
                }
        );
        (self.checked.ty(expr), self.checked.is_index(expr) && !same)
    }

    fn intern(&mut self, node: Node, ty: Computed, operands: &[NodeId], own: Facts) -> NodeId {
        let key = (node, ty);
        if let Some(&known) = self.known.get(&key) {
            return known;
        }
        let facts = operands.iter().fold(own, |facts, &operand| {
            let other = self.facts(operand);
            Facts {
                outputs: facts.outputs | other.outputs,
                lanes: facts.lanes || other.lanes,
                reductions: facts.reductions | other.reductions,
            }
        });
        let id = NodeId(self.nodes.len() as u32);
        self.nodes.push(Entry {
            node: key.0.clone(),
            ty,
            facts,
            places: Vec::new(),
        });
        self.known.insert(key, id);
        id
    }

    /// The expression where the axes stand for what they do now, as a place.
    fn place_of(&self, expr: ExprId) -> Option<Place> {
        let symbol_of = |axis: AxisId| match self.axes[axis.index()].map(|id| self.node(id)) {
            Some(&Node::Axis(symbol)) => Some((axis, symbol)),
            _ => None,
        };
        let axes = self.checked.axes(expr).iter().map(symbol_of).collect::<Option<_>>()?;
        Some(Place { expr, axes })
    }

    fn expr(&mut self, expr: ExprId) -> Option<NodeId> {
        self.steps += 1;
        if self.steps > MOST_STEPS {
            return None;
        }
        let checked = self.checked;
        let op = checked.op();
        let mut operands = Vec::new();
        let node = match op.expr(expr) {
            Expr::Axis(axis) => {
                let id = self.axes[axis.index()]?;
                let place = self.place_of(expr);
                self.note(id, place);
                return Some(id);
            }
            Expr::Literal(Literal::Float(value)) => Node::Literal(LiteralBits::Float(value.to_bits())),
            Expr::Literal(Literal::Int(value)) => Node::Literal(LiteralBits::Int(*value)),
            Expr::Literal(Literal::Bool(value)) => Node::Literal(LiteralBits::Bool(*value)),
            Expr::Size(size) => Node::Size(*size),
            Expr::Scalar(input) => Node::Scalar(*input),
            Expr::Read { source, index, or } => {
                for &at in index {
                    operands.push(self.expr(at)?);
                }
                let or = or.map(|or| self.expr(or).ok_or(())).transpose().ok()?;
                let gathered = (0..index.len()).any(|dimension| checked.gathered(expr, dimension));
                match *source {
                    Source::Input(input) => {
                        let node = Node::Read(input, operands.clone(), or);
                        operands.extend(or);
                        node
                    }
                    Source::Let(inner) => {
                        let entry = &op.lets[inner.index()];
                        let bindings: Vec<_> = entry.axes.iter().copied().zip(operands.clone()).collect();
                        let body = self.with_axes(&bindings, |formulas| formulas.expr(entry.body))?;
                        // Outside of the intermediate tensor the axis has another value.
                        if or.is_none() && !gathered {
                            return Some(body);
                        }
                        operands.push(body);
                        operands.extend(or);
                        Node::Opaque(expr, operands.clone())
                    }
                }
            }
            Expr::Reduce { op, axes, body } => return self.reduction(expr, *op, axes, *body),
            _ => {
                let mut direct = Vec::new();
                op.operands(expr, |operand| direct.push(operand));
                for operand in direct {
                    operands.push(self.expr(operand)?);
                }
                match op.expr(expr) {
                    Expr::Unary(unary, _) => Node::Unary(*unary, operands[0]),
                    Expr::Binary(binary, ..) => Node::Binary(*binary, operands[0], operands[1]),
                    Expr::Compare(compare, ..) => Node::Compare(*compare, operands[0], operands[1]),
                    Expr::Select { .. } => Node::Select(operands[0], operands[1], operands[2]),
                    Expr::Cast(_, element) => Node::Cast(operands[0], *element),
                    Expr::Call(function, _) => Node::Call(*function, operands.clone()),
                    _ => Node::Opaque(expr, operands.clone()),
                }
            }
        };
        let ty = self.computed(expr);
        let id = self.intern(node, ty, &operands, Facts::default());
        let place = self.place_of(expr);
        self.note(id, place);
        Some(id)
    }

    fn note(&mut self, id: NodeId, place: Option<Place>) {
        let places = &mut self.nodes[id.0 as usize].places;
        if let Some(place) = place
            && !places.contains(&place)
        {
            places.push(place);
        }
    }

    fn reduction(&mut self, expr: ExprId, op: ReduceOp, axes: &[AxisId], body: ExprId) -> Option<NodeId> {
        let rows = |&(_, symbol): &(AxisId, Symbol)| matches!(symbol, Symbol::Output(at) if at < 64 && self.rows >> at & 1 == 1);
        let anywhere = self.place_of(expr);
        let place = anywhere.clone().filter(|place| place.axes.iter().all(rows));
        // A value that is wanted under a condition only may not exist elsewhere.
        let place = place.filter(|_| self.conditional || self.checked.unconditional(expr));
        let symbols: Vec<(AxisId, Symbol)> = match place {
            Some(_) => axes
                .iter()
                .enumerate()
                .map(|(at, &axis)| (axis, Symbol::Lane(at)))
                .collect(),
            None => axes.iter().map(|&axis| (axis, Symbol::Inner(axis))).collect(),
        };
        let bindings: Vec<_> = symbols
            .into_iter()
            .map(|(axis, symbol)| (axis, self.symbol(symbol)))
            .collect();
        let body = self.with_axes(&bindings, |formulas| formulas.expr(body))?;
        let ty = self.computed(expr);
        let Some(place) = place else {
            let node = self.intern(Node::Opaque(expr, vec![body]), ty, &[body], Facts::default());
            self.note(node, anywhere);
            return Some(node);
        };
        let extents: Vec<SizeId> = axes.iter().map(|&axis| self.checked.extent(axis)).collect();
        let same = |r: &RowReduction| r.op == op && r.extents == extents && r.body == body;
        let number = match self.reductions.iter().position(same) {
            Some(known) => known,
            None if self.reductions.len() == MOST_REDUCTIONS => return None,
            None => self.reductions.len(),
        };
        let own = Facts {
            reductions: 1 << number,
            ..Facts::default()
        };
        let node = self.intern(Node::Row(number), ty, &[], own);
        if number == self.reductions.len() {
            self.reductions.push(RowReduction {
                op,
                extents,
                body,
                node,
            });
        }
        self.note(node, Some(place));
        Some(node)
    }

    /// The result of `walk` while these axes stand for these nodes.
    fn with_axes<T>(&mut self, bindings: &[(AxisId, NodeId)], walk: impl FnOnce(&mut Self) -> T) -> T {
        let outer: Vec<_> = bindings.iter().map(|&(axis, _)| self.axes[axis.index()]).collect();
        for &(axis, node) in bindings {
            self.axes[axis.index()] = Some(node);
        }
        let result = walk(self);
        for (&(axis, _), outer) in bindings.iter().zip(outer) {
            self.axes[axis.index()] = outer;
        }
        result
    }
}

/// The first so many of 64 positions, as a set of bits.
fn leading(count: usize) -> u64 {
    !u64::MAX.checked_shl(count as u32).unwrap_or(0)
}

/// An operator that is larger, with its intermediate tensors written out, is left alone.
const MOST_STEPS: u32 = 1 << 12;
/// As many as a set of bits holds.
const MOST_REDUCTIONS: usize = 64;
