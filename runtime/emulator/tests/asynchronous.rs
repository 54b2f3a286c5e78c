//! Asynchronous copies, mbarriers and matrix loads: every bug that a pipeline can have, and the same without it.

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

/// The bug gives exactly this kind of finding, once; its twin gives none.
fn pair(kind: FindingKind, bug: &str, clean: &str, threads: u32) {
    assert_eq!(kinds(bug, threads), [kind], "the bug: {bug}");
    assert_eq!(kinds(clean, threads), [], "the clean twin: {clean}");
}

/// The bug shows as some of these kinds, depending on who runs first.
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
    // One's own copy needs no barrier, but a wait.
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
    // A store to where a copy will land.
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

/// A pipeline of `stages` buffers of 1 KB, a copy a thread and step; `before` and `after` stand around the reads of a step.
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
        // The barrier is after the reads only: the first to arrive reads what another's copy has not brought yet.
        some(
            &[MissingWait, SharedRace, UninitialisedMemory],
            &pipeline(stages, &wait, "bar.sync 0;"),
        );
        // One group too many is left under way.
        let late = pipeline(stages, &format!("cp.async.wait_group {}; bar.sync 0;", stages - 1), "");
        some(&[MissingWait, SharedRace], &late);
    }
    // Everybody sees the first copies, but the second round overwrites what the other warp may still read.
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
    // Not even committed.
    let open = "cp.async.ca.shared.global [%z], [%s], 4;";
    pair(MissingWait, open, &format!("{open} cp.async.wait_all;"), 32);
    // The last of two.
    pair(
        MissingWait,
        &format!("{COPY} add.u32 %z, %z, 2048; {COPY} cp.async.wait_group 1;"),
        &format!("{COPY} add.u32 %z, %z, 2048; {COPY} cp.async.wait_group 0;"),
        64,
    );
    // Empty groups bring nothing.
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
    // Also where only a part is read.
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
    // Where nothing is read, the source may be anywhere.
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
    // Used by a warp that nothing orders after the initialisation.
    pair(
        SharedRace,
        &format!("{} bar.warp.sync 0xffffffff; {ARRIVE} {TEST}", mbarrier(64, "")),
        &clean,
        64,
    );
    // Initialised again while it is one.
    let again = |between: &str| format!("{clean} bar.sync 0; {between} @%a mbarrier.init.shared.b64 [%m], 64;");
    pair(
        BarrierMisuse,
        &again(""),
        &again("@%a mbarrier.inval.shared.b64 [%m]; bar.sync 0;"),
        64,
    );
    // Destroyed while others may use it.
    let destroy = |between: &str| format!("{clean} {between} @%a mbarrier.inval.shared.b64 [%m];");
    pair(SharedRace, &destroy(""), &destroy("bar.sync 0;"), 64);
    // Touched as ordinary memory.
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
    // Neither initialised nor possible: errors, not findings.
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
    // All threads arrive when their copies have landed; `noinc` counts as one of the arrivals expected.
    let arrive = "cp.async.mbarrier.arrive.noinc.shared.b64 [%m];";
    let wait = "WAIT: mbarrier.test_wait.parity.shared.b64 %b, [%m], 0; @!%b bra WAIT;";
    let clean = format!("{} {copy} {arrive} {wait} {READ}", mbarrier(64, "bar.sync 0;"));
    assert_eq!(kinds(&clean, 64), []);
    // Nobody waits: another warp's bytes may not be there, and neither may one's own.
    let hasty = format!("{} {copy} {arrive} {READ} {wait}", mbarrier(64, "bar.sync 0;"));
    some(&[MissingWait, SharedRace, UninitialisedMemory], &hasty);
    let own = |wait: &str, after: &str| {
        format!(
            "{} {copy} {arrive} {wait} ld.shared.u32 %r0, [%z]; {after}",
            mbarrier(64, "bar.sync 0;")
        )
    };
    pair(MissingWait, &own("", wait), &own(wait, ""), 64);
    // Without `noinc` the arrival expects itself, and everybody arrives once more.
    let more = "cp.async.mbarrier.arrive.shared.b64 [%m]; mbarrier.arrive.shared.b64 %o, [%m];";
    assert_eq!(
        kinds(
            &format!("{} {copy} {more} {wait} {READ}", mbarrier(64, "bar.sync 0;")),
            64
        ),
        []
    );
    // A thread may wait for its own copies in the other way too.
    assert_eq!(kinds(&own("cp.async.wait_all;", wait), 64), []);
    // The phase never ends.
    let never = |count: u32| format!("{} {copy} {arrive}", mbarrier(count, "bar.sync 0;"));
    pair(MissingWait, &never(65), &never(64), 64);
}
