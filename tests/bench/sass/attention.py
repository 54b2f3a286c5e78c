#!/usr/bin/env python3
"""Machine code of `attention` kernels beside Triton's of the same tiles and warps, for compute capability 8.0. No GPU is needed.

    python3 -m venv env && env/bin/pip install triton==3.* nvidia-cuda-nvcc==13.0.88 nvidia-cuda-nvdisasm==13.5.37
    env/bin/python tests/bench/sass/attention.py > tests/bench/results/sass/attention.md

The table compares the loop over the keys: the one with the most tensor instructions. One assembler makes both.
"""

import pathlib
import sys
import tempfile

import triton
import triton.language as tl
from compare import assembled, scheduled, steady_state, write_crate
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

# Rows and keys of a tile, features of a head, warps, Triton's stages.
TILES = [(128, 128, 128, 8, 2), (128, 64, 128, 8, 2), (64, 64, 128, 4, 2), (128, 64, 64, 4, 3)]
LENGTH = 4096


@triton.jit
def attend(
    queries, keys, values, out, scale, length, ROWS: tl.constexpr, KEYS: tl.constexpr, FEATURES: tl.constexpr
):
    head = tl.program_id(1) * length * FEATURES
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    key, feature = tl.arange(0, KEYS), tl.arange(0, FEATURES)
    query = tl.load(queries + head + row[:, None] * FEATURES + feature[None, :])
    key_at = keys + head + key[None, :] * FEATURES + feature[:, None]
    value_at = values + head + key[:, None] * FEATURES + feature[None, :]
    peak = tl.full([ROWS], float("-inf"), tl.float32)
    total = tl.full([ROWS], 0.0, tl.float32)
    sums = tl.zeros([ROWS, FEATURES], dtype=tl.float32)
    # exp(x) = 2^(x · log₂ e)
    exponent = scale * 1.44269504
    for _ in range(0, length, KEYS):
        scores = tl.dot(query, tl.load(key_at))
        higher = tl.maximum(peak, tl.max(scores, 1) * exponent)
        weights = tl.math.exp2(scores * exponent - higher[:, None])
        shrink = tl.math.exp2(peak - higher)
        sums = tl.dot(weights.to(tl.float16), tl.load(value_at), sums * shrink[:, None])
        total = total * shrink + tl.sum(weights, 1)
        peak = higher
        key_at += KEYS * FEATURES
        value_at += KEYS * FEATURES
    tl.store(out + head + row[:, None] * FEATURES + feature[None, :], (sums / total[:, None]).to(tl.float16))


def theirs(folder, rows, keys, features, warps, stages):
    signature = {name: "*fp16" for name in ("queries", "keys", "values", "out")} | {"scale": "fp32", "length": "i32"}
    constants = {"ROWS": rows, "KEYS": keys, "FEATURES": features}
    divisible = {(at,): [["tt.divisibility", 16]] for at in (0, 1, 2, 3, 5)}
    signature |= {name: "constexpr" for name in constants}
    source = ASTSource(fn=attend, signature=signature, constexprs=constants, attrs=divisible)
    options = {"num_warps": warps, "num_stages": stages}
    kernel = triton.compile(source, target=GPUTarget("cuda", 80, 32), options=options)
    return assembled(folder / "theirs.cubin", kernel.asm["ptx"])


def operator(features):
    head = "(B, H, L, E)"
    inputs = ", ".join(f"{name}: Tensor<f16, {head}>" for name in ("q", "k", "v"))
    return f"""
        #[energy_kernel(tune(B = 1, H = 16, L = {LENGTH}, E = {features}))]
        pub fn attend_{features}({inputs}, scale: f32) -> Tensor<f16, {head}> {{
            let score = |b, h, t, s| scale * sum(|e| q[[b, h, t, e]] * k[[b, h, s, e]]);
            let peak = |b, h, t| max(|s: L| score[[b, h, t, s]]);
            let weight = |b, h, t, s| exp(score[[b, h, t, s]] - peak[[b, h, t]]);
            |b, h, t, e| sum(|s| weight[[b, h, t, s]] as f16 * v[[b, h, s, e]]) / sum(|s: L| weight[[b, h, t, s]])
        }}
    """


def main():
    print(f"# Loop of attention, {LENGTH} keys, f16, sm_80: energy-kernel beside Triton {triton.__version__}\n")
    print("Static: instructions of the assembled loop over the keys, not times. Our sizes are compiled in; Triton's length is an")
    print("argument that it knows to be a multiple of 16. Made by `tests/bench/sass/attention.py`.\n")
    print("| rows | keys | features | warps | MMA | instructions | | registers | | spilled | |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    print("| | | | | | ours | Triton | ours | Triton | ours | Triton |")
    worse = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_crate(folder, "".join(map(operator, sorted({tile[2] for tile in TILES}))))
        for rows, keys, features, warps, stages in TILES:
            their = steady_state(theirs(folder, rows, keys, features, warps, stages))
            schedule = f"attention rows={rows} keys={keys} warps={warps} split_k=1"
            cubin = scheduled(folder, f"attend_{features}", schedule)
            if cubin is None:
                sys.exit(f"{schedule} is not legal")
            our = steady_state(cubin)
            cells = [rows, keys, features, warps, their.tensor]
            for field in ("length", "registers", "spills"):
                cells += [getattr(our, field), getattr(their, field)]
            print(f"| {' | '.join(map(str, cells))} |")
            if our.length > their.length or our.tensor != their.tensor:
                worse.append(schedule)
    for schedule in worse:
        print("worse:", schedule, file=sys.stderr)
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
