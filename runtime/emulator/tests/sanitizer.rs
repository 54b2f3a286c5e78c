//! Every kind of finding: a program with the bug, and its twin without.

mod common;

use common::{HEAD, findings_of, try_run, upload};
use energy_kernel_emulator::{Argument, Error, Finding, FindingKind, Memory, Options};

/// Runs a body with `%p` (a buffer of 64 words), `%t` (the thread), `%s` (4 × the thread) and 64 words of shared `box`.
fn findings(body: &str, threads: u32, filled: u64) -> Result<Vec<Finding>, Error> {
    let memory = Memory::new(1 << 20);
    let buffer = memory.allocate(256).expect("memory");
    memory.fill(buffer, 1, filled).expect("inside");
    let text = format!(
        "{HEAD}.shared .align 16 .b8 box[256];\n.visible .entry test(.param .u64 buffer) {{
        .reg .b64 %p, %q, %o; .reg .b32 %t, %s, %x, %y, %z; .reg .b16 %h; .reg .pred %a, %b;
        ld.param.u64 %p, [buffer]; mov.u32 %t, %tid.x; shl.b32 %s, %t, 2; mul.wide.u32 %o, %t, 4; add.u64 %q, %p, %o;
        mov.u32 %z, box; add.u32 %z, %z, %s; setp.eq.u32 %a, %t, 0;
        {body}
        ret;
        }}"
    );
    findings_of(&text, threads, &memory, buffer)
}

fn kinds(body: &str, threads: u32, filled: u64) -> Vec<FindingKind> {
    findings(body, threads, filled)
        .unwrap_or_else(|error| panic!("{error}"))
        .into_iter()
        .map(|finding| finding.kind)
        .collect()
}

/// Expects exactly one finding of this kind for the bug, and none for its twin.
fn pair(kind: FindingKind, bug: &str, clean: &str, threads: u32) {
    assert_eq!(kinds(bug, threads, 256), [kind], "the bug: {bug}");
    assert_eq!(kinds(clean, threads, 256), [], "the clean twin: {clean}");
}

#[test]
fn accesses_out_of_bounds() {
    use FindingKind::OutOfBounds;
    pair(OutOfBounds, "ld.global.u32 %x, [%q+4];", "ld.global.u32 %x, [%q];", 64);
    pair(
        OutOfBounds,
        "st.global.v4.b32 [%p+256], {%t, %t, %t, %t};",
        "@%a st.global.v4.b32 [%p+240], {%t, %t, %t, %t};",
        32,
    );
    pair(OutOfBounds, "st.shared.u32 [%z+4], %t;", "st.shared.u32 [%z], %t;", 64);
    pair(
        OutOfBounds,
        "@%a atom.global.add.u32 %x, [%p+256], 1;",
        "@%a atom.global.add.u32 %x, [%p+252], 1;",
        32,
    );
    pair(
        OutOfBounds,
        ".local .align 4 .b8 own[16]; mov.u64 %o, own; st.local.u32 [%o+16], %t;",
        ".local .align 4 .b8 own[16]; mov.u64 %o, own; st.local.u32 [%o+12], %t;",
        32,
    );
}

#[test]
fn findings_name_place_and_circumstance() {
    let findings = findings("\n\n@%a st.global.u32 [%p+256], 7;", 64, 256).expect("no error");
    let [finding] = findings.as_slice() else {
        panic!("{findings:?}")
    };
    assert_eq!(finding.instruction, "@%a st.global.u32 [%p+256], 7;");
    assert_eq!(finding.line, 11);
    assert_eq!(
        (finding.thread, finding.block, finding.size, finding.occurrences),
        ([0, 0, 0], [0, 0, 0], 4, 1)
    );
    assert!(
        finding.message.contains("256 bytes into the allocation of 256 bytes"),
        "{}",
        finding.message
    );
    assert!(finding.to_string().contains("PTX line 11"), "{finding}");
}

#[test]
fn misaligned_accesses() {
    pair(
        FindingKind::Misaligned,
        "@%a ld.global.u32 %x, [%p+2];",
        "@%a ld.global.u16 %x, [%p+2];",
        32,
    );
    pair(
        FindingKind::Misaligned,
        "@%a st.global.v2.u32 [%p+4], {%t, %t};",
        "@%a st.global.v2.u32 [%p+8], {%t, %t};",
        32,
    );
    pair(
        FindingKind::Misaligned,
        "@%a st.shared.u16 [%z+1], 1;",
        "@%a st.shared.u16 [%z+2], 1;",
        32,
    );
}

#[test]
fn reads_of_what_nothing_wrote() {
    use FindingKind::{UninitialisedMemory, UninitialisedRegister};
    // The buffer's upper half was never written.
    assert_eq!(kinds("ld.global.u32 %x, [%q];", 64, 128), [UninitialisedMemory]);
    assert_eq!(kinds("ld.global.u32 %x, [%q];", 32, 128), []);
    assert_eq!(kinds("st.global.u32 [%q], %t; ld.global.u32 %x, [%q];", 64, 0), []);
    pair(
        UninitialisedMemory,
        "ld.shared.u32 %x, [%z];",
        "st.shared.u32 [%z], 0; ld.shared.u32 %x, [%z];",
        32,
    );
    pair(
        UninitialisedMemory,
        ".local .align 4 .b8 own[16]; mov.u64 %o, own; st.local.u32 [%o], %t; ld.local.u32 %x, [%o+4];",
        ".local .align 4 .b8 own[16]; mov.u64 %o, own; st.local.u32 [%o+4], %t; ld.local.u32 %x, [%o+4];",
        32,
    );
    pair(
        UninitialisedRegister,
        "add.u32 %x, %y, 1;",
        "mov.u32 %y, 1; add.u32 %x, %y, 1;",
        32,
    );
    // Only one thread writes it.
    pair(
        UninitialisedRegister,
        "@%a mov.u32 %y, 1; st.global.u32 [%q], %y;",
        "@%a mov.u32 %y, 1; @%a st.global.u32 [%q], %y;",
        32,
    );
    // Copying an undefined register is no finding.
    assert_eq!(kinds("mov.u32 %x, %y;", 32, 256), []);
    assert_eq!(
        kinds("mov.u32 %x, %y; add.u32 %x, %x, 1;", 32, 256),
        [UninitialisedRegister]
    );
    pair(
        UninitialisedRegister,
        "@%b st.global.u32 [%q], %t;",
        "setp.eq.u32 %b, %t, 1; @%b st.global.u32 [%q], %t;",
        32,
    );
}

#[test]
fn freed_memory() {
    let memory = Memory::new(1 << 20);
    let old = upload(&memory, &[0; 256]);
    memory.free(old).expect("allocated");
    let text = format!(
        "{HEAD}.visible .entry test(.param .u64 p) {{ .reg .b64 %p; .reg .b32 %x; ld.param.u64 %p, [p]; ld.global.u32 %x, [%p]; ret; }}"
    );
    let run = |sanitize| {
        try_run(
            &text,
            "test",
            [1, 1, 1],
            32,
            &memory,
            &[Argument::U64(old)],
            Options {
                sanitize,
                ..Options::default()
            },
        )
    };
    assert_eq!(
        run(true).expect("findings only").findings[0].kind,
        FindingKind::UseAfterFree
    );
    // Without the sanitizer it is a fault, and harmless to the host.
    assert!(matches!(run(false), Err(Error::Fault { address: Some(address), .. }) if address == old));
}

#[test]
fn races_in_shared_memory() {
    use FindingKind::SharedRace;
    // Each thread writes its word and reads its neighbour's in the other warp.
    let exchange = |between: &str| {
        format!(
            "st.shared.u32 [%z], %t; {between} xor.b32 %x, %s, 128; mov.u32 %y, box; add.u32 %y, %y, %x; ld.shared.u32 %x, [%y];"
        )
    };
    pair(
        SharedRace,
        &format!("{} bar.sync 0;", exchange("bar.sync 1, 32; ")),
        &exchange("bar.sync 0;"),
        64,
    );
    // A write after another thread's read needs a barrier too.
    let rewrite = |between: &str| format!("{} {between} st.shared.u32 [%z], 7;", exchange("bar.sync 0;"));
    pair(SharedRace, &rewrite(""), &rewrite("bar.sync 0;"), 64);
    // Two threads write different values to one word.
    pair(
        SharedRace,
        "mov.u32 %y, box; st.shared.u32 [%y], %t;",
        "mov.u32 %y, box; st.shared.u32 [%y], 3;",
        64,
    );
    // In a warp, a warp barrier or a shuffle suffices.
    let within = |between: &str| {
        format!(
            "st.shared.u32 [%z], %t; {between} xor.b32 %x, %s, 4; mov.u32 %y, box; add.u32 %y, %y, %x; ld.shared.u32 %x, [%y];"
        )
    };
    pair(SharedRace, &within(""), &within("bar.warp.sync 0xffffffff;"), 32);
    pair(
        SharedRace,
        &within(""),
        &within("shfl.sync.idx.b32 %x, %t, 0, 31, 0xffffffff;"),
        32,
    );
    // Atomics do not race with one another.
    let start = "@%a st.shared.u32 [box], 0; bar.sync 0;";
    pair(
        SharedRace,
        &format!("{start} atom.shared.add.u32 %x, [box], 1; ld.shared.u32 %y, [box];"),
        &format!("{start} atom.shared.add.u32 %x, [box], 1;"),
        64,
    );
    // Adjacent bytes do not conflict.
    assert_eq!(
        kinds(
            "mov.u32 %y, box; add.u32 %y, %y, %t; cvt.u16.u32 %h, %t; st.shared.u8 [%y], %h;",
            64,
            256
        ),
        []
    );
}

#[test]
fn releases_and_acquires_order_what_is_around_them() {
    let text = include_str!("kernels/release_acquire.ptx");
    let sanitize = || Options {
        sanitize: true,
        ..Options::default()
    };
    for (kernel, expected) in [("flag", 42), ("refcount", 45)] {
        let memory = Memory::new(1 << 10);
        let out = upload(&memory, &[0; 4]);
        let run =
            |text: &str| common::run_with(text, kernel, [1, 1, 1], 64, &memory, &[Argument::U64(out)], sanitize());
        assert_eq!(run(text).findings, [], "{kernel}");
        assert_eq!(common::words(&memory, out, 1), [expected], "{kernel}");
        // Without either half it is a race.
        for (half, less) in [
            ("st.release.cta", "st.relaxed.cta"),
            ("st.release.cta", "st"),
            ("ld.acquire.cta", "ld.relaxed.cta"),
            ("ld.acquire.cta", "ld"),
            ("atom.acq_rel", "atom.relaxed"),
            ("atom.acq_rel", "atom.release"),
            ("atom.acq_rel", "atom.acquire"),
            ("atom.acq_rel.cta.shared", "atom.shared"),
        ] {
            if half.starts_with("atom") == (kernel == "refcount") {
                let findings = run(&text.replace(half, less)).findings;
                assert!(
                    !findings.is_empty() && findings.iter().all(|finding| finding.kind == FindingKind::SharedRace),
                    "{less}: {findings:?}"
                );
            }
        }
    }
}

/// Thread 0 writes `[box]` and sets a flag in `[box+128]`; thread 32 waits for the flag and reads.
fn hand_over(before: &str, set: &str, wait: &str, after: &str) -> String {
    format!(
        "@%a st.shared.u32 [box], 0; @%a st.shared.u32 [box+128], 0; bar.sync 0;
        setp.eq.u32 %b, %t, 32; @%b bra CONSUME; @!%a bra DONE;
        st.shared.u32 [box], 42; {before} {set} bra DONE;
        CONSUME: {wait} setp.eq.u32 %b, %x, 0; @%b bra CONSUME; {after} ld.shared.u32 %y, [box]; DONE:"
    )
}

#[test]
fn fences_with_strong_accesses_are_releases_and_acquires() {
    use FindingKind::SharedRace;
    let (strong, volatile) = (
        "st.relaxed.cta.shared.u32 [box+128], 1;",
        "st.volatile.shared.u32 [box+128], 1;",
    );
    let (wait, wait_volatile) = (
        "ld.relaxed.cta.shared.u32 %x, [box+128];",
        "ld.volatile.shared.u32 %x, [box+128];",
    );
    let atomic = "atom.shared.exch.b32 %x, [box+128], 1;";
    let wait_atomic = "atom.shared.or.b32 %x, [box+128], 0;";
    for fence in ["fence.acq_rel.cta;", "fence.sc.gpu;", "membar.cta;", "membar.gl;"] {
        for set in [strong, volatile, atomic] {
            for wait in [wait, wait_volatile, wait_atomic] {
                assert_eq!(
                    kinds(&hand_over(fence, set, wait, fence), 64, 256),
                    [],
                    "{fence} {set} {wait}"
                );
                assert_eq!(
                    kinds(&hand_over("", set, wait, fence), 64, 256),
                    [SharedRace],
                    "no first {fence}"
                );
                assert_eq!(
                    kinds(&hand_over(fence, set, wait, ""), 64, 256),
                    [SharedRace],
                    "no second {fence}"
                );
            }
        }
    }
    // An acquire or release fence suffices in its own direction.
    assert_eq!(
        kinds(
            &hand_over("fence.release.cta;", strong, wait, "fence.acquire.cta;"),
            64,
            256
        ),
        []
    );
    assert_eq!(
        kinds(
            &hand_over("fence.acquire.cta;", strong, wait, "fence.acquire.cta;"),
            64,
            256
        ),
        [SharedRace]
    );
    assert_eq!(
        kinds(
            &hand_over("fence.release.cta;", strong, wait, "fence.release.cta;"),
            64,
            256
        ),
        [SharedRace]
    );
    // A fence on one side, an acquire or release operation on the other.
    let (release, acquire) = (
        "st.release.cta.shared.u32 [box+128], 1;",
        "ld.acquire.cta.shared.u32 %x, [box+128];",
    );
    assert_eq!(kinds(&hand_over("", release, wait, "fence.acq_rel.cta;"), 64, 256), []);
    assert_eq!(
        kinds(&hand_over("fence.acq_rel.cta;", strong, acquire, ""), 64, 256),
        []
    );
    // Writes after the fence, or after the release, are not ordered.
    let late = "fence.acq_rel.cta; st.shared.u32 [box], 43;";
    assert_eq!(
        kinds(&hand_over(late, strong, wait, "fence.acq_rel.cta;"), 64, 256),
        [SharedRace]
    );
    let late = format!("{release} st.shared.u32 [box], 43;");
    assert_eq!(kinds(&hand_over("", &late, acquire, ""), 64, 256), [SharedRace]);
    // Fences order nothing unless a value passes from one thread to the other.
    let fence = "fence.acq_rel.cta;";
    let unrelated =
        format!("setp.eq.u32 %b, %t, 32; @%a st.shared.u32 [box], 42; {fence} @%b st.shared.u32 [box], 43;");
    assert_eq!(kinds(&unrelated, 64, 256), [SharedRace]);
    // Proxy fences do not order threads.
    assert_eq!(
        kinds(
            &hand_over("fence.proxy.async;", strong, wait, "fence.proxy.async;"),
            64,
            256
        ),
        [SharedRace]
    );
}

#[test]
fn a_release_is_of_one_thread() {
    use FindingKind::SharedRace;
    // All lanes of a warp write, one sets the flag; all of the other warp read, one waited.
    let hand_over = |before: &str, after: &str| {
        format!(
            "@%a st.shared.u32 [box+252], 0; st.shared.u32 [%z], %t; bar.sync 0; setp.ge.u32 %b, %t, 32; @%b bra CONSUME;
            add.u32 %x, %t, 100; st.shared.u32 [%z], %x; {before} @%a st.release.cta.shared.u32 [box+252], 1; bra DONE;
            CONSUME: setp.ne.u32 %b, %t, 32; @%b bra MET;
            WAIT: ld.acquire.cta.shared.u32 %x, [box+252]; setp.eq.u32 %a, %x, 0; @%a bra WAIT;
            MET: {after} ld.shared.u32 %y, [%z+-128]; DONE:"
        )
    };
    let met = "bar.warp.sync 0xffffffff;";
    // 62 threads: the word of the last two is the flag's.
    let of = |before: &str, after: &str| kinds(&hand_over(before, after), 62, 256);
    let some = "bar.warp.sync 0x3fffffff;";
    assert_eq!(of(met, some), []);
    assert_eq!(of("", some), [SharedRace]);
    assert_eq!(of(met, ""), [SharedRace]);
    // A barrier of the lanes involved suffices, one of other lanes does not.
    assert_eq!(of("setp.lt.u32 %b, %t, 30; @%b bar.warp.sync 0x3fffffff;", some), []);
    assert_eq!(
        of("setp.ge.u32 %b, %t, 16; @%b bar.warp.sync 0xffff0000;", some),
        [SharedRace]
    );
}

#[test]
fn releases_go_on_through_atomic_operations_and_no_further() {
    use FindingKind::SharedRace;
    // Thread 0 releases with 1, thread 32 makes 2 of it, thread 64 waits for 2.
    let chain = |between: &str| {
        format!(
            "@%a st.shared.u32 [box], 0; @%a st.shared.u32 [box+128], 0; bar.sync 0;
            setp.eq.u32 %b, %t, 32; @%b bra MIDDLE; setp.eq.u32 %b, %t, 64; @%b bra LAST; @!%a bra DONE;
            st.shared.u32 [box], 42; st.release.cta.shared.u32 [box+128], 1; bra DONE;
            MIDDLE: ld.relaxed.cta.shared.u32 %x, [box+128]; setp.ne.u32 %b, %x, 1; @%b bra MIDDLE; {between} bra DONE;
            LAST: ld.acquire.cta.shared.u32 %x, [box+128]; setp.lt.u32 %b, %x, 2; @%b bra LAST;
            ld.shared.u32 %y, [box]; DONE:"
        )
    };
    assert_eq!(kinds(&chain("atom.shared.add.u32 %x, [box+128], 1;"), 96, 256), []);
    assert_eq!(kinds(&chain("red.shared.add.u32 [box+128], 1;"), 96, 256), []);
    assert_eq!(kinds(&chain("atom.shared.cas.b32 %x, [box+128], 1, 2;"), 96, 256), []);
    // A store ends the release sequence of another thread's value.
    assert_eq!(
        kinds(&chain("st.relaxed.cta.shared.u32 [box+128], 2;"), 96, 256),
        [SharedRace]
    );
    // Unless the thread had acquired it.
    let acquired = "fence.acq_rel.cta; st.relaxed.cta.shared.u32 [box+128], 2;";
    assert_eq!(kinds(&chain(acquired), 96, 256), []);
    // A later store of the releasing thread continues its release.
    assert_eq!(
        kinds(
            &hand_over(
                "",
                "st.release.cta.shared.u32 [box+128], 0; st.relaxed.cta.shared.u32 [box+128], 1;",
                "ld.acquire.cta.shared.u32 %x, [box+128];",
                ""
            ),
            64,
            256
        ),
        []
    );
    // A failed compare-and-swap writes nothing, so it releases nothing: here a lock that the second warp never gets.
    let in_vain = "@%a st.shared.u32 [box], 0; @%a st.shared.u32 [box+128], 1; bar.sync 0;
        setp.eq.u32 %b, %t, 32; @%b bra SECOND; @!%a bra DONE; st.shared.u32 [box], 42;
        atom.acq_rel.cta.shared.cas.b32 %x, [box+128], 0, 1; st.relaxed.cta.shared.u32 [box+132], 1; bra DONE;
        SECOND: ld.relaxed.cta.shared.u32 %y, [box+132]; setp.eq.u32 %b, %y, 0; @%b bra SECOND;
        atom.acq_rel.cta.shared.cas.b32 %x, [box+128], 0, 1; ld.shared.u32 %y, [box]; DONE:";
    let in_vain = in_vain.replacen("bar.sync 0;", "@%a st.shared.u32 [box+132], 0; bar.sync 0;", 1);
    assert_eq!(kinds(&in_vain, 64, 256), [SharedRace]);
}

#[test]
fn strong_accesses_do_not_race_with_one_another_but_with_weak_ones() {
    use FindingKind::SharedRace;
    let both = |first: &str, second: &str| {
        let start = "@%a st.shared.u32 [box], 0; bar.sync 0; setp.eq.u32 %b, %t, 32;";
        kinds(&format!("{start} @%a {first} @%b {second}"), 64, 256)
    };
    let (store, load) = (
        "st.relaxed.cta.shared.u32 [box], 1;",
        "ld.relaxed.cta.shared.u32 %x, [box];",
    );
    let (weak_store, weak_load) = ("st.shared.u32 [box], 2;", "ld.shared.u32 %x, [box];");
    let atomic = "red.shared.add.u32 [box], 1;";
    for (first, second) in [
        (store, load),
        (load, store),
        (store, store),
        (atomic, load),
        (load, atomic),
        (atomic, store),
    ] {
        assert_eq!(both(first, second), [], "{first} {second}");
    }
    for (first, second) in [
        (weak_store, load),
        (load, weak_store),
        (store, weak_load),
        (weak_load, store),
        (weak_store, store),
        (store, weak_store),
        (atomic, weak_load),
        (weak_load, atomic),
    ] {
        assert_eq!(both(first, second), [SharedRace], "{first} {second}");
    }
}

#[test]
fn barriers_of_clusters_order_unless_they_are_relaxed() {
    let exchange = |arrive: &str| {
        format!(
            "st.shared.u32 [%z], %t; {arrive} barrier.cluster.wait.aligned;
            xor.b32 %x, %s, 128; mov.u32 %y, box; add.u32 %y, %y, %x; ld.shared.u32 %x, [%y];"
        )
    };
    let (plain, relaxed) = (
        "barrier.cluster.arrive.aligned;",
        "barrier.cluster.arrive.relaxed.aligned;",
    );
    pair(FindingKind::SharedRace, &exchange(relaxed), &exchange(plain), 64);
    assert_eq!(kinds(&exchange(&format!("fence.acq_rel.cta; {relaxed}")), 64, 256), []);
}

#[test]
fn named_barriers_order_producer_and_consumer() {
    let hand_over = |arrive: &str| {
        format!(
            "setp.lt.u32 %a, %t, 32; @!%a bra CONSUME;
            st.shared.u32 [%z], %t; {arrive} bra DONE;
            CONSUME: bar.sync 1, 64; ld.shared.u32 %x, [%z+-128]; DONE:"
        )
    };
    assert_eq!(kinds(&hand_over("bar.arrive 1, 64;"), 64, 256), []);
    // The producer arrives before it writes.
    let early = "setp.lt.u32 %a, %t, 32; @!%a bra CONSUME;
        bar.arrive 1, 64; st.shared.u32 [%z], %t; bra DONE;
        CONSUME: bar.sync 1, 64; ld.shared.u32 %x, [%z+-128]; DONE:";
    assert_eq!(kinds(early, 64, 256), [FindingKind::SharedRace]);
}

#[test]
fn barriers_that_some_threads_miss() {
    use FindingKind::BarrierDivergence;
    pair(
        BarrierDivergence,
        "setp.ge.u32 %b, %t, 32; @%b exit; bar.sync 0;",
        "bar.sync 0; setp.ge.u32 %b, %t, 32; @%b exit;",
        64,
    );
    // Half of a warp at another barrier instruction.
    let apart = "setp.lt.u32 %b, %t, 16; @%b bra LOW; bar.sync 0; bra DONE; LOW: bar.sync 0; DONE:";
    assert!(kinds(apart, 32, 256).iter().all(|kind| *kind == BarrierDivergence));
    assert!(!kinds(apart, 32, 256).is_empty());
}

#[test]
fn a_deadlock_is_named() {
    let error = findings(
        "setp.lt.u32 %b, %t, 32; @%b bra LOW; bar.sync 1; bra DONE; LOW: bar.sync 2; DONE:",
        64,
        256,
    )
    .expect_err("a deadlock");
    let Error::Deadlock { message, .. } = &error else {
        panic!("{error}")
    };
    assert!(
        message.contains("32 threads wait at barrier 1") && message.contains("32 threads wait at barrier 2"),
        "{message}"
    );
    let error = findings("@%a bar.sync 1, 64;", 32, 256).expect_err("a deadlock");
    assert!(error.to_string().contains("expects 64 threads"), "{error}");
}

#[test]
fn warp_instructions_with_lanes_missing() {
    use FindingKind::InactiveLanes;
    pair(
        InactiveLanes,
        "setp.lt.u32 %b, %t, 16; @!%b bra DONE; shfl.sync.idx.b32 %x, %t, 0, 31, 0xffffffff; DONE:",
        "setp.lt.u32 %b, %t, 16; @!%b bra DONE; shfl.sync.idx.b32 %x, %t, 0, 31, 0x0000ffff; DONE:",
        32,
    );
    // With other qualifiers or another mask in the other place, the lanes never synchronise.
    let places = |first: &str, second: &str| {
        format!("setp.lt.u32 %b, %t, 16; @%b bra LOW; {first}; bra DONE; LOW: {second}; DONE:")
    };
    let up = "shfl.sync.up.b32 %x, %t, 1, 0, 0xffffffff";
    let down = "shfl.sync.down.b32 %x, %t, 1, 31, 0xffffffff";
    assert_eq!(kinds(&places(up, up), 32, 256), []);
    assert_eq!(kinds(&places(up, down), 32, 256), [InactiveLanes]);
    let barrier = |mask: &str| format!("bar.warp.sync {mask}");
    let (all, some) = (barrier("0xffffffff"), barrier("0x7fffffff"));
    assert_eq!(kinds(&places(&all, &all), 32, 256), []);
    assert_eq!(kinds(&places(&all, &some), 32, 256), [InactiveLanes]);
    // All lanes must reach an `.aligned` instruction in one place.
    let matrix = "movmatrix.sync.aligned.m8n8.trans.b16 %x, %t";
    assert_eq!(kinds(&places(matrix, matrix), 32, 256), [InactiveLanes]);
    assert_eq!(kinds(&format!("{matrix};"), 32, 256), []);
    // The mask is right, but the source lane is not in it.
    pair(
        InactiveLanes,
        "setp.lt.u32 %b, %t, 16; @!%b bra DONE; shfl.sync.idx.b32 %x, %t, 20, 31, 0x0000ffff; DONE:",
        "setp.lt.u32 %b, %t, 16; @!%b bra DONE; shfl.sync.idx.b32 %x, %t, 3, 31, 0x0000ffff; DONE:",
        32,
    );
}

#[test]
fn division_by_zero() {
    pair(
        FindingKind::DivisionByZero,
        "div.u32 %x, 7, %t;",
        "add.u32 %y, %t, 1; div.u32 %x, 7, %y;",
        32,
    );
}

#[test]
fn the_host_is_safe_without_the_sanitizer() {
    let memory = Memory::new(1 << 20);
    let buffer = upload(&memory, &[0; 256]);
    for access in [
        "ld.global.u32 %x, [%p+256]",
        "st.global.u32 [%p+-4], 1",
        "ld.global.u32 %x, [%p+1]",
        "ld.global.u32 %x, [16]",
        "ld.shared.u32 %x, [4096]",
        "st.shared.u64 [0xfffffffffffffff8], %p",
        "ld.local.u32 %x, [64]",
        "ld.u32 %x, [0xffffffffffffff00]",
        "atom.shared.add.u32 %x, [1024], 1",
        "ld.param.u32 %x, [4096]",
        "red.global.add.u32 [%p+254], 1",
        "bar.sync 17",
        "trap",
    ] {
        let text = format!(
            "{HEAD}.visible .entry test(.param .u64 p) {{ .shared .align 8 .b8 box[64]; .reg .b64 %p; .reg .b32 %x; ld.param.u64 %p, [p]; mov.u32 %x, box; {access}; ret; }}"
        );
        let error = try_run(
            &text,
            "test",
            [1, 1, 1],
            32,
            &memory,
            &[Argument::U64(buffer)],
            Options::default(),
        )
        .expect_err(access);
        assert!(matches!(error, Error::Fault { .. }), "{access}: {error}");
    }
}
