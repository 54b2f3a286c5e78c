"""Expected outputs of the decoder layer, recomputed in float64 from its definition.

Writes f16.f64 and i8.f64; needs numpy alone. README.md tells what the files hold.
"""

import pathlib

import numpy as np

HERE = pathlib.Path(__file__).parent

TOKENS = 9
FEATURES, HEADS, GROUPS, HEAD, INNER = 512, 8, 2, 64, 1408
EPSILON, THETA = 1e-5, 10_000.0


def main() -> None:
    tokens = tensor(0, (TOKENS, FEATURES), 0.0, 1.0)
    for name, stored in (("f16", lambda weights: weights), ("i8", int8)):
        output = layer(tokens, stored)
        (HERE / f"{name}.f64").write_bytes(output.astype("<f8").tobytes())
        print(f"{name}: root mean square {np.sqrt((output**2).mean()):.3f}, largest {np.abs(output).max():.3f}")


def layer(x: np.ndarray, stored) -> np.ndarray:
    """All tokens at once; `stored` gives what a matrix of weights is worth as it is stored."""
    gain = lambda number: tensor(number, (FEATURES,), 1.0, 0.25)
    matrix = lambda number, rows, columns, scale: stored(tensor(number, (rows, columns), 0.0, scale))
    attended = x + attention(
        rms_norm(x, gain(1)),
        query=matrix(2, HEADS * HEAD, FEATURES, 0.125),
        key=matrix(3, GROUPS * HEAD, FEATURES, 0.125),
        value=matrix(4, GROUPS * HEAD, FEATURES, 0.125),
    ) @ matrix(5, FEATURES, HEADS * HEAD, 0.0625).T
    normed = rms_norm(attended, gain(6))
    gate, up = (normed @ matrix(number, INNER, FEATURES, 0.0625).T for number in (7, 8))
    return attended + (gate / (1 + np.exp(-gate)) * up) @ matrix(9, FEATURES, INNER, 0.0625).T


def attention(x: np.ndarray, query: np.ndarray, key: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Head by head; every four of them share keys and values. A token sees itself and those before."""
    split = lambda y, heads: y.reshape(len(x), heads, HEAD).transpose(1, 0, 2)
    queries, keys, values = rotated(split(x @ query.T, HEADS)), rotated(split(x @ key.T, GROUPS)), split(x @ value.T, GROUPS)
    hidden = np.triu(np.ones((len(x), len(x)), bool), 1)
    heads = []
    for head in range(HEADS):
        group = head // (HEADS // GROUPS)
        scores = queries[head] @ keys[group].T / np.sqrt(HEAD)
        scores[hidden] = -np.inf
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        heads.append(weights / weights.sum(axis=-1, keepdims=True) @ values[group])
    return np.concatenate(heads, axis=-1)


def rotated(x: np.ndarray) -> np.ndarray:
    """Features e and e + 32 of each head as the parts of a complex number, turned by position · THETA^(−e / 32)."""
    half = HEAD // 2
    angles = np.arange(x.shape[1])[:, None] * THETA ** (-np.arange(half) / half)
    turned = (x[..., :half] + 1j * x[..., half:]) * np.exp(1j * angles)
    return np.concatenate([turned.real, turned.imag], axis=-1)


def rms_norm(x: np.ndarray, gain: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + EPSILON) * gain


def int8(weights: np.ndarray) -> np.ndarray:
    """A row's largest magnitude is 127 steps of the scale, which is computed in float32 as the example does."""
    scale = np.abs(weights).max(axis=1, keepdims=True).astype(np.float32) / np.float32(127)
    steps = np.rint(weights.astype(np.float32) / scale)
    return steps.astype(np.float64) * scale.astype(np.float64)


def tensor(number: int, shape: tuple[int, ...], offset: float, scale: float) -> np.ndarray:
    """offset + scale · u, rounded to float16; u is 12 bits of SplitMix64, in [−1, 1)."""
    bits = np.arange(np.prod(shape), dtype=np.uint64) + np.uint64((number << 32) + 1)
    bits *= np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ bits >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ bits >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    bits ^= bits >> np.uint64(31)
    u = (bits >> np.uint64(52)).astype(np.float64) / 2048 - 1
    return (offset + scale * u).astype(np.float16).astype(np.float64).reshape(shape)


if __name__ == "__main__":
    main()
