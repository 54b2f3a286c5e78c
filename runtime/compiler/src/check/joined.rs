//! Neighbouring axes as one.
//!
//! If every tensor that has two axes has them side by side, and nothing asks for one of them alone, one axis does: the rows and columns of an
//! image in a pointwise convolution, or batch and sequence of a projection. Kernels then have longer rows, wider vectors and fewer quotients.
//! Memory is the same: two neighbouring dimensions of a row-major tensor are one of their product.

use super::checked::Checked;
use crate::ir::{Axis, AxisId, Expr, ExprId, InputId, Literal, Op, Output, Size, SizeId, Source};
use crate::size::{Extent, SizeExpr, Specialisation};
use std::collections::BTreeSet;

/// An operator with neighbouring axes joined. Its inputs, outputs and expressions are numbered as in the operator.
#[derive(Debug, Clone)]
pub struct Joined {
    /// The operator.
    pub checked: Checked,
    /// For each of its sizes, the sizes of the whole operator whose product it is. Of sizes that are equal at every call, the first stands for all.
    factors: Vec<Vec<SizeId>>,
    /// For each size of the whole operator, the one that stands for it.
    classes: Vec<SizeId>,
}

/// The operator with neighbouring axes joined where they can be. `None` if it has no such axes.
pub(crate) fn joined(checked: &Checked) -> Option<&Joined> {
    checked.derived(Joined::of)?.as_ref()
}

impl Joined {
    /// Joins all axes of an operator that can be joined. `None` if there are none.
    fn of(checked: &Checked) -> Option<Joined> {
        let mut joining = Joining::new(checked);
        loop {
            joining.settle();
            match joining.unbound() {
                Some(size) => joining.part_size(size),
                None => break,
            }
        }
        if !joining.axes.contains(&true) {
            return None;
        }
        let (op, factors) = joining.op();
        Some(Joined {
            checked: Checked::new(op).ok()?,
            factors,
            classes: joining.classes,
        })
    }

    /// The values of its sizes at sizes of the operator.
    pub fn sizes_at(&self, sizes: &[u64]) -> Vec<u64> {
        let value = |size: &SizeId| sizes.get(size.index()).copied().unwrap_or(0);
        let volume = |factors: &Vec<SizeId>| factors.iter().map(value).fold(1, u64::saturating_mul);
        self.factors.iter().map(volume).collect()
    }

    /// Translates a specialisation of the operator to its sizes.
    pub fn specialisation(&self, whole: &Specialisation) -> Specialisation {
        Specialisation {
            extents: self.factors.iter().map(|factors| self.extent(whole, factors)).collect(),
            ..whole.clone()
        }
    }

    /// Its sizes as formulas over those of the operator. Sizes that the specialisation compiles in are constants.
    pub fn formulas(&self, whole: &Specialisation) -> Vec<SizeExpr> {
        let factor = |&size: &SizeId| match self.known(whole, size) {
            Extent::Fixed(value) => SizeExpr::Const(value as i64),
            Extent::Any { .. } | Extent::AtMost { .. } => SizeExpr::Size(size),
        };
        let volume = |factors: &Vec<SizeId>| factors.iter().map(factor).fold(SizeExpr::Const(1), SizeExpr::times);
        self.factors.iter().map(volume).collect()
    }

    /// The size of the operator that one of its sizes is, if it is no product.
    pub fn lone_factor(&self, size: SizeId) -> Option<SizeId> {
        match self.factors.get(size.index())?.as_slice() {
            [lone] => Some(*lone),
            _ => None,
        }
    }

    fn extent(&self, whole: &Specialisation, factors: &[SizeId]) -> Extent {
        let known: Vec<Extent> = factors.iter().map(|&size| self.known(whole, size)).collect();
        let multiple_of = known.iter().map(|extent| extent.multiple_of()).product::<u32>().min(16);
        let most = known
            .iter()
            .try_fold(1u64, |most, extent| most.checked_mul(extent.most()?));
        match most {
            Some(value) if known.iter().all(|extent| extent.fixed().is_some()) => Extent::Fixed(value),
            Some(most) => Extent::AtMost { multiple_of, most },
            None => Extent::Any { multiple_of },
        }
    }

    /// The strongest statement about a size, or about one that equals it.
    fn known(&self, whole: &Specialisation, size: SizeId) -> Extent {
        let equal = (0..)
            .map(SizeId)
            .zip(&self.classes)
            .filter(|(_, class)| **class == size);
        whole.stated(equal.map(|(equal, _)| equal))
    }
}

/// Two neighbouring dimensions, by the first of them.
#[derive(Debug, Clone, Copy)]
enum Pair {
    Axes(AxisId),
    Dimensions(InputId, usize),
}

struct Joining<'a> {
    checked: &'a Checked,
    classes: Vec<SizeId>,
    /// For each axis, the one after it in the same tensor or reduction, and the one before it.
    next: Vec<Option<AxisId>>,
    previous: Vec<Option<AxisId>>,
    /// For each axis, `true` while it may be joined with the next one.
    axes: Vec<bool>,
    /// For each input's dimensions, likewise.
    inputs: Vec<Vec<bool>>,
}

impl<'a> Joining<'a> {
    /// Everything joined that has a neighbour.
    fn new(checked: &'a Checked) -> Joining<'a> {
        let op = checked.op();
        let mut next = vec![None; op.axes.len()];
        let mut previous = next.clone();
        let reduced = op.exprs.iter().filter_map(|expr| match expr {
            Expr::Reduce { axes, .. } => Some(axes),
            _ => None,
        });
        let tensors = op.lets.iter().map(|inner| &inner.axes);
        let outputs = op.outputs.iter().map(|output| &output.axes);
        for axes in reduced.chain(tensors).chain(outputs) {
            for pair in axes.windows(2) {
                next[pair[0].index()] = Some(pair[1]);
                previous[pair[1].index()] = Some(pair[0]);
            }
        }
        let is_read = |input: usize| {
            let own = Source::Input(InputId(input as u32));
            op.exprs
                .iter()
                .any(|expr| matches!(expr, Expr::Read { source, .. } if *source == own))
        };
        let inputs = op.inputs.iter().enumerate().map(|(number, input)| {
            let pairs = input.dims.as_ref().map_or(0, Vec::len).saturating_sub(1);
            vec![is_read(number); pairs]
        });
        Joining {
            checked,
            classes: checked.size_classes(),
            axes: next.iter().map(Option::is_some).collect(),
            inputs: inputs.collect(),
            next,
            previous,
        }
    }

    /// Parts what cannot be joined until all agree.
    fn settle(&mut self) {
        loop {
            let mut wrong = Vec::new();
            self.find_wrong(&mut wrong);
            wrong.retain(|&pair| self.is_joined(pair));
            if wrong.is_empty() {
                return;
            }
            wrong.into_iter().for_each(|pair| self.part(pair));
        }
    }

    fn is_joined(&self, pair: Pair) -> bool {
        match pair {
            Pair::Axes(axis) => self.axes[axis.index()],
            Pair::Dimensions(input, dimension) => self.inputs[input.index()].get(dimension).copied().unwrap_or(false),
        }
    }

    fn part(&mut self, pair: Pair) {
        match pair {
            Pair::Axes(axis) => self.axes[axis.index()] = false,
            Pair::Dimensions(input, dimension) => self.inputs[input.index()][dimension] = false,
        }
    }

    fn find_wrong(&self, wrong: &mut Vec<Pair>) {
        let op = self.checked.op();
        for (number, expr) in op.exprs.iter().enumerate() {
            match expr {
                Expr::Read { source, index, or } => {
                    self.find_wrong_in_read(*source, index, wrong);
                    or.iter().for_each(|&or| self.find_alone(or, wrong));
                }
                _ => op.operands(ExprId(number as u32), |operand| self.find_alone(operand, wrong)),
            }
        }
        op.lets.iter().for_each(|inner| self.find_alone(inner.body, wrong));
        op.outputs.iter().for_each(|output| self.find_alone(output.body, wrong));
        // Outputs of one shape keep one shape.
        for (a, b) in op.outputs.iter().zip(op.outputs.iter().skip(1)) {
            for (&a, &b) in a.axes.iter().zip(&b.axes) {
                if self.axes[a.index()] != self.axes[b.index()] {
                    wrong.extend([Pair::Axes(a), Pair::Axes(b)]);
                }
            }
        }
    }

    /// An axis whose value is asked for belongs to no pair.
    fn find_alone(&self, expr: ExprId, wrong: &mut Vec<Pair>) {
        if let Expr::Axis(axis) = *self.checked.op().expr(expr) {
            wrong.extend(
                [Some(axis), self.previous[axis.index()]]
                    .into_iter()
                    .flatten()
                    .map(Pair::Axes),
            );
        }
    }

    /// A read joins two dimensions if its tensor does, and two axes index them that are joined and run over all of them.
    fn find_wrong_in_read(&self, source: Source, index: &[ExprId], wrong: &mut Vec<Pair>) {
        let op = self.checked.op();
        let sizes = self.checked.source_sizes(source);
        // The axis that indexes a dimension by itself.
        let bare = |dimension: usize| match op.expr(*index.get(dimension)?) {
            Expr::Axis(axis) => Some(*axis),
            _ => None,
        };
        let runs_over =
            |axis: AxisId, dimension: usize| self.class(self.checked.extent(axis)) == self.class(sizes[dimension]);
        let own = |dimension: usize| match source {
            Source::Input(input) => Pair::Dimensions(input, dimension),
            Source::Let(inner) => Pair::Axes(op.lets[inner.index()].axes[dimension]),
        };
        for dimension in 0..index.len() {
            let axis = bare(dimension);
            let follows = axis.is_some_and(|axis| {
                let next = self.next[axis.index()].filter(|_| self.axes[axis.index()]);
                next.is_some_and(|next| {
                    bare(dimension + 1) == Some(next) && runs_over(axis, dimension) && runs_over(next, dimension + 1)
                })
            });
            let joins = follows && self.is_joined(own(dimension));
            if !joins {
                wrong.push(own(dimension));
                wrong.extend(axis.map(Pair::Axes));
            }
            let Some(axis) = axis else { continue };
            if let Some(previous) = self.previous[axis.index()]
                && (dimension == 0 || bare(dimension - 1) != Some(previous))
            {
                wrong.push(Pair::Axes(previous));
            }
        }
    }

    fn class(&self, size: SizeId) -> SizeId {
        self.classes[size.index()]
    }

    /// A free size that no input would determine any more.
    fn unbound(&self) -> Option<SizeId> {
        let op = self.checked.op();
        let dims = self.dims_of_inputs();
        let bound: BTreeSet<&[SizeId]> = dims.iter().flatten().map(Vec::as_slice).collect();
        let is_free = |size: SizeId| op.sizes[size.index()].definition.is_none();
        self.used(&bound)
            .into_iter()
            .find(|&size| is_free(size) && !bound.contains([size].as_slice()))
    }

    /// The sizes that are used by themselves, or in the formulas of others. `bound` are those of inputs.
    fn used(&self, bound: &BTreeSet<&[SizeId]>) -> BTreeSet<SizeId> {
        let op = self.checked.op();
        let heads = self.heads().into_iter().map(|head| self.extent(head));
        let outputs = op.outputs.iter().flat_map(|output| self.dims_of_output(output));
        let products = heads
            .chain(outputs)
            .filter(|factors| !bound.contains(factors.as_slice()));
        let values = op.exprs.iter().filter_map(|expr| match expr {
            Expr::Size(size) => Some(self.class(*size)),
            _ => None,
        });
        let lone = bound
            .iter()
            .filter(|factors| factors.len() == 1)
            .map(|factors| factors[0]);
        let mut waiting: Vec<SizeId> = products.flatten().chain(values).chain(lone).collect();
        let mut used = BTreeSet::new();
        while let Some(size) = waiting.pop() {
            if used.insert(size)
                && let Some(definition) = &op.sizes[size.index()].definition
            {
                definition.sizes(&mut |size| waiting.push(self.class(size)));
            }
        }
        used
    }

    /// Parts everything that runs over a size.
    fn part_size(&mut self, size: SizeId) {
        let op = self.checked.op();
        for (number, next) in self.next.iter().enumerate() {
            let own = [Some(AxisId(number as u32)), *next].into_iter().flatten();
            if own
                .map(|axis| self.checked.extent(axis))
                .any(|extent| self.classes[extent.index()] == size)
            {
                self.axes[number] = false;
            }
        }
        for (input, joined) in op.inputs.iter().zip(&mut self.inputs) {
            for (pair, joined) in input.dims.iter().flat_map(|dims| dims.windows(2)).zip(joined) {
                *joined &= pair.iter().all(|own| self.classes[own.index()] != size);
            }
        }
    }

    /// The first axis of each group of joined ones.
    fn heads(&self) -> Vec<AxisId> {
        let all = (0..self.axes.len() as u32).map(AxisId);
        all.filter(|&axis| self.head(axis) == axis).collect()
    }

    /// The first of the axes that this one is joined with.
    fn head(&self, mut axis: AxisId) -> AxisId {
        while let Some(previous) = self.previous[axis.index()].filter(|previous| self.axes[previous.index()]) {
            axis = previous;
        }
        axis
    }

    /// The axes that are joined with the first of them.
    fn group(&self, head: AxisId) -> impl Iterator<Item = AxisId> {
        let next = |axis: &AxisId| self.next[axis.index()].filter(|_| self.axes[axis.index()]);
        std::iter::successors(Some(head), next)
    }

    /// The factors of the extent of a group.
    fn extent(&self, head: AxisId) -> Vec<SizeId> {
        self.group(head)
            .map(|axis| self.class(self.checked.extent(axis)))
            .collect()
    }

    fn dims_of_output(&self, output: &Output) -> Vec<Vec<SizeId>> {
        let heads = output.axes.iter().filter(|&&axis| self.head(axis) == axis);
        heads.map(|&head| self.extent(head)).collect()
    }

    /// The factors of each dimension of each input.
    fn dims_of_inputs(&self) -> Vec<Vec<Vec<SizeId>>> {
        let inputs = self.checked.op().inputs.iter().zip(&self.inputs);
        let each = inputs.map(|(input, joined)| {
            let mut dims: Vec<Vec<SizeId>> = Vec::new();
            for (dimension, &size) in input.dims.iter().flatten().enumerate() {
                match dims.last_mut() {
                    Some(last) if joined[dimension - 1] => last.push(self.class(size)),
                    _ => dims.push(vec![self.class(size)]),
                }
            }
            dims
        });
        each.collect()
    }

    /// The operator, and the factors of each of its sizes.
    fn op(&self) -> (Op, Vec<Vec<SizeId>>) {
        let whole = self.checked.op();
        let dims = self.dims_of_inputs();
        let bound: BTreeSet<&[SizeId]> = dims.iter().flatten().map(Vec::as_slice).collect();
        let definition = |factors: &[SizeId]| match factors {
            [lone] => whole.sizes[lone.index()].definition.clone(),
            _ => None,
        };
        let heads = self.heads();
        // Free sizes come first, in the order of the inputs. A product follows its factors.
        let free = dims
            .iter()
            .flatten()
            .filter(|factors| definition(factors).is_none())
            .cloned();
        let lone = self.used(&bound).into_iter().map(|size| vec![size]);
        let outputs = whole.outputs.iter().flat_map(|output| self.dims_of_output(output));
        let products = heads.iter().map(|&head| self.extent(head)).chain(outputs);
        let mut factors: Vec<Vec<SizeId>> = Vec::new();
        for next in free.chain(lone).chain(products) {
            if !factors.contains(&next) {
                factors.push(next);
            }
        }
        let number = |of: &[SizeId]| {
            let position = factors.iter().position(|known| known == of);
            SizeId(position.unwrap_or(factors.len()) as u32)
        };
        let lone = |size: SizeId| number(&[self.class(size)]);
        let sizes = factors.iter().map(|own| {
            let names: Vec<&str> = own.iter().map(|size| whole.sizes[size.index()].name.as_str()).collect();
            let product = || {
                own.iter()
                    .map(|&size| SizeExpr::Size(lone(size)))
                    .reduce(SizeExpr::times)
            };
            Size {
                name: names.join("_"),
                definition: match definition(own) {
                    Some(formula) => Some(formula.with_sizes(&lone)),
                    None if bound.contains(own.as_slice()) => None,
                    None => product(),
                },
            }
        });
        let axis = |axis: AxisId| {
            let head = self.head(axis);
            AxisId(heads.iter().position(|&known| known == head).unwrap_or(heads.len()) as u32)
        };
        let of_heads = |axes: &[AxisId]| -> Vec<AxisId> {
            let own = axes.iter().filter(|&&own| self.head(own) == own);
            own.map(|&own| axis(own)).collect()
        };
        let numbered = |dims: &[Vec<SizeId>]| dims.iter().map(|factors| number(factors)).collect();
        let axes = heads.iter().map(|&head| {
            let names: Vec<&str> = self
                .group(head)
                .map(|axis| whole.axes[axis.index()].name.as_str())
                .collect();
            Axis {
                name: names.join("_"),
                extent: Some(number(&self.extent(head))),
            }
        });
        let mut op = Op {
            sizes: sizes.collect(),
            axes: axes.collect(),
            ..whole.clone()
        };
        for (input, dims) in op.inputs.iter_mut().zip(&dims) {
            input.dims = input.dims.as_ref().map(|_| numbered(dims));
        }
        for inner in &mut op.lets {
            inner.axes = of_heads(&inner.axes);
        }
        for (output, whole) in op.outputs.iter_mut().zip(&whole.outputs) {
            output.dims = numbered(&self.dims_of_output(whole));
            output.axes = of_heads(&whole.axes);
        }
        for expr in &mut op.exprs {
            match expr {
                Expr::Size(size) => *size = lone(*size),
                // No index uses an axis that is joined with the one before it.
                Expr::Axis(own) if self.head(*own) != *own => *expr = Expr::Literal(Literal::Int(0)),
                Expr::Axis(own) => *own = axis(*own),
                Expr::Reduce { axes, .. } => *axes = of_heads(axes),
                Expr::Read { source, index, .. } => {
                    let joined = |dimension: usize| match *source {
                        Source::Input(input) => self.inputs[input.index()][dimension],
                        Source::Let(inner) => self.axes[whole.lets[inner.index()].axes[dimension].index()],
                    };
                    let mut dimensions = 0..;
                    index.retain(|_| {
                        dimensions
                            .next()
                            .is_none_or(|dimension| dimension == 0 || !joined(dimension - 1))
                    });
                }
                _ => {}
            }
        }
        (op, factors)
    }
}

#[cfg(test)]
#[cfg(feature = "syn")]
mod tests {
    use super::*;
    use crate::check::Checked;

    fn checked(attribute: &str, source: &str) -> Checked {
        let operator = crate::lang::parse(attribute.parse().unwrap(), source.parse().unwrap()).unwrap();
        operator.variants[0].checked.clone()
    }

    /// The dimensions of inputs and outputs by the names of sizes, the axes, and the sizes that are formulas.
    fn joined(attribute: &str, source: &str) -> Option<String> {
        let checked = checked(attribute, source);
        let joined = super::joined(&checked)?;
        let op = joined.checked.op();
        let names = |dims: &[SizeId]| {
            let names: Vec<&str> = dims.iter().map(|size| op.sizes[size.index()].name.as_str()).collect();
            names.join(" ")
        };
        let inputs = op.inputs.iter().filter_map(|input| input.dims.as_deref()).map(names);
        let outputs = op.outputs.iter().map(|output| names(&output.dims));
        let axes: Vec<&str> = op.axes.iter().map(|axis| axis.name.as_str()).collect();
        let [inputs, outputs]: [Vec<String>; 2] = [inputs.collect(), outputs.collect()];
        Some(format!(
            "({}) -> ({}) |{}|",
            inputs.join(", "),
            outputs.join(", "),
            axes.join(" ")
        ))
    }

    #[test]
    fn what_all_tensors_share_is_joined() {
        let convolution = "fn f(x: Tensor<f16, (B, C, H, W)>, w: Tensor<f16, (O, C)>) -> Tensor<f16, (B, O, H, W)> { |b, o, h, v| sum(|c| x[[b, c, h, v]] * w[[o, c]]) }";
        assert_eq!(
            joined("", convolution).unwrap(),
            "(B C H_W, O C) -> (B O H_W) |b o h_v c|"
        );
        let whole = "fn f(x: Tensor<f32, (A, B, C)>) -> Tensor<f32, (A, B, C)> { |a, b, c| exp(x[[a, b, c]]) }";
        assert_eq!(joined("", whole).unwrap(), "(A_B_C) -> (A_B_C) |a_b_c|");
        let projection = "fn f(x: Tensor<f16, (B, T, D)>, gain: Tensor<f16, (D,)>) -> Tensor<f16, (B, T, D)> { let square = |b, t| sum(|d| powi(x[[b, t, d]], 2)); |b, t, d| x[[b, t, d]] * rsqrt(square[[b, t]]) * gain[[d]] }";
        assert_eq!(joined("", projection).unwrap(), "(B_T D, D) -> (B_T D) |b_t d b_t d|");
        let terms = "fn f(x: Tensor<f16, (B, H, W)>) -> Tensor<i32, (B,)> { |b| argmax(|h, v| x[[b, h, v]]) }";
        assert_eq!(joined("", terms).unwrap(), "(B H_W) -> (B) |b h_v|");
    }

    #[test]
    fn what_something_asks_for_alone_is_not() {
        for source in [
            "fn f(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R,)> { |r| sum(|c| x[[r, c]]) }",
            "fn f(x: Tensor<f32, (R, C)>) -> Tensor<f32, (C, R)> { |c, r| x[[r, c]] }",
            "fn f(x: Tensor<f32, (R, C)>, y: Tensor<f32, (C,)>) -> Tensor<f32, (R, C)> { |r, c| x[[r, c]] + y[[c]] }",
            "fn f(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R, C)> { |r, c| if c < r { x[[r, c]] } else { 0.0 } }",
            "fn f(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R, C)> { |r, c| x[[r, c]] * c as f32 }",
            "fn f(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R, C)> { |r, c| x.or(0.0)[[r, c + 1]] }",
            "fn f(x: Tensor<f32, (N, N)>) -> Tensor<f32, (N,)> { |n| x[[n, n]] }",
            "fn f(x: Tensor<f32, (R, C)>, at: Tensor<i32, (R,)>) -> Tensor<f32, (R, C)> { |r, c| x[[at[[r]], c]] }",
            // Nothing but `x` determines `C`, whose value is asked for.
            "fn f(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R, C)> { |r, c| x[[r, c]] / C as f32 }",
        ] {
            assert_eq!(joined("", source), None, "{source}");
        }
    }

    #[test]
    fn outputs_keep_one_shape() {
        let source = "fn f(x: Tensor<f32, (R, C)>, y: Tensor<f32, (C,)>) -> (Tensor<f32, (R, C)>, Tensor<f32, (R, C)>) { (|r, c| x[[r, c]], |r, c| y[[c]]) }";
        assert_eq!(joined("", source), None);
    }

    #[test]
    fn sizes_that_must_be_equal_are_one() {
        let source = "fn f(x: Tensor<f32, (A, B)>, y: Tensor<f32, (C, D)>) -> Tensor<f32, (A, B)> { |a, b| x[[a, b]] + sum(|c, d| y[[c, d]] * x[[c, d]]) }";
        assert_eq!(joined("", source).unwrap(), "(A_B, A_B) -> (A_B) |a_b c_d|");
    }

    #[test]
    fn products_follow_what_is_known_of_their_factors() {
        let checked = checked(
            "dims(HO = H / 2, WO = W / 2)",
            "fn f(x: Tensor<f32, (B, H, W)>, y: Tensor<f32, (B, C)>) -> Tensor<f32, (B, C, HO, WO)> { |b, c, h, v| y[[b, c]] + max(|i, j| x[[b, i, j]]) }",
        );
        // Only the output has `HO` and `WO`, whose formulas need `H` and `W`: the input keeps these apart.
        let joined = super::joined(&checked).unwrap();
        let op = joined.checked.op();
        let names: Vec<&str> = op.sizes.iter().map(|size| size.name.as_str()).collect();
        assert_eq!(names, ["B", "H", "W", "C", "HO", "WO", "HO_WO"]);
        let sizes = checked.derive(vec![2, 6, 14, 3]).unwrap();
        assert_eq!(joined.sizes_at(&sizes), [2, 6, 14, 3, 3, 7, 21]);
        assert_eq!(
            joined.checked.derive(vec![2, 6, 14, 3]).unwrap(),
            [2, 6, 14, 3, 3, 7, 21]
        );
        let mut whole = Specialisation::like(&sizes);
        assert_eq!(joined.specialisation(&whole).extents[6], Extent::Any { multiple_of: 1 });
        whole.extents[4] = Extent::Any { multiple_of: 8 };
        whole.extents[5] = Extent::Fixed(4);
        assert_eq!(
            joined.specialisation(&whole).extents[6],
            Extent::Any { multiple_of: 16 }
        );
        let product = SizeExpr::Size(SizeId(4)).times(SizeExpr::Const(4));
        assert_eq!(joined.formulas(&whole)[6], product);
        whole.extents[4] = Extent::AtMost {
            multiple_of: 1,
            most: 5,
        };
        assert_eq!(
            joined.specialisation(&whole).extents[6],
            Extent::AtMost {
                multiple_of: 4,
                most: 20
            }
        );
        whole.extents[4] = Extent::Fixed(3);
        assert_eq!(joined.specialisation(&whole).extents[6], Extent::Fixed(12));
    }
}
