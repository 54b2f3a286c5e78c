//! Asynchronous copies and matrix instructions.

mod common;

use common::product::{Operand, product};
use common::{HEAD, run_with, upload, words};
use energy_kernel_emulator::{Argument, FindingKind, Memory, Options, Report};

/// Runs a body over `%p` (input words 0, 1, 2, …), `%q` (output), `%t`, and 1 KB of shared `box`.
fn run(body: &str, threads: u32, count: usize) -> (Vec<u32>, Report) {
    let memory = Memory::new(1 << 20);
    let input = upload(&memory, &(0..4096u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>());
    let output = upload(&memory, &vec![0; 1 << 14]);
    let text = format!(
        "{HEAD}.shared .align 128 .b8 box[1024];\n.visible .entry test(.param .u64 in, .param .u64 out) {{
        .reg .b64 %p, %q, %o, %s; .reg .b32 %t, %x, %y, %z, %r<8>; .reg .pred %a;
        ld.param.u64 %p, [in]; ld.param.u64 %q, [out]; mov.u32 %t, %tid.x; mul.wide.u32 %o, %t, 4; add.u64 %q, %q, %o;
        mul.wide.u32 %o, %t, 16; add.u64 %s, %p, %o; mov.u32 %z, box; mad.lo.u32 %z, %t, 16, %z;
        {body} ret; }}"
    );
    let arguments = [Argument::U64(input), Argument::U64(output)];
    let options = Options {
        sanitize: true,
        count: true,
        ..Options::default()
    };
    let report = run_with(&text, "test", [1, 1, 1], threads, &memory, &arguments, options);
    (words(&memory, output, count), report)
}

const COPY: &str = "cp.async.cg.shared.global [%z], [%s], 16; cp.async.commit_group;";
/// Reads a word that the next thread copied.
const READ: &str =
    "mov.u32 %x, box; xor.b32 %y, %t, 1; mad.lo.u32 %x, %y, 16, %x; ld.shared.u32 %x, [%x+4]; st.global.u32 [%q], %x;";

fn kinds(report: &Report) -> Vec<FindingKind> {
    report.findings.iter().map(|finding| finding.kind).collect()
}

#[test]
fn copies_land_when_they_are_waited_for() {
    let (result, report) = run(&format!("{COPY} cp.async.wait_group 0; bar.sync 0; {READ}"), 64, 64);
    assert_eq!(kinds(&report), []);
    assert_eq!(
        result,
        (0..64u32).map(|thread| (thread ^ 1) * 4 + 1).collect::<Vec<_>>()
    );
    assert_eq!(
        (report.counts.global_load_bytes, report.counts.shared_store_bytes),
        (1024, 1024)
    );
    // Without a wait the bytes have not landed, which is a finding.
    let (result, report) = run(&format!("{COPY} bar.sync 0; {READ}"), 64, 64);
    assert_eq!(kinds(&report), [FindingKind::MissingWait]);
    assert!(result.iter().all(|word| *word == 0));
    // A wait for all but the last group leaves this one under way.
    let (_, report) = run(&format!("{COPY} cp.async.wait_group 1; bar.sync 0; {READ}"), 64, 64);
    assert_eq!(kinds(&report), [FindingKind::MissingWait]);
    // A wait without a barrier does not cover the copy of another warp.
    let far = READ.replace("xor.b32 %y, %t, 1", "xor.b32 %y, %t, 32");
    let (_, report) = run(&format!("{COPY} cp.async.wait_all; {far}"), 64, 64);
    assert!(
        !kinds(&report).is_empty() && kinds(&report) != [FindingKind::UninitialisedRegister],
        "{report:?}"
    );
}

#[test]
fn what_is_not_read_is_zero() {
    let (result, report) = run(
        "and.b32 %x, %t, 1; shl.b32 %x, %x, 3; cp.async.cg.shared.global [%z], [%s], 16, %x; cp.async.wait_all; ld.shared.v2.u32 {%x, %y}, [%z]; mad.lo.u32 %x, %x, 1000, %y; st.global.u32 [%q], %x;",
        32,
        32,
    );
    assert_eq!(kinds(&report), []);
    for (thread, value) in result.into_iter().enumerate() {
        let first = thread as u32 * 4;
        assert_eq!(value, if thread % 2 == 1 { first * 1000 + first + 1 } else { 0 });
    }
}

#[test]
fn matrices_go_to_registers_and_back() {
    // Word w of row r of an 8×8 matrix is 4 r + w in the input. Lane 4 r + w gets it; transposed, it gets two halves.
    let fill = format!("{COPY} cp.async.wait_all; bar.warp.sync 0xffffffff;");
    let (result, report) = run(
        &format!(
            "{fill} ldmatrix.sync.aligned.m8n8.x4.shared.b16 {{%r0, %r1, %r2, %r3}}, [%z]; st.global.u32 [%q], %r1;"
        ),
        32,
        32,
    );
    assert_eq!(kinds(&report), []);
    assert_eq!(result, (32..64).collect::<Vec<u32>>());
    assert_eq!(
        (report.counts.shared_load_bytes, report.counts.shared_bank_conflicts),
        (512, 0)
    );
    let (result, _) = run(
        &format!("{fill} ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {{%r0}}, [%z]; st.global.u32 [%q], %r0;"),
        32,
        32,
    );
    let element = |row: u32, column: u32| {
        if column.is_multiple_of(2) {
            row * 4 + column / 2
        } else {
            0
        }
    };
    for (lane, value) in result.into_iter().enumerate() {
        let (g, t) = (lane as u32 / 4, lane as u32 % 4);
        assert_eq!(value, element(2 * t, g) | element(2 * t + 1, g) << 16);
    }
    let round = "stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%z], {%r0, %r1, %r2, %r3}; bar.warp.sync 0xffffffff; ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%r4, %r5, %r6, %r7}, [%z];
        movmatrix.sync.aligned.m8n8.trans.b16 %r7, %r7; movmatrix.sync.aligned.m8n8.trans.b16 %r7, %r7; st.global.u32 [%q], %r7;";
    let (result, report) = run(
        &format!("mov.u32 %r0, 1; mov.u32 %r1, 2; mov.u32 %r2, 3; mul.lo.u32 %r3, %t, 0x10001; {round}"),
        32,
        32,
    );
    assert_eq!(kinds(&report), []);
    assert_eq!(result, (0..32).map(|lane| lane * 0x10001).collect::<Vec<u32>>());
}

#[test]
fn matrices_have_generic_addresses_too() {
    let body = |address: &str| {
        format!(
            ".reg .b64 %g; {COPY} cp.async.wait_all; bar.warp.sync 0xffffffff; {address}
            ldmatrix.sync.aligned.m8n8.x4.b16 {{%r0, %r1, %r2, %r3}}, [%g+0]; add.u32 %r1, %r1, 1;
            stmatrix.sync.aligned.m8n8.x4.b16 [%g], {{%r1, %r1, %r1, %r1}}; bar.warp.sync 0xffffffff;
            ld.shared.u32 %x, [%z]; st.global.u32 [%q], %r2;"
        )
    };
    let generic = "cvt.u64.u32 %g, %z; cvta.shared.u64 %g, %g;";
    let (result, report) = run(&body(generic), 32, 32);
    assert_eq!((kinds(&report), result), (vec![], (64..96).collect::<Vec<u32>>()));
    // An offset in shared memory, used as a generic address, points to global memory.
    for address in ["cvt.u64.u32 %g, %z;", "mov.u64 %g, %s;"] {
        let (_, report) = run(&body(address), 32, 32);
        assert_eq!(kinds(&report), [FindingKind::OutOfBounds; 2], "{address}");
    }
    let (result, report) = run(
        &format!(
            "{COPY} cp.async.wait_all; bar.warp.sync 0xffffffff;
            ldmatrix.sync.aligned.m8n8.x1.b16 {{%r0}}, [box]; st.global.u32 [%q], %r0;"
        ),
        32,
        4,
    );
    assert_eq!((kinds(&report), result), (vec![], vec![0, 1, 2, 3]));
}

/// A kind of element: its bits from a small integer, and its size in bits.
struct Element {
    bits: u32,
    encode: fn(i32) -> u64,
    decode: fn(u64) -> f64,
}

const F16: Element = Element {
    bits: 16,
    encode: |value| half::f16::from_f32(value as f32).to_bits().into(),
    decode: |bits| half::f16::from_bits(bits as u16).to_f64(),
};
const BF16: Element = Element {
    bits: 16,
    encode: |value| half::bf16::from_f32(value as f32).to_bits().into(),
    decode: |bits| half::bf16::from_bits(bits as u16).to_f64(),
};
const F32: Element = Element {
    bits: 32,
    encode: |value| (value as f32).to_bits().into(),
    decode: |bits| f32::from_bits(bits as u32).into(),
};
const F64: Element = Element {
    bits: 64,
    encode: |value| f64::from(value).to_bits(),
    decode: f64::from_bits,
};
const S8: Element = Element {
    bits: 8,
    encode: |value| value as u8 as u64,
    decode: |bits| f64::from(bits as i8),
};
const U8: Element = Element {
    bits: 8,
    encode: |value| value as u8 as u64,
    decode: |bits| f64::from(bits as u8),
};
const S32: Element = Element {
    bits: 32,
    encode: |value| value as u32 as u64,
    decode: |bits| f64::from(bits as i32),
};
/// Small integers as e4m3 by table: 0, ±1, ±2, ±3.
const E4M3: Element = Element {
    bits: 8,
    encode: |value| [0, 0x38, 0x40, 0x44][value.unsigned_abs() as usize & 3] | if value < 0 { 0x80 } else { 0 },
    decode: |_| 0.0,
};

/// Multiplies random small matrices with one instruction and by hand.
fn multiply(instruction: &str, (m, k): (usize, usize), a: &Element, b: &Element, c: &Element) {
    let mut state = 99u32;
    let mut random = |most: i32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as i32 % (2 * most + 1) - most
    };
    // Unsigned types take no negative numbers.
    let mut matrix = |count: usize, most: i32, element: &Element| -> Vec<i32> {
        let low = (element.decode)((element.encode)(-1)) > 0.0;
        (0..count)
            .map(|_| if low { random(most).abs() } else { random(most) })
            .collect()
    };
    let (left, right, sums) = (matrix(m * k, 3, a), matrix(k * 8, 3, b), matrix(m * 8, 100, c));
    let encoded = |matrix: &[i32], element: &Element| -> Vec<u64> {
        matrix.iter().map(|value| (element.encode)(*value)).collect()
    };
    let operands = [
        Operand {
            bits: a.bits,
            elements: encoded(&left, a),
        },
        Operand {
            bits: b.bits,
            elements: encoded(&right, b),
        },
        Operand {
            bits: c.bits,
            elements: encoded(&sums, c),
        },
    ];
    let (result, report) = product(HEAD, instruction, (m, k), &operands, Options::default());
    assert_eq!(report.counts.matrix_flops, 2 * (m * k * 8) as u64);
    for (at, bits) in result.into_iter().enumerate() {
        let (row, column) = (at / 8, at % 8);
        let expected = sums[at]
            + (0..k)
                .map(|index| left[row * k + index] * right[index * 8 + column])
                .sum::<i32>();
        assert_eq!(
            (c.decode)(bits),
            f64::from(expected),
            "{instruction} at {row}, {column}"
        );
    }
}

#[test]
fn products_of_every_shape() {
    for (shape, types, m, k, a, b, c) in [
        ("m16n8k16", "f32.f16.f16.f32", 16, 16, &F16, &F16, &F32),
        ("m16n8k8", "f32.f16.f16.f32", 16, 8, &F16, &F16, &F32),
        ("m16n8k16", "f16.f16.f16.f16", 16, 16, &F16, &F16, &F16),
        ("m16n8k8", "f16.f16.f16.f16", 16, 8, &F16, &F16, &F16),
        ("m16n8k16", "f32.bf16.bf16.f32", 16, 16, &BF16, &BF16, &F32),
        ("m16n8k8", "f32.bf16.bf16.f32", 16, 8, &BF16, &BF16, &F32),
        ("m16n8k8", "f32.tf32.tf32.f32", 16, 8, &F32, &F32, &F32),
        ("m16n8k4", "f32.tf32.tf32.f32", 16, 4, &F32, &F32, &F32),
        ("m16n8k32", "s32.s8.s8.s32", 16, 32, &S8, &S8, &S32),
        ("m16n8k32", "s32.u8.s8.s32", 16, 32, &U8, &S8, &S32),
        ("m16n8k32", "s32.s8.u8.s32", 16, 32, &S8, &U8, &S32),
        ("m16n8k16", "satfinite.s32.s8.s8.s32", 16, 16, &S8, &S8, &S32),
        ("m16n8k16", "s32.u8.u8.s32", 16, 16, &U8, &U8, &S32),
        ("m8n8k16", "s32.s8.s8.s32", 8, 16, &S8, &S8, &S32),
        ("m16n8k32", "f32.e4m3.e4m3.f32", 16, 32, &E4M3, &E4M3, &F32),
        ("m8n8k4", "f64.f64.f64.f64", 8, 4, &F64, &F64, &F64),
        ("m16n8k4", "f64.f64.f64.f64", 16, 4, &F64, &F64, &F64),
        ("m16n8k8", "f64.f64.f64.f64", 16, 8, &F64, &F64, &F64),
        ("m16n8k16", "f64.f64.f64.f64", 16, 16, &F64, &F64, &F64),
    ] {
        let instruction = format!("mma.sync.aligned.{shape}.row.col.{types}");
        multiply(&instruction, (m, k), a, b, c);
    }
}

#[test]
fn bulk_copies_arrive_on_mbarriers() {
    let copy = |wait: &str| {
        format!(
            ".shared .align 8 .b64 bar; mov.u32 %x, bar; setp.eq.u32 %a, %t, 0; @%a mbarrier.init.shared::cta.b64 [%x], 1; bar.sync 0;
            mov.u32 %y, box; @%a mbarrier.arrive.expect_tx.shared::cta.b64 _, [%x], 256;
            @%a cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%y], [%p], 256, [%x];
            {wait} shl.b32 %z, %t, 2; add.u32 %y, %y, %z; ld.shared.u32 %y, [%y]; st.global.u32 [%q], %y;"
        )
    };
    let wait = "WAIT: mbarrier.try_wait.parity.shared::cta.b64 %a, [%x], 0; @!%a bra WAIT;";
    let (result, report) = run(&copy(wait), 64, 64);
    assert_eq!(kinds(&report), []);
    assert_eq!(result, (0..64).collect::<Vec<u32>>());
    assert_eq!(
        (report.counts.global_load_bytes, report.counts.dram_read_bytes),
        (256, 256)
    );
    // A thread that does not wait races.
    let (_, report) = run(&copy(""), 64, 64);
    assert_eq!(kinds(&report), [FindingKind::SharedRace]);
    // The second phase never ends.
    let text = format!(
        "{HEAD}.visible .entry test() {{ .shared .align 8 .b64 bar; .reg .pred %a; .reg .b32 %x; mov.u32 %x, bar; mbarrier.init.shared.b64 [%x], 2; WAIT: mbarrier.try_wait.parity.shared.b64 %a, [%x], 0; @!%a bra WAIT; ret; }}"
    );
    let error = common::try_run(&text, "test", [1, 1, 1], 32, &Memory::new(0), &[], Options::default());
    assert!(
        matches!(error, Err(energy_kernel_emulator::Error::Deadlock { .. })),
        "{error:?}"
    );
}

#[test]
fn warp_groups_multiply_out_of_shared_memory() {
    // A: row t is t everywhere, 64 × 16 halves in blocks of 8 × 8; B: ones.
    let product = |wait: &str| {
        format!(
            ".shared .align 128 .b8 tiles[2304]; .reg .b64 %m, %n; .reg .f32 %d<4>; .reg .b16 %h;
            setp.gt.u32 %a, %t, 71; @%a bra FILLED;
            cvt.rn.f16.u32 %h, %t; setp.gt.u32 %a, %t, 63; @%a mov.b16 %h, 0x3c00; mov.b32 %x, {{%h, %h}};
            mov.u32 %y, tiles; shr.u32 %z, %t, 3; mad.lo.u32 %y, %z, 256, %y; and.b32 %z, %t, 7; mad.lo.u32 %y, %z, 16, %y;
            st.shared.v4.b32 [%y], {{%x, %x, %x, %x}}; st.shared.v4.b32 [%y+128], {{%x, %x, %x, %x}};
            FILLED: fence.proxy.async; bar.sync 0;
            mov.u64 %m, tiles; shr.u64 %m, %m, 4; or.b64 %m, %m, 0x0000001000080000; add.u64 %n, %m, 128;
            setp.ne.u32 %a, 0, 0; wgmma.fence.sync.aligned;
            wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {{%d0, %d1, %d2, %d3}}, %m, %n, %a, 1, 1, 0, 0;
            wgmma.commit_group.sync.aligned; {wait}
            add.f32 %d0, %d0, %d2; cvt.rzi.u32.f32 %x, %d0; st.global.u32 [%q], %x;"
        )
    };
    let (result, report) = run(&product("wgmma.wait_group.sync.aligned 0;"), 128, 128);
    assert_eq!(kinds(&report), []);
    for (thread, value) in result.into_iter().enumerate() {
        let row = thread / 32 * 16 + thread % 32 / 4;
        assert_eq!(value as usize, 16 * row + 16 * (row + 8));
    }
    assert_eq!(report.counts.matrix_flops, 2 * 64 * 8 * 16);
    let (_, report) = run(&product(""), 128, 128);
    assert_eq!(kinds(&report), [FindingKind::MissingWait]);
}
