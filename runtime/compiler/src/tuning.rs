//! The sizes that an operator is tuned for, and the choice of a tuned kernel for a call.

use crate::check::{CallError, Checked, joined};
use crate::families::attention::head_sizes;
use crate::ir::{Expr, ExprId, Op, SizeId, Source};
use crate::size::{Extent, SizeExpr, Specialisation};
use bincode::{Decode, Encode};

/// The `tune(…)` clauses of an operator.
///
/// A size that has the same single value in all clauses is compiled in. Any other size is a kernel
/// argument of any value. Every combination of a clause's values is a *bucket*, which is tuned separately.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Tuning {
    /// The sizes of each clause with their values.
    pub clauses: Vec<Vec<(SizeId, Vec<u64>)>>,
}

/// The value of sizes that no clause names, while tuning.
pub const UNNAMED: u64 = 1024;

/// The most buckets of an operator.
const MAXIMUM_BUCKETS: usize = 4096;

impl Tuning {
    /// `true` if there are no clauses.
    pub fn is_empty(&self) -> bool {
        self.clauses.is_empty()
    }

    /// Returns the specialisation of tuned kernels.
    ///
    /// # Errors
    /// A bucket without valid sizes.
    pub fn specialisation(&self, checked: &Checked) -> Result<Specialisation, CallError> {
        let op = checked.op();
        let mut extents: Vec<Extent> = Vec::with_capacity(op.sizes.len());
        for (number, size) in op.sizes.iter().enumerate() {
            let extent = match &size.definition {
                None => self.extent(SizeId(number as u32)),
                Some(formula) => derived(formula, &extents),
            };
            extents.push(extent);
        }
        let mut wide = false;
        for sizes in self.buckets(checked)? {
            wide |= is_wide(checked, &sizes);
        }
        Ok(Specialisation {
            extents,
            aligned: true,
            wide,
            check_indices: false,
        })
    }

    fn extent(&self, size: SizeId) -> Extent {
        let mut values: Vec<u64> = self
            .clauses
            .iter()
            .flatten()
            .filter(|(named, _)| *named == size)
            .flat_map(|(_, values)| values.iter().copied())
            .collect();
        values.sort_unstable();
        values.dedup();
        let everywhere = self
            .clauses
            .iter()
            .all(|clause| clause.iter().any(|(named, _)| *named == size));
        match values.as_slice() {
            [] => Extent::Any { multiple_of: 1 },
            [one] if everywhere => Extent::Fixed(*one),
            _ => Extent::Any { multiple_of: 1 },
        }
    }

    /// Returns the sizes that some clause does not name, in the order of [`Op::sizes`](crate::ir::Op::sizes). [`UNNAMED`] is assumed for them.
    pub fn unnamed(&self, checked: &Checked) -> Vec<SizeId> {
        let free = checked.op().sizes.iter().take_while(|size| size.definition.is_none());
        let ids = (0..free.count()).map(|number| SizeId(number as u32));
        ids.filter(|id| {
            let names_it = |clause: &Vec<(SizeId, Vec<u64>)>| clause.iter().any(|(named, _)| named == id);
            !self.clauses.iter().all(names_it)
        })
        .collect()
    }

    /// Returns all sizes of each bucket (in the order of [`Op::sizes`](crate::ir::Op::sizes)), in the clauses' order, each bucket once.
    ///
    /// # Errors
    /// A derived size without a valid value, or more than 4096 buckets.
    pub fn buckets(&self, checked: &Checked) -> Result<Vec<Vec<u64>>, CallError> {
        let free = checked
            .op()
            .sizes
            .iter()
            .take_while(|size| size.definition.is_none())
            .count();
        let mut buckets: Vec<Vec<u64>> = Vec::new();
        for clause in &self.clauses {
            let mut points = vec![vec![UNNAMED; free]];
            for (size, values) in clause {
                if points.len().saturating_mul(values.len()) > MAXIMUM_BUCKETS {
                    return Err(CallError::Buckets { most: MAXIMUM_BUCKETS });
                }
                points = points
                    .iter()
                    .flat_map(|point| {
                        values.iter().map(|&value| {
                            let mut point = point.clone();
                            if let Some(slot) = point.get_mut(size.index()) {
                                *slot = value;
                            }
                            point
                        })
                    })
                    .collect();
            }
            for point in points {
                let sizes = checked.derive(point)?;
                if !buckets.contains(&sizes) {
                    buckets.push(sizes);
                }
                if buckets.len() > MAXIMUM_BUCKETS {
                    return Err(CallError::Buckets { most: MAXIMUM_BUCKETS });
                }
            }
        }
        Ok(buckets)
    }
}

/// The number of elements of a tensor or terms of a reduction that needs 64-bit indices. It is below 2³¹ because loop counters step past
/// their end, by less than 2¹⁴ in any family.
const WIDE: u64 = (1 << 31) - (1 << 14);

/// The most terms of a slab. Tiles count the terms of an inner sum in whole slabs.
const SLAB: u64 = 128;

/// `true` if indices need 64 bits at these sizes: a tensor has about 2³¹ elements or more, a reduction has as
/// many terms, or one inside of another, or an index value does not fit `i32`.
pub fn is_wide(checked: &Checked, sizes: &[u64]) -> bool {
    let op = checked.op();
    let volume = |dims: &[SizeId]| {
        dims.iter()
            .map(|size| sizes.get(size.index()).copied().unwrap_or(1))
            .fold(1u64, u64::saturating_mul)
    };
    let inputs = op.inputs.iter().filter_map(|input| input.dims.as_deref());
    let outputs = op.outputs.iter().map(|output| output.dims.as_slice());
    let terms = |expr: &Expr| match expr {
        Expr::Reduce { axes, .. } => volume(&axes.iter().map(|&axis| checked.extent(axis)).collect::<Vec<_>>()),
        _ => 1,
    };
    let nested = |expr: &Expr| match expr {
        Expr::Reduce { body, .. } => {
            let inner = reductions_in(op, *body).into_iter().map(|inner| terms(op.expr(inner)));
            let padded = inner.map(|inner| inner.max(1).div_ceil(SLAB).saturating_mul(SLAB));
            terms(expr).saturating_mul(padded.max().unwrap_or(1))
        }
        _ => 1,
    };
    inputs.chain(outputs).any(|dims| volume(dims) >= WIDE)
        || sizes.iter().any(|&size| size >= WIDE)
        || joined(checked).is_some_and(|joined| joined.sizes_at(sizes).iter().any(|&size| size >= WIDE))
        || op.exprs.iter().any(|expr| nested(expr) >= WIDE)
        || !checked.index_values_fit(sizes)
}

/// The reductions in an expression, also in the intermediate tensors that it reads, but none inside of those.
fn reductions_in(op: &Op, expr: ExprId) -> Vec<ExprId> {
    let mut seen = vec![false; op.exprs.len()];
    let mut waiting = vec![expr];
    let mut found = Vec::new();
    while let Some(expr) = waiting.pop() {
        if std::mem::replace(&mut seen[expr.index()], true) {
            continue;
        }
        match *op.expr(expr) {
            Expr::Reduce { .. } => found.push(expr),
            Expr::Read {
                source: Source::Let(inner),
                ..
            } => {
                waiting.push(op.lets[inner.index()].body);
                op.operands(expr, |operand| waiting.push(operand));
            }
            _ => op.operands(expr, |operand| waiting.push(operand)),
        }
    }
    found
}

/// Returns the bucket for a call of these sizes: the nearest of those that are at least as large in every size, otherwise the nearest of
/// all. The distance is the sum of the logarithms of the sizes' ratios. The earlier of equals wins.
pub fn choose<B: AsRef<[u64]>>(buckets: &[B], sizes: &[u64]) -> Option<usize> {
    let fits = |bucket: &[u64]| bucket.iter().zip(sizes).all(|(b, s)| b >= s);
    let distance = |bucket: &[u64]| -> f64 {
        bucket
            .iter()
            .zip(sizes)
            .map(|(&b, &s)| ((b.max(1) as f64) / (s.max(1) as f64)).ln().abs())
            .sum()
    };
    let nearest = |candidates: &mut dyn Iterator<Item = usize>| {
        candidates.min_by(|&a, &b| distance(buckets[a].as_ref()).total_cmp(&distance(buckets[b].as_ref())))
    };
    nearest(&mut (0..buckets.len()).filter(|&at| fits(buckets[at].as_ref())))
        .or_else(|| nearest(&mut (0..buckets.len())))
}

/// Returns the specialisation of untuned kernels. It assumes only the alignment of sizes, so that one kernel serves many calls, and
/// compiles in constants of `dims(…)`, and the features of attention's heads, which a model has one number of. Tensors are aligned, and indices
/// have 32 bits.
pub fn untuned(checked: &Checked, sizes: &[u64]) -> Specialisation {
    let mut specialisation = Specialisation::like(sizes);
    for (size, extent) in checked.op().sizes.iter().zip(&mut specialisation.extents) {
        if let Some(constant) = &size.definition
            && let fixed @ Extent::Fixed(_) = derived(constant, &[])
        {
            *extent = fixed;
        }
    }
    for size in head_sizes(checked, sizes).into_iter().flatten() {
        if let (Some(extent), Some(&value)) = (specialisation.extents.get_mut(size.index()), sizes.get(size.index())) {
            *extent = Extent::Fixed(value);
        }
    }
    specialisation
}

/// Returns the extent of a derived size. It is compiled in if all sizes that it depends on are.
fn derived(formula: &SizeExpr, extents: &[Extent]) -> Extent {
    fn fixed(formula: &SizeExpr, extents: &[Extent]) -> bool {
        match formula {
            SizeExpr::Const(_) => true,
            SizeExpr::Size(size) => extents.get(size.index()).is_some_and(|extent| extent.fixed().is_some()),
            SizeExpr::Binary(_, a, b) => fixed(a, extents) && fixed(b, extents),
        }
    }
    let values: Vec<u64> = extents.iter().map(|extent| extent.fixed().unwrap_or(0)).collect();
    let value = fixed(formula, extents).then(|| formula.evaluate(&values).ok());
    match value.flatten().and_then(|value| u64::try_from(value).ok()) {
        Some(value) => Extent::Fixed(value),
        None => Extent::Any { multiple_of: 1 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_larger_bucket_else_the_largest() {
        let buckets = [vec![1], vec![16], vec![256]];
        let chosen = |size: u64| choose(&buckets, &[size]);
        assert_eq!(chosen(1), Some(0));
        assert_eq!(chosen(2), Some(1));
        assert_eq!(chosen(16), Some(1));
        assert_eq!(chosen(17), Some(2));
        assert_eq!(chosen(100_000), Some(2));
        assert_eq!(choose::<Vec<u64>>(&[], &[1]), None);
    }

    #[test]
    #[cfg(feature = "syn")]
    fn terms_of_groups_count_in_whole_slabs() {
        let source = "fn f(x: Tensor<i8, (M, C, I)>, w: Tensor<i8, (N, C, I)>) -> Tensor<f32, (M, N)> {
            let group = |m, n, c| sum(|i| x[[m, c, i]] * w[[n, c, i]]) as f32;
            |m, n| sum(|c| group[[m, n, c]])
        }";
        let operator = crate::lang::parse(Default::default(), source.parse().unwrap()).unwrap();
        let checked = &operator.variants[0].checked;
        let is_wide = |groups: u64, terms: u64| is_wide(checked, &checked.derive(vec![1, groups, terms, 1]).unwrap());
        assert!(!is_wide(1 << 23, 1));
        assert!(is_wide(1 << 24, 1));
        assert!(!is_wide(1 << 23, 128));
        assert!(is_wide(1 << 23, 129));
    }

    #[test]
    #[cfg(feature = "syn")]
    fn sizes_that_a_clause_does_not_name_are_known() {
        let unnamed = |attribute: &str| {
            let source = "fn f(x: Tensor<f32, (M, N)>) -> Tensor<f32, (M, H)> { |m, h| x[[m, h * 2]] }";
            let attribute = format!("dims(H = N / 2), {attribute}").parse().unwrap();
            let operator = crate::lang::parse(attribute, source.parse().unwrap()).unwrap();
            let checked = &operator.variants[0].checked;
            let names = operator.tuning.unnamed(checked).into_iter();
            names
                .map(|id| checked.op().sizes[id.index()].name.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(unnamed("tune(M = 4, N = 8)"), [""; 0]);
        assert_eq!(unnamed("tune(M = 4)"), ["N"]);
        assert_eq!(unnamed("tune()"), ["M", "N"]);
        assert_eq!(
            unnamed("tune(M = 4, N = 8), tune(N = [1, 2])"),
            ["M"],
            "in one of two clauses"
        );
        assert_eq!(unnamed(""), [""; 0], "nothing is tuned");
    }

    #[test]
    #[cfg(feature = "syn")]
    fn constants_are_compiled_into_untuned_kernels() {
        let source = "fn f(x: Tensor<f32, (N,)>) -> Tensor<f32, (M,)> { |i| max(|t: TAPS| x[[i * 2 + t]]) }";
        let attribute = "dims(TAPS = 2 + 1, M = (N - TAPS) / 2 + 1)".parse().unwrap();
        let operator = crate::lang::parse(attribute, source.parse().unwrap()).unwrap();
        let checked = &operator.variants[0].checked;
        let sizes = checked.derive(vec![24]).unwrap();
        let any = |multiple_of| Extent::Any { multiple_of };
        assert_eq!(untuned(checked, &sizes).extents, [any(8), Extent::Fixed(3), any(1)]);
    }

    #[test]
    fn of_several_sizes_the_nearest_that_is_large_enough() {
        let buckets = [vec![16, 4096], vec![256, 256], vec![16, 16]];
        assert_eq!(choose(&buckets, &[10, 200]), Some(0));
        assert_eq!(choose(&buckets, &[100, 200]), Some(1));
        assert_eq!(choose(&buckets, &[1000, 1000]), Some(1));
    }
}
