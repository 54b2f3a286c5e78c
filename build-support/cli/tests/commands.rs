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

#[test]
fn mistakes_exit_with_1_or_2_and_say_what_is_wrong() {
    let folder = ptx_folder();
    let cases: [(&[&str], i32, &str); 6] = [
        (&["run", "absent.ptx"], 1, "absent.ptx"),
        (&["run", "k.ptx", "--arg", "u32:1"], 1, "4 arguments"),
        (&["run", "k.ptx", "--kernel", "thrice"], 1, "thrice"),
        (&["run", "k.ptx", "--arg", "u32:x"], 2, "u32:x"),
        (&["run", "k.ptx", "--device", "tpu"], 2, "cuda:N"),
        (&["fly"], 2, "fly"),
    ];
    for (words, code, says) in cases {
        let output = call(folder.path(), words);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {stderr}");
        assert!(stderr.contains(says), "{words:?}: {stderr}");
    }
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
fn outside_a_package_the_error_is_of_use() {
    let folder = tempfile::tempdir().unwrap();
    let output = call(folder.path(), &["show"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("--manifest-path"));
}
