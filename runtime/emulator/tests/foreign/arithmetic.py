"""Exact floating-point arithmetic for the expected results: one rounding per operation.

numpy rounds `+ - * / sqrt` of float32 and float64 correctly. What it lacks is here: fused
multiply-add, directed rounding, and bfloat16 (held as its 16 bits in uint16).
"""

from fractions import Fraction

import numpy as np

INTEGER = {np.dtype(np.float64): np.int64, np.dtype(np.float32): np.int32, np.dtype(np.float16): np.int16}


def to_odd(rounded, error):
    """`rounded`, an inexact float64 or float32 with its rounding `error`, rounded to odd instead.

    A value rounded to odd can be rounded again, to a format at least two bits narrower, as if it
    had been exact.
    """
    bits = rounded.view(INTEGER[rounded.dtype])
    move = np.where((error > 0) == (rounded > 0), 1, -1).astype(bits.dtype)
    inexact = (error != 0) & np.isfinite(rounded) & np.isfinite(error)
    return np.where(inexact & (bits & 1 == 0), bits + move, bits).view(rounded.dtype)


def fma(a, b, c, narrow=np.float32):
    """a * b + c with one rounding. The operands are float32 or narrower, `narrow` names the result:
    np.float32, np.float16, or "bf16" (see `bf16`)."""
    with np.errstate(all="ignore"):
        product = np.multiply(a, b, dtype=np.float64)  # exact: 24 + 24 bits
        addend = np.asarray(c, np.float64)
        total = product + addend
        part = total - product
        error = (product - (total - part)) + (addend - part)
        exact = to_odd(np.atleast_1d(total), np.atleast_1d(error)).reshape(total.shape)
        return bf16(exact) if narrow == "bf16" else exact.astype(narrow)


def bf16(x):
    """float64 or float32 to bfloat16 bits, to nearest even."""
    x = np.asarray(x)
    with np.errstate(all="ignore"):
        single = x.astype(np.float32)
        single = to_odd(np.atleast_1d(single), np.atleast_1d(x - single.astype(np.float64))).reshape(x.shape)
    bits = single.view(np.uint32)
    rounded = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(single), np.uint16(0x7FFF), rounded)


def from_bf16(bits):
    """bfloat16 bits to float32, exactly."""
    return (np.asarray(bits, np.uint32) << 16).view(np.float32)


def directed(mode, nearest, compare):
    """Corrects correctly rounded results to another rounding mode.

    `mode` is "rn", "rz", "ru" or "rd"; `compare(i)` is the sign of (exact - nearest) of element i.
    """
    out = nearest.copy()
    for i in range(out.size):
        sign = 0 if np.isnan(out[i]) else compare(i)
        down = mode == "rd" or mode == "rz" and out[i] > 0
        up = mode == "ru" or mode == "rz" and out[i] < 0
        if sign < 0 and down or sign > 0 and up:
            with np.errstate(over="ignore"):
                out[i] = np.nextafter(out[i], out.dtype.type(np.inf * sign))
    return out


def sign_of(exact: Fraction, nearest) -> int:
    """The sign of exact - nearest, where `nearest` may have overflowed."""
    if np.isinf(nearest):
        return -1 if nearest > 0 else 1
    difference = exact - Fraction(float(nearest))
    return (difference > 0) - (difference < 0)
