//! A call of an operator: from arguments to a launch.
//!
//! The first call with certain shapes checks them, chooses a kernel, loads it and works out the launch; the result, a
//! [`Ready`], is kept under the shapes. Every later call finds it by them, which also proves that they are right, and only
//! fills in addresses and scalars: no allocation, no waiting.

use crate::bound::Bound;
use crate::choice::{self, Choice, Need};
use crate::device::{Loaded, Storage};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::kernel::Variant;
use crate::plan::Plan;
use crate::tensor::Tensor;
use energy_kernel_compiler::element::Element as Id;
use energy_kernel_compiler::ir::{Input, Op, SizeId};
use energy_kernel_compiler::size::Sizes;
use std::collections::HashMap;
use std::sync::Arc;

/// An argument of an operator.
#[derive(Clone, Copy)]
pub enum Argument<'a> {
    /// A tensor.
    Tensor(View<'a>),
    /// A scalar: its bytes in the lowest places.
    Scalar(u64),
}

/// A tensor as an argument.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub(crate) storage: &'a Arc<Storage>,
    address: u64,
    bytes: u64,
    shape: &'a [usize],
    element: Id,
}

impl<'a, T: Element> From<&'a Tensor<T>> for View<'a> {
    fn from(tensor: &'a Tensor<T>) -> View<'a> {
        View {
            storage: tensor.storage(),
            address: tensor.address(),
            bytes: tensor.bytes(),
            shape: tensor.shape(),
            element: T::ELEMENT,
        }
    }
}

impl<'a> Argument<'a> {
    /// A tensor.
    pub fn tensor<T: Element>(tensor: &'a Tensor<T>) -> Argument<'a> {
        Argument::Tensor(tensor.into())
    }

    /// A scalar.
    pub fn scalar<T: Element>(value: T) -> Argument<'a> {
        Argument::Scalar(value.to_bits())
    }

    /// The address of a tensor, or a scalar's bytes.
    pub(crate) fn word(&self) -> u64 {
        match self {
            Argument::Tensor(view) => view.address,
            Argument::Scalar(bits) => *bits,
        }
    }

    pub(crate) fn view(&self) -> Option<&View<'a>> {
        match self {
            Argument::Tensor(view) => Some(view),
            Argument::Scalar(_) => None,
        }
    }
}

impl<'a> View<'a> {
    /// A tensor that fills a storage.
    pub(crate) fn new(storage: &'a Arc<Storage>, shape: &'a [usize], element: Id) -> View<'a> {
        View {
            storage,
            address: storage.address,
            bytes: storage.bytes,
            shape,
            element,
        }
    }
}

impl View<'_> {
    pub(crate) fn address(&self) -> u64 {
        self.address
    }

    fn is_aligned(&self) -> bool {
        self.bytes == 0 || self.address.is_multiple_of(16)
    }

    fn overlaps(&self, other: &View<'_>) -> bool {
        self.bytes > 0
            && other.bytes > 0
            && Arc::ptr_eq(self.storage, other.storage)
            && self.address < other.address + other.bytes
            && other.address < self.address + self.bytes
    }
}

/// What is kept of the calls seen, by a hash of operator, flags and shapes.
pub(crate) type ReadyMap = HashMap<u64, Vec<Arc<Ready>>>;

/// Calls of different shapes that are kept. A program that sees more of them works some out again.
const MOST_READY: usize = 1 << 15;

/// A call that has been worked out.
pub(crate) struct Ready {
    key: Key,
    plan: Plan,
    /// The shapes of the outputs.
    outputs: Box<[Box<[usize]>]>,
    work: Work,
}

/// What tells calls apart.
#[derive(Debug, PartialEq)]
struct Key {
    operator: u64,
    aligned: bool,
    check_indices: bool,
    /// The shapes of the tensor inputs.
    inputs: Box<[Box<[usize]>]>,
}

enum Work {
    /// An output is empty, and with it all of them: nothing to do.
    Nothing,
    Launch {
        loaded: Arc<Loaded>,
        bound: Bound,
    },
}

/// A call, its inputs given: what the generated functions make.
pub struct Call<'a> {
    variant: &'a Variant,
    gpu: &'a Gpu,
    inputs: &'a [Argument<'a>],
    ready: Arc<Ready>,
}

impl<'a> Call<'a> {
    /// Works the call out, or finds that it has been.
    ///
    /// # Errors
    /// Inputs that do not fit the operator or the device, or no kernel for them.
    pub fn new(variant: &'a Variant, gpu: &'a Gpu, inputs: &'a [Argument<'a>]) -> Result<Call<'a>> {
        for (position, view) in inputs
            .iter()
            .enumerate()
            .filter_map(|(at, input)| Some((at, input.view()?)))
        {
            if !gpu.device().reaches(view.storage) {
                return Err(wrong_device(variant, gpu, input_name(variant, position), view));
            }
        }
        let aligned = inputs.iter().filter_map(Argument::view).all(View::is_aligned);
        Ok(Call {
            ready: ready(variant, gpu, inputs, aligned)?,
            variant,
            gpu,
            inputs,
        })
    }

    /// A tensor for an output. The launch writes all of it.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], or an error of the driver.
    pub fn output<T: Element>(&self, position: usize) -> Result<Tensor<T>> {
        match self.ready.outputs.get(position) {
            Some(shape) => Tensor::uninitialised(self.gpu, shape),
            None => Err(Error::Embedded {
                operator: self.variant.name().to_owned(),
                reason: format!("it has no output {position}"),
            }),
        }
    }

    /// Queues the launch.
    ///
    /// # Errors
    /// Outputs of another shape or device, or that overlap another argument; an error of the driver.
    pub fn launch(mut self, outputs: &[View<'_>]) -> Result<()> {
        self.check(outputs)?;
        if self.ready.key.aligned && !outputs.iter().all(View::is_aligned) {
            self.ready = ready(self.variant, self.gpu, self.inputs, false)?;
        }
        let Work::Launch { loaded, bound } = &self.ready.work else {
            return Ok(());
        };
        let operator = self.variant.name();
        let launches = bound.launches(operator, self.inputs, outputs)?;
        let inputs = self.inputs.iter().filter_map(Argument::view);
        let storages = inputs.chain(outputs).map(|view| view.storage);
        (self.gpu.device()).launch(operator, loaded, &launches, bound.zeroed(), storages)
    }

    fn check(&self, outputs: &[View<'_>]) -> Result<()> {
        let operator = || self.variant.name().to_owned();
        let op = self.variant.checked.op();
        if outputs.len() != self.ready.outputs.len() {
            return Err(Error::Embedded {
                operator: operator(),
                reason: format!("it has {} outputs, not {}", self.ready.outputs.len(), outputs.len()),
            });
        }
        for (position, (output, expected)) in outputs.iter().zip(&self.ready.outputs).enumerate() {
            if output.shape != &**expected {
                return Err(Error::OutputShape {
                    operator: operator(),
                    output: position,
                    expected: expected.to_vec(),
                    found: output.shape.to_vec(),
                });
            }
            if output.element != op.outputs[position].element {
                return Err(Error::ElementTypes {
                    operator: operator(),
                    types: format!("output {position} of {}", output.element),
                });
            }
            if !self.gpu.device().reaches(output.storage) {
                let name = format!("output {position}");
                return Err(wrong_device(self.variant, self.gpu, name, output));
            }
            let overlap = |other: String| Error::Overlap {
                operator: operator(),
                output: position,
                other,
            };
            for (at, input) in self.inputs.iter().enumerate() {
                if input.view().is_some_and(|view| output.overlaps(view)) {
                    return Err(overlap(input_name(self.variant, at)));
                }
            }
            if let Some(other) = outputs[..position].iter().position(|other| output.overlaps(other)) {
                return Err(overlap(format!("output {other}")));
            }
        }
        Ok(())
    }
}

fn wrong_device(variant: &Variant, gpu: &Gpu, tensor: String, view: &View<'_>) -> Error {
    let (expected, found) = (gpu.device().describe(), view.storage.describe());
    Error::WrongDevice {
        operator: variant.name().to_owned(),
        tensor,
        found: match expected == found {
            true => format!("another instance of {found}"),
            false => found,
        },
        expected,
    }
}

fn input_name(variant: &Variant, position: usize) -> String {
    match variant.checked.op().inputs.get(position) {
        Some(input) => format!("`{}`", input.name),
        None => format!("argument {position}"),
    }
}

/// The call with these inputs, found or worked out.
fn ready(variant: &Variant, gpu: &Gpu, inputs: &[Argument<'_>], aligned: bool) -> Result<Arc<Ready>> {
    let check_indices = gpu.checks_indices();
    let shapes = || inputs.iter().filter_map(Argument::view).map(|view| view.shape);
    let hash = hash(variant.number, aligned, check_indices, shapes());
    let same = |ready: &&Arc<Ready>| {
        let key = &ready.key;
        (key.operator, key.aligned, key.check_indices) == (variant.number, aligned, check_indices)
            && key.inputs.iter().map(|shape| &**shape).eq(shapes())
    };
    let found = gpu.ready().get(&hash).and_then(|all| all.iter().find(same).cloned());
    if let Some(found) = found {
        return Ok(found);
    }
    check_arguments(variant.checked.op(), inputs)?;
    let wide: Vec<Vec<u64>> = shapes()
        .map(|shape| shape.iter().map(|&size| size as u64).collect())
        .collect();
    let wide: Vec<&[u64]> = wide.iter().map(Vec::as_slice).collect();
    let sizes = variant
        .checked
        .sizes_of(&wide)
        .map_err(|problem| variant.call_error(problem))?;
    variant
        .checked
        .verify(&sizes)
        .map_err(|problem| variant.call_error(problem))?;
    work_out(variant, gpu, &sizes, aligned)
}

/// That the arguments are of the operator's types: the generated functions see to it, tools may not.
pub(crate) fn check_arguments(op: &Op, inputs: &[Argument<'_>]) -> Result<()> {
    let fits = |(argument, input): (&Argument<'_>, &Input)| match argument {
        Argument::Tensor(view) => input.dims.is_some() && view.element == input.element,
        Argument::Scalar(_) => input.dims.is_none(),
    };
    match op.inputs.len() == inputs.len() && inputs.iter().zip(&op.inputs).all(fits) {
        true => Ok(()),
        false => Err(Error::ElementTypes {
            operator: op.name.clone(),
            types: "these arguments".to_owned(),
        }),
    }
}

/// What a call of these sizes needs, worked out and kept. The sizes have been verified.
pub(crate) fn work_out(variant: &Variant, gpu: &Gpu, sizes: &[u64], aligned: bool) -> Result<Arc<Ready>> {
    let need = Need::of(variant, sizes, aligned, gpu.checks_indices());
    let mut plan = Plan::new(choice::choose(variant, gpu, sizes, need)?);
    let work = match work(variant, gpu, plan.choice()) {
        // The untuned kernel needs neither the tuned one's code nor its memory. An unprepared kernel is the program's mistake.
        Err(error) if plan.is_tuned() && !matches!(error, Error::Unprepared { .. }) => {
            let reason = gpu.refuse(&plan.choice().key, &error);
            if gpu.is_news(variant.name(), &reason) {
                tracing::warn!(operator = variant.name(), %error, "a tuned kernel cannot be loaded; the untuned one runs");
            }
            plan = Plan::new(choice::default(variant, gpu, sizes, need, reason)?);
            self::work(variant, gpu, plan.choice())?
        }
        work => work?,
    };
    let op = variant.checked.op();
    let shape = |dims: &[SizeId]| -> Result<Box<[usize]>> {
        let dims = dims
            .iter()
            .map(|size| sizes.get(size.index()).copied().unwrap_or(0) as usize);
        let dims: Box<[usize]> = dims.collect();
        crate::host::volume(&dims)?;
        Ok(dims)
    };
    let ready = Arc::new(Ready {
        key: Key {
            operator: variant.number,
            aligned,
            check_indices: need.check_indices,
            inputs: op
                .inputs
                .iter()
                .filter_map(|i| Some(shape(i.dims.as_deref()?)))
                .collect::<Result<_>>()?,
        },
        outputs: op
            .outputs
            .iter()
            .map(|output| shape(&output.dims))
            .collect::<Result<_>>()?,
        work,
        plan,
    });
    let key = &ready.key;
    let hash = hash(
        key.operator,
        key.aligned,
        key.check_indices,
        key.inputs.iter().map(|shape| &**shape),
    );
    gpu.add_ready(|map| {
        if map.len() >= MOST_READY {
            map.clear();
        }
        let all = map.entry(hash).or_default();
        match all.iter_mut().find(|known| known.key == *key) {
            Some(known) => *known = ready.clone(),
            None => all.push(ready.clone()),
        }
    });
    Ok(ready)
}

fn work(variant: &Variant, gpu: &Gpu, choice: &Choice) -> Result<Work> {
    let bound = Bound::new(gpu, variant.checked.op(), &choice.kernel, &choice.sizes)?;
    if bound.is_empty() {
        return Ok(Work::Nothing);
    }
    let loaded = gpu.load(&choice.key, || gpu.device().load(&choice.kernel))?;
    Ok(Work::Launch { loaded, bound })
}

/// Prepares calls of these sizes: everything but addresses is worked out, and the kernel is loaded.
pub(crate) fn prepare(variant: &Variant, gpu: &Gpu, sizes: &Sizes) -> Result<Plan> {
    let values = variant.bind(sizes)?;
    Ok(work_out(variant, gpu, &values, true)?.plan.clone())
}

/// Which kernel calls of these sizes use. Loads nothing.
pub(crate) fn plan(variant: &Variant, gpu: &Gpu, sizes: &Sizes) -> Result<Plan> {
    let values = variant.bind(sizes)?;
    let need = Need::of(variant, &values, true, gpu.checks_indices());
    Ok(Plan::new(choice::choose(variant, gpu, &values, need)?))
}

/// FNV-1a over words: short inputs, no secrets.
fn hash<'s>(operator: u64, aligned: bool, check: bool, shapes: impl Iterator<Item = &'s [usize]>) -> u64 {
    let mix = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    let start = mix(
        0xcbf2_9ce4_8422_2325 ^ operator,
        u64::from(aligned) | u64::from(check) << 1,
    );
    shapes.fold(start, |hash, shape| {
        shape
            .iter()
            .fold(mix(hash, shape.len() as u64), |hash, &size| mix(hash, size as u64))
    })
}
