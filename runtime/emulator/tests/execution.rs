//! Whole kernels: divergence and reconvergence, barriers, calls, state spaces.

mod common;

use common::{HEAD, run_with, try_run, upload, words};
use energy_kernel_emulator::{Argument, Error, Launch, Memory, Module, Options, launch};

/// Runs a body in which `%q` is the address of the thread's word and `%t` its number. Returns all words.
fn run(declarations: &str, body: &str, blocks: u32, threads: u32) -> Vec<u32> {
    let memory = Memory::new(1 << 22);
    let count = (blocks * threads) as usize;
    let buffer = upload(&memory, &vec![0; count * 4]);
    let text = format!(
        "{HEAD}{declarations}\n.visible .entry test(.param .u64 buffer) {{
        .reg .b64 %p, %q, %o, %u; .reg .b32 %t, %x, %y, %z, %i; .reg .pred %a, %b, %c;
        ld.param.u64 %p, [buffer]; mov.u32 %x, %ctaid.x; mov.u32 %y, %ntid.x; mov.u32 %z, %tid.x; mad.lo.u32 %t, %x, %y, %z;
        mul.wide.u32 %o, %t, 4; add.u64 %q, %p, %o;
        {body}
        ret; }}"
    );
    let options = Options {
        sanitize: true,
        count: true,
        instruction_limit: Some(10_000_000),
        ..Options::default()
    };
    let report = run_with(
        &text,
        "test",
        [blocks, 1, 1],
        threads,
        &memory,
        &[Argument::U64(buffer)],
        options,
    );
    assert_eq!(report.findings, [], "{text}");
    words(&memory, buffer, count)
}

#[test]
fn loops_of_different_length_meet_again() {
    // Collatz steps, then a ballot: all 32 lanes must have reconverged.
    let steps = run(
        "",
        "add.u32 %x, %t, 1; mov.u32 %i, 0;
        LOOP: setp.eq.u32 %a, %x, 1; @%a bra DONE;
        and.b32 %y, %x, 1; setp.eq.u32 %b, %y, 0; @%b bra EVEN;
        mad.lo.u32 %x, %x, 3, 1; bra NEXT;
        EVEN: shr.u32 %x, %x, 1;
        NEXT: add.u32 %i, %i, 1; bra LOOP;
        DONE: activemask.b32 %y; setp.eq.u32 %c, %y, 0xffffffff; selp.u32 %i, %i, 9999, %c; st.global.u32 [%q], %i;",
        2,
        64,
    );
    for (index, steps) in steps.iter().enumerate() {
        let (mut value, mut expected) = (index as u32 + 1, 0);
        while value != 1 {
            value = if value % 2 == 0 { value / 2 } else { 3 * value + 1 };
            expected += 1;
        }
        assert_eq!(*steps, expected, "{}", index + 1);
    }
}

#[test]
fn a_lock_that_one_lane_holds_is_given_up() {
    // All lanes of two warps count under a lock, whose holder must get its turn among spinning lanes.
    let result = run(
        ".global .align 4 .u32 lock; .global .align 4 .u32 total;",
        "SPIN: atom.global.cas.b32 %x, [lock], 0, 1; setp.ne.u32 %a, %x, 0; @%a bra SPIN;
        ld.volatile.global.u32 %y, [total]; add.u32 %y, %y, 1; st.volatile.global.u32 [total], %y; membar.gl;
        atom.global.exch.b32 %x, [lock], 0;
        st.global.u32 [%q], %y;",
        1,
        64,
    );
    let mut sorted = result.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (1..=64).collect::<Vec<_>>());
}

#[test]
fn shuffles_of_every_mode() {
    let lane = |index: usize| (index % 32) as i32;
    let segment = |width: i32| (32 - width) << 8;
    for (instruction, expected) in [
        (
            "shfl.sync.idx.b32 %x|%a, %t, 5, 31, 0xffffffff".to_owned(),
            Box::new(|_: i32| 5) as Box<dyn Fn(i32) -> i32>,
        ),
        (
            "shfl.sync.up.b32 %x|%a, %t, 3, 0, 0xffffffff".to_owned(),
            Box::new(|lane| if lane < 3 { lane + 100 } else { lane - 3 }),
        ),
        (
            "shfl.sync.down.b32 %x|%a, %t, 4, 31, 0xffffffff".to_owned(),
            Box::new(|lane| if lane > 27 { lane + 100 } else { lane + 4 }),
        ),
        (
            "shfl.sync.bfly.b32 %x|%a, %t, 9, 31, 0xffffffff".to_owned(),
            Box::new(|lane| lane ^ 9),
        ),
        (
            format!("shfl.sync.down.b32 %x|%a, %t, 2, {}, 0xffffffff", segment(8) | 31),
            Box::new(|lane| if lane % 8 > 5 { lane + 100 } else { lane + 2 }),
        ),
        (
            format!("shfl.sync.idx.b32 %x|%a, %t, 11, {}, 0xffffffff", segment(8) | 31),
            Box::new(|lane| lane / 8 * 8 + 3),
        ),
    ] {
        let result = run(
            "",
            &format!("{instruction}; @!%a add.u32 %x, %x, 100; st.global.u32 [%q], %x;"),
            1,
            32,
        );
        for (index, value) in result.into_iter().enumerate() {
            assert_eq!(value as i32, expected(lane(index)), "{instruction} in lane {index}");
        }
    }
}

#[test]
fn votes_matches_and_reductions_of_a_warp() {
    let result = run(
        "",
        "setp.gt.u32 %a, %t, 20; vote.sync.ballot.b32 %x, %a, 0xffffffff; st.global.u32 [%q], %x;",
        1,
        32,
    );
    assert_eq!(result, [0xffe0_0000; 32]);
    let result = run(
        "",
        "rem.u32 %y, %t, 3; match.any.sync.b32 %x, %y, 0xffffffff; st.global.u32 [%q], %x;",
        1,
        32,
    );
    for (lane, mask) in result.iter().enumerate() {
        assert_eq!(
            *mask,
            (0..32)
                .filter(|other| other % 3 == lane % 3)
                .map(|other| 1 << other)
                .sum::<u32>()
        );
    }
    let result = run(
        "",
        "redux.sync.add.u32 %x, %t, 0xffffffff; st.global.u32 [%q], %x;",
        1,
        32,
    );
    assert_eq!(result, [496; 32]);
    let result = run(
        "",
        "setp.lt.u32 %a, %t, 32; vote.sync.all.pred %b, %a, 0xffffffff; vote.sync.any.pred %c, !%a, 0xffffffff; selp.u32 %x, 1, 0, %b; selp.u32 %y, 2, 0, %c; add.u32 %x, %x, %y; st.global.u32 [%q], %x;",
        1,
        32,
    );
    assert_eq!(result, [1; 32]);
}

#[test]
fn lanes_that_come_to_a_shuffle_by_different_ways_wait_for_each_other() {
    let result = run(
        "",
        "and.b32 %y, %t, 1; setp.eq.u32 %a, %y, 0; mov.u32 %x, 0; @%a bra MEET;
        mov.u32 %x, 7; mov.u32 %x, 7; MEET: redux.sync.add.u32 %x, %x, 0xffffffff; st.global.u32 [%q], %x;",
        1,
        32,
    );
    assert_eq!(result, [7 * 16; 32]);
}

/// Warp-synchronous instructions in different places, legal from sm_70 on.
#[test]
fn lanes_meet_at_instructions_of_different_places() {
    let text = include_str!("kernels/sync_at_two_places.ptx");
    for kernel in ["warpsync", "shuffle"] {
        let memory = Memory::new(1 << 10);
        let out = upload(&memory, &[0; 128]);
        let options = Options {
            sanitize: true,
            count: true,
            ..Options::default()
        };
        let report = run_with(text, kernel, [1, 1, 1], 32, &memory, &[Argument::U64(out)], options);
        assert_eq!(report.findings, [], "{kernel}");
        let expected: Vec<u32> = (0..32).map(|lane| (lane ^ 1) * 10).collect();
        assert_eq!(words(&memory, out, 32), expected, "{kernel}");
        // Each lane counts once, however long it waited.
        let counts = report.counts.thread_instructions;
        let met = if kernel == "shuffle" {
            counts.shuffle
        } else {
            counts.barrier
        };
        assert_eq!(met, 32, "{kernel}");
    }
    // The same with every kind of instruction, with other registers in each place, one of which is in a function.
    let places = |instruction: &str| {
        let at = |value: &str, to: &str| instruction.replace("VALUE", value).replace("TO", to);
        format!(
            "and.b32 %x, %t, 3; setp.eq.u32 %a, %x, 1; setp.eq.u32 %b, %x, 2; setp.ge.u32 %c, %t, 16; mov.u32 %i, 0;
            @%a bra ONE; @%b bra TWO; add.u32 %y, %t, 100; {} bra MET;
            ONE: add.u32 %z, %t, 100; add.u32 %z, %z, 0; {} mov.u32 %i, %x; bra MET;
            TWO: {{ .param .b32 a; .param .b32 v; st.param.b32 [a], %t; call (v), apart, (a); ld.param.b32 %i, [v]; }}
            MET: st.global.u32 [%q], %i;",
            at("%y", "%i"),
            at("%z", "%x")
        )
    };
    let function = |instruction: &str| {
        format!(
            ".func (.param .b32 r) apart(.param .b32 n) {{ .reg .b64 %w; .reg .b32 %n, %m, %i; .reg .pred %c; ld.param.u32 %n, [n];
            setp.ge.u32 %c, %n, 16; mul.wide.u32 %w, %n, 1; add.u64 %w, %w, 100; cvt.u32.u64 %m, %w; {} st.param.b32 [r], %i; ret; }}",
            instruction.replace("VALUE", "%m").replace("TO", "%i")
        )
    };
    let sum = 100 * 32 + 496;
    for (instruction, expected) in [
        (
            "shfl.sync.bfly.b32 TO, VALUE, 3, 31, 0xffffffff;",
            Box::new(|lane: u32| (lane ^ 3) + 100) as Box<dyn Fn(u32) -> u32>,
        ),
        ("redux.sync.add.u32 TO, VALUE, 0xffffffff;", Box::new(|_| sum)),
        ("vote.sync.ballot.b32 TO, %c, 0xffffffff;", Box::new(|_| 0xffff_0000)),
        ("match.any.sync.b32 TO, VALUE, 0xffffffff;", Box::new(|lane| 1 << lane)),
        ("elect.sync TO|%c, 0xffffffff;", Box::new(|_| 0)),
        (
            "vote.sync.any.pred %c, !%c, 0xffffffff; selp.u32 TO, 7, 8, %c;",
            Box::new(|_| 7),
        ),
    ] {
        let result = run(&function(instruction), &places(instruction), 1, 32);
        for (lane, value) in (0..).zip(result) {
            assert_eq!(value, expected(lane), "{instruction} in lane {lane}");
        }
    }
}

#[test]
fn lanes_of_different_masks_meet_apart() {
    // Each half of the warp has its own sum and its own vote, at one instruction.
    let halves = "setp.lt.u32 %a, %t, 16; selp.b32 %x, 0xffff, 0xffff0000, %a;";
    let result = run(
        "",
        &format!("{halves} redux.sync.add.u32 %y, %t, %x; st.global.u32 [%q], %y;"),
        1,
        32,
    );
    assert!(
        (0..)
            .zip(&result)
            .all(|(lane, sum)| *sum == if lane < 16 { 120 } else { 376 }),
        "{result:?}"
    );
    let vote = "setp.lt.u32 %b, %t, 20; vote.sync.all.pred %c, %b, %x; selp.u32 %y, 1, 0, %c; st.global.u32 [%q], %y;";
    let result = run("", &format!("{halves} {vote}"), 1, 32);
    assert!(
        (0..).zip(&result).all(|(lane, all)| *all == u32::from(lane < 16)),
        "{result:?}"
    );
    // Half of a warp does not wait for lanes outside of its mask, even if they wait for it.
    let result = run(
        ".global .align 4 .u32 flag;",
        "setp.ge.u32 %a, %t, 16; @%a bra SPIN; bar.warp.sync 0xffff; setp.eq.u32 %b, %t, 3; @%b st.volatile.global.u32 [flag], 9; bra DONE;
        SPIN: ld.volatile.global.u32 %y, [flag]; setp.eq.u32 %b, %y, 0; @%b bra SPIN;
        DONE: st.global.u32 [%q], %t;",
        1,
        32,
    );
    assert_eq!(result, (0..32).collect::<Vec<_>>());
    // Nothing waits for lanes that exited.
    let result = run(
        ".global .align 4 .u32 flag;",
        "setp.eq.u32 %a, %t, 31; @%a exit; setp.eq.u32 %b, %t, 30; @%b bra SPIN; redux.sync.add.u32 %y, %t, 0x3fffffff;
        setp.eq.u32 %c, %t, 0; @%c st.volatile.global.u32 [flag], 1; st.global.u32 [%q], %y; exit;
        SPIN: ld.volatile.global.u32 %y, [flag]; setp.eq.u32 %b, %y, 0; @%b bra SPIN; st.global.u32 [%q], %y;",
        1,
        32,
    );
    assert_eq!(result[..30], [435; 30]);
    assert_eq!(result[30..], [1, 0]);
}

#[test]
fn barriers_make_shared_memory_visible_and_reduce() {
    let result = run(
        ".shared .align 4 .b8 box[1024];",
        "mov.u32 %x, box; shl.b32 %y, %z, 2; add.u32 %x, %x, %y; st.shared.u32 [%x], %t; bar.sync 0;
        mov.u32 %x, box; xor.b32 %y, %y, 1020; add.u32 %x, %x, %y; ld.shared.u32 %y, [%x];
        setp.gt.u32 %a, %z, 99; bar.red.popc.u32 %i, 0, %a; bar.red.and.pred %b, 0, !%a; bar.red.or.pred %c, 0, %a;
        @%b add.u32 %i, %i, 10000; @%c add.u32 %i, %i, 20000;
        mad.lo.u32 %y, %y, 65536, %i; st.global.u32 [%q], %y;",
        1,
        256,
    );
    for (thread, value) in result.iter().enumerate() {
        assert_eq!((value >> 16, value & 0xffff), (255 - thread as u32, 20156));
    }
}

#[test]
fn functions_recursion_and_local_memory() {
    let result = run(
        ".func (.param .b32 r) fib(.param .b32 n) {
            .local .align 4 .b8 keep[8];
            .reg .b32 %n, %x, %y; .reg .pred %p; .reg .b64 %k;
            ld.param.u32 %n, [n]; setp.lt.u32 %p, %n, 2; @%p bra SMALL;
            { .param .b32 a; .param .b32 v; sub.u32 %x, %n, 1; st.param.b32 [a], %x; call.uni (v), fib, (a); ld.param.b32 %x, [v]; }
            mov.u64 %k, keep; st.local.u32 [%k+4], %x;
            { .param .b32 a; .param .b32 v; sub.u32 %y, %n, 2; st.param.b32 [a], %y; call (v), fib, (a); ld.param.b32 %y, [v]; }
            ld.local.u32 %x, [%k+4]; add.u32 %y, %x, %y; st.param.b32 [r], %y; ret;
            SMALL: st.param.b32 [r], %n; ret;
        }",
        "{ .param .b32 a; .param .b32 v; and.b32 %x, %t, 15; st.param.b32 [a], %x; call.uni (v), fib, (a); ld.param.b32 %y, [v]; } st.global.u32 [%q], %y;",
        1,
        64,
    );
    let mut fib = vec![0u32, 1];
    while fib.len() < 16 {
        fib.push(fib[fib.len() - 1] + fib[fib.len() - 2]);
    }
    assert!(
        result
            .iter()
            .enumerate()
            .all(|(thread, value)| *value == fib[thread % 16]),
        "{result:?}"
    );
}

/// The functions differ in width, so that one has 64-bit registers where another has 32-bit ones.
#[test]
fn lanes_in_different_functions_keep_their_registers() {
    let memory = Memory::new(1 << 10);
    let out = upload(&memory, &[0; 128]);
    for functions in [1, 2] {
        run_with(
            include_str!("kernels/indirect_calls.ptx"),
            "k",
            [1, 1, 1],
            32,
            &memory,
            &[Argument::U64(out), Argument::U32(functions)],
            Options::default(),
        );
        for (thread, value) in (0..).zip(words(&memory, out, 32)) {
            let added = if thread % functions == 0 { 100 } else { 200 };
            assert_eq!(value, thread + added, "thread {thread} of {functions} functions");
        }
    }
    // Both calls are open at once: one spins until the other function has run.
    let result = run(
        ".global .align 4 .u32 flag;
        .func (.param .b32 r) wide(.param .b32 n) {
            .reg .b32 %n, %f; .reg .b64 %w, %x; .reg .pred %p;
            ld.param.u32 %n, [n]; mul.wide.u32 %w, %n, 3; mul.wide.u32 %x, %n, 5;
            SPIN: ld.volatile.global.u32 %f, [flag]; setp.eq.u32 %p, %f, 0; @%p bra SPIN;
            add.u64 %w, %w, %x; cvt.u32.u64 %n, %w; st.param.b32 [r], %n; ret;
        }
        .func (.param .b32 r) narrow(.param .b32 n) {
            .reg .b32 %n, %a, %b, %c;
            ld.param.u32 %n, [n]; mul.lo.u32 %a, %n, 7; mul.lo.u32 %b, %n, 11; mul.lo.u32 %c, %n, 13;
            st.volatile.global.u32 [flag], 1;
            add.u32 %a, %a, %b; add.u32 %a, %a, %c; st.param.b32 [r], %a; ret;
        }",
        "{ .param .b32 n; .param .b32 v; st.param.b32 [n], %t; and.b32 %x, %t, 1; setp.eq.u32 %a, %x, 0;
        @%a call (v), wide, (n); @!%a call (v), narrow, (n); ld.param.b32 %y, [v]; } st.global.u32 [%q], %y;",
        1,
        32,
    );
    for (thread, value) in (0..).zip(result) {
        assert_eq!(value, thread * if thread % 2 == 0 { 8 } else { 31 }, "thread {thread}");
    }
}

/// Calls in different frames can reach the same operation with predicates at different bases.
#[test]
fn frames_that_differ_in_predicates_do_not_run_together() {
    let caller = |name: &str, predicates: &str| {
        format!(
            ".func (.param .b32 r) {name}(.param .b32 n) {{
            .reg .b32 %n; .reg .pred %p<4>; ld.param.u32 %n, [n]; {predicates}
            {{ .param .b32 a; .param .b32 v; st.param.b32 [a], %n; call (v), inner, (a); ld.param.b32 %n, [v]; }}
            st.param.b32 [r], %n; ret; }}"
        )
    };
    let functions = format!(
        ".func (.param .b32 r) inner(.param .b32 n) {{
        .reg .b32 %n; .reg .pred %p; ld.param.u32 %n, [n]; setp.gt.u32 %p, %n, 15; @%p add.u32 %n, %n, 1000;
        st.param.b32 [r], %n; ret; }} {} {}",
        caller("few", ""),
        caller(
            "many",
            "setp.eq.u32 %p0, %n, 1; setp.eq.u32 %p1, %n, 2; setp.eq.u32 %p2, %n, 3;"
        ),
    );
    let result = run(
        &functions,
        "{ .param .b32 n; .param .b32 v; st.param.b32 [n], %t; and.b32 %x, %t, 1; setp.eq.u32 %a, %x, 0;
        @%a call (v), few, (n); @!%a call (v), many, (n); ld.param.b32 %y, [v]; } st.global.u32 [%q], %y;",
        1,
        32,
    );
    let expected = |thread: u32| if thread > 15 { thread + 1000 } else { thread };
    assert!(
        result.iter().zip(0..).all(|(value, thread)| *value == expected(thread)),
        "{result:?}"
    );
}

/// NVRTC's code for `assert`, `printf`, `malloc` and `free`, on inputs that reach them.
#[test]
fn system_functions_are_named_when_they_are_reached() {
    let text = include_str!("foreign/kernels/system.ptx");
    let memory = Memory::new(1 << 20);
    let x = upload(&memory, &[1.0f32, -1.0, 2.0, 3.0].map(f32::to_le_bytes).concat());
    let launched = |kernel: &str, arguments: &[Argument]| {
        try_run(text, kernel, [1, 1, 1], 4, &memory, arguments, Options::default()).expect_err(kernel)
    };
    let guarded = |n: i32| launched("guarded", &[Argument::U64(x), Argument::I32(n), Argument::U64(x)]);
    let error = guarded(4);
    assert!(
        matches!(&error, Error::SystemCall { function, thread: [1, 0, 0], .. } if function == "vprintf"),
        "{error}"
    );
    let error = guarded(0);
    let says = "the assertion `n > 0` failed at system.cu:5 in `void guarded(float *, int, int *)`";
    assert!(
        matches!(&error, Error::Fault { message, .. } if message == says),
        "{error}"
    );
    let error = launched("scratch", &[Argument::U64(x), Argument::I32(65)]);
    assert!(
        matches!(&error, Error::SystemCall { function, .. } if function == "malloc"),
        "{error}"
    );
    // The line is that of the call.
    let Error::SystemCall { line, instruction, .. } = error else {
        return;
    };
    assert!(instruction.starts_with("call.uni (retval0), malloc"), "{instruction}");
    assert!(
        text.lines()
            .nth(line as usize - 1)
            .is_some_and(|line| line.contains("call.uni")),
        "{line}"
    );

    // Through a pointer, and with a declaration of another kind.
    let text = format!(
        "{HEAD}.extern .func (.param .b64 r) malloc(.param .b64 n); .extern .func __assertfail();
        .visible .entry pointer() {{ .reg .b64 %f; .param .b64 n; .param .b64 r; mov.u64 %f, malloc;
        st.param.b64 [n], 8; P: .callprototype (.param .b64 _) _ (.param .b64 _); call (r), %f, (n), P; ret; }}
        .visible .entry bare() {{ call __assertfail; ret; }}"
    );
    let failed =
        |kernel: &str| try_run(&text, kernel, [1, 1, 1], 1, &memory, &[], Options::default()).expect_err(kernel);
    assert!(matches!(failed("pointer"), Error::SystemCall { function, .. } if function == "malloc"));
    assert!(matches!(failed("bare"), Error::Fault { message, .. } if message == "an assertion failed"));

    // Other functions do not exist, so the launch is refused before it begins.
    let text =
        format!("{HEAD}.extern .func elsewhere(); .visible .entry test() {{ bra END; call elsewhere; END: ret; }}");
    let error = Module::parse(&text).expect("PTX").check("test").expect_err("unlinked");
    assert!(
        matches!(&error, Error::Unsupported { instruction, .. } if instruction == ".func elsewhere"),
        "{error}"
    );
}

#[test]
fn calls_through_pointers_to_other_parameters_are_faults() {
    let text = format!(
        "{HEAD}.func f(.param .b32 n) {{ ret; }}
        .visible .entry test() {{ .reg .b64 %f; .param .align 8 .b8 big[4096];
        P: .callprototype _ (.param .align 8 .b8 _[4096]); mov.u64 %f, f; call %f, (big), P; ret; }}"
    );
    let memory = Memory::new(0);
    let error = try_run(&text, "test", [1, 1, 1], 1, &memory, &[], Options::default()).expect_err("a fault");
    assert!(error.to_string().contains("`f`, whose parameters differ"), "{error}");
}

#[test]
fn generic_addresses_reach_every_space() {
    let result = run(
        ".const .align 4 .u32 table[4] = {10, 20, 30, 40}; .global .align 4 .u32 counter = 5; .shared .align 4 .u32 cell;",
        ".local .align 4 .b32 own; .reg .b64 %s, %l, %g, %k;
        mov.u64 %s, cell; cvta.shared.u64 %s, %s; mov.u64 %l, own; cvta.local.u64 %l, %l;
        mov.u64 %k, table; cvta.const.u64 %k, %k; mov.u64 %g, counter; cvta.global.u64 %g, %g;
        setp.eq.u32 %a, %t, 0; @%a st.u32 [%s], 3; st.u32 [%l], %t; bar.sync 0;
        ld.u32 %x, [%s]; ld.u32 %y, [%l]; add.u32 %x, %x, %y; ld.u32 %y, [%k+8]; add.u32 %x, %x, %y; ld.u32 %y, [%g]; add.u32 %x, %x, %y;
        isspacep.shared %a, %s; isspacep.local %b, %s; @%a add.u32 %x, %x, 1000; @%b add.u32 %x, %x, 2000;
        cvta.to.shared.u64 %s, %s; ld.shared.u32 %y, [%s]; add.u32 %x, %x, %y; st.global.u32 [%q], %x;",
        1,
        32,
    );
    for (thread, value) in result.iter().enumerate() {
        assert_eq!(*value, 3 + thread as u32 + 30 + 5 + 1000 + 3);
    }
}

#[test]
fn atomics_of_every_kind() {
    let memory = Memory::new(1 << 20);
    let buffer = upload(&memory, &[0; 64]);
    memory.write(buffer + 12, &u32::MAX.to_le_bytes()).expect("inside");
    memory.write(buffer + 16, &1000u32.to_le_bytes()).expect("inside");
    let text = format!(
        "{HEAD}.visible .entry test(.param .u64 buffer) {{
        .reg .b64 %p; .reg .b32 %t, %x, %y; .reg .f32 %f; .reg .f64 %g;
        ld.param.u64 %p, [buffer]; mov.u32 %x, %ctaid.x; mov.u32 %y, %tid.x; mad.lo.u32 %t, %x, 64, %y;
        atom.global.add.u32 %x, [%p], 2; red.global.max.u32 [%p+4], %t; red.global.or.b32 [%p+8], 6; red.global.min.u32 [%p+12], %t;
        atom.global.dec.u32 %x, [%p+16], 5000; atom.global.inc.u32 %x, [%p+20], 9; mov.f32 %f, 0f3F000000; red.global.add.f32 [%p+24], %f;
        mov.f64 %g, 0d3FD0000000000000; red.global.add.f64 [%p+32], %g; red.global.xor.b32 [%p+40], %t; red.add.u64 [%p+48], 1;
        mov.b32 %y, 0x3c004000; atom.global.add.noftz.f16x2 %x, [%p+56], %y;
        ret; }}"
    );
    run_with(
        &text,
        "test",
        [4, 1, 1],
        64,
        &memory,
        &[Argument::U64(buffer)],
        Options {
            threads: Some(2),
            ..Options::default()
        },
    );
    let result = words(&memory, buffer, 16);
    assert_eq!(result[..6], [512, 255, 6, 0, 1000 - 256, 256 % 10]);
    assert_eq!(f32::from_bits(result[6]), 128.0);
    assert_eq!(f64::from_bits(u64::from(result[9]) << 32 | u64::from(result[8])), 64.0);
    assert_eq!((result[10], result[12]), (0, 256));
    // 256 × 1.0 and 256 × 2.0 as halves.
    assert_eq!(result[14], 0x5c00_6000);
}

#[test]
fn vectors_are_added_as_wholes_in_global_memory_only() {
    let memory = Memory::new(1 << 20);
    let buffer = upload(&memory, &[0; 64]);
    let launched = |body: &str, options: Options| {
        let text = format!(
            "{HEAD}.shared .align 16 .b8 box[64]; .visible .entry test(.param .u64 buffer) {{
            .reg .b64 %p, %s; .reg .f32 %f<4>; .reg .b32 %r<4>; ld.param.u64 %p, [buffer]; mov.u64 %s, box;
            mov.f32 %f0, 0f00000001; mov.f32 %f1, 0f3F800000; mov.f32 %f2, %f1; mov.f32 %f3, %f1;
            {body} ret; }}"
        );
        try_run(&text, "test", [1, 1, 1], 1, &memory, &[Argument::U64(buffer)], options)
    };
    let sanitize = || Options {
        sanitize: true,
        ..Options::default()
    };
    // A register may take an old value and be an operand of a later element.
    let body = "atom.global.add.v2.f32 {%f1, %f2}, [%p], {%f1, %f1}; st.global.v2.f32 [%p+8], {%f1, %f2};";
    assert_eq!(launched(body, sanitize()).expect("a launch").findings, []);
    assert_eq!(words(&memory, buffer, 4), [0x3f80_0000, 0x3f80_0000, 0, 0]);
    // The whole vector is aligned.
    let report = launched("red.global.add.v4.f32 [%p+8], {%f1, %f1, %f1, %f1};", sanitize()).expect("findings");
    assert!(
        report.findings[0].message.contains("16 bytes accessed"),
        "{:?}",
        report.findings
    );
    let shared = "cvta.shared.u64 %s, %s; red.add.v2.f32 [%s], {%f1, %f1};";
    let error = launched(shared, Options::default()).expect_err("shared memory");
    assert!(error.to_string().contains("on a vector in shared memory"), "{error}");
    for unknown in [
        "red.shared.add.v2.f32 [%s], {%f1, %f1};",
        "red.global.min.v2.f32 [%p], {%f1, %f1};",
        "red.global.add.v2.u32 [%p], {%r0, %r1};",
        "red.global.add.v8.f32 [%p], {%f0, %f1, %f2, %f3, %f0, %f1, %f2, %f3};",
    ] {
        let error = launched(unknown, Options::default()).expect_err(unknown);
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    }
    // Hardware flushes subnormals in global memory, not in shared memory.
    let body =
        "st.shared.f32 [box], %f0; red.shared.add.f32 [box], %f0; ld.shared.f32 %f1, [box]; st.global.f32 [%p+4], %f1;
        st.global.f32 [%p], %f0; red.global.add.f32 [%p], %f0;";
    launched(body, Options::default()).expect("a launch");
    assert_eq!(words(&memory, buffer, 2), [0, 2]);
}

#[test]
fn special_registers_of_the_driver_and_of_shared_memory() {
    let read = |names: &[&str]| {
        let reads: String = (0..)
            .zip(names)
            .map(|(index, name)| format!("mov.u32 %x, {name}; st.global.u32 [%p+{}], %x;", 4 * index))
            .collect();
        let text = format!(
            "{HEAD}.shared .align 4 .b8 box[64]; .visible .entry test(.param .u64 buffer) {{
            .reg .b64 %p; .reg .b32 %x; ld.param.u64 %p, [buffer]; {reads} mov.u32 %x, box; st.global.u32 [%p+60], %x; ret; }}"
        );
        let memory = Memory::new(1 << 10);
        let buffer = upload(&memory, &[0; 64]);
        let module = Module::parse(&text).expect("PTX");
        assert_eq!(module.kernel("test").map(|kernel| kernel.static_shared()), Some(64));
        let with = Launch {
            grid: [1, 1, 1],
            block: [1, 1, 1],
            dynamic_shared: 16,
            arguments: &[Argument::U64(buffer)],
            options: Options::default(),
        };
        launch(&module, "test", &memory, &with).expect("a launch");
        words(&memory, buffer, 16)
    };
    let begin_end = [
        "%reserved_smem_offset_begin",
        "%reserved_smem_offset_end",
        "%reserved_smem_offset_cap",
    ];
    let mut names = begin_end.to_vec();
    names.extend([
        "%total_smem_size",
        "%aggr_smem_size",
        "%dynamic_smem_size",
        "%envreg0",
        "%envreg31",
    ]);
    // As on sm_90: the reserved bytes come first.
    assert_eq!(read(&names)[..8], [0, 1024, 1024, 80, 1104, 16, 0, 0]);
    assert_eq!(read(&names)[15], 1024);
    // A kernel that does not ask for their offset has none.
    assert_eq!(read(&["%total_smem_size", "%aggr_smem_size"])[..2], [80, 80]);
    assert_eq!(read(&["%total_smem_size"])[15], 0);
    for unknown in ["%envreg32", "%envreg01", "%reserved_smem_offset_2"] {
        let text = format!("{HEAD}.visible .entry test() {{ .reg .b32 %x; mov.u32 %x, {unknown}; ret; }}");
        let error = Module::parse(&text).expect("PTX").check("test").expect_err(unknown);
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    }
    // The part for libraries is ordinary memory.
    let scratch = run(
        "",
        "mov.u32 %x, %reserved_smem_offset_1; mad.lo.u32 %x, %t, 4, %x; st.shared.u32 [%x], %t; ld.shared.u32 %y, [%x];
        st.global.u32 [%q], %y;",
        1,
        32,
    );
    assert_eq!(scratch, (0..32).collect::<Vec<_>>());
}

#[test]
fn changes_of_register_counts_do_nothing() {
    let body = "setmaxnreg.dec.sync.aligned.u32 40; setmaxnreg.inc.sync.aligned.u32 232; st.global.u32 [%q], %t;";
    assert_eq!(run("", body, 1, 32), (0..32).collect::<Vec<_>>());
    let text = format!("{HEAD}.visible .entry test() {{ setmaxnreg.inc.sync.aligned.u32 100; ret; }}");
    let error = Module::parse(&text)
        .expect("PTX")
        .check("test")
        .expect_err("no multiple of 8");
    assert!(error.to_string().contains("a multiple of 8 from 24 to 256"), "{error}");
}

#[test]
fn jump_tables_go_where_the_index_says() {
    let result = run(
        "",
        "and.b32 %x, %t, 3; TABLE: .branchtargets L0, L1, L2, L3; brx.idx %x, TABLE;
        L0: mov.u32 %y, 100; bra DONE; L1: mov.u32 %y, 101; bra DONE; L2: mov.u32 %y, 102; bra DONE; L3: mov.u32 %y, 103;
        DONE: st.global.u32 [%q], %y;",
        1,
        32,
    );
    assert!(
        result
            .iter()
            .enumerate()
            .all(|(thread, value)| *value == 100 + thread as u32 % 4)
    );
}

#[test]
fn results_do_not_depend_on_host_threads() {
    let text = format!(
        "{HEAD}.visible .entry test(.param .u64 p) {{ .reg .b64 %p, %o; .reg .b32 %x, %y, %z, %t; ld.param.u64 %p, [p]; mov.u32 %x, %ctaid.x; mov.u32 %y, %nctaid.y; mov.u32 %z, %ctaid.y; mad.lo.u32 %x, %x, %y, %z; mov.u32 %t, %tid.x; mad.lo.u32 %x, %x, 64, %t; mul.wide.u32 %o, %x, 4; add.u64 %p, %p, %o; mul.lo.u32 %x, %x, 2654435761; st.global.u32 [%p], %x; ret; }}"
    );
    let module = Module::parse(&text).expect("PTX");
    let run = |threads| {
        let memory = Memory::new(1 << 20);
        let buffer = memory.allocate(21 * 64 * 4).expect("memory");
        let arguments = [Argument::U64(buffer)];
        let options = Options {
            count: true,
            sanitize: true,
            threads: Some(threads),
            ..Options::default()
        };
        let report = launch(
            &module,
            "test",
            &memory,
            &Launch {
                grid: [7, 3, 1],
                block: [64, 1, 1],
                dynamic_shared: 0,
                arguments: &arguments,
                options,
            },
        );
        (words(&memory, buffer, 21 * 64), report.expect("launch").counts)
    };
    assert_eq!(run(1), run(4));
}

#[test]
fn endless_loops_end_at_the_deadline() {
    let text = format!("{HEAD}.visible .entry test() {{ LOOP: bra LOOP; }}");
    let begun = std::time::Instant::now();
    let options = Options {
        deadline: Some(begun + std::time::Duration::from_millis(50)),
        ..Options::default()
    };
    let error = try_run(&text, "test", [2, 1, 1], 64, &Memory::new(0), &[], options).expect_err("a deadline");
    assert!(matches!(&error, Error::Deadline { line: 4, .. }), "{error}");
    assert!(
        (50..2000).contains(&begun.elapsed().as_millis()),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn endless_loops_end_at_the_limit() {
    let text = format!("{HEAD}.visible .entry test() {{ LOOP: bra LOOP; }}");
    let options = Options {
        instruction_limit: Some(100_000),
        ..Options::default()
    };
    let error = try_run(&text, "test", [2, 1, 1], 64, &Memory::new(0), &[], options).expect_err("a limit");
    assert!(
        matches!(
            &error,
            Error::InstructionLimit {
                limit: 100_000,
                line: 4,
                ..
            }
        ),
        "{error}"
    );
    let recursion = format!("{HEAD}.func f() {{ call f; ret; }} .visible .entry test() {{ call f; ret; }}");
    let error = try_run(
        &recursion,
        "test",
        [1, 1, 1],
        1,
        &Memory::new(0),
        &[],
        Options::default(),
    )
    .expect_err("a fault");
    assert!(error.to_string().contains("stack overflow"), "{error}");
}

#[test]
fn launches_that_cannot_be_are_refused() {
    let text = format!("{HEAD}.visible .entry test(.param .u64 p, .param .u32 n) .maxntid 64, 1, 1 {{ ret; }}");
    let module = Module::parse(&text).expect("PTX");
    let memory = Memory::new(0);
    let try_launch = |kernel: &str, arguments: &[Argument], block: [u32; 3], dynamic_shared| {
        launch(
            &module,
            kernel,
            &memory,
            &Launch {
                grid: [1, 1, 1],
                block,
                dynamic_shared,
                arguments,
                options: Options::default(),
            },
        )
        .map(|_| ())
    };
    let good = [Argument::U64(0), Argument::U32(1)];
    assert_eq!(try_launch("test", &good, [64, 1, 1], 0), Ok(()));
    assert!(
        matches!(try_launch("other", &good, [64, 1, 1], 0), Err(Error::UnknownKernel { known, .. }) if known == "test")
    );
    assert!(matches!(
        try_launch("test", &good[..1], [64, 1, 1], 0),
        Err(Error::ArgumentCount {
            expected: 2,
            given: 1,
            ..
        })
    ));
    assert!(matches!(
        try_launch("test", &[Argument::U64(0), Argument::U64(1)], [64, 1, 1], 0),
        Err(Error::ArgumentSize {
            index: 1,
            expected: 4,
            given: 8,
            ..
        })
    ));
    assert!(matches!(
        try_launch("test", &good, [65, 1, 1], 0),
        Err(Error::Shape { .. })
    ));
    assert!(matches!(
        try_launch("test", &good, [64, 1, 1], 300_000),
        Err(Error::Shape { .. })
    ));
    assert!(matches!(
        try_launch("test", &good, [0, 1, 1], 0),
        Err(Error::Shape { .. })
    ));
}

#[test]
fn variables_are_written_from_outside() {
    let text = format!(
        "{HEAD}.global .align 4 .u32 g[2] = {{1, 2}}; .const .align 4 .u32 c[2] = {{3, 4}}; .shared .u32 s;
        .visible .entry test(.param .u64 out) {{ .reg .b64 %p; .reg .b32 %x; ld.param.u64 %p, [out];
        ld.global.u32 %x, [g]; st.global.u32 [%p], %x; ld.global.u32 %x, [g+4]; st.global.u32 [%p+4], %x;
        ld.const.u32 %x, [c]; st.global.u32 [%p+8], %x; ld.const.u32 %x, [c+4]; st.global.u32 [%p+12], %x; ret; }}"
    );
    let module = Module::parse(&text).expect("PTX");
    let memory = Memory::new(1 << 10);
    let out = upload(&memory, &[0; 16]);
    let with = Launch {
        grid: [1, 1, 1],
        block: [1, 1, 1],
        dynamic_shared: 0,
        arguments: &[Argument::U64(out)],
        options: Options::default(),
    };
    let run = || {
        launch(&module, "test", &memory, &with).expect("a launch");
        words(&memory, out, 4)
    };
    assert_eq!(run(), [1, 2, 3, 4]);
    let write = |name: &str, bytes: &[u8]| module.write_variable(&memory, name, bytes);
    write("g", &7u32.to_le_bytes()).expect("a part");
    write("c", &[8u32, 9].map(u32::to_le_bytes).concat()).expect("all of it");
    assert_eq!(run(), [7, 2, 8, 9]);
    // Another memory has its own variables.
    let (address, _) = module
        .global(&Memory::new(1 << 10), "g")
        .expect("memory")
        .expect("declared");
    assert!(address > 0);
    assert!(matches!(
        write("g", &[0; 9]),
        Err(Error::VariableSize { size: 8, given: 9, .. })
    ));
    assert!(matches!(write("s", &[0; 4]), Err(Error::UnknownVariable { known, .. }) if known == "g, c"));
}

#[test]
fn module_variables_live_as_long_as_the_memory() {
    let text = format!(
        "{HEAD}.global .align 4 .u32 runs = 3; .visible .entry test() {{ .reg .b32 %x; atom.global.add.u32 %x, [runs], 1; ret; }}"
    );
    let module = Module::parse(&text).expect("PTX");
    let memory = Memory::new(1 << 10);
    let with = Launch {
        grid: [1, 1, 1],
        block: [1, 1, 1],
        dynamic_shared: 0,
        arguments: &[],
        options: Options::default(),
    };
    for _ in 0..4 {
        launch(&module, "test", &memory, &with).expect("launch");
    }
    let (address, size) = module.global(&memory, "runs").expect("memory").expect("declared");
    assert_eq!((size, words(&memory, address, 1)[0]), (4, 7));
    module.unload(&memory).expect("loaded");
    assert_eq!(memory.used(), 0);
}
