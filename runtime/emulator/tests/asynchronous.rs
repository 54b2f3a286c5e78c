//! Asynchronous copies, mbarriers and matrix loads: every bug that a pipeline can have, and its twin without the bug.

mod common;

use common::{HEAD, findings_of, upload};
use energy_kernel_emulator::{Error, Finding, FindingKind, Memory};

/// Runs a body with `%p` (words 0, 1, 2, …), `%t` the thread, `%s` the address of its 16 bytes in `%p`, `%z` that in
/// 4 KB of shared `box`, `%y` the address of `box`, and an mbarrier's bytes at `bar`.
fn findings(body: &str, threads: u32) -> Result<Vec<Finding>, Error> {
    let memory = Memory::new(1 << 20);
    let buffer = upload(&memory, &(0..2048u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>());
    let text = format!(
        "{HEAD}.shared .align 128 .b8 box[4096]; .shared .align 8 .b8 bar[16];
        .visible .entry test(.param .u64 buffer) {{
        .reg .b64 %p, %s, %o; .reg .b32 %t, %x, %y, %z, %i, %m, %r<8>; .reg .pred %a, %b;
        ld.param.u64 %p, [buffer]; mov.u32 %t, %tid.x; mul.wide.u32 %o, %t, 16; add.u64 %s, %p, %o;
        mov.u32 %y, box; mad.lo.u32 %z, %t, 16, %y; mov.u32 %m, bar; setp.eq.u32 %a, %t, 0;
        {body}
        ret;
        }}"
    );
    findings_of(&text, threads, &memory, buffer)
}

fn kinds(body: &str, threads: u32) -> Vec<FindingKind> {
    let findings = findings(body, threads).unwrap_or_else(|error| panic!("{error}"));
    findings.into_iter().map(|finding| finding.kind).collect()
}

/// Expects exactly one finding of this kind for the bug, and none for its twin.
fn pair(kind: FindingKind, bug: &str, clean: &str, threads: u32) {
    assert_eq!(kinds(bug, threads), [kind], "the bug: {bug}");
    assert_eq!(kinds(clean, threads), [], "the clean twin: {clean}");
}

/// Expects findings of some of these kinds for the bug. The order of execution decides which.
fn some(kinds_of: &[FindingKind], bug: &str) {
    let found = kinds(bug, 64);
    assert!(
        !found.is_empty() && found.iter().all(|kind| kinds_of.contains(kind)),
        "{found:?} of {bug}"
    );
}

const COPY: &str = "cp.async.cg.shared.global [%z], [%s], 16; cp.async.commit_group;";
const WAIT: &str = "cp.async.wait_group 0;";
/// Reads what the same lane of the other warp copied.
const READ: &str = "xor.b32 %x, %t, 32; mad.lo.u32 %x, %x, 16, %y; ld.shared.u32 %r0, [%x];";

#[test]
fn waits_and_barriers_after_copies() {
    use FindingKind::{MissingWait, SharedRace};
    let clean = format!("{COPY} {WAIT} bar.sync 0; {READ}");
    pair(
        MissingWait,
        &format!("{COPY} bar.sync 0; {READ} bar.sync 0; {WAIT}"),
        &clean,
        64,
    );
    // A thread's own copy needs a wait, but no barrier.
    let own = "ld.shared.u32 %r0, [%z];";
    pair(
        MissingWait,
        &format!("{COPY} {own} {WAIT}"),
        &format!("{COPY} {WAIT} {own}"),
        64,
    );
    // The barrier comes before the wait: the other warp's copy may not have landed.
    let early = format!("{COPY} bar.sync 0; {WAIT} {READ}");
    some(&[MissingWait, SharedRace], &early);
    // A store to the target of a copy under way.
    let store = "st.shared.u32 [%z], %t;";
    pair(
        MissingWait,
        &format!("{COPY} {store} {WAIT}"),
        &format!("{COPY} {WAIT} {store}"),
        64,
    );
    // Two copies to the same bytes land in any order.
    pair(
        MissingWait,
        &format!("{COPY} {COPY} {WAIT}"),
        &format!("{COPY} {WAIT} {COPY} {WAIT}"),
        64,
    );
}

/// A pipeline with `stages` buffers of 1 KB and one copy for each thread and step. `before` and `after` enclose the
/// reads.
fn pipeline(stages: u32, before: &str, after: &str) -> String {
    let copy = format!(
        "rem.u32 %x, %i, {stages}; mad.lo.u32 %x, %x, 1024, %z; cp.async.cg.shared.global [%x], [%s], 16; cp.async.commit_group; add.u32 %i, %i, 1;"
    );
    let prologue = copy.repeat(stages as usize - 1);
    format!(
        "mov.u32 %i, 0; {prologue} mov.u32 %r1, 0;
        LOOP: {before}
        {copy}
        rem.u32 %x, %r1, {stages}; shl.b32 %x, %x, 10; xor.b32 %r2, %t, 32; mad.lo.u32 %x, %r2, 16, %x; add.u32 %x, %x, %y; ld.shared.u32 %r0, [%x];
        {after}
        add.u32 %r1, %r1, 1; setp.lt.u32 %b, %r1, 6; @%b bra LOOP; cp.async.wait_all;"
    )
}

#[test]
fn a_stage_is_reused_only_after_everybody_read_it() {
    use FindingKind::{MissingWait, SharedRace, UninitialisedMemory};
    for stages in 2..=4 {
        let wait = format!("cp.async.wait_group {};", stages - 2);
        let clean = pipeline(stages, &format!("{wait} bar.sync 0;"), "");
        assert_eq!(kinds(&clean, 64), [], "{stages} stages");
        // The only barrier follows the reads, so the first warp reads bytes of another's copy that has not landed.
        some(
            &[MissingWait, SharedRace, UninitialisedMemory],
            &pipeline(stages, &wait, "bar.sync 0;"),
        );
        // The wait leaves one group too many under way.
        let late = pipeline(stages, &format!("cp.async.wait_group {}; bar.sync 0;", stages - 1), "");
        some(&[MissingWait, SharedRace], &late);
    }
    // All threads see the first copies, but the second round overwrites bytes that the other warp may still read.
    let reuse = |between: &str| format!("{COPY} {WAIT} bar.sync 0; {READ} {between} {COPY} {WAIT}");
    pair(SharedRace, &reuse(""), &reuse("bar.sync 0;"), 64);
    // The same with a plain store, and with matrices.
    let store = |between: &str| format!("{COPY} {WAIT} bar.sync 0; {READ} {between} st.shared.u32 [%z], 7;");
    pair(SharedRace, &store(""), &store("bar.sync 0;"), 64);
    let matrices = |between: &str| {
        format!(
            "{COPY} {WAIT} bar.sync 0; xor.b32 %x, %t, 32; mad.lo.u32 %x, %x, 16, %y;
            ldmatrix.sync.aligned.m8n8.x4.shared.b16 {{%r0, %r1, %r2, %r3}}, [%x]; {between} {COPY} {WAIT}"
        )
    };
    pair(SharedRace, &matrices(""), &matrices("bar.sync 0;"), 64);
}

#[test]
fn groups_nobody_waits_for() {
    use FindingKind::MissingWait;
    pair(MissingWait, COPY, &format!("{COPY} {WAIT}"), 64);
    // The copy is not even committed.
    let open = "cp.async.ca.shared.global [%z], [%s], 4;";
    pair(MissingWait, open, &format!("{open} cp.async.wait_all;"), 32);
    // Only the first of two copies is waited for.
    pair(
        MissingWait,
        &format!("{COPY} add.u32 %z, %z, 2048; {COPY} cp.async.wait_group 1;"),
        &format!("{COPY} add.u32 %z, %z, 2048; {COPY} cp.async.wait_group 0;"),
        64,
    );
    // Empty groups copy nothing.
    assert_eq!(kinds(&format!("{COPY} {WAIT} cp.async.commit_group;"), 64), []);
    let [finding] = &findings(COPY, 64).expect("no error")[..] else {
        panic!("one finding")
    };
    assert!(
        finding.instruction.starts_with("cp.async.cg") && finding.occurrences == 64,
        "{finding}"
    );
}

#[test]
fn copies_and_matrix_rows_are_aligned() {
    use FindingKind::{Misaligned, OutOfBounds};
    pair(
        Misaligned,
        "cp.async.cg.shared.global [%z+8], [%s], 16; cp.async.wait_all;",
        "cp.async.ca.shared.global [%z+8], [%s], 8; cp.async.wait_all;",
        32,
    );
    pair(
        Misaligned,
        "cp.async.cg.shared.global [%z], [%s+8], 16; cp.async.wait_all;",
        "cp.async.ca.shared.global [%z], [%s+8], 8; cp.async.wait_all;",
        32,
    );
    // The whole source must be aligned, even if only a part of it is read.
    pair(
        Misaligned,
        "cp.async.cg.shared.global [%z], [%s+4], 16, 4; cp.async.wait_all;",
        "cp.async.cg.shared.global [%z], [%s], 16, 4; cp.async.wait_all;",
        32,
    );
    pair(
        OutOfBounds,
        "cp.async.cg.shared.global [%z+4096], [%s], 16; cp.async.wait_all;",
        "cp.async.cg.shared.global [%z+2048], [%s], 16; cp.async.wait_all;",
        32,
    );
    // A copy that reads nothing may have any source.
    assert_eq!(
        kinds(
            "cp.async.cg.shared.global [%z], [%s+1000000], 16, 0; cp.async.wait_all;",
            32
        ),
        []
    );
    assert_eq!(
        kinds(
            "cp.async.cg.shared.global [%z], [%s+1000000], 16, %a; setp.ne.u32 %b, %t, 0; cp.async.wait_all;",
            32
        ),
        [OutOfBounds]
    );
    let rows = |stride: u32, offset: u32| {
        format!(
            "st.shared.v4.b32 [%z], {{%t, %t, %t, %t}}; st.shared.v4.b32 [%z+512], {{%t, %t, %t, %t}}; bar.warp.sync 0xffffffff;
            mad.lo.u32 %x, %t, {stride}, %y; ldmatrix.sync.aligned.m8n8.x4.shared.b16 {{%r0, %r1, %r2, %r3}}, [%x+{offset}];"
        )
    };
    pair(Misaligned, &rows(24, 0), &rows(16, 0), 32);
    pair(Misaligned, &rows(16, 4), &rows(16, 16), 32);
    let store = |offset: u32| format!("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%z+{offset}], {{%t, %t, %t, %t}};");
    pair(Misaligned, &store(2), &store(32), 32);
}

/// Initialises the mbarrier for `count` arrivals.
fn mbarrier(count: u32, between: &str) -> String {
    format!("@%a mbarrier.init.shared.b64 [%m], {count}; {between}")
}

const ARRIVE: &str = "mbarrier.arrive.shared.b64 %o, [%m];";
const TEST: &str = "WAIT: mbarrier.test_wait.shared.b64 %b, [%m], %o; @!%b bra WAIT;";

#[test]
fn misuse_of_mbarriers() {
    use FindingKind::{BarrierMisuse, SharedRace};
    let clean = format!("{} {ARRIVE} {TEST}", mbarrier(64, "bar.sync 0;"));
    // More arrivals than expected: 64 and 128 are no multiples of three.
    let several = |count: u32| {
        let arrive = ARRIVE.replace("[%m]", &format!("[%m], {count}"));
        format!("{} {arrive}", mbarrier(128, "bar.sync 0;"))
    };
    pair(BarrierMisuse, &several(3), &several(2), 64);
    // A use by a warp that nothing orders after the initialisation.
    pair(
        SharedRace,
        &format!("{} bar.warp.sync 0xffffffff; {ARRIVE} {TEST}", mbarrier(64, "")),
        &clean,
        64,
    );
    // A second initialisation of a live mbarrier.
    let again = |between: &str| format!("{clean} bar.sync 0; {between} @%a mbarrier.init.shared.b64 [%m], 64;");
    pair(
        BarrierMisuse,
        &again(""),
        &again("@%a mbarrier.inval.shared.b64 [%m]; bar.sync 0;"),
        64,
    );
    // An invalidation while other threads may use it.
    let destroy = |between: &str| format!("{clean} {between} @%a mbarrier.inval.shared.b64 [%m];");
    pair(SharedRace, &destroy(""), &destroy("bar.sync 0;"), 64);
    // An access as ordinary memory.
    for access in [
        "st.shared.u32 [%m+4], 0;",
        "ld.shared.u64 %o, [%m];",
        "atom.shared.add.u32 %x, [%m], 1;",
    ] {
        let beside = access.replace("%m+4]", "%m+12]").replace("[%m]", "[%m+8]");
        let (bug, fine) = (
            format!("{clean} bar.sync 0; @%a {access}"),
            format!("{clean} @%a st.shared.u64 [%m+8], 0; @%a {beside}"),
        );
        pair(BarrierMisuse, &bug, &fine, 64);
    }
    // Missing and misplaced mbarriers are errors, not findings.
    for body in [
        ARRIVE.to_owned(),
        mbarrier(0, ""),
        mbarrier(1 << 20, ""),
        "@%a mbarrier.init.shared.b64 [%m+4], 1;".into(),
    ] {
        assert!(matches!(findings(&body, 64), Err(Error::Fault { .. })), "{body}");
    }
}

#[test]
fn copies_that_arrive_on_mbarriers() {
    use FindingKind::{MissingWait, SharedRace, UninitialisedMemory};
    let copy = "cp.async.cg.shared.global [%z], [%s], 16;";
    // All threads arrive when their copies have landed. With `noinc` the arrival is one of those expected.
    let arrive = "cp.async.mbarrier.arrive.noinc.shared.b64 [%m];";
    let wait = "WAIT: mbarrier.test_wait.parity.shared.b64 %b, [%m], 0; @!%b bra WAIT;";
    let clean = format!("{} {copy} {arrive} {wait} {READ}", mbarrier(64, "bar.sync 0;"));
    assert_eq!(kinds(&clean, 64), []);
    // Without a wait neither another warp's bytes nor the thread's own have landed.
    let hasty = format!("{} {copy} {arrive} {READ} {wait}", mbarrier(64, "bar.sync 0;"));
    some(&[MissingWait, SharedRace, UninitialisedMemory], &hasty);
    let own = |wait: &str, after: &str| {
        format!(
            "{} {copy} {arrive} {wait} ld.shared.u32 %r0, [%z]; {after}",
            mbarrier(64, "bar.sync 0;")
        )
    };
    pair(MissingWait, &own("", wait), &own(wait, ""), 64);
    // Without `noinc` the arrival adds itself to those expected, so all threads arrive once more.
    let more = "cp.async.mbarrier.arrive.shared.b64 [%m]; mbarrier.arrive.shared.b64 %o, [%m];";
    assert_eq!(
        kinds(
            &format!("{} {copy} {more} {wait} {READ}", mbarrier(64, "bar.sync 0;")),
            64
        ),
        []
    );
    // A thread may also wait for its own copies by group.
    assert_eq!(kinds(&own("cp.async.wait_all;", wait), 64), []);
    // The phase never ends.
    let never = |count: u32| format!("{} {copy} {arrive}", mbarrier(count, "bar.sync 0;"));
    pair(MissingWait, &never(65), &never(64), 64);
}

#[test]
fn mbarriers_hand_on_what_their_threads_know_unless_relaxed() {
    use FindingKind::SharedRace;
    // Warp 0 writes, its lanes or one of them arrive; warp 1 waits and reads.
    let hand_over = |count: u32, arrive: &str, wait: &str| {
        let start = mbarrier(count, "bar.sync 0;");
        format!(
            "{start} setp.gt.u32 %b, %t, 31; @%b bra CONSUME; st.shared.u32 [%z], %t; {arrive} bra DONE;
            CONSUME: {wait} ld.shared.u32 %r0, [%z+-512]; DONE:"
        )
    };
    let wait = |order: &str| format!("WAIT: mbarrier.test_wait.parity{order}.shared.b64 %b, [%m], 0; @!%b bra WAIT;");
    let arrive = |order: &str| format!("mbarrier.arrive{order}.shared.b64 _, [%m];");
    let (plain, relaxed) = ("", ".relaxed.cta");
    assert_eq!(kinds(&hand_over(32, &arrive(plain), &wait(plain)), 64), []);
    assert_eq!(
        kinds(&hand_over(32, &arrive(".release.cta"), &wait(".acquire.cta")), 64),
        []
    );
    assert_eq!(kinds(&hand_over(32, &arrive(relaxed), &wait(plain)), 64), [SharedRace]);
    assert_eq!(kinds(&hand_over(32, &arrive(plain), &wait(relaxed)), 64), [SharedRace]);
    // Fences around relaxed operations order as well.
    let fenced = format!("fence.acq_rel.cta; {}", arrive(relaxed));
    assert_eq!(kinds(&hand_over(32, &fenced, &wait(plain)), 64), []);
    let fenced = format!("{} fence.acq_rel.cta;", wait(relaxed));
    assert_eq!(kinds(&hand_over(32, &arrive(plain), &fenced), 64), []);
    // One thread arrives for its warp, which must have synchronised before.
    let one = |before: &str| format!("{before} @%a {}", arrive(plain));
    assert_eq!(
        kinds(&hand_over(1, &one("bar.warp.sync 0xffffffff;"), &wait(plain)), 64),
        []
    );
    assert_eq!(kinds(&hand_over(1, &one(""), &wait(plain)), 64), [SharedRace]);
}

/// Warp 4 fills a stage of operands, and refills it after a signal that they were used. Warps 0 to 3 multiply the
/// operands. The first thread of `tell` signals, after `before`.
fn products(before: &str) -> String {
    format!(
        ".shared .align 128 .b8 tiles[2560]; .shared .align 8 .b64 gates[2]; .reg .b64 %n; .reg .f32 %d<4>; .reg .b16 %h; .reg .pred %c;
        mov.u32 %m, gates; @%a mbarrier.init.shared.b64 [%m], 32; @%a mbarrier.init.shared.b64 [%m+8], 1; bar.sync 0;
        mov.u32 %i, 0; setp.ge.u32 %a, %t, 128; @%a bra PRODUCE;
        CONSUME: FULL: mbarrier.try_wait.parity.shared.b64 %b, [%m], %i; @!%b bra FULL;
        mov.u64 %s, tiles; shr.u64 %s, %s, 4; or.b64 %s, %s, 0x0000001000080000; add.u64 %n, %s, 128;
        setp.ne.u32 %c, 0, 0; wgmma.fence.sync.aligned;
        wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {{%d0, %d1, %d2, %d3}}, %s, %n, %c, 1, 1, 0, 0;
        wgmma.commit_group.sync.aligned; {before}
        setp.eq.u32 %a, %t, 0; @%a mbarrier.arrive.shared.b64 _, [%m+8];
        wgmma.wait_group.sync.aligned 0;
        cvt.rzi.u32.f32 %x, %d0; mad.lo.u32 %y, %i, 512, 0; cvt.u64.u32 %s, %y; mul.wide.u32 %o, %t, 4; add.u64 %s, %s, %o;
        add.u64 %s, %s, %p; st.global.u32 [%s], %x; add.u32 %i, %i, 1; setp.lt.u32 %b, %i, 2; @%b bra CONSUME; bra DONE;
        PRODUCE: setp.eq.u32 %b, %i, 0; @%b bra FILL; xor.b32 %x, %i, 1;
        EMPTY: mbarrier.try_wait.parity.shared.b64 %b, [%m+8], %x; @!%b bra EMPTY;
        FILL: add.u32 %x, %i, 1; cvt.rn.f16.u32 %h, %x; mov.b32 %x, {{%h, %h}}; and.b32 %y, %t, 31; mov.u32 %z, tiles; mad.lo.u32 %z, %y, 16, %z; mov.u32 %y, 0;
        STORE: st.shared.v4.b32 [%z], {{%x, %x, %x, %x}}; add.u32 %z, %z, 512; add.u32 %y, %y, 1; setp.lt.u32 %b, %y, 5; @%b bra STORE;
        fence.proxy.async; mbarrier.arrive.shared.b64 _, [%m]; add.u32 %i, %i, 1; setp.lt.u32 %b, %i, 2; @%b bra PRODUCE; DONE:"
    )
}

#[test]
fn one_thread_releases_for_its_warp_group_once_its_products_are_done() {
    use FindingKind::SharedRace;
    let wait = "wgmma.wait_group.sync.aligned 0;";
    assert_eq!(kinds(&products(wait), 160), []);
    // A signal ahead of the wait for the products: they may still read the operands.
    assert_eq!(kinds(&products(""), 160), [SharedRace]);
    let one_left = "wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 2;";
    assert_eq!(kinds(&products(one_left), 160), [SharedRace]);
    // The sums are right in any order of warps: sixteen products of ones, then of twos.
    let text = format!(
        "{HEAD}.shared .align 128 .b8 box[4096]; .shared .align 8 .b8 bar[16];
        .visible .entry test(.param .u64 buffer) {{ .reg .b64 %p, %s, %o; .reg .b32 %t, %x, %y, %z, %i, %m, %r<8>; .reg .pred %a, %b;
        ld.param.u64 %p, [buffer]; mov.u32 %t, %tid.x; setp.eq.u32 %a, %t, 0; {} ret; }}",
        products(wait)
    );
    let memory = Memory::new(1 << 20);
    let buffer = upload(&memory, &[0; 1024]);
    assert_eq!(findings_of(&text, 160, &memory, buffer).expect("no error"), []);
    let sums = common::words(&memory, buffer, 256);
    assert_eq!(
        (&sums[..128], &sums[128..]),
        ([16; 128].as_slice(), [64; 128].as_slice())
    );
    // A warp that overwrites an operand itself must wait as well.
    let own = |wait: &str| {
        products("").replace(
            "setp.eq.u32 %a, %t, 0; @%a mbarrier",
            &format!("{wait} mov.u32 %z, tiles; st.shared.u32 [%z], 0; setp.eq.u32 %a, %t, 0; @%a mbarrier"),
        )
    };
    let kinds_of = kinds(&own(""), 160);
    assert!(kinds_of.contains(&SharedRace), "{kinds_of:?}");
    // A wait for a group whose other warps never issue their products deadlocks.
    let absent = products(wait).replace("wgmma.fence.sync.aligned;", "setp.ge.u32 %a, %t, 96; @%a exit;");
    assert!(matches!(findings(&absent, 160), Err(Error::Deadlock { .. })));
}
