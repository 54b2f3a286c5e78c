"""Fills README.md's table of results from the tables in results/.

    python summary.py [--check]

With --check nothing is written, and the exit code is 1 where the README says something else than the tables.
"""

import pathlib
import statistics
import sys

BENCH = pathlib.Path(__file__).resolve().parent
README = BENCH.parents[1] / "README.md"
BEGIN, END = "<!-- tests/bench/summary.py -->\n", "<!-- end -->\n"
NONE = "–"


def rows(name, begins="", ends="\0"):
    """The rows of the tables between two texts of a file, as lists of cells."""
    text = (BENCH / "results" / name).read_text()
    part = text.split(begins, 1)[1] if begins else text
    lines = part.split(ends, 1)[0].splitlines()
    return [[cell.strip().replace("**", "") for cell in line.strip().strip("|").split("|")] for line in lines if line.startswith("| ")]


def number(cell):
    """The first number of a cell: a median."""
    return float(cell.split()[0].rstrip(","))


def shown(value):
    return f"{value:.1f}".removesuffix(".0")


def on_trace(title, is_meant):
    """A line of the table for spaces of the trace: medians over seeds, and the median of those where there are several spaces."""
    known = rows("traces.md", "## Energies as they were measured", "## ")
    foreign = [row for row in rows("kernel_tuner.md") if is_meant(row[0]) and row[2][0].isdigit()]

    def cell(strategy, column):
        return statistics.median(number(row[column]) for row in known if is_meant(row[0]) and row[1] == strategy)

    spaces = {row[0] for row in foreign}
    best = statistics.median(min(number(row[2]) for row in foreign if row[0] == space) for space in spaces)
    return [
        title,
        shown(cell("ours", 2)),
        shown(cell("rising latency", 2)),
        shown(cell("random", 2)),
        shown(best),
        f"{shown(cell('ours', 4))}, {shown(cell('always 8 a round', 4))}",
        f"{cell('ours', 5):.2f} %, {cell('the fastest only', 5):.2f} %",
    ]


def simulated(title, name):
    """A line of the table for a simulated device: means, since most medians are 1."""
    known = {row[0]: row[1:] for row in rows(name) if len(row) == 5}

    def mean(strategy, column):
        return known[strategy][column].split(", ")[1].split(" ")[0]

    return [
        title,
        mean("ours", 0),
        mean("rising latency", 0),
        mean("random", 0),
        NONE,
        f"{known['ours'][2]}, {known['always 8 a round'][2]}",
        f"{mean('ours', 3)} %, {mean('the fastest only', 3)} %",
    ]


def table():
    head = [
        "energies",
        "**ours**",
        "rising latency",
        "random",
        "Kernel Tuner's best strategy",
        "until it stops: **ours**, always 8 a round",
        "beyond the least energy then: **ours**, the fastest kernel",
    ]
    lines = [
        on_trace("at one clock (ten of them)", lambda space: space.startswith("clock")),
        on_trace("ten clocks, not told, ≤ 25 % slower than the fastest", lambda space: space == "pooled, clock hidden, ≤ 25 %"),
        on_trace("ten clocks, not told", lambda space: space == "pooled, clock hidden, all"),
        simulated("simulated, like an H100, 42 operators and sizes (means)", "simulated.md"),
        simulated("simulated, like an A100, the same", "simulated_ampere.md"),
    ]
    separator = ["---"] * len(head)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in [head, separator, *lines])


def main():
    text = README.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    filled = before + BEGIN + table() + END + after
    if "--check" in sys.argv[1:]:
        sys.exit(f"{README} says something else than the tables: run {sys.argv[0]}" if filled != text else 0)
    README.write_text(filled)


if __name__ == "__main__":
    main()
