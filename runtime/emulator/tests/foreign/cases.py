"""The cases of the corpus: for each kernel its launch, its inputs from a fixed seed, and its expected
outputs, computed by numpy from what the CUDA source means.

`exact` results are those whose every operation is correctly rounded and whose order the source
fixes. Where a result rests on a library function or an approximate instruction, the tolerance is the
bound its vendor documents.
"""

import dataclasses
import math
import pathlib
import zlib
from fractions import Fraction

import ml_dtypes
import numpy as np

from arithmetic import bf16, directed, fma, from_bf16, sign_of
from kernels.tiles import VARIANTS

F32, F64, F16 = np.float32, np.float64, np.float16
I32, U32, I64, U64, U8, U16, I16 = np.int32, np.uint32, np.int64, np.uint64, np.uint8, np.uint16, np.int16

EXACT = {"mode": "exact"}


def ulp(bound: int, reason: str) -> dict:
    """At most `bound` units in the last place away."""
    return {"mode": "ulp", "ulp": bound, "reason": reason}


def close(absolute: float, relative: float, reason: str) -> dict:
    """|got - expected| <= absolute + relative * |expected|."""
    return {"mode": "close", "abs": absolute, "rel": relative, "reason": reason}


@dataclasses.dataclass
class Scalar:
    kind: str
    value: object


@dataclasses.dataclass
class In:
    data: np.ndarray


@dataclasses.dataclass
class Out:
    """`kind` is the element type compared, by default the array's own; bf16 bits come as uint16."""

    expected: np.ndarray
    compare: dict = dataclasses.field(default_factory=lambda: EXACT)
    kind: str = ""


@dataclasses.dataclass
class InOut:
    data: np.ndarray
    expected: np.ndarray
    compare: dict = dataclasses.field(default_factory=lambda: EXACT)
    kind: str = ""


def i32(value): return Scalar("i32", int(value))
def u32(value): return Scalar("u32", int(value))
def u64(value): return Scalar("u64", int(value))
def f32(value): return Scalar("f32", float(F32(value)))
def f64(value): return Scalar("f64", float(value))


@dataclasses.dataclass
class Case:
    source: str
    kernel: str
    grid: tuple
    block: tuple
    arguments: list
    dynamic_shared: int = 0
    variant: str = ""

    def entry(self, folder: pathlib.Path, written: set) -> dict:
        """Writes the case's vectors and returns its entry of the manifest."""
        name = self.kernel + (f"_{self.variant}" if self.variant else "")
        return {
            "name": name,
            "ptx": f"kernels/{self.source}.ptx",
            "kernel": self.kernel,
            "grid": list(self.grid) + [1] * (3 - len(self.grid)),
            "block": list(self.block) + [1] * (3 - len(self.block)),
            "dynamic_shared": self.dynamic_shared,
            "arguments": [self.argument(a, f"{name}.{i}", folder, written) for i, a in enumerate(self.arguments)],
        }

    def argument(self, argument, stem: str, folder: pathlib.Path, written: set) -> dict:
        def save(array, suffix):
            path = folder / f"{stem}.{suffix}.bin"
            path.write_bytes(little_endian(array))
            written.add(path)
            return f"vectors/{path.name}"

        match argument:
            case Scalar(kind, value):
                return {kind: value}
            case In(data):
                return {"in": save(data, "in")}
            case Out(expected, compare, kind):
                kind = kind or type_name(expected)
                return {"out": save(expected, "out"), "bytes": expected.nbytes, "type": kind, **compare}
            case InOut(data, expected, compare, kind):
                assert data.nbytes == expected.nbytes
                kind = kind or type_name(expected)
                return {"inout": save(data, "in"), "expect": save(expected, "out"), "type": kind, **compare}


def type_name(array: np.ndarray) -> str:
    return {"f": "f", "i": "i", "u": "u"}[array.dtype.kind] + str(array.dtype.itemsize * 8)


def little_endian(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()


def seeded(name: str) -> np.random.Generator:
    """A generator of its own for every case, so that adding one changes no other."""
    return np.random.default_rng([ord(letter) for letter in name])


def normal(rng, *shape, dtype=F32):
    return rng.standard_normal(shape).astype(dtype)


def blocks(n: int, size: int) -> int:
    return -(-n // size)


def all_cases():
    """Every case of the corpus, in the order of the manifest."""
    for group in GROUPS:
        yield from group()


GROUPS = []


def group(function):
    GROUPS.append(function)
    return function


@group
def vector_add():
    rng, n = seeded("vector_add"), 1003
    a, b = normal(rng, n), normal(rng, n)
    yield Case("vector_add", "vector_add", (blocks(n, 128),), (128,), [In(a), In(b), Out(a + b), u32(n)])
    factor = F32(0.7310586)
    yield Case("vector_add", "axpy", (3,), (96,), [f32(factor), In(a), InOut(b, fma(factor, a, b)), i32(n)])


@group
def stencil():
    rng, width, height = seeded("stencil"), 53, 37
    x = normal(rng, height, width)
    centre, side = F32(0.51), F32(0.1225)
    out = x.copy()
    around = ((x[:-2, 1:-1] + x[2:, 1:-1]) + x[1:-1, :-2]) + x[1:-1, 2:]
    out[1:-1, 1:-1] = centre * x[1:-1, 1:-1] + side * around
    grid = (blocks(width, 16), blocks(height, 8))
    yield Case("stencil", "stencil", grid, (16, 8), [In(x), Out(out), i32(width), i32(height), f32(centre), f32(side)])


def warp_sum(values):
    """The shuffle-down tree over the last axis of 32 lanes, in its order."""
    values = values.copy()
    for offset in (16, 8, 4, 2, 1):
        above = np.concatenate([values[..., offset:], values[..., 32 - offset:]], axis=-1)
        values = values + above
    return values[..., 0]


@group
def reduce():
    rng, n, grid, block = seeded("reduce"), 2741, 3, 160
    x = normal(rng, n)
    each = np.zeros(grid * block, F32)
    for start in range(0, n, grid * block):
        part = x[start : start + grid * block]
        each[: part.size] += part
    sums = warp_sum(each.reshape(grid, block // 32, 32))
    padded = np.zeros((grid, 32), F32)
    padded[:, : block // 32] = sums
    yield Case("reduce", "block_sum", (grid,), (block,), [In(x), Out(warp_sum(padded)), i32(n)])

    rows, columns = 7, 101
    x = rng.integers(-40, 40, (rows, columns)).astype(F32)  # few values: ties are certain
    yield Case("reduce", "row_argmax", (rows,), (32,), [In(x), Out(x.argmax(1).astype(I32)), Out(x.max(1)), i32(columns)])


@group
def scan():
    rng, n, block = seeded("scan"), 331, 96
    for kind, name in ((I32, "scan_i32"), (I64, "scan_i64")):
        top = 1 << (8 * np.dtype(kind).itemsize - 3)
        x = rng.integers(-top, top, n, dtype=kind)
        padded = np.zeros(blocks(n, block) * block, kind)
        padded[:n] = x
        with np.errstate(over="ignore"):  # wrapping is meant
            inclusive = np.cumsum(padded.reshape(-1, block), axis=1, dtype=kind)
        totals = inclusive[:, -1].copy()
        inclusive = inclusive.reshape(-1)[:n]
        yield Case("scan", name, (blocks(n, block),), (block,), [In(x), Out(inclusive), Out(inclusive - x), Out(totals), i32(n)])


@group
def gemm():
    rng, m, n, k = seeded("gemm"), 37, 29, 51
    a, b, c = normal(rng, m, k), normal(rng, k, n), normal(rng, m, n)
    product = np.zeros((m, n), F32)
    for i in range(k):
        product = fma(a[:, i : i + 1], b[i : i + 1, :], product)
    grid = (blocks(n, 16), blocks(m, 16))
    yield Case("gemm", "gemm", grid, (16, 8), [In(a), In(b), InOut(c, c + product), i32(m), i32(n), i32(k)])


@group
def bitonic():
    rng, count, length = seeded("bitonic"), 2, 256
    keys = np.stack([rng.choice(1 << 32, length, replace=False) for _ in range(count)]).astype(U32)  # distinct: one right answer
    payload = rng.integers(0, 1 << 16, (count, length)).astype(U16)
    order = keys.argsort(axis=1)
    expected = [np.take_along_axis(array, order, 1) for array in (keys, payload)]
    yield Case("bitonic", "bitonic", (count,), (96,), [InOut(keys, expected[0]), InOut(payload, expected[1]), i32(length)], dynamic_shared=6 * length)


@group
def histogram():
    rng, n = seeded("histogram"), 3001
    x = rng.integers(0, 256, n).astype(U8)
    counts = np.bincount(x % 61, minlength=61).astype(U32)
    before = rng.integers(0, 9, 61).astype(U32)
    total = np.array([12345678901], U64)
    arguments = [In(x), InOut(before, before + counts), InOut(total, total + U64(x.sum())), i32(n)]
    yield Case("histogram", "histogram", (3,), (128,), arguments)


@group
def collatz():
    rng, n = seeded("collatz"), 203
    start = rng.integers(1, 1 << 32, n).astype(U32)
    start[:7] = [1, 2, 27, 97, 871, 6171, 77031]
    steps, peaks = [], []
    for x in map(int, start):
        count, top = 0, x
        while x != 1:
            x = 3 * x + 1 if x & 1 else x >> 1
            count, top = count + 1, max(top, x)
        steps.append(count)
        peaks.append(top)
    yield Case("collatz", "collatz", (blocks(n, 64),), (64,), [In(start), Out(np.array(steps, U32)), Out(np.array(peaks, U64)), i32(n)])

    limits = rng.integers(0, 300, 71).astype(I32)
    primes = [sum(all(p % d for d in range(2, p)) for p in range(2, limit)) for limit in limits]
    yield Case("collatz", "count_primes", (2,), (48,), [In(limits), Out(np.array(primes, I32)), i32(limits.size)])


def pack(*rows):
    """The outputs of one thread-per-element kernel that writes row r at out[r * n + i]."""
    return np.stack(rows)


EDGE32 = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1e-45, 3.4e38, 1.0, -1.0, 0.5, 1.5, 2.5, -2.5, 1e-38], F32)


@group
def half2():
    rng, n = seeded("half2"), 77

    def pairs():
        x = (rng.standard_normal(2 * n) * 2.0 ** rng.integers(-9, 9, 2 * n)).astype(F16)
        x[:8] = rng.permutation([0.0, -0.0, np.inf, -np.inf, np.nan, 6e-8, 65504.0, -1.0]).astype(F16)
        return x

    a, b, c = pairs(), pairs(), pairs()
    one, zero = F16(1), F16(0)
    fused = fma(a, b, c, F16)
    with np.errstate(all="ignore"):
        total = fma(a, one, b, F16)
        clamp = lambda v: np.where(np.isnan(v), zero, np.clip(v, zero, one))
        rows = [
            total,
            fma(a, one, -b, F16),
            fma(a, b, F16(-0.0), F16),
            fused,
            np.where(np.isnan(fused), fused, np.maximum(fused, zero)),
            number_max(a, b),
            np.where(np.isnan(a) | np.isnan(b), F16(np.nan), number_min(a, b)),
            -np.abs(a),
            (a > b).astype(F16),
            interleave(a[1::2], b[1::2]),
            clamp(total),
            interleave(fma(a[0::2], b[1::2], c[0::2], F16), -a[1::2]),
        ]
    for clamped in (fused, total):  # neither saturation nor ReLU says which zero a negative zero becomes
        assert not np.any((clamped == 0) & np.signbit(clamped))
    arguments = [In(a), In(b), In(c), Out(pack(*rows)), i32(n)]
    yield Case("half2", "half2_arithmetic", (3,), (32,), arguments)

    rows_, pairs_ = 41, 13
    a, b = normal(rng, rows_, 2 * pairs_, dtype=F16), normal(rng, rows_, 2 * pairs_, dtype=F16)
    sums = np.zeros(rows_, F32)
    for k in range(2 * pairs_):
        sums = fma(a[:, k].astype(F32), b[:, k].astype(F32), sums)
    rounded = interleave(sums.astype(F16), (-sums).astype(F16))
    yield Case("half2", "half_dot", (2,), (32,), [In(a), In(b), Out(rounded), Out(sums), i32(rows_), i32(pairs_)])

    x = (rng.standard_normal(101) * 3).astype(F16)
    x[:4] = [0.5, -4.5, 11.0, -11.0]
    wide = x.astype(F64)
    values = [np.exp(wide), np.sqrt(np.abs(wide)), np.log(np.abs(wide)), np.tanh(wide), 3 / wide, np.floor(wide), np.rint(wide)]
    bound = ulp(2, "half functions are computed in f32 by approximate instructions and rounded")
    yield Case("half2", "half_functions", (4,), (32,), [In(x), Out(pack(*(v.astype(F16) for v in values)), bound), i32(x.size)])


def interleave(low, high):
    return np.stack([low, high], axis=-1).reshape(-1)


def number_max(a, b):
    """The larger; a number wins over NaN, and +0 over -0."""
    with np.errstate(all="ignore"):
        larger = np.fmax(a, b)
        both_zero = (a == 0) & (b == 0)
        return np.where(both_zero, np.where(np.signbit(a) & np.signbit(b), a, np.abs(a)), larger)


def number_min(a, b):
    return -number_max(-a, -b)


@group
def bf16_arithmetic():
    rng, n = seeded("bf16"), 83

    def pairs():
        x = bf16(rng.standard_normal(2 * n) * 2.0 ** rng.integers(-20, 20, 2 * n))
        x[:9] = rng.permutation(np.array([0, 0x8000, 0x7F80, 0xFF80, 0x7FFF, 0x0001, 0x8012, 0x7F7F, 0x3F80], U16))
        return x

    a, b, c = pairs(), pairs(), pairs()
    x, y, z = from_bf16(a), from_bf16(b), from_bf16(c)
    fused = fma(x, y, z, "bf16")
    value = from_bf16(fused)
    nothing = F32(-0.0)
    rows = [
        fused,
        np.where(np.isnan(value), U16(0x7FFF), np.where(value > 0, fused, U16(0))),
        fma(x, F32(1), y, "bf16"),
        fma(x, y, nothing, "bf16"),
        bf16(number_max(x, y)),
        bf16(number_min(x, y)),
        a ^ U16(0x8000),
        a & U16(0x7FFF),
    ]
    yield Case("bf16", "bf16_arithmetic", (3,), (32,), [In(a), In(b), In(c), Out(pack(*rows), kind="bf16"), i32(n)])

    n = 131
    x = (rng.standard_normal(n) * 10.0 ** rng.integers(-30, 30, n)).astype(F32)
    x[: EDGE32.size] = EDGE32
    x[20:24] = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0x7F7FFFFF], U32).view(F32)  # ties, overflow
    nearest = bf16(x)
    toward_zero = np.where(np.isnan(x), U16(0x7FFF), (x.view(U32) >> 16).astype(U16))
    packed = interleave(nearest, nearest[::-1])
    arguments = [In(x), Out(pack(nearest, toward_zero), kind="bf16"), Out(packed, kind="bf16"), Out(from_bf16(nearest) * F32(0.5)), i32(n)]
    yield Case("bf16", "bf16_convert", (5,), (32,), arguments)


def wrapped(values, kind):
    """Python integers to a wrapping integer type."""
    bits = 8 * np.dtype(kind).itemsize
    return np.array([v % (1 << bits) for v in values], np.dtype(f"u{bits // 8}")).view(kind)


def quotient(a: int, b: int) -> int:
    """Division that truncates, as C's."""
    q = abs(a) // abs(b)
    return q if (a < 0) == (b < 0) else -q


def remainder(a: int, b: int) -> int:
    return a - b * quotient(a, b)


def signed(value: int, bits: int) -> int:
    value %= 1 << bits
    return value - (1 << bits) if value >> (bits - 1) else value


@group
def int64():
    rng, n = seeded("int64"), 103
    M64, M32 = (1 << 64) - 1, (1 << 32) - 1

    def mixed(nonzero=False):
        x = rng.integers(-(1 << 63), (1 << 63) - 1, n) >> rng.integers(0, 63, n)
        return np.where(x == 0, 1, x) if nonzero else x

    a, b = mixed(), mixed(nonzero=True)
    a[0], b[0] = -(1 << 63) + 1, -1
    pairs = [(int(x), int(y)) for x, y in zip(a, b)]
    rows = [
        [quotient(x, y) for x, y in pairs],
        [remainder(x, y) for x, y in pairs],
        [(x & M64) // (y & M64) for x, y in pairs],
        [(x & M64) % (y & M64) for x, y in pairs],
        [quotient(x, 1000003) for x, _ in pairs],
        [remainder(x, 7) for x, _ in pairs],
        [(x & M64) // 10 for x, _ in pairs],
        [signed(quotient(signed(x, 32), signed(y, 32) | 1), 32) for x, y in pairs],
        [(x & M32) % 641 for x, _ in pairs],
    ]
    yield Case("int64", "divide", (2,), (64,), [In(a), In(b), Out(pack(*(wrapped(r, I64) for r in rows))), i32(n)])

    a, b = mixed().astype(U64), mixed().astype(U64)
    pairs = [(int(x), int(y)) for x, y in zip(a, b)]

    def chosen(x, y):
        return x - y if x > y else (~x if signed(x, 64) < signed(y, 64) else min(x, y))

    rows = [
        [x * y for x, y in pairs],
        [x * y >> 64 for x, y in pairs],
        [signed(x, 64) * signed(y, 64) >> 64 for x, y in pairs],
        [(x & M32) * (y & M32) for x, y in pairs],
        [signed(x, 32) * signed(y, 32) for x, y in pairs],
        [x << (y & 63) for x, y in pairs],
        [x >> (y & 63) for x, y in pairs],
        [signed(x, 64) >> (y & 63) for x, y in pairs],
        [x.bit_count() * 1000000 + (64 - x.bit_length()) * 1000 + (x & -x).bit_length() for x, _ in pairs],
        [int(f"{x:064b}"[::-1], 2) ^ y for x, y in pairs],
        [chosen(x, y) for x, y in pairs],
    ]
    yield Case("int64", "multiply", (2,), (64,), [In(a), In(b), Out(pack(*(wrapped(r, U64) for r in rows))), i32(n)])

    base, modulus = (rng.integers(1, 1 << 32, n).astype(U32) for _ in range(2))
    modulus[0] = 1
    exponent = (rng.integers(0, 1 << 32, n) >> rng.integers(0, 32, n)).astype(U32)
    power = [pow(int(x), int(e), int(m)) for x, e, m in zip(base, exponent, modulus)]
    arguments = [In(base), In(exponent), In(modulus), Out(np.array(power, U64)), Out(np.gcd(base, modulus).astype(U64)), i32(n)]
    yield Case("int64", "modular", (2,), (64,), arguments)


LONG = np.longdouble  # 64 bits of significand: rounds to the nearest double all but always
LIBRARY = "a bound of the CUDA C++ Programming Guide, section Mathematical Functions"


@group
def f64math():
    rng, n = seeded("f64math"), 97
    x = rng.standard_normal(n) * 4
    x[:6] = [0.0, 1.0, -1.0, 20.0, -20.0, 1e-300]
    v = x.astype(LONG)
    thousand = (x * 1e3).astype(LONG)
    milli = (x * 1e-3).astype(LONG)
    with np.errstate(all="ignore"):
        rows = [np.exp(v), np.log(np.abs(v)), np.sin(thousand), np.cos(v), np.tanh(v), np.power(np.abs(v), v), np.cbrt(v),
                np.arctan2(v, LONG(1.5)), np.expm1(milli), np.log1p(np.abs(v))]
    expected = pack(*(r.astype(F64) for r in rows))
    yield Case("f64math", "f64_library", (2,), (64,), [In(x), Out(expected, ulp(2, LIBRARY)), i32(n)])

    huge = np.concatenate([rng.standard_normal(20) * 10.0 ** rng.integers(5, 18, 20), 2.0 ** rng.integers(60, 1023, 15)])
    expected = np.array([sine_of(float(value)) for value in huge])
    yield Case("f64math", "f64_sin_huge", (1,), (64,), [In(huge), Out(expected, ulp(2, LIBRARY)), i32(huge.size)])

    n = 101
    a, b = rng.standard_normal(n) * 10.0 ** rng.integers(-8, 8, n), rng.standard_normal(n) * 10.0 ** rng.integers(-4, 4, n)
    a[:5], b[:5] = [0.0, -0.0, np.inf, 2.5, -7.5], [3.0, -2.0, 4.0, 0.5, -2.5]
    a[5:8], b[5:8] = [5e-324, 1e308, np.nan], [2.0, 1e-300, 1.0]
    with np.errstate(all="ignore"):
        product_error = np.array([exact_product_error(p, q) for p, q in zip(a, b)])
        total = a + b
        sign = lambda i: sign_of(Fraction(float(a[i])) + Fraction(float(b[i])), total[i]) if np.isfinite(a[i]) else 0
        rows = [
            a / b,
            np.sqrt(np.abs(a)),
            1 / b,
            product_error,
            np.fmod(a, b),
            np.floor(a) + np.ceil(b),
            np.rint(a),
            np.trunc(b),
            number_max(a, b) - number_min(a, b),
            directed("rd", total, sign),
            directed("ru", total, sign),
            np.ldexp(a, np.trunc(b).astype(I32)),
            np.copysign(a, b),
            a.astype(F32).astype(F64),
        ]
    yield Case("f64math", "f64_ieee", (2,), (64,), [In(a), In(b), Out(pack(*rows)), i32(n)])


def exact_product_error(a, b):
    """fma(a, b, -(a * b)) of doubles."""
    product = a * b
    if not (np.isfinite(a) and np.isfinite(b) and np.isfinite(product)):
        return float(a * b - product)
    return float(Fraction(float(a)) * Fraction(float(b)) - Fraction(float(product)))


# Reducing the largest double by 2 pi needs 1024 bits of pi before the first that counts.
PI_BITS = 1400


def scaled_pi() -> int:
    """floor(2^PI_BITS * pi) by Machin's formula, 64 guard bits."""
    one = 1 << (PI_BITS + 64)

    def arctan_inverse(n):
        term = total = one // n
        k, sign = 3, -1
        while term:
            term //= n * n
            total += sign * (term // k)
            k, sign = k + 2, -sign
        return total

    return 4 * (4 * arctan_inverse(5) - arctan_inverse(239)) >> 64


PI = scaled_pi()


def sine_of(x: float, shift: int = 0) -> float:
    """sin(x + shift * pi/2), correctly rounded for practical purposes, for any finite x."""
    ratio = Fraction(x)
    scaled = (ratio.numerator << PI_BITS) // ratio.denominator
    scaled = (scaled + shift * (PI // 2)) % (2 * PI)
    if scaled > PI:
        scaled -= 2 * PI
    # |scaled| <= pi: the series converges quickly in integers.
    term = total = scaled
    k = 1
    while term:
        term = -(term * scaled >> PI_BITS) * scaled >> PI_BITS
        term = int(Fraction(term, (k + 1) * (k + 2)))
        total += term
        k += 2
    return float(Fraction(total, 1 << PI_BITS))


@group
def mathf():
    rng, n = seeded("mathf"), 211
    x = (rng.standard_normal(n) * 6).astype(F32)
    x[:14] = [0.0, -0.0, 1.0, -1.0, 1e-6, -1e-6, 88.0, -87.0, -100.0, 89.0, 1e-38, 3e-39, 0.5, 50.0]
    v = x.astype(LONG)
    magnitude = np.abs(v)
    exponent = LONG(F32(1.7))
    with np.errstate(all="ignore"):
        rows = [np.exp(v), np.log(magnitude), np.sin(v), np.cos(v), np.tanh(v), np.array([math.erf(float(t)) for t in x]),
                np.power(magnitude, exponent), np.exp2(v), np.log1p(magnitude), np.expm1(v), np.arctan2(v, LONG(F32(0.7))), np.cbrt(v),
                1 / np.sqrt(magnitude), np.log2(magnitude)]
        expected = pack(*(r.astype(F32) for r in rows))
    yield Case("mathf", "f32_library", (4,), (64,), [In(x), Out(expected, ulp(4, LIBRARY)), i32(n)])

    huge = (rng.standard_normal(60) * 10.0 ** rng.integers(4, 37, 60)).astype(F32)
    huge[:4] = [105615.0, -105616.0, 3.4e38, 1.5e30]
    expected = [np.array([sine_of(float(t), shift) for t in huge]).astype(F32) for shift in (0, 1)]
    bound = ulp(2, LIBRARY)
    yield Case("mathf", "f32_sin_huge", (1,), (64,), [In(huge), Out(expected[0], bound), Out(expected[1], bound), i32(huge.size)])

    n = 149
    a, b = ((rng.standard_normal(n) * 10.0 ** rng.integers(-5, 5, n)).astype(F32) for _ in range(2))
    a[: EDGE32.size], b[: EDGE32.size] = EDGE32, rng.permutation(EDGE32)
    a[20:24], b[20:24] = [2.5, -2.5, 0.5, -0.5], [3.5, -0.0, 0.5, -0.3]
    with np.errstate(all="ignore"):
        rows = [
            a / b,
            np.sqrt(np.abs(a)),
            F32(1) / b,
            np.fmod(a, b),
            number_max(a, b),
            number_min(a, b),
            np.copysign(np.floor(np.abs(a).astype(F64) + 0.5), a).astype(F32),
            np.rint(b),
            np.copysign(np.floor(a), b),
            np.where(a > 0, np.minimum(a, F32(1)), F32(0)),
            np.where(a < b, F32(1), np.where(a >= b, F32(2), F32(3))),
            (np.isnan(a) | np.isinf(b) | np.signbit(a)).astype(F32),
            np.ceil(a) - np.trunc(a),
        ]
    yield Case("mathf", "f32_ieee", (5,), (32,), [In(a), In(b), Out(pack(*rows)), i32(n)])


def flush(x):
    """Subnormals to zero of their sign."""
    return np.where(np.abs(x) < np.finfo(F32).tiny, np.copysign(F32(0), x), x)


@group
def fastmath():
    rng, n = seeded("fastmath"), 139
    x = np.clip(rng.standard_normal(n) * 1.5, -3.1, 3.1).astype(F32)
    v = x.astype(F64)
    magnitude = np.abs(v)
    rows = [np.exp(v), np.log(magnitude), np.sin(v), np.cos(v), 1.5 / v, np.sqrt(magnitude), 1 / np.sqrt(magnitude), magnitude**np.float64(F32(0.3)), np.tanh(v)]
    bound = close(1e-6, 2e-6, "ex2, lg2, sin and cos.approx: 2^-20.5 absolute (sin, cos) or 2 ulp by the PTX manual; tanh.approx has its own case")
    tanh = close(0, 2.0**-10.9, "tanh.approx.f32 has a relative error of 2^-11 by the PTX manual")
    arguments = [In(x), Out(pack(*(r.astype(F32) for r in rows[:8])), bound), Out(rows[8].astype(F32), tanh), i32(n)]
    yield Case("fastmath", "fast_math", (5,), (32,), arguments)

    a = np.concatenate([EDGE32, (rng.standard_normal(40) * 10.0 ** rng.integers(-39, -36, 40)).astype(F32)])
    b = rng.permutation(a)
    small = (rng.standard_normal(a.size) * 10.0 ** rng.integers(-6, 3, a.size)).astype(F32)
    b[1::2] = small[1::2]
    with np.errstate(all="ignore"):
        p, q = flush(a), flush(b)
        # The result is flushed when it is subnormal after rounding to an unbounded exponent range.
        rows = [flush(p + q), flush_product(p, q), number_max(p, q), np.abs(p)]
    yield Case("fastmath", "flushed", (2,), (32,), [In(a), In(b), Out(pack(*rows)), i32(a.size)])


def flush_product(p, q):
    """p * q, flushed. A product between the largest subnormal and the smallest normal would tell
    flushing before from flushing after rounding; the inputs hold none, which is checked here."""
    with np.errstate(all="ignore"):
        exact = np.abs(p.astype(F64) * q.astype(F64))
        tiny = float(np.finfo(F32).tiny)
        assert not np.any((exact < tiny) & (exact > tiny * (1 - 2.0**-23)))
        return flush(p * q)


MODES = ("rn", "rz", "ru", "rd")
TO_INTEGER = {"rn": round, "rz": math.trunc, "ru": math.ceil, "rd": math.floor}


def to_integer(x, mode: str, kind):
    """Clamps; NaN becomes 0, or the value of the top bit alone if either type has 64 bits (PTX manual, cvt)."""
    info = np.iinfo(kind)
    wide = x.dtype == F64 or info.bits == 64

    def one(v):
        if math.isnan(v):
            return 1 << info.bits - 1 if wide else 0
        if math.isinf(v):
            return info.max if v > 0 else info.min
        return min(max(TO_INTEGER[mode](Fraction(v)), info.min), info.max)

    return wrapped([one(float(v)) for v in x], kind)


def rounded_from(exact: list, kind) -> np.ndarray:
    """Exact values (Fraction or int) in all four modes."""
    with np.errstate(over="ignore"):
        nearest = np.array([kind(v) for v in exact])
    return pack(*(directed(mode, nearest, lambda i: sign_of(Fraction(exact[i]), nearest[i])) for mode in MODES))


@group
def rounding():
    rng, n = seeded("rounding"), 113
    for kind, name in ((F32, "f32_to_integer"), (F64, "f64_to_integer")):
        x = (rng.standard_normal(n) * 10.0 ** rng.integers(-1, 22, n)).astype(kind)
        x[:18] = [0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.0, -0.0, np.nan, np.inf, -np.inf, 2147483648.0, -2147483649.0, 4294967296.0, 2.0**63, -(2.0**63), 2.0**64, 1e-42]
        outs = [Out(pack(*(to_integer(x, mode, to) for mode in MODES))) for to in (I32, U32, I64, U64)]
        yield Case("rounding", name, (4,), (32,), [In(x), *outs, i32(n)])

    x = rng.integers(-(1 << 63), (1 << 63) - 1, n) >> rng.integers(0, 63, n)
    x[:5] = [0, -1, 1 << 24 | 1, (1 << 63) - 1, (1 << 24) + 3]
    low = [signed(int(v), 32) for v in x]
    high = [int(v) % (1 << 64) for v in x]
    outs = [Out(rounded_from(low, F32)), Out(rounded_from(high, F32)), Out(rounded_from([int(v) for v in x], F64))]
    yield Case("rounding", "integer_to_float", (4,), (32,), [In(x), *outs, i32(n)])

    x = rng.standard_normal(n) * 10.0 ** rng.integers(-47, 42, n)
    x[20:60] = rng.standard_normal(40) * 10.0 ** rng.integers(-9, 6, 40)
    x[:8] = [1.0, -1e300, 1e300, 2.0**-150, -(2.0**-151), 65519.9, 65520.0, -65504.0]
    single = rounded_from([Fraction(float(v)) for v in x], F32)
    with np.errstate(over="ignore"):
        nearest = single[0].astype(F16)
    compare = lambda i: 0 if np.isinf(single[0][i]) else sign_of(Fraction(float(single[0][i])), nearest[i])
    halves = pack(*(directed(mode, nearest, compare) for mode in MODES))
    yield Case("rounding", "narrow", (4,), (32,), [In(x), Out(single), Out(halves), i32(n)])

    a, b = ((rng.standard_normal(n) * 10.0 ** rng.integers(-20, 18, n)).astype(F32) for _ in range(2))
    b[:40] = (a[:40] * rng.standard_normal(40)).astype(F32)
    fa, fb = ([Fraction(float(v)) for v in array] for array in (a, b))
    assert all(p + q for p, q in zip(fa, fb))  # an exact zero's sign would depend on the mode
    root = np.sqrt(np.abs(a))
    square = lambda i: sign_of(abs(fa[i]), F64(0)) if root[i] == 0 else int(np.sign(abs(fa[i]) - Fraction(float(root[i])) ** 2))
    tenth = Fraction(float(F32(0.1)))
    rows = [
        rounded_from([p + q for p, q in zip(fa, fb)], F32),
        rounded_from([p * q for p, q in zip(fa, fb)], F32),
        rounded_from([p / q for p, q in zip(fa, fb)], F32),
        pack(*(directed(mode, root, square) for mode in MODES)),
        rounded_from([p * q + tenth for p, q in zip(fa, fb)], F32),
    ]
    yield Case("rounding", "directed", (4,), (32,), [In(a), In(b), Out(np.concatenate(rows)), i32(n)])


def byte_perm(x, y, selector):
    pool = (y << 32 | x).to_bytes(8, "little")
    return int.from_bytes(bytes(pool[selector >> 4 * k & 7] for k in range(4)), "little")


def dot4(x, y, z, kind):
    return z + sum(int(p) * int(q) for p, q in zip(lanes(x, kind), lanes(y, kind)))


def lanes(x, kind):
    return np.frombuffer(int(x).to_bytes(4, "little"), kind)


def bit_field(x, at, length, is_signed):
    """bfe. Bits beyond the word are 0, or copies of the field's sign: its top bit, or the word's if it
    reaches beyond that."""
    field = x >> at & (1 << length) - 1
    negative = is_signed and length and x >> min(at + length - 1, 31) & 1
    if not negative:
        return field
    width = max(min(length, 32 - at), 0)  # the bits of the field inside the word
    return field | -1 << width


def bit_insert(source, into, at, length):
    mask = ((1 << length) - 1) << at & 0xFFFFFFFF
    return into & ~mask | source << at & mask


@group
def bits():
    rng, n = seeded("bits"), 127
    a, b, c = ((rng.integers(0, 1 << 32, n) >> rng.integers(0, 20, n)).astype(U32) for _ in range(3))
    a[0] = 0
    M = 0xFFFFFFFF
    triples = [(int(x), int(y), int(z)) for x, y, z in zip(a, b, c)]
    s = lambda v: signed(v, 32)
    s24 = lambda v: signed(v, 24)
    each = lambda f: wrapped([f(*t) for t in triples], U32)
    rows = [
        each(byte_perm),
        each(lambda x, y, z: 32 - (x >> (y & 31)).bit_length()),
        each(lambda x, y, z: x.bit_count() + 100 * (y & -y).bit_length()),
        each(lambda x, y, z: int(f"{x:032b}"[::-1], 2)),
        each(lambda x, y, z: (y << 32 | x) << (z & 31) >> 32),
        each(lambda x, y, z: (y << 32 | x) >> (z & 31)),
        each(lambda x, y, z: (y << 32 | x) << min(z & 63, 32) >> 32),
        each(lambda x, y, z: (y << 32 | x) >> min(z & 63, 32)),
        each(lambda x, y, z: dot4(x, y, z, np.int8)),
        each(lambda x, y, z: dot4(x, y, z, U8)),
        each(lambda x, y, z: z + sum(int(p) * int(q) for p, q in zip(lanes(x, I16), lanes(y, np.int8)))),
        each(lambda x, y, z: x * y >> 32),
        each(lambda x, y, z: s(x) * s(y) >> 32),
        each(lambda x, y, z: (x & 0xFFFFFF) * (y & 0xFFFFFF) + s24(x) * s24(z)),
        each(lambda x, y, z: abs(x - y) + z),
        each(lambda x, y, z: abs(s(x) - s(y)) + z),
        each(lambda x, y, z: int.from_bytes(bytes(abs(int(p) - int(q)) for p, q in zip(lanes(x, U8), lanes(y, U8))), "little")),
        each(lambda x, y, z: int.from_bytes(bytes((int(p) + int(q)) & 255 for p, q in zip(lanes(x, U8), lanes(y, U8))), "little")),
        each(lambda x, y, z: bit_field(x, y & 63, z & 63, False)),
        each(lambda x, y, z: bit_field(x, y & 63, z & 63, True)),
        each(lambda x, y, z: bit_insert(x, y, z & 63, z >> 6 & 63)),
        each(lambda x, y, z: x & y ^ z),  # 0x6a = (0xf0 & 0xcc) ^ 0xaa
        each(lambda x, y, z: (x >> (z & 31)).bit_length() - 1),
        each(lambda x, y, z: (s(x) + s(y) >> 1) ^ (x + z + 1 >> 1)),
        each(lambda x, y, z: abs(s(x)) + max(s(x), s(y)) + min(y, z)),
        each(lambda x, y, z: x >> (31 - (y & 31) if y & 63 else 0)),
        each(lambda x, y, z: x << (z & 63) if z & 63 < 32 else 0),
        each(lambda x, y, z: s(x) >> min(z & 63, 31)),
        each(lambda x, y, z: min(max(s(x) + s(y), -(1 << 31)), (1 << 31) - 1)),
    ]
    yield Case("bits", "bits", (2,), (64,), [In(a), In(b), In(c), Out(pack(*rows)), i32(n)])

    n = 37
    a, b = (rng.integers(0, 1 << 32, (n, 3)).astype(U32) for _ in range(2))
    a[0], b[0] = [M, M, 0], [1, 0, 0]
    whole = lambda row: sum(int(v) << 32 * k for k, v in enumerate(row))
    words = lambda value: [value >> 32 * k & M for k in range(3)]
    total = np.array([words(whole(p) + whole(q)) for p, q in zip(a, b)], U32)
    difference = np.array([words(whole(p) - whole(q)) for p, q in zip(a, b)], U32)
    yield Case("bits", "carry", (2,), (32,), [In(a), In(b), Out(total), Out(difference), i32(n)])


@group
def local_array():
    rng, n = seeded("local_array"), 89
    x = (rng.integers(0, 1 << 63, n).astype(U64) >> rng.integers(0, 60, n).astype(U64))
    x[0] = 0
    modes, counts = [], []
    for value in map(int, x):
        digits = [int(d, 16) for d in f"{value:x}"] if value else []
        tally = [digits.count(d) for d in range(16)]
        counts.append(max(tally))
        modes.append(tally.index(max(tally)))
    yield Case("local_array", "digit_mode", (3,), (32,), [In(x), Out(np.array(modes, U8)), Out(np.array(counts, U8)), i32(n)])

    nodes, n = 501, 67
    tree = np.zeros(nodes, I32)
    tree[in_order(nodes)] = np.sort(rng.integers(-5000, 5000, nodes))
    low = rng.integers(-5000, 5000, n).astype(I32)
    high = (low + rng.integers(0, 900, n)).astype(I32)
    sums, visits = [], []
    for lo, hi in zip(low, high):
        stack, total, steps = [0], 0, 0
        while stack:
            at = stack.pop()
            steps += 1
            value = int(tree[at])
            total += value if lo <= value <= hi else 0
            stack += [2 * at + 1] if value >= lo and 2 * at + 1 < nodes else []
            stack += [2 * at + 2] if value <= hi and 2 * at + 2 < nodes else []
        sums.append(total)
        visits.append(steps)
    arguments = [In(tree), In(low), In(high), Out(np.array(sums, I64)), Out(np.array(visits, I32)), i32(nodes), i32(n)]
    yield Case("local_array", "tree_sum", (3,), (32,), arguments)


def in_order(nodes: int) -> list[int]:
    """The nodes of the implicit binary tree, left to right."""
    def walk(at):
        return walk(2 * at + 1) + [at] + walk(2 * at + 2) if at < nodes else []
    return walk(0)


@group
def calls():
    rng, n = seeded("calls"), 71
    a, b = normal(rng, n, 4), normal(rng, n, 4)

    def product(p, q):
        w, x, y, z = p.T
        W, X, Y, Z = q.T
        return np.stack([w * W - x * X - y * Y - z * Z, w * X + x * W + y * Z - z * Y, w * Y - x * Z + y * W + z * X, w * Z + x * Y - y * X + z * W], axis=-1)

    yield Case("calls", "rotate", (3,), (32,), [In(a), In(b), Out(product(product(a, b), a)), i32(n)])

    x = rng.integers(-10000, 10000, n).astype(I32)
    out, median = [], []
    for i in range(n):
        window = [int(x[min(i + k, n - 1)]) for k in range(5)]
        weigh = lambda at: window[at] * float(i - 7) + 0.25 * i
        out.append(weigh(i % 5) + weigh((i + 3) % 5))
        median.append(sorted(window)[2])
    yield Case("calls", "windows", (3,), (32,), [In(x), Out(np.array(out)), Out(np.array(median, I32)), i32(n)])

    which = rng.integers(0, 256, n).astype(U8)
    p, q = (rng.integers(-1 << 31, 1 << 31, n).astype(I32) for _ in range(2))
    result = [(int(s) + int(t), int(s) - int(t), int(s) * int(t))[w % 3] for w, s, t in zip(which, p, q)]
    yield Case("calls", "through_table", (3,), (32,), [In(which), In(p), In(q), Out(wrapped(result, I32)), i32(n)])


@group
def votes():
    rng, grid, block, n = seeded("votes"), 3, 96, 250
    x = rng.integers(0, 13, n).astype(I32)
    x[64:96] = 5
    v = np.concatenate([x, np.full(grid * block - n, -1)])
    warps = v.reshape(-1, 32)
    lanes_ = 1 << np.arange(32)
    spread = lambda per_warp: np.repeat(np.asarray(per_warp, np.int64), 32).astype(U32)
    ballot = lambda condition: (condition * lanes_).sum(1)
    part = lambda: np.trunc(warps / 16).astype(int)
    match_all = [(0xFFFFFFFF + 1 if len(set(row)) == 1 else 0) & 0xFFFFFFFF for row in part()]
    blocks_ = v.reshape(grid, block)
    wide = lambda per_block: np.repeat(np.asarray(per_block, np.int64), block).astype(U32)
    rows = [
        spread(ballot(warps & 1)),
        spread((warps == 3).any(1) + 2 * (warps < 12).all(1)),
        np.array([(lanes_ * (row == value)).sum() for row in warps for value in row], U32),
        spread(match_all),
        np.where(v & 2, spread(ballot((warps & 2 > 0) & (warps & 4 > 0))), 0).astype(U32),
        wide((blocks_ > 6).sum(1)),
        wide((blocks_ == 9).any(1) + 2 * (blocks_ < 14).all(1)),
    ]
    yield Case("votes", "votes", (grid,), (block,), [In(x), Out(pack(*rows)), i32(n)])

    odd = int((x & 1).sum())
    ranks = (np.arange(n) < odd).astype(U32)
    arguments = [In(x), InOut(np.zeros(1, U32), np.array([odd], U32)), InOut(np.zeros(n, U32), ranks), i32(n)]
    yield Case("votes", "aggregated", (grid,), (block,), arguments)


@group
def redux():
    rng, n = seeded("redux"), 128
    x = rng.integers(-1 << 31, 1 << 31, n).astype(I32)
    warps = x.reshape(-1, 32)
    raw = warps.view(U32)
    spread = lambda per_warp: np.repeat(np.asarray(per_warp).astype(np.int64).astype(I32), 32)
    even = np.where(np.arange(n) % 2 == 0, spread(warps[:, ::2].sum(1, dtype=np.int64)), 0).astype(I32)
    rows = [
        spread(warps.sum(1, dtype=np.int64)),
        spread(warps.min(1)),
        spread(warps.max(1)),
        spread(raw.max(1)),
        spread(np.bitwise_and.reduce(raw | U32(0xFF), 1)),
        spread(np.bitwise_or.reduce(raw & U32(0xF0F0), 1)),
        spread(np.bitwise_xor.reduce(raw, 1)),
        even,
    ]
    yield Case("redux", "redux", (2,), (64,), [In(x), Out(pack(*rows)), i32(n)])


@group
def atomics():
    rng, n = seeded("atomics"), 300
    x = rng.integers(0, 1 << 32, n).astype(U32)
    values = [int(v) for v in x]
    cells = np.array([7, 9, 100, -100, 1 << 31, 77, 0xFFFFFFFF, 0, 0xABCDEF, 3, 5]).astype(I64)
    as_signed = [signed(v, 32) for v in values]
    counter, down = 3, 5
    for _ in values:
        counter = 0 if counter >= 16 else counter + 1
        down = 16 if down == 0 or down > 16 else down - 1
    start = [int(v) % (1 << 32) for v in cells]
    all_and, all_or, all_xor = start[6], start[7], start[8]
    for v in values:
        all_and, all_or, all_xor = all_and & (v | 0xFF00FF), all_or | v & 0x0FF0, all_xor ^ v
    after = [start[0] + sum(values), start[1] - sum(values), min(100, *as_signed), max(-100, *as_signed), min(start[4], *values),
             max(start[5], *values), all_and, all_or, all_xor, counter, down]
    wide = np.array([1, 2, 3], U64)
    xor = 2
    for v in values:
        xor ^= v * v
    wide_after = [max(1, *(v << 13 for v in values)), xor, 3 + sum(v * v for v in values)]
    single = np.array([0.5], F32)
    double = np.array([0.125])
    arguments = [
        In(x),
        InOut(wrapped(start, U32), wrapped(after, U32)),
        InOut(wide, wrapped(wide_after, U64)),
        InOut(single, single + F32(sum(v & 15 for v in values))),
        InOut(double, double + 0.25 * sum(v & 1023 for v in values)),
        i32(n),
    ]
    yield Case("atomics", "atomics", (3,), (128,), arguments)

    x = rng.standard_normal(n)
    halves = np.array([3, 40000], U16)  # the second must survive
    after = np.array([(3 + sum(range(n))) % 65536, 40000], U16)
    yield Case("atomics", "cas_loops", (3,), (128,), [In(x), InOut(np.array([-9.0]), np.array([x.max()])), InOut(halves, after), i32(n)])

    grid, block = 3, 160
    balance = 1
    for _ in range(grid * block // 32):
        balance = balance * 3 % 1009
    one = lambda value: np.array([value], I32)
    arguments = [InOut(one(0), one(0)), InOut(one(1), one(balance)), InOut(one(0), one(grid * block // 32))]
    yield Case("atomics", "locked", (grid,), (block,), arguments)


@group
def switch():
    rng, n, length = seeded("switch"), 93, 23
    programs = rng.integers(0, 12, (n, length)).astype(U8)
    x = rng.integers(-1000, 1000, n).astype(I32)
    out = [interpret(programs[i], int(x[i])) for i in range(n)]
    yield Case("switch", "interpret", (3,), (32,), [In(programs), In(x), Out(wrapped(out, I32)), i32(length), i32(n)])

    x = rng.integers(0, 1 << 32, n).astype(U32)
    jump = (lambda v: v >> 1, lambda v: v * 3, lambda v: ~v, lambda v: v * v)
    yield Case("switch", "jump_table", (3,), (32,), [In(x), Out(wrapped([jump[int(v) & 3](int(v)) for v in x], U32)), i32(n)])


def interpret(code, x: int) -> int:
    wrap = lambda v: signed(v, 32)
    y, at, fuel = 1, 0, 200
    while at < len(code) and fuel > 0:
        fuel -= 1
        operation = code[at]
        at += 1
        match operation:
            case 0: x += y
            case 1: x -= 3 * y
            case 2: y = x ^ y << 1
            case 3: x, y = y, x
            case 4: x = x * 5 + 1
            case 5: at += x & 1
            case 6: y = wrap(-y); x ^= y >> 3
            case 7: x ^= y >> 3
            case 8: at = max(at - 5, 0) if y & 4 else at
            case 9: at = len(code)
            case _: x = ~x
        x, y = wrap(x), wrap(y)
    return x + 31 * y


@group
def constants():
    rng, n, length = seeded("constants"), 61, 19
    text = rng.integers(0, 256, (n, length)).astype(U8)
    crc = np.array([zlib.crc32(row.tobytes()) for row in text], U32)
    yield Case("constants", "crc32", (2,), (32,), [In(text), Out(crc), i32(length), i32(n)])

    x = rng.integers(-(1 << 15), 1 << 15, n).astype(I16)
    x[:30] = rng.integers(-400, 500, 30)
    entries = [(-30000, -200, 0.125), (-200, 0, -0.5), (0, 300, 0.75), (300, 32000, 3.0)]
    offsets = [11, -7, 0, 300000, 5]
    out = []
    for i, v in enumerate(map(int, x)):
        scaled = [scale * v for low, high, scale in entries if low <= v < high]
        out.append((scaled[0] if scaled else 0.1) + offsets[i % 5])
    yield Case("constants", "piecewise", (2,), (32,), [In(x), Out(np.array(out)), i32(n)])


@group
def dynamic_shared():
    rng, rows, columns, tile = seeded("dynamic_shared"), 43, 29, 16
    a = rng.standard_normal((rows, columns))
    b = rng.integers(-127, 128, (rows, columns)).astype(np.int8)
    arguments = [In(a), Out(a.T.copy()), In(b), Out(-b.T), i32(rows), i32(columns)]
    grid = (blocks(columns, tile), blocks(rows, tile))
    yield Case("dynamic_shared", "transpose", grid, (tile, tile), arguments, dynamic_shared=9 * tile * (tile + 1))


@group
def grids():
    rng, width, height = seeded("grids"), 59, 31
    image, scale = normal(rng, height, width), F32(1.7)
    yield Case("grids", "grid_stride", (2, 3), (8, 4), [InOut(image, image * scale), i32(width), i32(height), f32(scale)])

    grid, block = (2, 3, 2), (5, 3, 3)
    threads = math.prod(block)
    index = np.arange(math.prod(grid) * threads)
    thread, lane = index % threads, index % threads % 32
    out = ((index // threads << 20) + (thread << 10) + lane * 8 + lane % 8).astype(U32)
    yield Case("grids", "place", grid, block, [Out(out)])

    n = 45
    v, w = normal(rng, n, 4), rng.standard_normal((n, 2))
    s, t = rng.integers(0, 256, (n, 4)).astype(U8), rng.integers(-999, 999, (n, 2)).astype(I16)
    zeros = np.zeros((n, 2), I16)
    out = fma(v, s.astype(F32), np.concatenate([zeros, t], axis=1).astype(F32))
    out[:, :2] = v[:, :2] * s[:, :2].astype(F32)
    wide = np.stack([w[:, 1], w[:, 0] * 0.5], axis=1)
    yield Case("grids", "vectors", (2,), (32,), [In(v), In(s), In(t), In(w), Out(out), Out(wide), i32(n)])


@group
def mandelbrot():
    width, height, limit = 61, 47, 120
    y, x = np.mgrid[0:height, 0:width]
    cr = F32(-2) + x.astype(F32) * F32(2.75 / 64)
    ci = F32(-1.25) + y.astype(F32) * F32(2.5 / 64)
    zr, zi = np.zeros_like(cr), np.zeros_like(cr)
    count, running = np.zeros(cr.shape, U8), np.ones(cr.shape, bool)
    with np.errstate(all="ignore"):
        for _ in range(limit):
            rr, ii = zr * zr, zi * zi
            running &= ~(rr + ii > F32(4))
            count += running
            zi = F32(2) * zr * zi + ci
            zr = rr - ii + cr
    yield Case("mandelbrot", "mandelbrot", (blocks(width, 8), blocks(height, 8)), (8, 8), [Out(count), i32(width), i32(height), i32(limit)])


@group
def pipeline():
    rng, chunks, chunk = seeded("pipeline"), 7, 128
    x = rng.integers(-1 << 20, 1 << 20, (chunks, chunk)).astype(I32)
    out = np.cumsum(x - np.roll(x, -1, axis=1), axis=0).astype(I32)
    yield Case("pipeline", "moving_sum", (1,), (chunk,), [In(x), Out(out), i32(chunks)])

    rounds = 5
    x = rng.integers(-1 << 20, 1 << 20, (rounds, 32)).astype(I32)
    out = (x[:, ::-1] * 3 + np.arange(rounds)[:, None]).astype(I32)
    yield Case("pipeline", "hand_over", (1,), (64,), [In(x), Out(out), i32(rounds)])


@group
def tensor():
    rng = seeded("tensor")
    whole = lambda rows, columns: rng.integers(-9, 10, (rows, columns))
    a, b = whole(16, 16), whole(16, 8)
    start = np.zeros((16, 8), F32)
    start[:8, 0::2], start[:8, 1::2], start[8:, 0::2], start[8:, 1::2] = 1, 2, 3, 4
    yield Case("tensor", "mma_f16", (1,), (32,), [In(a.astype(F16)), In(b.astype(F16)), Out((a @ b + start).astype(F32))])
    a, b = rng.integers(-128, 128, (16, 32)), rng.integers(-128, 128, (8, 32))
    yield Case("tensor", "mma_s8", (1,), (32,), [In(a.astype(np.int8)), In(b.astype(np.int8)), Out((a @ b.T).astype(I32))])
    a, b = whole(16, 16), whole(8, 16)
    yield Case("tensor", "mma_bf16", (1,), (32,), [In(bf16(a.astype(F32))), In(bf16(b.astype(F32))), Out((a @ b.T).astype(F32))])
    a, b = whole(16, 8), whole(8, 8)
    yield Case("tensor", "mma_tf32", (1,), (32,), [In(a.astype(F32)), In(b.astype(F32)), Out((a @ b.T).astype(F32))])


@group
def wmma():
    def case(kernel, tile, layouts, factor, total, low=-9, high=10):
        """2 A·B − 3 C by tiles; `layouts` tells for A and B whether they lie by columns."""
        rng = seeded(kernel)
        m, n, k = 32, 64, 4 * tile[2]
        a, b, c = rng.integers(low, high, (m, k)), rng.integers(low, high, (k, n)), rng.integers(-9, 10, (m, n))
        stored = [STORED[factor](x.T if by_columns else x) for x, by_columns in zip((a, b), layouts)]
        d = (2 * (a @ b) - 3 * c).astype(total)
        assert np.abs(d.astype(F64)).max() < 2048  # exact in every type
        return Case("wmma", kernel, (n // tile[1], m // tile[0]), (32,), [In(stored[0]), In(stored[1]), In(c.astype(total)), Out(d), i32(m), i32(n), i32(k)])

    rows, columns = False, True
    small = {"low": -3, "high": 4}
    yield case("wmma_f16_rows", (16, 16, 16), (rows, rows), "fp16", F32, **small)
    yield case("wmma_f16_columns", (16, 16, 16), (columns, columns), "fp16", F32, **small)
    yield case("wmma_f16_wide", (8, 32, 16), (rows, columns), "fp16", F32, **small)
    yield case("wmma_f16_high", (32, 8, 16), (columns, columns), "fp16", F32, **small)
    yield case("wmma_f16_to_f16", (16, 16, 16), (rows, columns), "fp16", F16, **small)
    yield case("wmma_bf16", (16, 16, 16), (rows, columns), "bf16", F32, **small)
    yield case("wmma_bf16_wide", (8, 32, 16), (columns, rows), "bf16", F32, **small)
    yield case("wmma_s8", (16, 16, 16), (rows, columns), "i8", I32, **small)
    yield case("wmma_u8_high", (32, 8, 16), (rows, rows), "u8", I32, low=0, high=4)
    yield case("wmma_tf32", (16, 16, 8), (rows, columns), "fp32", F32, **small)
    yield case("wmma_f64", (8, 8, 4), (rows, columns), "f64", F64, **small)

    rng = seeded("wmma_edges")
    m, n, k = 45, 39, 53
    a, b = rng.integers(-9, 10, (m, k)), rng.integers(-9, 10, (k, n))
    yield Case("wmma", "wmma_edges", (blocks(n, 32), blocks(m, 32)), (128,), [In(a.astype(F16)), In(b.astype(F16)), Out((a @ b).astype(F32)), i32(m), i32(n), i32(k)])


@group
def mma_pipeline():
    for name, operand, total, k, parts in [
        ("f16", "fp16", F32, 104, 1),
        ("f16", "fp16", F32, 200, 3),
        ("bf16", "bf16", F32, 136, 1),
        ("tf32", "fp32", F32, 76, 1),
        ("s8", "i8", I32, 208, 1),
        ("s8", "i8", I32, 336, 2),
    ]:
        kernel, variant = f"pipeline_{name}", f"split{parts}" if parts > 1 else ""
        rng, (m, n) = seeded(kernel + variant), (75, 70)
        a, b = rng.integers(-9, 10, (m, k)), rng.integers(-9, 10, (n, k))
        c = np.zeros((m, n), total)
        product = (a @ b.T).astype(total)
        out = InOut(c, product) if parts > 1 else Out(product)
        grid = (blocks(n, 64), blocks(m, 64), parts)
        yield Case("mma_pipeline", kernel, grid, (128,), [In(STORED[operand](a)), In(STORED[operand](b)), out, i32(m), i32(n), i32(k)], variant=variant)
    rng, (m, n, k) = seeded("pipeline_f16_rows"), (45, 72, 88)
    a, b = rng.integers(-2, 3, (m, k)), rng.integers(-2, 3, (k, n))  # sums below 2048: exact in f16
    grid = (blocks(n, 32), blocks(m, 16))
    yield Case("mma_pipeline", "pipeline_f16_rows", grid, (32,), [In(a.astype(F16)), In(b.astype(F16)), Out((a @ b).astype(F16)), i32(m), i32(n), i32(k)])

    # Numbers that are not whole: no order of summation is more than the bound away from any other.
    rng, (m, n, k) = seeded("pipeline_f16_normal"), (75, 70, 104)
    a, b = normal(rng, m, k, dtype=F16), normal(rng, n, k, dtype=F16)
    exact, magnitude = a.astype(F64) @ b.T.astype(F64), np.abs(a.astype(F64)) @ np.abs(b.T.astype(F64))
    bound = close(float(2 * k * 2.0**-24 * magnitude.max()), 0, "2 k 2^-24 times the largest sum of the terms' magnitudes: what truncation in steps of eight may cost")
    yield Case("mma_pipeline", "pipeline_f16", (blocks(n, 64), blocks(m, 64), 1), (128,), [In(a), In(b), Out(exact.astype(F32), bound), i32(m), i32(n), i32(k)], variant="normal")


# Two pointers that Triton's launcher passes to kernels that may want scratch memory.
SCRATCH = [u64(0), u64(0)]

# Arrays of an operand type.
STORED = {"fp16": lambda v: v.astype(F16), "bf16": lambda v: bf16(v.astype(F32)), "fp32": lambda v: v.astype(F32), "i8": lambda v: v.astype(np.int8), "u8": lambda v: v.astype(U8), "f64": lambda v: v.astype(F64)}
KINDS = {"fp16": "f16", "bf16": "bf16", "fp32": "f32", "i8": "i8"}


def tiles_of(function: str):
    """The variants of a Triton function, with their tiles and operand types."""
    for name, variant in VARIANTS.items():
        if variant.function.__name__ == function:
            yield name, variant, dict(variant.constants), variant.types[0][1:]


@group
def tiles_matmul():
    for name, variant, tile, operand in tiles_of("matmul"):
        rng = seeded(name)
        m, n, k = (77, 48, 112) if variant.aligned[3:] else (77, 45, 91)  # as aligned as the variant was promised
        a, b = rng.integers(-9, 10, (m, k)), rng.integers(-9, 10, (n, k))  # whole numbers: any order of summation is exact
        store = STORED[operand]
        expected = (a @ b.T).astype(I32 if operand == "i8" else F32)
        grid = (blocks(m, tile["BM"]), blocks(n, tile["BN"]))
        arguments = [In(store(a)), In(store(b)), Out(expected), i32(m), i32(n), i32(k), *SCRATCH]
        yield Case(name, "matmul", grid, (32 * variant.warps,), arguments, variant.shared, variant=name)


@group
def tiles_layer():
    for name, variant, tile, operand in tiles_of("layer"):
        rng = seeded(name)
        m, n, k = (77, 48 if "n" in variant.aligned else 39, 96)
        a, b, bias = rng.integers(-1, 2, (m, k)), rng.integers(-1, 2, (k, n)), rng.integers(-9, 10, n)
        store = STORED[operand]
        expected = store(np.maximum(a @ b + bias, 0))  # below 256: whole numbers of every type
        grid = (blocks(m, tile["BM"]) * blocks(n, tile["BN"]),)
        arguments = [In(store(a)), In(store(b)), In(store(bias)), Out(expected, kind=KINDS[operand]), i32(m), i32(n), i32(k), *SCRATCH]
        yield Case(name, "layer", grid, (32 * variant.warps,), arguments, variant.shared, variant=name)


@group
def tiles_split():
    m, n, k = 45, 48, 144
    for name, variant, tile, operand in tiles_of("split"):
        rng, parts, slab = seeded(name), tile["PARTS"], tile["BK"]
        a, b = rng.integers(-9, 10, (m, k)), rng.integers(-9, 10, (k, n))
        if tile["ATOMIC"]:
            c = rng.integers(-99, 100, (m, n)).astype(F32)
            out = InOut(c, (c + a @ b).astype(F32))
        else:
            of = np.arange(k) // slab % parts
            out = Out(np.stack([a[:, of == part] @ b[of == part] for part in range(parts)]).astype(F32))
            added = out.expected
        store = STORED[operand]
        grid = (blocks(m, tile["BM"]), blocks(n, tile["BN"]), parts)
        arguments = [In(store(a)), In(store(b)), out, i32(m), i32(n), i32(k), *SCRATCH]
        yield Case(name, "split", grid, (32 * variant.warps,), arguments, variant.shared, variant=name)
    variant = VARIANTS["tiles_add_parts"]
    arguments = [In(added), Out(added.sum(0)), i32(m * n), *SCRATCH]
    yield Case("tiles_add_parts", "add_parts", (blocks(m * n, 256),), (32 * variant.warps,), arguments, variant.shared)


@group
def tiles_rest():
    variant = VARIANTS["tiles_softmax"]
    rng, rows, columns = seeded("tiles_softmax"), 5, 389
    x = (rng.standard_normal((rows, columns)) * 3).astype(F32)
    power = np.exp(x.astype(F64) - x.max(1, keepdims=True))
    bound = close(0, 2e-6, "ex2.approx of an argument below 32 whose product with log2(e) is rounded once, and an approximate division")
    arguments = [In(x), Out((power / power.sum(1, keepdims=True)).astype(F32), bound), i32(columns), *SCRATCH]
    yield Case("tiles_softmax", "softmax", (rows,), (32 * variant.warps,), arguments, variant.shared)

    variant = VARIANTS["tiles_sort"]
    rng, n = seeded("tiles_sort"), 211
    x = rng.integers(-100000, 100000, n).astype(I32)
    counts = np.bincount(np.concatenate([x, np.zeros(256 - n, I32)]) & 31, minlength=32).astype(I32)
    arguments = [In(x), Out(np.sort(x)), Out(np.cumsum(x, dtype=I32)), Out(counts), i32(n), *SCRATCH]
    yield Case("tiles_sort", "sort_and_scan", (1,), (32 * variant.warps,), arguments, variant.shared)

    variant = VARIANTS["tiles_transpose"]
    rng, rows, columns = seeded("tiles_transpose"), 48, 37
    x = normal(rng, rows, columns, dtype=F16)
    arguments = [In(x), Out(x.T.copy()), i32(rows), i32(columns), *SCRATCH]
    yield Case("tiles_transpose", "transpose", (2, 2), (32 * variant.warps,), arguments, variant.shared, variant="tiles")


@group
def hopper():
    rng, chunks, chunk = seeded("hopper"), 5, 96
    x = normal(rng, chunks, chunk)
    yield Case("hopper", "bulk_square", (1,), (chunk,), [In(x), Out(x * x), i32(chunks)])

    n, grid, block = 1201, 8, 64
    x = rng.integers(0, 256, n).astype(U8)
    counts = np.zeros((grid, 16), np.int64)
    np.add.at(counts, (np.arange(n) // block % grid, x & 15), 1)
    weights = np.arange(1, 5)[:, None]
    total = (counts.reshape(grid // 4, 4, 16) * weights).sum(1)
    out = (np.repeat(total, 4, axis=0) + np.arange(grid)[:, None] % 4).astype(U32)
    yield Case("cluster", "cluster_histogram", (grid,), (block,), [In(x), Out(out), i32(n)])

    tiles = np.arange(256).reshape(4, 8, 8).transpose(0, 2, 1).astype(F16)
    one = np.ones(1, U32)
    yield Case("hopper", "store_tiles", (1,), (32,), [Out(tiles.copy()), InOut(one * 0, one)])


@group
def system():
    rng, n = seeded("system"), 75
    x = np.abs(normal(rng, n))
    yield Case("system", "guarded", (3,), (32,), [InOut(x, x + F32(0.5)), i32(n), In(I32([0]))])
    yield Case("system", "scratch", (1,), (64,), [Out(64 - np.arange(64, dtype=I32)), i32(64)])


E4M3, E5M2 = ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2


def as_bytes(values, kind):
    """8-bit floats by `ml_dtypes`, saturated to finite values; NaN has the one pattern that PTX gives it."""
    values = np.asarray(values, F32)
    largest = F32(ml_dtypes.finfo(kind).max)
    rounded = np.clip(values, -largest, largest).astype(kind).view(U8)
    return np.where(np.isnan(values), U8(0x7F), rounded)


def halves_of_bytes(codes, kind):
    values = codes.view(kind).astype(F16)
    return np.where(np.isnan(values), U16(0x7FFF), values.view(U16))


def pairs_of(low, high, shift, kind):
    return low.astype(kind) | high.astype(kind) << kind(shift)


def around(kind):
    """Every finite value of a type, the midpoints to the next, and the floats beside both."""
    finite = np.arange(256, dtype=U8).view(kind).astype(F32)
    finite = np.unique(finite[np.isfinite(finite)])
    middles = (finite[1:] + finite[:-1]) / 2
    exact = np.concatenate([finite, middles])
    return np.concatenate([exact, np.nextafter(exact, F32(np.inf)), np.nextafter(exact, F32(-np.inf))])


@group
def narrow_floats():
    special = F32([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1e-9, 3e38, -3e38, 447.9, 448.1, 464.0, 465.0, 61440.0, 57345.0])
    rng = seeded("narrow_floats")
    scales = F32(2.0) ** rng.integers(-20, 20, 300).astype(F32)
    x = np.concatenate([around(E4M3), around(E5M2), special, normal(rng, 300) * scales])
    x = x[: x.size // 2 * 2]
    n = x.size // 2
    grid = (blocks(n, 128),)
    for name, kind in (("e4m3", E4M3), ("e5m2", E5M2)):
        codes = as_bytes(x, kind)
        out = Out(pairs_of(codes[::2], codes[1::2], 8, U16))
        yield Case("narrow_floats", f"{name}_of_f32", grid, (128,), [In(x), out, i32(n)])
        with np.errstate(over="ignore"):
            halves = x.astype(F16)
        codes = as_bytes(halves, kind)
        out = Out(pairs_of(codes[::2], codes[1::2], 8, U16))
        yield Case("narrow_floats", f"{name}_of_f16", grid, (128,), [In(halves), out, i32(n)])
    every = np.arange(256, dtype=U8)
    both = [
        Out(pairs_of(halves_of_bytes(every, kind), halves_of_bytes(255 - every, kind), 16, U32)) for kind in (E4M3, E5M2)
    ]
    yield Case("narrow_floats", "f16_of_bytes", (1,), (256,), both)
    codes = as_bytes(x, E4M3)
    positive = as_bytes(np.where(x < 0, F32(0), x) + F32(0), E4M3)
    halves = halves_of_bytes(codes, E4M3)
    halves = np.where((halves & 0x8000) != 0, U16(0), halves)
    outs = [Out(pairs_of(positive[::2], positive[1::2], 8, U16)), Out(pairs_of(halves[::2], halves[1::2], 16, U32))]
    yield Case("narrow_floats", "relu", grid, (128,), [In(x), *outs, i32(n)])


@group
def simd():
    rng, n = seeded("simd"), 256
    edges = np.array([0, 1, 0x7FFF, 0x8000, 0xFFFF, 0x8001], dtype=U32)
    a, b = (rng.integers(0, 1 << 32, n, dtype=U64).astype(U32) for _ in range(2))
    a[:36] = np.repeat(edges, 6) << U32(16) | np.tile(edges, 6)
    b[:36] = np.tile(edges, 6) << U32(16) | np.repeat(edges, 6)

    def by_halves(f, kind):
        halves = lambda x: np.ascontiguousarray(x).view(U16).view(kind).astype(I32)
        return (f(halves(a), halves(b)) & 0xFFFF).astype(U16).view(U32)

    relu = lambda f: lambda x, y: np.maximum(f(x, y), 0)
    x, y = a.view(I32).astype(I64), b.view(I32).astype(I64)
    columns = [
        by_halves(np.maximum, I16), by_halves(np.minimum, I16), by_halves(np.maximum, U16), by_halves(np.minimum, U16),
        by_halves(np.add, U16), by_halves(relu(np.maximum), I16), by_halves(relu(np.minimum), I16),
        (np.maximum(np.maximum(x, y), 0) - np.maximum(np.minimum(x, y), 0)).astype(U32),
    ]
    yield Case("simd", "halves", (1,), (n,), [In(a), In(b), Out(np.stack(columns, 1))])

    # Numbers of every magnitude, so that each type saturates some and keeps some.
    x, y = (rng.integers(-(1 << 31), 1 << 31, n) >> rng.integers(0, 32, n) for _ in range(2))
    x[:8], y[:8] = [0, -1, 1, 255, 256, -128, -129, 32767], [-32768, 65535, 65536, 15, -8, -9, 3, -2]
    columns = []
    for bits in (8, 4, 2, 16):
        for least, most in ((0, (1 << bits) - 1), (-(1 << bits - 1), (1 << bits - 1) - 1)):
            high, low = (np.clip(v, least, most).astype(I64) & ((1 << bits) - 1) for v in (x, y))
            above = a.astype(I64) << 2 * bits if bits < 16 else 0
            columns.append(((low | high << bits | above) & 0xFFFFFFFF).astype(U32))
    yield Case("simd", "pack", (1,), (n,), [In(x.astype(I32)), In(y.astype(I32)), In(a), Out(np.stack(columns, 1))])


@group
def vector_atomics():
    rng, n = seeded("vector_atomics"), 96
    # Small integers: sums are exact in any order.
    x = rng.integers(-50, 50, (n, 4)).astype(F32)
    before = rng.integers(-50, 50, (n, 4)).astype(F32)
    sums = np.stack([x[i::3].sum(0, dtype=F32) for i in range(3)])
    after = before + x
    after[:, :2] += x[:, 2:]
    old = np.concatenate([before[:, :2], before[:, :2] + x[:, :2]], 1)
    arguments = [InOut(np.zeros((3, 4), F32), sums), In(x), InOut(before, after), Out(old)]
    yield Case("vector_atomics", "add_vectors", (1,), (n,), arguments)
    x = rng.integers(-20, 20, (n, 8)).astype(F16)
    sums = np.stack([x[i::2].astype(F32).sum(0).astype(F16) for i in range(2)])
    most = np.stack([np.maximum(x[i::2].max(0), F16(0)) for i in range(2)])
    start, end = np.zeros((4, 8), F16), np.concatenate([sums, most])
    yield Case("vector_atomics", "reduce_halves", (1,), (n,), [InOut(start, end), In(x)])
