#!/usr/bin/env python3
"""Kernels of all families before an independent static verifier of PTX, `sentryward`: synchronisation, races. No GPU is needed.

    cargo install --path build-support/cli
    python3 -m venv env && env/bin/pip install sentryward==0.1.1
    env/bin/python tests/bench/sentryward/verify.py > tests/bench/results/sentryward.md

The verifier knows nothing of this project but the kernel's text and its launch, all blocks and threads of which it follows
through; so the sizes are small, and most of them divide no tile. That it would see a fault is tried too: each barrier and each
wait for copies is taken out in turn, which it should find.
"""

import json
import math
import os
import pathlib
import re
import subprocess
import sys
import sysconfig
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[3]
VERIFIER = pathlib.Path(sysconfig.get_path("scripts")) / "sentryward"
SECONDS = 150
OPERATORS = """
use energy_kernel::prelude::*;

#[energy_kernel(tune(R = 3, C = 250))]
pub fn softmax(x: Tensor<f32, (R, C)>) -> Tensor<f32, (R, C)> {
    let peak = |r| max(|c| x[[r, c]]);
    let total = |r| sum(|c| exp(x[[r, c]] - peak[[r]]));
    |r, c| exp(x[[r, c]] - peak[[r]]) / total[[r]]
}

#[energy_kernel(tune(M = 61, N = 67))]
pub fn transpose(x: Tensor<f32, (N, M)>) -> Tensor<f32, (M, N)> {
    |m, n| x[[n, m]]
}

#[energy_kernel(tune(M = 33, N = 41, K = 23))]
pub fn product(x: Tensor<f32, (M, K)>, w: Tensor<f32, (K, N)>, b: Tensor<f32, (N,)>) -> Tensor<f32, (M, N)> {
    |m, n| relu(sum(|k| x[[m, k]] * w[[k, n]]) + b[[n]])
}

#[energy_kernel(tune(M = 256, N = 224, K = 11))]
pub fn product_of_many_tiles(x: Tensor<f32, (M, K)>, w: Tensor<f32, (K, N)>) -> Tensor<f32, (M, N)> {
    |m, n| sum(|k| x[[m, k]] * w[[k, n]])
}

#[energy_kernel(tune(M = 40, N = 40, K = 104))]
pub fn matmul(x: Tensor<f16, (M, K)>, w: Tensor<f16, (N, K)>) -> Tensor<f16, (M, N)> {
    |m, n| sum(|k| x[[m, k]] * w[[n, k]])
}

#[energy_kernel(tune(M = 256, N = 224, K = 40))]
pub fn matmul_of_many_tiles(x: Tensor<f16, (M, K)>, w: Tensor<f16, (K, N)>) -> Tensor<f16, (M, N)> {
    |m, n| sum(|k| x[[m, k]] * w[[k, n]])
}

#[energy_kernel(tune(M = 40, N = 24, K = 104))]
pub fn gated(x: Tensor<f16, (M, K)>, v: Tensor<f16, (N, K)>, w: Tensor<f16, (N, K)>) -> Tensor<f16, (M, N)> {
    |m, n| silu(sum(|k| x[[m, k]] * v[[n, k]])) * sum(|k| x[[m, k]] * w[[n, k]])
}

#[energy_kernel(tune(M = 3, N = 21, K = 264))]
pub fn decode(x: Tensor<f16, (M, K)>, w: Tensor<f16, (N, K)>) -> Tensor<f16, (M, N)> {
    |m, n| sum(|k| x[[m, k]] * w[[n, k]])
}

#[energy_kernel(tune(R = 40, C = 24))]
pub fn column_sums(x: Tensor<f32, (R, C)>) -> Tensor<f32, (C,)> {
    |c| sum(|r| x[[r, c]])
}

#[energy_kernel(tune(K = 104, M = 40, N = 24))]
pub fn outer(a: Tensor<f16, (K, M)>, b: Tensor<f16, (K, N)>) -> Tensor<f16, (M, N)> {
    |m, n| sum(|k| a[[k, m]] * b[[k, n]])
}

#[energy_kernel(dims(E = 32), tune(T = 40, S = 88))]
pub fn attention(q: Tensor<f16, (T, E)>, k: Tensor<f16, (S, E)>, v: Tensor<f16, (S, E)>) -> Tensor<f16, (T, E)> {
    let score = |t, s| sum(|e| q[[t, e]] * k[[s, e]]) / 8.0;
    let peak = |t| max(|s| score[[t, s]]);
    let weight = |t, s| exp(score[[t, s]] - peak[[t]]);
    |t, e| sum(|s| weight[[t, s]] as f16 * v[[s, e]]) / sum(|s| weight[[t, s]])
}

#[energy_kernel(dims(R = 3), tune(C = 3, H = 9, W = 10))]
pub fn pool(x: Tensor<f32, (C, H, W)>) -> Tensor<f32, (C, H, W)> {
    |c, h, v| max(|r: R, s: R| x.or(f32::NEG_INFINITY)[[c, h + r - 1, v + s - 1]])
}
"""
# Where a third is given, so many blocks are launched: they go on to the next work by how many they are, whatever the runtime launches.
KERNELS = [
    ("softmax", "row threads=64 rows=1 vector=1 keep=shared unroll=1 pass=several"),
    ("softmax", "row threads=64 rows=2 vector=2 keep=shared unroll=2 pass=one"),
    ("softmax", "row threads=128 rows=1 vector=1 keep=registers unroll=1 pass=several"),
    ("softmax", "row threads=16 rows=2 vector=1 keep=shared unroll=1 pass=several"),
    ("transpose", "pointwise threads=128 vector=1 unroll=8 cache=normal tile=32 blocks=0"),
    ("transpose", "pointwise threads=512 vector=1 unroll=2 cache=normal tile=32 blocks=216", 4),
    ("product", "contract block=16x32x8 thread=2x4 stages=1 blocks=0 split_k=1"),
    ("product", "contract block=16x32x8 thread=2x4 stages=2 blocks=0 split_k=1"),
    ("product_of_many_tiles", "contract block=32x32x8 thread=4x4 stages=2 blocks=54 split_k=1"),
    ("matmul", "mma block=32x32x32 warp=16x16 slice_k=1 stages=2 group=1 blocks=0 split_k=1"),
    ("matmul", "mma block=32x32x32 warp=16x16 slice_k=1 stages=3 group=8 blocks=0 split_k=1"),
    ("matmul", "mma block=32x32x32 warp=16x32 slice_k=2 stages=3 group=1 blocks=0 split_k=1"),
    ("matmul_of_many_tiles", "mma block=32x32x32 warp=32x16 slice_k=1 stages=3 group=8 blocks=54 split_k=1"),
    ("gated", "mma block=32x32x32 warp=16x32 slice_k=1 stages=2 group=1 blocks=0 split_k=1"),
    ("gated", "mma block=32x32x32 warp=16x32 slice_k=2 stages=4 group=8 blocks=0 split_k=1"),
    ("decode", "skinny rows=3 columns=2 vector=8 lanes=8 warps=4 unroll=1 cache=normal"),
    ("decode", "skinny rows=3 columns=1 vector=4 lanes=32 warps=2 unroll=1 cache=streaming"),
    ("column_sums", "reduce threads=16 lanes=4 vector=2 keep=reload unroll=1 split_k=1"),
    ("attention", "attention rows=32 keys=32 warps=2 split_k=1"),
    ("attention", "attention rows=64 keys=32 warps=4 split_k=1"),
    ("outer", "store=8,9; pointwise threads=512 vector=1 unroll=8 cache=normal tile=64 blocks=0; pointwise threads=512 vector=1 unroll=8 cache=normal tile=64 blocks=0; mma block=32x32x32 warp=16x16 slice_k=1 stages=2 group=1 blocks=0 split_k=1"),
    ("pool", "window threads=64 rows=2 columns=2"),
    ("pool", "plain threads=64"),
]
# Taking out costs a run each: not tried where one takes long.
ACCESSES = 250_000
FAULTS = ("potential_race", "not_wellsynced", "invalid_lifecycle")

NOTES = """
No race is reported, so there is none to explain. What the remarks mean:

- **A branch on data** (`pass=one` of softmax: a thread whose part of the sum is not finite sums it again) is nothing that the verifier
  follows by itself. It is told the way, once each, for all threads alike. What is branched around only reads, and no thread waits for
  another there; so threads that go different ways add nothing.
- **The barrier after a tile of `contract`** with `blocks` is not needed where a sum has several slabs: each turn of their loop ends in a
  barrier. It is where one slab is all, since that loop has none then.
- **Not tried in turn** is `matmul_of_many_tiles`, half a minute and more a run. By hand: without the barrier of each slab, and without the one
  between tiles, `potential_race`; without the wait and the barrier after the last slab `race_free`, which is right for its two slabs and
  three stages: nothing is on its way any more, and the strips lie where the first slab was. The kernels above have more slabs, and need both.
- **The last wait of `attention`** is for groups of copies of a turn that does not come. Nothing reads what they bring, so nothing is amiss without it;
  with it no copy outlives its block.
- **Blocks that share a tile** (`split_k` of `contract` and `mma`) are not among the kernels: they count themselves in by an atomic operation, which
  the verifier does not take (`atomic_memory_semantics`).

What a pass means here: at these sizes, with tensors that do not overlap, every pair of accesses of which one writes (in shared and global
memory, of all blocks) is ordered or apart, and barriers are met by all. Fences, values and bounds are not looked at; the emulator does that.
"""


def emit(folder, operator, schedule):
    """The launches of a kernel, each with the text of all."""
    command = ["cargo", "energy-kernel", "--json", "ptx", operator, "--manifest-path", folder / "Cargo.toml"]
    done = subprocess.run([*command, "--capability", "8.0", "--schedule", schedule], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{operator}, {schedule}: {done.stdout}{done.stderr}")
    kernel = json.loads(done.stdout)
    return [{**launch, "ptx": own_text(kernel["ptx"], launch["entry"])} for launch in kernel["launches"]]


def own_text(ptx, entry):
    """A module without its other entries."""
    head, *entries = ptx.split(".visible .entry ")
    return head + "".join(".visible .entry " + text for text in entries if text.startswith(f"{entry}("))


def verify(folder, kernel, ptx, branches=()):
    """What the verifier says of a text with the launch of a kernel, whose branches on data go as told."""
    launch = {"grid_dim": kernel["grid"], "block_dim": kernel["block"], "dynamic_shared_bytes": kernel["dynamic_shared"]}
    launch["cluster_dim"] = [1, 1, 1]
    # All parameters are tensors, since the sizes are compiled in.
    tensors = [{"parameter": name, "type": "pointer"} for name in re.findall(r"\.param \.u64 (\w+)", ptx)]
    description = {"schema": "spverify.kernel-input/v1", "entry": kernel["entry"], "launch": launch, "declarations": tensors}
    description["branch_decisions"] = list(branches)
    (folder / "kernel.ptx").write_text(ptx)
    (folder / "kernel.json").write_text(json.dumps(description))
    command = [VERIFIER, folder / "kernel.ptx", "--input", folder / "kernel.json", "--timeout", str(SECONDS)]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=lambda: os.nice(15))
    return json.loads(done.stdout)


def ways(folder, kernel, ptx):
    """The verifier's answers: one, or for a kernel that branches on data one if it is so and one if not."""
    answer = verify(folder, kernel, ptx)
    for diagnostic in answer["diagnostics"]:
        if diagnostic["code"] == "control_predicate_not_static":
            line = diagnostic["details"]["location"]["line"]
            decisions = [{"line": line, "taken": taken} for taken in (False, True)]
            return [verify(folder, kernel, ptx, [decision]) for decision in decisions]
    return [answer]


def without_each(ptx, instruction):
    """The text without each of its uses of an instruction; where that was."""
    lines = ptx.splitlines(keepends=True)
    for at, line in enumerate(lines):
        if line.strip().startswith(instruction):
            yield at + 1, "".join(lines[:at] + ["\n"] + lines[at + 1 :])


def row(folder, name, kernel, remarks):
    """Prints the row of a launch, and adds remarks. Returns whether the verifier found a fault."""
    answers = ways(folder, kernel, kernel["ptx"])
    if len(answers) > 1:
        remarks.append(f"{name}: branches on data; the answers are for *not taken* and *taken*")
    # Unknown where the time was too short.
    accesses = max(answer.get("counts", {}).get("memory_accesses", math.inf) for answer in answers)
    for answer in answers:
        remarks += [
            f"{name}: {diagnostic['code']}: {diagnostic.get('message', '')}" for diagnostic in answer["diagnostics"]
        ]
    taken_out = []
    for instruction in ["bar.", "cp.async.wait_group"]:
        texts = list(without_each(kernel["ptx"], instruction)) if accesses <= ACCESSES else []
        results = {at: [a["result"] for a in ways(folder, kernel, ptx)] for at, ptx in texts}
        missed = {at: r for at, r in results.items() if not set(r) & set(FAULTS)}
        count = f"{len(results) - len(missed)} of {len(results)}" if results else ""
        taken_out.append("–" if accesses > ACCESSES and instruction in kernel["ptx"] else count)
        remarks += [
            f"{name}: without `{kernel['ptx'].splitlines()[at - 1].strip()}` in line {at}: {', '.join(r)}"
            for at, r in missed.items()
        ]
    column = lambda of: "; ".join(of(answer) for answer in answers)
    grid, block = kernel["grid"], kernel["block"]
    print(
        f"| {name} | {grid[0] * grid[1] * grid[2]} × {block[0]} | {accesses if accesses < math.inf else '?'} "
        f"| {column(lambda a: a['checks']['synchronization'])} | {column(lambda a: a['checks']['memory'])} "
        f"| {column(lambda a: a['result'])} | {' | '.join(taken_out)} |",
        flush=True,
    )
    return any(answer["result"] in FAULTS for answer in answers)


def main():
    wrong = False
    print("# Kernels before the static verifier sentryward 0.1.1\n")
    print("Made by `python tests/bench/sentryward/verify.py`, with `cargo energy-kernel` of this tree on the path. *Accesses* are those of all")
    print("threads that it set against each other. *Barriers* and *waits* (for copies): each in turn was taken out of the text, and")
    print("the lack of so many of them was found (–: not tried, it takes long).\n")
    print("| kernel | blocks × threads | accesses | synchronisation | memory | result | barriers | waits |")
    print("|---|---|---|---|---|---|---|---|")
    remarks = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "src").mkdir()
        (folder / "Cargo.toml").write_text(
            '[package]\nname = "verified"\nversion = "0.1.0"\nedition = "2024"\n[workspace]\n'
            f'[dependencies]\nenergy-kernel = {{ path = "{ROOT}/runtime" }}\n'
        )
        (folder / "src/lib.rs").write_text(OPERATORS)
        for operator, schedule, *blocks in KERNELS:
            launches = emit(folder, operator, schedule)
            launches[0]["grid"][: len(blocks)] = blocks
            for number, launch in enumerate(launches, 1):
                name = f"{operator}, `{schedule}`" + (f", launch {number}" if len(launches) > 1 else "")
                wrong |= row(folder, name, launch, remarks)
    print("\nWhat did not pass at once, and what could be taken out without a finding:\n")
    for remark in remarks:
        print(f"- {remark}")
    print(NOTES, end="")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
