//! The options of an emulated GPU.

use crate::simulate::Profile;

/// The options of an emulated GPU ([`Gpu::emulated_with`](crate::Gpu::emulated_with)).
///
/// ```
/// use energy_kernel::prelude::*;
/// use energy_kernel::simulate::{Emulation, Profile};
///
/// # fn main() -> Result<(), Error> {
/// let options = Emulation::new()
///     .profile(Profile::Ampere)
///     .memory(1 << 20)
///     .sanitize(true)
///     .threads(Some(1))
///     .approximate(false);
/// let gpu = Gpu::emulated_with(options);
/// assert_eq!(gpu.device_class().name, "ampere");
/// assert!(Tensor::<f32>::zeros(&gpu, &[1 << 20]).is_err(), "4 MiB do not fit");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Emulation {
    pub(crate) profile: Profile,
    pub(crate) sanitize: bool,
    pub(crate) memory: u64,
    pub(crate) threads: Option<usize>,
    pub(crate) approximate: bool,
}

impl Emulation {
    /// The default options: [`Profile::Hopper`], 16 GiB of memory, all threads of the host, exact results, and a sanitizer in debug builds.
    pub fn new() -> Emulation {
        Emulation {
            profile: Profile::Hopper,
            sanitize: cfg!(debug_assertions),
            memory: 16 << 30,
            threads: None,
            approximate: false,
        }
    }

    /// Sets the GPU whose times and energies are simulated.
    #[must_use]
    pub fn profile(self, profile: Profile) -> Emulation {
        Emulation { profile, ..self }
    }

    /// Turns the sanitizer on or off. It searches every launch for accesses out of bounds, races and reads of uninitialised memory; a
    /// finding is [`Error::Sanitizer`](crate::Error::Sanitizer). It multiplies the run time by a small factor.
    #[must_use]
    pub fn sanitize(self, sanitize: bool) -> Emulation {
        Emulation { sanitize, ..self }
    }

    /// Sets the bytes of device memory.
    #[must_use]
    pub fn memory(self, bytes: u64) -> Emulation {
        Emulation { memory: bytes, ..self }
    }

    /// Sets the most host threads that a launch may use; `None` for all of them.
    #[must_use]
    pub fn threads(self, threads: Option<usize>) -> Emulation {
        Emulation { threads, ..self }
    }

    /// Chooses whether approximate instructions err by as much as the hardware's may.
    #[must_use]
    pub fn approximate(self, approximate: bool) -> Emulation {
        Emulation { approximate, ..self }
    }
}

impl Default for Emulation {
    fn default() -> Emulation {
        Emulation::new()
    }
}
