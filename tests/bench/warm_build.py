"""How long a build script takes that finds everything it looks for: 50 operators, all of them tuned, nothing optimised.

    python warm_build.py [--runs 40]

A crate of its own is made, so that no profile of this workspace optimises anything. `cargo energy-kernel` tunes it on the emulated device, it is
built, and then the build script is called again and again as cargo calls it. Needs cargo, and no GPU.
"""

import argparse
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]

MANIFEST = f"""[package]
name = "fifty"
version = "0.1.0"
edition = "2024"
[workspace]
[build-dependencies]
energy-kernel-build = {{ path = "{REPOSITORY}/build-support" }}
"""

BUILD = """fn main() {
    energy_kernel_build::Build::new().or_emulated().run();
}
"""

# The script reads operators; nobody compiles them here. A constant makes each another operator.
FORMULAS = [
    "#[energy_kernel(tune(M = 4, N = 16, K = {size}))]\n"
    "fn linear_{n}(x: Tensor<f32, (M, K)>, w: Tensor<f32, (N, K)>, b: Tensor<f32, (N,)>) -> Tensor<f32, (M, N)> {{\n"
    "    |m, n| gelu(sum(|k| x[[m, k]] * w[[n, k]]) + {n}.0 * b[[n]])\n}}\n",
    "#[energy_kernel(tune(R = 4, C = {size}))]\n"
    "fn softmax_{n}(x: Tensor<f16, (R, C)>) -> Tensor<f16, (R, C)> {{\n"
    "    let peak = |r| max(|c| x[[r, c]]);\n"
    "    let total = |r| sum(|c| exp(x[[r, c]] - peak[[r]]));\n"
    "    |r, c| {n}.0 * exp(x[[r, c]] - peak[[r]]) / total[[r]]\n}}\n",
    "#[energy_kernel(tune(R = 4, C = {size}))]\n"
    "fn norm_{n}(x: Tensor<f32, (R, C)>, g: Tensor<f32, (C,)>) -> Tensor<f32, (R, C)> {{\n"
    "    let mean = |r| sum(|c| x[[r, c]]) / (C as f32);\n"
    "    let variance = |r| sum(|c| powi(x[[r, c]] - mean[[r]], 2)) / (C as f32);\n"
    "    |r, c| (x[[r, c]] - mean[[r]]) * rsqrt(variance[[r]] + {n}.0) * g[[c]]\n}}\n",
    "#[energy_kernel(tune(R = 4, C = {size}))]\n"
    "fn gate_{n}(x: Tensor<f16, (R, C)>, y: Tensor<f16, (R, C)>) -> Tensor<f16, (R, C)> {{\n"
    "    |r, c| {n}.0 * silu(x[[r, c]]) * y[[r, c]]\n}}\n",
    "#[energy_kernel(dims(TAPS = 3), tune(C = 4, H = 8, W = {size}))]\n"
    "fn pool_{n}(x: Tensor<f32, (C, H, W)>) -> Tensor<f32, (C, H, W)> {{\n"
    "    |c, h, w| {n}.0 + max(|r: TAPS, s: TAPS| x.or(f32::NEG_INFINITY)[[c, h + r - 1, w + s - 1]])\n}}\n",
]
OPERATORS = 50


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=40)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "src").mkdir()
        (folder / "Cargo.toml").write_text(MANIFEST)
        (folder / "Cargo.lock").write_bytes((REPOSITORY / "Cargo.lock").read_bytes())
        (folder / "build.rs").write_text(BUILD)
        (folder / "src/lib.rs").write_text("")
        operators = [FORMULAS[n % len(FORMULAS)].format(n=n, size=32 + 16 * (n // len(FORMULAS))) for n in range(OPERATORS)]
        (folder / "src/operators.rs").write_text("\n".join(operators))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ENERGY_KERNEL")}
        environment["ENERGY_KERNEL_CACHE_DIR"] = str(folder / "cache")
        run = ["cargo", "run", "--quiet", "-p", "cargo-energy-kernel", "--manifest-path", REPOSITORY / "Cargo.toml", "--"]
        subprocess.run([*run, "tune", "--emulated", "--candidates", "1"], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
        target = folder / "target"
        environment["CARGO_TARGET_DIR"] = str(target)
        subprocess.run(["cargo", "build"], cwd=folder, env=environment, check=True)

        script = next(target.glob("debug/build/fifty-*/build-script-build"))
        output = next(path.parent for path in target.glob("debug/build/fifty-*/output"))
        host = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True).stdout
        host = next(line.removeprefix("host: ") for line in host.splitlines() if line.startswith("host: "))
        environment |= {
            "OUT_DIR": str(output / "out"),
            "CARGO_MANIFEST_DIR": str(folder),
            "CARGO_PKG_NAME": "fifty",
            "CARGO_PKG_VERSION": "0.1.0",
            "TARGET": host,
            "HOST": host,
            "PROFILE": "debug",
            "OPT_LEVEL": "0",
            "DEBUG": "true",
            "CARGO": "cargo",
            "RUSTC": "rustc",
        }
        tuned = len(list((folder / "cache").rglob("*.ekcache")))
        assert tuned == OPERATORS, f"{tuned} operators are tuned, of {OPERATORS}"
        print(f"Made by `python warm_build.py --runs {runs}`, without a GPU: a build script that finds all of {OPERATORS} operators tuned,")
        print("compiled as cargo compiles build scripts, not optimised. Milliseconds.\n")
        print("| | on the clock: median | least | most | of processors: median |\n|---|---|---|---|---|")
        for name, before in [
            ("nothing changed", lambda number: None),
            ("another source file was edited", lambda number: (folder / "src/lib.rs").write_text(f"// edit {number}\n")),
            ("nothing was built before: all kernels are made again", lambda number: shutil.rmtree(environment["OUT_DIR"])),
        ]:
            wall, busy = [], []
            for number in range(runs):
                before(number)
                os.makedirs(environment["OUT_DIR"], exist_ok=True)
                used, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
                said = subprocess.run([script], cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout
                wall.append(1000 * (time.perf_counter() - begun))
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                busy.append(1000 * (after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime))
                assert "warning" not in said, said
            print(f"| {name} | {statistics.median(wall):.0f} | {min(wall):.0f} | {max(wall):.0f} | {statistics.median(busy):.0f} |")


if __name__ == "__main__":
    main()
