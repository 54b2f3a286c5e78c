"""Kernel Tuner's strategies on the AD4000 trace, in its simulation mode: measurements until one lies within 1 % of the least energy.

    python kernel_tuner_strategies.py TRACE [--seeds 20] [--most 400]

Every configuration that a strategy looks at costs one measurement, of latency and energy at once; looking twice costs nothing. The objective is
the energy as it was measured, the truth the denoised one. Where the clock is hidden, the ten clocks are ten values of a parameter whose order
says nothing (shuffled anew for each seed). Configurations beyond a slack are left out by a restriction, which costs nothing either. A search ends when
one is found, after --most measurements, or after --seconds of computing; then it counts as not found. So does a strategy that raises an error.
"""

import argparse
import csv
import gzip
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import warnings

warnings.filterwarnings("ignore")

import kernel_tuner  # noqa: E402
import numpy  # noqa: E402
from kernel_tuner.interface import strategy_map  # noqa: E402

TUNABLES = ["block_size_y", "block_size_z", "M_PER_BLOCK", "N_PER_BLOCK", "NBUFFER"]
# Not single-objective, or measures everything by definition.
LEFT_OUT = {"brute_force", "nsga2", "nsga3"}


def read(path):
    with gzip.open(path, "rt") as file:
        return list(csv.DictReader(file))


def spaces(rows):
    """(name, rows) of each space."""
    for clock in sorted({row["clock_mhz"] for row in rows}):
        yield f"clock {clock}", [row for row in rows if row["clock_mhz"] == clock]
    fastest = min(float(row["time_ms"]) for row in rows)
    for slack, word in [(0.25, "≤ 25 %"), (0.10, "≤ 10 %"), (None, "all")]:
        kept = [row for row in rows if slack is None or float(row["time_ms"]) <= (1 + slack) * fastest]
        yield f"pooled, clock hidden, {word}", kept


def cache_of(rows, seed):
    """The cache file's contents, the truth by key, and the tunable parameters."""
    clocks = sorted({row["clock_mhz"] for row in rows})
    random.Random(seed).shuffle(clocks)
    parameters = {"variant": list(range(len(clocks)))}
    for name in TUNABLES:
        parameters[name] = sorted({int(row[name]) for row in rows})
    cache, truth = {}, {}
    for row in rows:
        values = [clocks.index(row["clock_mhz"])] + [int(row[name]) for name in TUNABLES]
        key = ",".join(str(value) for value in values)
        cache[key] = dict(zip(parameters, values)) | {
            "time": float(row["time_ms"]),
            "energy": float(row["energy_J"]),
            "compile_time": 0.0,
            "verification_time": 0.0,
            "benchmark_time": float(row["time_ms"]),
            "strategy_time": 0.0,
            "framework_time": 0.0,
            "timestamp": "2024-11-19 00:00:00+00:00",
        }
        truth[key] = float(row["energy_J_smooth"])
    return cache, truth, parameters


class Over(BaseException):
    """The search ends. No Exception, so that strategies do not catch it."""


def timed_out(signal_number, frame):
    raise Over


def found_after(strategy, rows, seed, most, seconds):
    """Measurements until one lies within 1 %; None if none does."""
    cache, truth, parameters = cache_of(rows, seed)
    least = min(truth.values())

    def legal(variant, block_size_y, block_size_z, M_PER_BLOCK, N_PER_BLOCK, NBUFFER):
        values = [variant, block_size_y, block_size_z, M_PER_BLOCK, N_PER_BLOCK, NBUFFER]
        return ",".join(str(value) for value in values) in truth

    random.seed(seed)
    numpy.random.seed(seed)
    seen, found = set(), []

    def watch(p):
        key = ",".join(str(p[name]) for name in parameters)
        seen.add(key)
        if truth[key] <= 1.01 * least:
            found.append(len(seen))
        if found or len(seen) >= most:
            raise Over
        return 0.0

    contents = {
        "device_name": "AD4000",
        "kernel_name": "gemm",
        "problem_size": [1, 1],
        "tune_params_keys": list(parameters),
        "tune_params": parameters,
        "objective": "energy",
        "cache": cache,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "cache.json")
        with open(path, "w") as file:
            json.dump(contents, file)
        with open(os.devnull, "w") as nothing:
            out, sys.stdout = sys.stdout, nothing
            signal.signal(signal.SIGPROF, timed_out)
            signal.setitimer(signal.ITIMER_PROF, seconds)
            try:
                kernel_tuner.tune_kernel(
                    "gemm",
                    "__global__ void gemm() {}",
                    (1, 1),
                    [],
                    parameters,
                    restrictions=legal,
                    strategy=strategy,
                    strategy_options={"max_fevals": most},
                    metrics={"watched": watch},
                    objective="energy",
                    objective_higher_is_better=False,
                    simulation_mode=True,
                    cache=path,
                    lang="C",
                    verbose=False,
                )
            except Over:
                pass
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
                sys.stdout = out
    return found[0] if found else None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("trace")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--most", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--spaces", default="")
    parser.add_argument("--strategies", default="")
    arguments = parser.parse_args()
    rows = read(arguments.trace)
    chosen = [name for name in strategy_map if name not in LEFT_OUT]
    if arguments.strategies:
        chosen = arguments.strategies.split(",")
    print("| space | strategy of Kernel Tuner | to within 1 %: median (least) | found, of the seeds |")
    print("|---|---|---|---|")
    # Searches of several seeds at once; a limit of seconds is of the process that searches.
    with multiprocessing.Pool() as pool:
        for name, kept in spaces(rows):
            if arguments.spaces not in name:
                continue
            most = min(arguments.most, len(kept))
            for strategy in chosen:
                searches = [(strategy, kept, seed, most, arguments.seconds) for seed in range(arguments.seeds)]
                try:
                    counts = pool.starmap(found_after, searches, chunksize=1)
                except Exception as error:  # Whatever a strategy raises, the others go on.
                    problem = f"{type(error).__name__}: {str(error).splitlines()[0][:60] if str(error) else ''}"
                    print(f"| {name} | {strategy} | fails: {problem} | |", flush=True)
                    continue
                found = [count for count in counts if count is not None]
                counts = sorted(float("inf") if count is None else count for count in counts)
                median = counts[len(counts) // 2]
                shown = f"> {most}" if median == float("inf") else f"{median}"
                least = min(found) if found else "—"
                print(f"| {name} | {strategy} | {shown} ({least}) | {len(found)} of {len(counts)} |", flush=True)


if __name__ == "__main__":
    main()
