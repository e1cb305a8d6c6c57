"""What a compiled trimmed mean would be worth: the program of minima and maxima that dmtl runs row by row, in C.

    python benchmarks/compiled_kernel.py [--neighbours 5 9 17 33] [--dim 100000] [--arch native]

dmtl has no compiled code. This writes the same program as one C loop over columns, in which a column stays in
registers, compiles it with `cc`, and times both in turn. The values are compared bit for bit. README.md says what
follows.
"""

from __future__ import annotations

import argparse
import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from harness import computer, load, spread, table
from screen_speed import call_of, draw, in_turn

from dmtl.screens.networks import program

_SIGNS = {"minimum": "{a} < {b} ? {a} : {b}", "maximum": "{a} > {b} ? {a} : {b}", "add": "{a} + {b}"}
_BLOCK = 4096
"""columns whose counts fit in an integer that is as wide as a number"""


def source(k: int, b: int, number: str, integer: str) -> str:
    """The trimmed mean of 1 + k rows, the own one first, with how often each neighbour was kept."""
    plan = program(k + 1, 1, (b, k - b - 1), range(b, k - b))
    names = {row: f"a{row}" for row in range(k + 1)}
    body = [f"{number} a{row} = r[{row} * d + c];" for row in range(k + 1)]
    for line, (operation, left, right, result) in enumerate(plan.steps):
        term = _SIGNS[operation.__name__].format(a=names[left], b=names[right])
        body.append(f"{number} v{line} = {term};")
        names[result] = f"v{line}"
    low, high, total = (names[place] for place in plan.results)
    body.append(f"out[c] = {total} / {k - 2 * b + 1};")
    body += [f"n{row} += (a{row} >= {low}) & (a{row} <= {high});" for row in range(1, k + 1)]
    counters = " ".join(f"{integer} n{row} = 0;" for row in range(1, k + 1))
    kept = " ".join(f"count[{row - 1}] += n{row};" for row in range(1, k + 1))
    return (
        f"void kernel(const {number} *restrict r, long d, {number} *restrict out, double *count) {{\n"
        f"for (long first = 0; first < d; first += {_BLOCK}) {{\n"
        f"long end = first + {_BLOCK} < d ? first + {_BLOCK} : d; {counters}\n"
        f"for (long c = first; c < end; c++) {{\n" + "\n".join(body) + f"\n}} {kept} }} }}\n"
    )


def compiled(k: int, b: int, dtype: str, arch: str, folder: Path) -> Callable[[Any], tuple[Any, Any]]:
    """The kernel as a function of rows: value (d,) and shares (k,)."""
    number, integer = ("float", "int") if dtype == "float32" else ("double", "long")
    text, library = folder / f"{k}-{dtype}.c", folder / f"{k}-{dtype}.so"
    text.write_text(source(k, b, number, integer), encoding="utf-8")
    flags = ["-O3", f"-march={arch}", "-shared", "-fPIC"]
    subprocess.run(["cc", *flags, "-o", str(library), str(text)], check=True, timeout=300)
    kernel = ctypes.CDLL(str(library)).kernel

    def call(rows: Any) -> tuple[Any, Any]:
        value, count = np.empty(rows.shape[1], rows.dtype), np.zeros(k)
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (rows, value, count)]
        kernel(pointers[0], ctypes.c_long(rows.shape[1]), pointers[1], pointers[2])
        return value, count / rows.shape[1]

    return call


def cell(k: int, dtype: str, options: argparse.Namespace, folder: Path) -> list[str]:
    """One line of the table."""
    rows, weights = draw(k, options.dim, dtype)
    ours = call_of("screen", "trimmed-mean", k, options.dim)
    kernel = compiled(k, k // 4, dtype, options.arch, folder)
    value, shares = kernel(rows)
    mixed = ours(rows, weights)
    same = np.array_equal(value, mixed.value) and np.allclose(shares, mixed.trust)
    read = lambda: np.add.reduce(rows, axis=0)  # noqa: E731
    times = in_turn([read, lambda: ours(rows, weights), lambda: kernel(rows)], options.repeats, 0.05)
    once, numpy_, c = (median(column) for column in zip(*times, strict=True))
    ratios = [line[1] / line[2] for line in times]
    shown = [f"{1e3 * numpy_:.2f}", f"{1e3 * c:.2f}", spread(ratios, 1), f"{c / once:.1f}", "yes" if same else "no"]
    return [str(k), dtype, *shown]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--neighbours", type=int, nargs="+", default=[5, 9, 17, 33])
    parser.add_argument("--dim", type=int, default=100_000)
    parser.add_argument("--arch", default="native", help="what cc is told to compile for")
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    if shutil.which("cc") is None:
        parser.error("there is no C compiler: this needs 'cc' on the PATH")
    before = load()
    with tempfile.TemporaryDirectory() as place:
        lines = [cell(k, dtype, options, Path(place)) for k in options.neighbours for dtype in ("float32", "float64")]
    print(computer(before) + f", -march={options.arch}\n")
    print(table(["k", "dtype", "dmtl ms", "C ms", "dmtl/C (range)", "C in reads", "same bits"], lines))


if __name__ == "__main__":
    main()
