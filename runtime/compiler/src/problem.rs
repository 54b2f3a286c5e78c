//! The problem that kernels solve.

use crate::check::{Checked, Joined, joined};
use crate::ir::{Op, SizeId};
use crate::size::{SizeExpr, Specialisation};
use crate::target::Machine;
use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

/// An operator, what its kernels assume about sizes and addresses, and the machine that runs them.
///
/// ```
/// # use energy_kernel_compiler::{check::Checked, lang, problem::Problem, schedule, size::Specialisation, target::{Machine, Target}};
/// let source = "fn double(x: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> { |n| x[[n]] * 2.0 }";
/// # let operator = lang::parse(Default::default(), source.parse().unwrap()).unwrap();
/// # let checked = &operator.variants[0].checked;
/// let specialisation = Specialisation::exact(&[4096]);
/// let problem = Problem::new(checked, &specialisation, Machine::like(Target::Sm90));
/// assert!(schedule::space(&problem).iter().any(|point| point.family() == "pointwise"));
/// ```
#[derive(Debug)]
pub struct Problem<'a> {
    /// The operator.
    pub checked: &'a Checked,
    /// What kernels assume about sizes and addresses.
    pub specialisation: &'a Specialisation,
    /// The machine.
    pub machine: Machine,
    /// The shapes that families have found in the operator.
    shapes: Shapes,
    /// The shapes that families have found in the operator with neighbouring axes joined.
    joined_shapes: Shapes,
    /// The sizes as formulas over those of the whole operator, if neighbouring axes are joined.
    formulas: Option<Vec<SizeExpr>>,
}

type Shapes = Arc<Mutex<Vec<Arc<dyn Any + Send + Sync>>>>;

impl<'a> Problem<'a> {
    /// Creates the problem of an operator on a machine.
    pub fn new(checked: &'a Checked, specialisation: &'a Specialisation, machine: Machine) -> Problem<'a> {
        Problem {
            checked,
            specialisation,
            machine,
            shapes: Shapes::default(),
            joined_shapes: Shapes::default(),
            formulas: None,
        }
    }

    /// The operator.
    pub fn op(&self) -> &'a Op {
        self.checked.op()
    }

    /// Calls `of` with the problem as families see it: neighbouring axes are joined where they can be.
    pub(crate) fn with_joined<R>(&self, of: impl FnOnce(&Problem<'_>, Option<&Joined>) -> R) -> R {
        let matches = self.specialisation.extents.len() == self.op().sizes.len();
        match joined(self.checked).filter(|_| matches && self.formulas.is_none()) {
            None => of(self, None),
            Some(joined) => {
                let problem = Problem {
                    checked: &joined.checked,
                    specialisation: &joined.specialisation(self.specialisation),
                    machine: self.machine,
                    shapes: self.joined_shapes.clone(),
                    joined_shapes: Shapes::default(),
                    formulas: Some(joined.formulas(self.specialisation)),
                };
                of(&problem, Some(joined))
            }
        }
    }

    /// A size as a formula over those of the operator as it was written.
    pub(crate) fn formula(&self, size: SizeId) -> SizeExpr {
        let known = self.formulas.as_ref().and_then(|formulas| formulas.get(size.index()));
        known.cloned().unwrap_or(SizeExpr::Size(size))
    }

    /// Returns the shape of this type that a family finds in the operator. `find` is called once for each type.
    pub(crate) fn shape<S: Send + Sync + 'static>(&self, find: impl FnOnce(&Problem<'a>) -> S) -> Arc<S> {
        let known = |shapes: &[Arc<dyn Any + Send + Sync>]| {
            let mut own = shapes.iter().filter_map(|shape| shape.clone().downcast().ok());
            own.next()
        };
        let lock = || self.shapes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shape) = known(&lock()) {
            return shape;
        }
        // Outside the lock: finding one shape may need another.
        let found = Arc::new(find(self));
        let mut shapes = lock();
        known(&shapes).unwrap_or_else(|| {
            shapes.push(found.clone());
            found
        })
    }
}
