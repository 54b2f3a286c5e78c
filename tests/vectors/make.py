"""Vectors for the operators of ../src/operators.rs: inputs from fixed seeds, outputs in float64.

Writes index.json and vectors.bin; needs numpy alone. Each operator is computed from its formula, in
float64 (or exact integers), from the inputs as stored, that is after rounding them to their element type.
Its signature there is checked against the arrays.
"""

import dataclasses
import json
import math
import pathlib
import re

import numpy as np

HERE = pathlib.Path(__file__).parent

erf = np.vectorize(math.erf, otypes=[float])
gelu = lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2)))
sigmoid = lambda x: 1 / (1 + np.exp(-x))
silu = lambda x: x * sigmoid(x)


# Storage: what a Tensor<T, …> holds.

NUMPY = {"f32": "<f4", "f16": "<f2", "f64": "<f8", "i8": "i1", "u8": "u1", "i32": "<i4", "i64": "<i8", "bool": "u1", "bf16": "<u2"}
# Bits of significand of a result, and its smallest step: what one rounding may cost.
PRECISION = {"f64": (53, 2.0**-1074), "f32": (24, 2.0**-149), "f16": (11, 2.0**-24), "bf16": (8, 2.0**-133)}


def stored(values: np.ndarray, element: str) -> np.ndarray:
    """As the bytes of a tensor, to nearest even."""
    if element == "bf16":
        bits = np.asarray(values, np.float32).view(np.uint32)
        return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2")
    return np.asarray(values).astype(NUMPY[element])


def value(data: np.ndarray, element: str) -> np.ndarray:
    """What the bytes mean: float64, or int64."""
    if element == "bf16":
        return (data.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return data.astype(np.float64 if element in PRECISION else np.int64)


@dataclasses.dataclass
class Tensor:
    element: str
    data: np.ndarray

    @property
    def value(self):
        return value(self.data, self.element)


class Inputs:
    """Named random arguments of one case."""

    def __init__(self, name: str):
        self.random = np.random.default_rng([ord(letter) for letter in name])
        self.arguments: dict[str, Tensor | tuple[str, float]] = {}

    def given(self, name, element, values):
        tensor = Tensor(element, stored(values, element))
        self.arguments[name] = tensor
        return tensor.value

    def normal(self, name, element, *shape, scale=1.0):
        return self.given(name, element, self.random.standard_normal(shape) * scale)

    def whole(self, name, element, low, high, *shape):
        return self.given(name, element, self.random.integers(low, high, shape))

    def scalar(self, name, element, number):
        number = value(stored(np.array(number), element), element).item()
        self.arguments[name] = (element, number)
        return number


@dataclasses.dataclass
class Result:
    """An output of an operator. `magnitude` is the largest sum of absolute terms behind any element:
    the scale at which arithmetic in f32 (f64 where the operator is f64) loses its last bits."""

    element: str
    values: np.ndarray
    magnitude: float = 0.0
    units: int | None = None  # for single functions: this many units in the last place, and no more
    inner: float = 0.0  # what the source's own roundings inside may cost

    def tolerance(self) -> dict:
        if self.element not in PRECISION:
            return {"abs": 0.0, "rel": 0.0}
        bits, step = PRECISION[self.element]
        if self.units is not None:
            return {"abs": step * (self.units > 0), "rel": self.units * 2.0 ** (1 - bits)}
        lost = 2.0**-46 if self.element == "f64" else 2.0**-18
        return {"abs": max(lost / 4 * self.magnitude, step) + self.inner, "rel": max(2.0 ** (1 - bits), lost)}


CASES = []


def case(*names):
    """Registers a function that makes the case(s) of these names: called with Inputs, returns Results."""

    def register(function):
        CASES.extend((name, function) for name in names)
        return function

    return register


# Products

def last(name: str) -> str:
    """The element type that a name ends in."""
    return name.rsplit("_", 1)[1]


@case("linear_gelu_f32", "linear_gelu_f16")
def linear_gelu(name, new):
    t = last(name)
    x, w, b = new.normal("x", t, 13, 53), new.normal("w", t, 37, 53, scale=0.2), new.normal("b", t, 37)
    y = x @ w.T + b
    return Result(t, gelu(y), np.max(np.abs(x) @ np.abs(w.T)))


@case("linear_bf16")
def linear(name, new):
    x, w, b = new.normal("x", "bf16", 11, 67), new.normal("w", "bf16", 31, 67, scale=0.2), new.normal("b", "bf16", 31)
    return Result("bf16", x @ w.T + b, np.max(np.abs(x) @ np.abs(w.T)))


@case("matvec_f16")
def matvec(name, new):
    x, w = new.normal("x", "f16", 1, 389), new.normal("w", "f16", 29, 389, scale=0.1)
    return Result("f16", x @ w.T, np.max(np.abs(x) @ np.abs(w.T)))


@case("matmul_f64")
def matmul_f64(name, new):
    a, b = new.normal("a", "f64", 17, 29), new.normal("b", "f64", 29, 19)
    exact = (a.astype(np.longdouble) @ b.astype(np.longdouble)).astype(np.float64)
    return Result("f64", exact, np.max(np.abs(a) @ np.abs(b)))


@case("matmul_transposed_f16")
def matmul_transposed(name, new):
    a, b = new.normal("a", "f16", 47, 23), new.normal("b", "f16", 29, 47)
    return Result("f32", a.T @ b.T, np.max(np.abs(a.T) @ np.abs(b.T)))


@case("batched_matmul_f32", "batched_matmul_f16")
def batched_matmul(name, new):
    t = last(name)
    a, b = new.normal("a", t, 3, 13, 31), new.normal("b", t, 3, 31, 17)
    return Result(t, a @ b, np.max(np.abs(a) @ np.abs(b)))


@case("matmul_i8")
def matmul_i8(name, new):
    a, b = new.whole("a", "i8", -128, 128, 19, 71), new.whole("b", "i8", -128, 128, 23, 71)
    return Result("i32", a @ b.T)


@case("linear_scaled_i8")
def linear_scaled(name, new):
    x = new.normal("x", "f16", 5, 83)
    w = new.whole("w", "i8", -127, 128, 29, 83)
    scale = new.given("scale", "f32", new.random.uniform(0.001, 0.02, 29))
    return Result("f16", x @ w.T * scale, np.max(np.abs(x) @ np.abs(w.T) * scale))


@case("attention_f16")
def attention(name, new):
    q, k = new.normal("q", "f16", 21, 4, 32), new.normal("k", "f16", 37, 2, 32)
    v, scale = new.normal("v", "f16", 37, 2, 32), new.scalar("scale", "f32", 0.3)
    k, v = np.repeat(k, 2, axis=1), np.repeat(v, 2, axis=1)
    scores = scale * np.einsum("the,she->ths", q, k)
    scores[np.broadcast_to(np.arange(37) > np.arange(21)[:, None, None], scores.shape)] = -np.inf
    weights = np.exp(scores - scores.max(axis=2, keepdims=True))
    weights /= weights.sum(axis=2, keepdims=True)
    mean = lambda v: np.einsum("ths,she->the", weights, v)
    # A weight is rounded to f16 before and after it is rescaled.
    return Result("f16", mean(v), np.max(mean(np.abs(v))) * 64, inner=2.0**-10 * np.max(mean(np.abs(v))))


# Convolutions and pooling

def windows(x, shape, stride, dilation, pad, fill):
    """x[…, ho * stride + r * dilation - pad, …] with axes (…, ho, wo, r, s); `fill` outside."""
    x = np.pad(x, [(0, 0)] * (x.ndim - 2) + [(pad, pad)] * 2, constant_values=fill)
    extent = [(size - 1) * dilation + 1 for size in shape]
    view = np.lib.stride_tricks.sliding_window_view(x, extent, axis=(-2, -1))
    return view[..., ::stride, ::stride, ::dilation, ::dilation]


@case("conv_stride_f32", "conv_stride_f16")
def conv_stride(name, new):
    t = last(name)
    x, w = new.normal("x", t, 2, 5, 13, 11), new.normal("w", t, 7, 5, 3, 3, scale=0.3)
    seen = windows(x, (3, 3), 2, 1, 1, 0)
    convolve = lambda p, q: np.einsum("bchvrs,ocrs->bohv", p, q)
    return Result(t, convolve(seen, w), np.max(convolve(np.abs(seen), np.abs(w))))


@case("conv_grouped_f32")
def conv_grouped(name, new):
    x, w = new.normal("x", "f32", 2, 3, 4, 7, 5), new.normal("w", "f32", 3, 5, 4, 3, 3)
    seen = windows(x, (3, 3), 1, 2, 2, 0)
    convolve = lambda p, q: np.einsum("bgchvrs,gocrs->bgohv", p, q)
    return Result("f32", convolve(seen, w), np.max(convolve(np.abs(seen), np.abs(w))))


@case("conv_depthwise_f16")
def conv_depthwise(name, new):
    x, w = new.normal("x", "f16", 1, 7, 11, 13), new.normal("w", "f16", 7, 5, 3)
    seen = windows(np.pad(x, [(0, 0)] * 2 + [(1, 1), (0, 0)]), (5, 3), 1, 1, 1, 0)
    convolve = lambda p, q: np.einsum("bchvrs,crs->bchv", p, q)
    return Result("f16", convolve(seen, w), np.max(convolve(np.abs(seen), np.abs(w))))


@case("max_pool_f32")
def max_pool(name, new):
    x = new.normal("x", "f32", 2, 3, 13, 17)
    return Result("f32", windows(x, (3, 3), 2, 1, 1, -np.inf).max(axis=(-2, -1)), units=0)


@case("mean_pool_masked_f32")
def mean_pool_masked(name, new):
    x = new.normal("x", "f32", 3, 23, 37)
    lengths = np.array([23, 1, 14])
    mask = new.given("mask", "i32", np.arange(23)[None] < lengths[:, None])
    return Result("f32", np.einsum("btd,bt->bd", x, mask) / mask.sum(1)[:, None], np.abs(x).max())


# Rows

def softmax_of(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@case("softmax_f32", "softmax_bf16")
def softmax(name, new):
    t = last(name)
    return Result(t, softmax_of(new.normal("x", t, 5, 331, scale=3.0)))


@case("log_softmax_f32")
def log_softmax(name, new):
    x = new.normal("x", "f32", 7, 211, scale=3.0)
    shifted = x - x.max(-1, keepdims=True)
    return Result("f32", shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)), np.abs(shifted).max())


@case("layer_norm_f32", "layer_norm_f16")
def layer_norm(name, new):
    t = last(name)
    x, weight, bias = new.normal("x", t, 5, 389), new.normal("weight", t, 389), new.normal("bias", t, 389)
    centred = x - x.mean(-1, keepdims=True)
    unit = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return Result(t, unit * weight + bias, np.abs(unit * weight).max())


@case("rms_norm_bf16")
def rms_norm(name, new):
    x, weight = new.normal("x", "bf16", 5, 257), new.normal("weight", "bf16", 257)
    return Result("bf16", x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * weight)


@case("l2_normalise_f32")
def l2_normalise(name, new):
    x = new.normal("x", "f32", 3, 383)
    return Result("f32", x / np.sqrt((x**2).sum(-1, keepdims=True)))


@case("variance_f32")
def variance(name, new):
    x = new.given("x", "f32", new.random.standard_normal((23, 101)) + 3)
    return Result("f32", x.var(-1), (x.var(-1)).max())


@case("argmax_f32")
def argmax(name, new):
    x = new.random.integers(-30, 31, (13, 149)).astype(np.float64)  # ties: the lowest index
    x[3, 140], x[5, 77], x[5, 78] = np.nan, np.nan, np.inf  # a NaN wins
    x[7] = -np.inf
    x = new.given("x", "f32", x)
    return Result("i32", x.argmax(-1))


@case("extremes_i32")
def extremes(name, new):
    x = new.whole("x", "i32", -(1 << 31), 1 << 31, 7, 61)
    return Result("i32", x.min(-1)), Result("i32", x.max(-1)), Result("i32", x.argmin(-1))


@case("column_sum_f16")
def column_sum(name, new):
    x = new.normal("x", "f16", 211, 29)
    return Result("f32", x.sum(0), np.abs(x).sum(0).max())


@case("softmax_columns_f32")
def softmax_columns(name, new):
    return Result("f32", softmax_of(new.normal("x", "f32", 61, 44, scale=3.0).T).T)


def normed(x, axes):
    centred = x - x.mean(axes, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axes, keepdims=True) + 1e-5)


@case("layer_norm_first_f16")
def layer_norm_first(name, new):
    x, gain, shift = new.normal("x", "f16", 2, 37, 24), new.normal("gain", "f16", 37), new.normal("shift", "f16", 37)
    scaled = normed(x, (1,)) * gain[:, None]
    return Result("f16", scaled + shift[:, None], np.abs(scaled).max())


@case("group_norm_last_bf16")
def group_norm_last(name, new):
    x = new.normal("x", "bf16", 2, 29, 3, 10)
    gain, shift = new.normal("gain", "bf16", 3, 10), new.normal("shift", "bf16", 3, 10)
    scaled = normed(x, (1, 3)) * gain
    return Result("bf16", scaled + shift, np.abs(scaled).max())


@case("norm_gradients_f16")
def norm_gradients(name, new):
    x, grad = new.normal("x", "f16", 83, 40), new.normal("grad", "f16", 83, 40)
    mean, scale = new.normal("mean", "f32", 83), new.normal("scale", "f32", 83)
    terms = grad * (x - mean[:, None]) * scale[:, None]
    return (
        Result("f32", terms.sum(0), np.abs(grad * (np.abs(x) + np.abs(mean[:, None])) * scale[:, None]).sum(0).max()),
        Result("f32", grad.sum(0), np.abs(grad).sum(0).max()),
    )


@case("cross_entropy_f32")
def cross_entropy(name, new):
    x, label = new.normal("x", "f32", 6, 233, scale=3.0), new.whole("label", "i64", 0, 233, 6)
    peak = x.max(-1)
    mass = np.exp(x - peak[:, None]).sum(-1)
    return Result("f32", peak + np.log(mass) - x[np.arange(6), label], 16.0)


@case("packed_sum_f32")
def packed_sum(name, new):
    x = new.normal("x", "f32", 90, 20)
    first = new.given("first", "i32", np.array([0, 31, 31, -4, 70], np.float64))
    last = new.given("last", "i32", np.array([31, 31, 70, 2, 200], np.float64))
    parts = [x[max(int(a), 0) : max(int(b), 0)].sum(0) for a, b in zip(first, last)]
    return Result("f32", np.stack(parts), np.abs(x).sum(0).max())


@case("running_max_f32")
def running_max(name, new):
    return Result("f32", np.maximum.accumulate(new.normal("x", "f32", 5, 70), 1))


@case("column_extremes_f32")
def column_extremes(name, new):
    x = new.random.integers(-30, 31, (2, 71, 20)).astype(np.float64)  # ties: the lowest index
    x[0, 7, 3], x[0, 9, 3], x[1, :, 5] = np.nan, np.inf, np.inf
    x = new.given("x", "f32", x)
    return Result("i32", x.argmax(1)), Result("f32", x.min(1))


@case("total_f32")
def total(name, new):
    x = new.normal("x", "f32", 17, 59)
    return Result("f32", np.array(x.sum()), np.abs(x).sum())


@case("empty_sum_f32")
def empty_sum(name, new):
    a, b = new.normal("a", "f32", 3, 0), new.normal("b", "f32", 0, 5)
    return Result("f32", a @ b, units=0)


# Transformers

@case("embedding_f16")
def embedding(name, new):
    table = new.normal("table", "f16", 97, 43)
    ids = new.random.integers(0, 97, 31)
    ids[[4, 9, 12]] = [-1, 97, 1 << 30]  # out of range: zeros
    ids = new.given("ids", "i32", ids)
    inside = (ids >= 0) & (ids < 97)
    return Result("f16", np.where(inside[:, None], table[np.clip(ids, 0, 96)], 0.0), units=0)


@case("rotary_f32", "rotary_f16")
def rotary(name, new):
    t = last(name)
    x = new.normal("x", t, 19, 3, 26)
    angle = np.arange(19)[:, None] / 10000 ** (np.arange(13) / 13)
    cos, sin = new.given("cosine", t, np.cos(angle))[:, None], new.given("sine", t, np.sin(angle))[:, None]
    low, high = x[..., :13], x[..., 13:]
    return Result(t, np.concatenate([low * cos - high * sin, high * cos + low * sin], axis=-1), 2 * np.abs(x).max())


@case("silu_product_f16", "silu_product_bf16")
def silu_product(name, new):
    t = last(name)
    return Result(t, silu(new.normal("gate", t, 17, 71, scale=2.0)) * new.normal("up", t, 17, 71))


@case("causal_scores_f16")
def causal_scores(name, new):
    q, k = new.normal("q", "f16", 3, 21, 32), new.normal("k", "f16", 3, 21, 32)
    scores = q @ k.transpose(0, 2, 1) / math.sqrt(32)
    visible = np.arange(21)[:, None] >= np.arange(21)
    return Result("f32", np.where(visible, scores, -np.inf), np.max(np.abs(q) @ np.abs(k).transpose(0, 2, 1)))


@case("causal_softmax_f32")
def causal_softmax(name, new):
    x = new.normal("x", "f32", 2, 29, 29, scale=3.0)
    return Result("f32", softmax_of(np.where(np.arange(29)[:, None] >= np.arange(29), x, -np.inf)))


# Elements

@case("transpose_f16")
def transpose(name, new):
    return Result("f16", new.normal("x", "f16", 3, 23, 17).transpose(0, 2, 1), units=0)


@case("functions_f32", "functions_f64")
def functions(name, new):
    t = last(name)
    x = new.normal("x", t, 173, scale=3.0).astype(np.longdouble)
    y = new.given("y", t, new.random.uniform(0.01, 9.0, 173)).astype(np.longdouble)
    bound = 2 if t == "f64" else 4
    one = lambda values: Result(t, np.asarray(values).astype(np.float64), units=bound)
    sigmoids = Result(t, sigmoid(x).astype(np.float64), units=2 * bound)  # an exponential, a sum and a quotient
    return (one(np.exp(x)), one(np.log(y)), one(np.tanh(x)), one(erf(x)), one(np.sin(x)), one(np.cos(x)), one(np.power(y, x)),
            one(1 / np.sqrt(y)), sigmoids)


@case("axpby_f32")
def axpby(name, new):
    x, y = new.normal("x", "f32", 509), new.normal("y", "f32", 509)
    a, b = new.scalar("a", "f32", 1.3), new.scalar("b", "f32", -0.7)
    return Result("f32", a * x + b * y, np.abs(a * x).max() + np.abs(b * y).max())


@case("rounded_f32")
def rounded(name, new):
    x = new.random.standard_normal(131) * 100
    x[:11] = [0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49999997, 8388609.0, 3e9, -3e9, np.nan]
    x = new.given("x", "f32", x)
    half_away = np.copysign(np.floor(np.abs(x) + 0.5), x)
    as_i32 = np.where(np.isnan(x), 0, np.clip(np.trunc(np.nan_to_num(x)), -(2.0**31), 2.0**31 - 1)).astype(np.int64)
    exact = lambda values: Result("f32", values, units=0)
    return exact(half_away), exact(np.floor(x)), exact(np.ceil(x)), Result("i32", as_i32)


@case("integers_i32")
def integers(name, new):
    a, b = new.whole("a", "i32", -(1 << 31), 1 << 31, 101), new.whole("b", "i32", -9, 10, 101)  # b holds zeros
    quotient = np.array([0 if y == 0 else abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1) for x, y in zip(a.tolist(), b.tolist())])
    remainder = a - quotient * b
    wrap = lambda v: (v.astype(np.int64) + (1 << 31)) % (1 << 32) - (1 << 31)
    return Result("i32", wrap(a * b + 7)), Result("i32", wrap(quotient)), Result("i32", remainder)


@case("between_f32")
def between(name, new):
    x = new.normal("x", "f32", 127)
    x[4] = np.nan
    x = new.given("x", "f32", x)
    low, high = new.scalar("low", "f32", -0.5), new.scalar("high", "f32", 0.75)
    return Result("bool", (x >= low) & (x < high))


@case("relu_nan_f16")
def relu_nan(name, new):
    x = new.random.standard_normal((3, 41))
    x[0, 5], x[1, 7], x[2, 9] = np.nan, np.inf, -np.inf
    x = new.given("x", "f16", x)
    return Result("f16", np.maximum(x, 0), units=0), Result("f16", np.max(x, axis=1), units=0)


# Writing

# Sums of sums

@case("group_scales_i8")
def group_scales(name, new):
    x, x_scale = new.whole("x", "i8", -128, 128, 19, 5, 32), new.given("x_scale", "f32", new.random.uniform(0.001, 0.02, (19, 5)))
    w, w_scale = new.whole("w", "i8", -128, 128, 23, 5, 32), new.given("w_scale", "f32", new.random.uniform(0.001, 0.02, (23, 5)))
    groups = np.einsum("mci,nci->mnc", x, w)
    scales = x_scale[:, None] * w_scale
    return Result("f32", (groups * scales).sum(-1), (np.einsum("mci,nci->mnc", np.abs(x), np.abs(w)) * scales).sum(-1).max())


@case("group_scales_columns_f16")
def group_scales_columns(name, new):
    x, w = new.normal("x", "f16", 2, 17, 3, 48), new.normal("w", "f16", 3, 48, 21)
    scale, most = new.normal("scale", "f16", 3, 21), new.scalar("most", "f32", 2.5)
    groups = np.einsum("bmci,cin->bmnc", x, w)
    magnitude = np.einsum("bmci,cin->bmnc", np.abs(x), np.abs(w))
    scales = np.abs(scale).T
    return (
        Result("f32", (groups * scale.T).sum(-1), (magnitude * scales).sum(-1).max()),
        Result("bf16", np.minimum(groups, most).sum(-1) * 0.5, magnitude.sum(-1).max()),
    )


@case("group_scales_bytes_u8")
def group_scales_bytes(name, new):
    x, w = new.whole("x", "u8", 0, 256, 2, 3, 40, 18), new.whole("w", "i8", -128, 128, 2, 3, 40, 26)
    zero = new.whole("zero", "i8", -128, 128, 2, 3, 26)
    return Result("i32", np.einsum("cdim,cdin,cdn->mn", x, w, zero))


def main() -> None:
    source = (HERE / "../src/operators.rs").read_text(encoding="utf-8")
    # Signatures of several lines as one.
    for pattern, joined in [(r",\n\s+", ", "), (r"\(\n\s*", "("), (r",?\n\s*\)", ")")]:
        source = re.sub(pattern, joined, source)
    data, index = bytearray(), []

    def append(array):
        data.extend(b"\0" * (-len(data) % 8))
        offset = len(data)
        data.extend(array.tobytes())
        return {"shape": list(array.shape), "offset": offset, "bytes": array.nbytes}

    for name, function in CASES:
        new = Inputs(name)
        with np.errstate(invalid="ignore"):
            results = function(name, new)
        results = results if isinstance(results, tuple) else (results,)
        sizes = checked_signature(source, name, new, results)
        inputs, outputs = [], []
        for key, argument in new.arguments.items():
            if isinstance(argument, Tensor):
                inputs.append({"name": key, "type": argument.element, **append(argument.data)})
            else:
                inputs.append({"name": key, "type": argument[0], "value": argument[1]})
        for result in results:
            values = np.ascontiguousarray(result.values).reshape(np.shape(result.values))
            kept = values.astype("<f8" if result.element in PRECISION else "<i8")
            outputs.append({"type": result.element, **result.tolerance(), **append(kept)})
        index.append({"operator": name, "sizes": sizes, "inputs": inputs, "outputs": outputs})

    (HERE / "vectors.bin").write_bytes(data)
    (HERE / "index.json").write_text("[\n" + ",\n".join(map(lines, index)) + "\n]\n")
    print(f"{len(index)} operators, {len(data)} bytes")


def lines(entry: dict) -> str:
    """One operator as JSON, one tensor a line."""
    rows = lambda key: ",\n".join(f"    {json.dumps(row)}" for row in entry[key])
    return (f'  {{"operator": "{entry["operator"]}", "sizes": {json.dumps(entry["sizes"])},\n'
            f'   "inputs": [\n{rows("inputs")}],\n   "outputs": [\n{rows("outputs")}]}}')


def checked_signature(source: str, name: str, new: Inputs, results: tuple) -> dict[str, int]:
    """The sizes of a case, from the operator's signature in operators.rs, which must agree with its arrays."""
    # rustfmt breaks long signatures.
    signature = rf"#\[energy_kernel([^\]]*)\]\npub fn {name}\(([^{{]*)\) -> ([^{{]*) {{\n"
    attribute, parameters, result = (" ".join(part.split()) for part in re.search(signature, source).groups())
    tensors = lambda text: re.findall(r"Tensor<(\w+), \(([\w, ]*)\)>", text)
    sizes: dict[str, int] = {}
    names = re.findall(r"(\w+): (?:Tensor|\w+)", parameters)
    assert names == list(new.arguments), (name, names)
    shapes = iter(tensors(parameters))
    for parameter in names:
        argument = new.arguments[parameter]
        if not isinstance(argument, Tensor):
            assert f"{parameter}: {argument[0]}" in parameters, (name, parameter)
            continue
        element, dims = next(shapes)
        dims = [dim for dim in dims.replace(" ", "").split(",") if dim]
        assert element == argument.element and len(dims) == argument.data.ndim, (name, parameter)
        for dim, extent in zip(dims, argument.data.shape):
            assert sizes.setdefault(dim, extent) == extent, (name, parameter, dim)
    if derived := re.search(r"dims\((.*)\)\)$", attribute):
        for definition in derived[1].split(","):
            size, formula = definition.split("=")
            sizes[size.strip()] = eval(formula.replace("/", "//"), {}, dict(sizes))
    declared = tensors(result)
    assert len(declared) == len(results), name
    for (element, dims), given in zip(declared, results):
        shape = tuple(sizes[dim] for dim in dims.replace(" ", "").split(",") if dim)
        assert element == given.element and shape == np.shape(given.values), (name, element, shape, np.shape(given.values))
    return sizes


if __name__ == "__main__":
    main()
