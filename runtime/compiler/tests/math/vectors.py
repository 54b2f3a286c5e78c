"""Writes `vectors.bin`: arguments of binary64 functions with their values to 50 digits and more. Needs mpmath.

Records of 36 bytes, little-endian: the function's number (u32), its two arguments (f64), the value rounded (f64) and
what the rounding left (f64).

    python3 vectors.py
"""

import math
import os
import random
import struct

from mpmath import cos, erf, erfc, exp, fabs, inf, isinf, log, mp, mpf, sin, sqrt, tanh

mp.dps = 60
random.seed(1)


def gelu(x):
    return x / 2 * erfc(-x / sqrt(mpf(2)))


def sigmoid(x):
    return 1 / (1 + exp(-x))


def precise(function):
    """With digits enough for the reduction of the largest arguments."""

    def evaluate(x):
        mp.dps = 400
        value = function(x)
        mp.dps = 60
        return +value

    return evaluate


def uniform(low, high, count):
    return [random.uniform(low, high) for _ in range(count)]


def magnitudes(low, high, count):
    """Of every size and both signs."""
    return [math.ldexp(random.uniform(1, 2), random.randint(low, high)) * random.choice([-1, 1]) for _ in range(count)]


def near(points, count):
    return [p * (1 + random.uniform(-1, 1) * 2.0 ** -random.randint(1, 50)) for p in points for _ in range(count)]


def positive(xs):
    return [abs(x) for x in xs]


half_turns = [k * math.pi / 2 for k in [1, 2, 3, 4, 5, 10, 100, 1001, 65535, 500000, 667543, 700001]]
# The double nearest to a multiple of π/2 relative to its size, and neighbours of the switch between reductions.
hard_turns = [6381956970095103.0 * 2.0**797, 2.0**20, math.nextafter(2.0**20, 0), 2.0**1023, 1.7976931348623157e308]
angles = uniform(-10, 10, 120) + near(half_turns, 6) + magnitudes(-40, 19, 60) + magnitudes(20, 1023, 120) + hard_turns

plain = {
    1: (exp, uniform(-1, 1, 80) + uniform(-745, 709.7, 120) + uniform(-745.1, -708, 60) + magnitudes(-60, 8, 60)),
    2: (log, positive(uniform(0.5, 2, 120) + near([1.0], 80) + magnitudes(-1074, 1023, 100) + near([2**0.5, 0.5**0.5], 20))),
    3: (lambda x: 1 / sqrt(x), positive(uniform(0.25, 4, 150) + magnitudes(-1074, 1023, 150))),
    4: (tanh, uniform(-1, 1, 150) + uniform(-20, 20, 100) + near([0.6], 20) + magnitudes(-60, 3, 60)),
    5: (erf, uniform(-1.1, 1.1, 120) + uniform(-6, 6, 120) + near([1.0], 20) + magnitudes(-60, 2, 60)),
    6: (precise(sin), angles),
    7: (precise(cos), angles),
    8: (gelu, uniform(-3, 3, 120) + uniform(-38.5, 0, 160) + uniform(0, 40, 30) + magnitudes(-60, 3, 60)),
    9: (lambda x: x * sigmoid(x), uniform(-3, 3, 100) + uniform(-750, 20, 160) + magnitudes(-60, 9, 60)),
    10: (sigmoid, uniform(-3, 3, 100) + uniform(-744, 40, 160) + magnitudes(-60, 9, 60)),
}


def power_pairs():
    pairs = []
    for _ in range(200):
        # Any result, from the smallest to the largest.
        x = math.ldexp(random.uniform(1, 2), random.choice([random.randint(-1074, 1023), random.randint(-3, 3)]))
        if x != 1.0:
            pairs.append((x, random.uniform(-745, 709) / math.log(x)))
    for _ in range(100):
        x = 1 + random.uniform(-1, 1) * 2.0 ** -random.randint(2, 45)
        if x != 1.0:
            pairs.append((x, random.uniform(-700, 700) / math.log(x)))
    pairs += [(random.uniform(0.01, 100), random.uniform(-20, 20)) for _ in range(100)]
    return pairs


def integer_power_pairs():
    pairs = []
    for _ in range(200):
        n = random.choice([random.randint(-30, 30), random.randint(-1000, 1000), random.randint(-(2**31), 2**31 - 1)])
        if n:
            limit = min(700 / abs(n), 300)
            pairs.append((math.exp(random.uniform(-limit, limit)) * random.choice([-1, 1]), float(n)))
    return pairs


def record(function, x, y, value):
    high = float(value)
    if isinf(value) or math.isinf(high):
        return b""
    low = float(value - mpf(high))
    return struct.pack("<Idddd", function, x, y, high, low)


path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "vectors.bin")
with open(path, "wb") as out:
    for number, (function, arguments) in plain.items():
        for x in arguments:
            out.write(record(number, x, 0.0, function(mpf(x))))
    for x, y in power_pairs():
        out.write(record(11, x, y, mpf(x) ** mpf(y)))
    for x, n in integer_power_pairs():
        out.write(record(12, x, n, mpf(x) ** int(n)))
