//! The problem that kernels solve.

use crate::check::Checked;
use crate::ir::Op;
use crate::size::Specialisation;
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
    shapes: Mutex<Vec<Arc<dyn Any + Send + Sync>>>,
}

impl<'a> Problem<'a> {
    /// Creates the problem of an operator on a machine.
    pub const fn new(checked: &'a Checked, specialisation: &'a Specialisation, machine: Machine) -> Problem<'a> {
        Problem {
            checked,
            specialisation,
            machine,
            shapes: Mutex::new(Vec::new()),
        }
    }

    /// The operator.
    pub fn op(&self) -> &'a Op {
        self.checked.op()
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
