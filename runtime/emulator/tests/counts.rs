//! Counts of known programs.

mod common;

use common::{HEAD, run_with};
use energy_kernel_emulator::{Argument, Counts, Memory, Options};

/// The counts of a body with `%p` (a buffer), `%t` (the thread) and `%z` (the address of 4 KB of shared memory).
fn counts(body: &str, blocks: u32, threads: u32) -> Counts {
    let memory = Memory::new(1 << 22);
    let buffer = memory.allocate(1 << 20).expect("memory");
    let text = format!(
        "{HEAD}.shared .align 16 .b8 box[4096];\n.visible .entry test(.param .u64 buffer) {{
        .reg .b64 %p, %o; .reg .b16 %h; .reg .b32 %t, %s, %x, %y, %z, %v<4>; .reg .f32 %f; .reg .pred %a;
        ld.param.u64 %p, [buffer]; mov.u32 %t, %tid.x; mov.u32 %z, box; mov.f32 %f, 0f3F800000;
        {body} ret; }}"
    );
    run_with(
        &text,
        "test",
        [blocks, 1, 1],
        threads,
        &memory,
        &[Argument::U64(buffer)],
        Options {
            count: true,
            ..Options::default()
        },
    )
    .counts
}

/// The counts of a body, less those of an empty one.
fn strided(access: &str, stride: u32) -> Counts {
    counts(
        &format!("mul.wide.u32 %o, %t, {stride}; add.u64 %p, %p, %o; {access};"),
        1,
        32,
    )
}

#[test]
fn sectors_of_coalesced_and_strided_loads() {
    let whole = strided("ld.global.u32 %x, [%p]", 4);
    assert_eq!(
        (
            whole.global_load_bytes,
            whole.global_load_sectors,
            whole.global_load_requests
        ),
        (128, 4, 1)
    );
    assert_eq!((whole.dram_read_bytes, whole.dram_write_bytes), (128, 0));
    assert_eq!(strided("ld.global.u32 %x, [%p]", 8).global_load_sectors, 8);
    assert_eq!(strided("ld.global.u32 %x, [%p]", 128).global_load_sectors, 32);
    assert_eq!(strided("ld.global.u32 %x, [%p]", 0).global_load_sectors, 1);
    assert_eq!(
        strided("ld.global.v4.u32 {%v0, %v1, %v2, %v3}, [%p]", 16).global_load_sectors,
        16
    );
    // An offset of one word costs one sector more.
    assert_eq!(strided("ld.global.u32 %x, [%p+4]", 4).global_load_sectors, 5);
    let store = strided("st.global.u16 [%p], %t", 64);
    assert_eq!(
        (
            store.global_store_bytes,
            store.global_store_sectors,
            store.dram_write_bytes
        ),
        (64, 32, 1024)
    );
}

#[test]
fn device_memory_is_counted_once_a_launch() {
    // Four blocks read the same words twice.
    let counted = counts(
        "mul.wide.u32 %o, %t, 4; add.u64 %p, %p, %o; ld.global.u32 %x, [%p]; ld.global.u32 %y, [%p];",
        4,
        64,
    );
    assert_eq!(
        (counted.global_load_bytes, counted.dram_read_bytes),
        (4 * 64 * 4 * 2, 256)
    );
    assert_eq!((counted.blocks, counted.threads), (4, 256));
}

#[test]
fn bank_conflicts_of_known_patterns() {
    let shared = |factor: u32, access: &str| counts(&format!("mad.lo.u32 %z, %t, {factor}, %z; {access};"), 1, 32);
    let conflicts = |factor: u32, access: &str| {
        let counted = shared(factor, access);
        (counted.shared_transactions, counted.shared_bank_conflicts)
    };
    assert_eq!(conflicts(4, "ld.shared.u32 %x, [%z]"), (1, 0));
    assert_eq!(conflicts(8, "ld.shared.u32 %x, [%z]"), (2, 1));
    assert_eq!(conflicts(16, "st.shared.u32 [%z], %t"), (4, 3));
    assert_eq!(
        conflicts(124, "ld.shared.u32 %x, [%z]"),
        (1, 0),
        "an odd stride has no conflicts"
    );
    // A stride of 128 bytes puts all lanes into one bank.
    assert_eq!(conflicts(128, "ld.shared.u32 %x, [%z]").0, 32);
    assert_eq!(
        conflicts(0, "ld.shared.u32 %x, [%z]"),
        (1, 0),
        "one word for all is a broadcast"
    );
    assert_eq!(conflicts(1, "ld.shared.u8 %x, [%z]"), (1, 0));
    assert_eq!(conflicts(8, "ld.shared.v2.u32 {%v0, %v1}, [%z]"), (2, 0));
    assert_eq!(conflicts(16, "ld.shared.v4.u32 {%v0, %v1, %v2, %v3}, [%z]"), (4, 0));
    assert_eq!(conflicts(32, "ld.shared.v4.u32 {%v0, %v1, %v2, %v3}, [%z]"), (8, 4));
    assert_eq!(
        shared(16, "ld.shared.v4.u32 {%v0, %v1, %v2, %v3}, [%z]").shared_load_bytes,
        512
    );
}

#[test]
fn instructions_by_class() {
    let counted = counts(
        "fma.rn.f32 %f, %f, %f, %f; fma.rn.f32 %f, %f, %f, %f; add.f32 %f, %f, %f; ex2.approx.f32 %f, %f;
        setp.lt.u32 %a, %t, 8; @%a mul.lo.u32 %x, %t, %t; shfl.sync.idx.b32 %y, %t, 0, 31, 0xffffffff; bar.sync 0; @!%a bra DONE; cvt.rn.f32.u32 %f, %t; DONE:",
        1,
        64,
    );
    let (threads, warps) = (counted.thread_instructions, counted.warp_instructions);
    assert_eq!((threads.float32_fma, warps.float32_fma), (128, 4));
    assert_eq!((threads.float32_add, threads.predicate, threads.shuffle), (64, 64, 64));
    // In the second warp the guard is false everywhere.
    assert_eq!((threads.integer_multiply, warps.integer_multiply), (8, 1));
    assert_eq!(counted.warp_instructions_skipped, 1);
    // The unit of approximate functions converts integers.
    assert_eq!((threads.special, warps.special), (64 + 8, 2 + 1));
    assert_eq!(counted.flops, 64 * (2 + 2 + 1 + 1));
    assert_eq!((counted.divergent_branches, counted.barriers), (1, 2));
    assert_eq!(counted + Counts::default(), counted);
}

#[test]
fn divisions_and_names_are_classes_of_their_own() {
    let threads = counts(
        "div.rn.f32 %f, %f, %f; rcp.rn.f32 %f, %f; sqrt.rn.f32 %f, %f; div.approx.f32 %f, %f, %f;
        div.u32 %x, %t, %t; rem.s32 %x, %t, %t; div.u64 %o, %p, %p;
        mov.b32 %x, %f; mov.b32 %f, %x; mov.u32 %x, %t; cvt.u64.u32 %o, %t; cvt.u32.u64 %x, %o; cvt.sat.u16.u32 %h, %x;",
        1,
        32,
    )
    .thread_instructions;
    assert_eq!((threads.division, threads.special), (3 * 32, 32));
    assert_eq!((threads.integer_division, threads.integer_division64), (2 * 32, 32));
    assert_eq!((threads.names, threads.integer), (3 * 32, 32));
    assert!(threads.moves >= 32);
}

#[test]
fn shared_transactions_by_kind() {
    // Eight rows of 16 bytes fill the banks once if their stride is an odd multiple of 16 bytes.
    let matrices = |stride: u32| {
        let counted = counts(
            &format!(
                "st.shared.u32 [%z], %t; mad.lo.u32 %z, %t, {stride}, %z; ldmatrix.sync.aligned.m8n8.x4.shared.b16 {{%v0, %v1, %v2, %v3}}, [%z];"
            ),
            1,
            32,
        );
        assert_eq!(
            (counted.shared_load_transactions, counted.shared_load_bank_conflicts),
            (0, 0)
        );
        assert_eq!(
            (counted.shared_store_transactions, counted.shared_store_bank_conflicts),
            (1, 0)
        );
        assert_eq!(counted.shared_transactions, 1 + counted.matrix_load_transactions);
        assert_eq!(counted.shared_bank_conflicts, counted.matrix_load_bank_conflicts);
        (counted.matrix_load_transactions, counted.matrix_load_bank_conflicts)
    };
    assert_eq!((matrices(16), matrices(48), matrices(112)), ((4, 0), (4, 0), (4, 0)));
    assert_eq!(
        (matrices(32), matrices(64), matrices(128)),
        ((8, 4), (16, 12), (32, 28))
    );
    let copies = |stride: u32, size: u32| {
        let counted = counts(
            &format!(
                "mul.wide.u32 %o, %t, 16; add.u64 %p, %p, %o; mad.lo.u32 %z, %t, {stride}, %z; cp.async.ca.shared.global [%z], [%p], {size}; cp.async.wait_all;"
            ),
            1,
            32,
        );
        let bytes = u64::from(32 * size);
        assert_eq!(
            (counted.global_to_shared_bytes, counted.global_load_bytes),
            (bytes, bytes)
        );
        assert_eq!(counted.shared_store_bytes, bytes);
        assert_eq!(
            (counted.shared_store_transactions, counted.shared_load_transactions),
            (0, 0)
        );
        assert_eq!(counted.shared_transactions, counted.copy_transactions);
        (counted.copy_transactions, counted.copy_bank_conflicts)
    };
    assert_eq!(
        (copies(16, 16), copies(32, 16), copies(128, 16)),
        ((4, 0), (8, 4), (32, 28))
    );
    assert_eq!((copies(4, 4), copies(8, 4), copies(8, 8)), ((1, 0), (2, 1), (2, 0)));
    // Half of the bytes are zeros that were not read.
    let half = counts(
        "mul.wide.u32 %o, %t, 16; add.u64 %p, %p, %o; mad.lo.u32 %z, %t, 16, %z; cp.async.cg.shared.global [%z], [%p], 16, 8; cp.async.wait_all;",
        1,
        32,
    );
    assert_eq!(
        (
            half.global_to_shared_bytes,
            half.global_load_bytes,
            half.shared_store_bytes
        ),
        (256, 256, 512)
    );
    assert_eq!((half.global_load_sectors, half.load_efficiency()), (16, 0.5));
    // Atomic operations count as stores, other loads as loads.
    let rest = counts(
        "mad.lo.u32 %z, %t, 8, %z; atom.shared.add.u32 %x, [%z], 1; ld.shared.u32 %y, [%z];",
        1,
        32,
    );
    assert_eq!(
        (rest.shared_store_transactions, rest.shared_store_bank_conflicts),
        (2, 1)
    );
    assert_eq!((rest.shared_load_transactions, rest.shared_load_bank_conflicts), (2, 1));
    assert_eq!((rest.matrix_load_transactions, rest.copy_transactions), (0, 0));
}

#[test]
fn conversions_by_the_unit_that_does_them() {
    let classes = |conversion: &str| {
        let counted = counts(&format!(".reg .f64 %d; {conversion};"), 1, 32).warp_instructions;
        (counted.special, counted.conversion)
    };
    for special in [
        "cvt.rn.f32.u32 %f, %t",
        "cvt.rzi.s32.f32 %x, %f",
        "cvt.rni.f32.f32 %f, %f",
        "cvt.f64.f32 %d, %f",
    ] {
        assert_eq!(classes(special), (1, 0), "{special}");
    }
    for other in ["cvt.rn.f16.f32 %h, %f", "cvt.rn.bf16.f32 %h, %f"] {
        assert_eq!(classes(other), (0, 1), "{other}");
    }
}

#[test]
fn products_count_by_the_time_that_they_take() {
    let product = |name: &str, body: &str| {
        let counted = counts(
            &format!(".reg .f32 %d<4>; .reg .b32 %i<4>; mma.sync.aligned.{name} {body};"),
            1,
            32,
        );
        (counted.matrix_flops, counted.matrix_f16_flops)
    };
    let floats = "{%d0, %d1, %d2, %d3}, {%v0, %v1, %v2, %v3}, {%x, %y}, {%d0, %d1, %d2, %d3}";
    let integers = "{%i0, %i1, %i2, %i3}, {%v0, %v1, %v2, %v3}, {%x, %y}, {%i0, %i1, %i2, %i3}";
    let flops = |k: u64| 2 * 16 * 8 * k;
    assert_eq!(
        product("m16n8k16.row.col.f32.f16.f16.f32", floats),
        (flops(16), flops(16))
    );
    assert_eq!(
        product("m16n8k8.row.col.f32.tf32.tf32.f32", floats),
        (flops(8), 2 * flops(8))
    );
    assert_eq!(
        product("m16n8k32.row.col.s32.s8.s8.s32", integers),
        (flops(32), flops(32) / 2)
    );
}

#[test]
fn waits_for_copies_count_the_groups_in_flight() {
    let copy = "cp.async.ca.shared.global [%z], [%p], 4; cp.async.commit_group;";
    let waits = |wait: &str| {
        let counted = counts(&format!("{copy} {copy} {copy} {wait};"), 1, 64);
        (counted.copy_waits, counted.copy_groups)
    };
    assert_eq!(waits("cp.async.wait_group 0"), (2, 2));
    assert_eq!(waits("cp.async.wait_group 2"), (2, 6));
    assert_eq!(waits("cp.async.wait_all"), (2, 2));
    assert_eq!(waits("bar.sync 0"), (0, 0));
}

#[test]
fn live_values_are_counted_through_loops() {
    let live = |body: &str| {
        let text = format!(
            "{HEAD}.visible .entry test(.param .u64 buffer) {{
            .reg .b64 %p; .reg .b32 %v<6>; .reg .pred %a; ld.param.u64 %p, [buffer]; {body} ret; }}"
        );
        let module = energy_kernel_emulator::Module::parse(&text).expect("PTX");
        module.live_registers("test").expect("the kernel")
    };
    // An address is two registers.
    assert_eq!(live("st.global.u32 [%p], 1;"), 2);
    assert_eq!(live("ld.global.u32 %v0, [%p]; st.global.u32 [%p], %v0;"), 3);
    // Two values that one after the other take the same register.
    let twice = "ld.global.u32 %v0, [%p]; st.global.u32 [%p], %v0; ld.global.u32 %v1, [%p]; st.global.u32 [%p], %v1;";
    assert_eq!(live(twice), 3);
    let both = "ld.global.u32 %v0, [%p]; ld.global.u32 %v1, [%p]; st.global.v2.u32 [%p], {%v0, %v1};";
    assert_eq!(live(both), 4);
    // The sum and the counter live through the loop, also where a later round reads them first.
    let repeated = "mov.u32 %v0, %tid.x; mov.u32 %v1, %ntid.x; LOOP: ld.global.u32 %v2, [%p]; add.u32 %v0, %v0, %v2;
        sub.u32 %v1, %v1, 1; setp.ne.u32 %a, %v1, 0; @%a bra LOOP; st.global.u32 [%p], %v0;";
    assert_eq!(live(repeated), 5);
    // Under a guard the old value may stay.
    let guarded = "mov.u32 %v0, %tid.x; setp.lt.u32 %a, %v0, 8; ld.global.u32 %v1, [%p]; @%a mov.u32 %v1, %v0; st.global.u32 [%p], %v1;";
    assert!(live(guarded) >= 4);
    assert!(
        energy_kernel_emulator::Module::parse(&format!("{HEAD}.visible .entry a() {{ ret; }}"))
            .expect("PTX")
            .live_registers("b")
            .is_err()
    );
}

#[test]
fn a_difference_leaves_what_came_between() {
    let first = counts("bar.sync 0; ld.global.u32 %x, [%p];", 3, 64);
    let second = counts("add.f32 %f, %f, %f; st.global.u32 [%p], %t;", 2, 32);
    assert_eq!(first + second - first, second);
    let numbers: Vec<(&str, u64)> = first.numbers().collect();
    assert!(numbers.contains(&("barriers", 6)) && numbers.contains(&("blocks", 3)));
    assert!(numbers.contains(&("global_load_requests", 6)), "{numbers:?}");
}
