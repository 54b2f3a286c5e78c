//! Syntax beyond single instructions: constant expressions, vector registers, operands of calls, variables.

mod common;

use common::{HEAD, try_run, upload, words};
use energy_kernel_emulator::{Argument, Error, Memory, Module, Options};

/// Runs `test` of a module in one block. Returns `count` words of its buffer.
fn run(declarations: &str, body: &str, threads: u32, count: usize) -> Result<Vec<u32>, Error> {
    let text = format!(
        "{HEAD}{declarations}\n.visible .entry test(.param .u64 buffer) {{
        .reg .b64 %p, %o, %d<4>; .reg .b32 %t, %r<8>; .reg .f32 %f<8>; .reg .f64 %g<2>; .reg .b16 %h<4>; .reg .pred %a;
        ld.param.u64 %p, [buffer]; mov.u32 %t, %tid.x; mul.wide.u32 %o, %t, 4; add.u64 %o, %p, %o;
        {body} ret; }}"
    );
    let memory = Memory::new(1 << 20);
    let buffer = upload(&memory, &vec![0; 4 * count]);
    let options = Options {
        sanitize: true,
        ..Options::default()
    };
    let report = try_run(
        &text,
        "test",
        [1, 1, 1],
        threads,
        &memory,
        &[Argument::U64(buffer)],
        options,
    )?;
    assert_eq!(report.findings, [], "{text}");
    Ok(words(&memory, buffer, count))
}

fn ran(declarations: &str, body: &str, threads: u32, count: usize) -> Vec<u32> {
    run(declarations, body, threads, count).unwrap_or_else(|error| panic!("{error}: {body}"))
}

/// The values are those that ptxas 13.0 puts into the image of `.global .u64 x[1] = {expression};`.
#[test]
fn constant_expressions_have_the_values_of_the_assembler() {
    let lines: Vec<(&str, &str)> = include_str!("kernels/constant_expressions.txt")
        .lines()
        .map(|line| line.rsplit_once(" = ").expect("expression = value"))
        .collect();
    let list: Vec<&str> = lines.iter().map(|(expression, _)| *expression).collect();
    let text = format!(
        "{HEAD}.global .u64 x[{}] = {{{}}}; .visible .entry test() {{ ret; }}",
        list.len(),
        list.join(", ")
    );
    let module = Module::parse(&text).expect("PTX");
    let memory = Memory::new(1 << 20);
    let (address, size) = module.global(&memory, "x").expect("memory").expect("declared");
    let values = common::download(&memory, address, size as usize);
    for ((expression, expected), value) in lines.iter().zip(values.chunks_exact(8)) {
        let value = u64::from_le_bytes(value.try_into().expect("eight bytes"));
        assert_eq!(format!("{value:#x}"), *expected, "{expression}");
    }
}

#[test]
fn constant_expressions_stand_wherever_constants_do() {
    let result = ran(
        ".shared .align 4 .b8 box[WARP_SZ];",
        "mov.u32 %r0, (1 + 2) * 3; st.global.u32 [%p + 4*2 - 8], %r0; add.u32 %r0, %r0, -(2 << 1);
        st.global.u32 [%p+(1 ? 4 : 8)], %r0; mov.f32 %f0, 1.5 + 2.25; st.global.f32 [%p+8], %f0;
        mov.u32 %r1, box + 4*3; st.shared.u32 [%r1+-(4)], 1|2; ld.shared.u32 %r2, [box[2*4]]; st.global.u32 [%p+12], %r2;
        mov.f64 %g0, 1.0/3.0; st.global.f64 [%p+16], %g0; mov.f32 %f1, -0f3F800000; st.global.f32 [%p+24], %f1;
        mov.u32 %r3, !5; mov.u32 %r4, ~5; add.u32 %r3, %r3, %r4; st.global.u32 [%p+28], %r3;",
        1,
        8,
    );
    let third = (1.0f64 / 3.0).to_bits();
    assert_eq!(result[..3], [9, 5, 3.75f32.to_bits()]);
    assert_eq!(result[3..6], [3, third as u32, (third >> 32) as u32]);
    assert_eq!(result[6..], [(-1.0f32).to_bits(), !5]);
    // Float expressions are evaluated in double precision, and rounded once.
    let module = Module::parse(&format!(
        "{HEAD}.global .f64 x[4] = {{1.5+2.25, 3.0*0.1, 1.0/3.0, -(2.5)}}; .visible .entry test() {{ ret; }}"
    ));
    let memory = Memory::new(1 << 10);
    let (address, _) = module
        .expect("PTX")
        .global(&memory, "x")
        .expect("memory")
        .expect("declared");
    let expected = [3.75, 3.0f64 * 0.1, 1.0 / 3.0, -2.5].map(f64::to_le_bytes).concat();
    assert_eq!(common::download(&memory, address, 32), expected);
    let wrong = |expression: &str| {
        let text = format!("{HEAD}.global .u64 x[1] = {{{expression}}};");
        Module::parse(&text).expect_err(expression)
    };
    for (expression, message) in [
        ("1/0", "divided by zero"),
        ("1 % (2-2)", "divided by zero"),
        ("1 << 64", "shifted by 64"),
        ("1 << -1", "shifted by -1"),
        ("1 + 1.5", "an integer and a float"),
        ("(.s64)1.5", "a cast of a float"),
        ("1.5 ? 1 : 2", "expected an integer condition"),
        ("1 ? 1.5 : 2", "an integer and a float"),
        ("(1", "expected `)`"),
        ("1 +", "expected a constant"),
        ("0f3F800000 + 1.0", "expected `}`"),
    ] {
        let error = wrong(expression).to_string();
        let message = if expression.starts_with("0f") {
            "expected `,`"
        } else {
            message
        };
        assert!(error.contains(message), "{expression}: {error}");
    }
    for deep in ["(".repeat(10_000), "-".repeat(10_000), "1?1:".repeat(10_000)] {
        assert!(wrong(&deep).to_string().contains("nested too deeply"));
    }
}

#[test]
fn vector_registers_are_named_as_wholes_and_by_component() {
    let result = ran(
        "",
        ".reg .v4 .b32 V, W; .reg .v2 .f32 %v<3>; .reg .v4 .u32 T;
        mov.v4.b32 V, {1, 2, 3, 4}; mov.v4.b32 {V.x, V.y, V.z, V.w}, {V.w, V.z, V.y, V.x}; add.u32 V.a, V.x, V.g;
        mov.v4.b32 W, V; st.global.v4.b32 [%p], W; ld.global.v2.f32 %v2, [%p+8]; st.global.v2.f32 [%p+16], %v2;
        st.global.f32 [%p+24], %v2.y; mov.b64 %d0, %v2; mov.b64 %v1, %d0; st.global.f32 [%p+28], %v1.r;
        mov.v4.u32 T, %ntid; st.global.v4.u32 [%p+32], T; mov.v2.u32 {%r0, %r1}, {%r1, %t}; st.global.u32 [%p+48], %r1;
        { .reg .v4 .b32 V; mov.b32 V.x, 77; } st.global.u32 [%p+52], V.x;",
        1,
        14,
    );
    assert_eq!(result, [4, 3, 2, 7, 2, 7, 7, 2, 1, 1, 1, 0, 0, 4]);
    // Unwritten components stay undefined, each for itself.
    let text = format!(
        "{HEAD}.visible .entry test(.param .u64 buffer) {{ .reg .b64 %p; .reg .v2 .b32 V, W; .reg .b32 %x; ld.param.u64 %p, [buffer];
        mov.b32 V.y, 1; mov.v2.b32 W, V; add.u32 %x, W.y, 1; add.u32 %x, W.x, 1; ret; }}"
    );
    let memory = Memory::new(1 << 10);
    let buffer = memory.allocate(8).expect("memory");
    let findings = common::findings_of(&text, 1, &memory, buffer).expect("no error");
    assert!(
        findings.len() == 1 && findings[0].instruction.contains("W.x, 1"),
        "{findings:?}"
    );
    for (body, wrong) in [
        (".reg .v2 .b32 V; add.u32 %r0, V, 1;", "neither register nor constant"),
        (".reg .v2 .b32 V; mov.b32 %r0, V.z;", "no register `V.z`"),
        (
            ".reg .v2 .b32 V; mov.v4.b32 V, {1, 2, 3, 4};",
            "2 registers from 4 for 4",
        ),
        (".reg .v2 .b32 %v<2>; mov.b32 %r0, %v2.x;", "%v2.x"),
        ("mov.b64 {%r0, %r1}, {%r1, %r0};", "without `.v2`"),
    ] {
        let error = run("", body, 1, 1).expect_err(body).to_string();
        assert!(error.contains(wrong), "{body}: {error}");
    }
}

#[test]
fn calls_pass_registers_and_constants() {
    let functions = "
        .func (.reg .b32 rv) wide(.reg .b32 n, .reg .b64 d) { .reg .b32 %z; cvt.u32.u64 %z, d; mad.lo.u32 rv, n, 1000, %z; ret; }
        .func (.param .b32 rv) next(.param .b32 n) { .reg .b32 %z; ld.param.b32 %z, [n]; add.u32 %z, %z, 1; st.param.b32 [rv], %z; ret; }
        .func (.reg .f32 rv) half(.reg .f32 x) { mul.f32 rv, x, 0f3F000000; }
        .func (.reg .b32 rv) early(.reg .b32 n) { .reg .pred %q; setp.gt.u32 %q, n, 3; mov.u32 rv, 100; @%q ret; add.u32 n, n, 1; mov.u32 rv, n; ret; }
        .func (.reg .b16 rv) narrow(.reg .b16 n) { neg.s16 rv, n; ret; }
        .func nothing(.reg .b32 n) { ret; }";
    // In registers, as constants, in `.param` variables, and mixed.
    let result = ran(
        functions,
        "mov.u64 %d0, 7; mov.u32 %r0, 5; call (%r1), wide, (%r0, %d0); st.global.u32 [%p], %r1;
        call (%r1), wide, (2 + 1, 8); st.global.u32 [%p+4], %r1; call (%r1), next, (41); st.global.u32 [%p+8], %r1;
        { .param .b32 a; .param .b32 v; st.param.b32 [a], %r0; call (v), wide, (a, %d0); ld.param.b32 %r1, [v]; call (%r2), next, (a); }
        add.u32 %r1, %r1, %r2; st.global.u32 [%p+12], %r1; call (%f0), half, (3.0); st.global.f32 [%p+16], %f0;
        mov.b16 %h0, 5; call (%h1), narrow, (%h0); cvt.s32.s16 %r1, %h1; st.global.u32 [%p+20], %r1; call (_), next, (1); call nothing, (%r0);",
        1,
        6,
    );
    assert_eq!(result, [5007, 3008, 42, 5013, 1.5f32.to_bits(), -5i32 as u32]);
    // Each thread has its own parameters, also if some threads call and some return early.
    let result = ran(
        functions,
        "and.b32 %r0, %t, 1; setp.eq.u32 %a, %r0, 1; mov.u32 %r1, 7; @%a call (%r1), early, (%t); st.global.u32 [%o], %r1;",
        8,
        8,
    );
    assert_eq!(result, [7, 2, 7, 4, 7, 100, 7, 100]);
    // Through pointers: a prototype, a list or a table tells the types.
    let result = ran(
        &format!("{functions} .global .u64 table[2] = {{next, early}};"),
        "mov.u64 %d0, next; P: .callprototype (.param .b32 _) _ (.param .b32 _); call (%r0), %d0, (8), P; st.global.u32 [%p], %r0;
        L: .calltargets next, early; call (%r0), %d0, (9), L; st.global.u32 [%p+4], %r0;
        ld.global.u64 %d0, [table+8]; call (%r0), %d0, (2), table; st.global.u32 [%p+8], %r0;",
        1,
        3,
    );
    assert_eq!(result, [9, 10, 3]);
    for (body, wrong) in [
        ("call (%r0), wide, (%h0, %d0);", "do not fit the parameters of `wide`"),
        ("call (%d0), next, (%r0);", "do not fit the parameters of `next`"),
        ("call (%r0), next, (%r0, %r1);", "do not fit the parameters of `next`"),
        ("call (%r0), next, (%q);", "%q"),
        ("mov.u64 %d0, next; call (%r0), %d0, (8);", "no known type"),
    ] {
        let error = run(functions, body, 1, 1).expect_err(body).to_string();
        assert!(error.contains(wrong), "{body}: {error}");
    }
    let text = format!("{HEAD}.visible .entry test(.reg .b32 n) {{ ret; }}");
    assert!(Module::parse(&text).is_err());
}

#[test]
fn functions_declare_variables_of_the_module() {
    let result = ran(
        ".global .b32 g = 4; .func (.reg .b32 rv) count() { .global .align 4 .b32 calls = 10; atom.global.add.u32 rv, [calls], 1; ret; }
        .func (.reg .b32 rv) one() { mov.u32 rv, 1; ret; }",
        ".global .b32 g = 5; .global .align 8 .u64 at = g; .const .b32 c = 6; .global .align 8 .u64 table[1] = {one};
        ld.global.u32 %r0, [g]; st.global.u32 [%p], %r0; ld.const.u32 %r0, [c]; st.global.u32 [%p+4], %r0;
        ld.global.u64 %d0, [at]; ld.global.u32 %r0, [%d0]; st.global.u32 [%p+8], %r0;
        { .global .b32 g = 7; ld.global.u32 %r0, [g]; st.global.u32 [%p+12], %r0; } { .global .b32 g = 8; ld.global.u32 %r0, [g]; st.global.u32 [%p+16], %r0; }
        call (%r0), count, (); call (%r0), count, (); st.global.u32 [%p+20], %r0;
        ld.global.u64 %d1, [table]; P: .callprototype (.param .b32 _) _ (); call (%r0), %d1, (), P; st.global.u32 [%p+24], %r0;
        { .shared .align 4 .b32 s; st.shared.u32 [s], 9; } { .shared .align 4 .b32 s; st.shared.u32 [s], 11; ld.shared.u32 %r0, [s]; } st.global.u32 [%p+28], %r0;",
        1,
        8,
    );
    assert_eq!(result, [5, 6, 5, 7, 8, 11, 1, 11]);
}

#[test]
fn initial_values_fit_their_variables() {
    let parsed = |variables: &str| Module::parse(&format!("{HEAD}{variables}"));
    let memory = Memory::new(1 << 20);
    let bytes = |variables: &str| {
        let module = parsed(variables).expect(variables);
        let (address, size) = module.global(&memory, "x").expect("memory").expect("declared");
        common::download(&memory, address, size as usize)
    };
    // The bytes are those of ptxas.
    assert_eq!(bytes(".global .b32 x = 1.0;"), 1.0f32.to_le_bytes());
    assert_eq!(bytes(".global .b64 x = 0f3F800000;"), 0x3f80_0000u64.to_le_bytes());
    assert_eq!(bytes(".global .f32 x = 0d3FF0000000000000;"), 1.0f32.to_le_bytes());
    assert_eq!(bytes(".global .u8 x[3] = {256, -1};"), [0, 255, 0]);
    for (variable, wrong) in [
        (".f32 x = 1;", "an integer, which .f32 does not take"),
        (".u64 x = 1.5;", "a float, which .u64 does not take"),
        (".u32 x = 0f3F800000;", "a float, which .u32 does not take"),
        (".f16 x = 1.0;", "a float, which .f16 does not take"),
        (".u32 x = y;", "an address, which does not fit .u32"),
        (
            ".u64 x = nowhere;",
            "`nowhere`, which is neither a global or constant variable",
        ),
        (".u64 x = s;", "`s`, which is neither a global or constant variable"),
    ] {
        let text = format!(".global .u32 y; .shared .u32 s; .global {variable}");
        let error = parsed(&text).expect_err(variable);
        assert!(error.message.contains(wrong), "{variable}: {error}");
    }
    // Large variables of zeros cost no noticeable time.
    assert_eq!(
        parsed(".global .align 4 .b8 big[1000000000]; .global .b32 x = 5;")
            .expect("PTX")
            .global(&Memory::new(1 << 40), "x")
            .expect("memory")
            .map(|(_, size)| size),
        Some(4)
    );
}

#[test]
fn constant_memory_ends_at_64_kib() {
    let parsed = |variables: &str| Module::parse(&format!("{HEAD}{variables}"));
    assert!(parsed(".const .b8 s[65536];").is_ok());
    for variables in [
        ".const .b8 s[65537];",
        ".const .b8 s[65536]; .const .b8 t[1];",
        ".const .b8 s[65535]; .const .align 4 .b32 t;",
        ".const .b8 s[1000000000]; .const .b8 t[1000000000];",
        ".const .b8 s[65536]; .visible .entry k() { .const .b32 t; ret; }",
    ] {
        let error = parsed(variables).expect_err(variables);
        assert!(
            error.message.contains("at most 65536 are possible") && !error.unsupported,
            "{error}"
        );
    }
}

/// Unsupported PTX is distinguished from text that is not PTX.
#[test]
fn unknown_syntax_is_unsupported_and_wrong_syntax_is_not() {
    let unsupported = |text: &str| Module::parse(&format!("{HEAD}{text}")).expect_err(text).unsupported;
    for text in [
        ".alias a, b;",
        ".texref t;",
        ".global .texref t;",
        ".visible .entry k() .blocksareclusters { ret; }",
        ".visible .entry k() { .reg .b1024 x; ret; }",
        ".visible .entry k() { .branchy; ret; }",
    ] {
        assert!(unsupported(text), "{text}");
    }
    for text in [
        "global .u32 x;",
        ".global .u32;",
        ".visible .entry k() { .reg .v4 .b64 x; }",
        ".visible .entry k() {",
    ] {
        assert!(!unsupported(text), "{text}");
    }
    // An unknown form is unsupported whatever its operands.
    for body in [
        "mov.u64 %d0, test;",
        "mov.u32 %r0, f;",
        "ld.global.v4.fancy.u32 %r0, [%p];",
        "add.fancy.u32 %r0, {%r1, %r2};",
        "atom.global.add.v16.f32 {%f0, %f1}, [%p], {%f0, %f1};",
    ] {
        let error = run(".func f() { ret; }", body, 1, 1).expect_err(body);
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    }
}
