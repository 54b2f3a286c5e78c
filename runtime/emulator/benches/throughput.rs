//! Thread instructions per second of one host thread, for the three kinds of kernel that matter.
//!
//! What limits each, on a machine with AVX2:
//! - `fma`: registers only. An operation is one indirect call and a loop over four vectors of eight lanes; the three
//!   operands are copied from the register file first, so the level-one cache's bandwidth bounds it.
//! - `gemm tile`: loads of shared memory go lane by lane, each checked against the block's size; the loads cost more
//!   than the multiplications. The sanitizer keeps a record per 4 bytes and updates it lane by lane: it is what
//!   dominates there.
//! - `copy`: global loads and stores go lane by lane through relaxed atomics, after one search for the allocation
//!   per request.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use energy_kernel_emulator::{Argument, Launch, Memory, Module, Options, launch};

/// 64 independent multiply-adds in a loop.
fn fma() -> String {
    let chain: String = (0..64)
        .map(|index| format!("fma.rn.f32 %a{index}, %x, %y, %a{index};\n"))
        .collect();
    let start: String = (0..64)
        .map(|index| format!("mov.f32 %a{index}, 0f3F800000;\n"))
        .collect();
    let sum: String = (1..64).map(|index| format!("add.f32 %a0, %a0, %a{index};\n")).collect();
    format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n
        .visible .entry fma(.param .u64 out, .param .u32 steps) {{
            .reg .f32 %a<64>; .reg .f32 %x, %y; .reg .b32 %i, %n, %t; .reg .b64 %p, %o; .reg .pred %go;
            ld.param.u64 %p, [out]; ld.param.u32 %n, [steps];
            mov.u32 %t, %tid.x; cvt.rn.f32.u32 %x, %t; mov.f32 %y, 0f3A83126F; mov.u32 %i, 0;
            {start}
            LOOP:
            {chain}
            add.u32 %i, %i, 1; setp.lt.u32 %go, %i, %n; @%go bra LOOP;
            {sum}
            mul.wide.u32 %o, %t, 4; add.u64 %p, %p, %o; st.global.f32 [%p], %a0; ret;
        }}"
    )
}

/// The inner loop of a matrix product: per step two 16-byte loads of shared memory and 16 multiply-adds.
fn gemm() -> String {
    let products: String = (0..16)
        .map(|index| format!("fma.rn.f32 %c{index}, %a{}, %b{}, %c{index};\n", index / 4, index % 4))
        .collect();
    let start: String = (0..16)
        .map(|index| format!("mov.f32 %c{index}, 0f00000000;\n"))
        .collect();
    let sum: String = (1..16).map(|index| format!("add.f32 %c0, %c0, %c{index};\n")).collect();
    format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n
        .visible .entry gemm(.param .u64 out, .param .u32 steps) {{
            .shared .align 16 .b8 left[2048]; .shared .align 16 .b8 right[2048];
            .reg .f32 %a<4>; .reg .f32 %b<4>; .reg .f32 %c<16>; .reg .b32 %i, %n, %t, %l, %r, %k, %x; .reg .b64 %p, %o; .reg .pred %go;
            ld.param.u64 %p, [out]; ld.param.u32 %n, [steps]; mov.u32 %t, %tid.x; mov.u32 %i, 0;
            mov.u32 %l, left; mov.u32 %r, right;
            shl.b32 %k, %t, 3; add.u32 %x, %l, %k; st.shared.v2.b32 [%x], {{0f3F800000, 0f40000000}};
            add.u32 %x, %r, %k; st.shared.v2.b32 [%x], {{0f3F800000, 0f3F000000}};
            bar.sync 0;
            and.b32 %k, %t, 7; shl.b32 %k, %k, 4; add.u32 %l, %l, %k;
            shr.u32 %k, %t, 3; shl.b32 %k, %k, 4; and.b32 %k, %k, 127; add.u32 %r, %r, %k;
            {start}
            LOOP:
            ld.shared.v4.f32 {{%a0, %a1, %a2, %a3}}, [%l];
            ld.shared.v4.f32 {{%b0, %b1, %b2, %b3}}, [%r+128];
            {products}
            add.u32 %i, %i, 1; setp.lt.u32 %go, %i, %n; @%go bra LOOP;
            {sum}
            mul.wide.u32 %o, %t, 4; add.u64 %p, %p, %o; st.global.f32 [%p], %c0; ret;
        }}"
    )
}

/// Sixteen bytes a thread, from one buffer to another.
fn copy() -> String {
    ".version 8.0\n.target sm_80\n.address_size 64\n
    .visible .entry copy(.param .u64 out, .param .u64 in) {
        .reg .b32 %r<4>; .reg .b32 %v<4>; .reg .b64 %p<5>;
        ld.param.u64 %p0, [out]; ld.param.u64 %p1, [in];
        mov.u32 %r0, %ctaid.x; mov.u32 %r1, %ntid.x; mov.u32 %r2, %tid.x; mad.lo.u32 %r3, %r0, %r1, %r2;
        mul.wide.u32 %p2, %r3, 16; add.u64 %p3, %p1, %p2; add.u64 %p4, %p0, %p2;
        ld.global.v4.b32 {%v0, %v1, %v2, %v3}, [%p3];
        st.global.v4.b32 [%p4], {%v0, %v1, %v2, %v3};
        ret;
    }"
    .to_owned()
}

fn throughput(criterion: &mut Criterion) {
    let memory = Memory::new(1 << 26);
    let out = memory.allocate(1 << 22).expect("memory");
    let input = memory.allocate(1 << 22).expect("memory");
    memory.fill(input, 1, 1 << 22).expect("memory");
    let steps = Argument::U32(200);
    let kernels = [
        ("fma", fma(), [1, 1, 1], vec![Argument::U64(out), steps.clone()]),
        ("gemm", gemm(), [1, 1, 1], vec![Argument::U64(out), steps]),
        (
            "copy",
            copy(),
            [1024, 1, 1],
            vec![Argument::U64(out), Argument::U64(input)],
        ),
    ];
    for (name, text, grid, arguments) in kernels {
        let module = Module::parse(&text).expect("PTX");
        let mut group = criterion.benchmark_group(name);
        for (label, sanitize, count) in [
            ("plain", false, false),
            ("count", false, true),
            ("sanitize", true, false),
        ] {
            let options = |count| Options {
                sanitize,
                count,
                threads: Some(1),
                ..Options::default()
            };
            let with = |count| Launch {
                grid,
                block: [256, 1, 1],
                dynamic_shared: 0,
                arguments: &arguments,
                options: options(count),
            };
            let report = launch(&module, name, &memory, &with(true)).expect("launch");
            assert!(report.findings.is_empty(), "{:?}", report.findings);
            group.throughput(Throughput::Elements(report.counts.thread_instructions.total()));
            let launched = with(count);
            group.bench_function(BenchmarkId::from_parameter(label), |bencher| {
                bencher.iter(|| black_box(launch(&module, name, &memory, &launched).expect("launch")));
            });
        }
    }
}

criterion_group!(benches, throughput);
criterion_main!(benches);
