#!/usr/bin/env python3
"""Machine code of `mma` kernels beside Triton's of the same tiles and warps, for compute capability 8.0. No GPU is needed.

    python3 -m venv env && env/bin/pip install triton==3.* nvidia-cuda-nvcc==13.0.88 nvidia-cuda-nvdisasm==13.5.37
    env/bin/python tests/bench/sass/compare.py > tests/bench/results/sass/triton.md

What is compared is the steady state: the loop with the most tensor instructions. Their share among the instructions issued says how
much else a slab costs; registers bound the warps that a multiprocessor holds.
"""

import collections
import pathlib
import re
import subprocess
import sys
import sysconfig
import tempfile
import typing

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

ROOT = pathlib.Path(__file__).resolve().parents[3]
TOOLS = next(pathlib.Path(sysconfig.get_paths()["purelib"]).glob("nvidia/*/bin"))
SIZE = 4096
# Rows and columns of a block's tile, bytes of its terms, rows and columns of a warp's, stages.
TILES = [
    (128, 128, 64, 64, 64, 3),
    (128, 128, 128, 64, 64, 3),
    (128, 64, 64, 64, 32, 4),
    (64, 128, 64, 32, 64, 4),
    (128, 256, 64, 64, 64, 3),
    (64, 64, 128, 32, 32, 3),
]


class Kind(typing.NamedTuple):
    """What is multiplied."""

    bytes: int
    # Here: element, result, and how a factor is written.
    element: str
    result: str
    factor: str
    # There: element, sum, result.
    their_element: str
    their_sum: tl.dtype
    their_result: str


KINDS = {
    "f16": Kind(2, "f16", "f16", "{}", "fp16", tl.float32, "fp16"),
    "bf16": Kind(2, "bf16", "bf16", "{}", "bf16", tl.float32, "bf16"),
    "i8": Kind(1, "i8", "i32", "{}", "i8", tl.int32, "i32"),
    "tf32": Kind(4, "f32", "f32", "tf32_toward_zero({})", "fp32", tl.float32, "fp32"),
    "tf32_rounded": Kind(4, "f32", "f32", "tf32({})", "fp32", tl.float32, "fp32"),
}
# `tl.dot` hands factors to the tensor cores as they are; those of these are rounded before.
ROUNDED = ("tf32_rounded",)
NOTES = {
    "i8": """Where the second factor lies along its columns, `ldmatrix` gives pairs of columns, which ours takes apart by
`PRMT`.""",
    "tf32": """What is not rounded: ours says so (`tf32_toward_zero(…)`) and cuts off itself what tensor cores do not use, one
instruction an element of a slab, which passes through registers for it. Triton's `input_precision="tf32"` leaves that to them, though the
instruction set does not say what they do with it.""",
    "tf32_rounded": """To the nearest (`tf32(…)`): three instructions an element of a slab. Triton's factors are rounded by `cvt.rna.tf32.f32`
between load and `tl.dot`: it copies slabs as they are and rounds an element in every warp that needs it, ours once before
it is stored. By the published peak of an A100 (156 TFLOP/s, 1.41 GHz, 432 tensor cores) an HMMA.1688 takes 8 clocks, in
which a scheduler issues 8 instructions: a share of 0.125 is enough to keep the tensor cores busy.""",
}
LAYOUTS = {
    "x wᵀ": ("rows", "(N, K)", "w[[n, k]]"),
    "x w": ("columns", "(K, N)", "w[[k, n]]"),
}


@triton.jit
def rounded_if(x, ROUNDED: tl.constexpr):
    if ROUNDED:
        x = tl.inline_asm_elementwise("cvt.rna.tf32.f32 $0, $1;", "=r,r", [x], tl.float32, is_pure=True, pack=1)
    return x


@triton.jit
def matmul(
    x, w, y, M, N, K, wk, wn,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, SUM: tl.constexpr, ROUNDED: tl.constexpr,
):  # fmt: skip
    tile = tl.program_id(0)
    across = tl.cdiv(N, BN)
    rows = (tile // across * BM + tl.arange(0, BM)) % M
    columns = (tile % across * BN + tl.arange(0, BN)) % N
    terms = tl.arange(0, BK)
    xs = x + rows[:, None] * K + terms[None, :]
    ws = w + terms[:, None] * wk + columns[None, :] * wn
    sums = tl.zeros((BM, BN), dtype=SUM)
    for _ in range(0, tl.cdiv(K, BK)):
        left, right = rounded_if(tl.load(xs), ROUNDED), rounded_if(tl.load(ws), ROUNDED)
        sums = tl.dot(left, right, sums, input_precision="tf32", out_dtype=SUM)
        xs += BK
        ws += BK * wk
    rows = tile // across * BM + tl.arange(0, BM)
    columns = tile % across * BN + tl.arange(0, BN)
    inside = (rows[:, None] < M) & (columns[None, :] < N)
    tl.store(y + rows[:, None] * N + columns[None, :], sums.to(y.dtype.element_ty), mask=inside)


def theirs(folder, kind, rounded, layout, tile):
    rows, columns, terms, warp_rows, warp_columns, stages = tile
    constants = {"BM": rows, "BN": columns, "BK": terms, "SUM": kind.their_sum, "ROUNDED": rounded}
    types = {"x": f"*{kind.their_element}", "w": f"*{kind.their_element}", "y": f"*{kind.their_result}"}
    types |= {"M": "i32", "N": "i32", "K": "i32", "wk": "i32", "wn": "i32"}
    divisible = {(at,): [["tt.divisibility", 16]] for at in range(8)}
    # A stride of 1 is compiled in, as Triton does when it is called.
    constants["wk" if layout == "x wᵀ" else "wn"] = 1
    divisible.pop((6,) if layout == "x wᵀ" else (7,))
    signature = {**types, **{name: "constexpr" for name in constants}}
    source = ASTSource(fn=matmul, signature=signature, constexprs=constants, attrs=divisible)
    warps = rows // warp_rows * (columns // warp_columns)
    options = {"num_warps": warps, "num_stages": stages}
    kernel = triton.compile(source, target=GPUTarget("cuda", 80, 32), options=options)
    cubin = folder / "theirs.cubin"
    cubin.write_bytes(kernel.asm["cubin"])
    return cubin


def write_crate(folder, operators):
    (folder / "src").mkdir()
    (folder / "Cargo.toml").write_text(
        '[package]\nname = "compared"\nversion = "0.1.0"\nedition = "2024"\n[workspace]\n'
        f'[dependencies]\nenergy-kernel = {{ path = "{ROOT}/runtime" }}\n'
    )
    (folder / "src/lib.rs").write_text(f"use energy_kernel::prelude::*;\n{operators}")


def write_operators(folder):
    source = ""
    for name, kind in KINDS.items():
        for along, dims, read in LAYOUTS.values():
            left, right = kind.factor.format("x[[m, k]]"), kind.factor.format(read)
            source += (
                f"#[energy_kernel(tune(M = {SIZE}, N = {SIZE}, K = {SIZE}))]\n"
                f"pub fn {along}_{name}(x: Tensor<{kind.element}, (M, K)>, w: Tensor<{kind.element}, {dims}>)\n"
                f"-> Tensor<{kind.result}, (M, N)> {{ |m, n| sum(|k| {left} * {right}) }}\n"
            )
    write_crate(folder, source)


def ours(folder, name, layout, tile):
    """The kernel, or None if there is no such one."""
    rows, columns, terms, warp_rows, warp_columns, stages = tile
    schedule = (
        f"mma block={rows}x{columns}x{terms} warp={warp_rows}x{warp_columns} slice_k=1 stages={stages} group=1 blocks=0 split_k=1"
    )
    return scheduled(folder, f"{LAYOUTS[layout][0]}_{name}", schedule)


def scheduled(folder, operator, schedule):
    """The kernel of an operator of the crate in that folder, or None if the schedule is not legal."""
    command = ["cargo", "run", "--quiet", "--manifest-path", ROOT / "Cargo.toml", "-p", "cargo-energy-kernel", "--"]
    command += ["ptx", operator, "--manifest-path", folder / "Cargo.toml"]
    command += ["--capability", "8.0", "--schedule", schedule]
    printed = subprocess.run(command, capture_output=True, text=True)
    if printed.returncode:
        if "not legal" not in printed.stderr:
            sys.exit(printed.stderr)
        return None
    return assembled(folder / "ours.cubin", printed.stdout)


def assembled(cubin, ptx):
    subprocess.run([TOOLS / "ptxas", "-arch=sm_80", "-o", cubin, "-"], input=ptx, text=True, check=True)
    return cubin


class Loop(typing.NamedTuple):
    tensor: int
    length: int
    # Of the tensor instructions.
    share: float
    registers: int
    # Loads and stores of what was spilled.
    spills: int
    copies: int


def steady_state(cubin):
    text = subprocess.run([TOOLS / "nvdisasm", "-c", cubin], check=True, capture_output=True, text=True).stdout
    instructions, labels = [], {}
    for line in text.splitlines():
        if label := re.match(r"\s*(\.L_\S+):", line):
            labels[label.group(1)] = len(instructions)
        if instruction := re.search(r"/\*[0-9a-f]{4,}\*/\s+(.*?);", line):
            instructions.append(instruction.group(1))
    loops = []
    for end, instruction in enumerate(instructions):
        branch = re.search(r"BRA.*?`\((\.L_\S+)\)", instruction)
        if branch and labels.get(branch.group(1), end + 1) <= end:
            loops.append(instructions[labels[branch.group(1)] : end + 1])
    loop = max(loops, key=lambda loop: sum("MMA." in instruction for instruction in loop))
    # By name, with the width of copies.
    names = (re.sub(r"^@!?U?P[T\d]+ ", "", instruction).split()[0] for instruction in loop)
    counts = collections.Counter(name if name.startswith("LDGSTS") else name.split(".")[0] for name in names)
    tensor = counts["HMMA"] + counts["IMMA"]
    copies = sum(count for name, count in counts.items() if name.startswith("LDGSTS") and "128" in name)
    registers = re.search(r"SHI_REGISTERS=(\d+)", text)
    spills = counts["LDL"] + counts["STL"]
    return Loop(tensor, len(loop), tensor / len(loop), int(registers.group(1)), spills, copies)


def compare(folder, name):
    """A table; returns what is worse here."""
    kind, worse = KINDS[name], []
    print(f"## {name}\n")
    if name in NOTES:
        print(f"{NOTES[name]}\n")
    print("| product | tile | warp | stages | MMA | instructions | | share | | registers | | spilled | | LDGSTS.128 | |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    print("| | | | | | ours | Triton | ours | Triton | ours | Triton | ours | Triton | ours | Triton |")
    for layout in LAYOUTS:
        for rows, columns, depth, warp_rows, warp_columns, stages in TILES:
            tile = (rows, columns, depth // kind.bytes, warp_rows, warp_columns, stages)
            their = steady_state(theirs(folder, kind, name in ROUNDED, layout, tile))
            cubin = ours(folder, name, layout, tile)
            our = steady_state(cubin) if cubin else None
            cells = [layout, f"{rows}×{columns}×{tile[2]}", f"{warp_rows}×{warp_columns}", stages, their.tensor]
            for field in ("length", "share", "registers", "spills", "copies"):
                values = [getattr(loop, field) if loop else "–" for loop in (our, their)]
                cells += [f"{value:.3f}" if isinstance(value, float) else value for value in values]
            print(f"| {' | '.join(map(str, cells))} |")
            less = our and (our.share < their.share or our.registers > 1.1 * their.registers)
            if less or our and our.tensor != their.tensor:
                worse.append((name, layout, tile))
    print()
    return worse


def main():
    print(f"# Steady state of products, {SIZE}³, sm_80: energy-kernel beside Triton {triton.__version__}\n")
    print("Static: instructions of the assembled loop over the terms, not times. Our sizes are compiled in; Triton's are")
    print("arguments that it knows to be multiples of 16. Made by `tests/bench/sass/compare.py`. –: no such kernel is in our")
    print("space, whose estimate of its registers does not fit.\n")
    worse = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_operators(folder)
        for kind in KINDS:
            worse += compare(folder, kind)
    for case in worse:
        print("worse:", *case, file=sys.stderr)
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
