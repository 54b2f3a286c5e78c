//! The throughput of one host thread: thread instructions of ordinary kernels, operations of matrix products, a second.
//!
//! The limits on a machine with AVX2:
//! - `fma`: registers only. An operation is one indirect call and a loop over four vectors of eight lanes; the three
//!   operands are copied from the register file first, so the level-one cache's bandwidth bounds it.
//! - `gemm tile`: loads of shared memory go lane by lane, each checked against the block's size; the loads cost more
//!   than the multiplications. With the sanitizer on, its record of every 4 bytes, updated lane by lane, dominates.
//! - `copy`: global loads and stores go lane by lane through relaxed atomics, after one search for the allocation
//!   per request.
//! - `mma`: two fifths of the time go to the additions, in vectors of `f64` over eight columns. Nearly as much goes to
//!   640 elements, which move from registers to rows and columns, and whose exponents are found, one by one. `tf32` has
//!   half the operations for as many elements, hence half the throughput. Integers need neither exponents nor steps.
//! - `pipeline`: three quarters of the time go to `mma`, a few percent each to `ldmatrix` and `cp.async`. With the
//!   sanitizer and counting on, about a quarter goes to the record of shared memory.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use energy_kernel_emulator::{Argument, Counts, Launch, Memory, Module, Options, launch};

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

/// The inner loop of a matrix product: two 16-byte loads of shared memory and 16 multiply-adds a step.
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

/// A copy from one buffer to another, with 16 bytes a thread.
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

/// Eight independent products a step, on registers only.
fn mma(instruction: &str, a: usize, b: usize) -> String {
    let list = |name: &str, from: usize, count: usize| {
        let names: Vec<String> = (from..from + count).map(|at| format!("%{name}{at}")).collect();
        format!("{{{}}}", names.join(", "))
    };
    let products: String = (0..8)
        .map(|at| {
            let d = list("d", 4 * at, 4);
            format!("{instruction} {d}, {}, {}, {d};\n", list("a", 0, a), list("b", 0, b))
        })
        .collect();
    // Ones in every type: two halves, a float, four bytes.
    let ones: String = (0..a)
        .map(|at| format!("mov.b32 %a{at}, 0x3c003c00;\n"))
        .chain((0..b).map(|at| format!("mov.b32 %b{at}, 0x3c003c00;\n")))
        .chain((0..32).map(|at| format!("mov.b32 %d{at}, 0;\n")))
        .collect();
    let sum: String = (1..32).map(|at| format!("xor.b32 %d0, %d0, %d{at};\n")).collect();
    format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n
        .visible .entry mma(.param .u64 out, .param .u32 steps) {{
            .reg .b32 %a<4>, %b<2>, %d<32>; .reg .b32 %i, %n, %t; .reg .b64 %p, %o; .reg .pred %go;
            ld.param.u64 %p, [out]; ld.param.u32 %n, [steps]; mov.u32 %t, %tid.x; mov.u32 %i, 0;
            {ones}
            LOOP:
            {products}
            add.u32 %i, %i, 1; setp.lt.u32 %go, %i, %n; @%go bra LOOP;
            {sum}
            mul.wide.u32 %o, %t, 4; add.u64 %p, %p, %o; st.global.b32 [%p], %d0; ret;
        }}"
    )
}

/// The main loop of a product of f16 as a compiler emits it: four warps, a tile of 64 × 64, 32 along k a stage, three
/// stages of 16-byte copies, swizzled rows of 64 bytes.
fn pipeline() -> String {
    // Each of 128 threads copies two chunks of A and two of B a stage; a stage has 8 KB.
    let copy = "rem.u32 %x, %f, 3; shl.b32 %x, %x, 13; add.u32 %x, %x, %w;
        cp.async.cg.shared.global [%x], [%g], 16; cp.async.cg.shared.global [%x+2048], [%g+2048], 16;
        cp.async.cg.shared.global [%x+4096], [%g+4096], 16; cp.async.cg.shared.global [%x+6144], [%g+6144], 16;
        cp.async.commit_group; add.u32 %f, %f, 1;";
    // A warp computes 32 × 32 out of 64 × 32 and 32 × 64: two steps of k = 16, each 2 × 4 products.
    let mut steps = String::new();
    for step in 0..2 {
        let chunk = if step == 0 {
            ""
        } else {
            "xor.b32 %l, %l, 32; xor.b32 %m, %m, 32;"
        };
        steps += &format!(
            "{chunk}
            ldmatrix.sync.aligned.m8n8.x4.shared.b16 {{%a0, %a1, %a2, %a3}}, [%l];
            ldmatrix.sync.aligned.m8n8.x4.shared.b16 {{%a4, %a5, %a6, %a7}}, [%l+1024];
            ldmatrix.sync.aligned.m8n8.x4.shared.b16 {{%b0, %b1, %b2, %b3}}, [%m];
            ldmatrix.sync.aligned.m8n8.x4.shared.b16 {{%b4, %b5, %b6, %b7}}, [%m+1024];"
        );
        for row in 0..2 {
            for column in 0..4 {
                let (a, b, d) = (4 * row, 2 * column, 4 * (4 * row + column));
                steps += &format!(
                    "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {{%d{}, %d{}, %d{}, %d{}}}, {{%a{a}, %a{}, %a{}, %a{}}}, {{%b{b}, %b{}}}, {{%d{}, %d{}, %d{}, %d{}}};\n",
                    d,
                    d + 1,
                    d + 2,
                    d + 3,
                    a + 1,
                    a + 2,
                    a + 3,
                    b + 1,
                    d,
                    d + 1,
                    d + 2,
                    d + 3
                );
            }
        }
    }
    let start: String = (0..32).map(|at| format!("mov.b32 %d{at}, 0;\n")).collect();
    let sum: String = (1..32).map(|at| format!("xor.b32 %d0, %d0, %d{at};\n")).collect();
    format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n
        .visible .entry pipeline(.param .u64 out, .param .u64 in, .param .u32 steps) {{
            .shared .align 128 .b8 stages[24576];
            .reg .b32 %a<8>, %b<8>, %d<32>; .reg .b32 %i, %n, %t, %f, %w, %x, %y, %l, %m; .reg .b64 %p, %g, %o; .reg .pred %go;
            ld.param.u64 %p, [out]; ld.param.u64 %g, [in]; ld.param.u32 %n, [steps]; mov.u32 %t, %tid.x; mov.u32 %i, 0; mov.u32 %f, 0;
            mul.wide.u32 %o, %t, 16; add.u64 %g, %g, %o;
            // Thread t writes chunk t % 4 of row t / 4, swizzled by bits 1 and 2 of the row.
            shr.u32 %x, %t, 3; and.b32 %x, %x, 3; xor.b32 %x, %x, %t; and.b32 %x, %x, 3; shl.b32 %x, %x, 4;
            shr.u32 %y, %t, 2; shl.b32 %y, %y, 6; mov.u32 %w, stages; add.u32 %w, %w, %y; add.u32 %w, %w, %x;
            {copy} {copy}
            {start}
            LOOP:
            cp.async.wait_group 1; bar.sync 0;
            {copy}
            // Lane i reads row i % 16 of its warp's half, and chunk i / 16.
            rem.u32 %x, %i, 3; shl.b32 %x, %x, 13; mov.u32 %l, stages; add.u32 %l, %l, %x;
            and.b32 %x, %t, 15; shl.b32 %y, %x, 6; add.u32 %l, %l, %y; shr.u32 %x, %x, 1; and.b32 %x, %x, 3;
            shr.u32 %y, %t, 4; and.b32 %y, %y, 1; xor.b32 %x, %x, %y; shl.b32 %x, %x, 4; add.u32 %l, %l, %x;
            shr.u32 %y, %t, 5; and.b32 %x, %y, 1; shl.b32 %x, %x, 11; shr.u32 %y, %y, 1; shl.b32 %y, %y, 11;
            add.u32 %m, %l, %y; add.u32 %m, %m, 4096; add.u32 %l, %l, %x;
            {steps}
            add.u32 %i, %i, 1; setp.lt.u32 %go, %i, %n; @%go bra LOOP;
            cp.async.wait_all;
            {sum}
            mul.wide.u32 %o, %t, 4; add.u64 %p, %p, %o; st.global.b32 [%p], %d0; ret;
        }}"
    )
}

/// Times matrix products, in operations a second.
fn matrices(criterion: &mut Criterion) {
    let memory = Memory::new(1 << 24);
    let out = memory.allocate(1 << 16).expect("memory");
    let input = memory.allocate(1 << 16).expect("memory");
    memory.fill(input, 0, 1 << 16).expect("memory");
    let steps = Argument::U32(64);
    let registers = vec![Argument::U64(out), steps.clone()];
    let kernels = [
        (
            "mma f16",
            mma("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", 4, 2),
            32,
            &registers,
        ),
        (
            "mma bf16",
            mma("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", 4, 2),
            32,
            &registers,
        ),
        (
            "mma tf32",
            mma("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32", 4, 2),
            32,
            &registers,
        ),
        (
            "mma s8",
            mma("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32", 4, 2),
            32,
            &registers,
        ),
        (
            "pipeline f16",
            pipeline(),
            128,
            &vec![Argument::U64(out), Argument::U64(input), steps],
        ),
    ];
    for (name, text, threads, arguments) in kernels {
        bench(
            criterion,
            &memory,
            name,
            &text,
            [1, 1, 1],
            threads,
            arguments,
            |counts| counts.matrix_flops,
        );
    }
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
        let work = |counts: &Counts| counts.thread_instructions.total();
        bench(criterion, &memory, name, &text, grid, 256, &arguments, work);
    }
}

/// Times a kernel plainly, with counting, with the sanitizer and with both. `work` is the unit of throughput.
#[allow(clippy::too_many_arguments)] // A launch and how it is reported: a structure would name nothing.
fn bench(
    criterion: &mut Criterion,
    memory: &Memory,
    name: &str,
    text: &str,
    grid: [u32; 3],
    threads: u32,
    arguments: &[Argument],
    work: impl Fn(&Counts) -> u64,
) {
    let module = Module::parse(text).expect("PTX");
    let kernel = module.kernels().next().expect("a kernel").name();
    let mut group = criterion.benchmark_group(name);
    for (label, sanitize, count) in [
        ("plain", false, false),
        ("count", false, true),
        ("sanitize", true, false),
        ("sanitize and count", true, true),
    ] {
        let with = |sanitize, count| Launch {
            grid,
            block: [threads, 1, 1],
            dynamic_shared: 0,
            arguments,
            options: Options {
                sanitize,
                count,
                threads: Some(1),
                ..Options::default()
            },
        };
        let report = launch(&module, kernel, memory, &with(true, true)).expect("launch");
        assert!(report.findings.is_empty(), "{:?}", report.findings);
        assert_eq!(report.counts.shared_bank_conflicts, 0);
        group.throughput(Throughput::Elements(work(&report.counts)));
        let launched = with(sanitize, count);
        group.bench_function(BenchmarkId::from_parameter(label), |bencher| {
            bencher.iter(|| black_box(launch(&module, kernel, memory, &launched).expect("launch")));
        });
    }
}

criterion_group!(benches, throughput, matrices);
criterion_main!(benches);
