"""Prints the polynomial coefficients and the constants of `src/lower/math`.

Each polynomial interpolates its function at the Chebyshev nodes of its interval, which is within a small factor of the
best one; the second column is the largest error on a dense grid, as a power of two. Needs mpmath.

    python3 fit_math.py
"""

from mpmath import atanh, cos, erfc, erf, exp, expm1, floor, log, log1p, lu_solve, matrix, mp, mpf, pi, sin, sqrt, tanh

mp.dps = 80


def fit(name, function, low, high, degree, weight=lambda x: mpf(1)):
    """Coefficients, lowest first. `weight` scales the reported error: what an error of the polynomial does to the result."""
    low, high = mpf(low), mpf(high)
    count = degree + 1
    nodes = [(low + high) / 2 + (high - low) / 2 * cos(pi * (2 * i + 1) / (2 * count)) for i in range(count)]
    powers = matrix(count, count)
    for i, x in enumerate(nodes):
        for j in range(count):
            powers[i, j] = x**j
    coefficients = list(lu_solve(powers, matrix([function(x) for x in nodes])))

    def value(x):
        total = mpf(0)
        for c in reversed(coefficients):
            total = total * x + c
        return total

    grid = [low + (high - low) * (mpf(i) + mpf(1) / 2) / 400 for i in range(400)]
    worst = max(abs((value(x) - function(x)) * weight(x)) for x in grid)
    print(f"// {name}: degree {degree}, error 2^{float(log(worst, 2)):.1f}")
    print(f"const {name}: [f64; {count}] = [")
    for c in coefficients:
        print(f"    {float(c)!r},")
    print("];")


def atanh_over(z):
    s = sqrt(z)
    return 2 * atanh(s) / s


def scaled_tail(a):
    """erfc(a/√2)/2 · exp(a²/2)"""
    return erfc(a / sqrt(mpf(2))) / 2 * exp(a * a / 2)


def tail_fit(name, k, low, high, degree, factor):
    """factor(a) · g(a) as a polynomial of u = (a − k)/(a + k)."""
    a_of = lambda u: k * (1 + u) / (1 - u)
    bottom, top = (mpf(low) - k) / (mpf(low) + k), (mpf(high) - k) / (mpf(high) + k)
    function = lambda u: scaled_tail(a_of(u)) * factor(a_of(u))
    fit(name, function, bottom, top, degree, lambda u: 1 / function(u))


half_ln2 = log(mpf(2)) / 2
quarter = pi / 4

print("// ---- binary32")
fit("LN_32", lambda f: (log1p(f) - f + f * f / 2) / f**3, sqrt(mpf(0.5)) - 1, sqrt(mpf(2)) - 1, 8, lambda f: f * f)
fit("SIN_32", lambda z: (sin(sqrt(z)) / sqrt(z) - 1) / z, 0, quarter**2, 2, lambda z: z)
fit("COS_32", lambda z: (cos(sqrt(z)) - 1 + z / 2) / z**2, 0, quarter**2, 2, lambda z: z * z)
fit("TANH_32", lambda z: (tanh(sqrt(z)) / sqrt(z) - 1) / z, 0, mpf(0.6) ** 2, 4, lambda z: z)
fit("ERF_32", lambda z: erf(sqrt(z)) / sqrt(z) - 1, 0, 1, 6)
fit("LOG2_ERFC_32", lambda a: log(erfc(a), 2), 1, 4, 7, lambda a: erfc(a))
fit("PHI_32", lambda z: erf(sqrt(z / 2)) / sqrt(z) / 2, 0, 1, 5)
tail_fit("TAIL_32", 4, 1, 14.5, 8, lambda a: a)
fit("LOG_32", lambda z: (atanh_over(z) - 2) / z / log(mpf(2)), 0, mpf("0.02944"), 3, lambda z: z)

print("// ---- binary64")
fit("EXP_64", lambda r: (expm1(r) - r) / r**2, -half_ln2 * mpf("1.001"), half_ln2 * mpf("1.001"), 9, lambda r: r * r)
fit("LN_64", lambda z: (atanh_over(z) - 2) / z, 0, mpf("0.02944"), 6, lambda z: z)
fit("POW_64", lambda z: (atanh_over(z) - 2 - 2 * z / 3) / z**2, 0, mpf("0.02944"), 7, lambda z: z * z)
fit("SIN_64", lambda z: (sin(sqrt(z)) / sqrt(z) - 1) / z, 0, quarter**2, 5, lambda z: z)
fit("COS_64", lambda z: (cos(sqrt(z)) - 1 + z / 2) / z**2, 0, quarter**2, 5, lambda z: z * z)
fit("TANH_64", lambda z: (tanh(sqrt(z)) / sqrt(z) - 1) / z, 0, mpf(0.6) ** 2, 10, lambda z: z)
fit("ERF_64", lambda z: erf(sqrt(z)) / sqrt(z) - 1, 0, 1, 12)
tail_fit("TAIL_64", 4, 0, 39.5, 22, lambda a: a + 4)


def bits(name, value, shift, count):
    """The first bits of a fraction, as 64-bit words."""
    print(f"const {name}: [u64; {count}] = [")
    scaled = value * mpf(2) ** shift
    for _ in range(count):
        scaled *= mpf(2) ** 64
        word = int(floor(scaled))
        scaled -= word
        digits = f"{word:016x}"
        print(f"    0x{'_'.join(digits[i : i + 4] for i in range(0, 16, 4))},")
    print("];")


def parts(name, value, mantissas, half=mpf(1) / 2):
    """A value as a sum of floats of so many bits each: rounded, or cut off with `half` 0."""
    rest = value
    out = []
    for mantissa in mantissas:
        exponent = int(floor(log(abs(rest), 2))) + 1
        unit = mpf(2) ** (exponent - mantissa)
        part = floor(rest / unit + half) * unit
        out.append(float(part))
        rest -= part
    print(f"// {name}: {', '.join(map(repr, out))}")


mp.dps = 500
bits("TWO_OVER_PI_32", 2 / pi, -16, 4)
bits("TWO_OVER_PI_64", 2 / pi, -34, 19)
parts("LN2 32", log(mpf(2)), [24, 24])
parts("LN2 64", log(mpf(2)), [42, 53, 53])
parts("LN2 64 full", log(mpf(2)), [53, 53])
parts("LOG2E 32", 1 / log(mpf(2)), [24, 24])
parts("LOG2E 64", 1 / log(mpf(2)), [53, 53])
parts("PI/2 32", pi / 2, [24, 24, 24], 0)
parts("PI/2 64", pi / 2, [53, 53, 53], 0)
parts("2/PI 64", 2 / pi, [53])
parts("2/3 64", mpf(2) / 3, [53, 53])
