//! Instructions that work lane by lane: a scalar definition becomes a loop over a warp.
//!
//! A definition is a type that implements [`Lanes`], nearly always through the `lanes!` macro. It is compiled twice,
//! for any processor and for one with AVX2 and FMA, and [`function`] chooses at run time. With every lane active the
//! loop has 32 iterations and no branch, so LLVM vectorises it; otherwise it visits the active lanes only.

use super::registers::{Cell, FULL, LANES, Registers, Slots};

/// A lane instruction in its compiled form, over the lanes of a mask.
pub(crate) type LaneFunction = fn(&mut Registers, &Slots, u32);

/// The definition of a lane instruction.
pub(crate) trait Lanes {
    fn run(registers: &mut Registers, slots: &Slots, mask: u32);
}

/// The compiled form of `L` for this processor.
pub(crate) fn function<L: Lanes>() -> LaneFunction {
    #[cfg(target_arch = "x86_64")]
    if crate::host::has_avx2() {
        return wide::<L>;
    }
    plain::<L>
}

fn plain<L: Lanes>(registers: &mut Registers, slots: &Slots, mask: u32) {
    L::run(registers, slots, mask);
}

#[cfg(target_arch = "x86_64")]
fn wide<L: Lanes>(registers: &mut Registers, slots: &Slots, mask: u32) {
    #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
    fn enabled<L: Lanes>(registers: &mut Registers, slots: &Slots, mask: u32) {
        L::run(registers, slots, mask);
    }
    // SAFETY: `function` hands this out only where the processor has these features.
    unsafe { enabled::<L>(registers, slots, mask) }
}

/// Visits the lanes of a mask.
#[inline(always)]
pub(crate) fn each(mut mask: u32, mut visit: impl FnMut(usize)) {
    while mask != 0 {
        visit(mask.trailing_zeros() as usize);
        mask &= mask - 1;
    }
}

/// Runs a function of one source over the lanes of a mask.
#[inline(always)]
pub(crate) fn map1<A: Cell, R: Cell>(registers: &mut Registers, slots: &Slots, mask: u32, f: impl Fn(A) -> R) {
    if mask == FULL {
        let a = A::load(registers, slots.from[0]);
        let mut result = [R::default(); LANES];
        for lane in 0..LANES {
            result[lane] = f(a[lane]);
        }
        R::store(registers, slots.to, &result);
    } else {
        each(mask, |lane| {
            let a = A::load_lane(registers, slots.from[0], lane);
            R::store_lane(registers, slots.to, lane, f(a));
        });
    }
}

#[inline(always)]
pub(crate) fn map2<A: Cell, B: Cell, R: Cell>(
    registers: &mut Registers,
    slots: &Slots,
    mask: u32,
    f: impl Fn(A, B) -> R,
) {
    if mask == FULL {
        let a = A::load(registers, slots.from[0]);
        let b = B::load(registers, slots.from[1]);
        let mut result = [R::default(); LANES];
        for lane in 0..LANES {
            result[lane] = f(a[lane], b[lane]);
        }
        R::store(registers, slots.to, &result);
    } else {
        each(mask, |lane| {
            let a = A::load_lane(registers, slots.from[0], lane);
            let b = B::load_lane(registers, slots.from[1], lane);
            R::store_lane(registers, slots.to, lane, f(a, b));
        });
    }
}

#[inline(always)]
pub(crate) fn map3<A: Cell, B: Cell, C: Cell, R: Cell>(
    registers: &mut Registers,
    slots: &Slots,
    mask: u32,
    f: impl Fn(A, B, C) -> R,
) {
    if mask == FULL {
        let a = A::load(registers, slots.from[0]);
        let b = B::load(registers, slots.from[1]);
        let c = C::load(registers, slots.from[2]);
        let mut result = [R::default(); LANES];
        for lane in 0..LANES {
            result[lane] = f(a[lane], b[lane], c[lane]);
        }
        R::store(registers, slots.to, &result);
    } else {
        each(mask, |lane| {
            let a = A::load_lane(registers, slots.from[0], lane);
            let b = B::load_lane(registers, slots.from[1], lane);
            let c = C::load_lane(registers, slots.from[2], lane);
            R::store_lane(registers, slots.to, lane, f(a, b, c));
        });
    }
}

/// The mask of the lanes in which a comparison of `from[0]` and `from[1]` holds.
#[inline(always)]
pub(crate) fn compare<A: Cell>(registers: &Registers, slots: &Slots, f: impl Fn(A, A) -> bool) -> u32 {
    let a = A::load(registers, slots.from[0]);
    let b = A::load(registers, slots.from[1]);
    let mut bits = 0;
    for lane in 0..LANES {
        bits |= u32::from(f(a[lane], b[lane])) << lane;
    }
    bits
}

/// Defines lane instructions: `lanes! { Name<T: Bound>(a: T, b: T) -> T { a + b } }`. A last argument `; name` binds
/// [`Slots::extra`].
macro_rules! lanes {
    () => {};
    ($(#[$meta:meta])* $name:ident $(<$g:ident : $bound:path>)? ($a:ident : $ta:ty $(; $extra:ident)?) -> $r:ty { $($body:tt)* } $($rest:tt)*) => {
        lanes!(@define $(#[$meta])* $name $(<$g: $bound>)?, map1, |$a: $ta| -> $r { $($body)* } $(; $extra)?);
        lanes!($($rest)*);
    };
    ($(#[$meta:meta])* $name:ident $(<$g:ident : $bound:path>)? ($a:ident : $ta:ty, $b:ident : $tb:ty $(; $extra:ident)?) -> $r:ty { $($body:tt)* } $($rest:tt)*) => {
        lanes!(@define $(#[$meta])* $name $(<$g: $bound>)?, map2, |$a: $ta, $b: $tb| -> $r { $($body)* } $(; $extra)?);
        lanes!($($rest)*);
    };
    ($(#[$meta:meta])* $name:ident $(<$g:ident : $bound:path>)? ($a:ident : $ta:ty, $b:ident : $tb:ty, $c:ident : $tc:ty $(; $extra:ident)?) -> $r:ty { $($body:tt)* } $($rest:tt)*) => {
        lanes!(@define $(#[$meta])* $name $(<$g: $bound>)?, map3, |$a: $ta, $b: $tb, $c: $tc| -> $r { $($body)* } $(; $extra)?);
        lanes!($($rest)*);
    };
    (@define $(#[$meta:meta])* $name:ident $(<$g:ident : $bound:path>)?, $map:ident, $f:expr $(; $extra:ident)?) => {
        $(#[$meta])*
        pub(crate) struct $name $(<$g>(std::marker::PhantomData<$g>))?;
        impl $(<$g: $bound>)? $crate::machine::lanes::Lanes for $name $(<$g>)? {
            #[inline(always)]
            fn run(registers: &mut $crate::machine::registers::Registers, slots: &$crate::machine::registers::Slots, mask: u32) {
                $(let $extra = slots.extra;)?
                $crate::machine::lanes::$map(registers, slots, mask, $f);
            }
        }
    };
}
pub(crate) use lanes;
