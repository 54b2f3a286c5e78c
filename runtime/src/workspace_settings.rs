//! The settings of the workspace: how large it may be, and whose memory it is.

use crate::argument::View;
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::tensor::Tensor;

impl Gpu {
    /// Sets the most bytes of workspace that the program of a call may need; 256 MiB by default. Earlier plans do not change.
    ///
    /// A program of several launches stores values in between. A call runs the best program that fits.
    ///
    /// ```
    /// use energy_kernel::prelude::*;
    ///
    /// #[energy_kernel]
    /// fn layers(x: Tensor<f32, (M, K)>, v: Tensor<f32, (J, K)>, w: Tensor<f32, (N, J)>) -> Tensor<f32, (M, N)> {
    ///     let hidden = |m, j| relu(sum(|k| x[[m, k]] * v[[j, k]]));
    ///     |m, n| sum(|j| hidden[[m, j]] * w[[n, j]])
    /// }
    ///
    /// # fn main() -> Result<(), Error> {
    /// let gpu = Gpu::emulated();
    /// let sizes = Sizes::from([("M", 128), ("K", 256), ("J", 512), ("N", 256)]);
    /// assert_eq!(layers::plan(&gpu, &sizes)?.launches().len(), 2);
    /// assert!(layers::workspace(&gpu, &sizes)? >= 128 * 512 * 4);
    ///
    /// gpu.set_workspace_limit(0);
    /// assert_eq!(layers::plan(&gpu, &sizes)?.launches().len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_workspace_limit(&self, bytes: u64) {
        self.workspace().set_limit(bytes);
        self.calls().clear();
    }

    /// Sets the memory in which the programs of calls store values and partial sums. `None`, the default, lets the runtime
    /// allocate what calls need.
    ///
    /// Calls then run the best program that fits. The generated `workspace` function returns the bytes of a call. The memory must not be used by
    /// other work on other streams. A replayed CUDA graph uses the workspace that it was recorded with: give each graph that runs beside other
    /// work its own.
    ///
    /// ```
    /// use energy_kernel::prelude::*;
    ///
    /// #[energy_kernel]
    /// fn layers(x: Tensor<f32, (M, K)>, v: Tensor<f32, (J, K)>, w: Tensor<f32, (N, J)>) -> Tensor<f32, (M, N)> {
    ///     let hidden = |m, j| relu(sum(|k| x[[m, k]] * v[[j, k]]));
    ///     |m, n| sum(|j| hidden[[m, j]] * w[[n, j]])
    /// }
    ///
    /// # fn main() -> Result<(), Error> {
    /// let gpu = Gpu::emulated();
    /// let sizes = Sizes::from([("M", 128), ("K", 256), ("J", 512), ("N", 256)]);
    /// let bytes = layers::workspace(&gpu, &sizes)?;
    /// gpu.set_workspace(Some(Tensor::<u8>::zeros(&gpu, &[bytes as usize])?))?;
    /// assert_eq!(layers::prepare(&gpu, &sizes)?.launches().len(), 2);
    ///
    /// gpu.set_workspace(Some(Tensor::<u8>::zeros(&gpu, &[1024])?))?;
    /// assert_eq!(layers::prepare(&gpu, &sizes)?.launches().len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::WrongDevice`] for memory of another device.
    pub fn set_workspace(&self, memory: Option<Tensor<u8>>) -> Result<()> {
        let given = memory.as_ref().map(View::from);
        if let Some(view) = given.filter(|view| !self.device().reaches(view.storage())) {
            return Err(Error::WrongDevice {
                operator: "set_workspace".to_owned(),
                tensor: "the workspace".to_owned(),
                expected: self.device().describe(),
                found: view.storage().describe(),
            });
        }
        let given = given.map(|view| (view.storage().clone(), view.address(), view.bytes()));
        self.workspace().give(given);
        self.calls().clear();
        Ok(())
    }
}
