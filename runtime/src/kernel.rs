//! The operator as the macro embeds it.

use crate::call;
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::plan::Plan;
use energy_kernel_compiler::check::Checked;
use energy_kernel_compiler::element::Element;
use energy_kernel_compiler::ir::Op;
use energy_kernel_compiler::record::{Bundle, CacheFile, Fingerprint, encoding};
use energy_kernel_compiler::size::Sizes;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What the macro embeds of an operator.
#[derive(Debug, Clone, Copy)]
pub struct KernelData {
    /// The function's name.
    pub name: &'static str,
    /// The package it belongs to: where the user cache keeps its results.
    pub package: &'static str,
    /// One for each combination of listed element types; one without such.
    pub variants: &'static [VariantData],
}

/// What the macro embeds for one combination of element types.
#[derive(Debug, Clone, Copy)]
pub struct VariantData {
    /// The element types of the operator's type parameters, in order.
    pub types: &'static [Element],
    /// The operator, encoded.
    pub operator: &'static [u8],
    /// The bundle that the build found for it.
    pub bundle: Option<&'static [u8]>,
}

/// An operator: what `KERNEL` in the generated module is. For tools; programs call the generated functions.
pub struct Kernel {
    data: KernelData,
    variants: OnceLock<Vec<Result<Variant>>>,
}

/// One operator of fixed element types, decoded and checked.
pub struct Variant {
    /// Its number in this process, under which its kernels are kept.
    pub(crate) number: u64,
    pub(crate) package: &'static str,
    pub(crate) checked: Checked,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) bundle: Option<Bundle>,
    cached: OnceLock<Vec<CacheFile>>,
}

impl Kernel {
    /// From what the macro embedded. Nothing is decoded before it is used.
    pub const fn new(data: KernelData) -> Kernel {
        Kernel {
            data,
            variants: OnceLock::new(),
        }
    }

    /// The function's name.
    pub fn name(&self) -> &'static str {
        self.data.name
    }

    /// The package it belongs to.
    pub fn package(&self) -> &'static str {
        self.data.package
    }

    /// The combinations of element types it is made for.
    pub fn types(&self) -> impl Iterator<Item = &'static [Element]> {
        self.data.variants.iter().map(|variant| variant.types)
    }

    /// The operator for these element types: empty for one that is not generic.
    ///
    /// # Errors
    /// [`Error::ElementTypes`] for types it is not made for; [`Error::Embedded`] for an operator that cannot be read.
    pub fn variant(&self, types: &[Element]) -> Result<&Variant> {
        let position = self.data.variants.iter().position(|variant| variant.types == types);
        position
            .and_then(|position| self.variants().get(position))
            .ok_or_else(|| Error::ElementTypes {
                operator: self.data.name.to_owned(),
                types: types.iter().map(|t| t.name()).collect::<Vec<_>>().join(", "),
            })?
            .as_ref()
            .map_err(Clone::clone)
    }

    fn variants(&self) -> &[Result<Variant>] {
        self.variants.get_or_init(|| {
            self.data
                .variants
                .iter()
                .map(|v| Variant::decode(&self.data, v))
                .collect()
        })
    }
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kernel")
            .field("name", &self.data.name)
            .field("package", &self.data.package)
            .finish_non_exhaustive()
    }
}

impl Variant {
    fn decode(data: &KernelData, variant: &VariantData) -> Result<Variant> {
        let error = |reason: String| Error::Embedded {
            operator: data.name.to_owned(),
            reason,
        };
        let op = encoding::decode::<Op>(variant.operator).map_err(|e| error(e.to_string()))?;
        let checked = Checked::new(op).map_err(|found| {
            let messages: Vec<&str> = found.iter().map(|each| each.message.as_str()).collect();
            error(messages.join("; "))
        })?;
        let mut made = Variant::new(checked, data.package)?;
        made.bundle = variant.bundle.and_then(|bytes| made.read_bundle(bytes));
        Ok(made)
    }

    /// An operator without a bundle, as tools make it.
    ///
    /// # Errors
    /// [`Error::Embedded`] for an operator of many megabytes.
    pub fn new(checked: Checked, package: &'static str) -> Result<Variant> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let fingerprint = energy_kernel_compiler::fingerprint::of(&checked).map_err(|error| Error::Embedded {
            operator: checked.op().name.clone(),
            reason: error.to_string(),
        })?;
        Ok(Variant {
            number: NEXT.fetch_add(1, Relaxed),
            package,
            fingerprint,
            checked,
            bundle: None,
            cached: OnceLock::new(),
        })
    }

    /// A bundle that cannot be read, or is another operator's, is none: the operator then runs untuned.
    fn read_bundle(&self, bytes: &[u8]) -> Option<Bundle> {
        match encoding::decode::<Bundle>(bytes) {
            Ok(bundle) if bundle.fingerprint == self.fingerprint => Some(bundle),
            Ok(bundle) => {
                tracing::warn!(operator = self.name(), embedded = %bundle.fingerprint, expected = %self.fingerprint, "the embedded bundle belongs to another operator; running untuned");
                None
            }
            Err(error) => {
                tracing::warn!(operator = self.name(), %error, "the embedded bundle cannot be read; running untuned");
                None
            }
        }
    }

    /// The operator's name.
    pub fn name(&self) -> &str {
        &self.checked.op().name
    }

    /// The operator.
    pub fn checked(&self) -> &Checked {
        &self.checked
    }

    /// What its results are kept under.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// All its sizes, from the free ones by name.
    pub(crate) fn bind(&self, sizes: &Sizes) -> Result<Vec<u64>> {
        let values = self.checked.bind(sizes).map_err(|problem| self.call_error(problem))?;
        self.checked
            .verify(&values)
            .map_err(|problem| self.call_error(problem))?;
        Ok(values)
    }

    pub(crate) fn call_error(&self, problem: energy_kernel_compiler::check::CallError) -> Error {
        Error::Call {
            operator: self.name().to_owned(),
            problem: Box::new(problem),
        }
    }

    /// Which kernel calls of these sizes use, and why. Loads nothing.
    ///
    /// # Errors
    /// [`Error::Call`] for sizes that the operator cannot have; [`Error::Lower`] if no kernel can be made.
    pub fn plan(&self, gpu: &Gpu, sizes: &Sizes) -> Result<Plan> {
        call::plan(self, gpu, sizes)
    }

    /// Loads the kernel that calls of these sizes use. Such a call then allocates nothing but its outputs.
    ///
    /// # Errors
    /// As [`plan`](Variant::plan), and [`Error::Load`] or an error of the driver.
    pub fn prepare(&self, gpu: &Gpu, sizes: &Sizes) -> Result<Plan> {
        call::prepare(self, gpu, sizes)
    }

    /// Results of tuning in the user's cache; read once.
    pub(crate) fn cached(&self) -> &[CacheFile] {
        self.cached
            .get_or_init(|| crate::cache::read(self.package, &self.fingerprint))
    }
}

impl std::fmt::Debug for Variant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Variant")
            .field("operator", &self.name())
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}
