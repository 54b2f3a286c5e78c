//! The function's body: closures as tensors, expressions as the arena of an [`Op`].

use super::constants;
use super::errors::Errors;
use super::groups::{ungrouped, unwrapped};
use super::remedies;
use super::signature::{Elements, Signature};
use super::sizes::size_named;
use super::spans::Spans;
use crate::check::{call_of_another_length, result_of_another_rank};
use crate::element::Element;
use crate::ir::{
    Axis, AxisId, BinaryOp, CompareOp, Expr, ExprId, Function, Input, InputId, Let, LetId, Literal, Op, Output,
    ReduceOp, Size, Source, UnaryOp,
};
use crate::text::counted;
use proc_macro2::{Ident, Span};
use syn::spanned::Spanned;
use syn::{BinOp, ExprClosure, Lit, Member, Pat, Stmt, Type, UnOp};

/// The meaning of a name in scope.
#[derive(Debug, Clone, Copy)]
enum Local {
    Axis(AxisId),
    Value(ExprId),
}

/// Builds the operator of one variant.
pub(super) struct Builder<'a> {
    signature: &'a Signature,
    sizes: &'a [(Size, Span)],
    elements: &'a Elements,
    errors: &'a mut Errors,
    op: Op,
    spans: Spans,
    /// Names of axes and of `let`s inside closures, innermost last.
    scope: Vec<(String, Local)>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        signature: &'a Signature,
        sizes: &'a [(Size, Span)],
        elements: &'a Elements,
        whole: Span,
        errors: &'a mut Errors,
    ) -> Builder<'a> {
        let mut op = Op {
            name: String::new(),
            sizes: sizes.iter().map(|(size, _)| size.clone()).collect(),
            inputs: Vec::new(),
            axes: Vec::new(),
            lets: Vec::new(),
            outputs: Vec::new(),
            exprs: Vec::new(),
        };
        let mut inputs = Vec::new();
        for parameter in &signature.parameters {
            let dims = parameter.dims.as_ref().map(|dims| {
                dims.iter()
                    .filter_map(|name| size_named(sizes, &name.to_string()))
                    .collect()
            });
            let Some(element) = parameter.element.resolve(elements) else {
                continue;
            };
            op.inputs.push(Input {
                name: parameter.name.to_string(),
                element,
                dims,
            });
            inputs.push(parameter.name.span());
        }
        Builder {
            signature,
            sizes,
            elements,
            errors,
            op,
            spans: Spans {
                whole,
                sizes: sizes.iter().map(|(_, span)| *span).collect(),
                inputs,
                axes: Vec::new(),
                lets: Vec::new(),
                outputs: Vec::new(),
                exprs: Vec::new(),
            },
            scope: Vec::new(),
        }
    }

    pub(super) fn finish(self) -> (Op, Spans) {
        (self.op, self.spans)
    }

    // ------------------------------------------------------------------ statements

    /// Reads the body: `let` closures, then the outputs' closures.
    pub(super) fn function(&mut self, block: &syn::Block) {
        let Some((last, statements)) = block.stmts.split_last() else {
            return self.errors.at(
                block.span(),
                "an operator's body must end with a closure over the result's axes: `|m, n| …`",
            );
        };
        for statement in statements {
            match statement {
                Stmt::Local(local) => self.intermediate(local),
                Stmt::Expr(expr, Some(_)) => self.errors.at(
                    expr.span(),
                    "an operator's body is `let` statements followed by a closure; remove the semicolon",
                ),
                other => self.errors.at(
                    other.span(),
                    "an operator's body is `let` statements followed by a closure over the result's axes",
                ),
            }
        }
        match last {
            Stmt::Expr(expr, None) => self.outputs(expr),
            other => self.errors.at(
                other.span(),
                "an operator's body must end with a closure over the result's axes, without a semicolon: `|m, n| …`",
            ),
        }
    }

    /// `let name = |axes| …;`, or a single value.
    fn intermediate(&mut self, local: &syn::Local) {
        let Some((name, value)) = self.binding(local) else {
            return;
        };
        if self
            .signature
            .parameters
            .iter()
            .any(|parameter| parameter.name == *name)
            || self.op.lets.iter().any(|entry| *name == entry.name)
        {
            return self
                .errors
                .at(name.span(), format!("`{name}` is already defined; choose another name"));
        }
        let (axes, body) = match unwrapped(value) {
            syn::Expr::Closure(closure) => {
                let Some(axes) = self.axes(closure) else { return };
                let body = self.in_scope(closure, &axes);
                (axes, body)
            }
            value => (Vec::new(), self.expr(value)),
        };
        let Some(body) = body else {
            // Define it anyway, so that its uses cause no further errors.
            let zero = self.push(Expr::Literal(Literal::Int(0)), name.span());
            return self.define(name, axes, zero);
        };
        self.define(name, axes, body);
    }

    fn define(&mut self, name: &Ident, axes: Vec<AxisId>, body: ExprId) {
        self.op.lets.push(Let {
            name: name.to_string(),
            axes,
            body,
        });
        self.spans.lets.push(name.span());
    }

    /// Returns a `let`'s name and value.
    fn binding<'b>(&mut self, local: &'b syn::Local) -> Option<(&'b Ident, &'b syn::Expr)> {
        let pattern = match &local.pat {
            Pat::Type(typed) => {
                self.errors.at(
                    typed.ty.span(),
                    "the type of a value is inferred; remove this annotation",
                );
                &typed.pat
            }
            pattern => pattern,
        };
        let Pat::Ident(name) = pattern else {
            self.errors.at(pattern.span(), "`let` must bind a plain name");
            return None;
        };
        match &local.init {
            Some(init) if init.diverge.is_none() => Some((&name.ident, &init.expr)),
            _ => {
                self.errors.at(
                    local.span(),
                    "`let` needs a value: `let total = |r| sum(|c| x[[r, c]]);`",
                );
                None
            }
        }
    }

    fn outputs(&mut self, expr: &syn::Expr) {
        let bodies: Vec<&syn::Expr> = match unwrapped(expr) {
            syn::Expr::Tuple(tuple) => tuple.elems.iter().collect(),
            one => vec![one],
        };
        let results = &self.signature.results;
        if bodies.len() != results.len() {
            let returned = counted(results.len() as u64, "tensor", "tensors");
            return self.errors.at(
                expr.span(),
                format!("the function returns {returned}, but the body gives {}", bodies.len()),
            );
        }
        for (body, result) in bodies.into_iter().zip(results) {
            let body = unwrapped(body);
            let (names, value): (Vec<AxisId>, Option<ExprId>) = match body {
                syn::Expr::Closure(closure) => {
                    let Some(axes) = self.axes(closure) else { continue };
                    if axes.len() != result.dims.len() {
                        self.errors.at(
                            closure.inputs.span(),
                            result_of_another_rank(result.dims.len(), axes.len()),
                        );
                        continue;
                    }
                    for (&axis, dim) in axes.iter().zip(&result.dims) {
                        let size = size_named(self.sizes, &dim.to_string());
                        let declared = &mut self.op.axes[axis.index()].extent;
                        if declared.is_some() && *declared != size {
                            self.errors.at(
                                self.spans.axes[axis.index()],
                                format!("this axis must run over `{dim}`, the result's dimension"),
                            );
                        }
                        *declared = size;
                    }
                    let value = self.in_scope(closure, &axes);
                    (axes, value)
                }
                value if result.dims.is_empty() => (Vec::new(), self.expr(value)),
                other => {
                    self.errors
                        .at(other.span(), "a result must be a closure over its axes: `|m, n| …`");
                    continue;
                }
            };
            let (Some(body), Some(element)) = (value, result.element.resolve(self.elements)) else {
                continue;
            };
            self.op.outputs.push(Output {
                element,
                dims: result
                    .dims
                    .iter()
                    .filter_map(|dim| size_named(self.sizes, &dim.to_string()))
                    .collect(),
                axes: names,
                body,
            });
            self.spans.outputs.push(result.span);
        }
    }

    // ------------------------------------------------------------------ closures

    /// Declares the axes of a closure.
    fn axes(&mut self, closure: &ExprClosure) -> Option<Vec<AxisId>> {
        let mut axes = Vec::new();
        for input in &closure.inputs {
            let (pattern, annotation) = match input {
                Pat::Type(typed) => (typed.pat.as_ref(), Some(typed.ty.as_ref())),
                pattern => (pattern, None),
            };
            let Pat::Ident(name) = pattern else {
                self.errors.at(pattern.span(), "an axis must be a plain name");
                return None;
            };
            let name = &name.ident;
            if axes
                .iter()
                .any(|&AxisId(axis)| *name == self.op.axes[axis as usize].name)
            {
                self.errors.at(name.span(), format!("axis `{name}` is declared twice"));
            }
            let extent = match annotation.map(ungrouped) {
                None => None,
                Some(Type::Path(path)) if path.path.get_ident().is_some() => {
                    let text = path.path.get_ident().map(Ident::to_string).unwrap_or_default();
                    let size = size_named(self.sizes, &text);
                    if size.is_none() {
                        self.errors.at(
                            path.span(),
                            format!("unknown size `{text}`; an axis runs over a dimension of a tensor, or a size that `dims(…)` defines"),
                        );
                        return None;
                    }
                    size
                }
                Some(other) => {
                    self.errors.at(
                        other.span(),
                        format!("an axis's extent must be the name of a size: `|{name}: K|`"),
                    );
                    return None;
                }
            };
            let id = AxisId(self.op.axes.len() as u32);
            self.op.axes.push(Axis {
                name: name.to_string(),
                extent,
            });
            self.spans.axes.push(name.span());
            axes.push(id);
        }
        Some(axes)
    }

    /// Reads a closure's body with its axes in scope.
    fn in_scope(&mut self, closure: &ExprClosure, axes: &[AxisId]) -> Option<ExprId> {
        let before = self.scope.len();
        for &axis in axes {
            let name = self.op.axes[axis.index()].name.clone();
            self.scope.push((name, Local::Axis(axis)));
        }
        let body = self.expr(&closure.body);
        self.scope.truncate(before);
        body
    }

    // ------------------------------------------------------------------ expressions

    fn push(&mut self, expr: Expr, span: Span) -> ExprId {
        let folded = constants::folded(&self.op, &expr).map_or(expr, Expr::Literal);
        let id = ExprId(self.op.exprs.len() as u32);
        self.op.exprs.push(folded);
        self.spans.exprs.push(span);
        id
    }

    fn fail(&mut self, span: Span, message: impl std::fmt::Display) -> Option<ExprId> {
        self.errors.at(span, message);
        None
    }

    fn expr(&mut self, expr: &syn::Expr) -> Option<ExprId> {
        let span = expr.span();
        match expr {
            syn::Expr::Paren(inner) => self.expr(&inner.expr),
            syn::Expr::Group(inner) => self.expr(&inner.expr),
            syn::Expr::Block(block) if block.label.is_none() => self.block(&block.block),
            syn::Expr::Lit(literal) => self.literal(literal),
            syn::Expr::Path(path) => self.path(&path.path),
            syn::Expr::Unary(unary) => {
                let op = match unary.op {
                    UnOp::Neg(_) => UnaryOp::Neg,
                    UnOp::Not(_) => UnaryOp::Not,
                    _ => return self.fail(span, "the kernel language has no references; remove `*`"),
                };
                let a = self.expr(&unary.expr)?;
                Some(self.push(Expr::Unary(op, a), span))
            }
            syn::Expr::Reference(_) => self.fail(span, "the kernel language has no references; remove `&`"),
            syn::Expr::Binary(binary) => self.binary(binary),
            syn::Expr::Cast(cast) => {
                let element = self.cast_element(&cast.ty);
                let a = self.expr(&cast.expr)?;
                Some(self.push(Expr::Cast(a, element?), span))
            }
            syn::Expr::If(conditional) => self.conditional(conditional),
            syn::Expr::Index(index) => self.read(index),
            syn::Expr::Call(call) => self.call(call),
            syn::Expr::MethodCall(call) => self.method(call),
            syn::Expr::Closure(_) => self.fail(
                span,
                "a closure can only define a tensor (`let t = |r| …;`) or be reduced (`sum(|k| …)`)",
            ),
            syn::Expr::Match(_) => self.fail(span, "the kernel language has no `match`; write `if … else …`"),
            syn::Expr::ForLoop(_) | syn::Expr::While(_) | syn::Expr::Loop(_) => self.fail(
                span,
                "the kernel language has no loops; write a reduction: `sum(|k| …)`, `max(|k| …)`",
            ),
            syn::Expr::Assign(_) => self.fail(span, "an operator cannot assign; name values with `let`"),
            syn::Expr::Return(_) => self.fail(
                span,
                "the kernel language has no `return`; the last expression is the value",
            ),
            syn::Expr::Macro(_) => self.fail(span, "macros are not expanded inside an operator"),
            syn::Expr::Field(field) if matches!(field.member, Member::Unnamed(_) | Member::Named(_)) => {
                self.fail(span, "values have no fields")
            }
            _ => self.fail(span, "this expression is not part of the kernel language"),
        }
    }

    /// `{ let t = …; t * 2.0 }`
    fn block(&mut self, block: &syn::Block) -> Option<ExprId> {
        let Some((last, statements)) = block.stmts.split_last() else {
            return self.fail(block.span(), "a block must end with a value");
        };
        let before = self.scope.len();
        let mut complete = true;
        for statement in statements {
            let Stmt::Local(local) = statement else {
                self.errors.at(
                    statement.span(),
                    "a block is `let` statements followed by a value without a semicolon",
                );
                complete = false;
                continue;
            };
            let Some((name, value)) = self.binding(local) else {
                complete = false;
                continue;
            };
            if matches!(unwrapped(value), syn::Expr::Closure(_)) {
                self.errors.at(
                    value.span(),
                    "a tensor cannot be defined inside a closure; move this `let` before the result",
                );
                complete = false;
                continue;
            }
            match self.expr(value) {
                Some(value) => self.scope.push((name.to_string(), Local::Value(value))),
                None => complete = false,
            }
        }
        let value = match last {
            Stmt::Expr(expr, None) if complete => self.expr(expr),
            Stmt::Expr(_, None) => None,
            other => self.fail(other.span(), "a block must end with a value, without a semicolon"),
        };
        self.scope.truncate(before);
        value
    }

    fn literal(&mut self, literal: &syn::ExprLit) -> Option<ExprId> {
        let span = literal.span();
        let (value, suffix) = match &literal.lit {
            Lit::Int(int) => {
                let suffix = int.suffix().to_owned();
                let value = match int.base10_parse::<i64>() {
                    Ok(value) => Literal::Int(value),
                    Err(_) => return self.fail(span, "the integer does not fit 64 bits"),
                };
                (value, suffix)
            }
            Lit::Float(float) => match float.base10_parse::<f64>() {
                Ok(value) => (Literal::Float(value), float.suffix().to_owned()),
                Err(error) => return self.fail(span, error),
            },
            Lit::Bool(value) => (Literal::Bool(value.value), String::new()),
            _ => return self.fail(span, "expected a number, `true` or `false`"),
        };
        let id = self.push(Expr::Literal(value), span);
        if suffix.is_empty() {
            return Some(id);
        }
        match Element::from_name(&suffix).filter(|&element| element != Element::Bool) {
            Some(element) => Some(self.push(Expr::Cast(id, element), span)),
            None => self.fail(span, remedies::of_element(&suffix)),
        }
    }

    fn path(&mut self, path: &syn::Path) -> Option<ExprId> {
        let span = path.span();
        let Some(name) = path.get_ident() else {
            return match constants::named(path) {
                Some(value) => Some(self.push(Expr::Literal(value), span)),
                None => self.fail(span, format!("unknown constant\nhelp: {}", remedies::OF_CONSTANT)),
            };
        };
        let text = name.to_string();
        if let Some((_, local)) = self.scope.iter().rev().find(|(other, _)| *other == text) {
            return Some(match *local {
                Local::Axis(axis) => self.push(Expr::Axis(axis), span),
                Local::Value(value) => value,
            });
        }
        if let Some(inner) = self.op.lets.iter().position(|entry| entry.name == text) {
            let rank = self.op.lets[inner].axes.len();
            if rank > 0 {
                let indices = vec!["…"; rank].join(", ");
                return self.fail(span, format!("`{text}` is a tensor; index it: `{text}[[{indices}]]`"));
            }
            let read = Expr::Read {
                source: Source::Let(LetId(inner as u32)),
                index: Vec::new(),
                or: None,
            };
            return Some(self.push(read, span));
        }
        if let Some(input) = self.op.inputs.iter().position(|input| input.name == text) {
            if self.op.inputs[input].dims.is_some() {
                return self.fail(span, format!("`{text}` is a tensor; index it: `{text}[[…]]`"));
            }
            return Some(self.push(Expr::Scalar(InputId(input as u32)), span));
        }
        if let Some(size) = size_named(self.sizes, &text) {
            return Some(self.push(Expr::Size(size), span));
        }
        let is_axis = self.op.axes.iter().any(|axis| axis.name == text);
        let remedy = match is_axis {
            true => format!("axis `{text}` exists only inside its closure"),
            false => remedies::of_name(&text),
        };
        let message = format!("unknown name `{text}`: it is not an axis, parameter, size or `let`\nhelp: {remedy}");
        self.fail(span, message)
    }

    fn binary(&mut self, binary: &syn::ExprBinary) -> Option<ExprId> {
        let span = binary.span();
        let compare = |op| match op {
            BinOp::Eq(_) => Some(CompareOp::Eq),
            BinOp::Ne(_) => Some(CompareOp::Ne),
            BinOp::Lt(_) => Some(CompareOp::Lt),
            BinOp::Le(_) => Some(CompareOp::Le),
            BinOp::Gt(_) => Some(CompareOp::Gt),
            BinOp::Ge(_) => Some(CompareOp::Ge),
            _ => None,
        };
        if let Some(op) = compare(binary.op) {
            let (a, b) = (self.expr(&binary.left), self.expr(&binary.right));
            return Some(self.push(Expr::Compare(op, a?, b?), span));
        }
        let op = match binary.op {
            BinOp::Add(_) => BinaryOp::Add,
            BinOp::Sub(_) => BinaryOp::Sub,
            BinOp::Mul(_) => BinaryOp::Mul,
            BinOp::Div(_) => BinaryOp::Div,
            BinOp::Rem(_) => BinaryOp::Rem,
            BinOp::And(_) => BinaryOp::And,
            BinOp::Or(_) => BinaryOp::Or,
            BinOp::BitAnd(_) | BinOp::BitOr(_) | BinOp::BitXor(_) | BinOp::Shl(_) | BinOp::Shr(_) => {
                return self.fail(
                    binary.op.span(),
                    format!(
                        "the kernel language has no bitwise operators\nhelp: {}",
                        remedies::OF_BITS
                    ),
                );
            }
            _ => return self.fail(binary.op.span(), "an operator cannot assign; name values with `let`"),
        };
        let (a, b) = (self.expr(&binary.left)?, self.expr(&binary.right)?);
        if let (BinaryOp::Div, Expr::Literal(Literal::Int(x)), Expr::Literal(Literal::Int(y))) =
            (op, self.op.expr(a), self.op.expr(b))
            && x.checked_rem(*y) != Some(0)
        {
            let message =
                format!("`{x} / {y}` is not an integer, and integer division truncates\nhelp: write `{x}.0 / {y}.0`");
            return self.fail(span, message);
        }
        Some(self.push(Expr::Binary(op, a, b), span))
    }

    fn cast_element(&mut self, ty: &Type) -> Option<Element> {
        let name = match ungrouped(ty) {
            Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
            _ => None,
        };
        let name = name.unwrap_or_default();
        let found = self.elements.get(&name).copied().or_else(|| Element::from_name(&name));
        if found.is_none() {
            self.errors.at(ty.span(), remedies::of_element(&name));
        }
        found
    }

    fn conditional(&mut self, conditional: &syn::ExprIf) -> Option<ExprId> {
        let span = conditional.span();
        if let syn::Expr::Let(pattern) = conditional.cond.as_ref() {
            return self.fail(pattern.span(), "the kernel language has no patterns; write a condition");
        }
        let condition = self.expr(&conditional.cond);
        let accept = self.block(&conditional.then_branch);
        let Some((_, otherwise)) = &conditional.else_branch else {
            return self.fail(span, "an `if` needs a value in both cases; add `else { … }`");
        };
        let reject = self.expr(otherwise);
        Some(self.push(
            Expr::Select {
                condition: condition?,
                accept: accept?,
                reject: reject?,
            },
            span,
        ))
    }

    // ------------------------------------------------------------------ tensors

    /// `x[[i, j]]`, `x.or(0.0)[[i, j]]`
    fn read(&mut self, index: &syn::ExprIndex) -> Option<ExprId> {
        let span = index.span();
        let syn::Expr::Array(indices) = unwrapped(&index.index) else {
            return self.fail(index.index.span(), "index a tensor with double brackets: `x[[i, j]]`");
        };
        let (tensor, or) = match unwrapped(&index.expr) {
            syn::Expr::MethodCall(call) if call.method == "or" => {
                if call.args.len() != 1 {
                    return self.fail(
                        call.span(),
                        "`or` takes one value, the result of reads outside the tensor: `x.or(0.0)[[…]]`",
                    );
                }
                let or = self.expr(&call.args[0])?;
                (unwrapped(&call.receiver), Some(or))
            }
            tensor => (tensor, None),
        };
        let name = match tensor {
            syn::Expr::Path(path) => path.path.get_ident().map(Ident::to_string),
            _ => None,
        };
        let Some(name) = name else {
            return self.fail(
                tensor.span(),
                "only tensors can be indexed: parameters and `let` closures",
            );
        };
        let is_local = self.scope.iter().any(|(other, _)| *other == name);
        let source = self
            .op
            .lets
            .iter()
            .position(|entry| entry.name == name)
            .map(|at| Source::Let(LetId(at as u32)))
            .or_else(|| {
                let at = self.op.inputs.iter().position(|input| input.name == name)?;
                self.op.inputs[at].dims.as_ref()?;
                Some(Source::Input(InputId(at as u32)))
            })
            .filter(|_| !is_local);
        let Some(source) = source else {
            return self.fail(
                tensor.span(),
                format!("`{name}` is not a tensor; only parameters of type `Tensor` and `let` closures can be indexed"),
            );
        };
        let mut read = Vec::with_capacity(indices.elems.len());
        let mut complete = true;
        for index in &indices.elems {
            match self.expr(index) {
                Some(index) => read.push(index),
                None => complete = false,
            }
        }
        complete.then(|| {
            self.push(
                Expr::Read {
                    source,
                    index: read,
                    or,
                },
                span,
            )
        })
    }

    // ------------------------------------------------------------------ functions

    fn call(&mut self, call: &syn::ExprCall) -> Option<ExprId> {
        let span = call.span();
        let name = match unwrapped(&call.func) {
            syn::Expr::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
            _ => None,
        };
        let Some(name) = name else {
            return self.fail(call.func.span(), "only functions of the kernel language can be called");
        };
        let reduction = reduction_named(&name);
        if let (Some(op), [argument]) = (reduction, call.args.iter().collect::<Vec<_>>().as_slice()) {
            let syn::Expr::Closure(closure) = unwrapped(argument) else {
                return self.fail(
                    argument.span(),
                    format!("`{name}` takes a closure over the axes it reduces: `{name}(|k| …)`"),
                );
            };
            let axes = self.axes(closure)?;
            if axes.is_empty() {
                return self.fail(
                    closure.span(),
                    format!("`{name}` needs an axis to reduce: `{name}(|k| …)`"),
                );
            }
            let body = self.in_scope(closure, &axes)?;
            return Some(self.push(Expr::Reduce { op, axes, body }, span));
        }
        self.function_call(&name, call.func.span(), span, call.args.iter().collect())
    }

    /// `x.exp()`, `a.max(b)`
    fn method(&mut self, call: &syn::ExprMethodCall) -> Option<ExprId> {
        let name = call.method.to_string();
        if name == "or" {
            return self.fail(call.span(), "index the tensor that `or` applies to: `x.or(0.0)[[…]]`");
        }
        let arguments = std::iter::once(call.receiver.as_ref()).chain(&call.args).collect();
        self.function_call(&name, call.method.span(), call.span(), arguments)
    }

    fn function_call(&mut self, name: &str, at: Span, span: Span, arguments: Vec<&syn::Expr>) -> Option<ExprId> {
        let extreme = match name {
            "max" => Some(BinaryOp::Max),
            "min" => Some(BinaryOp::Min),
            _ => None,
        };
        if let Some(op) = extreme {
            let [a, b] = arguments.as_slice() else {
                return self.fail(
                    span,
                    format!("`{name}` takes two values, or a closure over the axes it reduces: `{name}(|k| …)`"),
                );
            };
            let (a, b) = (self.expr(a), self.expr(b));
            return Some(self.push(Expr::Binary(op, a?, b?), span));
        }
        let Some((function, _, count)) = Function::TABLE.into_iter().find(|(_, other, _)| *other == name) else {
            if reduction_named(name).is_some() {
                return self.fail(
                    span,
                    format!("`{name}` takes one closure over the axes it reduces: `{name}(|k| …)`"),
                );
            }
            let remedy = remedies::of_function(name);
            return self.fail(at, format!("unknown function `{name}`\nhelp: {remedy}"));
        };
        if arguments.len() != count {
            return self.fail(span, call_of_another_length(name, count, arguments.len()));
        }
        let values: Vec<Option<ExprId>> = arguments.into_iter().map(|argument| self.expr(argument)).collect();
        let values = values.into_iter().collect::<Option<Vec<_>>>()?;
        Some(self.push(Expr::Call(function, values), span))
    }
}

fn reduction_named(name: &str) -> Option<ReduceOp> {
    Some(match name {
        "sum" => ReduceOp::Sum,
        "prod" => ReduceOp::Prod,
        "max" => ReduceOp::Max,
        "min" => ReduceOp::Min,
        "argmax" => ReduceOp::ArgMax,
        "argmin" => ReduceOp::ArgMin,
        _ => return None,
    })
}
