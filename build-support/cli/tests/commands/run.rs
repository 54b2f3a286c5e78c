//! `run`: kernels of PTX files.

use crate::common::{call, command, text};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const DOUBLE: &str = "
.version 8.0
.target sm_80
.address_size 64
.visible .entry twice(.param .u64 from, .param .u64 to, .param .u32 count, .param .f32 factor) {
    .reg .pred %p<2>; .reg .b32 %r<4>; .reg .f32 %f<4>; .reg .b64 %rd<6>;
    ld.param.u64 %rd0, [from];
    ld.param.u64 %rd1, [to];
    ld.param.u32 %r1, [count];
    ld.param.f32 %f1, [factor];
    mov.u32 %r0, %tid.x;
    setp.ge.u32 %p0, %r0, %r1;
    @%p0 ret;
    mul.wide.u32 %rd2, %r0, 4;
    add.s64 %rd3, %rd0, %rd2;
    add.s64 %rd4, %rd1, %rd2;
    ld.global.f32 %f0, [%rd3];
    mul.rn.f32 %f2, %f0, %f1;
    st.global.f32 [%rd4], %f2;
    ret;
}
";

pub fn ptx_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("k.ptx"), DOUBLE).unwrap();
    let floats: Vec<u8> = (0..8).flat_map(|i| (i as f32).to_le_bytes()).collect();
    fs::write(folder.path().join("in"), floats).unwrap();
    folder
}

const RUN: [&str; 12] = [
    "run",
    "k.ptx",
    "--block",
    "32",
    "--arg",
    "in:in",
    "--arg",
    "out:out:32",
    "--arg",
    "u32:8",
    "--arg",
    "f32:-2.5",
];

#[test]
fn a_ptx_kernel_runs_on_files() {
    let folder = ptx_folder();
    // Called like cargo does.
    let words = [
        &["energy-kernel"],
        RUN.as_slice(),
        &["--kernel", "twice", "--counts", "--check"],
    ]
    .concat();
    let output = call(folder.path(), &words);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let results = fs::read(folder.path().join("out")).unwrap();
    let (floats, _) = results.as_chunks::<4>();
    let floats: Vec<f32> = floats.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    assert_eq!(floats, (0..8).map(|i| i as f32 * -2.5).collect::<Vec<f32>>());
    assert!(text(&output.stdout).contains("flops: 8"));
}

#[test]
fn findings_exit_with_3_and_unknown_instructions_with_4() {
    let folder = ptx_folder();
    let mut words = RUN.to_vec();
    words[9] = "u32:9";
    words.push("--check");
    let output = call(folder.path(), &words);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("out-of-bounds"));
    let unknown = DOUBLE.replace("mul.rn.f32 %f2, %f0, %f1;", "frobnicate.f32 %f2, %f0, %f1;");
    fs::write(folder.path().join("k.ptx"), unknown).unwrap();
    let output = call(folder.path(), &RUN);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("frobnicate"));
}

/// Called directly, like cargo does, and through cargo.
#[test]
fn it_is_called_in_three_ways() {
    let run = [
        RUN.as_slice(),
        &["--kernel", "twice", "--grid", "1,1,1", "--shared", "64"],
    ]
    .concat();
    let as_cargo = [&["energy-kernel"], run.as_slice()].concat();
    // Cargo finds its subcommands in PATH.
    let tool = Path::new(env!("CARGO_BIN_EXE_cargo-energy-kernel")).parent().unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(tool.to_owned()).chain(std::env::split_paths(&path));
    let path = std::env::join_paths(folders).unwrap();
    let through_cargo = |folder: &Path| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(folder).env("PATH", &path);
        cargo
    };
    type Caller<'a> = &'a dyn Fn(&Path) -> Command;
    let ways: [(Caller<'_>, &[&str]); 3] = [(&command, &run), (&command, &as_cargo), (&through_cargo, &as_cargo)];
    for (command, words) in ways {
        let folder = ptx_folder();
        let output = command(folder.path()).args(words).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let results = fs::read(folder.path().join("out")).unwrap();
        assert_eq!(results[28..], (7.0f32 * -2.5).to_le_bytes());
    }
}

#[test]
fn every_kind_of_argument_is_passed() {
    const ALL: &str = "
.version 8.0
.target sm_80
.address_size 64
.visible .entry all(.param .u64 to, .param .u32 a, .param .s32 b, .param .f32 c, .param .f64 d, .param .u64 e) {
    .reg .b32 %r<4>; .reg .f32 %f<2>; .reg .f64 %fd<2>; .reg .b64 %rd<4>;
    ld.param.u64 %rd0, [to];
    ld.param.u32 %r0, [a];
    ld.param.s32 %r1, [b];
    ld.param.f32 %f0, [c];
    ld.param.f64 %fd0, [d];
    ld.param.u64 %rd1, [e];
    st.global.u32 [%rd0], %r0;
    st.global.u32 [%rd0+4], %r1;
    st.global.f32 [%rd0+8], %f0;
    st.global.f64 [%rd0+16], %fd0;
    st.global.u64 [%rd0+24], %rd1;
    ret;
}
";
    let folder = ptx_folder();
    fs::write(folder.path().join("k.ptx"), ALL).unwrap();
    fs::write(folder.path().join("before"), [7; 40]).unwrap();
    let arguments = [
        "inout:before:after",
        "u32:5",
        "s32:-5",
        "f32:1.5",
        "f64:-2.25",
        "u64:18446744073709551615",
    ];
    let mut command = command(folder.path());
    command.args(["run", "k.ptx", "--kernel", "all", "--grid", "1,1,1", "--block", "1,1,1"]);
    for argument in arguments {
        command.args(["--arg", argument]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let mut expected = [7; 40];
    expected[..4].copy_from_slice(&5u32.to_le_bytes());
    expected[4..8].copy_from_slice(&(-5i32).to_le_bytes());
    expected[8..12].copy_from_slice(&1.5f32.to_le_bytes());
    expected[16..24].copy_from_slice(&(-2.25f64).to_le_bytes());
    expected[24..32].copy_from_slice(&u64::MAX.to_le_bytes());
    assert_eq!(fs::read(folder.path().join("after")).unwrap(), expected);
    assert_eq!(fs::read(folder.path().join("before")).unwrap(), [7; 40]);
}

#[test]
fn structures_pointers_and_variables_are_passed() {
    let folder = ptx_folder();
    let write = |name: &str, words: &[u32]| {
        fs::write(
            folder.path().join(name),
            words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>(),
        )
        .unwrap()
    };
    fs::write(folder.path().join("p.ptx"), include_str!("../gather.ptx")).unwrap();
    write("seven", &[7]);
    write("eight", &[8]);
    // The addresses are inserted at 0 and 16; the number at 8 stays.
    write("s", &[1, 1, 30, 1, 1, 1]);
    write("scale", &[10]);
    write("added", &[2000]);
    let run = |arguments: &[&str]| {
        let mut command = command(folder.path());
        command.args(["run", "p.ptx", "--check"]);
        for argument in arguments {
            command.args(["--arg", argument]);
        }
        command.output().unwrap()
    };
    let arguments = [
        "buffer:in:seven",
        "bytes:s:0=0,16=2",
        "buffer:out:result:4",
        "pointers:0,4",
        "buffer:in:eight",
        "symbol:scale:scale",
        "out:twice:8",
        "symbol:added:added",
        "same:6",
    ];
    let output = run(&arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
    assert_eq!(read("result"), (7 * 10 + 30 + 2000u32).to_le_bytes());
    assert_eq!(read("twice"), [7008u32, 7008].map(u32::to_le_bytes).concat());
    // Without symbols, variables have the module's initial values.
    let output = run(&[&arguments[..5], &arguments[6..7], &["same:5"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(read("result"), (7 + 30 + 100u32).to_le_bytes());
    let with = |at: usize, argument: &'static str| {
        let mut arguments = arguments;
        arguments[at] = argument;
        arguments
    };
    let cases: [(usize, &str, i32, &str); 10] = [
        (8, "same:9", 2, "there is no --arg 9: there are 9"),
        (8, "same:5", 2, "--arg 5 is not a buffer"),
        (8, "same:8", 2, "--arg 8 is not a buffer"),
        (3, "pointers:0,1", 2, "--arg 1 is not a buffer"),
        (1, "bytes:s:17=0", 2, "an address does not fit at offset 17"),
        (1, "bytes:s:18446744073709551615=0", 2, "an address does not fit"),
        (1, "bytes:absent", 1, "absent"),
        (1, "bytes:seven", 1, "takes 24 bytes, 4 were given"),
        (5, "symbol:nothing:scale", 1, "no global or constant variable `nothing`"),
        (5, "symbol:scale:s", 1, "`scale` has 8 bytes, 24 were given"),
    ];
    for (at, argument, code, says) in cases {
        let output = run(&with(at, argument));
        let stderr = text(&output.stderr).replace("\n  │ ", " ");
        assert_eq!(output.status.code(), Some(code), "{argument}: {stderr}");
        assert!(stderr.contains(says), "{argument}: {stderr}");
    }
}

#[test]
fn what_the_emulator_does_not_know_exits_with_4() {
    let folder = tempfile::tempdir().unwrap();
    let run = |module: &str, body: &str| {
        let head = ".version 8.7\n.target sm_90\n.address_size 64\n";
        let text = format!(
            "{head}{module} .visible .entry k() {{ .reg .b32 %r<4>; .reg .b64 %d<4>; .reg .f32 %f<4>; {body} ret; }}"
        );
        fs::write(folder.path().join("k.ptx"), text).unwrap();
        let output = call(folder.path(), &["run", "k.ptx"]);
        (output.status.code(), text_of(&output))
    };
    // All of these are supported.
    let known = [
        ("", ".reg .v2 .b32 V; mov.v2.b32 V, {1, 2}; add.u32 %r0, V.x, V.y;"),
        (
            ".func f() { ret; }",
            "mov.u64 %d0, f; P: .callprototype _ (); call %d0, (), P;",
        ),
        (
            ".global .align 16 .b8 sums[16];",
            "mov.f32 %f0, 1.0; mov.u64 %d0, sums; atom.global.add.v4.f32 {%f0, %f1, %f2, %f3}, [%d0], {%f0, %f0, %f0, %f0};",
        ),
        (".extern .func malloc();", "bra END; call malloc; END:"),
    ];
    for (module, body) in known {
        let (code, says) = run(module, body);
        assert_eq!(code, Some(0), "{module} {body}: {says}");
    }
    // Unsupported instructions differ from errors, wherever they are.
    let cases = [
        (4, ".alias f, g;", ""),
        (4, ".global .surfref s;", ""),
        (4, "", ".reg .b128 %q;"),
        (4, "", ".reg .b256 %q;"),
        (4, "", "mov.u64 %d0, k;"),
        (4, "", "atom.global.add.v16.f32 {%f0}, [%d0], {%f0};"),
        (4, "", "red.shared.add.v4.f32 [%r0], {%f0, %f0, %f0, %f0};"),
        (
            4,
            "",
            "wgmma.mma_async.sp.sync.aligned.m64n8k32.f32.f16.f16 {%f0}, %d0, %d0, %r0;",
        ),
        (
            4,
            ".extern .func (.param .b32 r) vprintf(.param .b64 a, .param .b64 b);",
            "call (_), vprintf, (0, 0);",
        ),
        (4, ".extern .func elsewhere();", "call elsewhere;"),
        (1, "", "add.u32 %r0, %r1;"),
        (1, "", "add.u32 %r0, %r1, x;"),
        (1, "", "add.u32 %r0, %r1 %r2;"),
        (1, ".func f() { ret; }", "call f, (1);"),
        (1, ".extern .func __assertfail();", "call __assertfail;"),
        (1, "", "trap;"),
        (1, "", "ld.global.u32 %r0, [16];"),
        (1, ".const .b8 c[65537];", ""),
    ];
    for (code, module, body) in cases {
        let (exit, says) = run(module, body);
        assert_eq!(exit, Some(code), "{module} {body}: {says}");
    }
}

fn text_of(output: &Output) -> String {
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

#[test]
fn launches_that_no_gpu_would_do_are_refused() {
    let folder = ptx_folder();
    let cases: [(&[&str], &str); 6] = [
        (&["--grid", "0,1,1"], "at least 1"),
        (&["--grid", "1,65536,1"], "65535"),
        (&["--block", "0"], "between 1 and 1024"),
        (&["--block", "1025"], "between 1 and 1024"),
        (&["--block", "4294967295,4294967295,4294967295"], "between 1 and 1024"),
        (&["--shared", "4294967295"], "shared memory"),
    ];
    // Without the block that is given there.
    let run = [&RUN[..2], &RUN[4..]].concat();
    for (words, says) in cases {
        let output = call(folder.path(), &[run.as_slice(), words].concat());
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {stderr}");
        // Long lines are wrapped.
        let stderr = stderr.replace("\n  │ ", " ");
        assert!(stderr.contains(says), "{words:?}: {stderr}");
    }
}

#[test]
fn what_cannot_be_written_is_named() {
    let folder = ptx_folder();
    let mut words = RUN.to_vec();
    for out in ["out:absent/out:32", "out:.:32"] {
        words[7] = out;
        let output = call(folder.path(), &words);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            text(&output.stderr).contains("cannot be written"),
            "{}",
            text(&output.stderr)
        );
    }
}

#[test]
fn counts_and_findings_are_json_where_asked_for() {
    let folder = ptx_folder();
    let mut words = RUN.to_vec();
    words[11] = "f32:2";
    words.extend(["--json", "--counts", "--check"]);
    let output = call(folder.path(), &words);
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&said["counts"]["flops"], &said["findings"]),
        (&8.into(), &serde_json::json!([]))
    );
    words[9] = "u32:9";
    let output = call(folder.path(), &words);
    assert_eq!(output.status.code(), Some(3));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["findings"][0]["kind"], "out-of-bounds access");
    assert!(text(&output.stderr).contains("out-of-bounds"));
}
