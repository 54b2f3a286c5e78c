//! An operator with its arguments on a GPU: kernels of any choice, launched by the runtime, and compared with the reference.

use crate::{Input, POINTS, first_wrong_among};
use energy_kernel::__private::{Call, KernelData, VariantData};
use energy_kernel::tools::{Argument, LoadedKernel, View};
use energy_kernel::{Error, Gpu, Kernel, Result, Schedule, Specialisation, Tensor, bf16, f16};
use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::element::Element;
use energy_kernel_compiler::ir;
use energy_kernel_compiler::lower::lower;
use energy_kernel_compiler::problem;
use energy_kernel_compiler::record::encoding;

/// A tensor of any element type on a GPU.
enum Held {
    F32(Tensor<f32>),
    F16(Tensor<f16>),
    BF16(Tensor<bf16>),
    F64(Tensor<f64>),
    I8(Tensor<i8>),
    U8(Tensor<u8>),
    I32(Tensor<i32>),
    I64(Tensor<i64>),
    Bool(Tensor<bool>),
}

macro_rules! each {
    ($held:expr, $tensor:ident => $value:expr) => {
        match $held {
            Held::F32($tensor) => $value,
            Held::F16($tensor) => $value,
            Held::BF16($tensor) => $value,
            Held::F64($tensor) => $value,
            Held::I8($tensor) => $value,
            Held::U8($tensor) => $value,
            Held::I32($tensor) => $value,
            Held::I64($tensor) => $value,
            Held::Bool($tensor) => $value,
        }
    };
}

fn bytes_of<T: energy_kernel::Element>(tensor: &Tensor<T>) -> Result<Vec<u8>> {
    let width = T::ELEMENT.size() as usize;
    let elements = tensor.to_vec()?;
    let mut bytes = Vec::with_capacity(elements.len() * width);
    for element in elements {
        bytes.extend_from_slice(&element.to_bits().to_le_bytes()[..width]);
    }
    Ok(bytes)
}

impl Held {
    /// Copies elements, as they are stored, to a GPU.
    fn new(gpu: &Gpu, element: Element, shape: &[usize], bytes: &[u8]) -> Result<Held> {
        macro_rules! upload {
            ($variant:ident, $T:ty, $from:expr) => {{
                let elements: Vec<$T> = bytes.chunks_exact(size_of::<$T>()).map($from).collect();
                Held::$variant(Tensor::from_slice(gpu, shape, &elements)?)
            }};
        }
        macro_rules! number {
            ($variant:ident, $T:ty) => {
                upload!($variant, $T, |bytes| <$T>::from_le_bytes(
                    bytes.try_into().expect("chunks have that length")
                ))
            };
        }
        Ok(match element {
            Element::F32 => number!(F32, f32),
            Element::F16 => number!(F16, f16),
            Element::BF16 => number!(BF16, bf16),
            Element::F64 => number!(F64, f64),
            Element::I8 => number!(I8, i8),
            Element::U8 => number!(U8, u8),
            Element::I32 => number!(I32, i32),
            Element::I64 => number!(I64, i64),
            Element::Bool => upload!(Bool, bool, |bytes| bytes[0] != 0),
        })
    }

    fn view(&self) -> View<'_> {
        each!(self, tensor => tensor.into())
    }

    /// The elements as they are stored.
    fn bytes(&self) -> Result<Vec<u8>> {
        each!(self, tensor => bytes_of(tensor))
    }
}

/// An operator with its arguments on a GPU.
pub struct Instance<'a> {
    checked: &'a Checked,
    sizes: Vec<u64>,
    inputs: Vec<Input>,
    held: Vec<Option<Held>>,
}

impl<'a> Instance<'a> {
    /// Copies arguments to a GPU. The sizes are all of the operator's, verified.
    ///
    /// # Errors
    /// An error of the driver.
    pub fn new(gpu: &Gpu, checked: &'a Checked, sizes: Vec<u64>, inputs: Vec<Input>) -> Result<Instance<'a>> {
        let upload = |(input, given): (&ir::Input, &Input)| {
            let Some(dims) = &input.dims else { return Ok(None) };
            let shape: Vec<usize> = dims.iter().map(|size| sizes[size.index()] as usize).collect();
            Held::new(gpu, input.element, &shape, &given.bytes).map(Some)
        };
        let held = std::iter::zip(&checked.op().inputs, &inputs)
            .map(upload)
            .collect::<Result<_>>()?;
        Ok(Instance {
            checked,
            sizes,
            inputs,
            held,
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
        let mut arguments = Vec::new();
        for (held, given) in std::iter::zip(&self.held, &self.inputs) {
            arguments.push(match held {
                Some(held) => each!(held, tensor => Argument::tensor(tensor)),
                None => {
                    let mut bits = [0; 8];
                    bits[..given.bytes.len()].copy_from_slice(&given.bytes);
                    Argument::Scalar(u64::from_le_bytes(bits))
                }
            });
        }
        arguments
    }

    /// Outputs that nothing has been written to yet: every byte is 1.
    ///
    /// # Errors
    /// An error of the driver.
    pub fn outputs(&self, gpu: &Gpu) -> Result<Outputs<'_>> {
        let room = |output: &ir::Output| {
            let extent = |size: &ir::SizeId| self.sizes[size.index()] as usize;
            let shape: Vec<usize> = output.dims.iter().map(extent).collect();
            let bytes = shape.iter().product::<usize>() * output.element.size() as usize;
            Held::new(gpu, output.element, &shape, &vec![1; bytes])
        };
        let held = self.checked.op().outputs.iter().map(room).collect::<Result<_>>()?;
        Ok(Outputs { problem: self, held })
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

    /// Queues the kernel that a call at these sizes uses, of an operator without embedded results.
    ///
    /// # Errors
    /// Those of a call.
    pub fn call(&self, gpu: &Gpu, outputs: &Outputs<'_>) -> Result<()> {
        let operator = encoding::encode(self.checked.op()).map_err(|error| Error::Embedded {
            operator: self.checked.op().name.clone(),
            reason: error.to_string(),
        })?;
        // What the macro embeds lives as long as the program.
        let variants = vec![VariantData {
            types: &[],
            operator: operator.leak(),
            bundle: None,
        }];
        let kernel = Kernel::new(KernelData {
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
    held: Vec<Held>,
}

impl Outputs<'_> {
    fn views(&self) -> Vec<View<'_>> {
        self.held.iter().map(Held::view).collect()
    }

    /// The elements of each output as they are stored.
    ///
    /// # Errors
    /// An error of the driver, or of the work before.
    pub fn bytes(&self) -> Result<Vec<Vec<u8>>> {
        self.held.iter().map(Held::bytes).collect()
    }

    /// The first element that no right kernel may have given; none where all are right.
    ///
    /// # Errors
    /// An error of the driver, or of the work before.
    pub fn first_wrong(&self) -> Result<Option<String>> {
        self.first_wrong_among(POINTS)
    }

    /// [`first_wrong`](Outputs::first_wrong) among about so many elements of each output.
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
