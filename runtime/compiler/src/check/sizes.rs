//! The sizes of a call, from names, free sizes or shapes.

use super::call_error::CallError;
use super::checked::Checked;
use crate::size::Sizes;

impl Checked {
    /// Returns all sizes in the order of [`Op::sizes`](crate::ir::Op::sizes), from sizes by name.
    ///
    /// # Errors
    /// A free size is missing, a name is unknown, or a derived size has no valid value.
    pub fn bind(&self, sizes: &Sizes) -> Result<Vec<u64>, CallError> {
        if let Some((name, _)) = sizes
            .iter()
            .find(|(name, _)| !self.op().sizes.iter().any(|size| size.name == *name))
        {
            return Err(CallError::UnknownSize { name: name.to_owned() });
        }
        let mut values = Vec::with_capacity(self.op().sizes.len());
        for size in &self.op().sizes {
            if size.definition.is_some() {
                break;
            }
            let value = sizes.get(&size.name).ok_or_else(|| CallError::MissingSize {
                name: size.name.clone(),
            })?;
            values.push(value);
        }
        self.derive(values)
    }

    /// Returns all sizes, from the free ones, which come first.
    ///
    /// # Errors
    /// A derived size has no valid value.
    pub fn derive(&self, mut values: Vec<u64>) -> Result<Vec<u64>, CallError> {
        for size in &self.op().sizes[values.len().min(self.op().sizes.len())..] {
            let Some(definition) = &size.definition else {
                return Err(CallError::MissingSize {
                    name: size.name.clone(),
                });
            };
            let value = definition.evaluate(&values).map_err(|error| CallError::Derived {
                name: size.name.clone(),
                reason: error.to_string(),
            })?;
            let value = u64::try_from(value).map_err(|_| CallError::Derived {
                name: size.name.clone(),
                reason: format!("is {value}"),
            })?;
            values.push(value);
        }
        Ok(values)
    }

    /// Returns all sizes in the order of [`Op::sizes`](crate::ir::Op::sizes), from the shapes of the tensor inputs in order.
    ///
    /// # Errors
    /// A wrong number of tensors or dimensions, a dimension that contradicts another, or a derived size without a valid value.
    pub fn sizes_of(&self, shapes: &[&[u64]]) -> Result<Vec<u64>, CallError> {
        let tensors: Vec<_> = self.op().inputs.iter().filter(|input| input.dims.is_some()).collect();
        if tensors.len() != shapes.len() {
            return Err(CallError::Tensors {
                expected: tensors.len(),
                found: shapes.len(),
            });
        }
        let mut bound: Vec<Option<(u64, &str)>> = vec![None; self.op().sizes.len()];
        for (tensor, shape) in tensors.iter().zip(shapes) {
            let dims = tensor.dims.as_deref().unwrap_or_default();
            if dims.len() != shape.len() {
                return Err(CallError::Rank {
                    tensor: tensor.name.clone(),
                    expected: dims.len(),
                    found: shape.len(),
                });
            }
            for (dimension, (size, &value)) in dims.iter().zip(*shape).enumerate() {
                match bound[size.index()] {
                    None => bound[size.index()] = Some((value, &tensor.name)),
                    Some((other, _)) if other == value => {}
                    Some((other, first)) => {
                        return Err(CallError::Shape {
                            tensor: tensor.name.clone(),
                            dimension,
                            size: self.op().sizes[size.index()].name.clone(),
                            expected: other,
                            found: value,
                            because: format!("in `{first}`"),
                        });
                    }
                }
            }
        }
        let free = self
            .op()
            .sizes
            .iter()
            .take_while(|size| size.definition.is_none())
            .count();
        let mut values = Vec::with_capacity(self.op().sizes.len());
        for (size, value) in self.op().sizes[..free].iter().zip(&bound) {
            values.push(
                value
                    .ok_or_else(|| CallError::MissingSize {
                        name: size.name.clone(),
                    })?
                    .0,
            );
        }
        let values = self.derive(values)?;
        // A derived size may also be a dimension of an input.
        for (tensor, shape) in tensors.iter().zip(shapes) {
            for (dimension, (size, &found)) in tensor.dims.iter().flatten().zip(*shape).enumerate() {
                let expected = values[size.index()];
                if expected != found {
                    return Err(CallError::Shape {
                        tensor: tensor.name.clone(),
                        dimension,
                        size: self.op().sizes[size.index()].name.clone(),
                        expected,
                        found,
                        because: "by its formula in `dims(…)`".to_owned(),
                    });
                }
            }
        }
        Ok(values)
    }
}
