//! The commands, as they are called.

use std::fs;
use std::path::{Path, PathBuf};
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

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cargo-energy-kernel"));
    command
        .current_dir(folder)
        .env("ENERGY_KERNEL_CACHE_DIR", folder.join("cache"));
    command
}

fn call(folder: &Path, words: &[&str]) -> Output {
    command(folder).args(words).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn ptx_folder() -> tempfile::TempDir {
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
    // As cargo calls it.
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

/// As the test calls it, as cargo calls it, and through cargo.
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

/// A kernel that takes its buffers from a structure, an array of pointers, and twice.
const POINTERS: &str = "
.version 8.0
.target sm_80
.address_size 64
.const .align 4 .u32 scale[2] = {1, 1};
.global .align 4 .u32 added = 100;
.visible .entry gather(.param .align 8 .b8 s[24], .param .u64 table, .param .u64 x, .param .u64 again) {
    .reg .b32 %r<8>; .reg .b64 %d<8>;
    ld.param.u64 %d0, [s]; ld.param.u32 %r0, [s+8]; ld.param.u64 %d1, [s+16];
    ld.param.u64 %d2, [table]; ld.param.u64 %d3, [x]; ld.param.u64 %d4, [again];
    ld.global.u32 %r1, [%d0]; ld.const.u32 %r2, [scale]; mad.lo.u32 %r1, %r1, %r2, %r0;
    ld.global.u32 %r2, [added]; add.u32 %r1, %r1, %r2; st.global.u32 [%d1], %r1;
    ld.global.u64 %d5, [%d2]; ld.global.u32 %r3, [%d5]; ld.global.u64 %d5, [%d2+8]; ld.global.u32 %r4, [%d5];
    mad.lo.u32 %r3, %r3, 1000, %r4; st.global.u32 [%d3], %r3; ld.global.u32 %r5, [%d4]; st.global.u32 [%d4+4], %r5;
    ret;
}
";

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
    fs::write(folder.path().join("p.ptx"), POINTERS).unwrap();
    write("seven", &[7]);
    write("eight", &[8]);
    // The addresses at 0 and 16 are put in; the number at 8 stays.
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
    // Without values from outside, variables start as the module says.
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
        (8, "same:5", 2, "--arg 5 has no buffer to point to"),
        (8, "same:8", 2, "--arg 8 has no buffer to point to"),
        (3, "pointers:0,1", 2, "--arg 1 has no buffer to point to"),
        (1, "bytes:s:17=0", 2, "no address fits at offset 17"),
        (1, "bytes:s:18446744073709551615=0", 2, "no address fits"),
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
    // All of these are known.
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
    // What is not known is told from what is wrong, wherever it stands.
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
fn mistakes_exit_with_1_or_2_and_say_what_is_wrong() {
    let folder = ptx_folder();
    fs::write(folder.path().join("latin.ptx"), b"// \xe9").unwrap();
    fs::write(
        folder.path().join("none.ptx"),
        ".version 8.0\n.target sm_80\n.address_size 64\n",
    )
    .unwrap();
    fs::write(folder.path().join("nonsense.ptx"), "all is well").unwrap();
    let cases: [(&[&str], i32, &str); 26] = [
        (&["run", "absent.ptx"], 1, "absent.ptx"),
        (&["run", "."], 1, "cannot be read"),
        (&["run", "latin.ptx"], 1, "latin.ptx"),
        (&["run", "none.ptx"], 1, "no kernel"),
        (&["run", "nonsense.ptx"], 1, "line 1"),
        (&["run", "k.ptx", "--arg", "u32:1"], 1, "4 arguments"),
        (&["run", "k.ptx", "--kernel", "thrice"], 1, "thrice"),
        (&["run", "k.ptx", "--arg", "u32:x"], 2, "u32:x"),
        (&["run", "k.ptx", "--arg", "u32:-1"], 2, "u32:-1"),
        (&["run", "k.ptx", "--arg", "u32"], 2, "KIND:VALUE"),
        (&["run", "k.ptx", "--arg", "out:out:many"], 2, "many"),
        (&["run", "k.ptx", "--arg", "out:out"], 2, "out:FILE:BYTES"),
        (&["run", "k.ptx", "--arg", "out:out:-1"], 2, "-1"),
        (
            &["run", "k.ptx", "--arg", "out:out:99999999999999999999"],
            2,
            "too large",
        ),
        (
            &["run", "k.ptx", "--arg", "out:out:999999999999999999"],
            1,
            "999999999999999999",
        ),
        (&["run", "k.ptx", "--arg", "in:absent"], 1, "absent"),
        (&["run", "k.ptx", "--arg", "inout:in"], 2, "inout:IN:OUT"),
        (&["run", "k.ptx", "--device", "tpu"], 2, "cuda:N"),
        (&["run", "k.ptx", "--device", "cuda:0", "--check"], 1, "--check"),
        (&["run", "k.ptx", "--grid", "1,1,1,1"], 2, "X,Y,Z"),
        (&["run", "k.ptx", "--grid", "many"], 2, "many"),
        (&["run", "k.ptx", "--shared", "4294967296"], 2, "4294967296"),
        (&["run"], 2, "<FILE>"),
        (&["fly"], 2, "fly"),
        (&["tune", "--budget", "1e18s"], 2, "a year"),
        (&["check", "--manifest-path", "absent/Cargo.toml"], 1, "absent"),
    ];
    for (words, code, says) in cases {
        let output = call(folder.path(), words);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {stderr}");
        assert!(stderr.contains(says), "{words:?}: {stderr}");
        // And for programs.
        let output = call(folder.path(), &[words, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(code), "{words:?}");
        let error: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(
            error["error"].as_str().is_some_and(|error| error.contains(says)),
            "{words:?}: {error}"
        );
    }
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

/// `… | head`, say.
#[test]
fn nobody_needs_to_read_to_the_end() {
    let (_root, folder) = package();
    for words in [["ptx", "total"], ["ptx", "--help"], ["doctor", "--json"]] {
        let mut child = command(&folder)
            .args(words)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(
            matches!(output.status.code(), Some(0 | 1)),
            "{words:?}: {}",
            text(&output.stderr)
        );
    }
}

#[test]
fn without_a_place_for_results_nothing_is_tuned() {
    let (_root, folder) = package();
    let tuned = command(&folder)
        .args(["tune", "--emulated"])
        .env("ENERGY_KERNEL_CACHE_DIR", folder.join("Cargo.toml"))
        .output()
        .unwrap();
    assert_eq!(tuned.status.code(), Some(1));
    assert!(
        text(&tuned.stderr).contains("ENERGY_KERNEL_CACHE_DIR"),
        "{}",
        text(&tuned.stderr)
    );
}

/// A package that cargo can describe; nothing of it is ever compiled.
fn package() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("demo");
    fs::create_dir_all(folder.join("src")).unwrap();
    fs::write(
        folder.join("Cargo.toml"),
        "[package]\nname = \"demo\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n",
    )
    .unwrap();
    let source = "
        #[energy_kernel(tune(R = [4, 8], C = 64))]
        pub fn total(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R,)> { |r| sum(|c| x[[r, c]]) }
    ";
    fs::write(folder.join("src/lib.rs"), source).unwrap();
    (root, folder)
}

#[test]
fn tuning_on_the_emulated_device_is_shown_and_not_shipped() {
    let (_root, folder) = package();
    let before = call(&folder, &["show", "--json"]);
    assert_eq!(
        text(&before.stdout).matches("null").count(),
        2,
        "{}",
        text(&before.stderr)
    );
    let words = ["tune", "--emulated", "--candidates", "3", "--ship", "--json"];
    let tuned = call(&folder, &words);
    assert!(tuned.status.success(), "{}", text(&tuned.stderr));
    assert!(text(&tuned.stdout).contains("\"tuned\":2") && text(&tuned.stdout).contains("\"simulated\":true"));
    assert!(
        !folder.join("energy-cache").exists(),
        "simulated results are nobody else's business"
    );
    assert!(
        text(&tuned.stderr).contains("nothing is shipped"),
        "{}",
        text(&tuned.stderr)
    );
    assert!(text(&call(&folder, &words).stdout).contains("\"tuned\":0"));
    let shown = call(&folder, &["show"]);
    assert!(
        text(&shown.stdout).contains("simulated") && text(&shown.stdout).contains("total"),
        "{}",
        text(&shown.stdout)
    );
    let check = call(&folder, &["check"]);
    assert_eq!(check.status.code(), Some(1));
    assert!(
        text(&check.stdout).contains("total (R = 4, C = 64) has no shipped result"),
        "{}",
        text(&check.stdout)
    );
    let other = call(&folder, &["tune", "--emulated", "--operator", "absent"]);
    assert!(other.status.code() == Some(1) && text(&other.stderr).contains("total"));
}

/// Measured with kernels that are emitted no more: used and reported, without its figures.
#[test]
fn stale_results_are_shown_without_figures() {
    let (_root, folder) = package();
    let tuned = call(&folder, &["tune", "--emulated", "--candidates", "1"]);
    assert!(tuned.status.success(), "{}", text(&tuned.stderr));
    fs::create_dir(folder.join("energy-cache")).unwrap();
    for path in fs::read_dir(folder.join("cache/demo")).unwrap() {
        let path = path.unwrap().path();
        let mut file = energy_kernel_build::cache::read_file(&path).unwrap();
        file.records[0].front[0].kernel_hash = [7; 32];
        let bytes = energy_kernel_compiler::record::encoding::encode(&file).unwrap();
        fs::write(folder.join("energy-cache").join(path.file_name().unwrap()), &bytes).unwrap();
        fs::write(&path, bytes).unwrap();
    }
    let shown = text(&call(&folder, &["show", "--json"]).stdout);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        (&shown[0]["stale"], &shown[0]["latency_seconds"]),
        (&true.into(), &serde_json::Value::Null)
    );
    assert!(shown[1]["stale"] == false && shown[1]["latency_seconds"].is_f64());
    assert!(text(&call(&folder, &["show"]).stdout).contains("stale"));
    let check = call(&folder, &["check"]);
    assert_eq!(check.status.code(), Some(0), "stale results cover their operators");
    assert!(
        text(&check.stdout).contains("total (R = 4, C = 64) on"),
        "{}",
        text(&check.stdout)
    );
}

/// And what was recorded of it.
#[test]
fn a_renamed_operator_keeps_its_results() {
    let (_root, folder) = package();
    let words = ["tune", "--emulated", "--candidates", "3", "--json"];
    assert!(call(&folder, &words).status.success());
    assert!(
        call(&folder, &[words.as_slice(), &["--sweep", "t.jsonl"]].concat())
            .status
            .success()
    );
    let source = fs::read_to_string(folder.join("src/lib.rs")).unwrap();
    fs::write(folder.join("src/lib.rs"), source.replace("total", "sum_of_row")).unwrap();
    let shown = text(&call(&folder, &["show", "--json"]).stdout);
    assert!(
        shown.contains("sum_of_row") && !shown.contains("\"stale\":true"),
        "{shown}"
    );
    let replayed = call(&folder, &["tune", "--device", "replay:t.jsonl", "--again", "--json"]);
    assert!(
        text(&replayed.stdout).contains("\"tuned\":2"),
        "{}",
        text(&replayed.stderr)
    );
}

/// Killed at any time, a tuning leaves whole files behind, and the next one goes on.
#[test]
fn a_tuning_that_was_killed_goes_on() {
    let (_root, folder) = package();
    let source = "
        #[energy_kernel(tune(M = [64, 96, 128], N = 64, K = 128))]
        pub fn product(x: Tensor<f32, (M, K)>, w: Tensor<f32, (N, K)>) -> Tensor<f32, (M, N)> {
            |m, n| sum(|k| x[[m, k]] * w[[n, k]])
        }
    ";
    fs::write(folder.join("src/lib.rs"), source).unwrap();
    for patience in [50, 150, 400] {
        let mut child = command(&folder)
            .args(["tune", "--emulated", "--candidates", "8", "--json"])
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(patience));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let last = call(&folder, &["tune", "--emulated", "--candidates", "8", "--json"]);
    assert!(last.status.success(), "{}", text(&last.stderr));
    assert_eq!(text(&last.stderr), "", "no file was left damaged");
    let shown = call(&folder, &["show", "--json"]);
    assert_eq!(
        text(&shown.stdout).matches("\"chosen\":true").count(),
        3,
        "{}",
        text(&shown.stdout)
    );
}

#[test]
fn kernels_are_printed_and_schedules_listed() {
    let (_root, folder) = package();
    let default = call(&folder, &["ptx", "total"]);
    assert!(
        text(&default.stdout).contains(".visible .entry"),
        "{}",
        text(&default.stderr)
    );
    let list = call(&folder, &["ptx", "total", "--list"]);
    let list = text(&list.stdout);
    let last = list.lines().last().unwrap();
    let asked = call(&folder, &["ptx", "total", "--schedule", last, "--sizes", "R=5,C=64"]);
    assert!(text(&asked.stdout).contains(last), "{}", text(&asked.stderr));
    let wrong = call(&folder, &["ptx", "total", "--schedule", "sideways"]);
    assert!(wrong.status.code() == Some(1) && text(&wrong.stderr).contains("sideways"));
    let sizes = call(&folder, &["ptx", "total", "--sizes", "R"]);
    assert!(sizes.status.code() == Some(1) && text(&sizes.stderr).contains("NAME=NUMBER"));
}

#[test]
fn the_doctor_names_a_cache_that_is_elsewhere_for_everybody_and_packages_to_choose_from() {
    let root = tempfile::tempdir().unwrap();
    fs::write(
        root.path().join("Cargo.toml"),
        "[workspace]\nmembers = [\"a\", \"b\"]\n",
    )
    .unwrap();
    for name in ["a", "b"] {
        let manifest = format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
        fs::create_dir_all(root.path().join(name).join("src")).unwrap();
        fs::write(root.path().join(name).join("Cargo.toml"), manifest).unwrap();
        fs::write(root.path().join(name).join("src/lib.rs"), "").unwrap();
    }
    let mut doctor = command(root.path());
    let output = doctor
        .arg("doctor")
        .env("ENERGY_KERNEL_CACHE_DIR", "here")
        .output()
        .unwrap();
    let says = text(&output.stdout);
    assert!(
        says.contains("here means another folder") && says.contains("absolute path"),
        "{says}"
    );
    assert!(says.contains("--package with one of: a, b"), "{says}");
    assert!(!root.path().join("here").exists());
}

#[test]
fn the_doctor_names_broken_caches() {
    let (_root, folder) = package();
    fs::create_dir(folder.join("energy-cache")).unwrap();
    fs::write(folder.join("energy-cache/x.ekcache"), "nonsense").unwrap();
    let doctor = call(&folder, &["doctor"]);
    assert_eq!(doctor.status.code(), Some(1));
    let stdout = text(&doctor.stdout);
    assert!(
        stdout.contains("x.ekcache") && stdout.contains("build.rs does not call"),
        "{stdout}"
    );
}

#[test]
#[cfg(unix)]
fn the_doctor_names_a_cache_that_others_may_write() {
    use std::os::unix::fs::PermissionsExt;
    let (_root, folder) = package();
    fs::create_dir(folder.join("cache")).unwrap();
    for (mode, well) in [(0o700, true), (0o777, false)] {
        fs::set_permissions(folder.join("cache"), fs::Permissions::from_mode(mode)).unwrap();
        let said = text(&call(&folder, &["doctor", "--json"]).stdout);
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        let findings = said.as_array().unwrap();
        let cache = findings
            .iter()
            .find(|finding| finding["what"] == "user's cache")
            .unwrap();
        assert_eq!(cache["well"], well, "{said}");
    }
}

/// The place is named, the other sizes are tuned, and nothing is measured anew.
#[test]
fn what_cannot_be_kept_costs_no_measurement() {
    let (_root, folder) = package();
    let words = ["tune", "--emulated", "--candidates", "3", "--json"];
    assert!(call(&folder, &words).status.success());
    let cache = energy_kernel_build::cache::Cache::of(&folder, "demo", Some(&folder.join("cache")));
    let result = cache.files(energy_kernel_build::cache::Place::User).remove(0);
    fs::remove_file(&result).unwrap();
    fs::create_dir(&result).unwrap();
    let tuned = call(&folder, &words);
    assert_eq!(tuned.status.code(), Some(1));
    assert!(text(&tuned.stdout).contains("\"failed\":2"), "{}", text(&tuned.stdout));
    let says = text(&tuned.stderr);
    for part in ["R = 4", "R = 8", folder.join("cache/demo").to_str().unwrap()] {
        assert!(says.contains(part), "{says}");
    }
    let journals = || {
        let files = fs::read_dir(cache.state().unwrap()).unwrap().flatten();
        files
            .filter(|file| file.path().extension().is_some_and(|e| e == "journal"))
            .count()
    };
    assert_eq!(journals(), 2);
    fs::remove_dir(&result).unwrap();
    assert!(text(&call(&folder, &words).stdout).contains("\"tuned\":2"));
    assert_eq!(journals(), 0);
}

#[test]
fn a_dry_run_tunes_nothing() {
    let (_root, folder) = package();
    let words = ["tune", "--emulated", "--candidates", "3", "--dry-run"];
    let said = call(&folder, &[words.as_slice(), &["--json"]].concat());
    assert!(said.status.success(), "{}", text(&said.stderr));
    let said: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    let jobs = said["would_tune"].as_array().unwrap();
    assert_eq!(jobs.len(), 2);
    assert!(jobs[0]["operator"] == "total" && jobs[0]["candidates"] == 3 && jobs[0]["schedules"].as_u64() > Some(3));
    assert!(!folder.join("cache").exists(), "nothing is written");
    let said = text(&call(&folder, &words).stdout);
    assert!(
        said.contains("2 of 2 sizes to tune") && said.contains("total (R = 4, C = 64): up to 3 of"),
        "{said}"
    );
}

/// What a device refuses is foretold, and nobody is sent to the command that said so.
#[test]
fn what_is_too_large_for_the_device_is_said_before() {
    let (_root, folder) = package();
    let source = fs::read_to_string(folder.join("src/lib.rs")).unwrap();
    fs::write(
        folder.join("src/lib.rs"),
        source.replace("R = [4, 8]", "R = 4000000000"),
    )
    .unwrap();
    let words = ["tune", "--emulated", "--candidates", "3"];
    let foretold = text(&call(&folder, &[words.as_slice(), &["--dry-run"]].concat()).stdout);
    let says = "operations are more than the 1e11 that the emulated device is given";
    assert!(foretold.contains(&format!("none: some 1e12 {says}")), "{foretold}");
    let tuned = text(&call(&folder, &words).stderr);
    assert!(tuned.contains(says) && !tuned.contains("tune --emulated"), "{tuned}");
}

#[test]
fn a_sweep_is_recorded_and_tuned_on() {
    let (_root, folder) = package();
    let sweep = [
        "tune",
        "--device",
        "emulated",
        "--candidates",
        "4",
        "--sweep",
        "trace.jsonl",
    ];
    let few = call(&folder, &[sweep.as_slice(), &["--measurements", "1"]].concat());
    assert!(few.status.success(), "{}", text(&few.stderr));
    let said = text(&few.stdout);
    assert!(
        said.contains("total (R = 8, C = 64): 1 points, 1 of them new; 3 are left"),
        "{said}"
    );
    let all = call(&folder, &[sweep.as_slice(), &["--json"]].concat());
    let said: serde_json::Value = serde_json::from_slice(&all.stdout).unwrap();
    let swept = said["swept"].as_array().unwrap();
    assert!(
        swept.len() == 2 && swept.iter().all(|one| one["points"] == 4 && one["known"] == 1),
        "{said}"
    );
    assert!(
        said["simulated"] == true && !folder.join("cache").exists(),
        "nothing is tuned"
    );

    let replay = ["tune", "--device", "replay:trace.jsonl", "--json"];
    let foretold = call(&folder, &[replay.as_slice(), &["--dry-run"]].concat());
    let foretold: serde_json::Value = serde_json::from_slice(&foretold.stdout).unwrap();
    let jobs = foretold["would_tune"].as_array().unwrap();
    assert!(
        jobs.len() == 2 && jobs.iter().all(|job| job["schedules"] == 4 && job["candidates"] == 4),
        "a trace has its points and no more: {foretold}"
    );
    let tuned = call(&folder, &replay);
    assert!(tuned.status.success(), "{}", text(&tuned.stderr));
    assert!(text(&tuned.stdout).contains("\"tuned\":2") && text(&tuned.stdout).contains("\"simulated\":true"));
    let shown = text(&call(&folder, &["show", "--json"]).stdout);
    assert_eq!(shown.matches("\"chosen\":true").count(), 2, "{shown}");
    // What was measured since is not undone.
    let fresh = ["tune", "--emulated", "--again", "--candidates", "4"];
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert!(call(&folder, &fresh).status.success());
    let again = call(&folder, &[replay.as_slice(), &["--again"]].concat());
    assert!(
        text(&again.stderr).contains("the trace is older than the result"),
        "{}",
        text(&again.stderr)
    );

    for (words, says) in [
        (&[replay.as_slice(), &["--confirm"]].concat(), "needs a device"),
        (&[replay.as_slice(), &["--sweep", "other"]].concat(), "needs a device"),
        (&vec!["tune", "--device", "replay:Cargo.toml"], "line 1"),
        (&vec!["tune", "--emulated", "--sweep", "Cargo.toml"], "line 1"),
        (&vec!["tune", "--device", "replay:absent"], "absent"),
        (&vec!["tune", "--emulated", "--warm-l2"], "on a GPU"),
    ] {
        let failed = call(&folder, words);
        assert!(
            failed.status.code() == Some(1) && (text(&failed.stderr) + &text(&failed.stdout)).contains(says),
            "{words:?}: {}",
            text(&failed.stderr)
        );
    }
    assert!(
        fs::read_to_string(folder.join("Cargo.toml"))
            .unwrap()
            .starts_with("[package]")
    );
}

/// An operator whose fastest kernel does not need the least energy, on the emulated device.
const NORM: &str = "#[energy_kernel(tune(R = 64, C = [512, 768, 1024]))]
    fn norm(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R, C)> {
        let squares = |r| sum(|c| x[[r, c]] * x[[r, c]]);
        |r, c| x[[r, c]] * rsqrt(squares[[r]])
    }";

/// Of the same measurements, which are all there are, another kernel is chosen.
#[test]
fn the_objective_decides_what_is_chosen() {
    let (_root, folder) = package();
    fs::write(folder.join("src/lib.rs"), NORM).unwrap();
    let sweep = ["tune", "--emulated", "--candidates", "24", "--sweep", "trace.jsonl"];
    assert!(call(&folder, &sweep).status.success());
    let mut schedules = Vec::new();
    for objective in [
        &["--objective", "latency"][..],
        &["--objective", "edp"],
        &["--objective", "energy", "--slack", "9"],
    ] {
        let words = ["tune", "--device", "replay:trace.jsonl", "--again"];
        let tuned = call(&folder, &[&words, objective].concat());
        assert!(tuned.status.success(), "{}", text(&tuned.stderr));
        let shown = call(&folder, &["show", "--front", "--json"]);
        let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
        let said = text(&tuned.stdout);
        let cost = |point: &serde_json::Value| {
            let of = |name: &str| point[name].as_f64().unwrap();
            match objective[1] {
                "latency" => of("latency_seconds"),
                "edp" => of("latency_seconds") * of("energy_joules"),
                _ => of("energy_joules"),
            }
        };
        let mut chosen = Vec::new();
        for columns in [512, 768, 1024] {
            let sizes = format!("R = 64, C = {columns}");
            let line = said.lines().find(|line| line.contains(&format!("({sizes})"))).unwrap();
            let points = shown.as_array().unwrap().iter();
            let front = points.filter(|point| point["sizes"] == sizes.as_str());
            let best = front.min_by(|a, b| cost(a).total_cmp(&cost(b))).unwrap();
            let schedule = best["schedule"].as_str().unwrap();
            assert!(line.ends_with(schedule), "{objective:?}: {line}, but {best}");
            chosen.push(schedule.to_owned());
        }
        schedules.push(chosen);
    }
    assert_ne!(
        schedules[0], schedules[2],
        "the fastest needs the least energy everywhere"
    );
}

/// On the emulated device both kernels' energies are known exactly.
#[test]
fn a_confirmation_compares_the_chosen_with_the_fastest() {
    let (_root, folder) = package();
    fs::write(folder.join("src/lib.rs"), NORM).unwrap();
    let words = [
        "tune",
        "--emulated",
        "--candidates",
        "24",
        "--slack",
        "9",
        "--confirm",
        "--pairs",
        "4",
        "--json",
    ];
    let said = call(&folder, &words);
    assert!(said.status.success(), "{}", text(&said.stderr));
    let said: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    let confirmed = said["confirmed"].as_array().unwrap();
    assert_eq!(confirmed.len(), 3);
    let shown = call(&folder, &["show", "--front", "--json"]);
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    let mut compared = 0;
    for one in confirmed {
        assert!(one["simulated"] == true, "{one}");
        let front = shown
            .as_array()
            .unwrap()
            .iter()
            .filter(|point| point["sizes"] == one["sizes"]);
        let energies: Vec<f64> = front.map(|point| point["energy_joules"].as_f64().unwrap()).collect();
        // With such a slack the last of the front is chosen.
        let expected = 1.0 - energies.last().unwrap() / energies[0];
        match one["compared"].as_object() {
            None => assert_eq!(energies.len(), 1, "{one}"),
            Some(comparison) => {
                compared += 1;
                assert!(
                    (comparison["saving"].as_f64().unwrap() - expected).abs() < 1e-9,
                    "{one}, {energies:?}"
                );
                assert!(comparison["pairs"] == 4 && comparison["decided"] == true, "{one}");
            }
        }
    }
    assert!(compared > 0, "the fronts have more than one point: {shown}");
}

#[test]
fn a_report_is_one_file_that_needs_nothing_else() {
    let (_root, folder) = package();
    assert!(
        call(&folder, &["tune", "--emulated", "--candidates", "24"])
            .status
            .success()
    );
    let said = call(&folder, &["report", "--output", "r.html", "--json"]);
    let said: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    assert!(said["results"] == 2 && said["file"] == "r.html", "{said}");
    let html = fs::read_to_string(folder.join("r.html")).unwrap();
    assert_eq!(html.matches("<h2>total").count(), 2);
    assert_eq!(
        html.matches("class=\"simulated\"").count(),
        2,
        "simulated is said of each"
    );
    assert_eq!(html.matches("<svg").count(), 2);
    assert_eq!(html.matches("fill=\"#24c\"").count(), 2, "one point of each is chosen");
    for outside in ["http:", "https:", "src=", "href=", "<script", "NaN", "inf"] {
        assert!(!html.contains(outside), "{outside}");
    }
    let nowhere = call(&folder, &["report", "--output", "no/such/folder.html"]);
    assert!(nowhere.status.code() == Some(1) && text(&nowhere.stderr).contains("cannot be written"));
    // What belongs to other kernels by now has no figures.
    for path in fs::read_dir(folder.join("cache/demo")).unwrap() {
        let path = path.unwrap().path();
        let mut file = energy_kernel_build::cache::read_file(&path).unwrap();
        file.records[0].front[0].kernel_hash = [7; 32];
        fs::write(&path, energy_kernel_compiler::record::encoding::encode(&file).unwrap()).unwrap();
    }
    assert!(call(&folder, &["report", "--output", "r.html"]).status.success());
    let html = fs::read_to_string(folder.join("r.html")).unwrap();
    assert!(html.matches("<svg").count() == 1 && html.contains("other kernels'"));
}

#[test]
fn clean_deletes_what_it_says_and_no_more() {
    let (_root, folder) = package();
    assert!(
        call(&folder, &["tune", "--emulated", "--candidates", "1"])
            .status
            .success()
    );
    let cache = energy_kernel_build::cache::Cache::of(&folder, "demo", Some(&folder.join("cache")));
    let place = energy_kernel_build::cache::Place::User;
    let results = cache.files(place);
    assert_eq!(results.len(), 1);
    let journal = cache.state().unwrap().join("interrupted.journal");
    fs::write(&journal, "half").unwrap();
    let broken = folder.join("cache/demo/broken.ekcache");
    fs::write(&broken, "nonsense").unwrap();
    fs::create_dir(folder.join("energy-cache")).unwrap();
    let shipped = folder.join("energy-cache/shipped.ekcache");
    fs::copy(&results[0], &shipped).unwrap();
    let deleted = |words: &[&str]| {
        let said = call(&folder, &[&["clean", "--json"], words].concat());
        assert!(said.status.success(), "{}", text(&said.stderr));
        let said: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
        let files = said["deleted"]
            .as_array()
            .unwrap()
            .iter()
            .map(|file| PathBuf::from(file.as_str().unwrap()));
        files.collect::<Vec<PathBuf>>()
    };
    // What is in use is not pulled away.
    let lock = cache.lock("tuning").unwrap();
    let busy = call(&folder, &["clean"]);
    assert!(
        busy.status.code() == Some(1) && text(&busy.stderr).contains("being tuned"),
        "{}",
        text(&busy.stderr)
    );
    drop(lock);

    assert_eq!(deleted(&["--unused", "--dry-run"]), [&*broken]);
    assert!(broken.exists());
    assert_eq!(deleted(&["--unused"]), [&*broken]);
    assert!(!broken.exists() && results[0].exists() && journal.exists());
    assert_eq!(deleted(&["--dry-run"]), [&*results[0], &*journal]);
    assert_eq!(deleted(&[]), [&*results[0], &*journal]);
    assert!(!results[0].exists() && !journal.exists() && shipped.exists());
    assert_eq!(deleted(&["--shipped"]), [&*shipped]);
    assert!(text(&call(&folder, &["show"]).stdout).contains("untuned"));
    assert_eq!(deleted(&[]), Vec::<PathBuf>::new());
}

/// A file in the middle of an edit tells nothing of which operators there are.
#[test]
fn what_cannot_be_parsed_is_said_and_its_results_are_not_unused() {
    let (_root, folder) = package();
    assert!(
        call(&folder, &["tune", "--emulated", "--candidates", "1"])
            .status
            .success()
    );
    let source = fs::read_to_string(folder.join("src/lib.rs")).unwrap();
    let clean = ["clean", "--unused", "--dry-run"];
    for (broken, says) in [
        (format!("{source}\nfn half("), "src/lib.rs:"),
        (source.replace("x[[r, c]]", "y[[r, c]]"), "src/lib.rs:3: "),
    ] {
        fs::write(folder.join("src/lib.rs"), broken).unwrap();
        let shown = call(&folder, &["show"]);
        assert!(text(&shown.stderr).contains(says), "{}", text(&shown.stderr));
        let check = call(&folder, &["check"]);
        assert_eq!(check.status.code(), Some(1), "{}", text(&check.stdout));
        assert!(text(&check.stdout).contains(says), "{}", text(&check.stdout));
        assert!(text(&call(&folder, &clean).stdout).contains("would delete 0 files"));
    }
    fs::write(folder.join("src/lib.rs"), "").unwrap();
    assert!(text(&call(&folder, &clean).stdout).contains("would delete 1 files"));
}

/// Where a build script names other folders, the command must be told, or it took their results for unused.
#[test]
fn operators_in_other_folders_are_found_where_they_are_named() {
    let (_root, folder) = package();
    fs::create_dir(folder.join("kernels")).unwrap();
    fs::rename(folder.join("src/lib.rs"), folder.join("kernels/operators.rs")).unwrap();
    fs::write(folder.join("src/lib.rs"), "").unwrap();
    let named = |words: &[&str]| {
        call(
            &folder,
            &[words, &["--source-dir", "src", "--source-dir", "kernels"]].concat(),
        )
    };
    assert!(named(&["tune", "--emulated", "--candidates", "1"]).status.success());
    assert!(text(&named(&["show"]).stdout).contains("total"));
    assert!(text(&named(&["clean", "--unused", "--dry-run"]).stdout).contains("would delete 0 files"));
    let wrong = call(&folder, &["show", "--source-dir", "kernel"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(
        text(&wrong.stderr).contains("there is no folder"),
        "{}",
        text(&wrong.stderr)
    );
}

#[test]
fn outside_a_package_the_error_is_of_use() {
    let folder = tempfile::tempdir().unwrap();
    let output = call(folder.path(), &["show"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("--manifest-path"));
}
