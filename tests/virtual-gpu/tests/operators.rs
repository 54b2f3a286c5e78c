//! The operators of the validation set through `Gpu::open()` on every capability: with the kernels that the runtime chooses, and with
//! others of every family.

#![cfg(target_os = "linux")]

use energy_kernel::__private::{Call, KernelData, VariantData};
use energy_kernel::compiler::check::Checked;
use energy_kernel::compiler::element::Element;
use energy_kernel::compiler::lower::lower;
use energy_kernel::compiler::record::encoding;
use energy_kernel::compiler::schedule;
use energy_kernel::compiler::size::Specialisation;
use energy_kernel::prelude::*;
use energy_kernel::tools::{Argument, View};
use energy_kernel::{Kernel, Result};
use energy_kernel_tests::{Input, OPERATORS, families, first_wrong, operators, random_inputs, random_sizes};
use energy_kernel_virtual_gpu::{PROFILES, Profile, Virtual, is_child};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

/// A tensor of some element type.
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
    Ok(elements
        .iter()
        .flat_map(|element| element.to_bits().to_le_bytes()[..width].to_vec())
        .collect())
}

impl Held {
    fn new(gpu: &Gpu, element: Element, shape: &[usize], bytes: &[u8]) -> Result<Held> {
        macro_rules! upload {
            ($variant:ident, $T:ty, $from:expr) => {{
                let elements: Vec<$T> = bytes.chunks(size_of::<$T>()).map($from).collect();
                Held::$variant(Tensor::from_slice(gpu, shape, &elements)?)
            }};
        }
        macro_rules! number {
            ($variant:ident, $T:ty) => {
                upload!($variant, $T, |bytes| <$T>::from_le_bytes(
                    bytes.try_into().unwrap()
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

    fn bytes(&self) -> Result<Vec<u8>> {
        each!(self, tensor => bytes_of(tensor))
    }
}

/// An operator with its arguments on a device.
struct Problem<'a> {
    checked: &'a Checked,
    sizes: Vec<u64>,
    inputs: Vec<Input>,
    held: Vec<Option<Held>>,
}

impl<'a> Problem<'a> {
    fn new(gpu: &Gpu, checked: &'a Checked, random: &mut StdRng) -> Result<Problem<'a>> {
        let sizes = random_sizes(checked, random);
        let inputs = random_inputs(checked, &sizes, random);
        let upload = |(input, given): (&energy_kernel::compiler::ir::Input, &Input)| {
            let Some(dims) = &input.dims else { return Ok(None) };
            let shape: Vec<usize> = dims.iter().map(|size| sizes[size.index()] as usize).collect();
            Held::new(gpu, input.element, &shape, &given.bytes).map(Some)
        };
        let held = checked
            .op()
            .inputs
            .iter()
            .zip(&inputs)
            .map(upload)
            .collect::<Result<_>>()?;
        Ok(Problem {
            checked,
            sizes,
            inputs,
            held,
        })
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

    fn outputs(&self, gpu: &Gpu) -> Result<Vec<Held>> {
        let room = |output: &energy_kernel::compiler::ir::Output| {
            let shape: Vec<usize> = output
                .dims
                .iter()
                .map(|size| self.sizes[size.index()] as usize)
                .collect();
            let bytes = shape.iter().product::<usize>() * output.element.size() as usize;
            Held::new(gpu, output.element, &shape, &vec![1; bytes])
        };
        self.checked.op().outputs.iter().map(room).collect()
    }

    fn check(&self, outputs: &[Held], what: &str) {
        let bytes: Vec<Vec<u8>> = outputs.iter().map(|held| held.bytes().unwrap()).collect();
        let wrong = first_wrong(self.checked, &self.sizes, &self.inputs, &bytes);
        assert_eq!(wrong, None, "{what} at {:?}", self.sizes);
    }

    /// By the kernel that the runtime chooses.
    fn call(&self, gpu: &Gpu) -> Result<()> {
        let variants = vec![VariantData {
            types: &[],
            operator: encoding::encode(self.checked.op()).unwrap().leak(),
            bundle: None,
        }];
        let kernel = Kernel::new(KernelData {
            name: "an operator",
            package: "a-package",
            variants: variants.leak(),
        });
        let arguments = self.arguments();
        let outputs = self.outputs(gpu)?;
        let views: Vec<View<'_>> = outputs.iter().map(Held::view).collect();
        Call::new(kernel.variant(&[])?, gpu, &arguments)?.launch(&views)?;
        self.check(&outputs, "the runtime's choice");
        Ok(())
    }

    /// By one kernel of each family that takes the operator.
    fn each_family(&self, gpu: &Gpu, profile: &Profile, random: &mut StdRng) -> Result<usize> {
        let machine = gpu.machine();
        let specialisation = match random.random() {
            true => Specialisation::exact(&self.sizes),
            false => Specialisation::like(&self.sizes),
        };
        let arguments = self.arguments();
        let mut count = 0;
        for points in families(&schedule::space(self.checked, &specialisation, machine)) {
            let point = points.choose(random).unwrap();
            let kernel = lower(self.checked, &specialisation, machine, point).unwrap();
            assert!(kernel.launch.dynamic_shared <= profile.most_shared());
            let outputs = self.outputs(gpu)?;
            let views: Vec<View<'_>> = outputs.iter().map(Held::view).collect();
            let loaded = gpu.compile(&kernel)?;
            // SAFETY: lowered above from this operator and specialisation, with tensors of its sizes.
            unsafe { loaded.prepare(self.checked, &specialisation, &self.sizes, &arguments, &views) }?.launch()?;
            self.check(&outputs, &point.to_string());
            count += 1;
        }
        Ok(count)
    }
}

#[test]
fn the_validation_set_runs_on_every_capability() {
    const NAME: &str = "the_validation_set_runs_on_every_capability";
    if !is_child() {
        let run = |profile: &'static Profile| move || Virtual::new(&profile.version()).run(NAME).clean().executed;
        let kernels: u64 = std::thread::scope(|scope| {
            let runs: Vec<_> = PROFILES.iter().map(|profile| scope.spawn(run(profile))).collect();
            runs.into_iter().map(|run| run.join().unwrap()).sum()
        });
        assert!(kernels > 600, "{kernels}");
        return;
    }
    let gpu = Gpu::open().unwrap();
    let (major, minor) = gpu.device_class().compute_capability;
    let place = PROFILES
        .iter()
        .position(|profile| profile.capability == (major, minor))
        .unwrap();
    let mut random = StdRng::seed_from_u64(place as u64);
    for (number, (name, checked)) in operators(OPERATORS).iter().enumerate() {
        let problem = Problem::new(&gpu, checked, &mut random).unwrap();
        let told = |error: Error| -> usize { panic!("{name} at {:?}: {error}", problem.sizes) };
        problem.call(&gpu).map(|()| 0).unwrap_or_else(told);
        // Each capability has a part of the set.
        if number % PROFILES.len() == place {
            problem
                .each_family(&gpu, &PROFILES[place], &mut random)
                .unwrap_or_else(told);
        }
    }
}
