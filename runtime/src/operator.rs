//! The operator that the macro embeds.

use crate::error::{Error, Result};
use energy_kernel_compiler::check::{CallError, Checked};
use energy_kernel_compiler::element::Element as ElementId;
use energy_kernel_compiler::ir::Op;
use energy_kernel_compiler::record::{Bundle, CacheFile, Fingerprint, encoding};
use energy_kernel_compiler::size::Sizes;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// The macro's output for an operator.
#[derive(Debug, Clone, Copy)]
pub struct OperatorData {
    /// The function's name.
    pub name: &'static str,
    /// The package of the operator, under which the user cache keeps its results.
    pub package: &'static str,
    /// One variant per combination of listed element types. An operator without type parameters has one.
    pub variants: &'static [VariantData],
}

/// The macro's output for one combination of element types.
#[derive(Debug, Clone, Copy)]
pub struct VariantData {
    /// The element types of the operator's type parameters, in order.
    pub types: &'static [ElementId],
    /// The encoded operator.
    pub operator: &'static [u8],
    /// The bundle from the build.
    pub bundle: Option<&'static [u8]>,
}

/// An operator, the `KERNEL` of a generated module. For tools; programs call the generated functions.
///
/// ```
/// use energy_kernel::prelude::*;
///
/// #[energy_kernel(types(T = [f16, f32]))]
/// fn double<T>(x: Tensor<T, (N,)>) -> Tensor<T, (N,)> {
///     |n| (x[[n]] as f32 * 2.0) as T
/// }
///
/// # fn main() -> Result<(), Error> {
/// assert_eq!(double::KERNEL.name(), "double");
/// println!("{}", double::KERNEL.package());
/// for types in double::KERNEL.types() {
///     let variant = double::KERNEL.variant(types)?;
///     println!("{} of {types:?}: {}", variant.name(), variant.fingerprint());
///     assert_eq!(variant.checked().op().inputs.len(), 1);
///
///     let sizes = Sizes::from([("N", 8)]);
///     let gpu = Gpu::emulated();
///     let plan = variant.prepare(&gpu, &sizes)?;
///     assert_eq!(plan.program(), variant.plan(&gpu, &sizes)?.program());
/// }
/// # Ok(())
/// # }
/// ```
pub struct Operator {
    data: OperatorData,
    variants: OnceLock<Vec<Result<Variant>>>,
}

/// An operator of fixed element types, decoded and checked. [`Operator`] has an example.
pub struct Variant {
    /// The number of the variant in this process, under which its kernels are kept.
    pub(crate) number: u64,
    pub(crate) package: &'static str,
    pub(crate) checked: Arc<Checked>,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) bundle: Option<Bundle>,
    cached: OnceLock<Vec<CacheFile>>,
}

impl Operator {
    /// Creates the operator. The first use decodes it.
    #[doc(hidden)]
    pub const fn new(data: OperatorData) -> Operator {
        Operator {
            data,
            variants: OnceLock::new(),
        }
    }

    /// The function's name.
    pub fn name(&self) -> &'static str {
        self.data.name
    }

    /// The package of the operator.
    pub fn package(&self) -> &'static str {
        self.data.package
    }

    /// The combinations of element types that the operator has variants for.
    pub fn types(&self) -> impl Iterator<Item = &'static [ElementId]> {
        self.data.variants.iter().map(|variant| variant.types)
    }

    /// Returns the variant for these element types; an operator without type parameters takes none.
    ///
    /// # Errors
    /// [`Error::ElementTypes`] for types without a variant; [`Error::Embedded`] for an operator that cannot be read.
    pub fn variant(&self, types: &[ElementId]) -> Result<&Variant> {
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

impl std::fmt::Debug for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operator")
            .field("name", &self.data.name)
            .field("package", &self.data.package)
            .finish_non_exhaustive()
    }
}

impl Variant {
    fn decode(data: &OperatorData, variant: &VariantData) -> Result<Variant> {
        let error = |reason: String| Error::Embedded {
            operator: data.name.to_owned(),
            reason,
        };
        let op = encoding::decode::<Op>(variant.operator).map_err(|e| error(e.to_string()))?;
        let checked = Checked::new(op).map_err(|found| {
            let messages: Vec<&str> = found.iter().map(|each| each.message.as_str()).collect();
            error(messages.join("; "))
        })?;
        let mut decoded = Variant::new(checked, data.package)?;
        decoded.bundle = variant.bundle.and_then(|bytes| decoded.read_bundle(bytes));
        Ok(decoded)
    }

    /// Creates a variant without a bundle. For tools.
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
            checked: Arc::new(checked),
            bundle: None,
            cached: OnceLock::new(),
        })
    }

    /// Reads the bundle. Without a readable bundle of this operator it runs untuned.
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

    /// The checked operator.
    pub fn checked(&self) -> &Checked {
        &self.checked
    }

    /// The fingerprint under which results of tuning are kept.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Returns all sizes, in the operator's order, for the free ones by name.
    pub(crate) fn bind(&self, sizes: &Sizes) -> Result<Vec<u64>> {
        let values = self.checked.bind(sizes).map_err(|problem| self.call_error(problem))?;
        self.checked
            .verify(&values)
            .map_err(|problem| self.call_error(problem))?;
        Ok(values)
    }

    pub(crate) fn call_error(&self, problem: CallError) -> Error {
        Error::Call {
            operator: self.name().to_owned(),
            problem: Box::new(problem),
        }
    }

    /// Results of tuning in the user cache. Read once.
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
