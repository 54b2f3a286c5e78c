//! Operators rewritten as an author might.

use crate::check::Checked;
use crate::element::{Element, Type};
use crate::ir::{AxisId, Expr, ExprId, Input, InputId, LetId, Op, Output, Source};

/// Returns the operator that returns an intermediate tensor, and the one that takes it as a tensor. Both have the sizes of the whole.
pub(super) fn split(checked: &Checked, tensor: LetId) -> Option<[Checked; 2]> {
    let op = checked.op();
    let inner = op.lets.get(tensor.index())?;
    let dims: Vec<_> = inner.axes.iter().map(|&axis| checked.extent(axis)).collect();
    let element = stored_as(checked, tensor)?;

    let mut first = op.clone();
    for (&axis, &dim) in inner.axes.iter().zip(&dims) {
        first.axes[axis.index()].extent = Some(dim);
    }
    first.outputs = vec![Output {
        element,
        dims: dims.clone(),
        axes: inner.axes.clone(),
        body: inner.body,
    }];

    let mut second = op.clone();
    let input = InputId(second.inputs.len() as u32);
    second.inputs.push(Input {
        name: inner.name.clone(),
        element,
        dims: Some(dims),
    });
    for expr in &mut second.exprs {
        if let Expr::Read { source, .. } = expr
            && *source == Source::Let(tensor)
        {
            *source = Source::Input(input);
        }
    }
    let [first, second] = [first, second].map(|op| Checked::new(pruned(&op)).ok());
    Some([first?, second?])
}

/// The element in which an intermediate tensor is stored: the one that every use casts it to, else that of its type.
fn stored_as(checked: &Checked, tensor: LetId) -> Option<Element> {
    let op = checked.op();
    let reads = |id: ExprId| matches!(op.expr(id), Expr::Read { source, .. } if *source == Source::Let(tensor));
    let (mut casts, mut bare) = (Vec::new(), false);
    for expr in &op.exprs {
        match *expr {
            Expr::Cast(a, element) if reads(a) => casts.push(element),
            _ => {}
        }
    }
    for number in 0..op.exprs.len() {
        let id = ExprId(number as u32);
        if !matches!(op.expr(id), Expr::Cast(..)) {
            op.operands(id, |operand| bare |= reads(operand));
        }
    }
    let roots = op.outputs.iter().map(|output| output.body);
    bare |= roots.chain(op.lets.iter().map(|inner| inner.body)).any(reads);
    match casts.as_slice() {
        [first, others @ ..] if !bare && others.iter().all(|other| other == first) => Some(*first),
        _ => Some(match checked.ty(op.lets[tensor.index()].body) {
            Type::F32 => Element::F32,
            Type::F64 => Element::F64,
            Type::I32 => Element::I32,
            Type::I64 => Element::I64,
            Type::Bool => Element::Bool,
        }),
    }
}

/// Returns the operator in which an operand of an expression is cast to an element type.
pub(super) fn cast(checked: &Checked, of: ExprId, operand: ExprId, element: Element) -> Option<Checked> {
    let op = checked.op();
    // The cast takes the place of the expression, which moves up by one with all after it.
    let moved = |id: ExprId| if id < of { id } else { ExprId(id.0 + 1) };
    let mut rewritten = op.clone();
    rewritten.exprs.clear();
    for (number, expr) in op.exprs.iter().enumerate() {
        let is_user = number == of.index();
        if is_user {
            rewritten.exprs.push(Expr::Cast(operand, element));
        }
        let place = |id: ExprId| if is_user && id == operand { of } else { moved(id) };
        rewritten
            .exprs
            .push(mapped(expr, &place, &|axis| axis, &|tensor| tensor));
    }
    rewritten
        .lets
        .iter_mut()
        .for_each(|inner| inner.body = moved(inner.body));
    rewritten
        .outputs
        .iter_mut()
        .for_each(|output| output.body = moved(output.body));
    Checked::new(rewritten).ok()
}

/// Returns the operator that takes a tensor with one of its dimensions last.
pub(super) fn with_last(checked: &Checked, tensor: InputId, dimension: usize) -> Option<Checked> {
    let mut op = checked.op().clone();
    let dims = op.inputs.get_mut(tensor.index())?.dims.as_mut()?;
    if dimension >= dims.len() {
        return None;
    }
    dims[dimension..].rotate_left(1);
    for expr in &mut op.exprs {
        if let Expr::Read { source, index, .. } = expr
            && *source == Source::Input(tensor)
        {
            index.get_mut(dimension..)?.rotate_left(1);
        }
    }
    Checked::new(op).ok()
}

/// Returns the operator without what its results do not need. Inputs and sizes stay.
fn pruned(op: &Op) -> Op {
    let mut wanted = vec![false; op.exprs.len()];
    let mut tensors = vec![false; op.lets.len()];
    let mut next: Vec<ExprId> = op.outputs.iter().map(|output| output.body).collect();
    while let Some(expr) = next.pop() {
        if std::mem::replace(&mut wanted[expr.index()], true) {
            continue;
        }
        op.operands(expr, |operand| next.push(operand));
        if let Expr::Read {
            source: Source::Let(inner),
            ..
        } = op.expr(expr)
            && !std::mem::replace(&mut tensors[inner.index()], true)
        {
            next.push(op.lets[inner.index()].body);
        }
    }
    let mut axes = vec![false; op.axes.len()];
    let mut keep = |list: &[AxisId]| list.iter().for_each(|axis| axes[axis.index()] = true);
    op.outputs.iter().for_each(|output| keep(&output.axes));
    let kept = op.lets.iter().zip(&tensors).filter(|(_, wanted)| **wanted);
    kept.for_each(|(inner, _)| keep(&inner.axes));
    for (expr, _) in op.exprs.iter().zip(&wanted).filter(|(_, wanted)| **wanted) {
        if let Expr::Reduce { axes, .. } = expr {
            keep(axes);
        }
    }
    let (exprs, lets, axes) = (numbers(&wanted), numbers(&tensors), numbers(&axes));
    let expr_of = |id: ExprId| ExprId(exprs[id.index()].unwrap_or(0));
    let axis_of = |id: AxisId| AxisId(axes[id.index()].unwrap_or(0));
    let let_of = |id: LetId| LetId(lets[id.index()].unwrap_or(0));
    let axes_of = |list: &[AxisId]| list.iter().map(|&axis| axis_of(axis)).collect::<Vec<_>>();
    let mut result = op.clone();
    let kept = |numbers: &[Option<u32>], at: usize| numbers[at].is_some();
    retain(&mut result.exprs, |at| kept(&exprs, at));
    retain(&mut result.lets, |at| kept(&lets, at));
    retain(&mut result.axes, |at| kept(&axes, at));
    for expr in &mut result.exprs {
        *expr = mapped(expr, &expr_of, &axis_of, &let_of);
    }
    for inner in &mut result.lets {
        (inner.axes, inner.body) = (axes_of(&inner.axes), expr_of(inner.body));
    }
    for output in &mut result.outputs {
        (output.axes, output.body) = (axes_of(&output.axes), expr_of(output.body));
    }
    result
}

/// The new numbers of what is kept.
fn numbers(kept: &[bool]) -> Vec<Option<u32>> {
    let mut next = 0..;
    kept.iter().map(|&kept| kept.then(|| next.next()).flatten()).collect()
}

fn retain<T>(list: &mut Vec<T>, mut keep: impl FnMut(usize) -> bool) {
    let mut at = 0..;
    list.retain(|_| at.next().is_some_and(&mut keep));
}

/// An expression with other numbers.
fn mapped(
    expr: &Expr,
    expr_of: &impl Fn(ExprId) -> ExprId,
    axis_of: &impl Fn(AxisId) -> AxisId,
    let_of: &impl Fn(LetId) -> LetId,
) -> Expr {
    let all = |list: &[ExprId]| list.iter().map(|&id| expr_of(id)).collect();
    match expr {
        Expr::Literal(_) | Expr::Size(_) | Expr::Scalar(_) => expr.clone(),
        Expr::Axis(axis) => Expr::Axis(axis_of(*axis)),
        Expr::Read { source, index, or } => Expr::Read {
            source: match *source {
                Source::Input(input) => Source::Input(input),
                Source::Let(inner) => Source::Let(let_of(inner)),
            },
            index: all(index),
            or: or.map(expr_of),
        },
        Expr::Unary(operation, a) => Expr::Unary(*operation, expr_of(*a)),
        Expr::Binary(operation, a, b) => Expr::Binary(*operation, expr_of(*a), expr_of(*b)),
        Expr::Compare(compare, a, b) => Expr::Compare(*compare, expr_of(*a), expr_of(*b)),
        Expr::Select {
            condition,
            accept,
            reject,
        } => Expr::Select {
            condition: expr_of(*condition),
            accept: expr_of(*accept),
            reject: expr_of(*reject),
        },
        Expr::Cast(a, element) => Expr::Cast(expr_of(*a), *element),
        Expr::Call(function, arguments) => Expr::Call(*function, all(arguments)),
        Expr::Reduce { op, axes, body } => Expr::Reduce {
            op: *op,
            axes: axes.iter().map(|&axis| axis_of(axis)).collect(),
            body: expr_of(*body),
        },
    }
}

#[cfg(all(test, feature = "syn"))]
mod tests {
    use super::*;
    use crate::ir::BinaryOp;
    use crate::lang;
    use crate::reference::Reference;

    fn checked(source: &str) -> Checked {
        let operator = lang::parse(Default::default(), source.parse().unwrap()).unwrap();
        operator.variants[0].checked.clone()
    }

    fn result(checked: &Checked, sizes: &[u64], inputs: &[&[u8]]) -> Vec<u8> {
        Reference::new(checked, sizes, inputs).unwrap().output(0)
    }

    /// Small integers, of which every sum is exact.
    fn numbers(count: usize) -> Vec<f32> {
        (0..count).map(|number| (number * 7 % 11) as f32 - 5.0).collect()
    }

    fn bytes(numbers: &[f32]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    const SIZES: [u64; 4] = [3, 4, 5, 6];

    /// M = 3, K = 4, H = 5, N = 6.
    fn two_products(body: &str) -> (Checked, Vec<Vec<u8>>) {
        let parameters = "x: Tensor<f32, (M, K)>, v: Tensor<f32, (H, K)>, w: Tensor<f32, (N, H)>";
        let source = format!("fn f({parameters}) -> Tensor<f32, (M, N)> {{ {body} }}");
        (
            checked(&source),
            [12, 20, 30].map(|count| bytes(&numbers(count))).into(),
        )
    }

    #[test]
    fn a_split_operator_computes_the_same() {
        let body = "let unused = |m| sum(|k| x[[m, k]]);
            let hidden = |m, h| relu(sum(|k| x[[m, k]] * v[[h, k]]));
            let scale = |m| max(|h| hidden[[m, h]]) + unused[[m]];
            |m, n| sum(|h| hidden[[m, h]] * w[[n, h]]) + scale[[m]]";
        let (whole, inputs) = two_products(body);
        let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
        let expected = result(&whole, &SIZES, &inputs);
        for tensor in 0..3 {
            let [first, second] = split(&whole, LetId(tensor)).unwrap();
            let stored = result(&first, &SIZES, &inputs);
            let all: Vec<&[u8]> = inputs.iter().copied().chain([stored.as_slice()]).collect();
            assert_eq!(result(&second, &SIZES, &all), expected, "split at {tensor}");
            assert!(first.op().lets.len() < 3 && second.op().lets.len() < 3);
        }
        assert!(split(&whole, LetId(3)).is_none());
    }

    #[test]
    fn a_tensor_is_stored_as_it_is_used() {
        let element = |rest: &str| {
            let (whole, _) = two_products(&format!("let y = |m, h| sum(|k| x[[m, k]] * v[[h, k]]); {rest}"));
            stored_as(&whole, LetId(0))
        };
        assert_eq!(
            element("|m, n| sum(|h| y[[m, h]] as f16 * w[[n, h]])"),
            Some(Element::F16)
        );
        assert_eq!(element("|m, n| sum(|h| y[[m, h]] * w[[n, h]])"), Some(Element::F32));
        assert_eq!(
            element("|m, n| sum(|h| y[[m, h]] as f16 * w[[n, h]]) + sum(|h| y[[m, h]])"),
            Some(Element::F32)
        );
    }

    #[test]
    fn a_cast_stands_before_its_user() {
        let (whole, inputs) = two_products("|m, n| sum(|k| x[[m, k]] * v[[0, k]]) + sum(|h| w[[n, h]])");
        let is_product = |expr: &Expr| matches!(expr, Expr::Binary(BinaryOp::Mul, ..));
        let product = whole.op().exprs.iter().position(is_product).unwrap();
        let Expr::Binary(_, factor, _) = whole.op().exprs[product] else {
            unreachable!("it is a product")
        };
        let cast = cast(&whole, ExprId(product as u32), factor, Element::F16).unwrap();
        let casts = cast
            .op()
            .exprs
            .iter()
            .filter(|expr| matches!(expr, Expr::Cast(_, Element::F16)));
        assert_eq!(casts.count(), 1);
        let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
        assert_eq!(result(&cast, &SIZES, &inputs), result(&whole, &SIZES, &inputs));
    }

    #[test]
    fn a_dimension_moves_last_with_its_index() {
        let (whole, inputs) = two_products("|m, n| sum(|k| x[[m, k]]) + sum(|h| w[[n, h]])");
        let mut turned = inputs.clone();
        // `w`, 6 × 5, as 5 × 6.
        let w = numbers(30);
        let across: Vec<f32> = (0..30).map(|at| w[at % 6 * 5 + at / 6]).collect();
        turned[2] = bytes(&across);
        let moved = with_last(&whole, InputId(2), 0).unwrap();
        let slices = |inputs: &[Vec<u8>]| -> Vec<u8> {
            let operator = if inputs == turned.as_slice() { &moved } else { &whole };
            let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
            result(operator, &SIZES, &inputs)
        };
        assert_eq!(slices(&turned), slices(&inputs));
        assert!(with_last(&whole, InputId(2), 2).is_none_or(|same| same == whole));
        assert!(with_last(&whole, InputId(9), 0).is_none());
    }
}
