//! Every group of instructions against an independent computation, on edge cases and random values.

mod common;

use common::{Values, check, check_float};

/// An instruction and its independent computation.
type Case = (&'static str, fn(u64, u64, u64) -> u64);
type Real = fn(f64) -> f64;

fn signed(value: u64) -> i64 {
    value as u32 as i32 as i64
}

fn f32_of(bits: u64) -> f32 {
    f32::from_bits(bits as u32)
}

fn bits32(value: f32) -> u64 {
    value.to_bits().into()
}

/// a × b + c for a product that is exact in f64. The sum is rounded to odd, so that a second rounding to a narrower
/// format is correct. Independent of any fused instruction.
fn odd_fma(a: f64, b: f64, c: f64) -> f64 {
    let product = a * b;
    let sum = product + c;
    let back = sum - product;
    let error = (product - (sum - back)) + (c - back);
    if error == 0.0 || !error.is_finite() || sum.to_bits() & 1 == 1 {
        return sum;
    }
    f64::from_bits(if (error > 0.0) == (sum > 0.0) {
        sum.to_bits() + 1
    } else {
        sum.to_bits() - 1
    })
}

#[test]
fn integer_arithmetic_of_32_bits() {
    let values = Values::integers(32);
    let cases: [Case; 22] = [
        ("add.u32 %d, %a, %b", |a, b, _| (a as u32).wrapping_add(b as u32).into()),
        ("add.sat.s32 %d, %a, %b", |a, b, _| {
            (a as i32).saturating_add(b as i32) as u32 as u64
        }),
        ("sub.s32 %d, %a, %b", |a, b, _| (a as u32).wrapping_sub(b as u32).into()),
        ("sub.sat.s32 %d, %a, %b", |a, b, _| {
            (a as i32).saturating_sub(b as i32) as u32 as u64
        }),
        ("mul.lo.u32 %d, %a, %b", |a, b, _| a.wrapping_mul(b) & 0xffff_ffff),
        ("mul.hi.u32 %d, %a, %b", |a, b, _| (a * b) >> 32),
        ("mul.hi.s32 %d, %a, %b", |a, b, _| {
            ((signed(a) * signed(b)) >> 32) as u32 as u64
        }),
        ("mad.lo.s32 %d, %a, %b, %c", |a, b, c| {
            a.wrapping_mul(b).wrapping_add(c) & 0xffff_ffff
        }),
        ("mad.hi.u32 %d, %a, %b, %c", |a, b, c| {
            (((a * b) >> 32) + c) & 0xffff_ffff
        }),
        ("mad.hi.sat.s32 %d, %a, %b, %c", |a, b, c| {
            (((signed(a) * signed(b)) >> 32) + signed(c)).clamp(i32::MIN.into(), i32::MAX.into()) as u32 as u64
        }),
        ("min.u32 %d, %a, %b", |a, b, _| a.min(b)),
        ("max.s32 %d, %a, %b", |a, b, _| signed(a).max(signed(b)) as u32 as u64),
        ("min.s32 %d, %a, %b", |a, b, _| signed(a).min(signed(b)) as u32 as u64),
        ("abs.s32 %d, %a", |a, _, _| signed(a).unsigned_abs() & 0xffff_ffff),
        ("neg.s32 %d, %a", |a, _, _| (-signed(a)) as u32 as u64),
        ("sad.u32 %d, %a, %b, %c", |a, b, c| (a.abs_diff(b) + c) & 0xffff_ffff),
        ("sad.s32 %d, %a, %b, %c", |a, b, c| {
            (signed(a).abs_diff(signed(b)) + c) & 0xffff_ffff
        }),
        ("mul24.lo.u32 %d, %a, %b", |a, b, _| {
            ((a & 0xff_ffff) * (b & 0xff_ffff)) & 0xffff_ffff
        }),
        ("mul24.hi.s32 %d, %a, %b", |a, b, _| {
            let low = |value: u64| i64::from((value as i32) << 8 >> 8);
            ((low(a) * low(b)) >> 16) as u32 as u64
        }),
        ("dp4a.s32.u32 %d, %a, %b, %c", |a, b, c| {
            let (x, y) = ((a as u32).to_le_bytes(), (b as u32).to_le_bytes());
            let sum: i64 = x.iter().zip(y).map(|(x, y)| i64::from(*x as i8) * i64::from(y)).sum();
            (sum + signed(c)) as u32 as u64
        }),
        ("dp2a.hi.u32.s32 %d, %a, %b, %c", |a, b, c| {
            let y = (b as u32).to_le_bytes();
            let sum = (a & 0xffff) as i64 * i64::from(y[2] as i8) + (a >> 16) as i64 * i64::from(y[3] as i8);
            (sum + signed(c)) as u32 as u64
        }),
        ("vabsdiff4.u32.u32.u32.add %d, %a, %b, %c", |a, b, c| {
            let (x, y) = ((a as u32).to_le_bytes(), (b as u32).to_le_bytes());
            (x.iter().zip(y).map(|(x, y)| u64::from(x.abs_diff(y))).sum::<u64>() + c) & 0xffff_ffff
        }),
    ];
    for (instruction, expected) in cases {
        check(instruction, &["b32", "b32", "b32"], "b32", &values, expected);
    }
}

#[test]
fn division_truncates_and_has_the_quotient_of_hardware_for_zero() {
    let values = Values::integers(32);
    check("div.u32 %d, %a, %b", &["b32", "b32"], "b32", &values, |a, b, _| {
        a.checked_div(b).unwrap_or(0xffff_ffff)
    });
    check("rem.u32 %d, %a, %b", &["b32", "b32"], "b32", &values, |a, b, _| {
        a.checked_rem(b).unwrap_or(a)
    });
    check("div.s32 %d, %a, %b", &["b32", "b32"], "b32", &values, |a, b, _| {
        signed(a).checked_div(signed(b)).unwrap_or(-1) as u32 as u64
    });
    check("rem.s32 %d, %a, %b", &["b32", "b32"], "b32", &values, |a, b, _| {
        signed(a).checked_rem(signed(b)).unwrap_or(signed(a)) as u32 as u64
    });
    let wide = Values::integers(64);
    check("div.s64 %d, %a, %b", &["b64", "b64"], "b64", &wide, |a, b, _| {
        let (a, b) = (i128::from(a as i64), i128::from(b as i64));
        a.checked_div(b).unwrap_or(-1) as u64
    });
    check("rem.u64 %d, %a, %b", &["b64", "b64"], "b64", &wide, |a, b, _| {
        a.checked_rem(b).unwrap_or(a)
    });
}

#[test]
fn integer_arithmetic_of_16_and_64_bits() {
    let values = Values::integers(16);
    let s16 = |value: u64| i64::from(value as i16);
    check("add.u16 %d, %a, %b", &["b16", "b16"], "b16", &values, |a, b, _| {
        (a + b) & 0xffff
    });
    check(
        "mul.hi.s16 %d, %a, %b",
        &["b16", "b16"],
        "b16",
        &values,
        move |a, b, _| ((s16(a) * s16(b)) >> 16) as u16 as u64,
    );
    check(
        "mul.wide.s16 %d, %a, %b",
        &["b16", "b16"],
        "b32",
        &values,
        move |a, b, _| (s16(a) * s16(b)) as u32 as u64,
    );
    check("max.s16 %d, %a, %b", &["b16", "b16"], "b16", &values, move |a, b, _| {
        s16(a).max(s16(b)) as u16 as u64
    });
    let values = Values::integers(64);
    check("add.s64 %d, %a, %b", &["b64", "b64"], "b64", &values, |a, b, _| {
        a.wrapping_add(b)
    });
    check("mul.lo.u64 %d, %a, %b", &["b64", "b64"], "b64", &values, |a, b, _| {
        a.wrapping_mul(b)
    });
    check("mul.hi.u64 %d, %a, %b", &["b64", "b64"], "b64", &values, |a, b, _| {
        ((u128::from(a) * u128::from(b)) >> 64) as u64
    });
    check("mul.hi.s64 %d, %a, %b", &["b64", "b64"], "b64", &values, |a, b, _| {
        ((i128::from(a as i64) * i128::from(b as i64)) >> 64) as u64
    });
    check(
        "mad.lo.s64 %d, %a, %b, %c",
        &["b64", "b64", "b64"],
        "b64",
        &values,
        |a, b, c| a.wrapping_mul(b).wrapping_add(c),
    );
    check("min.u64 %d, %a, %b", &["b64", "b64"], "b64", &values, |a, b, _| {
        a.min(b)
    });
    let values = Values::integers(32);
    check("mul.wide.s32 %d, %a, %b", &["b32", "b32"], "b64", &values, |a, b, _| {
        (signed(a) * signed(b)) as u64
    });
    check(
        "mad.wide.u32 %d, %a, %b, 7",
        &["b32", "b32"],
        "b64",
        &values,
        |a, b, _| a * b + 7,
    );
}

#[test]
fn carries_chain_through_the_condition_code() {
    let wide = Values::integers(64);
    let split = "mov.b64 {%lo0, %hi0}, %a; mov.b64 {%lo1, %hi1}, %b; ";
    let join = " mov.b64 %d, {%lo2, %hi2}";
    let text = |body: &str| format!("{split}{body}{join}");
    check(
        &text("add.cc.u32 %lo2, %lo0, %lo1; addc.u32 %hi2, %hi0, %hi1;"),
        &["b64", "b64"],
        "b64",
        &wide,
        |a, b, _| a.wrapping_add(b),
    );
    check(
        &text("sub.cc.u32 %lo2, %lo0, %lo1; subc.u32 %hi2, %hi0, %hi1;"),
        &["b64", "b64"],
        "b64",
        &wide,
        |a, b, _| a.wrapping_sub(b),
    );
    // The low 64 bits of a product: high halves of the low product, plus both cross products.
    let product = "mul.lo.u32 %lo2, %lo0, %lo1; mul.hi.u32 %hi2, %lo0, %lo1; mad.lo.u32 %hi2, %lo0, %hi1, %hi2; mad.lo.u32 %hi2, %hi0, %lo1, %hi2;";
    check(&text(product), &["b64", "b64"], "b64", &wide, |a, b, _| {
        a.wrapping_mul(b)
    });
    // %lo0 × %lo1 + %b, with the carry into the high half.
    let chain = "mad.lo.cc.u32 %lo2, %lo0, %lo1, %lo1; madc.hi.u32 %hi2, %lo0, %lo1, %hi1;";
    check(&text(chain), &["b64", "b64"], "b64", &wide, |a, b, _| {
        (a & 0xffff_ffff).wrapping_mul(b & 0xffff_ffff).wrapping_add(b)
    });
}

#[test]
fn bits_and_shifts() {
    let values = Values::integers(32);
    let cases: [Case; 17] = [
        ("and.b32 %d, %a, %b", |a, b, _| a & b),
        ("xor.b32 %d, %a, %b", |a, b, _| a ^ b),
        ("not.b32 %d, %a", |a, _, _| !a & 0xffff_ffff),
        ("cnot.b32 %d, %a", |a, _, _| u64::from(a == 0)),
        ("lop3.b32 %d, %a, %b, %c, 0x96", |a, b, c| a ^ b ^ c),
        ("lop3.b32 %d, %a, %b, %c, 0xe8", |a, b, c| (a & b) | (a & c) | (b & c)),
        (
            "shl.b32 %d, %a, %b",
            |a, b, _| {
                if b > 31 { 0 } else { (a << b) & 0xffff_ffff }
            },
        ),
        ("shr.u32 %d, %a, %b", |a, b, _| if b > 31 { 0 } else { a >> b }),
        ("shr.s32 %d, %a, %b", |a, b, _| (signed(a) >> b.min(31)) as u32 as u64),
        ("shf.l.wrap.b32 %d, %a, %b, %c", |a, b, c| {
            ((b << 32 | a) << (c & 31)) >> 32
        }),
        ("shf.r.clamp.b32 %d, %a, %b, %c", |a, b, c| {
            ((b << 32 | a) >> c.min(32)) & 0xffff_ffff
        }),
        ("clz.b32 %d, %a", |a, _, _| u64::from((a as u32).leading_zeros())),
        ("popc.b32 %d, %a", |a, _, _| u64::from(a.count_ones())),
        ("brev.b32 %d, %a", |a, _, _| u64::from((a as u32).reverse_bits())),
        ("bfind.u32 %d, %a", |a, _, _| {
            if a == 0 {
                0xffff_ffff
            } else {
                63 - u64::from(a.leading_zeros())
            }
        }),
        ("bfind.shiftamt.s32 %d, %a", |a, _, _| {
            let magnitude = if signed(a) < 0 { !(a as u32) } else { a as u32 };
            if magnitude == 0 {
                0xffff_ffff
            } else {
                u64::from(magnitude.leading_zeros())
            }
        }),
        ("prmt.b32 %d, %a, %b, 0x6240", |a, b, _| {
            let bytes = (b << 32 | a).to_le_bytes();
            u64::from(u32::from_le_bytes([bytes[0], bytes[4], bytes[2], bytes[6]]))
        }),
    ];
    for (instruction, expected) in cases {
        check(instruction, &["b32", "b32", "b32"], "b32", &values, expected);
    }
    let wide = Values::integers(64);
    check("popc.b64 %d, %a", &["b64"], "b32", &wide, |a, _, _| {
        u64::from(a.count_ones())
    });
    check("brev.b64 %d, %a", &["b64"], "b64", &wide, |a, _, _| a.reverse_bits());
    check("shr.s64 %d, %a, 13", &["b64"], "b64", &wide, |a, _, _| {
        ((a as i64) >> 13) as u64
    });
}

#[test]
fn bit_fields_follow_the_manual_bit_by_bit() {
    let values = Values::integers(32);
    // Positions and lengths from the low bits of two operands.
    let field = "and.b32 %b, %b, 63; and.b32 %c, %c, 63; ";
    check(
        &format!("{field}bfe.u32 %d, %a, %b, %c"),
        &["b32", "b32", "b32"],
        "b32",
        &values,
        |a, b, c| {
            let (position, length) = (b & 63, c & 63);
            (0..length.min(32))
                .map(|bit| {
                    if position + bit < 32 {
                        (a >> (position + bit) & 1) << bit
                    } else {
                        0
                    }
                })
                .sum()
        },
    );
    check(
        &format!("{field}bfe.s32 %d, %a, %b, %c"),
        &["b32", "b32", "b32"],
        "b32",
        &values,
        |a, b, c| {
            let (position, length) = (b & 63, c & 63);
            let sign = if length == 0 {
                0
            } else {
                a >> (position + length - 1).min(31) & 1
            };
            (0..32)
                .map(|bit| {
                    if bit < length && position + bit < 32 {
                        (a >> (position + bit) & 1) << bit
                    } else {
                        sign << bit
                    }
                })
                .sum()
        },
    );
    check(
        &format!("{field}bfi.b32 %d, %a, %a, %b, %c"),
        &["b32", "b32", "b32"],
        "b32",
        &values,
        |a, b, c| {
            let (position, length) = (b & 63, c & 63);
            let mut result = a;
            for bit in 0..length {
                if position + bit < 32 {
                    result &= !(1 << (position + bit));
                    result |= (a >> bit & 1) << (position + bit);
                }
            }
            result
        },
    );
}

#[test]
fn single_precision_arithmetic_rounds_to_nearest() {
    let values = Values::floats32();
    check_float("add.rn.f32 %d, %a, %b", &["f32", "f32"], "f32", &values, |a, b, _| {
        bits32(f32_of(a) + f32_of(b))
    });
    check_float("sub.f32 %d, %a, %b", &["f32", "f32"], "f32", &values, |a, b, _| {
        bits32(f32_of(a) - f32_of(b))
    });
    check_float("mul.f32 %d, %a, %b", &["f32", "f32"], "f32", &values, |a, b, _| {
        bits32(f32_of(a) * f32_of(b))
    });
    check_float(
        "fma.rn.f32 %d, %a, %b, %c",
        &["f32", "f32", "f32"],
        "f32",
        &values,
        |a, b, c| bits32(odd_fma(f64::from(f32_of(a)), f64::from(f32_of(b)), f64::from(f32_of(c))) as f32),
    );
    check_float("div.rn.f32 %d, %a, %b", &["f32", "f32"], "f32", &values, |a, b, _| {
        bits32(f32_of(a) / f32_of(b))
    });
    check_float("sqrt.rn.f32 %d, %a", &["f32"], "f32", &values, |a, _, _| {
        bits32(f32_of(a).sqrt())
    });
    check_float("rcp.rn.f32 %d, %a", &["f32"], "f32", &values, |a, _, _| {
        bits32(1.0 / f32_of(a))
    });
}

#[test]
fn directed_roundings_of_f32_surround_the_exact_value() {
    let values = Values::floats32();
    // The product of two f32 is exact in f64; rounding it down or up must give its neighbours.
    let neighbours = |exact: f64| {
        let near = exact as f32;
        let below = if f64::from(near) > exact {
            near.next_down()
        } else {
            near
        };
        let above = if f64::from(near) < exact { near.next_up() } else { near };
        (below, above)
    };
    let finite = move |a: u64, b: u64| (f64::from(f32_of(a)) * f64::from(f32_of(b))).abs() < 1e38;
    let product = move |a: u64, b: u64| f64::from(f32_of(a)) * f64::from(f32_of(b));
    let pick = move |toward: fn((f32, f32), f64) -> f32| {
        move |a: u64, b: u64, _: u64| {
            let exact = product(a, b);
            if !finite(a, b) {
                bits32(0.0)
            } else {
                bits32(toward(neighbours(exact), exact))
            }
        }
    };
    // Products out of range are replaced by zero on both sides.
    let guard = |rounding: &str| {
        format!(
            "mul.rn.f32 %d, %a, %b; abs.f32 %d, %d; setp.ltu.f32 %q, %d, 0f7E967699; mul.{rounding}.f32 %d, %a, %b; @!%q mov.f32 %d, 0f00000000; setp.nan.f32 %q, %d, %d; @%q mov.f32 %d, 0f00000000"
        )
    };
    check_float(
        &guard("rm"),
        &["f32", "f32"],
        "f32",
        &values,
        pick(|(below, _), _| below),
    );
    check_float(
        &guard("rp"),
        &["f32", "f32"],
        "f32",
        &values,
        pick(|(_, above), _| above),
    );
    check_float(
        &guard("rz"),
        &["f32", "f32"],
        "f32",
        &values,
        pick(|(below, above), exact| if exact < 0.0 { above } else { below }),
    );
}

#[test]
fn flushing_saturation_and_extrema_of_f32() {
    let values = Values::floats32();
    let flush = |value: f32| {
        if value.is_subnormal() {
            0.0f32.copysign(value)
        } else {
            value
        }
    };
    check_float(
        "add.ftz.f32 %d, %a, %b",
        &["f32", "f32"],
        "f32",
        &values,
        move |a, b, _| bits32(flush(flush(f32_of(a)) + flush(f32_of(b)))),
    );
    check_float(
        "fma.rn.ftz.f32 %d, %a, %b, %c",
        &["f32", "f32", "f32"],
        "f32",
        &values,
        move |a, b, c| bits32(flush(flush(f32_of(a)).mul_add(flush(f32_of(b)), flush(f32_of(c))))),
    );
    check_float("add.sat.f32 %d, %a, %b", &["f32", "f32"], "f32", &values, |a, b, _| {
        let sum = f32_of(a) + f32_of(b);
        bits32(if sum > 0.0 { sum.min(1.0) } else { 0.0 })
    });
    let total = |value: f32| {
        let bits = value.to_bits() as i32;
        bits ^ (((bits >> 31) as u32) >> 1) as i32
    };
    check_float("min.f32 %d, %a, %b", &["f32", "f32"], "f32", &values, move |a, b, _| {
        let (x, y) = (f32_of(a), f32_of(b));
        bits32(if x.is_nan() {
            y
        } else if y.is_nan() || total(x) < total(y) {
            x
        } else {
            y
        })
    });
    check_float(
        "max.NaN.f32 %d, %a, %b",
        &["f32", "f32"],
        "f32",
        &values,
        move |a, b, _| {
            let (x, y) = (f32_of(a), f32_of(b));
            bits32(if x.is_nan() || y.is_nan() {
                f32::NAN
            } else if total(x) > total(y) {
                x
            } else {
                y
            })
        },
    );
    check_float("abs.f32 %d, %a", &["f32"], "f32", &values, |a, _, _| a & 0x7fff_ffff);
    check_float("copysign.f32 %d, %a, %b", &["f32", "f32"], "f32", &values, |a, b, _| {
        (b & 0x7fff_ffff) | (a & 0x8000_0000)
    });
}

#[test]
fn double_precision_arithmetic() {
    let values = Values::floats64();
    let f = f64::from_bits;
    check_float("add.f64 %d, %a, %b", &["f64", "f64"], "f64", &values, move |a, b, _| {
        (f(a) + f(b)).to_bits()
    });
    check_float(
        "mul.rn.f64 %d, %a, %b",
        &["f64", "f64"],
        "f64",
        &values,
        move |a, b, _| (f(a) * f(b)).to_bits(),
    );
    check_float(
        "fma.rn.f64 %d, %a, %b, %c",
        &["f64", "f64", "f64"],
        "f64",
        &values,
        move |a, b, c| f(a).mul_add(f(b), f(c)).to_bits(),
    );
    check_float(
        "div.rn.f64 %d, %a, %b",
        &["f64", "f64"],
        "f64",
        &values,
        move |a, b, _| (f(a) / f(b)).to_bits(),
    );
    check_float("sqrt.rn.f64 %d, %a", &["f64"], "f64", &values, move |a, _, _| {
        f(a).sqrt().to_bits()
    });
    // −(a + b rounded down) is −a − b rounded up.
    check_float(
        "neg.f64 %a, %a; neg.f64 %b, %b; add.rp.f64 %d, %a, %b; neg.f64 %d, %d; neg.f64 %a, %a; neg.f64 %b, %b; add.rm.f64 %c, %a, %b; sub.f64 %d, %d, %c",
        &["f64", "f64", "f64"],
        "f64",
        &values,
        move |a, b, _| {
            let sum = f(a) + f(b);
            if sum.is_nan() || (f(a).is_infinite() || f(b).is_infinite()) {
                f64::NAN.to_bits()
            } else {
                0
            }
        },
    );
}

#[test]
fn half_precision_rounds_once() {
    use half::{bf16, f16};
    let values = Values::integers(16);
    let f = |bits: u64| f16::from_bits(bits as u16).to_f64();
    let back = |value: f64| u64::from(f16::from_f64(value).to_bits());
    check_float("add.f16 %d, %a, %b", &["b16", "b16"], "f16", &values, move |a, b, _| {
        back(f(a) + f(b))
    });
    check_float("mul.f16 %d, %a, %b", &["b16", "b16"], "f16", &values, move |a, b, _| {
        back(f(a) * f(b))
    });
    check_float("min.f16 %d, %a, %b", &["b16", "b16"], "f16", &values, move |a, b, _| {
        let (x, y) = (f(a), f(b));
        if x.is_nan() {
            b
        } else if y.is_nan() || x < y || (x == y && a & 0x8000 != 0) {
            a
        } else {
            b
        }
    });
    check_float(
        "fma.rn.f16 %d, %a, %b, %c",
        &["b16", "b16", "b16"],
        "f16",
        &values,
        move |a, b, c| back(odd_fma(f(a), f(b), f(c))),
    );
    let g = |bits: u64| bf16::from_bits(bits as u16).to_f64();
    let to_bf16 = |value: f64| u64::from(bf16::from_f64(value).to_bits());
    check_float(
        "fma.rn.bf16 %d, %a, %b, %c",
        &["b16", "b16", "b16"],
        "bf16",
        &values,
        move |a, b, c| to_bf16(odd_fma(g(a), g(b), g(c))),
    );
    let pairs = Values::integers(32);
    check(
        "mul.rn.f16x2 %d, %a, %b; and.b32 %d, %d, 0",
        &["b32", "b32"],
        "b32",
        &pairs,
        |_, _, _| 0,
    );
    check("neg.f16x2 %d, %a", &["b32"], "b32", &pairs, |a, _, _| a ^ 0x8000_8000);
}

#[test]
fn conversions_between_floats_and_integers() {
    let values = Values::floats32();
    check("cvt.rzi.s32.f32 %d, %a", &["f32"], "b32", &values, |a, _, _| {
        f32_of(a) as i32 as u32 as u64
    });
    check("cvt.rzi.u32.f32 %d, %a", &["f32"], "b32", &values, |a, _, _| {
        u64::from(f32_of(a) as u32)
    });
    check("cvt.rni.s32.f32 %d, %a", &["f32"], "b32", &values, |a, _, _| {
        f32_of(a).round_ties_even() as i32 as u32 as u64
    });
    check("cvt.rmi.s64.f32 %d, %a", &["f32"], "b64", &values, |a, _, _| {
        let value = f32_of(a);
        if value.is_nan() {
            1 << 63
        } else {
            value.floor() as i64 as u64
        }
    });
    check(
        "cvt.rpi.u16.f32 %h, %a; cvt.u32.u16 %d, %h",
        &["f32"],
        "b32",
        &values,
        |a, _, _| u64::from(f32_of(a).ceil() as u16),
    );
    check(
        "cvt.rzi.s8.f32 %h, %a; cvt.s32.s8 %d, %h",
        &["f32"],
        "b32",
        &values,
        |a, _, _| f32_of(a) as i8 as i32 as u32 as u64,
    );
    check_float("cvt.rni.f32.f32 %d, %a", &["f32"], "f32", &values, |a, _, _| {
        bits32(f32_of(a).round_ties_even())
    });
    check_float("cvt.sat.f32.f32 %d, %a", &["f32"], "f32", &values, |a, _, _| {
        let value = f32_of(a);
        bits32(if value > 0.0 { value.min(1.0) } else { 0.0 })
    });
    check_float("cvt.f64.f32 %d, %a", &["f32"], "f64", &values, |a, _, _| {
        f64::from(f32_of(a)).to_bits()
    });
    check_float("cvt.rn.f16.f32 %d, %a", &["f32"], "f16", &values, |a, _, _| {
        half::f16::from_f32(f32_of(a)).to_bits().into()
    });
    check_float("cvt.rn.bf16.f32 %d, %a", &["f32"], "bf16", &values, |a, _, _| {
        half::bf16::from_f32(f32_of(a)).to_bits().into()
    });
    check(
        "cvt.rn.f16x2.f32 %d, %a, %b; and.b32 %d, %d, 0x7c007c00",
        &["f32", "f32"],
        "b32",
        &values,
        |a, b, _| {
            let half = |value: u64| {
                let bits = half::f16::from_f32(f32_of(value)).to_bits();
                u64::from(bits & 0x7c00)
            };
            half(a) << 16 | half(b)
        },
    );
    check(
        "cvt.rna.tf32.f32 %d, %a; and.b32 %d, %d, 0x7f800000",
        &["f32"],
        "b32",
        &values,
        |a, _, _| {
            if f32_of(a).is_nan() {
                0x7f80_0000
            } else {
                (a + 0x1000).min(0xff80_0000 | a) & 0x7f80_0000
            }
        },
    );
    let doubles = Values::floats64();
    check_float("cvt.rn.f32.f64 %d, %a", &["f64"], "f32", &doubles, |a, _, _| {
        bits32(f64::from_bits(a) as f32)
    });
    check("cvt.rzi.s64.f64 %d, %a", &["f64"], "b64", &doubles, |a, _, _| {
        let value = f64::from_bits(a);
        if value.is_nan() { 1 << 63 } else { value as i64 as u64 }
    });
    let integers = Values::integers(64);
    check_float("cvt.rn.f32.s64 %d, %a", &["b64"], "f32", &integers, |a, _, _| {
        bits32(a as i64 as f32)
    });
    check_float("cvt.rn.f64.u64 %d, %a", &["b64"], "f64", &integers, |a, _, _| {
        (a as f64).to_bits()
    });
    check("cvt.sat.s32.s64 %d, %a", &["b64"], "b32", &integers, |a, _, _| {
        (a as i64).clamp(i32::MIN.into(), i32::MAX.into()) as u32 as u64
    });
    check(
        "cvt.s64.s8 %d, %a",
        &["b32"],
        "b64",
        &Values::integers(32),
        |a, _, _| a as i8 as i64 as u64,
    );
}

/// The low `bits` of a value, extended to 64 bits as an integer type extends them.
fn extended(value: u64, ty: &str) -> u64 {
    let unused = 64 - ty[1..].parse::<u32>().expect("a width");
    match ty.starts_with('s') {
        true => ((value << unused) as i64 >> unused) as u64,
        false => value << unused >> unused,
    }
}

#[test]
fn narrow_results_are_extended_into_wider_registers() {
    const TYPES: [&str; 8] = ["u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64"];
    let values = Values::integers(64);
    // A register of each width, and the instruction that reads all of it.
    let registers = [
        (16, "cvt.u64.u16 %d, %w"),
        (32, "cvt.u64.u32 %d, %w"),
        (64, "mov.b64 %d, %w"),
    ];
    for (width, see) in registers {
        let held = u64::MAX >> (64 - width);
        let fits = |ty: &&&str| ty[1..].parse::<u32>().expect("a width") <= width;
        for to in TYPES.iter().filter(fits) {
            let load = format!(".reg .b{width} %w; ld.global.{to} %w, [%address]; {see}");
            check(&load, &["b64"], "b64", &values, |a, _, _| extended(a, to) & held);
            // The source's register is as wide as its type, or wider.
            for (source, from) in TYPES.iter().flat_map(|from| [(32, from), (64, from)]) {
                if source == 32 && from.ends_with("64") {
                    continue;
                }
                let taken = if source == 32 {
                    "cvt.u32.u64 %s, %a"
                } else {
                    "mov.b64 %s, %a"
                };
                let convert = format!(".reg .b{width} %w; .reg .b{source} %s; {taken}; cvt.{to}.{from} %w, %s; {see}");
                let expected = |a: u64, _: u64, _: u64| extended(extended(a, from), to) & held;
                check(&convert, &["b64"], "b64", &values, expected);
            }
        }
    }
    check(
        ".reg .b64 %w; cvt.rzi.s8.f32 %w, %a; cvt.rzi.u16.f32 %d, %a; xor.b64 %d, %d, %w",
        &["f32"],
        "b64",
        &Values::floats32(),
        |a, _, _| f32_of(a) as i8 as i64 as u64 ^ f32_of(a) as u16 as u64,
    );
}

/// The words are those of the code that ptxas 13.0 generates for sm_80, in which constants are folded: it stores -62,
/// -1, 0xffffff85 and 0xf234 as they are here, and converts -50 with `F2I.S8` and `F2I.S16`.
#[test]
fn narrow_conversions_agree_with_the_assembler() {
    let memory = energy_kernel_emulator::Memory::new(1 << 10);
    let out = common::upload(&memory, &[0; 52]);
    let arguments = [energy_kernel_emulator::Argument::U64(out)];
    let text = include_str!("kernels/narrow_conversions.ptx");
    common::run_with(text, "k", [1, 1, 1], 1, &memory, &arguments, Default::default());
    let (minus_62, minus_50) = (-62i32 as u32, -50i32 as u32);
    assert_eq!(
        common::words(&memory, out, 13),
        [
            minus_62,
            0,
            minus_62,
            u32::MAX,
            minus_62,
            0,
            minus_62,
            u32::MAX,
            minus_62,
            0xffff_ff85,
            minus_50,
            minus_50,
            0xf234
        ]
    );
}

#[test]
fn comparisons_and_selections() {
    let values = Values::floats32();
    let one = |instruction: &str| format!("{instruction}; selp.b32 %d, 1, 0, %q");
    check(
        &one("setp.lt.f32 %q, %a, %b"),
        &["f32", "f32"],
        "b32",
        &values,
        |a, b, _| u64::from(f32_of(a) < f32_of(b)),
    );
    check(
        &one("setp.geu.f32 %q, %a, %b"),
        &["f32", "f32"],
        "b32",
        &values,
        |a, b, _| u64::from(f32_of(a).partial_cmp(&f32_of(b)).is_none_or(|order| order.is_ge())),
    );
    check(
        &one("setp.ne.f32 %q, %a, %b"),
        &["f32", "f32"],
        "b32",
        &values,
        |a, b, _| u64::from(f32_of(a).partial_cmp(&f32_of(b)).is_some_and(|order| order.is_ne())),
    );
    check(
        &one("setp.nan.f32 %q, %a, %b"),
        &["f32", "f32"],
        "b32",
        &values,
        |a, b, _| u64::from(f32_of(a).is_nan() || f32_of(b).is_nan()),
    );
    let values = Values::integers(32);
    check(
        &one("setp.lt.s32 %q, %a, %b"),
        &["b32", "b32"],
        "b32",
        &values,
        |a, b, _| u64::from(signed(a) < signed(b)),
    );
    check(
        &one("setp.hs.u32 %q, %a, %b"),
        &["b32", "b32"],
        "b32",
        &values,
        |a, b, _| u64::from(a >= b),
    );
    check(
        "setp.eq.u32 %p1, %a, %c; setp.lt.or.u32 %q|%p2, %a, %b, %p1; selp.b32 %d, 1, 0, %q; @%p2 add.u32 %d, %d, 2",
        &["b32", "b32", "b32"],
        "b32",
        &values,
        |a, b, c| u64::from(a < b || a == c) + 2 * u64::from(a >= b || a == c),
    );
    check(
        "set.gt.u32.s32 %d, %a, %b",
        &["b32", "b32"],
        "b32",
        &values,
        |a, b, _| {
            if signed(a) > signed(b) { 0xffff_ffff } else { 0 }
        },
    );
    check(
        "slct.b32.s32 %d, %a, %b, %c",
        &["b32", "b32", "b32"],
        "b32",
        &values,
        |a, b, c| if signed(c) >= 0 { a } else { b },
    );
    check(
        "setp.gt.u32 %q, %a, %b; setp.gt.u32 %p1, %b, %c; xor.pred %q, %q, %p1; selp.b32 %d, %a, %b, !%q",
        &["b32", "b32", "b32"],
        "b32",
        &values,
        |a, b, c| {
            if (a > b) != (b > c) { b } else { a }
        },
    );
}

#[test]
fn approximations_are_rounded_right_or_off_by_what_hardware_may_be() {
    let values = Values::floats32();
    let cases: [(&str, Real); 7] = [
        ("ex2.approx.f32", f64::exp2),
        ("lg2.approx.f32", f64::log2),
        ("rcp.approx.f32", |a| 1.0 / a),
        ("rsqrt.approx.f32", |a| 1.0 / a.sqrt()),
        ("sqrt.approx.f32", f64::sqrt),
        ("sin.approx.f32", f64::sin),
        ("tanh.approx.f32", f64::tanh),
    ];
    for (name, function) in cases {
        check_float(&format!("{name} %d, %a"), &["f32"], "f32", &values, |a, _, _| {
            bits32(function(f64::from(f32_of(a))) as f32)
        });
    }
    // With the option, results are perturbed by no more than the manual allows, and the same way every time.
    let moved = common::results("ex2.approx.f32 %d, %a", &["f32"], "f32", &values, true);
    let again = common::results("ex2.approx.f32 %d, %a", &["f32"], "f32", &values, true);
    assert_eq!(moved, again);
    let mut different = 0;
    for (inputs, result) in values.rows().zip(&moved) {
        let exact = f64::from(f32_of(inputs[0])).exp2();
        let got = f64::from(f32_of(*result));
        if (exact as f32).is_normal() {
            assert!(
                (got / exact - 1.0).abs() <= 2f64.powi(-22) + 2f64.powi(-23),
                "{exact:e} {got:e}"
            );
            different += u32::from(got as f32 != exact as f32);
        }
    }
    assert!(different > 50, "{different} results moved");
}

#[test]
fn packing_and_halves_of_registers() {
    let values = Values::integers(64);
    check(
        "mov.b64 {%lo0, %hi0}, %a; mov.b64 %d, {%hi0, %lo0}",
        &["b64"],
        "b64",
        &values,
        |a, _, _| a.rotate_left(32),
    );
    check(
        ".reg .b16 %q<4>; mov.b64 {%q0, %q1, %q2, %q3}, %a; mov.b64 %d, {%q3, %q2, %q1, %q0}",
        &["b64"],
        "b64",
        &values,
        |a, _, _| a >> 48 | (a >> 32 & 0xffff) << 16 | (a >> 16 & 0xffff) << 32 | a << 48,
    );
    // Braces open a scope with registers and labels of its own, twice.
    let scope = "{ .reg .b64 %t; .reg .pred %s; add.u64 %t, %a, 1; setp.eq.u64 %s, %t, 0; @%s bra SKIP; mov.u64 %a, %t; SKIP: }";
    check(
        &format!("{scope} {scope} mov.u64 %d, %a"),
        &["b64"],
        "b64",
        &values,
        |a, _, _| {
            let once = a.checked_add(1).unwrap_or(a);
            once.checked_add(1).unwrap_or(once)
        },
    );
}
