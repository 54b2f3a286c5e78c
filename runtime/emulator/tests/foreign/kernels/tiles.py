"""Kernels for the second foreign compiler, Triton, whose PTX has a style of its own: asynchronous copies
into swizzled shared memory, ldmatrix, mma.sync (sm_80) and wgmma (sm_90), predicated wide accesses."""

import dataclasses
import functools
import os

os.environ["TRITON_DISABLE_LINE_INFO"] = "1"
os.environ["TRITON_DEFAULT_FP_FUSION"] = "1"

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource


@triton.jit
def matmul(a, b, c, m, n, k, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, TYPE: tl.constexpr):
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    columns = tl.program_id(1) * BN + tl.arange(0, BN)
    inner = tl.arange(0, BK)
    total = tl.zeros((BM, BN), TYPE)
    for start in range(0, k, BK):
        x = tl.load(a + rows[:, None] * k + (start + inner)[None, :], mask=(rows < m)[:, None] & (start + inner < k)[None, :], other=0)
        y = tl.load(b + (start + inner)[None, :] + columns[:, None] * k, mask=(start + inner < k)[None, :] & (columns < n)[:, None], other=0)
        total = tl.dot(x, y.trans(), total, out_dtype=TYPE)
    tl.store(c + rows[:, None] * n + columns[None, :], total, mask=(rows < m)[:, None] & (columns < n)[None, :])


@triton.jit
def layer(a, b, bias, c, m, n, k, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP: tl.constexpr):
    """relu(a · b + bias) in the operands' type, b by rows, blocks in groups that share b's columns."""
    down = tl.cdiv(m, BM)
    width = GROUP * tl.cdiv(n, BN)
    first = tl.program_id(0) // width * GROUP
    height = min(down - first, GROUP)
    rows = (first + tl.program_id(0) % width % height) * BM + tl.arange(0, BM)
    columns = tl.program_id(0) % width // height * BN + tl.arange(0, BN)
    inner = tl.arange(0, BK)
    total = tl.zeros((BM, BN), tl.float32)
    for start in range(0, k, BK):
        x = tl.load(a + rows[:, None] * k + (start + inner)[None, :], mask=(rows < m)[:, None] & (start + inner < k)[None, :], other=0)
        y = tl.load(b + (start + inner)[:, None] * n + columns[None, :], mask=(start + inner < k)[:, None] & (columns < n)[None, :], other=0)
        total = tl.dot(x, y, total)
    total = tl.maximum(total + tl.load(bias + columns, mask=columns < n, other=0)[None, :], 0)
    tl.store(c + rows[:, None] * n + columns[None, :], total.to(c.dtype.element_ty), mask=(rows < m)[:, None] & (columns < n)[None, :])


@triton.jit
def split(a, b, c, m, n, k, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, PARTS: tl.constexpr, ATOMIC: tl.constexpr):
    """Every PARTS-th slab of k in a block of its own; the parts are added by atomics, or stored one after the other."""
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    columns = tl.program_id(1) * BN + tl.arange(0, BN)
    part = tl.program_id(2)
    inner = tl.arange(0, BK)
    total = tl.zeros((BM, BN), tl.float32)
    for start in range(part * BK, k, PARTS * BK):
        x = tl.load(a + rows[:, None] * k + (start + inner)[None, :], mask=(rows < m)[:, None] & (start + inner < k)[None, :], other=0)
        y = tl.load(b + (start + inner)[:, None] * n + columns[None, :], mask=(start + inner < k)[:, None] & (columns < n)[None, :], other=0)
        total = tl.dot(x, y, total)
    inside = (rows < m)[:, None] & (columns < n)[None, :]
    if ATOMIC:
        tl.atomic_add(c + rows[:, None] * n + columns[None, :], total, mask=inside, sem="relaxed")
    else:
        tl.store(c + part * m * n + rows[:, None] * n + columns[None, :], total, mask=inside)


@triton.jit
def add_parts(parts, c, count, PARTS: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), tl.float32)
    for part in range(PARTS):
        total += tl.load(parts + part * count + at, mask=at < count, other=0)
    tl.store(c + at, total, mask=at < count)


@triton.jit
def softmax(x, out, columns, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    row = tl.load(x + tl.program_id(0) * columns + at, mask=at < columns, other=-float("inf"))
    power = tl.exp(row - tl.max(row, axis=0))
    tl.store(out + tl.program_id(0) * columns + at, power / tl.sum(power, axis=0), mask=at < columns)


@triton.jit
def sort_and_scan(x, ordered, sums, counts, n, BLOCK: tl.constexpr, BINS: tl.constexpr):
    at = tl.arange(0, BLOCK)
    values = tl.load(x + at, mask=at < n, other=0x7FFFFFFF)
    tl.store(ordered + at, tl.sort(values), mask=at < n)
    present = tl.where(at < n, values, 0)
    tl.store(sums + at, tl.cumsum(present, axis=0), mask=at < n)
    tl.store(counts + tl.arange(0, BINS), tl.histogram(present & (BINS - 1), BINS))


@triton.jit
def transpose(x, out, rows, columns, BLOCK: tl.constexpr):
    r = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    tile = tl.load(x + r[:, None] * columns + c[None, :], mask=(r < rows)[:, None] & (c < columns)[None, :])
    tl.store(out + c[:, None] * rows + r[None, :], tile.trans(), mask=(c < columns)[:, None] & (r < rows)[None, :])


@dataclasses.dataclass(frozen=True)
class Variant:
    """One compilation. `aligned` are the arguments that are multiples of 16."""

    function: object
    capability: int
    types: tuple
    constants: tuple
    aligned: tuple
    warps: int = 4
    stages: int = 2

    def __hash__(self):
        return id(self)

    @functools.cache
    def compiled(self):
        names = self.function.arg_names
        signature = dict(zip(names, self.types)) | {name: "constexpr" for name, _ in self.constants}
        divisible = {(names.index(name),): [["tt.divisibility", 16]] for name in self.aligned}
        source = ASTSource(self.function, signature, dict(self.constants), divisible)
        options = {"num_warps": self.warps, "num_stages": self.stages, "ptx_version": 88}
        return triton.compile(source, target=GPUTarget("cuda", self.capability, 32), options=options)

    @property
    def ptx(self) -> str:
        return self.compiled().asm["ptx"]

    @property
    def shared(self) -> int:
        return self.compiled().metadata.shared


def product(capability, operand, result, tile, aligned, **options):
    types = (f"*{operand}", f"*{operand}", f"*{result}", "i32", "i32", "i32")
    sum_type = tl.int32 if result == "i32" else tl.float32
    return Variant(matmul, capability, types, (*zip(("BM", "BN", "BK"), tile), ("TYPE", sum_type)), ("a", "b", "c", *aligned), **options)


def fused(operand, tile, aligned, group, **options):
    types = (*(f"*{operand}",) * 4, "i32", "i32", "i32")
    return Variant(layer, 80, types, (*zip(("BM", "BN", "BK"), tile), ("GROUP", group)), ("a", "b", "bias", "c", *aligned), **options)


def parted(operand, tile, aligned, parts, atomic, **options):
    types = (f"*{operand}", f"*{operand}", "*fp32", "i32", "i32", "i32")
    constants = (*zip(("BM", "BN", "BK"), tile), ("PARTS", parts), ("ATOMIC", atomic))
    return Variant(split, 80, types, constants, ("a", "b", "c", *aligned), **options)


VARIANTS = {
    "tiles_f16_sm80": product(80, "fp16", "fp32", (64, 32, 32), "nk", stages=3),
    "tiles_i8_sm80": product(80, "i8", "i32", (32, 32, 64), "k"),
    "tiles_tf32_sm80": product(80, "fp32", "fp32", (32, 32, 32), "k"),
    "tiles_bf16_sm80": product(80, "bf16", "fp32", (64, 64, 32), "nk", stages=4),
    "tiles_i8_deep_sm80": product(80, "i8", "i32", (64, 64, 64), "nk", stages=4, warps=2),
    "tiles_tf32_deep_sm80": product(80, "fp32", "fp32", (32, 64, 16), "nk", stages=4),
    "tiles_f16_odd_sm80": product(80, "fp16", "fp32", (32, 32, 32), "", stages=3),
    "tiles_layer_f16_sm80": fused("fp16", (64, 64, 32), "nk", 2, stages=4),
    "tiles_layer_bf16_sm80": fused("bf16", (32, 128, 64), "nk", 4, stages=3, warps=8),
    "tiles_layer_tf32_sm80": fused("fp32", (64, 32, 32), "nk", 2, stages=3),
    "tiles_layer_odd_sm80": fused("fp16", (32, 64, 16), "k", 2, stages=3),
    "tiles_split_atomic_sm80": parted("fp16", (32, 32, 32), "nk", 3, True, stages=3),
    "tiles_split_sm80": parted("bf16", (32, 64, 16), "nk", 2, False, stages=4),
    "tiles_add_parts": Variant(add_parts, 80, ("*fp32", "*fp32", "i32"), (("PARTS", 2), ("BLOCK", 256)), ("parts", "c")),
    "tiles_f16_sm90": product(90, "fp16", "fp32", (64, 64, 64), "nk", stages=3),
    "tiles_bf16_sm90": product(90, "bf16", "fp32", (128, 64, 32), "nk", warps=8),
    "tiles_i8_sm90": product(90, "i8", "i32", (64, 32, 64), "k"),
    "tiles_softmax": Variant(softmax, 80, ("*fp32", "*fp32", "i32"), (("BLOCK", 512),), ("x", "out")),
    "tiles_sort": Variant(sort_and_scan, 80, ("*i32",) * 4 + ("i32",), (("BLOCK", 256), ("BINS", 32)), ("x", "ordered", "sums", "counts")),
    "tiles_transpose": Variant(transpose, 80, ("*fp16", "*fp16", "i32", "i32"), (("BLOCK", 32),), ("x", "out", "rows")),
}
