//! Calls of operators.
//!
//! The first call with certain shapes checks them, chooses a kernel, loads it and binds it; the resulting [`ResolvedCall`] is kept under
//! the shapes. Every later call finds it by its shapes, which also proves that they are correct, and only fills in addresses and scalars.
//! It neither allocates nor waits.

use crate::argument::{Argument, View};
use crate::bound::BoundKernel;
use crate::choice::{self, Requirements};
use crate::device::LoadedModule;
use crate::element::Element;
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::host::volume;
use crate::operator::Variant;
use crate::plan::{Choice, Plan};
use crate::resolved::{CallKey, ResolvedCall};
use crate::tensor::Tensor;
use crate::workspace::Memory;
use energy_kernel_compiler::ir::SizeId;
use energy_kernel_compiler::size::Sizes;
use std::sync::Arc;

/// A call with its inputs, created by a generated function.
pub struct Call<'a> {
    variant: &'a Variant,
    gpu: &'a Gpu,
    inputs: &'a [Argument<'a>],
    resolved: Arc<ResolvedCall>,
}

impl<'a> Call<'a> {
    /// Resolves a call, unless an earlier one did.
    ///
    /// # Errors
    /// Inputs that do not fit the operator or the device; no kernel for them.
    pub fn new(variant: &'a Variant, gpu: &'a Gpu, inputs: &'a [Argument<'a>]) -> Result<Call<'a>> {
        for (position, view) in inputs
            .iter()
            .enumerate()
            .filter_map(|(at, input)| Some((at, input.view()?)))
        {
            if !gpu.device().reaches(view.storage()) {
                return Err(wrong_device(variant, gpu, input_name(variant, position), view));
            }
        }
        let aligned = inputs.iter().filter_map(Argument::view).all(View::is_aligned);
        Ok(Call {
            resolved: resolve_inputs(variant, gpu, inputs, aligned)?,
            variant,
            gpu,
            inputs,
        })
    }

    /// Allocates an output. The launch writes all of it.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], or an error of the driver.
    pub fn output<T: Element>(&self, position: usize) -> Result<Tensor<T>> {
        match self.resolved.outputs.get(position) {
            Some(shape) => Tensor::uninitialised(self.gpu, shape),
            None => Err(Error::Embedded {
                operator: self.variant.name().to_owned(),
                reason: format!("it has no output {position}"),
            }),
        }
    }

    /// Queues the launches.
    ///
    /// # Errors
    /// Outputs of another shape or device, or that overlap another argument; an error of the driver.
    pub fn launch(mut self, outputs: &[View<'_>]) -> Result<()> {
        self.check(outputs)?;
        if self.resolved.key.aligned && !outputs.iter().all(View::is_aligned) {
            self.resolved = resolve_inputs(self.variant, self.gpu, self.inputs, false)?;
        }
        let Some((module, kernel)) = &self.resolved.work else {
            return Ok(());
        };
        let operator = self.variant.name();
        let memory = kernel.lock(self.gpu.workspace(), operator)?;
        let memory = memory.as_deref();
        let launches = kernel.launches(operator, self.inputs, outputs, memory)?;
        let inputs = self.inputs.iter().filter_map(Argument::view);
        let tensors = inputs.chain(outputs).map(View::storage);
        let storages = tensors.chain(memory.into_iter().flat_map(Memory::storages));
        let zeroed = memory.into_iter().flat_map(Memory::zeroed);
        (self.gpu.device()).launch(operator, module, &launches, zeroed, storages)
    }

    fn check(&self, outputs: &[View<'_>]) -> Result<()> {
        let operator = || self.variant.name().to_owned();
        let op = self.variant.checked.op();
        if outputs.len() != self.resolved.outputs.len() {
            return Err(Error::Embedded {
                operator: operator(),
                reason: format!("it has {} outputs, not {}", self.resolved.outputs.len(), outputs.len()),
            });
        }
        for (position, (output, expected)) in outputs.iter().zip(&self.resolved.outputs).enumerate() {
            if output.shape() != &**expected {
                return Err(Error::OutputShape {
                    operator: operator(),
                    output: position,
                    expected: expected.to_vec(),
                    found: output.shape().to_vec(),
                });
            }
            if output.element() != op.outputs[position].element {
                return Err(Error::ElementTypes {
                    operator: operator(),
                    types: format!("output {position} of {}", output.element()),
                });
            }
            if !self.gpu.device().reaches(output.storage()) {
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

impl std::fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call")
            .field("operator", &self.variant.name())
            .field("inputs", &self.inputs)
            .finish_non_exhaustive()
    }
}

impl Variant {
    /// Returns the plan for calls of these sizes. Loads nothing.
    ///
    /// # Errors
    /// [`Error::Call`] for sizes that the operator cannot have; [`Error::Lower`] if no kernel can be compiled.
    pub fn plan(&self, gpu: &Gpu, sizes: &Sizes) -> Result<Plan> {
        let values = self.bind(sizes)?;
        let required = Requirements::of(self, &values, true, gpu.checks_indices());
        Ok(Plan::new(choice::choose(self, gpu, &values, required)?))
    }

    /// Returns the bytes of workspace that calls of these sizes share with other calls on the stream. Loads nothing.
    ///
    /// # Errors
    /// Those of [`plan`](Variant::plan).
    pub fn workspace(&self, gpu: &Gpu, sizes: &Sizes) -> Result<u64> {
        Ok(self.plan(gpu, sizes)?.workspace())
    }

    /// Loads the kernel for calls of these sizes. They then allocate nothing but their outputs.
    ///
    /// # Errors
    /// Those of [`plan`](Variant::plan); [`Error::Load`]; an error of the driver.
    pub fn prepare(&self, gpu: &Gpu, sizes: &Sizes) -> Result<Plan> {
        let values = self.bind(sizes)?;
        Ok(resolve(self, gpu, &values, true)?.plan.clone())
    }
}

fn wrong_device(variant: &Variant, gpu: &Gpu, tensor: String, view: &View<'_>) -> Error {
    let (expected, found) = (gpu.device().describe(), view.storage().describe());
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

/// Returns the resolved call with these inputs.
fn resolve_inputs(variant: &Variant, gpu: &Gpu, inputs: &[Argument<'_>], aligned: bool) -> Result<Arc<ResolvedCall>> {
    let shapes = || inputs.iter().filter_map(Argument::view).map(View::shape);
    let known = (gpu.calls()).find(variant.number, aligned, gpu.checks_indices(), shapes());
    if let Some(known) = known {
        return Ok(known);
    }
    Argument::check(inputs, variant.checked.op())?;
    let shapes: Vec<Vec<u64>> = shapes()
        .map(|shape| shape.iter().map(|&size| size as u64).collect())
        .collect();
    let shapes: Vec<&[u64]> = shapes.iter().map(Vec::as_slice).collect();
    let sizes = variant
        .checked
        .sizes_of(&shapes)
        .map_err(|problem| variant.call_error(problem))?;
    variant
        .checked
        .verify(&sizes)
        .map_err(|problem| variant.call_error(problem))?;
    resolve(variant, gpu, &sizes, aligned)
}

/// Resolves a call of these verified sizes, and keeps the result.
fn resolve(variant: &Variant, gpu: &Gpu, sizes: &[u64], aligned: bool) -> Result<Arc<ResolvedCall>> {
    let required = Requirements::of(variant, sizes, aligned, gpu.checks_indices());
    let mut plan = Plan::new(choice::choose(variant, gpu, sizes, required)?);
    let mut work = load(variant, gpu, plan.choice());
    // The untuned kernel needs neither the tuned one's code nor its workspace. A kernel that was not prepared is the caller's error.
    if let Err(error) = &work
        && plan.is_tuned()
        && !matches!(error, Error::Unprepared { .. })
    {
        let reason = gpu.kernels().refuse(&plan.choice().key, error);
        if gpu.is_new_warning(variant.name(), &reason) {
            tracing::warn!(operator = variant.name(), %error, "a tuned kernel cannot be loaded; the untuned one runs");
        }
        let most_bytes = gpu.workspace().limit();
        plan = Plan::new(choice::untuned(variant, gpu, sizes, required, reason, most_bytes)?);
        work = load(variant, gpu, plan.choice());
    }
    if let Err(Error::OutOfMemory { bytes }) = &work
        && plan.workspace() > 0
    {
        let reason = format!("there is no room for a {bytes}-byte workspace");
        plan = Plan::new(choice::untuned(variant, gpu, sizes, required, reason, 0)?);
        work = load(variant, gpu, plan.choice());
    }
    let work = work?;
    let op = variant.checked.op();
    let shape = |dims: &[SizeId]| -> Result<Box<[usize]>> {
        let dims = dims
            .iter()
            .map(|size| sizes.get(size.index()).copied().unwrap_or(0) as usize);
        let dims: Box<[usize]> = dims.collect();
        volume(&dims)?;
        Ok(dims)
    };
    let inputs = op.inputs.iter().filter_map(|input| input.dims.as_deref());
    let call = Arc::new(ResolvedCall {
        key: CallKey {
            operator: variant.number,
            aligned,
            check_indices: required.check_indices,
            inputs: inputs.map(shape).collect::<Result<_>>()?,
        },
        outputs: op
            .outputs
            .iter()
            .map(|output| shape(&output.dims))
            .collect::<Result<_>>()?,
        work,
        plan,
    });
    gpu.calls().insert(call.clone());
    Ok(call)
}

/// Binds and loads the chosen kernel. `None` if there is nothing to launch.
fn load(variant: &Variant, gpu: &Gpu, choice: &Choice) -> Result<Option<(LoadedModule, BoundKernel)>> {
    let bound = BoundKernel::new(gpu.workspace(), variant.checked.op(), &choice.kernel, &choice.sizes)?;
    if bound.is_empty() {
        return Ok(None);
    }
    let module = gpu.kernels().loaded(&choice.key, gpu.device(), &choice.kernel)?;
    Ok(Some((module, bound)))
}
