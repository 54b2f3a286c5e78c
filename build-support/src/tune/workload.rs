//! The tensors of an instance on a device.

use super::backend::{Instance, OutputIndex};
use super::data::{Data, shape};
use energy_kernel::tools::{Argument, Buffer, Operand, View};
use energy_kernel::{Gpu, Result};
use std::sync::Arc;

/// One set of an operator's tensors on a device.
pub(super) struct Workload {
    inputs: Vec<Arc<Operand>>,
    outputs: Vec<Buffer>,
}

impl Workload {
    /// Copies the inputs to the device and allocates the outputs.
    pub(super) fn new(gpu: &Gpu, instance: Instance<'_>) -> Result<Workload> {
        Workload::beside(None, gpu, instance)
    }

    /// Makes another set of tensors. The inputs that are in the L2 cache are those of the first set.
    pub(super) fn beside(first: Option<&Workload>, gpu: &Gpu, instance: Instance<'_>) -> Result<Workload> {
        let op = instance.checked.op();
        let warm = |position: u32| {
            let inputs = first.filter(|_| instance.warm_inputs.contains(&position));
            inputs.and_then(|first| first.inputs.get(position as usize).cloned())
        };
        let inputs = (0..).zip(op.inputs.iter().zip(instance.inputs));
        let inputs = inputs.map(|(position, (input, data))| match warm(position) {
            Some(operand) => Ok(operand),
            None => Operand::new(gpu, input, &extents(&data.shape), &data.bytes).map(Arc::new),
        });
        let outputs = op.outputs.iter();
        let outputs =
            outputs.map(|output| Buffer::zeros(gpu, output.element, &extents(&shape(&output.dims, instance.sizes))));
        Ok(Workload {
            inputs: inputs.collect::<Result<_>>()?,
            outputs: outputs.collect::<Result<_>>()?,
        })
    }

    /// Overwrites the outputs with NaN, or −1. Otherwise a kernel that writes nothing would pass with the results of the one before.
    pub(super) fn poison(&mut self) -> Result<()> {
        let poison = |output: &mut Buffer| output.write(&vec![0xff; output.len_bytes()]);
        self.outputs.iter_mut().try_for_each(poison)
    }

    pub(super) fn arguments(&self) -> Vec<Argument<'_>> {
        self.inputs.iter().map(|operand| operand.argument()).collect()
    }

    pub(super) fn views(&self) -> Vec<View<'_>> {
        self.outputs.iter().map(Buffer::view).collect()
    }

    /// Copies the results at these indices to the host.
    pub(super) fn results(&self, instance: Instance<'_>, indices: &[OutputIndex]) -> Result<Vec<u64>> {
        if indices.is_empty() {
            return Ok(Vec::new());
        }
        let outputs = self.outputs.iter().zip(&instance.checked.op().outputs);
        let outputs = outputs.map(|(buffer, output)| {
            Ok(Data {
                element: output.element,
                shape: shape(&output.dims, instance.sizes),
                bytes: buffer.to_bytes()?,
            })
        });
        Ok(pick(&outputs.collect::<Result<Vec<Data>>>()?, indices))
    }
}

fn extents(shape: &[u64]) -> Vec<usize> {
    let extents = shape.iter();
    extents
        .map(|&extent| usize::try_from(extent).unwrap_or(usize::MAX))
        .collect()
}

/// The elements of outputs at these indices, each with its bytes at the low end of a word. 0 outside the outputs.
pub(super) fn pick(outputs: &[Data], indices: &[OutputIndex]) -> Vec<u64> {
    let element = |index: &OutputIndex| outputs.get(index.output as usize)?.at(index.position);
    let word = |index| {
        let mut word = [0; 8];
        if let Some(bytes) = element(index) {
            word[..bytes.len()].copy_from_slice(bytes);
        }
        u64::from_le_bytes(word)
    };
    indices.iter().map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::super::data::inputs;
    use super::super::testing::operator;
    use super::*;

    #[test]
    fn sets_share_the_inputs_that_are_in_the_cache_and_no_others() {
        let found = operator(
            "tune(N = 8)",
            "fn add(x: Tensor<f32, (N,)>, y: Tensor<f32, (N,)>) -> Tensor<f32, (N,)> { |n| x[[n]] + y[[n]] }",
        );
        let inputs = inputs(&found.checked, &[8], 1).unwrap();
        let gpu = Gpu::emulated();
        let instance = |warm_inputs| Instance {
            checked: &found.checked,
            specialisation: &found.specialisation,
            sizes: &[8],
            inputs: &inputs,
            seed: 1,
            warm_inputs,
        };
        let shared = |warm_inputs| {
            let first = Workload::new(&gpu, instance(warm_inputs)).unwrap();
            let second = Workload::beside(Some(&first), &gpu, instance(warm_inputs)).unwrap();
            let pairs = first.inputs.iter().zip(&second.inputs);
            pairs.map(|(a, b)| Arc::ptr_eq(a, b)).collect::<Vec<_>>()
        };
        assert_eq!(shared(&[]), [false, false]);
        assert_eq!(shared(&[1]), [false, true]);
        assert_eq!(shared(&[7]), [false, false]);
    }
}
