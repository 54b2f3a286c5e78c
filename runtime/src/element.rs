//! Element types of tensors.

use energy_kernel_compiler::element::Element as ElementId;
use half::{bf16, f16};

mod sealed {
    /// # Safety
    /// The type has no padding.
    pub unsafe trait Sealed: Copy + Send + Sync + 'static {
        fn from_bytes(bytes: &[u8]) -> Vec<Self>;
    }
}

// Devices are little-endian, and elements are copied byte by byte.
const _: () = assert!(cfg!(target_endian = "little"), "hosts must be little-endian");

/// The bytes of elements.
pub(crate) fn bytes_of<T: Sealed>(elements: &[T]) -> &[u8] {
    // SAFETY: the elements are initialised, and have no padding by the trait's contract.
    unsafe { std::slice::from_raw_parts(elements.as_ptr().cast(), size_of_val(elements)) }
}

pub(crate) use sealed::Sealed;

/// An element type: `f32`, `f16`, `bf16`, `f64`, `i8`, `u8`, `i32`, `i64` or `bool`.
pub trait Element: Sealed + Default + PartialEq + std::fmt::Debug {
    /// The compiler's name of the type.
    #[doc(hidden)]
    const ELEMENT: ElementId;
    /// Converts the value to `f64`. Exact, except for `i64` beyond 2⁵³. `false` is 0 and `true` is 1.
    ///
    /// ```
    /// use energy_kernel::{Element, f16};
    ///
    /// assert_eq!((f16::from_f32(0.5).to_f64(), true.to_f64(), (-3i8).to_f64()), (0.5, 1.0, -3.0));
    /// ```
    fn to_f64(self) -> f64;
    /// The value's little-endian bytes, padded with zeros.
    #[doc(hidden)]
    fn to_bits(self) -> u64;
}

macro_rules! elements {
    ($($ty:ident $id:ident |$value:ident| $to_f64:expr, $to_bits:expr, |$bytes:ident| $from:expr;)+) => {$(
        // SAFETY: a number or a truth value.
        unsafe impl Sealed for $ty {
            fn from_bytes(bytes: &[u8]) -> Vec<$ty> {
                let (chunks, _) = bytes.as_chunks::<{ size_of::<$ty>() }>();
                chunks.iter().map(|&$bytes| $from).collect()
            }
        }

        impl Element for $ty {
            const ELEMENT: ElementId = ElementId::$id;

            fn to_f64(self) -> f64 {
                let $value = self;
                $to_f64
            }

            fn to_bits(self) -> u64 {
                let $value = self;
                $to_bits
            }
        }
    )+};
}

elements! {
    f32 F32 |v| f64::from(v), u64::from(f32::to_bits(v)), |b| f32::from_le_bytes(b);
    f16 F16 |v| v.to_f64(), u64::from(f16::to_bits(v)), |b| f16::from_le_bytes(b);
    bf16 BF16 |v| v.to_f64(), u64::from(bf16::to_bits(v)), |b| bf16::from_le_bytes(b);
    f64 F64 |v| v, f64::to_bits(v), |b| f64::from_le_bytes(b);
    i8 I8 |v| f64::from(v), u64::from(v as u8), |b| i8::from_le_bytes(b);
    u8 U8 |v| f64::from(v), u64::from(v), |b| u8::from_le_bytes(b);
    i32 I32 |v| f64::from(v), u64::from(v as u32), |b| i32::from_le_bytes(b);
    i64 I64 |v| v as f64, v as u64, |b| i64::from_le_bytes(b);
    bool Bool |v| f64::from(u8::from(v)), u64::from(v), |b| b != [0];
}
