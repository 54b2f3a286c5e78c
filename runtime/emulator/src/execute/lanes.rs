//! Instructions that work lane by lane: how a scalar definition becomes a loop over a warp.
//!
//! A definition is a type that implements [`Lanes`], nearly always through the `lanes!` macro. It is
//! compiled twice: plainly, and with AVX2, FMA and F16C enabled; [`Function::of`] picks at run time. With
//! every lane active the loop has 32 iterations and no branches, which LLVM vectorises; otherwise only the
//! active lanes are visited.

use crate::machine::registers::{Cell, FULL, LANES, Registers, Slot};

/// Operands of a lane instruction, as slots of the running frame.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Slots {
    pub to: Slot,
    pub from: [Slot; 4],
    /// Modifiers or constants, as the definition reads them.
    pub extra: u64,
}

pub(crate) type Function = fn(&mut Registers, &Slots, u32);

/// An instruction over the lanes of `mask`.
pub(crate) trait Lanes {
    fn run(registers: &mut Registers, slots: &Slots, mask: u32);
}

/// The compiled form of `L` that suits this processor.
pub(crate) fn function<L: Lanes>() -> Function {
    #[cfg(target_arch = "x86_64")]
    if wide_available() {
        return wide::<L>;
    }
    plain::<L>
}

#[cfg(target_arch = "x86_64")]
pub(crate) fn wide_available() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt")
        && is_x86_feature_detected!("popcnt")
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

/// The mask of lanes in which a comparison holds.
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

/// Defines lane instructions: `lanes! { Name<T: Bound>(a: T, b: T) -> T { a + b } }`. A last argument
/// `; extra` names the instruction's modifiers.
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
        impl $(<$g: $bound>)? $crate::execute::lanes::Lanes for $name $(<$g>)? {
            #[inline(always)]
            fn run(registers: &mut $crate::machine::registers::Registers, slots: &$crate::execute::lanes::Slots, mask: u32) {
                $(let $extra = slots.extra;)?
                $crate::execute::lanes::$map(registers, slots, mask, $f);
            }
        }
    };
}
pub(crate) use lanes;
