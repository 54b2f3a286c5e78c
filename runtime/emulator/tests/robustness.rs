//! Invalid text: errors name the line and the mistake, and nothing panics.

mod common;

use common::HEAD;
use common::exercise::exercise;
use energy_kernel_emulator::{Argument, Error, Launch, Memory, Module, Options, launch};
use proptest::prelude::*;

/// A module with a bit of everything.
const SAMPLE: &str = r#"
.version 8.0
.target sm_80
.address_size 64
.global .align 8 .u64 pointers[2] = {generic(word), 0xFF00(word)};
.global .align 4 .u32 word = 7;
.const .align 4 .f32 table[3] = {0f3F800000, 0f40000000, 1.5};
.extern .shared .align 16 .b8 dynamic[];
.func (.param .b32 result) twice(.param .b32 x) {
    .reg .b32 %r<3>;
    ld.param.u32 %r1, [x];
    add.u32 %r2, %r1, %r1;
    st.param.b32 [result], %r2;
    ret;
}
.func (.reg .b32 sum) plus(.reg .b32 a, .reg .b32 b) { add.u32 sum, a, b; ret; }
.visible .entry sample(.param .u64 .ptr .global .align 4 out, .param .u32 n, .param .align 8 .b8 s[16]) .maxntid 128, 1, 1 {
    .reg .pred %p<4>; .reg .b16 %h<4>; .reg .b32 %r<20>; .reg .f32 %f<8>; .reg .b64 %d<8>;
    .local .align 8 .b8 depot[16];
    .shared .align 4 .b8 box[512];
    ld.param.u64 %d1, [out]; ld.param.u32 %r1, [n]; ld.param.v2.u32 {%r2, %r3}, [s+8];
    mov.u32 %r4, %tid.x; setp.ge.s32 %p1, %r4, %r1; @%p1 bra END;
    mov.u64 %d2, depot; st.local.v2.u32 [%d2], {%r2, %r3}; ld.local.u32 %r5, [%d2+4];
    { .param .b32 a; .param .b32 v; st.param.b32 [a], %r5; call.uni (v), twice, (a); ld.param.b32 %r5, [v]; }
    shl.b32 %r6, %r4, 2; mov.u32 %r7, box; add.u32 %r7, %r7, %r6; st.shared.u32 [%r7], %r5;
    .reg .v2 .b32 V; mov.v2.b32 V, {%r5, (1 + 2) << 1}; call (%r5), plus, (V.x, 4 % 3); { .global .b32 once = 2*3; ld.global.u32 %r6, [once]; }
    bar.sync 0;
    ld.shared.u32 %r8, [%r7]; cvt.rn.f32.s32 %f1, %r8; fma.rn.f32 %f2, %f1, 0f3F000000, %f1; ex2.approx.ftz.f32 %f3, %f2;
    shfl.sync.bfly.b32 %r9|%p2, %r8, 1, 31, -1; @%p2 add.s32 %r8, %r8, %r9;
    ld.const.f32 %f4, [table+8]; mul.wide.u32 %d3, %r4, 4; add.s64 %d4, %d1, %d3; st.global.f32 [%d4], %f4;
    atom.global.add.u32 %r10, [word], 1; and.b32 %r11, %r4, 1; rem.u32 %r12, %r8, %r11;
    TABLE: .branchtargets L0, L1; brx.idx %r11, TABLE; L0: mov.b32 {%h1, %h2}, %r8; L1: div.rn.f32 %f5, %f3, %f2;
    END: ret;
}
.visible .entry matrices(.param .u64 .ptr .global .align 16 in) {
    .reg .pred %p<4>; .reg .b32 %r<40>; .reg .b64 %d<8>;
    .shared .align 128 .b8 ring[2048];
    .shared .align 8 .b64 gate[2];
    ld.param.u64 %d0, [in]; mov.u32 %r0, %tid.x; mov.u32 %r2, ring; mov.u32 %r3, gate; mul.wide.u32 %d1, %r0, 8; add.u64 %d1, %d0, %d1;
    mad.lo.u32 %r4, %r0, 16, %r2; setp.eq.u32 %p1, %r0, 0; @%p1 mbarrier.init.shared.b64 [%r3], 48; bar.sync 0;
    cp.async.ca.shared.global [%r4], [%d1], 8, 4; cp.async.cg.shared.global [%r4+768], [%d0], 16, %p1; cp.async.commit_group;
    cp.async.ca.shared.global [%r4+8], [%d1], 8; cp.async.mbarrier.arrive.noinc.shared.b64 [%r3]; cp.async.wait_group 0;
    WAIT: mbarrier.test_wait.parity.shared.b64 %p2, [%r3], 0; @!%p2 bra WAIT; bar.sync 0;
    setp.gt.u32 %p3, %r0, 31; @%p3 bra OUT;
    ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r10, %r11, %r12, %r13}, [%r4]; ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%r14, %r15}, [%r4+256];
    mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%r20, %r21, %r22, %r23}, {%r10, %r11, %r12, %r13}, {%r14, %r15}, {%r10, %r11, %r12, %r13};
    mma.sync.aligned.m16n8k32.row.col.satfinite.s32.s8.u8.s32 {%r24, %r25, %r26, %r27}, {%r10, %r11, %r12, %r13}, {%r14, %r15}, {%r20, %r21, %r22, %r23};
    wmma.load.a.sync.aligned.row.m8n32k16.global.s8 {%r16}, [%d0], 32; wmma.load.b.sync.aligned.col.m8n32k16.shared.s8 {%r30, %r31, %r32, %r33}, [%r2], 16;
    wmma.mma.sync.aligned.row.col.m8n32k16.s32.s8.s8.s32 {%r20, %r21, %r22, %r23, %r24, %r25, %r26, %r27}, {%r16}, {%r30, %r31, %r32, %r33}, {%r20, %r21, %r22, %r23, %r24, %r25, %r26, %r27};
    wmma.store.d.sync.aligned.col.m8n32k16.shared.s32 [%r2+768], {%r20, %r21, %r22, %r23, %r24, %r25, %r26, %r27}, 8; redux.sync.add.s32 %r34, %r20, 0xffffffff;
    OUT: ret;
}
"#;

#[test]
fn the_sample_itself_runs() {
    let module = Module::parse(SAMPLE).expect("PTX");
    assert_eq!((module.version(), module.target()), ((8, 0), "sm_80"));
    let kernel = module.kernel("sample").expect("the kernel");
    assert_eq!(kernel.static_shared(), 512);
    assert_eq!(kernel.max_threads(), Some([128, 1, 1]));
    let sizes: Vec<usize> = kernel.parameters().iter().map(|parameter| parameter.size).collect();
    assert_eq!((sizes, kernel.parameters()[0].is_pointer), (vec![8, 4, 16], true));
    assert_eq!(module.check("sample"), Ok(()));
    // The other one has no finding, so that its mutations run.
    let memory = Memory::new(1 << 20);
    let buffer = common::upload(&memory, &[1; 512]);
    let with = Launch {
        grid: [1, 1, 1],
        block: [48, 1, 1],
        dynamic_shared: 0,
        arguments: &[Argument::U64(buffer)],
        options: Options {
            sanitize: true,
            ..Options::default()
        },
    };
    let report = launch(&module, "matrices", &memory, &with).expect("no error");
    assert_eq!(report.findings, []);
}

#[test]
fn errors_name_line_and_reason() {
    let parse = |text: &str| Module::parse(text).expect_err(text).to_string();
    assert_eq!(
        parse(".version 8.0\n.target sm_80\n.visible .entry k( {"),
        "PTX line 3: expected a type, found `{`"
    );
    assert_eq!(
        parse(".version 8.0\n.visible .entry k() {\nadd.u32 %r1, %r2 %r3;\n}"),
        "PTX line 3: expected `;` after `add`, found `%r3`"
    );
    assert_eq!(
        parse(".version 8.0\n/* open"),
        "PTX line 2: a comment opened here is never closed"
    );
    assert_eq!(parse(""), "PTX line 1: PTX starts with `.version`; none was found");
    assert_eq!(
        parse(".version 8.0\n.visible .entry k() {\nmov.f32 %f1, 0f12;\n}"),
        "PTX line 3: `0f12` is not a float literal: 0f takes 8 and 0d takes 16 hexadecimal digits"
    );

    let check = |body: &str| {
        let text =
            format!("{HEAD}.visible .entry k() {{ .reg .b32 %r<4>; .reg .b64 %d<2>; .reg .pred %p;\n{body}\nret; }}");
        Module::parse(&text).expect(body).check("k").expect_err(body)
    };
    let unsupported = |body: &str, reason: &str| {
        let error = check(body);
        assert!(
            matches!(&error, Error::Unsupported { reason: found, line: 5, .. } if found == reason),
            "{error}"
        );
    };
    unsupported("frobnicate.u32 %r1, %r2;", "the instruction `frobnicate`");
    unsupported("add.whatever.u32 %r1, %r2, %r3;", "`.whatever`");
    unsupported(
        "mov.u32 %r1, %lanes;",
        "the name `%lanes` (not declared, and no special register known here)",
    );
    unsupported("max.relu.u16x2 %r1, %r2, %r3;", "`.relu` of .u16x2");
    unsupported("sub.s16x2 %r1, %r2, %r3;", "the type .s16x2");
    unsupported("cvt.pack.u8.s32.b32 %r1, %r2, %r3, %r3;", "this type");
    unsupported("cvt.pack.sat.u16.s32.b32 %r1, %r2, %r3, %r3;", "these types");
    unsupported(
        "cvt.rn.e4m3x2.f16x2 %r1, %r2;",
        "this conversion from .f16x2 to .e4m3x2",
    );
    unsupported(
        "cvt.f16x2.e5m2x2 %r1, %r2;",
        "a conversion from .e5m2x2 to .f16x2 without `.rn`",
    );
    let invalid = |body: &str, message: &str| {
        let error = check(body);
        assert!(
            matches!(&error, Error::Invalid { message: found, line: 5, .. } if found == message),
            "{error}"
        );
    };
    invalid("add.u32 %r1, %r2, x;", "no register `x`");
    invalid("add.u64 %d1, %d1, %r2;", "`%r2` is .b32 where .u64 is needed");
    // Only `cvt`, `ld` and `st` take registers of other widths than their types, as in ptxas.
    invalid("add.u32 %d1, %r1, %r2;", "`%d1` is .b64 where .u32 is needed");
    invalid("add.u32 %r1, %d1, %r2;", "`%d1` is .b64 where .u32 is needed");
    invalid("mov.b16 %r1, 0;", "`%r1` is .b32 where .b16 is needed");
    invalid("cvt.u64.u32 %r1, %r2;", "`%r1` is .b32, too narrow for .u64");
    invalid("ld.global.u64 %r1, [%d1];", "`%r1` is .b32, too narrow for .b64");
    invalid("bra NOWHERE;", "no label `NOWHERE`");
    invalid("add.u32 %r1, %r2;", "2 operands");
    unsupported(
        "add.u32 %r1, %r2, %r4;",
        "the name `%r4` (not declared, and no special register known here)",
    );
}

#[test]
fn exotic_kernels_do_not_stop_their_neighbours() {
    let text = format!("{HEAD}.visible .entry odd() {{ frobnicate; ret; }}\n.visible .entry fine() {{ ret; }}");
    let module = Module::parse(&text).expect("PTX");
    assert!(matches!(module.check("odd"), Err(Error::Unsupported { line: 4, .. })));
    assert_eq!(module.check("fine"), Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    /// Words moved, repeated and replaced by others of the sample.
    #[test]
    fn mutated_text_never_panics(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..4u8), 1..6)) {
        let mut words: Vec<&str> = SAMPLE.split_inclusive([' ', ',', ';', '.', '\n', ']', '{']).collect();
        for (at, other, kind) in edits {
            let (at, other) = (at.index(words.len()), other.index(words.len()));
            match kind {
                0 => { words.remove(at); }
                1 => words.insert(at, words[other]),
                2 => words[at] = words[other],
                _ => words.swap(at, other),
            }
        }
        exercise(&words.concat());
    }

    /// Bytes replaced and the end cut off.
    #[test]
    fn corrupted_text_never_panics(bytes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8), end in any::<prop::sample::Index>()) {
        let mut text = SAMPLE.as_bytes().to_vec();
        for (at, byte) in bytes {
            let at = at.index(text.len());
            text[at] = byte;
        }
        let cut = end.index(text.len() * 4).min(text.len());
        exercise(&String::from_utf8_lossy(&text[..cut]));
    }

    /// Numbers at their limits.
    #[test]
    fn extreme_numbers_never_panic(at in any::<prop::sample::Index>(), value in prop::sample::select(vec!["0", "1", "-1", "255", "4294967295", "18446744073709551615", "0x8000000000000000", "65536", "1000000"])) {
        let digits: Vec<usize> = SAMPLE.char_indices().filter(|(index, character)| character.is_ascii_digit() && !SAMPLE.as_bytes()[index - 1].is_ascii_alphanumeric()).map(|(index, _)| index).collect();
        let start = digits[at.index(digits.len())];
        let length = SAMPLE[start..].find(|character: char| !character.is_ascii_alphanumeric()).unwrap_or(0);
        exercise(&format!("{}{value}{}", &SAMPLE[..start], &SAMPLE[start + length..]));
    }
}
