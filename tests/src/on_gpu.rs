//! Runs any kernel of an operator on a GPU through the runtime, and compares the outputs with the reference.

use crate::{Input, POINTS, first_wrong_among};
use energy_kernel::__private::{Call, OperatorData, VariantData};
use energy_kernel::tools::{Argument, Buffer, LoadedKernel, Operand, View};
use energy_kernel::{Error, Gpu, Operator, Result, Schedule, Specialisation};
use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::ir;
use energy_kernel_compiler::lower::lower;
use energy_kernel_compiler::problem;
use energy_kernel_compiler::record::encoding;

/// An operator with its arguments on a GPU.
pub struct Instance<'a> {
    checked: &'a Checked,
    sizes: Vec<u64>,
    inputs: Vec<Input>,
    operands: Vec<Operand>,
}

impl<'a> Instance<'a> {
    /// Copies arguments to a GPU. `sizes` are all sizes of the operator, and verified.
    ///
    /// # Errors
    /// An error of the driver.
    pub fn new(gpu: &Gpu, checked: &'a Checked, sizes: Vec<u64>, inputs: Vec<Input>) -> Result<Instance<'a>> {
        let upload = |(input, given): (&ir::Input, &Input)| {
            let dims = input.dims.iter().flatten();
            let shape: Vec<usize> = dims.map(|size| sizes[size.index()] as usize).collect();
            Operand::new(gpu, input, &shape, &given.bytes)
        };
        let operands = std::iter::zip(&checked.op().inputs, &inputs)
            .map(upload)
            .collect::<Result<_>>()?;
        Ok(Instance {
            checked,
            sizes,
            inputs,
            operands,
        })
    }

    /// The operator.
    pub fn checked(&self) -> &'a Checked {
        self.checked
    }

    /// All sizes.
    pub fn sizes(&self) -> &[u64] {
        &self.sizes
    }

    fn arguments(&self) -> Vec<Argument<'_>> {
        self.operands.iter().map(Operand::argument).collect()
    }

    /// Allocates outputs whose bytes are all 1.
    ///
    /// # Errors
    /// An error of the driver.
    pub fn outputs(&self, gpu: &Gpu) -> Result<Outputs<'_>> {
        let room = |output: &ir::Output| {
            let extent = |size: &ir::SizeId| self.sizes[size.index()] as usize;
            let shape: Vec<usize> = output.dims.iter().map(extent).collect();
            let bytes = shape.iter().product::<usize>() * output.element.size() as usize;
            Buffer::from_bytes(gpu, output.element, &shape, &vec![1; bytes])
        };
        let buffers = self.checked.op().outputs.iter().map(room).collect::<Result<_>>()?;
        Ok(Outputs { problem: self, buffers })
    }

    /// Loads the kernel of a schedule.
    ///
    /// # Errors
    /// The schedule is not legal; the driver rejects the kernel, or fails.
    ///
    /// # Panics
    /// The specialisation does not accept the problem's sizes.
    pub fn load(&self, gpu: &Gpu, specialisation: &Specialisation, schedule: &Schedule) -> Result<Loaded<'_>> {
        assert!(
            specialisation.accepts(&self.sizes),
            "{specialisation:?} {:?}",
            self.sizes
        );
        let kernel = lower(
            &problem::Problem::new(self.checked, specialisation, gpu.machine()),
            schedule,
        )
        .map_err(|error| Error::Lower {
            operator: self.checked.op().name.clone(),
            reason: error.to_string(),
        })?;
        Ok(Loaded {
            problem: self,
            kernel: gpu.compile(&kernel)?,
        })
    }

    /// Queues the kernel that a call without embedded results uses.
    ///
    /// # Errors
    /// Those of a call.
    pub fn call(&self, gpu: &Gpu, outputs: &Outputs<'_>) -> Result<()> {
        let operator = encoding::encode(self.checked.op()).map_err(|error| Error::Embedded {
            operator: self.checked.op().name.clone(),
            reason: error.to_string(),
        })?;
        // The runtime expects static data, as the macro embeds it.
        let variants = vec![VariantData {
            types: &[],
            operator: operator.leak(),
            bundle: None,
        }];
        let kernel = Operator::new(OperatorData {
            name: "an operator",
            package: "a-package",
            variants: variants.leak(),
        });
        Call::new(kernel.variant(&[])?, gpu, &self.arguments())?.launch(&outputs.views())
    }
}

/// Outputs of a problem on a GPU.
pub struct Outputs<'p> {
    problem: &'p Instance<'p>,
    buffers: Vec<Buffer>,
}

impl Outputs<'_> {
    fn views(&self) -> Vec<View<'_>> {
        self.buffers.iter().map(Buffer::view).collect()
    }

    /// The elements of each output as they are stored.
    ///
    /// # Errors
    /// An error of the driver, or of the work before.
    pub fn bytes(&self) -> Result<Vec<Vec<u8>>> {
        self.buffers.iter().map(Buffer::to_bytes).collect()
    }

    /// The first element outside the reference's error bound.
    ///
    /// # Errors
    /// An error of the driver, or of the work before.
    pub fn first_wrong(&self) -> Result<Option<String>> {
        self.first_wrong_among(POINTS)
    }

    /// [`first_wrong`](Outputs::first_wrong) among about `points` elements of each output.
    ///
    /// # Errors
    /// An error of the driver, or of the work before.
    pub fn first_wrong_among(&self, points: u64) -> Result<Option<String>> {
        let Instance {
            checked, sizes, inputs, ..
        } = self.problem;
        Ok(first_wrong_among(checked, sizes, inputs, &self.bytes()?, points))
    }
}

/// A kernel of a problem on a GPU.
pub struct Loaded<'p> {
    problem: &'p Instance<'p>,
    kernel: LoadedKernel,
}

impl Loaded<'_> {
    /// Queues a launch.
    ///
    /// # Errors
    /// An error of the driver.
    ///
    /// # Panics
    /// The outputs are another problem's.
    pub fn launch(&self, outputs: &Outputs<'_>) -> Result<()> {
        let problem = self.problem;
        assert!(std::ptr::eq(problem, outputs.problem), "outputs of another problem");
        let (arguments, views) = (problem.arguments(), outputs.views());
        let Instance { checked, sizes, .. } = problem;
        // SAFETY: the kernel was lowered from this operator, for a specialisation that accepts the sizes; the tensors were made for them.
        let prepared = unsafe { self.kernel.prepare(checked, sizes, &arguments, &views) }?;
        prepared.launch()
    }
}
